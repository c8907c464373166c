//! What the pages of alarms show, as plain values.
//!
//! Not here: gathering them (`gather::alarms`), markup (`list`, `one`, `silence`).

use domain::Timestamp;
use domain::rule::{Band, Kind, Severity};

use super::super::view::{Gap, LimitSpan, Link, Series, SiteCard};
use super::super::words::Zone;

/// How an alarm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Open, and nobody has acknowledged it.
    Open,
    /// Open, and somebody has.
    Seen,
    /// Over, because the values were right again.
    Over,
    /// Ended by a person, or with its rule.
    Closed,
    /// Late readings showed that it had not been one.
    Withdrawn,
}

impl Life {
    /// Whether it is still open.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Seen)
    }
}

/// What a rule holds a value against.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// What the rule looks at.
    pub rule: Kind,
    /// What is right, in its terms.
    pub band: Band,
    /// Longest time without a value, seconds.
    pub silent_s: Option<u32>,
    /// Minutes outside before it counts.
    pub grace_min: u32,
    /// The channel's kind, for rounding.
    pub kind: String,
    /// The channel's UCUM code.
    pub unit: String,
}

/// What an alarm of no channel is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// A way by which people are told fails.
    Path,
    /// The way to a contact is tried.
    Trial {
        /// Until when it is expected to acknowledge.
        until: Timestamp,
    },
}

/// An alarm in a list.
#[derive(Debug, Clone)]
pub struct AlarmRow {
    /// `alm_…`
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// How it stands.
    pub life: Life,
    /// Whether the values are right again, not yet for long enough.
    pub recovering: bool,
    /// Who acknowledged it last.
    pub seen_by: Option<String>,
    /// Whether nobody was told, because the channel was silenced.
    pub silenced: bool,
    /// What it is about, where that is no channel.
    pub raised: Option<Raised>,
    /// Found in readings that came late.
    pub late: bool,
    /// When the values left what is right.
    pub began_at: Timestamp,
    /// When it became an alarm.
    pub opened_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The channel's newest value while it is open and a range's; else the newest that was told of it.
    pub value: Option<f64>,
    /// What it is held against.
    pub held: Held,
    /// Its channel.
    pub channel: Link,
    /// The channel's device; `dev_…` in its address.
    pub device: Link,
    /// Where it stood when the alarm opened.
    pub site: Link,
    /// The site's zone.
    pub zone: Zone,
}

impl AlarmRow {
    /// Whether it is a trial, and so no alarm to worry about.
    pub fn is_trial(&self) -> bool {
        matches!(self.raised, Some(Raised::Trial { .. }))
    }
}

/// Which alarms a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shown {
    /// Open ones, then the newest that are over.
    #[default]
    Recent,
    /// Open ones.
    Open,
    /// Every one, page by page.
    All,
}

/// The list.
#[derive(Debug, Clone)]
pub struct AlarmsPage {
    /// Open ones, the worst that nobody has seen first.
    pub open: Vec<AlarmRow>,
    /// Those that are over, newest first.
    pub over: Vec<AlarmRow>,
    /// Which are shown.
    pub shown: Shown,
    /// Of which site.
    pub site: Option<String>,
    /// Every site of the account.
    pub sites: Vec<SiteCard>,
    /// Where the list goes on.
    pub older: Option<String>,
    /// How many rules judge in the account; without any there is nothing to raise an alarm.
    pub rules: usize,
}

/// What happened to an alarm.
#[derive(Debug, Clone)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What.
    pub title: String,
    /// More of it, a line each.
    pub lines: Vec<String>,
    /// What a person said.
    pub said: Option<String>,
    /// Who, where it was a person.
    pub actor: Option<String>,
    /// Its entry.
    pub position: Option<u64>,
    /// Decided after readings that came late, and when that was.
    pub late: Option<Timestamp>,
    /// Its shape: `out`, `alarm`, `told`, `seen`, `said`, `good`, `end`.
    pub shape: &'static str,
}

/// The channel around an alarm.
#[derive(Debug, Clone)]
pub struct Around {
    /// Left edge.
    pub from: Timestamp,
    /// Right edge.
    pub to: Timestamp,
    /// What to draw.
    pub series: Series,
    /// Missing intervals.
    pub gaps: Vec<Gap>,
    /// What its rule held right, as it was in force.
    pub limits: Vec<LimitSpan>,
}

/// A reading that an alarm rests on.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Its entry.
    pub position: u64,
    /// When it was measured.
    pub measured_at: Option<Timestamp>,
    /// Its value, as it was judged.
    pub value: Option<f64>,
    /// Of a derived channel: the readings that the value was made of.
    pub inputs: Vec<GroundInput>,
}

/// A reading that a value was made of.
#[derive(Debug, Clone)]
pub struct GroundInput {
    /// Its entry.
    pub position: u64,
    /// The channel's page.
    pub href: String,
    /// What the channel is called as a source.
    pub name: String,
    /// Its value, corrected.
    pub value: Option<f64>,
}

/// Why there is an alarm.
#[derive(Debug, Clone)]
pub struct Why {
    /// The rule by its name, or what it looks at.
    pub rule: String,
    /// Where it is changed, while it is in force.
    pub rule_href: Option<String>,
    /// Its version.
    pub version: u32,
    /// The window in force: from, to.
    pub window: Option<(Timestamp, Timestamp)>,
    /// The readings.
    pub readings: Vec<Ground>,
    /// The command that finds it again.
    pub reproduce: String,
    /// Its first entry.
    pub position: u64,
    /// The entry at which it was decided.
    pub decided_by: Option<u64>,
    /// Where a pack of it is asked for.
    pub pack_href: String,
}

/// What was typed about an alarm.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// Which form: `ack`, `comment`, `close`, `reopen`.
    pub form: &'static str,
    /// The reason's code.
    pub reason: String,
    /// In words.
    pub words: String,
    /// What was done.
    pub action: String,
    /// Whether the code that signs it was mailed.
    pub code_sent: bool,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// One alarm.
#[derive(Debug, Clone)]
pub struct AlarmPage {
    /// As in the list.
    pub row: AlarmRow,
    /// What happened, oldest first.
    pub steps: Vec<Step>,
    /// The channel around it.
    pub around: Option<Around>,
    /// Why.
    pub why: Why,
    /// What was typed.
    pub typed: Typed,
    /// The entity tag, for forms.
    pub etag: String,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}

/// A silence of a channel.
#[derive(Debug, Clone)]
pub struct SilenceRow {
    /// `sil_…`
    pub id: String,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// Who.
    pub author: String,
    /// Whether it holds now.
    pub active: bool,
    /// The entity tag, for the form.
    pub etag: String,
}

/// The form of a silence.
#[derive(Debug, Clone, Default)]
pub struct SilenceForm {
    /// From when, local; empty for now.
    pub from: String,
    /// Until when, local.
    pub to: String,
    /// For how long, minutes; empty where `to` is given.
    pub minutes: String,
    /// Why.
    pub reason: String,
    /// What is wrong with it.
    pub error: Option<String>,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}
