//! The ground-state vocabulary of Daybook: pure, without clocks, randomness, files or sockets.

pub mod canonical;
pub mod entry;
pub mod hash;
pub mod kinds;
pub mod ports;
pub mod position;
pub mod reading;
pub mod time;

pub use hash::Hash;
pub use position::{Position, TreeSize};
pub use time::{Date, Timestamp};
