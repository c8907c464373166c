//! The state of one rule over one channel: ok, grace, alarm, recovering, and when each began.
//!
//! Invariants: it goes by the time of the data alone, so it comes out the same whether a countdown was ended by a
//! timer or by the next reading; nothing but a reading ends an alarm; what it holds is bounded.
//! Source: docs/rules.md. Not here: our clock (`engine`), readings that come late (`late`).

use crate::position::Position;
use crate::rule::definition::{Definition, Flap, Kind, Level, Severity};
use crate::rule::kinds::VALUE_MAX;
use crate::rule::kinds::{Memory, Sample, absence, look};
use crate::rule::state::ChannelState;
use crate::rule::windows::{InForce, MINUTE_US, Schedule};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A reading, by when it was measured and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When it was measured.
    pub at: Timestamp,
    /// Its entry.
    pub position: Position,
}

/// A value on its way into a rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When it was measured.
    pub measured_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its entry.
    pub position: Position,
    /// Of the channel that a comparison compares with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// The value, corrected.
    pub value: f64,
}

impl Observation {
    /// The order in which values are looked at: as measured; the other channel's before the rule's own.
    pub fn order(&self) -> (Timestamp, bool, Position) {
        (self.measured_at, !self.other, self.position)
    }

    fn mark(&self) -> Mark {
        Mark {
            at: self.measured_at,
            position: self.position,
        }
    }
}

/// An alarm that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// When the values left what is right.
    pub began_at: Timestamp,
    /// Opened while the rule was flapping.
    pub flapping: bool,
    /// The first reading that was wrong; names the alarm.
    pub opening: Position,
    /// When it became an alarm.
    pub opened_at: Timestamp,
    /// How bad it is.
    pub severity: Severity,
    /// The rule's version then.
    pub version: u32,
}

/// The newest value that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Newest {
    /// When it was measured.
    pub measured_at: Timestamp,
    /// Its entry.
    pub position: Position,
    /// What the rule made of it: value, step, rate or distance.
    pub quantity: Option<f64>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// What a machine has to know of its rule.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// What it is.
    pub definition: &'a Definition,
    /// Its version.
    pub version: u32,
}

/// Something that happened to a rule's alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// When, in the time of the data.
    pub at: Timestamp,
    /// What was in force.
    pub in_force: InForce,
    /// The alarm, as it is after this.
    pub open: Open,
    /// The entries it rests on.
    pub readings: [Position; 2],
    /// What the rule looked at.
    pub value: Option<f64>,
    /// What happened.
    pub what: What,
}

/// What happened to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It opened.
    Opened,
    /// It got worse; it was so bad before.
    Escalated(Severity),
    /// It ended.
    Cleared,
}

/// Up to which deadlines are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upto {
    /// Those before that time: a value measured exactly then still came in time.
    Before(Timestamp),
    /// Those at that time too.
    Through(Timestamp),
}

impl Upto {
    fn reaches(self, due: Timestamp) -> bool {
        match self {
            Self::Before(at) => due < at,
            Self::Through(at) => due <= at,
        }
    }
}

/// The state of a rule.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    #[serde(skip_serializing_if = "Option::is_none")]
    alarm_since: Option<Mark>,
    /// What the kind has to remember.
    pub memory: Memory,
    /// The newest value looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok_since: Option<Mark>,
    /// The alarm, while one is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    openings: Vec<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warn_since: Option<Mark>,
    /// When it last got worse: what was measured before that and comes now, comes late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worse_at: Option<Timestamp>,
}

impl Machine {
    /// The rule's state in one word.
    pub fn state(&self, kind: Kind) -> ChannelState {
        match (&self.open, &self.ok_since, &self.warn_since) {
            (Some(_), Some(_), _) => ChannelState::Recovering,
            (Some(_), None, _) => ChannelState::Alarm,
            (None, _, Some(_)) if kind == Kind::Absence => ChannelState::NoData,
            (None, _, Some(_)) => ChannelState::Grace,
            (None, _, None) => ChannelState::Ok,
        }
    }

    /// Forgets what only the old definition could have said; an open alarm stays, and so does how far time has come.
    pub fn keep_alarm_only(&mut self) {
        *self = Self {
            newest: self.newest,
            open: self.open,
            openings: std::mem::take(&mut self.openings),
            ..Self::default()
        };
    }

    /// Forgets everything but how far time has come.
    pub fn forget(&mut self) {
        *self = Self {
            newest: self.newest,
            ..Self::default()
        };
    }

