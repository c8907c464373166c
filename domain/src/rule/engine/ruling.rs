//! One rule over one channel: its machine, and the readings it can still look at again.
//!
//! Invariants: at most [`KEPT_MAX`] readings are kept; a reading that comes late is put in its place, everything
//! after it is looked at again, and only the difference to what was told before is told, marked late; what lies
//! before the kept readings is never looked at again here (a recompute reads the ledger).
//! Source: docs/rules.md "Late readings". Not here: our clock and the queue of deadlines (`engine`).

use super::machine::{Judge, Machine, Observation, Open, Transition, What};
use crate::position::Position;
use crate::rule::definition::{Definition, Kind, Severity};
use crate::rule::windows::{InForce, Schedule};
use crate::time::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most readings that a rule can look at again: an hour of minutes, or a day of quarters of an hour and less.
/// More would cost every channel memory for what a recompute can do from the ledger.
pub const KEPT_MAX: usize = 64;
/// How long after a countdown's end its timer fires, microseconds: a reading measured just then is still on its way.
/// Thirty seconds cover a gateway, a network server and a retry.
pub const ARRIVAL_SLACK_US: i64 = 30_000_000;
/// Most alarms of the kept time that are compared with what is found later; older ones are let go.
const EPISODES_MAX: usize = KEPT_MAX;

/// An alarm as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Episode {
    /// When it ended, in the time of the data; open without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cleared_at: Option<Timestamp>,
    /// As it was told last.
    open: Open,
}

impl Episode {
    fn overlaps(&self, other: &Self) -> bool {
        let ends_before = |a: &Self, b: &Self| a.cleared_at.is_some_and(|end| end < b.open.began_at);
        !ends_before(self, other) && !ends_before(other, self)
    }
}

/// What is told of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Opened,
    Escalated(Severity),
    Cleared,
    Withdrawn,
    Reopened,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) at: Timestamp,
    pub(super) in_force: InForce,
    pub(super) late: bool,
    pub(super) open: Open,
    pub(super) readings: [Position; 2],
    pub(super) told: Told,
    pub(super) value: Option<f64>,
}

impl Report {
    fn of(transition: &Transition, told: Told, open: Open, late: bool) -> Self {
        Self {
            at: transition.at,
            in_force: transition.in_force,
            late,
            open,
            readings: transition.readings,
            told,
            value: transition.value,
        }
    }
}

/// Schedules for the newest readings and for the oldest kept ones, which are at different times.
#[derive(Debug, Clone)]
struct Schedules {
    live: Schedule,
    base: Schedule,
}

/// A rule at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ruling {
    /// For when the queue has it; never later than what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) armed: Option<Timestamp>,
    /// The state before the first kept reading.
    base: Machine,
    pub(super) channel: u32,
    pub(super) definition: Box<Definition>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    episodes: Vec<Episode>,
    #[serde(with = "crate::rule::shared")]
    pub(super) id: Arc<str>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    kept: VecDeque<Observation>,
    pub(super) machine: Machine,
    pub(super) version: u32,
    #[serde(skip)]
    schedules: Option<Box<Schedules>>,
}

impl Ruling {
    pub(super) fn new(id: Arc<str>, channel: u32, version: u32, definition: &Definition) -> Self {
        Self {
            armed: None,
            base: Machine::default(),
            channel,
            definition: Box::new(definition.clone()),
            episodes: Vec::new(),
            id,
            kept: VecDeque::new(),
            machine: Machine::default(),
            version,
            schedules: None,
        }
    }

    /// Gives it another version. The alarm that is open stays open; readings of before are not looked at again.
    pub(super) fn change(&mut self, version: u32, definition: &Definition) {
        self.machine.keep_alarm_only();
        self.base = self.machine.clone();
        self.kept.clear();
        self.episodes.retain(|episode| episode.cleared_at.is_none());
        *self.definition = definition.clone();
        self.version = version;
        self.schedules = None;
    }

    /// Takes the open alarm away, as a removal does.
    pub(super) fn close(&mut self) -> Option<Open> {
        let open = self.machine.open;
        self.machine.forget();
        self.base = self.machine.clone();
        self.kept.clear();
        self.episodes.clear();
        open
    }

