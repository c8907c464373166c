//! A device: its latest values, its limits, what is missing, what was refused, what was changed, its token.
//!
//! Invariants: a refusal is shown with the words the device got and with what to do; the limits form carries
//! the entity tag it was made from, so that two people do not overwrite each other.
//! Not here: the first minute (`onboarding`), history (`channel`).

pub mod view;

use maud::{Markup, html};

use super::alarms;
use super::layout::{self, Page, Section};
use super::overview;
use super::parts::{self, Field};
use super::site;
use super::spark;
use super::view::{ChannelNow, Frame, TokenRow};
use super::words;
use view::DevicePage;

/// A device's document.
pub fn page(frame: &Frame, view: &DevicePage) -> Markup {
    let (row, zone, now) = (&view.row, &view.zone, frame.now);
    let may_edit = parts::may_edit(frame);
    let body = html! {
        nav.crumbs aria-label="Where you are" {
            a href="/app" { "Overview" } " / " a href={ "/app/sites/" (row.site) } { (row.site_name) }
        }
        div.title-row.near {
            h1 { (row.name) }
            (parts::badge(row.state()))
        }
        p class={ "why " (parts::state_class(row.state())) } { (overview::why(row, zone, now)) }
        @if row.channels.is_empty() {
            p { a.button.primary href={ "/app/devices/" (row.id) "/onboarding" } { "Connect it" } }
        }
        @if !view.alarms.is_empty() {
            section aria-labelledby="alarms-h" {
                h2.sr #alarms-h { "Open alarms" }
                (alarms::list::rows(&view.alarms, frame.now))
            }
        }
        (readouts(view, frame))
        @if !row.channels.is_empty() { (limits(view, frame)) }
        (refusals(view, frame))
        (gaps(view, frame))
        (facts(view, frame))
        @if may_edit { (tokens(view, frame)) (forms(view, frame)) }
        p { a href={ "/app/evidence?device=" (row.id) } { "Evidence pack of this device" } }
        section aria-labelledby="timeline-h" {
            h2 #timeline-h { "Configuration" }
            (parts::timeline(&view.timeline, zone, now))
        }
    };
    layout::page(
        frame,
        &Page {
            title: &row.name,
            section: Section::Overview,
            live_s: Some(overview::LIVE_S),
            body,
        },
    )
}

fn readouts(view: &DevicePage, frame: &Frame) -> Markup {
    let (own, auxiliary): (Vec<&ChannelNow>, Vec<&ChannelNow>) =
        view.row.channels.iter().partition(|c| !c.auxiliary);
    html! {
        @if !own.is_empty() {
            section aria-label="Latest values" {
                ul.readouts {
                    @for channel in own { (readout(view, frame, channel)) }
                }
            }
        }
        @if !auxiliary.is_empty() {
            ul.aux aria-label="About the device itself" {
                @for channel in auxiliary {
                    li {
                        a href={ "/app/channels/" (channel.id) } { (parts::channel_name(channel)) } " "
                        @match channel.latest {
                            Some((_, v)) => { (parts::quantity(&channel.kind, v, &channel.unit)) }
                            None => { span.dim { "no data" } }
                        }
                    }
                }
            }
        }
    }
}

fn readout(view: &DevicePage, frame: &Frame, channel: &ChannelNow) -> Markup {
    html! {
        li class={ "readout " (parts::state_class(channel.state())) } {
            a.readout-name href={ "/app/channels/" (channel.id) } { (parts::channel_name(channel)) }
            p.readout-value {
                @match channel.latest {
                    Some((_, v)) => { (parts::quantity(&channel.kind, v, &channel.unit)) }
                    None => { span.dim { "–" } }
                }
            }
            (spark::svg(view.sparks.get(&channel.id)))
            p.readout-state { (parts::channel_badge(channel)) }
            p.dim {
                @if !channel.limits.is_open() {
                    (parts::limits_words(&channel.limits, &channel.kind, &channel.unit)) " · "
                }
                @if let Some((at, _)) = channel.latest { (parts::ago(at, &view.zone, frame.now)) }
            }
        }
    }
}

