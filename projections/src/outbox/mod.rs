//! The outbox: whom to tell what, when, and what came of it.
//!
//! Derived. Invariants: a notification's id follows from the entry that caused it, so a rebuild gives the same rows; one
//! whose outcome is recorded is never due again, unless somebody asked for it; an alarm that was acknowledged or ended
//! tells nobody else of its opening; who is silenced is told when the silence is over.
//! Nothing here sends or looks at a clock: `due_at` is a value, and whoever sends says what time it is.
//! Source: REFERENCE §4, docs/notifications.md. Not here: how many messages at once (`plan`), words (`api`).

pub mod plan;

use crate::error::ProjectionError;
use crate::world::Fact;
use domain::day::DAY_CLOSED;
use domain::event::contact::{ChannelNotifications, Preferences};
use domain::event::notification::{
    NOTIFICATION_ACKNOWLEDGED, NOTIFICATION_DIGESTED, NOTIFICATION_DROPPED, NOTIFICATION_FAILED,
    NOTIFICATION_REQUEUED, NOTIFICATION_SENT, NOTIFICATIONS, NotificationOutcome, PATH_FAILED,
    notification_id,
};
use domain::rule::Severity;
use domain::time::DAY_US;
use rusqlite::{Connection, OptionalExtension, params};

/// How long a device that fell silent is waited for before anybody is told: the others of its site fall silent by then,
/// where the site did.
pub const OFFLINE_HOLD_US: i64 = 60 * 1_000_000;
/// What was decided longer than this before it was recorded is of the past: the rules are catching up, perhaps with years.
pub const CATCHING_UP_US: i64 = 10 * 60 * 1_000_000;
/// How long a person is not told of an alarm of the past: where it is over, its end is recorded by then, and nobody is
/// told of either.
pub const PAST_HOLD_US: i64 = 60 * 1_000_000;
/// How long what was sent is kept (REFERENCE §8).
pub const OUTBOUND_DAYS: i64 = 90;
/// How long the day's head has to be signed before the daily digest carries it.
const HEAD_HOLD_US: i64 = 60 * 1_000_000;

/// Follows one entry.
pub(crate) fn apply(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let Some(account) = fact.account else {
        return match fact.entry.event_type {
            DAY_CLOSED => day(connection, fact),
            _ => Ok(()),
        };
    };
    match fact.entry.aggregate_type {
        "contact" => contact(connection, fact, account),
        "channel" | "site" => route(connection, fact),
        "alarm" => alarm(connection, fact, account),
        "silence" => silence(connection, fact, account),
        "state" if fact.entry.event_type == "DeviceStateChanged" => device(connection, fact, account),
        NOTIFICATIONS if fact.entry.event_type == PATH_FAILED => path_failed(connection, fact, account),
        NOTIFICATIONS if is_outcome(fact.entry.event_type) => outcome(connection, fact, account),
        _ => Ok(()),
    }
}

/// Whether an entry has the members of an outcome.
fn is_outcome(event_type: &str) -> bool {
    matches!(
        event_type,
        NOTIFICATION_SENT
            | NOTIFICATION_FAILED
            | NOTIFICATION_DROPPED
            | NOTIFICATION_DIGESTED
            | NOTIFICATION_REQUEUED
            | NOTIFICATION_ACKNOWLEDGED
    )
}

