//! `daybook-verify` as it is typed: exit codes, words, JSON; whole logs and pieces of them, good and broken.
//!
//! Not here: every byte of a log flipped (the end-to-end tests), units (beside the code).

mod by_hand;
mod head;
mod log;
mod proof;
mod receipt;
mod served;
mod stamps;
mod watch;

use domain::cosignature::CosigningKey;
use domain::hash::leaf_hash;
use domain::merkle::MemoryNodes;
use domain::note::NoteSignature;
use domain::proof::inclusion_proof;
use domain::tlog_proof::TlogProof;
use domain::{Hash, Position, checkpoint::SignedCheckpoint};
use std::path::Path;
use std::process::{Command, Stdio};
use tests::small_ledger::{Plan, SmallLedger};

/// How a run ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// # Panics
    /// Where it did not end so, with everything that it said.
    fn ends(self, code: i32, words: &[&str]) -> Self {
        let said = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{said}");
        words
            .iter()
            .for_each(|word| assert!(said.contains(word), "no {word:?} in:\n{said}"));
        // Without a verdict stdout is empty, and with one its first line begins with it.
        assert_eq!(self.out.is_empty(), code == 2, "{said}");
        self
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybook-verify"));
    command
        .args(args)
        .env_remove("DAYBOOK_TOKEN")
        .env_remove("DAYBOOK_WEBHOOK")
        .stdin(Stdio::null());
    command
}

fn daybook_verify(args: &[&str]) -> Ran {
    let output = command(args).output().expect("the binary runs");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What an auditor has: a copy, and a folder for what they keep.
struct Auditor {
    ledger: SmallLedger,
    copy: tempfile::TempDir,
    kept: tempfile::TempDir,
    key: String,
}

impl Auditor {
    fn of(plan: Plan) -> Self {
        let ledger = SmallLedger::record(plan);
        let copy = exported(&ledger);
        Self {
            key: ledger.key.clone(),
            ledger,
            copy,
            kept: tempfile::tempdir().expect("a scratch directory"),
        }
    }

    fn with_days(days: u32) -> Self {
        Self::of(plan(days))
    }

    fn copy(&self) -> &str {
        text(self.copy.path())
    }

    /// Keeps bytes under a name, and gives the path.
    fn keep(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.kept.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        text(&path).to_owned()
    }

    /// Keeps the head of the n-th day under its own name.
    fn keep_head(&self, n: usize) -> String {
        let date = chain_publisher::ports_source::HeadFiles::dates(&self.ledger.heads).expect("listed")[n];
        self.keep(&format!("{date}.tlog-proof"), &self.ledger.head(n))
    }

    fn keep_checkpoint(&self) -> String {
        self.keep("kept.checkpoint", &self.ledger.checkpoint)
    }

    /// All entries of a log of fewer than 256.
    fn entries(&self) -> Vec<Vec<u8>> {
        let lines = format!("entries/000.ndjson.p/{}", self.ledger.size());
        let lines = std::fs::read(self.copy.path().join(lines)).expect("a log of one partial bundle");
        let lines = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(<[u8]>::to_vec).collect()
    }

    /// A proof of the entry at `position` under the latest checkpoint.
    fn proof(&self, position: u64) -> TlogProof {
        let entries = self.entries();
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let position = Position(position);
        TlogProof {
            extra: Some(entries[position.get() as usize].clone()),
            index: position,
            hashes: inclusion_proof(&MemoryNodes::of_leaves(&leaves), position, self.ledger.size())
                .expect("it is there"),
            checkpoint: SignedCheckpoint::parse(&self.ledger.checkpoint).expect("a checkpoint"),
        }
    }
}

fn plan(days: u32) -> Plan {
    Plan {
        days,
        readings: 3,
        ..Plan::default()
    }
}

/// The same first day, and another history from the second on.
fn forked(days: u32) -> SmallLedger {
    SmallLedger::record(Plan {
        parts_at: Some(1),
        ..plan(days)
    })
}

fn exported(ledger: &SmallLedger) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a scratch directory");
    export_to(ledger, dir.path());
    dir
}

fn export_to(ledger: &SmallLedger, dir: &Path) {
    chain_publisher::export(&ledger.source(), dir, &mut |_, _| {}).expect("it is exported");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn witness() -> CosigningKey {
    CosigningKey::from_seed("witness.example/w1", &[3; 32]).expect("a valid name")
}

/// A policy that believes the log and asks for the witness.
fn policy(log: &str) -> String {
    format!("log {log}\nwitness w1 {}\nquorum w1\n", witness().verifier_key())
}

/// A head or proof that the witness has cosigned at that time, POSIX seconds.
fn cosigned(proof: &[u8], at_s: u64) -> Vec<u8> {
    let mut proof = TlogProof::parse(proof).expect("a proof");
    let note = proof.checkpoint.note_mut();
    let line = NoteSignature::sign(note.text(), &witness().at(at_s)).expect("signed");
    note.add(line).expect("there is room");
    proof.encode().into_bytes()
}

#[test]
fn every_command_has_examples_and_exit_codes_in_its_help() {
    for command in [
        None,
        Some("log"),
        Some("head"),
        Some("proof"),
        Some("receipt"),
        Some("watch"),
    ] {
        let args: Vec<&str> = command.into_iter().chain(["--help"]).collect();
        daybook_verify(&args).ends(
            0,
            &["Examples:", "Exit codes:", "TAMPERED", "UNANCHORED", "--json"],
        );
    }
    daybook_verify(&["log"]).ends(2, &["URL|DIR"]);
}
