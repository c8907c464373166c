//! The thread that owns the order: it gathers what waits, decides it as one commit, and has that written.
//!
//! `closing` what it records of its own accord, `rotation` the entry that brings a new key into force.
//! Not here: the handle (`handle`), what a commit holds (`batch`), how it becomes durable (`commit`).

mod closing;
mod rotation;

use super::batch::{Batch, Broken, Deciding};
use super::checkpoints::Checkpointer;
use super::clock::{ClockGuard, ClockState, Reading as ClockReading};
use super::commit::{Commit, Committer, Pending, answer, refuse, set_writing, unknown};
use super::days::{DayPreparer, DerivedStore, Due};
use super::handle::{Ports, Settings, StartError, Submission, stopping};
use super::recover::{LoadError, SNAPSHOT, load};
use super::rotate::{NextKey, RotationOrder, Settled};
use super::snapshot;
use super::state::{State, StreamPositions};
use super::types::{EventGroup, GroupAnswer, RecordError, Status, Writing};
use domain::entry::NewEvent;
use domain::ports::AppendError;
use domain::registry::Registry;
use domain::{Date, Timestamp, TreeSize};
use parking_lot::RwLock;
use rand_core::SeedableRng;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

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
/// Entries after which a new snapshot is kept, where nobody says otherwise.
pub const SNAPSHOT_ENTRIES: u64 = 500_000;
/// At least so many for each stream, since a snapshot is as large as the streams are many.
const SNAPSHOT_ENTRIES_A_STREAM: u64 = 8;
/// From so many entries on a commit is written beside, where nobody says otherwise: fewer are decided in less time
/// than a change of threads is worth.
pub const BESIDE_ENTRIES: usize = 128;

/// What of an open day stands in no entry, kept while the state is loaded again.
#[derive(Debug, Clone, Copy)]
struct GivenUp {
    date: Option<Date>,
    unclean: bool,
    held_us: i64,
}

pub(super) struct Owner {
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
    /// Rises by one with each commit.
    commits: u64,
    committer: Committer,
    checkpointer: Arc<Checkpointer>,
    preparer: DayPreparer,
    status: Arc<RwLock<Status>>,
    told: Instant,
    failed_at: Option<Instant>,
    observed_at: Option<Timestamp>,
    given_up: Option<GivenUp>,
    snapshot_at: TreeSize,
    /// The key that is being brought into force.
    next_key: Option<NextKey>,
    /// The thread that keeps a snapshot.
    saving: Option<JoinHandle<()>>,
}

