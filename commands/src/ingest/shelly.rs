//! Shelly devices over HTTP: which of their formats a request is, and what their sensors cannot mean.
//!
//! Four shapes arrive at one address: the query of a report URL or webhook (`shelly_query`), the JSON-RPC
//! status of the second and third generation (`shelly_rpc`), the `/status` dump of the first (`shelly_gen1`), and
//! a flat object with the query's names, which is read as a query.
//! Source: the vendor's API documents and payloads seen in the wild. Not here: MQTT topics, CoIoT.

use super::decoded::{DEVICE_CHARS_MAX, DecodeError, Decoded, DeviceHint, DropReason};
use super::gather::{Channel, Gather};
use super::{json, shelly_gen1, shelly_query, shelly_rpc};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What the sensors' documents give as their range, in Celsius: add-on probes reach further than an H&T.
const TEMPERATURE_RANGE: std::ops::RangeInclusive<f64> = -55.0..=125.0;
/// "No sensor", for every quantity (CoIoT document).
const NO_SENSOR: f64 = 999.0;
/// A battery whose charge is not known (CoIoT document).
const UNKNOWN_BATTERY: f64 = -1.0;
/// A DS18B20 that has lost its wire.
const LOST_PROBE: f64 = -127.0;

/// Decodes a request to the Shelly address: its query string, without `?`, and its body, empty for a GET.
///
/// # Errors
/// `bad_json`, `unknown_format`, and `no_measurement` where nothing usable is left and the request was no event.
pub fn decode(query: &str, body: &[u8]) -> Result<Decoded, DecodeError> {
    match body.iter().find(|b| !b.is_ascii_whitespace()) {
        None => shelly_query::decode(&shelly_query::pairs(query)),
        Some(b'{') => decode_object(query, &json::object(body)?),
        Some(_) => decode_form(query, body),
    }
}

fn decode_object(query: &str, object: &Map<String, Value>) -> Result<Decoded, DecodeError> {
    let named = shelly_query::device(&shelly_query::pairs(query));
    if shelly_rpc::is_one(object) {
        return shelly_rpc::decode(object, named);
    }
    if shelly_gen1::is_one(object) {
        return shelly_gen1::decode(object, named);
    }
    let flat: Option<Vec<_>> = object
        .iter()
        .map(|(k, v)| Some((k.clone(), scalar(v)?)))
        .collect();
    match flat {
        Some(mut pairs) if !pairs.is_empty() => {
            pairs.extend(shelly_query::pairs(query));
            shelly_query::decode(&pairs)
        }
        _ => Err(json::rejected(
            "unknown_format",
            "this is no status of a Shelly: send a report URL's query, a NotifyStatus, NotifyFullStatus or \
             Shelly.GetStatus object, or a first-generation /status",
        )),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

/// A form is a query that came as a body.
fn decode_form(query: &str, body: &[u8]) -> Result<Decoded, DecodeError> {
    let form = std::str::from_utf8(body)
        .ok()
        .filter(|text| text.contains('=') && !text.contains(['{', '[', '<']));
    let Some(form) = form else {
        return Err(DecodeError::Malformed {
            code: "bad_json",
            message: "the body must be a JSON object or a form".to_owned(),
        });
    };
    let mut pairs = shelly_query::pairs(query);
    pairs.extend(shelly_query::pairs(form.trim()));
    shelly_query::decode(&pairs)
}

/// Takes a value that a Shelly reports, unless it stands for "no sensor" or is outside what its sensors measure.
pub(super) fn take(gather: &mut Gather, channel: Channel<'_>, value: f64) {
    let reason = match channel.kind {
        "temperature" if value == NO_SENSOR || value == LOST_PROBE => Some(DropReason::Sentinel),
        "temperature" if !TEMPERATURE_RANGE.contains(&value) => Some(DropReason::OutOfRange),
        "humidity" if value == NO_SENSOR => Some(DropReason::Sentinel),
        "battery" if value == UNKNOWN_BATTERY => Some(DropReason::Sentinel),
        _ => None,
    };
    match reason {
        Some(reason) => gather.drop_text(channel.kind, &value.to_string(), reason),
        None => gather.take(channel, value),
    }
}

/// Takes a member of a status object, where it is there; null and text are dropped with a reason.
pub(super) fn take_json(gather: &mut Gather, channel: Channel<'_>, value: Option<&Value>) {
    let Some(value) = value else { return };
    match json::number(value) {
        Ok(number) => take(gather, channel, number),
        Err(reason) => gather.drop_json(channel.kind, value, reason),
    }
}

/// Counters of energy are watt-hours on the wire.
pub(super) fn take_watt_hours(gather: &mut Gather, channel: Channel<'_>, value: Option<&Value>) {
    let Some(value) = value else { return };
    match json::number(value) {
        Ok(number) => gather.take(channel, number / 1000.0),
        Err(reason) => gather.drop_json(channel.kind, value, reason),
    }
}

/// A status without a measurement is well-formed all the same: most components are no sensors.
pub(super) fn finish(
    gather: Gather,
    device: Option<DeviceHint>,
    why: &'static str,
) -> Result<Decoded, DecodeError> {
    let report = gather.report(device, None, None)?;
    if report.measurements.is_empty() {
        return Ok(Decoded::Nothing {
            why: Cow::Borrowed(why),
            device: report.device,
            dropped: report.dropped,
        });
    }
    Ok(Decoded::Reports(vec![report]))
}

/// An id in a payload, where it can be one.
pub(super) fn local(id: &str) -> Option<DeviceHint> {
    let id = id.trim();
    let fits =
        !id.is_empty() && id.chars().nth(DEVICE_CHARS_MAX).is_none() && !id.chars().any(char::is_control);
    fits.then(|| DeviceHint::Local(id.to_owned()))
}

/// The name that the device has from its maker, such as `shellyht-1BDD1B`.
pub(super) fn makers_name(id: &str) -> Option<DeviceHint> {
    local(id).map(|hint| DeviceHint::Serial(hint.as_str().to_owned()))
}

/// The MAC that a status carries.
pub(super) fn serial(mac: Option<&Value>) -> Option<DeviceHint> {
    let mac: String = mac?
        .as_str()?
        .chars()
        .filter(|c| !matches!(c, ':' | '-'))
        .collect();
    let fits = mac.len() == 12 && mac.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| DeviceHint::Serial(mac.to_ascii_uppercase()))
}
