//! The page of contacts: the order in which they are told, a card for each, and the form of another.
//!
//! Not here: which fields a form has (`form`), the picture (`ladder`).

use domain::aggregate::contact::{ContactState, WEBHOOK_KINDS};
use domain::event::contact::{ContactKind, Hours, Preferences, SiteHours};
use domain::rule::Severity;
use maud::{Markup, html};

use super::super::layout::{self, Page, Section};
use super::super::outbound;
use super::super::outbound::view::{Outcome, what_words};
use super::super::view::Frame;
use super::super::{marks, parts, words};
use super::form::{self, Fields, Typed};
use super::ladder;
use super::view::{ContactRow, ContactsPage, Former};

/// Seconds between two looks of an open page; what happens meanwhile is told at once.
pub const LIVE_S: u32 = 15;

/// The page's document.
pub fn page(frame: &Frame, view: &ContactsPage) -> Markup {
    let may = parts::may_edit(frame);
    let body = html! {
        div.title-row {
            h1 { "Contacts" }
            a.button href="/app/outbound" { "What was sent" }
        }
        p.lead { "Who is told of alarms, by which way, and after how many minutes." }
        @if let Some((name, secret)) = &view.fresh { (fresh(name, secret)) }
        (nobody(view))
        @if !view.contacts.is_empty() {
            section aria-labelledby="order-h" {
                h2 #order-h { "On-call order" }
                (ladder::picture(&view.contacts))
            }
        }
        @if may { (add(frame, view)) }
        @if !view.contacts.is_empty() {
            section aria-labelledby="contacts-h" {
                h2 #contacts-h { (words::plural(view.contacts.len() as u64, "contact", "contacts")) }
                @for row in &view.contacts { (card(frame, view, row, may)) }
            }
        }
        (former(frame, &view.former))
    };
    layout::page(
        frame,
        &Page {
            title: "Contacts",
            section: Section::Contacts,
            // What is shown once stays until somebody leaves the page.
            live_s: view.fresh.is_none().then_some(LIVE_S),
            body,
        },
    )
}

fn fresh(name: &str, secret: &str) -> Markup {
    html! {
        section.token-once aria-labelledby="fresh-h" {
            h2 #fresh-h { (name) }
            p { "Its secret is shown this once. The receiver checks each delivery's signature with it." }
            (parts::copyable("fresh-secret", "Secret", secret))
            p { a href="/app/contacts" { "It is kept: go on" } }
        }
    }
}

/// What it means where nobody is told.
fn nobody(view: &ContactsPage) -> Markup {
    let told = view.contacts.iter().any(|row| row.state == ContactState::Active);
    html! {
        @if view.contacts.is_empty() {
            p.quiet { "Nobody is told of alarms: they stand on the page of alarms, and no message goes out. Add a mailbox, a chat or a webhook." }
        } @else if !told {
            p.warn { "Nobody is told of alarms now: none of these is confirmed or linked." }
        }
        @if !view.has_mail && view.contacts.iter().any(|row| row.kind == ContactKind::Email) {
            p.warn { "This service has no mail server, so no mail goes out: whoever runs it sets " code { "[mail]" } "." }
        }
        @if !view.has_bot && view.contacts.iter().any(|row| row.kind == ContactKind::Telegram) {
            p.warn { "This service has no bot, so no chat is told: whoever runs it sets " code { "[telegram]" } "." }
        }
    }
}

fn add(frame: &Frame, view: &ContactsPage) -> Markup {
    let typed = &view.new;
    html! {
        details.panel #add open[typed.error.is_some()] {
            summary { "Add a contact" }
            form.stack.contact-form method="post" action="/app/contacts" {
                (parts::csrf(frame))
                input type="hidden" name="idempotency_key" value=(view.idempotency_key);
                @if let Some(error) = &typed.error { p.error role="alert" { (error) } }
                (form::who(typed, &view.choices))
                (form::preferences(typed, &view.choices, &[], Fields::Any, "new-", view.challenge_days))
                button.primary type="submit" { "Add contact" }
            }
        }
    }
}

