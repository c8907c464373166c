//! The sequencer over the in-memory ledger, with a clock that the test turns.

use super::*;
use crate::ingest::decoded::{Decoded, DeviceHint, Measurement, Report, Timed, UplinkId, WhoseClock};
use crate::ingest::pipeline::{Caller, Ingest, IngestRequest};
use domain::canonical::Canonical;
use domain::entry::{Entry, NewEvent};
use domain::event::payload::TokenKind;
use domain::hash::sha256;
use domain::memory::MemoryLog;
use domain::note::SigningKey;
use domain::ports::{
    Append, AppendError, BoxFuture, CheckpointStore, Clock, Entropy, EntryBlock, EventLog, ReadError, Seen,
    SeenReadings, SwapError, TileStore,
};
use domain::reading::{Conflict, Reading};
use domain::registry::Registry;
use domain::tlog_proof::TlogProof;
use domain::verify::{Kept, KnownRoot, LogReport, LogVerifier, Strictness, Verdict};
use domain::{Date, Hash, Position, Timestamp, TreeSize, kinds};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

mod rotation;

const ORIGIN: &str = "daybook.test/log";

struct TestClock {
    wall_us: AtomicI64,
    monotonic_us: AtomicI64,
}

impl TestClock {
    fn pass(&self, us: i64) {
        self.monotonic_us.fetch_add(us, Ordering::SeqCst);
        self.wall_us.fetch_add(us, Ordering::SeqCst);
    }

    fn step(&self, us: i64) {
        self.wall_us.fetch_add(us, Ordering::SeqCst);
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

struct Counting(AtomicU64);

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
struct MemoryStore {
    checkpoint: Mutex<Option<Vec<u8>>>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    days: Mutex<HashMap<Date, Vec<u8>>>,
}

impl CheckpointStore for MemoryStore {
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

impl DerivedStore for MemoryStore {
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.blobs.lock().insert(name.into(), bytes.to_vec());
        Ok(())
    }

    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.blobs.lock().get(name).cloned()
    }

    fn save_day_lines(&self, date: Date, lines: &[u8]) -> Result<(), String> {
        self.days.lock().insert(date, lines.to_vec());
        Ok(())
    }
}

/// A raw projection that is always up to `cursor`.
struct Raw {
    log: Arc<MemoryLog>,
    registry: Arc<RwLock<Registry>>,
    cursor: AtomicU64,
    rebuilding: AtomicBool,
}

impl SeenReadings for Raw {
    fn cursor(&self) -> TreeSize {
        TreeSize(self.cursor.load(Ordering::SeqCst))
    }

    fn seen(&self, readings: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String> {
        if self.rebuilding.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let registry = self.registry.read();
        let all = read_all(&self.log);
        let found = readings.iter().map(|(channel, at)| {
            let channel = registry.channel_anywhere(channel)?;
            all.iter()
                .take(self.cursor.load(Ordering::SeqCst) as usize)
                .find_map(|bytes| {
                    let entry = Entry::read(bytes).ok()?;
                    let reading = Reading::read(entry.payload).ok()?;
                    let value = reading.values.iter().find(|(k, _)| *k == channel.state.key)?.1;
                    let same = entry.aggregate_id == channel.state.device && reading.measured_at == *at;
                    same.then_some(Seen {
                        position: entry.position,
                        value,
                    })
                })
        });
        Ok(Some(found.collect()))
    }
}

/// The in-memory log, failing on demand: 0 = not, 1 = nothing is written, 2 = written and then failed, 3 = waits
/// until it is another.
struct Failing {
    log: Arc<MemoryLog>,
    mode: AtomicU8,
    /// Whether an append waits.
    held: AtomicBool,
}

const HELD: u8 = 3;

impl EventLog for Failing {
    fn size(&self) -> TreeSize {
        self.log.size()
    }

    fn append<'a>(&'a self, commit: Append<'a>) -> BoxFuture<'a, Result<(), AppendError>> {
        while self.mode.load(Ordering::SeqCst) == HELD {
            self.held.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        match self.mode.load(Ordering::SeqCst) {
            0 => self.log.append(commit),
            1 => Box::pin(async { Err(AppendError::Unknown("no space left on device".into())) }),
            _ => Box::pin(async move {
                self.mode.store(0, Ordering::SeqCst);
                self.log.append(commit).await?;
                Err(AppendError::Unknown("the sync failed".into()))
            }),
        }
    }

    fn recover(&self) -> BoxFuture<'_, Result<TreeSize, AppendError>> {
        if self.mode.load(Ordering::SeqCst) == 1 {
            return Box::pin(async { Err(AppendError::Refused("no space left on device".into())) });
        }
        Box::pin(async { Ok(self.log.size()) })
    }

    fn read(
        &self,
        from: Position,
        entries: usize,
        bytes: usize,
    ) -> BoxFuture<'_, Result<EntryBlock, ReadError>> {
        self.log.read(from, entries, bytes)
    }

    fn read_at<'a>(&'a self, positions: &'a [Position]) -> BoxFuture<'a, Result<EntryBlock, ReadError>> {
        self.log.read_at(positions)
    }

    fn follow(&self, seen: TreeSize) -> BoxFuture<'_, TreeSize> {
        self.log.follow(seen)
    }
}

struct NoKeys;

impl domain::ports::KeyStore for NoKeys {
    fn get(&self, _: &str) -> Option<zeroize::Zeroizing<[u8; 32]>> {
        Some(zeroize::Zeroizing::new([9; 32]))
    }

    fn key_of(&self, _: &str) -> Option<String> {
        Some("key".into())
    }

    fn create(&self, _: &str) -> Result<String, String> {
        Ok("key".into())
    }

    fn destroy(&self, _: &str) -> Result<(), String> {
        Err("not here".into())
    }
}

struct World {
    log: Arc<MemoryLog>,
    failing: Arc<Failing>,
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    entropy: Arc<Counting>,
    raw: Arc<Raw>,
    registry: Arc<RwLock<Registry>>,
    heads: tempfile::TempDir,
    key: Arc<SigningKey>,
    sequencer: Sequencer,
}

fn read_all(log: &MemoryLog) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    while log.size().contains(Position(all.len() as u64)) {
        let block = owner::block_on(log.read(Position(all.len() as u64), 1000, 1 << 20)).expect("reads");
        all.extend(block.iter().map(|(_, b)| b.to_vec()));
    }
    all
}

