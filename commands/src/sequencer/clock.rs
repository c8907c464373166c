//! The clock rules of FORMAT §5: a clock that cannot be right would date the ledger for ever.
//!
//! Invariants: nothing is written while the clock is implausible; `recorded_at` never goes back (where the clock
//! is behind, it is held and marked). Pure: it is told what the clocks say.

use domain::{Date, Timestamp};
use std::time::Duration;

/// A clock further ahead of the monotonic clock than this has jumped (FORMAT §5), microseconds.
pub const JUMP_MAX_US: i64 = 5 * 60 * 1_000_000;
/// A clock further ahead of the last entry than this at start is not believed (FORMAT §5), days.
pub const AHEAD_AT_START_DAYS_MAX: i64 = 366;
/// A difference from the monotonic clock that is worth a `ClockObserved`, microseconds.
pub const STEP_US: i64 = 1_000_000;

/// What both clocks say at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time that only moves forward.
    pub monotonic: Duration,
}

/// What is thought of the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockState {
    /// Believed.
    Plausible,
    /// Believed, and it moved against the monotonic clock by so many microseconds: worth an entry.
    Stepped(i64),
    /// Not believed, for this reason.
    Implausible(String),
}

/// Watches the clock.
#[derive(Debug)]
pub struct ClockGuard {
    base: Reading,
    not_before: Timestamp,
    last_entry: Option<Timestamp>,
    accepted: bool,
}

impl ClockGuard {
    /// At start: `build_date` is the software's, `last_entry` the ledger's newest `recorded_at`.
    pub fn new(now: Reading, build_date: Date, last_entry: Option<Timestamp>) -> Self {
        Self {
            base: now,
            not_before: build_date.start(),
            last_entry,
            accepted: false,
        }
    }

    /// Judges the clock now.
    pub fn check(&mut self, now: Reading) -> ClockState {
        // A word counts for the clock as it is now, never for a later jump.
        let accepted = std::mem::take(&mut self.accepted);
        if now.wall < self.not_before {
            return ClockState::Implausible(format!(
                "the clock says {}, which is before this software was made; set the clock",
                now.wall
            ));
        }
        if let Some(last) = self.last_entry {
            let ahead_days = now.wall.since(last) / domain::time::DAY_US;
            if ahead_days > AHEAD_AT_START_DAYS_MAX && !accepted {
                return ClockState::Implausible(format!(
                    "the clock says {}, {ahead_days} days after the last entry; set the clock, or start with --accept-clock if it is right",
                    now.wall
                ));
            }
        }
        let step = self.step(now);
        if step > JUMP_MAX_US && !accepted {
            return ClockState::Implausible(format!(
                "the clock jumped {} s ahead to {}; set the clock, or say `daybook clock accept` if it is right",
                step / 1_000_000,
                now.wall
            ));
        }
        self.base = now;
        self.last_entry = None;
        if step.abs() > STEP_US {
            ClockState::Stepped(step)
        } else {
            ClockState::Plausible
        }
    }

    /// An operator vouches for the clock as it is.
    pub fn accept(&mut self) {
        self.accepted = true;
    }

    /// How far the wall clock moved against the monotonic one since it was last believed, microseconds.
    fn step(&self, now: Reading) -> i64 {
        let passed = now.monotonic.saturating_sub(self.base.monotonic).as_micros() as i64;
        now.wall.since(self.base.wall) - passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, monotonic_s: u64) -> Reading {
        let wall = Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000).expect("in range");
        Reading {
            wall,
            monotonic: Duration::from_secs(monotonic_s),
        }
    }

    fn guard(last_entry_s: Option<i64>) -> ClockGuard {
        ClockGuard::new(
            at(0, 0),
            Date::from_civil(2026, 1, 1).expect("a day"),
            last_entry_s.map(|s| at(s, 0).wall),
        )
    }

    #[test]
    fn a_clock_that_runs_with_the_monotonic_one_is_believed() {
        let mut guard = guard(Some(-5));
        assert_eq!(guard.check(at(0, 0)), ClockState::Plausible);
        assert_eq!(guard.check(at(86_400, 86_400)), ClockState::Plausible);
    }

    #[test]
    fn a_jump_ahead_stops_writing_until_it_agrees_or_is_accepted() {
        let mut guard = guard(None);
        assert_eq!(guard.check(at(0, 0)), ClockState::Plausible);
        assert!(matches!(guard.check(at(301, 0)), ClockState::Implausible(_)));
        assert!(matches!(
            guard.check(at(315_360_000, 10)),
            ClockState::Implausible(_)
        ));
        assert_eq!(guard.check(at(11, 11)), ClockState::Plausible);
        assert!(matches!(guard.check(at(4000, 12)), ClockState::Implausible(_)));
        guard.accept();
        assert!(matches!(guard.check(at(4001, 13)), ClockState::Stepped(_)));
        assert_eq!(guard.check(at(4002, 14)), ClockState::Plausible);
    }

    #[test]
    fn a_clock_set_back_is_believed_and_reported() {
        let mut guard = guard(None);
        assert_eq!(guard.check(at(-86_400, 0)), ClockState::Stepped(-86_400_000_000));
    }

    #[test]
    fn more_than_a_year_after_the_last_entry_needs_a_word() {
        let mut guard = guard(Some(-367 * 86_400));
        assert!(matches!(guard.check(at(0, 0)), ClockState::Implausible(_)));
        guard.accept();
        assert_eq!(guard.check(at(1, 1)), ClockState::Plausible);
    }

    #[test]
    fn a_clock_before_the_software_was_made_is_never_believed() {
        let mut guard = ClockGuard::new(at(0, 0), Date::from_civil(2100, 1, 1).expect("a day"), None);
        guard.accept();
        assert!(matches!(guard.check(at(0, 0)), ClockState::Implausible(_)));
    }

    #[test]
    fn a_word_for_a_clock_that_cannot_be_right_does_not_count_for_a_later_jump() {
        let mut guard = guard(None);
        assert_eq!(guard.check(at(0, 0)), ClockState::Plausible);
        guard.accept();
        assert!(matches!(
            guard.check(at(-1_000_000_000, 1)),
            ClockState::Implausible(_)
        ));
        assert!(matches!(guard.check(at(4000, 2)), ClockState::Implausible(_)));
    }
}
