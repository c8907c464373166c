//! `rule/rul_…`: one rule of one channel, whole in each of its versions.
//!
//! Invariants: versions count from 1 without gaps; a version that is not valid, or fails its own tests, is never
//! recorded; a change that changes nothing gives no version.
//! Source: docs/rules.md. Not here: judging by it (`rule::engine`), how many rules a channel may have (`commands`).

use super::{Aggregate, Stamp, text};
use crate::event::{Change, Event, Nothing, RuleChanged, RuleCreated, Text};
use crate::rejection::Rejection;
use crate::rule::Definition;
use crate::sealed::SealedField;
use serde::{Deserialize, Serialize};

/// The state of a rule.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rule {
    /// How many events there were.
    pub sequence: u64,
    /// What it judges.
    pub channel: String,
    /// Its newest version.
    pub version: u32,
    /// What it is, in that version.
    pub definition: Definition,
    /// Version of the time-zone database of its newest version.
    pub tzdb: String,
    /// Its name, sealed.
    pub name: Option<SealedField>,
    /// Whether it ended.
    pub removed: bool,
}

/// What may be asked of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleCommand {
    /// Begins it.
    Create {
        /// What it judges.
        channel: String,
        /// What it is.
        definition: Box<Definition>,
        /// What people call it.
        name: Option<String>,
        /// IANA name of the channel's site's time zone, for windows and tests.
        timezone: String,
        /// Version of the time-zone database at hand.
        tzdb: String,
    },
    /// Gives it another version.
    Change {
        /// What it shall be, whole; see [`Definition::patched`].
        definition: Box<Definition>,
        /// IANA name of the channel's site's time zone.
        timezone: String,
        /// Version of the time-zone database at hand.
        tzdb: String,
    },
    /// Ends it.
    Remove,
}

