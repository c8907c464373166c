//! The editor of a rule: what is right, when, and what that would have done over the last week.
//!
//! Invariants: one form, two buttons: trying changes nothing, activating does; where there is a script the draft is
//! tried by itself while it is typed, into the same place.
//! Not here: reading the form (`form`).

use domain::Timestamp;
use domain::rule::{Definition, Kind, Severity};
use maud::{Markup, html};

use super::super::alarms::list::{held, severity_shape, value};
use super::super::alarms::view::Held;
use super::super::chart::{Chart, Mark, Size};
use super::super::layout::{self, Page, Section};
use super::super::parts;
use super::super::view::{Frame, Series};
use super::super::words;
use super::form::{Fields, numbers};
use super::list::{KINDS, name};
use super::recurrence::CHOICES;
use super::view::{RulePage, RuleRow, Tried, TriedRow, VersionRow};

/// The editor's document.
pub fn page(frame: &Frame, view: &RulePage) -> Markup {
    let title = view.rule.as_ref().map_or_else(|| "New rule".to_owned(), name);
    let channel = parts::channel_name(&view.channel);
    let may = parts::may_edit(frame);
    let body = html! {
        nav.crumbs aria-label="Where you are" {
            a href="/app" { "Overview" } " / " a href=(view.device.href) { (view.device.text) } " / "
            a href={ "/app/channels/" (view.channel.id) } { (channel) }
        }
        h1 { (title) " " span.dim { (view.device.text) ", " (channel) } }
        @if let Some(rule) = &view.rule { (in_force(view, rule, frame.now)) }
        @else if may { (beginnings(view)) }
        @if may {
            (form(frame, view))
            div #tried aria-live="polite" { (tried(view, frame.now)) }
            @if let Some(rule) = &view.rule { (endings(frame, view, rule)) }
        } @else { p.quiet { "You can read every rule here and change none. An owner changes rules." } }
        @if view.rule.is_some() { (versions(view, frame.now)) }
    };
    layout::page(
        frame,
        &Page {
            title: &format!("{title}, {}", view.device.text),
            section: Section::Overview,
            live_s: None,
            body,
        },
    )
}

fn in_force(view: &RulePage, rule: &RuleRow, now: Timestamp) -> Markup {
    html! {
        p.why {
            "In force: " (held(&rule.held)) ", grace " (rule.definition.grace_min) "\u{a0}min. "
            span.dim { "Version " (rule.version) " since " (parts::time(rule.changed_at, &view.zone, now)) "." }
            @if !rule.definition.enabled { " " strong { "It is switched off: it judges nothing." } }
        }
    }
}

/// Kinds and presets that a new rule may begin with.
fn beginnings(view: &RulePage) -> Markup {
    let kind = Fields(&view.fields).get("kind").to_owned();
    let base = format!("/app/channels/{}/rules/new", view.channel.id);
    html! {
        div.ranges {
            nav.sites aria-label="What it looks at" {
                @for (of, name, looks_at) in KINDS {
                    a href={ (base) "?kind=" (of.as_str()) } title=(looks_at)
                        aria-current=[(of.as_str() == kind).then_some("true")] { (name) }
                }
            }
        }
        p.dim { "It looks at " (KINDS.iter().find(|(of, ..)| of.as_str() == kind).map_or("the value itself", |(.., at)| at)) "." }
        @if !view.presets.is_empty() && kind == Kind::Range.as_str() {
            p { "Begin with: "
                @for (n, preset) in view.presets.iter().enumerate() {
                    @if n > 0 { " · " }
                    a href={ (base) "?preset=" (preset.index) } { (words::capitalised(preset.purpose)) }
                    " " span.dim { "(" (held(&preset.held).trim_start_matches("should be ")) ")" }
                }
            }
        }
    }
}

