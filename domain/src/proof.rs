//! Proofs that an entry is in a tree, and that one tree is a prefix of another; each beside its verifier.
//!
//! Invariants: a verifier takes exactly the hashes that the two numbers call for, no more and no fewer; a prover
//! reads at most two tiles of each tile level, the one on the path and the rightmost one.
//! Source: proofs are built as RFC 6962 §2.1.1 and §2.1.2 write them; verified as RFC 9162 §2.1.3.2 and §2.1.4.2.
//! Not here: reading tiles from somebody who is not trusted (`tile_reader`), the proof as a file (`tlog_proof`).

use crate::folded_tile::FoldedTiles;
use crate::hash::{Hash, node_hash};
use crate::merkle::{NodeError, NodeReader, split_point};
use crate::position::{Position, TreeSize};

/// The most hashes that a proof can have in a tree of at most 2^63 − 1 leaves (C2SP tlog-witness).
pub const PROOF_HASHES_MAX: usize = 63;
/// Tiles that one proof may need: two of each of the eight levels.
pub const PROVER_TILES_MIN: usize = 16;
/// Tiles that a server's prover keeps: 8 MiB, all tiles above the leaves of a log of 33 million entries.
pub const PROVER_TILES: usize = 512;

/// Why a proof was not given, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no such entry.
    #[error("position {position} is not in a tree of size {size}")]
    Outside {
        /// The position asked for.
        position: Position,
        /// The size of the tree.
        size: TreeSize,
    },
    /// A larger tree cannot be the prefix of a smaller one.
    #[error("a tree of size {old} cannot come before one of size {new}")]
    Reversed {
        /// The size that should be the older.
        old: TreeSize,
        /// The size that should be the newer.
        new: TreeSize,
    },
    /// Hashes are missing or left over.
    #[error("the proof has {given} hashes, which is not what these sizes call for")]
    Length {
        /// How many hashes the proof has.
        given: usize,
    },
    /// The hashes do not fold to the root.
    #[error("the proof leads to another root than the one given for size {size}")]
    Root {
        /// The size whose root is not met.
        size: TreeSize,
    },
    /// A hash that the proof needs could not be read.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// The hashes that show that the entry at `position` is in the tree of `size`, from the leaf's sibling upwards.
///
/// For one proof; whoever gives many keeps a [`Prover`].
///
/// # Errors
/// [`ProofError::Outside`] or [`ProofError::Node`].
pub fn inclusion_proof(
    reader: &(impl NodeReader + ?Sized),
    position: Position,
    size: TreeSize,
) -> Result<Vec<Hash>, ProofError> {
    Prover::new(PROVER_TILES_MIN).inclusion(reader, position, size)
}

/// The hashes that show that the tree of size `old` is a prefix of the tree of size `new`.
///
/// Empty where `old` is 0 or equal to `new`. For one proof; whoever gives many keeps a [`Prover`].
///
/// # Errors
/// [`ProofError::Reversed`] or [`ProofError::Node`].
pub fn consistency_proof(
    reader: &(impl NodeReader + ?Sized),
    old: TreeSize,
    new: TreeSize,
) -> Result<Vec<Hash>, ProofError> {
    Prover::new(PROVER_TILES_MIN).consistency(reader, old, new)
}

/// Builds proofs of one log and keeps the tiles it folded: in a tree of ten million entries only the leaf tile is then
/// new to most proofs, a quarter of the hashing.
///
/// A tile is named by its width and never changes, so nothing that is kept goes stale while the log grows. A log that
/// was replaced needs a new prover.
#[derive(Debug)]
pub struct Prover {
    tiles: FoldedTiles,
}

impl Prover {
    /// Keeps at most `tiles_max` tiles of up to 16 KiB, and at least [`PROVER_TILES_MIN`].
    pub fn new(tiles_max: usize) -> Self {
        Self {
            tiles: FoldedTiles::new(tiles_max.max(PROVER_TILES_MIN)),
        }
    }

    /// The root of the perfect subtree of height `level` over the leaves from `index` · 2^`level` on, in the tree of
    /// `size`.
    ///
    /// # Errors
    /// [`ProofError::Outside`] where the tree does not hold all of it, or [`ProofError::Node`].
    pub fn subtree(
        &mut self,
        reader: &(impl NodeReader + ?Sized),
        level: u8,
        index: u64,
        size: TreeSize,
    ) -> Result<Hash, ProofError> {
        let width = 1u64.checked_shl(level.into());
        let start = width.and_then(|width| index.checked_mul(width));
        let end = start
            .zip(width)
            .and_then(|(start, width)| start.checked_add(width));
        match start.zip(end) {
            Some((start, end)) if end <= size.0 => Ok(self.tiles.root(reader, size, start, end)?),
            _ => Err(ProofError::Outside {
                position: Position(start.unwrap_or(u64::MAX)),
                size,
            }),
        }
    }

