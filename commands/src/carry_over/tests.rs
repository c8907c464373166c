//! Values that are sealed anew, and the file.

use super::*;
use crate::keys::FileKeyStore;
use domain::canonical::Canonical;
use domain::continues::Continues;
use domain::entry::{Entry, NewEvent, Placement, encode};
use domain::hash::{base64url, leaf_hash};
use domain::ports::{Entropy, KeyStore};
use domain::sealed::{Place, SealPlace, Sealed, SealedField, open, seal};
use domain::{Hash, Timestamp, TreeSize};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const OLD: &str = "log.example/old";
const NEW: &str = "log.example/new";
const ACCOUNT: &str = "acc_a";
const USER: &str = "usr_a";
const OLD_SALT: [u8; 16] = [3; 16];

/// Bytes that differ with every call.
#[derive(Default)]
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        out.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

struct World {
    _dir: tempfile::TempDir,
    old: Arc<FileKeyStore>,
    new: Arc<FileKeyStore>,
    resealer: Resealer,
    position: u64,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let entropy: Arc<dyn Entropy> = Arc::new(Counting::default());
        let store = |name: &str| {
            let keys = FileKeyStore::open(&dir.path().join(name), entropy.clone());
            Arc::new(keys.expect("opens"))
        };
        let (old, new) = (store("old"), store("new"));
        let side = |origin: &str, keys: &Arc<FileKeyStore>| Side {
            origin: origin.to_owned(),
            keys: keys.clone(),
        };
        Self {
            resealer: Resealer::new(side(OLD, &old), side(NEW, &new), entropy),
            _dir: dir,
            old,
            new,
            position: 0,
        }
    }

    /// A text as the old ledger has it, where it would stand.
    fn old_text(&self, stream: (&str, &str, u64), pointer: &str, text: &str) -> Sealed {
        let subject = if stream.0 == "user" { stream.1 } else { ACCOUNT };
        let id = self.old.create(subject).expect("a key");
        let salt = base64url(&OLD_SALT);
        let place = SealPlace {
            aggregate_type: stream.0,
            aggregate_id: stream.1,
            sequence: stream.2,
            pointer,
            salt: &salt,
        };
        let key = self.old.get(&id).expect("there");
        seal(OLD, &place, &json!(text), &key, [7; 24]).expect("sealed")
    }

    fn carry(
        &mut self,
        stream: (&str, &str, u64),
        event_type: &str,
        payload: &Value,
        more: &Value,
    ) -> Result<(NewEvent, u64), CarryOverError> {
        let mut metadata = json!({"account": ACCOUNT, "actor": "usr_z", "reason": {"code": "stricter"},
            "owner": stream.1, "idempotency": "once", "causation_id": 1});
        for (name, value) in more.as_object().expect("members") {
            metadata[name] = value.clone();
        }
        let event = NewEvent {
            aggregate_type: stream.0.to_owned().into(),
            aggregate_id: stream.1.to_owned(),
            event_type: event_type.to_owned().into(),
            event_version: "1.0".into(),
            payload: Canonical::of(payload).expect("canonical"),
            metadata: Canonical::of(&metadata).expect("canonical"),
            salt: Some(OLD_SALT),
        };
        self.position += 1;
        let placement = Placement {
            position: Position(self.position),
            recorded_at: Timestamp::from_micros(1_800_000_000_000_000).expect("a time"),
            sequence: stream.2,
            salt: OLD_SALT,
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &placement, &event).expect("encoded");
        let entry = Entry::decode(&bytes).expect("an entry");
        self.resealer.event(&entry, leaf_hash(&bytes))
    }

    fn opened(&self, event: &NewEvent, sequence: u64, pointer: &str) -> Value {
        let payload: Value = serde_json::from_slice(event.payload.as_bytes()).expect("JSON");
        let value = payload.pointer(pointer).expect("a value").clone();
        let salt = base64url(&event.salt.expect("a salt"));
        let place = SealPlace {
            aggregate_type: &event.aggregate_type,
            aggregate_id: &event.aggregate_id,
            sequence,
            pointer,
            salt: &salt,
        };
        match serde_json::from_value::<SealedField>(value.clone()) {
            Ok(field) => {
                let key = self.new.get(&field.sealed.key).expect("a new key");
                field.open(NEW, &event.aggregate_type, &event.aggregate_id, &key)
            }
            Err(_) => {
                let sealed: Sealed = serde_json::from_value(value).expect("sealed");
                let key = self.new.get(&sealed.sealed.key).expect("a new key");
                open(NEW, &place, &sealed, &key)
            }
        }
        .expect("it opens")
    }

    fn account(&mut self) {
        let name = self.old_text(("account", ACCOUNT, 1), "/name", "Kitchen");
        self.carry(
            ("account", ACCOUNT, 1),
            "AccountOpened",
            &json!({"name": name}),
            &json!({}),
        )
        .expect("carried");
    }

    fn user(&mut self) -> NewEvent {
        let stream = ("user", USER, 1);
        let payload = json!({
            "email": self.old_text(stream, "/email", "a@example.eu"),
            "email_index": "index-of-a",
            "name": self.old_text(stream, "/name", "Ada"),
            "role": "owner",
        });
        let carried = self.carry(stream, "UserRegistered", &payload, &json!({}));
        carried.expect("carried").0
    }

    /// A change of the address, at a sequence that lies behind sign-ins.
    fn change(&mut self) -> NewEvent {
        let (first, stream) = (("user", USER, 1), ("user", USER, 7));
        let old = self.old_text(first, "/email", "a@example.eu").at(Place {
            pointer: "/email".to_owned(),
            salt: base64url(&OLD_SALT),
            sequence: 1,
        });
        let payload = json!({
            "changes": {
                "email": {"old": old, "new": self.old_text(stream, "/changes/email/new", "b@example.eu")},
                "email_index": {"old": "index-of-a", "new": "index-of-b"},
            },
            "reason_text": self.old_text(stream, "/reason_text", "married"),
        });
        let carried = self.carry(stream, "UserChanged", &payload, &json!({}));
        let (event, sequence) = carried.expect("carried");
        assert_eq!(sequence, 2, "sign-ins are left behind");
        event
    }
}

