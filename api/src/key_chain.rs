//! The log keys of this directory's own ledger over time, from the proofs of rotations that lie beside its heads.
//!
//! Invariant: what stands there was written by this service; it is read for what it may believe of others' answers
//! (witnesses show what an earlier key signed), never as an auditor reads it.
//! Not here: verifying a stranger's rotations (`chain_publisher::rotations`).

use commands::sequencer::HeadStore;
use domain::Position;
use domain::entry::Entry;
use domain::note::VerifierKey;
use domain::rotation::{KeyRotated, Role};
use domain::tlog_proof::TlogProof;

/// The rotations whose proofs are kept, rising.
pub fn rotations(heads: &HeadStore) -> Vec<(Position, KeyRotated)> {
    let read = |position: Position| {
        let proof = TlogProof::parse(&heads.rotation(position)?).ok()?;
        let extra = proof.extra?;
        let said = serde_json::from_slice(Entry::read(&extra).ok()?.payload).ok()?;
        Some((position, said))
    };
    heads.rotations().into_iter().filter_map(read).collect()
}

/// The key in force, and then every one before it, the newest first.
pub fn log_keys(heads: &HeadStore, current: VerifierKey) -> Vec<VerifierKey> {
    let rotations = rotations(heads);
    let of_log = rotations.iter().rev().filter(|(_, said)| said.role == Role::Log);
    let earlier = of_log.filter_map(|(_, said)| VerifierKey::parse(said.old.as_deref()?).ok());
    std::iter::once(current).chain(earlier).collect()
}
