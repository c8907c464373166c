//! The service's side, where another process signs: trees are offered, checkpoints taken over, outcomes recorded.
//!
//! Invariants: nothing is written into the publisher's directory; a checkpoint whose signature does not hold is not taken
//! over, nor one that is not of this tree (`Checkpointer`); each outcome becomes one entry, in order, found by its number
//! in the channel's own stream; a publisher that is down stops nothing.
//! What if we crash here? Between an entry and the next look: its number stands in the ledger, and it is not recorded
//! again.
//! Not here: the other side (`desk`).

use super::TO_SIGN;
use super::dir::read_checkpoint;
use super::handover::Known;
use super::outcomes::{self, Line};
use crate::app::App;
use crate::publishing::{ChannelError, ChannelState, Desk, HEAD_PUBLISHED, Outcome};
use commands::sequencer::SignedElsewhere;
use domain::checkpoint::Checkpoint;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked what came of publications.
const LOOK: Duration = Duration::from_secs(1);

/// The process that signs, as far as it can be seen from here.
pub struct Elsewhere {
    to_sign: PathBuf,
    dir: PathBuf,
    known: Known,
}

impl Elsewhere {
    /// One that reads in `data` and keeps what it signs with those keys in `dir`.
    pub fn new(data: &Path, dir: &Path, known: Known) -> Self {
        Self {
            to_sign: data.join(TO_SIGN),
            dir: dir.to_owned(),
            known,
        }
    }
}

impl SignedElsewhere for Elsewhere {
    fn offer(&self, durable: &Checkpoint) -> Result<(), String> {
        // Losing it loses nothing: it is said again, and an older one is as true.
        let unfinished = self.to_sign.with_extension("tmp");
        std::fs::write(&unfinished, durable.text())
            .and_then(|()| std::fs::rename(&unfinished, &self.to_sign))
            .map_err(|error| format!("{}: {error}", self.to_sign.display()))
    }

    fn latest(&self) -> Result<Option<Vec<u8>>, String> {
        read_checkpoint(&self.dir, &self.known)
    }
}

/// Starts the thread that records what comes of publications.
///
/// # Errors
/// No thread.
pub fn take_over(app: &Arc<App>, dir: &Path) -> Result<(), ChannelError> {
    let (running, dir) = (Arc::clone(app), dir.to_owned());
    let runtime = tokio::runtime::Handle::current();
    let started = app.beside().start("outcomes", move || {
        let mut recorded = BTreeMap::new();
        let (mut lines, mut bytes) = (Vec::new(), None);
        loop {
            // Lines are only ever added.
            let there = outcomes::bytes(&dir).ok();
            if there != bytes {
                match outcomes::read(&dir) {
                    Ok(read) => (lines, bytes) = (read, there),
                    Err(error) => tracing::warn!(%error, "what came of publications cannot be read now"),
                }
            }
            runtime.block_on(running.take_over_outcomes(&lines, &mut recorded));
            if !running.publishing().pause(LOOK) {
                return;
            }
        }
    });
    started.map_err(|error| ChannelError::new("all", error.to_string()))
}

impl App {
    /// Records what is not recorded yet; `recorded` remembers the last number of each channel.
    async fn take_over_outcomes(&self, lines: &[Line], recorded: &mut BTreeMap<String, u64>) {
        self.show_channels(lines);
        if !Desk::records(self) {
            return;
        }
        for line in lines {
            let channel = &line.outcome.channel;
            if !recorded.contains_key(channel) {
                let numbered = |_: &str, outcome: &Outcome| outcome.number.is_some();
                match self.last_outcome(channel, numbered).await {
                    Ok(last) => {
                        let number = last.and_then(|outcome| outcome.number).unwrap_or(0);
                        recorded.insert(channel.clone(), number);
                    }
                    Err(error) => return tracing::warn!(error, "what was published cannot be read yet"),
                }
            }
            let number = line.outcome.number.unwrap_or(0);
            let (Some(last), Some(event_type)) = (recorded.get(channel), line.event_type()) else {
                continue;
            };
            if number <= *last {
                continue;
            }
            if let Err(error) = self.record_outcome(event_type, &line.outcome).await {
                return tracing::warn!(error, channel, "what came of a publication was not recorded");
            }
            recorded.insert(channel.clone(), number);
        }
    }

    /// For pages and metrics: what the outcomes say of each channel.
    fn show_channels(&self, lines: &[Line]) {
        let Ok(dates) = self.heads().dates() else { return };
        let mut channels: Vec<ChannelState> = Vec::new();
        for line in lines {
            let outcome = &line.outcome;
            let at = channels.iter().position(|state| state.name == outcome.channel);
            let at = at.unwrap_or_else(|| {
                channels.push(ChannelState {
                    name: outcome.channel.clone(),
                    kind: crate::config::kind(&outcome.kind),
                    ..ChannelState::default()
                });
                channels.len() - 1
            });
            let state = &mut channels[at];
            if line.event == HEAD_PUBLISHED {
                (state.last, state.trouble) = (Some(outcome.date), None);
            } else {
                state.trouble.clone_from(&outcome.reason);
            }
        }
        // A day that was closed and has no head yet waits as well.
        let closed = self.sequencer().status().open_day.map(|day| day.previous());
        for state in &mut channels {
            let due = dates.partition_point(|date| Some(*date) <= state.last);
            state.waiting = (dates.len() - due) as u64;
            state.next = dates
                .get(due)
                .copied()
                .or_else(|| closed.filter(|day| Some(*day) > state.last));
        }
        self.publishing().set_channels(channels);
    }
}