impl Aggregate for Rule {
    const TYPE: &'static str = "rule";
    type Command = RuleCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::RuleCreated(created) => {
                self.channel.clone_from(&created.channel);
                self.definition = created.definition.clone();
                self.version = created.version;
                self.tzdb.clone_from(&created.tzdb);
                self.name = stamp.maybe(created.name.as_ref(), "/name");
            }
            Event::RuleChanged(changed) => {
                self.definition = changed.definition.new.clone();
                self.version = changed.version;
                self.tzdb.clone_from(&changed.tzdb);
            }
            Event::RuleRemoved(_) => self.removed = true,
            _ => {}
        }
    }

    fn decide(&self, command: &RuleCommand) -> Result<Vec<Event>, Rejection> {
        match command {
            RuleCommand::Create { .. } if self.sequence > 0 => {
                Err(Rejection::conflict("already_exists", "this rule exists already"))
            }
            RuleCommand::Create {
                channel,
                definition,
                name,
                timezone,
                tzdb,
            } => {
                accept(definition, timezone)?;
                let name = name.as_deref().map(|name| text::name("name", name)).transpose()?;
                Ok(vec![Event::RuleCreated(RuleCreated {
                    channel: channel.clone(),
                    definition: (**definition).clone(),
                    name: name.map(Text::Plain),
                    tzdb: tzdb.clone(),
                    version: 1,
                })])
            }
            _ if self.sequence == 0 || self.removed => {
                Err(Rejection::not_found("rule_not_found", "no such rule"))
            }
            RuleCommand::Change { definition, .. } if **definition == self.definition => Ok(vec![]),
            RuleCommand::Change {
                definition,
                timezone,
                tzdb,
            } => {
                accept(definition, timezone)?;
                Ok(vec![Event::RuleChanged(RuleChanged {
                    channel: self.channel.clone(),
                    definition: Change {
                        old: self.definition.clone(),
                        new: (**definition).clone(),
                    },
                    tzdb: tzdb.clone(),
                    version: self.version + 1,
                })])
            }
            RuleCommand::Remove => Ok(vec![Event::RuleRemoved(Nothing {})]),
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// A definition is accepted when it is valid and does what its tests say.
fn accept(definition: &Definition, timezone: &str) -> Result<(), Rejection> {
    let timezone = text::timezone(timezone)?;
    definition.check()?;
    definition.try_out(&timezone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{ChannelState, RuleTest, TestState};

    fn create(definition: Definition) -> RuleCommand {
        RuleCommand::Create {
            channel: "chn_a".into(),
            definition: Box::new(definition),
            name: None,
            timezone: "Europe/Berlin".into(),
            tzdb: "2025b".into(),
        }
    }

    fn change(definition: Definition) -> RuleCommand {
        RuleCommand::Change {
            definition: Box::new(definition),
            timezone: "Europe/Berlin".into(),
            tzdb: "2025b".into(),
        }
    }

    fn does(rule: &mut Rule, command: &RuleCommand) -> Result<usize, &'static str> {
        let events = rule.decide(command).map_err(|r| r.code)?;
        for event in &events {
            let sequence = rule.sequence + 1;
            rule.apply(event, Stamp { sequence, salt: "" });
            let again = Event::read(
                event.event_type(),
                event.payload(None).expect("canonical").as_bytes(),
            );
            assert_eq!(again.as_ref(), Ok(event));
        }
        Ok(events.len())
    }

    #[test]
    fn versions_count_and_a_change_that_changes_nothing_gives_none() {
        let mut rule = Rule::default();
        let first = Definition::range(None, Some(5.0), 15);
        assert_eq!(does(&mut rule, &RuleCommand::Remove), Err("rule_not_found"));
        assert_eq!(does(&mut rule, &create(first.clone())), Ok(1));
        assert_eq!(does(&mut rule, &create(first.clone())), Err("already_exists"));
        assert_eq!(does(&mut rule, &change(first.clone())), Ok(0));
        let patch = serde_json::json!({"ok_max": 8, "grace_min": 30});
        let second = first
            .patched(patch.as_object().expect("an object"))
            .expect("patched");
        assert_eq!(does(&mut rule, &change(second.clone())), Ok(1));
        assert_eq!((rule.version, rule.definition.ok_max), (2, Some(8.0)));
        let gone = serde_json::json!({"ok_max": null});
        let gone = second
            .patched(gone.as_object().expect("an object"))
            .expect("patched");
        assert_eq!(does(&mut rule, &change(gone)), Err("invalid_range"));
        assert_eq!(does(&mut rule, &RuleCommand::Remove), Ok(1));
        assert_eq!(does(&mut rule, &change(first)), Err("rule_not_found"));
    }

    #[test]
    fn what_is_not_valid_or_fails_its_own_tests_is_refused() {
        let range = |json: &str| serde_json::from_str::<Definition>(json).expect("a definition");
        for (json, code) in [
            (r#"{"ok_min":5,"ok_max":4}"#, "invalid_range"),
            (r#"{}"#, "invalid_range"),
            (r#"{"ok_max":1e13}"#, "invalid_range"),
            (r#"{"ok_max":5,"warn_max":4}"#, "invalid_range"),
            (r#"{"ok_max":5,"warn_min":4}"#, "invalid_range"),
            (r#"{"ok_max":5,"warn_max":6,"severity":"warn"}"#, "invalid_range"),
            (r#"{"ok_min":4,"ok_max":5,"hysteresis":0.6}"#, "invalid_range"),
            (r#"{"ok_max":5,"grace_min":361}"#, "grace_too_long"),
            (r#"{"ok_max":5,"recovery_min":1441}"#, "invalid_rule"),
            (
                r#"{"ok_max":5,"flap":{"changes":1,"within_min":5}}"#,
                "invalid_rule",
            ),
            (r#"{"kind":"delta","max_delta":1}"#, "invalid_rule"),
            (r#"{"kind":"absence"}"#, "invalid_rule"),
            (r#"{"kind":"comparison","offset":1}"#, "invalid_rule"),
            (
                r#"{"kind":"derivative","min_rate":2,"max_rate":1}"#,
                "invalid_range",
            ),
            (
                r#"{"ok_max":5,"windows":[{"rrule":"FREQ=DAILY","duration_min":0}]}"#,
                "invalid_window",
            ),
            (
                r#"{"ok_max":5,"windows":[{"rrule":"FREQ=NEVER","duration_min":5}]}"#,
                "invalid_window",
            ),
            (
                r#"{"ok_max":5,"windows":[{"rrule":"FREQ=DAILY","duration_min":5,"ok_min":6}]}"#,
                "invalid_range",
            ),
            (
                r#"{"ok_max":5,"windows":[{"rrule":"FREQ=DAILY","duration_min":5,"grace_min":999}]}"#,
                "grace_too_long",
            ),
        ] {
            assert_eq!(
                does(&mut Rule::default(), &create(range(json))),
                Err(code),
                "{json}"
            );
        }
        let mut failing = Definition::range(None, Some(5.0), 0);
        failing.tests.push(RuleTest {
            begins_at: None,
            name: "quiet".into(),
            readings: vec![],
            states: vec![TestState {
                at_s: 0,
                state: ChannelState::Alarm,
            }],
        });
        assert_eq!(
            does(&mut Rule::default(), &create(failing)),
            Err("rule_test_failed")
        );
        let RuleCommand::Create { definition, .. } = create(Definition::range(None, Some(5.0), 0)) else {
            panic!("a creation");
        };
        let nowhere = RuleCommand::Create {
            channel: "chn_a".into(),
            definition,
            name: None,
            timezone: "Nowhere/Town".into(),
            tzdb: "2025b".into(),
        };
        assert_eq!(does(&mut Rule::default(), &nowhere), Err("invalid_timezone"));
    }
}
