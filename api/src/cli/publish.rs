//! `daybook publish`: signs a ledger's checkpoints and heads and publishes them, in a process that takes no readings.
//!
//! Invariant: the key is made at the first start and never leaves its file; stdout has the key that verifies, and nothing
//! else.
//! Not here: what is done (`crate::publisher`).

use super::{Failure, Global, Outcome, data, data_json, talk};
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::entropy::SeededEntropy;
use crate::publisher::{Dir, Publisher};
use chain_publisher::arguments::directory_of;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// Sign and publish a ledger that another process writes
#[derive(Debug, Args, Serialize)]
#[command(after_help = EXAMPLES)]
pub struct Publish {
    /// Where its key, what it signed, and what came of publications are kept; made at the first start
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    dir: PathBuf,
    /// The service's data directory, which is only read [default: daybook-data]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    /// The ledger's name for ever, such as daybook.example.eu/main; at the first start only
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// Where the latest signed checkpoint is kept once more, outside both directories
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<PathBuf>,
    /// Settings as TOML: `publish`, `publish_retry_s`, `mail`, `witness_policy`, `log`, `log_format`
    #[arg(long, value_name = "FILE", env = "DAYBOOK_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Print the verifier key and end
    #[arg(long)]
    #[serde(skip)]
    show_key: bool,
}

const EXAMPLES: &str = "\
Examples:
  daybook publish --dir /var/lib/daybook-publish --origin daybook.example.eu/main --show-key
  daybook serve --data /var/lib/daybook --origin daybook.example.eu/main     (signed_elsewhere = \"/var/lib/daybook-publish\")
  daybook publish --dir /var/lib/daybook-publish --data /var/lib/daybook --config publish.toml

The first makes the key, before the ledger is begun. Each process writes only into its own directory and reads the other's;
either may stop, and the other goes on. The key is replaced with `daybook key rotate --publisher DIR`.

Exit codes: 0 stopped by a signal, or the key is on stdout; 1 it could not start, or refuses to sign what contradicts what
it has signed; 2 the settings cannot be used.";

impl Publish {
    /// Runs until a signal, or until something must not be signed.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self, global: &Global) -> Outcome {
        directory_of("--dir", &self.dir)?;
        let settings = Settings::load(self.config.as_deref(), &self).map_err(Failure::usage)?;
        if !self.show_key {
            super::logging::start(&settings.log, settings.log_format).map_err(Failure::usage)?;
        }
        let entropy = SeededEntropy::from_os().map_err(Failure::failed)?;
        let origin = settings.origin.as_deref();
        let dir = Dir::open(&self.dir, origin, settings.anchor.clone(), &entropy).map_err(Failure::failed)?;
        let key = dir.key().verifier_key();
        if global.json {
            data_json(&json!({"origin": key.name(), "key": key.to_string()}))?;
        } else {
            data(&key.to_string())?;
        }
        if self.show_key {
            return Ok(0);
        }
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("daybook-publish")
            .build()
            .map_err(Failure::failed)?
            .block_on(run(dir, settings))
    }
}

async fn run(dir: Dir, settings: Settings) -> Outcome {
    let stop = super::serve::signal()?;
    let publisher = Publisher::open(dir, settings, Arc::new(SystemClock::new())).map_err(Failure::failed)?;
    if let Err(error) = publisher.start() {
        publisher.stop();
        publisher.ended().await;
        return Err(Failure::failed(error));
    }
    // Alone on its line: scripts wait for it.
    talk("daybook publish is running");
    tokio::select! {
        () = stop => {}
        () = publisher.stopped() => {}
    }
    publisher.stop();
    publisher.ended().await;
    match publisher.refused() {
        Some(reason) => Err(Failure::failed(reason)),
        None => {
            talk("daybook publish has stopped");
            Ok(0)
        }
    }
}
