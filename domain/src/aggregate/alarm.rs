//! `alarm/alm_…`: one alarm from its opening to its end.
//!
//! Invariants: it opens once; severity never falls while it is open; acknowledging never ends it and ending it
//! never acknowledges it; after `AlarmClosed` only comments follow, and a person who opens it again; what the engine says
//! twice is recorded once.
//! Source: docs/rules.md. Not here: when to open, escalate and clear (`rule::engine`), who is told (`api`).

use super::{Aggregate, Stamp, text};
use crate::event::{
    AlarmAcknowledged, AlarmCleared, AlarmClosed, AlarmCommented, AlarmEscalated, AlarmOpened, AlarmReopened,
    AlarmReopenedByPerson, Event, Reason, Signature, Text,
};
use crate::rejection::Rejection;
use crate::rule::Severity;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Where an alarm is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// Values are, or were when last seen, wrong.
    #[default]
    Open,
    /// Values were right for long enough.
    Cleared,
    /// Ended otherwise.
    Closed,
}

/// The state of an alarm.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Alarm {
    /// How many events there were.
    pub sequence: u64,
    /// How it began; present once it exists.
    pub opened: Option<AlarmOpened>,
    /// How bad it is, or was at its worst.
    pub severity: Severity,
    /// Where it is in its life.
    pub life: Life,
    /// When it was cleared, in the time of the data.
    pub cleared_at: Option<Timestamp>,
    /// Whether a person has seen it since it last became worse or was reopened.
    pub acknowledged: bool,
}

/// What may be asked of an alarm.
#[derive(Debug, Clone, PartialEq)]
pub enum AlarmCommand {
    /// The engine opens it.
    Open(Box<AlarmOpened>),
    /// The engine makes it worse.
    Escalate(Box<AlarmEscalated>),
    /// The engine ends it.
    Clear(AlarmCleared),
    /// The engine takes its end back.
    Reopen(AlarmReopened),
    /// A person has seen it.
    Acknowledge {
        /// Why, as a code and in words.
        reason: Reason,
        /// What was done about it.
        corrective_action: Option<String>,
        /// The person's signature.
        signature: Option<Box<Signature>>,
    },
    /// A person does not take it for over.
    ReopenByPerson {
        /// Why, as a code and in words.
        reason: Reason,
    },
    /// A person says something about it.
    Comment {
        /// What.
        text: String,
    },
    /// It ends otherwise than by its values.
    Close {
        /// Why, as a code and in words.
        reason: Reason,
        /// The person's signature.
        signature: Option<Box<Signature>>,
    },
}

