//! ML-DSA-44 signatures of checkpoints (type 0x06): a second line of a log that outlives Ed25519, and witnesses' lines.
//!
//! Invariants: only a checkpoint is ever signed, by its origin, size and root; what is signed commits to the signer's
//! name. A log states no time (`timestamp` 0), so that signing one checkpoint twice gives the same line.
//! Source: C2SP tlog-cosignature v1.0.1 "ML-DSA-44 signed message"; FIPS 204 (deterministic variant, empty context).
//! Not here: the Ed25519 kinds (`note`, `cosignature`), randomness for seeds (`api`).

use crate::checkpoint::Checkpoint;
use crate::cosignature::TIMESTAMP_MAX_S;
use crate::note::{KeyError, KeyId, KeyType, Signer, VerifierKey, is_key_name};
use ml_dsa::{KeyExport, KeyInit, Keypair, MlDsa44, Signer as _, SigningKey, Verifier as _, VerifyingKey};

/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 2420;
/// The longest name or origin that the signed message can hold.
const NAME_BYTES_MAX: usize = 255;
/// What a log states for a time.
const NO_TIME: u64 = 0;

/// The `cosigned_message` for a checkpoint; `None` where the text is none, or a name does not fit.
fn message(name: &str, timestamp_s: u64, text: &str) -> Option<Vec<u8>> {
    let checkpoint = Checkpoint::parse(text).ok()?;
    let origin = checkpoint.origin();
    let sized = |text: &str| u8::try_from(text.len()).ok().filter(|len| *len > 0);
    let mut message = b"subtree/v1\n\0".to_vec();
    message.push(sized(name)?);
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(&timestamp_s.to_be_bytes());
    message.push(sized(origin)?);
    message.extend_from_slice(origin.as_bytes());
    message.extend_from_slice(&0u64.to_be_bytes());
    message.extend_from_slice(&checkpoint.size().get().to_be_bytes());
    message.extend_from_slice(&checkpoint.root().0);
    Some(message)
}

/// Checks a `timestamped_signature` of a checkpoint's text, and gives its time; `None` where it does not hold.
pub(crate) fn check(name: &str, public: &[u8], text: &str, signature: &[u8]) -> Option<u64> {
    let (timestamp, signature) = signature.split_first_chunk::<8>()?;
    let timestamp_s = u64::from_be_bytes(*timestamp);
    if timestamp_s > TIMESTAMP_MAX_S || signature.len() != SIGNATURE_BYTES {
        return None;
    }
    let key = VerifyingKey::<MlDsa44>::new_from_slice(public).ok()?;
    let signature = ml_dsa::Signature::<MlDsa44>::try_from(signature).ok()?;
    key.verify(&message(name, timestamp_s, text)?, &signature).ok()?;
    Some(timestamp_s)
}

/// A log's ML-DSA-44 key. A secret, wiped when it is dropped.
pub struct MlDsaKey {
    name: String,
    public: VerifierKey,
    secret: SigningKey<MlDsa44>,
}

impl MlDsaKey {
    /// From 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`], also where it is too long to be signed.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) || name.len() > NAME_BYTES_MAX {
            return Err(KeyError::Name);
        }
        let secret = SigningKey::<MlDsa44>::new_from_slice(seed).map_err(|_| KeyError::PublicKey)?;
        let public = VerifierKey::ml_dsa_44(name, &secret.verifying_key().to_bytes())?;
        Ok(Self {
            name: name.to_owned(),
            public,
            secret,
        })
    }

    /// The public half.
    pub fn verifier_key(&self) -> VerifierKey {
        self.public.clone()
    }
}

impl Signer for MlDsaKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> KeyId {
        self.public.id()
    }

    /// Of a checkpoint; of anything else a signature that never holds.
    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(text).unwrap_or_default();
        let signed = message(&self.name, NO_TIME, text).unwrap_or_default();
        let mut bytes = NO_TIME.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.secret.sign(&signed).encode());
        bytes
    }
}

