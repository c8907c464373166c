//! Trust policies: which logs are accepted, and which witnesses together are enough.
//!
//! Invariants: names are octets and mean nothing outside their file; each witness counts in one way only; a bad line
//! of a known key condemns the checkpoint, whatever the quorum says.
//! Source: C2SP tlog-policy as of July 2026; signature types by tlog-checkpoint and tlog-cosignature.
//! Not here: where a policy comes from (it must come from outside what is verified, FORMAT §8).

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::note::{KeyError, KeyType, NoteError, VerifierKey};
use crate::text;
use std::collections::BTreeMap;

/// The largest policy that is read, bytes: 256 ML-DSA-44 keys are half of it.
pub const POLICY_BYTES_MAX: usize = 1 << 20;
/// The most logs, witnesses, and groups that are read, of each. C2SP asks for at least 32.
pub const POLICY_ITEMS_MAX: usize = 256;

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than [`POLICY_BYTES_MAX`] bytes.
    #[error("the policy is larger than {POLICY_BYTES_MAX} bytes")]
    TooLarge,
    /// A control character other than tab and newline.
    #[error("the policy contains a control character")]
    Characters,
    /// The last line does not end.
    #[error("the last line of the policy has no newline")]
    Unterminated,
    /// No line says which quorum.
    #[error("the policy has no quorum line: say \"quorum none\" if no witness is required")]
    NoQuorum,
    /// A line is wrong.
    #[error("line {line} of the policy: {error}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        error: LineError,
    },
}

/// What is wrong with a line of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Another keyword, or not as many words as it takes.
    #[error("not one of: log VKEY [URL], witness NAME VKEY [URL], group NAME all|any|K NAME…, quorum NAME")]
    Form,
    /// The key is none, or of a type that does not fit.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The same public key stands there twice.
    #[error("this public key is already listed")]
    DuplicateKey,
    /// The name is taken, or reserved.
    #[error("this name is already defined, or is \"none\"")]
    Name,
    /// The name is not defined on a line before.
    #[error("a name is used that no line before defines")]
    Unknown,
    /// The name is a member already.
    #[error("a name may be a member of one group only, and once")]
    SecondMembership,
    /// Not 1 ≤ k ≤ n.
    #[error("the threshold must be at least 1 and at most the number of members")]
    Threshold,
    /// More than [`POLICY_ITEMS_MAX`] of a kind.
    #[error("more than {POLICY_ITEMS_MAX} of a kind")]
    TooMany,
    /// A second quorum line.
    #[error("a policy has exactly one quorum line")]
    SecondQuorum,
}

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
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`], with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLarge);
        }
        if !bytes
            .iter()
            .all(|b| matches!(b, b'\t' | b'\n' | 0x20..=0x7e | 0x80..))
        {
            return Err(PolicyError::Characters);
        }
        let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
        if lines.pop() != Some(b"") {
            return Err(PolicyError::Unterminated);
        }
        let mut parser = Parser::default();
        for (i, line) in lines.into_iter().enumerate() {
            parser
                .line(line)
                .map_err(|error| PolicyError::Line { line: i + 1, error })?;
        }
        let quorum = parser.quorum.ok_or(PolicyError::NoQuorum)?;
        Ok(Self {
            logs: parser.logs,
            witnesses: parser.witnesses,
            groups: parser.groups,
            quorum,
        })
    }

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

#[derive(Default)]
struct Parser {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    names: BTreeMap<Vec<u8>, (Member, bool)>,
    quorum: Option<Option<Member>>,
}

impl Parser {
    fn line(&mut self, line: &[u8]) -> Result<(), LineError> {
        let mut words = line
            .split(|b| matches!(b, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        let Some(keyword) = words.next().filter(|word| !word.starts_with(b"#")) else {
            return Ok(());
        };
        let words: Vec<&[u8]> = words.collect();
        match (keyword, words.as_slice()) {
            (b"log", [key]) => self.log(key, None),
            (b"log", [key, url]) => self.log(key, Some(url)),
            (b"witness", [name, key]) => self.witness(name, key, None),
            (b"witness", [name, key, url]) => self.witness(name, key, Some(url)),
            (b"group", [name, threshold, members @ ..]) if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            (b"quorum", [name]) => self.quorum(name),
            _ => Err(LineError::Form),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&[u8]>) -> Result<(), LineError> {
        let key = parse_key(key)?;
        if self
            .logs
            .iter()
            .any(|log| log.key.public_bytes() == key.public_bytes())
        {
            return Err(LineError::DuplicateKey);
        }
        push(
            &mut self.logs,
            PolicyLog {
                key,
                url: url.map(<[u8]>::to_vec),
            },
        )
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&[u8]>) -> Result<(), LineError> {
        let key = parse_key(key)?;
        if key.key_type() == KeyType::Ed25519 {
            return Err(KeyError::Type(KeyType::Ed25519 as u8).into());
        }
        if self
            .witnesses
            .iter()
            .any(|witness| witness.key.public_bytes() == key.public_bytes())
        {
            return Err(LineError::DuplicateKey);
        }
        self.define(name, Member::Witness(self.witnesses.len()))?;
        push(
            &mut self.witnesses,
            PolicyWitness {
                name: name.to_vec(),
                key,
                url: url.map(<[u8]>::to_vec),
            },
        )
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), LineError> {
        let threshold = match threshold {
            b"all" => members.len(),
            b"any" => 1,
            k => {
                let k = std::str::from_utf8(k)
                    .ok()
                    .and_then(text::decimal)
                    .ok_or(LineError::Form)?;
                usize::try_from(k).map_err(|_| LineError::Threshold)?
            }
        };
        if !(1..=members.len()).contains(&threshold) {
            return Err(LineError::Threshold);
        }
        let members = members
            .iter()
            .map(|member| self.enlist(member))
            .collect::<Result<Vec<_>, _>>()?;
        self.define(name, Member::Group(self.groups.len()))?;
        push(&mut self.groups, Group { threshold, members })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), LineError> {
        if self.quorum.is_some() {
            return Err(LineError::SecondQuorum);
        }
        self.quorum = Some(match name {
            b"none" => None,
            name => Some(self.names.get(name).ok_or(LineError::Unknown)?.0),
        });
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), LineError> {
        if name == b"none" || self.names.contains_key(name) {
            return Err(LineError::Name);
        }
        self.names.insert(name.to_vec(), (member, false));
        Ok(())
    }

    fn enlist(&mut self, name: &[u8]) -> Result<Member, LineError> {
        let (member, enlisted) = self.names.get_mut(name).ok_or(LineError::Unknown)?;
        if std::mem::replace(enlisted, true) {
            Err(LineError::SecondMembership)
        } else {
            Ok(*member)
        }
    }
}

fn parse_key(word: &[u8]) -> Result<VerifierKey, KeyError> {
    std::str::from_utf8(word)
        .map_err(|_| KeyError::Malformed)
        .and_then(VerifierKey::parse)
}

fn push<T>(items: &mut Vec<T>, item: T) -> Result<(), LineError> {
    if items.len() == POLICY_ITEMS_MAX {
        return Err(LineError::TooMany);
    }
    items.push(item);
    Ok(())
}

#[cfg(test)]
#[path = "tlog_policy_tests.rs"]
mod tests;
