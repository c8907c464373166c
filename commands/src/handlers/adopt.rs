//! Adopting a parked DevEUI: the device begins, and what it sent meanwhile becomes readings, in one group.
//!
//! Invariants: each reading names the parked uplink it was made of (`causation_id`); it keeps the network's time,
//! or else the time at which it arrived here; nothing is taken out of the tray, whose entries stay. Uplinks that
//! nobody could decode stay parked for a codec that comes later.
//! Source: FORMAT §2 (uplinks of unknown devices). Not here: parking (`ingest`).

use super::{Actor, ManageError, Management, Outcome, Request, Step};
use crate::ingest::pipeline::is_plausible;
use crate::sequencer::{EventGroup, GroupReading, PendingReading, PendingValue, ReadingOutcome, Recorded};
use domain::Position;
use domain::aggregate::device::{DeviceCommand, NewDevice};
use domain::aggregate::tokens::TokensCommand;
use domain::aggregate::user::Right;
use domain::canonical::Canonical;
use domain::entry::Entry;
use domain::event::payload::{ParkedMeasurement, UplinkParked};
use domain::event::{Event, Metadata, Reason, TokenKind};
use domain::ids::IdKind;
use domain::kinds;
use domain::reading::TimeFrom;
use domain::rejection::Rejection;
use std::borrow::Cow;
use std::sync::Arc;

/// Entries, and about bytes, that are read at once.
const READ_ENTRIES: usize = 512;
const READ_BYTES: usize = 512 << 10;

/// What became of an adoption.
#[derive(Debug)]
pub struct Adoption {
    /// The device that was made.
    pub device: Outcome,
    /// Parked uplinks that became readings.
    pub readings: u32,
    /// Parked uplinks that stay parked: nobody could decode them, or their values could not be recorded.
    pub left: u32,
}

impl Management {
    /// Makes a device of a parked DevEUI. `device.dev_eui` names it.
    ///
    /// # Errors
    /// [`ManageError`]: `uplink_not_found` where nothing of it is parked, and those of creating a device.
    pub async fn adopt(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: NewDevice,
    ) -> Result<Adoption, ManageError> {
        if let Some(device) = self.earlier(actor, "device").await? {
            return self.adopted_before(actor, device).await;
        }
        self.has_site(actor, &device.site)?;
        let (tray, parked) = self.parked(actor, device.dev_eui.as_deref().unwrap_or_default())?;
        let id = self.id(IdKind::Device);
        let readings = self.readings_of(&parked, &id, actor).await?;
        let (token, issued) = self.token(TokenKind::Device).await?;
        let now = self.ports.clock.now();
        let request = Request {
            actor,
            reason,
            if_match: None,
            steps: vec![
                Step::Device(id.clone(), DeviceCommand::Register(device)),
                Step::Tokens(id.clone(), TokensCommand::Issue { token: issued, now }),
            ],
            readings,
            right: Right::Manage,
        };
        let (device, recorded) = self.run_telling(request, Some(token)).await?;
        let first = recorded.map_or(0, |recorded| made(&recorded));
        let (late, late_total) = self.late(actor, &tray, parked.len(), &id).await?;
        let total = parked.len() as u32 + late_total;
        Ok(Adoption {
            device,
            readings: first + late,
            left: total.saturating_sub(first + late),
        })
    }

    /// The counts of an adoption that is answered again, from what it recorded.
    async fn adopted_before(&self, actor: &Actor, device: Outcome) -> Result<Adoption, ManageError> {
        let readings = self.readings_behind(device.positions.end, &device.id).await?;
        let registry = self.ports.registry.read();
        let parked = registry
            .device(&actor.account, &device.id)
            .and_then(|device| registry.tray_adopted_by(device))
            .map_or(readings, |tray| tray.uplinks.len() as u32);
        Ok(Adoption {
            device,
            readings,
            left: parked.saturating_sub(readings),
        })
    }

    /// How many readings an adoption made: behind its events stand, in the same commit, its channels and readings.
    async fn readings_behind(&self, mut next: u64, device: &str) -> Result<u32, ManageError> {
        let mut readings = 0;
        while self.ports.log.size().contains(Position(next)) {
            let block = self
                .ports
                .log
                .read(Position(next), READ_ENTRIES, READ_BYTES)
                .await;
            let block = block.map_err(|e| ManageError::Unavailable(e.to_string()))?;
            if block.is_empty() {
                break;
            }
            for (position, bytes) in block.iter() {
                let Ok(entry) = Entry::read(bytes) else {
                    return Ok(readings);
                };
                let Ok(metadata) = Metadata::read(entry.metadata) else {
                    return Ok(readings);
                };
                match entry.aggregate_type {
                    "channel" if metadata.owner.as_deref() == Some(device) => {}
                    "readings" if entry.aggregate_id == device && metadata.causation_id.is_some() => {
                        readings += 1;
                    }
                    _ => return Ok(readings),
                }
                next = position.get() + 1;
            }
        }
        Ok(readings)
    }