fn sealed() -> Value {
    let place = domain::sealed::SealPlace {
        aggregate_type: "site",
        aggregate_id: "x",
        sequence: 1,
        pointer: "/name",
        salt: "x",
    };
    let sealed = domain::sealed::seal(ORIGIN, &place, &json!("text"), &[9; 32], [1; 24]).expect("seals");
    serde_json::to_value(sealed).expect("JSON")
}

fn event(aggregate_type: &'static str, id: &str, event_type: &'static str, payload: Value) -> NewEvent {
    let mut metadata = json!({"actor": "system:test", "reason": {"code": "test"}});
    if aggregate_type != "ledger" {
        metadata["account"] = json!(account());
        metadata["owner"] = json!(id);
    }
    NewEvent {
        aggregate_type: aggregate_type.into(),
        aggregate_id: id.into(),
        event_type: event_type.into(),
        event_version: "1.0".into(),
        payload: Canonical::of(&payload).expect("canonical"),
        metadata: Canonical::of(&metadata).expect("canonical"),
        salt: None,
    }
}

fn id(prefix: &str, n: u8) -> String {
    let kind = match prefix {
        "acc" => domain::ids::IdKind::Account,
        "site" => domain::ids::IdKind::Site,
        "dev" => domain::ids::IdKind::Device,
        _ => domain::ids::IdKind::Token,
    };
    kind.id(&[n; 16])
}

fn account() -> String {
    id("acc", 1)
}

fn group(events: Vec<NewEvent>) -> EventGroup {
    EventGroup {
        events: events.into_iter().map(|e| (e, None)).collect(),
        ..EventGroup::default()
    }
}

fn device(n: u8, local: &str, dev_eui: Option<&str>) -> Vec<NewEvent> {
    let dev = id("dev", n);
    vec![
        event(
            "device",
            &dev,
            "DeviceRegistered",
            json!({"site": id("site", 1), "local_id": local, "name": sealed(), "model": "test", "dev_eui": dev_eui,
                   "serial": null, "cadence_s": 60, "notes": null}),
        ),
        event(
            "tokens",
            &dev,
            "TokenIssued",
            json!({"token": id("token", n), "kind": "device",
                   "hash": "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"}),
        ),
    ]
}

impl World {
    async fn new() -> Self {
        let log = Arc::new(MemoryLog::new());
        let registry = Arc::new(RwLock::new(Registry::default()));
        let start = Timestamp::parse_rfc3339("2026-05-17T10:00:00Z").expect("valid");
        let raw = Raw {
            log: log.clone(),
            registry: registry.clone(),
            cursor: AtomicU64::new(0),
            rebuilding: AtomicBool::new(false),
        };
        let failing = Arc::new(Failing {
            log: log.clone(),
            mode: AtomicU8::new(0),
            held: AtomicBool::new(false),
        });
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(TestClock {
            wall_us: AtomicI64::new(start.as_micros()),
            monotonic_us: AtomicI64::new(0),
        });
        let entropy = Arc::new(Counting(AtomicU64::new(0)));
        let heads = tempfile::tempdir().expect("a directory");
        let key = Arc::new(SigningKey::from_seed(ORIGIN, &[7; 32]).expect("a key"));
        let raw = Arc::new(raw);
        let sequencer = start_sequencer(&failing, &store, &clock, &entropy, &raw, &registry, &heads, &key);
        let world = Self {
            log,
            failing,
            store,
            clock,
            entropy,
            raw,
            registry,
            heads,
            key,
            sequencer,
        };
        world.set_up().await;
        world
    }

    async fn set_up(&self) {
        let ledger = event("ledger", "main", "LedgerCreated", json!({"origin": ORIGIN}));
        self.sequencer
            .record(group(vec![ledger]))
            .await
            .expect("recorded");
        let mut events = vec![
            event("account", &account(), "AccountOpened", json!({"name": sealed()})),
            event(
                "site",
                &id("site", 1),
                "SiteCreated",
                json!({"name": sealed(), "vertical": "haccp", "timezone": "Europe/Berlin", "address": null}),
            ),
        ];
        events.extend(device(1, "fridge01", None));
        self.sequencer.record(group(events)).await.expect("recorded");
    }

    async fn restart(&mut self) {
        self.sequencer.stop().await;
        self.start_again();
    }

    fn start_again(&mut self) {
        self.sequencer = start_sequencer(
            &self.failing,
            &self.store,
            &self.clock,
            &self.entropy,
            &self.raw,
            &self.registry,
            &self.heads,
            &self.key,
        );
    }

    fn ingest(&self) -> Ingest {
        Ingest::new(
            self.sequencer.clone(),
            self.registry.clone(),
            self.clock.clone(),
            self.entropy.clone(),
            Arc::new(|| None),
            [3; 32],
        )
    }

    async fn send(&self, values: &[(&str, f64, i64)]) -> Result<crate::ingest::pipeline::Taken, RecordError> {
        self.send_with(values, None, None).await
    }

    /// (kind, value, seconds after 2026-05-17T00:00:00Z)
    async fn send_with(
        &self,
        values: &[(&str, f64, i64)],
        key: Option<&str>,
        uplink: Option<UplinkId>,
    ) -> Result<crate::ingest::pipeline::Taken, RecordError> {
        let base = Date::parse("2026-05-17").expect("a day").start();
        let measurements = values
            .iter()
            .map(|(kind, value, s)| Measurement {
                kind: kinds::find(kind).expect("a kind"),
                label: None,
                value: *value,
                unit: None,
                at: Some(Timed {
                    at: base.plus_micros(s * 1_000_000),
                    clock: WhoseClock::Device,
                }),
            })
            .collect();
        let report = Report {
            device: Some(DeviceHint::Local("fridge01".into())),
            measurements,
            dropped: vec![],
            uplink,
            frame: None,
            handle: None,
        };
        let caller = Caller {
            account: account().into(),
            token: id("token", 1).into(),
            kind: TokenKind::Device,
            owner: id("dev", 1).into(),
        };
        let body = format!("{values:?}");
        self.ingest()
            .take(IngestRequest {
                caller: &caller,
                decoded: Decoded::Reports(vec![report]),
                received_at: self.clock.now(),
                body_sha256: sha256(body.as_bytes()),
                request_hash: sha256(body.as_bytes()),
                idempotency_key: key,
                request_id: "req_1",
                source: "http",
                want_entries: true,
            })
            .await
    }

