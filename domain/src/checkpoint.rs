//! Checkpoints: the text that says which root a log has at which size, and the signed note around it.
//!
//! Invariants: origin, size, root, and lines that ours never have; what was parsed encodes to the same text; a size is
//! at most 2^63 − 1; the empty log has the empty root.
//! Source: C2SP tlog-checkpoint v1.0.0; FORMAT §1 (origins), §4.
//! Not here: when one may be signed (`commands`), which witnesses are enough (`tlog_policy`).

use crate::hash::{Hash, sha256};
use crate::note::{Note, NoteError, Signer, Verified, VerifierKey, is_key_name};
use crate::position::TreeSize;
use crate::text;

/// The longest origin of a ledger of ours, bytes (FORMAT §1).
pub const ORIGIN_BYTES_MAX: usize = 255;

/// Why a text is no checkpoint, or a note no valid one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines, an empty one, or the last without its newline.
    #[error("a checkpoint is at least three non-empty lines: origin, size, root")]
    Structure,
    /// The second line is no decimal, has leading zeroes, or is beyond 2^63 − 1.
    #[error("the checkpoint's size is not a plain decimal number up to 2^63 − 1")]
    Size,
    /// The third line is not base64 of 32 bytes, or a root that the empty tree does not have.
    #[error(
        "the checkpoint's root is not base64 of 32 bytes, or not the root of an empty log where the size is 0"
    )]
    Root,
    /// It is about another log.
    #[error("the checkpoint is of the log {found}, not of {expected}")]
    Origin {
        /// The origin asked for.
        expected: String,
        /// The origin found.
        found: String,
    },
    /// The note around it is refused.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// Size and root of a log. Nothing is believed of it by having read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    origin: String,
    size: TreeSize,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// Of a ledger of ours, without extension lines.
    ///
    /// # Errors
    /// [`CheckpointError`] for what no checkpoint may say.
    pub fn new(origin: &str, size: TreeSize, root: Hash) -> Result<Self, CheckpointError> {
        let checkpoint = Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions: Vec::new(),
        };
        Self::parse(&checkpoint.text())
    }

    /// Reads a note's text.
    ///
    /// # Errors
    /// [`CheckpointError`] for any text that [`Checkpoint::text`] would not give back the same.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines = text::lines(text).ok_or(CheckpointError::Structure)?;
        let mut lines = lines.map(|line| {
            if line.is_empty() {
                Err(CheckpointError::Structure)
            } else {
                Ok(line)
            }
        });
        let mut line = || lines.next().ok_or(CheckpointError::Structure)?;
        let origin = line()?.to_owned();
        let size = text::decimal(line()?)
            .map(TreeSize)
            .filter(|size| *size <= TreeSize::MAX);
        let size = size.ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(line()?).ok_or(CheckpointError::Root)?;
        if size.is_empty() && root != Hash::empty_root() {
            return Err(CheckpointError::Root);
        }
        let extensions = lines
            .map(|line| line.map(str::to_owned))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            origin,
            size,
            root,
            extensions,
        })
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Which log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The root at that size.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Lines that mean nothing here.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

/// Whether a ledger of ours may have this origin: a scheme-less URL of at most 255 bytes, no white space, no plus.
pub fn is_origin(origin: &str) -> bool {
    is_key_name(origin) && origin.len() <= ORIGIN_BYTES_MAX && !origin.contains("://")
}

/// A checkpoint in its note. Nothing is believed of it before [`SignedCheckpoint::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Signs. Whether it may be signed is the caller's duty (FORMAT §4).
    ///
    /// # Errors
    /// [`CheckpointError::Note`].
    pub fn sign(checkpoint: Checkpoint, signers: &[&dyn Signer]) -> Result<Self, CheckpointError> {
        let note = Note::sign(&checkpoint.text(), signers)?;
        Ok(Self { checkpoint, note })
    }

    /// Reads a note whose text is a checkpoint. Its signatures are not checked by that.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        Ok(Self {
            checkpoint: Checkpoint::parse(note.text())?,
            note,
        })
    }

    /// Checks that the log of that origin signed it with one of its keys, which are those among `keys` named as the
    /// origin. All lines by such keys must hold. Witnesses are another matter (`tlog_policy`).
    ///
    /// # Errors
    /// `Origin`, or `Note` if a line of such a key does not hold or there is none.
    pub fn verify<'k>(
        &self,
        origin: &str,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<Verified<'k>>, CheckpointError> {
        if self.checkpoint.origin != origin {
            let (expected, found) = (origin.to_owned(), self.checkpoint.origin.clone());
            return Err(CheckpointError::Origin { expected, found });
        }
        Ok(self
            .note
            .verify(keys.into_iter().filter(|key| key.name() == origin))?)
    }

    /// What is signed.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with all lines.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The note, to add cosignatures to.
    pub const fn note_mut(&mut self) -> &mut Note {
        &mut self.note
    }

    /// The note as it is stored and sent.
    pub fn encode(&self) -> String {
        self.note.encode()
    }

    /// SHA-256 of the note's text: the name that heads and time stamps give a checkpoint (FORMAT §5).
    pub fn body_sha256(&self) -> Hash {
        sha256(self.note.text().as_bytes())
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
