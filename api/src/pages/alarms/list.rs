//! The list of alarms: open ones above, the worst that nobody has acknowledged first, then those that are over.
//!
//! Invariant: an empty list says what that means, and what it does not.
//! Not here: one alarm (`one`).

use domain::Timestamp;
use domain::rule::{Kind, Severity};
use maud::{Markup, html};

use super::super::layout::{self, Page, Section};
use super::super::parts;
use super::super::view::{Frame, State};
use super::super::words;
use super::view::{AlarmRow, AlarmsPage, Held, Life, Raised, Shown};

/// Seconds between two looks of an open page; what happens meanwhile is told at once.
pub const LIVE_S: u32 = 15;

/// The list's document.
pub fn page(frame: &Frame, view: &AlarmsPage) -> Markup {
    let body = html! {
        h1 { (headline(view)) }
        (filters(view))
        @if view.open.is_empty() { (none_open(view)) }
        @else {
            section aria-labelledby="open-h" {
                h2.sr #open-h { "Open" }
                (rows(&view.open, frame.now))
            }
        }
        @if !view.over.is_empty() {
            section aria-labelledby="over-h" {
                h2 #over-h { "Over" }
                (rows(&view.over, frame.now))
            }
        } @else if view.shown == Shown::All && view.open.is_empty() {
            p.dim { "There has been no alarm here yet." }
        }
        @if let Some(older) = &view.older { p { a.button href=(older) { "Older alarms" } } }
    };
    layout::page(
        frame,
        &Page {
            title: "Alarms",
            section: Section::Alarms,
            live_s: Some(LIVE_S),
            body,
        },
    )
}

fn headline(view: &AlarmsPage) -> String {
    let alarms = || view.open.iter().filter(|row| !row.is_trial());
    let unseen = alarms().filter(|row| row.life == Life::Open).count() as u64;
    match (unseen, alarms().count() as u64) {
        (0, 0) => "No alarm is open".to_owned(),
        (0, 1) => "The open alarm is acknowledged".to_owned(),
        (0, n) => format!("All {n} open alarms are acknowledged"),
        (1, _) => "1 alarm waits for somebody".to_owned(),
        (n, _) => format!("{n} alarms wait for somebody"),
    }
}

fn none_open(view: &AlarmsPage) -> Markup {
    let here = if view.site.is_some() { " at this site" } else { "" };
    html! {
        p.quiet {
            @if view.rules == 0 {
                "No rule judges anything yet, so nothing can raise an alarm. "
                "Give a channel its limits on its device's page, or a rule on its own."
            } @else {
                "Every value that has arrived" (here) " is within what its rules allow, or its grace still runs. "
                "It does not mean that every device reports: the " a href="/app" { "overview" }
                " says which are silent."
            }
        }
    }
}

fn address(shown: Shown, site: Option<&str>) -> String {
    let shown = match shown {
        Shown::Recent => "",
        Shown::Open => "show=open",
        Shown::All => "show=all",
    };
    let site = site.map(|site| format!("site={site}"));
    let query: Vec<&str> = [Some(shown), site.as_deref()]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    match query.is_empty() {
        true => "/app/alarms".to_owned(),
        false => format!("/app/alarms?{}", query.join("&")),
    }
}

fn filters(view: &AlarmsPage) -> Markup {
    let site = view.site.as_deref();
    html! {
        div.ranges {
            nav aria-label="Which alarms" {
                @for (shown, name) in [(Shown::Recent, "Recent"), (Shown::Open, "Open"), (Shown::All, "All")] {
                    a href=(address(shown, site)) aria-current=[(view.shown == shown).then_some("true")] { (name) }
                }
            }
            @if view.sites.len() > 1 {
                nav.sites aria-label="Of which site" {
                    a href=(address(view.shown, None)) aria-current=[site.is_none().then_some("true")] { "Every site" }
                    @for one in &view.sites {
                        a href=(address(view.shown, Some(&one.id)))
                            aria-current=[(site == Some(one.id.as_str())).then_some("true")] { (one.name) }
                    }
                }
            }
        }
    }
}

