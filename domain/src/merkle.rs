//! The tree over the entries: its frontier, the nodes that tiles are made of, and how to read those back.
//!
//! *Ground*: only the leaves. Every other hash here is derived and can be folded again from them.
//! Invariants: each interior node is hashed exactly once as the log grows; the frontier of size n holds one root
//! for each bit that is set in n, at that bit's height; nodes at heights 8, 16, 24, … are handed out in order.
//! Source: RFC 6962 §2.1; the heights are those of C2SP tlog-tiles.
//! Not here: proofs (`proof`), tile paths (`tile`), tiles from somebody who is not trusted (`tile_reader`).

use crate::hash::{Hash, node_hash};
use crate::ports::{ReadError, TileStore};
use crate::position::TreeSize;

/// Binary levels in a tile: what is stored are the nodes at heights 0, 8, 16, … (C2SP tlog-tiles).
pub const TILE_HEIGHT: u32 = 8;
/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Heights that a tree of at most 2^63 − 1 leaves can have a perfect subtree at.
const HEIGHTS: usize = 64;

/// Receives the nodes that become complete at tile levels, each exactly once and in order.
pub trait NodeSink {
    /// The subtree of height 8 × `tile_level` that just became complete; `tile_level` is at least 1.
    fn complete(&mut self, tile_level: usize, hash: Hash);
}

/// Takes no nodes: for those who need only the root.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNodes;

impl NodeSink for NoNodes {
    fn complete(&mut self, _tile_level: usize, _hash: Hash) {}
}

/// New hashes by tile level: `levels[l]` are those at height 8·l in order, `levels[0]` the leaves.
///
/// [`TileNodes::above`] is what a store needs beside the leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileNodes {
    /// Hashes by tile level.
    pub levels: Vec<Vec<Hash>>,
}

impl TileNodes {
    /// Without hashes.
    pub fn new() -> Self {
        Self {
            levels: vec![Vec::new()],
        }
    }

    /// Forgets the hashes, keeps the memory.
    pub fn clear(&mut self) {
        for level in &mut self.levels {
            level.clear();
        }
    }

    /// The leaves.
    pub fn leaves(&self) -> &[Hash] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// What became complete above the leaves; the first is height 8.
    pub fn above(&self) -> &[Vec<Hash>] {
        self.levels.get(1..).unwrap_or_default()
    }
}

impl Default for TileNodes {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeSink for TileNodes {
    fn complete(&mut self, tile_level: usize, hash: Hash) {
        while self.levels.len() <= tile_level {
            self.levels.push(Vec::new());
        }
        self.levels[tile_level].push(hash);
    }
}

/// The right edge of a tree (RFC 6962 compact range): enough to append and to give the root.
#[derive(Clone)]
pub struct Frontier {
    size: u64,
    /// By height; only those whose bit is set in `size` mean anything.
    roots: [Hash; HEIGHTS],
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self {
            size: 0,
            roots: [Hash::default(); HEIGHTS],
        }
    }

    /// How many leaves.
    pub const fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// Appends one leaf hash, and hands out the nodes at tile levels that it completes.
    pub fn push(&mut self, leaf: Hash, sink: &mut impl NodeSink) {
        let mut node = leaf;
        let mut height = 0;
        while self.size >> height & 1 == 1 {
            node = node_hash(&self.roots[height], &node);
            height += 1;
            if height.is_multiple_of(TILE_HEIGHT as usize) {
                sink.complete(height / TILE_HEIGHT as usize, node);
            }
        }
        self.roots[height] = node;
        self.size += 1;
    }

    /// Appends leaf hashes in order; `nodes` receives them and every node at a tile level that they complete.
    pub fn extend(&mut self, leaves: &[Hash], nodes: &mut TileNodes) {
        if nodes.levels.is_empty() {
            nodes.levels.push(Vec::new());
        }
        nodes.levels[0].extend_from_slice(leaves);
        for leaf in leaves {
            self.push(*leaf, nodes);
        }
    }

    /// The root (RFC 6962 §2.1); of the empty tree, the hash of nothing.
    pub fn root(&self) -> Hash {
        self.roots()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(Hash::empty_root)
    }

