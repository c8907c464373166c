//! One way: what is due by it, one message at a time to each contact, several contacts at once.
//!
//! Invariants: a contact gets its messages one after the other, and the next when the outbox has passed what came of the
//! last; at most [`TASKS_MAX`] are on their way, and one whose outcome is recorded is not any more, however long the
//! outbox takes to pass it; a contact whose receiver hangs holds one of these places for the time of one attempt and
//! nothing else; a stop waits for what is on its way.
//! Not here: how many messages are one (`projections::outbox::plan`), sending (`webhook`, `email`, `telegram`).

use super::Sent;
use super::outcome::Attempt;
use super::webhook::{Delivery, deliver};
use crate::app::{App, stop_begins};
use crate::pages::words::Zone;
use commands::sequencer::Writing;
use domain::aggregate::contact::ContactState;
use domain::event::contact::{ContactKind, Hours, SiteHours};
use domain::event::notification::{NOTIFICATION_DROPPED, NOTIFICATION_SENT};
use domain::{Position, Timestamp};
use parking_lot::Mutex;
use projections::QueryError;
use projections::ReadModel;
use projections::outbox::plan::{self, Due, Form};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How often it is looked for what became due by time alone. What an entry makes due is looked for when it was folded.
const LOOK: Duration = Duration::from_millis(250);
/// Messages on their way at once, of one way.
const TASKS_MAX: usize = 16;
/// … of one account, so that one whose receivers are slow keeps nobody else waiting.
const TASKS_OF_ACCOUNT_MAX: usize = 4;
/// Messages on their way and those whose outcomes the outbox has not passed: as many contacts as one account may have.
const TASKS_OPEN_MAX: usize = 200;
/// How long the read models may take to pass an outcome.
const PASS_WITHIN: Duration = Duration::from_secs(5);
/// How long a stop waits for what is on its way.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A message to a contact.
struct Job {
    contact: String,
    form: Form,
    says: Vec<Due>,
}

/// What is decided of what is due, now.
enum Next {
    Send(Job),
    /// Nobody is told, because of this.
    Drop(Due, &'static str),
}

/// Contacts that get no other message now.
#[derive(Clone, Default)]
struct Busy {
    /// With the account of those that a message is on its way to; none where its outcome is recorded.
    held: Arc<Mutex<BTreeMap<String, Option<String>>>>,
    /// Somebody else may have a place.
    freed: Arc<Notify>,
}

/// That a message to a contact is on its way, or its outcome on the way to the outbox; over when it is dropped, however
/// that ends.
struct Place {
    busy: Busy,
    contact: String,
}

impl Place {
    /// A place for the contact; `None` where there is none, or its account has as many as it may.
    fn take(busy: &Busy, contact: &str, account: &str) -> Option<Self> {
        let mut held = busy.held.lock();
        let on_their_way = held.values().flatten();
        let of_account = on_their_way.clone().filter(|of| *of == account).count();
        if on_their_way.count() >= TASKS_MAX || of_account >= TASKS_OF_ACCOUNT_MAX {
            return None;
        }
        held.insert(contact.to_owned(), Some(account.to_owned()));
        Some(Self {
            busy: busy.clone(),
            contact: contact.to_owned(),
        })
    }

