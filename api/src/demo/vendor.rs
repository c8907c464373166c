//! What a device says, in its vendor's own words.
//!
//! Invariant: what a vendor's payload is decoded to has the kinds and labels under which the device's past was
//! sent, so that past and present meet in the same channels (a test holds the decoders against this).
//! Source: the vendors' documents, as in the decoders. Not here: what is measured (`simulate`), HTTP (`client`).

use super::cast::{Device, Story, Wire};
use super::simulate::{PHASES, Value};
use domain::Timestamp;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;

/// A request as a device or its gateway makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Path and query, without the token.
    pub target: String,
    /// The body; none for a GET.
    pub body: Option<Json>,
    /// Whose token it carries.
    pub token: Token,
}

/// Whose token a message carries, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The device's, in the query.
    DeviceInQuery,
    /// The device's, as bearer.
    Device,
    /// The LoRaWAN integration's, in the query.
    Lorawan,
    /// The Efento gateway's, in a header of its own.
    Efento,
}

/// What tells this run's radio frames from those of earlier runs.
#[derive(Debug, Clone)]
pub struct Session {
    /// The session's key id, as the network server names it.
    pub key_id: String,
}

/// What the device says at a time; `count` is the number of the message, from 1.
pub fn message(device: &Device, values: &[Value], at: Timestamp, session: &Session, count: u32) -> Message {
    let local_id = device.local_id;
    match device.wire {
        Wire::ShellyQuery { id } => Message {
            target: shelly_query(local_id, id, values),
            body: None,
            token: Token::DeviceInQuery,
        },
        Wire::ShellyClimate { src } => Message {
            target: format!("/v1/ingest/shelly?device={local_id}"),
            body: Some(shelly_status(src, at, climate(values))),
            token: Token::Device,
        },
        Wire::ShellyMeter { src } => Message {
            target: format!("/v1/ingest/shelly?device={local_id}"),
            body: Some(shelly_status(src, at, meter(values))),
            token: Token::Device,
        },
        Wire::Lorawan { .. } => uplink(device.wire, values, at, session, count),
        Wire::Efento { serial } => Message {
            target: "/api/v2/measurements".to_owned(),
            body: Some(efento(serial, values, at, device.live_s, count)),
            token: Token::Efento,
        },
        Wire::Native => Message {
            target: "/v1/ingest".to_owned(),
            body: Some(native(device, values, at)),
            token: Token::Device,
        },
    }
}

