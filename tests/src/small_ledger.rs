//! A ledger in memory, recorded by the real sequencer under a clock that the test turns: some devices, some days.
//!
//! Invariant: the same [`Plan`] gives the same bytes, checkpoint and heads; two plans that part at a day give ledgers
//! that are the same up to it.
//! Not here: HTTP, files (`daybook`), what is done with the ledger (`it`), a ledger of several accounts (`pack_ledger`).

use chain_publisher::ports_source::{HeadFiles, PortsSource};
use chain_publisher::source::SourceError;
use commands::ingest::channels::AutoChannels;
use commands::sequencer::{
    BESIDE_ENTRIES, DerivedStore, EventGroup, HeadStore, PendingReading, PendingValue, Ports, ReadingGroup,
    SNAPSHOT_ENTRIES, Sequencer, Settings,
};
use domain::canonical::Canonical;
use domain::entry::NewEvent;
use domain::hash::sha256;
use domain::ids::IdKind;
use domain::memory::MemoryLog;
use domain::note::SigningKey;
use domain::ports::{CheckpointStore, Clock, Entropy, EventLog, Seen, SeenReadings, SwapError};
use domain::reading::TimeFrom;
use domain::registry::Registry;
use domain::{Date, Timestamp, TreeSize};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// The ledger's origin.
pub const ORIGIN: &str = "daybook.test/small";
/// The first day.
pub const FIRST_DAY: &str = "2026-05-17";

/// What is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Days that are closed; one more is begun.
    pub days: u32,
    /// Readings a day, one a minute.
    pub readings: u32,
    /// From this day on, values and salts are other ones.
    pub parts_at: Option<u32>,
    /// Which key signs.
    pub seed: u8,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            days: 2,
            readings: 2,
            parts_at: None,
            seed: 7,
        }
    }
}

/// A recorded ledger.
pub struct SmallLedger {
    /// The entries and their tree.
    pub log: Arc<MemoryLog>,
    /// The verifier key.
    pub key: String,
    /// The latest signed checkpoint, which covers everything.
    pub checkpoint: Vec<u8>,
    /// The heads of the closed days.
    pub heads: Heads,
    _dir: tempfile::TempDir,
}

/// The heads of the closed days.
pub struct Heads(pub HeadStore);

impl HeadFiles for Heads {
    fn dates(&self) -> Result<Vec<Date>, SourceError> {
        self.0.dates().map_err(unavailable)
    }

    fn get(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.get(date).map_err(unavailable)
    }

    fn late(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.late(date).map_err(unavailable)
    }

    fn consistency(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.consistency(date).map_err(unavailable)
    }
}

fn unavailable(error: std::io::Error) -> SourceError {
    SourceError::Unavailable(error.to_string())
}

pub(crate) struct TestClock {
    wall_us: AtomicI64,
    monotonic_us: AtomicI64,
}

impl TestClock {
    pub(crate) fn pass(&self, us: i64) {
        self.monotonic_us.fetch_add(us, Ordering::SeqCst);
        self.wall_us.fetch_add(us, Ordering::SeqCst);
    }

    /// Somebody sets it back.
    pub(crate) fn set_back(&self, us: i64) {
        self.wall_us.fetch_sub(us, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.wall_us.load(Ordering::SeqCst)).expect("in range")
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_us.load(Ordering::SeqCst) as u64)
    }
}

/// Says the same on every run.
struct Counting {
    next: AtomicU64,
    branch: AtomicU64,
}

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        let branch = self.branch.load(Ordering::SeqCst);
        for (i, chunk) in out.chunks_mut(32).enumerate() {
            let block = sha256(format!("{branch}/{n}/{i}").as_bytes()).0;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// What a driver would keep, in memory.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) checkpoint: Mutex<Option<Vec<u8>>>,
    pub(crate) lines: Mutex<BTreeMap<Date, Vec<u8>>>,
}

