//! Which log keys are believed, from the one that the asker has from elsewhere over every rotation (FORMAT §1).
//!
//! A rotation comes as its *proof*: a tlog-proof whose `extra` is the entry `KeyRotated`, under the checkpoint that ends
//! with it and that both keys signed. From a file that the asker has, from the log, or, where a log gives its entries
//! and no proofs, from the entries, which the verification of the whole then ties to the root.
//! Invariants: a rotation extends what is believed only if its note, its inclusion and both signatures hold, and a key
//! that is believed already stands on one of its ends; a recovery key counts if the asker has it from elsewhere, or if a
//! head that a believed key signed covers the first entry, which names it; from there it is followed over its own
//! rotations, forwards by its note, backwards where a believed key signed the tree with the entry.
//! Not here: which key a checkpoint must carry (`domain::rotation`).

use crate::evidence::{Evidence, Trust};
use crate::report::Report;
use crate::source::{Chunk, Flaw, Given, LogSource, SourceError};
use crate::verify::{VerifyError, VerifySettings};
use domain::checkpoint::SignedCheckpoint;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::note::{Note, VerifierKey};
use domain::rotation::{
    KEY_ROTATED, KeyHistory, KeyRotated, ROTATIONS_MAX, Role, Rotation, Vouchers, recovery_name,
};
use domain::tlog_proof::TlogProof;
use domain::{Hash, Position, TreeSize};

/// What the entries of rotations begin with, canonically.
const BEGINS: &[u8] =
    b"{\"aggregate_id\":\"main\",\"aggregate_type\":\"ledger\",\"event_type\":\"KeyRotated\"";

/// The proof of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationProof {
    /// What it is called, such as its file's name.
    pub name: String,
    /// The proof.
    pub proof: TlogProof,
}

impl RotationProof {
    /// Reads a file. Nothing is believed by that.
    ///
    /// # Errors
    /// In words.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let proof = TlogProof::parse(bytes).map_err(|error| format!("{name}: {error}"))?;
        if proof.extra.is_none() || proof.size() != proof.index.size_through() {
            return Err(format!(
                "{name}: not the proof of a rotation: its checkpoint must end with the entry in it"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            proof,
        })
    }

    /// The rotation, if everything that its proof says of itself holds.
    ///
    /// # Errors
    /// In words: what does not hold.
    pub fn check(&self, origin: &str, vouchers: &Vouchers<'_>) -> Result<Rotation, String> {
        let wrong = |what: String| format!("{}: {what}", self.name);
        let bytes = self.proof.extra.as_deref().unwrap_or_default();
        let entry = Entry::decode(bytes).map_err(|error| wrong(error.to_string()))?;
        if entry.position != self.proof.index {
            return Err(wrong("its entry is of another position".to_owned()));
        }
        let inclusion = self.proof.verify_inclusion(&leaf_hash(bytes));
        inclusion.map_err(|error| wrong(error.to_string()))?;
        if self.proof.checkpoint.checkpoint().origin() != origin {
            return Err(wrong("it is of another log".to_owned()));
        }
        let rotation = Rotation::read(origin, &entry, vouchers).map_err(wrong)?;
        domain::rotation::check_handover(&self.proof.checkpoint, std::slice::from_ref(&rotation))
            .map_err(|error| wrong(error.to_string()))?;
        Ok(rotation)
    }

    /// The key before and the new one, as the entry says.
    fn says(&self) -> Option<KeyRotated> {
        let entry = Entry::read(self.proof.extra.as_deref()?).ok()?;
        serde_json::from_slice(entry.payload).ok()
    }
}

/// A checkpoint that a believed key signed, and that covers the first entry: the log must have its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covering {
    /// What it is called.
    pub name: String,
    /// Its size.
    pub size: TreeSize,
    /// Its root.
    pub root: Hash,
}

impl Covering {
    fn new(name: String, signed: &SignedCheckpoint) -> Self {
        Self {
            name,
            size: signed.checkpoint().size(),
            root: signed.checkpoint().root(),
        }
    }
}

