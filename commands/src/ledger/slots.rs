//! Places for what can be made again: snapshots under a name, and the lines of a day's stream map.
//!
//! *Derived.* Invariant: whole or absent; what is damaged is treated as absent, and whoever asked makes it again.
//! Not here: what they hold (`sequencer`).

use super::Ledger;
use super::blob::{self, Blob};
use crate::sequencer::DerivedStore;
use domain::Date;
use std::path::{Path, PathBuf};

/// Longest name of a snapshot.
const NAME_MAX: usize = 64;

/// The folder of snapshots.
pub(super) fn snapshots(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}

/// The folder of days' lines.
pub(super) fn days(dir: &Path) -> PathBuf {
    dir.join("days")
}

impl Ledger {
    /// Keeps a snapshot under a name (`[a-z0-9-]{1,64}`), replacing the one before; durable when this returns `Ok`.
    ///
    /// # Errors
    /// In words. The snapshot before stands then, or this one.
    pub fn save_snapshot(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!("{name:?} is no name for a snapshot"));
        }
        self.save_blob(&snapshots(&self.inner.dir).join(name), bytes)
    }

    /// The snapshot of that name; `None` if there is none that is whole.
    pub fn load_snapshot(&self, name: &str) -> Option<Vec<u8>> {
        if is_name(name) {
            self.load_blob(&snapshots(&self.inner.dir).join(name))
        } else {
            None
        }
    }

    /// Keeps the lines of a day's stream map, replacing those before; durable when this returns `Ok`.
    ///
    /// # Errors
    /// In words.
    pub fn save_day_lines(&self, date: Date, lines: &[u8]) -> Result<(), String> {
        self.save_blob(&days(&self.inner.dir).join(date.to_string()), lines)
    }

    /// The lines of a day's stream map; `None` if they are not there or not whole.
    pub fn day_lines(&self, date: Date) -> Option<Vec<u8>> {
        self.load_blob(&days(&self.inner.dir).join(date.to_string()))
    }

    fn save_blob(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        if self.inner.reads_only {
            return Err("the ledger was opened for reading only".to_owned());
        }
        blob::replace(&*self.inner.disk, path, bytes)
            .map_err(|error| format!("{}: {}", path.display(), error.io()))
    }

    fn load_blob(&self, path: &Path) -> Option<Vec<u8>> {
        match blob::load(&*self.inner.disk, path) {
            Ok(Blob::Whole(bytes)) => Some(bytes),
            Ok(Blob::Missing) => None,
            Ok(Blob::Damaged) => {
                tracing::warn!(file = %path.display(), "a derived file is damaged and is made again");
                None
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a derived file cannot be read");
                None
            }
        }
    }
}

impl DerivedStore for Ledger {
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.save_snapshot(name, bytes)
    }

    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.load_snapshot(name)
    }

    fn save_day_lines(&self, date: Date, lines: &[u8]) -> Result<(), String> {
        Self::save_day_lines(self, date, lines)
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
