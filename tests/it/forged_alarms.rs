//! Somebody with the keys and the disk takes an alarm out of a copied ledger, or puts another entry in its place: the
//! ledger is valid, and the rules say by name what is missing.

use commands::ledger::{Ledger, Options, Upkeep};
use domain::canonical::Canonical;
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::entry::{Entry, NewEvent, Placement, encode};
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, TileNodes};
use domain::note::SigningKey;
use domain::ports::{Append, CheckpointStore, EntryBlock, EventLog};
use domain::{Hash, Position, TreeSize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use tests::daybook::{Daybook, binary};

use crate::alarms::Kitchen;

/// An entry as a forger takes it apart.
struct Taken {
    placement: Placement,
    event: NewEvent,
}

fn taken(bytes: &[u8]) -> Taken {
    let entry = Entry::read(bytes).expect("an entry");
    Taken {
        placement: Placement {
            position: entry.position,
            recorded_at: entry.recorded_at,
            sequence: entry.sequence,
            salt: base64_salt(entry.salt),
        },
        event: NewEvent {
            aggregate_type: entry.aggregate_type.to_owned().into(),
            aggregate_id: entry.aggregate_id.to_owned(),
            event_type: entry.event_type.to_owned().into(),
            event_version: entry.event_version.to_owned().into(),
            payload: Canonical::trusted(entry.payload.to_vec()),
            metadata: Canonical::trusted(entry.metadata.to_vec()),
            salt: None,
        },
    }
}

fn base64_salt(text: &str) -> [u8; 16] {
    let bytes = domain::hash::from_base64url(text).expect("a salt");
    bytes.try_into().expect("sixteen bytes")
}

/// The entries of a stopped service's ledger.
fn entries(daybook: &Daybook) -> Vec<Vec<u8>> {
    let (ledger, _) =
        Ledger::open_read_only(&daybook.data().join("ledger"), Options::default()).expect("opens");
    let mut all = Vec::new();
    while (all.len() as u64) < ledger.size().get() {
        let block = ledger
            .read_now(Position(all.len() as u64), 4_096, 4 << 20)
            .expect("reads");
        all.extend(block.iter().map(|(_, bytes)| bytes.to_vec()));
    }
    all
}

/// A data directory with these entries as its ledger, signed with the keys of the copied one.
fn forge(of: &Daybook, dir: &Path, mut taken: Vec<Taken>) {
    let mut sequences: HashMap<(String, String), u64> = HashMap::new();
    let mut block = EntryBlock::new();
    let mut leaves: Vec<Hash> = Vec::new();
    for (position, one) in taken.iter_mut().enumerate() {
        let stream = (
            one.event.aggregate_type.to_string(),
            one.event.aggregate_id.clone(),
        );
        let sequence = sequences.entry(stream).or_default();
        *sequence += 1;
        one.placement.position = Position(position as u64);
        one.placement.sequence = *sequence;
        let mut bytes = Vec::new();
        encode(&mut bytes, &one.placement, &one.event).expect("encodes");
        leaves.push(leaf_hash(&bytes));
        block.push(one.placement.position, &bytes);
    }
    let mut frontier = Frontier::default();
    let mut nodes = TileNodes::new();
    frontier.extend(&leaves, &mut nodes);
    let origin = std::fs::read_to_string(of.data().join("origin")).expect("an origin");
    let origin = origin.trim().to_owned();
    std::fs::create_dir_all(dir.join("ledger")).expect("made");
    for file in ["origin", "keys"] {
        let copied = Command::new("cp")
            .arg("-a")
            .arg(of.data().join(file))
            .arg(dir)
            .status();
        assert!(copied.expect("cp runs").success());
    }
    let options = Options {
        origin: Some(origin.clone()),
        upkeep: Upkeep::WhenAsked,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(&dir.join("ledger"), options).expect("opens");
    ledger
        .append_now(Append {
            expected: TreeSize::EMPTY,
            entries: &block,
            leaf_hashes: &leaves,
            root: frontier.root(),
            tile_nodes: nodes.above(),
        })
        .expect("appended");
    let seed = std::fs::read(dir.join("keys/log-key")).expect("the log's key");
    let seed: [u8; 32] = seed.try_into().expect("32 bytes");
    let key = SigningKey::from_seed(&origin, &seed).expect("a key");
    let checkpoint = Checkpoint::new(&origin, ledger.size(), frontier.root()).expect("a checkpoint");
    let signed = SignedCheckpoint::sign(checkpoint, &[&key]).expect("signed");
    ledger.swap(None, signed.encode().as_bytes()).expect("kept");
}

fn replay(dir: &Path) -> (i32, Value) {
    let output = Command::new(binary())
        .args(["replay", "--rules", "--json", "--data"])
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let found = serde_json::from_slice(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    (
        output.status.code().unwrap_or(-1),
        found.unwrap_or_else(|_| panic!("{said}")),
    )
}

/// It is a valid ledger, by whoever checks it without asking anybody else. Not asked where a day was closed meanwhile:
/// its root would have to be forged, too.
fn is_valid(dir: &Path, entries: &[Vec<u8>]) {
    if entries
        .iter()
        .any(|bytes| Entry::event_type_of(bytes) == Some("DayClosed"))
    {
        return;
    }
    let output = Command::new(binary())
        .args(["verify", "--data"])
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.starts_with("UNANCHORED"), "{told}");
}

fn names(list: &Value, member: &str) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|one| one[member].as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn an_alarm_that_is_taken_out_of_a_valid_ledger_or_replaced_is_reported_by_name() {
    let mut kitchen = Kitchen::new();
    kitchen.send_all(60..=70, 4.0);
    kitchen.send_all(20..=50, 9.0);
    let alarms = kitchen.until("", |events| events.len() == 1);
    let alarm = alarms[0]["id"].as_str().expect("an id").to_owned();
    let note = serde_json::json!({"reason": {"code": "door_open"}});
    kitchen
        .daybook
        .post(&format!("/v1/events/{alarm}/ack"), &note)
        .expect(200);
    kitchen.send_all(0..=19, 4.0);
    kitchen.until("", |events| events[0]["state"] == "cleared");
    kitchen.daybook.stop();
    let all = entries(&kitchen.daybook);
    let opening = all
        .iter()
        .position(|bytes| Entry::event_type_of(bytes) == Some("AlarmOpened"))
        .expect("it was recorded");
    let scratch = tempfile::tempdir().expect("a directory");
    let whole = || all.iter().map(|bytes| taken(bytes)).collect::<Vec<_>>();
    // What the forger does to nothing: the same entries are the same ledger, and nothing is reported.
    let dir = scratch.path().join("same");
    forge(&kitchen.daybook, &dir, whole());
    is_valid(&dir, &all);
    let (code, found) = replay(&dir);
    assert_eq!((code, &found["missing"]), (0, &serde_json::json!([])), "{found}");
    // Replaced: everything else stands where it stood. The forger holds the keys, so the ledger itself is valid.
    let dir = scratch.path().join("replaced");
    let mut replaced = whole();
    let said = &replaced[opening + 1..]
        .iter()
        .find(|one| one.event.event_type == "AlarmAcknowledged")
        .expect("it was acknowledged")
        .event;
    let said = NewEvent {
        aggregate_type: said.aggregate_type.clone(),
        aggregate_id: said.aggregate_id.clone(),
        event_type: said.event_type.clone(),
        event_version: said.event_version.clone(),
        payload: said.payload.clone(),
        metadata: said.metadata.clone(),
        salt: None,
    };
    replaced[opening].event = said;
    forge(&kitchen.daybook, &dir, replaced);
    is_valid(&dir, &all);
    let (code, found) = replay(&dir);
    let stream = format!("alarm/{alarm}");
    assert_eq!(code, 1, "{found}");
    assert_eq!(names(&found["missing"], "stream"), std::slice::from_ref(&stream));
    assert_eq!(found["missing"][0]["event_type"], "AlarmOpened");
    assert_eq!(found["unexpected"], serde_json::json!([]));
    // Taken out: what stood behind it moves up.
    let dir = scratch.path().join("without");
    let mut without = whole();
    without.remove(opening);
    forge(&kitchen.daybook, &dir, without);
    is_valid(&dir, &all);
    let (code, found) = replay(&dir);
    assert_eq!(code, 1, "{found}");
    let missing = found["missing"].as_array().expect("a list");
    let opened = |one: &Value| one["event_type"] == "AlarmOpened" && one["stream"] == stream.as_str();
    assert!(missing.iter().any(opened), "{found}");
}
