//! Contacts: who is told, and what they do by the messages that they were sent.
//!
//! Invariants: a secret is made here and given once; what a message's link does is done by the person behind the
//! contact, or by the contact itself where there is none, and needs no role; an address is there once an account.
//! Not here: whether a link is genuine (`api`), what is sent.

use super::sites::plain;
use super::{Actor, ManageError, Management, Outcome, Step};
use domain::aggregate::alarm::AlarmCommand;
use domain::aggregate::channel::ChannelCommand;
use domain::aggregate::contact::{ContactCommand, ContactState, NewContact};
use domain::aggregate::site::SiteCommand;
use domain::event::Reason;
use domain::event::contact::{ChannelNotifications, ContactKind, Preferences, SiteNotifications};
use domain::ids::IdKind;
use domain::rejection::Rejection;
use zeroize::Zeroizing;

/// Most contacts of an account: each is looked at for each alarm.
pub const CONTACTS_MAX: usize = 200;
/// Bytes of a webhook's secret (Standard Webhooks: 24 to 64).
const SECRET_BYTES: usize = 32;
/// What a secret begins with, as it is handed over.
const SECRET_PREFIX: &str = "whsec_";

/// What became of a contact, with the secret that is shown once.
#[derive(Debug)]
pub struct ContactOutcome {
    /// What became of the request.
    pub outcome: Outcome,
    /// `whsec_…`; none in a repeated answer, and for what has none.
    pub secret: Option<Zeroizing<String>>,
}

