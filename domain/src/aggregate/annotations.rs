//! `annotations/chn_…`: notes on a channel's readings. The readings stay as they are.
//!
//! Invariants: a note is never changed or taken back, another one may follow; it names the reading's entry.
//! Source: REFERENCE §1.6 and §5. Not here: whether the reading exists (`commands`).

use super::{Aggregate, Stamp, text};
use crate::event::{Event, ReadingAnnotated, Text};
use crate::position::Position;
use crate::rejection::Rejection;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of a channel's notes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Annotations {
    /// How many events there were.
    pub sequence: u64,
}

/// What may be asked of a channel's notes.
#[derive(Debug, Clone, PartialEq)]
pub enum AnnotationsCommand {
    /// Adds one.
    Annotate {
        /// The channel.
        channel: String,
        /// When the reading was measured.
        measured_at: Timestamp,
        /// The reading's entry.
        reading: Position,
        /// What there is to say.
        note: String,
    },
}

impl Aggregate for Annotations {
    const TYPE: &'static str = "annotations";
    type Command = AnnotationsCommand;

    fn apply(&mut self, _event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
    }

    fn decide(&self, command: &AnnotationsCommand) -> Result<Vec<Event>, Rejection> {
        let AnnotationsCommand::Annotate {
            channel,
            measured_at,
            reading,
            note,
        } = command;
        let note = text::notes("note", Some(note))?
            .ok_or_else(|| Rejection::invalid("invalid_text", "note must not be empty"))?;
        Ok(vec![Event::ReadingAnnotated(ReadingAnnotated {
            channel: channel.clone(),
            measured_at: *measured_at,
            note: Text::Plain(note),
            reading: *reading,
        })])
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}
