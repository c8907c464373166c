//! `daybook evidence`: one file that proves what was recorded of a device, a channel, a site or an alarm, and its verification.
//!
//! Invariants: the ledger is only read, also beside a running service; a pack that is not whole is not left behind; the
//! verdict is on stdout, progress and figures on stderr. While a service runs on the directory, it records each pack
//! (`EvidencePackIssued`) before its file has its name; without one nobody may append, and that is said.
//! Not here: what a pack is (`chain_publisher::pack`), packs over HTTP (`evidence`).

use super::{
    DataDir, Failure, Global, Outcome, data, data_json, no_ledger, program, progress, shell_path, talk,
};
use crate::control::{self, Ask};
use crate::data_source::{DataSource, Index};
use crate::entropy::SeededEntropy;
use crate::evidence::file::{self, WriteError};
use crate::evidence::recipients::Recipients;
use crate::evidence::{Issue, SOFTWARE};
use crate::stores::{LEDGER, read_receipt_key};
use chain_publisher::SourceError;
use chain_publisher::arguments::{PackQuestion, file_of, read_file};
use chain_publisher::pack::{AlarmError, Days, Made, MakeError, Order, Query, Subject};
use clap::{Args, Subcommand};
use domain::event::EncryptedPack;
use domain::ports::Entropy;
use domain::{Date, Hash};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The largest file of recipients, bytes.
const RECIPIENTS_FILE_BYTES_MAX: usize = 256 << 10;

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
    /// The first day, UTC, such as 2026-03-01; with --alarm it may be left out: the day before the alarm began
    #[arg(long, value_name = "DATE", value_parser = date, required_unless_present = "alarm")]
    from: Option<Date>,
    /// The last day, UTC; with --alarm it may be left out: the day after the alarm's last entry
    #[arg(long, value_name = "DATE", value_parser = date, required_unless_present = "alarm")]
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
    /// Encrypt the pack to this key, age's (age1…) or an SSH public key's line; as often as there are
    #[arg(long, value_name = "KEY")]
    recipient: Vec<String>,
    /// A file of such keys, one a line, # begins a comment; as often as there are
    #[arg(long, value_name = "FILE")]
    recipients_file: Vec<PathBuf>,
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
    /// One alarm with its channel, rules, silences and states, by its id (alm_…)
    #[arg(long, value_name = "ID")]
    alarm: Option<String>,
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
  daybook evidence --alarm alm_… --out alarm.pack.zip
  daybook evidence --device dev_… --from 2026-03-01 --to 2026-03-31 --out march.zip.age --recipient age1…
  daybook evidence --device dev_… --from 2026-03-01 --to 2026-03-31 --out march.pack.zip --attach certificate.pdf
  daybook evidence verify march.pack.zip --key log.vkey --head kept/2026-04-01.tlog-proof

