//! The service's own format: `POST /v1/ingest`, one report or a batch.
//!
//! One report is `{"device", "ts", "measurements": [{"type", "value", "label", "unit", "ts"}]}`; a batch is
//! `{"reports": [report, …]}` or a bare array of reports. A batch is taken whole or refused whole, so that a
//! sender who repeats it after mending it sends the same bytes but one.
//! This is the hot path: texts are borrowed from the body, kinds are looked up, and a report costs two
//! allocations and one for each label.
//! Invariants: no value is dropped here; whatever cannot be taken refuses the request and is named by its path.
//! Source: the reference product's API. Not here: sanity ranges (`sanity`), whose device the token opens.

use super::decoded::{
    DEVICE_CHARS_MAX, DecodeError, Decoded, DeviceHint, LABEL_CHARS_MAX, Measurement, REPORTS_MAX, Report,
    Timed, UNIT_CHARS_MAX, WhoseClock,
};
use super::json;
use super::loose::{Bounded, Loose};
use super::units;
use domain::{Timestamp, kinds};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;

/// Most measurements one report of this format may carry; the reference's limit.
pub const NATIVE_MEASUREMENTS_MAX: usize = 32;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    device: Loose<'a>,
    #[serde(borrow, default)]
    ts: Loose<'a>,
    #[serde(borrow, default)]
    measurements: Option<Entries<'a>>,
    #[serde(borrow, default)]
    reports: Option<Bounded<Body<'a>, REPORTS_MAX>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    device: Loose<'a>,
    #[serde(borrow, default)]
    ts: Loose<'a>,
    #[serde(borrow, default)]
    measurements: Option<Entries<'a>>,
}

type Entries<'a> = Bounded<Entry<'a>, NATIVE_MEASUREMENTS_MAX>;

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Loose<'a>,
    #[serde(borrow, default)]
    value: Loose<'a>,
    #[serde(borrow, default)]
    label: Loose<'a>,
    #[serde(borrow, default)]
    unit: Loose<'a>,
    #[serde(borrow, default)]
    ts: Loose<'a>,
}

/// Decodes a report or a batch; `device` is the `X-Device-Id` header, which overrides what the body says.
///
/// # Errors
/// `bad_json` with line and column, `invalid_measurement` with the path of what is wrong, `unknown_kind`. Nothing
/// of the request may be stored then.
pub fn decode(body: &[u8], device: Option<&str>) -> Result<Decoded, DecodeError> {
    let device = device
        .map(|id| hint(id, Path::default().field("X-Device-Id")))
        .transpose()?;
    let batch = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    let reports = if batch {
        let bodies: Bounded<Body<'_>, REPORTS_MAX> = parse(body)?;
        all(bodies.0, device)?
    } else {
        let envelope: Envelope<'_> = parse(body)?;
        match envelope.reports {
            Some(bodies) => {
                if !envelope.device.is_absent() || !envelope.ts.is_absent() || envelope.measurements.is_some()
                {
                    return Err(json::invalid(
                        "device, ts and measurements belong into each report, not beside reports".to_owned(),
                    ));
                }
                all(bodies.0, device)?
            }
            None => {
                let Envelope {
                    device: own,
                    ts,
                    measurements,
                    ..
                } = envelope;
                vec![report(
                    Body {
                        device: own,
                        ts,
                        measurements,
                    },
                    device,
                    None,
                )?]
            }
        }
    };
    Ok(Decoded::Reports(reports))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(|e| json::refused(&e))
}

fn all(bodies: Vec<Body<'_>>, device: Option<DeviceHint>) -> Result<Vec<Report>, DecodeError> {
    if bodies.is_empty() {
        return Err(json::invalid(format!(
            "reports must have 1 to {REPORTS_MAX} entries"
        )));
    }
    let mut reports = Vec::with_capacity(bodies.len());
    for (i, body) in bodies.into_iter().enumerate() {
        reports.push(report(body, device.clone(), Some(i))?);
    }
    Ok(reports)
}

fn report(body: Body<'_>, device: Option<DeviceHint>, index: Option<usize>) -> Result<Report, DecodeError> {
    let path = Path {
        report: index,
        ..Path::default()
    };
    let device = match (device, &body.device) {
        (Some(device), _) => Some(device),
        (None, Loose::Absent | Loose::Null) => None,
        (None, Loose::Text(id)) => Some(hint(id, path.field("device"))?),
        (None, other) => return Err(mistyped(path.field("device"), "a text", other)),
    };
    let at = timed(&body.ts, path.field("ts"))?;
    let entries = body.measurements.map(|e| e.0).unwrap_or_default();
    if entries.is_empty() {
        let words = format!(
            "{} must have 1 to {NATIVE_MEASUREMENTS_MAX} entries",
            path.field("measurements")
        );
        return Err(json::invalid(words));
    }
    let mut measurements = Vec::with_capacity(entries.len());
    for (i, entry) in entries.into_iter().enumerate() {
        measurements.push(measurement(
            entry,
            at,
            Path {
                entry: Some(i),
                ..path
            },
        )?);
    }
    Ok(Report {
        device,
        measurements,
        dropped: Vec::new(),
        uplink: None,
        handle: None,
    })
}

