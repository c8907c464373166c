//! The pack of an alarm: what the channel owns is in it, and nothing of it can be left out; asked for over HTTP and as
//! typed, of an alarm that a service opened by itself.

use chain_publisher::pack::Subject;
use domain::hash::base64url;
use domain::ids::IdKind;
use domain::stream::blind;
use serde_json::{Value, json};
use std::process::Command;
use tests::daybook::{Daybook, verifier};
use tests::pack_ledger::{Files, PackLedger, device, id, verdict};

/// The pack without a stream: without its entries and the lines of the days' maps that tell of them.
fn without_stream(ledger: &PackLedger, pack: &[u8], kind: &str, name: &str) -> Vec<u8> {
    let mut files = Files::of(pack);
    let entries = files.entries_with(&format!(
        "\"aggregate_id\":\"{name}\",\"aggregate_type\":\"{kind}\""
    ));
    assert!(!entries.is_empty(), "{kind}/{name} is in the pack");
    let gone: Vec<u64> = entries.iter().map(|(position, _)| *position).collect();
    let blinded = base64url(&blind(&format!("{kind}/{name}")));
    files.lines("streams.ndjson", |line| {
        !String::from_utf8_lossy(line).contains(&blinded)
    });
    ledger.without(&mut files, &gone);
    files.zip()
}

/// Packs of the first alarm: as it is made, and with something left out or changed, made to fit again.
pub fn packs(ledger: &PackLedger) -> Vec<(&'static str, Vec<u8>)> {
    let alarm = |n| id(IdKind::Alarm, n);
    let query = ledger.alarm_query(&alarm(1));
    let channel = query.subject.channel().expect("a channel").to_owned();
    let (good, _) = ledger.make(&query).expect("a pack");
    let without = |kind, name: &str| without_stream(ledger, &good, kind, name);
    let rule_changed = {
        let mut files = Files::of(&good);
        files.replace("config.json", "\"ok_max\":8", "\"ok_max\":5");
        ledger.reseal(&mut files);
        files.zip()
    };
    vec![
        ("alarm-left-out", without("alarm", &alarm(1))),
        ("another-alarm-left-out", without("alarm", &alarm(3))),
        ("rule-left-out", without("rule", &id(IdKind::Rule, 9))),
        ("state-left-out", without("state", &channel)),
        ("rule-in-force-changed", rule_changed),
        ("alarm", good),
    ]
}

/// The verdict of the verifier that the pack brings along, with the log's key and a head.
fn by_python(ledger: &PackLedger, pack: &[u8], head: &[u8]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let script = Files::of(pack).file("verify.py").clone();
    let said = Command::new("python3")
        .arg(path("verify.py", &script))
        .arg(path("a.zip", pack))
        .args(["--key", &ledger.key])
        .arg("--head")
        .arg(path("head", head))
        .output()
        .expect("python3 runs");
    (
        said.status.code(),
        String::from_utf8_lossy(&said.stdout).into_owned(),
    )
}

#[test]
fn an_alarms_pack_holds_what_its_channel_owns_and_misses_what_is_left_out() {
    let ledger = PackLedger::record_with_alarms();
    let alarm = id(IdKind::Alarm, 1);
    let asked = ledger.alarm_query(&alarm);
    assert_eq!(
        (asked.from.to_string(), asked.to.to_string()),
        ("2026-05-19".to_owned(), "2026-05-22".to_owned())
    );
    let (bytes, made) = ledger.make(&asked).expect("a pack");
    assert_eq!(made.open_from, None);
    let head = ledger.head("2026-05-31");
    let auditor = ledger.auditor(&[&head]);
    let report = verdict(&bytes, &auditor);
    assert_eq!(report.report.verdict.word(), "VERIFIED", "{report}");
    let (code, said) = by_python(&ledger, &bytes, &head);
    assert_eq!(code, Some(0), "{said}");
    let mut files = Files::of(&bytes);
    let count = |files: &mut Files, text: &str| files.entries_with(text).len();
    assert_eq!(
        count(&mut files, "AlarmOpened"),
        2,
        "the other channel's is not there"
    );
    assert_eq!(count(&mut files, "ChannelStateChanged"), 2);
    assert_eq!(count(&mut files, "AlarmAcknowledged"), 1);
    let config: Value = serde_json::from_slice(files.file("config.json")).expect("JSON");
    let streams = config["streams"].as_array().expect("streams");
    let rule = format!("rule/{}", id(IdKind::Rule, 9));
    let rule = streams.iter().find(|stream| stream["stream"] == rule);
    let in_force = &rule.expect("the rule is told of")["at_start"]["value"];
    assert_eq!(
        (&in_force["definition"]["ok_max"], &in_force["version"]),
        (&json!(8), &json!(2)),
        "{in_force}"
    );
    for (event, word) in [
        ("AlarmAcknowledged", "INCOMPLETE"),
        ("ChannelStateChanged", "INCOMPLETE"),
        ("AlarmOpened", "INCOMPLETE"),
    ] {
        let mut files = Files::of(&bytes);
        let (position, _) = files.entries_with(event)[0];
        ledger.without(&mut files, &[position]);
        let forged = files.zip();
        let report = verdict(&forged, &auditor);
        assert_eq!(report.report.verdict.word(), word, "{event}: {report}");
        let (code, said) = by_python(&ledger, &forged, &head);
        assert!(code == Some(4) && said.starts_with(word), "{event}: {said}");
    }
}