fn card(frame: &Frame, view: &ContactsPage, row: &ContactRow, may: bool) -> Markup {
    let (mark, word) = marks::of_contact(row.kind, row.state);
    html! {
        article.panel.contact id=(row.id) {
            div.title-row {
                h3 { (row.name) }
                (marks::badge(mark, word))
            }
            p.contact-where {
                (marks::way_shape(row.kind)) (marks::way(row.kind))
                @if let Some(address) = &row.address { " · " span.break { (address) } }
                @if let Some(person) = &row.person { span.dim { " · " (person) } }
            }
            (next_step(row))
            dl.facts {
                div { dt { "Told" } dd {
                    (words::capitalised(&ladder::when(row.preferences.after_min)))
                    @if row.preferences.after_min > 0 { span.dim { ", if nobody acknowledged" } }
                    @if let Some(duty) = duty_words(&row.preferences) { br; (duty) }
                } }
                div { dt { "Of" } dd { (of_what(row)) } }
                div { dt { "Besides" } dd { (besides(row, view.challenge_days)) } }
                div.contact-last { dt { "Last" } dd { (last(frame, row)) } }
            }
            @if may { (actions(frame, view, row)) }
        }
    }
}

/// What has to happen before it is told anything.
fn next_step(row: &ContactRow) -> Markup {
    html! {
        @match (row.state, row.kind) {
            (ContactState::Pending, ContactKind::Telegram) => {
                @if let Some(code) = &row.code {
                    p { "Send the code to the bot: " code { "/start " (code) } ". In a group, add the bot to it first and send "
                        code { "/link " (code) } " there. The chat that says it is this contact." }
                    (parts::copyable(&format!("code-{}", row.id), "Code", code))
                }
            }
            (ContactState::Pending, _) => {
                p { "A mail asks its owner to confirm. The link in it is good for seven days; nothing else is sent until then." }
            }
            (ContactState::Bouncing, ContactKind::Telegram) => {
                p.warn { "The chat blocked the bot, or is gone. Remove this contact and link the chat again." }
            }
            (ContactState::Bouncing, _) => {
                p.warn { "The address refused a message for good, so nothing more is sent to it. Where it works again, have it confirmed." }
            }
            (ContactState::Unsubscribed, _) => {
                p { "Its owner unsubscribed, and is not asked again." }
            }
            (ContactState::Active | ContactState::Removed, _) => {}
        }
    }
}

fn of_what(row: &ContactRow) -> Markup {
    let preferences = &row.preferences;
    html! {
        @match preferences.min_severity.0 {
            Severity::Alarm => { "Alarms" },
            Severity::Warn => { "Alarms and warnings" },
        }
        @if row.scope.is_empty() { " of everywhere" }
        @else {
            " of "
            @for (i, (_, name)) in row.scope.iter().enumerate() { @if i > 0 { ", " } (name) }
        }
        @if !preferences.kinds.is_empty() {
            br; span.dim {
                "Only: "
                @for (i, kind) in preferences.kinds.iter().enumerate() { @if i > 0 { ", " } (what_words(kind)) }
            }
        }
    }
}

fn besides(row: &ContactRow, challenge_days: u32) -> Markup {
    let preferences = &row.preferences;
    let mut told = Vec::new();
    if preferences.daily_digest {
        told.push("a daily digest".to_owned());
    }
    if preferences.challenge {
        told.push(match challenge_days {
            0 => "challenges, which this service is set not to send".to_owned(),
            days => format!(
                "a challenge every {}",
                words::plural(u64::from(days), "day", "days")
            ),
        });
    }
    if preferences.reference_headers {
        told.push("X-OpenSense headers".to_owned());
    }
    if row.kind == ContactKind::Webhook && preferences.kinds.is_empty() {
        told.push(format!("all {} kinds of events", WEBHOOK_KINDS.len()));
    }
    html! { @if told.is_empty() { span.dim { "Nothing" } } @else { (words::capitalised(&told.join(", "))) } }
}

