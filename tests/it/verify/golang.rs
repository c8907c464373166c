//! An export, read by Go's own signed notes and transparency logs: whole, and broken at every kind of file.
//!
//! Not here: the program (`tests/go/checkexport`).

use super::exported;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::golang;
use tests::small_ledger::{Plan, SmallLedger};

/// The program, unless there is no Go and none can be installed: said loudly, and a failure in CI.
fn checker() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    match golang::build("checkexport", &dir) {
        Ok(program) => Some(program),
        Err(why) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}

fn check(program: &Path, dir: &Path, key: &str) -> (i32, String) {
    let output = Command::new(program).arg(dir).arg(key).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn go_finds_an_export_whole_and_whatever_is_broken_in_it() {
    let Some(program) = checker() else {
        return;
    };
    let ledger = SmallLedger::record(Plan {
        days: 2,
        readings: 160,
        ..Plan::default()
    });
    let dir = exported(&ledger);
    let size = ledger.size().get();
    assert_eq!(size / 256, 1, "a full bundle and a partial one");
    let (code, said) = check(&program, dir.path(), &ledger.key);
    let whole = format!("daybook.test/small: {size} entries, 2 bundles, 3 tiles, 2 heads\n");
    assert_eq!((code, said), (0, whole));
    for (file, word) in [
        ("checkpoint".to_owned(), "checkpoint"),
        ("tile/0/000".to_owned(), "tile/0/000"),
        (format!("tile/0/001.p/{}", size - 256), "tile/0/001"),
        ("tile/1/000.p/1".to_owned(), "tile/1/000"),
        ("tile/entries/000".to_owned(), ""),
        ("entries/000.ndjson".to_owned(), "entries/000.ndjson"),
        ("heads/2026/2026-05-17.tlog-proof".to_owned(), "2026-05-17"),
    ] {
        let path = dir.path().join(&file);
        let good = std::fs::read(&path).expect("readable");
        for at in [0, good.len() / 3, good.len() - 2] {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, flipped).expect("writable");
            let (code, said) = check(&program, dir.path(), &ledger.key);
            assert!(code == 1 && said.contains(word), "{file} at {at}: {code} {said}");
        }
        std::fs::write(&path, good).expect("writable");
    }
    // The head of another history.
    let other = SmallLedger::record(Plan {
        days: 2,
        readings: 160,
        parts_at: Some(1),
        ..Plan::default()
    });
    let head = dir.path().join("heads/2026/2026-05-18.tlog-proof");
    std::fs::write(&head, other.head(1)).expect("writable");
    let (code, said) = check(&program, dir.path(), &ledger.key);
    assert!(code == 1 && said.contains("it has the root"), "{said}");
    let (code, said) = check(&program, dir.path(), "not-a-key");
    assert!(code == 2 && said.contains("the key"), "{said}");
}
