//! The small line of the last hours that stands in a list: no axes, the limits as a band, gaps as breaks.
//!
//! Invariants: decoration for the eye beside a number that says the same, so it is hidden from screen readers;
//! a device without readings gets an empty box of the same size, so that lists do not jump.
//! Not here: axes and numbers (`chart`).

use maud::{Markup, html};

use super::chart::{domain_of, px};
use super::series::{self, Sample};
use super::view::{LimitSpan, Spark};

const WIDTH: f64 = 128.0;
const HEIGHT: f64 = 32.0;
const PAD: f64 = 3.0;
/// More columns than this are finer than the line is wide.
const COLUMNS: usize = 48;

/// The small line; an empty box where there is nothing to draw.
pub fn svg(spark: Option<&Spark>) -> Markup {
    let samples = spark.map_or_else(Vec::new, |s| series::reduce(&s.series, s.from, s.to, COLUMNS));
    html! {
        svg.spark viewBox={ "0 0 " (px(WIDTH)) " " (px(HEIGHT)) } aria-hidden="true" {
            @match spark {
                Some(spark) if !samples.is_empty() => { (lines(spark, &samples)) }
                _ => { line.s-none x1="0" y1=(px(HEIGHT / 2.0)) x2=(px(WIDTH)) y2=(px(HEIGHT / 2.0)) {} }
            }
        }
    }
}

fn lines(spark: &Spark, samples: &[Sample]) -> Markup {
    let span = [LimitSpan {
        from: spark.from,
        to: None,
        limits: spark.limits,
    }];
    let (lo, hi) = domain_of(samples, &span);
    let width_us = spark.to.since(spark.from).max(1) as f64;
    let x =
        |s: &Sample| PAD + (s.at.since(spark.from) as f64 / width_us).clamp(0.0, 1.0) * (WIDTH - 2.0 * PAD);
    let y = |v: f64| HEIGHT - PAD - ((v - lo) / (hi - lo)).clamp(0.0, 1.0) * (HEIGHT - 2.0 * PAD);
    let mut d = String::new();
    for run in series::runs(samples, &spark.gaps) {
        for (i, s) in run.iter().enumerate() {
            d.push(if i == 0 { 'M' } else { 'L' });
            d.push_str(&format!("{} {}", px(x(s)), px(y(s.mean))));
        }
        if run.len() == 1 {
            // A round cap makes a dot of a line without length.
            d.push_str("h0");
        }
    }
    let (top, bottom) = (
        spark.limits.max.map_or(0.0, &y),
        spark.limits.min.map_or(HEIGHT, &y),
    );
    html! {
        @if !spark.limits.is_open() {
            rect.s-band x="0" y=(px(top)) width=(px(WIDTH)) height=(px((bottom - top).max(0.5))) {}
        }
        path.s-line d=(d) {}
        @if let Some(last) = samples.last() {
            @let out = spark.limits.side_of(last.mean).is_some();
            circle.s-dot.out[out] cx=(px(x(last))) cy=(px(y(last.mean))) r="2.6" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;

    use super::super::view::{Gap, Limits, Series};
    use super::*;

    fn t(s: i64) -> Timestamp {
        Timestamp::from_micros(s * 1_000_000).expect("a time of the test")
    }

    #[test]
    fn nothing_to_draw_is_an_empty_box_of_the_same_size() {
        let empty = Spark {
            from: t(0),
            to: t(0),
            series: Series::Points(Vec::new()),
            gaps: Vec::new(),
            limits: Limits::default(),
        };
        assert_eq!(svg(None).into_string(), svg(Some(&empty)).into_string());
    }

    #[test]
    fn the_line_is_broken_at_a_gap() {
        let spark = Spark {
            from: t(0),
            to: t(100),
            series: Series::Points((0..10).map(|i| (t(i * 10), i as f64)).collect()),
            gaps: vec![Gap {
                from: t(40),
                to: Some(t(50)),
            }],
            limits: Limits::default(),
        };
        let out = svg(Some(&spark)).into_string();
        assert_eq!(out.matches('M').count(), 2, "{out}");
        assert!(!out.contains("NaN") && !out.contains("inf"));
    }
}
