//! What is due, what was sent, and how a notification is doing.
//!
//! Invariants: what a silence holds is not due, also where it began while the message waited for its turn; what became due longer ago than [`DUE_KEPT_US`] is due no more, so that a ledger whose outcomes were
//! pruned says nothing twice; lists are newest first.
//! Not here: how many messages at once (`outbox::plan`).

use super::{QueryError, ReadModel};
use crate::outbox::SAID;
use crate::outbox::plan::{Due, Routes, SentBefore};
use domain::event::contact::ContactKind;
use domain::time::DAY_US;
use domain::{Position, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

/// How long something stays due, microseconds: a week. Nobody wants to be told of it later.
pub const DUE_KEPT_US: i64 = 7 * DAY_US;
/// Most due notifications of one contact that are looked at together, so that one that waits long hides no other.
const DUE_OF_CONTACT_MAX: usize = 100;
/// … of one account, so that none hides another's.
const DUE_OF_ACCOUNT_MAX: usize = 2_000;
/// Most due notifications that are looked at together.
const DUE_MAX: usize = 10_000;

/// Attempts by which it is said how ways do: a day of a busy account.
const WAYS_LOOK_AT: i64 = 10_000;

/// One attempt, or what was decided instead of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbound {
    /// Its entry.
    pub position: Position,
    /// When.
    pub recorded_at: Timestamp,
    /// Such as `NotificationSent`.
    pub event_type: String,
    /// `ntf_…`
    pub notification: String,
    /// `con_…`
    pub contact: String,
    /// By which way.
    pub via: String,
    /// What it said.
    pub what: Option<String>,
    /// The alarm.
    pub alarm: Option<String>,
    /// The channel.
    pub channel: Option<String>,
    /// The entry that caused it.
    pub event: Position,
    /// Which attempt.
    pub attempt: u32,
    /// What the provider answered, or why.
    pub code: String,
    /// By which the provider knows it.
    pub provider_id: Option<String>,
    /// Milliseconds since the entry that caused it.
    pub latency_ms: u64,
    /// Milliseconds that the attempt took.
    pub took_ms: u64,
    /// It may have arrived twice.
    pub repeated: bool,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
}

/// What a list of attempts is limited to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboundFilter {
    /// Of this contact.
    pub contact: Option<String>,
    /// Of this alarm.
    pub alarm: Option<String>,
    /// Of this way.
    pub via: Option<String>,
    /// Of this type.
    pub event_type: Option<String>,
    /// That said this, such as `alarm_opened`.
    pub what: Option<String>,
    /// Recorded at or after this.
    pub since: Option<Timestamp>,
    /// Recorded before this.
    pub until: Option<Timestamp>,
}

/// A notification that is due, now or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// `ntf_…`
    pub id: String,
    /// `con_…`
    pub contact: String,
    /// By which way.
    pub via: String,
    /// What it will say.
    pub what: String,
    /// The alarm.
    pub alarm: Option<String>,
    /// When the entry that caused it was recorded.
    pub caused_at: Timestamp,
    /// When it is due.
    pub due_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// What the last attempt met.
    pub code: Option<String>,
}

/// How a way does: e-mail and Telegram are one way each, every webhook is one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// `email`, `telegram`, or a webhook's `con_…`.
    pub name: String,
    /// When a message was last taken.
    pub taken_at: Option<Timestamp>,
    /// Since when every attempt was in vain.
    pub failing_since: Option<Timestamp>,
}

/// How a notification is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// What it needs to be sent.
    pub due: Due,
    /// `due`, `sent`, `digested`, `dropped`, `dead`, `cancelled`.
    pub state: String,
}

