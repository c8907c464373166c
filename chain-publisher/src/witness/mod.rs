//! Being a witness: whether a log's new checkpoint continues the one that was cosigned last, and the cosignature if so.
//!
//! Invariants: a cosignature leaves only after the checkpoint that it is for is durable; for one origin the look at the
//! latest checkpoint and its replacement are one step under one lock, so sizes never fall and no two roots of a size are
//! cosigned; a store that failed is read again before anything is believed of it. A new log key is believed by the proof
//! of its rotation alone (FORMAT §1): the old key vouches for it, the checkpoint that both signed is the latest that was
//! cosigned here, and the proof is durable before anything under the new key is; what the old key signs alone from there
//! on is refused.
//! What if we crash here? Before the store has saved: nothing happened. After it: a checkpoint is kept whose cosignature
//! nobody has; the log offers it again from that size, which 409 tells it, and gets one. A rotation that is kept is
//! followed from the next start on.
//! Source: C2SP tlog-witness v1.0.0 (409 where size is the same and the root another; later drafts say 422), and of its
//! later drafts the path of the monitoring endpoint and that a bad line of a trusted key is 403.
//! Not here: sockets, the key's file (`api`), where checkpoints are kept (`store`), asking witnesses (`cosign`). A rotation
//! that the recovery key vouches for is not followed: it comes after a loss or a theft, and the runner decides.

pub mod store;

use crate::rotations::RotationProof;
use domain::add_checkpoint::{AddCheckpoint, AddCheckpointError};
use domain::checkpoint::{CheckpointError, SignedCheckpoint};
use domain::cosignature::CosigningKey;
use domain::hash::sha256;
use domain::note::{Note, NoteSignature, VerifierKey};
use domain::ports::Clock;
use domain::proof::ProofError;
use domain::rotation::{HandoverError, ROTATIONS_MAX, Role, Rotation, Vouchers, check_handover};
use domain::{Date, TreeSize};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use store::WitnessStore;

/// The most logs that one witness follows: each is one file and about a kilobyte of memory.
pub const LOGS_MAX: usize = 1024;
/// A clock before this day was never set: small computers start in 1970, and a cosignature states its time for ever.
const CLOCK_AFTER: (i32, u32, u32) = (2026, 1, 1);
/// The content type of the size that comes with 409.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not a body, or its old size is larger than its checkpoint.
    #[error(transparent)]
    Malformed(#[from] AddCheckpointError),
    /// Of a log that is not followed here.
    #[error("the log {0} is not known to this witness: its runner adds it with --log or --policy")]
    UnknownOrigin(String),
    /// No key that is trusted for that origin signed it, or a line of such a key does not hold.
    #[error("{0}")]
    Unsigned(CheckpointError),
    /// A key that is not in force there any more, or not yet, signed it.
    #[error(transparent)]
    NotInForce(#[from] HandoverError),
    /// Not the proof of a rotation.
    #[error("{0}")]
    NoRotation(String),
    /// The proof of a rotation that does not hold, or of a key that nobody is trusted to vouch for.
    #[error("{0}")]
    Untrusted(String),
    /// The old size is not that of the latest checkpoint that was cosigned here.
    #[error("the latest checkpoint cosigned here has size {known}: prove consistency from there")]
    Stale {
        /// The latest size cosigned here, 0 if there is none.
        known: TreeSize,
    },
    /// The log showed another root at that size before.
    #[error("another root of size {known} was cosigned here: the log has two histories")]
    OtherRoot {
        /// That size.
        known: TreeSize,
    },
    /// The proof does not lead from the latest checkpoint to this one.
    #[error("{0}")]
    Inconsistent(ProofError),
    /// This machine's clock was never set.
    #[error("the clock of this witness is not set: it cannot say when it saw anything")]
    Clock,
    /// What is kept cannot be read or written.
    #[error("this witness cannot keep the checkpoint now: {0}")]
    Store(String),
}

impl Refusal {
    /// The HTTP status that the specification gives it; 503 for what is this machine's own trouble.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::NoRotation(_) => 400,
            Self::Unsigned(_) | Self::NotInForce(_) | Self::Untrusted(_) => 403,
            Self::UnknownOrigin(_) => 404,
            Self::Stale { .. } | Self::OtherRoot { .. } => 409,
            Self::Inconsistent(_) => 422,
            Self::Clock | Self::Store(_) => 503,
        }
    }

    /// The size that a 409 tells, of type [`SIZE_TYPE`] with a newline behind it.
    pub const fn known(&self) -> Option<TreeSize> {
        match self {
            Self::Stale { known } | Self::OtherRoot { known } => Some(*known),
            _ => None,
        }
    }
}

