//! Attacks on copies of whole logs, the attacker holding the log's key where it says that all was signed again.

use super::{Desk, option, verify};
use crate::verify::exported;
use crate::verify::verdicts::{entries, forge, sign};
use chain_publisher::layout::{head_path, lines_path, pruned_line, withheld_line};
use domain::Position;
use domain::canonical::Canonical;
use domain::checkpoint::SignedCheckpoint;
use domain::hash::{leaf_hash, sha256};
use domain::tile::bundles_of;
use domain::{Date, TreeSize};
use serde_json::Value;
use std::path::Path;
use tests::pack_ledger::PackLedger;
use tests::small_ledger::{Plan, SmallLedger, signing_key};

type Said = (i32, String);

fn ledger(days: u32) -> SmallLedger {
    SmallLedger::record(Plan {
        days,
        readings: 3,
        ..Plan::default()
    })
}

/// Verifies a copy as somebody does who kept the key and a head or checkpoint.
fn judged(dir: &Path, key: &str, kept: &[u8]) -> Said {
    let desk = Desk::new();
    let kept = desk.keep("kept", kept);
    verify(
        "log",
        dir,
        &[option("--key"), option(key), option("--head"), &kept],
    )
}

/// A copy of which a file is changed.
fn with(path: impl Fn(&SmallLedger) -> Vec<String>, change: impl Fn(&mut Vec<u8>)) -> Said {
    let ledger = ledger(2);
    let dir = exported(&ledger);
    for path in path(&ledger) {
        let path = dir.path().join(path);
        let mut bytes = std::fs::read(&path).expect("readable");
        change(&mut bytes);
        std::fs::write(&path, bytes).expect("writable");
    }
    judged(dir.path(), &ledger.key, &ledger.checkpoint)
}

/// A copy whose entries are changed, numbered again and signed again by whoever holds the key.
fn signed_again(days: u32, change: impl Fn(&mut Vec<Value>)) -> Said {
    let ledger = ledger(days);
    let dir = exported(&ledger);
    let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes).expect("JSON");
    let mut all: Vec<Value> = entries(dir.path(), ledger.size()).into_iter().map(read).collect();
    change(&mut all);
    let write = |(position, mut entry): (usize, Value)| {
        entry["position"] = position.into();
        Canonical::of(&entry).expect("canonical").as_bytes().to_vec()
    };
    let bytes: Vec<Vec<u8>> = all.into_iter().enumerate().map(write).collect();
    std::fs::remove_dir_all(dir.path().join("heads")).expect("removed");
    for name in ["entries", "tile"] {
        std::fs::remove_dir_all(dir.path().join(name)).expect("removed");
        std::fs::create_dir_all(dir.path().join(name).join("entries")).expect("made");
    }
    for path in ["entries/000.ndjson.p", "tile/entries/000.p", "tile/0/000.p"] {
        std::fs::create_dir_all(dir.path().join(path)).expect("made");
    }
    let root = forge(dir.path(), &bytes);
    sign(dir.path(), bytes.len() as u64, root, &signing_key(7));
    let own = std::fs::read(dir.path().join("checkpoint")).expect("readable");
    judged(dir.path(), &ledger.key, &own)
}

fn is(entry: &Value, event_type: &str) -> bool {
    entry["event_type"] == event_type
}

fn closing(all: &[Value]) -> usize {
    all.iter()
        .position(|entry| is(entry, "DayClosed"))
        .expect("a day is closed")
}

pub fn entry() -> Said {
    let files = |ledger: &SmallLedger| {
        let bundle = bundles_of(ledger.size()).next().expect("one bundle");
        vec![bundle.to_string(), lines_path(bundle)]
    };
    // The value of the first reading, in both files alike.
    with(files, |bytes| {
        let at = bytes
            .windows(16)
            .position(|part| part == b"\"temperature\":4}}")
            .or_else(|| bytes.windows(15).position(|part| part == b"\"temperature\":4"));
        bytes[at.expect("a value") + 14] ^= 1;
    })
}

pub fn tile() -> Said {
    let file = |ledger: &SmallLedger| vec![format!("tile/0/000.p/{}", ledger.size())];
    with(file, |bytes| bytes[40] ^= 1)
}

pub fn head() -> Said {
    let first = Date::parse("2026-05-17").expect("a day");
    with(|_| vec![head_path(first)], |bytes| bytes[200] ^= 1)
}

pub fn cut() -> Said {
    let (older, newer) = (ledger(1), ledger(3));
    judged(exported(&older).path(), &older.key, &newer.head(2))
}