    /// Looks at a value. Values come in their [`Observation::order`].
    pub fn observe(
        &mut self,
        judge: Judge<'_>,
        schedule: &mut Schedule,
        observation: &Observation,
        out: &mut Vec<Transition>,
    ) {
        let sample = Sample {
            at: observation.measured_at,
            value: observation.value,
        };
        if observation.other {
            self.memory.other(sample);
            return;
        }
        if self.waits() {
            self.expire_last(judge, schedule, Upto::Before(observation.measured_at), out);
        }
        let quantity = look(judge.definition, &mut self.memory, sample)
            .map(|quantity| quantity.clamp(-VALUE_MAX, VALUE_MAX));
        self.newest = Some(Newest {
            measured_at: observation.measured_at,
            position: observation.position,
            quantity,
            recorded_at: observation.recorded_at,
        });
        let in_force = schedule.at(observation.measured_at);
        if !in_force.enabled {
            (self.warn_since, self.alarm_since, self.ok_since) = (None, None, None);
            return;
        }
        let Some(quantity) = quantity else {
            return;
        };
        match in_force.band.level(quantity) {
            Level::Ok => self.right(judge, &in_force, observation.mark(), quantity, out),
            level => self.wrong(judge, &in_force, observation.mark(), level, out),
        }
    }

    fn right(
        &mut self,
        judge: Judge<'_>,
        in_force: &InForce,
        mark: Mark,
        quantity: f64,
        out: &mut Vec<Transition>,
    ) {
        (self.warn_since, self.alarm_since) = (None, None);
        if self.open.is_none() {
            return;
        }
        if in_force.band.is_well_inside(quantity, in_force.margin) {
            self.ok_since.get_or_insert(mark);
            self.clear_when_due(judge.definition, in_force, mark, out);
        } else {
            self.ok_since = None;
        }
    }

    fn wrong(
        &mut self,
        judge: Judge<'_>,
        in_force: &InForce,
        mark: Mark,
        level: Level,
        out: &mut Vec<Transition>,
    ) {
        self.ok_since = None;
        self.warn_since.get_or_insert(mark);
        if level == Level::Alarm {
            self.alarm_since.get_or_insert(mark);
        } else {
            self.alarm_since = None;
        }
        self.expire(judge, in_force, Upto::Through(mark.at), out);
    }

    /// Ends an alarm that was right for long enough, `now` included.
    fn clear_when_due(
        &mut self,
        definition: &Definition,
        in_force: &InForce,
        now: Mark,
        out: &mut Vec<Transition>,
    ) {
        let (Some(open), Some(since)) = (self.open, self.ok_since) else {
            return;
        };
        let held_us = match definition.flap {
            Some(flap) if open.flapping => in_force.recovery_us.max(minutes(flap.within_min)),
            _ => in_force.recovery_us,
        };
        let keep_us = minutes(definition.keep_firing_min.unwrap_or(0));
        if now.at.since(since.at) < held_us || now.at.since(open.opened_at) < keep_us {
            return;
        }
        (self.open, self.ok_since) = (None, None);
        out.push(Transition {
            at: now.at,
            in_force: *in_force,
            open,
            readings: [since.position, now.position],
            value: self.newest.and_then(|newest| newest.quantity),
            what: What::Cleared,
        });
    }

    /// Whether a countdown may be running.
    pub fn waits(&self) -> bool {
        self.warn_since.is_some()
    }

    /// When the next countdown ends, in the time of the data, by what was in force at the newest value.
    pub fn due(&self, schedule: &mut Schedule) -> Option<Timestamp> {
        let in_force = schedule.at(self.newest?.measured_at);
        self.next_due(&in_force).map(|(due, _)| due)
    }

    fn next_due(&self, in_force: &InForce) -> Option<(Timestamp, Severity)> {
        // Where a window has just made the grace shorter, it is over now and was not over before.
        let after = |since: Mark| since.at.plus_micros(in_force.grace_us).max(in_force.since);
        let alarm = self.alarm_since.map(after);
        match self.open {
            None => {
                let due = after(self.warn_since?);
                let severity = if alarm.is_some_and(|at| at <= due) {
                    in_force.severity
                } else {
                    Severity::Warn
                };
                Some((due, severity))
            }
            Some(open) if open.severity < in_force.severity => Some((alarm?, in_force.severity)),
            Some(_) => None,
        }
    }

    /// Ends the countdowns that a timer says are over.
    pub fn expire_through(
        &mut self,
        judge: Judge<'_>,
        schedule: &mut Schedule,
        at: Timestamp,
        out: &mut Vec<Transition>,
    ) {
        self.expire_last(judge, schedule, Upto::Through(at), out);
    }

    /// Ends countdowns by what was in force at the newest value.
    fn expire_last(
        &mut self,
        judge: Judge<'_>,
        schedule: &mut Schedule,
        upto: Upto,
        out: &mut Vec<Transition>,
    ) {
        if let Some(newest) = self.newest {
            let in_force = schedule.at(newest.measured_at);
            self.expire(judge, &in_force, upto, out);
        }
    }

