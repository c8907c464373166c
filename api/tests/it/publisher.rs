//! A ledger whose log key a process of its own holds: the service in this process under the test's clock, the publisher a
//! real `daybook publish` that is killed and started again.

use crate::service::Service;
use api::clock::SystemClock;
use api::config::Settings;
use api::entropy::SeededEntropy;
use api::witnesses::HeadState;
use chain_publisher::evidence::Trust;
use chain_publisher::kept_heads::{HeadFile, verify_heads};
use chain_publisher::verify::VerifySettings;
use domain::checkpoint::SignedCheckpoint;
use domain::entry::Entry;
use domain::ports::{Clock, Entropy};
use domain::tlog_policy::{Policy, Quorum};
use domain::tlog_proof::TlogProof;
use domain::{Date, Position};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tests::publisher::{ORIGIN, Publisher};
use tests::witness::WitnessProcess;

fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The days that the ledger says are out, in the order of its entries.
fn published(service: &Service) -> Vec<Date> {
    let app = service.app.as_ref().expect("it runs");
    let (mut days, mut from) = (Vec::new(), Position::FIRST);
    while app.log().size().contains(from) {
        let block = service
            .runtime
            .block_on(app.log().read(from, 1000, 1 << 20))
            .expect("read");
        for (_, bytes) in block.iter() {
            let entry = Entry::read(bytes).expect("an entry");
            if entry.event_type == "HeadPublished" {
                let payload: Value = serde_json::from_slice(entry.payload).expect("JSON");
                days.push(Date::parse(payload["date"].as_str().expect("a day")).expect("a day"));
            }
        }
        from = from.plus(block.len() as u64);
    }
    days
}

fn days_pass(service: &Service, days: u32) {
    for _ in 0..days {
        assert_eq!(
            service.site("A site").0,
            201,
            "it takes what comes, whoever signs"
        );
        let before = service
            .app
            .as_ref()
            .expect("it runs")
            .sequencer()
            .status()
            .open_day;
        service.clock.pass(86_400);
        let app = service.app.clone().expect("it runs");
        until("the day is closed", || app.sequencer().status().open_day > before);
    }
}

#[test]
fn who_signs_may_be_killed_and_nothing_is_lost_signed_twice_or_held_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut publisher, key) = Publisher::new(dir.path());
    let service = Service::signed_elsewhere(dir, "2026-04-01T12:00:00Z", "publisher", ORIGIN);
    let scratch = service.scratch().to_owned();
    assert!(!scratch.join("data/keys/log-key").exists(), "it holds no log key");
    // Nobody signs yet: it takes what comes, and closes its days.
    days_pass(&service, 2);
    let app = service.app.clone().expect("it runs");
    assert_eq!(app.signed(), None);
    assert_eq!(app.verifier_keys().0, key.to_string());
    assert_eq!(app.heads().dates().expect("listed"), []);

    publisher.start();
    until("two days are out", || published(&service).len() == 2);
    until("the latest is signed", || {
        app.signed().is_some_and(|(size, _)| size == app.log().size())
    });
    let kill = |publisher: &mut Publisher| {
        publisher.kill9();
        publisher.start();
    };
    for _ in 0..3 {
        days_pass(&service, 1);
        kill(&mut publisher);
    }
    until("five days are out", || published(&service).len() == 5);

    // It is down: what is late is said, and the rest goes on.
    publisher.kill9();
    days_pass(&service, 2);
    service.clock.pass(2 * 3600);
    until("it is seen that a day waits", || {
        let channels = app.publishing().channels();
        channels.len() == 1 && channels[0].is_late(app.clock().now())
    });
    let page = String::from_utf8(service.get("/ledger").1).expect("text");
    assert!(page.contains("is not out"), "{page}");
    assert_eq!(app.heads().dates().expect("listed").len(), 5);
    drop(app);
    // The service stops and starts beside it.
    let service = service.again(Vec::new());
    let app = service.app.clone().expect("it runs");
    assert_eq!(published(&service).len(), 5);
    publisher.start();
    until("seven days are out", || published(&service).len() == 7);
    until("the latest is signed", || {
        app.signed().is_some_and(|(size, _)| size == app.log().size())
    });

    // Each day once, in order; each head under a checkpoint of its own that continues the one before.
    let dates = app.heads().dates().expect("listed");
    assert_eq!(published(&service), dates);
    let file = |name: String, bytes: Option<Vec<u8>>| {
        bytes.map(|bytes| HeadFile {
            name,
            bytes,
            stamps: Vec::new(),
        })
    };
    let files: Vec<HeadFile> = dates
        .iter()
        .flat_map(|date| {
            let head = file(
                format!("{date}.tlog-proof"),
                app.heads().get(*date).expect("readable"),
            );
            let beside = app.heads().consistency(*date).expect("readable");
            head.into_iter()
                .chain(file(format!("{date}.consistency"), beside))
        })
        .collect();
    assert_eq!(files.len(), 13);
    let settings = VerifySettings {
        trust: Trust {
            keys: vec![key.clone()],
            ..Trust::default()
        },
        ..VerifySettings::default()
    };
    let report = verify_heads(&files, &settings, None).expect("verified");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    for date in &dates {
        let head =
            TlogProof::parse(&app.heads().get(*date).expect("readable").expect("a head")).expect("a proof");
        assert_eq!(head.index.size_through(), head.size());
        let text = date.to_string();
        let out = scratch
            .join("static/heads")
            .join(&text[..4])
            .join(format!("{text}.tlog-proof"));
        assert_eq!(std::fs::read(out).ok(), app.heads().get(*date).expect("readable"));
    }
    let (status, served) = service.get("/log/checkpoint");
    assert_eq!(status, 200);
    let served = SignedCheckpoint::parse(&served).expect("a checkpoint");
    served.verify(ORIGIN, [&key]).expect("signed by the publisher");
}

