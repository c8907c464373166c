//! An alarm: what happened, the channel around it, why, and what a person does about it.
//!
//! Invariants: the acknowledgement is one touch away at the foot of a phone's window and the reasons are few and
//! plain; what was typed is never lost; the why names the entries, so that nobody has to be believed.
//! Not here: the list (`list`).

use domain::Timestamp;
use domain::aggregate::user::Right;
use domain::rule::Severity;
use maud::{Markup, html};

use super::super::chart::{Chart, Mark, Size};
use super::super::layout::{self, Page, Section};
use super::super::parts;
use super::super::view::{Frame, Series, State};
use super::super::words;
use super::list::{self, LIVE_S};
use super::reasons;
use super::view::{AlarmPage, Around, Life, Step};

/// What a signature may mean: code, and words.
const MEANINGS: &[(&str, &str)] = &[
    ("reviewed", "I have reviewed it"),
    ("responsible", "I am responsible for it"),
    ("approved", "I approve of what was done"),
];

/// An alarm's document.
pub fn page(frame: &Frame, view: &AlarmPage) -> Markup {
    let row = &view.row;
    let body = html! {
        nav.crumbs aria-label="Where you are" {
            a href="/app/alarms" { "Alarms" } " / "
            @if row.raised.is_some() { (row.device.text) }
            @else {
                a href=(row.site.href) { (row.site.text) } " / " a href=(row.device.href) { (row.device.text) } " / "
                a href=(row.channel.href) { (row.channel.text) }
            }
        }
        div class={ "alarm-head " (list::class(row)) } {
            p.alarm-state { (list::mark(row)) (list::flags(row)) }
            h1 { (row.device.text) "\u{a0}· " (row.channel.text) }
            p.alarm-now {
                @if let Some(raised) = &row.raised { (list::raised(raised, row, frame.now)) }
                @else {
                    strong { (list::value(&row.held, row.value)) } " "
                    span.dim { (list::held(&row.held)) ", grace " (row.held.grace_min) "\u{a0}min" }
                }
            }
            p { (standing(view, frame.now)) }
        }
        (handle(frame, view))
        div.alarm-body {
            section.alarm-steps aria-labelledby="steps-h" {
                h2 #steps-h { "What happened" }
                ol.timeline.steps-of { @for step in &view.steps { (happened(view, step, frame.now)) } }
                (say_something(frame, view))
            }
            @if let Some(around) = &view.around { (figure(view, around)) }
        }
        (why(view, frame.now))
        (close(frame, view))
        (reopen(frame, view))
    };
    let word = match row.severity {
        Severity::Alarm => "Alarm",
        Severity::Warn => "Warning",
    };
    layout::page(
        frame,
        &Page {
            title: &format!("{word}: {}, {}", row.device.text, row.channel.text),
            section: Section::Alarms,
            live_s: Some(LIVE_S),
            body,
        },
    )
}

/// How it stands, a sentence.
fn standing(view: &AlarmPage, now: Timestamp) -> Markup {
    let row = &view.row;
    let lasted = |end: Timestamp| words::span(end.since(row.opened_at));
    html! {
        @match (row.life, row.ended_at) {
            (Life::Open | Life::Seen, _) | (_, None) => {
                "Open for " (lasted(now)) ", since " (parts::time(row.opened_at, &row.zone, now)) ". "
            }
            (Life::Withdrawn, Some(_)) => { "Readings that came late show that it had not been one. It stays on record. " }
            (Life::Closed, Some(end)) => { "Closed " (parts::time(end, &row.zone, now)) " after " (lasted(end)) ". " }
            (_, Some(end)) => { "Over " (parts::time(end, &row.zone, now)) ", after " (lasted(end)) ". " }
        }
        @match &row.seen_by {
            Some(name) => { "Acknowledged by " (name) "." }
            None if row.life.is_open() => { "Nobody has acknowledged it." }
            None => { "Nobody acknowledged it." }
        }
        @if row.silenced { " The channel is silenced, so nobody was told." }
    }
}

fn figure(view: &AlarmPage, around: &Around) -> Markup {
    let row = &view.row;
    let title = format!("{}, {}, around the alarm", row.channel.text, row.device.text);
    let marks = [Mark {
        from: row.began_at,
        to: row.ended_at,
        at: Some(row.opened_at),
        title: match row.ended_at {
            Some(end) => format!("Alarm, {}", words::span(end.since(row.began_at))),
            None => "Alarm, still open".to_owned(),
        },
    }];
    let chart = Chart {
        id: "alarm",
        title: &title,
        kind: &row.held.kind,
        unit: &row.held.unit,
        from: around.from,
        to: around.to,
        zone: &row.zone,
        series: &around.series,
        raw: None,
        limits: &around.limits,
        gaps: &around.gaps,
        marks: &marks,
        lines: &[],
    };
    let limited = around.limits.iter().any(|s| !s.limits.is_open());
    html! {
        figure.chart-box {
            div.only-wide { (chart.svg(Size::Wide)) }
            div.only-narrow { (chart.svg(Size::Narrow)) }
            figcaption {
                span.legend {
                    @match &around.series {
                        Series::Points(_) => { span.key.k-line { "readings" } }
                        Series::Buckets(_) => { span.key.k-line { "mean" } span.key.k-env { "lowest to highest" } }
                    }
                    @if limited { span.key.k-band { "right, as it was in force" } span.key.k-out { "outside" } }
                    span.key.k-alarm { "this alarm" }
                    @if !around.gaps.is_empty() { span.key.k-gap { "no data" } }
                }
                a href=(row.channel.href) { "The channel" }
            }
        }
    }
}

