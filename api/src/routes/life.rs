//! What is only known now of devices and channels: last seen, online, the latest value.
//!
//! Invariant: read from the projections, from within the account; a device that they do not know yet has no life,
//! which reads as never seen.
//! Not here: what *online* means (`projections::query`).

use crate::app::App;
use crate::errors::ApiError;
use domain::Timestamp;
use projections::query::{DeviceOverview, LatestValue, StateOfChannel};
use std::collections::{BTreeMap, HashMap};

/// What is known of a device now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Life {
    /// When its newest reading came.
    pub last_seen_at: Option<Timestamp>,
    /// Whether it reports as often as it means to.
    pub online: bool,
}

/// The lives of an account's devices.
#[derive(Debug, Default)]
pub struct Lives {
    devices: HashMap<String, DeviceOverview>,
    states: BTreeMap<String, StateOfChannel>,
}

impl Lives {
    /// Of a device.
    pub fn of(&self, device: &str, now: Timestamp) -> Life {
        self.devices.get(device).map_or(Life::default(), |overview| Life {
            last_seen_at: overview.last_seen,
            online: overview.online(now).unwrap_or(false),
        })
    }

    /// What the rules make of a channel; `None` where they never said anything.
    pub fn state(&self, channel: &str) -> Option<&StateOfChannel> {
        self.states.get(channel)
    }

    /// The latest value of a channel.
    pub fn latest(&self, device: &str, channel: &str) -> Option<LatestValue> {
        let channels = &self.devices.get(device)?.channels;
        let found = channels.iter().find(|c| c.channel_id == channel)?;
        found.latest
    }
}

impl App {
    /// The lives of every device of an account, or of a site.
    ///
    /// # Errors
    /// 503 where the read models do not answer.
    pub async fn lives(&self, account: &str, site: Option<String>) -> Result<Lives, ApiError> {
        let account = account.to_owned();
        let devices = self
            .ask(move |rows| {
                let devices = match rows.devices(&account, site.as_deref()) {
                    // A site that the read models do not know yet has no devices that they know.
                    Err(projections::QueryError::SiteNotFound(_)) => Vec::new(),
                    other => other?,
                };
                Ok((devices, rows.channel_states(&account)?))
            })
            .await?;
        let (devices, states) = devices;
        Ok(Lives {
            states,
            devices: devices.into_iter().map(|d| (d.device_id.clone(), d)).collect(),
        })
    }

    /// The life of one device.
    ///
    /// # Errors
    /// 503 where the read models do not answer.
    pub async fn life_of(&self, account: &str, device: &str) -> Result<Lives, ApiError> {
        let (account, id) = (account.to_owned(), device.to_owned());
        let found = self
            .ask(move |rows| match rows.device(&account, &id) {
                Ok(device) => {
                    let mut states = BTreeMap::new();
                    for channel in &device.channels {
                        if let Some(state) = rows.channel_state(&account, &channel.channel_id)? {
                            states.insert(channel.channel_id.clone(), state);
                        }
                    }
                    Ok((Some(device), states))
                }
                Err(projections::QueryError::DeviceNotFound(_)) => Ok((None, BTreeMap::new())),
                Err(error) => Err(error),
            })
            .await?;
        let (found, states) = found;
        Ok(Lives {
            states,
            devices: found.into_iter().map(|d| (d.device_id.clone(), d)).collect(),
        })
    }
}
