//! Where a channel or a device was silent.
//!
//! Invariant: exact, also from rollups: an interval longer than a bucket ends in another bucket than it began, so
//! first and last of the buckets show it. Open ends (before the first and after the newest) are not gaps; age tells.
//! Not here: which gaps a device keeps (`overview`).

use super::{ChannelRef, ReadModel, find_channel, find_device, time};
use crate::error::QueryError;
use crate::rollups::Resolution;
use domain::Timestamp;
use rusqlite::Connection;

/// Most gaps of an answer.
const GAPS_MAX: usize = 1_000;

/// Nothing was measured between these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last measurement before.
    pub from: Timestamp,
    /// The first after.
    pub to: Timestamp,
}

impl ReadModel {
    /// Gaps of a channel between measurements of the range: intervals of more than two cadences of its device.
    /// None while no cadence is known. At most 1,000, the earliest.
    ///
    /// # Errors
    /// `ChannelNotFound`, `Unavailable`.
    pub fn gaps(
        &self,
        account: &str,
        channel: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Gap>, QueryError> {
        self.ask(|connection| {
            let found = find_channel(connection, account, channel)?;
            channel_gaps(connection, &found, from.as_micros(), to.as_micros())
        })
    }

    /// The newest gaps of a device, newest first, at most `limit`.
    ///
    /// # Errors
    /// `DeviceNotFound`, `Unavailable`.
    pub fn device_gaps(&self, account: &str, device: &str, limit: usize) -> Result<Vec<Gap>, QueryError> {
        self.ask(|connection| {
            let key = find_device(connection, account, device)?;
            let mut statement = connection.prepare_cached(
                "SELECT from_at, to_at FROM gaps WHERE device = ?1 ORDER BY from_at DESC LIMIT ?2",
            )?;
            let gaps = statement.query_map((key, limit.min(GAPS_MAX) as i64), |row| {
                Ok(Gap {
                    from: time(row.get(0)?),
                    to: time(row.get(1)?),
                })
            })?;
            Ok(gaps.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// Gaps between measurements in `from..to`.
pub(super) fn channel_gaps(
    connection: &Connection,
    channel: &ChannelRef,
    from: i64,
    to: i64,
) -> Result<Vec<Gap>, QueryError> {
    let Some(limit) = channel.gap_limit_us else {
        return Ok(Vec::new());
    };
    // The coarsest buckets that cannot hide a gap; their edges may lie outside the range and are cut to it below.
    let sql = if limit >= Resolution::Hour.width_us() {
        "SELECT first_at, last_at FROM rollups_1h WHERE channel = ?1 AND bucket > ?2 - 3600000000 AND bucket < ?3
         ORDER BY bucket"
    } else if limit >= Resolution::FiveMinutes.width_us() {
        "SELECT first_at, last_at FROM rollups_5m WHERE channel = ?1 AND bucket > ?2 - 300000000 AND bucket < ?3
         ORDER BY bucket"
    } else {
        "SELECT at, at FROM measurements WHERE channel = ?1 AND at >= ?2 AND at < ?3 ORDER BY at"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((channel.key, from, to))?;
    let mut gaps = Vec::new();
    let mut before: Option<i64> = None;
    while let Some(row) = rows.next()? {
        let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
        if let Some(before) = before
            && first - before > limit
            && before >= from
            && first < to
        {
            gaps.push(Gap {
                from: time(before),
                to: time(first),
            });
            if gaps.len() == GAPS_MAX {
                break;
            }
        }
        before = Some(last);
    }
    Ok(gaps)
}
