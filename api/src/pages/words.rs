//! Numbers, units, times and codes as a person reads them. Pure: time and zone come in as values.
//!
//! Invariants: a number on a page is never more exact than its kind deserves, but for [`exact`], which hides
//! nothing; minus is U+2212 and groups of three are parted by U+202F, so that columns align and lines do not
//! break inside a number; every refusal code has words, an unknown one still gets an honest sentence.
//! Not here: markup (`parts`), decisions.

use domain::{Date, Timestamp};
use jiff::tz::TimeZone;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;
/// Parts groups of three digits: narrow and no line break.
const GROUP: char = '\u{202f}';
/// Between a number and its unit.
const NBSP: char = '\u{a0}';
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Days of the week, Monday first.
pub const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A site's time zone with its name; UTC where the name is unknown.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// The zone of that IANA name; UTC, and named so, where there is none.
    pub fn named(name: &str) -> Self {
        TimeZone::get(name).map_or_else(
            |_| Self::utc(),
            |zone| Self {
                name: name.to_owned(),
                zone,
            },
        )
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self {
            name: "UTC".to_owned(),
            zone: TimeZone::UTC,
        }
    }

    /// The IANA name, or `UTC`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The zone itself.
    pub fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The day of the week there, 1 is Monday, and the minute of the day.
    pub fn weekday_minute(&self, at: Timestamp) -> (u8, u16) {
        let local = self.at(at);
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        (local.weekday().to_monday_one_offset().unsigned_abs(), minute)
    }

    /// The instant as this zone's calendar and clock show it.
    pub fn at(&self, at: Timestamp) -> jiff::Zoned {
        jiff::Timestamp::from_microsecond(at.as_micros())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_zoned(self.zone.clone())
    }

    /// The instant of that civil time; in a gap or fold of the clock, the later offset's neighbour.
    pub fn instant(&self, civil: jiff::civil::DateTime) -> Option<Timestamp> {
        let zoned = civil.to_zoned(self.zone.clone()).ok()?;
        Timestamp::from_micros(zoned.timestamp().as_microsecond())
    }
}

/// `value` with that many decimals, U+2212 for minus, groups from 10 000 up.
pub fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let plain = format!("{:.*}", decimals, value.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut out = String::with_capacity(plain.len() + 8);
    // −0.04 rounded to one decimal is 0.0, without a sign.
    if value < 0.0 && plain.bytes().any(|b| b.is_ascii_digit() && b != b'0') {
        out.push('\u{2212}');
    }
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && whole.len() > 4 && (whole.len() - i).is_multiple_of(3) {
            out.push(GROUP);
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A count, position or tree size in groups of three.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + 8);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && digits.len() > 4 && (digits.len() - i).is_multiple_of(3) {
            out.push(GROUP);
        }
        out.push(digit);
    }
    out
}

/// `1 device`, `2 devices`.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{}{NBSP}{}", count(n), if n == 1 { one } else { many })
}

/// A file's size: `840 bytes`, `12.4 kB`, `1.2 GB` (powers of ten).
pub fn size(bytes: u64) -> String {
    let mut unit = None;
    let mut value = bytes as f64;
    for name in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = Some(name);
    }
    match unit {
        None => plural(bytes, "byte", "bytes"),
        Some(unit) => format!("{value:.1}{NBSP}{unit}"),
    }
}

/// How many decimals a value of this kind is shown with where it is a readout.
pub fn decimals(kind: &str) -> usize {
    match kind {
        "temperature" | "voltage" | "frequency" | "snr" | "humidity" => 1,
        "current" | "energy" | "energy_returned" | "flow" | "power_factor" | "battery_voltage" => 2,
        _ => 0,
    }
}

/// A readout without its unit, rounded as its kind deserves: `4.2`, `dry`.
pub fn value(kind: &str, value: f64) -> String {
    match kind {
        "leak" if value == 0.0 => "dry".to_owned(),
        "leak" if value == 1.0 => "leak".to_owned(),
        _ => number(value, decimals(kind)),
    }
}

/// A readout with its unit: `4.2 °C`, `dry`.
pub fn value_with_unit(kind: &str, v: f64, ucum: &str) -> String {
    let text = value(kind, v);
    let unit = unit(ucum);
    if unit.is_empty() || (kind == "leak" && (v == 0.0 || v == 1.0)) {
        text
    } else {
        format!("{text}{NBSP}{unit}")
    }
}