    /// Checks everything that can be checked of the log as a whole.
    fn check(&self) -> Vec<(String, u64, Timestamp, Value)> {
        let mut sequences: HashMap<String, u64> = HashMap::new();
        let mut last = Timestamp::default();
        let mut out = Vec::new();
        let (all, root) = self.entries_and_root();
        let size = TreeSize(all.len() as u64);
        let whole = verified(all.clone(), root, |_, _| {});
        assert_eq!(whole.verdict, Verdict::Verified { size });
        for (n, bytes) in all.iter().enumerate() {
            let entry = Entry::decode(bytes).expect("canonical");
            assert_eq!(entry.position, Position(n as u64));
            assert!(entry.recorded_at >= last, "recorded_at goes back");
            last = entry.recorded_at;
            let sequence = sequences.entry(entry.stream_name()).or_default();
            *sequence += 1;
            assert_eq!(entry.sequence, *sequence, "{}", entry.stream_name());
            let payload = serde_json::from_slice(entry.payload).expect("JSON");
            out.push((
                entry.event_type.to_owned(),
                entry.sequence,
                entry.recorded_at,
                payload,
            ));
        }
        out
    }

    /// The verdict over the whole log, after `change` had its way with each entry's bytes.
    fn verify(&self, change: impl Fn(usize, &mut Vec<u8>)) -> LogReport {
        let (all, root) = self.entries_and_root();
        verified(all, root, change)
    }

    /// The log at one size, although the sequencer may record the clock at any time.
    fn entries_and_root(&self) -> (Vec<Vec<u8>>, Hash) {
        loop {
            let (all, root) = (read_all(&self.log), self.log.root());
            if self.log.size().get() == all.len() as u64 {
                return (all, root);
            }
        }
    }

    fn types(&self) -> Vec<String> {
        self.check().into_iter().map(|(t, ..)| t).collect()
    }

