//! A channel's history: what its chart draws, its table of spans, its newest readings.
//!
//! Invariants: a silence at an edge of the range is a gap like any other; days of the table are days of the site's
//! zone; limits are those that were in force, taken from the channel's own changes.
//! Not here: when readings were recorded (`routes` reads that from the ledger).

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::time::DAY_US;
use jiff::civil;
use projections::query::{Agg, Chart, Function, LIMIT_MAX, MeasurementsQuery};
use projections::{QueryError, Resolution};

use super::super::alarms::view::SilenceForm;
use super::super::rules::view::RuleRow;
use super::super::view::{
    Bucket, ChannelPage, Gap, LimitSpan, Limits, Link, Range, ReadingRow, Series, SpanRow,
};
use super::super::words::{self, Zone};
use super::{Asker, alarms, changes, devices, known, rules};

/// Columns of the wide chart; the narrow one folds them further.
const CHART_STEPS: usize = 320;
/// Readings listed.
const READINGS_MAX: usize = 25;
/// Up to this long a table has a row an hour, beyond it a row a day.
const HOURS_TABLE_MAX_US: i64 = 2 * DAY_US;
/// Up to this long days are summed from 5-minute buckets, so that zones off the full hour are right too.
const FINE_MAX_US: i64 = 8 * DAY_US;

/// The range that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which.
    pub range: Range,
    /// First instant.
    pub from: Timestamp,
    /// End.
    pub to: Timestamp,
    /// What is wrong with what was typed.
    pub error: Option<String>,
}

/// A channel's page. Its readings lack `recorded_at` and `time_from`, which stand in the ledger.
///
/// # Errors
/// `ChannelNotFound`, `Unavailable`.
pub fn channel(asker: &Asker<'_>, id: &str, asked: Asked) -> Result<ChannelPage, QueryError> {
    let (channel, device) = {
        let registry = asker.known.registry();
        let channel = registry.channel(asker.account, id).cloned();
        let channel = channel.ok_or_else(|| QueryError::ChannelNotFound(id.to_owned()))?;
        let device = registry
            .device(asker.account, &channel.state.device)
            .filter(|d| !d.state.removed)
            .cloned();
        (
            channel,
            device.ok_or_else(|| QueryError::ChannelNotFound(id.to_owned()))?,
        )
    };
    let sites = devices::site_cards(asker);
    let site = device.state.site_at(asker.now).to_owned();
    let zone = devices::zone_of(&sites, &site);
    let Asked {
        range,
        from,
        to,
        error,
    } = asked;
    let latest = known(asker.rows.channel(asker.account, id))?;
    let life = known(asker.rows.device(asker.account, &device.id))?;
    let chart = known(asker.rows.chart(asker.account, id, from, to, CHART_STEPS))?;
    let (series, mut gaps) = drawn(chart, from, to, CHART_STEPS);
    let first = life.as_ref().and_then(|life| life.first_measured);
    let limit_us = life.as_ref().and_then(|life| life.gap_limit_us());
    edge_gaps(&series, &mut gaps, (from, to.min(asker.now)), first, limit_us);
    let old_us = devices::old_after_us(life.as_ref(), asker.now);
    let limits = changes::limits_over_time(asker, id, devices::limits_of(&channel.state.limits))?;
    let rules = rules::of_channel(asker, id);
    let limits = with_windows(limits, &rules, &zone, (from, to));
    let spans = spans(asker, id, (from, to), &zone, &limits)?;
    let states = asker.rows.channel_states(asker.account)?;
    let readings = known(asker.rows.recent(asker.account, id, to, READINGS_MAX))?.unwrap_or_default();
    let name = |kind, id: &str, field| asker.known.text(kind, id, field);
    Ok(ChannelPage {
        online: life.and_then(|life| life.online(asker.now)).unwrap_or(false),
        device: Link {
            href: format!("/app/devices/{}", device.id),
            text: name("device", &device.id, device.state.name.as_ref())
                .unwrap_or_else(|| device.state.local_id.clone()),
        },
        site: Link {
            href: format!("/app/sites/{site}"),
            text: sites
                .iter()
                .find(|s| s.id == site)
                .map_or_else(|| site.clone(), |s| s.name.clone()),
        },
        channel: devices::channel_now(asker, &channel, latest.as_ref(), old_us, &states),
        alarms: alarms::open_of(asker, None, Some(id))?,
        silences: alarms::silences(asker, id),
        silence: SilenceForm::default(),
        rules,
        zone,
        range,
        from,
        to,
        series,
        limits,
        gaps,
        spans,
        readings: readings
            .iter()
            .filter(|reading| reading.at >= from)
            .map(|reading| ReadingRow {
                position: reading.position.get(),
                measured_at: reading.at,
                recorded_at: None,
                value: reading.value,
                time_from: String::new(),
            })
            .collect(),
        csv_href: format!("/v1/channels/{id}/measurements?format=csv&from={from}&to={to}"),
        error,
    })
}

