//! Every payload case against the decoders, without HTTP: the repository's own, and a larger collection where
//! the folder is there (`DAYBOOK_PAYLOADS`, or `../shared/payloads` beside the workspace).
//!
//! Not here: what a stored reading looks like, which the end-to-end run of the same cases shows.

use commands::ingest::decoded::{DecodeError, Decoded, UplinkId};
use commands::ingest::{efento, lorawan, native, shelly};
use payloads::{Actual, Case, Reading};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

// The comparison is shared by its file and not by a dependency: `tests` stands above every other room.
#[allow(
    dead_code,
    reason = "what runs cases over HTTP is used by the end-to-end tests only"
)]
#[path = "../../tests/src/payloads.rs"]
mod payloads;

/// What may stand in `requires` and is there.
const FEATURES: &[&str] = &["units_in_strings", "shelly_gen1_status"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a room stands in the workspace")
        .to_owned()
}

fn decode(case: &Case, body: &[u8]) -> Option<Result<Decoded, DecodeError>> {
    let header = |name: &str| {
        case.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    Some(match case.path.as_str() {
        "/v1/ingest" => native::decode(body, header("X-Device-Id")),
        "/v1/ingest/shelly" => shelly::decode(&case.query, body),
        "/v1/ingest/lorawan" => lorawan::decode(&case.query, body),
        "/api/v2/measurements" | "/v1/ingest/efento" => efento::decode(body),
        // The same object that a device sends over HTTP.
        topic if case.transport == "mqtt" && topic.ends_with("/events/rpc") => shelly::decode("", body),
        _ => return None,
    })
}

fn run(case: &Case) -> Option<Actual> {
    let mut actual = Actual {
        dropped: Some(Vec::new()),
        ..Actual::default()
    };
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut is_new = |id: &Option<UplinkId>| match id {
        Some(id) => seen.insert(format!("{id:?}")),
        None => true,
    };
    for body in &case.bodies {
        match decode(case, body)? {
            Err(error) => actual.rejected = Some(error.to_string()),
            Ok(Decoded::Opaque(uplink)) => actual.device = Some(uplink.dev_eui),
            Ok(Decoded::Nothing { device, dropped, .. }) => {
                actual.device = device.map(|d| d.as_str().to_owned());
                note(&mut actual, &dropped);
            }
            Ok(Decoded::Reports(reports)) => {
                for report in reports.into_iter().filter(|report| is_new(&report.uplink)) {
                    actual.device = report.device.map(|d| d.as_str().to_owned());
                    note(&mut actual, &report.dropped);
                    actual
                        .readings
                        .extend(report.measurements.iter().map(|m| Reading {
                            channel: m.kind.name.to_owned(),
                            label: m.label.clone(),
                            value: m.value,
                            unit: m.unit().to_owned(),
                            at_us: m.at.map(|timed| timed.at.as_micros()),
                        }));
                }
            }
        }
    }
    Some(actual)
}

fn note(actual: &mut Actual, dropped: &[commands::ingest::decoded::Dropped]) {
    let codes = dropped
        .iter()
        .map(|d| (d.channel.clone(), d.reason.code().to_owned()));
    actual.dropped.get_or_insert_default().extend(codes);
}

/// Runs every case of a folder; gives how many ran, and the differences.
fn check(dir: &Path) -> (usize, Vec<String>) {
    let (mut ran, mut failures) = (0, Vec::new());
    for case in payloads::load(dir) {
        if case.lacks(FEATURES).is_some() {
            continue;
        }
        let Some(actual) = run(&case) else { continue };
        ran += 1;
        failures.extend(
            case.differences(&actual)
                .into_iter()
                .map(|d| format!("{}: {d}", case.id)),
        );
    }
    (ran, failures)
}

#[test]
fn every_case_of_this_repository_gives_exactly_what_it_expects() {
    let dir = workspace().join("tests/fixtures");
    let (ran, failures) = check(&dir);
    assert!(
        failures.is_empty(),
        "{} differences:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(ran >= 120, "only {ran} cases ran");
}

#[test]
fn every_case_of_the_larger_collection_gives_exactly_what_it_expects() {
    let named = std::env::var_os("DAYBOOK_PAYLOADS").map(PathBuf::from);
    let dir = named.unwrap_or_else(|| workspace().join("../shared/payloads"));
    if !dir.is_dir() {
        eprintln!("SKIPPED: no payloads at {}; set DAYBOOK_PAYLOADS", dir.display());
        return;
    }
    let (ran, failures) = check(&dir);
    assert!(
        failures.is_empty(),
        "{} differences:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(ran > 0, "no case ran in {}", dir.display());
    eprintln!("{ran} cases of {}", dir.display());
}
