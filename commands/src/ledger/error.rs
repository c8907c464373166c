//! Why a ledger was not opened: what was found, at which position, and what to do.
//!
//! Not here: why entries were not appended or read (`domain::ports`).

use domain::position::{Position, TreeSize};
use std::io;
use std::path::PathBuf;

/// Why a ledger was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to it.
    #[error("the ledger in {} is in use by {holder}: stop that process first", dir.display())]
    Locked {
        /// The ledger's folder.
        dir: PathBuf,
        /// What the other one wrote of itself.
        holder: String,
    },
    /// What is stored is not what was written.
    #[error("the ledger is damaged at position {position}: {reason}")]
    Corrupt {
        /// The first position that cannot be trusted.
        position: Position,
        /// What was found, and what to do.
        reason: String,
    },
    /// A file that the manifest names is not there.
    #[error("the ledger is damaged at position {position}: {file} is missing: restore it from a copy")]
    Missing {
        /// The first position it held.
        position: Position,
        /// The file.
        file: String,
    },
    /// The folder is older than what was signed.
    #[error(
        "the ledger in {} has {size} entries, but a checkpoint of size {anchored} was signed, as {} shows: this is \
         an older copy. Restore the newest one; if it is lost, start a new ledger that continues this one with `daybook continue`",
        dir.display(), anchor.display()
    )]
    Older {
        /// The ledger's folder.
        dir: PathBuf,
        /// What it holds.
        size: TreeSize,
        /// What was signed.
        anchored: TreeSize,
        /// Where that is kept.
        anchor: PathBuf,
    },
    /// The entries are not those that were signed.
    #[error(
        "the first {size} entries in {} are not those that were signed, as {} shows: restore the folder from a copy",
        dir.display(), checkpoint.display()
    )]
    Inconsistent {
        /// The ledger's folder.
        dir: PathBuf,
        /// The checkpoint's size.
        size: TreeSize,
        /// Where the checkpoint is kept.
        checkpoint: PathBuf,
    },
    /// It is another ledger.
    #[error("the ledger in {} has the origin {found}, not {expected}", dir.display())]
    OtherOrigin {
        /// The ledger's folder.
        dir: PathBuf,
        /// The origin that was asked for.
        expected: String,
        /// The origin of its checkpoint.
        found: String,
    },
    /// The anchor cannot be read.
    #[error(
        "{} is damaged: compare the ledger with a head kept elsewhere, and if it agrees, remove that file",
        path.display()
    )]
    AnchorDamaged {
        /// The file.
        path: PathBuf,
    },
    /// There is no ledger to read.
    #[error("there is no ledger in {}", dir.display())]
    NoLedger {
        /// The folder.
        dir: PathBuf,
    },
    /// The disk failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the disk said.
        source: io::Error,
    },
}

/// The disk failed while this was being done.
pub(super) fn io_error(what: &str) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.to_owned();
    move |source| OpenError::Io { what, source }
}

/// What is stored is not what was written, from this position on.
pub(super) fn corrupt(position: u64, reason: impl Into<String>) -> OpenError {
    OpenError::Corrupt {
        position: Position(position),
        reason: reason.into(),
    }
}
