//! Folding the ledger again into a second file.
//!
//! Derived. Invariants: the file in use is not touched before the second one is whole and synced; the rows are
//! the same whatever the batches (promise 2).
//! Not here: when to rebuild (`store` on a mismatch, the command line).

use crate::error::ProjectionError;
use crate::projector::Unread;
use crate::store::{Roots, Store, remove};
use domain::TreeSize;
use domain::ports::EventLog;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Entries a transaction: folding gains little beyond.
const BATCH_ENTRIES: usize = 500_000;

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Entries folded.
    pub done: u64,
    /// Entries in the ledger now.
    pub total: u64,
}

/// The second file's path, beside the one in use.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".rebuild");
    PathBuf::from(name)
}

/// Folds the whole ledger again and puts the result in the place of `path`, which nobody may have open. While a
/// service runs, ask its [`crate::Projector::rebuild`] instead.
///
/// # Errors
/// [`ProjectionError`]; see [`replace`] for what a crash leaves.
pub fn rebuild(
    log: &dyn EventLog,
    roots: &dyn Roots,
    path: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), ProjectionError> {
    let filled = fill(log, roots, &beside(path), progress)?;
    replace(filled, path)
}

/// Folds the whole ledger into `path`, which is begun anew. `progress` is told after each batch and may break.
///
/// # Errors
/// [`ProjectionError`]; `Stopped` where `progress` broke it off. What was written is removed then.
pub fn fill(
    log: &dyn EventLog,
    roots: &dyn Roots,
    path: &Path,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Store, ProjectionError> {
    let mut store = Store::create(path)?;
    match fill_store(&mut store, log, roots, progress) {
        Ok(()) => Ok(store),
        Err(error) => {
            drop(store);
            remove(path)?;
            Err(error)
        }
    }
}

fn fill_store(
    store: &mut Store,
    log: &dyn EventLog,
    roots: &dyn Roots,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), ProjectionError> {
    let tell = |progress: &mut dyn FnMut(Progress) -> ControlFlow<()>, size: TreeSize| {
        let told = progress(Progress {
            done: size.get(),
            total: log.size().get(),
        });
        told.is_continue().then_some(()).ok_or(ProjectionError::Stopped)
    };
    tell(progress, TreeSize::EMPTY)?;
    while store.cursor().size < log.size() {
        let mut unread = Unread::new(log, store.cursor().size, BATCH_ENTRIES);
        let cursor = store.apply(&mut unread, roots)?;
        tell(progress, cursor.size)?;
    }
    store.settle()
}

/// Puts a filled file in the place of another, which nobody has open.
///
/// # Errors
/// [`ProjectionError::File`]. A crash leaves the old file, the new one, or none, which is folded anew.
pub fn replace(filled: Store, path: &Path) -> Result<(), ProjectionError> {
    let from = filled.path().to_owned();
    filled.settle()?;
    drop(filled);
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| ProjectionError::File { path, error }
    };
    File::open(&from)
        .and_then(|file| file.sync_all())
        .map_err(failed(&from))?;
    remove(path)?;
    std::fs::rename(&from, path).map_err(failed(path))?;
    let directory = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(directory))
}
