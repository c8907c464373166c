//! The sequencer's own state: a fold of entries, so that it can always be made again from the ledger.
//!
//! Derived. Invariants: folding the same entries gives the same state, whether they were just recorded or are
//! read at start; a state belongs to exactly one tree size.
//! Not here: configuration (`domain::registry`), which readings are new (`batch`).

use super::days::Moved;
use super::dedup::{Dedup, SeenItem, short};
use super::slots::Slots;
use domain::day::{DayClosed, DayCounts, PreviousDay};
use domain::entry::Entry;
use domain::event::{Class, class_of};
use domain::hash::{Hash, sha256};
use domain::merkle::{Frontier, NodeSink};
use domain::reading::{READING_RECORDED, READINGS, Reading};
use domain::registry::Registry;
use domain::stream::{CHAIN_START, StreamDay, StreamKey, blind, chain};
use domain::{Date, Position, Timestamp, TreeSize};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// How long an idempotency key is known (REFERENCE §1.2), microseconds.
pub const IDEMPOTENCY_WINDOW_US: i64 = 24 * 3600 * 1_000_000;
/// Most idempotency keys known at once: about 150 MB; the oldest are forgotten first.
pub const IDEMPOTENCY_KEYS_MAX: usize = 1_000_000;
/// How long a radio frame is known, microseconds. Network servers repeat for about an hour; a device without a
/// session of its own begins its counter anew after a reset, so it must not be known for ever.
pub const UPLINK_WINDOW_US: i64 = 24 * 3600 * 1_000_000;
/// Most radio frames known at once.
pub const UPLINKS_MAX: usize = 500_000;

/// A stream as the sequencer knows it.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub account: [u8; 16],
    pub owner: [u8; 16],
    pub name: [u8; 16],
    pub sequence: u64,
    pub chain: Hash,
    /// Sequence of its first entry of the day numbered `day`; read through [`State::day_first`].
    pub day_first: u64,
    /// Which day `day_first` is of, so that a day begins without touching a million streams.
    pub day: u32,
    /// Whether the day's map has not heard of its latest entry.
    pub dirty: bool,
}

impl Stream {
    fn of_day(&self, first: u64) -> StreamDay {
        StreamDay {
            key: StreamKey::from_blinded(&self.account, &self.owner, &self.name),
            first,
            last: self.sequence,
            chain: self.chain,
        }
    }
}

/// Positions of each stream's entries but for readings: how aggregates are loaded, and which streams an account has.
#[derive(Debug, Clone, Default)]
pub struct StreamPositions(Arc<RwLock<Places>>);

#[derive(Debug, Default)]
struct Places {
    streams: HashMap<[u8; 16], Vec<Position>>,
    /// The streams of an account, in order of their first entries.
    accounts: HashMap<[u8; 16], Vec<[u8; 16]>>,
    /// What was learnt of an account's streams by who read their first entries.
    learnt: HashMap<[u8; 16], Learnt>,
    /// Rises when everything is replaced: what was read before says nothing of what is there now.
    generation: u64,
}

/// Names tell nothing of what a stream is; of facts, such as alarms, there may be very many, and what is no fact is
/// asked for again and again.
#[derive(Debug, Default)]
struct Learnt {
    /// How many of the account's streams were looked at, from the first on.
    looked_at: usize,
    /// Which of them are wanted, in order of their first entries.
    wanted: Vec<[u8; 16]>,
}

/// Streams of an account that nobody looked at yet: where their first entries are.
#[derive(Debug)]
pub struct Unlearnt {
    /// The positions, in the order in which the streams began.
    pub firsts: Vec<Position>,
    account: [u8; 16],
    looked_at: usize,
    generation: u64,
}

impl StreamPositions {
    /// The positions of a stream's entries, rising.
    pub fn of(&self, aggregate_type: &str, aggregate_id: &str) -> Vec<Position> {
        let name = blind(&format!("{aggregate_type}/{aggregate_id}"));
        self.0.read().streams.get(&name).cloned().unwrap_or_default()
    }

