//! Whether a way works: one that fails for five minutes is told by the others; a dead-man ping says that we live.
//!
//! Invariants: a way is one of an account's; it fails while every attempt since some time was in vain and at least one
//! was made; that it fails is said once, and ends with the first message that is taken. A stop says nothing.
//! Source: REFERENCE (alarm dispatch paths failing for more than five minutes). Not here: who is told (`outbox`).

use super::Sent;
use super::guard;
use super::outcome::last_of;
use crate::app::{App, stop_begins};
use commands::handlers::Actor;
use commands::sequencer::EventGroup;
use domain::Timestamp;
use domain::aggregate::contact::ContactState;
use domain::canonical::Canonical;
use domain::entry::NewEvent;
use domain::event::contact::ContactKind;
use domain::event::notification::{
    NOTIFICATIONS, NotificationOutcome, PATH_FAILED, PATH_RESTORED, notification_id,
};
use domain::event::{EVENT_VERSION, Metadata};
use domain::time::DAY_US;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long a ping may take.
const PING_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked for challenges that are due.
const LOOK: Duration = Duration::from_secs(5);

/// How a way does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Path {
    /// Since when nothing was taken.
    pub failing_since: Option<Timestamp>,
    /// Whether that was said.
    pub told: bool,
}

impl App {
    /// Takes notice of an attempt.
    pub(super) async fn path_told(&self, via: ContactKind, account: &str, sent: &Sent) {
        let now = self.clock().now();
        let limit_us =
            i64::try_from(self.settings().notify_failing_s).unwrap_or(i64::MAX / 2_000_000) * 1_000_000;
        let (event, since) = {
            let mut paths = self.notify().paths.lock();
            let path = paths.entry((via, account.to_owned())).or_default();
            match sent {
                // A receiver that refuses is one that answers; webhooks are each a way of their own.
                Sent::Taken(..) | Sent::Refused(_) | Sent::Bounced(_) => {
                    let told = std::mem::take(path).told;
                    (told.then_some(PATH_RESTORED), now)
                }
                Sent::Later(..) => {
                    let since = *path.failing_since.get_or_insert(now);
                    let fails = via != ContactKind::Webhook && !path.told && now.since(since) >= limit_us;
                    path.told |= fails;
                    (fails.then_some(PATH_FAILED), since)
                }
            }
        };
        if let Some(event) = event {
            self.record_path(via, account, event, since).await;
        }
    }

    async fn record_path(&self, via: ContactKind, account: &str, event: &'static str, since: Timestamp) {
        tracing::warn!(
            via = via.as_str(),
            account,
            event,
            "a notification path changed its state"
        );
        let written = || -> Result<NewEvent, domain::canonical::CanonicalError> {
            Ok(NewEvent {
                aggregate_type: NOTIFICATIONS.into(),
                aggregate_id: account.to_owned(),
                event_type: event.into(),
                event_version: EVENT_VERSION.into(),
                payload: Canonical::of(&json!({"since": since, "via": via}))?,
                metadata: Metadata {
                    account: Some(account.to_owned()),
                    actor: Some("system:notify".to_owned()),
                    owner: Some(account.to_owned()),
                    ..Metadata::default()
                }
                .write()?,
                salt: None,
            })
        };
        let recorded = match written() {
            Ok(event) => {
                let group = EventGroup {
                    events: vec![(event, None)],
                    ..EventGroup::default()
                };
                self.sequencer()
                    .record(group)
                    .await
                    .map(|_| ())
                    .map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = recorded {
            tracing::warn!(error, "the state of a notification path was not recorded");
            let mut paths = self.notify().paths.lock();
            if let Some(path) = paths.get_mut(&(via, account.to_owned())) {
                // It is said with the next attempt.
                path.told = event == PATH_RESTORED;
            }
        }
    }
}

/// Pings and challenges, until the stop.
pub(super) async fn run(app: Arc<App>) {
    let mut stopping = app.stopping();
    let every = Duration::from_secs(app.settings().dead_man_s.max(1));
    let mut next_ping = Duration::ZERO;
    loop {
        let now = app.clock().monotonic();
        if now >= next_ping {
            app.ping().await;
            next_ping = now + every;
        }
        app.challenge_who_is_due().await;
        tokio::select! {
            () = tokio::time::sleep(LOOK.min(every)) => {}
            () = stop_begins(&mut stopping) => return,
        }
    }
}

impl App {
    /// Says to the outside that we live, where everything that alarms need does: the ledger takes entries and the read
    /// models keep up. Otherwise it says nothing, and whoever waits for it raises the alarm.
    async fn ping(&self) {
        let Some(url) = self.settings().dead_man_url.clone() else {
            return;
        };
        let lives = self.sequencer().status().writing == commands::sequencer::Writing::Yes
            && self.backlog().too_far().is_none()
            && self.projector().status().trouble.is_none();
        if !lives {
            return tracing::warn!("the dead-man ping is withheld");
        }
        let agent = guard::agent(guard::Targets::Any, PING_WITHIN);
        let pinged = tokio::task::spawn_blocking(move || match agent.get(&url).call() {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(answer.status().as_u16().to_string()),
            Err(error) => Some(guard::code_of(&error).to_owned()),
        });
        if let Ok(Some(code)) = pinged.await {
            tracing::warn!(code, "the dead-man ping did not arrive");
        }
    }

    /// Tries the alarm path of contacts that want it, each once in so many days.
    async fn challenge_who_is_due(&self) {
        let days = i64::from(self.settings().challenge_days);
        if days == 0 {
            return;
        }
        let day = self.clock().now().as_micros() / DAY_US;
        let wanted: Vec<(String, String, ContactKind, domain::Position)> = {
            let registry = self.registry().read();
            let wants = registry
                .contacts_anywhere()
                .filter(|it| it.state.preferences.challenge && it.state.state == ContactState::Active);
            wants
                .filter_map(|it| {
                    let kind = it.state.kind.filter(|kind| *kind != ContactKind::Webhook)?;
                    Some((
                        it.account.to_string(),
                        it.id.to_string(),
                        kind,
                        it.created.position,
                    ))
                })
                .collect()
        };
        for (account, contact, via, created) in wanted {
            let round = day / days;
            let id = notification_id(created, &contact, &format!("challenge {round}"));
            let (of, name) = (account.clone(), id.clone());
            match self.ask(move |rows| rows.notification(&of, &name)).await {
                Ok(None) => {}
                _ => continue,
            }
            let outcome = NotificationOutcome {
                attempt: 0,
                code: "challenge".to_owned(),
                contact,
                covers: Vec::new(),
                event: created,
                latency_ms: 0,
                took_ms: 0,
                notification: id,
                next_at: None,
                provider_id: None,
                repeated: false,
                via,
            };
            match self.requeue(&Actor::system("notify", &account), &outcome).await {
                Ok(recorded) => self.passed(last_of(&recorded)).await,
                Err(error) => tracing::warn!(%error, "a challenge was not recorded"),
            }
        }
    }
}
