//! The load generator: so many connections, each sending the next request when the last was answered, or when it is
//! time for it.
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
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Where to.
    pub address: SocketAddr,
    /// To which path.
    pub path: String,
    /// Connections at once.
    pub connections: usize,
    /// Reports in a request; 1 is sent as a report of its own.
    pub batch: usize,
    /// Values in a report, of as many channels; 1 is of a channel without a label.
    pub values: usize,
    /// Reports a second over all connections; as fast as they are answered without it.
    pub per_second: Option<f64>,
    /// Devices by number whose first value is far out from so many milliseconds after the start on.
    pub out: BTreeMap<usize, u64>,
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

/// Label of a device's channel, where it has several.
pub fn channel_label(index: usize) -> String {
    format!("shelf{index}")
}

/// The window in which requests count.
#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
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
    let began = Instant::now();
    let from = began + Duration::from_millis(plan.warm_up_ms);
    let window = Window {
        began,
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
    // Whoever keeps a pace does not send everything at once.
    let pace = plan
        .per_second
        .map(|rate| Duration::from_secs_f64((plan.batch * plan.connections) as f64 / rate));
    let mut next_at = window.began + pace.unwrap_or_default() * number as u32 / plan.connections as u32;
    loop {
        if let Some(pace) = pace {
            tokio::time::sleep_until(next_at.into()).await;
            next_at += pace;
        }
        let body = bodies.next(window.began.elapsed());
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

/// A device, and from when on it is too warm, milliseconds.
struct Sender {
    name: String,
    out_at: Option<u64>,
}

/// Bodies of one connection: its devices in turn, times rising.
struct Bodies {
    devices: Vec<Sender>,
    batch: usize,
    values: usize,
    paced: bool,
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
            devices: range
                .map(|number| Sender {
                    name: device_name(number),
                    out_at: plan.out.get(&number).copied(),
                })
                .collect(),
            batch: plan.batch,
            values: plan.values,
            paced: plan.per_second.is_some(),
            start,
            count: 0,
            room: 256,
        }
    }

    /// The next, so long after the start.
    fn next(&mut self, passed: Duration) -> Bytes {
        let mut out = Vec::with_capacity(self.room);
        if self.batch == 1 {
            self.report(passed, &mut out);
        } else {
            out.extend_from_slice(b"{\"reports\":[");
            for n in 0..self.batch {
                if n > 0 {
                    out.push(b',');
                }
                self.report(passed, &mut out);
            }
            out.extend_from_slice(b"]}");
        }
        self.room = out.len() + 64;
        out.into()
    }

    fn report(&mut self, passed: Duration, out: &mut Vec<u8>) {
        let device = &self.devices[self.count % self.devices.len()];
        self.count += 1;
        out.extend_from_slice(b"{\"device\":\"");
        out.extend_from_slice(device.name.as_bytes());
        out.extend_from_slice(b"\",\"ts\":\"");
        // What is sent as fast as it can be has times that rise by as much as keeps them apart.
        let us = if self.paced { passed.as_micros() as i64 } else { 0 };
        self.start.plus_micros(us + self.count as i64).write(out);
        let is_out = device
            .out_at
            .is_some_and(|at| passed >= Duration::from_millis(at));
        let hundredths = 400 + self.count % 97;
        let (whole, part) = (hundredths / 100, hundredths % 100);
        out.extend_from_slice(b"\",\"measurements\":[");
        for n in 0..self.values {
            let value = if is_out && n == 0 { whole + 90 } else { whole };
            // Writing into memory does not fail.
            let _ = match self.values {
                1 => write!(out, "{{\"type\":\"temperature\",\"value\":{value}.{part:02}}}"),
                _ => write!(
                    out,
                    "{}{{\"type\":\"temperature\",\"label\":\"{}\",\"value\":{value}.{part:02}}}",
                    if n > 0 { "," } else { "" },
                    channel_label(n)
                ),
            };
        }
        out.extend_from_slice(b"]}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commands::ingest::decoded::Decoded;
    use commands::ingest::native;

    fn plan(connections: usize, batch: usize, tokens: usize) -> Plan {
        Plan {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            path: "/v1/ingest".to_owned(),
            connections,
            batch,
            values: 1,
            per_second: None,
            out: BTreeMap::new(),
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
                let Ok(Decoded::Reports(reports)) = native::decode(&bodies.next(Duration::ZERO), None) else {
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
            let Ok(Decoded::Reports(reports)) = native::decode(&bodies.next(Duration::ZERO), None) else {
                panic!("not read")
            };
            assert_eq!(reports[0].device.as_ref().map(|d| d.as_str()), Some("bench0007"));
        }
    }

    #[test]
    fn a_device_is_out_from_its_time_on_with_its_first_channel_only() {
        let start = Timestamp::from_micros(1_780_000_000_000_000).expect("in range");
        let plan = Plan {
            values: 4,
            per_second: Some(100.0),
            out: BTreeMap::from([(3, 500)]),
            ..plan(1, 1000, 1)
        };
        let mut bodies = Bodies::new(&plan, 0, start);
        for (passed, out) in [(499, 0), (500, 1)] {
            let Ok(Decoded::Reports(reports)) =
                native::decode(&bodies.next(Duration::from_millis(passed)), None)
            else {
                panic!("not read")
            };
            let values: Vec<f64> = reports
                .iter()
                .flat_map(|report| &report.measurements)
                .map(|it| it.value)
                .collect();
            assert_eq!(values.len(), 4000);
            assert_eq!(values.iter().filter(|value| **value > 50.0).count(), out);
        }
    }
}
