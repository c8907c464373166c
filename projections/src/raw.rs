//! Raw measurements: every value of every reading, by channel and measured time.
//!
//! Derived. Invariant: one row a (channel, measured_at); where a ledger holds two, the first stands.
//! Rows are written in key order, so that a batch touches each page once.
//! Not here: buckets (`rollups`), which entries are readings (`fold`).

use crate::error::ProjectionError;
use rusqlite::{CachedStatement, Connection};

/// One value of one reading, on its way into the tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The channel's key in this database.
    pub channel: i64,
    /// Measured at, microseconds.
    pub at: i64,
    /// The value.
    pub value: f64,
    /// The entry.
    pub position: u64,
}

/// Sorts a batch by (channel, at), stores it, and keeps in `rows` only those that were new.
///
/// `rows` come in order of position.
///
/// # Errors
/// [`ProjectionError::Store`].
pub(crate) fn store(connection: &Connection, rows: &mut Vec<Row>) -> Result<(), ProjectionError> {
    rows.sort_by_key(|row| (row.channel, row.at));
    rows.dedup_by_key(|row| (row.channel, row.at));
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO measurements VALUES (?1, ?2, ?3, ?4)")?;
    let mut failed = None;
    rows.retain(|row| match insert_row(&mut insert, row) {
        Ok(new) => new,
        Err(error) => {
            failed.get_or_insert(error);
            false
        }
    });
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn insert_row(insert: &mut CachedStatement<'_>, row: &Row) -> rusqlite::Result<bool> {
    let new = insert.execute((row.channel, row.at, row.value, row.position as i64))?;
    Ok(new == 1)
}
