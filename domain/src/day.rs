//! `DayClosed`: what a day was (FORMAT §5).
//!
//! Invariants: `first_position` + the sum of `entries` = `size` = the entry's own position; dates rise by one,
//! or an idle gap of more than seven days is one entry with `idle_since`.
//! Not here: the head's file (`tlog_proof`), the streams' lines (`stream`).

use crate::event::{CLASSES, Class};
use crate::hash::Hash;
use crate::position::{Position, TreeSize};
use crate::time::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The event type.
pub const DAY_CLOSED: &str = "DayClosed";
/// More idle days than this are closed by one entry.
pub const IDLE_DAYS_MAX: i32 = 7;
/// Most reason codes a day lists (FORMAT §5).
pub const REFUSAL_CODES_MAX: usize = 64;
/// What further reason codes are summed under.
pub const REFUSAL_OTHER: &str = "other";

/// The payload of `DayClosed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayClosed {
    /// The day, UTC.
    pub date: Date,
    /// First of the idle days this entry closes, where it closes more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Date>,
    /// The first position of the day.
    pub first_position: Position,
    /// The tree size at the day's end, which is the entry's own position.
    pub size: TreeSize,
    /// The root at `size`, base64.
    pub root: Hash,
    /// Entries of the day by class; every class is listed.
    pub entries: BTreeMap<String, u64>,
    /// Refused requests of the day by reason code.
    pub refused: BTreeMap<String, u64>,
    /// A stop in that day may have lost up to a minute of refusal counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclean: bool,
    /// The day's stream map.
    pub streams: StreamsOfDay,
    /// What is known of the clock.
    pub clock: ClockOfDay,
    /// The day before.
    pub previous: Option<PreviousDay>,
}

impl DayClosed {
    /// The first day that it closes: its own, but for an idle gap.
    pub fn begins(&self) -> Date {
        self.idle_since.unwrap_or(self.date)
    }
}

/// The stream map's root and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamsOfDay {
    /// RFC 6962 root over the lines, base64.
    pub root: Hash,
    /// Number of lines.
    pub count: u64,
}

/// What is known of the clock on that day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockOfDay {
    /// Such as `system`.
    pub source: String,
    /// Largest offset observed, milliseconds; `null` where nobody told.
    pub max_offset_ms: Option<i64>,
    /// Seconds during which `recorded_at` was held because the clock was behind.
    pub held_s: u64,
}

/// The head before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousDay {
    /// Its day.
    pub date: Date,
    /// The position of its `DayClosed`.
    pub position: Position,
    /// SHA-256 of that head's checkpoint note body, base64.
    pub checkpoint_sha256: Hash,
}

/// Counts of a day, folded entry by entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DayCounts {
    entries: [u64; CLASSES.len()],
    refused: BTreeMap<String, u64>,
}

impl DayCounts {
    /// One more entry of that class.
    pub fn count(&mut self, class: Class) {
        self.entries[class.index()] += 1;
    }

    /// Adds `n` entries of that class.
    pub fn add(&mut self, class: Class, n: u64) {
        self.entries[class.index()] += n;
    }

    /// Adds the counts of a `RequestsRefused`.
    pub fn refuse(&mut self, code: &str, count: u64) {
        let known = self.refused.contains_key(code);
        let code = if known || self.refused.len() < REFUSAL_CODES_MAX - 1 {
            code
        } else {
            REFUSAL_OTHER
        };
        let sum = self.refused.entry(code.to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Entries so far, of all classes.
    pub fn total(&self) -> u64 {
        self.entries.iter().sum()
    }

    /// By class name, every class listed.
    pub fn entries(&self) -> BTreeMap<String, u64> {
        CLASSES
            .iter()
            .map(|c| (c.as_str().to_owned(), self.entries[c.index()]))
            .collect()
    }

    /// By reason code.
    pub fn refused(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }
}

/// The days that must be closed when `today` begins and `open` is the first day not closed yet: each one, or
/// `(first, last)` of an idle gap. `busy` says whether `open` itself has entries.
pub fn days_to_close(open: Date, today: Date, busy: bool) -> Vec<(Date, Date)> {
    let mut days = Vec::new();
    let mut from = open;
    if busy && from < today {
        days.push((from, from));
        from = from.next();
    }
    if today.days() - from.days() > IDLE_DAYS_MAX {
        days.push((from, today.previous()));
        return days;
    }
    while from < today {
        days.push((from, from));
        from = from.next();
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(open: i32, today: i32, busy: bool) -> Vec<(i32, i32)> {
        days_to_close(Date::from_days(open), Date::from_days(today), busy)
            .into_iter()
            .map(|(a, b)| (a.days(), b.days()))
            .collect()
    }

    #[test]
    fn each_day_is_closed_once_and_a_long_gap_is_one_entry() {
        assert_eq!(days(10, 10, true), []);
        assert_eq!(days(10, 11, true), [(10, 10)]);
        assert_eq!(days(10, 13, false), [(10, 10), (11, 11), (12, 12)]);
        assert_eq!(days(10, 17, false).len(), 7);
        assert_eq!(days(10, 18, false), [(10, 17)]);
        assert_eq!(days(10, 30, true), [(10, 10), (11, 29)]);
    }

    #[test]
    fn more_than_sixty_four_reasons_are_summed() {
        let mut counts = DayCounts::default();
        for n in 0..100 {
            counts.refuse(&format!("code_{n:03}"), 2);
        }
        assert_eq!(counts.refused().len(), REFUSAL_CODES_MAX);
        assert_eq!(counts.refused()[REFUSAL_OTHER], 2 * 37);
        assert_eq!(counts.refused().values().sum::<u64>(), 200);
    }
}
