//! The write side.

pub mod ingest;