/// Every digit that the ledger holds: the shortest text that reads back as the same number.
pub fn exact(value: f64) -> String {
    let text = format!("{value}");
    text.replace('-', "\u{2212}")
}

/// A UCUM code as it is printed on an instrument.
pub fn unit(ucum: &str) -> &str {
    match ucum {
        "Cel" => "°C",
        "[degF]" => "°F",
        "1" => "",
        "V.A" => "VA",
        "V.A.h" => "VAh",
        "m3" => "m³",
        "ug/m3" => "µg/m³",
        other => other,
    }
}

/// A kind in words: `temperature`, `CO₂`.
pub fn kind(name: &str) -> &str {
    match name {
        "co2" => "CO₂",
        "apparent_power" => "apparent power",
        "battery_voltage" => "battery voltage",
        "energy_returned" => "energy returned",
        "power_factor" => "power factor",
        "reactive_power" => "reactive power",
        "rssi" => "signal (RSSI)",
        "signal" => "signal strength",
        "snr" => "signal to noise",
        other => other,
    }
}

/// A word with its first letter in upper case.
pub fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// A span in the two largest units that say enough: `42 s`, `3 min`, `3 h 12 min`, `2 d 4 h`.
pub fn span(us: i64) -> String {
    let us = us.max(0);
    let two = |big: i64, big_word: &str, small: i64, small_word: &str| {
        let (a, b) = (us / big, us % big / small);
        if b == 0 {
            format!("{a}{NBSP}{big_word}")
        } else {
            format!("{a}{NBSP}{big_word} {b}{NBSP}{small_word}")
        }
    };
    if us < MINUTE_US {
        format!("{}{NBSP}s", us / SECOND_US)
    } else if us < HOUR_US {
        format!("{}{NBSP}min", us / MINUTE_US)
    } else if us < DAY_US {
        two(HOUR_US, "h", MINUTE_US, "min")
    } else {
        two(DAY_US, "d", HOUR_US, "h")
    }
}

/// `just now`, `42 s ago`, `3 h 12 min ago`; a time ahead says `in 3 min`.
pub fn ago(now: Timestamp, at: Timestamp) -> String {
    let us = now.since(at);
    if us < -SECOND_US {
        format!("in {}", span(-us))
    } else if us < 2 * SECOND_US {
        "just now".to_owned()
    } else {
        format!("{} ago", span(us))
    }
}

/// How often, from a cadence in seconds: `every 5 min`, `every minute`.
pub fn every(cadence_s: u32) -> String {
    match i64::from(cadence_s) * SECOND_US {
        SECOND_US => "every second".to_owned(),
        MINUTE_US => "every minute".to_owned(),
        HOUR_US => "every hour".to_owned(),
        DAY_US => "every day".to_owned(),
        us => format!("every {}", span(us)),
    }
}

/// A time as a browser's field sends it, in a zone, or RFC 3339.
pub fn typed(text: &str, zone: &Zone) -> Option<Timestamp> {
    let civil: Result<jiff::civil::DateTime, _> = text.replace(' ', "T").parse();
    match Timestamp::parse_rfc3339(text) {
        Ok(at) => Some(at),
        Err(_) => zone.instant(civil.ok()?),
    }
}

/// As short as is unambiguous on `now`'s day: `14:03`, `yesterday 14:03`, `17 May 14:03`, `17 May 2025 14:03`.
pub fn moment(now: Timestamp, at: Timestamp, zone: &Zone) -> String {
    let (then, today) = (zone.at(at), zone.at(now));
    let clock = format!("{:02}:{:02}", then.hour(), then.minute());
    if then.date() == today.date() {
        return clock;
    }
    if today.date().yesterday().is_ok_and(|d| d == then.date()) {
        return format!("yesterday {clock}");
    }
    let date = day(then.date(), then.year() != today.year());
    format!("{date} {clock}")
}

