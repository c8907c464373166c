//! What commands that verify are told: keys, origin, policy, heads that were kept, a token, where the log is.
//!
//! Invariants: a token is never an argument; what is given from outside and cannot be used is an error and no verdict;
//! no file is read beyond its limit.
//! Source: FORMAT §8.
//! Not here: what is done with them (`verify`, `evidence`), each command's own arguments (the binaries).

use crate::Report;
use crate::continued::Continued;
use crate::directory::Directory;
use crate::evidence::{EVIDENCE_MAX, Evidence, Trust};
use crate::rotations::RotationProof;
use crate::source::LogSource;
use crate::terminal::{Failure, Outcome, data, data_json};
use crate::url::Url;
use crate::verify::{VerifySettings, verify};
use crate::{pack, progress};
use clap::Args;
use domain::note::VerifierKey;
use domain::tlog_policy::{POLICY_BYTES_MAX, Policy};
use domain::tlog_proof::TLOG_PROOF_BYTES_MAX;
use domain::verify::Strictness;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Where a bearer token may stand.
const TOKEN_VARIABLE: &str = "DAYBOOK_TOKEN";
/// A pack is read in pieces of this size.
const PACK_BUFFER_BYTES: usize = 256 << 10;
/// The largest token file, bytes.
const TOKEN_BYTES_MAX: usize = 4_096;
/// The largest file of keys, bytes.
const KEYS_BYTES_MAX: usize = 64 << 10;

/// What the exit codes of everything that verifies mean, for the end of its help.
const EXIT_CODES: &str = "\
The first line on stdout begins with the verdict. Exit codes:
  0  VERIFIED    everything hashes to a checkpoint that what you gave confirms (or PARTIAL with --allow-partial)
  1  TAMPERED    something does not hold; the first position is named
     TRUNCATED   the log is shorter than a head that you gave
     FORKED      the log is another one than a head that you gave belongs to
  2              usage, or something cannot be read: no verdict
  3  UNANCHORED  nothing is wrong, but nothing from outside confirms all of it
  4  INCOMPLETE  something is missing
  5  PARTIAL     what is there holds; some of it is lawfully withheld or gone";

/// A command's examples, and what its exit codes mean.
pub fn with_exit_codes(examples: &str) -> String {
    format!("{examples}\n\n{EXIT_CODES}")
}

/// What who asks knows from elsewhere.
#[derive(Debug, Clone, Default, Args)]
pub struct Outside {
    /// The log's verifier key, or a file with it: from elsewhere, not from what is checked
    #[arg(long, value_name = "VKEY|FILE")]
    pub key: Vec<String>,
    /// Which log it must be; the key says so too
    #[arg(long)]
    pub origin: Option<String>,
    /// A head or checkpoint that was kept elsewhere; as often as there are
    #[arg(long, value_name = "FILE")]
    pub head: Vec<PathBuf>,
    /// Logs and witnesses that are believed (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The proof of a rotation of the log's key, as often as there are; a log that is named shows them itself
    #[arg(long, value_name = "FILE")]
    pub rotation: Vec<PathBuf>,
}

impl Outside {
    /// Reads what is named; the rest as by default.
    ///
    /// # Errors
    /// [`Failure`] for what cannot be read or is not what it should be.
    pub fn settings(&self) -> Result<VerifySettings, Failure> {
        if self.head.len() > EVIDENCE_MAX {
            return Err(Failure::usage(format!("more than {EVIDENCE_MAX} heads")));
        }
        let policy = match &self.policy {
            None => None,
            Some(path) => Some(
                Policy::parse(&read_file(path, POLICY_BYTES_MAX)?)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            ),
        };
        let head = |path: &PathBuf| {
            let bytes = read_file(path, TLOG_PROOF_BYTES_MAX)?;
            Evidence::parse(&path.display().to_string(), &bytes).map_err(Failure::usage)
        };
        let rotation = |path: &PathBuf| {
            let bytes = read_file(path, TLOG_PROOF_BYTES_MAX)?;
            RotationProof::parse(&path.display().to_string(), &bytes).map_err(Failure::usage)
        };
        Ok(VerifySettings {
            origin: self.origin.clone(),
            trust: Trust {
                keys: all_keys("--key", &self.key)?,
                policy,
                rotations: Vec::new(),
            },
            rotations: self.rotation.iter().map(rotation).collect::<Result<_, _>>()?,
            evidence: self.head.iter().map(head).collect::<Result<_, _>>()?,
            ..VerifySettings::default()
        })
    }
}

/// How closely a whole log is read.
#[derive(Debug, Clone, Default, Args)]
pub struct HowClosely {
    /// Do not check that every entry is in its canonical form: twice as fast
    #[arg(long)]
    pub no_canonical: bool,
    /// End with 0 where the only reservation is that entries are lawfully withheld
    #[arg(long)]
    pub allow_partial: bool,
    /// The log that this one says that it continues, or a head or checkpoint of it that was kept
    #[arg(long, value_name = "URL|DIR|FILE")]
    pub continues: Option<String>,
    /// The key of the log that it continues, where it is not the same asker's only one
    #[arg(long, value_name = "VKEY|FILE", requires = "continues")]
    pub continues_key: Vec<String>,
}

impl HowClosely {
    /// These settings, so closely.
    ///
    /// # Errors
    /// [`Failure`] for what cannot be read.
    pub fn settings(&self, settings: VerifySettings) -> Result<VerifySettings, Failure> {
        let continues = match &self.continues {
            None => None,
            Some(place) => Some(Continued {
                place: place.clone(),
                keys: all_keys("--continues-key", &self.continues_key)?,
            }),
        };
        Ok(VerifySettings {
            continues,
            strictness: if self.no_canonical {
                Strictness::Hashes
            } else {
                Strictness::Canonical
            },
            allow_partial: self.allow_partial,
            ..settings
        })
    }
}

