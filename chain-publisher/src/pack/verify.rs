//! A verdict from a pack.
//!
//! Reads every byte of the file, hashes everything again, makes again what can be made again, and says what holds.
//! Invariants: nothing that the pack says of itself makes a verdict better than UNANCHORED; every file is held against the
//! manifest, the manifest against the ledger's receipt keys, every entry against the checkpoint, every stream against the
//! days; what could not be checked is said. Memory grows with streams, days and nodes.
//! Source: FORMAT §7, §8.
//! Not here: the container (`zip`), streams and days (`streams`), heads by themselves (`heads`), the words (`report`).

use super::artefacts::{Registered, artefact_of, is_meant};
use super::derived::{CSV_HEADER, Config, Rows, is_configuration};
use super::judge::Judge;
use super::lines::MapLine;
use super::make::is_at;
use super::manifest::{Counts, FileOf, Manifest, Query, Subject};
use super::streams::{Checked, Day, StreamCheck};
use super::walk::{Piece, Roots, Walk};
use super::zip::{Archive, Crc32, ZipError};
use super::{
    CHECKPOINT, CONFIG, ENTRIES, LINE_BYTES_MAX, MANIFEST, MANIFEST_BYTES_MAX, MANIFEST_NOTE, NODES, POLICY,
    READINGS_CSV, README, STREAMS, VERIFY_HTML, VERIFY_PY, head_date,
};
use crate::evidence::EvidenceError;
use crate::report::Report;
use crate::source::Flaw;
use crate::verify::{Progress, VerifySettings};
use domain::canonical::Scanner;
use domain::checkpoint::SignedCheckpoint;
use domain::day::{DAY_CLOSED, DayClosed};
use domain::entry::Entry;
use domain::hash::{Sha256Stream, leaf_hash, sha256};
use domain::note::{NOTE_BYTES_MAX, VerifierKey};
use domain::rotation::KeyHistory;
use domain::tlog_proof::{TLOG_PROOF_BYTES_MAX, TlogProof};
use domain::{Date, Hash, Position, Timestamp, TreeSize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek};

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Findings of entries that are kept.
const FINDINGS_MAX: usize = 200;
/// Which of the last files artefacts stand behind: `config.json` is the fourth.
const ARTEFACTS_AFTER: usize = 4;
/// How a file begins that age encrypted: as it is, or as text.
const AGE_BEGINS: [&[u8]; 2] = [b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----"];
/// Entries between two words of progress.
const PROGRESS_ENTRIES: u64 = 8_192;

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The file cannot be read, is cut short, or is no ZIP.
    #[error("{name}: {reason}")]
    Unreadable {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// What was given from outside cannot be used.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// What is asked contradicts itself.
    #[error("{0}")]
    Settings(String),
}

/// What the verification of a pack found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackReport {
    /// As of a whole log; entries, streams and days are those of the pack.
    #[serde(flatten)]
    pub report: Report,
    /// What the pack says that was asked.
    pub query: Option<Query>,
    /// Who the pack says that asked.
    pub asker: Option<String>,
    /// What the pack says that it was made by.
    pub software: Option<String>,
    /// SHA-256 of its manifest, base64.
    pub manifest_sha256: Option<Hash>,
    /// Lines of `readings.csv`.
    pub values: u64,
}

impl fmt::Display for PackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.report.to_string();
        let (verdict, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        writeln!(f, "{verdict}\n")?;
        if let Some(Query { from, to, subject }) = &self.query {
            writeln!(
                f,
                "  asked       {} {} from {from} to {to}",
                subject.kind(),
                subject.id()
            )?;
        }
        if let (Some(asker), Some(software)) = (&self.asker, &self.software) {
            writeln!(f, "  asked by    {asker}, made by {software}")?;
        }
        writeln!(
            f,
            "  holds       {} entries, {} values, {} streams",
            self.report.entries, self.values, self.report.streams
        )?;
        f.write_str(rest)
    }
}

