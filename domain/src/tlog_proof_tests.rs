//! Proof files: round trips, mistakes, every flipped bit, and the specification's shape.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::cosignature::CosigningKey;
use crate::hash::leaf_hash;
use crate::merkle::{MemoryNodes, root_of};
use crate::note::SigningKey;
use crate::proof::inclusion_proof;
use crate::tlog_policy::Quorum;
use crate::vectors;
use proptest::prelude::*;

const ORIGIN: &str = "log.example/one";

fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).expect("a valid name")
}

fn witness() -> CosigningKey {
    CosigningKey::from_seed("witness.example", &[2; 32]).expect("a valid name")
}

fn policy() -> Policy {
    let text = format!(
        "log {}\nwitness W {}\nquorum W\n",
        log().verifier_key(),
        witness().verifier_key()
    );
    Policy::parse(text.as_bytes()).expect("valid")
}

fn proof(position: u64, size: u64) -> TlogProof {
    let leaves = vectors::leaves(size);
    let nodes = MemoryNodes::of_leaves(&leaves);
    let checkpoint = Checkpoint::new(ORIGIN, TreeSize(size), root_of(&leaves)).expect("valid");
    TlogProof {
        extra: Some(position.to_be_bytes().to_vec()),
        index: Position(position),
        hashes: inclusion_proof(&nodes, Position(position), TreeSize(size)).expect("inside"),
        checkpoint: SignedCheckpoint::sign(checkpoint, &[&log(), &witness().at(1_700_000_000)])
            .expect("valid"),
    }
}

/// What a verifier does with a file that it was handed: leaf hash from the extra data, everything checked.
fn opens(bytes: &[u8]) -> Result<Quorum, TlogProofError> {
    let proof = TlogProof::parse(bytes)?;
    let leaf = leaf_hash(proof.extra.as_deref().unwrap_or_default());
    proof.verify(&leaf, &policy()).map(|examined| examined.quorum)
}

#[test]
fn a_proof_file_proves_its_entry() {
    for (position, size) in [
        (0, 1),
        (0, 2),
        (1, 2),
        (255, 256),
        (255, 257),
        (256, 257),
        (300, 1_000),
    ] {
        let proof = proof(position, size);
        let file = proof.encode();
        assert_eq!(TlogProof::parse(file.as_bytes()), Ok(proof));
        assert_eq!(opens(file.as_bytes()), Ok(Quorum::Met));
    }
}

#[test]
fn the_file_reads_as_the_specification_shows() {
    let mut proof = proof(2, 3);
    let hash = proof.hashes[0].to_base64();
    let note = proof.checkpoint.encode();
    assert_eq!(
        proof.encode(),
        format!("c2sp.org/tlog-proof@v1\nextra AAAAAAAAAAI=\nindex 2\n{hash}\n\n{note}")
    );
    proof.extra = None;
    let without = format!("c2sp.org/tlog-proof@v1\nindex 2\n{hash}\n\n{note}");
    assert_eq!(proof.encode(), without);
    assert_eq!(TlogProof::parse(without.as_bytes()), Ok(proof));
}

