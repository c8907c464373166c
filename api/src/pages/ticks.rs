//! Where a chart's axes have their marks, and what stands beside them.
//!
//! Invariants: ticks lie inside the range but for rounding, rise, and number at most what was asked for plus one;
//! time ticks fall on round civil times of the zone (06:00, a Monday, the first of a month), also on the days
//! when its clock is put forward or back.
//! Not here: pixels (`chart`).

use domain::Timestamp;
use jiff::civil;

use super::words::{self, Zone};

/// Marks of a value axis.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueTicks {
    /// The values, rising.
    pub values: Vec<f64>,
    /// One label a value.
    pub labels: Vec<String>,
    /// Labels are to be read times ten to this power (0, or a multiple of three).
    pub exponent: i32,
}

/// Marks for `lo..=hi` (finite, `lo < hi`), about `target` of them, at 1, 2 or 5 times a power of ten.
pub fn value_ticks(lo: f64, hi: f64, target: usize) -> ValueTicks {
    let step = nice_step((hi - lo) / target.max(1) as f64);
    // A tick on the very edge counts, whatever the division's rounding says of it.
    let first = (lo / step - 1e-9).ceil();
    let last = (hi / step + 1e-9).floor();
    let n = (last - first).clamp(0.0, 3.0 * target as f64 + 3.0) as usize;
    // Multiples of the step, not sums of it: 0.1 added thirty times is not 3.
    let values: Vec<f64> = (0..=n).map(|i| (first + i as f64) * step).collect();
    let largest = lo.abs().max(hi.abs());
    let exponent = exponent_of(largest, step);
    let scale = 10f64.powi(exponent);
    let decimals = decimals_of(step / scale);
    let labels = values
        .iter()
        .map(|v| words::number(v / scale, decimals))
        .collect();
    ValueTicks {
        values,
        labels,
        exponent,
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that is at least `rough`.
fn nice_step(rough: f64) -> f64 {
    if !rough.is_finite() || rough <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|f| f * power >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0);
    factor * power
}

/// Labels of a million or more, or of a thousandth or less, get a power of ten of their own.
fn exponent_of(largest: f64, step: f64) -> i32 {
    if largest >= 1e6 || (largest < 1e-2 && step < 1e-3) {
        (largest.log10() / 3.0).floor() as i32 * 3
    } else {
        0
    }
}

fn decimals_of(step: f64) -> usize {
    (0..9)
        .find(|d| {
            (step * 10f64.powi(*d)).fract().abs() < 1e-6 || (step * 10f64.powi(*d)).fract() > 1.0 - 1e-6
        })
        .unwrap_or(9) as usize
}

/// A mark of the time axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeTick {
    /// The instant.
    pub at: Timestamp,
    /// `14:00`, `17 May`, `May`, `2026`.
    pub label: String,
    /// The first of a larger unit: midnight among hours, a first of the month among days.
    pub major: bool,
}

/// How far apart time ticks may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Seconds(i64),
    Days(i64),
    Weeks,
    Months(i64),
    Years(i64),
}

const STEPS: &[(Step, i64)] = &[
    (Step::Seconds(10), 10),
    (Step::Seconds(30), 30),
    (Step::Seconds(60), 60),
    (Step::Seconds(300), 300),
    (Step::Seconds(600), 600),
    (Step::Seconds(900), 900),
    (Step::Seconds(1800), 1800),
    (Step::Seconds(3600), 3600),
    (Step::Seconds(7200), 7200),
    (Step::Seconds(10_800), 10_800),
    (Step::Seconds(21_600), 21_600),
    (Step::Seconds(43_200), 43_200),
    (Step::Days(1), 86_400),
    (Step::Days(2), 172_800),
    (Step::Weeks, 604_800),
    (Step::Months(1), 2_678_400),
    (Step::Months(3), 7_948_800),
    (Step::Months(6), 15_897_600),
    (Step::Years(1), 31_622_400),
    (Step::Years(5), 158_112_000),
];
/// A chart of more years than this has no time ticks.
const TICKS_MAX: usize = 400;

