//! The pause at midnight: what ingest waits for while the day's stream map is closed.
//!
//! A day of so many streams is told to the preparer as the sequencer tells it; in the last minute everything moves
//! once more, told every tenth of a second; then the last streams move, a few of them new, and the day is closed.
//! What is measured is what the sequencer's thread waits.
//! Not here: the commit of `DayClosed` (`sequencer`).

use super::BenchError;
use commands::sequencer::{DayPreparer, DerivedStore, Due, Moved};
use domain::hash::sha256;
use domain::stream::{StreamDay, StreamKey};
use domain::{Date, Hash};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Streams that are told at once during the day.
const TOLD_AT_ONCE: u64 = 65_536;
/// Streams that move in the last tenth of a second: fifty thousand entries a second.
const LAST: u64 = 5_000;
/// Streams whose first entry of the day comes in the last tenth of a second.
const LAST_NEW: u64 = 10;

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

fn moved(n: u64, more: u64) -> Moved {
    let name = |what: &str, n: u64| {
        let mut short = [0u8; 16];
        short.copy_from_slice(&sha256(format!("{what}{n}").as_bytes()).0[..16]);
        short
    };
    let day = StreamDay {
        key: StreamKey::from_blinded(&name("account", n % 100), &name("owner", n), &name("stream", n)),
        first: 1,
        last: 1440 + more,
        chain: sha256(&n.to_be_bytes()),
    };
    (n as u32, day)
}

/// Closes a day of so many streams, of which some moved since the preparer was told, and some are new.
///
/// # Errors
/// [`BenchError`] where no thread can be had.
pub fn midnight(streams: u64) -> Result<Midnight, BenchError> {
    let preparer = DayPreparer::start(Arc::new(Nowhere))?;
    let began = Instant::now();
    let known = streams.saturating_sub(LAST_NEW);
    tell(&preparer, known, TOLD_AT_ONCE, Due::Later);
    preparer.settled();
    let prepared = began.elapsed();
    tell(&preparer, known, LAST, Due::Soon);
    preparer.settled();
    let last: Vec<Moved> = (known..streams)
        .chain(0..LAST.min(known))
        .map(|n| moved(n, 1))
        .collect();
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

fn tell(preparer: &DayPreparer, streams: u64, at_once: u64, due: Due) {
    let mut next = 0;
    while next < streams {
        let until = (next + at_once).min(streams);
        preparer.moved((next..until).map(|n| moved(n, 0)).collect(), due);
        next = until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::stream::StreamMap;

    #[test]
    fn the_map_that_is_closed_is_the_one_of_all_streams() {
        let midnight = midnight(7000).expect("closed");
        let mut map = StreamMap::new();
        for n in 0..7000 {
            let again = !(LAST..7000 - LAST_NEW).contains(&n);
            let (number, day) = moved(n, u64::from(again));
            map.update(number, day);
        }
        map.settle();
        assert_eq!((midnight.root, midnight.count), (map.root(), 7000));
    }
}
