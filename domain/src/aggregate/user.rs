//! `user/usr_…`: a person with a role in one account.
//!
//! Invariants: address and name are sealed with the person's own key, so that destroying it erases them; the
//! address is found by a keyed index only. Roles are an open set; `owner`, `operator`, `compliance` and `auditor`
//! are known today, and a role that is not known may read.
//! Not here: that an address is unique and that an owner stays (`registry`), sessions (`api`).

use super::{Aggregate, Stamp, text};
use crate::event::{Change, Changed, Event, Nothing, Text, TextChange, UserChanges, UserRegistered};
use crate::rejection::Rejection;
use crate::sealed::SealedField;
use serde::{Deserialize, Serialize};

/// May do everything within the account.
pub const OWNER: &str = "owner";
/// May acknowledge alarms, comment on them and silence channels, beside reading.
pub const OPERATOR: &str = "operator";
/// May annotate readings, calibrate channels and comment on alarms, beside reading.
pub const COMPLIANCE: &str = "compliance";
/// May read everything within the account, and nothing else.
pub const AUDITOR: &str = "auditor";

/// What changing something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Changing what is configured.
    Manage,
    /// Acknowledging alarms, closing them, silencing channels.
    Handle,
    /// Saying something about an alarm.
    Comment,
    /// Annotating and correcting what was measured.
    Annotate,
}

impl Right {
    /// Whether a role has it. A role that is not known has none.
    pub fn is_of(self, role: &str) -> bool {
        match self {
            Self::Manage => role == OWNER,
            Self::Handle => matches!(role, OWNER | OPERATOR),
            Self::Comment => matches!(role, OWNER | OPERATOR | COMPLIANCE),
            Self::Annotate => matches!(role, OWNER | COMPLIANCE),
        }
    }
}

/// The state of a person's access.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct User {
    /// How many events there were.
    pub sequence: u64,
    /// The address, sealed.
    pub email: Option<SealedField>,
    /// The address's keyed index.
    pub email_index: String,
    /// The name, sealed.
    pub name: Option<SealedField>,
    /// The role.
    pub role: String,
    /// Whether access ended.
    pub removed: bool,
}

/// What may be asked of a person's access.
#[derive(Debug, Clone, PartialEq)]
pub enum UserCommand {
    /// Gives access.
    Register {
        /// The address; it is normalised.
        email: String,
        /// Its keyed index.
        email_index: String,
        /// The name.
        name: Option<String>,
        /// The role.
        role: String,
    },
    /// Changes what is given; absent fields stay.
    Change {
        /// A new address with its index.
        email: Option<(String, String)>,
        /// A new name, or none.
        name: Option<Option<String>>,
        /// A new role.
        role: Option<String>,
    },
    /// Ends access.
    Remove,
    /// A sign-in link was made.
    IssueSignInLink,
    /// The person signed in.
    SignIn,
}

impl Aggregate for User {
    const TYPE: &'static str = "user";
    type Command = UserCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::UserRegistered(user) => {
                self.email = stamp.field(&user.email, "/email");
                self.email_index.clone_from(&user.email_index);
                self.name = stamp.maybe(user.name.as_ref(), "/name");
                self.role.clone_from(&user.role);
            }
            Event::UserChanged(Changed { changes }) => {
                stamp.change(&mut self.email, changes.email.as_ref(), "/changes/email/new");
                stamp.change(&mut self.name, changes.name.as_ref(), "/changes/name/new");
                if let Some(index) = &changes.email_index {
                    self.email_index.clone_from(&index.new);
                }
                if let Some(role) = &changes.role {
                    self.role.clone_from(&role.new);
                }
            }
            Event::UserRemoved(_) => self.removed = true,
            _ => {}
        }
    }

    fn decide(&self, command: &UserCommand) -> Result<Vec<Event>, Rejection> {
        if let UserCommand::Register {
            email,
            email_index,
            name,
            role,
        } = command
        {
            if self.sequence > 0 {
                return Err(Rejection::conflict("already_exists", "this user exists already"));
            }
            return Ok(vec![Event::UserRegistered(UserRegistered {
                email: Text::Plain(text::email(email)?),
                email_index: email_index.clone(),
                name: person(name.as_deref())?.map(Text::Plain),
                role: text::role(role)?,
            })]);
        }
        if self.sequence == 0 || self.removed {
            return Err(Rejection::not_found("user_not_found", "no such user"));
        }
        match command {
            UserCommand::Change { email, name, role } => {
                self.changed(email.as_ref(), name.as_ref(), role.as_deref())
            }
            UserCommand::Remove => Ok(vec![Event::UserRemoved(Nothing {})]),
            UserCommand::IssueSignInLink => Ok(vec![Event::SignInLinkIssued(Nothing {})]),
            UserCommand::SignIn => Ok(vec![Event::SignedIn(Nothing {})]),
            UserCommand::Register { .. } => Ok(vec![]),
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl User {
    fn changed(
        &self,
        email: Option<&(String, String)>,
        name: Option<&Option<String>>,
        role: Option<&str>,
    ) -> Result<Vec<Event>, Rejection> {
        let mut changes = UserChanges::default();
        if let Some((email, index)) = email
            && *index != self.email_index
        {
            changes.email = Some(TextChange::to(self.email.as_ref(), &text::email(email)?));
            changes.email_index = Change::between(&self.email_index, index);
        }
        if let Some(name) = name {
            changes.name = TextChange::maybe(self.name.as_ref(), person(name.as_deref())?.as_deref());
        }
        if let Some(role) = role {
            changes.role = Change::between(&self.role, &text::role(role)?);
        }
        let nothing = changes == UserChanges::default();
        Ok(if nothing {
            vec![]
        } else {
            vec![Event::UserChanged(Changed { changes })]
        })
    }

    /// Whether this person has access as an owner.
    pub fn is_owner(&self) -> bool {
        self.sequence > 0 && !self.removed && self.role == OWNER
    }
}

fn person(name: Option<&str>) -> Result<Option<String>, Rejection> {
    name.map(|name| text::name("name", name)).transpose()
}
