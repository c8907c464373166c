//! Measurements of a channel: raw or rolled up, in pages.
//!
//! Invariants: rising in time, `from` inclusive, `to` exclusive; a bucket is dated by its start and belongs to the
//! range that holds its start, so that adjoining ranges give each bucket once; what is missing is left out, never
//! made up; a raw measurement is a group of one (its mean, minimum, … are itself, its count is 1).
//! Values are corrected as they are read (`corrected`), unless raw ones are asked for.
//! Source: REFERENCE §1.6.
//! Not here: defaults that need a clock (`api`), streams (`export`).

use super::corrected::{Anew, Applied, Values, applied, bucket, newest_mark};
use super::cursor::ListCursor;
use super::{ChannelRef, ReadModel, find_channel};
use crate::derived::calibrations_of;
use crate::error::QueryError;
use crate::rollups::{Resolution, Rollup};
use domain::Timestamp;
use domain::calibration::Calibrations;
use domain::hash::{base64url, sha256_of};
use rusqlite::Connection;

/// Points of a page when the asker does not say (REFERENCE §1.6).
pub const LIMIT_DEFAULT: usize = 5_000;
/// Most points of a page: about 2 MB of JSON. Streams have no such limit.
pub const LIMIT_MAX: usize = 50_000;
/// Most channels of one question (REFERENCE §1.6).
pub const CHANNELS_MAX: usize = 32;
/// `agg=auto` takes the finest that gives no more points than this: two for each pixel of a phone.
pub const AUTO_POINTS_MAX: usize = 1_500;

/// What the points stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Agg {
    /// Every measurement.
    #[default]
    Raw,
    /// Buckets.
    Rollup(Resolution),
    /// The finest of the others that gives at most [`AUTO_POINTS_MAX`] points.
    Auto,
}

impl Agg {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        let rollups = Resolution::ALL.map(Self::Rollup);
        [Self::Raw].into_iter().chain(rollups).chain([Self::Auto])
    }

    /// `raw`, `5m`, `1h`, `1d` or `auto`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Rollup(Resolution::FiveMinutes) => "5m",
            Self::Rollup(Resolution::Hour) => "1h",
            Self::Rollup(Resolution::Day) => "1d",
            Self::Auto => "auto",
        }
    }

    /// Reads what [`Agg::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::all().find(|agg| agg.as_str() == text)
    }
}

/// Which number of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Function {
    /// The mean.
    #[default]
    Mean,
    /// The lowest.
    Min,
    /// The highest.
    Max,
    /// How many.
    Count,
    /// The latest.
    Last,
    /// The median, within 1 %.
    P50,
    /// The 95th percentile, within 1 %.
    P95,
}

