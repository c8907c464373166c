//! Signing checkpoints, and the heads of days (FORMAT §4, §5).
//!
//! Invariants: nothing is signed that is inconsistent with what was signed; the guard (compare-and-swap of the
//! latest signed checkpoint) is durable before a signature is shown; sizes rise; a day's head is made once, at
//! exactly the size after its `DayClosed`, before anything larger is signed.
//! Not here: who else gets to see them (`chain-publisher`), cosignatures.

use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::merkle::Frontier;
use domain::note::Signer;
use domain::ports::{CheckpointStore, SwapError, TileStore};
use domain::{Date, Hash, TreeSize};
use parking_lot::{Condvar, Mutex};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
         older copy or a changed ledger; restore the newest copy, or begin a ledger that continues this one"
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

/// The one that signs.
pub struct Checkpointer {
    origin: String,
    signer: Arc<dyn Signer>,
    store: Arc<dyn CheckpointStore>,
    latest: Mutex<Option<Signed>>,
    wanted: Mutex<(TreeSize, Hash, bool)>,
    changed: Condvar,
}

impl Checkpointer {
    /// Compares the guard with the ledger and is ready to sign.
    ///
    /// # Errors
    /// `Inconsistent` if what was signed is not a prefix of the ledger.
    pub fn open(
        origin: &str,
        signer: Arc<dyn Signer>,
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
        Ok(Self {
            origin: origin.to_owned(),
            signer,
            store,
            latest: Mutex::new(latest),
            wanted: Mutex::new((wanted.0, wanted.1, false)),
            changed: Condvar::new(),
        })
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
        let unsound = |e: domain::checkpoint::CheckpointError| CheckpointError::Unreadable(e.to_string());
        let checkpoint = Checkpoint::new(&self.origin, size, root).map_err(unsound)?;
        let note = SignedCheckpoint::sign(checkpoint, &[&*self.signer])
            .map_err(unsound)?
            .encode()
            .into_bytes();
        self.store.swap(latest.as_ref().map(|l| &*l.note), &note)?;
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

    fn pause(&self, until: Instant) {
        let mut wanted = self.wanted.lock();
        while !wanted.2 && !self.changed.wait_until(&mut wanted, until).timed_out() {}
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

/// The heads of days as files, `YYYY/YYYY-MM-DD.tlog-proof` below one directory; written once, never changed.
#[derive(Debug, Clone)]
pub struct HeadStore {
    dir: PathBuf,
}

impl HeadStore {
    /// Below `dir`, which is made when the first head is.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self, date: Date) -> PathBuf {
        let text = date.to_string();
        self.dir.join(&text[..4]).join(format!("{text}.tlog-proof"))
    }

    /// The head of that day.
    pub fn get(&self, date: Date) -> Option<Vec<u8>> {
        std::fs::read(self.path(date)).ok()
    }

    /// Keeps the head of a day; a head that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put(&self, date: Date, head: &[u8]) -> std::io::Result<()> {
        let path = self.path(date);
        if path.exists() {
            return Ok(());
        }
        let dir = path.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(dir)?;
        let temporary = path.with_extension("tmp");
        let mut file = std::fs::File::create(&temporary)?;
        std::io::Write::write_all(&mut file, head)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        std::fs::File::open(dir)?.sync_all()
    }

    /// The days that have a head, rising.
    pub fn dates(&self) -> Vec<Date> {
        let files = |dir: PathBuf| {
            std::fs::read_dir(dir)
                .into_iter()
                .flatten()
                .flatten()
                .map(|f| f.path())
        };
        let mut dates: Vec<Date> = files(self.dir.clone())
            .flat_map(files)
            .filter(|p| p.extension().is_some_and(|e| e == "tlog-proof"))
            .filter_map(|p| Date::parse(p.file_stem()?.to_str()?).ok())
            .collect();
        dates.sort_unstable();
        dates
    }
}
