//! Somebody says who is told, on a phone: a mailbox is added and confirmed by its mail's link, a test appears in the log
//! while it is open, a webhook that refused is sent to again; and what forms do with what they should not get.
//!
//! A real browser, a real mail server, a real receiver. Not here: what is told when (`api/tests/it/notify`).

use crate::browser::{Walk, browser};
use crate::console::Person;
use serde_json::json;
use std::path::Path;
use std::time::Instant;
use tests::PATIENCE;
use tests::certificates::Certificates;
use tests::daybook::{Daybook, Options};
use tests::receiver::{Answer, Receiver};
use tests::smtp::MailServer;

const OWNER: &str = "owner@localhost";

/// A service that mails by this server, and sends to this machine.
fn telling(mails: &MailServer) -> Options {
    let mail = format!(
        "{{host = \"127.0.0.1\", port = {}, tls = \"none\", from = \"Daybook <log@example.eu>\"}}",
        mails.port
    );
    Daybook::with()
        .set("log", "warn")
        .set("user_rate_per_minute", 0)
        .set("notify_private_targets", true)
        .set("notify_retry_s", 1)
        .set("mail", mail)
}

fn mail_server(scratch: &Path) -> MailServer {
    let certificates = Certificates::make(scratch, "good");
    MailServer::start(&scratch.join("mails"), "none", &certificates).expect("a mail server")
}

/// The link of that kind in the newest mail, once so many came.
fn link(mails: &MailServer, count: usize, kind: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let taken = mails.taken();
        if let Some(mail) = taken.last().filter(|_| taken.len() >= count) {
            let text = mail
                .message
                .replace("\r\n", "\n")
                .replace("=\n", "")
                .replace("=3D", "=");
            let at = text
                .find(&format!("/{kind}/"))
                .unwrap_or_else(|| panic!("no /{kind}/ in {text}"));
            let end = text[at..].find(|c: char| !(c.is_ascii_alphanumeric() || "/-_".contains(c)));
            return text[at..at + end.unwrap_or(text.len() - at)].to_owned();
        }
        assert!(Instant::now() < until, "{} mails of {count} came", taken.len());
        std::thread::yield_now();
    }
}

#[test]
fn a_mailbox_is_added_confirmed_and_tried_and_a_webhook_that_refused_is_sent_to_again_on_a_phone() {
    let scratch = tempfile::tempdir().expect("a directory");
    let mails = mail_server(scratch.path());
    let hook = Receiver::start(|_, _| Answer::status(410));
    let daybook = telling(&mails).start();
    let Some(mut browser) = browser(daybook.url()) else {
        return;
    };
    browser.resize(390, 844);
    let mut walk = Walk {
        daybook: &daybook,
        browser: &mut browser,
        window: "phone",
    };
    walk.sign_in();
    walk.mailbox(&mails);
    walk.test_in_the_log();
    walk.webhook(&hook);
    walk.order();
}

