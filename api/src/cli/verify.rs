//! `daybook verify`: a ledger, a copy of it, or a service, against what who asks knows from elsewhere.
//!
//! Invariants: a token is never an argument; what is given from outside and cannot be used is an error and no verdict;
//! the verdict is on stdout, progress on stderr.
//! Not here: the verdict (`chain_publisher::verify`), the ledger's own files (`commands::ledger::check`).

use super::{Failure, Global, Outcome, data, data_json, no_ledger, progress};
use crate::data_source::DataSource;
use crate::stores::{LEDGER, default_anchor, read_origin};
use chain_publisher::directory::Directory;
use chain_publisher::evidence::{EVIDENCE_MAX, Evidence, Trust};
use chain_publisher::source::Flaw;
use chain_publisher::url::Url;
use chain_publisher::{LogSource, Report, VerifySettings};
use clap::Args;
use commands::ledger::{OpenError, anchored, check};
use domain::TreeSize;
use domain::note::VerifierKey;
use domain::tlog_policy::{POLICY_BYTES_MAX, Policy};
use domain::tlog_proof::TLOG_PROOF_BYTES_MAX;
use domain::verify::{Strictness, Verdict};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where a bearer token for `--url` may stand.
const TOKEN_VARIABLE: &str = "DAYBOOK_TOKEN";
/// Where the data directory may be named; with `--url` or `--export` it means nothing.
const DATA_VARIABLE: &str = "DAYBOOK_DATA";
/// The data directory where nobody names one.
const DATA_DEFAULT: &str = "daybook-data";
/// The largest token file, bytes.
const TOKEN_BYTES_MAX: usize = 4_096;
/// The largest file of keys, bytes.
const KEYS_BYTES_MAX: usize = 64 << 10;

/// Check a whole ledger
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    outside: Outside,
    /// Where the service keeps its latest checkpoint outside its data [with --data: below the user's state directory]
    #[arg(long, value_name = "DIR")]
    anchor: Option<PathBuf>,
    /// A file with the bearer token for --url, instead of the environment's DAYBOOK_TOKEN
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Do not check that every entry is in its canonical form: twice as fast
    #[arg(long)]
    no_canonical: bool,
}

/// What is known from elsewhere.
#[derive(Debug, Args)]
pub struct Outside {
    /// The log's verifier key, or a file with it: from elsewhere, not from what is checked
    #[arg(long, value_name = "VKEY|FILE")]
    key: Vec<String>,
    /// Which log it must be; the key says so too
    #[arg(long)]
    origin: Option<String>,
    /// A head or checkpoint that was kept elsewhere; as often as there are
    #[arg(long, value_name = "FILE")]
    head: Vec<PathBuf>,
    /// Logs and witnesses that are believed (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// End with 0 where the only reservation is that entries are lawfully withheld
    #[arg(long)]
    allow_partial: bool,
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
the entries.

The first line on stdout is the verdict. Exit codes:
  0  VERIFIED    everything hashes to a checkpoint that what you gave confirms (or PARTIAL with --allow-partial)
  1  TAMPERED    something does not hold; the first position is named
     TRUNCATED   the log is shorter than a head that you gave
     FORKED      the log is another one than a head that you gave belongs to
  2              usage, or something cannot be read: no verdict
  3  UNANCHORED  nothing is wrong, but nothing from outside confirms all of it
  4  INCOMPLETE  something is missing
  5  PARTIAL     what is there holds; some of it is lawfully withheld or gone";

impl Verify {
    /// Verifies, and ends with the verdict's exit code.
    ///
    /// # Errors
    /// [`Failure`] where there is no verdict.
    pub fn run(self, global: &Global) -> Outcome {
        let mut settings = self.outside.settings()?;
        if self.no_canonical {
            settings.strictness = Strictness::Hashes;
        }
        let report = match (&self.what.url, &self.what.export) {
            (Some(url), _) => {
                let source = Url::new(url, self.token()?.as_deref()).map_err(Failure::usage)?;
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
        if global.json {
            data_json(&report)?;
        } else {
            data(report.to_string().trim_end())?;
        }
        Ok(report.exit_code)
    }

    /// A log that is kept elsewhere; an anchor is looked at only where it was named.
    fn elsewhere(&self, source: &dyn LogSource, mut settings: VerifySettings) -> Result<Report, Failure> {
        if self.anchor.is_some() {
            self.add_anchor(&mut settings, None)?;
        }
        verify(source, &settings)
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

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else {
            return Ok(std::env::var(TOKEN_VARIABLE).ok());
        };
        let token = String::from_utf8(read(path, TOKEN_BYTES_MAX)?);
        token
            .map(Some)
            .map_err(|_| Failure::usage(format!("{} is not text", path.display())))
    }
}

impl Outside {
    /// As settings of a verification.
    ///
    /// # Errors
    /// [`Failure`] for what cannot be used.
    pub fn settings(&self) -> Result<VerifySettings, Failure> {
        if self.head.len() > EVIDENCE_MAX {
            return Err(Failure::usage(format!("more than {EVIDENCE_MAX} heads")));
        }
        let policy = match &self.policy {
            None => None,
            Some(path) => Some(
                Policy::parse(&read(path, POLICY_BYTES_MAX)?)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            ),
        };
        let keys = self
            .key
            .iter()
            .map(|text| keys(text))
            .collect::<Result<Vec<_>, _>>()?;
        let head = |path: &PathBuf| {
            Evidence::parse(&path.display().to_string(), &read(path, TLOG_PROOF_BYTES_MAX)?)
                .map_err(Failure::usage)
        };
        Ok(VerifySettings {
            origin: self.origin.clone(),
            trust: Trust {
                keys: keys.into_iter().flatten().collect(),
                policy,
            },
            evidence: self.head.iter().map(head).collect::<Result<_, _>>()?,
            strictness: Strictness::Canonical,
            allow_partial: self.allow_partial,
        })
    }
}

/// The data directory: what its entries say, and every file that they lie in.
fn data_directory(dir: &Path, settings: &VerifySettings) -> Result<Report, Failure> {
    match DataSource::open(dir) {
        Ok(opened) => {
            let source = opened.source();
            let report = verify(&source, settings)?;
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

fn verify(source: &dyn LogSource, settings: &VerifySettings) -> Result<Report, Failure> {
    let bar = progress::entries();
    let report = chain_publisher::verify(source, settings, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    report.map_err(Failure::usage)
}

/// A key, or the keys in a file, one a line.
fn keys(text: &str) -> Result<Vec<VerifierKey>, Failure> {
    if let Ok(key) = VerifierKey::parse(text) {
        return Ok(vec![key]);
    }
    let path = Path::new(text);
    if !path.exists() {
        return Err(Failure::usage(format!(
            "--key: {text:?} is no verifier key (NAME+HEX_KEY_ID+BASE64) and no file"
        )));
    }
    let lines = String::from_utf8(read(path, KEYS_BYTES_MAX)?).unwrap_or_default();
    let keys: Result<Vec<VerifierKey>, _> = lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(VerifierKey::parse)
        .collect();
    match keys {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        Ok(_) => Err(Failure::usage(format!("{text}: there is no key in it"))),
        Err(error) => Err(Failure::usage(format!("{text}: {error}"))),
    }
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > bytes_max {
        return Err(Failure::usage(format!(
            "{} is larger than {bytes_max} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}