    /// The positions of every entry of an account but its readings, rising, stream by stream.
    pub fn of_account(&self, account: &str) -> Vec<Vec<Position>> {
        let places = self.0.read();
        let names = places.accounts.get(&blind(account));
        let streams = names.into_iter().flatten();
        streams
            .filter_map(|name| places.streams.get(name).cloned())
            .collect()
    }

    /// The streams of an account that begin below a size and that nobody looked at yet, so that
    /// [`StreamPositions::learn`] is told of each whether it is wanted.
    pub fn unlearnt(&self, account: &str, end: TreeSize) -> Unlearnt {
        let (places, account) = (self.0.read(), blind(account));
        let looked_at = places.learnt.get(&account).map_or(0, |learnt| learnt.looked_at);
        let names = places.accounts.get(&account).map_or(&[][..], Vec::as_slice);
        let first = |name| places.streams.get(name)?.first().copied();
        let firsts = names.iter().skip(looked_at).map_while(first);
        Unlearnt {
            firsts: firsts.take_while(|first| end.contains(*first)).collect(),
            account,
            looked_at,
            generation: places.generation,
        }
    }

    /// Keeps which of these streams are wanted, one answer for each of the first of them. Who looked at the same ones
    /// meanwhile was first, and found the same.
    pub fn learn(&self, unlearnt: &Unlearnt, are_wanted: &[bool]) {
        let places = &mut *self.0.write();
        let learnt = places.learnt.entry(unlearnt.account).or_default();
        if places.generation != unlearnt.generation || learnt.looked_at != unlearnt.looked_at {
            return;
        }
        let names = places
            .accounts
            .get(&unlearnt.account)
            .map_or(&[][..], Vec::as_slice);
        let names = &names[unlearnt.looked_at.min(names.len())..];
        let wanted = names.iter().zip(are_wanted).filter(|(_, wanted)| **wanted);
        learnt.wanted.extend(wanted.map(|(name, _)| *name));
        learnt.looked_at += are_wanted.len().min(names.len());
    }

    /// The positions of an account's wanted streams, stream by stream, of those that were looked at.
    pub fn wanted(&self, account: &str) -> Vec<Vec<Position>> {
        let places = self.0.read();
        let learnt = places.learnt.get(&blind(account));
        let names = learnt.into_iter().flat_map(|learnt| &learnt.wanted);
        names
            .filter_map(|name| places.streams.get(name).cloned())
            .collect()
    }

    /// How many entries a stream has.
    pub fn count(&self, aggregate_type: &str, aggregate_id: &str) -> u64 {
        let name = blind(&format!("{aggregate_type}/{aggregate_id}"));
        self.0
            .read()
            .streams
            .get(&name)
            .map_or(0, |positions| positions.len() as u64)
    }

    pub(super) fn push(&self, account: [u8; 16], name: [u8; 16], position: Position) {
        let places = &mut *self.0.write();
        let positions = places.streams.entry(name).or_default();
        if positions.is_empty() {
            places.accounts.entry(account).or_default().push(name);
        }
        positions.push(position);
    }

    /// Everything that `gathered` holds, in one step; `gathered` is empty after it.
    pub(super) fn take_over(&self, gathered: &Self) {
        let all = std::mem::take(&mut *gathered.0.write());
        self.put(all);
    }

    /// Takes these in place of what is there; `accounts` says whose the streams are, in order of first entries.
    pub(super) fn replace(
        &self,
        all: HashMap<[u8; 16], Vec<Position>>,
        accounts: impl Iterator<Item = ([u8; 16], [u8; 16])>,
    ) {
        let mut places = Places {
            streams: all,
            ..Places::default()
        };
        for (account, name) in accounts.filter(|(_, name)| places.streams.contains_key(name)) {
            places.accounts.entry(account).or_default().push(name);
        }
        self.put(places);
    }

