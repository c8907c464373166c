//! The reference implementation of [`EventLog`] and [`TileStore`]: everything in memory.
//!
//! Keeps the promises of the ports but for durability, which ends with the process. Conformance suites compare
//! drivers with it, and projections are tested over it.
//! Not here: drivers that last (`commands`), recovery, sealing.

use crate::entry::{NewEvent, Placement, encode};
use crate::hash::{Hash, leaf_hash};
use crate::merkle::{Frontier, MemoryNodes, NodeReader, TileNodes};
use crate::ports::{Append, AppendError, BoxFuture, EntryBlock, EventLog, ReadError, TileStore};
use crate::position::{Position, TreeSize};
use crate::time::Timestamp;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A log of entries in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Vec<u8>>,
    nodes: MemoryNodes,
    frontier: Frontier,
    waiting: Vec<Waker>,
}

impl MemoryLog {
    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The root of the whole log.
    pub fn root(&self) -> Hash {
        self.state().frontier.root()
    }

    /// Appends entries' bytes as one commit, hashing them here; for tests that have no sequencer.
    pub fn push_entries<'a>(&self, entries: impl IntoIterator<Item = &'a [u8]>) -> TreeSize {
        let mut state = self.state();
        let entries: Vec<Vec<u8>> = entries.into_iter().map(<[u8]>::to_vec).collect();
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        state.extend(entries, &leaves);
        TreeSize(state.entries.len() as u64)
    }

    /// Appends one event at the next position, with this time, sequence and a salt made from the position; for
    /// tests that have no sequencer.
    ///
    /// # Panics
    /// Where the event breaks a limit of the format.
    pub fn push_event(&self, event: &NewEvent, recorded_at: Timestamp, sequence: u64) -> Position {
        let mut state = self.state();
        let position = Position(state.entries.len() as u64);
        let placement = Placement {
            position,
            recorded_at,
            sequence,
            salt: u128::from(position.get()).to_be_bytes(),
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &placement, event).expect("a test's event keeps the limits of the format");
        let leaf = leaf_hash(&bytes);
        state.extend(vec![bytes], &[leaf]);
        position
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn extend(&mut self, entries: Vec<Vec<u8>>, leaves: &[Hash]) {
        let mut nodes = TileNodes::new();
        self.frontier.extend(leaves, &mut nodes);
        self.nodes.append(&nodes);
        self.entries.extend(entries);
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

impl EventLog for MemoryLog {
    fn size(&self) -> TreeSize {
        TreeSize(self.state().entries.len() as u64)
    }

    fn append<'a>(&'a self, commit: Append<'a>) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move {
            let mut state = self.state();
            let actual = TreeSize(state.entries.len() as u64);
            if actual != commit.expected {
                return Err(AppendError::Stale {
                    expected: commit.expected,
                    actual,
                });
            }
            let numbered = commit
                .entries
                .iter()
                .enumerate()
                .all(|(i, (position, _))| position == actual.plus(i as u64).next_position());
            if !numbered || commit.leaf_hashes.len() != commit.entries.len() {
                return Err(AppendError::Refused(
                    "entries and hashes do not number from the size on".to_owned(),
                ));
            }
            let mut frontier = state.frontier.clone();
            frontier.extend(commit.leaf_hashes, &mut TileNodes::new());
            if frontier.root() != commit.root {
                return Err(AppendError::Refused(
                    "the root is not that of the leaf hashes".to_owned(),
                ));
            }
            let entries = commit.entries.iter().map(|(_, bytes)| bytes.to_vec()).collect();
            state.extend(entries, commit.leaf_hashes);
            Ok(())
        })
    }

    fn recover(&self) -> BoxFuture<'_, Result<TreeSize, AppendError>> {
        Box::pin(async { Ok(self.size()) })
    }

    fn read(
        &self,
        from: Position,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<EntryBlock, ReadError>> {
        Box::pin(async move {
            let state = self.state();
            let mut block = EntryBlock::new();
            let start = usize::try_from(from.get()).unwrap_or(usize::MAX);
            let entries = state.entries.get(start..).unwrap_or_default();
            for (i, entry) in entries.iter().enumerate().take(entries_max.max(1)) {
                if i > 0 && block.bytes().len() >= bytes_max {
                    break;
                }
                block.push(from.plus(i as u64), entry);
            }
            Ok(block)
        })
    }

    fn read_at<'a>(&'a self, positions: &'a [Position]) -> BoxFuture<'a, Result<EntryBlock, ReadError>> {
        Box::pin(async move {
            let state = self.state();
            let mut block = EntryBlock::new();
            for &position in positions {
                let entry = state
                    .entries
                    .get(usize::try_from(position.get()).unwrap_or(usize::MAX))
                    .ok_or(ReadError::Beyond(position))?;
                block.push(position, entry);
            }
            Ok(block)
        })
    }

    fn follow(&self, seen: TreeSize) -> BoxFuture<'_, TreeSize> {
        Box::pin(poll_fn(move |context| {
            let mut state = self.state();
            let size = TreeSize(state.entries.len() as u64);
            if size > seen {
                return Poll::Ready(size);
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        }))
    }
}

