//! Overview: when a device was last seen, what its channels last measured, where it was silent, what was refused.
//!
//! Derived. Invariants: a device's state is a fold of its readings in order of position, so batches do not show;
//! ages and `online` are never stored, because they change without an entry. Everything is bounded.
//! *Cadence*: the configured one, else the median of the device's own latest intervals.
//! *Gap*: an interval between consecutive readings (by `measured_at`) of more than two cadences; late readings
//! split the gap that they fall into.
//! Not here: questions (`query`), measurements of a bucket (`rollups`).

use crate::error::ProjectionError;
use crate::raw::Row;
use crate::world::{Fact, World, device_key, whose};
use rusqlite::{Connection, OptionalExtension, params};

/// Intervals that a cadence is learned from. Odd, so that the median is one of them.
const INTERVALS: usize = 15;
/// A learned cadence counts as no shorter than this for gaps: a device that sends every second is not silent
/// because one message was lost.
const LEARNED_GAP_MIN_US: i64 = 60_000_000;
/// A gap is longer than this many cadences.
const GAP_CADENCES: i64 = 2;
/// Gaps kept for a device, the newest; older ones are counted.
pub const GAPS_KEPT: i64 = 500;
/// Refusals kept for a source, the newest; totals count all.
pub const REFUSALS_KEPT: i64 = 100;

/// What is known of a device that sends.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DeviceState {
    pub last_seen: i64,
    pub first_measured: i64,
    pub last_measured: i64,
    pub last_position: i64,
    pub readings: i64,
    pub conflicts: i64,
    pub unresolved: i64,
    pub learned_us: i64,
    pub intervals: Vec<i64>,
    pub gaps: i64,
    pub gaps_dropped: i64,
    pub newest_gap_end: i64,
}

/// The interval above which a silence is a gap; `None` while no cadence is known. Zero means not known.
pub fn gap_limit_us(configured_us: i64, learned_us: i64) -> Option<i64> {
    if configured_us > 0 {
        Some(GAP_CADENCES * configured_us)
    } else if learned_us > 0 {
        Some((GAP_CADENCES * learned_us).max(LEARNED_GAP_MIN_US))
    } else {
        None
    }
}

impl DeviceState {
    pub(crate) fn load(connection: &Connection, device: i64) -> Result<Self, ProjectionError> {
        let state = connection
            .prepare_cached(
                "SELECT last_seen, first_measured, last_measured, last_position, readings, conflicts, unresolved,
                     learned_us, intervals, gaps, gaps_dropped, newest_gap_end
                 FROM device_state WHERE device = ?1",
            )?
            .query_row([device], |row| {
                let intervals: Vec<u8> = row.get(8)?;
                Ok(Self {
                    last_seen: row.get(0)?,
                    first_measured: row.get(1)?,
                    last_measured: row.get(2)?,
                    last_position: row.get(3)?,
                    readings: row.get(4)?,
                    conflicts: row.get(5)?,
                    unresolved: row.get(6)?,
                    learned_us: row.get(7)?,
                    intervals: intervals
                        .chunks_exact(8)
                        .map(|b| i64::from_be_bytes(b.try_into().expect("a chunk of eight bytes")))
                        .collect(),
                    gaps: row.get(9)?,
                    gaps_dropped: row.get(10)?,
                    newest_gap_end: row.get(11)?,
                })
            })
            .optional()?;
        Ok(state.unwrap_or_default())
    }

    /// Follows one reading.
    pub(crate) fn observe(
        &mut self,
        connection: &Connection,
        device: i64,
        cadence_us: i64,
        at: i64,
        received: i64,
        position: i64,
    ) -> Result<(), ProjectionError> {
        self.readings += 1;
        self.last_position = position;
        if self.readings == 1 {
            (self.last_seen, self.first_measured, self.last_measured) = (received, at, at);
            self.newest_gap_end = i64::MIN;
            return Ok(());
        }
        self.last_seen = self.last_seen.max(received);
        let limit = gap_limit_us(cadence_us, self.learned_us);
        if at > self.last_measured {
            let from = std::mem::replace(&mut self.last_measured, at);
            self.silence(connection, device, limit, from, at)?;
            self.learn(at - from);
        } else if at < self.first_measured {
            let to = std::mem::replace(&mut self.first_measured, at);
            self.silence(connection, device, limit, at, to)?;
        } else if at < self.newest_gap_end {
            self.split(connection, device, limit, at)?;
        }
        Ok(())
    }

