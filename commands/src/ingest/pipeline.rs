//! From a decoded payload to the sequencer: device, time, sanity, channel keys, metadata.
//!
//! The order of checks (DESIGN): token and rate limit at the edge → decoder → *device match → channel → sanity →*
//! idempotency and duplicates in the sequencer. What is refused is refused with a reason in words.
//! Invariants: a device's token records only what is that device's; an integration's token only what is its
//! account's; nothing is converted, nothing silently lost: what cannot be used is told as dropped or refused.
//! Not here: who may call (`api`), duplicates (`sequencer`).

use super::channels::value_key;
use super::decoded::{Decoded, DeviceHint, Dropped, Measurement, Report, Uplink, UplinkId, WhoseClock};
use super::sanity::sanity;
use crate::sequencer::{
    EventGroup, Idempotency, PendingReading, PendingValue, ReadingGroup, RecordError, Recorded,
    RecordedEntry, Sequencer,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::canonical::{Canonical, write_string};
use domain::entry::NewEvent;
use domain::event::payload::{ParkedMeasurement, UplinkParked};
use domain::event::{Event, TokenKind};
use domain::hash::sha256_of;
use domain::ids::IdKind;
use domain::ports::{Clock, Entropy};
use domain::reading::TimeFrom;
use domain::registry::{Device, Registry};
use domain::rejection::{Fault, Rejection};
use domain::{Hash, Position, Timestamp, TreeSize};
use parking_lot::RwLock;
use std::borrow::Cow;
use std::sync::Arc;

/// A device clock before 2015 is not believed (DESIGN "Decided"), microseconds since 1970.
const CLOCK_MIN_US: i64 = 1_420_070_400_000_000;
/// A device clock further ahead than a day is not believed, microseconds.
const CLOCK_AHEAD_MAX_US: i64 = domain::time::DAY_US;
/// Most readings (device × time) of one request.
pub const READINGS_MAX: usize = 2_000;

/// Who sends, as the edge has established it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: Arc<str>,
    /// The token's id.
    pub token: Arc<str>,
    /// What kind of token it is.
    pub kind: TokenKind,
    /// `dev_…` for a device's, `int_…` for an integration's, `usr_…` for a person's.
    pub owner: Arc<str>,
}

/// A decoded request.
#[derive(Debug)]
pub struct IngestRequest<'a> {
    /// Who sends.
    pub caller: &'a Caller,
    /// What it says.
    pub decoded: Decoded,
    /// When it arrived.
    pub received_at: Timestamp,
    /// SHA-256 of the body as received.
    pub body_sha256: Hash,
    /// SHA-256 of all that was asked: the body, and what the URL and headers say beside it. The same idempotency key
    /// with another one is a conflict.
    pub request_hash: Hash,
    /// The `Idempotency-Key` header.
    pub idempotency_key: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a str,
    /// `http`, `shelly`, `lorawan` or `efento`.
    pub source: &'static str,
    /// Whether the entries' bytes are wanted for a receipt.
    pub want_entries: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// Measurements recorded.
    pub accepted: u32,
    /// Measurements that were there already.
    pub deduplicated: u32,
    /// Measurements that contradict one that was there already; the first stands, the conflict is recorded.
    pub conflicts: u32,
    /// The channels of a single report's measurements.
    pub channels: Vec<TakenChannel>,
    /// What was in the payload and could not be used.
    pub dropped: Vec<Dropped>,
    /// Reports of a batch that were refused: index, code, words.
    pub refused: Vec<RefusedReport>,
    /// Uplinks parked for later.
    pub parked: u32,
    /// Why there was nothing to record, where that is rightly so.
    pub ignored: Option<Cow<'static, str>>,
    /// Positions of the entries, first and one past the last.
    pub positions: std::ops::Range<u64>,
    /// When it was recorded.
    pub recorded_at: Option<Timestamp>,
    /// The tree size after the commit.
    pub size: TreeSize,
    /// The root at that size.
    pub root: Hash,
    /// The entries, where they were asked for.
    pub entries: Vec<RecordedEntry>,
    /// The answer of an earlier request with the same idempotency key.
    pub replayed: bool,
    /// Handles of accepted reports (Efento).
    pub handles: Vec<i64>,
    /// The devices it was from.
    pub devices: Vec<Arc<str>>,
}

