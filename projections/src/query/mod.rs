//! Every question, asked from within one account.
//!
//! Invariants: an id of another account reads as not found, like one that never was; each question is answered
//! from one snapshot; lists are bounded and their cursors opaque.
//! Not here: HTTP, JSON shapes, time zones (`api`); the clock (whoever asks says what time it is).

mod alarms;
mod chart;
mod corrected;
mod cursor;
mod devices;
mod export;
mod gaps;
mod measurements;
mod outbox;
mod paths;
mod recent;
mod refusals;
mod timeline;
mod trays;

pub use alarms::{Alarm, AlarmCounts, AlarmFilter, AlarmPlace, StateOfChannel};
pub use chart::{Chart, ChartPoint};
pub use corrected::{ANEW_VALUES_MAX, Applied, NOTES_MAX, Values};
pub use devices::{
    ChannelLatest, Concern, DeviceOverview, LatestValue, ONLINE_UNKNOWN_CADENCE_S, worst_first,
};
pub use export::{csv_header, rfc3339, write_csv_line, write_ndjson_line, write_value};
pub use gaps::Gap;
pub use measurements::{
    AUTO_POINTS_MAX, Agg, CHANNELS_MAX, Function, LIMIT_DEFAULT, LIMIT_MAX, MeasurementsQuery, Point, Points,
};
pub use outbox::{DUE_KEPT_US, Notification, Outbound, OutboundFilter, Waiting, Way};
pub use paths::{FailingPath, Trial};
pub use recent::RecentValue;
pub use refusals::{Refusal, RefusalTotal};
pub use timeline::{Day, TimelineFilter, TimelineItem};
pub use trays::Tray;

use crate::error::QueryError;
use crate::projector::Shared;
use rusqlite::{Connection, OptionalExtension};
use std::sync::Arc;

/// The read models, from any thread. Cheap to clone; questions block.
#[derive(Clone)]
pub struct ReadModel {
    pub(crate) shared: Arc<Shared>,
}

impl ReadModel {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T, QueryError>) -> Result<T, QueryError> {
        self.shared.readers.ask(question)
    }
}

/// A channel that belongs to the account that asks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ChannelRef {
    key: i64,
    /// The interval above which its device's silence is a gap.
    gap_limit_us: Option<i64>,
    /// The newest entry that added to it; −1 without any.
    newest_position: i64,
}

fn find_channel(connection: &Connection, account: &str, id: &str) -> Result<ChannelRef, QueryError> {
    connection
        .prepare_cached(
            "SELECT c.key, coalesce(d.cadence_s, 0), coalesce(s.learned_us, 0), coalesce(l.newest_position, -1)
             FROM channels c JOIN accounts a ON a.key = c.account JOIN devices d ON d.key = c.device
             LEFT JOIN device_state s ON s.device = c.device LEFT JOIN latest l ON l.channel = c.key
             WHERE c.id = ?1 AND a.id = ?2",
        )?
        .query_row((id, account), |row| {
            let configured_us = row.get::<_, i64>(1)?.clamp(0, 1 << 31) * 1_000_000;
            Ok(ChannelRef {
                key: row.get(0)?,
                gap_limit_us: crate::gap_limit_us(configured_us, row.get(2)?),
                newest_position: row.get(3)?,
            })
        })
        .optional()?
        .ok_or_else(|| QueryError::ChannelNotFound(id.to_owned()))
}

fn find_device(connection: &Connection, account: &str, id: &str) -> Result<i64, QueryError> {
    connection
        .prepare_cached(
            "SELECT d.key FROM devices d JOIN accounts a ON a.key = d.account WHERE d.id = ?1 AND a.id = ?2",
        )?
        .query_row((id, account), |row| row.get(0))
        .optional()?
        .ok_or_else(|| QueryError::DeviceNotFound(id.to_owned()))
}

fn find_site(connection: &Connection, account: &str, id: &str) -> Result<(), QueryError> {
    connection
        .prepare_cached(
            "SELECT 1 FROM sites s JOIN accounts a ON a.key = s.account WHERE s.id = ?1 AND a.id = ?2",
        )?
        .query_row((id, account), |_| Ok(()))
        .optional()?
        .ok_or_else(|| QueryError::SiteNotFound(id.to_owned()))
}

/// A stored time. Rows hold only what entries gave, so it is within the calendar.
fn time(us: i64) -> domain::Timestamp {
    domain::Timestamp::default().plus_micros(us)
}