/// Marks between `from` and `to` in `zone`, at most about `max` of them.
pub fn time_ticks(from: Timestamp, to: Timestamp, zone: &Zone, max: usize) -> Vec<TimeTick> {
    let span_s = to.since(from) / 1_000_000;
    if span_s <= 0 {
        return Vec::new();
    }
    let Some((step, _)) = STEPS.iter().find(|(_, s)| span_s / s <= max.max(1) as i64) else {
        return Vec::new();
    };
    let (first, last) = (zone.at(from), zone.at(to));
    let mut ticks: Vec<TimeTick> = Vec::new();
    for civil in civil_times(*step, first.datetime(), last.datetime()) {
        let Some(at) = zone.instant(civil) else { continue };
        // Where the clock is put forward, two civil times are one instant.
        let rises = ticks.last().is_none_or(|t| t.at < at);
        if at >= from && at <= to && rises {
            let (label, major) = label(*step, civil);
            ticks.push(TimeTick { at, label, major });
        }
    }
    ticks
}

/// Civil times on multiples of `step` from before `first` to `last`.
fn civil_times(step: Step, first: civil::DateTime, last: civil::DateTime) -> Vec<civil::DateTime> {
    let (y, m) = (first.year(), i64::from(first.month()));
    let start = match step {
        Step::Seconds(s) => {
            let of_day = seconds_of_day(first) / s * s;
            return seconds(first.date(), of_day, s, last);
        }
        Step::Days(n) => {
            let day = i64::from(first.day());
            civil::Date::new(y, first.month(), ((day - 1) / n * n + 1) as i8)
        }
        Step::Weeks => {
            let back = i64::from(first.date().weekday().to_monday_zero_offset());
            first.date().checked_sub(jiff::Span::new().days(back))
        }
        Step::Months(n) => civil::Date::new(y, ((m - 1) / n * n + 1) as i8, 1),
        Step::Years(n) => civil::Date::new((i64::from(y) / n * n).max(1) as i16, 1, 1),
    };
    let mut out = Vec::new();
    let mut next = start;
    while let Ok(date) = next {
        if date > last.date() || out.len() >= TICKS_MAX {
            break;
        }
        // The 31st of a month would stand too near the first of the next.
        let crowded = matches!(step, Step::Days(n) if i64::from(date.days_in_month() - date.day()) + 1 < n);
        if !crowded {
            out.push(date.at(0, 0, 0, 0));
        }
        next = match step {
            // Odd days of each month: 29, 31, 1, 3, … without a jump of one day in between.
            Step::Days(n) => date.checked_add(jiff::Span::new().days(n)).map(|d| {
                if d.month() != date.month() {
                    d.first_of_month()
                } else {
                    d
                }
            }),
            Step::Weeks => date.checked_add(jiff::Span::new().days(7)),
            Step::Months(n) => date.checked_add(jiff::Span::new().months(n)),
            Step::Years(n) => date.checked_add(jiff::Span::new().years(n)),
            Step::Seconds(_) => break,
        };
    }
    out
}

fn seconds_of_day(t: civil::DateTime) -> i64 {
    i64::from(t.hour()) * 3600 + i64::from(t.minute()) * 60 + i64::from(t.second())
}

fn seconds(date: civil::Date, of_day: i64, step: i64, last: civil::DateTime) -> Vec<civil::DateTime> {
    let mut out = Vec::new();
    let (mut date, mut of_day) = (date, of_day);
    loop {
        let t = date.at(
            (of_day / 3600) as i8,
            (of_day / 60 % 60) as i8,
            (of_day % 60) as i8,
            0,
        );
        if t > last || out.len() >= TICKS_MAX {
            return out;
        }
        out.push(t);
        of_day += step;
        if of_day >= 86_400 {
            of_day = 0;
            match date.tomorrow() {
                Ok(d) => date = d,
                Err(_) => return out,
            }
        }
    }
}

