//! What the form of a new device shows.
//!
//! Not here: markup, queries.

use super::super::view::SiteCard;

/// The form for a new device.
#[derive(Debug, Clone)]
pub struct AddDevice {
    /// Sites to choose from; none shows the fields of a first site.
    pub sites: Vec<SiteCard>,
    /// The site chosen beforehand.
    pub chosen: Option<String>,
    /// What was typed before, and what was wrong with it.
    pub form: DeviceForm,
    /// The key that makes a second click harmless.
    pub idempotency_key: String,
}

/// What was typed into the form for a new device.
#[derive(Debug, Clone, Default)]
pub struct DeviceForm {
    /// Name.
    pub name: String,
    /// Local id.
    pub local_id: String,
    /// Model code.
    pub model: String,
    /// DevEUI.
    pub dev_eui: String,
    /// Cadence in minutes.
    pub cadence_min: String,
    /// Field and what is wrong with it.
    pub errors: Vec<(String, String)>,
}