/// Verifies a pack. `progress` is told now and then how many bytes were read.
///
/// # Errors
/// [`PackError`]: then nothing was found out.
pub fn verify(
    name: &str,
    mut reader: impl Read + Seek,
    settings: &VerifySettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<PackReport, PackError> {
    let unreadable = |reason: String| PackError::Unreadable {
        name: name.to_owned(),
        reason,
    };
    let mut report = PackReport {
        report: Report::new(format!("the pack {name}"), settings.allow_partial),
        query: None,
        asker: None,
        software: None,
        manifest_sha256: None,
        values: 0,
    };
    if is_encrypted(&mut reader).map_err(|error| unreadable(error.to_string()))? {
        return Err(unreadable(format!(
            "it is encrypted with age, and nothing of it can be checked before it is decrypted: run  age --decrypt \
             --identity YOUR_KEY --output pack.zip {name}  and verify pack.zip"
        )));
    }
    let archive = match Archive::open(reader) {
        Ok(archive) => archive,
        Err(ZipError::Unreadable(reason)) => return Err(unreadable(reason)),
        Err(ZipError::Structure(what)) => {
            report.report.tampered(Flaw { position: None, what });
            return Ok(report);
        }
    };
    let mut pack = Pack { archive, progress };
    match pack.verify(settings, &mut report) {
        Ok(()) => {}
        Err(Stop::Flaw(flaw)) => {
            report.report.tampered(flaw);
            report
                .report
                .not_checked
                .push("everything that rests on what does not hold".to_owned());
        }
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Io(error)) => return Err(unreadable(error.to_string())),
    }

    Ok(report)
}

/// Whether a file is encrypted; it stands at its beginning afterwards.
fn is_encrypted(reader: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut begins = Vec::new();
    reader.by_ref().take(64).read_to_end(&mut begins)?;
    reader.rewind()?;
    Ok(AGE_BEGINS.iter().any(|age| begins.starts_with(age)))
}

/// Why a verification does not go on.
enum Stop {
    /// Nothing behind it can be said.
    Flaw(Flaw),
    Failed(PackError),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PackError> for Stop {
    fn from(error: PackError) -> Self {
        Self::Failed(error)
    }
}

fn flaw(what: impl Into<String>) -> Stop {
    Stop::Flaw(Flaw {
        position: None,
        what: what.into(),
    })
}

fn flaw_at(position: Position, what: impl fmt::Display) -> Stop {
    Stop::Flaw(Flaw {
        position: Some(position),
        what: what.to_string(),
    })
}

/// The files of a pack by what they are.
struct Files {
    entries: usize,
    nodes: usize,
    checkpoint: usize,
    heads: Vec<(Date, usize)>,
    streams: usize,
    policy: usize,
    csv: usize,
    config: usize,
    /// By the ids of their entries.
    artefacts: Vec<(String, usize)>,
    /// What nobody reads but a person.
    others: [usize; 3],
}

/// What the ledger's own entries say.
#[derive(Default)]
pub(super) struct Facts {
    pub origin: Option<String>,
    pub log_keys: Vec<VerifierKey>,
    pub receipt_keys: Vec<VerifierKey>,
    pub policy: String,
    /// The same keys over time, as their rotations hold.
    pub keys: KeyHistory,
    /// The first rotation that does not hold.
    pub rotation_flaw: Option<Flaw>,
    /// `RetentionApplied`: position, first and last day.
    pruned: BTreeMap<u64, (Date, Date)>,
}

impl Facts {
    fn take(&mut self, entry: &Entry<'_>) {
        #[derive(Deserialize)]
        struct Says {
            origin: Option<String>,
            #[serde(default)]
            log_keys: Vec<String>,
            #[serde(default)]
            receipt_keys: Vec<String>,
            /// A text, or in `RetentionApplied` the position of one.
            policy: Option<serde_json::Value>,
            role: Option<String>,
            new: Option<String>,
            days: Option<Days>,
        }
        #[derive(Deserialize)]
        struct Days {
            first: Date,
            last: Date,
        }
        let Ok(says) = serde_json::from_slice::<Says>(entry.payload) else {
            return;
        };
        let keys = |texts: &[String]| -> Vec<VerifierKey> {
            texts
                .iter()
                .filter_map(|text| VerifierKey::parse(text).ok())
                .collect()
        };
        let policy = says
            .policy
            .as_ref()
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        match entry.event_type {
            "LedgerCreated" => {
                self.origin = says.origin;
                self.log_keys = keys(&says.log_keys);
                self.receipt_keys = keys(&says.receipt_keys);
                self.policy = policy.to_owned();
                self.keys = KeyHistory::begin(entry.payload);
            }
            "WitnessPolicySet" => self.policy = policy.to_owned(),
            "KeyRotated" => {
                if let Err(what) = self.keys.take(entry) {
                    self.rotation_flaw.get_or_insert(Flaw {
                        position: Some(entry.position),
                        what,
                    });
                    return;
                }
                let new = keys(&says.new.into_iter().collect::<Vec<_>>());
                match says.role.as_deref() {
                    Some("receipt") => self.receipt_keys.extend(new),
                    Some("log") => self.log_keys.extend(new),
                    _ => {}
                }
            }
            "RetentionApplied" => {
                if let Some(days) = says.days {
                    self.pruned.insert(entry.position.get(), (days.first, days.last));
                }
            }
            _ => {}
        }
    }
}

/// What the pass over the entries gives.
pub(super) struct Passed {
    /// The roots where included checkpoints end, and the pack's own.
    pub roots: BTreeMap<u64, Hash>,
    pub facts: Facts,
    pub checked: Checked,
    /// The day of the ledger's first entry.
    pub created: Option<Date>,
    /// Whether the pack tells who the owners are.
    pub owners: bool,
    pub csv: FileOf,
    /// `config.json` made again, where it could be.
    pub config: Option<Vec<u8>>,
    /// What entries of the pack register, by id.
    pub artefacts: BTreeMap<String, Registered>,
    pub entries: u64,
    pub stubs: u64,
    pub values: u64,
    pub flaws: Vec<Flaw>,
}

struct Pack<'p, R> {
    archive: Archive<R>,
    progress: &'p mut dyn FnMut(Progress),
}

