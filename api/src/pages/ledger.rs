//! The public page of the ledger: its state, its heads, how to check it without trusting it; and an entry with
//! its proof.
//!
//! Invariants: it says what is not claimed; its commands name this origin and work as they stand; nothing on it
//! needs an account; nothing on it tells whose entries they are.
//! Not here: proofs themselves (`domain::proof`).

#[cfg(test)]
pub(super) mod sample;
pub mod view;

use std::collections::BTreeMap;

use domain::Date;
use maud::{Markup, html};

use super::layout::{self, Page, Section};
use super::parts;
use super::view::Frame;
use super::words;
use crate::witnesses::HeadState;
use view::{EntryPage, HeadRow, LedgerPage, PublicationRow, WitnessRow};

/// Seconds between two looks of an open page.
const LIVE_S: u32 = 15;
/// Months shown as calendars.
const MONTHS_MAX: usize = 3;
/// Days listed with size and root.
pub const DAYS_MAX: usize = 14;

/// The ledger's document.
pub fn page(frame: &Frame, view: &LedgerPage) -> Markup {
    let strip = &frame.ledger;
    let body = html! {
        div.title-row { h1 { "The ledger" } }
        (damage(frame, view))
        p.lead {
            "Every reading, change and refusal kept by this service is an entry in one append-only log. The root "
            "stands for all of them: change one byte of one entry, and the root changes."
        }
        section.ledger-now aria-label="Now" {
            div.readout { p.readout-name { "Tree size" } p.readout-value { span.num { (words::count(strip.size)) } }
                p.dim { "entries" @if let Some(began) = view.began { " since " (words::date(began)) } } }
            div.readout { p.readout-name { "Today so far" } p.readout-value { span.num { (words::count(strip.size.saturating_sub(view.today_from))) } }
                p.dim { (words::date(view.today)) ", UTC; closed after midnight" } }
            div.readout { p.readout-name { "Days with a head" } p.readout-value { span.num { (words::count(view.heads_total)) } }
                p.dim { @match strip.last_head { Some(d) => { "last: " (words::date(d)) } None => { "the first comes at midnight, UTC" } } } }
        }
        dl.facts.wide {
            div { dt { "Root" } dd { code.break { (strip.root.to_base64()) } } }
            div { dt { "Origin" } dd { code.break { (view.origin) } } }
            div { dt { "Verifier key" } dd { code.break { (view.verifier_key) } } }
        }
        (self_audit(frame, view))
        (verify(view))
        (heads(view))
        (publications(frame, view))
        (witnesses(frame, view))
        (checkpoint(frame, view))
        (not_claimed())
        (machines(view))
    };
    layout::page(
        frame,
        &Page {
            title: "The ledger",
            section: Section::Ledger,
            live_s: Some(LIVE_S),
            body,
        },
    )
}

/// What does not hold comes before everything else.
fn damage(frame: &Frame, view: &LedgerPage) -> Markup {
    let wrong = view
        .audit
        .as_ref()
        .and_then(|audit| Some((audit.at, audit.wrong.as_ref()?)));
    html! {
        @if let Some((at, wrong)) = wrong {
            section.notice.bad role="alert" {
                h2 { "The ledger does not hold" }
                p {
                    "Read again by the service itself " (parts::ago(at, &frame.zone, frame.now)) ": " (wrong)
                    ". Nothing is recorded any more. What you read from here may be wrong: compare with heads kept elsewhere."
                }
            }
        }
    }
}

fn self_audit(frame: &Frame, view: &LedgerPage) -> Markup {
    html! {
        @if let Some(audit) = view.audit.as_ref().filter(|audit| audit.wrong.is_none()) {
            p.dim {
                "Read again in full by the service itself " (parts::ago(audit.at, &frame.zone, frame.now)) ": "
                (words::plural(audit.size, "entry", "entries")) ", all as they were written."
            }
        }
    }
}

fn head_path(date: Date) -> String {
    let (year, _, _) = date.civil();
    format!("/heads/{year:04}/{date}.tlog-proof")
}

