//! Whole logs kept elsewhere: exported, damaged in every way, verified.
//!
//! `cli` as typed · `flips` every byte and every length · `verdicts` forged, swapped, older, forked · `exports` what is written and
//! when · `oracle` other implementations · `golang` another language · `served` over HTTP.

mod cli;
mod exports;
mod flips;
mod golang;
mod oracle;
mod served;
pub mod verdicts;

use chain_publisher::directory::Directory;
use chain_publisher::evidence::{Evidence, Trust};
use chain_publisher::{LogSource, Report, VerifySettings, export, verify};
use domain::note::VerifierKey;
use std::path::{Path, PathBuf};
use tests::small_ledger::SmallLedger;

/// What an auditor has who kept the key and these heads or checkpoints.
pub fn auditor(key: &str, kept: &[&[u8]]) -> VerifySettings {
    let evidence = kept.iter().enumerate().map(|(n, bytes)| {
        Evidence::parse(&format!("what was kept ({n})"), bytes).expect("it was kept whole")
    });
    VerifySettings {
        trust: Trust {
            keys: vec![VerifierKey::parse(key).expect("a key")],
            ..Trust::default()
        },
        evidence: evidence.collect(),
        ..VerifySettings::default()
    }
}

/// Verifies; a source that cannot be read has no verdict.
pub fn run(source: &dyn LogSource, settings: &VerifySettings) -> Report {
    verify(source, settings, &mut |_| {}).expect("there is a verdict")
}

/// Verifies what is in a directory.
pub fn run_dir(dir: &Path, settings: &VerifySettings) -> Report {
    run(&Directory::open(dir).expect("there is a copy"), settings)
}

/// Exports a ledger to a fresh directory.
pub fn exported(ledger: &SmallLedger) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a scratch directory");
    export(&ledger.source(), dir.path(), &mut |_, _| {}).expect("it is exported");
    dir
}

/// Every file below a directory, relative to it, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    fn walk(dir: &Path, top: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                walk(&path, top, found);
            } else {
                found.push(path.strip_prefix(top).expect("below").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}
