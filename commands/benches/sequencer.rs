//! The sequencer and the embedded ledger alone, without HTTP, against a bare append of the same bytes.
//!
//! Readings of 1,000 devices, one value each, in groups of 1 and of 100, from many tasks; everything on but the
//! projections: duplicates, streams, chains, tree, one sync a commit. The bare append writes frames of the same
//! bytes to one file, with fdatasync, hashing leaves and tree.

use commands::ingest::channels::AutoChannels;
use commands::ledger::{Ledger, Options};
use commands::sequencer::{
    BESIDE_ENTRIES, EventGroup, HeadStore, PendingReading, PendingValue, Ports, ReadingGroup,
    SNAPSHOT_ENTRIES, Sequencer, Settings,
};
use domain::canonical::Canonical;
use domain::entry::NewEvent;
use domain::hash::leaf_hash;
use domain::ids::IdKind;
use domain::merkle::{Frontier, NoNodes};
use domain::note::SigningKey;
use domain::ports::{Clock, Entropy, EventLog, KeyStore, Seen, SeenReadings};
use domain::reading::TimeFrom;
use domain::registry::Registry;
use domain::{Date, Timestamp, TreeSize};
use parking_lot::RwLock;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ORIGIN: &str = "daybook.invalid/bench";
const DEVICES: usize = 1000;
const SECONDS: u64 = 4;

struct Wall(Instant);

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let us = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_micros();
        Timestamp::from_micros(us as i64).expect("in the calendar")
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Os;

impl Entropy for Os {
    fn fill(&self, out: &mut [u8]) {
        rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, out);
    }
}

/// A raw projection that has always caught up.
struct CaughtUp(Arc<Ledger>);

impl SeenReadings for CaughtUp {
    fn cursor(&self) -> TreeSize {
        self.0.size()
    }

