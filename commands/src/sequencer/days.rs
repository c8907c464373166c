//! The open day's stream map, prepared beside the sequencer, so that midnight costs only what changed last.
//!
//! Derived. One thread holds the map; the sequencer tells it now and then which streams moved, in the day's last
//! minute often, and at the day's end waits for the root over what is left. Hashing is put off: a stream that moves
//! a thousand times a day is hashed a few times. Invariant: the root answered is over every stream told.
//! Not here: the tree over the lines (`domain::stream`), `DayClosed` itself (`owner`).

use domain::stream::{StreamDay, StreamMap};
use domain::{Date, Hash};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Where what can be made again is kept.
pub trait DerivedStore: Send + Sync {
    /// Keeps a blob under a name, replacing the one before; atomic.
    ///
    /// # Errors
    /// In words; the service goes on without.
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), String>;

    /// The blob of that name, if it is whole.
    fn load(&self, name: &str) -> Option<Vec<u8>>;

    /// Keeps the lines of a day's stream map.
    ///
    /// # Errors
    /// In words; the lines can be made again from the ledger.
    fn save_day_lines(&self, date: Date, lines: &[u8]) -> Result<(), String>;
}

/// Messages waiting for the preparer; a few a second, each of at most some ten thousand streams.
const QUEUE: usize = 64;
/// Lines may be stale up to one in so many before they are hashed: what closing an unforeseen day has to make up for.
const STALE_SHARE: usize = 8;
/// … but fewer than this are not worth it.
const STALE_MIN: usize = 1_024;

/// A stream by its number among the sequencer's, and what it did.
pub type Moved = (u32, StreamDay);

/// How soon the map is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At the end of the day.
    Later,
    /// Within the minute: what can be hashed ahead is.
    Soon,
}

enum Message {
    Moved(Vec<Moved>, Due),
    Close {
        date: Date,
        last: Vec<Moved>,
        answer: SyncSender<(Hash, u64)>,
    },
    Reset,
    Tell(SyncSender<()>),
}

/// The thread that keeps the map ready.
pub struct DayPreparer {
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl DayPreparer {
    /// Starts it, with an empty map.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(store: Arc<dyn DerivedStore>) -> std::io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("day-map".into())
            .spawn(move || prepare(&messages, &*store))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// These streams moved.
    pub fn moved(&self, days: Vec<Moved>, due: Due) {
        if !days.is_empty() || due == Due::Soon {
            self.send(Message::Moved(days, due));
        }
    }

    /// The map's root and count after these last moves; the map begins anew. Its lines are kept in the background.
    pub fn close(&self, date: Date, last: Vec<Moved>) -> Option<(Hash, u64)> {
        let (answer, answered) = sync_channel(1);
        self.send(Message::Close { date, last, answer });
        answered.recv().ok()
    }

    /// Waits until everything told is in the map.
    pub fn settled(&self) {
        let (answer, answered) = sync_channel(1);
        self.send(Message::Tell(answer));
        // A thread that is gone has nothing left to do; `send` said so.
        let _ = answered.recv();
    }

    /// Forgets the map: the state is being loaded again.
    pub fn reset(&self) {
        self.send(Message::Reset);
    }

    fn send(&self, message: Message) {
        if let Some(queue) = &self.queue
            && queue.send(message).is_err()
        {
            tracing::error!("day map thread is gone");
        }
    }
}

impl Drop for DayPreparer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("day map thread panicked");
        }
    }
}

/// Hashes what is worth it. New lines are placed many at once, since each time every node behind the first of them is
/// made again; what is left of them at the day's end are few.
fn keep_ready(map: &mut StreamMap, due: Due) {
    let (changed, fresh) = map.stale();
    let stale_max = STALE_MIN.max(map.count() as usize / STALE_SHARE);
    match due {
        Due::Soon if fresh <= STALE_MIN => map.settle_changed(),
        Due::Later if changed + fresh <= stale_max => {}
        Due::Soon | Due::Later => map.settle(),
    }
}

fn prepare(messages: &Receiver<Message>, store: &dyn DerivedStore) {
    let mut map = StreamMap::new();
    while let Ok(message) = messages.recv() {
        match message {
            Message::Moved(days, due) => {
                days.into_iter().for_each(|(number, day)| map.update(number, day));
                keep_ready(&mut map, due);
            }
            Message::Close { date, last, answer } => {
                last.into_iter().for_each(|(number, day)| map.update(number, day));
                map.settle();
                let closed = (map.root(), map.count());
                if answer.send(closed).is_err() {
                    tracing::warn!("nobody waited for the day map");
                }
                if let Err(error) = store.save_day_lines(date, &map.lines()) {
                    tracing::warn!(%date, error, "day lines not kept; they can be made again");
                }
                map = StreamMap::new();
            }
            Message::Reset => map = StreamMap::new(),
            // Whoever asked may have gone.
            Message::Tell(answer) => {
                let _ = answer.send(());
            }
        }
    }
}
