//! Properties of the rule engine over random ledgers.
//!
//! Invariants: any split into batches, and a state written and read back anywhere, gives the same decisions; an
//! alarm opens once, is cleared only while open and reopened only while cleared, and never gets milder; a channel's
//! states follow one another without a gap. Not here: what is right (`scenarios.rs`).

mod common;

use common::scenario::{Owned, restarted, run};
use domain::Timestamp;
use domain::event::{Correction, Event};
use domain::rule::{AlarmKey, ChannelState, Decision, Definition, Derivation, Severity, Subject};
use proptest::prelude::*;
use std::collections::BTreeMap;

const RULES: &[&str] = &[
    r#"{"ok_min":-2,"ok_max":5,"grace_min":15}"#,
    r#"{"ok_max":5,"warn_max":7,"grace_min":5,"recovery_min":1,"hysteresis":0.5}"#,
    r#"{"ok_max":5,"flap":{"changes":2,"within_min":30}}"#,
    r#"{"ok_max":4,"keep_firing_min":20,"severity":"warn"}"#,
    r#"{"kind":"delta","max_delta":2,"interval_s":1800}"#,
    r#"{"kind":"derivative","min_rate":-4,"max_rate":4,"grace_min":2}"#,
    r#"{"kind":"absence","min_interval_s":1200,"grace_min":3,"recovery_min":10}"#,
    r#"{"kind":"comparison","another_channel":"c1","offset":2,"grace_min":4}"#,
    r#"{"ok_max":5,"grace_min":10,"windows":[{"rrule":"FREQ=HOURLY;INTERVAL=2;BYMINUTE=10","duration_min":25,"ok_max":9},{"rrule":"FREQ=DAILY;BYHOUR=2,3;BYMINUTE=30","duration_min":70,"enabled":false}]}"#,
    r#"{"kind":"absence","min_interval_s":900,"windows":[{"rrule":"FREQ=DAILY;BYHOUR=1","duration_min":180,"enabled":false}]}"#,
    r#"{"ok_max":5,"enabled":false}"#,
];
/// What "dt" is made of.
const DERIVATIONS: &[&str] = &[
    r#"{"function":"delta_t","sources":["c0","c1"]}"#,
    r#"{"function":"draw_temperature","sources":["c0","c1"]}"#,
    r#"{"function":"nights_over_baseline","sources":["c0"],"trailing_days":7}"#,
];
const CHANNELS: [&str; 4] = ["c0", "c1", "c2", "dt"];

fn entry() -> impl Strategy<Value = (i64, Owned)> {
    let later = prop_oneof![4 => 0i64..120, 3 => 0i64..1_500, 1 => 0i64..20_000];
    let value = prop::sample::select(vec![-3.0, 3.0, 4.0, 4.75, 5.0, 6.0, 7.5, 9.0]);
    let late = prop_oneof![5 => Just(0i64), 2 => -600i64..3_600, 1 => 0i64..20_000];
    let reading = (late, prop::collection::btree_map(0usize..3, value, 1..4)).prop_map(|(late, values)| {
        let values = values
            .into_iter()
            .map(|(c, v)| (CHANNELS[c].to_owned(), v))
            .collect();
        // The lateness stands for the time until all are put together.
        Owned::Reading(
            "d".into(),
            Timestamp::default().plus_micros(-late * 1_000_000),
            values,
        )
    });
    let rule = (0usize..5, 0usize..4, 0..RULES.len(), 1u32..9).prop_map(|(id, channel, which, version)| {
        let definition: Definition = serde_json::from_str(RULES[which]).expect("a rule");
        Owned::Rule(
            format!("r{id}"),
            CHANNELS[channel].into(),
            version,
            Box::new(definition),
        )
    });
    let rest = prop_oneof![
        Just(Owned::Started),
        (0usize..5).prop_map(|id| Owned::RuleRemoved(format!("r{id}"))),
        (0usize..3).prop_map(|c| Owned::ChannelRemoved(CHANNELS[c].into())),
        prop::option::of(60u32..1_200).prop_map(|cadence| Owned::Device("d".into(), cadence)),
        (0usize..3, -1.0f64..1.0).prop_map(|(c, offset)| {
            let from = Timestamp::default().plus_micros(1_774_700_000_000_000);
            Owned::Calibrated(CHANNELS[c].into(), Some(Correction::Offset(offset)), from)
        }),
        (0usize..3).prop_map(|c| Owned::Channel(CHANNELS[c].into(), "d".into(), "America/New_York".into())),
    ];
    let what = prop_oneof![10 => reading, 3 => Just(Owned::Other), 2 => rule, 1 => rest];
    (later, what)
}