/// Why a witness does not start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A key of a log that cannot check anything here.
    #[error("the key {0} is of a type that cannot be checked here: give the log's Ed25519 key")]
    KeyType(Box<VerifierKey>),
    /// No log at all, or too many.
    #[error("a witness follows 1 to {LOGS_MAX} logs: name their verifier keys with --log or --policy")]
    Logs,
    /// What was kept for a log cannot be read.
    #[error("what was kept of {origin} cannot be read: {error}")]
    Unreadable {
        /// The log.
        origin: String,
        /// What the system says.
        error: io::Error,
    },
    /// What was kept for a log is not what this witness wrote.
    #[error(
        "what was kept of {origin} is damaged or was cosigned with another key ({reason}): restore nothing older; \
         begin a witness with a new key in an empty directory"
    )]
    Damaged {
        /// The log.
        origin: String,
        /// Why.
        reason: String,
    },
}

/// A witness of some logs.
pub struct Witness<S> {
    key: CosigningKey,
    public: VerifierKey,
    logs: BTreeMap<String, Log>,
    store: S,
    clock: Arc<dyn Clock>,
}

/// A log that is followed.
struct Log {
    /// Taken after `latest` where both are.
    followed: RwLock<Followed>,
    latest: Mutex<Latest>,
}

/// Whose checkpoints are cosigned.
#[derive(Debug, Clone, Default)]
struct Followed {
    keys: Vec<VerifierKey>,
    /// The rotations that were proven here, rising.
    rotations: Vec<Rotation>,
}

impl Followed {
    /// Whether a key that is trusted vouches for the new one, or was replaced by one that is.
    fn leads_to(&self, rotation: &Rotation) -> bool {
        let trusted = |key: &VerifierKey| self.keys.contains(key);
        rotation.old.as_ref().is_some_and(trusted) || trusted(&rotation.new)
    }

    fn take(&mut self, rotation: Rotation) {
        for key in rotation.old.iter().chain([&rotation.new]) {
            if !self.keys.contains(key) {
                self.keys.push(key.clone());
            }
        }
        self.rotations.push(rotation);
    }
}

/// The latest checkpoint that was cosigned.
#[derive(Debug, Clone, Default)]
struct Latest {
    signed: Option<SignedCheckpoint>,
    /// A save failed: what the store holds is not known, and may be not on disk.
    doubtful: bool,
}

impl Latest {
    fn size(&self) -> TreeSize {
        self.signed
            .as_ref()
            .map_or(TreeSize::EMPTY, |signed| signed.checkpoint().size())
    }

    fn has_text(&self, text: &str) -> bool {
        self.signed
            .as_ref()
            .is_some_and(|signed| signed.note().text() == text)
    }
}

impl<S: WitnessStore> Witness<S> {
    /// Follows the logs of these keys; keys of one name are keys of one log. Reads what was kept of each.
    ///
    /// # Errors
    /// [`WitnessError`]: nothing may be cosigned then.
    pub fn open(
        key: CosigningKey,
        logs: impl IntoIterator<Item = VerifierKey>,
        store: S,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WitnessError> {
        let public = key.verifier_key();
        let mut by_origin: BTreeMap<String, Vec<VerifierKey>> = BTreeMap::new();
        for log in logs {
            if !log.can_verify() {
                return Err(WitnessError::KeyType(Box::new(log)));
            }
            let keys = by_origin.entry(log.name().to_owned()).or_default();
            if !keys.contains(&log) {
                keys.push(log);
            }
        }
        if !(1..=LOGS_MAX).contains(&by_origin.len()) {
            return Err(WitnessError::Logs);
        }
        let mut logs = BTreeMap::new();
        for (origin, keys) in by_origin {
            let signed = load(&store, &origin, &public)?;
            let followed = followed(&store, &origin, keys)?;
            let latest = Mutex::new(Latest {
                signed,
                doubtful: false,
            });
            let followed = RwLock::new(followed);
            logs.insert(origin, Log { followed, latest });
        }
        Ok(Self {
            key,
            public,
            logs,
            store,
            clock,
        })
    }

    /// The key that verifies what is cosigned here.
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.public
    }

