//! What a chart draws: an envelope of minimum, maximum and mean for each step of its width.
//!
//! Invariants: no more steps than asked; a bucket that several corrections share is drawn as its five minutes are, and
//! of these the shared ones value by value; every extreme is in some step; steps without measurements are left out,
//! and gaps are told apart, so that no line is drawn over a silence.
//! Not here: SVG (`api`).

use super::corrected::{Anew, Applied, applied};
use super::gaps::{Gap, channel_gaps};
use super::measurements::{Function, rollup_sql};
use super::{ChannelRef, ReadModel, find_channel, time};
use crate::derived::calibrations_of;
use crate::error::QueryError;
use crate::rollups::{Resolution, Rollup, rows_between};
use domain::Timestamp;
use domain::calibration::Calibrations;
use domain::event::Correction;
use rusqlite::Connection;

/// Most steps of a chart.
const STEPS_MAX: usize = 4_000;
/// Raw measurements are read for a chart up to this many; a 5-minute rollup is used beyond.
const RAW_MAX: i64 = 50_000;

/// One step of the chart's width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChartPoint {
    /// The middle of what was measured in the step.
    pub at: Timestamp,
    /// The lowest value.
    pub min: f64,
    /// The highest value.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The mean of what was recorded, before it was corrected.
    pub raw: f64,
    /// How many measurements.
    pub count: u64,
}

/// An envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Rising in time.
    pub points: Vec<ChartPoint>,
    /// Silences in the range.
    pub gaps: Vec<Gap>,
    /// What corrects its values.
    pub calibrations: Vec<Applied>,
}

impl ReadModel {
    /// The envelope of a range in at most `steps` steps (1 to 4,000).
    ///
    /// # Errors
    /// `ChannelNotFound`, `BadRange`, `TooManyShared`, `Unavailable`.
    pub fn chart(
        &self,
        account: &str,
        channel: &str,
        from: Timestamp,
        to: Timestamp,
        steps: usize,
    ) -> Result<Chart, QueryError> {
        if from >= to || !(1..=STEPS_MAX).contains(&steps) {
            return Err(QueryError::BadRange(format!(
                "a chart needs from before to and 1 to {STEPS_MAX} steps"
            )));
        }
        self.ask(|connection| {
            let found = find_channel(connection, account, channel)?;
            let (from, to) = (from.as_micros(), to.as_micros());
            Ok(Chart {
                points: envelope(connection, &found, from, to, steps)?,
                gaps: channel_gaps(connection, &found, from, to)?,
                calibrations: applied(connection, found.key, from, to)?,
            })
        })
    }
}

struct Step {
    index: i64,
    first_at: i64,
    last_at: i64,
    min: f64,
    max: f64,
    sum: f64,
    raw_sum: f64,
    count: u64,
}

fn envelope(
    connection: &Connection,
    channel: &ChannelRef,
    from: i64,
    to: i64,
    steps: usize,
) -> Result<Vec<ChartPoint>, QueryError> {
    let width = ((to - from + steps as i64 - 1) / steps as i64).max(1);
    let mut points: Vec<ChartPoint> = Vec::with_capacity(steps.min(1_024));
    let mut open: Option<Step> = None;
    let mut add = |at: i64, part: Step| match &mut open {
        Some(step) if step.index == (at - from).div_euclid(width) => {
            step.last_at = part.last_at;
            step.min = step.min.min(part.min);
            step.max = step.max.max(part.max);
            step.sum += part.sum;
            step.raw_sum += part.raw_sum;
            step.count += part.count;
        }
        _ => {
            points.extend(open.take().map(|step| step.close()));
            open = Some(Step {
                index: (at - from).div_euclid(width),
                ..part
            });
        }
    };
    let calibrations = calibrations_of(connection, channel.key)?;
    let of = (channel.key, &calibrations);
    match source(connection, channel, from, to, width)? {
        None => {
            let mut statement = connection.prepare_cached(
                "SELECT at, value FROM measurements WHERE channel = ?1 AND at >= ?2 AND at < ?3 ORDER BY at",
            )?;
            let mut rows = statement.query((channel.key, from, to))?;
            while let Some(row) = rows.next()? {
                let (at, value): (i64, f64) = (row.get(0)?, row.get(1)?);
                add(at, Step::of_one(at, calibrations.of(time(at), value), value));
            }
        }
        Some(resolution) => {
            let anew = &mut Anew::of_an_answer();
            buckets(connection, of, (resolution, from, to), anew, &mut add)?;
        }
    }
    points.extend(open.map(|step| step.close()));
    Ok(points)
}

