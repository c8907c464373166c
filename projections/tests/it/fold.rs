//! The fold: the same rows whatever the batches, nothing of a batch that failed, rows that go with the ledger.

use crate::support::{Scribe, at, dump, minutes, sealed, size};
use domain::ports::{EntryBlock, TileStore};
use domain::{Hash, Position, TreeSize};
use projections::{Found, ProjectionError, Store, StoredRoots};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Op {
    Reading {
        device: usize,
        at_s: i64,
        values: Vec<(usize, i32)>,
    },
    Conflict {
        device: usize,
    },
    Cadence {
        device: usize,
        seconds: Option<i64>,
    },
    Channel {
        device: usize,
        key: usize,
    },
    Calibrate {
        device: usize,
        from_s: i64,
        offset: i32,
    },
    Derive {
        second: usize,
        max_age_s: u32,
    },
    Move {
        device: usize,
    },
    Refused {
        device: usize,
        count: u32,
    },
    Parked {
        tray: usize,
    },
    Day,
}

const KEYS: [&str; 3] = ["humidity", "temperature", "temperature/back"];

fn op() -> impl Strategy<Value = Op> {
    let device = 0usize..3;
    // Mostly in order around a few hours, sometimes far away, often on the same second.
    let at_s =
        prop_oneof![4 => 0i64..20_000, 1 => -200_000i64..200_000, 2 => (0i64..40).prop_map(|n| n * 300)];
    let values = prop::collection::vec((0usize..3, -500i32..500), 1..4);
    prop_oneof![
        12 => (device.clone(), at_s, values).prop_map(|(device, at_s, values)| Op::Reading { device, at_s, values }),
        1 => device.clone().prop_map(|device| Op::Conflict { device }),
        1 => (device.clone(), prop::option::of(30i64..900)).prop_map(|(device, seconds)| Op::Cadence { device, seconds }),
        1 => (device.clone(), 0usize..3).prop_map(|(device, key)| Op::Channel { device, key }),
        1 => (device.clone(), 0i64..20_000, -50i32..50)
            .prop_map(|(device, from_s, offset)| Op::Calibrate { device, from_s, offset }),
        1 => (1usize..3, 60u32..4_000).prop_map(|(second, max_age_s)| Op::Derive { second, max_age_s }),
        1 => device.clone().prop_map(|device| Op::Move { device }),
        1 => (device, 1u32..9).prop_map(|(device, count)| Op::Refused { device, count }),
        1 => (0usize..2).prop_map(|tray| Op::Parked { tray }),
        1 => Just(Op::Day),
    ]
}