    /// The logs that are followed, with the latest size cosigned of each.
    pub fn logs(&self) -> impl Iterator<Item = (&str, TreeSize)> {
        self.logs
            .iter()
            .map(|(origin, log)| (origin.as_str(), log.latest.lock().size()))
    }

    /// The answer to the body of an `add-checkpoint` request: the cosignature line. Blocks on the store.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was cosigned then.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, Refusal> {
        let offered = AddCheckpoint::parse(body)?;
        let origin = offered.checkpoint.checkpoint().origin();
        let log = self
            .logs
            .get(origin)
            .ok_or_else(|| Refusal::UnknownOrigin(origin.to_owned()))?;
        let followed = log.followed.read().clone();
        offered
            .checkpoint
            .verify(origin, &followed.keys)
            .map_err(Refusal::Unsigned)?;
        let mut latest = log.latest.lock();
        // A rotation may have been proven meanwhile.
        let followed = log.followed.read().clone();
        check_handover(&offered.checkpoint, &followed.rotations)?;
        if latest.doubtful {
            latest.signed = load(&self.store, origin, &self.public).map_err(store_failed)?;
        }
        continues(&latest, &offered)?;
        let line = self.cosign(&offered.checkpoint)?;
        if !latest.doubtful && latest.has_text(offered.checkpoint.note().text()) {
            // What is durable already is not written again, so that a replay costs the disk nothing.
            return Ok(line.to_string());
        }
        let keep = kept(&offered.checkpoint, &followed.keys, &line).map_err(Refusal::Unsigned)?;
        latest.doubtful = true;
        self.store
            .save(origin, keep.encode().as_bytes())
            .map_err(store_failed)?;
        *latest = Latest {
            signed: Some(keep),
            doubtful: false,
        };
        Ok(line.to_string())
    }

    /// The answer to the body of an `add-rotation` request, the proof of a rotation of a log's key: the new key, which is
    /// trusted from here on. Its checkpoint must be the latest that was cosigned here, so that what vouches for the new
    /// key is no other history. The same again is answered the same. Blocks on the store.
    ///
    /// # Errors
    /// [`Refusal`]; nobody else is trusted then.
    pub fn add_rotation(&self, body: &[u8]) -> Result<VerifierKey, Refusal> {
        let proof = RotationProof::parse("the proof", body).map_err(Refusal::NoRotation)?;
        let checkpoint = &proof.proof.checkpoint;
        let origin = checkpoint.checkpoint().origin();
        let log = self
            .logs
            .get(origin)
            .ok_or_else(|| Refusal::UnknownOrigin(origin.to_owned()))?;
        let followed = log.followed.read().clone();
        let rotation = proven(origin, &proof).map_err(Refusal::Untrusted)?;
        if !followed.leads_to(&rotation) {
            return Err(Refusal::Untrusted(
                "neither of its keys is trusted here".to_owned(),
            ));
        }
        let mut latest = log.latest.lock();
        if latest.doubtful {
            latest.signed = load(&self.store, origin, &self.public).map_err(store_failed)?;
        }
        let new = rotation.new.clone();
        let mut followed = log.followed.write();
        if followed.rotations.contains(&rotation) {
            return Ok(new);
        }
        if !latest.has_text(checkpoint.note().text()) {
            return Err(Refusal::Stale { known: latest.size() });
        }
        check_handover(checkpoint, &followed.rotations)?;
        if followed.rotations.len() >= ROTATIONS_MAX {
            return Err(Refusal::Untrusted(format!(
                "more than {ROTATIONS_MAX} rotations of one log are not followed"
            )));
        }
        let bytes = proof.proof.encode();
        let saved = self
            .store
            .save_rotation(origin, rotation.position, bytes.as_bytes());
        saved.map_err(store_failed)?;
        followed.take(rotation);
        Ok(new)
    }

    /// The latest checkpoint cosigned of the log whose origin has this SHA-256 in lower-case hexadecimal, with the log's
    /// signature and ours.
    pub fn latest(&self, origin_hash: &str) -> Option<String> {
        let (_, log) = self
            .logs
            .iter()
            .find(|(origin, _)| sha256(origin.as_bytes()).to_hex() == origin_hash)?;
        let latest = log.latest.lock();
        latest.signed.as_ref().map(SignedCheckpoint::encode)
    }

    fn cosign(&self, checkpoint: &SignedCheckpoint) -> Result<NoteSignature, Refusal> {
        let now = self.clock.now();
        let (year, month, day) = CLOCK_AFTER;
        if Date::from_civil(year, month, day).is_none_or(|after| now < after.start()) {
            return Err(Refusal::Clock);
        }
        let now_s = u64::try_from(now.as_micros() / 1_000_000).map_err(|_| Refusal::Clock)?;
        NoteSignature::sign(checkpoint.note().text(), &self.key.at(now_s))
            .map_err(|error| Refusal::Unsigned(error.into()))
    }
}

