//! Telling everybody who relies on this ledger that it does not hold, past the outbox: nothing can be recorded then.
//!
//! Who: each contact that is told of alarms, of every account, whatever its scope and hours, because no alarm is raised
//! any more; and the sign-in mailbox of every owner. One message an address.
//! Invariants: it is said once per start and mailbox or chat, and to each webhook, since the self-audit ends with what it
//! finds; what is tried again keeps its id; whoever waits to be tried again keeps nobody else waiting, and no account
//! another; nothing of it is an entry, and the log says so; no address is in the log.
//! Not here: what is found (`self_audit`); what is said while entries are taken (`lane`).

use super::Sent;
use super::webhook::{Delivery, deliver};
use crate::app::{App, stop_begins};
use crate::mail::{Mail, MailClass, MessageId};
use crate::routes::texts::ERASED;
use domain::Timestamp;
use domain::aggregate::contact::ContactState;
use domain::aggregate::user::OWNER;
use domain::event::contact::ContactKind;
use domain::event::notification::ATTEMPTS_MAX;
use domain::hash::{base64url, sha256};
use maud::{DOCTYPE, html};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// Addresses that are told; whoever runs more than this many has a way of their own to tell people.
const ADDRESSES_MAX: usize = 5_000;
/// Messages on their way at once.
const SENDING_MAX: usize = 16;
/// Of them of one account, so that receivers who are slow on purpose do not hold up the others.
const SENDING_MAX_PER_ACCOUNT: usize = 4;

/// Somebody to tell.
#[derive(Clone)]
struct Addressee {
    /// Contact or user, for the log.
    id: String,
    account: String,
    via: ContactKind,
    address: String,
    /// What a webhook's delivery is signed with.
    secret: Option<Zeroizing<String>>,
    reference_headers: bool,
}

/// What is said.
struct Finding {
    origin: String,
    /// What does not hold.
    wrong: String,
    at: Timestamp,
    /// Where the service is reached.
    url: String,
}

impl Finding {
    fn subject(&self) -> String {
        format!("DAMAGED: the ledger {} does not hold", self.origin)
    }

    fn lines(&self) -> [String; 4] {
        [
            format!("The service read its own ledger again at {} and found: {}.", self.at, self.wrong),
            "Nothing is recorded any more: readings are refused (503), no alarm is raised, and no other message comes. \
             Watch what matters by other means until this is mended."
                .to_owned(),
            "What was acknowledged before is in the files that are there and in copies and heads kept elsewhere; what is \
             shown from here on may be wrong."
                .to_owned(),
            "Whoever runs this: keep the files as they are, run `daybook verify` and `daybook doctor`, and follow \"When \
             something goes wrong\" in docs/operator.md."
                .to_owned(),
        ]
    }

    /// The id of the message to somebody: the same whenever it is tried.
    fn id(&self, to: &Addressee) -> String {
        let text = format!(
            "daybook/damage/v1\n{}\n{}\n{}\n{}",
            self.origin, self.wrong, self.at, to.id
        );
        base64url(&sha256(text.as_bytes()).0[..18])
    }
}

/// Tells everybody; done when all were told, cannot be told, or the service stops.
pub async fn tell(app: Arc<App>, wrong: &str, at: Timestamp) {
    let (addressees, left_out) = app.whom_to_tell();
    let finding = Arc::new(Finding {
        origin: app.origin().to_owned(),
        wrong: wrong.to_owned(),
        at,
        url: app.own_url(),
    });
    tracing::warn!(
        addresses = addressees.len(),
        left_out,
        "contacts and owners are told that the ledger does not hold; nothing can be recorded, so no entry tells of it"
    );
    let (all, mut of_account) = (Arc::new(Semaphore::new(SENDING_MAX)), BTreeMap::new());
    let mut tasks = JoinSet::new();
    for to in addressees {
        let of_account = of_account
            .entry(to.account.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(SENDING_MAX_PER_ACCOUNT)));
        let places = Places {
            all: Arc::clone(&all),
            of_account: Arc::clone(of_account),
        };
        let (app, finding) = (Arc::clone(&app), Arc::clone(&finding));
        tasks.spawn(async move { app.tell_one(&finding, &to, &places).await });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a message about the ledger's damage ended badly");
        }
    }
}

/// Where a message waits until it may be sent; nobody holds a place while waiting to try again.
struct Places {
    all: Arc<Semaphore>,
    of_account: Arc<Semaphore>,
}

