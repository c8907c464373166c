//! The verifying reader under attack, first of all by the forged tiles of CVE-2026-56865.

use super::*;
use crate::merkle::{MemoryNodes, root_of};
use crate::proof::{consistency_proof, inclusion_proof, verify_inclusion};
use crate::tile::{encode_bundle, encode_tile, read_tile, tiles_of};
use crate::vectors;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Served = BTreeMap<Tile, Vec<u8>>;

fn served(nodes: &MemoryNodes, size: u64) -> Served {
    tiles_of(TreeSize(size))
        .map(|tile| (tile, read_tile(nodes, tile).expect("it is there")))
        .collect()
}

fn source(tiles: &Served) -> impl TileSource + '_ {
    |tile: Tile| {
        let missing = NodeError::Missing {
            tile_level: tile.level(),
            index: tile.start(),
        };
        tiles.get(&tile).cloned().ok_or(missing)
    }
}

/// Go's golang.org/x/mod/sumdb/tlog before v0.40.0 (CVE-2026-56865), and tlog_tiles 0.2 after it.
///
/// Its reader fetches the tiles that hold the roots of the tree's perfect subtrees, folds these to the tree hash, and
/// then checks "the remaining tiles" against their parents: but it starts with the tile numbered like the *count of
/// subtree roots*, while several roots lie in one tile. In a tree of 70,000 entries there are 6 roots in 3 tiles, so
/// the first three tiles that are fetched for the question itself are never checked. Whoever serves tiles can thus
/// answer with a leaf tile of their own, and with a parent tile that matches it, below an honest signed root.
#[test]
fn forged_tiles_below_an_honest_root_are_refused() {
    const SIZE: u64 = 70_000;
    let leaves = vectors::leaves(SIZE);
    let root = root_of(&leaves);
    let honest = served(&MemoryNodes::of_leaves(&leaves), SIZE);
    let forged_leaf = leaf_hash(b"an entry that was never logged");
    let position = Position(1_234);
    let (leaf_tile, parent) = (
        Tile::holding(position, TreeSize(SIZE)),
        Tile::at(1, 0, TreeSize(SIZE)),
    );
    let (leaf_tile, parent) = (leaf_tile.expect("inside"), parent.expect("inside"));

    // One forged tile: the leaf tile alone.
    let mut forged = parse_tile(&honest[&leaf_tile], 256).expect("full");
    forged[(position.0 % 256) as usize] = forged_leaf;
    let mut one = honest.clone();
    one.insert(leaf_tile, encode_tile(&forged));
    // Two: its parent agrees with it.
    let mut row = parse_tile(&honest[&parent], 256).expect("full");
    row[leaf_tile.index() as usize] = fold_perfect(&mut forged.clone());
    let mut two = one.clone();
    two.insert(parent, encode_tile(&row));

    for tiles in [&one, &two] {
        // The attack works on a reader with the bug; were it mended there, this line would tell.
        assert_eq!(oracle_reads(tiles, SIZE, root, position), Some(forged_leaf));
        let reader =
            TileReader::open(source(tiles), TreeSize(SIZE), &root).expect("the rightmost tiles are honest");
        assert!(matches!(reader.leaf(position), Err(NodeError::Corrupt { .. })));
        assert!(inclusion_proof(&reader, position, TreeSize(SIZE)).is_err());
        assert!(consistency_proof(&reader, TreeSize(position.0), TreeSize(SIZE)).is_err());
        // Honest tiles beside the forged ones are still good.
        assert_eq!(reader.leaf(Position(SIZE - 1)), Ok(leaves[SIZE as usize - 1]));
    }
    let reader = TileReader::open(source(&honest), TreeSize(SIZE), &root).expect("honest");
    assert_eq!(reader.leaf(position), Ok(leaves[position.0 as usize]));
}

/// The leaf hash that the reader of `tlog_tiles` gives.
fn oracle_reads(tiles: &Served, size: u64, root: Hash, position: Position) -> Option<Hash> {
    use tlog_tiles::HashReader;
    struct Tiles<'a>(&'a Served, u64);
    impl tlog_tiles::TileReader for Tiles<'_> {
        fn height(&self) -> u8 {
            8
        }
        fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
            let ours = |tile: &tlog_tiles::Tile| Tile::at(tile.level(), tile.level_index(), TreeSize(self.1));
            Ok(tiles
                .iter()
                .map(|tile| self.0[&ours(tile).expect("inside")].clone())
                .collect())
        }
        fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
    }
    let tiles = Tiles(tiles, size);
    let reader = tlog_tiles::TileHashReader::new(size, tlog_tiles::Hash(root.0), &tiles);
    let hashes = reader
        .read_hashes(&[tlog_tiles::stored_hash_index(0, position.0)])
        .ok()?;
    hashes.first().map(|hash| Hash(hash.0))
}

