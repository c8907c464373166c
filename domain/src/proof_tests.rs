//! Proofs against published vectors, against an independent implementation, and under attack.
//!
//! Not here: the tree's own tests (`merkle`).

use super::*;
use crate::hash::leaf_hash;
use crate::merkle::{MemoryNodes, root_of};
use crate::vectors;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

fn flip(hash: &Hash, bit: usize) -> Hash {
    let mut flipped = *hash;
    flipped.0[bit / 8] ^= 1 << (bit % 8);
    flipped
}

fn published() -> Vec<Hash> {
    vectors::INPUTS
        .iter()
        .map(|hex| leaf_hash(&vectors::unhex(hex)))
        .collect()
}

#[test]
fn inclusion_proofs_are_those_published_for_rfc_6962() {
    let leaves = published();
    let nodes = MemoryNodes::of_leaves(&leaves);
    for (position, size, hashes) in vectors::INCLUSION {
        let expected: Vec<Hash> = hashes.iter().map(|hex| vectors::hash(hex)).collect();
        let (at, size) = (Position(position), TreeSize(size));
        assert_eq!(inclusion_proof(&nodes, at, size), Ok(expected.clone()));
        let root = vectors::hash(vectors::ROOTS[size.0 as usize - 1]);
        assert_eq!(
            verify_inclusion(&leaves[position as usize], at, size, &expected, &root),
            Ok(())
        );
    }
}

#[test]
fn consistency_proofs_are_those_published_for_rfc_6962() {
    let nodes = MemoryNodes::of_leaves(&published());
    for (old, new, hashes) in vectors::CONSISTENCY {
        let expected: Vec<Hash> = hashes.iter().map(|hex| vectors::hash(hex)).collect();
        assert_eq!(
            consistency_proof(&nodes, TreeSize(old), TreeSize(new)),
            Ok(expected.clone())
        );
        let [old_root, new_root] = [old, new].map(|n| vectors::hash(vectors::ROOTS[n as usize - 1]));
        assert_eq!(
            verify_consistency(TreeSize(old), &old_root, TreeSize(new), &new_root, &expected),
            Ok(())
        );
    }
}

#[test]
fn every_proof_of_every_small_tree_is_that_of_the_oracle() {
    type Oracle = ct_merkle::mem_backed_tree::MemoryBackedTree<sha2_oracle::Sha256, Vec<u8>>;
    let bytes = |proof: Vec<Hash>| proof.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>();
    let leaves = vectors::leaves(70);
    let nodes = MemoryNodes::of_leaves(&leaves);
    let mut oracle = Oracle::new();
    for size in 1..=70u64 {
        oracle.push((size - 1).to_be_bytes().to_vec());
        for position in 0..size {
            let proof = inclusion_proof(&nodes, Position(position), TreeSize(size)).expect("inside");
            assert_eq!(oracle.prove_inclusion(position as usize).as_bytes(), bytes(proof));
        }
        for old in 1..size {
            let proof = consistency_proof(&nodes, TreeSize(old), TreeSize(size)).expect("in order");
            let theirs = oracle.prove_consistency((size - old) as usize);
            assert_eq!(theirs.as_bytes(), bytes(proof), "{old} to {size}");
        }
    }
}

/// Sizes around tile borders, and positions around theirs.
const SIZES: [u64; 11] = [1, 2, 3, 255, 256, 257, 511, 65_535, 65_536, 65_537, 70_000];

#[test]
fn proofs_hold_at_boundary_sizes() {
    let leaves = vectors::leaves(70_000);
    let nodes = MemoryNodes::of_leaves(&leaves);
    for new in SIZES {
        let root = root_of(&leaves[..new as usize]);
        for position in [0, 1, 2, 254, 255, 256, 257, 65_534, 65_535, 65_536, 69_999] {
            let proof = inclusion_proof(&nodes, Position(position), TreeSize(new));
            if position >= new {
                let (position, size) = (Position(position), TreeSize(new));
                assert_eq!(proof, Err(ProofError::Outside { position, size }));
                continue;
            }
            let proof = proof.expect("inside");
            let leaf = &leaves[position as usize];
            assert_eq!(
                verify_inclusion(leaf, Position(position), TreeSize(new), &proof, &root),
                Ok(())
            );
        }
        for old in SIZES.into_iter().filter(|old| *old <= new) {
            let old_root = root_of(&leaves[..old as usize]);
            let proof = consistency_proof(&nodes, TreeSize(old), TreeSize(new)).expect("in order");
            assert_eq!(
                verify_consistency(TreeSize(old), &old_root, TreeSize(new), &root, &proof),
                Ok(())
            );
        }
    }
}

