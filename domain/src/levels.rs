//! Trees of which every full node is in memory, level by level: root and audit paths (RFC 6962 §2.1).
//!
//! Invariant: `levels[0]` are the leaf hashes, `levels[k]` the roots of full subtrees of 2^k of them; a path that is made
//! here verifies with `proof::verify_inclusion`.
//! Not here: trees too large for that (`merkle`, `proof`), how the levels come about (`stream`, whoever reads lines).

use crate::hash::{Hash, node_hash};

/// The levels over these leaves.
pub fn levels(leaves: Vec<Hash>) -> Vec<Vec<Hash>> {
    let mut levels = vec![leaves];
    while let Some(below) = levels.last().filter(|below| below.len() > 1) {
        let pairs = below.chunks_exact(2);
        levels.push(pairs.map(|pair| node_hash(&pair[0], &pair[1])).collect());
    }
    levels
}

/// The root over all leaves.
pub fn root(levels: &[Vec<Hash>]) -> Hash {
    match levels.first().map_or(0, Vec::len) {
        0 => Hash::empty_root(),
        size => subtree(levels, 0, size),
    }
}

/// The audit path of the leaf at `index`, from the leaf up; `None` where there is no such leaf.
pub fn audit_path(levels: &[Vec<Hash>], index: usize) -> Option<Vec<Hash>> {
    let size = levels.first().map_or(0, Vec::len);
    (index < size).then(|| path(levels, index, 0, size))
}

fn path(levels: &[Vec<Hash>], index: usize, from: usize, size: usize) -> Vec<Hash> {
    if size <= 1 {
        return Vec::new();
    }
    let left = size.next_power_of_two() / 2;
    if index < left {
        let mut path = path(levels, index, from, left);
        path.push(subtree(levels, from + left, size - left));
        path
    } else {
        let mut path = path(levels, index - left, from + left, size - left);
        path.push(subtree(levels, from, left));
        path
    }
}

/// The root of `size` leaves from `from` on; `from` is a multiple of the largest power of two below.
fn subtree(levels: &[Vec<Hash>], from: usize, size: usize) -> Hash {
    if size.is_power_of_two() {
        return levels[size.trailing_zeros() as usize][from / size];
    }
    let left = size.next_power_of_two() / 2;
    node_hash(
        &subtree(levels, from, left),
        &subtree(levels, from + left, size - left),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::proof::verify_inclusion;
    use crate::{Position, TreeSize};

    #[test]
    fn every_path_of_every_small_tree_leads_to_its_root() {
        for size in 0..70u64 {
            let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
            let levels = levels(leaves.clone());
            for (index, leaf) in leaves.iter().enumerate() {
                let path = audit_path(&levels, index).expect("a leaf");
                let found = verify_inclusion(
                    leaf,
                    Position(index as u64),
                    TreeSize(size),
                    &path,
                    &root(&levels),
                );
                assert!(found.is_ok(), "{index} of {size}");
            }
            assert_eq!(audit_path(&levels, size as usize), None);
        }
        assert_eq!(root(&levels(Vec::new())), Hash::empty_root());
    }
}