/// A channel that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenChannel {
    /// Its kind.
    pub kind: &'static str,
    /// Its label.
    pub label: Option<String>,
    /// `chn_…`
    pub channel_id: Arc<str>,
}

/// A report of a batch that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedReport {
    /// Its index in the batch.
    pub report: usize,
    /// Stable code.
    pub code: &'static str,
    /// For a person.
    pub message: String,
    /// The gateway's reference, where it gave one.
    pub handle: Option<i64>,
    /// The device, where it is known.
    pub device: Option<Arc<str>>,
}

/// Tells how far the projections are behind; `Some` = so far that ingest has to slow down.
pub type Backpressure = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The pipeline; cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    sequencer: Sequencer,
    registry: Arc<RwLock<Registry>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    backpressure: Backpressure,
    label_secret: Arc<[u8; 32]>,
}

/// Readings of one request with where each came from.
#[derive(Default)]
struct Resolved {
    readings: Vec<PendingReading>,
    /// For each reading: its report, and for each value its measurement in it.
    origins: Vec<(usize, Vec<usize>)>,
    refused: Vec<RefusedReport>,
    parked: Vec<usize>,
}

impl Ingest {
    /// `label_secret` keeps keys of channels from telling their labels; it must stay the same for ever.
    pub fn new(
        sequencer: Sequencer,
        registry: Arc<RwLock<Registry>>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        backpressure: Backpressure,
        label_secret: [u8; 32],
    ) -> Self {
        Self {
            sequencer,
            registry,
            clock,
            entropy,
            backpressure,
            label_secret: Arc::new(label_secret),
        }
    }

    /// Records what a request says; what is answered is durable.
    ///
    /// # Errors
    /// [`RecordError`]: nothing of the request was recorded (but for `outcome_unknown`).
    pub async fn take(&self, request: IngestRequest<'_>) -> Result<Taken, RecordError> {
        if let Some(reason) = (self.backpressure)() {
            return Err(RecordError::Unavailable {
                reason,
                code: "behind",
                outcome_unknown: false,
            });
        }
        match request.decoded {
            Decoded::Nothing {
                ref why, ref dropped, ..
            } => Ok(Taken {
                ignored: Some(why.clone()),
                dropped: dropped.clone(),
                ..Taken::default()
            }),
            Decoded::Opaque(ref uplink) => self.park_opaque(&request, uplink).await,
            Decoded::Reports(ref reports) => self.take_reports(&request, reports).await,
        }
    }

    async fn take_reports(
        &self,
        request: &IngestRequest<'_>,
        reports: &[Report],
    ) -> Result<Taken, RecordError> {
        let resolved = self.resolve(request, reports)?;
        let mut taken = Taken {
            refused: resolved.refused,
            ..Taken::default()
        };
        taken.dropped = reports.iter().flat_map(|r| r.dropped.iter().cloned()).collect();
        // Each is recorded by itself: what follows it under the same key would be taken for a repetition.
        if !resolved.parked.is_empty() && reports.len() > 1 && request.idempotency_key.is_some() {
            return Err(RecordError::Rejected(Rejection::invalid(
                "bad_idempotency_key",
                "an uplink of an unknown device cannot share its Idempotency-Key with other reports: send it by itself",
            )));
        }
        for &report in &resolved.parked {
            let recorded = self.park_decoded(request, &reports[report]).await?;
            taken.parked += 1;
            note_commit(&mut taken, &recorded);
        }
        if resolved.readings.is_empty() {
            if taken.parked == 0 && taken.refused.is_empty() {
                taken.ignored = Some("no measurement was left after dropping what cannot be used".into());
            }
            return Ok(taken);
        }
        let group = ReadingGroup {
            account: request.caller.account.clone(),
            token: request.caller.token.clone(),
            metadata: metadata(
                request,
                reports
                    .first()
                    .and_then(|r| r.uplink.as_ref())
                    .filter(|_| reports.len() == 1),
            ),
            idempotency: idempotency(request),
            readings: resolved.readings,
            want_channels: reports.len() == 1,
            want_entries: request.want_entries,
        };
        taken.devices = group.readings.iter().map(|r| r.device.clone()).collect();
        taken.devices.dedup();
        let recorded = self.sequencer.record_readings(group).await?;
        sum_up(&mut taken, &recorded, reports, &resolved.origins);
        if let (true, [report]) = (taken.replayed, reports) {
            taken.channels = self.channels_of(request.caller, report);
        }
        Ok(taken)
    }

