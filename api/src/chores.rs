//! What runs beside: refusals are recorded, buckets swept, last uses written, the read models' backlog watched,
//! witnesses asked.
//!
//! Invariants: every chore ends when the stop begins and is joined by it; none holds anything a request waits for.
//! Not here: what the chores call.

use crate::app::{App, stop_begins};
use domain::TreeSize;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the backlog is looked at.
const WATCH: Duration = Duration::from_secs(1);
/// How often refusals that are due are recorded; a source's are due once a minute.
const RECORD: Duration = Duration::from_secs(5);
/// How often memory is swept and last uses are written.
const SWEEP: Duration = Duration::from_secs(60);
/// More entries behind than this slows ingest (DESIGN "Backpressure").
const BEHIND_ENTRIES_MAX: u64 = 1_000_000;
/// Longer behind than this slows ingest (DESIGN "Backpressure").
const BEHIND_MAX: Duration = Duration::from_secs(60);

/// Starts every chore.
pub fn start(app: &Arc<App>) -> Vec<JoinHandle<()>> {
    let mut chores = vec![
        tokio::spawn(every(Arc::clone(app), WATCH, |app| async move { app.watch() })),
        tokio::spawn(every(Arc::clone(app), RECORD, |app| async move {
            app.refusals().flush(app.sequencer(), false).await;
        })),
        tokio::spawn(every(Arc::clone(app), SWEEP, |app| async move { app.sweep() })),
    ];
    // Where another process signs, it asks the witnesses, too.
    if app.witnesses().is_some() && app.settings().signed_elsewhere.is_none() {
        chores.push(tokio::spawn(every(Arc::clone(app), WATCH, ask_witnesses)));
    }
    chores
}

/// A thread that may block waits for the witnesses; a stop waits for it, at most for the time of one offer.
async fn ask_witnesses(app: Arc<App>) {
    if let Err(error) = tokio::task::spawn_blocking(move || app.ask_witnesses()).await {
        tracing::error!(%error, "the witnesses were not asked");
    }
}

async fn every<F: Future<Output = ()>>(app: Arc<App>, interval: Duration, chore: impl Fn(Arc<App>) -> F) {
    let mut stopping = app.stopping();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => chore(Arc::clone(&app)).await,
            () = stop_begins(&mut stopping) => return,
        }
    }
}

impl App {
    fn watch(&self) {
        let status = self.projector().status();
        if status.catching_up {
            // Rows that are being folded again say nothing about the pace; duplicates that cannot be told wait.
            self.backlog().forget();
            return;
        }
        self.backlog()
            .observe(self.clock().monotonic(), status.size, status.cursor.size);
    }

    fn sweep(&self) {
        self.limits().sweep();
        if let Err(error) = self.state().flush(self.clock().now()) {
            tracing::warn!(%error, "tokens' last use was not kept");
        }
    }
}

/// How far the read models are behind, and since when.
#[derive(Default)]
pub struct Backlog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// When the ledger had which size; only what the read models have not passed.
    sizes: VecDeque<(Duration, TreeSize)>,
    too_far: Option<String>,
}

impl Backlog {
    /// Takes notice of both sizes.
    pub fn observe(&self, now: Duration, ledger: TreeSize, cursor: TreeSize) {
        let mut inner = self.inner.lock();
        while inner.sizes.front().is_some_and(|(_, size)| *size <= cursor) {
            inner.sizes.pop_front();
        }
        if inner.sizes.back().is_none_or(|(_, size)| *size < ledger) && ledger > cursor {
            inner.sizes.push_back((now, ledger));
        }
        let since = inner.sizes.front().map(|(at, _)| now.saturating_sub(*at));
        let entries = ledger.since(cursor);
        inner.too_far = if entries > BEHIND_ENTRIES_MAX {
            Some(format!("the read models are {entries} entries behind"))
        } else {
            since
                .filter(|since| *since > BEHIND_MAX)
                .map(|since| format!("the read models are {} s behind", since.as_secs()))
        };
    }

    /// Forgets what was seen.
    pub fn forget(&self) {
        *self.inner.lock() = Inner::default();
    }

    /// Why ingest has to slow down, if it has to.
    pub fn too_far(&self) -> Option<String> {
        self.inner.lock().too_far.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn read_models_that_keep_pace_never_slow_ingest_however_long_it_was_quiet() {
        let backlog = Backlog::default();
        backlog.observe(at(0), TreeSize(10), TreeSize(10));
        backlog.observe(at(4000), TreeSize(11), TreeSize(10));
        assert_eq!(backlog.too_far(), None);
        for second in 0..200 {
            backlog.observe(
                at(4001 + second),
                TreeSize(1000 * second),
                TreeSize(1000 * second.saturating_sub(5)),
            );
            assert_eq!(backlog.too_far(), None);
        }
    }

    #[test]
    fn a_minute_behind_slows_ingest_until_it_is_made_up() {
        let backlog = Backlog::default();
        for second in 0..=60 {
            backlog.observe(at(second), TreeSize(100 + second), TreeSize(50));
        }
        assert_eq!(backlog.too_far(), None);
        backlog.observe(at(61), TreeSize(161), TreeSize(50));
        assert!(backlog.too_far().is_some());
        backlog.observe(at(62), TreeSize(161), TreeSize(150));
        assert_eq!(backlog.too_far(), None);
    }

    #[test]
    fn a_million_entries_behind_slow_ingest_at_once() {
        let backlog = Backlog::default();
        backlog.observe(at(0), TreeSize(1_000_001), TreeSize(0));
        assert!(backlog.too_far().is_some());
        backlog.forget();
        assert_eq!(backlog.too_far(), None);
    }
}
