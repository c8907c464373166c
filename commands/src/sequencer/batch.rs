//! Putting one commit together: what of it is new, and the bytes of what is.
//!
//! Duplicates are decided here and nowhere else, in this order: idempotency key; LoRaWAN frame; (channel,
//! `measured_at`). What is newer than its channel's newest needs no look-up; what is older is looked for among
//! the recent values, then in the raw projection, which is asked once a commit.
//! Invariant: until the commit is durable nobody is answered; when it fails, the state is thrown away and loaded
//! again, so nothing here is ever undone piece by piece.

use super::commit::Pending;
use super::dedup::{SeenItem, short};
use super::handle::Submission;
use super::slots::Recent;
use super::state::{State, account_of, uplink_key};
use super::types::{
    EventGroup, GroupReading, Idempotency, PendingReading, PendingValue, ReadingGroup, ReadingOutcome,
    RecordError, Recorded,
};
use crate::ingest::decoded::UplinkId;
use domain::canonical::Canonical;
use domain::entry::{Entry, EntryHead, NewEvent, Placement, encode, encode_parts};
use domain::event::Class;
use domain::hash::leaf_hash;
use domain::merkle::TileNodes;
use domain::ports::{EntryBlock, Seen, SeenReadings};
use domain::reading::{Conflict, READING_CONFLICT, READING_RECORDED, READINGS, Reading};
use domain::registry::Registry;
use domain::rejection::Rejection;
use domain::{Hash, Position, Timestamp, TreeSize};
use parking_lot::RwLock;
use rand_core::RngCore;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Version of the payload shapes written here.
const VERSION: &str = "1.0";

/// One commit while it is put together.
pub(super) struct Batch {
    /// Rises by one with each commit.
    pub number: u64,
    /// Of every entry in it.
    pub recorded_at: Timestamp,
    /// The clock was behind: `recorded_at` was held.
    pub held: bool,
    pub entries: EntryBlock,
    pub leaves: Vec<Hash>,
    pub nodes: TileNodes,
    pub answers: Vec<Pending>,
}

impl Batch {
    pub fn new() -> Self {
        Self {
            number: 0,
            recorded_at: Timestamp::default(),
            held: false,
            entries: EntryBlock::new(),
            leaves: Vec::new(),
            nodes: TileNodes::new(),
            answers: Vec::new(),
        }
    }

    /// Begins the next commit, keeping the memory.
    pub fn begin(&mut self, number: u64, recorded_at: Timestamp, held: bool) {
        self.number = number;
        self.recorded_at = recorded_at;
        self.held = held;
        self.entries.clear();
        self.leaves.clear();
        self.nodes.clear();
        self.answers.clear();
    }
}

/// Random bytes for a channel that is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChannelRandom {
    /// Of the channel's id.
    pub channel: [u8; 16],
    /// Of its sensor's id.
    pub sensor: [u8; 16],
    /// The entry's salt, to which the sealed label is bound.
    pub salt: [u8; 16],
    /// For sealing the label.
    pub nonce: [u8; 24],
}

impl ChannelRandom {
    /// Fresh ones.
    pub fn draw(rng: &mut dyn RngCore) -> Self {
        let mut random = Self::default();
        rng.fill_bytes(&mut random.channel);
        rng.fill_bytes(&mut random.sensor);
        rng.fill_bytes(&mut random.salt);
        rng.fill_bytes(&mut random.nonce);
        random
    }
}

/// Events with the sequences that their streams must have before them.
pub type NewEvents = Vec<(NewEvent, Option<u64>)>;

/// Makes the events that register a channel for a value that has none yet.
pub trait ChannelMaker: Send + Sync {
    /// `ChannelRegistered`, the first entry of its stream; behind it what comes with the channel: a rule that is more
    /// than its limits, channels that are made of it.
    ///
    /// # Errors
    /// [`RecordError`] where the device cannot have it.
    fn make(
        &self,
        registry: &Registry,
        device: &str,
        value: &PendingValue,
        rng: &mut dyn RngCore,
    ) -> Result<NewEvents, RecordError>;
}

/// What deciding needs beside the state.
pub(super) struct Deciding<'a> {
    pub state: &'a mut State,
    pub batch: &'a mut Batch,
    pub registry: &'a RwLock<Registry>,
    pub seen: &'a dyn SeenReadings,
    pub channels: &'a dyn ChannelMaker,
    pub rng: &'a mut rand_chacha::ChaCha12Rng,
    /// What the raw projection said of readings older than their channel's newest; `None` = it cannot tell now.
    pub looked_up: Option<HashMap<(Arc<str>, i64), Seen>>,
    /// How far the raw projection had come when it was asked.
    pub cursor: TreeSize,
    /// From which size on the recent values are complete.
    pub recent_from: TreeSize,
    /// Where the entries of the group being taken begin.
    pub group_from: u64,
}

