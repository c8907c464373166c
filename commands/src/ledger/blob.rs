//! Small files that are replaced as a whole: the manifest, the latest checkpoint, marks, snapshots, a day's lines.
//!
//! A blob is one line, `daybook/blob/v1 <crc32c, 8 hex digits> <length>`, and then the bytes themselves, so that a
//! person can read it and a flipped or missing byte is noticed.
//! Invariant: a reader finds the bytes before or the bytes after, never a mixture. If the process dies at any
//! step, the old blob stands, or the new one does, or both names' contents are whole.
//! Not here: which blobs are ground and which are derived (their owners say so).

use super::disk::{Access, Disk, read_file};
use std::io;
use std::path::{Path, PathBuf};

/// First word of every blob.
const MAGIC: &str = "daybook/blob/v1";

/// What stands where a blob should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blob {
    /// Its bytes, as they were written.
    Whole(Vec<u8>),
    /// Not the bytes that were written.
    Damaged,
    /// No file.
    Missing,
}

/// How far a failed replacement may have come.
#[derive(Debug)]
pub enum ReplaceError {
    /// The old blob stands.
    Before(io::Error),
    /// The old or the new one stands, and which one may change with a loss of power.
    Unknown(io::Error),
}

impl ReplaceError {
    /// What the disk said.
    pub fn io(&self) -> &io::Error {
        match self {
            Self::Before(error) | Self::Unknown(error) => error,
        }
    }
}

/// Reads a blob.
pub fn load(disk: &dyn Disk, path: &Path) -> io::Result<Blob> {
    match read_file(disk, path) {
        Ok(bytes) => Ok(decode(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Blob::Missing),
        Err(error) => Err(error),
    }
}

/// Replaces a blob; it is durable when this returns `Ok`.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    let aside = aside(path);
    write_aside(disk, &aside, bytes).map_err(|error| {
        // What was begun is of no use; if it cannot be removed either, the next replacement does it.
        let _ = disk.remove(&aside);
        ReplaceError::Before(error)
    })?;
    disk.rename(&aside, path).map_err(ReplaceError::Unknown)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(folder).map_err(ReplaceError::Unknown)
}

/// Writes and syncs the new bytes under a name of their own.
fn write_aside(disk: &dyn Disk, aside: &Path, bytes: &[u8]) -> io::Result<()> {
    // A new file each time: one whose sync failed is never synced again.
    match disk.remove(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(aside, Access::CreateNew)?;
    file.write_at(&encode(bytes), 0)?;
    file.sync_all()
}

/// The name under which a blob is written before it gets its own.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn header(bytes: &[u8]) -> String {
    format!("{MAGIC} {:08x} {}\n", crc32c::crc32c(bytes), bytes.len())
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = header(bytes).into_bytes();
    out.extend_from_slice(bytes);
    out
}

fn decode(mut file: Vec<u8>) -> Blob {
    let Some(end) = file.iter().position(|b| *b == b'\n') else {
        return Blob::Damaged;
    };
    let (line, bytes) = file.split_at(end + 1);
    if line == header(bytes).as_bytes() {
        Blob::Whole(file.split_off(end + 1))
    } else {
        Blob::Damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::faults::FaultDisk;

    #[test]
    fn any_flipped_or_missing_byte_is_noticed() {
        let whole = encode(b"a few bytes\nof two lines");
        assert_eq!(
            decode(whole.clone()),
            Blob::Whole(b"a few bytes\nof two lines".to_vec())
        );
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(decode(flipped), Blob::Damaged, "byte {at} bit {bit}");
            }
            assert_eq!(decode(whole[..at].to_vec()), Blob::Damaged, "cut at {at}");
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(decode(longer), Blob::Damaged);
    }

    #[test]
    fn a_blob_is_replaced_whole() {
        let disk = FaultDisk::new();
        let path = Path::new("/ledger/blob");
        disk.create_dir(Path::new("/ledger")).unwrap();
        assert_eq!(load(&disk, path).unwrap(), Blob::Missing);
        for text in ["one", "", "three"] {
            replace(&disk, path, text.as_bytes()).unwrap();
            assert_eq!(load(&disk, path).unwrap(), Blob::Whole(text.into()));
        }
        assert_eq!(disk.list(Path::new("/ledger")).unwrap(), ["blob"]);
    }
}
