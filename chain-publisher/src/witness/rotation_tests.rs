//! A log whose key is replaced, in front of a witness: followed by its proof, and by nothing else.

use super::tests::{FAILS, FAILS_BUT_PERSISTS, Fixed, Memory, NOW_S, WORKS, witness_key};
use super::*;
use domain::canonical::Canonical;
use domain::checkpoint::Checkpoint;
use domain::entry::{NewEvent, Placement, encode};
use domain::hash::leaf_hash;
use domain::merkle::{MemoryNodes, root_of};
use domain::note::{Signer, SigningKey};
use domain::proof::{consistency_proof, inclusion_proof};
use domain::rotation::{KEY_ROTATED, KeyRotated, RotationReason, recovery_name, sign_rotation};
use domain::tlog_proof::TlogProof;
use domain::{Hash, Position, Timestamp};
use serde_json::json;
use std::sync::atomic::{AtomicI64, Ordering};

const ORIGIN: &str = "log.example/main";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[seed; 32]).expect("a name")
}

fn recovery() -> SigningKey {
    SigningKey::from_seed(&recovery_name(ORIGIN), &[99; 32]).expect("a name")
}

/// A log of numbers, in which keys were replaced.
#[derive(Clone, Default)]
struct Log {
    leaves: Vec<Hash>,
}

impl Log {
    fn of(count: u64) -> Self {
        let leaves = (0..count).map(|n| leaf_hash(&n.to_be_bytes()));
        Self {
            leaves: leaves.collect(),
        }
    }

    fn more(&mut self, count: u64) {
        self.leaves
            .extend((0..count).map(|n| leaf_hash(format!("more {n}").as_bytes())));
    }

    fn signed(&self, size: usize, signers: &[&SigningKey]) -> SignedCheckpoint {
        let root = root_of(&self.leaves[..size]);
        let checkpoint = Checkpoint::new(ORIGIN, TreeSize(size as u64), root).expect("valid");
        let signers: Vec<&dyn Signer> = signers.iter().map(|key| *key as &dyn Signer).collect();
        SignedCheckpoint::sign(checkpoint, &signers).expect("signed")
    }

    fn offer(&self, old: usize, new: usize, signers: &[&SigningKey]) -> Vec<u8> {
        let nodes = MemoryNodes::of_leaves(&self.leaves);
        let body = AddCheckpoint {
            old: TreeSize(old as u64),
            hashes: consistency_proof(&nodes, TreeSize(old as u64), TreeSize(new as u64)).expect("in order"),
            checkpoint: self.signed(new, signers),
        };
        body.encode().into_bytes()
    }

    /// Replaces the key, and proves it.
    fn rotates(&mut self, role: Role, old: &SigningKey, new: &SigningKey, voucher: &SigningKey) -> TlogProof {
        let position = Position(self.leaves.len() as u64);
        let vkey = new.verifier_key().to_string();
        let said = KeyRotated {
            role,
            old: Some(old.verifier_key().to_string()),
            note: sign_rotation(ORIGIN, role, &vkey, position, voucher, Some(new)).expect("signed"),
            new: vkey,
            reason: RotationReason::Scheduled,
        };
        let event = NewEvent {
            aggregate_type: "ledger".into(),
            aggregate_id: "main".into(),
            event_type: KEY_ROTATED.into(),
            event_version: "1.0".into(),
            payload: Canonical::from_serialize(&said).expect("canonical"),
            metadata: Canonical::of(&json!({"actor": "system:operator"})).expect("canonical"),
            salt: None,
        };
        let placement = Placement {
            position,
            recorded_at: Timestamp::from_millis(1_779_000_000_000).expect("in range"),
            sequence: 3,
            salt: [7; 16],
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &placement, &event).expect("fits");
        self.leaves.push(leaf_hash(&bytes));
        let nodes = MemoryNodes::of_leaves(&self.leaves);
        TlogProof {
            extra: Some(bytes),
            index: position,
            hashes: inclusion_proof(&nodes, position, position.size_through()).expect("it is there"),
            checkpoint: self.signed(self.leaves.len(), &[voucher, new]),
        }
    }
}

fn witness(store: &Arc<Memory>, keys: &[&SigningKey]) -> Witness<Arc<Memory>> {
    let clock = Arc::new(Fixed(AtomicI64::new(NOW_S)));
    let keys = keys.iter().map(|key| key.verifier_key());
    Witness::open(witness_key(), keys, store.clone(), clock).expect("it opens")
}

fn status<T>(answer: &Result<T, Refusal>) -> u16 {
    answer.as_ref().map_or_else(Refusal::status, |_| 200)
}