fn contact(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let state = |state: &str| -> Result<(), ProjectionError> {
        connection
            .prepare_cached("UPDATE contacts SET state = ?2 WHERE id = ?1")?
            .execute((id, state))?;
        Ok(())
    };
    match fact.entry.event_type {
        "ContactAdded" => {
            let via = fact.text("kind").unwrap_or_default();
            let first = if via == "webhook" { "active" } else { "pending" };
            connection
                .prepare_cached("INSERT OR REPLACE INTO contacts VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    id,
                    account,
                    via,
                    first,
                    fact.payload["preferences"].to_string()
                ])?;
            if via == "email" {
                let row = Row::of(fact, account, id, via, "confirm");
                row.insert(connection)?;
            }
            Ok(())
        }
        "ContactChanged" => {
            connection
                .prepare_cached("UPDATE contacts SET preferences = ?2 WHERE id = ?1")?
                .execute(params![id, fact.payload["preferences"]["new"].to_string()])?;
            Ok(())
        }
        "ContactConfirmed" | "ContactLinked" => state("active"),
        "ContactUnsubscribed" | "ContactBounced" | "ContactRemoved" => {
            state(match fact.entry.event_type {
                "ContactUnsubscribed" => "unsubscribed",
                "ContactBounced" => "bouncing",
                _ => "removed",
            })?;
            connection
                .prepare_cached(
                    "UPDATE notifications SET state = 'cancelled' WHERE contact = ?1 AND state = 'due'",
                )?
                .execute([id])?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn route(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    if matches!(
        fact.entry.event_type,
        "ChannelNotificationsSet" | "SiteNotificationsSet"
    ) {
        connection
            .prepare_cached("INSERT OR REPLACE INTO notification_routes VALUES (?1, ?2)")?
            .execute(params![
                fact.entry.aggregate_id,
                fact.payload["notifications"]["new"].to_string()
            ])?;
    }
    Ok(())
}

/// What a notification is about: the chain above a channel or device, as it stands after this entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct About {
    channel: Option<String>,
    device: Option<String>,
    site: Option<String>,
}

impl About {
    fn channel(connection: &Connection, channel: &str) -> Result<Self, ProjectionError> {
        let found = connection
            .prepare_cached(
                "SELECT d.id, d.site FROM channels c JOIN devices d ON d.key = c.device WHERE c.id = ?1",
            )?
            .query_row([channel], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (device, site) = found.unwrap_or_default();
        Ok(Self {
            channel: Some(channel.to_owned()),
            device,
            site,
        })
    }

    fn device(connection: &Connection, device: &str) -> Result<Self, ProjectionError> {
        let site = connection
            .prepare_cached("SELECT site FROM devices WHERE id = ?1")?
            .query_row([device], |row| row.get(0))
            .optional()?;
        Ok(Self {
            channel: None,
            device: Some(device.to_owned()),
            site: site.flatten(),
        })
    }

    fn is_within(&self, scope: &[String]) -> bool {
        let one = |id: &Option<String>| id.as_ref().is_some_and(|id| scope.contains(id));
        scope.is_empty() || one(&self.channel) || one(&self.device) || one(&self.site)
    }
}

/// A contact that may be told.
struct Told {
    id: String,
    via: String,
    preferences: Preferences,
}

fn contacts(connection: &Connection, account: i64) -> Result<Vec<Told>, ProjectionError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, via, preferences FROM contacts WHERE account = ?1 AND state = 'active' ORDER BY id",
    )?;
    let told = statement.query_map([account], |row| {
        let preferences: String = row.get(2)?;
        Ok(Told {
            id: row.get(0)?,
            via: row.get(1)?,
            // What does not read is of a newer version; whoever it is of is told of everything.
            preferences: serde_json::from_str(&preferences).unwrap_or_default(),
        })
    })?;
    Ok(told.collect::<rusqlite::Result<_>>()?)
}

impl Told {
    fn wants(&self, what: &str, about: &About, severity: Severity) -> bool {
        let kinds = &self.preferences.kinds;
        let kind = reference_kind(what);
        self.preferences.min_severity.0 <= severity
            && about.is_within(&self.preferences.scope)
            && (self.via != "webhook" || kinds.is_empty() || kinds.iter().any(|k| k == kind))
    }

    fn is_person(&self) -> bool {
        self.via != "webhook"
    }
}

/// The reference product's name of what a notification says.
pub fn reference_kind(what: &str) -> &str {
    match what {
        "alarm_escalated" | "alarm_reopened" => "alarm_opened",
        "alarm_closed" => "alarm_cleared",
        other => other,
    }
}

/// A notification to be.
struct Row<'a> {
    fact: &'a Fact<'a>,
    account: i64,
    contact: &'a str,
    via: &'a str,
    what: &'a str,
    alarm: Option<(&'a str, i64)>,
    about: About,
    severity: Option<Severity>,
    absence: bool,
    due_at: i64,
}

impl<'a> Row<'a> {
    fn of(fact: &'a Fact<'a>, account: i64, contact: &'a str, via: &'a str, what: &'a str) -> Self {
        Self {
            fact,
            account,
            contact,
            via,
            what,
            alarm: None,
            about: About::default(),
            severity: None,
            absence: false,
            due_at: fact.entry.recorded_at.as_micros(),
        }
    }

    fn insert(&self, connection: &Connection) -> Result<(), ProjectionError> {
        let id = notification_id(self.fact.entry.position, self.contact, self.what);
        self.insert_as(connection, &id)
    }

