//! The load generator: so many connections, each sending the next request when the last was answered.
//!
//! It runs as a process of its own (`daybook bench load`), so that its processor time is not the service's. The
//! plan comes on stdin, `begin` and `end` are said on stdout while it works, the result follows as a line of JSON.
//! Invariants: connections own their devices, so that each device's times rise; only requests that began and ended
//! within the window are counted.
//! Not here: who starts it and reads the result (`drive`).

use super::histogram::Histogram;
use super::host;
use bytes::Bytes;
use domain::Timestamp;
use domain::ports::Clock;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Where to.
    pub address: SocketAddr,
    /// To which path.
    pub path: String,
    /// Connections at once.
    pub connections: usize,
    /// Reports in a request; 1 is sent as a report of its own.
    pub batch: usize,
    /// How many devices there are, `bench0000` and so on.
    pub devices: usize,
    /// Tokens; with one for each connection, a connection speaks for the device of its own number only.
    pub tokens: Vec<String>,
    /// Before counting begins, milliseconds.
    pub warm_up_ms: u64,
    /// For how long is counted, milliseconds.
    pub window_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Requests answered 2xx.
    pub requests: u64,
    /// Readings in them.
    pub readings: u64,
    /// Requests answered otherwise.
    pub refused: u64,
    /// The first such answer.
    pub first_refusal: Option<String>,
    /// How long was counted, seconds.
    pub seconds: f64,
    /// How long requests took.
    pub latency: Histogram,
    /// Processor time of the load generator within the window, seconds.
    pub cpu_s: Option<f64>,
}

/// The load cannot be put on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan.
    #[error("the plan on stdin cannot be read: {0}")]
    Plan(#[from] serde_json::Error),
    /// A connection.
    #[error("the service cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    /// A connection that ended.
    #[error("a connection broke: {0}")]
    Http(#[from] hyper::Error),
    /// A request that cannot be made.
    #[error("a request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
}

/// Local id of a device.
pub fn device_name(index: usize) -> String {
    format!("bench{index:04}")
}

/// The window in which requests count.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

#[derive(Default)]
struct Counted {
    requests: u64,
    readings: u64,
    refused: u64,
    first_refusal: Option<String>,
    latency: Histogram,
}

/// Puts the load on; `say` is told `begin` and `end` at their time.
///
/// # Errors
/// [`LoadError`] where a connection fails. Requests that are refused are counted.
pub async fn run(plan: Plan, clock: &dyn Clock, say: impl Fn(&str)) -> Result<Measured, LoadError> {
    let start = clock.now();
    let plan = Rc::new(plan);
    let from = Instant::now() + Duration::from_millis(plan.warm_up_ms);
    let window = Window {
        from,
        until: from + Duration::from_millis(plan.window_ms),
    };
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = (0..plan.connections)
        .map(|n| local.spawn_local(connection(Rc::clone(&plan), n, start, window)))
        .collect();
    let cpu = async {
        tokio::time::sleep_until(window.from.into()).await;
        say("begin");
        let before = host::cpu_s();
        tokio::time::sleep_until(window.until.into()).await;
        say("end");
        before.zip(host::cpu_s()).map(|(before, after)| after - before)
    };
    let cpu_s = local.run_until(cpu).await;
    let mut all = Counted::default();
    for task in tasks {
        let counted = local
            .run_until(task)
            .await
            .map_err(|error| std::io::Error::other(error.to_string()))??;
        all.requests += counted.requests;
        all.readings += counted.readings;
        all.refused += counted.refused;
        all.first_refusal = all.first_refusal.or(counted.first_refusal);
        all.latency.add(&counted.latency);
    }
    Ok(Measured {
        requests: all.requests,
        readings: all.readings,
        refused: all.refused,
        first_refusal: all.first_refusal,
        seconds: (window.until - window.from).as_secs_f64(),
        latency: all.latency,
        cpu_s,
    })
}

async fn connection(
    plan: Rc<Plan>,
    number: usize,
    start: Timestamp,
    window: Window,
) -> Result<Counted, LoadError> {
    let socket = TcpStream::connect(plan.address).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(socket)).await?;
    let driver = tokio::task::spawn_local(async move {
        // Its end is seen by the sender.
        let _ = connection.await;
    });
    let token = &plan.tokens[number % plan.tokens.len().max(1)];
    let authorization = format!("Bearer {token}");
    let host = plan.address.to_string();
    let mut bodies = Bodies::new(&plan, number, start);
    let mut counted = Counted::default();
    loop {
        let body = bodies.next();
        let request = Request::post(&plan.path)
            .header(header::HOST, &host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, &authorization)
            .body(Full::new(body))?;
        sender.ready().await?;
        let began = Instant::now();
        if began >= window.until {
            break;
        }
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let ended = Instant::now();
        if began < window.from || ended > window.until {
            continue;
        }
        counted.latency.record(ended - began);
        if status.is_success() {
            counted.requests += 1;
            counted.readings += plan.batch as u64;
        } else {
            counted.refused += 1;
            counted
                .first_refusal
                .get_or_insert_with(|| format!("{status}: {}", String::from_utf8_lossy(&body)));
        }
    }
    driver.abort();
    Ok(counted)
}

