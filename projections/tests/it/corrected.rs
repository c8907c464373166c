//! Values as they are read: corrected by what was in force when they were measured, and made of other channels'.

use crate::support::{Scribe, at, minutes, sealed};
use domain::Timestamp;
use domain::calibration::Calibrations;
use domain::event::Correction;
use projections::query::{ANEW_VALUES_MAX, Agg, Function, MeasurementsQuery, Values};
use projections::{QueryError, ReadModel, Resolution};
use serde_json::json;

const FUNCTIONS: [Function; 5] = [
    Function::Mean,
    Function::Min,
    Function::Max,
    Function::Count,
    Function::Last,
];

fn pair() -> Scribe {
    let scribe = Scribe::new();
    scribe.account("acc_a");
    scribe.site("acc_a", "site_one");
    for device in ["dev_0", "dev_1"] {
        scribe.device("acc_a", "site_one", device, Some(60));
    }
    scribe.channel("acc_a", "dev_0", "chn_0", "temperature");
    scribe.channel("acc_a", "dev_1", "chn_1", "temperature");
    scribe
}

fn day(values: Values, agg: Agg, function: Function) -> MeasurementsQuery {
    let mut query = MeasurementsQuery::range(minutes(-1_440), minutes(1_440));
    (query.values, query.agg, query.function) = (values, agg, function);
    query
}

fn read(model: &ReadModel, channel: &str, query: &MeasurementsQuery) -> Vec<(Timestamp, f64, f64)> {
    let points = model.measurements("acc_a", channel, query).expect("answers");
    points.data.iter().map(|it| (it.at, it.value, it.raw)).collect()
}

#[test]
fn values_are_corrected_from_their_time_on_and_what_was_recorded_stays_beside() {
    let scribe = pair();
    for n in 0..4 {
        scribe.reading("dev_0", minutes(n), &[("temperature", 4.0)]);
    }
    let set = scribe.calibration("acc_a", "chn_0", minutes(2), &json!({"offset": 0.5}));
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("rows.sqlite"));
    let both = day(Values::Both, Agg::Raw, Function::Mean);
    let values: Vec<(f64, f64)> = read(&model, "chn_0", &both)
        .iter()
        .map(|it| (it.1, it.2))
        .collect();
    assert_eq!(values, [(4.0, 4.0), (4.0, 4.0), (4.5, 4.0), (4.5, 4.0)]);
    let points = model.measurements("acc_a", "chn_0", &both).expect("answers");
    assert_eq!(points.calibrations.len(), 1);
    let applied = points.calibrations[0];
    assert_eq!((applied.valid_from, applied.position), (minutes(2), set));
    let raw = day(Values::Raw, Agg::Raw, Function::Mean);
    let points = model.measurements("acc_a", "chn_0", &raw).expect("answers");
    assert!(points.data.iter().all(|it| it.value == 4.0) && points.calibrations.is_empty());
    let latest = model
        .channel("acc_a", "chn_0")
        .expect("known")
        .latest
        .expect("a value");
    assert_eq!((latest.value, latest.raw), (4.5, 4.0));
    let recent = model.recent("acc_a", "chn_0", minutes(9), 9).expect("answers");
    assert_eq!((recent[0].value, recent[0].raw, recent[3].value), (4.5, 4.0, 4.0));
    // A page remembers which values were asked for.
    let mut first = both.clone();
    first.limit = 3;
    let page = model.measurements("acc_a", "chn_0", &first).expect("answers");
    let next = MeasurementsQuery {
        values: Values::Raw,
        cursor: page.next_cursor,
        ..first
    };
    let page = model.measurements("acc_a", "chn_0", &next).expect("answers");
    assert_eq!((page.values, page.data[0].value), (Values::Both, 4.5));
}

