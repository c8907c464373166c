//! The first minute of a device: its address and token for each way of sending, and a box that turns green
//! when the first reading lands or shows the exact refusal.
//!
//! Invariants: what is shown can be pasted as it is; the token is shown in the answer that made it and never
//! again; without JavaScript the box is a frame that reloads itself, so that the token beside it stays.
//! Not here: making tokens, the state of the first reading.

#[cfg(test)]
pub(super) mod sample;
pub mod view;

use maud::{DOCTYPE, Markup, html};

use super::layout::{self, Page, Section};
use super::parts;
use super::view::{Frame, FreshToken};
use super::words;
use view::{FirstReading, Onboarding, OnboardingStatus, WebhookStep};

/// Seconds between two looks for the first reading.
pub const LIVE_S: u32 = 2;
/// Stands where a token would be that is no longer known.
const NO_TOKEN: &str = "ds_live_YOUR_TOKEN";

/// A model to choose.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Code, kept with the device.
    pub code: &'static str,
    /// In words.
    pub name: &'static str,
    /// What it is, a line.
    pub hint: &'static str,
    /// Its tab.
    pub tab: &'static str,
}

/// The models that the form offers.
pub const MODELS: &[Model] = &[
    Model {
        code: "shelly-h-t-gen3",
        name: "Shelly, Plus or Gen3",
        hint: "H&T and other sensors with webhooks",
        tab: "shelly",
    },
    Model {
        code: "shelly-h-t-gen1",
        name: "Shelly, first generation",
        hint: "H&T with a report URL",
        tab: "shelly",
    },
    Model {
        code: "lorawan",
        name: "LoRaWAN",
        hint: "through The Things Network or ChirpStack",
        tab: "ttn",
    },
    Model {
        code: "diy_esp32",
        name: "ESP32",
        hint: "your own sketch",
        tab: "esp32",
    },
    Model {
        code: "http",
        name: "Anything else",
        hint: "whatever can send JSON over HTTP",
        tab: "curl",
    },
];

const TABS: &[(&str, &str)] = &[
    ("shelly", "Shelly"),
    ("ttn", "TTN"),
    ("esp32", "ESP32"),
    ("curl", "curl"),
];

/// A model in words; its code where the form does not offer it.
pub fn model_words(code: &str) -> &str {
    MODELS.iter().find(|m| m.code == code).map_or(code, |m| m.name)
}

fn tab_of(model: &str) -> &'static str {
    let known = MODELS.iter().find(|m| m.code == model).map(|m| m.tab);
    known.unwrap_or(match model {
        m if m.starts_with("shelly") => "shelly",
        m if m.contains("lora") => "ttn",
        m if m.contains("esp") => "esp32",
        _ => "curl",
    })
}

/// The page after a device was added.
pub fn page(frame: &Frame, view: &Onboarding) -> Markup {
    let chosen = tab_of(&view.model);
    let body = html! {
        nav.crumbs aria-label="Where you are" {
            a href="/app" { "Overview" } " / " a href={ "/app/devices/" (view.device) } { (view.name) }
        }
        h1 { "Connect " (view.name) }
        div.onboard {
            div.onboard-status { (status_box(&view.status)) }
            div.onboard-how {
                (token_box(frame, view))
                (only_here(view))
                fieldset.tabs {
                    legend.sr { "How does it send?" }
                    @for (code, name) in TABS {
                        input type="radio" name="how" id={ "how-" (code) } class={ "sr tab-" (code) }
                            checked[*code == chosen];
                        label for={ "how-" (code) } { (name) }
                    }
                    div.tab-panel.panel-shelly { (shelly(view)) }
                    div.tab-panel.panel-ttn { (ttn(frame, view)) }
                    div.tab-panel.panel-esp32 { (esp32(view)) }
                    div.tab-panel.panel-curl { (curl(view)) }
                }
                (troubles(view))
            }
        }
    };
    layout::page(
        frame,
        &Page {
            title: &format!("Connect {}", view.name),
            section: Section::Overview,
            live_s: None,
            body,
        },
    )
}

