//! The heads of days, one after the other: what each must satisfy by itself and against the one before.
//!
//! Invariants: the leaf hash is computed from the entry in the file; nothing of a head is believed that its own proof
//! and the log's signature do not carry. A head that does not hold is named by its day.
//! Source: FORMAT §5.
//! Not here: whether the log has that root at that size (`verify`), the day's counts and map against its entries
//! (`domain::verify`).

use crate::evidence::{Trust, Witnesses};
use domain::add_checkpoint::AddCheckpoint;
use domain::day::{DAY_CLOSED, DayClosed, IDLE_DAYS_MAX, PreviousDay};
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::proof::root_before_last;
use domain::tlog_proof::TlogProof;
use domain::{Date, Hash, Position, Timestamp, TreeSize};

/// A cosignature later than this after its day's end is reported, seconds: a day.
const LATE_S: u64 = 86_400;

/// A head that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedHead {
    /// Its day.
    pub date: Date,
    /// The position of its `DayClosed`.
    pub position: Position,
    /// The size of its checkpoint.
    pub size: TreeSize,
    /// The root of its checkpoint.
    pub root: Hash,
    /// SHA-256 of its checkpoint's note body: what the next head calls it by.
    pub body_sha256: Hash,
    /// What it calls the head before by.
    pub previous: Option<PreviousDay>,
    /// The leaf hash of its `DayClosed`.
    pub leaf: Hash,
    /// When its day was closed, as the log says.
    pub closed_at: Timestamp,
    /// Entries of its day.
    pub entries: u64,
    /// Streams of its day.
    pub streams: u64,
    /// Who has cosigned it.
    pub witnesses: Witnesses,
}

/// Takes heads by rising day.
#[derive(Debug)]
pub struct HeadCheck<'a> {
    origin: &'a str,
    /// `None` where no key is known at all.
    trust: Option<&'a Trust>,
    last: Option<(DayClosed, Position, Hash)>,
}

impl<'a> HeadCheck<'a> {
    /// Heads of the log of that origin.
    pub fn new(origin: &'a str, trust: Option<&'a Trust>) -> Self {
        Self {
            origin,
            trust,
            last: None,
        }
    }

    /// Takes the head that is kept under that date.
    ///
    /// # Errors
    /// What does not hold, in words, and the position of its `DayClosed` where that much can be read.
    pub fn take(&mut self, date: Date, bytes: &[u8]) -> Result<CheckedHead, (Option<Position>, String)> {
        let proof = TlogProof::parse(bytes).map_err(|error| (None, error.to_string()))?;
        self.take_proof(Some(date), &proof)
    }

    /// Takes a head that was read; without a date, of whatever day it says that it is.
    ///
    /// # Errors
    /// As [`HeadCheck::take`].
    pub fn take_proof(
        &mut self,
        date: Option<Date>,
        proof: &TlogProof,
    ) -> Result<CheckedHead, (Option<Position>, String)> {
        self.check(date, proof).map_err(|what| (Some(proof.index), what))
    }

    /// Takes the same day's proof under a later checkpoint, which is not one of the heads that follow one another.
    ///
    /// # Errors
    /// As [`HeadCheck::take`].
    pub fn take_late(
        &self,
        date: Option<Date>,
        proof: &TlogProof,
    ) -> Result<CheckedHead, (Option<Position>, String)> {
        self.check_late(date, proof)
            .map_err(|what| (Some(proof.index), what))
    }

    fn check_late(&self, date: Option<Date>, proof: &TlogProof) -> Result<CheckedHead, String> {
        let bytes = entry_of(proof)?;
        let (entry, day) = day_closed(bytes, proof.index)?;
        if proof.size() <= proof.index.size_through() {
            return Err("its checkpoint is not a later one than the head's own".to_owned());
        }
        let witnesses = self.signatures(proof)?;
        proof
            .verify_inclusion(&leaf_hash(bytes))
            .map_err(|error| error.to_string())?;
        if day.date != date.unwrap_or(day.date) {
            return Err(format!("it is the head of {}", day.date));
        }
        if entry.recorded_at < day.date.next().start() {
            return Err("the day was closed before it was over".to_owned());
        }
        Ok(checked(&day, &entry, proof, witnesses))
    }

    fn check(&mut self, date: Option<Date>, proof: &TlogProof) -> Result<CheckedHead, String> {
        let bytes = entry_of(proof)?;
        let position = proof.index;
        let (entry, day) = day_closed(bytes, position)?;
        if proof.size() != position.size_through() {
            return Err("its checkpoint does not end with its DayClosed".to_owned());
        }
        let witnesses = self.signatures(proof)?;
        proof
            .verify_inclusion(&leaf_hash(bytes))
            .map_err(|error| error.to_string())?;
        if day.root != root_before_last(&proof.hashes) {
            return Err("the root that it states is not the one that its proof folds to".to_owned());
        }
        self.dates(date.unwrap_or(day.date), &day, &entry)?;
        let head = checked(&day, &entry, proof, witnesses);
        self.last = Some((day, position, head.body_sha256));
        Ok(head)
    }

    fn signatures(&self, proof: &TlogProof) -> Result<Witnesses, String> {
        let found = proof.checkpoint.checkpoint().origin();
        if found != self.origin {
            return Err(format!("it is of the log {found}"));
        }
        match self.trust {
            Some(trust) => trust.examine(self.origin, &proof.checkpoint),
            None => Ok(Witnesses::default()),
        }
    }

