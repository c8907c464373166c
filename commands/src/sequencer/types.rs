//! What is handed to the sequencer and what it answers.

use crate::ingest::decoded::UplinkId;
use domain::entry::NewEvent;
use domain::reading::TimeFrom;
use domain::rejection::Rejection;
use domain::{Hash, Position, Timestamp, TreeSize};
use std::borrow::Cow;
use std::sync::Arc;

/// Events of one command, recorded together or not at all.
#[derive(Debug, Clone, Default)]
pub struct EventGroup {
    /// Each event with the sequence its stream must have before it; `None` = whatever it has.
    pub events: Vec<(NewEvent, Option<u64>)>,
    /// A device whose token must still be good when the group is recorded (what devices send).
    pub token: Option<Arc<str>>,
    /// The request's idempotency key, where it has one.
    pub idempotency: Option<Idempotency>,
    /// The radio frame, for parked uplinks: a frame that was seen is answered with its original.
    pub uplink: Option<UplinkId>,
    /// Readings behind the events, in the same commit: an adopted device's parked uplinks, in order of time.
    pub readings: Vec<GroupReading>,
    /// Whether the events were judged before, in the ledger that this one continues: limits that came since, and what a
    /// group may hold of what it ends itself, are not asked again. They must fold.
    pub carried_over: bool,
}

/// A reading that follows from a command, with metadata of its own (`causation_id`).
#[derive(Debug, Clone)]
pub struct GroupReading {
    /// The reading; its device may begin in the same group.
    pub reading: PendingReading,
    /// Canonical JSON object.
    pub metadata: Vec<u8>,
}

/// An idempotency key as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 of token id and key.
    pub key: Hash,
    /// SHA-256 of what was asked; the same key with another request is a conflict.
    pub request: Hash,
}

/// Readings of one request, resolved to devices.
#[derive(Debug)]
pub struct ReadingGroup {
    /// The account all devices belong to.
    pub account: Arc<str>,
    /// The token it came with; checked once more when it is recorded.
    pub token: Arc<str>,
    /// Canonical JSON object that every entry of the group carries as its metadata.
    pub metadata: Vec<u8>,
    /// The request's idempotency key, where it has one.
    pub idempotency: Option<Idempotency>,
    /// In the order received.
    pub readings: Vec<PendingReading>,
    /// Whether the answer shall name each value's channel.
    pub want_channels: bool,
    /// Whether the answer shall carry the entries' bytes (receipts).
    pub want_entries: bool,
}

/// One device at one measured time.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingReading {
    /// The device's id.
    pub device: Arc<str>,
    /// Its number in the registry, where that was asked: it saves looking the id up, and need not be right.
    pub number: Option<u32>,
    /// When it was measured.
    pub measured_at: Timestamp,
    /// By whose clock.
    pub time_from: TimeFrom,
    /// The device's own time when it was not believed.
    pub claimed_at: Option<Timestamp>,
    /// At least one; keys distinct.
    pub values: Vec<PendingValue>,
    /// The radio frame, for LoRaWAN.
    pub uplink: Option<UplinkId>,
}

/// One value of one channel, perhaps of a channel that is not there yet.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingValue {
    /// `<kind>` or `<kind>/<slug>`.
    pub key: Cow<'static, str>,
    /// The kind's name.
    pub kind: Cow<'static, str>,
    /// The display label of a channel made for it.
    pub label: Option<String>,
    /// The unit of a channel made for it.
    pub unit: Cow<'static, str>,
    /// Finite.
    pub value: f64,
    /// Whether a channel made for it is about the device itself.
    pub auxiliary: bool,
}

/// What became of a group: durable when it is seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The tree size after its commit.
    pub size: TreeSize,
    /// The root at that size.
    pub root: Hash,
    /// The positions of the group's own entries, first and one past the last; empty when nothing was new.
    pub positions: std::ops::Range<u64>,
    /// One for each reading, in order.
    pub readings: Vec<ReadingOutcome>,
    /// The group's entries, where they were asked for.
    pub entries: Vec<RecordedEntry>,
    /// The answer is that of an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// What became of one reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadingOutcome {
    /// The position of its entry, or of the entry that had all its values already.
    pub position: Option<Position>,
    /// Values recorded.
    pub accepted: u32,
    /// Values that were there already.
    pub deduplicated: u32,
    /// Values that contradict one that was there already; recorded as a conflict.
    pub conflicts: u32,
    /// Channel ids of its values, in their order.
    pub channels: Vec<Arc<str>>,
    /// Why nothing of it was recorded, where that is so.
    pub refused: Option<&'static str>,
}

/// An entry as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEntry {
    /// Its position.
    pub position: Position,
    /// Its leaf hash.
    pub leaf_hash: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What the sequencer answers.
pub type GroupAnswer = Result<Recorded, RecordError>;

/// Why a group was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A stream has moved on; load it again.
    #[error("{stream} is at sequence {actual}, not {expected}")]
    Stale {
        /// Which stream.
        stream: String,
        /// What was expected.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// What was asked contradicts what is there (a local id twice, a parent that is gone).
    #[error(transparent)]
    Rejected(Rejection),
    /// The same idempotency key came with another request.
    #[error("this idempotency key was used for another request")]
    IdempotencyConflict,
    /// The token was revoked or its device removed while the request was on its way.
    #[error("the token is no longer valid")]
    TokenInvalid,
    /// Larger than the format allows.
    #[error("{0}")]
    TooLarge(String),
    /// Not now. `outcome_unknown`: it may or may not have been recorded; retry with the same idempotency key.
    #[error("{reason}")]
    Unavailable {
        /// For a person.
        reason: String,
        /// Stable code: `busy`, `disk`, `clock_implausible`, `stopping`, `rebuilding`.
        code: &'static str,
        /// Whether the request may have been recorded all the same.
        outcome_unknown: bool,
    },
    /// The ledger contradicts itself; nothing is written any more.
    #[error("the ledger is damaged and takes nothing: {0}")]
    Corrupt(String),
}

/// Whether the sequencer takes anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writing {
    /// It does.
    Yes,
    /// The store does not (a full disk, a failing sync); tried again every second.
    StoreFailing(String),
    /// The clock is not believed until it agrees or somebody accepts it.
    ClockImplausible(String),
    /// The ledger contradicts itself. For good.
    Corrupt(String),
    /// The service is stopping.
    Stopping,
}

/// The sequencer's state, for health checks and metrics.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether it takes anything.
    pub writing: Writing,
    /// The tree size.
    pub size: TreeSize,
    /// When the last entry was recorded.
    pub last_recorded_at: Option<Timestamp>,
    /// Commits since start.
    pub commits: u64,
    /// Streams known.
    pub streams: u64,
    /// The first day that is not closed yet.
    pub open_day: Option<domain::Date>,
}
