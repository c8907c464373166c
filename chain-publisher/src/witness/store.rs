//! Where a witness keeps the latest checkpoint of each log, and the proofs of its rotations: one file each, in one
//! directory.
//!
//! Invariants: a checkpoint is replaced whole or not at all, and is durable when `save` returns `Ok`; one process holds
//! the directory. File names are the SHA-256 of the origin, so an origin cannot name another file.
//! Not here: what a checkpoint is worth (the file above).

use crate::durable::{replace, sync_folder};
use domain::Position;
use domain::hash::sha256;
use domain::note::NOTE_BYTES_MAX;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The file that one process holds.
const LOCK: &str = "lock";

/// Keeps one checkpoint for each origin.
///
/// *Durability*: what was saved is there after any crash. *Ordering*: the caller saves one origin at a time.
/// *Idempotency*: saving the same again changes nothing.
pub trait WitnessStore: Send + Sync {
    /// What was saved last; `None` if nothing ever was.
    ///
    /// # Errors
    /// What the system says.
    fn load(&self, origin: &str) -> io::Result<Option<Vec<u8>>>;

    /// Replaces it.
    ///
    /// # Errors
    /// What the system says; the old or the new is there then, and the new perhaps not for long.
    fn save(&self, origin: &str, note: &[u8]) -> io::Result<()>;

    /// The proofs of rotations that were kept of it, by rising position.
    ///
    /// # Errors
    /// What the system says.
    fn rotations(&self, origin: &str) -> io::Result<Vec<Vec<u8>>>;

    /// Keeps the proof of the rotation at that position.
    ///
    /// # Errors
    /// What the system says; it may be there then.
    fn save_rotation(&self, origin: &str, position: Position, proof: &[u8]) -> io::Result<()>;
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds it.
    #[error("another witness runs on {}: one process a directory", .0.display())]
    Held(PathBuf),
    /// The disk.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// One file a log.
#[derive(Debug)]
pub struct FileStore {
    dir: PathBuf,
    /// Held as long as this lives; the kernel frees it when the process dies, however it dies.
    _lock: File,
}

impl FileStore {
    /// Takes a directory that is there.
    ///
    /// # Errors
    /// [`StoreError`]; `Held` while another process has it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::Io { path, error }
        };
        let path = dir.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(&path).map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Held(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
        }
        // What the process before renamed and did not live to sync is durable before it is believed.
        sync_folder(&path).map_err(at(dir))?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// Whether any log was ever kept here.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn is_empty(dir: &Path) -> Result<bool, StoreError> {
        let at = |error| StoreError::Io {
            path: dir.to_owned(),
            error,
        };
        for file in fs::read_dir(dir).map_err(at)? {
            if file
                .map_err(at)?
                .path()
                .extension()
                .is_some_and(|e| e == EXTENSION)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn path(&self, origin: &str) -> PathBuf {
        let name = sha256(origin.as_bytes()).to_hex();
        self.dir.join(format!("{name}.{EXTENSION}"))
    }
}

/// How the files of logs end.
const EXTENSION: &str = "checkpoint";
/// How the proofs of rotations end.
const ROTATION: &str = "rotation";
/// Bytes of a proof: what a request may bring.
const PROOF_BYTES_MAX: u64 = 256 << 10;

impl WitnessStore for FileStore {
    fn load(&self, origin: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(origin)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        // One byte more than a note may have is enough to be refused as none.
        file.take(NOTE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn save(&self, origin: &str, note: &[u8]) -> io::Result<()> {
        replace(&self.path(origin), note)
    }

    fn rotations(&self, origin: &str) -> io::Result<Vec<Vec<u8>>> {
        let prefix = format!("{}-", sha256(origin.as_bytes()).to_hex());
        let mut paths = Vec::new();
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(&prefix))
                && path.extension().is_some_and(|end| end == ROTATION)
            {
                paths.push(path);
            }
        }
        // Their positions have one width, so the order of names is theirs.
        paths.sort();
        let read = |path: &PathBuf| {
            let mut bytes = Vec::new();
            File::open(path)?
                .take(PROOF_BYTES_MAX + 1)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        paths.iter().map(read).collect()
    }

    fn save_rotation(&self, origin: &str, position: Position, proof: &[u8]) -> io::Result<()> {
        let name = format!(
            "{}-{:020}.{ROTATION}",
            sha256(origin.as_bytes()).to_hex(),
            position.get()
        );
        replace(&self.dir.join(name), proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_there_for_the_next_process_and_for_one_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = FileStore::open(dir.path()).expect("free");
        assert!(FileStore::is_empty(dir.path()).expect("readable"));
        assert_eq!(store.load("a.example").expect("readable"), None);
        store.save("a.example", b"one").expect("saved");
        store.save("a.example", b"two").expect("saved");
        store.save("../b", b"three").expect("saved");
        assert!(matches!(FileStore::open(dir.path()), Err(StoreError::Held(_))));
        assert!(store.rotations("a.example").expect("readable").is_empty());
        store
            .save_rotation("a.example", Position(100), b"later")
            .expect("saved");
        store
            .save_rotation("a.example", Position(9), b"earlier")
            .expect("saved");
        store
            .save_rotation("b.example", Position(1), b"of another")
            .expect("saved");
        drop(store);
        let store = FileStore::open(dir.path()).expect("free again");
        let kept = store.rotations("a.example").expect("readable");
        assert_eq!(kept, [b"earlier".to_vec(), b"later".to_vec()]);
        assert_eq!(
            store.load("a.example").expect("readable").as_deref(),
            Some(&b"two"[..])
        );
        assert_eq!(
            store.load("../b").expect("readable").as_deref(),
            Some(&b"three"[..])
        );
        assert!(!FileStore::is_empty(dir.path()).expect("readable"));
        let files = fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(
            files, 6,
            "two logs, three rotations and the lock, all in the directory"
        );
    }
}
