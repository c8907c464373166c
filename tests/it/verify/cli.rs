//! The commands `verify` and `export` as they are typed: exit codes, words, JSON, beside a running service.

use super::{exported, files};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use tests::daybook::{Daybook, binary};
use tests::small_ledger::{Plan, SmallLedger};

/// Runs the binary: exit code, stdout, stderr.
fn daybook(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary())
        .args(args)
        .env_remove("DAYBOOK_TOKEN")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

#[test]
fn the_json_of_a_report_is_the_golden_one() {
    let ledger = SmallLedger::record(Plan::default());
    let dir = exported(&ledger);
    let kept = tempfile::tempdir().expect("a scratch directory");
    let head = kept.path().join("kept.checkpoint");
    std::fs::write(&head, &ledger.checkpoint).expect("writable");
    let args = [
        "verify",
        "--json",
        "--export",
        text(dir.path()),
        "--key",
        &ledger.key,
        "--head",
        text(&head),
    ];
    let (code, out, err) = daybook(&args);
    assert_eq!(code, 0, "{out}{err}");
    let found = out
        .replace(text(dir.path()), "DIR")
        .replace(text(&head), "kept.checkpoint");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/verify.json");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&golden, &found).expect("writable");
    }
    let golden = std::fs::read_to_string(&golden).expect("the golden is there");
    assert_eq!(found, golden, "run with UPDATE_GOLDENS=1 if this is meant");
}

#[test]
fn each_verdict_ends_with_its_exit_code_and_begins_with_its_word() {
    let ledger = SmallLedger::record(Plan::default());
    let newer = SmallLedger::record(Plan {
        days: 3,
        ..Plan::default()
    });
    let other = SmallLedger::record(Plan {
        parts_at: Some(0),
        ..Plan::default()
    });
    let dir = exported(&ledger);
    let kept = tempfile::tempdir().expect("a scratch directory");
    let keep = |name: &str, bytes: &[u8]| {
        let path = kept.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        text(&path).to_owned()
    };
    let own = keep("own", &ledger.checkpoint);
    let later = keep("later", &newer.head(2));
    let fork = keep("fork", &other.head(1));
    let key = keep(
        "log.vkey",
        format!("# the log's key\n{}\n", ledger.key).as_bytes(),
    );
    let photo = keep("photo", b"\xff\xd8");
    let export = text(dir.path());
    for (args, code, word) in [
        (vec!["--key", &key, "--head", &own], 0, "VERIFIED"),
        (
            vec!["--key", &ledger.key, "--head", &own, "--no-canonical"],
            0,
            "VERIFIED",
        ),
        (vec!["--key", &key], 3, "UNANCHORED"),
        (vec![], 3, "UNANCHORED"),
        (vec!["--key", &key, "--head", &later], 1, "TRUNCATED"),
        (vec!["--key", &key, "--head", &fork], 1, "FORKED"),
        (vec!["--origin", "another.example/log"], 1, "TAMPERED"),
        (vec!["--key", &photo], 2, ""),
        (vec!["--key", &key, "--head", &photo], 2, ""),
        (vec!["--key", "not-a-key"], 2, ""),
        (vec!["--data", "."], 2, ""),
    ] {
        let mut all = vec!["verify", "--export", export];
        all.extend(&args);
        let (found, out, err) = daybook(&all);
        assert_eq!(found, code, "{args:?}: {out}{err}");
        assert!(out.starts_with(word), "{args:?}: {out}");
        assert_eq!(out.is_empty(), code == 2, "{args:?}: {out}");
        assert_eq!(err.is_empty(), code != 2, "{args:?}: {err}");
    }
    let (code, _, err) = daybook(&["verify", "--export", "/nonexistent"]);
    assert_eq!((code, err.contains("no such directory")), (2, true), "{err}");
}

/// What an auditor of a running service has.
fn anchor_of(service: &Daybook) -> String {
    text(&service.scratch().join("anchor")).to_owned()
}

fn key_of(service: &Daybook) -> String {
    let (code, out, err) = service.cli(&["key", "show"]);
    assert_eq!(code, 0, "{err}");
    out.lines().next().expect("a key").to_owned()
}

fn ingest(service: &Daybook, token: &str, from: u32, count: u32) {
    for n in from..from + count {
        service.send(token, "fridge", None, f64::from(n)).expect(200);
    }
}

