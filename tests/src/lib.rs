//! What the end-to-end tests share.
//!
//! | file | holds |
//! |---|---|
//! | `daybook` | a real service in a directory of its own |
//! | `small_ledger` | a ledger in memory, recorded by the real sequencer |
//! | `pack_ledger` | a ledger of several accounts and many days, and evidence packs of it, good and forged |
//! | `chromium` | a real browser |
//! | `dice` | chance from a seed |
//! | `load`, `follower` | a device that remembers what it was told; a ledger followed from outside |
//! | `fuzz`, `payloads` | fuzz targets' bodies; payload cases |
//!
//! Not here: tests (`it/`).

pub mod chromium;
pub mod daybook;
pub mod dice;
pub mod follower;
pub mod fuzz;
pub mod load;
pub mod pack_ledger;
pub mod payloads;
pub mod small_ledger;
