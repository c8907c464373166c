//! Who signs notes: key names, key ids and verifier keys (*vkeys*).
//!
//! Invariants: a verifier key's id is the one computed from its name, type and public key; a public key that would
//! accept signatures of anything is refused; one key, one spelling.
//! Source: C2SP signed-note v1.0.0 "Signatures" and "Verifier keys"; tlog-cosignature v1.0.1 for types 0x04 and 0x06.
//! Not here: the private half (`signing`), the note (`note`).

use super::KeyId;
use crate::cosignature::Cosignature;
use crate::hash::sha256_of;
use crate::pq;
use crate::text;
use ed25519_dalek::{Signature, VerifyingKey};
use std::fmt;

/// Bytes of an Ed25519 public key.
const ED25519_KEY_BYTES: usize = 32;
/// Bytes of an ML-DSA-44 public key (FIPS 204).
const ML_DSA_44_KEY_BYTES: usize = 1312;

/// Whether a key may be named so: not empty, no Unicode space, no plus, no control character.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c < ' ')
}

/// The signature types that are known here; the number is C2SP's identifier byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum KeyType {
    /// Ed25519 over the note's text.
    Ed25519 = 0x01,
    /// Timestamped Ed25519 cosignature of a checkpoint.
    CosignatureV1 = 0x04,
    /// Timestamped ML-DSA-44 cosignature, by a witness, or by a log beside its Ed25519 line.
    MlDsa44 = 0x06,
}

/// Why a text is no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `name+keyid+base64`.
    #[error("a verifier key reads NAME+HEX_KEY_ID+BASE64, as printed by `daybook key show`")]
    Malformed,
    /// Not `PRIVATE+KEY+name+keyid+base64`.
    #[error("a private key reads PRIVATE+KEY+NAME+HEX_KEY_ID+BASE64")]
    MalformedPrivate,
    /// The name may not be used.
    #[error("a key's name must not be empty nor contain spaces, plus signs or control characters")]
    Name,
    /// The signature type is not one that is known here, or not one that fits.
    #[error("signature type 0x{0:02x} cannot be used here")]
    Type(u8),
    /// The key id is not that of this name and key.
    #[error("the key id belongs to another key or name: the key is mistyped")]
    Id,
    /// The public key is no point on the curve, or one that accepts forgeries.
    #[error("the public key is not a valid one")]
    PublicKey,
}

#[derive(Clone, PartialEq, Eq)]
enum PublicKey {
    Ed25519(VerifyingKey),
    CosignatureV1(VerifyingKey),
    MlDsa44(Box<[u8]>),
}

/// A public key under a name: what it takes to check a line of a note.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    key: PublicKey,
}

impl VerifierKey {
    /// An Ed25519 key of type 0x01 or 0x04.
    ///
    /// # Errors
    /// [`KeyError`]; `Type` for a type whose keys are not Ed25519.
    pub fn ed25519(name: &str, key_type: KeyType, public: &[u8; 32]) -> Result<Self, KeyError> {
        Self::new(name, key_type as u8, public)
    }

