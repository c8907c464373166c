//! A person walks through the console in a real browser: signs in by the printed link, adds a device, watches its
//! first reading refused and then land, looks at its channel, and sees the ledger without signing in.
//!
//! At desktop and at phone width: nothing on the console, nothing asked of anybody else, nothing wider than the window.
//! `DAYBOOK_SCREENSHOTS` names a folder for pictures of each step; `DAYBOOK_LOOK_AT` the address of a service that is
//! already running (such as the demo), of which pictures are then taken too.
//! Not here: what each page says in each state (`api::pages` has tests of its own).

use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::chromium::{self, Chromium};
use tests::daybook::Daybook;

/// Width, height, and what it is called.
const WINDOWS: &[(u32, u32, &str)] = &[(1280, 800, "desktop"), (390, 844, "phone")];
/// The owner that a first start makes.
const OWNER: &str = "owner@localhost";
/// What the console's box says of the first reading.
const BOX: &str = "#first-reading";

/// The browser, unless there is none and none can be installed: said loudly, and a failure in CI.
pub fn browser(own: &str) -> Option<Chromium> {
    match chromium::program() {
        Ok(program) => Some(Chromium::start(&program, own)),
        Err(why) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}

#[test]
fn a_person_signs_in_adds_a_device_and_sees_its_first_reading_land() {
    let daybook = Daybook::with().set("log", "warn").start();
    let Some(mut browser) = browser(daybook.url()) else {
        return;
    };
    for (width, height, window) in WINDOWS {
        browser.resize(*width, *height);
        let mut walk = Walk {
            daybook: &daybook,
            browser: &mut browser,
            window,
        };
        walk.sign_in();
        let name = format!("Walk-in fridge {window}");
        walk.add_device(&name);
        walk.first_reading();
        walk.channel(&name);
        walk.evidence();
        walk.overview(&name);
        walk.ledger();
    }
}

#[test]
fn pictures_of_a_running_service_are_taken_where_they_are_asked_for() {
    let (Ok(link), Some(_)) = (
        std::env::var("DAYBOOK_LOOK_AT"),
        std::env::var_os("DAYBOOK_SCREENSHOTS"),
    ) else {
        return;
    };
    let own = link.split("/sign-in").next().unwrap_or(&link).to_owned();
    let Some(mut browser) = browser(&own) else { return };
    browser.open(&link);
    if link.contains("/sign-in") {
        browser.follow("button.primary");
    }
    for (width, height, window) in WINDOWS {
        browser.resize(*width, *height);
        browser.open(&format!("{own}/app"));
        browser.picture(&format!("demo-overview-{window}"));
        browser.follow("a[href^='/app/devices/dev_']");
        browser.picture(&format!("demo-device-{window}"));
        browser.follow("a[href^='/app/channels/']");
        browser.picture(&format!("demo-channel-{window}"));
        for (name, path) in [
            ("ledger", "/ledger"),
            ("check", "/ledger/verify"),
            ("evidence", "/app/evidence"),
            ("contacts", "/app/contacts"),
            ("outbound", "/app/outbound"),
            ("alarms", "/app/alarms"),
        ] {
            browser.open(&format!("{own}{path}"));
            browser.picture(&format!("demo-{name}-{window}"));
        }
        browser.follow("a[href^='/app/alarms/alm_']");
        browser.picture(&format!("demo-alarm-{window}"));
    }
}

/// A person at a window.
pub struct Walk<'a> {
    /// What is walked through.
    pub daybook: &'a Daybook,
    /// The window's browser.
    pub browser: &'a mut Chromium,
    /// The window's name, for pictures.
    pub window: &'a str,
}

