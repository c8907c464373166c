//! Places for long answers: streams, which hold a connection until somebody ends them, and downloads.
//!
//! Invariants: never more than so many at once (of streams `streams_max`), and never more of one account than its share
//! (`streams_account_max`), so that nobody's open tabs keep another account from its alarms; a place is free again once
//! its answer ends.
//! Not here: what is sent (`routes::stream`, `outflow`).

use crate::errors::ApiError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// When a client that found no place should come back, seconds.
const RETRY_AFTER_S: u32 = 30;

/// Who holds how many.
#[derive(Debug)]
pub struct Streams {
    called: &'static str,
    full: &'static str,
    max: usize,
    account_max: usize,
    open: Mutex<HashMap<String, usize>>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    streams: Arc<Streams>,
    account: String,
}

impl Streams {
    /// So many at once, and so many of one account; what they are called, and the code where there is no place.
    pub fn new(called: &'static str, full: &'static str, max: usize, account_max: usize) -> Arc<Self> {
        Arc::new(Self {
            called,
            full,
            max,
            account_max,
            open: Mutex::default(),
        })
    }

    /// A place for a stream of this account.
    ///
    /// # Errors
    /// 503 with the code of [`Streams::new`] and when to come back.
    pub fn take(self: &Arc<Self>, account: &str) -> Result<Place, ApiError> {
        let full = |words: String| ApiError::unavailable(self.full, words).retry_after(RETRY_AFTER_S);
        let mut open = self.open.lock();
        if open.values().sum::<usize>() >= self.max {
            return Err(full(format!("too many {} are open", self.called)));
        }
        if open.get(account).is_some_and(|held| *held >= self.account_max) {
            return Err(full(format!(
                "this account has too many {} open; close some",
                self.called
            )));
        }
        *open.entry(account.to_owned()).or_default() += 1;
        Ok(Place {
            streams: Arc::clone(self),
            account: account.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock();
        if let Some(held) = open.get_mut(&self.account) {
            *held -= 1;
            if *held == 0 {
                open.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_leaves_places_for_the_others_and_gives_back_what_it_held() {
        let streams = Streams::new("streams", "streams_full", 3, 2);
        let first = streams.take("a").expect("a place");
        let _second = streams.take("a").expect("a place");
        assert!(streams.take("a").is_err(), "its share is taken");
        let _other = streams.take("b").expect("another account's place");
        assert!(streams.take("c").is_err(), "all are taken");
        drop(first);
        streams.take("c").expect("one is free again");
        assert_eq!(streams.open.lock().get("c"), None, "nothing is kept of who left");
    }
}
