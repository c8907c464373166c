//! The thread that owns the order, and the handle through which everybody else reaches it.

use super::batch::{Batch, Broken, ChannelMaker, Deciding};
use super::checkpoints::{CheckpointError, Checkpointer, HeadStore};
use super::clock::{ClockGuard, ClockState, Reading as ClockReading};
use super::days::{DayPreparer, DerivedStore, Due};
use super::recover::{LoadError, SNAPSHOT, load};
use super::snapshot;
use super::state::{State, StreamPositions};
use super::types::{
    EventGroup, GroupAnswer, PendingReading, ReadingGroup, RecordError, Recorded, RecordedEntry, Status,
    Writing,
};
use domain::day::{ClockOfDay, DAY_CLOSED, DayClosed, StreamsOfDay, days_to_close};
use domain::entry::NewEvent;
use domain::note::Signer;
use domain::ports::{
    Append, AppendError, CheckpointStore, Clock, Entropy, EventLog, SeenReadings, TileStore,
};
use domain::registry::Registry;
use domain::{Date, Timestamp, TreeSize};
use parking_lot::RwLock;
use rand_core::SeedableRng;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Requests that may wait; one more is answered 503 at once.
pub const QUEUE_GROUPS: usize = 8_192;
/// A commit takes no further request once it has so many entries.
pub const COMMIT_ENTRIES: usize = 16_384;
/// … or so many bytes.
pub const COMMIT_BYTES: usize = 8 << 20;
/// How often the owner looks at the clock, the day and the store when nothing comes.
const TICK: Duration = Duration::from_millis(250);
/// How long after a failed append the store is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the day's map is told which streams moved: a stream that moved many times since is told once.
const TELL: Duration = Duration::from_secs(10);
/// … towards midnight, so that little is left to tell then.
const TELL_SOON: Duration = Duration::from_millis(100);
/// Before midnight the map is kept ready for so long, microseconds.
const SOON_US: i64 = 60 * 1_000_000;
/// Streams that are told at once, however little time has passed: 8 MB at 128 bytes each.
const TELL_STREAMS: usize = 65_536;
/// How often the clock is recorded (FORMAT §5), microseconds.
const OBSERVE_US: i64 = 3600 * 1_000_000;
/// Entries after which a new snapshot is kept, where nobody says otherwise.
pub const SNAPSHOT_ENTRIES: u64 = 500_000;
/// At least so many for each stream, since a snapshot is as large as the streams are many.
const SNAPSHOT_ENTRIES_A_STREAM: u64 = 8;
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
    /// Signs checkpoints.
    pub signer: Arc<dyn Signer>,
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
    /// Entries after which the state is kept beside the ledger, such as [`SNAPSHOT_ENTRIES`]: what a start after a
    /// crash has to fold. Fewer cost the sequencer's time, more the start's.
    pub snapshot_entries: u64,
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
    Stop(oneshot::Sender<()>),
}

impl Submission {
    pub fn readings(&self) -> &[PendingReading] {
        match self {
            Self::Readings(group, _) => &group.readings,
            _ => &[],
        }
    }

    fn refuse(self, error: RecordError) {
        let (Self::Events(_, answer) | Self::Readings(_, answer) | Self::AcceptClock(_, answer)) = self
        else {
            return;
        };
        // Whoever asked may have gone; there is nobody to tell.
        let _ = answer.send(Err(error));
    }
}