impl ReadModel {
    /// What is due by this way at a time, in order of when it became due.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn notifications_due(&self, via: ContactKind, now: Timestamp) -> Result<Vec<Due>, QueryError> {
        let now = now.as_micros();
        self.ask(|connection| {
            let sql = format!(
                "SELECT {} WHERE n.id IN (SELECT id FROM (
                     SELECT id, row_number() OVER (PARTITION BY contact ORDER BY due_at, event, id) AS place,
                            row_number() OVER (PARTITION BY account ORDER BY due_at, event, id) AS of_account
                     FROM notifications d WHERE state = 'due' AND via = ?1 AND due_at <= ?2 AND due_at > ?3
                         AND (via = 'webhook' OR alarm IS NULL OR NOT EXISTS (SELECT 1 FROM notified_silences s
                             WHERE s.channel = d.channel AND s.from_at <= ?2 AND ?2 < s.to_at))
                 ) WHERE place <= ?4 AND of_account <= ?5) ORDER BY n.due_at, n.event, n.id LIMIT ?6",
                due_sql()
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(
                params![
                    via.as_str(),
                    now,
                    now - DUE_KEPT_US,
                    DUE_OF_CONTACT_MAX as i64,
                    DUE_OF_ACCOUNT_MAX as i64,
                    DUE_MAX as i64
                ],
                due,
            )?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Contacts that are told of the same entry at once: those who left, bounced or were given up are not.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn told_of(&self, event: Position) -> Result<Vec<String>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT contact FROM notifications WHERE event = ?1 AND via <> 'webhook'
                     AND state NOT IN ('cancelled', 'dropped', 'dead')",
            )?;
            let rows = statement.query_map([event.get() as i64], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// What a contact was sent in the last day, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn sent_before(&self, contact: &str, now: Timestamp) -> Result<Vec<SentBefore>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT recorded_at, channel, site, event_type = 'NotificationSent' FROM outbound WHERE contact = ?1 AND recorded_at > ?2
                     AND event_type IN ('NotificationSent', 'NotificationDigested') ORDER BY recorded_at DESC LIMIT 1000",
            )?;
            let rows = statement.query_map((contact, now.as_micros() - DAY_US), |row| {
                Ok(SentBefore {
                    at: time(row.get(0)?),
                    alone: row.get(3)?,
                    channel: row.get(1)?,
                    site: row.get(2)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// What was set for channels and sites.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn notification_routes(&self) -> Result<Routes, QueryError> {
        self.ask(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT subject, notifications FROM notification_routes")?;
            let mut rows = statement.query([])?;
            let mut routes = Routes::default();
            while let Some(row) = rows.next()? {
                let (subject, text): (String, String) = (row.get(0)?, row.get(1)?);
                if subject.starts_with("site_") {
                    routes
                        .sites
                        .insert(subject, serde_json::from_str(&text).unwrap_or_default());
                } else {
                    routes
                        .channels
                        .insert(subject, serde_json::from_str(&text).unwrap_or_default());
                }
            }
            Ok(routes)
        })
    }

    /// A notification of the account.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn notification(&self, account: &str, id: &str) -> Result<Option<Notification>, QueryError> {
        self.ask(|connection| {
            let sql = format!("SELECT {} WHERE n.id = ?1 AND a.id = ?2", due_sql());
            let found = connection
                .prepare_cached(&sql)?
                .query_row((id, account), |row| {
                    Ok(Notification {
                        due: due(row)?,
                        state: row.get("state")?,
                    })
                })
                .optional()?;
            Ok(found)
        })
    }

    /// What was tried for the account, newest first, before a position.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn outbound(
        &self,
        account: &str,
        filter: &OutboundFilter,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Outbound>, QueryError> {
        self.ask(|connection| {
            let before = before.map_or(i64::MAX, |p| i64::try_from(p.get()).unwrap_or(i64::MAX));
            let limit = limit as i64;
            let mut sql = format!(
                "SELECT {OUTBOUND} WHERE o.account = (SELECT key FROM accounts WHERE id = ?1) AND o.position < ?2"
            );
            let mut values: Vec<&dyn ToSql> = vec![&account, &before];
            for (column, value) in [
                ("contact", &filter.contact),
                ("alarm", &filter.alarm),
                ("via", &filter.via),
                ("event_type", &filter.event_type),
                ("what", &filter.what),
            ] {
                if let Some(value) = value {
                    values.push(value);
                    sql.push_str(&format!(" AND o.{column} = ?{}", values.len()));
                }
            }
            let (since, until) = (
                filter.since.map(Timestamp::as_micros),
                filter.until.map(Timestamp::as_micros),
            );
            for (comparison, value) in [(">=", &since), ("<", &until)] {
                if let Some(value) = value {
                    values.push(value);
                    sql.push_str(&format!(" AND o.recorded_at {comparison} ?{}", values.len()));
                }
            }
            values.push(&limit);
            sql.push_str(&format!(" ORDER BY o.position DESC LIMIT ?{}", values.len()));
            list(connection, &sql, &values)
        })
    }

    /// The newest attempt at each contact of the account.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn last_outbound(&self, account: &str) -> Result<Vec<Outbound>, QueryError> {
        self.ask(|connection| {
            let sql = format!(
                "SELECT {OUTBOUND} WHERE o.position IN (SELECT max(position) FROM outbound
                     WHERE account = (SELECT key FROM accounts WHERE id = ?1) GROUP BY contact)"
            );
            list(connection, &sql, &[&account])
        })
    }

    /// What is due for the account, now or later, in the order in which it becomes due.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn waiting(&self, account: &str, now: Timestamp, limit: usize) -> Result<Vec<Waiting>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT n.id, n.contact, n.via, n.what, n.alarm, n.caused_at, n.due_at, n.attempts,
                     (SELECT o.code FROM outbound o WHERE o.contact = n.contact AND o.notification = n.id
                      AND o.event_type = 'NotificationFailed' ORDER BY o.recorded_at DESC LIMIT 1)
                 FROM notifications n
                 WHERE n.state = 'due' AND n.account = (SELECT key FROM accounts WHERE id = ?1) AND n.due_at > ?2
                 ORDER BY n.due_at, n.id LIMIT ?3",
            )?;
            let rows = statement.query_map(
                params![account, now.as_micros() - DUE_KEPT_US, limit as i64],
                |row| {
                    Ok(Waiting {
                        id: row.get(0)?,
                        contact: row.get(1)?,
                        via: row.get(2)?,
                        what: row.get(3)?,
                        alarm: row.get(4)?,
                        caused_at: time(row.get(5)?),
                        due_at: time(row.get(6)?),
                        attempts: row.get(7)?,
                        code: row.get(8)?,
                    })
                },
            )?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// How the account's ways do, by its newest ten thousand attempts. Whoever refuses for good is one that answers.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn ways(&self, account: &str) -> Result<Vec<Way>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "WITH tried AS (
                     SELECT CASE via WHEN 'webhook' THEN contact ELSE via END AS name, position, recorded_at,
                         event_type = 'NotificationSent' AS taken,
                         event_type = 'NotificationFailed' AND next_at IS NOT NULL AS in_vain
                     FROM outbound WHERE account = (SELECT key FROM accounts WHERE id = ?1)
                         AND event_type IN ('NotificationSent', 'NotificationFailed')
                     ORDER BY position DESC LIMIT ?2),
                 answered AS (
                     SELECT name, max(position) AS position, max(CASE WHEN taken THEN recorded_at END) AS taken_at
                     FROM tried WHERE NOT in_vain GROUP BY name)
                 SELECT t.name, a.taken_at, min(CASE WHEN t.in_vain AND t.position > coalesce(a.position, -1)
                     THEN t.recorded_at END)
                 FROM tried t LEFT JOIN answered a ON a.name = t.name GROUP BY t.name ORDER BY t.name",
            )?;
            let rows = statement.query_map(params![account, WAYS_LOOK_AT], |row| {
                Ok(Way {
                    name: row.get(0)?,
                    taken_at: row.get::<_, Option<i64>>(1)?.map(time),
                    failing_since: row.get::<_, Option<i64>>(2)?.map(time),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Alarms and silent devices of an account's last day, for its digest: openings, and devices silent now.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn day_of(&self, account: &str, since: Position) -> Result<(u64, u64, u64), QueryError> {
        self.ask(|connection| {
            let count = |sql: &str, since: i64| -> rusqlite::Result<u64> {
                connection
                    .prepare_cached(sql)?
                    .query_row((account, since), |row| Ok(row.get::<_, i64>(0)? as u64))
            };
            let since = since.get() as i64;
            let key = "(SELECT key FROM accounts WHERE id = ?1)";
            let opened = count(
                &format!("SELECT count(*) FROM notified_alarms WHERE account = {key} AND tried IS NULL AND opened >= ?2"),
                since,
            )?;
            let open = count(
                &format!(
                    "SELECT count(*) FROM notified_alarms WHERE account = {key} AND tried IS NULL AND ended = 0 AND ?2 >= 0"
                ),
                since,
            )?;
            let silent = count(
                &format!(
                    "SELECT count(*) FROM silent_devices s JOIN devices d ON d.id = s.device
                     WHERE d.account = {key} AND d.removed = 0 AND ?2 >= 0"
                ),
                since,
            )?;
            Ok((opened, open, silent))
        })
    }
}

fn due_sql() -> String {
    format!(
        "n.id, a.id AS account_id, n.contact, n.via, {SAID} AS what, n.event, n.alarm, n.alarm_opened, n.channel,
    n.device, n.site, n.caused_at, n.due_at, n.attempts, n.state,
    (n.absence OR n.what = 'device_offline') AND n.site IS NOT NULL
        AND (SELECT count(*) FROM devices d WHERE d.site = n.site AND d.removed = 0) > 1
        AND NOT EXISTS (SELECT 1 FROM devices d WHERE d.site = n.site AND d.removed = 0
            AND d.id NOT IN (SELECT device FROM silent_devices)) AS site_silent
    FROM notifications n JOIN accounts a ON a.key = n.account"
    )
}

const OUTBOUND: &str =
    "o.position, o.recorded_at, o.event_type, o.notification, o.contact, o.via, o.what, o.alarm,
    o.channel, o.event, o.attempt, o.code, o.provider_id, o.latency_ms, o.took_ms, o.repeated, o.next_at
    FROM outbound o";

fn time(us: i64) -> Timestamp {
    Timestamp::from_micros(us).unwrap_or_default()
}

fn due(row: &Row<'_>) -> rusqlite::Result<Due> {
    let via: String = row.get("via")?;
    let alarm: Option<String> = row.get("alarm")?;
    let opened: Option<i64> = row.get("alarm_opened")?;
    Ok(Due {
        id: row.get("id")?,
        account: row.get("account_id")?,
        contact: row.get("contact")?,
        via: ContactKind::parse(&via).unwrap_or(ContactKind::Webhook),
        what: row.get("what")?,
        event: Position(row.get::<_, i64>("event")? as u64),
        alarm: alarm.zip(opened.map(|opened| Position(opened as u64))),
        channel: row.get("channel")?,
        device: row.get("device")?,
        site: row.get("site")?,
        site_silent: row.get("site_silent")?,
        caused_at: time(row.get("caused_at")?),
        due_at: time(row.get("due_at")?),
        attempts: row.get("attempts")?,
    })
}

fn list(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<Outbound>, QueryError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row| {
        Ok(Outbound {
            position: Position(row.get::<_, i64>(0)? as u64),
            recorded_at: time(row.get(1)?),
            event_type: row.get(2)?,
            notification: row.get(3)?,
            contact: row.get(4)?,
            via: row.get(5)?,
            what: row.get(6)?,
            alarm: row.get(7)?,
            channel: row.get(8)?,
            event: Position(row.get::<_, i64>(9)? as u64),
            attempt: row.get(10)?,
            code: row.get(11)?,
            provider_id: row.get(12)?,
            latency_ms: row.get::<_, i64>(13)? as u64,
            took_ms: row.get::<_, i64>(14)? as u64,
            repeated: row.get(15)?,
            next_at: row.get::<_, Option<i64>>(16)?.map(time),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
