//! `daybook-verify log`: a copy and a service.

use crate::served::serve;
use crate::{Auditor, daybook_verify, exported, forked, plan};
use serde_json::Value;
use tests::small_ledger::SmallLedger;

#[test]
fn a_whole_log_ends_with_each_verdict() {
    let auditor = Auditor::with_days(2);
    let copy = auditor.copy();
    let own = auditor.keep_checkpoint();
    let later = auditor.keep("later", &SmallLedger::record(plan(3)).head(2));
    let fork = auditor.keep("fork", &forked(2).head(1));
    let photo = auditor.keep("photo", b"\xff\xd8");
    for (args, code, words) in [
        (
            vec!["--key", &auditor.key, "--head", &own],
            0,
            vec!["VERIFIED: ", "2 heads of days"],
        ),
        (
            vec!["--key", &auditor.key, "--head", &own, "--no-canonical"],
            0,
            vec!["VERIFIED: "],
        ),
        (vec!["--key", &auditor.key], 3, vec!["UNANCHORED: "]),
        (vec![], 3, vec!["UNANCHORED: ", "--key"]),
        (
            vec!["--key", &auditor.key, "--head", &later],
            1,
            vec!["TRUNCATED: "],
        ),
        (
            vec!["--key", &auditor.key, "--head", &fork],
            1,
            vec!["FORKED at size "],
        ),
        (vec!["--key", &photo], 2, vec!["photo"]),
        (
            vec!["--key", &auditor.key, "--head", &photo],
            2,
            vec!["neither a head"],
        ),
        (vec!["--key", "not-a-key"], 2, vec!["no verifier key"]),
        (vec!["--token-file", &own], 2, vec!["for a URL"]),
    ] {
        let all: Vec<&str> = ["log", copy].into_iter().chain(args).collect();
        daybook_verify(&all).ends(code, &words);
    }
    daybook_verify(&["log", "/nonexistent"]).ends(2, &["no such directory"]);
}

#[test]
fn a_changed_entry_is_named_in_words_and_in_json() {
    let auditor = Auditor::with_days(1);
    let bundle = format!("tile/entries/000.p/{}", auditor.ledger.size());
    let path = auditor.copy.path().join(bundle);
    let mut bytes = std::fs::read(&path).expect("readable");
    let at = bytes
        .windows(16)
        .rposition(|part| part == b"\"temperature\":4.")
        .expect("a reading");
    bytes[at + 14] = b'9';
    std::fs::write(&path, bytes).expect("writable");
    let ran = daybook_verify(&["log", auditor.copy(), "--key", &auditor.key, "--json"]).ends(1, &[]);
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&report["verdict"], &report["exit_code"]),
        (&"TAMPERED".into(), &1.into())
    );
    assert_eq!(report["position"], auditor.ledger.size().get() - 1, "{report}");
}

#[test]
fn a_service_without_a_token_shows_its_tree_only() {
    let auditor = Auditor::with_days(2);
    let own = auditor.keep_checkpoint();
    let served = serve(auditor.copy.path());
    let args = ["log", &served.url, "--key", &auditor.key, "--head", &own];
    daybook_verify(&args).ends(5, &["PARTIAL: ", "withheld"]);
    daybook_verify(&[&args[..], &["--allow-partial"]].concat()).ends(0, &["PARTIAL: "]);
    let other = serve(exported(&forked(2)).path());
    daybook_verify(&["log", &other.url, "--key", &auditor.key])
        .ends(2, &["no answer of a Daybook service", "there is nothing"]);
}