/// The settings with every rotation that the asker's keys lead to. `signed` is the checkpoint that is asked about.
///
/// # Errors
/// [`VerifyError`] where the log does not answer, or a proof that was given is none.
pub fn follow(
    settings: &VerifySettings,
    origin: &str,
    source: Option<&dyn LogSource>,
    signed: Option<&SignedCheckpoint>,
    report: &mut Report,
) -> Result<VerifySettings, VerifyError> {
    let mut settings = settings.clone();
    if !settings.trust.is_known() {
        return Ok(settings);
    }
    let mut proofs = settings.rotations.clone();
    if let Some(source) = source {
        for (name, bytes) in source.rotations()? {
            match RotationProof::parse(&name, &bytes) {
                Ok(proof) => proofs.push(proof),
                Err(what) => report.tampered(Flaw { position: None, what }),
            }
        }
    }
    proofs.sort_by_key(|proof| proof.proof.index);
    proofs.dedup_by(|a, b| a.proof.extra == b.proof.extra);
    // Most logs were never handed over: nothing more is asked of those.
    let is_plain =
        proofs.is_empty() && signed.is_none_or(|signed| signed.verify(origin, settings.trust.keys()).is_ok());
    let by_recovery = proofs.iter().any(|proof| proof.is_vouched_by_recovery(origin));
    let asked = !is_plain && (by_recovery || proofs.is_empty());
    let found = if asked {
        recovery(&settings, origin, source, &proofs)?
    } else {
        None
    };
    let recovery = found.map(|(key, covering)| {
        settings.covering = covering;
        key
    });
    let mut rotations = chain(&proofs, origin, &settings.trust, recovery.as_ref(), report);
    let is_strange = signed.is_some_and(|signed| {
        let keys = settings
            .trust
            .keys()
            .chain(rotations.iter().map(|rotation| &rotation.new));
        signed.verify(origin, keys).is_err()
    });
    if let (Some(source), Some(signed), true) = (source, signed, is_strange && rotations.is_empty()) {
        rotations = from_entries(
            source,
            origin,
            &settings.trust,
            recovery.as_ref(),
            signed.checkpoint().size(),
        )?;
    }
    settings.trust.rotations = rotations;
    Ok(settings)
}

/// The recovery key that counts.
fn recovery(
    settings: &VerifySettings,
    origin: &str,
    source: Option<&dyn LogSource>,
    proofs: &[RotationProof],
) -> Result<Option<(VerifierKey, Option<Covering>)>, VerifyError> {
    let name = recovery_name(origin);
    let given = settings.trust.keys.iter().find(|key| key.name() == name);
    if let Some(given) = given {
        return Ok(Some((given.clone(), None)));
    }
    let Some(source) = source else { return Ok(None) };
    // What the first entry says counts where a believed key signed a tree that has it, which the verification then holds
    // against the log: what was kept elsewhere, or a head of the log's own.
    let believed = |signed: &SignedCheckpoint| settings.trust.examine(origin, signed).is_ok();
    let kept = settings
        .evidence
        .iter()
        .map(|one: &Evidence| (one.name.clone(), &one.checkpoint));
    let shown = proofs.iter().map(|one| (one.name.clone(), &one.proof.checkpoint));
    let mut covering = kept
        .chain(shown)
        .find(|(_, signed)| believed(signed))
        .map(|(name, signed)| Covering::new(name, signed));
    if covering.is_none()
        && let Some(date) = source.head_dates()?.first()
    {
        let head = source
            .head(*date)
            .ok()
            .and_then(|bytes| TlogProof::parse(&bytes).ok());
        let head = head.filter(|head| believed(&head.checkpoint));
        covering = head.map(|head| Covering::new(format!("the head of {date}"), &head.checkpoint));
    }
    if covering.is_none() || source.withholds_entries().is_some() {
        return Ok(None);
    }
    let Some(size) = size_of(source)? else {
        return Ok(None);
    };
    let mut chunk = Chunk::default();
    let mut stream = source.entries(Position::FIRST, size)?;
    // What is damaged is found by whoever verifies it all.
    if !stream.next(&mut chunk).or_else(missing)? {
        return Ok(None);
    }
    let history = match chunk.iter().next() {
        Some(Given::Entry(bytes)) => Entry::read(bytes)
            .ok()
            .map(|entry| KeyHistory::begin(entry.payload)),
        _ => None,
    };
    Ok(history.and_then(|history| Some((history.first_recovery()?.clone(), covering))))
}

/// How many entries can be had of it.
fn size_of(source: &dyn LogSource) -> Result<Option<TreeSize>, SourceError> {
    if let Some(size) = source.size() {
        return Ok(Some(size));
    }
    let signed = source.checkpoint()?;
    let signed = signed.and_then(|note| SignedCheckpoint::parse(&note).ok());
    Ok(signed.map(|signed| signed.checkpoint().size()))
}

/// The rotations that hold and hang together with what is believed, rising.
fn chain(
    proofs: &[RotationProof],
    origin: &str,
    trust: &Trust,
    recovery: Option<&VerifierKey>,
    report: &mut Report,
) -> Vec<Rotation> {
    let mut believed: Vec<VerifierKey> = trust.keys().cloned().collect();
    let mut taken: Vec<Option<Rotation>> = vec![None; proofs.len().min(ROTATIONS_MAX)];
    // A key that came later vouches for those before it as well: its tree holds the rotation that names them.
    loop {
        let mut more = false;
        for (proof, taken) in proofs.iter().zip(&mut taken) {
            if taken.is_some() {
                continue;
            }
            let Some(said) = proof.says() else { continue };
            let known = |text: &str| believed.iter().find(|key| key.to_string() == text);
            let old = said.old.as_deref().and_then(known);
            let new = known(&said.new);
            let beside = believed
                .iter()
                .rev()
                .find(|key| key.name() == origin && proof.is_signed_by(key));
            let anchor = match said.role {
                Role::Log => old.or(new),
                Role::PostQuantum | Role::Receipt | Role::Recovery => beside,
            };
            let Some(anchor) = anchor else { continue };
            let in_force = recovery_before(proofs, proof.proof.index, origin, recovery, &believed);
            // Whoever does not know the recovery key has nothing to say of the next one.
            if said.role == Role::Recovery && in_force.as_ref().map(ToString::to_string) != said.old {
                continue;
            }
            let log = Vouchers {
                log: (said.role == Role::PostQuantum).then_some(anchor),
                recovery: in_force.as_ref(),
            };
            match proof.check(origin, &log) {
                Ok(rotation) => {
                    believed.extend(
                        [Some(rotation.new.clone()), rotation.old.clone()]
                            .into_iter()
                            .flatten(),
                    );
                    *taken = Some(rotation);
                    more = true;
                }
                Err(what) => {
                    let finding = Flaw {
                        position: Some(proof.proof.index),
                        what,
                    };
                    if !report.findings.iter().any(|it| it.what == finding.what) {
                        report.tampered(finding);
                    }
                }
            }
        }
        if !more {
            break;
        }
    }
    taken.into_iter().flatten().collect()
}

