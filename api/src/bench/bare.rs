//! The bare path: the least that durable, hashed ingest over HTTP can be on this machine.
//!
//! A warp handler parses the same bodies, one thread group-commits the same entry bytes to one file with fdatasync,
//! hashes leaf and tree, and answers. No tokens, no registry, no duplicates, no chains, no read models, no recovery.
//! Beside it a handler that does nothing at all.
//! Not here: the service it is compared with (`service`).

use super::{BenchError, entries};
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, TileNodes};
use domain::ports::Clock;
use domain::{Position, Timestamp};
use serde::Deserialize;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use warp::Filter;

/// Requests that may wait for the disk; more connections than are ever opened here.
const QUEUE: usize = 4096;
/// Entries of one commit at most, as the service has it.
const COMMIT_ENTRIES: usize = 16_384;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    reports: Option<Vec<Report<'a>>>,
    device: Option<&'a str>,
    ts: Option<&'a str>,
    measurements: Option<Vec<Measurement<'a>>>,
}

#[derive(Deserialize)]
struct Report<'a> {
    device: &'a str,
    ts: &'a str,
    measurements: Vec<Measurement<'a>>,
}

#[derive(Deserialize)]
struct Measurement<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    value: f64,
}

struct Reading {
    device: String,
    at: Timestamp,
    value: f64,
}

struct Job {
    readings: Vec<Reading>,
    metadata: Vec<u8>,
    answer: oneshot::Sender<u64>,
}

/// A running bare path.
pub struct Bare {
    /// Where it listens: `/bare` and `/noop`.
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    writer: std::thread::JoinHandle<std::io::Result<u64>>,
}

impl Bare {
    /// Starts it on a free port of the loopback; entries go to one file in `dir`.
    ///
    /// # Errors
    /// [`BenchError`] where file or socket cannot be had.
    pub async fn start(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, BenchError> {
        let file = File::create(dir.join("bare.log"))?;
        let (queue, jobs) = sync_channel(QUEUE);
        let times = clock.clone();
        let writer = std::thread::Builder::new()
            .name("bare".to_owned())
            .spawn(move || write(&jobs, file, &*times))?;
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let filter = filter(queue, clock);
        let server = tokio::spawn(async move {
            warp::serve(filter)
                .incoming(listener)
                .graceful(async {
                    // A dropped sender stops it too.
                    let _ = stopped.await;
                })
                .run()
                .await;
        });
        Ok(Self {
            address,
            stop,
            server,
            writer,
        })
    }

    /// Stops it; how many entries it wrote.
    ///
    /// # Errors
    /// [`BenchError`] where a write had failed.
    pub async fn stop(self) -> Result<u64, BenchError> {
        // Where nobody listens any more it has stopped already.
        let _ = self.stop.send(());
        self.server.abort();
        // The filter holds the queue, and ends with the server.
        let _ = self.server.await;
        let written = tokio::task::spawn_blocking(move || self.writer.join());
        match written.await {
            Ok(Ok(written)) => Ok(written?),
            _ => Err(BenchError::Load("the bare path's writer is gone".to_owned())),
        }
    }
}

fn filter(
    queue: SyncSender<Job>,
    clock: Arc<dyn Clock>,
) -> impl Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    let requests = Arc::new(AtomicU64::new(0));
    let bare = warp::post()
        .and(warp::path!("bare"))
        .and(warp::body::bytes())
        .then(move |body: bytes::Bytes| {
            let queue = queue.clone();
            let request = requests.fetch_add(1, Ordering::Relaxed);
            let received_at = clock.now();
            async move {
                match take(&queue, &body, received_at, request).await {
                    Some((count, position)) => warp::http::Response::builder()
                        .header("content-type", "application/json")
                        .body(format!("{{\"accepted\":{count},\"position\":{position}}}")),
                    None => warp::http::Response::builder().status(400).body(String::new()),
                }
            }
        });
    let noop = warp::post()
        .and(warp::path!("noop"))
        .and(warp::body::bytes())
        .map(|body: bytes::Bytes| {
            warp::http::Response::builder()
                .header("content-type", "application/json")
                .body(format!("{{\"bytes\":{}}}", body.len()))
        });
    bare.or(noop)
}

