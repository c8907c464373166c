//! Tiles from somebody who is not trusted: no hash is given out before it is tied to the signed root.
//!
//! Invariant: every tile that is used is authenticated *itself*, whatever else was fetched for the same question.
//! The rightmost partial tiles fold to the root together, once, at the beginning; a full tile is then accepted if and
//! only if its 256 hashes fold to the hash that its authenticated parent tile has for it, up to a rightmost one.
//! Source: C2SP tlog-tiles v0.1.0; what goes wrong otherwise: CVE-2026-56865 (see the tests).
//! Not here: fetching (`chain-publisher`), checking the checkpoint's signatures (`checkpoint`, `tlog_policy`).

use crate::hash::{Hash, leaf_hash};
use crate::merkle::{Frontier, NodeError, NodeReader, TILE_WIDTH, fold_perfect};
use crate::position::{Position, TreeSize};
use crate::tile::{Bundle, Tile, TileError, parse_bundle, parse_tile};
use std::cell::RefCell;
use std::sync::Arc;

/// Authenticated full tiles that are kept: 64 × 8 KiB = 512 KiB. Walking a log needs one a level.
const KEPT_TILES_MAX: usize = 64;

/// A tile and its hashes, authenticated.
type Kept = (Tile, Arc<[Hash]>);

/// Gives tiles as they come, unchecked.
pub trait TileSource {
    /// The bytes of a tile, named by its width.
    ///
    /// # Errors
    /// [`NodeError::Missing`] if it is not served; a partial tile may then be asked for as the full one.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, NodeError>;
}

impl<F: Fn(Tile) -> Result<Vec<u8>, NodeError>> TileSource for F {
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, NodeError> {
        self(tile)
    }
}

/// Reads the hashes of a log of known size and root through a source that may lie.
pub struct TileReader<S> {
    source: S,
    size: TreeSize,
    /// The rightmost partial tile of each level that has one, authenticated by the root.
    rightmost: Vec<Kept>,
    /// Full tiles authenticated by their parents, the latest last.
    kept: RefCell<Vec<Kept>>,
}

impl<S: TileSource> TileReader<S> {
    /// Fetches the rightmost tiles and checks that they fold to `root`, which the caller has from a checkpoint whose
    /// signatures were checked.
    ///
    /// # Errors
    /// [`NodeError::Corrupt`] if they lead to another root.
    pub fn open(source: S, size: TreeSize, root: &Hash) -> Result<Self, NodeError> {
        let mut rightmost = Vec::new();
        for level in 0..8 {
            let row = size.0 >> (u32::from(level) * crate::merkle::TILE_HEIGHT);
            if let Some(tile) = Tile::at(level, row / TILE_WIDTH, size) {
                rightmost.push((tile, fetch(&source, tile)?));
            }
        }
        let reader = Self {
            source,
            size,
            rightmost,
            kept: RefCell::default(),
        };
        // The fold takes in every hash of every rightmost tile, each at the one place that the size gives it.
        let folded = Frontier::from_nodes(size, &Rightmost(&reader.rightmost))?.root();
        if folded == *root {
            Ok(reader)
        } else {
            let reason = format!("the rightmost tiles lead to the root {folded}, not to {root}");
            Err(NodeError::Corrupt {
                tile_level: 0,
                index: size.0,
                reason,
            })
        }
    }