/// The token of an auditor.
#[derive(Debug, Clone, Default, Args)]
pub struct Token {
    /// A file with the bearer token for a URL, instead of the environment's DAYBOOK_TOKEN
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl Token {
    /// The token, where there is one.
    ///
    /// # Errors
    /// [`Failure`] for a file that cannot be read.
    pub fn read(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else {
            return Ok(std::env::var(TOKEN_VARIABLE).ok());
        };
        let token = String::from_utf8(read_file(path, TOKEN_BYTES_MAX)?);
        token
            .map(Some)
            .map_err(|_| Failure::usage(format!("{} is not text", path.display())))
    }

    /// The log that `place` names: a URL, or a directory in tlog-tiles layout.
    ///
    /// # Errors
    /// [`Failure`] where there is none, or for a token that must not be sent there.
    pub fn source(&self, place: &str) -> Result<Box<dyn LogSource>, Failure> {
        Ok(if place.contains("://") {
            Box::new(Url::new(place, self.read()?.as_deref()).map_err(Failure::usage)?)
        } else if self.token_file.is_some() {
            return Err(Failure::usage(
                "--token-file is for a URL; a directory needs none",
            ));
        } else {
            Box::new(Directory::open(Path::new(place)).map_err(Failure::usage)?)
        })
    }
}

/// Verifies a whole log behind a bar.
///
/// # Errors
/// [`Failure`] where there is no verdict.
pub fn verify_with_bar(source: &dyn LogSource, settings: &VerifySettings) -> Result<Report, Failure> {
    let bar = progress::entries();
    let report = verify(source, settings, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    report.map_err(Failure::usage)
}

/// An evidence pack, and what is known from elsewhere.
#[derive(Debug, Clone, Args)]
pub struct PackQuestion {
    /// The pack
    file: PathBuf,
    #[command(flatten)]
    outside: Outside,
    /// End with 0 where the only reservation is that entries are lawfully gone
    #[arg(long)]
    allow_partial: bool,
}

impl PackQuestion {
    /// Verifies the pack behind a bar, and ends with the verdict's exit code.
    ///
    /// # Errors
    /// [`Failure`] where there is no verdict.
    pub fn run(self, json: bool) -> Outcome {
        let settings = VerifySettings {
            allow_partial: self.allow_partial,
            ..self.outside.settings()?
        };
        let name = self.file.display().to_string();
        let file = File::open(&self.file).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        let bar = progress::bar("{bar:40} {bytes}/{total_bytes}, {eta} left");
        let reader = BufReader::with_capacity(PACK_BUFFER_BYTES, file);
        let report = pack::verify(&name, reader, &settings, &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        });
        bar.finish_and_clear();
        let report = report.map_err(Failure::usage)?;
        if json {
            data_json(&report)?;
        } else {
            data(report.to_string().trim_end())?;
        }
        Ok(report.report.exit_code)
    }
}

/// Says what was found, and ends with the verdict's exit code.
///
/// # Errors
/// Where stdout is closed.
pub fn tell(report: &Report, json: bool) -> Outcome {
    if json {
        data_json(report)?;
    } else {
        data(report.to_string().trim_end())?;
    }
    Ok(report.exit_code)
}

/// The keys that `option` named, each by itself or as a file of them.
///
/// # Errors
/// [`Failure`] for what is neither.
pub fn all_keys(option: &str, texts: &[String]) -> Result<Vec<VerifierKey>, Failure> {
    let keys: Result<Vec<_>, _> = texts.iter().map(|text| keys(option, text)).collect();
    Ok(keys?.into_iter().flatten().collect())
}

/// A key, or the keys in a file, one a line.
fn keys(option: &str, text: &str) -> Result<Vec<VerifierKey>, Failure> {
    if let Ok(key) = VerifierKey::parse(text) {
        return Ok(vec![key]);
    }
    let path = Path::new(text);
    if !path.exists() {
        return Err(Failure::usage(format!(
            "{option}: {text:?} is no verifier key (NAME+HEX_KEY_ID+BASE64) and no file"
        )));
    }
    let lines = String::from_utf8(read_file(path, KEYS_BYTES_MAX)?).unwrap_or_default();
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

/// Refuses a file where an option names a directory, which may not be there yet.
///
/// # Errors
/// [`Failure`] of usage.
pub fn directory_of(option: &str, path: &Path) -> Result<(), Failure> {
    if path.exists() && !path.is_dir() {
        return Err(Failure::usage(format!(
            "{}: {option} names a directory, and this is a file",
            path.display()
        )));
    }
    Ok(())
}

/// Refuses a file in a directory that is not there.
///
/// # Errors
/// [`Failure`] of usage.
pub fn file_of(option: &str, path: &Path) -> Result<(), Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.filter(|parent| !parent.is_dir()) {
        Some(parent) => Err(Failure::usage(format!(
            "{}: there is no such directory for {option}: make it first",
            parent.display()
        ))),
        None => Ok(()),
    }
}

/// The whole of a file of at most `bytes_max` bytes.
///
/// # Errors
/// [`Failure`] where it is larger or cannot be read.
pub fn read_file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::IsADirectory => Failure::usage(format!(
            "{}: this is a directory, and a file belongs here: name one that is in it",
            path.display()
        )),
        _ => Failure::usage(format!("{}: {error}", path.display())),
    };
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
