//! The console over HTTP, without a browser: who is let in, what forms need, that accounts are walls on pages too,
//! and the first minute of a device.
//!
//! Not here: how pages look (`api::pages`), a person walking through them (`browser`).

use serde_json::json;
use tests::daybook::{Daybook, Reply};

const OWNER: &str = "owner@localhost";
/// Pages that take no id.
const PAGES: &[&str] = &[
    "/app",
    "/app/sites/new",
    "/app/devices/new",
    "/app/alarms",
    "/app/alarms?show=all",
    "/app/tray",
    "/app/integrations",
    "/app/contacts",
    "/app/outbound",
    "/app/evidence",
    "/app/users",
    "/app/tokens",
    "/app/account",
];

/// A signed-in browser without the browser.
pub struct Person<'a> {
    daybook: &'a Daybook,
    cookie: String,
    csrf: String,
}

impl<'a> Person<'a> {
    /// By the link that the command line prints.
    pub fn sign_in(daybook: &'a Daybook, email: &str) -> Self {
        let (code, link, said) = daybook.cli(&["sign-in", email]);
        assert_eq!(code, 0, "{said}");
        let token = link.trim().split_once("token=").expect("a link").1.to_owned();
        let used = form(daybook, "/sign-in/confirm", "", &[("token", &token)]);
        assert_eq!(used.status, 303, "{}", used.text());
        let cookie = used.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let mut person = Self {
            daybook,
            cookie,
            csrf: String::new(),
        };
        let page = person.get("/app").text();
        person.csrf = between(&page, "name=\"csrf\" value=\"", "\"").to_owned();
        assert!(!person.csrf.is_empty());
        person
    }

    /// A page.
    pub fn get(&self, path: &str) -> Reply {
        self.daybook
            .call("GET", path)
            .header("Cookie", &self.cookie)
            .header("Accept", "text/html")
            .send()
    }

    /// A form with the session's token.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mut fields = fields.to_vec();
        fields.push(("csrf", &self.csrf));
        form(self.daybook, path, &self.cookie, &fields)
    }
}

impl Person<'_> {
    /// A form with another session's token.
    pub fn forged(&self, path: &str) -> Reply {
        form(self.daybook, path, &self.cookie, &[("csrf", "from-elsewhere")])
    }
}

fn form(daybook: &Daybook, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Reply {
    let encoded = |text: &str| -> String {
        let byte = |b: u8| {
            if b.is_ascii_alphanumeric() {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        };
        text.bytes().map(byte).collect()
    };
    let body: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    daybook
        .call("POST", path)
        .header("Cookie", cookie)
        .header("Accept", "text/html")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .bytes(body.join("&"))
        .send()
}

/// What stands between two texts; empty where they do not.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .map_or("", |(found, _)| found)
}

#[test]
fn whoever_is_not_signed_in_is_sent_to_sign_in() {
    let daybook = Daybook::start();
    let (site, device, _) = daybook.device("hut01");
    let with_ids = [
        format!("/app/sites/{site}"),
        format!("/app/devices/{device}"),
        "/app/entries/0".to_owned(),
    ];
    for path in PAGES.iter().copied().chain(with_ids.iter().map(String::as_str)) {
        let answer = daybook.call("GET", path).header("Accept", "text/html").send();
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some("/sign-in")),
            "{path}"
        );
    }
    let refused = form(&daybook, "/app/sites", "", &[("name", "x")]);
    assert_eq!(refused.header("location"), Some("/sign-in"));
    for path in [
        "/ledger",
        "/sign-in",
        "/assets/app.css",
        "/assets/app.js",
        "/assets/icon.svg",
    ] {
        assert_eq!(daybook.call("GET", path).send().status, 200, "{path}");
    }
    let ledger = daybook.call("GET", "/ledger").send().text();
    assert!(
        !ledger.contains("hut01") && !ledger.contains(OWNER),
        "the public page names nobody's things"
    );
}

