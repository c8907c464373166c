//! map

pub mod payloads;
