//! Why a command was not accepted: whose fault, a stable code, and words that say what to do.
//!
//! Invariant: a code keeps its meaning for ever; the words may change. Source: REFERENCE §1.1, DESIGN "Errors".
//! Not here: faults of stores and disks (`ports`), the answer's envelope (`api`).

use std::borrow::Cow;

/// What kind of refusal it is; each is one HTTP status at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Not of the form asked for (400).
    Malformed,
    /// Known, but not allowed (403).
    Forbidden,
    /// Not there, or in another account (404).
    NotFound,
    /// Against what is there now (409).
    Conflict,
    /// The version the client knew is no longer the newest (412).
    Stale,
    /// Understood, and not acceptable (422).
    Invalid,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Its kind.
    pub fault: Fault,
    /// Its stable code, such as `invalid_range`.
    pub code: &'static str,
    /// For a person: what is wrong and what to do.
    pub message: Cow<'static, str>,
}

impl Rejection {
    /// A refusal of this kind.
    pub fn new(fault: Fault, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            fault,
            code,
            message: message.into(),
        }
    }

    /// Understood, and not acceptable (422).
    pub fn invalid(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Fault::Invalid, code, message)
    }

    /// Against what is there now (409).
    pub fn conflict(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Fault::Conflict, code, message)
    }

    /// Not there, or in another account (404).
    pub fn not_found(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Fault::NotFound, code, message)
    }
}
