//! A whole write side in memory for the handlers' tests: the real sequencer over the in-memory ledger, real key
//! files, and a clock that the test turns.

use super::{Actor, Management, ManagementPorts, ManagementSettings, Outcome};
use crate::ingest::channels::AutoChannels;
use crate::keys::{FileKeyStore, Secret};
use crate::sequencer::{
    DerivedStore, EventGroup, HeadStore, Ports, SNAPSHOT_ENTRIES, Sequencer, Settings, Signing,
};
use crate::tokens::Authenticator;
use domain::aggregate::device::NewDevice;
use domain::canonical::Canonical;
use domain::entry::{Entry, NewEvent};
use domain::event::{Event, Metadata, Reason};
use domain::hash::sha256;
use domain::memory::MemoryLog;
use domain::note::SigningKey;
use domain::ports::{CheckpointStore, Clock, Entropy, EventLog, KeyStore, Seen, SeenReadings, SwapError};
use domain::registry::Registry;
use domain::{Date, Position, Timestamp, TreeSize};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

pub const ORIGIN: &str = "daybook.test/log";

pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn pass_s(&self, s: i64) {
        self.0.fetch_add(s * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst)).expect("in range")
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst) as u64)
    }
}

/// Bytes that never repeat.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        for (i, chunk) in out.chunks_mut(32).enumerate() {
            let block = sha256(format!("{n}/{i}").as_bytes()).0;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

#[derive(Default)]
pub struct Memory {
    checkpoint: Mutex<Option<Vec<u8>>>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
}

impl CheckpointStore for Memory {
    fn latest(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(self.checkpoint.lock().clone())
    }

    fn swap(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), SwapError> {
        let mut there = self.checkpoint.lock();
        if there.as_deref() != expected {
            return Err(SwapError::Stale);
        }
        *there = Some(new.to_vec());
        Ok(())
    }
}