impl Walk<'_> {
    /// A page as it should be, whatever it shows.
    pub fn look(&mut self, page: &str) {
        self.browser.picture(&format!("{page}-{}", self.window));
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{page} ({}): {complaints:#?}", self.window);
        assert!(
            !self.browser.overflows(),
            "{page} is wider than the {}",
            self.window
        );
    }

    /// By the link that the command line prints.
    pub fn sign_in(&mut self) {
        self.browser.open(&format!("{}/app", self.daybook.url()));
        assert!(self.browser.url().contains("/sign-in"), "{}", self.browser.url());
        self.look("sign-in");
        let (code, out, err) = self.daybook.cli(&["sign-in", OWNER]);
        assert_eq!(code, 0, "{err}");
        let link = out.split_whitespace().find(|word| word.starts_with("http"));
        self.browser
            .open(link.unwrap_or_else(|| panic!("no link in {out:?}")));
        self.look("sign-in-link");
        self.browser.follow("button.primary");
        assert_eq!(self.browser.url(), format!("{}/app", self.daybook.url()));
        self.look("overview-before");
    }

    fn add_device(&mut self, name: &str) {
        self.browser.follow("a[href^='/app/devices/new']");
        self.browser.fill("[name=name]", name);
        self.browser.click("input[name=model][value=http] + span");
        let first_site = self
            .browser
            .evaluate("!!document.querySelector('[name=site_name]')")
            == true;
        if first_site {
            self.browser.fill("[name=site_name]", "Kitchen");
            let zone = self
                .browser
                .evaluate("document.querySelector('[name=timezone]').value");
            assert_eq!(zone, "Europe/Prague", "the browser's own time zone is filled in");
        }
        self.look("add-device");
        self.browser.follow("form[action='/app/devices'] button.primary");
        self.browser
            .wait("the box", &format!("!!document.querySelector('{BOX} .waiting')"));
        self.look("onboarding-waiting");
    }

    /// As the page says: with the token that it shows; refused first, taken then, and the page sees both.
    fn first_reading(&mut self) {
        let token = self.browser.text("#token");
        assert!(token.starts_with("ds_live_"), "{token}");
        let too_hot = json!({"measurements": [{"type": "temperature", "value": 99_999}]});
        let refused = self.ingest(&token, &too_hot);
        assert_eq!(refused.0, 422, "{}", refused.1);
        self.browser.wait(
            "the refusal to be shown",
            &format!("!!document.querySelector('{BOX} .refused')"),
        );
        let shown = self.browser.text(BOX);
        assert!(
            shown.contains("out_of_range") || shown.contains("99999"),
            "{shown}"
        );
        self.look("onboarding-refused");
        let taken = self.ingest(
            &token,
            &json!({"measurements": [{"type": "temperature", "value": 4.2}]}),
        );
        assert_eq!(taken.0, 200, "{}", taken.1);
        self.browser.wait(
            "the box to turn green",
            &format!("!!document.querySelector('{BOX} .landed')"),
        );
        let shown = self.browser.text(BOX);
        assert!(shown.contains("4.2"), "{shown}");
        self.look("onboarding-landed");
        self.history(&token);
    }

    /// Two hours of readings, so that there is something to draw.
    fn history(&self, token: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now_us = i64::try_from(now.as_micros()).expect("a clock of this age");
        let reports: Vec<_> = (1..60i64)
            .map(|n| {
                let at = domain::Timestamp::from_micros(now_us - n * 120_000_000).expect("a time");
                let value = 4.0 + ((n * 37) % 11) as f64 / 10.0;
                json!({"ts": at.to_string(), "measurements": [{"type": "temperature", "value": value}]})
            })
            .collect();
        let taken = self.ingest(token, &json!(reports));
        assert_eq!(taken.0, 200, "{}", taken.1);
    }

    fn ingest(&self, token: &str, body: &serde_json::Value) -> (u16, String) {
        let reply = self
            .daybook
            .call("POST", "/v1/ingest")
            .token(token)
            .json(body)
            .send();
        (reply.status, reply.text())
    }

    fn channel(&mut self, name: &str) {
        self.browser.follow(&format!("{BOX} a[href^='/app/devices/']"));
        let shown = self.browser.text("body");
        assert!(shown.contains(name), "{shown}");
        self.look("device");
        self.browser.follow("main a[href^='/app/channels/']");
        self.browser.wait(
            "a chart with a line",
            "[...document.querySelectorAll('figure svg path')].some(p => p.getBoundingClientRect().width > 10)",
        );
        let seen = self.browser.evaluate(
            "[...document.querySelectorAll('figure svg')].filter(s => s.getBoundingClientRect().width > 200).length",
        );
        assert_eq!(seen, 1, "one drawing for this width");
        let shown = self.browser.text("main");
        assert!(
            !shown
                .to_lowercase()
                .split(|c: char| !c.is_alphabetic())
                .any(|word| word == "ok"),
            "{shown}"
        );
        self.look("channel");
    }

    fn overview(&mut self, name: &str) {
        self.browser.open(&format!("{}/app", self.daybook.url()));
        let shown = self.browser.text("main");
        assert!(shown.contains(name) && shown.contains("Kitchen"), "{shown}");
        self.look("overview");
    }

    /// A pack is asked for, and its download appears without anybody doing anything.
    fn evidence(&mut self) {
        self.browser.follow("main a[href^='/app/evidence?channel=']");
        self.look("evidence");
        let count = "document.querySelectorAll('#packs article a[download]').length";
        let before = self.browser.evaluate(count).as_u64().expect("a number");
        self.browser
            .follow("form[action='/app/evidence'] button[type='submit']");
        self.browser.evaluate("window.stays = true");
        self.browser
            .wait("the pack's download", &format!("{count} > {before}"));
        assert_eq!(
            self.browser.evaluate("window.stays === true"),
            true,
            "the page was loaded again"
        );
        self.look("evidence-ready");
    }

    /// Public, and true: its root is that of a tree which the checkpoint's tree extends or equals.
    fn ledger(&mut self) {
        self.browser.forget();
        self.browser.open(&format!("{}/ledger", self.daybook.url()));
        let shown = self.browser.text("main");
        let (_, key, _) = self.daybook.cli(&["key", "show"]);
        let key = key
            .split_whitespace()
            .find(|word| word.contains('+') && !word.contains("/receipt+"))
            .expect("a verifier key");
        let together: String = shown.split_whitespace().collect();
        assert!(
            together.contains(key),
            "the page shows another key than `key show`:\n{shown}"
        );
        self.look("ledger");
        self.browser.open(&format!("{}/app", self.daybook.url()));
        assert!(self.browser.url().contains("/sign-in"), "signed out");
    }
}

