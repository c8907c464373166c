//! The machine's own limits, on the same bytes: hashing, appending with fdatasync, and SQLite without hashing.
//!
//! The one place outside `state` where this room speaks SQL: a yardstick, not a store.
//! Not here: HTTP (`bare`), the ledger (`alone`).

use super::{BenchError, entries};
use domain::Timestamp;
use domain::hash::{leaf_hash, sha256};
use domain::merkle::{Frontier, TileNodes};
use domain::ports::EntryBlock;
use rusqlite::{Connection, params};
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Entries that are measured over and over: enough to leave the processor's caches.
const ENTRIES: u64 = 20_000;

/// A rate over a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Things done.
    pub count: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// How long it took, seconds.
    pub seconds: f64,
}

impl Pace {
    /// Things a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// Megabytes a second.
    pub fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }
}

/// What the limits are measured on.
pub struct Sample {
    block: EntryBlock,
    now: Timestamp,
}

impl Sample {
    /// Entries as the ledger would write them now.
    pub fn new(now: Timestamp) -> Self {
        Self {
            block: entries::block(ENTRIES, now),
            now,
        }
    }

    /// Bytes of an entry, on average.
    pub fn entry_bytes(&self) -> u64 {
        self.block.bytes().len() as u64 / ENTRIES
    }

    /// SHA-256 of each entry.
    pub fn sha256(&self, budget: Duration) -> Pace {
        self.over(budget, |entry| {
            black_box(sha256(entry));
        })
    }

    /// SHA-256 of each entry and of as many nodes: what a tree cannot do without.
    pub fn hashes_of_a_tree(&self, budget: Duration) -> Pace {
        let mut node = [7u8; 65];
        self.over(budget, |entry| {
            let leaf = leaf_hash(entry);
            node[1..33].copy_from_slice(&leaf.0);
            black_box(sha256(&node));
        })
    }

    /// Leaf and tree, as the ledger does it.
    pub fn tree(&self, budget: Duration) -> Pace {
        let mut frontier = Frontier::new();
        let mut nodes = TileNodes::new();
        let pace = self.over(budget, |entry| {
            frontier.push(leaf_hash(entry), &mut nodes);
            if frontier.size().get().is_multiple_of(ENTRIES) {
                nodes.clear();
            }
        });
        black_box(frontier.root());
        pace
    }

    fn forever(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.block.len())
            .cycle()
            .filter_map(|n| Some(self.block.get(n)?.1))
    }

    fn over(&self, budget: Duration, mut each: impl FnMut(&[u8])) -> Pace {
        let began = Instant::now();
        let (mut count, mut bytes) = (0, 0);
        while began.elapsed() < budget {
            for (_, entry) in self.block.iter() {
                each(entry);
            }
            count += ENTRIES;
            bytes += self.block.bytes().len() as u64;
        }
        Pace {
            count,
            bytes,
            seconds: began.elapsed().as_secs_f64(),
        }
    }

    /// Appends to one file with an fdatasync after each `group` entries; with leaf and tree where `hashed`.
    ///
    /// # Errors
    /// [`BenchError`] where the file cannot be written.
    pub fn append(
        &self,
        dir: &Path,
        group: usize,
        work: AppendWork,
        budget: Duration,
    ) -> Result<Pace, BenchError> {
        let path = dir.join("append.log");
        let mut file = File::create(&path)?;
        let mut frontier = Frontier::new();
        let mut nodes = TileNodes::new();
        let mut bytes = Vec::new();
        let began = Instant::now();
        let (mut count, mut total) = (0, 0);
        let mut entries = self.forever();
        while began.elapsed() < budget {
            bytes.clear();
            nodes.clear();
            for entry in entries.by_ref().take(group) {
                bytes.extend_from_slice(entry);
                if work == AppendWork::WithTree {
                    frontier.push(leaf_hash(entry), &mut nodes);
                }
            }
            file.write_all(&bytes)?;
            file.sync_data()?;
            count += group as u64;
            total += bytes.len() as u64;
        }
        let seconds = began.elapsed().as_secs_f64();
        drop(file);
        std::fs::remove_file(&path)?;
        Ok(Pace {
            count,
            bytes: total,
            seconds,
        })
    }

    /// Inserts the same readings into SQLite, a transaction each `group` of them, synced like the ledger.
    ///
    /// # Errors
    /// [`BenchError`] where the database cannot be written.
    pub fn sqlite(&self, dir: &Path, group: usize, budget: Duration) -> Result<Pace, BenchError> {
        let path = dir.join("plain.sqlite");
        let mut db = Connection::open(&path)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch(
            "CREATE TABLE readings (device TEXT NOT NULL, measured_at INTEGER NOT NULL, value REAL NOT NULL,
                 received_at INTEGER NOT NULL, entry BLOB NOT NULL,
                 PRIMARY KEY (device, measured_at)) WITHOUT ROWID",
        )?;
        let mut entries = self.forever();
        let began = Instant::now();
        let (mut count, mut bytes) = (0u64, 0);
        while began.elapsed() < budget {
            let transaction = db.transaction()?;
            {
                let mut insert =
                    transaction.prepare_cached("INSERT INTO readings VALUES (?1, ?2, ?3, ?4, ?5)")?;
                for entry in entries.by_ref().take(group) {
                    let device = format!("dev_bench{:04}aaaaaaaaaaaaaaaaa", count % 1000);
                    let at = self.now.as_micros() + count as i64;
                    insert.execute(params![device, at, 4.2, self.now.as_micros(), entry])?;
                    count += 1;
                    bytes += entry.len() as u64;
                }
            }
            transaction.commit()?;
        }
        Ok(Pace {
            count,
            bytes,
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

/// What is done with entries before they are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendWork {
    /// Nothing.
    Bytes,
    /// Leaf and tree are hashed.
    WithTree,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_counts_what_it_did() {
        let dir = tempfile::tempdir().expect("a directory");
        let sample = Sample::new(Timestamp::from_micros(1_780_000_000_000_000).expect("in range"));
        assert!(
            (400..800).contains(&sample.entry_bytes()),
            "{}",
            sample.entry_bytes()
        );
        let budget = Duration::from_millis(5);
        for pace in [
            sample.sha256(budget),
            sample.hashes_of_a_tree(budget),
            sample.tree(budget),
        ] {
            assert!(pace.count > 0 && pace.bytes > pace.count * 400 && pace.rate() > 0.0);
        }
        let appended = sample
            .append(dir.path(), 100, AppendWork::WithTree, budget)
            .expect("appended");
        assert!(appended.count.is_multiple_of(100) && appended.count > 0);
        let inserted = sample.sqlite(dir.path(), 100, budget).expect("inserted");
        assert!(inserted.count.is_multiple_of(100) && inserted.megabytes() > 0.0);
    }
}
