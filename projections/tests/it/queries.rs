//! The questions, against what brute force over the same measurements gives.

use crate::support::{Scribe, at, minutes};
use domain::{Position, Timestamp};
use projections::query::{
    Agg, Concern, Function, LIMIT_MAX, MeasurementsQuery, Point, TimelineFilter, rfc3339, worst_first,
};
use projections::{QueryError, ReadModel, Resolution};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

const FUNCTIONS: [Function; 7] = [
    Function::Mean,
    Function::Min,
    Function::Max,
    Function::Count,
    Function::Last,
    Function::P50,
    Function::P95,
];

fn fridge(cadence_s: Option<i64>) -> Scribe {
    let scribe = Scribe::new();
    scribe.account("acc_a");
    scribe.site("acc_a", "site_one");
    scribe.device("acc_a", "site_one", "dev_0", cadence_s);
    scribe.channel("acc_a", "dev_0", "chn_0", "temperature");
    scribe
}

fn range(from_s: i64, to_s: i64) -> MeasurementsQuery {
    MeasurementsQuery::range(at(from_s * 1_000_000), at(to_s * 1_000_000))
}

fn pages(model: &ReadModel, query: &MeasurementsQuery) -> Vec<Vec<Point>> {
    let mut query = query.clone();
    let mut pages = Vec::new();
    loop {
        let page = model.measurements("acc_a", "chn_0", &query).expect("answers");
        assert_eq!(page.has_more(), page.next_cursor.is_some());
        pages.push(page.data);
        match page.next_cursor {
            // What the cursor carries wins over what is asked beside it.
            Some(cursor) => {
                query.cursor = Some(cursor);
                (query.from, query.to) = (at(0), at(1));
                query.agg = Agg::Raw;
            }
            None => return pages,
        }
    }
}

/// What a function gives for sorted values, by its definition.
fn brute(function: Function, values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |q: f64| sorted[(q * (sorted.len() - 1) as f64).floor() as usize];
    match function {
        Function::Mean => values.iter().sum::<f64>() / values.len() as f64,
        Function::Min => sorted[0],
        Function::Max => sorted[sorted.len() - 1],
        Function::Count => values.len() as f64,
        Function::Last => values[values.len() - 1],
        Function::P50 => at(0.5),
        Function::P95 => at(0.95),
    }
}

