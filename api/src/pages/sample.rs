//! Sample view models for the goldens and for looking at the pages in a browser: a kitchen, a pharmacy, a
//! server room, and one of every trouble.
//!
//! Not here: real data.

use crate::judged::Judged;
use domain::{Date, Hash, Timestamp};

use super::device::view::DevicePage;
use super::overview::view::Overview;
use super::view::*;
use super::words::Zone;

pub const MIN: i64 = 60_000_000;

pub fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-05-17T12:03:22Z").expect("a time of the sample")
}

pub fn before(minutes: i64) -> Timestamp {
    now().plus_micros(-minutes * MIN)
}

pub fn root(n: u8) -> Hash {
    domain::hash::sha256(&[n])
}

pub fn zone() -> Zone {
    Zone::named("Europe/Bratislava")
}

pub fn frame() -> Frame {
    Frame {
        now: now(),
        zone: zone(),
        viewer: Some(Viewer {
            name: "Jana Nováková".into(),
            role: "owner".into(),
            may_edit: true,
            account: "Bistro Dunaj".into(),
            csrf: "csrf-of-the-session".into(),
        }),
        ledger: LedgerStrip {
            size: 1_204_332,
            root: root(1),
            last_head: Date::parse("2026-05-16").ok(),
            paused: None,
        },
        tray: 2,
        alarms: OpenAlarms { open: 2, unseen: 1 },
        notice: None,
    }
}

pub fn public_frame() -> Frame {
    Frame {
        viewer: None,
        tray: 0,
        alarms: OpenAlarms::default(),
        zone: Zone::utc(),
        ..frame()
    }
}

/// The same wave every time: a day's swing, a compressor's saw, no randomness.
fn wave(base: f64, swing: f64, saw: f64, i: i64) -> f64 {
    let day = (i as f64 / 288.0 * std::f64::consts::TAU).sin();
    let tooth = (i % 9) as f64 / 9.0 - 0.5;
    let grit = ((i * 7919) % 13) as f64 / 13.0 - 0.5;
    ((base + swing * day + saw * tooth + saw * 0.3 * grit) * 10.0).round() / 10.0
}

fn day_series(base: f64, swing: f64, saw: f64, until_min: i64) -> Series {
    Series::Points(
        (0..288)
            .map(|i| (before(1440 - i * 5), wave(base, swing, saw, i)))
            .filter(|(at, _)| *at <= before(until_min))
            .collect(),
    )
}

fn limits(min: Option<f64>, max: Option<f64>) -> Limits {
    Limits {
        min,
        max,
        grace_min: Some(15),
    }
}

pub fn channel(id: &str, kind: &str, unit: &str, latest: Option<(i64, f64)>, limits: Limits) -> ChannelNow {
    ChannelNow {
        id: format!("chn_{id}"),
        sensor: format!("snr_{id}"),
        kind: kind.into(),
        label: None,
        unit: unit.into(),
        auxiliary: matches!(kind, "battery" | "signal"),
        latest: latest.map(|(m, v)| (before(m), v)),
        old: false,
        judged: Judged {
            told: latest.map(|(_, v)| match limits.side_of(v) {
                Some(_) => domain::rule::ChannelState::Alarm,
                None => domain::rule::ChannelState::Ok,
            }),
            since: latest.and_then(|(_, v)| limits.side_of(v)).map(|_| before(34)),
            rules: usize::from(!limits.is_open()),
            ..Judged::default()
        },
        limits,
        etag: "\"41\"".into(),
    }
}

fn spark(series: Series, limits: Limits, gaps: Vec<Gap>) -> Option<Spark> {
    Some(Spark {
        from: before(1440),
        to: now(),
        series,
        gaps,
        limits,
    })
}

