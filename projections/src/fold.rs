//! The fold: entries in, rows out.
//!
//! Derived. Invariants: entries come in order of position and without gaps; readings are gathered over a whole
//! batch and written at its end, all else as it comes, and no row depends on where a batch ends.
//! Not here: the transaction around it (`store`), where entries come from (`projector`).

use crate::derived::Deriving;
use crate::error::ProjectionError;
use crate::raw::{self, Row};
use crate::world::{Fact, World};
use crate::{alarms, outbox, overview, rollups, timeline};
use domain::entry::Entry;
use domain::reading::{READING_CONFLICT, READING_RECORDED, READINGS, Reading};
use domain::{Position, Timestamp};
use rusqlite::Connection;

/// What a batch has gathered so far, and what is kept between batches.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    /// Entries that were followed and are no readings.
    facts: u64,
    world: World,
    rows: Vec<Row>,
    deriving: Deriving,
    /// Values of the reading at hand, by channel.
    values: Vec<(i64, f64)>,
    received: ReceivedAt,
}

impl Fold {
    /// Forgets what a rolled back batch left in memory.
    pub(crate) fn forget(&mut self) {
        self.world.forget();
        self.rows.clear();
        self.deriving.forget();
    }

    /// How many entries were followed that are no readings, those of batches that were rolled back included.
    pub(crate) fn facts(&self) -> u64 {
        self.facts
    }

    /// Readings waiting to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.rows.len() + self.deriving.waiting()
    }

    /// Follows one entry and gives its time.
    pub(crate) fn entry(
        &mut self,
        connection: &Connection,
        position: Position,
        bytes: &[u8],
    ) -> Result<Timestamp, ProjectionError> {
        let unreadable = |reason: String| ProjectionError::Entry { position, reason };
        let entry = Entry::read(bytes).map_err(|error| unreadable(error.to_string()))?;
        if entry.position != position {
            return Err(ProjectionError::OutOfOrder {
                expected: position,
                found: entry.position,
            });
        }
        if entry.aggregate_type == READINGS && entry.event_type == READING_RECORDED {
            let reading = Reading::read(entry.payload).map_err(|error| unreadable(error.to_string()))?;
            self.reading(connection, &entry, &reading)?;
        } else if entry.aggregate_type == READINGS && entry.event_type == READING_CONFLICT {
            overview::conflict(connection, &mut self.world, entry.aggregate_id)?;
        } else {
            self.facts += 1;
            let fact = Fact::read(connection, entry)?;
            self.world.apply(connection, &fact)?;
            self.deriving.apply(connection, &fact)?;
            overview::apply(connection, &fact)?;
            alarms::apply(connection, &fact)?;
            timeline::apply(connection, &fact)?;
            outbox::apply(connection, &fact)?;
        }
        Ok(entry.recorded_at)
    }

    fn reading(
        &mut self,
        connection: &Connection,
        entry: &Entry<'_>,
        reading: &Reading<'_>,
    ) -> Result<(), ProjectionError> {
        let Some(device) = self.world.device_mut(connection, entry.aggregate_id)? else {
            tracing::warn!(
                position = entry.position.get(),
                "reading of a device that was never registered"
            );
            return Ok(());
        };
        let at = reading.measured_at.as_micros();
        let received = self.received.of(entry.metadata).unwrap_or(entry.recorded_at);
        device.state.observe(
            connection,
            device.key,
            device.cadence_us,
            at,
            received.as_micros(),
            entry.position.get() as i64,
        )?;
        self.values.clear();
        for &(key, value) in &reading.values {
            let Some(channel) = device.channels.iter_mut().find(|c| *c.value_key == *key) else {
                device.state.unresolved += 1;
                continue;
            };
            channel.newest = channel.newest.max(at);
            self.values.push((channel.key, value));
            self.rows.push(Row {
                channel: channel.key,
                at,
                value,
                position: entry.position.get(),
                before: channel.before,
            });
        }
        let position = entry.position.get();
        self.deriving
            .take(connection, reading.measured_at, position, &self.values)
    }

    /// Writes what was gathered; the batch ends.
    pub(crate) fn finish(&mut self, connection: &Connection) -> Result<(), ProjectionError> {
        raw::store(connection, &mut self.rows)?;
        rollups::fold(connection, &self.rows)?;
        overview::store(connection, &mut self.world, &self.rows)?;
        let mut made = self.deriving.finish(connection)?;
        let again = raw::store_made(connection, &mut made)?;
        rollups::fold(connection, &made)?;
        overview::newest(connection, &made)?;
        rollups::again(connection, &again)?;
        overview::again(connection, &again)?;
        self.rows.clear();
        self.world.trim();
        Ok(())
    }
}

/// Finds `received_at` in a reading's metadata. Entries of one request have it at the same place with the same
/// text, so that place and text are tried first.
#[derive(Debug, Default)]
struct ReceivedAt {
    at: usize,
    text: Vec<u8>,
    time: Timestamp,
}

const RECEIVED_AT: &[u8] = b"\"received_at\":\"";
/// Bytes of a time in its canonical form.
const TIME_BYTES: usize = 27;

impl ReceivedAt {
    fn of(&mut self, metadata: &[u8]) -> Option<Timestamp> {
        if metadata
            .get(self.at..)
            .is_none_or(|rest| !rest.starts_with(RECEIVED_AT))
        {
            self.at = metadata
                .windows(RECEIVED_AT.len())
                .position(|window| window == RECEIVED_AT)?;
        }
        let start = self.at + RECEIVED_AT.len();
        let text = metadata.get(start..start + TIME_BYTES)?;
        if self.text != text {
            self.time = Timestamp::parse_canonical(text).ok()?;
            self.text.clear();
            self.text.extend_from_slice(text);
        }
        Some(self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_at_is_found_wherever_it_stands() {
        let mut received = ReceivedAt::default();
        let one = Timestamp::parse_rfc3339("2026-05-17T08:22:00.000001Z").expect("valid");
        let two = Timestamp::parse_rfc3339("2026-05-17T08:22:01Z").expect("valid");
        for (metadata, expected) in [
            (format!("{{\"received_at\":\"{one}\"}}"), Some(one)),
            (format!("{{\"received_at\":\"{two}\"}}"), Some(two)),
            (
                format!("{{\"clock\":\"held\",\"received_at\":\"{two}\"}}"),
                Some(two),
            ),
            ("{}".to_owned(), None),
            ("{\"received_at\":\"soon\"}".to_owned(), None),
            (format!("{{\"received_at\":\"{one}\"}}"), Some(one)),
        ] {
            assert_eq!(received.of(metadata.as_bytes()), expected, "{metadata}");
        }
    }
}
