//! Weeks of measurements before now, sent as native batches: recorded today, measured then.
//!
//! Invariants: nothing is written behind the service's back, and no head of a past day is invented; each device's
//! readings are sent in order of time by one thread, so that none is older than its channel's newest.
//! Not here: what is measured (`simulate`), who measures (`cast`).

use super::cast::Device;
use super::client::{Client, ClientError};
use super::simulate::Value;
use super::vendor::report;
use domain::Timestamp;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Reports in one request, the most that the API takes.
const BATCH: usize = 1000;
/// Threads that send at once; two are busy while two wait for the disk.
const THREADS: usize = 4;
/// A battery's charge is worth a line an hour.
const BATTERY_EVERY_S: i64 = 3600;

/// Which stretch of time.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// From, seconds since 1970.
    pub start_s: i64,
    /// Until, seconds since 1970; when the demo began.
    pub now_s: i64,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// One device at one time.
    pub readings: u64,
    /// Values.
    pub measurements: u64,
}

/// Nothing more is to be sent, or the service said no.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The service said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A time zone.
    #[error("a site's time zone is not known: {0}")]
    Zone(#[from] jiff::Error),
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
}

/// The times at which a device reported.
pub fn times(device: &Device, span: Span) -> impl Iterator<Item = i64> + '_ {
    let count = (span.now_s - span.start_s).max(0) / device.cadence_s;
    // Devices do not report in step.
    let offset = device.local_id.bytes().map(i64::from).sum::<i64>() % device.cadence_s;
    (0..count)
        .map(move |n| span.start_s + n * device.cadence_s + offset)
        .filter(move |at| *at < span.now_s && device.speaks(*at, span.now_s))
}

fn is_kept(value: &Value, at: i64, cadence_s: i64) -> bool {
    !value.kind.starts_with("battery") || at.rem_euclid(BATTERY_EVERY_S) < cadence_s
}

/// Sends the past of every device with the archive's token; `progress` is told how many readings went with each
/// request.
///
/// # Errors
/// [`PastError`]; what was sent before stays.
pub fn send(
    url: &str,
    token: &str,
    devices: &[&'static Device],
    seed: u64,
    span: Span,
    stop: &AtomicBool,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Sent, PastError> {
    let mut waiting: Vec<_> = devices.to_vec();
    // The one with the most to say begins; the last ones even the ends out.
    waiting.sort_by_key(|device| std::cmp::Reverse(device.cadence_s));
    let waiting = Mutex::new(waiting);
    let (readings, measurements) = (AtomicU64::new(0), AtomicU64::new(0));
    let worker = || -> Result<(), PastError> {
        let client = Client::new(url);
        loop {
            let next = waiting
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .pop();
            let Some(device) = next else { return Ok(()) };
            let mut plant = device.plant(seed, span.start_s, span.now_s)?;
            let mut batch = Batch::default();
            for at in times(device, span) {
                let mut values = plant.at(at);
                values.retain(|v| is_kept(v, at, device.cadence_s));
                batch.push(device, &values, at);
                if batch.readings == BATCH {
                    batch.send(&client, token, &readings, &measurements, progress)?;
                    if stop.load(Ordering::Relaxed) {
                        return Err(PastError::Stopped);
                    }
                }
            }
            batch.send(&client, token, &readings, &measurements, progress)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        let ended: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().expect("the past is sent without panics"))
            .collect();
        ended.into_iter().collect::<Result<Vec<()>, _>>()
    })?;
    Ok(Sent {
        readings: readings.into_inner(),
        measurements: measurements.into_inner(),
    })
}

/// A request while it is put together.
#[derive(Default)]
struct Batch {
    body: String,
    readings: usize,
    values: usize,
}

impl Batch {
    fn push(&mut self, device: &Device, values: &[Value], at: i64) {
        let Some(at) = Timestamp::from_micros(at * 1_000_000) else {
            return;
        };
        self.body.push_str(if self.readings == 0 {
            r#"{"reports":["#
        } else {
            ","
        });
        self.body.push_str(&report(device.local_id, values, at));
        self.readings += 1;
        self.values += values.len();
    }

    fn send(
        &mut self,
        client: &Client,
        token: &str,
        readings: &AtomicU64,
        measurements: &AtomicU64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), ClientError> {
        if self.readings == 0 {
            return Ok(());
        }
        self.body.push_str("]}");
        client.ask("POST", "/v1/ingest", token, Some(self.body.as_bytes()))?;
        readings.fetch_add(self.readings as u64, Ordering::Relaxed);
        measurements.fetch_add(self.values as u64, Ordering::Relaxed);
        progress(self.readings as u64);
        *self = Self::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::cast::{DEVICES, Story};
    use super::*;

    #[test]
    fn a_past_ends_before_now_and_keeps_its_gap() {
        let now_s = 1_780_488_000;
        let span = Span {
            start_s: now_s - 21 * 86_400,
            now_s,
        };
        for device in DEVICES {
            let all: Vec<i64> = times(device, span).collect();
            assert!(all.windows(2).all(|w| w[0] < w[1]));
            assert!(all.iter().all(|at| (span.start_s..now_s).contains(at)));
            let longest = all.windows(2).map(|w| w[1] - w[0]).max().expect("many");
            match device.story {
                Story::Gap { hours, .. } => assert!((longest - hours * 3600).abs() <= 2 * device.cadence_s),
                _ => assert_eq!(longest, device.cadence_s),
            }
            if let Story::SilentFor(hours) = device.story {
                assert!(now_s - all.last().expect("many") >= hours * 3600);
            }
        }
    }
}
