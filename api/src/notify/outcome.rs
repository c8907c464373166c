//! What came of an attempt, as entries, and when it is tried again.
//!
//! Invariants: the entries of one message are recorded whole or not at all; what was sent is not given up on until it
//! is recorded or the service stops; after `ATTEMPTS_MAX` attempts a notification is dead, and can be asked for again.
//! Not here: what the outbox makes of them (`projections::outbox`).

use crate::app::App;
use crate::back_off;
use commands::handlers::Actor;
use commands::sequencer::{EventGroup, RecordError, Recorded};
use domain::canonical::{Canonical, CanonicalError};
use domain::entry::NewEvent;
use domain::event::notification::{
    ATTEMPTS_MAX, NOTIFICATION_DIGESTED, NOTIFICATION_DROPPED, NOTIFICATION_FAILED, NOTIFICATION_SENT,
    NOTIFICATIONS, NotificationOutcome,
};
use domain::event::{EVENT_VERSION, Metadata};
use domain::{Position, Timestamp};
use projections::outbox::plan::Due;
use std::time::Duration;

/// Between two tries to record what came of an attempt.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// An attempt and what came of it.
pub(super) struct Attempt<'a> {
    says: std::borrow::Cow<'a, [Due]>,
    pub code: String,
    pub provider_id: Option<String>,
    pub took: Duration,
    pub repeated: bool,
    pub overflow: bool,
    next_at: Option<Timestamp>,
}

impl<'a> Attempt<'a> {
    pub fn of(says: &'a [Due], code: &str) -> Self {
        Self {
            says: says.into(),
            code: code.to_owned(),
            provider_id: None,
            took: Duration::ZERO,
            repeated: false,
            overflow: false,
            next_at: None,
        }
    }

    fn outcome(&self, index: usize, now: Timestamp) -> NotificationOutcome {
        let due = &self.says[index];
        NotificationOutcome {
            attempt: due.attempts + 1,
            code: self.code.clone(),
            contact: due.contact.clone(),
            covers: Vec::new(),
            event: due.event,
            latency_ms: now.since(due.caused_at).max(0).unsigned_abs() / 1_000,
            took_ms: self.took.as_millis() as u64,
            notification: due.id.clone(),
            next_at: self.next_at,
            provider_id: self.provider_id.clone(),
            repeated: self.repeated,
            via: due.via,
        }
    }
}

impl App {
    /// Records an outcome of a message: of what it leads with, and that the others went out in it. The position of the
    /// last entry; `None` where the service stops before it could be recorded.
    pub(super) async fn record_told(
        &self,
        attempt: &Attempt<'_>,
        event_type: &'static str,
    ) -> Option<Position> {
        let now = self.clock().now();
        let mut outcomes = Vec::new();
        for index in 0..attempt.says.len() {
            let mut outcome = attempt.outcome(index, now);
            let mut of = event_type;
            if index == 0 {
                outcome.covers = attempt.says[1..].iter().map(|due| due.id.clone()).collect();
            }
            if index > 0 && event_type == NOTIFICATION_SENT {
                outcome.provider_id = Some(attempt.says[0].id.clone());
                of = NOTIFICATION_DIGESTED;
                if attempt.overflow {
                    outcome.code = "overflow".to_owned();
                    of = NOTIFICATION_DROPPED;
                }
            }
            outcomes.push((of, outcome));
        }
        self.record_outcomes(&attempt.says[0].account, &outcomes).await
    }

