//! Heads on their way out: which day is due on which channel, when a channel is tried again, and what came of it.
//!
//! A thread looks at the heads of days and gives each channel the days that it has not got, in order. Every outcome is
//! an entry (`HeadPublished`, `HeadNotPublished`), so that after a restart the ledger itself says where to go on. Whether
//! a publication whose outcome could not be recorded took place is not known; it is made again, which changes nothing.
//! Invariants: a day goes out on a channel after the day before it; one channel's trouble delays no other and nothing
//! else; no secret and no URL is in an entry, a log or a metric.
//! Source: FORMAT §5. Not here: the channels themselves (`chain_publisher::publish`).

use crate::app::App;
use crate::config::PublishTo;
use crate::stopping::Stopping;
use crate::witnesses::HeadState;
use chain_publisher::ports_source::{HeadFiles, PortsSource};
use chain_publisher::publish::directory::StaticDirectory;
use chain_publisher::publish::git::GitRepository;
use chain_publisher::publish::webhook::{Webhook, WebhookSecret};
use chain_publisher::publish::{Channel, Publication};
use commands::keys::read_secret_text;
use commands::sequencer::{EventGroup, HeadStore, Writing};
use domain::canonical::Canonical;
use domain::entry::{Entry, NewEvent};
use domain::event::EVENT_VERSION;
use domain::hash::{base64url, sha256};
use domain::tlog_proof::TlogProof;
use domain::{Date, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The streams of publications, one a channel.
pub const PUBLICATION: &str = "publication";
/// A day's head is out.
pub const HEAD_PUBLISHED: &str = "HeadPublished";
/// It is not, or nobody knows; it is tried again.
pub const HEAD_NOT_PUBLISHED: &str = "HeadNotPublished";
/// How often it is looked for days that were closed.
const LOOK: Duration = Duration::from_secs(1);
/// So long a head waits for its witnesses before it goes out with the cosignatures that it has.
const WITNESSES_WITHIN: Duration = Duration::from_secs(15);
/// A channel that keeps failing is tried at least this often.
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// The largest file with a webhook's secret, bytes.
const SECRET_FILE_BYTES_MAX: u64 = 4_096;
/// Characters of a reason that are recorded.
const REASON_MAX: usize = 300;
/// Entries of a stream that are read at once.
const READ_ENTRIES: usize = 256;

/// How a channel does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// As the settings name it.
    pub name: String,
    /// What it is: `directory`, `git`, `webhook`.
    pub kind: &'static str,
    /// The last day that is out.
    pub last: Option<Date>,
    /// When it went out.
    pub at: Option<Timestamp>,
    /// Days that wait.
    pub waiting: u64,
    /// Why the next one is not out, in words.
    pub trouble: Option<String>,
}

/// The publishing of a service.
#[derive(Default)]
pub struct Publishing {
    channels: Mutex<Vec<ChannelState>>,
    stopping: Stopping,
}

impl Publishing {
    /// How each channel does, in the order of the settings.
    pub fn channels(&self) -> Vec<ChannelState> {
        self.channels.lock().clone()
    }

    /// Ends it after what it does now.
    pub fn stop(&self) {
        self.stopping.stop();
    }

    fn pause(&self, duration: Duration) -> bool {
        self.stopping.pause(duration)
    }
}

/// A channel cannot be used as it is set.
#[derive(Debug, thiserror::Error)]
#[error("publishing to '{name}': {reason}")]
pub struct ChannelError {
    name: String,
    reason: String,
}

/// What the ledger says of a publication.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    channel: String,
    kind: String,
    date: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    took_ms: u64,
}

/// A channel and where it is.
struct Lane {
    name: String,
    kind: &'static str,
    stream: String,
    channel: Box<dyn Channel>,
    /// Whether the ledger was asked for `last`.
    asked: bool,
    last: Option<Date>,
    failures: u32,
    next_try: Instant,
}

/// Starts the thread; `None` where the settings name no channel.
///
/// # Errors
/// [`ChannelError`] where one cannot be used; or no thread.
pub fn start(app: &Arc<App>) -> Result<Option<std::thread::JoinHandle<()>>, ChannelError> {
    let mut lanes = Vec::new();
    for to in &app.settings().publish {
        let reason = |reason: String| ChannelError {
            name: to.name().to_owned(),
            reason,
        };
        lanes.push(Lane {
            name: to.name().to_owned(),
            kind: to.kind(),
            stream: stream_of(to.name()),
            channel: open(to).map_err(reason)?,
            asked: false,
            last: None,
            failures: 0,
            next_try: Instant::now(),
        });
    }
    if lanes.is_empty() {
        return Ok(None);
    }
    let app = Arc::clone(app);
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new()
        .name("publishing".to_owned())
        .spawn(move || runtime.block_on(run(&app, lanes)))
        .map_err(|error| ChannelError {
            name: "all".to_owned(),
            reason: error.to_string(),
        })?;
    Ok(Some(thread))
}

