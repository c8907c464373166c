//! Telling people and their systems: notifiers that take what is due from the outbox and say it.
//!
//! | file | holds |
//! |---|---|
//! | `lane` | one thread a way (webhook, e-mail, Telegram): what is due, one message at a time to each contact |
//! | `outcome` | what came of an attempt, as entries; when it is tried again |
//! | `webhook`, `guard` | signed POSTs, and which addresses they may reach |
//! | `email` | mails, and what a refusal means |
//! | `telegram`, `updates` | the bot: messages, codes, buttons |
//! | `words` | what is said |
//! | `links` | signed links in messages |
//! | `damage` | that the ledger does not hold, told past the outbox |
//! | `paths` | whether a way works: the alarm that one does not |
//! | `trials` | trials of the way to a contact |
//! | `watch` | when these are looked at; the dead-man ping |
//!
//! The way of a notification: the outbox says that it is due → that an attempt begins is written down beside the ledger
//! → it is sent → its outcome is an entry → the outbox has passed that entry. Killed between any two, it is due after the
//! restart and goes again, under the same id: at least once always, and once where the receiver keeps ids.
//! Invariants: one failing way delays no other, and one failing contact no other contact; what cannot be recorded is
//! not begun; no address, text or secret is in an entry, log or metric.
//! Source: REFERENCE §4, docs/notifications.md. Not here: what is due (`projections::outbox`).

pub mod damage;
mod email;
pub mod guard;
mod lane;
pub mod links;
pub mod outcome;
mod paths;
pub mod telegram;
mod trials;
mod updates;
mod watch;
pub mod webhook;
mod words;

use crate::app::App;
use crate::config::Settings;
use domain::event::contact::ContactKind;
use guard::Targets;
use links::Links;
use std::sync::Arc;
use std::time::Duration;
use telegram::Bot;
pub use updates::once;

/// What came of an attempt; codes are a word or a status and tell no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It was taken; the provider knows it by this.
    Taken(String, Option<String>),
    /// It was refused, and would be again.
    Refused(String),
    /// It did not work now, or nobody knows; perhaps it was said when to come back.
    Later(String, Option<Duration>),
    /// The address refuses messages for good.
    Bounced(String),
}

/// What the notifiers share.
pub struct Notify {
    links: Links,
    bot: Option<Arc<Bot>>,
    webhooks: ureq::Agent,
    alarms_from: Option<lettre::message::Mailbox>,
}

impl Notify {
    /// As the settings say.
    ///
    /// # Errors
    /// In words.
    pub fn open(settings: &Settings, server_secret: &[u8; 32]) -> Result<Self, String> {
        let targets = if settings.notify_private_targets {
            Targets::Any
        } else {
            Targets::Public
        };
        let from = settings.notify_mail_from.as_deref().map(str::parse).transpose();
        Ok(Self {
            links: Links::new(server_secret),
            bot: settings
                .telegram
                .as_ref()
                .map(Bot::open)
                .transpose()?
                .map(Arc::new),
            webhooks: guard::agent(targets, webhook::ANSWER_WITHIN),
            alarms_from: from.map_err(|_| "notify_mail_from is no address".to_owned())?,
        })
    }

    /// Makes links and reads them.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The bot, where the settings name one.
    pub fn bot(&self) -> Option<&Arc<Bot>> {
        self.bot.as_ref()
    }
}

/// Starts a thread a way, and those beside them.
///
/// # Errors
/// Where there is no thread.
pub fn start(app: &Arc<App>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Handle::current();
    for via in ContactKind::ALL {
        let (running, runtime) = (Arc::clone(app), runtime.clone());
        app.beside().start(format!("notify-{}", via.as_str()), move || {
            runtime.block_on(lane::run(running, via));
        })?;
    }
    if app.notify().bot().is_some() {
        let (running, runtime) = (Arc::clone(app), runtime.clone());
        app.beside()
            .start("notify-updates", move || runtime.block_on(updates::run(running)))?;
    }
    let running = Arc::clone(app);
    app.beside()
        .start("notify-watch", move || runtime.block_on(watch::run(running)))?;
    Ok(())
}
