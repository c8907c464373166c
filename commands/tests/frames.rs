//! What identifies a message: a LoRaWAN frame by device, session and counter, a gateway's entry by its handle.
//!
//! Not here: what was measured (`payloads`), what becomes of a duplicate (the sequencer).

use commands::ingest::decoded::{Decoded, DeviceHint, Report, Uplink, UplinkId};
use commands::ingest::{efento, lorawan, shelly};
use serde_json::{Value, json};

const EUI: &str = "70B3D57ED0C0FFEE";

fn reports(decoded: Decoded) -> Vec<Report> {
    match decoded {
        Decoded::Reports(reports) => reports,
        other => panic!("no reports: {other:?}"),
    }
}

fn tts(ids: Value, uplink: Value) -> Decoded {
    let body =
        json!({"end_device_ids": ids, "received_at": "2026-02-03T09:00:00Z", "uplink_message": uplink});
    lorawan::decode("", body.to_string().as_bytes()).expect("taken")
}

fn id(decoded: Decoded) -> Option<UplinkId> {
    reports(decoded).remove(0).uplink
}

fn opaque(decoded: Decoded) -> Uplink {
    match decoded {
        Decoded::Opaque(uplink) => *uplink,
        other => panic!("not opaque: {other:?}"),
    }
}

fn frame(session: &str, f_cnt: u32) -> Option<UplinkId> {
    Some(UplinkId {
        dev_eui: EUI.to_owned(),
        session: session.to_owned(),
        f_cnt,
    })
}

#[test]
fn a_frame_is_identified_by_session_and_counter_and_never_by_its_bytes() {
    let ids = json!({"dev_eui": EUI, "dev_addr": "260B1234"});
    let uplink =
        |f_cnt| json!({"session_key_id": "k1", "f_cnt": f_cnt, "decoded_payload": {"temperature": 1}});
    assert_eq!(id(tts(ids.clone(), uplink(7))), frame("k1", 7));
    assert_eq!(id(tts(ids.clone(), uplink(8))), frame("k1", 8));
    assert_eq!(id(tts(ids, uplink(u32::MAX))), frame("k1", u32::MAX));
}

#[test]
fn a_counter_that_is_left_out_is_zero_and_the_address_stands_in_for_the_session() {
    let ids = json!({"dev_eui": EUI.to_lowercase(), "dev_addr": "260B1234"});
    let uplink = json!({"decoded_payload": {"temperature": 1}});
    assert_eq!(id(tts(ids, uplink)), frame("260B1234", 0));
}

#[test]
fn a_message_without_any_session_is_no_duplicate_of_another() {
    let uplink = json!({"f_cnt": 3, "decoded_payload": {"temperature": 1}});
    assert_eq!(id(tts(json!({"dev_eui": EUI}), uplink)), None);
    let bare = opaque(tts(json!({"dev_eui": EUI}), json!({"frm_payload": "AQ=="})));
    assert_eq!((bare.id, bare.dev_eui.as_str()), (None, EUI));
}

#[test]
fn a_counter_that_is_no_counter_identifies_nothing() {
    for f_cnt in [
        json!(-1),
        json!(4_294_967_296u64),
        json!("7"),
        json!(1.5),
        json!([]),
    ] {
        let ids = json!({"dev_eui": EUI});
        let uplink = json!({"session_key_id": "k1", "f_cnt": f_cnt, "decoded_payload": {"temperature": 1}});
        assert_eq!(id(tts(ids, uplink)), None, "{f_cnt}");
    }
}

#[test]
fn an_undecoded_frame_keeps_every_byte_port_and_time() {
    let ids = json!({"dev_eui": EUI, "dev_addr": "260B1234"});
    for (text, bytes) in [
        ("y/YLDQ==", vec![0xcb, 0xf6, 0x0b, 0x0d]),
        ("y_YLDQ", vec![0xcb, 0xf6, 0x0b, 0x0d]),
        // Fifteen characters, as a simulator writes them.
        ("AQsBJAZwGp4AAAA", vec![1, 11, 1, 36, 6, 112, 26, 158, 0, 0, 0]),
    ] {
        let uplink =
            json!({"f_port": 42, "f_cnt": 9, "frm_payload": text, "received_at": "2026-02-03T08:59:59.75Z"});
        let uplink = opaque(tts(ids.clone(), uplink));
        assert_eq!(
            (uplink.bytes, uplink.f_port, uplink.id),
            (bytes, Some(42), frame("260B1234", 9))
        );
        assert_eq!(
            uplink.at.map(|at| at.to_string()).as_deref(),
            Some("2026-02-03T08:59:59.750000Z")
        );
    }
}

#[test]
fn the_other_server_gives_the_same_identity_from_its_own_names() {
    let body = json!({"deviceInfo": {"devEui": "70b3d57ed0c0ffee"}, "devAddr": "0012ab34", "fPort": 2, "data": "AQ==",
        "time": "2026-02-03T10:00:00.5+01:00"});
    let uplink = opaque(lorawan::decode("event=up", body.to_string().as_bytes()).expect("taken"));
    assert_eq!((uplink.id, uplink.bytes), (frame("0012ab34", 0), vec![1]));
    assert_eq!(
        uplink.at.map(|at| at.to_string()).as_deref(),
        Some("2026-02-03T09:00:00.500000Z")
    );
}

#[test]
fn a_frame_longer_than_any_is_refused() {
    let body =
        json!({"end_device_ids": {"dev_eui": EUI}, "uplink_message": {"frm_payload": "A".repeat(4096)}});
    let error = lorawan::decode("", body.to_string().as_bytes()).expect_err("refused");
    assert_eq!(error.code(), "invalid_payload");
}

#[test]
fn a_gateway_gets_every_handle_back_whatever_became_of_its_entry() {
    let body = json!({"measurements": [
        {"serial": "28-2c:02aabb01", "response_handle": 3, "params": [{"channel": 1, "type": "temperature", "value": 1}]},
        {"serial": "../../etc", "response_handle": 4, "params": []},
        {"response_handle": 5},
        {"serial": "282C02AABB02", "params": [{"channel": 1, "type": "iaq", "value": 1}]},
        7,
    ]});
    let reports = reports(efento::decode(body.to_string().as_bytes()).expect("taken"));
    let handles: Vec<_> = reports.iter().map(|r| r.handle).collect();
    assert_eq!(handles, [Some(3), Some(4), Some(5), None, None]);
    let devices: Vec<_> = reports
        .iter()
        .map(|r| r.device.as_ref().map(DeviceHint::as_str))
        .collect();
    assert_eq!(
        devices,
        [Some("282C02AABB01"), None, None, Some("282C02AABB02"), None]
    );
}

#[test]
fn a_refusal_never_repeats_the_token() {
    let query = "token=ds_live_abc_secret&device=hut&temp=null&token=ds_live_abc_secret";
    let words = shelly::decode(query, b"").expect_err("refused").to_string();
    assert_eq!(words, "no measurement left: temperature \"null\" (not_a_number)");
    let flat = json!({"token": "ds_live_abc_secret", "device": "hut"}).to_string();
    let words = shelly::decode("", flat.as_bytes())
        .expect_err("refused")
        .to_string();
    assert!(!words.contains("secret"), "{words}");
}
