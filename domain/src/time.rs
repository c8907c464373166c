//! Time as a value: UTC microseconds and calendar days. Nothing here reads a clock.
//!
//! Invariants: the canonical text has six decimals and `Z` (FORMAT §2); years 0001 to 9999; no leap seconds.
//! Source: RFC 3339; the calendar arithmetic is Howard Hinnant's `days_from_civil`.
//! Not here: time zones of sites (jiff, at the edge and in rules).

use std::fmt;

/// Microseconds in a day.
pub const DAY_US: i64 = 86_400_000_000;
/// 0001-01-01T00:00:00Z.
const MIN_US: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
const MAX_US: i64 = 253_402_300_799_999_999;

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

/// A calendar day in UTC: days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Date(i32);

/// A text is not a time this format knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not RFC 3339.
    #[error("not an RFC 3339 time, such as 2026-05-17T08:22:00Z")]
    Malformed,
    /// RFC 3339, but a field or the whole is outside what a calendar has, or a leap second.
    #[error("a time outside the calendar (years 0001 to 9999, no leap seconds)")]
    OutOfRange,
}

impl Timestamp {
    /// From microseconds since 1970; `None` outside the years 0001 to 9999.
    pub fn from_micros(us: i64) -> Option<Self> {
        (MIN_US..=MAX_US).contains(&us).then_some(Self(us))
    }

    /// From milliseconds since 1970; `None` outside the years 0001 to 9999.
    pub fn from_millis(ms: i64) -> Option<Self> {
        ms.checked_mul(1000).and_then(Self::from_micros)
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The UTC day of this instant.
    pub fn date(self) -> Date {
        Date(self.0.div_euclid(DAY_US) as i32)
    }

    /// This instant moved by `us` microseconds, held inside the calendar.
    pub fn plus_micros(self, us: i64) -> Self {
        Self(self.0.saturating_add(us).clamp(MIN_US, MAX_US))
    }

    /// Microseconds from `earlier` to this.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Appends the canonical text, 27 bytes: `2026-05-17T08:22:00.000000Z`.
    pub fn write(self, out: &mut Vec<u8>) {
        let (year, month, day) = self.date().civil();
        let us = self.0.rem_euclid(DAY_US);
        let (seconds, fraction) = (us / 1_000_000, us % 1_000_000);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        put(&mut text[0..4], year as i64);
        put(&mut text[5..7], i64::from(month));
        put(&mut text[8..10], i64::from(day));
        put(&mut text[11..13], seconds / 3600);
        put(&mut text[14..16], seconds / 60 % 60);
        put(&mut text[17..19], seconds % 60);
        put(&mut text[20..26], fraction);
        out.extend_from_slice(&text);
    }

    /// Reads the canonical text and nothing else.
    ///
    /// # Errors
    /// [`TimeError`] for any other spelling, even of the same instant.
    pub fn parse_canonical(text: &[u8]) -> Result<Self, TimeError> {
        let text: &[u8; 27] = text.try_into().map_err(|_| TimeError::Malformed)?;
        let marks = [4, 7, 10, 13, 16, 19, 26].map(|at| text[at]);
        let mut foreign = marks != *b"--T::.Z";
        let mut number = |from: usize, to: usize| {
            text[from..to].iter().fold(0i64, |n, byte| {
                let digit = byte.wrapping_sub(b'0');
                foreign |= digit > 9;
                n * 10 + i64::from(digit)
            })
        };
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
        let fraction = number(20, 26);
        if foreign {
            return Err(TimeError::Malformed);
        }
        of_parts((year, month, day), (hour, minute, second), fraction)
    }

    /// Reads any RFC 3339 time; an offset is converted to UTC, decimals beyond the sixth are cut.
    ///
    /// # Errors
    /// [`TimeError`], never a guess: a time without a zone is `Malformed`.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimeError> {
        parse(text.as_bytes())
    }
}

fn put(out: &mut [u8], mut value: i64) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn digits(text: &[u8]) -> Result<i64, TimeError> {
    text.iter().try_fold(0i64, |n, b| match b {
        b'0'..=b'9' => Ok(n * 10 + i64::from(b - b'0')),
        _ => Err(TimeError::Malformed),
    })
}

