//! Evidence packs: one file that proves what was recorded of a site, a device or a channel over some days.
//!
//! - `zip`: the container, written and read byte for byte.
//! - `walk`: which hashes a reader needs beside the entries given, and the roots that both lead to.
//! - `lines`: lines of a day's stream map with their proofs.
//! - `derived`: `readings.csv` and `config.json`, made from entries alone, by whoever makes or verifies a pack.
//! - `artefacts`: files that a pack brings along, by the hashes that the ledger has of them.
//! - `alarm`: channel and days of an alarm.
//! - `manifest`: what a pack says of itself; `spool` keeps a file until it is known how large it is.
//! - `make`: a pack from a ledger: `plan` says what it holds, `scan` goes over the entries.
//! - `verify`: a verdict from a pack. `read` and `nodes` read its files, `pass` its entries, `streams` holds the streams
//!   against their days, `judge` everything against what the asker knows, `report` has the words.
//!
//! Invariants: the same ledger, checkpoint, query, asker and software give the same bytes; nothing that a pack says of
//! itself makes a verdict better than UNANCHORED; a reader takes exactly the bytes that a writer writes.
//! Source: FORMAT §7, §8.
//! Not here: who may ask for a pack (`api`), where it is recorded.

mod alarm;
pub mod artefacts;
mod derived;
mod judge;
mod lines;
mod make;
mod manifest;
mod nodes;
mod pass;
mod plan;
mod read;
mod report;
mod scan;
mod spool;
mod streams;
mod verify;
pub mod walk;
pub mod zip;

pub use alarm::{AlarmError, Days, FoundAlarm, find_alarm};
pub use derived::derive;
pub use lines::MapLine;
pub use make::{DayLines, Made, MakeError, Order, PackSource, StreamIndex, make};
pub use manifest::{Counts, FileOf, Manifest, Query, QueryError, Subject};
pub use report::PackReport;
pub use verify::{PackError, verify};

/// What the pack says of itself.
pub const MANIFEST: &str = "manifest.json";
/// The manifest's signature.
pub const MANIFEST_NOTE: &str = "manifest.note";
/// The entries, one a line.
pub const ENTRIES: &str = "entries.ndjson";
/// The hashes beside them.
pub const NODES: &str = "nodes.ndjson";
/// The signed note that everything leads to.
pub const CHECKPOINT: &str = "checkpoint";
/// Lines of the days' stream maps.
pub const STREAMS: &str = "streams.ndjson";
/// Logs and witnesses as the ledger names them.
pub const POLICY: &str = "policy";
/// The values, one a line.
pub const READINGS_CSV: &str = "readings.csv";
/// What was configured.
pub const CONFIG: &str = "config.json";
/// The verifier for a browser.
pub const VERIFY_HTML: &str = "verify.html";
/// The page itself, a verifier without a network; the service's own page shares its code.
pub const VERIFIER_PAGE: &str = include_str!("../../assets/verify.html");
/// The verifier for Python.
pub const VERIFY_PY: &str = "verify.py";
/// What this is, for a person.
pub const README: &str = "README.txt";

/// The first line of what signs a manifest.
pub const NOTE_HEADER: &str = "daybook/pack/v1";
/// The largest manifest, bytes: a century of heads is a third of it.
pub const MANIFEST_BYTES_MAX: usize = 16 << 20;
/// The longest line of a file of lines, bytes: twice the largest entry.
pub const LINE_BYTES_MAX: usize = 128 << 10;
/// Entries of the ledger's own stream that every pack holds.
pub const LEDGER_EVENTS: [&str; 5] = [
    "LedgerCreated",
    "KeyRotated",
    "WitnessPolicySet",
    "RetentionPolicySet",
    "RetentionApplied",
];
/// The stream type whose entries are given as stubs: they hold hashes of secrets.
pub const TOKENS: &str = "tokens";

/// The text that the receipt key signs.
pub fn note_text(origin: &str, manifest: &domain::Hash) -> String {
    format!("{NOTE_HEADER}\n{origin}\n{manifest}\n")
}

/// Where a day's head stands.
pub fn head_name(date: domain::Date) -> String {
    let (year, ..) = date.civil();
    format!("heads/{year:04}/{date}.tlog-proof")
}

/// The day whose head has that name.
pub fn head_date(name: &str) -> Option<domain::Date> {
    let file = name.rsplit('/').next()?.strip_suffix(".tlog-proof")?;
    let date = domain::Date::parse(file).ok()?;
    (head_name(date) == name).then_some(date)
}