impl<R: Read + Seek> Pack<'_, R> {
    fn verify(&mut self, settings: &VerifySettings, out: &mut PackReport) -> Result<(), Stop> {
        let manifest_bytes = self.load_first(0, MANIFEST, MANIFEST_BYTES_MAX)?;
        let note = self.load_first(1, MANIFEST_NOTE, NOTE_BYTES_MAX)?;
        let manifest =
            Manifest::decode(&manifest_bytes).map_err(|error| flaw(format!("{MANIFEST}: {error}")))?;
        let manifest_sha256 = sha256(&manifest_bytes);
        out.manifest_sha256 = Some(manifest_sha256);
        out.query = Some(manifest.query.clone());
        out.asker = Some(manifest.asker.clone());
        out.software = Some(manifest.software.clone());
        let files = self.files(&manifest)?;
        for n in [files.policy, files.csv, files.config]
            .into_iter()
            .chain(files.others)
        {
            self.skim(n, &manifest, &mut out.report)?;
        }
        let signed = SignedCheckpoint::parse(&self.load(files.checkpoint, &manifest, NOTE_BYTES_MAX)?)
            .map_err(|error| flaw(format!("{CHECKPOINT}: {error}")))?;
        let says = signed.checkpoint();
        out.report.size = says.size();
        out.report.root = says.root();
        out.report.signed = Some(says.size());
        if (says.origin(), says.size()) != (manifest.origin.as_str(), manifest.size) {
            return Err(flaw("the manifest names another log or size than the checkpoint"));
        }
        let origin = expected_origin(settings, says.origin())?;
        out.report.origin = Some(origin.clone());
        if origin != says.origin() {
            return Err(flaw(format!(
                "the pack is of the log {}, not of {origin}",
                says.origin()
            )));
        }
        let mut heads = Vec::new();
        for (date, n) in &files.heads {
            heads.push((*date, self.load(*n, &manifest, TLOG_PROOF_BYTES_MAX)?));
        }
        let days = days(&heads, &manifest.query, says.size())?;
        let mut nodes = self.nodes(files.nodes, &manifest)?;
        let mut streams = StreamCheck::new(&manifest.query, &days);
        let lines = self.lines(files.streams, &manifest, &mut streams)?;
        let borders: Vec<u64> = days.iter().map(|day| day.position.size_through().get()).collect();
        let passed = self.entries(files.entries, &manifest, &borders, &mut nodes, streams)?;
        let counts = Counts {
            entries: passed.entries,
            heads: heads.len() as u64,
            nodes: nodes.count,
            streams: lines,
            stubs: passed.stubs,
        };
        if counts != manifest.counts {
            out.report.tampered(Flaw {
                position: None,
                what: "the manifest counts other entries, heads, nodes or streams than there are".to_owned(),
            });
        }
        let judge = Judge {
            settings,
            manifest: &manifest,
            signed: &signed,
            origin: &origin,
            days: &days,
            heads: &heads,
        };
        judge.derived(&passed, &mut out.report);
        self.artefacts(&files, &manifest, &passed, &mut out.report)?;
        judge.note(&note, &manifest_sha256, &passed.facts, &mut out.report);
        judge.conclude(passed, out).map_err(Stop::Failed)
    }

    /// The file of that place, which must have that name; the manifest says nothing of it.
    fn load_first(&mut self, n: usize, name: &str, bytes_max: usize) -> Result<Vec<u8>, Stop> {
        let file = self.archive.files.get(n).filter(|file| file.name == name);
        let file = file.ok_or_else(|| flaw(format!("{name} is not where it belongs")))?;
        let crc32 = file.crc32;
        if file.bytes > bytes_max as u64 {
            return Err(flaw(format!("{name} is larger than {bytes_max} bytes")));
        }
        let mut bytes = Vec::new();
        self.archive.content(n)?.read_to_end(&mut bytes)?;
        let mut crc = Crc32::new();
        crc.update(&bytes);
        if crc.finish() != crc32 {
            return Err(flaw(format!("{name} is not of its checksum")));
        }
        Ok(bytes)
    }

    /// The files that a pack has, in their order, and no others.
    fn files(&self, manifest: &Manifest) -> Result<Files, Stop> {
        let names: Vec<&str> = self.archive.files.iter().map(|file| file.name.as_str()).collect();
        let first = [MANIFEST, MANIFEST_NOTE, ENTRIES, NODES, CHECKPOINT];
        let last = [
            STREAMS,
            POLICY,
            READINGS_CSV,
            CONFIG,
            VERIFY_HTML,
            VERIFY_PY,
            README,
        ];
        let wrong = || flaw("the files of the pack are not those of a pack in their order");
        let artefacts = names.iter().filter(|name| is_meant(name)).count();
        let heads = names
            .len()
            .checked_sub(first.len() + artefacts + last.len())
            .ok_or_else(wrong)?;
        let at = first.len() + heads;
        let (before, behind) = last.split_at(ARTEFACTS_AFTER);
        let attached = at + before.len();
        if names[..first.len()] != first
            || names[at..attached] != *before
            || names[attached + artefacts..] != *behind
        {
            return Err(wrong());
        }
        let ids: Vec<&str> = names[attached..attached + artefacts]
            .iter()
            .filter_map(|name| artefact_of(name))
            .collect();
        if ids.len() != artefacts || !ids.is_sorted_by(|a, b| a < b) {
            return Err(wrong());
        }
        let dates: Vec<Date> = names[first.len()..at]
            .iter()
            .filter_map(|name| head_date(name))
            .collect();
        if dates.len() != heads || !dates.is_sorted_by(|a, b| a < b) {
            return Err(wrong());
        }
        let listed = self.archive.files[2..]
            .iter()
            .filter(|file| manifest.files.contains_key(&file.name));
        if listed.count() != manifest.files.len() || manifest.files.len() + 2 != names.len() {
            return Err(flaw("the manifest lists other files than there are"));
        }
        Ok(Files {
            entries: 2,
            nodes: 3,
            checkpoint: 4,
            heads: dates
                .into_iter()
                .enumerate()
                .map(|(n, date)| (date, first.len() + n))
                .collect(),
            streams: at,
            policy: at + 1,
            csv: at + 2,
            config: at + 3,
            artefacts: ids
                .into_iter()
                .enumerate()
                .map(|(n, id)| (id.to_owned(), attached + n))
                .collect(),
            others: [0, 1, 2].map(|n| attached + artefacts + n),
        })
    }

    /// A file's name and what manifest and directory say of it.
    fn says(&self, n: usize, manifest: &Manifest) -> Result<(String, FileOf, u32), Stop> {
        let file = self
            .archive
            .files
            .get(n)
            .ok_or_else(|| flaw("a file is missing"))?;
        let listed = manifest.files.get(&file.name).copied();
        let listed = listed.filter(|listed| listed.bytes == file.bytes);
        let listed = listed.ok_or_else(|| flaw(format!("{}: the manifest has another size", file.name)))?;
        Ok((file.name.clone(), listed, file.crc32))
    }

    /// A file's bytes, which are those of the manifest.
    fn load(&mut self, n: usize, manifest: &Manifest, bytes_max: usize) -> Result<Vec<u8>, Stop> {
        let (name, listed, crc32) = self.says(n, manifest)?;
        if listed.bytes > bytes_max as u64 {
            return Err(flaw(format!("{name} is larger than {bytes_max} bytes")));
        }
        let mut hashed = Hashed::new(self.archive.content(n)?);
        let mut bytes = Vec::new();
        hashed.read_to_end(&mut bytes)?;
        hashed.check(&name, &listed, crc32)?;
        Ok(bytes)
    }

    /// Hashes a file that is not read otherwise.
    fn skim(&mut self, n: usize, manifest: &Manifest, report: &mut Report) -> Result<(), Stop> {
        let (name, listed, crc32) = self.says(n, manifest)?;
        let mut hashed = Hashed::new(self.archive.content(n)?);
        io::copy(&mut hashed, &mut io::sink())?;
        match hashed.check(&name, &listed, crc32) {
            Err(Stop::Flaw(flaw)) => report.tampered(flaw),
            other => other?,
        }
        Ok(())
    }

    /// That every file that was put in is the one that its entry registers.
    fn artefacts(
        &mut self,
        files: &Files,
        manifest: &Manifest,
        passed: &Passed,
        report: &mut Report,
    ) -> Result<(), Stop> {
        for (id, n) in &files.artefacts {
            let (name, listed, crc32) = self.says(*n, manifest)?;
            let mut hashed = Hashed::new(self.archive.content(*n)?);
            let holds = match passed.artefacts.get(id) {
                Some(registered) => registered.is(listed.bytes, &mut hashed)?,
                None => false,
            };
            io::copy(&mut hashed, &mut io::sink())?;
            let what = match hashed.check(&name, &listed, crc32) {
                Err(Stop::Flaw(flaw)) => flaw.what,
                Err(other) => return Err(other),
                Ok(()) if holds => continue,
                Ok(()) => format!("{name} is not the file that an entry of the pack registers"),
            };
            report.tampered(Flaw { position: None, what });
        }
        let (given, known) = (files.artefacts.len(), passed.artefacts.len());
        if given > 0 {
            report.checked.push(format!(
                "{given} files of artefacts against the hashes registered"
            ));
        }
        if known > given {
            report.not_checked.push(format!(
                "the files of {} artefacts: the pack has their hashes and not the files",
                known - given
            ));
        }
        Ok(())
    }

    fn nodes(&mut self, n: usize, manifest: &Manifest) -> Result<Nodes, Stop> {
        let (name, listed, crc32) = self.says(n, manifest)?;
        let mut lines = Lines::new(&name, self.archive.content(n)?);
        let mut nodes = Nodes::default();
        while lines.next()? {
            let line = &lines.line;
            let node = node(line).ok_or_else(|| flaw(format!("{name}: line {} is none", lines.number)))?;
            nodes
                .push(node)
                .ok_or_else(|| flaw(format!("{name}: line {} is out of order", lines.number)))?;
        }
        lines.check(&listed, crc32)?;
        Ok(nodes)
    }

    /// Takes the lines of the maps. How many there are.
    fn lines(&mut self, n: usize, manifest: &Manifest, streams: &mut StreamCheck<'_>) -> Result<u64, Stop> {
        let (name, listed, crc32) = self.says(n, manifest)?;
        let mut lines = Lines::new(&name, self.archive.content(n)?);
        while lines.next()? {
            let line = MapLine::decode(&lines.line).and_then(|line| streams.line(line));
            line.map_err(|error| flaw(format!("{name}: line {}: {error}", lines.number)))?;
        }
        let count = lines.number;
        lines.check(&listed, crc32)?;
        Ok(count)
    }

    /// Every entry once: its form, its hash in the tree, its stream, what follows from it.
    fn entries(
        &mut self,
        n: usize,
        manifest: &Manifest,
        borders: &[u64],
        nodes: &mut Nodes,
        streams: StreamCheck<'_>,
    ) -> Result<Passed, Stop> {
        let (name, listed, crc32) = self.says(n, manifest)?;
        let mut walk = Walk::new(manifest.size, borders.to_vec());
        let mut ends: BTreeSet<u64> = borders.iter().copied().collect();
        ends.insert(manifest.size.get());
        let mut lines = Lines::new(&name, self.archive.content(n)?);
        let mut pass = Pass::new(&manifest.query, streams);
        let mut roots = Roots::new();
        let mut at = BTreeMap::new();
        let mut given = pass.next(&mut lines)?;
        while let Some(piece) = walk.next(given.map(|(position, _)| position.get())) {
            match (piece, given) {
                (Piece::Leaf(_), Some((_, leaf))) => {
                    roots.push(0, leaf);
                    given = pass.next(&mut lines)?;
                }
                (Piece::Leaf(_), None) => return Err(flaw("an entry is missing")),
                (Piece::Node { level, index }, _) => roots.push(level, nodes.take(level, index)?),
            }
            if ends.contains(&roots.size().get()) {
                at.insert(roots.size().get(), roots.root());
            }
            if lines.number.is_multiple_of(PROGRESS_ENTRIES) {
                (self.progress)(Progress {
                    done: lines.bytes,
                    total: listed.bytes,
                });
            }
        }
        if let Some((position, _)) = given {
            return Err(flaw_at(position, "this position is beyond the checkpoint"));
        }
        nodes.all_taken()?;
        lines.check(&listed, crc32)?;
        Ok(pass.finish(at))
    }
}

