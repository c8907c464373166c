//! The pass over the entries of a pack: form, order and times of each, and what follows from them.
//!
//! Invariant: every entry is seen once, in the order of positions; findings are kept up to a limit.
//! Source: FORMAT §2, §7.
//! Not here: that they lead to the checkpoint (`verify`), the streams (`streams`), the verdict (`judge`).

use super::ENTRIES;
use super::artefacts::Registered;
use super::derived::{CSV_HEADER, Config, Rows, is_told};
use super::manifest::{FileOf, Query, Subject};
use super::plan::is_at;
use super::read::{Lines, Stop, flaw, flaw_at};
use super::streams::{Checked, StreamCheck};
use crate::source::Flaw;
use domain::canonical::Scanner;
use domain::entry::Entry;
use domain::event::{Class, class_of};
use domain::hash::{Sha256Stream, leaf_hash};
use domain::note::VerifierKey;
use domain::rotation::KeyHistory;
use domain::verify::Retention;
use domain::{Date, Hash, Position, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

/// Findings of entries that are kept.
const FINDINGS_MAX: usize = 200;

/// What the ledger's own entries say.
#[derive(Default)]
pub struct Facts {
    pub origin: Option<String>,
    pub log_keys: Vec<VerifierKey>,
    pub receipt_keys: Vec<VerifierKey>,
    pub policy: String,
    /// The same keys over time, as their rotations hold.
    pub keys: KeyHistory,
    /// The first rotation that does not hold.
    pub rotation_flaw: Option<Flaw>,
    /// How long entries are kept, and what went.
    retention: Retention,
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
            /// A text, or in `RetentionApplied` a position.
            policy: Option<serde_json::Value>,
            role: Option<String>,
            new: Option<String>,
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
            _ => {}
        }
    }
}

/// What the pass over the entries gives.
pub struct Passed {
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

/// An entry whose bytes are gone.
struct Gone {
    position: Position,
    /// What is said to have removed them.
    by: Position,
    /// When its day begins, and its date; `None` where no day of the pack has it.
    day: Option<(Date, Date)>,
}

/// The pass over the entries.
pub struct Pass<'a> {
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
    pruned: Vec<Gone>,
    /// The first reading of each day that is shown.
    shown: BTreeMap<Date, Position>,
    entries: u64,
    stubs: u64,
    values: u64,
    flaws: Vec<Flaw>,
}

impl<'a> Pass<'a> {
    pub fn new(query: &'a Query, streams: StreamCheck<'a>) -> Self {
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
            shown: BTreeMap::new(),
            entries: 0,
            stubs: 0,
            values: 0,
            flaws: Vec::new(),
        }
    }

    /// Reads and checks the next line; its position and leaf hash.
    pub fn next<R: Read>(&mut self, lines: &mut Lines<R>) -> Result<Option<(Position, Hash)>, Stop> {
        if !lines.next()? {
            return Ok(None);
        }
        let line = &lines.line;
        let wrong = |what: &dyn fmt::Display| flaw(format!("{ENTRIES}: line {}: {what}", lines.number));
        if line.starts_with(b"{\"leaf_hash\":") {
            let (position, leaf, pruned_by) = stub(line).ok_or_else(|| wrong(&"it is no stub"))?;
            self.rises(position)?;
            self.streams.stub(position, pruned_by.is_some());
            if let Some(by) = pruned_by {
                let day = self.streams.dates_of(position);
                self.pruned.push(Gone { position, by, day });
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
            return match self.facts.retention.take(entry) {
                Ok(()) => self.facts.take(entry),
                Err(what) => self.flaw(entry.position, what),
            };
        }
        if class_of(entry.event_type) == Some(Class::Reading) {
            let date = entry.recorded_at.date();
            self.shown.entry(date).or_insert(entry.position);
        }
        if entry.aggregate_type == "device"
            && let Subject::Site(site) = &self.query.subject
            && is_at(entry, site)
        {
            self.at_site.insert(entry.aggregate_id.to_owned());
        }
        if is_told(entry)
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

    /// That what is gone was removed lawfully, and that what was removed is not shown.
    fn removed(&mut self) {
        let retention = std::mem::take(&mut self.facts.retention);
        for (position, what) in retention.unlawful(&self.streams.closed()) {
            self.flaw(position, what);
        }
        for Gone { position, by, day } in std::mem::take(&mut self.pruned) {
            let class = day.and_then(|(begins, date)| retention.class_of(by, begins, date));
            if class != Some(Class::Reading) || by <= position {
                let what = format!(
                    "its bytes are gone, and no RetentionApplied at position {by} of the pack says so"
                );
                self.flaw(position, what);
            }
        }
        for (date, position) in std::mem::take(&mut self.shown) {
            if let Some(by) = retention.removed(Class::Reading, date, date) {
                let what = format!("readings of {date} are shown after position {by} removed them");
                self.flaw(position, what);
            }
        }
    }

    pub fn finish(mut self, roots: BTreeMap<u64, Hash>) -> Passed {
        self.removed();
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
