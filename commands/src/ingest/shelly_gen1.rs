//! The `/status` object of Shelly's first generation, as a poller or relay sends it on.
//!
//! Labels: clamps and meters have their index, add-on probes their key. `is_valid: false` is honoured. `tmp` and
//! `temperature` of anything that switches or meters are its chip. A clamp's `total` is in watt-hours, a relay's
//! meter `total` in watt-minutes.
//! Source: the vendor's first-generation API document. Not here: MQTT topics, CoIoT.

use super::decoded::{DecodeError, Decoded, DeviceHint, DropReason, Timed, WhoseClock};
use super::gather::{Channel, Gather};
use super::{json, shelly};
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// Watt-minutes in a kilowatt-hour.
const WATT_MINUTES: f64 = 60_000.0;

/// Whether this object is such a status.
pub(super) fn is_one(object: &Object) -> bool {
    let nested = |key: &str| object.get(key).is_some_and(|v| v.is_object() || v.is_array());
    [
        "tmp",
        "hum",
        "bat",
        "emeters",
        "meters",
        "wifi_sta",
        "ext_temperature",
    ]
    .iter()
    .any(|key| nested(key))
}

/// Decodes one status; `named` is the device that the query names.
pub(super) fn decode(object: &Object, named: Option<DeviceHint>) -> Result<Decoded, DecodeError> {
    let device = named.or_else(|| shelly::serial(object.get("mac")));
    // 0 is a clock that was never set.
    let at = object
        .get("unixtime")
        .and_then(Value::as_f64)
        .filter(|s| *s > 0.0)
        .and_then(json::unix_seconds);
    let at = at.map(|at| Timed {
        at,
        clock: WhoseClock::Device,
    });
    let mut gather = Gather::default();
    climate(&mut gather, object, at);
    clamps(&mut gather, object, at);
    meters(&mut gather, object, at);
    if !gather.measurements.is_empty() {
        let rssi = object.get("wifi_sta").and_then(|wifi| wifi.get("rssi"));
        let channel = Channel {
            kind: "rssi",
            label: None,
            at,
        };
        shelly::take_json(&mut gather, channel, rssi.filter(|rssi| rssi.is_number()));
    }
    shelly::finish(gather, device, "a status without a measurement")
}

fn climate(gather: &mut Gather, object: &Object, at: Option<Timed>) {
    let channel = |kind| Channel {
        kind,
        label: None,
        at,
    };
    let chip = ["relays", "meters", "emeters", "lights", "overtemperature"]
        .iter()
        .any(|k| object.contains_key(*k));
    if let Some(tmp) = object.get("tmp") {
        if chip {
            gather.drop_json(
                "temperature",
                tmp.get("tC").unwrap_or(tmp),
                DropReason::ChipTemperature,
            );
        } else {
            valid(gather, channel("temperature"), tmp, "tC");
        }
    }
    if let Some(hum) = object.get("hum") {
        valid(gather, channel("humidity"), hum, "value");
    }
    if let Some(lux) = object.get("lux") {
        valid(gather, channel("illuminance"), lux, "value");
    }
    if let Some(flood) = object.get("flood").and_then(Value::as_bool) {
        gather.take(channel("leak"), f64::from(u8::from(flood)));
    }
    if let Some(bat) = object.get("bat") {
        shelly::take_json(gather, channel("battery"), bat.get("value"));
        shelly::take_json(gather, channel("battery_voltage"), bat.get("voltage"));
    }
    if let Some(Value::Object(probes)) = object.get("ext_temperature") {
        for (index, probe) in probes {
            let channel = Channel {
                kind: "temperature",
                label: Some(index),
                at,
            };
            shelly::take_json(gather, channel, probe.get("tC"));
        }
    }
}

/// Takes `value[key]` unless the device says that it is invalid.
fn valid(gather: &mut Gather, channel: Channel<'_>, value: &Value, key: &str) {
    match value.get(key) {
        Some(number) if value.get("is_valid") == Some(&Value::Bool(false)) => {
            gather.drop_json(channel.kind, number, DropReason::MarkedInvalid);
        }
        number => shelly::take_json(gather, channel, number),
    }
}

fn list<'a>(object: &'a Object, key: &str) -> impl Iterator<Item = (String, &'a Value)> {
    let items = object
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    items.iter().enumerate().map(|(i, item)| (i.to_string(), item))
}

fn clamps(gather: &mut Gather, object: &Object, at: Option<Timed>) {
    for (label, clamp) in list(object, "emeters") {
        let channel = |kind| Channel {
            kind,
            label: Some(&label),
            at,
        };
        let members = [
            ("power", "power"),
            ("reactive_power", "reactive"),
            ("voltage", "voltage"),
            ("current", "current"),
            ("power_factor", "pf"),
        ];
        for (kind, key) in members {
            valid(gather, channel(kind), clamp, key);
        }
        // A counter stays true while its clamp's momentary values are not.
        shelly::take_watt_hours(gather, channel("energy"), clamp.get("total"));
        shelly::take_watt_hours(gather, channel("energy_returned"), clamp.get("total_returned"));
    }
    if let Some(neutral) = object.get("emeter_n") {
        valid(
            gather,
            Channel {
                kind: "current",
                label: Some("n"),
                at,
            },
            neutral,
            "current",
        );
    }
    if object.contains_key("emeters") {
        let total = Channel {
            kind: "power",
            label: Some("total"),
            at,
        };
        shelly::take_json(gather, total, object.get("total_power"));
    }
}

fn meters(gather: &mut Gather, object: &Object, at: Option<Timed>) {
    for (label, meter) in list(object, "meters") {
        // Devices that only switch list a meter that has measured nothing.
        if meter.get("is_valid") == Some(&Value::Bool(false)) || meter.get("total").is_none() {
            continue;
        }
        let channel = |kind| Channel {
            kind,
            label: Some(&label),
            at,
        };
        shelly::take_json(gather, channel("power"), meter.get("power"));
        match meter.get("total").map(json::number) {
            Some(Ok(total)) => gather.take(channel("energy"), total / WATT_MINUTES),
            _ => gather.drop_json(
                "energy",
                meter.get("total").unwrap_or(&Value::Null),
                DropReason::NotANumber,
            ),
        }
    }
}