    /// The channels of a report that was recorded before: a repeated answer names them as the first did.
    fn channels_of(&self, caller: &Caller, report: &Report) -> Vec<TakenChannel> {
        let registry = self.registry.read();
        let Ok(Some(device)) = self.device(&registry, caller, report) else {
            return Vec::new();
        };
        let channels = report.measurements.iter().filter_map(|measurement| {
            let key = value_key(measurement, &self.label_secret);
            let channel = registry.channel_by_key(device, &key)?;
            Some(TakenChannel {
                kind: measurement.kind.name,
                label: measurement.label.clone(),
                channel_id: channel.id.clone(),
            })
        });
        channels.collect()
    }

    /// Devices, times and keys of all reports; for a single report the first refusal is the request's.
    fn resolve(&self, request: &IngestRequest<'_>, reports: &[Report]) -> Result<Resolved, RecordError> {
        let registry = self.registry.read();
        let mut resolved = Resolved::default();
        for (index, report) in reports.iter().enumerate() {
            let outcome = match self.device(&registry, request.caller, report) {
                Ok(Some(device)) => self.add(&registry, request, device, index, report, &mut resolved),
                Ok(None) => {
                    resolved.parked.push(index);
                    Ok(())
                }
                Err(rejection) => Err(rejection),
            };
            match outcome {
                Ok(()) => {}
                Err(rejection) if reports.len() == 1 => return Err(RecordError::Rejected(rejection)),
                Err(rejection) => resolved.refused.push(RefusedReport {
                    report: index,
                    code: rejection.code,
                    message: rejection.message.into_owned(),
                    handle: report.handle,
                    device: None,
                }),
            }
            if resolved.readings.len() > READINGS_MAX {
                return Err(RecordError::TooLarge(format!(
                    "more than {READINGS_MAX} readings in one request; send fewer at once"
                )));
            }
        }
        Ok(resolved)
    }

