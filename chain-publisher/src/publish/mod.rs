//! Publishing: the head of a day is put where others can get it, whatever becomes of this service.
//!
//! - `directory`: checkpoint, tiles, heads and an index page as files that any static host can serve.
//! - `git`: a repository with a commit a day.
//! - `webhook`: what a signed POST says; who sends it is the edge's (`api`), as are mail and MQTT.
//!
//! What goes along with a head: that it continues the one before (`.consistency`), and the same day under a later
//! checkpoint where witnesses came late.
//! Invariants: what is published is what was signed, byte for byte; publishing a day again changes nothing, so whoever
//! is not sure whether it worked does it again; a channel that hangs is given up, and at once when the service stops.
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
    /// That it continues the head before, an add-checkpoint body; `None` for the first day.
    pub consistency: Option<&'a [u8]>,
    /// The tree size at its end.
    pub size: TreeSize,
    /// Seconds since 1970, now.
    pub now_s: u64,
    /// The log, for channels that publish more than the head.
    pub source: &'a dyn LogSource,
    /// Whether the service stops: what takes long asks this often, and gives up.
    pub give_up: &'a (dyn Fn() -> bool + Sync),
}

/// It was not published, or nobody knows; in words, without secrets. It may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It did not work now.
    #[error("{0}")]
    Failed(String),
    /// It was refused, and will be again until somebody changes something.
    #[error("{0}")]
    Refused(String),
    /// The service stops.
    #[error("the service stops")]
    GivenUp,
}

/// Where heads are published.
pub trait Channel: Send {
    /// Publishes one day; it is there when this returns.
    ///
    /// # Errors
    /// [`PublishError`].
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError>;
}
