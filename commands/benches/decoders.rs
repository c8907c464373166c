//! How long each decoder takes on one core: a table, nothing is asserted. Run with `cargo bench -p commands --bench decoders`.
//!
//! The first row is the hot path: a batch of a hundred reports with one value each.
//! Not here: sockets, tokens, the ledger (`daybook bench` measures the whole way).

use commands::ingest::decoded::{DecodeError, Decoded};
use commands::ingest::{efento, lorawan, native, shelly};
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Short rounds, of which the least disturbed one counts: other work on the machine only ever adds.
const ROUND: Duration = Duration::from_millis(5);
const ROUNDS: usize = 100;

fn batch(reports: usize, measurements: usize, label: &str) -> String {
    let entries: Vec<String> = (0..measurements)
        .map(|i| format!(r#"{{"type":"temperature","value":{}.25{label}}}"#, i % 40))
        .collect();
    let bodies: Vec<String> = (0..reports)
        .map(|i| {
            format!(
                r#"{{"device":"fridge-{i:04}","ts":"2026-05-17T08:{:02}:{:02}.123Z","measurements":[{}]}}"#,
                i / 60 % 60,
                i % 60,
                entries.join(",")
            )
        })
        .collect();
    format!(r#"{{"reports":[{}]}}"#, bodies.join(","))
}

const RPC: &str = r#"{"src":"shellyhtg3-a0b1c2d3e4f5","dst":"user_1","method":"NotifyFullStatus","params":{"ts":1770109200.5,
"temperature:0":{"id":0,"tC":6.3,"tF":43.3},"humidity:0":{"id":0,"rh":77.7},"devicepower:0":{"id":0,"battery":
{"V":5.02,"percent":58},"external":{"present":false}},"wifi":{"rssi":-62},"sys":{"mac":"A0B1C2D3E4F5","unixtime":1770109200}}}"#;

const TTS: &str = r#"{"end_device_ids":{"device_id":"probe-17","application_ids":{"application_id":"cellar"},
"dev_eui":"70B3D57ED0C0FFEE","dev_addr":"260B1234"},"received_at":"2026-02-03T09:00:00.455Z","uplink_message":{
"session_key_id":"AYx1c2Vzc2lvbi1r","f_port":2,"f_cnt":17,"frm_payload":"AWcA0w==","decoded_payload":{"battery":93,
"humidity":81,"temperature":4.75},"rx_metadata":[{"gateway_ids":{"gateway_id":"roof","eui":"6A7E111A10000000"},
"time":"2026-02-03T09:00:00.2Z","timestamp":3893546133,"rssi":-104,"channel_rssi":-104,"snr":6.25}],"settings":{
"data_rate":{"lora":{"bandwidth":125000,"spreading_factor":7}},"frequency":"867100000"},
"received_at":"2026-02-03T09:00:00.250999999Z","consumed_airtime":"0.056576s"}}"#;

const EFENTO: &str = r#"{"measurements":[{"serial":"282C02AABB01","response_handle":3,"battery":"ok","signal":-70,
"measured_at":"2026-02-03 09:00:00","measurement_interval":180,"next_measurement_at":"2026-02-03 09:03:00","params":[
{"channel":1,"type":"temperature","value":5.0},{"channel":2,"type":"humidity","value":30}]}]}"#;

/// Nanoseconds of one call in the best round.
fn best(mut call: impl FnMut() -> Result<Decoded, DecodeError>) -> f64 {
    assert!(
        matches!(black_box(call()), Ok(Decoded::Reports(_))),
        "a benchmark of a refusal measures nothing"
    );
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (started, mut calls) = (Instant::now(), 0u32);
        while started.elapsed() < ROUND {
            for _ in 0..8 {
                let _ = black_box(call());
            }
            calls += 8;
        }
        best = best.min(started.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}

fn main() {
    let (hundred, labelled, wide) = (
        batch(100, 1, ""),
        batch(100, 1, r#","label":"door","unit":"Cel""#),
        batch(10, 32, ""),
    );
    let query = "token=ds_live_x&hum=47&temp=21.38&battery=5.61&signal=-61&id=shellyht-0A1B2C";
    let native = |body: &str| best(|| native::decode(black_box(body.as_bytes()), None));
    let rows = [
        (
            "native, 100 reports of 1 value",
            100,
            hundred.len(),
            native(&hundred),
        ),
        (
            "native, the same with label and unit",
            100,
            labelled.len(),
            native(&labelled),
        ),
        ("native, 10 reports of 32 values", 10, wide.len(), native(&wide)),
        (
            "shelly query",
            1,
            query.len(),
            best(|| shelly::decode(black_box(query), b"")),
        ),
        (
            "shelly NotifyFullStatus",
            1,
            RPC.len(),
            best(|| shelly::decode("", black_box(RPC.as_bytes()))),
        ),
        (
            "lorawan, The Things Stack",
            1,
            TTS.len(),
            best(|| lorawan::decode("", black_box(TTS.as_bytes()))),
        ),
        (
            "efento gateway",
            1,
            EFENTO.len(),
            best(|| efento::decode(black_box(EFENTO.as_bytes()))),
        ),
    ];
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "{:<38} {:>9} {:>12} {:>10}",
        "decoder", "bytes", "ns/report", "MB/s"
    );
    for (name, reports, bytes, nanos) in rows {
        let each = nanos / f64::from(reports);
        let _ = writeln!(
            out,
            "{name:<38} {bytes:>9} {each:>12.0} {:>10.0}",
            bytes as f64 / nanos * 1e3
        );
    }
}
