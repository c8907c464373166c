//! Latencies, counted in buckets of at most 1.6 % width, from a microsecond to a minute.
//!
//! Not here: who measures.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Buckets in each doubling: 64 make the error of a bucket's middle at most 0.8 %.
const FINE: u64 = 64;
/// Doublings above the first [`FINE`] microseconds.
const DOUBLINGS: u64 = 20;

/// How long requests took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    counts: Vec<u64>,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; (FINE * (DOUBLINGS + 1)) as usize],
            max_us: 0,
        }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.max_us = self.max_us.max(us);
        let at = bucket(us).min(self.counts.len() - 1);
        self.counts[at] += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration within which this share of all was done, microseconds; 0 where nothing was counted.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(at).min(self.max_us);
            }
        }
        0
    }

    /// The longest, microseconds.
    pub const fn max_us(&self) -> u64 {
        self.max_us
    }
}

fn bucket(us: u64) -> usize {
    if us < FINE {
        return us as usize;
    }
    let doubling = u64::from(us.ilog2() - FINE.ilog2());
    (FINE + doubling * FINE + (us >> doubling) - FINE) as usize
}

fn middle(at: usize) -> u64 {
    let at = at as u64;
    if at < FINE {
        return at;
    }
    let doubling = at / FINE - 1;
    let low = (FINE + at % FINE) << doubling;
    low + (1 << doubling) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_near_the_middle_of_its_bucket() {
        for us in (0..200_000).chain([1_000_000, 33_000_001, 59_999_999]) {
            let mid = middle(bucket(us));
            assert!(mid.abs_diff(us) * 100 <= us, "{us} is counted as {mid}");
        }
    }

    #[test]
    fn quantiles_are_where_they_belong() {
        let mut histogram = Histogram::default();
        for us in 1..=1000 {
            histogram.record(Duration::from_micros(us));
        }
        for (share, us) in [(0.5, 500), (0.99, 990), (0.999, 999)] {
            assert!(histogram.quantile_us(share).abs_diff(us) * 100 <= us, "{share}");
        }
        assert_eq!(histogram.max_us(), 1000);
        let mut twice = histogram.clone();
        twice.add(&histogram);
        assert_eq!(twice.count(), 2000);
        assert_eq!(twice.quantile_us(0.5), histogram.quantile_us(0.5));
        assert_eq!(Histogram::default().quantile_us(0.99), 0);
    }
}
