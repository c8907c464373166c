//! What several test binaries share. Not here: tests.

pub mod scenario;
