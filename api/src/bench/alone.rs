//! Sequencer and embedded ledger without HTTP and without read models, and the ledger they leave behind: how fast it
//! is filled, opened, proven and verified.
//!
//! The real parts, wired as `app` wires them; only the look-up of old readings is absent, since none comes.
//! Not here: the whole service (`service`), a ledger's verification for people (`cli::verify`).

use super::host::{Spent, Watch};
use super::stage::Stage;
use super::{BenchError, entries};
use crate::app::Outside;
use crate::begin;
use crate::config::Settings;
use crate::stores::{self, LEDGER, Stores};
use commands::handlers::{Management, ManagementPorts, ManagementSettings};
use commands::ingest::channels::AutoChannels;
use commands::ledger::{Ledger, Options, Recovery};
use commands::sequencer::{self, HeadStore, PendingReading, PendingValue, Ports, ReadingGroup, Sequencer};
use commands::tokens::Authenticator;
use domain::ports::{EventLog, Seen, SeenReadings};
use domain::proof::{PROVER_TILES, Prover, verify_inclusion};
use domain::reading::TimeFrom;
use domain::registry::Registry;
use domain::verify::{self, KnownRoot, LogVerifier, Strictness, Verdict};
use domain::{Date, Position, Timestamp, TreeSize};
use parking_lot::RwLock;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Readings in a group, as a gateway's batch has them.
const GROUP: usize = 100;
/// Groups under way at once.
const IN_FLIGHT: usize = 32;
/// Entries read at once when verifying: they stay in the processor's second cache until they are hashed.
const READ_ENTRIES: usize = 512;
/// Bytes read at once when verifying.
const READ_BYTES: usize = 4 << 20;

/// No reading is older than its channel's newest, so nobody asks.
struct NeverAsked(Arc<Ledger>);

impl SeenReadings for NeverAsked {
    fn cursor(&self) -> TreeSize {
        self.0.size_now()
    }

    fn seen(&self, readings: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String> {
        Ok(Some(vec![None; readings.len()]))
    }
}

/// Sequencer and ledger, running.
pub struct Alone {
    stores: Stores,
    recovery: Recovery,
    sequencer: Sequencer,
    registry: Arc<RwLock<Registry>>,
    management: Management,
    outside: Outside,
    /// How long the opening took.
    pub opened_in: Duration,
}

/// How fast it was filled.
#[derive(Debug, Clone, Copy)]
pub struct Filled {
    /// Entries recorded.
    pub entries: u64,
    /// What it cost.
    pub spent: Spent,
}

impl Alone {
    /// Opens the ledger below `settings.data`, made where there is none.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn open(settings: &Settings, outside: &Outside) -> Result<Self, BenchError> {
        let began = Instant::now();
        let (stores, recovery) = stores::open(settings, &outside.entropy)?;
        let registry = Arc::new(RwLock::new(Registry::default()));
        let log: Arc<dyn EventLog> = stores.log.clone();
        let sequencer = Sequencer::start(
            Ports {
                log: log.clone(),
                tiles: stores.log.clone(),
                checkpoints: stores.log.clone(),
                derived: stores.log.clone(),
                seen: Arc::new(NeverAsked(stores.log.clone())),
                channels: Arc::new(AutoChannels {
                    origin: stores.origin.clone(),
                    keys: stores.keys.clone(),
                }),
                signer: stores.log_key.clone(),
                clock: outside.clock.clone(),
                entropy: outside.entropy.clone(),
            },
            sequencer::Settings {
                origin: stores.origin.clone(),
                build_date: Date::default(),
                snapshot_entries: sequencer::SNAPSHOT_ENTRIES,
                beside_entries: sequencer::BESIDE_ENTRIES,
                heads: HeadStore::new(&settings.data.join("heads")),
            },
            registry.clone(),
        )?;
        let opened_in = began.elapsed();
        let management = Management::new(
            ManagementPorts {
                recorder: Arc::new(sequencer.clone()),
                index: Arc::new(sequencer.positions().clone()),
                log,
                registry: registry.clone(),
                keys: stores.keys.clone(),
                authenticator: Arc::new(Authenticator::remembering(&*outside.entropy, 64)),
                clock: outside.clock.clone(),
                entropy: outside.entropy.clone(),
            },
            ManagementSettings {
                origin: stores.origin.clone(),
                server_secret: stores.server_secret.clone(),
                label_secret: [0; 32],
            },
        );
        Ok(Self {
            stores,
            recovery,
            sequencer,
            registry,
            management,
            outside: outside.clone(),
            opened_in,
        })
    }