fn happened(view: &AlarmPage, step: &Step, now: Timestamp) -> Markup {
    let zone = &view.row.zone;
    html! {
        li class={ "step-" (step.shape) } {
            p.timeline-head {
                strong { (step.title) }
                span.dim {
                    (parts::time(step.at, zone, now))
                    @if let Some(actor) = &step.actor { " · " (actor) }
                    @if let Some(position) = step.position { " · " (parts::position(position)) }
                }
            }
            @for line in &step.lines { p { (line) } }
            @if let Some(said) = &step.said { blockquote { (said) } }
            @if let Some(at) = step.late {
                p.dim { "Found in readings that came late; decided " (parts::time(at, zone, now)) "." }
            }
        }
    }
}

/// What a form carries beside its fields.
fn hidden(frame: &Frame, view: &AlarmPage, form: &str) -> Markup {
    html! {
        (parts::csrf(frame))
        input type="hidden" name="if_match" value=(view.etag);
        input type="hidden" name="idempotency_key" value={ (view.idempotency_key) "-" (form) };
    }
}

fn handle(frame: &Frame, view: &AlarmPage) -> Markup {
    let wanted = view.row.life == Life::Open || view.typed.form == "ack";
    let again = view.row.life == Life::Seen;
    let typed = &view.typed;
    html! {
        @if (wanted || again) && parts::may(frame, Right::Handle) {
            details.ack.wanted[wanted] #ack open[typed.form == "ack"] {
                summary.button.primary[wanted] {
                    span.closed { (parts::glyph(State::Seen)) @if wanted { "Acknowledge" } @else { "Acknowledge again" } }
                    span.opened { "Not now" }
                }
                form.panel.stack method="post" action={ "/app/alarms/" (view.row.id) "/ack" } {
                    (hidden(frame, view, "ack"))
                    @if let Some(error) = &typed.error { p.error role="alert" { (error) } }
                    fieldset.choices {
                        legend { "What is it?" }
                        @for (code, words) in reasons::SEEN {
                            label.choice {
                                input type="radio" name="reason_code" value=(code) required checked[typed.reason == *code];
                                (words)
                            }
                        }
                    }
                    div.field {
                        label for="ack-words" { "In your words" span.dim { " (needed for “something else”)" } }
                        textarea id="ack-words" name="words" rows="2" { (typed.words) }
                    }
                    div.field {
                        label for="ack-action" { "What was done" span.dim { " (optional)" } }
                        input id="ack-action" name="action" value=(typed.action) autocomplete="off"
                            placeholder="Door closed, food moved, technician called …";
                    }
                    button.primary type="submit" { "Acknowledge" }
                    p.hint { "It is recorded with your name. It does not end the alarm: only readings do." }
                    (sign(view, "ack", "acknowledge"))
                }
            }
        }
    }
}

fn say_something(frame: &Frame, view: &AlarmPage) -> Markup {
    let typed = &view.typed;
    let mine = typed.form == "comment";
    html! {
        @if parts::may(frame, Right::Comment) {
            form.comment method="post" action={ "/app/alarms/" (view.row.id) "/comment" } {
                (hidden(frame, view, "comment"))
                @if let Some(error) = typed.error.as_ref().filter(|_| mine) { p.error role="alert" { (error) } }
                div.field {
                    label for="comment-words" { "Say something about it" }
                    textarea id="comment-words" name="words" rows="2" required { @if mine { (typed.words) } }
                }
                button type="submit" { "Comment" }
            }
        }
    }
}

fn close(frame: &Frame, view: &AlarmPage) -> Markup {
    let typed = &view.typed;
    let mine = typed.form == "close";
    html! {
        @if view.row.life.is_open() && parts::may(frame, Right::Handle) {
            details.panel open[mine] {
                summary { "Close it for good" }
                form.stack method="post" action={ "/app/alarms/" (view.row.id) "/close" } {
                    (hidden(frame, view, "close"))
                    p { "For an alarm that no reading will end: a device that is gone, a sensor that is broken. "
                        "Where the values are wrong still, the rule opens another one." }
                    @if let Some(error) = typed.error.as_ref().filter(|_| mine) { p.error role="alert" { (error) } }
                    (because(view, "close", reasons::ENDINGS))
                    button.danger type="submit" { "Close the alarm" }
                    (sign(view, "close", "close"))
                }
            }
        }
    }
}

