//! One notification, and what it is about.
//!
//! Invariants: its id follows from the entry that caused it, the contact and what is said; what a silence holds back is
//! due when nobody is silenced any more, and remembers when it would have been.
//! Not here: who is told (`contacts`), when a silence ends (`silences`).

use super::silences;
use crate::error::ProjectionError;
use crate::world::{self, Fact};
use domain::event::notification::notification_id;
use domain::rule::Severity;
use rusqlite::{Connection, OptionalExtension, params};

/// What a notification is about: the chain above a channel or device, as it stands after this entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct About {
    pub channel: Option<String>,
    pub device: Option<String>,
    pub site: Option<String>,
}

impl About {
    pub fn channel(connection: &Connection, channel: &str) -> Result<Self, ProjectionError> {
        let (device, site) = world::place_of(connection, channel)?.unzip();
        Ok(Self {
            channel: Some(channel.to_owned()),
            device,
            site: site.flatten(),
        })
    }

    pub fn device(connection: &Connection, device: &str) -> Result<Self, ProjectionError> {
        let site = connection
            .prepare_cached("SELECT site FROM devices WHERE id = ?1")?
            .query_row([device], |row| row.get(0))
            .optional()?;
        Ok(Self {
            channel: None,
            device: Some(device.to_owned()),
            site: site.flatten(),
        })
    }

    pub fn is_within(&self, scope: &[String]) -> bool {
        let one = |id: &Option<String>| id.as_ref().is_some_and(|id| scope.contains(id));
        scope.is_empty() || one(&self.channel) || one(&self.device) || one(&self.site)
    }
}

/// A notification to be.
pub(super) struct Row<'a> {
    pub fact: &'a Fact<'a>,
    pub account: i64,
    pub contact: &'a str,
    pub via: &'a str,
    pub what: &'a str,
    pub alarm: Option<(&'a str, i64)>,
    pub about: About,
    pub severity: Option<Severity>,
    pub absence: bool,
    pub wanted_at: i64,
}

impl<'a> Row<'a> {
    pub fn of(fact: &'a Fact<'a>, account: i64, contact: &'a str, via: &'a str, what: &'a str) -> Self {
        Self {
            fact,
            account,
            contact,
            via,
            what,
            alarm: None,
            about: About::default(),
            severity: None,
            absence: false,
            wanted_at: fact.entry.recorded_at.as_micros(),
        }
    }

    pub fn insert(&self, connection: &Connection) -> Result<(), ProjectionError> {
        let id = notification_id(self.fact.entry.position, self.contact, self.what);
        self.insert_as(connection, &id)
    }

    pub fn insert_as(&self, connection: &Connection, id: &str) -> Result<(), ProjectionError> {
        let held = match &self.about.channel {
            // A machine keeps a record, and is told of the silence, too.
            Some(channel) if self.alarm.is_some() && self.via != "webhook" => {
                silences::held_until(connection, channel, self.wanted_at)?
            }
            _ => None,
        };
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO notifications VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                     ?15, 'due', 0, NULL, ?16)",
            )?
            .execute(params![
                id,
                self.account,
                self.contact,
                self.via,
                self.fact.entry.position.get() as i64,
                self.what,
                self.alarm.map(|(alarm, _)| alarm),
                self.alarm.map(|(_, opened)| opened),
                self.about.channel,
                self.about.device,
                self.about.site,
                self.severity.map(Severity::as_str),
                self.absence,
                self.fact.entry.recorded_at.as_micros(),
                held.unwrap_or(self.wanted_at),
                self.wanted_at,
            ])?;
        Ok(())
    }
}