    /// Records the first entries and registers devices, then fills the ledger to `entries` readings.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn fill(
        &self,
        settings: &Settings,
        devices: usize,
        entries: u64,
    ) -> Result<Filled, BenchError> {
        begin::begin(
            settings,
            &self.stores,
            &self.recovery,
            &self.sequencer,
            &self.registry,
            &self.management,
            &begin::ClockAtStart::Judged,
        )
        .await?;
        let stage = Stage::begin(&self.management, &self.registry).await?;
        let ids = stage.devices(0..devices).await?;
        // As the pipeline finds them.
        let ids: Arc<[Known]> = {
            let registry = self.registry.read();
            let number = |id: &Arc<str>| registry.device_anywhere(id).map(|device| device.number);
            ids.into_iter().map(|id| (number(&id), id)).collect()
        };
        let token: Arc<str> = stage.gateway().await?.id.as_str().into();
        let sender = Sender {
            sequencer: self.sequencer.clone(),
            account: stage.account().into(),
            token,
            start: self.outside.clock.now(),
        };
        // Every channel is made before the clock runs.
        for ids in ids.chunks(GROUP) {
            sender.send(ids, 0).await?;
        }
        let watch = Watch::start();
        let left = Arc::new(AtomicU64::new(entries / GROUP as u64));
        let mut senders = JoinSet::new();
        for n in 0..IN_FLIGHT {
            let (sender, left, ids) = (sender.clone(), left.clone(), ids.clone());
            senders.spawn(async move {
                // Each has devices of its own, whose times rise.
                let own = &ids[n * ids.len() / IN_FLIGHT..(n + 1) * ids.len() / IN_FLIGHT];
                let mut count = 0;
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    sender.send_turn(own, &mut count).await?;
                }
                Ok::<_, BenchError>(())
            });
        }
        while let Some(ended) = senders.join_next().await {
            ended.map_err(|error| BenchError::Load(error.to_string()))??;
        }
        Ok(Filled {
            entries: entries / GROUP as u64 * GROUP as u64,
            spent: watch.spent(),
        })
    }

    /// Commits what waits, signs the last position, keeps the snapshot.
    pub async fn stop(self) {
        self.sequencer.stop().await;
        self.stores.log.stop();
    }
}

/// A device's number and id.
type Known = (Option<u32>, Arc<str>);

#[derive(Clone)]
struct Sender {
    sequencer: Sequencer,
    account: Arc<str>,
    token: Arc<str>,
    start: Timestamp,
}

impl Sender {
    async fn send_turn(&self, devices: &[Known], count: &mut i64) -> Result<(), BenchError> {
        let ids: Vec<Known> = devices.iter().cycle().take(GROUP).cloned().collect();
        *count += GROUP as i64;
        self.send(&ids, *count).await
    }