fn verify(view: &LedgerPage) -> Markup {
    let newest = view.heads.first();
    html! {
        section aria-labelledby="verify-h" {
            h2 #verify-h { "Check it yourself" }
            ol.verify {
                li {
                    p {
                        strong { "Get the verifier key from somewhere else than this page" }
                        " – a contract, a letter, a colleague – and compare. A page that lied about its entries "
                        "would lie about its key."
                    }
                }
                li {
                    p { strong { "Keep a head, today, in a place of your own." } " A head kept outside is what makes a later change visible to you." }
                    @match newest {
                        Some(head) => { (parts::copyable("keep", "Keep the newest head",
                            &format!("curl -sSO {}{}", view.base_url, head_path(head.date)))) }
                        None => { (parts::copyable("keep", "Keep the latest checkpoint",
                            &format!("curl -sS {}/log/checkpoint -o checkpoint", view.base_url))) }
                    }
                }
                li {
                    p { strong { "Verify." } " Every tile is fetched, every hash recomputed, and the heads you kept are compared." }
                    (parts::copyable("verify", "Verify over the network", &verify_command(view)))
                    p.dim {
                        "Put the key that you got elsewhere in the place of this page's. It prints VERIFIED, PARTIAL, "
                        "UNANCHORED, INCOMPLETE, TAMPERED, TRUNCATED or FORKED, and what it did not check. Without a key "
                        "and a head or checkpoint of your own it can say UNANCHORED at best; without an auditor's token in "
                        code { "DAYBOOK_TOKEN" } " it sees hashes and no entries, and says PARTIAL. Readers of the C2SP "
                        "formats tlog-tiles, tlog-checkpoint and signed-note can check it without any of our code."
                    }
                    p { a.button href="/ledger/verify" { "Check it in this browser" } " " span.dim { "without a program and without an account" } }
                }
            }
        }
    }
}

fn verify_command(view: &LedgerPage) -> String {
    let kept = match view.heads.first() {
        Some(head) => format!("{}.tlog-proof", head.date),
        None => "checkpoint".to_owned(),
    };
    format!(
        "daybook verify --url {} \\\n  --key '{}' \\\n  --head {kept}",
        view.base_url, view.verifier_key
    )
}

fn heads(view: &LedgerPage) -> Markup {
    html! {
        section aria-labelledby="heads-h" {
            h2 #heads-h { "Heads" }
            p {
                "After each day (UTC) its last entry closes it with the day's counts, and a checkpoint is signed at "
                "exactly that size. That is the head of the day; it is never signed again."
            }
            @if view.heads.is_empty() {
                p.quiet { "No day has been closed yet. The first head comes after midnight, UTC." }
            } @else {
                div.months { @for (month, days) in months(view) { (calendar(month, &days, view)) } }
                (legend())
                div.scroll tabindex="0" role="group" aria-label="Newest heads" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Day" }
                                th.r scope="col" { "Tree size" }
                                th.r scope="col" { "Entries" }
                                th.r scope="col" { "Refused" }
                                th scope="col" { "Root" }
                                th scope="col" { "State" }
                                th scope="col" { "Proof" }
                            }
                        }
                        tbody { @for head in view.heads.iter().take(DAYS_MAX) { (head_row(head)) } }
                    }
                }
                p.dim {
                    "All heads: " a href="/v1/heads" { "/v1/heads" }
                    @if let Some(href) = &view.older_href { " · " a href=(href) { "Older" } }
                }
            }
        }
    }
}

fn publications(frame: &Frame, view: &LedgerPage) -> Markup {
    html! {
        @if !view.channels.is_empty() {
            section aria-labelledby="published-h" {
                h2 #published-h { "Published" }
                p { "Each head also goes where this service cannot take it back." }
                div.scroll tabindex="0" role="group" aria-label="Channels" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Channel" }
                                th scope="col" { "Last day out" }
                                th.r scope="col" { "Waiting" }
                                th scope="col" { "State" }
                            }
                        }
                        tbody { @for channel in &view.channels { (publication(frame, channel)) } }
                    }
                }
            }
        }
    }
}

fn publication(frame: &Frame, channel: &PublicationRow) -> Markup {
    html! {
        tr {
            th scope="row" { (channel.name) " " span.dim { (channel.kind) } }
            td {
                @match channel.last { Some(date) => { (words::date(date)) } None => { "none yet" } }
                @if let Some(at) = channel.at { span.dim { ", " (parts::ago(at, &frame.zone, frame.now)) } }
            }
            td.r.num { (words::count(channel.waiting)) }
            td {
                @if let Some(date) = channel.late {
                    strong { "late: " (words::date(date)) " is not out" }
                    @if channel.failing { ", it failed and is tried again" }
                }
                @else if channel.failing { strong { "late: it failed and is tried again" } }
                @else if channel.waiting > 0 { "on its way" }
                @else { "up to date" }
            }
        }
    }
}

fn head_row(head: &HeadRow) -> Markup {
    html! {
        tr id={ "d-" (head.date) } {
            th scope="row" {
                @if let Some(since) = head.idle_since { (words::date(since)) " – " }
                (words::date(head.date))
            }
            td.r.num { (words::count(head.size)) }
            td.r.num { (words::count(head.entries)) }
            td.r.num { (words::count(head.refused)) }
            td { (parts::short_hash(&head.root)) }
            td.nowrap { (mark(head.state)) " " (head_state(head.state)) }
            td {
                @if head.state == HeadState::Sequenced { span.dim { "not yet" } }
                @else { a href=(head_path(head.date)) download="" { "tlog-proof" span.sr { " of " (words::date(head.date)) } } }
                @if head.state == HeadState::WitnessedLate {
                    " · " a href=(head_path(head.date).replace(".tlog-proof", ".late.tlog-proof")) download="" { "late proof" }
                }
            }
        }
    }
}