    /// The message is out and its outcome recorded: the contact waits for the outbox, and nobody else does.
    fn recorded(&self) {
        if let Some(account) = self.busy.held.lock().get_mut(&self.contact) {
            *account = None;
        }
        self.busy.freed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.held.lock().remove(&self.contact);
    }
}

/// Runs until the stop.
pub(super) async fn run(app: Arc<App>, via: ContactKind) {
    let mut stopping = app.stopping();
    let busy = Busy::default();
    let mut tasks = JoinSet::new();
    let mut facts = app.projector().facts();
    loop {
        // Before looking: what is folded meanwhile is looked for again.
        facts.mark_unchanged();
        if tasks.len() < TASKS_OPEN_MAX && app.sequencer().status().writing == Writing::Yes {
            for next in app.next_messages(via, &busy).await {
                if tasks.len() >= TASKS_OPEN_MAX {
                    break;
                }
                let (contact, account) = match &next {
                    Next::Send(job) => (&job.contact, job.says.first().map_or("", |due| &due.account)),
                    Next::Drop(due, _) => (&due.contact, due.account.as_str()),
                };
                let Some(place) = Place::take(&busy, contact, account) else {
                    continue;
                };
                let app = Arc::clone(&app);
                tasks.spawn(async move {
                    match next {
                        Next::Send(job) => app.send(job, &place).await,
                        Next::Drop(due, code) => {
                            let attempt = Attempt::of(std::slice::from_ref(&due), code);
                            if let Some(position) = app.record_told(&attempt, NOTIFICATION_DROPPED).await {
                                place.recorded();
                                app.passed(position).await;
                            }
                        }
                    }
                    drop(place);
                });
            }
        }
        tokio::select! {
            // Its contact may have another message, and somebody else its place.
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, via = via.as_str(), "a notification's task ended badly");
                }
            }
            // The projector lives as long as the app.
            Ok(()) = facts.changed() => {}
            () = busy.freed.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stop_begins(&mut stopping) => break,
        }
    }
    let rest = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WITHIN, rest).await.is_err() {
        tracing::warn!(
            via = via.as_str(),
            "a notification is on its way at the stop, and goes again"
        );
    }
}

impl App {
    /// The next message of each contact that has none on its way.
    async fn next_messages(&self, via: ContactKind, busy: &Busy) -> Vec<Next> {
        let now = self.clock().now();
        let busy = busy.held.lock().clone();
        let duty = self.duty(now);
        let asked = self
            .ask(move |rows| {
                let mut by_contact: BTreeMap<String, Vec<Due>> = BTreeMap::new();
                for due in rows.notifications_due(via, now)? {
                    if !busy.contains_key(&due.contact) {
                        by_contact.entry(due.contact.clone()).or_default().push(due);
                    }
                }
                if by_contact.is_empty() {
                    return Ok(Vec::new());
                }
                let routes = rows.notification_routes()?;
                let mut next = Vec::new();
                for (contact, due) in by_contact {
                    if let Some(off) = off_duty(rows, &duty, &due)? {
                        next.push(Next::Drop(off, "off_duty"));
                        continue;
                    }
                    let sent = rows.sent_before(&contact, now)?;
                    if let Some(message) = plan::next(via, now, &due, &sent, &routes) {
                        let says = message.says.iter().filter_map(|index| due.get(*index).cloned());
                        next.push(Next::Send(Job {
                            contact,
                            form: message.form,
                            says: says.collect(),
                        }));
                    }
                }
                Ok(next)
            })
            .await;
        asked.unwrap_or_else(|error| {
            tracing::debug!(code = error.code, "what is due cannot be read now");
            Vec::new()
        })
    }

    /// Who has hours at all, and whether they are on duty now, in the time zone of each site.
    fn duty(&self, now: Timestamp) -> Duty {
        let registry = self.registry().read();
        let hours = registry
            .contacts_anywhere()
            .filter_map(|it| {
                let preferences = &it.state.preferences;
                let hours = match (&preferences.hours, preferences.site_hours) {
                    (Some(hours), _) => OnDuty::Own(hours.clone()),
                    (None, Some(site)) => OnDuty::Site(site),
                    (None, None) => return None,
                };
                Some((it.id.to_string(), hours))
            })
            .collect::<BTreeMap<_, _>>();
        let mut zones = BTreeMap::new();
        if !hours.is_empty() {
            for account in registry.accounts() {
                for site in registry.sites(&account.id, None) {
                    let (weekday, minute) = Zone::named(&site.state.timezone).weekday_minute(now);
                    let is_open = site.state.is_open(weekday, minute);
                    zones.insert(site.id.to_string(), (weekday, minute, is_open));
                }
            }
        }
        Duty { hours, zones }
    }