pub fn fork() -> Said {
    let ours = ledger(3);
    let other = SmallLedger::record(Plan {
        days: 3,
        readings: 3,
        parts_at: Some(1),
        ..Plan::default()
    });
    judged(exported(&other).path(), &ours.key, &ours.head(2))
}

pub fn backdated() -> Said {
    signed_again(1, |all| {
        let last = all.len() - 1;
        all[last]["recorded_at"] = all[2]["recorded_at"].clone();
    })
}

pub fn moved_signature() -> Said {
    let ledger = ledger(1);
    let dir = exported(&ledger);
    let own = SignedCheckpoint::parse(&ledger.checkpoint).expect("a checkpoint");
    let root = own.checkpoint().root().to_base64();
    let moved = own.encode().replace(&root, &sha256(b"x").to_base64());
    std::fs::write(dir.path().join("checkpoint"), moved).expect("writable");
    judged(dir.path(), &ledger.key, &ledger.checkpoint)
}

pub fn forged_tiles() -> Said {
    let ledger = ledger(1);
    let dir = exported(&ledger);
    let mut all = entries(dir.path(), ledger.size());
    let last = all.len() - 1;
    let text = String::from_utf8(all[last].clone()).expect("text");
    all[last] = text
        .replace("\"temperature\":4", "\"temperature\":3")
        .into_bytes();
    forge(dir.path(), &all);
    judged(dir.path(), &ledger.key, &ledger.checkpoint)
}

pub fn replaced_key() -> Said {
    let ours = ledger(1);
    let theirs = SmallLedger::record(Plan {
        days: 1,
        readings: 3,
        seed: 9,
        ..Plan::default()
    });
    judged(exported(&theirs).path(), &ours.key, &ours.checkpoint)
}

pub fn closed_twice() -> Said {
    signed_again(1, |all| {
        let at = closing(all);
        let mut again = all[at].clone();
        let sequence = again["sequence"].as_u64().expect("a sequence");
        again["sequence"] = (sequence + 1).into();
        all.insert(at + 1, again);
    })
}

pub fn closed_early() -> Said {
    signed_again(1, |all| {
        let at = closing(all);
        all[at]["recorded_at"] = all[at - 1]["recorded_at"].clone();
    })
}

pub fn closed_late() -> Said {
    signed_again(1, |all| {
        let at = closing(all);
        let next = all[at..].iter().position(|entry| is(entry, "ReadingRecorded"));
        let reading = all.remove(at + next.expect("a reading of the next day"));
        all.insert(at, reading);
    })
}

/// A copy of a ledger with a `RetentionApplied`, of which some readings of a day are gone.
fn pruned(ledger: &PackLedger, day: &str, which: impl Fn(usize) -> bool) -> Said {
    pruned_beside(ledger, day, which, |_| false)
}

/// The same, where those lines are withheld besides.
fn pruned_beside(
    ledger: &PackLedger,
    day: &str,
    which: impl Fn(usize) -> bool,
    withheld: impl Fn(&str) -> bool,
) -> Said {
    let dir = tempfile::tempdir().expect("a scratch directory");
    chain_publisher::export(&ledger.source(), dir.path(), &mut |_, _| {}).expect("exported");
    let size = SignedCheckpoint::parse(&ledger.checkpoint)
        .expect("one")
        .checkpoint()
        .size();
    let bundle = bundles_of(size).next().expect("one bundle");
    let path = dir.path().join(lines_path(bundle));
    let text = std::fs::read_to_string(&path).expect("readable");
    let by = text.lines().position(|line| line.contains("RetentionApplied"));
    // A ledger without one is lied about.
    let by = Position(by.unwrap_or(90) as u64);
    let mut seen = 0;
    let mut lines = String::new();
    for (position, line) in text.lines().enumerate() {
        let of_day = line.contains("ReadingRecorded") && line.contains(&format!("\"recorded_at\":\"{day}"));
        seen += usize::from(of_day);
        if of_day && which(seen - 1) {
            lines.push_str(&pruned_line(
                &leaf_hash(line.as_bytes()),
                Position(position as u64),
                by,
            ));
        } else if withheld(line) {
            lines.push_str(&withheld_line(
                &leaf_hash(line.as_bytes()),
                Position(position as u64),
            ));
        } else {
            lines.push_str(line);
        }
        lines.push('\n');
    }
    if lines != text {
        std::fs::write(&path, lines).expect("writable");
        std::fs::remove_file(dir.path().join(bundle.to_string())).expect("removed");
    }
    assert_eq!(size, TreeSize(text.lines().count() as u64));
    judged(dir.path(), &ledger.key, &ledger.checkpoint)
}

