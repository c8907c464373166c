//! The engine: entries in the order of their positions go in, decisions come out.
//!
//! Invariants: time is what entries say: when an entry is processed, every deadline at or before its `recorded_at`
//! fires first, in order of (deadline, id); the same entries give the same decisions in batches of any size, with
//! the state written and read back anywhere between them; nothing is decided by iteration over a hash map.
//! Source: DESIGN "Determinism"; docs/rules.md. Not here: resolving keys and sites (`registry`), recording what was
//! decided (`commands`); silences, which change who is told and not what is decided.

mod decide;
pub mod machine;
mod ruling;
mod snapshot;

pub use ruling::{ARRIVAL_SLACK_US, KEPT_MAX};
pub use snapshot::SnapshotError;

use super::definition::{Definition, Kind};
use super::derived::{Derivation, Derived};
use super::kinds::VALUE_MAX;
use super::state::ChannelState;
use crate::calibration::Calibrations;
use crate::event::{Correction, Event};
use crate::position::Position;
use crate::time::Timestamp;
use jiff::tz::TimeZone;
use machine::Observation;
use ruling::Ruling;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Longest time down that is remembered, microseconds: a hundred years, which canonical JSON can still hold.
const DOWN_US_MAX: i64 = 100 * 366 * crate::time::DAY_US;
/// A device is offline, and a channel without data, after so many times its cadence (REFERENCE §3).
const SILENT_CADENCES: i64 = 2;

/// An entry, as far as rules care.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fact<'a> {
    /// Its position.
    pub position: Position,
    /// When it was recorded; never smaller than of the one before.
    pub recorded_at: Timestamp,
    /// What it says.
    pub what: What<'a>,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What<'a> {
    /// Nothing that rules look at; time passes.
    Other,
    /// The service started. Since the entry before, nothing could arrive.
    Started,
    /// A device reported: raw values by channel id. Values of channels that nobody made known are passed over.
    Reading {
        /// `dev_…`
        device: &'a str,
        /// When it was measured.
        measured_at: Timestamp,
        /// `chn_…` and value.
        values: &'a [(&'a str, f64)],
    },
    /// A device exists, or its cadence is another.
    Device {
        /// `dev_…`
        device: &'a str,
        /// How often it means to report; without it, it is never offline.
        cadence_s: Option<u32>,
    },
    /// A device is no more. It is not offline, it is gone.
    DeviceRemoved {
        /// `dev_…`
        device: &'a str,
    },
    /// A channel exists, or its site or the site's zone is another.
    Channel {
        /// `chn_…`
        channel: &'a str,
        /// `dev_…`; for a derived channel, the device it stands with.
        device: &'a str,
        /// IANA name of its site's zone; one that is not known counts as UTC.
        timezone: &'a str,
    },
    /// A channel is no more: its rules end.
    ChannelRemoved {
        /// `chn_…`
        channel: &'a str,
    },
    /// What was measured from `valid_from` on is corrected.
    Calibrated {
        /// `chn_…`
        channel: &'a str,
        /// From raw to true.
        correction: Option<Correction>,
        /// From when.
        valid_from: Timestamp,
    },
    /// A channel's values are made of other channels', or no longer.
    Derived {
        /// `chn_…`, of a channel that was made known.
        channel: &'a str,
        /// How; `None` for no longer.
        derivation: Option<&'a Derivation>,
    },
    /// A rule, or another version of it, is in force from here on.
    Rule {
        /// `rul_…`
        rule: &'a str,
        /// `chn_…`, of a channel that was made known.
        channel: &'a str,
        /// Its version.
        version: u32,
        /// What it is.
        definition: &'a Definition,
    },
    /// A rule is no more.
    RuleRemoved {
        /// `rul_…`
        rule: &'a str,
    },
}

/// An alarm, by what names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmKey {
    /// `rul_…`
    pub rule: Arc<str>,
    /// The version that opened it.
    pub rule_version: u32,
    /// The position of its first reading.
    pub opening: Position,
}

impl AlarmKey {
    /// Its id, given the leaf hash of the entry at `opening`.
    pub fn id(&self, opening: &crate::hash::Hash) -> String {
        super::alarm_id(&self.rule, self.rule_version, opening)
    }
}

/// What a decision is about, and so in which stream it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An alarm of this channel.
    Alarm {
        /// Which.
        alarm: AlarmKey,
        /// `chn_…`
        channel: Arc<str>,
    },
    /// A channel's state.
    Channel(Arc<str>),
    /// A device's state.
    Device(Arc<str>),
}

