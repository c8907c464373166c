//! The command line where there is nothing to work on: what it says, how it ends, and that it makes nothing.
//!
//! Not here: verdicts (`verify::cli`), what a service answers.

use std::path::Path;
use std::process::{Command, Output};
use tests::daybook::binary;

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