/// The recovery key in force before that position, from the one that counts: forwards over what it vouched for itself,
/// backwards over what vouched for it in a tree that a believed key signed.
fn recovery_before(
    proofs: &[RotationProof],
    position: Position,
    origin: &str,
    counts: Option<&VerifierKey>,
    believed: &[VerifierKey],
) -> Option<VerifierKey> {
    let mut key = counts?.clone();
    let of_recovery = || {
        proofs.iter().filter_map(|proof| {
            let said = proof.says().filter(|said| said.role == Role::Recovery)?;
            Some((proof, said))
        })
    };
    let holds = |proof: &RotationProof, said: &KeyRotated| {
        let old = said.old.as_deref().and_then(|old| VerifierKey::parse(old).ok())?;
        let vouchers = Vouchers {
            log: None,
            recovery: Some(&old),
        };
        proof.check(origin, &vouchers).ok()
    };
    for (proof, said) in of_recovery().filter(|(proof, _)| proof.proof.index < position) {
        if said.old.as_deref() == Some(key.to_string().as_str())
            && let Some(rotation) = holds(proof, &said)
        {
            key = rotation.new;
        }
    }
    let mut later: Vec<_> = of_recovery()
        .filter(|(proof, _)| proof.proof.index >= position)
        .collect();
    later.reverse();
    for (proof, said) in later {
        let is_believed = || {
            believed
                .iter()
                .any(|log| log.name() == origin && proof.is_signed_by(log))
        };
        if said.new == key.to_string()
            && is_believed()
            && let Some(rotation) = holds(proof, &said)
        {
            key = rotation.old?;
        }
    }
    Some(key)
}

impl RotationProof {
    /// Whether its note carries a line in the recovery key's name.
    fn is_vouched_by_recovery(&self, origin: &str) -> bool {
        let name = recovery_name(origin);
        let note = self
            .says()
            .and_then(|said| Note::parse(said.note.as_bytes()).ok());
        note.is_some_and(|note| note.signatures().iter().any(|line| line.name() == name))
    }

    fn is_signed_by(&self, key: &VerifierKey) -> bool {
        self.proof.checkpoint.note().verify([key]).is_ok()
    }
}

/// The rotations that the entries tell, where one end of them is believed.
fn from_entries(
    source: &dyn LogSource,
    origin: &str,
    trust: &Trust,
    recovery: Option<&VerifierKey>,
    size: TreeSize,
) -> Result<Vec<Rotation>, VerifyError> {
    if source.withholds_entries().is_some() {
        return Ok(Vec::new());
    }
    let mut believed: Vec<VerifierKey> = trust.keys().cloned().collect();
    let mut rotations = Vec::new();
    let mut recovery = recovery.cloned();
    let mut chunk = Chunk::default();
    let mut stream = source.entries(Position::FIRST, size)?;
    // What is damaged is found by whoever verifies it all.
    while stream.next(&mut chunk).or_else(missing)? {
        for given in chunk.iter() {
            let Given::Entry(bytes) = given else { continue };
            if !bytes.starts_with(BEGINS) || rotations.len() >= ROTATIONS_MAX {
                continue;
            }
            let Ok(entry) = Entry::decode(bytes) else { continue };
            if entry.event_type != KEY_ROTATED {
                continue;
            }
            let log = believed.iter().rev().find(|key| key.name() == origin);
            let vouchers = Vouchers {
                log,
                recovery: recovery.as_ref(),
            };
            let Ok(rotation) = Rotation::read(origin, &entry, &vouchers) else {
                continue;
            };
            if rotation.role == Role::Recovery {
                recovery = Some(rotation.new.clone());
            }
            let ends = [Some(&rotation.new), rotation.old.as_ref()];
            let holds =
                rotation.role != Role::Log || ends.into_iter().flatten().any(|end| believed.contains(end));
            if holds {
                believed.push(rotation.new.clone());
                rotations.push(rotation);
            }
        }
    }
    Ok(rotations)
}

fn missing(error: SourceError) -> Result<bool, SourceError> {
    match error {
        SourceError::Unavailable(_) => Err(error),
        SourceError::Missing { .. } | SourceError::Malformed { .. } => Ok(false),
    }
}
