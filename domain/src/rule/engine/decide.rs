//! What follows for rules, channels and devices, and the events that say so.
//!
//! Invariants: a channel's state is told only where it changed; every alarm's event holds its why.
//! Source: docs/rules.md, docs/events.md. Not here: the machine of a rule (`machine`), late readings (`ruling`).

use super::machine::Observation;
use super::ruling::{Report, Ruling, Told};
use super::{AlarmKey, Channel, Decision, Device, Engine, Now, SILENT_CADENCES, Subject, Timer};
use crate::calibration::Calibrations;
use crate::event::{
    AlarmCleared, AlarmClosed, AlarmEscalated, AlarmOpened, AlarmReopened, Change, ChannelStateChanged,
    Correction, DeviceState, DeviceStateChanged, Event, RuleVersion,
};
use crate::position::Position;
use crate::rule::definition::{Definition, Kind};
use crate::rule::derived::{Derivation, Derived};
use crate::rule::state::ChannelState;
use crate::time::Timestamp;
use std::sync::Arc;

/// What a change of a channel's state is put down to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause {
    at: Timestamp,
    value: Option<f64>,
    late: bool,
}

impl Cause {
    pub(super) fn reading(at: Timestamp, value: f64) -> Self {
        Self {
            at,
            value: Some(value),
            late: false,
        }
    }

    fn time(at: Timestamp) -> Self {
        Self {
            at,
            value: None,
            late: false,
        }
    }
}

impl Engine {
    pub(super) fn device(&mut self, id: &str, cadence_s: Option<u32>) {
        let number = self.device_number(id);
        self.memory.devices[number as usize].cadence_s = cadence_s.filter(|s| *s > 0);
        self.arm_device(number);
        for index in 0..self.memory.devices[number as usize].channels.len() {
            let channel = self.memory.devices[number as usize].channels[index];
            self.arm_channel(channel);
        }
    }

    pub(super) fn remove_device(&mut self, id: &str) {
        if let Some(&number) = self.devices.get(id) {
            let device = &mut self.memory.devices[number as usize];
            (device.cadence_s, device.offline) = (None, false);
        }
    }

    fn device_number(&mut self, id: &str) -> u32 {
        if let Some(&number) = self.devices.get(id) {
            return number;
        }
        let number = self.memory.devices.len() as u32;
        let id: Arc<str> = id.into();
        self.devices.insert(Arc::clone(&id), number);
        self.memory.devices.push(Device {
            armed: None,
            arrived_at: None,
            cadence_s: None,
            channels: Vec::new(),
            down_us: 0,
            id,
            offline: false,
        });
        number
    }

    pub(super) fn channel(&mut self, id: &str, device: &str, timezone: &str) {
        let device = self.device_number(device);
        if let Some(&number) = self.channels.get(id) {
            let channel = &mut self.memory.channels[number as usize];
            if *channel.timezone != *timezone {
                channel.timezone = timezone.into();
                channel.zone = None;
                for rule in channel.rules.clone() {
                    if let Some(ruling) = &mut self.memory.rules[rule as usize] {
                        ruling.rezone();
                    }
                }
            }
            return;
        }
        let number = self.memory.channels.len() as u32;
        let id: Arc<str> = id.into();
        self.channels.insert(Arc::clone(&id), number);
        self.memory.devices[device as usize].channels.push(number);
        self.memory.channels.push(Channel {
            armed: None,
            arrived_at: None,
            calibrations: Calibrations::default(),
            derives: Vec::new(),
            derived: None,
            device,
            down_us: 0,
            id,
            newest_at: None,
            no_data: false,
            rules: Vec::new(),
            state: ChannelState::Ok,
            timezone: timezone.into(),
            watched_by: Vec::new(),
            zone: None,
        });
    }

    pub(super) fn remove_channel(&mut self, now: Now, id: &str, out: &mut Vec<Decision>) {
        let Some(&number) = self.channels.get(id) else {
            return;
        };
        for rule in self.memory.channels[number as usize].rules.clone() {
            let id = self.memory.rules[rule as usize]
                .as_ref()
                .map(|ruling| Arc::clone(&ruling.id));
            if let Some(id) = id {
                self.remove_rule(now, &id, "channel_removed", out);
            }
        }
        let channel = &mut self.memory.channels[number as usize];
        (channel.arrived_at, channel.no_data) = (None, false);
        self.refresh(number, &[], Cause::time(now.at), now, out);
    }

