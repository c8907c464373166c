//! Sums of hours: scaled integers and counts, so that the order in which values come does not matter.
//!
//! Invariants: at most as many hours as the trailing days have, and one; sums never wrap.
//! Not here: what an hour's number means (UTC or the site's own), which the caller decides.

use crate::rule::shared::decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sums are kept in millionths.
const SCALE: f64 = 1e6;

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

/// Hours by number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Hours(BTreeMap<i64, Hour>);

impl Hours {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a value to an hour, and lets go what is older than `keep` hours before the newest one. A value of an
    /// hour that was let go is passed over.
    pub(super) fn add(&mut self, hour: i64, value: f64, keep: i64) {
        let newest = self
            .0
            .last_key_value()
            .map_or(hour, |(newest, _)| *newest)
            .max(hour);
        self.0 = self.0.split_off(&(newest - keep));
        if hour < newest - keep {
            return;
        }
        let it = self.0.entry(hour).or_default();
        // `as` holds what is too large at the ends.
        it.sum = it.sum.saturating_add(libm::round(value * SCALE) as i64);
        it.count = it.count.saturating_add(1);
    }

    pub(super) fn get(&self, hour: i64) -> Option<Hour> {
        self.0.get(&hour).copied()
    }

    /// The mean of all values of hours after `since`, up to `hour`.
    pub(super) fn mean_of(&self, since: i64, hour: i64) -> Option<f64> {
        let (mut sum, mut count) = (0i128, 0u64);
        for it in self.0.range(since + 1..=hour).map(|(_, it)| it) {
            sum += i128::from(it.sum);
            count += u64::from(it.count);
        }
        (count > 0).then(|| sum as f64 / SCALE / count as f64)
    }
}
