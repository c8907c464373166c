//! What people say to the bot: codes that link a chat, and buttons that acknowledge.
//!
//! Invariants: a code links one contact, once; a button is only believed from the chat that its message went to, and
//! acknowledges once. Where reading goes on is kept beside the ledger; what is read twice changes nothing.
//! Not here: the bot's API (`telegram`).

use super::telegram::{Heard, UPDATES_WITHIN_S};
use crate::app::{App, stop_begins};
use commands::handlers::ManageError;
use commands::sequencer::Idempotency;
use domain::aggregate::contact::ContactState;
use domain::event::Reason;
use domain::event::contact::ContactKind;
use domain::hash::sha256_of;
use projections::query::OutboundFilter;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Between two questions after one that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How far back a button's message is looked for.
const BUTTONS_MAX: usize = 1_000;

/// Runs until the stop.
pub(super) async fn run(app: Arc<App>) {
    let Some(bot) = app.notify().bot().cloned() else {
        return;
    };
    let mut stopping = app.stopping();
    let mut from = app.state().bot_cursor().unwrap_or(0);
    loop {
        let asked = bot.clone();
        let asked = tokio::task::spawn_blocking(move || asked.updates(from, UPDATES_WITHIN_S));
        // A question that is open at the stop is left alone: its answer comes again.
        let answered = tokio::select! {
            answered = asked => answered,
            () = stop_begins(&mut stopping) => return,
        };
        match answered {
            Ok(Ok((heard, next))) => {
                for one in heard {
                    app.heard(one).await;
                }
                from = next;
                if let Err(error) = app.state().keep_bot_cursor(from) {
                    tracing::warn!(%error, "where reading the bot's messages goes on was not kept");
                }
            }
            Ok(Err(code)) => {
                tracing::warn!(code, "the bot's messages cannot be read");
                tokio::select! {
                    () = tokio::time::sleep(AFTER_FAILURE) => {}
                    () = stop_begins(&mut stopping) => return,
                }
            }
            Err(error) => tracing::error!(%error, "reading the bot's messages ended badly"),
        }
    }
}

impl App {
    async fn heard(&self, heard: Heard) {
        let Some(bot) = self.notify().bot().cloned() else {
            return;
        };
        match heard {
            Heard::Code { chat, code } => {
                let linked = self.link(&chat, &code).await;
                let words = if linked {
                    "This chat is linked: alarms come here."
                } else {
                    "That is no code that is waited for. Whoever added this chat can look it up."
                };
                answered(tokio::task::spawn_blocking(move || bot.say(&chat, words))).await;
            }
            Heard::Button { id, chat, data } => {
                let words = self.pressed(&chat, &data).await;
                answered(tokio::task::spawn_blocking(move || bot.answer(&id, words))).await;
            }
        }
    }

    async fn link(&self, chat: &str, code: &str) -> bool {
        let found = {
            let registry = self.registry().read();
            let mut waiting = registry.contacts_anywhere().filter(|it| {
                it.state.kind == Some(ContactKind::Telegram) && it.state.state == ContactState::Pending
            });
            waiting
                .find(|it| {
                    bool::from(
                        self.notify()
                            .links()
                            .code(&it.id)
                            .as_bytes()
                            .ct_eq(code.as_bytes()),
                    )
                })
                .map(|it| (it.account.to_string(), it.id.to_string()))
        };
        let Some((account, contact)) = found else {
            return false;
        };
        match self.management().link_chat(&account, &contact, chat).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, contact, "a chat was not linked");
                false
            }
        }
    }

    async fn pressed(&self, chat: &str, data: &str) -> &'static str {
        // A chat may be linked in several accounts; a button is of one of them.
        let linked = self.management().contacts_of_chat(chat);
        if linked.is_empty() {
            return "This chat is not linked any more.";
        }
        let mut pressed = None;
        for (account, contact) in linked {
            if let Some(alarm) = self.alarm_of_button(&account, &contact, data).await {
                pressed = Some((account, contact, alarm));
                break;
            }
        }
        let Some((account, contact, alarm)) = pressed else {
            return "That button is not known any more.";
        };
        let once = once(&format!("telegram\n{contact}\n{data}"), "button");
        let reason = Reason::code("seen");
        match self
            .management()
            .acknowledge_from_message(&account, &contact, "telegram", &alarm, &reason, once)
            .await
        {
            Ok(outcome) if outcome.replayed => "It was acknowledged already.",
            Ok(_) => "Acknowledged.",
            Err(ManageError::Rejected(_)) => "It cannot be acknowledged any more.",
            Err(error) => {
                tracing::warn!(%error, "a button acknowledged nothing");
                "That did not work now: please try again."
            }
        }
    }
}

impl App {
    /// The alarm of a button that a contact was sent; `None` where it was sent no such button.
    async fn alarm_of_button(&self, account: &str, contact: &str, data: &str) -> Option<String> {
        let filter = OutboundFilter {
            contact: Some(contact.to_owned()),
            ..OutboundFilter::default()
        };
        let of = account.to_owned();
        let sent = self
            .ask(move |rows| rows.outbound(&of, &filter, None, BUTTONS_MAX))
            .await;
        let links = self.notify().links();
        sent.ok()?.into_iter().find_map(|one| {
            let button = format!("{}.{}", links.short(&one.notification), one.event);
            (button == data).then_some(one.alarm).flatten()
        })
    }
}

async fn answered(task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "the bot's answer ended badly");
    }
}

/// What makes a link or button work once.
pub fn once(what: &str, words: &str) -> Idempotency {
    Idempotency {
        key: sha256_of(&[b"daybook/once/v1\n", what.as_bytes()]),
        request: sha256_of(&[b"daybook/once/v1\n", words.as_bytes()]),
    }
}
