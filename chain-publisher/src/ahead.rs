//! Entries read and examined ahead of whoever puts them in order.
//!
//! One thread reads a source in order, a few examine what it read, and what they found comes out in that order again.
//! Invariants: nothing is lost or reordered; a source's error comes out where it happened, and nothing after it; memory is
//! bounded by the chunks under way, whose memory is used again. Dropping [`Ahead`] ends every thread.
//! Not here: what one entry must be (`domain::verify`), what follows from all of them (`verify`).

use crate::source::{Chunk, EntryStream, Given, LogSource, SourceError};
use crate::tiles::TileLeaves;
use domain::verify::{Examined, Examiner, Strictness};
use domain::{Position, TreeSize};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// Most threads that examine. What cannot be shared, the tree and the chains, is about a quarter of the work.
const EXAMINERS_MAX: usize = 4;
/// Chunks that wait before and behind each of them. The largest chunk has 16 MiB, a usual one an eighth of one.
const CHUNKS_WAITING: usize = 1;

/// Consecutive entries, and what was found out about each that is there with its bytes.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// The entries.
    pub(crate) chunk: Chunk,
    /// In their order.
    pub(crate) examined: Vec<Examined>,
}

type Message = Result<Looked, SourceError>;

/// What comes out.
pub(crate) struct Ahead {
    /// One an examiner, of which each in turn has the next chunk.
    examiners: Vec<Receiver<Message>>,
    turn: usize,
    first: Option<Message>,
    spare: SyncSender<Looked>,
}

impl Ahead {
    /// Begins to read. `from_tiles` takes leaf hashes from the tiles in place of entries.
    pub(crate) fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        source: &'scope dyn LogSource,
        size: TreeSize,
        from_tiles: bool,
        strictness: Strictness,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (spare, spares) = sync_channel(EXAMINERS_MAX * 2);
        let (mut read, mut examiners) = (Vec::new(), Vec::new());
        for _ in 0..cores.min(EXAMINERS_MAX) {
            let (to, chunks) = sync_channel(CHUNKS_WAITING);
            let (out, examined) = sync_channel(CHUNKS_WAITING);
            scope.spawn(move || examine(strictness, &chunks, &out));
            read.push(to);
            examiners.push(examined);
        }
        scope.spawn(move || reading(source, size, from_tiles, &read, &spares));
        let mut this = Self {
            examiners,
            turn: 0,
            first: None,
            spare,
        };
        this.first = this.receive();
        this
    }

    /// The next entries; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Message> {
        self.first.take().or_else(|| self.receive())
    }

    /// The bytes of the first entry, before it is taken.
    pub(crate) fn first_entry(&self) -> Option<&[u8]> {
        match self.first.as_ref()?.as_ref().ok()?.chunk.iter().next()? {
            Given::Entry(bytes) => Some(bytes),
            Given::Withheld(_) | Given::Pruned(..) => None,
        }
    }

    /// Takes back what was looked at, for its memory.
    pub(crate) fn give_back(&self, looked: Looked) {
        // Where enough of them wait, this one goes.
        let _ = self.spare.try_send(looked);
    }

    fn receive(&mut self) -> Option<Message> {
        let message = self.examiners[self.turn].recv().ok();
        self.turn = (self.turn + 1) % self.examiners.len();
        message
    }
}

/// Reads the entries, and gives each chunk to the examiner whose turn it is.
fn reading(
    source: &dyn LogSource,
    size: TreeSize,
    from_tiles: bool,
    examiners: &[SyncSender<Message>],
    spares: &Receiver<Looked>,
) {
    let stream: Result<Box<dyn EntryStream + '_>, SourceError> = if from_tiles {
        Ok(Box::new(TileLeaves::new(source, size)))
    } else {
        source.entries(Position::FIRST, size)
    };
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            let _ = examiners[0].send(Err(error));
            return;
        }
    };
    for examiner in examiners.iter().cycle() {
        let mut looked = spares.try_recv().unwrap_or_default();
        let message = match stream.next(&mut looked.chunk) {
            Ok(false) => return,
            Ok(true) => Ok(looked),
            Err(error) => Err(error),
        };
        // Whoever takes them has given up, or this was the last message.
        let last = message.is_err();
        if examiner.send(message).is_err() || last {
            return;
        }
    }
}

