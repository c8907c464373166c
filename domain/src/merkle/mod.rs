//! The tree over the entries: its frontier, its root, and (in `nodes`) the hashes that tiles are made of.
//!
//! *Ground*: only the leaves. Every other hash here is derived and can be folded again from them.
//! Invariants: each interior node is hashed exactly once as the log grows; the frontier of size n holds one root
//! for each bit that is set in n, at that bit's height; nodes at heights 8, 16, 24, … are handed out in order.
//! Source: RFC 6962 §2.1; the heights are those of C2SP tlog-tiles.
//! Not here: proofs (`proof`), tile paths (`tile`), tiles from somebody who is not trusted (`tile_reader`).

mod nodes;

pub(crate) use nodes::read_exactly;
pub use nodes::{MemoryNodes, NoNodes, NodeError, NodeReader, NodeSink, TileNodes};

use crate::hash::{Hash, node_hash};
use crate::position::TreeSize;

/// Binary levels in a tile: what is stored are the nodes at heights 0, 8, 16, … (C2SP tlog-tiles).
pub const TILE_HEIGHT: u32 = 8;
/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Heights that a tree of at most 2^63 − 1 leaves can have a perfect subtree at.
const HEIGHTS: usize = 64;

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

#[cfg(test)]
mod tests;