    fn insert_as(&self, connection: &Connection, id: &str) -> Result<(), ProjectionError> {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO notifications VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                     ?15, 'due', 0, NULL)",
            )?
            .execute(params![
                id,
                self.account,
                self.contact,
                self.via,
                self.fact.entry.position.get() as i64,
                self.what,
                self.alarm.map(|(alarm, _)| alarm),
                self.alarm.map(|(_, opened)| opened),
                self.about.channel,
                self.about.device,
                self.about.site,
                self.severity.map(Severity::as_str),
                self.absence,
                self.fact.entry.recorded_at.as_micros(),
                self.due_at,
            ])?;
        Ok(())
    }
}

/// An alarm as it stands here.
struct Alarm {
    channel: String,
    opened: i64,
    severity: Severity,
    absence: bool,
}

fn alarm(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    if fact.entry.event_type == "AlarmOpened" {
        let Some(channel) = fact.text("channel") else {
            return Ok(());
        };
        connection
            .prepare_cached("INSERT OR IGNORE INTO notified_alarms VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0)")?
            .execute(params![
                id,
                account,
                channel,
                fact.entry.position.get() as i64,
                fact.text("severity").unwrap_or("alarm"),
                fact.text("kind") == Some("absence"),
            ])?;
    }
    let found = connection
        .prepare_cached("SELECT channel, opened, severity, absence FROM notified_alarms WHERE alarm = ?1")?
        .query_row([id], |row| {
            let severity: String = row.get(2)?;
            Ok(Alarm {
                channel: row.get(0)?,
                opened: row.get(1)?,
                severity: Severity::parse(&severity).unwrap_or_default(),
                absence: row.get(3)?,
            })
        })
        .optional()?;
    let Some(mut alarm) = found else { return Ok(()) };
    match fact.entry.event_type {
        "AlarmOpened" => tell_of(connection, fact, account, &alarm, "alarm_opened"),
        "AlarmEscalated" => {
            let severity = fact.payload["severity"]["new"].as_str().unwrap_or("alarm");
            alarm.severity = Severity::parse(severity).unwrap_or_default();
            connection
                .prepare_cached(
                    "UPDATE notified_alarms SET severity = ?2, acknowledged = 0 WHERE alarm = ?1",
                )?
                .execute((id, severity))?;
            // What is worse now is said once.
            cancel(connection, id, "what IN ('alarm_opened', 'alarm_reopened')", fact)?;
            tell_of(connection, fact, account, &alarm, "alarm_escalated")
        }
        "AlarmReopened" => {
            connection
                .prepare_cached("UPDATE notified_alarms SET acknowledged = 0, ended = 0 WHERE alarm = ?1")?
                .execute([id])?;
            tell_of(connection, fact, account, &alarm, "alarm_reopened")
        }
        "AlarmAcknowledged" => {
            connection
                .prepare_cached("UPDATE notified_alarms SET acknowledged = 1 WHERE alarm = ?1")?
                .execute([id])?;
            // Whoever would have been told later is not; who is being told now is told.
            cancel(connection, id, OPENINGS, fact)?;
            tell_machines(connection, fact, account, &alarm, "alarm_ack")
        }
        "AlarmCleared" | "AlarmClosed" => {
            connection
                .prepare_cached("UPDATE notified_alarms SET ended = 1 WHERE alarm = ?1")?
                .execute([id])?;
            cancel(connection, id, OPENINGS, fact)?;
            let what = match fact.entry.event_type {
                "AlarmCleared" => "alarm_cleared",
                _ => "alarm_closed",
            };
            tell_who_knows(connection, fact, account, &alarm, what)
        }
        _ => Ok(()),
    }
}

const OPENINGS: &str = "what IN ('alarm_opened', 'alarm_escalated', 'alarm_reopened')";

/// What is due later than this entry is not told any more. What is due already is: its message may be on its way.
fn cancel(connection: &Connection, alarm: &str, which: &str, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let sql = format!(
        "UPDATE notifications SET state = 'cancelled'
         WHERE alarm = ?1 AND state = 'due' AND attempts = 0 AND due_at > ?2 AND {which}"
    );
    connection
        .prepare_cached(&sql)?
        .execute((alarm, fact.entry.recorded_at.as_micros()))?;
    Ok(())
}

