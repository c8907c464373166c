//! Verdicts and their exit codes.
//!
//! Invariant: of several findings the first of FORMAT §8's table stands, and of several of that kind the one at the
//! lowest position; nothing that was found makes a verdict better.
//! Source: FORMAT §8.
//! Not here: finding anything.

use crate::position::{Position, TreeSize};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The exit code for usage errors and unreadable input, which is no verdict.
pub const EXIT_UNUSABLE: u8 = 2;

/// What a verification ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields)]
pub enum Verdict {
    /// A hash, signature, order, count, canonical form or proof does not hold.
    Tampered {
        /// The first position that is wrong, or from which on something is; `None` where it is not about an entry.
        position: Option<Position>,
        /// What does not hold, in words.
        what: String,
    },
    /// The log is smaller than a head or receipt that was given.
    Truncated {
        /// The size found.
        size: TreeSize,
        /// The size that it once had.
        known: TreeSize,
        /// Who says so.
        what: String,
    },
    /// The log is another one than a head or receipt that was given belongs to.
    Forked {
        /// The size at which the two differ, or by which they do.
        size: TreeSize,
        /// Who says so.
        what: String,
    },
    /// A stream has a gap, ends before its day's map says, or an owner's stream is absent.
    Incomplete {
        /// What is missing, in words.
        what: String,
    },
    /// Nothing is wrong, but nobody outside confirms all of it.
    Unanchored {
        /// Up to which size somebody outside does; 0 if nobody does at all.
        anchored: TreeSize,
        /// The size found.
        size: TreeSize,
    },
    /// Everything that is there holds; some of what was asked is lawfully gone or withheld.
    Partial {
        /// Entries pruned.
        pruned: u64,
        /// Entries withheld.
        withheld: u64,
        /// Sealed values whose key was destroyed.
        erased: u64,
    },
    /// Everything asked hashes to a checkpoint that the outside policy or head confirms.
    Verified {
        /// The size found.
        size: TreeSize,
    },
}

impl Verdict {
    /// The exit code.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Tampered { .. } | Self::Truncated { .. } | Self::Forked { .. } => 1,
            Self::Unanchored { .. } => 3,
            Self::Incomplete { .. } => 4,
            Self::Partial { .. } => 5,
            Self::Verified { .. } => 0,
        }
    }

    /// The exit code where `--allow-partial` was given.
    pub const fn exit_code_allowing_partial(&self) -> u8 {
        if matches!(self, Self::Partial { .. }) {
            0
        } else {
            self.exit_code()
        }
    }

    /// The verdict's word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Tampered { .. } => "TAMPERED",
            Self::Truncated { .. } => "TRUNCATED",
            Self::Forked { .. } => "FORKED",
            Self::Incomplete { .. } => "INCOMPLETE",
            Self::Unanchored { .. } => "UNANCHORED",
            Self::Partial { .. } => "PARTIAL",
            Self::Verified { .. } => "VERIFIED",
        }
    }

    /// The one of the two that stands.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        if other.rank() < self.rank() { other } else { self }
    }

    /// The order of FORMAT §8's table; within TAMPERED, by position.
    fn rank(&self) -> (u8, u64) {
        match self {
            Self::Tampered {
                position: Some(position),
                ..
            } => (0, position.0),
            Self::Tampered { position: None, .. } => (0, u64::MAX),
            Self::Truncated { .. } | Self::Forked { .. } => (1, 0),
            Self::Incomplete { .. } => (2, 0),
            Self::Unanchored { .. } => (3, 0),
            Self::Partial { .. } => (4, 0),
            Self::Verified { .. } => (5, 0),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Tampered {
                position: Some(position),
                what,
            } => write!(f, " at position {position}: {what}"),
            Self::Tampered { position: None, what } | Self::Incomplete { what } => write!(f, ": {what}"),
            Self::Truncated { size, known, what } => {
                write!(f, ": the log has {size} entries and once had {known}: {what}")
            }
            Self::Forked { size, what } => write!(f, " at size {size}: {what}"),
            Self::Unanchored {
                anchored: TreeSize(0),
                size,
            } => {
                write!(
                    f,
                    ": {size} entries are consistent, but nobody outside confirms any of them"
                )
            }
            Self::Unanchored { anchored, size } => {
                write!(
                    f,
                    ": {size} entries are consistent, but only {anchored} are confirmed from outside"
                )
            }
            Self::Partial {
                pruned,
                withheld,
                erased,
            } => write!(
                f,
                ": what is there holds; {pruned} entries are pruned, {withheld} withheld, {erased} values erased"
            ),
            Self::Verified { size } => write!(f, ": {size} entries"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(Verdict, u8, &'static str)> {
        let what = || "why".to_owned();
        vec![
            (
                Verdict::Tampered {
                    position: Some(Position(7)),
                    what: what(),
                },
                1,
                "TAMPERED at position 7: why",
            ),
            (
                Verdict::Tampered {
                    position: None,
                    what: what(),
                },
                1,
                "TAMPERED: why",
            ),
            (
                Verdict::Truncated {
                    size: TreeSize(3),
                    known: TreeSize(5),
                    what: what(),
                },
                1,
                "TRUNCATED: the log has 3 entries and once had 5: why",
            ),
            (
                Verdict::Forked {
                    size: TreeSize(3),
                    what: what(),
                },
                1,
                "FORKED at size 3: why",
            ),
            (Verdict::Incomplete { what: what() }, 4, "INCOMPLETE: why"),
            (
                Verdict::Unanchored {
                    anchored: TreeSize(0),
                    size: TreeSize(3),
                },
                3,
                "UNANCHORED: 3 entries are consistent, but nobody outside confirms any of them",
            ),
            (
                Verdict::Unanchored {
                    anchored: TreeSize(2),
                    size: TreeSize(3),
                },
                3,
                "UNANCHORED: 3 entries are consistent, but only 2 are confirmed from outside",
            ),
            (
                Verdict::Partial {
                    pruned: 1,
                    withheld: 2,
                    erased: 3,
                },
                5,
                "PARTIAL: what is there holds; 1 entries are pruned, 2 withheld, 3 values erased",
            ),
            (Verdict::Verified { size: TreeSize(3) }, 0, "VERIFIED: 3 entries"),
        ]
    }

    #[test]
    fn each_verdict_has_its_word_its_exit_code_and_its_json() {
        for (verdict, code, text) in all() {
            assert_eq!((verdict.exit_code(), verdict.to_string().as_str()), (code, text));
            let partial = matches!(verdict, Verdict::Partial { .. });
            assert_eq!(
                verdict.exit_code_allowing_partial(),
                if partial { 0 } else { code }
            );
            let json = serde_json::to_value(&verdict).expect("plain data");
            assert_eq!(json["verdict"], verdict.word());
            assert_eq!(serde_json::from_value::<Verdict>(json).ok(), Some(verdict));
        }
    }

    #[test]
    fn the_worst_stands_whatever_the_order() {
        let verdicts: Vec<Verdict> = all().into_iter().map(|(verdict, ..)| verdict).collect();
        for (i, worse) in verdicts.iter().enumerate() {
            for better in &verdicts[i..] {
                if worse.rank() != better.rank() {
                    assert_eq!(better.clone().or_worse(worse.clone()), *worse);
                    assert_eq!(worse.clone().or_worse(better.clone()), *worse);
                }
            }
        }
        let at = |n| Verdict::Tampered {
            position: Some(Position(n)),
            what: String::new(),
        };
        assert_eq!(at(9).or_worse(at(3)).or_worse(at(5)), at(3));
    }
}
