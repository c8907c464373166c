//! Samples of alarms and rules.
//!
//! Not here: devices and channels (`sample`).

use domain::Timestamp;
use domain::rule::{Band, Definition, Kind, Severity};

use super::alarms::view::*;
use super::rules::form::fields;
use super::rules::view::*;
use super::sample::{self, now};
use super::view::*;

const MIN: i64 = 60_000_000;

fn before(minutes: i64) -> Timestamp {
    now().plus_micros(-minutes * MIN)
}

fn held(definition: &Definition) -> Held {
    super::gather::rules::held(definition, "temperature", "Cel")
}

fn definition() -> Definition {
    serde_json::from_str(
        r#"{"kind":"range","ok_min":2.0,"ok_max":5.0,"grace_min":15,
            "windows":[{"rrule":"FREQ=DAILY;BYHOUR=2;BYMINUTE=0","duration_min":30,"ok_max":12.0}]}"#,
    )
    .expect("a definition of the sample")
}

pub fn row(id: &str, severity: Severity, life: Life) -> AlarmRow {
    let is_open = life.is_open();
    AlarmRow {
        id: format!("alm_{id}"),
        severity,
        life,
        recovering: false,
        seen_by: (life != Life::Open).then(|| "Jana Nováková".to_owned()),
        silenced: false,
        raised: None,
        late: false,
        began_at: before(49),
        opened_at: before(34),
        ended_at: (!is_open).then(|| before(4)),
        value: Some(6.3),
        held: held(&definition()),
        channel: Link {
            href: "/app/channels/chn_walkin_t".into(),
            text: "Temperature".into(),
        },
        device: Link {
            href: "/app/devices/dev_walkin".into(),
            text: "Walk-in fridge".into(),
        },
        site: Link {
            href: "/app/sites/site_kitchen".into(),
            text: "Bistro Dunaj".into(),
        },
        zone: sample::zone(),
    }
}

pub fn alarms() -> AlarmsPage {
    let absence = Definition {
        min_interval_s: Some(1800),
        ..Definition::of(Kind::Absence)
    };
    AlarmsPage {
        open: vec![
            row("one", Severity::Alarm, Life::Open),
            AlarmRow {
                value: Some(58.2),
                held: Held {
                    band: Band {
                        ok_min: Some(60.0),
                        ..Band::default()
                    },
                    ..held(&definition())
                },
                silenced: true,
                ..row("two", Severity::Warn, Life::Open)
            },
            AlarmRow {
                recovering: true,
                ..row("three", Severity::Alarm, Life::Seen)
            },
        ],
        over: vec![
            AlarmRow {
                value: None,
                held: held(&absence),
                late: true,
                seen_by: None,
                ..row("four", Severity::Alarm, Life::Over)
            },
            row("five", Severity::Warn, Life::Closed),
            row("six", Severity::Alarm, Life::Withdrawn),
        ],
        shown: Shown::Recent,
        site: None,
        sites: sample::sites(),
        older: None,
        rules: 9,
    }
}

pub fn no_alarms(rules: usize) -> AlarmsPage {
    AlarmsPage {
        open: Vec::new(),
        over: Vec::new(),
        rules,
        ..alarms()
    }
}

fn step(minutes: i64, title: &str, shape: &'static str) -> Step {
    Step {
        at: before(minutes),
        title: title.into(),
        lines: Vec::new(),
        said: None,
        actor: None,
        position: Some(1_204_300 - minutes as u64),
        late: None,
        shape,
    }
}

