//! What was refused of late, and how often in all.
//!
//! Invariant: an account sees refusals of its own devices, tokens and integrations; those of unknown peers belong
//! to nobody and are shown only to whoever runs the ledger.
//! Not here: the day's counts (`DayClosed`).

use super::{ReadModel, find_device, time};
use crate::error::QueryError;
use domain::{Position, Timestamp};
use rusqlite::{Connection, Row, ToSql};

/// Most refusals of an answer: a page of the API, and the one more that tells whether there is another.
const REFUSALS_MAX: usize = 1_001;

/// One `RequestsRefused`: a source within about a minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Its entry.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// `device:…`, `token:…`, `integration:…` or `peer`.
    pub source: String,
    /// `dev_…`, where the source is a device or its token.
    pub device_id: Option<String>,
    /// The first request.
    pub from: Option<Timestamp>,
    /// The last request.
    pub to: Timestamp,
    /// Requests.
    pub total: u64,
    /// `{code: count}` as JSON.
    pub codes: String,
    /// An example, JSON, sealed as in the ledger.
    pub example: Option<String>,
}

/// How often a source was refused for a reason.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusalTotal {
    /// The source.
    pub source: String,
    /// The reason code.
    pub code: String,
    /// Requests so far.
    pub total: u64,
    /// The last of them.
    pub last_at: Timestamp,
}

const COLUMNS: &str =
    "r.position, r.recorded_at, r.source, d.id, r.from_at, r.to_at, r.total, r.codes, r.example
     FROM refusals r LEFT JOIN devices d ON d.key = r.device";

impl ReadModel {
    /// The newest refusals of an account, or of one of its devices; newest first.
    ///
    /// # Errors
    /// `DeviceNotFound`, `Unavailable`.
    pub fn refusals(
        &self,
        account: &str,
        device: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Refusal>, QueryError> {
        self.refusals_before(account, device, None, limit)
    }

    /// As [`ReadModel::refusals`], but only those recorded before a position: the next page of the list.
    ///
    /// # Errors
    /// `DeviceNotFound`, `Unavailable`.
    pub fn refusals_before(
        &self,
        account: &str,
        device: Option<&str>,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Refusal>, QueryError> {
        let before = before.map_or(i64::MAX, |position| {
            i64::try_from(position.get()).unwrap_or(i64::MAX)
        });
        self.ask(|connection| match device {
            Some(device) => {
                let key = find_device(connection, account, device)?;
                let sql = format!(
                    "SELECT {COLUMNS} WHERE r.device = ?1 AND r.position < ?2
                     ORDER BY r.position DESC LIMIT ?3"
                );
                list(connection, &sql, &key, before, limit)
            }
            None => {
                let sql = format!(
                    "SELECT {COLUMNS} WHERE r.account = (SELECT key FROM accounts WHERE id = ?1)
                     AND r.position < ?2 ORDER BY r.position DESC LIMIT ?3"
                );
                list(connection, &sql, &account, before, limit)
            }
        })
    }

    /// The newest refusals that belong to no account: unknown tokens and peers. For whoever runs the ledger.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn refusals_of_nobody(&self, limit: usize) -> Result<Vec<Refusal>, QueryError> {
        self.ask(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} WHERE r.account IS NULL AND ?1 AND r.position < ?2
                 ORDER BY r.position DESC LIMIT ?3"
            );
            list(connection, &sql, &true, i64::MAX, limit)
        })
    }

    /// How often a device was refused, by source and reason; the latest first.
    ///
    /// # Errors
    /// `DeviceNotFound`, `Unavailable`.
    pub fn refusal_totals(&self, account: &str, device: &str) -> Result<Vec<RefusalTotal>, QueryError> {
        self.ask(|connection| {
            let key = find_device(connection, account, device)?;
            let mut statement = connection.prepare_cached(
                "SELECT source, code, total, last_at FROM refusal_totals WHERE device = ?1
                 ORDER BY last_at DESC, source, code LIMIT ?2",
            )?;
            let totals = statement.query_map((key, REFUSALS_MAX as i64), |row| {
                Ok(RefusalTotal {
                    source: row.get(0)?,
                    code: row.get(1)?,
                    total: row.get::<_, i64>(2)? as u64,
                    last_at: time(row.get(3)?),
                })
            })?;
            Ok(totals.collect::<rusqlite::Result<_>>()?)
        })
    }
}

fn list(
    connection: &Connection,
    sql: &str,
    of: &dyn ToSql,
    before: i64,
    limit: usize,
) -> Result<Vec<Refusal>, QueryError> {
    let mut statement = connection.prepare_cached(sql)?;
    let refusals = statement.query_map((of, before, limit.min(REFUSALS_MAX) as i64), refusal)?;
    Ok(refusals.collect::<rusqlite::Result<_>>()?)
}

fn refusal(row: &Row<'_>) -> rusqlite::Result<Refusal> {
    Ok(Refusal {
        position: Position(row.get::<_, i64>(0)? as u64),
        recorded_at: time(row.get(1)?),
        source: row.get(2)?,
        device_id: row.get(3)?,
        from: row.get::<_, Option<i64>>(4)?.map(time),
        to: time(row.get(5)?),
        total: row.get::<_, i64>(6)? as u64,
        codes: row.get(7)?,
        example: row.get(8)?,
    })
}
