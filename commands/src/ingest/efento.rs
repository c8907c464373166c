//! Efento's gateway, API version 2: `POST /api/v2/measurements`.
//!
//! A gateway sends what many loggers measured, one entry a logger with a handle, and repeats every handle that is
//! not answered for ever. So every entry becomes a report, even one of which nothing can be used.
//! `measured_at` is UTC without a zone. A channel's label is its number. `battery` is `ok` or `low`, no number: `low`
//! is kept among the dropped.
//! Source: the gateway's manual. Not here: NB-IoT loggers' CoAP and Protobuf, the answer (`{"Y": […]}`).

use super::decoded::{DecodeError, Decoded, DeviceHint, DropReason, REPORTS_MAX, Report, Timed, WhoseClock};
use super::gather::{Channel, Gather};
use super::{json, units};
use domain::{Timestamp, kinds};
use serde_json::Value;

/// The gateway's names of quantities where they differ from the kinds.
const TYPES: &[(&str, &str)] = &[
    ("atmospheric_pressure", "pressure"),
    ("flooding", "leak"),
    ("flood", "leak"),
    ("ambient_light", "illuminance"),
];

/// Decodes one request of a gateway.
///
/// # Errors
/// `bad_json`, `unknown_format` where there is no list of measurements, `too_many_reports`.
pub fn decode(body: &[u8]) -> Result<Decoded, DecodeError> {
    let object = json::object(body)?;
    let Some(Value::Array(entries)) = object.get("measurements") else {
        let message = if object.contains_key("reports") {
            "this is a logger's own Protobuf report, which is not read here: send it through a gateway (API v2)"
        } else {
            "measurements must be a list, as gateway API version 2 has it"
        };
        return Err(json::rejected("unknown_format", message));
    };
    if entries.is_empty() || entries.len() > REPORTS_MAX {
        let message = format!(
            "measurements must have 1 to {REPORTS_MAX} entries, not {}",
            entries.len()
        );
        return Err(json::rejected("too_many_reports", message));
    }
    entries
        .iter()
        .map(report)
        .collect::<Result<_, _>>()
        .map(Decoded::Reports)
}

fn report(entry: &Value) -> Result<Report, DecodeError> {
    let mut gather = Gather::default();
    let at = time(&mut gather, entry.get("measured_at"));
    let params = entry
        .get("params")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for param in params {
        take(&mut gather, param, at);
    }
    if let Some(signal) = entry.get("signal").filter(|signal| !signal.is_null()) {
        gather.take_json(
            Channel {
                kind: "rssi",
                label: None,
                at,
            },
            signal,
        );
    }
    if let Some(battery) = entry.get("battery").filter(|b| b.as_str() == Some("low")) {
        gather.drop_json("battery", battery, DropReason::NotANumber);
    }
    let device = entry.get("serial").and_then(Value::as_str).and_then(serial);
    gather.report(device, None, entry.get("response_handle").and_then(Value::as_i64))
}

fn take(gather: &mut Gather, param: &Value, at: Option<Timed>) {
    let name = param.get("type").and_then(Value::as_str).unwrap_or_default();
    let value = param.get("value").unwrap_or(&Value::Null);
    let mapped = TYPES
        .iter()
        .find(|(theirs, _)| *theirs == name)
        .map_or(name, |(_, ours)| ours);
    let Some(kind) = kinds::find(mapped).filter(|kind| !kind.auxiliary) else {
        return gather.drop_json(
            if name.is_empty() { "?" } else { name },
            value,
            DropReason::UnknownKind,
        );
    };
    let label = match param.get("channel") {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let channel = Channel {
        kind: kind.name,
        label: label.as_deref(),
        at,
    };
    match param.get("unit").and_then(Value::as_str) {
        None => gather.take_json(channel, value),
        Some(text) => match (json::number(value), units::spelled(text)) {
            (Ok(number), Some(unit)) => gather.take_in(channel, number, Some(unit)),
            (Err(reason), _) => gather.drop_json(kind.name, value, reason),
            (Ok(_), None) => gather.drop_json(kind.name, value, DropReason::UnknownUnit),
        },
    }
}

/// UTC without a zone, as the gateway writes it; a zone that is there is honoured.
fn time(gather: &mut Gather, measured_at: Option<&Value>) -> Option<Timed> {
    let value = measured_at.filter(|value| !value.is_null())?;
    let text = value.as_str().unwrap_or_default().trim();
    let at = Timestamp::parse_rfc3339(text)
        .or_else(|_| Timestamp::parse_rfc3339(&format!("{}Z", json::clip(text))));
    match at {
        Ok(at) => Some(Timed {
            at,
            clock: WhoseClock::Device,
        }),
        Err(_) => {
            gather.drop_json("measured_at", value, DropReason::NotATime);
            None
        }
    }
}

fn serial(text: &str) -> Option<DeviceHint> {
    let serial: String = text.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect();
    let fits = (1..=32).contains(&serial.len()) && serial.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| DeviceHint::Serial(serial.to_ascii_uppercase()))
}
