//! A log behind the ports: the ledger of a data directory, or one in memory.
//!
//! Invariant: what is read is what the ports give; the size is that of the log, not of its checkpoint.
//! Not here: the ports' drivers, and what else a data directory must satisfy (`commands`).

use crate::anchor::AnchorKind;
use crate::layout;
use crate::source::{Chunk, EntryStream, LogSource, SourceError};
use domain::merkle::NodeError;
use domain::ports::{EntryBlock, EventLog, ReadError, TileStore};
use domain::tile::{Tile, read_tile};
use domain::{Date, Position, TreeSize};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// Entries read at once: what fills a millisecond of hashing and stays in the processor's second cache.
pub(crate) const READ_ENTRIES: usize = 512;
/// Bytes read at once, about.
pub(crate) const READ_BYTES: usize = 2 << 20;

/// The heads of days, wherever they are kept.
pub trait HeadFiles: Send + Sync {
    /// The days that have one, rising.
    fn dates(&self) -> Vec<Date>;

    /// The head of that day.
    fn get(&self, date: Date) -> Option<Vec<u8>>;

    /// The time stamp of that kind over the head of a day.
    fn stamp(&self, _date: Date, _kind: AnchorKind) -> Option<Vec<u8>> {
        None
    }

    /// The positions of rotations whose proofs are kept.
    fn rotations(&self) -> Vec<Position> {
        Vec::new()
    }

    /// The proof of the rotation at that position.
    fn rotation(&self, _position: Position) -> Option<Vec<u8>> {
        None
    }
}

/// A log behind the ports.
pub struct PortsSource<'a> {
    /// What it is, for a person.
    pub name: String,
    /// The entries.
    pub log: &'a dyn EventLog,
    /// The tree.
    pub tiles: &'a dyn TileStore,
    /// The size it is read up to.
    pub size: TreeSize,
    /// Its latest checkpoint.
    pub checkpoint: Option<Vec<u8>>,
    /// The key that it signs with.
    pub key: Option<String>,
    /// The heads of its days.
    pub heads: &'a dyn HeadFiles,
}

impl LogSource for PortsSource<'_> {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.checkpoint.clone())
    }

    fn size(&self) -> Option<TreeSize> {
        Some(self.size)
    }

    fn key_hint(&self) -> Result<Option<String>, SourceError> {
        Ok(self.key.clone())
    }

    fn head_dates(&self) -> Result<Vec<Date>, SourceError> {
        Ok(self.heads.dates())
    }

    fn head(&self, date: Date) -> Result<Vec<u8>, SourceError> {
        let head = self.heads.get(date);
        head.ok_or_else(|| SourceError::missing(format!("the head of {date}")))
    }

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        read_tile(self.tiles, tile).map_err(|error| {
            let position = Some(Position(tile.start() << (8 * u32::from(tile.level()))));
            let what = tile.to_string();
            match error {
                NodeError::Missing { .. } => SourceError::Missing { what, position },
                NodeError::Unavailable(reason) => SourceError::Unavailable(reason),
                NodeError::Corrupt { reason, .. } => SourceError::Malformed {
                    what,
                    position,
                    reason,
                },
            }
        })
    }

    fn stamp(&self, date: Date, kind: AnchorKind) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.heads.stamp(date, kind))
    }

    fn rotations(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let positions = self.heads.rotations().into_iter();
        let proofs = positions.filter_map(|at| Some((layout::rotation_path(at), self.heads.rotation(at)?)));
        Ok(proofs.collect())
    }

    fn derives_tiles(&self) -> bool {
        true
    }

    fn entries(&self, from: Position, size: TreeSize) -> Result<Box<dyn EntryStream + '_>, SourceError> {
        Ok(Box::new(Blocks {
            log: self.log,
            next: from,
            size,
        }))
    }
}

/// The entries from a position on.
struct Blocks<'a> {
    log: &'a dyn EventLog,
    next: Position,
    size: TreeSize,
}

impl EntryStream for Blocks<'_> {
    fn next(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        chunk.clear();
        let left = self.size.get().saturating_sub(self.next.get());
        if left == 0 {
            return Ok(false);
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(READ_ENTRIES);
        let block: EntryBlock = wait(self.log.read(self.next, count, READ_BYTES)).map_err(read_error)?;
        if block.is_empty() {
            return Err(SourceError::Missing {
                what: format!("the entry at position {}", self.next),
                position: Some(self.next),
            });
        }
        for (position, entry) in block.iter() {
            if position != self.next {
                return Err(SourceError::Malformed {
                    what: "the ledger".to_owned(),
                    position: Some(self.next),
                    reason: format!("gives position {position} instead"),
                });
            }
            chunk.push(entry);
            self.next = self.next.next();
        }
        Ok(true)
    }
}

pub(crate) fn read_error(error: ReadError) -> SourceError {
    match error {
        ReadError::Beyond(position) => SourceError::Missing {
            what: format!("the entry at position {position}"),
            position: Some(position),
        },
        ReadError::Unavailable(_) => SourceError::Unavailable(error.to_string()),
        ReadError::Corrupt { position, reason } => SourceError::Malformed {
            what: "the ledger".to_owned(),
            position: Some(position),
            reason,
        },
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future of a port on this thread; ports use no type of any runtime.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