#[test]
fn the_last_entrys_proof_gives_the_root_before_it() {
    let leaves = vectors::leaves(300);
    let nodes = MemoryNodes::of_leaves(&leaves);
    for size in 0..300 {
        let proof = inclusion_proof(&nodes, Position(size), TreeSize(size + 1)).expect("inside");
        assert_eq!(
            root_before_last(&proof),
            root_of(&leaves[..size as usize]),
            "size {size}"
        );
    }
}

#[test]
fn empty_equal_and_reversed_trees() {
    let [one, two] = [vectors::leaves(1), vectors::leaves(2)].map(|leaves| root_of(&leaves));
    let empty = Hash::empty_root();
    let check = |old, old_root: &Hash, new, new_root: &Hash, proof: &[Hash]| {
        verify_consistency(TreeSize(old), old_root, TreeSize(new), new_root, proof)
    };
    assert_eq!(check(0, &empty, 2, &two, &[]), Ok(()));
    assert_eq!(check(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(check(2, &two, 2, &two, &[]), Ok(()));
    assert_eq!(
        check(0, &empty, 2, &two, &[one]),
        Err(ProofError::Length { given: 1 })
    );
    assert_eq!(
        check(2, &two, 2, &two, &[one]),
        Err(ProofError::Length { given: 1 })
    );
    assert_eq!(
        check(2, &two, 2, &one, &[]),
        Err(ProofError::Root { size: TreeSize(2) })
    );
    assert_eq!(
        check(0, &one, 2, &two, &[]),
        Err(ProofError::Root { size: TreeSize(0) })
    );
    assert_eq!(
        check(0, &empty, 0, &one, &[]),
        Err(ProofError::Root { size: TreeSize(0) })
    );
    assert_eq!(
        check(0, &one, 0, &one, &[]),
        Err(ProofError::Root { size: TreeSize(0) })
    );
    assert_eq!(
        check(2, &two, 1, &one, &[]),
        Err(ProofError::Reversed {
            old: TreeSize(2),
            new: TreeSize(1)
        })
    );
    let nodes = MemoryNodes::of_leaves(&vectors::leaves(2));
    assert_eq!(consistency_proof(&nodes, TreeSize(0), TreeSize(2)), Ok(vec![]));
    assert_eq!(consistency_proof(&nodes, TreeSize(2), TreeSize(2)), Ok(vec![]));
    assert!(consistency_proof(&nodes, TreeSize(2), TreeSize(1)).is_err());
    assert!(inclusion_proof(&nodes, Position(0), TreeSize(0)).is_err());
    assert!(verify_inclusion(&one, Position(0), TreeSize(0), &[], &empty).is_err());
    assert!(verify_inclusion(&one, Position(u64::MAX), TreeSize(u64::MAX), &[], &empty).is_err());
}

#[test]
fn a_node_cannot_be_passed_off_as_an_entry() {
    // The classic second preimage: the two halves of a node, offered as an entry of a smaller tree.
    let leaves = vectors::leaves(2);
    let root = root_of(&leaves);
    let forged_entry = [leaves[0].0, leaves[1].0].concat();
    assert!(verify_inclusion(&leaf_hash(&forged_entry), Position(0), TreeSize(1), &[], &root).is_err());
}

#[test]
fn no_proof_reads_more_than_two_tiles_of_a_level() {
    struct Counting(MemoryNodes, RefCell<BTreeMap<u8, u32>>);
    impl NodeReader for Counting {
        fn read(&self, level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError> {
            assert!(
                count <= 256 && index % 256 + count as u64 <= 256,
                "a read stays in one tile"
            );
            *self.1.borrow_mut().entry(level).or_default() += 1;
            self.0.read(level, index, count, out)
        }
    }
    let reader = Counting(
        MemoryNodes::of_leaves(&vectors::leaves(70_000)),
        RefCell::default(),
    );
    for n in [1, 255, 256, 300, 65_535, 65_536, 65_800, 69_999] {
        for prove in [0, 1] {
            reader.1.borrow_mut().clear();
            match prove {
                0 => inclusion_proof(&reader, Position(n), TreeSize(70_000)),
                _ => consistency_proof(&reader, TreeSize(n), TreeSize(70_000)),
            }
            .expect("inside");
            assert!(
                reader.1.borrow().values().all(|reads| *reads <= 2),
                "{n}: {:?}",
                reader.1
            );
        }
    }
}

#[test]
fn a_prover_that_keeps_tiles_gives_the_same_proofs_while_the_log_grows() {
    let leaves = vectors::leaves(3_000);
    let nodes = MemoryNodes::of_leaves(&leaves);
    for tiles_max in [0, 20, PROVER_TILES] {
        let mut prover = Prover::new(tiles_max);
        for size in (1..3_000).step_by(97) {
            for position in [0, size / 3, size / 2, size - 1] {
                let (position, size) = (Position(position), TreeSize(size));
                assert_eq!(
                    prover.inclusion(&nodes, position, size),
                    inclusion_proof(&nodes, position, size)
                );
                let old = position.size_through();
                assert_eq!(
                    prover.consistency(&nodes, old, size),
                    consistency_proof(&nodes, old, size)
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn one_flipped_bit_breaks_an_inclusion_proof(size in 1u64..700, at in any::<u64>(), bit in 0usize..256, which in any::<usize>()) {
        let leaves = vectors::leaves(size);
        let nodes = MemoryNodes::of_leaves(&leaves);
        let (position, size) = (Position(at % size), TreeSize(size));
        let (leaf, root) = (leaves[position.0 as usize], root_of(&leaves));
        let proof = inclusion_proof(&nodes, position, size).expect("inside");
        let check = |leaf: &Hash, position, size, proof: &[Hash], root: &Hash| {
            verify_inclusion(leaf, position, size, proof, root).is_ok()
        };
        prop_assert!(check(&leaf, position, size, &proof, &root));
        prop_assert!(!check(&flip(&leaf, bit), position, size, &proof, &root));
        prop_assert!(!check(&leaf, position, size, &proof, &flip(&root, bit)));
        if !proof.is_empty() {
            let mut forged = proof.clone();
            let i = which % proof.len();
            forged[i] = flip(&proof[i], bit);
            prop_assert!(!check(&leaf, position, size, &forged, &root));
            forged.remove(i);
            prop_assert!(!check(&leaf, position, size, &forged, &root));
        }
        let mut longer = proof.clone();
        longer.insert(which % (proof.len() + 1), flip(&root, bit));
        prop_assert!(!check(&leaf, position, size, &longer, &root));
        for other in 0..size.0 {
            prop_assert_eq!(check(&leaf, Position(other), size, &proof, &root), other == position.0);
        }
        prop_assert!(!check(&leaf, Position(size.0), size, &proof, &root));
    }

    #[test]
    fn one_flipped_bit_breaks_a_consistency_proof(new in 1u64..700, at in any::<u64>(), bit in 0usize..256, which in any::<usize>()) {
        let leaves = vectors::leaves(new);
        let nodes = MemoryNodes::of_leaves(&leaves);
        let old = TreeSize(at % (new + 1));
        let (old_root, new_root, new) = (root_of(&leaves[..old.0 as usize]), root_of(&leaves), TreeSize(new));
        let proof = consistency_proof(&nodes, old, new).expect("in order");
        let check = |old, old_root: &Hash, new, new_root: &Hash, proof: &[Hash]| {
            verify_consistency(old, old_root, new, new_root, proof).is_ok()
        };
        prop_assert!(check(old, &old_root, new, &new_root, &proof));
        prop_assert!(!check(old, &flip(&old_root, bit), new, &new_root, &proof));
        // Nothing is claimed about a tree's content by the fact that the empty tree is its prefix.
        prop_assert_eq!(check(old, &old_root, new, &flip(&new_root, bit), &proof), old.is_empty());
        if !proof.is_empty() {
            let mut forged = proof.clone();
            let i = which % proof.len();
            forged[i] = flip(&proof[i], bit);
            prop_assert!(!check(old, &old_root, new, &new_root, &forged));
            forged.remove(i);
            prop_assert!(!check(old, &old_root, new, &new_root, &forged));
        }
        let mut longer = proof.clone();
        longer.insert(which % (proof.len() + 1), flip(&new_root, bit));
        prop_assert!(!check(old, &old_root, new, &new_root, &longer));
        for other in (1..=new.0).map(TreeSize).filter(|other| *other != old && !old.is_empty()) {
            prop_assert!(!check(other, &old_root, new, &new_root, &proof));
        }
    }

    #[test]
    fn verifiers_take_anything_without_panic(a in any::<u64>(), b in any::<u64>(), hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..70)) {
        let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let root = Hash::empty_root();
        prop_assert!(verify_inclusion(&root, Position(a), TreeSize(b), &hashes, &root).is_err());
        let _ = verify_consistency(TreeSize(a), &root, TreeSize(b), &root, &hashes);
    }
}
