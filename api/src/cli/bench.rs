//! `daybook bench`: what the service costs on this machine, beside what the machine can do at all.
//!
//! Data (the table, or JSON) goes to stdout, what is being measured to stderr. Exit code 0 whatever the figures are:
//! a machine that others use at the same time is no failure.
//! Not here: measuring (`bench`).

use super::{Failure, Global, Outcome, data, data_json, talk};
use crate::app::Outside;
use crate::bench::load::{self, Plan};
use crate::bench::{self, Group, Options};
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
    /// The load generator; its plan comes on stdin
    #[command(hide = true)]
    Load,
}

const EXAMPLES: &str = "\
Examples:
  daybook bench                              everything; about five minutes
  daybook bench --quick                      that it works, in a minute
  daybook bench --only ledger --entries 10000000

Build it with --release. Everything else on the machine should rest.
Exit codes: 0 measured; 1 something could not be measured.";

impl Bench {
    /// Measures.
    ///
    /// # Errors
    /// [`Failure`] where something cannot be measured.
    pub fn run(self, global: &Global) -> Outcome {
        if let Some(Part::Load) = self.part {
            return load();
        }
        let options = self.options()?;
        let dir = options.dir.clone();
        let report = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("bench")
            .build()
            .map_err(Failure::failed)?
            .block_on(measure(options));
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
        let under = self.dir.clone().unwrap_or_else(|| PathBuf::from("."));
        let devices = self.devices.unwrap_or(if quick { 100 } else { 1000 });
        let connections = self.connections.unwrap_or(if quick { 8 } else { 64 });
        if devices < 32 || connections == 0 {
            return Err(Failure::usage(
                "at least 32 devices and one connection are needed",
            ));
        }
        Ok(Options {
            dir: under.join(format!("daybook-bench-{}", std::process::id())),
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

async fn measure(options: Options) -> Result<bench::table::Report, Failure> {
    if cfg!(debug_assertions) {
        talk("this build is not optimised: its figures mean nothing (build with --release)");
    }
    let outside = Outside {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?),
        clock_accepted: false,
    };
    bench::Bench::new(options, outside, &talk)
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
