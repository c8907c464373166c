//! People: the first account with its owner, further users, their roles and API tokens.
//!
//! Invariant: an address reaches the ledger sealed with its person's own key, and as a keyed index.

use super::sites::plain;
use super::{Actor, ManageError, Management, Outcome, Step};
use crate::tokens::NewToken;
use domain::aggregate::account::AccountCommand;
use domain::aggregate::tokens::TokensCommand;
use domain::aggregate::user::{OWNER, UserCommand};
use domain::event::{Reason, TokenKind};
use domain::ids::IdKind;
use domain::rejection::{Fault, Rejection};
use std::sync::Arc;

/// A person to give access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The address.
    pub email: String,
    /// The name.
    pub name: Option<String>,
    /// `owner`, `auditor`, or another role.
    pub role: String,
}

/// What to change of a person; absent fields stay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserPatch {
    /// A new address.
    pub email: Option<String>,
    /// A new name, or none.
    pub name: Option<Option<String>>,
    /// A new role.
    pub role: Option<String>,
}

/// An account that was opened.
#[derive(Debug)]
pub struct Bootstrap {
    /// `acc_…`
    pub account: String,
    /// Its owner, `usr_…`
    pub owner: String,
    /// The owner's API token, to be shown once.
    pub token: Arc<NewToken>,
    /// The positions of the entries, first and one past the last.
    pub positions: std::ops::Range<u64>,
}

impl Management {
    /// Opens the first account with its owner and the owner's API token, as one group.
    ///
    /// # Errors
    /// `already_exists` where there is an account; `invalid_name`, `invalid_email`.
    pub async fn bootstrap(
        &self,
        account: &str,
        email: &str,
        name: Option<&str>,
    ) -> Result<Bootstrap, ManageError> {
        if self.ports.registry.read().accounts().next().is_some() {
            return Err(Rejection::conflict("already_exists", "this ledger has an account already").into());
        }
        self.open_account(&Reason::code("setup"), account, email, name)
            .await
    }

    /// Opens a further account with its owner; for whoever runs the ledger.
    ///
    /// # Errors
    /// `email_taken`; `invalid_name`, `invalid_email`.
    pub async fn open_account(
        &self,
        reason: &Reason,
        account: &str,
        email: &str,
        name: Option<&str>,
    ) -> Result<Bootstrap, ManageError> {
        let (account_id, owner) = (self.id(IdKind::Account), self.id(IdKind::User));
        let (token, issued) = self.token(TokenKind::User).await?;
        let register = UserCommand::Register {
            email: email.to_owned(),
            email_index: self.email_index(email)?,
            name: name.map(str::to_owned),
            role: OWNER.to_owned(),
        };
        let open = AccountCommand::Open {
            name: account.to_owned(),
        };
        let now = self.ports.clock.now();
        let steps = vec![
            Step::Account(account_id.clone(), open),
            Step::User(owner.clone(), register),
            Step::Tokens(owner.clone(), TokensCommand::Issue { token: issued, now }),
        ];
        let actor = Actor::system("setup", &account_id);
        let outcome = self.run(plain(&actor, reason, None, steps), None).await?;
        Ok(Bootstrap {
            account: account_id,
            owner,
            token,
            positions: outcome.positions,
        })
    }