impl CheckpointStore for Kept {
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

impl DerivedStore for Kept {
    fn save(&self, _: &str, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn load(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn save_day_lines(&self, date: Date, lines: &[u8]) -> Result<(), String> {
        self.lines.lock().insert(date, lines.to_vec());
        Ok(())
    }
}

/// Nothing was read before.
struct NothingSeen;

impl SeenReadings for NothingSeen {
    fn cursor(&self) -> TreeSize {
        TreeSize::EMPTY
    }

    fn seen(&self, readings: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String> {
        Ok(Some(vec![None; readings.len()]))
    }
}

/// The same of a ledger that is long: the sequencer need not remember what was recorded.
struct NothingSeenOf(Arc<MemoryLog>);

impl SeenReadings for NothingSeenOf {
    fn cursor(&self) -> TreeSize {
        EventLog::size(&*self.0)
    }

    fn seen(&self, readings: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String> {
        Ok(Some(vec![None; readings.len()]))
    }
}

/// One key for everybody.
struct OneKey;

impl domain::ports::KeyStore for OneKey {
    fn get(&self, _: &str) -> Option<zeroize::Zeroizing<[u8; 32]>> {
        Some(zeroize::Zeroizing::new([9; 32]))
    }

    fn key_of(&self, _: &str) -> Option<String> {
        Some("key".to_owned())
    }

    fn create(&self, _: &str) -> Result<String, String> {
        Ok("key".to_owned())
    }

    fn destroy(&self, _: &str) -> Result<(), String> {
        Err("not here".to_owned())
    }
}

/// The key that signs a ledger of that seed.
pub fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[seed; 32]).expect("a valid name")
}

/// The key that signs receipts of a ledger of that seed, which its first entry names.
pub fn receipt_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&format!("{ORIGIN}/receipt"), &[seed ^ 0xff; 32]).expect("a valid name")
}

fn id(kind: IdKind) -> String {
    kind.id(&[1; 16])
}

fn sealed() -> Value {
    json!({"sealed": {"key": "a", "nonce": "b", "ciphertext": "c"}})
}

fn event(aggregate_type: &'static str, id_of: &str, event_type: &'static str, payload: Value) -> NewEvent {
    let mut metadata = json!({"actor": "system:test", "reason": {"code": "test"}});
    if aggregate_type != "ledger" {
        metadata["account"] = json!(id(IdKind::Account));
        metadata["owner"] = json!(id_of);
    }
    NewEvent {
        aggregate_type: aggregate_type.into(),
        aggregate_id: id_of.into(),
        event_type: event_type.into(),
        event_version: "1.0".into(),
        payload: Canonical::of(&payload).expect("canonical"),
        metadata: Canonical::of(&metadata).expect("canonical"),
        salt: None,
    }
}

fn group(events: Vec<NewEvent>) -> EventGroup {
    EventGroup {
        events: events.into_iter().map(|e| (e, None)).collect(),
        ..EventGroup::default()
    }
}

fn beginnings(key: &SigningKey, receipt_key: &SigningKey) -> Vec<EventGroup> {
    let (account, site, device) = (id(IdKind::Account), id(IdKind::Site), id(IdKind::Device));
    let created = json!({"origin": ORIGIN, "format": 1, "log_keys": [key.verifier_key().to_string()],
        "receipt_keys": [receipt_key.verifier_key().to_string()]});
    let site_of =
        json!({"name": sealed(), "vertical": "haccp", "timezone": "Europe/Berlin", "address": null});
    let device_of = json!({"site": site, "local_id": "fridge01", "name": sealed(), "model": "test", "dev_eui": null,
        "serial": null, "cadence_s": 60, "notes": null});
    let token_of = json!({"token": id(IdKind::Token), "kind": "device",
        "hash": "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"});
    vec![
        group(vec![event("ledger", "main", "LedgerCreated", created)]),
        group(vec![
            event("account", &account, "AccountOpened", json!({"name": sealed()})),
            event("site", &site, "SiteCreated", site_of),
            event("device", &device, "DeviceRegistered", device_of),
            event("tokens", &device, "TokenIssued", token_of),
        ]),
    ]
}

fn reading(measured_at: Timestamp, value: f64) -> ReadingGroup {
    ReadingGroup {
        account: id(IdKind::Account).into(),
        token: id(IdKind::Token).into(),
        metadata: b"{}".to_vec(),
        idempotency: None,
        readings: vec![PendingReading {
            device: id(IdKind::Device).into(),
            number: None,
            measured_at,
            time_from: TimeFrom::Device,
            claimed_at: None,
            values: vec![PendingValue {
                key: "temperature".into(),
                kind: "temperature".into(),
                label: None,
                unit: "°C".into(),
                value,
                auxiliary: false,
            }],
            uplink: None,
        }],
        want_channels: false,
        want_entries: false,
    }
}

impl SmallLedger {
    /// Records what the plan says.
    ///
    /// # Panics
    /// Where the sequencer refuses anything.
    pub fn record(plan: Plan) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(record(plan))
    }

    /// How many entries.
    pub fn size(&self) -> TreeSize {
        EventLog::size(&*self.log)
    }

