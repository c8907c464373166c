//! Reading connections: any number beside the one writer, each question in one snapshot.
//!
//! Invariant: while the file is being swapped no connection is open, so that none outlives its file.
//! Not here: the questions (`query`), the writer (`store`).

use crate::error::QueryError;
use migrations::{PROJECTIONS, open_for_reading};
use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// Connections kept open while nobody asks; each has a page cache of 2 MiB.
const IDLE_MAX: usize = 8;

/// A pool of reading connections to one file.
#[derive(Debug)]
pub struct Readers {
    path: PathBuf,
    gate: RwLock<()>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Of a file that exists.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            gate: RwLock::new(()),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks within one snapshot. Never ask again within `question`: it may wait for itself.
    ///
    /// # Errors
    /// What `question` returns, and [`QueryError::Unavailable`].
    pub fn ask<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let _open = self.gate.read();
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = open_for_reading(&self.path, &PROJECTIONS)
                    .map_err(|error| QueryError::Unavailable(error.to_string()))?;
                connection.set_prepared_statement_cache_capacity(64);
                connection
            }
        };
        let answer = {
            let snapshot = connection.unchecked_transaction()?;
            question(&snapshot)
        };
        // One that failed may be broken; let it go.
        if !matches!(answer, Err(QueryError::Unavailable(_))) {
            let mut idle = self.idle.lock();
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
        answer
    }

    /// Does something while no connection is open and none can be opened.
    pub(crate) fn while_closed<T>(&self, change: impl FnOnce() -> T) -> T {
        let _closed = self.gate.write();
        self.idle.lock().clear();
        change()
    }
}