fn row(id: &str, name: &str, site: (&str, &str), minutes: i64, channels: Vec<ChannelNow>) -> DeviceRow {
    DeviceRow {
        id: format!("dev_{id}"),
        name: name.into(),
        site: site.0.into(),
        site_name: site.1.into(),
        model: "shelly-h-t-gen3".into(),
        online: true,
        cadence_s: Some(300),
        last_seen: Some(before(minutes)),
        channels,
        refused: None,
        spark: None,
    }
}

const KITCHEN: (&str, &str) = ("site_kitchen", "Bistro Dunaj");
const CELLAR: (&str, &str) = ("site_cellar", "Boiler room");
const SERVERS: (&str, &str) = ("site_servers", "Server room");

pub fn sites() -> Vec<SiteCard> {
    let site = |s: (&str, &str), vertical: &str| SiteCard {
        id: s.0.into(),
        name: s.1.into(),
        vertical: vertical.into(),
        zone: zone(),
    };
    vec![
        site(KITCHEN, "haccp"),
        site(CELLAR, "legionella"),
        site(SERVERS, "server-room"),
    ]
}

pub fn refusal() -> RefusalNote {
    RefusalNote {
        at: before(2),
        code: "out_of_range".into(),
        message: "temperature -127 is outside -273.15 to 2000 or a value that stands for “no sensor”".into(),
        count: 14,
        example: Some(r#"{"device":"ice01","measurements":[{"type":"temperature","value":-127}]}"#.into()),
    }
}

pub fn devices() -> Vec<DeviceRow> {
    let fridge = limits(Some(2.0), Some(5.0));
    let frozen = limits(Some(-24.0), Some(-18.0));
    let open = Limits::default();
    let mut out = Vec::new();

    let mut d = row(
        "walkin",
        "Walk-in fridge",
        KITCHEN,
        1,
        vec![
            channel("walkin_t", "temperature", "Cel", Some((1, 6.3)), fridge),
            channel("walkin_h", "humidity", "%", Some((1, 71.0)), open),
            channel("walkin_b", "battery", "%", Some((1, 84.0)), open),
        ],
    );
    let mut points = match day_series(3.7, 0.4, 1.0, 0) {
        Series::Points(p) => p,
        Series::Buckets(_) => Vec::new(),
    };
    let n = points.len();
    for (i, p) in points.iter_mut().enumerate().skip(n - 14) {
        p.1 = 4.4 + (i + 14 - n) as f64 * 0.14;
    }
    d.spark = spark(Series::Points(points), fridge, Vec::new());
    out.push(d);

    let mut d = row(
        "display",
        "Display counter",
        KITCHEN,
        3,
        vec![
            channel(
                "display_t",
                "temperature",
                "Cel",
                Some((3, 5.1)),
                limits(Some(-2.0), Some(8.0)),
            ),
            channel("display_h", "humidity", "%", Some((3, 64.0)), open),
        ],
    );
    d.spark = spark(
        day_series(5.0, 0.6, 0.8, 3),
        limits(Some(-2.0), Some(8.0)),
        Vec::new(),
    );
    out.push(d);

    let mut d = row(
        "chest",
        "Chest freezer",
        KITCHEN,
        192,
        vec![channel(
            "chest_t",
            "temperature",
            "Cel",
            Some((192, -19.4)),
            frozen,
        )],
    );
    d.online = false;
    d.spark = spark(
        day_series(-20.0, 0.5, 1.2, 192),
        frozen,
        vec![Gap {
            from: before(192),
            to: None,
        }],
    );
    out.push(d);

    let mut d = row(
        "ice",
        "Ice machine",
        KITCHEN,
        41,
        vec![channel("ice_t", "temperature", "Cel", Some((41, -6.2)), open)],
    );
    d.cadence_s = Some(1800);
    d.refused = Some(refusal());
    d.spark = spark(day_series(-6.0, 0.3, 0.6, 41), open, Vec::new());
    out.push(d);

    let mut d = row(
        "tank",
        "Hot water tank",
        CELLAR,
        4,
        vec![
            ChannelNow {
                label: Some("top".into()),
                ..channel(
                    "tank_top",
                    "temperature",
                    "Cel",
                    Some((4, 62.4)),
                    limits(Some(60.0), None),
                )
            },
            ChannelNow {
                label: Some("bottom".into()),
                ..channel(
                    "tank_bot",
                    "temperature",
                    "Cel",
                    Some((4, 57.9)),
                    limits(Some(55.0), None),
                )
            },
            ChannelNow {
                label: Some("return".into()),
                ..channel(
                    "tank_ret",
                    "temperature",
                    "Cel",
                    Some((4, 51.2)),
                    limits(Some(50.0), None),
                )
            },
        ],
    );
    d.spark = spark(
        day_series(62.0, 1.5, 0.7, 4),
        limits(Some(60.0), None),
        Vec::new(),
    );
    out.push(d);

    let mut d = row(
        "leak",
        "Floor drain",
        CELLAR,
        12,
        vec![channel(
            "leak_l",
            "leak",
            "1",
            Some((12, 0.0)),
            limits(None, Some(0.0)),
        )],
    );
    d.cadence_s = Some(3600);
    out.push(d);

    let mut d = row(
        "rack",
        "Rack 2 intake",
        SERVERS,
        0,
        vec![
            channel(
                "rack_t",
                "temperature",
                "Cel",
                Some((0, 22.8)),
                limits(Some(18.0), Some(27.0)),
            ),
            channel(
                "rack_h",
                "humidity",
                "%",
                Some((0, 44.0)),
                limits(Some(20.0), Some(80.0)),
            ),
        ],
    );
    d.spark = spark(
        day_series(22.5, 1.2, 0.4, 0),
        limits(Some(18.0), Some(27.0)),
        Vec::new(),
    );
    out.push(d);

    let phase = |p: &str, w: f64| ChannelNow {
        label: Some(p.into()),
        ..channel(&format!("meter_{p}"), "power", "W", Some((0, w)), open)
    };
    let mut d = row(
        "meter",
        "Three-phase meter",
        SERVERS,
        0,
        vec![
            phase("a", 1412.0),
            phase("b", 988.0),
            phase("c", 2260.0),
            phase("total", 4660.0),
            channel("meter_e", "energy", "kWh", Some((0, 18_204.37)), open),
        ],
    );
    d.spark = spark(day_series(1400.0, 500.0, 300.0, 0), open, Vec::new());
    out.push(d);

    let mut d = row("new", "Pastry fridge", KITCHEN, 0, Vec::new());
    d.last_seen = None;
    d.online = false;
    out.push(d);
    out
}

pub fn overview() -> Overview {
    Overview {
        sites: sites(),
        devices: devices(),
    }
}

pub fn timeline() -> Vec<Change> {
    vec![
        Change {
            at: before(2900),
            position: 1_150_003,
            actor: "Jana Nováková".into(),
            title: "Limits of Temperature changed".into(),
            about: None,
            changes: vec![("highest".into(), Some("8 °C".into()), Some("5 °C".into()))],
            reason: Some("HACCP plan 2026, chapter 4".into()),
        },
        Change {
            at: before(40_000),
            position: 801_442,
            actor: "system: ingest".into(),
            title: "Channel Temperature registered".into(),
            about: None,
            changes: vec![("limits".into(), None, Some("−2 to 8 °C".into()))],
            reason: None,
        },
        Change {
            at: before(40_010),
            position: 801_440,
            actor: "Jana Nováková".into(),
            title: "Device registered".into(),
            about: None,
            changes: Vec::new(),
            reason: None,
        },
    ]
}

pub fn token_row() -> TokenRow {
    TokenRow {
        id: "k3v7q2mxw5cztbnfy4hjd6rpae".into(),
        prefix: "ds_live_".into(),
        owner: "Walk-in fridge".into(),
        issued_at: before(40_010),
        last_used: Some(before(1)),
        expires_at: None,
    }
}

pub fn device() -> DevicePage {
    DevicePage {
        row: devices().remove(0),
        sparks: [
            ("chn_walkin_t".to_owned(), devices().remove(0).spark),
            (
                "chn_walkin_h".to_owned(),
                spark(day_series(71.0, 4.0, 3.0, 1), Limits::default(), Vec::new()),
            ),
        ]
        .into_iter()
        .filter_map(|(id, s)| Some((id, s?)))
        .collect(),
        local_id: "walkin01".into(),
        dev_eui: None,
        serial: Some("8CBFEA9A1F30".into()),
        notes: Some("Probe beside the door, second shelf.".into()),
        zone: zone(),
        gaps: vec![
            Gap {
                from: before(700),
                to: Some(before(655)),
            },
            Gap {
                from: before(4000),
                to: Some(before(3820)),
            },
        ],
        refusals: vec![RefusalNote {
            at: before(4100),
            code: "rate_limited".into(),
            message: "more than 60 requests in a minute; retry after 12 s".into(),
            count: 3,
            example: None,
        }],
        timeline: timeline(),
        tokens: vec![token_row()],
        sites: sites()
            .into_iter()
            .skip(1)
            .map(|s| Link {
                href: s.id,
                text: s.name,
            })
            .collect(),
        config: 1_150_003,
        alarms: vec![super::sample_alarms::row(
            "one",
            domain::rule::Severity::Alarm,
            super::alarms::view::Life::Open,
        )],
        etag: "\"7\"".into(),
    }
}

pub fn channel_page(range: Range) -> ChannelPage {
    let device = devices().remove(0);
    let days = range.length_us().unwrap_or(domain::time::DAY_US) / domain::time::DAY_US;
    let from = now().plus_micros(-days * domain::time::DAY_US);
    let old = limits(Some(-2.0), Some(8.0));
    let new = limits(Some(2.0), Some(5.0));
    let series = if days == 1 {
        device
            .spark
            .clone()
            .map(|s| s.series)
            .unwrap_or(Series::Points(Vec::new()))
    } else {
        Series::Buckets(
            (0..days * 24)
                .map(|i| {
                    let mean = wave(3.7, 0.3, 0.8, i * 12) + if i % 171 == 90 { 2.6 } else { 0.0 };
                    Bucket {
                        from: from.plus_micros(i * 60 * MIN),
                        to: from.plus_micros((i + 1) * 60 * MIN),
                        min: mean - 0.5 - (i % 5) as f64 * 0.06,
                        mean,
                        max: mean + 0.6 + (i % 7) as f64 * 0.08,
                        count: 12,
                    }
                })
                .filter(|b| !(b.from >= before(4060) && b.to <= before(3600)))
                .collect(),
        )
    };
    let gaps = if days == 1 {
        vec![Gap {
            from: before(700),
            to: Some(before(610)),
        }]
    } else {
        vec![Gap {
            from: before(4060),
            to: Some(before(3600)),
        }]
    };
    let series = match series {
        Series::Points(p) => Series::Points(
            p.into_iter()
                .filter(|(t, _)| !(*t > before(700) && *t < before(610)))
                .collect(),
        ),
        other => other,
    };
    ChannelPage {
        channel: device.channels[0].clone(),
        device: Link {
            href: "/app/devices/dev_walkin".into(),
            text: "Walk-in fridge".into(),
        },
        online: true,
        site: Link {
            href: "/app/sites/site_kitchen".into(),
            text: "Bistro Dunaj".into(),
        },
        zone: zone(),
        range,
        from,
        to: now(),
        series,
        limits: vec![
            LimitSpan {
                from: before(40_000),
                to: Some(before(2900)),
                limits: old,
            },
            LimitSpan {
                from: before(2900),
                to: None,
                limits: new,
            },
        ],
        gaps,
        spans: (0..8)
            .map(|i| SpanRow {
                label: format!("{:02}:00–{:02}:00", 14 - i, 15 - i),
                min: 3.1 + i as f64 * 0.05,
                mean: 4.0 + if i == 0 { 1.6 } else { 0.0 },
                max: 4.7 + if i == 0 { 1.6 } else { 0.0 },
                count: 12,
                limits: new,
            })
            .collect(),
        readings: (0..6)
            .map(|i| ReadingRow {
                position: 1_204_331 - i as u64 * 17,
                measured_at: before(1 + i * 5),
                recorded_at: Some(before(1 + i * 5).plus_micros(412_000)),
                value: [6.3, 6.1, 5.9, 5.8, 5.600000023841858, 5.5][i as usize],
                raw: [6.3, 6.1, 5.9, 5.8, 5.600000023841858, 5.5][i as usize],
                notes: Vec::new(),
                time_from: if i == 3 {
                    "received".into()
                } else {
                    "device".into()
                },
            })
            .collect(),
        csv_href:
            "/app/channels/chn_walkin_t/measurements.csv?from=2026-05-16T12:03:22Z&to=2026-05-17T12:03:22Z"
                .into(),
        alarms: vec![super::sample_alarms::row(
            "one",
            domain::rule::Severity::Alarm,
            super::alarms::view::Life::Open,
        )],
        rules: super::sample_alarms::rules(),
        silences: super::sample_alarms::silences(),
        silence: super::alarms::view::SilenceForm::default(),
        values: super::values::view::Values::default(),
        error: None,
    }
}

pub fn evidence() -> EvidencePage {
    let day = |text: &str| Date::parse(text).expect("a day of the sample");
    let made = |open_from: Option<&str>| PackMade {
        file: "/v1/evidence/pck_a/file".into(),
        bytes: 12_431_002,
        sha256: "mB8Ke0xVn1aN3cP5Jq4oXr7s9uWyBzDgFhIkLmEaQbQ=".into(),
        pack_sha256: "Yc7Q3v0dYf8nJ2kqz4ZlWm1oXr7s9uWyBzDgFhIkLmE=".into(),
        values: 8_640,
        open_from: open_from.map(day),
        position: 1_204_101,
    };
    let row = |id: &str, about: &str, state: PackState| PackRow {
        id: id.into(),
        about: about.into(),
        from: day("2026-05-01"),
        to: day("2026-05-16"),
        asked_at: before(7),
        asked_by: "Jana Nováková".into(),
        encrypted: 0,
        state,
    };
    EvidencePage {
        subjects: vec![
            Subjects {
                label: "Sites, with every device that was ever there".into(),
                options: vec![("site:site_a".into(), "Kitchen".into())],
            },
            Subjects {
                label: "Devices, with their channels".into(),
                options: vec![("device:dev_a".into(), "Walk-in fridge".into())],
            },
        ],
        chosen: Some("device:dev_a".into()),
        from: "2026-05-01".into(),
        to: "2026-05-16".into(),
        recipients: String::new(),
        error: Some("Not asked for: the days from 2026-05-17 to 2026-05-16 are none.".into()),
        packs: vec![
            row("pck_w", "Kitchen", PackState::Waiting { progress: None }),
            row(
                "pck_r",
                "Walk-in fridge",
                PackState::Waiting {
                    progress: Some((412_000, 1_204_000)),
                },
            ),
            PackRow {
                encrypted: 2,
                ..row(
                    "pck_a",
                    "Temperature, Walk-in fridge",
                    PackState::Ready {
                        expires_at: before(-9_000),
                        made: made(Some("2026-05-17")),
                    },
                )
            },
            row(
                "pck_e",
                "Kitchen",
                PackState::Expired {
                    at: before(300),
                    made: made(None),
                },
            ),
            row(
                "pck_f",
                "Kitchen",
                PackState::Failed {
                    message: "the ledger begins after 2026-05-16".into(),
                },
            ),
        ],
        last_closed: Some(day("2026-05-16")),
        idempotency_key: "idem-2".into(),
    }
}