/// A decision, as the event that it becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What it is about.
    pub subject: Subject,
    /// What was decided, and why.
    pub event: Event,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Channel {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    armed: Option<Timestamp>,
    /// When its newest value arrived, by our clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrived_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Calibrations::is_empty")]
    calibrations: Calibrations,
    /// Channels made of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    derives: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    derived: Option<Box<Derived>>,
    device: u32,
    /// How long the service was down since then.
    #[serde(default)]
    down_us: i64,
    #[serde(with = "crate::rule::shared")]
    id: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest_at: Option<Timestamp>,
    no_data: bool,
    /// Rules over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<u32>,
    state: ChannelState,
    #[serde(with = "crate::rule::shared")]
    timezone: Arc<str>,
    /// Rules of other channels that compare with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    watched_by: Vec<u32>,
    #[serde(skip)]
    zone: Option<TimeZone>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Device {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    armed: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrived_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cadence_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    channels: Vec<u32>,
    /// How long the service was down since it last reported.
    #[serde(default)]
    down_us: i64,
    #[serde(with = "crate::rule::shared")]
    id: Arc<str>,
    offline: bool,
}

/// Everything that the engine remembers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    channels: Vec<Channel>,
    clock: Timestamp,
    devices: Vec<Device>,
    /// Rules in order of creation; a removed one leaves its place.
    rules: Vec<Option<Ruling>>,
    too_late: u64,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Channel(u32),
    Device(u32),
    Rule(u32),
}

/// Numbers by id. Ids are ours, so nobody can choose ones that collide; it is only ever asked for one.
type Numbers = HashMap<Arc<str>, u32, foldhash::fast::FixedState>;

/// The engine.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    memory: Memory,
    channels: Numbers,
    devices: Numbers,
    rules: Numbers,
    queue: BTreeSet<(Timestamp, Arc<str>, Timer)>,
}

/// The entry that is being processed.
#[derive(Debug, Clone, Copy)]
struct Now {
    position: Position,
    at: Timestamp,
}

