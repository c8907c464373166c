//! The frontier against published roots, an oracle, and the recursive definition.

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
