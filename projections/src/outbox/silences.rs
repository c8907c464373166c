//! What silences hold back, and until when.
//!
//! Invariants: a message about a channel's alarms is due when no silence of the channel holds any more, whichever began
//! or ended first; a silence that was ended before it began is told to nobody, and its end never before its beginning.
//! Source: REFERENCE §1.4. Not here: whether a channel was silenced, as pages say it (`domain::registry`), which is
//! decided by the same function.

use super::contacts;
use super::row::{About, Row};
use crate::error::ProjectionError;
use crate::world::Fact;
use domain::Timestamp;
use domain::aggregate::silence::silent_until;
use domain::rule::Severity;
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn apply(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let time = |member: &str| {
        let text = fact.text(member)?;
        Some(Timestamp::parse_rfc3339(text).ok()?.as_micros())
    };
    if fact.entry.event_type == "SilenceEnded" {
        return ended(connection, fact, time("at"));
    }
    let (Some(channel), Some(from), Some(to)) = (fact.text("channel"), time("from"), time("to")) else {
        return Ok(());
    };
    let now = fact.entry.recorded_at.as_micros();
    connection
        .prepare_cached("INSERT OR REPLACE INTO notified_silences VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            fact.entry.aggregate_id,
            channel,
            fact.entry.position.get() as i64,
            from,
            to
        ])?;
    hold_again(connection, channel, now)?;
    let about = About::channel(connection, channel)?;
    for told in contacts::of(connection, account)? {
        for (what, wanted_at) in [("silence_opened", from.max(now)), ("silence_closed", to)] {
            if told.is_person() || !told.wants(what, &about, Severity::Alarm) {
                continue;
            }
            let row = Row {
                about: about.clone(),
                wanted_at,
                ..Row::of(fact, account, &told.id, &told.via, what)
            };
            row.insert(connection)?;
        }
    }
    Ok(())
}

fn ended(connection: &Connection, fact: &Fact<'_>, at: Option<i64>) -> Result<(), ProjectionError> {
    let now = fact.entry.recorded_at.as_micros();
    let at = at.unwrap_or(now);
    let silence: Option<(String, i64, i64)> = connection
        .prepare_cached(
            "UPDATE notified_silences SET to_at = min(to_at, ?2) WHERE silence = ?1 RETURNING channel, opened, from_at",
        )?
        .query_row((fact.entry.aggregate_id, at), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((channel, opened, from)) = silence else {
        return Ok(());
    };
    if at < from {
        connection
            .prepare_cached(
                "UPDATE notifications SET state = 'cancelled' WHERE event = ?1 AND state = 'due'
                     AND what IN ('silence_opened', 'silence_closed')",
            )?
            .execute([opened])?;
    } else {
        connection
            .prepare_cached(
                "UPDATE notifications SET due_at = min(due_at, ?2), wanted_at = min(wanted_at, ?2)
                 WHERE event = ?1 AND state = 'due' AND what = 'silence_closed'",
            )?
            .execute((opened, at))?;
    }
    hold_again(connection, &channel, now)
}

/// Looks at every message about a channel's alarms that still waits: is it held, and until when?
fn hold_again(connection: &Connection, channel: &str, now: i64) -> Result<(), ProjectionError> {
    let waiting: Vec<(String, i64, i64)> = connection
        .prepare_cached(
            "SELECT id, wanted_at, due_at FROM notifications
             WHERE channel = ?1 AND state = 'due' AND alarm IS NOT NULL AND via <> 'webhook' ORDER BY id",
        )?
        .query_map([channel], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, wanted_at, due_at) in waiting {
        let is_held = due_at > wanted_at.max(now);
        let from = wanted_at.max(now);
        let due_at = match held_until(connection, channel, from)? {
            Some(until) => until,
            None if is_held => from,
            None => due_at,
        };
        connection
            .prepare_cached("UPDATE notifications SET due_at = ?2 WHERE id = ?1")?
            .execute((id, due_at))?;
    }
    Ok(())
}

/// Until when a message about a channel's alarms is held that wants to go at a time; `None` where nothing holds it.
pub(super) fn held_until(
    connection: &Connection,
    channel: &str,
    at: i64,
) -> Result<Option<i64>, ProjectionError> {
    let mut statement = connection.prepare_cached(
        "SELECT from_at, to_at FROM notified_silences WHERE channel = ?1 AND to_at > ?2 AND from_at < to_at",
    )?;
    let time = |us: i64| Timestamp::from_micros(us).unwrap_or_default();
    let silences: Vec<(Timestamp, Timestamp)> = statement
        .query_map((channel, at), |row| Ok((time(row.get(0)?), time(row.get(1)?))))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(silent_until(silences.into_iter(), time(at)).map(Timestamp::as_micros))
}