impl Function {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Mean,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::Last,
        Self::P50,
        Self::P95,
    ];

    /// `mean`, `min`, `max`, `count`, `last`, `p50` or `p95`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
            Self::Last => "last",
            Self::P50 => "p50",
            Self::P95 => "p95",
        }
    }

    /// Reads what [`Function::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.as_str() == text)
    }

    /// Of a measurement, as a group of one.
    const fn of_one(self, value: f64) -> f64 {
        match self {
            Self::Count => 1.0,
            _ => value,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasurementsQuery {
    /// Inclusive.
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    /// What points stand for.
    pub agg: Agg,
    /// Which number of a bucket.
    pub function: Function,
    /// As corrected or as recorded.
    pub values: Values,
    /// Most points, 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// Where to go on; `from`, `to`, `agg`, `function` and `values` are then those of the first page.
    pub cursor: Option<String>,
}

impl MeasurementsQuery {
    /// All of a range with the defaults: every measurement, mean, as corrected, [`LIMIT_DEFAULT`].
    pub fn range(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            agg: Agg::default(),
            function: Function::default(),
            values: Values::default(),
            limit: LIMIT_DEFAULT,
            cursor: None,
        }
    }

    fn check(&self) -> Result<(), QueryError> {
        if self.from > self.to {
            return Err(QueryError::BadRange(format!(
                "from ({}) is after to ({})",
                self.from, self.to
            )));
        }
        if !(1..=LIMIT_MAX).contains(&self.limit) {
            return Err(QueryError::BadRange(format!("limit must be 1 to {LIMIT_MAX}")));
        }
        Ok(())
    }
}

/// A point: a measurement, or a bucket dated by its start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// What was recorded.
    pub raw: f64,
    /// What is asked for: as corrected, or as recorded.
    pub value: f64,
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// What points stand for; never `Auto`.
    pub agg: Agg,
    /// Which number of a bucket.
    pub function: Function,
    /// As corrected or as recorded.
    pub values: Values,
    /// Rising in time.
    pub data: Vec<Point>,
    /// What corrects them.
    pub calibrations: Vec<Applied>,
    /// The time that the points stand for: the first one's beginning, and the end of the last one.
    pub span: (Timestamp, Timestamp),
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

impl Points {
    /// Whether there is a next page.
    pub fn has_more(&self) -> bool {
        self.next_cursor.is_some()
    }
}

impl ReadModel {
    /// One page of a channel: at most `limit` points, and fewer where more than [`super::ANEW_VALUES_MAX`] values would
    /// be corrected one by one.
    ///
    /// # Errors
    /// `ChannelNotFound`, `BadRange`, `BadCursor`, `TooManyShared` for one bucket of more, `Unavailable`.
    pub fn measurements(
        &self,
        account: &str,
        channel: &str,
        query: &MeasurementsQuery,
    ) -> Result<Points, QueryError> {
        query.check()?;
        self.ask(|connection| {
            let found = find_channel(connection, account, channel)?;
            page(connection, &found, channel, query, &mut Anew::of_an_answer())
        })
    }

    /// The first page of each of several channels, in the order asked, from one snapshot.
    ///
    /// # Errors
    /// As [`ReadModel::measurements`], of all of them together; one channel that is not found fails all; `BadRange` beyond
    /// [`CHANNELS_MAX`], and where a cursor is given, which is for one channel only.
    pub fn measurements_of(
        &self,
        account: &str,
        channels: &[&str],
        query: &MeasurementsQuery,
    ) -> Result<Vec<(String, Points)>, QueryError> {
        query.check()?;
        if channels.is_empty() || channels.len() > CHANNELS_MAX {
            return Err(QueryError::BadRange(format!(
                "ask for 1 to {CHANNELS_MAX} channels"
            )));
        }
        if query.cursor.is_some() {
            return Err(QueryError::BadCursor);
        }
        self.ask(|connection| {
            let found = channels
                .iter()
                .map(|id| Ok((*id, find_channel(connection, account, id)?)))
                .collect::<Result<Vec<_>, QueryError>>()?;
            let mut anew = Anew::of_an_answer();
            found
                .into_iter()
                .map(|(id, channel)| Ok((id.to_owned(), page(connection, &channel, id, query, &mut anew)?)))
                .collect()
        })
    }

    /// An entity tag of an answer: it changes when a channel gets a measurement, late ones too, a correction or a
    /// note, or when the question changes. A rebuild does not change it.
    ///
    /// # Errors
    /// `ChannelNotFound`, `Unavailable`.
    pub fn etag(
        &self,
        account: &str,
        channels: &[&str],
        query: &MeasurementsQuery,
    ) -> Result<String, QueryError> {
        let mut text = format!(
            "{} {} {} {} {} {} {}\n",
            query.from,
            query.to,
            query.agg.as_str(),
            query.function.as_str(),
            query.values.as_str(),
            query.limit,
            query.cursor.as_deref().unwrap_or("")
        );
        self.ask(|connection| {
            for id in channels {
                let found = find_channel(connection, account, id)?;
                let mark = newest_mark(connection, found.key)?;
                text.push_str(&format!("{id} {} {mark}\n", found.newest_position));
            }
            Ok(())
        })?;
        Ok(base64url(
            &sha256_of(&[b"daybook/measurements\n", text.as_bytes()]).0[..16],
        ))
    }
}

fn page(
    connection: &Connection,
    channel: &ChannelRef,
    id: &str,
    query: &MeasurementsQuery,
    anew: &mut Anew,
) -> Result<Points, QueryError> {
    let mut at = match &query.cursor {
        Some(text) => ListCursor::decode(text, id)?,
        None => {
            let (from, to) = (query.from.as_micros(), query.to.as_micros());
            ListCursor {
                channel: id.to_owned(),
                agg: resolve(connection, channel, query.agg, from, to)?,
                function: query.function,
                values: query.values,
                from,
                to,
                last: from - 1,
            }
        }
    };
    let mut data = Vec::with_capacity(query.limit.min(LIMIT_DEFAULT));
    let more = read(connection, channel.key, &at, (query.limit, anew), &mut |point| {
        data.push(point);
        Ok(())
    })?;
    let width_us = match at.agg {
        Agg::Rollup(resolution) => resolution.width_us(),
        Agg::Raw | Agg::Auto => 1,
    };
    let begins = data.first().map_or(at.from, |first| first.at.as_micros());
    let ends = data.last().map_or(at.from, |last| last.at.as_micros() + width_us);
    let calibrations = match at.values {
        Values::Raw => Vec::new(),
        Values::Calibrated | Values::Both => applied(connection, channel.key, begins, ends)?,
    };
    // Where the channels before it left no room for its first bucket, it is empty and goes on from its beginning.
    let next_cursor = more.then(|| {
        at.last = data.last().map_or(at.last, |last| last.at.as_micros());
        at.encode()
    });
    Ok(Points {
        agg: at.agg,
        function: at.function,
        values: at.values,
        data,
        calibrations,
        span: (super::time(begins), super::time(ends)),
        next_cursor,
    })
}

/// What `auto` stands for in this range.
pub(super) fn resolve(
    connection: &Connection,
    channel: &ChannelRef,
    agg: Agg,
    from: i64,
    to: i64,
) -> Result<Agg, QueryError> {
    if agg != Agg::Auto {
        return Ok(agg);
    }
    let most = AUTO_POINTS_MAX as i64 + 1;
    for (choice, sql) in [
        (
            Agg::Raw,
            "SELECT count(*) FROM (SELECT 1 FROM measurements
                 WHERE channel = ?1 AND at >= ?2 AND at < ?3 LIMIT ?4)",
        ),
        (
            Agg::Rollup(Resolution::FiveMinutes),
            "SELECT count(*) FROM (SELECT 1 FROM rollups_5m
                 WHERE channel = ?1 AND bucket >= ?2 AND bucket < ?3 LIMIT ?4)",
        ),
        (
            Agg::Rollup(Resolution::Hour),
            "SELECT count(*) FROM (SELECT 1 FROM rollups_1h
                 WHERE channel = ?1 AND bucket >= ?2 AND bucket < ?3 LIMIT ?4)",
        ),
    ] {
        let count: i64 = connection
            .prepare_cached(sql)?
            .query_row((channel.key, from, to, most), |row| row.get(0))?;
        if count < most {
            return Ok(choice);
        }
    }
    Ok(Agg::Rollup(Resolution::Day))
}

