//! `nights_over_baseline`: how many nights in a row took more than half as much again as they usually take.
//!
//! A night is 02:00 to 05:00 by the clock of the site. It is judged once, at the first reading at or after 05:00: the
//! means of its hours together against their baselines together.
//! Invariants: only hours of nights are remembered; a night that cannot be judged, because one of its hours has no
//! reading or no baseline, makes no value and ends the row, because what was not seen was not consecutive. An hour that
//! the clocks leave out is not asked for; one that comes twice is one hour. A reading that comes when its night was
//! judged counts for the baseline only.
//! Source: REFERENCE §3 (energy). Not here: the baseline of an hour (`baseline`).

use super::baseline::{WEEK, day_of, usual};
use super::hours::Hours;
use crate::rule::recurrence::civil;
use crate::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

/// The hours of a night, by the clock of the site.
const NIGHT: std::ops::Range<i8> = 2..5;
/// How many times the baseline is too much.
const OVER: f64 = 1.5;

/// What is remembered beside the hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Nights {
    /// The day of the newest night that was judged or begun after, counted from 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judged: Option<i64>,
    /// Nights in a row.
    #[serde(default)]
    row: u32,
}

impl Nights {
    pub(super) fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Takes a load over; gives the row where a night is over by it.
    pub(super) fn take(
        &mut self,
        hours: &mut Hours,
        days: u32,
        zone: &TimeZone,
        measured_at: Timestamp,
        value: f64,
    ) -> Option<f64> {
        let local = civil(zone, measured_at)?;
        let day = day_of(local.date())?;
        let over = if local.hour() >= NIGHT.end { day } else { day - 1 };
        let weeks = i64::from(days) / 7;
        let row = self.judge(hours, weeks, zone, over);
        if NIGHT.contains(&local.hour()) {
            let hour = day * 24 + i64::from(local.hour());
            // The first hour of a night is still asked for when its last one is there.
            hours.add(hour, value, weeks * WEEK + i64::from(NIGHT.end - NIGHT.start));
        }
        row
    }

    /// Judges the night of `day`, which is over.
    fn judge(&mut self, hours: &Hours, weeks: i64, zone: &TimeZone, day: i64) -> Option<f64> {
        let judged = self.judged.is_some_and(|judged| judged >= day);
        if judged {
            return None;
        }
        // The first reading in a night judges the one before. So where nights were passed over, this one has none, and
        // what cannot be told ends the row.
        self.judged = Some(day);
        let is_over = is_over(hours, weeks, zone, day);
        self.row = match is_over {
            Some(true) => self.row.saturating_add(1),
            _ => 0,
        };
        is_over.map(|_| f64::from(self.row))
    }
}

/// Whether a night took too much; `None` where that cannot be told.
fn is_over(hours: &Hours, weeks: i64, zone: &TimeZone, day: i64) -> Option<bool> {
    let (mut took, mut takes) = (0.0, 0.0);
    for hour in NIGHT.filter(|hour| is_there(zone, day, *hour)) {
        let number = day * 24 + i64::from(hour);
        took += hours.get(number)?.mean();
        takes += usual(hours, weeks, number)?;
    }
    (takes > 0.0).then_some(took > OVER * takes)
}

