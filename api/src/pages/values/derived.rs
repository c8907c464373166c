//! What a derived channel is made of, which channels are made of one, and the forms of both.
//!
//! Invariant: sources are named with links, so that nobody has to guess what a value rests on.

use domain::rule::Function;
use maud::{Markup, html};

use super::super::parts;
use super::super::view::Frame;
use super::super::words::{self, Zone};
use super::view::{DeriveForm, Made, Values};

/// What a function gives, in a few words.
pub const fn function_words(function: Function) -> &'static str {
    match function {
        Function::FlowDelta => "Supply minus return",
        Function::DeltaT => "Exhaust minus intake",
        Function::Dewpoint => "Dew point",
        Function::MeanKineticTemperature => "Mean kinetic temperature",
        Function::EnergyBaseline => "What this hour of the week usually takes",
        Function::OverBaseline => "Load against what this hour of the week usually takes",
        Function::DrawTemperature => "Temperature that an outlet reaches within 30 s of a draw",
        Function::NightsOverBaseline => "Nights in a row that took more than 1.5 times what is usual",
    }
}

/// What its sources are called, in order.
pub const fn source_words(function: Function) -> &'static [&'static str] {
    match function {
        Function::FlowDelta => &["supply", "return"],
        Function::DeltaT => &["exhaust", "intake"],
        Function::Dewpoint => &["temperature", "humidity"],
        Function::MeanKineticTemperature => &["temperature"],
        Function::DrawTemperature => &["outlet", "flow"],
        Function::EnergyBaseline | Function::OverBaseline | Function::NightsOverBaseline => &["load"],
    }
}

/// The section of a derived channel's page.
pub fn section(frame: &Frame, channel: &str, view: &Values, zone: &Zone) -> Markup {
    html! {
        section aria-labelledby="made-h" {
            h2 #made-h { "What its values are made of" }
            @match &view.made {
                Some(made) => { (facts(made, zone, frame)) }
                None => { p.quiet { "Nothing any more: the derivation was ended, and no values are made. Those that were stay." } }
            }
            @if parts::may_edit(frame) { (change(frame, channel, view)) }
        }
    }
}

fn facts(made: &Made, zone: &Zone, frame: &Frame) -> Markup {
    html! {
        dl.facts {
            div { dt { "Value" } dd { (function_words(made.function)) } }
            @for (word, link) in &made.sources {
                div { dt { (words::capitalised(word)) } dd { a href=(link.href) { (link.text) } } }
            }
            // A draw waits for its readings, however long ago the one before was.
            @if made.sources.len() > 1 && made.function != Function::DrawTemperature {
                div { dt { "Together" } dd { "at most " (words::exact(made.max_age_min)) "\u{a0}min apart" } }
            }
            @if let Some(days) = made.trailing_days { div { dt { "Over" } dd { (days) " days" } } }
            div { dt { "Since" } dd { (parts::time(made.since, zone, frame.now)) } }
        }
        p.dim { "A value is made at each reading of a source, of values corrected as they were known then. Calibrate the sources, not this." }
    }
}

fn sources(form: &DeriveForm, function: Function, ids: &str) -> Markup {
    html! {
        @for (index, (word, kind)) in source_words(function).iter().zip(function.sources()).enumerate() {
            div.field {
                label for={ (ids) (index) } { (words::capitalised(word)) }
                select id={ (ids) (index) } name={ "source" (index) } {
                    @for (id, name, of) in form.others.iter().filter(|(_, _, of)| of == kind) {
                        option value=(id) data-kind=(of) selected[form.sources.get(index) == Some(id)] { (name) }
                    }
                }
            }
        }
    }
}

fn reason(form: &DeriveForm, ids: &str) -> Markup {
    html! {
        div.field {
            label for={ (ids) "reason" } { "Why" }
            input id={ (ids) "reason" } name="reason" value=(form.reason) required autocomplete="off";
        }
    }
}

fn change(frame: &Frame, channel: &str, view: &Values) -> Markup {
    let form = &view.derive;
    let Some(function) = form.functions.first().copied() else {
        return html! {};
    };
    html! {
        details.panel #derive open[form.error.is_some()] {
            summary { @if view.made.is_some() { "Make it otherwise, or end it" } @else { "Make it again" } }
            form.stack method="post" action={ "/app/channels/" (channel) "/derivation" } {
                (parts::csrf(frame))
                input type="hidden" name="if_match" value=(view.etag);
                input type="hidden" name="function" value=(function.as_str());
                p { "From the next reading on. What was made stays." }
                @if let Some(error) = &form.error { p.error role="alert" { (error) } }
                (sources(form, function, "derive-source"))
                (reason(form, "derive-"))
                div.actions {
                    button.primary type="submit" { "Make it of these" }
                    @if view.made.is_some() { "\u{a0}" button.danger type="submit" name="end" value="1" { "End it" } }
                }
            }
        }
    }
}

/// The section of a measuring channel's page: what is made of it.
pub fn feeds(frame: &Frame, channel: &str, view: &Values) -> Markup {
    let may = parts::may_edit(frame) && !view.derive.functions.is_empty();
    html! {
        @if may || !view.feeds.is_empty() {
            section aria-labelledby="feeds-h" {
                h2 #feeds-h { "Made of this channel" }
                @if view.feeds.is_empty() { p.dim { "No other channel is made of it." } }
                @else { ul { @for link in &view.feeds { li { a href=(link.href) { (link.text) } } } } }
                @if may { @for function in &view.derive.functions { (new(frame, channel, view, *function)) } }
            }
        }
    }
}

fn new(frame: &Frame, channel: &str, view: &Values, function: Function) -> Markup {
    let form = &view.derive;
    let here = form.function == function.as_str();
    let ids = format!("new-{}-", function.as_str());
    html! {
        details.panel open[here && form.error.is_some()] {
            summary { "Make: " (function_words(function)) }
            form.stack method="post" action={ "/app/channels/" (channel) "/derived" } {
                (parts::csrf(frame))
                input type="hidden" name="idempotency_key" value=(view.idempotency_key);
                input type="hidden" name="function" value=(function.as_str());
                p { "Another channel of this device, whose values follow from these from now on; it begins with the rule of the site's kind." }
                @if here { @if let Some(error) = &form.error { p.error role="alert" { (error) } } }
                (sources(form, function, &ids))
                (reason(form, &ids))
                button.primary type="submit" { "Make it" }
            }
        }
    }
}
