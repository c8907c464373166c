//! Accounts are walls: another account's id reads as 404 on every route that takes one, its things are in no list,
//! its entries are stubs.
//!
//! The routes come from the document the service gives of itself, so a new route is tried without a word here; one
//! with a parameter that is not known here fails the test.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::daybook::Daybook;

/// Ids of everything the first account has, by the parameter that takes them.
struct Theirs {
    site: String,
    device: String,
    sensor: String,
    channel: String,
    integration: String,
    user: String,
    token: String,
    contact: String,
    notification: String,
    dev_eui: &'static str,
    pack: String,
    artifact: String,
    rule: String,
    silence: String,
    event: String,
}

fn furnish(daybook: &Daybook) -> Theirs {
    let (site, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let integration = daybook
        .post("/v1/integrations", &json!({"kind": "lorawan", "name": "ttn"}))
        .expect(201);
    let dev_eui = "0011223344556677";
    daybook
        .call("POST", "/v1/ingest/lorawan")
        .token(integration["token"].as_str().expect("shown once"))
        .json(&json!({
            "end_device_ids": {"device_id": "d", "dev_eui": dev_eui},
            "uplink_message": {"session_key_id": "s", "f_cnt": 1, "f_port": 1, "frm_payload": "AQ=="},
        }))
        .send()
        .expect(200);
    let tokens = daybook.get("/v1/tokens").expect(200);
    let pack = daybook.post(
        "/v1/evidence",
        &json!({"device_id": device, "from": "2026-01-01", "to": "2999-01-01"}),
    );
    let artifact = daybook.post(
        "/v1/artifacts",
        &json!({"sha256": "ab".repeat(32), "size": 1, "media_type": "text/plain", "name": "x", "device_id": device}),
    );
    let channel = text(&sensors["data"][0]["channel_id"]);
    let rules = daybook.get(&format!("/v1/channels/{channel}/rules")).expect(200);
    // No grace: the next value is an alarm.
    let sensor = text(&sensors["data"][0]["id"]);
    daybook
        .patch(&format!("/v1/sensors/{sensor}"), &json!({"grace_min": 0}))
        .expect(200);
    daybook.send(&token, "hut01", None, 99.0).expect(200);
    let silence = daybook
        .post(
            &format!("/v1/sensors/{sensor}/silence"),
            &json!({"from": "2126-01-01T00:00:00Z", "to": "2126-01-02T00:00:00Z", "reason": "x"}),
        )
        .expect(201);
    let event = loop {
        let events = daybook.get("/v1/events").expect(200);
        if let Some(id) = events["data"][0]["id"].as_str() {
            break id.to_owned();
        }
    };
    let contact = daybook
        .post(
            "/v1/webhooks",
            &json!({"name": "plant", "url": "https://127.0.0.1:1/hook"}),
        )
        .expect(201);
    let sent = daybook
        .post(&format!("/v1/contacts/{}/test", text(&contact["id"])), &json!({}))
        .expect(202);
    Theirs {
        pack: text(&pack.expect(202)["id"]),
        artifact: text(&artifact.expect(201)["id"]),
        site,
        device,
        sensor: text(&sensors["data"][0]["id"]),
        channel: text(&sensors["data"][0]["channel_id"]),
        integration: text(&integration["id"]),
        user: text(&daybook.get("/v1/account").expect(200)["you"]["id"]),
        token: text(&tokens["data"][0]["id"]),
        contact: text(&contact["id"]),
        notification: text(&sent["notification_id"]),
        dev_eui,
        rule: text(&rules["data"][0]["id"]),
        silence: text(&silence["id"]),
        event,
    }
}

fn stranger(daybook: &Daybook) -> String {
    let (code, token, said) = daybook.cli(&["account", "open", "Next door", "next@example.eu"]);
    assert_eq!(code, 0, "{said}");
    token.trim().to_owned()
}

/// A body that would be taken if the thing were one's own.
fn body_of(method: &str, path: &str, own_site: &str) -> Value {
    let device = json!({"site_id": own_site, "local_id": "x", "name": "x", "model": "x"});
    match (method, path) {
        ("POST", "/v1/tray/{dev_eui}/adopt") => device,
        ("POST", "/v1/devices/{id}/move") => json!({"to_site_id": own_site}),
        ("POST", "/v1/devices/{id}/sensors") => json!({"kind": "humidity"}),
        ("PATCH", "/v1/sites/{id}" | "/v1/devices/{id}" | "/v1/users/{id}") => json!({"name": "mine now"}),
        ("PATCH", "/v1/sensors/{id}") => json!({"ok_max": 99}),
        ("PATCH", "/v1/rules/{id}") | ("POST", "/v1/channels/{id}/rules") => json!({"ok_max": 99}),
        ("POST", "/v1/events/{id}/comment") => json!({"note": "mine now"}),
        ("POST", "/v1/events/{id}/close" | "/v1/events/{id}/reopen") => json!({"reason": "mine now"}),
        ("POST", "/v1/events/{id}/sign") => json!({"act": "close", "meaning": "mine_now"}),
        ("POST", "/v1/sensors/{id}/silence") => json!({"to": "2126-01-02T00:00:00Z", "reason": "mine now"}),
        ("POST", "/v1/channels/{id}/annotations") => {
            json!({"ts": "2026-01-01T00:00:00Z", "note": "mine now"})
        }
        _ => json!({}),
    }
}

#[test]
fn another_accounts_ids_are_not_there_on_any_route() {
    let daybook = Daybook::start();
    let theirs = furnish(&daybook);
    let token = stranger(&daybook);
    let own_site = daybook
        .call("POST", "/v1/sites")
        .token(&token)
        .json(&json!({"name": "Mine", "vertical": "haccp"}))
        .send()
        .expect(201)["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let ids = BTreeMap::from([
        ("/v1/sites/", theirs.site.as_str()),
        ("/v1/devices/", &theirs.device),
        ("/v1/sensors/", &theirs.sensor),
        ("/v1/channels/", &theirs.channel),
        ("/v1/integrations/", &theirs.integration),
        ("/v1/users/", &theirs.user),
        ("/v1/tokens/", &theirs.token),
        ("/v1/tray/", theirs.dev_eui),
        ("/v1/evidence/", &theirs.pack),
        ("/v1/artifacts/", &theirs.artifact),
        ("/v1/rules/", &theirs.rule),
        ("/v1/silences/", &theirs.silence),
        ("/v1/events/", &theirs.event),
        ("/v1/contacts/", &theirs.contact),
        ("/v1/webhooks/", &theirs.contact),
        ("/v1/outbound/", &theirs.notification),
    ]);
    // What these name belongs to no account.
    let public = [
        "/v1/heads/{date}",
        "/heads/{year}/{file}",
        "/keys/{file}",
        "/log/tile/{path}",
        "/log/entries/{path}",
    ];
    let document = daybook.call("GET", "/openapi.json").send().expect(200);
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        if !path.contains('{') || path.starts_with("/v1/ingest") || public.contains(&path.as_str()) {
            continue;
        }
        let (prefix, id) = ids
            .iter()
            .find(|(prefix, _)| path.starts_with(**prefix))
            .unwrap_or_else(|| panic!("whose is the id in {path}?"));
        let filled = {
            let tail = &path[prefix.len()..];
            let (_, rest) = tail.split_once('}').expect("a parameter");
            format!("{prefix}{id}{rest}")
        };
        for method in item.as_object().expect("methods").keys() {
            let method = method.to_uppercase();
            let call = daybook.call(&method, &filled).token(&token);
            let answer = match method.as_str() {
                "GET" => call.send(),
                _ => call.json(&body_of(&method, path, &own_site)).send(),
            };
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
            answer.refused(404);
            tried += 1;
        }
    }
    assert!(tried >= 20, "only {tried} routes were tried");
    // Nothing was changed by trying.
    assert_eq!(
        daybook.get(&format!("/v1/sites/{}", theirs.site)).expect(200)["name"],
        "Kitchen"
    );
    assert_eq!(daybook.get(&format!("/v1/devices/{}", theirs.device)).status, 200);
    let queries = [
        format!("/v1/devices?site_id={}", theirs.site),
        format!(
            "/v1/devices?account_id={}",
            daybook.get("/v1/account").expect(200)["id"]
                .as_str()
                .expect("an id")
        ),
        format!("/v1/measurements?channel_ids={}", theirs.channel),
        format!("/v1/refusals?device_id={}", theirs.device),
    ];
    for path in queries {
        let answer = daybook.call("GET", &path).token(&token).send();
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let registered = daybook
        .call("POST", "/v1/artifacts")
        .token(&token)
        .json(
            &json!({"sha256": "ab".repeat(32), "size": 1, "media_type": "text/plain", "name": "x",
            "device_id": theirs.device}),
        )
        .send();
    assert_eq!(registered.refused(404), "subject_not_found");
    for (name, id) in [
        ("site_id", &theirs.site),
        ("device_id", &theirs.device),
        ("channel_id", &theirs.channel),
    ] {
        let asked = daybook
            .call("POST", "/v1/evidence")
            .token(&token)
            .json(&json!({name: id, "from": "2026-01-01", "to": "2999-01-01"}))
            .send();
        assert_eq!(asked.status, 404, "{name}: {}", asked.text());
    }
    // Also where the days are none of the alarm's.
    for days in [json!({}), json!({"from": "2999-01-02", "to": "2999-01-01"})] {
        let mut body = json!({"alarm_id": theirs.event});
        for (name, day) in days.as_object().expect("members") {
            body[name] = day.clone();
        }
        let asked = daybook
            .call("POST", "/v1/evidence")
            .token(&token)
            .json(&body)
            .send();
        assert_eq!(asked.refused(404), "alarm_not_found", "{body}");
    }
    let moved = daybook
        .call("POST", "/v1/devices")
        .token(&token)
        .json(&json!({"site_id": theirs.site, "local_id": "x", "name": "x", "model": "x"}))
        .send();
    assert_eq!(moved.refused(404), "site_not_found");
}