    pub(super) fn calibrate(&mut self, id: &str, correction: Option<Correction>, valid_from: Timestamp) {
        if let Some(&number) = self.channels.get(id) {
            // None is let go: how many there may be is refused where they are set, and what is shown keeps all too.
            let calibrations = &mut self.memory.channels[number as usize].calibrations;
            calibrations.set(valid_from, correction);
        }
    }

    pub(super) fn derive(&mut self, id: &str, derivation: Option<&Derivation>) {
        let Some(&target) = self.channels.get(id) else {
            return;
        };
        let before = self.memory.channels[target as usize].derived.take();
        for &source in before.iter().flat_map(|derived| derived.sources()) {
            self.memory.channels[source as usize]
                .derives
                .retain(|derived| *derived != target);
        }
        let Some(derivation) = derivation else {
            return;
        };
        let sources: Option<Vec<u32>> = derivation
            .sources
            .iter()
            .map(|source| self.channels.get(source.as_str()).copied())
            .collect();
        let Some(sources) = sources else {
            return;
        };
        for &source in &sources {
            let derives = &mut self.memory.channels[source as usize].derives;
            if !derives.contains(&target) {
                derives.push(target);
            }
        }
        self.memory.channels[target as usize].derived =
            Some(Box::new(Derived::new(derivation.clone(), sources)));
    }

    pub(super) fn rule(
        &mut self,
        now: Now,
        (id, channel): (&str, &str),
        version: u32,
        definition: &Definition,
        out: &mut Vec<Decision>,
    ) {
        let Some(&channel) = self.channels.get(channel) else {
            return;
        };
        let (number, before) = match self.rules.get(id) {
            Some(&number) => {
                let before = self.memory.rules[number as usize]
                    .as_ref()
                    .and_then(|ruling| ruling.definition.another_channel.clone());
                (number, before)
            }
            None => {
                let number = self.memory.rules.len() as u32;
                let id: Arc<str> = id.into();
                self.rules.insert(Arc::clone(&id), number);
                self.memory
                    .rules
                    .push(Some(Ruling::new(id, channel, version, definition)));
                self.memory.channels[channel as usize].rules.push(number);
                (number, None)
            }
        };
        self.watch(number, before.as_deref(), definition.another_channel.as_deref());
        let Some(ruling) = &mut self.memory.rules[number as usize] else {
            return;
        };
        let channel = ruling.channel;
        let other_kind = ruling.kind() != definition.kind
            || ruling.definition.another_channel != definition.another_channel;
        let reason = match (definition.enabled, other_kind) {
            (false, _) => Some("rule_disabled"),
            (true, true) => Some("rule_changed"),
            (true, false) => None,
        };
        let closed = reason.and_then(|reason| Some((reason, ruling.close()?)));
        ruling.change(version, definition);
        if definition.kind == Kind::Absence {
            ruling.machine.wait_from(now.at, now.position);
        }
        if let Some((reason, open)) = closed {
            self.close(number, open.version, open.opening, reason, out);
        }
        self.arm_rule(number);
        self.refresh(channel, &[number], Cause::time(now.at), now, out);
    }

    /// Has a comparison see the other channel's values, and no longer those of the one before.
    fn watch(&mut self, rule: u32, before: Option<&str>, other: Option<&str>) {
        if before == other {
            return;
        }
        if let Some(number) = before.and_then(|id| self.channels.get(id)) {
            self.memory.channels[*number as usize]
                .watched_by
                .retain(|watching| *watching != rule);
        }
        if let Some(number) = other.and_then(|id| self.channels.get(id)) {
            self.memory.channels[*number as usize].watched_by.push(rule);
        }
    }

