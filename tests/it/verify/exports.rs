//! What an export writes, when it goes on, and what it refuses to touch.

use super::{auditor, exported, files, run_dir};
use chain_publisher::source::{Chunk, EntryStream};
use chain_publisher::{ExportError, LogSource, SourceError, export};
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::memory::MemoryLog;
use domain::ports::TileStore;
use domain::tile::{Tile, bundles_of, tiles_of};
use domain::{Date, Hash, Position, TreeSize};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tests::small_ledger::{ORIGIN, Plan, SmallLedger, signing_key};

/// A log of plain entries, signed at a size below its end.
struct Plain {
    log: MemoryLog,
    size: TreeSize,
    /// After so many entries the source fails.
    fails_after: AtomicU64,
}

impl Plain {
    fn of(entries: u64, size: u64) -> Self {
        let log = MemoryLog::new();
        let entries: Vec<Vec<u8>> = (0..entries).map(|n| format!("entry {n}").into_bytes()).collect();
        log.push_entries(entries.iter().map(Vec::as_slice));
        Self {
            log,
            size: TreeSize(size),
            fails_after: AtomicU64::new(u64::MAX),
        }
    }

    fn at(mut self, size: u64) -> Self {
        self.size = TreeSize(size);
        self
    }
}

impl LogSource for Plain {
    fn describe(&self) -> String {
        "plain entries".to_owned()
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
        let frontier = domain::merkle::Frontier::from_nodes(self.size, &self.log).expect("it is there");
        let checkpoint = Checkpoint::new(ORIGIN, self.size, frontier.root()).expect("valid");
        let signed = SignedCheckpoint::sign(checkpoint, &[&signing_key(1)]).expect("signed");
        Ok(Some(signed.encode().into_bytes()))
    }

    fn head_dates(&self) -> Result<Vec<Date>, SourceError> {
        Ok(Vec::new())
    }

    fn head(&self, _: Date) -> Result<Vec<u8>, SourceError> {
        Err(SourceError::missing("a head"))
    }

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        let mut hashes = Vec::new();
        let read = self
            .log
            .read_nodes(tile.level(), tile.start(), tile.width().into(), &mut hashes);
        read.map_err(|error| SourceError::malformed(tile.to_string(), error))?;
        Ok(domain::tile::encode_tile(&hashes))
    }

    fn entries(&self, from: Position, size: TreeSize) -> Result<Box<dyn EntryStream + '_>, SourceError> {
        assert_eq!(from.get() % 256, 0);
        Ok(Box::new(PlainEntries {
            next: from.get(),
            end: size.get(),
            left: &self.fails_after,
        }))
    }
}

struct PlainEntries<'a> {
    next: u64,
    end: u64,
    left: &'a AtomicU64,
}

impl EntryStream for PlainEntries<'_> {
    fn next(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        chunk.clear();
        for _ in 0..100 {
            if self.next == self.end {
                break;
            }
            if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
                return Err(SourceError::Unavailable("the plug was pulled".to_owned()));
            }
            chunk.push(format!("entry {}", self.next).as_bytes());
            self.next += 1;
        }
        Ok(!chunk.is_empty())
    }
}

/// Every file with its bytes.
fn content(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |file: &std::path::PathBuf| std::fs::read(dir.join(file)).expect("readable");
    files(dir)
        .iter()
        .map(|file| (file.display().to_string(), read(file)))
        .collect()
}

fn fresh(size: u64) -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::tempdir().expect("a scratch directory");
    export(&Plain::of(size, size), dir.path(), &mut |_, _| {}).expect("exported");
    content(dir.path())
}

#[test]
fn an_export_has_every_tile_and_bundle_of_its_size_and_nothing_else() {
    for size in [0, 1, 255, 256, 257, 600] {
        let mut expected: Vec<String> = tiles_of(TreeSize(size)).map(|tile| tile.to_string()).collect();
        for bundle in bundles_of(TreeSize(size)) {
            expected.push(bundle.to_string());
            expected.push(chain_publisher::layout::lines_path(bundle));
        }
        expected.extend(["README.txt".to_owned(), "checkpoint".to_owned()]);
        expected.sort();
        let mut found: Vec<String> = fresh(size).into_iter().map(|(name, _)| name).collect();
        found.sort();
        assert_eq!(found, expected, "size {size}");
    }
}

#[test]
fn a_later_export_adds_what_is_new_and_ends_like_a_fresh_one() {
    let sizes = [0u64, 1, 200, 255, 256, 257, 511, 700, 70_000];
    let dir = tempfile::tempdir().expect("a scratch directory");
    let mut log = Plain::of(70_000, 0);
    let mut before = 0;
    for size in sizes {
        log = log.at(size);
        let exported = export(&log, dir.path(), &mut |_, _| {}).expect("exported");
        assert!(
            exported.entries <= size - before + 256,
            "size {size}: {exported:?}"
        );
        if size < 1_000 || size == 70_000 {
            assert!(content(dir.path()) == fresh(size), "size {size}");
        }
        before = size;
    }
    let again = export(&log, dir.path(), &mut |_, _| {}).expect("exported");
    assert_eq!(again.entries, 0);
}

