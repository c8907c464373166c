//! The projector: a thread that follows the ledger and folds what it reads, a batch a transaction.
//!
//! Derived. Invariants: the cursor that is announced is committed; entries are read from the ledger and not from
//! a queue, so being behind costs time and no memory; a batch is as many entries as wait, within limits.
//! *Pace*: unless it is behind or somebody waits, the projector rests three times as long as a batch took, so
//! that it gathers more for the next and leaves three quarters of a core to ingest.
//! *Trouble*: what may pass is tried again each second; a damaged file is folded again from nothing; an entry
//! that does not read stops the projector, which says so.
//! Not here: the transaction (`store`), filling a second file (`rebuild`).

use crate::error::ProjectionError;
use crate::readers::Readers;
use crate::rebuild::{self, Progress};
use crate::store::{Cursor, Found, Roots, Store};
use crate::waiting::{run, run_until};
use domain::ports::{Clock, EntryBlock, EventLog};
use domain::{Position, Timestamp, TreeSize};
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use tokio::sync::watch;

/// Fewest entries that a batch may be limited to, on a machine that is slow.
const BATCH_ENTRIES_MIN: usize = 2_000;
/// Most entries of a batch: beyond it, folding gains little and a failure repeats more. What is gathered of each
/// value until the batch is written takes 40 bytes.
const BATCH_ENTRIES_MAX: usize = 500_000;
/// Most bytes that are read for a batch.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Entries and bytes of one read from the ledger: what stays in the processor's cache until it is folded.
const READ_ENTRIES: usize = 1_024;
const READ_BYTES: usize = 1024 * 1024;
/// A batch that took longer halves the limit: whoever waits for a change of configuration waits for a batch.
const BATCH_LONG: Duration = Duration::from_millis(1_000);
/// A full batch that took less doubles it.
const BATCH_SHORT: Duration = Duration::from_millis(300);
/// Rests are this many times the batch's duration …
const REST_FACTOR: u32 = 3;
/// … and at most this, which bounds how old a page is.
const REST_MAX: Duration = Duration::from_secs(1);
/// With more entries waiting there is no rest. What is written of each device and bucket costs the same however
/// many readings it is written for, so a busy service gains by gathering.
const BEHIND_ENTRIES: u64 = 300_000;
/// Between two tries when something failed that may pass.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How the projector does.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// How far the rows reach.
    pub cursor: Cursor,
    /// How far the ledger reaches.
    pub size: TreeSize,
    /// Entries that wait.
    pub lag_entries: u64,
    /// Seconds from the newest applied entry to now; 0 when nothing waits.
    pub lag_seconds: f64,
    /// Whether the rows are being folded from nothing, or have not reached the size found at start.
    pub catching_up: bool,
    /// What is wrong, in words.
    pub trouble: Option<String>,
}

/// What the thread and those who ask share.
pub(crate) struct Shared {
    pub(crate) readers: Readers,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    announced: watch::Sender<TreeSize>,
    /// The size up to which anything but readings was folded; told once that is committed.
    facts: watch::Sender<TreeSize>,
    cursor: Mutex<Cursor>,
    trouble: Mutex<Option<String>>,
    /// Up to this size the write side cannot know what was recorded, so answers about it must wait.
    ready_at: AtomicU64,
    /// The largest size that somebody waits for.
    wanted: AtomicU64,
    stop: AtomicBool,
    swapping: AtomicBool,
}

impl Shared {
    pub(crate) fn size(&self) -> TreeSize {
        *self.announced.borrow()
    }

    pub(crate) fn is_catching_up(&self) -> bool {
        self.size().get() < self.ready_at.load(Ordering::Acquire)
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.swapping.load(Ordering::Acquire)
    }

    fn hurried(&self) -> bool {
        self.interrupted() || self.wanted.load(Ordering::Acquire) > self.size().get()
    }

    /// Whoever waits is told only of what is committed, and finds no trouble that is over.
    fn announce(&self, cursor: Cursor) {
        if self.trouble.lock().take().is_some() {
            tracing::info!("the projector goes on");
        }
        *self.cursor.lock() = cursor;
        self.announced.send_replace(cursor.size);
    }

    /// Tells those who wait, so that they can give up.
    fn complain(&self, error: &ProjectionError) {
        *self.trouble.lock() = Some(error.to_string());
        self.announced.send_modify(|_| {});
    }
}

