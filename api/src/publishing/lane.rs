//! One channel's thread: what it does next, and what it says of it.
//!
//! Invariants: as `publishing`; a day that the ledger does not say is out is tried until it is; a stop is no failure and is
//! not recorded as one.
//! What if we crash here? Between a publication and its entry: it is made again, which changes nothing.
//! Not here: the channel (`chain_publisher::publish::Channel`), the ledger (`Desk`).

use super::channels::Waiting;
use super::{Desk, HEAD_NOT_PUBLISHED, HEAD_PUBLISHED, Outcome};
use crate::back_off;
use crate::config::PublishTo;
use crate::witnesses::HeadState;
use chain_publisher::publish::{Channel, Publication, PublishError};
use domain::Date;
use domain::tlog_proof::TlogProof;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often it is looked for days that were closed.
const LOOK: Duration = Duration::from_secs(1);
/// So long a head waits for its witnesses before it goes out with the cosignatures that it has.
const WITNESSES_WITHIN: Duration = Duration::from_secs(15);
/// Characters of a reason that are recorded.
const REASON_MAX: usize = 300;

/// A channel and where it is.
pub(super) struct Lane {
    name: String,
    kind: &'static str,
    channel: Box<dyn Channel>,
    retry: Duration,
    waiting: Waiting,
    /// Whether the ledger was asked for `last`.
    asked: bool,
    last: Option<Date>,
    failures: u32,
    next_try: Instant,
    /// When a day was first seen that its witnesses have not all cosigned.
    seen: BTreeMap<Date, Instant>,
}

impl Lane {
    pub(super) fn new(to: &PublishTo, channel: Box<dyn Channel>, retry: Duration, waiting: Waiting) -> Self {
        Self {
            name: to.name().to_owned(),
            kind: to.kind(),
            channel,
            retry,
            waiting,
            asked: false,
            last: None,
            failures: 0,
            next_try: Instant::now(),
            seen: BTreeMap::new(),
        }
    }

    /// Publishes what is due until the stop.
    pub(super) fn run(mut self, desk: &dyn Desk) {
        loop {
            let out = self.round(desk);
            let rest = if out { Duration::ZERO } else { LOOK };
            if !self.waiting.stopping.pause(rest) {
                return;
            }
        }
    }

    /// Publishes the next day, if one is due; whether it is out.
    fn round(&mut self, desk: &dyn Desk) -> bool {
        if !self.asked {
            match self.waiting.on(desk.last_published(&self.name)) {
                None => return false,
                Some(Ok(last)) => (self.asked, self.last) = (true, last),
                Some(Err(error)) => {
                    tracing::warn!(
                        channel = self.name,
                        error,
                        "what was published cannot be read yet"
                    );
                    return false;
                }
            }
        }
        let dates = match desk.heads().dates() {
            Ok(dates) => dates,
            Err(error) => {
                tracing::warn!(channel = self.name, %error, "the heads of days cannot be listed now");
                return false;
            }
        };
        let due = self.due(&dates);
        self.show(desk, due);
        let next = due
            .first()
            .copied()
            .filter(|date| self.has_its_witnesses(desk, due, *date));
        let Some(date) = next else { return false };
        let out = self.advance(desk, date);
        let due = self.due(&dates);
        self.show(desk, due);
        out
    }

