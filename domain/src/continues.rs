//! What a new ledger says of the one that it continues (FORMAT §1).
//!
//! Invariant: it names a tree that the old ledger once had; whether it had it is checked by whoever has the old one.
//! Not here: beginning one (`api`), holding it against the old log (`chain-publisher`).

use crate::hash::Hash;
use crate::position::TreeSize;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The member `continues` of `LedgerCreated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continues {
    /// The old ledger.
    pub origin: String,
    /// The entries that were carried over as its past: what its restored copy held.
    pub size: TreeSize,
    /// Its root there.
    pub root: Hash,
    /// Why it does not go on, a code such as `restored_older_copy`.
    pub reason: String,
}

/// Characters of a reason.
pub const REASON_MAX: usize = 32;

/// Whether a reason may be written: `[a-z_]{1,32}`, as codes of reasons are.
pub fn is_reason(code: &str) -> bool {
    !code.is_empty() && code.len() <= REASON_MAX && code.bytes().all(|b| matches!(b, b'a'..=b'z' | b'_'))
}

impl fmt::Display for Continues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at size {} with the root {} ({})",
            self.origin, self.size, self.root, self.reason
        )
    }
}
