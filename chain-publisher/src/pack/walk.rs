//! Which hashes stand for everything that is not given, and the roots that both lead to.
//!
//! Invariants: the pieces cover the tree from left to right, each once; a perfect subtree is a piece of its own unless it
//! holds a given leaf or an included checkpoint ends within it, so they are the fewest; maker and verifier walk alike.
//! Source: FORMAT §7; RFC 6962 §2.1.
//! Not here: where the hashes come from.

use domain::hash::node_hash;
use domain::{Hash, TreeSize};

/// A part of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The leaf at that position, which is given.
    Leaf(u64),
    /// The perfect subtree over the leaves from `index` · 2^`level` on.
    Node {
        /// Its height.
        level: u8,
        /// Which at that height.
        index: u64,
    },
}

/// The pieces of a tree, from left to right.
#[derive(Debug)]
pub struct Walk {
    /// Subtrees to come, the next one last.
    stack: Vec<(u8, u64)>,
    borders: Vec<u64>,
    border: usize,
}

impl Walk {
    /// The pieces of a tree of `size` within which the trees of the sizes `borders` end; those beyond it do not matter.
    pub fn new(size: TreeSize, mut borders: Vec<u64>) -> Self {
        borders.sort_unstable();
        borders.dedup();
        let mut stack = Vec::new();
        let mut end = size.get();
        for level in 0..u64::BITS {
            if size.get() >> level & 1 == 1 {
                end -= 1 << level;
                stack.push((level as u8, end >> level));
            }
        }
        Self {
            stack,
            borders,
            border: 0,
        }
    }

    /// The next piece, where `given` is the first given position that was no piece yet.
    pub fn next(&mut self, given: Option<u64>) -> Option<Piece> {
        loop {
            let (level, index) = self.stack.pop()?;
            let start = index << level;
            let end = start + (1 << level);
            while self
                .borders
                .get(self.border)
                .is_some_and(|border| *border <= start)
            {
                self.border += 1;
            }
            let holds_leaf = given.is_some_and(|given| given < end);
            let holds_border = self.borders.get(self.border).is_some_and(|border| *border < end);
            match level {
                0 if holds_leaf => return Some(Piece::Leaf(start)),
                1.. if holds_leaf || holds_border => {
                    self.stack.push((level - 1, index * 2 + 1));
                    self.stack.push((level - 1, index * 2));
                }
                _ => return Some(Piece::Node { level, index }),
            }
        }
    }
}

/// The root over pieces that come from left to right.
#[derive(Debug, Default)]
pub struct Roots {
    size: u64,
    /// Perfect subtrees, heights falling.
    edge: Vec<(u8, Hash)>,
}

impl Roots {
    /// Of no piece yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece's height and hash.
    pub fn push(&mut self, mut level: u8, mut hash: Hash) {
        self.size += 1 << level;
        while self.edge.last().is_some_and(|(height, _)| *height == level) {
            if let Some((_, left)) = self.edge.pop() {
                hash = node_hash(&left, &hash);
                level += 1;
            }
        }
        self.edge.push((level, hash));
    }

    /// How many leaves the pieces so far cover.
    pub const fn size(&self) -> TreeSize {
        TreeSize(self.size)
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        let hashes = self.edge.iter().rev().map(|(_, hash)| *hash);
        hashes
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(Hash::empty_root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::hash::leaf_hash;
    use domain::merkle::{MemoryNodes, root_of};
    use domain::proof::Prover;
    use std::collections::BTreeSet;

    /// RFC 6962 §2.1, word for word, for any perfect subtree.
    fn needed(start: u64, level: u32, given: &BTreeSet<u64>, borders: &BTreeSet<u64>, out: &mut Vec<Piece>) {
        let end = start + (1 << level);
        let split =
            given.range(start..end).next().is_some() || borders.range(start + 1..end).next().is_some();
        if !split {
            out.push(Piece::Node {
                level: level as u8,
                index: start >> level,
            });
        } else if level == 0 {
            out.push(Piece::Leaf(start));
        } else {
            needed(start, level - 1, given, borders, out);
            needed(start + (1 << (level - 1)), level - 1, given, borders, out);
        }
    }

    #[test]
    fn pieces_are_the_fewest_and_lead_to_every_root() {
        let leaves: Vec<Hash> = (0..70u64).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        for size in [1u64, 2, 3, 7, 8, 64, 65, 70] {
            for seed in 0..200u64 {
                let pick =
                    |n: u64, one_in: u64| (n * 2_654_435_761 + seed * 40_503) >> 7 & 0xff < 256 / one_in;
                let given: BTreeSet<u64> = (0..size).filter(|n| pick(*n, 1 + seed % 9)).collect();
                let borders: BTreeSet<u64> = (1..=size).filter(|n| pick(*n + 99, 3 + seed % 20)).collect();
                let mut expected = Vec::new();
                let mut start = 0;
                for level in (0..7).rev().filter(|level| size >> level & 1 == 1) {
                    needed(start, level, &given, &borders, &mut expected);
                    start += 1 << level;
                }
                let nodes = MemoryNodes::of_leaves(&leaves[..size as usize]);
                let mut prover = Prover::new(0);
                let mut walk = Walk::new(TreeSize(size), borders.iter().copied().collect());
                let (mut roots, mut found) = (Roots::new(), Vec::new());
                let mut left = given.iter().copied().peekable();
                while let Some(piece) = walk.next(left.peek().copied()) {
                    let (level, index) = match piece {
                        Piece::Leaf(position) => {
                            assert_eq!(left.next(), Some(position));
                            (0, position)
                        }
                        Piece::Node { level, index } => (level, index),
                    };
                    let hash = prover
                        .subtree(&nodes, level, index, TreeSize(size))
                        .expect("within the tree");
                    roots.push(level, hash);
                    found.push(piece);
                    let at = roots.size().get();
                    if borders.contains(&at) || at == size {
                        assert_eq!(roots.root(), root_of(&leaves[..at as usize]), "at {at} of {size}");
                    }
                }
                assert_eq!(found, expected, "size {size}, seed {seed}");
            }
        }
    }
}
