//! `daybook-verify head`: heads alone, in any order, against one another and against the log.

use crate::{Auditor, cosigned, daybook_verify, forked, policy};
use chain_publisher::ports_source::HeadFiles;
use domain::Date;
use serde_json::Value;
use tests::small_ledger::{FIRST_DAY, Plan, SmallLedger};

/// Seconds after the end of the first day.
fn after_first_day(seconds: u64) -> u64 {
    let end = Date::parse(FIRST_DAY).expect("a day").next().start();
    u64::try_from(end.as_micros() / 1_000_000).expect("after 1970") + seconds
}

#[test]
fn heads_that_hold_are_confirmed_by_what_was_kept_and_not_by_the_key_alone() {
    let auditor = Auditor::with_days(3);
    let heads = [auditor.keep_head(2), auditor.keep_head(0), auditor.keep_head(1)];
    let last = auditor.keep("the-last", &auditor.ledger.head(2));
    let first = auditor.keep("the-first", &auditor.ledger.head(0));
    let checkpoint = auditor.keep_checkpoint();
    let all: Vec<&str> = ["head", "--key", &auditor.key]
        .into_iter()
        .chain(heads.iter().map(String::as_str))
        .collect();
    daybook_verify(&all).ends(3, &["UNANCHORED: 3 heads hold, but nobody outside confirms it"]);
    // It leads back to the others.
    daybook_verify(&[&all[..], &["--head", &last]].concat()).ends(0, &["VERIFIED: 3 heads hold"]);
    daybook_verify(&[&all[..], &["--head", &first]].concat()).ends(3, &["only up to size"]);
    daybook_verify(&[&all[..], &["--head", &checkpoint]].concat()).ends(3, &["--log"]);
    let with_log = [&all[..], &["--head", &checkpoint, "--log", auditor.copy()]].concat();
    daybook_verify(&with_log).ends(0, &["VERIFIED: 3 heads hold", "continues what was given"]);
    let ran = daybook_verify(&[&all[..], &["--head", &last, "--json"]].concat()).ends(0, &[]);
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&report["verdict"], &report["heads"]),
        (&"VERIFIED".into(), &3.into())
    );
    assert_eq!(report["days"][0]["date"], FIRST_DAY);
    // A gap is said.
    let pair = ["head", "--key", &auditor.key, &heads[0], &heads[1]];
    daybook_verify(&pair).ends(3, &["days between the heads that were given, at 1 places"]);
    daybook_verify(&["head", &heads[0]]).ends(3, &["no key is known"]);
}

#[test]
fn witnesses_confirm_a_head_and_bound_its_day_and_odd_times_are_told() {
    let auditor = Auditor::with_days(2);
    let policy = auditor.keep("policy", policy(&auditor.key).as_bytes());
    let name = format!("{FIRST_DAY}.tlog-proof");
    for (at_s, words) in [
        (after_first_day(3), "written before 2026-05-18T00:00:03"),
        (after_first_day(2 * 86_400), "LATE: the head of 2026-05-17"),
        (after_first_day(0) - 1, "EARLY: the head of 2026-05-17"),
    ] {
        let head = auditor.keep(&name, &cosigned(&auditor.ledger.head(0), at_s));
        daybook_verify(&["head", &head, "--policy", &policy])
            .ends(0, &["VERIFIED: the head of 2026-05-17 holds", words]);
    }
    let alone = auditor.keep(&name, &auditor.ledger.head(0));
    daybook_verify(&["head", &alone, "--policy", &policy]).ends(3, &["UNANCHORED"]);
}

