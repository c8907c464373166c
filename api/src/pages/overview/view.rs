//! What the overview shows.
//!
//! Not here: markup, queries.

use super::super::view::{DeviceRow, SiteCard};

/// The overview.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Every site of the account.
    pub sites: Vec<SiteCard>,
    /// Every device of the account, in any order.
    pub devices: Vec<DeviceRow>,
}
