//! The payloads of alarms: opened, made worse, seen by a person, ended; and why, so that nobody has to look it up.
//!
//! Invariants: an alarm names its rule's version, the values in force, the window and the readings by position;
//! `late` marks what was decided after readings that came late, and nothing of before is rewritten.
//! Source: docs/events.md, docs/rules.md. Not here: when these are decided (`rule::engine`, `aggregate::alarm`).

use super::contact::ContactKind;
use super::payload::Change;
use super::text::Text;
use crate::hash::sha256_of;
use crate::ids::{ID_BYTES, IdKind};
use crate::position::Position;
use crate::rule::{Band, Kind, Severity};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::ops::Not;

/// The values that were in force.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Thresholds {
    /// What is right, in the terms of what the rule's kind looks at: a value, a step, a rate or a distance.
    #[serde(flatten)]
    pub band: Band,
    /// Minutes outside before it counts.
    pub grace_min: u32,
    /// Longest time without a value, seconds (`absence`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_interval_s: Option<u32>,
}

/// An occurrence of one of the rule's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InWindow {
    /// When it ends.
    pub ends_at: Timestamp,
    /// Its place in the rule's list, from 0.
    pub index: u32,
    /// When it began.
    pub starts_at: Timestamp,
}

/// `AlarmOpened`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmOpened {
    /// When the values left what is right, in the time of the data.
    pub began_at: Timestamp,
    /// The channel.
    pub channel: String,
    /// By our clock: when the deciding entry was recorded, or when the deadline passed that decided it.
    pub decided_at: Timestamp,
    /// The entry at which it was decided, or the first one after the deadline that decided it.
    pub decided_by: Position,
    /// Opened while the rule was flapping: it ends only after a longer time in range.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub flapping: bool,
    /// What the rule looks at.
    pub kind: Kind,
    /// Decided after readings that came late.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub late: bool,
    /// When it became an alarm, in the time of the data: `began_at` and the grace.
    pub opened_at: Timestamp,
    /// The entries it rests on: the first that was wrong, then the newest. The first one names the alarm.
    pub readings: Vec<Position>,
    /// The rule.
    pub rule: String,
    /// Its version.
    pub rule_version: u32,
    /// How bad it is.
    pub severity: Severity,
    /// The values in force.
    pub thresholds: Thresholds,
    /// The newest value the rule looked at: value, step, rate or distance; `null` for an absence.
    pub value: Option<f64>,
    /// The window in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<InWindow>,
}

/// `AlarmRaised`: an alarm that no rule opened and that is about no channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmRaised {
    /// When what it is about began, by our clock.
    pub began_at: Timestamp,
    /// What it is about.
    pub cause: Cause,
    /// How bad it is.
    pub severity: Severity,
}

/// What an alarm is about that no rule opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// Nothing: a trial of the whole way to one contact, which is expected to acknowledge it.
    Challenge {
        /// `con_…`
        contact: String,
        /// Until when it is expected to.
        until: Timestamp,
    },
    /// Every attempt to tell somebody by this way was in vain.
    Path {
        /// Which way.
        via: ContactKind,
    },
}

const RAISED_ID_PREFIX: &[u8] = b"daybook/raised-alarm/v1\n";

impl Cause {
    /// As written in `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Challenge { .. } => "challenge",
            Self::Path { .. } => "path",
        }
    }

    /// The alarm's id: one cause of one time is one alarm of an account, however often it is found. The time is that
    /// since which a way fails, or at which the round of a trial began.
    pub fn alarm_id(&self, account: &str, of: Timestamp) -> String {
        let about = match self {
            Self::Challenge { contact, .. } => contact.as_str(),
            Self::Path { via } => via.as_str(),
        };
        let of = of.to_string();
        let hash = sha256_of(&[
            RAISED_ID_PREFIX,
            account.as_bytes(),
            b"\n",
            self.kind().as_bytes(),
            b"\n",
            about.as_bytes(),
            b"\n",
            of.as_bytes(),
        ]);
        let mut bytes = [0; ID_BYTES];
        bytes.copy_from_slice(&hash.0[..ID_BYTES]);
        IdKind::Alarm.id(&bytes)
    }
}

/// `AlarmEscalated`: it got worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmEscalated {
    /// When, in the time of the data.
    pub at: Timestamp,
    /// By our clock.
    pub decided_at: Timestamp,
    /// The entry at which it was decided, or the first one after the deadline that decided it.
    pub decided_by: Position,
    /// Decided after readings that came late.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub late: bool,
    /// The entries it rests on.
    pub readings: Vec<Position>,
    /// From what to what.
    pub severity: Change<Severity>,
    /// The values in force.
    pub thresholds: Thresholds,
    /// The newest value the rule looked at.
    pub value: Option<f64>,
    /// The window in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<InWindow>,
}

/// `AlarmCleared`: the values were right for long enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmCleared {
    /// When, in the time of the data.
    pub cleared_at: Timestamp,
    /// By our clock.
    pub decided_at: Timestamp,
    /// The entry at which it was decided.
    pub decided_by: Position,
    /// Decided after readings that came late.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub late: bool,
    /// The entries it rests on: the first that was right, then the newest.
    pub readings: Vec<Position>,
    /// The newest value the rule looked at.
    pub value_at: Option<f64>,
    /// Readings that came late show that it had not been one. It stays on record.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub withdrawn: bool,
}

/// `AlarmReopened`: readings that came late show that it had not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmReopened {
    /// When, in the time of the data.
    pub at: Timestamp,
    /// By our clock.
    pub decided_at: Timestamp,
    /// The entry at which it was decided.
    pub decided_by: Position,
    /// Decided after readings that came late.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub late: bool,
    /// The entries it rests on.
    pub readings: Vec<Position>,
    /// The newest value the rule looked at.
    pub value: Option<f64>,
}

/// `AlarmReopenedByPerson`: somebody does not take it for over. The rules go on as they are: where they decided its end
/// before, only a person ends it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmReopenedByPerson {
    /// Why, as a code.
    pub reason: String,
    /// In words; sealed with the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

/// A person's signature over an entry (FORMAT §2, "Signatures of people"); all bytes as base64url. Made by a key of the
/// person's, or by showing again who they are; then there is a `method` and no key, and it is as good as the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// WebAuthn authenticator data, where it was made by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticator_data: Option<String>,
    /// WebAuthn client data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_data: Option<String>,
    /// Which of the signer's keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// What signing means, as a code.
    pub meaning: String,
    /// How the signer showed who they are, where no key signed: `mail_code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// SHA-256 of what was shown.
    pub shown_sha256: String,
    /// The key's signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// When, by the signer's account.
    pub signed_at: Timestamp,
    /// `usr_…`
    pub signer: String,
}

/// `AlarmAcknowledged`: a person has seen it. Why stands in `metadata.reason` as a code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmAcknowledged {
    /// What was done about it; sealed with the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrective_action: Option<Text>,
    /// The reason's code again, beside its text.
    pub reason: String,
    /// The person's signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// In words; sealed with the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

/// `AlarmCommented`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmCommented {
    /// In words; sealed with the account's key.
    pub text: Text,
}

/// `AlarmClosed`: the end of an alarm that no value can end any more, or that a person has done with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmClosed {
    /// `rule_removed`, `rule_disabled`, `rule_changed`, `channel_removed`, or a person's code.
    pub reason: String,
    /// The person's signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// In words; sealed with the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}
