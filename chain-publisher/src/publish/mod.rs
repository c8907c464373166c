//! Publishing: the head of a day is put where others can get it, whatever becomes of this service.
//!
//! - `directory`: checkpoint, tiles, heads and an index page as files that any static host can serve.
//! - `git`: a repository with a commit a day.
//! - `webhook`: a signed POST.
//!
//! Invariants: what is published is what was signed, byte for byte; publishing a day again changes nothing, so whoever
//! is not sure whether it worked does it again; a channel that hangs is given up.
//! Not here: which days are due and when a channel is tried again (`api`), making heads (`commands`).

pub mod directory;
pub mod git;
pub mod webhook;

use crate::source::LogSource;
use domain::{Date, TreeSize};

/// A day's head on its way out.
pub struct Publication<'a> {
    /// Which log.
    pub origin: &'a str,
    /// The day.
    pub date: Date,
    /// Its head, a tlog-proof file.
    pub head: &'a [u8],
    /// The tree size at its end.
    pub size: TreeSize,
    /// Seconds since 1970, now.
    pub now_s: u64,
    /// The log, for channels that publish more than the head.
    pub source: &'a dyn LogSource,
}

/// It was not published, or nobody knows; in words, without secrets. It may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PublishError(pub String);

/// Where heads are published.
pub trait Channel: Send {
    /// Publishes one day; it is there when this returns.
    ///
    /// # Errors
    /// [`PublishError`].
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError>;
}
