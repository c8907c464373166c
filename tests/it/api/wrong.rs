//! Wrong input of a client: what is asked about that never was, ranges that go backwards, bodies that readers disagree
//! about, names that turn the words around them.
//!
//! Not here: words and numbers of queries (`document`), what devices send (`ingest`).

use serde_json::json;
use tests::daybook::Daybook;

#[test]
fn what_never_was_and_ranges_that_go_backwards_are_refused_and_not_answered_with_nothing() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let channel = sensors["data"][0]["channel_id"].as_str().expect("a channel");
    let nobody = "a".repeat(26);
    for (path, status, code) in [
        (
            format!("/v1/outbound?contact=con_{nobody}"),
            404,
            "contact_not_found",
        ),
        (format!("/v1/outbound?alarm=alm_{nobody}"), 404, "alarm_not_found"),
        (format!("/v1/outbound?contact=alm_{nobody}"), 400, "bad_query"),
        (format!("/v1/outbound?alarm={device}"), 400, "bad_query"),
        ("/v1/timeline?subject=hut01".to_owned(), 400, "bad_query"),
        (
            "/v1/outbound?since=2026-05-18&until=2026-05-17".to_owned(),
            400,
            "bad_query",
        ),
        (
            "/v1/outbound?since=2026-05-17&until=2026-05-17".to_owned(),
            400,
            "bad_query",
        ),
        (
            "/v1/events?from=2026-05-18T00:00:00Z&to=2026-05-17T00:00:00Z".to_owned(),
            400,
            "bad_query",
        ),
        (
            format!("/v1/channels/{channel}/events?from=2026-05-18T00:00:00Z&to=2026-05-17T00:00:00Z"),
            400,
            "bad_query",
        ),
    ] {
        assert_eq!(daybook.get(&path).refused(status), code, "{path}");
    }
    // What is given without a value is not given, and hides nothing.
    let all = daybook.get("/v1/timeline?subject=&limit=&cursor=").expect(200);
    assert!(!all["data"].as_array().expect("a list").is_empty());
    daybook
        .get("/v1/outbound?contact=&what=&via=&type=&since=")
        .expect(200);
    let tried = json!({
        "channel_id": channel, "rule": {"kind": "range", "ok_max": 5},
        "from": "2026-05-18T00:00:00Z", "to": "2026-05-17T00:00:00Z",
    });
    assert_eq!(
        daybook.post("/v1/rules/backtest", &tried).refused(400),
        "bad_query"
    );
    // A cursor is of one list.
    let page = daybook.get("/v1/timeline?limit=1").expect(200);
    let cursor = page["next_cursor"].as_str().expect("there is more");
    for list in ["sites", "events", "outbound", "refusals", "tokens", "heads"] {
        let answer = daybook.get(&format!("/v1/{list}?cursor={cursor}"));
        assert_eq!(answer.refused(400), "bad_cursor", "{list}");
    }
}

#[test]
fn a_body_that_readers_disagree_about_changes_nothing() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let channel = sensors["data"][0]["channel_id"].as_str().expect("a channel");
    let rules = format!("/v1/channels/{channel}/rules");
    let size = daybook.size();
    for body in [
        r#"{"kind":"range","ok_max":5,"ok_max":50}"#,
        r#"{"kind":"range","ok_max":5,"flap":{"changes":3,"within_min":5,"changes":4}}"#,
        r#"{"kind":"range","ok_max":5,"reason":{"code":"a","code":"b"}}"#,
    ] {
        let answer = daybook
            .call("POST", &rules)
            .token(&daybook.owner_token())
            .bytes(body)
            .send();
        assert!(
            answer.text().contains("stands twice"),
            "{body}: {}",
            answer.text()
        );
        assert_eq!(answer.refused(400), "bad_json", "{body}");
    }
    let wrong_type = daybook.post(&rules, &json!({"kind": "range", "ok_max": "5"}));
    let text = wrong_type.text();
    assert!(
        text.contains("expected a number") && !text.contains("f64"),
        "{text}"
    );
    assert_eq!(daybook.size(), size);
}

#[test]
fn a_name_that_turns_the_words_around_it_is_refused() {
    let daybook = Daybook::start();
    for name in ["Kitchen\u{202e}", "\u{2067}Kitchen", "Kitchen\u{2029}Alarm over"] {
        let site = json!({"name": name, "vertical": "haccp", "timezone": "Europe/Prague"});
        assert_eq!(
            daybook.post("/v1/sites", &site).refused(422),
            "invalid_name",
            "{name:?}"
        );
    }
    let site = json!({"name": "مطبخ", "vertical": "haccp", "timezone": "Europe/Prague"});
    assert_eq!(daybook.post("/v1/sites", &site).expect(201)["name"], "مطبخ");
}
