//! Refused requests: counted by source and reason, recorded at most once a minute, the last ones kept to be shown.
//!
//! Derived until recorded: a crash may lose up to a minute of counts, and the day says so (`unclean`).
//! Invariants: every refusal is counted once; sources and reasons are bounded; no address, token or payload is kept
//! in the clear: the example is sealed with the account's key.
//! Not here: refusing (`api`, `ingest`), the day's sums (`sequencer`).

use crate::sequencer::{EventGroup, RecordError, Sequencer};
use domain::Timestamp;
use domain::canonical::Canonical;
use domain::entry::NewEvent;
use domain::hash::base64url;
use domain::ids::IdKind;
use domain::ports::{Clock, Entropy, KeyStore};
use domain::sealed::{SealPlace, seal};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A source's counts are recorded at most this often (FORMAT §2), microseconds.
pub const INTERVAL_US: i64 = 60 * 1_000_000;
/// Most sources counted apart at once; more are counted as `other`.
pub const SOURCES_MAX: usize = 10_000;
/// Most reasons of one source.
pub const REASONS_MAX: usize = 64;
/// Refusals of one source that are kept to be shown.
pub const RECENT_MAX: usize = 20;
/// Most characters of an example.
pub const EXAMPLE_MAX: usize = 300;
/// The event type.
pub const REQUESTS_REFUSED: &str = "RequestsRefused";

/// Where a refused request came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A device of ours.
    Device(Arc<str>),
    /// An integration.
    Integration(Arc<str>),
    /// A token that names nobody any more, by its id.
    Token(Arc<str>),
    /// Somebody who showed nothing that is known.
    Peer,
}

impl Source {
    /// As written in `RequestsRefused`.
    pub fn text(&self) -> String {
        match self {
            Self::Device(id) => format!("device:{id}"),
            Self::Integration(id) => format!("integration:{id}"),
            Self::Token(id) => format!("token:{id}"),
            Self::Peer => "peer".into(),
        }
    }
}

/// A refusal to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// Stable code.
    pub code: &'static str,
    /// In words.
    pub message: String,
}

#[derive(Debug, Default)]
struct Window {
    account: Option<Arc<str>>,
    from: Timestamp,
    to: Timestamp,
    counts: BTreeMap<&'static str, u64>,
    example: Option<String>,
}

#[derive(Debug)]
struct Stream {
    id: String,
    sequence: u64,
}

#[derive(Debug, Default)]
struct Inner {
    windows: BTreeMap<Source, Window>,
    recorded: BTreeMap<Source, Timestamp>,
    recent: BTreeMap<Source, VecDeque<Refusal>>,
    totals: BTreeMap<&'static str, u64>,
    streams: BTreeMap<Option<Arc<str>>, Stream>,
}

/// All refusals since start.
pub struct Refusals {
    origin: String,
    keys: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    inner: Mutex<Inner>,
}

