//! `daybook-verify receipt`: promises that are kept, broken, and not yet due.

use crate::served::serve;
use crate::{Auditor, daybook_verify};
use chain_publisher::ports_source::{HeadFiles, PortsSource};
use chain_publisher::receipt::{Became, ReceiptText};
use chain_publisher::source::SourceError;
use domain::canonical::Canonical;
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::entry::{Entry, NewEvent};
use domain::hash::{leaf_hash, sha256};
use domain::memory::MemoryLog;
use domain::note::{Note, SigningKey};
use domain::{Date, Hash, Position, Timestamp, TreeSize};
use serde_json::{Value, json};
use tests::small_ledger::{ORIGIN, receipt_key, signing_key};

const BODY: &[u8] = b"{\"device\":\"fridge01\"}";
/// A reading.
const AT: u64 = 7;

/// The receipt of the reading at [`AT`].
fn receipt(auditor: &Auditor) -> ReceiptText {
    let bytes = &auditor.entries()[AT as usize];
    let entry = Entry::decode(bytes).expect("an entry");
    assert_eq!(entry.event_type, "ReadingRecorded");
    ReceiptText {
        origin: ORIGIN.to_owned(),
        became: Became::Recorded,
        body_sha256: sha256(BODY),
        recorded_at: entry.recorded_at,
        entries: vec![(Position(AT), leaf_hash(bytes))],
    }
}

fn sign(text: &ReceiptText, key: &SigningKey) -> String {
    Note::sign(&text.to_string(), &[key]).expect("signed").encode()
}

fn answer(note: &str, entries: &[(u64, &[u8])]) -> Vec<u8> {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(position, bytes)| {
            json!({"position": position, "leaf_hash": leaf_hash(bytes),
                "entry": String::from_utf8_lossy(bytes)})
        })
        .collect();
    json!({"accepted": 1, "receipt": {"note": note, "entries": entries}})
        .to_string()
        .into_bytes()
}

fn later(text: &ReceiptText, us: i64) -> Timestamp {
    text.recorded_at.plus_micros(us)
}

#[test]
fn a_receipt_that_the_log_keeps_to_is_verified() {
    let auditor = Auditor::with_days(2);
    let text = receipt(&auditor);
    let note = sign(&text, &receipt_key(7));
    let entry = auditor.entries()[AT as usize].clone();
    let file = auditor.keep("answer.json", &answer(&note, &[(AT, &entry)]));
    let bare = auditor.keep("receipt.note", note.as_bytes());
    let body = auditor.keep("body", BODY);
    let checkpoint = auditor.keep_checkpoint();
    let log = ["--log", auditor.copy(), "--key", &auditor.key];
    let run = |args: &[&str]| daybook_verify(&[&["receipt"], &log[..], args].concat());
    let kept = ["--head", &checkpoint];
    run(&[&[&*file, "--body", &body], &kept[..]].concat()).ends(
        0,
        &[
            "VERIFIED: the log keeps to the receipt",
            "1 entries are where it says",
            "the hash of the request's body",
        ],
    );
    run(&[&file, "--body", &body]).ends(3, &["UNANCHORED: the log keeps to the receipt"]);
    run(&[&[&*bare], &kept[..]].concat()).ends(0, &["VERIFIED", "--body", "--answer"]);
    run(&[&[&*bare, "--answer", &file], &kept[..]].concat())
        .ends(0, &["the bytes of 1 entries in the answer"]);
    let refused = ReceiptText {
        became: Became::Refused("out_of_range".to_owned()),
        entries: Vec::new(),
        ..text
    };
    let refused = auditor.keep("refused", sign(&refused, &receipt_key(7)).as_bytes());
    run(&[&[&*refused, "--body", &body], &kept[..]].concat())
        .ends(0, &["VERIFIED", "refused", "out_of_range"]);
}