/// Bytes as they are read, with their hashes.
struct Hashed<R> {
    reader: R,
    sha256: Sha256Stream,
    crc32: Crc32,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            sha256: Sha256Stream::new(),
            crc32: Crc32::new(),
            bytes: 0,
        }
    }

    /// That everything read is what manifest and directory say.
    fn check(self, name: &str, listed: &FileOf, crc32: u32) -> Result<(), Stop> {
        if (self.sha256.finish(), self.bytes) != (listed.sha256, listed.bytes) {
            return Err(flaw(format!(
                "{name} is not what the manifest says: its SHA-256 is another one"
            )));
        }
        if self.crc32.finish() != crc32 {
            return Err(flaw(format!("{name} is not of its checksum")));
        }
        Ok(())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(out)?;
        self.sha256.update(&out[..n]);
        self.crc32.update(&out[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

/// The lines of a file.
struct Lines<R> {
    name: String,
    reader: BufReader<Hashed<R>>,
    /// The line, without its line feed.
    line: Vec<u8>,
    /// Which it is, from 1; after the last, how many there are.
    number: u64,
    bytes: u64,
}

impl<R: Read> Lines<R> {
    fn new(name: &str, reader: R) -> Self {
        Self {
            name: name.to_owned(),
            reader: BufReader::with_capacity(BUFFER_BYTES, Hashed::new(reader)),
            line: Vec::new(),
            number: 0,
            bytes: 0,
        }
    }

    /// Reads the next line; `false` at the end.
    fn next(&mut self) -> Result<bool, Stop> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let n = self
            .reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.line)?;
        if n == 0 {
            return Ok(false);
        }
        self.number += 1;
        self.bytes += n as u64;
        match self.line.pop() {
            Some(b'\n') => Ok(true),
            _ => Err(flaw(format!(
                "{}: line {} does not end, or is longer than any is",
                self.name, self.number
            ))),
        }
    }

    fn check(self, listed: &FileOf, crc32: u32) -> Result<(), Stop> {
        self.reader.into_inner().check(&self.name, listed, crc32)
    }
}

/// The hashes beside the entries, which are taken in the order of the walk.
#[derive(Default)]
struct Nodes {
    /// By height: index and hash, rising, and how many were taken.
    levels: BTreeMap<u8, (Vec<(u64, Hash)>, usize)>,
    count: u64,
}

impl Nodes {
    fn push(&mut self, (level, index, hash): (u8, u64, Hash)) -> Option<()> {
        if self.levels.range(level + 1..).next().is_some() {
            return None;
        }
        let (nodes, _) = self.levels.entry(level).or_default();
        if nodes.last().is_some_and(|(before, _)| *before >= index) {
            return None;
        }
        nodes.push((index, hash));
        self.count += 1;
        Some(())
    }

    fn take(&mut self, level: u8, index: u64) -> Result<Hash, Stop> {
        let position = Position(index << level);
        let missing = || {
            flaw_at(
                position,
                format!("{NODES}: the node {index} of level {level} is missing"),
            )
        };
        let (nodes, taken) = self.levels.get_mut(&level).ok_or_else(missing)?;
        match nodes.get(*taken) {
            Some((found, hash)) if *found == index => {
                *taken += 1;
                Ok(*hash)
            }
            Some((found, _)) if *found < index => Err(superfluous(level, *found)),
            _ => Err(missing()),
        }
    }

    fn all_taken(&self) -> Result<(), Stop> {
        for (level, (nodes, taken)) in &self.levels {
            if let Some((index, _)) = nodes.get(*taken) {
                return Err(superfluous(*level, *index));
            }
        }
        Ok(())
    }
}

fn superfluous(level: u8, index: u64) -> Stop {
    flaw(format!(
        "{NODES}: the node {index} of level {level} is one too many"
    ))
}

/// A line of `nodes.ndjson`.
fn node(line: &[u8]) -> Option<(u8, u64, Hash)> {
    let mut s = Scanner::new(line);
    s.literal(b"{\"hash\":").ok()?;
    let hash = Hash::from_base64(s.plain_string().ok()?)?;
    s.literal(b",\"index\":").ok()?;
    let index = s.unsigned().ok()?;
    s.literal(b",\"level\":").ok()?;
    let level = u8::try_from(s.unsigned().ok()?).ok()?;
    s.literal(b"}").ok()?;
    s.end().ok()?;
    (level < 63 && index <= (i64::MAX as u64) >> level).then_some((level, index, hash))
}

/// A line of `entries.ndjson` that is a stub: position, leaf hash, and which entry removed its bytes.
fn stub(line: &[u8]) -> Option<(Position, Hash, Option<Position>)> {
    let mut s = Scanner::new(line);
    s.literal(b"{\"leaf_hash\":").ok()?;
    let leaf = Hash::from_base64(s.plain_string().ok()?)?;
    s.literal(b",\"position\":").ok()?;
    let position = Position(s.unsigned().ok()?);
    let pruned_by = if s.take_if(b",\"pruned_by\":") {
        Some(Position(s.unsigned().ok()?))
    } else {
        s.literal(b",\"withheld\":true").ok()?;
        None
    };
    s.literal(b"}").ok()?;
    s.end().ok()?;
    Some((position, leaf, pruned_by))
}

/// The pass over the entries.
struct Pass<'a> {
    query: &'a Query,
    streams: StreamCheck<'a>,
    facts: Facts,
    rows: Rows,
    row: Vec<u8>,
    csv: Sha256Stream,
    csv_bytes: u64,
    config: Config,
    artefacts: BTreeMap<String, Registered>,
    derivable: bool,
    /// Devices that were at the site asked for.
    at_site: BTreeSet<String>,
    last: Option<(Position, Timestamp)>,
    created: Option<Date>,
    pruned: Vec<(Position, Position, Option<Date>)>,
    entries: u64,
    stubs: u64,
    values: u64,
    flaws: Vec<Flaw>,
}

