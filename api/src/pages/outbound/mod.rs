//! The outbound log: what was sent to whom, what was not and why, what waits, and whether the ways work.
//!
//! Invariants: what came of an attempt is said by word, shape and colour; a code that has words of ours is said with
//! them and as it is; nothing here sends but the button that asks for it.
//! Source: docs/notifications.md. Not here: contacts (`contacts`), what is due (`projections::outbox`).

pub mod log;
#[cfg(test)]
pub(super) mod sample;
pub mod view;