#[test]
fn what_contradicts_the_ledgers_files_is_not_signed_and_ends_the_publisher() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut publisher, _) = Publisher::new(dir.path());
    let service = Service::signed_elsewhere(dir, "2026-04-01T12:00:00Z", "publisher", ORIGIN);
    publisher.start();
    let app = service.app.clone().expect("it runs");
    until("something is signed", || app.signed().is_some());
    publisher.kill9();
    assert_eq!(service.site("A site").0, 201);
    let size = app.log().size();
    drop(app);
    // The service is over; what it said last is now another root.
    let dir = service.dir();
    drop(service);
    let scratch = dir.path().to_owned();
    let lies = format!("{ORIGIN}\n{size}\n{}\n", domain::Hash([7; 32]).to_base64());
    std::fs::write(scratch.join("data/to-sign"), lies).expect("written");
    publisher.start();
    assert_eq!(publisher.ended(), Some(1));
}

#[test]
fn a_second_publisher_on_one_directory_is_refused_and_a_lost_key_is_not_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut publisher, _) = Publisher::new(dir.path());
    publisher.start();
    let second = publisher.command().arg("--show-key").output().expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another publisher runs"));
    publisher.kill9();
    std::fs::remove_file(dir.path().join("publisher/log-key")).expect("removed");
    let again = publisher.command().arg("--show-key").output().expect("it runs");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("restore it"));
}

/// What `daybook key` says of a directory whose log key a publisher holds: how it ended, and its words.
fn key(scratch: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let settings = format!(
        "data = {:?}\norigin = {ORIGIN:?}\nsigned_elsewhere = {:?}\nanchor = {:?}\n",
        scratch.join("data"),
        scratch.join("publisher"),
        scratch.join("anchor"),
    );
    std::fs::write(scratch.join("daybook.toml"), settings).expect("written");
    let said = Command::new(env!("CARGO_BIN_EXE_daybook"))
        .arg("key")
        .args(args)
        .env("DAYBOOK_CONFIG", scratch.join("daybook.toml"))
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (said.status.code(), text(said.stdout), text(said.stderr))
}

#[test]
fn a_key_that_the_publisher_holds_is_not_replaced_alone_and_the_key_of_receipts_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut publisher, log_key) = Publisher::new(dir.path());
    // The command has the clock of this machine.
    let now = || SystemClock::new().now().to_string();
    let service = Service::signed_elsewhere(dir, &now(), "publisher", ORIGIN);
    publisher.start();
    let app = service.app.clone().expect("it runs");
    until("something is signed", || app.signed().is_some());
    let receipt_key = app.verifier_keys().1;
    let size = app.log().size();
    drop(app);
    let dir = service.dir();
    drop(service);
    let scratch = dir.path().to_owned();
    let size_now = || {
        let note = std::fs::read_to_string(scratch.join("data/to-sign")).expect("it was offered");
        note.lines()
            .nth(1)
            .expect("a size")
            .parse::<u64>()
            .expect("a number")
    };
    let recovery = scratch.join("no-such.key");
    let recovery = recovery.to_str().expect("a path of ours");
    let data = scratch.join("data");
    let data = data.to_str().expect("a path of ours");
    for args in [
        &["rotate"][..],
        &["rotate", "--role", "post-quantum"],
        &["recover", "--recovery-key", recovery, "--reason", "lost"],
        &["rotate", "--data", data],
    ] {
        let (code, out, said) = key(&scratch, args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}: {said}");
        assert!(
            said.contains("daybook publish") && said.contains("nothing was changed"),
            "{args:?}: {said}"
        );
    }
    assert!(!scratch.join("data/keys/log-key.next").exists());
    assert!(size_now() >= size.get());

    publisher.kill9();
    let (code, new, said) = key(&scratch, &["rotate", "--role", "receipt"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("as soon as `daybook publish` has signed it"),
        "{said}"
    );
    assert_ne!(new.trim(), receipt_key);
    let position: u64 = said
        .split("in force since position ")
        .nth(1)
        .and_then(|rest| rest.split('.').next())
        .expect("a position")
        .parse()
        .expect("a number");
    // What comes after it is not signed before it is.
    let service = Service::signed_elsewhere(dir, &now(), "publisher", ORIGIN);
    let app = service.app.clone().expect("it runs");
    assert_eq!(app.verifier_keys(), (log_key.to_string(), new.trim().to_owned()));
    days_pass(&service, 1);
    publisher.start();
    until("the day is out", || !published(&service).is_empty());
    let proof = app.heads().rotation(Position(position)).expect("readable");
    let proof = TlogProof::parse(&proof.expect("it is kept")).expect("a proof");
    assert_eq!(proof.size(), Position(position).size_through());
    proof
        .checkpoint
        .verify(ORIGIN, [&log_key])
        .expect("signed by the publisher");
    assert_eq!(
        service.get("/keys/rotations").1,
        format!("{position}\n").into_bytes()
    );
    // The channel has it, too.
    let out = scratch.join(format!("static/keys/{position}.tlog-proof"));
    assert_eq!(
        std::fs::read(out).ok(),
        app.heads().rotation(Position(position)).expect("readable")
    );
}

