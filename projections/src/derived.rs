//! Derived channels: values that are made of other channels' readings, stored beside those that were measured.
//!
//! Derived. They are made here, when a reading is folded, by the function that the rules use and of values corrected as
//! the ledger had it then: so what is shown is what was judged, and a list, a chart or a rollup of a derived channel is
//! one like any other. A calibration that is set later for an earlier time changes what is shown of the sources, never
//! what was made of them.
//! Invariants: the rows depend on the order of the entries alone; where two readings of one time make two values, the
//! one of the later entry stands, because it knows more.
//! Not here: what a value is (`domain::rule::derived`), rows of measurements (`raw`), buckets (`rollups`).

use crate::error::ProjectionError;
use crate::raw::Row;
use crate::world::Fact;
use domain::Timestamp;
use domain::calibration::Calibrations;
use domain::event::{CalibrationSet, DerivationSet, Event};
use domain::rule::Derived;
use domain::rule::engine::zone_of;
use domain::rule::kinds::VALUE_MAX;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, HashMap};

/// A derived channel at work.
#[derive(Debug)]
struct Target {
    derived: Derived,
    /// Of each source.
    calibrations: Vec<(i64, Calibrations)>,
    zone: Option<TimeZone>,
    newest: i64,
    before: i64,
    dirty: bool,
}

/// Every derived channel, read when the first reading needs them; a change of one reads that one only.
#[derive(Debug, Default)]
pub(crate) struct Deriving {
    loaded: bool,
    targets: BTreeMap<i64, Target>,
    by_source: HashMap<i64, Vec<i64>>,
    /// Values that were made in this batch, in order of position.
    rows: Vec<Row>,
}

impl Deriving {
    /// Forgets everything, as after a batch that was rolled back.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// How many values wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.rows.len()
    }

    /// Follows an entry of configuration.
    pub(crate) fn apply(&mut self, connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
        match fact.entry.aggregate_type {
            // Whichever changed, zones are asked for again.
            "site" | "device" => self.targets.values_mut().for_each(|target| target.zone = None),
            "channel" if matches!(fact.entry.event_type, "CalibrationSet" | "DerivationSet") => {
                match fact.event()? {
                    Some(Event::CalibrationSet(set)) => self.calibrated(connection, fact, &set)?,
                    Some(Event::DerivationSet(set)) => self.set(connection, fact, &set)?,
                    _ => {}
                }
            }
            "annotations" => noted(connection, fact)?,
            _ => {}
        }
        Ok(())
    }

    fn calibrated(
        &mut self,
        connection: &Connection,
        fact: &Fact<'_>,
        set: &CalibrationSet,
    ) -> Result<(), ProjectionError> {
        let Some(channel) = channel_key(connection, fact.entry.aggregate_id)? else {
            return Ok(());
        };
        let from = set.valid_from.as_micros();
        connection
            .prepare_cached("DELETE FROM calibrations WHERE channel = ?1 AND valid_from >= ?2")?
            .execute((channel, from))?;
        let correction = fact
            .payload
            .pointer("/correction/new")
            .filter(|new| !new.is_null());
        connection
            .prepare_cached("INSERT INTO calibrations VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                channel,
                from,
                fact.entry.position.get() as i64,
                correction.map(ToString::to_string),
            ])?;
        let all = self
            .targets
            .values_mut()
            .flat_map(|target| &mut target.calibrations);
        for (_, calibrations) in all.filter(|(source, _)| *source == channel) {
            calibrations.set(set.valid_from, set.correction.new);
        }
        Ok(())
    }

    fn set(
        &mut self,
        connection: &Connection,
        fact: &Fact<'_>,
        set: &DerivationSet,
    ) -> Result<(), ProjectionError> {
        let Some(channel) = channel_key(connection, fact.entry.aggregate_id)? else {
            return Ok(());
        };
        self.end(channel);
        connection
            .prepare_cached("DELETE FROM derivations WHERE channel = ?1")?
            .execute([channel])?;
        if let Some(derivation) = &set.derivation.new {
            let mut sources = Vec::new();
            for source in &derivation.sources {
                let Some(key) = channel_key(connection, source)? else {
                    return Ok(());
                };
                sources.push(key as u32);
            }
            let derived = Derived::new(derivation.clone(), sources);
            store(connection, channel, &derived)?;
            // Where they were not read yet, it is read with the others.
            if self.loaded {
                let before = connection
                    .prepare_cached("SELECT at FROM latest WHERE channel = ?1")?
                    .query_row([channel], |row| row.get(0))
                    .optional()?;
                self.begin(connection, channel, derived, before)?;
            }
        }
        Ok(())
    }

    /// Forgets one; the values that it made and that wait to be written stay.
    fn end(&mut self, key: i64) {
        let Some(target) = self.targets.remove(&key) else {
            return;
        };
        for (source, _) in &target.calibrations {
            if let Some(of) = self.by_source.get_mut(source) {
                of.retain(|derived| *derived != key);
                if of.is_empty() {
                    self.by_source.remove(source);
                }
            }
        }
    }

    /// Puts one to work; `before` is the newest value of it that is written.
    fn begin(
        &mut self,
        connection: &Connection,
        key: i64,
        derived: Derived,
        before: Option<i64>,
    ) -> Result<(), ProjectionError> {
        // Values of this batch that are not written yet count too.
        let waiting = self.rows.iter().filter(|made| made.channel == key);
        let before = before.unwrap_or(i64::MIN);
        let newest = waiting.map(|made| made.at).fold(before, i64::max);
        let mut calibrations = Vec::new();
        for source in derived.sources() {
            let source = i64::from(*source);
            self.by_source.entry(source).or_default().push(key);
            calibrations.push((source, calibrations_of(connection, source)?));
        }
        let target = Target {
            calibrations,
            derived,
            zone: None,
            newest,
            before,
            dirty: false,
        };
        self.targets.insert(key, target);
        Ok(())
    }

    fn load(&mut self, connection: &Connection) -> Result<(), ProjectionError> {
        let mut statement = connection.prepare_cached(
            "SELECT d.channel, d.state, l.at FROM derivations d LEFT JOIN latest l ON l.channel = d.channel",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (key, state): (i64, String) = (row.get(0)?, row.get(1)?);
            let derived: Derived = serde_json::from_str(&state)
                .map_err(|_| ProjectionError::Damaged("a derived channel that does not read".to_owned()))?;
            self.begin(connection, key, derived, row.get(2)?)?;
        }
        self.loaded = true;
        Ok(())
    }

    /// Makes the values that follow from those of one reading.
    pub(crate) fn take(
        &mut self,
        connection: &Connection,
        measured_at: Timestamp,
        position: u64,
        values: &[(i64, f64)],
    ) -> Result<(), ProjectionError> {
        if !self.loaded {
            self.load(connection)?;
        }
        if self.by_source.is_empty() {
            return Ok(());
        }
        let mut wanted: Vec<i64> = values
            .iter()
            .flat_map(|(channel, _)| self.by_source.get(channel).into_iter().flatten().copied())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        for key in wanted {
            let Some(target) = self.targets.get_mut(&key) else {
                continue;
            };
            let mut given = Vec::with_capacity(target.calibrations.len());
            for (source, calibrations) in &target.calibrations {
                let raw = values.iter().find(|(channel, _)| channel == source);
                // What rules pass over is passed over.
                if let Some((_, raw)) = raw.filter(|(_, raw)| raw.is_finite() && raw.abs() <= VALUE_MAX) {
                    given.push((*source as u32, calibrations.of(measured_at, *raw)));
                }
            }
            if given.is_empty() {
                continue;
            }
            let zone = match &target.zone {
                Some(zone) => zone,
                None => target.zone.insert(zone_at(connection, key)?),
            };
            target.dirty = true;
            if let Some(value) = target.derived.take(zone, measured_at, &given) {
                let at = measured_at.as_micros();
                target.newest = target.newest.max(at);
                self.rows.push(Row {
                    channel: key,
                    at,
                    value,
                    position,
                    before: target.before,
                });
            }
        }
        Ok(())
    }

    /// Gives the values that were made in this batch, and writes what the channels remember; the batch ends.
    pub(crate) fn finish(&mut self, connection: &Connection) -> Result<Vec<Row>, ProjectionError> {
        self.write(connection)?;
        for target in self.targets.values_mut() {
            target.before = target.newest;
        }
        Ok(std::mem::take(&mut self.rows))
    }

    fn write(&mut self, connection: &Connection) -> Result<(), ProjectionError> {
        for (key, target) in self.targets.iter_mut().filter(|(_, target)| target.dirty) {
            store(connection, *key, &target.derived)?;
            target.dirty = false;
        }
        Ok(())
    }
}

