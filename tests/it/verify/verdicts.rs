//! What a copy that was changed with care ends with: forged, swapped, older, forked, signed by somebody else.

use super::{auditor, exported, run, run_dir};
use chain_publisher::evidence::Evidence;
use chain_publisher::layout::{head_path, lines_path};
use chain_publisher::ports_source::PortsSource;
use chain_publisher::{LogSource, VerifyError, VerifySettings, verify};
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::hash::leaf_hash;
use domain::memory::MemoryLog;
use domain::merkle::{MemoryNodes, root_of};
use domain::note::SigningKey;
use domain::ports::{EventLog, TileStore};
use domain::tile::{bundles_of, encode_bundle, encode_tile, parse_bundle, tiles_of};
use domain::verify::Strictness;
use domain::{Hash, Position, TreeSize};
use std::path::Path;
use std::sync::Arc;
use tests::small_ledger::{ORIGIN, Plan, SmallLedger, signing_key};

fn plan(days: u32) -> Plan {
    Plan {
        days,
        readings: 3,
        ..Plan::default()
    }
}

/// All entries of a copy of fewer than 256.
pub fn entries(dir: &Path, size: TreeSize) -> Vec<Vec<u8>> {
    let bundle = bundles_of(size).next().expect("one bundle");
    let bytes = std::fs::read(dir.join(bundle.to_string())).expect("readable");
    let entries = parse_bundle(&bytes, bundle.width()).expect("whole");
    entries.into_iter().map(<[u8]>::to_vec).collect()
}

/// Writes entries over those of a copy, with tiles that fit them, and gives their root.
pub fn forge(dir: &Path, entries: &[Vec<u8>]) -> Hash {
    let size = TreeSize(entries.len() as u64);
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let bundle = bundles_of(size).next().expect("one bundle");
    let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).expect("they fit");
    let lines: Vec<u8> = entries.iter().flat_map(|e| [e, &b"\n"[..]].concat()).collect();
    let write = |path: String, bytes: &[u8]| std::fs::write(dir.join(path), bytes).expect("writable");
    write(bundle.to_string(), &bytes);
    write(lines_path(bundle), &lines);
    let nodes = MemoryNodes::of_leaves(&leaves);
    for tile in tiles_of(size) {
        let from = tile.start() as usize;
        let row = &nodes.level(tile.level().into())[from..from + usize::from(tile.width())];
        write(tile.to_string(), &encode_tile(row));
    }
    root_of(&leaves)
}

pub fn sign(dir: &Path, size: u64, root: Hash, key: &SigningKey) {
    let checkpoint = Checkpoint::new(ORIGIN, TreeSize(size), root).expect("a checkpoint");
    let signed = SignedCheckpoint::sign(checkpoint, &[key]).expect("signed");
    std::fs::write(dir.join("checkpoint"), signed.encode()).expect("writable");
}

/// Another value in the reading at the highest position, still canonical.
fn change_a_reading(entries: &mut [Vec<u8>]) -> u64 {
    let at = entries
        .iter()
        .rposition(|entry| entry.windows(15).any(|part| part == b"ReadingRecorded"))
        .expect("a reading");
    let text = String::from_utf8(entries[at].clone()).expect("text");
    let changed = text.replacen("\"temperature\":4.", "\"temperature\":5.", 1);
    assert_ne!(changed, text);
    entries[at] = changed.into_bytes();
    at as u64
}

