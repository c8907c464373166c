//! Rotations that hold, that are forged, and what a checkpoint must carry above and below one.

use super::*;
use crate::canonical::Canonical;
use crate::checkpoint::Checkpoint;
use crate::entry::{NewEvent, Placement, encode};
use crate::hash::Hash;
use crate::note::SigningKey;
use crate::time::Timestamp;
use serde_json::json;

const ORIGIN: &str = "log.example/main";

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, &[seed; 32]).expect("a name")
}

fn log_key(seed: u8) -> SigningKey {
    key(ORIGIN, seed)
}

fn recovery() -> SigningKey {
    key(&recovery_name(ORIGIN), 99)
}

fn history() -> KeyHistory {
    let payload = json!({
        "origin": ORIGIN,
        "log_keys": [log_key(1).verifier_key().to_string()],
        "receipt_keys": [key("log.example/main/receipt", 2).verifier_key().to_string()],
        "recovery_key": recovery().verifier_key().to_string(),
    });
    KeyHistory::begin(payload.to_string().as_bytes())
}

fn rotated(position: u64, said: &KeyRotated) -> Vec<u8> {
    let event = NewEvent {
        aggregate_type: "ledger".into(),
        aggregate_id: "main".into(),
        event_type: KEY_ROTATED.into(),
        event_version: "1.0".into(),
        payload: Canonical::from_serialize(said).expect("canonical"),
        metadata: Canonical::of(&json!({"actor": "system:operator"})).expect("canonical"),
        salt: None,
    };
    let placement = Placement {
        position: Position(position),
        recorded_at: Timestamp::from_millis(1_779_000_000_000).expect("in range"),
        sequence: 3,
        salt: [7; 16],
    };
    let mut bytes = Vec::new();
    encode(&mut bytes, &placement, &event).expect("fits");
    bytes
}

fn said(position: u64, old: &SigningKey, new: &SigningKey, voucher: &SigningKey) -> KeyRotated {
    let vkey = new.verifier_key().to_string();
    let note = sign_rotation(ORIGIN, Role::Log, &vkey, Position(position), voucher, Some(new));
    KeyRotated {
        role: Role::Log,
        old: Some(old.verifier_key().to_string()),
        new: vkey,
        reason: RotationReason::Scheduled,
        note: note.expect("signed"),
    }
}

fn take(history: &mut KeyHistory, bytes: &[u8]) -> Result<Rotation, String> {
    history.take(&Entry::decode(bytes).expect("an entry")).cloned()
}

fn signed(size: u64, signers: &[&SigningKey]) -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(ORIGIN, TreeSize(size), Hash([5; 32])).expect("valid");
    let signers: Vec<&dyn Signer> = signers.iter().map(|key| *key as &dyn Signer).collect();
    SignedCheckpoint::sign(checkpoint, &signers).expect("signed")
}

#[test]
fn the_text_of_a_rotation_is_what_the_format_says() {
    let text = rotation_text(ORIGIN, Role::Log, "NEW", Position(7));
    assert_eq!(text, "daybook/key/v1\nlog.example/main\nlog\nNEW\n7\n");
}

#[test]
fn the_old_key_and_the_new_one_together_replace_the_old_one() {
    let mut history = history();
    let (old, new) = (log_key(1), log_key(3));
    let rotation = take(&mut history, &rotated(9, &said(9, &old, &new, &old))).expect("it holds");
    assert_eq!(
        (rotation.by, rotation.voucher),
        (VouchedBy::Old, old.verifier_key())
    );
    assert_eq!(history.key_at(Role::Log, TreeSize(9)), Some(&old.verifier_key()));
    assert_eq!(history.key_at(Role::Log, TreeSize(10)), Some(&new.verifier_key()));
    let third = log_key(4);
    assert!(
        take(&mut history, &rotated(12, &said(12, &old, &third, &old))).is_err(),
        "the old one is out of force"
    );
    assert!(take(&mut history, &rotated(12, &said(12, &new, &third, &new))).is_ok());
}

#[test]
fn the_recovery_key_stands_in_for_a_lost_one() {
    let mut history = history();
    let (old, new) = (log_key(1), log_key(3));
    let rotation = take(&mut history, &rotated(9, &said(9, &old, &new, &recovery()))).expect("it holds");
    assert_eq!(
        (rotation.by, rotation.voucher),
        (VouchedBy::Recovery, recovery().verifier_key())
    );
}

fn recovery_rotated(position: u64, old: &SigningKey, new: &SigningKey, voucher: &SigningKey) -> Vec<u8> {
    let vkey = new.verifier_key().to_string();
    let note = sign_rotation(
        ORIGIN,
        Role::Recovery,
        &vkey,
        Position(position),
        voucher,
        Some(new),
    );
    let said = KeyRotated {
        role: Role::Recovery,
        old: Some(old.verifier_key().to_string()),
        new: vkey,
        reason: RotationReason::Scheduled,
        note: note.expect("signed"),
    };
    rotated(position, &said)
}

