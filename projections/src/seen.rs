//! Which readings are there already: the port by which the sequencer decides duplicates.
//!
//! Derived. Invariant: what is answered reflects at least the announced cursor. Until the projector has passed the
//! size that the ledger had at start, the answer is `None`, because the asker knows only what it recorded since.
//! Not here: the decision (`commands`).

use crate::query::ReadModel;
use domain::ports::{Seen, SeenReadings};
use domain::{Position, Timestamp, TreeSize};
use rusqlite::OptionalExtension;

impl SeenReadings for ReadModel {
    fn cursor(&self) -> TreeSize {
        self.shared.size()
    }

    fn seen(&self, readings: &[(&str, Timestamp)]) -> Result<Option<Vec<Option<Seen>>>, String> {
        if self.shared.is_catching_up() {
            return Ok(None);
        }
        let answer = self.shared.readers.ask(|connection| {
            let mut key = connection.prepare_cached("SELECT key FROM channels WHERE id = ?1")?;
            let mut find = connection
                .prepare_cached("SELECT position, value FROM measurements WHERE channel = ?1 AND at = ?2")?;
            let mut last: Option<(&str, Option<i64>)> = None;
            let mut seen = Vec::with_capacity(readings.len());
            for &(channel, at) in readings {
                let known = match last {
                    Some((same, known)) if same == channel => known,
                    _ => key.query_row([channel], |row| row.get(0)).optional()?,
                };
                last = Some((channel, known));
                seen.push(match known {
                    Some(known) => find
                        .query_row((known, at.as_micros()), |row| {
                            Ok(Seen {
                                position: Position(row.get::<_, i64>(0)? as u64),
                                value: row.get(1)?,
                            })
                        })
                        .optional()?,
                    None => None,
                });
            }
            Ok(seen)
        });
        match answer {
            // A swap or restart meanwhile may have begun anew.
            Ok(_) if self.shared.is_catching_up() => Ok(None),
            Ok(seen) => Ok(Some(seen)),
            Err(error) => Err(error.to_string()),
        }
    }
}
