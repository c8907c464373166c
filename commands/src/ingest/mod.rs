//! The way in for foreign payloads.

pub mod decoded;