/// Writes a small history: every kind of entry that is projected.
fn history(ops: &[Op]) -> Scribe {
    let scribe = Scribe::new();
    scribe.fact(None, ("ledger", "main"), "LedgerCreated", &json!({"format": 1}));
    scribe.account("acc_a");
    scribe.site("acc_a", "site_one");
    scribe.site("acc_a", "site_two");
    for device in 0..3 {
        let id = format!("dev_{device}");
        scribe.device("acc_a", "site_one", &id, None);
        scribe.channel("acc_a", &id, &format!("chn_{device}_1"), KEYS[1]);
        let token = json!({"token": format!("tok{device}"), "kind": "device", "hash": "$2b$10$secret"});
        scribe.fact(Some("acc_a"), ("tokens", &id), "TokenIssued", &token);
    }
    // A difference of two devices, and a load against what is usual, which remembers hours.
    for (channel, key) in [
        ("chn_dt", "temperature/delta_t"),
        ("chn_ob", "power/over_baseline"),
        ("chn_dr", "temperature/draw_temperature"),
        ("chn_nb", "count/nights_over_baseline"),
    ] {
        scribe.channel("acc_a", "dev_0", channel, key);
    }
    scribe.derivation(
        "acc_a",
        "chn_dt",
        &json!({"function": "delta_t", "sources": ["chn_0_1", "chn_1_1"]}),
    );
    let usual = json!({"function": "energy_baseline", "sources": ["chn_0_1"], "trailing_days": 7});
    scribe.derivation("acc_a", "chn_ob", &usual);
    // Of readings that follow one another; what the sources measure does not matter to the fold.
    let draws = json!({"function": "draw_temperature", "sources": ["chn_0_1", "chn_1_1"]});
    scribe.derivation("acc_a", "chn_dr", &draws);
    let nights = json!({"function": "nights_over_baseline", "sources": ["chn_2_1"], "trailing_days": 7});
    scribe.derivation("acc_a", "chn_nb", &nights);
    let mut seen = std::collections::BTreeSet::new();
    let mut channels = std::collections::BTreeSet::new();
    let mut days = 0;
    for op in ops {
        match op {
            Op::Reading { device, at_s, values } => {
                // As the sequencer would: a channel has one value for a time.
                let mut of_key = std::collections::BTreeMap::new();
                for (key, value) in values {
                    if seen.insert((*device, *key, *at_s)) {
                        of_key.insert(KEYS[*key], f64::from(*value) / 10.0);
                    }
                }
                if !of_key.is_empty() {
                    let values: Vec<_> = of_key.into_iter().collect();
                    scribe.reading(&format!("dev_{device}"), at(at_s * 1_000_000), &values);
                }
            }
            Op::Conflict { device } => {
                scribe.conflict(&format!("dev_{device}"), at(0), &[("temperature", 1.0)]);
            }
            Op::Cadence { device, seconds } => {
                let changes = json!({"changes": {"cadence_s": {"old": null, "new": seconds}}});
                scribe.fact(
                    Some("acc_a"),
                    ("device", &format!("dev_{device}")),
                    "DeviceChanged",
                    &changes,
                );
            }
            Op::Channel { device, key } => {
                if *key != 1 && channels.insert((*device, *key)) {
                    let id = format!("chn_{device}_{key}");
                    scribe.channel("acc_a", &format!("dev_{device}"), &id, KEYS[*key]);
                }
            }
            Op::Calibrate {
                device,
                from_s,
                offset,
            } => {
                let from = at(from_s * 1_000_000);
                let offset = f64::from(*offset) / 10.0;
                scribe.calibration(
                    "acc_a",
                    &format!("chn_{device}_1"),
                    from,
                    &json!({"offset": offset}),
                );
            }
            Op::Derive { second, max_age_s } => {
                let sources = ["chn_0_1".to_owned(), format!("chn_{second}_1")];
                let made = json!({"function": "delta_t", "sources": sources, "max_age_s": max_age_s});
                scribe.derivation("acc_a", "chn_dt", &made);
            }
            Op::Move { device } => {
                let moved = json!({"from_site": "site_one", "to_site": "site_two",
                    "effective_at": at(0).to_string()});
                scribe.fact(
                    Some("acc_a"),
                    ("device", &format!("dev_{device}")),
                    "DeviceMoved",
                    &moved,
                );
            }
            Op::Refused { device, count } => {
                scribe.refused(
                    "run",
                    &format!("token:tok{device}"),
                    &json!({"rate_limited": count}),
                );
            }
            Op::Parked { tray } => {
                let parked = json!({"dev_eui": format!("000000000000000{tray}"), "session": null, "f_cnt": 1,
                    "received_at": at(0).to_string()});
                scribe.fact(
                    Some("acc_a"),
                    ("tray", &format!("tray{tray}")),
                    "UplinkParked",
                    &parked,
                );
            }
            Op::Day => {
                let date = at(days * 86_400_000_000).date();
                days += 1;
                let day = json!({"date": date.to_string(), "first_position": 0, "size": 1, "root": "x"});
                scribe.fact(None, ("ledger", "main"), "DayClosed", &day);
            }
        }
    }
    scribe
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_batches_give_identical_rows(ops in prop::collection::vec(op(), 1..300)) {
        let scribe = history(&ops);
        let dir = tempfile::tempdir().expect("a directory");
        let mut expected: Option<Vec<String>> = None;
        for batch in [usize::MAX >> 1, 1, 7, 1000] {
            let path = dir.path().join(format!("{batch}.sqlite"));
            let store = scribe.fold(&path, batch);
            prop_assert_eq!(store.cursor().root, scribe.log.root());
            drop(store);
            let rows = dump(&path);
            match &expected {
                None => expected = Some(rows),
                Some(expected) => prop_assert_eq!(expected, &rows, "batches of {}", batch),
            }
        }
    }
}

