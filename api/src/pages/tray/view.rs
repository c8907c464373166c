//! What the tray shows.
//!
//! Not here: markup, queries.

use domain::Timestamp;

use super::super::view::SiteCard;

/// The tray of unknown LoRaWAN devices.
#[derive(Debug, Clone)]
pub struct TrayPage {
    /// Devices that sent and are not known, newest first.
    pub parked: Vec<Parked>,
    /// Sites to adopt into.
    pub sites: Vec<SiteCard>,
    /// Models to adopt as: code and words.
    pub models: Vec<(String, String)>,
}

/// An unknown device in the tray.
#[derive(Debug, Clone)]
pub struct Parked {
    /// DevEUI, 16 hexadecimal digits.
    pub dev_eui: String,
    /// First uplink.
    pub first: Timestamp,
    /// Newest uplink.
    pub last: Timestamp,
    /// How many uplinks are kept.
    pub uplinks: u64,
    /// What the newest one held, where it could be read.
    pub sample: Vec<(String, String)>,
    /// The frame's port.
    pub f_port: Option<u8>,
}
