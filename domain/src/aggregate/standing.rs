//! `state/<id>`: what the rules make of a channel, and of whether a device reports.
//!
//! Invariant: what the engine says, and that a person had the rules tried again, is taken over as it is.
//! Source: docs/rules.md. Not here: deciding it (`rule::engine`).

use super::{Aggregate, Stamp};
use crate::event::{Event, RulesRecomputed};
use crate::rejection::Rejection;
use serde::{Deserialize, Serialize};

/// The state of such a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// How many events there were.
    pub sequence: u64,
}

/// What may be asked of it.
#[derive(Debug, Clone, PartialEq)]
pub enum StandingCommand {
    /// The rules were tried again.
    Recomputed(RulesRecomputed),
}

impl Aggregate for Standing {
    const TYPE: &'static str = "state";
    type Command = StandingCommand;

    fn apply(&mut self, _event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
    }

    fn decide(&self, command: &StandingCommand) -> Result<Vec<Event>, Rejection> {
        let StandingCommand::Recomputed(recomputed) = command;
        Ok(vec![Event::RulesRecomputed(recomputed.clone())])
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}
