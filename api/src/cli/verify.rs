//! `daybook verify`: a ledger, a copy of it, or a service, against what who asks knows from elsewhere.
//!
//! Invariant: the verdict is on stdout, progress on stderr.
//! Not here: what is given from outside (`chain_publisher::arguments`), the verdict (`chain_publisher::verify`), the ledger's own files (`commands::ledger::check`).

use super::{Failure, Global, Outcome, no_ledger, progress};
use crate::data_source::DataSource;
use crate::stores::{LEDGER, default_anchor, read_origin};
use chain_publisher::arguments::{HowClosely, Outside, Token, tell, verify_with_bar, with_exit_codes};
use chain_publisher::directory::Directory;
use chain_publisher::evidence::Evidence;
use chain_publisher::source::Flaw;
use chain_publisher::url::Url;
use chain_publisher::{LogSource, Report, VerifySettings};
use clap::Args;
use commands::ledger::{OpenError, anchored, check};
use domain::TreeSize;
use domain::verify::Verdict;
use std::path::{Path, PathBuf};

/// Where the data directory may be named; with `--url` or `--export` it means nothing.
const DATA_VARIABLE: &str = "DAYBOOK_DATA";
/// The data directory where nobody names one.
const DATA_DEFAULT: &str = "daybook-data";

/// Check a whole ledger
#[derive(Debug, Args)]
#[command(after_help = with_exit_codes(EXAMPLES))]
pub struct Verify {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    outside: Outside,
    /// Where the service keeps its latest checkpoint outside its data [with --data: below the user's state directory]
    #[arg(long, value_name = "DIR")]
    anchor: Option<PathBuf>,
    #[command(flatten)]
    token: Token,
    #[command(flatten)]
    closely: HowClosely,
}

/// What is read.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct What {
    /// A data directory, also while the service runs on it [default: daybook-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A service
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A copy in tlog-tiles layout, such as `daybook export` writes
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
}

impl What {
    /// As named, by the environment, or where a service keeps its data by default.
    fn data_directory(&self) -> PathBuf {
        let named = self.data.clone();
        named
            .or_else(|| std::env::var_os(DATA_VARIABLE).map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from(DATA_DEFAULT))
    }
}

const EXAMPLES: &str = "\
Examples:
  daybook verify --key daybook.example.eu/main+1a2b3c4d+AfT…    the data directory against key and anchor
  daybook verify --export /mnt/usb/log --key log.vkey --head kept/2026-05-17.tlog-proof
  daybook verify --url https://daybook.example.eu --key log.vkey --head kept/2026-05-17.tlog-proof --allow-partial
  DAYBOOK_TOKEN=$(cat auditor.token) daybook verify --url https://daybook.example.eu --key log.vkey

`daybook key show` prints the key; keep it, and some heads (/v1/heads), where whoever runs the ledger cannot change
them. Without a key from elsewhere nothing is better than UNANCHORED. A --url without a token checks the tree and not
the entries.";

impl Verify {
    /// Verifies, and ends with the verdict's exit code.
    ///
    /// # Errors
    /// [`Failure`] where there is no verdict.
    pub fn run(self, global: &Global) -> Outcome {
        let mut settings = self.closely.settings(self.outside.settings()?)?;
        if self.token.token_file.is_some() && self.what.url.is_none() {
            return Err(Failure::usage("--token-file is for --url"));
        }
        let report = match (&self.what.url, &self.what.export) {
            (Some(url), _) => {
                let source = Url::new(url, self.token.read()?.as_deref()).map_err(Failure::usage)?;
                self.elsewhere(&source, settings)?
            }
            (None, Some(dir)) => {
                let source = Directory::open(dir).map_err(Failure::usage)?;
                self.elsewhere(&source, settings)?
            }
            (None, None) => {
                let dir = self.what.data_directory();
                if !dir.join(LEDGER).exists() {
                    return Err(Failure::usage(no_ledger(&dir)));
                }
                self.add_anchor(&mut settings, read_origin(&dir).map_err(Failure::usage)?)?;
                data_directory(&dir, &settings)?
            }
        };
        tell(&report, global.json)
    }