fn form(frame: &Frame, view: &RulePage) -> Markup {
    let fields = Fields(&view.fields);
    let kind = Kind::parse(fields.get("kind")).unwrap_or_default();
    let unit = words::unit(&view.channel.unit);
    let action = match &view.rule {
        Some(rule) => format!("/app/channels/{}/rules/{}", view.channel.id, rule.id),
        None => format!("/app/channels/{}/rules/new", view.channel.id),
    };
    html! {
        form.rule-form.panel method="post" action=(action) data-try="#tried" {
            (parts::csrf(frame))
            input type="hidden" name="if_match" value=(view.etag);
            input type="hidden" name="idempotency_key" value=(view.idempotency_key);
            input type="hidden" name="kind" value=(kind.as_str());
            @if let Some(error) = &view.error { p.error role="alert" { (words::capitalised(error)) "." } }
            @if view.rule.is_none() {
                div.field {
                    label for="r-name" { "Name" span.dim { " (optional)" } }
                    input id="r-name" name="name" value=(fields.get("name")) autocomplete="off" maxlength="100";
                }
            }
            fieldset.grid {
                legend { "What is right" }
                @for (field, label, after) in numbers(kind) {
                    (number(&fields, "", field, label, &unit_of(field, unit, after)))
                }
                @if kind == Kind::Delta || kind == Kind::Comparison {
                    (number(&fields, "", "interval_min", if kind == Kind::Delta { "From the value before, if no older than" }
                        else { "The other value no older than" }, "min"))
                }
                @if kind == Kind::Comparison {
                    div.field {
                        label for="r-other" { "Compared with" }
                        select id="r-other" name="another_channel" required {
                            option value="" { "choose …" }
                            @for (id, name) in &view.others {
                                option value=(id) selected[fields.get("another_channel") == id] { (name) }
                            }
                        }
                    }
                }
            }
            fieldset.grid {
                legend { "When it counts" }
                (number(&fields, "", "grace_min", "Grace: outside for", "min"))
                div.field {
                    label for="r-severity" { "It is" }
                    select id="r-severity" name="severity" {
                        option value="alarm" selected[fields.get("severity") != Severity::Warn.as_str()] { "an alarm" }
                        option value="warn" selected[fields.get("severity") == Severity::Warn.as_str()] { "a warning" }
                    }
                }
                (number(&fields, "", "recovery_min", "Over when right for", "min"))
            }
            @let more = ["hysteresis", "keep_firing_min", "flap_changes"].iter().any(|name| !fields.get(name).is_empty());
            details.more open[more] {
                summary { "Margin and flapping" }
                fieldset.grid {
                    @if kind != Kind::Absence { (number(&fields, "", "hysteresis", "Over only this far inside", unit)) }
                    (number(&fields, "", "keep_firing_min", "Stays open at least", "min"))
                    (number(&fields, "", "flap_changes", "Flapping: alarms", ""))
                    (number(&fields, "", "flap_within_min", "… within", "min"))
                }
            }
            (windows(&fields, kind, unit, view))
            details.more open[!fields.get("tests").is_empty()] {
                summary { "Tests that every version must pass" }
                div.field {
                    label for="r-tests" { "One a line" }
                    textarea id="r-tests" name="tests" rows="3" spellcheck="false" { (fields.get("tests")) }
                    p.hint { "Minutes and values, then minutes and states: " code { "defrost: 0=4 10=9 30=9 -> 11=grace 30=alarm" }
                        ". States are ok, grace, alarm, recovering, no_data." }
                }
            }
            @if view.rule.is_some() { input type="hidden" name="enabled" value=(fields.get("enabled")); }
            div.field {
                label for="r-reason" { "Why it is changed" span.dim { " (recorded with your name)" } }
                input id="r-reason" name="reason" value=(fields.get("reason")) autocomplete="off";
            }
            div.actions {
                button type="submit" name="do" value="try" { "Try on the last week" }
                button.primary type="submit" name="do" value="activate" { "Activate" }
            }
        }
    }
}

fn unit_of(field: &str, unit: &str, after: &str) -> String {
    match (field, after) {
        ("silent_min", after) => after.to_owned(),
        (_, "") => unit.to_owned(),
        (_, after) => format!("{unit} {after}"),
    }
}

fn number(fields: &Fields<'_>, prefix: &str, name: &str, label: &str, unit: &str) -> Markup {
    let name = format!("{prefix}{name}");
    html! {
        div.field {
            label for={ "r-" (name) } { (label) @if !unit.is_empty() { span.dim { " (" (unit) ")" } } }
            input id={ "r-" (name) } name=(name) value=(fields.get(&name)) inputmode="decimal" autocomplete="off";
        }
    }
}

/// Windows that there are, and room for one more.
fn windows(fields: &Fields<'_>, kind: Kind, unit: &str, view: &RulePage) -> Markup {
    let count = (0..16)
        .take_while(|n| !fields.get(&format!("w{n}_when")).is_empty())
        .count();
    html! {
        details.more open[count > 0] {
            summary { "Windows: other values at certain times" }
            p.hint { "Times are of " (view.zone.name()) ". What is empty stays as above. Where windows overlap, the later one wins." }
            @for n in 0..count { (window(fields, &format!("w{n}_"), n, kind, unit)) }
            @if count == 0 { (window(fields, "w0_", 0, kind, unit)) }
            @else if count < 16 {
                details.more { summary { "Another window" } (window(fields, &format!("w{count}_"), count, kind, unit)) }
            }
        }
    }
}