    /// The median of every three, seven and fifteen intervals; then the next fifteen begin.
    fn learn(&mut self, interval_us: i64) {
        self.intervals.push(interval_us);
        let count = self.intervals.len();
        let first_round = self.learned_us == 0 || count == INTERVALS || self.readings <= INTERVALS as i64 + 1;
        if !(matches!(count, 3 | 7 | INTERVALS) && first_round) {
            return;
        }
        let mut sorted = self.intervals.clone();
        sorted.sort_unstable();
        self.learned_us = sorted[count / 2];
        if count == INTERVALS {
            self.intervals.clear();
        }
    }

    fn silence(
        &mut self,
        connection: &Connection,
        device: i64,
        limit: Option<i64>,
        from: i64,
        to: i64,
    ) -> Result<(), ProjectionError> {
        if limit.is_none_or(|limit| to - from <= limit) {
            return Ok(());
        }
        connection
            .prepare_cached("INSERT OR REPLACE INTO gaps VALUES (?1, ?2, ?3)")?
            .execute((device, from, to))?;
        self.gaps += 1;
        self.newest_gap_end = self.newest_gap_end.max(to);
        if self.gaps > GAPS_KEPT {
            connection
                .prepare_cached(
                    "DELETE FROM gaps WHERE device = ?1
                     AND from_at = (SELECT min(from_at) FROM gaps WHERE device = ?1)",
                )?
                .execute([device])?;
            self.gaps -= 1;
            self.gaps_dropped += 1;
        }
        Ok(())
    }

    /// A late reading ends a silence that was thought longer.
    fn split(
        &mut self,
        connection: &Connection,
        device: i64,
        limit: Option<i64>,
        at: i64,
    ) -> Result<(), ProjectionError> {
        let around: Option<(i64, i64)> = connection
            .prepare_cached(
                "SELECT from_at, to_at FROM gaps WHERE device = ?1 AND from_at < ?2 ORDER BY from_at DESC LIMIT 1",
            )?
            .query_row((device, at), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((from, to)) = around.filter(|&(_, to)| to > at) else {
            return Ok(());
        };
        connection
            .prepare_cached("DELETE FROM gaps WHERE device = ?1 AND from_at = ?2")?
            .execute((device, from))?;
        self.gaps -= 1;
        self.silence(connection, device, limit, from, at)?;
        self.silence(connection, device, limit, at, to)
    }

    fn store(&self, connection: &Connection, device: i64) -> Result<(), ProjectionError> {
        let intervals: Vec<u8> = self.intervals.iter().flat_map(|i| i.to_be_bytes()).collect();
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO device_state
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                device,
                self.last_seen,
                self.first_measured,
                self.last_measured,
                self.last_position,
                self.readings,
                self.conflicts,
                self.unresolved,
                self.learned_us,
                intervals,
                self.gaps,
                self.gaps_dropped,
                self.newest_gap_end,
            ])?;
        Ok(())
    }
}

/// Writes what a batch changed: the states of its devices and the newest value of its channels.
/// `rows` are the batch's new measurements, sorted by (channel, at).
pub(crate) fn store(connection: &Connection, world: &mut World, rows: &[Row]) -> Result<(), ProjectionError> {
    for device in world.take_dirty() {
        device.state.store(connection, device.key)?;
    }
    newest(connection, rows)
}

/// Writes the newest value of the channels of these rows, which are new and sorted by (channel, at).
pub(crate) fn newest(connection: &Connection, rows: &[Row]) -> Result<(), ProjectionError> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO latest VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (channel) DO UPDATE SET
             value = CASE WHEN excluded.at > at THEN excluded.value ELSE value END,
             position = CASE WHEN excluded.at > at THEN excluded.position ELSE position END,
             newest_position = max(newest_position, excluded.newest_position),
             count = count + excluded.count,
             at = max(at, excluded.at)",
    )?;
    for run in rows.chunk_by(|a, b| a.channel == b.channel) {
        let newest = &run[run.len() - 1];
        let position = run.iter().map(|row| row.position).max().unwrap_or(0);
        upsert.execute((
            newest.channel,
            newest.at,
            newest.value,
            newest.position as i64,
            position as i64,
            run.len() as i64,
        ))?;
    }
    Ok(())
}

