//! How long the ledger says that each class is kept: for longer from some entry on, never for shorter.
//!
//! Invariants: position 0 says it first, what it does not name is kept for ever, and so are `ledger` and `audit` whatever
//! it says; what is known can therefore only be too little, also where entries between are not seen.
//! Source: FORMAT §2, §6. Not here: what was removed, and whether lawfully (`verify`).

use crate::event::Class;
use crate::position::Position;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// Says how long classes are kept from there on.
pub const RETENTION_POLICY_SET: &str = "RetentionPolicySet";

/// The latest of each class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionTerms {
    /// Whether the ledger's first entry was seen.
    begun: bool,
    days: BTreeMap<String, Option<u64>>,
}

/// A class that was to be kept for longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{RETENTION_POLICY_SET}: the class {class} is to be kept {}, and was to be kept {}: retention is never shortened",
    Days(Some(*.days)), Days(*.before)
)]
pub struct Shortened {
    /// Its name.
    pub class: String,
    /// For how many days now.
    pub days: u64,
    /// For how many before; for ever where there are none.
    pub before: Option<u64>,
}

struct Days(Option<u64>);

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("for ever"),
            Some(1) => f.write_str("for 1 day"),
            Some(days) => write!(f, "for {days} days"),
        }
    }
}

impl RetentionTerms {
    /// The member `retention` of a payload; empty where there is none.
    ///
    /// # Errors
    /// In words, where it is not days by class.
    pub fn read(payload: &[u8]) -> Result<BTreeMap<String, Option<u64>>, String> {
        #[derive(Deserialize)]
        struct Says {
            #[serde(default)]
            retention: BTreeMap<String, Option<u64>>,
        }
        let says: Says = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        Ok(says.retention)
    }

    /// Takes what the entry at that position says; whether it could be held against what was said before.
    ///
    /// # Errors
    /// [`Shortened`], the first by name; what the entry says is taken all the same.
    pub fn take(
        &mut self,
        position: Position,
        says: &BTreeMap<String, Option<u64>>,
    ) -> Result<bool, Shortened> {
        let shortened = self.check(says);
        let is_told = position == Position::FIRST || says.keys().all(|class| self.knows(class));
        let begins = position == Position::FIRST;
        self.begun |= begins;
        let says = says.iter().map(|(class, days)| (class.clone(), *days));
        self.days.extend(says);
        match shortened {
            Err(shortened) if !begins => Err(shortened),
            _ => Ok(is_told),
        }
    }

    /// Whether a [`RETENTION_POLICY_SET`] may say that.
    ///
    /// # Errors
    /// [`Shortened`], the first by name.
    pub fn check(&self, says: &BTreeMap<String, Option<u64>>) -> Result<(), Shortened> {
        for (class, days) in says {
            let before = self.of(class);
            if let Some(days) = *days
                && self.knows(class)
                && before.is_none_or(|before| days < before)
            {
                let class = class.clone();
                return Err(Shortened { class, days, before });
            }
        }
        Ok(())
    }

    fn knows(&self, class: &str) -> bool {
        self.begun || is_for_ever(class) || self.days.contains_key(class)
    }

    fn of(&self, class: &str) -> Option<u64> {
        let days = self.days.get(class).copied().flatten();
        days.filter(|_| !is_for_ever(class))
    }
}

fn is_for_ever(class: &str) -> bool {
    [Class::Ledger, Class::Audit]
        .into_iter()
        .any(|it| it.as_str() == class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(text: &str) -> BTreeMap<String, Option<u64>> {
        RetentionTerms::read(format!("{{\"retention\":{text}}}").as_bytes()).expect("days by class")
    }

    fn begun(text: &str) -> RetentionTerms {
        let mut terms = RetentionTerms::default();
        assert_eq!(terms.take(Position::FIRST, &days(text)), Ok(true));
        terms
    }

    #[test]
    fn as_long_longer_and_for_ever_are_fine_and_anything_shorter_is_named() {
        for (set, said) in [
            (r#"{}"#, ""),
            (r#"{"reading":10}"#, ""),
            (r#"{"reading":11}"#, ""),
            (r#"{"reading":null}"#, ""),
            (r#"{"access":0}"#, ""),
            (r#"{"audit":null,"ledger":null,"outbound":null}"#, ""),
            (
                r#"{"reading":9}"#,
                "the class reading is to be kept for 9 days, and was to be kept for 10 days",
            ),
            // What the first entry does not name is kept for ever.
            (
                r#"{"outbound":4000}"#,
                "the class outbound is to be kept for 4000 days, and was to be kept for ever",
            ),
            (
                r#"{"automation":1}"#,
                "kept for 1 day, and was to be kept for ever",
            ),
            // These are, whatever it says.
            (r#"{"audit":4000}"#, "the class audit is to be kept for 4000 days"),
            (r#"{"ledger":4000}"#, "the class ledger is"),
            (r#"{"reading":11,"outbound":1}"#, "the class outbound"),
        ] {
            let mut terms = begun(r#"{"reading":10,"automation":null,"access":0,"audit":30}"#);
            match terms.take(Position(9), &days(set)) {
                Ok(is_told) => assert_eq!((is_told, said), (true, ""), "{set}"),
                Err(shortened) => {
                    let words = shortened.to_string();
                    assert!(!said.is_empty() && words.contains(said), "{set}: {words}");
                }
            }
        }
    }

    #[test]
    fn what_was_lengthened_is_not_shortened_again() {
        let mut terms = begun(r#"{"reading":10}"#);
        assert_eq!(terms.take(Position(5), &days(r#"{"reading":20}"#)), Ok(true));
        // What is not named stays as it was.
        assert_eq!(terms.take(Position(6), &days(r#"{"automation":null}"#)), Ok(true));
        assert!(terms.take(Position(7), &days(r#"{"reading":19}"#)).is_err());
        let mut terms = begun(r#"{"reading":10}"#);
        assert_eq!(terms.take(Position(5), &days(r#"{"reading":null}"#)), Ok(true));
        let shortened = terms.take(Position(6), &days(r#"{"reading":4000}"#));
        assert_eq!(shortened.map_err(|it| it.before), Err(None));
    }

    #[test]
    fn of_a_ledger_whose_beginning_is_not_seen_it_is_said_what_could_not_be_told() {
        let mut terms = RetentionTerms::default();
        assert_eq!(terms.take(Position(5), &days(r#"{"reading":20}"#)), Ok(false));
        assert_eq!(terms.take(Position(6), &days(r#"{"reading":20}"#)), Ok(true));
        assert!(terms.take(Position(7), &days(r#"{"reading":19}"#)).is_err());
        assert!(terms.take(Position(8), &days(r#"{"audit":9}"#)).is_err());
    }

    #[test]
    fn what_is_no_number_of_days_is_refused() {
        for bad in [
            "[]",
            "null",
            r#"{"reading":-1}"#,
            r#"{"reading":1.5}"#,
            r#"{"reading":"1"}"#,
        ] {
            let payload = format!("{{\"retention\":{bad}}}");
            assert!(RetentionTerms::read(payload.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(RetentionTerms::read(b"{}"), Ok(BTreeMap::new()));
    }
}