#[test]
fn a_bucket_is_corrected_as_its_values_are_whether_one_correction_covers_it_or_several() {
    let scribe = pair();
    let raw: Vec<(Timestamp, f64)> = (0..180)
        .map(|n| (minutes(n), 10.0 + (n * 7 % 13) as f64))
        .collect();
    for (at, value) in &raw {
        scribe.reading("dev_0", *at, &[("temperature", *value)]);
    }
    // One that begins within a bucket of every width, and one that turns the axis over.
    let steps = [
        (minutes(62), Correction::Offset(0.25)),
        (minutes(121), Correction::TwoPoint([[0.0, 30.0], [10.0, 10.0]])),
    ];
    let mut calibrations = Calibrations::default();
    for (from, correction) in steps {
        scribe.calibration(
            "acc_a",
            "chn_0",
            from,
            &serde_json::to_value(correction).expect("JSON"),
        );
        calibrations.set(from, Some(correction));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("rows.sqlite"));
    for resolution in Resolution::ALL {
        for function in FUNCTIONS {
            let query = day(Values::Calibrated, Agg::Rollup(resolution), function);
            for (from, value, _) in read(&model, "chn_0", &query) {
                let to = from.plus_micros(resolution.width_us());
                let of: Vec<f64> = raw
                    .iter()
                    .filter(|(at, _)| (from..to).contains(at))
                    .map(|(at, value)| calibrations.of(*at, *value))
                    .collect();
                let expected = match function {
                    Function::Mean => of.iter().sum::<f64>() / of.len() as f64,
                    Function::Min => of.iter().copied().fold(f64::INFINITY, f64::min),
                    Function::Max => of.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    Function::Count => of.len() as f64,
                    _ => of[of.len() - 1],
                };
                assert!(
                    (value - expected).abs() < 1e-9,
                    "{resolution:?} {function:?} {from}: {value} {expected}"
                );
            }
        }
    }
    let chart = model
        .chart("acc_a", "chn_0", minutes(0), minutes(180), 60)
        .expect("answers");
    let lowest = raw
        .iter()
        .map(|(at, value)| calibrations.of(*at, *value))
        .fold(f64::INFINITY, f64::min);
    assert_eq!(
        chart.points.iter().map(|it| it.min).fold(f64::INFINITY, f64::min),
        lowest
    );
    assert!(
        (chart.points[0].raw - chart.points[0].mean).abs() < 1e-9,
        "before the first one nothing is corrected"
    );
    assert!(chart.points[59].raw - chart.points[59].mean > 1.0);
}

#[test]
fn a_tag_changes_with_a_correction_and_with_a_note() {
    let scribe = pair();
    let reading = scribe.reading("dev_0", minutes(1), &[("temperature", 4.0)]);
    let query = day(Values::Calibrated, Agg::Raw, Function::Mean);
    let dir = tempfile::tempdir().expect("a directory");
    let tag = |name: &str| {
        let (_projector, model) = scribe.projected(&dir.path().join(name));
        model.etag("acc_a", &["chn_0"], &query).expect("answers")
    };
    let first = tag("one");
    scribe.calibration("acc_a", "chn_0", minutes(0), &json!({"offset": 1}));
    let second = tag("two");
    let note = json!({"channel": "chn_0", "measured_at": minutes(1).to_string(), "note": sealed("held in a hand"),
        "reading": reading.get()});
    let noted = scribe.fact(Some("acc_a"), ("annotations", "chn_0"), "ReadingAnnotated", &note);
    let third = tag("three");
    assert!(first != second && second != third);
    let (_projector, model) = scribe.projected(&dir.path().join("three"));
    let notes = model
        .notes("acc_a", "chn_0", minutes(1), minutes(2))
        .expect("answers");
    assert_eq!(notes.iter().map(|it| it.position).collect::<Vec<_>>(), [noted]);
    assert!(
        model
            .notes("acc_a", "chn_0", minutes(2), minutes(9))
            .expect("answers")
            .is_empty()
    );
    assert!(model.notes("acc_b", "chn_0", minutes(0), minutes(9)).is_err());
}

