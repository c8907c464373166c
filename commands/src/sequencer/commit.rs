//! The last step of a commit: it is made durable, and then everybody in it is answered.
//!
//! A large commit is written by a thread of its own, so that the next one is decided, encoded and hashed while the
//! disk works; a small one is written where it was decided, which spares the change of threads.
//! Invariants: one commit is being written at a time, and the next is handed over only after it became durable; so
//! commits are answered in their order, and when one fails, what was decided on top of it was never written.
//! Not here: what is in a commit (`batch`), what follows from a failure (`owner`).

use super::batch::Batch;
use super::checkpoints::Checkpointer;
use super::owner::block_on;
use super::types::{GroupAnswer, RecordError, Recorded, RecordedEntry, Status, Writing};
use domain::ports::{Append, AppendError, EntryBlock, EventLog};
use domain::{Date, Hash, TreeSize};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Somebody who is answered when the commit is durable.
pub(super) struct Pending {
    pub answer: oneshot::Sender<GroupAnswer>,
    pub result: GroupAnswer,
    pub want_entries: bool,
}

/// A commit that was decided, and how the ledger is behind it.
pub(super) struct Commit {
    pub batch: Batch,
    pub size: TreeSize,
    pub root: Hash,
    pub streams: u64,
    pub open_day: Option<Date>,
}

/// What became of a commit that was written beside.
type Landed = (Batch, Result<(), RecordError>);

/// Writes commits and answers those who wait for them.
#[derive(Clone)]
struct Pen {
    log: Arc<dyn EventLog>,
    checkpointer: Arc<Checkpointer>,
    status: Arc<RwLock<Status>>,
}

/// Has commits written, here or beside.
pub(super) struct Committer {
    pen: Pen,
    commits: SyncSender<Commit>,
    landed: Receiver<Landed>,
    thread: Option<JoinHandle<()>>,
    /// Whether a commit is being written beside.
    away: bool,
    /// From so many entries on, commits are written beside.
    beside_entries: usize,
    /// The memory of a commit that landed.
    spare: Option<Batch>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(
        log: Arc<dyn EventLog>,
        checkpointer: Arc<Checkpointer>,
        status: Arc<RwLock<Status>>,
        beside_entries: usize,
    ) -> std::io::Result<Self> {
        let pen = Pen {
            log,
            checkpointer,
            status,
        };
        let (commits, next) = sync_channel::<Commit>(1);
        let (back, landed) = sync_channel(1);
        let beside = pen.clone();
        let thread = std::thread::Builder::new()
            .name("commits".into())
            .spawn(move || {
                for mut commit in next {
                    let result = beside.write(&mut commit);
                    if back.send((commit.batch, result)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            pen,
            commits,
            landed,
            thread: Some(thread),
            away: false,
            beside_entries: beside_entries.max(1),
            spare: None,
        })
    }

    /// Memory for the next commit.
    pub fn next_batch(&mut self) -> Batch {
        self.spare.take().unwrap_or_else(Batch::new)
    }

    /// Has a commit written. Nothing may be away: see [`Committer::land`].
    ///
    /// # Errors
    /// Where it was written here and failed: everybody in it has been told.
    pub fn commit(&mut self, commit: Commit) -> Result<(), RecordError> {
        let mut commit = if commit.batch.leaves.len() < self.beside_entries {
            commit
        } else {
            match self.commits.send(commit) {
                Ok(()) => {
                    self.away = true;
                    return Ok(());
                }
                Err(unsent) => unsent.0,
            }
        };
        let result = self.pen.write(&mut commit);
        self.spare = Some(commit.batch);
        result
    }

    /// Waits for the commit that is away, if there is one.
    ///
    /// # Errors
    /// Where it failed: everybody in it has been told, and the state behind it is not the ledger's.
    pub fn land(&mut self) -> Result<(), RecordError> {
        if !self.away {
            return Ok(());
        }
        let landed = self.landed.recv().ok();
        self.take(landed)
    }

    /// The same for a commit that has landed; does not wait.
    ///
    /// # Errors
    /// As for [`Committer::land`].
    pub fn land_if_done(&mut self) -> Result<(), RecordError> {
        if !self.away {
            return Ok(());
        }
        match self.landed.try_recv() {
            Ok(landed) => self.take(Some(landed)),
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => self.take(None),
        }
    }

    fn take(&mut self, landed: Option<Landed>) -> Result<(), RecordError> {
        self.away = false;
        let Some((batch, result)) = landed else {
            return Err(unknown("the thread that writes commits is gone"));
        };
        self.spare = Some(batch);
        result
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Its queue closes, which ends the thread after what it has.
        self.commits = sync_channel(1).0;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes commits panicked");
        }
    }
}

impl Pen {
    /// Makes a commit durable, and only then answers.
    fn write(&self, commit: &mut Commit) -> Result<(), RecordError> {
        let Commit {
            batch, size, root, ..
        } = commit;
        let appended = block_on(self.log.append(Append {
            expected: TreeSize(size.get() - batch.leaves.len() as u64),
            entries: &batch.entries,
            leaf_hashes: &batch.leaves,
            root: *root,
            tile_nodes: batch.nodes.above(),
        }));
        match appended {
            Ok(()) => {
                self.tell(commit);
                answer(&mut commit.batch, commit.size, commit.root);
                self.checkpointer.committed(commit.size, commit.root);
                Ok(())
            }
            Err(error) => {
                let error = self.failed(&error);
                refuse(&mut commit.batch, &error);
                Err(error)
            }
        }
    }