impl<'a> Pass<'a> {
    fn new(query: &'a Query, streams: StreamCheck<'a>) -> Self {
        let mut csv = Sha256Stream::new();
        csv.update(CSV_HEADER.as_bytes());
        Self {
            query,
            streams,
            facts: Facts::default(),
            rows: Rows::new(query),
            row: Vec::new(),
            csv,
            csv_bytes: CSV_HEADER.len() as u64,
            config: Config::new(query),
            artefacts: BTreeMap::new(),
            derivable: true,
            at_site: BTreeSet::new(),
            last: None,
            created: None,
            pruned: Vec::new(),
            entries: 0,
            stubs: 0,
            values: 0,
            flaws: Vec::new(),
        }
    }

    /// Reads and checks the next line; its position and leaf hash.
    fn next<R: Read>(&mut self, lines: &mut Lines<R>) -> Result<Option<(Position, Hash)>, Stop> {
        if !lines.next()? {
            return Ok(None);
        }
        let line = &lines.line;
        let wrong = |what: &dyn fmt::Display| flaw(format!("{ENTRIES}: line {}: {what}", lines.number));
        if line.starts_with(b"{\"leaf_hash\":") {
            let (position, leaf, pruned_by) = stub(line).ok_or_else(|| wrong(&"it is no stub"))?;
            self.rises(position)?;
            self.streams.stub(position, pruned_by.is_some());
            if let Some(pruned_by) = pruned_by {
                self.pruned
                    .push((position, pruned_by, self.streams.date_of(position)));
            }
            self.last = Some((position, self.last.map_or(Timestamp::default(), |(_, at)| at)));
            self.stubs += 1;
            return Ok(Some((position, leaf)));
        }
        let entry = Entry::decode(line).map_err(|error| wrong(&error))?;
        self.rises(entry.position)?;
        if self.last.is_some_and(|(_, at)| entry.recorded_at < at) {
            self.flaw(entry.position, "recorded_at goes back".to_owned());
        }
        self.last = Some((entry.position, entry.recorded_at));
        let leaf = leaf_hash(line);
        self.entries += 1;
        self.take(&entry, &leaf);
        Ok(Some((entry.position, leaf)))
    }

