//! The overview: devices with what they last said, and how worried to be.
//!
//! Invariants: ages and `online` are computed from the time the asker gives, never stored; `outside` speaks of the
//! latest value against the limits in force now, and nothing here says *ok*.
//! Not here: alarms and their states (rules), pages (`api`).

use super::{ReadModel, find_device, find_site, time};
use crate::error::QueryError;
use crate::overview::gap_limit_us;
use domain::calibration::corrected;
use domain::{Position, Timestamp};
use rusqlite::{Connection, Row, params_from_iter, types::Value};
use std::collections::HashMap;

/// A device of unknown cadence is online for this long after it was last seen, seconds: battery sensors that
/// report on change stay quiet for most of an hour.
pub const ONLINE_UNKNOWN_CADENCE_S: i64 = 3_600;
/// A device is online for at least this long, seconds: one lost message is not an outage.
const ONLINE_MIN_S: i64 = 120;
/// A refusal worries for this long, seconds.
const REFUSED_RECENTLY_S: i64 = 3_600;
/// Most devices of an answer; an account with more pages by site.
const DEVICES_MAX: i64 = 10_000;

/// A channel and its newest value.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelLatest {
    /// `chn_…`.
    pub channel_id: String,
    /// `snr_…`.
    pub sensor_id: Option<String>,
    /// `dev_…`.
    pub device_id: String,
    /// `<kind>` or `<kind>/<slug>`.
    pub key: String,
    /// The kind.
    pub kind: Option<String>,
    /// The unit.
    pub unit: Option<String>,
    /// The label, JSON, sealed as in the ledger.
    pub label: Option<String>,
    /// About the device itself: no limits by default.
    pub auxiliary: bool,
    /// Lower limit.
    pub ok_min: Option<f64>,
    /// Upper limit.
    pub ok_max: Option<f64>,
    /// Minutes out of range before an alarm.
    pub grace_min: Option<i64>,
    /// The newest value by `measured_at`.
    pub latest: Option<LatestValue>,
}

/// A newest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatestValue {
    /// Measured at.
    pub at: Timestamp,
    /// The value, corrected.
    pub value: f64,
    /// The value as it was recorded.
    pub raw: f64,
    /// Its entry.
    pub position: Position,
    /// Measurements of the channel so far.
    pub count: u64,
}

impl ChannelLatest {
    /// Whether the newest value is outside the limits; `None` without a value or without limits.
    pub fn outside(&self) -> Option<bool> {
        let value = self.latest?.value;
        if self.ok_min.is_none() && self.ok_max.is_none() {
            return None;
        }
        Some(self.ok_min.is_some_and(|min| value < min) || self.ok_max.is_some_and(|max| value > max))
    }
}

/// A device and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceOverview {
    /// `dev_…`.
    pub device_id: String,
    /// `site_…`.
    pub site_id: Option<String>,
    /// The id on its label.
    pub local_id: Option<String>,
    /// Its name, JSON, sealed as in the ledger.
    pub name: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// LoRaWAN.
    pub dev_eui: Option<String>,
    /// Configured cadence, seconds.
    pub cadence_s: Option<i64>,
    /// Cadence learned from its own rhythm, seconds.
    pub learned_cadence_s: Option<f64>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// Whether it was removed.
    pub removed: bool,
    /// When its newest reading was received.
    pub last_seen: Option<Timestamp>,
    /// Its earliest `measured_at`.
    pub first_measured: Option<Timestamp>,
    /// Its latest `measured_at`.
    pub last_measured: Option<Timestamp>,
    /// The newest entry of a reading.
    pub last_position: Option<Position>,
    /// Readings so far.
    pub readings: u64,
    /// Second values for a time that had one.
    pub conflicts: u64,
    /// Gaps kept and, beyond [`crate::GAPS_KEPT`], counted.
    pub gaps: u64,
    /// Requests refused so far.
    pub refused: u64,
    /// When one was last refused.
    pub refused_at: Option<Timestamp>,
    /// Its channels, by key.
    pub channels: Vec<ChannelLatest>,
}

/// What is worst about a device; the worst first in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Concern {
    /// It reported before and does not any more.
    Offline,
    /// A newest value is outside its limits.
    Outside,
    /// Something it sent was refused within the last hour.
    Refused,
    /// It never reported.
    NeverSeen,
    /// Nothing to do.
    None,
}

impl DeviceOverview {
    /// Seconds since it was last seen.
    pub fn age_s(&self, now: Timestamp) -> Option<f64> {
        Some(now.since(self.last_seen?).max(0) as f64 / 1e6)
    }

