//! Contacts: who is told of alarms, by which way, of what, and after how many minutes.
//!
//! | file | what |
//! |---|---|
//! | `view` | what the page shows |
//! | `list` | the page, a card a contact |
//! | `ladder` | the on-call order as a picture |
//! | `form` | what may be typed, read and shown again |
//!
//! Invariants: how a contact stands is said by word, shape and colour; a webhook's secret is shown in the answer that
//! made it and never again; what was typed is not lost when it is refused.
//! Source: docs/notifications.md. Not here: what is allowed (`domain::aggregate::contact`), what was sent (`outbound`).

pub mod form;
pub mod ladder;
pub mod list;
#[cfg(test)]
pub(super) mod sample;
pub mod view;