fn limits(view: &DevicePage, frame: &Frame) -> Markup {
    html! {
        section aria-labelledby="limits-h" {
            h2 #limits-h { "Limits" }
            p.dim {
                "What each value should be. A change applies from now on; what was in force before stays on record."
            }
            div.sensors {
                @for channel in view.row.channels.iter().filter(|c| !c.auxiliary || !c.limits.is_open()) {
                    @if parts::may_edit(frame) { (limits_form(view, frame, channel)) }
                    @else {
                        p { strong { (parts::channel_name(channel)) } ": "
                            (parts::limits_words(&channel.limits, &channel.kind, &channel.unit)) }
                    }
                }
            }
        }
    }
}

fn limits_form(view: &DevicePage, frame: &Frame, channel: &ChannelNow) -> Markup {
    let unit = words::unit(&channel.unit);
    let text = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    let input = |name: &str, label: &str, value: String, unit: &str| {
        let id = format!("{name}-{}", channel.sensor);
        html! {
            div.field.short {
                label for=(id) { (label) @if !unit.is_empty() { span.dim { " (" (unit) ")" } } }
                input id=(id) name=(name) type="number" step="any" value=(value) inputmode="decimal"
                    autocomplete="off";
            }
        }
    };
    html! {
        form.limits method="post" action={ "/app/sensors/" (channel.sensor) } {
            (parts::csrf(frame))
            input type="hidden" name="device" value=(view.row.id);
            input type="hidden" name="if_match" value=(channel.etag);
            fieldset {
                legend { (parts::channel_name(channel)) }
                (input("ok_min", "Lowest", text(channel.limits.min), unit))
                (input("ok_max", "Highest", text(channel.limits.max), unit))
                (input("grace_min", "Grace", channel.limits.grace_min.map_or_else(String::new, |g| g.to_string()), "min"))
                div.field.reason {
                    label for={ "reason-" (channel.sensor) } { "Reason" span.dim { " (optional)" } }
                    input id={ "reason-" (channel.sensor) } name="reason" autocomplete="off";
                }
                button type="submit" { "Save" span.sr { " limits of " (parts::channel_name(channel)) } }
            }
        }
    }
}

fn refusals(view: &DevicePage, frame: &Frame) -> Markup {
    html! {
        section aria-labelledby="refusals-h" {
            h2 #refusals-h { "Last refusals" }
            @if view.refusals.is_empty() { p.dim { "Nothing from this device was refused lately." } }
            @for note in &view.refusals { (parts::refusal(note, &view.zone, frame.now)) }
        }
    }
}

