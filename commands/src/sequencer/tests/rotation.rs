//! Handing over to another key, with a store and a guard that fail between any two steps.

use super::*;
use crate::sequencer::owner::block_on;
use domain::checkpoint::SignedCheckpoint;
use domain::note::Signer;
use domain::rotation::{
    KEY_ROTATED, KeyHistory, KeyRotated, Role, RotationReason, check_handover, sign_rotation,
};

/// A guard that keeps nothing while it is out of order.
struct Guard {
    store: Arc<MemoryStore>,
    broken: AtomicBool,
}

impl CheckpointStore for Guard {
    fn latest(&self) -> Result<Option<Vec<u8>>, String> {
        self.store.latest()
    }

    fn swap(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), SwapError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(SwapError::Failed("no space left on device".into()));
        }
        self.store.swap(expected, new)
    }
}

fn next(world: &World, new: &Arc<SigningKey>) -> NextKey {
    let line = |key: &Arc<SigningKey>| (key.name().to_owned(), key.key_id());
    NextKey {
        vkey: new.verifier_key().to_string(),
        both: vec![world.key.clone(), new.clone()],
        after: vec![new.clone()],
        vouchers: vec![line(&world.key), line(new)],
    }
}

fn start(
    world: &World,
    guard: &Arc<Guard>,
    next: Option<NextKey>,
) -> Result<(Sequencer, Option<Settled>), StartError> {
    let ports = Ports {
        log: world.failing.clone(),
        tiles: world.log.clone(),
        checkpoints: guard.clone(),
        derived: world.store.clone(),
        seen: world.raw.clone(),
        channels: Arc::new(crate::ingest::channels::AutoChannels {
            origin: ORIGIN.into(),
            keys: Arc::new(NoKeys),
        }),
        signer: world.key.clone(),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    };
    let settings = Settings {
        origin: ORIGIN.into(),
        build_date: Date::parse("2026-01-01").expect("a day"),
        heads: HeadStore::new(world.heads.path()),
        snapshot_entries: SNAPSHOT_ENTRIES,
        beside_entries: BESIDE_ENTRIES,
    };
    let keys = Keys {
        beside: Vec::new(),
        next,
    };
    Sequencer::start_with(ports, settings, world.registry.clone(), keys)
}

fn order(world: &World, new: &Arc<SigningKey>) -> RotationOrder {
    let (old, key) = (world.key.clone(), new.clone());
    RotationOrder {
        make: Box::new(move |position| {
            let vkey = key.verifier_key().to_string();
            let note = sign_rotation(ORIGIN, Role::Log, &vkey, position, &*old, Some(&*key));
            let said = KeyRotated {
                role: Role::Log,
                old: Some(old.verifier_key().to_string()),
                new: vkey,
                reason: RotationReason::Scheduled,
                note: note.map_err(|error| error.to_string())?,
            };
            let payload = serde_json::to_value(&said).map_err(|error| error.to_string())?;
            Ok(event("ledger", "main", KEY_ROTATED, payload))
        }),
        next: next(world, new),
    }
}

/// A world whose sequencer is stopped, behind a guard that can fail.
async fn stopped() -> (World, Arc<Guard>, Arc<SigningKey>) {
    let world = World::new().await;
    world.sequencer.stop().await;
    let guard = Arc::new(Guard {
        store: world.store.clone(),
        broken: AtomicBool::new(false),
    });
    let new = Arc::new(SigningKey::from_seed(ORIGIN, &[8; 32]).expect("a key"));
    (world, guard, new)
}

fn latest(guard: &Guard) -> SignedCheckpoint {
    let note = guard.latest().expect("readable").expect("there");
    SignedCheckpoint::parse(&note).expect("a checkpoint")
}

/// Everything that was signed and kept agrees with the rotation that the entries tell.
fn holds(world: &World, guard: &Guard, position: Position) {
    let first = json!({"origin": ORIGIN, "log_keys": [world.key.verifier_key().to_string()]});
    let mut history = KeyHistory::begin(first.to_string().as_bytes());
    for bytes in read_all(&world.log) {
        let entry = Entry::decode(&bytes).expect("an entry");
        if entry.event_type == KEY_ROTATED {
            assert_eq!(entry.position, position);
            history.take(&entry).expect("it holds");
        }
    }
    assert_eq!(history.rotations().len(), 1);
    assert_eq!(check_handover(&latest(guard), history.rotations()), Ok(()));
    let proof = HeadStore::new(world.heads.path())
        .rotation(position)
        .expect("a proof");
    let proof = TlogProof::parse(&proof).expect("a proof");
    assert_eq!(proof.size(), position.size_through());
    assert_eq!(check_handover(&proof.checkpoint, history.rotations()), Ok(()));
}

