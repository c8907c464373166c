//! Events of ChirpStack v4's HTTP integration.
//!
//! `?event=` says which; where a proxy has lost it, the shape does. Only `up` is read. `object` is what the device
//! profile's codec gave. There is no session key in the message, so the device address tells sessions apart.
//! Source: ChirpStack documentation, integrations, events. Not here: what keys mean (`lorawan_payload`).

use super::decoded::{DecodeError, Decoded, DeviceHint};
use super::gather::Gather;
use super::lorawan::{Frame, dev_eui, time};
use super::{json, lorawan_payload, shelly_query};
use serde_json::{Map, Value};
use std::borrow::Cow;

type Object = Map<String, Value>;

/// Whether this object is a message of this server.
pub(super) fn is_one(object: &Object) -> bool {
    object.contains_key("deviceInfo") || object.contains_key("deduplicationId")
}

/// Decodes one event.
pub(super) fn decode(query: &str, object: &Object) -> Result<Decoded, DecodeError> {
    let eui = dev_eui(object.get("deviceInfo").and_then(|info| info.get("devEui")));
    let event = event(query, object);
    if event != "up" {
        let why = Cow::Owned(format!("a {} event", json::clip(&event)));
        return Ok(Decoded::Nothing {
            why,
            device: eui.map(DeviceHint::DevEui),
            dropped: Vec::new(),
        });
    }
    let Some(eui) = eui else {
        return Err(json::rejected(
            "missing_device",
            "deviceInfo.devEui is missing or is not 16 hexadecimal digits: the integration must send JSON, not \
             Protobuf, and whole",
        ));
    };
    let frame = Frame {
        dev_eui: eui,
        session: object.get("devAddr").and_then(Value::as_str),
        f_cnt: object.get("fCnt"),
        f_port: object.get("fPort"),
        bytes: object.get("data"),
        at: time(object.get("time")),
        gateway: object.get("rxInfo").and_then(|gateways| gateways.get(0)),
    };
    match object.get("object") {
        Some(payload @ Value::Object(members)) if !members.is_empty() => {
            let mut gather = Gather::default();
            lorawan_payload::decoded(&mut gather, payload, frame.timed());
            frame.measured(gather, Some(payload))
        }
        _ => frame.opaque(),
    }
}

fn event(query: &str, object: &Object) -> String {
    let named = shelly_query::pairs(query)
        .into_iter()
        .rev()
        .find(|(key, _)| key == "event")
        .map(|(_, value)| value);
    let by_shape = || {
        if ["data", "object", "fPort"]
            .iter()
            .any(|key| object.contains_key(*key))
        {
            "up"
        } else {
            "?"
        }
    };
    named
        .filter(|event| !event.is_empty())
        .unwrap_or_else(|| by_shape().to_owned())
}
