//! Readings over HTTP: every vendor's door, batches, duplicates, receipts, limits, refusals.
//!
//! Not here: every payload there is (payload cases), kills (`restart`).

use chain_publisher::VerifySettings;
use chain_publisher::evidence::Trust;
use chain_publisher::receipt::{ReceiptQuestion, verify_receipt};
use chain_publisher::url::Url;
use domain::hash::{leaf_hash, sha256};
use domain::note::{Note, VerifierKey};
use serde_json::{Value, json};
use tests::daybook::{Daybook, Reply};

fn ingest(daybook: &Daybook, token: &str, body: &Value) -> Reply {
    daybook.call("POST", "/v1/ingest").token(token).json(body).send()
}

fn integration(daybook: &Daybook, kind: &str) -> String {
    let made = daybook
        .post("/v1/integrations", &json!({"kind": kind, "name": "gateway"}))
        .expect(201);
    made["token"].as_str().expect("shown once").to_owned()
}

#[test]
fn a_reading_is_taken_told_and_read_back() {
    let daybook = Daybook::start();
    let (_, _, token) = daybook.device("hut01");
    let body = json!({
        "device": "hut01",
        "ts": "2026-05-17T08:22:00Z",
        "measurements": [
            {"type": "temperature", "value": 4.2, "label": "front"},
            {"type": "temperature", "value": 4.4, "label": "back"},
            {"type": "humidity", "value": 61},
        ],
    });
    let taken = ingest(&daybook, &token, &body).expect(200);
    assert_eq!(
        (&taken["accepted"], &taken["deduplicated"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(taken["channels"][0]["type"], "temperature");
    assert_eq!(taken["channels"][0]["label"], "front");
    let again = ingest(&daybook, &token, &body).expect(200);
    assert_eq!(
        (&again["accepted"], &again["deduplicated"]),
        (&json!(0), &json!(3))
    );
    let channel = taken["channels"][1]["channel_id"].as_str().expect("an id");
    let path =
        format!("/v1/channels/{channel}/measurements?from=2026-05-17T00:00:00Z&to=2026-05-18T00:00:00Z");
    let read = daybook.get(&path);
    assert_eq!(read.expect(200)["data"], json!([["2026-05-17T08:22:00Z", 4.4]]));
    let tag = read.header("etag").expect("a tag");
    let unchanged = daybook
        .call("GET", &path)
        .token(&daybook.owner_token())
        .header("If-None-Match", tag)
        .send();
    assert_eq!(unchanged.status, 304);
    let csv = daybook.get(&format!("{path}&format=csv"));
    assert_eq!(csv.text(), "ts,value\n2026-05-17T08:22:00Z,4.4\n");
    let hour = daybook.get(&format!("{path}&agg=1h&fn=count")).expect(200);
    assert_eq!(hour["data"], json!([["2026-05-17T08:00:00Z", 1]]));
    let many = daybook.get(&format!(
        "/v1/measurements?channel_ids={channel}&from=2026-05-17T00:00:00Z&to=2026-05-18T00:00:00Z"
    ));
    assert_eq!(
        many.expect(200)["data"][channel],
        json!([["2026-05-17T08:22:00Z", 4.4]])
    );
}

#[test]
fn a_token_is_taken_as_bearer_basic_and_in_the_query_and_never_logged() {
    let mut daybook = Daybook::with().set("log", "trace").start();
    let (_, _, token) = daybook.device("hut01");
    let body = json!({"measurements": [{"type": "temperature", "value": 1}]}).to_string();
    let post = |path: &str| daybook.call("POST", path).bytes(body.clone());
    post("/v1/ingest").token(&token).send().expect(200);
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("x:{token}"));
    post("/v1/ingest")
        .header("Authorization", &format!("Basic {basic}"))
        .send()
        .expect(200);
    post(&format!("/v1/ingest?token={token}")).send().expect(200);
    post(&format!("/v1/ingest?token={token}x")).send().refused(401);
    daybook
        .call("GET", &format!("/v1/ingest/shelly?token={token}&temp=4.2"))
        .header("X-Downlink-Apikey", "NNSXS.SECRETKEY")
        .send()
        .expect(200);
    daybook.stop();
    let (said, secret) = (
        daybook.said(),
        token.rsplit('_').next().expect("a secret").to_owned(),
    );
    assert!(said.contains("stop"), "{said}");
    assert!(!said.contains(&secret), "the token is in the log");
    assert!(!said.contains(&basic), "the token is in the log");
    assert!(!said.contains("SECRETKEY"), "the downlink key is in the log");
}

#[test]
fn shelly_urls_and_notifications_are_readings() {
    let daybook = Daybook::start();
    let (_, _, token) = daybook.device("hut01");
    let gen1 =
        format!("/v1/ingest/shelly?token={token}&device=hut01&temp=4.2&hum=68.0&battery=92&signal=-58");
    let taken = daybook.call("GET", &gen1).send().expect(200);
    assert_eq!(taken["accepted"], 4);
    let rpc = json!({
        "src": "shellyhtg3-84fce63ad204", "method": "NotifyStatus",
        "params": {"ts": 1_779_000_000.5, "temperature:0": {"id": 0, "tC": 21.5, "tF": 70.7}},
    });
    let taken = daybook
        .call("POST", &format!("/v1/ingest/shelly?token={token}&device=hut01"))
        .json(&rpc)
        .send()
        .expect(200);
    assert_eq!(taken["accepted"], 1, "{taken}");
    let unevaluated = format!("/v1/ingest/shelly?token={token}&device=hut01&temp=%24%7Bev.tC%7D");
    let refused = daybook.call("GET", &unevaluated).send();
    assert_eq!(refused.refused(422), "no_measurement");
    assert!(refused.text().contains("unevaluated_token"));
}

fn uplink(dev_eui: &str, f_cnt: u32, celsius: f64) -> Value {
    json!({
        "end_device_ids": {"device_id": "d1", "dev_eui": dev_eui, "application_ids": {"application_id": "a"}},
        "received_at": "2026-05-17T08:22:00.100Z",
        "uplink_message": {
            "session_key_id": "AXA50tHUAkNxY6HrMg9pQA==", "f_port": 2, "f_cnt": f_cnt, "frm_payload": "AQID",
            "decoded_payload": {"temperature": celsius},
            "rx_metadata": [{"rssi": -50, "snr": 8.5}],
            "received_at": format!("2026-05-17T08:22:{f_cnt:02}.000Z"),
        },
    })
}

#[test]
fn an_unknown_lorawan_device_waits_in_the_tray_and_is_adopted_with_its_readings() {
    let daybook = Daybook::start();
    let (site, _, _) = daybook.device("hut01");
    let token = integration(&daybook, "lorawan");
    let eui = "0011223344556677";
    for f_cnt in 1..=3 {
        let parked = daybook
            .call("POST", &format!("/v1/ingest/lorawan/ttn/up?token={token}"))
            .json(&uplink(eui, f_cnt, f64::from(f_cnt)))
            .send()
            .expect(200);
        assert_eq!(parked["parked"], 1, "{parked}");
    }
    let tray = daybook.get("/v1/tray").expect(200);
    assert_eq!(
        (&tray["data"][0]["dev_eui"], &tray["data"][0]["uplinks"]),
        (&json!(eui), &json!(3))
    );
    let last = &tray["data"][0]["last_uplink"];
    assert_eq!(
        (&last["frame"], &last["f_port"]),
        (&json!("AQID"), &json!(2)),
        "the bytes are kept beside what was decoded"
    );
    let arrived = last["received_at"].clone();
    let adopted = daybook
        .post(
            &format!("/v1/tray/{eui}/adopt"),
            &json!({"site_id": site, "local_id": "probe1", "name": "Probe", "model": "lht65"}),
        )
        .expect(201);
    assert_eq!(adopted["dev_eui"], json!(eui));
    assert_eq!(adopted["ingest_url_kind"], "lorawan");
    assert!(
        adopted["adopted_uplinks"].as_u64().is_some_and(|n| n >= 1),
        "{adopted}"
    );
    assert_eq!(
        adopted["last_seen_at"], arrived,
        "it was seen when it sent, not when it was adopted"
    );
    assert_eq!(daybook.get("/v1/tray").expect(200)["data"], json!([]));
    let next = daybook
        .call("POST", &format!("/v1/ingest/lorawan?token={token}"))
        .json(&uplink(eui, 4, 4.0))
        .send()
        .expect(200);
    assert!(next["accepted"].as_u64().is_some_and(|n| n >= 1), "{next}");
    let again = daybook
        .call("POST", &format!("/v1/ingest/lorawan?token={token}"))
        .json(&uplink(eui, 4, 4.0))
        .send()
        .expect(200);
    assert_eq!(again["accepted"], 0, "the same frame again: {again}");
}

#[test]
fn an_efento_gateway_is_answered_201_with_what_was_taken_and_what_was_not() {
    let daybook = Daybook::start();
    let site = daybook
        .post("/v1/sites", &json!({"name": "A", "vertical": "haccp"}))
        .expect(201);
    daybook
        .post(
            "/v1/devices",
            &json!({"site_id": site["id"], "local_id": "e1", "name": "E", "model": "efento", "serial": "282C024FFFB3"}),
        )
        .expect(201);
    let token = integration(&daybook, "efento");
    let measurement = |serial: &str, handle: u32| {
        json!({
            "serial": serial, "response_handle": handle, "battery": "ok", "signal": -70,
            "measured_at": "2026-05-17 15:28:21", "measurement_interval": 180, "next_measurement_at": "2026-05-17 15:31:21",
            "params": [{"channel": 1, "type": "temperature", "value": 5.0}],
        })
    };
    let send = |body: &Value| {
        daybook
            .call("POST", "/api/v2/measurements")
            .header("X-Api-Token", &token)
            .json(body)
            .send()
    };
    let both =
        send(&json!({"measurements": [measurement("282C024FFFB3", 3), measurement("000000000000", 4)]}));
    assert_eq!(both.expect(201), json!({"Y": [3], "N": [4]}));
    let unknown = send(&json!({"measurements": [measurement("000000000000", 9)]}));
    assert_eq!(unknown.expect(201), json!({"Y": [], "N": [9]}));
    assert_eq!(
        send(&json!({"measurements": 7})).expect(201),
        json!({"Y": [], "N": []})
    );
    let nobody = daybook
        .call("POST", "/api/v2/measurements")
        .json(&json!({}))
        .send();
    assert_eq!(nobody.refused(401), "auth_required");
}

#[test]
fn a_batch_takes_what_is_right_and_tells_what_is_not() {
    let daybook = Daybook::start();
    let (site, _, _) = daybook.device("hut01");
    daybook.device_on(&site, "hut02");
    let token = integration(&daybook, "gateway");
    let report = |device: &str, value: f64| json!({"device": device, "measurements": [{"type": "temperature", "value": value}]});
    let taken = ingest(
        &daybook,
        &token,
        &json!([report("hut01", 1.0), report("nobody", 2.0), report("hut02", 3.0)]),
    );
    let taken = taken.expect(200);
    assert_eq!(taken["accepted"], 2);
    assert_eq!(
        (&taken["refused"][0]["report"], &taken["refused"][0]["code"]),
        (&json!(1), &json!("device_not_found"))
    );
    let none = ingest(&daybook, &token, &json!([report("a", 1.0), report("b", 1.0)]));
    assert_eq!(none.refused(422), "device_not_found");
    let many: Vec<Value> = (0..1001).map(|_| report("hut01", 1.0)).collect();
    assert!((400..=422).contains(&ingest(&daybook, &token, &json!(many)).status));
}

#[test]
fn a_receipt_verifies_and_holds_what_was_sent() {
    let daybook = Daybook::start();
    let (_, _, token) = daybook.device("hut01");
    let body =
        json!({"device": "hut01", "measurements": [{"type": "temperature", "value": 4.25}]}).to_string();
    let answer = daybook
        .call("POST", "/v1/ingest")
        .token(&token)
        .header("Prefer", "return=receipt")
        .bytes(body.clone())
        .send();
    assert_eq!(answer.header("preference-applied"), Some("return=receipt"));
    let receipt = answer.expect(200)["receipt"].clone();
    let (_, keys, _) = daybook.cli(&["key", "show"]);
    let key = VerifierKey::parse(keys.lines().nth(1).expect("the receipt key")).expect("a key");
    let note = Note::parse(receipt["note"].as_str().expect("a note").as_bytes()).expect("a note");
    note.verify([&key]).expect("signed by the receipt key");
    let lines: Vec<&str> = note.text().lines().collect();
    assert_eq!(lines[0], "daybook/receipt/v1");
    assert_eq!(lines[2], "recorded");
    assert_eq!(lines[3], sha256(body.as_bytes()).to_base64());
    let mut held = false;
    for (line, entry) in lines[5..]
        .iter()
        .zip(receipt["entries"].as_array().expect("entries"))
    {
        let bytes = entry["entry"].as_str().expect("bytes");
        assert_eq!(
            *line,
            format!("{} {}", entry["position"], leaf_hash(bytes.as_bytes()))
        );
        held |= bytes.contains("4.25");
    }
    assert!(held);
    assert_eq!(lines.len() - 5, receipt["entries"].as_array().map_or(0, Vec::len));
    daybook.until_signed(daybook.size());
    let carried = answer.text();
    let question = ReceiptQuestion {
        name: "the answer",
        receipt: carried.as_bytes(),
        body: Some(body.as_bytes()),
        answer: None,
        keys: &[],
    };
    let owner = std::fs::read_to_string(daybook.data().join("owner-token")).expect("the owner's token");
    let log = Url::new(daybook.url(), Some(&owner)).expect("a URL");
    let settings = VerifySettings {
        trust: Trust {
            keys: vec![VerifierKey::parse(keys.lines().next().expect("the log's key")).expect("a key")],
            ..Trust::default()
        },
        ..VerifySettings::default()
    };
    let report = verify_receipt(&log, &question, &settings).expect("there is a verdict");
    assert_eq!(report.verdict.word(), "UNANCHORED", "{report}");
    assert!(
        report.message.contains("the log keeps to the receipt"),
        "{report}"
    );

    let refused = daybook
        .call("POST", "/v1/ingest")
        .token(&token)
        .header("Prefer", "return=receipt")
        .json(&json!({"device": "hut01", "measurements": [{"type": "temperature", "value": 99999}]}))
        .send();
    assert_eq!(refused.refused(422), "out_of_range");
    let note = refused.json()["receipt"]["note"]
        .as_str()
        .expect("a note")
        .to_owned();
    let note = Note::parse(note.as_bytes()).expect("a note");
    note.verify([&key]).expect("signed by the receipt key");
    assert_eq!(note.text().lines().nth(2), Some("refused:out_of_range"));
}

#[test]
fn refusals_are_in_words_counted_and_shown_for_the_device() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    let temperature =
        |value: Value| json!({"device": "hut01", "measurements": [{"type": "temperature", "value": value}]});
    assert_eq!(
        ingest(&daybook, &token, &temperature(json!(5000))).refused(422),
        "out_of_range"
    );
    let unknown = json!({"device": "hut01", "measurements": [{"type": "vibes", "value": 1}]});
    assert_eq!(ingest(&daybook, &token, &unknown).refused(422), "unknown_kind");
    let other = json!({"device": "hut99", "measurements": [{"type": "temperature", "value": 1}]});
    assert_eq!(
        ingest(&daybook, &token, &other).refused(403),
        "device_not_in_token"
    );
    let bad = daybook
        .call("POST", "/v1/ingest")
        .token(&token)
        .bytes("nan")
        .send();
    assert_eq!(bad.refused(400), "bad_json");
    let shown = daybook
        .get(&format!("/v1/refusals?device_id={device}"))
        .expect(200);
    let codes: Vec<&str> = shown["recent"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|refusal| refusal["code"].as_str())
        .collect();
    assert_eq!(
        codes,
        ["bad_json", "device_not_in_token", "unknown_kind", "out_of_range"]
    );
    assert_eq!(
        daybook.get("/v1/refusals?device_id=dev_nobody").refused(404),
        "device_not_found"
    );
}

#[test]
fn a_repeated_report_is_answered_as_the_first_was_and_another_one_is_a_conflict() {
    let daybook = Daybook::start();
    let (_, _, token) = daybook.device("hut01");
    let lorawan = integration(&daybook, "lorawan");
    let send = |method: &'static str, path: &str, token: &str, body: Option<&Value>| {
        let call = daybook
            .call(method, path)
            .token(token)
            .header("Idempotency-Key", "key-1");
        match body {
            Some(body) => call.json(body).send(),
            None => call.send(),
        }
    };
    let body = json!({"measurements": [{"type": "temperature", "value": 4.2, "label": "front"}]});
    let first = send("POST", "/v1/ingest", &token, Some(&body)).expect(200);
    let again = send("POST", "/v1/ingest", &token, Some(&body)).expect(200);
    assert_eq!(
        (&again["replayed"], &again["accepted"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(again["channels"], first["channels"]);
    let query = |celsius: &str| format!("/v1/ingest/shelly?device=hut01&temp={celsius}");
    let other = send("GET", &query("4.3"), &token, None);
    assert_eq!(
        other.refused(409),
        "idempotency_conflict",
        "its body is in the URL"
    );
    let url = format!("{}&token={token}", query("4.4"));
    let by_url = |key: &str| daybook.call("GET", &url).header("Idempotency-Key", key).send();
    by_url("key-2").expect(200);
    assert_eq!(by_url("key-2").expect(200)["replayed"], true);
    let frame = json!({
        "end_device_ids": {"device_id": "d1", "dev_eui": "0011223344556677"},
        "uplink_message": {"f_port": 2, "frm_payload": "AQID"},
    });
    let parked = send("POST", "/v1/ingest/lorawan", &lorawan, Some(&frame)).expect(200);
    let again = send("POST", "/v1/ingest/lorawan", &lorawan, Some(&frame)).expect(200);
    assert_eq!(again["first_position"], parked["first_position"], "{again}");
    let tray = daybook.get("/v1/tray").expect(200);
    assert_eq!(tray["data"][0]["uplinks"], 1, "parked once");
}

#[test]
fn a_list_of_refusals_goes_on_where_its_cursor_says() {
    let mut daybook = Daybook::start();
    let (site, _, first) = daybook.device("hut01");
    let (_, second) = daybook.device_on(&site, "hut02");
    let (_, third) = daybook.device_on(&site, "hut03");
    for token in [first, second, third] {
        ingest(&daybook, &token, &json!([])).refused(400);
    }
    // What was refused is recorded now and then, and at the stop.
    daybook.stop();
    daybook.restart();
    let list = |path: &str| {
        let page = daybook.get(path).expect(200);
        let positions: Vec<u64> = page["data"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|refusal| refusal["position"].as_u64())
            .collect();
        (
            positions,
            page["next_cursor"].as_str().map(str::to_owned),
            page["has_more"].clone(),
        )
    };
    let (whole, _, more) = list("/v1/refusals");
    assert_eq!((whole.len(), more), (3, json!(false)));
    let mut seen = Vec::new();
    let mut path = "/v1/refusals?limit=2".to_owned();
    loop {
        let (positions, cursor, more) = list(&path);
        seen.extend(positions);
        assert_eq!(more, cursor.is_some());
        match cursor {
            Some(cursor) => path = format!("/v1/refusals?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, whole, "newest first, each once");
}

#[test]
fn what_was_refused_is_in_the_ledger_after_a_stop() {
    let mut daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 5000.0).refused(422);
    daybook.send(&token, "hut01", None, 5000.0).refused(422);
    assert!(daybook.stop().success());
    daybook.restart();
    let entries = daybook.get("/v1/entries?limit=1000").ndjson();
    let refused = entries
        .iter()
        .find(|entry| entry["event_type"] == "RequestsRefused")
        .expect("it was recorded");
    assert_eq!(refused["payload"]["refused"], json!({"out_of_range": 2}));
    assert_eq!(refused["payload"]["source"], json!(format!("device:{device}")));
    let shown = daybook
        .get(&format!("/v1/refusals?device_id={device}"))
        .expect(200);
    assert_eq!(shown["data"][0]["codes"], json!({"out_of_range": 2}));
    assert!(
        shown["data"][0]["example"]
            .as_str()
            .is_some_and(|text| text.contains("5000")),
        "{shown}"
    );
}

#[test]
fn the_sixty_first_request_of_a_minute_is_limited_and_told_when_to_come_back() {
    let daybook = Daybook::start();
    let (site, _, token) = daybook.device("hut01");
    let (_, other) = daybook.device_on(&site, "hut02");
    let mut limited = None;
    for n in 0..70 {
        let answer = daybook.send(&token, "hut01", None, f64::from(n) / 10.0);
        if answer.status == 429 {
            limited = Some((n, answer));
            break;
        }
        answer.expect(200);
    }
    let (n, answer) = limited.expect("limited");
    assert!(n >= 60, "after {n}");
    assert_eq!(answer.refused(429), "rate_limited");
    let seconds: u32 = answer
        .header("retry-after")
        .expect("told")
        .parse()
        .expect("seconds");
    assert!((1..=2).contains(&seconds));
    daybook.send(&other, "hut02", None, 1.0).expect(200);
}

#[test]
fn an_integration_is_limited_for_each_of_its_devices() {
    let daybook = Daybook::with()
        .set("rate_per_minute", 1)
        .set("rate_burst", 2)
        .start();
    let (site, _, _) = daybook.device("hut01");
    daybook.device_on(&site, "hut02");
    let token = integration(&daybook, "gateway");
    let report =
        |device: &str, n: u32| json!({"device": device, "measurements": [{"type": "power", "value": n}]});
    for n in 0..2 {
        ingest(&daybook, &token, &report("hut01", n)).expect(200);
    }
    assert_eq!(
        ingest(&daybook, &token, &report("hut01", 9)).refused(429),
        "rate_limited"
    );
    ingest(&daybook, &token, &report("hut02", 1)).expect(200);
}