Days are UTC days of recording, both inclusive. A pack proves that nothing of a day is missing once that day is
closed: ask for days that are over. It needs as much room again beside FILE while it is made.
While a service runs on the directory, it records each pack in the ledger before the file is there. Without one nobody
may append to the ledger: the pack is made and not recorded, and that is said.

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
        let out = self.out.as_deref().ok_or_else(incomplete)?;
        let recipients = self.recipients()?;
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?);
        let (origin, key) = read_receipt_key(dir, &entropy).map_err(Failure::failed)?;
        let started = Instant::now();
        let opened = DataSource::open(dir).map_err(Failure::usage)?;
        let spinner = progress::unknown("reading what is configured");
        let index = opened.index(&origin);
        spinner.finish_and_clear();
        let index = index.map_err(|error| Failure::failed(format!("{error}; `daybook verify` says more")))?;
        let query = self.query(&opened, &index)?;
        let order = Order {
            query: &query,
            asker: &self.asker,
            software: SOFTWARE,
            signer: &key,
            scratch: file::folder(out),
            attachments: &self.attach,
        };
        file_of("--out", out)?;
        if out.exists() {
            return Err(Failure::usage(format!(
                "{} is there already: name another file with --out",
                out.display()
            )));
        }
        let written = file::write(out, &recipients, |out| {
            let bar = progress::entries();
            let made = opened.make_pack(&index, &order, out, &mut |progress| {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                ControlFlow::Continue(())
            });
            bar.finish_and_clear();
            made
        });
        let written = written.map_err(failure)?;
        let issue = Issue {
            asker: self.asker.clone(),
            bytes: written.made.bytes,
            encrypted: written.encrypted.clone(),
            manifest_sha256: written.made.manifest_sha256,
            pack_sha256: written.pack_sha256,
            query,
            size: written.made.size,
        };
        // The ledger says so before anybody has it.
        let done = Done {
            recorded: record(dir, issue)?,
            made: written.made.clone(),
            pack_sha256: written.pack_sha256,
            encrypted: written.encrypted.clone(),
        };
        written
            .name()
            .map_err(|error| Failure::failed(format!("{}: {error}", out.display())))?;
        tell(out, global, &done, started.elapsed().as_millis())
    }

    /// To whom it is encrypted.
    fn recipients(&self) -> Result<Recipients, Failure> {
        let mut lines = self.recipient.clone();
        for path in &self.recipients_file {
            let text = String::from_utf8(read_file(path, RECIPIENTS_FILE_BYTES_MAX)?);
            let text = text.map_err(|_| Failure::usage(format!("{} is not text", path.display())))?;
            lines.extend(text.lines().map(str::to_owned));
        }
        let recipients = Recipients::parse(lines.iter().map(String::as_str)).map_err(Failure::usage)?;
        if recipients.is_empty() && !(self.recipient.is_empty() && self.recipients_file.is_empty()) {
            return Err(Failure::usage(
                "there is no recipient: nothing is made that anybody could read",
            ));
        }
        Ok(recipients)
    }

    fn query(&self, opened: &DataSource, index: &Index) -> Result<Query, Failure> {
        let Named {
            device,
            site,
            channel,
            alarm,
        } = &self.subject;
        if let Some(id) = alarm {
            let days = Days {
                from: self.from,
                to: self.to,
            };
            return opened.alarm_query(index, id, days).map_err(|error| match error {
                AlarmError::Unknown(_) | AlarmError::NoChannel(_) | AlarmError::Query(_) => {
                    Failure::usage(error)
                }
                AlarmError::Damaged { .. } | AlarmError::Source(_) => Failure::failed(error),
            });
        }
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

/// What the ledger says of a pack that was handed out.
#[derive(Serialize)]
struct Recorded {
    id: String,
    position: u64,
}

/// Has the service that runs on the directory record a pack; `None` where none runs.
fn record(dir: &Path, issue: Issue) -> Result<Option<Recorded>, Failure> {
    let ask = Ask::IssuePack {
        issue: Box::new(issue),
    };
    let answer = match control::ask(dir, &ask, |_, _| {}) {
        Ok(answer) => answer,
        Err(error) if control::nobody_there(&error) => return Ok(None),
        Err(error) => return Err(Failure::failed(format!("the service does not answer: {error}"))),
    };
    let told = answer
        .map_err(|reason| Failure::failed(format!("it was not recorded, and is not kept: {reason}")))?;
    Ok(Some(Recorded {
        id: told["id"].as_str().unwrap_or_default().to_owned(),
        position: told["position"].as_u64().unwrap_or_default(),
    }))
}

/// A pack that was made, for `--json`.
#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    made: Made,
    pack_sha256: Hash,
    encrypted: Option<EncryptedPack>,
    recorded: Option<Recorded>,
}

fn tell(path: &Path, global: &Global, done: &Done, elapsed_ms: u128) -> Outcome {
    let made = &done.made;
    if global.json {
        data_json(done)?;
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
    talk(&match &done.recorded {
        Some(recorded) => format!("Recorded at position {} as {}.", recorded.position, recorded.id),
        None => "No service runs on this directory: that this pack was made is not recorded in the ledger."
            .to_owned(),
    });
    if let Some(open) = made.open_from {
        talk(&format!(
            "{open} is not closed yet: until it is, a pack cannot show that nothing of it is missing."
        ));
    }
    talk(&match &done.encrypted {
        Some(encrypted) => format!(
            "It is encrypted to {} recipients: they open it with  age --decrypt --identity THEIR_KEY --output \
             pack.zip {}",
            encrypted.recipients.len(),
            shell_path(path)
        ),
        None => format!(
            "Check it with  {} evidence verify {} --key KEY --head HEAD",
            program(),
            shell_path(path)
        ),
    });
    Ok(0)
}

fn failure(error: WriteError) -> Failure {
    let error = match error {
        WriteError::Make(error) => error,
        WriteError::Encrypt(_) => return Failure::usage(error),
        WriteError::Io { .. } => return Failure::failed(error),
    };
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
