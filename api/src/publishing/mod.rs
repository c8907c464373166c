//! Heads on their way out: which day is due on which channel, when a channel is tried again, and what came of it.
//!
//! | file | holds |
//! |---|---|
//! | `lane` | one channel's thread: what it does next, and what it says of it |
//! | `channels` | the channels of the settings, made ready |
//! | `webhook`, `mail`, `mqtt` | channels that talk to somebody; the others are `chain_publisher::publish` |
//! | `service` | publishing within the service that records |
//!
//! Each channel has a thread, which looks at the heads of days and gives the channel those that it has not got, in order.
//! Every outcome is an entry (`HeadPublished`, `HeadNotPublished`), so that after a restart the ledger itself says where
//! to go on. Whether a publication whose outcome could not be recorded took place is not known; it is made again, which
//! changes nothing.
//! Invariants: a day goes out on a channel after the day before it; one channel's trouble delays no other and nothing
//! else; a stop gives up what waits for somebody else; no secret and no URL is in an entry, a log or a metric.
//! Source: FORMAT §5. Not here: making heads (`commands::sequencer`).

mod channels;
mod lane;
mod mail;
mod mqtt;
mod service;
mod webhook;

use crate::config::PublishTo;
use crate::mail::Mailer;
use crate::stopping::Stopping;
use crate::threads::Threads;
use crate::witnesses::HeadState;
use chain_publisher::anchor::AnchorKind;
use chain_publisher::ports_source::HeadFiles;
use chain_publisher::publish::PublishError;
use chain_publisher::source::{LogSource, SourceError};
use channels::Waiting;
use commands::sequencer::HeadStore;
use domain::hash::{base64url, sha256};
use domain::ports::{BoxFuture, Clock};
use domain::{Date, Position, Timestamp};
use lane::Lane;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

pub use service::start;

/// The streams of publications, one a channel.
pub const PUBLICATION: &str = "publication";
/// A day's head is out.
pub const HEAD_PUBLISHED: &str = "HeadPublished";
/// It is not, or nobody knows; it is tried again.
pub const HEAD_NOT_PUBLISHED: &str = "HeadNotPublished";
/// A head that is not out so long after its day was over is late.
const LATE_AFTER: Duration = Duration::from_secs(3600);

/// How a channel does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// As the settings name it.
    pub name: String,
    /// What it is: `directory`, `git`, `webhook`, `mail`, `mqtt`.
    pub kind: &'static str,
    /// The last day that is out.
    pub last: Option<Date>,
    /// When it went out.
    pub at: Option<Timestamp>,
    /// Days that wait.
    pub waiting: u64,
    /// The first of them.
    pub next: Option<Date>,
    /// Why the next one is not out, in words.
    pub trouble: Option<String>,
}

impl ChannelState {
    /// How long the first day that waits has been over, microseconds; 0 where none waits.
    pub fn behind_us(&self, now: Timestamp) -> i64 {
        self.next.map_or(0, |date| now.since(date.next().start()).max(0))
    }

    /// Whether it has had time enough.
    pub fn is_late(&self, now: Timestamp) -> bool {
        self.behind_us(now) > LATE_AFTER.as_micros() as i64
    }
}

/// The publishing of a process.
#[derive(Default)]
pub struct Publishing {
    channels: Mutex<Vec<ChannelState>>,
    stopping: Arc<Stopping>,
}

impl Publishing {
    /// How each channel does, in the order of the settings.
    pub fn channels(&self) -> Vec<ChannelState> {
        self.channels.lock().clone()
    }

    /// Takes notice of how channels do that another process serves.
    pub fn set_channels(&self, channels: Vec<ChannelState>) {
        *self.channels.lock() = channels;
    }

    /// Ends it: what waits for somebody else is given up.
    pub fn stop(&self) {
        self.stopping.stop();
    }

    /// Waits; `false` where it was stopped meanwhile.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        self.stopping.pause(duration)
    }

    fn tell(&self, name: &str, change: impl FnOnce(&mut ChannelState)) {
        let mut channels = self.channels.lock();
        if let Some(state) = channels.iter_mut().find(|state| state.name == name) {
            change(state);
        }
    }
}

/// A channel cannot be used as it is set.
#[derive(Debug, thiserror::Error)]
#[error("publishing to '{name}': {reason}")]
pub struct ChannelError {
    name: String,
    reason: String,
}

impl ChannelError {
    /// Of that channel, in words.
    pub fn new(name: &str, reason: String) -> Self {
        Self {
            name: name.to_owned(),
            reason,
        }
    }
}

