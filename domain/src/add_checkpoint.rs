//! A checkpoint with the proof that it continues an older one: what is sent to a witness, and kept beside a head.
//!
//! Invariant: what was parsed encodes to the same bytes.
//! Source: C2SP tlog-witness v1.0.0, the body of `add-checkpoint`; FORMAT §5 (`YYYY-MM-DD.consistency`).
//! Not here: sending it (`chain-publisher`), the older checkpoint itself, which the receiver has kept.

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::hash::Hash;
use crate::note::{NOTE_BYTES_MAX, NoteError};
use crate::position::TreeSize;
use crate::proof::{ProofError, verify_consistency};
use crate::text;
use crate::tlog_proof::{parse_hashes, push_hashes};

/// The largest body that is read, bytes: a note and at most 63 hashes.
pub const ADD_CHECKPOINT_BYTES_MAX: usize = NOTE_BYTES_MAX + 4096;

/// Why bytes are no such body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddCheckpointError {
    /// Larger than [`ADD_CHECKPOINT_BYTES_MAX`].
    #[error("the body is larger than {ADD_CHECKPOINT_BYTES_MAX} bytes")]
    TooLarge,
    /// Not lines, a blank line and a checkpoint.
    #[error("the body has no blank line before the checkpoint")]
    Structure,
    /// The first line is wrong, or larger than the checkpoint's size.
    #[error("the first line does not read \"old\" and a size up to the checkpoint's")]
    Old,
    /// A hash line is none, or there are more than any tree needs.
    #[error("hash line {0} is not base64 of 32 bytes, or one too many")]
    Hash(usize),
    /// The checkpoint is refused.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A checkpoint, and why it continues the one of size `old`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    /// The size of the older checkpoint.
    pub old: TreeSize,
    /// The consistency proof.
    pub hashes: Vec<Hash>,
    /// The newer checkpoint.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Reads a body. Nothing is believed by that.
    ///
    /// # Errors
    /// [`AddCheckpointError`] for any bytes that [`AddCheckpoint::encode`] would not give back the same.
    pub fn parse(bytes: &[u8]) -> Result<Self, AddCheckpointError> {
        if bytes.len() > ADD_CHECKPOINT_BYTES_MAX {
            return Err(AddCheckpointError::TooLarge);
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| CheckpointError::from(NoteError::Characters))?;
        let (head, checkpoint) = whole.split_once("\n\n").ok_or(AddCheckpointError::Structure)?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(text::decimal);
        let old = TreeSize(old.ok_or(AddCheckpointError::Old)?);
        let hashes = parse_hashes(lines).map_err(AddCheckpointError::Hash)?;
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        if old > checkpoint.checkpoint().size() {
            return Err(AddCheckpointError::Old);
        }
        Ok(Self {
            old,
            hashes,
            checkpoint,
        })
    }

    /// The body.
    pub fn encode(&self) -> String {
        let mut body = format!("old {}\n", self.old);
        push_hashes(&mut body, &self.hashes);
        body.push('\n');
        body.push_str(&self.checkpoint.encode());
        body
    }

    /// Checks that the checkpoint continues the one of size `old` with that root. Its signatures are not looked at.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify_consistency(&self, old_root: &Hash) -> Result<(), ProofError> {
        let new = self.checkpoint.checkpoint();
        verify_consistency(self.old, old_root, new.size(), &new.root(), &self.hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::merkle::{MemoryNodes, root_of};
    use crate::note::SigningKey;
    use crate::proof::consistency_proof;
    use crate::vectors;
    use proptest::prelude::*;

    fn body(old: u64, new: u64) -> AddCheckpoint {
        let leaves = vectors::leaves(new);
        let nodes = MemoryNodes::of_leaves(&leaves);
        let key = SigningKey::from_seed("log.example", &[1; 32]).expect("a valid name");
        let checkpoint = Checkpoint::new("log.example", TreeSize(new), root_of(&leaves)).expect("valid");
        AddCheckpoint {
            old: TreeSize(old),
            hashes: consistency_proof(&nodes, TreeSize(old), TreeSize(new)).expect("in order"),
            checkpoint: SignedCheckpoint::sign(checkpoint, &[&key]).expect("valid"),
        }
    }

    #[test]
    fn the_specifications_example_is_read() {
        let example = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
            jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
            /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\nexample.com/behind-the-sofa\n20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/behind-the-sofa \
            Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
            — example.com/behind-the-sofa \
            opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
        let read = AddCheckpoint::parse(example.as_bytes()).expect("the specification's own body");
        assert_eq!((read.old, read.hashes.len()), (TreeSize(20_852_014), 4));
        assert_eq!(read.encode(), example);
    }

    #[test]
    fn it_holds_for_the_root_it_continues_and_for_no_other() {
        for (old, new) in [(0, 1), (1, 1), (3, 7), (256, 300), (299, 300)] {
            let body = body(old, new);
            assert_eq!(AddCheckpoint::parse(body.encode().as_bytes()).as_ref(), Ok(&body));
            assert_eq!(body.verify_consistency(&root_of(&vectors::leaves(old))), Ok(()));
            assert!(body.verify_consistency(&Hash([1; 32])).is_err());
        }
    }

    #[test]
    fn malformed_bodies_are_refused() {
        let good = body(3, 7).encode();
        for (what, bad) in [
            ("nothing", String::new()),
            ("another word", good.replacen("old", "Old", 1)),
            ("a leading zero", good.replacen("old 3", "old 03", 1)),
            ("an older size that is newer", good.replacen("old 3", "old 8", 1)),
            ("a hash cut short", good.replacen("=\n", "\n", 1)),
            (
                "64 hashes",
                good.replacen("\n", &format!("\n{}", "A".repeat(43) + "=\n").repeat(64), 1),
            ),
            (
                "no checkpoint",
                good.split_inclusive("\n\n").next().unwrap_or_default().to_owned(),
            ),
            ("a second blank line", good.replacen("\n\n", "\n\n\n", 1)),
        ] {
            assert!(AddCheckpoint::parse(bad.as_bytes()).is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = AddCheckpoint::parse(&bytes);
            let _ = AddCheckpoint::parse(&[b"old 0\n\n", &bytes[..]].concat());
        }
    }
}
