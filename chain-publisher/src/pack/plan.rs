//! What a pack will hold: whose entries, up to where, which days, which entries of the ledger's own.
//!
//! Invariant: a day whose head is not there yet is not closed for anybody else.
//! Source: FORMAT §5, §7.
//! Not here: the entries themselves (`scan`).

use super::LEDGER_EVENTS;
use super::lines::blinded;
use super::make::{MakeError, Order, PackSource};
use super::manifest::{ASKER_MAX, Query, SOFTWARE_MAX, Subject};
use crate::ports_source::{read_error, wait};
use domain::checkpoint::SignedCheckpoint;
use domain::day::{DAY_CLOSED, DayClosed};
use domain::entry::Entry;
use domain::{Date, Position, TreeSize};
use serde::Deserialize;
use std::collections::HashMap;

/// A day of the pack.
pub struct PackDay {
    pub closed: DayClosed,
    pub position: Position,
    pub head: Vec<u8>,
    pub asked: bool,
}

/// What the pack will hold.
pub struct Plan {
    pub signed: SignedCheckpoint,
    pub size: TreeSize,
    pub account: String,
    /// In the order of their lines.
    pub owners: Vec<String>,
    /// The ids of their streams.
    pub ids: HashMap<Box<[u8]>, ()>,
    pub days: Vec<PackDay>,
    /// Where what is asked for ends.
    pub end: u64,
    /// The first entry of the owners.
    pub first: u64,
    /// Entries of the ledger's own stream, rising.
    pub ledger: Vec<Position>,
    pub policy: String,
    /// The day of the ledger's first entry.
    pub created: Option<Date>,
    pub open_from: Option<Date>,
}

impl Plan {
    pub fn new(source: &PackSource<'_>, order: &Order<'_>) -> Result<Self, MakeError> {
        let plain = |text: &str, max: usize| text.chars().count() <= max && !text.contains(char::is_control);
        if !plain(order.asker, ASKER_MAX) || !plain(order.software, SOFTWARE_MAX) {
            return Err(MakeError::Names);
        }
        let signed = SignedCheckpoint::parse(source.checkpoint)?;
        let size = signed.checkpoint().size();
        if size > source.log.size() {
            return Err(MakeError::Damaged(format!("its checkpoint is of size {size}")));
        }
        let mut plan = Self {
            signed,
            size,
            account: String::new(),
            owners: Vec::new(),
            ids: HashMap::new(),
            days: Vec::new(),
            end: size.get(),
            first: size.get(),
            ledger: Vec::new(),
            policy: String::new(),
            created: None,
            open_from: None,
        };
        plan.ledger(source, order.query)?;
        plan.range(order.query)?;
        plan.owners(source, order.query)?;
        Ok(plan)
    }

    /// The ledger's own entries, and which days they close.
    fn ledger(&mut self, source: &PackSource<'_>, query: &Query) -> Result<(), MakeError> {
        let mut after = false;
        let mut positions = source.streams.positions("ledger", "main");
        positions.retain(|position| self.size.contains(*position));
        for position in positions {
            let block = wait(source.log.read_at(&[position])).map_err(read_error)?;
            let Some((_, bytes)) = block.get(0) else { continue };
            let entry = read(position, bytes)?;
            if entry.event_type == DAY_CLOSED {
                if after {
                    continue;
                }
                let closed: DayClosed = fact(&entry)?;
                let asked = closed.begins() <= query.to && closed.date >= query.from;
                if !asked && closed.date < query.from {
                    continue;
                }
                // A day whose head is still on its way is not closed yet for anybody else.
                let Some(head) = source.heads.get(closed.date)? else {
                    after = true;
                    continue;
                };
                after = !asked;
                self.days.push(PackDay {
                    closed,
                    position,
                    head,
                    asked,
                });
            } else if !LEDGER_EVENTS.contains(&entry.event_type) {
                continue;
            }
            self.policy_of(&entry)?;
            self.created.get_or_insert(entry.recorded_at.date());
            self.ledger.push(position);
        }
        Ok(())
    }

    fn policy_of(&mut self, entry: &Entry<'_>) -> Result<(), MakeError> {
        #[derive(Deserialize)]
        struct Says {
            policy: Option<String>,
        }
        if matches!(entry.event_type, "LedgerCreated" | "WitnessPolicySet") {
            let says: Says = fact(entry)?;
            self.policy = says.policy.unwrap_or_default();
        }
        Ok(())
    }

