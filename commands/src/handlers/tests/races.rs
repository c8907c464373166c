//! Lost races and a ledger that takes nothing.

use super::super::testing::{World, reason};
use super::super::{Actor, ManageError, Management};
use super::refused;
use crate::record::Recorder;
use crate::sequencer::{EventGroup, GroupAnswer, RecordError};
use domain::aggregate::site::SitePatch;
use domain::ports::BoxFuture;
use domain::rejection::Fault;
use domain::sealed::SealedField;
use parking_lot::Mutex;
use std::sync::Arc;

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
async fn handlers_run_on_any_thread_and_many_at_once() {
    let world = World::new().await;
    let site = world.site().await;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let (management, owner) = (world.management.clone(), world.owner.clone());
            // Half of them want the same name.
            let device = world.new_device(&site, &format!("d{}", n / 2));
            tokio::spawn(async move { management.create_device(&owner, &reason(), device).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(refused::<()>(Err(error)), ("local_id_taken", Fault::Conflict)),
        }
    }
    assert_eq!(made, 8);
    let registry = world.registry.read();
    assert_eq!(registry.devices(&world.owner.account, None).count(), 8);
}