impl Walk<'_> {
    fn go(&mut self, path: &str) {
        self.browser.open(&format!("{}{path}", self.daybook.url()));
    }

    /// What was marked is still there: nobody loaded the page again.
    fn stayed(&mut self) {
        assert_eq!(
            self.browser.evaluate("window.stays === true"),
            true,
            "the page was loaded again"
        );
    }

    fn mailbox(&mut self, mails: &MailServer) {
        self.browser.click(".nav-more > summary");
        self.browser.follow(".nav-more a[href='/app/contacts']");
        let shown = self.browser.text("main");
        assert!(shown.contains("Nobody is told of alarms"), "{shown}");
        self.look("contacts-none");
        self.browser.click("#add > summary");
        self.browser.fill("[name=name]", "Kim, kitchen");
        self.browser.fill("#f-new-address", "kim@example.eu");
        self.look("contacts-add");
        self.browser.follow("form[action='/app/contacts'] button.primary");
        let shown = self.browser.text("main article");
        assert!(
            shown.contains("Kim, kitchen") && shown.contains("waits to be confirmed"),
            "{shown}"
        );
        self.look("contacts-pending");
        let link = link(mails, 1, "c");
        self.go(&link);
        self.look("contact-confirm");
        self.browser.follow("button.primary");
        assert!(self.browser.text("main").contains("Confirmed"));
        self.go("/app/contacts");
        assert!(self.browser.text("main article").contains("confirmed"));
        self.browser.follow("article form[action$='/test'] button");
        self.browser.evaluate("window.stays = true");
        self.browser.wait(
            "what came of the test",
            "(document.querySelector('.contact-last') || {innerText: ''}).innerText.includes('taken')",
        );
        self.stayed();
        let said = self.browser.text(".contact-last");
        assert!(said.contains("Test"), "{said}");
        self.look("contacts-tried");
    }

    /// The log is open while somebody else presses the button.
    fn test_in_the_log(&mut self) {
        self.browser.follow("main a[href='/app/outbound']");
        let taken = "[...document.querySelectorAll('.sent')].filter(row => row.innerText.includes('Test') && \
             row.innerText.includes('taken')).length";
        assert_eq!(self.browser.evaluate(taken), json!(1));
        self.look("outbound");
        self.browser.evaluate("window.stays = true");
        let contacts = self.daybook.get("/v1/contacts").expect(200);
        let id = contacts["data"][0]["id"].as_str().expect("an id");
        self.daybook
            .post(&format!("/v1/contacts/{id}/test"), &json!({}))
            .expect(202);
        self.browser.wait("the second test", &format!("{taken} === 2"));
        self.stayed();
        let shown = self.browser.text("section[aria-labelledby=ways-h]");
        assert!(shown.contains("E-mail") && shown.contains("works"), "{shown}");
    }

    fn webhook(&mut self, hook: &Receiver) {
        self.go("/app/contacts");
        self.browser.click("#add > summary");
        self.browser.click("#add input[value=webhook]");
        self.browser.fill("[name=name]", "Ticket system");
        self.browser.fill("#f-new-address", &format!("{}/hook", hook.url));
        self.look("contacts-add-webhook");
        self.browser.follow("form[action='/app/contacts'] button.primary");
        assert!(self.browser.text("#fresh-secret").starts_with("whsec_"));
        self.look("contacts-secret");
        self.browser.follow(".token-once p a");
        let shown = self
            .browser
            .evaluate("document.body.innerHTML.includes('whsec_')");
        assert_eq!(shown, false, "the secret is shown once");
        self.browser
            .follow("article:last-of-type form[action$='/test'] button");
        self.browser.wait(
            "the refusal",
            "[...document.querySelectorAll('.contact-last')].some(last => last.innerText.includes('failed'))",
        );
        self.look("contacts-refused");
        self.browser.follow("article:last-of-type .contact-last a");
        let shown = self.browser.text(".sent-list");
        assert!(shown.contains("410") && shown.contains("refused it"), "{shown}");
        hook.answer(|_, _| Answer::status(204));
        self.browser
            .follow(".sent.st-alarm form[action$='/redeliver'] button");
        self.browser.evaluate("window.stays = true");
        self.browser.wait(
            "the delivery",
            "[...document.querySelectorAll('.sent')].some(row => row.innerText.includes('taken') && \
             row.innerText.includes('204'))",
        );
        self.look("outbound-redelivered");
        let came = hook.until("/hook", 2);
        assert_eq!(came[0].header("webhook-id"), came[1].header("webhook-id"));
    }

    /// Somebody is told later than others, and the picture shows it; somebody is taken away.
    fn order(&mut self) {
        self.go("/app/contacts");
        self.browser.click("article .change > summary");
        self.browser.fill("article [name=after_min]", "10");
        self.look("contacts-change");
        self.browser.follow("article .change form button.primary");
        let label = self
            .browser
            .evaluate("document.querySelector('.ladder svg').getAttribute('aria-label')");
        assert!(
            label
                .as_str()
                .is_some_and(|label| label.contains("Kim, kitchen: after 10\u{a0}min")),
            "{label}"
        );
        for (width, window) in [(1280, "desktop"), (390, "phone")] {
            self.browser.resize(width, 844);
            self.window = window;
            self.go("/app/contacts");
            self.look("contacts-order");
            self.go("/app/outbound?type=NotificationSent");
            self.look("outbound-filtered");
        }
        self.go("/app/contacts");
        self.browser
            .click("article:last-of-type .confirm:last-of-type > summary");
        self.browser.follow("article:last-of-type .confirm[open] button");
        let shown = self.browser.text("main");
        assert!(shown.contains("1\u{a0}removed contact"), "{shown}");
    }
}