fn last(frame: &Frame, row: &ContactRow) -> Markup {
    html! {
        @match &row.last {
            None => { span.dim { "Nothing was sent to it yet." } }
            Some(attempt) => {
                @match attempt.outcome {
                    Outcome::Asked => { (marks::badge(marks::Mark::Waits, "on its way")) " " }
                    _ => { (outbound::log::outcome(attempt)) " " }
                }
                a href={ "/app/outbound?contact=" (row.id) } {
                    (words::capitalised(&attempt.what)) ", " (parts::ago(attempt.at, &frame.zone, frame.now))
                }
            }
        }
    }
}

fn actions(frame: &Frame, view: &ContactsPage, row: &ContactRow) -> Markup {
    let at = |what: &str| format!("/app/contacts/{}/{what}", row.id);
    let changing = view
        .changing
        .as_ref()
        .filter(|(id, _)| *id == row.id)
        .map(|(_, typed)| typed);
    let now = Typed::of(&row.preferences);
    let typed = changing.unwrap_or(&now);
    html! {
        div.actions {
            @if row.state == ContactState::Active { (parts::action(frame, &at("test"), "Send a test", "")) }
            @if row.kind == ContactKind::Email && matches!(row.state, ContactState::Pending | ContactState::Bouncing) {
                (parts::action(frame, &at("confirm"), "Ask again to confirm", ""))
            }
            @if row.kind == ContactKind::Webhook {
                (parts::confirmed(frame, &at("rotate-secret"), "New secret", &format!("for {}", row.name),
                    "It is shown once. The old one ends at once: what is sent until the receiver knows the new one fails its check."))
            }
            (parts::confirmed(frame, &at("remove"), "Remove", &row.name,
                "It is told nothing more. What was sent to it stays on record."))
        }
        details.change open[changing.is_some()] {
            summary { "Change what it is told" span.sr { ": " (row.name) } }
            form.stack.contact-form method="post" action={ "/app/contacts/" (row.id) } {
                (parts::csrf(frame))
                input type="hidden" name="if_match" value=(row.etag);
                @if let Some(error) = &typed.error { p.error role="alert" { (error) } }
                (form::preferences(typed, &view.choices, &row.scope, Fields::Of(row.kind), &format!("{}-", row.id), view.challenge_days))
                button.primary type="submit" { "Save" }
            }
        }
    }
}

fn former(frame: &Frame, former: &[Former]) -> Markup {
    html! {
        @if !former.is_empty() {
            details.older {
                summary { (words::plural(former.len() as u64, "removed contact", "removed contacts")) }
                ul.plain {
                    @for one in former {
                        li {
                            (marks::way_shape(one.kind)) " " (one.name) " "
                            (marks::badge(marks::Mark::Gone, "removed"))
                            span.dim { " " (parts::time(one.at, &frame.zone, frame.now)) }
                        }
                    }
                }
            }
        }
    }
}

/// When a contact is on duty, in words; `None` at any time.
pub fn duty_words(preferences: &Preferences) -> Option<String> {
    let of_the_site = |hours: SiteHours| match hours {
        SiteHours::Open => "while the site is open".to_owned(),
        SiteHours::Closed => "while the site is closed".to_owned(),
    };
    let own = preferences.hours.as_ref().map(hours_words);
    own.or(preferences.site_hours.map(of_the_site))
}

/// Hours in words: `Mon–Fri 08:00–18:00`, `outside of Sat 10:00–14:00`.
fn hours_words(hours: &Hours) -> String {
    let outside = if hours.outside { "outside of " } else { "" };
    format!("{outside}{}", words::hours(&hours.days, &hours.from, &hours.to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_said_as_people_say_them() {
        let hours = |days: &[u8], outside| Hours {
            days: days.to_vec(),
            from: "08:00".into(),
            to: "18:00".into(),
            outside,
        };
        for (hours, said) in [
            (hours(&[1, 2, 3, 4, 5], false), "Mon–Fri 08:00–18:00"),
            (hours(&[1, 3, 6], false), "Mon, Wed, Sat 08:00–18:00"),
            (hours(&[6, 7], true), "outside of Sat, Sun 08:00–18:00"),
            (hours(&[1, 2, 3, 4, 5, 6, 7], false), "every day 08:00–18:00"),
        ] {
            assert_eq!(hours_words(&hours), said);
        }
    }
}