    /// The device a report is of; `None` = a LoRaWAN device nobody registered, whose uplink is parked.
    fn device<'r>(
        &self,
        registry: &'r Registry,
        caller: &Caller,
        report: &Report,
    ) -> Result<Option<&'r Device>, Rejection> {
        let not_found = |what: &str| {
            Rejection::not_found(
                "device_not_found",
                format!("no device {what} in this account; register it first"),
            )
        };
        if caller.kind == TokenKind::Device {
            let device = registry
                .device(&caller.account, &caller.owner)
                .ok_or_else(|| not_found(&caller.owner))?;
            return match report.device.as_ref().is_none_or(|hint| is_of(device, hint)) {
                true => Ok(Some(device)),
                false => Err(Rejection::new(
                    Fault::Forbidden,
                    "device_not_in_token",
                    format!(
                        "the token belongs to the device {:?}, but the payload names {:?}; use that device's own token, or correct the id",
                        device.state.local_id,
                        report.device.as_ref().map_or("", DeviceHint::as_str)
                    ),
                )),
            };
        }
        let Some(hint) = &report.device else {
            return Err(Rejection::invalid(
                "device_required",
                "the payload does not say which device it is from",
            ));
        };
        let account = &caller.account;
        let found = match hint {
            DeviceHint::Local(id) => registry
                .device_by_local(account, id)
                .or_else(|| registry.device_by_serial(account, id)),
            DeviceHint::Serial(id) => registry
                .device_by_serial(account, id)
                .or_else(|| registry.device_by_local(account, id)),
            DeviceHint::DevEui(eui) => registry.device_by_dev_eui(account, eui),
        };
        match (found, hint) {
            (Some(device), _) => Ok(Some(device)),
            (None, DeviceHint::DevEui(_)) if !report.measurements.is_empty() => Ok(None),
            (None, hint) => Err(not_found(hint.as_str())),
        }
    }

    fn add(
        &self,
        registry: &Registry,
        request: &IngestRequest<'_>,
        device: &Device,
        index: usize,
        report: &Report,
        resolved: &mut Resolved,
    ) -> Result<(), Rejection> {
        let before = resolved.readings.len();
        for (n, measurement) in report.measurements.iter().enumerate() {
            let added = sanity(measurement.kind, measurement.unit.as_deref(), measurement.value)
                .map_err(|e| Rejection::invalid("out_of_range", e.to_string()))
                .and_then(|()| self.value(registry, device, measurement));
            let value = match added {
                Ok(value) => value,
                Err(rejection) => {
                    resolved.readings.truncate(before);
                    resolved.origins.truncate(before);
                    return Err(rejection);
                }
            };
            let (measured_at, time_from, claimed_at) = time_of(measurement, request.received_at);
            let same = resolved.readings[before..].iter().position(|r| {
                (r.measured_at, r.time_from, r.claimed_at) == (measured_at, time_from, claimed_at)
                    && r.values.iter().all(|v| v.key != value.key)
            });
            match same {
                Some(at) => {
                    resolved.readings[before + at].values.push(value);
                    resolved.origins[before + at].1.push(n);
                }
                None => {
                    resolved.readings.push(PendingReading {
                        device: device.id.clone(),
                        number: Some(device.number),
                        measured_at,
                        time_from,
                        claimed_at,
                        values: vec![value],
                        uplink: report.uplink.clone(),
                    });
                    resolved.origins.push((index, vec![n]));
                }
            }
        }
        Ok(())
    }

    fn value(
        &self,
        registry: &Registry,
        device: &Device,
        measurement: &Measurement,
    ) -> Result<PendingValue, Rejection> {
        let key = value_key(measurement, &self.label_secret);
        let channel = registry.channel_by_key(device, &key);
        if channel.is_some_and(|channel| channel.state.is_derived) {
            return Err(Rejection::invalid(
                "derived_channel",
                format!("values of {key} are made here of other channels': give this one another label"),
            ));
        }
        if let (Some(channel), Some(unit)) = (channel, measurement.unit.as_deref())
            && channel.state.unit != unit
        {
            return Err(Rejection::invalid(
                "unit_mismatch",
                format!(
                    "{key} of this device is recorded in {}, but the payload says {unit}; nothing is converted: \
                         change the device's unit, or give the value another label",
                    channel.state.unit
                ),
            ));
        }
        Ok(PendingValue {
            key,
            kind: Cow::Borrowed(measurement.kind.name),
            label: measurement.label.clone(),
            unit: measurement
                .unit
                .clone()
                .unwrap_or(Cow::Borrowed(measurement.kind.unit)),
            value: measurement.value,
            auxiliary: measurement.kind.auxiliary,
        })
    }

    async fn park_opaque(&self, request: &IngestRequest<'_>, uplink: &Uplink) -> Result<Taken, RecordError> {
        let parked = UplinkParked {
            at: uplink.at,
            decoded: None,
            dev_eui: uplink.dev_eui.clone(),
            f_cnt: uplink.id.as_ref().map_or(0, |id| id.f_cnt),
            f_port: uplink.f_port,
            frame: Some(STANDARD.encode(&uplink.bytes)),
            received_at: request.received_at,
            session: uplink.id.as_ref().map(|id| id.session.clone()),
        };
        let recorded = self.park(request, parked, uplink.id.as_ref()).await?;
        let mut taken = Taken {
            parked: 1,
            ..Taken::default()
        };
        taken.ignored = Some("the frame cannot be decoded here yet; its bytes are kept".into());
        note_commit(&mut taken, &recorded);
        Ok(taken)
    }

    async fn park_decoded(
        &self,
        request: &IngestRequest<'_>,
        report: &Report,
    ) -> Result<Recorded, RecordError> {
        let dev_eui = report.device.as_ref().map_or("", DeviceHint::as_str).to_owned();
        let parked = UplinkParked {
            at: report.measurements.iter().find_map(|m| m.at).map(|t| t.at),
            decoded: Some(report.measurements.iter().map(parked_measurement).collect()),
            dev_eui,
            f_cnt: report.uplink.as_ref().map_or(0, |id| id.f_cnt),
            f_port: report.frame.as_ref().and_then(|frame| frame.f_port),
            frame: report.frame.as_ref().map(|frame| STANDARD.encode(&frame.bytes)),
            received_at: request.received_at,
            session: report.uplink.as_ref().map(|id| id.session.clone()),
        };
        self.park(request, parked, report.uplink.as_ref()).await
    }

    async fn park(
        &self,
        request: &IngestRequest<'_>,
        parked: UplinkParked,
        uplink: Option<&UplinkId>,
    ) -> Result<Recorded, RecordError> {
        if request.caller.kind != TokenKind::Webhook {
            return Err(RecordError::Rejected(Rejection::new(
                Fault::Forbidden,
                "forbidden",
                "only an integration's token may send uplinks of devices that are not registered",
            )));
        }
        let (stream, owner) = self.tray(request.caller, &parked.dev_eui);
        let caller = request.caller;
        let mut metadata = serde_json::json!({
            "account": &*caller.account,
            "actor": format!("integration:{}", caller.owner),
            "owner": owner,
            "received_at": request.received_at.to_string(),
            "request_id": request.request_id,
            "source": {"kind": request.source, "digest": request.body_sha256.to_base64()},
            "token": &*caller.token,
        });
        if let Some(uplink) = uplink {
            metadata["source"]["uplink"] = uplink_value(uplink);
        }
        let idempotency = idempotency(request);
        if let Some(idempotency) = &idempotency {
            metadata["idempotency"] = idempotency.key.to_base64().into();
            metadata["request_hash"] = idempotency.request.to_base64().into();
        }
        let unwritable =
            || RecordError::Rejected(Rejection::invalid("bad_json", "the uplink cannot be written"));
        let event = Event::UplinkParked(parked);
        let event = NewEvent {
            aggregate_type: "tray".into(),
            aggregate_id: stream,
            event_type: event.event_type().into(),
            event_version: "1.0".into(),
            payload: event.payload(None).map_err(|_| unwritable())?,
            metadata: Canonical::of(&metadata).map_err(|_| unwritable())?,
            salt: None,
        };
        self.sequencer
            .record(EventGroup {
                events: vec![(event, None)],
                token: Some(caller.token.clone()),
                uplink: uplink.cloned(),
                idempotency,
                ..EventGroup::default()
            })
            .await
    }

    /// The tray stream of a DevEUI, a new one if there is none, and whose it is.
    fn tray(&self, caller: &Caller, dev_eui: &str) -> (String, String) {
        let registry = self.registry.read();
        let device = registry.device_by_dev_eui(&caller.account, dev_eui);
        let tray = match device {
            Some(device) => registry.tray_of(device),
            None => registry.tray(&caller.account, dev_eui),
        };
        let owner = device.map_or_else(|| caller.account.to_string(), |d| d.id.to_string());
        match tray {
            Some(tray) => (tray.id.to_string(), owner),
            None => {
                let mut random = [0u8; 16];
                self.entropy.fill(&mut random);
                (IdKind::Stream.id(&random), owner)
            }
        }
    }

    /// The clock that dates what arrives.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Whether a payload that names `hint` may come with the device's own token. A local id must be the device's;
