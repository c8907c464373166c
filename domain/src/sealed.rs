//! Sealed values: personal data and free text, readable only with a key kept outside the ledger (FORMAT §2).
//!
//! Invariants: a sealed value opens only at the place it was sealed for (origin, stream, sequence, pointer, salt)
//! and only under the key whose id it names; its length tells no more than a multiple of 32 bytes.
//! Destroying the key leaves the entry's bytes, and so every hash, as they are.
//! Source: FORMAT §2; XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha); the key id commits to the key, because
//! Poly1305 alone lets one ciphertext open under two keys.
//! Not here: where keys are kept (`ports::KeyStore`), nonces' randomness (the caller).

use crate::canonical::Canonical;
use crate::hash::{base64url, from_base64url, sha256_of};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;
/// The plaintext is padded to a multiple of this, so that lengths tell little.
pub const PADDING_BYTES: usize = 32;
const KEY_ID_PREFIX: &[u8] = b"daybook/sealed/v1\n";

/// What stands in a payload: `{"sealed": {"key", "nonce", "ciphertext"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The parts.
    pub sealed: SealedParts,
}

/// The parts of a sealed value, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedParts {
    /// The key's id.
    pub key: String,
    /// base64url of 24 bytes.
    pub nonce: String,
    /// base64url, tag included.
    pub ciphertext: String,
}

/// Where in a stream a value was sealed, beside the stream itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// JSON pointer to the value within the payload, such as `/name`.
    pub pointer: String,
    /// The entry's salt, as it stands.
    pub salt: String,
    /// The entry's sequence in its stream.
    pub sequence: u64,
}

/// A sealed value together with where it was sealed, so that it can be opened anywhere:
/// `{"place": {…}, "sealed": {…}}`. This is how an old value stands in a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedField {
    /// Where it was sealed.
    pub place: Place,
    /// The parts.
    pub sealed: SealedParts,
}

/// The whole place of a sealed value, which it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealPlace<'a> {
    /// Such as `device`.
    pub aggregate_type: &'a str,
    /// The stream's id within its type.
    pub aggregate_id: &'a str,
    /// The entry's sequence in its stream.
    pub sequence: u64,
    /// JSON pointer to the value within the payload.
    pub pointer: &'a str,
    /// The entry's salt, 22 characters of base64url.
    pub salt: &'a str,
}

/// Why a sealed value cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key given is not the one the value names.
    #[error("this is not the key that the value was sealed with")]
    OtherKey,
    /// Changed, or moved to another place.
    #[error("the sealed value was changed, or belongs to another place")]
    Forged,
    /// A nonce or ciphertext that is not what the format says.
    #[error("the sealed value is not of the ledger's format")]
    Malformed,
    /// What was sealed cannot be written as canonical JSON.
    #[error("a value that canonical JSON cannot hold")]
    Unwritable,
}

impl SealPlace<'_> {
    /// The associated data: the text that binds a value to its place.
    fn associated(&self, origin: &str) -> String {
        format!(
            "{origin}\n{}/{}\n{}\n{}\n{}",
            self.aggregate_type, self.aggregate_id, self.sequence, self.pointer, self.salt
        )
    }
}

impl Sealed {
    /// Remembers where the value was sealed.
    pub fn at(self, place: Place) -> SealedField {
        SealedField {
            place,
            sealed: self.sealed,
        }
    }
}

impl SealedField {
    /// Opens it; the stream is the one it was found in.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(
        &self,
        origin: &str,
        aggregate_type: &str,
        aggregate_id: &str,
        key: &[u8; KEY_BYTES],
    ) -> Result<Value, SealError> {
        let place = SealPlace {
            aggregate_type,
            aggregate_id,
            sequence: self.place.sequence,
            pointer: &self.place.pointer,
            salt: &self.place.salt,
        };
        open_parts(origin, &place, &self.sealed, key)
    }
}

/// The id of a key, which commits to it: base64url of SHA-256 of a fixed text and the key.
pub fn key_id(key: &[u8; KEY_BYTES]) -> String {
    base64url(&sha256_of(&[KEY_ID_PREFIX, key]).0)
}