fn window(fields: &Fields<'_>, prefix: &str, n: usize, kind: Kind, unit: &str) -> Markup {
    let get = |name: &str| fields.get(&format!("{prefix}{name}"));
    html! {
        fieldset.window {
            legend { "Window " (n + 1) }
            div.grid {
                div.field {
                    label for={ "r-" (prefix) "when" } { "When" }
                    select id={ "r-" (prefix) "when" } name={ (prefix) "when" } {
                        @for (code, words, _) in CHOICES { option value=(code) selected[get("when") == *code] { (words) } }
                    }
                }
                div.field {
                    label for={ "r-" (prefix) "at" } { "At" }
                    input id={ "r-" (prefix) "at" } type="time" name={ (prefix) "at" } value=(get("at"));
                }
                (number(fields, prefix, "duration_min", "For", "min"))
                div.field {
                    label for={ "r-" (prefix) "enabled" } { "The rule" }
                    select id={ "r-" (prefix) "enabled" } name={ (prefix) "enabled" } {
                        option value="" { "judges with these values" }
                        option value="no" selected[get("enabled") == "no"] { "is off" }
                        option value="yes" selected[get("enabled") == "yes"] { "is on" }
                    }
                }
                @for (field, label, after) in numbers(kind) {
                    (number(fields, prefix, field, label, &unit_of(field, unit, after)))
                }
                (number(fields, prefix, "grace_min", "Grace", "min"))
                div.field {
                    label for={ "r-" (prefix) "severity" } { "It is" }
                    select id={ "r-" (prefix) "severity" } name={ (prefix) "severity" } {
                        option value="" { "as above" }
                        option value="alarm" selected[get("severity") == "alarm"] { "an alarm" }
                        option value="warn" selected[get("severity") == "warn"] { "a warning" }
                    }
                }
            }
            details.more open[get("when") == "custom"] {
                summary { "As an RRULE" }
                div.field {
                    label for={ "r-" (prefix) "rrule" } { "RFC 5545 recurrence" }
                    textarea.code id={ "r-" (prefix) "rrule" } name={ (prefix) "rrule" } rows="1" spellcheck="false" { (get("rrule")) }
                    p.hint { "Taken where “as the rule below says” is chosen: " code { "FREQ=MONTHLY;BYDAY=1MO;BYHOUR=6" } }
                }
            }
        }
    }
}

/// What the draft would have done.
fn tried(view: &RulePage, now: Timestamp) -> Markup {
    html! {
        @match (&view.tried, &view.error) {
            (_, Some(error)) => { section.tried { h2 { "Not tried" } p.error { (words::capitalised(error)) "." } } }
            (None, None) => {}
            (Some(tried), None) => { (outcome(view, tried, now)) }
        }
    }
}

fn outcome(view: &RulePage, tried: &Tried, now: Timestamp) -> Markup {
    let zone = &view.zone;
    let n = tried.alarms.len() as u64;
    let marks: Vec<Mark> = tried
        .alarms
        .iter()
        .map(|alarm| Mark {
            from: alarm.began_at,
            to: alarm.cleared_at,
            at: Some(alarm.opened_at),
            title: format!(
                "Would have been an alarm at {}",
                words::moment(now, alarm.opened_at, zone)
            ),
        })
        .collect();
    let chart = Chart {
        id: "tried",
        title: "The last week under this draft",
        kind: &view.channel.kind,
        unit: &view.channel.unit,
        from: tried.from,
        to: tried.to,
        zone,
        series: &tried.series,
        raw: None,
        limits: &tried.limits,
        gaps: &tried.gaps,
        marks: &marks,
        lines: &tried.lines,
    };
    html! {
        section.tried aria-labelledby="tried-h" {
            h2 #tried-h {
                "Over the last week it would have raised "
                @if n == 0 { "no alarm" } @else { (words::plural(n, "alarm", "alarms")) }
            }
            p.dim { (words::plural(tried.readings, "reading", "readings")) " from " (words::minute(tried.from, zone)) ". Nothing is recorded by trying." }
            figure.chart-box {
                div.only-wide { (chart.svg(Size::Wide)) }
                div.only-narrow { (chart.svg(Size::Narrow)) }
                figcaption {
                    span.legend {
                        @match &tried.series {
                            Series::Points(_) => { span.key.k-line { "readings" } }
                            Series::Buckets(_) => { span.key.k-line { "mean" } span.key.k-env { "lowest to highest" } }
                        }
                        @if !tried.limits.is_empty() { span.key.k-band { "right" } span.key.k-out { "outside" } }
                        @if n > 0 { span.key.k-alarm { "would be an alarm" } }
                    }
                }
            }
            @if n > 0 { (table(view, &tried.alarms, now)) }
        }
    }
}

