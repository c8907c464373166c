//! `daybook-verify proof`: one entry.

use crate::{Auditor, daybook_verify, forked};
use domain::Position;
use domain::tlog_proof::TlogProof;

#[test]
fn an_entry_is_in_the_log_and_what_was_kept_confirms_it() {
    let auditor = Auditor::with_days(2);
    let proof = auditor.keep("entry.tlog-proof", auditor.proof(7).encode().as_bytes());
    let checkpoint = auditor.keep_checkpoint();
    let head = auditor.keep_head(0);
    let run = |args: &[&str]| daybook_verify(&[&["proof", "--key", &auditor.key], args].concat());
    run(&[&proof]).ends(
        3,
        &[
            "UNANCHORED: the entry at position 7 is in the log of",
            "ReadingRecorded",
        ],
    );
    run(&[&proof, "--head", &checkpoint]).ends(0, &["VERIFIED: the entry at position 7 is in the log of"]);
    // An older head covers the entry, and the log's tree shows that both checkpoints are of one history.
    run(&[&proof, "--head", &head]).ends(3, &["--log"]);
    run(&[&proof, "--head", &head, "--log", auditor.copy()]).ends(
        0,
        &[
            "VERIFIED: the entry at position 7",
            "confirmed   up to 11",
            "against ",
        ],
    );
    let last = auditor.ledger.size().get() - 1;
    let last = auditor.keep("last.tlog-proof", auditor.proof(last).encode().as_bytes());
    run(&[&last, "--head", &head, "--log", auditor.copy()]).ends(3, &["UNANCHORED"]);
    // A head is a proof too; the log's tree leads from it to what was kept.
    run(&[&head, "--head", &checkpoint]).ends(3, &["--log"]);
    run(&[&head, "--head", &checkpoint, "--log", auditor.copy()]).ends(0, &["VERIFIED", "DayClosed"]);
    daybook_verify(&["proof", &proof]).ends(3, &["no key is known"]);
    daybook_verify(&["proof", &proof, "--origin", "another.example/log"]).ends(1, &["TAMPERED"]);
}

#[test]
fn a_proof_without_its_entry_needs_the_entry() {
    let auditor = Auditor::with_days(1);
    let bare = TlogProof {
        extra: None,
        ..auditor.proof(7)
    };
    let bare = auditor.keep("bare.tlog-proof", bare.encode().as_bytes());
    let whole = auditor.keep("whole.tlog-proof", auditor.proof(7).encode().as_bytes());
    let entries = auditor.entries();
    let own = auditor.keep("entry.json", &entries[7]);
    let other = auditor.keep("other.json", &entries[8]);
    let run = |args: &[&str]| daybook_verify(&[&["proof", "--key", &auditor.key], args].concat());
    run(&[&bare]).ends(2, &["--entry"]);
    run(&[&bare, "--entry", &own]).ends(3, &["UNANCHORED: the entry at position 7"]);
    run(&[&bare, "--entry", &other]).ends(1, &["TAMPERED at position 7"]);
    run(&[&whole, "--entry", &other]).ends(1, &["not the one that was given"]);
}

#[test]
fn a_proof_that_does_not_hold_is_tampered() {
    let auditor = Auditor::with_days(2);
    let good = auditor.proof(7);
    let run = |name: &str, proof: &TlogProof| {
        let path = auditor.keep(name, proof.encode().as_bytes());
        daybook_verify(&["proof", "--key", &auditor.key, &path])
    };
    let mut moved = good.clone();
    moved.index = Position(8);
    run("moved", &moved).ends(1, &["TAMPERED at position 8"]);
    let mut short = good.clone();
    short.hashes.pop();
    run("short", &short).ends(1, &["TAMPERED at position 7", "hashes"]);
    let mut changed = good.clone();
    let entry = String::from_utf8(good.extra.clone().expect("an entry")).expect("text");
    changed.extra = Some(
        entry
            .replacen("\"temperature\":4", "\"temperature\":9", 1)
            .into_bytes(),
    );
    run("changed", &changed).ends(1, &["TAMPERED at position 7", "another root"]);
    let mut spaced = good.clone();
    spaced.extra = Some(format!("{entry} ").into_bytes());
    run("spaced", &spaced).ends(1, &["TAMPERED at position 7"]);
    run("whole", &good).ends(3, &[]);
    let photo = auditor.keep("photo", b"\xff\xd8");
    daybook_verify(&["proof", &photo]).ends(2, &["not a proof"]);
    // Another history of the same size, signed by the same key.
    let other = auditor.keep("other", &forked(2).checkpoint);
    let path = auditor.keep("good", good.encode().as_bytes());
    daybook_verify(&["proof", "--key", &auditor.key, &path, "--head", &other]).ends(1, &["FORKED at size "]);
}
