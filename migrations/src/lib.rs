//! Every schema as SQL, and open-and-migrate.
//!
//! A [`Set`] is the ordered list of SQL files of one database; `PRAGMA user_version` says how many of them a file
//! has, `PRAGMA application_id` whose it is. Invariants: a released SQL file never changes; a file runs in one
//! transaction with its version, so a crash leaves the version before it; a database that a newer program
//! migrated is refused and left untouched.
//! Not here: what tables mean (`projections`, `api`).

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// How long a connection waits for another one's lock. Writers hold it for one batch, well below a second;
/// a busy disk may make that a few.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// One database's schema: its files in order.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// What the database is, in words.
    pub name: &'static str,
    /// Marks the file as this set's (`PRAGMA application_id`).
    pub application_id: i32,
    /// (file name, SQL), in order; the version is how many were applied.
    pub files: &'static [(&'static str, &'static str)],
}

/// The read models of the embedded profile. Derived: on [`MigrateError::Newer`] or [`MigrateError::Foreign`]
/// the caller deletes the file and folds the ledger again.
pub const PROJECTIONS: Set = Set {
    name: "projections",
    application_id: 0x4462_7072,
    files: &[
        (
            "0001_read_models.sql",
            include_str!("../sqlite/projections/0001_read_models.sql"),
        ),
        (
            "0002_outbox.sql",
            include_str!("../sqlite/projections/0002_outbox.sql"),
        ),
        (
            "0003_alarms.sql",
            include_str!("../sqlite/projections/0003_alarms.sql"),
        ),
        (
            "0004_corrected.sql",
            include_str!("../sqlite/projections/0004_corrected.sql"),
        ),
        (
            "0005_telling.sql",
            include_str!("../sqlite/projections/0005_telling.sql"),
        ),
    ],
};

/// Sessions, sign-in links and tokens' last use: losable, but not derived.
pub const STATE: Set = Set {
    name: "state",
    application_id: 0x4462_7374,
    files: &[
        (
            "0001_sessions.sql",
            include_str!("../sqlite/state/0001_sessions.sql"),
        ),
        (
            "0002_sending.sql",
            include_str!("../sqlite/state/0002_sending.sql"),
        ),
        (
            "0003_signing.sql",
            include_str!("../sqlite/state/0003_signing.sql"),
        ),
    ],
};

impl Set {
    /// The version that this program brings.
    pub const fn version(&self) -> i64 {
        self.files.len() as i64
    }
}

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer program migrated it.
    #[error(
        "{path} has schema version {found} and this program knows {known}: start the newer program, \
         or delete the file if it is only derived"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It belongs to something else.
    #[error("{path} is not a {set} database of this program: move it away")]
    Foreign {
        /// The file.
        path: String,
        /// What was expected.
        set: &'static str,
    },
    /// A file of the schema did not apply.
    #[error("{file} could not be applied to {path}: {error}")]
    File {
        /// The SQL file.
        file: &'static str,
        /// The database.
        path: String,
        /// What SQLite said.
        error: rusqlite::Error,
    },
    /// It could not be made, or not be kept from others.
    #[error("{path} could not be made for its owner alone: {error}")]
    Private {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// SQLite could not open or configure it.
    #[error("{path} could not be opened: {error}")]
    Open {
        /// The file.
        path: String,
        /// What SQLite said.
        error: rusqlite::Error,
    },
}

/// Opens `path` for writing (made if absent), WAL and `synchronous=NORMAL`, and applies what is missing.
///
/// With NORMAL a loss of power may take the last commits, never the file's consistency; a projection then
/// goes on from the cursor it finds.
///
/// # Errors
/// [`MigrateError`]; the file is as it was, but for the SQL files that were applied whole.
pub fn open_and_migrate(path: &Path, set: &Set) -> Result<Connection, MigrateError> {
    let shown = path.display().to_string();
    let open = |error| MigrateError::Open {
        path: shown.clone(),
        error,
    };
    for_the_owner_only(path).map_err(|error| MigrateError::Private {
        path: path.display().to_string(),
        error,
    })?;
    let mut connection = Connection::open(path).map_err(open)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(open)?;
    let found: i64 = pragma(&connection, "user_version").map_err(open)?;
    let owner: i64 = pragma(&connection, "application_id").map_err(open)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .map_err(open)?;
    let ours = owner == i64::from(set.application_id);
    if !ours && (owner != 0 || found != 0 || tables != 0) {
        return Err(MigrateError::Foreign {
            path: shown,
            set: set.name,
        });
    }
    if found > set.version() {
        return Err(MigrateError::Newer {
            path: shown,
            found,
            known: set.version(),
        });
    }
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(open)?;
    connection
        .pragma_update(None, "synchronous", "NORMAL")
        .map_err(open)?;
    connection
        .pragma_update(None, "temp_store", "MEMORY")
        .map_err(open)?;
    migrate(&mut connection, set, found, &shown)?;
    Ok(connection)
}

