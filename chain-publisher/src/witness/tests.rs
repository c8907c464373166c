//! The witness under attack: every answer of the specification, crashes at every write, and two at once.

use super::*;
use domain::checkpoint::Checkpoint;
use domain::hash::leaf_hash;
use domain::merkle::{MemoryNodes, root_of};
use domain::note::SigningKey;
use domain::proof::consistency_proof;
use domain::{Position, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

const ORIGIN: &str = "log.example/main";
pub(super) const NOW_S: i64 = 1_800_000_000;

pub(super) struct Fixed(pub(super) AtomicI64);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::default().plus_micros(self.0.load(Ordering::Relaxed) * 1_000_000)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// What a save does.
pub(super) const WORKS: u8 = 0;
pub(super) const FAILS: u8 = 1;
pub(super) const FAILS_BUT_PERSISTS: u8 = 2;

#[derive(Default)]
pub(super) struct Memory {
    rotations: Mutex<BTreeMap<(String, Position), Vec<u8>>>,
    kept: Mutex<HashMap<String, Vec<u8>>>,
    saves: Mutex<u64>,
    pub(super) mode: AtomicU8,
}

impl WitnessStore for Arc<Memory> {
    fn load(&self, origin: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.kept.lock().get(origin).cloned())
    }
    fn save(&self, origin: &str, note: &[u8]) -> io::Result<()> {
        *self.saves.lock() += 1;
        let mode = self.mode.load(Ordering::Relaxed);
        if mode != FAILS {
            self.kept.lock().insert(origin.to_owned(), note.to_vec());
        }
        if mode == WORKS {
            Ok(())
        } else {
            Err(io::Error::other("the disk is gone"))
        }
    }
    fn rotations(&self, origin: &str) -> io::Result<Vec<Vec<u8>>> {
        let kept = self.rotations.lock();
        let of_it = kept.iter().filter(|((of, _), _)| of == origin);
        Ok(of_it.map(|(_, proof)| proof.clone()).collect())
    }
    fn save_rotation(&self, origin: &str, position: Position, proof: &[u8]) -> io::Result<()> {
        let mode = self.mode.load(Ordering::Relaxed);
        if mode != FAILS {
            let mut kept = self.rotations.lock();
            kept.insert((origin.to_owned(), position), proof.to_vec());
        }
        if mode == WORKS {
            Ok(())
        } else {
            Err(io::Error::other("the disk is gone"))
        }
    }
}

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).expect("a name")
}

pub(super) fn witness_key() -> CosigningKey {
    CosigningKey::from_seed("witness.example/w1", &[2; 32]).expect("a name")
}

fn witness(store: &Arc<Memory>) -> Witness<Arc<Memory>> {
    let clock = Arc::new(Fixed(AtomicI64::new(NOW_S)));
    Witness::open(witness_key(), [log_key().verifier_key()], store.clone(), clock).expect("it opens")
}

/// The leaf hashes of a log whose entries are numbers from `first` on.
fn leaves(size: u64, first: u64) -> Vec<domain::Hash> {
    (0..size).map(|n| leaf_hash(&(first + n).to_be_bytes())).collect()
}

fn body_of(first: u64, old: u64, new: u64) -> AddCheckpoint {
    let leaves = leaves(new, first);
    let tree = MemoryNodes::of_leaves(&leaves);
    let checkpoint = Checkpoint::new(ORIGIN, TreeSize(new), root_of(&leaves)).expect("valid");
    AddCheckpoint {
        old: TreeSize(old),
        hashes: consistency_proof(&tree, TreeSize(old), TreeSize(new)).expect("in order"),
        checkpoint: SignedCheckpoint::sign(checkpoint, &[&log_key()]).expect("valid"),
    }
}

fn body(old: u64, new: u64) -> Vec<u8> {
    body_of(0, old, new).encode().into_bytes()
}

fn status(answer: Result<String, Refusal>) -> u16 {
    answer.map_or_else(|refusal| refusal.status(), |_| 200)
}

#[test]
fn what_continues_is_cosigned_and_kept_with_both_lines() {
    let store = Arc::<Memory>::default();
    let witness = witness(&store);
    for (old, new) in [(0, 3), (3, 3), (3, 300), (300, 1000)] {
        let line = witness.add_checkpoint(&body(old, new)).expect("cosigned");
        let mut note = body_of(0, old, new).checkpoint.note().clone();
        for line in domain::note::parse_signatures(&line).expect("lines") {
            note.add(line).expect("room");
        }
        let keys = [witness_key().verifier_key(), log_key().verifier_key()];
        let verified = note.verify(&keys).expect("it holds");
        assert_eq!(verified[1].timestamp_s, Some(NOW_S as u64));
        let served = witness
            .latest(&sha256(ORIGIN.as_bytes()).to_hex())
            .expect("served");
        let served = Note::parse(served.as_bytes()).expect("a note");
        assert_eq!(served.verify(&keys).expect("both hold").len(), 2);
        assert_eq!(served.text(), note.text());
    }
    assert_eq!(witness.latest(&sha256(b"other").to_hex()), None);
}