impl DerivedStore for Memory {
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.blobs.lock().insert(name.into(), bytes.to_vec());
        Ok(())
    }

    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.blobs.lock().get(name).cloned()
    }

    fn save_day_lines(&self, _: Date, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

struct NothingSeen(Arc<MemoryLog>);

impl SeenReadings for NothingSeen {
    fn cursor(&self) -> TreeSize {
        self.0.size()
    }

    fn seen(&self, readings: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String> {
        Ok(Some(vec![None; readings.len()]))
    }
}

pub struct World {
    pub log: Arc<MemoryLog>,
    pub registry: Arc<RwLock<Registry>>,
    pub clock: Arc<TestClock>,
    pub keys: Arc<FileKeyStore>,
    pub authenticator: Arc<Authenticator>,
    pub sequencer: Sequencer,
    pub derived: Arc<Memory>,
    pub management: Management,
    pub owner: Actor,
    pub owner_token: String,
    pub ports: ManagementPorts,
    pub settings: ManagementSettings,
    pub dir: tempfile::TempDir,
}

pub fn reason() -> Reason {
    Reason::code("test")
}

impl World {
    /// With one account and its owner.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = Arc::new(MemoryLog::new());
        let registry = Arc::new(RwLock::new(Registry::default()));
        let start = Timestamp::parse_rfc3339("2026-05-17T10:00:00Z").expect("valid");
        let clock = Arc::new(TestClock(AtomicI64::new(start.as_micros())));
        let entropy: Arc<dyn Entropy> = Arc::new(Counting::default());
        let keys = FileKeyStore::open(&dir.path().join("keys"), entropy.clone()).expect("opens");
        let keys = Arc::new(keys);
        let memory = Arc::new(Memory::default());
        let sequencer = Sequencer::start(
            Ports {
                log: log.clone(),
                tiles: log.clone(),
                checkpoints: memory.clone(),
                derived: memory.clone(),
                seen: Arc::new(NothingSeen(log.clone())),
                channels: Arc::new(AutoChannels {
                    origin: ORIGIN.into(),
                    keys: keys.clone(),
                }),
                signing: Signing::Here(Arc::new(SigningKey::from_seed(ORIGIN, &[7; 32]).expect("a key"))),
                clock: clock.clone(),
                entropy: entropy.clone(),
            },
            Settings {
                origin: ORIGIN.into(),
                build_date: Date::parse("2026-01-01").expect("a day"),
                snapshot_entries: SNAPSHOT_ENTRIES,
                beside_entries: 1,
                heads: HeadStore::new(dir.path()),
            },
            registry.clone(),
        )
        .expect("starts");
        let authenticator = Arc::new(Authenticator::cheap(&*entropy));
        let ports = ManagementPorts {
            recorder: Arc::new(sequencer.clone()),
            index: Arc::new(sequencer.positions().clone()),
            log: log.clone(),
            registry: registry.clone(),
            keys: keys.clone(),
            authenticator: authenticator.clone(),
            clock: clock.clone(),
            entropy,
        };
        let settings = ManagementSettings {
            origin: ORIGIN.into(),
            server_secret: Secret::new([5; 32]),
            label_secret: [3; 32],
        };
        let management = Management::new(ports.clone(), settings.clone());
        let begun = management
            .bootstrap("Ada's kitchen", " Ada@Example.org ", Some("Ada Lovelace"))
            .await
            .expect("opened");
        let owner = Actor {
            id: begun.owner,
            auth: "token".into(),
            request_id: Some("req_test".into()),
            ..Actor::system("test", &begun.account)
        };
        let owner_token = begun.token.text().to_owned();
        Self {
            log,
            registry,
            clock,
            keys,
            authenticator,
            sequencer,
            derived: memory,
            management,
            owner,
            owner_token,
            ports,
            settings,
            dir,
        }
    }

    pub async fn site(&self) -> String {
        let made = self
            .management
            .create_site(
                &self.owner,
                &reason(),
                "Kitchen",
                "haccp",
                "Europe/Berlin",
                Some("Main street 1"),
            )
            .await;
        made.expect("created").id
    }

    pub fn new_device(&self, site: &str, local: &str) -> NewDevice {
        NewDevice {
            site: site.into(),
            local_id: local.into(),
            name: "Fridge by the door".into(),
            model: "shelly-h-t-gen3".into(),
            ..NewDevice::default()
        }
    }

    pub async fn device(&self, site: &str, local: &str) -> Outcome {
        let device = self.new_device(site, local);
        let made = self
            .management
            .create_device(&self.owner, &reason(), device)
            .await;
        made.expect("created")
    }

    /// Another account with an owner of its own.
    pub async fn stranger(&self) -> Actor {
        let opened = self
            .management
            .open_account(&reason(), "Somebody else", "eve@example.org", None)
            .await
            .expect("opened");
        Actor {
            id: opened.owner,
            ..Actor::system("test", &opened.account)
        }
    }

    pub async fn entries(&self) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        while self.log.size().contains(Position(all.len() as u64)) {
            let block = self
                .log
                .read(Position(all.len() as u64), 1000, 1 << 20)
                .await
                .expect("reads");
            all.extend(block.iter().map(|(_, bytes)| bytes.to_vec()));
        }
        all
    }

    /// (event type, payload, metadata) of the entries in a range of positions.
    pub async fn recorded(&self, positions: std::ops::Range<u64>) -> Vec<(String, Value, Value)> {
        let all = self.entries().await;
        let parse = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
        positions
            .map(|position| {
                let entry = Entry::decode(&all[position as usize]).expect("decodes");
                (
                    entry.event_type.to_owned(),
                    parse(entry.payload),
                    parse(entry.metadata),
                )
            })
            .collect()
    }

    /// Records an event of no handler, such as a parked uplink.
    pub async fn record(&self, stream: &str, event: Event, owner: &str) {
        let metadata = Metadata {
            account: Some(self.owner.account.clone()),
            actor: Some("integration:int_test".into()),
            owner: Some(owner.to_owned()),
            ..Metadata::default()
        };
        let new = NewEvent {
            aggregate_type: event.aggregate_type().into(),
            aggregate_id: stream.into(),
            event_type: event.event_type().into(),
            event_version: "1.0".into(),
            payload: Canonical::of(&event.to_value().expect("sealed")).expect("canonical"),
            metadata: metadata.write().expect("canonical"),
            salt: None,
        };
        let group = EventGroup {
            events: vec![(new, None)],
            ..EventGroup::default()
        };
        self.sequencer.record(group).await.expect("recorded");
    }

    pub fn key_count(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("keys/subjects"))
            .expect("there")
            .count()
    }

    pub fn key_id(&self, subject: &str) -> String {
        self.keys.key_of(subject).expect("there")
    }
}