    fn expire(&mut self, judge: Judge<'_>, in_force: &InForce, upto: Upto, out: &mut Vec<Transition>) {
        while let Some((due, severity)) = self.next_due(in_force).filter(|(due, _)| upto.reaches(*due)) {
            self.worsen(judge, in_force, due, severity, out);
        }
    }

    /// Opens an alarm, or makes the open one worse.
    fn worsen(
        &mut self,
        judge: Judge<'_>,
        in_force: &InForce,
        at: Timestamp,
        severity: Severity,
        out: &mut Vec<Transition>,
    ) {
        let Some(since) = self.warn_since else {
            return;
        };
        let before = self.open;
        let open = match before {
            Some(open) => Open { severity, ..open },
            None => Open {
                began_at: since.at,
                flapping: self.flaps(judge.definition.flap, at),
                opening: since.position,
                opened_at: at,
                severity,
                version: judge.version,
            },
        };
        self.open = Some(open);
        self.worse_at = Some(at);
        let newest = self.newest;
        out.push(Transition {
            at,
            in_force: *in_force,
            open,
            readings: [since.position, newest.map_or(since.position, |n| n.position)],
            value: newest.and_then(|n| n.quantity),
            what: before.map_or(What::Opened, |open| What::Escalated(open.severity)),
        });
    }

    /// Counts an opening; gives whether there were too many of late.
    fn flaps(&mut self, flap: Option<Flap>, at: Timestamp) -> bool {
        let Some(flap) = flap else {
            self.openings.clear();
            return false;
        };
        self.openings
            .retain(|opening| at.since(*opening) < minutes(flap.within_min));
        if self.openings.len() >= flap.changes as usize {
            self.openings.remove(0);
        }
        self.openings.push(at);
        self.openings.len() >= flap.changes as usize
    }

    /// Takes note of an arrival (`absence`); times are by our clock.
    pub fn arrive(
        &mut self,
        judge: Judge<'_>,
        schedule: &mut Schedule,
        observation: &Observation,
        out: &mut Vec<Transition>,
    ) {
        let newer = self
            .newest
            .is_none_or(|n| observation.measured_at > n.measured_at);
        if !newer || observation.other {
            return;
        }
        self.memory = Memory::Arrival {
            at: observation.recorded_at,
            position: observation.position,
        };
        self.newest = Some(Newest {
            measured_at: observation.measured_at,
            position: observation.position,
            quantity: None,
            recorded_at: observation.recorded_at,
        });
        self.warn_since = None;
        if self.open.is_some() {
            let mark = Mark {
                at: observation.recorded_at,
                position: observation.position,
            };
            self.ok_since.get_or_insert(mark);
            let in_force = schedule.at(mark.at);
            self.clear_when_due(judge.definition, &in_force, mark, out);
        }
    }

    /// When silence next becomes something else, by our clock.
    pub fn silence_due(&self, schedule: &mut Schedule) -> Option<Timestamp> {
        if let Some(since) = self.warn_since {
            let in_force = schedule.at(since.at);
            return self
                .open
                .is_none()
                .then(|| since.at.plus_micros(in_force.grace_us));
        }
        let Memory::Arrival { at, .. } = self.memory else {
            return None;
        };
        absence::silent_from(schedule, at)
    }

    /// Takes note of silence up to `now`, by our clock.
    pub fn silent(
        &mut self,
        judge: Judge<'_>,
        schedule: &mut Schedule,
        now: Timestamp,
        out: &mut Vec<Transition>,
    ) {
        let Memory::Arrival { position, .. } = self.memory else {
            return;
        };
        if self.warn_since.is_none()
            && let Some(due) = self.silence_due(schedule).filter(|due| *due <= now)
        {
            // An alarm that was recovering goes on: no data never means resolved.
            self.ok_since = None;
            self.warn_since = Some(Mark { at: due, position });
        }
        if self.open.is_none()
            && let Some(due) = self.warn_since.and_then(|_| self.silence_due(schedule))
            && due <= now
        {
            let in_force = schedule.at(due);
            self.worsen(judge, &in_force, due, in_force.severity, out);
        }
    }

    /// Time in which nothing could arrive does not count as silence (`absence`).
    pub fn forgive(&mut self, down_us: i64) {
        if let Memory::Arrival { at, .. } = &mut self.memory {
            *at = at.plus_micros(down_us);
        }
        if self.open.is_none()
            && let Some(since) = &mut self.warn_since
        {
            since.at = since.at.plus_micros(down_us);
        }
    }

    /// Begins to wait for a first arrival (`absence`).
    pub fn wait_from(&mut self, at: Timestamp, position: Position) {
        self.memory = Memory::Arrival { at, position };
    }
}

fn minutes(count: u32) -> i64 {
    i64::from(count) * MINUTE_US
}
