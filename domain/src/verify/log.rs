//! A whole ledger, entry by entry: canonical form, order, streams and their chains, days with their counts and maps.
//!
//! Invariants: every byte given is hashed and, unless told otherwise, parsed strictly; the first thing that does not
//! hold is named with its position; what could not be checked is said. Memory grows with the number of streams, not
//! of entries.
//! Source: FORMAT §2, §5, §6, §8.
//! Not here: signatures (`checkpoint`, `tlog_policy`), where the bytes come from.

use super::carried::{Carried, CarriedEntries};
use super::examine::{Examined, Examiner};
use super::log_hasher::{Hashed, KnownRoot, LeafMismatch, LogHasher};
use super::pruning::Pruning;
use super::verdict::Verdict;
use crate::continues::Continues;
use crate::day::{DAY_CLOSED, DayClosed, DayCounts, IDLE_DAYS_MAX, PreviousDay};
use crate::entry::Entry;
use crate::event::{CLASSES, Class, class_of};
use crate::hash::{Hash, sha256};
use crate::merkle::TileNodes;
use crate::position::{Position, TreeSize};
use crate::reading::{READING_RECORDED, READINGS};
use crate::rotation::{KEY_ROTATED, KeyHistory};
use crate::stream::{CHAIN_START, StreamDay, StreamKey, StreamMap, blind, chain};
use crate::time::{Date, Timestamp};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// How closely entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Every byte is parsed as the format says and compared with its canonical form.
    Canonical,
    /// Members are found, hashes, order, chains and days are checked; canonical form is not, and that is said.
    Hashes,
}

/// A day as it was closed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CheckedDay {
    /// The day.
    pub date: Date,
    /// The position of its `DayClosed`.
    pub position: Position,
    /// Entries of the day.
    pub entries: u64,
    /// Streams of the day.
    pub streams: u64,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogReport {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The origin that the ledger gives itself.
    pub origin: Option<String>,
    /// Entries and stubs.
    pub size: TreeSize,
    /// The root over them, base64.
    pub root: Hash,
    /// Up to this size a root from outside confirms them.
    pub anchored: TreeSize,
    /// Streams.
    pub streams: u64,
    /// Days that are closed, rising.
    pub days: Vec<CheckedDay>,
    /// Entries whose bytes were withheld.
    pub withheld: u64,
    /// Entries whose bytes retention removed.
    pub pruned: u64,
    /// The keys that it names for itself, over time.
    #[serde(skip)]
    pub keys: KeyHistory,
    /// The ledger that it continues, as it says.
    pub continues: Option<Continues>,
    /// The entries that it carried over from that one, as it says.
    #[serde(skip)]
    pub carried: Vec<Carried>,
    /// The witness policy in force at its end, as it says: a hint.
    pub policy: Option<String>,
    /// What was not checked, in words.
    pub not_checked: Vec<String>,
}

struct Stream {
    key: StreamKey,
    sequence: u64,
    chain: Hash,
    day_first: u64,
    /// A withheld entry may belong to any stream, so sequences may jump.
    today: bool,
}

/// Takes a ledger's entries in order.
pub struct LogVerifier {
    examiner: Examiner,
    expected_origin: Option<String>,
    origin: Option<String>,
    hasher: LogHasher,
    last_recorded_at: Option<Timestamp>,
    streams: Vec<Stream>,
    index: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    name: Vec<u8>,
    devices: HashMap<Box<str>, ([u8; 16], [u8; 16])>,
    touched: Vec<u32>,
    classes: HashMap<String, Class>,
    /// Of `classes`; nearly every entry asks.
    class_of_readings: Class,
    day: Day,
    days: Vec<CheckedDay>,
    withheld: u64,
    pruning: Pruning,
    keys: KeyHistory,
    continues: Option<Continues>,
    carried: CarriedEntries,
    policy: Option<String>,
    failure: Option<Verdict>,
}

#[derive(Default)]
struct Day {
    date: Option<Date>,
    first_position: Position,
    counts: DayCounts,
    withheld: u64,
    previous: Option<PreviousDay>,
}