/// Somebody who is answered when the commit is durable.
pub(super) struct Pending {
    answer: oneshot::Sender<GroupAnswer>,
    result: GroupAnswer,
    want_entries: bool,
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
        let checkpointer = Arc::new(Checkpointer::open(
            &settings.origin,
            ports.signer.clone(),
            ports.checkpoints.clone(),
            &*ports.tiles,
            ports.log.size(),
        )?);
        let preparer = DayPreparer::start(ports.derived.clone())?;
        let positions = StreamPositions::default();
        let loaded = load(
            &settings.origin,
            &*ports.log,
            &*ports.tiles,
            &*ports.derived,
            &registry,
            &positions,
            &preparer,
        )?;
        let now = ClockReading {
            wall: ports.clock.now(),
            monotonic: ports.clock.monotonic(),
        };
        let guard = ClockGuard::new(now, settings.build_date, loaded.state.last_recorded_at);
        let mut seed = [0u8; 32];
        ports.entropy.fill(&mut seed);
        let status = Arc::new(RwLock::new(Status {
            writing: Writing::Yes,
            size: loaded.state.size(),
            last_recorded_at: loaded.state.last_recorded_at,
            commits: 0,
            streams: loaded.state.streams.len() as u64,
            open_day: loaded.state.day.date,
        }));
        let (queue, submissions) = sync_channel(QUEUE_GROUPS);
        let heads = settings.heads.clone();
        let now = Instant::now();
        let mut owner = Owner {
            snapshot_at: loaded.state.size(),
            state: Some(loaded.state),
            recent_from: loaded.recent_from,
            positions: positions.clone(),
            ports,
            settings,
            registry,
            guard,
            rng: rand_chacha::ChaCha12Rng::from_seed(seed),
            batch: Batch::new(),
            checkpointer: checkpointer.clone(),
            preparer,
            status: status.clone(),
            told: now,
            failed_at: None,
            observed_at: None,
            saving: None,
        };
        owner.finish_heads()?;
        if let Some(state) = &owner.state
            && !state.size().is_empty()
        {
            checkpointer.committed(state.size(), state.frontier.root());
        }
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
        Ok(Self {
            queue,
            status,
            positions,
            checkpointer,
            heads,
            threads,
        })
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

fn stopping() -> RecordError {
    RecordError::Unavailable {
        reason: "the service is stopping".into(),
        code: "stopping",
        outcome_unknown: false,
    }
}

struct Owner {
    /// `None` while the store fails: memory is not trusted until it was loaded again.
    state: Option<State>,
    recent_from: TreeSize,
    positions: StreamPositions,
    ports: Ports,
    settings: Settings,
    registry: Arc<RwLock<Registry>>,
    guard: ClockGuard,
    rng: rand_chacha::ChaCha12Rng,
    batch: Batch,
    checkpointer: Arc<Checkpointer>,
    preparer: DayPreparer,
    status: Arc<RwLock<Status>>,
    told: Instant,
    failed_at: Option<Instant>,
    observed_at: Option<Timestamp>,
    snapshot_at: TreeSize,
    /// The thread that keeps a snapshot.
    saving: Option<JoinHandle<()>>,
}

impl Owner {
    fn run(mut self, submissions: &Receiver<Submission>) {
        let mut gathered: Vec<Submission> = Vec::new();
        loop {
            let stop = gather(submissions, &mut gathered);
            self.tick();
            if !gathered.is_empty() {
                self.take(&mut gathered);
            }
            match stop {
                Gathered::GoOn => {}
                Gathered::Stop(done) => {
                    self.finish();
                    // The one who stops us may have gone.
                    let _ = done.send(());
                    return;
                }
                Gathered::Abandoned => {
                    self.finish();
                    return;
                }
            }
        }
    }

    /// What is due even when nothing comes.
    fn tick(&mut self) {
        if self.state.is_none() {
            self.retry();
        }
        let Some(state) = &mut self.state else { return };
        let streams = state.streams.len() as u64;
        let enough = self
            .settings
            .snapshot_entries
            .max(streams * SNAPSHOT_ENTRIES_A_STREAM);
        if state.size().since(self.snapshot_at) >= enough {
            self.snapshot_beside();
        }
        let Some((now, _)) = self.believe_clock() else {
            return;
        };
        self.close_days(now);
        self.tell_preparer(now);
        self.observe_clock(now);
    }