    fn tell(&self, commit: &Commit) {
        let mut status = self.status.write();
        status.size = commit.size;
        status.last_recorded_at = Some(commit.batch.recorded_at);
        status.commits += 1;
        status.streams = commit.streams;
        status.open_day = commit.open_day;
    }

    fn failed(&self, error: &AppendError) -> RecordError {
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
            AppendError::Stale { .. } | AppendError::Corrupt(_) => {
                self.checkpointer.distrust();
                (
                    Writing::Corrupt(error.to_string()),
                    RecordError::Corrupt(error.to_string()),
                )
            }
        };
        set_writing(&self.status, writing);
        answer
    }
}

/// Says whether entries are written. A ledger that was found damaged stays so until the process ends.
pub(super) fn set_writing(status: &RwLock<Status>, writing: Writing) {
    let mut status = status.write();
    let damaged = matches!(status.writing, Writing::Corrupt(_)) && writing != Writing::Stopping;
    if status.writing != writing && !damaged {
        match writing {
            Writing::Yes | Writing::Stopping => {
                tracing::info!(?writing, "whether entries are written changed")
            }
            _ => tracing::warn!(?writing, "whether entries are written changed"),
        }
        status.writing = writing;
    }
}

/// Answers everybody in a commit that is durable.
pub(super) fn answer(batch: &mut Batch, size: TreeSize, root: Hash) {
    let first = size.get() - batch.leaves.len() as u64;
    for Pending {
        answer,
        mut result,
        want_entries,
    } in batch.answers.drain(..)
    {
        if let Ok(recorded) = &mut result {
            (recorded.size, recorded.root) = (size, root);
            if want_entries && !recorded.replayed {
                recorded.entries = entries_of(&batch.entries, &batch.leaves, first, recorded);
            }
        }
        // Whoever asked may have gone; the entry is there all the same.
        let _ = answer.send(result);
    }
}

/// Answers everybody in a commit that came to nothing. Also who was refused: the reason may have been something that
/// now did not happen. Only what is too large is so whatever happens.
pub(super) fn refuse(batch: &mut Batch, error: &RecordError) {
    for Pending { answer, result, .. } in batch.answers.drain(..) {
        let error = match result {
            Err(too_large @ RecordError::TooLarge(_)) => too_large,
            _ => error.clone(),
        };
        // Whoever asked may have gone.
        let _ = answer.send(Err(error));
    }
}

fn entries_of(entries: &EntryBlock, leaves: &[Hash], first: u64, recorded: &Recorded) -> Vec<RecordedEntry> {
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

/// It may or may not have been recorded.
pub(super) fn unknown(reason: &str) -> RecordError {
    RecordError::Unavailable {
        reason: reason.to_owned(),
        code: "disk",
        outcome_unknown: true,
    }
}
