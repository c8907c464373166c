//! How fast rules are: readings judged a second, a back-test of a year, and what a channel takes in memory.
//!
//! `cargo bench -p domain --bench rules`. Figures stand in docs/performance.md. Not here: whether they are right.

use domain::rule::back_test::{PastReading, back_test};
use domain::rule::{Definition, Engine, Fact, What};
use domain::{Position, Timestamp};
use std::hint::black_box;
use std::time::Instant;

const MINUTE_US: i64 = 60_000_000;

fn begin() -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").expect("a time")
}

fn definition(json: &str) -> Definition {
    serde_json::from_str(json).expect("a definition")
}

/// An engine with so many channels, each with this rule.
fn engine(channels: &[String], definition: &Definition) -> Engine {
    let mut engine = Engine::new();
    let mut out = Vec::new();
    for (number, channel) in channels.iter().enumerate() {
        let device = format!("dev_{number}");
        let rule = format!("rul_{number}");
        for what in [
            What::Device {
                device: &device,
                cadence_s: Some(60),
            },
            What::Channel {
                channel,
                device: &device,
                timezone: "Europe/Berlin",
            },
            What::Rule {
                rule: &rule,
                channel,
                version: 1,
                definition,
            },
        ] {
            let fact = Fact {
                position: Position(number as u64),
                recorded_at: begin(),
                what,
            };
            engine.step(&fact, &mut out);
        }
    }
    engine
}

fn evaluation(name: &str, json: &str, value: impl Fn(u64) -> f64) {
    const CHANNELS: usize = 1_000;
    const ROUNDS: u64 = 1_000;
    let channels: Vec<String> = (0..CHANNELS).map(|n| format!("chn_{n:026}")).collect();
    let devices: Vec<String> = (0..CHANNELS).map(|n| format!("dev_{n}")).collect();
    let mut engine = engine(&channels, &definition(json));
    let (mut out, mut decisions, mut position) = (Vec::new(), 0, 10_000);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let start = Instant::now();
        let at = begin().plus_micros(round as i64 * MINUTE_US);
        for (channel, device) in channels.iter().zip(&devices) {
            position += 1;
            let fact = Fact {
                position: Position(position),
                recorded_at: at.plus_micros(2_000_000),
                what: What::Reading {
                    device,
                    measured_at: at,
                    values: &[(channel, value(round))],
                },
            };
            engine.step(&fact, &mut out);
        }
        rounds.push(start.elapsed().as_secs_f64());
        decisions += out.len();
        out.clear();
    }
    // A round is a reading of each channel. Half of them were not slower than this, whoever else wanted the processor.
    rounds.sort_by(f64::total_cmp);
    let readings = CHANNELS as u64 * ROUNDS;
    println!(
        "{name:<44} {:>12.0} readings/s (all in all {:.0}), {decisions} decisions over {readings} readings",
        CHANNELS as f64 / rounds[rounds.len() / 2],
        readings as f64 / rounds.iter().sum::<f64>()
    );
}

fn year(name: &str, json: &str) {
    let readings = (0..525_600u64).map(|minute| {
        let at = begin().plus_micros(minute as i64 * MINUTE_US);
        PastReading {
            measured_at: at,
            other: false,
            position: Position(minute),
            recorded_at: at,
            value: if minute % 1_440 < 40 { 8.0 } else { 4.0 },
        }
    });
    let start = Instant::now();
    let until = begin().plus_micros(525_600 * MINUTE_US);
    let outcome = back_test(&definition(json), "Europe/Berlin", readings, until).expect("tried");
    println!(
        "{name:<44} {:>9.3} s for {} readings, {} alarms",
        start.elapsed().as_secs_f64(),
        outcome.readings,
        outcome.alarms.len()
    );
    black_box(outcome);
}

/// Bytes of this process in memory, as Linux tells them; 0 elsewhere.
fn counted() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// Bytes that a full engine holds.
fn memory(json: &str) {
    const CHANNELS: usize = 10_000;
    let channels: Vec<String> = (0..CHANNELS).map(|n| format!("chn_{n:026}")).collect();
    let before = counted();
    let mut engine = engine(&channels, &definition(json));
    let empty = counted().saturating_sub(before);
    let mut out = Vec::new();
    for round in 0..200i64 {
        let at = begin().plus_micros(round * MINUTE_US);
        for (number, channel) in channels.iter().enumerate() {
            let device = format!("dev_{number}");
            let fact = Fact {
                position: Position(round as u64 * CHANNELS as u64 + number as u64),
                recorded_at: at,
                what: What::Reading {
                    device: &device,
                    measured_at: at,
                    values: &[(channel, 4.0)],
                },
            };
            engine.step(&fact, &mut out);
        }
        out.clear();
    }
    let full = counted().saturating_sub(before);
    let start = Instant::now();
    let bytes = engine.snapshot().expect("written");
    let took = start.elapsed();
    println!(
        "a channel with its device and one rule: {} bytes at first, {} with {} readings kept; {} bytes in a snapshot ({:.2} s for {CHANNELS})",
        empty / CHANNELS,
        full / CHANNELS,
        domain::rule::engine::KEPT_MAX,
        bytes.as_bytes().len() / CHANNELS,
        took.as_secs_f64()
    );
    black_box(engine);
}

fn main() {
    let range = r#"{"ok_min":-2,"ok_max":5,"grace_min":15}"#;
    // First, while nothing else has been in memory.
    memory(range);
    let windows = r#"{"ok_max":5,"grace_min":15,"windows":[{"rrule":"FREQ=DAILY;BYHOUR=0;BYMINUTE=0","duration_min":45,"ok_max":12}]}"#;
    evaluation("range, all right", range, |_| 4.0);
    evaluation("range, an alarm every two hours", range, |round| {
        if round % 120 < 30 { 9.0 } else { 4.0 }
    });
    evaluation("range with a nightly window", windows, |_| 4.0);
    evaluation(
        "delta",
        r#"{"kind":"delta","max_delta":2,"interval_s":300}"#,
        |round| (round % 2) as f64,
    );
    evaluation("derivative", r#"{"kind":"derivative","max_rate":5}"#, |round| {
        (round % 3) as f64
    });
    evaluation("absence", r#"{"kind":"absence","min_interval_s":600}"#, |_| 4.0);
    year("back-test of a year, a reading a minute", range);
    year("the same with a nightly window", windows);
}