    fn due<'a>(&self, dates: &'a [Date]) -> &'a [Date] {
        &dates[dates.partition_point(|date| Some(*date) <= self.last)..]
    }

    /// Whether a day may go out: its witnesses have cosigned, or have had time enough. All that wait begin to wait at
    /// once.
    fn has_its_witnesses(&mut self, desk: &dyn Desk, due: &[Date], date: Date) -> bool {
        let Some(state) = desk.head_state(date) else {
            return true;
        };
        self.seen.retain(|seen, _| *seen >= date);
        for date in due {
            self.seen.entry(*date).or_insert_with(Instant::now);
        }
        matches!(state, HeadState::Witnessed | HeadState::WitnessedLate)
            || self
                .seen
                .get(&date)
                .is_some_and(|since| since.elapsed() >= WITNESSES_WITHIN)
    }

    fn advance(&mut self, desk: &dyn Desk, date: Date) -> bool {
        // What cannot be recorded is not begun.
        if self.waiting.stopping.is_stopping() || !desk.records() || Instant::now() < self.next_try {
            return false;
        }
        let began = Instant::now();
        let published = self.publish(desk, date);
        let took_ms = began.elapsed().as_millis() as u64;
        let attempt = self.failures + 1;
        let outcome = |reason: Option<String>| Outcome {
            channel: self.name.clone(),
            kind: self.kind.to_owned(),
            date,
            attempt: (attempt > 1 || reason.is_some()).then_some(attempt),
            reason,
            took_ms,
            number: None,
        };
        match published {
            Ok(()) => {
                let recorded = self.record(desk, HEAD_PUBLISHED, &outcome(None));
                if !recorded {
                    // The day after it must not be out before the ledger says that this one is.
                    self.try_later(false);
                    return false;
                }
                tracing::info!(channel = self.name, %date, took_ms, "head published");
                (self.last, self.failures) = (Some(date), 0);
                let at = desk.clock().now();
                desk.publishing().tell(&self.name, |state| {
                    (state.at, state.trouble) = (Some(at), None);
                });
                true
            }
            Err(PublishError::GivenUp) => false,
            Err(error) => {
                let reason: String = error.to_string().chars().take(REASON_MAX).collect();
                tracing::warn!(channel = self.name, %date, reason, "head not published");
                self.record(desk, HEAD_NOT_PUBLISHED, &outcome(Some(reason.clone())));
                desk.publishing()
                    .tell(&self.name, |state| state.trouble = Some(reason));
                self.try_later(matches!(error, PublishError::Refused(_)));
                false
            }
        }
    }

    /// Whether it was recorded. A stop does not cut this short: the ledger takes it or says that it does not.
    fn record(&self, desk: &dyn Desk, event_type: &'static str, outcome: &Outcome) -> bool {
        let recorded = self.waiting.runtime.block_on(desk.record(event_type, outcome));
        if let Err(error) = &recorded {
            tracing::warn!(
                error,
                channel = self.name,
                "what came of a publication was not recorded"
            );
        }
        recorded.is_ok()
    }

    /// Doubled each time; what was refused for good is not asked for more often than at last.
    fn try_later(&mut self, is_refused: bool) {
        let wait = match is_refused {
            true => back_off::longest(self.retry),
            false => back_off::pause(self.retry, self.failures),
        };
        self.failures += 1;
        self.next_try = Instant::now() + wait;
    }

    fn publish(&mut self, desk: &dyn Desk, date: Date) -> Result<(), PublishError> {
        let failed = |error: &dyn std::fmt::Display| PublishError::Failed(error.to_string());
        let gone = || PublishError::Failed("its head is gone".to_owned());
        let head = desk
            .heads()
            .get(date)
            .map_err(|error| failed(&error))?
            .ok_or_else(gone)?;
        let consistency = desk.heads().consistency(date).map_err(|error| failed(&error))?;
        let size = TlogProof::parse(&head).map_err(|error| failed(&error))?.size();
        let (channel, stopping) = (&mut self.channel, &self.waiting.stopping);
        desk.with_source(&mut |source| {
            channel.publish(&Publication {
                origin: desk.origin(),
                date,
                head: &head,
                consistency: consistency.as_deref(),
                size,
                now_s: desk.clock().now().as_micros().unsigned_abs() / 1_000_000,
                source,
                give_up: &|| stopping.is_stopping(),
            })
        })
    }

    /// For pages and metrics.
    fn show(&self, desk: &dyn Desk, due: &[Date]) {
        desk.publishing().tell(&self.name, |state| {
            state.last = self.last;
            state.waiting = due.len() as u64;
            state.next = due.first().copied();
        });
    }
}
