//! `absence`: whether values come at all, by our own clock.
//!
//! Invariants: only a value newer than all before counts as an arrival, so that a gateway that empties its memory
//! does not make a dead probe live; time in which a window has switched the rule off does not count, and neither
//! does time in which this service was down.
//! Source: REFERENCE §3; docs/rules.md. Not here: the alarm that follows (`engine`).

use crate::rule::windows::Schedule;
use crate::time::Timestamp;

/// Most changes of what is in force that are looked through for one deadline.
const SEGMENTS_MAX: usize = 4_096;

/// When a channel that last reported at `last` has been silent for too long; `None` where the rule never says so.
pub fn silent_from(schedule: &mut Schedule, last: Timestamp) -> Option<Timestamp> {
    let (mut since, mut at) = (last, last);
    for _ in 0..SEGMENTS_MAX {
        let in_force = schedule.at(at);
        let end = schedule.until(at);
        if !in_force.enabled || in_force.absence_us == 0 {
            if !schedule.has_windows() {
                return None;
            }
            since = end;
        } else {
            let due = since.plus_micros(in_force.absence_us).max(at);
            if due < end || !schedule.has_windows() {
                return Some(due);
            }
        }
        if end <= at {
            return None;
        }
        at = end;
    }
    None
}
