//! Handing the log over from one key to the next (FORMAT §1, `KeyRotated`).
//!
//! The order, and what a crash leaves at each step:
//! 1. The new key's file is durable (`keys`). A crash here leaves a key that nobody uses; it is found not to stand in
//!    the ledger, and is made anew.
//! 2. The signer is told from which position on both keys sign. Only in memory.
//! 3. The entry is committed. A crash here leaves an entry and no checkpoint that includes it: the next start of this
//!    kind finds it by the new key, and goes on with 4. Nothing else is recorded before.
//! 4. The checkpoint that ends with the entry is signed by both, durably in its guard. A crash here: the guard has it,
//!    so only 5 is left.
//! 5. The rotation's proof is kept beside the heads, from the checkpoint in the guard, which is still the latest.
//! 6. The caller puts the new key's file in the old one's place. A crash before it: all of this is found done.
//!
//! Where another process signs, 2 and 4 are its own (`sign_handover`), and so are 5 and 6: it finds the entry. Nobody is
//! told to sign here then.
//! Invariants: no checkpoint that includes the entry is ever signed by the old key alone; none larger than that of 4
//! before the proof of 5 is kept.
//! Not here: key files and their order (`keys`), who may ask (`api`).

use super::checkpoints::{CheckpointError, Checkpointer};
use domain::entry::NewEvent;
use domain::note::Signer;
use domain::{Hash, Position};
use std::sync::Arc;

/// Those who sign together.
pub type Signers = Vec<Arc<dyn Signer>>;

/// A key that is to come into force, or is in force since a crash.
#[derive(Clone)]
pub struct NextKey {
    /// Its verifier key, by which its entry is found.
    pub vkey: String,
    /// Who signs the first checkpoint that includes the entry, where it is a key that signs checkpoints.
    pub both: Signers,
    /// Who signs all after it.
    pub after: Signers,
    /// The two names and ids that must stand on the entry's note for `both` to be the right ones.
    pub vouchers: Vec<(String, domain::note::KeyId)>,
}

/// What became of a key that was being brought into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// No entry names it.
    NotRecorded,
    /// It is in force, and everything that the rotation asks for is signed and kept.
    InForce(Position),
}

/// Whoever signs, where it is more than one key; and the key that is being brought into force.
#[derive(Clone, Default)]
pub struct Keys {
    /// Sign beside the log key.
    pub beside: Signers,
    /// Is being brought into force.
    pub next: Option<NextKey>,
}

/// A rotation to record.
pub struct RotationOrder {
    /// The event, which names its own position.
    pub make: Box<dyn FnOnce(Position) -> Result<NewEvent, String> + Send>,
    /// The key that comes into force.
    pub next: NextKey,
}

impl NextKey {
    /// Whether it signs checkpoints.
    pub(super) fn signs(&self) -> bool {
        !self.after.is_empty()
    }

    /// From which position on who signs.
    pub(super) fn at(&self, position: Position) -> Handover {
        Handover {
            position,
            both: self.both.clone(),
            after: self.after.clone(),
        }
    }
}

/// From which position on who signs.
pub(super) struct Handover {
    pub position: Position,
    pub both: Signers,
    pub after: Signers,
}

impl Checkpointer {
    /// The first checkpoint that includes `position` is signed by both, what comes after it by the new ones.
    pub(super) fn hand_over(&self, handover: Handover) {
        // A key that signs no checkpoints changes nothing here.
        if !handover.after.is_empty() {
            self.in_force().handover = Some(handover);
        }
    }

    /// Signs the checkpoint of that root that ends with the rotation at `position` by both, and from then on by the new
    /// ones. Where it was signed before, that one.
    ///
    /// # Errors
    /// [`CheckpointError`]; nobody else signs then.
    pub fn sign_handover(
        &self,
        position: Position,
        root: Hash,
        both: Signers,
        after: Signers,
    ) -> Result<Vec<u8>, CheckpointError> {
        self.hand_over(Handover {
            position,
            both,
            after: after.clone(),
        });
        let signed = self.sign(position.size_through(), root);
        let mut in_force = self.in_force();
        in_force.handover = None;
        if signed.is_ok() {
            in_force.now = after;
        }
        signed
    }

    /// Nothing is handed over after all.
    pub(super) fn withdraw(&self) {
        self.in_force().handover = None;
    }

    /// The handover is done, as the latest checkpoint shows.
    pub(super) fn handed_over(&self, next: &NextKey) {
        let mut in_force = self.in_force();
        in_force.handover = None;
        if next.signs() {
            in_force.now.clone_from(&next.after);
        }
    }
}

/// The entry stands, and what must follow it cannot be signed here.
pub(super) fn other_vouchers(position: Position) -> CheckpointError {
    CheckpointError::Unreadable(format!(
        "the KeyRotated at position {position} was vouched for by another key than the one that is here: finish what was \
         begun with the same command as before (`daybook key recover`, where it was the recovery key)"
    ))
}
