//! `daybook evidence`: one file that proves what was recorded of a device, a channel or a site, and its verification.
//!
//! Invariants: the ledger is only read, also beside a running service; a pack that is not whole is not left behind; the
//! verdict is on stdout, progress and figures on stderr.
//! Not here: what a pack is (`chain_publisher::pack`). Packs made here are not recorded in the ledger.

use super::{
    DataDir, Failure, Global, Outcome, data, data_json, no_ledger, program, progress, shell_path, talk,
};
use crate::data_source::DataSource;
use crate::entropy::SeededEntropy;
use crate::stores::{LEDGER, read_receipt_key};
use chain_publisher::SourceError;
use chain_publisher::arguments::PackQuestion;
use chain_publisher::pack::{Made, MakeError, Order, Query, Subject};
use clap::{Args, Subcommand};
use domain::Date;
use domain::ports::Entropy;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Bytes of the pack that are read or written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Make an evidence pack, or verify one
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXAMPLES
)]
pub struct Evidence {
    #[command(subcommand)]
    command: Option<EvidenceCommand>,
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Subcommand)]
enum EvidenceCommand {
    Verify(VerifyPack),
}

/// What is put into a pack. What is required is so without a subcommand only, and therefore optional here.
#[derive(Debug, Args)]
struct Make {
    #[command(flatten)]
    subject: Named,
    /// The first day, UTC, such as 2026-03-01
    #[arg(long, value_name = "DATE", value_parser = date, required = true)]
    from: Option<Date>,
    /// The last day, UTC
    #[arg(long, value_name = "DATE", value_parser = date, required = true)]
    to: Option<Date>,
    /// The file to write; it must not be there yet
    #[arg(long, value_name = "FILE", required = true)]
    out: Option<PathBuf>,
    /// Who asks for it; it stands in the pack
    #[arg(long, value_name = "WHO", default_value = "operator")]
    asker: String,
    /// A file that is put into the pack; its hash must be registered in it (POST /v1/artifacts); as often as there are
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    #[command(flatten)]
    data: DataDir,
}

/// What a pack is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Named {
    /// A device with all its channels, by its id (dev_…)
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// A site with every device that was ever there, by its id (site_…)
    #[arg(long, value_name = "ID")]
    site: Option<String>,
    /// One channel, by its id (chn_…)
    #[arg(long, value_name = "ID")]
    channel: Option<String>,
}

/// Check an evidence pack, without the ledger it is from
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
struct VerifyPack {
    #[command(flatten)]
    question: PackQuestion,
}

const EXAMPLES: &str = "\
Examples:
  daybook evidence --device dev_… --from 2026-03-01 --to 2026-03-31 --out march.pack.zip
  daybook evidence --site site_… --from 2026-01-01 --to 2026-12-31 --out year.pack.zip --asker 'food inspection'
  daybook evidence verify march.pack.zip --key log.vkey --head kept/2026-04-01.tlog-proof

Days are UTC days of recording, both inclusive. A pack proves that nothing of a day is missing once that day is
closed: ask for days that are over. It needs as much room again beside FILE while it is made.

Exit codes: 0 made; 1 it failed; 2 usage, or there is nothing to read; `verify` ends with its verdict's.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  daybook evidence verify march.pack.zip --key log.vkey --head kept/2026-04-01.tlog-proof
  daybook evidence verify march.pack.zip --policy witnesses.policy --json

A head (/v1/heads) of the pack's last day, of the day after it, or the checkpoint that it leads to confirms a pack.
Without a key from elsewhere nothing is better than UNANCHORED.

The first line on stdout is the verdict. Exit codes:
  0  VERIFIED    all that was asked for is there and hashes to what you gave (or PARTIAL with --allow-partial)
  1  TAMPERED    something does not hold; the first position is named
     FORKED      the pack is of another log than a head that you gave
  2              usage, or the file cannot be read: no verdict
  3  UNANCHORED  nothing is wrong, but nothing from outside confirms it, or its last day is not closed
  4  INCOMPLETE  something is missing
  5  PARTIAL     what is there holds; some of it is lawfully gone";

fn date(text: &str) -> Result<Date, String> {
    Date::parse(text).map_err(|_| "a day such as 2026-03-01".to_owned())
}

impl Evidence {
    /// Makes or verifies a pack.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self, global: &Global) -> Outcome {
        match self.command {
            Some(EvidenceCommand::Verify(verify)) => verify.question.run(global.json),
            None => self.make.run(global),
        }
    }
}

