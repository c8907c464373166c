//! What `watch` keeps: the last checkpoint that it saw, as the log signed it.
//!
//! Invariants: the file is the whole old note or the whole new one, whatever breaks in between; it is on disk before
//! success is said; one watch at a time has it; a checkpoint that contradicts it is kept beside it and never in its place.
//! Crash between writing and renaming: the old state stands, and the next look is made against that.
//! Not here: which checkpoint may be kept (`chain_publisher::watch`).

use chain_publisher::arguments::{file_of, read_file};
use chain_publisher::durable::{beside, replace};
use chain_publisher::evidence::Evidence;
use chain_publisher::terminal::Failure;
use domain::hash::sha256;
use domain::note::NOTE_BYTES_MAX;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The state, and the right to change it.
pub struct State {
    path: PathBuf,
    _lock: File,
}

impl State {
    /// Takes the state in that file, which need not be there yet.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            let what = "--state names a file, and this is a directory";
            return Err(Failure::usage(format!("{}: {what}", path.display())));
        }
        file_of("--state", path)?;
        let beside = beside(path, "lock");
        let unusable = |error: io::Error| Failure::usage(format!("{}: {error}", beside.display()));
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&beside)
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Failure::usage(format!(
                "another watch has {}: let it end, or give this one a state of its own",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// What was seen last; `None` before the first time.
    pub fn read(&self) -> Result<Option<Evidence>, Failure> {
        if !self.path.exists() {
            return Ok(None);
        }
        let bytes = read_file(&self.path, NOTE_BYTES_MAX)?;
        let name = format!("what was seen last, in {}", self.path.display());
        Evidence::parse(&name, &bytes).map(Some).map_err(|error| {
            Failure::usage(format!("{error}; put back a copy of it, or a head that you kept"))
        })
    }

    /// Puts this note in its place.
    pub fn write(&self, note: &str) -> Result<(), Failure> {
        put(&self.path, note)
    }

    /// Keeps a note that contradicts the state, and tells where.
    pub fn keep_aside(&self, note: &str) -> Result<PathBuf, Failure> {
        let hash = sha256(note.as_bytes()).to_hex();
        let aside = beside(&self.path, &format!("{}.contradicts", &hash[..8]));
        if !aside.exists() {
            put(&aside, note)?;
        }
        Ok(aside)
    }
}

/// Writes a file whole or not at all, and is back when it is on disk.
fn put(path: &Path, note: &str) -> Result<(), Failure> {
    replace(path, note.as_bytes())
        .map_err(|error| Failure::failed(format!("{} was not written: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn one_watch_at_a_time_has_a_state_and_a_crash_before_the_name_leaves_the_old_one() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("seen");
        let state = State::take(&path).expect("nobody has it");
        assert!(State::take(&path).is_err_and(|failure| failure.message.contains("another watch")));
        state.write("one\n").expect("written");
        // What a crash leaves: half of a new one under its own name.
        fs::write(beside(&path, "new"), "tw").expect("writable");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "one\n");
        state.write("two\n").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "two\n");
        assert!(!beside(&path, "new").exists());
        drop(state);
        assert!(State::take(&path).is_ok());
    }
}