fn token_box(frame: &Frame, view: &Onboarding) -> Markup {
    html! {
        @match &view.token {
            Some(FreshToken { secret, opens }) => {
                div.token-once {
                    (parts::copyable("token", "Its token, shown this once", secret))
                    p.dim { "It opens " (opens) ". It is filled in below; only a hash of it is kept here." }
                }
            }
            None => {
                div.token-once {
                    p {
                        "The token was shown once, when it was made. If it is lost, make a new one; "
                        "the old one then stops working."
                    }
                    (parts::action(frame, &format!("/app/devices/{}/rotate-token", view.device), "Make a new token", ""))
                }
            }
        }
    }
}

/// Whether an address leads back to the machine it is used on.
fn is_loopback(base_url: &str) -> bool {
    let host = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    host.starts_with("127.") || host.starts_with("[::1]") || host.split(':').next() == Some("localhost")
}

/// What is pasted into a device must lead it here, and a loopback address leads it to itself.
fn only_here(view: &Onboarding) -> Markup {
    let port = view.base_url.rsplit_once(':').map_or("", |(_, port)| port);
    let port = if port.parse::<u16>().is_ok() { port } else { "8420" };
    html! {
        @if is_loopback(&view.base_url) {
            p.warn {
                "The address below, " code { (view.base_url) } ", is reached from this machine only: good for curl, not for "
                "a device. Start the service with " code { "--listen 0.0.0.0:" (port) } " and open this console by the "
                "machine's name or address, or set " code { "public_url" } "; the lines below then fit."
            }
        }
    }
}

fn token(view: &Onboarding) -> &str {
    view.token.as_ref().map_or(NO_TOKEN, |t| &t.secret)
}

/// Percent-encodes what a query value must not hold.
fn query(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%5F", "_")
        .replace("%2E", ".")
}

fn shelly_url(view: &Onboarding) -> String {
    let device = query(&view.local_id);
    format!(
        "{}/v1/ingest/shelly?token={}&device={device}",
        view.base_url,
        token(view)
    )
}

fn shelly(view: &Onboarding) -> Markup {
    let url = shelly_url(view);
    let (temperature, humidity) = (format!("{url}&temp=${{ev.tC}}"), format!("{url}&hum=${{ev.rh}}"));
    html! {
        h3 { "Plus, Gen2, Gen3" }
        ol {
            li { "Open the device's own page and go to " b { "Actions" } " (or " b { "Webhooks" } ")." }
            li {
                "Add an action for " b { "temperature change" } " with this URL:"
                (parts::copyable("shelly-temp", "URL for temperature", &temperature))
            }
            li {
                "Add one for " b { "humidity change" } ":"
                (parts::copyable("shelly-hum", "URL for humidity", &humidity))
            }
            li { "Wake it once with its button. Keep " code { "${ev.tC}" } " as it is: the device fills it in." }
        }
        h3 { "First generation" }
        ol {
            li {
                "On the device's page: " b { "Internet & Security → Report sensor values" } "."
                (parts::copyable("shelly-gen1", "Report URL", &url))
            }
            li { "Press its button. It adds temperature and humidity to the URL by itself." }
        }
    }
}