/// Date, time to the second and offset: `2026-05-17 14:03:22 +02:00`.
pub fn stamp(at: Timestamp, zone: &Zone) -> String {
    zone.at(at).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Date and time to the minute: `17 May 2026 14:03`.
pub fn minute(at: Timestamp, zone: &Zone) -> String {
    let z = zone.at(at);
    format!("{} {:02}:{:02}", day(z.date(), true), z.hour(), z.minute())
}

fn day(date: jiff::civil::Date, with_year: bool) -> String {
    let month = month_short(date.month() as u32);
    if with_year {
        format!("{}{NBSP}{month}{NBSP}{}", date.day(), date.year())
    } else {
        format!("{}{NBSP}{month}", date.day())
    }
}

/// A day of a site: `Sun 17 May`.
pub fn civil_day(date: jiff::civil::Date) -> String {
    let weekday = WEEKDAYS[date.weekday().to_monday_zero_offset() as usize];
    format!("{weekday} {}", day(date, false))
}

/// A UTC day of the ledger: `Sun 17 May 2026`.
pub fn date(date: Date) -> String {
    let (year, month, d) = date.civil();
    format!("{} {d}{NBSP}{}{NBSP}{year}", weekday(date), month_short(month))
}

/// `Mon` to `Sun`.
pub fn weekday(date: Date) -> &'static str {
    // 1970-01-01 was a Thursday.
    WEEKDAYS[(date.days() + 3).rem_euclid(7) as usize]
}

/// Hours of days of the week, 1 is Monday: `Mon–Fri 08:00–18:00`, `every day 10:00–14:00`.
pub fn hours(days: &[u8], from: &str, to: &str) -> String {
    let name = |day: &u8| {
        WEEKDAYS
            .get(usize::from(*day).wrapping_sub(1))
            .copied()
            .unwrap_or("?")
    };
    let in_a_row = days.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let days = match (days, in_a_row) {
        ([1, 2, 3, 4, 5, 6, 7], _) => "every day".to_owned(),
        ([first, .., last], true) if days.len() > 2 => format!("{}–{}", name(first), name(last)),
        _ => days.iter().map(name).collect::<Vec<_>>().join(", "),
    };
    format!("{days} {from}–{to}")
}

/// `January` to `December`; `?` for a number that no month has.
pub fn month(number: u32) -> &'static str {
    number
        .checked_sub(1)
        .and_then(|i| MONTHS.get(i as usize))
        .copied()
        .unwrap_or("?")
}

/// `Jan` to `Dec`.
pub fn month_short(number: u32) -> &'static str {
    let name = month(number);
    &name[..name.len().min(3)]
}

/// A vertical preset in words.
pub fn vertical(code: &str) -> &str {
    match code {
        "haccp" => "Kitchen (HACCP)",
        "legionella" => "Hot water (Legionella)",
        "server-room" => "Server room",
        "climate" => "Indoor climate",
        "energy" => "Energy",
        other => other,
    }
}

/// A user's role in words, with what it may do.
pub fn role(code: &str) -> (&str, &'static str) {
    match code {
        "owner" => ("Owner", "sees and changes everything in this account"),
        "operator" => (
            "Operator",
            "sees everything, acknowledges and closes alarms, silences channels",
        ),
        "compliance" => (
            "Compliance",
            "sees everything, annotates and corrects readings, comments on alarms",
        ),
        "auditor" => ("Auditor", "sees everything in this account, changes nothing"),
        other => (other, ""),
    }
}

/// What a refusal code means, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// What happened, a sentence.
    pub meaning: &'static str,
    /// What to do, a sentence.
    pub remedy: &'static str,
}

