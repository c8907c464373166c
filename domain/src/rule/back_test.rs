//! What a rule would have done: a definition, which nobody has to activate, over readings of the past.
//!
//! Invariants: the engine that judges is the one that judges live; nothing is recorded; the same readings give the
//! same answer. Not here: reading the ledger (`commands`, `projections`), who may ask (`api`).

use super::definition::{Definition, Kind};
use super::engine::{AlarmKey, Decision, Engine, Fact, Subject, What};
use crate::event::{AlarmOpened, Event};
use crate::position::Position;
use crate::rule::definition::Severity;
use crate::time::Timestamp;
use std::collections::BTreeMap;

const CHANNEL: &str = "it";
const DEVICE: &str = "device";
const RULE: &str = "draft";

/// A reading of the past, in order of position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PastReading {
    /// When it was measured.
    pub measured_at: Timestamp,
    /// Of the channel that a comparison compares with.
    pub other: bool,
    /// Its entry.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The value, corrected as it is to be judged.
    pub value: f64,
}

/// An alarm that there would have been.
#[derive(Debug, Clone, PartialEq)]
pub struct TriedAlarm {
    /// When it would have ended, in the time of the data.
    pub cleared_at: Option<Timestamp>,
    /// How it would have begun.
    pub opened: AlarmOpened,
    /// How bad it would have become.
    pub severity: Severity,
    /// Readings that came late would have taken it back.
    pub withdrawn: bool,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BackTest {
    /// The alarms, in order of opening.
    pub alarms: Vec<TriedAlarm>,
    /// How many readings were looked at.
    pub readings: u64,
    /// How many of them came too late to be judged live.
    pub too_late: u64,
}

/// Tries a definition on these readings, as if it had been in force from the first one to `until`.
///
/// # Errors
/// As [`Definition::check`].
pub fn back_test(
    definition: &Definition,
    timezone: &str,
    readings: impl IntoIterator<Item = PastReading>,
    until: Timestamp,
) -> Result<BackTest, crate::rejection::Rejection> {
    definition.check()?;
    let mut engine = Engine::new();
    let mut outcome = BackTest::default();
    let mut index: BTreeMap<AlarmKey, usize> = BTreeMap::new();
    let mut decisions = Vec::new();
    let other = definition.another_channel.as_deref().unwrap_or("other");
    let mut last = (Position::FIRST, until);
    for reading in readings {
        if outcome.readings == 0 {
            let begin = (reading.position, reading.recorded_at);
            set_up(&mut engine, definition, (timezone, other), begin, &mut decisions);
        }
        outcome.readings += 1;
        last = (reading.position, reading.recorded_at);
        let channel = if reading.other { other } else { CHANNEL };
        let fact = Fact {
            position: reading.position,
            recorded_at: reading.recorded_at,
            what: What::Reading {
                device: DEVICE,
                measured_at: reading.measured_at,
                values: &[(channel, reading.value)],
            },
        };
        engine.step(&fact, &mut decisions);
        collect(&mut decisions, &mut index, &mut outcome.alarms);
    }
    let end = Fact {
        position: last.0,
        recorded_at: until.max(last.1),
        what: What::Other,
    };
    engine.step(&end, &mut decisions);
    collect(&mut decisions, &mut index, &mut outcome.alarms);
    outcome.too_late = engine.too_late();
    Ok(outcome)
}

/// Makes the channel, the one that is compared with, and the rule known.
pub(super) fn set_up(
    engine: &mut Engine,
    definition: &Definition,
    (timezone, other): (&str, &str),
    (position, recorded_at): (Position, Timestamp),
    out: &mut Vec<Decision>,
) {
    let channel = |channel| What::Channel {
        channel,
        device: DEVICE,
        timezone,
    };
    let rule = What::Rule {
        rule: RULE,
        channel: CHANNEL,
        version: 1,
        definition,
    };
    let known = [
        Some(channel(CHANNEL)),
        compares(definition).then(|| channel(other)),
        Some(rule),
    ];
    for what in known.into_iter().flatten() {
        let fact = Fact {
            position,
            recorded_at,
            what,
        };
        engine.step(&fact, out);
    }
}

/// Whether it needs another channel.
pub(super) fn compares(definition: &Definition) -> bool {
    definition.kind == Kind::Comparison
}

/// What [`set_up`] calls things.
pub(super) const fn names() -> (&'static str, &'static str, &'static str) {
    (CHANNEL, DEVICE, RULE)
}

fn collect(
    decisions: &mut Vec<Decision>,
    index: &mut BTreeMap<AlarmKey, usize>,
    alarms: &mut Vec<TriedAlarm>,
) {
    for decision in decisions.drain(..) {
        let Subject::Alarm { alarm, .. } = decision.subject else {
            continue;
        };
        if let Event::AlarmOpened(opened) = decision.event {
            index.insert(alarm, alarms.len());
            alarms.push(TriedAlarm {
                cleared_at: None,
                severity: opened.severity,
                opened,
                withdrawn: false,
            });
            continue;
        }
        let Some(it) = index.get(&alarm).and_then(|at| alarms.get_mut(*at)) else {
            continue;
        };
        match decision.event {
            Event::AlarmEscalated(escalated) => it.severity = escalated.severity.new,
            Event::AlarmCleared(cleared) => {
                it.cleared_at = Some(cleared.cleared_at);
                it.withdrawn = cleared.withdrawn;
            }
            Event::AlarmReopened(_) => it.cleared_at = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_shows_the_alarms_that_there_would_have_been() {
        let at = |minute: i64| Timestamp::default().plus_micros(minute * 60_000_000);
        let readings = (0..120).map(|minute| PastReading {
            measured_at: at(minute),
            other: false,
            position: Position(minute as u64),
            recorded_at: at(minute),
            value: if (30..60).contains(&minute) { 9.0 } else { 4.0 },
        });
        let definition = Definition::range(Some(-2.0), Some(5.0), 15);
        let outcome = back_test(&definition, "UTC", readings.clone(), at(200)).expect("tried");
        assert_eq!((outcome.readings, outcome.too_late), (120, 0));
        let alarm = &outcome.alarms[..];
        let [alarm] = alarm else {
            panic!("one alarm: {alarm:?}");
        };
        assert_eq!((alarm.opened.began_at, alarm.opened.opened_at), (at(30), at(45)));
        assert_eq!(alarm.cleared_at, Some(at(75)));
        let wider = Definition::range(Some(-2.0), Some(10.0), 15);
        let outcome = back_test(&wider, "UTC", readings, at(200)).expect("tried");
        assert!(outcome.alarms.is_empty());
        let none = back_test(&wider, "UTC", [], at(200)).expect("tried");
        assert_eq!(none, BackTest::default());
        assert!(back_test(&Definition::of(Kind::Range), "UTC", [], at(0)).is_err());
    }
}
