//! Status objects of Shelly's second generation and later: `NotifyStatus`, `NotifyFullStatus`, `Shelly.GetStatus`.
//!
//! A status is a map of components, `name:id`, under `params` (notification), `result` (answer) or bare.
//! Labels: a meter's channel has its id, a three-phase meter `a`, `b`, `c`, `n`, `total`; a thermometer or
//! hygrometer has its id unless that is 0.
//! Traps: `temperature:0` of a meter or switch is its chip (an add-on's probes count from 100); energy is in
//! watt-hours; `sys.unixtime` is null after a deep sleep although `params.ts` is there, and the other way round.
//! A phase's counter of returned energy that stands at exactly 0 has never run, and opens no channel; the total
//! is always taken.
//! Source: Shelly's API documents for these components. Not here: `NotifyEvent`, whose records are intervals.

use super::decoded::{DecodeError, Decoded, DeviceHint, DropReason, Timed, WhoseClock};
use super::gather::{Channel, Gather};
use super::{json, shelly};
use domain::Timestamp;
use serde_json::{Map, Value};
use std::borrow::Cow;

type Object = Map<String, Value>;

/// Probes of an add-on count from here.
const ADD_ON_ID_MIN: u32 = 100;
/// Components that make a device a meter or a switch, whose `temperature:0` is its chip.
const POWERED: &[&str] = &[
    "em", "emdata", "em1", "em1data", "pm1", "switch", "cover", "light",
];

/// Whether this object is a message of this family.
pub(super) fn is_one(object: &Object) -> bool {
    ["params", "result", "method"]
        .iter()
        .any(|key| object.contains_key(*key))
        || object.get("sys").is_some_and(Value::is_object)
        || object.keys().any(|key| component(key).is_some())
        || (object.contains_key("src") && object.contains_key("error"))
}

/// Decodes one message; `named` is the device that the query names, which overrides the message's own.
pub(super) fn decode(object: &Object, named: Option<DeviceHint>) -> Result<Decoded, DecodeError> {
    let status = ["params", "result"].iter().find_map(|key| object.get(*key));
    let status = match status {
        Some(Value::Object(status)) => status,
        Some(_) => {
            return Ok(nothing(
                "a message without a status",
                named.or_else(|| source(object, None)),
            ));
        }
        None => object,
    };
    let device = named.or_else(|| source(object, Some(status)));
    match object.get("method").and_then(Value::as_str) {
        Some("NotifyStatus" | "NotifyFullStatus") | None => {}
        Some("NotifyEvent") => return Ok(nothing("an event, not a status", device)),
        Some(_) => return Ok(nothing("a message that is no status", device)),
    }
    let mut gather = Gather::default();
    let at = time(object, status).map(|at| Timed {
        at,
        clock: WhoseClock::Device,
    });
    for (key, value) in status {
        if let (Some((name, id)), Value::Object(value)) = (component(key), value) {
            take(&mut gather, (name, id), value, at, || is_chip(object, status, id));
        }
    }
    if !gather.measurements.is_empty() {
        let rssi = status.get("wifi").and_then(|wifi| wifi.get("rssi"));
        let channel = Channel {
            kind: "rssi",
            label: None,
            at,
        };
        shelly::take_json(&mut gather, channel, rssi.filter(|rssi| rssi.is_number()));
    }
    shelly::finish(gather, device, "a status without a measurement")
}

fn nothing(why: &'static str, device: Option<DeviceHint>) -> Decoded {
    Decoded::Nothing {
        why: Cow::Borrowed(why),
        device,
        dropped: Vec::new(),
    }
}

fn source(object: &Object, status: Option<&Object>) -> Option<DeviceHint> {
    let src = object
        .get("src")
        .and_then(Value::as_str)
        .and_then(shelly::makers_name);
    src.or_else(|| shelly::serial(status?.get("sys")?.get("mac")))
}

/// The message's own clock, then the device's, then the relay's.
fn time(object: &Object, status: &Object) -> Option<Timestamp> {
    let candidates = [
        status.get("ts"),
        status.get("sys").and_then(|sys| sys.get("unixtime")),
        object.get("ts"),
    ];
    candidates
        .into_iter()
        .flatten()
        .find_map(|ts| ts.as_f64().and_then(json::unix_seconds))
}

/// `em1:0` is component `em1`, id 0.
fn component(key: &str) -> Option<(&str, u32)> {
    let (name, id) = key.split_once(':')?;
    let short = id.len() <= 4 && id.bytes().all(|b| b.is_ascii_digit());
    short.then(|| id.parse().ok()).flatten().map(|id| (name, id))
}

/// Whether `temperature:<id>` is the device's own electronics. A hygrometer or a battery beside it says that it
/// is not; a meter beside it, or a model's name that is no thermometer, says that it is.
fn is_chip(object: &Object, status: &Object, id: u32) -> bool {
    if id >= ADD_ON_ID_MIN {
        return false;
    }
    let has = |names: &[&str]| {
        status
            .keys()
            .filter_map(|k| component(k))
            .any(|(name, _)| names.contains(&name))
    };
    if has(POWERED) {
        return true;
    }
    if has(&["humidity", "devicepower"]) {
        return false;
    }
    let src = object
        .get("src")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let model = src.split('-').next().unwrap_or_default();
    model.starts_with("shelly") && !["ht", "walldisplay", "blu"].iter().any(|m| model.contains(m))
}

