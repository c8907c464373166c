//! Where a log is read from: checkpoint, heads, tiles, and entries in order.
//!
//! Invariants: nothing that a source gives is believed by its having been given; an entry comes as the exact bytes that
//! were stored, or as a stub with its leaf hash; chunks follow one another without gaps.
//! Not here: the sources themselves (`directory`, `url`, `ports_source`), believing them (`verify`).

use crate::anchor::AnchorKind;
use domain::tile::Tile;
use domain::{Date, Hash, Position, TreeSize};
use std::ops::Range;

/// A log that can be read from its beginning.
pub trait LogSource: Send + Sync {
    /// What it is, for a person: `the export in ./copy`.
    fn describe(&self) -> String;

    /// Its latest checkpoint, the exact bytes of the note; `None` if none was signed yet.
    ///
    /// # Errors
    /// [`SourceError`].
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError>;

    /// How many entries it has; `None` where the checkpoint is all that tells.
    fn size(&self) -> Option<TreeSize> {
        None
    }

    /// The verifier key that it names as its own. A hint only.
    ///
    /// # Errors
    /// [`SourceError`].
    fn key_hint(&self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    /// The days that have a head, rising.
    ///
    /// # Errors
    /// [`SourceError`].
    fn head_dates(&self) -> Result<Vec<Date>, SourceError>;

    /// The head of a day, a tlog-proof file.
    ///
    /// # Errors
    /// [`SourceError`]; `Missing` if there is none.
    fn head(&self, date: Date) -> Result<Vec<u8>, SourceError>;

    /// The same day under a later checkpoint that enough witnesses have cosigned, a tlog-proof file; `None` if there is
    /// none, or it is not told.
    ///
    /// # Errors
    /// [`SourceError`].
    fn late_head(&self, _date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(None)
    }

    /// That a day's head continues the one before, a tlog-witness add-checkpoint body; `None` as above.
    ///
    /// # Errors
    /// [`SourceError`].
    fn consistency(&self, _date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(None)
    }

    /// A tile's bytes.
    ///
    /// # Errors
    /// [`SourceError`]; `Missing` if it is not there under this name.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError>;

    /// The entries from a bundle's first position on, in order, up to `size`.
    ///
    /// # Errors
    /// [`SourceError`].
    fn entries(&self, from: Position, size: TreeSize) -> Result<Box<dyn EntryStream + '_>, SourceError>;

    /// The time stamp of that kind over the head of a day, where there is one.
    ///
    /// # Errors
    /// [`SourceError`].
    fn stamp(&self, _date: Date, _kind: AnchorKind) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(None)
    }

    /// The proofs of rotations that it shows, each with what it is called.
    ///
    /// # Errors
    /// [`SourceError`].
    fn rotations(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        Ok(Vec::new())
    }

    /// Whether entries can be had at all, and if not, why and what to do.
    fn withholds_entries(&self) -> Option<String> {
        None
    }

    /// Whether its tiles are made from its entries and can be made again: damage to them then is no verdict on the log.
    fn derives_tiles(&self) -> bool {
        false
    }

    /// What of it is not part of the log and so is checked by nobody: files that do not belong there.
    fn strangers(&self, _size: TreeSize) -> Vec<String> {
        Vec::new()
    }
}

/// Entries as they come.
pub trait EntryStream: Send {
    /// The next entries, at least one; `false` at the end. `chunk` is cleared first.
    ///
    /// # Errors
    /// [`SourceError`]; nothing follows then.
    fn next(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError>;
}

/// What a position has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    /// The entry's exact bytes.
    Entry(&'a [u8]),
    /// Its leaf hash: its bytes are withheld from the asker.
    Withheld(Hash),
    /// Its leaf hash, and the position of the entry that is said to have removed its bytes.
    Pruned(Hash, Position),
}

/// Consecutive entries in one allocation.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// What does not fit together within the source; the entries are given nevertheless.
    pub flaws: Vec<Flaw>,
}

