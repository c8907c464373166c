//! Evidence packs: asking for one, how far it is, fetching it, and how whoever gets it checks it.
//!
//! Invariants: progress is told without a reload and, without a script, with one; what a pack cannot show yet (a day
//! that is not closed) is said beside it; the hash stands beside each download.
//! Not here: what is asked of the service (`routes::evidence`), what a pack is.

use maud::{Markup, html};

use super::layout::{self, Page, Section};
use super::parts::{self, Field};
use super::view::{EvidencePage, Frame, PackRow, PackState, State};
use super::words;

/// How often the list is looked at again while something is made, seconds.
const LIVE_S: u32 = 2;

/// The document.
pub fn page(frame: &Frame, view: &EvidencePage) -> Markup {
    let body = html! {
        h1 { "Evidence packs" }
        p.lead { "One file that proves what was recorded of a site, a device or a channel, to somebody who need not trust you." }
        (form(frame, view))
        (packs(frame, view))
        (how(view))
    };
    layout::page(
        frame,
        &Page {
            title: "Evidence packs",
            section: Section::Evidence,
            live_s: None,
            body,
        },
    )
}

fn form(frame: &Frame, view: &EvidencePage) -> Markup {
    let closed = match view.last_closed {
        Some(date) => format!(
            "Days in UTC, both inclusive. Closed so far: up to {}. A day that is not closed can be shown, but not that \
             nothing of it is missing.",
            words::date(date)
        ),
        None => "Days in UTC, both inclusive. No day is closed yet: ask again tomorrow for proof that nothing is missing."
            .to_owned(),
    };
    html! {
        section aria-labelledby="ask-h" {
            h2 #ask-h { "Ask for one" }
            @if view.subjects.is_empty() {
                p.quiet { "There is no site and no device yet." }
            } @else {
                form.stack.panel method="post" action="/app/evidence" {
                    (parts::csrf(frame))
                    input type="hidden" name="idempotency_key" value=(view.idempotency_key);
                    @if let Some(error) = &view.error { p.error role="alert" { (error) } }
                    div.field {
                        label for="f-subject" { "What of" }
                        select #f-subject name="subject" {
                            @for group in &view.subjects {
                                optgroup label=(group.label) {
                                    @for (value, label) in &group.options {
                                        option value=(value) selected[view.chosen.as_deref() == Some(value)] { (label) }
                                    }
                                }
                            }
                        }
                        p.hint { "For a single channel, follow the link on its page." }
                    }
                    fieldset.period {
                        legend { "Which days" }
                        div.period-days {
                            (parts::field(&Field { name: "from", label: "From", kind: "date", value: &view.from,
                                required: true, ..Field::default() }))
                            (parts::field(&Field { name: "to", label: "To", kind: "date", value: &view.to,
                                required: true, ..Field::default() }))
                        }
                        p.hint { (closed) }
                    }
                    details.more open[!view.recipients.is_empty()] {
                        summary { "Encrypt it to its receiver" }
                        div.field {
                            label for="f-recipients" { "Keys" span.dim { " (optional)" } }
                            textarea #f-recipients name="recipients" rows="3" spellcheck="false"
                                aria-describedby="f-recipients-hint" { (view.recipients) }
                            p.hint #f-recipients-hint {
                                "One a line: an age key (age1…) or an SSH public key. Only the holders of the secret keys can open it; "
                                "nobody here can."
                            }
                        }
                    }
                    button.primary type="submit" { "Make the pack" }
                }
            }
        }
    }
}

fn packs(frame: &Frame, view: &EvidencePage) -> Markup {
    let waits = view
        .packs
        .iter()
        .any(|pack| matches!(pack.state, PackState::Waiting { .. }));
    html! {
        section #packs aria-labelledby="packs-h" data-live="" data-every=[waits.then_some(LIVE_S)] {
            h2 #packs-h { "Packs" }
            @if view.packs.is_empty() { p.quiet { "None was asked for yet." } }
            @for pack in &view.packs { (row(frame, pack)) }
            @if waits { p.no-js.dim { a href="/app/evidence" { "Look again" } } }
        }
    }
}

