//! Who changed what, and the days that were closed.
//!
//! Invariants: newest first, pages by position; an account sees its own entries; what the ledger says of itself
//! (class `ledger`) belongs to no account. Sealed values are sealed, tokens' payloads withheld.
//! Not here: configuration as of a date (the registry's fold).

use super::{ReadModel, time};
use crate::error::QueryError;
use domain::{Date, Position, Timestamp, TreeSize};
use rusqlite::{OptionalExtension, Row};

/// Most items of a page.
const ITEMS_MAX: usize = 1_000;

/// Which entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimelineFilter<'a> {
    /// About this site, device, channel, sensor, user, integration or account.
    pub subject: Option<&'a str>,
    /// Only of streams of this type.
    pub aggregate_type: Option<&'a str>,
    /// Before this position.
    pub before: Option<Position>,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineItem {
    /// Its entry.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// `audit` or `ledger`.
    pub class: String,
    /// The stream's type.
    pub aggregate_type: String,
    /// The stream's id.
    pub aggregate_id: String,
    /// Within the stream; with `salt` the place that sealed values were sealed at.
    pub sequence: u64,
    /// What happened.
    pub event_type: String,
    /// Who.
    pub actor: Option<String>,
    /// Why: `{"code", "text"?}` as JSON.
    pub reason: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// The entry's salt.
    pub salt: String,
    /// The payload as JSON; `None` where it is withheld.
    pub payload: Option<String>,
}

/// A closed day.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// The day, as in the entry: `2026-05-17`.
    pub date: String,
    /// The position of its `DayClosed`.
    pub position: Position,
    /// When it was closed.
    pub recorded_at: Timestamp,
    /// The day's first position.
    pub first_position: Position,
    /// The tree size at its end.
    pub size: TreeSize,
    /// The root at that size, base64.
    pub root: String,
    /// The whole payload, JSON.
    pub payload: String,
}

impl ReadModel {
    /// Changes within an account, newest first.
    ///
    /// # Errors
    /// `Unavailable`. A subject of another account gives an empty list, like one that never was.
    pub fn timeline(
        &self,
        account: &str,
        filter: &TimelineFilter<'_>,
        limit: usize,
    ) -> Result<Vec<TimelineItem>, QueryError> {
        let before = filter.before.map_or(i64::MAX, |p| p.get() as i64);
        let limit = limit.min(ITEMS_MAX) as i64;
        self.ask(|connection| match filter.subject {
            Some(subject) => {
                let mut statement = connection.prepare_cached(
                    "SELECT t.* FROM timeline_subjects s JOIN timeline t ON t.position = s.position
                     WHERE s.subject = ?2 AND s.position < ?3
                         AND t.account = (SELECT key FROM accounts WHERE id = ?1)
                         AND (?5 IS NULL OR t.aggregate_type = ?5)
                     ORDER BY s.position DESC LIMIT ?4",
                )?;
                let items =
                    statement.query_map((account, subject, before, limit, filter.aggregate_type), item)?;
                Ok(items.collect::<rusqlite::Result<_>>()?)
            }
            None => {
                let mut statement = connection.prepare_cached(
                    "SELECT * FROM timeline
                     WHERE account = (SELECT key FROM accounts WHERE id = ?1) AND position < ?2
                         AND (?4 IS NULL OR aggregate_type = ?4)
                     ORDER BY position DESC LIMIT ?3",
                )?;
                let items = statement.query_map((account, before, limit, filter.aggregate_type), item)?;
                Ok(items.collect::<rusqlite::Result<_>>()?)
            }
        })
    }

    /// What the ledger says of itself, newest first: starts, closed days, keys, retention.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn ledger_timeline(
        &self,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<TimelineItem>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM timeline WHERE account IS NULL AND class = 'ledger' AND position < ?1
                 ORDER BY position DESC LIMIT ?2",
            )?;
            let before = before.map_or(i64::MAX, |p| p.get() as i64);
            let items = statement.query_map((before, limit.min(ITEMS_MAX) as i64), item)?;
            Ok(items.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Closed days before `before`, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn days(&self, before: Option<Date>, limit: usize) -> Result<Vec<Day>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT * FROM days WHERE date < ?1 ORDER BY date DESC LIMIT ?2")?;
            let before = before.map_or("~".to_owned(), |date| date.to_string());
            let days = statement.query_map((before, limit.min(ITEMS_MAX) as i64), day)?;
            Ok(days.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// A closed day; `None` where it is not closed.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn day(&self, date: Date) -> Result<Option<Day>, QueryError> {
        self.ask(|connection| {
            Ok(connection
                .prepare_cached("SELECT * FROM days WHERE date = ?1")?
                .query_row([date.to_string()], day)
                .optional()?)
        })
    }
}

pub(super) fn item(row: &Row<'_>) -> rusqlite::Result<TimelineItem> {
    Ok(TimelineItem {
        position: Position(row.get::<_, i64>("position")? as u64),
        recorded_at: time(row.get("recorded_at")?),
        class: row.get("class")?,
        aggregate_type: row.get("aggregate_type")?,
        aggregate_id: row.get("aggregate_id")?,
        sequence: row.get::<_, i64>("sequence")? as u64,
        event_type: row.get("event_type")?,
        actor: row.get("actor")?,
        reason: row.get("reason")?,
        request_id: row.get("request_id")?,
        salt: row.get("salt")?,
        payload: row.get("payload")?,
    })
}

fn day(row: &Row<'_>) -> rusqlite::Result<Day> {
    Ok(Day {
        date: row.get("date")?,
        position: Position(row.get::<_, i64>("position")? as u64),
        recorded_at: time(row.get("recorded_at")?),
        first_position: Position(row.get::<_, i64>("first_position")? as u64),
        size: TreeSize(row.get::<_, i64>("size")? as u64),
        root: row.get("root")?,
        payload: row.get("payload")?,
    })
}
