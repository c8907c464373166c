//! What a site's page shows.
//!
//! Not here: markup, queries.

use super::super::view::{Change, DeviceRow, SiteCard};

/// One site.
#[derive(Debug, Clone)]
pub struct SitePage {
    /// The site.
    pub site: SiteCard,
    /// Its address, opened.
    pub address: Option<String>,
    /// Its devices, in any order.
    pub devices: Vec<DeviceRow>,
    /// Its configuration timeline, newest first.
    pub timeline: Vec<Change>,
    /// The entity tag, for the form.
    pub etag: String,
}
