//! Alarms: the list, one of them with its why, and the silences of a channel.
//!
//! Invariants: the worst that nobody has acknowledged stands first; how bad an alarm is and how it stands is said by
//! word, shape and colour; everything that is done to one works with a thumb, a keyboard, and without JavaScript.
//! Source: docs/rules.md. Not here: deciding (`domain::rule`), gathering (`gather::alarms`).

pub mod list;
pub mod one;
pub mod reasons;
pub mod silence;
pub mod view;