    fn seen(&self, readings: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String> {
        Ok(Some(vec![None; readings.len()]))
    }
}

struct OneKey;

impl KeyStore for OneKey {
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

fn number(n: usize) -> [u8; 16] {
    (n as u128).to_be_bytes()
}

fn event(
    aggregate_type: &'static str,
    id: &str,
    event_type: &'static str,
    payload: &Value,
) -> (NewEvent, Option<u64>) {
    let account = IdKind::Account.id(&number(1));
    let metadata = json!({"account": account, "actor": "system:bench", "owner": id});
    let event = NewEvent {
        aggregate_type: aggregate_type.into(),
        aggregate_id: id.into(),
        event_type: event_type.into(),
        event_version: "1.0".into(),
        payload: Canonical::of(payload).expect("canonical"),
        metadata: Canonical::of(&metadata).expect("canonical"),
        salt: None,
    };
    (event, None)
}

fn sealed() -> Value {
    let place = domain::sealed::SealPlace {
        aggregate_type: "x",
        aggregate_id: "x",
        sequence: 1,
        pointer: "/name",
        salt: "x",
    };
    let sealed = domain::sealed::seal(ORIGIN, &place, &json!("text"), &[9; 32], [1; 24]).expect("seals");
    serde_json::to_value(sealed).expect("JSON")
}

async fn set_up(sequencer: &Sequencer) {
    let (account, site) = (IdKind::Account.id(&number(1)), IdKind::Site.id(&number(1)));
    let hash = "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";
    let integration = IdKind::Integration.id(&number(1));
    let mut events = vec![
        event("ledger", "main", "LedgerCreated", &json!({"origin": ORIGIN})),
        event("account", &account, "AccountOpened", &json!({"name": sealed()})),
        event(
            "site",
            &site,
            "SiteCreated",
            &json!({"name": sealed(), "vertical": "climate", "timezone": "UTC", "address": null}),
        ),
        event(
            "integration",
            &integration,
            "IntegrationCreated",
            &json!({"kind": "gateway", "name": sealed()}),
        ),
        event(
            "tokens",
            &integration,
            "TokenIssued",
            &json!({"token": IdKind::Token.id(&number(1)), "kind": "webhook", "hash": hash}),
        ),
    ];
    for n in 0..DEVICES {
        events.push(event(
            "device",
            &IdKind::Device.id(&number(n)),
            "DeviceRegistered",
            &json!({"site": site, "local_id": format!("d{n}"), "name": sealed(), "model": "bench", "dev_eui": null,
                    "serial": null, "cadence_s": 60, "notes": null}),
        ));
    }
    sequencer
        .record(EventGroup {
            events,
            ..EventGroup::default()
        })
        .await
        .expect("recorded");
}

fn group(count: usize, counter: &AtomicU64) -> ReadingGroup {
    let readings = (0..count)
        .map(|_| {
            let n = counter.fetch_add(1, Ordering::Relaxed);
            PendingReading {
                device: IdKind::Device.id(&number(n as usize % DEVICES)).into(),
                number: None,
                measured_at: Timestamp::from_micros(
                    1_790_000_000_000_000 + (n / DEVICES as u64) as i64 * 1_000_000,
                )
                .expect("in the calendar"),
                time_from: TimeFrom::Device,
                claimed_at: None,
                values: vec![PendingValue {
                    key: "temperature".into(),
                    kind: "temperature".into(),
                    label: None,
                    unit: "Cel".into(),
                    value: 4.0 + (n % 97) as f64 / 10.0,
                    auxiliary: false,
                }],
                uplink: None,
            }
        })
        .collect();
    ReadingGroup {
        account: IdKind::Account.id(&number(1)).into(),
        token: IdKind::Token.id(&number(1)).into(),
        metadata: br#"{"received_at":"2026-05-17T10:00:00.000000Z","request_id":"req_abcdefghijklmnopqrstuvwxyz","source":{"kind":"http"},"token":"aaaaaaaaaaaaaaaaaaaaaaaaab"}"#.to_vec(),
        idempotency: None,
        readings,
        want_channels: false,
        want_entries: false,
    }
}

async fn load(sequencer: &Sequencer, tasks: usize, count: usize) -> (f64, u64) {
    let counter = Arc::new(AtomicU64::new(sequencer.status().size.get() * 1000));
    let done = Arc::new(AtomicU64::new(0));
    let commits = sequencer.status().commits;
    let begun = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let (sequencer, counter, done) = (sequencer.clone(), counter.clone(), done.clone());
            tokio::spawn(async move {
                while begun.elapsed() < Duration::from_secs(SECONDS) {
                    let recorded = sequencer
                        .record_readings(group(count, &counter))
                        .await
                        .expect("recorded");
                    done.fetch_add(
                        recorded.readings.iter().map(|r| u64::from(r.accepted)).sum(),
                        Ordering::Relaxed,
                    );
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("joins");
    }
    let rate = done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    (rate, sequencer.status().commits - commits)
}

/// Frames of `count` entries to one file, leaf and tree hashed, one fdatasync each; entries a second.
fn bare(entry: &[u8], count: usize) -> f64 {
    let mut file = tempfile::tempfile().expect("a file");
    let mut frontier = Frontier::new();
    let frame: Vec<u8> = entry.iter().copied().cycle().take(entry.len() * count).collect();
    let begun = Instant::now();
    let mut entries = 0u64;
    while begun.elapsed() < Duration::from_secs(SECONDS) {
        for chunk in frame.chunks_exact(entry.len()) {
            frontier.push(leaf_hash(chunk), &mut NoNodes);
        }
        file.write_all(&frame).expect("written");
        file.sync_data().expect("synced");
        entries += count as u64;
    }
    std::hint::black_box(frontier.root());
    entries as f64 / begun.elapsed().as_secs_f64()
}

fn main() {
    // `cargo test --benches` runs this too; there is nothing to test.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        origin: Some(ORIGIN.into()),
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(dir.path(), options).expect("opens");
    let ledger = Arc::new(ledger);
    let ports = Ports {
        log: ledger.clone(),
        tiles: ledger.clone(),
        checkpoints: ledger.clone(),
        derived: ledger.clone(),
        seen: Arc::new(CaughtUp(ledger.clone())),
        channels: Arc::new(AutoChannels {
            origin: ORIGIN.into(),
            keys: Arc::new(OneKey),
        }),
        signing: commands::sequencer::Signing::Here(Arc::new(
            SigningKey::from_seed(ORIGIN, &[7; 32]).expect("a key"),
        )),
        clock: Arc::new(Wall(Instant::now())),
        entropy: Arc::new(Os),
    };
    let settings = Settings {
        origin: ORIGIN.into(),
        build_date: Date::from_days(0),
        snapshot_entries: SNAPSHOT_ENTRIES,
        beside_entries: BESIDE_ENTRIES,
        heads: HeadStore::new(&dir.path().join("heads")),
    };
    let sequencer =
        Sequencer::start(ports, settings, Arc::new(RwLock::new(Registry::default()))).expect("starts");
    runtime.block_on(async {
        set_up(&sequencer).await;
        load(&sequencer, 8, 100).await;
        let last = domain::Position(ledger.size().get() - 1);
        let entry = ledger.read_at(&[last]).await.expect("reads");
        let entry = entry.get(0).expect("there").1.to_vec();
        println!("an entry is {} bytes", entry.len());
        println!("{:<44}{:>14}{:>12}", "", "entries/s", "a commit");
        for (tasks, count) in [(1, 1), (64, 1), (8, 100), (64, 100)] {
            let (rate, commits) = load(&sequencer, tasks, count).await;
            let each = rate * SECONDS as f64 / commits.max(1) as f64;
            println!(
                "{:<44}{rate:>14.0}{each:>12.0}",
                format!("sequencer, {tasks} tasks x groups of {count}")
            );
            let bare = bare(&entry, each.round().max(1.0) as usize);
            println!(
                "{:<44}{bare:>14.0}{each:>12.0}   ratio {:.2}",
                "  bare append of as many",
                rate / bare
            );
        }
        sequencer.stop().await;
    });
}
