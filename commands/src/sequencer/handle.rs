//! The handle through which everybody records, and the doors that the sequencer needs.
//!
//! Not here: the thread behind it (`owner`).

use super::batch::ChannelMaker;
use super::checkpoints::{CheckpointError, Checkpointer, Signing};
use super::commit::set_writing;
use super::days::DerivedStore;
use super::head_store::HeadStore;
use super::owner::Owner;
use super::recover::LoadError;
use super::rotate::{Keys, RotationOrder, Settled};
use super::state::StreamPositions;
use super::types::{EventGroup, GroupAnswer, PendingReading, ReadingGroup, RecordError, Status, Writing};
use domain::entry::NewEvent;
use domain::ports::{CheckpointStore, Clock, Entropy, EventLog, SeenReadings, TileStore};
use domain::registry::Registry;
use domain::{Date, TreeSize};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests that may wait; one more is answered 503 at once.
pub const QUEUE_GROUPS: usize = 8_192;
/// Most entries of one group.
pub const GROUP_ENTRIES_MAX: usize = 4_096;

/// The doors the sequencer needs.
pub struct Ports {
    /// The ledger.
    pub log: Arc<dyn EventLog>,
    /// Its hashes.
    pub tiles: Arc<dyn TileStore>,
    /// The guard of what was signed.
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// What can be made again.
    pub derived: Arc<dyn DerivedStore>,
    /// Which readings are there already.
    pub seen: Arc<dyn SeenReadings>,
    /// Makes the channels that readings need.
    pub channels: Arc<dyn ChannelMaker>,
    /// Who signs checkpoints.
    pub signing: Signing,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// What the sequencer is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The ledger's origin.
    pub origin: String,
    /// When this software was made: no earlier clock is believed.
    pub build_date: Date,
    /// Where the heads of days are kept.
    pub heads: HeadStore,
    /// Entries after which the state is kept beside the ledger, such as [`SNAPSHOT_ENTRIES`](super::SNAPSHOT_ENTRIES): what a start after a
    /// crash has to fold. Fewer cost the sequencer's time, more the start's.
    pub snapshot_entries: u64,
    /// From so many entries on a commit is written while the next is decided, such as [`BESIDE_ENTRIES`](super::BESIDE_ENTRIES).
    pub beside_entries: usize,
}

/// Why the sequencer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What was signed contradicts the ledger.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
}

pub(super) enum Submission {
    Events(EventGroup, oneshot::Sender<GroupAnswer>),
    Readings(Box<ReadingGroup>, oneshot::Sender<GroupAnswer>),
    AcceptClock(NewEvent, oneshot::Sender<GroupAnswer>),
    Rotate(Box<RotationOrder>, oneshot::Sender<GroupAnswer>),
    Stop(oneshot::Sender<()>),
}

impl Submission {
    pub fn readings(&self) -> &[PendingReading] {
        match self {
            Self::Readings(group, _) => &group.readings,
            _ => &[],
        }
    }

    pub fn refuse(self, error: RecordError) {
        let (Self::Events(_, answer)
        | Self::Readings(_, answer)
        | Self::AcceptClock(_, answer)
        | Self::Rotate(_, answer)) = self
        else {
            return;
        };
        // Whoever asked may have gone; there is nobody to tell.
        let _ = answer.send(Err(error));
    }
}

/// The handle: cheap to clone, shared by all that record.
#[derive(Clone)]
pub struct Sequencer {
    queue: SyncSender<Submission>,
    status: Arc<RwLock<Status>>,
    positions: StreamPositions,
    checkpointer: Arc<Checkpointer>,
    heads: HeadStore,
    threads: Arc<parking_lot::Mutex<Vec<JoinHandle<()>>>>,
}