    async fn send(&self, job: Job, place: &Place) {
        let Some(lead) = job.says.first() else { return };
        let now = self.clock().now();
        let (account, via) = (lead.account.clone(), lead.via);
        let open = {
            let registry = self.registry().read();
            let found = registry.contact(&account, &job.contact);
            found.map(|it| {
                let state = &it.state;
                (
                    state.state,
                    self.text("contact", &it.id, state.address.as_ref()),
                    state.secret.clone(),
                    state.preferences.reference_headers,
                )
            })
        };
        let Some((state, address, secret, reference_headers)) = open else {
            return self.drop_all(&job, "no_contact").await;
        };
        let may = state == ContactState::Active || state == ContactState::Pending && lead.what == "confirm";
        let Some(address) = address.filter(|address| may && address != crate::routes::texts::ERASED) else {
            return self
                .drop_all(&job, if may { "erased" } else { state.as_str() })
                .await;
        };
        let attempt = lead.attempts + 1;
        let repeated = match self.state().begin_sending(now, &lead.id, attempt) {
            Ok(repeated) => repeated,
            Err(error) => return tracing::warn!(%error, "an attempt cannot be begun"),
        };
        let began = self.clock().monotonic();
        let sent = match via {
            ContactKind::Webhook => {
                let secret =
                    secret.and_then(|field| self.management().opener().open("contact", &job.contact, &field));
                self.by_webhook(lead, &address, secret, attempt, reference_headers)
                    .await
            }
            ContactKind::Email => self.by_mail(job.form, &job.says, &address).await,
            ContactKind::Telegram => self.by_telegram(job.form, &job.says, &address).await,
        };
        let took = self.clock().monotonic().saturating_sub(began);
        let position = self
            .conclude(&job.says, sent, took, repeated, job.form == Form::Overflow)
            .await;
        let Some(position) = position else { return };
        if let Err(error) = self.state().end_sending(&lead.id) {
            tracing::warn!(%error, "an attempt's end was not kept");
        }
        place.recorded();
        self.passed(position).await;
    }

    async fn drop_all(&self, job: &Job, code: &str) {
        let mut last = None;
        for due in &job.says {
            last = self
                .record_told(
                    &Attempt::of(std::slice::from_ref(due), code),
                    NOTIFICATION_DROPPED,
                )
                .await;
        }
        if let Some(position) = last {
            self.passed(position).await;
        }
    }

    /// Until the outbox knows of an outcome, its notification must not be looked at again.
    pub(super) async fn passed(&self, position: Position) {
        let mut stopping = self.stopping();
        while !self.projector().wait_for(position, PASS_WITHIN).await {
            if *stopping.borrow_and_update() {
                return;
            }
        }
    }

    async fn by_webhook(
        &self,
        due: &Due,
        url: &str,
        secret: Option<String>,
        attempt: u32,
        reference_headers: bool,
    ) -> Sent {
        let Some(secret) = secret.map(zeroize::Zeroizing::new) else {
            return Sent::Refused("no_secret".to_owned());
        };
        let now = self.clock().now();
        let id = format!("wh_{}", due.id.trim_start_matches("ntf_"));
        let body = self.body(due, &id, attempt, now).await;
        let (agent, url) = (self.notify().webhooks.clone(), url.to_owned());
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

    async fn by_telegram(&self, form: Form, says: &[Due], chat: &str) -> Sent {
        let Some(bot) = self.notify().bot().cloned() else {
            return Sent::Later("no_bot".to_owned(), None);
        };
        let dues: Vec<&Due> = says.iter().collect();
        let words = self.words(form, &dues).await;
        let button = words
            .acknowledge
            .as_ref()
            .map(|_| format!("{}.{}", self.notify().links().short(&says[0].id), says[0].event));
        let chat = chat.to_owned();
        let sent = tokio::task::spawn_blocking(move || {
            bot.send(
                &chat,
                &words.chat,
                button.as_deref(),
                words.acknowledge.as_deref(),
            )
        });
        sent.await
            .unwrap_or_else(|_| Sent::Later("task".to_owned(), None))
    }

    /// Says that it went out, or when it is tried again.
    async fn conclude(
        &self,
        says: &[Due],
        sent: Sent,
        took: Duration,
        repeated: bool,
        overflow: bool,
    ) -> Option<Position> {
        let mut attempt = Attempt::of(says, "");
        attempt.took = took;
        attempt.repeated = repeated;
        attempt.overflow = overflow;
        self.metrics().notified(says[0].via.as_str(), word_of(&sent));
        match sent {
            Sent::Taken(code, provider_id) => {
                attempt.code = code;
                attempt.provider_id = provider_id;
                self.record_told(&attempt, NOTIFICATION_SENT).await
            }
            Sent::Later(code, after) => {
                attempt.code = code;
                self.record_failure(attempt, after).await
            }
            Sent::Refused(code) => {
                attempt.code = code;
                self.record_dead(&attempt).await
            }
            Sent::Bounced(code) => {
                attempt.code.clone_from(&code);
                let position = self.record_dead(&attempt).await;
                let due = &says[0];
                let command = domain::aggregate::contact::ContactCommand::Bounce { code };
                let bounced = self
                    .management()
                    .contact_did(&due.account, &due.contact, "system", command)
                    .await;
                if let Err(error) = bounced {
                    tracing::warn!(%error, contact = due.contact, "that a contact bounces was not recorded");
                }
                position
            }
        }
    }
}

pub(super) const fn word_of(sent: &Sent) -> &'static str {
    match sent {
        Sent::Taken(..) => "sent",
        Sent::Refused(_) => "refused",
        Sent::Later(..) => "later",
        Sent::Bounced(_) => "bounced",
    }
}

