//! What is done beside appending: syncing the derived files, and sealing full segments.
//!
//! Invariants: the mark is written after everything it covers was synced; one upkeep runs at a time; a derived file
//! whose sync failed stops appending until `recover` has written it again, because the kernel forgets.
//! Not here: how a segment is sealed (`seal`).

use super::mark::Mark;
use super::seal::SealError;
use super::segment::folder;
use super::view::Part;
use super::{Inner, Ledger};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A quiet ledger's derived files are synced this often, so that a start after a crash is quick.
const PERIOD: Duration = Duration::from_secs(30);

/// Who does the upkeep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// A thread of the ledger's own.
    InBackground,
    /// Whoever calls [`Ledger::upkeep_now`].
    WhenAsked,
}

/// Why upkeep was not finished. The ledger is whole, and the next upkeep goes on.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The derived files could not be synced.
    #[error("syncing the derived files: {0}")]
    Sync(io::Error),
    /// A segment could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The upkeep's thread.
pub(super) struct UpkeepThread {
    queue: SyncSender<Message>,
    thread: JoinHandle<()>,
}

enum Message {
    Work,
    Stop,
}

impl UpkeepThread {
    pub(super) fn start(inner: Arc<Inner>) -> io::Result<Self> {
        let (queue, messages) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("ledger-upkeep".to_owned())
            .spawn(move || work(&inner, &messages))?;
        Ok(Self { queue, thread })
    }

    fn stop(self) {
        // A full queue is emptied by the thread; a closed one means that it is gone.
        let _ = self.queue.send(Message::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the ledger's upkeep panicked");
        }
    }
}

fn work(inner: &Inner, messages: &Receiver<Message>) {
    loop {
        let message = messages.recv_timeout(PERIOD);
        if let Err(error) = inner.upkeep() {
            tracing::warn!(%error, "the ledger's upkeep was not finished");
        }
        if matches!(message, Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected)) {
            return;
        }
    }
}

impl Ledger {
    /// Syncs the derived files and seals every full segment.
    ///
    /// # Errors
    /// [`UpkeepError`]; what was done stays done.
    pub fn upkeep_now(&self) -> Result<(), UpkeepError> {
        self.inner.upkeep()
    }

    /// Ends the upkeep, after a last one. Entries can still be appended and read.
    pub fn stop(&self) {
        let thread = self.upkeep.lock().take();
        if let Some(thread) = thread {
            thread.stop();
        }
    }

    /// Asks for upkeep soon.
    pub(super) fn kick(&self) {
        if let Some(thread) = &*self.upkeep.lock() {
            // A full queue means that it has been asked already.
            let _ = thread.queue.try_send(Message::Work);
        }
    }
}

/// What upkeep remembers from one time to the next.
#[derive(Default)]
pub(super) struct UpkeepState {
    mark: Option<Mark>,
    /// A segment that cannot be sealed is not tried again by this process.
    gave_up: bool,
}

/// The state's lock is what lets one upkeep run at a time.
pub(super) type UpkeepLock = Mutex<UpkeepState>;

impl Inner {
    pub(super) fn upkeep(&self) -> Result<(), UpkeepError> {
        let mut state = self.upkeep_state.lock();
        let Some(mark) = self.sync_derived(&mut state).map_err(UpkeepError::Sync)? else {
            return Ok(());
        };
        while !state.gave_up {
            match self.seal_one(mark.segment) {
                Ok(Some(segment)) => tracing::info!(segment, "segment sealed"),
                Ok(None) => break,
                Err(error) => {
                    state.gave_up = self.after_failed_seal(&error);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Whether sealing is given up until the next start.
    fn after_failed_seal(&self, error: &SealError) -> bool {
        match error {
            SealError::Io(_) => false,
            SealError::Manifest(_) => {
                self.fail(&error.to_string());
                false
            }
            SealError::Differs { .. } | SealError::ReadBack { .. } => {
                tracing::error!(%error, "a segment cannot be sealed: run doctor");
                *self.trouble.lock() = Some(error.to_string());
                true
            }
        }
    }

    /// Makes the derived files durable and says so in the mark; `None` where nothing may be synced.
    fn sync_derived(&self, state: &mut UpkeepState) -> io::Result<Option<Mark>> {
        let Some(mark) = self.mark_now() else {
            return Ok(None);
        };
        if state.mark == Some(mark) {
            return Ok(Some(mark));
        }
        if let Err(error) = self.sync_files() {
            self.fail(&format!("syncing hashes or index: {error}"));
            return Err(error);
        }
        // A mark that is not written only means that the next start reads more.
        mark.store(&*self.disk, &self.dir)
            .map_err(|error| io::Error::new(error.io().kind(), error.io().to_string()))?;
        state.mark = Some(mark);
        self.synced.store(mark.size, Ordering::Relaxed);
        Ok(Some(mark))
    }

    /// The frame's border at which the ledger is; everything below it is written.
    fn mark_now(&self) -> Option<Mark> {
        let guard = self.writer.lock();
        let writer = guard.as_ref()?;
        if self.failed.lock().is_some() {
            return None;
        }
        Some(Mark {
            size: writer.size,
            root: writer.root,
            segment: writer.segment.number,
            last_frame: writer.last_frame,
        })
    }

    fn sync_files(&self) -> io::Result<()> {
        self.hashes.sync()?;
        let view = self.view.read().clone();
        for part in &view.parts {
            if let Part::Plain(segment) = part
                && let Some(index) = segment.index.file()
            {
                index.sync_data()?;
            }
        }
        self.disk.sync_dir(&folder(&self.dir))
    }
}
