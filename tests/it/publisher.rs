//! A service without a log key beside the real `daybook publish` that holds it: either is killed at any instant.
//!
//! Not here: days and heads, which take a clock of the test's (`api`'s own tests).

use chain_publisher::directory::Directory;
use chain_publisher::evidence::Trust;
use chain_publisher::{VerifySettings, verify};
use domain::note::VerifierKey;
use domain::tlog_proof::TlogProof;
use domain::verify::Verdict;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tests::daybook::{Daybook, binary};
use tests::dice::Dice;
use tests::publisher::{ORIGIN, Publisher};

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
    // The first brings its channel's registration, too, and the position in its answer is that entry's.
    daybook.send(&token, "hut01", None, 4.2).expect(200);
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
            let killed = Command::new("kill")
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

/// `daybook key` with the settings that the service has.
fn key(daybook: &Daybook, publisher: &Publisher, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("key")
        .args(args)
        .arg("--data")
        .arg(daybook.data())
        .arg("--anchor")
        .arg(daybook.scratch().join("anchor"))
        .env("DAYBOOK_SIGNED_ELSEWHERE", publisher.dir())
        .env("DAYBOOK_ORIGIN", ORIGIN)
        .stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Starts it and ends it after a while, wherever it is then.
fn killed(mut command: Command, after: Duration) {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    // The instant is what is tried, not what is waited for.
    std::thread::sleep(after);
    let _ = child.kill();
    child.wait().expect("it ends");
}

fn rotation(daybook: &Daybook) -> Option<(u64, TlogProof)> {
    let text = daybook.call("GET", "/keys/rotations").send().text();
    let position: u64 = text.lines().next()?.parse().ok()?;
    let proof = daybook
        .call("GET", &format!("/keys/{position}.tlog-proof"))
        .send();
    (proof.status == 200).then(|| (position, TlogProof::parse(&proof.body).expect("a proof")))
}

#[test]
fn a_log_key_that_the_publisher_holds_is_replaced_over_kills_at_any_instant() {
    let (mut daybook, mut publisher, old) = beside();
    publisher.start();
    let (_, _, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    daybook.until_signed(daybook.size());
    let dir = publisher.dir();
    let publishers = dir.to_str().expect("a path of ours").to_owned();
    let ask = ["rotate", "--publisher", &publishers];
    // Not while they run, and not before it was asked for.
    let (code, _, said) = run(key(&daybook, &publisher, &ask));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another publisher runs"), "{said}");
    assert!(daybook.stop().success());
    assert_eq!(publisher.stop(), Some(0));
    let (code, _, said) = run(key(&daybook, &publisher, &["rotate"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("daybook key rotate --publisher") && said.contains("nothing was changed"),
        "{said}"
    );

    for n in 0..4u64 {
        killed(key(&daybook, &publisher, &ask), Duration::from_millis(20 * n));
    }
    let (code, new, said) = run(key(&daybook, &publisher, &ask));
    assert_eq!(code, Some(0), "{said}");
    let new = VerifierKey::parse(new.trim()).expect("a key");
    let (code, again, said) = run(key(&daybook, &publisher, &ask));
    assert_eq!(
        (code, again.trim()),
        (Some(0), new.to_string().as_str()),
        "the same key is asked for: {said}"
    );
    assert_ne!(new, old);
    // A day, a start and some readings come between: the request is still for the entry.
    daybook.restart();
    daybook.send(&token, "hut01", None, 4.3).expect(200);
    assert!(daybook.stop().success());
    for n in 0..6u64 {
        killed(
            key(&daybook, &publisher, &["rotate"]),
            Duration::from_millis(40 * n),
        );
    }
    let (code, in_force, said) = run(key(&daybook, &publisher, &["rotate"]));
    assert_eq!(
        (code, in_force.trim()),
        (Some(0), new.to_string().as_str()),
        "{said}"
    );
    // The service may go on before the publisher does, which still has the old key.
    daybook.restart();
    let shown = daybook.cli(&["key", "show"]).1;
    assert_eq!(shown.lines().next(), Some(new.to_string().as_str()));
    daybook.send(&token, "hut01", None, 4.4).expect(200);
    for n in 0..6u64 {
        let mut command = publisher.command();
        command.arg("--data").arg(daybook.data());
        killed(command, Duration::from_millis(60 * n));
    }
    publisher.start();
    daybook.until_signed(daybook.size());
    assert!(publisher.runs(), "{}", publisher.said());
    daybook.kill9();
    daybook.restart();
    daybook.until_signed(daybook.size());

    let (position, proof) = rotation(&daybook).expect("its proof is served");
    assert_eq!(proof.size().get(), position + 1);
    for key in [&old, &new] {
        proof.checkpoint.verify(ORIGIN, [key]).expect("signed by both");
    }
    let latest = daybook.call("GET", "/log/checkpoint").send().body;
    let latest = domain::checkpoint::SignedCheckpoint::parse(&latest).expect("a checkpoint");
    latest.verify(ORIGIN, [&new]).expect("signed by the new one");
    assert!(latest.verify(ORIGIN, [&old]).is_err());
    assert!(daybook.stop().success());
    assert_eq!(publisher.stop(), Some(0));
    assert_eq!(publisher.key(), new);
    let there = |name: &str| Path::new(&publishers).join(name).exists();
    assert!(!there("log-key.next") && !there("rotation-request"));
    for known in [&old, &new] {
        let verdict = audit(&daybook, &format!("copy-of-{}", known.id()), known);
        assert!(matches!(verdict, Verdict::Unanchored { .. }), "{verdict}");
    }
    // Another one, from there.
    let (code, third, said) = run(key(&daybook, &publisher, &ask));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(run(key(&daybook, &publisher, &["rotate"])).0, Some(0));
    publisher.start();
    daybook.restart();
    daybook.until_signed(daybook.size());
    assert_eq!(publisher.stop(), Some(0));
    assert_eq!(publisher.key().to_string(), third.trim());
    assert!(daybook.stop().success());
    let verdict = audit(&daybook, "copy-of-both", &old);
    assert!(matches!(verdict, Verdict::Unanchored { .. }), "{verdict}");
}