#[test]
fn a_post_quantum_key_does_not_go_together_with_a_publisher() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_publisher, _) = Publisher::new(dir.path());
    let settings = Settings {
        data: dir.path().join("data"),
        anchor: Some(dir.path().join("anchor")),
        origin: Some(ORIGIN.to_owned()),
        signed_elsewhere: Some(dir.path().join("publisher")),
        post_quantum: true,
        ..Settings::default()
    };
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::from_os().expect("randomness"));
    let refused = api::stores::open(&settings, &entropy).err().expect("refused");
    assert!(refused.to_string().contains("post_quantum"), "{refused}");
    assert!(!dir.path().join("data/ledger").exists(), "nothing was begun");
}

#[test]
fn who_signs_asks_the_witnesses_and_goes_on_with_those_that_were_down() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut publisher, key) = Publisher::new(dir.path());
    let mut witness = WitnessProcess::start(&[key.to_string()]);
    let policy_file = dir.path().join("policy");
    let text = format!(
        "log {key}\nwitness w {} {}\nquorum w\n",
        witness.key(),
        witness.url()
    );
    std::fs::write(&policy_file, &text).expect("written");
    publisher.set(&format!("witness_policy = {policy_file:?}"));
    let named = policy_file.clone();
    let service =
        Service::signed_elsewhere_with(dir, "2026-04-01T12:00:00Z", "publisher", ORIGIN, |settings| {
            settings.witness_policy = Some(named);
        });
    let app = service.app.clone().expect("it runs");
    publisher.start();
    days_pass(&service, 1);
    let policy = Policy::parse(text.as_bytes()).expect("a policy");
    let quorum = |date: &Date| {
        let bytes = app.heads().get(*date).expect("readable")?;
        let head = TlogProof::parse(&bytes).expect("a proof");
        Some(
            policy
                .examine_with(&head.checkpoint, [&key])
                .expect("its lines hold")
                .quorum,
        )
    };
    let all_met = |count: usize| {
        let dates = app.heads().dates().expect("listed");
        dates.len() == count && dates.iter().all(|date| quorum(date) == Some(Quorum::Met))
    };
    until("the first head is witnessed", || all_met(1));
    until("it is out", || published(&service).len() == 1);
    // The witness is down: days are closed, signed and published, without the word.
    witness.kill9();
    days_pass(&service, 2);
    until("three days are out", || published(&service).len() == 3);
    let dates = app.heads().dates().expect("listed");
    assert_eq!(quorum(&dates[2]), Some(Quorum::Missed));
    let state = app.witnesses().expect("it was named").head_state(dates[2]);
    assert_eq!(state, HeadState::Integrated, "no more than that is said of it");
    // Both come back, and the heads that were missed are cosigned in their order.
    publisher.kill9();
    witness.restart();
    publisher.start();
    until("every head is witnessed", || all_met(3));
    for date in &dates {
        assert_eq!(
            app.witnesses().expect("it was named").head_state(*date),
            HeadState::Witnessed
        );
    }
    // What is served carries the witness's line, and an auditor with the policy alone is satisfied with it.
    until("the latest is cosigned", || {
        let (_, served) = service.get("/log/checkpoint");
        let served = SignedCheckpoint::parse(&served).expect("a checkpoint");
        policy
            .examine_with(&served, [&key])
            .expect("its lines hold")
            .quorum
            == Quorum::Met
    });
    assert!(publisher.runs());
}