#[test]
fn values_open_in_the_new_ledger_with_new_keys_at_their_new_places() {
    let mut world = World::new();
    world.account();
    let user = world.user();
    assert_eq!(world.opened(&user, 1, "/email"), "a@example.eu");
    let changed = world.change();
    assert_eq!(world.opened(&changed, 2, "/changes/email/new"), "b@example.eu");
    assert_eq!(world.opened(&changed, 2, "/changes/email/old"), "a@example.eu");
    assert_eq!(world.opened(&changed, 2, "/reason_text"), "married");
    let payload: Value = serde_json::from_slice(changed.payload.as_bytes()).expect("JSON");
    assert_eq!(payload["changes"]["email_index"]["new"], "index-of-b");
    assert_ne!(world.old.key_of(USER), world.new.key_of(USER), "another key");
    assert_eq!(world.resealer.erased(), 0);
}

#[test]
fn what_was_erased_stays_erased_and_is_not_found_by_its_index() {
    let mut world = World::new();
    world.account();
    let key = world.old.create(USER).expect("a key");
    // Sealed first, erased then.
    let stream = ("user", USER, 1);
    let payload = json!({
        "email": world.old_text(stream, "/email", "a@example.eu"),
        "email_index": "index-of-a",
        "name": null,
        "role": "owner",
    });
    world.old.destroy(&key).expect("erased");
    let carried = world.carry(stream, "UserRegistered", &payload, &json!({}));
    let (event, _) = carried.expect("carried");
    assert_eq!(world.opened(&event, 1, "/email"), Value::Null);
    let payload: Value = serde_json::from_slice(event.payload.as_bytes()).expect("JSON");
    assert_ne!(payload["email_index"], "index-of-a");
    assert_eq!(world.new.key_of(USER), None, "nobody gets a key by being erased");
    assert_eq!(world.resealer.erased(), 1);
}

#[test]
fn a_value_that_does_not_open_though_its_key_is_there_stops_everything() {
    let mut world = World::new();
    let elsewhere = world.old_text(("account", ACCOUNT, 1), "/other", "Kitchen");
    let carried = world.carry(
        ("account", ACCOUNT, 1),
        "AccountOpened",
        &json!({"name": elsewhere}),
        &json!({}),
    );
    let error = carried.expect_err("moved");
    assert!(error.to_string().contains("/name"), "{error}");
}

