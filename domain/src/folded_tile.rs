//! Tiles with the nodes inside them, folded once and kept while they are of use.
//!
//! *Derived*: from the hashes of a tile, which alone are stored.
//! Invariants: a kept tile is named by level, index and width, under which it never changes; what is kept is bounded.
//! Not here: proofs (`proof`), authenticating tiles (`tile_reader`).

use crate::hash::{Hash, node_hash};
use crate::merkle::{NodeError, NodeReader, TILE_HEIGHT, TILE_WIDTH, read_exactly, split_point};
use crate::position::TreeSize;
use std::collections::BTreeMap;

/// Level, index, width.
type Name = (u8, u64, u16);

/// A tile's hashes and every node above them up to the tile's own root, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FoldedTile {
    width: usize,
    nodes: Vec<Hash>,
}

impl FoldedTile {
    fn new(hashes: Vec<Hash>) -> Self {
        let (width, mut nodes) = (hashes.len(), hashes);
        nodes.reserve(width);
        let (mut row, mut row_width) = (0, width);
        while row_width > 1 {
            for i in 0..row_width / 2 {
                let node = node_hash(&nodes[row + 2 * i], &nodes[row + 2 * i + 1]);
                nodes.push(node);
            }
            row += row_width;
            row_width /= 2;
        }
        Self { width, nodes }
    }

    /// The `index`-th node at `height` within the tile; `None` where the tile does not reach.
    fn node(&self, height: u32, index: usize) -> Option<Hash> {
        let row: usize = (0..height).map(|below| self.width >> below).sum();
        (index < self.width >> height).then(|| self.nodes[row + index])
    }
}

/// Tiles that were folded lately.
#[derive(Debug)]
pub(crate) struct FoldedTiles {
    tiles_max: usize,
    /// When each was used last, in uses.
    tiles: BTreeMap<Name, (u64, FoldedTile)>,
    uses: u64,
}

impl FoldedTiles {
    pub(crate) const fn new(tiles_max: usize) -> Self {
        Self {
            tiles_max,
            tiles: BTreeMap::new(),
            uses: 0,
        }
    }

    /// The root over the leaves from `start` to `end` of a tree of `size`, a range that RFC 6962's splitting yields.
    pub(crate) fn root(
        &mut self,
        reader: &(impl NodeReader + ?Sized),
        size: TreeSize,
        start: u64,
        end: u64,
    ) -> Result<Hash, NodeError> {
        let width = end - start;
        if width.is_power_of_two() {
            return self.perfect(reader, size, width.trailing_zeros(), start);
        }
        let middle = start + split_point(width);
        let left = self.root(reader, size, start, middle)?;
        Ok(node_hash(&left, &self.root(reader, size, middle, end)?))
    }

    /// The root of the perfect subtree of that height over the leaves from `start` on.
    fn perfect(
        &mut self,
        reader: &(impl NodeReader + ?Sized),
        size: TreeSize,
        height: u32,
        start: u64,
    ) -> Result<Hash, NodeError> {
        let (tile_level, bit) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
        let index = start >> (tile_level * TILE_HEIGHT);
        let first = index / TILE_WIDTH * TILE_WIDTH;
        let width = ((size.0 >> (tile_level * TILE_HEIGHT)) - first).min(TILE_WIDTH);
        let tile = self.tile(reader, (tile_level as u8, first, width as u16))?;
        let node = tile.node(bit, ((index - first) >> bit) as usize);
        node.ok_or(NodeError::Missing {
            tile_level: tile_level as u8,
            index,
        })
    }

    fn tile(&mut self, reader: &(impl NodeReader + ?Sized), name: Name) -> Result<&FoldedTile, NodeError> {
        self.uses += 1;
        if !self.tiles.contains_key(&name) {
            let (tile_level, first, width) = name;
            let mut hashes = Vec::with_capacity(2 * usize::from(width));
            read_exactly(reader, tile_level, first, width.into(), &mut hashes)?;
            self.make_room();
            self.tiles.insert(name, (self.uses, FoldedTile::new(hashes)));
        }
        let (used, tile) = self
            .tiles
            .get_mut(&name)
            .expect("it was there, or was just put there");
        *used = self.uses;
        Ok(tile)
    }

    /// Forgets the tile that was used longest ago, if there are as many as may be.
    fn make_room(&mut self) {
        if self.tiles.len() < self.tiles_max {
            return;
        }
        let oldest = self
            .tiles
            .iter()
            .min_by_key(|(_, (used, _))| *used)
            .map(|(name, _)| *name);
        if let Some(name) = oldest {
            self.tiles.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{MemoryNodes, root_of};
    use crate::vectors;

    #[test]
    fn every_node_inside_a_tile_is_the_root_over_its_leaves() {
        let leaves = vectors::leaves(256);
        for width in [1, 2, 3, 100, 128, 255, 256] {
            let tile = FoldedTile::new(leaves[..width].to_vec());
            for height in 0..=8 {
                for index in 0..=width >> height {
                    let range = leaves[..width].get(index << height..(index + 1) << height);
                    assert_eq!(
                        tile.node(height, index),
                        range.map(root_of),
                        "{width} {height} {index}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_latest_stays() {
        let leaves = vectors::leaves(256 * 40);
        let nodes = MemoryNodes::of_leaves(&leaves);
        let mut tiles = FoldedTiles::new(16);
        for start in (0..256 * 40).step_by(256) {
            let size = TreeSize(256 * 40);
            assert_eq!(tiles.root(&nodes, size, 0, 256), Ok(nodes.level(1)[0]));
            let root = tiles.root(&nodes, size, start, start + 128);
            assert_eq!(root, Ok(root_of(&leaves[start as usize..start as usize + 128])));
        }
        assert_eq!(tiles.tiles.len(), 16);
        assert!(
            tiles
                .tiles
                .keys()
                .any(|(level, index, _)| (*level, *index) == (1, 0))
        );
    }
}