/// Alarms in the order given.
pub fn rows(rows: &[AlarmRow], now: Timestamp) -> Markup {
    html! {
        ul.alarms { @for row in rows { (item(row, now)) } }
    }
}

fn item(row: &AlarmRow, now: Timestamp) -> Markup {
    html! {
        li class={ "alarm " (class(row)) } {
            p.alarm-state { (mark(row)) (flags(row)) }
            h3 {
                a href={ "/app/alarms/" (row.id) } { (row.device.text) "\u{a0}· " (row.channel.text) }
                span.dim { (row.site.text) }
            }
            p.alarm-value {
                @if let Some(about) = &row.raised { (raised(about, row, now)) }
                @else {
                    strong { (value(&row.held, row.value)) } " "
                    span.dim { (held(&row.held)) }
                }
            }
            p.alarm-when { (when(row, now)) }
        }
    }
}

/// Since when, and who has acknowledged it.
fn when(row: &AlarmRow, now: Timestamp) -> Markup {
    html! {
        @match row.ended_at {
            None => { "since " (parts::time(row.opened_at, &row.zone, now)) ", " (words::span(now.since(row.opened_at))) }
            Some(ended) => {
                (parts::time(row.opened_at, &row.zone, now)) " to " (parts::time(ended, &row.zone, now)) ", "
                (words::span(ended.since(row.opened_at)))
            }
        }
        span.dim {
            @match &row.seen_by {
                Some(name) => { "acknowledged by " (name) }
                None if row.life.is_open() => { "nobody has acknowledged it" }
                None => { "nobody acknowledged it" }
            }
        }
    }
}

/// The class that gives an alarm its colour.
pub fn class(row: &AlarmRow) -> &'static str {
    match (row.life, row.severity) {
        (Life::Open, Severity::Alarm) => "st-alarm",
        (Life::Open, Severity::Warn) => "st-warning",
        (Life::Seen, _) => "st-seen",
        (Life::Over | Life::Closed | Life::Withdrawn, _) => "st-over",
    }
}

/// The shape of how bad it is: a filled triangle, or a filled diamond.
pub fn severity_shape(severity: Severity) -> Markup {
    html! {
        @match severity {
            Severity::Alarm => { (parts::glyph(State::Alarm)) }
            Severity::Warn => {
                svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
                    path.g-fill d="M8 0.6L15.4 8L8 15.4L0.6 8Z" {}
                    path.g-tick d="M8 4.6V8.6M8 11V11.1" {}
                }
            }
        }
    }
}

/// How bad an alarm is and how it stands: a shape and words.
pub fn mark(row: &AlarmRow) -> Markup {
    let (alarm, seen) = match row.severity {
        Severity::Alarm => ("alarm", "alarm, seen"),
        Severity::Warn => ("warning", "warning, seen"),
    };
    html! {
        span class={ "badge " (class(row)) } {
            @match row.life {
                Life::Open => { (severity_shape(row.severity)) (alarm) }
                Life::Seen => { (parts::glyph(State::Seen)) (seen) }
                Life::Over => {
                    svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
                        circle.g-line cx="8" cy="8" r="6.4" {}
                        path.g-line d="M5 8.2L7.2 10.4L11.2 5.8" {}
                    }
                    (alarm) ", over"
                }
                Life::Closed => {
                    svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
                        rect.g-line x="2" y="2" width="12" height="12" rx="1.5" {}
                        path.g-line d="M5 8H11" {}
                    }
                    (alarm) ", closed"
                }
                Life::Withdrawn => {
                    svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
                        path.g-dash d="M8 1.7L14.9 14H1.1Z" {}
                    }
                    (alarm) ", taken back"
                }
            }
        }
    }
}

/// What else is true of it.
pub fn flags(row: &AlarmRow) -> Markup {
    html! {
        @if row.is_trial() { span.badge.flag { "trial" } }
        @if row.recovering { span.badge.flag { (parts::glyph(State::Recovering)) "recovering" } }
        @if row.silenced { (parts::silenced()) }
        @if row.late { span.badge.flag { (parts::glyph(State::Old)) "found late" } }
    }
}