fn close(function: Function, got: f64, expected: f64) -> bool {
    match function {
        Function::P50 | Function::P95 => (got - expected).abs() <= expected.abs() * 0.010_001 + 1e-9,
        Function::Mean => (got - expected).abs() < 1e-6,
        _ => got == expected,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_aggregation_and_page_size_agrees_with_brute_force(
        readings in prop::collection::vec((-90_000i64..200_000, -400i32..400), 1..250),
        from in -100_000i64..100_000,
        length in 0i64..200_000,
        limit in 1usize..40,
    ) {
        let scribe = fridge(Some(60));
        let mut all: BTreeMap<i64, f64> = BTreeMap::new();
        for (second, tenths) in &readings {
            let value = f64::from(*tenths) / 10.0;
            if let std::collections::btree_map::Entry::Vacant(free) = all.entry(at(second * 1_000_000).as_micros()) {
                free.insert(value);
                scribe.reading("dev_0", at(second * 1_000_000), &[("temperature", value)]);
            }
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
        let (from, to) = (at(from * 1_000_000), at((from + length) * 1_000_000));
        for resolution in [None, Some(Resolution::FiveMinutes), Some(Resolution::Hour), Some(Resolution::Day)] {
            let mut groups: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for (us, value) in &all {
                groups.entry(resolution.map_or(*us, |r| r.bucket(*us))).or_default().push(*value);
            }
            for function in FUNCTIONS {
                let query = MeasurementsQuery {
                    agg: resolution.map_or(Agg::Raw, Agg::Rollup),
                    function,
                    limit,
                    ..MeasurementsQuery::range(from, to)
                };
                let pages = pages(&model, &query);
                let (last, full) = pages.split_last().expect("at least one page");
                prop_assert!(full.iter().all(|page| page.len() == limit));
                prop_assert!(last.len() <= limit && (full.is_empty() || !last.is_empty()));
                let got: Vec<Point> = pages.concat();
                let expected: Vec<_> = groups.range(from.as_micros()..to.as_micros()).collect();
                prop_assert_eq!(
                    got.iter().map(|p| p.at.as_micros()).collect::<Vec<_>>(),
                    expected.iter().map(|(us, _)| **us).collect::<Vec<_>>()
                );
                for (point, (_, values)) in got.iter().zip(expected) {
                    let expected = brute(function, values);
                    prop_assert!(close(function, point.value, expected), "{:?}: {} for {}", function, point.value, expected);
                }
            }
        }
        // The same as a stream, and as a chart.
        let mut csv = Vec::new();
        let query = MeasurementsQuery::range(from, to);
        let lines = model.write_csv("acc_a", "chn_0", &query, &mut csv).expect("writes");
        let inside: Vec<(i64, f64)> = all.range(from.as_micros()..to.as_micros()).map(|(k, v)| (*k, *v)).collect();
        prop_assert_eq!(lines as usize, inside.len());
        let text = String::from_utf8(csv).expect("UTF-8");
        let read: Vec<(i64, f64)> = text.lines().skip(1).map(|line| {
            let (ts, value) = line.split_once(',').expect("a comma");
            (Timestamp::parse_rfc3339(ts).expect("a time").as_micros(), value.parse().expect("a number"))
        }).collect();
        prop_assert_eq!(&read, &inside);
        if from < to {
            let chart = model.chart("acc_a", "chn_0", from, to, limit).expect("answers");
            prop_assert!(chart.points.len() <= limit + 1);
            let wide = Resolution::ALL.into_iter().rev().find(|r| r.width_us() <= to.since(from) / limit as i64);
            if wide.is_none() {
                let count: u64 = chart.points.iter().map(|p| p.count).sum();
                prop_assert_eq!(count as usize, inside.len());
                let lowest = chart.points.iter().map(|p| p.min).fold(f64::INFINITY, f64::min);
                let exact = inside.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
                prop_assert_eq!(lowest, exact);
            }
            prop_assert!(chart.points.iter().all(|p| p.min <= p.mean && p.mean <= p.max));
        }
    }

    #[test]
    fn gaps_are_those_of_brute_force_at_every_cadence(
        steps in prop::collection::vec(1i64..4_000, 1..120),
        cadence_s in prop_oneof![20i64..100, 150i64..400, 1_700i64..2_500],
        late in any::<prop::sample::Index>(),
    ) {
        let scribe = fridge(Some(cadence_s));
        let mut times: Vec<i64> = steps.iter().scan(0, |t, step| { *t += step; Some(*t) }).collect();
        // One comes late and splits a gap.
        let last = times.remove(late.index(times.len()));
        times.push(last);
        for second in &times {
            scribe.reading("dev_0", at(second * 1_000_000), &[("temperature", 1.0)]);
        }
        times.sort_unstable();
        let expected: Vec<(i64, i64)> = times
            .windows(2)
            .filter(|w| w[1] - w[0] > 2 * cadence_s)
            .map(|w| (at(w[0] * 1_000_000).as_micros(), at(w[1] * 1_000_000).as_micros()))
            .collect();
        let dir = tempfile::tempdir().expect("a directory");
        let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
        let pairs = |gaps: Vec<projections::query::Gap>| -> Vec<(i64, i64)> {
            gaps.into_iter().map(|g| (g.from.as_micros(), g.to.as_micros())).collect()
        };
        let all = model.gaps("acc_a", "chn_0", at(0), at(1_000_000_000_000)).expect("answers");
        prop_assert_eq!(&pairs(all), &expected);
        let mut stored = pairs(model.device_gaps("acc_a", "dev_0", 1_000).expect("answers"));
        stored.reverse();
        prop_assert_eq!(&stored, &expected);
        prop_assert_eq!(model.device("acc_a", "dev_0").expect("is there").gaps as usize, expected.len());
    }
}

#[test]
fn from_is_inclusive_to_is_exclusive_and_bad_questions_are_refused_in_words() {
    let scribe = fridge(None);
    for n in 0..3 {
        scribe.reading("dev_0", minutes(n), &[("temperature", n as f64)]);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let ask = |query: &MeasurementsQuery| model.measurements("acc_a", "chn_0", query);
    let values = |query: &MeasurementsQuery| -> Vec<f64> {
        ask(query)
            .expect("answers")
            .data
            .iter()
            .map(|p| p.value)
            .collect()
    };
    assert_eq!(values(&range(0, 120)), [0.0, 1.0]);
    assert!(values(&range(60, 60)).is_empty());
    assert!(matches!(ask(&range(60, 0)), Err(QueryError::BadRange(_))));
    for limit in [0, LIMIT_MAX + 1] {
        let query = MeasurementsQuery {
            limit,
            ..range(0, 60)
        };
        assert!(matches!(ask(&query), Err(QueryError::BadRange(_))));
    }
    let forged = domain::hash::base64url(b"[1,\"chn_0\",\"5m\",\"mean\",0,10,99]");
    for cursor in ["", "%%%", "bm90aGluZw", forged.as_str()] {
        let query = MeasurementsQuery {
            cursor: Some(cursor.to_owned()),
            ..range(0, 60)
        };
        assert!(matches!(ask(&query), Err(QueryError::BadCursor)), "{cursor}");
    }
    let many = ["chn_0"; 33];
    assert!(matches!(
        model.measurements_of("acc_a", &many, &range(0, 60)),
        Err(QueryError::BadRange(_))
    ));
    assert_eq!(
        model
            .measurements_of("acc_a", &many[..32], &range(0, 60))
            .expect("answers")
            .len(),
        32
    );
    for (agg, text) in [
        (Agg::Raw, "raw"),
        (Agg::Auto, "auto"),
        (Agg::Rollup(Resolution::Hour), "1h"),
    ] {
        assert_eq!((Agg::parse(text), agg.as_str()), (Some(agg), text));
    }
    assert_eq!((Agg::parse("2h"), Function::parse("p99")), (None, None));
}

#[test]
fn auto_takes_the_finest_that_fits() {
    let scribe = fridge(None);
    for n in 0..4_000 {
        scribe.reading("dev_0", minutes(n), &[("temperature", 1.0)]);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    for (hours, expected) in [(20, "raw"), (26, "5m"), (70, "5m")] {
        let query = MeasurementsQuery {
            agg: Agg::Auto,
            ..range(0, hours * 3_600)
        };
        let page = model.measurements("acc_a", "chn_0", &query).expect("answers");
        assert_eq!(page.agg.as_str(), expected, "{hours} h");
        assert!(page.data.len() <= 1_500 && !page.has_more());
    }
}

#[test]
fn the_etag_changes_with_a_late_reading_and_with_the_question_only() {
    let scribe = fridge(None);
    scribe.reading("dev_0", minutes(10), &[("temperature", 1.0)]);
    let dir = tempfile::tempdir().expect("a directory");
    let (projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let etag = |query: &MeasurementsQuery| model.etag("acc_a", &["chn_0"], query).expect("answers");
    let before = etag(&range(0, 60));
    assert_eq!(etag(&range(0, 60)), before);
    assert_ne!(etag(&range(0, 61)), before);
    let late = scribe.reading("dev_0", minutes(5), &[("temperature", 2.0)]);
    assert!(projector.wait_here(late));
    assert_ne!(etag(&range(0, 60)), before);
}

#[test]
fn ndjson_names_the_channel_of_each_line() {
    let scribe = fridge(None);
    scribe.channel("acc_a", "dev_0", "chn_1", "humidity");
    scribe.reading("dev_0", minutes(1), &[("humidity", 61.0), ("temperature", -0.5)]);
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let mut out = Vec::new();
    let lines = model
        .write_ndjson("acc_a", &["chn_0", "chn_1"], &range(0, 3_600), &mut out)
        .expect("writes");
    let text = String::from_utf8(out).expect("UTF-8");
    let ts = rfc3339(minutes(1));
    assert_eq!(lines, 2);
    assert_eq!(
        text,
        format!(
            "{{\"channel_id\":\"chn_0\",\"ts\":\"{ts}\",\"value\":-0.5}}\n{{\"channel_id\":\"chn_1\",\"ts\":\"{ts}\",\"value\":61}}\n"
        )
    );
    assert_eq!(ts, "2026-01-01T00:01:00Z");
}

#[test]
fn the_overview_puts_the_worst_first_and_computes_ages_when_asked() {
    let scribe = Scribe::new();
    scribe.account("acc_a");
    scribe.site("acc_a", "site_one");
    let names = ["dev_fine", "dev_hot", "dev_new", "dev_quiet", "dev_refused"];
    for device in names {
        scribe.device("acc_a", "site_one", device, Some(300));
        scribe.channel("acc_a", device, &device.replace("dev", "chn"), "temperature");
    }
    scribe.reading("dev_quiet", minutes(0), &[("temperature", 4.0)]);
    for device in ["dev_fine", "dev_refused"] {
        scribe.reading(device, minutes(0), &[("temperature", 4.0)]);
    }
    scribe.reading("dev_hot", minutes(0), &[("temperature", 9.5)]);
    scribe.refused(
        "run",
        "device:dev_refused",
        &json!({"invalid_measurement": 3, "rate_limited": 1}),
    );
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));

    let now = minutes(2);
    let mut devices = model.devices("acc_a", None).expect("answers");
    // Everything was received within the last moments but for one, whose silence is made long here.
    for device in &mut devices {
        if device.device_id == "dev_quiet" {
            device.last_seen = Some(at(-3_600_000_000));
        }
    }
    worst_first(&mut devices, now);
    let order: Vec<_> = devices
        .iter()
        .map(|d| (d.device_id.as_str(), d.concern(now)))
        .collect();
    assert_eq!(
        order,
        [
            ("dev_quiet", Concern::Offline),
            ("dev_hot", Concern::Outside),
            ("dev_refused", Concern::Refused),
            ("dev_new", Concern::NeverSeen),
            ("dev_fine", Concern::None),
        ]
    );
    let fine = &devices[4];
    assert_eq!(
        (fine.online(now), fine.online(minutes(60))),
        (Some(true), Some(false))
    );
    assert!(fine.age_s(now).is_some_and(|age| (119.0..=120.0).contains(&age)));
    assert_eq!((devices[3].online(now), devices[3].age_s(now)), (None, None));
    assert_eq!(devices[2].refused, 4);
    let refusals = model.refusals("acc_a", Some("dev_refused"), 9).expect("answers");
    assert_eq!((refusals.len(), refusals[0].total), (1, 4));
    let totals = model.refusal_totals("acc_a", "dev_refused").expect("answers");
    assert_eq!(totals.iter().map(|t| t.total).sum::<u64>(), 4);
}

#[test]
fn a_cadence_is_learned_where_none_is_configured() {
    let scribe = fridge(None);
    for n in 0..40 {
        scribe.reading("dev_0", minutes(n * 5), &[("temperature", 1.0)]);
    }
    scribe.reading("dev_0", minutes(39 * 5 + 60), &[("temperature", 1.0)]);
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let device = model.device("acc_a", "dev_0").expect("is there");
    assert_eq!((device.cadence_s, device.learned_cadence_s), (None, Some(300.0)));
    let gaps = model.device_gaps("acc_a", "dev_0", 9).expect("answers");
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].from, gaps[0].to), (minutes(195), minutes(255)));
}