#[test]
fn the_empty_log_is_cosigned_too() {
    let store = Arc::<Memory>::default();
    let witness = witness(&store);
    assert_eq!(status(witness.add_checkpoint(&body(0, 0))), 200);
    assert_eq!(status(witness.add_checkpoint(&body(0, 5))), 200);
}

#[test]
fn every_refusal_has_the_status_of_the_specification() {
    let store = Arc::<Memory>::default();
    let witness = witness(&store);
    witness.add_checkpoint(&body(0, 5)).expect("cosigned");
    let text = |old, new| body_of(0, old, new).encode();
    let other = SigningKey::from_seed(ORIGIN, &[9; 32]).expect("a name");
    let mut unsigned = body_of(0, 5, 7);
    unsigned.checkpoint =
        SignedCheckpoint::sign(unsigned.checkpoint.checkpoint().clone(), &[&other]).expect("valid");
    let mut forged = body_of(0, 5, 7);
    forged.hashes[0] = domain::Hash([7; 32]);
    let mut proof_from_nothing = body_of(0, 5, 7);
    proof_from_nothing.old = TreeSize(0);
    let flipped = {
        let whole = text(5, 7);
        let (before, line) = whole.rsplit_once(' ').expect("a signature");
        let turned = if line.as_bytes()[20] == b'A' { "B" } else { "A" };
        format!("{before} {}{turned}{}", &line[..20], &line[21..])
    };
    for (what, body, expected) in [
        ("nothing", String::new(), 400),
        ("garbage", "garbage".to_owned(), 400),
        (
            "an old size ahead of the checkpoint",
            text(5, 7).replacen("old 5", "old 8", 1),
            400,
        ),
        (
            "another log",
            text(5, 7).replace(ORIGIN, "log.example/other"),
            404,
        ),
        ("another key of that name", unsigned.encode(), 403),
        ("a signature with one letter turned", flipped, 403),
        (
            "a root that was not signed",
            text(5, 7).replacen("\n7\n", "\n8\n", 1),
            403,
        ),
        ("an old size behind", text(3, 7), 409),
        ("an old size ahead of ours", text(6, 7), 409),
        ("a beginner", text(0, 7), 409),
        ("a rollback", text(3, 4), 409),
        (
            "a proof where there may be none",
            proof_from_nothing.encode(),
            409,
        ),
        ("a forged proof", forged.encode(), 422),
        ("a proof too short", text(5, 7).replacen("=\n", "\n", 1), 400),
        ("another history", body_of(1, 5, 7).encode(), 422),
        ("another root of the same size", body_of(1, 5, 5).encode(), 409),
    ] {
        let refusal = witness.add_checkpoint(body.as_bytes()).expect_err(what);
        assert_eq!(refusal.status(), expected, "{what}: {refusal}");
        assert_eq!(
            refusal.known(),
            (expected == 409).then_some(TreeSize(5)),
            "{what}"
        );
    }
    assert_eq!(
        status(witness.add_checkpoint(&body(5, 7))),
        200,
        "none of it left a trace"
    );
}

#[test]
fn a_first_proof_must_be_empty() {
    let store = Arc::<Memory>::default();
    let mut offered = body_of(0, 0, 7);
    offered.hashes.push(domain::Hash([0; 32]));
    let refused = witness(&store).add_checkpoint(offered.encode().as_bytes());
    assert_eq!(status(refused), 422);
    assert_eq!(*store.saves.lock(), 0);
}

#[test]
fn a_replay_is_cosigned_again_and_writes_nothing() {
    let store = Arc::<Memory>::default();
    let witness = witness(&store);
    witness.add_checkpoint(&body(0, 5)).expect("cosigned");
    for _ in 0..100 {
        witness.add_checkpoint(&body(5, 5)).expect("cosigned");
    }
    assert_eq!(*store.saves.lock(), 1);
}

