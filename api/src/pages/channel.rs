//! A channel's history: the chart, the same in numbers, the newest readings with their positions.
//!
//! Invariants: what the picture shows stands in the tables too; a reading's time says whose clock it is; links
//! carry the range as it is shown.
//! Not here: the drawing (`chart`).

use domain::Timestamp;
use maud::{Markup, html};

use super::chart::{Chart, Mark, Size};
use super::layout::{self, Page, Section};
use super::parts;
use super::series;
use super::view::{ChannelPage, Frame, Range, Series, SpanRow, State};
use super::words;
use super::{alarms, gather, rules, values};

/// Seconds between two looks of an open page.
const LIVE_S: u32 = 30;
/// The range ends after the newest reading, not at it.
const MINUTE_US: i64 = 60_000_000;
const RANGES: &[(Range, &str, &str)] = &[
    (Range::Day, "24h", "24 hours"),
    (Range::Week, "7d", "7 days"),
    (Range::Month, "30d", "30 days"),
    (Range::Quarter, "90d", "90 days"),
];

impl Range {
    /// The range a query names: `24h`, `7d`, `30d`, `90d`.
    pub fn of_query(text: &str) -> Option<Self> {
        RANGES.iter().find(|(_, q, _)| *q == text).map(|(r, _, _)| *r)
    }

    /// How long it is, microseconds; `None` for the custom one.
    pub fn length_us(self) -> Option<i64> {
        let days = match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 30,
            Self::Quarter => 90,
            Self::Custom => return None,
        };
        Some(days * domain::time::DAY_US)
    }
}

/// A channel's document.
pub fn page(frame: &Frame, view: &ChannelPage) -> Markup {
    let name = parts::channel_name(&view.channel);
    let body = html! {
        nav.crumbs aria-label="Where you are" {
            a href="/app" { "Overview" } " / " a href=(view.site.href) { (view.site.text) } " / "
            a href=(view.device.href) { (view.device.text) }
        }
        div.title-row { h1 { (name) " " span.dim { (view.device.text) } } }
        @if !view.alarms.is_empty() { (alarms::list::rows(&view.alarms, frame.now)) }
        (latest(view, frame))
        (ranges(view, frame))
        @if let Some(error) = &view.error { p.error role="alert" { (error) } }
        (figure(view, &name))
        (summary(view))
        (rules::list::section(frame, &view.channel, &view.rules, &view.zone))
        (alarms::silence::section(frame, &view.channel.id, &view.silences, &view.silence, &view.zone))
        (origin(view, frame))
        (spans(view))
        (readings(view, frame))
    };
    layout::page(
        frame,
        &Page {
            title: &format!("{name}, {}", view.device.text),
            section: Section::Overview,
            live_s: (view.range != Range::Custom).then_some(LIVE_S),
            body,
        },
    )
}

fn latest(view: &ChannelPage, frame: &Frame) -> Markup {
    let channel = &view.channel;
    let state = if view.online || channel.latest.is_none() {
        channel.state()
    } else {
        channel.state().min(State::Offline)
    };
    html! {
        div class={ "now " (parts::state_class(state)) } {
            p.readout-value {
                @match channel.latest {
                    Some((_, v)) => { (parts::quantity(&channel.kind, v, &channel.unit)) }
                    None => { span.dim { "–" } }
                }
            }
            div {
                p { (parts::badge(state)) @if channel.judged.silenced { " " (parts::silenced()) } }
                p.dim {
                    (parts::limits_words(&channel.limits, &channel.kind, &channel.unit))
                    @if let Some((at, _)) = channel.latest { " · measured " (parts::ago(at, &view.zone, frame.now)) }
                }
            }
        }
    }
}

/// A time as the form's fields and the query have it.
fn local(view: &ChannelPage, at: Timestamp) -> String {
    view.zone.at(at).strftime("%Y-%m-%dT%H:%M").to_string()
}