    fn put(&self, mut places: Places) {
        let mut now = self.0.write();
        places.generation = now.generation + 1;
        *now = places;
    }

    /// The positions of every entry but readings, rising.
    pub fn all(&self) -> Vec<Position> {
        let mut all: Vec<Position> = self.0.read().streams.values().flatten().copied().collect();
        all.sort_unstable();
        all
    }

    pub(super) fn with<R>(&self, read: impl FnOnce(&HashMap<[u8; 16], Vec<Position>>) -> R) -> R {
        read(&self.0.read().streams)
    }
}

/// The day that is not closed yet.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenDay {
    /// Rises by one with each day that begins; of this process only.
    pub number: u32,
    pub date: Option<Date>,
    pub first_position: Position,
    pub counts: DayCounts,
    pub unclean: bool,
    pub held_us: i64,
    pub previous: Option<PreviousDay>,
}

/// Everything the sequencer keeps in mind.
#[derive(Debug)]
pub(super) struct State {
    pub origin: String,
    pub frontier: Frontier,
    pub last_recorded_at: Option<Timestamp>,
    pub streams: Vec<Stream>,
    pub index: HashMap<[u8; 16], u32>,
    pub touched: Vec<u32>,
    pub day: OpenDay,
    pub idempotency: Dedup,
    pub uplinks: Dedup,
    pub slots: Slots,
    pub positions: StreamPositions,
}

/// An entry does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {what}")]
pub struct FoldError {
    pub position: Position,
    pub what: String,
}

impl State {
    pub fn new(origin: &str, positions: StreamPositions) -> Self {
        positions.replace(HashMap::new(), std::iter::empty());
        Self {
            origin: origin.to_owned(),
            frontier: Frontier::new(),
            last_recorded_at: None,
            streams: Vec::new(),
            index: HashMap::new(),
            touched: Vec::new(),
            day: OpenDay::default(),
            idempotency: Dedup::new(IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_WINDOW_US),
            uplinks: Dedup::new(UPLINKS_MAX, UPLINK_WINDOW_US),
            slots: Slots::default(),
            positions,
        }
    }

    pub fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// The stream of that name, made with these names if it is new.
    pub fn stream(
        &mut self,
        aggregate_type: &str,
        aggregate_id: &str,
        names: impl FnOnce() -> (String, String),
    ) -> u32 {
        let name = blind(&format!("{aggregate_type}/{aggregate_id}"));
        if let Some(&at) = self.index.get(&name) {
            return at;
        }
        let (account, owner) = names();
        let at = self.streams.len() as u32;
        self.streams.push(Stream {
            account: blind(&account),
            owner: blind(&owner),
            name,
            sequence: 0,
            chain: CHAIN_START,
            day_first: 0,
            day: self.day.number,
            dirty: false,
        });
        self.index.insert(name, at);
        at
    }

    /// The sequence of a stream; 0 where it has no entry.
    pub fn sequence(&self, aggregate_type: &str, aggregate_id: &str) -> u64 {
        let name = blind(&format!("{aggregate_type}/{aggregate_id}"));
        self.index
            .get(&name)
            .map_or(0, |&at| self.streams[at as usize].sequence)
    }

    /// One more entry in a stream: sequence, chain, the day's counts. The tree is extended by the caller.
    #[inline]
    pub fn advance(&mut self, stream: u32, leaf: &Hash, class: Class) {
        let s = &mut self.streams[stream as usize];
        s.sequence += 1;
        s.chain = chain(&s.chain, leaf);
        if s.day != self.day.number || s.day_first == 0 {
            (s.day, s.day_first) = (self.day.number, s.sequence);
        }
        if !s.dirty {
            s.dirty = true;
            self.touched.push(stream);
        }
        self.day.counts.count(class);
    }