#[test]
fn two_histories_are_told_whichever_heads_show_them() {
    let auditor = Auditor::with_days(3);
    let fork = forked(3);
    let key = ["--key", &auditor.key];
    let (first, second) = (auditor.keep_head(0), auditor.keep_head(1));
    let other_second = auditor.keep("other-second", &fork.head(1));
    let other_third = auditor.keep("other-third", &fork.head(2));
    let run = |files: &[&str]| daybook_verify(&[&["head"], &key[..], files].concat());
    run(&[&first, &other_second]).ends(3, &["2 heads hold"]);
    run(&[&second, &other_second]).ends(1, &["FORKED at size ", "two histories", "2026-05-18"]);
    run(&[&first, &second, &other_third])
        .ends(1, &["FORKED at size ", "does not name the head of 2026-05-18"]);
    run(&[&second, "--head", &other_second]).ends(1, &["FORKED at size "]);
    run(&[&first, &other_third, "--log", auditor.copy()]).ends(1, &["FORKED at size "]);
    // The same head twice is one, also where somebody has cosigned it since.
    let cosigned = auditor.keep("cosigned", &cosigned(&auditor.ledger.head(0), after_first_day(3)));
    run(&[&first, &cosigned]).ends(3, &["UNANCHORED: the head of 2026-05-17 holds"]);
    let longer = SmallLedger::record(crate::plan(5));
    let later = auditor.keep("later", &longer.head(4));
    run(&[&later, "--log", auditor.copy()]).ends(1, &["TRUNCATED: "]);
}