/// The words for a refusal code; an unknown code says that its message is all there is.
pub fn refused(code: &str) -> Refused {
    let (meaning, remedy) = match code {
        "bad_json" => (
            "The body is not JSON.",
            "Look at the quotes and commas of what the device sends; “nan” without quotes is not JSON.",
        ),
        "invalid_measurement" => (
            "A measurement lacks its type or its value is not a number.",
            "Each measurement needs “type” and a numeric “value”.",
        ),
        "auth_required" => (
            "The request carried no token.",
            "Send “Authorization: Bearer ds_live_…”, or put the token into the URL as the device page shows it.",
        ),
        "token_invalid" => (
            "The token is unknown, mistyped or revoked.",
            "Copy it again, whole; if it is lost, rotate it on the device page and use the new one.",
        ),
        "token_expired" => (
            "The token's time is over.",
            "Use the token that replaced it, or rotate again.",
        ),
        "forbidden" => (
            "The token is valid, but not for this address.",
            "A device's token opens its own ingest address only.",
        ),
        "device_not_in_token" => (
            "The message names another device than the token belongs to.",
            "Send the local id that this device has here, or use the other device's token.",
        ),
        "account_suspended" => (
            "The account is suspended.",
            "Whoever runs this service can resume it.",
        ),
        "device_not_found" => (
            "The message names a device that is not registered in this account.",
            "Add the device, or correct the id that it sends.",
        ),
        "channel_not_found" => ("No such channel in this account.", "Correct the id."),
        "idempotency_conflict" => (
            "The same idempotency key came with another body.",
            "Use a new key for each message, and the same one only to repeat it.",
        ),
        "out_of_range" => (
            "A value is physically impossible for its kind.",
            "Look at the probe and its cable; a broken probe often sends a fixed value.",
        ),
        "unit_mismatch" => (
            "A value comes in another unit than its channel has.",
            "Nothing is converted here: set the device's unit, or give the value another label.",
        ),
        "derived_channel" => (
            "A value has the name of one that is made here of others.",
            "Give it another label on the device, or leave it out.",
        ),
        "unknown_kind" => (
            "It sends a type of value that is not known here.",
            "Correct the type that it sends: temperature, humidity, or another of those in the answer below.",
        ),
        "rate_limited" => (
            "It sends more messages a minute than it may.",
            "Send less often, or several readings in one message.",
        ),
        "clock_implausible" => (
            "This service's own clock could not be believed, so nothing was written.",
            "Set the server's clock; the device will be taken again by itself.",
        ),
        "disk" => (
            "The server's disk takes nothing, so nothing was written.",
            "Make room on it; writing goes on by itself, and the device may send again.",
        ),
        "behind" | "busy" | "rebuilding" | "stopping" | "unavailable" => (
            "The service could not take it at that moment.",
            "Let the device send again; if this goes on, “daybook doctor” on the server says why.",
        ),
        "ledger_damaged" => (
            "The ledger contradicts itself and takes nothing.",
            "Delete nothing; whoever runs this service must look, with “daybook verify”.",
        ),
        "too_large" | "too_many_reports" => (
            "The message is larger than one may be.",
            "Send fewer reports in one message.",
        ),
        "missing_device" => (
            "The message does not say which device it is from.",
            "The network server must send the device's ids with every uplink: leave its field mask empty.",
        ),
        "no_measurement" => (
            "There is no measurement in the message that can be used.",
            "Look at what the device sends: names and values of its measurements, as the device page shows them.",
        ),
        "unknown_format" => (
            "The message has none of the shapes that this address takes.",
            "Use the address made for this kind of device; each has its own.",
        ),
        "invalid_payload" => (
            "The radio frame in the message cannot be read.",
            "Its bytes must come as base64, as The Things Stack and ChirpStack send them.",
        ),
        "ttn_v2" => (
            "The message is in The Things Network's old format, version 2.",
            "Set up the webhook in The Things Stack, version 3.",
        ),
        "unevaluated_token" => (
            "The device sent a placeholder instead of a value.",
            "Copy the webhook address exactly, with its ${…}; the component it names must exist on the device.",
        ),
        _ => (
            "The message was refused.",
            "The answer that the device got is below.",
        ),
    };
    Refused { meaning, remedy }
}