#[test]
fn an_export_that_was_cut_short_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let log = Plain::of(40_000, 40_000);
    for fails_after in [10_000, 20_000, 20_000] {
        log.fails_after.store(fails_after, Ordering::SeqCst);
        let cut = export(&log, dir.path(), &mut |_, _| {});
        assert!(matches!(cut, Err(ExportError::Source(_))), "{cut:?}");
        assert!(!dir.path().join("checkpoint").exists());
        assert!(chain_publisher::directory::Directory::open(dir.path()).is_err());
    }
    // Meanwhile the log has grown; the marks are every 16,384 entries.
    log.fails_after.store(u64::MAX, Ordering::SeqCst);
    let rest = export(&log, dir.path(), &mut |_, _| {}).expect("exported");
    assert!(rest.entries < 40_000 - 32_000, "{rest:?}");
    assert!(content(dir.path()) == fresh(40_000));
}

#[test]
fn what_another_log_or_history_has_written_is_not_touched() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    export(&Plain::of(600, 600), dir.path(), &mut |_, _| {}).expect("exported");
    let before = content(dir.path());
    let refused = |source: &dyn LogSource, why: &str| {
        let refused = export(source, dir.path(), &mut |_, _| {});
        let Err(error @ ExportError::Occupied { .. }) = refused else {
            panic!("{why}: {refused:?}");
        };
        assert!(error.to_string().contains(why), "{error}");
        assert!(content(dir.path()) == before, "{why}");
    };
    refused(&Plain::of(600, 500), "was cut");
    let other = Plain::of(700, 700);
    other.log.push_entries([&b"x"[..]]);
    let history = Plain {
        log: {
            let log = MemoryLog::new();
            log.push_entries((0..700).map(|_| &b"another"[..]));
            log
        },
        ..Plain::of(0, 700)
    };
    refused(&history, "another history");
    let ledger = SmallLedger::record(Plan::default());
    let foreign = exported(&ledger);
    std::fs::write(foreign.path().join("checkpoint"), b"what is this").expect("writable");
    assert!(matches!(
        export(&ledger.source(), foreign.path(), &mut |_, _| {}),
        Err(ExportError::Occupied { .. })
    ));
    let occupied = tempfile::tempdir().expect("a scratch directory");
    std::fs::write(occupied.path().join("holiday.jpg"), b"x").expect("writable");
    assert!(matches!(
        export(&ledger.source(), occupied.path(), &mut |_, _| {}),
        Err(ExportError::Occupied { .. })
    ));
    assert_eq!(files(occupied.path()).len(), 1);
}

#[test]
fn a_ledger_that_contradicts_itself_is_not_copied() {
    struct Liar(Plain);
    impl LogSource for Liar {
        fn describe(&self) -> String {
            "a liar".to_owned()
        }
        fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
            self.0.checkpoint()
        }
        fn head_dates(&self) -> Result<Vec<Date>, SourceError> {
            Ok(Vec::new())
        }
        fn head(&self, date: Date) -> Result<Vec<u8>, SourceError> {
            self.0.head(date)
        }
        fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
            let mut bytes = self.0.tile(tile)?;
            bytes[32 * 7] ^= 1;
            Ok(bytes)
        }
        fn entries(&self, from: Position, size: TreeSize) -> Result<Box<dyn EntryStream + '_>, SourceError> {
            self.0.entries(from, size)
        }
    }
    let dir = tempfile::tempdir().expect("a scratch directory");
    let result = export(&Liar(Plain::of(20, 20)), dir.path(), &mut |_, _| {});
    let Err(ExportError::Source(SourceError::Malformed { position, .. })) = result else {
        panic!("{result:?}");
    };
    assert_eq!(position, Some(Position(7)));
    assert!(!dir.path().join("checkpoint").exists());
}

#[test]
fn a_copy_of_a_copy_is_the_same_copy() {
    let ledger = SmallLedger::record(Plan {
        readings: 150,
        ..Plan::default()
    });
    let (first, second) = (
        exported(&ledger),
        tempfile::tempdir().expect("a scratch directory"),
    );
    let copy = chain_publisher::directory::Directory::open(first.path()).expect("a copy");
    export(&copy, second.path(), &mut |_, _| {}).expect("exported");
    assert!(content(first.path()) == content(second.path()));
    let report = run_dir(second.path(), &auditor(&ledger.key, &[&ledger.checkpoint]));
    assert_eq!(report.exit_code, 0, "{report}");
    assert_ne!(report.root, Hash::empty_root());
}
