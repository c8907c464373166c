//! How fast a whole ledger is verified: readings of 1,000 devices round robin, one value each, about 420 bytes.
//!
//! `cargo bench -p domain --bench verify -- [READINGS] [ROUNDS]`
//! Prints entries a second of one core for hashes, order, tree and chains, and for every check; and what the bare SHA-256
//! of the same leaves, nodes and links costs. Targets: 1 M/s and 0.4 M/s.
//! Not here: reading entries from anywhere, correctness (`verify`'s tests).

use domain::Timestamp;
use domain::canonical::Canonical;
use domain::entry::{EntryHead, NewEvent, Placement, encode, encode_parts};
use domain::hash::{Hash, leaf_hash, node_hash};
use domain::position::Position;
use domain::reading::{READING_RECORDED, READINGS, Reading, TimeFrom};
use domain::stream::chain;
use domain::verify::{LogVerifier, Strictness};
use serde_json::json;
use std::time::{Duration, Instant};

const DEVICES: u64 = 1_000;
/// Entries of a piece: about a millisecond.
const PIECE: usize = 1_000;
/// 2026-01-01T00:00:00Z.
const START_US: i64 = 1_767_225_600_000_000;

/// Entries one behind the other.
struct Entries {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Entries {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let entry = &self.bytes[start..end];
            start = end;
            entry
        })
    }

    fn placement(&self, sequence: u64) -> Placement {
        let position = self.ends.len() as u64;
        Placement {
            position: Position(position),
            recorded_at: Timestamp::from_micros(START_US + 7 * position as i64).expect("in the calendar"),
            sequence,
            salt: u128::from(position + 1)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
                .to_be_bytes(),
        }
    }

    fn event(
        &mut self,
        stream: (&'static str, String),
        event_type: &'static str,
        payload: serde_json::Value,
    ) {
        let placement = self.placement(1);
        let event = NewEvent {
            aggregate_type: stream.0.into(),
            aggregate_id: stream.1,
            event_type: event_type.into(),
            event_version: "1.0".into(),
            payload: Canonical::of(&payload).expect("canonical"),
            metadata: Canonical::of(
                &json!({"account": "acc_bench", "actor": "usr_bench", "owner": "dev_bench"}),
            )
            .expect("canonical"),
            salt: None,
        };
        encode(&mut self.bytes, &placement, &event).expect("within limits");
        self.ends.push(self.bytes.len());
    }

    fn reading(&mut self, device: u64, sequence: u64) {
        let placement = self.placement(sequence);
        let head = EntryHead {
            aggregate_type: READINGS,
            aggregate_id: &device_id(device),
            event_type: READING_RECORDED,
            event_version: "1.0",
        };
        let received_at = placement.recorded_at;
        let metadata = format!(
            "{{\"received_at\":\"{received_at}\",\"request_id\":\"req_{sequence:026}\",\"source\":{{\"kind\":\"http\"}},\
             \"token\":\"{device:026}\"}}"
        );
        let value = (sequence % 200) as f64 / 10.0 - 3.0;
        let reading = Reading {
            measured_at: received_at,
            time_from: TimeFrom::Device,
            claimed_at: None,
            config: Position(device + 1),
            values: vec![("temperature", value)],
            status: Vec::new(),
        };
        encode_parts(&mut self.bytes, &placement, &head, metadata.as_bytes(), |out| {
            reading.write(out).expect("finite values");
        })
        .expect("within limits");
        self.ends.push(self.bytes.len());
    }
}

fn device_id(n: u64) -> String {
    format!("dev_{n:026}")
}

fn ledger(readings: u64) -> Entries {
    let mut entries = Entries {
        bytes: Vec::with_capacity(readings as usize * 440),
        ends: Vec::new(),
    };
    entries.event(
        ("ledger", "main".to_owned()),
        "LedgerCreated",
        json!({"origin": "daybook.test/bench"}),
    );
    for n in 0..DEVICES {
        entries.event(("device", device_id(n)), "DeviceRegistered", json!({}));
    }
    for n in 0..readings {
        entries.reading(n % DEVICES, n / DEVICES + 1);
    }
    entries
}

/// The sum over pieces of each one's best time in any round: what is measured is this code and not who else wanted the
/// processor. `begin` gives what a round needs, `run` takes the entries of one piece.
fn measure<T>(
    entries: &[&[u8]],
    rounds: u32,
    begin: impl Fn() -> T,
    mut run: impl FnMut(&mut T, &[&[u8]]),
    end: impl Fn(T),
) -> Duration {
    let mut best = vec![Duration::MAX; entries.len().div_ceil(PIECE)];
    for _ in 0..rounds.max(1) {
        let mut state = begin();
        for (piece, best) in entries.chunks(PIECE).zip(&mut best) {
            let begun = Instant::now();
            run(&mut state, piece);
            *best = begun.elapsed().min(*best);
        }
        end(state);
    }
    best.iter().sum()
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let readings = numbers.first().copied().unwrap_or(100_000);
    let rounds = numbers.get(1).map_or(9, |n| *n as u32);
    let ledger = ledger(readings);
    let entries: Vec<&[u8]> = ledger.iter().collect();
    let count = entries.len() as f64;
    println!(
        "{count} entries of {:.0} bytes",
        ledger.bytes.len() as f64 / count
    );
    let print = |name: &str, time: Duration| {
        println!("{name:<12} {:6.3} M entries/s", count / time.as_secs_f64() / 1e6);
    };
    // A leaf, a node and a link of a chain for each: what cannot be avoided.
    let bare = |last: &mut Hash, piece: &[&[u8]]| {
        for entry in piece {
            let leaf = leaf_hash(entry);
            *last = chain(last, &node_hash(&leaf, last));
        }
    };
    let time = measure(&entries, rounds, Hash::default, bare, |last| {
        assert_ne!(last, Hash::default())
    });
    print("bare SHA-256", time);
    for (name, strictness) in [
        ("hashes", Strictness::Hashes),
        ("canonical", Strictness::Canonical),
    ] {
        let begin = || LogVerifier::new(strictness, None, Vec::new());
        let run = |verifier: &mut LogVerifier, piece: &[&[u8]]| {
            for entry in piece {
                verifier.entry(entry);
            }
        };
        print(
            name,
            measure(&entries, rounds, begin, run, |verifier| {
                assert!(verifier.is_clean())
            }),
        );
    }
}
