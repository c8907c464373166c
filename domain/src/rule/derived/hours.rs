//! Sums of hours: scaled integers and counts, so that the order in which values come does not matter.
//!
//! Invariants: at most as many hours as the trailing days have, and one (the nights of a row: and three); sums never wrap; the sums of days and of all are
//! those of the hours, in integers, so that they are the same whether they were kept or made again of what was written.
//! Only hours are written.
//! Not here: what an hour's number means (UTC or the site's own), which the caller decides.

use crate::rule::shared::decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Sums are kept in millionths.
const SCALE: f64 = 1e6;
/// Hours of a day, by which sums of sums are kept.
const DAY: i64 = 24;

/// One hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Hour {
    count: u32,
    #[serde(with = "decimal")]
    sum: i64,
}

impl Hour {
    /// The mean of its values.
    pub(super) fn mean(self) -> f64 {
        self.sum as f64 / SCALE / f64::from(self.count.max(1))
    }
}

/// The sum of many hours. No number of hours that is kept wraps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    count: u64,
    sum: i128,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
    }

    fn take(&mut self, part: Self) {
        self.count -= part.count;
        self.sum -= part.sum;
    }

    fn of(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        parts.into_iter().for_each(|part| all.add(part));
        all
    }
}

impl From<&Hour> for Sum {
    fn from(hour: &Hour) -> Self {
        Self {
            count: u64::from(hour.count),
            sum: i128::from(hour.sum),
        }
    }
}

/// Hours by number, with their sums by day and in all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Hours {
    hours: BTreeMap<i64, Hour>,
    days: BTreeMap<i64, Sum>,
    all: Sum,
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.hours.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut it = Self {
            hours: BTreeMap::deserialize(deserializer)?,
            ..Self::default()
        };
        for (hour, of) in &it.hours {
            it.days.entry(hour.div_euclid(DAY)).or_default().add(of.into());
            it.all.add(of.into());
        }
        Ok(it)
    }
}

impl Hours {
    pub(super) fn is_empty(&self) -> bool {
        self.hours.is_empty()
    }

    /// Adds a value to an hour, and lets go what is older than `keep` hours before the newest one. A value of an
    /// hour that was let go is passed over.
    pub(super) fn add(&mut self, hour: i64, value: f64, keep: i64) {
        let newest = self.hours.last_key_value();
        let oldest = newest.map_or(hour, |(newest, _)| *newest).max(hour) - keep;
        while let Some((old, it)) = self.hours.pop_first() {
            if old >= oldest {
                self.hours.insert(old, it);
                break;
            }
            self.let_go(old, &it);
        }
        if hour < oldest {
            return;
        }
        let it = self.hours.entry(hour).or_default();
        let before = Sum::from(&*it);
        // `as` holds what is too large at the ends.
        it.sum = it.sum.saturating_add(libm::round(value * SCALE) as i64);
        it.count = it.count.saturating_add(1);
        let mut more = Sum::from(&*it);
        more.take(before);
        self.days.entry(hour.div_euclid(DAY)).or_default().add(more);
        self.all.add(more);
    }

    fn let_go(&mut self, hour: i64, it: &Hour) {
        self.all.take(it.into());
        let day = hour.div_euclid(DAY);
        if let Some(of) = self.days.get_mut(&day) {
            of.take(it.into());
            if of.count == 0 {
                self.days.remove(&day);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.hours.len()
    }

    pub(super) fn get(&self, hour: i64) -> Option<Hour> {
        self.hours.get(&hour).copied()
    }

    /// The mean of all values of hours after `since`, up to `hour`. What is outside is taken from the sum of all: at the
    /// newest hour that is the one which is about to be let go, and at an older one the rest of its day and the days
    /// after it, so that a value which came late costs some hundred steps at most and not two thousand.
    pub(super) fn mean_of(&self, since: i64, hour: i64) -> Option<f64> {
        let mut within = self.all;
        let day = hour.div_euclid(DAY);
        let rest = self.hours.range(hour + 1..(day + 1) * DAY);
        within.take(Sum::of(rest.map(|(_, it)| it.into())));
        within.take(Sum::of(self.days.range(day + 1..).map(|(_, of)| *of)));
        within.take(Sum::of(self.hours.range(..=since).map(|(_, it)| it.into())));
        let Sum { count, sum } = within;
        (count > 0).then(|| sum as f64 / SCALE / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, by adding up every hour.
    fn summed(hours: &Hours, since: i64, hour: i64) -> Option<f64> {
        let within = hours.hours.range(since + 1..=hour.max(since + 1));
        let within = within.filter(|(at, _)| **at <= hour);
        let Sum { count, sum } = Sum::of(within.map(|(_, it)| it.into()));
        (count > 0).then(|| sum as f64 / SCALE / count as f64)
    }

    #[test]
    fn a_value_of_the_newest_hour_takes_from_the_sum_what_is_let_go_and_adds_nothing_up() {
        let mut hours = Hours::default();
        for hour in 0..5_000 {
            hours.add(hour, hour as f64, 2_160);
            assert!(hours.hours.range(..=hour - 2_160).count() <= 1);
            assert!(hours.days.len() <= 92);
        }
        assert_eq!(
            hours.mean_of(4_999 - 2_160, 4_999),
            summed(&hours, 4_999 - 2_160, 4_999)
        );
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_hours_in_any_order_and_after_a_restart_at_any_time(
            values in prop::collection::vec((-200i64..400, -1e13f64..1e13, any::<bool>()), 1..120),
        ) {
            let keep = 7 * DAY;
            let mut hours = Hours::default();
            for (hour, value, restarts) in values {
                hours.add(hour, value, keep);
                let told = hours.mean_of(hour - keep, hour).map(f64::to_bits);
                prop_assert_eq!(told, summed(&hours, hour - keep, hour).map(f64::to_bits));
                let text = serde_json::to_string(&hours).expect("JSON");
                let again: Hours = serde_json::from_str(&text).expect("reads");
                prop_assert_eq!(&again, &hours);
                if restarts {
                    hours = again;
                }
            }
        }
    }
}