    /// Sequence of a stream's first entry of the open day; 0 = none yet.
    pub fn day_first(&self, stream: &Stream) -> u64 {
        if stream.day == self.day.number {
            stream.day_first
        } else {
            0
        }
    }

    /// What the streams touched since the last call did today.
    pub fn take_touched(&mut self) -> Vec<Moved> {
        let touched = std::mem::take(&mut self.touched);
        for &at in &touched {
            self.streams[at as usize].dirty = false;
        }
        touched.into_iter().filter_map(|at| self.moved(at)).collect()
    }

    /// What every stream did today; the touched ones are not touched any more.
    pub fn all_moved(&mut self) -> Vec<Moved> {
        self.forget_touched();
        (0..self.streams.len() as u32)
            .filter_map(|at| self.moved(at))
            .collect()
    }

    fn moved(&self, at: u32) -> Option<Moved> {
        let stream = &self.streams[at as usize];
        let first = self.day_first(stream);
        (first > 0).then(|| (at, stream.of_day(first)))
    }

    fn forget_touched(&mut self) {
        for at in std::mem::take(&mut self.touched) {
            self.streams[at as usize].dirty = false;
        }
    }

    /// Forgets what the streams did: another day begins.
    fn begin_day(&mut self, date: Date, first_position: Position, previous: PreviousDay) {
        self.forget_touched();
        self.day = OpenDay {
            number: self.day.number + 1,
            date: Some(date),
            first_position,
            previous: Some(previous),
            ..OpenDay::default()
        };
    }

    /// Takes an entry from the ledger: everything that recording it would have done.
    /// Nodes of the tree that become complete go to `nodes`.
    pub fn fold(
        &mut self,
        entry: &Entry<'_>,
        leaf: &Hash,
        registry: &Registry,
        nodes: &mut impl NodeSink,
    ) -> Result<(), FoldError> {
        let wrong = |what: String| FoldError {
            position: entry.position,
            what,
        };
        if entry.position.get() != self.size().get() {
            return Err(wrong(format!("expected position {}", self.size())));
        }
        if self.last_recorded_at.is_some_and(|last| entry.recorded_at < last) {
            return Err(wrong("recorded_at goes back".into()));
        }
        let class = class_of(entry.event_type).unwrap_or(Class::Audit);
        let readings = entry.aggregate_type == READINGS;
        let slot = readings
            .then(|| self.slots.of(entry.aggregate_id, registry))
            .flatten();
        let stream = self.stream(entry.aggregate_type, entry.aggregate_id, || match slot {
            Some(_) => registry.device_anywhere(entry.aggregate_id).map_or_else(
                || ("-".into(), "-".into()),
                |d| (d.account.to_string(), d.id.to_string()),
            ),
            None => names_of(entry.metadata),
        });
        let expected = self.streams[stream as usize].sequence + 1;
        if entry.sequence != expected {
            return Err(wrong(format!(
                "sequence {} of {}, expected {expected}",
                entry.sequence,
                entry.stream_name()
            )));
        }
        self.day.date.get_or_insert(entry.recorded_at.date());
        let closes_day = entry.event_type == domain::day::DAY_CLOSED;
        if closes_day {
            // DayClosed belongs to no day, but to its stream.
            let s = &mut self.streams[stream as usize];
            s.sequence += 1;
            s.chain = chain(&s.chain, leaf);
        } else {
            self.advance(stream, leaf, class);
        }
        self.frontier.push(*leaf, nodes);
        self.last_recorded_at = Some(entry.recorded_at);
        if !readings {
            let stream = &self.streams[stream as usize];
            self.positions.push(stream.account, stream.name, entry.position);
        }
        self.observe(entry, slot);
        if closes_day {
            let closed: DayClosed =
                serde_json::from_slice(entry.payload).map_err(|e| wrong(format!("DayClosed: {e}")))?;
            self.close(&closed, entry.position);
        }
        Ok(())
    }