impl Engine {
    /// An engine that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Processes entries, which come in order of position.
    pub fn batch<'a>(&mut self, facts: impl IntoIterator<Item = Fact<'a>>, out: &mut Vec<Decision>) {
        for fact in facts {
            self.step(&fact, out);
        }
    }

    /// Processes an entry.
    pub fn step(&mut self, fact: &Fact<'_>, out: &mut Vec<Decision>) {
        let at = fact.recorded_at.max(self.memory.clock);
        let now = Now {
            position: fact.position,
            at,
        };
        if fact.what == What::Started {
            self.forgive(at);
        }
        self.fire_until(now, out);
        self.memory.clock = at;
        match fact.what {
            What::Other | What::Started => {}
            What::Reading {
                device,
                measured_at,
                values,
            } => self.reading(now, device, measured_at, values, out),
            What::Device { device, cadence_s } => self.device(device, cadence_s),
            What::DeviceRemoved { device } => self.remove_device(device),
            What::Channel {
                channel,
                device,
                timezone,
            } => self.channel(channel, device, timezone),
            What::ChannelRemoved { channel } => self.remove_channel(now, channel, out),
            What::Calibrated {
                channel,
                correction,
                valid_from,
            } => self.calibrate(channel, correction, valid_from),
            What::Derived { channel, derivation } => self.derive(channel, derivation),
            What::Rule {
                rule,
                channel,
                version,
                definition,
            } => self.rule(now, (rule, channel), version, definition, out),
            What::RuleRemoved { rule } => self.remove_rule(now, rule, "rule_removed", out),
        }
    }

    /// When the live timer should make an entry come, if none comes before.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _, _)| *at)
    }

    /// The state of a channel.
    pub fn state(&self, channel: &str) -> Option<ChannelState> {
        let number = *self.channels.get(channel)?;
        Some(self.memory.channels[number as usize].state)
    }

    /// The state of a rule.
    pub fn rule_state(&self, rule: &str) -> Option<ChannelState> {
        let number = *self.rules.get(rule)?;
        let ruling = self.memory.rules[number as usize].as_ref()?;
        Some(ruling.machine.state(ruling.kind()))
    }

    /// The channel that a rule compares with.
    pub fn compared_with(&self, rule: &str) -> Option<Arc<str>> {
        let number = *self.rules.get(rule)?;
        let ruling = self.memory.rules[number as usize].as_ref()?;
        ruling.definition.another_channel.as_deref().map(Arc::from)
    }

    /// Readings that came too late for a rule to look at. A recompute looks at them.
    pub fn too_late(&self) -> u64 {
        self.memory.too_late
    }

    /// Silence does not count while nothing could arrive: since the entry before this start.
    fn forgive(&mut self, started_at: Timestamp) {
        let down_us = started_at.since(self.memory.clock).max(0);
        if self.memory.clock == Timestamp::default() {
            return;
        }
        for channel in &mut self.memory.channels {
            channel.down_us = channel.down_us.saturating_add(down_us).min(DOWN_US_MAX);
        }
        for device in &mut self.memory.devices {
            device.down_us = device.down_us.saturating_add(down_us).min(DOWN_US_MAX);
        }
        for ruling in self.memory.rules.iter_mut().flatten() {
            if ruling.kind() == Kind::Absence {
                ruling.machine.forgive(down_us);
            }
        }
    }

    fn fire_until(&mut self, now: Now, out: &mut Vec<Decision>) {
        while let Some((deadline, _, timer)) = self.queue.first().cloned()
            && deadline <= now.at
        {
            self.queue.pop_first();
            match timer {
                Timer::Rule(number) => self.fire_rule(number, deadline, now, out),
                Timer::Channel(number) => self.fire_channel(number, deadline, now, out),
                Timer::Device(number) => self.fire_device(number, deadline, now, out),
            }
        }
    }

    fn reading(
        &mut self,
        now: Now,
        device: &str,
        measured_at: Timestamp,
        values: &[(&str, f64)],
        out: &mut Vec<Decision>,
    ) {
        if let Some(&number) = self.devices.get(device) {
            self.device_arrival(number, now, out);
        }
        let mut known: Vec<(u32, f64)> = Vec::with_capacity(values.len());
        for (channel, raw) in values {
            if let Some(&number) = self.channels.get(*channel)
                && raw.is_finite()
                && raw.abs() <= VALUE_MAX
            {
                let calibrations = &self.memory.channels[number as usize].calibrations;
                known.push((number, calibrations.of(measured_at, *raw)));
            }
        }
        self.observe_all(now, measured_at, &known, out);
        let derived = self.derive_all(measured_at, &known);
        if !derived.is_empty() {
            self.observe_all(now, measured_at, &derived, out);
        }
    }

    /// Values of one time: comparisons see the other channels' values first, whichever order they come in.
    fn observe_all(
        &mut self,
        now: Now,
        measured_at: Timestamp,
        values: &[(u32, f64)],
        out: &mut Vec<Decision>,
    ) {
        let observation = |value: f64, other: bool| Observation {
            measured_at,
            recorded_at: now.at,
            position: now.position,
            other,
            value,
        };
        for &(channel, value) in values {
            for index in 0..self.memory.channels[channel as usize].watched_by.len() {
                let rule = self.memory.channels[channel as usize].watched_by[index];
                self.observe(now, rule, &observation(value, true), out);
            }
        }
        let mut moved = Vec::new();
        for &(channel, value) in values {
            self.arrival(channel, now, measured_at);
            for index in 0..self.memory.channels[channel as usize].rules.len() {
                let rule = self.memory.channels[channel as usize].rules[index];
                if self.observe(now, rule, &observation(value, false), out) {
                    moved.push(rule);
                }
            }
            self.refresh(
                channel,
                &moved,
                decide::Cause::reading(measured_at, value),
                now,
                out,
            );
            moved.clear();
        }
    }

    /// The values of derived channels that follow from these.
    fn derive_all(&mut self, measured_at: Timestamp, values: &[(u32, f64)]) -> Vec<(u32, f64)> {
        let mut targets: Vec<u32> = Vec::new();
        for (channel, _) in values {
            targets.extend(&self.memory.channels[*channel as usize].derives);
        }
        targets.sort_unstable();
        targets.dedup();
        let mut derived = Vec::new();
        for target in targets {
            let Some(mut it) = self.memory.channels[target as usize].derived.take() else {
                continue;
            };
            let channel = &mut self.memory.channels[target as usize];
            if let Some(value) = it.take(channel.zone(), measured_at, values) {
                derived.push((target, value));
            }
            channel.derived = Some(it);
        }
        derived
    }
}

impl Channel {
    fn zone(&mut self) -> &TimeZone {
        let Self { zone, timezone, .. } = self;
        zone.get_or_insert_with(|| zone_of(timezone))
    }
}

/// The zone of that name in the database that this software carries; UTC for a name it does not know.
pub fn zone_of(timezone: &str) -> TimeZone {
    jiff::tz::TimeZoneDatabase::bundled()
        .get(timezone)
        .unwrap_or(TimeZone::UTC)
}