#[test]
fn a_whole_copy_is_verified_and_the_report_says_what_was_checked_and_what_not() {
    let ledger = SmallLedger::record(plan(3));
    let dir = exported(&ledger);
    let report = run_dir(dir.path(), &auditor(&ledger.key, &[&ledger.checkpoint]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("VERIFIED", 0),
        "{report}"
    );
    assert_eq!((report.size, report.anchored), (ledger.size(), ledger.size()));
    assert_eq!((report.days.len(), report.heads), (3, 3));
    assert!(report.days.iter().all(|day| day.head));
    assert_eq!(report.not_checked.len(), 2, "{report}");
    assert!(
        report.not_checked.iter().any(|what| what.contains("README.txt")),
        "{report}"
    );
    let quick = VerifySettings {
        strictness: Strictness::Hashes,
        ..auditor(&ledger.key, &[&ledger.checkpoint])
    };
    let report = run_dir(dir.path(), &quick);
    assert_eq!(report.exit_code, 0);
    assert!(
        report
            .not_checked
            .iter()
            .any(|what| what.contains("canonical form")),
        "{report}"
    );
}

#[test]
fn without_anything_from_outside_nothing_is_better_than_unanchored() {
    let ledger = SmallLedger::record(plan(2));
    let dir = exported(&ledger);
    // No key: what the log says of itself is a hint, even with a head that was kept.
    for settings in [VerifySettings::default(), {
        let mut settings = auditor(&ledger.key, &[&ledger.checkpoint]);
        settings.trust.keys.clear();
        settings
    }] {
        let report = run_dir(dir.path(), &settings);
        assert_eq!(
            (report.verdict.word(), report.exit_code),
            ("UNANCHORED", 3),
            "{report}"
        );
        assert_eq!(report.anchored, TreeSize(0));
        assert!(report.notes.iter().any(|note| note.contains("--key")), "{report}");
    }
    // A key but no head: whoever holds the key may have written another history.
    let report = run_dir(dir.path(), &auditor(&ledger.key, &[]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("UNANCHORED", 3),
        "{report}"
    );
    // An older head covers what it covers.
    let report = run_dir(dir.path(), &auditor(&ledger.key, &[&ledger.head(0)]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("UNANCHORED", 3),
        "{report}"
    );
    assert!(report.anchored > TreeSize(0) && report.anchored < report.size);
}

#[test]
fn an_entry_forged_with_its_bundle_and_tiles_is_still_not_the_signed_one() {
    let ledger = SmallLedger::record(plan(2));
    let dir = exported(&ledger);
    let mut entries = entries(dir.path(), ledger.size());
    let at = change_a_reading(&mut entries);
    forge(dir.path(), &entries);
    let report = run_dir(dir.path(), &auditor(&ledger.key, &[&ledger.checkpoint]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("TAMPERED", 1),
        "{report}"
    );
    // Nothing authentic is left of that range: it is between the last head that holds and the end.
    let from = report.position.expect("a position").get();
    assert!(from <= at && from > 0, "{report}");
}

#[test]
fn an_entry_changed_by_whoever_holds_the_key_is_a_fork_of_what_was_kept() {
    let ledger = SmallLedger::record(plan(2));
    let dir = exported(&ledger);
    let mut entries = entries(dir.path(), ledger.size());
    change_a_reading(&mut entries);
    let root = forge(dir.path(), &entries);
    sign(dir.path(), entries.len() as u64, root, &signing_key(7));
    let report = run_dir(dir.path(), &auditor(&ledger.key, &[&ledger.checkpoint]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("FORKED", 1),
        "{report}"
    );
    // Who kept nothing cannot tell, and is told so.
    let report = run_dir(dir.path(), &auditor(&ledger.key, &[]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("UNANCHORED", 3),
        "{report}"
    );
}

#[test]
fn a_copy_signed_by_another_key_is_tampered_with() {
    let ledger = SmallLedger::record(plan(1));
    let other = SmallLedger::record(Plan { seed: 8, ..plan(1) });
    let dir = exported(&ledger);
    let report = run_dir(dir.path(), &auditor(&other.key, &[]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("TAMPERED", 1),
        "{report}"
    );
    assert!(report.message.contains("key"), "{report}");
    // Even if the copy claims that other key as its own and the checkpoint is right otherwise.
    let checkpoint = SignedCheckpoint::parse(&ledger.checkpoint).expect("a checkpoint");
    let says = checkpoint.checkpoint();
    sign(dir.path(), says.size().get(), says.root(), &signing_key(8));
    std::fs::write(dir.path().join("verifier-key"), format!("{}\n", other.key)).expect("writable");
    let report = run_dir(dir.path(), &auditor(&ledger.key, &[&ledger.checkpoint]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("TAMPERED", 1),
        "{report}"
    );
}

#[test]
fn an_older_copy_is_truncated_for_who_kept_a_newer_head() {
    let (older, newer) = (SmallLedger::record(plan(1)), SmallLedger::record(plan(3)));
    let dir = exported(&older);
    for kept in [newer.head(2), newer.checkpoint.clone()] {
        let report = run_dir(dir.path(), &auditor(&older.key, &[&kept]));
        assert_eq!(
            (report.verdict.word(), report.exit_code),
            ("TRUNCATED", 1),
            "{report}"
        );
    }
    let report = run(&older.source(), &auditor(&older.key, &[&newer.head(2)]));
    assert_eq!(report.verdict.word(), "TRUNCATED", "{report}");
}

#[test]
fn a_second_history_under_the_same_key_is_forked() {
    let seen = SmallLedger::record(plan(3));
    let shown = SmallLedger::record(Plan {
        parts_at: Some(1),
        ..plan(3)
    });
    assert_eq!(seen.head(0), shown.head(0));
    assert_ne!(seen.head(1), shown.head(1));
    let dir = exported(&shown);
    let report = run_dir(dir.path(), &auditor(&seen.key, &[&seen.head(0), &seen.head(1)]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("FORKED", 1),
        "{report}"
    );
    assert!(report.anchored > TreeSize(0), "the common past is confirmed");
}

#[test]
fn swapped_changed_and_invented_heads_are_named_by_their_day() {
    let ledger = SmallLedger::record(plan(3));
    let other = SmallLedger::record(Plan {
        parts_at: Some(1),
        ..plan(3)
    });
    let settings = auditor(&ledger.key, &[&ledger.checkpoint]);
    let dates = LogSource::head_dates(&ledger.source()).expect("listed");
    let cases: [(&str, usize, Vec<u8>); 3] = [
        ("the day before's", 1, ledger.head(0)),
        ("the day after's", 0, ledger.head(1)),
        ("another history's", 1, other.head(1)),
    ];
    for (what, day, head) in cases {
        let dir = exported(&ledger);
        std::fs::write(dir.path().join(head_path(dates[day])), head).expect("writable");
        let report = run_dir(dir.path(), &settings);
        assert_eq!(
            (report.verdict.word(), report.exit_code),
            ("TAMPERED", 1),
            "{what}: {report}"
        );
        let said = serde_json::to_string(&report).expect("plain data");
        assert!(
            said.contains(&format!("the head of {}", dates[day])),
            "{what}: {report}"
        );
    }
    // One that is not there is said, and proves nothing.
    let dir = exported(&ledger);
    std::fs::remove_file(dir.path().join(head_path(dates[1]))).expect("removable");
    let report = run_dir(dir.path(), &settings);
    assert_eq!(report.exit_code, 0, "{report}");
    assert!(
        report
            .not_checked
            .iter()
            .any(|what| what.contains(&dates[1].to_string())),
        "{report}"
    );
}

#[test]
fn missing_files_are_tampered_with_and_named() {
    let ledger = SmallLedger::record(plan(1));
    let settings = auditor(&ledger.key, &[&ledger.checkpoint]);
    let bundle = bundles_of(ledger.size()).next().expect("one bundle");
    let tile = tiles_of(ledger.size()).next().expect("one tile");
    for names in [
        vec![bundle.to_string()],
        vec![lines_path(bundle)],
        vec![bundle.to_string(), lines_path(bundle)],
        vec![tile.to_string()],
    ] {
        let dir = exported(&ledger);
        for name in &names {
            std::fs::remove_file(dir.path().join(name)).expect("removable");
        }
        let report = run_dir(dir.path(), &settings);
        assert_eq!(
            (report.verdict.word(), report.exit_code),
            ("TAMPERED", 1),
            "{report}"
        );
        assert_eq!(report.position, Some(Position(0)), "{report}");
        assert!(
            report.message.contains(&names[0]) && report.message.contains("missing"),
            "{report}"
        );
    }
    // Without a checkpoint it is no copy of a log.
    let dir = exported(&ledger);
    std::fs::remove_file(dir.path().join("checkpoint")).expect("removable");
    assert!(chain_publisher::directory::Directory::open(dir.path()).is_err());
}

#[test]
fn what_is_given_from_outside_must_be_of_this_log_and_signed() {
    let ledger = SmallLedger::record(plan(1));
    let key = SigningKey::from_seed("another.example/log", &[1; 32]).expect("a key");
    let other = Checkpoint::new("another.example/log", TreeSize(0), Hash::empty_root()).expect("valid");
    let other = SignedCheckpoint::sign(other, &[&key]).expect("signed").encode();
    let stranger = SmallLedger::record(Plan { seed: 8, ..plan(1) });
    for kept in [other.as_bytes(), stranger.checkpoint.as_slice()] {
        let settings = auditor(&ledger.key, &[kept]);
        let error = verify(&ledger.source(), &settings, &mut |_| {});
        assert!(matches!(error, Err(VerifyError::Evidence(_))), "{error:?}");
    }
    assert!(Evidence::parse("a photo", b"\xff\xd8\xff").is_err());
    let mut settings = auditor(&ledger.key, &[]);
    settings.origin = Some("another.example/log".to_owned());
    let error = verify(&ledger.source(), &settings, &mut |_| {});
    assert!(matches!(error, Err(VerifyError::Settings(_))), "{error:?}");
    // Another origin without a key is the log's fault.
    settings.trust.keys.clear();
    let report = run(&ledger.source(), &settings);
    assert_eq!(report.verdict.word(), "TAMPERED", "{report}");
}

#[test]
fn entries_behind_the_latest_checkpoint_are_checked_and_not_confirmed() {
    let ledger = SmallLedger::record(plan(2));
    let early = SmallLedger::record(plan(1));
    let mut source = ledger.source();
    source.checkpoint = Some(early.checkpoint.clone());
    let report = run(&source, &auditor(&ledger.key, &[&early.checkpoint]));
    assert_eq!(
        (report.verdict.word(), report.exit_code),
        ("UNANCHORED", 3),
        "{report}"
    );
    assert_eq!((report.size, report.anchored), (ledger.size(), early.size()));
}

#[test]
fn a_ledger_whose_tiles_are_damaged_is_not_tampered_with_but_the_damage_is_said() {
    struct Damaged(Arc<MemoryLog>);
    impl TileStore for Damaged {
        fn read_nodes(
            &self,
            level: u8,
            index: u64,
            count: usize,
            out: &mut Vec<Hash>,
        ) -> Result<(), domain::ports::ReadError> {
            self.0.read_nodes(level, index, count, out)?;
            if (index..index + count as u64).contains(&5) && level == 0 {
                out[5 - index as usize] = Hash([1; 32]);
            }
            Ok(())
        }
    }
    let ledger = SmallLedger::record(plan(1));
    let damaged = Damaged(ledger.log.clone());
    let source = PortsSource {
        tiles: &damaged,
        ..ledger.source()
    };
    let report = run(&source, &auditor(&ledger.key, &[&ledger.checkpoint]));
    assert_eq!(report.verdict.word(), "VERIFIED", "{report}");
    assert_eq!(report.derived_damage.len(), 1);
    assert_eq!(report.derived_damage[0].position, Some(Position(5)));
}

#[test]
fn an_entry_that_breaks_the_rules_is_found_although_it_is_signed() {
    let ledger = SmallLedger::record(plan(1));
    let dir = exported(&ledger);
    let mut all = entries(dir.path(), ledger.size());
    let at = all.len() - 1;
    let text = String::from_utf8(all[at].clone()).expect("text");
    for (from, to) in [
        ("\"sequence\":", "\"sequence\":1"),
        ("\"v\":1}", "\"v\": 1}"),
        ("\"recorded_at\":\"2026-05-18", "\"recorded_at\":\"2026-05-17"),
        ("\"recorded_at\":\"2026-05-18", "\"recorded_at\":\"2026-05-19"),
        (&format!("\"position\":{at}"), "\"position\":3"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        all[at] = changed.into_bytes();
        let root = forge(dir.path(), &all);
        sign(dir.path(), all.len() as u64, root, &signing_key(7));
        let own = std::fs::read(dir.path().join("checkpoint")).expect("readable");
        let report = run_dir(dir.path(), &auditor(&ledger.key, &[&own]));
        assert_eq!(
            (report.verdict.word(), report.exit_code),
            ("TAMPERED", 1),
            "{to}: {report}"
        );
        assert_eq!(report.position, Some(Position(at as u64)), "{to}: {report}");
    }
    assert_eq!(EventLog::size(&*ledger.log), ledger.size());
}