#[test]
fn the_timeline_is_found_under_every_id_it_is_about_newest_first_in_pages() {
    let scribe = fridge(None);
    scribe.site("acc_a", "site_two");
    let moved = json!({"from_site": "site_one", "to_site": "site_two", "effective_at": at(0).to_string()});
    let moved = scribe.fact(Some("acc_a"), ("device", "dev_0"), "DeviceMoved", &moved);
    let token = json!({"token": "tok", "kind": "device", "hash": "$2b$10$x"});
    let issued = scribe.fact(Some("acc_a"), ("tokens", "dev_0"), "TokenIssued", &token);
    let limits = json!({"changes": {"ok_max": {"old": 8, "new": 5}}});
    let changed = scribe.fact(Some("acc_a"), ("channel", "chn_0"), "ChannelChanged", &limits);
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let about = |subject: &str| -> Vec<Position> {
        let filter = TimelineFilter {
            subject: Some(subject),
            aggregate_type: None,
            before: None,
        };
        let items = model.timeline("acc_a", &filter, 100).expect("answers");
        items.into_iter().map(|item| item.position).collect()
    };
    assert_eq!(about("chn_0"), [changed, Position(3)]);
    assert_eq!(about("dev_0"), [changed, issued, moved, Position(3), Position(2)]);
    assert_eq!(about("site_two"), [changed, issued, moved, Position(4)]);
    assert_eq!(about("site_one"), [moved, Position(3), Position(2), Position(1)]);

    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let filter = TimelineFilter {
            subject: None,
            aggregate_type: None,
            before,
        };
        let page = model.timeline("acc_a", &filter, 3).expect("answers");
        let Some(last) = page.last() else { break };
        before = Some(last.position);
        seen.extend(page.iter().map(|item| item.position.get()));
    }
    assert_eq!(seen, (0..8).rev().collect::<Vec<_>>());
    let items = model
        .timeline("acc_a", &TimelineFilter::default(), 100)
        .expect("answers");
    let issued = items
        .iter()
        .find(|item| item.event_type == "TokenIssued")
        .expect("is there");
    assert_eq!(issued.payload, None, "the token's hash is withheld");
    assert_eq!(items[0].reason.as_deref(), Some("{\"code\":\"setup\"}"));
    assert_eq!(
        model.channel("acc_a", "chn_0").expect("is there").ok_max,
        Some(5.0)
    );
}