    /// After a `DayClosed` has been added to stream and tree.
    pub fn close(&mut self, closed: &DayClosed, position: Position) {
        let text = format!(
            "{}\n{}\n{}\n",
            self.origin,
            position.size_through(),
            self.frontier.root()
        );
        let previous = PreviousDay {
            date: closed.date,
            position,
            checkpoint_sha256: sha256(text.as_bytes()),
        };
        self.begin_day(closed.date.next(), position.next(), previous);
    }

    /// What an entry means to duplicates, refusals and clocks.
    fn observe(&mut self, entry: &Entry<'_>, slot: Option<u32>) {
        if entry.event_type == READING_RECORDED
            && let (Some(slot), Ok(reading)) = (slot, Reading::read(entry.payload))
        {
            self.slots.observe(slot, &reading, entry.position);
        }
        let known = b"\"idempotency\"";
        let marked = entry.metadata.windows(known.len()).any(|w| w == known)
            || entry
                .metadata
                .windows(8)
                .any(|w| w == b"\"uplink\"" || w == b"\"clock\":");
        if marked {
            let account = slot.map(|slot| self.slots.get(slot).account.clone());
            self.observe_metadata(entry, account.as_deref());
        }
        if entry.event_type == "RequestsRefused"
            && let Ok(refused) = serde_json::from_slice::<RefusedPayload>(entry.payload)
        {
            for (code, count) in refused.refused {
                self.day.counts.refuse(&code, count);
            }
        }
    }

    /// `account` is that of the reading's device: readings do not carry it.
    fn observe_metadata(&mut self, entry: &Entry<'_>, account: Option<&str>) {
        let Ok(metadata) = serde_json::from_slice::<Marks>(entry.metadata) else {
            return;
        };
        let values = if entry.event_type == READING_RECORDED {
            Reading::read(entry.payload).map_or(0, |r| r.values.len() as u32)
        } else {
            0
        };
        let item = SeenItem {
            request: metadata
                .request_hash
                .as_deref()
                .and_then(Hash::from_base64)
                .unwrap_or_default(),
            first: entry.position,
            end: entry.position.next(),
            values,
            recorded_at: entry.recorded_at,
        };
        if let Some(key) = metadata.idempotency.as_deref().and_then(Hash::from_base64) {
            self.idempotency.record(short(&key), item);
        }
        if let Some(uplink) = metadata.source.and_then(|s| s.uplink) {
            let account = account.or(metadata.account.as_deref()).unwrap_or_default();
            let key = uplink_key(account, &uplink.dev_eui, &uplink.session, uplink.f_cnt);
            self.uplinks.record(
                key,
                SeenItem {
                    request: Hash::default(),
                    ..item
                },
            );
        }
    }
}

/// What tells one radio frame from another. Each account has its own frames: whoever knows another's DevEUI and
/// guesses its next counter could otherwise make its readings look like duplicates.
pub(super) fn uplink_key(account: &str, dev_eui: &str, session: &str, f_cnt: u32) -> [u8; 16] {
    short(&sha256(
        format!("{account}\n{dev_eui}\n{session}\n{f_cnt}").as_bytes(),
    ))
}

/// The account that an entry's metadata names.
pub(super) fn account_of(metadata: &[u8]) -> String {
    serde_json::from_slice::<Marks>(metadata)
        .ok()
        .and_then(|marks| marks.account)
        .unwrap_or_default()
}

/// Account and owner of a stream's first entry; `-` where there is none.
pub(super) fn names_of(metadata: &[u8]) -> (String, String) {
    #[derive(serde::Deserialize)]
    struct Names {
        account: Option<String>,
        owner: Option<String>,
    }
    let names = serde_json::from_slice::<Names>(metadata).ok();
    let (account, owner) = names.map_or((None, None), |n| (n.account, n.owner));
    (
        account.unwrap_or_else(|| "-".into()),
        owner.unwrap_or_else(|| "-".into()),
    )
}

