//! One byte of one file is another one, or a file is shorter: found, and named.

use super::{auditor, exported, files, run_dir};
use chain_publisher::Report;
use std::path::Path;
use tests::small_ledger::{Plan, SmallLedger};

/// What nobody signs or hashes.
const UNCHECKED: &str = "README.txt";

/// Whether the report says TAMPERED and names the file, its day, or the right position.
fn names(report: &Report, file: &str, entry: Option<u64>) -> Result<(), String> {
    let said = serde_json::to_string(&report.findings).expect("plain data");
    if report.exit_code != 1 || report.verdict.word() != "TAMPERED" {
        return Err(format!("{file}: {}", report.message));
    }
    let by_name = match file {
        "checkpoint" => said.contains("checkpoint"),
        "verifier-key" => said.contains("key"),
        head if head.starts_with("heads/") => said.contains(&format!("the head of {}", &head[11..21])),
        _ => said.contains(file),
    };
    let by_position = entry.is_none_or(|entry| report.position.map(|p| p.get()) == Some(entry));
    if by_name && by_position {
        Ok(())
    } else {
        Err(format!("{file}, entry {entry:?}: {}", report.message))
    }
}

/// The position of the entry that holds the byte at `offset`, where the file holds entries.
fn entry_at(file: &str, bytes: &[u8], offset: usize) -> Option<u64> {
    if file.starts_with("entries/") {
        return Some(bytes[..offset].iter().filter(|b| **b == b'\n').count() as u64);
    }
    if !file.starts_with("tile/entries/") {
        return None;
    }
    let (mut at, mut entry) = (0, 0);
    loop {
        at += 2 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        if offset < at {
            return Some(entry);
        }
        entry += 1;
    }
}

fn each_file(dir: &Path, mut damage: impl FnMut(&str, &Path, &[u8])) {
    for file in files(dir) {
        let name = file.to_str().expect("a name of ours");
        if name != UNCHECKED {
            let path = dir.join(&file);
            let bytes = std::fs::read(&path).expect("readable");
            damage(name, &path, &bytes);
            std::fs::write(&path, &bytes).expect("writable");
        }
    }
}

#[test]
fn every_flipped_byte_of_an_export_is_found_and_named() {
    let ledger = SmallLedger::record(Plan {
        days: 1,
        readings: 1,
        ..Plan::default()
    });
    let dir = exported(&ledger);
    let settings = auditor(&ledger.key, &[&ledger.checkpoint]);
    let whole = run_dir(dir.path(), &settings);
    assert_eq!(
        (whole.verdict.word(), whole.exit_code),
        ("VERIFIED", 0),
        "{whole}"
    );
    let (mut flips, mut wrong) = (0, Vec::new());
    each_file(dir.path(), |name, path, bytes| {
        for offset in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[offset] ^= [0x01, 0x20, 0x80][offset % 3];
            std::fs::write(path, &flipped).expect("writable");
            let report = run_dir(dir.path(), &settings);
            flips += 1;
            if let Err(what) = names(&report, name, entry_at(name, bytes, offset)) {
                wrong.push(format!("byte {offset} of {what}"));
            }
        }
    });
    assert!(flips > 8_000, "only {flips} bytes were flipped");
    assert!(
        wrong.is_empty(),
        "{} of {flips}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

#[test]
fn every_truncated_file_of_an_export_is_found_and_named() {
    let ledger = SmallLedger::record(Plan {
        days: 1,
        readings: 1,
        ..Plan::default()
    });
    let dir = exported(&ledger);
    let settings = auditor(&ledger.key, &[&ledger.checkpoint]);
    let mut wrong = Vec::new();
    each_file(dir.path(), |name, path, bytes| {
        for length in (0..bytes.len())
            .rev()
            .step_by(if bytes.len() > 1000 { 7 } else { 1 })
        {
            std::fs::write(path, &bytes[..length]).expect("writable");
            let report = run_dir(dir.path(), &settings);
            if let Err(what) = names(&report, name, entry_at(name, bytes, length)) {
                wrong.push(format!("{length} bytes of {what}"));
            }
        }
    });
    assert!(
        wrong.is_empty(),
        "{}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

#[test]
fn damage_in_the_middle_of_many_bundles_is_named_exactly() {
    let ledger = SmallLedger::record(Plan {
        days: 1,
        readings: 400,
        ..Plan::default()
    });
    let dir = exported(&ledger);
    let settings = auditor(&ledger.key, &[&ledger.head(0), &ledger.checkpoint]);
    assert_eq!(run_dir(dir.path(), &settings).exit_code, 0);
    for (file, entry) in [("tile/entries/001", 300u64), ("entries/001.ndjson", 300)] {
        let path = dir.path().join(file);
        let bytes = std::fs::read(&path).expect("readable");
        let needle = format!("\"position\":{entry},");
        let at = bytes
            .windows(needle.len())
            .position(|part| part == needle.as_bytes())
            .expect("the entry is there");
        let mut flipped = bytes.clone();
        flipped[at - 40] ^= 1;
        std::fs::write(&path, &flipped).expect("writable");
        names(&run_dir(dir.path(), &settings), file, Some(entry)).expect("named");
        std::fs::write(&path, &bytes).expect("writable");
    }
    for file in ["tile/0/000", "tile/0/001", "tile/1/000.p/3"] {
        let path = dir.path().join(file);
        let bytes = std::fs::read(&path).expect("readable");
        let mut flipped = bytes.clone();
        flipped[40] ^= 1;
        std::fs::write(&path, &flipped).expect("writable");
        names(&run_dir(dir.path(), &settings), file, None).expect("named");
        std::fs::write(&path, &bytes).expect("writable");
    }
}