    fn rises(&self, position: Position) -> Result<(), Stop> {
        match self.last {
            None if position != Position::FIRST => Err(flaw("the ledger's first entry is not in the pack")),
            Some((last, _)) if position <= last => {
                Err(flaw_at(position, format!("it stands behind position {last}")))
            }
            _ => Ok(()),
        }
    }

    fn flaw(&mut self, position: Position, what: String) {
        if self.flaws.len() < FINDINGS_MAX {
            self.flaws.push(Flaw {
                position: Some(position),
                what,
            });
        }
    }

    fn take(&mut self, entry: &Entry<'_>, leaf: &Hash) {
        let created = entry.event_type == "LedgerCreated" && entry.stream_is("ledger", "main");
        if entry.position == Position::FIRST && !created {
            self.flaw(entry.position, "the first entry is not LedgerCreated".to_owned());
        }
        if created {
            self.created = Some(entry.recorded_at.date());
        }
        self.streams.take(entry, leaf);
        if entry.stream_is("ledger", "main") {
            return self.facts.take(entry);
        }
        if entry.aggregate_type == "device"
            && let Subject::Site(site) = &self.query.subject
            && is_at(entry, site)
        {
            self.at_site.insert(entry.aggregate_id.to_owned());
        }
        if is_configuration(entry)
            && let Err(what) = self.config.take(entry)
        {
            self.derivable = false;
            self.flaw(entry.position, what);
        }
        match Registered::of(entry) {
            Ok(Some(it)) => _ = self.artefacts.insert(it.id.clone(), it),
            Ok(None) => {}
            Err(what) => self.flaw(entry.position, what),
        }
        self.row.clear();
        match self.rows.take(entry, &mut self.row) {
            Ok(Some(rests)) => self.streams.rests(entry, &rests),
            Ok(None) => {}
            Err(what) => self.flaw(entry.position, what),
        }
        self.values += self.row.iter().filter(|b| **b == b'\n').count() as u64;
        self.csv.update(&self.row);
        self.csv_bytes += self.row.len() as u64;
    }