#[derive(serde::Deserialize)]
struct RefusedPayload {
    refused: std::collections::BTreeMap<String, u64>,
}

#[derive(serde::Deserialize)]
struct Marks {
    account: Option<String>,
    idempotency: Option<String>,
    request_hash: Option<String>,
    source: Option<Source>,
}

#[derive(serde::Deserialize)]
struct Source {
    uplink: Option<UplinkMark>,
}

#[derive(serde::Deserialize)]
struct UplinkMark {
    dev_eui: String,
    session: String,
    f_cnt: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streams_first_entry_is_looked_at_once_and_only_what_is_wanted_is_told() {
        let positions = StreamPositions::default();
        let name = |text: &str| blind(text);
        let push = |stream: &str, at: u64| positions.push(name("acc_a"), name(stream), Position(at));
        for (stream, at) in [("site/a", 1), ("alarm/a", 2), ("site/a", 3), ("rule/a", 4)] {
            push(stream, at);
        }
        positions.push(name("acc_b"), name("site/b"), Position(5));
        let firsts = |end| positions.unlearnt("acc_a", TreeSize(end)).firsts;
        assert_eq!(
            firsts(4),
            [Position(1), Position(2)],
            "what began later is not asked about"
        );
        let unlearnt = positions.unlearnt("acc_a", TreeSize(6));
        assert_eq!(unlearnt.firsts, [Position(1), Position(2), Position(4)]);
        // Not all of them at once.
        positions.learn(&unlearnt, &[true, false]);
        assert_eq!(firsts(6), [Position(4)]);
        assert_eq!(positions.wanted("acc_a"), [vec![Position(1), Position(3)]]);
        // Somebody else looked at the same: nothing is learnt twice.
        positions.learn(&unlearnt, &[true, false, true]);
        assert_eq!(positions.wanted("acc_a").len(), 1);
        let rest = positions.unlearnt("acc_a", TreeSize(6));
        positions.learn(&rest, &[true]);
        push("alarm/b", 6);
        push("site/a", 7);
        assert_eq!(firsts(8), [Position(6)]);
        assert_eq!(
            positions.wanted("acc_a"),
            [vec![Position(1), Position(3), Position(7)], vec![Position(4)]]
        );
        // After everything was replaced, what was looked at before says nothing.
        let stale = positions.unlearnt("acc_a", TreeSize(8));
        positions.replace(HashMap::new(), std::iter::empty());
        positions.learn(&stale, &[true]);
        assert!(positions.wanted("acc_a").is_empty() && firsts(8).is_empty());
        assert!(positions.wanted("acc_b").is_empty());
    }

    #[test]
    fn a_stream_that_moved_is_told_once_and_again_when_it_moves_again() {
        let mut state = State::new("daybook.test/log", StreamPositions::default());
        let stream = state.stream("readings", "dev_a", || ("acc_a".into(), "dev_a".into()));
        let told = |state: &mut State| -> Vec<(u64, u64)> {
            let moved = state.take_touched();
            moved.iter().map(|(_, day)| (day.first, day.last)).collect()
        };
        let leaf = Hash::default();
        state.advance(stream, &leaf, Class::Reading);
        state.advance(stream, &leaf, Class::Reading);
        assert_eq!(told(&mut state), [(1, 2)]);
        assert!(told(&mut state).is_empty());
        state.advance(stream, &leaf, Class::Reading);
        assert_eq!(told(&mut state), [(1, 3)]);
        state.advance(stream, &leaf, Class::Reading);
        let previous = PreviousDay {
            date: Date::default(),
            position: Position(4),
            checkpoint_sha256: leaf,
        };
        state.begin_day(Date::default().next(), Position(5), previous);
        assert!(told(&mut state).is_empty(), "of the day before");
        state.advance(stream, &leaf, Class::Reading);
        assert_eq!(told(&mut state), [(5, 5)]);
    }
}
