//! A new log key where another process holds the log key: what the publisher's directory asks for, and what the service
//! knows of it.
//!
//! The order, each step by one command, and what a crash leaves:
//! 1. `daybook key rotate --publisher`, where the key is: the new key's file beside the old one (`log-key.next`), then the
//!    *request*, signed by both. The same again signs again with the same new key.
//! 2. `daybook key rotate`, where the ledger is: the entry, which takes its note from the request, then the key by which
//!    the service goes (`verifier-key`). A crash between: the ledger says which key is in force, and the file is made
//!    again of that by the same command or by the next start.
//! 3. `daybook publish`: the checkpoint that both sign → the proof → the new key's file in the old one's place → the
//!    verifier key → the request goes. A crash: the next start finds the entry as the last of the latest checkpoint, or the
//!    proof, and goes on (`follow`, `dir`).
//!
//! A request is public. A note names its entry's position, which nobody knows before the entry is recorded: so there is a
//! note for each of the next positions, of which one comes true.
//! Invariants: no note is signed that is not of this ledger and of the key in `log-key.next`; the service believes the key
//! before only for what lies below the entry, and the checkpoint that ends with it only by both.
//! Source: FORMAT §1. Not here: recording the entry (`rekey`), signing what follows it (`follow`).

use super::dir::{Dir, DirError, VERIFIER_KEY, read_verifier_key};
use super::peer;
use commands::keys::{RoleKeys, write_secret_file};
use domain::checkpoint::SignedCheckpoint;
use domain::note::{Note, SigningKey, VerifierKey};
use domain::ports::Entropy;
use domain::rotation::{KeyRotated, Role, RotationReason, rotation_text, sign_rotation};
use domain::{Position, TreeSize};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The file with the request, in the publisher's directory.
pub const REQUEST: &str = "rotation-request";
/// For how many positions it is signed: a start records a few entries, and a day that ended meanwhile one.
const POSITIONS: u64 = 256;
/// Bytes of a request: a note has less than a kilobyte.
const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// Asks for a new log key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The key that signs now.
    old: String,
    /// The key that is to come into force.
    new: String,
    /// Why.
    reason: RotationReason,
    /// The position that the first note is of; the others are of those after it.
    from: Position,
    /// Signed by both.
    notes: Vec<String>,
}

impl Request {
    /// Makes the new key where there is none yet, and asks for it in a ledger of that size.
    ///
    /// # Errors
    /// [`DirError`]; the same again goes on.
    pub fn make(
        dir: &Dir,
        size: TreeSize,
        reason: RotationReason,
        entropy: &dyn Entropy,
    ) -> Result<Self, DirError> {
        let files = RoleKeys::new(&dir.path, Role::Log);
        let seed = match files.next()? {
            Some(seed) => seed,
            None => files.make_next(entropy)?,
        };
        let unusable = |error: &dyn std::fmt::Display| DirError::Unusable(error.to_string());
        let new = SigningKey::from_seed(&dir.origin, &seed).map_err(|error| unusable(&error))?;
        let (old, vkey) = (dir.key(), new.verifier_key().to_string());
        let from = size.next_position();
        let note = |offset: u64| {
            let position = from.plus(offset);
            sign_rotation(&dir.origin, Role::Log, &vkey, position, &*old, Some(&new))
        };
        let notes: Result<Vec<_>, _> = (0..POSITIONS).map(note).collect();
        let request = Self {
            old: old.verifier_key().to_string(),
            reason,
            from,
            notes: notes.map_err(|error| unusable(&error))?,
            new: vkey,
        };
        let path = dir.path.join(REQUEST);
        let text = serde_json::to_vec(&request).map_err(|error| unusable(&error))?;
        super::dir::replace(&path, &text)?;
        Ok(request)
    }