impl Aggregate for Alarm {
    const TYPE: &'static str = "alarm";
    type Command = AlarmCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::AlarmOpened(opened) => {
                self.severity = opened.severity;
                self.opened = Some(opened.clone());
            }
            Event::AlarmEscalated(escalated) => {
                self.severity = escalated.severity.new;
                self.acknowledged = false;
            }
            Event::AlarmCleared(cleared) => {
                self.life = Life::Cleared;
                self.cleared_at = Some(cleared.cleared_at);
            }
            Event::AlarmRaised(raised) => self.severity = raised.severity,
            Event::AlarmReopened(_) | Event::AlarmReopenedByPerson(_) => {
                self.life = Life::Open;
                self.cleared_at = None;
                self.acknowledged = false;
            }
            Event::AlarmAcknowledged(_) => self.acknowledged = true,
            Event::AlarmClosed(_) => self.life = Life::Closed,
            _ => {}
        }
    }

    fn decide(&self, command: &AlarmCommand) -> Result<Vec<Event>, Rejection> {
        match command {
            AlarmCommand::Open(_) if self.sequence > 0 => Ok(vec![]),
            AlarmCommand::Open(opened) => Ok(vec![Event::AlarmOpened((**opened).clone())]),
            _ if self.sequence == 0 => Err(Rejection::not_found("alarm_not_found", "no such alarm")),
            AlarmCommand::Comment { text: words } => Ok(vec![Event::AlarmCommented(AlarmCommented {
                text: Text::Plain(required("text", words)?),
            })]),
            AlarmCommand::Acknowledge {
                reason,
                corrective_action,
                signature,
            } => self.acknowledge(reason, corrective_action.as_deref(), signature.as_deref()),
            AlarmCommand::ReopenByPerson { .. } if self.life == Life::Open => {
                Err(Rejection::conflict("alarm_open", "this alarm is open"))
            }
            AlarmCommand::ReopenByPerson { reason } => {
                reason.check()?;
                Ok(vec![Event::AlarmReopenedByPerson(AlarmReopenedByPerson {
                    reason: reason.code.clone(),
                    text: reason.text.clone().map(Text::Plain),
                })])
            }
            // What is signed must be recorded.
            AlarmCommand::Close {
                signature: Some(_), ..
            } if self.life == Life::Closed => {
                Err(Rejection::conflict("alarm_closed", "this alarm is closed"))
            }
            _ if self.life == Life::Closed => Ok(vec![]),
            AlarmCommand::Escalate(escalated) => Ok(if escalated.severity.new > self.severity {
                let mut event = (**escalated).clone();
                event.severity.old = self.severity;
                vec![Event::AlarmEscalated(event)]
            } else {
                vec![]
            }),
            AlarmCommand::Clear(cleared) => Ok(if self.life == Life::Open {
                vec![Event::AlarmCleared(cleared.clone())]
            } else {
                vec![]
            }),
            AlarmCommand::Reopen(reopened) => Ok(if self.life == Life::Cleared {
                vec![Event::AlarmReopened(reopened.clone())]
            } else {
                vec![]
            }),
            AlarmCommand::Close { reason, signature } => {
                reason.check()?;
                Ok(vec![Event::AlarmClosed(AlarmClosed {
                    reason: reason.code.clone(),
                    signature: signature.as_deref().cloned(),
                    text: reason.text.clone().map(Text::Plain),
                })])
            }
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Alarm {
    /// Somebody may acknowledge after it was cleared, and again after others did: each is a fact of its own.
    fn acknowledge(
        &self,
        reason: &Reason,
        corrective_action: Option<&str>,
        signature: Option<&Signature>,
    ) -> Result<Vec<Event>, Rejection> {
        if self.life == Life::Closed {
            return Err(Rejection::conflict(
                "alarm_closed",
                "this alarm is closed; a comment can still be added",
            ));
        }
        reason.check()?;
        let action = text::notes("corrective_action", corrective_action)?;
        Ok(vec![Event::AlarmAcknowledged(AlarmAcknowledged {
            corrective_action: action.map(Text::Plain),
            reason: reason.code.clone(),
            signature: signature.cloned(),
            text: reason.text.clone().map(Text::Plain),
        })])
    }
}

fn required(field: &str, words: &str) -> Result<String, Rejection> {
    text::notes(field, Some(words))?
        .ok_or_else(|| Rejection::invalid("invalid_text", format!("{field} must not be empty")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Change, Thresholds};
    use crate::position::Position;
    use crate::rule::Kind;

    fn opened() -> AlarmOpened {
        AlarmOpened {
            began_at: Timestamp::default(),
            channel: "chn_a".into(),
            decided_at: Timestamp::default(),
            decided_by: Position(7),
            flapping: false,
            kind: Kind::Range,
            late: false,
            opened_at: Timestamp::default(),
            readings: vec![Position(3)],
            rule: "rul_a".into(),
            rule_version: 1,
            severity: Severity::Warn,
            thresholds: Thresholds::default(),
            value: Some(7.0),
            window: None,
        }
    }

    fn escalated() -> AlarmCommand {
        AlarmCommand::Escalate(Box::new(AlarmEscalated {
            at: Timestamp::default(),
            decided_at: Timestamp::default(),
            decided_by: Position(9),
            late: false,
            readings: vec![],
            severity: Change {
                old: Severity::Warn,
                new: Severity::Alarm,
            },
            thresholds: Thresholds::default(),
            value: None,
            window: None,
        }))
    }

    fn cleared() -> AlarmCommand {
        AlarmCommand::Clear(AlarmCleared {
            cleared_at: Timestamp::default(),
            decided_at: Timestamp::default(),
            decided_by: Position(11),
            late: false,
            readings: vec![],
            value_at: Some(4.0),
            withdrawn: false,
        })
    }

    fn acknowledge() -> AlarmCommand {
        AlarmCommand::Acknowledge {
            reason: Reason::code("door_open"),
            corrective_action: None,
            signature: None,
        }
    }

    fn close() -> AlarmCommand {
        AlarmCommand::Close {
            reason: Reason::code("rule_removed"),
            signature: None,
        }
    }

    fn signed(command: AlarmCommand) -> AlarmCommand {
        let AlarmCommand::Close { reason, .. } = command else {
            return command;
        };
        let signature = Signature {
            authenticator_data: None,
            client_data: None,
            credential: None,
            meaning: "reviewed".into(),
            method: Some("mail_code".into()),
            shown_sha256: String::new(),
            signature: None,
            signed_at: Timestamp::default(),
            signer: "usr_a".into(),
        };
        AlarmCommand::Close {
            reason,
            signature: Some(Box::new(signature)),
        }
    }

    fn does(alarm: &mut Alarm, command: &AlarmCommand) -> Result<usize, &'static str> {
        let events = alarm.decide(command).map_err(|r| r.code)?;
        for event in &events {
            let sequence = alarm.sequence + 1;
            alarm.apply(event, Stamp { sequence, salt: "" });
        }
        Ok(events.len())
    }

    #[test]
    fn an_alarm_lives_from_opening_to_closing_and_what_is_said_twice_is_recorded_once() {
        let mut alarm = Alarm::default();
        assert_eq!(does(&mut alarm, &cleared()), Err("alarm_not_found"));
        let open = AlarmCommand::Open(Box::new(opened()));
        assert_eq!(does(&mut alarm, &open), Ok(1));
        assert_eq!(does(&mut alarm, &open), Ok(0));
        assert_eq!(does(&mut alarm, &acknowledge()), Ok(1));
        assert!(alarm.acknowledged);
        assert_eq!(does(&mut alarm, &escalated()), Ok(1));
        assert_eq!(does(&mut alarm, &escalated()), Ok(0));
        assert_eq!((alarm.severity, alarm.acknowledged), (Severity::Alarm, false));
        assert_eq!(does(&mut alarm, &cleared()), Ok(1));
        assert_eq!(does(&mut alarm, &cleared()), Ok(0));
        assert_eq!(alarm.life, Life::Cleared);
        let reopened = AlarmCommand::Reopen(AlarmReopened {
            at: Timestamp::default(),
            decided_at: Timestamp::default(),
            decided_by: Position(12),
            late: true,
            readings: vec![],
            value: None,
        });
        assert_eq!(does(&mut alarm, &reopened), Ok(1));
        assert_eq!(does(&mut alarm, &reopened), Ok(0));
        assert_eq!(does(&mut alarm, &close()), Ok(1));
        assert_eq!(does(&mut alarm, &close()), Ok(0));
        assert_eq!(does(&mut alarm, &signed(close())), Err("alarm_closed"));
        assert_eq!(does(&mut alarm, &acknowledge()), Err("alarm_closed"));
        let again = AlarmCommand::ReopenByPerson {
            reason: Reason::code("not_over"),
        };
        assert_eq!(does(&mut alarm, &again), Ok(1));
        assert_eq!((alarm.life, alarm.acknowledged), (Life::Open, false));
        assert_eq!(does(&mut alarm, &again), Err("alarm_open"));
        assert_eq!(does(&mut alarm, &close()), Ok(1));
        let comment = |text: &str| AlarmCommand::Comment { text: text.into() };
        assert_eq!(does(&mut alarm, &comment("the door was ajar")), Ok(1));
        assert_eq!(does(&mut alarm, &comment("  ")), Err("invalid_text"));
    }

    #[test]
    fn an_opening_is_read_as_it_was_written() {
        let event = Event::AlarmOpened(opened());
        let bytes = event.payload(None).expect("canonical");
        assert_eq!(Event::read("AlarmOpened", bytes.as_bytes()), Ok(event));
    }
}