/// Bodies of one connection: its devices in turn, times rising.
struct Bodies {
    devices: Vec<String>,
    batch: usize,
    start: Timestamp,
    count: usize,
    room: usize,
}

impl Bodies {
    fn new(plan: &Plan, number: usize, start: Timestamp) -> Self {
        let range = if plan.tokens.len() > 1 {
            number..number + 1
        } else {
            number * plan.devices / plan.connections..(number + 1) * plan.devices / plan.connections
        };
        Self {
            devices: range.map(device_name).collect(),
            batch: plan.batch,
            start,
            count: 0,
            room: 256,
        }
    }

    fn next(&mut self) -> Bytes {
        let mut out = Vec::with_capacity(self.room);
        if self.batch == 1 {
            self.report(&mut out);
        } else {
            out.extend_from_slice(b"{\"reports\":[");
            for n in 0..self.batch {
                if n > 0 {
                    out.push(b',');
                }
                self.report(&mut out);
            }
            out.extend_from_slice(b"]}");
        }
        self.room = out.len() + 64;
        out.into()
    }

    fn report(&mut self, out: &mut Vec<u8>) {
        let device = &self.devices[self.count % self.devices.len()];
        self.count += 1;
        out.extend_from_slice(b"{\"device\":\"");
        out.extend_from_slice(device.as_bytes());
        out.extend_from_slice(b"\",\"ts\":\"");
        self.start.plus_micros(self.count as i64).write(out);
        let hundredths = 400 + self.count % 97;
        // Writing into memory does not fail.
        let _ = write!(
            out,
            "\",\"measurements\":[{{\"type\":\"temperature\",\"value\":{}.{:02}}}]}}",
            hundredths / 100,
            hundredths % 100
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commands::ingest::decoded::Decoded;
    use commands::ingest::native;
    use std::collections::BTreeMap;

    fn plan(connections: usize, batch: usize, tokens: usize) -> Plan {
        Plan {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            path: "/v1/ingest".to_owned(),
            connections,
            batch,
            devices: 1000,
            tokens: vec!["whk_x".to_owned(); tokens],
            warm_up_ms: 0,
            window_ms: 0,
        }
    }

    #[test]
    fn bodies_are_read_as_meant_and_times_of_a_device_rise() {
        let start = Timestamp::from_micros(1_780_000_000_000_000).expect("in range");
        let mut newest: BTreeMap<String, Timestamp> = BTreeMap::new();
        for connection in 0..8 {
            let mut bodies = Bodies::new(&plan(8, 100, 1), connection, start);
            for _ in 0..5 {
                let Ok(Decoded::Reports(reports)) = native::decode(&bodies.next(), None) else {
                    panic!("not read")
                };
                assert_eq!(reports.len(), 100);
                for report in reports {
                    let device = report.device.expect("named").as_str().to_owned();
                    let at = report.measurements[0].at.expect("timed").at;
                    assert!(newest.insert(device, at).is_none_or(|before| before < at));
                }
            }
        }
        assert_eq!(newest.len(), 1000, "every device speaks, each for one connection");
    }

    #[test]
    fn with_a_token_for_each_connection_each_speaks_for_itself() {
        let start = Timestamp::from_micros(1_780_000_000_000_000).expect("in range");
        let mut bodies = Bodies::new(&plan(64, 1, 64), 7, start);
        for _ in 0..3 {
            let Ok(Decoded::Reports(reports)) = native::decode(&bodies.next(), None) else {
                panic!("not read")
            };
            assert_eq!(reports[0].device.as_ref().map(|d| d.as_str()), Some("bench0007"));
        }
    }
}
