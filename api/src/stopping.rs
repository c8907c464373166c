//! A thread's pauses, which a stop ends.
//!
//! Not here: joining the thread (`app`).

use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Says once that it is time to stop.
#[derive(Default)]
pub struct Stopping {
    stopping: Mutex<bool>,
    changed: Condvar,
}

impl Stopping {
    /// Ends every pause, and those to come.
    pub fn stop(&self) {
        *self.stopping.lock() = true;
        self.changed.notify_all();
    }

    /// Waits; `false` where it was stopped meanwhile.
    pub fn pause(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        let mut stopping = self.stopping.lock();
        while !*stopping && !self.changed.wait_until(&mut stopping, until).timed_out() {}
        !*stopping
    }

    /// Whether it was stopped.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.lock()
    }
}