/// One account's after the other's in turns, each in the order in which they stand.
fn in_turns(all: Vec<Addressee>) -> Vec<Addressee> {
    let mut turn_of: BTreeMap<String, usize> = BTreeMap::new();
    let mut turns: Vec<(usize, Addressee)> = Vec::new();
    for it in all {
        let turn = turn_of.entry(it.account.clone()).or_default();
        turns.push((*turn, it));
        *turn += 1;
    }
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, it)| it).collect()
}

/// Once a mailbox and a chat. Not so a webhook: each is signed with its own secret and says whose it is, so that one
/// contact's message is none for another.
fn once_each(all: &mut Vec<Addressee>) {
    let mut seen = BTreeSet::new();
    all.retain(|it| {
        let by = match it.via {
            ContactKind::Email => it.address.to_lowercase(),
            ContactKind::Telegram => it.address.clone(),
            ContactKind::Webhook => it.id.clone(),
        };
        it.address != ERASED && seen.insert((it.via, by))
    });
}

impl App {
    /// Who is told, and how many are not because they are too many: first every account's owners, then its contacts.
    fn whom_to_tell(&self) -> (Vec<Addressee>, usize) {
        let registry = self.registry().read();
        let mut all = Vec::new();
        for account in registry.accounts() {
            let owners = registry.users(&account.id, None);
            for user in owners.filter(|user| user.state.role == OWNER && !user.state.removed) {
                let address = self.text("user", &user.id, user.state.email.as_ref());
                all.extend(address.map(|address| Addressee {
                    id: user.id.to_string(),
                    account: account.id.to_string(),
                    via: ContactKind::Email,
                    address,
                    secret: None,
                    reference_headers: false,
                }));
            }
        }
        for contact in registry.contacts_anywhere() {
            let (state, Some(via)) = (&contact.state, contact.state.kind) else {
                continue;
            };
            if state.state != ContactState::Active {
                continue;
            }
            let secret = state
                .secret
                .as_ref()
                .and_then(|field| self.management().opener().open("contact", &contact.id, field));
            all.extend(
                self.text("contact", &contact.id, state.address.as_ref())
                    .map(|address| Addressee {
                        id: contact.id.to_string(),
                        account: contact.account.to_string(),
                        via,
                        address,
                        secret: secret.map(Zeroizing::new),
                        reference_headers: state.preferences.reference_headers,
                    }),
            );
        }
        drop(registry);
        once_each(&mut all);
        let mut all = in_turns(all);
        let left_out = all.len().saturating_sub(ADDRESSES_MAX);
        all.truncate(ADDRESSES_MAX);
        (all, left_out)
    }

