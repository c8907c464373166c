//! What an asker knows of a log from elsewhere: keys, a policy, and checkpoints or heads that they kept.
//!
//! Invariant: what was kept counts only if the log's key signed it, where that key is known from elsewhere too; what is
//! of another log is an error of the asker and no verdict.
//! Source: FORMAT §8; C2SP tlog-proof, tlog-policy.
//! Not here: the verdict (`verify`).

use domain::checkpoint::{CheckpointError, SignedCheckpoint};
use domain::day::{DAY_CLOSED, DayClosed};
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::note::{NoteError, VerifierKey};
use domain::rotation::{RECEIPT_SUFFIX, RECOVERY_SUFFIX, Rotation, check_handover};
use domain::tlog_policy::{Policy, Quorum};
use domain::tlog_proof::TlogProof;
use domain::verify::{Kept, KnownRoot};
use domain::{Date, Hash, TreeSize};

/// The most files of evidence: a century of heads.
pub const EVIDENCE_MAX: usize = 40_000;

/// Why something that was given cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct EvidenceError {
    /// Which.
    pub name: String,
    /// Why, and what to do.
    pub reason: String,
}

/// A checkpoint that was kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What it is called when it is spoken of, such as its file's name.
    pub name: String,
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// The day that it closes, where it is a day's head.
    pub closes: Option<Date>,
}

impl Evidence {
    /// Reads a file that is a tlog-proof, such as a day's head, or a bare checkpoint.
    ///
    /// # Errors
    /// [`EvidenceError`] where it is neither, or a proof that does not hold.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, EvidenceError> {
        let refuse = |reason: String| EvidenceError {
            name: name.to_owned(),
            reason,
        };
        if !bytes.starts_with(b"c2sp.org/tlog-proof@") {
            let checkpoint = SignedCheckpoint::parse(bytes)
                .map_err(|error| refuse(format!("neither a head (tlog-proof) nor a checkpoint: {error}")))?;
            return Ok(Self {
                name: name.to_owned(),
                checkpoint,
                closes: None,
            });
        }
        let proof = TlogProof::parse(bytes).map_err(|error| refuse(error.to_string()))?;
        if let Some(extra) = &proof.extra {
            proof
                .verify_inclusion(&leaf_hash(extra))
                .map_err(|error| refuse(error.to_string()))?;
        }
        Ok(Self {
            name: name.to_owned(),
            closes: proof.extra.as_deref().and_then(closes),
            checkpoint: proof.checkpoint,
        })
    }

    /// The size that it speaks of.
    pub fn size(&self) -> TreeSize {
        self.checkpoint.checkpoint().size()
    }

    /// The root at that size.
    pub fn root(&self) -> Hash {
        self.checkpoint.checkpoint().root()
    }
}

/// The day that an entry closes.
fn closes(entry: &[u8]) -> Option<Date> {
    let entry = Entry::decode(entry).ok()?;
    let closes_day = entry.event_type == DAY_CLOSED && entry.stream_is("ledger", "main");
    let day: DayClosed = serde_json::from_slice(entry.payload)
        .ok()
        .filter(|_| closes_day)?;
    Some(day.date)
}

/// Whose signatures are believed.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The log's keys; those named as the origin count.
    pub keys: Vec<VerifierKey>,
    /// Which witnesses are enough.
    pub policy: Option<Policy>,
    /// What came before and after those keys, as far as it was followed; rising.
    pub rotations: Vec<Rotation>,
}

impl Trust {
    /// Whether anything is known from elsewhere.
    pub fn is_known(&self) -> bool {
        self.keys().next().is_some()
    }

