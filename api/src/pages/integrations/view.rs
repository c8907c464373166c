//! What the page of integrations shows.
//!
//! Not here: markup, queries.

use super::super::view::{FreshToken, TokenRow};

/// The integrations.
#[derive(Debug, Clone)]
pub struct IntegrationsPage {
    /// `https://host[:port]`.
    pub base_url: String,
    /// What there is.
    pub integrations: Vec<IntegrationRow>,
    /// Made or rotated just now: whose, and the token, this once.
    pub fresh: Option<(String, FreshToken)>,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}

/// An integration in a list.
#[derive(Debug, Clone)]
pub struct IntegrationRow {
    /// `int_…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `lorawan`, `shelly`, `efento`, `gateway`.
    pub kind: String,
    /// Its token.
    pub token: Option<TokenRow>,
}
