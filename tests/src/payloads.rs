//! Payload cases, and whether what a service made of one is what the case expects.
//!
//! A case is a JSON file of the convention in `tests/fixtures/README.md`; the same convention is used by larger
//! collections outside this repository. The comparison knows nothing of decoders or of HTTP: whoever runs a case
//! says what came out as [`Actual`], and gets the differences in words.
//! Not here: sending a case anywhere.

use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};

/// How far a value may be off: codecs go through 32-bit floats.
pub const VALUE_TOLERANCE: f64 = 1e-3;
/// How far a time may be off where the case does not say: cases have milliseconds.
pub const TIME_TOLERANCE_US: i64 = 1_000;
/// Channels about the device itself, which a case lists under `diagnostics`.
pub const DIAGNOSTICS: &[&str] = &["battery", "battery_voltage", "rssi", "signal", "snr"];

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// `family/name`.
    pub id: String,
    /// `http-get`, `http-post` or `mqtt`.
    pub transport: String,
    /// The request's path, or the topic.
    pub path: String,
    /// Request headers.
    pub headers: Vec<(String, String)>,
    /// The query string, without `?`; empty where there is none.
    pub query: String,
    /// The bodies, one request each, in this order; one empty body for a GET.
    pub bodies: Vec<Vec<u8>>,
    /// What a service may lack.
    pub requires: Vec<String>,
    /// What should come out.
    pub expect: Expect,
}

/// What should come out of a case.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// The device that the payload names.
    pub device: Option<String>,
    /// These and no others.
    pub readings: Vec<Reading>,
    /// These may be missing.
    pub optional: Vec<Reading>,
    /// Diagnostics: may be missing, but must match.
    pub diagnostics: Vec<Reading>,
    /// Channel (empty where the case names none) and reason of what must not become a reading.
    pub dropped: Vec<(String, String)>,
    /// Channels that must not appear at all.
    pub forbidden: Vec<String>,
    /// Taken with 2xx, no reading.
    pub ignore: bool,
    /// Refused with 4xx.
    pub reject: bool,
    /// How far a time may be off.
    pub time_tolerance_us: i64,
}

/// One value of one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The kind.
    pub channel: String,
    /// The label.
    pub label: Option<String>,
    /// The value.
    pub value: f64,
    /// UCUM code.
    pub unit: String,
    /// The measured time as the payload or the network gave it, in microseconds since 1970; `None` where the
    /// service had to use its own.
    pub at_us: Option<i64>,
}

/// What came out of a case.
#[derive(Debug, Clone, Default)]
pub struct Actual {
    /// The device that was recognised.
    pub device: Option<String>,
    /// Why it was refused.
    pub rejected: Option<String>,
    /// Everything that was taken, diagnostics included; a duplicate delivery counts once.
    pub readings: Vec<Reading>,
    /// Channel and reason code of everything that was dropped; `None` where whoever ran the case cannot see it.
    pub dropped: Option<Vec<(String, String)>>,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self
            .label
            .as_deref()
            .map(|label| format!("/{label}"))
            .unwrap_or_default();
        write!(f, "{}{label} = {} {}", self.channel, self.value, self.unit)?;
        match self.at_us {
            Some(us) => write!(f, " at {us} µs"),
            None => write!(f, " without a time"),
        }
    }
}

/// Every case below `dir`, sorted by id.
///
/// # Panics
/// On a file that is no case: a broken fixture must not look like a passing one.
pub fn load(dir: &Path) -> Vec<Case> {
    let mut files = Vec::new();
    collect(dir, &mut files);
    let mut cases: Vec<Case> = files
        .iter()
        .map(|file| {
            let text = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let value: Value =
                serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            case(&value).unwrap_or_else(|| panic!("{}: not a case", file.display()))
        })
        .collect();
    cases.sort_by(|a, b| a.id.cmp(&b.id));
    cases
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
}

fn case(value: &Value) -> Option<Case> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let bodies = match value.get("sequence").and_then(Value::as_array) {
        Some(steps) => steps.iter().map(|step| body(step.get("body"))).collect(),
        None => vec![body(value.get("body"))],
    };
    let headers = value.get("headers").and_then(Value::as_object);
    let headers = headers
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    let requires = value.get("requires").and_then(Value::as_array);
    Some(Case {
        id: text("id")?,
        transport: text("transport")?,
        path: text("path_or_topic")?,
        headers: headers.collect(),
        query: text("query").unwrap_or_default(),
        bodies,
        requires: requires
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect(),
        expect: expect(value.get("expect")?)?,
    })
}