/// Until when a channel is silenced at a time; `None` where it is not.
fn silenced(connection: &Connection, channel: &str, at: i64) -> Result<Option<i64>, ProjectionError> {
    Ok(connection
        .prepare_cached(
            "SELECT max(to_at) FROM notified_silences WHERE channel = ?1 AND from_at <= ?2 AND ?2 < to_at",
        )?
        .query_row((channel, at), |row| row.get(0))?)
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
    let silent = silenced(connection, &alarm.channel, now)?;
    let hold = if is_of_the_past(fact) { PAST_HOLD_US } else { 0 };
    let route = channel_route(connection, &alarm.channel)?;
    for told in contacts(connection, account)? {
        let routed = told.via != "telegram" || route.telegram.is_empty() || route.telegram.contains(&told.id);
        if !routed || !told.wants(what, &about, alarm.severity) {
            continue;
        }
        let (what, due_at) = match silent {
            // A machine keeps a record, and is told of the silence, too.
            Some(until) if told.is_person() => ("alarm_silenced", until),
            _ if told.is_person() => {
                let wait = i64::from(told.preferences.after_min) * 60_000_000;
                (what, now + wait.max(hold))
            }
            _ => (what, now + i64::from(told.preferences.after_min) * 60_000_000),
        };
        let row = Row {
            alarm: Some((fact.entry.aggregate_id, alarm.opened)),
            about: about.clone(),
            severity: Some(alarm.severity),
            absence: alarm.absence,
            due_at,
            ..Row::of(fact, account, &told.id, &told.via, what)
        };
        row.insert(connection)?;
    }
    Ok(())
}

