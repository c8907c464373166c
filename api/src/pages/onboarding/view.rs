//! What the page of a device's first minute shows.
//!
//! Not here: markup, queries.

use domain::Timestamp;

use super::super::view::{ChannelNow, FreshToken, RefusalNote};
use super::super::words::Zone;

/// The 60 seconds after a device was added.
#[derive(Debug, Clone)]
pub struct Onboarding {
    /// `dev_…`.
    pub device: String,
    /// Its name.
    pub name: String,
    /// The id that it sends.
    pub local_id: String,
    /// DevEUI, for LoRaWAN.
    pub dev_eui: Option<String>,
    /// Model code; chooses the tab.
    pub model: String,
    /// The token, this once; `None` when the page is opened again.
    pub token: Option<FreshToken>,
    /// `https://host[:port]`, without a slash at the end.
    pub base_url: String,
    /// Webhook of the LoRaWAN integration.
    pub lorawan: WebhookStep,
    /// What has come so far.
    pub status: OnboardingStatus,
}

/// Where the network server's webhook stands.
#[derive(Debug, Clone)]
pub enum WebhookStep {
    /// There is none yet; a form makes one.
    Missing,
    /// Made just now: the token, this once.
    Fresh(FreshToken),
    /// There is one; its token was shown when it was made.
    Exists {
        /// Its name.
        name: String,
    },
}

/// What has come from a new device.
#[derive(Debug, Clone)]
pub struct OnboardingStatus {
    /// `dev_…`.
    pub device: String,
    /// When the page was made.
    pub now: Timestamp,
    /// The site's zone.
    pub zone: Zone,
    /// How it stands.
    pub step: FirstReading,
}

/// How the first reading stands.
#[derive(Debug, Clone)]
pub enum FirstReading {
    /// Nothing has come.
    Waiting {
        /// Since when the token has been valid.
        since: Timestamp,
    },
    /// Something came and was refused.
    Refused(RefusalNote),
    /// Something came, was understood, and held no reading.
    Ignored {
        /// When.
        at: Timestamp,
        /// Why there was no reading in it.
        why: String,
    },
    /// It is in the ledger.
    Landed {
        /// When it was recorded.
        at: Timestamp,
        /// Where.
        position: u64,
        /// What it held.
        channels: Vec<ChannelNow>,
    },
}
