//! What a pack of an alarm is asked for: its channel, and the days around it.
//!
//! Invariant: the answer follows from the alarm's own entries alone. The days are of recording: from the day before it
//! began (or was recorded, where a clock in the data is ahead) to the day after its last entry.
//! Not here: who may ask (`api`), the pack (`make`).

use super::make::StreamIndex;
use super::manifest::{Query, QueryError, Subject};
use crate::ports_source::{read_error, wait};
use crate::source::SourceError;
use domain::entry::Entry;
use domain::event::AlarmOpened;
use domain::ports::EventLog;
use domain::{Date, Position};

/// Days that a person gave instead of the alarm's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Days {
    /// The first one.
    pub from: Option<Date>,
    /// The last one.
    pub to: Option<Date>,
}

/// Why an alarm is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum AlarmError {
    /// Nobody knows it.
    #[error("there is no alarm {0} in this ledger")]
    Unknown(String),
    /// It is about no channel: a way of notification that failed, or a trial.
    #[error(
        "alarm {0} is about no channel, and so there is no pack of it: GET /v1/events/{0} shows what there is"
    )]
    NoChannel(String),
    /// The days given are none.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// What it says of itself does not read.
    #[error("the ledger does not fit together: position {position}: {reason}")]
    Damaged {
        /// Where.
        position: Position,
        /// Why.
        reason: String,
    },
    /// The ledger cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// An alarm as its own entries tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAlarm {
    /// The channel that it is of.
    pub channel: String,
    id: String,
    began: Date,
    ended: Date,
}

impl FoundAlarm {
    /// The query of its pack.
    ///
    /// # Errors
    /// [`QueryError`] where the days given are none.
    pub fn query(self, given: Days) -> Result<Query, QueryError> {
        let subject = Subject::Alarm {
            id: self.id,
            channel: self.channel,
        };
        let from = given.from.unwrap_or_else(|| self.began.previous());
        let to = given.to.unwrap_or_else(|| self.ended.next());
        Query::new(subject, from, to)
    }
}

/// Looks for an alarm.
///
/// # Errors
/// [`AlarmError`].
pub fn find_alarm(
    log: &dyn EventLog,
    streams: &dyn StreamIndex,
    alarm: &str,
) -> Result<FoundAlarm, AlarmError> {
    let positions = streams.positions("alarm", alarm);
    let (Some(first), Some(last)) = (positions.first().copied(), positions.last().copied()) else {
        return Err(AlarmError::Unknown(alarm.to_owned()));
    };
    let (recorded, opened) = at(log, first, |entry| {
        if entry.event_type == "AlarmRaised" {
            return Ok((entry.recorded_at, None));
        }
        let opened: Result<AlarmOpened, _> = serde_json::from_slice(entry.payload);
        Ok((
            entry.recorded_at,
            Some(opened.map_err(|error| error.to_string())?),
        ))
    })?;
    let opened = opened.ok_or_else(|| AlarmError::NoChannel(alarm.to_owned()))?;
    let ended = at(log, last, |entry| Ok(entry.recorded_at))?;
    Ok(FoundAlarm {
        channel: opened.channel,
        id: alarm.to_owned(),
        began: opened.began_at.min(recorded).date(),
        ended: ended.date(),
    })
}

fn at<T>(
    log: &dyn EventLog,
    position: Position,
    what: impl FnOnce(&Entry<'_>) -> Result<T, String>,
) -> Result<T, AlarmError> {
    let block = wait(log.read_at(&[position])).map_err(read_error)?;
    let damaged = |reason| AlarmError::Damaged { position, reason };
    let (_, bytes) = block
        .get(0)
        .ok_or_else(|| damaged("it is not there".to_owned()))?;
    let entry = Entry::read(bytes).map_err(|error| damaged(error.to_string()))?;
    what(&entry).map_err(damaged)
}
