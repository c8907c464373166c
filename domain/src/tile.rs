//! Tiles and entry bundles: what they are called, what they hold, and which of them a tree has.
//!
//! Invariants: a tile has 1 to 256 hashes and a bundle 1 to 256 entries; one resource has one path; a partial tile is
//! named by its width, so that a name never means two things.
//! Source: C2SP tlog-tiles v0.1.0.
//! Not here: serving them (`api`), believing those of others (`tile_reader`).

use crate::hash::Hash;
use crate::merkle::{NodeError, NodeReader, TILE_HEIGHT, TILE_WIDTH, read_exactly};
use crate::position::{Position, TreeSize};
use crate::text;
use std::fmt;

/// The highest level that a path may name (C2SP tlog-tiles).
pub const LEVEL_MAX: u8 = 63;
/// Levels that a tree of at most 2^63 − 1 entries has hashes at: heights 0, 8, …, 56.
const LEVELS: u8 = 8;
/// The highest index that a path may name: beyond it, no tree reaches.
const INDEX_MAX: u64 = TreeSize::MAX.0 / TILE_WIDTH;
/// The longest entry that fits a bundle, bytes: its length is a uint16.
pub const BUNDLE_ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Why a path or a resource is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not a path of this format, or not its one spelling.
    #[error("not a tile path, such as tile/0/x001/234 or tile/entries/000.p/17")]
    Path,
    /// The bytes are not as many hashes as the name says.
    #[error("a tile of {width} hashes has {} bytes, not {bytes}", u32::from(*width) * 32)]
    TileLength {
        /// How many hashes there should be.
        width: u16,
        /// How many bytes there are.
        bytes: usize,
    },
    /// The bytes are not as many length-prefixed entries as the name says.
    #[error(
        "the bundle is not {width} entries with two bytes of length before each: it breaks at entry {entry}"
    )]
    BundleLength {
        /// How many entries there should be.
        width: u16,
        /// The entry in the bundle, from 0, where it breaks; `width` if something follows the last.
        entry: u16,
    },
    /// An entry that no bundle can hold, or too many, or none.
    #[error("a bundle holds 1 to 256 entries of at most {BUNDLE_ENTRY_BYTES_MAX} bytes")]
    BundleContent,
}

/// A tile of hashes: up to 256 consecutive roots of subtrees of height 8 × level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// A bundle of entries: up to 256 consecutive ones, those whose leaf hashes are in the tile of level 0 of that index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bundle {
    index: u64,
    width: u16,
}

/// What a path below `tile/` names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TilePath {
    /// `tile/<L>/<N>[.p/<W>]`
    Hashes(Tile),
    /// `tile/entries/<N>[.p/<W>]`
    Entries(Bundle),
}

/// How many hashes a tree of that size has at a level.
const fn row_width(level: u8, size: TreeSize) -> u64 {
    if level < LEVELS {
        size.0 >> (level as u32 * TILE_HEIGHT)
    } else {
        0
    }
}

/// How wide the `index`-th of a row of `row` hashes cut into tiles is; `None` if it is empty.
fn width_in(row: u64, index: u64) -> Option<u16> {
    let start = index.checked_mul(TILE_WIDTH)?;
    let width = row.saturating_sub(start).min(TILE_WIDTH) as u16;
    (width > 0).then_some(width)
}

impl Tile {
    /// The tile that a tree of that size has there, full or partial; `None` if it has none.
    pub fn at(level: u8, index: u64, size: TreeSize) -> Option<Self> {
        width_in(row_width(level, size), index).map(|width| Self { level, index, width })
    }

    /// The tile of level 0 with that position's leaf hash.
    pub fn holding(position: Position, size: TreeSize) -> Option<Self> {
        Self::at(0, position.0 / TILE_WIDTH, size).filter(|_| size.contains(position))
    }

    /// The level: the hashes are roots of subtrees of height 8 × level.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Which tile of its level, from 0.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many hashes, 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it has all 256 hashes, and so will never change and has a parent hash.
    pub const fn is_full(self) -> bool {
        self.width as u64 == TILE_WIDTH
    }

    /// The index of its first hash within the level.
    pub const fn start(self) -> u64 {
        self.index * TILE_WIDTH
    }

    /// The same tile once it is full.
    pub const fn filled(self) -> Self {
        Self {
            width: TILE_WIDTH as u16,
            ..self
        }
    }
}

impl Bundle {
    /// The bundle that a tree of that size has there, full or partial; `None` if it has none.
    pub fn at(index: u64, size: TreeSize) -> Option<Self> {
        width_in(size.0, index).map(|width| Self { index, width })
    }

    /// The bundle with that position's entry.
    pub fn holding(position: Position, size: TreeSize) -> Option<Self> {
        Self::at(position.0 / TILE_WIDTH, size).filter(|_| size.contains(position))
    }

    /// Which bundle, from 0.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many entries, 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// The position of its first entry.
    pub const fn start(self) -> Position {
        Position(self.index * TILE_WIDTH)
    }

    /// The tile with its entries' leaf hashes.
    pub const fn tile(self) -> Tile {
        Tile {
            level: 0,
            index: self.index,
            width: self.width,
        }
    }
}

/// Every tile of a tree of that size, level by level, in order.
pub fn tiles_of(size: TreeSize) -> impl Iterator<Item = Tile> {
    tiles_since(TreeSize::EMPTY, size)
}