#[test]
fn no_cosignature_leaves_before_the_checkpoint_is_kept() {
    for (mode, known) in [(FAILS, 0), (FAILS_BUT_PERSISTS, 5)] {
        let store = Arc::<Memory>::default();
        let witness = witness(&store);
        store.mode.store(mode, Ordering::Relaxed);
        assert_eq!(status(witness.add_checkpoint(&body(0, 5))), 503);
        store.mode.store(WORKS, Ordering::Relaxed);
        let refusal = witness.add_checkpoint(&body(2, 6)).expect_err("stale");
        assert_eq!(refusal.known(), Some(TreeSize(known)));
        let saves = *store.saves.lock();
        assert_eq!(status(witness.add_checkpoint(&body(known, 5))), 200);
        assert_eq!(*store.saves.lock(), saves + 1, "what is in doubt is saved again");
    }
}

#[test]
fn a_crash_after_the_save_never_rolls_back() {
    let store = Arc::<Memory>::default();
    store.mode.store(FAILS_BUT_PERSISTS, Ordering::Relaxed);
    assert_eq!(status(witness(&store).add_checkpoint(&body(0, 9))), 503);
    store.mode.store(WORKS, Ordering::Relaxed);
    let again = witness(&store);
    for (old, new, expected) in [(0, 5, 409), (0, 9, 409), (9, 9, 200), (9, 12, 200)] {
        assert_eq!(status(again.add_checkpoint(&body(old, new))), expected);
    }
    let other = again
        .add_checkpoint(body_of(1, 12, 12).encode().as_bytes())
        .expect_err("a fork");
    assert!(matches!(other, Refusal::OtherRoot { .. }));
}

#[test]
fn of_two_at_once_exactly_one_wins() {
    let store = Arc::<Memory>::default();
    let witness = witness(&store);
    witness.add_checkpoint(&body(0, 1)).expect("cosigned");
    for _ in 0..50 {
        let from = witness.logs().next().expect("one").1.get();
        let bodies: Vec<Vec<u8>> = (1..=4).map(|ahead| body(from, from + ahead)).collect();
        let start = std::sync::Barrier::new(bodies.len());
        let mut answers: Vec<u16> = std::thread::scope(|scope| {
            let (witness, start) = (&witness, &start);
            let offer = move |body: &[u8]| {
                start.wait();
                status(witness.add_checkpoint(body))
            };
            let threads: Vec<_> = bodies
                .iter()
                .map(|body| scope.spawn(move || offer(body)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        answers.sort_unstable();
        assert_eq!(answers, [200, 409, 409, 409]);
    }
}

#[test]
fn a_clock_that_was_never_set_states_no_time() {
    let store = Arc::<Memory>::default();
    let clock = Arc::new(Fixed(AtomicI64::new(0)));
    let witness = Witness::open(
        witness_key(),
        [log_key().verifier_key()],
        store.clone(),
        clock.clone(),
    )
    .expect("it opens");
    assert!(matches!(witness.add_checkpoint(&body(0, 5)), Err(Refusal::Clock)));
    assert_eq!(*store.saves.lock(), 0);
    clock.0.store(NOW_S, Ordering::Relaxed);
    assert_eq!(status(witness.add_checkpoint(&body(0, 5))), 200);
}

#[test]
fn what_is_damaged_or_another_witness_is_never_gone_on_from() {
    let store = Arc::<Memory>::default();
    witness(&store).add_checkpoint(&body(0, 5)).expect("cosigned");
    let good = store.kept.lock().get(ORIGIN).cloned().expect("kept");
    let open = |key: CosigningKey| {
        let clock = Arc::new(Fixed(AtomicI64::new(NOW_S)));
        Witness::open(key, [log_key().verifier_key()], store.clone(), clock).map(|_| ())
    };
    let other = CosigningKey::from_seed("witness.example/w1", &[3; 32]).expect("a name");
    assert!(matches!(open(other), Err(WitnessError::Damaged { .. })));
    for at in [0, 20, good.len() / 2, good.len() - 3] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        store.kept.lock().insert(ORIGIN.to_owned(), bad);
        // A flip in the log's own line is not ours to judge.
        let opened = open(witness_key());
        let says = Note::parse(&store.kept.lock()[ORIGIN])
            .is_ok_and(|note| note.verify([&witness_key().verifier_key()]).is_ok());
        assert_eq!(opened.is_ok(), says, "byte {at}");
    }
    store.kept.lock().insert(ORIGIN.to_owned(), Vec::new());
    assert!(matches!(open(witness_key()), Err(WitnessError::Damaged { .. })));
    let none: [VerifierKey; 0] = [];
    let clock = Arc::new(Fixed(AtomicI64::new(NOW_S)));
    assert!(matches!(
        Witness::open(witness_key(), none, store, clock).map(|_| ()),
        Err(WitnessError::Logs)
    ));
}
