//! Sites, devices, sensors, users, tokens, integrations: made, changed, listed, as they were then.
//!
//! Not here: who may (`access`), whose (`walls`).

use serde_json::{Value, json};
use tests::daybook::Daybook;

fn id(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_site_is_made_changed_and_read_as_it_was_then() {
    let daybook = Daybook::start();
    let made = daybook.post(
        "/v1/sites",
        &json!({"name": "Küche", "vertical": "haccp", "timezone": "Europe/Prague", "reason": "opening day"}),
    );
    let site = made.expect(201);
    assert_eq!(site["name"], "Küche");
    assert_eq!(made.header("etag"), Some("\"1\""));
    let path = format!("/v1/sites/{}", id(&site));
    assert_eq!(made.header("location"), Some(path.as_str()));

    let before = site["position"].as_u64().expect("a position");
    let changed = daybook
        .call("PATCH", &path)
        .token(&daybook.owner_token())
        .header("If-Match", "\"1\"")
        .json(&json!({"name": "Kitchen 1", "address": "Main street 1", "reason": {"code": "correction", "text": "typo"}}))
        .send();
    assert_eq!(changed.expect(200)["name"], "Kitchen 1");
    assert_eq!(changed.header("etag"), Some("\"2\""));

    let then = daybook.get(&format!("{path}?as_of={before}")).expect(200);
    assert_eq!((&then["name"], &then["address"]), (&json!("Küche"), &Value::Null));
    let at = changed.json()["changed_at"].as_str().expect("a time").to_owned();
    assert_eq!(
        daybook.get(&format!("{path}?as_of={at}")).expect(200)["name"],
        "Kitchen 1"
    );
    let first = daybook.get(&format!("{path}?as_of={}", before - 1));
    assert_eq!(first.refused(404), "site_not_found");
    assert_eq!(
        daybook.get(&format!("{path}?as_of=999999")).refused(404),
        "position_not_found"
    );
    assert_eq!(
        daybook.get(&format!("{path}?as_of=yesterday")).refused(400),
        "bad_query"
    );
}

#[test]
fn a_stale_if_match_changes_nothing() {
    let daybook = Daybook::start();
    let site = daybook
        .post("/v1/sites", &json!({"name": "A", "vertical": "climate"}))
        .expect(201);
    let path = format!("/v1/sites/{}", id(&site));
    daybook.patch(&path, &json!({"name": "B"})).expect(200);
    for stale in ["\"1\"", "W/\"2\"", "\"2\", \"3\"", "nonsense"] {
        let refused = daybook
            .call("PATCH", &path)
            .token(&daybook.owner_token())
            .header("If-Match", stale)
            .json(&json!({"name": "C"}))
            .send();
        assert_eq!(refused.refused(412), "precondition_failed", "{stale}");
    }
    assert_eq!(daybook.get(&path).expect(200)["name"], "B");
    let fits = daybook
        .call("PATCH", &path)
        .token(&daybook.owner_token())
        .header("If-Match", "\"2\"")
        .json(&json!({"name": "C"}))
        .send();
    assert_eq!(fits.expect(200)["name"], "C");
}

#[test]
fn a_device_lives_is_moved_and_goes_while_its_measurements_stay() {
    let daybook = Daybook::start();
    let (site, device, token) = daybook.device("hut01");
    let path = format!("/v1/devices/{device}");
    daybook.send(&token, "hut01", None, 4.2).expect(200);

    let seen = daybook.get(&path).expect(200);
    assert_eq!(seen["online"], true);
    assert!(seen["last_seen_at"].is_string());
    assert!(seen.get("ingest_token").is_none());

    let listed = daybook
        .get(&format!("/v1/devices?site_id={site}&online=true&model=ESP"))
        .expect(200);
    assert_eq!(listed["data"][0]["id"], json!(device));
    assert_eq!(
        daybook
            .get(&format!("/v1/devices?site_id={site}&online=false"))
            .expect(200)["data"],
        json!([])
    );
    assert_eq!(daybook.get("/v1/devices").refused(400), "bad_query");

    let immutable = daybook.patch(&path, &json!({"model": "other"}));
    assert_eq!(immutable.refused(422), "immutable_field");

    let other = daybook
        .post("/v1/sites", &json!({"name": "Cellar", "vertical": "haccp"}))
        .expect(201);
    let moved = daybook
        .post(
            &format!("{path}/move"),
            &json!({"to_site_id": id(&other), "reason": "rebuilt"}),
        )
        .expect(200);
    assert_eq!(moved["site_id"], other["id"]);

    let sensors = daybook.get(&format!("{path}/sensors")).expect(200);
    let channel = sensors["data"][0]["channel_id"]
        .as_str()
        .expect("a channel")
        .to_owned();
    assert_eq!(daybook.delete(&path).status, 204);
    assert_eq!(daybook.get(&path).refused(404), "device_not_found");
    assert_eq!(
        daybook.send(&token, "hut01", None, 4.3).refused(401),
        "token_invalid"
    );
    let kept = daybook
        .get(&format!("/v1/channels/{channel}/measurements"))
        .expect(200);
    assert_eq!(kept["data"][0][1], 4.2);
}

#[test]
fn a_sensors_limits_are_changed_with_the_old_value_beside_the_new_one() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 9.0).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let sensor = &sensors["data"][0];
    let state = &sensor["state"];
    assert!(
        *state == "grace" || *state == "ok",
        "judged by its limits, a moment later: {sensor}"
    );
    assert_eq!(sensor["outside_limits"], true);
    let path = format!("/v1/sensors/{}", sensor["id"].as_str().expect("an id"));
    let changed = daybook
        .patch(
            &path,
            &json!({"ok_min": -2, "ok_max": 10, "grace_min": 20, "reason": "warm display case"}),
        )
        .expect(200);
    assert_eq!(
        (&changed["ok_max"], &changed["outside_limits"]),
        (&json!(10.0), &json!(false))
    );
    assert_eq!(
        daybook.patch(&path, &json!({"ok_max": null})).expect(200)["ok_max"],
        Value::Null
    );
    assert_eq!(
        daybook
            .patch(&path, &json!({"ok_min": 5, "ok_max": 1}))
            .refused(422),
        "invalid_range"
    );
    assert_eq!(
        daybook.patch(&path, &json!({"grace_min": 361})).refused(422),
        "grace_too_long"
    );

    let channel = sensor["channel_id"].as_str().expect("an id");
    let timeline = daybook
        .get(&format!("/v1/timeline?subject={channel}"))
        .expect(200);
    let change = timeline["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|item| item["payload"]["changes"]["grace_min"].is_object())
        .expect("the change");
    assert_eq!(
        change["payload"]["changes"]["grace_min"],
        json!({"old": 15, "new": 20})
    );
    assert_eq!(change["payload"]["reason_text"], "warm display case");
}