fn measurement(entry: Entry<'_>, at: Option<Timed>, path: Path) -> Result<Measurement, DecodeError> {
    let kind = match &entry.kind {
        Loose::Text(name) => kinds::find(name).ok_or_else(|| unknown_kind(name, path))?,
        other => return Err(mistyped(path.field("type"), "a text naming a kind", other)),
    };
    let value = match &entry.value {
        Loose::Number(value) => *value,
        Loose::Bool(value) => f64::from(u8::from(*value)),
        other => return Err(mistyped(path.field("value"), "a number", other)),
    };
    let label = match entry.label {
        Loose::Absent | Loose::Null => None,
        Loose::Text(text) => label(text, path.field("label"))?,
        other => return Err(mistyped(path.field("label"), "a text", &other)),
    };
    let unit = match &entry.unit {
        Loose::Absent | Loose::Null => None,
        Loose::Text(text) => unit(text, kind, path.field("unit"))?,
        other => return Err(mistyped(path.field("unit"), "a text", other)),
    };
    let at = timed(&entry.ts, path.field("ts"))?.or(at);
    // -0 is 0: both are written the same in canonical JSON.
    Ok(Measurement {
        kind,
        label,
        value: value + 0.0,
        unit,
        at,
    })
}

fn hint(id: &str, path: Path) -> Result<DeviceHint, DecodeError> {
    let id = id.trim();
    if id.is_empty() {
        return Err(json::invalid(format!("{path} is empty")));
    }
    bounded(id, DEVICE_CHARS_MAX, path)?;
    Ok(DeviceHint::Local(id.to_owned()))
}

fn label(text: Cow<'_, str>, path: Path) -> Result<Option<String>, DecodeError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    bounded(&text, LABEL_CHARS_MAX, path)?;
    Ok(Some(text.into_owned()))
}

/// The unit replaces the kind's own and converts nothing; a known spelling becomes its UCUM code.
fn unit(
    text: &str,
    kind: &'static kinds::Kind,
    path: Path,
) -> Result<Option<Cow<'static, str>>, DecodeError> {
    if text.trim().is_empty() || text == kind.unit {
        return Ok(None);
    }
    bounded(text, UNIT_CHARS_MAX, path)?;
    Ok(match units::spelled(text) {
        Some(unit) if unit.code == kind.unit => None,
        Some(unit) if unit.fits(kind) => Some(Cow::Borrowed(unit.code)),
        _ => Some(Cow::Owned(text.to_owned())),
    })
}

fn bounded(text: &str, max: usize, path: Path) -> Result<(), DecodeError> {
    // Bytes first: a text this short needs no counting.
    if text.len() > max && text.chars().nth(max).is_some() {
        return Err(json::invalid(format!("{path} is longer than {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(json::invalid(format!("{path} has a control character")));
    }
    Ok(())
}

fn timed(ts: &Loose<'_>, path: Path) -> Result<Option<Timed>, DecodeError> {
    match ts {
        Loose::Absent | Loose::Null => Ok(None),
        Loose::Text(text) => Timestamp::parse_rfc3339(text)
            .map(|at| {
                Some(Timed {
                    at,
                    clock: WhoseClock::Device,
                })
            })
            .map_err(|e| json::invalid(format!("{path} is {e}"))),
        other => Err(mistyped(path, "an RFC 3339 text", other)),
    }
}

fn mistyped(path: Path, expected: &str, got: &Loose<'_>) -> DecodeError {
    json::invalid(format!("{path} must be {expected}, not {}", got.what()))
}

fn unknown_kind(name: &str, path: Path) -> DecodeError {
    let known: Vec<&str> = kinds::KINDS.iter().map(|k| k.name).collect();
    DecodeError::Rejected {
        code: "unknown_kind",
        message: format!(
            "{} \"{}\" is not a kind; known are {}",
            path.field("type"),
            json::clip(name),
            known.join(", ")
        ),
    }
}

/// Where in the body something is; costs nothing until it is written.
#[derive(Debug, Clone, Copy, Default)]
struct Path {
    report: Option<usize>,
    entry: Option<usize>,
    field: &'static str,
}

impl Path {
    const fn field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(i) = self.report {
            write!(f, "reports[{i}].")?;
        }
        if let Some(i) = self.entry {
            write!(f, "measurements[{i}].")?;
        }
        f.write_str(self.field)
    }
}