impl LogVerifier {
    /// A ledger from its first entry. `origin` and the known roots come from outside, or are marked as not.
    pub fn new(strictness: Strictness, origin: Option<&str>, known: Vec<KnownRoot>) -> Self {
        Self {
            examiner: Examiner::new(strictness),
            expected_origin: origin.map(str::to_owned),
            origin: None,
            hasher: LogHasher::new(known),
            last_recorded_at: None,
            streams: Vec::new(),
            index: HashMap::default(),
            name: Vec::new(),
            devices: HashMap::new(),
            touched: Vec::new(),
            classes: HashMap::new(),
            class_of_readings: class_of(READING_RECORDED).unwrap_or(Class::Audit),
            day: Day::default(),
            days: Vec::new(),
            withheld: 0,
            pruning: Pruning::default(),
            keys: KeyHistory::default(),
            continues: None,
            carried: CarriedEntries::default(),
            policy: None,
            failure: None,
        }
    }

    /// How many entries so far.
    pub fn size(&self) -> TreeSize {
        self.hasher.size()
    }

    /// Whether everything so far holds.
    pub fn is_clean(&self) -> bool {
        self.failure.is_none() && self.hasher.is_clean()
    }

    /// From now on the nodes above the leaves are kept until [`LogVerifier::take_nodes`], to be held against tiles.
    pub fn keep_nodes(&mut self) {
        self.hasher.keep_nodes();
    }

    /// The nodes at heights 8, 16, … that became complete since they were last taken: `levels[1]` is height 8.
    pub fn take_nodes(&mut self, nodes: &mut TileNodes) {
        self.hasher.take_nodes(nodes);
    }

    /// An entry that was taken is not the one of its leaf hash, which is tied to a signed root: so it is named exactly.
    pub fn wrong_entry(&mut self, mismatch: LeafMismatch) {
        self.hasher.wrong_entry(mismatch);
    }

    /// Takes the next entry, and gives its leaf hash. After the first thing that does not hold only hashes are looked at.
    pub fn entry(&mut self, bytes: &[u8]) -> Hash {
        let examined = self.examiner.examine(bytes);
        self.examined(bytes, &examined)
    }

    /// The same for an entry that an [`Examiner`] of the same strictness has looked at, which may be done elsewhere.
    pub fn examined(&mut self, bytes: &[u8], examined: &Examined) -> Hash {
        let leaf = examined.leaf();
        let position = self.hasher.size().next_position();
        let root_before = (self.failure.is_none() && is_day_closed(bytes)).then(|| self.hasher.root());
        self.hasher.leaf(leaf);
        if self.failure.is_some() {
            return leaf;
        }
        let entry = examined.entry(bytes).map_err(|error| error.to_string());
        if let Err(what) = entry.and_then(|entry| self.check(position, &entry, &leaf, root_before)) {
            self.failure = Some(Verdict::Tampered {
                position: Some(position),
                what,
            });
        }
        leaf
    }

    /// Takes the leaf hash of an entry whose bytes are withheld.
    pub fn withheld(&mut self, leaf: Hash) {
        let position = self.hasher.size().next_position();
        self.pruning.withheld(position);
        self.carried.withheld(position);
        self.hasher.leaf(leaf);
        self.withheld += 1;
        self.day.withheld += 1;
    }

    /// Takes the leaf hash of an entry whose bytes are gone, and the position of what is said to have removed them.
    pub fn pruned(&mut self, leaf: Hash, by: Position) {
        self.pruning.gone(self.hasher.size().next_position(), by);
        self.hasher.leaf(leaf);
    }

    /// Whether every entry so far was there with its bytes.
    fn is_whole(&self) -> bool {
        self.withheld == 0 && self.pruning.pruned() == 0
    }

    /// No more entries.
    pub fn finish(mut self) -> LogReport {
        let mut not_checked = Vec::new();
        if self.examiner.strictness() == Strictness::Hashes {
            not_checked.push("canonical form of the entries".to_owned());
        }
        if self.withheld > 0 {
            not_checked.push(format!(
                "{} withheld entries: their streams' chains, the maps of their days, and that their bytes are still kept",
                self.withheld
            ));
        }
        let pruned = self.pruning.pruned();
        if pruned > 0 {
            not_checked.push(format!(
                "{pruned} pruned entries: their streams' chains and the maps of their days"
            ));
        }
        if pruned > 0 && (self.pruning.has_hole() || self.pruning.retention().has_holds()) {
            not_checked.push("whether what is pruned was under a hold".to_owned());
        }
        // Once something does not hold, days are not followed any more.
        if self.failure.is_none() {
            let found = self.pruning.check();
            not_checked.extend(found.not_checked);
            let first = found.wrong.into_iter().next();
            self.failure = first.map(|(position, what)| Verdict::Tampered {
                position: Some(position),
                what,
            });
        }
        let streams = self.streams.len() as u64;
        let hashed = self.hasher.finish();
        LogReport {
            verdict: verdict(self.failure, &hashed, self.withheld, pruned),
            origin: self.origin,
            size: hashed.size,
            root: hashed.root,
            anchored: hashed.anchored,
            streams,
            days: self.days,
            withheld: self.withheld,
            pruned,
            keys: self.keys,
            continues: self.continues,
            carried: self.carried.into_entries(),
            policy: self.policy,
            not_checked,
        }
    }