/// Whether what is offered continues the latest, in the order in which the specification asks.
fn continues(latest: &Latest, offered: &AddCheckpoint) -> Result<(), Refusal> {
    let known = latest.size();
    if offered.old != known {
        return Err(Refusal::Stale { known });
    }
    let Some(signed) = &latest.signed else {
        let empty = domain::Hash::empty_root();
        return offered.verify_consistency(&empty).map_err(Refusal::Inconsistent);
    };
    let (old, new) = (signed.checkpoint(), offered.checkpoint.checkpoint());
    if new.size() == known && new.root() != old.root() {
        return Err(Refusal::OtherRoot { known });
    }
    offered
        .verify_consistency(&old.root())
        .map_err(Refusal::Inconsistent)
}

/// What is kept of a checkpoint: its text, the lines of the log's keys, and ours. Strangers' lines are not kept.
fn kept(
    offered: &SignedCheckpoint,
    keys: &[VerifierKey],
    cosignature: &NoteSignature,
) -> Result<SignedCheckpoint, CheckpointError> {
    let mut note = Note::sign(offered.note().text(), &[])?;
    let by_log = |line: &&NoteSignature| {
        keys.iter()
            .any(|key| key.name() == line.name() && key.id() == line.key_id())
    };
    for line in offered.note().signatures().iter().filter(by_log) {
        note.add(line.clone())?;
    }
    note.add(cosignature.clone())?;
    SignedCheckpoint::parse(note.encode().as_bytes())
}

/// Reads what was kept of a log, which this witness must have cosigned.
fn load(
    store: &impl WitnessStore,
    origin: &str,
    public: &VerifierKey,
) -> Result<Option<SignedCheckpoint>, WitnessError> {
    let bytes = store.load(origin).map_err(|error| WitnessError::Unreadable {
        origin: origin.to_owned(),
        error,
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let damaged = |reason: String| WitnessError::Damaged {
        origin: origin.to_owned(),
        reason,
    };
    let signed = SignedCheckpoint::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
    if signed.checkpoint().origin() != origin {
        return Err(damaged(format!("it is of {}", signed.checkpoint().origin())));
    }
    signed
        .note()
        .verify([public])
        .map_err(|error| damaged(error.to_string()))?;
    Ok(Some(signed))
}

/// Whose checkpoints of a log are cosigned: those keys', and those that the rotations lead to which were proven here.
fn followed(
    store: &impl WitnessStore,
    origin: &str,
    keys: Vec<VerifierKey>,
) -> Result<Followed, WitnessError> {
    let mut followed = Followed {
        keys,
        rotations: Vec::new(),
    };
    let kept = store
        .rotations(origin)
        .map_err(|error| WitnessError::Unreadable {
            origin: origin.to_owned(),
            error,
        })?;
    for bytes in kept {
        let read = RotationProof::parse("a rotation", &bytes).and_then(|proof| proven(origin, &proof));
        let rotation = read.map_err(|reason| WitnessError::Damaged {
            origin: origin.to_owned(),
            reason,
        })?;
        // The runner may have named other keys since.
        if followed.leads_to(&rotation) {
            followed.take(rotation);
        }
    }
    Ok(followed)
}

/// A rotation of the log key, if everything holds that its proof says.
fn proven(origin: &str, proof: &RotationProof) -> Result<Rotation, String> {
    let rotation = proof.check(origin, &Vouchers::default())?;
    if rotation.role == Role::Log {
        Ok(rotation)
    } else {
        Err("it is of another key than the one that signs checkpoints".to_owned())
    }
}

fn store_failed(error: impl ToString) -> Refusal {
    Refusal::Store(error.to_string())
}

#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
