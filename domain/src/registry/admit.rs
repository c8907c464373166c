//! Whether the holder of a token is let in now: looked at on each use, also for a token verified before.
//!
//! Invariant: revocation, rotation, removal of the owner and suspension bite with the entry that records them.
//! Not here: that the secret is the right one (`commands::tokens`), what a role may do (the edge).

use super::{Registry, Token};
use crate::event::TokenKind;
use crate::position::Position;
use crate::time::Timestamp;

/// Whom a token lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted<'a> {
    /// The id inside the token.
    pub token: &'a str,
    /// What it opens.
    pub kind: TokenKind,
    /// `dev_…`, `usr_…` or `int_…`.
    pub owner: &'a str,
    /// The owner's account.
    pub account: &'a str,
    /// A user's role.
    pub role: Option<&'a str>,
    /// The token's version.
    pub issued: Position,
}

/// Why the holder of a token is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotAdmitted {
    /// No token has this id.
    #[error("the token is not known")]
    Unknown,
    /// It was revoked or rotated, or its owner was removed.
    #[error("the token was revoked or rotated; ask for a new one")]
    Revoked,
    /// The overlap of a rotation has passed.
    #[error("the token was rotated and its overlap has passed; use the new one")]
    Expired,
    /// The account is suspended.
    #[error("the account is suspended")]
    Suspended,
}

impl Registry {
    /// Whom the token with this id lets in at this time. The secret must have been verified by the caller.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub fn admit(&self, token: &str, now: Timestamp) -> Result<Admitted<'_>, NotAdmitted> {
        let token = self.token(token).ok_or(NotAdmitted::Unknown)?;
        if token.revoked {
            return Err(NotAdmitted::Revoked);
        }
        if token.expires_at.is_some_and(|end| now >= end) {
            return Err(NotAdmitted::Expired);
        }
        let role = self.standing(&token).ok_or(NotAdmitted::Revoked)?;
        let account = self.account(token.account).ok_or(NotAdmitted::Unknown)?;
        if account.state.suspended {
            return Err(NotAdmitted::Suspended);
        }
        Ok(Admitted {
            token: token.id,
            kind: token.kind,
            owner: token.owner,
            account: token.account,
            role,
            issued: token.issued.position,
        })
    }

    /// The role of a token's owner, who must still be there; `None` for one who is not.
    fn standing(&self, token: &Token<'_>) -> Option<Option<&str>> {
        match token.kind {
            TokenKind::Device => {
                let device = self.device(token.account, token.owner)?;
                (!device.state.removed).then_some(None)
            }
            TokenKind::User => {
                let user = self.user(token.account, token.owner)?;
                (!user.state.removed).then_some(Some(user.state.role.as_str()))
            }
            TokenKind::Webhook => {
                let integration = self.integration(token.account, token.owner)?;
                (!integration.state.removed).then_some(None)
            }
        }
    }
}