/// Limits over time, with the windows of the simple rule as it is now from when it became so.
fn with_windows(
    mut limits: Vec<LimitSpan>,
    rules: &[RuleRow],
    zone: &Zone,
    (from, to): (Timestamp, Timestamp),
) -> Vec<LimitSpan> {
    let Some(simple) = rules
        .iter()
        .find(|rule| rule.simple && !rule.definition.windows.is_empty())
    else {
        return limits;
    };
    let since = simple.changed_at.max(from);
    limits.retain(|span| span.from < since);
    if let Some(last) = limits.last_mut() {
        last.to = Some(since);
    }
    limits.extend(alarms::in_force(&simple.definition, zone, since, to));
    limits
}

/// A chart of the read models as pages draw it; readings as they are where each has a step of its own.
pub fn drawn(chart: Option<Chart>, from: Timestamp, to: Timestamp, steps: usize) -> (Series, Vec<Gap>) {
    let Some(chart) = chart else {
        return (Series::Points(Vec::new()), Vec::new());
    };
    let gaps = chart
        .gaps
        .iter()
        .map(|gap| Gap {
            from: gap.from,
            to: Some(gap.to),
        })
        .collect();
    if chart.points.iter().all(|point| point.count == 1) {
        return (
            Series::Points(chart.points.iter().map(|p| (p.at, p.mean)).collect()),
            gaps,
        );
    }
    let half_us = to.since(from) / steps.max(1) as i64 / 2;
    let buckets = chart.points.iter().map(|point| Bucket {
        from: point.at.plus_micros(-half_us),
        to: point.at.plus_micros(half_us),
        min: point.min,
        mean: point.mean,
        max: point.max,
        count: point.count,
    });
    (Series::Buckets(buckets.collect()), gaps)
}

/// Silences that the range cuts: before its first reading, after its last, or all of it.
fn edge_gaps(
    series: &Series,
    gaps: &mut Vec<Gap>,
    (from, to): (Timestamp, Timestamp),
    first_measured: Option<Timestamp>,
    limit_us: Option<i64>,
) {
    let (Some(born), Some(limit_us)) = (first_measured, limit_us) else {
        return;
    };
    let edges = match series {
        Series::Points(points) => points.first().zip(points.last()).map(|(a, b)| (a.0, b.0)),
        Series::Buckets(buckets) => buckets.first().zip(buckets.last()).map(|(a, b)| (a.from, b.to)),
    };
    let Some((first, last)) = edges else {
        if born < to {
            gaps.push(Gap {
                from: from.max(born),
                to: None,
            });
        }
        return;
    };
    if born < from && first.since(from) > limit_us {
        gaps.insert(
            0,
            Gap {
                from,
                to: Some(first),
            },
        );
    }
    if to.since(last) > limit_us {
        gaps.push(Gap { from: last, to: None });
    }
}

