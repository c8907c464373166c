//! Webhooks of The Things Stack v3.
//!
//! Which event it is, is said by its key. Only `uplink_message` is read: `uplink_normalized` repeats what
//! `normalized_payload` of the uplink has, and simulated uplinks never came over the air.
//! `normalized_payload` is preferred, because a schema defines its units; `decoded_payload` adds the kinds that it
//! does not mention. The network server's time is the inner `received_at`, the outer one is the application
//! server's and stands in for it.
//! Source: The Things Stack documentation, data formats and webhooks. Not here: what keys mean (`lorawan_payload`).

use super::decoded::{DecodeError, Decoded, DeviceHint};
use super::gather::Gather;
use super::lorawan::{Frame, dev_eui, time};
use super::{json, lorawan_payload};
use serde_json::{Map, Value};
use std::borrow::Cow;

type Object = Map<String, Value>;

/// Events that carry no measurement.
const EVENTS: &[&str] = &[
    "join_accept",
    "downlink_ack",
    "downlink_nack",
    "downlink_sent",
    "downlink_failed",
    "downlink_queued",
    "downlink_queue_invalidated",
    "location_solved",
    "service_data",
    "uplink_normalized",
];

/// Whether this object is a message of this server, or of its predecessor.
pub(super) fn is_one(object: &Object) -> bool {
    ["end_device_ids", "uplink_message"]
        .iter()
        .any(|key| object.contains_key(*key))
        || EVENTS.iter().any(|key| object.contains_key(*key))
        || is_v2(object)
}

fn is_v2(object: &Object) -> bool {
    ["hardware_serial", "payload_raw", "payload_fields"]
        .iter()
        .any(|key| object.contains_key(*key))
}

/// Decodes one message.
pub(super) fn decode(object: &Object) -> Result<Decoded, DecodeError> {
    let ids = object.get("end_device_ids");
    let eui = dev_eui(ids.and_then(|ids| ids.get("dev_eui")));
    let Some(uplink) = object.get("uplink_message") else {
        return no_uplink(object, eui);
    };
    let Some(eui) = eui else {
        return Err(json::rejected(
            "missing_device",
            "end_device_ids.dev_eui is missing: in the webhook's settings remove the filter up.uplink_message, \
             which strips it",
        ));
    };
    if object.get("simulated") == Some(&Value::Bool(true)) {
        let why = Cow::Borrowed("a simulated uplink, which never came over the air");
        return Ok(Decoded::Nothing {
            why,
            device: Some(DeviceHint::DevEui(eui)),
            dropped: Vec::new(),
        });
    }
    let session = uplink
        .get("session_key_id")
        .or_else(|| ids?.get("dev_addr"))
        .and_then(Value::as_str);
    let frame = Frame {
        dev_eui: eui,
        session,
        f_cnt: uplink.get("f_cnt"),
        f_port: uplink.get("f_port"),
        bytes: uplink.get("frm_payload"),
        at: time(uplink.get("received_at")).or_else(|| time(object.get("received_at"))),
        gateway: uplink.get("rx_metadata").and_then(|gateways| gateways.get(0)),
    };
    let decoded = uplink.get("decoded_payload").filter(|payload| !is_empty(payload));
    let normalized = uplink
        .get("normalized_payload")
        .filter(|payload| !is_empty(payload));
    if decoded.is_none() && normalized.is_none() {
        return frame.opaque();
    }
    let mut gather = Gather::default();
    if let Some(normalized) = normalized {
        lorawan_payload::normalized(&mut gather, normalized, frame.timed());
    }
    if let Some(decoded) = decoded {
        lorawan_payload::decoded(&mut gather, decoded, frame.timed());
    }
    frame.measured(gather, decoded.or(normalized))
}

fn is_empty(payload: &Value) -> bool {
    match payload {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn no_uplink(object: &Object, eui: Option<String>) -> Result<Decoded, DecodeError> {
    if !object.contains_key("end_device_ids") && is_v2(object) {
        return Err(json::rejected(
            "ttn_v2",
            "this is the format of The Things Network v2, which was switched off in 2021: move the device to The \
             Things Stack v3 and add the webhook there",
        ));
    }
    let why = match EVENTS.iter().find(|key| object.contains_key(**key)) {
        Some(event) => Cow::Owned(format!("a {event} event")),
        None => Cow::Borrowed("an event without an uplink"),
    };
    Ok(Decoded::Nothing {
        why,
        device: eui.map(DeviceHint::DevEui),
        dropped: Vec::new(),
    })
}
