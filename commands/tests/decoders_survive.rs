//! Whatever arrives, every decoder answers: no panic, bounded output, and nothing in it that a ledger could not hold.
//!
//! Inputs: bytes of any kind, JSON of any shape, JSON made of the words that vendors use, and the payload cases
//! with pieces replaced. Not here: what a payload means (`payloads`).

use commands::ingest::decoded::{
    DEVICE_CHARS_MAX, DecodeError, Decoded, DeviceHint, Dropped, LABEL_CHARS_MAX, MEASUREMENTS_MAX,
    Measurement, RAW_CHARS_MAX, REPORTS_MAX, UNIT_CHARS_MAX,
};
use commands::ingest::{efento, lorawan, native, sanity, shelly};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;

/// Longest refusal that goes into an answer and a device's page: a listing of dropped values.
const MESSAGE_CHARS_MAX: usize = 16_384;
/// Longest word on why there is no reading.
const WHY_CHARS_MAX: usize = 1024;
const DROPPED_MAX: usize = 64;

type Answer = Result<Decoded, DecodeError>;

fn every_decoder(query: &str, body: &[u8]) -> Vec<(&'static str, Answer)> {
    vec![
        ("native", native::decode(body, None)),
        ("native with header", native::decode(body, Some(query))),
        ("shelly", shelly::decode(query, body)),
        ("shelly get", shelly::decode(&String::from_utf8_lossy(body), b"")),
        ("lorawan", lorawan::decode(query, body)),
        ("lorawan up", lorawan::decode("event=up", body)),
        ("efento", efento::decode(body)),
    ]
}

fn check_all(query: &str, body: &[u8]) {
    for (decoder, answer) in every_decoder(query, body) {
        check(decoder, &answer);
        let again = every_decoder(query, body)
            .into_iter()
            .find(|(name, _)| *name == decoder);
        assert_eq!(
            again.map(|(_, answer)| answer),
            Some(answer),
            "{decoder} is a function"
        );
    }
}

fn check(decoder: &str, answer: &Answer) {
    match answer {
        Err(error) => {
            assert!(
                error.to_string().chars().count() <= MESSAGE_CHARS_MAX,
                "{decoder}: long refusal"
            );
            let stable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            assert!(error.code().bytes().all(stable), "{decoder}: {}", error.code());
        }
        Ok(Decoded::Reports(reports)) => {
            assert!(
                (1..=REPORTS_MAX).contains(&reports.len()),
                "{decoder}: {} reports",
                reports.len()
            );
            for report in reports {
                assert!(
                    report.measurements.len() <= MEASUREMENTS_MAX,
                    "{decoder}: too many measurements"
                );
                report
                    .measurements
                    .iter()
                    .for_each(|m| check_measurement(decoder, m));
                check_dropped(decoder, &report.dropped);
                check_device(decoder, report.device.as_ref());
                if let Some(uplink) = &report.uplink {
                    check_device(decoder, Some(&DeviceHint::DevEui(uplink.dev_eui.clone())));
                    assert!(!uplink.session.is_empty() && uplink.session.chars().count() <= RAW_CHARS_MAX);
                }
            }
        }
        Ok(Decoded::Nothing { why, device, dropped }) => {
            assert!(
                !why.is_empty() && why.chars().count() <= WHY_CHARS_MAX,
                "{decoder}: {why}"
            );
            check_device(decoder, device.as_ref());
            check_dropped(decoder, dropped);
        }
        Ok(Decoded::Opaque(uplink)) => {
            assert!(
                (1..=512).contains(&uplink.bytes.len()),
                "{decoder}: {} bytes",
                uplink.bytes.len()
            );
            check_device(decoder, Some(&DeviceHint::DevEui(uplink.dev_eui.clone())));
        }
    }
}

fn check_measurement(decoder: &str, m: &Measurement) {
    assert!(m.value.is_finite(), "{decoder}: {m:?}");
    assert!(
        m.value != 0.0 || m.value.is_sign_positive(),
        "{decoder}: negative zero"
    );
    assert!(m.unit().chars().count() <= UNIT_CHARS_MAX, "{decoder}: {m:?}");
    if let Some(label) = &m.label {
        assert!(
            (1..=LABEL_CHARS_MAX).contains(&label.chars().count()),
            "{decoder}: {m:?}"
        );
    }
    if !decoder.starts_with("native") {
        assert_eq!(
            sanity::sanity(m.kind, m.unit.as_deref(), m.value),
            Ok(()),
            "{decoder}: {m:?}"
        );
    }
}

fn check_dropped(decoder: &str, dropped: &[Dropped]) {
    assert!(
        dropped.len() <= DROPPED_MAX,
        "{decoder}: {} dropped",
        dropped.len()
    );
    for d in dropped {
        for text in [&d.channel, &d.raw] {
            assert!(text.chars().count() <= RAW_CHARS_MAX, "{decoder}: {d:?}");
            assert!(!text.chars().any(char::is_control), "{decoder}: {d:?}");
        }
    }
}

