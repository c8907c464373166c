//! `site/site_…`: one address, one time zone, one vertical.
//!
//! Invariants: the vertical picks the limits that new channels begin with; changing it changes no channel.
//! Not here: which devices stand there (`registry`).

use super::channel::INTERVAL_MIN_MAX;
use super::contact::{is_span, within};
use super::{Aggregate, Stamp, text};
use crate::event::contact::{OpeningHours, SiteNotifications};
use crate::event::{
    Change, Changed, Event, SiteChanges, SiteCreated, SiteNotificationsSet, Text, TextChange, Vertical,
};
use crate::rejection::Rejection;
use crate::sealed::SealedField;
use serde::{Deserialize, Serialize};

/// The state of a site.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Site {
    /// How many events there were.
    pub sequence: u64,
    /// Its name, sealed.
    pub name: Option<SealedField>,
    /// What it is for; present once it exists.
    pub vertical: Option<Vertical>,
    /// IANA name.
    pub timezone: String,
    /// Its address, sealed.
    pub address: Option<SealedField>,
    /// When it is open; nothing is said where there is none.
    #[serde(default)]
    pub opening_hours: Vec<OpeningHours>,
    /// Whether its messages are gathered.
    #[serde(default)]
    pub notifications: SiteNotifications,
}

/// What may be asked of a site.
#[derive(Debug, Clone, PartialEq)]
pub enum SiteCommand {
    /// Begins it.
    Create {
        /// Its name.
        name: String,
        /// What it is for, by name.
        vertical: String,
        /// IANA name.
        timezone: String,
        /// Its address.
        address: Option<String>,
    },
    /// Changes what is given; absent fields stay.
    Change(SitePatch),
    /// Says whether its messages are gathered.
    Notify(SiteNotifications),
}

/// What to change of a site.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SitePatch {
    /// A new name.
    pub name: Option<String>,
    /// Another vertical, by name.
    pub vertical: Option<String>,
    /// Another time zone.
    pub timezone: Option<String>,
    /// A new address, or none.
    pub address: Option<Option<String>>,
    /// Other opening hours, or none.
    pub opening_hours: Option<Vec<OpeningHours>>,
}

/// Most spans of opening hours: two for each day of the week.
pub const OPENING_SPANS_MAX: usize = 14;

impl Aggregate for Site {
    const TYPE: &'static str = "site";
    type Command = SiteCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::SiteCreated(site) => {
                self.name = stamp.field(&site.name, "/name");
                self.address = stamp.maybe(site.address.as_ref(), "/address");
                self.vertical = Some(site.vertical);
                self.timezone.clone_from(&site.timezone);
            }
            Event::SiteChanged(Changed { changes }) => {
                stamp.change(&mut self.name, changes.name.as_ref(), "/changes/name/new");
                stamp.change(
                    &mut self.address,
                    changes.address.as_ref(),
                    "/changes/address/new",
                );
                if let Some(vertical) = &changes.vertical {
                    self.vertical = Some(vertical.new);
                }
                if let Some(timezone) = &changes.timezone {
                    self.timezone.clone_from(&timezone.new);
                }
                if let Some(hours) = &changes.opening_hours {
                    self.opening_hours.clone_from(&hours.new);
                }
            }
            Event::SiteNotificationsSet(set) => self.notifications = set.notifications.new.clone(),
            _ => {}
        }
    }

    fn decide(&self, command: &SiteCommand) -> Result<Vec<Event>, Rejection> {
        match command {
            SiteCommand::Create { .. } if self.sequence > 0 => {
                Err(Rejection::conflict("already_exists", "this site exists already"))
            }
            SiteCommand::Create {
                name,
                vertical,
                timezone,
                address,
            } => Ok(vec![Event::SiteCreated(SiteCreated {
                address: text::notes("address", address.as_deref())?.map(Text::Plain),
                name: Text::Plain(text::name("name", name)?),
                timezone: text::timezone(timezone)?,
                vertical: vertical_of(vertical)?,
            })]),
            SiteCommand::Change(_) | SiteCommand::Notify(_) if self.sequence == 0 => {
                Err(Rejection::not_found("site_not_found", "no such site"))
            }
            SiteCommand::Change(patch) => self.changed(patch),
            SiteCommand::Notify(new) if new.min_interval_min > INTERVAL_MIN_MAX => Err(Rejection::invalid(
                "invalid_notifications",
                "min_interval_min is at most 1440 minutes",
            )),
            SiteCommand::Notify(new) => Ok(Change::between(&self.notifications, new)
                .map(|notifications| Event::SiteNotificationsSet(SiteNotificationsSet { notifications }))
                .into_iter()
                .collect()),
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Site {
    /// Whether it is open on a weekday (1 is Monday) at a minute of the day; `None` where nothing is said.
    pub fn is_open(&self, weekday: u8, minute: u16) -> Option<bool> {
        if self.opening_hours.is_empty() {
            return None;
        }
        let within = |it: &OpeningHours| within(&it.days, &it.from, &it.to, weekday, minute) == Some(true);
        Some(self.opening_hours.iter().any(within))
    }

    fn changed(&self, patch: &SitePatch) -> Result<Vec<Event>, Rejection> {
        let mut changes = SiteChanges::default();
        if let Some(name) = &patch.name {
            changes.name = Some(TextChange::to(self.name.as_ref(), &text::name("name", name)?));
        }
        if let Some(address) = &patch.address {
            let address = text::notes("address", address.as_deref())?;
            changes.address = TextChange::maybe(self.address.as_ref(), address.as_deref());
        }
        if let Some(timezone) = &patch.timezone {
            changes.timezone = Change::between(&self.timezone, &text::timezone(timezone)?);
        }
        if let (Some(new), Some(old)) = (&patch.vertical, self.vertical) {
            changes.vertical = Change::between(&old, &vertical_of(new)?);
        }
        if let Some(hours) = &patch.opening_hours {
            let right = |it: &OpeningHours| is_span(&it.days, &it.from, &it.to);
            if hours.len() > OPENING_SPANS_MAX || !hours.iter().all(right) {
                return Err(Rejection::invalid(
                    "invalid_opening_hours",
                    "opening_hours holds up to 14 spans, each with days 1 to 7, rising, and from and to as HH:MM",
                ));
            }
            changes.opening_hours = Change::between(&self.opening_hours, hours);
        }
        let nothing = changes == SiteChanges::default();
        Ok(if nothing {
            vec![]
        } else {
            vec![Event::SiteChanged(Changed { changes })]
        })
    }
}

fn vertical_of(name: &str) -> Result<Vertical, Rejection> {
    Vertical::parse(name).ok_or_else(|| {
        Rejection::invalid(
            "invalid_vertical",
            "vertical must be one of haccp, legionella, server-room, climate, energy",
        )
    })
}
