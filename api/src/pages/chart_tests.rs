//! The chart under empty, single, constant, huge and broken input, and one golden.
//!
//! Not here: how it looks; that is seen in a browser.

use super::super::view::Bucket;
use super::*;

fn t(minutes: i64) -> Timestamp {
    // 2026-05-16T12:00:00Z
    Timestamp::from_micros(1_778_932_800_000_000 + minutes * 60_000_000).expect("a time of the test")
}

fn draw(series: Series, limits: &[LimitSpan], gaps: &[Gap]) -> String {
    let zone = Zone::named("Europe/Bratislava");
    let chart = Chart {
        id: "c",
        title: "Temperature",
        kind: "temperature",
        unit: "Cel",
        from: t(0),
        to: t(1440),
        zone: &zone,
        series: &series,
        raw: None,
        limits,
        gaps,
        marks: &[],
        lines: &[],
    };
    let both = format!(
        "{}\n{}",
        chart.svg(Size::Wide).into_string(),
        chart.svg(Size::Narrow).into_string()
    );
    for poison in ["NaN", "inf", "=\"-", "e+", "e1"] {
        // Negative places would lie outside the picture.
        let numbers = both
            .split("d=\"")
            .skip(1)
            .map(|s| s.split('"').next().unwrap_or(""));
        assert!(numbers.clone().all(|d| !d.contains(poison)), "{poison} in {both}");
    }
    assert!(!both.contains("NaN") && !both.contains("\"inf"), "{both}");
    both
}

fn fridge() -> Limits {
    Limits {
        min: Some(2.0),
        max: Some(5.0),
        grace_min: None,
    }
}

fn always(limits: Limits) -> [LimitSpan; 1] {
    [LimitSpan {
        from: t(-10_000),
        to: None,
        limits,
    }]
}

#[test]
fn no_readings_say_so_and_still_show_the_limits() {
    let out = draw(Series::Points(vec![]), &always(fridge()), &[]);
    assert!(out.contains("No readings in this range"));
    assert!(out.contains("max 5") && out.contains("min 2"));
    draw(Series::Points(vec![]), &[], &[]);
}

#[test]
fn a_single_reading_is_a_dot() {
    let out = draw(Series::Points(vec![(t(700), 4.0)]), &[], &[]);
    assert_eq!(out.matches("<circle").count(), 2);
}

#[test]
fn a_constant_is_a_level_line() {
    let points = (0..100).map(|i| (t(i * 14), 20.0)).collect();
    let out = draw(Series::Points(points), &[], &[]);
    let d = out
        .split("c-line\" d=\"")
        .nth(1)
        .and_then(|s| s.split('"').next())
        .expect("a line");
    let ys: std::collections::BTreeSet<_> = d.split(['M', 'L']).filter_map(|p| p.split(' ').nth(1)).collect();
    assert_eq!(ys.len(), 1, "{d}");
}

#[test]
fn huge_tiny_and_infinite_values_stay_in_the_picture() {
    for values in [
        vec![1.7e308, -1.7e308],
        vec![f64::INFINITY, 1.0],
        vec![f64::MIN_POSITIVE, 0.0],
        vec![1e12, 1e12 + 1.0],
    ] {
        let points = values
            .iter()
            .enumerate()
            .map(|(i, v)| (t(i as i64 * 60), *v))
            .collect();
        draw(Series::Points(points), &always(fridge()), &[]);
    }
}

#[test]
fn a_range_that_is_all_gap_is_hatched_and_has_no_line() {
    let gap = Gap {
        from: t(-600),
        to: None,
    };
    let out = draw(Series::Points(vec![]), &always(fridge()), &[gap]);
    assert!(out.contains("No data since") && out.contains("url(#cw-h)"));
    assert!(out.contains("class=\"c-line\" d=\"\""));
}

#[test]
fn an_excursion_is_drawn_again_only_where_limits_were_in_force() {
    let points: Vec<_> = (0..48)
        .map(|i| (t(i * 30), if i > 40 { 9.0 } else { 4.0 }))
        .collect();
    let out = draw(Series::Points(points.clone()), &always(fridge()), &[]);
    assert!(out.contains("c-dot out"));
    let before = [LimitSpan {
        from: t(0),
        to: Some(t(600)),
        limits: fridge(),
    }];
    assert!(!draw(Series::Points(points), &before, &[]).contains("c-dot out"));
}

#[test]
fn limits_far_from_the_values_do_not_flatten_them() {
    let samples = series::reduce(
        &Series::Points((0..10).map(|i| (t(i), 230.0 + i as f64)).collect()),
        t(0),
        t(100),
        100,
    );
    let far = always(Limits {
        min: None,
        max: Some(100_000.0),
        grace_min: None,
    });
    assert!(domain_of(&samples, &far).1 < 300.0);
    let near = always(Limits {
        min: Some(207.0),
        max: Some(253.0),
        grace_min: None,
    });
    let (lo, hi) = domain_of(&samples, &near);
    assert!(lo < 207.0 && hi > 253.0);
}

#[test]
fn a_quarter_of_five_minute_buckets_stays_a_small_picture() {
    let buckets = (0..25_920)
        .map(|i| Bucket {
            from: t(i / 18),
            to: t(i / 18 + 1),
            min: 2.0 + (i % 11) as f64 / 10.0,
            mean: 3.0,
            max: 4.0 + (i % 7) as f64 / 10.0,
            count: 5,
        })
        .collect();
    let out = draw(Series::Buckets(buckets), &always(fridge()), &[]);
    assert!(out.len() < 64 * 1024, "{}", out.len());
}

#[test]
fn the_same_readings_give_the_same_bytes() {
    let points = (0..24).map(|i| (t(i * 60), 3.5 + (i % 5) as f64 * 0.5)).collect();
    let gap = Gap {
        from: t(600),
        to: Some(t(660)),
    };
    let out = draw(Series::Points(points), &always(fridge()), &[gap]);
    super::super::golden::check("chart.svg", &out);
}
