//! RFC 5545 recurrences by the clock of a site, asked by day and never walked from their beginning.
//!
//! Invariants: whether a day has an occurrence depends on that day alone (a COUNT is turned into an end once, when
//! the text is read), so no text, however hostile, costs more than its days; times are the site's own, a time that
//! the clocks skip begins as much later, one that comes twice is the first (RFC 5545 §3.3.5).
//! Source: RFC 5545 §3.3.10. Not here: SECONDLY and MINUTELY, which are no windows; EXDATE and RDATE.

use crate::rejection::Rejection;
use crate::time::Timestamp;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;

/// Where a recurrence without DTSTART begins: a Monday at midnight.
const DEFAULT_START: DateTime = DateTime::constant(2024, 1, 1, 0, 0, 0, 0);
/// Most occurrences of one day: one each quarter of an hour.
pub const OCCURRENCES_A_DAY_MAX: usize = 96;
/// Highest COUNT: twenty-seven years of days.
pub const COUNT_MAX: u32 = 10_000;
/// Highest INTERVAL.
pub const INTERVAL_MAX: u32 = 1_000;
/// Days after the beginning in which the last of COUNT occurrences is looked for: a hundred years.
const COUNT_DAYS_MAX: i32 = 36_600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Freq {
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// When the last occurrence may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Local(DateTime),
    Utc(Timestamp),
}

/// A recurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    start: DateTime,
    freq: Freq,
    interval: i64,
    until: Option<Until>,
    months: u16,
    month_days: Vec<i16>,
    year_days: Vec<i16>,
    week_numbers: Vec<i16>,
    weekdays: Vec<(i16, Weekday)>,
    hours: Vec<i8>,
    minutes: Vec<i8>,
    seconds: Vec<i8>,
    positions: Vec<i16>,
    week_start: Weekday,
}

