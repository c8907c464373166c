//! Management over the real sequencer: what is recorded, what is refused, and what belongs to whom.

mod adoption;
mod contacts;
mod people;
mod races;
mod sealing;

use super::testing::{ORIGIN, World, reason};
use super::{Actor, ManageError, UserPatch};
use crate::record::StreamIndex;
use crate::sequencer::Idempotency;
use crate::tokens::AuthError;
use domain::Position;
use domain::aggregate::channel::{ChannelPatch, Limits};
use domain::aggregate::device::DevicePatch;
use domain::aggregate::site::SitePatch;
use domain::aggregate::{Aggregate, Device, Stamp};
use domain::entry::Entry;
use domain::event::{Event, Reason};
use domain::hash::sha256;
use domain::ports::Clock;
use domain::registry::NotAdmitted;
use domain::rejection::Fault;
use serde_json::json;

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
async fn a_change_that_changes_nothing_records_nothing() {
    let world = World::new().await;
    let site = world.site().await;
    let patch = SitePatch {
        name: Some("Kitchen".into()),
        address: Some(Some("Main street 1".into())),
        opening_hours: None,
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

fn entries_of(bytes: &[Vec<u8>]) -> Vec<Entry<'_>> {
    bytes
        .iter()
        .map(|bytes| Entry::decode(bytes).expect("decodes"))
        .collect()
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
