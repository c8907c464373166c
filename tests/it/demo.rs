//! The demo and the bench as somebody who tries them starts them: the real binary, a scratch directory.
//!
//! Not here: what is simulated and measured (their own tests), speed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tests::daybook::binary;

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_builds_a_living_site_and_stops_when_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("demo");
    let child = Command::new(binary())
        .args([
            "demo",
            "--days",
            "1",
            "--speed",
            "5",
            "--listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(&data)
        .env("XDG_STATE_HOME", dir.path().join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut demo = Running(child);
    let stderr = demo.0.stderr.take().expect("stderr is piped");
    let mut said = Vec::new();
    let mut url = String::new();
    let mut link = String::new();
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    for line in lines.by_ref() {
        if let Some(found) = line.strip_prefix("The demo lives: ") {
            url = found.trim().to_owned();
        }
        if let Some(found) = line.trim().strip_prefix("Sign in ") {
            link = found.trim().to_owned();
        }
        let last = line.trim().starts_with("Stop ");
        said.push(line);
        if last {
            break;
        }
    }
    let said = said.join("\n");
    assert!(url.starts_with("http://127.0.0.1:"), "{said}");
    assert!(link.starts_with(&format!("{url}/sign-in?token=")), "{said}");
    assert!(said.contains("The past: "), "{said}");

    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let owner = std::fs::read_to_string(data.join("owner-token")).expect("the owner's token");
    // The dessert fridge is too warm: that is an alarm, once the rules have judged the past.
    let deadline = std::time::Instant::now() + tests::PATIENCE;
    loop {
        let events = agent
            .get(format!("{url}/v1/events?state=open"))
            .header("Authorization", format!("Bearer {}", owner.trim()))
            .call()
            .expect("answers")
            .body_mut()
            .read_to_string()
            .expect("text");
        if events.contains("\"id\":\"alm_") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "no alarm: {events}");
        std::thread::yield_now();
    }
    let get = |path: &str| -> serde_json::Value {
        let mut answer = agent
            .get(format!("{url}{path}"))
            .header("Authorization", format!("Bearer {}", owner.trim()))
            .call()
            .expect("answered");
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_str(&answer.body_mut().read_to_string().expect("text")).expect("JSON")
    };
    let sites = get("/v1/sites");
    let sites = sites["data"].as_array().expect("a list");
    assert_eq!(sites.len(), 4);
    // New readings arrive: wait for the tray's stranger, the last who speaks.
    let mut tries = 0;
    let tray = loop {
        let tray = get("/v1/tray");
        if tray["data"].as_array().is_some_and(|waiting| !waiting.is_empty()) {
            break tray;
        }
        tries += 1;
        assert!(tries < 600, "nobody unknown was heard");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert!(tray.to_string().contains("A84041FFFF18D27E"), "{tray}");

    let told = Command::new("kill")
        .args(["-TERM", &demo.0.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(told.success());
    let rest: Vec<String> = lines.collect();
    let status = demo.0.wait().expect("it ends");
    assert!(status.success(), "{status}: {rest:?}");
    assert!(rest.iter().any(|line| line.contains("Kept in")), "{rest:?}");
    let again = Command::new(binary())
        .args(["demo", "--data"])
        .arg(&data)
        .output()
        .expect("the binary runs");
    assert_eq!(again.status.code(), Some(2), "a ledger is never played into");
}

#[test]
fn the_bench_measures_every_row_and_holds_it_against_its_target() {
    // A busy machine may answer nothing at all within a third of a second.
    let measured = |row: &serde_json::Value| row["value"].as_f64().is_some_and(|v| v > 0.0);
    let may_be_nothing = |row: &serde_json::Value| row["unit"] == "bytes/reading" || row["unit"] == "ms";
    let mut report = bench("0.3");
    for seconds in ["3", "30"] {
        let rows = report["rows"].as_array().expect("rows");
        if rows.iter().all(|row| measured(row) || may_be_nothing(row)) {
            break;
        }
        report = bench(seconds);
    }
    let rows = report["rows"].as_array().expect("rows");
    assert!(rows.len() >= 25, "{} rows: {report}", rows.len());
    for row in rows {
        assert!(measured(row) || may_be_nothing(row), "{row}");
        let note = row["note"].as_str().unwrap_or_default();
        assert!(!note.contains("refused") && !note.contains("TAMPERED"), "{row}");
    }
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(11), "{report}");
}

/// What `daybook bench` says of a small load, each row for so many seconds.
fn bench(seconds: &str) -> serde_json::Value {
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new(binary())
        .args(["bench", "--quick", "--seconds", seconds])
        .args(["--devices", "32", "--connections", "2"])
        .args(["--entries", "2000", "--streams", "2000", "--json", "--dir"])
        .arg(dir.path())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let left = std::fs::read_dir(dir.path()).expect("listed").count();
    assert_eq!(left, 0, "the bench leaves nothing behind");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
