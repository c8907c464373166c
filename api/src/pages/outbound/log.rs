//! The page of the outbound log: ways, what waits, what was tried.
//!
//! Not here: the words of codes (`view`).

use domain::Timestamp;
use maud::{Markup, html};

use super::super::contacts::list::LIVE_S;
use super::super::layout::{self, Page, Section};
use super::super::view::Frame;
use super::super::{marks, parts, words};
use super::view::{Attempt, Filter, OUTCOMES, OutboundPage, Outcome, WHAT, WaitingRow, WayRow, code_words};

/// The log's document.
pub fn page(frame: &Frame, view: &OutboundPage) -> Markup {
    let body = html! {
        div.title-row {
            h1 { "Outbound log" }
            a.button href="/app/contacts" { "Contacts" }
        }
        p.lead { "Every attempt to tell somebody, what came of it, and what waits. Kept for 90 days." }
        @if !view.ways.is_empty() { (ways(frame, &view.ways)) }
        (waiting(frame, view))
        section aria-labelledby="tried-h" {
            h2 #tried-h { "Attempts" }
            (filter(view))
            @if view.attempts.is_empty() { (none(&view.filter)) }
            @else { ol.sent-list { @for attempt in &view.attempts { (row(frame, view, attempt)) } } }
            @if let Some(older) = &view.older { p { a.button href=(older) { "Older attempts" } } }
        }
    };
    layout::page(
        frame,
        &Page {
            title: "Outbound log",
            section: Section::Outbound,
            live_s: Some(LIVE_S),
            body,
        },
    )
}

/// Shape and word of what came of an attempt.
pub fn outcome(attempt: &Attempt) -> Markup {
    let (mark, word) = attempt.outcome.mark();
    marks::badge(mark, word)
}

