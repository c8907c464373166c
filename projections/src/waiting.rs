//! Waiting for futures on a plain thread.
//!
//! The ports speak in futures of no runtime; the projector is a thread, because SQLite blocks. Invariant: a wake
//! between two polls is never lost.
//! Not here: what is waited for (`projector`).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// Longest park between two looks at the interruption; wakes come at once, this only bounds a missed one.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs a future on this thread until it is done or `interrupted` says so; whoever interrupts unparks the thread.
pub(crate) fn run_until<T>(future: impl Future<Output = T>, interrupted: impl Fn() -> bool) -> Option<T> {
    let mut future = pin!(future);
    let parked = Arc::new(Parked {
        thread: std::thread::current(),
        woken: AtomicBool::new(true),
    });
    let waker = Waker::from(parked.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if parked.woken.swap(false, Ordering::Acquire)
            && let Poll::Ready(value) = future.as_mut().poll(&mut context)
        {
            return Some(value);
        }
        if interrupted() {
            return None;
        }
        if !parked.woken.load(Ordering::Acquire) {
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }
}

/// Runs a future to its end on this thread.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Some(value) = run_until(future.as_mut(), || false) {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let sender = std::thread::spawn(move || send.send(7));
        assert_eq!(run(receive), Ok(7));
        sender.join().expect("sends").expect("is received");
    }

    #[test]
    fn an_interruption_ends_the_wait_for_what_never_comes() {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopper, waiting) = (stop.clone(), std::thread::current());
        let thread = std::thread::spawn(move || {
            stopper.store(true, Ordering::SeqCst);
            waiting.unpark();
        });
        assert_eq!(
            run_until(std::future::pending::<()>(), || stop.load(Ordering::SeqCst)),
            None
        );
        thread.join().expect("ends");
    }
}
