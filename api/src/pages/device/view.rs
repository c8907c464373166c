//! What a device's page shows.
//!
//! Not here: markup, queries.

use std::collections::BTreeMap;

use super::super::alarms::view::AlarmRow;
use super::super::view::{Change, DeviceRow, Gap, Link, RefusalNote, Spark, TokenRow};
use super::super::words::Zone;

/// One device.
#[derive(Debug, Clone)]
pub struct DevicePage {
    /// What the overview shows of it.
    pub row: DeviceRow,
    /// The last 24 hours of its channels, by channel id.
    pub sparks: BTreeMap<String, Spark>,
    /// The id that it sends.
    pub local_id: String,
    /// DevEUI.
    pub dev_eui: Option<String>,
    /// Serial number or MAC.
    pub serial: Option<String>,
    /// Notes, opened.
    pub notes: Option<String>,
    /// The site's zone.
    pub zone: Zone,
    /// Missing intervals of the last days, newest first.
    pub gaps: Vec<Gap>,
    /// The last refusals, newest first.
    pub refusals: Vec<RefusalNote>,
    /// Configuration timeline, newest first.
    pub timeline: Vec<Change>,
    /// Its tokens that still open something.
    pub tokens: Vec<TokenRow>,
    /// The sites it may be moved to.
    pub sites: Vec<Link>,
    /// The position of the configuration in force.
    pub config: u64,
    /// The entity tag, for the form.
    pub etag: String,
    /// Its open alarms.
    pub alarms: Vec<AlarmRow>,
}
