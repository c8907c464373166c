//! View models: everything a page shows, as plain values. Whoever gathers them decides; pages only show.
//!
//! Invariants: no view model holds a clock, a handle or a secret, but for the tokens that are shown once
//! ([`FreshToken`]); a channel's state is what its rules decided, never derived again from its limits, and a
//! device's follows from its channels' ([`State`]), so that two pages can never disagree about them.
//! Not here: markup, queries, routes; alarms and rules (`alarms::view`, `rules::view`).

use crate::judged::Judged;
use domain::rule::ChannelState;
use domain::{Date, Hash, Timestamp};

use super::alarms::view::{AlarmRow, SilenceForm, SilenceRow};
use super::rules::view::RuleRow;
use super::values::view::Values;
use super::words::Zone;

/// What every page of the console carries.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When the page was made; every age on it is reckoned from here.
    pub now: Timestamp,
    /// The zone of times that belong to no site.
    pub zone: Zone,
    /// Who is signed in; `None` on public pages.
    pub viewer: Option<Viewer>,
    /// The ledger's state, shown at the foot of each page.
    pub ledger: LedgerStrip,
    /// How many unknown devices wait in the tray.
    pub tray: u64,
    /// Alarms that are open.
    pub alarms: OpenAlarms,
    /// What the last form did, once.
    pub notice: Option<Notice>,
}

/// How many alarms are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenAlarms {
    /// In all.
    pub open: u64,
    /// Those that nobody has acknowledged.
    pub unseen: u64,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The name, or the e-mail address where there is none.
    pub name: String,
    /// Role code, `owner` or `auditor`.
    pub role: String,
    /// Whether forms are shown at all.
    pub may_edit: bool,
    /// The account's name.
    pub account: String,
    /// What forms send back, so that no other site can send them.
    pub csrf: String,
}

/// The ledger in one line.
#[derive(Debug, Clone)]
pub struct LedgerStrip {
    /// How many entries.
    pub size: u64,
    /// The root at that size.
    pub root: Hash,
    /// The last day that has a head.
    pub last_head: Option<Date>,
    /// Why nothing is being written, in words; `None` while all is well.
    pub paused: Option<String>,
}

/// What the last form did.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Whether it worked.
    pub good: bool,
    /// A sentence.
    pub text: String,
}

/// A name and where it leads.
#[derive(Debug, Clone)]
pub struct Link {
    /// Path below the origin.
    pub href: String,
    /// What is shown.
    pub text: String,
}

/// On which side of its limits a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Above the upper limit.
    Above,
    /// Below the lower limit.
    Below,
}

/// The state of a channel or a device, worst first: what the rules decided, and what is known where no rule judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// An alarm is open, and nobody has acknowledged it.
    Alarm,
    /// Nothing came for more than two cadences.
    Offline,
    /// Nothing came on this channel for longer than its rules allow.
    Silent,
    /// An alarm is open, and somebody has acknowledged it.
    Seen,
    /// Outside what is right; the countdown runs.
    Grace,
    /// Right again, not yet for long enough; the alarm is still open.
    Recovering,
    /// The newest thing that came from it was refused.
    Refused,
    /// Its newest value is too old to speak of now.
    Old,
    /// Nothing ever came.
    NoData,
    /// Values come, and nobody has said what they should be.
    NoLimits,
    /// Every rule is met.
    Inside,
}

/// The limits of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Lowest value that is right.
    pub min: Option<f64>,
    /// Highest value that is right.
    pub max: Option<f64>,
    /// How long it may be outside, minutes; kept for the rules.
    pub grace_min: Option<u32>,
}

impl Limits {
    /// Whether neither end is set.
    pub fn is_open(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }

    /// On which side of them a value lies; `None` within.
    pub fn side_of(&self, value: f64) -> Option<Side> {
        if self.max.is_some_and(|max| value > max) {
            Some(Side::Above)
        } else {
            self.min.is_some_and(|min| value < min).then_some(Side::Below)
        }
    }
}