#[test]
fn every_page_forbids_scripts_from_elsewhere_and_is_kept_by_nobody() {
    let daybook = Daybook::start();
    let owner = Person::sign_in(&daybook, OWNER);
    for path in PAGES
        .iter()
        .copied()
        .chain(["/ledger", "/app/nothing/here", "/nowhere"])
    {
        let answer = owner.get(path);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8"),
            "{path}"
        );
        assert!(answer.text().contains("<h1"), "{path}");
    }
    assert_eq!(owner.get("/app/nothing/here").status, 404);
}

#[test]
fn the_first_minute_of_a_device_shows_token_refusal_and_reading() {
    let daybook = Daybook::start();
    let owner = Person::sign_in(&daybook, OWNER);
    assert!(owner.get("/app").text().contains("Add your first device"));
    let made = owner.post(
        "/app/devices",
        &[
            ("name", "Walk-in fridge"),
            ("model", "http"),
            ("site_name", "Bistro"),
            ("vertical", "haccp"),
            ("timezone", "Europe/Bratislava"),
        ],
    );
    assert_eq!(made.status, 200, "{}", made.text());
    let page = made.text();
    let token = between(&page, "<code id=\"token\">", "<").to_owned();
    assert!(token.starts_with("ds_live_"), "{token}");
    assert!(page.contains(&format!("{}/v1/ingest/shelly?token={token}", daybook.url())));
    let status = between(&page, "data-live=\"", "\"").to_owned();
    assert!(status.ends_with("/onboarding-status"), "{status}");
    assert!(
        owner
            .get(&status)
            .text()
            .contains("Waiting for the first reading")
    );
    let again = owner.get(&status.replace("-status", ""));
    assert!(!again.text().contains(&token), "a token is shown once");

    let send = |kind: &str| {
        daybook
            .call("POST", "/v1/ingest")
            .token(&token)
            .json(&json!({"device": "walk-in-fridge", "measurements": [{"type": kind, "value": 4.2}]}))
            .send()
    };
    assert_eq!(send("warmth").refused(422), "unknown_kind");
    let refused = owner.get(&status).text();
    assert!(
        refused.contains("It was refused") && refused.contains("unknown_kind"),
        "{refused}"
    );
    let end = send("temperature").expect(200)["size"].as_u64().expect("a size");
    daybook.until_signed(end);
    let landed = owner.get(&status).text();
    assert!(
        landed.contains("The first reading landed") && landed.contains("4.2"),
        "{landed}"
    );
    assert!(!landed.contains("data-every"), "nothing is left to wait for");

    let overview = owner.get("/app").text();
    assert!(overview.contains("inside limits"), "a kitchen's preset");
    let channel = between(&overview, "href=\"/app/channels/", "\"").to_owned();
    for range in [
        "",
        "?range=7d",
        "?from=2026-01-01T00:00&to=2026-01-02T00:00",
        "?from=x&to=y",
    ] {
        let page = owner.get(&format!("/app/channels/{channel}{range}"));
        assert_eq!(page.status, 200, "{range}");
        assert!(page.text().contains("<svg"), "{range}");
    }
    let entry = owner.get(&format!("/app/entries/{}", end - 1)).text();
    assert!(
        entry.contains("ReadingRecorded") && entry.contains("Inclusion proof"),
        "{entry}"
    );
}

