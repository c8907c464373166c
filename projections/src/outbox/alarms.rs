//! Alarms of channels: who is told that they open, get worse, are seen and end, and who is not any more.
//!
//! Invariants: what gets worse makes nobody wait anew; what is of the past, or was found late, is told only where it is
//! still open a little later; an end is told to whoever was told of the beginning.
//! Not here: silences (`silences`), alarms of no channel (`raised`).

use super::contacts;
use super::raised;
use super::row::{About, Row};
use crate::error::ProjectionError;
use crate::world::Fact;
use domain::Timestamp;
use domain::event::contact::ChannelNotifications;
use domain::rule::Severity;
use rusqlite::{Connection, OptionalExtension, params};

/// What was decided longer than this before it was recorded is of the past: the rules are catching up, perhaps with years.
pub const CATCHING_UP_US: i64 = 10 * 60 * 1_000_000;
/// How long a person is not told of an alarm of the past: where it is over, its end is recorded by then, and nobody is
/// told of either.
pub const PAST_HOLD_US: i64 = 60 * 1_000_000;
/// The same for one that was found in readings that came late: its end, where they hold it, was decided with it and is
/// recorded with it or right behind it.
pub const LATE_HOLD_US: i64 = 10 * 1_000_000;

/// What is said of an alarm's beginning.
pub(super) const OPENINGS: &str = "what IN ('alarm_opened', 'alarm_escalated', 'alarm_reopened')";

/// An alarm as it stands here.
struct Alarm {
    channel: String,
    opened: i64,
    since: i64,
    severity: Severity,
    absence: bool,
}

pub(super) fn apply(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let position = fact.entry.position.get() as i64;
    match fact.entry.event_type {
        "AlarmRaised" => return raised::opened(connection, fact, account),
        "AlarmOpened" => {
            let Some(channel) = fact.text("channel") else {
                return Ok(());
            };
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO notified_alarms VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, NULL, NULL, 0)",
                )?
                .execute(params![
                    id,
                    account,
                    channel,
                    position,
                    fact.text("severity").unwrap_or("alarm"),
                    fact.text("kind") == Some("absence"),
                ])?;
        }
        "AlarmReopened" | "AlarmReopenedByPerson" => {
            connection
                .prepare_cached("UPDATE notified_alarms SET since = ?2, ended = 0 WHERE alarm = ?1")?
                .execute((id, position))?;
        }
        _ => {}
    }
    let Some(mut alarm) = find(connection, id)? else {
        return match raised::find(connection, id)? {
            Some(alarm) => raised::changed(connection, fact, account, &alarm),
            None => Ok(()),
        };
    };
    match fact.entry.event_type {
        "AlarmOpened" => tell_of(connection, fact, account, &alarm, "alarm_opened"),
        "AlarmReopened" | "AlarmReopenedByPerson" => {
            tell_of(connection, fact, account, &alarm, "alarm_reopened")
        }
        "AlarmEscalated" => {
            let severity = fact.payload["severity"]["new"].as_str().unwrap_or("alarm");
            alarm.severity = Severity::parse(severity).unwrap_or_default();
            connection
                .prepare_cached("UPDATE notified_alarms SET severity = ?2 WHERE alarm = ?1")?
                .execute((id, severity))?;
            tell_of(connection, fact, account, &alarm, "alarm_escalated")?;
            // What is worse now is said once.
            connection
                .prepare_cached(
                    "UPDATE notifications SET state = 'cancelled'
                     WHERE alarm = ?1 AND state = 'due' AND attempts = 0 AND due_at > ?2
                         AND what IN ('alarm_opened', 'alarm_reopened')",
                )?
                .execute((id, fact.entry.recorded_at.as_micros()))?;
            Ok(())
        }
        "AlarmAcknowledged" => {
            acknowledged_or_over(connection, fact, "alarm_ack")?;
            tell_machines(connection, fact, account, &alarm, "alarm_ack")
        }
        "AlarmCleared" | "AlarmClosed" => {
            let what = match fact.entry.event_type {
                "AlarmCleared" => "alarm_cleared",
                _ => "alarm_closed",
            };
            acknowledged_or_over(connection, fact, what)?;
            tell_who_knows(connection, fact, account, &alarm, what)
        }
        _ => Ok(()),
    }
}

fn find(connection: &Connection, id: &str) -> Result<Option<Alarm>, ProjectionError> {
    Ok(connection
        .prepare_cached(
            "SELECT channel, opened, since, severity, absence FROM notified_alarms
             WHERE alarm = ?1 AND channel IS NOT NULL",
        )?
        .query_row([id], |row| {
            let severity: String = row.get(3)?;
            Ok(Alarm {
                channel: row.get(0)?,
                opened: row.get(1)?,
                since: row.get(2)?,
                severity: Severity::parse(&severity).unwrap_or_default(),
                absence: row.get(4)?,
            })
        })
        .optional()?)
}

