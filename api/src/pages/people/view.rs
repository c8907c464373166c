//! What the pages of users, API tokens and the account show.
//!
//! Not here: markup, queries.

use domain::Timestamp;

use super::super::view::{Change, FreshToken, TokenRow};

/// The users of the account.
#[derive(Debug, Clone)]
pub struct UsersPage {
    /// Everybody.
    pub users: Vec<UserRow>,
    /// What was typed before and is wrong.
    pub error: Option<String>,
}

/// A user in a list.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// `usr_…`.
    pub id: String,
    /// Name, opened.
    pub name: Option<String>,
    /// E-mail address, opened; `None` once its key was destroyed.
    pub email: Option<String>,
    /// Role code.
    pub role: String,
    /// Whether it is the one who looks.
    pub is_viewer: bool,
}

/// The API tokens of the one who looks.
#[derive(Debug, Clone)]
pub struct TokensPage {
    /// Those that still open something.
    pub tokens: Vec<TokenRow>,
    /// Made just now, this once.
    pub fresh: Option<FreshToken>,
    /// `https://host[:port]`.
    pub base_url: String,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}

/// The account.
#[derive(Debug, Clone)]
pub struct AccountPage {
    /// `acc_…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The viewer's address.
    pub email: Option<String>,
    /// The ledger's origin.
    pub origin: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Configuration timeline, newest first.
    pub timeline: Vec<Change>,
    /// The entity tag, for the form.
    pub etag: String,
}
