//! Stops, kills, second processes: what the edge promises across them.
//!
//! Not here: kills at random instants under load (the soak), the ledger's own recovery.

use serde_json::json;
use tests::daybook::Daybook;

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut daybook = Daybook::start();
    let (site, device, token) = daybook.device("hut01");
    let taken = daybook
        .send(&token, "hut01", Some("2026-05-17T08:22:00Z"), 4.2)
        .expect(200);
    let (size, root) = (taken["size"].clone(), taken["root"].clone());
    daybook.kill9();
    daybook.restart();
    let read = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    assert_eq!(read["data"][0]["last_value"], 4.2);
    assert_eq!(
        daybook.get(&format!("/v1/sites/{site}")).expect(200)["name"],
        "Kitchen"
    );
    let again = daybook
        .send(&token, "hut01", Some("2026-05-17T08:22:00Z"), 4.2)
        .expect(200);
    assert_eq!(again["deduplicated"], 1);
    daybook.until_signed(size.as_u64().expect("a size"));
    let proof = daybook
        .call("GET", &format!("/v1/proofs/consistency?from={size}"))
        .send()
        .expect(200);
    assert_eq!(proof["from_root"], root);
}

#[test]
fn an_idempotency_key_survives_a_kill() {
    let mut daybook = Daybook::start();
    let (_, _, token) = daybook.device("hut01");
    let send = |daybook: &Daybook, value: f64| {
        daybook
            .call("POST", "/v1/ingest")
            .token(&token)
            .header("Idempotency-Key", "k1")
            .json(&json!({"device": "hut01", "measurements": [{"type": "temperature", "value": value}]}))
            .send()
    };
    let first = send(&daybook, 1.0).expect(200);
    assert_eq!(first["accepted"], 1);
    daybook.kill9();
    daybook.restart();
    let again = send(&daybook, 1.0).expect(200);
    assert_eq!(
        (&again["accepted"], &again["replayed"]),
        (&json!(1), &json!(true)),
        "{again}"
    );
    let position = |answer: &serde_json::Value, name: &str| answer[name].as_u64().expect("a number");
    let (begin, count) = (position(&first, "first_position"), position(&first, "entries"));
    assert!(
        (begin..begin + count).contains(&position(&again, "first_position")),
        "{again}"
    );
    assert_eq!(send(&daybook, 2.0).refused(409), "idempotency_conflict");
}

#[test]
fn a_stop_signs_the_last_position_and_exits_with_0() {
    let mut daybook = Daybook::start();
    let (_, _, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    assert!(daybook.stop().success());
    daybook.restart();
    let ready = daybook.call("GET", "/readyz").send().expect(200);
    assert_eq!(ready["ready"], true);
    let entries = daybook.get("/v1/entries?limit=1000").ndjson();
    let started = entries
        .iter()
        .filter(|entry| entry["event_type"] == "SoftwareStarted")
        .count();
    assert_eq!(started, 2);
    assert!(entries.iter().all(|entry| entry["event_type"] != "TailCut"));
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_in_words() {
    let daybook = Daybook::start();
    let (code, _, said) = daybook.cli(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("in use"), "{said}");
    daybook.get("/v1/account").expect(200);
}

#[test]
fn another_origin_is_refused_and_the_first_one_stays() {
    let mut daybook = Daybook::with().set("origin", "daybook.example.eu/main").start();
    assert_eq!(
        daybook.get("/v1/account").expect(200)["origin"],
        "daybook.example.eu/main"
    );
    daybook.stop();
    let (code, _, said) = daybook.cli(&["serve", "--listen", "127.0.0.1:0", "--origin", "other.example/x"]);
    assert_eq!(code, 1);
    assert!(said.contains("daybook.example.eu/main"), "{said}");
}

#[test]
fn the_rebuilt_read_models_answer_the_same_with_and_without_a_service() {
    let mut daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    for n in 0..10 {
        daybook.send(&token, "hut01", None, f64::from(n)).expect(200);
    }
    daybook.until_projected();
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let channel = sensors["data"][0]["channel_id"].as_str().expect("an id");
    let path = format!("/v1/channels/{channel}/measurements?format=csv&from=2020-01-01T00:00:00Z");
    let before = daybook.get(&path).text();
    assert_eq!(before.lines().count(), 11);
    let (code, _, said) = daybook.cli(&["rebuild"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(daybook.get(&path).text(), before);
    daybook.stop();
    std::fs::remove_file(daybook.data().join("projections.sqlite")).expect("it is there");
    let (code, _, said) = daybook.cli(&["rebuild"]);
    assert_eq!(code, 0, "{said}");
    daybook.restart();
    assert_eq!(daybook.get(&path).text(), before);
}

#[test]
fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let daybook = Daybook::start();
    let (code, found, _) = daybook.cli(&["doctor"]);
    assert_eq!(code, 0, "{found}");
    assert!(found.contains("entries, "), "{found}");
    let token = daybook.data().join("owner-token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).expect("set");
    let (code, found, _) = daybook.cli(&["doctor", "--json"]);
    assert_eq!(code, 1);
    assert!(found.contains("chmod 0600"), "{found}");
}

#[test]
fn a_key_file_that_others_may_read_stops_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let mut daybook = Daybook::start();
    daybook.stop();
    let key = daybook.data().join("keys/log-key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("set");
    let said = daybook.try_restart().expect_err("refused");
    assert!(said.contains("chmod 0600"), "{said}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
    daybook.restart();
}
