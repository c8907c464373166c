//! The embedded ledger: the ports `EventLog`, `TileStore` and `CheckpointStore` over plain files in one folder.
//!
//! *Ground*: `manifest`, `segments/*.seg`, `segments/*.sealed`, `checkpoint` and its anchor outside the folder.
//! *Derived* (rebuilt from those): `segments/*.idx`, `hashes/`, `synced`, `snapshots/`, `days/`, `manifest.copy`.
//! Invariants: an entry that was acknowledged is on disk and in the tree; readers see a commit whole or not at all,
//! and only after it is durable; one process appends; no byte at or below the latest signed checkpoint is cut.
//! Layout and reasons: `docs/storage.md`.
//!
//! `disk` the file operations · `blob` small files replaced whole · `frame` commits · `segment` segments in frames
//! · `hashes` the tree · `sealed`, `cache` sealed segments · `manifest` what counts · `mark` what was synced ·
//! `view` reading · `writer` appending · `open`, `signed`, `start`, `recover`, `quarantine` starting · `seal`,
//! `upkeep` beside the appends · `guard` the latest checkpoint · `slots` snapshots · `check` everything on disk
//! against itself.
//! Not here: what entries mean, hashing on append, signing (`sequencer`, `domain`).

mod blob;
mod cache;
mod check;
pub mod disk;
mod error;
mod frame;
mod guard;
mod hashes;
mod manifest;
mod mark;
mod open;
mod quarantine;
mod recover;
mod seal;
mod sealed;
mod segment;
mod signed;
mod slots;
mod start;
mod upkeep;
mod view;
mod writer;

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod tests;

pub use check::{CheckReport, Damage, Tail, check};
pub use error::OpenError;
pub use guard::{CheckpointFile, anchored, raise_anchor};
pub use quarantine::TailCut;
pub use seal::SealError;
pub use upkeep::{Upkeep, UpkeepError};

use cache::SealedCache;
use disk::{Disk, LockGuard, RealDisk};
use domain::event::{Class, class_of};
use domain::merkle::Frontier;
use domain::ports::{
    Append, AppendError, BoxFuture, CheckpointStore, EntryBlock, EventLog, ReadError, SwapError, TileStore,
};
use domain::{Hash, Position, TreeSize};
use guard::CheckpointGuard;
use hashes::HashFiles;
use manifest::Manifest;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::watch;
use upkeep::{UpkeepLock, UpkeepThread};
use view::{NodesAt, View, frontier_at};
use writer::Writer;

/// A segment is full at this size. Smaller ones mean more files; larger ones a longer start after a crash, and at
/// most 1 GiB is possible.
pub const SEGMENT_BYTES: u64 = 256 << 20;
/// Zeros are written ahead in pieces of this size. Smaller ones mean more commits that wait for the journal, larger
/// ones a longer wait when it comes to that.
pub const AHEAD_BYTES: u64 = 2 << 20;
/// Unpacked bundles of sealed segments, and their footers, are kept up to this size each.
pub const CACHE_BYTES: usize = 16 << 20;

/// How a ledger is opened.
#[derive(Clone)]
pub struct Options {
    /// A segment is full at this size, bytes.
    pub segment_bytes: u64,
    /// How far zeros are written ahead, bytes.
    pub ahead_bytes: u64,
    /// How much of sealed segments is kept in memory, bytes.
    pub cache_bytes: usize,
    /// The class of an event type (by default the table of FORMAT §2, `audit` for others): what retention treats alike is sealed into one file.
    pub classify: fn(&str) -> &'static str,
    /// The origin that the ledger has or will have. With it the anchor is found even if the folder is empty or has
    /// no checkpoint; without it the folder's checkpoint tells.
    pub origin: Option<String>,
    /// A folder outside the ledger's, where its latest checkpoint is kept once more; none: not kept.
    pub anchor: Option<PathBuf>,
    /// Who syncs the derived files and seals segments.
    pub upkeep: Upkeep,
    /// Believe nothing derived: rebuild hashes and indexes from the first entry.
    pub rebuild_derived: bool,
    /// The file system.
    pub disk: Arc<dyn Disk>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            ahead_bytes: AHEAD_BYTES,
            cache_bytes: CACHE_BYTES,
            classify: |event_type| class_of(event_type).unwrap_or(Class::Audit).as_str(),
            origin: None,
            anchor: None,
            upkeep: Upkeep::InBackground,
            rebuild_derived: false,
            disk: Arc::new(RealDisk),
        }
    }
}

/// What opening found.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The number of durable entries.
    pub size: TreeSize,
    /// The root at that size.
    pub root: Hash,
    /// The tree's right edge, to go on from.
    pub frontier: Frontier,
    /// A torn tail that was cut and that no entry tells of yet: the next entry is `TailCut` with these values.
    pub tail_cut: Option<TailCut>,
    /// Tails cut before that one at the same position, whose `TailCut` was torn itself.
    pub earlier_cuts: Vec<TailCut>,
    /// How many entries were hashed again.
    pub rechecked: u64,
    /// Everything derived was rebuilt from the first entry.
    pub derived_rebuilt: bool,
    /// The latest signed checkpoint's note.
    pub checkpoint: Option<Vec<u8>>,
}

