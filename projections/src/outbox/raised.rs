//! Alarms of no channel: a way that fails, and trials of the way to one contact.
//!
//! Invariants: of a way that fails, those are told who are reached otherwise, and nobody waits for their turn; of a
//! trial, only the contact that is tried, and the others where it did not answer.
//! Not here: when they are raised (`api::notify`), whether a way works (`outcomes`).

use super::alarms::{OPENINGS, acknowledged_or_over};
use super::contacts::{self, Told};
use super::row::{About, Row};
use crate::error::ProjectionError;
use crate::world::Fact;
use domain::event::alarm::{AlarmRaised, Cause};
use domain::event::contact::ContactKind;
use domain::rule::Severity;
use rusqlite::{Connection, OptionalExtension, params};

/// An alarm of no channel, as it stands here.
pub(super) struct Raised {
    pub opened: i64,
    pub severity: Severity,
    /// The contact that is tried.
    pub tried: Option<String>,
}

pub(super) fn opened(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let raised: AlarmRaised =
        serde_json::from_value(fact.payload.clone()).map_err(|error| ProjectionError::Entry {
            position: fact.entry.position,
            reason: error.to_string(),
        })?;
    let id = fact.entry.aggregate_id;
    let position = fact.entry.position.get() as i64;
    let (tried, until) = match &raised.cause {
        Cause::Challenge { contact, until } => (Some(contact.clone()), Some(until.as_micros())),
        Cause::Path { .. } => (None, None),
    };
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO notified_alarms VALUES (?1, ?2, NULL, ?3, ?3, ?4, 0, ?5, ?6, 0)",
        )?
        .execute(params![
            id,
            account,
            position,
            raised.severity.as_str(),
            tried,
            until
        ])?;
    match &raised.cause {
        Cause::Path { via } => failed(connection, fact, account, *via, raised.began_at.as_micros()),
        Cause::Challenge { contact, .. } => {
            let contacts = contacts::of(connection, account)?;
            match contacts.iter().find(|told| told.id == *contact) {
                Some(told) => tell(connection, fact, account, told, position, "challenge"),
                None => Ok(()),
            }
        }
    }
}

fn failed(
    connection: &Connection,
    fact: &Fact<'_>,
    account: i64,
    failing: ContactKind,
    since: i64,
) -> Result<(), ProjectionError> {
    let now = fact.entry.recorded_at.as_micros();
    let failing = failing.as_str();
    connection
        .prepare_cached(
            "INSERT INTO notification_paths VALUES (?1, ?2, ?3, ?3, ?4)
             ON CONFLICT DO UPDATE SET raised_for = ?3, alarm = ?4",
        )?
        .execute((account, failing, since, fact.entry.aggregate_id))?;
    // Nobody waits for their turn; what a silence holds is held.
    connection
        .prepare_cached(&format!(
            "UPDATE notifications SET due_at = ?2, wanted_at = ?2
             WHERE account = ?1 AND state = 'due' AND attempts = 0 AND wanted_at > ?2 AND due_at = wanted_at
                 AND via <> ?3 AND {OPENINGS}"
        ))?
        .execute((account, now, failing))?;
    let opened = fact.entry.position.get() as i64;
    for told in contacts::of(connection, account)? {
        let wants = told.is_person() || told.wants("path_failed", &About::default(), Severity::Alarm);
        if told.via != failing && wants {
            tell(connection, fact, account, &told, opened, "path_failed")?;
        }
    }
    Ok(())
}

/// Follows an entry of an alarm of no channel that is there.
pub(super) fn changed(
    connection: &Connection,
    fact: &Fact<'_>,
    account: i64,
    alarm: &Raised,
) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let what = match fact.entry.event_type {
        "AlarmAcknowledged" => "alarm_ack",
        "AlarmCleared" => "alarm_cleared",
        "AlarmClosed" => "alarm_closed",
        "AlarmReopenedByPerson" => {
            connection
                .prepare_cached("UPDATE notified_alarms SET ended = 0 WHERE alarm = ?1")?
                .execute([id])?;
            return Ok(());
        }
        _ => return Ok(()),
    };
    acknowledged_or_over(connection, fact, what)?;
    if what != "alarm_ack" {
        connection
            .prepare_cached("UPDATE notification_paths SET alarm = NULL WHERE account = ?1 AND alarm = ?2")?
            .execute((account, id))?;
    }
    let unanswered = fact.text("reason") == Some("unanswered");
    for told in contacts::of(connection, account)? {
        let what = match &alarm.tried {
            Some(tried) if unanswered && *tried != told.id && told.is_person() => "challenge_failed",
            Some(_) => continue,
            None if told.is_person() => {
                let knows = connection
                    .prepare_cached("SELECT 1 FROM notifications WHERE alarm = ?1 AND contact = ?2")?
                    .exists((id, &told.id))?;
                if !knows || what == "alarm_ack" {
                    continue;
                }
                what
            }
            None if !told.wants(what, &About::default(), alarm.severity) => continue,
            None => what,
        };
        tell(connection, fact, account, &told, alarm.opened, what)?;
    }
    Ok(())
}

fn tell(
    connection: &Connection,
    fact: &Fact<'_>,
    account: i64,
    told: &Told,
    opened: i64,
    what: &str,
) -> Result<(), ProjectionError> {
    let row = Row {
        alarm: Some((fact.entry.aggregate_id, opened)),
        severity: Some(Severity::Alarm),
        ..Row::of(fact, account, &told.id, &told.via, what)
    };
    row.insert(connection)
}

/// An alarm of no channel; `None` where it is another's, or not there.
pub(super) fn find(connection: &Connection, alarm: &str) -> Result<Option<Raised>, ProjectionError> {
    Ok(connection
        .prepare_cached(
            "SELECT opened, severity, tried FROM notified_alarms WHERE alarm = ?1 AND channel IS NULL",
        )?
        .query_row([alarm], |row| {
            let severity: String = row.get(1)?;
            Ok(Raised {
                opened: row.get(0)?,
                severity: Severity::parse(&severity).unwrap_or_default(),
                tried: row.get(2)?,
            })
        })
        .optional()?)
}
