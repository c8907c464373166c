//! Alerting: the process that follows the ledger, lets the rules decide, and records what they decided.
//!
//! One thread, with a cursor of its own. It reads the ledger and not a queue, so being behind costs time and no memory,
//! and delays nothing but itself. What is due is recorded through the same door as everything else, in the order in
//! which it was decided, each with the sequence that its stream must have.
//! *Crashes*: between deciding and recording, folding again finds it due; after recording, folding finds its entry and
//! it is not due any more. Where the outcome of recording is unknown, nothing more is recorded until the ledger was
//! followed to a size at which everything sent before is there or never will be. So no decision is lost or recorded
//! twice.
//! *Snapshots* are written by a thread of their own from a copy: an alarm does not wait for them.
//! *Deadlines*: time passes with entries. Where a deadline is over and no entry came, `DeadlineReached` is recorded, at
//! which everything due by then is decided: by the time of that entry, the same for whoever replays.
//! Source: DESIGN "Determinism", "The way of a command"; docs/rules.md.
//! Not here: deciding (`domain::rule::engine`), the fold (`fold`), telling people (`api`).

mod fold;
mod snapshot;
#[cfg(test)]
mod tests;

pub use fold::{ACTOR, Due, Fold, FoldError, Unexpected};

use crate::sequencer::{DerivedStore, EventGroup, RecordError, Sequencer, StreamPositions, Writing};
use domain::canonical::{Canonical, CanonicalError};
use domain::entry::NewEvent;
use domain::event::rule::DeadlineReached;
use domain::event::{EVENT_VERSION, Event, Metadata};
use domain::ports::{Clock, EventLog, TileStore};
use domain::{Position, Timestamp, TreeSize};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Entries and bytes of one read from the ledger.
const READ_ENTRIES: usize = 4_096;
const READ_BYTES: usize = 4 << 20;
/// Most decisions of one group: a commit stays small enough that readings do not wait for it.
const GROUP_DECISIONS: usize = 512;
/// Between two tries when something failed that may pass.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for a deadline before the clock is asked again, which may have been set meanwhile.
const LOOK: Duration = Duration::from_millis(250);
/// Between two `DeadlineReached`: an idle service with many deadlines writes at most one a second.
const TICK_US: i64 = 1_000_000;
/// Entries after which the state is kept beside the ledger: what a start after a crash has to follow again.
const SNAPSHOT_ENTRIES: u64 = 1_000_000;
/// The stream of `DeadlineReached`, of no account: time passes for all.
const DEADLINES: &str = "deadlines";

/// What alerting needs.
#[derive(Clone)]
pub struct AlertingPorts {
    /// The ledger.
    pub log: Arc<dyn EventLog>,
    /// Its hashes.
    pub tiles: Arc<dyn TileStore>,
    /// What can be made again.
    pub derived: Arc<dyn DerivedStore>,
    /// The door into the ledger.
    pub sequencer: Sequencer,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Told of the newest entry of a group that records what became of alarms, so that whoever tells people of them
    /// need not come upon it. Must not block.
    pub alarms: Arc<dyn Fn(Position) + Send + Sync>,
}

/// How alerting does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// How far the ledger was followed.
    pub size: TreeSize,
    /// Entries that wait.
    pub lag_entries: u64,
    /// Seconds from the newest entry followed to now; 0 when nothing waits.
    pub lag_s: f64,
    /// Decisions that are not recorded yet.
    pub due: u64,
    /// Decisions recorded by this process.
    pub recorded: u64,
    /// `DeadlineReached` recorded by this process.
    pub ticks: u64,
    /// Readings that came too late for a rule to look at; a recompute looks at them.
    pub too_late: u64,
    /// From the commit of the deciding entry to the commit of the decision, milliseconds, of the newest one.
    pub latency_ms: f64,
    /// When the next deadline is over.
    pub next_deadline: Option<Timestamp>,
    /// Entries that say they are decisions and that the rules did not make.
    pub unexpected: u64,
    /// Whether the ledger as it was found at start has not been followed yet.
    pub catching_up: bool,
    /// What is wrong, in words.
    pub trouble: Option<String>,
}

struct Shared {
    status: Mutex<Status>,
    stopping: watch::Sender<bool>,
    followed: watch::Sender<TreeSize>,
}