fn store(connection: &Connection, channel: i64, derived: &Derived) -> Result<(), ProjectionError> {
    let state = serde_json::to_string(derived)
        .map_err(|_| ProjectionError::Damaged("a derived channel that cannot be written".to_owned()))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO derivations VALUES (?1, ?2)")?
        .execute((channel, state))?;
    Ok(())
}

fn noted(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let (Some(channel), Some(Event::ReadingAnnotated(note))) =
        (channel_key(connection, fact.entry.aggregate_id)?, fact.event()?)
    else {
        return Ok(());
    };
    connection
        .prepare_cached("INSERT OR IGNORE INTO notes VALUES (?1, ?2, ?3)")?
        .execute((
            channel,
            note.measured_at.as_micros(),
            fact.entry.position.get() as i64,
        ))?;
    Ok(())
}

fn channel_key(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT key FROM channels WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()
}

/// The zone of the site that a channel's device is at.
fn zone_at(connection: &Connection, channel: i64) -> rusqlite::Result<TimeZone> {
    let name: Option<Option<String>> = connection
        .prepare_cached(
            "SELECT s.timezone FROM channels c JOIN devices d ON d.key = c.device JOIN sites s ON s.id = d.site
             WHERE c.key = ?1",
        )?
        .query_row([channel], |row| row.get(0))
        .optional()?;
    Ok(zone_of(name.flatten().as_deref().unwrap_or("UTC")))
}

/// The corrections of a channel, in one pass: they come in the order in which their times begin.
pub(crate) fn calibrations_of(connection: &Connection, channel: i64) -> rusqlite::Result<Calibrations> {
    let mut calibrations = Calibrations::default();
    let mut statement = connection.prepare_cached(
        "SELECT valid_from, correction FROM calibrations WHERE channel = ?1 ORDER BY valid_from",
    )?;
    let mut rows = statement.query([channel])?;
    while let Some(row) = rows.next()? {
        let correction: Option<String> = row.get(1)?;
        let correction = correction.and_then(|text| serde_json::from_str(&text).ok());
        calibrations.set(Timestamp::default().plus_micros(row.get(0)?), correction);
    }
    Ok(calibrations)
}
