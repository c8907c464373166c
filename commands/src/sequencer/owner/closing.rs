//! What the sequencer records of its own accord: the closing of days with their heads, and the clock.
//!
//! Not here: what a day's map is and who prepares it (`days`), the entries of others (`owner`).

use super::{Owner, block_on, system_event};
use crate::sequencer::checkpoints::CheckpointError;
use crate::sequencer::commit::unknown;
use crate::sequencer::types::Writing;
use domain::day::{ClockOfDay, DAY_CLOSED, DayClosed, StreamsOfDay, days_to_close};
use domain::{Date, Timestamp, TreeSize};
use std::time::Instant;

/// How often the clock is recorded (FORMAT §5), microseconds.
const OBSERVE_US: i64 = 3600 * 1_000_000;

impl Owner {
    /// Closes every day before today, each in a commit of its own that ends with its head.
    pub(super) fn close_days(&mut self, now: Timestamp) {
        loop {
            let Some(state) = &self.state else { return };
            let Some(open) = state.day.date else { return };
            let today = state.last_recorded_at.map_or(now, |last| last.max(now)).date();
            let busy = state.day.counts.total() > 0;
            let Some(&(first, last)) = days_to_close(open, today, busy).first() else {
                return;
            };
            if self.refusal().is_some() || !self.close_day(now, first, last) {
                return;
            }
        }
    }

    fn close_day(&mut self, now: Timestamp, first: Date, last: Date) -> bool {
        self.begin(now);
        let Some(state) = &mut self.state else {
            return false;
        };
        let begun = Instant::now();
        let Some((root, count)) = self.preparer.close(last, state.take_touched()) else {
            self.not_closed(last, "the thread that prepares the day's map is gone");
            return false;
        };
        let closed = DayClosed {
            date: last,
            idle_since: (first != last).then_some(first),
            first_position: state.day.first_position,
            size: state.size(),
            root: state.frontier.root(),
            entries: state.day.counts.entries(),
            refused: state.day.counts.refused().clone(),
            unclean: state.day.unclean,
            streams: StreamsOfDay { root, count },
            clock: ClockOfDay {
                source: "system".into(),
                max_offset_ms: None,
                held_s: (state.day.held_us / 1_000_000) as u64,
            },
            previous: state.day.previous,
        };
        tracing::info!(date = %last, streams = count, pause_ms = begun.elapsed().as_millis() as u64, "closing the day");
        let event = match system_event(DAY_CLOSED, &closed) {
            Ok(event) => event,
            Err(error) => {
                self.not_closed(last, &error.to_string());
                return false;
            }
        };
        match self.record_own(event) {
            Ok(recorded) => match self.make_head(last, recorded.size, recorded.root) {
                Ok(()) => true,
                Err(reason) => {
                    self.not_closed(last, &format!("its head cannot be kept: {reason}"));
                    false
                }
            },
            Err(error) => {
                self.not_closed(last, &error.to_string());
                false
            }
        }
    }

    fn make_head(&self, date: Date, size: TreeSize, root: domain::Hash) -> Result<(), String> {
        let checkpoint = self.checkpointer.sign(size, root).map_err(|e| e.to_string())?;
        let entry = self.entry_before(size)?;
        let head = crate::heads::head(&*self.ports.tiles, &entry, size, &checkpoint)?;
        self.settings.heads.put(date, &head).map_err(|e| e.to_string())
    }

    /// A day is not closed, or has no head. No entry of the next day may come into it, and nothing larger may be signed,
    /// or its head could never be made: the state is given up, and what is missing is made when it is loaded again.
    fn not_closed(&mut self, date: Date, reason: &str) {
        tracing::error!(%date, reason, "a day could not be closed; nothing is recorded until it is");
        if self.state.is_some() {
            let reason = format!("the day {date} cannot be closed: {reason}");
            self.set_writing(Writing::StoreFailing(reason.clone()));
            self.give_up(&unknown(&reason));
        }
    }

    pub(super) fn entry_before(&self, size: TreeSize) -> Result<Vec<u8>, String> {
        let last = size.last().ok_or("an empty ledger has no head")?;
        let block = block_on(self.ports.log.read_at(&[last])).map_err(|e| e.to_string())?;
        Ok(block.get(0).ok_or("the entry is gone")?.1.to_vec())
    }

    /// Makes the heads that a crash between a day's closing and its signing left unmade.
    pub(super) fn finish_heads(&mut self) -> Result<(), CheckpointError> {
        let Some(state) = &self.state else { return Ok(()) };
        let closings = self.positions.of("ledger", "main");
        let signed = self
            .checkpointer
            .latest()
            .map_or(TreeSize::EMPTY, |(size, _)| size);
        let late: Vec<_> = closings
            .into_iter()
            .filter(|p| p.size_through() >= signed && state.size().contains(*p))
            .collect();
        for position in late {
            let size = position.size_through();
            let Ok(bytes) = self.entry_before(size) else {
                continue;
            };
            let Ok(entry) = domain::entry::Entry::read(&bytes) else {
                continue;
            };
            if entry.event_type != DAY_CLOSED {
                continue;
            }
            let Ok(closed) = serde_json::from_slice::<DayClosed>(entry.payload) else {
                continue;
            };
            if self.settings.heads.get(closed.date).is_some() {
                continue;
            }
            let root = domain::merkle::Frontier::from_nodes(size, &*self.ports.tiles)
                .map_err(|e| CheckpointError::Unreadable(e.to_string()))?
                .root();
            self.make_head(closed.date, size, root).map_err(|reason| {
                CheckpointError::Unreadable(format!("the head of {} cannot be kept: {reason}", closed.date))
            })?;
        }
        Ok(())
    }

    /// `ClockObserved` at start, hourly, and after each step.
    pub(super) fn observe_clock(&mut self, now: Timestamp) {
        let due = self.observed_at.is_none_or(|at| now.since(at) >= OBSERVE_US);
        let begun = self.state.as_ref().is_some_and(|s| !s.size().is_empty());
        if !due || !begun || self.refusal().is_some() {
            return;
        }
        self.observed_at = Some(now);
        let payload = serde_json::json!({
            "source": "system",
            "offset_ms": null,
            "uncertainty_ms": null,
            "synchronised": null,
            "wall": now.to_string(),
        });
        self.begin(now);
        if let Ok(event) = system_event("ClockObserved", &payload)
            && let Err(error) = self.record_own(event)
        {
            tracing::warn!(%error, "the clock was not recorded");
        }
    }
}
