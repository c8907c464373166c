//! The service reads its own ledger again: what holds is said so, what does not stops it.

use serde_json::json;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::daybook::Daybook;

/// How long a pass may take to be heard of.
const PATIENCE: Duration = Duration::from_secs(60);

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

    let path = frames(&daybook.data());
    let bytes = std::fs::read(&path).expect("readable");
    let wanted = b"\"ReadingRecorded\"";
    let at = bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
        .expect("a reading");
    let file = OpenOptions::new().write(true).open(&path).expect("writable");
    file.write_at(b"\"ReadingRecordex\"", at as u64).expect("written");
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