    /// Another zone: windows are read again.
    pub(super) fn rezone(&mut self) {
        self.schedules = None;
    }

    fn schedules<'a>(
        slot: &'a mut Option<Box<Schedules>>,
        definition: &Definition,
        zone: &TimeZone,
    ) -> &'a mut Schedules {
        slot.get_or_insert_with(|| {
            let live = Schedule::new(definition, zone);
            Box::new(Schedules {
                base: live.clone(),
                live,
            })
        })
    }

    pub(super) fn kind(&self) -> Kind {
        self.definition.kind
    }

    /// Looks at a value; `false` where it came too late to be looked at.
    pub(super) fn take(
        &mut self,
        zone: &TimeZone,
        observation: &Observation,
        now: Timestamp,
        out: &mut Vec<Report>,
    ) -> bool {
        if self.kind() == Kind::Absence {
            self.live(zone, observation, out);
            return true;
        }
        if self.is_late(observation) {
            return self.late(zone, observation, now, out);
        }
        self.live(zone, observation, out);
        self.make_room();
        self.kept.push_back(*observation);
        self.trim(zone);
        true
    }

    /// Whether it was measured before something that was looked at, or before what a timer already decided.
    fn is_late(&self, observation: &Observation) -> bool {
        let newest = self.kept.back().map(Observation::order);
        newest.is_some_and(|newest| observation.order() < newest)
            || self
                .machine
                .worse_at
                .is_some_and(|at| observation.measured_at <= at)
            || self.is_before_base(observation)
    }

    fn is_before_base(&self, observation: &Observation) -> bool {
        self.base
            .newest
            .is_some_and(|newest| observation.measured_at < newest.measured_at)
    }

    fn live(&mut self, zone: &TimeZone, observation: &Observation, out: &mut Vec<Report>) {
        let schedule = &mut Self::schedules(&mut self.schedules, &self.definition, zone).live;
        let judge = Judge {
            definition: &self.definition,
            version: self.version,
        };
        let mut transitions = Vec::new();
        if self.definition.kind == Kind::Absence {
            self.machine
                .arrive(judge, schedule, observation, &mut transitions);
        } else {
            self.machine
                .observe(judge, schedule, observation, &mut transitions);
        }
        self.tell(&transitions, out);
    }

    /// Tells what happened at the front of time.
    fn tell(&mut self, transitions: &[Transition], out: &mut Vec<Report>) {
        for transition in transitions {
            let told = match transition.what {
                What::Opened => {
                    self.episodes.push(Episode {
                        cleared_at: None,
                        open: transition.open,
                    });
                    Told::Opened
                }
                What::Escalated(before) => {
                    if let Some(episode) = self.open_episode() {
                        episode.open.severity = transition.open.severity;
                    }
                    Told::Escalated(before)
                }
                What::Cleared => {
                    if let Some(episode) = self.open_episode() {
                        episode.cleared_at = Some(transition.at);
                    }
                    Told::Cleared
                }
            };
            out.push(Report::of(transition, told, transition.open, false));
        }
    }

    fn open_episode(&mut self) -> Option<&mut Episode> {
        self.episodes
            .iter_mut()
            .rev()
            .find(|episode| episode.cleared_at.is_none())
    }

    /// Makes room for all that are ever kept, and one, instead of for twice as many.
    fn make_room(&mut self) {
        let kept = self.kept.len();
        if kept == self.kept.capacity() && (KEPT_MAX / 2..=KEPT_MAX).contains(&kept) {
            self.kept.reserve_exact(KEPT_MAX + 1 - kept);
        }
    }

    /// Folds the oldest readings into the base.
    fn trim(&mut self, zone: &TimeZone) {
        while self.kept.len() > KEPT_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            let schedule = &mut Self::schedules(&mut self.schedules, &self.definition, zone).base;
            let judge = Judge {
                definition: &self.definition,
                version: self.version,
            };
            self.base.observe(judge, schedule, &oldest, &mut Vec::new());
        }
        if !self.episodes.is_empty() {
            let begin = self.base.newest.map(|newest| newest.measured_at);
            self.episodes.retain(|e| {
                e.cleared_at
                    .is_none_or(|end| begin.is_none_or(|begin| end > begin))
            });
            let surplus = self.episodes.len().saturating_sub(EPISODES_MAX);
            self.episodes.drain(..surplus);
        }
    }

    /// Puts a reading in its place and looks again at everything after it.
    fn late(
        &mut self,
        zone: &TimeZone,
        observation: &Observation,
        now: Timestamp,
        out: &mut Vec<Report>,
    ) -> bool {
        if self.is_before_base(observation) {
            return false;
        }
        let at = self.kept.partition_point(|k| k.order() < observation.order());
        self.make_room();
        self.kept.insert(at, *observation);
        let (machine, transitions) = self.again(zone, now);
        let found = replayed(self.base.open, transitions);
        self.machine = machine;
        self.reconcile(found, observation, zone, out);
        self.trim(zone);
        true
    }

    /// The state after the kept readings and the timers up to `now`, from the base.
    fn again(&mut self, zone: &TimeZone, now: Timestamp) -> (Machine, Vec<Transition>) {
        let schedule = &mut Self::schedules(&mut self.schedules, &self.definition, zone).live;
        let judge = Judge {
            definition: &self.definition,
            version: self.version,
        };
        let mut machine = self.base.clone();
        let mut transitions = Vec::new();
        for kept in &self.kept {
            machine.observe(judge, schedule, kept, &mut transitions);
        }
        // A reading that comes late makes the device look slower than it was; what a timer has seen pass has passed.
        let through = data_time(&machine, now).max(self.machine.worse_at);
        if let Some(through) = through {
            machine.expire_through(judge, schedule, through, &mut transitions);
        }
        (machine, transitions)
    }

    /// Tells the difference between what was told and what is found now.
    fn reconcile(
        &mut self,
        found: Vec<Found>,
        observation: &Observation,
        zone: &TimeZone,
        out: &mut Vec<Report>,
    ) {
        let told = std::mem::take(&mut self.episodes);
        let mut partner: Vec<Option<usize>> = vec![None; found.len()];
        let mut taken = vec![false; told.len()];
        let same = |f: &Found, e: &Episode| f.episode.open.opening == e.open.opening;
        let overlapping = |f: &Found, e: &Episode| f.episode.overlaps(e);
        for matches in [&same as &dyn Fn(&Found, &Episode) -> bool, &overlapping] {
            for (f, slot) in found.iter().zip(&mut partner) {
                if slot.is_none()
                    && let Some(index) = (0..told.len()).find(|i| !taken[*i] && matches(f, &told[*i]))
                {
                    taken[index] = true;
                    *slot = Some(index);
                }
            }
        }
        let in_force = Self::schedules(&mut self.schedules, &self.definition, zone)
            .live
            .at(observation.measured_at);
        let blank = |open: Open, told: Told| Report {
            at: observation.measured_at,
            in_force,
            late: true,
            open,
            readings: [open.opening, observation.position],
            told,
            value: None,
        };
        for (index, episode) in told.iter().enumerate().filter(|(index, _)| !taken[*index]) {
            // What ended is over; what is open and cannot be found again is withdrawn.
            let mut episode = *episode;
            if episode.cleared_at.is_none() {
                out.push(blank(episode.open, Told::Withdrawn));
                episode.cleared_at = Some(observation.measured_at);
            }
            let _ = index;
            self.episodes.push(episode);
        }
        for (f, partner) in found.into_iter().zip(partner) {
            let episode = match partner {
                None => f.tell_new(out),
                Some(index) => f.tell_difference(told[index], &blank, out),
            };
            if episode.cleared_at.is_none() {
                self.machine.open = Some(episode.open);
            }
            self.episodes.push(episode);
        }
        self.episodes
            .sort_by_key(|episode| (episode.open.began_at, episode.open.opening));
    }

    /// When it next needs to be asked, by our clock.
    pub(super) fn deadline(&mut self, zone: &TimeZone) -> Option<Timestamp> {
        if !self.definition.enabled && !self.has_windows(zone) {
            return None;
        }
        if self.kind() != Kind::Absence && !self.machine.waits() {
            return None;
        }
        let schedule = &mut Self::schedules(&mut self.schedules, &self.definition, zone).live;
        if self.definition.kind == Kind::Absence {
            return self.machine.silence_due(schedule);
        }
        let newest = self.machine.newest?;
        let due = self.machine.due(schedule)?;
        Some(
            newest
                .recorded_at
                .plus_micros(due.since(newest.measured_at))
                .plus_micros(ARRIVAL_SLACK_US),
        )
    }

    fn has_windows(&mut self, zone: &TimeZone) -> bool {
        Self::schedules(&mut self.schedules, &self.definition, zone)
            .live
            .has_windows()
    }

    /// The time is `now`, by our clock.
    pub(super) fn fire(&mut self, zone: &TimeZone, now: Timestamp, out: &mut Vec<Report>) {
        let schedule = &mut Self::schedules(&mut self.schedules, &self.definition, zone).live;
        let judge = Judge {
            definition: &self.definition,
            version: self.version,
        };
        let mut transitions = Vec::new();
        if self.definition.kind == Kind::Absence {
            self.machine.silent(judge, schedule, now, &mut transitions);
        } else if let Some(through) = data_time(&self.machine, now) {
            self.machine
                .expire_through(judge, schedule, through, &mut transitions);
        }
        self.tell(&transitions, out);
    }
}

