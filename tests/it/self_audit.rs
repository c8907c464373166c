//! The service reads its own ledger again: what holds is said so, what does not stops it.

use chain_publisher::publish::webhook::WebhookSecret;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tests::certificates::Certificates;
use tests::daybook::Daybook;
use tests::receiver::{Answer, Receiver};
use tests::smtp::MailServer;

fn audited_every_second() -> Daybook {
    Daybook::with()
        .set("self_audit_pause_s", 1)
        .set("self_audit_mb_per_s", 200)
        .start()
}

/// The value of a gauge, if it is there.
fn gauge(daybook: &Daybook, name: &str) -> Option<f64> {
    let text = daybook.call("GET", "/metrics").send().text();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} ")))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The open segment's frames.
fn frames(data: &Path) -> PathBuf {
    let segments = std::fs::read_dir(data.join("ledger").join("segments")).expect("segments");
    let mut files: Vec<PathBuf> = segments
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    files.sort();
    files.pop().expect("an open segment")
}

/// Another byte in a reading, on the disk of the service that runs.
fn flip(daybook: &Daybook) {
    let path = frames(&daybook.data());
    let bytes = std::fs::read(&path).expect("readable");
    let wanted = b"\"ReadingRecorded\"";
    let at = bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
        .expect("a reading");
    let file = OpenOptions::new().write(true).open(&path).expect("writable");
    file.write_at(b"\"ReadingRecordex\"", at as u64).expect("written");
}

#[test]
fn a_ledger_that_holds_is_read_again_and_one_that_does_not_stops_the_writer() {
    let daybook = audited_every_second();
    let (_, _, token) = daybook.device("hut01");
    for n in 0..20 {
        daybook.send(&token, "hut01", None, f64::from(n)).expect(200);
    }
    daybook.until_signed(daybook.size());
    let size = daybook.size() as f64;
    until("a pass over all of it", || {
        gauge(&daybook, "daybook_self_audit_entries").is_some_and(|read| read >= size)
    });
    assert_eq!(gauge(&daybook, "daybook_self_audit_holds"), Some(1.0));
    let page = daybook.call("GET", "/ledger").send().text();
    assert!(page.contains("all as they were written"), "{page}");

    flip(&daybook);
    until("the damage is found", || {
        gauge(&daybook, "daybook_self_audit_holds") == Some(0.0)
    });
    until("nothing is recorded", || {
        daybook.call("GET", "/readyz").send().status == 503
    });
    let ready = daybook.call("GET", "/readyz").send();
    let reason = ready.json()["reason"].as_str().expect("a reason").to_owned();
    assert!(
        reason.contains("damaged") && reason.contains("self-audit"),
        "{reason}"
    );
    let size = daybook.size();
    let refused = daybook.send(&token, "hut01", None, 4.2);
    assert!(refused.status >= 500, "{}", refused.text());
    let refused = daybook.post(
        "/v1/sites",
        &json!({"name": "Other", "vertical": "haccp", "timezone": "Europe/Berlin"}),
    );
    assert!(refused.status >= 500, "{}", refused.text());
    assert_eq!(daybook.size(), size);
    daybook.get("/v1/sites").expect(200);
    let page = daybook.call("GET", "/ledger").send().text();
    assert!(page.contains("does not hold"), "{page}");
    assert!(daybook.said().contains("THE LEDGER DOES NOT HOLD"));
}

