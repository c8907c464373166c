//! Artefacts that are registered, and evidence packs that are handed out.

use super::sites::plain;
use super::{Actor, ManageError, Management, Outcome, Step};
use domain::aggregate::artefact::{About, ArtefactCommand, NewArtefact};
use domain::aggregate::pack::PackCommand;
use domain::aggregate::user::OWNER;
use domain::event::{EvidencePackIssued, Reason};
use domain::ids::IdKind;
use domain::rejection::Rejection;

impl Management {
    /// Registers a file by its hash.
    ///
    /// # Errors
    /// [`ManageError`]: `subject_not_found`, `invalid_sha256`, `invalid_salt`, `invalid_media_type`, `invalid_size`,
    /// `invalid_name`, `invalid_text`.
    pub async fn register_artefact(
        &self,
        actor: &Actor,
        reason: &Reason,
        new: NewArtefact,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "artefact").await? {
            return Ok(outcome);
        }
        let owner = self.owner_of(actor, &new.about)?;
        let steps = vec![Step::Artefact {
            id: self.id(IdKind::Artefact),
            owner,
            command: ArtefactCommand::Register(new),
        }];
        self.run(plain(actor, reason, None, steps), None).await
    }

    fn owner_of(&self, actor: &Actor, about: &About) -> Result<String, Rejection> {
        let registry = self.ports.registry.read();
        let account = &actor.account;
        let owner = match about {
            About::Account => Some(account.clone()),
            About::Site(id) => registry.site(account, id).map(|it| it.id.to_string()),
            About::Device(id) => registry.device(account, id).map(|it| it.id.to_string()),
            About::Channel(id) => registry.channel(account, id).map(|it| it.state.device.clone()),
        };
        owner.ok_or_else(|| Rejection::not_found("subject_not_found", "no such site, device or channel"))
    }

    /// A new id for an evidence pack.
    pub fn pack_id(&self) -> String {
        self.id(IdKind::Pack)
    }

    /// Records that a pack is handed out. Whoever may read the account may ask for one, so the role does not matter.
    ///
    /// # Errors
    /// [`ManageError`]: `already_exists`.
    pub async fn issue_pack(
        &self,
        actor: &Actor,
        reason: &Reason,
        id: &str,
        issued: EvidencePackIssued,
    ) -> Result<Outcome, ManageError> {
        let actor = Actor {
            role: OWNER.to_owned(),
            ..actor.clone()
        };
        let steps = vec![Step::Pack(id.to_owned(), PackCommand::Issue(Box::new(issued)))];
        self.run(plain(&actor, reason, None, steps), None).await
    }
}