/// The states in their order, with what each means.
const STATES: &[(HeadState, &str)] = &[
    (HeadState::Sequenced, "its closing entry is recorded"),
    (
        HeadState::Integrated,
        "a signed root stands over it; it is served here",
    ),
    (
        HeadState::Published,
        "it is where this service cannot take it back",
    ),
    (HeadState::Witnessed, "enough witnesses have cosigned it"),
    (
        HeadState::WitnessedLate,
        "they have cosigned a later root, under which it is proven",
    ),
];

/// A state's shape, which its colour only repeats.
fn mark(state: HeadState) -> Markup {
    let (class, shape) = match state {
        HeadState::Sequenced => ("s-sequenced", "\u{25cb}"),
        HeadState::Integrated => ("s-integrated", "\u{25d0}"),
        HeadState::Published => ("s-published", "\u{25b2}"),
        HeadState::Witnessed => ("s-witnessed", "\u{25cf}"),
        HeadState::WitnessedLate => ("s-witnessed", "\u{25c9}"),
    };
    html! { span.head-mark.(class) aria-hidden="true" { (shape) } }
}

fn legend() -> Markup {
    html! {
        ul.legend { @for (state, means) in STATES {
            li { (mark(*state)) " " strong { (head_state(*state)) } span.dim { ": " (means) } }
        } }
    }
}

fn head_state(state: HeadState) -> &'static str {
    match state {
        HeadState::Sequenced => "sequenced",
        HeadState::Integrated => "integrated",
        HeadState::Published => "published",
        HeadState::Witnessed => "witnessed",
        HeadState::WitnessedLate => "witnessed later",
    }
}

fn witnesses(frame: &Frame, view: &LedgerPage) -> Markup {
    html! {
        section aria-labelledby="witnesses-h" {
            h2 #witnesses-h { "Witnesses" }
            @if view.witnesses.is_empty() {
                p.quiet { "No witness is asked. Until somebody else cosigns, what a head is worth is that you have kept it." }
            } @else {
                p {
                    "A witness runs elsewhere, keeps the latest checkpoint it has seen, and cosigns a new one only if it "
                    "continues that. A head that enough of them have cosigned is ‘witnessed’: it cannot be taken back in "
                    "favour of another."
                }
                div.scroll tabindex="0" role="group" aria-label="Witnesses" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Witness" }
                                th scope="col" { "Last cosigned" }
                                th.r scope="col" { "Tree size" }
                            }
                        }
                        tbody { @for witness in &view.witnesses { (witness_row(frame, witness)) } }
                    }
                }
            }
        }
    }
}

fn witness_row(frame: &Frame, witness: &WitnessRow) -> Markup {
    html! {
        tr {
            th scope="row" { (witness.name) }
            td {
                @match witness.cosigned_at {
                    Some(at) => { (parts::ago(at, &frame.zone, frame.now)) }
                    None => { "not since this service started" }
                }
                @if witness.alarm {
                    " · " strong { "has seen a larger ledger of this name, or another history" }
                } @else if !witness.up && witness.cosigned_at.is_some() { " · does not cosign now" }
            }
            td.r.num { @match witness.size { Some(size) => { (words::count(size)) } None => { "–" } } }
        }
    }
}

/// The heads of a month, by day of the month.
type Days<'a> = BTreeMap<u32, &'a HeadRow>;

/// Heads by (year, month), newest month first.
fn months(view: &LedgerPage) -> Vec<((i32, u32), Days<'_>)> {
    let mut months: BTreeMap<(i32, u32), Days<'_>> = BTreeMap::new();
    let (year, month, _) = view.today.civil();
    months.entry((year, month)).or_default();
    for head in &view.heads {
        let first = head.idle_since.unwrap_or(head.date);
        // Idle days closed together share a head; a month of them is as many as a calendar can show.
        for days in first.days().max(head.date.days() - 62)..=head.date.days() {
            let (y, m, d) = Date::from_days(days).civil();
            months.entry((y, m)).or_default().insert(d, head);
        }
    }
    months.into_iter().rev().take(MONTHS_MAX).collect()
}

fn calendar((year, month): (i32, u32), days: &Days<'_>, view: &LedgerPage) -> Markup {
    let first = Date::from_civil(year, month, 1).unwrap_or(view.today);
    let blanks = (first.days() + 3).rem_euclid(7);
    let last = (28..=31)
        .rev()
        .find(|d| Date::from_civil(year, month, *d).is_some())
        .unwrap_or(28);
    html! {
        div.month {
            h3 { (words::month(month)) " " (year) }
            ol.days {
                @for _ in 0..blanks { li.blank aria-hidden="true" {} }
                @for day in 1..=last { (calendar_day(first, day, days.get(&day).copied(), view)) }
            }
        }
    }
}