fn one_device() -> Scribe {
    let scribe = Scribe::new();
    scribe.account("acc_a");
    scribe.site("acc_a", "site_one");
    scribe.device("acc_a", "site_one", "dev_0", Some(60));
    scribe.channel("acc_a", "dev_0", "chn_0", "temperature");
    scribe
}

#[test]
fn a_batch_that_is_not_committed_leaves_no_trace_and_is_folded_again() {
    let scribe = one_device();
    for n in 0..10 {
        scribe.reading("dev_0", minutes(n * 10), &[("temperature", n as f64)]);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (whole, torn) = (dir.path().join("whole.sqlite"), dir.path().join("torn.sqlite"));
    drop(scribe.fold(&whole, 5));

    let blocks = scribe.blocks(5);
    let no_root = |_: TreeSize| Err::<Option<Hash>, _>("the tiles do not answer".to_owned());
    let mut store = Store::create(&torn).expect("opens");
    store
        .apply(blocks[..1].iter().map(Ok), &scribe.roots())
        .expect("applies");
    // Every row of the second batch is written, then the transaction is dropped.
    let error = store
        .apply(blocks[1..2].iter().map(Ok), &no_root)
        .expect_err("fails");
    assert!(
        matches!(error, ProjectionError::Root { .. }) && error.may_pass(),
        "{error}"
    );
    assert_eq!(store.cursor().size, size(5));
    // The process dies here, or tries again; both go on from the cursor.
    drop(store);
    let (mut store, found) = Store::open(&torn, &scribe.roots()).expect("opens");
    assert_eq!((found, store.cursor().size), (Found::Good, size(5)));
    assert!(store.apply(blocks[1..2].iter().map(Ok), &no_root).is_err());
    for block in &blocks[1..] {
        store.apply([Ok(block)], &scribe.roots()).expect("applies");
    }
    drop(store);
    assert_eq!(dump(&torn), dump(&whole));
}

#[test]
fn entries_out_of_order_are_refused() {
    let scribe = one_device();
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = Store::create(&dir.path().join("x.sqlite")).expect("opens");
    let blocks = scribe.blocks(1);
    let error = store
        .apply(blocks[1..].iter().map(Ok), &scribe.roots())
        .expect_err("refused");
    assert!(
        matches!(
            error,
            ProjectionError::OutOfOrder {
                expected: Position(0),
                ..
            }
        ),
        "{error}"
    );
    let mut lying = EntryBlock::new();
    lying.push(Position(0), blocks[1].get(0).expect("has an entry").1);
    assert!(store.apply([Ok(lying)], &scribe.roots()).is_err());
    let mut garbage = EntryBlock::new();
    garbage.push(Position(0), b"{}");
    let error = store.apply([Ok(garbage)], &scribe.roots()).expect_err("refused");
    assert!(
        matches!(
            error,
            ProjectionError::Entry {
                position: Position(0),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(store.cursor().size, size(0));
}

#[test]
fn rows_of_another_ledger_are_dropped_and_those_of_this_one_kept() {
    let scribe = one_device();
    scribe.reading("dev_0", minutes(1), &[("temperature", 4.0)]);
    let other = one_device();
    other.reading("dev_0", minutes(1), &[("temperature", 5.0)]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sqlite");
    drop(scribe.fold(&path, 100));

    let (store, found) = Store::open(&path, &scribe.roots()).expect("opens");
    assert_eq!(found, Found::Good);
    drop(store);
    // The ledger was restored from an older copy: it is smaller than the cursor.
    let empty = StoredRoots(Arc::new(domain::memory::MemoryLog::new()) as Arc<dyn TileStore>);
    let unanswered = |_: TreeSize| Err::<Option<Hash>, _>("not now".to_owned());
    assert!(
        Store::open(&path, &unanswered).is_err(),
        "nothing is dropped on a guess"
    );
    let (store, found) = Store::open(&path, &other.roots()).expect("opens");
    assert!(
        matches!(found, Found::Dropped(why) if why.contains("ledger")),
        "{found:?}"
    );
    assert_eq!(store.cursor().size, size(0));
    drop(store);
    drop(scribe.fold(&path, 100));
    let (_, found) = Store::open(&path, &empty).expect("opens");
    assert!(matches!(found, Found::Dropped(_)), "{found:?}");
}

#[test]
fn a_write_ahead_log_left_without_its_database_is_not_taken_for_anothers() {
    let scribe = one_device();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sqlite");
    let store = scribe.fold(&path, 1);
    let log = dir.path().join("x.sqlite-wal");
    let left = std::fs::read(&log).expect("there is a log while the writer is open");
    assert!(left.len() > 4_096);
    drop(store);
    std::fs::remove_file(&path).expect("removes");
    std::fs::write(&log, left).expect("writes");
    let (store, found) = Store::open(&path, &scribe.roots()).expect("opens");
    assert_eq!((found, store.cursor().size), (Found::Nothing, size(0)));
    drop(store);
    drop(scribe.fold(&path, 7));
    let whole = dir.path().join("whole.sqlite");
    drop(scribe.fold(&whole, 7));
    assert_eq!(dump(&path), dump(&whole));
}

#[test]
fn rows_of_another_version_and_files_that_do_not_read_are_dropped() {
    let scribe = one_device();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sqlite");
    drop(scribe.fold(&path, 100));
    let raw = rusqlite::Connection::open(&path).expect("opens");
    raw.execute("UPDATE cursors SET version = 99 WHERE projection = 'rollups'", [])
        .expect("updates");
    drop(raw);
    let (_, found) = Store::open(&path, &scribe.roots()).expect("opens");
    assert!(matches!(found, Found::Dropped(_)), "{found:?}");

    std::fs::write(&path, vec![0x55u8; 8192]).expect("writes");
    let (store, found) = Store::open(&path, &scribe.roots()).expect("opens");
    assert!(matches!(found, Found::Dropped(_)), "{found:?}");
    assert_eq!(store.cursor().size, size(0));
}

#[test]
fn the_first_of_two_values_for_one_time_stands() {
    let scribe = one_device();
    scribe.reading("dev_0", minutes(1), &[("temperature", 4.0)]);
    scribe.reading("dev_0", minutes(1), &[("temperature", 5.0)]);
    let dir = tempfile::tempdir().expect("a directory");
    for batch in [1, 100] {
        let path = dir.path().join(format!("{batch}.sqlite"));
        drop(scribe.fold(&path, batch));
        let raw = rusqlite::Connection::open(&path).expect("opens");
        let (count, last): (i64, f64) = raw
            .query_row("SELECT count, last FROM rollups_1d", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("one row");
        assert_eq!((count, last), (1, 4.0), "batches of {batch}");
    }
}

#[test]
fn sealed_texts_stay_sealed_with_their_place_and_token_hashes_are_nowhere() {
    let scribe = history(&[]);
    let renamed = json!({"changes": {"name": {"old": null, "new": sealed("walk-in")}}});
    scribe.fact(Some("acc_a"), ("device", "dev_0"), "DeviceChanged", &renamed);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sqlite");
    drop(scribe.fold(&path, 3));
    let rows = dump(&path);
    assert!(
        !rows.iter().any(|row| row.contains("$2b$")),
        "a token's hash is in a read model"
    );
    let raw = rusqlite::Connection::open(&path).expect("opens");
    let name: String = raw
        .query_row("SELECT name FROM devices WHERE id = 'dev_0'", [], |row| {
            row.get(0)
        })
        .expect("one row");
    let field: domain::sealed::SealedField =
        serde_json::from_str(&name).expect("a sealed value with its place");
    assert_eq!(
        (field.place.pointer.as_str(), field.place.sequence),
        ("/changes/name/new", 2)
    );
}
