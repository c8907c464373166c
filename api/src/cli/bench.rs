//! `daybook bench`: what the service costs on this machine, beside what the machine can do at all.
//!
//! Data (the table, or JSON) goes to stdout, what is being measured to stderr. Exit code 0 whatever the figures are:
//! a machine that others use at the same time is no failure.
//! Not here: measuring (`bench`).

use super::{Failure, Global, Outcome, data, data_json, talk};
use crate::app::Outside;
use crate::bench::load::{self, Plan};
use crate::bench::{self, Group, Options, alerting};
use crate::clock::SystemClock;
use crate::entropy::SeededEntropy;
use clap::{Args, Subcommand};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// Seconds of each row by default.
const SECONDS: f64 = 10.0;
/// Seconds for which the service takes batches by default: the target is about the lag after a minute.
const SUSTAINED_S: f64 = 60.0;
/// Seconds of each row of a quick run.
const QUICK_S: f64 = 1.0;

/// Measure this machine and the service on it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Bench {
    #[command(subcommand)]
    part: Option<Part>,
    /// A second a row and a small ledger: shows that it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// How long each row is measured [default: 10; 60 for batches through the service]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Entries of the ledger that is opened, proven and verified [default: 1000000]
    #[arg(long, value_name = "N")]
    entries: Option<u64>,
    /// Streams of the day that is closed [default: 1000000]
    #[arg(long, value_name = "N")]
    streams: Option<u64>,
    /// Devices that are known [default: 1000]
    #[arg(long, value_name = "N")]
    devices: Option<usize>,
    /// Connections with single readings [default: 64]
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// Only these rows
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    only: Vec<Group>,
    /// Where to write; the disk under it is what is measured [default: the current directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Parts that the bench starts by itself.
#[derive(Debug, Subcommand)]
enum Part {
    /// The way of an alarm, from the reading's arrival to who is told; and ingest with rules and without
    Alerting(Alerting),
    /// The load generator; its plan comes on stdin
    #[command(hide = true)]
    Load,
}

/// How alarms are measured.
#[derive(Debug, Args)]
struct Alerting {
    /// Devices that report
    #[arg(long, value_name = "N", default_value_t = 2_500)]
    devices: usize,
    /// Channels of each, with a rule over each
    #[arg(long, value_name = "N", default_value_t = 4)]
    channels: usize,
    /// Readings a second: a report of a device with all its channels is one
    #[arg(long, value_name = "N", default_value_t = 5_000.0)]
    per_second: f64,
    /// Channels that go out of limits, a second; with more than 6, or more than 600 in all, limits of chats and mailboxes
    /// hold messages back
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    alarms_per_second: f64,
    /// For how long; 0 to leave this out
    #[arg(long, value_name = "SECONDS", default_value_t = SUSTAINED_S)]
    seconds: f64,
    /// How long each of six rounds of ingest with rules and without takes; 0 to leave this out
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS)]
    ingest_seconds: f64,
    /// Where to write; the disk under it is what is measured [default: the current directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Alerting {
    fn options(&self) -> Result<alerting::Options, Failure> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let duration = |value: f64| value >= 0.0 && value.is_finite();
        if self.devices < 32 || !(1..=16).contains(&self.channels) {
            return Err(Failure::usage(
                "at least 32 devices with 1 to 16 channels are needed",
            ));
        }
        if !positive(self.per_second) || !positive(self.alarms_per_second) {
            return Err(Failure::usage(
                "--per-second and --alarms-per-second must be more than 0",
            ));
        }
        if !duration(self.seconds) || !duration(self.ingest_seconds) {
            return Err(Failure::usage("durations must not be less than 0"));
        }
        Ok(alerting::Options {
            dir: scratch(self.dir.as_ref()),
            devices: self.devices,
            values: self.channels,
            per_second: self.per_second,
            alarms_per_second: self.alarms_per_second,
            seconds: self.seconds,
            ingest_s: self.ingest_seconds,
        })
    }
}

