//! Sites and the account itself.

use super::{Actor, ManageError, Management, Outcome, Request, Step};
use domain::aggregate::account::AccountCommand;
use domain::aggregate::site::{SiteCommand, SitePatch};
use domain::aggregate::user::Right;
use domain::event::Reason;
use domain::ids::IdKind;
use domain::rejection::Rejection;

impl Management {
    /// Begins a site.
    ///
    /// # Errors
    /// [`ManageError`]: `invalid_name`, `invalid_vertical`, `invalid_timezone`, `invalid_text`.
    pub async fn create_site(
        &self,
        actor: &Actor,
        reason: &Reason,
        name: &str,
        vertical: &str,
        timezone: &str,
        address: Option<&str>,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "site").await? {
            return Ok(outcome);
        }
        let command = SiteCommand::Create {
            name: name.to_owned(),
            vertical: vertical.to_owned(),
            timezone: timezone.to_owned(),
            address: address.map(str::to_owned),
        };
        let steps = vec![Step::Site(self.id(IdKind::Site), command)];
        self.run(plain(actor, reason, None, steps), None).await
    }

    /// Changes a site.
    ///
    /// # Errors
    /// [`ManageError`]: `site_not_found`, `precondition_failed`, and those of [`Management::create_site`].
    pub async fn patch_site(
        &self,
        actor: &Actor,
        reason: &Reason,
        site: &str,
        if_match: Option<u64>,
        patch: SitePatch,
    ) -> Result<Outcome, ManageError> {
        if self.ports.registry.read().site(&actor.account, site).is_none() {
            return Err(Rejection::not_found("site_not_found", "no such site").into());
        }
        let steps = vec![Step::Site(site.to_owned(), SiteCommand::Change(patch))];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Changes the account's name, or shuts its devices and people out or lets them in again.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn change_account(
        &self,
        actor: &Actor,
        reason: &Reason,
        if_match: Option<u64>,
        command: AccountCommand,
    ) -> Result<Outcome, ManageError> {
        let steps = vec![Step::Account(actor.account.clone(), command)];
        self.run(plain(actor, reason, if_match, steps), None).await
    }
}

/// A request without readings.
pub(super) fn plain<'a>(
    actor: &'a Actor,
    reason: &'a Reason,
    if_match: Option<u64>,
    steps: Vec<Step>,
) -> Request<'a> {
    Request {
        actor,
        reason,
        if_match,
        steps,
        readings: Vec::new(),
        right: Right::Manage,
    }
}