    /// The hashes that show that the entry at `position` is in the tree of `size`, from the leaf's sibling upwards.
    ///
    /// # Errors
    /// [`ProofError::Outside`] or [`ProofError::Node`].
    pub fn inclusion(
        &mut self,
        reader: &(impl NodeReader + ?Sized),
        position: Position,
        size: TreeSize,
    ) -> Result<Vec<Hash>, ProofError> {
        if !size.contains(position) {
            return Err(ProofError::Outside { position, size });
        }
        let mut proof = Vec::with_capacity(PROOF_HASHES_MAX);
        let (mut start, mut end) = (0, size.0);
        while end - start > 1 {
            let middle = start + split_point(end - start);
            if position.0 < middle {
                proof.push(self.tiles.root(reader, size, middle, end)?);
                end = middle;
            } else {
                proof.push(self.tiles.root(reader, size, start, middle)?);
                start = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// The hashes that show that the tree of size `old` is a prefix of the tree of size `new`; empty where `old` is 0
    /// or equal to `new`.
    ///
    /// # Errors
    /// [`ProofError::Reversed`] or [`ProofError::Node`].
    pub fn consistency(
        &mut self,
        reader: &(impl NodeReader + ?Sized),
        old: TreeSize,
        new: TreeSize,
    ) -> Result<Vec<Hash>, ProofError> {
        if old > new {
            return Err(ProofError::Reversed { old, new });
        }
        let mut proof = Vec::with_capacity(PROOF_HASHES_MAX);
        if old.is_empty() || old == new {
            return Ok(proof);
        }
        let (mut start, mut end) = (0, new.0);
        while end != old.0 {
            let middle = start + split_point(end - start);
            if old.0 <= middle {
                proof.push(self.tiles.root(reader, new, middle, end)?);
                end = middle;
            } else {
                proof.push(self.tiles.root(reader, new, start, middle)?);
                start = middle;
            }
        }
        if start != 0 {
            proof.push(self.tiles.root(reader, new, start, end)?);
        }
        proof.reverse();
        Ok(proof)
    }
}

/// The root of the tree of `size` that a proof for `leaf` at `position` leads to.
///
/// # Errors
/// [`ProofError::Outside`] or [`ProofError::Length`].
pub fn root_from_inclusion(
    leaf: &Hash,
    position: Position,
    size: TreeSize,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if !size.contains(position) {
        return Err(ProofError::Outside { position, size });
    }
    let wrong_length = ProofError::Length { given: proof.len() };
    let (mut node, mut last) = (position.0, size.0 - 1);
    let mut root = *leaf;
    for hash in proof {
        if last == 0 {
            return Err(wrong_length);
        }
        if node & 1 == 1 || node == last {
            root = node_hash(hash, &root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(&root, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(root) } else { Err(wrong_length) }
}

/// Checks that `leaf` is at `position` in the tree of `size` with this root.
///
/// Size and root must come together from one signed checkpoint: the fold alone binds the position, but sizes
/// whose path has the same shape cannot be told apart by it.
///
/// # Errors
/// [`ProofError`]; nothing may be concluded about the leaf then.
pub fn verify_inclusion(
    leaf: &Hash,
    position: Position,
    size: TreeSize,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if root_from_inclusion(leaf, position, size, proof)? == *root {
        Ok(())
    } else {
        Err(ProofError::Root { size })
    }
}

/// The root of the tree just before its last entry, which is what that entry's inclusion proof folds to without it.
///
/// So a day's closing entry, which states the root before itself, can be held against its own proof.
pub fn root_before_last(proof: &[Hash]) -> Hash {
    proof
        .iter()
        .copied()
        .reduce(|right, left| node_hash(&left, &right))
        .unwrap_or_else(Hash::empty_root)
}

/// Checks that the tree of size `old` with `old_root` is a prefix of the tree of size `new` with `new_root`.
///
/// # Errors
/// [`ProofError`]; the two roots then belong to different histories, or the proof is not the right one.
pub fn verify_consistency(
    old: TreeSize,
    old_root: &Hash,
    new: TreeSize,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Reversed { old, new });
    }
    for (size, root) in [(old, old_root), (new, new_root)] {
        if size.is_empty() && *root != Hash::empty_root() {
            return Err(ProofError::Root { size });
        }
    }
    if old.is_empty() || old == new {
        return match proof {
            [] if old.is_empty() || old_root == new_root => Ok(()),
            [] => Err(ProofError::Root { size: new }),
            _ => Err(ProofError::Length { given: proof.len() }),
        };
    }
    fold_consistency(old, old_root, new, new_root, proof)
}

/// RFC 9162 §2.1.4.2 for 0 < old < new.
fn fold_consistency(
    old: TreeSize,
    old_root: &Hash,
    new: TreeSize,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    let wrong_length = ProofError::Length { given: proof.len() };
    // Where the old tree is one perfect subtree, its root is the first hash and is left out of the proof.
    let (first, rest) = if old.0.is_power_of_two() {
        (*old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(wrong_length.clone())?;
        (*first, rest)
    };
    let (mut node, mut last) = (old.0 - 1, new.0 - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut to_old, mut to_new) = (first, first);
    for hash in rest {
        if last == 0 {
            return Err(wrong_length);
        }
        if node & 1 == 1 || node == last {
            to_old = node_hash(hash, &to_old);
            to_new = node_hash(hash, &to_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            to_new = node_hash(&to_new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    for (size, root, folded) in [(old, old_root, to_old), (new, new_root, to_new)] {
        if folded != *root {
            return Err(ProofError::Root { size });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