fn gaps(view: &DevicePage, frame: &Frame) -> Markup {
    html! {
        section aria-labelledby="gaps-h" {
            h2 #gaps-h { "Gaps" }
            @if view.gaps.is_empty() { p.dim { "No reading is missing, as far as its rhythm is known." } }
            @else {
                div.scroll tabindex="0" role="group" aria-labelledby="gaps-h" {
                    table {
                        thead { tr { th scope="col" { "From" } th scope="col" { "To" } th.r scope="col" { "Length" } } }
                        tbody {
                            @for gap in &view.gaps {
                                tr {
                                    td { (parts::time(gap.from, &view.zone, frame.now)) }
                                    td {
                                        @match gap.to {
                                            Some(to) => { (parts::time(to, &view.zone, frame.now)) }
                                            None => { "still missing" }
                                        }
                                    }
                                    td.r { (words::span(gap.to.unwrap_or(frame.now).since(gap.from))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn facts(view: &DevicePage, frame: &Frame) -> Markup {
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    html! {
        section aria-labelledby="facts-h" {
            h2 #facts-h { "About it" }
            dl.facts {
                (fact("Local id", html! { code { (view.local_id) } }))
                (fact("Model", html! { (super::onboarding::model_words(&view.row.model)) }))
                @if let Some(dev_eui) = &view.dev_eui { (fact("DevEUI", html! { code { (dev_eui) } })) }
                @if let Some(serial) = &view.serial { (fact("Serial", html! { code { (serial) } })) }
                @if let Some(cadence) = view.row.cadence_s { (fact("Reports", html! { (words::every(cadence)) })) }
                (fact("Last heard", html! {
                    @match view.row.last_seen {
                        Some(at) => { (parts::time(at, &view.zone, frame.now)) }
                        None => { "never" }
                    }
                }))
                (fact("Configuration in force", html! { (parts::position(view.config)) }))
                (fact("Id", html! { code { (view.row.id) } }))
                @if let Some(notes) = &view.notes { (fact("Notes", html! { (notes) })) }
            }
        }
    }
}

fn tokens(view: &DevicePage, frame: &Frame) -> Markup {
    html! {
        section aria-labelledby="token-h" {
            h2 #token-h { "Token" }
            (token_table(&view.tokens, &view.zone, frame, &|_| Markup::default()))
            details.panel {
                summary { "Rotate the token" }
                form.stack method="post" action={ "/app/devices/" (view.row.id) "/rotate-token" } {
                    (parts::csrf(frame))
                    p { "Rotating shows a new token once. The device must then be told the new one." }
                    div.field {
                        label for="f-overlap" { "The old one ends" }
                        select id="f-overlap" name="overlap_min" {
                            option value="0" { "at once" }
                            option value="60" { "in an hour" }
                            option value="1440" { "in a day" }
                        }
                    }
                    button type="submit" { "Rotate token" }
                }
            }
        }
    }
}

/// Tokens without their secrets, each with what may be done to it.
pub fn token_table(
    tokens: &[TokenRow],
    zone: &words::Zone,
    frame: &Frame,
    action: &dyn Fn(&TokenRow) -> Markup,
) -> Markup {
    html! {
        @if tokens.is_empty() { p.dim { "No token opens anything." } }
        @else {
            ul.tokens {
                @for token in tokens {
                    li {
                        code { (token.prefix) (token.id) "_…" }
                        span.dim {
                            "issued " (parts::time(token.issued_at, zone, frame.now)) " · "
                            @match token.last_used {
                                Some(at) => { "last used " (parts::ago(at, zone, frame.now)) }
                                // A device's or a webhook's token is used once something sent with it was taken.
                                None if token.prefix.starts_with("ua_") => { "never used" }
                                None => { "nothing was taken with it yet" }
                            }
                            @if let Some(at) = token.expires_at { " · ends " (parts::time(at, zone, frame.now)) }
                        }
                        (action(token))
                    }
                }
            }
        }
    }
}

fn forms(view: &DevicePage, frame: &Frame) -> Markup {
    let href = format!("/app/devices/{}", view.row.id);
    let cadence = view
        .row
        .cadence_s
        .map_or_else(String::new, |s| (f64::from(s) / 60.0).to_string());
    html! {
        details.panel {
            summary { "Change this device" }
            form.stack method="post" action=(href) {
                (parts::csrf(frame))
                input type="hidden" name="if_match" value=(view.etag);
                (parts::field(&Field { name: "name", label: "Name", value: &view.row.name, required: true, ..Field::default() }))
                (parts::field(&Field { name: "local_id", label: "Local id", value: &view.local_id, required: true,
                    hint: "What the device calls itself when it sends.", ..Field::default() }))
                (parts::field(&Field { name: "dev_eui", label: "DevEUI", value: view.dev_eui.as_deref().unwrap_or(""),
                    hint: "LoRaWAN only.", ..Field::default() }))
                (parts::field(&Field { name: "cadence_min", label: "Reports every, minutes", kind: "number", value: &cadence,
                    hint: "Silence of twice this is shown as offline.", ..Field::default() }))
                (parts::field(&Field { name: "notes", label: "Notes", value: view.notes.as_deref().unwrap_or(""), ..Field::default() }))
                (site::reason(""))
                button.primary type="submit" { "Save" }
            }
        }
        @if !view.sites.is_empty() {
            details.panel {
                summary { "Move it to another site" }
                form.stack method="post" action={ (href) "/move" } {
                    (parts::csrf(frame))
                    p { "Readings from now on belong to the new site, earlier ones stay with the old." }
                    div.field {
                        label for="f-to" { "To" }
                        select id="f-to" name="to_site_id" {
                            @for link in &view.sites { option value=(link.href) { (link.text) } }
                        }
                    }
                    (site::reason("move-"))
                    button type="submit" { "Move" }
                }
            }
        }
        details.panel {
            summary { "Remove it" }
            form.stack method="post" action={ (href) "/remove" } {
                (parts::csrf(frame))
                p { "Its token stops working at once. Its readings stay in the ledger and in reports." }
                (site::reason("remove-"))
                button.danger type="submit" { "Remove " (view.row.name) }
            }
        }
    }
}
