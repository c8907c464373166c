//! Rollups of 5 minutes, 1 hour and 1 day.
//!
//! Derived. Invariants: buckets are UTC and half open; a bucket's row depends on the set of measurements in it
//! alone, so any batching, any order and a rebuild give the same bytes: the sum is an integer in 1e-9 units, the
//! sketch counts integers, first and last go by (`measured_at`, position), and one time has one measurement.
//! A batch is folded in memory, 5 minutes into hours into days, before each bucket is written once.
//! Not here: which rows are new (`raw`), reading them (`query`).

use crate::error::ProjectionError;
use crate::raw::Row;
use crate::sketch::{LARGEST, Sketch, SketchError, bin_of};
use rusqlite::{Connection, OptionalExtension, types::ValueRef};

/// Units of a sum in 1.
const SUM_SCALE: f64 = 1e9;

/// The width of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// 5 minutes.
    FiveMinutes,
    /// 1 hour.
    Hour,
    /// 1 day, UTC.
    Day,
}

impl Resolution {
    /// From the finest.
    pub const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::Day];

    /// Microseconds of a bucket.
    pub const fn width_us(self) -> i64 {
        match self {
            Self::FiveMinutes => 300_000_000,
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
        }
    }

    /// The start of the bucket that holds `at`.
    pub const fn bucket(self, at: i64) -> i64 {
        at - at.rem_euclid(self.width_us())
    }

    /// Its table.
    pub const fn table(self) -> &'static str {
        match self {
            Self::FiveMinutes => "rollups_5m",
            Self::Hour => "rollups_1h",
            Self::Day => "rollups_1d",
        }
    }

    const fn select(self) -> &'static str {
        match self {
            Self::FiveMinutes => {
                "SELECT count, min, max, first_at, first, last_at, last, sum, sketch FROM rollups_5m
                 WHERE channel = ?1 AND bucket = ?2"
            }
            Self::Hour => {
                "SELECT count, min, max, first_at, first, last_at, last, sum, sketch FROM rollups_1h
                 WHERE channel = ?1 AND bucket = ?2"
            }
            Self::Day => {
                "SELECT count, min, max, first_at, first, last_at, last, sum, sketch FROM rollups_1d
                 WHERE channel = ?1 AND bucket = ?2"
            }
        }
    }

    const fn write(self) -> &'static str {
        match self {
            Self::FiveMinutes => {
                "INSERT OR REPLACE INTO rollups_5m VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            }
            Self::Hour => {
                "INSERT OR REPLACE INTO rollups_1h VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            }
            Self::Day => {
                "INSERT OR REPLACE INTO rollups_1d VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            }
        }
    }
}

/// What is known of the measurements in a bucket; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// How many.
    pub count: u64,
    /// The lowest value.
    pub min: f64,
    /// The highest value.
    pub max: f64,
    /// The earliest (measured at, value).
    pub first: (i64, f64),
    /// The latest (measured at, value).
    pub last: (i64, f64),
    /// The sum in 1e-9 units.
    pub sum: i128,
    /// Quantiles.
    pub sketch: Sketch,
}

/// A value's part of a sum, in 1e-9 units. Values beyond ±1e15 count as that, so that no
/// sum of 2^46 values overflows.
pub fn units(value: f64) -> i128 {
    (value.clamp(-LARGEST, LARGEST) * SUM_SCALE).round_ties_even() as i128
}

impl Rollup {
    /// Of rows of one bucket in order of `at`; `None` without rows. `scratch` is memory for their bins.
    pub(crate) fn of_rows(rows: &[Row], scratch: &mut Vec<i32>) -> Option<Self> {
        let (first, last) = (rows.first()?, rows.last()?);
        let (mut min, mut max, mut sum) = (first.value, first.value, 0i128);
        scratch.clear();
        for row in rows {
            min = min.min(row.value);
            max = max.max(row.value);
            sum += units(row.value);
            scratch.push(bin_of(row.value));
        }
        Some(Self {
            count: rows.len() as u64,
            min,
            max,
            first: (first.at, first.value),
            last: (last.at, last.value),
            sum,
            sketch: Sketch::of_bins(scratch),
        })
    }

