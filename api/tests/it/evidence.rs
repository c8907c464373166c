//! Evidence packs from a whole service whose days the test ends: asked for, made, fetched, verified by what an auditor
//! kept, and found out where something is missing.
//!
//! Not here: packs by themselves and every forgery (the workspace's end-to-end tests).

use crate::service::Service;
use age::secrecy::ExposeSecret;
use chain_publisher::VerifySettings;
use chain_publisher::evidence::{Evidence, Trust};
use domain::hash::{Hash, sha256};
use domain::note::VerifierKey;
use serde_json::{Value, json};
use std::io::Read;
use std::process::Command;
use tests::debian;
use tests::pack_ledger::{Files, verdict};

const DAY: &str = "2026-05-17";
const CLIP: &[u8] = b"what the camera saw";

/// A device with five readings, and a clip of it, of a day that is over.
fn recorded() -> (Service, String) {
    let service = Service::start("2026-05-17T22:00:00Z");
    let (_, site) = service.site("Kitchen");
    let (status, device) = service.post(
        "/v1/devices",
        &json!({"site_id": site["id"], "local_id": "fridge", "name": "Fridge", "model": "diy_esp32"}),
    );
    assert_eq!(status, 201, "{device}");
    let (id, token) = (text(&device["id"]), text(&device["ingest_token"]));
    for n in 0..5 {
        service.clock.pass(60);
        let (status, taken) = service.post_as(
            &token,
            "/v1/ingest",
            &json!({"device": "fridge", "measurements": [{"type": "temperature", "value": 4 + n}]}),
        );
        assert_eq!(status, 200, "{taken}");
    }
    let (status, artefact) = service.post(
        "/v1/artifacts",
        &json!({"sha256": sha256(CLIP), "size": CLIP.len(), "media_type": "video/mp4", "name": "clip.mp4",
            "device_id": id, "metadata": {"camera": "door"}}),
    );
    assert_eq!(status, 201, "{artefact}");
    service.clock.pass(3 * 3600);
    service.until("/v1/heads", |heads| heads["data"][0]["date"] == DAY);
    (service, id)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Asks for a pack of the day and waits until there is one.
fn ready(service: &Service, ask: &Value) -> Value {
    let (status, asked) = service.post("/v1/evidence", ask);
    assert_eq!((status, &asked["state"]), (202, &json!("queued")), "{asked}");
    let made = service.until(&text(&asked["poll"]), |pack| {
        pack["state"] == "ready" || pack["state"] == "failed"
    });
    assert_eq!(made["state"], "ready", "{made}");
    made
}

fn auditor(service: &Service, heads: &[&[u8]]) -> VerifySettings {
    let app = service.app.as_ref().expect("it runs");
    VerifySettings {
        trust: Trust {
            keys: vec![VerifierKey::parse(&app.verifier_keys().0).expect("a key")],
            policy: None,
            rotations: Vec::new(),
        },
        evidence: heads
            .iter()
            .map(|head| Evidence::parse("the head that was kept", head).expect("a head"))
            .collect(),
        ..VerifySettings::default()
    }
}

#[test]
fn a_pack_over_http_is_verified_by_a_kept_head_and_a_reading_taken_out_is_missed() {
    let (service, device) = recorded();
    let head = service.get("/heads/2026/2026-05-17.tlog-proof").1;
    let made = ready(&service, &json!({"device_id": device, "from": DAY, "to": DAY}));
    assert_eq!((&made["values"], &made["open_from"]), (&json!(5), &Value::Null));
    let (status, bytes) = service.get(&text(&made["file"]));
    assert_eq!((status, made["bytes"].as_u64()), (200, Some(bytes.len() as u64)));
    assert_eq!(made["sha256"], sha256(&bytes).to_string());
    let report = verdict(&bytes, &auditor(&service, &[&head]));
    assert_eq!(report.report.verdict.word(), "VERIFIED", "{report}");
    assert!(report.to_string().contains("files of 1 artefacts"), "{report}");
    assert_eq!(
        made["manifest_sha256"],
        report.manifest_sha256.expect("a manifest").to_string()
    );
    let alone = verdict(&bytes, &auditor(&service, &[]));
    assert_eq!(alone.report.verdict.word(), "UNANCHORED", "{alone}");

    // It is in the ledger, and says nothing in the clear about who asked.
    let issued = service.get("/v1/entries?type=EvidencePackIssued").1;
    let issued: Value = serde_json::from_slice(&issued).expect("one entry");
    let payload = &issued["payload"];
    assert_eq!(issued["position"], made["position"]);
    assert_eq!(payload["manifest_sha256"], made["manifest_sha256"]);
    assert_eq!(payload["pack_sha256"], made["sha256"]);
    assert_eq!(
        payload["query"],
        json!({"device": device, "from": DAY, "to": DAY})
    );
    assert!(payload["asker"]["sealed"].is_object(), "{issued}");

    // Whoever holds the receipt key may write another manifest, and not another ledger.
    let app = service.app.as_ref().expect("it runs");
    let mut files = Files::of(&bytes);
    let gone = files.entries_with("ReadingRecorded")[2].0;
    files.lines("entries.ndjson", |line| {
        tests::pack_ledger::position_of(line) != gone
    });
    files.rederive();
    files.renode(app.tiles());
    files.reseal(app.receipt_signer());
    let less = verdict(&files.zip(), &auditor(&service, &[&head]));
    assert_eq!(less.report.verdict.word(), "INCOMPLETE", "{less}");
}

#[test]
fn a_pack_of_an_alarm_is_verified_by_a_kept_head_and_is_incomplete_without_the_alarm() {
    let service = Service::start("2026-05-17T10:00:00Z");
    let (_, site) = service.site("Kitchen");
    let (status, device) = service.post(
        "/v1/devices",
        &json!({"site_id": site["id"], "local_id": "fridge", "name": "Fridge", "model": "diy_esp32"}),
    );
    assert_eq!(status, 201, "{device}");
    let token = text(&device["ingest_token"]);
    let send = |value: f64| {
        service.clock.pass(60);
        let body = json!({"device": "fridge", "measurements": [{"type": "temperature", "value": value}]});
        let (status, taken) = service.post_as(&token, "/v1/ingest", &body);
        assert_eq!(status, 200, "{taken}");
    };
    send(4.0);
    let sensors = service.json(&format!("/v1/devices/{}/sensors", text(&device["id"])));
    let rules = format!("/v1/channels/{}/rules", text(&sensors["data"][0]["channel_id"]));
    let rule = json!({"kind": "range", "ok_max": 5.0, "grace_min": 0, "severity": "warn", "name": "cold"});
    let (status, made) = service.post(&rules, &rule);
    assert_eq!(status, 201, "{made}");
    send(9.5);
    let is_of_rule = |event: &Value| event["rule_id"] == made["id"];
    let events = service.until("/v1/events", |events| {
        events["data"]
            .as_array()
            .is_some_and(|all| all.iter().any(is_of_rule))
    });
    let all = events["data"].as_array().expect("a list");
    let alarm = text(&all.iter().find(|event| is_of_rule(event)).expect("an alarm")["id"]);
    send(4.0);
    // The day of the alarm, the day of its last entry and the day after are over.
    for day in [DAY, "2026-05-18", "2026-05-19"] {
        service.clock.pass(86_400);
        service.until("/v1/heads", |heads| heads["data"][0]["date"] == day);
    }
    let head = service.get("/heads/2026/2026-05-19.tlog-proof").1;
    let made = ready(&service, &json!({"alarm_id": alarm, "to": "2026-05-18"}));
    assert_eq!(
        (&made["query"]["from"], &made["open_from"]),
        (&json!("2026-05-16"), &Value::Null)
    );
    let bytes = service.get(&text(&made["file"])).1;
    let report = verdict(&bytes, &auditor(&service, &[&head]));
    assert_eq!(report.report.verdict.word(), "VERIFIED", "{report}");
    let app = service.app.as_ref().expect("it runs");
    let mut files = Files::of(&bytes);
    let opened = files.entries_with("AlarmOpened");
    let gone = opened
        .iter()
        .find(|(_, line)| line.contains(&alarm))
        .expect("its first entry")
        .0;
    files.lines("entries.ndjson", |line| {
        tests::pack_ledger::position_of(line) != gone
    });
    files.rederive();
    files.renode(app.tiles());
    files.reseal(app.receipt_signer());
    let less = verdict(&files.zip(), &auditor(&service, &[&head]));
    assert_eq!(less.report.verdict.word(), "INCOMPLETE", "{less}");
}

#[test]
fn the_verifier_in_python_that_a_pack_brings_along_agrees() {
    let Some(python) = debian::program(&["python3"], &["python3"]) else {
        eprintln!("NOT TESTED: there is no python3 here");
        return;
    };
    let (service, device) = recorded();
    let made = ready(&service, &json!({"device_id": device, "from": DAY, "to": DAY}));
    let bytes = service.get(&text(&made["file"])).1;
    let mut files = Files::of(&bytes);
    let keep = |name: &str, bytes: &[u8]| {
        let path = service.scratch().join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    };
    let script = keep("verify.py", files.file("verify.py"));
    let pack = keep("pack.zip", &bytes);
    let head = keep("head", &service.get("/heads/2026/2026-05-17.tlog-proof").1);
    let key = service.app.as_ref().expect("it runs").verifier_keys().0;
    let run = |pack: &std::path::Path| {
        let out = Command::new(&python)
            .args([script.as_os_str(), pack.as_os_str()])
            .args(["--key", &key, "--head"])
            .arg(&head)
            .output()
            .expect("python runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
        )
    };
    let (code, said) = run(&pack);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("files of artefacts that are not in it"), "{said}");
}