/// The tiles that a tree of size `new` has and its prefix of size `old` has not.
pub fn tiles_since(old: TreeSize, new: TreeSize) -> impl Iterator<Item = Tile> {
    (0..LEVELS).flat_map(move |level| {
        let (from, to) = (row_width(level, old), row_width(level, new));
        indices(from, to).filter_map(move |index| Tile::at(level, index, new))
    })
}

/// Every bundle of a log of that size, in order.
pub fn bundles_of(size: TreeSize) -> impl Iterator<Item = Bundle> {
    bundles_since(TreeSize::EMPTY, size)
}

/// The bundles that a log of size `new` has and its prefix of size `old` has not.
pub fn bundles_since(old: TreeSize, new: TreeSize) -> impl Iterator<Item = Bundle> {
    indices(old.0, new.0).filter_map(move |index| Bundle::at(index, new))
}

/// Indices of the tiles that change while a row grows.
fn indices(from: u64, to: u64) -> std::ops::Range<u64> {
    if from < to {
        from / TILE_WIDTH..to.div_ceil(TILE_WIDTH)
    } else {
        0..0
    }
}

impl TilePath {
    /// Reads a path relative to the log's prefix: `tile/0/x001/234`, `tile/entries/000.p/17`.
    ///
    /// # Errors
    /// [`TileError::Path`] for any spelling but the one that [`fmt::Display`] writes.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let rest = path.strip_prefix("tile/").ok_or(TileError::Path)?;
        let (level, rest) = rest.split_once('/').ok_or(TileError::Path)?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => {
                let width = text::decimal(width).filter(|w| (1..TILE_WIDTH).contains(w));
                (number, width.ok_or(TileError::Path)? as u16)
            }
            None => (rest, TILE_WIDTH as u16),
        };
        let index = parse_index(number).ok_or(TileError::Path)?;
        if level == "entries" {
            return Ok(Self::Entries(Bundle { index, width }));
        }
        let level = text::decimal(level)
            .filter(|l| *l <= LEVEL_MAX.into())
            .ok_or(TileError::Path)? as u8;
        Ok(Self::Hashes(Tile { level, index, width }))
    }
}

/// Reads `x001/x234/067`.
fn parse_index(number: &str) -> Option<u64> {
    let (leading, last) = match number.rsplit_once('/') {
        Some((leading, last)) => (Some(leading), last),
        None => (None, number),
    };
    let mut index = 0u64;
    for group in leading.into_iter().flat_map(|leading| leading.split('/')) {
        let group = three_digits(group.strip_prefix('x')?)?;
        if index == 0 && group == 0 {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(group)?;
    }
    index = index.checked_mul(1000)?.checked_add(three_digits(last)?)?;
    (index <= INDEX_MAX).then_some(index)
}

fn three_digits(group: &str) -> Option<u64> {
    let valid = group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| group.parse().ok()).flatten()
}

fn write_path(f: &mut fmt::Formatter<'_>, level: fmt::Arguments<'_>, index: u64, width: u16) -> fmt::Result {
    write!(f, "tile/{level}/")?;
    let mut divisor = 1u64;
    while index / divisor >= 1000 {
        divisor *= 1000;
    }
    while divisor > 1 {
        write!(f, "x{:03}/", index / divisor % 1000)?;
        divisor /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    if u64::from(width) < TILE_WIDTH {
        write!(f, ".p/{width}")
    } else {
        Ok(())
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_path(f, format_args!("{}", self.level), self.index, self.width)
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_path(f, format_args!("entries"), self.index, self.width)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashes(tile) => tile.fmt(f),
            Self::Entries(bundle) => bundle.fmt(f),
        }
    }
}

/// A tile's hashes as they are stored, for serving.
///
/// # Errors
/// [`NodeError`].
pub fn read_tile(reader: &(impl NodeReader + ?Sized), tile: Tile) -> Result<Vec<u8>, NodeError> {
    let mut hashes = Vec::with_capacity(tile.width.into());
    read_exactly(reader, tile.level, tile.start(), tile.width.into(), &mut hashes)?;
    Ok(encode_tile(&hashes))
}

/// Hashes one behind the other.
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Reads [`encode_tile`]'s bytes. They are not believed by that.
///
/// # Errors
/// [`TileError::TileLength`] unless they are exactly `width` hashes.
pub fn parse_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if hashes.len() != usize::from(width) || !rest.is_empty() {
        return Err(TileError::TileLength {
            width,
            bytes: bytes.len(),
        });
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// Entries, each behind its length as big-endian uint16.
///
/// # Errors
/// [`TileError::BundleContent`].
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let mut bytes = Vec::new();
    let mut count = 0;
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::BundleContent)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
        count += 1;
    }
    if (1..=TILE_WIDTH).contains(&count) {
        Ok(bytes)
    } else {
        Err(TileError::BundleContent)
    }
}

/// Reads [`encode_bundle`]'s bytes. They are not believed by that.
///
/// # Errors
/// [`TileError::BundleLength`] unless they are exactly `width` entries.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::with_capacity(width.into());
    let mut rest = bytes;
    for entry in 0..width {
        let cut = rest
            .split_first_chunk::<2>()
            .and_then(|(length, after)| after.split_at_checked(u16::from_be_bytes(*length).into()));
        let (bytes, after) = cut.ok_or(TileError::BundleLength { width, entry })?;
        entries.push(bytes);
        rest = after;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(TileError::BundleLength { width, entry: width })
    }
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