/// Examines chunks as they come.
fn examine(strictness: Strictness, chunks: &Receiver<Message>, out: &SyncSender<Message>) {
    let mut examiner = Examiner::new(strictness);
    for mut message in chunks {
        if let Ok(Looked { chunk, examined }) = &mut message {
            examined.clear();
            examined.extend(chunk.iter().filter_map(|item| match item {
                Given::Entry(bytes) => Some(examiner.examine(bytes)),
                Given::Withheld(_) | Given::Pruned(..) => None,
            }));
        }
        if out.send(message).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Hash;

    /// As many chunks of one entry or stub, then an error or the end.
    struct Counted {
        chunks: u64,
        fails: bool,
    }

    struct Counting {
        next: u64,
        until: u64,
        fails: bool,
    }

    impl EntryStream for Counting {
        fn next(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
            chunk.clear();
            if self.next == self.until {
                return if self.fails {
                    Err(SourceError::missing("the rest"))
                } else {
                    Ok(false)
                };
            }
            match self.next % 3 {
                0 => chunk.push_withheld(&Hash([self.next as u8; 32])),
                _ => chunk.push(&self.next.to_be_bytes()),
            }
            self.next += 1;
            Ok(true)
        }
    }

    impl LogSource for Counted {
        fn describe(&self) -> String {
            "numbers".to_owned()
        }

        fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
            Ok(None)
        }

        fn head_dates(&self) -> Result<Vec<domain::Date>, SourceError> {
            Ok(Vec::new())
        }

        fn head(&self, _: domain::Date) -> Result<Vec<u8>, SourceError> {
            Err(SourceError::missing("a head"))
        }

        fn tile(&self, tile: domain::tile::Tile) -> Result<Vec<u8>, SourceError> {
            Err(SourceError::missing(tile.to_string()))
        }

        fn entries(&self, _: Position, _: TreeSize) -> Result<Box<dyn EntryStream + '_>, SourceError> {
            Ok(Box::new(Counting {
                next: 0,
                until: self.chunks,
                fails: self.fails,
            }))
        }
    }

    fn taken(source: &Counted, most: u64) -> (u64, Option<SourceError>) {
        std::thread::scope(|scope| {
            let mut ahead = Ahead::begin(scope, source, TreeSize(0), false, Strictness::Canonical);
            let mut count = 0;
            while let Some(message) = (count < most).then(|| ahead.next()).flatten() {
                let looked = match message {
                    Ok(looked) => looked,
                    Err(error) => return (count, Some(error)),
                };
                let item = looked.chunk.iter().next().expect("one");
                match (count % 3, item, looked.examined.as_slice()) {
                    (0, Given::Withheld(leaf), []) => assert_eq!(leaf, Hash([count as u8; 32])),
                    (_, Given::Entry(bytes), [examined]) => {
                        assert_eq!(bytes, count.to_be_bytes());
                        assert_eq!(examined.leaf(), domain::hash::leaf_hash(bytes));
                        assert!(examined.entry(bytes).is_err());
                    }
                    other => panic!("{other:?}"),
                }
                count += 1;
                ahead.give_back(looked);
            }
            (count, None)
        })
    }

    #[test]
    fn every_chunk_comes_out_once_and_in_order() {
        for chunks in [0, 1, 2, 3, 4, 5, 1_000] {
            let source = Counted { chunks, fails: false };
            assert_eq!(taken(&source, u64::MAX), (chunks, None));
        }
    }

    #[test]
    fn an_error_comes_out_where_it_happened() {
        for chunks in [0, 1, 7, 100] {
            let source = Counted { chunks, fails: true };
            assert_eq!(
                taken(&source, u64::MAX),
                (chunks, Some(SourceError::missing("the rest")))
            );
        }
    }

    #[test]
    fn whoever_gives_up_early_waits_for_nobody() {
        let source = Counted {
            chunks: 1_000_000,
            fails: false,
        };
        assert_eq!(taken(&source, 3), (3, None));
    }
}
