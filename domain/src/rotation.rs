//! The keys of a ledger over time: `KeyRotated`, and which key a checkpoint of a size must carry.
//!
//! Invariants: a rotation holds only if the key before or the recovery key, and the new key, signed its note, which
//! names its own position; the checkpoint that ends with it carries a line by each of the two that signed the note; a
//! larger one carries a line by the new key, whatever else stands on it.
//! Source: FORMAT §1. Not here: recording one (`commands`), finding them (`chain-publisher`).

use crate::checkpoint::SignedCheckpoint;
use crate::entry::Entry;
use crate::note::{KeyType, Note, NoteError, Signer, VerifierKey};
use crate::position::{Position, TreeSize};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The event type.
pub const KEY_ROTATED: &str = "KeyRotated";
/// The first line of the note's text.
const HEADER: &str = "daybook/key/v1";
/// What a recovery key's name ends in, behind the origin.
pub const RECOVERY_SUFFIX: &str = "/recovery";
/// What a receipt key's name ends in, behind the origin.
pub const RECEIPT_SUFFIX: &str = "/receipt";
/// The most rotations of one ledger that are followed: one a day for two years.
pub const ROTATIONS_MAX: usize = 1_000;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Signs checkpoints.
    Log,
    /// Signs receipts and packs.
    Receipt,
    /// Signs checkpoints beside the log key, with ML-DSA-44.
    PostQuantum,
    /// Vouches for a new key where the one before cannot.
    Recovery,
}

impl Role {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Receipt => "receipt",
            Self::PostQuantum => "post_quantum",
            Self::Recovery => "recovery",
        }
    }

    /// The name that a key of this role has.
    pub fn key_name(self, origin: &str) -> String {
        match self {
            Self::Log | Self::PostQuantum => origin.to_owned(),
            Self::Receipt => format!("{origin}{RECEIPT_SUFFIX}"),
            Self::Recovery => recovery_name(origin),
        }
    }

    /// Whether its keys sign checkpoints.
    pub const fn signs_checkpoints(self) -> bool {
        matches!(self, Self::Log | Self::PostQuantum)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a key was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationReason {
    /// As planned.
    Scheduled,
    /// Nobody has it any more.
    Lost,
    /// Somebody else may have it.
    Compromised,
}

impl RotationReason {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Lost => "lost",
            Self::Compromised => "compromised",
        }
    }
}

/// The payload of `KeyRotated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotated {
    /// What the key is for.
    pub role: Role,
    /// The key before; `None` where a post-quantum key is the first.
    pub old: Option<String>,
    /// The key from here on.
    pub new: String,
    /// Why.
    pub reason: RotationReason,
    /// The signed note.
    pub note: String,
}

/// The text that is signed.
pub fn rotation_text(origin: &str, role: Role, new: &str, position: Position) -> String {
    format!("{HEADER}\n{origin}\n{role}\n{new}\n{position}\n")
}

/// The name of a ledger's recovery key.
pub fn recovery_name(origin: &str) -> String {
    format!("{origin}{RECOVERY_SUFFIX}")
}

/// Signs a rotation: `voucher` is the key before or the recovery key. A post-quantum key signs checkpoints only, so
/// that `new` is `None` for it and its first checkpoint shows that it is there.
///
/// # Errors
/// [`NoteError`] for a name that no key may have.
pub fn sign_rotation(
    origin: &str,
    role: Role,
    new_key: &str,
    position: Position,
    voucher: &dyn Signer,
    new: Option<&dyn Signer>,
) -> Result<String, NoteError> {
    let text = rotation_text(origin, role, new_key, position);
    let signers: Vec<&dyn Signer> = std::iter::once(voucher).chain(new).collect();
    Ok(Note::sign(&text, &signers)?.encode())
}

/// Who vouched for a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VouchedBy {
    /// The key before; for a post-quantum key the log key in force.
    Old,
    /// The recovery key.
    Recovery,
}

/// A rotation whose note holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Where its entry stands.
    pub position: Position,
    /// What the key is for.
    pub role: Role,
    /// The key before.
    pub old: Option<VerifierKey>,
    /// The key from here on.
    pub new: VerifierKey,
    /// The other key that signed the note.
    pub voucher: VerifierKey,
    /// Which of the two it is.
    pub by: VouchedBy,
    /// Why.
    pub reason: RotationReason,
}

