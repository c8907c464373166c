//! The nodes that tiles are made of: handed out as they become complete, and read back from a store.
//!
//! *Derived*: from the leaves, by the frontier.
//! Invariant: nodes of one tile level are handed out and stored in order, each once.
//! Source: C2SP tlog-tiles v0.1.0 (heights 0, 8, 16, …).
//! Not here: hashing them (`merkle`), paths of tiles (`tile`), authenticating those of a stranger (`tile_reader`).

use super::Frontier;
use crate::hash::Hash;
use crate::ports::{ReadError, TileStore};

/// Receives the nodes that become complete at tile levels, each exactly once and in order.
pub trait NodeSink {
    /// The subtree of height 8 × `tile_level` that just became complete; `tile_level` is at least 1.
    fn complete(&mut self, tile_level: usize, hash: Hash);
}

/// Takes no nodes: for those who need only the root.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNodes;

impl NodeSink for NoNodes {
    fn complete(&mut self, _tile_level: usize, _hash: Hash) {}
}

/// New hashes by tile level: `levels[l]` are those at height 8·l in order, `levels[0]` the leaves.
///
/// [`TileNodes::above`] is what a store needs beside the leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileNodes {
    /// Hashes by tile level.
    pub levels: Vec<Vec<Hash>>,
}

impl TileNodes {
    /// Without hashes.
    pub fn new() -> Self {
        Self {
            levels: vec![Vec::new()],
        }
    }

    /// Forgets the hashes, keeps the memory.
    pub fn clear(&mut self) {
        for level in &mut self.levels {
            level.clear();
        }
    }

    /// The leaves.
    pub fn leaves(&self) -> &[Hash] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// What became complete above the leaves; the first is height 8.
    pub fn above(&self) -> &[Vec<Hash>] {
        self.levels.get(1..).unwrap_or_default()
    }
}

impl Default for TileNodes {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeSink for TileNodes {
    fn complete(&mut self, tile_level: usize, hash: Hash) {
        while self.levels.len() <= tile_level {
            self.levels.push(Vec::new());
        }
        self.levels[tile_level].push(hash);
    }
}

/// Why nodes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// They are not there: not complete yet, or not served.
    #[error("the hashes of tile level {tile_level} from index {index} on are missing")]
    Missing {
        /// Height divided by 8.
        tile_level: u8,
        /// The first that was asked for.
        index: u64,
    },
    /// The store does not answer; try again.
    #[error("the hashes cannot be read now: {0}")]
    Unavailable(String),
    /// What came is not what belongs there.
    #[error("the hashes of tile level {tile_level} around index {index} are wrong: {reason}")]
    Corrupt {
        /// Height divided by 8.
        tile_level: u8,
        /// The first that cannot be trusted.
        index: u64,
        /// What was found.
        reason: String,
    },
}

/// Reads hashes of perfect subtrees at tile levels.
///
/// *Trust*: an implementation says whether what it gives is checked (`tile_reader`) or merely stored.
/// *Concurrency*: reading changes nothing that a second reader could see.
pub trait NodeReader {
    /// Appends to `out` exactly `count` consecutive hashes at height 8 × `tile_level`, from the `index`-th on.
    /// Callers here ask for at most 256, all in one tile.
    ///
    /// # Errors
    /// [`NodeError`]; what was appended to `out` is then meaningless.
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError>;
}

/// Reads and makes sure that as many came as were asked for.
pub(crate) fn read_exactly(
    reader: &(impl NodeReader + ?Sized),
    tile_level: u8,
    index: u64,
    count: usize,
    out: &mut Vec<Hash>,
) -> Result<(), NodeError> {
    let before = out.len();
    reader.read(tile_level, index, count, out)?;
    if out.len() != before + count {
        let reason = format!(
            "{} hashes came instead of {count}",
            out.len().saturating_sub(before)
        );
        return Err(NodeError::Corrupt {
            tile_level,
            index,
            reason,
        });
    }
    Ok(())
}

impl<S: TileStore + ?Sized> NodeReader for S {
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError> {
        self.read_nodes(tile_level, index, count, out)
            .map_err(|error| match error {
                ReadError::Beyond(_) => NodeError::Missing { tile_level, index },
                ReadError::Unavailable(reason) => NodeError::Unavailable(reason),
                ReadError::Corrupt { reason, .. } => NodeError::Corrupt {
                    tile_level,
                    index,
                    reason,
                },
            })
    }
}

/// The reference implementation: all nodes of tile levels in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryNodes {
    nodes: TileNodes,
}

impl MemoryNodes {
    /// Without hashes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of a tree with these leaves.
    pub fn of_leaves(leaves: &[Hash]) -> Self {
        let mut nodes = Self::new();
        Frontier::new().extend(leaves, &mut nodes.nodes);
        nodes
    }

    /// Appends what a frontier handed out.
    pub fn append(&mut self, new: &TileNodes) {
        for (level, hashes) in new.levels.iter().enumerate() {
            if self.nodes.levels.len() <= level {
                self.nodes.levels.push(Vec::new());
            }
            self.nodes.levels[level].extend_from_slice(hashes);
        }
    }

    /// The stored hashes of a tile level.
    pub fn level(&self, tile_level: usize) -> &[Hash] {
        self.nodes.levels.get(tile_level).map_or(&[], Vec::as_slice)
    }
}

impl NodeReader for MemoryNodes {
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError> {
        let found = usize::try_from(index).ok().and_then(|start| {
            self.level(tile_level.into())
                .get(start..start.checked_add(count)?)
        });
        let Some(hashes) = found else {
            return Err(NodeError::Missing { tile_level, index });
        };
        out.extend_from_slice(hashes);
        Ok(())
    }
}