fn ttn(frame: &Frame, view: &Onboarding) -> Markup {
    let hook = |token: &str| format!("{}/v1/ingest/lorawan?token={token}", view.base_url);
    html! {
        p {
            "One webhook serves every LoRaWAN device of the account; each is known by its DevEUI"
            @if let Some(dev_eui) = &view.dev_eui { ", this one by " code { (dev_eui) } }
            "."
        }
        @if view.dev_eui.is_none() {
            p.warn {
                "This device has no DevEUI yet. Add it on the "
                a href={ "/app/devices/" (view.device) } { "device page" }
                ", or let it send: it then waits in the " a href="/app/tray" { "tray" } ", and nothing is lost."
            }
        }
        @match &view.lorawan {
            WebhookStep::Missing => {
                p { "There is no webhook yet." }
                form method="post" action="/app/integrations" {
                    (parts::csrf(frame))
                    input type="hidden" name="kind" value="lorawan";
                    input type="hidden" name="name" value="The Things Network";
                    input type="hidden" name="device" value=(view.device);
                    button.primary type="submit" { "Make the webhook" }
                }
            }
            WebhookStep::Fresh(fresh) => {
                ol {
                    li { "In The Things Stack: " b { "Integrations → Webhooks → Add webhook → Custom webhook" } "." }
                    li {
                        "Format " b { "JSON" } ", and as base URL:"
                        (parts::copyable("ttn-url", "Base URL, shown this once", &hook(&fresh.secret)))
                    }
                    li { "Enable " b { "Uplink message" } " with an empty path. Leave the field mask empty." }
                }
            }
            WebhookStep::Exists { name } => {
                p {
                    "The webhook " strong { (name) } " exists; its address was shown when it was made. "
                    "If that is lost, rotate it under " a href="/app/integrations" { "Integrations" } "."
                }
                (parts::copyable("ttn-url", "Base URL", &hook("whk_YOUR_TOKEN")))
            }
        }
        p.dim { "ChirpStack: Integrations → HTTP, encoding JSON, the same URL." }
    }
}

fn esp32(view: &Onboarding) -> Markup {
    let tls = view.base_url.starts_with("https://");
    let (include, client, trust) = if tls {
        (
            "#include <WiFiClientSecure.h>\n",
            "WiFiClientSecure net;",
            "\n  net.setInsecure();  // for the first try; then net.setCACert(your root certificate)",
        )
    } else {
        ("", "WiFiClient net;", "")
    };
    let sketch = format!(
        r#"#include <WiFi.h>
{include}#include <HTTPClient.h>

void setup() {{
  WiFi.begin("your network", "its password");
  while (WiFi.status() != WL_CONNECTED) delay(200);
}}

void loop() {{
  float celsius = 21.5;  // read your sensor here
  {client}{trust}
  HTTPClient http;
  http.begin(net, "{base}/v1/ingest");
  http.addHeader("Authorization", "Bearer {token}");
  http.addHeader("Content-Type", "application/json");
  int status = http.POST(String("{{\"device\":\"{device}\",\"measurements\":"
      "[{{\"type\":\"temperature\",\"value\":") + celsius + "}}]}}");
  http.end();
  // 200: it is in the ledger. 503: try again later. Anything else: look here.
  delay(60000);
}}"#,
        base = view.base_url,
        token = token(view),
        device = c_string(&view.local_id),
    );
    html! {
        p { "A whole sketch for the Arduino IDE; put in your network and read your sensor." }
        (parts::copyable("esp32-sketch", "Sketch", &sketch))
    }
}

/// A JSON string's inside, written inside a C string.
fn c_string(text: &str) -> String {
    json_string(text).replace('\\', "\\\\").replace('"', "\\\"")
}

/// A JSON string's inside.
fn json_string(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted
        .strip_prefix('"')
        .and_then(|s| s.strip_suffix('"'))
        .unwrap_or(&quoted)
        .to_owned()
}

fn curl(view: &Onboarding) -> Markup {
    // Inside single quotes a shell takes everything literally but the quote itself.
    let body = format!(
        r#"{{"device":"{}","measurements":[{{"type":"temperature","value":4.2}}]}}"#,
        json_string(&view.local_id)
    )
    .replace('\'', r"'\''");
    let command = format!(
        "curl -sS {}/v1/ingest \\\n  -H 'Authorization: Bearer {}' \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'",
        view.base_url,
        token(view)
    );
    html! {
        (parts::copyable("curl-command", "In a terminal", &command))
        p { "The answer, once the reading is on disk and in the tree:" }
        pre.wrap tabindex="0" { code {
            r#"{"accepted":1,"deduplicated":0,"channels":[{"type":"temperature","label":null,"channel_id":"chn_…"}],"first_position":…,"recorded_at":"…","root":"…"}"#
        } }
        p.dim {
            "Types: " @for (i, kind) in domain::kinds::KINDS.iter().enumerate() {
                @if i > 0 { ", " } code { (kind.name) }
            } "."
        }
    }
}

