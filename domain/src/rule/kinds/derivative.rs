//! `derivative`: how fast the value changed over the last hour, an hour.
//!
//! Invariants: one value a minute is remembered, the first of each, so at most [`SAMPLES_MAX`]; a rate needs half an
//! hour of values, because a shorter time makes noise look fast.
//! Source: REFERENCE §3 ("running 1-hour rate of change"); docs/rules.md.

use super::{Memory, Sample};

/// Microseconds of an hour.
const HOUR_US: i64 = 3_600_000_000;
/// Microseconds of a minute.
const MINUTE_US: i64 = 60_000_000;
/// Shortest time over which a rate is told.
const SPAN_US_MIN: i64 = HOUR_US / 2;
/// Most values remembered: one a minute of the last hour, both ends included.
pub const SAMPLES_MAX: usize = 61;

/// The rate an hour between this value and the oldest one of the last hour.
pub(super) fn look(memory: &mut Memory, sample: Sample) -> Option<f64> {
    if !matches!(memory, Memory::Hour(_)) {
        *memory = Memory::Hour(Vec::new());
    }
    let Memory::Hour(samples) = memory else {
        return None;
    };
    let gone = samples
        .iter()
        .take_while(|s| sample.at.since(s.at) > HOUR_US)
        .count();
    samples.drain(..gone);
    let oldest = samples.first().copied();
    let minute = |s: &Sample| s.at.as_micros().div_euclid(MINUTE_US);
    if samples.last().is_none_or(|last| minute(last) < minute(&sample)) && samples.len() < SAMPLES_MAX {
        samples.push(sample);
    }
    let oldest = oldest?;
    let span_us = sample.at.since(oldest.at);
    (span_us >= SPAN_US_MIN).then(|| (sample.value - oldest.value) * (HOUR_US as f64 / span_us as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_rate_is_told_over_at_most_an_hour_and_memory_is_bounded() {
        let mut memory = Memory::Nothing;
        let mut rate = None;
        for second in 0..7_200i64 {
            let at = Timestamp::default().plus_micros(second * 1_000_000);
            let value = second as f64 / 3600.0 * 2.0;
            rate = look(&mut memory, Sample { at, value });
            assert_eq!(rate.is_some(), second >= 1800, "{second}");
        }
        assert!((rate.expect("a rate") - 2.0).abs() < 1e-9);
        let Memory::Hour(samples) = &memory else {
            panic!("an hour is remembered");
        };
        assert!(samples.len() <= SAMPLES_MAX, "{}", samples.len());
    }
}
