//! The payloads of rules, and of what else changes how a channel is judged.
//!
//! Invariant: a rule stands whole in each of its versions, the old one beside the new one.
//! Source: docs/events.md, docs/rules.md. Not here: what a definition may be (`rule::check`).

use super::payload::Change;
use super::text::Text;
use crate::position::Position;
use crate::rule::{ChannelState, Definition, Derivation};
use crate::time::{Date, Timestamp};
use serde::{Deserialize, Serialize};

/// `RuleCreated`: version 1 of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleCreated {
    /// What it judges.
    pub channel: String,
    /// What it is.
    pub definition: Definition,
    /// What people call it; sealed with the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text>,
    /// Version of the time-zone database that its windows are evaluated with.
    pub tzdb: String,
    /// 1.
    pub version: u32,
}

/// `RuleChanged`: another version of a rule, in force from this entry on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleChanged {
    /// What it judges; never changes.
    pub channel: String,
    /// What it was and is.
    pub definition: Change<Definition>,
    /// Version of the time-zone database that its windows are evaluated with.
    pub tzdb: String,
    /// One more than before.
    pub version: u32,
}

/// `RulesRecomputed`: the rules in force were tried again on what the ledger holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulesRecomputed {
    /// The channel.
    pub channel: String,
    /// From when, measured.
    pub from: Timestamp,
    /// Alarms that had been missing; each has its entries.
    pub missed: Vec<String>,
    /// The rules that were tried.
    pub rules: Vec<RuleVersion>,
    /// Until when, measured.
    pub to: Timestamp,
}

/// One version of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleVersion {
    /// `rul_…`
    pub rule: String,
    /// Its version.
    pub version: u32,
}

/// `SilenceOpened`: nobody is told of this channel's alarms from `from` to `to`. Everything else goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SilenceOpened {
    /// The channel.
    pub channel: String,
    /// From when.
    pub from: Timestamp,
    /// Why, in words; sealed with the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
    /// Until when.
    pub to: Timestamp,
}

/// `SilenceEnded`: before its time, by a person. One that runs out has no entry; its end stands in its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceEnded {
    /// The channel.
    pub channel: String,
    /// When it ended.
    pub at: Timestamp,
}

/// How raw values become true ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Added to every value, in the channel's unit.
    Offset(f64),
    /// A line through two points, each `[raw, true]`, the raw ones rising.
    TwoPoint([[f64; 2]; 2]),
}

impl Correction {
    /// Whether larger raw values give smaller true ones, so that the lowest raw value is the highest true one.
    pub fn falls(self) -> bool {
        match self {
            Self::Offset(_) => false,
            Self::TwoPoint([[_, true_low], [_, true_high]]) => true_high < true_low,
        }
    }

    /// The true value of a raw one.
    pub fn apply(self, raw: f64) -> f64 {
        match self {
            Self::Offset(offset) => raw + offset,
            Self::TwoPoint([[raw_low, true_low], [raw_high, true_high]]) => {
                true_low + (raw - raw_low) * (true_high - true_low) / (raw_high - raw_low)
            }
        }
    }
}

/// `CalibrationSet`: from `valid_from` on, values are shown and judged corrected. What was recorded stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationSet {
    /// The certificate's number, or how it was found; sealed with the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Text>,
    /// From what to what; `null` for none.
    pub correction: Change<Option<Correction>>,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Date>,
    /// Values measured from here on.
    pub valid_from: Timestamp,
}

/// `DerivationSet`: from here on, the channel's values are made of other channels'.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DerivationSet {
    /// From what to what; `null` for none.
    pub derivation: Change<Option<Derivation>>,
}

/// `ReadingAnnotated`: a note on a reading. The reading stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadingAnnotated {
    /// The channel.
    pub channel: String,
    /// When it was measured.
    pub measured_at: Timestamp,
    /// In words; sealed with the account's key.
    pub note: Text,
    /// Its entry.
    pub reading: Position,
}

/// `ChannelStateChanged`: what the rules make of a channel has another name now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelStateChanged {
    /// Since when, in the time of the data.
    pub at: Timestamp,
    /// The entry at which it was decided, or the first one after the deadline that decided it.
    pub decided_by: Position,
    /// It was before.
    pub from: ChannelState,
    /// Decided after readings that came late.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// The rule that brought it about; `null` where it was not one rule's doing.
    pub rule: Option<RuleVersion>,
    /// It is now.
    pub to: ChannelState,
    /// The value that brought it about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// `DeadlineReached`: a deadline of the rules passed and nothing else was recorded. Every deadline at or before this
/// entry's time is decided at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineReached {
    /// The deadline.
    pub at: Timestamp,
}

/// Whether a device reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Something arrived within twice its cadence.
    Online,
    /// Nothing did.
    Offline,
}

/// `DeviceStateChanged`: a device fell silent, or reports again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStateChanged {
    /// Since when, by our clock.
    pub at: Timestamp,
    /// The entry at which it was decided, or the first one after the deadline that decided it.
    pub decided_by: Position,
    /// When something last arrived; `null` for never.
    pub last_at: Option<Timestamp>,
    /// It is now.
    pub state: DeviceState,
}