    pub(super) fn remove_rule(&mut self, now: Now, id: &str, reason: &'static str, out: &mut Vec<Decision>) {
        let Some(number) = self.rules.remove(id) else {
            return;
        };
        let Some(mut ruling) = self.memory.rules[number as usize].take() else {
            return;
        };
        self.watch(number, ruling.definition.another_channel.as_deref(), None);
        if let Some(armed) = ruling.armed {
            self.queue
                .remove(&(armed, Arc::clone(&ruling.id), Timer::Rule(number)));
        }
        let channel = ruling.channel;
        let open = ruling.close();
        self.memory.channels[channel as usize]
            .rules
            .retain(|rule| *rule != number);
        if let Some(open) = open {
            let alarm = AlarmKey {
                rule: Arc::clone(&ruling.id),
                rule_version: open.version,
                opening: open.opening,
            };
            out.push(self.closed(alarm, channel, reason));
        }
        self.refresh(channel, &[], Cause::time(now.at), now, out);
    }

    fn close(
        &self,
        rule: u32,
        rule_version: u32,
        opening: Position,
        reason: &'static str,
        out: &mut Vec<Decision>,
    ) {
        if let Some(ruling) = &self.memory.rules[rule as usize] {
            let alarm = AlarmKey {
                rule: Arc::clone(&ruling.id),
                rule_version,
                opening,
            };
            out.push(self.closed(alarm, ruling.channel, reason));
        }
    }

    fn closed(&self, alarm: AlarmKey, channel: u32, reason: &'static str) -> Decision {
        Decision {
            subject: Subject::Alarm {
                alarm,
                channel: Arc::clone(&self.memory.channels[channel as usize].id),
            },
            event: Event::AlarmClosed(AlarmClosed {
                reason: reason.to_owned(),
                signature: None,
                text: None,
            }),
        }
    }

    /// A value for a rule; gives whether the rule's state is another now.
    pub(super) fn observe(
        &mut self,
        now: Now,
        rule: u32,
        observation: &Observation,
        out: &mut Vec<Decision>,
    ) -> bool {
        let Some(ruling) = &mut self.memory.rules[rule as usize] else {
            return false;
        };
        let channel = ruling.channel;
        let before = ruling.machine.state(ruling.kind());
        let zone = self.memory.channels[channel as usize].zone();
        let mut reports = Vec::new();
        if !ruling.take(zone, observation, now.at, &mut reports) {
            self.memory.too_late += 1;
        }
        let moved = before != ruling.machine.state(ruling.kind());
        self.tell(rule, now.at, now, &reports, out);
        self.arm_rule(rule);
        let late = reports.iter().any(|report| report.late);
        if late || (moved && observation.other) {
            let cause = Cause {
                at: observation.measured_at,
                value: Some(observation.value),
                late,
            };
            self.refresh(channel, &[rule], cause, now, out);
        }
        moved
    }

    pub(super) fn fire_rule(&mut self, rule: u32, deadline: Timestamp, now: Now, out: &mut Vec<Decision>) {
        let Some(ruling) = &mut self.memory.rules[rule as usize] else {
            return;
        };
        ruling.armed = None;
        let channel = ruling.channel;
        let before = ruling.machine.state(ruling.kind());
        let zone = self.memory.channels[channel as usize].zone();
        let mut reports = Vec::new();
        if ruling.deadline(zone).is_some_and(|due| due <= deadline) {
            ruling.fire(zone, deadline, &mut reports);
        }
        let after = ruling.machine.state(ruling.kind());
        self.tell(rule, deadline, now, &reports, out);
        self.arm_rule(rule);
        if before != after || !reports.is_empty() {
            let at = reports.last().map_or(deadline, |report| report.at);
            self.refresh(channel, &[rule], Cause::time(at), now, out);
        }
    }

    /// Puts the rule into the queue, unless it is there for an earlier time, when it will be asked again.
    fn arm_rule(&mut self, rule: u32) {
        let Some(ruling) = &mut self.memory.rules[rule as usize] else {
            return;
        };
        // Asking costs more than finding that it is in the queue already.
        let waiting = ruling.kind() == Kind::Absence || ruling.machine.waits();
        if !waiting || (ruling.armed.is_some() && ruling.kind() == Kind::Absence) {
            return;
        }
        let zone = self.memory.channels[ruling.channel as usize].zone();
        let Some(due) = ruling.deadline(zone) else {
            return;
        };
        if ruling.armed.is_some_and(|armed| armed <= due) {
            return;
        }
        if let Some(armed) = ruling.armed.replace(due) {
            self.queue
                .remove(&(armed, Arc::clone(&ruling.id), Timer::Rule(rule)));
        }
        self.queue
            .insert((due, Arc::clone(&ruling.id), Timer::Rule(rule)));
    }

