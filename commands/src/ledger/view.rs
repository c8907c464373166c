//! What readers read from: the segments as they stood at one moment.
//!
//! Invariants: a view never changes; who holds one goes on reading its files even when they were sealed and removed
//! meanwhile; the size is read before the view, so that every position below it is in the view.
//! Not here: who replaces the view (`writer`, `seal`), the layout of segments (`segment`, `sealed`).

use super::cache::{SealedCache, SealedPart};
use super::hashes::HashFiles;
use super::segment::{PlainSegment, damaged};
use domain::Hash;
use domain::merkle::{Frontier, NodeError};
use domain::ports::{EntryBlock, ReadError, TileStore};
use domain::position::{Position, TreeSize};
use std::sync::Arc;

/// Most bytes that one read gives, whatever was asked for: an [`EntryBlock`] counts its bytes in 32 bits.
pub const READ_BYTES_MAX: usize = 256 << 20;

/// A segment, opened for reading.
#[derive(Clone)]
pub enum Part {
    /// In frames.
    Plain(Arc<PlainSegment>),
    /// Sealed.
    Sealed(Arc<SealedPart>),
}

impl Part {
    /// Its first position.
    pub fn first(&self) -> u64 {
        match self {
            Self::Plain(segment) => segment.first,
            Self::Sealed(part) => part.first,
        }
    }

    /// Names its files.
    pub fn number(&self) -> u32 {
        match self {
            Self::Plain(segment) => segment.number,
            Self::Sealed(part) => part.number,
        }
    }
}

/// The segments of one moment, in order of position.
#[derive(Clone, Default)]
pub struct View {
    /// In order of position.
    pub parts: Vec<Part>,
}

impl View {
    /// Entries from `from` on, below `size`: at least one if there is one, at most `entries_max`, and no more once
    /// `bytes_max` bytes are reached.
    pub fn read(
        &self,
        cache: &SealedCache,
        size: u64,
        from: u64,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<EntryBlock, ReadError> {
        let mut out = EntryBlock::new();
        let bytes_max = bytes_max.min(READ_BYTES_MAX);
        let end = from.saturating_add(entries_max.max(1) as u64).min(size);
        let mut next = from;
        while next < end && (out.is_empty() || out.bytes().len() < bytes_max) {
            let (part, part_end) = self.part(next)?;
            let count = (end.min(part_end) - next) as usize;
            let before = out.len();
            match part {
                Part::Plain(segment) => segment.read(next, count, bytes_max, &mut out)?,
                Part::Sealed(sealed) => cache.read(sealed, next, count, bytes_max, &mut out)?,
            }
            next += (out.len() - before) as u64;
        }
        Ok(out)
    }

    /// The entries at these positions, in this order.
    pub fn read_at(
        &self,
        cache: &SealedCache,
        size: u64,
        positions: &[Position],
    ) -> Result<EntryBlock, ReadError> {
        let mut out = EntryBlock::new();
        for &position in positions {
            if position.0 >= size {
                return Err(ReadError::Beyond(position));
            }
            if out.bytes().len() > READ_BYTES_MAX {
                let reason = format!("more than {READ_BYTES_MAX} bytes were asked for at once");
                return Err(ReadError::Unavailable(reason));
            }
            match self.part(position.0)?.0 {
                Part::Plain(segment) => segment.read(position.0, 1, 0, &mut out)?,
                Part::Sealed(sealed) => cache.read(sealed, position.0, 1, 0, &mut out)?,
            }
        }
        Ok(out)
    }

    /// The segment that holds a position, and where the next one begins.
    fn part(&self, position: u64) -> Result<(&Part, u64), ReadError> {
        // Of segments with the same first position only the last one has entries.
        let after = self.parts.partition_point(|part| part.first() <= position);
        let part = after.checked_sub(1).and_then(|at| self.parts.get(at));
        let part = part.ok_or_else(|| damaged(position, "no segment holds it"))?;
        Ok((part, self.parts.get(after).map_or(u64::MAX, Part::first)))
    }
}

/// The hash files of a tree of a known size.
pub struct NodesAt<'a> {
    /// The files.
    pub hashes: &'a HashFiles,
    /// The tree's size.
    pub size: u64,
}

impl TileStore for NodesAt<'_> {
    fn read_nodes(
        &self,
        tile_level: u8,
        index: u64,
        count: usize,
        out: &mut Vec<Hash>,
    ) -> Result<(), ReadError> {
        self.hashes.read(self.size, tile_level, index, count, out)
    }
}

/// The frontier of the tree of `size`, as the hash files have it.
pub fn frontier_at(hashes: &HashFiles, size: u64) -> Result<Frontier, NodeError> {
    Frontier::from_nodes(TreeSize(size), &NodesAt { hashes, size })
}
