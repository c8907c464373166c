//! Signing checkpoints, and with them the heads of days (FORMAT §4, §5).
//!
//! Invariants: nothing is signed that is inconsistent with what was signed; the guard (compare-and-swap of the
//! latest signed checkpoint) is durable before a signature is shown; sizes rise; a day's head is made once, at
//! exactly the size after its `DayClosed`, before anything larger is signed.
//! Where another process signs, this one offers what is durable, and takes over what was signed once it holds against the
//! ledger.
//! Not here: where heads are kept (`head_store`), who else gets to see them (`chain-publisher`), asking for the cosignatures that are added to heads (`api`).

use super::rotate::{Handover, Signers};
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::merkle::Frontier;
use domain::note::Signer;
use domain::ports::{CheckpointStore, SwapError, TileStore};
use domain::{Hash, TreeSize};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// At most one checkpoint in this time (FORMAT §4).
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// What was signed before is ahead of the ledger or contradicts it: the directory is an older copy, or the
    /// ledger was changed.
    #[error(
        "a checkpoint of size {signed} was signed, but the ledger has {size} entries or another root: this is an \
         older copy or a changed ledger; restore the newest copy, or begin a ledger that continues this one with \
         `daybook continue`"
    )]
    Inconsistent {
        /// The size that was signed.
        signed: TreeSize,
        /// The ledger's size.
        size: TreeSize,
    },
    /// The guard could not be moved.
    #[error(transparent)]
    Guard(#[from] SwapError),
    /// Another process signs.
    #[error("another process signs the checkpoints of this ledger")]
    Elsewhere,
    /// The stored checkpoint or a tile cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

#[derive(Debug, Clone)]
struct Signed {
    size: TreeSize,
    root: Hash,
    note: Vec<u8>,
}

/// Who signs checkpoints.
#[derive(Clone)]
pub enum Signing {
    /// This process.
    Here(Arc<dyn Signer>),
    /// Another one.
    Elsewhere(Arc<dyn SignedElsewhere>),
}

/// The process that signs the checkpoints of this ledger.
pub trait SignedElsewhere: Send + Sync {
    /// Says which tree is durable: it may be signed, and so may every day that was closed in it.
    ///
    /// # Errors
    /// In words; it is said again with the next one.
    fn offer(&self, durable: &Checkpoint) -> Result<(), String>;

    /// The latest checkpoint that it has signed, whose signature holds; `None` if there is none yet.
    ///
    /// # Errors
    /// In words.
    fn latest(&self) -> Result<Option<Vec<u8>>, String>;
}

/// Who signs now, and from a rotation on; nobody where another process signs.
pub(super) struct InForce {
    pub now: Signers,
    pub handover: Option<Handover>,
}

/// The one that signs, or that takes over what another one has signed.
pub struct Checkpointer {
    origin: String,
    elsewhere: Option<Arc<dyn SignedElsewhere>>,
    in_force: Mutex<InForce>,
    store: Arc<dyn CheckpointStore>,
    latest: Mutex<Option<Signed>>,
    wanted: Mutex<(TreeSize, Hash, bool)>,
    changed: Condvar,
    /// What is stored was found damaged: nothing is signed any more.
    damaged: AtomicBool,
}

impl Checkpointer {
    /// Compares the guard with the ledger and is ready to sign.
    ///
    /// # Errors
    /// `Inconsistent` if what was signed is not a prefix of the ledger.
    pub fn open(
        origin: &str,
        signing: Signing,
        store: Arc<dyn CheckpointStore>,
        tiles: &dyn TileStore,
        size: TreeSize,
    ) -> Result<Self, CheckpointError> {
        let latest = match store.latest().map_err(CheckpointError::Unreadable)? {
            None => None,
            Some(note) => Some(check(origin, note, tiles, size)?),
        };
        let wanted = latest
            .as_ref()
            .map_or((TreeSize::EMPTY, Hash::default()), |l| (l.size, l.root));
        let (now, elsewhere) = match signing {
            Signing::Here(signer) => (vec![signer], None),
            Signing::Elsewhere(elsewhere) => (Vec::new(), Some(elsewhere)),
        };
        Ok(Self {
            origin: origin.to_owned(),
            elsewhere,
            in_force: Mutex::new(InForce { now, handover: None }),
            store,
            latest: Mutex::new(latest),
            wanted: Mutex::new((wanted.0, wanted.1, false)),
            changed: Condvar::new(),
            damaged: AtomicBool::new(false),
        })
    }

    /// Further keys sign beside the log key.
    #[must_use]
    pub fn with_beside(self, beside: Signers) -> Self {
        self.in_force.lock().now.extend(beside);
        self
    }

    pub(super) fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock()
    }

    /// The latest signed checkpoint: its size and note.
    pub fn latest(&self) -> Option<(TreeSize, Vec<u8>)> {
        self.latest.lock().as_ref().map(|l| (l.size, l.note.clone()))
    }

    /// Signs the tree of that size and root, which must be durable, and gives the note. Signing the latest again
    /// gives the same note.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing was signed then.
    pub fn sign(&self, size: TreeSize, root: Hash) -> Result<Vec<u8>, CheckpointError> {
        let mut latest = self.latest.lock();
        if self.damaged.load(Ordering::Acquire) {
            return Err(CheckpointError::Unreadable(
                "the ledger was found damaged: nothing is signed".to_owned(),
            ));
        }
        if let Some(signed) = &*latest {
            if signed.size == size && signed.root == root {
                return Ok(signed.note.clone());
            }
            if signed.size >= size {
                return Err(CheckpointError::Inconsistent {
                    signed: signed.size,
                    size,
                });
            }
        }
        if self.is_elsewhere() {
            return Err(CheckpointError::Elsewhere);
        }
        let unsound = |e: domain::checkpoint::CheckpointError| CheckpointError::Unreadable(e.to_string());
        let checkpoint = Checkpoint::new(&self.origin, size, root).map_err(unsound)?;
        let mut in_force = self.in_force.lock();
        let due = in_force
            .handover
            .take_if(|handover| size.contains(handover.position));
        let signers = due.as_ref().map_or(&in_force.now, |handover| &handover.both);
        let signers: Vec<&dyn Signer> = signers.iter().map(|signer| &**signer).collect();
        let note = SignedCheckpoint::sign(checkpoint, &signers)
            .map_err(unsound)
            .and_then(|signed| {
                let note = signed.encode().into_bytes();
                self.store.swap(latest.as_ref().map(|l| &*l.note), &note)?;
                Ok(note)
            });
        // The old key steps back only when both signatures are durable; until then the next try has both again.
        match (&note, due) {
            (Ok(_), Some(handover)) => in_force.now = handover.after,
            (Err(_), due @ Some(_)) => in_force.handover = due,
            (_, None) => {}
        }
        drop(in_force);
        let note = note?;
        *latest = Some(Signed {
            size,
            root,
            note: note.clone(),
        });
        Ok(note)
    }

    /// A commit was made: its checkpoint is wanted within a second.
    pub fn committed(&self, size: TreeSize, root: Hash) {
        let mut wanted = self.wanted.lock();
        (wanted.0, wanted.1) = (size, root);
        self.changed.notify_one();
    }

    /// Signs what is wanted, at most once in `CHECKPOINT_INTERVAL`, until [`Checkpointer::stop`].
    pub fn run(&self) {
        if let Some(elsewhere) = &self.elsewhere {
            return self.follow(&**elsewhere);
        }
        loop {
            let (size, root) = {
                let mut wanted = self.wanted.lock();
                let signed = |size: TreeSize| self.latest.lock().as_ref().is_some_and(|l| l.size >= size);
                while !wanted.2 && (wanted.0.is_empty() || signed(wanted.0)) {
                    self.changed.wait(&mut wanted);
                }
                if wanted.2 {
                    return;
                }
                (wanted.0, wanted.1)
            };
            let begun = Instant::now();
            if let Err(error) = self.sign(size, root) {
                let overtaken = self.latest.lock().as_ref().is_some_and(|l| l.size >= size);
                if !overtaken {
                    tracing::error!(%error, %size, "no checkpoint signed");
                }
            }
            self.pause(begun + CHECKPOINT_INTERVAL);
        }
    }

    /// Whether another process signs.
    pub const fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Offers what is durable, and takes over what was signed, until [`Checkpointer::stop`].
    fn follow(&self, elsewhere: &dyn SignedElsewhere) {
        let mut offered = TreeSize::EMPTY;
        let mut said = None;
        loop {
            let begun = Instant::now();
            let (size, root, stopping) = *self.wanted.lock();
            let damaged = self.damaged.load(Ordering::Acquire);
            if !damaged && size > offered {
                let offer = Checkpoint::new(&self.origin, size, root).map_err(|error| error.to_string());
                match offer.and_then(|offer| elsewhere.offer(&offer)) {
                    Ok(()) => offered = size,
                    Err(error) => tracing::warn!(error, %size, "a tree was not offered to whoever signs"),
                }
            }
            if let Err(error) = self.take_over(elsewhere)
                && said.as_ref() != Some(&error)
            {
                tracing::error!(error, "what was signed elsewhere is not taken over");
                said = Some(error);
            }
            if stopping {
                return;
            }
            self.pause(begun + CHECKPOINT_INTERVAL);
        }
    }

    /// Takes over what was signed elsewhere, if it is larger and of this ledger: the guard compares its root.
    fn take_over(&self, elsewhere: &dyn SignedElsewhere) -> Result<(), String> {
        let Some(note) = elsewhere.latest()? else {
            return Ok(());
        };
        let signed = SignedCheckpoint::parse(&note).map_err(|error| error.to_string())?;
        let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
        let mut latest = self.latest.lock();
        match &*latest {
            Some(there) if there.size == size && there.root != root => {
                return Err(format!(
                    "two roots were signed at size {size}: keep both, and find out why"
                ));
            }
            Some(there) if there.size >= size => return Ok(()),
            _ => {}
        }
        let swapped = self.store.swap(latest.as_ref().map(|l| &*l.note), &note);
        swapped.map_err(|error| error.to_string())?;
        *latest = Some(Signed { size, root, note });
        Ok(())
    }

    fn pause(&self, until: Instant) {
        let mut wanted = self.wanted.lock();
        while !wanted.2 && !self.changed.wait_until(&mut wanted, until).timed_out() {}
    }

    /// Never signs again in this process. What is being signed now is signed when this returns, and nothing after it.
    pub fn distrust(&self) {
        let latest = self.latest.lock();
        self.damaged.store(true, Ordering::Release);
        drop(latest);
        self.stop();
    }

    /// Makes [`Checkpointer::run`] return.
    pub fn stop(&self) {
        self.wanted.lock().2 = true;
        self.changed.notify_all();
    }
}

/// Whether what was signed is a prefix of the ledger.
fn check(
    origin: &str,
    note: Vec<u8>,
    tiles: &dyn TileStore,
    size: TreeSize,
) -> Result<Signed, CheckpointError> {
    let signed = SignedCheckpoint::parse(&note)
        .map_err(|e| CheckpointError::Unreadable(format!("the latest checkpoint cannot be read: {e}")))?;
    let checkpoint = signed.checkpoint();
    if checkpoint.origin() != origin {
        return Err(CheckpointError::Unreadable(format!(
            "the latest checkpoint is of {}, but this ledger is {origin}",
            checkpoint.origin()
        )));
    }
    let inconsistent = CheckpointError::Inconsistent {
        signed: checkpoint.size(),
        size,
    };
    if checkpoint.size() > size {
        return Err(inconsistent);
    }
    let frontier = Frontier::from_nodes(checkpoint.size(), tiles)
        .map_err(|e| CheckpointError::Unreadable(e.to_string()))?;
    if frontier.root() != checkpoint.root() {
        return Err(inconsistent);
    }
    Ok(Signed {
        size: checkpoint.size(),
        root: checkpoint.root(),
        note,
    })
}
