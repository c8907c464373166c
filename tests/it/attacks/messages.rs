//! Attacks on what goes out as a message: links that somebody makes or uses again, receivers that lead elsewhere.
//!
//! The service, the mail server and the receivers are real; what an attacker is answered, or the outbound log says, is
//! what is read. Not here: links and deliveries as they should be (the API's own tests).

use serde_json::json;
use std::time::Instant;
use tests::PATIENCE;
use tests::certificates::Certificates;
use tests::daybook::Daybook;
use tests::receiver::{Answer, Receiver};
use tests::smtp::{MailServer, link};

type Said = (i32, String);

fn until<T>(what: &str, there: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(found) = there() {
            return found;
        }
        std::thread::yield_now();
    }
    panic!("{what} never came");
}

/// A page's form, sent: a status that is no success, and the page.
fn form(daybook: &Daybook, path: &str, body: &str) -> Said {
    let answer = daybook
        .call("POST", path)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .bytes(body)
        .send();
    let failed = (answer.status >= 400).then_some(i32::from(answer.status));
    (failed.unwrap_or_default(), answer.text())
}

/// A service, and the link by which somebody may acknowledge its alarm.
struct Told {
    daybook: Daybook,
    link: String,
    _mails: MailServer,
    _dir: tempfile::TempDir,
}

fn told() -> Told {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let certificates = Certificates::make(dir.path(), "good");
    let mails = MailServer::start(&dir.path().join("mails"), "none", &certificates).expect("a mail server");
    let from = "Daybook <log@example.eu>";
    let mail = format!(
        r#"{{host="localhost",port={},tls="none",from="{from}"}}"#,
        mails.port
    );
    let daybook = Daybook::with().set("mail", mail).start();
    let (_, device, token) = daybook.device("fridge");
    daybook.send(&token, "fridge", None, 4.0).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let sensor = sensors["data"][0]["id"].as_str().expect("an id").to_owned();
    daybook
        .post(
            "/v1/contacts",
            &json!({"kind": "email", "name": "Kim", "address": "kim@example.eu"}),
        )
        .expect(201);
    let taken = |count: usize| until("a mail", || mails.taken().get(count - 1).cloned());
    let confirmed = form(&daybook, &link(&taken(1).message, "c"), "");
    assert_eq!(confirmed.0, 0, "{}", confirmed.1);
    let limits = json!({"ok_min": 2, "ok_max": 5, "grace_min": 0});
    daybook
        .patch(&format!("/v1/sensors/{sensor}"), &limits)
        .expect(200);
    daybook.send(&token, "fridge", None, 9.5).expect(200);
    let link = link(&taken(2).message, "a");
    Told {
        daybook,
        link,
        _mails: mails,
        _dir: dir,
    }
}

pub fn forged_link() -> Said {
    let told = told();
    let (kept, last) = told.link.split_at(told.link.len() - 1);
    let other = if last == "A" { "B" } else { "A" };
    form(&told.daybook, &format!("{kept}{other}"), "reason=seen")
}

pub fn link_used_again() -> Said {
    let told = told();
    let first = form(&told.daybook, &told.link, "reason=door_open");
    assert_eq!(first.0, 0, "{}", first.1);
    form(&told.daybook, &told.link, "reason=in_use")
}

/// What the outbound log says of a webhook with that URL.
fn failed(daybook: &Daybook, url: &str) -> Said {
    let made = daybook
        .post("/v1/webhooks", &json!({"name": "plant", "url": url}))
        .expect(201);
    let id = made["id"].as_str().expect("an id");
    daybook
        .post(&format!("/v1/contacts/{id}/test"), &json!({}))
        .expect(202);
    let failed = until("what failed", || {
        let list = daybook.get("/v1/outbound?type=NotificationFailed").expect(200);
        list["data"].as_array()?.first().cloned()
    });
    (1, failed["code"].as_str().expect("a code").to_owned())
}

fn leads_to(location: &'static str) -> Said {
    let daybook = Daybook::with().set("notify_private_targets", true).start();
    let answer = move |_: &_, _| Answer::Say(307, vec![("location", location.to_owned())], String::new());
    let receiver = Receiver::start(answer);
    let said = failed(&daybook, &format!("{}/hook", receiver.url));
    let asked = receiver.came("/hook").len();
    assert!((1..=4).contains(&asked), "asked {asked} times");
    said
}

pub fn redirect_to_a_file() -> Said {
    leads_to("file:///etc/passwd")
}

pub fn redirect_without_end() -> Said {
    leads_to("/hook")
}

pub fn webhook_to_this_machine() -> Said {
    let daybook = Daybook::start();
    let receiver = Receiver::start(|_, _| Answer::status(204));
    let said = failed(
        &daybook,
        &format!("{}/hook", receiver.url.replace("http://", "https://")),
    );
    assert!(receiver.came("/").is_empty(), "it was asked");
    said
}