/// Channels are told apart by their names, of which the ledger keeps a hash as the stream's id.
fn stream_of(name: &str) -> String {
    let hash = sha256(format!("daybook/publication\n{name}").as_bytes());
    format!("pub_{}", base64url(&hash.0[..16]))
}

fn open(to: &PublishTo) -> Result<Box<dyn Channel>, String> {
    Ok(match to {
        PublishTo::Directory { path, .. } => Box::new(StaticDirectory::new(path)),
        PublishTo::Git {
            path,
            signing_key,
            push,
            ..
        } => Box::new(GitRepository::new(path, signing_key.as_deref(), push.as_deref())),
        PublishTo::Webhook { url, secret_file, .. } => {
            let text = read_secret_text(secret_file, SECRET_FILE_BYTES_MAX).map_err(|e| e.to_string())?;
            Box::new(Webhook::new(url, WebhookSecret::parse(&text)?))
        }
    })
}

async fn run(app: &App, mut lanes: Vec<Lane>) {
    let mut seen = Seen::new();
    loop {
        // Days that are out on every channel are not looked at again.
        let done = lanes.iter().map(|lane| lane.last).min().flatten();
        let dates = app.with_their_witnesses(app.heads().dates(), done, &mut seen);
        let mut out = false;
        for lane in &mut lanes {
            if !lane.asked {
                match app.last_published(&lane.stream).await {
                    Ok(last) => (lane.asked, lane.last) = (true, last),
                    Err(error) => {
                        tracing::warn!(
                            channel = lane.name,
                            error,
                            "what was published cannot be read yet"
                        );
                        continue;
                    }
                }
            }
            out |= app.advance(lane, &dates).await;
        }
        app.show(&lanes, &dates);
        let rest = if out { Duration::ZERO } else { LOOK };
        if !app.publishing().pause(rest) {
            return;
        }
    }
}

/// When a day was first seen that its witnesses have not all cosigned.
type Seen = BTreeMap<Date, Instant>;

impl App {
    /// The days that may go out: those whose witnesses have cosigned, or have had time enough. A day behind one that
    /// waits waits, too.
    fn with_their_witnesses(&self, mut dates: Vec<Date>, done: Option<Date>, seen: &mut Seen) -> Vec<Date> {
        let Some(witnesses) = self.witnesses() else {
            return dates;
        };
        let due = dates.partition_point(|date| Some(*date) <= done);
        // All that wait begin to wait at once.
        for date in &dates[due..] {
            seen.entry(*date).or_insert_with(Instant::now);
        }
        let seen = &*seen;
        let waits = |date: &Date| {
            let witnessed = matches!(
                witnesses.head_state(*date),
                HeadState::Witnessed | HeadState::WitnessedLate
            );
            !witnessed
                && seen
                    .get(date)
                    .is_some_and(|since| since.elapsed() < WITNESSES_WITHIN)
        };
        if let Some(first) = dates[due..].iter().position(waits) {
            dates.truncate(due + first);
        }
        dates
    }

