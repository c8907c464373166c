//! The service's own format: `POST /v1/ingest`, one report or a batch.
//!
//! One report is `{"device", "ts", "measurements": [{"type", "value", "label", "unit", "ts"}]}`; a batch is
//! `{"reports": [report, …]}` or a bare array of reports. A batch is taken whole or refused whole, so that a
//! sender who repeats it after mending it sends the same bytes but one.
//! This is the hot path: texts are borrowed from the body, kinds are looked up, entries become measurements while
//! they are read; a report costs two allocations, and one for each label.
//! Invariants: no value is dropped here; whatever cannot be taken refuses the request and is named by its path.
//! Source: the reference product's API. Not here: sanity ranges (`sanity`), whose device the token opens.

use super::decoded::{
    DEVICE_CHARS_MAX, DecodeError, Decoded, DeviceHint, LABEL_CHARS_MAX, Measurement, REPORTS_MAX, Report,
    Timed, UNIT_CHARS_MAX, WhoseClock,
};
use super::json;
use super::loose::{Collect, List, Loose};
use super::units;
use domain::Timestamp;
use domain::kinds::{self, Kind};
use serde::Deserialize;
use std::borrow::Cow;

/// Most measurements one report of this format may carry; the reference's limit.
pub const NATIVE_MEASUREMENTS_MAX: usize = 32;

#[derive(Deserialize)]
#[serde(expecting = "a report or a list of reports")]
struct Envelope<'a> {
    #[serde(borrow, default)]
    device: Loose<'a>,
    #[serde(borrow, default)]
    ts: Loose<'a>,
    measurements: Option<List<Entries>>,
    #[serde(borrow)]
    reports: Option<List<Bodies<'a>>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a report")]
struct Body<'a> {
    #[serde(borrow, default)]
    device: Loose<'a>,
    #[serde(borrow, default)]
    ts: Loose<'a>,
    measurements: Option<List<Entries>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a measurement")]
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

#[derive(Default)]
struct Bodies<'a>(Vec<Body<'a>>);

impl<'de: 'a, 'a> Collect<'de> for Bodies<'a> {
    const MAX: usize = REPORTS_MAX;
    type Item = Body<'a>;

    fn push(&mut self, body: Body<'a>) {
        self.0.push(body);
    }
}

/// What the entries of a report have become. The first that cannot become a measurement ends that; it is named
/// only once the whole body is known to be JSON.
#[derive(Default)]
struct Entries {
    measurements: Vec<Measurement>,
    fault: Option<Fault>,
}

impl<'de> Collect<'de> for Entries {
    const MAX: usize = NATIVE_MEASUREMENTS_MAX;
    type Item = Entry<'de>;

    fn push(&mut self, entry: Entry<'de>) {
        if self.fault.is_some() {
            return;
        }
        match measurement(entry) {
            Ok(measurement) => self.measurements.push(measurement),
            Err(fault) => self.fault = Some(fault),
        }
    }
}

/// Decodes a report or a batch; `device` is the `X-Device-Id` header, which overrides what the body says.
///
/// # Errors
/// `bad_json` with line and column, `invalid_measurement` with the path of what is wrong, `unknown_kind`. Nothing
/// of the request may be stored then.
pub fn decode(body: &[u8], device: Option<&str>) -> Result<Decoded, DecodeError> {
    let device = device
        .map(|id| hint(id, "X-Device-Id"))
        .transpose()
        .map_err(|fault| fault.at(""))?;
    if body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[') {
        return batch(parse::<List<Bodies<'_>>>(body)?.0, device);
    }
    let envelope: Envelope<'_> = parse(body)?;
    let Some(bodies) = envelope.reports else {
        let Envelope {
            device: own,
            ts,
            measurements,
            ..
        } = envelope;
        let body = Body {
            device: own,
            ts,
            measurements,
        };
        return Ok(Decoded::Reports(vec![
            report(body, device).map_err(|fault| fault.at(""))?,
        ]));
    };
    if !envelope.device.is_absent() || !envelope.ts.is_absent() || envelope.measurements.is_some() {
        let words = "device, ts and measurements belong into each report, not beside reports";
        return Err(json::invalid(words.to_owned()));
    }
    batch(bodies.0, device)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        // The parser says where in its own words.
        Err(_) => serde_json::from_slice(body),
    }
    .map_err(|e| json::refused(&e))
}

fn batch(Bodies(bodies): Bodies<'_>, device: Option<DeviceHint>) -> Result<Decoded, DecodeError> {
    if bodies.is_empty() {
        return Err(json::invalid(format!(
            "reports must have 1 to {REPORTS_MAX} entries"
        )));
    }
    let mut reports = Vec::with_capacity(bodies.len());
    for (i, body) in bodies.into_iter().enumerate() {
        let report = report(body, device.clone()).map_err(|fault| fault.at(&format!("reports[{i}].")))?;
        reports.push(report);
    }
    Ok(Decoded::Reports(reports))
}