/// The log's page, once it says all of this.
fn until_it_says(person: &Person<'_>, path: &str, said: &[&str]) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let page = person.get(path).text();
        if said.iter().all(|words| page.contains(words)) {
            return page;
        }
        assert!(Instant::now() < until, "{said:?} is not in {page}");
        std::thread::yield_now();
    }
}

#[test]
fn what_waits_and_why_and_which_way_fails_stand_above_the_log() {
    let scratch = tempfile::tempdir().expect("a directory");
    let mails = mail_server(scratch.path());
    let hook = Receiver::start(|_, _| Answer::status(503));
    let daybook = telling(&mails).set("rate_per_minute", 0).start();
    let person = Person::sign_in(&daybook, OWNER);
    for (name, after_min) in [("Broken system", "0"), ("Late system", "30")] {
        let url = format!("{}/{after_min}", hook.url);
        let fields = [
            ("kind", "webhook"),
            ("name", name),
            ("address", &url),
            ("after_min", after_min),
        ];
        let made = person.post("/app/contacts", &fields);
        assert_eq!(made.status, 200, "{}", made.text());
    }
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.0).expect(200);
    daybook.until_projected();
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let sensor = sensors["data"][0]["id"].as_str().expect("an id");
    let limits = json!({"ok_min": 2, "ok_max": 5, "grace_min": 0});
    daybook
        .patch(&format!("/v1/sensors/{sensor}"), &limits)
        .expect(200);
    daybook.send(&token, "hut01", None, 9.5).expect(200);
    let page = until_it_says(
        &person,
        "/app/outbound",
        &[
            "failed, the last with 503",
            "Its turn comes then, if nobody has acknowledged",
            "</svg>failing</span>",
        ],
    );
    assert!(
        page.contains("Every attempt since") && page.contains("Late system"),
        "{page}"
    );
    assert!(hook.came("/30").is_empty(), "its turn has not come");
    let failed = "/app/outbound?what=alarm_opened&type=NotificationFailed";
    until_it_says(&person, failed, &["failed, tried again"]);
    let none = person
        .get("/app/outbound?what=alarm_opened&until=2020-01-01T00:00")
        .text();
    assert!(
        none.contains("Nothing of the last 90 days is as asked for"),
        "{none}"
    );
    let asked = |query: &str| daybook.get(&format!("/v1/outbound?{query}")).expect(200)["data"].clone();
    assert_ne!(asked("what=alarm_opened&since=2020-01-01"), json!([]));
    assert_eq!(asked("what=daily"), json!([]));
    assert_eq!(asked("until=2020-01-01"), json!([]));
    daybook.get("/v1/outbound?since=soon").refused(400);
    hook.answer(|_, _| Answer::status(204));
    until_it_says(&person, "/app/outbound", &["</svg>works</span>"]);
}