    /// It did not work: when it is tried again, or that it is not.
    pub(super) async fn record_failure(
        &self,
        mut attempt: Attempt<'_>,
        after: Option<Duration>,
    ) -> Option<Position> {
        let failed = attempt.says[0].attempts + 1;
        if failed >= ATTEMPTS_MAX {
            return self.record_dead(&attempt).await;
        }
        let wait = after.unwrap_or_default().max(self.retry_after(failed));
        let wait_us = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 4);
        attempt.next_at = Some(self.clock().now().plus_micros(wait_us));
        // What would have gone out in the same message waits for itself.
        attempt.says = attempt.says[..1].to_vec().into();
        self.record_told(&attempt, NOTIFICATION_FAILED).await
    }

    /// It is not tried again.
    pub(super) async fn record_dead(&self, attempt: &Attempt<'_>) -> Option<Position> {
        self.record_told(attempt, NOTIFICATION_FAILED).await
    }

    /// Up to a fifth more than the pause, so that many do not come at once.
    pub(super) fn retry_after(&self, failed: u32) -> Duration {
        let first = Duration::from_secs(self.settings().notify_retry_s.max(1));
        let wait = back_off::pause(first, failed.saturating_sub(1));
        let mut random = [0u8; 1];
        self.entropy().fill(&mut random);
        wait + wait / 5 * u32::from(random[0]) / 255
    }

    async fn record_outcomes(
        &self,
        account: &str,
        outcomes: &[(&'static str, NotificationOutcome)],
    ) -> Option<Position> {
        let events: Result<Vec<_>, CanonicalError> = outcomes
            .iter()
            .map(|(event_type, outcome)| Ok((new_event(account, event_type, outcome)?, None)))
            .collect();
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                tracing::error!(%error, "an outcome cannot be written");
                return None;
            }
        };
        let mut stopping = self.stopping();
        loop {
            let group = EventGroup {
                events: events.clone(),
                ..EventGroup::default()
            };
            match self.sequencer().record(group).await {
                Ok(recorded) => return Some(Position(recorded.positions.end.saturating_sub(1))),
                Err(RecordError::Unavailable { code: "stopping", .. }) => return None,
                Err(error) => {
                    tracing::warn!(%error, "what came of a notification was not recorded");
                    if *stopping.borrow_and_update() {
                        return None;
                    }
                    tokio::time::sleep(RECORD_AGAIN).await;
                }
            }
        }
    }

    /// Asks for a notification to be sent again, or for a new one that says `code`. The same request with the same
    /// idempotency key asks once.
    ///
    /// # Errors
    /// As recording.
    pub async fn requeue(
        &self,
        actor: &Actor,
        outcome: &NotificationOutcome,
    ) -> Result<Recorded, RecordError> {
        let mut event = new_event(
            &actor.account,
            domain::event::notification::NOTIFICATION_REQUEUED,
            outcome,
        )
        .map_err(|error| RecordError::TooLarge(error.to_string()))?;
        let metadata = Metadata {
            owner: Some(actor.account.clone()),
            ..actor.metadata(None)
        };
        event.metadata = metadata
            .write()
            .map_err(|error| RecordError::TooLarge(error.to_string()))?;
        let group = EventGroup {
            events: vec![(event, None)],
            idempotency: actor.idempotency,
            ..EventGroup::default()
        };
        self.sequencer().record(group).await
    }
}

/// The last position of what was recorded.
pub fn last_of(recorded: &Recorded) -> Position {
    Position(recorded.positions.end.saturating_sub(1))
}

fn metadata(account: &str, actor: &str) -> Metadata {
    Metadata {
        account: Some(account.to_owned()),
        actor: Some(actor.to_owned()),
        owner: Some(account.to_owned()),
        ..Metadata::default()
    }
}

fn new_event(
    account: &str,
    event_type: &'static str,
    outcome: &NotificationOutcome,
) -> Result<NewEvent, CanonicalError> {
    let mut metadata = metadata(account, "system:notify");
    metadata.causation_id = Some(outcome.event);
    Ok(NewEvent {
        aggregate_type: NOTIFICATIONS.into(),
        aggregate_id: outcome.contact.clone(),
        event_type: event_type.into(),
        event_version: EVENT_VERSION.into(),
        payload: Canonical::from_serialize(outcome)?,
        metadata: metadata.write()?,
        salt: None,
    })
}
