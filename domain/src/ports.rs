//! The ports: what `domain` asks of the world, and what every driver promises.
//!
//! Object-safe, one future a batch, no type of any runtime. Each contract says what is durable when a call
//! returns, in which order calls take effect, what may be repeated, and who may call at once.
//! Not here: drivers (`commands` for the write side, `projections` for what was seen), the wiring (`api`).

use crate::hash::Hash;
use crate::position::{Position, TreeSize};
use crate::time::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A future that a port returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Consecutive or chosen entries as bytes, in one allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryBlock {
    bytes: Vec<u8>,
    items: Vec<(Position, u32, u32)>,
}

impl EntryBlock {
    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry's bytes.
    pub fn push(&mut self, position: Position, entry: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(entry);
        self.items.push((position, start, entry.len() as u32));
    }

    /// Adds an entry that `write` appends to the bytes it is given; nothing is added when it fails.
    ///
    /// # Errors
    /// What `write` returns.
    pub fn push_with<E>(
        &mut self,
        position: Position,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        match write(&mut self.bytes) {
            Ok(()) => {
                self.items
                    .push((position, start as u32, (self.bytes.len() - start) as u32));
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// Makes room for so many entries and bytes more, so that adding them copies nothing that is there.
    pub fn reserve(&mut self, entries: usize, bytes: usize) {
        self.items.reserve(entries);
        self.bytes.reserve(bytes);
    }

    /// Forgets the entries, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }

    /// Forgets all but the first `count` entries.
    pub fn truncate(&mut self, count: usize) {
        if let Some(&(_, start, _)) = self.items.get(count) {
            self.items.truncate(count);
            self.bytes.truncate(start as usize);
        }
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All entries' bytes, one behind the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The `index`-th entry's position and bytes.
    pub fn get(&self, index: usize) -> Option<(Position, &[u8])> {
        let &(position, start, len) = self.items.get(index)?;
        Some((position, &self.bytes[start as usize..(start + len) as usize]))
    }

    /// Each entry's position and bytes, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Position, &[u8])> {
        self.items
            .iter()
            .map(|&(position, start, len)| (position, &self.bytes[start as usize..(start + len) as usize]))
    }
}

/// One commit: entries, their leaf hashes and the root after them.
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// The size the log must have.
    pub expected: TreeSize,
    /// The entries; positions run from `expected`.
    pub entries: &'a EntryBlock,
    /// One leaf hash an entry.
    pub leaf_hashes: &'a [Hash],
    /// The root after the last of them.
    pub root: Hash,
    /// Nodes that became complete at heights 8, 16, 24, …: `tile_nodes[0]` is height 8.
    pub tile_nodes: &'a [Vec<Hash>],
}

/// Why entries were not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The log has another size: somebody else wrote. Nothing was written.
    #[error("the ledger has {actual} entries and not {expected}: another sequencer writes to it")]
    Stale {
        /// The size that was expected.
        expected: TreeSize,
        /// The size found.
        actual: TreeSize,
    },
    /// Nothing was written, and the log is as before; the same append may be tried again.
    #[error("the ledger took nothing: {0}")]
    Refused(String),
    /// A write or sync failed. The entries may or may not be there: call `recover` before anything else.
    #[error("writing the ledger failed and its outcome is unknown: {0}")]
    Unknown(String),
    /// What is stored contradicts itself. Stop writing.
    #[error("the ledger is damaged: {0}")]
    Corrupt(String),
}

/// Why entries or hashes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Beyond the end.
    #[error("position {0} is not in the ledger yet")]
    Beyond(Position),
    /// The store does not answer; try again.
    #[error("the ledger cannot be read now: {0}")]
    Unavailable(String),
    /// What is stored is not what was written, from this position on.
    #[error("the ledger is damaged at position {position}: {reason}")]
    Corrupt {
        /// The first position that cannot be trusted.
        position: Position,
        /// What was found.
        reason: String,
    },
}

/// The log of entries.
///
/// *Durability*: an append that returned `Ok` survives the loss of power. *Order*: sizes rise by whole commits;
/// a reader sees a commit whole or not at all, and only after it is durable. *Idempotency*: an append with a
/// stale size writes nothing. *Concurrency*: one appender; any number of readers.
pub trait EventLog: Send + Sync {
    /// The number of durable entries.
    fn size(&self) -> TreeSize;