    fn check(
        &mut self,
        position: Position,
        entry: &Entry<'_>,
        leaf: &Hash,
        root_before: Option<Hash>,
    ) -> Result<(), String> {
        if entry.position != position {
            return Err(format!(
                "the entry says that it is at position {}",
                entry.position
            ));
        }
        if self.last_recorded_at.is_some_and(|last| entry.recorded_at < last) {
            return Err("recorded_at goes back".into());
        }
        self.last_recorded_at = Some(entry.recorded_at);
        if position == Position::FIRST {
            self.created(entry)?;
        }
        let closes_day = entry.event_type == DAY_CLOSED && entry.stream_is("ledger", "main");
        if entry.event_type == DAY_CLOSED && !closes_day {
            return Err("a DayClosed outside the ledger's own stream".into());
        }
        let stream = self.stream(entry)?;
        if closes_day {
            // The map is of the day, to which DayClosed itself does not belong.
            let map = self.map_of_day();
            self.extend(stream, entry, leaf, false)?;
            return self.close_day(entry, root_before.unwrap_or_default(), map);
        }
        self.extend(stream, entry, leaf, true)?;
        self.carried.take(entry, leaf, self.continues.as_ref())?;
        let date = entry.recorded_at.date();
        match self.day.date {
            None => self.day.date = Some(date),
            Some(open) if open != date => {
                return Err(format!("recorded on {date}, but {open} is not closed"));
            }
            Some(_) => {}
        }
        let class = self.class(entry.event_type);
        self.day.counts.count(class);
        self.pruning.shown(position, class);
        if entry.stream_is("ledger", "main") {
            self.pruning.retention().take(entry)?;
        }
        self.observe(entry)
    }

    /// Position 0 says what the ledger is.
    fn created(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        if entry.event_type != "LedgerCreated" || !entry.stream_is("ledger", "main") {
            return Err("the first entry is not LedgerCreated".into());
        }
        #[derive(Deserialize)]
        struct Created {
            origin: String,
            #[serde(default)]
            continues: Option<Continues>,
            #[serde(default)]
            policy: Option<String>,
        }
        let created: Created =
            serde_json::from_slice(entry.payload).map_err(|e| format!("LedgerCreated: {e}"))?;
        if self
            .expected_origin
            .as_ref()
            .is_some_and(|expected| *expected != created.origin)
        {
            return Err(format!(
                "the ledger calls itself {}, expected {}",
                created.origin,
                self.expected_origin.as_deref().unwrap_or_default()
            ));
        }
        self.origin = Some(created.origin);
        self.keys = KeyHistory::begin(entry.payload);
        (self.continues, self.policy) = (created.continues, created.policy);
        Ok(())
    }

    fn class(&self, event_type: &str) -> Class {
        if event_type == READING_RECORDED {
            return self.class_of_readings;
        }
        if let Some(class) = self.classes.get(event_type) {
            return *class;
        }
        class_of(event_type).unwrap_or(Class::Audit)
    }

    /// The stream of an entry; a new one gets its names from its first entry.
    fn stream(&mut self, entry: &Entry<'_>) -> Result<u32, String> {
        self.name.clear();
        self.name.extend_from_slice(entry.aggregate_type.as_bytes());
        self.name.push(b'/');
        self.name.extend_from_slice(entry.aggregate_id.as_bytes());
        if let Some(&at) = self.index.get(&*self.name) {
            return Ok(at);
        }
        let (account, owner) = self.names(entry)?;
        if entry.aggregate_type == "device" {
            self.devices.insert(entry.aggregate_id.into(), (account, owner));
        }
        let at = self.streams.len() as u32;
        let key = StreamKey::from_blinded(&account, &owner, &blind(&entry.stream_name()));
        self.streams.push(Stream {
            key,
            sequence: 0,
            chain: CHAIN_START,
            day_first: 0,
            today: false,
        });
        self.index.insert(self.name.as_slice().into(), at);
        Ok(at)
    }