    /// Dates, counts, and what it says of the head before.
    fn dates(&self, date: Date, day: &DayClosed, entry: &Entry<'_>) -> Result<(), String> {
        if day.date != date {
            return Err(format!("it is the head of {}", day.date));
        }
        if entry.recorded_at < date.next().start() {
            return Err("the day was closed before it was over".to_owned());
        }
        let sum = day
            .entries
            .values()
            .try_fold(0u64, |sum, count| sum.checked_add(*count));
        let first = day.first_position;
        if sum.and_then(|sum| first.get().checked_add(sum)) != Some(day.size.get()) {
            return Err("its counts do not add up to its positions".to_owned());
        }
        let begins = day.idle_since.unwrap_or(date);
        if day.idle_since.is_some() && date.days() - begins.days() < IDLE_DAYS_MAX {
            return Err("it closes an idle gap that is none".to_owned());
        }
        match (&self.last, &day.previous) {
            (None, None) if first == Position::FIRST => Ok(()),
            (None, None) => Err("it names no head before it, but does not begin at position 0".to_owned()),
            // A copy may begin with a later day; the log itself tells whether the one before was as it says.
            (None, Some(_)) => Ok(()),
            (Some((_, last, _)), None) => {
                Err(format!("it names no head before it, but there is one at {last}"))
            }
            (Some((before, last, body)), Some(previous)) => {
                let named = (previous.date, previous.position, previous.checkpoint_sha256);
                if previous.date != before.date && previous.date > before.date {
                    // The head of the day between is not here.
                    return Ok(());
                }
                if named != (before.date, *last, *body) {
                    return Err(format!("it does not name the head of {} as it is", before.date));
                }
                if begins != before.date.next() || first != last.next() {
                    return Err(format!("it does not begin where {} ended", before.date));
                }
                Ok(())
            }
        }
    }
}

fn entry_of(proof: &TlogProof) -> Result<&[u8], String> {
    let entry = proof.extra.as_deref();
    entry.ok_or_else(|| "it does not hold the entry DayClosed".to_owned())
}

/// The entry and what it says, which must be of that position.
fn day_closed(bytes: &[u8], position: Position) -> Result<(Entry<'_>, DayClosed), String> {
    let entry = Entry::decode(bytes).map_err(|error| error.to_string())?;
    if entry.event_type != DAY_CLOSED || !entry.stream_is("ledger", "main") {
        return Err("its entry is not DayClosed in the ledger's own stream".to_owned());
    }
    let day: DayClosed = serde_json::from_slice(entry.payload).map_err(|error| error.to_string())?;
    if entry.position != position || day.size != position.size_before() {
        return Err("index, position and size of the day are not one and the same".to_owned());
    }
    Ok((entry, day))
}

fn checked(day: &DayClosed, entry: &Entry<'_>, proof: &TlogProof, witnesses: Witnesses) -> CheckedHead {
    CheckedHead {
        date: day.date,
        position: proof.index,
        size: proof.size(),
        root: proof.checkpoint.checkpoint().root(),
        body_sha256: proof.checkpoint.body_sha256(),
        previous: day.previous,
        leaf: proof.extra.as_deref().map(leaf_hash).unwrap_or_default(),
        closed_at: entry.recorded_at,
        // Its counts add up to this.
        entries: day.size.since(day.first_position.size_before()),
        streams: day.streams.count,
        witnesses,
    }
}

impl CheckedHead {
    /// Checks that the head continues the one before as a tree, by an add-checkpoint body; whether `before`, the root of
    /// the head that it names, was there to check it against.
    ///
    /// # Errors
    /// What does not hold, in words.
    pub fn check_consistency(&self, body: &AddCheckpoint, before: Option<&Hash>) -> Result<bool, String> {
        if body.checkpoint.body_sha256() != self.body_sha256 {
            return Err(format!(
                "its checkpoint is not the one of the head of {}",
                self.date
            ));
        }
        let old = self.previous.map(|previous| previous.position.size_through());
        if old != Some(body.old) {
            return Err(format!("it does not begin at the head before {}", self.date));
        }
        match before {
            None => Ok(false),
            Some(root) => body
                .verify_consistency(root)
                .map(|()| true)
                .map_err(|error| error.to_string()),
        }
    }

    /// Whether it names that head as the one before it.
    pub fn continues(&self, before: &Self) -> bool {
        self.previous
            .is_some_and(|previous| previous.checkpoint_sha256 == before.body_sha256)
    }

    /// The earliest time at which a witness had seen it: its entries were written before.
    pub fn witnessed_at(&self) -> Option<Timestamp> {
        let seconds = i64::try_from(self.witnesses.first_s?).ok()?;
        Timestamp::from_millis(seconds.checked_mul(1000)?)
    }

    /// What is odd about the times at which it was cosigned, in words.
    pub fn oddities(&self) -> Vec<String> {
        let end_s = u64::try_from(self.date.next().start().as_micros() / 1_000_000).unwrap_or(0);
        let mut odd = Vec::new();
        if self.witnesses.first_s.is_some_and(|at| at < end_s) {
            odd.push(format!(
                "EARLY: the head of {} was cosigned before the day was over",
                self.date
            ));
        }
        if self.witnesses.last_s.is_some_and(|at| at > end_s + LATE_S) {
            odd.push(format!(
                "LATE: the head of {} was cosigned more than a day after it",
                self.date
            ));
        }
        odd
    }
}