/// A channel and its latest value.
#[derive(Debug, Clone)]
pub struct ChannelNow {
    /// `chn_…`.
    pub id: String,
    /// `snr_…`, which the limits form names.
    pub sensor: String,
    /// Kind, `temperature`.
    pub kind: String,
    /// What tells two of one kind apart.
    pub label: Option<String>,
    /// UCUM code.
    pub unit: String,
    /// About the device itself: shown small.
    pub auxiliary: bool,
    /// The newest measured time and its value.
    pub latest: Option<(Timestamp, f64)>,
    /// Whether that was measured too long ago to be the value of now.
    pub old: bool,
    /// What it should be.
    pub limits: Limits,
    /// What its rules decided.
    pub judged: Judged,
    /// The entity tag of its configuration, for forms.
    pub etag: String,
}

impl ChannelNow {
    /// What its rules decided; where they have nothing against it, what is known of its newest value.
    pub fn state(&self) -> State {
        match self.judged.state(self.latest.is_some()) {
            Some(ChannelState::Alarm) if self.judged.acknowledged => State::Seen,
            Some(ChannelState::Alarm) => State::Alarm,
            Some(ChannelState::Grace) => State::Grace,
            Some(ChannelState::Recovering) => State::Recovering,
            Some(ChannelState::NoData) if self.judged.told.is_some() => State::Silent,
            _ if self.latest.is_none() => State::NoData,
            _ if self.old => State::Old,
            None => State::NoLimits,
            Some(ChannelState::Ok | ChannelState::NoData) => State::Inside,
        }
    }
}

/// A refusal, told apart by code.
#[derive(Debug, Clone)]
pub struct RefusalNote {
    /// The newest time.
    pub at: Timestamp,
    /// Stable code, `token_invalid`.
    pub code: String,
    /// The words that the device got as its answer.
    pub message: String,
    /// How often since it began.
    pub count: u64,
    /// What was refused, shortened and with its secrets removed.
    pub example: Option<String>,
}

/// A device in a list.
#[derive(Debug, Clone)]
pub struct DeviceRow {
    /// `dev_…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub site: String,
    /// The site's name.
    pub site_name: String,
    /// Model code.
    pub model: String,
    /// Whether it was heard within two cadences, be it refused.
    pub online: bool,
    /// How often it should report, seconds.
    pub cadence_s: Option<u32>,
    /// When its newest reading came.
    pub last_seen: Option<Timestamp>,
    /// Its channels, in the order in which they are shown.
    pub channels: Vec<ChannelNow>,
    /// The refusal that is newer than its newest reading.
    pub refused: Option<RefusalNote>,
    /// The last 24 hours of its first channel.
    pub spark: Option<Spark>,
}

impl DeviceRow {
    /// The worst that is true of it.
    pub fn state(&self) -> State {
        if self.last_seen.is_none() {
            return if self.refused.is_some() {
                State::Refused
            } else {
                State::NoData
            };
        }
        let refused = self.refused.as_ref().map(|_| State::Refused);
        let channels = self
            .channels
            .iter()
            .filter(|c| c.latest.is_some())
            .map(ChannelNow::state);
        let limited = channels.clone().filter(|s| *s != State::NoLimits).min();
        // One channel with limits that holds them is worth saying; the others' lack of limits is not.
        let worst = limited.or_else(|| channels.min()).unwrap_or(State::NoData);
        let worst = refused.map_or(worst, |r| r.min(worst));
        // Silence never means that an alarm is over.
        if self.online {
            worst
        } else {
            worst.min(State::Offline)
        }
    }

    /// The first channel that is worst: the one whose value explains the state.
    pub fn telling(&self) -> Option<&ChannelNow> {
        self.channels
            .iter()
            .filter(|c| c.state() <= State::Recovering)
            .min_by_key(|c| c.state())
            .or_else(|| self.channels.iter().find(|c| !c.auxiliary && c.kind != "leak"))
            .or_else(|| self.channels.first())
    }
}

