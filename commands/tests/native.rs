//! The native format's refusals: each names what is wrong and where, and nothing of the request is taken.
//!
//! Not here: what is taken, which the payload cases show.

use commands::ingest::decoded::{DecodeError, Decoded, DeviceHint, REPORTS_MAX};
use commands::ingest::native::{NATIVE_MEASUREMENTS_MAX, decode};

fn refusal(body: &str) -> (&'static str, String) {
    match decode(body.as_bytes(), None) {
        Err(error) => (error.code(), error.to_string()),
        Ok(decoded) => panic!("taken: {decoded:?}"),
    }
}

fn check(body: &str, code: &str, words: &str) {
    let (got, message) = refusal(body);
    assert_eq!(got, code, "{message}");
    assert!(message.contains(words), "{message:?} should say {words:?}");
}

fn entry(fields: &str) -> String {
    format!(r#"{{"device":"m1","measurements":[{{"type":"power","value":1}},{{{fields}}}]}}"#)
}

#[test]
fn broken_json_is_refused_with_line_and_column() {
    check("", "bad_json", "line 1 column 0");
    check("{\n \"device\": m1}", "bad_json", "line 2 column 12");
    check(
        r#"{"measurements":[{"type":"power","value":NaN}]}"#,
        "bad_json",
        "line 1 column 42",
    );
    check(
        r#"{"measurements":[{"type":"power","value":1e999}]}"#,
        "bad_json",
        "number out of range",
    );
    check(
        r#"{"measurements":[{"type":"power","value":1}]} x"#,
        "bad_json",
        "trailing characters",
    );
    check("\u{feff}{}", "bad_json", "line 1 column 1");
    assert_eq!(
        decode(b"{\"device\":\"\xff\"}", None)
            .expect_err("no UTF-8")
            .code(),
        "bad_json"
    );
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let invalid = "invalid_measurement";
    check(
        &entry(r#""type":"power","value":"1""#),
        invalid,
        "measurements[1].value must be a number, not a text",
    );
    check(
        &entry(r#""type":"power","value":null"#),
        invalid,
        "measurements[1].value must be a number, not null",
    );
    check(
        &entry(r#""type":"power","value":[1]"#),
        invalid,
        "measurements[1].value must be a number, not a list",
    );
    check(
        &entry(r#""type":"power""#),
        invalid,
        "measurements[1].value must be a number, not missing",
    );
    check(
        &entry(r#""value":1"#),
        invalid,
        "measurements[1].type must be a text naming a kind, not missing",
    );
    check(
        &entry(r#""type":"power","value":1,"label":7"#),
        invalid,
        "measurements[1].label must be a text",
    );
    check(
        &entry(r#""type":"power","value":1,"unit":{}"#),
        invalid,
        "measurements[1].unit must be a text",
    );
    check(
        &entry(r#""type":"power","value":1,"ts":1770109200"#),
        invalid,
        "measurements[1].ts must be an RFC 3339",
    );
    check(
        &entry(r#""type":"power","value":1,"ts":"soon""#),
        invalid,
        "measurements[1].ts is not an RFC 3339",
    );
    check(
        &entry(r#""type":"power","value":1,"value":2"#),
        invalid,
        "duplicate field `value`",
    );
    check(
        r#"{"device":7,"measurements":[]}"#,
        invalid,
        "device must be a text, not a number",
    );
    check(r#"{"device":" ","measurements":[]}"#, invalid, "device is empty");
    check(
        r#"{"device":"m1","measurements":{}}"#,
        invalid,
        "a list of 1 to 32 entries",
    );
    check("7", invalid, "invalid type");
    check(
        r#"[{"measurements":[{"type":"power","value":1}]},{}]"#,
        invalid,
        "reports[1].measurements must have",
    );
    check(
        &entry(r#""type":"Power","value":1"#),
        "unknown_kind",
        "measurements[1].type \"Power\" is not a kind; known are",
    );
}

#[test]
fn texts_are_bounded_and_without_control_characters() {
    let long = "x".repeat(1 << 20);
    let invalid = "invalid_measurement";
    check(
        &entry(&format!(r#""type":"power","value":1,"label":"{long}""#)),
        invalid,
        "label is longer than 64",
    );
    check(
        &entry(&format!(r#""type":"power","value":1,"unit":"{long}""#)),
        invalid,
        "unit is longer than 16",
    );
    check(
        &format!(r#"{{"device":"{long}","measurements":[]}}"#),
        invalid,
        "device is longer than 64",
    );
    check(
        &entry(r#""type":"power","value":1,"label":"a\u0000b""#),
        invalid,
        "label has a control character",
    );
    check(
        &entry(r#""type":"power","value":1,"unit":"\n""#.replace("\\n", "a\\n").as_str()),
        invalid,
        "unit has a control",
    );
    let (code, message) = refusal(&entry(&format!(r#""type":"{long}","value":1"#)));
    assert_eq!(code, "unknown_kind");
    assert!(message.len() < 1000, "a refusal does not repeat a megabyte");
    let umlauts = "ü".repeat(64);
    assert!(
        decode(
            entry(&format!(r#""type":"power","value":1,"label":"{umlauts}""#)).as_bytes(),
            None
        )
        .is_ok()
    );
}

#[test]
fn lists_stop_at_their_limit() {
    let entries = |n: usize| vec![r#"{"type":"power","value":1}"#; n].join(",");
    let report = |n: usize| format!(r#"{{"measurements":[{}]}}"#, entries(n));
    assert!(decode(report(NATIVE_MEASUREMENTS_MAX).as_bytes(), None).is_ok());
    check(
        &report(NATIVE_MEASUREMENTS_MAX + 1),
        "invalid_measurement",
        "more than 32 entries",
    );
    let batch = |n: usize| format!("[{}]", vec![report(1); n].join(","));
    assert!(decode(batch(REPORTS_MAX).as_bytes(), None).is_ok());
    check(
        &batch(REPORTS_MAX + 1),
        "invalid_measurement",
        "more than 1000 entries",
    );
    check("[]", "invalid_measurement", "reports must have 1 to 1000 entries");
    check(
        r#"{"reports":[]}"#,
        "invalid_measurement",
        "reports must have 1 to 1000 entries",
    );
}

#[test]
fn deep_nesting_is_skipped_or_refused_and_never_overflows() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"extra":{deep},"measurements":[{{"type":"power","value":1}}]}}"#);
    let refused = |r: Result<Decoded, DecodeError>| r.is_ok() || r.is_err_and(|e| e.code() == "bad_json");
    assert!(refused(decode(body.as_bytes(), None)));
    assert!(refused(decode(deep.as_bytes(), None)) || decode(deep.as_bytes(), None).is_err());
    assert!(
        decode(
            format!(r#"{{"measurements":[{{"type":"power","value":{deep}}}]}}"#).as_bytes(),
            None
        )
        .is_err()
    );
}

#[test]
fn what_stands_beside_reports_is_refused_and_not_guessed() {
    let body = r#"{"device":"m1","reports":[{"measurements":[{"type":"power","value":1}]}]}"#;
    check(body, "invalid_measurement", "belong into each report");
}

#[test]
fn the_header_overrides_every_report_and_is_checked_like_one() {
    let body = r#"[{"device":"a","measurements":[{"type":"power","value":-0.0}]},{"measurements":[{"type":"power","value":1}]}]"#;
    let Ok(Decoded::Reports(reports)) = decode(body.as_bytes(), Some("h1")) else {
        panic!("refused")
    };
    let device = Some(DeviceHint::Local("h1".to_owned()));
    assert!(reports.iter().all(|report| report.device == device));
    assert!(reports[0].measurements[0].value.is_sign_positive(), "-0 is 0");
    assert_eq!(
        decode(body.as_bytes(), Some("")).expect_err("empty").to_string(),
        "X-Device-Id is empty"
    );
}