/// a vendor's serial or DevEUI must be, where the device has one registered.
fn is_of(device: &Device, hint: &DeviceHint) -> bool {
    let state = &device.state;
    let same = |known: &Option<String>, id: &str| known.as_ref().is_none_or(|k| k.eq_ignore_ascii_case(id));
    match hint {
        DeviceHint::Local(id) => {
            state.local_id.eq_ignore_ascii_case(id)
                || state.serial.as_ref().is_some_and(|s| s.eq_ignore_ascii_case(id))
        }
        DeviceHint::Serial(id) => state.local_id.eq_ignore_ascii_case(id) || same(&state.serial, id),
        DeviceHint::DevEui(eui) => same(&state.dev_eui, eui),
    }
}

/// When it was measured, by whose clock, and what the device claimed where it is not believed.
fn time_of(measurement: &Measurement, received_at: Timestamp) -> (Timestamp, TimeFrom, Option<Timestamp>) {
    match measurement.at {
        None => (received_at, TimeFrom::Received, None),
        Some(timed) if is_plausible(timed.at, received_at) => match timed.clock {
            WhoseClock::Device => (timed.at, TimeFrom::Device, None),
            WhoseClock::Network => (timed.at, TimeFrom::Network, None),
        },
        Some(timed) => (received_at, TimeFrom::Received, Some(timed.at)),
    }
}

/// Whether a clock is believed: after the year 2015, and not more than a day ahead of ours.
pub(crate) fn is_plausible(at: Timestamp, received_at: Timestamp) -> bool {
    at.as_micros() >= CLOCK_MIN_US && at.since(received_at) <= CLOCK_AHEAD_MAX_US
}