/// Writes the newest values that took the place of others of the same time.
pub(crate) fn again(connection: &Connection, rows: &[Row]) -> Result<(), ProjectionError> {
    let mut update = connection.prepare_cached(
        "UPDATE latest SET
             value = CASE WHEN ?2 = at THEN ?3 ELSE value END,
             position = CASE WHEN ?2 = at THEN ?4 ELSE position END,
             newest_position = max(newest_position, ?4)
         WHERE channel = ?1",
    )?;
    for row in rows {
        update.execute((row.channel, row.at, row.value, row.position as i64))?;
    }
    Ok(())
}

/// Follows the entries that are not readings: refusals and parked uplinks.
pub(crate) fn apply(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    match fact.entry.event_type {
        "RequestsRefused" => refused(connection, fact),
        "UplinkParked" => parked(connection, fact),
        _ => Ok(()),
    }
}

fn refused(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let source = fact.text("source").unwrap_or("peer");
    let (owner, device) = whose(connection, source)?;
    let account = owner.or(fact.account);
    let codes = fact.payload["refused"].as_object();
    let counts = || {
        codes
            .into_iter()
            .flatten()
            .map(|(code, n)| (code.as_str(), n.as_i64().unwrap_or(0).max(0)))
    };
    let position = fact.entry.position.get() as i64;
    let recorded_at = fact.entry.recorded_at.as_micros();
    let to = instant(fact.text("to")).unwrap_or(recorded_at);
    connection
        .prepare_cached("INSERT OR REPLACE INTO refusals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            position,
            recorded_at,
            source,
            account,
            device,
            instant(fact.text("from")),
            to,
            counts().fold(0i64, |sum, (_, n)| sum.saturating_add(n)),
            fact.payload["refused"].to_string(),
            fact.sealed("/example"),
        ])?;
    connection
        .prepare_cached(
            "DELETE FROM refusals WHERE source = ?1 AND position <=
                 (SELECT position FROM refusals WHERE source = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute((source, REFUSALS_KEPT))?;
    let mut total = connection.prepare_cached(
        "INSERT INTO refusal_totals VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (source, code) DO UPDATE SET
             total = total + excluded.total, last_at = max(last_at, excluded.last_at)",
    )?;
    for (code, n) in counts() {
        total.execute(params![source, code, account, device, n, to])?;
    }
    Ok(())
}

fn parked(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let received = instant(fact.text("received_at")).unwrap_or(fact.entry.recorded_at.as_micros());
    connection
        .prepare_cached(
            "INSERT INTO trays VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6)
             ON CONFLICT (stream) DO UPDATE SET
                 parked = parked + 1, last_at = max(last_at, excluded.last_at),
                 last_position = excluded.last_position, last_payload = excluded.last_payload",
        )?
        .execute(params![
            fact.entry.aggregate_id,
            fact.account,
            fact.text("dev_eui").unwrap_or(""),
            received,
            fact.entry.position.get() as i64,
            String::from_utf8_lossy(fact.entry.payload),
        ])?;
    Ok(())
}

/// Follows a conflict: it is counted, the first value stands.
pub(crate) fn conflict(
    connection: &Connection,
    world: &mut World,
    device_id: &str,
) -> Result<(), ProjectionError> {
    // A device may have a conflict only after a reading; one without is not ours to explain.
    if device_key(connection, device_id)?.is_some()
        && let Some(device) = world.device_mut(connection, device_id)?
    {
        device.state.conflicts += 1;
    }
    Ok(())
}

fn instant(text: Option<&str>) -> Option<i64> {
    domain::Timestamp::parse_rfc3339(text?)
        .ok()
        .map(domain::Timestamp::as_micros)
}