fn badge(state: &PackState) -> Markup {
    let (glyph, word) = match state {
        PackState::Waiting { progress: None } => (State::NoData, "waiting"),
        PackState::Waiting { progress: Some(_) } => (State::Old, "being made"),
        PackState::Ready { .. } => return ready(),
        PackState::Expired { .. } => (State::NoData, "file deleted"),
        PackState::Failed { .. } => (State::Refused, "failed"),
    };
    html! { span class={ "badge " (parts::state_class(glyph)) } { (parts::glyph(glyph)) (word) } }
}

fn ready() -> Markup {
    html! {
        span class={ "badge " (parts::state_class(State::Inside)) } {
            svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
                circle.g-disc cx="8" cy="8" r="8" {} path.g-tick d="M4.4 8.3L7 10.9L11.8 5.6" {}
            }
            "ready"
        }
    }
}

fn row(frame: &Frame, pack: &PackRow) -> Markup {
    let zone = &frame.zone;
    html! {
        article.panel.pack aria-labelledby={ "h-" (pack.id) } {
            div.title-row {
                h3 id={ "h-" (pack.id) } {
                    (pack.about) " "
                    span.dim {
                        (words::date(pack.from))
                        @if pack.from != pack.to { " – " (words::date(pack.to)) }
                    }
                }
                (badge(&pack.state))
            }
            p.dim {
                "Asked for " (parts::ago(pack.asked_at, zone, frame.now)) " by " (pack.asked_by)
                @if pack.encrypted > 0 { ", encrypted to " (words::plural(pack.encrypted, "key", "keys")) }
                "."
            }
            @match &pack.state {
                PackState::Waiting { progress: None } => { p { "Packs are made one after another." } }
                PackState::Waiting { progress: Some((done, total)) } => {
                    p {
                        progress max=(total) value=(done) aria-label="Entries looked through" {}
                        " " span.num { (words::count(*done)) } " of " span.num { (words::count(*total)) } " entries"
                    }
                }
                PackState::Failed { message } => { p.warn { (words::capitalised(message)) "." } }
                PackState::Expired { at, made } => {
                    p { "Its file was deleted " (parts::ago(*at, zone, frame.now)) ". Ask again for the same days." }
                    (facts(pack, made))
                }
                PackState::Ready { expires_at, made } => {
                    p.actions {
                        a.button.primary href=(made.file) download { "Download" }
                        span.dim.beside {
                            (words::size(made.bytes)) " · " (words::plural(made.values, "value", "values"))
                            " · kept until " (parts::time(*expires_at, zone, frame.now))
                        }
                    }
                    @if let Some(open) = made.open_from {
                        p.warn {
                            (words::date(open)) " was not closed when this was made: that nothing is missing is not shown from there on."
                        }
                    }
                    (facts(pack, made))
                }
            }
        }
    }
}

fn facts(pack: &PackRow, made: &super::view::PackMade) -> Markup {
    html! {
        dl.facts.wide {
            div { dt { "SHA-256 of the file" } dd { code.break { (made.sha256) } } }
            @if pack.encrypted > 0 {
                div { dt { "SHA-256 of the pack inside" } dd { code.break { (made.pack_sha256) } } }
            }
            div {
                dt { "In the ledger" }
                dd { (parts::position(made.position)) " says who asked for it, when, and its hashes" }
            }
        }
    }
}

fn how(view: &EvidencePage) -> Markup {
    html! {
        section aria-labelledby="how-h" {
            h2 #how-h { "How it is checked" }
            p {
                "Whoever gets it unpacks nothing and asks nobody: " code { "daybook-verify pack FILE --key KEY --head HEAD" }
                ", or " code { "python3 verify.py FILE" } ", or " code { "verify.html" } " in a browser; the latter two are in "
                "the pack. The key and a head of the ledger must come from somewhere else than the pack: from "
                a href="/ledger" { "the ledger's page" } ", kept earlier. The first word is the verdict: VERIFIED, or UNANCHORED "
                "without a head of one's own, INCOMPLETE where something is missing, TAMPERED where something was changed."
                @if view.packs.iter().any(|pack| pack.encrypted > 0) {
                    " An encrypted pack is opened first: " code { "age --decrypt -i KEY -o pack.zip FILE" } "."
                }
            }
        }
    }
}
