//! Names and notes of an export, read by other implementations of the same specifications.

use super::{exported, files};
use domain::hash::leaf_hash;
use tests::small_ledger::{Plan, SmallLedger};
use tlog_tiles::{Tile as TheirTile, TileHashReader};

/// The oracle writes Go's paths, which name the tile height too.
fn without_height(tile: &TheirTile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

/// Tiles that the oracle reads from a directory.
struct FromDirectory<'a>(&'a std::path::Path);

impl tlog_tiles::TileReader for FromDirectory<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[TheirTile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read =
            |tile: &TheirTile| std::fs::read(self.0.join(without_height(tile))).expect("the tile is there");
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[TheirTile], _: &[Vec<u8>]) {}
}

#[test]
fn others_find_every_leaf_under_the_exported_checkpoint() {
    use tlog_tiles::HashReader;
    let ledger = SmallLedger::record(Plan {
        days: 1,
        readings: 160,
        ..Plan::default()
    });
    let dir = exported(&ledger);
    let note = std::fs::read(dir.path().join("checkpoint")).expect("readable");
    let note = signed_note::Note::from_bytes(&note).expect("a note");
    let key = signed_note::StandardVerifier::new(&ledger.key).expect("a key");
    let known = signed_note::VerifierList::new(vec![Box::new(key)]);
    let (verified, _) = note.verify(&known).expect("it verifies");
    assert_eq!(verified.len(), 1);
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).expect("a checkpoint");
    assert_eq!(checkpoint.size(), ledger.size().get());
    let tiles = FromDirectory(dir.path());
    let reader = TileHashReader::new(checkpoint.size(), *checkpoint.hash(), &tiles);
    let lines = files(&dir.path().join("entries")).into_iter();
    let entries: Vec<u8> = lines
        .flat_map(|file| std::fs::read(dir.path().join("entries").join(file)).expect("readable"))
        .collect();
    let mut count = 0;
    for (position, entry) in entries
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .enumerate()
    {
        let index = tlog_tiles::stored_hash_index(0, position as u64);
        let hashes = reader.read_hashes(&[index]).expect("authentic");
        assert_eq!(hashes[0].0, leaf_hash(entry).0, "position {position}");
        count += 1;
    }
    assert_eq!(count, ledger.size().get());
}

#[test]
fn others_read_the_name_of_every_tile() {
    let ledger = SmallLedger::record(Plan {
        days: 1,
        readings: 160,
        ..Plan::default()
    });
    let dir = exported(&ledger);
    let mut tiles = 0;
    for file in files(dir.path()) {
        let name = file.to_str().expect("a name of ours");
        if let Some(rest) = name.strip_prefix("tile/") {
            // Go names bundles `data` and wants the height.
            let rest = rest.replacen("entries/", "data/", 1);
            let theirs = TheirTile::from_path(&format!("tile/8/{rest}")).expect("they read it");
            assert_eq!(theirs.path(), format!("tile/8/{rest}"));
            assert_eq!(theirs.is_data(), name.starts_with("tile/entries/"));
            tiles += 1;
        }
    }
    assert!(tiles >= 4);
}