    async fn send(&self, devices: &[Known], count: i64) -> Result<(), BenchError> {
        let readings = devices
            .iter()
            .zip(count..)
            .map(|((number, device), n)| PendingReading {
                device: device.clone(),
                number: *number,
                measured_at: self.start.plus_micros(n),
                time_from: TimeFrom::Device,
                claimed_at: None,
                values: vec![PendingValue {
                    key: Cow::Borrowed("temperature"),
                    kind: Cow::Borrowed("temperature"),
                    label: None,
                    unit: Cow::Borrowed("Cel"),
                    value: 4.0 + (n % 97) as f64 / 100.0,
                    auxiliary: false,
                }],
                uplink: None,
            })
            .collect();
        let group = ReadingGroup {
            account: self.account.clone(),
            token: self.token.clone(),
            metadata: entries::metadata(self.start, count.unsigned_abs()),
            idempotency: None,
            readings,
            want_channels: false,
            want_entries: false,
        };
        let recorded = self.sequencer.record_readings(group).await?;
        match recorded.readings.iter().find_map(|outcome| outcome.refused) {
            Some(code) => Err(BenchError::Refused(code.to_owned())),
            None => Ok(()),
        }
    }
}

/// What a ledger on disk answers.
pub struct Kept {
    ledger: Ledger,
}

/// What proofs cost.
#[derive(Debug, Clone, Copy)]
pub struct Proofs {
    /// Made and verified.
    pub count: u32,
    /// Mean time to make one, microseconds.
    pub mean_us: f64,
    /// The slowest of a hundred, microseconds.
    pub p99_us: f64,
}

/// What a verification found.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Entries read, hashed and checked.
    pub entries: u64,
    /// How long it took.
    pub took: Duration,
    /// Its verdict.
    pub verdict: Verdict,
}

impl Kept {
    /// Opens a data directory for reading.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn open(data: &Path) -> Result<Self, BenchError> {
        let (ledger, _) = Ledger::open_read_only(&data.join(LEDGER), Options::default())?;
        Ok(Self { ledger })
    }

    /// Inclusion proofs of entries all over the ledger; each is verified.
    ///
    /// # Errors
    /// [`BenchError`], also where a proof does not hold.
    pub fn proofs(&self, count: u32) -> Result<Proofs, BenchError> {
        let size = self.ledger.size_now();
        let root = self.ledger.root_at(size).map_err(BenchError::Load)?;
        let mut prover = Prover::new(PROVER_TILES);
        let mut took = Vec::with_capacity(count as usize);
        for n in 0..u64::from(count) {
            let position = Position(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % size.get());
            let block = self.ledger.read_at_now(&[position])?;
            let leaf = block.get(0).map(|(_, bytes)| domain::hash::leaf_hash(bytes));
            let began = Instant::now();
            let proof = prover.inclusion(&self.ledger, position, size)?;
            took.push(began.elapsed().as_secs_f64() * 1e6);
            verify_inclusion(&leaf.unwrap_or_default(), position, size, &proof, &root)?;
        }
        took.sort_by(f64::total_cmp);
        let p99 = took.len().saturating_sub(1) * 99 / 100;
        Ok(Proofs {
            count,
            mean_us: took.iter().sum::<f64>() / f64::from(count.max(1)),
            p99_us: took.get(p99).copied().unwrap_or_default(),
        })
    }

    /// Every entry, its place in tree, stream and day; with the strict canonical check where asked.
    ///
    /// # Errors
    /// [`BenchError`] where it cannot be read.
    pub fn verify(&self, strictness: Strictness) -> Result<Verified, BenchError> {
        let size = self.ledger.size_now();
        // What was just written is what the run itself vouches for.
        let known = KnownRoot {
            size,
            root: self.ledger.root_at(size).map_err(BenchError::Load)?,
            kept: verify::Kept::Outside,
            source: "this run".to_owned(),
        };
        let began = Instant::now();
        let mut verifier = LogVerifier::new(strictness, None, vec![known]);
        let mut next = Position::FIRST;
        while size.contains(next) {
            let block = self.ledger.read_now(next, READ_ENTRIES, READ_BYTES)?;
            for (_, bytes) in block.iter() {
                verifier.entry(bytes);
            }
            next = next.plus(block.len() as u64);
        }
        let report = verifier.finish();
        Ok(Verified {
            entries: size.get(),
            took: began.elapsed(),
            verdict: report.verdict,
        })
    }
}