/// A ledger that begins before the clocks go forward in Europe.
fn ledger() -> impl Strategy<Value = Vec<(Timestamp, Owned)>> {
    let entries = prop::collection::vec(entry(), 1..120);
    (entries, prop::sample::select(DERIVATIONS)).prop_map(|(entries, derivation)| {
        let mut now = Timestamp::parse_rfc3339("2026-03-28T20:00:00Z").expect("a time");
        let derivation: Derivation = serde_json::from_str(derivation).expect("a derivation");
        let mut all = vec![(now, Owned::Device("d".into(), Some(600)))];
        for channel in CHANNELS {
            all.push((
                now,
                Owned::Channel(channel.into(), "d".into(), "Europe/Berlin".into()),
            ));
        }
        all.push((now, Owned::Derived("dt".into(), Some(derivation))));
        for (number, (later, mut what)) in entries.into_iter().enumerate() {
            now = now.plus_micros(later * 1_000_000);
            // A rule never comes back in a version that it had, and stays with its channel.
            if let Owned::Rule(id, channel, version, _) = &mut what {
                *version = number as u32 + 1;
                *id = format!("{id}_{channel}");
            }
            if let Owned::RuleRemoved(id) = &mut what {
                *id = format!("{id}_{}", CHANNELS[number % CHANNELS.len()]);
            }
            if let Owned::Reading(_, measured_at, _) = &mut what {
                *measured_at = now.plus_micros(measured_at.as_micros());
            }
            all.push((now, what));
        }
        all
    })
}

/// Where an alarm is in its life.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Life {
    Open(Severity),
    Cleared(Severity),
    Closed,
}

fn lives_are_whole(decisions: &[Decision]) -> Result<(), TestCaseError> {
    let mut lives: BTreeMap<AlarmKey, Life> = BTreeMap::new();
    let mut states: BTreeMap<String, ChannelState> = BTreeMap::new();
    for decision in decisions {
        match (&decision.subject, &decision.event) {
            (Subject::Alarm { alarm, .. }, event) => {
                let before = lives.get(alarm).copied();
                let after = match (event, before) {
                    (Event::AlarmOpened(it), None) => Life::Open(it.severity),
                    (Event::AlarmEscalated(it), Some(Life::Open(severity) | Life::Cleared(severity))) => {
                        prop_assert_eq!(it.severity.old, severity);
                        prop_assert!(it.severity.new > severity);
                        match before {
                            Some(Life::Cleared(_)) => Life::Cleared(it.severity.new),
                            _ => Life::Open(it.severity.new),
                        }
                    }
                    (Event::AlarmCleared(_), Some(Life::Open(severity))) => Life::Cleared(severity),
                    (Event::AlarmReopened(it), Some(Life::Cleared(severity))) => {
                        prop_assert!(it.late);
                        Life::Open(severity)
                    }
                    (Event::AlarmClosed(_), Some(Life::Open(_))) => Life::Closed,
                    (event, before) => {
                        return Err(TestCaseError::fail(format!(
                            "{alarm:?}: {event:?} after {before:?}"
                        )));
                    }
                };
                lives.insert(alarm.clone(), after);
            }
            (Subject::Channel(id), Event::ChannelStateChanged(it)) => {
                let before = states.insert(id.to_string(), it.to).unwrap_or_default();
                prop_assert_eq!(it.from, before);
                prop_assert_ne!(it.from, it.to);
            }
            (Subject::Device(_), Event::DeviceStateChanged(_)) => {}
            (subject, event) => {
                return Err(TestCaseError::fail(format!("{subject:?}: {event:?}")));
            }
        }
        prop_assert!(decision.event.payload(None).is_ok(), "{:?}", decision.event);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_and_any_restart_gives_the_same_decisions(
        ledger in ledger(),
        size in 2usize..40,
        every in 1usize..9,
    ) {
        let expected = run(&ledger, 1, |_| {});
        lives_are_whole(&expected)?;
        prop_assert_eq!(&run(&ledger, size, |_| {}), &expected);
        let mut count = 0;
        let again = run(&ledger, size, |engine| {
            count += 1;
            if count % every == 0 {
                *engine = restarted(engine);
            }
        });
        prop_assert_eq!(&again, &expected);
        let always = run(&ledger, 1, |engine| *engine = restarted(engine));
        prop_assert_eq!(&always, &expected);
    }
}
