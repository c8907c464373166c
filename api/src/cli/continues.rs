//! `daybook continue`: a new ledger in the place of one whose newest copy is older than what was signed.
//!
//! It prepares a directory; the first start begins the ledger there, whose first entry names the old one, its size and
//! its root. Not here: what is carried over: nothing but the name; accounts, devices and tokens are made anew.

use super::{Failure, Global, Outcome, data, data_json, no_ledger, program, shell_path, talk};
use crate::data_source::DataSource;
use crate::stores::{LEDGER, prepare, read_origin};
use chain_publisher::LogSource;
use clap::Args;
use domain::checkpoint::{SignedCheckpoint, is_origin};
use domain::continues::{Continues, is_reason};
use domain::merkle::Frontier;
use serde_json::json;
use std::path::PathBuf;

/// Prepare a new ledger that continues an old one, which must not go on itself
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Continue {
    /// The newest copy of the old ledger's data directory; it is only read
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The new ledger's data directory, where there is none yet
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// The new ledger's name, which must be another one
    #[arg(long)]
    origin: String,
    /// Why the old one does not go on, as a code
    #[arg(long, default_value = "restored_older_copy", value_name = "CODE")]
    reason: String,
}

const EXAMPLES: &str = "\
Examples:
  daybook continue /restored/daybook /var/lib/daybook2 --origin daybook.example.eu/main-2
  daybook continue /var/lib/daybook /var/lib/daybook2 --origin daybook.example.eu/main-2 --reason log_key_lost

A ledger that was restored from a copy older than what it signed may not go on under its name: two histories would be
signed. The new ledger's first entry says which one it continues, at which size and root; `daybook-verify log NEW
--continues OLD` holds that against the old one. Keep the old directory: it stays readable with verify, export and
evidence. Accounts, devices and tokens are not carried over.

Exit codes: 0 prepared, start it; 1 it failed; 2 usage.";

impl Continue {
    /// Prepares the directory.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self, global: &Global) -> Outcome {
        if !self.old.join(LEDGER).exists() {
            return Err(Failure::usage(no_ledger(&self.old)));
        }
        if !is_origin(&self.origin) {
            return Err(Failure::usage(
                "--origin must be a scheme-less URL such as daybook.example.eu/main-2, at most 255 bytes, without \
                 spaces or +",
            ));
        }
        if !is_reason(&self.reason) {
            return Err(Failure::usage(
                "--reason is a code of 1 to 32 small letters and underscores",
            ));
        }
        let continues = self.continues()?;
        if continues.origin == self.origin {
            return Err(Failure::usage(format!(
                "{} is the old ledger's name: the new one needs another, such as {}-2",
                self.origin, self.origin
            )));
        }
        prepare(&self.new, &self.origin, &continues).map_err(Failure::failed)?;
        if global.json {
            data_json(&json!({"origin": self.origin, "continues": continues}))?;
        } else {
            data(&format!("{} continues {continues}", self.origin))?;
            talk(&format!(
                "Nothing is recorded yet. Begin it with:  {} serve --data {}",
                program(),
                shell_path(&self.new)
            ));
        }
        Ok(0)
    }

    /// What the old copy signed last; all of it where it signed nothing.
    fn continues(&self) -> Result<Continues, Failure> {
        let opened = DataSource::open(&self.old).map_err(Failure::failed)?;
        let source = opened.source();
        let signed = source.checkpoint().map_err(Failure::failed)?;
        let signed = signed.and_then(|note| SignedCheckpoint::parse(&note).ok());
        let (origin, size, root) = match signed.as_ref().map(SignedCheckpoint::checkpoint) {
            Some(says) => (says.origin().to_owned(), says.size(), says.root()),
            None => {
                let origin = read_origin(&self.old)
                    .map_err(Failure::failed)?
                    .unwrap_or_default();
                let size = source.size;
                let root = Frontier::from_nodes(size, source.tiles)
                    .map_err(Failure::failed)?
                    .root();
                (origin, size, root)
            }
        };
        Ok(Continues {
            origin,
            size,
            root,
            reason: self.reason.clone(),
        })
    }
}
