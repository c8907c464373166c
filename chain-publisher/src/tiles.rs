//! The tiles of a source against the tree of its entries.
//!
//! Invariants: every byte of every tile of the tree is compared; a leaf hash that differs is looked up in the signed
//! tree, so that either the entry or the tile is named, and the right one. Memory: one tile a level.
//! Source: C2SP tlog-tiles v0.1.0.
//! Not here: computing the tree (`domain::verify`).

use crate::source::{Chunk, EntryStream, Flaw, LogSource, SourceError};
use domain::merkle::{NodeError, NodeReader, TILE_WIDTH, TileNodes};
use domain::tile::{Tile, parse_tile, tiles_of};
use domain::tile_reader::TileReader;
use domain::verify::LeafMismatch;
use domain::{Hash, Position, TreeSize};

/// What does not agree, and whose fault it is.
pub enum TileFault {
    /// The entry is not the one that the signed root commits to.
    Entry(LeafMismatch),
    /// The tile is not the one of the signed tree, or cannot be had.
    Tile(Flaw),
}

/// Compares tiles as their hashes come.
pub struct TileCheck<'a> {
    source: &'a dyn LogSource,
    size: TreeSize,
    /// Size and root that are signed.
    signed: Option<(TreeSize, Hash)>,
    /// By level: the hashes of the tile that is being filled, and its index.
    rows: Vec<(u64, Vec<Hash>)>,
    compared: u64,
    /// Level 0 is where the leaf hashes were taken from.
    skip_leaves: bool,
}

impl<'a> TileCheck<'a> {
    /// Of a tree of that size, of which `signed` tells size and root that a signature covers.
    pub fn new(source: &'a dyn LogSource, size: TreeSize, signed: Option<(TreeSize, Hash)>) -> Self {
        Self {
            source,
            size,
            signed,
            rows: Vec::new(),
            compared: 0,
            skip_leaves: false,
        }
    }

    /// Leaf hashes come from the tiles themselves.
    pub fn skip_leaves(&mut self) {
        self.skip_leaves = true;
    }

    /// How many tiles were compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }

    /// Takes the next leaf hash.
    ///
    /// # Errors
    /// [`SourceError`] where the source does not answer.
    pub fn leaf(&mut self, leaf: Hash, faults: &mut Vec<TileFault>) -> Result<(), SourceError> {
        self.take(0, leaf, faults)
    }

    /// Takes the nodes above the leaves that became complete.
    ///
    /// # Errors
    /// As [`TileCheck::leaf`].
    pub fn nodes(&mut self, nodes: &TileNodes, faults: &mut Vec<TileFault>) -> Result<(), SourceError> {
        for (level, hashes) in nodes.levels.iter().enumerate().skip(1) {
            for hash in hashes {
                self.take(level, *hash, faults)?;
            }
        }
        Ok(())
    }

    /// Compares what is not full.
    ///
    /// # Errors
    /// As [`TileCheck::leaf`].
    pub fn finish(&mut self, faults: &mut Vec<TileFault>) -> Result<(), SourceError> {
        for level in 0..self.rows.len() {
            if !self.rows[level].1.is_empty() {
                self.compare(level, faults)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, level: usize, hash: Hash, faults: &mut Vec<TileFault>) -> Result<(), SourceError> {
        while self.rows.len() <= level {
            self.rows.push((0, Vec::with_capacity(TILE_WIDTH as usize)));
        }
        let row = &mut self.rows[level].1;
        row.push(hash);
        if row.len() as u64 == TILE_WIDTH {
            self.compare(level, faults)?;
        }
        Ok(())
    }

    fn compare(&mut self, level: usize, faults: &mut Vec<TileFault>) -> Result<(), SourceError> {
        let (index, hashes) = &mut self.rows[level];
        let tile = Tile::at(level as u8, *index, self.size);
        *index += 1;
        let hashes = std::mem::take(hashes);
        // The entries ended early: the tile is wider than they reach, and that they end early is said elsewhere.
        let Some(tile) = tile.filter(|tile| usize::from(tile.width()) == hashes.len()) else {
            return Ok(());
        };
        if level == 0 && self.skip_leaves {
            return Ok(());
        }
        self.compared += 1;
        match self.source.tile(tile) {
            Err(error @ SourceError::Unavailable(_)) => return Err(error),
            Err(error) => faults.push(fault(tile, 0, error.to_string())),
            Ok(bytes) => match parse_tile(&bytes, tile.width()) {
                Err(error) => faults.push(fault(tile, 0, error.to_string())),
                Ok(found) => {
                    let other = hashes.iter().zip(&found).position(|(a, b)| a != b);
                    if let Some(at) = other {
                        faults.extend(self.judge(tile, at, &hashes[at], &found[at]));
                    }
                }
            },
        }
        let row = &mut self.rows[level].1;
        *row = hashes;
        row.clear();
        Ok(())
    }

    /// Whose fault it is that the hash in a tile is not the one that the entries give; nobody's here if the tile is of
    /// the signed tree and an entry below it is at fault, which its own leaf hash tells.
    fn judge(&self, tile: Tile, at: usize, computed: &Hash, found: &Hash) -> Option<TileFault> {
        let position = Position(tile.start() + at as u64);
        let tile_is_right = self.signed_node(tile, at) == Some(*found);
        match tile.level() {
            0 if tile_is_right => Some(TileFault::Entry(LeafMismatch {
                position,
                expected: *found,
                found: *computed,
            })),
            _ if tile_is_right && !self.skip_leaves => None,
            _ => Some(fault(tile, at, "its hashes are not those of the tree".to_owned())),
        }
    }

    /// The hash there under the signed root, where the tiles lead to it.
    fn signed_node(&self, tile: Tile, at: usize) -> Option<Hash> {
        let (size, root) = self.signed?;
        let fetch = |tile: Tile| {
            self.source.tile(tile).map_err(|_| NodeError::Missing {
                tile_level: tile.level(),
                index: tile.start(),
            })
        };
        let reader = TileReader::open(fetch, size, &root).ok()?;
        let mut hash = Vec::with_capacity(1);
        reader
            .read(tile.level(), tile.start() + at as u64, 1, &mut hash)
            .ok()?;
        hash.first().copied()
    }
}

fn fault(tile: Tile, at: usize, what: String) -> TileFault {
    let first = (tile.start() + at as u64) << (8 * u32::from(tile.level()));
    let name = tile.to_string();
    TileFault::Tile(Flaw {
        position: Some(Position(first)),
        what: if what.starts_with(&name) {
            what
        } else {
            format!("{name}: {what}")
        },
    })
}

/// The leaf hashes of a log whose entries are not shown, from its tiles.
pub struct TileLeaves<'a> {
    source: &'a dyn LogSource,
    tiles: Box<dyn Iterator<Item = Tile> + Send>,
}

impl<'a> TileLeaves<'a> {
    /// Of a log of that size.
    pub fn new(source: &'a dyn LogSource, size: TreeSize) -> Self {
        Self {
            source,
            tiles: Box::new(tiles_of(size).take_while(|tile| tile.level() == 0)),
        }
    }
}

impl EntryStream for TileLeaves<'_> {
    fn next(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        chunk.clear();
        let Some(tile) = self.tiles.next() else {
            return Ok(false);
        };
        let bytes = self.source.tile(tile)?;
        let leaves = parse_tile(&bytes, tile.width()).map_err(|error| SourceError::Malformed {
            what: tile.to_string(),
            position: Some(Position(tile.start())),
            reason: error.to_string(),
        })?;
        leaves.iter().for_each(|leaf| chunk.push_withheld(leaf));
        Ok(true)
    }
}