impl TileStore for MemoryLog {
    fn read_nodes(
        &self,
        tile_level: u8,
        index: u64,
        count: usize,
        out: &mut Vec<Hash>,
    ) -> Result<(), ReadError> {
        let state = self.state();
        state.nodes.read(tile_level, index, count, out).map_err(|_| {
            let leaves =
                index.saturating_mul(1u64.checked_shl(8 * u32::from(tile_level)).unwrap_or(u64::MAX));
            ReadError::Beyond(Position(leaves))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the future is not ready"),
        }
    }

    fn commit_of(entries: &[&[u8]], from: u64) -> (EntryBlock, Vec<Hash>) {
        let mut block = EntryBlock::new();
        let mut leaves = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            block.push(Position(from + i as u64), entry);
            leaves.push(leaf_hash(entry));
        }
        (block, leaves)
    }

    #[test]
    fn append_with_a_stale_size_or_a_wrong_root_writes_nothing() {
        let log = MemoryLog::new();
        let (block, leaves) = commit_of(&[b"{}", b"[]"], 0);
        let mut append = Append {
            expected: TreeSize(0),
            entries: &block,
            leaf_hashes: &leaves,
            root: crate::merkle::root_of(&leaves),
            tile_nodes: &[],
        };
        assert_eq!(now(log.append(append)), Ok(()));
        assert!(matches!(
            now(log.append(append)),
            Err(AppendError::Stale {
                actual: TreeSize(2),
                ..
            })
        ));
        let (block, leaves) = commit_of(&[b"1"], 2);
        append.expected = TreeSize(2);
        append.entries = &block;
        append.leaf_hashes = &leaves;
        assert!(matches!(now(log.append(append)), Err(AppendError::Refused(_))));
        assert_eq!(log.size(), TreeSize(2));
    }

    #[test]
    fn follow_wakes_every_waiter_of_a_commit() {
        let log = MemoryLog::new();
        let woken = Arc::new(Counted::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut one = log.follow(TreeSize(0));
        let mut two = log.follow(TreeSize(0));
        assert!(one.as_mut().poll(&mut context).is_pending());
        assert!(two.as_mut().poll(&mut context).is_pending());
        log.push_entries([&b"1"[..]]);
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
        assert_eq!(one.as_mut().poll(&mut context), Poll::Ready(TreeSize(1)));
        assert_eq!(two.as_mut().poll(&mut context), Poll::Ready(TreeSize(1)));
    }

    #[test]
    fn reads_keep_their_limits_and_give_at_least_one() {
        let log = MemoryLog::new();
        log.push_entries([&b"11"[..], b"22", b"33"]);
        let read = |from, entries, bytes| {
            now(EventLog::read(&log, Position(from), entries, bytes))
                .expect("reads")
                .len()
        };
        assert_eq!(read(0, 10, 1000), 3);
        assert_eq!(read(0, 2, 1000), 2);
        assert_eq!(read(0, 10, 0), 1);
        assert_eq!(read(1, 10, 3), 2);
        assert_eq!(read(3, 10, 1000), 0);
        let chosen = now(log.read_at(&[Position(2), Position(0)])).expect("reads");
        assert_eq!(chosen.get(0), Some((Position(2), &b"33"[..])));
        assert_eq!(
            now(log.read_at(&[Position(3)])),
            Err(ReadError::Beyond(Position(3)))
        );
    }

    #[test]
    fn nodes_are_those_of_the_tree() {
        let log = MemoryLog::new();
        let entries: Vec<Vec<u8>> = (0..600u32).map(|i| i.to_string().into_bytes()).collect();
        log.push_entries(entries.iter().map(Vec::as_slice));
        let frontier = Frontier::from_nodes(TreeSize(600), &log).expect("all nodes are there");
        assert_eq!(frontier.root(), log.root());
        assert!(Frontier::from_nodes(TreeSize(601), &log).is_err());
    }
}