    /// The roots of the perfect subtrees, from the rightmost and lowest to the leftmost and highest.
    pub fn roots(&self) -> impl Iterator<Item = Hash> + '_ {
        (0..HEIGHTS)
            .filter(|&height| self.size >> height & 1 == 1)
            .map(|height| self.roots[height])
    }

    /// The frontier of a tree of `size`, rebuilt from stored nodes: at most one read of 255 hashes a tile level.
    ///
    /// What is read is believed: compare [`Frontier::root`] with a root that is known.
    ///
    /// # Errors
    /// [`NodeError`] where a node cannot be read.
    pub fn from_nodes(size: TreeSize, read: &(impl NodeReader + ?Sized)) -> Result<Self, NodeError> {
        let mut frontier = Self::new();
        frontier.size = size.0;
        let mut row = Vec::with_capacity(TILE_WIDTH as usize);
        for tile_level in 0..HEIGHTS as u32 / TILE_HEIGHT {
            let complete = size.0 >> (tile_level * TILE_HEIGHT);
            let width = complete % TILE_WIDTH;
            if width == 0 {
                continue;
            }
            row.clear();
            read_exactly(read, tile_level as u8, complete - width, width as usize, &mut row)?;
            let mut rest = row.as_mut_slice();
            for bit in (0..TILE_HEIGHT).rev().filter(|bit| width >> bit & 1 == 1) {
                let (subtree, right) = rest.split_at_mut(1 << bit);
                frontier.roots[(tile_level * TILE_HEIGHT + bit) as usize] = fold_perfect(subtree);
                rest = right;
            }
        }
        Ok(frontier)
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Frontier {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.roots().eq(other.roots())
    }
}

impl Eq for Frontier {}

impl std::fmt::Debug for Frontier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frontier")
            .field("size", &self.size)
            .field("root", &self.root())
            .finish()
    }
}

/// The root over 2^k hashes, folded in place. The slice is never empty.
pub(crate) fn fold_perfect(row: &mut [Hash]) -> Hash {
    debug_assert!(row.len().is_power_of_two());
    let mut width = row.len();
    while width > 1 {
        width /= 2;
        for i in 0..width {
            row[i] = node_hash(&row[2 * i], &row[2 * i + 1]);
        }
    }
    row[0]
}

/// The root over leaf hashes, as RFC 6962 §2.1 writes it down.
///
/// For small trees (a day's stream map) and as the reference that everything faster is tested against.
pub fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split_point(leaves.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The largest power of two smaller than `n`, which is at least 2.
pub(crate) const fn split_point(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

/// Why nodes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// They are not there: not complete yet, or not served.
    #[error("the hashes of tile level {tile_level} from index {index} on are missing")]
    Missing {
        /// Height divided by 8.
        tile_level: u8,
        /// The first that was asked for.
        index: u64,
    },
    /// The store does not answer; try again.
    #[error("the hashes cannot be read now: {0}")]
    Unavailable(String),
    /// What came is not what belongs there.
    #[error("the hashes of tile level {tile_level} around index {index} are wrong: {reason}")]
    Corrupt {
        /// Height divided by 8.
        tile_level: u8,
        /// The first that cannot be trusted.
        index: u64,
        /// What was found.
        reason: String,
    },
}

/// Reads hashes of perfect subtrees at tile levels.
///
/// *Trust*: an implementation says whether what it gives is checked (`tile_reader`) or merely stored.
/// *Concurrency*: reading changes nothing that a second reader could see.
pub trait NodeReader {
    /// Appends to `out` exactly `count` consecutive hashes at height 8 × `tile_level`, from the `index`-th on.
    /// Callers here ask for at most 256, all in one tile.
    ///
    /// # Errors
    /// [`NodeError`]; what was appended to `out` is then meaningless.
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError>;
}

/// Reads and makes sure that as many came as were asked for.
pub(crate) fn read_exactly(
    reader: &(impl NodeReader + ?Sized),
    tile_level: u8,
    index: u64,
    count: usize,
    out: &mut Vec<Hash>,
) -> Result<(), NodeError> {
    let before = out.len();
    reader.read(tile_level, index, count, out)?;
    if out.len() != before + count {
        let reason = format!(
            "{} hashes came instead of {count}",
            out.len().saturating_sub(before)
        );
        return Err(NodeError::Corrupt {
            tile_level,
            index,
            reason,
        });
    }
    Ok(())
}

impl<S: TileStore + ?Sized> NodeReader for S {
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError> {
        self.read_nodes(tile_level, index, count, out)
            .map_err(|error| match error {
                ReadError::Beyond(_) => NodeError::Missing { tile_level, index },
                ReadError::Unavailable(reason) => NodeError::Unavailable(reason),
                ReadError::Corrupt { reason, .. } => NodeError::Corrupt {
                    tile_level,
                    index,
                    reason,
                },
            })
    }
}

/// The reference implementation: all nodes of tile levels in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryNodes {
    nodes: TileNodes,
}

impl MemoryNodes {
    /// Without hashes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of a tree with these leaves.
    pub fn of_leaves(leaves: &[Hash]) -> Self {
        let mut nodes = Self::new();
        Frontier::new().extend(leaves, &mut nodes.nodes);
        nodes
    }

    /// Appends what a frontier handed out.
    pub fn append(&mut self, new: &TileNodes) {
        for (level, hashes) in new.levels.iter().enumerate() {
            if self.nodes.levels.len() <= level {
                self.nodes.levels.push(Vec::new());
            }
            self.nodes.levels[level].extend_from_slice(hashes);
        }
    }

    /// The stored hashes of a tile level.
    pub fn level(&self, tile_level: usize) -> &[Hash] {
        self.nodes.levels.get(tile_level).map_or(&[], Vec::as_slice)
    }