impl Sequencer {
    /// Loads the state, signs what a crash left unsigned, and starts the threads.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(
        ports: Ports,
        settings: Settings,
        registry: Arc<RwLock<Registry>>,
    ) -> Result<Self, StartError> {
        let (this, _) = Self::start_with(ports, settings, registry, Keys::default())?;
        Ok(this)
    }

    /// As [`Sequencer::start`], with keys that sign beside the log key, and one that is being brought into force: what
    /// became of it is told, and what its rotation asks for is made good before anything is recorded.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start_with(
        ports: Ports,
        settings: Settings,
        registry: Arc<RwLock<Registry>>,
        keys: Keys,
    ) -> Result<(Self, Option<Settled>), StartError> {
        let checkpointer = Checkpointer::open(
            &settings.origin,
            ports.signing.clone(),
            ports.checkpoints.clone(),
            &*ports.tiles,
            ports.log.size(),
        )?;
        let checkpointer = Arc::new(checkpointer.with_beside(keys.beside));
        let positions = StreamPositions::default();
        let heads = settings.heads.clone();
        let (owner, settled) = Owner::open(
            ports,
            settings,
            registry,
            positions.clone(),
            checkpointer.clone(),
            keys.next,
        )?;
        let status = owner.status();
        let (queue, submissions) = sync_channel(QUEUE_GROUPS);
        let signing = checkpointer.clone();
        let threads = vec![
            std::thread::Builder::new()
                .name("checkpoints".into())
                .spawn(move || signing.run())?,
            std::thread::Builder::new()
                .name("sequencer".into())
                .spawn(move || owner.run(&submissions))?,
        ];
        let threads = Arc::new(parking_lot::Mutex::new(threads));
        let this = Self {
            queue,
            status,
            positions,
            checkpointer,
            heads,
            threads,
        };
        Ok((this, settled))
    }

    /// Records a rotation, and signs the checkpoint that ends with it as it asks.
    ///
    /// # Errors
    /// [`RecordError`]; whether it is recorded is then told by a start with the same key as the next one.
    pub async fn rotate(&self, order: RotationOrder) -> GroupAnswer {
        let (answer, answered) = oneshot::channel();
        self.submit(Submission::Rotate(Box::new(order), answer), answered)
            .await
    }

    /// Records the events of one command, all or none.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn record(&self, group: EventGroup) -> GroupAnswer {
        if group.events.len() > GROUP_ENTRIES_MAX {
            return Err(RecordError::TooLarge(format!(
                "{} events at once; at most {GROUP_ENTRIES_MAX}",
                group.events.len()
            )));
        }
        let (answer, answered) = oneshot::channel();
        self.submit(Submission::Events(group, answer), answered).await
    }

    /// Records the readings of one request.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn record_readings(&self, group: ReadingGroup) -> GroupAnswer {
        let (answer, answered) = oneshot::channel();
        self.submit(Submission::Readings(Box::new(group), answer), answered)
            .await
    }

    /// An operator vouches for the clock; `event` says who.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn accept_clock(&self, event: NewEvent) -> GroupAnswer {
        let (answer, answered) = oneshot::channel();
        self.submit(Submission::AcceptClock(event, answer), answered)
            .await
    }

    async fn submit(&self, submission: Submission, answered: oneshot::Receiver<GroupAnswer>) -> GroupAnswer {
        match self.queue.try_send(submission) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(RecordError::Unavailable {
                    reason: "too many requests wait to be recorded".into(),
                    code: "busy",
                    outcome_unknown: false,
                });
            }
            Err(TrySendError::Disconnected(_)) => return Err(stopping()),
        }
        answered.await.unwrap_or_else(|_| {
            Err(RecordError::Unavailable {
                reason: "the service stopped before it could answer".into(),
                code: "stopping",
                outcome_unknown: true,
            })
        })
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.status.read().clone()
    }

    /// What is stored does not hold: nothing is recorded or signed any more, until somebody has looked.
    pub fn distrust(&self, reason: &str) {
        set_writing(&self.status, Writing::Corrupt(reason.to_owned()));
        self.checkpointer.distrust();
    }

    /// Positions of each stream's entries.
    pub fn positions(&self) -> &StreamPositions {
        &self.positions
    }

    /// The latest signed checkpoint: size and note.
    pub fn checkpoint(&self) -> Option<(TreeSize, Vec<u8>)> {
        self.checkpointer.latest()
    }

    /// The heads of days.
    pub fn heads(&self) -> &HeadStore {
        &self.heads
    }

    /// Takes what was queued before, commits, signs the last position, keeps the state, and ends the threads.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        let mut submission = Submission::Stop(done);
        // A full queue drains; a gone owner has stopped already.
        loop {
            match self.queue.try_send(submission) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => {
                    submission = back;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(TrySendError::Disconnected(_)) => break,
            }
        }
        if stopped.await.is_err() {
            tracing::warn!("the sequencer had stopped already");
        }
        self.checkpointer.stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the sequencer panicked");
            }
        }
    }
}

pub(super) fn stopping() -> RecordError {
    RecordError::Unavailable {
        reason: "the service is stopping".into(),
        code: "stopping",
        outcome_unknown: false,
    }
}
