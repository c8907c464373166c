//! Cosignatures: somebody else saw this checkpoint, consistent with all they saw before, at that time.
//!
//! Invariant: only the text of a checkpoint is ever cosigned; the time is part of what is signed.
//! Source: C2SP tlog-cosignature v1.0.1, Ed25519 (`cosignature/v1`, signature type 0x04).
//! Not here: being a witness, asking witnesses (`chain-publisher`), ML-DSA-44 (type 0x06; keys are known, not checked).

use crate::checkpoint::Checkpoint;
use crate::note::{KeyError, KeyId, KeyType, Signer, VerifierKey, encode_private, parse_private};
use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

/// The latest time that may be stated, POSIX seconds.
pub const TIMESTAMP_MAX_S: u64 = i64::MAX as u64;
/// Bytes of a `timestamped_signature`.
const COSIGNATURE_BYTES: usize = 8 + 64;

/// A `timestamped_signature`: what follows the key id in a line of type 0x04.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cosignature {
    /// When it was made, POSIX seconds, at most [`TIMESTAMP_MAX_S`].
    pub timestamp_s: u64,
    /// Ed25519 over [`message`].
    pub signature: [u8; 64],
}

impl Cosignature {
    /// Reads 72 bytes; `None` for any other number, or a time beyond the latest.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (timestamp, signature) = bytes.split_first_chunk::<8>()?;
        let timestamp_s = u64::from_be_bytes(*timestamp);
        let signature = signature.try_into().ok()?;
        (timestamp_s <= TIMESTAMP_MAX_S).then_some(Self {
            timestamp_s,
            signature,
        })
    }

    /// The 72 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(COSIGNATURE_BYTES);
        bytes.extend_from_slice(&self.timestamp_s.to_be_bytes());
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// What must have been signed for this note text; `None` if the text is no checkpoint.
    pub fn message(&self, text: &str) -> Option<Vec<u8>> {
        Checkpoint::parse(text).ok()?;
        Some(message(self.timestamp_s, text))
    }
}

/// The bytes that are signed for a checkpoint's whole text, extension lines included.
pub fn message(timestamp_s: u64, checkpoint_text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {timestamp_s}\n{checkpoint_text}").into_bytes()
}

/// An Ed25519 key of type 0x04, a witness's. Never the key of a log, and never shared by two witnesses.
#[derive(Clone)]
pub struct CosigningKey {
    name: String,
    id: KeyId,
    secret: ed25519_dalek::SigningKey,
}

impl CosigningKey {
    /// From 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = VerifierKey::ed25519(name, KeyType::CosignatureV1, secret.verifying_key().as_bytes())?;
        Ok(Self {
            name: name.to_owned(),
            id: public.id(),
            secret,
        })
    }

    /// Reads [`CosigningKey::encode`]'s text.
    ///
    /// # Errors
    /// [`KeyError`]; never a word of the key itself.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, seed, id) = parse_private(text, KeyType::CosignatureV1)?;
        let key = Self::from_seed(name, &seed)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    /// The text that a key file holds, without a newline. A secret.
    pub fn encode(&self) -> Zeroizing<String> {
        encode_private(&self.name, self.id, KeyType::CosignatureV1, &self.secret)
    }

    /// The public half.
    pub fn verifier_key(&self) -> VerifierKey {
        VerifierKey::ed25519(
            &self.name,
            KeyType::CosignatureV1,
            self.secret.verifying_key().as_bytes(),
        )
        .expect("a cosigning key's public half was checked when it was made")
    }

    /// Signs checkpoints as seen at that time, POSIX seconds, at most [`TIMESTAMP_MAX_S`].
    pub fn at(&self, timestamp_s: u64) -> Cosigner<'_> {
        Cosigner {
            key: self,
            timestamp_s: timestamp_s.min(TIMESTAMP_MAX_S),
        }
    }
}

impl std::fmt::Debug for CosigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CosigningKey({}+{})", self.name, self.id)
    }
}

/// A cosigning key at one time.
#[derive(Clone, Debug)]
pub struct Cosigner<'k> {
    key: &'k CosigningKey,
    timestamp_s: u64,
}