/// Where an item stands in a chunk's bytes; a stub is its leaf hash.
#[derive(Debug, Clone, Copy)]
struct Item {
    start: usize,
    end: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Entry,
    Withheld,
    Pruned(Position),
}

/// Two things of a source that should say the same do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The first position that it concerns.
    pub position: Option<Position>,
    /// What, in words, with the file's name.
    pub what: String,
}

impl Chunk {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.flaws.clear();
    }

    /// Forgets everything, and gives the memory away, to be given back by [`Chunk::hold`].
    pub fn take_memory(&mut self) -> Vec<u8> {
        self.clear();
        std::mem::take(&mut self.bytes)
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &[u8]) {
        self.add(entry, Kind::Entry);
    }

    /// Adds a stub of an entry that is withheld.
    pub fn push_withheld(&mut self, leaf: &Hash) {
        self.add(&leaf.0, Kind::Withheld);
    }

    /// Adds a stub of an entry whose bytes were removed.
    pub fn push_pruned(&mut self, leaf: &Hash, by: Position) {
        self.add(&leaf.0, Kind::Pruned(by));
    }

    /// Holds these entries of `bytes` and nothing else: nothing is copied.
    pub fn hold(&mut self, bytes: Vec<u8>, entries: &[Range<usize>]) {
        self.bytes = bytes;
        self.items.clear();
        self.items.extend(entries.iter().map(|entry| Item {
            start: entry.start,
            end: entry.end,
            kind: Kind::Entry,
        }));
    }

    fn add(&mut self, bytes: &[u8], kind: Kind) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes.len();
        self.items.push(Item { start, end, kind });
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Given<'_>> {
        self.items.iter().map(|item| {
            let bytes = &self.bytes[item.start..item.end];
            let leaf = || {
                let mut leaf = Hash::default();
                leaf.0.copy_from_slice(bytes);
                leaf
            };
            match item.kind {
                Kind::Entry => Given::Entry(bytes),
                Kind::Withheld => Given::Withheld(leaf()),
                Kind::Pruned(by) => Given::Pruned(leaf(), by),
            }
        })
    }
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It should be there, and is not.
    #[error("{what} is missing")]
    Missing {
        /// What, such as a file's name.
        what: String,
        /// The first position that it concerns.
        position: Option<Position>,
    },
    /// It is there, and is not what belongs there.
    #[error("{what}: {reason}")]
    Malformed {
        /// What, such as a file's name.
        what: String,
        /// The first position that it concerns.
        position: Option<Position>,
        /// What is wrong with it.
        reason: String,
    },
    /// It does not answer, or refuses: nothing is known about it.
    #[error("{0}")]
    Unavailable(String),
}

impl SourceError {
    /// Something without a position is missing.
    pub fn missing(what: impl Into<String>) -> Self {
        Self::Missing {
            what: what.into(),
            position: None,
        }
    }

    /// Something without a position is wrong.
    pub fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed {
            what: what.into(),
            position: None,
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_gives_back_what_was_put_into_it() {
        let mut chunk = Chunk::default();
        chunk.push(b"one");
        chunk.push_withheld(&Hash([7; 32]));
        chunk.push_pruned(&Hash([8; 32]), Position(9));
        chunk.push(b"");
        let items: Vec<Given<'_>> = chunk.iter().collect();
        assert_eq!(
            items,
            [
                Given::Entry(b"one"),
                Given::Withheld(Hash([7; 32])),
                Given::Pruned(Hash([8; 32]), Position(9)),
                Given::Entry(b"")
            ]
        );
        chunk.hold(b"\x03one\x03two".to_vec(), &[1..4, 5..8]);
        let items: Vec<Given<'_>> = chunk.iter().collect();
        assert_eq!(items, [Given::Entry(b"one"), Given::Entry(b"two")]);
        chunk.clear();
        assert_eq!((chunk.len(), chunk.iter().count()), (0, 0));
    }
}
