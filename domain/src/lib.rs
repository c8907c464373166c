//! The ground-state vocabulary of Daybook: pure, without clocks, randomness, files or sockets.

pub mod canonical;
pub mod checkpoint;
pub mod class;
pub mod cosignature;
pub mod day;
pub mod entry;
pub mod hash;
pub mod kinds;
pub mod memory;
pub mod merkle;
pub mod note;
pub mod ports;
pub mod position;
pub mod proof;
pub mod reading;
pub mod stream;
mod text;
pub mod tile;
pub mod tile_reader;
pub mod time;
#[cfg(test)]
mod vectors;

pub use hash::Hash;
pub use position::{Position, TreeSize};
pub use time::{Date, Timestamp};