fn parked_measurement(m: &Measurement) -> ParkedMeasurement {
    ParkedMeasurement {
        kind: m.kind.name.to_owned(),
        auxiliary: m.kind.auxiliary,
        label: m.label.clone(),
        unit: m.unit.as_ref().map(ToString::to_string),
        value: m.value,
    }
}

fn uplink_value(uplink: &UplinkId) -> serde_json::Value {
    serde_json::json!({"dev_eui": uplink.dev_eui, "session": uplink.session, "f_cnt": uplink.f_cnt})
}

fn idempotency(request: &IngestRequest<'_>) -> Option<Idempotency> {
    let key = request.idempotency_key?;
    let key = sha256_of(&[request.caller.token.as_bytes(), b"\n", key.as_bytes()]);
    Some(Idempotency {
        key,
        request: request.request_hash,
    })
}

/// The metadata that every reading of a request carries, canonical.
fn metadata(request: &IngestRequest<'_>, uplink: Option<&UplinkId>) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    out.push(b'{');
    let idempotency = idempotency(request);
    if let Some(idempotency) = &idempotency {
        out.extend_from_slice(format!("\"idempotency\":\"{}\",", idempotency.key).as_bytes());
    }
    out.extend_from_slice(b"\"received_at\":\"");
    request.received_at.write(&mut out);
    out.push(b'"');
    if idempotency.is_some() {
        out.extend_from_slice(format!(",\"request_hash\":\"{}\"", request.request_hash).as_bytes());
    }
    out.extend_from_slice(b",\"request_id\":");
    write_string(&mut out, request.request_id);
    out.extend_from_slice(b",\"source\":{\"kind\":\"");
    out.extend_from_slice(request.source.as_bytes());
    out.push(b'"');
    if let Some(uplink) = uplink {
        out.extend_from_slice(b",\"uplink\":{\"dev_eui\":");
        write_string(&mut out, &uplink.dev_eui);
        out.extend_from_slice(format!(",\"f_cnt\":{},\"session\":", uplink.f_cnt).as_bytes());
        write_string(&mut out, &uplink.session);
        out.push(b'}');
    }
    out.extend_from_slice(b"},\"token\":");
    write_string(&mut out, &request.caller.token);
    out.push(b'}');
    out
}

fn note_commit(taken: &mut Taken, recorded: &Recorded) {
    taken.positions = recorded.positions.clone();
    taken.recorded_at = Some(recorded.recorded_at);
    taken.size = recorded.size;
    taken.root = recorded.root;
}

fn sum_up(taken: &mut Taken, recorded: &Recorded, reports: &[Report], origins: &[(usize, Vec<usize>)]) {
    note_commit(taken, recorded);
    taken.replayed = recorded.replayed;
    taken.entries.clone_from(&recorded.entries);
    for (outcome, origin) in recorded
        .readings
        .iter()
        .zip(origins.iter().map(Some).chain(std::iter::repeat(None)))
    {
        taken.accepted += outcome.accepted;
        taken.deduplicated += outcome.deduplicated;
        taken.conflicts += outcome.conflicts;
        let Some((report, measurements)) = origin else {
            continue;
        };
        if let Some(code) = outcome.refused {
            taken.refused.push(RefusedReport {
                report: *report,
                code,
                message: format!("not recorded: {code}"),
                handle: reports[*report].handle,
                device: None,
            });
            continue;
        }
        if reports.len() == 1 {
            for (channel_id, n) in outcome.channels.iter().zip(measurements) {
                let measurement = &reports[*report].measurements[*n];
                taken.channels.push(TakenChannel {
                    kind: measurement.kind.name,
                    label: measurement.label.clone(),
                    channel_id: channel_id.clone(),
                });
            }
        }
    }
    let bad: Vec<usize> = taken.refused.iter().map(|r| r.report).collect();
    taken.handles = reports
        .iter()
        .enumerate()
        .filter(|(index, _)| !bad.contains(index))
        .filter_map(|(_, report)| report.handle)
        .collect();
}

/// The first position of what was recorded, for answers that show one.
pub fn first_position(taken: &Taken) -> Option<Position> {
    (!taken.positions.is_empty()).then_some(Position(taken.positions.start))
}
