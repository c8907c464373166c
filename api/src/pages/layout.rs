//! The shell of every page: head, skip link, banner, navigation, notices, the ledger's line at the foot.
//!
//! Invariants: no inline script and no inline style, so that the content security policy can forbid both;
//! whatever stops the writer is said at the top of every page; one `h1` a page, in `main`.
//! Not here: what stands in `main`.

use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::parts;
use super::view::{Frame, Viewer};
use super::words;

/// Which entry of the navigation is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Overview, sites, devices, channels.
    Overview,
    /// Alarms.
    Alarms,
    /// Unknown devices.
    Tray,
    /// Webhooks.
    Integrations,
    /// Who is told of alarms.
    Contacts,
    /// What was sent to them.
    Outbound,
    /// Evidence packs.
    Evidence,
    /// The public ledger page and entries.
    Ledger,
    /// Users, tokens, account.
    Account,
    /// None of them.
    None,
}

/// A page.
#[derive(Debug)]
pub struct Page<'a> {
    /// The window's title, without the product's name.
    pub title: &'a str,
    /// Where it stands in the navigation.
    pub section: Section,
    /// Seconds after which `main` is fetched again while nobody types in it; `None` = never.
    pub live_s: Option<u32>,
    /// What stands in `main`, with its one `h1`.
    pub body: Markup,
}

/// The whole document.
pub fn page(frame: &Frame, page: &Page<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&counted(frame, page.title)))
            body {
                a.skip href="#main" { "Skip to content" }
                (banner(frame, page.section))
                @if let Some(reason) = &frame.ledger.paused {
                    div.paused role="alert" {
                        strong { "Nothing is being recorded." } " " (reason)
                        " What was recorded before is safe and can be read."
                    }
                }
                main #main data-live=[page.live_s.map(|_| "")] data-every=[page.live_s]
                    data-events=[told_at_once(frame, page)] tabindex="-1" {
                    @if let Some(notice) = &frame.notice {
                        p.notice.good[notice.good].bad[!notice.good] role="status" { (notice.text) }
                    }
                    (page.body)
                }
                (foot(frame, page.live_s.is_some()))
            }
        }
    }
}

/// What changes the pages of devices and alarms before their next look.
const EVENTS: &str = "AlarmOpened,AlarmRaised,AlarmEscalated,AlarmAcknowledged,AlarmCommented,AlarmCleared,\
     AlarmReopened,AlarmReopenedByPerson,AlarmClosed,ChannelStateChanged,DeviceStateChanged,SilenceOpened,SilenceEnded";
/// What changes what is known of telling somebody.
const TELLING: &str = "NotificationSent,NotificationFailed,NotificationDropped,NotificationDigested,\
     NotificationRequeued";
/// What changes a contact.
const CONTACTS: &str = "ContactAdded,ContactChanged,ContactConfirmed,ContactLinked,ContactUnsubscribed,\
     ContactBounced,ContactRemoved";

/// The events at which a page looks again at once.
fn told_at_once(frame: &Frame, page: &Page<'_>) -> Option<String> {
    let events = match page.section {
        Section::Overview => EVENTS.to_owned(),
        Section::Alarms => format!("{EVENTS},{TELLING}"),
        Section::Contacts | Section::Outbound => format!("{TELLING},{CONTACTS}"),
        _ => return None,
    };
    (page.live_s.is_some() && frame.viewer.is_some()).then_some(events)
}

/// A title that says in a row of tabs that somebody is needed.
fn counted(frame: &Frame, title: &str) -> String {
    match frame.alarms.unseen {
        0 => title.to_owned(),
        unseen => format!("({unseen}) {title}"),
    }
}

/// The head that every document has.
pub fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="same-origin";
            title { (title) " – Daybook" }
            link rel="icon" href=(assets::ICON.path()) type="image/svg+xml";
            link rel="stylesheet" href=(assets::CSS.path());
            script src=(assets::JS.path()) defer {}
        }
    }
}

