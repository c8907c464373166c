//! Signing and publishing as a process of its own, so that the service that takes readings in need not hold the log key.
//!
//! | file | holds |
//! |---|---|
//! | `dir` | the publisher's directory: key, guard, heads |
//! | `outcomes` | what came of publications, until the service has recorded it |
//! | `follow` | the ledger's files, read; what is durable, signed; days, their heads |
//! | `handover` | a new log key: the request for it, and what the service knows of the publisher's keys |
//! | `desk` | what channels need, here |
//! | `peer` | files of the other process, read with a limit |
//! | `elsewhere` | the other side: the service that offers trees, takes over checkpoints, records outcomes |
//!
//! Each process writes only into its own directory and reads the other's; neither waits for the other, and either may be
//! killed at any time. The service says in `to-sign` which tree is durable. The publisher opens the ledger's files, finds
//! the root there, holds it against its guard, and signs; days that were closed first, at exactly their size.
//! Invariants: one owner signs, only sizes that are synced, in rising order; what contradicts what was signed before ends
//! the publisher; an outcome is recorded by the service exactly once, told by its number; the service takes over only
//! checkpoints of its own tree.
//! Source: FORMAT §4, §5. Not here: channels and their threads (`publishing`), the guard's files (`commands::ledger`).

mod desk;
mod dir;
mod elsewhere;
mod follow;
mod handover;
mod outcomes;
mod peer;

pub use desk::Publisher;
pub use dir::{Dir, DirError, VERIFIER_KEY, read_checkpoint, read_verifier_key};
pub use elsewhere::{Elsewhere, take_over};
pub use follow::FollowError;
pub use handover::{Known, Request};

/// The file in the service's directory that says what is durable: an unsigned checkpoint.
pub const TO_SIGN: &str = "to-sign";
