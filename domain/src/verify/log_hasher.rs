//! Entries in order → leaf hashes, the tree, and the root held against every root that is known at some size.
//!
//! Invariants: constant memory but for the known roots; every byte given is hashed here; a known root that is not met
//! is reported with the range of positions in which the first wrong entry lies.
//! Source: FORMAT §3, §8; RFC 6962 §2.1.
//! Not here: canonical form, chains, days (beside this file), which keys signed a known root.

use super::Verdict;
use crate::hash::{Hash, leaf_hash};
use crate::merkle::{Frontier, NodeSink, TileNodes};
use crate::position::{Position, TreeSize};

/// Where a known root was kept, and so whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// With the log: a checkpoint, head or frame that came with the entries. Not met means tampered.
    WithLog,
    /// Kept elsewhere by who asks. Not met, where the log's own are, means forked; not reached, truncated.
    Outside,
}

/// A root that the log must have at some size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRoot {
    /// At this size.
    pub size: TreeSize,
    /// The root.
    pub root: Hash,
    /// Whose word it is.
    pub kept: Kept,
    /// Where it comes from, to be shown: "the head of 2026-05-17".
    pub source: String,
}

/// The entries up to here do not have a known root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootMismatch {
    /// The root that is not met.
    pub known: KnownRoot,
    /// The root that the entries have at that size.
    pub found: Hash,
    /// The first wrong entry is not before this position: all before are confirmed by a smaller known root.
    pub from: Position,
}

/// An entry's bytes are not those of the leaf hash that it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entry at position {position} hashes to {found}, not to {expected}")]
pub struct LeafMismatch {
    /// Where.
    pub position: Position,
    /// The hash that it should have.
    pub expected: Hash,
    /// The hash that its bytes have.
    pub found: Hash,
}

/// Hashes a log as its entries come.
#[derive(Debug, Clone)]
pub struct LogHasher {
    frontier: Frontier,
    /// By size; those before `next` are behind us.
    known: Vec<KnownRoot>,
    next: usize,
    confirmed: TreeSize,
    anchored: TreeSize,
    root_mismatches: Vec<RootMismatch>,
    leaf_mismatch: Option<LeafMismatch>,
    above: Above,
}

/// The nodes above the leaves, where somebody wants them.
#[derive(Debug, Clone, Default)]
struct Above {
    wanted: bool,
    nodes: TileNodes,
}

impl NodeSink for Above {
    fn complete(&mut self, tile_level: usize, hash: Hash) {
        if self.wanted {
            self.nodes.complete(tile_level, hash);
        }
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// How many entries there were.
    pub size: TreeSize,
    /// Their root.
    pub root: Hash,
    /// The largest known root that is met, whosever word it is.
    pub confirmed: TreeSize,
    /// The largest known root from outside that is met.
    pub anchored: TreeSize,
    /// The first entry that is not the one of its leaf hash.
    pub leaf_mismatch: Option<LeafMismatch>,
    /// Known roots that are not met, by size.
    pub root_mismatches: Vec<RootMismatch>,
    /// Known roots beyond the end, by size.
    pub beyond: Vec<KnownRoot>,
}

impl LogHasher {
    /// A log from its start; the known roots in any order.
    pub fn new(known: Vec<KnownRoot>) -> Self {
        Self::resume(Frontier::new(), known)
    }

    /// A log from a size on whose frontier is known to be right. Roots at smaller sizes are not looked at.
    pub fn resume(frontier: Frontier, mut known: Vec<KnownRoot>) -> Self {
        known.retain(|known| known.size >= frontier.size());
        known.sort_by_key(|known| known.size);
        let confirmed = frontier.size();
        let mut hasher = Self {
            frontier,
            known,
            next: 0,
            confirmed,
            anchored: TreeSize::EMPTY,
            root_mismatches: Vec::new(),
            leaf_mismatch: None,
            above: Above::default(),
        };
        hasher.compare();
        hasher
    }