/// Whether the clock of the site has any of that hour.
fn is_there(zone: &TimeZone, day: i64, hour: i8) -> bool {
    let date = jiff::Span::new()
        .try_days(day)
        .and_then(|span| Date::constant(1970, 1, 1).checked_add(span));
    let Ok(date) = date else {
        return false;
    };
    let left_out = |minute| {
        let local = date.at(hour, minute, 0, 0);
        matches!(
            zone.to_ambiguous_timestamp(local).offset(),
            AmbiguousOffset::Gap { .. }
        )
    };
    !(left_out(0) && left_out(59))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::engine::zone_of;
    use proptest::prelude::*;

    /// A meter in Berlin.
    struct Meter {
        hours: Hours,
        nights: Nights,
        zone: TimeZone,
    }

    impl Meter {
        fn new() -> Self {
            Self {
                hours: Hours::default(),
                nights: Nights::default(),
                zone: zone_of("Europe/Berlin"),
            }
        }

        fn take(&mut self, at: Timestamp, value: f64) -> Option<f64> {
            self.nights.take(&mut self.hours, 30, &self.zone, at, value)
        }

        /// Readings at half past each of these hours of a night by its clock; the value of the one after it.
        fn night(&mut self, date: Date, hours: &[i8], value: f64) -> Option<f64> {
            for hour in hours {
                let at = self.local(date, *hour, 30);
                assert_eq!(self.take(at, value), None);
            }
            let at = self.local(date, 5, 0);
            self.take(at, value)
        }

        fn local(&self, date: Date, hour: i8, minute: i8) -> Timestamp {
            let at = crate::rule::recurrence::instant(&self.zone, date.at(hour, minute, 0, 0));
            at.expect("a time")
        }
    }

    #[test]
    fn a_row_of_nights_counts_on_and_a_usual_one_ends_it() {
        let mut meter = Meter::new();
        let mut date = Date::constant(2026, 2, 1);
        let mut told = Vec::new();
        // Four weeks, then three nights with twice as much, and one without.
        for day in 0..33 {
            let value = if (28..31).contains(&day) { 200.0 } else { 100.0 };
            told.push(meter.night(date, &[2, 3, 4], value));
            date = date.tomorrow().expect("a day");
        }
        // Half of the weeks are there from the third one on. The first night began before the first reading.
        assert_eq!(told[..14], [None; 14]);
        assert_eq!(told[14..28], [Some(0.0); 14]);
        assert_eq!(told[28..], [1.0, 2.0, 3.0, 0.0, 0.0].map(Some));
    }

    #[test]
    fn a_night_of_which_an_hour_was_not_seen_makes_no_value_and_ends_the_row() {
        let mut meter = Meter::new();
        let mut date = Date::constant(2026, 1, 5);
        for _ in 0..28 {
            meter.night(date, &[2, 3, 4], 100.0);
            date = date.tomorrow().expect("a day");
        }
        let mut told = Vec::new();
        for hours in [&[2, 3, 4][..], &[2, 3, 4], &[2, 4], &[2, 3, 4]] {
            told.push(meter.night(date, hours, 200.0));
            date = date.tomorrow().expect("a day");
        }
        assert_eq!(told, [Some(1.0), Some(2.0), None, Some(1.0)]);
        // A night without any reading, and the days around it.
        date = date.tomorrow().expect("a day");
        assert_eq!(meter.night(date, &[3, 4], 200.0), None);
        date = date.tomorrow().expect("a day");
        assert_eq!(meter.night(date, &[2, 3, 4], 200.0), Some(1.0));
    }

    #[test]
    fn a_night_is_judged_at_the_first_reading_after_it_also_on_the_next_day() {
        let mut meter = Meter::new();
        let mut date = Date::constant(2026, 1, 5);
        for _ in 0..28 {
            meter.night(date, &[2, 3, 4], 100.0);
            date = date.tomorrow().expect("a day");
        }
        for hour in [2, 3, 4] {
            meter.take(meter.local(date, hour, 10), 200.0);
        }
        let next = date.tomorrow().expect("a day");
        assert_eq!(meter.take(meter.local(next, 1, 0), 200.0), Some(1.0));
        assert_eq!(meter.take(meter.local(next, 1, 30), 200.0), None);
        // What comes late of a night that was judged makes none, and none of the night after it.
        assert_eq!(meter.take(meter.local(date, 4, 30), 900.0), None);
        assert_eq!(meter.night(next, &[2, 3, 4], 160.0), Some(2.0));
    }

    #[test]
    fn where_the_clocks_go_forward_a_night_has_two_hours_and_where_they_go_back_three() {
        // Sundays: 29 March and 25 October 2026.
        for (last, hours) in [
            (Date::constant(2026, 3, 29), &[3, 4][..]),
            (Date::constant(2026, 10, 25), &[2, 3, 4]),
        ] {
            let mut meter = Meter::new();
            let mut date = last.checked_sub(jiff::Span::new().days(28)).expect("a day");
            while date < last {
                meter.night(date, &[2, 3, 4], 100.0);
                date = date.tomorrow().expect("a day");
            }
            assert_eq!(meter.night(last, hours, 151.0), Some(1.0), "{last}");
            let after = last.tomorrow().expect("a day");
            assert_eq!(meter.night(after, &[2, 3, 4], 150.0), Some(0.0), "{last}");
        }
    }

    #[test]
    fn only_hours_of_nights_are_remembered() {
        let mut meter = Meter::new();
        let begin = meter.local(Date::constant(2026, 1, 5), 0, 0);
        for half_hour in 0..48 * 120 {
            meter.take(begin.plus_micros(half_hour * 1_800_000_000), 100.0);
            assert!(meter.hours.count() <= 4 * 7 * 3 + 3);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_restart_anywhere_changes_nothing(
            steps in prop::collection::vec((-90i64..400, 50.0f64..250.0), 1..900),
        ) {
            let (mut meter, mut again) = (Meter::new(), Meter::new());
            let mut at = meter.local(Date::constant(2026, 3, 1), 0, 0);
            for (minutes, value) in steps {
                at = at.plus_micros(minutes * 60_000_000);
                prop_assert_eq!(meter.take(at, value), again.take(at, value));
                let text = serde_json::to_string(&(&again.hours, again.nights)).expect("JSON");
                (again.hours, again.nights) = serde_json::from_str(&text).expect("reads");
                prop_assert_eq!((&meter.hours, meter.nights), (&again.hours, again.nights));
            }
        }
    }
}
