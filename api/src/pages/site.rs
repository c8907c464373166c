//! A site: its devices, worst first, its form and its configuration timeline; and the form of a new one.
//!
//! Not here: limits and tokens (`device`).

pub mod form;
pub mod view;

use domain::event::contact::OpeningHours;
use maud::{Markup, html};

use super::layout::{self, Page, Section};
use super::overview;
use super::parts::{self, Field};
use super::view::Frame;
use super::words;
use view::SitePage;

/// A site's document.
pub fn page(frame: &Frame, view: &SitePage) -> Markup {
    let rows = overview::worst_first(&view.devices);
    let zone = &view.site.zone;
    let may_edit = parts::may_edit(frame);
    let body = html! {
        nav.crumbs aria-label="Where you are" { a href="/app" { "Overview" } }
        div.title-row {
            h1 { (view.site.name) }
            @if may_edit { a.button href={ "/app/devices/new?site=" (view.site.id) } { "Add device" } }
        }
        p.dim {
            (words::vertical(&view.site.vertical)) " · " (zone.name()) ", now " (words::moment(frame.now, frame.now, zone))
            @if let Some(address) = &view.address { " · " (address) }
        }
        @if let Some(is_open) = view.is_open {
            p.dim {
                "Open " (opening_words(&view.opening_hours)) ": "
                strong { @if is_open { "open now" } @else { "closed now" } }
            }
        }
        section aria-labelledby="devices-h" {
            h2 #devices-h { "Devices" }
            @if rows.is_empty() { p { "No devices yet." } }
            @else { (overview::device_list(&rows, &|_| zone, frame.now, false)) }
        }
        @if may_edit {
            details.panel open[view.typed.is_some()] {
                summary { "Change this site" }
                (form::form(frame, view))
            }
        }
        section aria-labelledby="timeline-h" {
            h2 #timeline-h { "Configuration" }
            (parts::timeline(&view.timeline, zone, frame.now))
        }
    };
    layout::page(
        frame,
        &Page {
            title: &view.site.name,
            section: Section::Overview,
            live_s: Some(overview::LIVE_S),
            body,
        },
    )
}

/// `Mon–Fri 08:00–18:00, Sat 09:00–12:00`
fn opening_words(hours: &[OpeningHours]) -> String {
    let spans = hours.iter().map(|it| words::hours(&it.days, &it.from, &it.to));
    spans.collect::<Vec<_>>().join(", ")
}

/// Why something is changed: it stands in the ledger beside the change.
pub fn reason(form: &str) -> Markup {
    reason_typed(form, "")
}

fn reason_typed(form: &str, value: &str) -> Markup {
    parts::field(&Field {
        name: "reason",
        form,
        label: "Reason",
        value,
        hint: "Stands in the ledger beside the change, for whoever reads it later.",
        ..Field::default()
    })
}

/// The form of a new site.
pub fn new_page(frame: &Frame, name: &str, error: Option<&str>) -> Markup {
    let body = html! {
        nav.crumbs aria-label="Where you are" { a href="/app" { "Overview" } }
        h1 { "Add a site" }
        p.lead { "A site is one address with one time zone." }
        form.stack.panel method="post" action="/app/sites" {
            (parts::csrf(frame))
            (parts::field(&Field { name: "name", label: "Name", value: name, error, required: true, ..Field::default() }))
            (parts::field(&Field { name: "address", label: "Address", ..Field::default() }))
            (parts::site_fields("haccp", ""))
            button.primary type="submit" { "Add site" }
        }
    };
    layout::page(
        frame,
        &Page {
            title: "Add a site",
            section: Section::Overview,
            live_s: None,
            body,
        },
    )
}
