//! The private half: what can sign a note, and the text a private key is kept as.
//!
//! Invariants: a secret is wiped when dropped and never printed; who signs is a trait, so that a key may live elsewhere.
//! Source: the private key text is Go's (golang.org/x/mod/sumdb/note), `PRIVATE+KEY+NAME+HEX_KEY_ID+BASE64(type ‖ seed)`.
//! Not here: making seeds (`api` holds the only randomness), key files and their modes, cosigning keys (`cosignature`).

use super::KeyId;
use super::key::{KeyError, KeyType, VerifierKey, parse_private};
use crate::text;
use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

/// Signs the text of notes under one name.
pub trait Signer: Send + Sync {
    /// The key's name.
    fn name(&self) -> &str;

    /// The key's id.
    fn key_id(&self) -> KeyId;

    /// The signature of a note's text, without the key id.
    fn sign(&self, text: &[u8]) -> Vec<u8>;
}

/// An Ed25519 key of type 0x01: a log's or a receipt's.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    id: KeyId,
    secret: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// From 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = VerifierKey::ed25519(name, KeyType::Ed25519, secret.verifying_key().as_bytes())?;
        Ok(Self {
            name: name.to_owned(),
            id: public.id(),
            secret,
        })
    }

    /// Reads [`SigningKey::encode`]'s text.
    ///
    /// # Errors
    /// [`KeyError`]; never a word of the key itself.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, seed, id) = parse_private(text, KeyType::Ed25519)?;
        let key = Self::from_seed(name, &seed)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }

    /// The text that a key file holds, without a newline. A secret.
    pub fn encode(&self) -> Zeroizing<String> {
        encode_private(&self.name, self.id, KeyType::Ed25519, &self.secret)
    }

    /// The public half.
    pub fn verifier_key(&self) -> VerifierKey {
        VerifierKey::ed25519(
            &self.name,
            KeyType::Ed25519,
            self.secret.verifying_key().as_bytes(),
        )
        .expect("a signing key's public half was checked when it was made")
    }
}

impl Signer for SigningKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> KeyId {
        self.id
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.secret.sign(text).to_bytes().to_vec()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}+{})", self.name, self.id)
    }
}

pub(crate) fn encode_private(
    name: &str,
    id: KeyId,
    key_type: KeyType,
    secret: &ed25519_dalek::SigningKey,
) -> Zeroizing<String> {
    let mut material = Zeroizing::new([0u8; 33]);
    material[0] = key_type as u8;
    material[1..].copy_from_slice(&*Zeroizing::new(secret.to_bytes()));
    let encoded = Zeroizing::new(text::base64(&*material));
    // Sized beforehand: a string that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(name.len() + encoded.len() + 32));
    text.push_str("PRIVATE+KEY+");
    text.push_str(name);
    text.push('+');
    text.push_str(&id.to_string());
    text.push('+');
    text.push_str(&encoded);
    text
}