    /// The same, to be written over: for tests that forge.
    pub fn level_mut(&mut self, tile_level: usize) -> Option<&mut Vec<Hash>> {
        self.nodes.levels.get_mut(tile_level)
    }
}

impl NodeReader for MemoryNodes {
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError> {
        let found = usize::try_from(index).ok().and_then(|start| {
            self.level(tile_level.into())
                .get(start..start.checked_add(count)?)
        });
        let Some(hashes) = found else {
            return Err(NodeError::Missing { tile_level, index });
        };
        out.extend_from_slice(hashes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::vectors;

    const BOUNDARIES: [u64; 13] = [0, 1, 2, 3, 4, 5, 255, 256, 257, 65_535, 65_536, 65_537, 70_000];

    #[test]
    fn roots_are_those_published_for_rfc_6962() {
        let leaves: Vec<Hash> = vectors::INPUTS
            .iter()
            .map(|hex| leaf_hash(&vectors::unhex(hex)))
            .collect();
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root().to_hex(), vectors::EMPTY_ROOT);
        for (i, leaf) in leaves.iter().enumerate() {
            frontier.push(*leaf, &mut NoNodes);
            assert_eq!(frontier.root().to_hex(), vectors::ROOTS[i], "size {}", i + 1);
            assert_eq!(root_of(&leaves[..=i]), frontier.root());
        }
    }

    #[test]
    fn roots_are_those_of_the_oracle() {
        let mut oracle = ct_merkle::mem_backed_tree::MemoryBackedTree::<sha2_oracle::Sha256, Vec<u8>>::new();
        let mut frontier = Frontier::new();
        for n in 0u32..600 {
            assert_eq!(frontier.root().0[..], oracle.root().as_bytes()[..], "size {n}");
            let entry = n.to_be_bytes();
            oracle.push(entry.to_vec());
            frontier.push(leaf_hash(&entry), &mut NoNodes);
        }
    }

    #[test]
    fn the_fast_root_is_the_recursive_root_at_boundary_sizes() {
        let leaves = vectors::leaves(70_000);
        let mut frontier = Frontier::new();
        for leaf in leaves.iter().map(Some).chain([None]) {
            if BOUNDARIES.contains(&frontier.size().0) {
                assert_eq!(frontier.root(), root_of(&leaves[..frontier.size().0 as usize]));
            }
            if let Some(leaf) = leaf {
                frontier.push(*leaf, &mut NoNodes);
            }
        }
    }

    #[test]
    fn nodes_at_tile_levels_come_once_and_in_order_however_the_leaves_are_batched() {
        let leaves = vectors::leaves(70_000);
        let whole = MemoryNodes::of_leaves(&leaves);
        assert_eq!(whole.level(0), &leaves[..]);
        assert_eq!((whole.level(1).len(), whole.level(2).len()), (273, 1));
        assert_eq!(whole.level(1)[5], root_of(&leaves[5 * 256..6 * 256]));
        assert_eq!(whole.level(2)[0], root_of(&leaves[..65_536]));
        let (mut frontier, mut batched, mut nodes) = (Frontier::new(), MemoryNodes::new(), TileNodes::new());
        for (i, batch) in leaves.chunks(777).enumerate() {
            if i % 2 == 0 {
                nodes.clear();
            } else {
                nodes = TileNodes::new();
            }
            frontier.extend(batch, &mut nodes);
            batched.append(&nodes);
        }
        assert_eq!(batched, whole);
    }

    #[test]
    fn a_frontier_read_from_nodes_goes_on_like_the_one_that_wrote_them() {
        let leaves = vectors::leaves(70_001);
        let nodes = MemoryNodes::of_leaves(&leaves);
        let mut grown = Frontier::new();
        for (n, leaf) in leaves.iter().enumerate() {
            if BOUNDARIES.contains(&(n as u64)) {
                let mut read = Frontier::from_nodes(TreeSize(n as u64), &nodes).expect("all nodes are there");
                assert_eq!(read, grown, "size {n}");
                read.push(*leaf, &mut NoNodes);
                let mut next = grown.clone();
                next.push(*leaf, &mut NoNodes);
                assert_eq!(read.root(), next.root());
            }
            grown.push(*leaf, &mut NoNodes);
        }
        assert_eq!(
            Frontier::from_nodes(TreeSize(70_002), &nodes),
            Err(NodeError::Missing {
                tile_level: 0,
                index: 69_888
            })
        );
    }

    #[test]
    fn a_reader_that_gives_too_little_is_found_out() {
        struct Short;
        impl NodeReader for Short {
            fn read(&self, _: u8, _: u64, _: usize, _: &mut Vec<Hash>) -> Result<(), NodeError> {
                Ok(())
            }
        }
        assert!(matches!(
            Frontier::from_nodes(TreeSize(3), &Short),
            Err(NodeError::Corrupt { .. })
        ));
    }
}