/// What an alarm of no channel is about, a sentence.
pub fn raised(raised: &Raised, row: &AlarmRow, now: Timestamp) -> Markup {
    html! {
        @match raised {
            Raised::Path => {
                strong { "Nobody is reached this way" } " "
                span.dim { "every attempt since " (parts::time(row.began_at, &row.zone, now)) " was in vain" }
            }
            Raised::Trial { until } => {
                strong { "A trial of the way that alarms go" } " "
                span.dim { "to be acknowledged until " (parts::time(*until, &row.zone, now)) "; no fact about any channel" }
            }
        }
    }
}

/// What the rule was told last: a value, a step, a rate, a distance.
pub fn value(held: &Held, value: Option<f64>) -> Markup {
    html! {
        @match (held.rule, value) {
            (Kind::Absence, _) | (_, None) => { "no value" }
            (Kind::Range, Some(v)) => { (parts::quantity(&held.kind, v, &held.unit)) }
            (Kind::Delta, Some(v)) => { "a step of " (difference(held, v)) }
            (Kind::Derivative, Some(v)) => { (difference(held, v)) " an hour" }
            (Kind::Comparison, Some(v)) => { (difference(held, v)) " apart" }
        }
    }
}

/// A difference in the channel's unit, one digit finer than its values.
fn difference(held: &Held, v: f64) -> String {
    let unit = words::unit(&held.unit);
    let number = words::number(v, words::decimals(&held.kind) + 1);
    if unit.is_empty() {
        number
    } else {
        format!("{number}\u{a0}{unit}")
    }
}

/// What is right, in words.
pub fn held(held: &Held) -> String {
    let say = |v: f64| {
        let unit = words::unit(&held.unit);
        match unit.is_empty() {
            true => words::exact(v),
            false => format!("{}\u{a0}{unit}", words::exact(v)),
        }
    };
    let ends = |what: &str| match (held.band.ok_min, held.band.ok_max) {
        (Some(min), Some(max)) => format!("{what}{} to {}", words::exact(min), say(max)),
        (Some(min), None) => format!("{what}at least {}", say(min)),
        (None, Some(max)) => format!("{what}at most {}", say(max)),
        (None, None) => "no limits".to_owned(),
    };
    match held.rule {
        Kind::Range if held.kind == "leak" => {
            format!(
                "should be {}",
                words::value("leak", held.band.ok_max.unwrap_or(0.0))
            )
        }
        Kind::Range => ends("should be "),
        Kind::Delta => ends("a step should be "),
        Kind::Derivative => format!("{} an hour", ends("should change by ")),
        Kind::Comparison => ends("should be apart by "),
        Kind::Absence => match held.silent_s {
            Some(s) => format!(
                "a value should come within {}",
                words::span(i64::from(s) * 1_000_000)
            ),
            None => "a value should come".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::rule::Band;

    #[test]
    fn what_is_right_is_said_in_the_terms_of_the_rule() {
        let of = |rule, ok_min, ok_max, silent_s| {
            held(&Held {
                rule,
                band: Band {
                    ok_min,
                    ok_max,
                    ..Band::default()
                },
                silent_s,
                grace_min: 0,
                kind: "temperature".into(),
                unit: "Cel".into(),
            })
            .replace('\u{a0}', " ")
        };
        assert_eq!(
            of(Kind::Range, Some(-2.0), Some(5.0), None),
            "should be −2 to 5 °C"
        );
        assert_eq!(
            of(Kind::Delta, None, Some(3.0), None),
            "a step should be at most 3 °C"
        );
        assert_eq!(
            of(Kind::Derivative, Some(-4.0), None, None),
            "should change by at least −4 °C an hour"
        );
        assert_eq!(
            of(Kind::Absence, None, None, Some(5400)),
            "a value should come within 1 h 30 min"
        );
    }

    #[test]
    fn a_list_is_addressed_by_what_it_shows() {
        assert_eq!(address(Shown::Recent, None), "/app/alarms");
        assert_eq!(
            address(Shown::All, Some("site_x")),
            "/app/alarms?show=all&site=site_x"
        );
    }
}