    /// Whether it is within its rhythm; `None` before its first reading.
    pub fn online(&self, now: Timestamp) -> Option<bool> {
        let limit = self
            .gap_limit_us()
            .unwrap_or(ONLINE_UNKNOWN_CADENCE_S * 1_000_000)
            .max(ONLINE_MIN_S * 1_000_000);
        Some(now.since(self.last_seen?) <= limit)
    }

    /// The interval above which a silence is a gap, microseconds.
    pub fn gap_limit_us(&self) -> Option<i64> {
        let configured = self.cadence_s.unwrap_or(0).clamp(0, 1 << 31) * 1_000_000;
        gap_limit_us(configured, (self.learned_cadence_s.unwrap_or(0.0) * 1e6) as i64)
    }

    /// What is worst about it.
    pub fn concern(&self, now: Timestamp) -> Concern {
        let refused = self
            .refused_at
            .is_some_and(|at| now.since(at) <= REFUSED_RECENTLY_S * 1_000_000);
        match self.online(now) {
            Some(false) => Concern::Offline,
            _ if self.channels.iter().any(|c| c.outside() == Some(true)) => Concern::Outside,
            _ if refused => Concern::Refused,
            None => Concern::NeverSeen,
            Some(true) => Concern::None,
        }
    }
}

/// Sorts the worst first; of the same concern, who was silent longest.
pub fn worst_first(devices: &mut [DeviceOverview], now: Timestamp) {
    devices.sort_by_cached_key(|d| (d.concern(now), d.last_seen, d.device_id.clone()));
}

impl ReadModel {
    /// The devices of an account, or of one of its sites, that were not removed; by id. At most 10,000.
    ///
    /// # Errors
    /// `SiteNotFound`, `Unavailable`.
    pub fn devices(&self, account: &str, site: Option<&str>) -> Result<Vec<DeviceOverview>, QueryError> {
        self.ask(|connection| {
            if let Some(site) = site {
                find_site(connection, account, site)?;
            }
            overview(
                connection,
                "a.id = ?1 AND d.removed = 0 AND (?2 IS NULL OR d.site = ?2)",
                &[Value::from(account.to_owned()), site.map(str::to_owned).into()],
            )
        })
    }

    /// One device, removed or not.
    ///
    /// # Errors
    /// `DeviceNotFound`, `Unavailable`.
    pub fn device(&self, account: &str, device: &str) -> Result<DeviceOverview, QueryError> {
        self.ask(|connection| {
            let key = find_device(connection, account, device)?;
            overview(
                connection,
                "a.id = ?1 AND d.key = ?2",
                &[Value::from(account.to_owned()), Value::from(key)],
            )?
            .pop()
            .ok_or_else(|| QueryError::DeviceNotFound(device.to_owned()))
        })
    }

    /// A device's channels with their newest values, by key.
    ///
    /// # Errors
    /// `DeviceNotFound`, `Unavailable`.
    pub fn latest_of_device(&self, account: &str, device: &str) -> Result<Vec<ChannelLatest>, QueryError> {
        Ok(self.device(account, device)?.channels)
    }

    /// The channels of a site's devices with their newest values, by device and key.
    ///
    /// # Errors
    /// `SiteNotFound`, `Unavailable`.
    pub fn latest_of_site(&self, account: &str, site: &str) -> Result<Vec<ChannelLatest>, QueryError> {
        let devices = self.devices(account, Some(site))?;
        Ok(devices.into_iter().flat_map(|device| device.channels).collect())
    }

    /// One channel with its newest value.
    ///
    /// # Errors
    /// `ChannelNotFound`, `Unavailable`.
    pub fn channel(&self, account: &str, channel: &str) -> Result<ChannelLatest, QueryError> {
        self.ask(|connection| {
            let found = channels(
                connection,
                "a.id = ?1 AND c.id = ?2",
                &[Value::from(account.to_owned()), Value::from(channel.to_owned())],
            )?;
            let first = found.into_values().flatten().next();
            first.ok_or_else(|| QueryError::ChannelNotFound(channel.to_owned()))
        })
    }
}