impl Owner {
    /// Loads the state and makes the heads that a crash left unmade.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(
        ports: Ports,
        settings: Settings,
        registry: Arc<RwLock<Registry>>,
        positions: StreamPositions,
        checkpointer: Arc<Checkpointer>,
        next_key: Option<NextKey>,
    ) -> Result<(Self, Option<Settled>), StartError> {
        let preparer = DayPreparer::start(ports.derived.clone())?;
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
        let committer = Committer::start(
            ports.log.clone(),
            checkpointer.clone(),
            status.clone(),
            settings.beside_entries,
        )?;
        let mut owner = Self {
            snapshot_at: loaded.state.size(),
            state: Some(loaded.state),
            recent_from: loaded.recent_from,
            positions,
            ports,
            settings,
            registry,
            guard,
            rng: rand_chacha::ChaCha12Rng::from_seed(seed),
            batch: Batch::new(),
            commits: 0,
            committer,
            checkpointer,
            preparer,
            status,
            told: Instant::now(),
            failed_at: None,
            observed_at: None,
            given_up: None,
            next_key,
            saving: None,
        };
        let settled = owner.settle_rotation()?;
        owner.finish_heads()?;
        if let Some(state) = &owner.state
            && !state.size().is_empty()
        {
            owner.checkpointer.committed(state.size(), state.frontier.root());
        }
        Ok((owner, settled))
    }

    /// What others see.
    pub fn status(&self) -> Arc<RwLock<Status>> {
        self.status.clone()
    }

    /// Until it is stopped.
    pub fn run(mut self, submissions: &Receiver<Submission>) {
        let mut gathered: Vec<Submission> = Vec::new();
        loop {
            let stop = gather(submissions, &mut gathered);
            self.look_after_commit(gathered.is_empty());
            self.tick();
            if !gathered.is_empty() {
                self.take(&mut gathered);
            }
            match stop {
                Gathered::GoOn => {}
                Gathered::Rotate(order, answer) => {
                    // The one who asked may have gone.
                    let _ = answer.send(self.rotate(*order));
                }
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

    /// Takes note of a commit that was written beside; waits for it where there is nothing else to do.
    fn look_after_commit(&mut self, idle: bool) {
        let landed = if idle {
            self.committer.land()
        } else {
            self.committer.land_if_done()
        };
        if let Err(error) = landed {
            self.give_up(&error);
        }
    }

    /// Waits until everything that was decided is durable; whether it is.
    fn land(&mut self) -> bool {
        match self.committer.land() {
            Ok(()) => true,
            Err(error) => {
                self.give_up(&error);
                false
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

    /// What is stored contradicts itself: for good.
    fn distrust(&self, reason: String) {
        self.set_writing(Writing::Corrupt(reason));
        self.checkpointer.distrust();
    }

    fn set_writing(&self, writing: Writing) {
        set_writing(&self.status, writing);
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
        self.commits += 1;
        self.batch.begin(self.commits, recorded_at, held);
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
                Submission::Rotate(..) | Submission::Stop(_) => continue,
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

    /// Has what was decided written, once what was decided before it is durable.
    fn commit(&mut self) {
        if !self.land() {
            return;
        }
        let Some(state) = &mut self.state else { return };
        let (size, root) = (state.size(), state.frontier.root());
        if self.batch.leaves.is_empty() {
            answer(&mut self.batch, size, root);
            return;
        }
        state.last_recorded_at = Some(self.batch.recorded_at);
        let commit = Commit {
            batch: std::mem::replace(&mut self.batch, self.committer.next_batch()),
            size,
            root,
            streams: state.streams.len() as u64,
            open_day: state.day.date,
        };
        if let Err(error) = self.committer.commit(commit) {
            self.give_up(&error);
        }
    }

    /// Records one event of the sequencer's own, now; returns when it is durable.
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
        self.land();
        answered
            .try_recv()
            .unwrap_or_else(|_| Err(unknown("not recorded")))
    }

    fn broken(&mut self, broken: &Broken) {
        tracing::error!(error = %broken, "a commit could not be put together; loading the state again");
        if !self.land() {
            return;
        }
        self.set_writing(Writing::StoreFailing(broken.0.clone()));
        self.give_up(&unknown(&broken.0));
    }

    /// Answers everybody with `error` and forgets the state; the next tick loads it again.
    fn give_up(&mut self, error: &RecordError) {
        refuse(&mut self.batch, error);
        if let Some(state) = &self.state {
            self.given_up = Some(GivenUp {
                date: state.day.date,
                unclean: state.day.unclean,
                held_us: state.day.held_us,
            });
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
            Err(AppendError::Corrupt(reason)) => return self.distrust(reason),
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
                // Whether the day is unclean is what it was: refusals are counted by somebody who did not stop.
                let day = &mut loaded.state.day;
                let before = self.given_up.filter(|before| before.date == day.date);
                day.unclean = before.is_some_and(|before| before.unclean);
                day.held_us = day.held_us.max(before.map_or(0, |before| before.held_us));
                self.recent_from = loaded.recent_from;
                let (size, root) = (loaded.state.size(), loaded.state.frontier.root());
                self.status.write().size = size;
                self.state = Some(loaded.state);
                let settled = self.settle_rotation().map(|_| ());
                if let Err(error) = settled.and_then(|()| self.finish_heads()) {
                    self.set_writing(Writing::StoreFailing(error.to_string()));
                    return self.give_up(&unknown(&error.to_string()));
                }
                self.set_writing(Writing::Yes);
                if !size.is_empty() {
                    self.checkpointer.committed(size, root);
                }
            }
            Err(LoadError::Corrupt { position, reason }) => {
                self.distrust(format!("position {position}: {reason}"));
            }
            Err(error) => self.set_writing(Writing::StoreFailing(error.to_string())),
        }
    }

    /// Keeps the state while readings go on; one that is still being written is not overtaken.
    fn snapshot_beside(&mut self) {
        // What is kept must not be ahead of the ledger, nor of one that is not trusted.
        let damaged = matches!(self.status.read().writing, Writing::Corrupt(_));
        if damaged || !self.land() {
            return;
        }
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
        self.land();
        if matches!(self.status.read().writing, Writing::Corrupt(_)) {
            // Neither a signature nor a kept state may vouch for what does not hold.
            self.join_saving();
            return self.set_writing(Writing::Stopping);
        }
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
    Rotate(Box<RotationOrder>, oneshot::Sender<GroupAnswer>),
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
            // What came before it is one commit, it is one of its own.
            Submission::Rotate(order, answer) => return Gathered::Rotate(order, answer),
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