fn take(
    gather: &mut Gather,
    (name, id): (&str, u32),
    value: &Object,
    at: Option<Timed>,
    is_chip: impl Fn() -> bool,
) {
    let label = id.to_string();
    let numbered = |kind| Channel {
        kind,
        label: Some(&label),
        at,
    };
    let probe = |kind| Channel {
        kind,
        label: (id != 0).then_some(label.as_str()),
        at,
    };
    match name {
        "temperature" if is_chip() => {
            if let Some(value) = value.get("tC") {
                gather.drop_json("temperature", value, DropReason::ChipTemperature);
            }
        }
        "temperature" => sensed(gather, probe("temperature"), value, "tC"),
        "humidity" => sensed(gather, probe("humidity"), value, "rh"),
        "illuminance" => sensed(gather, probe("illuminance"), value, "lux"),
        "voltmeter" => sensed(gather, numbered("voltage"), value, "voltage"),
        "flood" => {
            if let Some(alarm) = value.get("alarm").and_then(Value::as_bool) {
                gather.take(probe("leak"), f64::from(u8::from(alarm)));
            }
        }
        "devicepower" => {
            let battery = value.get("battery");
            shelly::take_json(gather, probe("battery"), battery.and_then(|b| b.get("percent")));
            shelly::take_json(gather, probe("battery_voltage"), battery.and_then(|b| b.get("V")));
        }
        "em" => phases(gather, id, value, at),
        "emdata" => phase_counters(gather, id, value, at),
        "em1" => one_phase(gather, numbered, value, "act_power"),
        "em1data" => {
            shelly::take_watt_hours(gather, numbered("energy"), value.get("total_act_energy"));
            shelly::take_watt_hours(
                gather,
                numbered("energy_returned"),
                value.get("total_act_ret_energy"),
            );
        }
        "pm1" | "switch" | "cover" | "light" => {
            one_phase(gather, numbered, value, "apower");
            let total = |key: &str| value.get(key).and_then(|counter| counter.get("total"));
            shelly::take_watt_hours(gather, numbered("energy"), total("aenergy"));
            shelly::take_watt_hours(gather, numbered("energy_returned"), total("ret_aenergy"));
            if let Some(chip) = value.get("temperature").and_then(|t| t.get("tC")) {
                gather.drop_json("temperature", chip, DropReason::ChipTemperature);
            }
        }
        _ => {}
    }
}

/// A sensor that reports its own errors gives null beside them.
fn sensed(gather: &mut Gather, channel: Channel<'_>, value: &Object, key: &str) {
    let faulty = value
        .get("errors")
        .and_then(Value::as_array)
        .is_some_and(|errors| !errors.is_empty());
    match value.get(key) {
        Some(number) if faulty => gather.drop_json(channel.kind, number, DropReason::MarkedInvalid),
        number => shelly::take_json(gather, channel, number),
    }
}

fn one_phase<'a>(
    gather: &mut Gather,
    channel: impl Fn(&'static str) -> Channel<'a>,
    value: &Object,
    power: &str,
) {
    let members = [
        ("power", power),
        ("apparent_power", "aprt_power"),
        ("voltage", "voltage"),
        ("current", "current"),
        ("power_factor", "pf"),
        ("frequency", "freq"),
    ];
    for (kind, key) in members {
        shelly::take_json(gather, channel(kind), value.get(key));
    }
}

/// Devices have one such component; a second one's labels carry its id.
fn phase_label(id: u32, phase: &str) -> Cow<'_, str> {
    if id == 0 {
        Cow::Borrowed(phase)
    } else {
        Cow::Owned(format!("{id}.{phase}"))
    }
}

fn phases(gather: &mut Gather, id: u32, value: &Object, at: Option<Timed>) {
    let members = [
        ("power", "act_power"),
        ("apparent_power", "aprt_power"),
        ("voltage", "voltage"),
        ("current", "current"),
        ("power_factor", "pf"),
        ("frequency", "freq"),
    ];
    for phase in ["a", "b", "c"] {
        let label = phase_label(id, phase);
        for (kind, member) in members {
            let channel = Channel {
                kind,
                label: Some(&label),
                at,
            };
            shelly::take_json(gather, channel, value.get(&format!("{phase}_{member}")));
        }
    }
    let totals = [
        ("power", "total_act_power"),
        ("apparent_power", "total_aprt_power"),
        ("current", "total_current"),
    ];
    let label = phase_label(id, "total");
    for (kind, key) in totals {
        shelly::take_json(
            gather,
            Channel {
                kind,
                label: Some(&label),
                at,
            },
            value.get(key),
        );
    }
    // Null where no clamp is on the neutral wire: then there is nothing to say about it.
    let neutral = value.get("n_current").filter(|v| !v.is_null());
    let label = phase_label(id, "n");
    shelly::take_json(
        gather,
        Channel {
            kind: "current",
            label: Some(&label),
            at,
        },
        neutral,
    );
}

fn phase_counters(gather: &mut Gather, id: u32, value: &Object, at: Option<Timed>) {
    let label = phase_label(id, "total");
    let total = |kind| Channel {
        kind,
        label: Some(&label),
        at,
    };
    shelly::take_watt_hours(gather, total("energy"), value.get("total_act"));
    shelly::take_watt_hours(gather, total("energy_returned"), value.get("total_act_ret"));
    for phase in ["a", "b", "c"] {
        let label = phase_label(id, phase);
        let channel = |kind| Channel {
            kind,
            label: Some(&label),
            at,
        };
        shelly::take_watt_hours(
            gather,
            channel("energy"),
            value.get(&format!("{phase}_total_act_energy")),
        );
        let returned = value.get(&format!("{phase}_total_act_ret_energy"));
        let ran = returned.filter(|v| v.as_f64() != Some(0.0));
        shelly::take_watt_hours(gather, channel("energy_returned"), ran);
    }
}
