//! Where a log is read from: checkpoint, heads, tiles, and entries in order.
//!
//! Invariants: nothing that a source gives is believed by its having been given; an entry comes as the exact bytes that
//! were stored, or as a stub with its leaf hash; chunks follow one another without gaps.
//! Not here: the sources themselves (`directory`, `url`, `ports_source`), believing them (`verify`).

use crate::anchor::AnchorKind;
use domain::tile::Tile;
use domain::{Date, Hash, Position, TreeSize};

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
}

/// Consecutive entries in one allocation.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    /// Where each item ends in `bytes`; a stub is its leaf hash.
    ends: Vec<(usize, bool)>,
    /// What does not fit together within the source; the entries are given nevertheless.
    pub flaws: Vec<Flaw>,
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
        self.ends.clear();
        self.flaws.clear();
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(entry);
        self.ends.push((self.bytes.len(), true));
    }

    /// Adds a stub.
    pub fn push_withheld(&mut self, leaf: &Hash) {
        self.bytes.extend_from_slice(&leaf.0);
        self.ends.push((self.bytes.len(), false));
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Given<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, is_entry)| {
            let bytes = &self.bytes[start..end];
            start = end;
            if is_entry {
                Given::Entry(bytes)
            } else {
                let mut leaf = Hash::default();
                leaf.0.copy_from_slice(bytes);
                Given::Withheld(leaf)
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
        chunk.push(b"");
        let items: Vec<Given<'_>> = chunk.iter().collect();
        assert_eq!(
            items,
            [
                Given::Entry(b"one"),
                Given::Withheld(Hash([7; 32])),
                Given::Entry(b"")
            ]
        );
        chunk.clear();
        assert_eq!((chunk.len(), chunk.iter().count()), (0, 0));
    }
}
