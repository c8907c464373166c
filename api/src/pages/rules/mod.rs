//! Rules: a channel's list, and the editor, which tries a draft on the past before it is in force.
//!
//! Invariants: what a form cannot say it does not lose; a draft is tried by the engine that judges; who changed what,
//! and why, stands beside it.
//! Source: docs/rules.md. Not here: what a rule may be (`domain::rule`), gathering (`gather::rules`).

pub mod edit;
pub mod form;
pub mod list;
pub mod recurrence;
pub mod view;
