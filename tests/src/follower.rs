//! A ledger followed from outside: every entry fetched once over HTTP, hashed into a tree of our own.
//!
//! It believes nothing twice: what was fetched before a crash must be what the tree still holds after it, because the
//! tree here goes on from there and every root that the service ever told (in answers, in checkpoints) must be a root
//! of this tree.
//! Invariants checked on the way: positions without gaps, `recorded_at` never back, sequences without gaps, no reading
//! twice, no conflict. Source: FORMAT §2, §3. Not here: signatures, proofs (the tests ask for those).

use crate::daybook::Daybook;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, NoNodes};
use domain::reading::{READING_CONFLICT, READING_RECORDED, Reading};
use domain::{Hash, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;

/// Entries asked for at once; the most that the service gives.
const PAGE_ENTRIES: u64 = 10_000;

/// Roots that somebody was told, by tree size.
pub type Claims = BTreeMap<u64, Hash>;

/// One value of a reading: the device's id, and the value, which the tests choose so that none comes twice.
pub type Value = (String, u64);

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The position of its entry.
    pub position: u64,
    /// When it was measured.
    pub measured_at: Timestamp,
}

/// What is known of a ledger.
#[derive(Default)]
pub struct Follower {
    frontier: Frontier,
    recorded_at: Option<Timestamp>,
    sequences: HashMap<String, u64>,
    values: HashMap<Value, Place>,
    types: BTreeMap<String, u64>,
}

impl Follower {
    /// Of an empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries were followed.
    pub fn size(&self) -> u64 {
        self.frontier.size().get()
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Where a value stands, if it was recorded.
    pub fn place(&self, device: &str, value: u64) -> Option<Place> {
        self.values.get(&(device.to_owned(), value)).copied()
    }

    /// How many values were recorded.
    pub fn values(&self) -> usize {
        self.values.len()
    }

    /// How many entries of a type there are.
    pub fn count(&self, event_type: &str) -> u64 {
        self.types.get(event_type).copied().unwrap_or_default()
    }

    /// Fetches what is new and folds it; every claim must be a root that the tree had.
    ///
    /// # Errors
    /// In words, naming the position.
    pub fn advance(&mut self, daybook: &Daybook, claims: &Claims) -> Result<(), String> {
        let mut claims = claims.range(self.size()..).peekable();
        self.compare(&mut claims)?;
        let mut end = u64::MAX;
        while self.size() < end {
            let from = self.size();
            let reply = daybook.get(&format!("/v1/entries?from={from}&limit={PAGE_ENTRIES}"));
            if reply.status != 200 {
                return Err(format!(
                    "/v1/entries?from={from}: {} {}",
                    reply.status,
                    reply.text()
                ));
            }
            if end == u64::MAX {
                let size = reply.header("daybook-size").and_then(|size| size.parse().ok());
                end = size.ok_or("/v1/entries does not say the ledger's size")?;
            }
            let lines = reply
                .body
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            for line in lines {
                self.push(line)
                    .map_err(|what| format!("position {}: {what}", self.size()))?;
                self.compare(&mut claims)?;
            }
            if self.size() == from && from < end {
                return Err(format!(
                    "the ledger says that it has {end} entries, but gives none from {from} on"
                ));
            }
        }
        match claims.next() {
            Some((size, _)) => Err(format!(
                "somebody was told of {size} entries, but there are only {end}"
            )),
            None => Ok(()),
        }
    }

    /// What was said of a tree of this size.
    fn compare<'a>(
        &self,
        claims: &mut Peekable<impl Iterator<Item = (&'a u64, &'a Hash)>>,
    ) -> Result<(), String> {
        match claims.next_if(|(size, _)| **size == self.size()) {
            Some((size, root)) if *root != self.root() => Err(format!(
                "the root at size {size} was said to be {root}, but its entries give {}",
                self.root()
            )),
            _ => Ok(()),
        }
    }

    fn push(&mut self, line: &[u8]) -> Result<(), String> {
        let position = self.size();
        if line.starts_with(b"{\"leaf_hash\"") {
            let stub: serde_json::Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            if stub["position"].as_u64() != Some(position) {
                return Err(format!("a stub of another position: {stub}"));
            }
            let leaf = stub["leaf_hash"].as_str().and_then(Hash::from_base64);
            self.frontier
                .push(leaf.ok_or("a stub without a leaf hash")?, &mut NoNodes);
            return Ok(());
        }
        let entry = Entry::decode(line).map_err(|e| format!("{e}: {}", String::from_utf8_lossy(line)))?;
        if entry.position.get() != position {
            return Err(format!("an entry of position {}", entry.position));
        }
        if self.recorded_at.is_some_and(|before| entry.recorded_at < before) {
            return Err(format!("recorded_at goes back to {}", entry.recorded_at));
        }
        self.recorded_at = Some(entry.recorded_at);
        self.follow_stream(&entry)?;
        *self.types.entry(entry.event_type.to_owned()).or_default() += 1;
        match entry.event_type {
            READING_RECORDED => self.add(position, &entry)?,
            READING_CONFLICT => return Err("two values for one time, though none was sent".to_owned()),
            _ => {}
        }
        self.frontier.push(leaf_hash(line), &mut NoNodes);
        Ok(())
    }

    /// Streams of withheld entries are not known to the end, so only what is shown is compared: of `tokens` nothing.
    fn follow_stream(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        if entry.aggregate_type == "tokens" {
            return Ok(());
        }
        let stream = format!("{}/{}", entry.aggregate_type, entry.aggregate_id);
        let sequence = self.sequences.entry(stream.clone()).or_default();
        if entry.sequence != *sequence + 1 {
            return Err(format!(
                "{stream} goes from sequence {sequence} to {}",
                entry.sequence
            ));
        }
        *sequence = entry.sequence;
        Ok(())
    }

    fn add(&mut self, position: u64, entry: &Entry<'_>) -> Result<(), String> {
        let reading = Reading::read(entry.payload).map_err(|e| e.to_string())?;
        let measured_at = reading.measured_at;
        for (key, value) in reading.values {
            let place = Place {
                position,
                measured_at,
            };
            let value = (entry.aggregate_id.to_owned(), value as u64);
            if let Some(first) = self.values.insert(value.clone(), place) {
                return Err(format!(
                    "{key} = {} of {} stands a second time; the first is at position {}",
                    value.1, value.0, first.position
                ));
            }
        }
        Ok(())
    }
}