    /// A channel's value arrived.
    pub(super) fn arrival(&mut self, channel: u32, now: Now, measured_at: Timestamp) {
        let it = &mut self.memory.channels[channel as usize];
        if it.newest_at.is_some_and(|newest| measured_at <= newest) {
            return;
        }
        (it.newest_at, it.arrived_at, it.no_data) = (Some(measured_at), Some(now.at), false);
        it.down_us = 0;
        if it.armed.is_none() {
            self.arm_channel(channel);
        }
    }

    /// The first instant at which twice the cadence is over.
    fn silent_from(&self, device: u32, arrived_at: Option<Timestamp>, down_us: i64) -> Option<Timestamp> {
        let cadence_us = i64::from(self.memory.devices[device as usize].cadence_s?) * 1_000_000;
        Some(
            arrived_at?
                .plus_micros(SILENT_CADENCES * cadence_us + 1)
                .plus_micros(down_us),
        )
    }

    fn arm_channel(&mut self, channel: u32) {
        let it = &self.memory.channels[channel as usize];
        let Some(due) = self
            .silent_from(it.device, it.arrived_at, it.down_us)
            .filter(|_| !it.no_data)
        else {
            return;
        };
        let it = &mut self.memory.channels[channel as usize];
        if it.armed.is_some_and(|armed| armed <= due) {
            return;
        }
        if let Some(armed) = it.armed.replace(due) {
            self.queue
                .remove(&(armed, Arc::clone(&it.id), Timer::Channel(channel)));
        }
        self.queue
            .insert((due, Arc::clone(&it.id), Timer::Channel(channel)));
    }

    pub(super) fn fire_channel(
        &mut self,
        channel: u32,
        deadline: Timestamp,
        now: Now,
        out: &mut Vec<Decision>,
    ) {
        self.memory.channels[channel as usize].armed = None;
        let it = &self.memory.channels[channel as usize];
        match self.silent_from(it.device, it.arrived_at, it.down_us) {
            Some(due) if due <= deadline => {
                self.memory.channels[channel as usize].no_data = true;
                self.refresh(channel, &[], Cause::time(deadline.plus_micros(-1)), now, out);
            }
            _ => self.arm_channel(channel),
        }
    }

    /// Something of a device arrived.
    pub(super) fn device_arrival(&mut self, device: u32, now: Now, out: &mut Vec<Decision>) {
        let it = &mut self.memory.devices[device as usize];
        let before = it.arrived_at.replace(now.at);
        it.down_us = 0;
        if it.offline {
            it.offline = false;
            let event = device_state(now.at, before, now.position, DeviceState::Online);
            out.push(Decision {
                subject: Subject::Device(Arc::clone(&it.id)),
                event,
            });
        }
        if it.armed.is_none() {
            self.arm_device(device);
        }
    }

    fn arm_device(&mut self, device: u32) {
        let it = &self.memory.devices[device as usize];
        let Some(due) = self
            .silent_from(device, it.arrived_at, it.down_us)
            .filter(|_| !it.offline)
        else {
            return;
        };
        let it = &mut self.memory.devices[device as usize];
        if it.armed.is_some_and(|armed| armed <= due) {
            return;
        }
        if let Some(armed) = it.armed.replace(due) {
            self.queue
                .remove(&(armed, Arc::clone(&it.id), Timer::Device(device)));
        }
        self.queue
            .insert((due, Arc::clone(&it.id), Timer::Device(device)));
    }

    pub(super) fn fire_device(
        &mut self,
        device: u32,
        deadline: Timestamp,
        now: Now,
        out: &mut Vec<Decision>,
    ) {
        self.memory.devices[device as usize].armed = None;
        let it = &self.memory.devices[device as usize];
        match self.silent_from(device, it.arrived_at, it.down_us) {
            Some(due) if due <= deadline => {
                let event = device_state(
                    deadline.plus_micros(-1),
                    it.arrived_at,
                    now.position,
                    DeviceState::Offline,
                );
                out.push(Decision {
                    subject: Subject::Device(Arc::clone(&it.id)),
                    event,
                });
                self.memory.devices[device as usize].offline = true;
            }
            _ => self.arm_device(device),
        }
    }

