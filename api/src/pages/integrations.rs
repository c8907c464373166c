//! Integrations: the addresses that network servers and gateways send to.
//!
//! Invariant: a token is shown in the answer that made it; afterwards its id stands in its place.
//! Not here: making tokens.

#[cfg(test)]
pub(super) mod sample;
pub mod view;

use maud::{Markup, html};

use super::layout::{self, Page, Section};
use super::parts::{self, Field};
use super::view::{Frame, FreshToken};
use view::{IntegrationRow, IntegrationsPage};

/// A kind of integration that can be made.
struct Kind {
    code: &'static str,
    name: &'static str,
    hint: &'static str,
    path: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        code: "lorawan",
        name: "LoRaWAN webhook",
        hint: "The Things Stack v3 and ChirpStack v4 post uplinks to it.",
        path: "/v1/ingest/lorawan",
    },
    Kind {
        code: "efento",
        name: "Efento gateway",
        hint: "The gateway's own API; the token goes into its X-Api-Token field.",
        path: "/v1/ingest/efento",
    },
    Kind {
        code: "gateway",
        name: "Gateway of your own",
        hint: "One token that may send for every device of the account.",
        path: "/v1/ingest",
    },
    Kind {
        code: "shelly",
        name: "Shelly, many devices",
        hint: "One token for a whole fleet; each device names its local id.",
        path: "/v1/ingest/shelly",
    },
];

fn kind_of(code: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.code == code)
}

/// The integrations' document.
pub fn page(frame: &Frame, view: &IntegrationsPage) -> Markup {
    let body = html! {
        h1 { "Integrations" }
        p.lead { "One address for many devices: each message is matched to its device by DevEUI, serial or local id." }
        @if let Some((id, token)) = &view.fresh { (fresh(view, id, token)) }
        @if view.integrations.is_empty() { p.quiet { "There are none yet." } }
        @for row in &view.integrations { (card(frame, view, row)) }
        @if parts::may_edit(frame) { (form(frame, view)) }
    };
    layout::page(
        frame,
        &Page {
            title: "Integrations",
            section: Section::Integrations,
            live_s: None,
            body,
        },
    )
}

fn fresh(view: &IntegrationsPage, id: &str, token: &FreshToken) -> Markup {
    let row = view.integrations.iter().find(|r| r.id == id);
    let kind = row.and_then(|r| kind_of(&r.kind));
    html! {
        section.token-once aria-labelledby="fresh-h" {
            h2 #fresh-h { @if let Some(row) = row { (row.name) } @else { "New integration" } }
            p { "Its address and token are shown this once. Only a hash of the token is kept." }
            @match kind {
                Some(kind) if kind.code == "lorawan" || kind.code == "shelly" => {
                    (parts::copyable("fresh-url", "Webhook URL",
                        &format!("{}{}?token={}", view.base_url, kind.path, token.secret)))
                }
                Some(kind) => {
                    (parts::copyable("fresh-url", "Address", &format!("{}{}", view.base_url, kind.path)))
                    (parts::copyable("fresh-token", "Token", &token.secret))
                }
                None => { (parts::copyable("fresh-token", "Token", &token.secret)) }
            }
        }
    }
}

fn card(frame: &Frame, view: &IntegrationsPage, row: &IntegrationRow) -> Markup {
    let kind = kind_of(&row.kind);
    html! {
        article.panel {
            h2 { (row.name) }
            p.dim { (kind.map_or(row.kind.as_str(), |k| k.name)) @if let Some(k) = kind { ". " (k.hint) } }
            p { code.url {
                (view.base_url) (kind.map_or("/v1/ingest", |k| k.path))
                @if let Some(token) = &row.token { "?token=" (token.prefix) (token.id) "_…" }
            } }
            @match &row.token {
                Some(token) => {
                    p.dim {
                        @match token.last_used {
                            Some(at) => { "Last used " (parts::ago(at, &frame.zone, frame.now)) "." }
                            None => { "Nothing was taken with it yet." }
                        }
                    }
                }
                None => { p.warn { "It has no token, so it opens nothing." } }
            }
            @if parts::may_edit(frame) {
                div.actions {
                    (parts::confirmed(frame, &format!("/app/integrations/{}/rotate-token", row.id), "Rotate token", &format!("of {}", row.name),
                        "A new token is shown once. The old one stops working at once: what sends with it is refused until it is told the new one."))
                    (parts::confirmed(frame, &format!("/app/integrations/{}/remove", row.id), "Remove", &row.name,
                        "Its token stops working at once, and every device that sends through it is refused. What it sent stays in the ledger."))
                }
            }
        }
    }
}

fn form(frame: &Frame, view: &IntegrationsPage) -> Markup {
    html! {
        section aria-labelledby="add-h" {
            h2 #add-h { "Add one" }
            form.stack.panel method="post" action="/app/integrations" {
                (parts::csrf(frame))
                input type="hidden" name="idempotency_key" value=(view.idempotency_key);
                fieldset.choices {
                    legend { "What sends?" }
                    @for (i, kind) in KINDS.iter().enumerate() {
                        label.choice {
                            input type="radio" name="kind" value=(kind.code) checked[i == 0];
                            span { strong { (kind.name) } span.dim { (kind.hint) } }
                        }
                    }
                }
                (parts::field(&Field { name: "name", label: "Name", required: true,
                    hint: "Such as: The Things Network, cellar gateway.", ..Field::default() }))
                button.primary type="submit" { "Add integration" }
            }
        }
    }
}
