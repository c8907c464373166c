//! Webhooks of an account and their tokens.

use super::sites::plain;
use super::{Actor, ManageError, Management, Outcome, Step};
use domain::aggregate::integration::IntegrationCommand;
use domain::aggregate::tokens::TokensCommand;
use domain::event::{Reason, TokenKind};
use domain::ids::IdKind;
use domain::rejection::Rejection;

impl Management {
    /// Sets up a webhook, with a token.
    ///
    /// # Errors
    /// [`ManageError`]: `invalid_kind`, `invalid_name`.
    pub async fn create_integration(
        &self,
        actor: &Actor,
        reason: &Reason,
        kind: &str,
        name: &str,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "integration").await? {
            return Ok(outcome);
        }
        let (token, issued) = self.token(TokenKind::Webhook).await?;
        let id = self.id(IdKind::Integration);
        let create = IntegrationCommand::Create {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let now = self.ports.clock.now();
        let steps = vec![
            Step::Integration(id.clone(), create),
            Step::Tokens(id, TokensCommand::Issue { token: issued, now }),
        ];
        self.run(plain(actor, reason, None, steps), Some(token)).await
    }

    /// Takes a webhook away and revokes its tokens.
    ///
    /// # Errors
    /// [`ManageError`]: `integration_not_found`, `precondition_failed`.
    pub async fn remove_integration(
        &self,
        actor: &Actor,
        reason: &Reason,
        integration: &str,
        if_match: Option<u64>,
    ) -> Result<Outcome, ManageError> {
        self.has_integration(actor, integration)?;
        let steps = vec![
            Step::Integration(integration.to_owned(), IntegrationCommand::Remove),
            Step::Tokens(integration.to_owned(), TokensCommand::RevokeAll),
        ];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Gives a webhook a new token. The old one ends at once, or after `overlap_s`.
    ///
    /// # Errors
    /// [`ManageError`]: `integration_not_found`, `overlap_too_long`.
    pub async fn rotate_integration_token(
        &self,
        actor: &Actor,
        reason: &Reason,
        integration: &str,
        overlap_s: u32,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "tokens").await? {
            return Ok(outcome);
        }
        self.has_integration(actor, integration)?;
        self.rotate(actor, reason, integration, TokenKind::Webhook, None, overlap_s)
            .await
    }

    fn has_integration(&self, actor: &Actor, integration: &str) -> Result<(), Rejection> {
        let registry = self.ports.registry.read();
        match registry.integration(&actor.account, integration) {
            Some(found) if !found.state.removed => Ok(()),
            _ => Err(Rejection::not_found(
                "integration_not_found",
                "no such integration",
            )),
        }
    }
}