/// Makes the file if it is absent, readable by nobody else; SQLite gives its companions the same mode.
fn for_the_owner_only(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let file = options.mode(0o600).open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
    }
    #[cfg(not(unix))]
    options.open(path)?;
    Ok(())
}

/// Opens an existing database for reading only; any number beside one writer.
///
/// # Errors
/// [`MigrateError::Open`], and [`MigrateError::Newer`] or [`MigrateError::Foreign`] where the schema is not
/// exactly the one known here.
pub fn open_for_reading(path: &Path, set: &Set) -> Result<Connection, MigrateError> {
    let shown = path.display().to_string();
    let open = |error| MigrateError::Open {
        path: shown.clone(),
        error,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(open)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(open)?;
    let found: i64 = pragma(&connection, "user_version").map_err(open)?;
    let owner: i64 = pragma(&connection, "application_id").map_err(open)?;
    if owner != i64::from(set.application_id) || found < set.version() {
        return Err(MigrateError::Foreign {
            path: shown,
            set: set.name,
        });
    }
    if found > set.version() {
        return Err(MigrateError::Newer {
            path: shown,
            found,
            known: set.version(),
        });
    }
    Ok(connection)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// One transaction a file: a crash between two leaves a whole version.
fn migrate(connection: &mut Connection, set: &Set, found: i64, path: &str) -> Result<(), MigrateError> {
    for (index, &(file, sql)) in set.files.iter().enumerate().skip(found as usize) {
        let apply = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if pragma(&transaction, "user_version")? > index as i64 {
                return Ok(()); // Another process was faster.
            }
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", index as i64 + 1)?;
            transaction.pragma_update(None, "application_id", set.application_id)?;
            transaction.commit()
        };
        apply(connection).map_err(|error| MigrateError::File {
            file,
            path: path.to_owned(),
            error,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.sqlite");
        (dir, path)
    }

    #[test]
    fn every_set_applies_to_an_empty_file_and_opening_again_changes_nothing() {
        for set in [&PROJECTIONS, &STATE] {
            let (_dir, path) = fresh();
            let first = open_and_migrate(&path, set).expect("opens");
            assert_eq!(pragma(&first, "user_version").expect("answers"), set.version());
            drop(first);
            let again = open_and_migrate(&path, set).expect("opens again");
            let mode: String = again
                .pragma_query_value(None, "journal_mode", |row| row.get(0))
                .expect("answers");
            assert_eq!(mode, "wal");
            open_for_reading(&path, set).expect("opens for reading");
        }
    }

    #[test]
    fn a_newer_schema_is_refused_in_words_and_left_as_it_is() {
        let (_dir, path) = fresh();
        let connection = open_and_migrate(&path, &STATE).expect("opens");
        connection
            .pragma_update(None, "user_version", 99)
            .expect("answers");
        drop(connection);
        let error = open_and_migrate(&path, &STATE).expect_err("refused");
        assert!(matches!(error, MigrateError::Newer { found: 99, .. }), "{error}");
        assert!(error.to_string().contains("newer program"), "{error}");
        assert!(matches!(
            open_for_reading(&path, &STATE),
            Err(MigrateError::Newer { .. })
        ));
        let raw = Connection::open(&path).expect("opens");
        assert_eq!(pragma(&raw, "user_version").expect("answers"), 99);
    }

    #[test]
    fn a_database_of_something_else_is_refused() {
        let (_dir, path) = fresh();
        drop(open_and_migrate(&path, &STATE).expect("opens"));
        assert!(matches!(
            open_and_migrate(&path, &PROJECTIONS),
            Err(MigrateError::Foreign { .. })
        ));
        let (_dir, path) = fresh();
        Connection::open(&path)
            .expect("opens")
            .execute_batch("CREATE TABLE t (x)")
            .expect("applies");
        assert!(matches!(
            open_and_migrate(&path, &PROJECTIONS),
            Err(MigrateError::Foreign { .. })
        ));
    }

    #[test]
    fn a_file_that_fails_leaves_the_version_before_it() {
        let (_dir, path) = fresh();
        let broken = Set {
            name: "broken",
            application_id: 7,
            files: &[
                ("1.sql", "CREATE TABLE a (x)"),
                ("2.sql", "CREATE TABLE b (x); CREATE TABLE a (x)"),
            ],
        };
        assert!(matches!(
            open_and_migrate(&path, &broken),
            Err(MigrateError::File { file: "2.sql", .. })
        ));
        let raw = Connection::open(&path).expect("opens");
        assert_eq!(pragma(&raw, "user_version").expect("answers"), 1);
        let tables: i64 = raw
            .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
            .expect("answers");
        assert_eq!(tables, 1);
    }
}