/// A text body is sent as it is, anything else as JSON.
fn body(value: Option<&Value>) -> Vec<u8> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(value) => value.to_string().into_bytes(),
    }
}

fn expect(value: &Value) -> Option<Expect> {
    let list = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let readings = |key: &str| list(key).iter().map(reading).collect::<Option<Vec<_>>>();
    let channel = |v: &Value| {
        v.get("channel")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let reason = |v: &Value| {
        v.get("reason")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Some(Expect {
        device: value
            .get("device_hint")
            .and_then(Value::as_str)
            .map(str::to_owned),
        readings: readings("readings")?,
        optional: readings("optional_readings")?,
        diagnostics: readings("diagnostics")?,
        dropped: list("dropped").iter().map(|v| (channel(v), reason(v))).collect(),
        forbidden: list("forbidden").iter().map(channel).collect(),
        ignore: value.get("ignore").is_some(),
        reject: value.get("reject").is_some(),
        time_tolerance_us: value
            .get("ts_tolerance_ms")
            .and_then(Value::as_i64)
            .map_or(TIME_TOLERANCE_US, |ms| ms * 1000),
    })
}

fn reading(value: &Value) -> Option<Reading> {
    let at_us = match value.get("ts") {
        None | Some(Value::Null) => None,
        Some(ts) => Some(domain::Timestamp::parse_rfc3339(ts.as_str()?).ok()?.as_micros()),
    };
    Some(Reading {
        channel: value.get("channel")?.as_str()?.to_owned(),
        label: value.get("label").and_then(Value::as_str).map(str::to_owned),
        value: value.get("value")?.as_f64()?,
        unit: value
            .get("unit")
            .and_then(Value::as_str)
            .unwrap_or("1")
            .to_owned(),
        at_us,
    })
}

impl Case {
    /// The first feature that this case needs and `features` lacks.
    pub fn lacks(&self, features: &[&str]) -> Option<&str> {
        self.requires
            .iter()
            .map(String::as_str)
            .find(|required| !features.contains(required))
    }

    /// In words, everything in which `actual` is not what this case expects; empty where it is.
    pub fn differences(&self, actual: &Actual) -> Vec<String> {
        let expect = &self.expect;
        match (expect.reject, &actual.rejected) {
            (true, Some(_)) => return Vec::new(),
            (true, None) => return vec!["should have been refused".to_owned()],
            (false, Some(why)) => return vec![format!("was refused: {why}")],
            (false, None) => {}
        }
        let mut found = Vec::new();
        let got = actual.device.as_deref().unwrap_or_default();
        if let Some(wanted) = expect
            .device
            .as_deref()
            .filter(|wanted| !same_device(wanted, got))
        {
            found.push(format!("device is {got:?}, should be {wanted:?}"));
        }
        let (diagnostics, readings): (Vec<_>, Vec<_>) = actual
            .readings
            .iter()
            .partition(|r| DIAGNOSTICS.contains(&r.channel.as_str()));
        self.compare_readings(&readings, &mut found);
        self.compare_diagnostics(&diagnostics, &mut found);
        self.compare_dropped(actual, &mut found);
        for channel in &expect.forbidden {
            if actual.readings.iter().any(|r| r.channel == *channel) {
                found.push(format!("{channel} must not be a reading here"));
            }
        }
        found
    }

    fn compare_readings(&self, readings: &[&Reading], found: &mut Vec<String>) {
        if self.expect.ignore && !readings.is_empty() {
            found.push(format!("should have given no reading, gave {}", readings[0]));
            return;
        }
        let mut left: Vec<&Reading> = readings.to_vec();
        for wanted in &self.expect.readings {
            match left.iter().position(|got| self.same(wanted, got)) {
                Some(i) => drop(left.swap_remove(i)),
                None => found.push(format!("missing: {wanted}")),
            }
        }
        for got in left {
            if !self.expect.optional.iter().any(|wanted| self.same(wanted, got)) {
                found.push(format!("unexpected: {got}"));
            }
        }
    }

    fn compare_diagnostics(&self, diagnostics: &[&Reading], found: &mut Vec<String>) {
        for wanted in &self.expect.diagnostics {
            for got in diagnostics.iter().filter(|got| got.channel == wanted.channel) {
                if (got.value - wanted.value).abs() > VALUE_TOLERANCE || got.unit != wanted.unit {
                    found.push(format!(
                        "diagnostic {got}, should be {} {}",
                        wanted.value, wanted.unit
                    ));
                }
            }
        }
    }

    fn compare_dropped(&self, actual: &Actual, found: &mut Vec<String>) {
        let Some(dropped) = &actual.dropped else { return };
        for (channel, reason) in &self.expect.dropped {
            // Some cases give the reason as a code, others in words.
            let is_code = reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let matches = |d: &(String, String)| {
                (channel.is_empty() || d.0 == *channel) && (!is_code || d.1 == *reason)
            };
            if !dropped.iter().any(matches) {
                found.push(format!(
                    "should have dropped {channel} ({reason}), dropped {dropped:?}"
                ));
            }
        }
    }

    fn same(&self, wanted: &Reading, got: &Reading) -> bool {
        let time = match (wanted.at_us, got.at_us) {
            (None, None) => true,
            (Some(wanted), Some(got)) => (wanted - got).abs() <= self.expect.time_tolerance_us,
            _ => false,
        };
        time && wanted.channel == got.channel
            && wanted.label == got.label
            && wanted.unit == got.unit
            && (wanted.value - got.value).abs() <= VALUE_TOLERANCE
    }
}

/// Ids are compared without case; a MAC with or without its prefix is the same.
pub fn same_device(a: &str, b: &str) -> bool {
    const MAC_DIGITS: usize = 12;
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    let mac = |id: &str| {
        let last = id.rsplit('-').next().unwrap_or_default();
        (last.len() == MAC_DIGITS && last.bytes().all(|c| c.is_ascii_hexdigit())).then(|| last.to_owned())
    };
    a == b || (mac(&a).is_some() && mac(&a) == mac(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_case() -> Case {
        let value = serde_json::json!({
            "id": "x/y", "transport": "http-post", "path_or_topic": "/v1/ingest", "body": {},
            "expect": {"device_hint": "shellyht-AABBCCDDEEFF",
                "readings": [{"channel": "temperature", "value": 4.2, "unit": "Cel", "ts": "2026-01-01T00:00:00Z"}],
                "diagnostics": [{"channel": "battery", "value": 90, "unit": "%", "ts": null}],
                "dropped": [{"channel": "humidity", "raw": 999, "reason": "sentinel"}]}
        });
        case(&value).expect("a case")
    }

    fn an_answer() -> Actual {
        let at_us = Some(1_767_225_600_000_000);
        let reading = |channel: &str, value, unit: &str| Reading {
            channel: channel.to_owned(),
            label: None,
            value,
            unit: unit.to_owned(),
            at_us,
        };
        Actual {
            device: Some("aabbccddeeff".to_owned()),
            rejected: None,
            readings: vec![
                reading("temperature", 4.2004, "Cel"),
                reading("battery", 90.0, "%"),
            ],
            dropped: Some(vec![("humidity".to_owned(), "sentinel".to_owned())]),
        }
    }

    #[test]
    fn an_answer_that_matches_has_no_differences() {
        assert_eq!(a_case().differences(&an_answer()), Vec::<String>::new());
    }

    #[test]
    fn every_way_of_being_wrong_is_a_difference() {
        let spoil: &[fn(&mut Actual)] = &[
            |a| a.readings[0].value = 4.3,
            |a| a.readings[0].unit = "[degF]".to_owned(),
            |a| a.readings[0].label = Some("1".to_owned()),
            |a| a.readings[0].at_us = None,
            |a| a.readings[0].at_us = Some(1_767_225_600_900_000),
            |a| a.readings[0].channel = "power".to_owned(),
            |a| a.readings[1].value = 9.0,
            |a| drop(a.readings.remove(0)),
            |a| a.readings.push(a.readings[0].clone()),
            |a| a.dropped = Some(Vec::new()),
            |a| a.device = None,
            |a| a.rejected = Some("no".to_owned()),
        ];
        for (i, spoil) in spoil.iter().enumerate() {
            let mut answer = an_answer();
            spoil(&mut answer);
            assert!(
                !a_case().differences(&answer).is_empty(),
                "spoilt answer {i} passed"
            );
        }
    }
}
