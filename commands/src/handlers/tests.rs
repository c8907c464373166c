//! Management over the real sequencer: what is recorded, what is refused, and what never shows.

use super::testing::{ORIGIN, World, reason};
use super::{Actor, ManageError, Management, NewUser, UserPatch};
use crate::record::{Recorder, StreamIndex};
use crate::sequencer::{EventGroup, GroupAnswer, Idempotency, RecordError};
use crate::tokens::{AuthError, parse};
use domain::aggregate::account::AccountCommand;
use domain::aggregate::channel::{ChannelPatch, Limits};
use domain::aggregate::device::DevicePatch;
use domain::aggregate::site::SitePatch;
use domain::aggregate::{Aggregate, Device, Stamp};
use domain::entry::Entry;
use domain::event::payload::{ParkedMeasurement, UplinkParked};
use domain::event::{Event, Reason};
use domain::hash::sha256;
use domain::ports::{BoxFuture, Clock, KeyStore};
use domain::registry::{NotAdmitted, Registry};
use domain::rejection::Fault;
use domain::sealed::SealedField;
use domain::{Position, Timestamp};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;

fn refused<T: std::fmt::Debug>(result: Result<T, ManageError>) -> (&'static str, Fault) {
    match result.expect_err("must be refused") {
        ManageError::Rejected(rejection) => (rejection.code, rejection.fault),
        other => panic!("{other:?}"),
    }
}

fn key(text: &str, body: &str) -> Option<Idempotency> {
    Some(Idempotency {
        key: sha256(text.as_bytes()),
        request: sha256(body.as_bytes()),
    })
}

#[tokio::test]
async fn the_first_account_begins_with_its_owner_and_a_token_in_one_commit() {
    let world = World::new().await;
    let recorded = world.recorded(0..3).await;
    let types: Vec<&str> = recorded
        .iter()
        .map(|(event_type, ..)| event_type.as_str())
        .collect();
    assert_eq!(types, ["AccountOpened", "UserRegistered", "TokenIssued"]);
    let (account, owner) = (&world.owner.account, &world.owner.id);
    for (n, (_, _, metadata)) in recorded.iter().enumerate() {
        assert_eq!(metadata["account"], **account);
        assert_eq!(metadata["actor"], "system:setup");
        assert_eq!(metadata["owner"], **account, "{n}");
        assert_eq!(metadata["reason"]["code"], "setup");
    }
    let again = world.management.bootstrap("Second", "b@example.org", None).await;
    assert_eq!(refused(again), ("already_exists", Fault::Conflict));
    let identity = world
        .authenticator
        .authenticate(&world.registry, &world.owner_token, world.clock.now())
        .await
        .expect("let in");
    assert_eq!(
        (identity.owner.as_str(), identity.role.as_deref()),
        (owner.as_str(), Some("owner"))
    );
}

