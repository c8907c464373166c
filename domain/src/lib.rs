//! The ground-state vocabulary of Daybook: pure, without clocks, randomness, files or sockets.

pub mod add_checkpoint;
pub mod aggregate;
pub mod calibration;
pub mod canonical;
pub mod checkpoint;
pub mod continues;
pub mod cosignature;
pub mod day;
pub mod entry;
pub mod event;
mod folded_tile;
pub mod hash;
pub mod ids;
pub mod in_force;
pub mod kinds;
pub mod levels;
pub mod memory;
pub mod merkle;
pub mod note;
pub mod ports;
pub mod position;
pub mod pq;
pub mod proof;
pub mod reading;
pub mod registry;
pub mod rejection;
pub mod retention;
pub mod rotation;
pub mod rule;
pub mod sealed;
mod shape;
pub mod stream;
mod text;
pub mod tile;
pub mod tile_reader;
pub mod time;
pub mod tlog_policy;
pub mod tlog_proof;
#[cfg(test)]
mod vectors;
pub mod verify;

pub use hash::Hash;
pub use position::{Position, TreeSize};
pub use time::{Date, Timestamp};