#[test]
fn malformed_files_are_refused() {
    let good = proof(2, 3).encode();
    for (what, bad) in [
        ("nothing", String::new()),
        ("another version", good.replace("@v1", "@v2")),
        ("a space behind the header", good.replace("@v1", "@v1 ")),
        ("carriage returns", good.replace('\n', "\r\n")),
        ("an empty extra", good.replace("extra AAAAAAAAAAI=", "extra ")),
        (
            "an extra without its space",
            good.replace("extra AAAAAAAAAAI=", "extra"),
        ),
        ("an extra without padding", good.replace("AAI=", "AAI")),
        ("an extra with stray bits", good.replace("AAI=", "AAJ=")),
        (
            "two extras",
            good.replace("extra AAAAAAAAAAI=\n", "extra AAAA\nextra AAAA\n"),
        ),
        (
            "the extra behind the index",
            good.replace("extra AAAAAAAAAAI=\nindex 2\n", "index 2\nextra AAAAAAAAAAI=\n"),
        ),
        ("no index", good.replace("index 2\n", "")),
        ("a leading zero", good.replace("index 2", "index 02")),
        ("a negative index", good.replace("index 2", "index -2")),
        ("a hash cut short", good.replacen("=\n\n", "\n\n", 1)),
        (
            "a hash of 33 bytes",
            good.replacen("index 2\n", &format!("index 2\n{}\n", "A".repeat(44)), 1),
        ),
        (
            "64 hashes",
            good.replacen(
                "index 2\n",
                &format!("index 2\n{}", ("A".repeat(43) + "=\n").repeat(63)),
                1,
            ),
        ),
        ("no blank line", good.replacen("\n\n", "\n", 1)),
        ("two blank lines", good.replacen("\n\n", "\n\n\n", 1)),
        (
            "no checkpoint",
            good.split_inclusive("\n\n").next().unwrap_or_default().to_owned(),
        ),
        (
            "an unsigned checkpoint",
            good.split("\n—").next().unwrap_or_default().to_owned(),
        ),
    ] {
        assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{what}");
    }
}

#[test]
fn a_proof_for_another_entry_or_place_does_not_hold() {
    let good = proof(2, 7);
    assert!(good.verify(&leaf_hash(b"another"), &policy()).is_err());
    for index in [0, 1, 3, 6, 7, u64::MAX] {
        let moved = TlogProof {
            index: Position(index),
            ..good.clone()
        };
        assert!(opens(moved.encode().as_bytes()).is_err(), "index {index}");
    }
    let other_tree = TlogProof {
        checkpoint: proof(2, 8).checkpoint,
        ..good.clone()
    };
    assert!(opens(other_tree.encode().as_bytes()).is_err());
    let extra_hash = TlogProof {
        hashes: [&good.hashes[..], &[Hash::default()]].concat(),
        ..good
    };
    assert!(opens(extra_hash.encode().as_bytes()).is_err());
}

#[test]
fn a_missed_quorum_is_said_and_another_log_refused() {
    let mut lonely = proof(2, 7);
    lonely.checkpoint =
        SignedCheckpoint::sign(lonely.checkpoint.checkpoint().clone(), &[&log()]).expect("valid");
    assert_eq!(opens(lonely.encode().as_bytes()), Ok(Quorum::Missed));
    let thief = SigningKey::from_seed(ORIGIN, &[9; 32]).expect("a valid name");
    lonely.checkpoint =
        SignedCheckpoint::sign(lonely.checkpoint.checkpoint().clone(), &[&thief]).expect("valid");
    assert!(matches!(
        opens(lonely.encode().as_bytes()),
        Err(TlogProofError::Checkpoint(_))
    ));
}

#[test]
fn one_flipped_bit_breaks_a_proof_file() {
    let file = proof(5, 11).encode().into_bytes();
    for bit in 0..8 * file.len() {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A flip in the name or key id of the witness's line makes it an unknown one: ignored, and not counted.
        assert_ne!(opens(&flipped), Ok(Quorum::Met), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = TlogProof::parse(&bytes);
        let _ = TlogProof::parse(&[b"c2sp.org/tlog-proof@v1\nindex 0\n\n", &bytes[..]].concat());
    }

    #[test]
    fn what_is_read_is_written_back_the_same(
        extra in "(extra [A-Za-z]{0,4}=?\n){0,2}", index in "(index [0-9]{0,3}\n){0,2}",
        hashes in "([A]{42,43}=\n){0,3}", cut in 0usize..400,
    ) {
        let checkpoint = proof(0, 1).checkpoint.encode();
        let file = format!("c2sp.org/tlog-proof@v1\n{extra}{index}{hashes}\n{checkpoint}");
        let file = &file.as_bytes()[..file.len().saturating_sub(if cut < 200 { 0 } else { cut })];
        if let Ok(proof) = TlogProof::parse(file) {
            prop_assert_eq!(proof.encode().into_bytes(), file);
        }
    }
}