#[test]
fn an_event_says_where_it_comes_from_and_keeps_why_and_for_whom() {
    let mut world = World::new();
    world.account();
    let name = world.old_text(("site", "site_a", 1), "/name", "Cellar");
    let payload = json!({"address": null, "name": name, "timezone": "UTC", "vertical": "haccp"});
    let first = "2026-01-02T03:04:05.000000Z";
    let earlier = json!({
        "actor": ACTOR, "on_behalf_of": "usr_first",
        "carried_over": {"leaf_hash": Hash([1; 32]), "position": 9, "recorded_at": first},
    });
    let carried = world.carry(("site", "site_a", 1), "SiteCreated", &payload, &earlier);
    let (event, _) = carried.expect("carried");
    let metadata: Value = serde_json::from_slice(event.metadata.as_bytes()).expect("JSON");
    assert_eq!(metadata["on_behalf_of"], "usr_first", "whoever did it at first");
    assert_eq!(
        metadata["carried_over"]["recorded_at"], first,
        "when it was at first"
    );
    assert_eq!(
        metadata["carried_over"]["position"], 2,
        "of the one that is continued"
    );
    assert_eq!(metadata["reason"], json!({"code": "stricter"}));
    for gone in ["idempotency", "causation_id", "request_id", "token"] {
        assert_eq!(metadata[gone], Value::Null, "{gone}");
    }
}

#[test]
fn an_event_that_does_not_follow_is_refused_before_there_is_a_ledger() {
    let mut world = World::new();
    let name = world.old_text(("site", "site_a", 1), "/name", "Cellar");
    let payload = json!({"address": null, "name": name, "timezone": "UTC", "vertical": "haccp"});
    let carried = world.carry(("site", "site_a", 1), "SiteCreated", &payload, &json!({}));
    let error = carried.expect_err("of an account that is not there");
    assert!(
        error.to_string().contains("as it would be carried over"),
        "{error}"
    );
}

fn continues() -> Continues {
    Continues {
        origin: OLD.to_owned(),
        size: TreeSize(4),
        root: Hash([2; 32]),
        reason: "log_key_lost".to_owned(),
    }
}

fn written(dir: &Path) -> Vec<NewEvent> {
    let mut world = World::new();
    world.account();
    let events = vec![world.user(), world.change()];
    let each = events.iter().enumerate();
    let each = each.map(|(n, event)| Ok((event.clone(), n as u64 + 1)));
    write(dir, NEW, &continues(), 2, each).expect("written");
    events
}

#[test]
fn a_file_gives_the_events_that_it_was_written_of_until_it_is_done() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(CarryOver::open(dir.path(), NEW).expect("none").is_none());
    let events = written(dir.path());
    let file = CarryOver::open(dir.path(), NEW).expect("whole").expect("there");
    assert_eq!((file.entries(), file.continues()), (2, &continues()));
    let read: Vec<_> = file
        .events()
        .expect("opens")
        .map(|it| it.expect("an event"))
        .collect();
    for ((event, sequence), (expected, n)) in read.iter().zip(events.iter().zip(1..)) {
        assert_eq!(
            (&event.payload, &event.metadata),
            (&expected.payload, &expected.metadata)
        );
        assert_eq!((event.salt, *sequence), (expected.salt, n));
    }
    file.done().expect("gone");
    assert!(CarryOver::open(dir.path(), NEW).expect("none").is_none());
}

#[test]
fn a_file_that_is_not_whole_open_to_others_or_of_another_ledger_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path());
    let path = dir.path().join(FILE);
    let whole = std::fs::read(&path).expect("readable");
    let refused = |origin: &str| {
        CarryOver::open(dir.path(), origin)
            .expect_err("refused")
            .to_string()
    };
    assert!(refused("log.example/third").contains("it is for"));
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|b| *b == b'\n')
        .expect("lines");
    for (cut, says) in [(last + 1, "1 of 2"), (whole.len() - 1, "no end"), (0, "empty")] {
        std::fs::write(&path, &whole[..cut]).expect("writable");
        assert!(refused(NEW).contains(says), "{says}: {}", refused(NEW));
    }
    std::fs::write(&path, &whole).expect("writable");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
    assert!(refused(NEW).contains("chmod"), "{}", refused(NEW));
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path());
    let fails = std::iter::once(Err(CarryOverError::NoKey("gone".to_owned())));
    write(dir.path(), NEW, &continues(), 1, fails).expect_err("it fails");
    let file = CarryOver::open(dir.path(), NEW).expect("whole").expect("there");
    assert_eq!(file.entries(), 2);
}