#[test]
fn a_derived_channel_is_read_like_any_other() {
    let scribe = pair();
    scribe.channel("acc_a", "dev_0", "chn_d", "temperature/flow_delta");
    let sources = json!({"function": "flow_delta", "sources": ["chn_0", "chn_1"]});
    scribe.derivation("acc_a", "chn_d", &sources);
    scribe.calibration("acc_a", "chn_1", minutes(0), &json!({"offset": 2}));
    scribe.reading("dev_0", minutes(0), &[("temperature", 60.0)]);
    scribe.reading("dev_1", minutes(1), &[("temperature", 50.0)]);
    // Both of one time: the later entry knows both, and its value stands.
    scribe.reading("dev_0", minutes(10), &[("temperature", 61.0)]);
    let both = scribe.reading("dev_1", minutes(10), &[("temperature", 40.0)]);
    // A source that is too old makes none.
    scribe.reading("dev_0", minutes(60), &[("temperature", 62.0)]);
    // A correction that is set later for an earlier time does not change what was made.
    scribe.calibration("acc_a", "chn_1", minutes(0), &json!({"offset": 9}));
    let dir = tempfile::tempdir().expect("a directory");
    let (projector, model) = scribe.projected(&dir.path().join("rows.sqlite"));
    let raw = day(Values::Calibrated, Agg::Raw, Function::Mean);
    let values: Vec<(Timestamp, f64)> = read(&model, "chn_d", &raw)
        .iter()
        .map(|it| (it.0, it.1))
        .collect();
    assert_eq!(values, [(minutes(1), 8.0), (minutes(10), 19.0)]);
    let hour = day(Values::Calibrated, Agg::Rollup(Resolution::Hour), Function::Max);
    assert_eq!(read(&model, "chn_d", &hour), [(at(0), 19.0, 19.0)]);
    let latest = model
        .channel("acc_a", "chn_d")
        .expect("known")
        .latest
        .expect("a value");
    assert_eq!((latest.value, latest.position, latest.count), (19.0, both, 2));
    drop(projector);
    // Ended, it makes no more.
    scribe.derivation("acc_a", "chn_d", &json!(null));
    scribe.reading("dev_1", minutes(61), &[("temperature", 40.0)]);
    let (_projector, model) = scribe.projected(&dir.path().join("rows.sqlite"));
    assert_eq!(read(&model, "chn_d", &raw).len(), 2);
}

/// Has every bucket of a day say that it is of so many values.
fn weigh(path: &std::path::Path, values: u64) {
    let raw = rusqlite::Connection::open(path).expect("opens");
    raw.execute("UPDATE rollups_1d SET count = ?1", [values as i64])
        .expect("updates");
}