    /// The last day that the ledger says is out on that channel.
    async fn last_published(&self, stream: &str) -> Result<Option<Date>, String> {
        // While the state is loaded again the index of streams is not whole.
        if !self.records() {
            return Err("nothing is recorded now".to_owned());
        }
        let positions = self.sequencer().positions().of(PUBLICATION, stream);
        for some in positions.rchunks(READ_ENTRIES) {
            let block = self
                .log()
                .read_at(some)
                .await
                .map_err(|error| error.to_string())?;
            let mut last = None;
            for (_, bytes) in block.iter() {
                let entry = Entry::read(bytes).map_err(|error| error.to_string())?;
                if entry.event_type == HEAD_PUBLISHED {
                    let outcome: Outcome =
                        serde_json::from_slice(entry.payload).map_err(|error| error.to_string())?;
                    last = Some(outcome.date);
                }
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        if !self.records() {
            return Err("nothing is recorded now".to_owned());
        }
        Ok(None)
    }

    /// Publishes the next day that is due on a channel; whether it is out. One at a time, so that a channel with much
    /// to do holds up no other.
    async fn advance(&self, lane: &mut Lane, dates: &[Date]) -> bool {
        let next = dates.partition_point(|date| Some(*date) <= lane.last);
        let Some(date) = dates.get(next).copied() else {
            return false;
        };
        let stopping = self.publishing().stopping.is_stopping();
        // What cannot be recorded is not begun.
        if stopping || !self.records() || Instant::now() < lane.next_try {
            return false;
        }
        let began = Instant::now();
        let published = self.publish(lane, date);
        let took_ms = began.elapsed().as_millis() as u64;
        let outcome = |reason: Option<String>| Outcome {
            channel: lane.name.clone(),
            kind: lane.kind.to_owned(),
            date,
            attempt: (lane.failures > 0 || reason.is_some()).then_some(lane.failures + 1),
            reason,
            took_ms,
        };
        match published {
            Ok(()) if self.record_outcome(lane, HEAD_PUBLISHED, &outcome(None)).await => {
                tracing::info!(channel = lane.name, %date, took_ms, "head published");
                lane.last = Some(date);
                lane.failures = 0;
                self.publishing().tell(lane, |state| {
                    state.at = Some(self.clock().now());
                    state.trouble = None;
                });
                true
            }
            // The day after it must not be out before the ledger says that this one is.
            Ok(()) => {
                self.try_later(lane);
                false
            }
            Err(reason) => {
                let reason: String = reason.chars().take(REASON_MAX).collect();
                tracing::warn!(channel = lane.name, %date, reason, "head not published");
                let outcome = outcome(Some(reason.clone()));
                self.record_outcome(lane, HEAD_NOT_PUBLISHED, &outcome).await;
                self.publishing().tell(lane, |state| state.trouble = Some(reason));
                self.try_later(lane);
                false
            }
        }
    }

    fn records(&self) -> bool {
        self.sequencer().status().writing == Writing::Yes
    }

    fn try_later(&self, lane: &mut Lane) {
        let first = Duration::from_secs(self.settings().publish_retry_s.max(1));
        let wait = first
            .saturating_mul(1 << lane.failures.min(12))
            .min(RETRY_MAX.max(first));
        lane.failures += 1;
        lane.next_try = Instant::now() + wait;
    }

    fn publish(&self, lane: &mut Lane, date: Date) -> Result<(), String> {
        let head = self.heads().get(date).ok_or("its head is gone")?;
        let size = TlogProof::parse(&head).map_err(|error| error.to_string())?.size();
        let heads = Heads(self.heads());
        let source = PortsSource {
            name: "the ledger".to_owned(),
            log: self.log(),
            tiles: self.tiles(),
            size: self.log().size(),
            checkpoint: self.signed().map(|(_, note)| note),
            key: Some(self.verifier_keys().0),
            heads: &heads,
        };
        let publication = Publication {
            origin: self.origin(),
            date,
            head: &head,
            size,
            now_s: self.clock().now().as_micros().unsigned_abs() / 1_000_000,
            source: &source,
        };
        lane.channel.publish(&publication).map_err(|error| error.0)
    }

    /// Whether it was recorded.
    async fn record_outcome(&self, lane: &Lane, event_type: &'static str, outcome: &Outcome) -> bool {
        let event = || -> Result<NewEvent, domain::canonical::CanonicalError> {
            Ok(NewEvent {
                aggregate_type: PUBLICATION.into(),
                aggregate_id: lane.stream.clone(),
                event_type: event_type.into(),
                event_version: EVENT_VERSION.into(),
                payload: Canonical::from_serialize(outcome)?,
                metadata: Canonical::of(&serde_json::json!({"actor": "system:publishing"}))?,
                salt: None,
            })
        };
        let event = match event() {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "an outcome cannot be written");
                return false;
            }
        };
        let group = EventGroup {
            events: vec![(event, None)],
            ..EventGroup::default()
        };
        match self.sequencer().record(group).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, channel = lane.name, "what came of a publication was not recorded");
                false
            }
        }
    }

    /// For pages and metrics.
    fn show(&self, lanes: &[Lane], dates: &[Date]) {
        let mut channels = self.publishing().channels.lock();
        *channels = lanes
            .iter()
            .map(|lane| {
                let before = channels.iter().find(|state| state.name == lane.name).cloned();
                ChannelState {
                    name: lane.name.clone(),
                    kind: lane.kind,
                    last: lane.last,
                    waiting: dates.iter().filter(|date| Some(**date) > lane.last).count() as u64,
                    ..before.unwrap_or_default()
                }
            })
            .collect();
    }
}

impl Publishing {
    fn tell(&self, lane: &Lane, change: impl FnOnce(&mut ChannelState)) {
        let mut channels = self.channels.lock();
        match channels.iter_mut().find(|state| state.name == lane.name) {
            Some(state) => change(state),
            None => {
                let mut state = ChannelState {
                    name: lane.name.clone(),
                    kind: lane.kind,
                    ..ChannelState::default()
                };
                change(&mut state);
                channels.push(state);
            }
        }
    }
}

struct Heads<'a>(&'a HeadStore);

impl HeadFiles for Heads<'_> {
    fn dates(&self) -> Vec<Date> {
        self.0.dates()
    }

    fn get(&self, date: Date) -> Option<Vec<u8>> {
        self.0.get(date)
    }

    fn stamp(&self, date: Date, kind: chain_publisher::anchor::AnchorKind) -> Option<Vec<u8>> {
        self.0.stamp(date, kind.ending())
    }

    fn rotations(&self) -> Vec<domain::Position> {
        self.0.rotations()
    }

    fn rotation(&self, position: domain::Position) -> Option<Vec<u8>> {
        self.0.rotation(position)
    }
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
}
