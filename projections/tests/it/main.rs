//! The projections over an in-memory ledger.
//!
//! One binary, so that it links once. Not here: drivers of the ledger, HTTP.

mod corrected;
mod fold;
mod outbox;
mod projector;
mod queries;
mod support;
mod walls;