/// When somebody is on duty.
enum OnDuty {
    /// In hours of its own.
    Own(Hours),
    /// By the site's opening hours.
    Site(SiteHours),
}

/// Who is on duty: hours by contact; weekday, minute and whether it is open by site.
struct Duty {
    hours: BTreeMap<String, OnDuty>,
    zones: BTreeMap<String, (u8, u16, Option<bool>)>,
}

impl Duty {
    fn is_on(&self, contact: &str, site: Option<&str>) -> bool {
        let hours = self.hours.get(contact);
        let local = site.and_then(|site| self.zones.get(site));
        match (hours, local) {
            (Some(OnDuty::Own(hours)), Some((weekday, minute, _))) => hours.on_duty(*weekday, *minute),
            (Some(OnDuty::Site(on)), Some((_, _, Some(is_open)))) => *is_open == (*on == SiteHours::Open),
            // Where nothing is said, or no zone is known, somebody is.
            _ => true,
        }
    }
}

/// The first that is due to somebody who is off duty, while somebody else who is told of it is on.
fn off_duty(rows: &ReadModel, duty: &Duty, due: &[Due]) -> Result<Option<Due>, QueryError> {
    for one in due {
        let site = one.site.as_deref();
        let opening = matches!(
            one.what.as_str(),
            "alarm_opened" | "alarm_escalated" | "alarm_reopened" | "device_offline"
        );
        if !opening || one.attempts > 0 || duty.is_on(&one.contact, site) {
            continue;
        }
        let others = rows.told_of(one.event)?;
        if others
            .iter()
            .any(|other| *other != one.contact && duty.is_on(other, site))
        {
            return Ok(Some(one.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_its_places_while_messages_are_sent_and_a_contact_until_the_outbox_knows() {
        let busy = Busy::default();
        let take = |contact: &str, account: &str| Place::take(&busy, contact, account);
        let mut places: Vec<Place> = (0..TASKS_OF_ACCOUNT_MAX)
            .map(|n| take(&format!("con_{n}"), "acc_a").expect("a place"))
            .collect();
        assert!(
            take("con_x", "acc_a").is_none(),
            "its account has as many as it may"
        );
        let others: Vec<Place> = (TASKS_OF_ACCOUNT_MAX..TASKS_MAX)
            .map(|n| take(&format!("con_b{n}"), &format!("acc_{n}")).expect("a place"))
            .collect();
        assert!(take("con_y", "acc_y").is_none(), "the way has as many as it may");
        places[0].recorded();
        let another = take("con_x", "acc_a").expect("the place of the one that is recorded");
        assert!(busy.held.lock().contains_key("con_0"), "it waits for the outbox");
        places.remove(0);
        assert!(!busy.held.lock().contains_key("con_0"));
        drop((another, places, others));
        assert!(busy.held.lock().is_empty());
    }
}