    /// Gives a person access.
    ///
    /// # Errors
    /// [`ManageError`]: `email_taken`, `invalid_email`, `invalid_role`, `invalid_name`.
    pub async fn add_user(
        &self,
        actor: &Actor,
        reason: &Reason,
        user: NewUser,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "user").await? {
            return Ok(outcome);
        }
        let register = UserCommand::Register {
            email_index: self.email_index(&user.email)?,
            email: user.email,
            name: user.name,
            role: user.role,
        };
        let steps = vec![Step::User(self.id(IdKind::User), register)];
        self.run(plain(actor, reason, None, steps), None).await
    }

    /// Changes a person's address, name or role.
    ///
    /// # Errors
    /// [`ManageError`]: `user_not_found`, `email_taken`, `last_owner`, `precondition_failed`, what is invalid.
    pub async fn patch_user(
        &self,
        actor: &Actor,
        reason: &Reason,
        user: &str,
        if_match: Option<u64>,
        patch: UserPatch,
    ) -> Result<Outcome, ManageError> {
        self.has_user(actor, user)?;
        let email = match patch.email {
            Some(email) => {
                let index = self.email_index(&email)?;
                Some((email, index))
            }
            None => None,
        };
        let change = UserCommand::Change {
            email,
            name: patch.name,
            role: patch.role,
        };
        let steps = vec![Step::User(user.to_owned(), change)];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Ends a person's access and revokes their tokens.
    ///
    /// # Errors
    /// [`ManageError`]: `user_not_found`, `last_owner`, `precondition_failed`.
    pub async fn remove_user(
        &self,
        actor: &Actor,
        reason: &Reason,
        user: &str,
        if_match: Option<u64>,
    ) -> Result<Outcome, ManageError> {
        self.has_user(actor, user)?;
        let steps = vec![
            Step::User(user.to_owned(), UserCommand::Remove),
            Step::Tokens(user.to_owned(), TokensCommand::RevokeAll),
        ];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Gives a person an API token. People may do so for themselves, whatever their role.
    ///
    /// # Errors
    /// [`ManageError`]: `user_not_found`, `too_many_tokens`, `forbidden`.
    pub async fn issue_user_token(
        &self,
        actor: &Actor,
        reason: &Reason,
        user: &str,
    ) -> Result<Outcome, ManageError> {
        let actor = &self.for_oneself(actor, user)?;
        if let Some(outcome) = self.earlier(actor, "tokens").await? {
            return Ok(outcome);
        }
        let (token, issued) = self.token(TokenKind::User).await?;
        let now = self.ports.clock.now();
        let steps = vec![Step::Tokens(
            user.to_owned(),
            TokensCommand::Issue { token: issued, now },
        )];
        self.run(plain(actor, reason, None, steps), Some(token)).await
    }

    /// Replaces a person's API token by a new one. The old one ends at once, or after `overlap_s`.
    ///
    /// # Errors
    /// [`ManageError`]: `user_not_found`, `token_not_found`, `overlap_too_long`, `forbidden`.
    pub async fn rotate_user_token(
        &self,
        actor: &Actor,
        reason: &Reason,
        user: &str,
        token: &str,
        overlap_s: u32,
    ) -> Result<Outcome, ManageError> {
        let actor = &self.for_oneself(actor, user)?;
        if let Some(outcome) = self.earlier(actor, "tokens").await? {
            return Ok(outcome);
        }
        self.rotate(actor, reason, user, TokenKind::User, Some(token), overlap_s)
            .await
    }

    /// Ends a token of the account at once, whoever has it: a device, an integration, a person. People may end their
    /// own, an owner any.
    ///
    /// # Errors
    /// [`ManageError`]: `token_not_found`, also for one of another account or that is not one's to end.
    pub async fn revoke_token(
        &self,
        actor: &Actor,
        reason: &Reason,
        token: &str,
    ) -> Result<Outcome, ManageError> {
        let owner = {
            let registry = self.ports.registry.read();
            let found = registry.token(token).filter(|found| {
                found.account == actor.account && (found.owner == actor.id || actor.role == OWNER)
            });
            found.map(|found| found.owner.to_owned())
        };
        let owner = owner.ok_or_else(|| Rejection::not_found("token_not_found", "you have no such token"))?;
        let actor = Actor {
            role: OWNER.to_owned(),
            ..actor.clone()
        };
        let revoke = TokensCommand::Revoke {
            token: token.to_owned(),
        };
        let steps = vec![Step::Tokens(owner, revoke)];
        self.run(plain(&actor, reason, None, steps), None).await
    }

    /// Ends a person's API token at once.
    ///
    /// # Errors
    /// [`ManageError`]: `user_not_found`, `token_not_found`, `forbidden`.
    pub async fn revoke_user_token(
        &self,
        actor: &Actor,
        reason: &Reason,
        user: &str,
        token: &str,
    ) -> Result<Outcome, ManageError> {
        let actor = &self.for_oneself(actor, user)?;
        let revoke = TokensCommand::Revoke {
            token: token.to_owned(),
        };
        let steps = vec![Step::Tokens(user.to_owned(), revoke)];
        self.run(plain(actor, reason, None, steps), None).await
    }

    /// Records that a sign-in link was made for a person.
    ///
    /// # Errors
    /// [`ManageError`]: `user_not_found`.
    pub async fn record_sign_in_link(&self, account: &str, user: &str) -> Result<Outcome, ManageError> {
        self.record_access(account, user, UserCommand::IssueSignInLink)
            .await
    }

    /// Records that a person signed in.
    ///
    /// # Errors
    /// [`ManageError`]: `user_not_found`.
    pub async fn record_sign_in(&self, account: &str, user: &str) -> Result<Outcome, ManageError> {
        self.record_access(account, user, UserCommand::SignIn).await
    }

    async fn record_access(
        &self,
        account: &str,
        user: &str,
        command: UserCommand,
    ) -> Result<Outcome, ManageError> {
        let actor = Actor::system("sign-in", account);
        self.has_user(&actor, user)?;
        let steps = vec![Step::User(user.to_owned(), command)];
        self.run(plain(&actor, &Reason::code("sign_in"), None, steps), None)
            .await
    }

    fn has_user(&self, actor: &Actor, user: &str) -> Result<(), Rejection> {
        let registry = self.ports.registry.read();
        match registry.user(&actor.account, user) {
            Some(found) if !found.state.removed => Ok(()),
            _ => Err(Rejection::not_found("user_not_found", "no such user")),
        }
    }

    /// What people may do for themselves needs no role.
    fn for_oneself(&self, actor: &Actor, user: &str) -> Result<Actor, Rejection> {
        let mut actor = actor.clone();
        if actor.id == user {
            actor.role = OWNER.to_owned();
        } else if actor.role != OWNER {
            return Err(Rejection::new(
                Fault::Forbidden,
                "forbidden",
                "only an owner may handle the tokens of others",
            ));
        }
        self.has_user(&actor, user)?;
        Ok(actor)
    }
}
