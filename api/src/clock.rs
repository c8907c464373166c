//! The only clock of the house: the operating system's, handed to everybody else as a port.
//!
//! Invariant: `monotonic` never goes back; `now` may, and the sequencer decides what to believe (FORMAT §5).
//! Not here: what a clock is believed for (`commands::sequencer`), time zones of sites.

use domain::Timestamp;
use domain::ports::Clock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The operating system's wall clock and monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let us = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
        };
        // A clock outside the calendar is shown as its border; the sequencer does not believe either.
        Timestamp::default().plus_micros(us)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_stands_in_this_century_and_monotonic_time_does_not_go_back() {
        let clock = SystemClock::new();
        let (year, _, _) = clock.now().date().civil();
        assert!((2024..2100).contains(&year), "{year}");
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }
}