#[test]
fn a_sensor_can_be_set_up_before_its_first_value() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    let path = format!("/v1/devices/{device}/sensors");
    let made = daybook
        .post(&path, &json!({"kind": "temperature", "ok_min": 0, "ok_max": 1}))
        .expect(201);
    assert_eq!(
        (&made["state"], &made["ok_max"]),
        (&json!("no_data"), &json!(1.0))
    );
    let taken = daybook.send(&token, "hut01", None, 4.2).expect(200);
    assert_eq!(taken["channels"][0]["channel_id"], made["channel_id"]);
    assert_eq!(
        daybook.post(&path, &json!({"kind": "happiness"})).refused(422),
        "unknown_kind"
    );
    assert_eq!(
        daybook.post(&path, &json!({"kind": "temperature"})).refused(409),
        "channel_exists"
    );
}

#[test]
fn lists_go_on_where_their_cursor_says() {
    let daybook = Daybook::start();
    for n in 0..5 {
        daybook
            .post(
                "/v1/sites",
                &json!({"name": format!("Site {n}"), "vertical": "energy"}),
            )
            .expect(201);
    }
    let mut names = Vec::new();
    let mut path = "/v1/sites?limit=2".to_owned();
    loop {
        let page = daybook.get(&path).expect(200);
        names.extend(
            page["data"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|site| site["name"].clone()),
        );
        assert_eq!(page["has_more"], page["next_cursor"].is_string());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/sites?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["Site 0", "Site 1", "Site 2", "Site 3", "Site 4"]);
    assert_eq!(daybook.get("/v1/sites?cursor=xyz").refused(400), "bad_cursor");
    assert_eq!(daybook.get("/v1/sites?limit=0").refused(400), "bad_query");
}

