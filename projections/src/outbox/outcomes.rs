//! What came of attempts, and whether a way of an account works.
//!
//! Invariants: a way fails while every attempt since some time was in vain and at least one was made, which is known
//! from the ledger alone, also after a restart; a receiver that refuses is one that answers. Webhooks are each a way
//! of their own, and none here.
//! Not here: the alarm about a way (`raised`), when it is tried again (`api`).

use super::row::Row;
use super::silences;
use crate::error::ProjectionError;
use crate::world::Fact;
use domain::event::contact::ContactKind;
use domain::event::notification::{
    ATTEMPTS_MAX, NOTIFICATION_DIGESTED, NOTIFICATION_DROPPED, NOTIFICATION_FAILED, NOTIFICATION_REQUEUED,
    NOTIFICATION_SENT, NotificationOutcome,
};
use rusqlite::{Connection, OptionalExtension, params};

/// Whether an entry has the members of an outcome.
pub(super) fn is_outcome(event_type: &str) -> bool {
    matches!(
        event_type,
        NOTIFICATION_SENT
            | NOTIFICATION_FAILED
            | NOTIFICATION_DROPPED
            | NOTIFICATION_DIGESTED
            | NOTIFICATION_REQUEUED
    )
}

pub(super) fn apply(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let outcome: NotificationOutcome =
        serde_json::from_value(fact.payload.clone()).map_err(|error| ProjectionError::Entry {
            position: fact.entry.position,
            reason: error.to_string(),
        })?;
    let now = fact.entry.recorded_at.as_micros();
    let next = outcome.next_at.map(domain::Timestamp::as_micros);
    let id = outcome.notification.as_str();
    let set = |state: &str| -> Result<usize, ProjectionError> {
        Ok(connection
            .prepare_cached(
                "UPDATE notifications SET state = ?2, attempts = max(attempts, ?3), done_at = ?4 WHERE id = ?1",
            )?
            .execute(params![id, state, outcome.attempt, now])?)
    };
    match (fact.entry.event_type, next) {
        (NOTIFICATION_SENT, _) => set("sent")?,
        (NOTIFICATION_DIGESTED, _) => set("digested")?,
        // It was said, if only in a summary.
        (NOTIFICATION_DROPPED, _) if outcome.code == "overflow" => set("digested")?,
        (NOTIFICATION_DROPPED, _) => set("dropped")?,
        (NOTIFICATION_FAILED, Some(next)) => {
            set("due")?;
            again_at(connection, id, next)?;
            0
        }
        (NOTIFICATION_FAILED, None) => set("dead")?,
        (NOTIFICATION_REQUEUED, _) => {
            let again = connection
                .prepare_cached(
                    "UPDATE notifications SET state = 'due', attempts = 0, due_at = ?2, wanted_at = ?2 WHERE id = ?1",
                )?
                .execute((id, now))?;
            if again == 0 {
                let row = Row::of(
                    fact,
                    account,
                    &outcome.contact,
                    outcome.via.as_str(),
                    &outcome.code,
                );
                row.insert_as(connection, id)?;
            }
            0
        }
        _ => 0,
    };
    way(connection, fact, account, &outcome)?;
    keep(connection, fact, account, &outcome)
}

/// It is tried again then, or when the silence is over that holds then.
fn again_at(connection: &Connection, id: &str, next: i64) -> Result<(), ProjectionError> {
    let channel: Option<String> = connection
        .prepare_cached(
            "SELECT channel FROM notifications WHERE id = ?1 AND alarm IS NOT NULL AND via <> 'webhook'",
        )?
        .query_row([id], |row| row.get(0))
        .optional()?
        .flatten();
    let held = match &channel {
        Some(channel) => silences::held_until(connection, channel, next)?,
        None => None,
    };
    connection
        .prepare_cached("UPDATE notifications SET due_at = ?2, wanted_at = ?3 WHERE id = ?1")?
        .execute((id, held.unwrap_or(next), next))?;
    Ok(())
}

/// What an outcome says of its way.
fn way(
    connection: &Connection,
    fact: &Fact<'_>,
    account: i64,
    outcome: &NotificationOutcome,
) -> Result<(), ProjectionError> {
    let answered = match fact.entry.event_type {
        NOTIFICATION_SENT => true,
        NOTIFICATION_FAILED => outcome.next_at.is_none() && outcome.attempt < ATTEMPTS_MAX,
        _ => return Ok(()),
    };
    if outcome.via == ContactKind::Webhook {
        return Ok(());
    }
    let sql = match answered {
        true => {
            "UPDATE notification_paths SET failing_since = NULL WHERE account = ?1 AND via = ?2 AND ?3 > 0"
        }
        false => {
            "INSERT INTO notification_paths (account, via, failing_since) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET failing_since = coalesce(failing_since, ?3)"
        }
    };
    connection.prepare_cached(sql)?.execute(params![
        account,
        outcome.via.as_str(),
        fact.entry.recorded_at.as_micros()
    ])?;
    Ok(())
}

fn keep(
    connection: &Connection,
    fact: &Fact<'_>,
    account: i64,
    outcome: &NotificationOutcome,
) -> Result<(), ProjectionError> {
    connection
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO outbound
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, {SAID}, n.alarm, n.channel, n.site, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15
             FROM (SELECT 1) LEFT JOIN notifications n ON n.id = ?5"
        ))?
        .execute(params![
            fact.entry.position.get() as i64,
            fact.entry.recorded_at.as_micros(),
            account,
            fact.entry.event_type,
            outcome.notification,
            outcome.contact,
            outcome.via.as_str(),
            outcome.event.get() as i64,
            outcome.attempt,
            outcome.code,
            outcome.provider_id,
            outcome.latency_ms as i64,
            outcome.took_ms as i64,
            outcome.repeated,
            outcome.next_at.map(domain::Timestamp::as_micros),
        ])?;
    Ok(())
}

/// What a notification says: an opening that a silence held back says that it was.
pub(crate) const SAID: &str =
    "CASE WHEN n.due_at > n.wanted_at AND n.what IN ('alarm_opened', 'alarm_escalated', 'alarm_reopened')
     THEN 'alarm_silenced' ELSE n.what END";
