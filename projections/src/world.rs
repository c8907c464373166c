//! Who owns what, as the entries tell it: accounts, sites, devices, channels, and whose a token is.
//!
//! Derived. Invariants: keys are given in order of position, so a rebuild gives the same ones; every row carries
//! its account, and whoever asks from another account finds nothing; sealed texts stay sealed, with the place
//! they were sealed at. Configuration comes through entries only, never from the write side.
//! Devices that send are kept in memory (bounded), for the way of a reading.
//! Not here: decisions about configuration (`domain`), the trail of who changed what (`timeline`).

use crate::error::ProjectionError;
use crate::overview::DeviceState;
use domain::entry::Entry;
use domain::event::{Event, EventError};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Most devices kept in memory between batches; about 300 bytes each with a few channels. Beyond it all are
/// forgotten and read again as they send.
const DEVICES_CACHED_MAX: usize = 200_000;

/// A device that sends.
#[derive(Debug)]
pub(crate) struct Device {
    pub key: i64,
    /// Configured cadence in microseconds, 0 where nobody configured one.
    pub cadence_us: i64,
    pub channels: Vec<Channel>,
    pub state: DeviceState,
    /// Whether the state must be written at the end of the batch.
    pub dirty: bool,
}

/// A channel of a device that sends.
#[derive(Debug)]
pub(crate) struct Channel {
    pub value_key: Box<str>,
    pub key: i64,
    /// Its newest `measured_at` before the batch at hand, `i64::MIN` without any.
    pub before: i64,
    /// The same with the batch.
    pub newest: i64,
}

impl Channel {
    fn new(value_key: &str, key: i64, newest: Option<i64>) -> Self {
        let newest = newest.unwrap_or(i64::MIN);
        Self {
            value_key: value_key.into(),
            key,
            before: newest,
            newest,
        }
    }
}

/// The devices in memory. Everything else is asked of the database.
#[derive(Debug, Default)]
pub(crate) struct World {
    index: HashMap<Box<str>, usize>,
    devices: Vec<Device>,
    dirty: Vec<usize>,
    newest: (String, usize),
}

/// An entry with its JSON parsed: for everything but readings, which are few.
pub(crate) struct Fact<'a> {
    pub entry: Entry<'a>,
    pub payload: Value,
    pub metadata: Value,
    /// The account's key, from `metadata.account`.
    pub account: Option<i64>,
}

impl<'a> Fact<'a> {
    pub(crate) fn read(connection: &Connection, entry: Entry<'a>) -> Result<Self, ProjectionError> {
        let parse = |bytes: &[u8]| {
            serde_json::from_slice::<Value>(bytes).map_err(|error| ProjectionError::Entry {
                position: entry.position,
                reason: error.to_string(),
            })
        };
        let (payload, metadata) = (parse(entry.payload)?, parse(entry.metadata)?);
        let account = match metadata["account"].as_str() {
            Some(id) => Some(account_key(connection, id)?),
            None => None,
        };
        Ok(Self {
            entry,
            payload,
            metadata,
            account,
        })
    }

    /// As an event of the vocabulary; `None` for one that is newer than this software.
    pub(crate) fn event(&self) -> Result<Option<Event>, ProjectionError> {
        match Event::read(self.entry.event_type, self.entry.payload) {
            Ok(event) => Ok(Some(event)),
            Err(EventError::Unknown(_)) => Ok(None),
            Err(error) => Err(ProjectionError::Entry {
                position: self.entry.position,
                reason: error.to_string(),
            }),
        }
    }

    pub(crate) fn text(&self, member: &str) -> Option<&str> {
        self.payload[member].as_str()
    }

    /// A text that may be sealed, as JSON that can be opened later: the sealed object and its place.
    pub(crate) fn sealed(&self, pointer: &str) -> Option<String> {
        self.sealed_value(pointer).map(|value| value.to_string())
    }

    fn sealed_value(&self, pointer: &str) -> Option<Value> {
        let value = self.payload.pointer(pointer)?;
        if value.is_null() {
            return None;
        }
        let Some(sealed) = value.get("sealed") else {
            return Some(value.clone());
        };
        Some(json!({
            "sealed": sealed,
            "place": {
                "pointer": pointer,
                "salt": self.entry.salt,
                "sequence": self.entry.sequence,
                "stream": self.entry.stream_name(),
            },
        }))
    }