/// A small line of the last hours.
#[derive(Debug, Clone)]
pub struct Spark {
    /// Left edge.
    pub from: Timestamp,
    /// Right edge.
    pub to: Timestamp,
    /// What to draw.
    pub series: Series,
    /// Missing intervals.
    pub gaps: Vec<Gap>,
    /// The limits in force now.
    pub limits: Limits,
}

/// What a chart draws.
#[derive(Debug, Clone)]
pub enum Series {
    /// Readings as they are.
    Points(Vec<(Timestamp, f64)>),
    /// Rollups.
    Buckets(Vec<Bucket>),
}

/// A rollup of one span of time.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// First instant.
    pub from: Timestamp,
    /// End, not in it.
    pub to: Timestamp,
    /// Lowest value.
    pub min: f64,
    /// Mean value.
    pub mean: f64,
    /// Highest value.
    pub max: f64,
    /// How many readings.
    pub count: u64,
}

/// A missing interval; without an end it still lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last reading before it.
    pub from: Timestamp,
    /// The first reading after it.
    pub to: Option<Timestamp>,
}

/// Limits and the time in which they were in force.
#[derive(Debug, Clone, Copy)]
pub struct LimitSpan {
    /// Since when; before the chart's left edge is fine.
    pub from: Timestamp,
    /// Until when; `None` = still.
    pub to: Option<Timestamp>,
    /// The limits.
    pub limits: Limits,
}

/// A site in a list.
#[derive(Debug, Clone)]
pub struct SiteCard {
    /// `site_…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Preset code, `haccp`.
    pub vertical: String,
    /// Its time zone.
    pub zone: Zone,
}

/// A change of configuration.
#[derive(Debug, Clone)]
pub struct Change {
    /// When it was recorded.
    pub at: Timestamp,
    /// Its position.
    pub position: u64,
    /// Who: a name, or `system: …`.
    pub actor: String,
    /// What happened: `Device registered`, `Limits changed`.
    pub title: String,
    /// What it happened to, where the page is about more than that.
    pub about: Option<Link>,
    /// Field, old, new; words already.
    pub changes: Vec<(String, Option<String>, Option<String>)>,
    /// Why.
    pub reason: Option<String>,
}

/// A token in a list; the secret is not known here.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Id, the part of the token before its secret.
    pub id: String,
    /// Prefix: `ds_live_`, `ua_live_`, `whk_`.
    pub prefix: String,
    /// Whose it is.
    pub owner: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it last opened something.
    pub last_used: Option<Timestamp>,
    /// When it ends, after a rotation with overlap.
    pub expires_at: Option<Timestamp>,
}

/// A token, this once.
#[derive(Debug, Clone)]
pub struct FreshToken {
    /// The whole token.
    pub secret: String,
    /// What it opens, in words.
    pub opens: String,
}

/// Which part of time a channel page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The last 24 hours.
    Day,
    /// The last 7 days.
    Week,
    /// The last 30 days.
    Month,
    /// The last 90 days.
    Quarter,
    /// From and to as typed.
    Custom,
}

/// One channel.
#[derive(Debug, Clone)]
pub struct ChannelPage {
    /// The channel.
    pub channel: ChannelNow,
    /// Its device.
    pub device: Link,
    /// Whether the device is online.
    pub online: bool,
    /// Its site.
    pub site: Link,
    /// The site's zone.
    pub zone: Zone,
    /// Which range was asked for.
    pub range: Range,
    /// First instant shown.
    pub from: Timestamp,
    /// End, not shown.
    pub to: Timestamp,
    /// What to draw.
    pub series: Series,
    /// Limits over the range.
    pub limits: Vec<LimitSpan>,
    /// Missing intervals in the range.
    pub gaps: Vec<Gap>,
    /// Minimum, mean, maximum of each span of the table, newest first.
    pub spans: Vec<SpanRow>,
    /// The newest readings, newest first.
    pub readings: Vec<ReadingRow>,
    /// Where the range is as CSV.
    pub csv_href: String,
    /// What is wrong with the range that was typed.
    pub error: Option<String>,
    /// Its open alarms.
    pub alarms: Vec<AlarmRow>,
    /// Its rules, the simple one first.
    pub rules: Vec<RuleRow>,
    /// Silences that hold now or later.
    pub silences: Vec<SilenceRow>,
    /// The form of a new silence.
    pub silence: SilenceForm,
    /// Where its values come from.
    pub values: Values,
}

