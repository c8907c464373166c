//! The rules of a channel, in words.
//!
//! Not here: changing one (`edit`).

use domain::Timestamp;
use domain::rule::{Kind, Severity};
use maud::{Markup, html};

use super::super::alarms::list::held;
use super::super::parts;
use super::super::view::{ChannelNow, Frame};
use super::super::words::{self, Zone};
use super::view::RuleRow;

/// Every kind: name in a form, what it is called, what it looks at.
pub const KINDS: &[(Kind, &str, &str)] = &[
    (Kind::Range, "Range", "the value itself"),
    (Kind::Delta, "Step", "how far a value is from the one before"),
    (Kind::Derivative, "Rate", "how fast the value changes"),
    (Kind::Absence, "Absence", "whether values come at all"),
    (
        Kind::Comparison,
        "Comparison",
        "how far it is from another channel",
    ),
];

/// What a rule looks at, in a word.
pub fn kind(kind: Kind) -> &'static str {
    KINDS
        .iter()
        .find(|(known, ..)| *known == kind)
        .map_or("Rule", |(_, name, _)| name)
}

/// A rule by its name, or by what it looks at.
pub fn name(row: &RuleRow) -> String {
    match &row.name {
        Some(name) => name.clone(),
        None if row.simple => "Limits".to_owned(),
        None => kind(row.definition.kind).to_owned(),
    }
}

/// The section of a channel's page.
pub fn section(frame: &Frame, channel: &ChannelNow, rows: &[RuleRow], zone: &Zone) -> Markup {
    html! {
        section aria-labelledby="rules-h" {
            h2 #rules-h { "Rules" }
            @if rows.is_empty() { p.quiet { "No rule judges this channel: whatever it measures, nobody is called." } }
            @else {
                ul.rules { @for row in rows { (item(channel, row, zone, frame.now)) } }
            }
            @if parts::may_edit(frame) { p { a.button href={ "/app/channels/" (channel.id) "/rules/new" } { "Add a rule" } } }
        }
    }
}

fn item(channel: &ChannelNow, row: &RuleRow, zone: &Zone, now: Timestamp) -> Markup {
    let d = &row.definition;
    html! {
        li.rule.off[!d.enabled] {
            h3 { a href={ "/app/channels/" (channel.id) "/rules/" (row.id) } { (name(row)) }
                @if !d.enabled { " " span.dim { "switched off" } } }
            p { (words::capitalised(&held(&row.held))) "; "
                (match d.severity { Severity::Alarm => "alarm", Severity::Warn => "warning" })
                @if d.grace_min > 0 { " after " (d.grace_min) "\u{a0}min" } @else { " at once" }
                @if !d.windows.is_empty() { ", " (words::plural(d.windows.len() as u64, "window", "windows")) }
                "." }
            p.dim { "Version " (row.version) ", " (parts::time(row.changed_at, zone, now)) }
        }
    }
}