    async fn until(&self, what: impl Fn(&Status) -> bool) {
        for _ in 0..4000 {
            if what(&self.sequencer.status()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never: {:?}", self.sequencer.status());
    }
}

fn verified(all: Vec<Vec<u8>>, root: Hash, change: impl Fn(usize, &mut Vec<u8>)) -> LogReport {
    let known = KnownRoot {
        size: TreeSize(all.len() as u64),
        root,
        kept: Kept::Outside,
        source: "the test".into(),
    };
    let mut verifier = LogVerifier::new(Strictness::Canonical, Some(ORIGIN), vec![known]);
    for (n, mut bytes) in all.into_iter().enumerate() {
        change(n, &mut bytes);
        verifier.entry(&bytes);
    }
    verifier.finish()
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a world before there is one"
)]
fn start_sequencer(
    failing: &Arc<Failing>,
    store: &Arc<MemoryStore>,
    clock: &Arc<TestClock>,
    entropy: &Arc<Counting>,
    raw: &Arc<Raw>,
    registry: &Arc<RwLock<Registry>>,
    heads: &tempfile::TempDir,
    key: &Arc<SigningKey>,
) -> Sequencer {
    let ports = Ports {
        log: failing.clone(),
        tiles: failing.log.clone() as Arc<dyn TileStore>,
        checkpoints: store.clone(),
        derived: store.clone(),
        seen: raw.clone(),
        channels: Arc::new(crate::ingest::channels::AutoChannels {
            origin: ORIGIN.into(),
            keys: Arc::new(NoKeys),
        }),
        signing: Signing::Here(key.clone()),
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let settings = Settings {
        origin: ORIGIN.into(),
        build_date: Date::parse("2026-01-01").expect("a day"),
        snapshot_entries: 1,
        beside_entries: 1,
        heads: HeadStore::new(heads.path()),
    };
    Sequencer::start(ports, settings, registry.clone()).expect("starts")
}

#[tokio::test]
async fn the_first_reading_registers_its_channels_and_is_recorded_with_them() {
    let world = World::new().await;
    let taken = world
        .send(&[("temperature", 4.2, 30_000), ("humidity", 61.0, 30_000)])
        .await
        .expect("taken");
    assert_eq!(
        (taken.accepted, taken.deduplicated, taken.channels.len()),
        (2, 0, 2)
    );
    assert_eq!(taken.entries.len(), 3);
    let types = world.types();
    assert_eq!(
        types[types.len() - 3..],
        ["ChannelRegistered", "ChannelRegistered", "ReadingRecorded"]
    );
    let log = world.check();
    let (_, _, _, reading) = log.last().expect("there");
    assert_eq!(reading["values"], json!({"humidity": 61, "temperature": 4.2}));
    assert_eq!(reading["config"], json!(log.len() - 2));
    assert_eq!(
        log[log.len() - 3].3["ok_max"],
        json!(5),
        "limits of the site's vertical"
    );
    let again = world.send(&[("temperature", 4.3, 30_060)]).await.expect("taken");
    assert_eq!((again.accepted, again.entries.len()), (1, 1));
}

#[tokio::test]
async fn a_value_that_is_there_is_answered_with_its_original_and_another_is_a_conflict() {
    let world = World::new().await;
    let first = world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    let same = world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    assert_eq!((same.accepted, same.deduplicated, same.conflicts), (0, 1, 0));
    assert!(same.positions.is_empty());
    let other = world.send(&[("temperature", 5.0, 30_000)]).await.expect("taken");
    assert_eq!((other.accepted, other.deduplicated, other.conflicts), (0, 0, 1));
    let all = read_all(&world.log);
    let entry = Entry::read(all.last().expect("there")).expect("reads");
    let conflict = Conflict::read(entry.payload).expect("reads");
    assert_eq!(conflict.original, Position(first.positions.end - 1));
    assert_eq!(conflict.values, [("temperature", 5.0)]);
    world.check();
}

#[tokio::test]
async fn an_older_reading_is_looked_for_in_the_raw_projection() {
    let world = World::new().await;
    for s in [30_000, 30_060, 30_120] {
        world.send(&[("temperature", 4.0, s)]).await.expect("taken");
    }
    // The projection has passed everything: what is recent is forgotten when the channel is next written.
    world.raw.cursor.store(world.log.size().get(), Ordering::SeqCst);
    world.send(&[("temperature", 4.0, 30_180)]).await.expect("taken");
    let late = world.send(&[("temperature", 4.0, 30_030)]).await.expect("taken");
    assert_eq!(late.accepted, 1);
    let known = world.send(&[("temperature", 4.0, 30_060)]).await.expect("taken");
    assert_eq!((known.accepted, known.deduplicated), (0, 1));
    world.raw.rebuilding.store(true, Ordering::SeqCst);
    let waits = world.send(&[("temperature", 4.0, 30_000)]).await;
    assert!(
        matches!(
            waits,
            Err(RecordError::Unavailable {
                code: "rebuilding",
                ..
            })
        ),
        "{waits:?}"
    );
    assert_eq!(
        world
            .send(&[("temperature", 4.0, 30_240)])
            .await
            .expect("newer needs no look-up")
            .accepted,
        1
    );
    world.check();
}

#[tokio::test]
async fn an_idempotency_key_is_answered_once_and_survives_a_restart() {
    let mut world = World::new().await;
    let first = world
        .send_with(&[("temperature", 4.2, 30_000)], Some("k1"), None)
        .await
        .expect("taken");
    let size = world.log.size();
    let second = world
        .send_with(&[("temperature", 4.2, 30_000)], Some("k1"), None)
        .await
        .expect("taken");
    assert!(second.replayed);
    assert_eq!(second.accepted, 1);
    assert_eq!(world.log.size(), size);
    let other = world
        .send_with(&[("temperature", 9.9, 30_001)], Some("k1"), None)
        .await;
    assert_eq!(other, Err(RecordError::IdempotencyConflict));
    world.restart().await;
    let third = world
        .send_with(&[("temperature", 4.2, 30_000)], Some("k1"), None)
        .await
        .expect("taken");
    assert!(third.replayed);
    assert!(first.positions.contains(&third.positions.start) || first.positions.end > third.positions.start);
    world.store.blobs.lock().clear();
    world.restart().await;
    world.store.blobs.lock().clear();
    world.restart().await;
    let fourth = world
        .send_with(&[("temperature", 4.2, 30_000)], Some("k1"), None)
        .await
        .expect("taken");
    assert!(fourth.replayed, "folded from the entries alone");
    world.clock.pass(25 * 3600 * 1_000_000);
    world
        .until(|s| s.open_day == Some(Date::parse("2026-05-18").expect("a day")))
        .await;
    world.raw.cursor.store(world.log.size().get(), Ordering::SeqCst);
    let after = world
        .send_with(&[("temperature", 4.2, 30_000)], Some("k1"), None)
        .await
        .expect("taken");
    assert!(!after.replayed);
    assert_eq!(after.deduplicated, 1);
}

#[tokio::test]
async fn a_duplicate_is_found_behind_a_newer_reading_of_the_same_commit() {
    let world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    // The raw projection knows it now, so it need not be kept among the recent values.
    world.raw.cursor.store(world.log.size().get(), Ordering::SeqCst);
    let both = world
        .send(&[("temperature", 4.4, 30_060), ("temperature", 4.2, 30_000)])
        .await
        .expect("taken");
    assert_eq!((both.accepted, both.deduplicated), (1, 1));
}

#[tokio::test]
async fn a_radio_frame_sent_twice_is_one_reading() {
    let world = World::new().await;
    let uplink = |f_cnt| {
        Some(UplinkId {
            dev_eui: "70B3D57ED0000001".into(),
            session: "s".into(),
            f_cnt,
        })
    };
    let first = world
        .send_with(&[("temperature", 4.2, 30_000)], None, uplink(7))
        .await
        .expect("taken");
    assert_eq!(first.accepted, 1);
    let repeated = world
        .send_with(&[("temperature", 4.2, 30_048)], None, uplink(7))
        .await
        .expect("taken");
    assert_eq!((repeated.accepted, repeated.deduplicated), (0, 1));
    let next = world
        .send_with(&[("temperature", 4.2, 30_060)], None, uplink(8))
        .await
        .expect("taken");
    assert_eq!(next.accepted, 1);
}

#[tokio::test]
async fn another_account_cannot_make_a_radio_frame_look_like_a_duplicate() {
    let mut world = World::new().await;
    let frame = |f_cnt| UplinkId {
        dev_eui: "70B3D57ED0000001".into(),
        session: "s".into(),
        f_cnt,
    };
    let opened = NewEvent {
        metadata: Canonical::of(
            &json!({"account": id("acc", 2), "actor": "system:test", "owner": id("acc", 2)}),
        )
        .expect("canonical"),
        ..event(
            "account",
            &id("acc", 2),
            "AccountOpened",
            json!({"name": sealed()}),
        )
    };
    world
        .sequencer
        .record(group(vec![opened]))
        .await
        .expect("recorded");
    // Somebody who knows the DevEUI sends the next counters to an account of their own, where they are parked.
    for f_cnt in [7, 8] {
        let metadata = json!({
            "account": id("acc", 2), "actor": "system:test", "owner": id("acc", 2),
            "source": {"kind": "lorawan",
                "uplink": {"dev_eui": "70B3D57ED0000001", "session": "s", "f_cnt": f_cnt}},
        });
        let parked = NewEvent {
            metadata: Canonical::of(&metadata).expect("canonical"),
            ..event(
                "tray",
                &format!("{}{f_cnt}", id("token", 9)),
                "UplinkParked",
                json!({"dev_eui": "70B3D57ED0000001", "f_cnt": f_cnt, "frame": "AA==",
                       "received_at": "2026-05-17T10:00:00.000000Z", "session": "s"}),
            )
        };
        let parked = EventGroup {
            uplink: Some(frame(f_cnt)),
            ..group(vec![parked])
        };
        let recorded = world.sequencer.record(parked).await.expect("recorded");
        assert!(!recorded.replayed);
    }
    let own = world
        .send_with(&[("temperature", 4.2, 30_000)], None, Some(frame(7)))
        .await
        .expect("taken");
    assert_eq!((own.accepted, own.deduplicated), (1, 0));
    // The same after a start, when what was seen is read from the ledger again; and our own is still known.
    world.store.blobs.lock().clear();
    world.restart().await;
    let own = world
        .send_with(&[("temperature", 4.2, 30_060)], None, Some(frame(8)))
        .await
        .expect("taken");
    assert_eq!((own.accepted, own.deduplicated), (1, 0));
    let again = world
        .send_with(&[("temperature", 4.2, 30_120)], None, Some(frame(7)))
        .await
        .expect("taken");
    assert_eq!((again.accepted, again.deduplicated), (0, 1));
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_the_next_request() {
    let world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    let revoked = event(
        "tokens",
        &id("dev", 1),
        "TokenRevoked",
        json!({"token": id("token", 1)}),
    );
    world
        .sequencer
        .record(group(vec![revoked]))
        .await
        .expect("recorded");
    assert_eq!(
        world.send(&[("temperature", 4.2, 30_060)]).await,
        Err(RecordError::TokenInvalid)
    );
}

#[tokio::test]
async fn a_reading_names_the_configuration_that_was_in_force() {
    let world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    let changed = event(
        "device",
        &id("dev", 1),
        "DeviceChanged",
        json!({"changes": {"cadence_s": {"old": 60, "new": 30}}}),
    );
    let changed = world
        .sequencer
        .record(group(vec![changed]))
        .await
        .expect("recorded");
    world.send(&[("temperature", 4.2, 30_060)]).await.expect("taken");
    let log = world.check();
    let (_, _, _, reading) = log.last().expect("there");
    assert_eq!(reading["config"], json!(changed.positions.start));
}

#[tokio::test]
async fn a_reading_goes_to_its_device_whatever_number_it_brings() {
    let world = World::new().await;
    world
        .sequencer
        .record(group(device(2, "fridge02", None)))
        .await
        .expect("recorded");
    let number = |device: &str| {
        let registry = world.registry.read();
        registry.device_anywhere(device).map(|d| d.number)
    };
    let devices = [id("dev", 1), id("dev", 2)];
    let wrong = [number(&devices[1]), number(&devices[0]), Some(u32::MAX), None];
    for (at, number) in wrong.into_iter().cycle().take(8).enumerate() {
        let device: Arc<str> = devices[at % 2].as_str().into();
        let reading = PendingReading {
            device: device.clone(),
            number,
            measured_at: world.clock.now().plus_micros(at as i64),
            time_from: domain::reading::TimeFrom::Device,
            claimed_at: None,
            values: vec![PendingValue {
                key: "temperature".into(),
                kind: "temperature".into(),
                label: None,
                unit: "Cel".into(),
                value: 4.2,
                auxiliary: false,
            }],
            uplink: None,
        };
        let group = ReadingGroup {
            account: account().into(),
            token: id("token", 1).into(),
            metadata: b"{}".to_vec(),
            idempotency: None,
            readings: vec![reading],
            want_channels: false,
            want_entries: true,
        };
        let recorded = world.sequencer.record_readings(group).await.expect("recorded");
        let entry = recorded.entries.last().expect("an entry");
        let entry = Entry::read(&entry.bytes).expect("reads");
        assert_eq!(entry.aggregate_id, &*device, "number {number:?}");
    }
    world.check();
}

#[tokio::test]
async fn a_group_is_recorded_whole_or_not_at_all() {
    let world = World::new().await;
    let size = world.log.size();
    let mut events = device(2, "fridge02", None);
    events.extend(device(3, "FRIDGE01", None));
    let refused = world.sequencer.record(group(events)).await;
    assert!(matches!(refused, Err(RecordError::Rejected(_))), "{refused:?}");
    assert_eq!(world.log.size(), size);
    assert!(world.registry.read().device(&account(), &id("dev", 2)).is_none());
    world
        .sequencer
        .record(group(device(2, "fridge02", None)))
        .await
        .expect("recorded");
    let stale = EventGroup {
        events: vec![(
            event("device", &id("dev", 2), "DeviceRemoved", json!({})),
            Some(7),
        )],
        ..EventGroup::default()
    };
    assert!(matches!(
        world.sequencer.record(stale).await,
        Err(RecordError::Stale {
            expected: 7,
            actual: 1,
            ..
        })
    ));
    world.check();
}

#[tokio::test]
async fn what_was_judged_in_another_ledger_is_recorded_as_it_comes_and_only_where_it_follows() {
    let world = World::new().await;
    // A name that was given on, which the check of a group takes for given twice.
    let mut events = device(2, "fridge02", None);
    events.push(event("device", &id("dev", 2), "DeviceRemoved", json!({})));
    events.extend(device(3, "fridge02", None));
    let refused = world.sequencer.record(group(events.clone())).await;
    assert!(matches!(refused, Err(RecordError::Rejected(_))), "{refused:?}");
    let carried = |events: Vec<NewEvent>| EventGroup {
        carried_over: true,
        ..group(events)
    };
    world.sequencer.record(carried(events)).await.expect("recorded");
    {
        let registry = world.registry.read();
        let found = registry.device_by_local(&account(), "fridge02");
        assert_eq!(found.map(|it| it.id.to_string()), Some(id("dev", 3)));
    }
    let mut again = carried(device(3, "fridge02", None));
    for (_, expected) in &mut again.events {
        *expected = Some(0);
    }
    let stale = world.sequencer.record(again).await;
    assert!(matches!(stale, Err(RecordError::Stale { .. })), "{stale:?}");
    world.check();
}

#[tokio::test]
async fn how_long_entries_are_kept_is_lengthened_and_never_shortened_also_after_a_restart() {
    let mut world = World::new().await;
    let set = |id: &'static str, retention: Value| {
        event(
            "ledger",
            id,
            "RetentionPolicySet",
            json!({"retention": retention}),
        )
    };
    let refused = |answer: Result<Recorded, RecordError>| match answer {
        Err(RecordError::Rejected(rejection)) => (rejection.code, rejection.message.into_owned()),
        other => panic!("{other:?}"),
    };
    // What the first entry does not name is kept for ever.
    let eternal = json!({"reading": null, "audit": null});
    let recorded = world.sequencer.record(group(vec![set("main", eternal)])).await;
    recorded.expect("as long as before");
    for _ in 0..2 {
        for retention in [json!({"reading": 4000}), json!({"audit": 4000})] {
            let answer = world.sequencer.record(group(vec![set("main", retention)])).await;
            let (code, message) = refused(answer);
            assert_eq!(code, "retention_shortened");
            assert!(message.contains("was to be kept for ever"), "{message}");
        }
        for (id, retention) in [("main", json!({"reading": -1})), ("other", json!({}))] {
            let answer = world.sequencer.record(group(vec![set(id, retention)])).await;
            assert_eq!(refused(answer).0, "bad_event");
        }
        world.restart().await;
    }
    let types = world.types();
    let set = types.iter().filter(|it| *it == "RetentionPolicySet");
    assert_eq!(set.count(), 1, "nothing else of it was recorded: {types:?}");
    assert!(world.verify(|_, _| {}).verdict.word() != "TAMPERED");
}

#[tokio::test]
async fn two_devices_with_one_local_id_in_one_commit_are_one_too_many() {
    let world = World::new().await;
    let (a, b) = tokio::join!(
        world.sequencer.record(group(device(2, "same", None))),
        world.sequencer.record(group(device(3, "same", None)))
    );
    assert!(a.is_ok() ^ b.is_ok(), "{a:?} {b:?}");
    world.check();
}

#[tokio::test]
async fn midnight_closes_the_day_with_a_head_that_verifies() {
    let world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    let entries_of_day = world.log.size().get();
    world.clock.pass(15 * 3600 * 1_000_000);
    world
        .until(|s| s.open_day == Some(Date::parse("2026-05-18").expect("a day")))
        .await;
    world.sequencer.stop().await;
    let all = read_all(&world.log);
    let at = all
        .iter()
        .position(|b| Entry::read(b).expect("reads").event_type == "DayClosed")
        .expect("a day was closed");
    let entry = Entry::read(&all[at]).expect("reads");
    let closed: domain::day::DayClosed = serde_json::from_slice(entry.payload).expect("DayClosed");
    assert_eq!(
        (
            closed.date.to_string().as_str(),
            closed.size.get(),
            closed.first_position
        ),
        ("2026-05-17", at as u64, Position(0))
    );
    assert_eq!(closed.entries.values().sum::<u64>(), at as u64);
    assert!(closed.size.get() >= entries_of_day);
    assert_eq!(closed.streams.count, 7);
    let lines = world
        .store
        .days
        .lock()
        .get(&closed.date)
        .cloned()
        .expect("lines are kept");
    assert_eq!(lines.len(), 7 * domain::stream::LINE_BYTES);
    let head = world
        .sequencer
        .heads()
        .get(closed.date)
        .expect("readable")
        .expect("a head");
    let head = TlogProof::parse(&head).expect("parses");
    assert_eq!(head.extra.as_deref(), Some(&*all[at]));
    assert_eq!(head.checkpoint.checkpoint().size(), TreeSize(at as u64 + 1));
    let leaf = domain::hash::leaf_hash(&all[at]);
    head.verify_inclusion(&leaf).expect("verifies");
    head.checkpoint
        .verify(ORIGIN, [&world.key.verifier_key()])
        .expect("signed");
    world.check();
}

#[tokio::test]
async fn a_head_that_cannot_be_kept_stops_the_writing_until_it_is() {
    let world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    // Something stands where the year's folder belongs.
    let folder = world.heads.path().join("2026");
    std::fs::write(&folder, "in the way").expect("written");
    world.clock.pass(15 * 3600 * 1_000_000);
    world
        .until(|s| matches!(&s.writing, Writing::StoreFailing(reason) if reason.contains("head")))
        .await;
    let refused = world.send(&[("temperature", 4.2, 90_000)]).await;
    assert!(
        matches!(refused, Err(RecordError::Unavailable { code: "disk", .. })),
        "{refused:?}"
    );
    let size = world.log.size();
    std::fs::remove_file(&folder).expect("removed");
    world.until(|s| s.writing == Writing::Yes).await;
    let date = Date::parse("2026-05-17").expect("a day");
    let head = TlogProof::parse(
        &world
            .sequencer
            .heads()
            .get(date)
            .expect("readable")
            .expect("a head"),
    )
    .expect("a proof");
    assert_eq!(
        head.size(),
        size,
        "nothing came between the day's end and its head"
    );
    world.send(&[("temperature", 4.2, 90_000)]).await.expect("taken");
    world.check();
}

#[tokio::test]
async fn every_flipped_byte_of_a_ledger_is_found_at_its_position() {
    let world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    world.clock.pass(15 * 3600 * 1_000_000);
    world
        .until(|s| s.open_day == Some(Date::parse("2026-05-18").expect("a day")))
        .await;
    world.send(&[("temperature", 4.2, 30_060)]).await.expect("taken");
    world.check();
    for (n, entry) in read_all(&world.log).iter().enumerate() {
        for at in (0..entry.len()).step_by(3) {
            let report = world.verify(|m, bytes| {
                if n == m {
                    bytes[at] ^= 1
                }
            });
            match report.verdict {
                Verdict::Tampered {
                    position: Some(position),
                    ..
                } => assert!(position.get() <= n as u64),
                other => panic!("entry {n}, byte {at}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn missed_days_are_closed_in_order_and_a_long_gap_is_one_entry() {
    let mut world = World::new().await;
    world.sequencer.stop().await;
    world.clock.pass(3 * 86_400 * 1_000_000);
    world.start_again();
    world
        .until(|s| s.open_day == Some(Date::parse("2026-05-20").expect("a day")))
        .await;
    world.sequencer.stop().await;
    world.clock.pass(30 * 86_400 * 1_000_000);
    world.start_again();
    world
        .until(|s| s.open_day == Some(Date::parse("2026-06-19").expect("a day")))
        .await;
    let days: Vec<(String, Option<String>)> = world
        .check()
        .into_iter()
        .filter(|(t, ..)| t == "DayClosed")
        .map(|(_, _, _, p)| {
            (
                p["date"].as_str().expect("text").to_owned(),
                p["idle_since"].as_str().map(str::to_owned),
            )
        })
        .collect();
    let plain = |d: &str| (d.to_owned(), None);
    assert_eq!(
        days,
        [
            plain("2026-05-17"),
            plain("2026-05-18"),
            plain("2026-05-19"),
            plain("2026-05-20"),
            ("2026-06-18".to_owned(), Some("2026-05-21".to_owned()))
        ]
    );
    world.sequencer.stop().await;
    assert_eq!(world.sequencer.heads().dates().expect("listed").len(), 5);
}

#[tokio::test]
async fn a_clock_set_back_is_held_and_marked() {
    let world = World::new().await;
    world.clock.step(-86_400 * 1_000_000);
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    world.check();
    let all = read_all(&world.log);
    let entry = Entry::read(all.last().expect("there")).expect("reads");
    let metadata: Value = serde_json::from_slice(entry.metadata).expect("JSON");
    assert_eq!(metadata["clock"], "held");
}

#[tokio::test]
async fn a_clock_ten_years_ahead_writes_nothing_until_it_is_right_or_accepted() {
    let world = World::new().await;
    let size = world.log.size();
    let ten_years = 3650 * 86_400 * 1_000_000;
    world.clock.step(ten_years);
    let refused = world.send(&[("temperature", 4.2, 30_000)]).await;
    assert!(
        matches!(
            refused,
            Err(RecordError::Unavailable {
                code: "clock_implausible",
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(world.log.size(), size);
    world.clock.step(-ten_years);
    world.until(|s| s.writing == Writing::Yes).await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    world.clock.step(3600 * 1_000_000);
    assert!(world.send(&[("temperature", 4.2, 30_060)]).await.is_err());
    let accepted = event("ledger", "main", "ClockAccepted", json!({"by": "an operator"}));
    world.sequencer.accept_clock(accepted).await.expect("recorded");
    world.send(&[("temperature", 4.2, 30_060)]).await.expect("taken");
    world.check();
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_service_recovers_without_a_restart() {
    let world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    let size = world.log.size();
    world.failing.mode.store(1, Ordering::SeqCst);
    let unknown = world.send(&[("temperature", 4.2, 30_060)]).await;
    assert!(
        matches!(
            unknown,
            Err(RecordError::Unavailable {
                outcome_unknown: true,
                ..
            })
        ),
        "{unknown:?}"
    );
    let refused = world.send(&[("temperature", 4.2, 30_060)]).await;
    assert!(
        matches!(refused, Err(RecordError::Unavailable { code: "disk", .. })),
        "{refused:?}"
    );
    assert_eq!(world.log.size(), size);
    world.failing.mode.store(0, Ordering::SeqCst);
    world.until(|s| s.writing == Writing::Yes).await;
    let taken = world.send(&[("temperature", 4.2, 30_060)]).await.expect("taken");
    assert_eq!(taken.accepted, 1);
    world.check();
}

#[tokio::test]
async fn a_commit_that_failed_but_persisted_is_found_by_the_retry() {
    let world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    world.failing.mode.store(2, Ordering::SeqCst);
    let unknown = world
        .send_with(&[("temperature", 4.2, 30_060)], Some("again"), None)
        .await;
    assert!(
        matches!(
            unknown,
            Err(RecordError::Unavailable {
                outcome_unknown: true,
                ..
            })
        ),
        "{unknown:?}"
    );
    world.until(|s| s.writing == Writing::Yes).await;
    let size = world.log.size();
    let retried = world
        .send_with(&[("temperature", 4.2, 30_060)], Some("again"), None)
        .await
        .expect("taken");
    assert!(retried.replayed);
    assert_eq!(world.log.size(), size);
    world.check();
}

/// Sends a reading while appends wait, and when that one is on its way, its duplicate with a newer value.
async fn two_under_way(world: &Arc<World>) -> [tokio::task::JoinHandle<Answered>; 2] {
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    world.failing.mode.store(HELD, Ordering::SeqCst);
    let first = {
        let world = world.clone();
        tokio::spawn(async move { world.send(&[("temperature", 4.3, 30_060)]).await })
    };
    while !world.failing.held.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = {
        let world = world.clone();
        tokio::spawn(async move {
            world
                .send(&[("temperature", 4.3, 30_060), ("temperature", 4.4, 30_120)])
                .await
        })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        !first.is_finished() && !second.is_finished(),
        "nothing is durable yet"
    );
    [first, second]
}

type Answered = Result<crate::ingest::pipeline::Taken, RecordError>;

#[tokio::test]
async fn a_duplicate_of_what_is_on_its_way_to_disk_is_answered_after_it() {
    let world = Arc::new(World::new().await);
    let [first, second] = two_under_way(&world).await;
    world.failing.mode.store(0, Ordering::SeqCst);
    let first = first.await.expect("joins").expect("taken");
    let second = second.await.expect("joins").expect("taken");
    assert_eq!((first.accepted, second.accepted, second.deduplicated), (1, 1, 1));
    world.check();
}

#[tokio::test]
async fn what_was_decided_on_top_of_a_commit_that_failed_is_not_written_and_is_told_so() {
    for (mode, persisted) in [(1, 0), (2, 1)] {
        let world = Arc::new(World::new().await);
        let [first, second] = two_under_way(&world).await;
        let size = world.log.size();
        world.failing.mode.store(mode, Ordering::SeqCst);
        for answered in [first, second] {
            let answered = answered.await.expect("joins");
            let unknown = matches!(
                answered,
                Err(RecordError::Unavailable {
                    outcome_unknown: true,
                    ..
                })
            );
            assert!(unknown, "{answered:?}");
        }
        assert_eq!(world.log.size().since(size), persisted);
        world.failing.mode.store(0, Ordering::SeqCst);
        world.until(|s| s.writing == Writing::Yes).await;
        let again = world
            .send(&[("temperature", 4.3, 30_060), ("temperature", 4.4, 30_120)])
            .await
            .expect("taken");
        assert_eq!(u64::from(again.deduplicated), persisted);
        assert_eq!(u64::from(again.accepted), 2 - persisted);
        world.check();
    }
}

#[tokio::test]
async fn a_day_is_closed_behind_what_is_on_its_way_to_disk() {
    let world = Arc::new(World::new().await);
    let [first, second] = two_under_way(&world).await;
    world.clock.pass(24 * 3600 * 1_000_000);
    world.failing.mode.store(0, Ordering::SeqCst);
    for answered in [first, second] {
        answered.await.expect("joins").expect("taken");
    }
    let next = Date::parse("2026-05-18").ok();
    world.until(|s| s.open_day == next).await;
    let types = world.types();
    let closed = types
        .iter()
        .position(|t| t == "DayClosed")
        .expect("a day was closed");
    let last = types.iter().rposition(|t| t == "ReadingRecorded");
    assert!(last.expect("readings") < closed);
    world.check();
}

#[tokio::test]
async fn a_ledger_that_is_not_trusted_takes_and_signs_nothing_until_a_new_start() {
    let mut world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    let kept = world.store.load("sequencer");
    world.sequencer.distrust("somebody looked");
    let size = world.log.size();
    let refused = |answered: Answered| matches!(answered, Err(RecordError::Corrupt(_)));
    assert!(refused(world.send(&[("temperature", 4.2, 30_060)]).await));
    // A clock that is wrong for a while does not make it trusted again.
    world.clock.step(3650 * 24 * 3600 * 1_000_000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(refused(world.send(&[("temperature", 4.2, 30_060)]).await));
    world.clock.step(-3650 * 24 * 3600 * 1_000_000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(refused(world.send(&[("temperature", 4.2, 30_060)]).await));
    let signed = world.sequencer.checkpoint().map(|(size, _)| size);
    world.sequencer.stop().await;
    assert_eq!(world.log.size(), size);
    assert_eq!(world.sequencer.checkpoint().map(|(size, _)| size), signed);
    assert_eq!(world.store.load("sequencer"), kept, "nothing was kept of it");
    world.start_again();
    world.send(&[("temperature", 4.2, 30_060)]).await.expect("taken");
    world.check();
}

#[tokio::test]
async fn checkpoints_extend_each_other_and_an_older_copy_is_refused() {
    let mut world = World::new().await;
    world.send(&[("temperature", 4.2, 30_000)]).await.expect("taken");
    world.sequencer.stop().await;
    let (size, note) = world.sequencer.checkpoint().expect("signed at stop");
    assert_eq!(size, world.log.size());
    assert_eq!(world.store.checkpoint.lock().as_deref(), Some(&*note));
    let all = read_all(&world.log);
    let older = Arc::new(MemoryLog::new());
    older.push_entries(all[..all.len() - 1].iter().map(Vec::as_slice));
    world.failing = Arc::new(Failing {
        log: older.clone(),
        held: AtomicBool::new(false),
        mode: AtomicU8::new(0),
    });
    let opened = Checkpointer::open(
        ORIGIN,
        Signing::Here(world.key.clone()),
        world.store.clone(),
        &*older,
        older.size(),
    );
    assert!(matches!(opened, Err(CheckpointError::Inconsistent { .. })));
}

#[tokio::test]
async fn state_from_the_snapshot_is_the_state_folded_from_the_start() {
    let mut world = World::new().await;
    for n in 0..50 {
        world
            .send(&[("temperature", f64::from(n), 30_000 + i64::from(n))])
            .await
            .expect("taken");
    }
    world.restart().await;
    world.send(&[("temperature", 1.0, 40_000)]).await.expect("taken");
    world.sequencer.stop().await;
    let with = world.store.load("sequencer").expect("kept");
    world.store.blobs.lock().clear();
    world.start_again();
    world.sequencer.stop().await;
    let without = world.store.load("sequencer").expect("kept");
    let read = |bytes: &[u8]| snapshot::read(bytes, ORIGIN, StreamPositions::default()).expect("reads");
    let (a, b) = (read(&with), read(&without));
    assert_eq!(a.size.plus(1), b.size, "the second start observed the clock");
    assert_eq!(a.state.streams.len(), b.state.streams.len());
    let ledger = domain::stream::blind("ledger/main");
    for stream in a.state.streams.iter().filter(|s| s.name != ledger) {
        let other = &b.state.streams[b.state.index[&stream.name] as usize];
        assert_eq!(
            (stream.sequence, stream.chain, stream.account, stream.owner),
            (other.sequence, other.chain, other.account, other.owner)
        );
        assert_eq!(stream.day_first, other.day_first);
    }
    let (a_counts, b_counts) = (a.state.day.counts.entries(), b.state.day.counts.entries());
    assert_eq!(a_counts["ledger"] + 1, b_counts["ledger"]);
    assert_eq!(
        (a_counts["audit"], a_counts["reading"]),
        (b_counts["audit"], b_counts["reading"])
    );
    assert_eq!(a.state.slots.newest(), b.state.slots.newest());
}

/// The state that was kept while readings went on, once it holds at least so many entries.
async fn kept_beside(world: &World, size: TreeSize) -> Vec<u8> {
    for _ in 0..4000 {
        let kept = world.store.load("sequencer");
        let enough = kept.filter(|bytes| {
            snapshot::read(bytes, ORIGIN, StreamPositions::default()).is_some_and(|kept| kept.size >= size)
        });
        if let Some(bytes) = enough {
            return bytes;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the state was not kept at {size}");
}

async fn send_many(world: &World, count: i64, from_s: i64) {
    for n in 0..count {
        world
            .send(&[("temperature", n as f64, from_s + n)])
            .await
            .expect("taken");
    }
}

#[tokio::test]
async fn a_crash_goes_on_from_the_state_that_was_kept_beside_whichever_day_it_is_of() {
    let until_day = |day: &'static str| move |s: &Status| s.open_day == Date::parse(day).ok();
    for kept_on_the_second_day in [false, true] {
        let mut world = World::new().await;
        // The state is kept after eight entries for each of seven streams.
        send_many(&world, 100, 30_000).await;
        let first = kept_beside(&world, TreeSize(50)).await;
        world.clock.pass(15 * 3600 * 1_000_000);
        world.until(until_day("2026-05-18")).await;
        // Of the streams of the first day only this device's go on.
        send_many(&world, 100, 90_000).await;
        let second = kept_beside(&world, TreeSize(160)).await;
        world.sequencer.stop().await;
        // A process that dies keeps nothing when it ends.
        let kept = if kept_on_the_second_day { second } else { first };
        world.store.save("sequencer", &kept).expect("kept");
        world.start_again();
        send_many(&world, 3, 95_000).await;
        world.clock.pass(24 * 3600 * 1_000_000);
        world.until(until_day("2026-05-19")).await;
        world.sequencer.stop().await;
        let closings = world.types().iter().filter(|t| *t == "DayClosed").count();
        assert_eq!(closings, 2);
        world.check();
    }
}

#[tokio::test]
async fn many_at_once_are_all_recorded_in_few_commits() {
    let world = Arc::new(World::new().await);
    world.send(&[("temperature", 0.0, 29_999)]).await.expect("taken");
    let before = world.sequencer.status().commits;
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let world = world.clone();
            tokio::spawn(async move {
                world
                    .send(&[("temperature", f64::from(n), 30_000 + i64::from(n))])
                    .await
            })
        })
        .collect();
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await.expect("joins").expect("taken").accepted;
    }
    assert_eq!(accepted, 500);
    assert!(world.sequencer.status().commits - before <= 500);
    assert_eq!(
        world.types().iter().filter(|t| *t == "ReadingRecorded").count(),
        501
    );
    let root: Hash = world.log.root();
    assert_ne!(root, Hash::default());
}