fn ranges(view: &ChannelPage, frame: &Frame) -> Markup {
    html! {
        div.ranges {
            nav aria-label="Range" {
                @for (range, query, name) in RANGES {
                    a href={ "/app/channels/" (view.channel.id) "?range=" (query) }
                        aria-current=[(view.range == *range).then_some("true")] { (name) }
                }
            }
            details.custom open[view.range == Range::Custom || view.error.is_some()] {
                summary { "From … to" }
                form method="get" action={ "/app/channels/" (view.channel.id) } {
                    label for="f-from" { "From" }
                    input id="f-from" type="datetime-local" name="from" value=(local(view, view.from)) required;
                    label for="f-to" { "to" }
                    input id="f-to" type="datetime-local" name="to" value=(local(view, view.to)) required
                        max=(local(view, frame.now.plus_micros(domain::time::DAY_US)));
                    button type="submit" { "Show" }
                    span.dim { (view.zone.name()) }
                }
            }
        }
    }
}

fn figure(view: &ChannelPage, name: &str) -> Markup {
    let (from, to) = (
        words::minute(view.from, &view.zone),
        words::minute(view.to, &view.zone),
    );
    let title = format!("{name}, {}, {from} to {to}", view.device.text);
    let marks: Vec<Mark> = view
        .alarms
        .iter()
        .map(|alarm| Mark {
            from: alarm.began_at,
            to: alarm.ended_at,
            at: Some(alarm.opened_at),
            title: "Alarm, still open".to_owned(),
        })
        .collect();
    let lines = gather::rules::lines(&view.rules);
    let chart = Chart {
        id: "chart",
        title: &title,
        kind: &view.channel.kind,
        unit: &view.channel.unit,
        from: view.from,
        to: view.to,
        zone: &view.zone,
        series: &view.series,
        raw: view.values.raw.as_ref(),
        limits: &view.limits,
        gaps: &view.gaps,
        marks: &marks,
        lines: &lines,
    };
    let limited = view.limits.iter().any(|s| !s.limits.is_open());
    html! {
        figure.chart-box {
            div.only-wide { (chart.svg(Size::Wide)) }
            div.only-narrow { (chart.svg(Size::Narrow)) }
            figcaption {
                span { (from) " – " (to) ", " (view.zone.name()) }
                span.legend {
                    @match &view.series {
                        Series::Points(_) if view.values.raw.is_some() => { span.key.k-line { "calibrated" } }
                        Series::Points(_) => { span.key.k-line { "readings" } }
                        Series::Buckets(_) => {
                            span.key.k-line { "mean" } span.key.k-env { "lowest to highest" }
                        }
                    }
                    @if view.values.raw.is_some() { span.key.k-raw { "as recorded" } }
                    @if limited { span.key.k-band { "inside limits" } span.key.k-out { "outside" } }
                    @if !marks.is_empty() { span.key.k-alarm { "open alarm" } }
                    @if !view.gaps.is_empty() { span.key.k-gap { "no data" } }
                }
                a href=(view.csv_href) { "CSV of this range" }
                a href={ "/app/evidence?channel=" (view.channel.id) } { "Evidence pack" }
            }
        }
    }
}

fn summary(view: &ChannelPage) -> Markup {
    let (kind, unit) = (&view.channel.kind, &view.channel.unit);
    let all = series::reduce(&view.series, view.from, view.to, usize::MAX);
    html! {
        @if let Some(all) = series::fold_all(&all) {
            dl.summary {
                div { dt { "Lowest" } dd { (parts::quantity(kind, all.min, unit)) } }
                div { dt { "Mean" } dd { (parts::quantity(kind, all.mean, unit)) } }
                div { dt { "Highest" } dd { (parts::quantity(kind, all.max, unit)) } }
                div { dt { "Readings" } dd.num { (words::count(all.count)) } }
                div { dt { "Gaps" } dd.num { (view.gaps.len()) } }
            }
        }
    }
}

/// Where its values come from.
fn origin(view: &ChannelPage, frame: &Frame) -> Markup {
    let (id, unit) = (&view.channel.id, &view.channel.unit);
    html! {
        @if view.values.is_derived { (values::derived::section(frame, id, &view.values, &view.zone)) }
        @else {
            (values::calibration::section(frame, id, unit, &view.values, &view.zone))
            (values::derived::feeds(frame, id, &view.values))
        }
    }
}