    /// Reads the one in that directory; `None` where there is none.
    ///
    /// # Errors
    /// In words.
    pub fn read(dir: &Path) -> Result<Option<Self>, String> {
        let path = dir.join(REQUEST);
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let Some(bytes) = peer::read(&path, REQUEST_BYTES_MAX).map_err(|error| wrong(&error))? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| wrong(&error))
    }

    /// The key that is to come into force.
    pub fn new_key(&self) -> &str {
        &self.new
    }

    /// The key that it replaces.
    pub fn old_key(&self) -> &str {
        &self.old
    }

    /// The payload of the entry at that position, whose note holds.
    ///
    /// # Errors
    /// In words, where the request is not for it.
    pub fn rotation(&self, origin: &str, position: Position) -> Result<KeyRotated, String> {
        let key = |text: &str| VerifierKey::parse(text).map_err(|error| error.to_string());
        let (old, new) = (key(&self.old)?, key(&self.new)?);
        let index = position.get().checked_sub(self.from.get());
        let index = index.and_then(|index| usize::try_from(index).ok());
        let text = index.and_then(|index| self.notes.get(index)).ok_or_else(|| {
            format!(
                "the request is for an entry at position {} or one of the {} after it, and this one would be at {position}: \
                 make it again with  daybook key rotate --publisher DIR",
                self.from,
                self.notes.len()
            )
        })?;
        let note = Note::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        if note.text() != rotation_text(origin, Role::Log, &self.new, position) {
            return Err("the request's note is of another ledger, key or position".to_owned());
        }
        for key in [&old, &new] {
            note.verify([key])
                .map_err(|error| format!("the request's note, by {}: {error}", key.id()))?;
        }
        Ok(KeyRotated {
            role: Role::Log,
            old: Some(self.old.clone()),
            new: self.new.clone(),
            reason: self.reason,
            note: text.clone(),
        })
    }
}

/// The keys of a publisher as the service knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The one in force, by the ledger's entries.
    pub key: VerifierKey,
    /// The one before, and where the entry stands that replaced it.
    pub before: Option<(Position, VerifierKey)>,
}

impl Known {
    /// One that was never replaced.
    pub const fn first(key: VerifierKey) -> Self {
        Self { key, before: None }
    }

    /// Those that the service's directory names; `None` where it names none.
    ///
    /// # Errors
    /// In words.
    pub fn read(data: &Path) -> Result<Option<Self>, String> {
        let path = data.join(VERIFIER_KEY);
        let read = peer::read_text(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let Some(text) = read else { return Ok(None) };
        let key = read_verifier_key(data)?;
        let before = text.lines().nth(1).map(|line| {
            let (position, key) = line.split_once(' ').ok_or_else(|| "no key".to_owned())?;
            let position = position
                .parse()
                .map_err(|_| format!("{position:?} is no position"))?;
            let key = VerifierKey::parse(key).map_err(|error| error.to_string())?;
            Ok((Position(position), key))
        });
        let before = before.transpose();
        let before = before.map_err(|error: String| format!("{}: {error}", path.display()))?;
        Ok(Some(Self { key, before }))
    }

    /// Names them in the service's directory, durably.
    ///
    /// # Errors
    /// What the system says; those that were named before are then.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        let before = self.before.as_ref();
        let before = before.map_or_else(String::new, |(position, key)| format!("{position} {key}\n"));
        write_secret_file(
            &data.join(VERIFIER_KEY),
            format!("{}\n{before}", self.key).as_bytes(),
        )
    }

    /// Both, the one in force first.
    pub fn keys(&self) -> Vec<VerifierKey> {
        let before = self.before.iter().map(|(_, key)| key);
        std::iter::once(&self.key).chain(before).cloned().collect()
    }

    /// Whether the publisher names a key that fits: the one in force, or, until it has handed over, the one before.
    pub fn fits(&self, publishers: &VerifierKey) -> bool {
        let before = self.before.as_ref();
        *publishers == self.key || before.is_some_and(|(_, before)| before == publishers)
    }

