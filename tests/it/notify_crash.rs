//! Kill −9 while something is being told: it arrives all the same, and what arrives twice has the same id.
//!
//! The receiver itself says when: before it answers, as it answers, a little after. Whether the outcome was recorded
//! by then is chance, and both are right: once where it was, again under the same id where it was not.
//! Not here: what is told (`api/tests/it/notify`).

use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
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

const ROUNDS: [When; 8] = [
    When::Asked,
    When::Received,
    When::Answered(Duration::ZERO),
    When::Answered(Duration::from_micros(500)),
    When::Answered(Duration::from_millis(2)),
    When::Answered(Duration::from_millis(5)),
    When::Answered(Duration::from_millis(20)),
    When::Asked,
];
const PATIENCE: Duration = Duration::from_secs(60);

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.is_ok(), "kill runs");
}

#[test]
fn what_is_told_survives_kill_9_and_arrives_twice_under_one_id_only() {
    let mut daybook = Daybook::with()
        .set("notify_private_targets", true)
        .set("notify_retry_s", 1)
        .set("log", "warn")
        .start();
    let victim = Arc::new(AtomicU32::new(0));
    let receiver = Receiver::start(|_, _| Answer::status(204));
    let made = daybook
        .post(
            "/v1/webhooks",
            &json!({"name": "plant", "url": format!("{}/hook", receiver.url)}),
        )
        .expect(201);
    let contact = made["id"].as_str().expect("an id").to_owned();
    let mut asked = Vec::new();
    for when in ROUNDS {
        let before = receiver.came("/hook").len();
        victim.store(daybook.pid(), Ordering::SeqCst);
        let (pid, hurt) = (Arc::clone(&victim), when);
        receiver.answer(move |_, _| {
            let pid = pid.swap(0, Ordering::SeqCst);
            match hurt {
                _ if pid == 0 => Answer::status(204),
                When::Asked => Answer::status(204),
                When::Received => {
                    kill(pid);
                    Answer::HangUp
                }
                When::Answered(after) => {
                    std::thread::spawn(move || {
                        std::thread::sleep(after);
                        kill(pid);
                    });
                    Answer::status(204)
                }
            }
        });
        let sent = daybook
            .post(&format!("/v1/contacts/{contact}/test"), &json!({}))
            .expect(202);
        let id = sent["notification_id"].as_str().expect("an id");
        asked.push(format!("wh_{}", id.trim_start_matches("ntf_")));
        if when != When::Asked {
            receiver.until("/hook", before + 1);
        }
        daybook.kill9();
        victim.store(0, Ordering::SeqCst);
        daybook.restart();
    }
    let until = Instant::now() + PATIENCE;
    let (sent, all) = loop {
        let all = daybook
            .get("/v1/outbound?type=NotificationSent&limit=1000")
            .expect(200);
        let all = all["data"].as_array().expect("a list").clone();
        if all.len() >= asked.len() {
            break (receiver.came("/hook"), all);
        }
        assert!(Instant::now() < until, "{all:?}");
        std::thread::yield_now();
    };
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