#[test]
fn a_rotated_token_ends_the_old_one_at_once_or_after_the_overlap() {
    let daybook = Daybook::start();
    let (_, device, old) = daybook.device("hut01");
    daybook.send(&old, "hut01", None, 1.0).expect(200);
    let path = format!("/v1/devices/{device}/rotate-token");
    let next = daybook.post(&path, &json!({})).expect(200)["ingest_token"].clone();
    let next = next.as_str().expect("shown once").to_owned();
    assert_eq!(
        daybook.send(&old, "hut01", None, 1.1).refused(401),
        "token_invalid"
    );
    daybook.send(&next, "hut01", None, 1.2).expect(200);
    let last = daybook.post(&path, &json!({"overlap_s": 3600})).expect(200)["ingest_token"].clone();
    daybook.send(&next, "hut01", None, 1.3).expect(200);
    daybook
        .send(last.as_str().expect("shown once"), "hut01", None, 1.4)
        .expect(200);
    assert_eq!(
        daybook
            .post(&path, &json!({"overlap_s": 99_999_999}))
            .refused(422),
        "overlap_too_long"
    );
}

#[test]
fn a_repeated_creation_answers_the_same_ids_and_no_token() {
    let daybook = Daybook::start();
    let (site, _, _) = daybook.device("hut01");
    let body = json!({"site_id": site, "local_id": "hut02", "name": "B", "model": "diy"});
    let send = |body: &Value, key: &str| {
        daybook
            .call("POST", "/v1/devices")
            .token(&daybook.owner_token())
            .header("Idempotency-Key", key)
            .json(body)
            .send()
    };
    let first = send(&body, "key-1").expect(201);
    assert!(first["ingest_token"].is_string());
    let again = send(&body, "key-1");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let again = again.expect(201);
    assert_eq!(again["id"], first["id"]);
    assert_eq!(again["ingest_token"], Value::Null);
    assert!(again["hint"].as_str().expect("a hint").contains("rotate"));
    let mut other = body.clone();
    other["name"] = json!("C");
    assert_eq!(send(&other, "key-1").refused(409), "idempotency_conflict");
    assert_eq!(send(&body, "key-2").refused(409), "local_id_taken");
    assert_eq!(send(&body, &"k".repeat(201)).refused(400), "bad_idempotency_key");
}

#[test]
fn people_and_their_tokens_are_managed() {
    let daybook = Daybook::start();
    let made = daybook
        .post(
            "/v1/users",
            &json!({"email": "Jana@Example.eu", "name": "Jana", "role": "auditor"}),
        )
        .expect(201);
    assert_eq!(
        (&made["role"], &made["name"]),
        (&json!("auditor"), &json!("Jana"))
    );
    let path = format!("/v1/users/{}", id(&made));
    assert_eq!(
        daybook
            .post("/v1/users", &json!({"email": "jana@example.eu", "role": "owner"}))
            .refused(409),
        "email_taken"
    );
    assert_eq!(
        daybook.patch(&path, &json!({"role": "owner"})).expect(200)["role"],
        "owner"
    );
    assert_eq!(
        daybook.get("/v1/users").expect(200)["data"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_eq!(daybook.delete(&path).status, 204);
    assert_eq!(daybook.get(&path).refused(404), "user_not_found");
    let owner = daybook.get("/v1/account").expect(200)["you"]["id"].clone();
    let last = daybook.delete(&format!("/v1/users/{}", owner.as_str().expect("an id")));
    assert_eq!(last.refused(409), "last_owner");

    let token = daybook.post("/v1/tokens", &json!({})).expect(201);
    let text = token["token"].as_str().expect("shown once");
    daybook.call("GET", "/v1/account").token(text).send().expect(200);
    let listed = daybook.get("/v1/tokens").expect(200);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2));
    assert!(!listed.to_string().contains("$2b$"), "{listed}");
    let revoked = daybook.delete(&format!("/v1/tokens/{}", id(&token)));
    assert_eq!(revoked.status, 204);
    assert_eq!(
        daybook.call("GET", "/v1/account").token(text).send().refused(401),
        "token_invalid"
    );
}