#[test]
fn the_packs_of_device_and_channel_are_without_their_alarms_and_an_alarm_of_another_channel_is_none() {
    let ledger = PackLedger::record_with_alarms();
    let asked = ledger.alarm_query(&id(IdKind::Alarm, 1));
    let channel = asked.subject.channel().expect("a channel").to_owned();
    let head = ledger.head("2026-05-31");
    for subject in [Subject::Device(device(1)), Subject::Channel(channel.clone())] {
        let mut files = ledger.files(subject, "2026-05-19", "2026-05-22");
        let report = verdict(&files.zip(), &ledger.auditor(&[&head]));
        assert_eq!(report.report.verdict.word(), "VERIFIED", "{report}");
        assert!(files.entries_with("AlarmOpened").is_empty());
    }
    let wrong = Subject::Alarm {
        id: id(IdKind::Alarm, 2),
        channel,
    };
    let (bytes, _) = ledger
        .make(&tests::pack_ledger::query(wrong, "2026-05-19", "2026-05-22"))
        .expect("a pack");
    let report = verdict(&bytes, &ledger.auditor(&[&head]));
    assert_eq!(report.report.verdict.word(), "INCOMPLETE", "{report}");
}

#[test]
fn an_alarm_that_a_service_opened_is_packed_over_http_and_as_typed() {
    let service = Daybook::with().set("rate_per_minute", 0).start();
    let (_, device, token) = service.device("fridge");
    service.send(&token, "fridge", None, 4.0).expect(200);
    let sensors = service.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (sensor, channel) = (
        text(&sensors["data"][0]["id"]),
        text(&sensors["data"][0]["channel_id"]),
    );
    let limits = json!({"ok_min": 2, "ok_max": 5, "grace_min": 0});
    service
        .patch(&format!("/v1/sensors/{sensor}"), &limits)
        .expect(200);
    service.send(&token, "fridge", None, 9.5).expect(200);
    let alarm = loop {
        let events = service.get("/v1/events").expect(200);
        if let Some(id) = events["data"][0]["id"].as_str() {
            break id.to_owned();
        }
    };
    service
        .post(&format!("/v1/events/{alarm}/ack"), &json!({"note": "seen"}))
        .expect(200);
    service.until_signed(service.size());
    let (_, keys, _) = service.cli(&["key", "show"]);
    let key = keys.lines().next().expect("a key").to_owned();

    // Days that are none of it are said, and nothing is begun.
    let backwards = json!({"alarm_id": alarm, "from": "2999-01-02", "to": "2999-01-01"});
    assert_eq!(
        service.post("/v1/evidence", &backwards).refused(422),
        "invalid_range"
    );
    let asked = service
        .post(
            "/v1/evidence",
            &json!({"alarm_id": alarm, "reason": "inspection"}),
        )
        .expect(202);
    let made = service.until_made(&asked["poll"]);
    assert_eq!(made["state"], "ready", "{made}");
    assert_eq!(
        (&made["query"]["alarm_id"], &made["query"]["channel_id"]),
        (&json!(alarm), &json!(channel))
    );
    let fetched = service.get(made["file"].as_str().expect("a link")).body;
    let typed = service.scratch().join("alarm.pack.zip");
    let (code, said, err) = service.cli(&[
        "evidence",
        "--alarm",
        &alarm,
        "--json",
        "--out",
        typed.to_str().expect("a path of ours"),
    ]);
    assert_eq!(code, 0, "{said}{err}");
    let file = service.scratch().join("fetched.zip");
    std::fs::write(&file, &fetched).expect("writable");
    for pack in [&file, &typed] {
        let mut files = Files::of(&std::fs::read(pack).expect("readable"));
        let query = files.manifest().query;
        assert_eq!(query.subject.channel(), Some(&*channel));
        for (event, count) in [
            ("AlarmOpened", 1),
            ("AlarmAcknowledged", 1),
            ("ChannelRegistered", 1),
            ("ReadingRecorded", 2),
        ] {
            // The ledger's first entry names every type of event.
            let entries = files.entries_with(&format!("\"event_type\":\"{event}\""));
            assert_eq!(entries.len(), count, "{event}");
        }
        let judged = Command::new(verifier())
            .arg("pack")
            .arg(pack)
            .args(["--key", &key])
            .output()
            .expect("the verifier runs");
        let said = String::from_utf8_lossy(&judged.stdout);
        assert!(
            judged.status.code() == Some(3) && said.starts_with("UNANCHORED"),
            "{said}"
        );
    }
    // Each is on record with the alarm and its channel, before anybody had it.
    let issued = service.get("/v1/entries?type=EvidencePackIssued").ndjson();
    let doors: Vec<(&Value, &Value, &Value)> = issued
        .iter()
        .map(|entry| &entry["payload"])
        .map(|it| (&it["through"], &it["query"]["alarm"], &it["query"]["channel"]))
        .collect();
    let (alarm, channel) = (json!(alarm), json!(channel));
    assert_eq!(
        doors,
        [
            (&json!("api"), &alarm, &channel),
            (&json!("command_line"), &alarm, &channel)
        ]
    );
    let nobody = service.cli(&["evidence", "--alarm", "alm_x", "--out", "/nowhere/x"]);
    assert!(
        nobody.0 == 2 && nobody.2.contains("there is no alarm alm_x"),
        "{nobody:?}"
    );
}
