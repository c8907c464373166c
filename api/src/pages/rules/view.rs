//! What the pages of rules show, as plain values.
//!
//! Not here: gathering them (`gather::rules`), reading the form (`form`).

use domain::Timestamp;
use domain::rule::{Definition, Severity};

use super::super::alarms::view::Held;
use super::super::chart::RuleLine;
use super::super::view::{ChannelNow, Gap, LimitSpan, Link, Series};
use super::super::words::Zone;

/// A rule in a list.
#[derive(Debug, Clone)]
pub struct RuleRow {
    /// `rul_…`
    pub id: String,
    /// Its name, where it was given one.
    pub name: Option<String>,
    /// What it is.
    pub definition: Definition,
    /// What it holds right.
    pub held: Held,
    /// Whether it is the channel's limits.
    pub simple: bool,
    /// Its version.
    pub version: u32,
    /// When that came.
    pub changed_at: Timestamp,
}

/// A preset that may be begun with.
#[derive(Debug, Clone)]
pub struct PresetRow {
    /// Its place in the list of presets.
    pub index: usize,
    /// What it is for.
    pub purpose: &'static str,
    /// What it holds right.
    pub held: Held,
}

/// A version of a rule.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// Its number.
    pub version: u32,
    /// When it was recorded.
    pub at: Timestamp,
    /// Its entry.
    pub position: u64,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// What changed: field, old, new.
    pub changes: Vec<(String, Option<String>, Option<String>)>,
    /// Whether it ended the rule.
    pub removed: bool,
}

/// An alarm that a draft would have raised.
#[derive(Debug, Clone)]
pub struct TriedRow {
    /// When the values left what is right.
    pub began_at: Timestamp,
    /// When it would have been an alarm.
    pub opened_at: Timestamp,
    /// When it would have ended.
    pub cleared_at: Option<Timestamp>,
    /// How bad.
    pub severity: Severity,
    /// The newest value that it was told.
    pub value: Option<f64>,
}

/// What a draft would have done.
#[derive(Debug, Clone)]
pub struct Tried {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// How many readings were looked at.
    pub readings: u64,
    /// The alarms.
    pub alarms: Vec<TriedRow>,
    /// The channel meanwhile.
    pub series: Series,
    /// Missing intervals.
    pub gaps: Vec<Gap>,
    /// What the draft holds right, where that is a range of values.
    pub limits: Vec<LimitSpan>,
    /// What it holds right otherwise.
    pub lines: Vec<RuleLine>,
}

/// The editor.
#[derive(Debug, Clone)]
pub struct RulePage {
    /// The channel.
    pub channel: ChannelNow,
    /// Its device.
    pub device: Link,
    /// The site's zone.
    pub zone: Zone,
    /// The rule in force; `None` for a new one.
    pub rule: Option<RuleRow>,
    /// What stands in the form.
    pub fields: Vec<(String, String)>,
    /// What it makes, where it makes something.
    pub draft: Option<Definition>,
    /// What is wrong with it.
    pub error: Option<String>,
    /// What it would have done.
    pub tried: Option<Tried>,
    /// Presets of the site's vertical.
    pub presets: Vec<PresetRow>,
    /// Channels that a comparison may look at: id and name.
    pub others: Vec<(String, String)>,
    /// Versions, newest first.
    pub versions: Vec<VersionRow>,
    /// The entity tag, for forms.
    pub etag: String,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}
