//! Signed notes: a text, and lines that sign it.
//!
//! Invariants: what was parsed encodes to the same bytes; lines of unknown keys are kept and ignored; one line of a
//! known key that does not hold condemns the whole note.
//! Source: C2SP signed-note v1.0.0.
//! Not here: what the text means (`checkpoint`, receipts), which keys are enough (`tlog_policy`).

mod key;
mod signing;

pub(crate) use key::parse_private;
pub use key::{KeyError, KeyType, VerifierKey, is_key_name};
pub(crate) use signing::encode_private;
pub use signing::{Signer, SigningKey};

use crate::text;
use std::fmt;

/// The largest note that is read, bytes. A hundred ML-DSA-44 lines are a third of it; Go takes as much.
pub const NOTE_BYTES_MAX: usize = 1_000_000;
/// The most signature lines that are read. C2SP asks for at least 16; Go takes as many.
pub const NOTE_SIGNATURES_MAX: usize = 100;

/// Four bytes that tell the keys of one name apart; no security rests on them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Why a note is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Larger than [`NOTE_BYTES_MAX`], or more lines than [`NOTE_SIGNATURES_MAX`].
    #[error(
        "the note is larger than {NOTE_BYTES_MAX} bytes or has more than {NOTE_SIGNATURES_MAX} signatures"
    )]
    TooLarge,
    /// Not UTF-8, or with control characters.
    #[error("a note must be UTF-8 without control characters")]
    Characters,
    /// Not text, blank line, signature lines.
    #[error("a note is a text ending in a newline, a blank line, and signature lines")]
    Structure,
    /// A line that is none.
    #[error("signature line {0} does not read \"— NAME BASE64\"")]
    Line(usize),
    /// A known key's signature does not hold.
    #[error("the signature by {name} ({id}) does not hold: the note was changed, or signed with another key")]
    Signature {
        /// The key's name.
        name: String,
        /// The key's id.
        id: KeyId,
    },
    /// No known key signed it.
    #[error("no known key has signed this note")]
    Unsigned,
    /// Two different known keys share name and id.
    #[error("two known keys share the name {name} and the id {id}")]
    Ambiguous {
        /// The name of both.
        name: String,
        /// The id of both.
        id: KeyId,
    },
    /// A signer with a name that no key may have.
    #[error("a key may not be named so")]
    SignerName,
}

/// One signature line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NoteSignature {
    name: String,
    id: KeyId,
    signature: Vec<u8>,
}

impl NoteSignature {
    /// Signs a note's text.
    ///
    /// # Errors
    /// [`NoteError::SignerName`].
    pub fn sign(text: &str, signer: &dyn Signer) -> Result<Self, NoteError> {
        if !is_key_name(signer.name()) {
            return Err(NoteError::SignerName);
        }
        let signature = signer.sign(text.as_bytes());
        Ok(Self {
            name: signer.name().to_owned(),
            id: signer.key_id(),
            signature,
        })
    }

    /// The key's name. Not checked by having been read.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id. Not checked by having been read.
    pub const fn key_id(&self) -> KeyId {
        self.id
    }

    /// What follows the key id.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = text::from_base64(encoded)?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        let valid = is_key_name(name) && !signature.is_empty();
        valid.then(|| Self {
            name: name.to_owned(),
            id: KeyId(u32::from_be_bytes(*id)),
            signature: signature.to_vec(),
        })
    }
}

impl fmt::Display for NoteSignature {
    /// The line with its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0.to_be_bytes(), self.signature.as_slice()].concat();
        writeln!(f, "— {} {}", self.name, text::base64(&bytes))
    }
}

/// A signature that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<'k> {
    /// By whom.
    pub key: &'k VerifierKey,
    /// The time that a cosignature states, POSIX seconds.
    pub timestamp_s: Option<u64>,
}

/// A text and its signature lines; nothing is believed before [`Note::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Signs a text.
    ///
    /// # Errors
    /// [`NoteError`] for a text that no note may have, or a signer's name.
    pub fn sign(text: &str, signers: &[&dyn Signer]) -> Result<Self, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::Structure);
        }
        let text = characters(text.as_bytes())?;
        let mut note = Self {
            text: text.to_owned(),
            signatures: Vec::new(),
        };
        for signer in signers {
            note.add(NoteSignature::sign(text, *signer)?)?;
        }
        Ok(note)
    }

    /// Reads a note. Its signatures are not checked by that.
    ///
    /// # Errors
    /// [`NoteError`] for any bytes that [`Note::encode`] would not give back the same.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let whole = characters(bytes)?;
        let (text, lines) = whole.rsplit_once("\n\n").ok_or(NoteError::Structure)?;
        let text = whole[..=text.len()].to_owned();
        let signatures = parse_signatures(lines)?;
        if signatures.is_empty() {
            return Err(NoteError::Structure);
        }
        Ok(Self { text, signatures })
    }

    /// The signed text with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All lines, known or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a line behind the others, unless it is there already.
    ///
    /// # Errors
    /// [`NoteError::TooLarge`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() == NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooLarge);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The note as it is stored and sent.
    pub fn encode(&self) -> String {
        self.to_string()
    }

    /// Every signature by one of `keys`, in the order of the lines. Keys that cannot be checked here are unknown.
    ///
    /// # Errors
    /// `Signature` if one of them does not hold, `Unsigned` if there is none: the text must then be ignored.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<Verified<'k>>, NoteError> {
        let keys: Vec<&VerifierKey> = keys.into_iter().filter(|key| key.can_verify()).collect();
        let mut verified = Vec::new();
        for line in &self.signatures {
            let mut matching = keys
                .iter()
                .filter(|key| key.id() == line.id && key.name() == line.name);
            let Some(key) = matching.next() else {
                continue;
            };
            let (name, id) = (line.name.clone(), line.id);
            if matching.any(|other| other != key) {
                return Err(NoteError::Ambiguous { name, id });
            }
            let Some(signed) = key.check(&self.text, &line.signature) else {
                return Err(NoteError::Signature { name, id });
            };
            verified.push(Verified {
                key,
                timestamp_s: signed.timestamp_s,
            });
        }
        if verified.is_empty() {
            Err(NoteError::Unsigned)
        } else {
            Ok(verified)
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| write!(f, "{line}"))
    }
}

/// Reads signature lines alone, as a witness answers them (C2SP tlog-witness). They are not checked by that.
///
/// # Errors
/// [`NoteError::Structure`], [`NoteError::Line`] or [`NoteError::TooLarge`].
pub fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    let lines = text::lines(lines).ok_or(NoteError::Structure)?;
    let mut signatures = Vec::new();
    for (i, line) in lines.enumerate() {
        if i == NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooLarge);
        }
        signatures.push(NoteSignature::parse(line).ok_or(NoteError::Line(i + 1))?);
    }
    Ok(signatures)
}

/// UTF-8 of bearable size without control characters other than newline.
fn characters(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > NOTE_BYTES_MAX {
        return Err(NoteError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
    if text.bytes().any(|b| b < b' ' && b != b'\n') {
        return Err(NoteError::Characters);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
