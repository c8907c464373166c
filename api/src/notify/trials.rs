//! Trials of the whole way to a contact: an alarm that is marked as one, which it is expected to acknowledge.
//!
//! Invariants: a trial is of no channel, so it is in no figure of any and no replay looks for it; a contact has one a
//! round, also across restarts; only the contact that is tried, or the person behind it, answers it; one that was not
//! answered in time is closed as that and told to the others.
//! Source: REFERENCE (challenges). Not here: the message and its link (`words`), who is told (`projections::outbox`).

use crate::app::App;
use commands::sequencer::{EventGroup, RecordError};
use domain::Timestamp;
use domain::aggregate::contact::ContactState;
use domain::entry::NewEvent;
use domain::event::alarm::{AlarmRaised, Cause};
use domain::event::contact::ContactKind;
use domain::event::{AlarmClosed, EVENT_VERSION, Event, Metadata};
use domain::rule::Severity;
use domain::time::DAY_US;
use projections::query::Trial;

/// Who raises alarms of no channel, and ends them.
const ACTOR: &str = "system:notify";
const MINUTE_US: i64 = 60_000_000;

/// Which entry of an alarm's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raise {
    /// The first, once.
    First,
    /// The next.
    Behind,
}

impl App {
    /// Begins the trials that are due, each contact's once in so many days.
    pub(super) async fn try_who_is_due(&self) {
        let days = i64::from(self.settings().challenge_days);
        if days == 0 {
            return;
        }
        let now = self.clock().now();
        let round = now.as_micros().div_euclid(days * DAY_US) * days * DAY_US;
        let of = Timestamp::from_micros(round).unwrap_or_default();
        let until = now.plus_micros(i64::from(self.settings().challenge_minutes) * MINUTE_US);
        let wanted: Vec<(String, String)> = {
            let registry = self.registry().read();
            let wants = registry.contacts_anywhere().filter(|it| {
                it.state.preferences.challenge
                    && it.state.state == ContactState::Active
                    && it.state.kind.is_some_and(|kind| kind != ContactKind::Webhook)
            });
            wants
                .map(|it| (it.account.to_string(), it.id.to_string()))
                .collect()
        };
        for (account, contact) in wanted {
            let cause = Cause::Challenge { contact, until };
            let alarm = cause.alarm_id(&account, of);
            if self.management().knows_alarm(&alarm) {
                continue;
            }
            let raised = AlarmRaised {
                began_at: now,
                cause,
                severity: Severity::Alarm,
            };
            self.record_of_raised(Raise::First, &account, &alarm, Event::AlarmRaised(raised))
                .await;
        }
    }

    /// Ends the trials that were answered, or not in time.
    pub(super) async fn end_trials(&self) {
        let now = self.clock().now();
        let Ok(trials) = self.ask(|rows| rows.trials()).await else {
            return;
        };
        for trial in trials {
            let reason = match self.answered(&trial) {
                true => "answered",
                false if now >= trial.until => "unanswered",
                false => continue,
            };
            let closed = AlarmClosed {
                reason: reason.to_owned(),
                signature: None,
                text: None,
            };
            self.record_of_raised(
                Raise::Behind,
                &trial.account,
                &trial.alarm,
                Event::AlarmClosed(closed),
            )
            .await;
        }
    }

    fn answered(&self, trial: &Trial) -> bool {
        let registry = self.registry().read();
        let contact = registry.contact(&trial.account, &trial.contact);
        let person = contact.and_then(|it| it.state.user.as_deref());
        let by = trial.acknowledged_by.as_deref();
        by.is_some_and(|by| by == trial.contact || Some(by) == person)
    }

    /// Records an entry of an alarm of no channel, and waits until the outbox knows of it, so that the next look does
    /// not record it again. What cannot be recorded now is found again by the next look.
    pub(super) async fn record_of_raised(&self, which: Raise, account: &str, alarm: &str, event: Event) {
        let expected = match which {
            Raise::First => 0,
            Raise::Behind => self.sequencer().positions().count("alarm", alarm),
        };
        let metadata = Metadata {
            account: Some(account.to_owned()),
            actor: Some(ACTOR.to_owned()),
            owner: (which == Raise::First).then(|| account.to_owned()),
            ..Metadata::default()
        };
        let (Ok(payload), Ok(metadata)) = (event.payload(None), metadata.write()) else {
            return tracing::error!(alarm, "an entry of an alarm cannot be written");
        };
        let new = NewEvent {
            aggregate_type: event.aggregate_type().into(),
            aggregate_id: alarm.to_owned(),
            event_type: event.event_type().into(),
            event_version: EVENT_VERSION.into(),
            payload,
            metadata,
            salt: None,
        };
        let group = EventGroup {
            events: vec![(new, Some(expected))],
            ..EventGroup::default()
        };
        match self.sequencer().record(group).await {
            Ok(recorded) => {
                self.passed(domain::Position(recorded.positions.end.saturating_sub(1)))
                    .await
            }
            // Somebody else's entry came between: the next look sees it.
            Err(RecordError::Stale { .. }) => {}
            Err(error) => tracing::warn!(%error, alarm, "an alarm of no channel was not recorded"),
        }
    }
}