struct Swap {
    store: Store,
    done: SyncSender<Result<(), ProjectionError>>,
}

/// The running projector. Dropping it stops it.
pub struct Projector {
    shared: Arc<Shared>,
    thread: Thread,
    join: Option<JoinHandle<()>>,
    swaps: SyncSender<Swap>,
    rebuilding: Mutex<()>,
    roots: Arc<dyn Roots>,
    found: Found,
}

impl Projector {
    /// Opens the file (see [`Store::open`]) and starts the thread.
    ///
    /// # Errors
    /// [`ProjectionError`] where the file cannot be opened or the ledger does not answer.
    pub fn start(
        path: &Path,
        log: Arc<dyn EventLog>,
        roots: Arc<dyn Roots>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ProjectionError> {
        let (store, found) = Store::open(path, &*roots)?;
        let shared = Arc::new(Shared {
            readers: Readers::new(path),
            announced: watch::Sender::new(store.cursor().size),
            facts: watch::Sender::new(store.cursor().size),
            cursor: Mutex::new(store.cursor()),
            trouble: Mutex::new(None),
            ready_at: AtomicU64::new(log.size().get()),
            wanted: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            swapping: AtomicBool::new(false),
            log,
            clock,
        });
        let (swaps, receive) = sync_channel(1);
        let worker = Worker {
            shared: shared.clone(),
            roots: roots.clone(),
            store: Some(store),
            batch_max: BATCH_ENTRIES_MAX / 2,
            swaps: receive,
            restarts: 0,
        };
        // A driver may need its runtime around it when it is polled.
        let runtime = tokio::runtime::Handle::try_current().ok();
        let join = std::thread::Builder::new()
            .name("projector".to_owned())
            .spawn(move || {
                let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
                worker.run();
            })
            .map_err(|error| ProjectionError::File {
                path: "the projector's thread".to_owned(),
                error,
            })?;
        Ok(Self {
            shared,
            thread: join.thread().clone(),
            join: Some(join),
            swaps,
            rebuilding: Mutex::new(()),
            roots,
            found,
        })
    }

    /// What was found when the file was opened.
    pub fn found(&self) -> Found {
        self.found
    }

    /// The size that the rows reflect.
    pub fn cursor(&self) -> TreeSize {
        self.shared.size()
    }

    /// Entries that wait.
    pub fn lag_entries(&self) -> u64 {
        self.shared.log.size().since(self.cursor())
    }

    /// Whether it cannot go on for now: who waits for it waits in vain.
    pub fn in_trouble(&self) -> bool {
        self.shared.trouble.lock().is_some()
    }

    /// How it does.
    pub fn status(&self) -> Status {
        let cursor = *self.shared.cursor.lock();
        let size = self.shared.log.size();
        let lag_entries = size.since(cursor.size);
        let behind_us = self.shared.clock.now().since(cursor.recorded_at).max(0);
        let nothing_yet = cursor.recorded_at == Timestamp::default();
        Status {
            cursor,
            size,
            lag_entries,
            lag_seconds: if lag_entries == 0 || nothing_yet {
                0.0
            } else {
                behind_us as f64 / 1e6
            },
            catching_up: self.shared.is_catching_up(),
            trouble: self.shared.trouble.lock().clone(),
        }
    }

    /// The questions, from any thread.
    pub fn read_model(&self) -> crate::ReadModel {
        crate::ReadModel::new(self.shared.clone())
    }

    /// Completes with `true` once the rows reflect the entry at `position`, with `false` after `timeout`.
    /// Hurries the projector. Needs a tokio runtime with time.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> bool {
        self.hurry(position);
        let mut sizes = self.shared.announced.subscribe();
        let passed = sizes.wait_for(|size| size.contains(position));
        matches!(tokio::time::timeout(timeout, passed).await, Ok(Ok(_)))
    }

    /// Waits on this thread until the rows reflect the entry at `position`; `false` when the projector stopped
    /// or is in trouble.
    pub fn wait_here(&self, position: Position) -> bool {
        self.hurry(position);
        let mut sizes = self.shared.announced.subscribe();
        let given_up = || self.shared.stop.load(Ordering::Acquire) || self.shared.trouble.lock().is_some();
        let passed = run_until(sizes.wait_for(|size| size.contains(position)), given_up);
        matches!(passed, Some(Ok(_)))
    }