#[test]
fn bodies_that_are_not_what_belongs_there_are_refused_in_words() {
    let daybook = Daybook::start();
    let token = daybook.owner_token();
    let post = |body: &[u8]| daybook.call("POST", "/v1/sites").token(&token).bytes(body).send();
    assert_eq!(post(b"{").refused(400), "bad_json");
    assert_eq!(post(b"[]").refused(400), "bad_json");
    assert_eq!(
        post(br#"{"name":"x","vertical":"haccp","colour":1}"#).refused(400),
        "bad_json"
    );
    assert_eq!(post(br#"{"name":"x"}"#).refused(400), "bad_json");
    assert_eq!(
        post(br#"{"name":"","vertical":"haccp"}"#).refused(422),
        "invalid_name"
    );
    assert_eq!(
        post(br#"{"name":"x","vertical":"moon"}"#).refused(422),
        "invalid_vertical"
    );
    let twice = post(br#"{"name":"x","vertical":"haccp","name":"y"}"#);
    assert!(twice.text().contains("`name` stands twice"), "{}", twice.text());
    assert_eq!(twice.refused(400), "bad_json");
    for ours in [
        r#"{"site_id":"x","local_id":"x","name":"x","model":"x","cadence_s":-1}"#,
        "5",
        r#"{"site_id":[]}"#,
    ] {
        let call = daybook.call("POST", "/v1/devices").token(&token).bytes(ours);
        let said = call.send().text();
        assert!(!said.contains("u32") && !said.contains("struct"), "{said}");
    }
    assert_eq!(post(&vec![b' '; 2 << 20]).refused(413), "payload_too_large");
    let problem = daybook
        .call("POST", "/v1/sites")
        .token(&token)
        .header("Accept", "application/problem+json")
        .bytes("{")
        .send();
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    assert_eq!(problem.expect(400)["code"], "bad_json");
}

#[test]
fn what_was_taken_out_of_service_is_still_there_as_it_was_then() {
    let daybook = Daybook::start();
    let (site, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let sensor = id(&sensors["data"][0]);
    let then = daybook.size() - 1;
    assert_eq!(daybook.delete(&format!("/v1/devices/{device}")).status, 204);
    for path in [
        format!("/v1/devices/{device}"),
        format!("/v1/devices/{device}/sensors"),
        format!("/v1/sensors/{sensor}"),
    ] {
        assert_eq!(daybook.get(&path).status, 404, "{path}");
        daybook.get(&format!("{path}?as_of={then}")).expect(200);
    }
    let listed = daybook.get(&format!("/v1/devices?site_id={site}&as_of={then}"));
    assert_eq!(listed.expect(200)["data"][0]["id"], json!(device));
    let online = daybook.get(&format!("/v1/devices?site_id={site}&online=true&as_of={then}"));
    assert_eq!(online.refused(400), "bad_query");
    let bare_plus = daybook.get(&format!("/v1/devices/{device}?as_of=2020-01-01T00:00:00+01:00"));
    assert_eq!(bare_plus.refused(404), "before_the_ledger");
}

#[test]
fn if_match_is_held_against_every_change_of_a_device() {
    let daybook = Daybook::start();
    let (site, device, token) = daybook.device("hut01");
    let integration = daybook
        .post("/v1/integrations", &json!({"kind": "lorawan", "name": "ttn"}))
        .expect(201);
    let integration = format!("/v1/integrations/{}", id(&integration));
    let device = format!("/v1/devices/{device}");
    for (method, path, body) in [
        ("PATCH", device.clone(), json!({"name": "x"})),
        ("DELETE", device.clone(), json!({})),
        ("POST", format!("{device}/move"), json!({"to_site_id": site})),
        ("POST", format!("{device}/rotate-token"), json!({})),
        ("POST", format!("{device}/sensors"), json!({"kind": "co2"})),
        ("DELETE", integration.clone(), json!({})),
        ("POST", format!("{integration}/rotate-token"), json!({})),
    ] {
        let size = daybook.size();
        let stale = daybook
            .call(method, &path)
            .token(&daybook.owner_token())
            .header("If-Match", "\"99\"")
            .json(&body)
            .send();
        assert_eq!(stale.refused(412), "precondition_failed", "{method} {path}");
        assert_eq!(daybook.size(), size, "{method} {path}");
    }
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let fits = daybook
        .call("POST", &format!("{device}/rotate-token"))
        .token(&daybook.owner_token())
        .header("If-Match", "\"1\"")
        .json(&json!({}))
        .send();
    fits.expect(200);
}

#[test]
fn changes_of_several_at_once_without_if_match_lose_nothing_of_each_other() {
    let daybook = Daybook::start();
    let (site, _, _) = daybook.device("hut01");
    let (status, contact) = {
        let body = json!({"kind": "email", "name": "Anna", "address": "anna@example.eu"});
        let reply = daybook.post("/v1/contacts", &body);
        (reply.status, reply.json())
    };
    assert_eq!(status, 201, "{contact}");
    let contact = format!("/v1/contacts/{}", contact["id"].as_str().expect("an id"));
    let digest = format!("/v1/sites/{site}/notifications");
    for round in 1..=10u32 {
        let changes = [
            (&contact, json!({"preferences": {"after_min": round}})),
            (&contact, json!({"preferences": {"daily_digest": round % 2 == 1}})),
            (&contact, json!({"preferences": {"challenge": round % 2 == 1}})),
            (&digest, json!({"digest": {"enabled": round % 2 == 1}})),
            (&digest, json!({"digest": {"min_interval_min": round}})),
        ];
        std::thread::scope(|all| {
            for (path, body) in &changes {
                let daybook = &daybook;
                all.spawn(move || daybook.patch(path, body).expect(200));
            }
        });
        let odd = round % 2 == 1;
        let is = |value: &Value| value.as_bool().unwrap_or(false);
        let now = daybook.get(&contact).expect(200)["preferences"].clone();
        assert_eq!(now["after_min"], json!(round));
        assert_eq!((is(&now["daily_digest"]), is(&now["challenge"])), (odd, odd));
        let now = daybook.get(&digest).expect(200)["digest"].clone();
        assert_eq!(
            (is(&now["enabled"]), &now["min_interval_min"]),
            (odd, &json!(round))
        );
    }
}

#[test]
fn the_short_lists_come_in_pages_too_where_that_is_asked_for() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    let both = json!({"device": "hut01", "measurements": [
        {"type": "temperature", "value": 4.2}, {"type": "humidity", "value": 61},
    ]});
    daybook
        .call("POST", "/v1/ingest")
        .token(&token)
        .json(&both)
        .send()
        .expect(200);
    let path = format!("/v1/devices/{device}/sensors");
    let whole = daybook.get(&path).expect(200);
    assert_eq!(whole["has_more"], false);
    let first = daybook.get(&format!("{path}?limit=1")).expect(200);
    assert_eq!(
        (&first["has_more"], &first["data"][0]["id"]),
        (&json!(true), &whole["data"][0]["id"])
    );
    let cursor = first["next_cursor"].as_str().expect("there is more").to_owned();
    let second = daybook
        .get(&format!("{path}?limit=1&cursor={cursor}"))
        .expect(200);
    assert_eq!(
        (&second["has_more"], &second["next_cursor"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(second["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["data"][0]["id"], whole["data"][1]["id"]);
    let channel = whole["data"][0]["channel_id"].as_str().expect("an id");
    let rules = format!("/v1/channels/{channel}/rules");
    assert_eq!(
        daybook.get(&format!("{rules}?limit=1")).expect(200)["has_more"],
        false
    );
    assert_eq!(
        daybook.get(&format!("{rules}?cursor={cursor}")).refused(400),
        "bad_cursor"
    );
    daybook
        .get(&format!("/v1/channels/{channel}/calibrations?limit=5"))
        .expect(200);
}
