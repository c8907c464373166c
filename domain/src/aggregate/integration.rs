//! `integration/int_…`: a webhook through which devices of a whole account arrive.
//!
//! Invariants: its kind never changes; a removed one stays readable. Not here: its token (`tokens`).

use super::{Aggregate, Stamp, text};
use crate::event::{Event, IntegrationCreated, IntegrationKind, Nothing, Text};
use crate::rejection::Rejection;
use crate::sealed::SealedField;
use serde::{Deserialize, Serialize};

/// The state of an integration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Integration {
    /// How many events there were.
    pub sequence: u64,
    /// Which webhook; present once it exists.
    pub kind: Option<IntegrationKind>,
    /// Its name, sealed.
    pub name: Option<SealedField>,
    /// Whether it was taken away.
    pub removed: bool,
}

/// What may be asked of an integration.
#[derive(Debug, Clone, PartialEq)]
pub enum IntegrationCommand {
    /// Sets it up.
    Create {
        /// Which webhook, by name.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Takes it away.
    Remove,
}

impl Aggregate for Integration {
    const TYPE: &'static str = "integration";
    type Command = IntegrationCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::IntegrationCreated(created) => {
                self.kind = Some(created.kind);
                self.name = stamp.field(&created.name, "/name");
            }
            Event::IntegrationRemoved(_) => self.removed = true,
            _ => {}
        }
    }

    fn decide(&self, command: &IntegrationCommand) -> Result<Vec<Event>, Rejection> {
        match command {
            IntegrationCommand::Create { .. } if self.sequence > 0 => Err(Rejection::conflict(
                "already_exists",
                "this integration exists already",
            )),
            IntegrationCommand::Create { kind, name } => {
                let kind = IntegrationKind::parse(kind).ok_or_else(|| {
                    Rejection::invalid(
                        "invalid_kind",
                        "kind must be one of lorawan, shelly, efento, gateway",
                    )
                })?;
                let name = Text::Plain(text::name("name", name)?);
                Ok(vec![Event::IntegrationCreated(IntegrationCreated { kind, name })])
            }
            IntegrationCommand::Remove if self.sequence == 0 || self.removed => Err(Rejection::not_found(
                "integration_not_found",
                "no such integration",
            )),
            IntegrationCommand::Remove => Ok(vec![Event::IntegrationRemoved(Nothing {})]),
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}