fn check_device(decoder: &str, device: Option<&DeviceHint>) {
    let Some(device) = device else { return };
    let id = device.as_str();
    assert!(
        (1..=DEVICE_CHARS_MAX).contains(&id.chars().count()),
        "{decoder}: {id:?}"
    );
    assert!(!id.chars().any(char::is_control), "{decoder}: {id:?}");
    if let DeviceHint::DevEui(eui) = device {
        assert!(
            eui.len() == 16
                && eui
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)),
            "{eui:?}"
        );
    }
}

/// Words that decoders look for, and values that have broken parsers before.
const WORDS: &[&str] = &[
    "device",
    "ts",
    "measurements",
    "reports",
    "type",
    "value",
    "label",
    "unit",
    "params",
    "result",
    "method",
    "src",
    "sys",
    "mac",
    "unixtime",
    "temperature",
    "temperature:0",
    "humidity:0",
    "devicepower:0",
    "em:0",
    "emdata:0",
    "em1:4294967296",
    "em1data:1",
    "pm1:0",
    "switch:0",
    "tC",
    "rh",
    "battery",
    "percent",
    "V",
    "a_act_power",
    "total_act",
    "aenergy",
    "total",
    "tmp",
    "hum",
    "bat",
    "emeters",
    "emeter_n",
    "meters",
    "ext_temperature",
    "is_valid",
    "end_device_ids",
    "dev_eui",
    "dev_addr",
    "uplink_message",
    "received_at",
    "session_key_id",
    "f_cnt",
    "f_port",
    "frm_payload",
    "decoded_payload",
    "normalized_payload",
    "rx_metadata",
    "rssi",
    "snr",
    "air",
    "location",
    "simulated",
    "join_accept",
    "deviceInfo",
    "devEui",
    "devAddr",
    "object",
    "data",
    "rxInfo",
    "time",
    "TempC_SHT",
    "temp_SOIL",
    "temperature_3",
    "serial",
    "response_handle",
    "measured_at",
    "params",
    "channel",
    "signal",
    "NotifyStatus",
    "NotifyEvent",
    "70B3D57ED0C0FFEE",
    "2026-02-03T09:00:00Z",
    "2026-02-03 09:00:00",
    "AWcA0w==",
    "29.92 °C",
    "${ev.tC}",
    "nan",
    "null",
    "-",
    "\u{0}",
    "\u{202e}",
    "power",
    "°F",
    "",
    " ",
    "é_3",
];

const NUMBERS: &[f64] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    999.0,
    -99.5,
    -127.0,
    327.67,
    1e308,
    -1e308,
    5e-324,
    1e19,
    4_294_967_296.0,
    0.1,
    3250.0,
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        proptest::sample::select(NUMBERS).prop_map(|n| json!(n)),
        proptest::sample::select(WORDS).prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    let key = prop_oneof![8 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,70}"];
    scalar().prop_recursive(5, 96, 12, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::vec((key.clone(), inner), 0..12)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Names and values of a query string.
fn name() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "temp", "t", "tC", "tF", "hum", "rh", "bat", "battery", "batv", "signal", "ts", "lwt", "device",
        "id", "flood", "lux", "power", "token", "", "TEMP",
    ];
    proptest::sample::select(NAMES).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    const TEXTS: &[&str] = &[
        "null",
        "nan",
        "999",
        "-99.5",
        "21.5",
        "3.92",
        "92",
        "-1",
        "1e999",
        "${ev.tC}",
        "%24%7Bev.tC%7D",
        "%",
        "%ff",
        "%00",
        "+",
        "true",
        "online",
        "2026-02-03T09:00:00+01:00",
        "1770109200",
        "",
        "=",
        "shellyht-0A1B2C",
    ];
    prop_oneof![
        4 => proptest::sample::select(TEXTS).prop_map(str::to_owned),
        1 => any::<f64>().prop_map(|n| n.to_string()),
        1 => any::<String>(),
    ]
}

fn cases() -> Vec<Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut bodies = Vec::new();
    for family in std::fs::read_dir(dir).expect("the fixtures are there").flatten() {
        for file in std::fs::read_dir(family.path()).into_iter().flatten().flatten() {
            let text = std::fs::read(file.path()).expect("readable");
            let case: Value = serde_json::from_slice(&text).expect("a case is JSON");
            bodies.extend(case.get("body").filter(|body| body.is_object()).cloned());
        }
    }
    bodies.sort_by_key(Value::to_string);
    assert!(bodies.len() > 60, "the cases were found");
    bodies
}

