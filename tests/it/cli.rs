//! The command line where there is nothing to work on: what it says, how it ends, and that it makes nothing.
//!
//! Not here: verdicts (`verify::cli`), what a service answers.

use std::path::Path;
use std::process::{Command, Output};
use tests::daybook::{Daybook, binary};

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(binary())
        .args(args)
        .current_dir(dir)
        .env_remove("DAYBOOK_DATA")
        .env("XDG_STATE_HOME", dir.join("state"))
        .output()
        .expect("the binary runs")
}

#[test]
fn commands_in_the_wrong_directory_say_what_to_do_and_make_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    for (args, code) in [
        (&["key", "show"][..], 1),
        (&["sign-in"], 1),
        (&["account", "open", "North", "chef@example.eu"], 1),
        (&["rebuild"], 1),
        (&["verify"], 2),
        (&["export", "--to", "copy"], 2),
        (&["doctor"], 1),
    ] {
        let output = run(dir.path(), args);
        let told = [&output.stdout[..], &output.stderr[..]].concat();
        let told = String::from_utf8_lossy(&told);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(
            told.contains("there is no ledger in daybook-data") && told.contains("--data"),
            "{args:?}: {told}"
        );
        let made = std::fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(made, 0, "{args:?} left something behind");
    }
}

#[test]
fn settings_that_cannot_work_make_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    for args in [
        &["serve", "--origin", "https://daybook.example.eu"][..],
        &["serve", "--config", "nowhere.toml"],
        &["serve", "--public-url", "daybook.example.eu"],
    ] {
        let output = run(dir.path(), args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        let made = std::fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(made, 0, "{args:?} left something behind");
    }
}

#[test]
fn a_file_where_a_directory_belongs_is_said_in_words_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("notes.txt"), "mine").expect("writable");
    for args in [
        &["serve", "--data", "notes.txt", "--listen", "127.0.0.1:0"][..],
        &["witness", "--dir", "notes.txt", "--show-key"],
        &[
            "publish",
            "--dir",
            "notes.txt",
            "--origin",
            "x.example/y",
            "--show-key",
        ],
    ] {
        let output = run(dir.path(), args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(
            said.contains("notes.txt") && said.contains("names a directory"),
            "{args:?}: {said}"
        );
        assert!(output.stdout.is_empty(), "{args:?}");
        let left = std::fs::read(dir.path().join("notes.txt")).expect("it is there");
        assert_eq!(left, b"mine");
    }
}

#[test]
fn what_is_asked_about_and_is_not_there_is_no_good_answer() {
    let daybook = Daybook::start();
    daybook.device("hut01");
    let mistyped = format!("alm_{}", "a".repeat(26));
    for args in [
        &["replay", "--rules", "--alarm", &mistyped][..],
        &["replay", "--rules", "--alarm", "alm_"],
        &[
            "evidence",
            "--alarm",
            &mistyped,
            "--out",
            "/tmp/daybook-no-such-pack.zip",
        ],
        &[
            "evidence",
            "--site",
            "site_x",
            "--from",
            "2026-05-17",
            "--to",
            "2026-05-17",
            "--out",
            "nowhere/a.zip",
        ],
        &["as-of", "5", "site_x"],
    ] {
        let (code, out, err) = daybook.cli(args);
        assert_eq!(code, 2, "{args:?}: {out}{err}");
        assert!(
            out.is_empty() && err.contains("there is no "),
            "{args:?}: {out}{err}"
        );
    }
    let (code, out, err) = daybook.cli(&["replay", "--rules"]);
    assert_eq!(code, 0, "{out}{err}");
}
