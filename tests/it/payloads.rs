//! Every payload case over real HTTP: what the ledger holds afterwards is what the case expects, and nothing else.
//!
//! The repository's own cases always; a larger collection where the folder is there (`DAYBOOK_PAYLOADS`, or
//! `../shared/payloads` beside the workspace). Devices are registered as an operator would: by local id, MAC, DevEUI
//! or serial number, as the payload names them.
//! Not here: decoders by themselves (`commands/tests/payloads.rs`).

use domain::entry::Entry;
use domain::reading::{READING_RECORDED, Reading as Recorded, TimeFrom};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::daybook::{Daybook, Reply};
use tests::payloads::{self, Actual, Case, Reading};

/// What may stand in `requires` and is there.
const FEATURES: &[&str] = &["units_in_strings", "shelly_gen1_status"];
/// The local id of a device that its payload does not name.
const UNNAMED: &str = "unnamed";
/// Services at once.
const KITCHENS: usize = 3;
/// Headers of a case that are the transport's or whose credentials are replaced by real ones.
const NOT_SENT: &[&str] = &["authorization", "x-api-token", "host", "content-length"];

/// Which door a case goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Native,
    Shelly,
    Lorawan,
    Efento,
}

fn door(case: &Case) -> Option<Door> {
    match case.path.as_str() {
        "/v1/ingest" => Some(Door::Native),
        "/v1/ingest/shelly" => Some(Door::Shelly),
        "/v1/ingest/lorawan" => Some(Door::Lorawan),
        "/api/v2/measurements" | "/v1/ingest/efento" => Some(Door::Efento),
        _ => None,
    }
}

#[test]
fn every_case_of_this_repository_is_recorded_as_it_expects() {
    let ran = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
    assert!(ran >= 120, "only {ran} cases ran");
}

#[test]
fn every_case_of_the_larger_collection_is_recorded_as_it_expects() {
    let named = std::env::var_os("DAYBOOK_PAYLOADS").map(PathBuf::from);
    let dir = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/payloads"));
    if !dir.is_dir() {
        eprintln!("SKIPPED: no payloads at {}; set DAYBOOK_PAYLOADS", dir.display());
        return;
    }
    let ran = check(&dir);
    assert!(ran > 0, "no case ran");
    eprintln!("{ran} cases of {}", dir.display());
}

/// Runs every case of a folder that is for us, and fails with every difference; how many ran.
fn check(dir: &Path) -> usize {
    let cases: Vec<Case> = payloads::load(dir)
        .into_iter()
        .filter(|case| case.transport.starts_with("http") && door(case).is_some())
        .filter(|case| case.lacks(FEATURES).is_none())
        .collect();
    let waves = waves(&cases);
    let (next, differences) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..KITCHENS {
            scope.spawn(|| {
                while let Some(wave) = waves.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = run_wave(wave);
                    differences.lock().expect("not poisoned").extend(found);
                }
            });
        }
    });
    let mut differences = differences.into_inner().expect("not poisoned");
    differences.sort();
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    cases.len()
}

/// Runs cases against one service; the differences.
fn run_wave(wave: &[&Case]) -> Vec<String> {
    let kitchen = Kitchen::open();
    let differences = wave.iter().flat_map(|case| {
        let found = case.differences(&kitchen.run(case));
        found.into_iter().map(|what| format!("{}: {what}", case.id))
    });
    differences.collect()
}

/// A radio frame is known by its counter for a day, so cases with the same device go to different services.
fn waves(cases: &[Case]) -> Vec<Vec<&Case>> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut waves: Vec<Vec<&Case>> = vec![Vec::new()];
    for case in cases {
        if door(case) != Some(Door::Lorawan) {
            waves[0].push(case);
            continue;
        }
        let count = seen.entry(hint(case).to_ascii_lowercase()).or_default();
        if waves.len() == *count {
            waves.push(Vec::new());
        }
        waves[*count].push(case);
        *count += 1;
    }
    waves
}

fn hint(case: &Case) -> &str {
    case.expect.device.as_deref().unwrap_or(UNNAMED)
}

/// A service with a site and a gateway's token.
struct Kitchen {
    daybook: Daybook,
    site: String,
    webhook: String,
}

impl Kitchen {
    fn open() -> Self {
        let daybook = Daybook::with()
            .set("rate_per_minute", 0)
            .set("user_rate_per_minute", 0)
            .set("log", "warn")
            .start();
        let site = json!({"name": "Kitchen", "vertical": "haccp", "timezone": "Europe/Prague"});
        let site = daybook.post("/v1/sites", &site).expect(201);
        let webhook = json!({"kind": "lorawan", "name": "Gateway"});
        let webhook = daybook.post("/v1/integrations", &webhook).expect(201);
        Self {
            site: text(&site["id"]),
            webhook: text(&webhook["token"]),
            daybook,
        }
    }

    fn run(&self, case: &Case) -> Actual {
        let door = door(case).expect("only cases with a door are run");
        let (device, token) = self.register(case, door);
        let before = self.size();
        let mut actual = Actual {
            // An Efento gateway is not told what was dropped.
            dropped: (door != Door::Efento).then(Vec::new),
            ..Actual::default()
        };
        for body in &case.bodies {
            let reply = self.send(case, door, &token, body);
            note(&mut actual, door, &reply);
        }
        if actual.rejected.is_none() {
            // Whoever sends for another device is refused, so what was taken is this one's.
            actual.device = case.expect.device.clone();
        }
        actual.readings = self.recorded(case, &device, before);
        if actual.rejected.is_some() {
            assert!(actual.readings.is_empty(), "{}: refused and recorded", case.id);
        }
        // Other cases name the same device, and must not meet this one's readings.
        let removed = self.daybook.delete(&format!("/v1/devices/{device}"));
        assert_eq!(removed.status, 204, "{}", removed.text());
        actual
    }