    /// Whether whoever may has signed a checkpoint.
    ///
    /// # Errors
    /// In words.
    pub fn verify(&self, signed: &SignedCheckpoint) -> Result<(), String> {
        let size = signed.checkpoint().size();
        let by: Vec<&VerifierKey> = match &self.before {
            Some((position, before)) if !size.contains(*position) => vec![before],
            Some((position, before)) if size == position.size_through() => vec![before, &self.key],
            _ => vec![&self.key],
        };
        for key in by {
            signed
                .verify(self.key.name(), [key])
                .map_err(|error| format!("by {}: {error}", key.id()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use domain::Hash;
    use domain::checkpoint::Checkpoint;
    use domain::note::Signer;

    const ORIGIN: &str = "log.example/main";

    #[test]
    fn a_request_is_for_the_next_positions_of_one_ledger_and_made_again_for_the_same_key() {
        let scratch = tempfile::tempdir().expect("a directory");
        let entropy = SeededEntropy::from_os().expect("randomness");
        let dir = Dir::open(scratch.path(), Some(ORIGIN), None, &entropy).expect("opened");
        assert_eq!(Request::read(scratch.path()), Ok(None));
        let scheduled = RotationReason::Scheduled;
        let made = Request::make(&dir, TreeSize(7), scheduled, &entropy).expect("made");
        assert_eq!(Request::read(scratch.path()).as_ref(), Ok(&Some(made.clone())));
        let again = Request::make(&dir, TreeSize(9), scheduled, &entropy).expect("made");
        assert_eq!(again.new_key(), made.new_key());
        assert_eq!(made.old_key(), dir.key().verifier_key().to_string());
        for position in [7, 8, 262] {
            made.rotation(ORIGIN, Position(position)).expect("it is for it");
        }
        for position in [0, 6, 263, u64::MAX] {
            let refused = made.rotation(ORIGIN, Position(position)).expect_err("it is not");
            assert!(refused.contains("make it again"), "{refused}");
        }
        assert!(made.rotation("log.example/other", Position(8)).is_err());
        let mut forged = made.clone();
        forged.new = SigningKey::from_seed(ORIGIN, &[6; 32])
            .expect("a name")
            .verifier_key()
            .to_string();
        assert!(forged.rotation(ORIGIN, Position(8)).is_err());
        let mut moved = made;
        moved.from = Position(8);
        assert!(moved.rotation(ORIGIN, Position(8)).is_err());
    }

    #[test]
    fn the_key_before_counts_below_the_entry_and_the_new_one_from_it_on() {
        let data = tempfile::tempdir().expect("a directory");
        let key = |seed| SigningKey::from_seed(ORIGIN, &[seed; 32]).expect("a name");
        let (old, new) = (key(1), key(2));
        let known = Known {
            key: new.verifier_key(),
            before: Some((Position(9), old.verifier_key())),
        };
        known.write(data.path()).expect("written");
        assert_eq!(Known::read(data.path()), Ok(Some(known.clone())));
        assert_eq!(read_verifier_key(data.path()), Ok(new.verifier_key()));
        let verify = |size, by: &[&SigningKey]| {
            let checkpoint = Checkpoint::new(ORIGIN, TreeSize(size), Hash([5; 32])).expect("valid");
            let by: Vec<&dyn Signer> = by.iter().map(|key| *key as &dyn Signer).collect();
            known
                .verify(&SignedCheckpoint::sign(checkpoint, &by).expect("signed"))
                .is_ok()
        };
        assert!(verify(9, &[&old]) && verify(10, &[&old, &new]) && verify(11, &[&new]));
        assert!(!verify(9, &[&new]) && !verify(10, &[&old]) && !verify(10, &[&new]) && !verify(11, &[&old]));
        assert!(known.fits(&old.verifier_key()) && !known.fits(&key(3).verifier_key()));
        assert!(!Known::first(new.verifier_key()).fits(&old.verifier_key()));
    }
}