/// The running process.
pub struct Alerting {
    shared: Arc<Shared>,
    ports: AlertingPorts,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Alerting {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where there is no thread.
    pub fn start(ports: AlertingPorts) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            status: Mutex::new(Status {
                catching_up: true,
                ..Status::default()
            }),
            stopping: watch::Sender::new(false),
            followed: watch::Sender::new(TreeSize::EMPTY),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let worker = Worker {
            ports: ports.clone(),
            shared: Arc::clone(&shared),
            settled: ports.log.size(),
            began: ports.log.size(),
            kept: TreeSize::EMPTY,
            ticked_at: Timestamp::default(),
            stale_at: TreeSize::EMPTY,
            keeping: None,
        };
        let thread = std::thread::Builder::new()
            .name("alerting".to_owned())
            .spawn(move || runtime.block_on(worker.run()))?;
        Ok(Self {
            shared,
            ports,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// How it does.
    pub fn status(&self) -> Status {
        let mut status = self.shared.status.lock().clone();
        let size = self.ports.log.size();
        status.lag_entries = size.since(status.size);
        if status.lag_entries == 0 {
            status.lag_s = 0.0;
        }
        status
    }

    /// Completes with `true` once everything before `size` was decided and recorded, with `false` after `timeout`.
    /// Needs a runtime with time.
    pub async fn wait_for(&self, size: TreeSize, timeout: Duration) -> bool {
        let mut followed = self.shared.followed.subscribe();
        let passed = followed.wait_for(|followed| *followed >= size);
        matches!(tokio::time::timeout(timeout, passed).await, Ok(Ok(_)))
    }

    /// Records what is due, keeps the state and ends the thread. Blocks; the sequencer must still run.
    pub fn stop(&self) {
        self.shared.stopping.send_replace(true);
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of alerting panicked");
        }
    }
}

impl Drop for Alerting {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Worker {
    ports: AlertingPorts,
    shared: Arc<Shared>,
    /// Nothing is recorded before the ledger was followed so far: what was sent before is below it, or nowhere.
    settled: TreeSize,
    /// The size at start.
    began: TreeSize,
    /// The size that the kept state is of.
    kept: TreeSize,
    ticked_at: Timestamp,
    /// The size at which a group was last found to be stale.
    stale_at: TreeSize,
    /// Writes what is kept.
    keeping: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kept_beside();
    }
}

/// What came of an attempt to record.
enum Tried {
    Recorded,
    /// Follow the ledger and look again.
    Again,
    /// Wait a little.
    Later,
}

impl Worker {
    async fn run(mut self) {
        let (log, tiles) = (self.ports.log.clone(), self.ports.tiles.clone());
        let positions = self.ports.sequencer.positions().clone();
        let mut fold = Fold::load(&*log, &*tiles, &*self.ports.derived, &positions).await;
        self.kept = fold.size();
        loop {
            if let Err(reason) = self.follow(&mut fold).await {
                self.trouble(&reason);
                if self.rest(TRY_AGAIN).await {
                    return;
                }
                // What was read in part is thrown away with what it made of the engine.
                fold = Fold::load(&*log, &*tiles, &*self.ports.derived, &positions).await;
                continue;
            }
            let stopping = self.is_stopping();
            if !fold.due().is_empty() && fold.size() >= self.settled {
                match self.record(&fold).await {
                    Tried::Recorded | Tried::Again => continue,
                    Tried::Later if stopping => {}
                    Tried::Later => {
                        self.rest(TRY_AGAIN).await;
                        continue;
                    }
                }
            }
            if fold.size() < self.settled && !stopping {
                self.rest(LOOK).await;
                continue;
            }
            if stopping {
                if fold.size() > self.kept {
                    self.keep(&fold);
                }
                return;
            }
            self.shared.followed.send_replace(fold.size());
            if self.tick(&fold).await {
                continue;
            }
            self.wait(&fold).await;
        }
    }

    fn is_stopping(&self) -> bool {
        *self.shared.stopping.borrow()
    }

    /// Follows the ledger to its end.
    async fn follow(&mut self, fold: &mut Fold) -> Result<(), String> {
        let (log, tiles) = (self.ports.log.clone(), self.ports.tiles.clone());
        let mut unexpected = Vec::new();
        let end = log.size();
        while fold.size() < end {
            if self.is_stopping() && fold.size() < self.began {
                // A long way to go: the next start goes on from what was kept.
                break;
            }
            let from = fold.size().next_position();
            let block = log
                .read(from, READ_ENTRIES, READ_BYTES)
                .await
                .map_err(|e| e.to_string())?;
            for (position, bytes) in block.iter() {
                fold.entry(position, bytes, &*tiles, &mut unexpected)
                    .map_err(|e| e.to_string())?;
            }
            self.show(fold, unexpected.len() as u64);
            for it in unexpected.drain(..) {
                tracing::warn!(
                    position = it.position.get(),
                    what = it.what,
                    "not a decision of the rules"
                );
            }
            if fold.size().since(self.kept) >= SNAPSHOT_ENTRIES {
                self.keep_beside(fold);
            }
        }
        Ok(())
    }

    fn show(&self, fold: &Fold, unexpected: u64) {
        let now = self.ports.clock.now();
        let mut status = self.shared.status.lock();
        status.size = fold.size();
        status.lag_s = now.since(fold.recorded_at()).max(0) as f64 / 1e6;
        status.due = fold.due().len() as u64;
        let too_late = fold.engine().too_late();
        if too_late > status.too_late && !status.catching_up {
            tracing::warn!(
                readings = too_late - status.too_late,
                "came too late for their rules to look at; a recompute of their channels does"
            );
        }
        status.too_late = too_late;
        status.next_deadline = fold.engine().next_deadline();
        status.unexpected += unexpected;
        status.catching_up = fold.size() < self.began;
        if status.trouble.take().is_some() {
            tracing::info!("alerting goes on");
        }
    }

    /// Sends what is due, oldest first.
    async fn record(&mut self, fold: &Fold) -> Tried {
        if self.ports.sequencer.status().writing != Writing::Yes {
            self.trouble("the ledger takes nothing now");
            return Tried::Later;
        }
        let some: Vec<&Due> = fold.due().iter().take(GROUP_DECISIONS).collect();
        let group = match as_group(&some, self.ports.sequencer.positions()) {
            Ok(group) => group,
            Err(error) => {
                self.trouble(&error.to_string());
                return Tried::Later;
            }
        };
        match self.ports.sequencer.record(group).await {
            Ok(recorded) => {
                self.settled = recorded.size;
                if some.iter().any(|due| due.aggregate_type == "alarm") {
                    (self.ports.alarms)(Position(recorded.positions.end.saturating_sub(1)));
                }
                let mut status = self.shared.status.lock();
                status.recorded += some.len() as u64;
                if let Some(last) = some.last() {
                    status.latency_ms = recorded.recorded_at.since(last.decided_at) as f64 / 1e3;
                }
                Tried::Recorded
            }
            Err(RecordError::Stale { stream, .. }) if self.stale_at == fold.size() => {
                self.trouble(&format!("{stream} has entries that the rules did not make"));
                Tried::Later
            }
            Err(RecordError::Stale { .. }) => {
                self.stale_at = fold.size();
                Tried::Again
            }
            Err(error) => {
                self.trouble(&error.to_string());
                // What may have been recorded all the same is in the ledger once it takes something again.
                self.unsure().await;
                Tried::Later
            }
        }
    }

    /// Waits until the ledger takes something again, or the stop begins.
    async fn unsure(&mut self) {
        while self.ports.sequencer.status().writing != Writing::Yes {
            if self.rest(TRY_AGAIN).await {
                return;
            }
        }
        self.settled = self.settled.max(self.ports.log.size());
    }

    /// Records that a deadline is over, where it is and nothing else was recorded since.
    async fn tick(&mut self, fold: &Fold) -> bool {
        let now = self.ports.clock.now();
        let Some(deadline) = fold.engine().next_deadline().filter(|deadline| *deadline <= now) else {
            return false;
        };
        if now.since(self.ticked_at).abs() < TICK_US || self.ports.sequencer.status().writing != Writing::Yes
        {
            return false;
        }
        self.ticked_at = now;
        let Ok(event) = tick(deadline) else {
            return false;
        };
        let group = EventGroup {
            events: vec![(event, None)],
            ..EventGroup::default()
        };
        match self.ports.sequencer.record(group).await {
            Ok(_) => {
                self.shared.status.lock().ticks += 1;
                true
            }
            Err(error) => {
                self.trouble(&error.to_string());
                false
            }
        }
    }

    /// Waits for an entry, a deadline or the stop.
    async fn wait(&self, fold: &Fold) {
        let mut stopping = self.shared.stopping.subscribe();
        let deadline = async {
            match fold.engine().next_deadline() {
                None => std::future::pending().await,
                Some(deadline) => {
                    let left_us = deadline.since(self.ports.clock.now()).max(0) as u64;
                    // A deadline that is over waits for the pause between two of them.
                    let left = Duration::from_micros(left_us).max(Duration::from_millis(10));
                    tokio::time::sleep(left.min(LOOK)).await;
                }
            }
        };
        tokio::select! {
            _ = self.ports.log.follow(fold.size()) => {}
            () = deadline => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Pauses; gives whether the stop began.
    async fn rest(&self, duration: Duration) -> bool {
        let mut stopping = self.shared.stopping.subscribe();
        let stopped = stopping.wait_for(|stopping| *stopping);
        tokio::time::timeout(duration, stopped).await.is_ok()
    }

    fn keep(&mut self, fold: &Fold) {
        self.kept_beside();
        match fold.keep(&*self.ports.tiles, &*self.ports.derived) {
            Ok(()) => self.kept = fold.size(),
            Err(error) => tracing::warn!(error, "what the rules remember was not kept"),
        }
    }

    /// Waits for what is being written.
    fn kept_beside(&mut self) {
        if let Some(keeping) = self.keeping.take()
            && keeping.join().is_err()
        {
            tracing::error!("the thread that keeps what the rules remember panicked");
        }
    }

    /// Keeps the fold as it is now while it goes on; with ten thousand channels, writing it takes a second or more.
    fn keep_beside(&mut self, fold: &Fold) {
        if self
            .keeping
            .as_ref()
            .is_some_and(|keeping| !keeping.is_finished())
        {
            return;
        }
        self.kept = fold.size();
        let image = match snapshot::Image::of(fold, &*self.ports.tiles) {
            Ok(image) => image,
            Err(error) => return tracing::warn!(error, "what the rules remember cannot be kept"),
        };
        let derived = Arc::clone(&self.ports.derived);
        let keep = move || {
            if let Err(error) = image.save(&*derived) {
                tracing::warn!(error, "what the rules remember was not kept");
            }
        };
        let thread = std::thread::Builder::new().name("alerting-keeps".to_owned());
        match thread.spawn(keep) {
            // One that ended before needs no join.
            Ok(keeping) => self.keeping = Some(keeping),
            Err(error) => tracing::warn!(%error, "what the rules remember was not kept"),
        }
    }

    fn trouble(&self, reason: &str) {
        let mut status = self.shared.status.lock();
        if status.trouble.as_deref() != Some(reason) {
            tracing::warn!(reason, "alerting is in trouble");
            status.trouble = Some(reason.to_owned());
        }
    }
}

/// Decisions as the group of events that records them, each with the sequence that its stream must have.
///
/// # Errors
/// [`CanonicalError`] where one cannot be written.
pub fn as_group(some: &[&Due], positions: &StreamPositions) -> Result<EventGroup, CanonicalError> {
    let mut ahead: HashMap<(&str, &str), u64> = HashMap::new();
    let mut events = Vec::with_capacity(some.len());
    for due in some {
        let more = ahead.entry((&due.aggregate_type, &due.aggregate_id)).or_default();
        let expected = match due.event_type.as_str() {
            // Whatever else is in that stream, an alarm opens once.
            "AlarmOpened" => 0,
            _ => positions.count(&due.aggregate_type, &due.aggregate_id) + *more,
        };
        *more += 1;
        events.push((event(due, expected == 0)?, Some(expected)));
    }
    Ok(EventGroup {
        events,
        ..EventGroup::default()
    })
}

/// A decision as the event that records it.
fn event(due: &Due, first: bool) -> Result<NewEvent, CanonicalError> {
    let metadata = Metadata {
        account: Some(due.account.to_string()),
        actor: Some(ACTOR.to_owned()),
        causation_id: Some(due.decided_by),
        owner: first.then(|| due.owner.to_string()),
        ..Metadata::default()
    };
    Ok(NewEvent {
        aggregate_type: due.aggregate_type.clone().into(),
        aggregate_id: due.aggregate_id.clone(),
        event_type: due.event_type.clone().into(),
        event_version: EVENT_VERSION.into(),
        payload: Canonical::trusted(due.payload.clone().into_bytes()),
        metadata: metadata.write()?,
        salt: None,
    })
}

fn tick(deadline: Timestamp) -> Result<NewEvent, domain::event::EventError> {
    let event = Event::DeadlineReached(DeadlineReached { at: deadline });
    Ok(NewEvent {
        aggregate_type: event.aggregate_type().into(),
        aggregate_id: DEADLINES.to_owned(),
        event_type: event.event_type().into(),
        event_version: EVENT_VERSION.into(),
        payload: event.payload(None)?,
        metadata: Canonical::of(&serde_json::json!({ "actor": ACTOR }))?,
        salt: None,
    })
}
