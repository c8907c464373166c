//! Sealing the texts of new events, and opening those of old ones.
//!
//! Invariants: the key is durable before the entry that uses it; a nonce is 24 fresh random bytes; what cannot be
//! opened because its key was destroyed reads as absent, never as an error.
//! Source: FORMAT §2. Not here: the cipher (`domain::sealed`), the files (`keys`).

use crate::keys::Secret;
use domain::entry::Salt;
use domain::event::{Event, Text};
use domain::hash::base64url;
use domain::ports::{Entropy, KeyStore};
use domain::sealed::{NONCE_BYTES, SealPlace, SealedField, seal};
use std::sync::Arc;

/// Opens sealed texts wherever they are shown.
#[derive(Clone)]
pub struct Opener {
    origin: Arc<str>,
    keys: Arc<dyn KeyStore>,
}

impl Opener {
    /// For a ledger, with the keys there are.
    pub fn new(origin: &str, keys: Arc<dyn KeyStore>) -> Self {
        Self {
            origin: origin.into(),
            keys,
        }
    }

    /// The text; `None` where its key was destroyed, or it is not a text sealed for this stream.
    pub fn open(&self, aggregate_type: &str, aggregate_id: &str, field: &SealedField) -> Option<String> {
        let key = self.keys.get(&field.sealed.key)?;
        let value = field
            .open(&self.origin, aggregate_type, aggregate_id, &key)
            .ok()?;
        value.as_str().map(str::to_owned)
    }
}

/// Seals the texts of one stream's new events.
pub(super) struct Sealer {
    pub origin: Arc<str>,
    pub aggregate_type: &'static str,
    pub aggregate_id: String,
    pub key: Secret,
    pub opener: Opener,
    pub entropy: Arc<dyn Entropy>,
}

/// Why texts were not sealed, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotSealed(pub String);

impl Sealer {
    pub fn salt(&self) -> Salt {
        let mut salt = Salt::default();
        self.entropy.fill(&mut salt);
        salt
    }

    /// Drops text changes that change nothing; gives whether anything is left.
    pub fn changes(&self, event: &mut Event) -> bool {
        event.drop_unchanged(&mut |old, new| {
            let old = self.opener.open(self.aggregate_type, &self.aggregate_id, old);
            old.is_some_and(|old| old == new)
        })
    }

    /// Seals every plain text of an event that will have this sequence and salt.
    pub fn seal(&self, event: &mut Event, sequence: u64, salt: &Salt) -> Result<(), NotSealed> {
        event.visit_texts(|pointer, text| self.text(text, pointer, sequence, salt))
    }

    /// Seals one text in its place.
    pub fn text(&self, text: &mut Text, pointer: &str, sequence: u64, salt: &Salt) -> Result<(), NotSealed> {
        let Text::Plain(plain) = text else {
            return Ok(());
        };
        let place = SealPlace {
            aggregate_type: self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            sequence,
            pointer,
            salt: &base64url(salt),
        };
        let mut nonce = [0u8; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let value = std::mem::take(plain).into();
        let sealed = seal(&self.origin, &place, &value, &self.key, nonce);
        *text = Text::Sealed(sealed.map_err(|e| NotSealed(e.to_string()))?);
        Ok(())
    }
}