    /// The new value of a changed field; `None` where it did not change.
    fn changed(&self, field: &str) -> Option<&Value> {
        self.payload["changes"].get(field)?.get("new")
    }

    fn changed_sealed(&self, field: &str) -> Option<Option<String>> {
        self.changed(field)?;
        Some(self.sealed(&format!("/changes/{field}/new")))
    }
}

/// The key of an account, given on first sight.
fn account_key(connection: &Connection, id: &str) -> rusqlite::Result<i64> {
    let mut find = connection.prepare_cached("SELECT key FROM accounts WHERE id = ?1")?;
    if let Some(key) = find.query_row([id], |row| row.get(0)).optional()? {
        return Ok(key);
    }
    connection
        .prepare_cached(
            "INSERT INTO accounts (key, id) SELECT coalesce(max(key), 0) + 1, ?1 FROM accounts RETURNING key",
        )?
        .query_row([id], |row| row.get(0))
}

/// The key and account of a device.
pub(crate) fn device_key(connection: &Connection, id: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    connection
        .prepare_cached("SELECT key, account FROM devices WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The device of a channel, or the device itself, and the site where it stands, as it is after the entries so far;
/// `None` for what is neither.
pub(crate) fn place_of(
    connection: &Connection,
    id: &str,
) -> rusqlite::Result<Option<(String, Option<String>)>> {
    connection
        .prepare_cached(
            "SELECT d.id, d.site FROM channels c JOIN devices d ON d.key = c.device WHERE c.id = ?1
             UNION ALL SELECT id, site FROM devices WHERE id = ?1 LIMIT 1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

impl World {
    /// Forgets everything, as after a batch that was rolled back.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Keeps memory bounded; call it between batches.
    pub(crate) fn trim(&mut self) {
        if self.devices.len() > DEVICES_CACHED_MAX {
            self.forget();
        }
    }

    /// The device with this id, whose state is about to change; `None` where none was registered.
    pub(crate) fn device_mut(
        &mut self,
        connection: &Connection,
        id: &str,
    ) -> Result<Option<&mut Device>, ProjectionError> {
        let (newest, newest_at) = &mut self.newest;
        if newest != id {
            let at = match self.index.get(id) {
                Some(&at) => at,
                None => {
                    let Some(device) = load(connection, id)? else {
                        return Ok(None);
                    };
                    self.devices.push(device);
                    self.index.insert(id.into(), self.devices.len() - 1);
                    self.devices.len() - 1
                }
            };
            newest.clear();
            newest.push_str(id);
            *newest_at = at;
        }
        let device = &mut self.devices[*newest_at];
        if !device.dirty {
            device.dirty = true;
            self.dirty.push(*newest_at);
        }
        Ok(Some(device))
    }

    fn cached(&mut self, id: &str) -> Option<&mut Device> {
        let at = *self.index.get(id)?;
        self.devices.get_mut(at)
    }

    /// The devices whose state changed, marked as written.
    pub(crate) fn take_dirty(&mut self) -> impl Iterator<Item = &Device> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for &at in &dirty {
            let device = &mut self.devices[at];
            device.dirty = false;
            device.channels.iter_mut().for_each(|c| c.before = c.newest);
        }
        dirty.sort_by_key(|&at| self.devices[at].key);
        dirty.into_iter().map(|at| &self.devices[at])
    }

    /// Follows one entry of configuration.
    pub(crate) fn apply(&mut self, connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
        match fact.entry.aggregate_type {
            "account" => account(connection, fact),
            "site" => site(connection, fact),
            "device" => self.device(connection, fact),
            "channel" => self.channel(connection, fact),
            "user" | "integration" => principal(connection, fact.entry.aggregate_id, fact.account, None),
            "tokens" => token(connection, fact),
            _ => Ok(()),
        }
    }

    fn device(&mut self, connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
        let id = fact.entry.aggregate_id;
        match fact.entry.event_type {
            "DeviceRegistered" => {
                connection
                    .prepare_cached(
                        "INSERT OR IGNORE INTO devices (key, id, account, site, local_id, name, model, dev_eui,
                             serial, cadence_s, registered_at)
                         SELECT coalesce(max(key), 0) + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM devices",
                    )?
                    .execute(params![
                        id,
                        fact.account.unwrap_or(0),
                        fact.text("site"),
                        fact.text("local_id"),
                        fact.sealed("/name"),
                        fact.text("model"),
                        fact.text("dev_eui"),
                        fact.text("serial"),
                        fact.payload["cadence_s"].as_i64(),
                        fact.entry.recorded_at.as_micros(),
                    ])?;
            }
            "DeviceMoved" => {
                connection
                    .prepare_cached("UPDATE devices SET site = ?2 WHERE id = ?1")?
                    .execute(params![id, fact.text("to_site")])?;
            }
            "DeviceRemoved" => {
                connection
                    .prepare_cached("UPDATE devices SET removed = 1 WHERE id = ?1")?
                    .execute([id])?;
            }
            "DeviceChanged" => self.device_changed(connection, fact)?,
            _ => {}
        }
        Ok(())
    }

    fn device_changed(&mut self, connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
        let id = fact.entry.aggregate_id;
        if let Some(name) = fact.changed_sealed("name") {
            connection
                .prepare_cached("UPDATE devices SET name = ?2 WHERE id = ?1")?
                .execute(params![id, name])?;
        }
        for (field, sql) in [
            ("local_id", "UPDATE devices SET local_id = ?2 WHERE id = ?1"),
            ("dev_eui", "UPDATE devices SET dev_eui = ?2 WHERE id = ?1"),
            ("serial", "UPDATE devices SET serial = ?2 WHERE id = ?1"),
        ] {
            if let Some(new) = fact.changed(field) {
                connection
                    .prepare_cached(sql)?
                    .execute(params![id, new.as_str()])?;
            }
        }
        if let Some(new) = fact.changed("cadence_s") {
            connection
                .prepare_cached("UPDATE devices SET cadence_s = ?2 WHERE id = ?1")?
                .execute(params![id, new.as_i64()])?;
            if let Some(device) = self.cached(id) {
                device.cadence_us = cadence_us(new.as_i64());
            }
        }
        Ok(())
    }

    fn channel(&mut self, connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
        let id = fact.entry.aggregate_id;
        match fact.entry.event_type {
            "ChannelRegistered" => {
                let (Some(device_id), Some(value_key)) = (fact.text("device"), fact.text("key")) else {
                    return Ok(());
                };
                let Some((device, account)) = device_key(connection, device_id)? else {
                    return Ok(());
                };
                let key: Option<i64> = connection
                    .prepare_cached(
                        "INSERT OR IGNORE INTO channels (key, id, account, device, sensor, value_key, kind, unit,
                             label, auxiliary, ok_min, ok_max, grace_min)
                         SELECT coalesce(max(key), 0) + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
                         FROM channels RETURNING key",
                    )?
                    .query_row(
                        params![
                            id,
                            account,
                            device,
                            fact.text("sensor"),
                            value_key,
                            fact.text("kind"),
                            fact.text("unit"),
                            fact.sealed("/label"),
                            fact.payload["auxiliary"].as_bool().unwrap_or(false),
                            fact.payload["ok_min"].as_f64(),
                            fact.payload["ok_max"].as_f64(),
                            fact.payload["grace_min"].as_i64(),
                        ],
                        |row| row.get(0),
                    )
                    .optional()?;
                if let (Some(key), Some(device)) = (key, self.cached(device_id)) {
                    device.channels.push(Channel::new(value_key, key, None));
                }
            }
            "ChannelChanged" => channel_changed(connection, fact)?,
            _ => {}
        }
        Ok(())
    }
}

fn cadence_us(cadence_s: Option<i64>) -> i64 {
    cadence_s.unwrap_or(0).clamp(0, 1 << 31) * 1_000_000
}

fn load(connection: &Connection, id: &str) -> Result<Option<Device>, ProjectionError> {
    let found: Option<(i64, Option<i64>)> = connection
        .prepare_cached("SELECT key, cadence_s FROM devices WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((key, cadence_s)) = found else {
        return Ok(None);
    };
    let channels = connection
        .prepare_cached(
            "SELECT c.value_key, c.key, l.at FROM channels c LEFT JOIN latest l ON l.channel = c.key
             WHERE c.device = ?1 ORDER BY c.key",
        )?
        .query_map([key], |row| {
            let value_key: String = row.get(0)?;
            Ok(Channel::new(&value_key, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(Device {
        key,
        cadence_us: cadence_us(cadence_s),
        channels,
        state: DeviceState::load(connection, key)?,
        dirty: false,
    }))
}

fn account(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let key = account_key(connection, fact.entry.aggregate_id)?;
    let name = match fact.entry.event_type {
        "AccountOpened" => Some(fact.sealed("/name")),
        "AccountRenamed" => fact.changed_sealed("name"),
        _ => None,
    };
    if let Some(name) = name {
        connection
            .prepare_cached("UPDATE accounts SET name = ?2 WHERE key = ?1")?
            .execute(params![key, name])?;
    }
    let suspended = match fact.entry.event_type {
        "AccountSuspended" => true,
        "AccountResumed" => false,
        _ => return Ok(()),
    };
    connection
        .prepare_cached("UPDATE accounts SET suspended = ?2 WHERE key = ?1")?
        .execute(params![key, suspended])?;
    Ok(())
}

fn site(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    if fact.entry.event_type == "SiteCreated" {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO sites (key, id, account, name, vertical, timezone)
                 SELECT coalesce(max(key), 0) + 1, ?1, ?2, ?3, ?4, ?5 FROM sites",
            )?
            .execute(params![
                id,
                fact.account.unwrap_or(0),
                fact.sealed("/name"),
                fact.text("vertical"),
                fact.text("timezone"),
            ])?;
        return Ok(());
    }
    if let Some(name) = fact.changed_sealed("name") {
        connection
            .prepare_cached("UPDATE sites SET name = ?2 WHERE id = ?1")?
            .execute(params![id, name])?;
    }
    for (field, sql) in [
        ("vertical", "UPDATE sites SET vertical = ?2 WHERE id = ?1"),
        ("timezone", "UPDATE sites SET timezone = ?2 WHERE id = ?1"),
    ] {
        if let Some(new) = fact.changed(field) {
            connection
                .prepare_cached(sql)?
                .execute(params![id, new.as_str()])?;
        }
    }
    Ok(())
}

fn channel_changed(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    if let Some(label) = fact.changed_sealed("label") {
        connection
            .prepare_cached("UPDATE channels SET label = ?2 WHERE id = ?1")?
            .execute(params![id, label])?;
    }
    if let Some(unit) = fact.changed("unit") {
        connection
            .prepare_cached("UPDATE channels SET unit = ?2 WHERE id = ?1")?
            .execute(params![id, unit.as_str()])?;
    }
    for (field, sql) in [
        ("ok_min", "UPDATE channels SET ok_min = ?2 WHERE id = ?1"),
        ("ok_max", "UPDATE channels SET ok_max = ?2 WHERE id = ?1"),
        ("grace_min", "UPDATE channels SET grace_min = ?2 WHERE id = ?1"),
    ] {
        if let Some(new) = fact.changed(field) {
            connection
                .prepare_cached(sql)?
                .execute(params![id, new.as_f64()])?;
        }
    }
    Ok(())
}

fn token(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let Some(token) = fact.text("token") else {
        return Ok(());
    };
    let device = device_key(connection, fact.entry.aggregate_id)?.map(|(key, _)| key);
    principal(connection, token, fact.account, device)
}

fn principal(
    connection: &Connection,
    id: &str,
    account: Option<i64>,
    device: Option<i64>,
) -> Result<(), ProjectionError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO principals VALUES (?1, ?2, ?3)")?
        .execute(params![id, account, device])?;
    Ok(())
}

/// Whose a source of refusals is: (account, device).
pub(crate) fn whose(connection: &Connection, source: &str) -> rusqlite::Result<(Option<i64>, Option<i64>)> {
    let Some((kind, id)) = source.split_once(':') else {
        return Ok((None, None));
    };
    if kind == "device" {
        return Ok(match device_key(connection, id)? {
            Some((device, account)) => (Some(account), Some(device)),
            None => (None, None),
        });
    }
    let found = connection
        .prepare_cached("SELECT account, device FROM principals WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.unwrap_or_default())
}