#[test]
fn a_promise_that_the_log_breaks_is_proven_with_its_position() {
    let auditor = Auditor::with_days(2);
    let good = receipt(&auditor);
    let run = |text: &ReceiptText, name: &str| {
        let file = auditor.keep(name, sign(text, &receipt_key(7)).as_bytes());
        daybook_verify(&["receipt", &file, "--log", auditor.copy(), "--key", &auditor.key])
    };
    let left_out = ReceiptText {
        entries: vec![good.entries[0], (Position(AT + 1), Hash([9; 32]))],
        ..good.clone()
    };
    run(&left_out, "left-out").ends(1, &["TAMPERED at position 8", "left out or changed"]);
    // The log went on to later entries, and this one is not among them.
    let beyond = ReceiptText {
        entries: vec![(Position(500), Hash([9; 32]))],
        ..good.clone()
    };
    run(&beyond, "beyond").ends(1, &["TRUNCATED: ", "goes on to"]);
    let fresh = ReceiptText {
        recorded_at: later(&good, 90 * 86_400_000_000),
        ..beyond
    };
    run(&fresh, "fresh").ends(3, &["UNANCHORED", "cannot be said yet"]);
    let elsewhere = ReceiptText {
        origin: "another.example/log".to_owned(),
        ..good
    };
    run(&elsewhere, "elsewhere").ends(2, &["it is of the log another.example/log"]);
}

#[test]
fn a_receipt_that_does_not_hold_says_nothing_about_the_log() {
    let auditor = Auditor::with_days(2);
    let text = receipt(&auditor);
    let note = sign(&text, &receipt_key(7));
    let entries = auditor.entries();
    let run = |file: &str, more: &[&str]| {
        let log = ["receipt", file, "--log", auditor.copy(), "--key", &auditor.key];
        daybook_verify(&[&log[..], more].concat())
    };
    let forged = auditor.keep("forged", sign(&text, &receipt_key(8)).as_bytes());
    run(&forged, &[]).ends(1, &["TAMPERED: the receipt itself", "says nothing about the log"]);
    let own = receipt_key(8).verifier_key().to_string();
    run(&forged, &["--receipt-key", &own]).ends(3, &["with the key that was given"]);
    let log_key = auditor.keep("log-key", sign(&text, &signing_key(7)).as_bytes());
    run(&log_key, &["--receipt-key", &auditor.key]).ends(1, &["TAMPERED: the receipt itself"]);
    let changed = auditor.keep("changed", note.replacen("\n7 ", "\n8 ", 1).as_bytes());
    run(&changed, &[]).ends(1, &["TAMPERED: the receipt itself"]);
    let good = auditor.keep("good", note.as_bytes());
    let other_body = auditor.keep("body", b"{}");
    run(&good, &["--body", &other_body]).ends(1, &["TAMPERED", "a body with the SHA-256"]);
    let swapped = auditor.keep("swapped", &answer(&note, &[(AT, &entries[8])]));
    run(&swapped, &[]).ends(1, &["TAMPERED at position 7", "not those of the entry"]);
    let whole = answer(&note, &[(AT, &entries[7])]);
    let other_hash = leaf_hash(&entries[8]).to_base64();
    let mut stated: Value = serde_json::from_slice(&whole).expect("JSON");
    stated["receipt"]["entries"][0]["leaf_hash"] = other_hash.into();
    let stated = auditor.keep("stated", stated.to_string().as_bytes());
    run(&stated, &[]).ends(1, &["TAMPERED at position 7", "not those of the entry"]);
    let none = auditor.keep("none", &answer(&note, &[]));
    run(&none, &[]).ends(1, &["gives 0 entries"]);
    let more = auditor.keep("more", &answer(&note, &[(AT, &entries[7]), (8, &entries[8])]));
    run(&more, &[]).ends(1, &["gives 2 entries"]);
    run(&auditor.keep("photo", b"\xff\xd8"), &[]).ends(2, &["photo"]);
    run(&auditor.keep("json", b"{}"), &[]).ends(2, &["no receipt in it"]);
    run(&auditor.keep("checkpoint", &auditor.ledger.checkpoint), &[]).ends(2, &["line 1 of the receipt"]);
    let stranger = signing_key(9).verifier_key().to_string();
    let args = ["receipt", &good, "--log", auditor.copy(), "--key", &stranger];
    daybook_verify(&args).ends(1, &["TAMPERED: ", "no known key has signed"]);
}

