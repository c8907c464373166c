//! Verification of a whole log, streaming, in constant memory, by somebody who trusts nobody here.
//!
//! - `verdict`: what is said in the end, and with which exit code (FORMAT §8).
//! - `examine`: what an entry's bytes alone tell; may be done by several at once.
//! - `log`: a whole ledger, entry by entry, with its streams and days.
//! - `carried`: what it says that it carried over from the ledger which it continues (FORMAT §1).
//! - `pruning`: what retention removed, against days and what says so (FORMAT §6).
//! - `log_hasher`: entries in order → leaf hashes, tree, roots at the sizes where a root is known.
//!
//! Invariant: keys, origin, policy and heads come from outside what is verified.
//! Not here: reading files or the network; one proof alone (`tlog_proof`); tiles of a stranger (`tile_reader`).

mod carried;
mod examine;
mod log;
mod log_hasher;
mod pruning;
mod verdict;

pub use carried::Carried;
pub use examine::{Examined, Examiner};
pub use log::{CheckedDay, LogReport, LogVerifier, Strictness};
pub use log_hasher::{Hashed, Kept, KnownRoot, LeafMismatch, LogHasher, RootMismatch};
pub use pruning::Retention;
pub use verdict::{EXIT_UNUSABLE, Verdict};
