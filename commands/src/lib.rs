//! The write side.

pub mod alerting;
pub mod carry_over;
pub mod handlers;
pub mod heads;
pub mod ingest;
pub mod keys;
pub mod ledger;
pub mod record;
pub mod refusals;
pub mod sequencer;
pub mod tokens;