#[test]
fn a_recovery_key_is_replaced_by_its_own_word_alone_and_the_new_one_vouches_from_there_on() {
    let (first, second) = (recovery(), key(&recovery_name(ORIGIN), 98));
    let (old, new) = (log_key(1), log_key(3));
    assert!(
        take(&mut history(), &recovery_rotated(9, &first, &second, &old)).is_err(),
        "the log key is no voucher"
    );
    assert!(
        take(
            &mut history(),
            &recovery_rotated(9, &second, &key(&recovery_name(ORIGIN), 97), &second)
        )
        .is_err(),
        "it is not in force"
    );
    let mut history = history();
    let rotation = take(&mut history, &recovery_rotated(9, &first, &second, &first)).expect("it holds");
    assert_eq!((rotation.role, rotation.by), (Role::Recovery, VouchedBy::Old));
    assert_eq!(history.first_recovery(), Some(&first.verifier_key()));
    assert_eq!(history.recovery(), Some(&second.verifier_key()));
    assert_eq!(
        history.key_at(Role::Recovery, TreeSize(9)),
        Some(&first.verifier_key())
    );
    let by = |history: &mut KeyHistory, voucher: &SigningKey| {
        take(history, &rotated(12, &said(12, &old, &new, voucher)))
    };
    assert!(by(&mut history.clone(), &first).is_err(), "it is out of force");
    assert_eq!(
        by(&mut history, &second).expect("it holds").by,
        VouchedBy::Recovery
    );
    // It signs no checkpoints.
    assert_eq!(check_handover(&signed(10, &[&old]), history.rotations()), Ok(()));
}

#[test]
fn a_forged_rotation_is_refused() {
    let (old, new, thief) = (log_key(1), log_key(3), log_key(66));
    let good = said(9, &old, &new, &old);
    assert!(take(&mut history(), &rotated(9, &good)).is_ok());
    let by_new_alone = Note::sign(&rotation_text(ORIGIN, Role::Log, &good.new, Position(9)), &[&new]);
    let by_old_alone = Note::sign(&rotation_text(ORIGIN, Role::Log, &good.new, Position(9)), &[&old]);
    let with = |change: &dyn Fn(&mut KeyRotated)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    for (what, position, bad) in [
        ("by a stranger", 9, said(9, &old, &new, &thief)),
        ("at another position", 10, good.clone()),
        (
            "by the new key alone",
            9,
            with(&|it| it.note = by_new_alone.clone().expect("a note").encode()),
        ),
        (
            "by the old key alone",
            9,
            with(&|it| it.note = by_old_alone.clone().expect("a note").encode()),
        ),
        ("without a note", 9, with(&|it| it.note = String::new())),
        (
            "of another new key",
            9,
            with(&|it| it.new = thief.verifier_key().to_string()),
        ),
        (
            "of a key that was never in force",
            9,
            said(9, &thief, &new, &thief),
        ),
        ("for another role", 9, with(&|it| it.role = Role::Receipt)),
        ("to itself", 9, said(9, &old, &old, &old)),
    ] {
        let mut history = history();
        assert!(take(&mut history, &rotated(position, &bad)).is_err(), "{what}");
        assert_eq!(
            history.key_at(Role::Log, TreeSize(99)),
            Some(&old.verifier_key()),
            "{what}"
        );
    }
}

#[test]
fn a_checkpoint_carries_the_key_in_force_and_both_at_the_handover() {
    let (old, new) = (log_key(1), log_key(3));
    let mut history = history();
    take(&mut history, &rotated(9, &said(9, &old, &new, &old))).expect("it holds");
    let check = |size, keys: &[&SigningKey]| check_handover(&signed(size, keys), history.rotations());
    assert_eq!(check(9, &[&old]), Ok(()));
    assert_eq!(check(10, &[&old, &new]), Ok(()));
    assert_eq!(check(11, &[&new]), Ok(()));
    assert_eq!(check(11, &[&new, &old]), Ok(()));
    for alone in [&old, &new] {
        let refused = Err(HandoverError::NotByBoth {
            position: Position(9),
        });
        assert_eq!(check(10, &[alone]), refused);
    }
    assert!(matches!(check(11, &[&old]), Err(HandoverError::NotByNew { .. })));
    assert!(matches!(check(9, &[&new]), Err(HandoverError::TooEarly { .. })));
}

#[test]
fn after_a_recovery_the_lost_key_signs_nothing_any_more() {
    let (old, new, recovery) = (log_key(1), log_key(3), recovery());
    let mut history = history();
    take(&mut history, &rotated(9, &said(9, &old, &new, &recovery))).expect("it holds");
    let check = |size, keys: &[&SigningKey]| check_handover(&signed(size, keys), history.rotations());
    assert_eq!(check(8, &[&old]), Ok(()));
    // A day that was closed below the rotation, when the old key was gone already.
    assert_eq!(check(8, &[&recovery, &new]), Ok(()));
    assert_eq!(check(10, &[&recovery, &new]), Ok(()));
    assert_eq!(check(11, &[&new]), Ok(()));
    assert!(check(8, &[&new]).is_err(), "without the recovery key");
    assert!(
        check(10, &[&old, &new]).is_err(),
        "the stolen key and the new one"
    );
    assert!(check(11, &[&old]).is_err());
}