#[test]
fn days_are_listed_newest_first() {
    let scribe = fridge(None);
    for day in 1..4 {
        let payload = json!({"date": format!("2026-01-0{day}"), "first_position": 0, "size": 4, "root": "r"});
        scribe.fact(None, ("ledger", "main"), "DayClosed", &payload);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let dates = |before: Option<&str>| -> Vec<String> {
        let before = before.map(|date| domain::Date::parse(date).expect("a date"));
        model
            .days(before, 2)
            .expect("answers")
            .into_iter()
            .map(|day| day.date)
            .collect()
    };
    assert_eq!(dates(None), ["2026-01-03", "2026-01-02"]);
    assert_eq!(dates(Some("2026-01-02")), ["2026-01-01"]);
    let day = model
        .day(domain::Date::parse("2026-01-02").expect("a date"))
        .expect("answers");
    assert_eq!(day.map(|day| day.position), Some(Position(5)));
    assert_eq!(model.ledger_timeline(None, 9).expect("answers").len(), 3);
    assert_eq!(
        model
            .timeline("acc_a", &TimelineFilter::default(), 9)
            .expect("answers")
            .len(),
        4
    );
}

#[test]
fn refusals_and_gaps_kept_are_bounded_and_the_rest_is_counted() {
    let scribe = fridge(Some(60));
    for _ in 0..150 {
        scribe.refused("run", "device:dev_0", &json!({"rate_limited": 1}));
    }
    for n in 0..600 {
        scribe.reading("dev_0", minutes(n * 10), &[("temperature", 1.0)]);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    assert_eq!(model.refusals("acc_a", None, 1_000).expect("answers").len(), 100);
    let device = model.device("acc_a", "dev_0").expect("is there");
    assert_eq!((device.refused, device.gaps), (150, 599));
    let gaps = model.device_gaps("acc_a", "dev_0", 1_000).expect("answers");
    assert_eq!((gaps.len(), gaps[0].to), (500, minutes(5_990)));
}