/// Seals a value at its place. A nonce must never be used twice with one key; random ones never are.
///
/// # Errors
/// [`SealError::Unwritable`] for a value that canonical JSON cannot hold.
pub fn seal(
    origin: &str,
    place: &SealPlace<'_>,
    value: &Value,
    key: &[u8; KEY_BYTES],
    nonce: [u8; NONCE_BYTES],
) -> Result<Sealed, SealError> {
    let canonical = Canonical::of(value).map_err(|_| SealError::Unwritable)?;
    let mut plain = canonical.as_bytes().to_vec();
    plain.resize(plain.len().next_multiple_of(PADDING_BYTES), b' ');
    let associated = place.associated(origin);
    let payload = Payload {
        msg: &plain,
        aad: associated.as_bytes(),
    };
    let ciphertext = XChaCha20Poly1305::new(key.into())
        .encrypt(XNonce::from_slice(&nonce), payload)
        .map_err(|_| SealError::Unwritable)?;
    Ok(Sealed {
        sealed: SealedParts {
            key: key_id(key),
            nonce: base64url(&nonce),
            ciphertext: base64url(&ciphertext),
        },
    })
}

/// Opens a sealed value at its place.
///
/// # Errors
/// [`SealError::OtherKey`] where the key's id differs; [`SealError::Forged`] where the ciphertext or the place
/// does; [`SealError::Malformed`] where what is in it is not canonical JSON, padded as the format says.
pub fn open(
    origin: &str,
    place: &SealPlace<'_>,
    sealed: &Sealed,
    key: &[u8; KEY_BYTES],
) -> Result<Value, SealError> {
    open_parts(origin, place, &sealed.sealed, key)
}

fn open_parts(
    origin: &str,
    place: &SealPlace<'_>,
    parts: &SealedParts,
    key: &[u8; KEY_BYTES],
) -> Result<Value, SealError> {
    if key_id(key) != parts.key {
        return Err(SealError::OtherKey);
    }
    let nonce: [u8; NONCE_BYTES] = from_base64url(&parts.nonce)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SealError::Malformed)?;
    let ciphertext = from_base64url(&parts.ciphertext).ok_or(SealError::Malformed)?;
    let associated = place.associated(origin);
    let payload = Payload {
        msg: &ciphertext,
        aad: associated.as_bytes(),
    };
    let plain = XChaCha20Poly1305::new(key.into())
        .decrypt(XNonce::from_slice(&nonce), payload)
        .map_err(|_| SealError::Forged)?;
    unpad(&plain)
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .ok_or(SealError::Malformed)
}

