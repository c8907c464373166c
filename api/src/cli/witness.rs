//! `daybook witness`: cosigns the checkpoints of other people's logs, in one small process without a ledger.
//!
//! Invariant: the key is made at the first start and never leaves its file; stdout has the key that verifies, and
//! nothing else.
//! Not here: what is cosigned (`chain_publisher::witness`), the answers (`crate::witness::http`).

use super::{Failure, Global, Outcome, data, data_json, not_listening, program, shell_path, talk};
use crate::clock::SystemClock;
use crate::config::LogFormat;
use crate::entropy::SeededEntropy;
use crate::witness::http::{Served, serve};
use crate::witness::key;
use chain_publisher::arguments::{all_keys, directory_of, read_file};
use chain_publisher::witness::Witness as Decides;
use chain_publisher::witness::store::FileStore;
use clap::Args;
use domain::cosignature::CosigningKey;
use domain::note::VerifierKey;
use domain::tlog_policy::{POLICY_BYTES_MAX, Policy};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Be a witness: cosign checkpoints of logs that others run
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Witness {
    /// Where its key and the latest checkpoint of each log are kept; made at the first start
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8421")]
    listen: SocketAddr,
    /// A log's verifier key, or a file with some; as often as there are logs
    #[arg(long, value_name = "VKEY|FILE")]
    log: Vec<String>,
    /// The logs of this file too (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The witness's name for ever, a scheme-less URL; at the first start only [default: made of its key]
    #[arg(long)]
    name: Option<String>,
    /// Print the witness's verifier key and end
    #[arg(long, conflicts_with_all = ["log", "policy"])]
    show_key: bool,
    /// What is logged, such as info or api=debug
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log_filter: String,
}

const EXAMPLES: &str = "\
Examples:
  daybook witness --dir ~/witness --name witness.example.eu --show-key
  daybook witness --dir ~/witness --listen 0.0.0.0:8421 --log 'daybook.example.eu/main+1a2b3c4d+AfT…'

The first prints the key that the log's runner names in their policy:
  witness NAME VKEY http://ADDRESS:8421

It keeps a key (mode 0600) and one small file a log. Never put an older copy of the directory back: it would let a log
take back what was cosigned. A witness that lost its directory begins again in an empty one, with a new key.

Exit codes: 0 stopped by a signal, or the key is on stdout; 1 it could not start; 2 usage, or a key cannot be read.";

impl Witness {
    /// Runs until a signal.
    ///
    /// # Errors
    /// [`Failure`] where it could not start.
    pub fn run(self, global: &Global) -> Outcome {
        directory_of("--dir", &self.dir)?;
        if self.show_key {
            return self.show(global);
        }
        super::logging::start(&self.log_filter, LogFormat::Text).map_err(Failure::usage)?;
        let logs = self.logs()?;
        key::make_dir(&self.dir).map_err(Failure::failed)?;
        let store = FileStore::open(&self.dir).map_err(Failure::failed)?;
        let key = self.key()?;
        let witness =
            Decides::open(key, logs, store, Arc::new(SystemClock::new())).map_err(Failure::failed)?;
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("daybook-witness")
            .build()
            .map_err(Failure::failed)?
            .block_on(self.listen(witness))
    }

    async fn listen(self, witness: Decides<FileStore>) -> Outcome {
        let stop = super::serve::signal()?;
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| Failure::failed(not_listening(self.listen, &error)))?;
        let address = listener.local_addr().map_err(Failure::failed)?;
        for (origin, size) in witness.logs() {
            talk(&format!("Follows {origin}, cosigned up to size {size}"));
        }
        data(&witness.verifier_key().to_string())?;
        // Last, and alone on its line: scripts wait for it.
        talk(&format!("daybook witness is listening on http://{address}"));
        let served = Served {
            witness,
            conflicts: self.dir.join("conflicts"),
        };
        serve(Arc::new(served), listener, stop).await;
        talk("daybook witness has stopped");
        Ok(0)
    }

    /// A witness that runs holds the directory, but its key may be read.
    fn show(&self, global: &Global) -> Outcome {
        let found = key::read(&self.dir, self.name.as_deref()).map_err(Failure::failed)?;
        let key = match found {
            Some(key) => key,
            None => {
                key::make_dir(&self.dir).map_err(Failure::failed)?;
                let _held = FileStore::open(&self.dir).map_err(Failure::failed)?;
                self.key()?
            }
        };
        let key = key.verifier_key();
        if global.json {
            data_json(&json!({"name": key.name(), "key": key.to_string()}))?;
        } else {
            data(&key.to_string())?;
        }
        Ok(0)
    }

    fn key(&self) -> Result<CosigningKey, Failure> {
        let entropy = SeededEntropy::from_os().map_err(Failure::failed)?;
        key::read_or_make(&self.dir, self.name.as_deref(), &entropy).map_err(Failure::failed)
    }

    fn logs(&self) -> Result<Vec<VerifierKey>, Failure> {
        let mut logs = all_keys("--log", &self.log)?;
        if let Some(path) = &self.policy {
            let policy = Policy::parse(&read_file(path, POLICY_BYTES_MAX)?)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            logs.extend(policy.logs().iter().map(|log| log.key.clone()));
        }
        if logs.is_empty() {
            return Err(Failure::usage(format!(
                "which log? give its verifier key:  {} witness --dir {} --log VKEY",
                program(),
                shell_path(&self.dir)
            )));
        }
        Ok(logs)
    }
}