fn parse(text: &[u8]) -> Result<Timestamp, TimeError> {
    if text.len() < 20
        || text[4] != b'-'
        || text[7] != b'-'
        || !matches!(text[10], b'T' | b't' | b' ')
        || text[13] != b':'
        || text[16] != b':'
    {
        return Err(TimeError::Malformed);
    }
    let (year, month, day) = (digits(&text[0..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    let (hour, minute, second) = (
        digits(&text[11..13])?,
        digits(&text[14..16])?,
        digits(&text[17..19])?,
    );
    let (fraction, zone) = fraction(&text[19..])?;
    let offset_s = offset(zone)?;
    let local = of_parts((year, month, day), (hour, minute, second), fraction)?;
    Timestamp::from_micros(local.0 - offset_s * 1_000_000).ok_or(TimeError::OutOfRange)
}

/// The instant of a calendar day and a time on it, in UTC.
fn of_parts(
    (year, month, day): (i64, i64, i64),
    (hour, minute, second): (i64, i64, i64),
    fraction_us: i64,
) -> Result<Timestamp, TimeError> {
    let date = Date::from_civil(year as i32, month as u32, day as u32).ok_or(TimeError::OutOfRange)?;
    if hour > 23 || minute > 59 || second > 59 {
        return Err(TimeError::OutOfRange);
    }
    let seconds = hour * 3600 + minute * 60 + second;
    let us = i64::from(date.0) * DAY_US + seconds * 1_000_000 + fraction_us;
    Timestamp::from_micros(us).ok_or(TimeError::OutOfRange)
}

/// The fraction in microseconds and what follows it.
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), TimeError> {
    let Some(rest) = text.strip_prefix(b".") else {
        return Ok((0, text));
    };
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 || len > 18 {
        return Err(TimeError::Malformed);
    }
    let kept = len.min(6);
    let us = digits(&rest[..kept])? * 10i64.pow(6 - kept as u32);
    Ok((us, &rest[len..]))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Result<i64, TimeError> {
    match zone {
        b"Z" | b"z" => Ok(0),
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let (hours, minutes) = (digits(&rest[0..2])?, digits(&rest[3..5])?);
            if hours > 23 || minutes > 59 {
                return Err(TimeError::OutOfRange);
            }
            let seconds = hours * 3600 + minutes * 60;
            Ok(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => Err(TimeError::Malformed),
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(27);
        self.write(&mut text);
        f.write_str(std::str::from_utf8(&text).expect("the canonical text is ASCII"))
    }
}

impl Date {
    /// From days since 1970-01-01.
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub const fn days(self) -> i32 {
        self.0
    }

    /// From year, month and day; `None` where the calendar has no such day.
    pub fn from_civil(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
            return None;
        }
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = [31, 28 + u32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
        if day > length {
            return None;
        }
        let y = year - i32::from(month <= 2);
        let era = y.div_euclid(400);
        let year_of_era = y.rem_euclid(400);
        let day_of_year = (153 * ((month as i32 + 9) % 12) + 2) / 5 + day as i32 - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(Self(era * 146_097 + day_of_era - 719_468))
    }

    /// Year, month, day.
    pub fn civil(self) -> (i32, u32, u32) {
        let z = self.0 + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let mp = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * mp + 2) / 5 + 1) as u32;
        let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
        (year_of_era + era * 400 + i32::from(month <= 2), month, day)
    }

    /// Midnight at which the day begins.
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0) * DAY_US)
    }

    /// The next day.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The day before.
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// Reads `2026-05-17` and nothing else.
    ///
    /// # Errors
    /// [`TimeError`] for another spelling or a day that does not exist.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let b = text.as_bytes();
        if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
            return Err(TimeError::Malformed);
        }
        Self::from_civil(
            digits(&b[0..4])? as i32,
            digits(&b[5..7])? as u32,
            digits(&b[8..10])? as u32,
        )
        .ok_or(TimeError::OutOfRange)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Date {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Date {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_and_back() {
        for us in [
            0,
            1,
            -1,
            1_747_470_120_000_000,
            MIN_US,
            MAX_US,
            951_782_399_999_999,
        ] {
            let t = Timestamp::from_micros(us).expect("in range");
            let text = t.to_string();
            assert_eq!(text.len(), 27);
            assert_eq!(Timestamp::parse_canonical(text.as_bytes()), Ok(t), "{text}");
        }
        assert_eq!(
            Timestamp::from_micros(0).map(|t| t.to_string()).as_deref(),
            Some("1970-01-01T00:00:00.000000Z")
        );
    }

    #[test]
    fn offsets_are_converted_and_foreign_spellings_refused() {
        let t = Timestamp::parse_rfc3339("2026-05-17T10:22:00.5+02:00").expect("valid");
        assert_eq!(t.to_string(), "2026-05-17T08:22:00.500000Z");
        for bad in [
            "2026-05-17T08:22:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "",
            "2026-05-17T08:22:00.Z",
        ] {
            assert!(Timestamp::parse_rfc3339(bad).is_err(), "{bad}");
        }
        for other in ["00.50000+Z", "00.500000z"] {
            let text = format!("2026-05-17T08:22:{other}");
            assert!(Timestamp::parse_canonical(text.as_bytes()).is_err(), "{text}");
        }
        for other in ["t", " "] {
            let text = format!("2026-05-17{other}08:22:00.500000Z");
            assert!(Timestamp::parse_rfc3339(&text).is_ok(), "{text}");
            assert!(Timestamp::parse_canonical(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_round_trips() {
        for days in -146_097..146_097 {
            let (y, m, d) = Date(days).civil();
            assert_eq!(Date::from_civil(y, m, d), Some(Date(days)));
        }
    }
}
