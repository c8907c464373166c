//! Uplinks that wait for somebody to say what their device is.
//!
//! Invariant: a tray is of one account; a device that was registered with its DevEUI is named beside it.
//! Not here: adoption (`commands`), the frames themselves (the ledger).

use super::{ReadModel, time};
use crate::error::QueryError;
use domain::{Position, Timestamp};

/// Most trays of an answer; an account parks at most 200 devices.
const TRAYS_MAX: i64 = 1_000;

/// Parked uplinks of one DevEUI.
#[derive(Debug, Clone, PartialEq)]
pub struct Tray {
    /// The id of the stream `tray/<id>`.
    pub id: String,
    /// Whose uplinks.
    pub dev_eui: String,
    /// How many.
    pub parked: u64,
    /// When the first was received.
    pub first_at: Timestamp,
    /// When the last was received.
    pub last_at: Timestamp,
    /// The newest entry.
    pub last_position: Position,
    /// Its payload, JSON.
    pub last_payload: String,
    /// The account's device with that DevEUI, if one is registered by now.
    pub device_id: Option<String>,
}

impl ReadModel {
    /// The trays of an account, the one that was heard last first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn trays(&self, account: &str) -> Result<Vec<Tray>, QueryError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT t.stream, t.dev_eui, t.parked, t.first_at, t.last_at, t.last_position, t.last_payload,
                     (SELECT d.id FROM devices d WHERE d.account = t.account AND d.removed = 0
                          AND lower(d.dev_eui) = lower(t.dev_eui) ORDER BY d.key LIMIT 1)
                 FROM trays t WHERE t.account = (SELECT key FROM accounts WHERE id = ?1)
                 ORDER BY t.last_at DESC, t.stream LIMIT ?2",
            )?;
            let trays = statement.query_map((account, TRAYS_MAX), |row| {
                Ok(Tray {
                    id: row.get(0)?,
                    dev_eui: row.get(1)?,
                    parked: row.get::<_, i64>(2)? as u64,
                    first_at: time(row.get(3)?),
                    last_at: time(row.get(4)?),
                    last_position: Position(row.get::<_, i64>(5)? as u64),
                    last_payload: row.get(6)?,
                    device_id: row.get(7)?,
                })
            })?;
            Ok(trays.collect::<rusqlite::Result<_>>()?)
        })
    }
}