#[test]
fn a_form_without_the_sessions_token_changes_nothing() {
    let daybook = Daybook::start();
    let (site, device, _) = daybook.device("hut01");
    let owner = Person::sign_in(&daybook, OWNER);
    let forms = [
        (
            "/app/sites".to_owned(),
            vec![("name", "x"), ("vertical", "haccp"), ("timezone", "UTC")],
        ),
        (format!("/app/sites/{site}"), vec![("name", "x")]),
        (format!("/app/devices/{device}/remove"), vec![]),
        (format!("/app/devices/{device}/rotate-token"), vec![]),
        (
            "/app/users".to_owned(),
            vec![("email", "a@example.eu"), ("role", "owner")],
        ),
        ("/app/tokens".to_owned(), vec![]),
        ("/app/account".to_owned(), vec![("name", "x")]),
        ("/app/sign-out".to_owned(), vec![]),
    ];
    let before = daybook.size();
    for (path, fields) in &forms {
        for forged in ["", "guessed"] {
            let mut fields = fields.clone();
            fields.push(("csrf", forged));
            let answer = form(&daybook, path, &owner.cookie, &fields);
            assert_eq!(answer.status, 403, "{path}: {}", answer.text());
        }
    }
    assert_eq!(daybook.size(), before);
    assert_eq!(owner.get("/app").status, 200, "still signed in");
}

#[test]
fn a_form_sent_twice_changes_once() {
    let daybook = Daybook::start();
    let owner = Person::sign_in(&daybook, OWNER);
    let fields = [
        ("name", "Fridge"),
        ("model", "http"),
        ("site_name", "Bistro"),
        ("vertical", "haccp"),
        ("timezone", "UTC"),
        ("idempotency_key", "one-click"),
    ];
    let first = owner.post("/app/devices", &fields);
    assert_eq!(first.status, 200, "{}", first.text());
    let size = daybook.size();
    let second = owner.post("/app/devices", &fields);
    assert_eq!(second.status, 200, "{}", second.text());
    assert_eq!(daybook.size(), size);
    assert!(
        !second.text().contains("<code id=\"token\">"),
        "the token was in the first answer"
    );
}

#[test]
fn what_cannot_be_done_is_said_where_it_was_typed() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let sensor = sensors["data"][0]["id"].as_str().expect("an id").to_owned();
    let owner = Person::sign_in(&daybook, OWNER);
    let path = format!("/app/sensors/{sensor}");
    let limits = |min: &str, max: &str, tag: &str| {
        owner.post(
            &path,
            &[
                ("device", &device),
                ("ok_min", min),
                ("ok_max", max),
                ("if_match", tag),
            ],
        )
    };
    let reversed = limits("8", "2", "");
    assert_eq!(reversed.status, 422);
    assert!(
        reversed.text().contains("class=\"notice bad\""),
        "{}",
        reversed.text()
    );
    assert_eq!(limits("warm", "", "").status, 422);
    assert_eq!(limits("2", "5", "").status, 303);
    assert_eq!(limits("2", "6", "1").status, 412, "somebody changed it meanwhile");
    let now = daybook.get(&format!("/v1/sensors/{sensor}")).expect(200);
    assert_eq!(
        (now["ok_min"].as_f64(), now["ok_max"].as_f64()),
        (Some(2.0), Some(5.0))
    );
    let nameless = owner.post(
        "/app/devices",
        &[
            ("name", ""),
            ("model", "http"),
            ("site_name", "x"),
            ("vertical", "haccp"),
            ("timezone", "UTC"),
        ],
    );
    assert_eq!(nameless.status, 422, "{}", nameless.text());
    assert!(nameless.text().contains("Add a"), "the form is back");
}