impl Signer for Cosigner<'_> {
    fn name(&self) -> &str {
        &self.key.name
    }

    fn key_id(&self) -> KeyId {
        self.key.id
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let mut signed = format!("cosignature/v1\ntime {}\n", self.timestamp_s).into_bytes();
        signed.extend_from_slice(text);
        let signature = self.key.secret.sign(&signed).to_bytes();
        Cosignature {
            timestamp_s: self.timestamp_s,
            signature,
        }
        .encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Note, NoteError};

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn witness() -> CosigningKey {
        CosigningKey::from_seed("witness.example.com/w1", &[7; 32]).expect("a valid name")
    }

    #[test]
    fn the_message_is_the_one_the_specification_spells_out() {
        let expected = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
                        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(message(1_679_315_147, TEXT), expected.as_bytes());
    }

    #[test]
    fn the_specifications_example_line_states_its_time() {
        let line = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2\
                    oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
        let lines = crate::note::parse_signatures(line).expect("the specification's own line");
        let cosignature = Cosignature::parse(lines[0].signature()).expect("72 bytes");
        assert_eq!(cosignature.timestamp_s, 1_679_315_147);
        assert_eq!(cosignature.encode(), lines[0].signature());
        assert_eq!(lines[0].to_string(), line);
    }

    #[test]
    fn a_cosignature_is_ed25519_over_the_message_by_anybodys_implementation() {
        let note = Note::sign(TEXT, &[&witness().at(1_679_315_147)]).expect("a valid text");
        let cosignature = Cosignature::parse(note.signatures()[0].signature()).expect("72 bytes");
        let public = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let signature = ed25519_dalek::Signature::from_bytes(&cosignature.signature);
        assert!(
            public
                .verify_strict(&message(1_679_315_147, TEXT), &signature)
                .is_ok()
        );
        let keys = [witness().verifier_key()];
        let verified = note.verify(&keys).expect("it holds");
        assert_eq!(verified[0].timestamp_s, Some(1_679_315_147));
    }

    #[test]
    fn another_time_or_a_text_that_is_no_checkpoint_does_not_hold() {
        let keys = [witness().verifier_key()];
        let note = Note::sign(TEXT, &[&witness().at(1_679_315_147)]).expect("a valid text");
        let mut cosignature = Cosignature::parse(note.signatures()[0].signature()).expect("72 bytes");
        cosignature.timestamp_s += 1;
        struct Forged(Vec<u8>, KeyId);
        impl Signer for Forged {
            fn name(&self) -> &str {
                "witness.example.com/w1"
            }
            fn key_id(&self) -> KeyId {
                self.1
            }
            fn sign(&self, _: &[u8]) -> Vec<u8> {
                self.0.clone()
            }
        }
        let forged = Note::sign(TEXT, &[&Forged(cosignature.encode(), keys[0].id())]).expect("a valid text");
        assert!(matches!(forged.verify(&keys), Err(NoteError::Signature { .. })));
        let other = Note::sign("no checkpoint\n", &[&witness().at(1)]).expect("a valid text");
        assert!(matches!(other.verify(&keys), Err(NoteError::Signature { .. })));
    }

    #[test]
    fn lengths_and_times_beyond_the_format_are_refused() {
        assert!(Cosignature::parse(&[0; 71]).is_none());
        assert!(Cosignature::parse(&[0; 73]).is_none());
        assert!(Cosignature::parse(&[0x80; 72]).is_none());
        assert!(Cosignature::parse(&[]).is_none());
    }

    #[test]
    fn a_log_key_and_a_witness_key_do_not_stand_in_for_one_another() {
        let text = witness().encode();
        assert_eq!(
            CosigningKey::parse(&text).map(|key| key.verifier_key()),
            Ok(witness().verifier_key())
        );
        assert!(matches!(
            crate::note::SigningKey::parse(&text),
            Err(KeyError::Type(4))
        ));
        assert!(!format!("{:?}", witness()).contains(text.rsplit('+').next().unwrap()));
    }
}
