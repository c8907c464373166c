//! Threads that run beside the answers.
//!
//! Invariants: each has a name and is joined by whoever holds them, also where a later one could not be started.
//! Not here: what tells them to end (`stopping`), what they do.

use parking_lot::Mutex;
use std::io;
use std::thread::JoinHandle;

/// The threads that were started and not joined yet.
#[derive(Debug, Default)]
pub struct Threads(Mutex<Vec<JoinHandle<()>>>);

impl Threads {
    /// Starts one.
    ///
    /// # Errors
    /// What the system says where there is no thread. Those that were started before run on.
    pub fn start(&self, name: impl Into<String>, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(body)?;
        self.0.lock().push(thread);
        Ok(())
    }

    /// Waits until every one has ended, which somebody must have told them to.
    pub async fn join(&self) {
        let started = std::mem::take(&mut *self.0.lock());
        for thread in started {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            // It may wait for what it records, and so for this runtime.
            let ended = tokio::task::spawn_blocking(move || thread.join()).await;
            if !ended.is_ok_and(|ended| ended.is_ok()) {
                tracing::error!(name, "a thread ended badly");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn every_thread_is_waited_for_although_one_panics() {
        let (threads, ended) = (Threads::default(), Arc::new(AtomicUsize::new(0)));
        threads.start("falls", || panic!("on purpose")).expect("a thread");
        let counted = Arc::clone(&ended);
        threads
            .start("counts", move || {
                counted.fetch_add(1, Ordering::SeqCst);
            })
            .expect("a thread");
        threads.join().await;
        assert_eq!(ended.load(Ordering::SeqCst), 1);
        assert!(threads.0.lock().is_empty());
    }
}