fn reopen(frame: &Frame, view: &AlarmPage) -> Markup {
    let mine = view.typed.form == "reopen";
    html! {
        @if !view.row.life.is_open() && view.row.raised.is_none() && parts::may(frame, Right::Handle) {
            details.panel open[mine] {
                summary { "It is not over: open it again" }
                form.stack method="post" action={ "/app/alarms/" (view.row.id) "/reopen" } {
                    (hidden(frame, view, "reopen"))
                    p { "Whoever is told of alarms here is told of it again, and it waits to be acknowledged. "
                        "Where its rule took it for over already, no reading ends it any more: a person closes it." }
                    @if let Some(error) = view.typed.error.as_ref().filter(|_| mine) { p.error role="alert" { (error) } }
                    (because(view, "reopen", reasons::REOPENINGS))
                    button type="submit" { "Open it again" }
                }
            }
        }
    }
}

/// Signing it, by a code that is mailed. It stands behind the form's own button, which is what Enter presses.
fn sign(view: &AlarmPage, form: &str, act: &str) -> Markup {
    let sent = view.typed.form == form && view.typed.code_sent;
    html! {
        details.sign open[sent] {
            summary { "Sign it, too" }
            @if sent { p role="status" { "A code was mailed to you. It is good for ten minutes." } }
            p.hint { "A code is mailed to the address that you sign in by. With it, what you do here is signed in your name." }
            div.field {
                label for={ (form) "-meaning" } { "What your signature means" }
                select id={ (form) "-meaning" } name="meaning" {
                    @for (code, words) in MEANINGS { option value=(code) { (words) } }
                }
            }
            input type="hidden" name="act" value=(act);
            button type="submit" formaction={ "/app/alarms/" (view.row.id) "/sign" } formnovalidate { "Mail me a code" }
            div.field {
                label for={ (form) "-code" } { "Code" }
                input id={ (form) "-code" } name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="8";
            }
        }
    }
}

/// A form's reasons and words.
fn because(view: &AlarmPage, form: &str, known: &[reasons::Known]) -> Markup {
    let typed = &view.typed;
    let mine = typed.form == form;
    html! {
        fieldset.choices {
            legend { "Why" }
            @for (code, words) in known {
                label.choice {
                    input type="radio" name="reason_code" value=(code) required
                        checked[mine && typed.reason == *code];
                    (words)
                }
            }
        }
        div.field {
            label for={ (form) "-words" } { "In your words" span.dim { " (needed for “something else”)" } }
            textarea id={ (form) "-words" } name="words" rows="2" { @if mine { (typed.words) } }
        }
    }
}

fn why(view: &AlarmPage, now: Timestamp) -> Markup {
    let (why, row) = (&view.why, &view.row);
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    html! {
        section aria-labelledby="why-h" {
            h2 #why-h { "Why" }
            @if row.raised.is_some() { p { "No rule decided this: the service says it of itself." } }
            dl.facts {
                @if row.raised.is_none() { (fact("Rule", html! {
                    @match &why.rule_href { Some(href) => { a href=(href) { (why.rule) } }, None => { (why.rule) } }
                    ", version " (why.version)
                }))
                (fact("In force", html! { (list::held(&row.held)) ", grace " (row.held.grace_min) "\u{a0}min" })) }
                @if let Some((from, to)) = why.window {
                    (fact("Window", html! { (parts::time(from, &row.zone, now)) " to " (parts::time(to, &row.zone, now)) }))
                }
                (fact("Recorded as", html! { (parts::position(why.position)) ", with its proof" }))
                @if let Some(position) = why.decided_by { (fact("Decided at", parts::position(position))) }
                (fact("Id", html! { code.break { (row.id) } }))
            }
            @if !why.readings.is_empty() {
                h3 { "The readings it rests on" }
                div.scroll tabindex="0" role="group" aria-label="The readings it rests on" {
                    table {
                        thead { tr { th scope="col" { "Measured" } th.r scope="col" { "Value" } th.r scope="col" { "Position" } } }
                        tbody {
                            @for ground in &why.readings {
                                tr {
                                    th scope="row" {
                                        @match ground.measured_at { Some(at) => { (parts::time(at, &row.zone, now)) }, None => { "–" } }
                                    }
                                    td.r.num { @match ground.value { Some(v) => { (words::exact(v)) }, None => { "–" } } }
                                    td.r { (parts::position(ground.position)) }
                                }
                                @for input in &ground.inputs {
                                    tr.input {
                                        th scope="row" { "of " a href=(input.href) { (input.name) } }
                                        td.r.num { @match input.value { Some(v) => { (words::exact(v)) }, None => { "–" } } }
                                        td.r { (parts::position(input.position)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if row.raised.is_none() {
                (parts::copyable("reproduce", "Find the same alarm again from the ledger, on the server", &why.reproduce))
                p { a href=(why.pack_href) { "Evidence pack of this alarm" } }
            }
        }
    }
}