#[test]
fn a_service_that_shows_no_entries_is_held_to_it_all_the_same() {
    let auditor = Auditor::with_days(2);
    let served = serve(auditor.copy.path());
    let text = receipt(&auditor);
    let keep = |name: &str, text: &ReceiptText| auditor.keep(name, sign(text, &receipt_key(7)).as_bytes());
    let own = receipt_key(7).verifier_key().to_string();
    let run = |file: &str, more: &[&str]| {
        let log = ["receipt", file, "--log", &served.url, "--key", &auditor.key];
        daybook_verify(&[&log[..], more].concat())
    };
    let good = keep("good", &text);
    run(&good, &[]).ends(2, &["--receipt-key"]);
    run(&good, &["--receipt-key", &own]).ends(3, &["UNANCHORED: the log keeps to the receipt"]);
    let checkpoint = auditor.keep_checkpoint();
    run(&good, &["--receipt-key", &own, "--head", &checkpoint]).ends(0, &["VERIFIED"]);
    let wrong = ReceiptText {
        entries: vec![(Position(AT), Hash([9; 32]))],
        ..text.clone()
    };
    run(&keep("wrong", &wrong), &["--receipt-key", &own]).ends(1, &["TAMPERED at position 7"]);
    // Its heads tell that it is later than the receipt.
    let beyond = ReceiptText {
        entries: vec![(Position(500), Hash([9; 32]))],
        ..text.clone()
    };
    run(&keep("beyond", &beyond), &["--receipt-key", &own]).ends(1, &["TRUNCATED: "]);
    let today = ReceiptText {
        recorded_at: later(&text, 2 * 86_400_000_000),
        ..beyond
    };
    run(&keep("today", &today), &["--receipt-key", &own]).ends(3, &["cannot be said yet"]);
}

/// Nothing was closed yet.
struct NoHeads;

impl HeadFiles for NoHeads {
    fn dates(&self) -> Result<Vec<Date>, SourceError> {
        Ok(Vec::new())
    }

    fn get(&self, _: Date) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(None)
    }
}

fn own_event(event_type: &'static str, payload: &Value) -> NewEvent {
    NewEvent {
        aggregate_type: "ledger".into(),
        aggregate_id: "main".to_owned(),
        event_type: event_type.into(),
        event_version: "1.0".into(),
        payload: Canonical::of(payload).expect("canonical"),
        metadata: Canonical::of(&json!({"actor": "system:test"})).expect("canonical"),
        salt: None,
    }
}

/// A copy of a log whose second entry rotates the receipt key from seed 1 to seed 2, signed by these.
fn rotated(signers: &[&SigningKey]) -> tempfile::TempDir {
    let log = MemoryLog::new();
    let at = |s: i64| Timestamp::from_millis(1_779_000_000_000 + 1000 * s).expect("in range");
    let [old, new] = [1, 2].map(|seed| receipt_key(seed).verifier_key().to_string());
    let created = json!({"origin": ORIGIN, "receipt_keys": [old]});
    log.push_event(&own_event("LedgerCreated", &created), at(0), 1);
    let text = format!("daybook/key/v1\n{ORIGIN}\nreceipt\n{new}\n1\n");
    let signers: Vec<&dyn domain::note::Signer> = signers.iter().map(|key| *key as _).collect();
    let note = Note::sign(&text, &signers).expect("signed").encode();
    let rotated = json!({"role": "receipt", "old": old, "new": new, "reason": "scheduled", "note": note});
    log.push_event(&own_event("KeyRotated", &rotated), at(1), 2);
    let checkpoint = Checkpoint::new(ORIGIN, TreeSize(2), log.root()).expect("a checkpoint");
    let checkpoint = SignedCheckpoint::sign(checkpoint, &[&signing_key(7)]).expect("signed");
    let dir = tempfile::tempdir().expect("a scratch directory");
    let source = PortsSource {
        name: "a log with another receipt key".to_owned(),
        log: &log,
        tiles: &log,
        size: TreeSize(2),
        checkpoint: Some(checkpoint.encode().into_bytes()),
        key: None,
        heads: &NoHeads,
    };
    chain_publisher::export(&source, dir.path(), &mut |_, _| {}).expect("it is exported");
    dir
}

#[test]
fn a_rotated_receipt_key_counts_where_both_keys_signed_that() {
    let (old, new) = (receipt_key(1), receipt_key(2));
    let key = signing_key(7).verifier_key().to_string();
    let text = ReceiptText {
        origin: ORIGIN.to_owned(),
        became: Became::Refused("out_of_range".to_owned()),
        body_sha256: sha256(BODY),
        recorded_at: Timestamp::from_millis(1_779_000_002_000).expect("in range"),
        entries: Vec::new(),
    };
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("receipt");
    for (signers, by, code) in [
        (vec![&old, &new], &new, 3),
        (vec![&old, &new], &old, 3),
        (vec![&new], &new, 1),
        (vec![&old], &new, 1),
    ] {
        let log = rotated(&signers);
        std::fs::write(&file, sign(&text, by)).expect("writable");
        let args = [
            "receipt",
            crate::text(&file),
            "--log",
            crate::text(log.path()),
            "--key",
            &key,
        ];
        daybook_verify(&args).ends(code, &[]);
    }
}
