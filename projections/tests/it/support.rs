//! A small world to project: a ledger in memory, written without a sequencer, and the rows read back.

use domain::canonical::Canonical;
use domain::entry::NewEvent;
use domain::memory::MemoryLog;
use domain::ports::{Clock, EntryBlock, EventLog, TileStore};
use domain::reading::{Conflict, READING_CONFLICT, READING_RECORDED, READINGS, Reading, TimeFrom};
use domain::{Position, Timestamp, TreeSize};
use projections::{Projector, ReadModel, Roots, Store, StoredRoots};
use rusqlite::{Connection, types::ValueRef};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// 2026-01-01T00:00:00Z.
pub const START_US: i64 = 1_767_225_600_000_000;

pub fn at(us: i64) -> Timestamp {
    Timestamp::from_micros(START_US + us).expect("in the calendar")
}

pub fn minutes(n: i64) -> Timestamp {
    at(n * 60_000_000)
}

/// Writes entries with sequences and rising times.
pub struct Scribe {
    pub log: Arc<MemoryLog>,
    sequences: Mutex<HashMap<String, u64>>,
    now: AtomicI64,
}

impl Scribe {
    pub fn new() -> Self {
        Self {
            log: Arc::new(MemoryLog::new()),
            sequences: Mutex::new(HashMap::new()),
            now: AtomicI64::new(START_US),
        }
    }

    /// So much time passes before the next entry.
    pub fn pass(&self, us: i64) {
        self.now.fetch_add(us, Ordering::Relaxed);
    }

    fn push(&self, stream: (&str, &str), event: &str, payload: Canonical, metadata: &Value) -> Position {
        let mut sequences = self.sequences.lock().expect("not poisoned");
        let sequence = sequences.entry(format!("{}/{}", stream.0, stream.1)).or_default();
        *sequence += 1;
        let event = NewEvent {
            aggregate_type: stream.0.to_owned().into(),
            aggregate_id: stream.1.to_owned(),
            event_type: event.to_owned().into(),
            event_version: "1.0".into(),
            payload,
            metadata: Canonical::of(metadata).expect("canonical"),
            salt: None,
        };
        let now = self.now.fetch_add(1_000, Ordering::Relaxed);
        let recorded_at = Timestamp::from_micros(now).expect("in the calendar");
        self.log.push_event(&event, recorded_at, *sequence)
    }

    pub fn fact(
        &self,
        account: Option<&str>,
        stream: (&str, &str),
        event: &str,
        payload: &Value,
    ) -> Position {
        let metadata = match account {
            Some(account) => json!({"account": account, "actor": "usr_x", "reason": {"code": "setup"}}),
            None => json!({"actor": "system:ledger"}),
        };
        self.push(
            stream,
            event,
            Canonical::of(payload).expect("canonical"),
            &metadata,
        )
    }

    pub fn account(&self, account: &str) -> Position {
        let name = json!({"name": sealed("name of an account")});
        self.fact(Some(account), ("account", account), "AccountOpened", &name)
    }

    pub fn site(&self, account: &str, site: &str) -> Position {
        let payload = json!({"name": sealed("name of a site"), "vertical": "haccp", "timezone": "Europe/Prague",
            "address": null});
        self.fact(Some(account), ("site", site), "SiteCreated", &payload)
    }

    pub fn device(&self, account: &str, site: &str, device: &str, cadence_s: Option<i64>) -> Position {
        let payload = json!({"site": site, "local_id": device, "name": sealed("fridge"), "model": "diy_esp32",
            "dev_eui": null, "serial": null, "cadence_s": cadence_s, "notes": null});
        self.fact(Some(account), ("device", device), "DeviceRegistered", &payload)
    }

    pub fn channel(&self, account: &str, device: &str, channel: &str, key: &str) -> Position {
        let kind = key.split('/').next();
        let payload = json!({"device": device, "sensor": channel.replace("chn", "snr"), "key": key, "kind": kind,
            "unit": "Cel", "label": null, "auxiliary": false, "ok_min": 0, "ok_max": 8, "grace_min": 15});
        self.fact(Some(account), ("channel", channel), "ChannelRegistered", &payload)
    }

    /// What a channel's values are made of; null for nothing any more.
    pub fn derivation(&self, account: &str, channel: &str, derivation: &Value) -> Position {
        let payload = json!({"derivation": {"old": null, "new": derivation}});
        self.fact(Some(account), ("channel", channel), "DerivationSet", &payload)
    }

    /// What corrects a channel's values from a time on; null for nothing any more.
    pub fn calibration(&self, account: &str, channel: &str, from: Timestamp, correction: &Value) -> Position {
        let payload = json!({"correction": {"old": null, "new": correction}, "valid_from": from.to_string()});
        self.fact(Some(account), ("channel", channel), "CalibrationSet", &payload)
    }