#[tokio::test]
async fn no_name_address_note_or_token_is_ever_in_the_ledger_in_the_clear() {
    let world = World::new().await;
    let site = world.site().await;
    let mut device = world.new_device(&site, "fridge01");
    device.notes = Some("ring at Lovelace's".into());
    let because = Reason {
        code: "repair".into(),
        text: Some("Lovelace complained".into()),
    };
    let made = world
        .management
        .create_device(&world.owner, &because, device)
        .await
        .expect("created");
    let token = made.token.as_ref().expect("shown once").text().to_owned();
    let patch = DevicePatch {
        name: Some("Freezer of Lovelace".into()),
        ..DevicePatch::default()
    };
    world
        .management
        .patch_device(&world.owner, &because, &made.id, None, patch)
        .await
        .expect("changed");
    let secret = token.rsplit('_').next().expect("a secret").to_owned();
    for bytes in world.entries().await {
        let text = String::from_utf8(bytes).expect("UTF-8");
        for hidden in [
            "Ada",
            "ada@",
            "xample",
            "Lovelace",
            "Kitchen",
            "Main street",
            "Fridge",
            "ring",
            &secret,
        ] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
}

#[tokio::test]
async fn sealed_values_open_with_the_right_keys_also_after_they_were_replaced() {
    let world = World::new().await;
    let site = world.site().await;
    let device = world.device(&site, "fridge01").await;
    let because = Reason {
        code: "renamed".into(),
        text: Some("new sticker".into()),
    };
    let patch = DevicePatch {
        name: Some("Freezer".into()),
        ..DevicePatch::default()
    };
    let changed = world
        .management
        .patch_device(&world.owner, &because, &device.id, None, patch)
        .await
        .expect("changed");
    assert_eq!(changed.sequence, 2);
    let opener = world.management.opener();
    let (_, payload, metadata) = world.recorded(changed.positions.clone()).await.remove(0);
    let old: SealedField = serde_json::from_value(payload["changes"]["name"]["old"].clone()).expect("old");
    assert_eq!(
        opener.open("device", &device.id, &old).as_deref(),
        Some("Fridge by the door")
    );
    assert_eq!(opener.open("site", &device.id, &old), None);
    assert_eq!(metadata["reason"], json!({"code": "renamed"}));
    assert!(payload["reason_text"]["sealed"].is_object());
    // What the registry holds opens too, with the account's key; a person's with their own.
    let (name, email, account, user) = {
        let registry = world.registry.read();
        let device = registry.device(&world.owner.account, &device.id).expect("there");
        let user = registry
            .user(&world.owner.account, &world.owner.id)
            .expect("there");
        (
            device.state.name.clone().expect("sealed"),
            user.state.email.clone().expect("sealed"),
            world.key_id(&world.owner.account),
            world.key_id(&world.owner.id),
        )
    };
    assert_eq!(
        opener.open("device", &device.id, &name).as_deref(),
        Some("Freezer")
    );
    assert_eq!(
        opener.open("user", &world.owner.id, &email).as_deref(),
        Some("ada@example.org")
    );
    assert_eq!(
        (name.sealed.key, email.sealed.key.clone()),
        (account, user.clone())
    );
    assert_eq!(world.key_count(), 2);
    // Destroying a person's key erases their address and nothing else.
    world.keys.destroy(&user).expect("destroyed");
    assert_eq!(opener.open("user", &world.owner.id, &email), None);
    assert_eq!(
        opener.open("device", &device.id, &old).as_deref(),
        Some("Fridge by the door")
    );
}

#[tokio::test]
async fn a_change_that_changes_nothing_records_nothing() {
    let world = World::new().await;
    let site = world.site().await;
    let patch = SitePatch {
        name: Some("Kitchen".into()),
        address: Some(Some("Main street 1".into())),
        timezone: Some("Europe/Berlin".into()),
        vertical: Some("haccp".into()),
    };
    let size = world.entries().await.len();
    let outcome = world
        .management
        .patch_site(&world.owner, &reason(), &site, None, patch.clone())
        .await
        .expect("fine");
    assert_eq!(
        (outcome.sequence, outcome.recorded_at, outcome.positions),
        (1, None, 0..0)
    );
    assert_eq!(world.entries().await.len(), size);
    let other = SitePatch {
        name: Some("Bar".into()),
        ..patch
    };
    let outcome = world
        .management
        .patch_site(&world.owner, &reason(), &site, None, other)
        .await
        .expect("fine");
    let (_, payload, _) = world.recorded(outcome.positions).await.remove(0);
    assert_eq!(payload["changes"].as_object().map(serde_json::Map::len), Some(1));
}

#[tokio::test]
async fn if_match_is_held_against_the_streams_sequence() {
    let world = World::new().await;
    let site = world.site().await;
    let name = |name: &str| SitePatch {
        name: Some(name.into()),
        ..SitePatch::default()
    };
    let patch = |if_match, to: &str| {
        let (world, patch, site) = (&world, name(to), site.clone());
        async move {
            world
                .management
                .patch_site(&world.owner, &reason(), &site, if_match, patch)
                .await
        }
    };
    assert_eq!(
        refused(patch(Some(2), "B").await),
        ("precondition_failed", Fault::Stale)
    );
    assert_eq!(patch(Some(1), "B").await.expect("changed").sequence, 2);
    assert_eq!(
        refused(patch(Some(1), "C").await),
        ("precondition_failed", Fault::Stale)
    );
    assert_eq!(patch(None, "C").await.expect("changed").sequence, 3);
}

#[tokio::test]
async fn a_device_lives_moves_and_dies_with_its_token() {
    let world = World::new().await;
    let site = world.site().await;
    let other_site = world.site().await;
    let device = world.device(&site, "fridge01").await;
    let token = device.token.as_ref().expect("shown once").text().to_owned();
    assert!(token.starts_with("ds_live_"));
    let recorded = world.recorded(device.positions.clone()).await;
    assert_eq!(recorded[0].2["owner"], device.id);
    assert_eq!(recorded[1].2["owner"], device.id);
    assert_eq!(
        recorded[1].1["hash"].as_str().map(|hash| &hash[..7]),
        Some("$2b$04$")
    );
    let admit = || async {
        world
            .authenticator
            .authenticate(&world.registry, &token, world.clock.now())
            .await
    };
    assert_eq!(
        admit().await.map(|identity| identity.owner),
        Ok(device.id.clone())
    );
    let again = world
        .management
        .create_device(&world.owner, &reason(), world.new_device(&site, "FRIDGE01"))
        .await;
    assert_eq!(refused(again), ("local_id_taken", Fault::Conflict));
    world.clock.pass_s(60);
    let moved = world
        .management
        .move_device(&world.owner, &reason(), &device.id, None, &other_site, None)
        .await
        .expect("moved");
    let (_, payload, _) = world.recorded(moved.positions).await.remove(0);
    assert_eq!(
        (&payload["from_site"], &payload["to_site"]),
        (&json!(site), &json!(other_site))
    );
    let model = DevicePatch {
        model: Some("x".into()),
        ..DevicePatch::default()
    };
    let edited = world
        .management
        .patch_device(&world.owner, &reason(), &device.id, None, model)
        .await;
    assert_eq!(refused(edited), ("immutable_field", Fault::Invalid));
    let removed = world
        .management
        .remove_device(&world.owner, &reason(), &device.id, None)
        .await
        .expect("removed");
    let types: Vec<String> = world
        .recorded(removed.positions)
        .await
        .into_iter()
        .map(|(t, ..)| t)
        .collect();
    assert_eq!(types, ["DeviceRemoved", "TokenRevoked"]);
    assert_eq!(admit().await, Err(AuthError::NotAdmitted(NotAdmitted::Revoked)));
    let gone = world
        .management
        .remove_device(&world.owner, &reason(), &device.id, None)
        .await;
    assert_eq!(refused(gone), ("device_not_found", Fault::NotFound));
    assert!(
        world
            .management
            .create_device(&world.owner, &reason(), world.new_device(&site, "fridge01"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_rotated_token_ends_at_once_or_after_its_overlap() {
    let world = World::new().await;
    let site = world.site().await;
    let device = world.device(&site, "fridge01").await;
    let text = |outcome: &super::Outcome| outcome.token.as_ref().expect("shown once").text().to_owned();
    let first = text(&device);
    let admit = |token: String| {
        let world = &world;
        async move {
            world
                .authenticator
                .authenticate(&world.registry, &token, world.clock.now())
                .await
                .is_ok()
        }
    };
    assert!(admit(first.clone()).await);
    let rotate = |overlap| {
        world
            .management
            .rotate_device_token(&world.owner, &RETIRED, &device.id, overlap)
    };
    let second = text(&rotate(600).await.expect("rotated"));
    assert!(admit(first.clone()).await && admit(second.clone()).await);
    world.clock.pass_s(600);
    assert!(!admit(first).await && admit(second.clone()).await);
    let third = text(&rotate(0).await.expect("rotated"));
    assert!(!admit(second).await && admit(third).await);
    assert_eq!(
        refused(rotate(604_801).await),
        ("overlap_too_long", Fault::Invalid)
    );
}

static RETIRED: std::sync::LazyLock<Reason> = std::sync::LazyLock::new(|| Reason::code("rotation"));

#[tokio::test]
async fn a_repeated_creation_answers_the_same_ids_without_the_token() {
    let world = World::new().await;
    let site = world.site().await;
    let actor = Actor {
        idempotency: key("k1", "body"),
        ..world.owner.clone()
    };
    let device = || world.new_device(&site, "fridge01");
    let first = world
        .management
        .create_device(&actor, &reason(), device())
        .await
        .expect("created");
    assert!(first.token.is_some() && !first.replayed);
    let size = world.entries().await.len();
    let again = world
        .management
        .create_device(&actor, &reason(), device())
        .await
        .expect("answered");
    assert!(again.token.is_none() && again.replayed);
    assert_eq!(
        (&again.id, &again.positions, again.recorded_at),
        (&first.id, &first.positions, first.recorded_at)
    );
    assert_eq!(world.entries().await.len(), size);
    let other = Actor {
        idempotency: key("k1", "another body"),
        ..world.owner.clone()
    };
    let conflict = world.management.create_device(&other, &reason(), device()).await;
    assert_eq!(refused(conflict), ("idempotency_conflict", Fault::Conflict));
    let of_another_kind = world
        .management
        .create_site(&actor, &reason(), "B", "haccp", "UTC", None)
        .await;
    assert_eq!(
        refused(of_another_kind),
        ("idempotency_conflict", Fault::Conflict)
    );
}

#[tokio::test]
async fn what_belongs_to_another_account_is_not_there() {
    let world = World::new().await;
    let site = world.site().await;
    let device = world.device(&site, "fridge01").await;
    let channel = world
        .management
        .create_channel(
            &world.owner,
            &reason(),
            &device.id,
            "temperature",
            Some("Front"),
            None,
        )
        .await
        .expect("created");
    let integration = world
        .management
        .create_integration(&world.owner, &reason(), "lorawan", "TTN")
        .await
        .expect("created");
    let eve = world.stranger().await;
    let (m, r) = (&world.management, &reason());
    let size = world.entries().await.len();
    let not_found = |code: &'static str| (code, Fault::NotFound);
    assert_eq!(
        refused(m.patch_site(&eve, r, &site, None, SitePatch::default()).await),
        not_found("site_not_found")
    );
    assert_eq!(
        refused(
            m.patch_device(&eve, r, &device.id, None, DevicePatch::default())
                .await
        ),
        not_found("device_not_found")
    );
    assert_eq!(
        refused(m.remove_device(&eve, r, &device.id, None).await),
        not_found("device_not_found")
    );
    assert_eq!(
        refused(m.rotate_device_token(&eve, r, &device.id, 0).await),
        not_found("device_not_found")
    );
    assert_eq!(
        refused(m.move_device(&eve, r, &device.id, None, &site, None).await),
        not_found("device_not_found")
    );
    assert_eq!(
        refused(
            m.patch_channel(&eve, r, &channel.id, None, ChannelPatch::default())
                .await
        ),
        not_found("channel_not_found")
    );
    let sensor = {
        let registry = world.registry.read();
        registry
            .channel(&world.owner.account, &channel.id)
            .expect("there")
            .state
            .sensor
            .clone()
    };
    assert_eq!(
        refused(
            m.patch_channel(&eve, r, &sensor, None, ChannelPatch::default())
                .await
        ),
        not_found("sensor_not_found")
    );
    assert_eq!(
        refused(
            m.create_channel(&eve, r, &device.id, "humidity", None, None)
                .await
        ),
        not_found("device_not_found")
    );
    assert_eq!(
        refused(m.create_device(&eve, r, world.new_device(&site, "x")).await),
        not_found("site_not_found")
    );
    assert_eq!(
        refused(m.remove_integration(&eve, r, &integration.id, None).await),
        not_found("integration_not_found")
    );
    assert_eq!(
        refused(m.rotate_integration_token(&eve, r, &integration.id, 0).await),
        not_found("integration_not_found")
    );
    assert_eq!(
        refused(m.remove_user(&eve, r, &world.owner.id, None).await),
        not_found("user_not_found")
    );
    assert_eq!(
        refused(
            m.patch_user(&eve, r, &world.owner.id, None, UserPatch::default())
                .await
        ),
        not_found("user_not_found")
    );
    assert_eq!(
        refused(m.issue_user_token(&eve, r, &world.owner.id).await),
        not_found("user_not_found")
    );
    assert_eq!(world.entries().await.len(), size);
}

#[tokio::test]
async fn an_auditor_changes_nothing_but_may_have_a_token_of_their_own() {
    let world = World::new().await;
    let site = world.site().await;
    let new = NewUser {
        email: "bob@example.org".into(),
        name: None,
        role: "auditor".into(),
    };
    let bob = world
        .management
        .add_user(&world.owner, &reason(), new.clone())
        .await
        .expect("added");
    let again = world.management.add_user(&world.owner, &reason(), new).await;
    assert_eq!(refused(again), ("email_taken", Fault::Conflict));
    let auditor = Actor {
        id: bob.id.clone(),
        role: "auditor".into(),
        ..world.owner.clone()
    };
    let forbidden = ("forbidden", Fault::Forbidden);
    let (m, r) = (&world.management, &reason());
    assert_eq!(
        refused(m.patch_site(&auditor, r, &site, None, SitePatch::default()).await),
        forbidden
    );
    assert_eq!(
        refused(m.create_site(&auditor, r, "B", "haccp", "UTC", None).await),
        forbidden
    );
    assert_eq!(
        refused(m.issue_user_token(&auditor, r, &world.owner.id).await),
        forbidden
    );
    let issued = m.issue_user_token(&auditor, r, &bob.id).await.expect("issued");
    let token = issued.token.expect("shown once");
    let identity = world
        .authenticator
        .authenticate(&world.registry, token.text(), world.clock.now())
        .await
        .expect("let in");
    assert_eq!(identity.role.as_deref(), Some("auditor"));
    let rotated = m
        .rotate_user_token(&auditor, r, &bob.id, &token.id, 0)
        .await
        .expect("rotated");
    let newer = rotated.token.expect("shown once");
    m.revoke_user_token(&auditor, r, &bob.id, &newer.id)
        .await
        .expect("revoked");
    let ended = world
        .authenticator
        .authenticate(&world.registry, newer.text(), world.clock.now())
        .await;
    assert_eq!(ended, Err(AuthError::NotAdmitted(NotAdmitted::Revoked)));
}

#[tokio::test]
async fn people_change_and_leave_but_an_owner_stays() {
    let world = World::new().await;
    let (m, r) = (&world.management, &reason());
    let me = world.owner.id.clone();
    assert_eq!(
        refused(m.remove_user(&world.owner, r, &me, None).await),
        ("last_owner", Fault::Conflict)
    );
    let demote = UserPatch {
        role: Some("auditor".into()),
        ..UserPatch::default()
    };
    assert_eq!(
        refused(m.patch_user(&world.owner, r, &me, None, demote).await),
        ("last_owner", Fault::Conflict)
    );
    let moved = UserPatch {
        email: Some("ada@example.com".into()),
        ..UserPatch::default()
    };
    let changed = m
        .patch_user(&world.owner, r, &me, None, moved)
        .await
        .expect("changed");
    let (_, payload, _) = world.recorded(changed.positions).await.remove(0);
    assert!(payload["changes"]["email"]["old"]["place"].is_object());
    assert!(payload["changes"]["email_index"]["old"].is_string());
    let by_email = |email: &str| {
        let index = m.email_index(email).expect("an address");
        world
            .registry
            .read()
            .user_by_email(&index)
            .map(|user| user.id.to_string())
    };
    assert_eq!(by_email("ADA@example.com "), Some(me.clone()));
    assert_eq!(by_email("ada@example.org"), None);
    m.record_sign_in_link(&world.owner.account, &me)
        .await
        .expect("recorded");
    m.record_sign_in(&world.owner.account, &me)
        .await
        .expect("recorded");
    let second = NewUser {
        email: "bob@example.org".into(),
        name: None,
        role: "owner".into(),
    };
    m.add_user(&world.owner, r, second).await.expect("added");
    let removed = m.remove_user(&world.owner, r, &me, None).await.expect("removed");
    let types: Vec<String> = world
        .recorded(removed.positions)
        .await
        .into_iter()
        .map(|(t, ..)| t)
        .collect();
    assert_eq!(types, ["UserRemoved", "TokenRevoked"]);
    let old = world
        .authenticator
        .authenticate(&world.registry, &world.owner_token, world.clock.now())
        .await;
    assert_eq!(old, Err(AuthError::NotAdmitted(NotAdmitted::Revoked)));
}

#[tokio::test]
async fn limits_are_changed_through_the_sensor_with_their_old_values() {
    let world = World::new().await;
    let site = world.site().await;
    let device = world.device(&site, "fridge01").await;
    let (m, r) = (&world.management, &reason());
    let channel = m
        .create_channel(&world.owner, r, &device.id, "temperature", Some("Top"), None)
        .await
        .expect("created");
    let sensor = {
        let registry = world.registry.read();
        let found = registry
            .channel(&world.owner.account, &channel.id)
            .expect("there");
        assert_eq!(found.state.limits.ok_max, Some(5.0));
        assert_eq!(found.state.key, "temperature/top");
        found.state.sensor.clone()
    };
    let patch = |min: f64, max: f64| ChannelPatch {
        ok_min: Some(Some(min)),
        ok_max: Some(Some(max)),
        ..ChannelPatch::default()
    };
    let wrong = m
        .patch_channel(&world.owner, r, &sensor, None, patch(5.0, 4.0))
        .await;
    assert_eq!(refused(wrong), ("invalid_range", Fault::Invalid));
    let changed = m
        .patch_channel(&world.owner, r, &sensor, Some(1), patch(-2.0, 7.0))
        .await
        .expect("changed");
    let (_, payload, metadata) = world.recorded(changed.positions).await.remove(0);
    assert_eq!(payload["changes"], json!({"ok_max": {"old": 5, "new": 7}}));
    assert_eq!(metadata["actor"], world.owner.id);
    let twice = m
        .create_channel(&world.owner, r, &device.id, "temperature", Some("TOP"), None)
        .await;
    assert_eq!(refused(twice), ("channel_exists", Fault::Conflict));
    let unknown = m
        .create_channel(&world.owner, r, &device.id, "mood", None, Some(Limits::default()))
        .await;
    assert_eq!(refused(unknown), ("unknown_kind", Fault::Invalid));
}

fn parked(f_cnt: u32, at: Option<&str>, decoded: Option<Vec<ParkedMeasurement>>) -> Event {
    let time = |text: &str| Timestamp::parse_rfc3339(text).expect("valid");
    Event::UplinkParked(UplinkParked {
        at: at.map(time),
        decoded,
        dev_eui: "0004A30B001B7AD1".into(),
        f_cnt,
        f_port: Some(2),
        frame: Some("AQI=".into()),
        received_at: time("2026-05-17T09:59:00Z"),
        session: Some("s".into()),
    })
}

fn measured(kind: &str, label: Option<&str>, value: f64) -> ParkedMeasurement {
    ParkedMeasurement {
        auxiliary: false,
        kind: kind.into(),
        label: label.map(Into::into),
        unit: None,
        value,
    }
}

#[tokio::test]
async fn an_adopted_device_keeps_what_it_sent_before() {
    let world = World::new().await;
    let site = world.site().await;
    let account = world.owner.account.clone();
    let stream = domain::ids::IdKind::Stream.id(&[8; 16]);
    // The later one arrives first; one has no network time; one nobody could decode.
    let uplinks = [
        parked(
            2,
            Some("2026-05-17T09:10:00Z"),
            Some(vec![
                measured("temperature", None, 4.5),
                measured("battery", None, 90.0),
            ]),
        ),
        parked(
            1,
            Some("2026-05-17T09:00:00Z"),
            Some(vec![
                measured("temperature", None, 4.25),
                measured("temperature", Some("probe"), -18.0),
            ]),
        ),
        parked(3, None, Some(vec![measured("temperature", None, 5.0)])),
        parked(4, Some("2026-05-17T09:30:00Z"), None),
    ];
    let first = world.entries().await.len() as u64;
    for uplink in uplinks {
        world.record(&stream, uplink, &account).await;
    }
    let device = |eui: &str| domain::aggregate::device::NewDevice {
        dev_eui: Some(eui.into()),
        ..world.new_device(&site, "hut01")
    };
    let nobody = world
        .management
        .adopt(&world.owner, &reason(), device("FFFFFFFFFFFFFFFF"))
        .await;
    assert_eq!(refused(nobody), ("uplink_not_found", Fault::NotFound));
    let eve = world.stranger().await;
    let foreign = world
        .management
        .adopt(&eve, &reason(), device("0004A30B001B7AD1"))
        .await;
    assert_eq!(refused(foreign), ("site_not_found", Fault::NotFound));
    let adopted = world
        .management
        .adopt(&world.owner, &reason(), device("00:04:a3:0b:00:1b:7a:d1"))
        .await
        .expect("adopted");
    assert_eq!((adopted.readings, adopted.left), (3, 1));
    let recorded = world.recorded(adopted.device.positions.clone()).await;
    let types: Vec<&str> = recorded.iter().map(|(t, ..)| t.as_str()).collect();
    assert_eq!(&types[..2], ["DeviceRegistered", "TokenIssued"]);
    let readings: Vec<_> = recorded.iter().filter(|(t, ..)| t == "ReadingRecorded").collect();
    assert_eq!(readings.len(), 3);
    let times: Vec<&str> = readings
        .iter()
        .filter_map(|(_, p, _)| p["measured_at"].as_str())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(readings[0].1["values"]["temperature"], 4.25);
    assert_eq!(readings[0].1["time_from"], "network");
    assert_eq!(readings[2].1["time_from"], "received");
    assert_eq!(readings[0].2["causation_id"], first + 1);
    assert_eq!(readings[2].2["causation_id"], first + 2);
    for (_, payload, _) in &readings {
        let config = payload["config"].as_u64().expect("a position");
        assert!(adopted.device.positions.contains(&config));
    }
    let entries = world.entries().await;
    let folded = Registry::fold(entries_of(&entries)).expect("folds");
    let registry = world.registry.read();
    assert_eq!(
        folded.sequence("tray", &stream),
        registry.sequence("tray", &stream)
    );
    let found = registry
        .device_by_dev_eui(&account, "0004A30B001B7AD1")
        .expect("known now");
    assert_eq!(registry.channels(found).count(), 3);
    assert_eq!(registry.trays(&account, None).count(), 0);
}

fn entries_of(bytes: &[Vec<u8>]) -> Vec<Entry<'_>> {
    bytes
        .iter()
        .map(|bytes| Entry::decode(bytes).expect("decodes"))
        .collect()
}

#[tokio::test]
async fn a_suspended_account_is_shut_out_and_can_be_let_in_again() {
    let world = World::new().await;
    let operator = Actor::system("operator", &world.owner.account);
    let change = |command| {
        world
            .management
            .change_account(&operator, &RETIRED, None, command)
    };
    change(AccountCommand::Suspend).await.expect("suspended");
    let admit = || {
        world
            .authenticator
            .authenticate(&world.registry, &world.owner_token, world.clock.now())
    };
    let shut = admit().await;
    assert_eq!(shut, Err(AuthError::NotAdmitted(NotAdmitted::Suspended)));
    assert_eq!(shut.map_err(|e| e.code()), Err("account_suspended"));
    change(AccountCommand::Resume).await.expect("resumed");
    assert!(admit().await.is_ok());
}

#[tokio::test]
async fn integrations_have_tokens_of_their_own() {
    let world = World::new().await;
    let (m, r) = (&world.management, &reason());
    assert_eq!(
        refused(m.create_integration(&world.owner, r, "pigeon", "x").await),
        ("invalid_kind", Fault::Invalid)
    );
    let made = m
        .create_integration(&world.owner, r, "lorawan", "TTN")
        .await
        .expect("created");
    let token = made.token.expect("shown once");
    assert!(token.text().starts_with("whk_"));
    let rotated = m
        .rotate_integration_token(&world.owner, r, &made.id, 0)
        .await
        .expect("rotated");
    let newer = rotated.token.expect("shown once");
    let admit = |text: String| {
        let world = &world;
        async move {
            world
                .authenticator
                .authenticate(&world.registry, &text, world.clock.now())
                .await
                .is_ok()
        }
    };
    assert!(!admit(token.text().to_owned()).await && admit(newer.text().to_owned()).await);
    m.remove_integration(&world.owner, r, &made.id, None)
        .await
        .expect("removed");
    assert!(!admit(newer.text().to_owned()).await);
}

#[tokio::test]
async fn reasons_are_checked_before_anything_happens() {
    let world = World::new().await;
    let bad = Reason::code("Because I say so");
    let made = world
        .management
        .create_site(&world.owner, &bad, "A", "haccp", "UTC", None)
        .await;
    assert_eq!(refused(made), ("invalid_reason", Fault::Invalid));
}

/// A recorder before which somebody else changes the same stream, a given number of times.
struct Overtaken {
    inner: Arc<dyn Recorder>,
    left: Mutex<usize>,
    rival: Mutex<Option<(Management, Actor, String)>>,
}

impl Recorder for Overtaken {
    fn record(&self, group: EventGroup) -> BoxFuture<'_, GroupAnswer> {
        Box::pin(async move {
            let rival = {
                let mut left = self.left.lock();
                let rival = self.rival.lock().clone().filter(|_| *left > 0);
                *left = left.saturating_sub(1);
                rival.map(|rival| (rival, *left))
            };
            if let Some(((management, actor, site), n)) = rival {
                let patch = SitePatch {
                    name: Some(format!("Rival {n}")),
                    ..SitePatch::default()
                };
                management
                    .patch_site(&actor, &reason(), &site, None, patch)
                    .await
                    .expect("changed");
            }
            self.inner.record(group).await
        })
    }
}

#[tokio::test]
async fn a_lost_race_is_tried_again_and_answered_409_when_it_keeps_losing() {
    let world = World::new().await;
    let site = world.site().await;
    let overtaken = Arc::new(Overtaken {
        inner: world.ports.recorder.clone(),
        left: Mutex::new(2),
        rival: Mutex::new(Some((
            world.management.clone(),
            world.owner.clone(),
            site.clone(),
        ))),
    });
    let mut ports = world.ports.clone();
    ports.recorder = overtaken.clone();
    let slow = Management::new(ports, world.settings.clone());
    let patch = |name: &str| SitePatch {
        name: Some(name.into()),
        ..SitePatch::default()
    };
    let done = slow
        .patch_site(&world.owner, &reason(), &site, None, patch("Mine"))
        .await
        .expect("third time lucky");
    assert_eq!(done.sequence, 4);
    let (_, payload, _) = world.recorded(done.positions).await.remove(0);
    let old: SealedField = serde_json::from_value(payload["changes"]["name"]["old"].clone()).expect("old");
    let opened = world.management.opener().open("site", &site, &old);
    assert_eq!(
        opened.as_deref(),
        Some("Rival 0"),
        "the old value is the one that was really there"
    );
    *overtaken.left.lock() = 100;
    let lost = slow
        .patch_site(&world.owner, &reason(), &site, None, patch("Mine too"))
        .await;
    assert_eq!(refused(lost), ("conflict", Fault::Conflict));
    *overtaken.left.lock() = 1;
    let sequence = world.registry.read().sequence("site", &site);
    let matched = slow
        .patch_site(&world.owner, &reason(), &site, Some(sequence), patch("Mine too"))
        .await;
    assert_eq!(refused(matched), ("precondition_failed", Fault::Stale));
}

/// A recorder that does not answer.
struct Down;

impl Recorder for Down {
    fn record(&self, _: EventGroup) -> BoxFuture<'_, GroupAnswer> {
        Box::pin(async {
            Err(RecordError::Unavailable {
                reason: "no space left on device".into(),
                code: "disk",
                outcome_unknown: false,
            })
        })
    }
}

#[tokio::test]
async fn a_ledger_that_takes_nothing_is_said_so_and_nothing_changes() {
    let world = World::new().await;
    let site = world.site().await;
    let mut ports = world.ports.clone();
    ports.recorder = Arc::new(Down);
    let management = Management::new(ports, world.settings.clone());
    let made = management
        .create_device(&world.owner, &reason(), world.new_device(&site, "a"))
        .await;
    assert!(matches!(
        made,
        Err(ManageError::Record(RecordError::Unavailable { .. }))
    ));
    assert_eq!(
        world.registry.read().devices(&world.owner.account, None).count(),
        0
    );
}

#[tokio::test]
async fn aggregates_loaded_through_cqrs_are_what_their_entries_say() {
    let world = World::new().await;
    let site = world.site().await;
    let device = world.device(&site, "fridge01").await;
    for n in 0..5u32 {
        let patch = DevicePatch {
            name: Some(format!("Name {n}")),
            cadence_s: Some((n % 2 == 0).then_some(60 + n)),
            ..DevicePatch::default()
        };
        world
            .management
            .patch_device(&world.owner, &reason(), &device.id, None, patch)
            .await
            .expect("changed");
    }
    let entries = world.entries().await;
    let mut state = Device::default();
    for entry in entries_of(&entries) {
        if entry.aggregate_type == "device" && entry.aggregate_id == device.id {
            let event = Event::read(entry.event_type, entry.payload).expect("reads");
            state.apply(
                &event,
                Stamp {
                    sequence: entry.sequence,
                    salt: entry.salt,
                },
            );
        }
    }
    assert_eq!(state.sequence, 6);
    let registry = world.registry.read();
    assert_eq!(
        registry
            .device(&world.owner.account, &device.id)
            .map(|d| &d.state),
        Some(&state)
    );
    let positions = StreamIndex::positions(world.sequencer.positions(), "device", &device.id);
    assert_eq!(positions.len(), 6);
    assert!(positions.is_sorted() && positions[0] == Position(device.positions.start));
    assert_eq!(ORIGIN, world.settings.origin);
}

#[tokio::test]
async fn a_token_with_a_bent_secret_or_of_another_kind_is_nobodys() {
    let world = World::new().await;
    let good = world.owner_token.clone();
    let now = world.clock.now();
    let try_it = |text: String| {
        let world = &world;
        async move {
            world
                .authenticator
                .authenticate(&world.registry, &text, now)
                .await
        }
    };
    assert!(try_it(good.clone()).await.is_ok());
    let last = if good.ends_with('a') { 'b' } else { 'a' };
    let bent = format!("{}{last}", &good[..good.len() - 1]);
    assert_eq!(try_it(bent).await, Err(AuthError::WrongSecret));
    let of_a_device = good.replacen("ua_live_", "ds_live_", 1);
    assert!(parse(&of_a_device).is_some());
    assert_eq!(
        try_it(of_a_device).await,
        Err(AuthError::NotAdmitted(NotAdmitted::Unknown))
    );
    assert_eq!(try_it("nonsense".into()).await, Err(AuthError::Malformed));
    assert!(try_it(good).await.is_ok());
}