fn banner(frame: &Frame, section: Section) -> Markup {
    let link = |href: &str, text: &str, of: Section| {
        html! { a href=(href) aria-current=[(section == of).then_some("page")] { (text) } }
    };
    html! {
        header.banner {
            a.brand href=(if frame.viewer.is_some() { "/app" } else { "/" }) { (mark()) "Daybook" }
            nav.main-nav aria-label="Main" {
                @if frame.viewer.is_some() {
                    (link("/app", "Overview", Section::Overview))
                    a href="/app/alarms" aria-current=[(section == Section::Alarms).then_some("page")] {
                        "Alarms" (open_alarms(frame))
                    }
                    a href="/app/tray" aria-current=[(section == Section::Tray).then_some("page")] {
                        "Tray"
                        @if frame.tray > 0 { span.pill { (words::count(frame.tray)) span.sr { " waiting" } } }
                    }
                    @for (href, text, of) in MORE { span.nav-wide { (link(href, text, *of)) } }
                    details.menu.nav-more {
                        summary aria-current=[MORE.iter().any(|(_, _, of)| *of == section).then_some("true")] { "More" }
                        div.menu-items { @for (href, text, of) in MORE { (link(href, text, *of)) } }
                    }
                } @else { (link("/ledger", "Ledger", Section::Ledger)) }
            }
            @match &frame.viewer {
                Some(viewer) => { (viewer_menu(viewer, section)) }
                None => { a.push.plain-link href="/sign-in" { "Sign in" } }
            }
        }
    }
}

/// What a narrow window keeps in a menu.
const MORE: &[(&str, &str, Section)] = &[
    ("/app/contacts", "Contacts", Section::Contacts),
    ("/app/outbound", "Outbound", Section::Outbound),
    ("/app/integrations", "Integrations", Section::Integrations),
    ("/app/evidence", "Evidence", Section::Evidence),
    ("/ledger", "Ledger", Section::Ledger),
];

/// How many alarms wait for somebody; or are open, where all were seen.
fn open_alarms(frame: &Frame) -> Markup {
    let alarms = frame.alarms;
    html! {
        span #nav-alarms {
            @if alarms.unseen > 0 {
                span.pill.bad { (words::count(alarms.unseen)) span.sr { " not acknowledged" } }
            } @else if alarms.open > 0 {
                span.pill.seen { (words::count(alarms.open)) span.sr { " open" } }
            }
        }
    }
}

fn viewer_menu(viewer: &Viewer, section: Section) -> Markup {
    html! {
        details.menu.push {
            summary aria-current=[(section == Section::Account).then_some("page")] { (viewer.name) }
            div.menu-items {
                p.dim { (viewer.account) " · " (words::role(&viewer.role).0) }
                a href="/app/account" { "Account" }
                a href="/app/users" { "Users" }
                a href="/app/tokens" { "API tokens" }
                form method="post" action="/app/sign-out" {
                    input type="hidden" name="csrf" value=(viewer.csrf);
                    button.link type="submit" { "Sign out" }
                }
            }
        }
    }
}

/// The mark: an open book whose right page is a line of measurement.
pub fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" aria-hidden="true" {
            path.mark-page d="M12 5.5C10 4 7 3.5 3 3.5v15c4 0 7 .5 9 2c2-1.5 5-2 9-2v-15c-4 0-7 .5-9 2Z" {}
            path.mark-line d="M12 5.5v15M5.5 8.5h4M5.5 12h4M14 13l1.8-3.5l1.7 5l1.5-3" {}
        }
    }
}

fn foot(frame: &Frame, live: bool) -> Markup {
    html! {
        footer.foot {
            p {
                a href="/ledger" { "Ledger" } " "
                span.num { (words::plural(frame.ledger.size, "entry", "entries")) }
                " · root " (parts::short_hash(&frame.ledger.root))
                @match frame.ledger.last_head {
                    Some(date) => { " · last head " (words::date(date)) }
                    None => { " · no head yet" }
                }
            }
            p.dim {
                "As of " time #as-of datetime=(frame.now) { (words::stamp(frame.now, &frame.zone)) }
                " (" (frame.zone.name()) ")."
                @if live { span.stale-note role="status" { " The connection is lost; this is no longer current." } }
            }
        }
    }
}

/// A document without navigation: sign-in and errors.
pub fn bare(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare {
                main #main tabindex="-1" {
                    a.brand href="/" { (mark()) "Daybook" }
                    (body)
                }
                footer.foot { p { a href="/ledger" { "The public ledger" } } }
            }
        }
    }
}
