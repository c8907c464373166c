//! Why a projection did not advance, and why a question was not answered.
//!
//! Not here: the mapping to HTTP (`api`).

use domain::ports::ReadError;
use domain::{Position, TreeSize};

/// Why a projection did not advance. What was begun is rolled back; rows and cursor agree.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// An entry that every ledger of this format would not hold.
    #[error("the entry at position {position} does not read: {reason}; verify the ledger")]
    Entry {
        /// Where.
        position: Position,
        /// What was wrong.
        reason: String,
    },
    /// Entries must come one behind the other.
    #[error("expected position {expected}, got {found}")]
    OutOfOrder {
        /// The next position.
        expected: Position,
        /// What came.
        found: Position,
    },
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] ReadError),
    /// The root at this size could not be had.
    #[error("the root at size {size} cannot be had: {reason}")]
    Root {
        /// The size.
        size: TreeSize,
        /// What was said.
        reason: String,
    },
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] migrations::MigrateError),
    /// SQLite failed: a full disk, a damaged file.
    #[error("the read models could not be written: {0}")]
    Store(#[from] rusqlite::Error),
    /// What is stored does not read; a rebuild mends it.
    #[error("the read models are damaged: {0}; rebuild them")]
    Damaged(String),
    /// A file could not be moved or removed.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The projector was stopped.
    #[error("the projector was stopped")]
    Stopped,
}

impl ProjectionError {
    /// Whether trying again may help without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Ledger(ReadError::Unavailable(_)) | Self::Root { .. } | Self::File { .. } => true,
            Self::Store(rusqlite::Error::SqliteFailure(code, _)) => !matches!(
                code.code,
                rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase
            ),
            _ => false,
        }
    }
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No such channel in this account.
    #[error("no channel {0} in this account")]
    ChannelNotFound(String),
    /// No such device in this account.
    #[error("no device {0} in this account")]
    DeviceNotFound(String),
    /// No such site in this account.
    #[error("no site {0} in this account")]
    SiteNotFound(String),
    /// The cursor was not made here, or for another question.
    #[error("the cursor is not one that this list gave; start again without it")]
    BadCursor,
    /// `from` after `to`, a limit of nothing, too many channels.
    #[error("{0}")]
    BadRange(String),
    /// A bucket that several corrections share has more values than one is made anew of.
    #[error(
        "several calibrations share a bucket of {values} values, and an answer corrects at most {most} one by one: ask \
         for a finer agg, a shorter range, or values=raw"
    )]
    TooManyShared {
        /// Of the bucket that was one too many.
        values: u64,
        /// Most of an answer.
        most: u64,
    },
    /// The receiver of a stream went away.
    #[error("the receiver is gone: {0}")]
    Receiver(std::io::Error),
    /// The read models do not answer; try again.
    #[error("the read models do not answer: {0}")]
    Unavailable(String),
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<crate::sketch::SketchError> for QueryError {
    fn from(error: crate::sketch::SketchError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<crate::sketch::SketchError> for ProjectionError {
    fn from(error: crate::sketch::SketchError) -> Self {
        Self::Damaged(error.to_string())
    }
}
