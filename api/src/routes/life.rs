//! What is only known now of devices and channels: last seen, online, the latest value.
//!
//! Invariant: read from the projections, from within the account; a device that they do not know yet has no life,
//! which reads as never seen.
//! Not here: what *online* means (`projections::query`).

use crate::app::App;
use crate::errors::ApiError;
use domain::Timestamp;
use projections::query::DeviceOverview;
use std::collections::HashMap;

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
}

impl Lives {
    /// Of a device.
    pub fn of(&self, device: &str, now: Timestamp) -> Life {
        self.devices.get(device).map_or(Life::default(), |overview| Life {
            last_seen_at: overview.last_seen,
            online: overview.online(now).unwrap_or(false),
        })
    }

    /// The latest value of a channel.
    pub fn latest(&self, device: &str, channel: &str) -> Option<(Timestamp, f64)> {
        let channels = &self.devices.get(device)?.channels;
        let found = channels.iter().find(|c| c.channel_id == channel)?;
        found.latest.map(|latest| (latest.at, latest.value))
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
            .ask(move |rows| match rows.devices(&account, site.as_deref()) {
                // A site that the read models do not know yet has no devices that they know.
                Err(projections::QueryError::SiteNotFound(_)) => Ok(Vec::new()),
                other => other,
            })
            .await?;
        Ok(Lives {
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
                Ok(device) => Ok(Some(device)),
                Err(projections::QueryError::DeviceNotFound(_)) => Ok(None),
                Err(error) => Err(error),
            })
            .await?;
        Ok(Lives {
            devices: found.into_iter().map(|d| (d.device_id.clone(), d)).collect(),
        })
    }
}
