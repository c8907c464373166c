//! The receipt keys that a log names: in `LedgerCreated`, and in every `KeyRotated` that both keys signed.
//!
//! Invariant: an entry counts only after it was hashed into the signed tree.
//! Source: FORMAT §1.
//! Not here: the log's own keys, which come from outside.

use crate::source::Given;
use crate::tree::{SignedTree, TreeError};
use domain::Position;
use domain::entry::Entry;
use domain::note::{Note, VerifierKey};
use serde::Deserialize;

/// What rotations are looked for by.
const KEY_ROTATED: &str = "KeyRotated";
/// The role of receipt keys.
const ROLE: &str = "receipt";
/// The most keys that are taken from a log.
const KEYS_MAX: usize = 1_000;

#[derive(Debug, Default, Deserialize)]
struct Created {
    #[serde(default)]
    receipt_keys: Vec<String>,
    #[serde(default)]
    recovery_key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Rotated {
    role: String,
    old: String,
    new: String,
    note: String,
}

/// The receipt keys of a log.
#[derive(Debug, Default)]
pub struct ReceiptKeys {
    /// As far as they were looked for.
    pub keys: Vec<VerifierKey>,
    recovery: Option<VerifierKey>,
}

impl ReceiptKeys {
    /// Those of the first entry; none where it is not shown.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn first(tree: &SignedTree<'_>) -> Result<Self, TreeError> {
        if tree.size().is_empty() {
            return Ok(Self::default());
        }
        let bytes = tree.entry(Position::FIRST)?.unwrap_or_default();
        let created: Created = Entry::decode(&bytes)
            .ok()
            .and_then(|entry| serde_json::from_slice(entry.payload).ok())
            .unwrap_or_default();
        let texts = created.receipt_keys.iter().take(KEYS_MAX);
        Ok(Self {
            keys: texts.filter_map(|text| VerifierKey::parse(text).ok()).collect(),
            recovery: created
                .recovery_key
                .and_then(|text| VerifierKey::parse(&text).ok()),
        })
    }

    /// Those that came later: the whole log is read for them.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn add_rotated(&mut self, tree: &SignedTree<'_>) -> Result<(), TreeError> {
        let origin = tree.origin().to_owned();
        tree.entries_from(Position::FIRST, &mut |position, given| {
            if let Given::Entry(bytes) = given
                && let Some(key) = self.rotated(&origin, position, bytes)
            {
                self.keys.push(key);
            }
            self.keys.len() < KEYS_MAX
        })
    }

    /// The new key of an entry that rotates one.
    fn rotated(&self, origin: &str, position: Position, bytes: &[u8]) -> Option<VerifierKey> {
        let named = |part: &[u8]| part == KEY_ROTATED.as_bytes();
        if !bytes.windows(KEY_ROTATED.len()).any(named) {
            return None;
        }
        let entry = Entry::decode(bytes).ok()?;
        if entry.event_type != KEY_ROTATED || !entry.stream_is("ledger", "main") {
            return None;
        }
        let rotated: Rotated = serde_json::from_slice(entry.payload).ok()?;
        if rotated.role != ROLE {
            return None;
        }
        let note = Note::parse(rotated.note.as_bytes()).ok()?;
        let text = format!("daybook/key/v1\n{origin}\n{ROLE}\n{}\n{position}\n", rotated.new);
        let new = VerifierKey::parse(&rotated.new).ok()?;
        let old = self.keys.iter().find(|key| key.to_string() == rotated.old);
        let earlier = old.into_iter().chain(&self.recovery);
        let by_both = note.text() == text && note.verify([&new]).is_ok() && note.verify(earlier).is_ok();
        by_both.then_some(new)
    }
}