/// `filter` is one of the texts above, never an asker's.
fn overview(
    connection: &Connection,
    filter: &str,
    values: &[Value],
) -> Result<Vec<DeviceOverview>, QueryError> {
    let mut of_device = channels(connection, filter, values)?;
    let sql = format!(
        "SELECT d.key, d.id, d.site, d.local_id, d.name, d.model, d.dev_eui, d.cadence_s, d.registered_at, d.removed,
             s.last_seen, s.first_measured, s.last_measured, s.last_position, s.readings, s.conflicts,
             s.learned_us, s.gaps + s.gaps_dropped,
             (SELECT sum(total) FROM refusal_totals r WHERE r.device = d.key),
             (SELECT max(last_at) FROM refusal_totals r WHERE r.device = d.key)
         FROM devices d JOIN accounts a ON a.key = d.account LEFT JOIN device_state s ON s.device = d.key
         WHERE {filter} ORDER BY d.id LIMIT {DEVICES_MAX}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let devices = statement.query_map(params_from_iter(values), |row| {
        Ok((row.get::<_, i64>(0)?, device_of(row)?))
    })?;
    let mut all = Vec::new();
    for device in devices {
        let (key, mut device) = device?;
        device.channels = of_device.remove(&key).unwrap_or_default();
        all.push(device);
    }
    Ok(all)
}

fn device_of(row: &Row<'_>) -> rusqlite::Result<DeviceOverview> {
    // Seen once it has a reading: a state may exist without one.
    let readings: Option<i64> = row.get(14)?;
    let seen = readings.is_some_and(|n| n > 0);
    let when = |column: usize| -> rusqlite::Result<Option<Timestamp>> {
        let us: Option<i64> = row.get(column)?;
        Ok(us.filter(|_| seen).map(time))
    };
    let count = |column: usize| -> rusqlite::Result<u64> {
        Ok(row.get::<_, Option<i64>>(column)?.unwrap_or(0).max(0) as u64)
    };
    let learned: Option<i64> = row.get(16)?;
    let position: Option<i64> = row.get(13)?;
    Ok(DeviceOverview {
        device_id: row.get(1)?,
        site_id: row.get(2)?,
        local_id: row.get(3)?,
        name: row.get(4)?,
        model: row.get(5)?,
        dev_eui: row.get(6)?,
        cadence_s: row.get(7)?,
        learned_cadence_s: learned.filter(|us| *us > 0).map(|us| us as f64 / 1e6),
        registered_at: time(row.get(8)?),
        removed: row.get(9)?,
        last_seen: when(10)?,
        first_measured: when(11)?,
        last_measured: when(12)?,
        last_position: position.filter(|_| seen).map(|p| Position(p as u64)),
        readings: count(14)?,
        conflicts: count(15)?,
        gaps: count(17)?,
        refused: count(18)?,
        refused_at: row.get::<_, Option<i64>>(19)?.map(time),
        channels: Vec::new(),
    })
}

/// A newest value with what corrects it, as JSON.
fn latest_of(correction: Option<String>, raw: f64) -> f64 {
    corrected(correction.and_then(|text| serde_json::from_str(&text).ok()), raw)
}

/// Channels by their device's key; `filter` as in [`overview`], over the same joins.
fn channels(
    connection: &Connection,
    filter: &str,
    values: &[Value],
) -> Result<HashMap<i64, Vec<ChannelLatest>>, QueryError> {
    let sql = format!(
        "SELECT d.key, d.id, c.id, c.sensor, c.value_key, c.kind, c.unit, c.label, c.auxiliary, c.ok_min, c.ok_max,
             c.grace_min, l.at, l.value, l.position, l.count,
             (SELECT k.correction FROM calibrations k WHERE k.channel = c.key AND k.valid_from <= l.at
                  ORDER BY k.valid_from DESC LIMIT 1)
         FROM devices d JOIN accounts a ON a.key = d.account JOIN channels c ON c.device = d.key
         LEFT JOIN latest l ON l.channel = c.key
         WHERE {filter} ORDER BY d.key, c.value_key"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        let latest = match row.get::<_, Option<i64>>(12)? {
            Some(at) => Some(LatestValue {
                at: time(at),
                value: latest_of(row.get(16)?, row.get(13)?),
                raw: row.get(13)?,
                position: Position(row.get::<_, i64>(14)? as u64),
                count: row.get::<_, i64>(15)? as u64,
            }),
            None => None,
        };
        let channel = ChannelLatest {
            device_id: row.get(1)?,
            channel_id: row.get(2)?,
            sensor_id: row.get(3)?,
            key: row.get(4)?,
            kind: row.get(5)?,
            unit: row.get(6)?,
            label: row.get(7)?,
            auxiliary: row.get(8)?,
            ok_min: row.get(9)?,
            ok_max: row.get(10)?,
            grace_min: row.get(11)?,
            latest,
        };
        Ok((row.get::<_, i64>(0)?, channel))
    })?;
    let mut of_device: HashMap<i64, Vec<ChannelLatest>> = HashMap::new();
    for row in rows {
        let (device, channel) = row?;
        of_device.entry(device).or_default().push(channel);
    }
    Ok(of_device)
}