    /// The size of the log.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The leaf hash at a position, authenticated.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn leaf(&self, position: Position) -> Result<Hash, NodeError> {
        let mut leaf = Vec::with_capacity(1);
        self.read(0, position.0, 1, &mut leaf)?;
        leaf.first().copied().ok_or(NodeError::Missing {
            tile_level: 0,
            index: position.0,
        })
    }

    /// The entries of a bundle, each checked against its authenticated leaf hash.
    ///
    /// # Errors
    /// [`BundleError`], naming the first position that is wrong.
    pub fn check_bundle<'b>(&self, bundle: Bundle, bytes: &'b [u8]) -> Result<Vec<&'b [u8]>, BundleError> {
        let mut leaves = Vec::with_capacity(bundle.width().into());
        self.read(0, bundle.start().0, bundle.width().into(), &mut leaves)?;
        let entries = parse_bundle(bytes, bundle.width())?;
        for (i, (entry, leaf)) in entries.iter().zip(&leaves).enumerate() {
            if leaf_hash(entry) != *leaf {
                return Err(BundleError::Entry(bundle.start().plus(i as u64)));
            }
        }
        Ok(entries)
    }

    /// The hashes of a tile of this log, after authenticating it.
    fn authentic(&self, tile: Tile) -> Result<Arc<[Hash]>, NodeError> {
        let known = |tiles: &[Kept]| {
            tiles
                .iter()
                .find(|(at, _)| *at == tile)
                .map(|(_, hashes)| hashes.clone())
        };
        if let Some(hashes) = known(&self.rightmost).or_else(|| known(&self.kept.borrow())) {
            return Ok(hashes);
        }
        let (tile_level, index) = (tile.level(), tile.start());
        let parent = Tile::at(tile.level() + 1, tile.index() / TILE_WIDTH, self.size);
        let Some(parent) = parent.filter(|_| tile.is_full()) else {
            let reason = "a partial tile that is not a rightmost one of this tree".to_owned();
            return Err(NodeError::Corrupt {
                tile_level,
                index,
                reason,
            });
        };
        let expected = self.authentic(parent)?[(tile.index() % TILE_WIDTH) as usize];
        let hashes = fetch(&self.source, tile)?;
        if fold_perfect(&mut hashes.to_vec()) != expected {
            let reason = "the tile does not fold to the hash that its parent has for it".to_owned();
            return Err(NodeError::Corrupt {
                tile_level,
                index,
                reason,
            });
        }
        let mut kept = self.kept.borrow_mut();
        if kept.len() == KEPT_TILES_MAX {
            kept.remove(0);
        }
        kept.push((tile, hashes.clone()));
        Ok(hashes)
    }
}

impl<S: TileSource> NodeReader for TileReader<S> {
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError> {
        let mut next = index;
        let end = index
            .checked_add(count as u64)
            .ok_or(NodeError::Missing { tile_level, index })?;
        while next < end {
            let missing = NodeError::Missing {
                tile_level,
                index: next,
            };
            let tile = Tile::at(tile_level, next / TILE_WIDTH, self.size).ok_or(missing.clone())?;
            let offset = (next - tile.start()) as usize;
            let stop = (end - tile.start()).min(TILE_WIDTH) as usize;
            let hashes = self.authentic(tile)?;
            out.extend_from_slice(hashes.get(offset..stop).ok_or(missing)?);
            next = tile.start() + stop as u64;
        }
        Ok(())
    }
}

/// The tiles that the root is folded from.
struct Rightmost<'a>(&'a [Kept]);

impl NodeReader for Rightmost<'_> {
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError> {
        let found = self.0.iter().find(|(tile, hashes)| {
            tile.level() == tile_level && tile.start() == index && hashes.len() == count
        });
        let (_, hashes) = found.ok_or(NodeError::Missing { tile_level, index })?;
        out.extend_from_slice(hashes);
        Ok(())
    }
}

/// Fetches a tile; a partial one that is gone is taken from the full one that replaced it.
fn fetch(source: &impl TileSource, tile: Tile) -> Result<Arc<[Hash]>, NodeError> {
    let (served, bytes) = match source.tile(tile) {
        Err(NodeError::Missing { .. }) if !tile.is_full() => (tile.filled(), source.tile(tile.filled())?),
        other => (tile, other?),
    };
    let mut hashes = parse_tile(&bytes, served.width()).map_err(|error| NodeError::Corrupt {
        tile_level: tile.level(),
        index: tile.start(),
        reason: error.to_string(),
    })?;
    hashes.truncate(tile.width().into());
    Ok(hashes.into())
}

/// Why a bundle is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Its leaf hashes could not be had or trusted.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// It is not what its name says.
    #[error(transparent)]
    Shape(#[from] TileError),
    /// This entry is not the one that the log commits to.
    #[error("the entry at position {0} is not the one that the signed root commits to")]
    Entry(Position),
}

#[cfg(test)]
#[path = "tile_reader_tests.rs"]
mod tests;
