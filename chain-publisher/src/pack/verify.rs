//! A verdict from a pack.
//!
//! Reads every byte of the file, hashes everything again, makes again what can be made again, and says what holds.
//! Invariants: nothing that the pack says of itself makes a verdict better than UNANCHORED; every file is held against the
//! manifest, the manifest against the ledger's receipt keys, every entry against the checkpoint, every stream against the
//! days; what could not be checked is said. Memory grows with streams, days and nodes.
//! Source: FORMAT §7, §8.
//! Not here: the container (`zip`), how files are read (`read`, `nodes`), what entries say (`pass`), streams and days
//! (`streams`), heads by themselves (`heads`), the verdict (`judge`) and its words (`report`).

use super::artefacts::{artefact_of, is_meant};
use super::judge::Judge;
use super::lines::MapLine;
use super::manifest::{Counts, FileOf, Manifest, Query};
use super::nodes::{Nodes, node};
use super::pass::{Pass, Passed};
use super::read::{Hashed, Lines, Stop, flaw, flaw_at};
use super::report::PackReport;
use super::streams::{Day, StreamCheck};
use super::walk::{Piece, Roots, Walk};
use super::zip::{Archive, Crc32, ZipError};
use super::{
    CHECKPOINT, CONFIG, ENTRIES, MANIFEST, MANIFEST_BYTES_MAX, MANIFEST_NOTE, NODES, POLICY, READINGS_CSV,
    README, STREAMS, VERIFY_HTML, VERIFY_PY, head_date,
};
use crate::evidence::EvidenceError;
use crate::report::Report;
use crate::source::Flaw;
use crate::verify::{Progress, VerifySettings};
use domain::checkpoint::SignedCheckpoint;
use domain::day::{DAY_CLOSED, DayClosed};
use domain::entry::Entry;
use domain::hash::sha256;
use domain::note::NOTE_BYTES_MAX;
use domain::tlog_proof::{TLOG_PROOF_BYTES_MAX, TlogProof};
use domain::{Date, TreeSize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek};

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
