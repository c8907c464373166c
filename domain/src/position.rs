//! Where an entry stands and how many there are: two integers that must never be mixed up.
//!
//! Invariant: positions count from 0 without gaps, so a log of tree size n holds the positions 0 to n − 1.
//! Source: FORMAT §1, RFC 6962 §2.1 (leaf index, tree size).
//! Not here: a stream's sequence, which counts from 1 (`stream`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The position of an entry, its leaf index: from 0, without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// The number of entries of a log, or of one of its prefixes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TreeSize(pub u64);

impl Position {
    /// The first position of every log.
    pub const FIRST: Self = Self(0);

    /// The position as a bare number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The position before this one; `None` at the start of the log.
    pub const fn previous(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    /// The position `count` entries further on.
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// The smallest tree that holds this position.
    pub const fn size_through(self) -> TreeSize {
        TreeSize(self.0 + 1)
    }

    /// The size of the tree that ends just before this position.
    pub const fn size_before(self) -> TreeSize {
        TreeSize(self.0)
    }
}

impl TreeSize {
    /// The tree without entries.
    pub const EMPTY: Self = Self(0);

    /// The largest tree that any reader here takes: a proof has then at most 63 hashes (C2SP tlog-witness), and
    /// every language's 64-bit integer holds it.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The size as a bare number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether the tree has no entries.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a tree of this size holds the entry at `position`.
    pub const fn contains(self, position: Position) -> bool {
        position.0 < self.0
    }

    /// The position that the next entry gets.
    pub const fn next_position(self) -> Position {
        Position(self.0)
    }

    /// The last position; `None` for the empty tree.
    pub const fn last(self) -> Option<Position> {
        match self.0.checked_sub(1) {
            Some(n) => Some(Position(n)),
            None => None,
        }
    }

    /// The size after `count` more entries.
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// How many entries came since a tree of size `earlier`; 0 if that one is larger.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_holds_exactly_the_positions_below_it() {
        assert!(!TreeSize::EMPTY.contains(Position::FIRST));
        assert!(TreeSize(3).contains(Position(2)));
        assert!(!TreeSize(3).contains(Position(3)));
        assert_eq!(TreeSize(3).next_position(), Position(3));
        assert_eq!(TreeSize(3).last(), Some(Position(2)));
        assert_eq!(TreeSize::EMPTY.last(), None);
        assert_eq!(Position(2).size_through(), TreeSize(3));
        assert_eq!(Position(2).size_before(), TreeSize(2));
        assert_eq!(Position(0).previous(), None);
        assert_eq!(TreeSize(3).since(TreeSize(5)), 0);
    }

    #[test]
    fn both_are_plain_numbers_in_json() {
        assert_eq!(serde_json::to_string(&Position(7)).ok().as_deref(), Some("7"));
        assert_eq!(serde_json::from_str::<TreeSize>("7").ok(), Some(TreeSize(7)));
        assert!(serde_json::from_str::<TreeSize>("-1").is_err());
    }
}
