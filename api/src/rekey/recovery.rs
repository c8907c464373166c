//! Another recovery key, which the one before vouches for.
//!
//! Both private halves are in files of the operator's, and neither is kept here. The new one's file is durable before
//! the entry is recorded; a crash after it: the same command finds the file, and the ledger says whether its entry stands.
//! Invariants: nothing but the recovery key in force vouches; a ledger that was begun without one never gets one, because
//! whoever stole its log key could give it theirs.
//! Source: FORMAT §1. Not here: what a recovery key vouches for (`rekey`).

use super::{Opened, RekeyError, Rekeyed, Replacement, RoleKey, history, record, settle};
use crate::app::Outside;
use crate::config::Settings;
use crate::stores::{make_recovery_key, read_recovery_key};
use domain::rotation::{Role, RotationReason};
use std::path::Path;
use std::sync::Arc;

/// Brings the key in the file `new` into force, made where there is none; the one in `old` vouches for it.
///
/// # Errors
/// [`RekeyError`]; run again, it goes on where it was.
pub async fn rotate(
    settings: &Settings,
    outside: &Outside,
    reason: RotationReason,
    old: &Path,
    new: &Path,
) -> Result<Rekeyed, RekeyError> {
    // What was begun with another key comes first.
    settle(settings, outside, None).await?;
    let opened = Opened::open(settings, outside, Some(old))?;
    let begun = begin(&opened, outside, reason, new).await;
    opened.log.stop();
    begun
}

async fn begin(
    opened: &Opened<'_>,
    outside: &Outside,
    reason: RotationReason,
    new: &Path,
) -> Result<Rekeyed, RekeyError> {
    let refused = |what: &str| Err(RekeyError::Refused(what.to_owned()));
    let Some(before) = opened.recovery.clone() else {
        return refused("the recovery key that is in force vouches for the next one: give its file");
    };
    if new.exists() {
        let there = read_recovery_key(new, &opened.origin)?;
        if let Some(done) = found(opened, &there.verifier_key().to_string()).await? {
            return Ok(done);
        }
    }
    // Who signs checkpoints goes on.
    let made = Arc::new(make_recovery_key(new, &opened.origin, &*outside.entropy)?);
    if made.verifier_key() == before.verifier_key() {
        return refused(
            "the file for the new recovery key holds the one that is in force: name another file",
        );
    }
    let new = RoleKey::Ed25519(made);
    let (now, voucher) = opened.signers(Role::Recovery, &new)?;
    let next = opened.next(Role::Recovery, &new, &voucher)?;
    let (sequencer, _) = opened.start(now, None)?;
    let old = before.verifier_key();
    let change = Replacement {
        role: Role::Recovery,
        reason,
        new: &new,
        old: Some(&old),
    };
    let recorded = record(opened, &sequencer, &change, voucher, next).await;
    sequencer.stop().await;
    Ok(Rekeyed {
        role: Role::Recovery,
        new: new.verifier_key(),
        position: recorded?,
        finished: false,
    })
}

/// The rotation to that key, where the ledger has it.
async fn found(opened: &Opened<'_>, vkey: &str) -> Result<Option<Rekeyed>, RekeyError> {
    let positions = crate::data_source::DataSource::open(&opened.settings.data)
        .map_err(|error| RekeyError::Refused(error.to_string()))?
        .ledger_positions(&opened.origin)
        .map_err(|error| RekeyError::Refused(error.to_string()))?;
    let history = history(&*opened.log, &positions).await?;
    let mut rotations = history.rotations().iter();
    let found = rotations.find(|it| it.role == Role::Recovery && it.new.to_string() == vkey);
    Ok(found.map(|it| Rekeyed {
        role: Role::Recovery,
        new: it.new.clone(),
        position: it.position,
        finished: true,
    }))
}
