//! When something that failed is tried again: doubled each time, an hour at most.
//!
//! Not here: what is tried, and what counts as failed (`notify`, `publishing`, `anchors`).

use std::time::Duration;

/// The longest pause between two tries: whatever failed is back within the hour in which it works again.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// The shortest, so that a setting of 0 hammers nobody.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Doublings after which nothing is doubled any more: the shortest pause has long become the longest.
const DOUBLINGS_MAX: u32 = 12;

/// The pause after a failure that so many came before, where the first pause is that long.
pub fn pause(first: Duration, failed_before: u32) -> Duration {
    let first = first.max(PAUSE_MIN);
    first
        .saturating_mul(1 << failed_before.min(DOUBLINGS_MAX))
        .min(longest(first))
}

/// The longest pause, where the first is that long.
pub fn longest(first: Duration) -> Duration {
    PAUSE_MAX.max(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_doubled_up_to_an_hour_and_never_shorter_than_the_first() {
        let seconds = |first, before| pause(Duration::from_secs(first), before).as_secs();
        assert_eq!((seconds(30, 0), seconds(30, 1), seconds(30, 2)), (30, 60, 120));
        assert_eq!((seconds(30, 7), seconds(30, u32::MAX)), (3600, 3600));
        assert_eq!((seconds(0, 0), seconds(1, 12)), (1, 3600));
        assert_eq!((seconds(7200, 0), seconds(7200, 5)), (7200, 7200));
    }
}
