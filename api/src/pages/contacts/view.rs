//! What the page of contacts shows.
//!
//! Not here: markup, queries.

use domain::Timestamp;
use domain::aggregate::contact::ContactState;
use domain::event::contact::{ContactKind, Preferences};

use super::super::outbound::view::Attempt;
use super::super::view::SiteCard;
use super::form::Typed;

/// The page.
#[derive(Debug, Clone)]
pub struct ContactsPage {
    /// In order of creation.
    pub contacts: Vec<ContactRow>,
    /// Those that were taken away, newest first.
    pub former: Vec<Former>,
    /// A webhook's name and its secret, this once.
    pub fresh: Option<(String, String)>,
    /// What a form chooses from.
    pub choices: Choices,
    /// What was typed for a new one.
    pub new: Typed,
    /// What was typed to change one, by its id.
    pub changing: Option<(String, Typed)>,
    /// Days between two trials of a contact's way; 0 is never.
    pub challenge_days: u32,
    /// Whether a server for e-mail is set up.
    pub has_mail: bool,
    /// Whether a bot is set up.
    pub has_bot: bool,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}

/// What a form chooses from.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// The account's sites.
    pub sites: Vec<SiteCard>,
    /// Its people, by id and name.
    pub people: Vec<(String, String)>,
}

/// A contact.
#[derive(Debug, Clone)]
pub struct ContactRow {
    /// `con_…`
    pub id: String,
    /// By which way.
    pub kind: ContactKind,
    /// What people call it.
    pub name: String,
    /// Where; a webhook's without its path, which may hold a secret of its receiver.
    pub address: Option<String>,
    /// Whether it is told anything.
    pub state: ContactState,
    /// The person behind it.
    pub person: Option<String>,
    /// What it is told.
    pub preferences: Preferences,
    /// Names of its scope, in its order; an id where there is no name.
    pub scope: Vec<(String, String)>,
    /// The code that a chat is linked by, while it waits for it.
    pub code: Option<String>,
    /// The newest attempt at it.
    pub last: Option<Attempt>,
    /// The entity tag, for the form.
    pub etag: String,
}

/// A contact that was taken away.
#[derive(Debug, Clone)]
pub struct Former {
    /// What people called it.
    pub name: String,
    /// By which way.
    pub kind: ContactKind,
    /// When.
    pub at: Timestamp,
}