#[test]
fn a_sites_opening_hours_are_set_and_taken_away_on_its_page() {
    let daybook = Daybook::start();
    let (site, _, _) = daybook.device("hut01");
    let owner = Person::sign_in(&daybook, OWNER);
    let path = format!("/app/sites/{site}");
    let send = |more: &[(&'static str, &'static str)]| {
        let mut fields = vec![("name", "Kitchen"), ("vertical", "haccp"), ("timezone", "UTC")];
        fields.extend(more);
        owner.post(&path, &fields)
    };
    let hours = || daybook.get(&format!("/v1/sites/{site}")).expect(200)["opening_hours"].clone();
    let round_the_clock = [
        ("open0-days", "1"),
        ("open0-days", "2"),
        ("open0-days", "3"),
        ("open0-from", "08:00"),
        ("open0-to", "18:00"),
        ("open1-days", "7"),
        ("open1-from", "20:00"),
        ("open1-to", "02:00"),
    ];
    assert_eq!(send(&round_the_clock).status, 303);
    assert_eq!(
        hours(),
        json!([
            {"days": [1, 2, 3], "from": "08:00", "to": "18:00"},
            {"days": [7], "from": "20:00", "to": "02:00"},
        ])
    );
    let page = owner.get(&path).text();
    assert!(page.contains("Mon–Wed 08:00–18:00, Sun 20:00–02:00"), "{page}");
    // What cannot be is said where it was typed, and what was typed is there.
    let refused = send(&[("open0-days", "4"), ("open0-from", "08:00"), ("open0-to", "")]);
    assert_eq!(refused.status, 422);
    let again = refused.text();
    assert!(again.contains("say from when until when"), "{again}");
    let ticked = "name=\"open0-days\" value=\"4\" checked";
    assert!(again.contains(ticked), "{again}");
    assert_eq!(hours()[0]["days"], json!([1, 2, 3]));
    assert_eq!(
        send(&[("open0-from", "08:00"), ("open0-to", "18:00")]).status,
        303
    );
    assert_eq!(hours(), json!([]));
}