    /// Adds another bucket's, or another part of this one's, measurements.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.first.0 < self.first.0 {
            self.first = other.first;
        }
        if other.last.0 > self.last.0 {
            self.last = other.last;
        }
        self.sum += other.sum;
        self.sketch.merge(&other.sketch);
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / (self.count as f64 * SUM_SCALE)
    }

    /// A quantile within 1 %, never outside the measured range.
    pub fn quantile(&self, q: f64) -> f64 {
        self.sketch
            .quantile(q)
            .map_or(self.last.1, |v| v.max(self.min).min(self.max))
    }

    /// From the nine columns behind (channel, bucket), beginning at column `at`.
    pub(crate) fn from_row(
        row: &rusqlite::Row<'_>,
        at: usize,
    ) -> rusqlite::Result<Result<Self, SketchError>> {
        let ValueRef::Blob(sum) = row.get_ref(at + 7)? else {
            return Ok(Err(SketchError));
        };
        let ValueRef::Blob(sketch) = row.get_ref(at + 8)? else {
            return Ok(Err(SketchError));
        };
        let (Ok(sum), Ok(sketch)) = (sum.try_into(), Sketch::decode(sketch)) else {
            return Ok(Err(SketchError));
        };
        Ok(Ok(Self {
            count: row.get::<_, i64>(at)? as u64,
            min: row.get(at + 1)?,
            max: row.get(at + 2)?,
            first: (row.get(at + 3)?, row.get(at + 4)?),
            last: (row.get(at + 5)?, row.get(at + 6)?),
            sum: i128::from_be_bytes(sum),
            sketch,
        }))
    }
}

/// Folds new rows, sorted by (channel, at), into the three tables.
///
/// # Errors
/// [`ProjectionError::Store`], and `Damaged` where a stored row does not read.
pub(crate) fn fold(connection: &Connection, rows: &[Row]) -> Result<(), ProjectionError> {
    let mut five = Bucket::new(connection, Resolution::FiveMinutes)?;
    let mut hour = Bucket::new(connection, Resolution::Hour)?;
    let mut day = Bucket::new(connection, Resolution::Day)?;
    let mut scratch = Vec::new();
    let same = |a: &Row, b: &Row| {
        a.channel == b.channel && Resolution::FiveMinutes.bucket(a.at) == Resolution::FiveMinutes.bucket(b.at)
    };
    for run in rows.chunk_by(same) {
        let Some(rollup) = Rollup::of_rows(run, &mut scratch) else {
            continue;
        };
        hour.add(&run[0], &rollup)?;
        day.add(&run[0], &rollup)?;
        five.write(Open::new(Resolution::FiveMinutes, &run[0], rollup))?;
    }
    hour.flush()?;
    day.flush()
}

/// Computes the buckets of these rows anew, whose values took the place of others.
///
/// # Errors
/// As [`fold`].
pub(crate) fn again(connection: &Connection, rows: &[Row]) -> Result<(), ProjectionError> {
    let mut scratch = Vec::new();
    for resolution in Resolution::ALL {
        let mut table = Bucket::new(connection, resolution)?;
        let bucket = |row: &Row| (row.channel, resolution.bucket(row.at));
        for run in rows.chunk_by(|a, b| bucket(a) == bucket(b)) {
            let (channel, from) = bucket(&run[0]);
            let all = rows_between(connection, channel, from, from + resolution.width_us())?;
            if let Some(rollup) = Rollup::of_rows(&all, &mut scratch) {
                let whole = Open {
                    channel,
                    bucket: from,
                    is_new: true,
                    rollup,
                };
                table.write(whole)?;
            }
        }
    }
    Ok(())
}

/// The measurements of a channel from `from` to before `to`, rising.
pub(crate) fn rows_between(
    connection: &Connection,
    channel: i64,
    from: i64,
    to: i64,
) -> Result<Vec<Row>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(
        "SELECT at, value, position FROM measurements WHERE channel = ?1 AND at >= ?2 AND at < ?3 ORDER BY at",
    )?;
    let rows = statement.query_map((channel, from, to), |row| {
        Ok(Row {
            channel,
            at: row.get(0)?,
            value: row.get(1)?,
            position: row.get::<_, i64>(2)? as u64,
            before: i64::MIN,
        })
    })?;
    rows.collect()
}