#[test]
fn what_forms_of_contacts_and_the_log_should_not_get_is_refused_in_words() {
    let scratch = tempfile::tempdir().expect("a directory");
    let mails = mail_server(scratch.path());
    let daybook = telling(&mails).start();
    let person = Person::sign_in(&daybook, OWNER);
    let long = "x".repeat(3_000);
    for (fields, status, said) in [
        (vec![], 422, "kind must be one of"),
        (
            vec![("kind", "pigeon"), ("name", "a")],
            422,
            "kind must be one of",
        ),
        (
            vec![("kind", "email"), ("name", "a")],
            422,
            "an address is needed",
        ),
        (vec![("kind", "email"), ("address", "a@example.eu")], 422, "name"),
        (
            vec![("kind", "email"), ("name", "a"), ("address", "nobody")],
            422,
            "e-mail",
        ),
        (
            vec![
                ("kind", "email"),
                ("name", long.as_str()),
                ("address", "b@example.eu"),
            ],
            422,
            "name",
        ),
        (
            vec![("kind", "webhook"), ("name", "a"), ("address", "ftp://x")],
            422,
            "https://example.eu/hook",
        ),
        (
            vec![("kind", "webhook"), ("name", "a"), ("address", long.as_str())],
            422,
            "https://example.eu/hook",
        ),
        (
            vec![("kind", "telegram"), ("name", "a"), ("after_min", "soon")],
            422,
            "whole number",
        ),
        (
            vec![("kind", "telegram"), ("name", "a"), ("after_min", "1441")],
            422,
            "1440",
        ),
        (
            vec![("kind", "telegram"), ("name", "a"), ("hours", "within")],
            422,
            "day of the week",
        ),
        (
            vec![("kind", "telegram"), ("name", "a"), ("scope", "site_nowhere")],
            422,
            "scope",
        ),
        (
            vec![("kind", "telegram"), ("name", "a"), ("user_id", "usr_nobody")],
            422,
            "user_id",
        ),
    ] {
        let page = person.post("/app/contacts", &fields);
        let text = page.text();
        assert_eq!(page.status, status, "{fields:?}: {text}");
        assert!(
            text.contains(said) && text.contains("role=\"alert\""),
            "{fields:?}: {text}"
        );
    }
    assert_eq!(daybook.get("/v1/contacts").expect(200)["data"], json!([]));
    // What is nobody's, or another account's, is not there.
    for path in [
        "/app/contacts/con_00000000000000000000000000",
        "/app/contacts/con_00000000000000000000000000/test",
        "/app/contacts/con_00000000000000000000000000/confirm",
        "/app/contacts/con_00000000000000000000000000/remove",
        "/app/contacts/con_00000000000000000000000000/rotate-secret",
        "/app/outbound/ntf_00000000000000000000000000/redeliver",
        "/app/outbound/%2e%2e/redeliver",
    ] {
        assert_eq!(person.post(path, &[]).status, 404, "{path}");
    }
    let (code, _, said) = daybook.cli(&["account", "open", "Pharmacy", "chef@example.eu"]);
    assert_eq!(code, 0, "{said}");
    let theirs = Person::sign_in(&daybook, "chef@example.eu");
    let made = theirs.post(
        "/app/contacts",
        &[("kind", "telegram"), ("name", "Their chat"), ("after_min", "0")],
    );
    assert_eq!(made.status, 303, "{}", made.text());
    let page = theirs.get("/app/contacts").text();
    let id = page
        .split("id=\"con_")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let id = format!("con_{}", id.expect("a card"));
    for action in ["", "/test", "/confirm", "/remove", "/rotate-secret"] {
        let path = format!("/app/contacts/{id}{action}");
        assert_eq!(person.post(&path, &[("after_min", "1")]).status, 404, "{path}");
    }
    assert!(!person.get("/app/contacts").text().contains("Their chat"));
    // A chat that is not linked is told nothing, and a page that is old is told so.
    let told = theirs.post(&format!("/app/contacts/{id}/test"), &[]);
    assert_eq!(told.status, 409);
    assert!(told.text().contains("Not done: this contact is told nothing"));
    let rotated = theirs.post(&format!("/app/contacts/{id}/rotate-secret"), &[]);
    assert_eq!(
        (rotated.status, rotated.text().contains("only a webhook")),
        (409, true)
    );
    let stale = theirs.post(
        &format!("/app/contacts/{id}"),
        &[("if_match", "7"), ("after_min", "5")],
    );
    assert_eq!(stale.status, 412);
    assert!(stale.text().contains("Somebody changed this"));
    // A form of another session, and queries that mean nothing.
    let forged = theirs.forged(&format!("/app/contacts/{id}/remove"));
    assert_eq!(forged.status, 403);
    assert_eq!(person.get("/app/outbound?before=yesterday").status, 400);
    let page = person.get("/app/outbound?since=yesterday&contact=con_x&type=Nothing&what=%00");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("A time is such as"));
}
