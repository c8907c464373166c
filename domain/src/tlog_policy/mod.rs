//! Trust policies: which logs are accepted, and which witnesses together are enough.
//!
//! Invariants: names are octets and mean nothing outside their file; each witness counts in one way only; a bad line
//! of a known key condemns the checkpoint, whatever the quorum says.
//! Source: C2SP tlog-policy as of July 2026; signature types by tlog-checkpoint and tlog-cosignature.
//! Not here: where a policy comes from (it must come from outside what is verified, FORMAT §8).

mod parse;

pub use parse::{LineError, PolicyError};

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::note::{NoteError, VerifierKey};

/// The largest policy that is read, bytes: 256 ML-DSA-44 keys are half of it.
pub const POLICY_BYTES_MAX: usize = 1 << 20;
/// The most logs, witnesses, and groups that are read, of each. C2SP asks for at least 32.
pub const POLICY_ITEMS_MAX: usize = 256;

/// A log that is accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyLog {
    /// Its key; the name is the log's origin.
    pub key: VerifierKey,
    /// Where it is reached.
    pub url: Option<Vec<u8>>,
}

/// A witness that may count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyWitness {
    /// Its name in this file.
    pub name: Vec<u8>,
    /// Its cosigning key.
    pub key: VerifierKey,
    /// Where it is reached.
    pub url: Option<Vec<u8>>,
}

/// A witness or a group, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// Known logs, known witnesses, and the quorum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    /// `None` is `quorum none`.
    quorum: Option<Member>,
}

/// Whether enough witnesses have cosigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quorum {
    /// The policy requires witnesses, and enough of them have.
    Met,
    /// The policy requires witnesses, and too few have.
    Missed,
    /// The policy requires none: whoever relies on it alone relies on the log alone.
    NotRequired,
}

/// A cosignature that holds, by a witness of the policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witnessed<'p> {
    /// By whom.
    pub witness: &'p PolicyWitness,
    /// When, as the witness states it, POSIX seconds.
    pub timestamp_s: Option<u64>,
}

/// What a policy makes of a checkpoint that an accepted log has signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Examined<'p> {
    /// Whether enough witnesses have cosigned.
    pub quorum: Quorum,
    /// Every cosignature that holds, in the order of the lines; a witness may stand here twice.
    pub witnessed: Vec<Witnessed<'p>>,
    /// Witnesses whose line is there but of a type that cannot be checked here. They do not count.
    pub unchecked: Vec<&'p PolicyWitness>,
}

/// Why a checkpoint is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedError {
    /// Not signed by a log of the policy, or a line does not hold.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Too few witnesses.
    #[error("too few witnesses have cosigned this checkpoint: {cosigned} of those the policy knows")]
    Quorum {
        /// How many witnesses have.
        cosigned: usize,
    },
}

impl Policy {
    /// The text of the policy that accepts one log and requires no witness.
    pub fn text_of_log(key: &VerifierKey) -> String {
        format!("log {key}\nquorum none\n")
    }

    /// The logs that are accepted.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses that may count.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether any witness is required.
    pub const fn requires_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Checks that a log of this policy signed, and counts the witnesses that did.
    ///
    /// # Errors
    /// [`CheckpointError`] if none of the logs signed it under its own name, or a known key's line does not hold.
    pub fn examine(&self, signed: &SignedCheckpoint) -> Result<Examined<'_>, CheckpointError> {
        self.examine_with(signed, self.logs.iter().map(|log| &log.key))
    }

    /// The same with logs that are known from elsewhere instead of the policy's own.
    ///
    /// # Errors
    /// As [`Policy::examine`].
    pub fn examine_with<'k>(
        &self,
        signed: &SignedCheckpoint,
        logs: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Examined<'_>, CheckpointError> {
        signed.verify(signed.checkpoint().origin(), logs)?;
        let verified = match signed
            .note()
            .verify(self.witnesses.iter().map(|witness| &witness.key))
        {
            Err(NoteError::Unsigned) => Vec::new(),
            other => other?,
        };
        let witness_of = |key: &VerifierKey| self.witnesses.iter().find(|witness| witness.key == *key);
        let witnessed: Vec<Witnessed<'_>> = verified
            .iter()
            .filter_map(|v| {
                witness_of(v.key).map(|witness| Witnessed {
                    witness,
                    timestamp_s: v.timestamp_s,
                })
            })
            .collect();
        let has_line = |key: &VerifierKey| {
            signed
                .note()
                .signatures()
                .iter()
                .any(|line| line.name() == key.name() && line.key_id() == key.id())
        };
        let unchecked = self
            .witnesses
            .iter()
            .filter(|w| !w.key.can_verify() && has_line(&w.key))
            .collect();
        let cosigned: Vec<bool> = self
            .witnesses
            .iter()
            .map(|witness| witnessed.iter().any(|w| w.witness == witness))
            .collect();
        Ok(Examined {
            quorum: self.evaluate(&cosigned),
            witnessed,
            unchecked,
        })
    }

    /// As [`Policy::examine`], and refuses where the quorum is missed.
    ///
    /// # Errors
    /// [`RefusedError`].
    pub fn accept(&self, signed: &SignedCheckpoint) -> Result<Examined<'_>, RefusedError> {
        let examined = self.examine(signed)?;
        match examined.quorum {
            Quorum::Missed => Err(RefusedError::Quorum {
                cosigned: examined.cosigners().count(),
            }),
            Quorum::Met | Quorum::NotRequired => Ok(examined),
        }
    }

    /// Whether these witnesses, by number, are enough. Groups refer to earlier ones only, so one pass settles them.
    fn evaluate(&self, cosigned: &[bool]) -> Quorum {
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let holds = |member: &Member, groups: &[bool]| match *member {
            Member::Witness(i) => cosigned[i],
            Member::Group(i) => groups[i],
        };
        for group in &self.groups {
            let count = group
                .members
                .iter()
                .filter(|member| holds(member, &groups))
                .count();
            groups.push(count >= group.threshold);
        }
        match &self.quorum {
            None => Quorum::NotRequired,
            Some(member) if holds(member, &groups) => Quorum::Met,
            Some(_) => Quorum::Missed,
        }
    }
}

impl<'p> Examined<'p> {
    /// The witnesses that have cosigned, each once.
    pub fn cosigners(&self) -> impl Iterator<Item = &'p PolicyWitness> + '_ {
        self.witnessed.iter().enumerate().filter_map(|(i, one)| {
            let first = !self.witnessed[..i]
                .iter()
                .any(|before| before.witness == one.witness);
            first.then_some(one.witness)
        })
    }
}

#[cfg(test)]
mod tests;
