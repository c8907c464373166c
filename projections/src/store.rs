//! The database of the read models: one file, one writer, one transaction a batch, and the cursors in it.
//!
//! Derived. Invariants: rows and cursors change together; a cursor is a tree size *and* the root at that size, so
//! that a ledger that was restored or replaced is noticed and the file is folded again from nothing; a batch that
//! fails leaves no trace, in the file or in memory.
//! What if we crash: between transactions nothing is lost that cannot be folded again; `synchronous=NORMAL` may
//! take back the last transactions after a loss of power, cursor and rows alike.
//! Not here: following the log (`projector`), reading (`readers`).

use crate::error::ProjectionError;
use crate::fold::Fold;
use domain::ports::{EntryBlock, TileStore};
use domain::{Hash, Timestamp, TreeSize};
use migrations::{MigrateError, PROJECTIONS, open_and_migrate};
use rusqlite::{Connection, OptionalExtension, params};
use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The projections and the version of what their rows mean; a change of meaning is a new version and a rebuild.
pub const PROJECTION_VERSIONS: [(&str, i64); 7] = [
    ("alarms", 2),
    ("outbox", 2),
    ("overview", 1),
    ("raw", 2),
    ("rollups", 1),
    ("timeline", 2),
    ("world", 2),
];

/// Page cache of the writer in KiB: the hot ends of some ten thousand channels' tables.
const WRITER_CACHE_KIB: i64 = 64 * 1024;
/// Pages in the write-ahead log before they are copied into the file; 4 KiB each. The same pages are written
/// again and again, so copying seldom saves most of the work.
const CHECKPOINT_PAGES: i64 = 16 * 1024;
/// What the write-ahead log is cut to once it was copied, bytes.
const WAL_KEPT_BYTES: i64 = 64 * 1024 * 1024;

/// Gives the ledger's root at a size.
pub trait Roots: Send + Sync {
    /// The root at `size`; `None` where the ledger is smaller.
    ///
    /// # Errors
    /// In words, where it cannot be had now.
    fn root_at(&self, size: TreeSize) -> Result<Option<Hash>, String>;
}

impl<F: Fn(TreeSize) -> Result<Option<Hash>, String> + Send + Sync> Roots for F {
    fn root_at(&self, size: TreeSize) -> Result<Option<Hash>, String> {
        self(size)
    }
}

/// Roots folded from stored tile nodes.
pub struct StoredRoots(pub Arc<dyn TileStore>);

impl Roots for StoredRoots {
    fn root_at(&self, size: TreeSize) -> Result<Option<Hash>, String> {
        use domain::merkle::{Frontier, NodeError};
        match Frontier::from_nodes(size, &*self.0) {
            Ok(frontier) => Ok(Some(frontier.root())),
            Err(NodeError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// How far the rows reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Tree size.
    pub size: TreeSize,
    /// The root at that size.
    pub root: Hash,
    /// Of the newest entry applied.
    pub recorded_at: Timestamp,
}

impl Cursor {
    fn start() -> Self {
        Self {
            size: TreeSize::EMPTY,
            root: Hash::empty_root(),
            recorded_at: Timestamp::default(),
        }
    }
}

/// What was found on opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Rows that go with this ledger.
    Good,
    /// Nothing yet.
    Nothing,
    /// Rows of another ledger, of another version or damaged: they were dropped.
    Dropped(&'static str),
}

/// The writer.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    fold: Fold,
    cursor: Cursor,
}

impl Store {
    /// Opens the file, or begins a new one where what is there does not go with this ledger.
    ///
    /// # Errors
    /// [`ProjectionError`]; the file is untouched where the roots could not be had.
    pub fn open(path: &Path, roots: &dyn Roots) -> Result<(Self, Found), ProjectionError> {
        let why = match Self::try_open(path) {
            Ok(store) => match store.judge(roots)? {
                None if store.cursor.size.is_empty() => return Ok((store, Found::Nothing)),
                None => return Ok((store, Found::Good)),
                Some(why) => why,
            },
            Err(ProjectionError::Open(MigrateError::Newer { .. } | MigrateError::Foreign { .. })) => {
                "it was made by another version"
            }
            Err(ProjectionError::Damaged(_)) => "it does not read",
            Err(error) if is_damage(&error) => "it does not read",
            Err(error) => return Err(error),
        };
        remove(path)?;
        Ok((Self::try_open(path)?, Found::Dropped(why)))
    }

    /// Begins anew, whatever is there.
    ///
    /// # Errors
    /// [`ProjectionError`].
    pub fn create(path: &Path) -> Result<Self, ProjectionError> {
        remove(path)?;
        Self::try_open(path)
    }

    fn try_open(path: &Path) -> Result<Self, ProjectionError> {
        let connection = open_and_migrate(path, &PROJECTIONS)?;
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
        connection.set_prepared_statement_cache_capacity(96);
        let cursor = read_cursor(&connection)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            fold: Fold::default(),
            cursor,
        })
    }

