//! What was in force at a moment: `?as_of=` on every read of configuration, a site as one document over HTTP and on the
//! command line, each with entries that prove it.

use domain::hash::{Hash, leaf_hash};
use domain::position::{Position, TreeSize};
use domain::proof::verify_inclusion;
use domain::tlog_proof::TlogProof;
use serde_json::{Value, json};
use tests::daybook::Daybook;

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text, not {value}"))
        .to_owned()
}

/// Every read of configuration, with something in it.
fn reads(daybook: &Daybook) -> Vec<String> {
    let (site, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let integration = daybook
        .post("/v1/integrations", &json!({"kind": "lorawan", "name": "ttn"}))
        .expect(201);
    let user = text(&daybook.get("/v1/account").expect(200)["you"]["id"]);
    vec![
        "/v1/account".to_owned(),
        "/v1/sites".to_owned(),
        format!("/v1/sites/{site}"),
        format!("/v1/devices?site_id={site}"),
        format!("/v1/devices/{device}"),
        format!("/v1/devices/{device}/sensors"),
        format!("/v1/sensors/{}", text(&sensors["data"][0]["id"])),
        "/v1/users".to_owned(),
        format!("/v1/users/{user}"),
        "/v1/integrations".to_owned(),
        format!("/v1/integrations/{}", text(&integration["id"])),
        "/v1/tokens".to_owned(),
        format!("/v1/tokens?owner={device}"),
    ]
}

fn with(path: &str, query: &str) -> String {
    let sign = if path.contains('?') { '&' } else { '?' };
    format!("{path}{sign}{query}")
}

#[test]
fn every_read_of_configuration_says_by_which_entries_the_past_was_decided() {
    let daybook = Daybook::start();
    let paths = reads(&daybook);
    let then = daybook.size() - 1;
    daybook.until_signed(then + 1);
    for path in &paths {
        let now = daybook.get(path);
        assert!(
            now.header("daybook-as-of").is_none() && now.expect(200).get("as_of").is_none(),
            "{path}"
        );
        let answer = daybook.get(&with(path, &format!("as_of={then}")));
        let value = answer.expect(200);
        assert_eq!(answer.header("daybook-as-of"), Some(&*then.to_string()), "{path}");
        assert_eq!(value["as_of"]["position"], json!(then), "{path}");
        let entries = value["as_of"]["entries"].as_array().expect("entries");
        assert!(!entries.is_empty(), "{path}: {value}");
        assert!(!value.to_string().contains("$2b$"), "no hash of a token");
        for entry in entries {
            let proof = daybook.get(&text(&entry["proof"]));
            let proof = TlogProof::parse(&proof.body).expect("a proof");
            let leaf = Hash::from_base64(&text(&entry["leaf_hash"])).expect("a hash");
            proof.verify_inclusion(&leaf).expect("in the tree");
            if let Some(bytes) = &proof.extra {
                assert_eq!(leaf_hash(bytes), leaf, "{path}");
            }
        }
    }
}

#[test]
fn a_moment_that_has_not_come_or_was_before_the_ledger_is_refused_in_words() {
    let daybook = Daybook::start();
    for path in reads(&daybook) {
        for (moment, status, code) in [
            ("2999-01-01T00:00:00Z", 400, "moment_not_come"),
            ("1999-01-01T00:00:00Z", 404, "before_the_ledger"),
            ("999999", 404, "position_not_found"),
            ("yesterday", 400, "bad_query"),
            ("2026-05-17", 400, "bad_query"),
        ] {
            let answer = daybook.get(&with(&path, &format!("as_of={moment}")));
            assert_eq!(answer.refused(status), code, "{path} {moment}");
        }
    }
}

#[test]
fn the_past_costs_more_of_a_persons_rate_than_the_present() {
    for path in ["/v1/sites?as_of=3", "/v1/sites/{site}/as-of"] {
        let daybook = Daybook::with().set("user_rate_per_minute", 60).start();
        let (site, ..) = daybook.device("hut01");
        let path = path.replace("{site}", &site);
        // As many requests of the plain kind would pass.
        let refused = (0..30)
            .map(|_| daybook.get(&path))
            .find(|answer| answer.status != 200)
            .unwrap_or_else(|| panic!("{path} is asked for ever"));
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.refused(429), "rate_limited", "{path}");
    }
}

/// Device ids of a document, in order.
fn devices(document: &Value) -> Vec<String> {
    let all = document["devices"].as_array().expect("devices");
    all.iter().map(|device| text(&device["id"])).collect()
}

