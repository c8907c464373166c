//! Each role against each write route of alarms, silences, rules, contacts and corrections: who may is served, who may
//! not is refused, and no such route is left out.

use crate::alarms::Kitchen;
use crate::api::access::{csrf_of, use_link};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::daybook::Daybook;

const ALL: [&str; 4] = ["owner", "operator", "compliance", "auditor"];
/// Who changes what is configured, who handles alarms, who says something about one, who corrects, who reads.
const MANAGE: &[&str] = &["owner"];
const HANDLE: &[&str] = &["owner", "operator"];
const COMMENT: &[&str] = &["owner", "operator", "compliance"];
const ANNOTATE: &[&str] = &["owner", "compliance"];
const READ: &[&str] = &ALL;

/// What the routes act on, fresh for each role.
struct Things {
    site: String,
    channel: String,
    sensor: String,
    alarm: String,
    rule: String,
    silence: String,
    contact: String,
    webhook: String,
    measured: String,
}

impl Things {
    fn id(&self, of: &str) -> &str {
        match of {
            "site" => &self.site,
            "channel" => &self.channel,
            "sensor" => &self.sensor,
            "alarm" => &self.alarm,
            "rule" => &self.rule,
            "silence" => &self.silence,
            "webhook" => &self.webhook,
            _ => &self.contact,
        }
    }
}

/// Method, path as the document has it, whose id stands in it, who may, and the body.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    Value,
);

fn rows(things: &Things) -> Vec<Row> {
    let reason = json!({"reason": {"code": "other", "text": "tried"}});
    let rule = json!({"kind": "delta", "max_delta": 3.0, "interval_s": 900});
    let soon = kitchen_time(600);
    vec![
        ("POST", "/v1/events/{id}/ack", "alarm", HANDLE, reason.clone()),
        (
            "POST",
            "/v1/events/{id}/comment",
            "alarm",
            COMMENT,
            json!({"note": "seen"}),
        ),
        ("POST", "/v1/events/{id}/close", "alarm", HANDLE, reason.clone()),
        ("POST", "/v1/events/{id}/reopen", "alarm", HANDLE, reason.clone()),
        (
            "POST",
            "/v1/sensors/{id}/silence",
            "sensor",
            HANDLE,
            json!({"to": soon, "reason": "cleaning"}),
        ),
        ("DELETE", "/v1/silences/{id}", "silence", HANDLE, json!({})),
        ("POST", "/v1/sensors/{id}/recompute", "sensor", HANDLE, json!({})),
        ("POST", "/v1/channels/{id}/rules", "channel", MANAGE, rule.clone()),
        (
            "PATCH",
            "/v1/rules/{id}",
            "rule",
            MANAGE,
            json!({"max_delta": 4.0}),
        ),
        ("DELETE", "/v1/rules/{id}", "rule", MANAGE, json!({})),
        (
            "POST",
            "/v1/events/{id}/sign",
            "alarm",
            HANDLE,
            json!({"act": "acknowledge", "meaning": "reviewed"}),
        ),
        (
            "POST",
            "/v1/rules/backtest",
            "",
            READ,
            json!({"channel_id": things.channel, "rule": rule,
            "from": kitchen_time(-3600), "to": kitchen_time(0)}),
        ),
        (
            "POST",
            "/v1/contacts",
            "",
            MANAGE,
            json!({"kind": "telegram", "name": "chat"}),
        ),
        (
            "POST",
            "/v1/webhooks",
            "",
            MANAGE,
            json!({"name": "hook", "url": "https://127.0.0.1:9/x"}),
        ),
        (
            "PATCH",
            "/v1/contacts/{id}",
            "contact",
            MANAGE,
            json!({"preferences": {"after_min": 5}}),
        ),
        (
            "POST",
            "/v1/webhooks/{id}/rotate-secret",
            "webhook",
            MANAGE,
            json!({}),
        ),
        ("POST", "/v1/contacts/{id}/test", "webhook", MANAGE, json!({})),
        ("POST", "/v1/contacts/{id}/confirm", "contact", MANAGE, json!({})),
        ("DELETE", "/v1/contacts/{id}", "contact", MANAGE, json!({})),
        (
            "PATCH",
            "/v1/channels/{id}/notifications",
            "channel",
            MANAGE,
            json!({"telegram_digest": {"min_interval_min": 5}}),
        ),
        (
            "PATCH",
            "/v1/sites/{id}/notifications",
            "site",
            MANAGE,
            json!({"digest": {"enabled": true}}),
        ),
        (
            "POST",
            "/v1/channels/{id}/calibrations",
            "channel",
            ANNOTATE,
            json!({"offset": 0.1}),
        ),
        (
            "POST",
            "/v1/channels/{id}/annotations",
            "channel",
            ANNOTATE,
            json!({"ts": things.measured, "note": "by hand"}),
        ),
    ]
}

