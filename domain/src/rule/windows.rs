//! What is in force when: a rule's own values, or those of its windows.
//!
//! Invariants: what is in force at an instant depends on the definition, the zone and that instant alone; what is
//! remembered here only saves asking again, and is never part of a state.
//! Source: docs/rules.md. Not here: recurrences themselves (`recurrence`).

use super::definition::{Band, Definition, Kind, Severity};
use super::recurrence::Recurrence;
use crate::event::{InWindow, Thresholds};
use crate::time::{DAY_US, Timestamp};
use jiff::tz::TimeZone;

/// Microseconds of a minute.
pub(super) const MINUTE_US: i64 = 60_000_000;
/// Occurrences are looked up for so long at a time: long enough that most readings find theirs, short enough that
/// the first one does not wait.
const CHUNK_US: i64 = 4 * DAY_US;

/// What is in force, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InForce {
    /// Whether the rule judges.
    pub enabled: bool,
    /// What is right.
    pub band: Band,
    /// How far inside a value must lie to end an alarm.
    pub margin: f64,
    /// How bad it is.
    pub severity: Severity,
    /// Since when at least; the beginning of time where it never changes.
    pub since: Timestamp,
    /// How long outside before it counts.
    pub grace_us: i64,
    /// How long inside before it ends.
    pub recovery_us: i64,
    /// Longest time without a value; 0 for none.
    pub absence_us: i64,
    /// The window in force.
    pub window: Option<InWindow>,
}

impl InForce {
    fn of(definition: &Definition, window: Option<InWindow>) -> Self {
        Self {
            enabled: definition.enabled,
            band: definition.band(),
            margin: definition.hysteresis.unwrap_or(0.0),
            severity: definition.severity,
            since: Timestamp::default().plus_micros(i64::MIN),
            grace_us: i64::from(definition.grace_min) * MINUTE_US,
            recovery_us: i64::from(definition.recovery_min()) * MINUTE_US,
            absence_us: i64::from(definition.min_interval_s.unwrap_or(0)) * 1_000_000,
            window,
        }
    }

    /// As an alarm tells it.
    pub fn thresholds(&self, kind: Kind) -> Thresholds {
        Thresholds {
            band: self.band,
            grace_min: u32::try_from(self.grace_us / MINUTE_US).unwrap_or(u32::MAX),
            min_interval_s: (kind == Kind::Absence)
                .then(|| u32::try_from(self.absence_us / 1_000_000).unwrap_or(u32::MAX)),
        }
    }
}

/// An occurrence of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Occurrence {
    from: Timestamp,
    to: Timestamp,
    index: usize,
}

/// A time over which the same values are in force.
#[derive(Debug, Clone, Copy)]
struct Segment {
    from: Timestamp,
    to: Timestamp,
    in_force: InForce,
}

/// The schedule of a rule: its windows, read once.
#[derive(Debug, Clone)]
pub struct Schedule {
    base: InForce,
    definition: Option<Box<Definition>>,
    recurrences: Vec<Recurrence>,
    zone: TimeZone,
    chunk: Option<(i64, Vec<Occurrence>)>,
    segment: Option<Segment>,
}

impl Schedule {
    /// The schedule of a definition in a zone. A recurrence that cannot be read never occurs; `check` refuses it.
    pub fn new(definition: &Definition, zone: &TimeZone) -> Self {
        let recurrences: Vec<Recurrence> = definition
            .windows
            .iter()
            .map_while(|window| Recurrence::parse(&window.rrule).ok())
            .collect();
        Self {
            base: InForce::of(definition, None),
            definition: (!recurrences.is_empty()).then(|| Box::new(definition.clone())),
            recurrences,
            zone: zone.clone(),
            chunk: None,
            segment: None,
        }
    }

    /// What is in force at that instant.
    pub fn at(&mut self, at: Timestamp) -> InForce {
        if self.recurrences.is_empty() {
            return self.base;
        }
        match &self.segment {
            Some(segment) if segment.from <= at && at < segment.to => segment.in_force,
            _ => {
                let segment = self.segment_at(at);
                self.segment = Some(segment);
                segment.in_force
            }
        }
    }

    /// Whether anything but the rule's own values is ever in force.
    pub fn has_windows(&self) -> bool {
        !self.recurrences.is_empty()
    }

    /// Until when what is in force at that instant stays so, at most some days.
    pub fn until(&mut self, at: Timestamp) -> Timestamp {
        if self.recurrences.is_empty() {
            return at.plus_micros(CHUNK_US);
        }
        self.at(at);
        self.segment.map_or(at, |segment| segment.to)
    }

    fn segment_at(&mut self, at: Timestamp) -> Segment {
        let chunk = at.as_micros().div_euclid(CHUNK_US);
        if self.chunk.as_ref().is_none_or(|(number, _)| *number != chunk) {
            let occurrences = self.occurrences(chunk);
            self.chunk = Some((chunk, occurrences));
        }
        let occurrences = self.chunk.as_ref().map_or(&[][..], |(_, found)| found);
        let begin = |number: i64| Timestamp::default().plus_micros(number.saturating_mul(CHUNK_US));
        let (mut from, mut to) = (begin(chunk), begin(chunk + 1));
        let mut now: Vec<&Occurrence> = Vec::new();
        for occurrence in occurrences {
            for edge in [occurrence.from, occurrence.to] {
                if edge <= at {
                    from = from.max(edge);
                } else {
                    to = to.min(edge);
                }
            }
            if occurrence.from <= at && at < occurrence.to {
                now.push(occurrence);
            }
        }
        now.sort_by_key(|occurrence| (occurrence.index, occurrence.from));
        Segment {
            from,
            to,
            in_force: InForce {
                since: from,
                ..self.with(&now)
            },
        }
    }

    /// The rule's values with those of the windows that hold, the later one in its list last.
    fn with(&self, now: &[&Occurrence]) -> InForce {
        let (Some(definition), Some(last)) = (&self.definition, now.last()) else {
            return self.base;
        };
        let mut whole = (**definition).clone();
        for occurrence in now {
            whole = whole.with(&definition.windows[occurrence.index].overrides);
        }
        InForce::of(
            &whole,
            Some(InWindow {
                ends_at: last.to,
                index: last.index as u32,
                starts_at: last.from,
            }),
        )
    }

    fn occurrences(&self, chunk: i64) -> Vec<Occurrence> {
        let Some(definition) = &self.definition else {
            return Vec::new();
        };
        let begin = Timestamp::default().plus_micros(chunk.saturating_mul(CHUNK_US));
        let mut all = Vec::new();
        for (index, (recurrence, window)) in self.recurrences.iter().zip(&definition.windows).enumerate() {
            let duration_us = i64::from(window.duration_min) * MINUTE_US;
            let from = begin.plus_micros(-duration_us);
            for start in recurrence.instants(&self.zone, from, begin.plus_micros(CHUNK_US)) {
                all.push(Occurrence {
                    from: start,
                    to: start.plus_micros(duration_us),
                    index,
                });
            }
        }
        all
    }
}