#[test]
fn a_page_ends_before_more_values_are_corrected_one_by_one_than_an_answer_may() {
    let scribe = pair();
    for day in 0..3 {
        for hour in [1, 13] {
            scribe.reading("dev_0", minutes(1_440 * day + 60 * hour), &[("temperature", 4.0)]);
        }
        let noon = minutes(1_440 * day + 720);
        scribe.calibration("acc_a", "chn_0", noon, &json!({"offset": day + 1}));
    }
    scribe.reading("dev_1", minutes(60), &[("temperature", 4.0)]);
    scribe.reading("dev_1", minutes(780), &[("temperature", 4.0)]);
    scribe.calibration("acc_a", "chn_1", minutes(720), &json!({"offset": 5}));
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rows.sqlite");
    let (_projector, model) = scribe.projected(&path);
    let mut query = day(Values::Calibrated, Agg::Rollup(Resolution::Day), Function::Max);
    query.to = minutes(1_440 * 9);
    let pages = |query: &MeasurementsQuery| {
        let (mut all, mut query) = (Vec::new(), query.clone());
        loop {
            let page = model.measurements("acc_a", "chn_0", &query)?;
            all.push(page.data.iter().map(|it| it.value).collect::<Vec<f64>>());
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                return Ok::<_, QueryError>(all);
            }
        }
    };
    let of_days: Vec<f64> = pages(&query).expect("answers").concat();
    assert_eq!(of_days, [5.0, 6.0, 7.0]);
    // Two days fit, the third begins the next page; a stream goes on by itself.
    weigh(&path, ANEW_VALUES_MAX / 2);
    let split = pages(&query).expect("answers");
    assert_eq!(split, [vec![5.0, 6.0], vec![7.0]]);
    let mut streamed = Vec::new();
    let count = model.stream("acc_a", "chn_0", &query, &mut |point| {
        streamed.push(point.value);
        Ok(())
    });
    assert_eq!((count.expect("streams"), streamed), (3, of_days));
    // Several channels share the work: one for which nothing is left is empty, and its cursor goes on.
    let several = model
        .measurements_of("acc_a", &["chn_0", "chn_1"], &query)
        .expect("answers");
    let given = several.iter().map(|(_, page)| (page.data.len(), page.has_more()));
    assert_eq!(given.collect::<Vec<_>>(), [(2, true), (0, true)]);
    let mut rest = query.clone();
    rest.cursor.clone_from(&several[1].1.next_cursor);
    let rest = model.measurements("acc_a", "chn_1", &rest).expect("answers");
    let values: Vec<f64> = rest.data.iter().map(|it| it.value).collect();
    assert_eq!((values, rest.has_more()), (vec![9.0], false));
    // What was recorded is not corrected, so nothing is made anew for it.
    weigh(&path, ANEW_VALUES_MAX + 1);
    assert!(matches!(
        pages(&query),
        Err(QueryError::TooManyShared { values, .. }) if values == ANEW_VALUES_MAX + 1
    ));
    query.values = Values::Raw;
    assert_eq!(pages(&query).expect("answers"), [vec![4.0; 3]]);
    // A chart reads the five minutes of a correction and not their day.
    let chart = model
        .chart("acc_a", "chn_0", minutes(0), minutes(1_440 * 3), 3)
        .expect("answers");
    let drawn: Vec<(f64, f64, u64)> = chart.points.iter().map(|it| (it.min, it.max, it.count)).collect();
    assert_eq!(drawn, [(4.0, 5.0, 2), (5.0, 6.0, 2), (6.0, 7.0, 2)]);
}

#[test]
fn a_change_of_one_derived_channel_reads_no_other_again() {
    let scribe = pair();
    for channel in ["chn_d", "chn_e"] {
        scribe.channel("acc_a", "dev_0", channel, &format!("temperature/{channel}"));
        let sources = json!({"function": "flow_delta", "sources": ["chn_0", "chn_1"]});
        scribe.derivation("acc_a", channel, &sources);
    }
    scribe.reading("dev_0", minutes(0), &[("temperature", 60.0)]);
    scribe.reading("dev_1", minutes(1), &[("temperature", 50.0)]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rows.sqlite");
    let (projector, model) = scribe.projected(&path);
    let raw = rusqlite::Connection::open(&path).expect("opens");
    let other = "UPDATE derivations SET state = 'not read' WHERE channel =
        (SELECT key FROM channels WHERE id = 'chn_e')";
    assert_eq!(raw.execute(other, []).expect("updates"), 1);
    drop(raw);
    let turned = json!({"function": "flow_delta", "sources": ["chn_1", "chn_0"]});
    scribe.derivation("acc_a", "chn_d", &turned);
    scribe.reading("dev_0", minutes(2), &[("temperature", 61.0)]);
    scribe.derivation("acc_a", "chn_d", &json!(null));
    let last = scribe.reading("dev_1", minutes(3), &[("temperature", 40.0)]);
    assert!(projector.wait_here(last), "{:?}", projector.status());
    let query = day(Values::Calibrated, Agg::Raw, Function::Mean);
    let values =
        |channel: &str| -> Vec<f64> { read(&model, channel, &query).iter().map(|it| it.1).collect() };
    assert_eq!(values("chn_e"), [10.0, 11.0, 21.0]);
    // The other one began anew, so that it waits for both sources, and ended.
    assert_eq!(values("chn_d"), [10.0]);
}