/// The commit cannot be finished; the state must be loaded again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(pub String);

impl Deciding<'_> {
    /// Asks the raw projection once about everything in these groups that is not newer than its channel's newest.
    ///
    /// What the projection knows by now is forgotten here and nowhere later: a value that this commit found among the
    /// recent ones must still be there when its duplicate is decided, whatever is recorded in between.
    pub fn look_up(&mut self, groups: &[Submission]) -> Result<(), String> {
        self.cursor = self.seen.cursor();
        let registry = self.registry.read();
        let mut asked: Vec<(Arc<str>, Timestamp)> = Vec::new();
        for reading in groups.iter().flat_map(Submission::readings) {
            let known = self.state.slots.known(reading);
            let Some(slot) = known.or_else(|| self.state.slots.of(&reading.device, &registry)) else {
                continue;
            };
            let at_us = reading.measured_at.as_micros();
            for value in &reading.values {
                let channels = &mut self.state.slots.get_mut(slot).channels;
                let Some(channel) = channels.iter_mut().find(|c| *c.key == *value.key) else {
                    continue;
                };
                channel.prune(self.cursor);
                if at_us <= channel.newest_us && channel.recently(at_us).is_none() {
                    asked.push((channel.id.clone(), reading.measured_at));
                }
            }
        }
        drop(registry);
        self.looked_up = Some(HashMap::new());
        if asked.is_empty() {
            return Ok(());
        }
        let query: Vec<(&str, Timestamp)> = asked.iter().map(|(id, at)| (&**id, *at)).collect();
        let complete = self.cursor >= self.recent_from;
        self.looked_up = self.seen.seen(&query)?.filter(|_| complete).map(|found| {
            asked
                .into_iter()
                .zip(found)
                .filter_map(|((id, at), seen)| Some(((id, at.as_micros()), seen?)))
                .collect()
        });
        Ok(())
    }

    /// What an earlier request with the same key was answered, if there was one.
    fn replay(&self, idempotency: Option<Idempotency>) -> Option<Result<Recorded, RecordError>> {
        let asked = idempotency?;
        let item = self
            .state
            .idempotency
            .get(&short(&asked.key), self.batch.recorded_at)?;
        if item.request != asked.request {
            return Some(Err(RecordError::IdempotencyConflict));
        }
        Some(Ok(Recorded {
            recorded_at: item.recorded_at,
            size: TreeSize::EMPTY,
            root: Hash::default(),
            positions: item.first.get()..item.end.get(),
            readings: vec![ReadingOutcome {
                position: Some(item.first),
                accepted: item.values,
                ..ReadingOutcome::default()
            }],
            entries: Vec::new(),
            replayed: true,
        }))
    }

    /// Takes a group of readings.
    pub fn readings(&mut self, group: &ReadingGroup) -> Result<Result<Recorded, RecordError>, Broken> {
        if self
            .registry
            .read()
            .admit(&group.token, self.batch.recorded_at)
            .is_err()
        {
            return Ok(Err(RecordError::TokenInvalid));
        }
        if let Some(answer) = self.replay(group.idempotency) {
            return Ok(answer);
        }
        let first = self.batch.leaves.len();
        let from = self.state.size();
        self.group_from = from.get();
        let mut outcomes = Vec::with_capacity(group.readings.len());
        for reading in &group.readings {
            match self.reading(group, reading)? {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) if group.readings.len() == 1 && self.batch.leaves.len() == first => {
                    return Ok(Err(error));
                }
                Err(error) => {
                    outcomes.push(ReadingOutcome {
                        refused: Some(code_of(&error)),
                        ..ReadingOutcome::default()
                    });
                }
            }
        }
        if let Some(idempotency) = group.idempotency.filter(|_| self.state.size() > from) {
            let values = outcomes.iter().map(|o| o.accepted).sum();
            self.remember(idempotency, from, values);
        }
        Ok(Ok(self.answer(from, outcomes)))
    }

    fn remember(&mut self, idempotency: Idempotency, from: TreeSize, values: u32) {
        let item = SeenItem {
            request: idempotency.request,
            first: from.next_position(),
            end: self.state.size().next_position(),
            values,
            recorded_at: self.batch.recorded_at,
        };
        self.state.idempotency.record(short(&idempotency.key), item);
    }

    /// Size and root are filled in when the commit is durable.
    fn answer(&self, from: TreeSize, readings: Vec<ReadingOutcome>) -> Recorded {
        Recorded {
            recorded_at: self.batch.recorded_at,
            size: TreeSize::EMPTY,
            root: Hash::default(),
            positions: from.get()..self.state.size().get(),
            readings,
            entries: Vec::new(),
            replayed: false,
        }
    }

    fn reading(
        &mut self,
        group: &ReadingGroup,
        reading: &PendingReading,
    ) -> Result<Result<ReadingOutcome, RecordError>, Broken> {
        let known = self.state.slots.known(reading);
        let slot = known.or_else(|| self.state.slots.of(&reading.device, &self.registry.read()));
        let Some(slot) = slot.filter(|&slot| self.state.slots.get(slot).present) else {
            return Ok(Err(RecordError::TokenInvalid));
        };
        if let Some(position) = self.seen_uplink(&group.account, reading) {
            let deduplicated = reading.values.len() as u32;
            return Ok(Ok(ReadingOutcome {
                position: Some(position),
                deduplicated,
                ..ReadingOutcome::default()
            }));
        }
        let mut outcome = ReadingOutcome::default();
        let mut fresh: Vec<(usize, usize)> = Vec::with_capacity(reading.values.len());
        let mut conflicting: Vec<(usize, Position)> = Vec::new();
        for (index, value) in reading.values.iter().enumerate() {
            let channel = match self.channel(slot, reading, value)? {
                Ok(channel) => channel,
                Err(error) => return Ok(Err(error)),
            };
            if group.want_channels {
                let id = &self.state.slots.get(slot).channels[channel].id;
                outcome.channels.push(id.clone());
            }
            match self.standing(slot, channel, reading.measured_at) {
                Ok(None) => fresh.push((index, channel)),
                Ok(Some(seen)) if seen.value == value.value => {
                    outcome.deduplicated += 1;
                    outcome.position.get_or_insert(seen.position);
                }
                Ok(Some(seen)) => conflicting.push((index, seen.position)),
                Err(error) => return Ok(Err(error)),
            }
        }
        if !fresh.is_empty() {
            match self.write_reading(slot, group, reading, &fresh) {
                Ok(position) => outcome.position = Some(position),
                Err(error) => return Ok(Err(error)),
            }
            outcome.accepted = fresh.len() as u32;
        }
        if !conflicting.is_empty() {
            if let Err(error) = self.write_conflict(slot, group, reading, &conflicting) {
                return Ok(Err(error));
            }
            outcome.conflicts = conflicting.len() as u32;
        }
        Ok(Ok(outcome))
    }

    fn seen_uplink(&self, account: &str, reading: &PendingReading) -> Option<Position> {
        // One frame may hold several times; they are recorded one behind the other in one group.
        let first = self.seen_frame(account, reading.uplink.as_ref()?)?;
        (first.get() < self.group_from).then_some(first)
    }

    fn seen_frame(&self, account: &str, uplink: &UplinkId) -> Option<Position> {
        let key = uplink_key(account, &uplink.dev_eui, &uplink.session, uplink.f_cnt);
        self.state
            .uplinks
            .get(&key, self.batch.recorded_at)
            .map(|item| item.first)
    }

    /// The index of a value's channel in its slot; a channel that is not there yet is registered first.
    fn channel(
        &mut self,
        slot: u32,
        reading: &PendingReading,
        value: &PendingValue,
    ) -> Result<Result<usize, RecordError>, Broken> {
        if let Some(at) = self
            .state
            .slots
            .get(slot)
            .channels
            .iter()
            .position(|c| *c.key == *value.key)
        {
            return Ok(Ok(at));
        }
        let made = self
            .channels
            .make(&self.registry.read(), &reading.device, value, &mut *self.rng);
        let events = match made {
            Ok(events) => events,
            Err(error) => return Ok(Err(error)),
        };
        let Some(id) = events.first().map(|(event, _)| event.aggregate_id.clone()) else {
            return Err(Broken("a channel that was made has no entry".into()));
        };
        if let Err(error) = self.events(&events)? {
            // What comes with a channel must not cost the value that it is made for.
            if events.len() == 1 {
                return Ok(Err(error));
            }
            tracing::warn!(channel = %id, %error, "a channel begins without what its preset brings");
            if let Err(error) = self.events(&events[..1])? {
                return Ok(Err(error));
            }
        }
        let slots = &mut self.state.slots;
        let registry = self.registry.read();
        slots.of(&reading.device, &registry);
        let found = slots.get(slot).channels.iter().position(|c| *c.id == *id);
        found
            .map(Ok)
            .ok_or_else(|| Broken("a channel that was just registered is not in the registry".into()))
    }

    /// What stands for that channel and time, if anything.
    fn standing(
        &self,
        slot: u32,
        channel: usize,
        measured_at: Timestamp,
    ) -> Result<Option<Recent>, RecordError> {
        let channel = &self.state.slots.get(slot).channels[channel];
        let at_us = measured_at.as_micros();
        if at_us > channel.newest_us {
            return Ok(None);
        }
        if let Some(recent) = channel.recently(at_us) {
            return Ok(Some(recent));
        }
        if at_us > channel.settled(self.batch.number) {
            return Ok(None);
        }
        let Some(found) = &self.looked_up else {
            return Err(RecordError::Unavailable {
                reason: "readings older than their channel's newest wait until the raw projection is rebuilt"
                    .into(),
                code: "rebuilding",
                outcome_unknown: false,
            });
        };
        Ok(found.get(&(channel.id.clone(), at_us)).map(|seen| Recent {
            measured_at_us: at_us,
            position: seen.position,
            value: seen.value,
        }))
    }

    fn placement(&mut self, stream: u32) -> Placement {
        let mut salt = [0u8; 16];
        self.rng.fill_bytes(&mut salt);
        Placement {
            position: self.state.size().next_position(),
            recorded_at: self.batch.recorded_at,
            sequence: self.state.streams[stream as usize].sequence + 1,
            salt,
        }
    }

    fn readings_stream(&mut self, slot: u32) -> u32 {
        let there = self.state.slots.get(slot);
        if let Some(stream) = there.stream {
            return stream;
        }
        let (id, account) = (there.id.clone(), there.account.clone());
        let stream = self
            .state
            .stream(READINGS, &id, || (account.to_string(), id.to_string()));
        self.state.slots.get_mut(slot).stream = Some(stream);
        stream
    }

    fn write_reading(
        &mut self,
        slot: u32,
        group: &ReadingGroup,
        reading: &PendingReading,
        fresh: &[(usize, usize)],
    ) -> Result<Position, RecordError> {
        let mut values: Vec<(&str, f64)> = fresh
            .iter()
            .map(|&(index, _)| (&*reading.values[index].key, reading.values[index].value))
            .collect();
        values.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let payload = Reading {
            measured_at: reading.measured_at,
            time_from: reading.time_from,
            claimed_at: reading.claimed_at,
            config: self.state.slots.get(slot).config,
            values,
            status: Vec::new(),
        };
        let position = self.write_entry(slot, READING_RECORDED, &group.metadata, |out| {
            payload.write(out).is_ok()
        })?;
        let batch = self.batch.number;
        let at_us = reading.measured_at.as_micros();
        let slot = self.state.slots.get_mut(slot);
        for &(index, channel) in fresh {
            let channel = &mut slot.channels[channel];
            channel.record(
                Recent {
                    measured_at_us: at_us,
                    position,
                    value: reading.values[index].value,
                },
                batch,
            );
        }
        if let Some(uplink) = &reading.uplink {
            let item = SeenItem {
                request: Hash::default(),
                first: position,
                end: position.next(),
                values: 0,
                recorded_at: self.batch.recorded_at,
            };
            self.state.uplinks.record(
                uplink_key(&group.account, &uplink.dev_eui, &uplink.session, uplink.f_cnt),
                item,
            );
        }
        Ok(position)
    }

    fn write_conflict(
        &mut self,
        slot: u32,
        group: &ReadingGroup,
        reading: &PendingReading,
        conflicting: &[(usize, Position)],
    ) -> Result<(), RecordError> {
        let mut values: Vec<(&str, f64)> = conflicting
            .iter()
            .map(|&(index, _)| (&*reading.values[index].key, reading.values[index].value))
            .collect();
        values.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let payload = Conflict {
            measured_at: reading.measured_at,
            original: conflicting[0].1,
            values,
        };
        self.write_entry(slot, READING_CONFLICT, &group.metadata, |out| {
            payload.write(out).is_ok()
        })
        .map(|_| ())
    }

    fn write_entry(
        &mut self,
        slot: u32,
        event_type: &'static str,
        metadata: &[u8],
        payload: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Result<Position, RecordError> {
        let stream = self.readings_stream(slot);
        let placement = self.placement(stream);
        let head = EntryHead {
            aggregate_type: READINGS,
            aggregate_id: &self.state.slots.get(slot).id,
            event_type,
            event_version: VERSION,
        };
        let mut sound = true;
        let metadata = held_metadata(metadata, self.batch.held);
        let written = self.batch.entries.push_with(placement.position, |out| {
            encode_parts(out, &placement, &head, &metadata, |out| sound = payload(out))
        });
        if let Err(error) = written {
            return Err(RecordError::TooLarge(error.to_string()));
        }
        if !sound {
            self.batch.entries.truncate(self.batch.entries.len() - 1);
            return Err(RecordError::Rejected(Rejection::invalid(
                "out_of_range",
                "a value is not a number that JSON can carry exactly",
            )));
        }
        let leaf = self.last_leaf();
        self.batch.leaves.push(leaf);
        self.state.frontier.push(leaf, &mut self.batch.nodes);
        self.state.advance(stream, &leaf, Class::Reading);
        Ok(placement.position)
    }

    fn last_leaf(&self) -> Hash {
        let (_, bytes) = self
            .batch
            .entries
            .get(self.batch.entries.len() - 1)
            .expect("an entry was just added");
        leaf_hash(bytes)
    }

    /// Takes the events of one command.
    pub fn group(&mut self, group: &EventGroup) -> Result<Result<Recorded, RecordError>, Broken> {
        if let Some(token) = &group.token
            && self.registry.read().admit(token, self.batch.recorded_at).is_err()
        {
            return Ok(Err(RecordError::TokenInvalid));
        }
        if let Some(answer) = self.replay(group.idempotency) {
            return Ok(answer);
        }
        if let (Some(uplink), Some((event, _))) = (&group.uplink, group.events.first())
            && let Some(first) = self.seen_frame(&account_of(event.metadata.as_bytes()), uplink)
        {
            return Ok(Ok(Recorded {
                positions: first.get()..first.get() + 1,
                replayed: true,
                ..self.answer(self.state.size(), Vec::new())
            }));
        }
        let from = self.state.size();
        let recorded = if group.carried_over {
            self.judged(&group.events)?
        } else {
            self.events(&group.events)?
        };
        if let Err(error) = recorded {
            return Ok(Err(error));
        }
        let outcomes = self.behind(&group.readings)?;
        Ok(Ok(self.answer(from, outcomes)))
    }

    /// Takes the readings behind a group's events. They come in order of time to a device that has none yet, so
    /// nothing has to be looked up; one that cannot be recorded says so in its outcome.
    fn behind(&mut self, readings: &[GroupReading]) -> Result<Vec<ReadingOutcome>, Broken> {
        let mut outcomes = Vec::with_capacity(readings.len());
        for GroupReading { reading, metadata } in readings {
            let group = ReadingGroup {
                account: Arc::from(""),
                token: Arc::from(""),
                metadata: metadata.clone(),
                idempotency: None,
                readings: Vec::new(),
                want_channels: false,
                want_entries: false,
            };
            outcomes.push(match self.reading(&group, reading)? {
                Ok(outcome) => outcome,
                Err(error) => ReadingOutcome {
                    refused: Some(code_of(&error)),
                    ..ReadingOutcome::default()
                },
            });
        }
        Ok(outcomes)
    }

    /// Records events together or not at all.
    pub fn events(&mut self, events: &[(NewEvent, Option<u64>)]) -> Result<Result<(), RecordError>, Broken> {
        let allowed = self.check_sequences(events).and_then(|()| {
            let registry = self.registry.read();
            registry
                .check_all(events.iter().map(|(event, _)| event))
                .map_err(RecordError::Rejected)
        });
        match allowed {
            Ok(()) => self.append(events),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Records events that nobody has to judge any more, together or not at all.
    fn judged(&mut self, events: &[(NewEvent, Option<u64>)]) -> Result<Result<(), RecordError>, Broken> {
        match self.check_sequences(events) {
            Ok(()) => self.append(events),
            Err(error) => Ok(Err(error)),
        }
    }

    fn append(&mut self, events: &[(NewEvent, Option<u64>)]) -> Result<Result<(), RecordError>, Broken> {
        let first = self.batch.entries.len();
        if let Err(error) = self.encode_all(events) {
            self.batch.entries.truncate(first);
            return Ok(Err(error));
        }
        for at in first..self.batch.entries.len() {
            self.take(at)?;
        }
        Ok(Ok(()))
    }

    fn check_sequences(&self, events: &[(NewEvent, Option<u64>)]) -> Result<(), RecordError> {
        let mut ahead: HashMap<(&str, &str), u64> = HashMap::new();
        for (event, expected) in events {
            let more = ahead
                .entry((&event.aggregate_type, &event.aggregate_id))
                .or_default();
            let actual = self.state.sequence(&event.aggregate_type, &event.aggregate_id) + *more;
            if let Some(expected) = expected.filter(|e| *e != actual) {
                let stream = format!("{}/{}", event.aggregate_type, event.aggregate_id);
                return Err(RecordError::Stale {
                    stream,
                    expected,
                    actual,
                });
            }
            *more += 1;
        }
        Ok(())
    }

    fn encode_all(&mut self, events: &[(NewEvent, Option<u64>)]) -> Result<(), RecordError> {
        let mut ahead: HashMap<(&str, &str), u64> = HashMap::new();
        for (n, (event, _)) in events.iter().enumerate() {
            let more = ahead
                .entry((&event.aggregate_type, &event.aggregate_id))
                .or_default();
            *more += 1;
            let mut salt = [0u8; 16];
            self.rng.fill_bytes(&mut salt);
            let placement = Placement {
                position: self.state.size().next_position().plus(n as u64),
                recorded_at: self.batch.recorded_at,
                sequence: self.state.sequence(&event.aggregate_type, &event.aggregate_id) + *more,
                salt: event.salt.unwrap_or(salt),
            };
            let held = self.batch.held.then(|| {
                let metadata = held_metadata(event.metadata.as_bytes(), true).into_owned();
                NewEvent {
                    metadata: Canonical::trusted(metadata),
                    ..event.clone()
                }
            });
            let event = held.as_ref().unwrap_or(event);
            self.batch
                .entries
                .push_with(placement.position, |out| encode(out, &placement, event))
                .map_err(|error| RecordError::TooLarge(error.to_string()))?;
        }
        Ok(())
    }

    /// Takes an encoded entry of the commit into tree, streams and registry.
    fn take(&mut self, at: usize) -> Result<(), Broken> {
        let (_, bytes) = self
            .batch
            .entries
            .get(at)
            .ok_or_else(|| Broken("an entry is gone".into()))?;
        let leaf = leaf_hash(bytes);
        let entry =
            Entry::read(bytes).map_err(|e| Broken(format!("an entry just written cannot be read: {e}")))?;
        let mut registry = self.registry.write();
        let device = device_of(&registry, &entry);
        registry
            .apply(&entry)
            .map_err(|e| Broken(format!("the registry refuses what it allowed: {e}")))?;
        let device = device.or_else(|| device_of(&registry, &entry));
        if let Some(device) = device {
            self.state.slots.invalidate(&device);
        }
        self.state
            .fold(&entry, &leaf, &registry, &mut self.batch.nodes)
            .map_err(|e| Broken(e.to_string()))?;
        self.batch.leaves.push(leaf);
        Ok(())
    }
}

/// Metadata with `"clock":"held"` where the clock is behind and `recorded_at` was held (FORMAT §2).
fn held_metadata(metadata: &[u8], held: bool) -> Cow<'_, [u8]> {
    if !held {
        return Cow::Borrowed(metadata);
    }
    let Ok(serde_json::Value::Object(mut members)) = serde_json::from_slice(metadata) else {
        return Cow::Borrowed(metadata);
    };
    members.insert("clock".into(), "held".into());
    Canonical::of(&members.into()).map_or(Cow::Borrowed(metadata), |c| Cow::Owned(c.as_bytes().to_vec()))
}

/// The device whose configuration an entry changes.
fn device_of(registry: &Registry, entry: &Entry<'_>) -> Option<String> {
    match entry.aggregate_type {
        "device" => Some(entry.aggregate_id.to_owned()),
        "channel" => registry
            .channel_anywhere(entry.aggregate_id)
            .map(|c| c.state.device.clone()),
        _ => None,
    }
}

fn code_of(error: &RecordError) -> &'static str {
    match error {
        RecordError::Stale { .. } => "conflict",
        RecordError::Rejected(rejection) => rejection.code,
        RecordError::Unavailable { code, .. } => code,
        RecordError::IdempotencyConflict => "idempotency_conflict",
        RecordError::TokenInvalid => "token_invalid",
        RecordError::TooLarge(_) => "too_large",
        RecordError::Corrupt(_) => "corrupt",
    }
}