/// Minimum, mean and maximum by hour or by the zone's day, newest first.
fn spans(
    asker: &Asker<'_>,
    id: &str,
    (from, to): (Timestamp, Timestamp),
    zone: &Zone,
    limits: &[LimitSpan],
) -> Result<Vec<SpanRow>, QueryError> {
    let length_us = to.since(from);
    let fine = length_us <= FINE_MAX_US;
    let buckets = buckets(
        asker,
        id,
        (from, to),
        if fine {
            Resolution::FiveMinutes
        } else {
            Resolution::Hour
        },
    )?;
    let hourly = length_us <= HOURS_TABLE_MAX_US;
    let mut rows: BTreeMap<(civil::Date, i8), Bucket> = BTreeMap::new();
    for bucket in buckets {
        let at = zone.at(bucket.from);
        let key = (at.date(), if hourly { at.hour() } else { 0 });
        rows.entry(key)
            .and_modify(|row| fold(row, &bucket))
            .or_insert(bucket);
    }
    let label = |(date, hour): (civil::Date, i8)| {
        let day = words::civil_day(date);
        if hourly {
            format!("{day} {hour:02}:00")
        } else {
            day
        }
    };
    let in_force = |at: Timestamp| {
        let span = limits.iter().rev().find(|span| span.from <= at);
        span.map_or(Limits::default(), |span| span.limits)
    };
    Ok(rows
        .into_iter()
        .rev()
        .map(|(key, bucket)| SpanRow {
            label: label(key),
            min: bucket.min,
            mean: bucket.mean,
            max: bucket.max,
            count: bucket.count,
            limits: in_force(bucket.to),
        })
        .collect())
}

fn fold(row: &mut Bucket, bucket: &Bucket) {
    let total = row.count + bucket.count;
    let share = bucket.count as f64 / total.max(1) as f64;
    row.mean = row.mean * (1.0 - share) + bucket.mean * share;
    row.min = row.min.min(bucket.min);
    row.max = row.max.max(bucket.max);
    row.to = bucket.to;
    row.count = total;
}

/// Whole buckets of a range. Four questions of one channel agree, because old buckets do not lose readings and the
/// newest is asked for last.
fn buckets(
    asker: &Asker<'_>,
    id: &str,
    (from, to): (Timestamp, Timestamp),
    resolution: Resolution,
) -> Result<Vec<Bucket>, QueryError> {
    let ask = |function| {
        let mut query = MeasurementsQuery::range(from, to);
        (query.agg, query.function, query.limit) = (Agg::Rollup(resolution), function, LIMIT_MAX);
        known(asker.rows.measurements(asker.account, id, &query))
            .map(|points| points.map_or(Vec::new(), |p| p.data))
    };
    let (count, min) = (ask(Function::Count)?, ask(Function::Min)?);
    let (mean, max) = (ask(Function::Mean)?, ask(Function::Max)?);
    Ok(count
        .iter()
        .zip(&min)
        .zip(mean.iter().zip(&max))
        .map(|((count, min), (mean, max))| Bucket {
            from: count.at,
            to: count.at.plus_micros(resolution.width_us()),
            min: min.value,
            mean: mean.value,
            max: max.value,
            count: count.value as u64,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: i64) -> Timestamp {
        Timestamp::from_micros(s * 1_000_000).expect("a time of the test")
    }

    fn gaps_of(points: &[i64], born: Option<i64>) -> Vec<(i64, Option<i64>)> {
        let series = Series::Points(points.iter().map(|s| (t(*s), 1.0)).collect());
        let mut gaps = Vec::new();
        edge_gaps(
            &series,
            &mut gaps,
            (t(1_000), t(2_000)),
            born.map(t),
            Some(120_000_000),
        );
        let seconds = |at: Timestamp| at.as_micros() / 1_000_000;
        gaps.iter()
            .map(|gap| (seconds(gap.from), gap.to.map(seconds)))
            .collect()
    }

    #[test]
    fn a_silence_that_the_range_cuts_is_a_gap() {
        assert_eq!(gaps_of(&[1_010, 1_990], Some(0)), []);
        assert_eq!(gaps_of(&[1_500, 1_990], Some(0)), [(1_000, Some(1_500))]);
        assert_eq!(gaps_of(&[1_010, 1_500], Some(0)), [(1_500, None)]);
        assert_eq!(gaps_of(&[], Some(0)), [(1_000, None)]);
    }

    #[test]
    fn before_its_first_reading_a_device_is_not_silent() {
        assert_eq!(gaps_of(&[1_500, 1_990], Some(1_500)), []);
        assert_eq!(gaps_of(&[], Some(3_000)), []);
        assert_eq!(gaps_of(&[], None), []);
    }
}