    fn names(&self, entry: &Entry<'_>) -> Result<([u8; 16], [u8; 16]), String> {
        if entry.aggregate_type == READINGS {
            let names = self.devices.get(entry.aggregate_id).copied();
            return match names {
                Some(names) => Ok(names),
                // The device's registration may be among what is withheld.
                None if !self.is_whole() => Ok((blind("-"), blind("-"))),
                None => Err(format!(
                    "readings of {}, which was never registered",
                    entry.aggregate_id
                )),
            };
        }
        #[derive(Deserialize)]
        struct Names {
            account: Option<String>,
            owner: Option<String>,
        }
        let names: Names = serde_json::from_slice(entry.metadata).map_err(|e| format!("metadata: {e}"))?;
        let blinded = |name: &Option<String>| blind(name.as_deref().unwrap_or("-"));
        Ok((blinded(&names.account), blinded(&names.owner)))
    }

    fn extend(&mut self, stream: u32, entry: &Entry<'_>, leaf: &Hash, counts: bool) -> Result<(), String> {
        let may_jump = !self.is_whole();
        let s = &mut self.streams[stream as usize];
        let expected = s.sequence + 1;
        if entry.sequence != expected && !(may_jump && entry.sequence > expected) {
            return Err(format!(
                "sequence {} of {}, expected {expected}",
                entry.sequence,
                entry.stream_name()
            ));
        }
        s.sequence = entry.sequence;
        s.chain = chain(&s.chain, leaf);
        if counts && !s.today {
            s.today = true;
            s.day_first = entry.sequence;
            self.touched.push(stream);
        }
        if entry.stream_is("ledger", "main") {
            self.pruning.ledger(entry.position, entry.sequence - expected)?;
        }
        Ok(())
    }

    fn observe(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        match entry.event_type {
            "RequestsRefused" => {
                #[derive(Deserialize)]
                struct Refused {
                    refused: BTreeMap<String, u64>,
                }
                let refused: Refused =
                    serde_json::from_slice(entry.payload).map_err(|e| format!("RequestsRefused: {e}"))?;
                refused
                    .refused
                    .iter()
                    .for_each(|(code, count)| self.day.counts.refuse(code, *count));
            }
            "LedgerCreated" | "SoftwareStarted" | "RetentionPolicySet" => self.learn_classes(entry),
            // Where the first entry is withheld nobody knows whose signatures count.
            KEY_ROTATED if self.withheld == 0 || !self.keys.is_empty() => {
                self.keys.take(entry)?;
            }
            "WitnessPolicySet" => {
                #[derive(Deserialize)]
                struct Set {
                    policy: String,
                }
                let set: Set =
                    serde_json::from_slice(entry.payload).map_err(|e| format!("WitnessPolicySet: {e}"))?;
                self.policy = Some(set.policy);
            }
            _ => {}
        }
        Ok(())
    }

    /// The table of classes in force from here on.
    fn learn_classes(&mut self, entry: &Entry<'_>) {
        #[derive(Deserialize)]
        struct Table {
            #[serde(default)]
            classes: BTreeMap<String, String>,
        }
        let Ok(table) = serde_json::from_slice::<Table>(entry.payload) else {
            return;
        };
        for (event_type, class) in table.classes {
            if let Some(class) = Class::parse(&class) {
                self.classes.entry(event_type).or_insert(class);
            }
        }
        if let Some(class) = self.classes.get(READING_RECORDED) {
            self.class_of_readings = *class;
        }
    }