#[test]
fn a_pass_ends_with_the_service() {
    let mut daybook = Daybook::with()
        .set("self_audit_pause_s", 0)
        .set("self_audit_mb_per_s", 1)
        .start();
    let (_, _, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    until("a pass", || gauge(&daybook, "daybook_self_audit_holds").is_some());
    assert!(daybook.stop().success());
}

/// A bot's API: what chats say is in the list.
fn bot(said: Arc<Mutex<Vec<Value>>>) -> Receiver {
    Receiver::start(move |came, _| {
        let say = |value: Value| Answer::Say(200, vec![], value.to_string());
        if !came.path.ends_with("/getUpdates") {
            return say(json!({"ok": true, "result": {"message_id": 42}}));
        }
        let from = came.json()["offset"].as_i64().unwrap_or(0);
        let all = said.lock().expect("not poisoned");
        let new: Vec<&Value> = all
            .iter()
            .filter(|one| one["update_id"].as_i64() >= Some(from))
            .collect();
        if new.is_empty() {
            // As the real one holds the question.
            std::thread::sleep(Duration::from_millis(50));
        }
        say(json!({"ok": true, "result": new}))
    })
}

#[test]
fn a_ledger_that_does_not_hold_is_told_by_mail_chat_and_webhook_once_to_each_and_tried_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let certificates = Certificates::make(dir.path(), "good");
    let mails = MailServer::start(&dir.path().join("mails"), "none", &certificates).expect("a mail server");
    mails.behave("data-4xx");
    let said = Arc::new(Mutex::new(Vec::new()));
    let chats = bot(Arc::clone(&said));
    let hooks = Receiver::start(|_, before| Answer::status(if before == 0 { 503 } else { 204 }));
    let token_file = dir.path().join("bot.token");
    std::fs::write(&token_file, "123:secret-of-the-bot\n").expect("written");
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).expect("set");
    let daybook = Daybook::with()
        .set("self_audit_pause_s", 1)
        .set("self_audit_mb_per_s", 200)
        .set("owner_email", "kim@example.eu")
        .set("notify_private_targets", true)
        .set("notify_retry_s", 1)
        .set(
            "mail",
            format!(
                "{{host=\"localhost\",port={},tls=\"none\",from=\"Daybook <log@example.eu>\"}}",
                mails.port
            ),
        )
        .set(
            "telegram",
            format!("{{token_file={token_file:?},api_url={:?}}}", chats.url),
        )
        .start();
    // A webhook that wants to hear of nothing but acknowledgements, and one that was taken away.
    let hook = |path: &str| {
        let body = json!({"kind": "webhook", "name": path, "address": format!("{}{path}", hooks.url), "preferences": {"kinds": ["alarm_ack"]}});
        daybook.post("/v1/contacts", &body).expect(201)
    };
    let (kept, removed) = (hook("/kept"), hook("/removed"));
    let path = format!("/v1/contacts/{}", removed["id"].as_str().expect("an id"));
    assert!(daybook.delete(&path).status < 300);
    let chat = daybook
        .post("/v1/contacts", &json!({"kind": "telegram", "name": "kitchen"}))
        .expect(201);
    let code = chat["link_code"].as_str().expect("a code");
    said.lock()
        .expect("not poisoned")
        .push(json!({"update_id": 1, "message": {"chat": {"id": -77}, "text": format!("/link {code}")}}));
    let chat = format!("/v1/contacts/{}", chat["id"].as_str().expect("an id"));
    until("the chat is linked", || {
        daybook.get(&chat).expect(200)["state"] == "active"
    });
    let (_, _, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    daybook.until_signed(daybook.size());
    until("a pass that holds", || {
        gauge(&daybook, "daybook_self_audit_holds") == Some(1.0)
    });

    flip(&daybook);
    let told = hooks.until("/kept", 2);
    assert_eq!(
        told[0].header("webhook-id"),
        told[1].header("webhook-id"),
        "tried again under one id"
    );
    let body = told[1].json();
    assert_eq!(body["event"]["kind"], "ledger_damaged");
    assert!(
        body["event"]["what"]
            .as_str()
            .is_some_and(|what| what.contains("damaged at position")),
        "{body}"
    );
    let secret = WebhookSecret::parse(kept["secret"].as_str().expect("a secret")).expect("a secret");
    let at = told[1].header("webhook-timestamp").parse().expect("seconds");
    let signed = secret.sign(told[1].header("webhook-id"), at, told[1].body.as_bytes());
    assert_eq!(told[1].header("webhook-signature"), signed);
    let damage = |all: Vec<tests::receiver::Came>| -> Vec<String> {
        let texts = all
            .iter()
            .map(|came| came.json()["text"].as_str().unwrap_or_default().to_owned());
        texts.filter(|text| text.contains("DAMAGED")).collect()
    };
    let send = "/bot123:secret-of-the-bot/sendMessage";
    until("the chat is told", || damage(chats.came(send)).len() == 1);
    assert!(damage(chats.came(send))[0].contains("Nothing is recorded any more"));
    // The mail server would not take it at first.
    until("a mail is refused for now", || {
        daybook
            .said()
            .contains("not told yet that the ledger does not hold")
    });
    mails.behave("ok");
    let mine = || {
        let taken = mails.taken().into_iter();
        taken
            .filter(|mail| mail.message.contains("Subject: DAMAGED"))
            .collect::<Vec<_>>()
    };
    until("the owner has the mail", || !mine().is_empty());
    let mail = &mine()[0];
    assert_eq!(mail.to.trim(), "kim@example.eu");
    assert!(mail.message.contains("daybook verify"), "{}", mail.message);
    until("all were told", || {
        daybook
            .said()
            .matches("told that the ledger does not hold")
            .count()
            >= 3
    });
    assert_eq!(
        (
            hooks.came("/kept").len(),
            damage(chats.came(send)).len(),
            mine().len()
        ),
        (2, 1, 1)
    );
    assert!(hooks.came("/removed").is_empty());
    let said = daybook.said();
    assert!(
        said.contains("nothing can be recorded, so no entry tells of it"),
        "{said}"
    );
    // The start told the operator whom it made; nothing of the damage does.
    let of_damage = said.lines().filter(|line| line.contains("ledger does not hold"));
    assert!(
        of_damage.into_iter().all(|line| !line.contains("@example.eu")),
        "{said}"
    );
    assert!(
        !said.contains("secret-of-the-bot") && !said.contains("-77"),
        "{said}"
    );
}