fn table(view: &RulePage, alarms: &[TriedRow], now: Timestamp) -> Markup {
    let zone = &view.zone;
    let held = Held {
        rule: view.draft.as_ref().map_or(Kind::Range, |d| d.kind),
        kind: view.channel.kind.clone(),
        unit: view.channel.unit.clone(),
        ..Held::default()
    };
    html! {
        div.scroll tabindex="0" role="group" aria-label="Alarms that it would have raised" {
            table {
                thead { tr {
                    th scope="col" { "Alarm at" } th scope="col" { "How bad" } th.r scope="col" { "Value" }
                    th scope="col" { "Over at" } th.r scope="col" { "Lasted" }
                } }
                tbody {
                    @for alarm in alarms {
                        tr {
                            th scope="row" { (parts::time(alarm.opened_at, zone, now)) }
                            td {
                                (severity_shape(alarm.severity))
                                @match alarm.severity { Severity::Alarm => " alarm", Severity::Warn => " warning" }
                            }
                            td.r { (value(&held, alarm.value)) }
                            td { @match alarm.cleared_at { Some(at) => { (parts::time(at, zone, now)) }, None => "still open" } }
                            td.r { (words::span(alarm.cleared_at.unwrap_or(now).since(alarm.opened_at))) }
                        }
                    }
                }
            }
        }
    }
}

/// Switching off and removing.
fn endings(frame: &Frame, view: &RulePage, rule: &RuleRow) -> Markup {
    let href = format!("/app/channels/{}/rules/{}", view.channel.id, rule.id);
    let (switch, label, what) = match rule.definition.enabled {
        true => (
            "disable",
            "Switch off",
            "It judges nothing until it is switched on again. Its open alarm is closed.",
        ),
        false => ("enable", "Switch on", "It judges from the next reading on."),
    };
    html! {
        @for (step, label, what, danger) in [
            (switch, label, what, false),
            ("remove", "Remove", "It ends. What it decided stays on record; its open alarm is closed.", true),
        ] {
            details.panel {
                summary { (label) }
                form.stack method="post" action={ (href) "/" (step) } {
                    (parts::csrf(frame))
                    input type="hidden" name="if_match" value=(view.etag);
                    p { (what) }
                    div.field {
                        label for={ (step) "-reason" } { "Why" }
                        input id={ (step) "-reason" } name="reason" required autocomplete="off";
                    }
                    button.danger[danger] type="submit" { (label) }
                }
            }
        }
    }
}

fn versions(view: &RulePage, now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="versions-h" {
            h2 #versions-h { "Versions" }
            ol.timeline { @for version in &view.versions { (one_version(view, version, now)) } }
        }
    }
}

fn one_version(view: &RulePage, version: &VersionRow, now: Timestamp) -> Markup {
    html! {
        li {
            p.timeline-head {
                strong { @if version.removed { "Removed" } @else { "Version " (version.version) } }
                span.dim { (parts::time(version.at, &view.zone, now)) " · " (version.actor) " · " (parts::position(version.position)) }
            }
            @if !version.changes.is_empty() {
                ul.changes {
                    @for (field, old, new) in &version.changes {
                        li {
                            (field) ": "
                            @if let Some(old) = old { del { (old) } " → " }
                            @match new { Some(new) => { ins { (new) } }, None => { ins { "none" } } }
                        }
                    }
                }
            }
            @if let Some(reason) = &version.reason { p.dim { "Reason: " (reason) } }
        }
    }
}

/// What differs between two definitions, in words.
pub fn differences(
    old: Option<&Definition>,
    new: &Definition,
) -> Vec<(String, Option<String>, Option<String>)> {
    let members = |d: &Definition| super::form::fields(d);
    let (before, after) = (old.map(members).unwrap_or_default(), members(new));
    let find = |all: &[(String, String)], name: &str| {
        all.iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    };
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert((*name).clone()));
    names
        .into_iter()
        .filter_map(|name| {
            let (was, is) = (find(&before, name), find(&after, name));
            (was != is).then(|| (label(name), was, is))
        })
        .collect()
}

/// A field's name in words.
fn label(name: &str) -> String {
    let window = name.strip_prefix('w').and_then(|rest| rest.split_once('_'));
    if let Some((n, rest)) = window.and_then(|(n, rest)| Some((n.parse::<usize>().ok()?, rest))) {
        return format!("window {}, {}", n + 1, label(rest));
    }
    match name {
        "ok_min" => "lowest",
        "ok_max" => "highest",
        "warn_min" => "warns down to",
        "warn_max" => "warns up to",
        "grace_min" => "grace, min",
        "recovery_min" => "over after, min",
        "keep_firing_min" => "stays open, min",
        "hysteresis" => "margin",
        "max_delta" => "largest step",
        "min_rate" => "slowest change an hour",
        "max_rate" => "fastest change an hour",
        "silent_min" => "longest silence, min",
        "interval_min" => "compared within, min",
        "offset" => "largest distance",
        "another_channel" => "compared with",
        "enabled" => "on",
        "flap_changes" => "flapping, alarms",
        "flap_within_min" => "flapping, within min",
        "duration_min" => "lasts, min",
        other => other,
    }
    .to_owned()
}
