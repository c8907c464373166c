//! The write side.

pub mod heads;
pub mod ingest;
pub mod refusals;
pub mod sequencer;
