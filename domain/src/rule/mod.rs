//! Rules: what is right for a channel, when it counts as an alarm, and the engine that says so.
//!
//! Invariants: everything here is a pure function of its arguments; the same entries give the same decisions in
//! whatever batches they come, with a state written and read back at any point.
//! Source: docs/rules.md, which decides what the public documentation of such rules leaves open.
//! Not here: which entries a decision becomes (`commands`), who is told (`api`).

pub mod back_test;
pub mod check;
pub mod definition;
pub mod derived;
pub mod engine;
pub mod kinds;
pub mod presets;
pub mod recurrence;
#[cfg(test)]
mod recurrence_tests;
mod shared;
pub mod state;
pub mod trial;
pub mod windows;

pub use definition::{
    Band, Definition, Flap, Kind, Level, Overrides, RuleTest, Severity, TestReading, TestState, Window,
};
pub use derived::{Derivation, Derived, Function};
pub use engine::{AlarmKey, Decision, Engine, Fact, Subject, What};
pub use state::ChannelState;

use crate::hash::{Hash, sha256_of};
use crate::ids::{ID_BYTES, IdKind};

const ALARM_ID_PREFIX: &[u8] = b"daybook/alarm/v1\n";

/// The id of the alarm that this version of a rule opens over the entry with that leaf hash.
///
/// The same ledger gives the same id, so a replay finds each alarm by name. The entry's salt holds 128 random bits,
/// so its leaf hash, and with it the id, cannot be guessed.
pub fn alarm_id(rule: &str, rule_version: u32, opening: &Hash) -> String {
    let version = rule_version.to_string();
    let hash = sha256_of(&[
        ALARM_ID_PREFIX,
        rule.as_bytes(),
        b"\n",
        version.as_bytes(),
        b"\n",
        &opening.0,
    ]);
    let mut bytes = [0; ID_BYTES];
    bytes.copy_from_slice(&hash.0[..ID_BYTES]);
    IdKind::Alarm.id(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_named_by_its_rule_version_and_opening_entry() {
        let hash = crate::hash::sha256(b"entry");
        let id = alarm_id("rul_a", 1, &hash);
        assert!(IdKind::Alarm.is(&id), "{id}");
        assert_eq!(id, alarm_id("rul_a", 1, &hash));
        assert_ne!(id, alarm_id("rul_a", 2, &hash));
        assert_ne!(id, alarm_id("rul_b", 1, &hash));
        assert_ne!(id, alarm_id("rul_a", 1, &crate::hash::sha256(b"other")));
    }
}