#[test]
fn another_accounts_things_are_in_no_list_and_its_entries_are_stubs() {
    let daybook = Daybook::start();
    let theirs = furnish(&daybook);
    let token = stranger(&daybook);
    let own = daybook
        .call("GET", "/v1/account")
        .token(&token)
        .send()
        .expect(200);
    let own_account = own["id"].as_str().expect("an id").to_owned();
    let secrets = [
        theirs.site.as_str(),
        &theirs.device,
        &theirs.sensor,
        &theirs.channel,
        &theirs.integration,
        &theirs.user,
        &theirs.token,
        &theirs.contact,
        &theirs.notification,
        theirs.dev_eui,
        &theirs.pack,
        &theirs.artifact,
    ];
    let lists = [
        "/v1/sites",
        &format!("/v1/devices?account_id={own_account}"),
        "/v1/integrations",
        "/v1/tray",
        "/v1/users",
        "/v1/tokens",
        "/v1/evidence",
        "/v1/artifacts",
        "/v1/timeline",
        &format!("/v1/timeline?subject={}", theirs.device),
        "/v1/refusals",
        "/v1/contacts",
        "/v1/outbound",
        "/v1/entries?limit=1000",
        "/v1/entries?type=DeviceRegistered,ReadingRecorded,SiteCreated,ChannelRegistered",
        &format!("/v1/entries?stream=readings/{}", theirs.device),
        "/v1/account",
    ];
    for path in lists {
        let answer = daybook.call("GET", path).token(&token).send();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        for secret in secrets {
            assert!(!answer.text().contains(secret), "{path} tells {secret}");
        }
    }
    let entries = daybook
        .call("GET", "/v1/entries?limit=1000")
        .token(&token)
        .send()
        .ndjson();
    let mut shown = 0;
    for (position, entry) in entries.iter().enumerate() {
        assert_eq!(entry["position"], position);
        if entry["withheld"] == true {
            assert_eq!(entry.as_object().map(serde_json::Map::len), Some(3), "{entry}");
            continue;
        }
        shown += 1;
        let whose = entry["metadata"]["account"].as_str();
        assert!(
            entry["aggregate_type"] == "ledger" || whose == Some(&own_account),
            "{entry}"
        );
    }
    assert!(shown > 3 && shown < entries.len());
    let position = entries
        .iter()
        .position(|entry| entry["withheld"] == true)
        .expect("something is withheld");
    let proof = daybook
        .call("GET", &format!("/v1/proofs/inclusion?position={position}"))
        .token(&token);
    let proof = wait_signed(&daybook, position, || proof.again());
    assert_eq!(proof["entry"], Value::Null);
    assert_eq!(proof["leaf_hash"], entries[position]["leaf_hash"]);
    let bundle = daybook
        .call("GET", "/log/tile/entries/000.p/1")
        .token(&token)
        .send();
    assert_eq!(bundle.refused(403), "forbidden");
    // The first account's people are ledger auditors, unless the settings say otherwise.
    let all = daybook.get("/v1/entries?limit=1000").ndjson();
    assert!(all.iter().filter(|entry| entry["withheld"] == true).all(|stub| {
        let position = stub["position"].as_u64().expect("a position") as usize;
        entries[position]["withheld"] == true
    }));
}

fn wait_signed(daybook: &Daybook, position: usize, ask: impl Fn() -> tests::daybook::Reply) -> Value {
    daybook.until_signed(position as u64 + 1);
    ask().expect(200)
}

#[test]
fn a_ledger_without_auditors_shows_nobody_anothers_entries() {
    let daybook = Daybook::with().set("first_account_audits", false).start();
    let token = stranger(&daybook);
    daybook
        .call("POST", "/v1/sites")
        .token(&token)
        .json(&json!({"name": "Mine", "vertical": "haccp"}))
        .send()
        .expect(201);
    let seen = daybook.get("/v1/entries").ndjson();
    let newest = seen.last().expect("entries");
    assert_eq!(newest["withheld"], true);
}