    /// An ML-DSA-44 key, type 0x06.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn ml_dsa_44(name: &str, public: &[u8]) -> Result<Self, KeyError> {
        Self::new(name, KeyType::MlDsa44 as u8, public)
    }

    /// Reads `NAME+HEX_KEY_ID+BASE64`.
    ///
    /// # Errors
    /// [`KeyError`] for any spelling but the canonical one.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Malformed);
        };
        let id = KeyId::parse(id).ok_or(KeyError::Malformed)?;
        let material = text::from_base64(material).ok_or(KeyError::Malformed)?;
        let (key_type, public) = material.split_first().ok_or(KeyError::Malformed)?;
        let key = Self::new(name, *key_type, public)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    fn new(name: &str, key_type: u8, public: &[u8]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let key = match key_type {
            0x01 => PublicKey::Ed25519(ed25519_key(public)?),
            0x04 => PublicKey::CosignatureV1(ed25519_key(public)?),
            0x06 if public.len() == ML_DSA_44_KEY_BYTES => PublicKey::MlDsa44(public.into()),
            0x06 => return Err(KeyError::PublicKey),
            other => return Err(KeyError::Type(other)),
        };
        Ok(Self {
            name: name.to_owned(),
            id: KeyId::of(name, key_type, public),
            key,
        })
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The signature type.
    pub const fn key_type(&self) -> KeyType {
        match self.key {
            PublicKey::Ed25519(_) => KeyType::Ed25519,
            PublicKey::CosignatureV1(_) => KeyType::CosignatureV1,
            PublicKey::MlDsa44(_) => KeyType::MlDsa44,
        }
    }

    /// The public key's bytes: two keys that share them are the same key, whatever their names.
    pub fn public_bytes(&self) -> &[u8] {
        match &self.key {
            PublicKey::Ed25519(key) | PublicKey::CosignatureV1(key) => key.as_bytes(),
            PublicKey::MlDsa44(key) => key,
        }
    }

    /// Whether signatures of this key can be checked here; a type that is only named could not.
    pub const fn can_verify(&self) -> bool {
        true
    }

    #[cfg(test)]
    pub(super) fn set_id_for_tests(&mut self, id: KeyId) {
        self.id = id;
    }

    /// Checks a signature (without its key id) of a note's text; a cosignature gives the time it states.
    ///
    /// `None` when it does not hold, or cannot be checked here.
    pub(crate) fn check(&self, text: &str, signature: &[u8]) -> Option<Signed> {
        match &self.key {
            PublicKey::Ed25519(key) => {
                let signature = Signature::from_slice(signature).ok()?;
                key.verify_strict(text.as_bytes(), &signature).ok()?;
                Some(Signed { timestamp_s: None })
            }
            PublicKey::CosignatureV1(key) => {
                let cosignature = Cosignature::parse(signature)?;
                let signed = cosignature.message(text)?;
                key.verify_strict(&signed, &Signature::from_bytes(&cosignature.signature))
                    .ok()?;
                Some(Signed {
                    timestamp_s: Some(cosignature.timestamp_s),
                })
            }
            PublicKey::MlDsa44(key) => {
                let timestamp_s = pq::check(&self.name, key, text, signature)?;
                Some(Signed {
                    // A cosigner that states no time says 0.
                    timestamp_s: (timestamp_s > 0).then_some(timestamp_s),
                })
            }
        }
    }
}

/// What a signature that holds says beside the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Signed {
    pub(crate) timestamp_s: Option<u64>,
}

/// A point in its one canonical encoding, and none of the few that accept signatures of anything.
fn ed25519_key(public: &[u8]) -> Result<VerifyingKey, KeyError> {
    let bytes: &[u8; ED25519_KEY_BYTES] = public.try_into().map_err(|_| KeyError::PublicKey)?;
    let beyond_field =
        bytes[0] >= 0xed && bytes[1..31].iter().all(|b| *b == 0xff) && bytes[31] & 0x7f == 0x7f;
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::PublicKey)?;
    if beyond_field || key.is_weak() {
        Err(KeyError::PublicKey)
    } else {
        Ok(key)
    }
}

impl KeyId {
    /// The id of a key: the first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key).
    pub fn of(name: &str, key_type: u8, public: &[u8]) -> Self {
        let [a, b, c, d, ..] = sha256_of(&[name.as_bytes(), b"\n", &[key_type], public]).0;
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// Eight lower-case hexadecimal digits.
    fn parse(text: &str) -> Option<Self> {
        let canonical = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        canonical
            .then(|| u32::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }
}

/// Reads a private key's text: name and seed. The caller wipes what it makes of them.
pub(crate) fn parse_private(
    text: &str,
    key_type: KeyType,
) -> Result<(&str, zeroize::Zeroizing<[u8; 32]>, KeyId), KeyError> {
    let malformed = KeyError::MalformedPrivate;
    let rest = text.strip_prefix("PRIVATE+KEY+").ok_or(malformed)?;
    let mut parts = rest.splitn(3, '+');
    let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed);
    };
    let id = KeyId::parse(id).ok_or(malformed)?;
    let material = zeroize::Zeroizing::new(text::from_base64(material).ok_or(malformed)?);
    let (found, seed) = material.split_first().ok_or(malformed)?;
    if *found != key_type as u8 {
        return Err(KeyError::Type(*found));
    }
    let mut secret = zeroize::Zeroizing::new([0u8; 32]);
    if seed.len() != secret.len() {
        return Err(malformed);
    }
    secret.copy_from_slice(seed);
    Ok((name, secret, id))
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = [&[self.key_type() as u8], self.public_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, text::base64(&material))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}