    /// Appends one commit.
    fn append<'a>(&'a self, commit: Append<'a>) -> BoxFuture<'a, Result<(), AppendError>>;

    /// Brings the store back to its last acknowledged commit after [`AppendError::Unknown`]: the same code as
    /// at start-up. Afterwards `size` tells what is durable.
    fn recover(&self) -> BoxFuture<'_, Result<TreeSize, AppendError>>;

    /// Entries from `from` on: at least one if there is one, at most `entries_max`, and no more once `bytes_max`
    /// bytes are reached. Fewer than there are is not the end.
    fn read(
        &self,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<EntryBlock, ReadError>>;

    /// The entries at these positions, in this order.
    fn read_at<'a>(&'a self, positions: &'a [Position]) -> BoxFuture<'a, Result<EntryBlock, ReadError>>;

    /// Completes when the size is larger than `seen`, with the new size. Wakes every waiter of a commit.
    fn follow(&self, seen: TreeSize) -> BoxFuture<'_, TreeSize>;
}

/// Hashes of perfect subtrees at heights 0, 8, 16, …, from which tiles and proofs are made.
///
/// *Durability*: derived; a store rebuilds it. *Concurrency*: any number of readers.
pub trait TileStore: Send + Sync {
    /// Appends to `out` the hashes of `count` subtrees of height 8 × `tile_level`, from the `index`-th on.
    ///
    /// # Errors
    /// `Beyond` where they are not complete yet.
    fn read_nodes(
        &self,
        tile_level: u8,
        index: u64,
        count: usize,
        out: &mut Vec<Hash>,
    ) -> Result<(), ReadError>;
}

/// Where the latest signed checkpoint is kept.
///
/// *Durability*: durable before `swap` returns `Ok`. *Order*: compare-and-swap; whoever loses learns the latest.
pub trait CheckpointStore: Send + Sync {
    /// The latest signed checkpoint, the exact bytes of its note.
    ///
    /// # Errors
    /// In words, where it cannot be read.
    fn latest(&self) -> Result<Option<Vec<u8>>, String>;

    /// Replaces `expected` by `new`.
    ///
    /// # Errors
    /// [`SwapError`]; on `Stale` nothing changed.
    fn swap(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), SwapError>;
}

/// Why the latest checkpoint was not replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// Somebody else signed meanwhile.
    #[error("another checkpoint was signed meanwhile")]
    Stale,
    /// It could not be made durable; nothing may be signed.
    #[error("the checkpoint could not be kept: {0}")]
    Failed(String),
}

/// A reading that is already there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The position of its entry.
    pub position: Position,
    /// The value that stands.
    pub value: f64,
}

/// Which readings are already in the ledger, asked once a batch for those older than their channel's newest.
pub trait SeenReadings: Send + Sync {
    /// How far the answer reaches; what is after it, the asker must know itself.
    fn cursor(&self) -> TreeSize;

    /// For each (channel id, measured at) what is there, in the same order; `None` while it is being rebuilt.
    ///
    /// # Errors
    /// In words, where the store does not answer.
    fn seen(&self, readings: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String>;
}

/// Keys of persons and accounts that seal values, outside the ledger.
///
/// *Durability*: a key is durable before `create` returns. *Privacy*: a destroyed key is gone for good.
pub trait KeyStore: Send + Sync {
    /// The key with this id (base64url of SHA-256 of `daybook/sealed/v1\n` and the key).
    fn get(&self, key_id: &str) -> Option<zeroize::Zeroizing<[u8; 32]>>;

    /// The id of the key of this person or account, if one was made.
    fn key_of(&self, subject: &str) -> Option<String>;

    /// Makes the key of a person or account, or gives the one there is.
    ///
    /// # Errors
    /// In words, where it could not be made durable.
    fn create(&self, subject: &str) -> Result<String, String>;

    /// Forgets a key for good.
    ///
    /// # Errors
    /// In words, where its absence could not be made durable.
    fn destroy(&self, key_id: &str) -> Result<(), String>;
}

/// The only clock.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Time that only moves forward, from an arbitrary start.
    fn monotonic(&self) -> Duration;
}

/// The only randomness.
pub trait Entropy: Send + Sync {
    /// Fills `out` with unpredictable bytes.
    fn fill(&self, out: &mut [u8]);
}
