//! What a codec's output measured.
//!
//! Without a unit a value has the kind's own. Values may be numbers, numbers as text, text with a unit
//! ("29.92 °C"), `{value, unit}`, or a list of one.
//! `battery` has no unit in most codecs: above 1,000 it is millivolts, a fraction from 1.5 to 4.5 is volts, else
//! percent.
//! Source: codecs of the public device repository, its schema of normalized payloads.
//! Not here: the envelopes (`tts`, `chirpstack`), the names (`lorawan_keys`).

use super::decoded::{DropReason, Timed, WhoseClock};
use super::gather::{Channel, Gather};
use super::json;
use super::lorawan_keys::{Meaning, meaning};
use super::units::{self, Unit};
use domain::{Timestamp, kinds};
use serde_json::{Map, Value};

/// Codecs wrap their output at most this often.
const DEPTH_MAX: u8 = 2;
/// Objects that only wrap.
const WRAPPERS: &[&str] = &["data", "measurements", "sensors", "readings", "values"];

/// All ones, the lowest, and their tenfold, in the two's complement of two bytes; and a lost DS18B20.
const NO_PROBE: &[f64] = &[327.67, 327.66, -327.68, 3276.7, -3276.8, 655.35, 6553.5, -127.0];

/// Takes what a codec's output measured, except kinds that `gather` mentions already.
pub(super) fn decoded(gather: &mut Gather, payload: &Value, at: Option<Timed>) {
    let mut own = Gather::default();
    if let Value::Object(payload) = payload {
        members(&mut own, payload, at, DEPTH_MAX);
    }
    own.measurements.retain(|m| !gather.mentions(m.kind.name));
    own.dropped.retain(|d| !gather.mentions(&d.channel));
    gather.absorb(own);
}

fn members(gather: &mut Gather, payload: &Map<String, Value>, at: Option<Timed>, depth: u8) {
    for (key, value) in payload {
        match value {
            Value::Object(inner) if depth > 0 && is_wrapper(key) => members(gather, inner, at, depth - 1),
            Value::Array(list) if depth > 0 && is_wrapper(key) => entries(gather, list, at, depth - 1),
            _ => member(gather, key, value, at),
        }
    }
}

fn is_wrapper(key: &str) -> bool {
    WRAPPERS.iter().any(|wrapper| key.eq_ignore_ascii_case(wrapper))
}

fn member(gather: &mut Gather, key: &str, value: &Value, at: Option<Timed>) {
    let Some(meaning) = meaning(key) else { return };
    let value = match value {
        Value::Array(list) if list.len() == 1 => &list[0],
        other => other,
    };
    match meaning {
        Meaning::Is(kind, label) => take(gather, Channel { kind, label, at }, key, value),
        Meaning::Chip => gather.drop_json("temperature", value, DropReason::ChipTemperature),
        Meaning::Fahrenheit if !gather.mentions("temperature") => {
            if let Ok(number) = json::number(value) {
                let channel = Channel {
                    kind: "temperature",
                    label: None,
                    at,
                };
                gather.take_in(channel, number, units::spelled("[degF]"));
            }
        }
        Meaning::OnlyWithUnit(kind) if split(value).is_some_and(|(_, unit)| unit.is_some()) => {
            take(
                gather,
                Channel {
                    kind,
                    label: None,
                    at,
                },
                key,
                value,
            );
        }
        Meaning::Fahrenheit | Meaning::OnlyWithUnit(_) => {}
    }
}

/// `measurements: [{type, value}]`, and a list of objects with one key each.
fn entries(gather: &mut Gather, list: &[Value], at: Option<Timed>, depth: u8) {
    for entry in list {
        let Value::Object(entry) = entry else { continue };
        let Some(kind) = entry.get("type").and_then(Value::as_str) else {
            members(gather, entry, at, depth);
            continue;
        };
        let value = entry.get("value").unwrap_or(&Value::Null);
        let known = kinds::find(kind)
            .map(|kind| Meaning::Is(kind.name, None))
            .or_else(|| meaning(kind));
        let (kind, label) = match known {
            Some(Meaning::Is(kind, label)) => (kind, label),
            Some(Meaning::OnlyWithUnit(kind)) => (kind, None),
            _ => {
                gather.drop_json(kind, value, DropReason::UnknownKind);
                continue;
            }
        };
        let label = entry
            .get("label")
            .and_then(Value::as_str)
            .filter(|l| !l.trim().is_empty())
            .or(label);
        let channel = Channel { kind, label, at };
        match entry.get("unit").and_then(Value::as_str) {
            Some(unit) => take_with(gather, channel, kind, value, Some(unit)),
            None => take(gather, channel, kind, value),
        }
    }
}

fn take(gather: &mut Gather, channel: Channel<'_>, key: &str, value: &Value) {
    match split(value).filter(|_| channel.kind != "leak" || value.is_object()) {
        Some((number, unit)) => take_with(gather, channel, key, &number, unit),
        None => take_with(gather, channel, key, value, None),
    }
}

