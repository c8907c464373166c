//! Alerting over the real sequencer, with a clock that the test turns.

use super::{Alerting, AlertingPorts, Fold, Unexpected};
use crate::handlers::testing::{World, reason};
use crate::sequencer::{PendingReading, PendingValue, ReadingGroup};
use domain::entry::Entry;
use domain::event::{AlarmCleared, AlarmClosed, AlarmRaised, Cause, Event};
use domain::ports::{Clock, EventLog};
use domain::reading::TimeFrom;
use domain::rule::Severity;
use domain::rule::engine::KEPT_MAX;
use domain::{Position, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);

struct Kitchen {
    world: World,
    device: String,
    token: String,
    alerting: Alerting,
}

impl Kitchen {
    async fn new() -> Self {
        let world = World::new().await;
        let site = world.site().await;
        let device = world.device(&site, "hut01").await;
        Self {
            device: device.id,
            token: device.token_id.expect("a token"),
            alerting: start(&world),
            world,
        }
    }

    /// A temperature, measured and recorded now; then everything that follows from it.
    async fn measure(&self, value: f64) {
        self.measure_at(value, self.world.clock.now()).await;
    }

    async fn measure_at(&self, value: f64, measured_at: Timestamp) {
        let group = ReadingGroup {
            account: self.world.owner.account.as_str().into(),
            token: self.token.as_str().into(),
            metadata: b"{}".to_vec(),
            idempotency: None,
            readings: vec![PendingReading {
                device: self.device.as_str().into(),
                number: None,
                measured_at,
                time_from: TimeFrom::Device,
                claimed_at: None,
                values: vec![PendingValue {
                    key: "temperature".into(),
                    kind: "temperature".into(),
                    label: None,
                    unit: "Cel".into(),
                    value,
                    auxiliary: false,
                }],
                uplink: None,
            }],
            want_channels: false,
            want_entries: false,
        };
        let recorded = self
            .world
            .sequencer
            .record_readings(group)
            .await
            .expect("recorded");
        assert!(self.alerting.wait_for(recorded.size, WITHIN).await);
    }

    /// A minute passes between two values.
    async fn measure_all(&self, value: f64, minutes: usize) {
        for _ in 0..minutes {
            self.measure(value).await;
            self.world.clock.pass_s(60);
        }
    }

    /// The entries of these types, with their payloads.
    async fn told(&self, types: &[&str]) -> Vec<(u64, String, Value)> {
        let all = self.world.entries().await;
        let entries = all.iter().map(|bytes| Entry::read(bytes).expect("reads"));
        entries
            .filter(|entry| types.contains(&entry.event_type))
            .map(|entry| {
                let payload = serde_json::from_slice(entry.payload).expect("JSON");
                (entry.position.get(), entry.event_type.to_owned(), payload)
            })
            .collect()
    }

    async fn until_told(&self, event_type: &str, count: usize) -> Vec<(u64, String, Value)> {
        let look = async {
            loop {
                let told = self.told(&[event_type]).await;
                if told.len() >= count {
                    return told;
                }
                let size = self.world.log.size();
                // A clock that stands still gives no entries: the deadline does.
                let _ = tokio::time::timeout(Duration::from_millis(50), self.world.log.follow(size)).await;
            }
        };
        tokio::time::timeout(WITHIN, look).await.expect("told in time")
    }
}

fn start(world: &World) -> Alerting {
    Alerting::start(AlertingPorts {
        log: world.log.clone(),
        tiles: world.log.clone(),
        derived: world.derived.clone(),
        sequencer: world.sequencer.clone(),
        clock: world.clock.clone(),
        alarms: Arc::new(|_| {}),
    })
    .expect("starts")
}

const ALARMS: [&str; 4] = ["AlarmOpened", "AlarmEscalated", "AlarmCleared", "AlarmReopened"];

async fn fold(world: &World, entries: &[Vec<u8>]) -> (Fold, Vec<Unexpected>) {
    let (mut fold, mut unexpected) = (Fold::new(), Vec::new());
    for (position, bytes) in entries.iter().enumerate() {
        fold.entry(Position(position as u64), bytes, &*world.log, &mut unexpected)
            .expect("follows");
    }
    (fold, unexpected)
}