pub fn alarm(life: Life) -> AlarmPage {
    let channel = sample::channel_page(Range::Day);
    let (from, to) = (before(180), now());
    let series = match channel.series {
        Series::Points(points) => Series::Points(points.into_iter().filter(|(at, _)| *at >= from).collect()),
        other => other,
    };
    let mut steps = vec![
        Step {
            position: None,
            lines: vec!["A grace of 15\u{a0}min began.".into()],
            ..step(49, "Left what is right", "out")
        },
        Step {
            lines: vec!["6.3\u{a0}°C.".into()],
            ..step(34, "The grace was over: alarm", "alarm")
        },
    ];
    steps.push(step(33, "Told Peter, by mail", "told"));
    if life != Life::Open {
        steps.push(Step {
            lines: vec!["Door or lid was open.".into(), "Done: Closed it.".into()],
            said: Some("Delivery, the door stood open.".into()),
            actor: Some("Jana Nováková".into()),
            ..step(12, "Acknowledged", "seen")
        });
        steps.push(Step {
            said: Some("Compressor checked.".into()),
            actor: Some("Peter".into()),
            ..step(9, "Comment", "said")
        });
    }
    if life == Life::Over {
        steps.push(Step {
            late: Some(before(3)),
            ..step(4, "Right again for long enough: over", "good")
        });
    }
    AlarmPage {
        row: row("one", Severity::Alarm, life),
        steps,
        around: Some(Around {
            from,
            to,
            series,
            gaps: Vec::new(),
            limits: vec![LimitSpan {
                from,
                to: None,
                limits: Limits {
                    min: Some(2.0),
                    max: Some(5.0),
                    grace_min: None,
                },
            }],
        }),
        why: Why {
            rule: "Limits".into(),
            rule_href: Some("/app/channels/chn_walkin_t/rules/rul_walkin_t".into()),
            version: 3,
            window: None,
            readings: vec![
                Ground {
                    position: 1_204_201,
                    measured_at: Some(before(49)),
                    value: Some(5.2),
                    inputs: Vec::new(),
                },
                Ground {
                    position: 1_204_266,
                    measured_at: Some(before(34)),
                    value: Some(6.3),
                    inputs: Vec::new(),
                },
            ],
            reproduce:
                "daybook replay --rules --alarm alm_one --from 2026-05-16T11:14:22Z --data /var/lib/daybook"
                    .into(),
            position: 1_204_266,
            decided_by: Some(1_204_266),
            pack_href: "/app/evidence?channel=chn_walkin_t&from=2026-05-17&to=2026-05-17".into(),
        },
        typed: Typed::default(),
        etag: "2".into(),
        idempotency_key: "idem-0".into(),
    }
}

pub fn rules() -> Vec<RuleRow> {
    let absence = Definition {
        min_interval_s: Some(1800),
        ..Definition::of(Kind::Absence)
    };
    let rule = |id: &str, name: Option<&str>, definition: Definition| RuleRow {
        id: format!("rul_{id}"),
        name: name.map(str::to_owned),
        held: held(&definition),
        definition,
        simple: id == "walkin_t",
        version: 3,
        changed_at: before(2900),
    };
    vec![
        rule("walkin_t", None, definition()),
        rule("absent", Some("Probe is silent"), absence),
    ]
}

pub fn silences() -> Vec<SilenceRow> {
    vec![SilenceRow {
        id: "sil_one".into(),
        from: before(20),
        to: before(-40),
        reason: Some("Defrosting".into()),
        author: "Jana Nováková".into(),
        active: true,
        etag: "1".into(),
    }]
}

pub fn rule(tried: bool) -> RulePage {
    let page = sample::channel_page(Range::Week);
    let (from, to) = (page.from, page.to);
    RulePage {
        channel: page.channel,
        device: page.device,
        zone: sample::zone(),
        rule: Some(rules().remove(0)),
        fields: fields(&definition()),
        draft: Some(definition()),
        error: None,
        tried: tried.then(|| Tried {
            from,
            to,
            readings: 2_016,
            alarms: vec![
                TriedRow {
                    began_at: before(4700),
                    opened_at: before(4685),
                    cleared_at: Some(before(4500)),
                    severity: Severity::Alarm,
                    value: Some(6.9),
                },
                TriedRow {
                    began_at: before(49),
                    opened_at: before(34),
                    cleared_at: None,
                    severity: Severity::Warn,
                    value: Some(6.3),
                },
            ],
            series: page.series,
            gaps: page.gaps,
            limits: super::gather::alarms::in_force(&definition(), &sample::zone(), from, to),
            lines: Vec::new(),
        }),
        presets: Vec::new(),
        others: Vec::new(),
        versions: vec![
            VersionRow {
                version: 3,
                at: before(2900),
                position: 1_190_000,
                actor: "Jana Nováková".into(),
                reason: Some("the new compressor holds it".into()),
                changes: vec![("highest".into(), Some("8".into()), Some("5".into()))],
                removed: false,
            },
            VersionRow {
                version: 1,
                at: before(40_000),
                position: 12,
                actor: "the service (presets)".into(),
                reason: None,
                changes: vec![("highest".into(), None, Some("8".into()))],
                removed: false,
            },
        ],
        etag: "41".into(),
        idempotency_key: "idem-0".into(),
    }
}

pub fn new_rule() -> RulePage {
    RulePage {
        rule: None,
        tried: None,
        error: Some("the highest must not be below the lowest".into()),
        versions: Vec::new(),
        presets: vec![PresetRow {
            index: 3,
            purpose: "chilled storage",
            held: held(&definition()),
        }],
        ..rule(false)
    }
}