#[test]
fn an_encrypted_pack_opens_with_its_receivers_key_and_is_the_same_pack() {
    let (service, device) = recorded();
    let key = age::x25519::Identity::generate();
    let made = ready(
        &service,
        &json!({"device_id": device, "from": DAY, "to": DAY, "recipients": [key.to_public().to_string()]}),
    );
    let (_, bytes) = service.get(&text(&made["file"]));
    assert!(bytes.starts_with(b"age-encryption.org/v1\n"));
    assert_eq!(made["sha256"], sha256(&bytes).to_string());
    let mut pack = Vec::new();
    let identity: &dyn age::Identity = &key;
    age::Decryptor::new(&bytes[..])
        .and_then(|file| file.decrypt(std::iter::once(identity)))
        .expect("it is for this key")
        .read_to_end(&mut pack)
        .expect("whole");
    assert_eq!(made["pack_sha256"], sha256(&pack).to_string());
    let head = service.get("/heads/2026/2026-05-17.tlog-proof").1;
    let report = verdict(&pack, &auditor(&service, &[&head]));
    assert_eq!(report.report.verdict.word(), "VERIFIED", "{report}");
    let issued: Value =
        serde_json::from_slice(&service.get("/v1/entries?type=EvidencePackIssued").1).expect("one entry");
    let fingerprint: Hash = sha256(key.to_public().to_string().as_bytes());
    assert_eq!(issued["payload"]["encrypted"]["recipients"], json!([fingerprint]));

    // Somebody else's implementation opens it, too.
    let Some(program) = debian::program(&["age", "rage"], &["age"]) else {
        eprintln!("NOT TESTED: there is no age here");
        return;
    };
    let (secret, closed) = (
        service.scratch().join("key"),
        service.scratch().join("pack.zip.age"),
    );
    std::fs::write(&secret, key.to_string().expose_secret()).expect("writable");
    std::fs::write(&closed, &bytes).expect("writable");
    let opened = Command::new(program)
        .arg("--decrypt")
        .arg("--identity")
        .args([&secret, &closed])
        .output()
        .expect("it runs");
    assert!(
        opened.status.success(),
        "{}",
        String::from_utf8_lossy(&opened.stderr)
    );
    assert!(opened.stdout == pack);
}