    /// Where the range ends.
    fn range(&mut self, query: &Query) -> Result<(), MakeError> {
        if self.created.is_some_and(|created| created > query.to) {
            return Err(MakeError::Days(format!("the ledger begins after {}", query.to)));
        }
        let last = self.days.iter().rfind(|day| day.asked);
        match last {
            Some(day) if day.closed.date >= query.to => self.end = day.closed.size.get(),
            Some(day) => self.open_from = Some(day.closed.date.next()),
            None => self.open_from = self.created.max(Some(query.from)),
        }
        Ok(())
    }

    fn owners(&mut self, source: &PackSource<'_>, query: &Query) -> Result<(), MakeError> {
        let registry = source.registry;
        let id = query.subject.id();
        let unknown = || MakeError::Unknown {
            kind: query.subject.kind(),
            id: id.to_owned(),
        };
        let mut opened = true;
        let devices = match &query.subject {
            Subject::Device(_) => {
                let device = registry.device_anywhere(id).ok_or_else(unknown)?;
                self.account = device.account.to_string();
                vec![device]
            }
            Subject::Channel(_) => {
                let channel = registry.channel_anywhere(id).ok_or_else(unknown)?;
                self.account = channel.account.to_string();
                vec![
                    registry
                        .device_anywhere(&channel.state.device)
                        .ok_or_else(unknown)?,
                ]
            }
            Subject::Alarm { id, channel } => {
                let first = source.streams.positions("alarm", id).first().copied();
                let first = first.ok_or_else(unknown)?;
                let channel = registry.channel_anywhere(channel).ok_or_else(unknown)?;
                let device = registry.device_anywhere(&channel.state.device);
                self.account = channel.account.to_string();
                self.owns(&channel.id, channel.created.position);
                opened = first.get() < self.end;
                vec![device.ok_or_else(unknown)?]
            }
            Subject::Site(_) => {
                let account = registry.account_of(id).ok_or_else(unknown)?;
                let site = registry.site(account, id).ok_or_else(unknown)?;
                self.account = account.to_owned();
                self.owns(id, site.created.position);
                let mut there = Vec::new();
                for device in registry.devices_ever(account, None) {
                    let moves = &device.state.moves;
                    let maybe = device.state.site == id || moves.iter().any(|it| it.from_site == id);
                    if maybe && self.was_at(source, &device.id, id)? {
                        there.push(device);
                    }
                }
                there
            }
        };
        for device in devices {
            self.owns(&device.id, device.created.position);
            let channels = registry.channels(device).map(|channel| &channel.id);
            let trays = registry.tray_of(device).into_iter().map(|tray| &tray.id);
            let ids = channels.chain(trays).map(|id| (id.as_bytes().into(), ()));
            self.ids.extend(ids);
        }
        for owner in &self.owners {
            let ids = registry
                .artefacts_of(owner)
                .map(|it| (it.id.as_bytes().into(), ()));
            self.ids.extend(ids);
        }
        if self.first >= self.end || !opened {
            return Err(MakeError::Days(format!(
                "there was no {} {id} yet on {}",
                query.subject.kind(),
                query.to
            )));
        }
        self.owners.sort_by_key(|owner| blinded(owner));
        Ok(())
    }

    fn owns(&mut self, id: &str, created: Position) {
        if created.get() < self.end {
            self.owners.push(id.to_owned());
            self.ids.insert(id.as_bytes().into(), ());
            self.first = self.first.min(created.get());
        }
    }

    /// Whether its entries before the end say that a device was ever at the site.
    fn was_at(&self, source: &PackSource<'_>, device: &str, site: &str) -> Result<bool, MakeError> {
        let mut positions = source.streams.positions("device", device);
        positions.retain(|position| position.get() < self.end);
        let block = wait(source.log.read_at(&positions)).map_err(read_error)?;
        for (position, bytes) in block.iter() {
            if is_at(&read(position, bytes)?, site) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether an entry of a device's stream says that it is at the site.
pub fn is_at(entry: &Entry<'_>, site: &str) -> bool {
    #[derive(Deserialize)]
    struct Place {
        site: Option<String>,
        to_site: Option<String>,
    }
    let Ok(place) = serde_json::from_slice::<Place>(entry.payload) else {
        return false;
    };
    match entry.event_type {
        "DeviceRegistered" => place.site.as_deref() == Some(site),
        "DeviceMoved" => place.to_site.as_deref() == Some(site),
        _ => false,
    }
}

pub fn read(position: Position, bytes: &[u8]) -> Result<Entry<'_>, MakeError> {
    Entry::read(bytes).map_err(|error| MakeError::Damaged(format!("position {position}: {error}")))
}

fn fact<T: for<'de> Deserialize<'de>>(entry: &Entry<'_>) -> Result<T, MakeError> {
    serde_json::from_slice(entry.payload)
        .map_err(|error| MakeError::Damaged(format!("position {}: {error}", entry.position)))
}