/// What the ledger says of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The channel's name.
    pub channel: String,
    /// What it is.
    pub kind: String,
    /// The day.
    pub date: Date,
    /// Why it is not out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which try it was, where it was not the first that worked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long it took.
    pub took_ms: u64,
    /// Which outcome of another process it is, by that one's counting from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// What channels need of the ledger that they publish.
pub trait Desk: Send + Sync {
    /// Its name.
    fn origin(&self) -> &str;

    /// The heads of its days.
    fn heads(&self) -> &HeadStore;

    /// The clock.
    fn clock(&self) -> &dyn Clock;

    /// How channels do.
    fn publishing(&self) -> &Publishing;

    /// Gives the ledger as it is now.
    ///
    /// # Errors
    /// What `read` says, or that it cannot be read now.
    fn with_source(
        &self,
        read: &mut dyn FnMut(&dyn LogSource) -> Result<(), PublishError>,
    ) -> Result<(), PublishError>;

    /// How far a head is seen; `None` where no witness is asked.
    fn head_state(&self, date: Date) -> Option<HeadState>;

    /// Whether what comes of a publication can be recorded: what cannot is not begun.
    fn records(&self) -> bool;

    /// The last day that the ledger says is out on the channel of that name.
    fn last_published<'a>(&'a self, channel: &'a str) -> BoxFuture<'a, Result<Option<Date>, String>>;

    /// Records what came of a publication; the entry is durable when this returns.
    fn record<'a>(
        &'a self,
        event_type: &'static str,
        outcome: &'a Outcome,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// Starts a thread for each channel.
///
/// # Errors
/// [`ChannelError`] where one cannot be used, and none was started; or no thread.
pub fn start_lanes(
    threads: &Threads,
    desk: &Arc<impl Desk + 'static>,
    channels: &[PublishTo],
    mailer: Option<&Arc<Mailer>>,
    retry: Duration,
) -> Result<(), ChannelError> {
    let waiting = Waiting {
        runtime: tokio::runtime::Handle::current(),
        stopping: Arc::clone(&desk.publishing().stopping),
    };
    let mut lanes = Vec::new();
    let mut states = Vec::new();
    for to in channels {
        let channel = channels::open(to, &waiting, mailer).map_err(|reason| ChannelError {
            name: to.name().to_owned(),
            reason,
        })?;
        states.push(ChannelState {
            name: to.name().to_owned(),
            kind: to.kind(),
            ..ChannelState::default()
        });
        lanes.push(Lane::new(to, channel, retry, waiting.clone()));
    }
    desk.publishing().set_channels(states);
    for (n, lane) in lanes.into_iter().enumerate() {
        let desk = Arc::clone(desk);
        threads
            .start(format!("publish-{n}"), move || lane.run(&*desk))
            .map_err(|error| ChannelError::new(channels[n].name(), error.to_string()))?;
    }
    Ok(())
}

/// Channels are told apart by their names, of which the ledger keeps a hash as the stream's id.
pub fn stream_of(name: &str) -> String {
    let hash = sha256(format!("daybook/publication\n{name}").as_bytes());
    format!("pub_{}", base64url(&hash.0[..16]))
}

/// The heads of a store, for a source.
pub struct StoredHeads<'a>(pub &'a HeadStore);

impl HeadFiles for StoredHeads<'_> {
    fn dates(&self) -> Result<Vec<Date>, SourceError> {
        self.0.dates().map_err(unavailable)
    }

    fn get(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.get(date).map_err(unavailable)
    }

    fn late(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.late(date).map_err(unavailable)
    }

    fn consistency(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.consistency(date).map_err(unavailable)
    }

    fn stamp(&self, date: Date, kind: AnchorKind) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.stamp(date, kind.ending()).map_err(unavailable)
    }

    fn rotations(&self) -> Result<Vec<Position>, SourceError> {
        self.0.rotations().map_err(unavailable)
    }

    fn rotation(&self, position: Position) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.rotation(position).map_err(unavailable)
    }
}

fn unavailable(error: std::io::Error) -> SourceError {
    SourceError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_one_stream_whose_id_says_nothing() {
        assert_eq!(stream_of("site"), stream_of("site"));
        assert_ne!(stream_of("site"), stream_of("git"));
        assert!(domain::entry::is_aggregate_id(&stream_of("a name with spaces")));
    }

    #[test]
    fn a_head_is_late_an_hour_after_its_day() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).expect("a time");
        let mut state = ChannelState::default();
        assert!(!state.is_late(at("2026-05-18T12:00:00Z")));
        state.next = Some(Date::parse("2026-05-17").expect("a day"));
        assert!(!state.is_late(at("2026-05-18T01:00:00Z")));
        assert!(state.is_late(at("2026-05-18T01:00:01Z")));
    }
}