impl Make {
    fn run(self, global: &Global) -> Outcome {
        let dir = &self.data.data;
        if !dir.join(LEDGER).exists() {
            return Err(Failure::usage(no_ledger(dir)));
        }
        let (query, out) = (self.query()?, self.out.as_deref().ok_or_else(incomplete)?);
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?);
        let (origin, key) = read_receipt_key(dir, &entropy).map_err(Failure::failed)?;
        let started = Instant::now();
        let opened = DataSource::open(dir).map_err(Failure::usage)?;
        let spinner = progress::unknown("reading what is configured");
        let index = opened.index(&origin);
        spinner.finish_and_clear();
        let index = index.map_err(|error| Failure::failed(format!("{error}; `daybook verify` says more")))?;
        let software = format!("daybook {}", env!("CARGO_PKG_VERSION"));
        let order = Order {
            query: &query,
            asker: &self.asker,
            software: &software,
            signer: &key,
            scratch: folder(out),
            attachments: &self.attach,
        };
        let made = write(out, |out| {
            let bar = progress::entries();
            let made = opened.make_pack(&index, &order, out, &mut |progress| {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                ControlFlow::Continue(())
            });
            bar.finish_and_clear();
            made
        })?;
        tell(out, global, &made, started.elapsed().as_millis())
    }

    fn query(&self) -> Result<Query, Failure> {
        let Named {
            device,
            site,
            channel,
        } = &self.subject;
        let subject = match (device, site, channel) {
            (Some(id), ..) => Subject::Device(id.clone()),
            (_, Some(id), _) => Subject::Site(id.clone()),
            (_, _, Some(id)) => Subject::Channel(id.clone()),
            (None, None, None) => return Err(incomplete()),
        };
        let (from, to) = self.from.zip(self.to).ok_or_else(incomplete)?;
        Query::new(subject, from, to).map_err(Failure::usage)
    }
}

fn incomplete() -> Failure {
    Failure::usage("what of, from when to when, and where to? see  daybook evidence --help")
}

/// Writes the file whole or not at all.
fn write(path: &Path, make: impl FnOnce(&mut dyn Write) -> Result<Made, MakeError>) -> Result<Made, Failure> {
    let at = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    if path.exists() {
        return Err(Failure::usage(format!(
            "{} is there already: name another file with --out",
            path.display()
        )));
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(&new).map_err(at)?);
    let made = make(&mut out).map_err(failure).and_then(|made| {
        let file = out.into_inner().map_err(|error| at(error.into_error()))?;
        file.sync_all().map_err(at)?;
        fs::rename(&new, path).map_err(at)?;
        Ok(made)
    });
    if made.is_err() {
        // What is left of it is of no use; that it cannot be removed is no news beside the failure.
        let _ = fs::remove_file(&new);
    }
    made
}

fn tell(path: &Path, global: &Global, made: &Made, elapsed_ms: u128) -> Outcome {
    if global.json {
        data_json(made)?;
    } else {
        data(&made.manifest_sha256.to_string())?;
    }
    talk(&format!(
        "{}: {} entries, {} values, {} bytes, made in {}.{:03} s.",
        path.display(),
        made.counts.entries,
        made.values,
        made.bytes,
        elapsed_ms / 1000,
        elapsed_ms % 1000
    ));
    if let Some(open) = made.open_from {
        talk(&format!(
            "{open} is not closed yet: until it is, a pack cannot show that nothing of it is missing."
        ));
    }
    talk(&format!(
        "Check it with  {} evidence verify {} --key KEY --head HEAD",
        program(),
        shell_path(path)
    ));
    Ok(0)
}

/// Where a file will be.
fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn failure(error: MakeError) -> Failure {
    match error {
        MakeError::Unknown { .. } | MakeError::Days(_) | MakeError::Names | MakeError::Attachment { .. } => {
            Failure::usage(error)
        }
        MakeError::Checkpoint(_) => {
            Failure::usage(format!("{error}; nothing was signed yet, or it is damaged"))
        }
        MakeError::Damaged(_)
        | MakeError::Source(SourceError::Missing { .. } | SourceError::Malformed { .. }) => {
            Failure::failed(format!("{error}; `daybook verify` says more"))
        }
        MakeError::Source(SourceError::Unavailable(_))
        | MakeError::Signature(_)
        | MakeError::Stopped
        | MakeError::Io(_) => Failure::failed(error),
    }
}
