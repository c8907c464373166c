//! `rule/rul_…`: one rule of one channel, whole in each of its versions.
//!
//! Invariants: versions count without gaps, from 1 or from what a channel's limits had before it; a version that is not valid, or fails its own tests, is never
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
        /// Its first version: 1, or one more than a channel's limits had that it takes the place of.
        version: u32,
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
                version,
            } => {
                accept(definition, timezone)?;
                let name = name.as_deref().map(|name| text::name("name", name)).transpose()?;
                Ok(vec![Event::RuleCreated(RuleCreated {
                    channel: channel.clone(),
                    definition: (**definition).clone(),
                    name: name.map(Text::Plain),
                    tzdb: tzdb.clone(),
                    version: *version,
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
