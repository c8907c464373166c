//! How raw values become those that are shown and judged: the corrections of a channel over time.
//!
//! Invariants: a value goes by the newest correction whose time had come when it was measured; what was recorded later
//! holds from its own time on, whatever had been said of that time before; a raw value is never changed, only read
//! otherwise. Rules, measurements, charts and back-tests ask here, so that what is shown is what was judged.
//! Source: DESIGN "Decided" (raw never changes). Not here: what a correction may be (`aggregate::channel`), where the
//! corrections of a channel are kept (`rule::engine`, `projections`).

use crate::event::Correction;
use crate::rule::kinds::VALUE_MAX;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The corrections of a channel, in the order in which their times begin.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Calibrations(Vec<(Timestamp, Option<Correction>)>);

impl Calibrations {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what was recorded last: it holds from `valid_from` on.
    pub fn set(&mut self, valid_from: Timestamp, correction: Option<Correction>) {
        self.0.retain(|(from, _)| *from < valid_from);
        self.0.push((valid_from, correction));
    }

    /// Lets go all but the newest `most`.
    pub fn keep(&mut self, most: usize) {
        let old = self.0.len().saturating_sub(most);
        self.0.drain(..old);
    }

    /// What corrects a value that was measured then; `None` where nothing does.
    pub fn at(&self, measured_at: Timestamp) -> Option<Correction> {
        let newest = self.0.iter().rev().find(|(from, _)| *from <= measured_at);
        newest.and_then(|(_, correction)| *correction)
    }

    /// The value of a raw one that was measured then.
    pub fn of(&self, measured_at: Timestamp, raw: f64) -> f64 {
        corrected(self.at(measured_at), raw)
    }

    /// What corrects every value measured from `from` to before `to`; `Err` where two share that time.
    ///
    /// # Errors
    /// [`Shared`].
    pub fn over(&self, from: Timestamp, to: Timestamp) -> Result<Option<Correction>, Shared> {
        let first = self.at(from);
        let later = self.0.iter().filter(|(at, _)| from < *at && *at < to);
        match later.map(|(_, correction)| *correction).all(|it| it == first) {
            true => Ok(first),
            false => Err(Shared),
        }
    }
}

/// More than one correction is in force in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared;

/// The value of a raw one. What calculation makes larger than 2^53 − 1 counts as that.
pub fn corrected(correction: Option<Correction>, raw: f64) -> f64 {
    correction
        .map(|correction| correction.apply(raw))
        .filter(|value| !value.is_nan())
        .map_or(raw, |value| value.clamp(-VALUE_MAX, VALUE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: i64) -> Timestamp {
        Timestamp::from_micros(s * 1_000_000).expect("a time of the test")
    }

    #[test]
    fn a_value_goes_by_the_newest_correction_whose_time_had_come() {
        let mut it = Calibrations::default();
        assert_eq!(it.of(t(5), 4.0), 4.0);
        it.set(t(10), Some(Correction::Offset(0.5)));
        it.set(t(20), Some(Correction::TwoPoint([[0.0, 1.0], [10.0, 21.0]])));
        assert_eq!(it.of(t(9), 4.0), 4.0);
        assert_eq!(it.of(t(10), 4.0), 4.5);
        assert_eq!(it.of(t(20), 4.0), 9.0);
        // What is said later of an earlier time takes the place of all that follows.
        it.set(t(15), None);
        assert_eq!((it.of(t(12), 4.0), it.of(t(25), 4.0)), (4.5, 4.0));
        it.keep(1);
        assert_eq!(it.of(t(12), 4.0), 4.0);
    }

    #[test]
    fn a_span_has_one_correction_or_says_that_it_has_more() {
        let mut it = Calibrations::default();
        it.set(t(10), Some(Correction::Offset(0.5)));
        assert_eq!(it.over(t(0), t(10)), Ok(None));
        assert_eq!(it.over(t(10), t(20)), Ok(Some(Correction::Offset(0.5))));
        assert_eq!(it.over(t(9), t(11)), Err(Shared));
        // Recorded again with the same correction, it is still one.
        it.set(t(15), Some(Correction::Offset(0.5)));
        assert_eq!(it.over(t(10), t(20)), Ok(Some(Correction::Offset(0.5))));
    }

    #[test]
    fn what_calculation_makes_too_large_is_held() {
        let steep = Correction::TwoPoint([[0.0, 0.0], [0.001, 1e12]]);
        assert_eq!(corrected(Some(steep), 1e9), VALUE_MAX);
        assert_eq!(corrected(Some(steep), -1e9), -VALUE_MAX);
        assert_eq!(corrected(None, 1e300), 1e300);
    }
}
