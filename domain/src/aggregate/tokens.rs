//! `tokens/<owner id>`: the tokens of one device, user or integration.
//!
//! Invariants: only the hash of a secret is ever here; a token that was revoked or has expired never comes back;
//! a rotation without overlap ends every other live token of a device or integration at once.
//! Source: REFERENCE §1.0, §1.3; DESIGN "Decided". Not here: the token's text, bcrypt, its cache (`commands`).

use super::{Aggregate, Stamp};
use crate::event::{Event, TokenExpirySet, TokenIssued, TokenKind, TokenRevoked};
use crate::ids::IdKind;
use crate::rejection::Rejection;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest overlap of a rotation, seconds: a week, time enough to visit every device.
pub const OVERLAP_S_MAX: u32 = 604_800;
/// Most live tokens of one owner, so that a leaking script cannot fill the registry.
pub const LIVE_MAX: usize = 20;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The id inside the token.
    pub id: String,
    /// Whose it is.
    pub kind: TokenKind,
    /// bcrypt of the secret.
    pub hash: String,
    /// From here on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Whether it ended at once.
    pub revoked: bool,
}

/// The state of an owner's tokens, in order of issue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// How many events there were.
    pub sequence: u64,
    /// Every token there ever was.
    pub tokens: Vec<Token>,
}

/// What may be asked of an owner's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokensCommand {
    /// Adds one.
    Issue {
        /// The new one.
        token: TokenIssued,
        /// The time now.
        now: Timestamp,
    },
    /// Adds one and ends others.
    Rotate {
        /// The new one.
        token: TokenIssued,
        /// The one to end; all live ones where it is not given.
        old: Option<String>,
        /// How long the old ones go on, seconds; 0 ends them at once.
        overlap_s: u32,
        /// The time now.
        now: Timestamp,
    },
    /// Ends one at once.
    Revoke {
        /// Which.
        token: String,
    },
    /// Ends all at once.
    RevokeAll,
}

impl Token {
    /// Whether it is taken at this time.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| now < end)
    }
}

impl Aggregate for Tokens {
    const TYPE: &'static str = "tokens";
    type Command = TokensCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::TokenIssued(issued) => self.tokens.push(Token {
                id: issued.token.clone(),
                kind: issued.kind,
                hash: issued.hash.clone(),
                expires_at: None,
                revoked: false,
            }),
            Event::TokenExpirySet(set) => {
                if let Some(token) = self.find_mut(&set.token) {
                    token.expires_at = Some(set.expires_at);
                }
            }
            Event::TokenRevoked(revoked) => {
                if let Some(token) = self.find_mut(&revoked.token) {
                    token.revoked = true;
                }
            }
            _ => {}
        }
    }

    fn decide(&self, command: &TokensCommand) -> Result<Vec<Event>, Rejection> {
        match command {
            TokensCommand::Issue { token, now } => {
                self.check_new(token, 0, *now)?;
                Ok(vec![Event::TokenIssued(token.clone())])
            }
            TokensCommand::Rotate {
                token,
                old,
                overlap_s,
                now,
            } => self.rotated(token, old.as_deref(), *overlap_s, *now),
            TokensCommand::Revoke { token } => match self.find(token) {
                None => Err(Rejection::not_found("token_not_found", "no such token")),
                Some(found) if found.revoked => Ok(vec![]),
                Some(found) => Ok(vec![revoke(found)]),
            },
            TokensCommand::RevokeAll => Ok(self.tokens.iter().filter(|t| !t.revoked).map(revoke).collect()),
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Tokens {
    /// The token with this id.
    pub fn find(&self, id: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.id == id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Token> {
        self.tokens.iter_mut().find(|token| token.id == id)
    }

    fn check_new(&self, token: &TokenIssued, ending: usize, now: Timestamp) -> Result<(), Rejection> {
        if !IdKind::Token.is(&token.token) || self.find(&token.token).is_some() {
            return Err(Rejection::conflict("already_exists", "this token exists already"));
        }
        let live = self.tokens.iter().filter(|t| t.is_live(now)).count();
        if live - ending.min(live) >= LIVE_MAX {
            return Err(Rejection::conflict(
                "too_many_tokens",
                format!("at most {LIVE_MAX} live tokens: revoke one first"),
            ));
        }
        Ok(())
    }

    fn rotated(
        &self,
        token: &TokenIssued,
        old: Option<&str>,
        overlap_s: u32,
        now: Timestamp,
    ) -> Result<Vec<Event>, Rejection> {
        if overlap_s > OVERLAP_S_MAX {
            return Err(Rejection::invalid(
                "overlap_too_long",
                format!("overlap_s is at most {OVERLAP_S_MAX} seconds (7 days)"),
            ));
        }
        if let Some(old) = old
            && !self.find(old).is_some_and(|t| t.is_live(now))
        {
            return Err(Rejection::not_found("token_not_found", "no such live token"));
        }
        let ending = || {
            self.tokens
                .iter()
                .filter(|t| t.is_live(now) && old.is_none_or(|old| old == t.id))
        };
        let at_once = if overlap_s == 0 { ending().count() } else { 0 };
        self.check_new(token, at_once, now)?;
        let end = now.plus_micros(i64::from(overlap_s) * 1_000_000);
        let mut events = vec![Event::TokenIssued(token.clone())];
        for token in ending() {
            if overlap_s == 0 {
                events.push(revoke(token));
            } else if token.expires_at.is_none_or(|earlier| end < earlier) {
                events.push(Event::TokenExpirySet(TokenExpirySet {
                    expires_at: end,
                    token: token.id.clone(),
                }));
            }
        }
        Ok(events)
    }
}

fn revoke(token: &Token) -> Event {
    Event::TokenRevoked(TokenRevoked {
        token: token.id.clone(),
    })
}