#[tokio::test]
async fn the_first_checkpoint_carries_both_keys_and_the_next_only_the_new_one() {
    let (world, guard, new) = stopped().await;
    let (sequencer, _) = start(&world, &guard, None).expect("starts");
    let recorded = sequencer.rotate(order(&world, &new)).await.expect("recorded");
    let position = Position(recorded.positions.start);
    holds(&world, &guard, position);
    sequencer
        .record(group(vec![event(
            "site",
            &id("site", 2),
            "SiteCreated",
            json!({"name": sealed(), "vertical": "haccp", "timezone": "Europe/Berlin", "address": null}),
        )]))
        .await
        .expect("recorded");
    sequencer.stop().await;
    holds(&world, &guard, position);
    assert_eq!(latest(&guard).note().signatures().len(), 1);
    assert!(latest(&guard).verify(ORIGIN, [&new.verifier_key()]).is_ok());
}

#[tokio::test]
async fn an_entry_without_its_checkpoint_is_signed_by_both_at_the_next_start_and_by_no_other() {
    let (world, guard, new) = stopped().await;
    let (sequencer, _) = start(&world, &guard, None).expect("starts");
    guard.broken.store(true, Ordering::SeqCst);
    assert!(
        sequencer.rotate(order(&world, &new)).await.is_err(),
        "recorded, and not signed"
    );
    sequencer.stop().await;
    let before = latest(&guard).checkpoint().size();
    let entries = read_all(&world.log);
    let position = Entry::decode(entries.last().expect("some"))
        .expect("an entry")
        .position;
    assert!(!before.contains(position), "nothing was signed beyond it");
    guard.broken.store(false, Ordering::SeqCst);
    // With the wrong voucher at hand nothing starts and nothing is signed.
    let strange = Arc::new(SigningKey::from_seed("daybook.test/log/recovery", &[6; 32]).expect("a key"));
    let mut other = next(&world, &new);
    other.vouchers[0] = (strange.name().to_owned(), strange.key_id());
    assert!(start(&world, &guard, Some(other)).is_err_and(|error| error.to_string().contains("key recover")));
    assert_eq!(latest(&guard).checkpoint().size(), before);
    let (sequencer, settled) = start(&world, &guard, Some(next(&world, &new))).expect("starts");
    assert_eq!(settled, Some(Settled::InForce(position)));
    holds(&world, &guard, position);
    sequencer.stop().await;
    holds(&world, &guard, position);
}

#[tokio::test]
async fn a_rotation_that_was_never_recorded_changes_nothing() {
    let (world, guard, new) = stopped().await;
    let (sequencer, _) = start(&world, &guard, None).expect("starts");
    world.failing.mode.store(1, Ordering::SeqCst);
    assert!(sequencer.rotate(order(&world, &new)).await.is_err());
    world.failing.mode.store(0, Ordering::SeqCst);
    while sequencer.status().writing != Writing::Yes {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let more = event(
        "site",
        &id("site", 2),
        "SiteCreated",
        json!({"name": sealed(), "vertical": "haccp", "timezone": "Europe/Berlin", "address": null}),
    );
    sequencer.record(group(vec![more])).await.expect("recorded");
    sequencer.stop().await;
    assert_eq!(latest(&guard).note().signatures().len(), 1);
    assert!(latest(&guard).verify(ORIGIN, [&world.key.verifier_key()]).is_ok());
    let (sequencer, settled) = start(&world, &guard, Some(next(&world, &new))).expect("starts");
    assert_eq!(settled, Some(Settled::NotRecorded));
    sequencer.stop().await;
}

#[tokio::test]
async fn a_rotation_that_was_written_and_not_acknowledged_is_made_good_without_a_restart() {
    let (world, guard, new) = stopped().await;
    let (sequencer, _) = start(&world, &guard, None).expect("starts");
    let size = block_on(async { world.log.size() });
    world.failing.mode.store(2, Ordering::SeqCst);
    assert!(
        sequencer.rotate(order(&world, &new)).await.is_err(),
        "its outcome is not known"
    );
    while sequencer.status().writing != Writing::Yes {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sequencer.stop().await;
    let rotated = |bytes: &Vec<u8>| Entry::decode(bytes).is_ok_and(|entry| entry.event_type == KEY_ROTATED);
    let at = read_all(&world.log)
        .iter()
        .position(rotated)
        .expect("it was written");
    assert!(at as u64 >= size.get());
    holds(&world, &guard, Position(at as u64));
}