/// JSON pointers to every value below `value`, itself included.
fn pointers(value: &Value, path: &str, into: &mut Vec<String>) {
    into.push(path.to_owned());
    match value {
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(i, v)| pointers(v, &format!("{path}/{i}"), into));
        }
        Value::Object(object) => {
            let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
            object
                .iter()
                .for_each(|(k, v)| pointers(v, &format!("{path}/{}", escape(k)), into));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(query in ".{0,200}", body in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_all(&query, &body);
    }

    #[test]
    fn any_json(query in "[ -~]{0,80}", body in tree()) {
        check_all(&query, body.to_string().as_bytes());
    }

    #[test]
    fn any_query(pairs in proptest::collection::vec((name(), text()), 0..80)) {
        let query: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        check("shelly get", &shelly::decode(&query.join("&"), b""));
    }

    #[test]
    fn a_case_with_pieces_replaced(
        pick in any::<proptest::sample::Index>(),
        spoil in proptest::collection::vec((any::<proptest::sample::Index>(), tree()), 1..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        thread_local!(static CASES: Vec<Value> = cases());
        let mut body = CASES.with(|cases| cases[pick.index(cases.len())].clone());
        for (at, with) in spoil {
            let mut places = Vec::new();
            pointers(&body, "", &mut places);
            *body.pointer_mut(&places[at.index(places.len())]).expect("it was just listed") = with;
        }
        let text = body.to_string();
        let end = cut.map_or(text.len(), |cut| cut.index(text.len() + 1));
        check_all("device=hut&event=up", &text.as_bytes()[..end]);
    }
}

#[test]
fn numbers_that_are_none_and_numbers_too_large_are_no_readings() {
    for number in [
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "0x1F",
        "1e",
        "--1",
        "01",
    ] {
        let bodies = [
            format!(r#"{{"measurements":[{{"type":"temperature","value":{number}}}]}}"#),
            format!(r#"{{"src":"shellyht-1","params":{{"temperature:0":{{"tC":{number}}}}}}}"#),
        ];
        for body in bodies {
            for (decoder, answer) in every_decoder("", body.as_bytes()) {
                assert!(
                    !matches!(answer, Ok(Decoded::Reports(_))),
                    "{decoder} took {body}"
                );
            }
        }
    }
    for number in ["1e308", "-1e308", "1e19", "123456789012345678901234567890"] {
        let body = format!(r#"{{"src":"shellyht-1","params":{{"temperature:0":{{"tC":{number}}}}}}}"#);
        let answer = shelly::decode("", body.as_bytes());
        assert!(
            matches!(answer, Ok(Decoded::Nothing { ref dropped, .. }) if dropped.len() == 1),
            "{answer:?}"
        );
    }
}

#[test]
fn a_tree_as_deep_as_the_body_is_refused() {
    for (open, close) in [
        ("[", "]"),
        ("{\"a\":", "}"),
        ("{\"object\":", "}"),
        ("{\"decoded_payload\":", "}"),
    ] {
        let body = format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
        for (decoder, answer) in every_decoder("event=up", body.as_bytes()) {
            check(decoder, &answer);
            assert!(
                !matches!(answer, Ok(Decoded::Reports(_) | Decoded::Opaque(_))),
                "{decoder}"
            );
        }
    }
}

#[test]
fn a_megabyte_in_one_text_is_refused_or_clipped() {
    let long = "9".repeat(1 << 20);
    let bodies = [
        json!({"device": long, "measurements": [{"type": "power", "value": 1}]}),
        json!({"device": "m", "measurements": [{"type": "power", "value": 1, "label": long}]}),
        json!({"src": long, "params": {"humidity:0": {"rh": long}}}),
        json!({"measurements": [{"serial": long, "params": [{"channel": long, "type": "humidity", "value": 1}]}]}),
    ];
    for body in bodies {
        check_all("", body.to_string().as_bytes());
    }
    let half = "9".repeat(1 << 18);
    let body = json!({"measurements": [{"serial": "A1", "params": [{"channel": half, "type": "humidity", "value": 1},
        {"channel": 1, "type": half, "value": half}]}]});
    let Ok(Decoded::Reports(reports)) = efento::decode(body.to_string().as_bytes()) else {
        panic!("refused")
    };
    let reasons: Vec<_> = reports[0].dropped.iter().map(|d| d.reason.code()).collect();
    assert_eq!(reasons, ["label_too_long", "unknown_kind"]);
    check_all(&format!("temp={long}&hum=1&device={long}"), b"");
}

#[test]
fn more_measurements_than_a_message_may_have_refuse_it() {
    let params: serde_json::Map<String, Value> = (0..=MEASUREMENTS_MAX)
        .map(|i| (format!("humidity:{i}"), json!({"rh": 50})))
        .collect();
    let answer = shelly::decode("", json!({"src": "x", "params": params}).to_string().as_bytes());
    assert_eq!(answer.expect_err("refused").code(), "too_many_measurements");
    let params: Vec<Value> = (0..=MEASUREMENTS_MAX)
        .map(|i| json!({"channel": i, "type": "humidity", "value": 1}))
        .collect();
    let body = json!({"measurements": [{"serial": "A1", "params": params}]}).to_string();
    assert_eq!(
        efento::decode(body.as_bytes()).expect_err("refused").code(),
        "too_many_measurements"
    );
}
