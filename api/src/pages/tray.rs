//! The tray: LoRaWAN devices that send and that nobody has added. Adopting one keeps what it has sent.
//!
//! Not here: decoding, adoption itself.

#[cfg(test)]
pub(super) mod sample;
pub mod view;

use maud::{Markup, html};

use super::layout::{self, Page, Section};
use super::parts::{self, Field};
use super::view::Frame;
use super::words;
use view::{Parked, TrayPage};

/// The tray's document.
pub fn page(frame: &Frame, view: &TrayPage) -> Markup {
    let body = html! {
        h1 { "Tray" }
        p.lead {
            "LoRaWAN devices that sent something and are not known here. What they sent is kept; adopt one, and "
            "its readings since then count as its own."
        }
        @if view.parked.is_empty() { p.quiet { "The tray is empty." } }
        @for parked in &view.parked { (card(frame, view, parked)) }
    };
    layout::page(
        frame,
        &Page {
            title: "Tray",
            section: Section::Tray,
            live_s: Some(super::overview::LIVE_S),
            body,
        },
    )
}

fn card(frame: &Frame, view: &TrayPage, parked: &Parked) -> Markup {
    html! {
        article.panel.parked {
            h2 { code { (parked.dev_eui) } }
            p.dim {
                (words::plural(parked.uplinks, "uplink", "uplinks")) " kept · newest "
                (parts::ago(parked.last, &frame.zone, frame.now)) " · first "
                (parts::time(parked.first, &frame.zone, frame.now))
                @if let Some(port) = parked.f_port { " · port " (port) }
            }
            @if parked.sample.is_empty() {
                p { "Its frames cannot be read without knowing its model." }
            } @else {
                ul.counts { @for (name, value) in &parked.sample { li { (name) " " strong.num { (value) } } } }
            }
            @if parts::may_edit(frame) {
                details {
                    summary.button { "Adopt" span.sr { " " (parked.dev_eui) } }
                    form.stack method="post" action={ "/app/tray/" (parked.dev_eui) "/adopt" } {
                        (parts::csrf(frame))
                        (parts::field(&Field { name: "name", form: &parked.dev_eui, label: "Name", required: true, ..Field::default() }))
                        (parts::site_select(&view.sites, None, &parked.dev_eui))
                        div.field {
                            label for={ "model-" (parked.dev_eui) } { "Model" }
                            select id={ "model-" (parked.dev_eui) } name="model" {
                                @for (code, name) in &view.models { option value=(code) { (name) } }
                            }
                        }
                        button.primary type="submit" { "Adopt with its " (words::plural(parked.uplinks, "uplink", "uplinks")) }
                    }
                }
            }
        }
    }
}
