//! Starts the load generator beside this process, and measures this process while it works.
//!
//! Invariant: processor time is taken between the load's own `begin` and `end`, so that neither start nor end is
//! part of it. Not here: the load itself (`load`).

use super::BenchError;
use super::host::{Spent, Watch};
use super::load::{Measured, Plan};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// What the load saw, and what it cost this process.
#[derive(Debug, Clone)]
pub struct Driven {
    /// The client's side.
    pub load: Measured,
    /// This process and the machine, in the same window.
    pub spent: Spent,
}

impl Driven {
    /// Readings a second.
    pub fn rate(&self) -> f64 {
        self.load.readings as f64 / self.load.seconds
    }

    /// Processor time of this process a reading, microseconds.
    pub fn cpu_us(&self) -> Option<f64> {
        Some(self.spent.cpu_s? * 1e6 / (self.load.readings.max(1) as f64))
    }

    /// Processor time of the load generator a reading, microseconds.
    pub fn client_cpu_us(&self) -> Option<f64> {
        Some(self.load.cpu_s? * 1e6 / (self.load.readings.max(1) as f64))
    }
}

/// Puts a load on; returns when it is over.
///
/// # Errors
/// [`BenchError`] where the load generator does not do its work, or everything was refused.
pub async fn drive(plan: Plan) -> Result<Driven, BenchError> {
    let driven = tokio::task::spawn_blocking(move || drive_here(&plan))
        .await
        .map_err(|error| BenchError::Load(error.to_string()))??;
    match &driven.load.first_refusal {
        Some(words) if driven.load.requests == 0 => Err(BenchError::Refused(words.clone())),
        _ => Ok(driven),
    }
}

fn drive_here(plan: &Plan) -> Result<Driven, BenchError> {
    let trouble = |error: std::io::Error| BenchError::Load(error.to_string());
    let mut child = Command::new(std::env::current_exe().map_err(trouble)?)
        .args(["bench", "load"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(trouble)?;
    let plan = serde_json::to_vec(plan).map_err(|error| BenchError::Load(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&plan).map_err(trouble)?;
    }
    let (mut watch, mut spent, mut load) = (None, None, None);
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            match line.map_err(trouble)?.as_str() {
                "begin" => watch = Some(Watch::start()),
                "end" => spent = watch.as_ref().map(Watch::spent),
                result => load = serde_json::from_str(result).ok(),
            }
        }
    }
    let status = child.wait().map_err(trouble)?;
    match (load, spent) {
        (Some(load), Some(spent)) => Ok(Driven { load, spent }),
        _ => Err(BenchError::Load(format!("it ended without a result ({status})"))),
    }
}
