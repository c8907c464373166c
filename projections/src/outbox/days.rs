//! The digest of a day, and what is kept no longer.
//!
//! Not here: what a digest says (`api`).

use super::contacts;
use super::row::Row;
use crate::error::ProjectionError;
use crate::world::Fact;
use domain::time::DAY_US;
use rusqlite::Connection;

/// How long what was sent is kept (REFERENCE §8).
pub const OUTBOUND_DAYS: i64 = 90;
/// How long the day's head has to be signed before the daily digest carries it.
const HEAD_HOLD_US: i64 = 60 * 1_000_000;

pub(super) fn closed(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
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
        for told in contacts::of(connection, account)? {
            if told.preferences.daily_digest && told.is_person() {
                let row = Row {
                    wanted_at: now + HEAD_HOLD_US,
                    ..Row::of(fact, account, &told.id, &told.via, "daily")
                };
                row.insert(connection)?;
            }
        }
    }
    Ok(())
}