/// Whether an alarm was decided long before it was recorded.
fn is_of_the_past(fact: &Fact<'_>) -> bool {
    let decided = fact.text("decided_at").map(domain::Timestamp::parse_rfc3339);
    let decided = decided.and_then(Result::ok);
    decided.is_some_and(|at| fact.entry.recorded_at.since(at) > CATCHING_UP_US)
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
    for told in contacts(connection, account)? {
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
    for told in contacts(connection, account)? {
        let knows = connection
            .prepare_cached(
                "SELECT 1 FROM notifications WHERE alarm = ?1 AND contact = ?2
                     AND state NOT IN ('cancelled', 'dropped') AND what <> 'alarm_silenced'",
            )?
            .exists((fact.entry.aggregate_id, &told.id))?;
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

fn silence(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let time = |member: &str| {
        let text = fact.text(member)?;
        Some(domain::Timestamp::parse_rfc3339(text).ok()?.as_micros())
    };
    if fact.entry.event_type == "SilenceEnded" {
        let at = time("at").unwrap_or(fact.entry.recorded_at.as_micros());
        let Some(opened) = connection
            .prepare_cached("UPDATE notified_silences SET to_at = min(to_at, ?2) WHERE silence = ?1 RETURNING channel, from_at")?
            .query_row((id, at), |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
            .optional()?
        else {
            return Ok(());
        };
        // What waited for its end is due now.
        connection
            .prepare_cached(
                "UPDATE notifications SET due_at = min(due_at, ?2)
                 WHERE state = 'due' AND channel = ?1 AND what IN ('alarm_silenced', 'silence_closed')",
            )?
            .execute((opened.0, at))?;
        return Ok(());
    }
    let (Some(channel), Some(from), Some(to)) = (fact.text("channel"), time("from"), time("to")) else {
        return Ok(());
    };
    connection
        .prepare_cached("INSERT OR REPLACE INTO notified_silences VALUES (?1, ?2, ?3, ?4)")?
        .execute((id, channel, from, to))?;
    let about = About::channel(connection, channel)?;
    for told in contacts(connection, account)? {
        for (what, due_at) in [
            ("silence_opened", from.max(fact.entry.recorded_at.as_micros())),
            ("silence_closed", to),
        ] {
            if told.is_person() || !told.wants(what, &about, Severity::Alarm) {
                continue;
            }
            let row = Row {
                about: about.clone(),
                due_at,
                ..Row::of(fact, account, &told.id, &told.via, what)
            };
            row.insert(connection)?;
        }
    }
    Ok(())
}

fn device(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let about = About::device(connection, id)?;
    let now = fact.entry.recorded_at.as_micros();
    let offline = fact.text("state") == Some("offline");
    if offline {
        connection
            .prepare_cached("INSERT OR REPLACE INTO silent_devices VALUES (?1, ?2)")?
            .execute((id, &about.site))?;
    } else {
        connection
            .prepare_cached("DELETE FROM silent_devices WHERE device = ?1")?
            .execute([id])?;
    }
    let what = if offline {
        "device_offline"
    } else {
        "device_online"
    };
    // One that is back before anybody was told needs neither message.
    let forgotten: Vec<String> = connection
        .prepare_cached(
            "UPDATE notifications SET state = 'cancelled' WHERE device = ?1 AND what = 'device_offline'
                 AND state = 'due' AND attempts = 0 AND due_at > ?2 RETURNING contact",
        )?
        .query_map((id, now), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for told in contacts(connection, account)? {
        if !told.wants(what, &about, Severity::Warn) || !offline && forgotten.contains(&told.id) {
            continue;
        }
        let hold = match offline {
            true if told.is_person() => OFFLINE_HOLD_US + i64::from(told.preferences.after_min) * 60_000_000,
            _ => 0,
        };
        let row = Row {
            about: about.clone(),
            severity: Some(Severity::Warn),
            due_at: now + hold,
            ..Row::of(fact, account, &told.id, &told.via, what)
        };
        row.insert(connection)?;
    }
    Ok(())
}

/// A path does not work: whoever is reached by another is told, and nobody waits for their turn.
fn path_failed(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let failing = fact.text("via").unwrap_or_default();
    let now = fact.entry.recorded_at.as_micros();
    connection
        .prepare_cached(
            "UPDATE notifications SET due_at = ?2
             WHERE account = ?1 AND state = 'due' AND attempts = 0 AND due_at > ?2 AND via <> ?3
                 AND what IN ('alarm_opened', 'alarm_escalated', 'alarm_reopened')",
        )?
        .execute((account, now, failing))?;
    for told in contacts(connection, account)? {
        if told.via == failing || !told.is_person() {
            continue;
        }
        let row = Row {
            severity: Some(Severity::Alarm),
            ..Row::of(fact, account, &told.id, &told.via, "path_failed")
        };
        row.insert(connection)?;
    }
    Ok(())
}

fn day(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let now = fact.entry.recorded_at.as_micros();
    let oldest = now - OUTBOUND_DAYS * DAY_US;
    connection
        .prepare_cached("DELETE FROM outbound WHERE recorded_at < ?1")?
        .execute([oldest])?;
    connection
        .prepare_cached("DELETE FROM notifications WHERE caused_at < ?1")?
        .execute([oldest])?;
    let accounts: Vec<i64> = connection
        .prepare_cached("SELECT DISTINCT account FROM contacts ORDER BY account")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for account in accounts {
        for told in contacts(connection, account)? {
            if told.preferences.daily_digest && told.is_person() {
                let row = Row {
                    due_at: now + HEAD_HOLD_US,
                    ..Row::of(fact, account, &told.id, &told.via, "daily")
                };
                row.insert(connection)?;
            }
        }
    }
    Ok(())
}

fn outcome(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let outcome: NotificationOutcome =
        serde_json::from_value(fact.payload.clone()).map_err(|error| ProjectionError::Entry {
            position: fact.entry.position,
            reason: error.to_string(),
        })?;
    let now = fact.entry.recorded_at.as_micros();
    let next = outcome.next_at.map(domain::Timestamp::as_micros);
    let id = outcome.notification.as_str();
    let set = |state: &str, due_at: Option<i64>| -> Result<usize, ProjectionError> {
        Ok(connection
            .prepare_cached(
                "UPDATE notifications SET state = ?2, attempts = max(attempts, ?3), done_at = ?4,
                     due_at = coalesce(?5, due_at) WHERE id = ?1",
            )?
            .execute(params![id, state, outcome.attempt, now, due_at])?)
    };
    match (fact.entry.event_type, next) {
        (NOTIFICATION_SENT, _) => set("sent", None)?,
        (NOTIFICATION_DIGESTED, _) => set("digested", None)?,
        // It was said, if only in a summary.
        (NOTIFICATION_DROPPED, _) if outcome.code == "overflow" => set("digested", None)?,
        (NOTIFICATION_DROPPED, _) => set("dropped", None)?,
        (NOTIFICATION_FAILED, Some(next)) => set("due", Some(next))?,
        (NOTIFICATION_FAILED, None) => set("dead", None)?,
        (NOTIFICATION_REQUEUED, _) => {
            let again = connection
                .prepare_cached(
                    "UPDATE notifications SET state = 'due', attempts = 0, due_at = ?2 WHERE id = ?1",
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
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO outbound
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, n.what, n.alarm, n.channel, n.site, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15
             FROM (SELECT 1) LEFT JOIN notifications n ON n.id = ?5",
        )?
        .execute(params![
            fact.entry.position.get() as i64,
            now,
            account,
            fact.entry.event_type,
            id,
            outcome.contact,
            outcome.via.as_str(),
            outcome.event.get() as i64,
            outcome.attempt,
            outcome.code,
            outcome.provider_id,
            outcome.latency_ms as i64,
            outcome.took_ms as i64,
            outcome.repeated,
            next,
        ])?;
    Ok(())
}
