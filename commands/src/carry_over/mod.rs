//! Carrying a configuration over: from a ledger that does not go on to the one that continues it.
//!
//! The way: [`find`] reads the old ledger whole, holds it against the root that was signed, and says which of its
//! entries are configuration in force or history of it; [`Resealer`] makes a new event of each, sealed anew for the new
//! ledger; [`write()`] keeps all of them in one file of the new data directory, from which the first start records them
//! ([`CarryOver`]). So the old directory is not needed any more once the file is written.
//! Invariants: nothing that was sealed is written in the clear; what was erased stays erased; an event stands in the
//! same stream, in the same order, and names the entry that it was; a file is whole or not there.
//! Source: FORMAT §1 and §2. Not here: recording (`api::begin`), where the keys are (`keys`).

mod file;
mod find;
mod reseal;
#[cfg(test)]
mod tests;

pub use file::{CarryOver, FILE, write};
pub use find::{Found, find};
pub use reseal::{Resealer, Side};

use crate::keys::KeyError;
use domain::Position;
use domain::canonical::CanonicalError;
use domain::entry::EntryError;
use domain::ports::ReadError;
use std::io;
use std::path::PathBuf;

/// Who records what is carried over, as it stands in metadata.
pub const ACTOR: &str = "system:continue";

/// A configuration cannot be carried over.
#[derive(Debug, thiserror::Error)]
pub enum CarryOverError {
    /// The old ledger cannot be read.
    #[error("the old ledger: {0}")]
    Read(#[from] ReadError),
    /// The old ledger is not what was signed.
    #[error("the old ledger does not hold: its entries below {size} do not come to the root that was signed")]
    Root {
        /// The size of the checkpoint.
        size: u64,
    },
    /// An entry of the old ledger that cannot be taken over.
    #[error("the old ledger, position {position}: {what}")]
    Entry {
        /// Which one.
        position: Position,
        /// Why not.
        what: String,
    },
    /// A key, old or new.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A new key could not be made.
    #[error("a key could not be made: {0}")]
    NoKey(String),
    /// A file of the new directory.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is not what `daybook continue` wrote.
    #[error("{} is not what `daybook continue` wrote: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl CarryOverError {
    fn entry(position: Position, what: impl ToString) -> Self {
        Self::Entry {
            position,
            what: what.to_string(),
        }
    }

    fn canonical(position: Position) -> impl Fn(CanonicalError) -> Self {
        move |error| Self::entry(position, error)
    }

    fn encoded(position: Position) -> impl Fn(EntryError) -> Self {
        move |error| Self::entry(position, error)
    }
}
