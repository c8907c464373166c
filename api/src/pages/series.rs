//! What a chart draws: points or buckets, reduced to an envelope that a screen can show, and cut at gaps.
//!
//! Invariants: reduction never loses a minimum or a maximum; a run never spans a gap; what is not finite is
//! left out; the result depends on the arguments alone.
//! Not here: pixels (`chart`), where gaps come from (projections).

use domain::Timestamp;

use super::view::{Bucket, Gap, Series};

/// One place on the time axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Where it stands: a reading's time or a bucket's middle.
    pub at: Timestamp,
    /// The first instant it stands for.
    pub from: Timestamp,
    /// The last instant it stands for.
    pub to: Timestamp,
    /// Lowest value.
    pub min: f64,
    /// Mean value.
    pub mean: f64,
    /// Highest value.
    pub max: f64,
    /// How many readings.
    pub count: u64,
}

/// A series as samples in rising order of time inside `from..to`, at most about `columns` of them.
pub fn reduce(series: &Series, from: Timestamp, to: Timestamp, columns: usize) -> Vec<Sample> {
    let mut samples: Vec<Sample> = match series {
        Series::Points(points) => points.iter().map(|(at, v)| point(*at, *v)).collect(),
        Series::Buckets(buckets) => buckets.iter().map(bucket).collect(),
    };
    samples.retain(|s| {
        s.at >= from && s.at <= to && s.min.is_finite() && s.mean.is_finite() && s.max.is_finite()
    });
    samples.sort_by_key(|s| s.at);
    if samples.len() > columns.max(1) {
        merge(&samples, from, to, columns.max(1))
    } else {
        samples
    }
}

fn point(at: Timestamp, v: f64) -> Sample {
    Sample {
        at,
        from: at,
        to: at,
        min: v,
        mean: v,
        max: v,
        count: 1,
    }
}

fn bucket(b: &Bucket) -> Sample {
    Sample {
        at: b.from.plus_micros(b.to.since(b.from) / 2),
        from: b.from,
        to: b.to,
        min: b.min,
        mean: b.mean,
        max: b.max,
        count: b.count,
    }
}

/// Folds samples into `columns` equal spans of time; a column keeps its lowest, highest and weighted mean.
fn merge(samples: &[Sample], from: Timestamp, to: Timestamp, columns: usize) -> Vec<Sample> {
    let width_us = (to.since(from) / columns as i64).max(1);
    let mut out: Vec<(i64, Sample)> = Vec::new();
    for s in samples {
        let column = s.at.since(from) / width_us;
        match out.last_mut() {
            Some((c, into)) if *c == column => fold(into, s),
            _ => out.push((column, *s)),
        }
    }
    out.into_iter().map(|(_, s)| s).collect()
}

fn fold(into: &mut Sample, s: &Sample) {
    let total = into.count + s.count;
    let share = s.count as f64 / total.max(1) as f64;
    into.mean = into.mean * (1.0 - share) + s.mean * share;
    into.min = into.min.min(s.min);
    into.max = into.max.max(s.max);
    into.to = s.to;
    into.at = into.from.plus_micros(into.to.since(into.from) / 2);
    into.count = total;
}

/// All of them as one sample; `None` of none.
pub fn fold_all(samples: &[Sample]) -> Option<Sample> {
    let (first, rest) = samples.split_first()?;
    let mut all = *first;
    for s in rest {
        fold(&mut all, s);
    }
    Some(all)
}

/// Samples in runs that no gap parts.
pub fn runs<'a>(samples: &'a [Sample], gaps: &[Gap]) -> Vec<&'a [Sample]> {
    let mut out = Vec::new();
    let mut start = 0;
    for i in 1..samples.len() {
        let (a, b) = (samples[i - 1], samples[i]);
        let parted = gaps
            .iter()
            .any(|g| g.from < b.from && g.to.is_none_or(|to| to > a.to));
        if parted {
            out.push(&samples[start..i]);
            start = i;
        }
    }
    if start < samples.len() {
        out.push(&samples[start..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: i64) -> Timestamp {
        Timestamp::from_micros(s * 1_000_000).expect("a time of the test")
    }

    #[test]
    fn reduction_keeps_every_extreme_and_counts_every_reading() {
        let points: Vec<_> = (0..10_000)
            .map(|i| (t(i), if i == 777 { 99.0 } else { (i % 7) as f64 }))
            .collect();
        let out = reduce(&Series::Points(points), t(0), t(10_000), 100);
        assert!(out.len() <= 101, "{}", out.len());
        assert_eq!(out.iter().map(|s| s.count).sum::<u64>(), 10_000);
        assert_eq!(out.iter().map(|s| s.max).fold(f64::MIN, f64::max), 99.0);
        assert_eq!(out.iter().map(|s| s.min).fold(f64::MAX, f64::min), 0.0);
        assert!(out.windows(2).all(|w| w[0].at < w[1].at));
    }

    #[test]
    fn what_is_not_finite_or_outside_the_range_is_left_out() {
        let points = vec![(t(1), f64::NAN), (t(2), f64::INFINITY), (t(3), 1.0), (t(99), 1.0)];
        assert_eq!(reduce(&Series::Points(points), t(0), t(10), 100).len(), 1);
    }

    #[test]
    fn a_run_never_spans_a_gap() {
        let samples: Vec<_> = (0..10).map(|i| point(t(i * 10), 1.0)).collect();
        let gap = |a, b: Option<i64>| Gap {
            from: t(a),
            to: b.map(t),
        };
        assert_eq!(runs(&samples, &[]).len(), 1);
        assert_eq!(runs(&samples, &[gap(31, Some(39))]).len(), 2);
        assert_eq!(runs(&samples, &[gap(30, Some(40)), gap(60, Some(70))]).len(), 3);
        assert_eq!(runs(&samples, &[gap(91, None)]).len(), 1);
        assert_eq!(runs(&[], &[gap(0, None)]).len(), 0);
    }
}
