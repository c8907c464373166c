//! `account/acc_…`: a wall around sites, people and devices.
//!
//! Invariants: a suspended account keeps its facts; only who may come in changes.
//! Not here: what is inside the wall (`registry`).

use super::{Aggregate, Stamp, text};
use crate::event::{AccountChanges, AccountOpened, Changed, Event, Nothing, Text, TextChange};
use crate::rejection::Rejection;
use crate::sealed::SealedField;
use serde::{Deserialize, Serialize};

/// The state of an account.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Account {
    /// How many events there were.
    pub sequence: u64,
    /// Its name, sealed with its own key.
    pub name: Option<SealedField>,
    /// Whether its tokens are refused.
    pub suspended: bool,
}

/// What may be asked of an account.
#[derive(Debug, Clone, PartialEq)]
pub enum AccountCommand {
    /// Begins it.
    Open {
        /// Its name.
        name: String,
    },
    /// Changes its name.
    Rename {
        /// The new one.
        name: String,
    },
    /// Shuts its devices and people out.
    Suspend,
    /// Lets them in again.
    Resume,
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::AccountOpened(opened) => self.name = stamp.field(&opened.name, "/name"),
            Event::AccountRenamed(Changed { changes }) => {
                stamp.change(&mut self.name, Some(&changes.name), "/changes/name/new");
            }
            Event::AccountSuspended(_) => self.suspended = true,
            Event::AccountResumed(_) => self.suspended = false,
            _ => {}
        }
    }

    fn decide(&self, command: &AccountCommand) -> Result<Vec<Event>, Rejection> {
        if let AccountCommand::Open { name } = command {
            if self.sequence > 0 {
                return Err(Rejection::conflict(
                    "already_exists",
                    "this account exists already",
                ));
            }
            let name = Text::Plain(text::name("name", name)?);
            return Ok(vec![Event::AccountOpened(AccountOpened { name })]);
        }
        if self.sequence == 0 {
            return Err(Rejection::not_found("account_not_found", "no such account"));
        }
        Ok(match command {
            AccountCommand::Rename { name } => {
                let name = TextChange::to(self.name.as_ref(), &text::name("name", name)?);
                vec![Event::AccountRenamed(Changed {
                    changes: AccountChanges { name },
                })]
            }
            AccountCommand::Suspend if !self.suspended => vec![Event::AccountSuspended(Nothing {})],
            AccountCommand::Resume if self.suspended => vec![Event::AccountResumed(Nothing {})],
            _ => vec![],
        })
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}