    fn close_day(&mut self, entry: &Entry<'_>, root_before: Hash, map: (Hash, u64)) -> Result<(), String> {
        let closed: DayClosed =
            serde_json::from_slice(entry.payload).map_err(|e| format!("DayClosed: {e}"))?;
        let size = entry.position.size_before();
        let wrong = |what: &str, said: &dyn std::fmt::Debug, is: &dyn std::fmt::Debug| {
            Err(format!(
                "DayClosed of {}: {what} is said to be {said:?}, but is {is:?}",
                closed.date
            ))
        };
        self.check_date(&closed, entry.recorded_at)?;
        if closed.size != size {
            return wrong("size", &closed.size.get(), &size.get());
        }
        if closed.first_position != self.day.first_position {
            return wrong(
                "first_position",
                &closed.first_position.get(),
                &self.day.first_position.get(),
            );
        }
        if closed.root != root_before {
            return wrong("root", &closed.root, &root_before);
        }
        if closed.previous != self.day.previous {
            return wrong("previous", &closed.previous, &self.day.previous);
        }
        let sum: u64 = closed.entries.values().sum();
        if sum != size.get() - closed.first_position.get() {
            return wrong(
                "the sum of entries",
                &sum,
                &(size.get() - closed.first_position.get()),
            );
        }
        if closed.entries.len() != CLASSES.len() {
            return Err(format!(
                "DayClosed of {}: not every class is counted",
                closed.date
            ));
        }
        let gone = self.pruning.gone_today();
        if self.day.withheld == 0 {
            // What of a day is gone is held against its counts at the end, when it is known what removed it.
            if gone == 0 && closed.entries != self.day.counts.entries() {
                return wrong("entries", &closed.entries, &self.day.counts.entries());
            }
            if gone == 0 && closed.refused != *self.day.counts.refused() {
                return wrong("refused", &closed.refused, self.day.counts.refused());
            }
        }
        let (root, count) = map;
        if self.is_whole() && (closed.streams.root != root || closed.streams.count != count) {
            return wrong("the stream map", &closed.streams, &(root, count));
        }
        self.pruning.close(&closed, entry.position);
        self.begin_day(&closed, entry.position, sum);
        Ok(())
    }

    /// Dates rise by one, or by an idle gap that says so; a day is not closed before it is over.
    fn check_date(&self, closed: &DayClosed, recorded_at: Timestamp) -> Result<(), String> {
        if recorded_at < closed.date.next().start() {
            return Err(format!("the day {} is closed before it is over", closed.date));
        }
        let open = self.day.date.unwrap_or(closed.date);
        let first = closed.idle_since.unwrap_or(closed.date);
        if first != open {
            return Err(format!(
                "the day {first} is closed, but {open} is the one that is open"
            ));
        }
        if closed.idle_since.is_some() {
            let idle_days = closed.date.days() - first.days() + 1;
            let idle = self.day.counts.total() + self.pruning.gone_today() == 0 && self.day.withheld == 0;
            if !idle || idle_days <= IDLE_DAYS_MAX {
                return Err(format!(
                    "{idle_days} days up to {} are closed as idle",
                    closed.date
                ));
            }
        }
        Ok(())
    }

    fn map_of_day(&mut self) -> (Hash, u64) {
        let mut map = StreamMap::new();
        for at in std::mem::take(&mut self.touched) {
            let s = &mut self.streams[at as usize];
            s.today = false;
            let day = StreamDay {
                key: s.key,
                first: s.day_first,
                last: s.sequence,
                chain: s.chain,
            };
            map.update(at, day);
        }
        map.settle();
        (map.root(), map.count())
    }

    fn begin_day(&mut self, closed: &DayClosed, position: Position, entries: u64) {
        self.days.push(CheckedDay {
            date: closed.date,
            position,
            entries,
            streams: closed.streams.count,
        });
        // Where the first entry is withheld, the ledger does not say it itself.
        let origin = self.origin.as_deref().or(self.expected_origin.as_deref());
        let origin = origin.unwrap_or_default();
        let text = format!("{origin}\n{}\n{}\n", position.size_through(), self.hasher.root());
        self.day = Day {
            date: Some(closed.date.next()),
            first_position: position.next(),
            previous: Some(PreviousDay {
                date: closed.date,
                position,
                checkpoint_sha256: sha256(text.as_bytes()),
            }),
            ..Day::default()
        };
    }
}

fn verdict(failure: Option<Verdict>, hashed: &Hashed, withheld: u64, pruned: u64) -> Verdict {
    let mut verdict = Verdict::Verified { size: hashed.size };
    if withheld > 0 || pruned > 0 {
        verdict = verdict.or_worse(Verdict::Partial {
            pruned,
            withheld,
            erased: 0,
        });
    }
    if hashed.anchored < hashed.size || hashed.size.is_empty() {
        verdict = verdict.or_worse(Verdict::Unanchored {
            anchored: hashed.anchored,
            size: hashed.size,
        });
    }
    if let Some(wrong) = hashed.verdict() {
        verdict = verdict.or_worse(wrong);
    }
    failure.into_iter().fold(verdict, Verdict::or_worse)
}

/// Whether it is worth computing the root before this entry. Canonical entries begin with their stream.
fn is_day_closed(bytes: &[u8]) -> bool {
    bytes
        .starts_with(b"{\"aggregate_id\":\"main\",\"aggregate_type\":\"ledger\",\"event_type\":\"DayClosed\"")
}