#[test]
fn another_accounts_ids_are_not_there_on_any_page() {
    let daybook = Daybook::start();
    let (site, device, token) = daybook.device("hut01");
    let end = daybook.send(&token, "hut01", None, 4.2).expect(200)["size"]
        .as_u64()
        .expect("a size");
    daybook.until_signed(end);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let text = |name: &str| sensors["data"][0][name].as_str().expect("an id").to_owned();
    let (sensor, channel) = (text("id"), text("channel_id"));
    let owner = daybook.get("/v1/account").expect(200)["you"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let theirs = daybook.get("/v1/tokens").expect(200)["data"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (code, _, said) = daybook.cli(&["account", "open", "Next door", "next@example.eu"]);
    assert_eq!(code, 0, "{said}");
    let stranger = Person::sign_in(&daybook, "next@example.eu");
    for path in [
        format!("/app/sites/{site}"),
        format!("/app/devices/{device}"),
        format!("/app/devices/{device}/onboarding"),
        format!("/app/devices/{device}/onboarding-status"),
        format!("/app/channels/{channel}"),
    ] {
        let answer = stranger.get(&path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("hut01"), "{path}");
    }
    let before = daybook.size();
    for (path, fields) in [
        (
            format!("/app/sites/{site}"),
            vec![("name", "mine"), ("vertical", "haccp"), ("timezone", "UTC")],
        ),
        (
            format!("/app/devices/{device}"),
            vec![("name", "mine"), ("local_id", "x")],
        ),
        (
            format!("/app/devices/{device}/move"),
            vec![("to_site_id", site.as_str())],
        ),
        (format!("/app/devices/{device}/remove"), vec![]),
        (format!("/app/devices/{device}/rotate-token"), vec![]),
        (
            format!("/app/sensors/{sensor}"),
            vec![("device", device.as_str()), ("ok_max", "99")],
        ),
        (format!("/app/users/{owner}/remove"), vec![]),
        (format!("/app/tokens/{theirs}/revoke"), vec![]),
        (
            "/app/devices".to_owned(),
            vec![("name", "x"), ("model", "http"), ("site_id", site.as_str())],
        ),
    ] {
        let answer = stranger.post(&path, &fields);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    assert_eq!(daybook.size(), before, "nothing was changed by trying");
    let entry = stranger.get(&format!("/app/entries/{}", end - 1)).text();
    assert!(
        entry.contains("not shown") && !entry.contains("temperature"),
        "{entry}"
    );
    for path in PAGES {
        assert!(!stranger.get(path).text().contains("hut01"), "{path}");
    }
}

#[test]
fn an_auditor_looks_at_everything_and_changes_nothing() {
    let daybook = Daybook::start();
    let (site, device, _) = daybook.device("hut01");
    let invite = json!({"email": "aud@example.eu", "role": "auditor"});
    daybook.post("/v1/users", &invite).expect(201);
    let auditor = Person::sign_in(&daybook, "aud@example.eu");
    for path in [
        format!("/app/sites/{site}"),
        format!("/app/devices/{device}"),
        "/app/users".to_owned(),
    ] {
        let answer = auditor.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        let page = answer.text();
        let posts = page.matches("method=\"post\"").count();
        assert_eq!(posts, 1, "{path} has no form but the one to sign out");
    }
    let chat = json!({"kind": "telegram", "name": "kitchen"});
    let chat = daybook.post("/v1/contacts", &chat).expect(201)["id"].clone();
    let chat = chat.as_str().expect("an id");
    let before = daybook.size();
    for (path, fields) in [
        (
            "/app/contacts".to_owned(),
            vec![("kind", "telegram"), ("name", "x")],
        ),
        (format!("/app/contacts/{chat}"), vec![("after_min", "5")]),
        (format!("/app/contacts/{chat}/test"), vec![]),
        (format!("/app/contacts/{chat}/confirm"), vec![]),
        (format!("/app/contacts/{chat}/rotate-secret"), vec![]),
        (format!("/app/contacts/{chat}/remove"), vec![]),
        ("/app/outbound/ntf_x/redeliver".to_owned(), vec![]),
        (
            "/app/sites".to_owned(),
            vec![("name", "x"), ("vertical", "haccp"), ("timezone", "UTC")],
        ),
        (format!("/app/devices/{device}/remove"), vec![]),
        (
            "/app/users".to_owned(),
            vec![("email", "b@example.eu"), ("role", "owner")],
        ),
        ("/app/account".to_owned(), vec![("name", "x")]),
    ] {
        assert_eq!(auditor.post(&path, &fields).status, 403, "{path}");
    }
    assert_eq!(daybook.size(), before);
    assert_eq!(
        auditor.post("/app/tokens", &[]).status,
        200,
        "a token of one's own is one's own"
    );
}

#[test]
fn a_pack_is_asked_for_on_its_page_and_fetched_from_there() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let owner = Person::sign_in(&daybook, OWNER);
    let page = owner.get(&format!("/app/devices/{device}")).text();
    assert!(page.contains(&format!("/app/evidence?device={device}")));
    let page = owner.get(&format!("/app/evidence?device={device}")).text();
    assert!(
        page.contains(&format!("value=\"device:{device}\" selected")),
        "{page}"
    );
    let fields = |to: &'static str| {
        [
            ("subject", format!("device:{device}")),
            ("from", "2026-01-01".to_owned()),
            ("to", to.to_owned()),
        ]
    };
    let ask = |to: &'static str| {
        let fields = fields(to);
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        owner.post("/app/evidence", &fields)
    };
    let refused = ask("2025-01-01");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("Not asked for"), "{}", refused.text());
    assert_eq!(ask("2999-01-01").status, 303);
    let ready = || {
        let page = owner.get("/app/evidence").text();
        let link = between(&page, "href=\"/v1/evidence/", "\"").to_owned();
        (!link.is_empty()).then_some((page, link))
    };
    let began = std::time::Instant::now();
    let (page, link) = loop {
        if let Some(found) = ready() {
            break found;
        }
        assert!(began.elapsed().as_secs() < 120, "it never was ready");
        std::thread::yield_now();
    };
    assert!(
        !page.contains("data-every"),
        "nobody looks at what does not change"
    );
    assert!(page.contains("was not closed when this was made"), "{page}");
    let file = owner.get(&format!("/v1/evidence/{link}"));
    assert_eq!(
        (file.status, file.header("content-type")),
        (200, Some("application/zip"))
    );
    let nobody = form(&daybook, "/app/evidence", &owner.cookie, &[("subject", "site:x")]);
    assert_eq!(nobody.status, 403, "without the session's token");
}