    /// Tries until it was taken, was refused for good, or the service stops.
    async fn tell_one(&self, finding: &Finding, to: &Addressee, places: &Places) {
        let via = to.via.as_str();
        let mut stopping = self.stopping();
        for attempt in 1..=ATTEMPTS_MAX {
            let sent = {
                let (Ok(_of_account), Ok(_of_all)) =
                    (places.of_account.acquire().await, places.all.acquire().await)
                else {
                    return;
                };
                match to.via {
                    ContactKind::Email => self.damage_by_mail(finding, to).await,
                    ContactKind::Telegram => self.damage_by_telegram(finding, to).await,
                    ContactKind::Webhook => self.damage_by_webhook(finding, to, attempt).await,
                }
            };
            self.metrics().notified(via, super::lane::word_of(&sent));
            let (code, after) = match sent {
                Sent::Taken(code, _) => {
                    tracing::info!(
                        to = to.id,
                        via,
                        code,
                        attempt,
                        "told that the ledger does not hold"
                    );
                    return;
                }
                Sent::Refused(code) | Sent::Bounced(code) => {
                    tracing::warn!(
                        to = to.id,
                        via,
                        code,
                        attempt,
                        "cannot be told that the ledger does not hold"
                    );
                    return;
                }
                Sent::Later(code, after) => (code, after.unwrap_or_default()),
            };
            tracing::warn!(
                to = to.id,
                via,
                code,
                attempt,
                "not told yet that the ledger does not hold"
            );
            let wait: Duration = after.max(self.retry_after(attempt));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop_begins(&mut stopping) => return,
            }
        }
        tracing::error!(to = to.id, via, "was never told that the ledger does not hold");
    }

    async fn damage_by_mail(&self, finding: &Finding, to: &Addressee) -> Sent {
        let Some(mailer) = self.mailer().cloned() else {
            return Sent::Refused("no_mail".to_owned());
        };
        let lines = finding.lines();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                body {
                    h1 { (finding.subject()) }
                    @for line in &lines { p { (line) } }
                }
            }
        };
        let id = MessageId::of(&finding.origin, &finding.id(to));
        let mail = Mail {
            to: to.address.clone(),
            subject: finding.subject(),
            text: format!("{}\n\n-- \nDaybook, {}\n", lines.join("\n\n"), finding.url),
            html: Some(page.into_string()),
            attachments: Vec::new(),
            id: id.clone(),
            at: finding.at,
        };
        // It carries no link to unsubscribe: nothing that is asked of the service now can be recorded.
        let sent = mailer
            .send_to_subscriber(&mail, self.notify().alarms_from.as_ref(), None)
            .await;
        match sent {
            Ok(()) => Sent::Taken("250".to_owned(), Some(id.as_str().to_owned())),
            Err(error) if error.class == MailClass::Permanent => {
                Sent::Refused(super::email::code(&error.reason))
            }
            Err(error) => Sent::Later(super::email::code(&error.reason), None),
        }
    }

    async fn damage_by_telegram(&self, finding: &Finding, to: &Addressee) -> Sent {
        let Some(bot) = self.notify().bot().cloned() else {
            return Sent::Refused("no_bot".to_owned());
        };
        let text = format!("{}\n\n{}", finding.subject(), finding.lines().join("\n\n"));
        let chat = to.address.clone();
        let sent = tokio::task::spawn_blocking(move || bot.send(&chat, &text, None, None));
        sent.await
            .unwrap_or_else(|_| Sent::Later("task".to_owned(), None))
    }

    async fn damage_by_webhook(&self, finding: &Finding, to: &Addressee, attempt: u32) -> Sent {
        let Some(secret) = to.secret.clone() else {
            return Sent::Refused("no_secret".to_owned());
        };
        let now = self.clock().now();
        let id = format!("wh_{}", finding.id(to));
        let body = json!({
            "event": {
                "kind": "ledger_damaged",
                "account_id": to.account,
                "at": finding.at,
                "origin": finding.origin,
                "what": finding.wrong,
            },
            "delivery": {"id": id, "attempt": attempt, "delivered_at": now},
        })
        .to_string();
        let (agent, url, reference_headers) = (
            self.notify().webhooks.clone(),
            to.address.clone(),
            to.reference_headers,
        );
        let sent = tokio::task::spawn_blocking(move || {
            deliver(
                &agent,
                &Delivery {
                    url: &url,
                    secret: &secret,
                    id: &id,
                    now_s: now.as_micros().unsigned_abs() / 1_000_000,
                    body: &body,
                    reference_headers,
                },
            )
        });
        sent.await
            .unwrap_or_else(|_| Sent::Later("task".to_owned(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(account: &str, id: &str, via: ContactKind, address: &str) -> Addressee {
        Addressee {
            id: id.to_owned(),
            account: account.to_owned(),
            via,
            address: address.to_owned(),
            secret: None,
            reference_headers: false,
        }
    }

    fn ids(all: &[Addressee]) -> Vec<&str> {
        all.iter().map(|it| it.id.as_str()).collect()
    }

    #[test]
    fn accounts_are_told_in_turns_each_beginning_with_its_owner() {
        let mail = |account: &str, id: &str| to(account, id, ContactKind::Email, id);
        let all = vec![
            mail("a", "owner_a"),
            mail("b", "owner_b"),
            mail("a", "1"),
            mail("a", "2"),
            mail("a", "3"),
            mail("b", "4"),
        ];
        assert_eq!(ids(&in_turns(all)), ["owner_a", "owner_b", "1", "4", "2", "3"]);
    }

    #[test]
    fn a_mailbox_is_told_once_and_every_webhook_in_its_own_name() {
        let mut all = vec![
            to("a", "1", ContactKind::Email, "Kim@example.eu"),
            to("b", "2", ContactKind::Email, "kim@example.eu"),
            to("a", "3", ContactKind::Webhook, "https://plant.example/hook"),
            to("b", "4", ContactKind::Webhook, "https://plant.example/hook"),
            to("b", "5", ContactKind::Webhook, "https://plant.example/Hook"),
            to("b", "6", ContactKind::Email, ERASED),
        ];
        once_each(&mut all);
        assert_eq!(ids(&all), ["1", "3", "4", "5"]);
    }
}