/// A directory of this run's own.
fn scratch(under: Option<&PathBuf>) -> PathBuf {
    let under = under.cloned().unwrap_or_else(|| PathBuf::from("."));
    under.join(format!("daybook-bench-{}", std::process::id()))
}

const EXAMPLES: &str = "\
Examples:
  daybook bench                              everything; about five minutes
  daybook bench --quick                      that it works, in a minute
  daybook bench --only ledger --entries 10000000
  daybook bench alerting                     10,000 rules, 5,000 readings/s

Build it with --release. Everything else on the machine should rest.
Exit codes: 0 measured; 1 something could not be measured.";

impl Bench {
    /// Measures.
    ///
    /// # Errors
    /// [`Failure`] where something cannot be measured.
    pub fn run(self, global: &Global) -> Outcome {
        let (dir, report) = match &self.part {
            Some(Part::Load) => return load(),
            Some(Part::Alerting(asked)) => {
                let options = asked.options()?;
                (options.dir.clone(), blocking(measure_alerting(options)))
            }
            None => {
                let options = self.options()?;
                (options.dir.clone(), blocking(measure(options)))
            }
        };
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            talk(&format!("{} could not be removed: {error}", dir.display()));
        }
        let report = report?;
        if global.json {
            data_json(&report)?;
        } else {
            data(&report.text())?;
        }
        Ok(0)
    }

    fn options(&self) -> Result<Options, Failure> {
        let quick = self.quick;
        let seconds = self.seconds.unwrap_or(if quick { QUICK_S } else { SECONDS });
        if !(seconds > 0.0 && seconds.is_finite()) {
            return Err(Failure::usage("--seconds must be more than 0"));
        }
        let devices = self.devices.unwrap_or(if quick { 100 } else { 1000 });
        let connections = self.connections.unwrap_or(if quick { 8 } else { 64 });
        if devices < 32 || connections == 0 {
            return Err(Failure::usage(
                "at least 32 devices and one connection are needed",
            ));
        }
        Ok(Options {
            dir: scratch(self.dir.as_ref()),
            seconds,
            sustained_s: match (self.seconds, quick) {
                (Some(seconds), _) => seconds,
                (None, true) => QUICK_S,
                (None, false) => SUSTAINED_S,
            },
            entries: self.entries.unwrap_or(if quick { 20_000 } else { 1_000_000 }),
            streams: self.streams.unwrap_or(if quick { 20_000 } else { 1_000_000 }),
            devices,
            connections,
            only: self.only.clone(),
        })
    }
}

fn blocking(
    measuring: impl Future<Output = Result<bench::table::Report, Failure>>,
) -> Result<bench::table::Report, Failure> {
    if cfg!(debug_assertions) {
        talk("this build is not optimised: its figures mean nothing (build with --release)");
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("bench")
        .build()
        .map_err(Failure::failed)?
        .block_on(measuring)
}

fn outside() -> Result<Outside, Failure> {
    Ok(Outside {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?),
        clock_accepted: false,
    })
}

async fn measure(options: Options) -> Result<bench::table::Report, Failure> {
    bench::Bench::new(options, outside()?, &talk)
        .run()
        .await
        .map_err(Failure::failed)
}

async fn measure_alerting(options: alerting::Options) -> Result<bench::table::Report, Failure> {
    alerting::Alarms::new(options, outside()?, &talk)
        .run()
        .await
        .map_err(Failure::failed)
}

fn load() -> Outcome {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(Failure::usage)?;
    let plan: Plan = serde_json::from_str(&text).map_err(Failure::usage)?;
    // One thread: a client that spends little leaves the machine to what is measured.
    let measured = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?
        .block_on(load::run(plan, &SystemClock::new(), |line| {
            // Nobody listens any more: the result is lost with them.
            let _ = data(line);
        }))
        .map_err(Failure::failed)?;
    data(&serde_json::to_string(&measured).map_err(Failure::failed)?)?;
    Ok(0)
}