fn troubles(view: &Onboarding) -> Markup {
    html! {
        details.panel {
            summary { "Nothing arrives, and no refusal is shown?" }
            ul {
                li { "Then no request reached this service: look at the device's network and at the address." }
                li { "From a phone in the same network, open " code { (view.base_url) "/healthz" } "." }
                @if view.base_url.starts_with("https://") {
                    li {
                        "Many small devices speak TLS 1.2 only. Whoever runs this service can allow it for ingest with "
                        code { "tls_min_ingest = \"1.2\"" } "."
                    }
                }
                li { "A token that is mistyped cannot be told to be this device's; check it letter by letter." }
            }
        }
    }
}

/// The box, live where there is JavaScript, a frame that reloads itself where there is none.
fn status_box(status: &OnboardingStatus) -> Markup {
    html! {
        (live_box(status))
        @if waits(status) {
            noscript {
                iframe.status-frame title="First reading" src={ "/app/devices/" (status.device) "/onboarding-status" } {}
            }
        }
    }
}

/// Whether there is still something to wait for.
fn waits(status: &OnboardingStatus) -> bool {
    !matches!(status.step, FirstReading::Landed { .. })
}

fn live_box(status: &OnboardingStatus) -> Markup {
    let href = format!("/app/devices/{}/onboarding-status", status.device);
    html! {
        section #first-reading aria-live="polite" aria-label="First reading"
            data-live=[waits(status).then_some(href)] data-every=[waits(status).then_some(LIVE_S)] {
            (state(status))
        }
    }
}

fn state(status: &OnboardingStatus) -> Markup {
    let (zone, now) = (&status.zone, status.now);
    html! {
        @match &status.step {
            FirstReading::Waiting { since } => {
                div.step.waiting {
                    h2 { span.pulse aria-hidden="true" {} "Waiting for the first reading" }
                    p { "Nothing has come yet. The token has been valid since " (words::moment(now, *since, zone)) "." }
                }
            }
            FirstReading::Refused(note) => {
                div.step.refused {
                    h2 { (parts::glyph(super::view::State::Refused)) "It was refused" }
                    (parts::refusal(note, zone, now))
                    p.dim { "This box keeps looking: correct it and send again." }
                }
            }
            FirstReading::Ignored { at, why } => {
                div.step.waiting {
                    h2 { "It arrived, without a reading" }
                    p { (why) " " span.dim { (parts::ago(*at, zone, now)) } }
                    p.dim { "This box keeps looking." }
                }
            }
            FirstReading::Landed { at, position, channels } => {
                div.step.landed {
                    h2 {
                        svg.glyph viewBox="0 0 16 16" aria-hidden="true" {
                            circle.g-disc cx="8" cy="8" r="8" {} path.g-tick d="M4.4 8.3L7 10.9L11.8 5.6" {}
                        }
                        "The first reading landed"
                    }
                    ul.landed-values {
                        @for channel in channels {
                            li { (parts::channel_name(channel)) " "
                                @if let Some((_, v)) = channel.latest { strong { (parts::quantity(&channel.kind, v, &channel.unit)) } } }
                        }
                    }
                    p { "Recorded " (parts::ago(*at, zone, now)) " as " (parts::position(*position)) ": on disk and in the tree." }
                    p {
                        a.button.primary href={ "/app/devices/" (status.device) "#limits-h" } { "Set its limits" } " "
                        a.button href="/app" { "Overview" }
                    }
                }
            }
        }
    }
}

/// The box as a document of its own, which is also what the script fetches.
pub fn status_page(status: &OnboardingStatus) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if waits(status) { meta http-equiv="refresh" content=(LIVE_S + 1); }
                title { "First reading – Daybook" }
                link rel="stylesheet" href=(super::assets::CSS.path());
                base target="_parent";
            }
            body.status-body { main { h1.sr { "First reading" } (live_box(status)) } }
        }
    }
}