    /// What was parked while the device was being adopted: since its DevEUI is known, no more can follow.
    async fn late(
        &self,
        actor: &Actor,
        tray: &str,
        from: usize,
        device: &str,
    ) -> Result<(u32, u32), ManageError> {
        let late: Vec<Position> = {
            let registry = self.ports.registry.read();
            let tray = registry.tray_by_id(&actor.account, tray);
            tray.map_or(vec![], |tray| tray.uplinks.iter().skip(from).copied().collect())
        };
        let readings = self.readings_of(&late, device, actor).await?;
        if readings.is_empty() {
            return Ok((0, late.len() as u32));
        }
        let group = EventGroup {
            readings,
            ..EventGroup::default()
        };
        let recorded = self.ports.recorder.record(group).await?;
        Ok((made(&recorded), late.len() as u32))
    }

    /// The tray of a DevEUI and where its uplinks are.
    fn parked(&self, actor: &Actor, dev_eui: &str) -> Result<(String, Vec<Position>), ManageError> {
        let dev_eui = domain::aggregate::text::dev_eui(dev_eui)?;
        let registry = self.ports.registry.read();
        let tray = registry.tray(&actor.account, &dev_eui);
        let tray = tray.ok_or_else(|| {
            Rejection::not_found(
                "uplink_not_found",
                format!("no uplinks of {dev_eui} are parked in this account"),
            )
        })?;
        Ok((tray.id.to_string(), tray.uplinks.clone()))
    }

    /// Readings of the uplinks that were decoded, in order of time.
    async fn readings_of(
        &self,
        parked: &[Position],
        device: &str,
        actor: &Actor,
    ) -> Result<Vec<GroupReading>, ManageError> {
        let block = self.ports.log.read_at(parked).await;
        let block = block.map_err(|e| ManageError::Unavailable(e.to_string()))?;
        let device: Arc<str> = device.into();
        let mut readings = Vec::with_capacity(block.len());
        for (position, bytes) in block.iter() {
            let Some(uplink) = uplink_of(bytes) else { continue };
            if let Some(reading) = self.reading(&device, &uplink) {
                readings.push(GroupReading {
                    reading,
                    metadata: self.caused_by(position, &uplink, actor)?,
                });
            }
        }
        readings.sort_by_key(|r| r.reading.measured_at);
        Ok(readings)
    }

    fn reading(&self, device: &Arc<str>, uplink: &UplinkParked) -> Option<PendingReading> {
        let mut values: Vec<PendingValue> = Vec::new();
        for measurement in uplink.decoded.iter().flatten() {
            let value = self.value(measurement)?;
            if values.iter().all(|known| known.key != value.key) {
                values.push(value);
            }
        }
        let believed = uplink.at.filter(|at| is_plausible(*at, uplink.received_at));
        (!values.is_empty()).then(|| PendingReading {
            device: device.clone(),
            number: None,
            measured_at: believed.unwrap_or(uplink.received_at),
            time_from: match believed {
                Some(_) => TimeFrom::Network,
                None => TimeFrom::Received,
            },
            claimed_at: uplink.at.filter(|_| believed.is_none()),
            values,
            // The frame was seen when it was parked.
            uplink: None,
        })
    }

    fn value(&self, measurement: &ParkedMeasurement) -> Option<PendingValue> {
        let kind = kinds::find(&measurement.kind)?;
        let unit = measurement
            .unit
            .clone()
            .map_or(Cow::Borrowed(kind.unit), Cow::Owned);
        Some(PendingValue {
            key: Cow::Owned(self.value_key(kind, measurement.label.as_deref())),
            kind: Cow::Borrowed(kind.name),
            label: measurement.label.clone(),
            unit,
            value: measurement.value,
            auxiliary: measurement.auxiliary || kind.auxiliary,
        })
    }

    /// A reading made by an adoption says which uplink it was, when that arrived, and in answer to which request.
    /// Without the time of arrival a device that fell silent long ago would seem to report when it is adopted.
    fn caused_by(
        &self,
        position: Position,
        uplink: &UplinkParked,
        actor: &Actor,
    ) -> Result<Vec<u8>, ManageError> {
        let mut metadata =
            serde_json::json!({"causation_id": position.get(), "received_at": uplink.received_at});
        if let Some(request_id) = &actor.request_id {
            metadata["request_id"] = request_id.as_str().into();
        }
        let canonical = Canonical::of(&metadata).map_err(|e| ManageError::Unavailable(e.to_string()))?;
        Ok(canonical.as_bytes().to_vec())
    }
}

/// How many readings are there now.
fn made(recorded: &Recorded) -> u32 {
    let there = |outcome: &&ReadingOutcome| outcome.position.is_some();
    recorded.readings.iter().filter(there).count() as u32
}

fn uplink_of(entry: &[u8]) -> Option<UplinkParked> {
    let entry = Entry::read(entry).ok()?;
    match Event::read(entry.event_type, entry.payload).ok()? {
        Event::UplinkParked(uplink) => Some(uplink),
        _ => None,
    }
}