/// Gives the buckets of a range, each corrected as a whole; what several corrections share is given in smaller parts.
fn buckets(
    connection: &Connection,
    (channel, calibrations): (i64, &Calibrations),
    (resolution, from, to): (Resolution, i64, i64),
    anew: &mut Anew,
    each: &mut dyn FnMut(i64, Step),
) -> Result<(), QueryError> {
    let of = (channel, calibrations);
    let mut statement = connection.prepare_cached(rollup_sql(resolution))?;
    let mut rows = statement.query((channel, from - 1, to, i64::MAX))?;
    while let Some(row) = rows.next()? {
        let (at, rollup): (i64, _) = (row.get(0)?, Rollup::from_row(row, 1)??);
        let ends = at + resolution.width_us();
        match (calibrations.over(time(at), time(ends)), resolution) {
            (Ok(correction), _) => each(at, Step::of_bucket(&rollup, correction)),
            // Only the few minutes in which a correction begins are read value by value, not the day.
            (Err(_), Resolution::Hour | Resolution::Day) => {
                let parts = (Resolution::FiveMinutes, at, ends.min(to));
                buckets(connection, of, parts, anew, each)?;
            }
            (Err(_), Resolution::FiveMinutes) => {
                anew.take_whole(rollup.count)?;
                for row in rows_between(connection, channel, at, ends.min(to))? {
                    let value = calibrations.of(time(row.at), row.value);
                    each(row.at, Step::of_one(row.at, value, row.value));
                }
            }
        }
    }
    Ok(())
}

/// The coarsest rollup that is no wider than a step; raw measurements where a step is narrower than any, unless
/// there are too many.
fn source(
    connection: &Connection,
    channel: &ChannelRef,
    from: i64,
    to: i64,
    width: i64,
) -> Result<Option<Resolution>, QueryError> {
    let coarse = Resolution::ALL.into_iter().rev().find(|r| r.width_us() <= width);
    if coarse.is_some() {
        return Ok(coarse);
    }
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM measurements
                 WHERE channel = ?1 AND at >= ?2 AND at < ?3 LIMIT ?4)",
        )?
        .query_row((channel.key, from, to, RAW_MAX + 1), |row| row.get(0))?;
    Ok((count > RAW_MAX).then_some(Resolution::FiveMinutes))
}

impl Step {
    const fn of_one(at: i64, value: f64, raw: f64) -> Self {
        Self {
            index: 0,
            first_at: at,
            last_at: at,
            min: value,
            max: value,
            sum: value,
            raw_sum: raw,
            count: 1,
        }
    }

    fn of_bucket(rollup: &Rollup, correction: Option<Correction>) -> Self {
        let number = |function: Function| function.of(rollup, correction);
        let count = rollup.count as f64;
        Self {
            index: 0,
            first_at: rollup.first.0,
            last_at: rollup.last.0,
            min: number(Function::Min),
            max: number(Function::Max),
            sum: number(Function::Mean) * count,
            raw_sum: rollup.mean() * count,
            count: rollup.count,
        }
    }

    fn close(self) -> ChartPoint {
        ChartPoint {
            at: time(self.first_at + (self.last_at - self.first_at) / 2),
            min: self.min,
            max: self.max,
            mean: (self.sum / self.count as f64).max(self.min).min(self.max),
            raw: self.raw_sum / self.count as f64,
            count: self.count,
        }
    }
}