    pub fn reading(&self, device: &str, measured_at: Timestamp, values: &[(&str, f64)]) -> Position {
        let reading = Reading {
            measured_at,
            time_from: TimeFrom::Device,
            claimed_at: None,
            config: Position(0),
            values: values.to_vec(),
            status: Vec::new(),
        };
        let mut payload = Vec::new();
        reading.write(&mut payload).expect("finite values");
        let received = Timestamp::from_micros(self.now.load(Ordering::Relaxed)).expect("in the calendar");
        let metadata = json!({"received_at": received.to_string(), "token": "t"});
        self.push(
            (READINGS, device),
            READING_RECORDED,
            Canonical::trusted(payload),
            &metadata,
        )
    }

    pub fn conflict(&self, device: &str, measured_at: Timestamp, values: &[(&str, f64)]) -> Position {
        let mut payload = Vec::new();
        let conflict = Conflict {
            measured_at,
            original: Position(0),
            values: values.to_vec(),
        };
        conflict.write(&mut payload).expect("finite values");
        self.push(
            (READINGS, device),
            READING_CONFLICT,
            Canonical::trusted(payload),
            &json!({}),
        )
    }

    pub fn refused(&self, stream: &str, source: &str, counts: &Value) -> Position {
        let payload = json!({"source": source, "refused": counts, "from": at(0).to_string(),
            "to": at(60_000_000).to_string()});
        self.fact(None, ("refusals", stream), "RequestsRefused", &payload)
    }

    pub fn roots(&self) -> StoredRoots {
        StoredRoots(self.log.clone() as Arc<dyn TileStore>)
    }

    /// Everything in the log, in blocks of `batch`.
    pub fn blocks(&self, batch: usize) -> Vec<EntryBlock> {
        let all = read_all(&self.log, Position(0), usize::MAX);
        let entries: Vec<_> = all.iter().collect();
        entries
            .chunks(batch)
            .map(|chunk| {
                let mut block = EntryBlock::new();
                for (position, bytes) in chunk {
                    block.push(*position, bytes);
                }
                block
            })
            .collect()
    }

    /// Folds everything in batches of that many entries, into a new file.
    pub fn fold(&self, path: &Path, batch: usize) -> Store {
        let roots = self.roots();
        let mut store = Store::create(path).expect("opens");
        for block in self.blocks(batch) {
            store.apply([Ok(block)], &roots).expect("applies");
        }
        store
    }

    pub fn projector(&self, path: &Path) -> Projector {
        let roots: Arc<dyn Roots> = Arc::new(self.roots());
        Projector::start(path, self.log.clone(), roots, Arc::new(TestClock::new())).expect("starts")
    }

    /// A projector that has seen everything.
    pub fn projected(&self, path: &Path) -> (Projector, ReadModel) {
        let projector = self.projector(path);
        let last = self.log.size().last().expect("has entries");
        assert!(projector.wait_here(last), "{:?}", projector.status());
        let model = projector.read_model();
        (projector, model)
    }
}

/// A sealed value that nobody can open.
pub fn sealed(secret: &str) -> Value {
    json!({"sealed": {"key": "k", "nonce": "n", "ciphertext": domain::hash::base64url(secret.as_bytes())}})
}

fn read_all(log: &MemoryLog, from: Position, entries: usize) -> EntryBlock {
    use std::task::{Context, Poll, Waker};
    let mut future = EventLog::read(log, from, entries, usize::MAX);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(block) => block.expect("reads"),
        Poll::Pending => panic!("memory does not wait"),
    }
}

/// Real time for pacing, a fixed wall clock.
pub struct TestClock {
    start: Instant,
}

impl TestClock {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        at(3_600_000_000)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Every row of every table as text, in order.
pub fn dump(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).expect("opens");
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .expect("prepares");
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .expect("queries")
        .collect::<Result<_, _>>()
        .expect("reads");
    assert!(tables.len() > 15, "{tables:?}");
    let mut rows = Vec::new();
    for table in tables {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM {table}"))
            .expect("prepares");
        let columns = statement.column_count();
        let mut found = statement.query([]).expect("queries");
        let mut of_table = Vec::new();
        while let Some(row) = found.next().expect("reads") {
            let cells: Vec<String> = (0..columns)
                .map(|i| match row.get_ref(i).expect("has the column") {
                    ValueRef::Null => "null".to_owned(),
                    ValueRef::Integer(n) => n.to_string(),
                    ValueRef::Real(x) => format!("{:016x}", x.to_bits()),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    ValueRef::Blob(bytes) => format!("{bytes:02x?}"),
                })
                .collect();
            of_table.push(format!("{table}: {}", cells.join(" | ")));
        }
        of_table.sort();
        rows.extend(of_table);
    }
    rows
}

pub fn size(n: u64) -> TreeSize {
    TreeSize(n)
}
