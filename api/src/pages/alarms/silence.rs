//! The silences of a channel: those that hold, and the form of another.
//!
//! Invariant: a silence has an end and a reason; the page says that everything but telling goes on.
//! Not here: who would have been told.

use domain::Timestamp;
use domain::aggregate::user::Right;
use maud::{Markup, html};

use super::super::parts;
use super::super::view::Frame;
use super::super::words::Zone;
use super::view::{SilenceForm, SilenceRow};

/// Lengths that are one touch away: minutes, and what they are called.
pub const LENGTHS: &[(&str, &str)] = &[
    ("60", "1 hour"),
    ("240", "4 hours"),
    ("720", "12 hours"),
    ("1440", "1 day"),
    ("", "until …"),
];

/// The section of a channel's page.
pub fn section(frame: &Frame, channel: &str, rows: &[SilenceRow], form: &SilenceForm, zone: &Zone) -> Markup {
    let may = parts::may(frame, Right::Handle);
    html! {
        section aria-labelledby="silences-h" {
            h2 #silences-h { "Silences" }
            @if rows.is_empty() { p.dim { "This channel is not silenced: whoever is on its list is told of its alarms." } }
            @else {
                ul.silences { @for row in rows { (item(frame, channel, row, zone, frame.now, may)) } }
            }
            @if may { (new(frame, channel, form, zone)) }
        }
    }
}

fn item(frame: &Frame, channel: &str, row: &SilenceRow, zone: &Zone, now: Timestamp, may: bool) -> Markup {
    html! {
        li.panel {
            p {
                @if row.active { (parts::silenced()) " until " (parts::time(row.to, zone, now)) }
                @else { "From " (parts::time(row.from, zone, now)) " to " (parts::time(row.to, zone, now)) }
                span.dim { " · " (row.author) @if let Some(reason) = &row.reason { " · " (reason) } }
            }
            @if may {
                form.inline method="post" action={ "/app/channels/" (channel) "/silences/" (row.id) "/end" } {
                    (parts::csrf(frame))
                    input type="hidden" name="if_match" value=(row.etag);
                    button type="submit" { "End it now" }
                }
            }
        }
    }
}

fn new(frame: &Frame, channel: &str, form: &SilenceForm, zone: &Zone) -> Markup {
    let chosen = if form.minutes.is_empty() && form.to.is_empty() {
        "60"
    } else {
        &form.minutes
    };
    html! {
        details.panel open[form.error.is_some()] {
            summary { "Silence this channel" }
            form.stack method="post" action={ "/app/channels/" (channel) "/silences" } {
                (parts::csrf(frame))
                input type="hidden" name="idempotency_key" value=(form.idempotency_key);
                p { "Nobody is told of its alarms for that time. Readings, rules, alarms and the record go on." }
                @if let Some(error) = &form.error { p.error role="alert" { (error) } }
                fieldset.choices.row {
                    legend { "For" }
                    @for (minutes, name) in LENGTHS {
                        label.choice { input type="radio" name="minutes" value=(minutes) checked[*minutes == chosen]; (name) }
                    }
                }
                div.period-days {
                    div.field {
                        label for="silence-from" { "From" span.dim { " (now, if empty)" } }
                        input id="silence-from" type="datetime-local" name="from" value=(form.from);
                    }
                    div.field {
                        label for="silence-to" { "Until" span.dim { " (" (zone.name()) ")" } }
                        input id="silence-to" type="datetime-local" name="to" value=(form.to);
                    }
                }
                div.field {
                    label for="silence-reason" { "Why" }
                    input id="silence-reason" name="reason" value=(form.reason) required autocomplete="off"
                        placeholder="Defrosting, cleaning, repair …";
                }
                button.primary type="submit" { "Silence" }
            }
        }
    }
}
