//! `daybook export`: the whole log as files that any C2SP tool reads, also while the service runs.
//!
//! Not here: the files (`chain_publisher::export`).

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_ledger, progress, talk};
use crate::data_source::DataSource;
use crate::stores::LEDGER;
use chain_publisher::arguments::directory_of;
use chain_publisher::{ExportError, SourceError, export};
use clap::Args;
use std::path::PathBuf;

/// Write the whole log to a directory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    #[command(flatten)]
    data: DataDir,
    /// An empty directory, or an earlier export of the same log: what is new is added
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  daybook export --to /mnt/usb/log
  daybook export --data /var/lib/daybook --to /srv/mirror     again and again: only what is new is written

The copy is in tlog-tiles layout, with the heads of days and the entries once more as lines; it reaches up to the
latest signed checkpoint. An export that was cut short goes on where it was. The copy holds everything that the ledger
holds, also hashes of tokens: keep it like the ledger.

Exit codes: 0 exported; 1 it failed; 2 there is nothing to read, or something else is in the directory.";

impl Export {
    /// Exports.
    ///
    /// # Errors
    /// [`Failure`]; running it again goes on.
    pub fn run(self, global: &Global) -> Outcome {
        if !self.data.data.join(LEDGER).exists() {
            return Err(Failure::usage(no_ledger(&self.data.data)));
        }
        directory_of("--to", &self.to)?;
        let opened = DataSource::open(&self.data.data).map_err(Failure::usage)?;
        let bar = progress::entries();
        let exported = export(&opened.source(), &self.to, &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let exported = exported.map_err(|error| match error {
            ExportError::Occupied { .. } | ExportError::Unsigned => Failure::usage(error),
            ExportError::Source(SourceError::Unavailable(_)) | ExportError::Io { .. } => {
                Failure::failed(error)
            }
            ExportError::Source(SourceError::Missing { .. } | SourceError::Malformed { .. }) => {
                Failure::failed(format!("{error}; `daybook verify` says more"))
            }
        })?;
        if global.json {
            data_json(&exported)?;
        } else {
            data(&format!("{} entries", exported.size))?;
            talk(&format!(
                "{} is in {} up to size {}: {} entries and {} files were written now.",
                exported.origin,
                self.to.display(),
                exported.size,
                exported.entries,
                exported.files
            ));
        }
        Ok(0)
    }
}