    /// Which streams moved, where it is time to tell.
    fn tell_preparer(&mut self, now: Timestamp) {
        let Some(state) = &mut self.state else { return };
        let soon = now.date().next().start().since(now) <= SOON_US;
        let (due, interval) = if soon {
            (Due::Soon, TELL_SOON)
        } else {
            (Due::Later, TELL)
        };
        if self.told.elapsed() >= interval || state.touched.len() >= TELL_STREAMS {
            self.told = Instant::now();
            self.preparer.moved(state.take_touched(), due);
        }
    }

    /// The clock and whether it stepped; `None` while it is not believed.
    fn believe_clock(&mut self) -> Option<(Timestamp, bool)> {
        let now = ClockReading {
            wall: self.ports.clock.now(),
            monotonic: self.ports.clock.monotonic(),
        };
        match self.guard.check(now) {
            ClockState::Plausible => {}
            ClockState::Stepped(by_us) => {
                tracing::warn!(by_us, "the clock was stepped");
                self.observed_at = None;
            }
            ClockState::Implausible(reason) => {
                self.set_writing(Writing::ClockImplausible(reason));
                return None;
            }
        }
        let unbelieved = matches!(self.status.read().writing, Writing::ClockImplausible(_));
        if unbelieved {
            self.set_writing(Writing::Yes);
        }
        Some((now.wall, self.observed_at.is_none()))
    }

    fn set_writing(&self, writing: Writing) {
        let mut status = self.status.write();
        if status.writing != writing {
            match writing {
                Writing::Yes | Writing::Stopping => {
                    tracing::info!(?writing, "whether entries are written changed")
                }
                _ => tracing::warn!(?writing, "whether entries are written changed"),
            }
            status.writing = writing;
        }
    }

    fn refusal(&self) -> Option<RecordError> {
        let unavailable = |reason: &String, code| RecordError::Unavailable {
            reason: reason.clone(),
            code,
            outcome_unknown: false,
        };
        match &self.status.read().writing {
            Writing::Yes => None,
            Writing::StoreFailing(reason) => Some(unavailable(reason, "disk")),
            Writing::ClockImplausible(reason) => Some(unavailable(reason, "clock_implausible")),
            Writing::Corrupt(reason) => Some(RecordError::Corrupt(reason.clone())),
            Writing::Stopping => Some(stopping()),
        }
    }

    /// Records what was gathered as one commit, after closing the days that are over.
    fn take(&mut self, gathered: &mut Vec<Submission>) {
        for submission in gathered.iter() {
            if matches!(submission, Submission::AcceptClock(..)) {
                self.guard.accept();
            }
        }
        let now = self.believe_clock().map(|(now, _)| now);
        if let Some(now) = now.filter(|_| self.state.is_some()) {
            self.close_days(now);
        }
        let (Some(now), true, None) = (now, self.state.is_some(), self.refusal()) else {
            let error = self.refusal().unwrap_or_else(stopping);
            gathered.drain(..).for_each(|s| s.refuse(error.clone()));
            return;
        };
        self.begin(now);
        match self.decide(gathered) {
            Ok(()) => self.commit(),
            Err(broken) => self.broken(&broken),
        }
    }

    fn begin(&mut self, now: Timestamp) {
        let last = self.state.as_ref().and_then(|s| s.last_recorded_at);
        let held = last.is_some_and(|last| now < last);
        let recorded_at = last.map_or(now, |last| now.max(last));
        if let (true, Some(state), Some(last)) = (held, &mut self.state, last) {
            state.day.held_us = state.day.held_us.max(last.since(now));
        }
        self.batch.begin(recorded_at, held);
    }