#[test]
fn a_data_directory_is_verified_and_exported_beside_the_service_and_after_it() {
    let mut service = Daybook::with().set("rate_per_minute", 0).start();
    let (_, _, token) = service.device("fridge");
    ingest(&service, &token, 0, 20);
    let (key, anchor) = (key_of(&service), anchor_of(&service));
    let verify = |service: &Daybook| service.cli(&["verify", "--json", "--key", &key, "--anchor", &anchor]);
    // While it runs the last second may be unsigned.
    let (code, out, err) = verify(&service);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    assert!(matches!(code, 0 | 3), "{out}");
    assert!(report["entries"].as_u64().expect("a number") >= 20, "{out}");
    let to = service.scratch().join("copy");
    let (code, _, err) = service.cli(&["export", "--to", text(&to)]);
    assert_eq!(code, 0, "{err}");
    ingest(&service, &token, 20, 10);
    assert!(service.stop().success());
    let (code, out, _) = verify(&service);
    assert_eq!(code, 0, "{out}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["verdict"], "VERIFIED");
    assert_eq!(report["derived_damage"], serde_json::json!([]));
    let (code, _, err) = service.cli(&["export", "--to", text(&to)]);
    assert_eq!(code, 0, "{err}");
    let key_file = service.scratch().join("log.vkey");
    std::fs::write(&key_file, format!("{key}\n")).expect("writable");
    let args = [
        "verify",
        "--export",
        text(&to),
        "--key",
        text(&key_file),
        "--anchor",
        &anchor,
    ];
    let (code, out, err) = daybook(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("VERIFIED"), "{out}");
    // The whole directory put back from an older copy is noticed by the anchor.
    let copy = service.scratch().join("older");
    copy_dir(&service.data(), &copy);
    service.restart();
    ingest(&service, &token, 30, 3);
    assert!(service.stop().success());
    let args = [
        "verify",
        "--data",
        text(&copy),
        "--key",
        &key,
        "--anchor",
        &anchor,
    ];
    let (code, out, err) = daybook(&args);
    assert_eq!((code, out.starts_with("TRUNCATED")), (1, true), "{out}{err}");
}

#[test]
fn a_running_service_is_verified_over_http_with_and_without_a_token() {
    let service = Daybook::with().set("rate_per_minute", 0).start();
    let (_, _, token) = service.device("fridge");
    ingest(&service, &token, 0, 5);
    let key = key_of(&service);
    let url = service.url().to_owned();
    let (code, out, err) = daybook(&["verify", "--url", &url, "--key", &key]);
    assert_eq!((code, out.starts_with("UNANCHORED")), (3, true), "{out}{err}");
    let checkpoint = service.scratch().join("kept.checkpoint");
    let token_file = service.data().join("owner-token");
    service.until_signed(service.size());
    // The checkpoint that is kept must cover everything that is there when it is asked.
    let (code, out) = (0..50)
        .map(|_| {
            std::fs::write(&checkpoint, service.get("/log/checkpoint").text()).expect("writable");
            let args = [
                "verify",
                "--url",
                &url,
                "--key",
                &key,
                "--head",
                text(&checkpoint),
                "--token-file",
                text(&token_file),
                "--allow-partial",
            ];
            let (code, out, err) = daybook(&args);
            (code, out + &err)
        })
        .find(|(code, _)| *code == 0)
        .expect("it is quiet at last");
    assert_eq!(code, 0);
    assert!(out.starts_with("PARTIAL") && out.contains("withheld"), "{out}");
    let (code, _, err) = daybook(&[
        "verify",
        "--url",
        "http://192.0.2.1",
        "--token-file",
        text(&token_file),
    ]);
    assert_eq!((code, err.contains("https")), (2, true), "{err}");
}

#[test]
fn every_damaged_file_of_a_data_directory_is_found_or_said_to_be_derived() {
    let mut service = Daybook::with().set("rate_per_minute", 0).start();
    let (_, _, token) = service.device("fridge");
    ingest(&service, &token, 0, 5);
    let (key, anchor) = (key_of(&service), anchor_of(&service));
    assert!(service.stop().success());
    let ledger = service.data().join("ledger");
    let verify = || service.cli(&["verify", "--json", "--key", &key, "--anchor", &anchor]);
    let (code, out, err) = verify();
    assert_eq!(code, 0, "{out}{err}");
    let signed = serde_json::from_str::<Value>(&out).expect("JSON")["signed"]
        .as_u64()
        .expect("signed");
    for file in files(&ledger) {
        let path = ledger.join(&file);
        let bytes = std::fs::read(&path).expect("readable");
        // Zeros ahead of what is written are nobody's.
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        for offset in [0, 9, used / 3, used / 2, used.saturating_sub(9)] {
            if offset >= used || file.to_str() == Some("lock") {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[offset] ^= 0x10;
            std::fs::write(&path, &flipped).expect("writable");
            let (code, out, err) = verify();
            let report: Value =
                serde_json::from_str(&out).unwrap_or_else(|_| panic!("{file:?} {offset}: {err}"));
            let derived = report["derived_damage"]
                .as_array()
                .is_some_and(|damage| !damage.is_empty());
            let named = report["position"]
                .as_u64()
                .is_some_and(|position| position <= signed);
            assert!(
                code == 1 && named || code == 0 && derived,
                "{file:?} {offset}: {code} {out}"
            );
        }
        std::fs::write(&path, &bytes).expect("writable");
    }
    assert_eq!(verify().0, 0);
}

fn copy_dir(from: &Path, to: &Path) {
    for file in files(from) {
        let (source, target) = (from.join(&file), to.join(&file));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        if source.metadata().is_ok_and(|meta| meta.is_file()) {
            std::fs::copy(source, target).expect("copied");
        }
    }
}
