//! Values as they are shown: raw ones, corrected by what was in force when they were measured.
//!
//! Invariants: what is stored is raw and stays; a bucket that one correction covers is corrected as a whole, because
//! corrections are lines (one that falls turns lowest into highest, and quantiles about); a bucket that several share
//! is made anew of its raw values, of which an answer reads so many and no more.
//! Source: DESIGN "Decided". Not here: the line itself (`domain::calibration`), where corrections are kept (`derived`).

use super::measurements::Function;
use super::timeline::{TimelineItem, item};
use super::{ReadModel, find_channel, time};
use crate::error::QueryError;
use crate::rollups::{Resolution, Rollup, rows_between};
use domain::calibration::{Calibrations, corrected};
use domain::event::Correction;
use domain::{Position, Timestamp};
use rusqlite::Connection;

/// Most raw values that are read to make buckets of one answer anew; a tenth of a second's work. A day of a value each
/// second has 86,400. A page that would need more ends before, and the next one goes on there.
pub const ANEW_VALUES_MAX: u64 = 200_000;

/// Most notes of an answer, the newest by when their readings were measured.
pub const NOTES_MAX: usize = 100;

/// Which values are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Values {
    /// As corrected.
    #[default]
    Calibrated,
    /// As recorded.
    Raw,
    /// As corrected, with what was recorded beside.
    Both,
}

impl Values {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Calibrated, Self::Raw, Self::Both];

    /// `calibrated`, `raw` or `both`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calibrated => "calibrated",
            Self::Raw => "raw",
            Self::Both => "both",
        }
    }

    /// Reads what [`Values::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|values| values.as_str() == text)
    }
}

/// A correction in force, and the entry that set it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Applied {
    /// Of values measured from here on.
    pub valid_from: Timestamp,
    /// What it does; nothing, where it took one back.
    pub correction: Option<Correction>,
    /// Its entry.
    pub position: Position,
}

/// A bucket as it is read.
pub(super) enum Bucket<'r> {
    Under(&'r Rollup, Option<Correction>),
    Anew(Rollup),
}

impl Bucket<'_> {
    pub(super) fn number(&self, function: Function) -> f64 {
        match self {
            Self::Under(rollup, correction) => function.of(rollup, *correction),
            Self::Anew(rollup) => function.of(rollup, None),
        }
    }
}

/// How many raw values an answer may still read to make buckets anew; several channels of one answer share it.
#[derive(Debug)]
pub(super) struct Anew {
    left: u64,
}

/// The answer, or this page of it, ends here.
#[derive(Debug)]
pub(super) struct PageEnds;

impl Anew {
    /// For one answer.
    pub(super) const fn of_an_answer() -> Self {
        Self {
            left: ANEW_VALUES_MAX,
        }
    }

    /// Takes the values of a bucket. The first one always fits, so that every page of one channel goes on.
    pub(super) fn take(&mut self, values: u64) -> Result<Result<(), PageEnds>, QueryError> {
        if values > ANEW_VALUES_MAX {
            return Err(QueryError::TooManyShared {
                values,
                most: ANEW_VALUES_MAX,
            });
        }
        let Some(left) = self.left.checked_sub(values) else {
            return Ok(Err(PageEnds));
        };
        self.left = left;
        Ok(Ok(()))
    }

    /// Takes the values of a bucket for an answer that has no pages.
    pub(super) fn take_whole(&mut self, values: u64) -> Result<(), QueryError> {
        self.take(values)?.map_err(|PageEnds| QueryError::TooManyShared {
            values,
            most: ANEW_VALUES_MAX,
        })
    }
}

/// A bucket with what corrects it; where it has to be made anew and too many were, the page ends before it.
pub(super) fn bucket<'r>(
    connection: &Connection,
    (channel, calibrations): (i64, &Calibrations),
    (resolution, from): (Resolution, i64),
    rollup: &'r Rollup,
    anew: &mut Anew,
) -> Result<Result<Bucket<'r>, PageEnds>, QueryError> {
    let to = from + resolution.width_us();
    if let Ok(correction) = calibrations.over(time(from), time(to)) {
        return Ok(Ok(Bucket::Under(rollup, correction)));
    }
    if let Err(ends) = anew.take(rollup.count)? {
        return Ok(Err(ends));
    }
    let mut rows = rows_between(connection, channel, from, to)?;
    for row in &mut rows {
        row.value = calibrations.of(time(row.at), row.value);
    }
    Ok(Ok(match Rollup::of_rows(&rows, &mut Vec::new()) {
        Some(anew) => Bucket::Anew(anew),
        None => Bucket::Under(rollup, calibrations.at(time(from))),
    }))
}

impl Function {
    /// Of a bucket whose values are corrected by this.
    pub fn of(self, rollup: &Rollup, correction: Option<Correction>) -> f64 {
        let falls = correction.is_some_and(Correction::falls);
        let quantile = |q: f64| rollup.quantile(if falls { 1.0 - q } else { q });
        let raw = match self {
            Self::Count => return rollup.count as f64,
            Self::Mean => rollup.mean(),
            Self::Min if falls => rollup.max,
            Self::Max if falls => rollup.min,
            Self::Min => rollup.min,
            Self::Max => rollup.max,
            Self::Last => rollup.last.1,
            Self::P50 => quantile(0.5),
            Self::P95 => quantile(0.95),
        };
        corrected(correction, raw)
    }
}

/// What corrects values measured from `from` to before `to`.
pub(super) fn applied(
    connection: &Connection,
    channel: i64,
    from: i64,
    to: i64,
) -> rusqlite::Result<Vec<Applied>> {
    let mut statement = connection.prepare_cached(
        "SELECT valid_from, correction, position FROM calibrations
         WHERE channel = ?1 AND valid_from < ?3 AND valid_from >= coalesce(
             (SELECT max(valid_from) FROM calibrations WHERE channel = ?1 AND valid_from <= ?2), ?2)
         ORDER BY valid_from",
    )?;
    let rows = statement.query_map((channel, from, to), |row| {
        let correction: Option<String> = row.get(1)?;
        Ok(Applied {
            valid_from: time(row.get(0)?),
            correction: correction.and_then(|text| serde_json::from_str(&text).ok()),
            position: Position(row.get::<_, i64>(2)? as u64),
        })
    })?;
    rows.collect()
}

/// The newest entry that changes how a channel's values are shown: a correction, or a note. −1 without any.
pub(super) fn newest_mark(connection: &Connection, channel: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(position) FROM calibrations WHERE channel = ?1), -1),
                 coalesce((SELECT max(position) FROM notes WHERE channel = ?1), -1))",
        )?
        .query_row([channel], |row| row.get(0))
}

impl ReadModel {
    /// The notes on readings measured from `from` to before `to`, the newest by that time first, at most
    /// [`NOTES_MAX`].
    ///
    /// # Errors
    /// `ChannelNotFound`, `Unavailable`.
    pub fn notes(
        &self,
        account: &str,
        channel: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<TimelineItem>, QueryError> {
        self.ask(|connection| {
            let found = find_channel(connection, account, channel)?;
            let mut statement = connection.prepare_cached(
                "SELECT t.* FROM notes n JOIN timeline t ON t.position = n.position
                 WHERE n.channel = ?1 AND n.at >= ?2 AND n.at < ?3 ORDER BY n.at DESC, n.position DESC LIMIT ?4",
            )?;
            let range = (found.key, from.as_micros(), to.as_micros(), NOTES_MAX as i64);
            let items = statement.query_map(range, item)?;
            Ok(items.collect::<rusqlite::Result<_>>()?)
        })
    }
}
