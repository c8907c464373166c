//! A thread's pauses, which a stop ends.
//!
//! Not here: joining the thread (`app`).

use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Says once that it is time to stop.
pub struct Stopping {
    stopping: Mutex<bool>,
    changed: Condvar,
    told: watch::Sender<bool>,
}

impl Default for Stopping {
    fn default() -> Self {
        Self {
            stopping: Mutex::default(),
            changed: Condvar::new(),
            told: watch::channel(false).0,
        }
    }
}

impl Stopping {
    /// Ends every pause, and those to come.
    pub fn stop(&self) {
        *self.stopping.lock() = true;
        self.changed.notify_all();
        self.told.send_replace(true);
    }

    /// Waits; `false` where it was stopped meanwhile.
    pub fn pause(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        let mut stopping = self.stopping.lock();
        while !*stopping && !self.changed.wait_until(&mut stopping, until).timed_out() {}
        !*stopping
    }

    /// Completes when it is stopped, for futures that are given up then.
    pub async fn stopped(&self) {
        // The sender lives as long as this does.
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }

    /// Whether it was stopped.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.lock()
    }
}
