//! The table of attacks: each row is done to real files, shown to a real process, and noticed in the words that stand here.
//!
//! Invariant: the table in `docs/threat-model.md` is made of these rows (`UPDATE_GOLDENS=1` writes it).
//!
//! - `logs`: copies of whole logs.
//! - `messages`: links and webhooks.
//! - `packs`: evidence packs, receipts, watchers, witnesses.
//! - `services`: a service's own files.
//!
//! Not here: every forgery of a pack (`pack::forged`), every flipped byte (`verify::flips`).

mod logs;
mod messages;
mod packs;
mod services;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::daybook::verifier;

/// Where the table stands in the document.
const BEGINS: &str = "<!-- the table of attacks: made by tests/it/attacks, UPDATE_GOLDENS=1 -->\n";
const ENDS: &str = "<!-- end of the table -->\n";

/// An attack.
struct Row {
    /// What is done.
    attack: &'static str,
    /// Who notices.
    notices: &'static str,
    /// What they read, word for word.
    words: &'static str,
    /// Does it; what was said, and how the process ended.
    run: fn() -> (i32, String),
}

/// A folder with what an attacker made and an auditor kept.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a scratch directory"))
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    }
}

/// Runs `daybook-verify`.
fn verify(subject: &str, of: &Path, more: &[&Path]) -> (i32, String) {
    let output = Command::new(verifier())
        .args([Path::new(subject), of])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("the verifier runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn option(name: &str) -> &Path {
    Path::new(name)
}

/// Every row, as a test of its own and in one table.
macro_rules! rows {
    ($($name:ident: $attack:literal, $notices:literal, $words:literal, $run:expr;)*) => {
        const ROWS: &[Row] = &[$(Row { attack: $attack, notices: $notices, words: $words, run: $run }),*];
        $(#[test] fn $name() { noticed($attack); })*
    };
}

fn noticed(attack: &str) {
    let row = ROWS.iter().find(|row| row.attack == attack).expect("a row");
    let (code, said) = (row.run)();
    assert!(code != 0, "{attack}: nobody minds: {said}");
    assert!(
        said.contains(row.words),
        "{attack}: nobody reads {:?} in\n{said}",
        row.words
    );
}

rows! {
    a_byte_of_an_entry: "a byte of an entry flipped", "`daybook-verify log`", "TAMPERED at position 7: ", logs::entry;
    a_byte_of_a_tile: "a byte of a tile flipped", "`daybook-verify log`", "tile/0/000.p/", logs::tile;
    a_byte_of_the_index: "a byte of the ledger's index flipped", "`daybook verify`", "a slot is not that of its entry", services::index;
    a_byte_of_a_head: "a byte of a head flipped", "`daybook-verify log`", "the head of 2026-05-17: ", logs::head;
    a_byte_of_a_receipt: "a byte of a receipt flipped", "`daybook-verify receipt`", "signature", packs::receipt;
    a_byte_of_a_pack: "a byte of a pack flipped", "`daybook-verify pack`", "entries.ndjson", packs::byte;
    a_cut_tail: "the tail cut below a head that was kept", "`daybook-verify log`", "TRUNCATED: the log has ", logs::cut;
    an_older_copy_watched: "rolled back between two looks", "`daybook-verify watch`", "TRUNCATED", packs::rolled_back;
    an_older_copy_beside_its_anchor: "an older copy of the directory put back, the anchor being elsewhere", "`daybook serve`, which does not start", "daybook continue", services::put_back_beside_its_anchor;
    an_older_copy_and_a_head: "an older copy of the directory put back", "`daybook-verify log` with a head that was kept", "TRUNCATED: the log has ", services::put_back_against_a_head;
    an_older_copy_with_its_anchor: "a service rolled back between two checkpoints, its anchor with it", "`daybook-verify watch`", "TRUNCATED", services::put_back_with_its_anchor;
    a_fork: "a fork after a published head", "`daybook-verify log`", "FORKED at size ", logs::fork;
    a_backdated_entry: "an entry backdated, and signed again", "`daybook-verify log`", "recorded_at goes back", logs::backdated;
    a_moved_signature: "a signature moved to another root", "`daybook-verify log`", "the checkpoint: ", logs::moved_signature;
    a_forged_tile: "an entry forged with tiles that fit it", "`daybook-verify log`", "have the root ", logs::forged_tiles;
    a_replaced_key: "the key replaced, and all signed again", "`daybook-verify log`", "it is another one than the key that was given", logs::replaced_key;
    a_second_day_closed: "a day closed twice", "`daybook-verify log`", "the day 2026-05-17 is closed, but 2026-05-18 is the one that is open", logs::closed_twice;
    a_day_closed_early: "a day closed before it is over", "`daybook-verify log`", "the day 2026-05-17 is closed before it is over", logs::closed_early;
    a_day_closed_late: "a day closed after entries of the next", "`daybook-verify log`", "recorded on 2026-05-18, but 2026-05-17 is not closed", logs::closed_late;
    a_class_shown: "readings shown after they were pruned", "`daybook-verify log`", "are shown after position", logs::shown_after;
    a_class_half_pruned: "readings of a day pruned by half", "`daybook-verify log`", "pruned: half of it is there", logs::half_pruned;
    a_class_pruned_early: "readings pruned before their time", "`daybook-verify log`", "removed too early, 2026-05-2", logs::pruned_early;
    a_stub_without_a_law: "a reading hidden behind a stub", "`daybook-verify log`", "its bytes are gone, and no RetentionApplied of 2026-05-20", logs::hidden;
    a_stub_beside_what_is_withheld: "the same in a log of which other entries are withheld", "`daybook-verify log`", "its bytes are gone, and no RetentionApplied of 2026-05-20", logs::hidden_beside_withheld;
    a_retention_shortened: "how long readings are kept shortened", "`daybook-verify log`", "the class reading is to be kept for 30 days, and was to be kept for 400 days: retention is never shortened", logs::retention_shortened;
    a_retention_shortened_in_a_pack: "the same, shown in a pack", "`daybook-verify pack`", "the class reading is to be kept for 399 days, and was to be kept for 400 days", packs::retention_shortened;
    a_retention_shortened_behind_what_is_withheld: "the same in a log that withholds what lengthened it", "`daybook-verify log`", "the class reading is to be kept for 9 days, and was to be kept for 10 days", logs::retention_shortened_behind_withheld;
    a_second_beginning: "a ledger begun a second time, to keep readings for less", "`daybook-verify log`", "a LedgerCreated that is not the first entry", logs::begun_again;
    a_reading_left_out: "a reading removed from a pack", "`daybook-verify pack`", "sequence 7 on 2026-05-18 is missing", packs::reading_removed;
    a_stream_left_out: "a stream of an owner left out of a pack", "`daybook-verify pack`", "INCOMPLETE: ", packs::stream_removed;
    an_alarm_left_out: "an alarm left out of its pack", "`daybook-verify pack`", "the first entry of the alarm ", packs::alarm_removed;
    another_alarm_left_out: "another alarm of the channel left out of a pack", "`daybook-verify pack`", "INCOMPLETE: ", packs::other_alarm_removed;
    a_pack_with_its_own_key: "a pack that brings its own key and policy", "`daybook-verify pack`", "UNANCHORED: ", packs::own_key;
    pruned_readings_in_a_pack: "pruned readings shown in a pack", "`daybook-verify pack`", "readings of 2026-05-18 are shown after position", packs::shown_after;
    a_lie_to_a_witness: "a witness lied to with two trees", "`daybook witness`", "409 300", packs::two_trees;
    a_forged_link: "the link of a message forged", "whoever opens it", "This link leads nowhere", messages::forged_link;
    a_link_used_again: "the link of a message used again, to say something else", "whoever opens it", "This link was used already", messages::link_used_again;
    a_webhook_to_this_machine: "a webhook that leads to this machine", "the outbound log", "target_not_allowed", messages::webhook_to_this_machine;
    a_redirect_to_a_file: "a webhook that redirects to a file", "the outbound log", "bad_redirect", messages::redirect_to_a_file;
    a_redirect_without_end: "a webhook that redirects without end", "the outbound log", "too_many_redirects", messages::redirect_without_end;
    a_swapped_sealed_value: "a sealed value swapped for another's", "whoever opens it", "the sealed value was changed, or belongs to another place", packs::sealed;
}

/// The table as the document has it.
fn table() -> String {
    let mut text = "| attack | who notices | what they read |\n|---|---|---|\n".to_owned();
    for Row {
        attack,
        notices,
        words,
        ..
    } in ROWS
    {
        text.push_str(&format!("| {attack} | {notices} | `{}` |\n", words.trim()));
    }
    text
}

#[test]
fn the_threat_model_has_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/threat-model.md");
    let document = std::fs::read_to_string(&path).expect("readable");
    let (before, rest) = document.split_once(BEGINS).expect("where it begins");
    let (found, after) = rest.split_once(ENDS).expect("where it ends");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, [before, BEGINS, &table(), ENDS, after].concat()).expect("writable");
        return;
    }
    assert_eq!(found, table(), "run with UPDATE_GOLDENS=1 if this is meant");
}