#[tokio::test]
async fn a_fridge_that_warms_opens_one_alarm_which_ends_when_it_is_cold_for_as_long() {
    let kitchen = Kitchen::new().await;
    kitchen.measure_all(4.0, 3).await;
    kitchen.measure_all(9.0, 20).await;
    let told = kitchen.told(&ALARMS).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (position, _, opened) = &told[0];
    assert_eq!(
        opened["thresholds"],
        json!({"grace_min": 15, "ok_max": 5, "ok_min": -2})
    );
    let decided_by = opened["decided_by"].as_u64().expect("a position");
    assert!(decided_by < *position);
    kitchen.measure_all(4.0, 17).await;
    let told = kitchen.told(&ALARMS).await;
    let types: Vec<&str> = told.iter().map(|(_, what, _)| what.as_str()).collect();
    assert_eq!(types, ["AlarmOpened", "AlarmCleared"]);
    let states: Vec<Value> = kitchen
        .told(&["ChannelStateChanged"])
        .await
        .into_iter()
        .map(|(_, _, payload)| payload["to"].clone())
        .collect();
    assert_eq!(
        states,
        [json!("grace"), json!("alarm"), json!("recovering"), json!("ok")]
    );
    let (_, unexpected) = fold(&kitchen.world, &kitchen.world.entries().await).await;
    assert_eq!(unexpected, []);
}

#[tokio::test]
async fn at_every_position_a_crash_leaves_due_exactly_what_is_not_recorded_yet() {
    let kitchen = Kitchen::new().await;
    kitchen.measure_all(9.0, 18).await;
    kitchen.measure_all(4.0, 17).await;
    kitchen.alerting.stop();
    let entries = kitchen.world.entries().await;
    let decisions = |entries: &[Vec<u8>]| {
        let all = entries.iter().map(|bytes| Entry::read(bytes).expect("reads"));
        all.filter(|e| matches!(e.aggregate_type, "alarm" | "state") && e.event_type != "DeadlineReached")
            .map(|e| {
                (
                    e.stream_name(),
                    String::from_utf8(e.payload.to_vec()).expect("text"),
                )
            })
            .collect::<Vec<_>>()
    };
    let all = decisions(&entries);
    assert!(all.len() >= 6);
    for crashed_at in 0..=entries.len() {
        let (fold, unexpected) = fold(&kitchen.world, &entries[..crashed_at]).await;
        assert_eq!(unexpected, []);
        let mut known = decisions(&entries[..crashed_at]);
        known.extend(fold.due().iter().map(|due| {
            (
                format!("{}/{}", due.aggregate_type, due.aggregate_id),
                due.payload.clone(),
            )
        }));
        assert_eq!(known, all[..known.len()], "crashed at {crashed_at}");
    }
}

#[tokio::test]
async fn what_was_due_at_a_stop_is_recorded_once_by_the_next_start() {
    let mut kitchen = Kitchen::new().await;
    kitchen.measure_all(9.0, 10).await;
    kitchen.alerting.stop();
    let entries = kitchen.world.entries().await;
    // The service dies with an alarm decided and not recorded: nobody follows these.
    for start_again in [false, true] {
        kitchen.alerting = start(&kitchen.world);
        kitchen.measure_all(9.0, 4).await;
        if start_again {
            kitchen.alerting.stop();
            kitchen.alerting = start(&kitchen.world);
        }
    }
    kitchen.measure(9.0).await;
    assert_eq!(kitchen.told(&["AlarmOpened"]).await.len(), 1);
    assert!(kitchen.world.entries().await.len() > entries.len());
    assert_eq!(kitchen.alerting.status().unexpected, 0);
}

#[tokio::test]
async fn a_deadline_that_passes_in_silence_is_told_by_an_entry_of_its_own() {
    let kitchen = Kitchen::new().await;
    kitchen.measure_all(9.0, 2).await;
    kitchen.world.clock.pass_s(20 * 60);
    let opened = kitchen.until_told("AlarmOpened", 1).await;
    let ticks = kitchen.told(&["DeadlineReached"]).await;
    assert_eq!(ticks.len(), 1, "{ticks:?}");
    assert_eq!(opened[0].2["decided_by"], json!(ticks[0].0));
    let (_, unexpected) = fold(&kitchen.world, &kitchen.world.entries().await).await;
    assert_eq!(unexpected, []);
}