#[test]
fn a_site_as_of_an_instant_is_one_document_and_the_command_line_says_the_same() {
    let mut daybook = Daybook::start();
    let (site, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let sensor = text(&daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200)["data"][0]["id"]);
    daybook
        .patch(&format!("/v1/sensors/{sensor}"), &json!({"ok_max": 8}))
        .expect(200);
    let then = daybook.size() - 1;
    let other = daybook
        .post("/v1/sites", &json!({"name": "Cellar", "vertical": "climate"}))
        .expect(201);
    daybook
        .post(
            &format!("/v1/devices/{device}/move"),
            &json!({"to_site_id": other["id"]}),
        )
        .expect(200);
    daybook
        .patch(&format!("/v1/sensors/{sensor}"), &json!({"ok_max": 9}))
        .expect(200);
    let later = daybook.size() - 1;
    daybook.until_signed(later + 1);

    let ask = |site: &str, at: u64| {
        daybook
            .get(&format!("/v1/sites/{site}/as-of?at={at}&proof=true"))
            .expect(200)
    };
    let document = ask(&site, then);
    assert_eq!(devices(&document), [device.as_str()]);
    let channel = &document["channels"][0];
    assert_eq!(channel["value"]["ok_max"], json!(8));
    let changed = channel["entries"]
        .as_array()
        .expect("entries")
        .last()
        .expect("the change");
    assert_eq!(
        (&changed["position"], &changed["event_type"]),
        (&json!(then), &json!("ChannelChanged"))
    );
    let (size, note) = (
        &document["proofs"]["size"],
        text(&document["proofs"]["checkpoint"]),
    );
    let root = note.lines().nth(2).and_then(Hash::from_base64).expect("a root");
    let path: Vec<Hash> = serde_json::from_value(changed["proof"].clone()).expect("hashes");
    let size = TreeSize(size.as_u64().expect("a size"));
    let leaf = Hash::from_base64(&text(&changed["leaf_hash"])).expect("a hash");
    verify_inclusion(&leaf, Position(then), size, &path, &root).expect("in the tree");
    assert_eq!(document["users"][0]["value"]["role"], "owner");
    assert!(
        document["users"][0]["value"]["email"]
            .as_str()
            .is_some_and(|email| email.contains('@'))
    );
    let kinds: Vec<_> = document["tokens"]
        .as_array()
        .expect("tokens")
        .iter()
        .map(|t| t["kind"].clone())
        .collect();
    assert!(
        kinds.contains(&json!("device")) && kinds.contains(&json!("user")),
        "{kinds:?}"
    );
    assert!(document["software"]["value"]["binary_sha256"].is_string());
    assert_eq!(document["rules"], json!([]));
    assert!(!document.to_string().contains("$2b$"));

    assert!(devices(&ask(&site, later)).is_empty());
    let moved = ask(&text(&other["id"]), later);
    assert_eq!(devices(&moved), [device.as_str()]);
    assert_eq!(moved["channels"][0]["value"]["ok_max"], json!(9));
    let early = daybook.get(&format!("/v1/sites/{}/as-of?at={then}", text(&other["id"])));
    assert_eq!(early.refused(404), "site_not_found");

    let said = |daybook: &Daybook| {
        let (code, out, err) = daybook.cli(&["--json", "as-of", &then.to_string(), &site, "--proof"]);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).expect("JSON")
    };
    let beside = said(&daybook);
    for part in [
        "as_of",
        "site",
        "devices",
        "channels",
        "users",
        "tokens",
        "software",
        "witness_policy",
    ] {
        let without = |value: &Value| strip_proofs(value.clone());
        assert_eq!(without(&beside[part]), without(&document[part]), "{part}");
    }
    daybook.stop();
    assert_eq!(
        strip_proofs(said(&daybook)["devices"].clone()),
        strip_proofs(document["devices"].clone())
    );
    for (at, what) in [
        ("2999-01-01", "not come"),
        ("1999-01-01", "begins at"),
        ("soon", "position or a time"),
        ("999999", "not in the ledger"),
    ] {
        let (code, out, err) = daybook.cli(&["as-of", at, &site]);
        assert_eq!((code, &*out), (2, ""), "{at}: {err}");
        assert!(err.contains(what), "{at}: {err}");
    }
}

#[test]
fn what_a_webhook_is_signed_with_and_where_it_goes_is_in_no_read() {
    let daybook = Daybook::start();
    let (site, ..) = daybook.device("hut01");
    let made = daybook
        .post(
            "/v1/webhooks",
            &json!({"name": "plant", "url": "https://plant.example/hook-of-theirs?key=theirs"}),
        )
        .expect(201);
    let secret = text(&made["secret"]);
    let contact = text(&made["id"]);
    let at = daybook.size() - 1;
    let rotated = daybook
        .post(&format!("/v1/webhooks/{contact}/rotate-secret"), &json!({}))
        .expect(200);
    let newer = text(&rotated["secret"]);
    let now = daybook.size() - 1;
    for path in [
        format!("/v1/sites/{site}/as-of?at={at}"),
        format!("/v1/sites/{site}/as-of?at={now}"),
        format!("/v1/contacts/{contact}"),
        "/v1/contacts".to_owned(),
        "/v1/entries".to_owned(),
        "/v1/timeline".to_owned(),
    ] {
        let read = daybook.get(&path).text();
        assert!(
            !read.contains(&secret) && !read.contains(&newer),
            "{path}: {read}"
        );
        assert!(!read.contains("hook-of-theirs"), "{path}: {read}");
    }
    let document = daybook
        .get(&format!("/v1/sites/{site}/as-of?at={now}"))
        .expect(200);
    let value = &document["contacts"][0]["value"];
    assert_eq!(value["secret"], "(withheld)");
    assert_eq!(value["address"], "https://plant.example/…");
    assert_eq!(value["address_index"], Value::Null);
}

/// Proofs are under whichever checkpoint is the latest.
fn strip_proofs(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.remove("proof");
            for member in members.values_mut() {
                *member = strip_proofs(member.take());
            }
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| *value = strip_proofs(value.take())),
        _ => {}
    }
    value
}
