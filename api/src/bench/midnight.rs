//! The pause at midnight: what ingest waits for while the day's stream map is closed.
//!
//! A day of so many streams is told to the preparer as the sequencer tells it, second by second; then some streams
//! move once more and the day is closed. What is measured is what the sequencer's thread waits.
//! Not here: the sequencer's own part, which marks each stream as unseen in the new day (`sequencer::state`).

use super::BenchError;
use commands::sequencer::{DayPreparer, DerivedStore};
use domain::hash::sha256;
use domain::stream::{StreamDay, StreamKey};
use domain::{Date, Hash};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Streams that move in a second of the day, as told at once.
const A_SECOND: u64 = 50_000;

/// Keeps nothing.
struct Nowhere;

impl DerivedStore for Nowhere {
    fn save(&self, _name: &str, _bytes: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn load(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }

    fn save_day_lines(&self, _date: Date, _lines: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// What midnight cost.
#[derive(Debug, Clone, Copy)]
pub struct Midnight {
    /// How long the day's streams took to be told and folded, beside ingest.
    pub prepared: Duration,
    /// How long ingest waited.
    pub pause: Duration,
    /// Streams in the map.
    pub count: u64,
    /// Its root.
    pub root: Hash,
}

fn day(n: u64, more: u64) -> StreamDay {
    let name = |what: &str, n: u64| {
        let mut short = [0u8; 16];
        short.copy_from_slice(&sha256(format!("{what}{n}").as_bytes()).0[..16]);
        short
    };
    StreamDay {
        key: StreamKey::from_blinded(&name("account", n % 100), &name("owner", n), &name("stream", n)),
        first: 1,
        last: 1440 + more,
        chain: sha256(&n.to_be_bytes()),
    }
}

/// Closes a day of so many streams, of which those of the last second moved since the preparer was told.
///
/// # Errors
/// [`BenchError`] where no thread can be had.
pub fn midnight(streams: u64) -> Result<Midnight, BenchError> {
    let preparer = DayPreparer::start(Arc::new(Nowhere))?;
    let began = Instant::now();
    let mut next = 0;
    while next < streams {
        let until = (next + A_SECOND).min(streams);
        preparer.moved((next..until).map(|n| day(n, 0)).collect());
        next = until;
    }
    // A question that is answered only when everything before it is done: a day without streams cannot be asked
    // for, so the first streams move again and are waited for by closing nothing.
    let last: Vec<StreamDay> = (0..A_SECOND.min(streams)).map(|n| day(n, 1)).collect();
    preparer.settled();
    let prepared = began.elapsed();
    let began = Instant::now();
    let closed = preparer.close(Date::default(), last);
    let pause = began.elapsed();
    let (root, count) = closed.ok_or_else(|| BenchError::Load("the preparer is gone".to_owned()))?;
    Ok(Midnight {
        prepared,
        pause,
        count,
        root,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::stream::StreamMap;

    #[test]
    fn the_map_that_is_closed_is_the_one_of_all_streams() {
        let midnight = midnight(3000).expect("closed");
        let mut map = StreamMap::new();
        for n in 0..3000 {
            map.update(day(n, 1));
        }
        map.settle();
        assert_eq!((midnight.root, midnight.count), (map.root(), 3000));
    }
}
