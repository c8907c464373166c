//! What a site's page shows.
//!
//! Not here: markup, queries.

use super::super::view::{Change, DeviceRow, SiteCard};
use super::form::Typed;
use domain::event::contact::OpeningHours;

/// One site.
#[derive(Debug, Clone)]
pub struct SitePage {
    /// The site.
    pub site: SiteCard,
    /// Its address, opened.
    pub address: Option<String>,
    /// When it is open, in its time zone.
    pub opening_hours: Vec<OpeningHours>,
    /// Whether it is open now; `None` where its opening hours are not known.
    pub is_open: Option<bool>,
    /// What was typed, where it could not be saved.
    pub typed: Option<Typed>,
    /// Its devices, in any order.
    pub devices: Vec<DeviceRow>,
    /// Its configuration timeline, newest first.
    pub timeline: Vec<Change>,
    /// The entity tag, for the form.
    pub etag: String,
}