/// The number of a value and the unit beside it, where there is one.
fn split(value: &Value) -> Option<(Value, Option<&str>)> {
    match value {
        Value::Object(object) => Some((
            object.get("value")?.clone(),
            object.get("unit").and_then(Value::as_str),
        )),
        Value::String(text) if json::number_in(text).is_err() => {
            let (number, unit) = text
                .trim()
                .split_once(char::is_whitespace)
                .or_else(|| unit_glued(text.trim()))?;
            let unit = unit.trim();
            (!unit.is_empty()).then(|| (Value::String(number.to_owned()), Some(unit)))
        }
        _ => None,
    }
}

/// "21.5°C": where the number ends and the unit begins.
fn unit_glued(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+'))?;
    (end > 0).then(|| text.split_at(end))
}

fn take_with(gather: &mut Gather, channel: Channel<'_>, key: &str, value: &Value, unit: Option<&str>) {
    let number = match number(channel.kind, value) {
        Ok(number) => number,
        Err(reason) => return gather.drop_json(channel.kind, value, reason),
    };
    let unit = match unit.map(str::trim).filter(|unit| !unit.is_empty()) {
        None => None,
        Some(text) => match units::spelled(text) {
            Some(unit) => Some(unit),
            None => {
                return gather.drop_text(channel.kind, &format!("{number} {text}"), DropReason::UnknownUnit);
            }
        },
    };
    if channel.kind == "temperature" && is_no_probe(key, number) {
        return gather.drop_json(channel.kind, value, DropReason::Sentinel);
    }
    let (kind, number, unit) = battery(channel.kind, number, unit);
    gather.take_in(Channel { kind, ..channel }, number, unit);
}

fn number(kind: &str, value: &Value) -> Result<f64, DropReason> {
    if kind != "leak" {
        return json::number(value);
    }
    let text = match value {
        Value::Bool(leak) => return Ok(f64::from(u8::from(*leak))),
        Value::String(text) => text.trim().to_ascii_lowercase(),
        other => return json::number(other),
    };
    match text.as_str() {
        "leak" | "leaking" | "water leak" | "wet" | "alarm" | "true" | "yes" => Ok(1.0),
        "normal" | "no leak" | "dry" | "ok" | "false" | "no" => Ok(0.0),
        other => json::number_in(other),
    }
}

/// A probe that is not there. The DS18B20 input of one vendor's boards reads exactly 0 then, which no real
/// measurement at its sixteenth of a degree can be told from: it is dropped for that key alone.
fn is_no_probe(key: &str, value: f64) -> bool {
    NO_PROBE.contains(&value) || (value == 0.0 && key.eq_ignore_ascii_case("TempC_DS18B20"))
}

/// Which of percent, volts and millivolts a battery is given in.
fn battery<'a>(
    kind: &'a str,
    value: f64,
    unit: Option<&'static Unit>,
) -> (&'a str, f64, Option<&'static Unit>) {
    match (kind, unit) {
        ("battery", Some(unit)) if unit.of == "V" => ("battery_voltage", value, Some(unit)),
        ("battery", None) if value > 1000.0 => ("battery_voltage", value, units::spelled("mV")),
        ("battery", None) if value.fract() != 0.0 && (1.5..=4.5).contains(&value) => {
            ("battery_voltage", value, None)
        }
        ("battery_voltage", None) if value > 1000.0 => ("battery_voltage", value, units::spelled("mV")),
        _ => (kind, value, unit),
    }
}

/// Takes a normalized payload: a list of measurements, or one.
pub(super) fn normalized(gather: &mut Gather, payload: &Value, at: Option<Timed>) {
    match payload {
        Value::Array(list) => list.iter().for_each(|entry| normalized_entry(gather, entry, at)),
        entry => normalized_entry(gather, entry, at),
    }
}

fn normalized_entry(gather: &mut Gather, entry: &Value, at: Option<Timed>) {
    let own = entry
        .get("time")
        .and_then(Value::as_str)
        .and_then(|text| Timestamp::parse_rfc3339(text).ok());
    let at = own
        .map(|at| Timed {
            at,
            clock: WhoseClock::Device,
        })
        .or(at);
    let air = entry.get("air");
    let place = air
        .and_then(|air| air.get("location"))
        .and_then(Value::as_str)
        .filter(|l| !l.is_empty());
    let members = [
        ("air", "temperature", "temperature", place),
        ("air", "relativeHumidity", "humidity", place),
        ("air", "pressure", "pressure", place),
        ("air", "co2", "co2", place),
        ("air", "lightIntensity", "illuminance", place),
        ("soil", "temperature", "temperature", Some("soil")),
        ("water", "leak", "leak", None),
    ];
    for (group, member, kind, label) in members {
        if let Some(value) = entry.get(group).and_then(|group| group.get(member)) {
            take_with(gather, Channel { kind, label, at }, member, value, None);
        }
    }
    let water = entry.get("water").and_then(|water| water.get("temperature"));
    if let Some(value) = water
        .and_then(|t| t.get("current").or(Some(t)))
        .filter(|value| !value.is_object())
    {
        take_with(
            gather,
            Channel {
                kind: "temperature",
                label: Some("water"),
                at,
            },
            "water",
            value,
            None,
        );
    }
    if let Some(value) = entry.get("battery") {
        take_with(
            gather,
            Channel {
                kind: "battery_voltage",
                label: None,
                at,
            },
            "battery",
            value,
            None,
        );
    }
}