impl Recurrence {
    /// Reads `FREQ=…`, `RRULE:FREQ=…`, with or without a line `DTSTART:<local time>` before it.
    ///
    /// # Errors
    /// `invalid_window`, naming the part.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let mut start = DEFAULT_START;
        let mut rule = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(time) = line.strip_prefix("DTSTART:") {
                start = local(time).ok_or_else(|| {
                    invalid("DTSTART must be a time of the site, such as DTSTART:20260101T020000")
                })?;
            } else if rule
                .replace(line.strip_prefix("RRULE:").unwrap_or(line))
                .is_some()
            {
                return Err(invalid(
                    "an rrule is one recurrence, with at most a DTSTART before it",
                ));
            }
        }
        let rule = rule.ok_or_else(|| invalid("an rrule must say FREQ, such as FREQ=DAILY;BYHOUR=2"))?;
        Parts::read(rule)?.recurrence(start)
    }

    /// The local times in `[from, to]` at which occurrences begin, in order.
    pub fn starts(&self, from: DateTime, to: DateTime) -> Vec<DateTime> {
        let mut starts = Vec::new();
        let from = from.max(self.start);
        let (mut day, last) = (from.date(), to.date());
        while from <= to && day <= last {
            if self.positions.is_empty() {
                self.of_day(day, &mut starts);
                match day.tomorrow() {
                    Ok(next) => day = next,
                    Err(_) => break,
                }
            } else {
                let Some(next) = self.of_period(day, &mut starts) else {
                    break;
                };
                day = next;
            }
        }
        starts.retain(|start| (from..=to).contains(start));
        if let Some(Until::Local(until)) = self.until {
            starts.retain(|start| *start <= until);
        }
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// When the occurrences that begin in `[from, to]` begin, in that zone.
    pub fn instants(&self, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        // What the clocks skip begins later than its local time says, so the local range is wider by a change's most.
        let (Some(local_from), Some(local_to)) = (civil(zone, from), civil(zone, to)) else {
            return Vec::new();
        };
        let margin = jiff::Span::new().hours(25);
        let (Ok(local_from), Ok(local_to)) = (local_from.checked_sub(margin), local_to.checked_add(margin))
        else {
            return Vec::new();
        };
        self.starts(local_from, local_to)
            .into_iter()
            .filter_map(|start| instant(zone, start))
            .filter(|start| (from..=to).contains(start))
            .filter(|start| !matches!(self.until, Some(Until::Utc(until)) if *start > until))
            .collect()
    }

    /// The occurrences of one day, without BYSETPOS.
    fn of_day(&self, day: Date, out: &mut Vec<DateTime>) {
        if self.freq != Freq::Hourly && self.period(day) % self.interval != 0 {
            return;
        }
        if !self.has_day(day) {
            return;
        }
        for &hour in &self.hours {
            if self.freq == Freq::Hourly {
                let hours = days_between(self.start.date(), day) * 24 + i64::from(hour)
                    - i64::from(self.start.hour());
                if hours % self.interval != 0 {
                    continue;
                }
            }
            for &minute in &self.minutes {
                for &second in &self.seconds {
                    out.push(day.at(hour, minute, second, 0));
                }
            }
        }
    }

    /// The occurrences of the whole period that `day` is in, chosen by BYSETPOS, and the first day after it.
    fn of_period(&self, day: Date, out: &mut Vec<DateTime>) -> Option<Date> {
        let (first, next) = match self.freq {
            Freq::Hourly | Freq::Daily => (day, day.tomorrow().ok()?),
            Freq::Weekly => {
                let back = day.weekday().since(self.week_start);
                let first = day.checked_sub(jiff::Span::new().days(i64::from(back))).ok()?;
                (first, first.checked_add(jiff::Span::new().days(7)).ok()?)
            }
            Freq::Monthly => (day.first_of_month(), day.last_of_month().tomorrow().ok()?),
            Freq::Yearly => (day.first_of_year(), day.last_of_year().tomorrow().ok()?),
        };
        let mut all = Vec::new();
        let mut at = first;
        while at < next {
            self.of_day(at, &mut all);
            at = at.tomorrow().ok()?;
        }
        // An hour is a period of its own.
        if self.freq == Freq::Hourly {
            for of_hour in all.chunk_by(|a, b| a.hour() == b.hour()) {
                self.choose(of_hour.to_vec(), out);
            }
        } else {
            self.choose(all, out);
        }
        Some(next)
    }

    fn choose(&self, mut all: Vec<DateTime>, out: &mut Vec<DateTime>) {
        all.sort_unstable();
        for &position in &self.positions {
            let index = if position > 0 {
                i64::from(position) - 1
            } else {
                all.len() as i64 + i64::from(position)
            };
            if let Some(chosen) = usize::try_from(index).ok().and_then(|index| all.get(index)) {
                out.push(*chosen);
            }
        }
    }

    /// How many periods after the first one `day` is in; never negative for days from the beginning on.
    fn period(&self, day: Date) -> i64 {
        let start = self.start.date();
        match self.freq {
            Freq::Hourly | Freq::Daily => days_between(start, day),
            Freq::Weekly => {
                let back = |d: Date| i64::from(d.weekday().since(self.week_start));
                (days_between(start, day) + back(start) - back(day)) / 7
            }
            Freq::Monthly => {
                (i64::from(day.year()) - i64::from(start.year())) * 12 + i64::from(day.month())
                    - i64::from(start.month())
            }
            Freq::Yearly => i64::from(day.year()) - i64::from(start.year()),
        }
    }

    fn has_day(&self, day: Date) -> bool {
        if self.months & 1 << day.month() == 0 {
            return false;
        }
        let from_either_end = |list: &[i16], number: i16, of: i16| {
            list.is_empty() || list.contains(&number) || list.contains(&(number - of - 1))
        };
        from_either_end(
            &self.month_days,
            i16::from(day.day()),
            i16::from(day.days_in_month()),
        ) && from_either_end(&self.year_days, day.day_of_year(), day.days_in_year())
            && self.has_week(day)
            && self.has_weekday(day)
    }

    fn has_week(&self, day: Date) -> bool {
        if self.week_numbers.is_empty() {
            return true;
        }
        // The week belongs to the year in which most of its days are: that of its fourth day.
        let back = i64::from(day.weekday().since(self.week_start));
        let Ok(middle) = day.checked_add(jiff::Span::new().days(3 - back)) else {
            return false;
        };
        let week = (middle.day_of_year() - 1) / 7 + 1;
        let weeks = (middle.day_of_year() - 1) / 7 + 1 + (middle.days_in_year() - middle.day_of_year()) / 7;
        self.week_numbers.contains(&week) || self.week_numbers.contains(&(week - weeks - 1))
    }

    fn has_weekday(&self, day: Date) -> bool {
        if self.weekdays.is_empty() {
            return true;
        }
        let (number, of) = if self.freq == Freq::Yearly && self.months == ALL_MONTHS {
            (day.day_of_year(), day.days_in_year())
        } else {
            (i16::from(day.day()), i16::from(day.days_in_month()))
        };
        self.weekdays.iter().any(|&(nth, weekday)| {
            weekday == day.weekday()
                && (nth == 0 || nth == (number - 1) / 7 + 1 || nth == -((of - number) / 7 + 1))
        })
    }
}

