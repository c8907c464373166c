//! What a measured ledger holds before it is measured: a site, devices, a gateway's token, limits of channels.
//!
//! Not here: readings.

use super::BenchError;
use super::load::device_name;
use commands::handlers::{Actor, Management};
use commands::tokens::NewToken;
use domain::aggregate::channel::ChannelPatch;
use domain::aggregate::contact::{ContactCommand, NewContact};
use domain::aggregate::device::NewDevice;
use domain::event::Reason;
use domain::event::contact::{ContactKind, Preferences};
use domain::registry::Registry;
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Registrations under way at once; each waits for its own commit.
const AT_ONCE: usize = 64;

/// The account and site that everything stands in.
pub struct Stage {
    management: Management,
    actor: Actor,
    site: String,
}

impl Stage {
    /// A site in the ledger's first account.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn begin(management: &Management, registry: &RwLock<Registry>) -> Result<Self, BenchError> {
        let account = registry
            .read()
            .accounts()
            .next()
            .map(|account| account.id.to_string());
        let account = account.ok_or_else(|| BenchError::Load("the ledger has no account".to_owned()))?;
        let actor = Actor::system("bench", &account);
        let made = management
            .create_site(&actor, &reason(), "Bench", "climate", "UTC", None)
            .await?;
        Ok(Self {
            management: management.clone(),
            actor,
            site: made.id,
        })
    }

    /// The account.
    pub fn account(&self) -> &str {
        &self.actor.account
    }

    /// The site's id.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The devices of these numbers, without tokens of their own; their ids in order.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn devices(&self, numbers: std::ops::Range<usize>) -> Result<Vec<Arc<str>>, BenchError> {
        let mut ids: Vec<Arc<str>> = vec!["".into(); numbers.len()];
        let mut waiting = numbers.clone();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(number) = waiting.next()
            {
                let (management, actor, site) =
                    (self.management.clone(), self.actor.clone(), self.site.clone());
                under_way.spawn(async move {
                    let device = NewDevice {
                        site,
                        local_id: device_name(number),
                        name: format!("Bench {number}"),
                        model: "bench".to_owned(),
                        dev_eui: None,
                        serial: None,
                        cadence_s: None,
                        notes: None,
                    };
                    let made = management
                        .create_device_behind_gateway(&actor, &reason(), device)
                        .await;
                    made.map(|outcome| (number, outcome.id))
                });
            }
            match under_way.join_next().await {
                Some(Ok(made)) => {
                    let (number, id) = made?;
                    ids[number - numbers.start] = id.into();
                }
                Some(Err(error)) => return Err(BenchError::Load(error.to_string())),
                None => return Ok(ids),
            }
        }
    }

    /// Gives each of these channels the limits 0 to 10, without a grace: as many rules.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn limits(&self, channels: Vec<Arc<str>>) -> Result<(), BenchError> {
        let mut waiting = channels.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(channel) = waiting.next()
            {
                let (management, actor) = (self.management.clone(), self.actor.clone());
                under_way.spawn(async move {
                    let patch = ChannelPatch {
                        ok_min: Some(Some(0.0)),
                        ok_max: Some(Some(10.0)),
                        grace_min: Some(Some(0)),
                        ..ChannelPatch::default()
                    };
                    management
                        .patch_channel(&actor, &reason(), &channel, None, patch)
                        .await
                });
            }
            match under_way.join_next().await {
                Some(Ok(changed)) => changed?,
                Some(Err(error)) => return Err(BenchError::Load(error.to_string())),
                None => return Ok(()),
            };
        }
    }

    /// A contact that is told of these devices, ready to be told.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn contact(
        &self,
        kind: ContactKind,
        address: &str,
        scope: Vec<String>,
    ) -> Result<String, BenchError> {
        let new = NewContact {
            kind,
            name: format!("Bench {}", kind.as_str()),
            // A chat is known once it is linked.
            address: (kind != ContactKind::Telegram).then(|| (address.to_owned(), String::new())),
            secret: None,
            user: None,
            preferences: Preferences {
                scope,
                ..Preferences::default()
            },
        };
        let made = self.management.add_contact(&self.actor, &reason(), new).await?;
        let id = made.outcome.id;
        match kind {
            ContactKind::Email => {
                let confirm = ContactCommand::Confirm;
                self.management
                    .contact_did(self.account(), &id, "bench", confirm)
                    .await?;
            }
            ContactKind::Telegram => {
                self.management.link_chat(self.account(), &id, address).await?;
            }
            ContactKind::Webhook => {}
        }
        Ok(id)
    }

    /// A gateway that may send for every device.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn gateway(&self) -> Result<Arc<NewToken>, BenchError> {
        let made = self
            .management
            .create_integration(&self.actor, &reason(), "gateway", "Bench")
            .await?;
        made.token
            .ok_or_else(|| BenchError::Load("a gateway without a token".to_owned()))
    }
}

fn reason() -> Reason {
    Reason::code("setup")
}
