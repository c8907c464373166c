//! The pack of an alarm: what the channel owns is in it, and nothing of it can be left out.

use chain_publisher::pack::Subject;
use domain::ids::IdKind;
use std::process::Command;
use tests::pack_ledger::{Files, PackLedger, device, id, verdict};

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
        1,
        "the other channel's is not there"
    );
    assert_eq!(count(&mut files, "ChannelStateChanged"), 1);
    assert_eq!(count(&mut files, "AlarmAcknowledged"), 1);
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