/// What time it is for the device when it is `now` here, as far as its newest reading tells.
fn data_time(machine: &Machine, now: Timestamp) -> Option<Timestamp> {
    let newest = machine.newest?;
    let passed_us = now.since(newest.recorded_at).saturating_sub(ARRIVAL_SLACK_US);
    Some(newest.measured_at.plus_micros(passed_us))
}

/// An alarm as it is found when looking again.
struct Found {
    episode: Episode,
    opened: Option<Transition>,
    escalated: Option<Transition>,
    cleared: Option<Transition>,
}

impl Found {
    fn of(open: Open, opened: Option<Transition>) -> Self {
        Self {
            episode: Episode {
                cleared_at: None,
                open,
            },
            opened,
            escalated: None,
            cleared: None,
        }
    }

    /// Tells an alarm that had been missing.
    fn tell_new(self, out: &mut Vec<Report>) -> Episode {
        if let Some(opened) = &self.opened {
            // Opened at once as bad as it got: nobody could have been told in between.
            out.push(Report::of(opened, Told::Opened, self.episode.open, true));
        }
        if let Some(cleared) = &self.cleared {
            out.push(Report::of(cleared, Told::Cleared, self.episode.open, true));
        }
        self.episode
    }

    /// Tells what is different about an alarm that was told before, which keeps its name and beginning.
    fn tell_difference(
        self,
        before: Episode,
        blank: &dyn Fn(Open, Told) -> Report,
        out: &mut Vec<Report>,
    ) -> Episode {
        let severity = self.episode.open.severity.max(before.open.severity);
        let open = Open {
            severity,
            ..before.open
        };
        let told = |transition: &Option<Transition>, told: Told| match transition {
            Some(transition) => Report::of(transition, told, open, true),
            None => blank(open, told),
        };
        if before.cleared_at.is_some() && self.episode.cleared_at.is_none() {
            out.push(blank(open, Told::Reopened));
        }
        if severity > before.open.severity {
            let transition = if self.escalated.is_some() {
                &self.escalated
            } else {
                &self.opened
            };
            out.push(told(transition, Told::Escalated(before.open.severity)));
        }
        if before.cleared_at.is_none() && self.episode.cleared_at.is_some() {
            out.push(told(&self.cleared, Told::Cleared));
        }
        Episode {
            cleared_at: self.episode.cleared_at,
            open,
        }
    }
}

/// The alarms in what happened, the one that was open before it first.
fn replayed(before: Option<Open>, transitions: Vec<Transition>) -> Vec<Found> {
    let mut found: Vec<Found> = before.into_iter().map(|open| Found::of(open, None)).collect();
    for transition in transitions {
        match transition.what {
            What::Opened => found.push(Found::of(transition.open, Some(transition))),
            What::Escalated(_) => {
                if let Some(last) = found.last_mut() {
                    last.episode.open = transition.open;
                    last.escalated = Some(transition);
                }
            }
            What::Cleared => {
                if let Some(last) = found.last_mut() {
                    last.episode.cleared_at = Some(transition.at);
                    last.cleared = Some(transition);
                }
            }
        }
    }
    found
}