    fn decide(&mut self, gathered: &mut Vec<Submission>) -> Result<(), Broken> {
        let Some(state) = &mut self.state else {
            return Err(Broken("no state".into()));
        };
        let mut deciding = Deciding {
            state,
            batch: &mut self.batch,
            registry: &self.registry,
            seen: &*self.ports.seen,
            channels: &*self.ports.channels,
            rng: &mut self.rng,
            looked_up: None,
            cursor: TreeSize::EMPTY,
            recent_from: self.recent_from,
            group_from: 0,
        };
        if let Err(error) = deciding.look_up(gathered) {
            tracing::warn!(error, "the raw projection does not answer");
            deciding.looked_up = None;
        }
        let mut failure = None;
        for submission in gathered.drain(..) {
            let want_entries = matches!(&submission, Submission::Readings(group, _) if group.want_entries);
            let (result, answer) = match submission {
                Submission::Events(group, answer) => (deciding.group(&group), answer),
                Submission::Readings(group, answer) => (deciding.readings(&group), answer),
                Submission::AcceptClock(event, answer) => (
                    deciding.group(&EventGroup {
                        events: vec![(event, None)],
                        ..EventGroup::default()
                    }),
                    answer,
                ),
                Submission::Stop(_) => continue,
            };
            match result {
                Ok(result) => deciding.batch.answers.push(Pending {
                    answer,
                    result,
                    want_entries,
                }),
                Err(broken) => {
                    let result = Err(unknown("the commit could not be put together"));
                    deciding.batch.answers.push(Pending {
                        answer,
                        result,
                        want_entries,
                    });
                    failure = Some(broken);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Has the commit made durable, and only then answers.
    fn commit(&mut self) {
        let Some(state) = &self.state else { return };
        if self.batch.leaves.is_empty() {
            self.answer_all();
            return;
        }
        let size = state.size();
        let root = state.frontier.root();
        let expected = TreeSize(size.get() - self.batch.leaves.len() as u64);
        let appended = block_on(self.ports.log.append(Append {
            expected,
            entries: &self.batch.entries,
            leaf_hashes: &self.batch.leaves,
            root,
            tile_nodes: self.batch.nodes.above(),
        }));
        match appended {
            Ok(()) => self.committed(size, root),
            Err(error) => self.failed(&error),
        }
    }

    fn committed(&mut self, size: TreeSize, root: domain::Hash) {
        let recorded_at = self.batch.recorded_at;
        if let Some(state) = &mut self.state {
            state.last_recorded_at = Some(recorded_at);
            let mut status = self.status.write();
            status.size = size;
            status.last_recorded_at = Some(recorded_at);
            status.commits += 1;
            status.streams = state.streams.len() as u64;
            status.open_day = state.day.date;
        }
        self.answer_all();
        self.checkpointer.committed(size, root);
    }

    fn answer_all(&mut self) {
        let Some(state) = &self.state else { return };
        let (size, root) = (state.size(), state.frontier.root());
        let first = size.get() - self.batch.leaves.len() as u64;
        for Pending {
            answer,
            mut result,
            want_entries,
        } in self.batch.answers.drain(..)
        {
            if let Ok(recorded) = &mut result {
                (recorded.size, recorded.root) = (size, root);
                if want_entries && !recorded.replayed {
                    recorded.entries = entries_of(&self.batch.entries, &self.batch.leaves, first, recorded);
                }
            }
            // Whoever asked may have gone; the entry is there all the same.
            let _ = answer.send(result);
        }
    }

    fn failed(&mut self, error: &AppendError) {
        tracing::error!(%error, "a commit failed");
        let (writing, answer) = match error {
            AppendError::Refused(reason) => (
                Writing::StoreFailing(reason.clone()),
                RecordError::Unavailable {
                    reason: reason.clone(),
                    code: "disk",
                    outcome_unknown: false,
                },
            ),
            AppendError::Unknown(reason) => (Writing::StoreFailing(reason.clone()), unknown(reason)),
            AppendError::Stale { .. } | AppendError::Corrupt(_) => (
                Writing::Corrupt(error.to_string()),
                RecordError::Corrupt(error.to_string()),
            ),
        };
        self.set_writing(writing);
        self.give_up(&answer);
    }

    fn broken(&mut self, broken: &Broken) {
        tracing::error!(error = %broken, "a commit could not be put together; loading the state again");
        self.set_writing(Writing::StoreFailing(broken.0.clone()));
        self.give_up(&unknown(&broken.0));
    }

    /// Answers everybody with `error` and forgets the state; the next tick loads it again.
    fn give_up(&mut self, error: &RecordError) {
        for Pending { answer, result, .. } in self.batch.answers.drain(..) {
            // Whoever asked may have gone. A refusal stays what it was.
            let _ = answer.send(result.and(Err(error.clone())));
        }
        self.state = None;
        self.failed_at = Some(Instant::now());
    }

    /// Brings store and state back, at most once in [`RETRY`].
    fn retry(&mut self) {
        let corrupt = matches!(self.status.read().writing, Writing::Corrupt(_));
        if corrupt || self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
            return;
        }
        self.failed_at = Some(Instant::now());
        match block_on(self.ports.log.recover()) {
            Ok(_) => {}
            Err(AppendError::Corrupt(reason)) => return self.set_writing(Writing::Corrupt(reason)),
            Err(error) => return self.set_writing(Writing::StoreFailing(error.to_string())),
        }
        let loaded = load(
            &self.settings.origin,
            &*self.ports.log,
            &*self.ports.tiles,
            &*self.ports.derived,
            &self.registry,
            &self.positions,
            &self.preparer,
        );
        match loaded {
            Ok(mut loaded) => {
                // The day is not unclean: refusals are counted by somebody who did not stop.
                loaded.state.day.unclean = false;
                self.recent_from = loaded.recent_from;
                let (size, root) = (loaded.state.size(), loaded.state.frontier.root());
                self.status.write().size = size;
                self.state = Some(loaded.state);
                self.set_writing(Writing::Yes);
                if !size.is_empty() {
                    self.checkpointer.committed(size, root);
                }
                if let Err(error) = self.finish_heads() {
                    tracing::error!(%error, "a head is missing");
                }
            }
            Err(LoadError::Corrupt { position, reason }) => {
                self.set_writing(Writing::Corrupt(format!("position {position}: {reason}")));
            }
            Err(error) => self.set_writing(Writing::StoreFailing(error.to_string())),
        }
    }

    /// Closes every day before today, each in a commit of its own that ends with its head.
    fn close_days(&mut self, now: Timestamp) {
        loop {
            let Some(state) = &self.state else { return };
            let Some(open) = state.day.date else { return };
            let today = state.last_recorded_at.map_or(now, |last| last.max(now)).date();
            let busy = state.day.counts.total() > 0;
            let Some(&(first, last)) = days_to_close(open, today, busy).first() else {
                return;
            };
            if self.refusal().is_some() || !self.close_day(now, first, last) {
                return;
            }
        }
    }

    fn close_day(&mut self, now: Timestamp, first: Date, last: Date) -> bool {
        self.begin(now);
        let Some(state) = &mut self.state else {
            return false;
        };
        let begun = Instant::now();
        let Some((root, count)) = self.preparer.close(last, state.take_touched()) else {
            return false;
        };
        let closed = DayClosed {
            date: last,
            idle_since: (first != last).then_some(first),
            first_position: state.day.first_position,
            size: state.size(),
            root: state.frontier.root(),
            entries: state.day.counts.entries(),
            refused: state.day.counts.refused().clone(),
            unclean: state.day.unclean,
            streams: StreamsOfDay { root, count },
            clock: ClockOfDay {
                source: "system".into(),
                max_offset_ms: None,
                held_s: (state.day.held_us / 1_000_000) as u64,
            },
            previous: state.day.previous,
        };
        tracing::info!(date = %last, streams = count, pause_ms = begun.elapsed().as_millis() as u64, "closing the day");
        let Ok(event) = system_event(DAY_CLOSED, &closed) else {
            return false;
        };
        match self.record_own(event) {
            Ok(recorded) => {
                self.make_head(last, recorded.size, recorded.root);
                true
            }
            Err(error) => {
                tracing::error!(%error, "a day was not closed");
                false
            }
        }
    }

    /// Records one event of the sequencer's own, now.
    fn record_own(&mut self, event: NewEvent) -> GroupAnswer {
        let (answer, mut answered) = oneshot::channel();
        let group = EventGroup {
            events: vec![(event, None)],
            ..EventGroup::default()
        };
        let mut gathered = vec![Submission::Events(group, answer)];
        match self.decide(&mut gathered) {
            Ok(()) => self.commit(),
            Err(broken) => self.broken(&broken),
        }
        answered
            .try_recv()
            .unwrap_or_else(|_| Err(unknown("not recorded")))
    }

    fn make_head(&self, date: Date, size: TreeSize, root: domain::Hash) {
        let made = self
            .checkpointer
            .sign(size, root)
            .map_err(|e| e.to_string())
            .and_then(|checkpoint| {
                let entry = self.entry_before(size)?;
                let head = crate::heads::head(&*self.ports.tiles, &entry, size, &checkpoint)?;
                self.settings.heads.put(date, &head).map_err(|e| e.to_string())
            });
        if let Err(error) = made {
            tracing::error!(%date, error, "no head made; it is made at the next start");
        }
    }

    fn entry_before(&self, size: TreeSize) -> Result<Vec<u8>, String> {
        let last = size.last().ok_or("an empty ledger has no head")?;
        let block = block_on(self.ports.log.read_at(&[last])).map_err(|e| e.to_string())?;
        Ok(block.get(0).ok_or("the entry is gone")?.1.to_vec())
    }

    /// Makes the heads that a crash between a day's closing and its signing left unmade.
    fn finish_heads(&mut self) -> Result<(), CheckpointError> {
        let Some(state) = &self.state else { return Ok(()) };
        let closings = self.positions.of("ledger", "main");
        let signed = self
            .checkpointer
            .latest()
            .map_or(TreeSize::EMPTY, |(size, _)| size);
        let late: Vec<_> = closings
            .into_iter()
            .filter(|p| p.size_through() >= signed && state.size().contains(*p))
            .collect();
        for position in late {
            let size = position.size_through();
            let Ok(bytes) = self.entry_before(size) else {
                continue;
            };
            let Ok(entry) = domain::entry::Entry::read(&bytes) else {
                continue;
            };
            if entry.event_type != DAY_CLOSED {
                continue;
            }
            let Ok(closed) = serde_json::from_slice::<DayClosed>(entry.payload) else {
                continue;
            };
            if self.settings.heads.get(closed.date).is_some() {
                continue;
            }
            let root = domain::merkle::Frontier::from_nodes(size, &*self.ports.tiles)
                .map_err(|e| CheckpointError::Unreadable(e.to_string()))?
                .root();
            self.make_head(closed.date, size, root);
        }
        Ok(())
    }

    /// `ClockObserved` at start, hourly, and after each step.
    fn observe_clock(&mut self, now: Timestamp) {
        let due = self.observed_at.is_none_or(|at| now.since(at) >= OBSERVE_US);
        let begun = self.state.as_ref().is_some_and(|s| !s.size().is_empty());
        if !due || !begun || self.refusal().is_some() {
            return;
        }
        self.observed_at = Some(now);
        let payload = serde_json::json!({
            "source": "system",
            "offset_ms": null,
            "uncertainty_ms": null,
            "synchronised": null,
            "wall": now.to_string(),
        });
        self.begin(now);
        if let Ok(event) = system_event("ClockObserved", &payload)
            && let Err(error) = self.record_own(event)
        {
            tracing::warn!(%error, "the clock was not recorded");
        }
    }

    /// Keeps the state while readings go on; one that is still being written is not overtaken.
    fn snapshot_beside(&mut self) {
        let Some(state) = &self.state else { return };
        if self.saving.as_ref().is_some_and(|saving| !saving.is_finished()) {
            return;
        }
        self.snapshot_at = state.size();
        let bytes = snapshot::write(state, false);
        let derived = self.ports.derived.clone();
        self.join_saving();
        match std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || keep_snapshot(&*derived, &bytes))
        {
            Ok(saving) => self.saving = Some(saving),
            Err(error) => tracing::warn!(%error, "no thread for the sequencer's snapshot"),
        }
    }

    fn join_saving(&mut self) {
        if let Some(saving) = self.saving.take()
            && saving.join().is_err()
        {
            tracing::error!("the thread that keeps the snapshot panicked");
        }
    }

    /// The last commit was made: sign it, keep the state.
    fn finish(&mut self) {
        if let Some(state) = &self.state
            && !state.size().is_empty()
            && let Err(error) = self.checkpointer.sign(state.size(), state.frontier.root())
        {
            tracing::error!(%error, "the last position was not signed");
        }
        self.join_saving();
        if let Some(state) = &self.state {
            keep_snapshot(&*self.ports.derived, &snapshot::write(state, true));
        }
        self.set_writing(Writing::Stopping);
    }
}

fn keep_snapshot(derived: &dyn DerivedStore, bytes: &[u8]) {
    if let Err(error) = derived.save(SNAPSHOT, bytes) {
        tracing::warn!(
            error,
            "the sequencer's snapshot was not kept; the next start takes longer"
        );
    }
}

enum Gathered {
    GoOn,
    Stop(oneshot::Sender<()>),
    Abandoned,
}

/// Waits for a submission, then takes what else is there, up to one commit.
fn gather(submissions: &Receiver<Submission>, gathered: &mut Vec<Submission>) -> Gathered {
    let (mut entries, mut bytes) = (0, 0);
    let mut next = match submissions.recv_timeout(TICK) {
        Ok(first) => Some(first),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => return Gathered::Abandoned,
    };
    while let Some(submission) = next {
        match submission {
            Submission::Stop(done) => return Gathered::Stop(done),
            Submission::Readings(..) | Submission::Events(..) | Submission::AcceptClock(..) => {
                let more = submission.readings().len().max(1);
                entries += more;
                bytes += more * 512;
                gathered.push(submission);
            }
        }
        if entries >= COMMIT_ENTRIES || bytes >= COMMIT_BYTES {
            break;
        }
        next = submissions.try_recv().ok();
    }
    Gathered::GoOn
}

fn entries_of(
    entries: &domain::ports::EntryBlock,
    leaves: &[domain::Hash],
    first: u64,
    recorded: &Recorded,
) -> Vec<RecordedEntry> {
    recorded
        .positions
        .clone()
        .filter_map(|position| {
            let at = usize::try_from(position.checked_sub(first)?).ok()?;
            let (position, bytes) = entries.get(at)?;
            Some(RecordedEntry {
                position,
                leaf_hash: *leaves.get(at)?,
                bytes: bytes.to_vec(),
            })
        })
        .collect()
}

fn unknown(reason: &str) -> RecordError {
    RecordError::Unavailable {
        reason: reason.to_owned(),
        code: "disk",
        outcome_unknown: true,
    }
}

/// An event of the ledger's own stream, by `system:sequencer`.
pub fn system_event<T: serde::Serialize>(
    event_type: &'static str,
    payload: &T,
) -> Result<NewEvent, domain::canonical::CanonicalError> {
    use domain::canonical::Canonical;
    Ok(NewEvent {
        aggregate_type: "ledger".into(),
        aggregate_id: "main".into(),
        event_type: event_type.into(),
        event_version: "1.0".into(),
        payload: Canonical::from_serialize(payload)?,
        metadata: Canonical::of(&serde_json::json!({"actor": "system:sequencer"}))?,
        salt: None,
    })
}

/// Runs a future on this thread; drivers that work at once are polled once.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