/// A row of the table of minima and maxima.
#[derive(Debug, Clone)]
pub struct SpanRow {
    /// `Sun 17 May`, `14:00–15:00`.
    pub label: String,
    /// Lowest value.
    pub min: f64,
    /// Mean value.
    pub mean: f64,
    /// Highest value.
    pub max: f64,
    /// How many readings.
    pub count: u64,
    /// The limits in force at its end.
    pub limits: Limits,
}

/// A reading and where it stands in the ledger.
#[derive(Debug, Clone)]
pub struct ReadingRow {
    /// Position of its entry.
    pub position: u64,
    /// When it was measured.
    pub measured_at: Timestamp,
    /// When it was recorded; `None` where the ledger could not be asked.
    pub recorded_at: Option<Timestamp>,
    /// Its value, corrected.
    pub value: f64,
    /// As it was recorded.
    pub raw: f64,
    /// What people noted on it.
    pub notes: Vec<String>,
    /// `device`, `network` or `received`: whose clock `measured_at` is.
    pub time_from: String,
}

/// The page of evidence packs.
#[derive(Debug, Clone)]
pub struct EvidencePage {
    /// What may be asked for.
    pub subjects: Vec<Subjects>,
    /// `site:…`, `device:…` or `channel:…`.
    pub chosen: Option<String>,
    /// The first day, for its field.
    pub from: String,
    /// The last day, for its field.
    pub to: String,
    /// Lines of recipients that were typed.
    pub recipients: String,
    /// What was typed and is wrong.
    pub error: Option<String>,
    /// What was asked for, newest first.
    pub packs: Vec<PackRow>,
    /// The last day that has a head.
    pub last_closed: Option<Date>,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}

/// Some of what may be asked for.
#[derive(Debug, Clone)]
pub struct Subjects {
    /// What they are.
    pub label: String,
    /// Value and label of each.
    pub options: Vec<(String, String)>,
}

/// An evidence pack in a list.
#[derive(Debug, Clone)]
pub struct PackRow {
    /// `pck_…`.
    pub id: String,
    /// What of, by name.
    pub about: String,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// Who asked.
    pub asked_by: String,
    /// To how many keys it is encrypted.
    pub encrypted: u64,
    /// What became of it.
    pub state: PackState,
}

/// What became of an evidence pack.
#[derive(Debug, Clone)]
pub enum PackState {
    /// It is not there yet.
    Waiting {
        /// Entries looked through and in all, once it is being made.
        progress: Option<(u64, u64)>,
    },
    /// It may be fetched.
    Ready {
        /// Until when.
        expires_at: Timestamp,
        /// What it is.
        made: PackMade,
    },
    /// Its file was deleted.
    Expired {
        /// When.
        at: Timestamp,
        /// What it was.
        made: PackMade,
    },
    /// There is none.
    Failed {
        /// Why.
        message: String,
    },
}

/// An evidence pack that was made.
#[derive(Debug, Clone)]
pub struct PackMade {
    /// Where its file is.
    pub file: String,
    /// The file's size.
    pub bytes: u64,
    /// SHA-256 of the file, base64.
    pub sha256: String,
    /// SHA-256 of the pack before it was encrypted, base64.
    pub pack_sha256: String,
    /// Values in it.
    pub values: u64,
    /// The first day that was not closed.
    pub open_from: Option<Date>,
    /// Where its issue stands in the ledger.
    pub position: u64,
}