/// Every month's bit; bit n is month n.
const ALL_MONTHS: u16 = 0b1_1111_1111_1110;

/// The instant of a local time: one that the clocks skip is as much later, one that comes twice is the first.
pub fn instant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    let at = zone.to_ambiguous_timestamp(local).compatible().ok()?;
    Timestamp::from_micros(at.as_microsecond())
}

/// The local time of an instant.
pub fn civil(zone: &TimeZone, at: Timestamp) -> Option<DateTime> {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    Some(zone.to_datetime(at))
}

fn days_between(from: Date, to: Date) -> i64 {
    i64::from(from.until(to).map_or(0, |span| span.get_days()))
}

/// The parts as they stand in the text.
#[derive(Default)]
struct Parts {
    freq: Option<Freq>,
    interval: Option<i64>,
    count: Option<u32>,
    until: Option<Until>,
    months: Option<Vec<i16>>,
    month_days: Option<Vec<i16>>,
    year_days: Option<Vec<i16>>,
    week_numbers: Option<Vec<i16>>,
    weekdays: Option<Vec<(i16, Weekday)>>,
    hours: Option<Vec<i16>>,
    minutes: Option<Vec<i16>>,
    seconds: Option<Vec<i16>>,
    positions: Option<Vec<i16>>,
    week_start: Option<Weekday>,
}