impl std::fmt::Debug for MlDsaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MlDsaKey({}+{})", self.name, self.public.id())
    }
}

const _: () = assert!(KeyType::MlDsa44 as u8 == 0x06);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::SignedCheckpoint;
    use crate::hash::{Hash, sha256};
    use crate::note::{Note, NoteError, SigningKey as Ed25519Key};
    use crate::position::TreeSize;

    const ORIGIN: &str = "log.example/main";

    fn key() -> MlDsaKey {
        MlDsaKey::from_seed(ORIGIN, &[7; 32]).expect("a name")
    }

    fn signed() -> SignedCheckpoint {
        let checkpoint = Checkpoint::new(ORIGIN, TreeSize(5), Hash([9; 32])).expect("valid");
        let ed25519 = Ed25519Key::from_seed(ORIGIN, &[1; 32]).expect("a name");
        SignedCheckpoint::sign(checkpoint, &[&ed25519, &key()]).expect("signed")
    }

    #[test]
    fn a_checkpoint_carries_both_lines_and_each_is_checked() {
        let (signed, key) = (signed(), key().verifier_key());
        let verified = signed.verify(ORIGIN, [&key]).expect("it holds");
        assert_eq!(verified.len(), 1);
        assert_eq!(verified[0].timestamp_s, None);
        let line = signed.note().signatures()[1].signature();
        assert_eq!(line.len(), 8 + SIGNATURE_BYTES);
        let parsed = VerifierKey::parse(&key.to_string()).expect("a vkey");
        assert_eq!(parsed, key);
        assert_eq!(
            signed.encode(),
            self::signed().encode(),
            "signing is deterministic"
        );
    }

    #[test]
    fn one_flipped_bit_of_text_key_or_signature_fails() {
        let (signed, key) = (signed(), key().verifier_key());
        let line = signed.note().signatures()[1].signature().to_vec();
        let text = signed.note().text();
        assert!(check(ORIGIN, key.public_bytes(), text, &line).is_some());
        for at in (0..line.len()).step_by(97) {
            let mut bad = line.clone();
            bad[at] ^= 1;
            assert!(
                check(ORIGIN, key.public_bytes(), text, &bad).is_none(),
                "byte {at}"
            );
        }
        assert!(check("log.example/other", key.public_bytes(), text, &line).is_none());
        let other = text.replace("\n5\n", "\n6\n");
        assert!(check(ORIGIN, key.public_bytes(), &other, &line).is_none());
        assert!(check(ORIGIN, key.public_bytes(), "no checkpoint\n", &line).is_none());
        let bad = signed.encode().replace("\n5\n", "\n6\n");
        let note = Note::parse(bad.as_bytes()).expect("a note");
        assert!(matches!(note.verify([&key]), Err(NoteError::Signature { .. })));
    }

    #[test]
    fn the_message_is_the_one_that_the_specification_lays_out() {
        let message =
            message("w", 3, "o\n5\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n").expect("a checkpoint");
        let mut expected = b"subtree/v1\n\0\x01w\0\0\0\0\0\0\0\x03\x01o".to_vec();
        expected.extend_from_slice(&[0; 8]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5]);
        expected.extend_from_slice(&[9; 32]);
        assert_eq!(message, expected);
    }

    /// The same two hashes come out of an independent implementation, PyPI `dilithium-py` 1.5.1 (`key_derive` and a
    /// deterministic `sign` over the message above); another release of the library must not change them.
    #[test]
    fn key_and_signature_stay_what_they_are() {
        let key = key();
        let public = sha256(key.verifier_key().public_bytes()).to_hex();
        let line = sha256(signed().note().signatures()[1].signature()).to_hex();
        assert_eq!(
            (public.as_str(), line.as_str()),
            (
                "86c769d3b468de487eb9a09f242f7fa0b997a07ef4ded49627e7bf9539f28b62",
                "ea3081501942124b96d6e62b7ca9c4160fdd33eea02063c4c551b9bfa6cc4582"
            )
        );
    }
}