impl Management {
    /// Adds a contact. A webhook gets a secret; a mailbox must be confirmed and a chat linked. The address's index and
    /// the secret are made here, whatever is given.
    ///
    /// # Errors
    /// [`ManageError`]: `invalid_name`, `invalid_email`, `invalid_url`, `invalid_preferences`, `contact_exists`,
    /// `contact_unsubscribed`, `too_many_contacts`, `unknown_user`, `unknown_scope`.
    pub async fn add_contact(
        &self,
        actor: &Actor,
        reason: &Reason,
        mut new: NewContact,
    ) -> Result<ContactOutcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "contact").await? {
            return Ok(ContactOutcome {
                outcome,
                secret: None,
            });
        }
        if let Some((address, index)) = &mut new.address {
            *index = self.address_index(new.kind, address)?;
        }
        self.has_scope(actor, &new.preferences)?;
        let index = new.address.as_ref().map(|(_, index)| index.as_str());
        self.has_room(actor, new.kind, index)?;
        if let Some(user) = &new.user
            && self.ports.registry.read().user(&actor.account, user).is_none()
        {
            return Err(Rejection::invalid("unknown_user", "user_id names nobody of this account").into());
        }
        let secret = (new.kind == ContactKind::Webhook).then(|| self.webhook_secret());
        new.secret = secret.as_ref().map(|secret| secret.to_string());
        let steps = vec![Step::Contact(
            self.id(IdKind::Contact),
            ContactCommand::Add(Box::new(new)),
        )];
        let outcome = self.run(plain(actor, reason, None, steps), None).await?;
        let secret = secret.filter(|_| !outcome.replayed);
        Ok(ContactOutcome { outcome, secret })
    }

    /// Changes what a contact is told.
    ///
    /// # Errors
    /// [`ManageError`]: `contact_not_found`, `invalid_preferences`, `precondition_failed`.
    pub async fn change_contact(
        &self,
        actor: &Actor,
        reason: &Reason,
        contact: &str,
        if_match: Option<u64>,
        preferences: Preferences,
    ) -> Result<Outcome, ManageError> {
        self.has_contact(actor, contact)?;
        self.has_scope(actor, &preferences)?;
        let steps = vec![Step::Contact(
            contact.to_owned(),
            ContactCommand::Change(preferences),
        )];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Takes a contact away.
    ///
    /// # Errors
    /// [`ManageError`]: `contact_not_found`, `precondition_failed`.
    pub async fn remove_contact(
        &self,
        actor: &Actor,
        reason: &Reason,
        contact: &str,
        if_match: Option<u64>,
    ) -> Result<Outcome, ManageError> {
        self.has_contact(actor, contact)?;
        let steps = vec![Step::Contact(contact.to_owned(), ContactCommand::Remove)];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Gives a webhook another secret; the old one ends at once.
    ///
    /// # Errors
    /// [`ManageError`]: `contact_not_found`, `not_a_webhook`.
    pub async fn rotate_webhook_secret(
        &self,
        actor: &Actor,
        reason: &Reason,
        contact: &str,
    ) -> Result<ContactOutcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "contact").await? {
            return Ok(ContactOutcome {
                outcome,
                secret: None,
            });
        }
        self.has_contact(actor, contact)?;
        let secret = self.webhook_secret();
        let rotate = ContactCommand::RotateSecret {
            secret: secret.to_string(),
        };
        let steps = vec![Step::Contact(contact.to_owned(), rotate)];
        let outcome = self.run(plain(actor, reason, None, steps), None).await?;
        let secret = Some(secret).filter(|_| !outcome.replayed);
        Ok(ContactOutcome { outcome, secret })
    }

    /// What a contact does by a link or code of its own: confirms, links a chat, unsubscribes; or what its provider
    /// does with it.
    ///
    /// # Errors
    /// [`ManageError`]: `contact_not_found`, `not_linked`.
    pub async fn contact_did(
        &self,
        account: &str,
        contact: &str,
        auth: &str,
        command: ContactCommand,
    ) -> Result<Outcome, ManageError> {
        let actor = Actor {
            id: contact.to_owned(),
            auth: auth.to_owned(),
            ..Actor::system("notify", account)
        };
        let steps = vec![Step::Contact(contact.to_owned(), command)];
        let reason = Reason::code("asked");
        self.run(plain(&actor, &reason, None, steps), None).await
    }

    /// Links a Telegram contact to the chat that said its code.
    ///
    /// # Errors
    /// [`ManageError`]: `contact_not_found`, `not_a_chat`, `contact_exists` where the account has this chat already.
    pub async fn link_chat(&self, account: &str, contact: &str, chat: &str) -> Result<Outcome, ManageError> {
        let index = self.address_index(ContactKind::Telegram, chat)?;
        let is_there = {
            let registry = self.ports.registry.read();
            let mut others = registry.contacts(account, None);
            others.any(|it| *it.id != *contact && it.state.address_index.as_deref() == Some(index.as_str()))
        };
        if is_there {
            return Err(contact_exists().into());
        }
        let command = ContactCommand::Link {
            chat: chat.to_owned(),
            index,
        };
        self.contact_did(account, contact, "telegram", command).await
    }

    /// The contacts that a chat is linked as, in whichever accounts: each with its account.
    pub fn contacts_of_chat(&self, chat: &str) -> Vec<(String, String)> {
        let Ok(index) = self.address_index(ContactKind::Telegram, chat) else {
            return Vec::new();
        };
        let registry = self.ports.registry.read();
        let linked = registry.contacts_anywhere().filter(|it| {
            it.state.kind == Some(ContactKind::Telegram)
                && it.state.state == ContactState::Active
                && it.state.address_index.as_deref() == Some(index.as_str())
        });
        linked
            .map(|it| (it.account.to_string(), it.id.to_string()))
            .collect()
    }

    /// Acknowledges an alarm from a message: as the person whose own mailbox it went to, else as the contact, since whose
    /// it is said to be is only what its owner wrote. `once` makes the link that was used single-use.
    ///
    /// # Errors
    /// [`ManageError`]: `alarm_not_found`, `alarm_closed`, `idempotency_conflict` where the link was used.
    pub async fn acknowledge_from_message(
        &self,
        account: &str,
        contact: &str,
        auth: &str,
        alarm: &str,
        reason: &Reason,
        once: crate::sequencer::Idempotency,
    ) -> Result<Outcome, ManageError> {
        let channel = self.channel_of_alarm(account, alarm).await?;
        let who = {
            let registry = self.ports.registry.read();
            let found = registry
                .contact(account, contact)
                .filter(|it| it.state.state != ContactState::Removed)
                .map(|it| (it.state.user.clone(), it.state.address_index.clone()));
            let Some((user, mailbox)) = found else {
                return Err(Rejection::not_found("contact_not_found", "no such contact").into());
            };
            // A mailbox's index is that of a person's address; no other kind of address has one like it.
            let is_theirs = |user: &String| {
                registry
                    .user(account, user)
                    .is_some_and(|u| !u.state.removed && Some(&u.state.email_index) == mailbox.as_ref())
            };
            user.filter(is_theirs).unwrap_or_else(|| contact.to_owned())
        };
        let actor = Actor {
            id: who,
            auth: auth.to_owned(),
            idempotency: Some(once),
            ..Actor::system("notify", account)
        };
        if let Some(outcome) = self.earlier(&actor, "alarm").await? {
            return Ok(outcome);
        }
        let step = Step::Alarm {
            id: alarm.to_owned(),
            channel,
            command: AlarmCommand::Acknowledge {
                reason: reason.clone(),
                corrective_action: None,
                signature: None,
            },
        };
        // The words stand in the event itself, and need not stand in it twice.
        let code = Reason::code(&reason.code);
        self.run(plain(&actor, &code, None, vec![step]), None).await
    }

    /// Says who is told of a channel's alarms, and how often.
    ///
    /// # Errors
    /// [`ManageError`]: `channel_not_found`, `contact_not_found`, `invalid_notifications`.
    pub async fn set_channel_notifications(
        &self,
        actor: &Actor,
        reason: &Reason,
        channel: &str,
        if_match: Option<u64>,
        notifications: ChannelNotifications,
    ) -> Result<Outcome, ManageError> {
        let device = {
            let registry = self.ports.registry.read();
            let found = registry.channel(&actor.account, channel);
            let found = found.ok_or_else(|| Rejection::not_found("channel_not_found", "no such channel"))?;
            found.state.device.clone()
        };
        for contact in &notifications.telegram {
            self.has_contact(actor, contact)?;
        }
        let steps = vec![Step::Channel {
            id: channel.to_owned(),
            device,
            command: ChannelCommand::Notify(notifications),
        }];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Says whether a site's messages are gathered.
    ///
    /// # Errors
    /// [`ManageError`]: `site_not_found`, `invalid_notifications`.
    pub async fn set_site_notifications(
        &self,
        actor: &Actor,
        reason: &Reason,
        site: &str,
        if_match: Option<u64>,
        notifications: SiteNotifications,
    ) -> Result<Outcome, ManageError> {
        self.has_site(actor, site)?;
        let steps = vec![Step::Site(site.to_owned(), SiteCommand::Notify(notifications))];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// The keyed index under which a contact's address is found.
    ///
    /// # Errors
    /// `invalid_email`.
    fn address_index(&self, kind: ContactKind, address: &str) -> Result<String, Rejection> {
        if kind == ContactKind::Email {
            return self.email_index(address);
        }
        let named = format!("{}\n{}", kind.as_str(), address.trim());
        let index = crate::tokens::hmac(&self.settings.server_secret, named.as_bytes());
        Ok(domain::hash::base64url(&index))
    }

    fn webhook_secret(&self) -> Zeroizing<String> {
        use base64::Engine;
        let mut bytes = Zeroizing::new([0u8; SECRET_BYTES]);
        self.ports.entropy.fill(&mut *bytes);
        let encoded = base64::engine::general_purpose::STANDARD.encode(*bytes);
        Zeroizing::new(format!("{SECRET_PREFIX}{encoded}"))
    }

    fn has_contact(&self, actor: &Actor, contact: &str) -> Result<(), Rejection> {
        let registry = self.ports.registry.read();
        match registry.contact(&actor.account, contact) {
            Some(found) if found.state.state != ContactState::Removed => Ok(()),
            _ => Err(Rejection::not_found("contact_not_found", "no such contact")),
        }
    }

    fn has_room(&self, actor: &Actor, kind: ContactKind, index: Option<&str>) -> Result<(), Rejection> {
        let registry = self.ports.registry.read();
        let mut count = 0;
        for contact in registry.contacts_ever(&actor.account) {
            let is_there = contact.state.state != ContactState::Removed;
            count += usize::from(is_there);
            let same = contact.state.kind == Some(kind)
                && index.is_some()
                && contact.state.address_index.as_deref() == index;
            if same && is_there {
                return Err(contact_exists());
            }
            if same && contact.state.left {
                return Err(Rejection::conflict(
                    "contact_unsubscribed",
                    "whoever has this address does not want messages of this account, and is not asked again",
                ));
            }
        }
        if count >= CONTACTS_MAX {
            return Err(Rejection::conflict(
                "too_many_contacts",
                "an account has at most 200 contacts: take one away first",
            ));
        }
        Ok(())
    }

    /// What a scope names is in this account.
    fn has_scope(&self, actor: &Actor, preferences: &Preferences) -> Result<(), Rejection> {
        let registry = self.ports.registry.read();
        for id in &preferences.scope {
            if registry.account_of(id) != Some(actor.account.as_str()) {
                return Err(Rejection::invalid(
                    "unknown_scope",
                    "the scope names something that is not there",
                ));
            }
        }
        Ok(())
    }
}

fn contact_exists() -> Rejection {
    Rejection::conflict(
        "contact_exists",
        "this address is a contact of the account already",
    )
}