    /// Takes the next entry's bytes, and gives their leaf hash.
    pub fn entry(&mut self, entry: &[u8]) -> Hash {
        let leaf = leaf_hash(entry);
        self.push(leaf);
        leaf
    }

    /// Takes the next entry's bytes and holds them against a leaf hash that is already tied to a signed root, such as
    /// one from a `TileReader`: so a wrong entry is named exactly.
    pub fn entry_expecting(&mut self, entry: &[u8], expected: &Hash) -> Hash {
        let leaf = leaf_hash(entry);
        if leaf != *expected {
            self.wrong_entry(LeafMismatch {
                position: self.frontier.size().next_position(),
                expected: *expected,
                found: leaf,
            });
        }
        self.push(leaf);
        leaf
    }

    /// Takes note of an entry that is not the one of its leaf hash, which was found out after it was taken. Of several
    /// the one at the lowest position stands.
    pub fn wrong_entry(&mut self, mismatch: LeafMismatch) {
        let earlier = |known: &LeafMismatch| known.position <= mismatch.position;
        if !self.leaf_mismatch.as_ref().is_some_and(earlier) {
            self.leaf_mismatch = Some(mismatch);
        }
    }

    /// From now on the nodes above the leaves are kept until they are taken.
    pub fn keep_nodes(&mut self) {
        self.above.wanted = true;
    }

    /// The nodes at heights 8, 16, … that became complete since they were last taken: `levels[1]` is height 8.
    pub fn take_nodes(&mut self, nodes: &mut TileNodes) {
        nodes.clear();
        std::mem::swap(nodes, &mut self.above.nodes);
    }

    /// Takes the next leaf hash: of an entry that was hashed elsewhere, or whose bytes are pruned or withheld.
    pub fn leaf(&mut self, leaf: Hash) {
        self.push(leaf);
    }

    /// How many entries so far.
    pub const fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// The root so far.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Whether everything so far holds.
    pub const fn is_clean(&self) -> bool {
        self.leaf_mismatch.is_none() && self.root_mismatches.is_empty()
    }

    /// No more entries.
    pub fn finish(mut self) -> Hashed {
        Hashed {
            size: self.frontier.size(),
            root: self.frontier.root(),
            confirmed: self.confirmed,
            anchored: self.anchored,
            leaf_mismatch: self.leaf_mismatch,
            root_mismatches: self.root_mismatches,
            beyond: self.known.split_off(self.next),
        }
    }

    fn push(&mut self, leaf: Hash) {
        self.frontier.push(leaf, &mut self.above);
        self.compare();
    }

    /// Holds the root against every known root of the size that was just reached.
    fn compare(&mut self) {
        let size = self.frontier.size();
        if self.known.get(self.next).is_none_or(|known| known.size > size) {
            return;
        }
        let (found, from) = (self.frontier.root(), self.confirmed.next_position());
        while let Some(known) = self.known.get(self.next).filter(|known| known.size == size) {
            if known.root != found {
                self.root_mismatches.push(RootMismatch {
                    known: known.clone(),
                    found,
                    from,
                });
            } else {
                self.confirmed = size;
                if known.kept == Kept::Outside {
                    self.anchored = size;
                }
            }
            self.next += 1;
        }
    }
}

impl Hashed {
    /// The verdict of hashes alone; `None` where nothing is wrong with them, and other checks decide.
    pub fn verdict(&self) -> Option<Verdict> {
        let leaf = self.leaf_mismatch.map(|mismatch| Verdict::Tampered {
            position: Some(mismatch.position),
            what: mismatch.to_string(),
        });
        // A wrong entry explains every root after it; the range that such a root leaves open says less.
        let explained = |mismatch: &&RootMismatch| {
            self.leaf_mismatch
                .is_some_and(|leaf| mismatch.known.size.contains(leaf.position))
        };
        let unexplained = self
            .root_mismatches
            .iter()
            .filter(|mismatch| !explained(mismatch));
        let roots = unexplained.map(|mismatch| self.judge(mismatch));
        let beyond = self.beyond.iter().map(|known| Verdict::Truncated {
            size: self.size,
            known: known.size,
            what: known.source.clone(),
        });
        leaf.into_iter()
            .chain(roots)
            .chain(beyond)
            .reduce(Verdict::or_worse)
    }

