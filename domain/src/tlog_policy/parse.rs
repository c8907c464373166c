//! A policy's text, line by line.
//!
//! Invariants: a name is defined before it is used, once, and is a member of one group at most; exactly one quorum.
//! Source: C2SP tlog-policy as of July 2026, "Policy file syntax and structure".
//! Not here: what a policy makes of a checkpoint (the file above).

use super::{Group, Member, POLICY_BYTES_MAX, POLICY_ITEMS_MAX, Policy, PolicyLog, PolicyWitness};
use crate::note::{KeyError, KeyType, VerifierKey};
use crate::text;
use std::collections::BTreeMap;

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
