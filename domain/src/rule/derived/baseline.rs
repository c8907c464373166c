//! `energy_baseline`: what a load usually is at this hour of this weekday, by the clock of the site.
//!
//! Invariants: the median of the hourly means of the same hour of the same weekday over the trailing days, without
//! the hour under way; at least half of the weeks must have that hour. Where the clocks go back, the two hours of one
//! name count as one.
//! Source: REFERENCE §3 (energy). Not here: consecutive nights (`nights`).

use super::hours::Hours;
use crate::rule::recurrence::civil;
use crate::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Hours of a week.
pub(super) const WEEK: i64 = 168;

/// A load and what it usually is.
pub(super) struct Compared {
    pub(super) baseline: f64,
    now: f64,
}

impl Compared {
    /// How many times the baseline it is; `None` where that is nothing.
    pub(super) fn over(&self) -> Option<f64> {
        (self.baseline > 0.0).then(|| self.now / self.baseline)
    }
}

/// Takes a value over; compares its hour so far with its baseline.
pub(super) fn take(
    hours: &mut Hours,
    days: u32,
    zone: &TimeZone,
    measured_at: Timestamp,
    value: f64,
) -> Option<Compared> {
    let hour = local_hour(zone, measured_at)?;
    let weeks = i64::from(days) / 7;
    hours.add(hour, value, weeks * WEEK);
    let baseline = usual(hours, weeks, hour)?;
    let now = hours.get(hour)?.mean();
    Some(Compared { baseline, now })
}

/// The median of an hour's means in the weeks before it; `None` where less than half of them have it.
pub(super) fn usual(hours: &Hours, weeks: i64, hour: i64) -> Option<f64> {
    let mut means: Vec<f64> = (1..=weeks)
        .filter_map(|week| hours.get(hour - week * WEEK))
        .map(super::hours::Hour::mean)
        .collect();
    if means.is_empty() || (means.len() as i64) < weeks / 2 {
        return None;
    }
    means.sort_by(f64::total_cmp);
    let middle = means.len() / 2;
    Some(if means.len() % 2 == 1 {
        means[middle]
    } else {
        f64::midpoint(means[middle - 1], means[middle])
    })
}

/// Hours since 1970 by the clock of the site.
fn local_hour(zone: &TimeZone, at: Timestamp) -> Option<i64> {
    let local = civil(zone, at)?;
    Some(day_of(local.date())? * 24 + i64::from(local.hour()))
}

/// Days since 1970.
pub(super) fn day_of(date: Date) -> Option<i64> {
    let days = Date::constant(1970, 1, 1).until(date).ok()?.get_days();
    Some(i64::from(days))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::engine::zone_of;

    #[test]
    fn a_baseline_is_the_median_of_the_same_hours_across_a_change_of_the_clocks() {
        let zone = zone_of("Europe/Berlin");
        let mut hours = Hours::default();
        let at = |text: &str| Timestamp::parse_rfc3339(text).expect("a time");
        let mut compare = |text: &str, value: f64| {
            take(&mut hours, 30, &zone, at(text), value).map(|c| (c.baseline, c.over()))
        };
        // Tuesdays at 02:30 local; summer time begins on 29 March 2026.
        assert_eq!(compare("2026-03-10T01:30:00Z", 100.0), None);
        assert_eq!(compare("2026-03-17T01:30:00Z", 300.0), None);
        assert_eq!(compare("2026-03-24T01:30:00Z", 200.0), Some((200.0, Some(1.0))));
        assert_eq!(compare("2026-03-31T00:30:00Z", 400.0), Some((200.0, Some(2.0))));
        // Another hour has none yet.
        assert_eq!(compare("2026-03-31T01:30:00Z", 400.0), None);
    }
}
