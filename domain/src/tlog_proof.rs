//! A proof as a file: what was logged, where, the inclusion proof, and the checkpoint with its cosignatures.
//!
//! Invariants: what was parsed encodes to the same bytes; the extra data prove nothing until a leaf hash is computed
//! from them and folds to a signed root.
//! Source: C2SP tlog-proof `@v1` as of July 2026; FORMAT §5 (heads) and §7 (inclusion proofs).
//! Not here: what an entry means, what else a day's head must satisfy (`verify`).

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::hash::Hash;
use crate::note::{NOTE_BYTES_MAX, NoteError};
use crate::position::{Position, TreeSize};
use crate::proof::{PROOF_HASHES_MAX, ProofError, verify_inclusion};
use crate::text;
use crate::tlog_policy::{Examined, Policy};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The most extra data that are read, bytes: sixteen times the largest entry.
pub const EXTRA_BYTES_MAX: usize = 1 << 20;
/// The largest file that is read, bytes: a note, the extra data in base64, and at most 63 hashes.
pub const TLOG_PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + EXTRA_BYTES_MAX / 3 * 4 + 4096;

/// Why bytes are no proof, or the proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Larger than [`TLOG_PROOF_BYTES_MAX`].
    #[error("the proof is larger than {TLOG_PROOF_BYTES_MAX} bytes")]
    TooLarge,
    /// Not the header, lines, a blank line and a checkpoint.
    #[error("not a tlog-proof: it begins with \"{HEADER}\" and has a blank line before the checkpoint")]
    Structure,
    /// The extra line is there but empty, too long, or no base64.
    #[error("the line of extra data is not base64 of 1 to {EXTRA_BYTES_MAX} bytes")]
    Extra,
    /// The index line is missing or wrong.
    #[error("the index line does not read \"index\" and a plain decimal number")]
    Index,
    /// A hash line is none, or there are more than any tree needs.
    #[error("hash line {0} is not base64 of 32 bytes, or one too many")]
    Hash(usize),
    /// The checkpoint is refused.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead from the leaf to the checkpoint's root.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// An entry's place in a log, provable offline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    /// What the application adds; here the entry's bytes, absent if they were pruned. Never empty. Not authenticated.
    pub extra: Option<Vec<u8>>,
    /// The entry's position.
    pub index: Position,
    /// From the leaf's sibling upwards.
    pub hashes: Vec<Hash>,
    /// The checkpoint that the proof leads to, with all its lines.
    pub checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// Reads a file. Nothing is believed by that.
    ///
    /// # Errors
    /// [`TlogProofError`] for any bytes that [`TlogProof::encode`] would not give back the same.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > TLOG_PROOF_BYTES_MAX {
            return Err(TlogProofError::TooLarge);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| CheckpointError::from(NoteError::Characters))?;
        let (head, checkpoint) = whole.split_once("\n\n").ok_or(TlogProofError::Structure)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(TlogProofError::Structure);
        }
        let extra = lines
            .next_if(|line| line.starts_with("extra"))
            .map(parse_extra)
            .transpose()?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(text::decimal);
        let index = Position(index.ok_or(TlogProofError::Index)?);
        let hashes = parse_hashes(lines).map_err(TlogProofError::Hash)?;
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: SignedCheckpoint::parse(checkpoint.as_bytes())?,
        })
    }

    /// The file.
    pub fn encode(&self) -> String {
        let mut file = format!("{HEADER}\n");
        if let Some(extra) = self.extra.as_deref().filter(|extra| !extra.is_empty()) {
            file.push_str("extra ");
            file.push_str(&text::base64(extra));
            file.push('\n');
        }
        file.push_str(&format!("index {}\n", self.index));
        push_hashes(&mut file, &self.hashes);
        file.push('\n');
        file.push_str(&self.checkpoint.encode());
        file
    }

    /// Checks that the leaf is where the file says, under a checkpoint that a log of the policy signed.
    ///
    /// The leaf hash MUST have been computed by the caller from bytes it knows, such as [`TlogProof::extra`]. Whether
    /// the quorum is met is in the answer: a missed one is for the caller to weigh.
    ///
    /// # Errors
    /// [`TlogProofError`]; nothing may be concluded about the leaf then.
    pub fn verify<'p>(&self, leaf: &Hash, policy: &'p Policy) -> Result<Examined<'p>, TlogProofError> {
        let examined = policy.examine(&self.checkpoint)?;
        self.verify_inclusion(leaf)?;
        Ok(examined)
    }

    /// Checks the inclusion alone. The checkpoint's signatures are not looked at.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify_inclusion(&self, leaf: &Hash) -> Result<(), ProofError> {
        let checkpoint = self.checkpoint.checkpoint();
        verify_inclusion(
            leaf,
            self.index,
            checkpoint.size(),
            &self.hashes,
            &checkpoint.root(),
        )
    }

    /// The size that the checkpoint gives the log.
    pub const fn size(&self) -> TreeSize {
        self.checkpoint.checkpoint().size()
    }
}

fn parse_extra(line: &str) -> Result<Vec<u8>, TlogProofError> {
    let bytes = line
        .strip_prefix("extra ")
        .and_then(text::from_base64)
        .ok_or(TlogProofError::Extra)?;
    if bytes.is_empty() || bytes.len() > EXTRA_BYTES_MAX {
        Err(TlogProofError::Extra)
    } else {
        Ok(bytes)
    }
}

/// One hash a line; the number of the line, from 1, where that ends.
pub(crate) fn parse_hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, usize> {
    let mut hashes = Vec::new();
    for (i, line) in lines.enumerate() {
        let hash = Hash::from_base64(line).filter(|_| i < PROOF_HASHES_MAX);
        hashes.push(hash.ok_or(i + 1)?);
    }
    Ok(hashes)
}

pub(crate) fn push_hashes(file: &mut String, hashes: &[Hash]) {
    for hash in hashes {
        file.push_str(&hash.to_base64());
        file.push('\n');
    }
}

#[cfg(test)]
#[path = "tlog_proof_tests.rs"]
mod tests;