    fn judge(&self, mismatch: &RootMismatch) -> Verdict {
        let KnownRoot {
            size,
            source,
            kept,
            root,
        } = &mismatch.known;
        // What the log itself vouches for at that size or later is met: its entries are whole, and it tells two stories.
        let whole = self.leaf_mismatch.is_none() && self.confirmed >= *size;
        if *kept == Kept::Outside && whole {
            let what = format!("{source} has the root {root}, this log {}", mismatch.found);
            return Verdict::Forked { size: *size, what };
        }
        let what = format!(
            "the first {size} entries have the root {}, and {source} says {root}; the first wrong one is among positions \
             {} to {}",
            mismatch.found,
            mismatch.from,
            size.0.saturating_sub(1),
        );
        Verdict::Tampered {
            position: Some(mismatch.from),
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{MemoryNodes, NoNodes, root_of};
    use crate::vectors;

    fn known(size: u64, kept: Kept) -> KnownRoot {
        let root = root_of(&vectors::leaves(size));
        KnownRoot {
            size: TreeSize(size),
            root,
            kept,
            source: format!("the head at {size}"),
        }
    }

    fn entries(n: u64) -> Vec<Vec<u8>> {
        (0..n).map(|i| i.to_be_bytes().to_vec()).collect()
    }

    fn run(entries: &[Vec<u8>], known: Vec<KnownRoot>) -> Hashed {
        let mut hasher = LogHasher::new(known);
        for entry in entries {
            hasher.entry(entry);
        }
        hasher.finish()
    }

    #[test]
    fn an_untouched_log_meets_every_known_root() {
        for size in [0, 1, 2, 3, 255, 256, 257, 1_000] {
            let heads = [1_000, 0, 256, 255, 1].into_iter().filter(|n| *n <= size);
            let hashed = run(&entries(size), heads.map(|n| known(n, Kept::Outside)).collect());
            assert_eq!((hashed.verdict(), hashed.size), (None, TreeSize(size)));
            assert_eq!(hashed.root, root_of(&vectors::leaves(size)));
        }
    }

    #[test]
    fn a_flipped_byte_lies_between_the_last_root_met_and_the_first_that_is_not() {
        let heads = || {
            vec![
                known(300, Kept::WithLog),
                known(100, Kept::WithLog),
                known(200, Kept::Outside),
            ]
        };
        for (touched, from) in [(0, 0), (99, 0), (100, 100), (199, 100), (200, 200), (299, 200)] {
            let mut entries = entries(300);
            entries[touched][7] ^= 1;
            let hashed = run(&entries, heads());
            let Some(Verdict::Tampered { position, what }) = hashed.verdict() else {
                panic!("{:?}", hashed.verdict());
            };
            assert_eq!(position, Some(Position(from)), "{what}");
            assert_eq!(hashed.confirmed, TreeSize(from));
        }
        assert_eq!(run(&entries(300), heads()).anchored, TreeSize(200));
    }

    #[test]
    fn a_wrong_entry_is_named_exactly_where_leaf_hashes_are_authentic() {
        let leaves = vectors::leaves(300);
        let mut entries = entries(300);
        entries[123][0] ^= 0x80;
        entries[200][0] ^= 0x80;
        let mut hasher = LogHasher::new(vec![known(300, Kept::WithLog)]);
        for (entry, leaf) in entries.iter().zip(&leaves) {
            hasher.entry_expecting(entry, leaf);
        }
        assert!(!hasher.is_clean());
        let hashed = hasher.finish();
        assert_eq!(hashed.leaf_mismatch.map(|m| m.position), Some(Position(123)));
        // The range that the root leaves open begins before it, and says less.
        assert_eq!(hashed.root_mismatches[0].from, Position(0));
        assert!(matches!(
            hashed.verdict(),
            Some(Verdict::Tampered {
                position: Some(Position(123)),
                ..
            })
        ));
    }

    #[test]
    fn swapped_inserted_and_removed_entries_are_found() {
        let whole = entries(50);
        let mut swapped = whole.clone();
        swapped.swap(10, 11);
        let mut inserted = whole.clone();
        inserted.insert(20, vec![]);
        inserted.pop();
        let mut removed = whole.clone();
        removed.remove(20);
        removed.push(vec![]);
        for touched in [swapped, inserted, removed] {
            let verdict = run(&touched, vec![known(50, Kept::WithLog)]).verdict();
            assert!(matches!(verdict, Some(Verdict::Tampered { .. })));
        }
    }

    #[test]
    fn a_cut_tail_is_truncated_and_a_second_history_forked() {
        let cut = run(
            &entries(40),
            vec![known(30, Kept::Outside), known(50, Kept::Outside)],
        );
        assert!(matches!(
            cut.verdict(),
            Some(Verdict::Truncated {
                size: TreeSize(40),
                known: TreeSize(50),
                ..
            })
        ));
        let mut other = entries(50);
        other[35][0] ^= 1;
        let leaves: Vec<Hash> = other.iter().map(|entry| leaf_hash(entry)).collect();
        let signed = KnownRoot {
            root: root_of(&leaves),
            ..known(50, Kept::WithLog)
        };
        let forked = run(
            &other,
            vec![known(30, Kept::Outside), known(40, Kept::Outside), signed],
        );
        assert!(matches!(
            forked.verdict(),
            Some(Verdict::Forked {
                size: TreeSize(40),
                ..
            })
        ));
        assert_eq!((forked.anchored, forked.confirmed), (TreeSize(30), TreeSize(50)));
    }

    #[test]
    fn stubs_stand_in_for_pruned_entries_and_are_still_bound() {
        let leaves = vectors::leaves(50);
        let run = |touched: Option<usize>| {
            let mut hasher = LogHasher::new(vec![known(50, Kept::Outside)]);
            for (i, leaf) in leaves.iter().enumerate() {
                hasher.leaf(if touched == Some(i) {
                    Hash::default()
                } else {
                    *leaf
                });
            }
            hasher.finish().verdict()
        };
        assert_eq!(run(None), None);
        assert!(matches!(run(Some(7)), Some(Verdict::Tampered { .. })));
    }

    #[test]
    fn nodes_are_handed_out_once_however_often_they_are_taken() {
        let mut hasher = LogHasher::new(Vec::new());
        hasher.keep_nodes();
        let (mut nodes, mut level_1) = (TileNodes::new(), Vec::new());
        for (n, entry) in entries(1_000).iter().enumerate() {
            hasher.entry(entry);
            if n % 300 == 0 {
                hasher.take_nodes(&mut nodes);
                level_1.extend(nodes.levels.get(1).cloned().unwrap_or_default());
            }
        }
        hasher.take_nodes(&mut nodes);
        level_1.extend(nodes.levels.get(1).cloned().unwrap_or_default());
        assert_eq!(level_1, MemoryNodes::of_leaves(&vectors::leaves(1_000)).level(1));
    }

    #[test]
    fn it_goes_on_from_a_frontier_as_if_it_had_been_there() {
        let mut frontier = Frontier::new();
        for leaf in vectors::leaves(300) {
            frontier.push(leaf, &mut NoNodes);
        }
        let heads = vec![
            known(10, Kept::WithLog),
            known(300, Kept::WithLog),
            known(310, Kept::WithLog),
        ];
        let mut hasher = LogHasher::resume(frontier, heads);
        for entry in &entries(310)[300..] {
            hasher.entry(entry);
        }
        let hashed = hasher.finish();
        assert_eq!((hashed.verdict(), hashed.confirmed), (None, TreeSize(310)));
    }
}