#[test]
fn what_a_stop_interrupts_is_made_after_the_start_and_what_expires_says_so() {
    let (service, device) = recorded();
    let ask = json!({"device_id": device, "from": DAY, "to": DAY});
    let (_, first) = service.post("/v1/evidence", &ask);
    let (_, second) = service.post("/v1/evidence", &ask);
    let service = service.again(Vec::new());
    let mut made = Vec::new();
    for asked in [&first, &second] {
        made.push(service.until(&text(&asked["poll"]), |pack| pack["state"] == "ready"));
    }
    assert_eq!(made[0]["query"], made[1]["query"]);
    let issued = service.get("/v1/entries?type=EvidencePackIssued").1;
    assert_eq!(
        issued.iter().filter(|b| **b == b'\n').count(),
        2,
        "each is recorded once"
    );

    service.clock.pass(8 * 86_400);
    let third = ready(&service, &ask);
    let expired = |asked: &Value| service.until(&text(&asked["poll"]), |pack| pack["state"] == "expired");
    let (gone, _) = (expired(&first), expired(&second));
    assert_eq!(gone["file"], Value::Null);
    assert_eq!(gone["sha256"], made[0]["sha256"], "what it was is still told");
    let (status, answer) = service.get(&format!("{}/file", text(&first["poll"])));
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (410, &json!("evidence_expired"))
    );
    let files = std::fs::read_dir(service.scratch().join("data/evidence")).expect("a folder");
    let packs = files
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|e| e == "zip"));
    assert_eq!(packs.count(), 1);
    assert_eq!(third["state"], "ready");
}

#[test]
fn files_of_nobody_are_removed_at_the_start_and_half_files_never_stay() {
    let (service, device) = recorded();
    let made = ready(&service, &json!({"device_id": device, "from": DAY, "to": DAY}));
    let folder = service.scratch().join("data/evidence");
    for name in ["pck_nobody.zip", "pck_half.zip.new"] {
        std::fs::write(folder.join(name), b"x").expect("writable");
    }
    let service = service.again(Vec::new());
    let mut left: Vec<String> = std::fs::read_dir(&folder)
        .expect("a folder")
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    let id = text(&made["id"]);
    assert_eq!(left, [format!("{id}.json"), format!("{id}.zip")]);
    assert_eq!(service.get(&text(&made["file"])).0, 200);
}
