//! A service without a log key beside the real `daybook publish` that holds it: either is killed at any instant.
//!
//! Not here: days and heads, which take a clock of the test's (`api`'s own tests).

use chain_publisher::directory::Directory;
use chain_publisher::evidence::Trust;
use chain_publisher::{VerifySettings, verify};
use domain::note::VerifierKey;
use domain::verify::Verdict;
use std::time::{Duration, Instant};
use tests::daybook::Daybook;
use tests::dice::Dice;
use tests::publisher::{ORIGIN, Publisher};

/// How long the two may take to catch up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Kills of either.
const KILLS: usize = 8;

/// A service that has started once, and its publisher beside it.
fn beside() -> (Daybook, Publisher, VerifierKey) {
    let mut daybook = Daybook::with()
        .set("origin", ORIGIN)
        .set("rate_per_minute", 0)
        .set("user_rate_per_minute", 0)
        .ready();
    let (publisher, key) = Publisher::new(daybook.scratch());
    daybook.set("signed_elsewhere", publisher.dir().display());
    daybook.restart();
    (daybook, publisher, key)
}

/// Where a reading stands, as its sender was told.
fn position(answer: &serde_json::Value) -> u64 {
    let found = answer["first_position"].as_u64();
    found.unwrap_or_else(|| panic!("no position in {answer}"))
}

/// What an auditor with that key says of a copy.
fn audit(daybook: &Daybook, name: &str, key: &VerifierKey) -> Verdict {
    let to = daybook.scratch().join(name);
    let (code, _, said) = daybook.cli(&["export", "--to", to.to_str().expect("a path of ours")]);
    assert_eq!(code, 0, "{said}");
    let settings = VerifySettings {
        trust: Trust {
            keys: vec![key.clone()],
            ..Trust::default()
        },
        ..VerifySettings::default()
    };
    let source = Directory::open(&to).expect("a copy");
    verify(&source, &settings, &mut |_| {})
        .expect("a verdict")
        .verdict
}

#[test]
fn the_service_is_killed_beside_the_publisher_and_nothing_acknowledged_goes_unsigned() {
    let (mut daybook, mut publisher, key) = beside();
    publisher.start();
    let (_, _, token) = daybook.device("hut01");
    let mut dice = Dice::from_environment(11);
    let mut acknowledged = Vec::new();
    for round in 0..KILLS {
        // The kill comes somewhere among these, and now and then the publisher goes with it.
        let until = Instant::now() + Duration::from_millis(200 + dice.below(600));
        std::thread::scope(|scope| {
            let (sends, token) = (&daybook, token.as_str());
            let sender = scope.spawn(move || {
                let mut taken = Vec::new();
                for n in 0.. {
                    let value = f64::from(n % 50);
                    let body = serde_json::json!({
                        "device": "hut01", "measurements": [{"type": "temperature", "value": value}],
                    });
                    let call = sends.call("POST", "/v1/ingest").token(token).json(&body);
                    match call.try_send() {
                        Ok(reply) if reply.status == 200 => taken.push((position(&reply.json()), value)),
                        Ok(reply) => panic!("{}", reply.text()),
                        Err(_) => break,
                    }
                }
                taken
            });
            while Instant::now() < until {
                std::thread::yield_now();
            }
            let killed = std::process::Command::new("kill")
                .args(["-KILL", &sends.pid().to_string()])
                .status();
            assert!(killed.expect("kill runs").success());
            acknowledged.extend(sender.join().expect("it ends"));
        });
        daybook.kill9();
        if round % 3 == 2 {
            publisher.kill9();
            publisher.start();
        }
        daybook.restart();
        assert!(publisher.runs(), "{}", publisher.said());
        daybook.until_signed(daybook.size());
        for (position, value) in acknowledged.iter().rev().take(3) {
            let entry = daybook
                .get(&format!("/v1/entries?from={position}&limit=1"))
                .text();
            assert!(
                entry.contains(&format!("\"temperature\":{value}")),
                "{position}: {entry}"
            );
        }
    }
    assert!(acknowledged.len() > KILLS, "it was killed among readings");
    assert!(daybook.stop().success());
    // The last position is signed although the service is over.
    let began = Instant::now();
    while !matches!(
        audit(&daybook, &format!("copy-{}", began.elapsed().as_millis()), &key),
        Verdict::Unanchored { .. }
    ) {
        assert!(
            began.elapsed() < PATIENCE,
            "the last position was not signed: {}",
            publisher.said()
        );
    }
    assert_eq!(publisher.stop(), Some(0), "{}", publisher.said());
}