fn report(body: Body<'_>, device: Option<DeviceHint>) -> Result<Report, Fault> {
    let device = match (device, &body.device) {
        (Some(device), _) => Some(device),
        (None, Loose::Absent | Loose::Null) => None,
        (None, Loose::Text(id)) => Some(hint(id, "device")?),
        (None, other) => return Err(mistyped("device", "a text", other)),
    };
    let at = timed(&body.ts)?;
    let Entries {
        mut measurements,
        fault,
    } = body.measurements.map(|list| list.0).unwrap_or_default();
    if let Some(fault) = fault {
        return Err(Fault {
            entry: Some(measurements.len()),
            ..fault
        });
    }
    if measurements.is_empty() {
        return Err(Fault::invalid(
            "measurements",
            format!("must have 1 to {NATIVE_MEASUREMENTS_MAX} entries"),
        ));
    }
    for measurement in &mut measurements {
        measurement.at = measurement.at.or(at);
    }
    Ok(Report {
        device,
        measurements,
        dropped: Vec::new(),
        uplink: None,
        frame: None,
        handle: None,
    })
}

fn measurement(entry: Entry<'_>) -> Result<Measurement, Fault> {
    let kind = match &entry.kind {
        Loose::Text(name) => kinds::find(name).ok_or_else(|| unknown_kind(name))?,
        other => return Err(mistyped("type", "a text naming a kind", other)),
    };
    let value = match &entry.value {
        Loose::Number(value) => *value,
        Loose::Bool(value) => f64::from(u8::from(*value)),
        other => return Err(mistyped("value", "a number", other)),
    };
    let label = match entry.label {
        Loose::Absent | Loose::Null => None,
        Loose::Text(text) if text.trim().is_empty() => None,
        Loose::Text(text) => Some(bounded(&text, LABEL_CHARS_MAX, "label").map(|()| text.into_owned())?),
        other => return Err(mistyped("label", "a text", &other)),
    };
    let unit = match &entry.unit {
        Loose::Absent | Loose::Null => None,
        Loose::Text(text) => unit(text, kind)?,
        other => return Err(mistyped("unit", "a text", other)),
    };
    // -0 is 0: both are written the same in canonical JSON.
    Ok(Measurement {
        kind,
        label,
        value: value + 0.0,
        unit,
        at: timed(&entry.ts)?,
    })
}

fn hint(id: &str, field: &'static str) -> Result<DeviceHint, Fault> {
    let id = id.trim();
    if id.is_empty() {
        return Err(Fault::invalid(field, "is empty".to_owned()));
    }
    bounded(id, DEVICE_CHARS_MAX, field)?;
    Ok(DeviceHint::Local(id.to_owned()))
}

/// The unit replaces the kind's own and converts nothing; a known spelling becomes its UCUM code.
fn unit(text: &str, kind: &'static Kind) -> Result<Option<Cow<'static, str>>, Fault> {
    if text == kind.unit || text.trim().is_empty() {
        return Ok(None);
    }
    bounded(text, UNIT_CHARS_MAX, "unit")?;
    Ok(match units::spelled(text) {
        Some(unit) if unit.code == kind.unit => None,
        Some(unit) if unit.fits(kind) => Some(Cow::Borrowed(unit.code)),
        _ => Some(Cow::Owned(text.to_owned())),
    })
}

fn bounded(text: &str, max: usize, field: &'static str) -> Result<(), Fault> {
    // Bytes first: a text this short needs no counting.
    if text.len() > max && text.chars().nth(max).is_some() {
        return Err(Fault::invalid(field, format!("is longer than {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::invalid(field, "has a control character".to_owned()));
    }
    Ok(())
}

fn timed(ts: &Loose<'_>) -> Result<Option<Timed>, Fault> {
    match ts {
        Loose::Absent | Loose::Null => Ok(None),
        Loose::Text(text) => match Timestamp::parse_rfc3339(text) {
            Ok(at) => Ok(Some(Timed {
                at,
                clock: WhoseClock::Device,
            })),
            Err(e) => Err(Fault::invalid("ts", format!("is {e}"))),
        },
        other => Err(mistyped("ts", "an RFC 3339 text", other)),
    }
}

fn mistyped(field: &'static str, expected: &str, got: &Loose<'_>) -> Fault {
    Fault::invalid(field, format!("must be {expected}, not {}", got.what()))
}

fn unknown_kind(name: &str) -> Fault {
    let known: Vec<&str> = kinds::KINDS.iter().map(|k| k.name).collect();
    let words = format!(
        "\"{}\" is not a kind; known are {}",
        json::clip(name),
        known.join(", ")
    );
    Fault {
        unknown_kind: true,
        ..Fault::invalid("type", words)
    }
}

/// What is wrong with a field, before anybody has said in which report it is.
struct Fault {
    unknown_kind: bool,
    entry: Option<usize>,
    field: &'static str,
    words: String,
}

impl Fault {
    fn invalid(field: &'static str, words: String) -> Self {
        Self {
            unknown_kind: false,
            entry: None,
            field,
            words,
        }
    }

    /// `report` is the path up to and including the dot after the report.
    fn at(self, report: &str) -> DecodeError {
        let Self { field, words, .. } = self;
        let message = match self.entry {
            Some(i) => format!("{report}measurements[{i}].{field} {words}"),
            None => format!("{report}{field} {words}"),
        };
        if self.unknown_kind {
            json::rejected("unknown_kind", message)
        } else {
            json::invalid(message)
        }
    }
}
