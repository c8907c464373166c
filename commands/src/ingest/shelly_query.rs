//! Shelly values in a query string: the first generation's report URL and the webhooks of later ones.
//!
//! Names are the user's choice on webhooks, so the usual ones are all known. The first generation appends its
//! own `hum`, `temp`, `id` to what the URL already has, so the last of two equal names counts; `device` (ours)
//! counts before `id` (the vendor's).
//! `battery` has no unit here and is percent on the first generation, volts on the third: a value written with
//! decimals and not above [`BATTERY_VOLTS_MAX`] is volts (`battery_voltage`), anything else is percent.
//! A template that was not filled in, `null` and `nan` are dropped; a request of which nothing is left is refused.
//! Not here: tokens, which the edge has taken out of the request before.

use super::decoded::{DecodeError, Decoded, DeviceHint, DropReason, Timed, WhoseClock};
use super::gather::{Channel, Gather};
use super::{json, shelly, units};
use domain::Timestamp;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Four fresh AA lithium cells give 7.2 V, the most that any of these devices runs on.
const BATTERY_VOLTS_MAX: f64 = 7.5;
/// More parameters than any template has.
const PAIRS_MAX: usize = 64;

/// Names and values, decoded.
pub(super) type Pairs = Vec<(String, String)>;

/// What a parameter's value is.
#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    Is(&'static str),
    Fahrenheit,
    Battery,
}

/// Every name that carries a value, lower-case.
const NAMES: &[(&str, Meaning)] = &[
    ("temp", Meaning::Is("temperature")),
    ("temperature", Meaning::Is("temperature")),
    ("t", Meaning::Is("temperature")),
    ("tc", Meaning::Is("temperature")),
    ("tf", Meaning::Fahrenheit),
    ("hum", Meaning::Is("humidity")),
    ("humidity", Meaning::Is("humidity")),
    ("rh", Meaning::Is("humidity")),
    ("h", Meaning::Is("humidity")),
    ("battery", Meaning::Battery),
    ("bat", Meaning::Battery),
    ("batt", Meaning::Battery),
    ("batv", Meaning::Is("battery_voltage")),
    ("battery_voltage", Meaning::Is("battery_voltage")),
    ("signal", Meaning::Is("rssi")),
    ("rssi", Meaning::Is("rssi")),
    ("flood", Meaning::Is("leak")),
    ("leak", Meaning::Is("leak")),
    ("lux", Meaning::Is("illuminance")),
    ("power", Meaning::Is("power")),
    ("apower", Meaning::Is("power")),
    ("act_power", Meaning::Is("power")),
    ("voltage", Meaning::Is("voltage")),
    ("current", Meaning::Is("current")),
];

/// Splits a query string.
pub(super) fn pairs(query: &str) -> Pairs {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let parts = query.split('&').filter(|part| !part.is_empty()).take(PAIRS_MAX);
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

/// The device that a query names.
pub(super) fn device(pairs: &[(String, String)]) -> Option<DeviceHint> {
    let ours = last(pairs, "device").and_then(shelly::local);
    ours.or_else(|| shelly::makers_name(last(pairs, "id")?))
}

fn last<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .rev()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Decodes the parameters of one request.
pub(super) fn decode(pairs: &[(String, String)]) -> Result<Decoded, DecodeError> {
    let device = device(pairs);
    let mut gather = Gather::default();
    let at = time(pairs, &mut gather);
    for (meaning, value) in values(pairs) {
        take(&mut gather, meaning, value, at);
    }
    if !gather.measurements.is_empty() {
        return Ok(Decoded::Reports(vec![gather.report(device, None, None)?]));
    }
    if let Some(lwt) = last(pairs, "lwt") {
        let why = format!("availability only: {}", json::clip(lwt));
        return Ok(Decoded::Nothing {
            why: Cow::Owned(why),
            device,
            dropped: gather.dropped,
        });
    }
    let message = if gather.dropped.is_empty() {
        "no measurement: send temp (°C) and/or hum (%)".to_owned()
    } else {
        format!("no measurement left: {}", gather.why_dropped())
    };
    Err(json::rejected("no_measurement", message))
}

/// One value a meaning; Fahrenheit only where there is no Celsius.
fn values(pairs: &[(String, String)]) -> Vec<(Meaning, &str)> {
    let mut values: Vec<(Meaning, &str)> = Vec::new();
    for (key, value) in pairs {
        let Some((_, meaning)) = NAMES.iter().find(|(name, _)| key.eq_ignore_ascii_case(name)) else {
            continue;
        };
        match values.iter_mut().find(|(known, _)| known == meaning) {
            Some(slot) => slot.1 = value,
            None => values.push((*meaning, value)),
        }
    }
    if values
        .iter()
        .any(|(meaning, _)| *meaning == Meaning::Is("temperature"))
    {
        values.retain(|(meaning, _)| *meaning != Meaning::Fahrenheit);
    }
    values
}

fn take(gather: &mut Gather, meaning: Meaning, text: &str, at: Option<Timed>) {
    let kind = match meaning {
        Meaning::Is(kind) => kind,
        Meaning::Fahrenheit => "temperature",
        Meaning::Battery => "battery",
    };
    let value = match json::number_in(&truth(kind, text)) {
        Ok(value) => value,
        Err(reason) => return gather.drop_text(kind, text, reason),
    };
    let channel = |kind| Channel {
        kind,
        label: None,
        at,
    };
    match meaning {
        Meaning::Fahrenheit => gather.take_in(channel(kind), value, units::spelled("[degF]")),
        Meaning::Battery if text.contains('.') && value <= BATTERY_VOLTS_MAX => {
            gather.take(channel("battery_voltage"), value);
        }
        _ => shelly::take(gather, channel(kind), value),
    }
}

/// `flood=true` is a 1.
fn truth<'a>(kind: &str, text: &'a str) -> Cow<'a, str> {
    match (kind, text.trim()) {
        ("leak", "true") => Cow::Borrowed("1"),
        ("leak", "false") => Cow::Borrowed("0"),
        _ => Cow::Borrowed(text),
    }
}

/// RFC 3339, or Unix seconds as a webhook's template gives them. A time that cannot be read costs no reading.
fn time(pairs: &[(String, String)], gather: &mut Gather) -> Option<Timed> {
    let text = last(pairs, "ts").filter(|text| !text.is_empty())?;
    // A plus sign of an offset that nobody encoded has become a space.
    let repaired = text.trim().replace(' ', "+");
    let at = Timestamp::parse_rfc3339(text.trim())
        .or_else(|_| Timestamp::parse_rfc3339(&repaired))
        .ok()
        .or_else(|| json::number_in(text).ok().and_then(json::unix_seconds));
    if at.is_none() {
        let reason = json::number_in(text)
            .err()
            .filter(|r| *r == DropReason::UnevaluatedToken);
        gather.drop_text("ts", text, reason.unwrap_or(DropReason::NotATime));
    }
    at.map(|at| Timed {
        at,
        clock: WhoseClock::Device,
    })
}