    /// The device that the case names, as its family is registered: its id, and the token that is sent.
    fn register(&self, case: &Case, door: Door) -> (String, String) {
        let hint = hint(case);
        let is_eui = hint.len() == 16 && hint.bytes().all(|c| c.is_ascii_hexdigit());
        let mut body = json!({"site_id": self.site, "local_id": hint, "name": hint, "model": "http"});
        match door {
            Door::Lorawan if is_eui => {
                body["dev_eui"] = hint.into();
                body["model"] = "lorawan".into();
            }
            Door::Efento => body["serial"] = hint.into(),
            Door::Shelly => body["model"] = "shelly-h-t-gen3".into(),
            Door::Native | Door::Lorawan => {}
        }
        let device = self.daybook.post("/v1/devices", &body).expect(201);
        let token = match door {
            Door::Native | Door::Shelly => text(&device["ingest_token"]),
            Door::Lorawan | Door::Efento => self.webhook.clone(),
        };
        (text(&device["id"]), token)
    }

    fn send(&self, case: &Case, door: Door, token: &str, body: &[u8]) -> Reply {
        // A token in the case's own query is not a real one.
        let kept: Vec<&str> = case
            .query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("token="))
            .collect();
        let mut query = kept.join("&");
        if door == Door::Lorawan || case.query.contains("token=") {
            let separator = if query.is_empty() { "" } else { "&" };
            query = format!("token={token}{separator}{query}");
        }
        let path = match query.as_str() {
            "" => case.path.clone(),
            query => format!("{}?{query}", case.path),
        };
        let method = if case.transport == "http-get" {
            "GET"
        } else {
            "POST"
        };
        let mut call = self.daybook.call(method, &path);
        for (name, value) in &case.headers {
            if !NOT_SENT.contains(&name.to_ascii_lowercase().as_str()) {
                call = call.header(name, value);
            }
        }
        call = match door {
            Door::Native => call.token(token),
            Door::Efento => call.header("X-Api-Token", token),
            Door::Shelly if !case.query.contains("token=") => call.token(token),
            Door::Shelly | Door::Lorawan => call,
        };
        if method == "POST" {
            call = call.bytes(body);
        }
        call.send()
    }

    fn size(&self) -> u64 {
        let reply = self.daybook.get("/v1/entries?limit=1");
        reply
            .header("daybook-size")
            .and_then(|size| size.parse().ok())
            .expect("the ledger's size")
    }

    /// What the ledger holds of the device from a position on.
    fn recorded(&self, case: &Case, device: &str, from: u64) -> Vec<Reading> {
        let sensors = self
            .daybook
            .get(&format!("/v1/devices/{device}/sensors"))
            .expect(200);
        let sensors: BTreeMap<String, (Option<String>, String)> = sensors["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|sensor| {
                let label = sensor["label"].as_str().map(str::to_owned);
                (text(&sensor["channel_id"]), (label, text(&sensor["unit"])))
            })
            .collect();
        let lines = self.daybook.get(&format!("/v1/entries?limit=10000&from={from}"));
        assert_eq!(lines.status, 200);
        let keys = self.keys(device);
        // Some cases give the time that the device claims, even where it cannot be: it is kept beside our own.
        let wants_claim = case.expect.readings.iter().any(|reading| reading.at_us.is_some());
        let mut readings = Vec::new();
        for line in lines
            .body
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(b"{\"aggregate_id\""))
        {
            let entry = Entry::decode(line).expect("an entry");
            if entry.event_type != READING_RECORDED || entry.aggregate_id != device {
                continue;
            }
            let recorded = Recorded::read(entry.payload).expect("a reading");
            let own = (recorded.time_from != TimeFrom::Received).then_some(recorded.measured_at);
            let at = own.or(recorded.claimed_at.filter(|_| wants_claim));
            for (key, value) in recorded.values {
                let (label, unit) = &sensors[&keys[key]];
                readings.push(Reading {
                    channel: key.split('/').next().unwrap_or_default().to_owned(),
                    label: label.clone(),
                    value,
                    unit: unit.clone(),
                    at_us: at.map(domain::Timestamp::as_micros),
                });
            }
        }
        readings
    }

    /// Channel ids of a device by the keys that its readings use.
    fn keys(&self, device: &str) -> BTreeMap<String, String> {
        let lines = self.daybook.get("/v1/entries?limit=10000");
        lines
            .ndjson()
            .into_iter()
            .filter(|entry| {
                entry["event_type"] == "ChannelRegistered" && entry["payload"]["device"] == device
            })
            .map(|entry| (text(&entry["payload"]["key"]), text(&entry["aggregate_id"])))
            .collect()
    }
}

/// What an answer tells whoever sent.
fn note(actual: &mut Actual, door: Door, reply: &Reply) {
    let said = format!("{} {}", reply.status, reply.text());
    match reply.status {
        400..=499 => actual.rejected = Some(said),
        201 if door == Door::Efento => {
            // A gateway would send a 4xx again for ever: it is told by a handle that is missing.
            if reply.json()["Y"].as_array().is_none_or(Vec::is_empty) {
                actual.rejected = Some(said);
            }
        }
        200 => {
            let body = reply.json();
            let dropped = body["dropped"].as_array().into_iter().flatten();
            let dropped = dropped.map(|d| (text(&d["channel"]), text(&d["reason"])));
            actual.dropped.get_or_insert_default().extend(dropped);
        }
        _ => panic!("{said}"),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}
