//! What the end-to-end tests share.
//!
//! | file | holds |
//! |---|---|
//! | `daybook` | a real service in a directory of its own |
//! | `small_ledger` | a ledger in memory, recorded by the real sequencer |
//! | `fuzz`, `payloads` | fuzz targets' bodies; payload cases |
//!
//! Not here: tests (`it/`).

pub mod daybook;
pub mod fuzz;
pub mod payloads;
pub mod small_ledger;