/// Whoever would have been told later of its opening is not; who is being told now is told, and so is who would have
/// been but for a silence.
pub(super) fn acknowledged_or_over(
    connection: &Connection,
    fact: &Fact<'_>,
    what: &str,
) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    if what != "alarm_ack" {
        connection
            .prepare_cached("UPDATE notified_alarms SET ended = 1 WHERE alarm = ?1")?
            .execute([id])?;
    }
    connection
        .prepare_cached(&format!(
            "UPDATE notifications SET state = 'cancelled'
             WHERE alarm = ?1 AND state = 'due' AND attempts = 0 AND wanted_at > ?2 AND {OPENINGS}"
        ))?
        .execute((id, fact.entry.recorded_at.as_micros()))?;
    Ok(())
}

fn tell_of(
    connection: &Connection,
    fact: &Fact<'_>,
    account: i64,
    alarm: &Alarm,
    what: &'static str,
) -> Result<(), ProjectionError> {
    let about = About::channel(connection, &alarm.channel)?;
    let now = fact.entry.recorded_at.as_micros();
    let hold = hold_us(fact);
    let route = channel_route(connection, &alarm.channel)?;
    for told in contacts::of(connection, account)? {
        let routed = told.via != "telegram" || route.telegram.is_empty() || route.telegram.contains(&told.id);
        if !routed || !told.wants(what, &about, alarm.severity) {
            continue;
        }
        let mut wanted_at = now + told.after_us();
        if told.is_person() {
            // Who waits already for the same alarm does not begin to wait anew.
            let waits = first_wanted(connection, fact.entry.aggregate_id, &told.id, alarm.since)?;
            wanted_at = waits.map_or(wanted_at, |first| wanted_at.min(first.max(now)));
            wanted_at = wanted_at.max(now + hold);
        }
        let row = Row {
            alarm: Some((fact.entry.aggregate_id, alarm.opened)),
            about: about.clone(),
            severity: Some(alarm.severity),
            absence: alarm.absence,
            wanted_at,
            ..Row::of(fact, account, &told.id, &told.via, what)
        };
        row.insert(connection)?;
    }
    Ok(())
}

/// When a contact was to be told of an alarm since it opened last, where nobody called it off.
fn first_wanted(
    connection: &Connection,
    alarm: &str,
    contact: &str,
    since: i64,
) -> Result<Option<i64>, ProjectionError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT min(wanted_at) FROM notifications
             WHERE alarm = ?1 AND contact = ?2 AND event >= ?3 AND state NOT IN ('cancelled', 'dropped') AND {OPENINGS}"
        ))?
        .query_row((alarm, contact, since), |row| row.get(0))?)
}

/// How long people are not told, because it may be over.
fn hold_us(fact: &Fact<'_>) -> i64 {
    let decided = fact.text("decided_at").map(Timestamp::parse_rfc3339);
    let decided = decided.and_then(Result::ok);
    match decided {
        Some(at) if fact.entry.recorded_at.since(at) > CATCHING_UP_US => PAST_HOLD_US,
        _ if fact.payload["late"] == true => LATE_HOLD_US,
        _ => 0,
    }
}

fn channel_route(connection: &Connection, channel: &str) -> Result<ChannelNotifications, ProjectionError> {
    let found: Option<String> = connection
        .prepare_cached("SELECT notifications FROM notification_routes WHERE subject = ?1")?
        .query_row([channel], |row| row.get(0))
        .optional()?;
    Ok(found
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default())
}

fn tell_machines(
    connection: &Connection,
    fact: &Fact<'_>,
    account: i64,
    alarm: &Alarm,
    what: &'static str,
) -> Result<(), ProjectionError> {
    let about = About::channel(connection, &alarm.channel)?;
    for told in contacts::of(connection, account)? {
        if told.is_person() || !told.wants(what, &about, alarm.severity) {
            continue;
        }
        let row = Row {
            alarm: Some((fact.entry.aggregate_id, alarm.opened)),
            about: about.clone(),
            severity: Some(alarm.severity),
            ..Row::of(fact, account, &told.id, &told.via, what)
        };
        row.insert(connection)?;
    }
    Ok(())
}

/// People who were told of an alarm's opening are told of its end; machines are told anyway.
fn tell_who_knows(
    connection: &Connection,
    fact: &Fact<'_>,
    account: i64,
    alarm: &Alarm,
    what: &'static str,
) -> Result<(), ProjectionError> {
    tell_machines(connection, fact, account, alarm, what)?;
    let about = About::channel(connection, &alarm.channel)?;
    let now = fact.entry.recorded_at.as_micros();
    for told in contacts::of(connection, account)? {
        let knows = connection
            .prepare_cached(
                "SELECT 1 FROM notifications WHERE alarm = ?1 AND contact = ?2 AND (state IN ('sent', 'digested', 'dead')
                     OR state = 'due' AND (attempts > 0 OR due_at <= ?3))",
            )?
            .exists((fact.entry.aggregate_id, &told.id, now))?;
        if !told.is_person() || !knows {
            continue;
        }
        let row = Row {
            alarm: Some((fact.entry.aggregate_id, alarm.opened)),
            about: about.clone(),
            severity: Some(alarm.severity),
            ..Row::of(fact, account, &told.id, &told.via, what)
        };
        row.insert(connection)?;
    }
    Ok(())
}