    /// Tells a channel's state where it changed; `moved` are the rules whose state changed.
    pub(super) fn refresh(
        &mut self,
        channel: u32,
        moved: &[u32],
        cause: Cause,
        now: Now,
        out: &mut Vec<Decision>,
    ) {
        let it = &self.memory.channels[channel as usize];
        let no_data = it.no_data.then_some(ChannelState::NoData);
        let rules = it.rules.iter().filter_map(|rule| {
            let ruling = self.memory.rules[*rule as usize].as_ref()?;
            Some(ruling.machine.state(ruling.kind()))
        });
        let to = ChannelState::most_severe(rules.chain(no_data));
        let from = it.state;
        if from == to {
            return;
        }
        // Put down to a rule that moved, or else to the first one that is in the new state.
        let is_there = |rule: &&u32| {
            self.memory.rules[**rule as usize]
                .as_ref()
                .is_some_and(|ruling| ruling.machine.state(ruling.kind()) == to)
        };
        let bad = || it.rules.iter().filter(|_| to != ChannelState::Ok);
        let by = moved
            .iter()
            .find(is_there)
            .or(moved.last())
            .or_else(|| bad().find(is_there))
            .copied();
        let rule = by.and_then(|rule| {
            let ruling = self.memory.rules[rule as usize].as_ref()?;
            Some(RuleVersion {
                rule: ruling.id.to_string(),
                version: ruling.version,
            })
        });
        let event = Event::ChannelStateChanged(ChannelStateChanged {
            at: cause.at,
            decided_by: now.position,
            from,
            late: cause.late,
            rule,
            to,
            value: cause.value,
        });
        out.push(Decision {
            subject: Subject::Channel(Arc::clone(&it.id)),
            event,
        });
        self.memory.channels[channel as usize].state = to;
    }

    /// Makes events of what a rule reports.
    fn tell(&self, rule: u32, decided_at: Timestamp, now: Now, reports: &[Report], out: &mut Vec<Decision>) {
        let Some(ruling) = &self.memory.rules[rule as usize] else {
            return;
        };
        let channel = &self.memory.channels[ruling.channel as usize].id;
        for report in reports {
            out.push(Decision {
                subject: Subject::Alarm {
                    alarm: AlarmKey {
                        rule: Arc::clone(&ruling.id),
                        rule_version: report.open.version,
                        opening: report.open.opening,
                    },
                    channel: Arc::clone(channel),
                },
                event: event_of(ruling, channel, report, decided_at, now.position),
            });
        }
    }
}

fn device_state(
    at: Timestamp,
    last_at: Option<Timestamp>,
    decided_by: Position,
    state: DeviceState,
) -> Event {
    Event::DeviceStateChanged(DeviceStateChanged {
        at,
        decided_by,
        last_at,
        state,
    })
}

fn event_of(
    ruling: &Ruling,
    channel: &str,
    report: &Report,
    decided_at: Timestamp,
    decided_by: Position,
) -> Event {
    let mut readings = report.readings.to_vec();
    readings.dedup();
    let thresholds = report.in_force.thresholds(ruling.kind());
    let (late, value, window) = (report.late, report.value, report.in_force.window);
    match report.told {
        Told::Opened => Event::AlarmOpened(AlarmOpened {
            began_at: report.open.began_at,
            channel: channel.to_owned(),
            decided_at,
            decided_by,
            flapping: report.open.flapping,
            kind: ruling.kind(),
            late,
            opened_at: report.open.opened_at,
            readings,
            rule: ruling.id.to_string(),
            rule_version: report.open.version,
            severity: report.open.severity,
            thresholds,
            value,
            window,
        }),
        Told::Escalated(old) => Event::AlarmEscalated(AlarmEscalated {
            at: report.at,
            decided_at,
            decided_by,
            late,
            readings,
            severity: Change {
                old,
                new: report.open.severity,
            },
            thresholds,
            value,
            window,
        }),
        Told::Cleared | Told::Withdrawn => Event::AlarmCleared(AlarmCleared {
            cleared_at: report.at,
            decided_at,
            decided_by,
            late,
            readings,
            value_at: value,
            withdrawn: report.told == Told::Withdrawn,
        }),
        Told::Reopened => Event::AlarmReopened(AlarmReopened {
            at: report.at,
            decided_at,
            decided_by,
            late,
            readings,
            value,
        }),
    }
}
