//! What `/metrics` shows: counters and histograms of the edge, and what the rooms behind it say when asked.
//!
//! Invariants: the recorder belongs to one `App` and is nobody's global; names and labels are constants, never
//! anything a request brought. Gauges of ledger and projections are set when they are read, not while they change.
//! Not here: what the numbers mean for an operator (docs/operations.md).

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::time::Duration;
use warp::http::StatusCode;

/// Upper borders in seconds: a fast disk's sync is below a millisecond, a slow one's tens.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
const METADATA: Metadata<'static> = Metadata::new("daybook", Level::INFO, None);

/// The recorder and the handles that are used on the way of every request.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    answers: [Counter; 6],
    seconds: Histogram,
    /// Readings that were recorded.
    pub accepted: Counter,
    /// Readings that were there already.
    pub deduplicated: Counter,
    /// Ingest requests that were refused.
    pub refused: Counter,
}

impl Metrics {
    /// A recorder of its own.
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
            .unwrap_or_default()
            .build_recorder();
        let handle = recorder.handle();
        let counter = |name: &'static str, help: &'static str| {
            recorder.describe_counter(name.into(), None, help.into());
            recorder.register_counter(&Key::from_name(name), &METADATA)
        };
        recorder.describe_counter(
            "daybook_http_answers_total".into(),
            None,
            "Answers by class of status.".into(),
        );
        let answers = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| {
            let key = Key::from_parts("daybook_http_answers_total", vec![Label::new("class", class)]);
            recorder.register_counter(&key, &METADATA)
        });
        recorder.describe_histogram(
            "daybook_http_seconds".into(),
            Some(Unit::Seconds),
            "From a request's headers to its answer's.".into(),
        );
        Self {
            answers,
            seconds: recorder.register_histogram(&Key::from_name("daybook_http_seconds"), &METADATA),
            accepted: counter("daybook_readings_accepted_total", "Measurements recorded."),
            deduplicated: counter(
                "daybook_readings_deduplicated_total",
                "Measurements that were there already.",
            ),
            refused: counter(
                "daybook_ingest_refused_total",
                "Ingest requests that were refused.",
            ),
            recorder,
            handle,
        }
    }

    /// An answer was given.
    pub fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100);
        self.answers[if class < self.answers.len() { class } else { 0 }].increment(1);
        self.seconds.record(took.as_secs_f64());
    }

    /// A notification was tried.
    pub fn notified(&self, via: &'static str, outcome: &'static str) {
        let name = "daybook_notifications_total";
        let help = "Attempts to send notifications, by way and outcome.";
        self.recorder.describe_counter(name.into(), None, help.into());
        let labels = vec![Label::new("via", via), Label::new("outcome", outcome)];
        self.recorder
            .register_counter(&Key::from_parts(name, labels), &METADATA)
            .increment(1);
    }

    /// A gauge, made when it is first named.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.describe_gauge(name.into(), None, help.into());
        self.recorder
            .register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_recorders_count_apart() {
        let (a, b) = (Metrics::new(), Metrics::new());
        a.answered(StatusCode::OK, Duration::from_millis(3));
        a.gauge(
            "daybook_lag_entries",
            "How far behind.",
            vec![Label::new("projection", "raw")],
        )
        .set(7.0);
        let text = a.render();
        assert!(
            text.contains("daybook_http_answers_total{class=\"2xx\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("daybook_http_seconds_bucket{le=\"0.005\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("daybook_lag_entries{projection=\"raw\"} 7"),
            "{text}"
        );
        assert!(!b.render().contains("class=\"2xx\"} 1"));
    }
}