impl Refusals {
    /// Without refusals yet.
    pub fn new(
        origin: &str,
        keys: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            origin: origin.to_owned(),
            keys,
            clock,
            entropy,
            inner: Mutex::new(Inner::default()),
        }
    }

    /// Counts a refusal. `account` is whose device or integration it was, where that is known.
    pub fn count(&self, source: Source, account: Option<&str>, code: &'static str, message: &str) {
        let now = self.clock.now();
        let message: String = message.chars().take(EXAMPLE_MAX).collect();
        let mut inner = self.inner.lock();
        *inner.totals.entry(code).or_default() += 1;
        let full = inner.windows.len() >= SOURCES_MAX && !inner.windows.contains_key(&source);
        let source = if full { Source::Peer } else { source };
        let account = if full { None } else { account };
        if source != Source::Peer {
            if inner.recent.len() >= SOURCES_MAX && !inner.recent.contains_key(&source) {
                inner.recent.pop_first();
            }
            let recent = inner.recent.entry(source.clone()).or_default();
            recent.push_front(Refusal {
                at: now,
                code,
                message: message.clone(),
            });
            recent.truncate(RECENT_MAX);
        }
        let window = inner.windows.entry(source).or_insert_with(|| Window {
            account: account.map(Into::into),
            from: now,
            ..Window::default()
        });
        window.to = now;
        let code = if window.counts.len() < REASONS_MAX || window.counts.contains_key(code) {
            code
        } else {
            "other"
        };
        *window.counts.entry(code).or_default() += 1;
        window.example = Some(message);
    }

    /// The last refusals of a source, newest first.
    pub fn recent(&self, source: &Source) -> Vec<Refusal> {
        self.inner
            .lock()
            .recent
            .get(source)
            .map(|r| r.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Refusals since start by reason.
    pub fn totals(&self) -> BTreeMap<&'static str, u64> {
        self.inner.lock().totals.clone()
    }

    /// Records what is due; all of it when `everything` (at stop). What cannot be recorded is kept.
    pub async fn flush(&self, sequencer: &Sequencer, everything: bool) {
        for (source, window) in self.due(everything) {
            let outcome = match self.event(&source, &window) {
                Ok((event, sequence)) => self.record(sequencer, event, sequence, &window).await,
                Err(reason) => Err(reason),
            };
            if let Err(reason) = outcome {
                tracing::warn!(reason, "refusals not recorded yet");
                self.put_back(source, window);
                return;
            }
        }
    }

    fn due(&self, everything: bool) -> Vec<(Source, Window)> {
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        let sources: Vec<Source> = inner
            .windows
            .keys()
            .filter(|s| {
                everything
                    || inner
                        .recorded
                        .get(*s)
                        .is_none_or(|at| now.since(*at) >= INTERVAL_US)
            })
            .cloned()
            .collect();
        let mut due = Vec::new();
        for source in sources {
            if let Some(window) = inner.windows.remove(&source) {
                if inner.recorded.len() >= SOURCES_MAX {
                    inner.recorded.clear();
                }
                inner.recorded.insert(source.clone(), now);
                due.push((source, window));
            }
        }
        due
    }

    fn put_back(&self, source: Source, window: Window) {
        let mut inner = self.inner.lock();
        inner.recorded.remove(&source);
        let there = inner.windows.entry(source).or_insert_with(|| Window {
            account: window.account.clone(),
            from: window.from,
            to: window.to,
            ..Window::default()
        });
        there.from = there.from.min(window.from);
        for (code, count) in window.counts {
            *there.counts.entry(code).or_default() += count;
        }
        if there.example.is_none() {
            there.example = window.example;
        }
    }

    fn event(&self, source: &Source, window: &Window) -> Result<(NewEvent, u64), String> {
        let mut random = [0u8; 56];
        self.entropy.fill(&mut random);
        let (id, sequence) = {
            let mut inner = self.inner.lock();
            let stream = inner
                .streams
                .entry(window.account.clone())
                .or_insert_with(|| Stream {
                    id: IdKind::Stream.id(random[..16].try_into().expect("sixteen bytes")),
                    sequence: 0,
                });
            (stream.id.clone(), stream.sequence)
        };
        let salt: [u8; 16] = random[16..32].try_into().expect("sixteen bytes");
        let nonce: [u8; 24] = random[32..].try_into().expect("twenty-four bytes");
        let mut payload = serde_json::json!({
            "source": source.text(),
            "refused": window.counts,
            "from": window.from.to_string(),
            "to": window.to.to_string(),
        });
        if let (Some(example), Some(account)) = (&window.example, &window.account) {
            let place = SealPlace {
                aggregate_type: "refusals",
                aggregate_id: &id,
                sequence: sequence + 1,
                pointer: "/example",
                salt: &base64url(&salt),
            };
            let key_id = self.keys.create(account)?;
            let key = self.keys.get(&key_id).ok_or("the account's key is gone")?;
            let sealed = seal(&self.origin, &place, &example.as_str().into(), &key, nonce)
                .map_err(|e| e.to_string())?;
            payload["example"] = serde_json::to_value(sealed).map_err(|e| e.to_string())?;
        }
        let mut metadata = serde_json::json!({"actor": "system:edge"});
        if let Some(account) = &window.account {
            metadata["account"] = (**account).into();
            metadata["owner"] = (**account).into();
        }
        let event = NewEvent {
            aggregate_type: "refusals".into(),
            aggregate_id: id,
            event_type: REQUESTS_REFUSED.into(),
            event_version: "1.0".into(),
            payload: Canonical::of(&payload).map_err(|e| e.to_string())?,
            metadata: Canonical::of(&metadata).map_err(|e| e.to_string())?,
            salt: Some(salt),
        };
        Ok((event, sequence))
    }

    async fn record(
        &self,
        sequencer: &Sequencer,
        event: NewEvent,
        sequence: u64,
        window: &Window,
    ) -> Result<(), String> {
        let group = EventGroup {
            events: vec![(event, Some(sequence))],
            ..EventGroup::default()
        };
        let answer = sequencer.record(group).await;
        let mut inner = self.inner.lock();
        match answer {
            Ok(_) => {
                if let Some(stream) = inner.streams.get_mut(&window.account) {
                    stream.sequence += 1;
                }
                Ok(())
            }
            Err(
                RecordError::Unavailable {
                    outcome_unknown: true,
                    ..
                }
                | RecordError::Stale { .. },
            ) => {
                // Whether it is there cannot be told: the next goes into a stream of its own, and counts may be
                // there twice, never lost.
                inner.streams.remove(&window.account);
                Err("the outcome is unknown".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
