//! What can be found out about an entry from its bytes alone: its leaf hash, its members, whether its form is right.
//!
//! Invariants: an [`Examined`] comes from here only, so its hash is of the bytes that were given. Entries may be examined
//! in any order, and by several at once; what follows one another is for [`super::LogVerifier`].
//! Source: FORMAT §2, §3.

use super::Strictness;
use crate::entry::{Entry, EntryError, Members};
use crate::hash::{Hash, leaf_hash};
use crate::shape::Shapes;

/// Examines entries one by one.
#[derive(Debug, Clone)]
pub struct Examiner {
    strictness: Strictness,
    shapes: Shapes,
}

/// What was found out about an entry. It does not hold the bytes, and belongs to them.
#[derive(Debug, Clone)]
pub struct Examined {
    leaf: Hash,
    members: Result<Members, EntryError>,
}

impl Examiner {
    /// With that strictness.
    pub fn new(strictness: Strictness) -> Self {
        Self {
            strictness,
            shapes: Shapes::default(),
        }
    }

    /// How closely entries are read.
    pub(super) fn strictness(&self) -> Strictness {
        self.strictness
    }

    /// Hashes and reads an entry.
    pub fn examine(&mut self, bytes: &[u8]) -> Examined {
        Examined {
            leaf: leaf_hash(bytes),
            members: self.members(bytes),
        }
    }

    fn members(&mut self, bytes: &[u8]) -> Result<Members, EntryError> {
        if self.strictness == Strictness::Hashes {
            return Ok(Members::of(bytes, &Entry::read(bytes)?));
        }
        if let Some(members) = self.shapes.members(bytes) {
            return Ok(members);
        }
        let entry = Entry::decode(bytes)?;
        self.shapes.learn(bytes, &entry);
        Ok(Members::of(bytes, &entry))
    }
}

impl Examined {
    /// The hash of its leaf.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }

    /// The entry, from the bytes that were examined.
    ///
    /// # Errors
    /// [`EntryError`] as [`Entry::decode`], or [`Entry::read`] where canonical form is not asked for.
    pub fn entry<'a>(&self, bytes: &'a [u8]) -> Result<Entry<'a>, EntryError> {
        let members = self.members.as_ref().map_err(|error| *error)?;
        members.entry(bytes).ok_or(EntryError::Member("aggregate_id"))
    }
}
