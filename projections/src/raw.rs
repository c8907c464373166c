//! Raw measurements: every value of every reading, by channel and measured time.
//!
//! Derived. Invariant: one row a (channel, measured_at); where a ledger holds two, the first stands, but for values
//! that are made of others.
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
    /// The newest `at` of the channel before the batch, `i64::MIN` where it had none: a later one is surely new.
    pub before: i64,
}

/// Rows of one statement, where all are surely new: running a statement costs as much as half a row.
const ROWS_AT_ONCE: usize = 32;

/// Sorts a batch by (channel, at), stores it, and keeps in `rows` only those that were new.
///
/// `rows` come in order of position.
///
/// # Errors
/// [`ProjectionError::Store`].
pub(crate) fn store(connection: &Connection, rows: &mut Vec<Row>) -> Result<(), ProjectionError> {
    rows.sort_by_key(|row| (row.channel, row.at));
    rows.dedup_by_key(|row| (row.channel, row.at));
    let many = format!(
        "INSERT INTO measurements VALUES {}(?, ?, ?, ?)",
        "(?, ?, ?, ?), ".repeat(ROWS_AT_ONCE - 1)
    );
    let mut many = connection.prepare_cached(&many)?;
    let mut one = connection.prepare_cached("INSERT OR IGNORE INTO measurements VALUES (?1, ?2, ?3, ?4)")?;
    let mut known = Vec::new();
    for run in rows.chunk_by(|a, b| a.is_newer() == b.is_newer()) {
        let together = if run[0].is_newer() {
            run.len() - run.len() % ROWS_AT_ONCE
        } else {
            0
        };
        for rows in run[..together].chunks_exact(ROWS_AT_ONCE) {
            insert_many(&mut many, rows)?;
        }
        for row in &run[together..] {
            if one.execute((row.channel, row.at, row.value, row.position as i64))? == 0 {
                known.push((row.channel, row.at));
            }
        }
    }
    if !known.is_empty() {
        rows.retain(|row| known.binary_search(&(row.channel, row.at)).is_err());
    }
    Ok(())
}

/// As [`store`], for values that were made of others: of two of one time the later entry's stands. Keeps in `rows`
/// those that were new, and gives those that took another's place.
///
/// # Errors
/// [`ProjectionError::Store`].
pub(crate) fn store_made(connection: &Connection, rows: &mut Vec<Row>) -> Result<Vec<Row>, ProjectionError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    rows.sort_by_key(|row| (row.channel, row.at));
    // The sort is stable, so of one time the last is the newest entry's.
    rows.reverse();
    rows.dedup_by_key(|row| (row.channel, row.at));
    rows.reverse();
    let mut known = connection.prepare_cached("SELECT 1 FROM measurements WHERE channel = ?1 AND at = ?2")?;
    let mut write =
        connection.prepare_cached("INSERT OR REPLACE INTO measurements VALUES (?1, ?2, ?3, ?4)")?;
    let mut again = Vec::new();
    for row in rows.iter() {
        if !row.is_newer() && known.exists((row.channel, row.at))? {
            again.push(*row);
        }
        write.execute((row.channel, row.at, row.value, row.position as i64))?;
    }
    rows.retain(|row| {
        again
            .binary_search_by_key(&(row.channel, row.at), |it| (it.channel, it.at))
            .is_err()
    });
    Ok(again)
}

fn insert_many(insert: &mut CachedStatement<'_>, rows: &[Row]) -> rusqlite::Result<()> {
    for (at, row) in rows.iter().enumerate() {
        insert.raw_bind_parameter(4 * at + 1, row.channel)?;
        insert.raw_bind_parameter(4 * at + 2, row.at)?;
        insert.raw_bind_parameter(4 * at + 3, row.value)?;
        insert.raw_bind_parameter(4 * at + 4, row.position as i64)?;
    }
    insert.raw_execute()?;
    Ok(())
}

impl Row {
    /// Whether it is newer than anything its channel had before the batch.
    pub(crate) const fn is_newer(&self) -> bool {
        self.at > self.before
    }
}
