//! The tree's hashes in flat files: `hashes/<L>` holds those of perfect subtrees of height 8 × L, 32 bytes each.
//!
//! *Derived* from the entries. A tile is one read of 8 KiB, a leaf hash one of 32 bytes. Bytes beyond the ledger's
//! size mean nothing: they are what an append left that was not acknowledged, and are written over.
//! Not here: which hashes become complete (`domain::merkle`), when the files are synced (`mark`).

use super::disk::{Access, Disk, SharedFile};
use super::segment::{damaged, unavailable};
use domain::Hash;
use domain::merkle::{TILE_HEIGHT, TileNodes};
use domain::ports::ReadError;
use domain::position::Position;
use parking_lot::RwLock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a hash.
pub const HASH_BYTES: u64 = 32;
/// Tile levels that a tree of less than 2^63 leaves has.
pub const LEVELS: u8 = 8;

/// How many perfect subtrees of height 8 × `tile_level` a tree of `size` has.
pub const fn complete(size: u64, tile_level: u8) -> u64 {
    match size.checked_shr(tile_level as u32 * TILE_HEIGHT) {
        Some(complete) => complete,
        None => 0,
    }
}

/// The folder of the hash files.
pub fn folder(dir: &Path) -> PathBuf {
    dir.join("hashes")
}

/// Hashes from some size on, for a reader that may write nothing.
struct Memory {
    from: u64,
    nodes: TileNodes,
}

/// The hash files of a ledger.
pub struct HashFiles {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    levels: RwLock<Vec<SharedFile>>,
    memory: RwLock<Option<Memory>>,
}

impl HashFiles {
    /// Opens those that are there.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, access: Access) -> io::Result<Self> {
        let files = Self {
            disk,
            folder: folder(dir),
            levels: RwLock::new(Vec::new()),
            memory: RwLock::new(None),
        };
        files.reopen(access)?;
        Ok(files)
    }

    /// Opens the files again: one whose sync failed is never synced through the same handle.
    pub fn reopen(&self, access: Access) -> io::Result<()> {
        let mut levels = Vec::new();
        for level in 0..LEVELS {
            match self.disk.open(&self.path(level), access) {
                Ok(file) => levels.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        *self.levels.write() = levels;
        Ok(())
    }

    /// Keeps in memory what comes from this size on.
    pub fn keep_in_memory(&self, from: u64, nodes: TileNodes) {
        *self.memory.write() = Some(Memory { from, nodes });
    }

    fn path(&self, level: u8) -> PathBuf {
        self.folder.join(level.to_string())
    }

    /// Whether the files are long enough for a tree of `size`.
    pub fn reach(&self, size: u64) -> io::Result<bool> {
        for level in 0..LEVELS {
            let wanted = complete(size, level) * HASH_BYTES;
            if wanted > 0 {
                let file = self.levels.read().get(usize::from(level)).cloned();
                match file {
                    Some(file) if file.len()? >= wanted => {}
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Writes hashes of one level from the `index`-th on; `buffer` is scratch.
    pub fn write(&self, level: u8, index: u64, hashes: &[Hash], buffer: &mut Vec<u8>) -> io::Result<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        buffer.clear();
        buffer.reserve(hashes.len() * HASH_BYTES as usize);
        for hash in hashes {
            buffer.extend_from_slice(&hash.0);
        }
        self.file(level)?.write_at(buffer, index * HASH_BYTES)
    }

    /// The file of a level, made if it is not there.
    fn file(&self, level: u8) -> io::Result<SharedFile> {
        if let Some(file) = self.levels.read().get(usize::from(level)) {
            return Ok(file.clone());
        }
        let mut levels = self.levels.write();
        while levels.len() <= usize::from(level) {
            let path = self.path(levels.len() as u8);
            levels.push(self.disk.open(&path, Access::WriteOrCreate)?);
        }
        Ok(levels[usize::from(level)].clone())
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> io::Result<()> {
        let files = self.levels.read().clone();
        for file in files {
            file.sync_data()?;
        }
        self.disk.sync_dir(&self.folder)
    }

    /// Appends to `out` the hashes of `count` subtrees from the `index`-th on, in a tree of `size`.
    pub fn read(
        &self,
        size: u64,
        level: u8,
        index: u64,
        count: usize,
        out: &mut Vec<Hash>,
    ) -> Result<(), ReadError> {
        let height = u32::from(level) * TILE_HEIGHT;
        let end = index.saturating_add(count as u64);
        if end > complete(size, level) {
            let missing = index.max(complete(size, level));
            return Err(ReadError::Beyond(Position(
                missing.checked_shl(height).unwrap_or(u64::MAX),
            )));
        }
        let memory = self.memory.read();
        let in_files = match memory.as_ref() {
            Some(memory) => complete(memory.from, level),
            None => u64::MAX,
        };
        let from_files = end.min(in_files).saturating_sub(index) as usize;
        self.read_files(level, index, from_files, out)?;
        if let Some(memory) = memory.as_ref() {
            let start = index.max(in_files);
            if start < end {
                let range = (start - in_files) as usize..(end - in_files) as usize;
                let nodes = memory.nodes.levels.get(usize::from(level));
                let nodes = nodes.and_then(|nodes| nodes.get(range));
                out.extend_from_slice(nodes.ok_or_else(|| short(level, start))?);
            }
        }
        Ok(())
    }

    fn read_files(&self, level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), ReadError> {
        if count == 0 {
            return Ok(());
        }
        let file = self.levels.read().get(usize::from(level)).cloned();
        let file = file.ok_or_else(|| short(level, index))?;
        let mut bytes = vec![0; count * HASH_BYTES as usize];
        let read = file
            .read_at(&mut bytes, index * HASH_BYTES)
            .map_err(unavailable)?;
        if read < bytes.len() {
            return Err(short(level, index + read as u64 / HASH_BYTES));
        }
        out.extend(bytes.chunks_exact(HASH_BYTES as usize).map(|chunk| {
            let mut hash = Hash::default();
            hash.0.copy_from_slice(chunk);
            hash
        }));
        Ok(())
    }
}

fn short(level: u8, index: u64) -> ReadError {
    let position = index
        .checked_shl(u32::from(level) * TILE_HEIGHT)
        .unwrap_or(u64::MAX);
    damaged(
        position,
        &format!("hashes/{level} is too short; it is derived: start the service again to rebuild it"),
    )
}
