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

/// Most corrections of a channel that hold at once, each from its own time on. One a month for sixteen years; and few
/// enough that rules, read models and answers keep every one, so that none is ever let go.
pub const CALIBRATIONS_MAX: usize = 200;

/// The corrections of a channel, rising in the times at which they begin; never two of one time.
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
        self.0.truncate(self.until(|from| from < valid_from));
        self.0.push((valid_from, correction));
    }

    /// How many begin before that is no longer so. Times rise, so a list of any length is asked a few times only.
    fn until(&self, is_before: impl Fn(Timestamp) -> bool) -> usize {
        self.0.partition_point(|(from, _)| is_before(*from))
    }

    /// What corrects a value that was measured then; `None` where nothing does.
    pub fn at(&self, measured_at: Timestamp) -> Option<Correction> {
        let (_, correction) = self
            .0
            .get(self.until(|from| from <= measured_at).checked_sub(1)?)?;
        *correction
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
        let begin = self.until(|at| at <= from);
        let later = &self.0[begin..self.until(|at| at < to).max(begin)];
        match later.iter().all(|(_, correction)| *correction == first) {
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
    }

    #[test]
    fn of_as_many_as_there_may_be_each_holds_in_its_own_time() {
        let mut it = Calibrations::default();
        for n in 0..CALIBRATIONS_MAX as i64 {
            it.set(t(10 * n), Some(Correction::Offset(n as f64)));
        }
        assert_eq!(it.at(t(-1)), None);
        for n in 0..CALIBRATIONS_MAX as i64 {
            let own = Some(Correction::Offset(n as f64));
            assert_eq!((it.at(t(10 * n)), it.at(t(10 * n + 9))), (own, own));
            assert_eq!(it.over(t(10 * n), t(10 * n + 10)), Ok(own));
        }
        assert_eq!(it.over(t(9), t(11)), Err(Shared));
        assert_eq!(it.over(t(30), t(20)), Ok(Some(Correction::Offset(3.0))));
        it.set(t(0), None);
        assert_eq!(it.at(t(1_995)), None);
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