fn calendar_day(first: Date, day: u32, head: Option<&HeadRow>, view: &LedgerPage) -> Markup {
    let date = Date::from_days(first.days() + day as i32 - 1);
    html! {
        @if let Some(head) = head {
            @let said = format!(
                "{}: {}, {}{}", words::date(date), head_state(head.state),
                words::plural(head.entries, "entry", "entries"),
                if head.entries == 0 { ", an idle day" } else { "" },
            );
            li.idle[head.entries == 0] {
                // Before a root is signed there is no file.
                @if head.state == HeadState::Sequenced { span title=(said) { (day) (mark(head.state)) span.sr { ", sequenced" } } }
                @else { a href=(head_path(head.date)) download="" title=(said) aria-label=(said) { (day) (mark(head.state)) } }
            }
        } @else if date == view.today {
            li.today { span title={ (words::date(date)) ": open" } { (day) span.sr { ", open" } } }
        } @else { li { span { (day) } } }
    }
}

fn checkpoint(frame: &Frame, view: &LedgerPage) -> Markup {
    html! {
        section aria-labelledby="checkpoint-h" {
            h2 #checkpoint-h { "Latest checkpoint" }
            @match &view.checkpoint {
                Some(note) => {
                    @if let Some(at) = view.checkpoint_at {
                        p.dim { "Signed " (parts::ago(at, &frame.zone, frame.now)) ": origin, tree size, root; then the signatures." }
                    }
                    (parts::copyable("checkpoint-note", "/log/checkpoint", note))
                }
                None => { p.quiet { "None has been signed yet." } }
            }
        }
    }
}

fn not_claimed() -> Markup {
    html! {
        section.panel.claims aria-labelledby="claims-h" {
            h2 #claims-h { "What this does not show" }
            ul {
                li { "That a sensor told the truth. What it said is kept; whether it hung in the right place is not known." }
                li { "What was lost before it was received. What was received and refused is counted, by reason, in each day's head." }
                li { "What lies after the last head or checkpoint that somebody outside has kept: up to there, and no further, a rewrite would be seen." }
                li { "In which order readings of one commit came in." }
            }
        }
    }
}

fn machines(view: &LedgerPage) -> Markup {
    let link =
        |path: &str, what: &str| html! { li { a href=(path) { code { (path) } } " " span.dim { (what) } } };
    html! {
        section aria-labelledby="machines-h" {
            h2 #machines-h { "For machines" }
            ul.plain {
                (link("/log/checkpoint", "the latest checkpoint, C2SP tlog-checkpoint"))
                li { code { (view.base_url) "/log/tile/<L>/<N>" } " " span.dim { "hash tiles, C2SP tlog-tiles" } }
                (link("/v1/heads", "every head, JSON"))
                li { code { "/v1/proofs/consistency?from=&to=" } " " span.dim { "that one size extends another" } }
                (link("/openapi.json", "the whole API"))
            }
        }
    }
}

/// An entry and its proof.
pub fn entry(frame: &Frame, view: &EntryPage) -> Markup {
    let title = format!("Entry {}", words::count(view.position));
    let body = html! {
        nav.crumbs aria-label="Where you are" { a href="/app" { "Overview" } " / " a href="/ledger" { "Ledger" } }
        h1 { (title) }
        @match (&view.json, &view.absent) {
            (Some(json), _) => {
                (parts::copyable("entry-json", "The entry, indented for reading", json))
                p.dim { "Its hash is over the canonical bytes, RFC 8785: without the indentation." }
            }
            (None, Some(why)) => { p.quiet { (why) " Its leaf hash is still in the tree." } }
            (None, None) => {}
        }
        section aria-labelledby="proof-h" {
            h2 #proof-h { "That it is in the tree" }
            dl.facts.wide {
                div { dt { "Leaf hash" } dd { code.break { (view.leaf_hash.to_base64()) } } }
                div { dt { "Tree size" } dd.num { (words::count(view.size)) } }
                div { dt { "Root" } dd { code.break { (view.root.to_base64()) } } }
            }
            @if !view.path.is_empty() {
                details {
                    summary { "Inclusion proof: " (words::plural(view.path.len() as u64, "hash", "hashes")) ", from the leaf up" }
                    ol.path { @for hash in &view.path { li { code.break { (hash.to_base64()) } } } }
                }
            }
            p { a.button href=(view.proof_href) download="" { "Download the proof" } }
        }
    };
    layout::page(
        frame,
        &Page {
            title: &title,
            section: Section::Ledger,
            live_s: None,
            body,
        },
    )
}
