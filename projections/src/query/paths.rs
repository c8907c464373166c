//! Ways that fail or work again, and trials that are under way: what an alarm of no channel is raised or ended for.
//!
//! Invariant: everything here follows from the ledger, so a restart changes no answer.
//! Not here: raising and ending (`api::notify`), what counts as failing (`outbox::outcomes`).

use super::{ReadModel, time};
use crate::error::QueryError;
use domain::event::contact::ContactKind;
use domain::{Position, Timestamp};

/// A way of an account of which every attempt was in vain for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingPath {
    /// `acc_…`
    pub account: String,
    /// Which way.
    pub via: ContactKind,
    /// Since when.
    pub since: Timestamp,
}

/// A trial that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// `acc_…`
    pub account: String,
    /// `alm_…`
    pub alarm: String,
    /// Whose way is tried.
    pub contact: String,
    /// Until when it is expected to acknowledge.
    pub until: Timestamp,
    /// Who acknowledged last.
    pub acknowledged_by: Option<String>,
}

impl ReadModel {
    /// Ways that fail since before a time and about which no alarm was raised.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn failing_paths(&self, before: Timestamp) -> Result<Vec<FailingPath>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT a.id, p.via, p.failing_since FROM notification_paths p JOIN accounts a ON a.key = p.account
                 WHERE p.failing_since <= ?1 AND p.raised_for IS NOT p.failing_since ORDER BY a.id, p.via",
            )?;
            let mut rows = statement.query([before.as_micros()])?;
            let mut paths = Vec::new();
            while let Some(row) = rows.next()? {
                let via: String = row.get(1)?;
                let Some(via) = ContactKind::parse(&via) else {
                    continue;
                };
                paths.push(FailingPath {
                    account: row.get(0)?,
                    via,
                    since: time(row.get(2)?),
                });
            }
            Ok(paths)
        })
    }

    /// Open alarms about ways that work again: account, alarm, and the entry of the message that got through.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn restored_paths(&self) -> Result<Vec<(String, String, Position)>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT a.id, p.alarm, coalesce((SELECT max(position) FROM outbound o WHERE o.account = p.account
                     AND o.via = p.via AND o.event_type IN ('NotificationSent', 'NotificationFailed')), 0)
                 FROM notification_paths p JOIN accounts a ON a.key = p.account
                 WHERE p.failing_since IS NULL AND p.alarm IS NOT NULL ORDER BY a.id, p.via",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, Position(row.get::<_, i64>(2)? as u64)))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Trials that have not ended.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn trials(&self) -> Result<Vec<Trial>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT a.id, n.alarm, n.tried, n.until_at,
                     (SELECT acknowledged_by FROM alarms WHERE id = n.alarm AND acknowledged = 1)
                 FROM notified_alarms n JOIN accounts a ON a.key = n.account
                 WHERE n.tried IS NOT NULL AND n.ended = 0 ORDER BY n.alarm",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(Trial {
                    account: row.get(0)?,
                    alarm: row.get(1)?,
                    contact: row.get(2)?,
                    until: time(row.get(3)?),
                    acknowledged_by: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
