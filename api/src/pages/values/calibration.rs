//! The calibrations of a channel: those that were set, and the form of another.
//!
//! Invariant: the page says that what was recorded stays, and from which time on it is read otherwise.

use domain::aggregate::user::Right;
use domain::event::Correction;
use maud::{Markup, html};

use super::super::parts::{self, Field};
use super::super::view::Frame;
use super::super::words::{self, Zone};
use super::view::{CalibrationForm, CalibrationRow, Values};

/// How it is corrected: name in the form, what it is called, what it does.
pub const WAYS: &[(&str, &str, &str)] = &[
    ("offset", "Offset", "the same is added to every value"),
    (
        "two_point",
        "Two points",
        "a line through two points, such as ice and room",
    ),
    (
        "none",
        "Nothing to correct",
        "the check found it right, or takes a correction back",
    ),
];

/// A correction in words.
pub fn correction_words(correction: Option<Correction>, unit: &str) -> String {
    let unit = words::unit(unit);
    let sign = |v: f64| if v < 0.0 { "" } else { "+" };
    match correction {
        None => "as measured".to_owned(),
        Some(Correction::Offset(offset)) => format!("{}{}\u{a0}{unit}", sign(offset), words::exact(offset)),
        Some(Correction::TwoPoint([low, high])) => format!(
            "{} is {}, {} is {}\u{a0}{unit}",
            words::exact(low[0]),
            words::exact(low[1]),
            words::exact(high[0]),
            words::exact(high[1])
        ),
    }
}

/// The section of a channel's page.
pub fn section(frame: &Frame, channel: &str, unit: &str, view: &Values, zone: &Zone) -> Markup {
    html! {
        section aria-labelledby="calibration-h" {
            h2 #calibration-h { "Calibration" }
            @if view.calibrations.is_empty() { p.dim { "Never calibrated here: values are shown and judged as they were measured." } }
            @else { (table(view, unit, zone, frame)) }
            @if parts::may(frame, Right::Annotate) { (new(frame, channel, unit, view, zone)) }
        }
    }
}

fn table(view: &Values, unit: &str, zone: &Zone, frame: &Frame) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-labelledby="calibration-h" {
            table {
                thead {
                    tr {
                        th scope="col" { "Measured from" } th scope="col" { "Corrected" } th scope="col" { "Certificate" }
                        th scope="col" { "Next due" } th scope="col" { "Who" } th.r scope="col" { "Position" }
                    }
                }
                tbody { @for row in &view.calibrations { (item(row, unit, zone, frame)) } }
            }
        }
    }
}

fn item(row: &CalibrationRow, unit: &str, zone: &Zone, frame: &Frame) -> Markup {
    html! {
        tr {
            th scope="row" { (parts::time(row.valid_from, zone, frame.now))
                @if row.in_force { " " strong { "in force" } } }
            td { (correction_words(row.correction, unit)) }
            td { @match &row.certificate { Some(text) => { (text) }, None => { "–" } } }
            td { @match &row.due { Some(day) => { (day) @if row.overdue { " " strong.bad { "overdue" } } }, None => { "–" } } }
            td { (row.actor) @if let Some(reason) = &row.reason { br; span.dim { (reason) } } }
            td.r { (parts::position(row.position)) }
        }
    }
}

fn new(frame: &Frame, channel: &str, unit: &str, view: &Values, zone: &Zone) -> Markup {
    let form = &view.calibration;
    let chosen = if form.how.is_empty() { "offset" } else { &form.how };
    html! {
        details.panel #calibrate open[form.error.is_some()] {
            summary { "Calibrate this channel" }
            form.stack method="post" action={ "/app/channels/" (channel) "/calibrations" } {
                (parts::csrf(frame))
                input type="hidden" name="idempotency_key" value=(view.idempotency_key);
                input type="hidden" name="if_match" value=(view.etag);
                p { "What was recorded stays. Values measured from the time below on are shown and judged corrected, with what was recorded beside." }
                @if let Some(error) = &form.error { p.error role="alert" { (error) } }
                fieldset.choices {
                    legend { "What the check found" }
                    @for (name, word, about) in WAYS {
                        label.choice {
                            input type="radio" name="how" value=(name) checked[*name == chosen];
                            span { strong { (word) } span.dim { (about) } }
                        }
                    }
                }
                (typed(form, unit))
                (parts::field(&Field { name: "valid_from", form: "calibration-", label: "Measured from", kind: "datetime-local",
                    value: &form.valid_from, hint: &format!("Now, if empty ({}).", zone.name()), ..Field::default() }))
                (parts::field(&Field { name: "certificate", form: "calibration-", label: "Certificate", value: &form.certificate,
                    hint: "Its number, or how it was found.", ..Field::default() }))
                (parts::field(&Field { name: "due", form: "calibration-", label: "Next one due", kind: "date", value: &form.due, ..Field::default() }))
                (parts::field(&Field { name: "reason", form: "calibration-", label: "Why", value: &form.reason, required: true,
                    hint: "Yearly check, ice bath, new probe …", ..Field::default() }))
                button.primary type="submit" { "Calibrate" }
            }
        }
    }
}

fn typed(form: &CalibrationForm, unit: &str) -> Markup {
    let unit = words::unit(unit);
    let number = |name: &'static str, label: &str, value: &str| {
        html! {
            div.field {
                label for={ "calibration-" (name) } { (label) }
                input.short id={ "calibration-" (name) } name=(name) value=(value) inputmode="decimal" autocomplete="off";
            }
        }
    };
    let [raw_low, true_low, raw_high, true_high] = &form.points;
    html! {
        fieldset.by-offset {
            legend { "Offset" @if !unit.is_empty() { span.dim { " (" (unit) ")" } } }
            (number("offset", "Added to every value", &form.offset))
        }
        fieldset.by-points {
            legend { "Two points" @if !unit.is_empty() { span.dim { " (" (unit) ")" } } }
            div.period-days { (number("raw_low", "It shows", raw_low)) (number("true_low", "where right is", true_low)) }
            div.period-days { (number("raw_high", "It shows", raw_high)) (number("true_high", "where right is", true_high)) }
        }
    }
}
