//! The form of a new device; with no site yet, its site comes with it.
//!
//! Not here: what comes after (`onboarding`).

pub mod view;

use maud::{Markup, html};

use super::layout::{self, Page, Section};
use super::onboarding::MODELS;
use super::parts::{self, Field};
use super::view::Frame;
use view::AddDevice;

/// The form's document.
pub fn page(frame: &Frame, view: &AddDevice) -> Markup {
    let form = &view.form;
    let error = |name: &str| {
        form.errors
            .iter()
            .find(|(f, _)| f == name)
            .map(|(_, e)| e.as_str())
    };
    let first = view.sites.is_empty();
    let body = html! {
        nav.crumbs aria-label="Where you are" { a href="/app" { "Overview" } }
        h1 { @if first { "Add your first device" } @else { "Add a device" } }
        p.lead { "Next you get its address and token, and watch the first reading land." }
        form.stack.panel method="post" action="/app/devices" {
            (parts::csrf(frame))
            input type="hidden" name="idempotency_key" value=(view.idempotency_key);
            @if let Some(text) = error("") { p.error role="alert" { (text) } }
            (parts::field(&Field { name: "name", label: "Name", value: &form.name, error: error("name"), required: true,
                hint: "As people call it: Walk-in fridge.", ..Field::default() }))
            fieldset.choices {
                legend { "How does it send?" }
                @for (i, model) in MODELS.iter().enumerate() {
                    label.choice {
                        input type="radio" name="model" value=(model.code)
                            checked[form.model == model.code || (form.model.is_empty() && i == 0)];
                        span { strong { (model.name) } span.dim { (model.hint) } }
                    }
                }
                @if let Some(text) = error("model") { p.error { (text) } }
            }
            @if !first { (parts::site_select(&view.sites, view.chosen.as_deref(), "")) }
            details.more open[!form.errors.is_empty()] {
                summary { "Ids and cadence" }
                (parts::field(&Field { name: "local_id", label: "Local id", value: &form.local_id, error: error("local_id"),
                    hint: "What the device calls itself when it sends. Left empty, it is made from the name.", ..Field::default() }))
                (parts::field(&Field { name: "dev_eui", label: "DevEUI", value: &form.dev_eui, error: error("dev_eui"),
                    hint: "LoRaWAN only: 16 hexadecimal digits, on the device's label.", ..Field::default() }))
                (parts::field(&Field { name: "cadence_min", label: "Reports every, minutes", kind: "number",
                    value: &form.cadence_min, error: error("cadence_min"),
                    hint: "Silence of twice this is shown as offline.", ..Field::default() }))
            }
            @if first {
                fieldset {
                    legend { "Where it stands" }
                    (parts::field(&Field { name: "site_name", label: "Site", required: true, error: error("site_name"),
                        hint: "One address with one time zone.", ..Field::default() }))
                    (parts::site_fields("haccp", ""))
                    @if let Some(text) = error("timezone") { p.error { (text) } }
                }
            }
            button.primary type="submit" { "Add device" }
        }
    };
    layout::page(
        frame,
        &Page {
            title: "Add a device",
            section: Section::Overview,
            live_s: None,
            body,
        },
    )
}
