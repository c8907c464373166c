//! What is made, and what it is worth to whom.

use chain_publisher::VerifySettings;
use chain_publisher::pack::Subject;
use domain::ids::IdKind;
use tests::pack_ledger::{CLIP, Files, PackLedger, device, id, query, site, verdict};

#[test]
fn a_pack_is_verified_with_a_head_from_outside_and_unanchored_without() {
    let ledger = PackLedger::record();
    let channel = ledger.registry.device_anywhere(&device(1)).expect("a device");
    let channel = ledger
        .registry
        .channel_by_key(channel, "temperature")
        .expect("a channel");
    let channel = channel.id.to_string();
    for (subject, entries_of) in [
        (Subject::Device(device(1)), 1),
        (Subject::Device(device(2)), 1),
        (Subject::Device(device(3)), 1),
        (Subject::Device(device(4)), 1),
        (Subject::Channel(channel), 1),
        (Subject::Site(site(1)), 3),
        (Subject::Site(site(3)), 1),
        (Subject::Site(site(2)), 1),
    ] {
        for (from, to, after) in [
            ("2026-05-17", "2026-05-17", "2026-05-18"),
            ("2026-05-18", "2026-05-18", "2026-05-18"),
            ("2026-05-18", "2026-05-20", "2026-05-21"),
            ("2026-05-19", "2026-05-19", "2026-05-19"),
            ("2026-05-17", "2026-06-01", "2026-06-01"),
            ("2026-05-20", "2026-05-25", "2026-05-31"),
            ("2026-05-24", "2026-05-26", "2026-06-01"),
            ("2026-05-01", "2026-05-21", "2026-05-21"),
        ] {
            let asked = query(subject.clone(), from, to);
            let (bytes, made) = ledger.make(&asked).expect("a pack");
            assert_eq!((made.bytes, made.open_from), (bytes.len() as u64, None));
            let (again, _) = ledger.make(&asked).expect("a pack");
            assert!(bytes == again, "the same bytes when it is made twice");
            let head = ledger.head(after);
            let report = verdict(&bytes, &ledger.auditor(&[&head]));
            assert_eq!(report.report.verdict.word(), "VERIFIED", "{asked:?}\n{report}");
            assert_eq!(report.report.exit_code, 0);
            assert_eq!(report.report.entries, made.counts.entries);
            assert_eq!(report.values, made.values);
            let without = verdict(&bytes, &ledger.auditor(&[]));
            assert_eq!(
                without.report.verdict.word(),
                "UNANCHORED",
                "{asked:?}\n{without}"
            );
            let stranger = verdict(&bytes, &VerifySettings::default());
            assert_eq!(
                (stranger.report.verdict.word(), stranger.report.exit_code),
                ("UNANCHORED", 3),
                "{stranger}"
            );
            let devices = Files::of(&bytes).entries_with("DeviceRegistered").len();
            let expected = match &subject {
                Subject::Site(id)
                    if *id == site(1) && asked.to < domain::Date::parse("2026-05-20").expect("a day") =>
                {
                    2
                }
                _ => entries_of,
            };
            assert_eq!(devices, expected, "{asked:?}");
        }
    }
}

#[test]
fn readings_and_tokens_are_where_they_belong() {
    let ledger = PackLedger::record();
    let mut files = ledger.files(Subject::Device(device(1)), "2026-05-20", "2026-05-21");
    assert_eq!(files.entries_with("ReadingRecorded").len(), 8);
    assert_eq!(files.entries_with("withheld").len(), 1);
    assert!(files.entries_with("TokenIssued").is_empty());
    assert!(files.entries_with(&device(2)).is_empty());
    let csv = String::from_utf8(files.file("readings.csv").clone()).expect("text");
    assert_eq!(csv.lines().count(), 1 + 16, "{csv}");
    assert!(
        csv.lines()
            .nth(2)
            .expect("a value")
            .ends_with(",temperature,1,Cel"),
        "{csv}"
    );
}

