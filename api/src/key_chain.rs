//! The log keys of this directory's own ledger over time, from the proofs of rotations that lie beside its heads.
//!
//! Invariant: what stands there was written by this service; it is read for what it may believe of others' answers
//! (witnesses show what an earlier key signed), never as an auditor reads it.
//! Not here: verifying a stranger's rotations (`chain_publisher::rotations`).

use chain_publisher::rotations::RotationProof;
use commands::sequencer::HeadStore;
use domain::Position;
use domain::entry::Entry;
use domain::note::VerifierKey;
use domain::rotation::{KeyRotated, Role};
use domain::tlog_proof::TlogProof;
use std::io;

/// The rotations whose proofs are kept, rising.
///
/// # Errors
/// When they cannot be read.
pub fn rotations(heads: &HeadStore) -> io::Result<Vec<(Position, KeyRotated)>> {
    let mut rotations = Vec::new();
    for position in heads.rotations()? {
        let said = heads.rotation(position)?.and_then(|proof| said(&proof));
        rotations.extend(said.map(|said| (position, said)));
    }
    Ok(rotations)
}

fn said(proof: &[u8]) -> Option<KeyRotated> {
    let extra = TlogProof::parse(proof).ok()?.extra?;
    serde_json::from_slice(Entry::read(&extra).ok()?.payload).ok()
}

/// The proofs of the log key's rotations, rising: what shows a witness how this log came to its key.
///
/// # Errors
/// As [`rotations`].
pub fn log_proofs(heads: &HeadStore) -> io::Result<Vec<RotationProof>> {
    let mut proofs = Vec::new();
    for position in heads.rotations()? {
        let Some(bytes) = heads.rotation(position)? else {
            continue;
        };
        if said(&bytes).is_some_and(|said| said.role == Role::Log) {
            proofs.extend(RotationProof::parse(&format!("keys/{position}"), &bytes).ok());
        }
    }
    Ok(proofs)
}

/// The key in force, and then every one before it, the newest first.
///
/// # Errors
/// As [`rotations`].
pub fn log_keys(heads: &HeadStore, current: VerifierKey) -> io::Result<Vec<VerifierKey>> {
    let rotations = rotations(heads)?;
    let of_log = rotations.iter().rev().filter(|(_, said)| said.role == Role::Log);
    let earlier = of_log.filter_map(|(_, said)| VerifierKey::parse(said.old.as_deref()?).ok());
    Ok(std::iter::once(current).chain(earlier).collect())
}