impl Parts {
    fn read(rule: &str) -> Result<Self, Rejection> {
        let mut parts = Self::default();
        for part in rule.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| invalid(format!("{} is not NAME=value", shown(part))))?;
            parts.take(name, value)?;
        }
        Ok(parts)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Rejection> {
        match name {
            "FREQ" => once(&mut self.freq, name, freq(value)),
            "INTERVAL" => once(
                &mut self.interval,
                name,
                number(value, 1..=INTERVAL_MAX as i16).map(i64::from),
            ),
            "COUNT" => once(
                &mut self.count,
                name,
                number(value, 1..=COUNT_MAX as i16).map(|n| n.unsigned_abs().into()),
            ),
            "UNTIL" => once(&mut self.until, name, until(value)),
            "WKST" => once(&mut self.week_start, name, weekday(value)),
            "BYDAY" => once(&mut self.weekdays, name, list(value, nth_weekday)),
            "BYMONTH" => numbers(&mut self.months, name, value, 1..=12),
            "BYMONTHDAY" => numbers(&mut self.month_days, name, value, -31..=31),
            "BYYEARDAY" => numbers(&mut self.year_days, name, value, -366..=366),
            "BYWEEKNO" => numbers(&mut self.week_numbers, name, value, -53..=53),
            "BYSETPOS" => numbers(&mut self.positions, name, value, -366..=366),
            "BYHOUR" => clock(&mut self.hours, name, value, 23),
            "BYMINUTE" => clock(&mut self.minutes, name, value, 59),
            "BYSECOND" => clock(&mut self.seconds, name, value, 59),
            _ => Err(invalid(format!("{} is no part of an rrule", shown(name)))),
        }
    }

    fn recurrence(self, start: DateTime) -> Result<Recurrence, Rejection> {
        let freq = self
            .freq
            .ok_or_else(|| invalid("an rrule must say FREQ: HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY"))?;
        self.fits(freq)?;
        let dated = self.week_numbers.is_some()
            || self.year_days.is_some()
            || self.month_days.is_some()
            || self.weekdays.is_some();
        let default = |needed: bool, value: i16| if needed { vec![value] } else { Vec::new() };
        let months = self
            .months
            .unwrap_or_else(|| default(freq == Freq::Yearly && !dated, start.month().into()));
        let month_days = self.month_days.unwrap_or_else(|| {
            default(
                matches!(freq, Freq::Yearly | Freq::Monthly) && !dated,
                start.day().into(),
            )
        });
        let weekdays = self.weekdays.unwrap_or_else(|| {
            if freq == Freq::Weekly && !dated {
                vec![(0, start.weekday())]
            } else {
                Vec::new()
            }
        });
        let hours = match self.hours {
            Some(hours) => hours,
            None if freq == Freq::Hourly => (0..24).collect(),
            None => vec![start.hour().into()],
        };
        let mut positions = self.positions.unwrap_or_default();
        positions.sort_unstable();
        positions.dedup();
        let mut recurrence = Recurrence {
            start,
            freq,
            interval: self.interval.unwrap_or(1),
            until: self.until,
            months: if months.is_empty() {
                ALL_MONTHS
            } else {
                months.iter().fold(0, |bits, month| bits | 1 << month)
            },
            month_days,
            year_days: self.year_days.unwrap_or_default(),
            week_numbers: self.week_numbers.unwrap_or_default(),
            weekdays,
            hours: sorted(hours),
            minutes: sorted(self.minutes.unwrap_or_else(|| vec![start.minute().into()])),
            seconds: sorted(self.seconds.unwrap_or_else(|| vec![start.second().into()])),
            positions,
            week_start: self.week_start.unwrap_or(Weekday::Monday),
        };
        recurrence.fits_positions()?;
        let a_day = recurrence.hours.len() * recurrence.minutes.len() * recurrence.seconds.len();
        if a_day > OCCURRENCES_A_DAY_MAX {
            return Err(invalid(format!(
                "{a_day} occurrences a day; at most {OCCURRENCES_A_DAY_MAX}"
            )));
        }
        if let Some(count) = self.count {
            recurrence.end_after(count);
        }
        Ok(recurrence)
    }

    /// What RFC 5545 §3.3.10 forbids.
    fn fits(&self, freq: Freq) -> Result<(), Rejection> {
        let nth = self.weekdays.iter().flatten().any(|(nth, _)| *nth != 0);
        if nth && (!matches!(freq, Freq::Monthly | Freq::Yearly) || self.week_numbers.is_some()) {
            return Err(invalid(
                "a number before a weekday belongs to MONTHLY, or to YEARLY without BYWEEKNO",
            ));
        }
        if self.week_numbers.is_some() && freq != Freq::Yearly {
            return Err(invalid("BYWEEKNO belongs to FREQ=YEARLY"));
        }
        if self.count.is_some() && self.until.is_some() {
            return Err(invalid("COUNT and UNTIL exclude one another"));
        }
        let by_something = self.months.is_some()
            || self.month_days.is_some()
            || self.year_days.is_some()
            || self.week_numbers.is_some()
            || self.weekdays.is_some()
            || self.hours.is_some()
            || self.minutes.is_some()
            || self.seconds.is_some();
        if self.positions.is_some() && !by_something {
            return Err(invalid("BYSETPOS needs another BY part to choose from"));
        }
        Ok(())
    }
}

impl Recurrence {
    /// That BYSETPOS chooses among what an hour or a day can hold, so that looking costs no more than that.
    fn fits_positions(&self) -> Result<(), Rejection> {
        let an_hour = self.minutes.len() * self.seconds.len();
        let held = match self.freq {
            Freq::Hourly => an_hour,
            Freq::Daily => an_hour * self.hours.len(),
            Freq::Weekly | Freq::Monthly | Freq::Yearly => return Ok(()),
        };
        let beyond = |position: &i16| usize::from(position.unsigned_abs()) > held;
        match self.positions.iter().find(|position| beyond(position)) {
            Some(position) => Err(invalid(format!(
                "BYSETPOS={position}, but there are only {held} to choose from"
            ))),
            None => Ok(()),
        }
    }