/// What to do about a refusal: where nothing of a message could be used, about the first value that could not.
pub fn remedy(code: &str, message: &str) -> &'static str {
    let inner = message
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(why, _)| why);
    match (code, inner) {
        ("no_measurement", Some("not_a_number" | "null" | "missing")) => {
            "The device says that it has no value: look at the probe, its cable and its battery."
        }
        ("no_measurement", Some("sentinel" | "marked_invalid")) => {
            "The device sends the number that stands for a broken or absent probe: look at the probe and its cable."
        }
        ("no_measurement", Some("unknown_unit")) => {
            "Send the value in a unit that is known here, temperature as °C or °F."
        }
        ("no_measurement", Some(why @ ("unevaluated_token" | "out_of_range" | "unknown_kind"))) => {
            refused(why).remedy
        }
        _ => refused(code).remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time of the test")
    }

    #[test]
    fn numbers_are_grouped_signed_and_never_minus_zero() {
        for (v, d, expected) in [
            (4.25, 1, "4.2"),
            (-18.44, 1, "−18.4"),
            (-0.04, 1, "0.0"),
            (1234.0, 0, "1234"),
            (12345.6, 1, "12\u{202f}345.6"),
            (1e6, 0, "1\u{202f}000\u{202f}000"),
            (f64::NAN, 1, "–"),
        ] {
            assert_eq!(number(v, d), expected);
        }
        assert_eq!(count(1_204_332), "1\u{202f}204\u{202f}332");
        assert_eq!(exact(27.200000762939453), "27.200000762939453");
    }

    #[test]
    fn spans_say_two_units_at_most() {
        for (s, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (11_520, "3 h 12 min"),
            (187_200, "2 d 4 h"),
        ] {
            assert_eq!(span(s * SECOND_US).replace(NBSP, " "), expected);
        }
    }

    #[test]
    fn one_of_a_unit_is_the_unit() {
        for (s, expected) in [
            (60, "every minute"),
            (300, "every 5 min"),
            (3600, "every hour"),
            (5400, "every 1 h 30 min"),
        ] {
            assert_eq!(every(s).replace(NBSP, " "), expected);
        }
    }

    #[test]
    fn a_moment_is_as_short_as_its_day_allows() {
        let zone = Zone::named("Europe/Bratislava");
        let now = at("2026-05-17T12:03:22Z");
        for (t, expected) in [
            ("2026-05-17T12:03:00Z", "14:03"),
            ("2026-05-16T22:30:00Z", "00:30"),
            ("2026-05-16T12:00:00Z", "yesterday 14:00"),
            ("2026-05-02T12:00:00Z", "2 May 14:00"),
            ("2025-12-31T12:00:00Z", "31 Dec 2025 13:00"),
        ] {
            assert_eq!(moment(now, at(t), &zone).replace(NBSP, " "), expected);
        }
        assert_eq!(stamp(now, &zone), "2026-05-17 14:03:22 +02:00");
    }

    #[test]
    fn an_unknown_zone_is_utc_and_says_so() {
        let zone = Zone::named("Mars/Olympus");
        assert_eq!(zone.name(), "UTC");
        assert_eq!(
            stamp(at("2026-05-17T12:00:00Z"), &zone),
            "2026-05-17 12:00:00 +00:00"
        );
    }

    #[test]
    fn every_code_that_a_device_is_told_has_words_of_its_own() {
        let unknown = refused("frobnicated");
        for code in [
            "bad_json",
            "invalid_measurement",
            "auth_required",
            "token_invalid",
            "token_expired",
            "forbidden",
            "device_not_in_token",
            "account_suspended",
            "device_not_found",
            "channel_not_found",
            "idempotency_conflict",
            "out_of_range",
            "unknown_kind",
            "rate_limited",
            "disk",
            "behind",
            "ledger_damaged",
            "too_large",
            "too_many_reports",
            "missing_device",
            "no_measurement",
            "unknown_format",
            "invalid_payload",
            "ttn_v2",
        ] {
            assert_ne!(refused(code), unknown, "{code}");
        }
    }

    #[test]
    fn what_to_do_follows_from_the_value_that_could_not_be_used() {
        let about = |why: &str| {
            remedy(
                "no_measurement",
                &format!("no measurement left: temperature \"x\" ({why})"),
            )
        };
        assert_eq!(about("unevaluated_token"), refused("unevaluated_token").remedy);
        assert_eq!(about("out_of_range"), refused("out_of_range").remedy);
        assert!(about("not_a_number").contains("probe"));
        assert_eq!(about("something new"), refused("no_measurement").remedy);
        assert_eq!(
            remedy("bad_json", "not valid (sentinel)"),
            refused("bad_json").remedy
        );
    }

    #[test]
    fn weekdays_follow_the_calendar() {
        let d = Date::parse("2026-05-17").expect("a day of the test");
        assert_eq!(weekday(d), "Sun");
        assert_eq!(weekday(Date::from_days(0)), "Thu");
    }

    #[test]
    fn a_typed_time_is_of_its_zone_unless_it_says_its_own() {
        let zone = Zone::named("Europe/Bratislava");
        for (text, expected) in [
            ("2026-05-17T08:00", Some("2026-05-17T06:00:00.000000Z")),
            ("2026-05-17 08:00", Some("2026-05-17T06:00:00.000000Z")),
            ("2026-05-17T08:00:00Z", Some("2026-05-17T08:00:00.000000Z")),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(
                typed(text, &zone).map(|at| at.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