    /// All keys of logs.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        let logs = self
            .policy
            .iter()
            .flat_map(|policy| policy.logs().iter().map(|log| &log.key));
        self.keys.iter().chain(logs)
    }

    /// All keys that sign checkpoints: those from elsewhere, and those that rotations lead to.
    pub fn log_keys(&self) -> impl Iterator<Item = &VerifierKey> {
        let rotated = self.rotations.iter().filter(|it| it.role.signs_checkpoints());
        let ends = rotated.flat_map(|it| it.old.iter().chain([&it.new]));
        let mut seen: Vec<&VerifierKey> = Vec::new();
        let mut all: Vec<&VerifierKey> = self.keys().chain(ends).collect();
        all.retain(|key| {
            let is_new = !seen.contains(key);
            seen.push(key);
            is_new
        });
        all.into_iter()
    }

    /// Which of these keys have signed a checkpoint, each with where it came into force if that was by a rotation.
    pub fn signers(&self, signed: &SignedCheckpoint) -> Vec<String> {
        let has = |key: &&VerifierKey| signed.note().verify([*key]).is_ok();
        let signers = self.log_keys().filter(has);
        signers
            .map(|key| match self.rotations.iter().find(|it| it.new == *key) {
                Some(rotation) => format!(
                    "{}+{}, in force since the KeyRotated at position {}",
                    key.name(),
                    key.id(),
                    rotation.position
                ),
                None => format!("{}+{}", key.name(), key.id()),
            })
            .collect()
    }

    /// The origin that the keys are named for, where they agree.
    pub fn origin(&self) -> Option<&str> {
        let signs = |name: &&str| !name.ends_with(RECOVERY_SUFFIX) && !name.ends_with(RECEIPT_SUFFIX);
        let mut names = self.keys().map(VerifierKey::name).filter(signs);
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    }

    /// Checks the log's signature, and tells whether the witnesses that cosigned are enough, and when the last of them
    /// did, POSIX seconds.
    ///
    /// # Errors
    /// In words.
    pub fn examine(&self, origin: &str, signed: &SignedCheckpoint) -> Result<Witnesses, String> {
        let keys = || self.log_keys().filter(|key| key.name() == origin);
        signed.verify(origin, keys()).map_err(|error| match error {
            CheckpointError::Note(NoteError::Unsigned) => format!(
                "{error}; where the key was replaced, the rotation's proof (--rotation) leads to the new one, and after a \
                 recovery the recovery key must be known too (--key)"
            ),
            other => other.to_string(),
        })?;
        check_handover(signed, &self.rotations).map_err(|error| error.to_string())?;
        let Some(policy) = &self.policy else {
            return Ok(Witnesses::default());
        };
        let examined = policy
            .examine_with(signed, keys())
            .map_err(|error| error.to_string())?;
        Ok(Witnesses {
            quorum: examined.quorum == Quorum::Met,
            count: examined.cosigners().count(),
            first_s: examined.witnessed.iter().filter_map(|w| w.timestamp_s).min(),
            last_s: examined.witnessed.iter().filter_map(|w| w.timestamp_s).max(),
        })
    }
}

/// Who has cosigned a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// The policy requires witnesses and enough of them have.
    pub quorum: bool,
    /// How many have.
    pub count: usize,
    /// The earliest time that one states, POSIX seconds.
    pub first_s: Option<u64>,
    /// The latest.
    pub last_s: Option<u64>,
}

/// What was kept elsewhere, as roots that the log must have.
///
/// # Errors
/// [`EvidenceError`] for what is of another log or not signed by a key that is known from elsewhere.
pub fn known_roots(
    evidence: &[Evidence],
    origin: &str,
    trust: &Trust,
) -> Result<Vec<KnownRoot>, EvidenceError> {
    evidence
        .iter()
        .map(|one| {
            let refuse = |reason: String| EvidenceError {
                name: one.name.clone(),
                reason,
            };
            let found = one.checkpoint.checkpoint().origin();
            if found != origin {
                return Err(refuse(format!("it is of the log {found}, not of {origin}")));
            }
            if trust.is_known() {
                trust.examine(origin, &one.checkpoint).map_err(refuse)?;
            }
            Ok(KnownRoot {
                size: one.size(),
                root: one.root(),
                kept: Kept::Outside,
                source: one.name.clone(),
            })
        })
        .collect()
}