    /// Ends it with its `count`-th occurrence, where there are as many within [`COUNT_DAYS_MAX`].
    fn end_after(&mut self, count: u32) {
        let mut left = count as usize;
        let mut from = self.start;
        for _ in 0..COUNT_DAYS_MAX / 366 {
            let Ok(to) = from.checked_add(jiff::Span::new().days(365)) else {
                return;
            };
            let starts = self.starts(from, to);
            if let Some(last) = starts.get(left - 1) {
                self.until = Some(Until::Local(*last));
                return;
            }
            left -= starts.len();
            match to.checked_add(jiff::Span::new().seconds(1)) {
                Ok(next) => from = next,
                Err(_) => return,
            }
        }
    }
}

fn sorted(list: Vec<i16>) -> Vec<i8> {
    let mut list: Vec<i8> = list.into_iter().map(|n| n as i8).collect();
    list.sort_unstable();
    list.dedup();
    list
}

fn once<T>(part: &mut Option<T>, name: &str, value: Option<T>) -> Result<(), Rejection> {
    let value = value.ok_or_else(|| invalid(format!("{name} has a value that it cannot have")))?;
    match part.replace(value) {
        Some(_) => Err(invalid(format!("{name} stands twice"))),
        None => Ok(()),
    }
}

/// A list of numbers other than 0.
fn numbers(
    part: &mut Option<Vec<i16>>,
    name: &str,
    value: &str,
    range: std::ops::RangeInclusive<i16>,
) -> Result<(), Rejection> {
    once(
        part,
        name,
        list(value, |n| number(n, range.clone()).filter(|n| *n != 0)),
    )
}

fn clock(part: &mut Option<Vec<i16>>, name: &str, value: &str, max: i16) -> Result<(), Rejection> {
    once(part, name, list(value, |n| number(n, 0..=max)))
}

/// A list of at most as many items as a year has days.
fn list<T>(value: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let items: Vec<T> = value.split(',').take(367).map(item).collect::<Option<_>>()?;
    (items.len() <= 366).then_some(items)
}

fn number(text: &str, range: std::ops::RangeInclusive<i16>) -> Option<i16> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| range.contains(n))
}

fn freq(text: &str) -> Option<Freq> {
    Some(match text {
        "HOURLY" => Freq::Hourly,
        "DAILY" => Freq::Daily,
        "WEEKLY" => Freq::Weekly,
        "MONTHLY" => Freq::Monthly,
        "YEARLY" => Freq::Yearly,
        _ => return None,
    })
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    })
}

fn nth_weekday(text: &str) -> Option<(i16, Weekday)> {
    let at = text
        .len()
        .checked_sub(2)
        .filter(|at| text.is_char_boundary(*at))?;
    let (nth, day) = text.split_at(at);
    let nth = if nth.is_empty() {
        0
    } else {
        number(nth, -53..=53).filter(|n| *n != 0)?
    };
    Some((nth, weekday(day)?))
}

/// `20260101`, `20260101T020000`, or that with `Z`.
fn until(text: &str) -> Option<Until> {
    if let Some(utc) = text.strip_suffix('Z') {
        return instant(&TimeZone::UTC, local(utc)?).map(Until::Utc);
    }
    if text.len() == 8 {
        // A day ends with its last second.
        return local(&format!("{text}T235959")).map(Until::Local);
    }
    local(text).map(Until::Local)
}

fn local(text: &str) -> Option<DateTime> {
    let bytes = text.as_bytes();
    if bytes.len() != 15 || bytes[8] != b'T' || !text.is_ascii() {
        return None;
    }
    let digits = |from: usize, to: usize| -> Option<i16> {
        bytes[from..to].iter().try_fold(0i16, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + i16::from(b - b'0'))
        })
    };
    let year = digits(0, 4).filter(|year| (1970..=2999).contains(year))?;
    DateTime::new(
        year,
        digits(4, 6)? as i8,
        digits(6, 8)? as i8,
        digits(9, 11)? as i8,
        digits(11, 13)? as i8,
        digits(13, 15)? as i8,
        0,
    )
    .ok()
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(32).collect()
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::invalid("invalid_window", message)
}