    /// The ledger as a source.
    pub fn source(&self) -> PortsSource<'_> {
        PortsSource {
            name: "a small ledger".to_owned(),
            log: &*self.log,
            tiles: &*self.log,
            size: self.size(),
            checkpoint: Some(self.checkpoint.clone()),
            key: Some(self.key.clone()),
            heads: &self.heads,
        }
    }

    /// The head of its `n`-th day, from 0.
    ///
    /// # Panics
    /// Where there is none.
    pub fn head(&self, n: usize) -> Vec<u8> {
        let date = self.heads.dates().expect("listed")[n];
        let head = self.heads.get(date).expect("readable");
        head.expect("a head that is listed is there")
    }
}

/// The sequencer under a clock that is turned by hand, with everything that it needs in memory.
pub(crate) struct Recorder {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) heads: HeadStore,
    pub(crate) registry: Arc<RwLock<Registry>>,
    pub(crate) sequencer: Sequencer,
    pub(crate) dir: tempfile::TempDir,
    entropy: Arc<Counting>,
}

impl Recorder {
    pub(crate) fn start(seed: u8) -> Self {
        Self::start_over(seed, Arc::new(MemoryLog::new()), Arc::new(NothingSeen))
    }

    /// For a ledger that becomes long.
    pub(crate) fn start_long(seed: u8) -> Self {
        let log = Arc::new(MemoryLog::new());
        Self::start_over(seed, log.clone(), Arc::new(NothingSeenOf(log)))
    }

    fn start_over(seed: u8, log: Arc<MemoryLog>, seen: Arc<dyn SeenReadings>) -> Self {
        let kept = Arc::new(Kept::default());
        let start = Date::parse(FIRST_DAY).expect("a day").start();
        let clock = Arc::new(TestClock {
            wall_us: AtomicI64::new(start.as_micros()),
            monotonic_us: AtomicI64::new(0),
        });
        let entropy = Arc::new(Counting {
            next: AtomicU64::new(0),
            branch: AtomicU64::new(0),
        });
        let key = Arc::new(signing_key(seed));
        let dir = tempfile::tempdir().expect("a scratch directory");
        let heads = HeadStore::new(dir.path());
        let ports = Ports {
            log: log.clone(),
            tiles: log.clone(),
            checkpoints: kept.clone(),
            derived: kept.clone(),
            seen,
            channels: Arc::new(AutoChannels {
                origin: ORIGIN.into(),
                keys: Arc::new(OneKey),
            }),
            signing: commands::sequencer::Signing::Here(key.clone()),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let settings = Settings {
            origin: ORIGIN.into(),
            build_date: Date::parse("2026-01-01").expect("a day"),
            snapshot_entries: SNAPSHOT_ENTRIES,
            beside_entries: BESIDE_ENTRIES,
            heads: heads.clone(),
        };
        let registry = Arc::new(RwLock::new(Registry::default()));
        let sequencer = Sequencer::start(ports, settings, registry.clone()).expect("it starts");
        Self {
            log,
            kept,
            clock,
            key,
            heads,
            registry,
            sequencer,
            dir,
            entropy,
        }
    }

    /// The next midnight comes.
    pub(crate) fn midnight(&self) {
        let now = self.clock.now();
        self.clock.pass(now.date().next().start().since(now));
    }

    /// The latest checkpoint, which covers everything once the sequencer has stopped.
    pub(crate) fn checkpoint(&self) -> Vec<u8> {
        let checkpoint = self.kept.checkpoint.lock().clone();
        checkpoint.expect("the last position is signed")
    }
}

async fn record(plan: Plan) -> SmallLedger {
    let recorder = Recorder::start(plan.seed);
    let (sequencer, clock) = (&recorder.sequencer, &recorder.clock);
    for group in beginnings(&recorder.key, &receipt_key(plan.seed)) {
        sequencer.record(group).await.expect("recorded");
    }
    for day in 0..=plan.days {
        let branched = plan.parts_at.is_some_and(|at| day >= at);
        if branched {
            recorder.entropy.branch.store(1, Ordering::SeqCst);
        }
        let base = if branched { 5.0 } else { 4.0 };
        for n in 0..plan.readings {
            clock.pass(60_000_000);
            let value = base + f64::from(n % 10) / 10.0;
            sequencer
                .record_readings(reading(clock.now(), value))
                .await
                .expect("recorded");
        }
        if day < plan.days {
            recorder.midnight();
        }
    }
    sequencer.stop().await;
    SmallLedger {
        checkpoint: recorder.checkpoint(),
        key: recorder.key.verifier_key().to_string(),
        log: recorder.log,
        heads: Heads(recorder.heads),
        _dir: recorder.dir,
    }
}
