//! The latest signed checkpoint: in the ledger's folder, and once more outside it, the *anchor*.
//!
//! *Ground*: neither can be made from the entries. Invariants: a checkpoint is durable in both places before `swap`
//! returns `Ok`; the latest never shrinks; the anchor is the folder's checkpoint or, after a crash between the two
//! writes, the one before it. If the process dies within `swap`, a signature that never left it may be the latest;
//! it is of this ledger all the same, so nothing is lost by keeping it.
//! The anchor is what notices that the whole folder was put back from an older copy.
//! Not here: signing (`sequencer`), comparing with the tree at start (`open`).

use super::blob::{self, Blob};
use super::disk::Disk;
use domain::checkpoint::Checkpoint;
use domain::hash::sha256;
use domain::note::Note;
use domain::ports::{CheckpointStore, SwapError};
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its name in the ledger's folder.
pub const NAME: &str = "checkpoint";
/// Most bytes that the file of another process may have: a note with many cosignatures has a few kilobytes.
const NOTE_BYTES_MAX: u64 = 1 << 20;

/// A signed checkpoint's bytes and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The exact bytes of the note.
    pub note: Vec<u8>,
    /// Origin, size and root. The signature is not checked here: the file's checksum is, and the tree.
    pub says: Checkpoint,
}

impl Signed {
    /// Reads a note.
    pub fn parse(note: &[u8]) -> Option<Self> {
        let says = Checkpoint::parse(Note::parse(note).ok()?.text()).ok()?;
        Some(Self {
            note: note.to_vec(),
            says,
        })
    }

    /// The size it was signed for.
    pub fn size(&self) -> u64 {
        self.says.size().get()
    }
}

/// What stands in one of the two places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// A checkpoint.
    Signed(Signed),
    /// Nothing.
    Nothing,
    /// Something that is not what was written.
    Damaged,
}

impl Standing {
    /// Reads the checkpoint at a path.
    pub fn load(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(match blob::load(disk, path)? {
            Blob::Whole(note) => Signed::parse(&note).map_or(Self::Damaged, Self::Signed),
            Blob::Damaged => Self::Damaged,
            Blob::Missing => Self::Nothing,
        })
    }

    /// The checkpoint, if there is one.
    pub fn signed(&self) -> Option<&Signed> {
        match self {
            Self::Signed(signed) => Some(signed),
            Self::Nothing | Self::Damaged => None,
        }
    }
}

/// The anchor's file for an origin, in the folder of anchors.
pub fn anchor_path(folder: &Path, origin: &str) -> PathBuf {
    folder.join(format!("{}.checkpoint", sha256(origin.as_bytes()).to_hex()))
}

/// The checkpoint that a folder of anchors keeps of an origin, for those who compare a ledger with it.
///
/// # Errors
/// Where it cannot be read, or is not what was written (`InvalidData`).
pub fn anchored(folder: &Path, origin: &str) -> io::Result<Option<Vec<u8>>> {
    let path = anchor_path(folder, origin);
    match Standing::load(&super::disk::RealDisk, &path)? {
        Standing::Signed(signed) => Ok(Some(signed.note)),
        Standing::Nothing => Ok(None),
        Standing::Damaged => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is not what was written", path.display()),
        )),
    }
}

/// Puts a checkpoint into a folder of anchors, unless a larger one is there: a ledger that is opened then must cover it.
///
/// # Errors
/// Where it cannot be read or written, or what is there is damaged, or it is no signed checkpoint (`InvalidData`).
pub fn raise_anchor(folder: &Path, note: &[u8]) -> io::Result<()> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "it is no signed checkpoint");
    let signed = Signed::parse(note).ok_or_else(malformed)?;
    let there = anchored(folder, signed.says.origin())?.and_then(|note| Signed::parse(&note));
    if there.is_some_and(|there| there.size() >= signed.size()) {
        return Ok(());
    }
    replace(
        &super::disk::RealDisk,
        &anchor_path(folder, signed.says.origin()),
        note,
    )
}

/// The latest signed checkpoint of whoever signs for a ledger that another process writes: a file of its own, and an
/// anchor outside. Whether it is of the ledger, whoever signs has found out before.
pub struct CheckpointFile(CheckpointGuard);

impl CheckpointFile {
    /// Opens the one in `dir`, of that origin; the larger of the two places counts.
    ///
    /// # Errors
    /// Where one cannot be read, or is not what was written (`InvalidData`).
    pub fn open(dir: &Path, anchors: Option<PathBuf>, origin: &str) -> io::Result<Self> {
        let inside = Self::read(dir)?.and_then(|note| Signed::parse(&note));
        let outside = match &anchors {
            Some(folder) => anchored(folder, origin)?.and_then(|note| Signed::parse(&note)),
            None => None,
        };
        let latest = [inside, outside].into_iter().flatten().max_by_key(Signed::size);
        let disk = Arc::new(super::disk::RealDisk);
        Ok(Self(CheckpointGuard::new(disk, dir, anchors, latest)))
    }

