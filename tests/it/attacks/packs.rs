//! Attacks on what leaves the house piece by piece: packs, receipts, looks at a checkpoint, witnesses, sealed values.

use super::{Desk, option, verify};
use crate::pack::alarm;
use crate::pack::forged::{FROM, Forger, TO, prune};
use crate::verify::exported;
use chain_publisher::pack::Subject;
use chain_publisher::receipt::{Became, ReceiptText};
use domain::hash::{leaf_hash, sha256};
use domain::note::Note;
use domain::ports::EventLog;
use domain::sealed::{SealPlace, open, seal};
use domain::{Position, Timestamp};
use serde_json::json;
use tests::pack_ledger::{Files, PackLedger, device};
use tests::small_ledger::{ORIGIN, Plan, SmallLedger, receipt_key};
use tests::witness::{NumberLog, WitnessProcess};

type Said = (i32, String);

/// Verifies a pack as somebody does who kept the key and the head of the last day.
fn judged(pack: &[u8], ledger: &PackLedger) -> Said {
    let desk = Desk::new();
    let (pack, head) = (desk.keep("a.pack.zip", pack), desk.keep("head", &ledger.head(TO)));
    verify(
        "pack",
        &pack,
        &[option("--key"), option(&ledger.key), option("--head"), &head],
    )
}

pub fn byte() -> Said {
    let forger = Forger::new();
    let mut bytes = forger.good.zip();
    let value = b"\"temperature\":1.2";
    let at = bytes.windows(value.len()).position(|part| part == value);
    bytes[at.expect("a value") + 16] ^= 1;
    judged(&bytes, &forger.ledger)
}

pub fn reading_removed() -> Said {
    let forger = Forger::new();
    judged(&forger.without("ReadingRecorded", 2), &forger.ledger)
}

pub fn stream_removed() -> Said {
    let forger = Forger::new();
    judged(&forger.day_left_out(), &forger.ledger)
}

fn alarms_pack(name: &str) -> Said {
    let ledger = PackLedger::record_with_alarms();
    let packs = alarm::packs(&ledger);
    let (_, pack) = packs.iter().find(|(of, _)| *of == name).expect("a pack");
    judged(pack, &ledger)
}

pub fn alarm_removed() -> Said {
    alarms_pack("alarm-left-out")
}

pub fn other_alarm_removed() -> Said {
    alarms_pack("another-alarm-left-out")
}

pub fn shown_after() -> Said {
    let ledger = PackLedger::record_pruned("2026-05-18");
    let files: Files = prune(&ledger, "2026-05-18", |_| false);
    judged(&files.zip(), &ledger)
}

pub fn retention_shortened() -> Said {
    let shortened = Forger::policies().into_iter().find_map(|(ledger, packs)| {
        let (_, pack, ..) = packs
            .into_iter()
            .find(|(name, ..)| *name == "retention-shortened")?;
        Some((ledger, pack))
    });
    let (ledger, pack) = shortened.expect("a pack");
    judged(&pack, &ledger)
}

pub fn own_key() -> Said {
    let theirs = PackLedger::record_by(9);
    let pack = theirs.files(Subject::Device(device(1)), FROM, TO).zip();
    let desk = Desk::new();
    verify("pack", &desk.keep("a.pack.zip", &pack), &[])
}

pub fn receipt() -> Said {
    let ledger = SmallLedger::record(Plan::default());
    let block = domain_block(&ledger, 7);
    let text = ReceiptText {
        origin: ORIGIN.to_owned(),
        became: Became::Recorded,
        body_sha256: sha256(b"{}"),
        recorded_at: Timestamp::default(),
        entries: vec![(Position(7), leaf_hash(&block))],
    };
    let note = Note::sign(&text.to_string(), &[&receipt_key(7)])
        .expect("signed")
        .encode();
    let flipped = note.replacen("\n7 ", "\n8 ", 1);
    assert_ne!(note, flipped);
    let (dir, desk) = (exported(&ledger), Desk::new());
    let file = desk.keep("receipt.note", flipped.as_bytes());
    verify(
        "receipt",
        &file,
        &[option("--log"), dir.path(), option("--key"), option(&ledger.key)],
    )
}

fn domain_block(ledger: &SmallLedger, position: u64) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let block = runtime
        .block_on(ledger.log.read_at(&[Position(position)]))
        .expect("read");
    block.get(0).expect("an entry").1.to_vec()
}

pub fn rolled_back() -> Said {
    let plan = |days| Plan {
        days,
        ..Plan::default()
    };
    let (older, newer) = (SmallLedger::record(plan(1)), SmallLedger::record(plan(3)));
    let desk = Desk::new();
    let seen = desk.keep("seen.checkpoint", &newer.checkpoint);
    let dir = exported(&older);
    verify(
        "watch",
        dir.path(),
        &[option("--key"), option(&older.key), option("--state"), &seen],
    )
}

pub fn two_trees() -> Said {
    let (log, other) = (
        NumberLog::new("log.example/main", 0, 600),
        NumberLog::new("log.example/main", 1, 600),
    );
    let witness = WitnessProcess::start(&[log.key.verifier_key().to_string()]);
    let first = witness.offer(log.body(0, 300).encode().as_bytes());
    assert_eq!(first.status, 200, "{first:?}");
    let second = witness.offer(other.body(300, 300).encode().as_bytes());
    let kept = std::fs::read_dir(witness.dir().join("conflicts")).map_or(0, Iterator::count);
    (i32::from(kept == 1), format!("{} {}", second.status, second.body))
}

pub fn sealed() -> Said {
    let place = |id| SealPlace {
        aggregate_type: "device",
        aggregate_id: id,
        sequence: 1,
        pointer: "/name",
        salt: "AAAAAAAAAAAAAAAAAAAAAA",
    };
    let theirs = seal(ORIGIN, &place("dev_a"), &json!("cold room"), &[3; 32], [4; 24]).expect("sealed");
    match open(ORIGIN, &place("dev_b"), &theirs, &[3; 32]) {
        Ok(value) => (0, value.to_string()),
        Err(error) => (1, error.to_string()),
    }
}