    /// A log that is kept elsewhere; an anchor is looked at only where it was named.
    fn elsewhere(&self, source: &dyn LogSource, mut settings: VerifySettings) -> Result<Report, Failure> {
        if self.anchor.is_some() {
            self.add_anchor(&mut settings, None)?;
        }
        verify_with_bar(source, &settings)
    }

    /// The checkpoint that the service keeps outside its data, read before the ledger, which is then at least as large.
    fn add_anchor(&self, settings: &mut VerifySettings, own: Option<String>) -> Result<(), Failure> {
        let origin = settings.origin.clone();
        let origin = origin
            .or_else(|| settings.trust.origin().map(str::to_owned))
            .or(own);
        let folder = self.anchor.clone().or_else(default_anchor);
        let (Some(origin), Some(folder)) = (origin, folder) else {
            return match self.anchor {
                Some(_) => Err(Failure::usage("which log's anchor? give --origin or --key")),
                None => Ok(()),
            };
        };
        let name = format!("the anchor in {}", folder.display());
        match anchored(&folder, &origin).map_err(|error| Failure::usage(format!("{name}: {error}")))? {
            Some(note) => settings
                .evidence
                .push(Evidence::parse(&name, &note).map_err(Failure::usage)?),
            None if self.anchor.is_some() => {
                return Err(Failure::usage(format!("{name}: there is none of {origin}")));
            }
            None => {}
        }
        Ok(())
    }
}

/// The data directory: what its entries say, and every file that they lie in.
fn data_directory(dir: &Path, settings: &VerifySettings) -> Result<Report, Failure> {
    match DataSource::open(dir) {
        Ok(opened) => {
            let source = opened.source();
            let report = verify_with_bar(&source, settings)?;
            files(dir, report, Some(source.size))
        }
        Err(error) => {
            let mut report = Report::new(format!("the ledger in {}", dir.display()), settings.allow_partial);
            not_opened(&mut report, error)?;
            files(dir, report, None)
        }
    }
}

/// A ledger that cannot be opened because of what is in it has a verdict.
fn not_opened(report: &mut Report, error: OpenError) -> Result<(), Failure> {
    let what = error.to_string();
    match error {
        OpenError::Corrupt { position, .. } | OpenError::Missing { position, .. } => report.tampered(Flaw {
            position: Some(position),
            what,
        }),
        OpenError::Inconsistent { .. } => report.tampered(Flaw { position: None, what }),
        OpenError::Older { size, anchored, .. } => report.or_worse(Verdict::Truncated {
            size,
            known: anchored,
            what,
        }),
        OpenError::Locked { .. }
        | OpenError::OtherOrigin { .. }
        | OpenError::AnchorDamaged { .. }
        | OpenError::NoLedger { .. }
        | OpenError::Io { .. } => return Err(Failure::usage(what)),
    }
    report
        .not_checked
        .push("everything else: the ledger cannot be read as a whole".to_owned());
    Ok(())
}

/// Every file of the ledger against itself.
fn files(dir: &Path, mut report: Report, size: Option<TreeSize>) -> Result<Report, Failure> {
    let spinner = progress::unknown("checking the ledger's files");
    let checked = check(&dir.join(LEDGER));
    spinner.finish_and_clear();
    let checked = checked.map_err(|error| Failure::usage(format!("{}: {error}", dir.display())))?;
    for damage in checked.damage {
        let flaw = Flaw {
            position: Some(damage.position),
            what: format!("{}: {}", damage.file, damage.reason),
        };
        match damage.derived {
            // What a running service has just appended may not be in every file yet.
            true if size.is_some_and(|size| !size.contains(damage.position)) => {}
            true => report.derived_damage(flaw),
            false => report.tampered(flaw),
        }
    }
    report.checked.push(format!(
        "the ledger's own files: segments {}, sealed files {}, commits {}",
        checked.segments, checked.sealed_files, checked.frames
    ));
    if let Some(tail) = checked.tail {
        report.notes.push(format!(
            "{} bytes behind position {} are a commit that is being written, or one that was torn: the next start cuts \
             and keeps it",
            tail.bytes, tail.position
        ));
    }
    Ok(report)
}
