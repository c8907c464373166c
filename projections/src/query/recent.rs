//! The newest measurements of a channel with the entries that they stand in.
//!
//! Invariant: newest first by time of measurement; each names its position, so that it can be proved.
//! Not here: ranges and aggregates (`measurements`), the entries (the ledger).

use super::{ReadModel, find_channel, time};
use crate::derived::calibrations_of;
use crate::error::QueryError;
use domain::calibration::Calibrations;
use domain::{Position, Timestamp};
use rusqlite::Row;

/// Most measurements of an answer.
const RECENT_MAX: usize = 1_000;

/// A measurement and its entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecentValue {
    /// Measured at.
    pub at: Timestamp,
    /// The value, corrected.
    pub value: f64,
    /// The value as it was recorded.
    pub raw: f64,
    /// Its entry.
    pub position: Position,
}

fn value(row: &Row<'_>, calibrations: &Calibrations) -> rusqlite::Result<RecentValue> {
    let (at, raw) = (time(row.get(0)?), row.get(1)?);
    Ok(RecentValue {
        at,
        value: calibrations.of(at, raw),
        raw,
        position: Position(row.get::<_, i64>(2)? as u64),
    })
}

impl ReadModel {
    /// The earliest entry that a channel's measurements stand in; what was configured before it was in force for
    /// none of them. Looks at every measurement of the channel.
    ///
    /// # Errors
    /// `ChannelNotFound`, `Unavailable`.
    pub fn first_recorded(&self, account: &str, channel: &str) -> Result<Option<Position>, QueryError> {
        self.ask(|connection| {
            let found = find_channel(connection, account, channel)?;
            let first: Option<i64> = connection
                .prepare_cached("SELECT min(position) FROM measurements WHERE channel = ?1")?
                .query_row([found.key], |row| row.get(0))?;
            Ok(first.map(|position| Position(position as u64)))
        })
    }

    /// The measurements from `from` to before `to`, rising, at most `limit`, with their entries.
    ///
    /// # Errors
    /// `ChannelNotFound`, `Unavailable`.
    pub fn values(
        &self,
        account: &str,
        channel: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<RecentValue>, QueryError> {
        self.ask(|connection| {
            let found = find_channel(connection, account, channel)?;
            let mut statement = connection.prepare_cached(
                "SELECT at, value, position FROM measurements WHERE channel = ?1 AND at >= ?2 AND at < ?3
                 ORDER BY at LIMIT ?4",
            )?;
            let range = (found.key, from.as_micros(), to.as_micros(), limit as i64);
            let calibrations = calibrations_of(connection, found.key)?;
            let values = statement.query_map(range, |row| value(row, &calibrations))?;
            Ok(values.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The newest measurements before `to`, newest first, at most `limit`.
    ///
    /// # Errors
    /// `ChannelNotFound`, `Unavailable`.
    pub fn recent(
        &self,
        account: &str,
        channel: &str,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<RecentValue>, QueryError> {
        self.ask(|connection| {
            let found = find_channel(connection, account, channel)?;
            let mut statement = connection.prepare_cached(
                "SELECT at, value, position FROM measurements WHERE channel = ?1 AND at < ?2
                 ORDER BY at DESC LIMIT ?3",
            )?;
            let limit = limit.min(RECENT_MAX) as i64;
            let calibrations = calibrations_of(connection, found.key)?;
            let values = statement.query_map((found.key, to.as_micros(), limit), |row| {
                value(row, &calibrations)
            })?;
            Ok(values.collect::<rusqlite::Result<_>>()?)
        })
    }
}