/// The canonical JSON in front of the padding, which is the shortest that reaches the next multiple.
fn unpad(plain: &[u8]) -> Option<&[u8]> {
    let padding = plain.iter().rev().take_while(|b| **b == b' ').count();
    let bytes = &plain[..plain.len() - padding];
    let right = plain.len().is_multiple_of(PADDING_BYTES) && padding < PADDING_BYTES;
    (right && crate::canonical::check(bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const KEY: [u8; 32] = [7; 32];
    const ORIGIN: &str = "daybook.example/main";
    const PLACE: SealPlace<'_> = SealPlace {
        aggregate_type: "user",
        aggregate_id: "usr_abc",
        sequence: 3,
        pointer: "/changes/email/new",
        salt: "MDEyMzQ1Njc4OWFiY2RlZg",
    };

    fn sealed(value: &Value) -> Sealed {
        seal(ORIGIN, &PLACE, value, &KEY, [9; 24]).expect("seals")
    }

    #[test]
    fn the_associated_data_is_the_text_of_the_format() {
        assert_eq!(
            PLACE.associated(ORIGIN),
            "daybook.example/main\nuser/usr_abc\n3\n/changes/email/new\nMDEyMzQ1Njc4OWFiY2RlZg"
        );
    }

    #[test]
    fn it_stands_in_a_payload_as_the_format_says() {
        let value = serde_json::to_value(sealed(&json!("a@example.org"))).expect("JSON");
        let parts = value["sealed"].as_object().expect("an object");
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(1));
        assert_eq!(
            parts.keys().collect::<Vec<_>>(),
            ["ciphertext", "key", "nonce"].iter().collect::<Vec<_>>()
        );
        let field = sealed(&json!("x")).at(Place {
            pointer: PLACE.pointer.into(),
            salt: PLACE.salt.into(),
            sequence: 3,
        });
        let old = serde_json::to_value(&field).expect("JSON");
        assert_eq!(old["place"]["sequence"], 3);
        assert_eq!(field.open(ORIGIN, "user", "usr_abc", &KEY), Ok(json!("x")));
    }

    #[test]
    fn the_length_tells_only_multiples_of_thirty_two() {
        for (text, padded) in [
            ("", 32),
            ("a", 32),
            (&*"a".repeat(30), 32),
            (&*"a".repeat(31), 64),
        ] {
            let bytes = from_base64url(&sealed(&json!(text)).sealed.ciphertext).expect("base64url");
            assert_eq!(bytes.len(), padded + 16, "{text}");
        }
    }

    #[test]
    fn another_place_does_not_open() {
        let value = sealed(&json!("a@example.org"));
        let other = [
            (
                ORIGIN,
                SealPlace {
                    pointer: "/changes/email/old",
                    ..PLACE
                },
            ),
            (
                ORIGIN,
                SealPlace {
                    salt: "MDEyMzQ1Njc4OWFiY2RlZw",
                    ..PLACE
                },
            ),
            (ORIGIN, SealPlace { sequence: 4, ..PLACE }),
            (
                ORIGIN,
                SealPlace {
                    aggregate_id: "usr_abd",
                    ..PLACE
                },
            ),
            (
                ORIGIN,
                SealPlace {
                    aggregate_type: "site",
                    ..PLACE
                },
            ),
            ("daybook.example/other", PLACE),
        ];
        for (origin, place) in other {
            assert_eq!(
                open(origin, &place, &value, &KEY),
                Err(SealError::Forged),
                "{place:?}"
            );
        }
    }

    #[test]
    fn another_key_does_not_open_even_under_its_name() {
        let mut value = sealed(&json!("a"));
        assert_eq!(open(ORIGIN, &PLACE, &value, &[8; 32]), Err(SealError::OtherKey));
        value.sealed.key = key_id(&[8; 32]);
        assert_eq!(open(ORIGIN, &PLACE, &value, &[8; 32]), Err(SealError::Forged));
        assert_eq!(open(ORIGIN, &PLACE, &value, &KEY), Err(SealError::OtherKey));
    }

    #[test]
    fn wrong_padding_is_refused() {
        assert_eq!(unpad(b"\"a\"                             "), Some(&b"\"a\""[..]));
        for wrong in [
            &b"\"a\""[..],
            b"",
            &[b' '; 32],
            &[b"1".as_slice(), &[b' '; 63]].concat(),
        ] {
            assert_eq!(unpad(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(text in ".{0,200}", key in any::<[u8; 32]>(), nonce in any::<[u8; 24]>()) {
            let value = json!(text);
            let sealed = seal(ORIGIN, &PLACE, &value, &key, nonce).expect("seals");
            prop_assert_eq!(open(ORIGIN, &PLACE, &sealed, &key), Ok(value));
        }

        #[test]
        fn a_flipped_bit_does_not_open(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let good = sealed(&json!("somebody@example.org"));
            let mut bytes = from_base64url(&good.sealed.ciphertext).expect("base64url");
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            let mut bad = good.clone();
            bad.sealed.ciphertext = base64url(&bytes);
            prop_assert_eq!(open(ORIGIN, &PLACE, &bad, &KEY), Err(SealError::Forged));
            let mut nonce = from_base64url(&good.sealed.nonce).expect("base64url");
            let index = at.index(nonce.len());
            nonce[index] ^= 1 << bit;
            let mut bad = good;
            bad.sealed.nonce = base64url(&nonce);
            prop_assert_eq!(open(ORIGIN, &PLACE, &bad, &KEY), Err(SealError::Forged));
        }

        #[test]
        fn any_text_in_the_parts_is_refused_without_a_panic(nonce in ".{0,40}", ciphertext in ".{0,80}") {
            let sealed = Sealed { sealed: SealedParts { key: key_id(&KEY), nonce, ciphertext } };
            prop_assert!(open(ORIGIN, &PLACE, &sealed, &KEY).is_err());
        }
    }
}