    /// Changes whenever anything but readings was folded: then somebody may have to be told of something.
    pub fn facts(&self) -> watch::Receiver<TreeSize> {
        self.shared.facts.subscribe()
    }

    /// Has the entry at `position` folded soon, without waiting for it.
    pub fn hurry(&self, position: Position) {
        // Never beyond the ledger: who waits for what is not there must not keep everybody in a hurry.
        let wanted = position.size_through().min(self.shared.log.size());
        self.shared.wanted.fetch_max(wanted.get(), Ordering::AcqRel);
        self.thread.unpark();
    }

    /// Folds the ledger again into a second file, then swaps: questions are answered from the old rows until
    /// then. Blocks; `progress` may break it off.
    ///
    /// # Errors
    /// [`ProjectionError`]; the old rows stay.
    pub fn rebuild(
        &self,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), ProjectionError> {
        let _one_at_a_time = self.rebuilding.lock();
        let beside = rebuild::beside(self.shared.readers.path());
        let store = rebuild::fill(&*self.shared.log, &*self.roots, &beside, progress)?;
        let (done, outcome) = sync_channel(1);
        self.shared.swapping.store(true, Ordering::Release);
        let sent = self.swaps.send(Swap { store, done });
        self.thread.unpark();
        let outcome = match sent {
            Ok(()) => outcome.recv().unwrap_or(Err(ProjectionError::Stopped)),
            Err(_) => Err(ProjectionError::Stopped),
        };
        self.shared.swapping.store(false, Ordering::Release);
        outcome
    }

    /// Stops after the batch at hand.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.unpark();
        if let Some(join) = self.join.take()
            && join.join().is_err()
        {
            tracing::error!("the projector's thread panicked");
        }
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        self.end();
    }
}

struct Worker {
    shared: Arc<Shared>,
    roots: Arc<dyn Roots>,
    /// `None` only while the file is being changed for another.
    store: Option<Store>,
    batch_max: usize,
    swaps: Receiver<Swap>,
    /// How often the file was folded again since a batch succeeded.
    restarts: u32,
}