fn kitchen_time(from_now_s: i64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    domain::Timestamp::from_micros(now.as_micros() as i64 + from_now_s * 1_000_000)
        .expect("in the calendar")
        .to_string()
}

fn things(kitchen: &Kitchen, measured: &str) -> Things {
    let daybook = &kitchen.daybook;
    let made = |path: &str, body: Value| daybook.post(path, &body).expect(201);
    let id = |value: &Value| value["id"].as_str().expect("an id").to_owned();
    let (sensor, channel) = (kitchen.text("id"), kitchen.text("channel_id"));
    let rule = made(
        &format!("/v1/channels/{channel}/rules"),
        json!({"kind": "delta", "max_delta": 9.0, "interval_s": 900}),
    );
    let silence = made(
        &format!("/v1/sensors/{sensor}/silence"),
        json!({"to": kitchen_time(3_600), "reason": "set up"}),
    );
    let contact = made(
        "/v1/contacts",
        json!({"kind": "email", "name": "Kim", "address": format!("kim-{}@example.eu", silence["position"])}),
    );
    let webhook = made(
        "/v1/webhooks",
        json!({"name": "hook", "url": format!("https://127.0.0.1:9/{}", silence["position"])}),
    );
    let alarms = daybook.get("/v1/events").expect(200);
    Things {
        site: kitchen.site.clone(),
        channel,
        sensor,
        alarm: id(&alarms["data"][0]),
        rule: id(&rule),
        silence: id(&silence),
        contact: id(&contact),
        webhook: id(&webhook),
        measured: measured.to_owned(),
    }
}

/// A token of a person with that role.
fn token_of(daybook: &Daybook, role: &str) -> String {
    let email = format!("{role}@example.eu");
    daybook
        .post("/v1/users", &json!({"email": email, "role": role}))
        .expect(201);
    let (cookie, _) = use_link(daybook, &email);
    let csrf = csrf_of(daybook, &cookie);
    let own = daybook
        .call("POST", "/v1/tokens")
        .header("Cookie", &cookie)
        .header("X-CSRF-Token", &csrf)
        .json(&json!({}))
        .send()
        .expect(201);
    own["token"].as_str().expect("shown once").to_owned()
}

/// Write routes of what this table is about, as the API's document has them.
fn documented(daybook: &Daybook) -> BTreeSet<(String, String)> {
    let document = daybook.get("/openapi.json").expect(200);
    let about = [
        "/v1/events",
        "/v1/silences",
        "/silence",
        "/recompute",
        "/rules",
        "/v1/contacts",
        "/v1/webhooks",
        "/notifications",
        "/calibrations",
        "/annotations",
    ];
    let mut routes = BTreeSet::new();
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        for verb in verbs.as_object().expect("verbs").keys() {
            if verb != "get" && about.iter().any(|part| path.contains(part)) {
                routes.insert((verb.to_uppercase(), path.clone()));
            }
        }
    }
    routes
}

#[test]
fn each_role_may_what_it_may_and_nothing_else_on_every_write_route() {
    let kitchen = Kitchen::new();
    let daybook = &kitchen.daybook;
    kitchen.send_all(0..=40, 9.0);
    kitchen.until("", |events| events.len() == 1);
    let measured = kitchen.began.plus_micros(-30 * 60_000_000).to_string();
    let mut tried = BTreeSet::new();
    for role in ALL {
        let token = token_of(daybook, role);
        let things = things(&kitchen, &measured);
        for (method, path, of, who, body) in rows(&things) {
            tried.insert((method.to_owned(), path.to_owned()));
            let asked = path.replace("{id}", things.id(of));
            let answer = daybook.call(method, &asked).token(&token).json(&body).send();
            if who.contains(&role) {
                // No mail server is set up here, and whoever may sign is told that.
                let no_mail = path.ends_with("/sign") && answer.status == 409;
                assert!(
                    no_mail || (200..300).contains(&answer.status),
                    "{role} {method} {path}: {} {}",
                    answer.status,
                    answer.text()
                );
            } else {
                assert_eq!(answer.refused(403), "forbidden", "{role} {method} {path}");
            }
        }
    }
    assert_eq!(
        tried,
        documented(daybook),
        "a write route that no role was tried on"
    );
}