/// Gives at most `limit` points behind `at.last` to `each`, fewer where too many would be made `anew`, and says whether
/// there are more.
pub(super) fn read(
    connection: &Connection,
    channel: i64,
    at: &ListCursor,
    (limit, anew): (usize, &mut Anew),
    each: &mut dyn FnMut(Point) -> Result<(), QueryError>,
) -> Result<bool, QueryError> {
    let (sql, resolution) = match at.agg {
        Agg::Rollup(resolution) => (rollup_sql(resolution), Some(resolution)),
        Agg::Raw | Agg::Auto => (
            "SELECT at, value FROM measurements WHERE channel = ?1 AND at > ?2 AND at < ?3 ORDER BY at LIMIT ?4",
            None,
        ),
    };
    // What was recorded is not corrected, so nothing is read or made anew for it.
    let calibrations = match at.values {
        Values::Raw => Calibrations::default(),
        Values::Calibrated | Values::Both => calibrations_of(connection, channel)?,
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((channel, at.last, at.to, limit as i64 + 1))?;
    let mut given = 0;
    while let Some(row) = rows.next()? {
        if given == limit {
            return Ok(true);
        }
        let begins: i64 = row.get(0)?;
        let (raw, value) = match resolution {
            Some(resolution) => {
                let rollup = Rollup::from_row(row, 1)??;
                let of = (channel, &calibrations);
                let Ok(it) = bucket(connection, of, (resolution, begins), &rollup, anew)? else {
                    return Ok(true);
                };
                (at.function.of(&rollup, None), it.number(at.function))
            }
            None => {
                let raw: f64 = row.get(1)?;
                let value = calibrations.of(super::time(begins), raw);
                (at.function.of_one(raw), at.function.of_one(value))
            }
        };
        given += 1;
        each(Point {
            at: super::time(begins),
            raw,
            value,
        })?;
    }
    Ok(false)
}

pub(super) const fn rollup_sql(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::FiveMinutes => {
            "SELECT bucket, count, min, max, first_at, first, last_at, last, sum, sketch FROM rollups_5m
             WHERE channel = ?1 AND bucket > ?2 AND bucket < ?3 ORDER BY bucket LIMIT ?4"
        }
        Resolution::Hour => {
            "SELECT bucket, count, min, max, first_at, first, last_at, last, sum, sketch FROM rollups_1h
             WHERE channel = ?1 AND bucket > ?2 AND bucket < ?3 ORDER BY bucket LIMIT ?4"
        }
        Resolution::Day => {
            "SELECT bucket, count, min, max, first_at, first, last_at, last, sum, sketch FROM rollups_1d
             WHERE channel = ?1 AND bucket > ?2 AND bucket < ?3 ORDER BY bucket LIMIT ?4"
        }
    }
}