/// A kitchen whose fridge warms: its rule has no grace, so one reading is an alarm.
#[test]
fn an_alarm_appears_by_itself_is_acknowledged_on_a_phone_and_a_rule_is_drafted_tried_and_activated() {
    let daybook = Daybook::with()
        .set("log", "warn")
        .set("rate_per_minute", 0)
        .start();
    let Some(mut browser) = browser(daybook.url()) else {
        return;
    };
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.0).expect(200);
    daybook.until_projected();
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let text = |member: &str| sensors["data"][0][member].as_str().expect("a text").to_owned();
    let (channel, sensor) = (text("channel_id"), text("id"));
    let limits = json!({"ok_min": 2, "ok_max": 5, "grace_min": 0});
    daybook
        .patch(&format!("/v1/sensors/{sensor}"), &limits)
        .expect(200);
    browser.resize(1280, 800);
    let mut walk = Walk {
        daybook: &daybook,
        browser: &mut browser,
        window: "desktop",
    };
    walk.sign_in();
    walk.alarm(&token);
    walk.silence(&channel);
    walk.rule(&channel);
    walk.every_look(&channel);
}

impl Walk<'_> {
    /// The list is open while a reading comes: the alarm is in it without anybody loading the page again.
    fn alarm(&mut self, token: &str) {
        self.browser.open(&format!("{}/app/alarms", self.daybook.url()));
        let shown = self.browser.text("main");
        assert!(
            shown.contains("No alarm is open") && shown.contains("within what its rules allow"),
            "{shown}"
        );
        self.look("alarms-none");
        self.browser.evaluate("window.stays = true");
        self.daybook.send(token, "hut01", None, 9.5).expect(200);
        self.browser
            .wait("the alarm", "!!document.querySelector('main .alarm.st-alarm')");
        assert_eq!(
            self.browser.evaluate("window.stays === true"),
            true,
            "the page was loaded again"
        );
        self.browser.wait(
            "the count",
            "document.title.startsWith('(1) ') && !!document.querySelector('#nav-alarms .pill.bad')",
        );
        self.look("alarms-open");
        self.browser.follow("main .alarm h3 a");
        self.look("alarm-open");
        self.browser.resize(390, 844);
        self.window = "phone";
        // It goes on warming: whoever looks sees how warm it is now, not how warm it was when it became an alarm.
        self.daybook.send(token, "hut01", None, 11.5).expect(200);
        self.browser.open(&format!("{}/app/alarms", self.daybook.url()));
        let shown = self.browser.text("main .alarm-value");
        assert!(shown.contains("11.5"), "{shown}");
        self.look("alarms-open");
        self.browser.follow("main .alarm h3 a");
        let seen = self
            .browser
            .evaluate("(r => r.bottom <= innerHeight && r.height >= 44)(document.querySelector('#ack > summary').getBoundingClientRect())");
        assert_eq!(seen, true, "a thumb finds it without scrolling");
        self.look("alarm-open");
        self.browser.click("#ack > summary");
        self.browser.click("#ack input[value=door_open]");
        self.browser.fill("#ack-words", "Delivery, the door stood open");
        self.browser.fill("#ack-action", "Door closed");
        self.look("alarm-ack");
        self.browser.follow("#ack form button");
        let shown = self.browser.text(".alarm-steps");
        for said in [
            "Acknowledged",
            "Door or lid was open",
            "Delivery, the door stood open",
            "Door closed",
        ] {
            assert!(shown.contains(said), "{said} is not in {shown}");
        }
        self.look("alarm-seen");
        self.browser.fill("#comment-words", "Thermometer checked");
        self.browser.follow("form.comment button");
        assert!(self.browser.text(".alarm-steps").contains("Thermometer checked"));
        let shown = self.browser.text("main");
        assert!(shown.contains("daybook replay --rules --alarm alm_"), "{shown}");
        self.look("alarm-commented");
        self.browser.open(&format!("{}/app", self.daybook.url()));
        let shown = self.browser.text("main");
        assert!(shown.contains("alarm, seen"), "{shown}");
        self.look("overview-alarm");
    }

    fn silence(&mut self, channel: &str) {
        self.browser
            .open(&format!("{}/app/channels/{channel}", self.daybook.url()));
        self.look("channel-alarm");
        self.browser
            .click("section[aria-labelledby=silences-h] details.panel > summary");
        self.browser.fill("#silence-reason", "Defrosting");
        self.look("channel-silence");
        self.browser.follow("form[action$='/silences'] button.primary");
        let shown = self.browser.text("main");
        assert!(
            shown.contains("Defrosting") && shown.contains("silenced"),
            "{shown}"
        );
        self.look("channel-silenced");
        self.browser.follow("form[action$='/end'] button");
        let shown = self.browser.text("main");
        assert!(shown.contains("This channel is not silenced"), "{shown}");
    }

    /// Drafted, tried while it is typed, and in force.
    fn rule(&mut self, channel: &str) {
        self.browser.resize(1280, 800);
        self.window = "desktop";
        self.browser.open(&format!(
            "{}/app/channels/{channel}/rules/new",
            self.daybook.url()
        ));
        self.look("rule-new");
        self.browser.fill("#r-name", "Never above eight");
        self.browser.fill("#r-ok_max", "8");
        self.browser.wait(
            "the draft to be tried by itself",
            "(document.querySelector('#tried-h') || {innerText: ''}).innerText.includes('1\u{a0}alarm')",
        );
        self.look("rule-tried");
        self.browser.follow("form.rule-form button[value=activate]");
        let shown = self.browser.text("main");
        assert!(
            shown.contains("In force") && shown.contains("Never above eight"),
            "{shown}"
        );
        self.browser.fill("#r-grace_min", "10");
        self.browser.fill("#r-reason", "The door is opened often");
        self.browser.follow("form.rule-form button[value=activate]");
        let shown = self.browser.text("section[aria-labelledby=versions-h]");
        assert!(
            shown.contains("Version 2")
                && shown.contains("grace")
                && shown.contains("The door is opened often"),
            "{shown}"
        );
        self.look("rule-changed");
    }

    fn every_look(&mut self, channel: &str) {
        let rules = format!("/app/channels/{channel}/rules/new?kind=comparison");
        for (width, height, window) in WINDOWS {
            self.browser.resize(*width, *height);
            self.window = window;
            for (path, name) in [
                ("/app", "after-overview"),
                ("/app/alarms?show=all", "after-alarms"),
                (rules.as_str(), "after-comparison"),
                (&format!("/app/channels/{channel}"), "after-channel"),
            ] {
                self.browser.open(&format!("{}{path}", self.daybook.url()));
                self.look(name);
            }
        }
        self.browser.click(".nav-more > summary");
        self.browser.follow(".nav-more a[href='/ledger']");
        assert!(
            self.browser.url().ends_with("/ledger"),
            "the ledger is in reach of a thumb"
        );
    }
}