fn label(step: Step, t: civil::DateTime) -> (String, bool) {
    let month = words::month_short(t.month() as u32);
    let day = format!("{}\u{a0}{month}", t.day());
    match step {
        Step::Seconds(_) if seconds_of_day(t) == 0 => (day, true),
        Step::Seconds(s) if s % 60 != 0 => (
            format!("{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second()),
            false,
        ),
        Step::Seconds(_) => (format!("{:02}:{:02}", t.hour(), t.minute()), false),
        Step::Days(_) | Step::Weeks => (day, t.day() == 1),
        Step::Months(_) if t.month() == 1 => (t.year().to_string(), true),
        Step::Months(_) => (month.to_owned(), false),
        Step::Years(_) => (t.year().to_string(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time of the test")
    }

    fn labels(from: &str, to: &str, zone: &str, max: usize) -> Vec<String> {
        time_ticks(at(from), at(to), &Zone::named(zone), max)
            .into_iter()
            .map(|t| t.label.replace('\u{a0}', " "))
            .collect()
    }

    #[test]
    fn values_are_marked_at_one_two_or_five() {
        for (lo, hi, expected) in [
            (0.0, 10.0, vec!["0", "2", "4", "6", "8", "10"]),
            (1.7, 6.2, vec!["2", "3", "4", "5", "6"]),
            (-24.0, -17.0, vec!["−24", "−22", "−20", "−18"]),
            (4.0, 4.3, vec!["4.0", "4.1", "4.2", "4.3"]),
            (0.0, 1.0, vec!["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ] {
            let t = value_ticks(lo, hi, 5);
            assert_eq!(
                (t.labels, t.exponent),
                (expected.iter().map(|s| s.to_string()).collect(), 0)
            );
        }
    }

    #[test]
    fn huge_and_tiny_values_share_a_power_of_ten() {
        let t = value_ticks(0.0, 4.2e12, 5);
        assert_eq!((t.exponent, t.labels.last().map(String::as_str)), (12, Some("4")));
        let t = value_ticks(0.0, 4e-7, 5);
        assert_eq!(t.exponent, -9);
        for (lo, hi) in [(-1.7e308, 1.7e308), (0.0, f64::MIN_POSITIVE), (1e15, 1e15 + 0.5)] {
            assert!(value_ticks(lo, hi, 5).values.len() <= 20, "{lo} {hi}");
        }
    }

    #[test]
    fn a_day_is_marked_every_three_hours_and_its_midnight_is_dated() {
        assert_eq!(
            labels(
                "2026-05-16T12:03:00Z",
                "2026-05-17T12:03:00Z",
                "Europe/Bratislava",
                8
            ),
            [
                "15:00", "18:00", "21:00", "17 May", "03:00", "06:00", "09:00", "12:00"
            ]
        );
    }

    #[test]
    fn the_night_the_clock_jumps_has_no_tick_twice() {
        let ticks = time_ticks(
            at("2026-03-28T23:00:00Z"),
            at("2026-03-29T05:00:00Z"),
            &Zone::named("Europe/Bratislava"),
            24,
        );
        assert!(ticks.windows(2).all(|w| w[0].at < w[1].at));
        let back = labels(
            "2026-10-24T22:00:00Z",
            "2026-10-25T04:00:00Z",
            "Europe/Bratislava",
            8,
        );
        assert_eq!(back.first().map(String::as_str), Some("25 Oct"));
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        assert_eq!(
            labels("2026-04-17T00:00:00Z", "2026-05-17T00:00:00Z", "UTC", 6),
            ["20 Apr", "27 Apr", "4 May", "11 May"]
        );
        assert_eq!(
            labels("2025-11-17T00:00:00Z", "2026-05-17T00:00:00Z", "UTC", 8),
            ["Dec", "2026", "Feb", "Mar", "Apr", "May"]
        );
        assert_eq!(
            labels("2026-05-28T00:00:00Z", "2026-06-04T00:00:00Z", "UTC", 4),
            ["29 May", "1 Jun", "3 Jun"]
        );
        assert_eq!(
            labels("2026-02-26T00:00:00Z", "2026-03-05T00:00:00Z", "UTC", 4),
            ["27 Feb", "1 Mar", "3 Mar", "5 Mar"]
        );
    }

    #[test]
    fn an_empty_or_backward_range_has_no_ticks() {
        let t = at("2026-05-17T00:00:00Z");
        assert!(time_ticks(t, t, &Zone::utc(), 8).is_empty());
        assert!(time_ticks(t, t.plus_micros(-1), &Zone::utc(), 8).is_empty());
        assert!(
            time_ticks(Timestamp::default(), at("9999-01-01T00:00:00Z"), &Zone::utc(), 8).len() < TICKS_MAX
        );
    }
}