#[test]
fn honest_tiles_give_every_hash_at_boundary_sizes() {
    let leaves = vectors::leaves(70_000);
    let nodes = MemoryNodes::of_leaves(&leaves);
    for size in [0, 1, 2, 3, 255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
        let tiles = served(&nodes, size);
        let root = root_of(&leaves[..size as usize]);
        let reader = TileReader::open(source(&tiles), TreeSize(size), &root).expect("honest");
        for position in [0, 1, 254, 255, 256, 257, 65_534, 65_535, 65_536]
            .into_iter()
            .filter(|p| *p < size)
        {
            let proof = inclusion_proof(&reader, Position(position), TreeSize(size)).expect("honest");
            let leaf = reader.leaf(Position(position)).expect("honest");
            assert_eq!(leaf, leaves[position as usize]);
            assert_eq!(
                verify_inclusion(&leaf, Position(position), TreeSize(size), &proof, &root),
                Ok(())
            );
        }
        assert_eq!(
            Frontier::from_nodes(TreeSize(size), &reader).map(|f| f.root()),
            Ok(root)
        );
        let mut all = Vec::new();
        assert_eq!(reader.read(0, 0, size as usize, &mut all), Ok(()));
        assert!(all == leaves[..size as usize], "a read may cross tiles");
        assert!(matches!(
            reader.leaf(Position(size)),
            Err(NodeError::Missing { .. })
        ));
        assert!(reader.read(0, u64::MAX, 2, &mut all).is_err());
        assert!(reader.read(255, 0, 1, &mut all).is_err());
    }
}

#[test]
fn another_root_or_size_is_refused_at_once() {
    let leaves = vectors::leaves(700);
    let tiles = served(&MemoryNodes::of_leaves(&leaves), 700);
    let root = root_of(&leaves);
    assert!(TileReader::open(source(&tiles), TreeSize(700), &Hash::default()).is_err());
    for size in [0, 1, 256, 512, 699, 701, 65_536] {
        assert!(
            TileReader::open(source(&tiles), TreeSize(size), &root).is_err(),
            "size {size}"
        );
    }
}

#[test]
fn a_partial_tile_that_is_gone_is_taken_from_the_full_one() {
    let leaves = vectors::leaves(1_024);
    let nodes = MemoryNodes::of_leaves(&leaves);
    let root = root_of(&leaves[..700]);
    let later = served(&nodes, 1_024);
    let reader = TileReader::open(source(&later), TreeSize(700), &root);
    // Level 1 has four hashes now and no full tile; a server must keep its partial tile of two.
    assert!(matches!(
        reader.err(),
        Some(NodeError::Missing { tile_level: 1, .. })
    ));
    let mut kept = later.clone();
    kept.extend(
        served(&nodes, 700)
            .into_iter()
            .filter(|(tile, _)| tile.level() == 1),
    );
    let reader = TileReader::open(source(&kept), TreeSize(700), &root).expect("the full leaf tile has them");
    assert_eq!(reader.leaf(Position(699)), Ok(leaves[699]));
    assert!(
        reader.leaf(Position(700)).is_err(),
        "what lies beyond the signed size is not given out"
    );
    drop(reader);
    let full = Tile::at(0, 2, TreeSize(1_024)).expect("full");
    kept.insert(full, vec![0; 100]);
    assert!(TileReader::open(source(&kept), TreeSize(700), &root).is_err());
}

#[test]
fn entries_are_held_against_their_leaf_hashes() {
    let leaves = vectors::leaves(300);
    let tiles = served(&MemoryNodes::of_leaves(&leaves), 300);
    let reader = TileReader::open(source(&tiles), TreeSize(300), &root_of(&leaves)).expect("honest");
    for index in [0, 1] {
        let bundle = Bundle::at(index, TreeSize(300)).expect("inside");
        let numbers: Vec<[u8; 8]> = (0..u64::from(bundle.width()))
            .map(|i| (bundle.start().0 + i).to_be_bytes())
            .collect();
        let bytes = encode_bundle(numbers.iter().map(|n| &n[..])).expect("short");
        assert_eq!(
            reader.check_bundle(bundle, &bytes).map(|e| e.len()),
            Ok(bundle.width().into())
        );
        let mut wrong = bytes.clone();
        wrong[10 * 7 + 5] ^= 1;
        assert_eq!(
            reader.check_bundle(bundle, &wrong),
            Err(BundleError::Entry(bundle.start().plus(7)))
        );
        assert!(matches!(
            reader.check_bundle(bundle, &bytes[1..]),
            Err(BundleError::Shape(_))
        ));
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let leaves = vectors::leaves(256 * 100);
    let tiles = served(&MemoryNodes::of_leaves(&leaves), 256 * 100);
    let reader = TileReader::open(source(&tiles), TreeSize(256 * 100), &root_of(&leaves)).expect("honest");
    for position in (0..256 * 100).step_by(256) {
        assert_eq!(reader.leaf(Position(position)), Ok(leaves[position as usize]));
    }
    assert_eq!(reader.kept.borrow().len(), KEPT_TILES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_flipped_bit_in_any_tile_never_becomes_a_wrong_hash(
        size in 1u64..3_000, tile: prop::sample::Index, bit: prop::sample::Index, at: prop::sample::Index, other: prop::sample::Index,
    ) {
        let leaves = vectors::leaves(size);
        let root = root_of(&leaves);
        let mut tiles = served(&MemoryNodes::of_leaves(&leaves), size);
        let forged: Tile = *tiles.keys().nth(tile.index(tiles.len())).expect("inside");
        let bytes = tiles.get_mut(&forged).expect("inside");
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened = TileReader::open(source(&tiles), TreeSize(size), &root);
        prop_assert_eq!(opened.is_err(), !forged.is_full(), "a rightmost tile is checked at once");
        let Ok(reader) = opened else { return Ok(()) };
        // Any position is either honest or refused, and those of the forged tile are refused.
        let below = forged.start() << (8 * u32::from(forged.level()));
        let inside = Position((below + at.index(256) as u64).min(size - 1));
        prop_assert!(reader.leaf(inside).is_err());
        let elsewhere = Position(other.index(size as usize) as u64);
        if let Ok(leaf) = reader.leaf(elsewhere) {
            prop_assert_eq!(leaf, leaves[elsewhere.0 as usize]);
        }
    }
}