/// A ledger in a folder. Shared by many readers and one appender.
pub struct Ledger {
    inner: Arc<Inner>,
    upkeep: Mutex<Option<UpkeepThread>>,
}

/// What the ledger and its upkeep share. Locks are taken in the order `upkeep_state`, `writer`, `manifest`, `view`.
struct Inner {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    ahead_bytes: u64,
    classify: fn(&str) -> &'static str,
    size: AtomicU64,
    grown: watch::Sender<TreeSize>,
    view: RwLock<Arc<View>>,
    hashes: HashFiles,
    cache: SealedCache,
    reads_only: bool,
    /// None where the ledger was opened for reading only.
    writer: Mutex<Option<Writer>>,
    manifest: Mutex<Manifest>,
    /// Why nothing is appended until `recover`.
    failed: Mutex<Option<String>>,
    /// What upkeep found and cannot mend.
    trouble: Mutex<Option<String>>,
    guard: CheckpointGuard,
    wants_upkeep: AtomicBool,
    synced: AtomicU64,
    upkeep_state: UpkeepLock,
    _lock: Option<LockGuard>,
}

impl Ledger {
    /// The number of durable entries.
    pub fn size_now(&self) -> TreeSize {
        TreeSize(self.inner.size.load(Ordering::Acquire))
    }

    /// The root at a size.
    ///
    /// # Errors
    /// In words: beyond the end, or the hash files cannot be read.
    pub fn root_at(&self, size: TreeSize) -> Result<Hash, String> {
        if size > self.size_now() {
            return Err(format!("the ledger has no {size} entries yet"));
        }
        let frontier = frontier_at(&self.inner.hashes, size.get());
        Ok(frontier.map_err(|error| error.to_string())?.root())
    }

    /// What the port's `read` does, without a future.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_now(
        &self,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<EntryBlock, ReadError> {
        // The size comes first: the view is then never older.
        let size = self.size_now().get();
        let view = self.inner.view.read().clone();
        view.read(&self.inner.cache, size, from.0, entries_max, bytes_max)
    }

    /// What the port's `read_at` does, without a future.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_at_now(&self, positions: &[Position]) -> Result<EntryBlock, ReadError> {
        let size = self.size_now().get();
        let view = self.inner.view.read().clone();
        view.read_at(&self.inner.cache, size, positions)
    }

    /// Why nothing is appended at the moment, if that is so.
    pub fn failure(&self) -> Option<String> {
        self.inner.failed.lock().clone()
    }

    /// What upkeep found and cannot mend, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.inner.trouble.lock().clone()
    }

    /// Up to which size the derived files were synced by this process.
    pub fn synced(&self) -> TreeSize {
        TreeSize(self.inner.synced.load(Ordering::Relaxed))
    }

    /// What was cut at the present size and is in no entry yet: at start, or by `recover`.
    pub fn unrecorded_cuts(&self) -> Vec<TailCut> {
        let size = self.size_now().get();
        quarantine::unrecorded(&*self.inner.disk, &self.inner.dir, size).unwrap_or_default()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.stop();
    }
}

impl EventLog for Ledger {
    fn size(&self) -> TreeSize {
        self.size_now()
    }

    fn append<'a>(&'a self, commit: Append<'a>) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move { self.append_now(commit) })
    }

    fn recover(&self) -> BoxFuture<'_, Result<TreeSize, AppendError>> {
        Box::pin(async move { self.recover_now() })
    }

    fn read(
        &self,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<EntryBlock, ReadError>> {
        Box::pin(async move { self.read_now(from, entries_max, bytes_max) })
    }

    fn read_at<'a>(&'a self, positions: &'a [Position]) -> BoxFuture<'a, Result<EntryBlock, ReadError>> {
        Box::pin(async move { self.read_at_now(positions) })
    }

    fn follow(&self, seen: TreeSize) -> BoxFuture<'_, TreeSize> {
        let mut sizes = self.inner.grown.subscribe();
        Box::pin(async move {
            let grown = sizes.wait_for(|size| *size > seen).await.map(|size| *size);
            match grown {
                Ok(size) => size,
                // The sender lives as long as the ledger that is borrowed here.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

impl TileStore for Ledger {
    fn read_nodes(
        &self,
        tile_level: u8,
        index: u64,
        count: usize,
        out: &mut Vec<Hash>,
    ) -> Result<(), ReadError> {
        let nodes = NodesAt {
            hashes: &self.inner.hashes,
            size: self.size_now().get(),
        };
        nodes.read_nodes(tile_level, index, count, out)
    }
}

impl CheckpointStore for Ledger {
    fn latest(&self) -> Result<Option<Vec<u8>>, String> {
        self.inner.guard.latest()
    }

    fn swap(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), SwapError> {
        if self.inner.reads_only {
            return Err(SwapError::Failed(
                "the ledger was opened for reading only".to_owned(),
            ));
        }
        self.inner.guard.swap(expected, new, |says| {
            let root = self.root_at(says.size())?;
            if root == says.root() {
                Ok(())
            } else {
                Err(format!("at size {} the ledger has another root", says.size()))
            }
        })
    }
}