#[test]
fn a_head_that_does_not_hold_is_tampered_and_what_is_no_head_has_no_verdict() {
    let auditor = Auditor::with_days(2);
    let key = ["--key", &auditor.key];
    let run = |file: &str| daybook_verify(&[&["head"], &key[..], &[file]].concat());
    let good = auditor.ledger.head(1);
    let text = String::from_utf8(good.clone()).expect("text");
    let misnamed = auditor.keep("2026-05-17.tlog-proof", &good);
    run(&misnamed).ends(1, &["TAMPERED at position ", "it is the head of 2026-05-18"]);
    let moved = auditor.keep("moved", text.replacen("index ", "index 1", 1).as_bytes());
    run(&moved).ends(1, &["TAMPERED"]);
    let without = text
        .lines()
        .filter(|line| !line.starts_with("extra"))
        .map(|l| format!("{l}\n"));
    let without = auditor.keep("without", without.collect::<String>().as_bytes());
    run(&without).ends(1, &["it does not hold the entry DayClosed"]);
    let not_a_day = auditor.keep("not-a-day", auditor.proof(3).encode().as_bytes());
    run(&not_a_day).ends(1, &["not DayClosed"]);
    let stranger = SmallLedger::record(Plan {
        seed: 9,
        ..crate::plan(2)
    });
    let stranger = auditor.keep("stranger", &stranger.head(1));
    run(&stranger).ends(1, &["no known key has signed"]);
    run(&auditor.keep("photo", b"\xff\xd8")).ends(2, &["not a head"]);
    run(&auditor.keep("2026-05-18.late.tlog-proof", &good)).ends(1, &["not a later one than the head's own"]);
    run("/nonexistent").ends(2, &["nonexistent"]);
    // Whatever is flipped, it is never confirmed.
    let last = auditor.keep("last", &good);
    for at in (0..good.len()).step_by(41) {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        let flipped = auditor.keep("flipped", &flipped);
        let ran = daybook_verify(&[&["head"], &key[..], &[&flipped, "--head", &last]].concat());
        assert!(matches!(ran.code, 1 | 2), "byte {at}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn consistency_files_join_heads_as_trees_and_any_other_is_tampered() {
    let auditor = Auditor::with_days(3);
    let key = ["--key", &auditor.key];
    let run = |files: &[&str]| daybook_verify(&[&["head"], &key[..], files].concat());
    let heads: Vec<String> = (0..3).map(|n| auditor.keep_head(n)).collect();
    let date = |n: usize| HeadFiles::dates(&auditor.ledger.heads).expect("listed")[n];
    let body = |n: usize| {
        let body = HeadFiles::consistency(&auditor.ledger.heads, date(n)).expect("readable");
        body.expect("it continues the one before")
    };
    let none = HeadFiles::consistency(&auditor.ledger.heads, date(0)).expect("readable");
    assert_eq!(none, None, "nothing is before the first day");
    let (second, third) = (
        auditor.keep("2026-05-18.consistency", &body(1)),
        auditor.keep("2026-05-19.consistency", &body(2)),
    );
    let all = [&*heads[0], &heads[1], &heads[2], &second, &third];
    let ran = run(&all).ends(3, &["2 heads continue the ones before them as trees"]);
    assert!(
        !ran.out
            .contains("that each checkpoint continues the one before as a tree"),
        "{}",
        ran.out
    );
    let ran = run(&all[..4]).ends(3, &["1 heads continue"]);
    assert!(
        ran.out
            .contains("that each checkpoint continues the one before as a tree"),
        "{}",
        ran.out
    );
    // One of the two heads is not here.
    run(&[&heads[2], &third]).ends(3, &["shows nothing"]);
    // Flipped, of another day, of another history.
    let text = String::from_utf8(body(1)).expect("text");
    let hash = text.lines().nth(1).expect("a hash");
    let flipped: String = hash.chars().rev().skip(1).collect::<String>() + "=";
    let flipped = auditor.keep("flipped.consistency", text.replace(hash, &flipped).as_bytes());
    run(&[&heads[0], &heads[1], &flipped]).ends(1, &["TAMPERED"]);
    let older = text.replacen("old ", "old 1", 1);
    run(&[
        &heads[0],
        &heads[1],
        &auditor.keep("older.consistency", older.as_bytes()),
    ])
    .ends(1, &["TAMPERED"]);
    let fork = forked(3);
    let other = HeadFiles::consistency(&fork.heads, date(1))
        .expect("readable")
        .expect("there");
    let other = auditor.keep("other.consistency", &other);
    run(&[&heads[0], &heads[1], &other]).ends(1, &[]);
    // The copy has them, and says so where one is damaged.
    let copy = auditor.copy().to_owned();
    let file = std::path::Path::new(&copy).join("heads/2026/2026-05-18.consistency");
    assert_eq!(std::fs::read(&file).expect("exported"), body(1));
    daybook_verify(&["log", &copy, "--key", &auditor.key]).ends(3, &["UNANCHORED"]);
    std::fs::write(&file, older).expect("written");
    daybook_verify(&["log", &copy, "--key", &auditor.key]).ends(1, &["TAMPERED", "2026-05-18.consistency"]);
}

#[test]
fn a_late_head_proves_its_day_under_a_later_checkpoint() {
    let auditor = Auditor::with_days(3);
    let first = domain::tlog_proof::TlogProof::parse(&auditor.ledger.head(0)).expect("a head");
    let late = auditor.proof(first.index.get());
    let late = auditor.keep("2026-05-17.late.tlog-proof", late.encode().as_bytes());
    let key = ["--key", &auditor.key];
    let run = |files: &[&str]| daybook_verify(&[&["head"], &key[..], files].concat());
    run(&[&late]).ends(3, &["UNANCHORED: the head of 2026-05-17 holds"]);
    let head = auditor.keep_head(0);
    run(&[&late, &head]).ends(3, &["UNANCHORED: the head of 2026-05-17 holds"]);
    // What confirms the later checkpoint confirms the day, also by its own head.
    let checkpoint = auditor.keep_checkpoint();
    run(&[&late, "--head", &checkpoint]).ends(0, &["VERIFIED"]);
    run(&[&late, &head, "--head", &checkpoint]).ends(0, &["VERIFIED"]);
    run(&[&head, "--head", &checkpoint]).ends(3, &["UNANCHORED"]);
    // Under another day's name, and of another history.
    let misnamed = auditor.keep("2026-05-18.late.tlog-proof", &std::fs::read(&late).expect("kept"));
    run(&[&misnamed]).ends(1, &["it is the head of 2026-05-17"]);
    let stranger = forked(3);
    let other = auditor.keep("2026-05-18.tlog-proof", &stranger.head(1));
    let second = domain::tlog_proof::TlogProof::parse(&auditor.ledger.head(1)).expect("a head");
    let late = auditor.proof(second.index.get());
    let late = auditor.keep("2026-05-18.late.tlog-proof", late.encode().as_bytes());
    run(&[&late, &other]).ends(1, &["FORKED"]);
}