#[tokio::test]
async fn an_alarm_taken_out_of_a_copy_is_missing_and_one_put_in_is_unexpected() {
    let kitchen = Kitchen::new().await;
    kitchen.measure_all(9.0, 18).await;
    kitchen.measure_all(4.0, 17).await;
    let mut entries = kitchen.world.entries().await;
    let told = kitchen.told(&ALARMS).await;
    let opened = told[0].0 as usize;
    // In its place stands an entry of no consequence.
    let text = String::from_utf8(entries[opened].clone()).expect("text");
    let entry = Entry::read(&entries[opened]).expect("reads");
    let id = entry.aggregate_id.to_owned();
    let payload = String::from_utf8(entry.payload.to_vec()).expect("text");
    let forged = text
        .replace(&payload, r#"{"at":"2026-05-17T10:00:00.000000Z"}"#)
        .replace("\"AlarmOpened\"", "\"DeadlineReached\"")
        .replace("\"aggregate_type\":\"alarm\"", "\"aggregate_type\":\"state\"");
    let whole = std::mem::replace(&mut entries[opened], forged.into_bytes());
    let (fold_of_less, unexpected) = fold(&kitchen.world, &entries).await;
    assert_eq!(unexpected, []);
    let missing: Vec<_> = fold_of_less
        .due()
        .iter()
        .map(|due| due.aggregate_id.as_str())
        .collect();
    assert_eq!(missing, [id.as_str()]);
    entries[opened] = String::from_utf8(whole)
        .expect("text")
        .replace("\"severity\":\"alarm\"", "\"severity\":\"warn\"")
        .into_bytes();
    let (fold_of_other, unexpected) = fold(&kitchen.world, &entries).await;
    assert_eq!(unexpected.len(), 1);
    assert!(unexpected[0].what.contains(&id), "{unexpected:?}");
    assert_eq!(fold_of_other.due().len(), 1);
}

#[tokio::test]
async fn a_reading_behind_the_sixty_four_that_a_rule_keeps_is_counted_and_not_looked_at() {
    let mut kitchen = Kitchen::new().await;
    kitchen.measure_all(4.0, KEPT_MAX + 6).await;
    let early = kitchen
        .world
        .clock
        .now()
        .plus_micros(-(KEPT_MAX as i64 + 4) * 60_000_000 - 1);
    for late in 0..3 {
        // Sixteen minutes of it would be an alarm, had they come in time.
        kitchen.measure_at(9.0, early.plus_micros(late)).await;
    }
    assert!(kitchen.told(&ALARMS).await.is_empty());
    assert_eq!(kitchen.alerting.status().too_late, 3);
    // What is kept of it over a restart goes on counting.
    kitchen.alerting.stop();
    kitchen.alerting = start(&kitchen.world);
    kitchen.measure_at(9.0, early.plus_micros(4)).await;
    assert_eq!(kitchen.alerting.status().too_late, 4);
    // One that still has its place among them is looked at.
    let within = kitchen.world.clock.now().plus_micros(-30 * 60_000_000 - 1);
    kitchen.measure_at(9.0, within).await;
    assert_eq!(kitchen.alerting.status().too_late, 4);
}

#[tokio::test]
async fn what_a_person_closed_is_told_no_more_of() {
    let kitchen = Kitchen::new().await;
    kitchen.measure_all(9.0, 18).await;
    let opened = kitchen.told(&["AlarmOpened"]).await;
    let entries = kitchen.world.entries().await;
    let alarm = Entry::read(&entries[opened[0].0 as usize])
        .expect("reads")
        .aggregate_id
        .to_owned();
    let owner = &kitchen.world.owner;
    let why = domain::event::Reason::code("sensor_moved");
    let management = &kitchen.world.management;
    management
        .close_alarm(owner, &why, &alarm, None, None)
        .await
        .expect("closed");
    kitchen.measure_all(4.0, 18).await;
    assert!(kitchen.told(&["AlarmCleared"]).await.is_empty());
    assert_eq!(kitchen.alerting.status().due, 0);
    let stranger = kitchen.world.stranger().await;
    let refused = management
        .acknowledge_alarm(&stranger, &why, &alarm, None, None, None)
        .await;
    assert!(format!("{refused:?}").contains("alarm_not_found"), "{refused:?}");
}

#[tokio::test]
async fn limits_and_the_simple_rule_change_together_and_windows_give_it_a_stream() {
    let kitchen = Kitchen::new().await;
    kitchen.measure(4.0).await;
    let (world, management) = (&kitchen.world, &kitchen.world.management);
    let owner = &world.owner;
    let (channel, rule) = {
        let registry = world.registry.read();
        let device = registry.device(&owner.account, &kitchen.device).expect("there");
        let channel = registry.channel_by_key(device, "temperature").expect("there");
        let rule = registry.simple_rule(channel).expect("limits");
        assert_eq!((rule.version, rule.stream.is_none()), (1, true));
        (channel.id.to_string(), rule.id.to_string())
    };
    let in_force = || {
        let registry = world.registry.read();
        let rule = registry.rule_in_force(&owner.account, &rule).expect("in force");
        let limits = rule.channel.state.limits;
        assert_eq!(
            (limits.ok_min, limits.ok_max),
            (rule.definition.ok_min, rule.definition.ok_max)
        );
        (rule.version, rule.definition.ok_max, rule.stream.is_some())
    };
    let change = async |value: Value| {
        let patch = value.as_object().cloned().expect("an object");
        management.patch_rule(owner, &reason(), &rule, None, &patch).await
    };
    change(json!({"ok_max": 6.0})).await.expect("changed");
    assert_eq!(in_force(), (2, Some(6.0), false));
    let windows = json!({"windows": [{"rrule": "FREQ=DAILY;BYHOUR=2", "duration_min": 45, "ok_max": 12.0}], "ok_max": 7.0});
    change(windows).await.expect("changed");
    assert_eq!(in_force(), (3, Some(7.0), true));
    let patch = domain::aggregate::channel::ChannelPatch {
        ok_max: Some(Some(8.0)),
        ..Default::default()
    };
    management
        .patch_channel(owner, &reason(), &channel, None, patch)
        .await
        .expect("changed");
    assert_eq!(in_force(), (4, Some(8.0), true));
    management
        .remove_rule(owner, &reason(), &rule, None)
        .await
        .expect("removed");
    assert!(
        world
            .registry
            .read()
            .rule_in_force(&owner.account, &rule)
            .is_none()
    );
    kitchen.measure_all(20.0, 20).await;
    assert!(kitchen.told(&ALARMS).await.is_empty());
}

#[tokio::test]
async fn an_alarm_of_no_channel_is_no_decision_of_the_rules_and_a_replay_passes_over_it() {
    let kitchen = Kitchen::new().await;
    let world = &kitchen.world;
    let account = world.owner.account.clone();
    let cause = Cause::Challenge {
        contact: "con_a".into(),
        until: world.clock.now(),
    };
    let alarm = cause.alarm_id(&account, world.clock.now());
    let raised = AlarmRaised {
        began_at: world.clock.now(),
        cause,
        severity: Severity::Alarm,
    };
    world.record(&alarm, Event::AlarmRaised(raised), &account).await;
    let closed = AlarmClosed {
        reason: "answered".into(),
        signature: None,
        text: None,
    };
    let seen = world
        .management
        .acknowledge_alarm(&world.owner, &reason(), &alarm, None, None, None)
        .await;
    seen.expect("acknowledged");
    world.record(&alarm, Event::AlarmClosed(closed), &account).await;
    let entries = world.entries().await;
    let (folded, unexpected) = fold(world, &entries).await;
    assert_eq!((unexpected, folded.due().len()), (vec![], 0));
    // What says that it is a decision about an alarm that nobody raised is reported.
    let cleared = AlarmCleared {
        cleared_at: world.clock.now(),
        decided_at: world.clock.now(),
        decided_by: Position(1),
        late: false,
        readings: vec![],
        value_at: None,
        withdrawn: false,
    };
    for stream in [alarm.as_str(), "alm_forged"] {
        let event = Event::AlarmCleared(cleared.clone());
        world.record(stream, event, &account).await;
    }
    let entries = world.entries().await;
    let (_, unexpected) = fold(world, &entries).await;
    let what: Vec<&str> = unexpected.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(what, ["alarm/alm_forged AlarmCleared"]);
}