impl Rotation {
    /// Reads the rotation in an entry whose bytes were checked, and checks its note, given whose word counts: for each
    /// key before, whether it may vouch is the caller's to know; here it must be `old` itself or one of `recovery`.
    ///
    /// # Errors
    /// In words: what does not hold.
    pub fn read(origin: &str, entry: &Entry<'_>, vouchers: &Vouchers<'_>) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("KeyRotated: {what}"));
        if entry.event_type != KEY_ROTATED || !entry.stream_is("ledger", "main") {
            return wrong("the entry is not one of the ledger's own stream");
        }
        let said: KeyRotated =
            serde_json::from_slice(entry.payload).map_err(|error| format!("KeyRotated: {error}"))?;
        let key = |text: &str| VerifierKey::parse(text).map_err(|error| format!("KeyRotated: {error}"));
        let new = key(&said.new)?;
        let old = said.old.as_deref().map(key).transpose()?;
        let name = said.role.key_name(origin);
        if new.name() != name || old.as_ref().is_some_and(|old| old.name() != name) {
            return wrong("its keys are not named as the role says");
        }
        let fits = match said.role {
            Role::Log | Role::Receipt | Role::Recovery => new.key_type() == KeyType::Ed25519 && old.is_some(),
            Role::PostQuantum => new.key_type() == KeyType::MlDsa44,
        };
        if !fits {
            return wrong("a key of this type cannot have this role");
        }
        if old.as_ref() == Some(&new) {
            return wrong("the new key is the old one");
        }
        let note = Note::parse(said.note.as_bytes()).map_err(|error| format!("KeyRotated: {error}"))?;
        if note.text() != rotation_text(origin, said.role, &said.new, entry.position) {
            return wrong("what its note says is not what it says itself");
        }
        if said.role != Role::PostQuantum {
            let by_new = note.verify([&new]);
            by_new.map_err(|error| format!("KeyRotated: the new key's signature: {error}"))?;
        }
        let before = match said.role {
            Role::Log | Role::Receipt => old.as_ref(),
            // Nobody but the key that is known vouches for another.
            Role::Recovery => old.as_ref().filter(|old| vouchers.recovery == Some(*old)),
            Role::PostQuantum => vouchers.log,
        };
        let recovery = vouchers.recovery.filter(|_| said.role != Role::Recovery);
        let signed = |key: &&VerifierKey| note.verify([*key]).is_ok();
        let (voucher, by) = match (before.filter(signed), recovery.filter(signed)) {
            (Some(old), _) => (old.clone(), VouchedBy::Old),
            (None, Some(recovery)) => (recovery.clone(), VouchedBy::Recovery),
            (None, None) => {
                return wrong(
                    "neither the key before nor a recovery key that is known signed its note; where the recovery key \
                     signed it, that key must come from elsewhere too",
                );
            }
        };
        Ok(Self {
            position: entry.position,
            role: said.role,
            old,
            new,
            voucher,
            by,
            reason: said.reason,
        })
    }

    /// Whether a checkpoint that includes it carries what it must: a line by each of the two keys where it ends with it.
    fn is_handed_over(&self, signed: &SignedCheckpoint) -> bool {
        let has = |key: &VerifierKey| signed.note().verify([key]).is_ok();
        has(&self.new) && has(&self.voucher)
    }
}

/// Whose word on a new key counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vouchers<'k> {
    /// The log key in force before the entry.
    pub log: Option<&'k VerifierKey>,
    /// The recovery key in force before the entry: of `LedgerCreated`, or of the latest rotation of that role.
    pub recovery: Option<&'k VerifierKey>,
}

/// The keys that a ledger names for itself, from its first entry on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyHistory {
    origin: String,
    log: Vec<VerifierKey>,
    receipt: Vec<VerifierKey>,
    recovery: Option<VerifierKey>,
    rotations: Vec<Rotation>,
}

#[derive(Debug, Default, Deserialize)]
struct Created {
    #[serde(default)]
    origin: String,
    #[serde(default)]
    log_keys: Vec<String>,
    #[serde(default)]
    receipt_keys: Vec<String>,
    #[serde(default)]
    recovery_key: Option<String>,
}

impl KeyHistory {
    /// As `LedgerCreated` begins it; keys that cannot be read are passed over, as are those that are not named for it.
    pub fn begin(payload: &[u8]) -> Self {
        let created: Created = serde_json::from_slice(payload).unwrap_or_default();
        let keys = |texts: &[String], name: &str| -> Vec<VerifierKey> {
            let keys = texts.iter().filter_map(|text| VerifierKey::parse(text).ok());
            keys.filter(|key| key.name() == name).collect()
        };
        let origin = created.origin;
        let recovery: Vec<String> = created.recovery_key.into_iter().collect();
        Self {
            log: keys(&created.log_keys, &origin),
            receipt: keys(&created.receipt_keys, &Role::Receipt.key_name(&origin)),
            recovery: keys(&recovery, &recovery_name(&origin)).pop(),
            rotations: Vec::new(),
            origin,
        }
    }

