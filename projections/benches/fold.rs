//! How fast entries become rows: 1,000 channels round robin, one value a reading, decode included.
//!
//! `cargo bench -p projections --bench fold -- [READINGS] [BATCH] [SECONDS BETWEEN A DEVICE'S READINGS]`
//! Prints wall time and the process' CPU time; the projector has one thread.
//! Not here: correctness (`tests/`).

use domain::canonical::Canonical;
use domain::entry::{EntryHead, NewEvent, Placement, encode, encode_parts};
use domain::ports::EntryBlock;
use domain::reading::{READING_RECORDED, READINGS, Reading, TimeFrom};
use domain::{Hash, Position, Timestamp, TreeSize};
use projections::Store;
use serde_json::{Value, json};
use std::time::Instant;

const DEVICES: u64 = 1_000;
const START_US: i64 = 1_767_225_600_000_000;

struct Writer {
    next: u64,
    recorded_at: i64,
}

impl Writer {
    fn placement(&mut self) -> Placement {
        let position = Position(self.next);
        self.next += 1;
        self.recorded_at += 5;
        Placement {
            position,
            recorded_at: Timestamp::from_micros(self.recorded_at).expect("in the calendar"),
            sequence: 1,
            salt: (self.next as u128)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
                .to_be_bytes(),
        }
    }

    fn event(
        &mut self,
        block: &mut EntryBlock,
        stream: (&'static str, String),
        event: &'static str,
        payload: &Value,
    ) {
        let placement = self.placement();
        let event = NewEvent {
            aggregate_type: stream.0.into(),
            aggregate_id: stream.1,
            event_type: event.into(),
            event_version: "1.0".into(),
            payload: Canonical::of(payload).expect("canonical"),
            metadata: Canonical::of(&json!({"account": "acc_bench", "actor": "usr_bench"}))
                .expect("canonical"),
            salt: None,
        };
        block
            .push_with(placement.position, |out| encode(out, &placement, &event))
            .expect("within limits");
    }

    fn reading(&mut self, block: &mut EntryBlock, device: &str, reading: &Reading<'_>, metadata: &[u8]) {
        let placement = self.placement();
        let head = EntryHead {
            aggregate_type: READINGS,
            aggregate_id: device,
            event_type: READING_RECORDED,
            event_version: "1.0",
        };
        block
            .push_with(placement.position, |out| {
                encode_parts(out, &placement, &head, metadata, |out| {
                    reading.write(out).expect("finite values");
                })
            })
            .expect("within limits");
    }
}

fn device_id(device: u64) -> String {
    format!("dev_{device:026}")
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let readings = numbers.first().copied().unwrap_or(1_000_000);
    let batch = numbers.get(1).copied().unwrap_or(50_000);
    let spacing_s = numbers.get(2).copied().unwrap_or(10);

    let mut writer = Writer {
        next: 0,
        recorded_at: START_US,
    };
    let mut blocks = vec![EntryBlock::new()];
    for device in 0..DEVICES {
        let id = device_id(device);
        let registered = json!({"site": "site_bench", "local_id": id, "model": "bench"});
        writer.event(
            &mut blocks[0],
            ("device", id.clone()),
            "DeviceRegistered",
            &registered,
        );
        let channel = json!({"device": id, "key": "temperature", "kind": "temperature", "unit": "Cel"});
        writer.event(
            &mut blocks[0],
            ("channel", format!("chn_{device:026}")),
            "ChannelRegistered",
            &channel,
        );
    }
    let metadata = br#"{"received_at":"2026-01-01T00:00:00.000000Z","request_id":"req_aaaaaaaaaaaaaaaaaaaaaaaaaa","source":{"kind":"http"},"token":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}"#;
    let ids: Vec<String> = (0..DEVICES).map(device_id).collect();
    let mut noise = 1u64;
    for i in 0..readings {
        if i % batch == 0 {
            blocks.push(EntryBlock::new());
        }
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let round = (i / DEVICES) as i64;
        let reading = Reading {
            measured_at: Timestamp::from_micros(START_US + round * spacing_s as i64 * 1_000_000)
                .expect("in range"),
            time_from: TimeFrom::Device,
            claimed_at: None,
            config: Position(i % DEVICES * 2 + 1),
            values: vec![("temperature", (200 + (noise >> 33) % 80) as f64 / 10.0)],
            status: Vec::new(),
        };
        let device = &ids[(i % DEVICES) as usize];
        writer.reading(
            blocks.last_mut().expect("one was pushed"),
            device,
            &reading,
            metadata,
        );
    }
    let bytes: usize = blocks.iter().map(|b| b.bytes().len()).sum();

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("projections.sqlite");
    let roots = |_: TreeSize| Ok::<_, String>(Some(Hash::default()));
    let mut store = Store::create(&path).expect("opens");
    store.apply(blocks[..1].iter().map(Ok), &roots).expect("applies");

    let decoding = (Instant::now(), cpu_s());
    let mut values = 0usize;
    for (_, entry) in blocks[1..].iter().flat_map(EntryBlock::iter) {
        let entry = domain::entry::Entry::read(entry).expect("reads");
        values += Reading::read(entry.payload).expect("reads").values.len();
    }
    let decoding = (decoding.0.elapsed().as_secs_f64(), cpu_s() - decoding.1);
    assert_eq!(values as u64, readings);

    let folding = (Instant::now(), cpu_s());
    let mut slowest = 0f64;
    for block in &blocks[1..] {
        let began = Instant::now();
        store.apply([Ok(block)], &roots).expect("applies");
        slowest = slowest.max(began.elapsed().as_secs_f64());
    }
    let folding = (folding.0.elapsed().as_secs_f64(), cpu_s() - folding.1);
    store.settle().expect("settles");
    let size = std::fs::metadata(&path).expect("is there").len();
    let each = |seconds: f64| seconds * 1e6 / readings as f64;
    println!(
        "readings                {readings:>12}   channels {DEVICES}, batch {batch}, {spacing_s} s apart"
    );
    println!("entry bytes a reading   {:>12}", bytes as u64 / readings);
    println!(
        "decode alone            {:>12.2} µs CPU a reading",
        each(decoding.1)
    );
    println!(
        "decode, rows, rollups   {:>12.2} µs CPU a reading",
        each(folding.1)
    );
    println!(
        "                        {:>12.0} readings/s by the wall",
        readings as f64 / folding.0
    );
    println!("slowest batch           {:>12.1} ms", slowest * 1e3);
    println!("file bytes a reading    {:>12}", size / readings);
}

/// CPU seconds of this process so far (Linux; 0 elsewhere).
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ns: f64 = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
    ns / 1e9
}
