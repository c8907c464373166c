//! Kill −9 while something is being told: it arrives all the same, and what arrives twice has the same id.
//!
//! The receiver itself says when: before it answers, as it answers, a little after. Whether the outcome was recorded
//! by then is chance, and both are right: once where it was, again under the same id where it was not.
//! Not here: what is told (`api/tests/it/notify`).

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tests::daybook::Daybook;
use tests::receiver::{Answer, Receiver};

/// When a round's kill comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before anything is sent: right after it was asked for.
    Asked,
    /// The receiver has it and has not answered.
    Received,
    /// With the answer, and this much later.
    Answered(Duration),
}

const ROUNDS: [When; 6] = [
    When::Asked,
    When::Received,
    When::Answered(Duration::ZERO),
    When::Answered(Duration::from_millis(2)),
    When::Answered(Duration::from_millis(20)),
    When::Asked,
];

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.is_ok(), "kill runs");
}

/// Waits until so many were asked for and all of them were taken; the ids that were asked for, and the outcomes.
fn told(daybook: &Daybook, count: usize) -> (Vec<String>, Vec<Value>) {
    let list = |of: &str| {
        let list = daybook
            .get(&format!("/v1/outbound?type={of}&limit=1000"))
            .expect(200);
        list["data"].as_array().expect("a list").clone()
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let (asked, sent) = (list("NotificationRequeued"), list("NotificationSent"));
        if asked.len() >= count && sent.len() >= count {
            let id = |one: &Value| {
                one["notification_id"]
                    .as_str()
                    .expect("an id")
                    .replace("ntf_", "wh_")
            };
            return (asked.iter().map(id).collect(), sent);
        }
        assert!(Instant::now() < until, "{asked:?} {sent:?}");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_told_survives_kill_9_and_arrives_twice_under_one_id_only() {
    let mut daybook = Daybook::with()
        .set("notify_private_targets", true)
        .set("notify_retry_s", 1)
        .set("user_rate_per_minute", 0)
        .set("log", "warn")
        .start();
    let receiver = Receiver::start(|_, _| Answer::status(204));
    let made = daybook
        .post(
            "/v1/webhooks",
            &json!({"name": "plant", "url": format!("{}/hook", receiver.url)}),
        )
        .expect(201);
    let contact = made["id"].as_str().expect("an id").to_owned();
    for (round, when) in ROUNDS.into_iter().enumerate() {
        receiver.answer(|_, _| Answer::status(204));
        told(&daybook, round);
        let before = receiver.came("/hook").len();
        let pid = daybook.pid();
        if when == When::Received {
            receiver.answer(move |_, _| {
                kill(pid);
                Answer::HangUp
            });
        }
        // The kill may come before the answer: then what was asked for stands in the ledger all the same.
        let owner = daybook.owner_token();
        let path = format!("/v1/contacts/{contact}/test");
        let call = daybook.call("POST", &path).token(&owner).json(&json!({}));
        match call.try_send() {
            Ok(reply) => drop(reply.expect(202)),
            Err(_) => assert_eq!(when, When::Received),
        }
        if when != When::Asked {
            receiver.until("/hook", before + 1);
        }
        if let When::Answered(after) = when {
            std::thread::sleep(after);
        }
        daybook.kill9();
        receiver.answer(|_, _| Answer::status(204));
        daybook.restart();
    }
    let (asked, all) = told(&daybook, ROUNDS.len());
    let sent = receiver.came("/hook");
    let mut arrived: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &sent {
        *arrived.entry(one.header("webhook-id")).or_default() += 1;
    }
    for id in &asked {
        assert!(arrived.contains_key(id.as_str()), "{id} was lost");
    }
    assert_eq!(arrived.len(), asked.len(), "nothing else came: {arrived:?}");
    assert_eq!(all.len(), asked.len(), "one outcome each");
    let twice = arrived.values().filter(|count| **count > 1).count();
    let repeated = all.iter().filter(|one| one["repeated"] == true).count();
    eprintln!(
        "{} rounds, {twice} arrived twice, {repeated} said to be repeated",
        ROUNDS.len()
    );
    // Whatever came twice is counted.
    assert!(repeated >= twice, "{repeated} of {twice}");
    assert!(twice >= 1, "the kill before the answer makes one");
}