#[test]
fn a_range_with_a_day_that_is_not_closed_is_unanchored_and_says_so() {
    let ledger = PackLedger::record();
    let asked = query(Subject::Device(device(1)), "2026-06-01", "2026-06-02");
    let (bytes, made) = ledger.make(&asked).expect("a pack");
    assert_eq!(
        made.open_from.map(|date| date.to_string()).as_deref(),
        Some("2026-06-02")
    );
    let report = verdict(&bytes, &ledger.auditor(&[&ledger.checkpoint]));
    assert_eq!(report.report.verdict.word(), "UNANCHORED", "{report}");
    assert!(
        report.report.message.contains("2026-06-02 is not closed"),
        "{report}"
    );
    assert!(
        report.to_string().contains("completeness of 2026-06-02"),
        "{report}"
    );
}

#[test]
fn nobody_gets_a_pack_of_what_is_not_there() {
    let ledger = PackLedger::record();
    for (subject, from, to, said) in [
        (
            Subject::Device(device(9)),
            "2026-05-17",
            "2026-05-17",
            "there is no device",
        ),
        (
            Subject::Site(device(1)),
            "2026-05-17",
            "2026-05-17",
            "there is no site",
        ),
        (
            Subject::Channel(id(IdKind::Channel, 9)),
            "2026-05-17",
            "2026-05-17",
            "there is no channel",
        ),
        (
            Subject::Device(device(1)),
            "2026-05-01",
            "2026-05-16",
            "begins after",
        ),
    ] {
        let error = ledger.make(&query(subject, from, to)).expect_err("no pack");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn files_are_put_in_where_they_are_registered_and_a_changed_one_is_found() {
    let ledger = PackLedger::record();
    let dir = tempfile::tempdir().expect("a directory");
    let keep = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    };
    let (clip, other) = (
        keep("clip", CLIP),
        keep("other", b"a clop of what the camera saw"),
    );
    let asked = query(Subject::Device(device(1)), "2026-05-18", "2026-05-21");
    let head = ledger.head("2026-05-21");
    let settings = ledger.auditor(&[&head]);
    let (with, made) = ledger
        .make_with(&asked, std::slice::from_ref(&clip))
        .expect("a pack");
    assert_eq!(made.artefacts, 1);
    let (again, _) = ledger
        .make_with(&asked, std::slice::from_ref(&clip))
        .expect("a pack");
    assert!(with == again, "the same bytes when it is made twice");
    let report = verdict(&with, &settings);
    assert_eq!(report.report.verdict.word(), "VERIFIED", "{report}");
    let said = report.to_string();
    assert!(
        said.contains("1 files of artefacts") && said.contains("the files of 1 artefacts"),
        "{said}"
    );
    let (without, _) = ledger.make(&asked).expect("a pack");
    let said = verdict(&without, &settings).to_string();
    assert!(
        said.starts_with("VERIFIED") && said.contains("the files of 2 artefacts"),
        "{said}"
    );

    let name = format!("artefacts/{}", id(IdKind::Artefact, 1));
    let forge = |change: &dyn Fn(&mut Files)| {
        let mut files = Files::of(&with);
        change(&mut files);
        ledger.reseal(&mut files);
        verdict(&files.zip(), &settings)
    };
    let another = format!("artefacts/{}", id(IdKind::Artefact, 2));
    let nowhere = format!("artefacts/{}", id(IdKind::Artefact, 3));
    let changes: [&dyn Fn(&mut Files); 4] = [
        &|files| files.file(&name)[2] ^= 1,
        &|files| files.file(&name).push(b'!'),
        &|files| files.rename(&name, &another),
        &|files| files.rename(&name, &nowhere),
    ];
    for change in changes {
        let report = forge(change);
        assert_eq!(report.report.verdict.word(), "TAMPERED", "{report}");
        assert!(report.report.message.contains("registers"), "{report}");
    }
    for bad in ["artefacts/..", "artefacts/x", "artefacts/art_", "artefact/x"] {
        let report = forge(&|files| files.rename(&name, bad));
        assert_eq!(report.report.verdict.word(), "TAMPERED", "{bad}: {report}");
    }
    let refused = ledger
        .make_with(&asked, &[other])
        .expect_err("nobody registered it");
    assert!(refused.to_string().contains("registers"), "{refused}");
    // What was registered after the days asked for is not in their pack.
    let before = query(Subject::Device(device(1)), "2026-05-18", "2026-05-20");
    assert!(ledger.make_with(&before, &[clip]).is_err());
}