    /// The checkpoint in such a directory, for who only reads it.
    ///
    /// # Errors
    /// As [`CheckpointFile::open`].
    pub fn read(dir: &Path) -> io::Result<Option<Vec<u8>>> {
        let path = dir.join(NAME);
        let damaged = || {
            let words = format!("{} is not what was written", path.display());
            Err(io::Error::new(io::ErrorKind::InvalidData, words))
        };
        // Another process may have written it.
        match std::fs::metadata(&path) {
            Ok(there) if !there.is_file() || there.len() > NOTE_BYTES_MAX => return damaged(),
            _ => {}
        }
        match Standing::load(&super::disk::RealDisk, &path)? {
            Standing::Signed(signed) => Ok(Some(signed.note)),
            Standing::Nothing => Ok(None),
            Standing::Damaged => damaged(),
        }
    }
}

impl CheckpointStore for CheckpointFile {
    fn latest(&self) -> Result<Option<Vec<u8>>, String> {
        self.0.latest()
    }

    fn swap(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), SwapError> {
        self.0.swap(expected, new, |_| Ok(()))
    }
}

enum Latest {
    Known(Option<Signed>),
    /// A write failed: what is on disk decides.
    Unread,
}

/// Keeps the latest signed checkpoint.
pub struct CheckpointGuard {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    anchors: Option<PathBuf>,
    latest: Mutex<Latest>,
}

impl CheckpointGuard {
    /// With what was found at opening.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, anchors: Option<PathBuf>, latest: Option<Signed>) -> Self {
        Self {
            disk,
            path: dir.join(NAME),
            anchors,
            latest: Mutex::new(Latest::Known(latest)),
        }
    }

    /// The latest, read again from disk where a write failed.
    fn read<'a>(&self, latest: &'a mut Latest) -> Result<&'a Option<Signed>, String> {
        if let Latest::Unread = latest {
            *latest = match Standing::load(&*self.disk, &self.path).map_err(|error| error.to_string())? {
                Standing::Signed(signed) => Latest::Known(Some(signed)),
                Standing::Nothing => Latest::Known(None),
                Standing::Damaged => return Err(format!("{} is damaged", self.path.display())),
            };
        }
        match latest {
            Latest::Known(latest) => Ok(latest),
            Latest::Unread => Err("the latest checkpoint was not read".to_owned()),
        }
    }

    /// The exact bytes of the latest.
    pub fn latest(&self) -> Result<Option<Vec<u8>>, String> {
        let mut latest = self.latest.lock();
        Ok(self.read(&mut latest)?.as_ref().map(|signed| signed.note.clone()))
    }

    /// Replaces `expected` by `new`, if `fits` says that it is of this ledger.
    pub fn swap(
        &self,
        expected: Option<&[u8]>,
        new: &[u8],
        fits: impl FnOnce(&Checkpoint) -> Result<(), String>,
    ) -> Result<(), SwapError> {
        let mut latest = self.latest.lock();
        let old = self.read(&mut latest).map_err(SwapError::Failed)?;
        if old.as_ref().map(|signed| signed.note.as_slice()) != expected {
            return Err(SwapError::Stale);
        }
        let new =
            Signed::parse(new).ok_or_else(|| SwapError::Failed("it is no signed checkpoint".to_owned()))?;
        if let Some(old) = old
            && (old.says.origin() != new.says.origin() || old.size() > new.size())
        {
            let (from, to) = (old.size(), new.size());
            let reason = format!("a checkpoint of size {to} cannot follow one of size {from}");
            return Err(SwapError::Failed(reason));
        }
        fits(&new.says).map_err(SwapError::Failed)?;
        *latest = Latest::Unread;
        self.store(&new)
            .map_err(|error| SwapError::Failed(error.to_string()))?;
        *latest = Latest::Known(Some(new));
        Ok(())
    }

    /// Writes a checkpoint to both places, the ledger's folder first: an anchor that were ahead would look like a
    /// ledger that was put back.
    pub fn store(&self, signed: &Signed) -> io::Result<()> {
        replace(&*self.disk, &self.path, &signed.note)?;
        match &self.anchors {
            Some(folder) => {
                let path = anchor_path(folder, signed.says.origin());
                replace(&*self.disk, &path, &signed.note)
            }
            None => Ok(()),
        }
    }
}

fn replace(disk: &dyn Disk, path: &Path, note: &[u8]) -> io::Result<()> {
    blob::replace(disk, path, note)
        .map_err(|error| io::Error::new(error.io().kind(), format!("{}: {}", path.display(), error.io())))
}