/// A bucket that rows are being gathered for.
struct Open {
    channel: i64,
    bucket: i64,
    /// Nothing of it can be stored yet: it begins after the channel's newest measurement before the batch.
    is_new: bool,
    rollup: Rollup,
}

impl Open {
    fn new(resolution: Resolution, first: &Row, rollup: Rollup) -> Self {
        let bucket = resolution.bucket(first.at);
        Self {
            channel: first.channel,
            bucket,
            is_new: first.before < bucket,
            rollup,
        }
    }
}

/// The buckets of one resolution, one behind the other.
struct Bucket<'c> {
    resolution: Resolution,
    open: Option<Open>,
    select: rusqlite::CachedStatement<'c>,
    write: rusqlite::CachedStatement<'c>,
    bytes: Vec<u8>,
}

impl<'c> Bucket<'c> {
    fn new(connection: &'c Connection, resolution: Resolution) -> rusqlite::Result<Self> {
        Ok(Self {
            resolution,
            open: None,
            select: connection.prepare_cached(resolution.select())?,
            write: connection.prepare_cached(resolution.write())?,
            bytes: Vec::new(),
        })
    }

    /// Adds a part, whose first row is `first`.
    fn add(&mut self, first: &Row, part: &Rollup) -> Result<(), ProjectionError> {
        let bucket = self.resolution.bucket(first.at);
        match &mut self.open {
            Some(open) if open.channel == first.channel && open.bucket == bucket => open.rollup.merge(part),
            _ => {
                self.flush()?;
                self.open = Some(Open::new(self.resolution, first, part.clone()));
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ProjectionError> {
        self.open.take().map_or(Ok(()), |open| self.write(open))
    }

    fn write(&mut self, open: Open) -> Result<(), ProjectionError> {
        let mut rollup = open.rollup;
        if !open.is_new {
            let stored = self
                .select
                .query_row((open.channel, open.bucket), |row| Rollup::from_row(row, 0))
                .optional()?;
            if let Some(stored) = stored {
                rollup.merge(&stored?);
            }
        }
        self.bytes.clear();
        rollup.sketch.encode(&mut self.bytes);
        self.write.execute((
            open.channel,
            open.bucket,
            rollup.count as i64,
            rollup.min,
            rollup.max,
            rollup.first.0,
            rollup.first.1,
            rollup.last.0,
            rollup.last.1,
            rollup.sum.to_be_bytes(),
            &self.bytes,
        ))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_begin_in_utc_before_1970_too() {
        assert_eq!(Resolution::Hour.bucket(-1), -3_600_000_000);
        assert_eq!(Resolution::Day.bucket(86_400_000_001), 86_400_000_000);
        assert_eq!(Resolution::FiveMinutes.bucket(300_000_000), 300_000_000);
    }

    #[test]
    fn sums_are_exact_where_floats_are_not() {
        let sum: i128 = std::iter::repeat_n(0.1, 10).map(units).sum();
        assert_eq!(sum, 1_000_000_000);
        assert_eq!(units(f64::MAX), units(1e15));
        assert_eq!(units(-4.2), -4_200_000_000);
    }

    fn row(at: i64, value: f64) -> Row {
        Row {
            channel: 1,
            at,
            value,
            position: 0,
            before: i64::MIN,
        }
    }

    proptest! {
        #[test]
        fn parts_merged_are_the_whole(
            values in prop::collection::btree_map(0i64..1_000, -1e6f64..1e6, 2..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let rows: Vec<Row> = values.into_iter().map(|(at, value)| row(at, value)).collect();
            let mut scratch = Vec::new();
            let whole = Rollup::of_rows(&rows, &mut scratch).expect("has rows");
            let (left, right) = rows.split_at(1 + cut.index(rows.len() - 1));
            let mut one = Rollup::of_rows(right, &mut scratch).expect("has rows");
            one.merge(&Rollup::of_rows(left, &mut scratch).expect("has rows"));
            prop_assert_eq!(&one, &whole);
            let exact: f64 = rows.iter().map(|r| r.value).sum::<f64>() / rows.len() as f64;
            prop_assert!((whole.mean() - exact).abs() < 1e-6);
        }
    }
}
