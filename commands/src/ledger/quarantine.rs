//! What is cut or put aside is kept: torn commits, and files with entries that the manifest does not name.
//!
//! *Evidence*, never read again as part of the ledger. Invariant: bytes are durable here before they go there.
//! If the process dies between the two, the next start does the same again under the same name.
//! Not here: what may be cut at all (`recover`).

use super::disk::{Access, Disk, DiskFile, is_full};
use super::error::{OpenError, io_error};
use super::frame::{Found, FrameReader};
use super::manifest::{Manifest, SegmentRecord, SegmentState};
use super::segment::{self, SEGMENT_HEAD_BYTES};
use domain::Hash;
use domain::hash::sha256;
use domain::position::Position;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes that were cut because a commit was torn; they are kept in `quarantine/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailCut {
    /// The size of the ledger behind which they stood.
    pub position: Position,
    /// How many.
    pub bytes: u64,
    /// Their hash.
    pub sha256: Hash,
}

impl TailCut {
    /// The name of the file that keeps them.
    pub(super) fn file_name(&self) -> String {
        format!("{}-{}.tail", self.position, self.sha256.to_hex())
    }

    /// Position and hash that a file's name says.
    pub(super) fn parse_file_name(name: &str) -> Option<(u64, Hash)> {
        let (position, hex) = name.strip_suffix(".tail")?.split_once('-')?;
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut hash = Hash::default();
        for (byte, digits) in hash.0.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some((position.parse().ok()?, hash))
    }
}

/// The folder of what was cut.
pub(super) fn folder(dir: &Path) -> PathBuf {
    dir.join("quarantine")
}

/// Copies bytes of a segment to `quarantine/`, durably, under a name made of position and hash; `None` for zeros.
pub(super) fn keep(
    disk: &dyn Disk,
    dir: &Path,
    file: &dyn DiskFile,
    position: u64,
    range: Range<u64>,
) -> io::Result<Option<TailCut>> {
    let mut bytes = vec![0; (range.end.saturating_sub(range.start)) as usize];
    let read = file.read_at(&mut bytes, range.start)?;
    bytes.truncate(read);
    bytes.truncate(bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1));
    if bytes.is_empty() {
        return Ok(None);
    }
    let cut = TailCut {
        position: Position(position),
        bytes: bytes.len() as u64,
        sha256: sha256(&bytes),
    };
    let folder = folder(dir);
    let path = folder.join(cut.file_name());
    match disk.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copy = disk.open(&path, Access::CreateNew)?;
    let written = copy.write_at(&bytes, 0).and_then(|()| copy.sync_all());
    if let Err(error) = written {
        if is_full(&error) {
            let _ = disk.remove(&path);
        }
        return Err(error);
    }
    disk.sync_dir(&folder)?;
    Ok(Some(cut))
}

/// What was cut at this size: no entry came after it, so no entry says so yet.
pub(super) fn unrecorded(disk: &dyn Disk, dir: &Path, size: u64) -> io::Result<Vec<TailCut>> {
    let folder = folder(dir);
    let mut cuts = Vec::new();
    for name in disk.list(&folder)? {
        let Some((position, sha256)) = TailCut::parse_file_name(&name) else {
            continue;
        };
        if position == size {
            cuts.push(TailCut {
                position: Position(position),
                bytes: disk.open(&folder.join(&name), Access::Read)?.len()?,
                sha256,
            });
        }
    }
    Ok(cuts)
}

/// Whether there is anything that a new ledger would lose.
pub(super) fn has_entries(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    for name in disk.list(&segment::folder(dir))? {
        if name.ends_with(".sealed") || holds_frames(disk, &segment::folder(dir).join(&name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file is a segment with at least one whole frame.
fn holds_frames(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    if path.extension().is_none_or(|extension| extension != "seg") {
        return Ok(false);
    }
    let file = disk.open(path, Access::Read)?;
    let mut reader = FrameReader::new(file, SEGMENT_HEAD_BYTES as u64, u64::MAX)?;
    Ok(matches!(reader.step()?, Found::Frame(_)))
}

/// Takes away what the manifest does not name: what was being made or removed when the process died. Anything that
/// holds entries and is not known to stand elsewhere is kept in `quarantine/`.
pub(super) fn remove_strangers(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let segments = segment::folder(dir);
    let names = disk.list(&segments).map_err(io_error("looking for segments"))?;
    let mut changed = false;
    for name in names {
        let path = segments.join(&name);
        let number = name.get(..8).and_then(|digits| digits.parse::<u32>().ok());
        let record = manifest.segments.iter().find(|s| Some(s.number) == number);
        if record.is_some_and(|record| names_file(record, &name)) {
            continue;
        }
        changed = true;
        let keep = record.is_none()
            && (name.ends_with(".sealed")
                || holds_frames(disk, &path).map_err(io_error("reading a segment"))?);
        let gone = match keep {
            true => disk.rename(&path, &folder(dir).join(&name)),
            false => disk.remove(&path),
        };
        gone.map_err(io_error("putting a file aside that is not part of the ledger"))?;
    }
    if changed {
        disk.sync_dir(&folder(dir))
            .and_then(|()| disk.sync_dir(&segments))
            .map_err(io_error("putting files aside that are not part of the ledger"))?;
    }
    Ok(())
}

fn names_file(record: &SegmentRecord, name: &str) -> bool {
    let rest = name.get(9..).unwrap_or_default();
    match &record.state {
        SegmentState::Open | SegmentState::Full { .. } => rest == "seg" || rest == "idx",
        SegmentState::Sealed { files, .. } => rest
            .strip_suffix(".sealed")
            .is_some_and(|class| files.iter().any(|file| file.class == class)),
    }
}