pub fn shown_after() -> Said {
    pruned(&PackLedger::record_pruned("2026-05-18"), "2026-05-18", |_| false)
}

pub fn half_pruned() -> Said {
    pruned(&PackLedger::record_pruned("2026-05-18"), "2026-05-18", |n| {
        n % 2 == 0
    })
}

pub fn pruned_early() -> Said {
    pruned(&PackLedger::record_pruned("2026-05-25"), "2026-05-", |n| n >= 15)
}

pub fn retention_shortened() -> Said {
    let ledger = PackLedger::record_policies(&[r#"{"reading":400}"#, r#"{"reading":30}"#]);
    pruned(&ledger, "2026-05-18", |_| false)
}

/// The same in a copy that withholds the entry which lengthened it.
pub fn retention_shortened_behind_withheld() -> Said {
    let ledger = PackLedger::record_policies(&[r#"{"reading":400}"#, r#"{"reading":9}"#]);
    pruned_beside(
        &ledger,
        "2026-05-18",
        |_| false,
        |line| line.contains("\"retention\":{\"reading\":400}"),
    )
}

/// A second beginning, which keeps readings for less.
pub fn begun_again() -> Said {
    signed_again(1, |all| {
        let mut again = all[0].clone();
        let last = all.last().expect("an entry");
        again["recorded_at"] = last["recorded_at"].clone();
        let own = all.iter().filter(|entry| entry["aggregate_type"] == "ledger");
        again["sequence"] = (own.count() + 1).into();
        again["payload"]["retention"] = serde_json::json!({"reading": 1});
        all.push(again);
    })
}

pub fn hidden() -> Said {
    pruned(&PackLedger::record(), "2026-05-20", |n| n == 1)
}

pub fn hidden_beside_withheld() -> Said {
    pruned_beside(&PackLedger::record(), "2026-05-20", |n| n == 1, is_token)
}

/// What nobody is shown.
fn is_token(line: &str) -> bool {
    line.contains("\"TokenIssued\"")
}

#[test]
fn readings_that_are_lawfully_gone_are_partial_and_nothing_worse() {
    let (code, said) = pruned(&PackLedger::record_pruned("2026-05-18"), "2026-05-18", |_| true);
    assert_eq!((code, said.starts_with("PARTIAL: ")), (5, true), "{said}");
    assert!(said.contains("15 entries are pruned"), "{said}");
}

#[test]
fn what_is_withheld_beside_what_is_lawfully_gone_is_no_breach_and_what_it_may_hide_is_said() {
    let ledger = PackLedger::record_pruned("2026-05-18");
    let all = |_| true;
    let (code, said) = pruned_beside(&ledger, "2026-05-18", all, is_token);
    assert_eq!((code, said.starts_with("PARTIAL: ")), (5, true), "{said}");
    assert!(said.contains("that their bytes are still kept"), "{said}");
    // What removed them is withheld, and with it how long they were to be kept.
    let law = |line: &str| line.contains("\"RetentionPolicySet\"") || line.contains("\"RetentionApplied\"");
    let (code, said) = pruned_beside(&ledger, "2026-05-18", all, law);
    assert_eq!((code, said.starts_with("PARTIAL: ")), (5, true), "{said}");
    assert!(said.contains("15 pruned entries were removed lawfully"), "{said}");
    // What says how long they were to be kept is.
    let (code, said) = pruned_beside(&ledger, "2026-05-18", all, |line| {
        line.contains("\"RetentionPolicySet\"")
    });
    assert_eq!((code, said.starts_with("PARTIAL: ")), (5, true), "{said}");
    for words in ["how long entries are kept", "was under a hold"] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn how_long_entries_were_to_be_kept_at_first_is_not_guessed_where_that_is_withheld() {
    let policy = &[r#"{"reading":4}"#, r#"{"reading":4}"#];
    let ledger = PackLedger::record_policies(policy);
    let none = |_| false;
    let (code, said) = pruned(&ledger, "2026-05-18", none);
    assert_eq!((code, said.starts_with("TAMPERED")), (1, true), "{said}");
    let (code, said) = pruned_beside(&ledger, "2026-05-18", none, |line| {
        line.contains("\"LedgerCreated\"")
    });
    assert_eq!((code, said.starts_with("PARTIAL: ")), (5, true), "{said}");
    let words = "how long entries are kept is shorter than it was: the ledger's first entry is withheld";
    assert!(said.contains(words), "{said}");
}
