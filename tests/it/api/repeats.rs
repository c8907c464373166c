//! Requests that come again with their idempotency key: done once, answered as the first time, also after a kill.
//!
//! Not here: readings (`ingest`), creations (`resources`), evidence packs (`evidence`).

use serde_json::{Value, json};
use std::time::Instant;
use tests::daybook::{Daybook, Reply};
use tests::receiver::{Answer, Receiver};

fn ask(daybook: &Daybook, path: &str, key: &str) -> Reply {
    daybook
        .call("POST", path)
        .token(&daybook.owner_token())
        .header("Idempotency-Key", key)
        .json(&json!({}))
        .send()
}

/// Asks twice: the same answer, the second time marked.
fn twice(daybook: &Daybook, path: &str, key: &str) -> Value {
    let first = ask(daybook, path, key);
    assert_eq!(first.header("idempotent-replayed"), None, "{path}");
    let first = first.expect(202);
    let again = ask(daybook, path, key);
    assert_eq!(again.header("idempotent-replayed"), Some("true"), "{path}");
    assert_eq!(again.expect(202), first, "{path}");
    first
}

fn until_sent(daybook: &Daybook, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let list = daybook.get("/v1/outbound?type=NotificationSent").expect(200);
        let sent = list["data"].as_array().expect("a list").clone();
        if sent.len() >= count {
            return sent;
        }
        assert!(began.elapsed() < tests::PATIENCE, "{sent:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_message_that_is_asked_for_twice_with_one_key_is_sent_once() {
    let mut daybook = Daybook::with().set("notify_private_targets", true).start();
    let receiver = Receiver::start(|_, _| Answer::status(204));
    let url = format!("{}/hook", receiver.url);
    let made = daybook
        .post("/v1/webhooks", &json!({"name": "plant", "url": url}))
        .expect(201);
    let test = format!("/v1/contacts/{}/test", made["id"].as_str().expect("an id"));
    let first = twice(&daybook, &test, "k1");
    daybook.kill9();
    daybook.restart();
    assert_eq!(
        ask(&daybook, &test, "k1").expect(202),
        first,
        "the ledger remembers"
    );
    until_sent(&daybook, 1);
    let notification = first["notification_id"].as_str().expect("an id");
    let redeliver = format!("/v1/outbound/{notification}/redeliver");
    assert_eq!(
        ask(&daybook, &redeliver, "k1").refused(409),
        "idempotency_conflict"
    );
    let again = twice(&daybook, &redeliver, "k2");
    assert_eq!(again["notification_id"], first["notification_id"]);
    until_sent(&daybook, 2);
    let other = twice(&daybook, &test, "k3");
    assert_ne!(other["notification_id"], first["notification_id"]);
    until_sent(&daybook, 3);
    let asked = daybook.get("/v1/entries?type=NotificationRequeued").ndjson();
    assert_eq!(asked.len(), 3);
    assert!(
        asked.iter().all(|entry| entry["metadata"]["token"].is_string()),
        "{asked:?}"
    );
    // A mailbox is asked once to confirm, whoever asks how often with one key.
    let mailbox = daybook
        .post(
            "/v1/contacts",
            &json!({"kind": "email", "name": "Kim", "address": "kim@example.eu"}),
        )
        .expect(201);
    let confirm = format!("/v1/contacts/{}/confirm", mailbox["id"].as_str().expect("an id"));
    twice(&daybook, &confirm, "k4");
    assert_eq!(ask(&daybook, &confirm, "k3").refused(409), "idempotency_conflict");
}
