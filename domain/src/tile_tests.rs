//! Tile paths, coordinates and contents, against the specification and another implementation.

use super::*;
use crate::merkle::MemoryNodes;
use crate::vectors;
use proptest::prelude::*;

fn names(tiles: impl Iterator<Item = Tile>) -> Vec<String> {
    tiles.map(|tile| tile.to_string()).collect()
}

#[test]
fn a_tree_of_seventy_thousand_has_the_tiles_that_the_specification_counts() {
    let size = TreeSize(70_000);
    let tiles: Vec<Tile> = tiles_of(size).collect();
    let count = |level, full| {
        tiles
            .iter()
            .filter(|t| t.level() == level && t.is_full() == full)
            .count()
    };
    assert_eq!((count(0, true), count(0, false)), (273, 1));
    assert_eq!((count(1, true), count(1, false)), (1, 1));
    assert_eq!((count(2, true), count(2, false)), (0, 1));
    let partial: Vec<String> = tiles
        .iter()
        .filter(|t| !t.is_full())
        .map(Tile::to_string)
        .collect();
    assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    assert_eq!(names(tiles_of(TreeSize(256))), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(tiles_of(TreeSize(0)).count(), 0);
    assert_eq!(
        bundles_of(size)
            .map(|bundle| u64::from(bundle.width()))
            .sum::<u64>(),
        70_000
    );
}

#[test]
fn a_log_publishes_only_what_changed() {
    assert_eq!(
        names(tiles_since(TreeSize(255), TreeSize(257))),
        ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]
    );
    assert_eq!(
        names(tiles_since(TreeSize(256), TreeSize(257))),
        ["tile/0/001.p/1"]
    );
    assert_eq!(names(tiles_since(TreeSize(257), TreeSize(257))), [""; 0]);
    assert_eq!(names(tiles_since(TreeSize(257), TreeSize(256))), [""; 0]);
    let bundles: Vec<String> = bundles_since(TreeSize(300), TreeSize(600))
        .map(|b| b.to_string())
        .collect();
    assert_eq!(bundles, ["tile/entries/001", "tile/entries/002.p/88"]);
}

#[test]
fn paths_are_spelled_as_the_specification_says() {
    for path in [
        "tile/0/x001/x234/067",
        "tile/63/000",
        "tile/5/000.p/1",
        "tile/0/999.p/255",
        "tile/entries/x001/000",
        "tile/entries/001.p/17",
        "tile/0/x036/x028/x797/x018/x963/967",
    ] {
        assert_eq!(TilePath::parse(path).map(|p| p.to_string()).as_deref(), Ok(path));
    }
    for bad in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/x001/x000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/X001/000",
        "tile/0/+01",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/../000",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/٠٠٠",
        "tile/entries/x1/000",
        "checkpoint",
    ] {
        assert_eq!(TilePath::parse(bad), Err(TileError::Path), "{bad:?}");
    }
}

#[test]
fn tiles_are_there_exactly_where_the_tree_reaches() {
    for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537] {
        let size = TreeSize(size);
        for position in [0, 1, 255, 256, 65_535, 65_536] {
            let tile = Tile::holding(Position(position), size);
            assert_eq!(tile.is_some(), size.contains(Position(position)));
            assert_eq!(Bundle::holding(Position(position), size).map(Bundle::tile), tile);
        }
        assert_eq!(Tile::at(LEVEL_MAX, 0, size), None);
        assert_eq!(Tile::at(0, u64::MAX, size), None);
    }
    assert_eq!(Tile::at(7, 0, TreeSize::MAX).map(Tile::width), Some(127));
}

#[test]
fn bundles_are_read_strictly() {
    let entries: [&[u8]; 3] = [b"one", b"", b"three"];
    let bytes = encode_bundle(entries).expect("short entries");
    assert_eq!(bytes, b"\0\x03one\0\0\0\x05three");
    assert_eq!(parse_bundle(&bytes, 3), Ok(entries.to_vec()));
    assert_eq!(
        parse_bundle(&bytes, 2),
        Err(TileError::BundleLength { width: 2, entry: 2 })
    );
    assert_eq!(
        parse_bundle(&bytes, 4),
        Err(TileError::BundleLength { width: 4, entry: 3 })
    );
    for cut in 0..bytes.len() {
        assert!(parse_bundle(&bytes[..cut], 3).is_err(), "cut at {cut}");
    }
    let longest = vec![b'x'; BUNDLE_ENTRY_BYTES_MAX];
    assert!(encode_bundle([&longest[..]]).is_ok());
    assert!(encode_bundle([&[&longest[..], b"x"].concat()[..]]).is_err());
    assert!(encode_bundle([]).is_err());
    assert!(encode_bundle([&b""[..]; 257]).is_err());
}

#[test]
fn a_tile_is_its_hashes_and_nothing_else() {
    let nodes = MemoryNodes::of_leaves(&vectors::leaves(600));
    for tile in tiles_of(TreeSize(600)) {
        let bytes = read_tile(&nodes, tile).expect("the tree reaches there");
        let start = tile.start() as usize;
        let stored = &nodes.level(tile.level().into())[start..start + usize::from(tile.width())];
        assert_eq!(parse_tile(&bytes, tile.width()).as_deref(), Ok(stored));
        assert!(parse_tile(&bytes[1..], tile.width()).is_err());
        assert!(parse_tile(&bytes, tile.width() - 1).is_err());
    }
    assert_eq!(parse_tile(&[], 0), Ok(vec![]));
}

proptest! {
    #[test]
    fn paths_are_those_of_the_oracle(level in 0u8..8, index in 0..=INDEX_MAX, width in 1u16..=256) {
        let ours = Tile { level, index, width }.to_string();
        let theirs = tlog_tiles::Tile::new(8, level, index, width.into(), false).path();
        // The oracle writes Go's paths, which name the tile height too.
        prop_assert_eq!(&theirs.replacen("tile/8/", "tile/", 1), &ours);
        prop_assert_eq!(TilePath::parse(&ours), Ok(TilePath::Hashes(Tile { level, index, width })));
        let bundle = Bundle { index, width };
        prop_assert_eq!(TilePath::parse(&bundle.to_string()), Ok(TilePath::Entries(bundle)));
    }

    #[test]
    fn new_tiles_are_those_of_the_oracle(old in 0u64..140_000, more in 0u64..2_000) {
        let ours: Vec<String> = names(tiles_since(TreeSize(old), TreeSize(old + more)));
        let theirs: Vec<String> = tlog_tiles::Tile::new_tiles(8, old, old + more)
            .iter()
            .map(|tile| tile.path().replacen("tile/8/", "tile/", 1))
            .collect();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn what_is_read_is_written_back_the_same(path in "tile/([0-9]{1,2}|entries)/(x[0-9]{3}/){0,7}[0-9]{2,4}(\\.p/[0-9]{1,3})?") {
        if let Ok(parsed) = TilePath::parse(&path) {
            prop_assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn bundles_come_back(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..20)) {
        let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).expect("short entries");
        let parsed = parse_bundle(&bytes, entries.len() as u16).expect("written here");
        prop_assert_eq!(parsed, entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(path in "\\PC{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..600), width: u16) {
        let _ = TilePath::parse(&path);
        let _ = parse_tile(&bytes, width);
        if let Ok(entries) = parse_bundle(&bytes, width % 300) {
            prop_assert!(entries.is_empty() || encode_bundle(entries).as_ref() == Ok(&bytes));
        }
    }
}
