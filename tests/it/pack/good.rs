//! What is made, and what it is worth to whom.

use chain_publisher::VerifySettings;
use chain_publisher::pack::Subject;
use domain::ids::IdKind;
use tests::pack_ledger::{Files, PackLedger, device, id, query, site, verdict};

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