fn ways(frame: &Frame, ways: &[WayRow]) -> Markup {
    let ago = |at: Timestamp| parts::ago(at, &frame.zone, frame.now);
    html! {
        section aria-labelledby="ways-h" {
            h2 #ways-h { "Ways" }
            ul.ways {
                @for way in ways {
                    @let (mark, word) = way.mark();
                    li class={ "way-row " (marks::class(mark)) } {
                        p.way-name {
                            (marks::way_shape(way.kind)) (marks::way(way.kind))
                            @if let Some(contact) = &way.contact { " · " a href=(contact.href) { (contact.text) } }
                        }
                        (marks::badge(mark, word))
                        p.dim {
                            @match way.failing_since {
                                Some(since) => { "Every attempt since " (parts::time(since, &frame.zone, frame.now)) " was in vain. " }
                                None => {}
                            }
                            @match way.taken_at {
                                Some(at) => { "Last taken " (ago(at)) "." }
                                None => { "Nothing was taken yet." }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn waiting(frame: &Frame, view: &OutboundPage) -> Markup {
    html! {
        section aria-labelledby="waiting-h" {
            h2 #waiting-h { "Waiting" }
            @if view.waiting.is_empty() { p.dim { "Nothing waits to be sent." } }
            @else {
                ul.waiting { @for row in &view.waiting { (waits(frame, row)) } }
                @if view.more_waits { p.dim { "More waits than is shown here." } }
            }
        }
    }
}

fn waits(frame: &Frame, row: &WaitingRow) -> Markup {
    html! {
        li {
            p {
                (marks::badge(marks::Mark::Waits, "waits")) " "
                @match &row.alarm {
                    Some(href) => { a href=(href) { (words::capitalised(&row.what)) } }
                    None => { (words::capitalised(&row.what)) }
                }
                " to " a href=(row.contact.href) { (row.contact.text) }
                span.dim { ", " (marks::way(row.kind)) ", due " (parts::time(row.due_at, &frame.zone, frame.now)) }
            }
            p.dim { (row.why) }
        }
    }
}

fn filter(view: &OutboundPage) -> Markup {
    let filter = &view.filter;
    let select = |name: &str, label: &str, all: &str, chosen: &str, options: Vec<(&str, &str)>| {
        html! {
            div.field {
                label for={ "o-" (name) } { (label) }
                select id={ "o-" (name) } name=(name) {
                    option value="" { (all) }
                    @for (value, word) in options { option value=(value) selected[value == chosen] { (word) } }
                }
            }
        }
    };
    html! {
        details.filter.keep[!filter.is_empty()] open[!filter.is_empty()] {
            summary.button { "Filter" @if !filter.is_empty() { span.dim { " · in use" } } }
            form.grid method="get" action="/app/outbound" {
                (select("contact", "Contact", "Every one", &filter.contact,
                    view.contacts.iter().map(|(id, name)| (id.as_str(), name.as_str())).collect()))
                (select("type", "What came of it", "Anything", &filter.outcome, OUTCOMES.to_vec()))
                (select("what", "What it said", "Anything", &filter.what, WHAT[..16].to_vec()))
                div.field {
                    label for="o-since" { "Since" span.dim { " (" (view.zone.name()) ")" } }
                    input #o-since type="datetime-local" name="since" value=(filter.since);
                }
                div.field {
                    label for="o-until" { "Until" }
                    input #o-until type="datetime-local" name="until" value=(filter.until);
                }
                div.actions {
                    button.primary type="submit" { "Show" }
                    @if !filter.is_empty() { a.button href="/app/outbound" { "Everything" } }
                }
            }
        }
        @if let Some(error) = &filter.error { p.error role="alert" { (error) } }
    }
}

fn none(filter: &Filter) -> Markup {
    html! {
        p.quiet {
            @if filter.is_empty() { "Nothing was sent in the last 90 days." }
            @else { "Nothing of the last 90 days is as asked for." }
        }
    }
}

fn row(frame: &Frame, view: &OutboundPage, attempt: &Attempt) -> Markup {
    let (mark, _) = attempt.outcome.mark();
    html! {
        li class={ "sent " (marks::class(mark)) } {
            div.sent-what {
                p {
                    strong {
                        @match &attempt.alarm {
                            Some(href) => { a href=(href) { (words::capitalised(&attempt.what)) } }
                            None => { (words::capitalised(&attempt.what)) }
                        }
                    }
                }
                p.dim {
                    (marks::way_shape(attempt.kind)) a href=(attempt.contact.href) { (attempt.contact.text) }
                }
            }
            p.sent-state { (outcome(attempt)) }
            div.sent-code {
                @if attempt.outcome != Outcome::Asked { p { (answered(attempt)) } }
                @if let Some(words) = code_words(&attempt.code) { p.dim { (words) } }
                @if let Some(next) = attempt.next_at {
                    p.dim { "Again " (parts::time(next, &view.zone, frame.now)) "." }
                }
            }
            p.sent-when.dim {
                (parts::ago(attempt.at, &view.zone, frame.now))
                @if matches!(attempt.outcome, Outcome::Sent | Outcome::Again | Outcome::Failed) {
                    br; span title={ "The attempt took " (attempt.took_ms) " ms" } { (latency(attempt.latency_ms)) }
                }
                br; (parts::position(attempt.position))
            }
            div.sent-again {
                @if attempt.outcome.may_go_again() && parts::may_edit(frame) {
                    (parts::action(frame, &format!("/app/outbound/{}/redeliver", attempt.notification), "Send again", ""))
                }
            }
        }
    }
}

/// The provider's code, its id, which attempt.
fn answered(attempt: &Attempt) -> Markup {
    html! {
        code { (attempt.code) }
        @if attempt.attempt > 1 { span.dim { " · attempt " (attempt.attempt) } }
        @if attempt.repeated { span.dim { " · may have arrived twice" } }
        @if let Some(id) = &attempt.provider_id { span.dim.break { " · " (id) } }
    }
}

/// How long after its cause.
fn latency(ms: u64) -> String {
    match ms {
        0..1_000 => format!("after {ms}\u{a0}ms"),
        1_000..10_000 => format!("after {:.1}\u{a0}s", ms as f64 / 1_000.0),
        _ => format!(
            "after {}",
            words::span(i64::try_from(ms).unwrap_or(i64::MAX / 1_000) * 1_000)
        ),
    }
}