impl Worker {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.swap_if_asked();
            match self.step() {
                Ok(()) => self.restarts = 0,
                Err(ProjectionError::Stopped) => {}
                Err(error) => self.trouble(&error),
            }
        }
        if let Some(store) = &self.store
            && let Err(error) = store.settle()
        {
            tracing::warn!(%error, "the read models' write-ahead log was not copied");
        }
    }

    /// One batch, or a wait for entries.
    fn step(&mut self) -> Result<(), ProjectionError> {
        if self.store.is_none() {
            self.open_again()?;
        }
        let store = self.store.as_mut().ok_or(ProjectionError::Stopped)?;
        let size = store.cursor().size;
        if self.shared.log.size() <= size {
            let shared = &self.shared;
            run_until(shared.log.follow(size), || shared.interrupted());
            return Ok(());
        }
        let began = self.shared.clock.monotonic();
        let mut unread = Unread::new(&*self.shared.log, size, self.batch_max);
        let facts = store.facts();
        let cursor = store.apply(&mut unread, &*self.roots)?;
        let entries = unread.entries;
        let only_readings = store.facts() == facts;
        let took = self.shared.clock.monotonic().saturating_sub(began);
        if !only_readings {
            self.shared.facts.send_replace(cursor.size);
        }
        self.shared.announce(cursor);
        tracing::debug!(
            size = cursor.size.get(),
            entries,
            took_us = took.as_micros() as u64,
            "projected"
        );
        if took > BATCH_LONG {
            self.batch_max = (self.batch_max / 2).max(BATCH_ENTRIES_MIN);
        } else if took < BATCH_SHORT && entries >= self.batch_max {
            self.batch_max = (self.batch_max * 2).min(BATCH_ENTRIES_MAX);
        }
        if self.shared.log.size().since(cursor.size) < BEHIND_ENTRIES {
            self.rest((took * REST_FACTOR).min(REST_MAX));
        }
        Ok(())
    }

    /// Rests unless somebody is in a hurry.
    fn rest(&self, duration: Duration) {
        let until = self.shared.clock.monotonic() + duration;
        while !self.shared.hurried() {
            let left = until.saturating_sub(self.shared.clock.monotonic());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    fn trouble(&mut self, error: &ProjectionError) {
        tracing::error!(%error, "the projector cannot go on");
        self.shared.complain(error);
        if !error.may_pass() && self.restarts == 0 && !matches!(error, ProjectionError::Entry { .. }) {
            self.restarts += 1;
            match self.restart() {
                Ok(()) => return,
                Err(error) => self.shared.complain(&error),
            }
        }
        self.pause(TRY_AGAIN);
    }

    /// Like `rest`, but no hurry ends it.
    fn pause(&self, duration: Duration) {
        let until = self.shared.clock.monotonic() + duration;
        while !self.shared.interrupted() {
            let left = until.saturating_sub(self.shared.clock.monotonic());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Opens what a failed swap or restart left behind.
    fn open_again(&mut self) -> Result<(), ProjectionError> {
        let (store, _) = Store::open(self.shared.readers.path(), &*self.roots)?;
        self.shared.announce(store.cursor());
        self.shared.facts.send_replace(store.cursor().size);
        self.store = Some(store);
        Ok(())
    }

    /// Begins with an empty file, because what is there is damaged.
    fn restart(&mut self) -> Result<(), ProjectionError> {
        let shared = self.shared.clone();
        let path = shared.readers.path().to_owned();
        shared.ready_at.store(shared.log.size().get(), Ordering::Release);
        let store = shared.readers.while_closed(|| {
            self.store = None;
            Store::create(&path)
        })?;
        shared.announce(store.cursor());
        self.store = Some(store);
        Ok(())
    }

    fn swap_if_asked(&mut self) {
        match self.swaps.try_recv() {
            Ok(Swap { store, done }) => {
                let outcome = self.swap(store);
                if let Err(error) = &outcome {
                    tracing::error!(%error, "the rebuilt read models were not taken");
                }
                self.shared.swapping.store(false, Ordering::Release);
                // Whoever asked may have gone; the swap is done all the same.
                let _ = done.try_send(outcome);
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }

    /// Brings the second file level with the first and puts it in its place. A crash on the way leaves one of
    /// them whole, or none, which is folded anew.
    fn swap(&mut self, mut second: Store) -> Result<(), ProjectionError> {
        let live = self.shared.size();
        while second.cursor().size < live {
            if self.shared.stop.load(Ordering::Acquire) {
                return Err(ProjectionError::Stopped);
            }
            let mut unread = Unread::new(&*self.shared.log, second.cursor().size, self.batch_max);
            second.apply(&mut unread, &*self.roots)?;
        }
        let path = self.shared.readers.path().to_owned();
        let shared = self.shared.clone();
        // Readers close first: the writer then is the last, which copies its write-ahead log and removes it.
        let moved = shared.readers.while_closed(|| {
            self.store = None;
            rebuild::replace(second, &path)
        });
        // Whatever happened, go on with the file that is there; `step` tries again where that fails.
        moved.and(self.open_again())
    }
}

/// What waits behind a size, read from the ledger block by block: at least one entry if there is one, at most
/// `entries_max` or so.
pub(crate) struct Unread<'a> {
    log: &'a dyn EventLog,
    from: Position,
    entries_max: usize,
    /// Entries that were read.
    pub(crate) entries: usize,
    bytes: usize,
}

impl<'a> Unread<'a> {
    pub(crate) fn new(log: &'a dyn EventLog, size: TreeSize, entries_max: usize) -> Self {
        Self {
            log,
            from: size.next_position(),
            entries_max,
            entries: 0,
            bytes: 0,
        }
    }
}

impl Iterator for Unread<'_> {
    type Item = Result<EntryBlock, ProjectionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.entries_max.saturating_sub(self.entries);
        if left == 0 || self.bytes >= BATCH_BYTES_MAX || !self.log.size().contains(self.from) {
            return None;
        }
        let block = match run(self.log.read(self.from, READ_ENTRIES.min(left), READ_BYTES)) {
            Ok(block) => block,
            Err(error) => return Some(Err(error.into())),
        };
        self.from = self.from.plus(block.len() as u64);
        self.entries += block.len();
        self.bytes += block.bytes().len();
        (!block.is_empty()).then_some(Ok(block))
    }
}