#[test]
fn a_new_key_is_followed_by_its_proof_and_the_old_one_alone_is_refused_from_there_on() {
    let store = Arc::<Memory>::default();
    let (old, new, third) = (key(1), key(2), key(3));
    let mut log = Log::of(5);
    let proof = log.rotates(Role::Log, &old, &new, &old);
    log.more(4);
    let before = witness(&store, &[&old]);
    assert_eq!(status(&before.add_checkpoint(&log.offer(0, 5, &[&old]))), 200);
    assert_eq!(
        status(&before.add_checkpoint(&log.offer(5, 8, &[&new]))),
        403,
        "a stranger yet"
    );
    // The proof alone is not enough: what it is under was not seen yet.
    let early = before.add_rotation(proof.encode().as_bytes());
    assert_eq!(early.as_ref().err().and_then(Refusal::known), Some(TreeSize(5)));
    assert_eq!(
        status(&before.add_checkpoint(&log.offer(5, 6, &[&old, &new]))),
        200
    );
    for _ in 0..2 {
        let followed = before.add_rotation(proof.encode().as_bytes()).expect("it holds");
        assert_eq!(followed, new.verifier_key());
    }
    // The next start knows it, too.
    for witness in [before, witness(&store, &[&old])] {
        assert_eq!(
            status(&witness.add_checkpoint(&log.offer(6, 8, &[&old]))),
            403,
            "a thief's"
        );
        assert_eq!(
            status(&witness.add_checkpoint(&log.offer(6, 6, &[&old]))),
            403,
            "not by both"
        );
        assert_eq!(
            status(&witness.add_checkpoint(&log.offer(6, 6, &[&old, &new]))),
            200
        );
    }
    let after = witness(&store, &[&old]);
    assert_eq!(status(&after.add_checkpoint(&log.offer(6, 10, &[&new]))), 200);
    // What was followed is said again, also later; and a second one is followed from the first.
    assert_eq!(status(&after.add_rotation(proof.encode().as_bytes())), 200);
    let second = log.rotates(Role::Log, &new, &third, &new);
    assert_eq!(
        status(&after.add_checkpoint(&log.offer(10, 11, &[&new, &third]))),
        200
    );
    assert_eq!(status(&after.add_rotation(second.encode().as_bytes())), 200);
    log.more(1);
    assert_eq!(status(&after.add_checkpoint(&log.offer(11, 12, &[&new]))), 403);
    let again = witness(&store, &[&old]);
    assert_eq!(status(&again.add_checkpoint(&log.offer(11, 12, &[&third]))), 200);
    // A runner who names the newest alone goes on as well.
    assert_eq!(
        status(&witness(&store, &[&third]).add_checkpoint(&log.offer(12, 12, &[&third]))),
        200
    );
}

#[test]
fn a_rotation_of_another_history_of_a_stranger_or_by_the_recovery_key_is_not_followed() {
    let (old, new, thief) = (key(1), key(2), key(66));
    let store = Arc::<Memory>::default();
    let witness = witness(&store, &[&old]);
    let mut log = Log::of(5);
    assert_eq!(status(&witness.add_checkpoint(&log.offer(0, 5, &[&old]))), 200);
    // A thief of the old key makes a tree in which it is replaced by theirs.
    let mut other = Log::of(4);
    let stolen = other.rotates(Role::Log, &old, &thief, &old);
    assert_eq!(
        status(&witness.add_rotation(stolen.encode().as_bytes())),
        409,
        "another root at that size"
    );
    assert_eq!(
        status(
            &witness.add_rotation(
                log.clone()
                    .rotates(Role::Log, &thief, &new, &thief)
                    .encode()
                    .as_bytes()
            )
        ),
        403
    );
    assert_eq!(
        status(
            &witness.add_rotation(
                log.clone()
                    .rotates(Role::Log, &old, &new, &recovery())
                    .encode()
                    .as_bytes()
            )
        ),
        403
    );
    let receipts =
        |seed| SigningKey::from_seed(&Role::Receipt.key_name(ORIGIN), &[seed; 32]).expect("a name");
    let of_receipts = log
        .clone()
        .rotates(Role::Receipt, &receipts(7), &receipts(8), &receipts(7));
    assert_eq!(
        status(&witness.add_rotation(of_receipts.encode().as_bytes())),
        403
    );
    let good = log.rotates(Role::Log, &old, &new, &old);
    assert_eq!(
        status(&witness.add_checkpoint(&log.offer(5, 6, &[&old, &new]))),
        200
    );
    let mut by_old_alone = good.clone();
    by_old_alone.checkpoint = log.signed(6, &[&old]);
    assert_eq!(
        status(&witness.add_rotation(by_old_alone.encode().as_bytes())),
        403
    );
    let text = good.encode();
    for (what, body, expected) in [
        ("nothing", String::new(), 400),
        (
            "an entry that was changed",
            text.replacen("extra ", "extra AAAA", 1),
            403,
        ),
        ("another log's", text.replace(ORIGIN, "log.example/other"), 404),
    ] {
        assert_eq!(status(&witness.add_rotation(body.as_bytes())), expected, "{what}");
    }
    assert!(
        store.rotations(ORIGIN).expect("readable").is_empty(),
        "none of it left a trace"
    );
    assert_eq!(status(&witness.add_rotation(text.as_bytes())), 200);
}

#[test]
fn nothing_under_the_new_key_is_cosigned_before_its_proof_is_kept() {
    for (mode, kept) in [(FAILS, false), (FAILS_BUT_PERSISTS, true)] {
        let (old, new) = (key(1), key(2));
        let store = Arc::<Memory>::default();
        let mut log = Log::of(5);
        let proof = log.rotates(Role::Log, &old, &new, &old);
        log.more(1);
        let first = witness(&store, &[&old]);
        assert_eq!(
            status(&first.add_checkpoint(&log.offer(0, 6, &[&old, &new]))),
            200
        );
        store.mode.store(mode, Ordering::Relaxed);
        assert_eq!(status(&first.add_rotation(proof.encode().as_bytes())), 503);
        store.mode.store(WORKS, Ordering::Relaxed);
        assert_eq!(status(&first.add_checkpoint(&log.offer(6, 7, &[&new]))), 403);
        // Killed here: what is on the disk counts.
        let next = witness(&store, &[&old]);
        let expected = if kept { 200 } else { 403 };
        assert_eq!(status(&next.add_checkpoint(&log.offer(6, 7, &[&new]))), expected);
        assert_eq!(status(&first.add_rotation(proof.encode().as_bytes())), 200);
    }
}