    fn finish(mut self, roots: BTreeMap<u64, Hash>) -> Passed {
        for (position, by, date) in std::mem::take(&mut self.pruned) {
            let days = self.facts.pruned.get(&by.get());
            let lawful =
                days.is_some_and(|(first, last)| date.is_none_or(|date| (*first..=*last).contains(&date)));
            if !lawful {
                self.flaw(
                    position,
                    format!(
                        "its bytes are gone, and no RetentionApplied at position {by} of the pack says so"
                    ),
                );
            }
        }
        let subject = &self.query.subject;
        let owners = self.streams.owners(subject, &self.at_site);
        Passed {
            roots,
            facts: self.facts,
            created: self.created,
            owners: owners.is_some(),
            checked: self.streams.finish(owners),
            csv: FileOf {
                bytes: self.csv_bytes,
                sha256: self.csv.finish(),
            },
            config: self.config.encode().ok().filter(|_| self.derivable),
            artefacts: self.artefacts,
            entries: self.entries,
            stubs: self.stubs,
            values: self.values,
            flaws: self.flaws,
        }
    }
}

/// Which log it must be: what the asker says, what their keys say, what the pack says itself.
fn expected_origin(settings: &VerifySettings, own: &str) -> Result<String, Stop> {
    let key = settings.trust.origin();
    match (&settings.origin, key) {
        (Some(asked), Some(key)) if asked != key => Err(Stop::Failed(PackError::Settings(format!(
            "the key is of the log {key}, but the log {asked} is asked for"
        )))),
        (Some(asked), _) => Ok(asked.clone()),
        (None, key) => Ok(key.unwrap_or(own).to_owned()),
    }
}

