//! Asking for evidence packs and registering artefacts: what is taken, what is refused, how often.
//!
//! Not here: what packs prove (`pack`, and the service under a clock of the test's).

use serde_json::{Value, json};
use tests::daybook::Daybook;

#[test]
fn a_pack_is_asked_for_watched_and_fetched() {
    let daybook = Daybook::with().set("rate_per_minute", 0).start();
    let (site, _, token) = daybook.device("fridge");
    for n in 0..10 {
        daybook.send(&token, "fridge", None, f64::from(n)).expect(200);
    }
    let asked = daybook.post(
        "/v1/evidence",
        &json!({"site_id": site, "from": "2026-01-01", "to": "2999-01-01T00:00:00+02:00", "reason": "inspection"}),
    );
    let asked = asked.expect(202);
    assert_eq!(asked["state"], "queued");
    let pack = daybook.until_made(&asked["poll"]);
    assert_eq!(
        (&pack["state"], &pack["values"]),
        (&json!("ready"), &json!(10)),
        "{pack}"
    );
    assert_eq!(pack["query"]["to"], "2998-12-31", "the UTC day of a time counts");
    assert!(pack["open_from"].is_string(), "today is not closed: {pack}");
    let file = daybook.get(pack["file"].as_str().expect("a link"));
    assert_eq!(file.header("content-length"), Some(&*pack["bytes"].to_string()));
    let name = file.header("content-disposition").expect("a name").to_owned();
    assert!(name.starts_with("attachment; filename=\"daybook-pck_") && name.ends_with(".zip\""));
    let out = daybook.scratch().join("fetched.zip");
    std::fs::write(&out, &file.body).expect("writable");
    let key = daybook
        .cli(&["key", "show"])
        .1
        .lines()
        .next()
        .expect("a key")
        .to_owned();
    let verified = std::process::Command::new(tests::daybook::binary())
        .args(["evidence", "verify", out.to_str().expect("a path"), "--key", &key])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(
        (verified.status.code(), said.starts_with("UNANCHORED")),
        (Some(3), true),
        "{said}"
    );
    let list = daybook.get("/v1/evidence").expect(200);
    assert_eq!(
        (&list["data"][0]["id"], &list["has_more"]),
        (&pack["id"], &json!(false))
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let daybook = Daybook::start();
    let (site, device, _) = daybook.device("fridge");
    let days = |more: Value| {
        let mut body = json!({"device_id": device, "from": "2026-05-17", "to": "2026-05-18"});
        for (name, value) in more.as_object().expect("members") {
            body[name] = value.clone();
        }
        daybook.post("/v1/evidence", &body)
    };
    assert_eq!(days(json!({"from": "2026-05-19"})).refused(422), "invalid_range");
    assert_eq!(days(json!({"from": "yesterday"})).refused(422), "invalid_range");
    assert_eq!(days(json!({"site_id": site})).refused(422), "invalid_query");
    assert_eq!(days(json!({"device_id": null})).refused(422), "invalid_query");
    assert_eq!(days(json!({"alarm_id": "alm_x"})).refused(422), "invalid_query");
    assert_eq!(
        days(json!({"device_id": null, "alarm_id": "alm_x"})).refused(404),
        "alarm_not_found"
    );
    assert_eq!(days(json!({"to": null})).refused(422), "invalid_range");
    assert_eq!(
        days(json!({"device_id": "dev_x"})).refused(404),
        "device_not_found"
    );
    assert_eq!(
        days(json!({"recipients": ["age1x"]})).refused(422),
        "invalid_recipient"
    );
    assert_eq!(days(json!({"more": 1})).refused(400), "bad_json");
    // Days that the ledger has not had: taken on, and failed with the reason.
    let asked = days(json!({})).expect(202);
    let pack = daybook.until_made(&asked["poll"]);
    assert_eq!(
        (&pack["state"], &pack["error"]["code"]),
        (&json!("failed"), &json!("nothing_there")),
        "{pack}"
    );
    let file = daybook.get(&format!("{}/file", asked["poll"].as_str().expect("a path")));
    assert_eq!(file.refused(409), "evidence_failed");
}

#[test]
fn a_key_makes_a_repetition_the_same_pack_also_after_a_kill() {
    let mut daybook = Daybook::start();
    let (_, device, _) = daybook.device("fridge");
    let ask = |daybook: &Daybook, to: &str| {
        daybook
            .call("POST", "/v1/evidence")
            .token(&daybook.owner_token())
            .header("Idempotency-Key", "k1")
            .json(&json!({"device_id": device, "from": "2026-05-17", "to": to}))
            .send()
    };
    let first = ask(&daybook, "2999-01-01").expect(202);
    daybook.kill9();
    daybook.restart();
    let again = ask(&daybook, "2999-01-01");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(202)["id"], first["id"]);
    assert_eq!(ask(&daybook, "2999-01-02").refused(409), "idempotency_conflict");
    assert_eq!(daybook.until_made(&first["poll"])["state"], "ready");
}

#[test]
fn too_many_at_once_are_refused() {
    let daybook = Daybook::start();
    let (_, device, _) = daybook.device("fridge");
    let body = json!({"device_id": device, "from": "2026-05-17", "to": "2999-01-01"});
    let mut refused = None;
    for _ in 0..200 {
        let answer = daybook.post("/v1/evidence", &body);
        if answer.status != 202 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a limit");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.refused(429), "evidence_busy");
}

#[test]
fn an_artefact_is_registered_by_its_hash_and_its_name_is_sealed() {
    let daybook = Daybook::start();
    let (site, device, _) = daybook.device("fridge");
    let body = json!({"sha256": "ab".repeat(32), "size": 12, "media_type": "application/pdf",
        "name": "Prüfschein.pdf", "device_id": device, "metadata": {"issuer": "lab", "year": 2026}});
    let made = daybook.post("/v1/artifacts", &body).expect(201);
    assert_eq!(
        (&made["name"], &made["metadata"]["issuer"]),
        (&json!("Prüfschein.pdf"), &json!("lab"))
    );
    let one = daybook
        .get(&format!("/v1/artifacts/{}", made["id"].as_str().expect("an id")))
        .expect(200);
    assert_eq!(one, made);
    let list = daybook.get("/v1/artifacts").expect(200);
    assert_eq!(list["data"], json!([made]));
    let entry = daybook.get("/v1/entries?type=ArtefactRegistered").text();
    assert!(!entry.contains("fschein") && !entry.contains("issuer"), "{entry}");
    assert!(entry.contains(&format!("\"owner\":\"{device}\"")), "{entry}");
    let with = |name: &str, value: Value| {
        let mut body = body.clone();
        body[name] = value;
        daybook.post("/v1/artifacts", &body)
    };
    assert_eq!(with("sha256", json!("ab")).refused(422), "invalid_sha256");
    assert_eq!(
        with("media_type", json!("pdf")).refused(422),
        "invalid_media_type"
    );
    assert_eq!(with("salt", json!("x")).refused(422), "invalid_salt");
    assert_eq!(with("site_id", json!(site)).refused(422), "invalid_subject");
    assert_eq!(
        with("device_id", json!("dev_x")).refused(404),
        "subject_not_found"
    );
}
