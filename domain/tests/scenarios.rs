//! Scenarios: readings and configuration in, decisions out, as an operator would tell them.
//!
//! Invariants: each scenario of `scenarios/*.txt` comes out as it is written there; it comes out the same in batches
//! of any size, and with the engine's state written and read back after every entry.
//! `UPDATE_GOLDENS=1` writes what comes out; read it before you believe it. The form of the files stands in
//! `scenarios/README.md`. Not here: properties over random ledgers (`rules_property.rs`).

mod common;

use common::scenario::{Scenario, read_file};
use std::path::PathBuf;

fn files() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of scenarios")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    files
}

fn all() -> Vec<(PathBuf, Vec<Scenario>)> {
    files()
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a scenario file");
            let scenarios = read_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path, scenarios)
        })
        .collect()
}

#[test]
fn every_scenario_comes_out_as_it_is_written() {
    let mut count = 0;
    for (path, scenarios) in all() {
        let mut text = String::new();
        for scenario in &scenarios {
            count += 1;
            text.push_str(&scenario.rendered());
        }
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(&path, &text).expect("written");
            continue;
        }
        let expected = std::fs::read_to_string(&path).expect("a scenario file");
        for (line, (found, wanted)) in text.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found, wanted, "{}:{}", path.display(), line + 1);
        }
        assert_eq!(text.len(), expected.len(), "{}", path.display());
    }
    assert!(count >= 60, "{count} scenarios");
}

#[test]
fn every_scenario_comes_out_the_same_in_batches_of_any_size() {
    for (path, scenarios) in all() {
        for scenario in scenarios {
            let one_by_one = scenario.decisions_in_batches(1);
            for size in [2, 3, 7, usize::MAX] {
                assert_eq!(
                    scenario.decisions_in_batches(size),
                    one_by_one,
                    "{}: {} in batches of {size}",
                    path.display(),
                    scenario.title
                );
            }
        }
    }
}

#[test]
fn every_scenario_comes_out_the_same_with_a_restart_after_every_entry() {
    for (path, scenarios) in all() {
        for scenario in scenarios {
            assert_eq!(
                scenario.decisions_with_restarts(),
                scenario.decisions_in_batches(1),
                "{}: {}",
                path.display(),
                scenario.title
            );
        }
    }
}