/// The days that the heads close, as their entries say.
fn days(heads: &[(Date, Vec<u8>)], query: &Query, size: TreeSize) -> Result<Vec<Day>, Stop> {
    let mut days: Vec<Day> = Vec::new();
    for (date, bytes) in heads {
        let day = day(bytes, query).map_err(|what| flaw(format!("the head of {date}: {what}")))?;
        let before = days.last();
        let behind = before.is_none_or(|before| day.closed.first_position > before.position);
        let within = day.closed.first_position <= day.position
            && day.closed.size == day.position.size_before()
            && size.contains(day.position);
        let dated = day.closed.date == *date && day.closed.begins() <= *date;
        if !behind || !within || !dated {
            return Err(flaw(format!(
                "the head of {date} is not of a day of its own within the checkpoint"
            )));
        }
        days.push(day);
    }
    Ok(days)
}

fn day(head: &[u8], query: &Query) -> Result<Day, String> {
    let proof = TlogProof::parse(head).map_err(|error| error.to_string())?;
    let bytes = proof
        .extra
        .as_deref()
        .ok_or("it does not hold the entry DayClosed")?;
    let entry = Entry::decode(bytes).map_err(|error| error.to_string())?;
    if entry.event_type != DAY_CLOSED || !entry.stream_is("ledger", "main") || entry.position != proof.index {
        return Err("its entry is not DayClosed of its position".to_owned());
    }
    let closed: DayClosed = serde_json::from_slice(entry.payload).map_err(|error| error.to_string())?;
    let asked = closed.begins() <= query.to && closed.date >= query.from;
    Ok(Day {
        closed,
        position: entry.position,
        asked,
    })
}