    /// Takes the entry `KeyRotated`.
    ///
    /// # Errors
    /// In words, where it does not hold or does not replace the key in force.
    pub fn take(&mut self, entry: &Entry<'_>) -> Result<&Rotation, String> {
        let at = entry.position.size_before();
        let vouchers = Vouchers {
            log: self.key_at(Role::Log, at),
            recovery: self.key_at(Role::Recovery, at),
        };
        let rotation = Rotation::read(&self.origin, entry, &vouchers)?;
        if rotation.old.as_ref() != self.key_at(rotation.role, at) {
            return Err("KeyRotated: the key that it replaces is not the one in force".to_owned());
        }
        if self.rotations.len() >= ROTATIONS_MAX {
            return Err(format!("KeyRotated: more than {ROTATIONS_MAX} of them"));
        }
        self.rotations.push(rotation);
        Ok(&self.rotations[self.rotations.len() - 1])
    }

    /// The key in force for that role in a tree of that size.
    pub fn key_at(&self, role: Role, size: TreeSize) -> Option<&VerifierKey> {
        let rotated = self.rotations.iter().rev();
        let rotated = rotated
            .filter(|it| it.role == role && size.contains(it.position))
            .map(|it| &it.new);
        let post_quantum = |key: &&VerifierKey| key.key_type() == KeyType::MlDsa44;
        let first = match role {
            Role::Log => self.log.iter().find(|key| !post_quantum(key)),
            Role::PostQuantum => self.log.iter().find(post_quantum),
            Role::Receipt => self.receipt.first(),
            Role::Recovery => self.recovery.as_ref(),
        };
        rotated.chain(first).next()
    }

    /// The recovery key that the first entry names.
    pub const fn first_recovery(&self) -> Option<&VerifierKey> {
        self.recovery.as_ref()
    }

    /// The recovery key in force at the end.
    pub fn recovery(&self) -> Option<&VerifierKey> {
        self.key_at(Role::Recovery, TreeSize::MAX)
    }

    /// The keys that the first entry names for checkpoints.
    pub fn first_log_keys(&self) -> &[VerifierKey] {
        &self.log
    }

    /// The rotations so far, rising.
    pub fn rotations(&self) -> &[Rotation] {
        &self.rotations
    }

    /// Whether it has any key at all.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }
}

/// Why a checkpoint does not carry the signatures that the rotations ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandoverError {
    /// The key in force has not signed it.
    #[error(
        "a checkpoint of size {size} must be signed by the key {key}, which is in force there by the KeyRotated at \
         position {position}, and is not"
    )]
    NotByNew {
        /// The checkpoint's size.
        size: TreeSize,
        /// The id of the key in force.
        key: String,
        /// Where it came into force.
        position: Position,
    },
    /// The first one that includes the rotation does not carry both.
    #[error(
        "the first checkpoint that includes the KeyRotated at position {position} must be signed by both keys that \
         signed its note, and is not"
    )]
    NotByBoth {
        /// Where the rotation stands.
        position: Position,
    },
    /// A key signed it that came into force later.
    #[error(
        "a checkpoint of size {size} is signed by a key that came into force only at position {position}"
    )]
    TooEarly {
        /// The checkpoint's size.
        size: TreeSize,
        /// Where the key came into force.
        position: Position,
    },
}

/// Whether a checkpoint, whose lines were verified, carries the line of the log key in force at its size; both at the
/// handover. `rotations` are those of one ledger, rising.
///
/// # Errors
/// [`HandoverError`].
pub fn check_handover(signed: &SignedCheckpoint, rotations: &[Rotation]) -> Result<(), HandoverError> {
    let size = signed.checkpoint().size();
    let has = |key: &VerifierKey| signed.note().verify([key]).is_ok();
    let ours = || rotations.iter().filter(|it| it.role.signs_checkpoints());
    // Every role by itself: the Ed25519 key, and the one beside it.
    for role in [Role::Log, Role::PostQuantum] {
        let of_role = || ours().filter(|it| it.role == role);
        let before = of_role().rfind(|it| size.contains(it.position));
        let after = of_role().find(|it| !size.contains(it.position));
        if let Some(before) = before {
            if before.position.size_through() == size && !before.is_handed_over(signed) {
                return Err(HandoverError::NotByBoth {
                    position: before.position,
                });
            }
            let by_next =
                after.is_some_and(|after| after.by == VouchedBy::Recovery && after.is_handed_over(signed));
            if !by_next && !has(&before.new) {
                return Err(HandoverError::NotByNew {
                    size,
                    key: before.new.id().to_string(),
                    position: before.position,
                });
            }
        } else if let (Role::Log, Some(after)) = (role, after) {
            // What was left to sign below the rotation when the old key was lost is signed by the two that vouch.
            let by_old = after.old.as_ref().is_some_and(has);
            let by_both = after.by == VouchedBy::Recovery && after.is_handed_over(signed);
            let by_new = ours().any(|it| it.role == role && has(&it.new));
            if by_new && !by_old && !by_both {
                return Err(HandoverError::TooEarly {
                    size,
                    position: after.position,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