    /// Why the rows do not go with the ledger; `None` where they do.
    fn judge(&self, roots: &dyn Roots) -> Result<Option<&'static str>, ProjectionError> {
        if self.cursor.size.is_empty() {
            return Ok(None);
        }
        for (projection, version) in PROJECTION_VERSIONS {
            let found: Option<(i64, i64)> = self
                .connection
                .query_row(
                    "SELECT version, size FROM cursors WHERE projection = ?1",
                    [projection],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            if found != Some((version, self.cursor.size.get() as i64)) {
                return Ok(Some("its rows mean something else"));
            }
        }
        let size = self.cursor.size;
        let root = roots
            .root_at(size)
            .map_err(|reason| ProjectionError::Root { size, reason })?;
        Ok((root != Some(self.cursor.root)).then_some("the ledger is not the one it was made from"))
    }

    /// How far the rows reach.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How many entries were folded since it was opened that are no readings.
    pub(crate) fn facts(&self) -> u64 {
        self.fold.facts()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folds consecutive entries, beginning at the cursor, in one transaction. A block is taken when the one before
    /// it was folded, so that a batch need not be in memory as a whole.
    ///
    /// # Errors
    /// [`ProjectionError`]; nothing of the batch is kept then, and it may be applied again.
    pub fn apply<B: Borrow<EntryBlock>>(
        &mut self,
        blocks: impl IntoIterator<Item = Result<B, ProjectionError>>,
        roots: &dyn Roots,
    ) -> Result<Cursor, ProjectionError> {
        let result = self.transact(blocks, roots);
        match result {
            Ok(cursor) => self.cursor = cursor,
            Err(_) => self.fold.forget(),
        }
        result
    }

    fn transact<B: Borrow<EntryBlock>>(
        &mut self,
        blocks: impl IntoIterator<Item = Result<B, ProjectionError>>,
        roots: &dyn Roots,
    ) -> Result<Cursor, ProjectionError> {
        let mut cursor = self.cursor;
        // Dropped without a commit, it is rolled back.
        let transaction = self.connection.unchecked_transaction()?;
        for block in blocks {
            for (position, bytes) in block?.borrow().iter() {
                let expected = cursor.size.next_position();
                if position != expected {
                    return Err(ProjectionError::OutOfOrder {
                        expected,
                        found: position,
                    });
                }
                cursor.recorded_at = self.fold.entry(&transaction, position, bytes)?;
                cursor.size = position.size_through();
            }
        }
        if cursor.size == self.cursor.size {
            return Ok(cursor);
        }
        self.fold.finish(&transaction)?;
        let size = cursor.size;
        cursor.root = match roots.root_at(size) {
            Ok(Some(root)) => root,
            Ok(None) => {
                let reason = "the ledger is smaller than what was read from it".to_owned();
                return Err(ProjectionError::Root { size, reason });
            }
            Err(reason) => return Err(ProjectionError::Root { size, reason }),
        };
        write_cursor(&transaction, &cursor)?;
        transaction.commit()?;
        Ok(cursor)
    }

    /// Copies the write-ahead log into the file and cuts it, so that the file stands alone.
    ///
    /// # Errors
    /// [`ProjectionError::Store`].
    pub fn settle(&self) -> Result<(), ProjectionError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Readings that wait within a batch; for tests of what a crash may lose.
    #[doc(hidden)]
    pub fn waiting(&self) -> usize {
        self.fold.waiting()
    }
}

fn is_damage(error: &ProjectionError) -> bool {
    let sqlite = match error {
        ProjectionError::Store(error) => error,
        ProjectionError::Open(MigrateError::Open { error, .. } | MigrateError::File { error, .. }) => error,
        _ => return false,
    };
    matches!(
        sqlite.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}

/// The smallest cursor stands for all: they move together.
fn read_cursor(connection: &Connection) -> Result<Cursor, ProjectionError> {
    let found: Option<(i64, Vec<u8>, i64)> = connection
        .query_row(
            "SELECT size, root, recorded_at FROM cursors ORDER BY size LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((size, root, recorded_at)) = found else {
        return Ok(Cursor::start());
    };
    let damaged = || ProjectionError::Damaged("the cursor does not read".to_owned());
    Ok(Cursor {
        size: TreeSize(size as u64),
        root: Hash(root.try_into().map_err(|_| damaged())?),
        recorded_at: Timestamp::from_micros(recorded_at).ok_or_else(damaged)?,
    })
}

fn write_cursor(connection: &Connection, cursor: &Cursor) -> Result<(), ProjectionError> {
    let mut replace =
        connection.prepare_cached("INSERT OR REPLACE INTO cursors VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (projection, version) in PROJECTION_VERSIONS {
        replace.execute(params![
            projection,
            version,
            cursor.size.get() as i64,
            cursor.root.0,
            cursor.recorded_at.as_micros(),
        ])?;
    }
    Ok(())
}

/// The files that SQLite keeps beside a database.
fn companions(path: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// Removes a database that nobody has open: itself first. A crash then leaves a log without a database, which
/// SQLite throws away; a database without its log would look whole and not be.
pub(crate) fn remove(path: &Path) -> Result<(), ProjectionError> {
    let [wal, shm] = companions(path);
    for file in [path, wal.as_path(), shm.as_path()] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ProjectionError::File {
                    path: file.display().to_string(),
                    error,
                });
            }
            _ => {}
        }
    }
    Ok(())
}