/// The service's own body; also how the past is sent, without what a typing error would do to it.
pub fn report(local_id: &str, values: &[Value], at: Timestamp) -> String {
    let mut out = String::with_capacity(64 + 56 * values.len());
    let mut ts = Vec::with_capacity(27);
    at.write(&mut ts);
    let _ = write!(
        out,
        r#"{{"device":"{local_id}","ts":"{}","measurements":["#,
        String::from_utf8_lossy(&ts)
    );
    for (n, value) in values.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        let _ = write!(out, r#"{comma}{{"type":"{}","value":{}"#, value.kind, value.value);
        if let Some(label) = value.label {
            let _ = write!(out, r#","label":"{label}""#);
        }
        out.push('}');
    }
    out.push_str("]}");
    out
}

fn native(device: &Device, values: &[Value], at: Timestamp) -> Json {
    let misspelt = device.story == Story::Misspelt;
    let measurements: Vec<Json> = values
        .iter()
        .map(|value| {
            let kind = if misspelt && value.kind == "temperature" {
                "temprature"
            } else {
                value.kind
            };
            let mut entry = json!({"type": kind, "value": value.value});
            if let Some(label) = value.label {
                entry["label"] = label.into();
            }
            entry
        })
        .collect();
    json!({"device": device.local_id, "ts": at.to_string(), "measurements": measurements})
}

fn find(values: &[Value], kind: &str, label: Option<&str>) -> f64 {
    let found = values.iter().find(|v| v.kind == kind && v.label == label);
    found.map_or(0.0, |v| v.value)
}

fn shelly_query(local_id: &str, id: &str, values: &[Value]) -> String {
    format!(
        "/v1/ingest/shelly?device={local_id}&battery={:.0}&hum={:.1}&temp={:.1}&id={id}",
        find(values, "battery", None),
        find(values, "humidity", None),
        find(values, "temperature", None),
    )
}

fn unix_seconds(at: Timestamp) -> f64 {
    (at.as_micros() / 10_000) as f64 / 100.0
}

fn shelly_status(src: &str, at: Timestamp, components: Map<String, Json>) -> Json {
    let mut params = components;
    params.insert("ts".to_owned(), unix_seconds(at).into());
    let mac = src.rsplit('-').next().unwrap_or_default().to_uppercase();
    params.insert(
        "sys".to_owned(),
        json!({"mac": mac, "restart_required": false, "unixtime": at.as_micros() / 1_000_000, "uptime": 2_085_615}),
    );
    json!({"src": src, "dst": "user_1", "method": "NotifyFullStatus", "params": params})
}

fn climate(values: &[Value]) -> Map<String, Json> {
    let celsius = find(values, "temperature", None);
    let fahrenheit = ((celsius * 1.8 + 32.0) * 10.0).round() / 10.0;
    let percent = find(values, "battery", None);
    let mut components = Map::new();
    components.insert(
        "temperature:0".to_owned(),
        json!({"id": 0, "tC": celsius, "tF": fahrenheit}),
    );
    components.insert(
        "humidity:0".to_owned(),
        json!({"id": 0, "rh": find(values, "humidity", None)}),
    );
    components.insert(
        "devicepower:0".to_owned(),
        json!({"id": 0, "battery": {"percent": percent}, "external": {"present": false}}),
    );
    components
}

fn meter(values: &[Value]) -> Map<String, Json> {
    let mut em = Map::new();
    let mut data = Map::new();
    let watt_hours = |kwh: f64| (kwh * 100_000.0).round() / 100.0;
    for phase in PHASES {
        for (kind, member) in [
            ("power", "act_power"),
            ("apparent_power", "aprt_power"),
            ("voltage", "voltage"),
            ("current", "current"),
            ("power_factor", "pf"),
            ("frequency", "freq"),
        ] {
            em.insert(
                format!("{phase}_{member}"),
                find(values, kind, Some(phase)).into(),
            );
        }
        data.insert(
            format!("{phase}_total_act_energy"),
            watt_hours(find(values, "energy", Some(phase))).into(),
        );
        data.insert(format!("{phase}_total_act_ret_energy"), 0.0.into());
    }
    for (kind, member) in [
        ("power", "total_act_power"),
        ("apparent_power", "total_aprt_power"),
        ("current", "total_current"),
    ] {
        em.insert(member.to_owned(), find(values, kind, Some("total")).into());
    }
    em.insert("n_current".to_owned(), Json::Null);
    em.insert("id".to_owned(), 0.into());
    em.insert("user_calibrated_phase".to_owned(), json!([]));
    data.insert("id".to_owned(), 0.into());
    data.insert(
        "total_act".to_owned(),
        watt_hours(find(values, "energy", Some("total"))).into(),
    );
    data.insert(
        "total_act_ret".to_owned(),
        watt_hours(find(values, "energy_returned", Some("total"))).into(),
    );
    let mut components = Map::new();
    components.insert("em:0".to_owned(), Json::Object(em));
    components.insert("emdata:0".to_owned(), Json::Object(data));
    // The meter's own electronics, which are no room.
    components.insert(
        "temperature:0".to_owned(),
        json!({"id": 0, "tC": 46.6, "tF": 115.9}),
    );
    components
}

/// An uplink as The Things Stack's webhook posts it, decoded by the device's formatter there.
pub fn uplink(wire: Wire, values: &[Value], at: Timestamp, session: &Session, count: u32) -> Message {
    let Wire::Lorawan { dev_eui, device_id } = wire else {
        return Message {
            target: String::new(),
            body: None,
            token: Token::Lorawan,
        };
    };
    let measurements: Vec<Json> = values
        .iter()
        .map(|v| {
            let mut entry = json!({"type": v.kind, "value": v.value});
            if let Some(label) = v.label {
                entry["label"] = label.into();
            }
            entry
        })
        .collect();
    let received = at.to_string();
    let rssi = -97 - i64::from(count % 7);
    let body = json!({
        "end_device_ids": {
            "device_id": device_id,
            "application_ids": {"application_id": "daybook-demo"},
            "dev_eui": dev_eui,
            "dev_addr": "260B1234",
        },
        "correlation_ids": [format!("as:up:demo-{count}")],
        "received_at": received,
        "uplink_message": {
            "session_key_id": session.key_id,
            "f_port": 2,
            "f_cnt": count,
            "frm_payload": "AXUyA2fIAARoPA==",
            "decoded_payload": {"measurements": measurements},
            "rx_metadata": [{
                "gateway_ids": {"gateway_id": "eui-6a7e111a10000000", "eui": "6A7E111A10000000"},
                "rssi": rssi,
                "snr": 7.5,
            }],
            "settings": {"data_rate": {"lora": {"bandwidth": 125_000, "spreading_factor": 7}}},
            "received_at": received,
        },
    });
    Message {
        target: "/v1/ingest/lorawan".to_owned(),
        body: Some(body),
        token: Token::Lorawan,
    }
}

fn efento(serial: &str, values: &[Value], at: Timestamp, interval_s: i64, count: u32) -> Json {
    // UTC without a zone, whole seconds, as the gateway writes it.
    let text = |at: Timestamp| at.to_string()[..19].replace('T', " ");
    let params: Vec<Json> = values
        .iter()
        .filter_map(|v| Some((v, v.label?.parse::<u32>().ok()?)))
        .map(|(v, channel)| json!({"channel": channel, "type": v.kind, "value": v.value}))
        .collect();
    json!({"measurements": [{
        "serial": serial,
        "response_handle": count,
        "battery": "ok",
        "signal": find(values, "rssi", None),
        "measured_at": text(at),
        "measurement_interval": interval_s,
        "next_measurement_at": text(at.plus_micros(interval_s * 1_000_000)),
        "params": params,
    }]})
}

#[cfg(test)]
mod tests {
    use super::super::cast::{DEVICES, STRANGER};
    use super::*;
    use commands::ingest::decoded::{DecodeError, Decoded, Measurement};
    use commands::ingest::{efento, lorawan, native, shelly};

    /// A Wednesday at noon.
    const NOW_S: i64 = 1_780_488_000;

    fn at() -> Timestamp {
        Timestamp::from_micros(NOW_S * 1_000_000).expect("in range")
    }

    fn session() -> Session {
        Session {
            key_id: "AYfqmb0pc/1uRZv9xUydgQ==".to_owned(),
        }
    }

    fn decode(message: &Message) -> Result<Decoded, DecodeError> {
        let body = message.body.as_ref().map(Json::to_string).unwrap_or_default();
        let (path, query) = message.target.split_once('?').unwrap_or((&message.target, ""));
        match path {
            "/v1/ingest" => native::decode(body.as_bytes(), None),
            "/v1/ingest/shelly" => shelly::decode(query, body.as_bytes()),
            "/v1/ingest/lorawan" => lorawan::decode(query, body.as_bytes()),
            "/api/v2/measurements" => efento::decode(body.as_bytes()),
            other => panic!("{other} is no ingest path"),
        }
    }

    fn measured(decoded: Decoded) -> Vec<Measurement> {
        match decoded {
            Decoded::Reports(mut reports) => reports.remove(0).measurements,
            other => panic!("no report: {other:?}"),
        }
    }

    #[test]
    fn past_and_present_of_every_device_meet_in_the_same_channels() {
        for device in DEVICES.iter().filter(|d| d.story != Story::Misspelt) {
            let values = device
                .plant(3, NOW_S - 7200, NOW_S)
                .expect("the zone is known")
                .at(NOW_S);
            let past = native::decode(report(device.local_id, &values, at()).as_bytes(), None);
            let past = measured(past.unwrap_or_else(|e| panic!("{}: {e}", device.local_id)));
            assert_eq!(past.len(), values.len(), "{}", device.local_id);
            let present = decode(&message(device, &values, at(), &session(), 1));
            let present = measured(present.unwrap_or_else(|e| panic!("{}: {e}", device.local_id)));
            for p in &past {
                let same = present
                    .iter()
                    .find(|q| (q.kind.name, &q.label) == (p.kind.name, &p.label))
                    .unwrap_or_else(|| panic!("{}: no {} {:?}", device.local_id, p.kind.name, p.label));
                assert_eq!(same.unit(), p.unit(), "{} {}", device.local_id, p.kind.name);
                assert!(
                    (same.value - p.value).abs() < 1e-3,
                    "{}: {} {}",
                    device.local_id,
                    same.value,
                    p.value
                );
            }
            let more = present.iter().find(|q| {
                !q.kind.auxiliary
                    && !past
                        .iter()
                        .any(|p| (q.kind.name, &q.label) == (p.kind.name, &p.label))
            });
            assert_eq!(more, None, "{} opens a channel without a past", device.local_id);
        }
    }

    #[test]
    fn a_typing_error_is_refused_in_words() {
        let device = DEVICES
            .iter()
            .find(|d| d.story == Story::Misspelt)
            .expect("one plays");
        let values = device
            .plant(3, NOW_S - 7200, NOW_S)
            .expect("the zone is known")
            .at(NOW_S);
        let refused = decode(&message(device, &values, at(), &session(), 1)).expect_err("refused");
        assert_eq!(refused.code(), "unknown_kind");
        assert!(refused.to_string().contains("temprature"), "{refused}");
    }

    #[test]
    fn the_stranger_is_decoded_and_named_by_its_eui() {
        let values = [super::super::simulate::plain("temperature", 19.5)];
        let said = uplink(STRANGER, &values, at(), &session(), 4);
        let Ok(Decoded::Reports(reports)) = decode(&said) else {
            panic!("no report")
        };
        assert_eq!(
            reports[0].device.as_ref().map(|d| d.as_str()),
            Some("A84041FFFF18D27E")
        );
        assert_eq!(reports[0].uplink.as_ref().map(|u| u.f_cnt), Some(4));
    }
}
