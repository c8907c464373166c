//! One tlog-proof: whether an entry is where the file says, under a checkpoint that the log signed.
//!
//! Invariants: the leaf hash is computed from bytes that are here, never taken from the file; an entry that stands
//! elsewhere than it says is no entry.
//! Source: C2SP tlog-proof; FORMAT §7, §8.
//! Not here: what else the head of a day must satisfy (`kept_heads`).

use crate::confirm::{Asked, confirm};
use crate::report::Report;
use crate::rotations::follow;
use crate::source::{Flaw, LogSource};
use crate::tree::signatures;
use crate::verify::{VerifyError, VerifySettings};
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::tlog_proof::TlogProof;
use domain::verify::Verdict;
use domain::{Position, TreeSize};
use std::slice;

/// A proof and what it is about.
pub struct ProofQuestion<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The file.
    pub proof: &'a [u8],
    /// The entry's bytes, where the file does not hold them, or to be held against those that it holds.
    pub entry: Option<&'a [u8]>,
    /// The log, whose tree shows whether checkpoints of other sizes fit.
    pub log: Option<&'a dyn LogSource>,
}

/// Verifies one proof.
///
/// # Errors
/// [`VerifyError`] where there is nothing to verify.
pub fn verify_proof(question: &ProofQuestion<'_>, settings: &VerifySettings) -> Result<Report, VerifyError> {
    let mut report = Report::new(format!("the proof {}", question.name), settings.allow_partial);
    let proof = match TlogProof::parse(question.proof) {
        Ok(proof) => proof,
        Err(error) => {
            flaw(&mut report, None, error.to_string());
            return Ok(report);
        }
    };
    let Some(entry) = question.entry.or(proof.extra.as_deref()) else {
        return Err(VerifyError::Settings(format!(
            "{} does not hold the entry, and without its bytes a proof shows nothing: give them with --entry",
            question.name
        )));
    };
    let checkpoint = proof.checkpoint.checkpoint();
    let origin = settings.origin_of(Some(&proof.checkpoint))?;
    report.origin = Some(origin.clone());
    (report.size, report.root) = (checkpoint.size(), checkpoint.root());
    report.signed = Some(checkpoint.size());
    let signed = Some(&proof.checkpoint);
    let settings = &follow(settings, &origin, question.log, signed, &mut report)?;
    let witnesses = signatures(&origin, &proof.checkpoint, settings, &mut report);
    if proof.extra.as_deref().is_some_and(|extra| extra != entry) {
        flaw(
            &mut report,
            Some(proof.index),
            "the entry in the proof is not the one that was given".to_owned(),
        );
    }
    match proof.verify_inclusion(&leaf_hash(entry)) {
        Ok(()) => report.entries = 1,
        Err(error) => flaw(&mut report, Some(proof.index), error.to_string()),
    }
    check_entry(&mut report, entry, proof.index, &origin);
    let asked = Asked {
        name: question.name,
        size: checkpoint.size(),
        root: checkpoint.root(),
        needs: proof.index.size_through(),
        quorum: witnesses.is_some_and(|witnesses| witnesses.quorum),
    };
    let anchored = confirm(
        slice::from_ref(&asked),
        &origin,
        settings,
        question.log,
        &mut report,
    )?;
    report.anchored = anchored.first().copied().unwrap_or(TreeSize::EMPTY);
    let confirmed = asked.is_confirmed(report.anchored);
    conclude(&mut report, confirmed, entry, &proof);
    Ok(report)
}

/// That the bytes are an entry of this log at this position.
fn check_entry(report: &mut Report, bytes: &[u8], index: Position, origin: &str) {
    let entry = match Entry::decode(bytes) {
        Ok(entry) => entry,
        Err(error) => return flaw(report, Some(index), error.to_string()),
    };
    if entry.position != index {
        let what = format!("the entry says that it is at position {}", entry.position);
        flaw(report, Some(index), what);
    }
    if index == Position::FIRST {
        let created: serde_json::Value = serde_json::from_slice(entry.payload).unwrap_or_default();
        if created["origin"] != origin {
            flaw(
                report,
                Some(index),
                format!("the ledger calls itself {}, expected {origin}", created["origin"]),
            );
        }
    }
    report.notes.push(format!(
        "the entry is {} of the stream {}, number {} there, recorded at {}",
        entry.event_type,
        entry.stream_name(),
        entry.sequence,
        entry.recorded_at
    ));
}

fn conclude(report: &mut Report, confirmed: bool, entry: &[u8], proof: &TlogProof) {
    let size = proof.size();
    report.or_worse(if confirmed {
        Verdict::Verified { size }
    } else {
        Verdict::Unanchored {
            anchored: report.anchored,
            size,
        }
    });
    report.checked.push(format!(
        "one entry of {} bytes: its hash, its canonical form, its position, and {} hashes up to the root",
        entry.len(),
        proof.hashes.len()
    ));
    report.say_outside("the signatures of the checkpoint");
    report.not_checked.push("every other entry of the log".to_owned());
    report.concerning(&format!(
        "the entry at position {} is in the log of {size} entries",
        proof.index
    ));
}

fn flaw(report: &mut Report, position: Option<Position>, what: String) {
    report.tampered(Flaw { position, what });
}