async fn take(
    queue: &SyncSender<Job>,
    body: &[u8],
    received_at: Timestamp,
    request: u64,
) -> Option<(usize, u64)> {
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    let reports = match body.reports {
        Some(reports) => reports,
        None => vec![Report {
            device: body.device?,
            ts: body.ts?,
            measurements: body.measurements?,
        }],
    };
    let readings: Vec<Reading> = reports.iter().map(reading).collect::<Option<_>>()?;
    let count = readings.len();
    let (answer, answered) = oneshot::channel();
    let job = Job {
        readings,
        metadata: entries::metadata(received_at, request),
        answer,
    };
    queue.try_send(job).ok()?;
    Some((count, answered.await.ok()?))
}

fn reading(report: &Report<'_>) -> Option<Reading> {
    let measurement = report.measurements.first()?;
    domain::kinds::find(measurement.kind)?;
    Some(Reading {
        device: report.device.to_owned(),
        at: Timestamp::parse_rfc3339(report.ts).ok()?,
        value: measurement.value,
    })
}

/// While one commit is on its way to disk the next gathers, as in the service.
fn write(jobs: &Receiver<Job>, mut file: File, clock: &dyn Clock) -> std::io::Result<u64> {
    let mut frontier = Frontier::new();
    let mut nodes = TileNodes::new();
    let mut bytes = Vec::new();
    let mut answers = Vec::new();
    while let Ok(first) = jobs.recv() {
        bytes.clear();
        nodes.clear();
        let recorded_at = clock.now();
        let before = frontier.size();
        let mut next = Some(first);
        while let Some(job) = next {
            let first = frontier.size().get();
            for reading in &job.readings {
                let start = bytes.len();
                let placement = entries::placement(frontier.size().get(), recorded_at);
                entries::write(
                    &mut bytes,
                    &placement,
                    &reading.device,
                    &job.metadata,
                    reading.at,
                    reading.value,
                )
                .map_err(std::io::Error::other)?;
                frontier.push(leaf_hash(&bytes[start..]), &mut nodes);
            }
            answers.push((job.answer, Position(first)));
            next = if frontier.size().since(before) < COMMIT_ENTRIES as u64 {
                jobs.try_recv().ok()
            } else {
                None
            };
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        for (answer, position) in answers.drain(..) {
            // Whoever asked may have gone.
            let _ = answer.send(position.get());
        }
    }
    Ok(frontier.size().get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    async fn post(address: SocketAddr, path: &'static str, body: &'static str) -> (u16, String) {
        tokio::task::spawn_blocking(move || {
            let agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .new_agent();
            let mut answer = agent
                .post(format!("http://{address}{path}"))
                .send(body)
                .expect("answered");
            let text = answer.body_mut().read_to_string().expect("text");
            (answer.status().as_u16(), text)
        })
        .await
        .expect("joined")
    }

    #[tokio::test]
    async fn what_it_answers_is_on_disk_and_what_it_cannot_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let bare = Bare::start(dir.path(), Arc::new(SystemClock::new()))
            .await
            .expect("starts");
        let one = r#"{"device":"d","ts":"2026-05-17T08:22:00Z","measurements":[{"type":"temperature","value":4.2}]}"#;
        let (status, text) = post(bare.address, "/bare", one).await;
        assert_eq!((status, text.as_str()), (200, r#"{"accepted":1,"position":0}"#));
        let (status, _) = post(bare.address, "/bare", r#"{"device":"d"}"#).await;
        assert_eq!(status, 400);
        let (status, _) = post(bare.address, "/noop", "anything").await;
        assert_eq!(status, 200);
        assert_eq!(bare.stop().await.expect("stops"), 1);
        let written = std::fs::read_to_string(dir.path().join("bare.log")).expect("read");
        assert!(written.contains("\"temperature\":4.2"), "{written}");
    }
}