fn spans(view: &ChannelPage) -> Markup {
    let kind = &view.channel.kind;
    let cell = |row: &SpanRow, v: f64| {
        let side = row.limits.side_of(v);
        html! {
            td.r.num.out[side.is_some()] {
                @if let Some(side) = side { (parts::side(side)) span.sr { "outside limits: " } }
                (words::value(kind, v))
            }
        }
    };
    html! {
        @if !view.spans.is_empty() {
            section aria-labelledby="spans-h" {
                h2 #spans-h { "Lowest, mean, highest" @if !words::unit(&view.channel.unit).is_empty() { span.dim { " in " (words::unit(&view.channel.unit)) } } }
                div.scroll tabindex="0" role="group" aria-labelledby="spans-h" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "When" }
                                th.r scope="col" { "Lowest" }
                                th.r scope="col" { "Mean" }
                                th.r scope="col" { "Highest" }
                                th.r scope="col" { "Readings" }
                            }
                        }
                        tbody {
                            @for row in &view.spans {
                                tr {
                                    th scope="row" { (row.label) }
                                    (cell(row, row.min)) (cell(row, row.mean)) (cell(row, row.max))
                                    td.r.num { (words::count(row.count)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn readings(view: &ChannelPage, frame: &Frame) -> Markup {
    let unit = words::unit(&view.channel.unit);
    let corrected = view.values.raw.is_some()
        || view
            .readings
            .iter()
            .any(|row| row.value.to_bits() != row.raw.to_bits());
    let noted = view.readings.iter().any(|row| !row.notes.is_empty());
    html! {
        section aria-labelledby="readings-h" {
            h2 #readings-h { "Newest readings" }
            @if view.readings.is_empty() {
                @match view.channel.latest {
                    None => { p.dim { "None yet." } }
                    Some((at, _)) => {
                        p { "None between " (words::minute(view.from, &view.zone)) " and " (words::minute(view.to, &view.zone)) ". "
                            "The newest was measured " (parts::ago(at, &view.zone, frame.now)) ": "
                            a href={ "/app/channels/" (view.channel.id) "?from=" (local(view, at.plus_micros(-domain::time::DAY_US)))
                                "&to=" (local(view, at.plus_micros(MINUTE_US))) } { "the day before it" } "." }
                    }
                }
            }
            @else {
                p.dim {
                    @if view.values.is_derived { "Made of other channels' readings; the position leads to the entry that a value was made at." }
                    @else if corrected { "Recorded: every digit as it stands in the ledger. The position leads to the entry and its proof." }
                    @else { "Every digit as it stands in the ledger. The position leads to the entry and its proof." }
                }
                div.scroll tabindex="0" role="group" aria-labelledby="readings-h" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Measured" }
                                th.r scope="col" { @if corrected { "Calibrated" } @else { "Value" } @if !unit.is_empty() { " (" (unit) ")" } }
                                @if corrected { th.r scope="col" { "Recorded" } }
                                th.r scope="col" { "Position" }
                                th scope="col" { @if corrected { "Recorded at" } @else { "Recorded" } }
                                th scope="col" { "Clock" }
                                @if noted { th scope="col" { "Notes" } }
                            }
                        }
                        tbody {
                            @for row in &view.readings {
                                tr {
                                    th scope="row" { (stamp(view, row.measured_at, frame.now)) }
                                    td.r.num { (words::exact(row.value)) }
                                    @if corrected { td.r.num { (words::exact(row.raw)) } }
                                    td.r { (parts::position(row.position)) }
                                    td { @if let Some(at) = row.recorded_at { (stamp(view, at, frame.now)) } @else { "–" } }
                                    td { (clock_words(&row.time_from)) }
                                    @if noted { td { @for note in &row.notes { p.note { (note) } } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// With seconds: these rows are records.
fn stamp(view: &ChannelPage, at: Timestamp, now: Timestamp) -> Markup {
    let seconds = view.zone.at(at).second();
    html! {
        time datetime=(at) title=(words::stamp(at, &view.zone)) {
            (words::moment(now, at, &view.zone)) ":" (format!("{seconds:02}"))
        }
    }
}

/// Whose clock a measured time is.
fn clock_words(time_from: &str) -> &str {
    match time_from {
        "device" => "device",
        "network" => "network server",
        "received" => "on arrival",
        other => other,
    }
}
