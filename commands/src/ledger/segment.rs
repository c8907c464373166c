//! A segment whose entries stand in frames, and its index: 8 bytes a position.
//!
//! The segment is *ground*: a head of 64 bytes (magic `DBSEG001`, number, first position, root before it, crc32c)
//! and then frames. The index is *derived*: for each position the entry's offset (32 bits), its length (16) and the
//! low 16 bits of its crc32c, so that a reader never hands out bytes that are plainly not the entry. Where a slot
//! does not fit, the frames are walked instead: a damaged index costs time, not answers.
//! Not here: appending (`writer`), checking frames against the tree (`recover`), sealed segments (`sealed`).

use super::disk::{Access, Disk, SharedFile, read_exact_at};
use super::frame::{Found, FrameReader, HEAD_BYTES};
use domain::Hash;
use domain::ports::{EntryBlock, ReadError};
use domain::position::Position;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes before the first frame.
pub const SEGMENT_HEAD_BYTES: usize = 64;
/// Bytes of an index slot.
pub const SLOT_BYTES: u64 = 8;
/// Slots that are read at once.
const SLOTS_MAX: usize = 1024;
const MAGIC: &[u8; 8] = b"DBSEG001";

/// The folder of segments.
pub fn folder(dir: &Path) -> PathBuf {
    dir.join("segments")
}

/// A segment's frames.
pub fn frames_path(dir: &Path, number: u32) -> PathBuf {
    folder(dir).join(format!("{number:08}.seg"))
}

/// A segment's index.
pub fn index_path(dir: &Path, number: u32) -> PathBuf {
    folder(dir).join(format!("{number:08}.idx"))
}

/// The first bytes of a segment.
pub fn head(number: u32, first: u64, root_before: &Hash) -> [u8; SEGMENT_HEAD_BYTES] {
    let mut head = [0; SEGMENT_HEAD_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&number.to_le_bytes());
    head[16..24].copy_from_slice(&first.to_le_bytes());
    head[24..56].copy_from_slice(&root_before.0);
    let crc = crc32c::crc32c(&head[..56]);
    head[56..60].copy_from_slice(&crc.to_le_bytes());
    head
}

/// An index slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub u64);

impl Slot {
    /// Of the entry that begins at `offset`.
    pub fn new(offset: u64, entry: &[u8]) -> Self {
        let check = crc32c::crc32c(entry) & 0xFFFF;
        Self(offset & 0xFFFF_FFFF | (entry.len() as u64) << 32 | u64::from(check) << 48)
    }

    fn offset(self) -> u64 {
        self.0 & 0xFFFF_FFFF
    }

    fn len(self) -> usize {
        (self.0 >> 32 & 0xFFFF) as usize
    }

    fn fits(self, entry: &[u8]) -> bool {
        u64::from(crc32c::crc32c(entry) & 0xFFFF) == self.0 >> 48
    }

    fn is_plausible(self) -> bool {
        self.len() > 0 && self.offset() >= (SEGMENT_HEAD_BYTES + HEAD_BYTES) as u64
    }
}

/// Where the slots are: in a file, and from some position on in memory (a reader that may write nothing).
pub struct Index {
    file: Option<SharedFile>,
    memory_from: u64,
    memory: Vec<Slot>,
}

impl Index {
    /// All in a file.
    pub fn in_file(file: SharedFile) -> Self {
        Self {
            file: Some(file),
            memory_from: u64::MAX,
            memory: Vec::new(),
        }
    }

    /// From `memory_from` on in memory, before it in a file.
    pub fn with_memory(file: Option<SharedFile>, memory_from: u64, memory: Vec<Slot>) -> Self {
        Self {
            file,
            memory_from,
            memory,
        }
    }

    /// The file, if there is one.
    pub fn file(&self) -> Option<&SharedFile> {
        self.file.as_ref()
    }

    /// Slots of up to `count` positions from `from` on, `first` being the segment's first position.
    fn slots(&self, first: u64, from: u64, count: usize, out: &mut Vec<Slot>) -> io::Result<()> {
        out.clear();
        if from >= self.memory_from {
            let at = (from - self.memory_from) as usize;
            let end = (at + count).min(self.memory.len());
            out.extend_from_slice(self.memory.get(at..end).unwrap_or(&[]));
            return Ok(());
        }
        let count = count.min(usize::try_from(self.memory_from - from).unwrap_or(usize::MAX));
        if let Some(file) = &self.file {
            let mut bytes = vec![0; count * SLOT_BYTES as usize];
            let read = file.read_at(&mut bytes, (from - first) * SLOT_BYTES)?;
            out.extend(bytes[..read].chunks_exact(SLOT_BYTES as usize).map(|b| {
                Slot(u64::from_le_bytes([
                    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
                ]))
            }));
        }
        Ok(())
    }
}

/// A segment in frames, opened for reading.
pub struct PlainSegment {
    /// Names its files.
    pub number: u32,
    /// Its first position.
    pub first: u64,
    /// Its frames.
    pub file: SharedFile,
    /// Where its entries are.
    pub index: Index,
}

impl PlainSegment {
    /// Makes an empty segment, its head durable; its name is durable after the folder was synced.
    pub fn create(
        disk: &dyn Disk,
        dir: &Path,
        number: u32,
        first: u64,
        root_before: &Hash,
    ) -> io::Result<Self> {
        for path in [frames_path(dir, number), index_path(dir, number)] {
            match disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = disk.open(&frames_path(dir, number), Access::CreateNew)?;
        file.write_at(&head(number, first, root_before), 0)?;
        file.sync_all()?;
        let index = disk.open(&index_path(dir, number), Access::CreateNew)?;
        disk.sync_dir(&folder(dir))?;
        Ok(Self {
            number,
            first,
            file,
            index: Index::in_file(index),
        })
    }

    /// Takes an unused segment's files away, as far as that works.
    pub fn discard(disk: &dyn Disk, dir: &Path, number: u32) {
        let _ = disk.remove(&frames_path(dir, number));
        let _ = disk.remove(&index_path(dir, number));
    }

    /// Appends up to `count` entries from `from` on to `out`, and no more once it holds `bytes_max` bytes; at least
    /// one. The caller knows that they are there.
    pub fn read(
        &self,
        from: u64,
        count: usize,
        bytes_max: usize,
        out: &mut EntryBlock,
    ) -> Result<(), ReadError> {
        let mut slots = Vec::new();
        let mut span = Vec::new();
        let mut next = from;
        let end = from + count as u64;
        while next < end && (next == from || out.bytes().len() < bytes_max) {
            let wanted = SLOTS_MAX.min((end - next) as usize);
            self.index
                .slots(self.first, next, wanted, &mut slots)
                .map_err(unavailable)?;
            let room = bytes_max.saturating_sub(out.bytes().len());
            let taken = self.read_span(next, &slots, room, &mut span, out)?;
            if taken == 0 {
                let entry = self.walk_to(next)?;
                out.push(Position(next), &entry);
                next += 1;
            }
            next += taken as u64;
        }
        Ok(())
    }

    /// Reads what `slots` name with one read, stops before the first that does not fit; how many were taken.
    fn read_span(
        &self,
        from: u64,
        slots: &[Slot],
        room: usize,
        span: &mut Vec<u8>,
        out: &mut EntryBlock,
    ) -> Result<usize, ReadError> {
        let (mut bytes, mut end, mut count) = (0, 0, 0);
        for slot in slots {
            if !slot.is_plausible() || slot.offset() < end || (count > 0 && bytes >= room) {
                break;
            }
            bytes += slot.len();
            end = slot.offset() + slot.len() as u64;
            count += 1;
        }
        let Some(start) = slots.first().filter(|_| count > 0).map(|slot| slot.offset()) else {
            return Ok(0);
        };
        // Entries of neighbouring frames have little between them; a gap that is larger is a slot that lies.
        if end - start > 2 * bytes as u64 + (count * HEAD_BYTES * 2) as u64 {
            count = 1;
            end = start + slots[0].len() as u64;
        }
        out.reserve(count, bytes);
        span.resize((end - start) as usize, 0);
        let read = self.file.read_at(span, start).map_err(unavailable)?;
        for (i, slot) in slots[..count].iter().enumerate() {
            let at = (slot.offset() - start) as usize;
            let entry = span[..read].get(at..at + slot.len());
            match entry.filter(|entry| slot.fits(entry)) {
                Some(entry) => out.push(Position(from + i as u64), entry),
                None => return Ok(i),
            }
        }
        Ok(count)
    }

    /// The entry, found without the index.
    fn walk_to(&self, position: u64) -> Result<Vec<u8>, ReadError> {
        let mut reader =
            FrameReader::new(self.file.clone(), SEGMENT_HEAD_BYTES as u64, u64::MAX).map_err(unavailable)?;
        let mut expected = self.first;
        loop {
            match reader.step().map_err(unavailable)? {
                Found::Frame(frame) if frame.head.first == expected => {
                    if frame.size_after() > position {
                        let entry = frame.entries().nth((position - expected) as usize);
                        return entry
                            .map(|(_, entry)| entry.to_vec())
                            .ok_or_else(|| damaged(position, "its frame is too short"));
                    }
                    expected = frame.size_after();
                }
                Found::Frame(_) | Found::End | Found::Bad => {
                    return Err(damaged(
                        expected,
                        &format!("the frame in segment {} is not whole", self.number),
                    ));
                }
            }
        }
    }

    /// Whether the head is the one this segment was made with.
    pub fn head_is_whole(&self, root_before: &Hash) -> io::Result<bool> {
        let mut found = [0; SEGMENT_HEAD_BYTES];
        match read_exact_at(&*self.file, &mut found, 0) {
            Ok(()) => Ok(found == head(self.number, self.first, root_before)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The store does not answer.
pub fn unavailable(error: io::Error) -> ReadError {
    ReadError::Unavailable(error.to_string())
}

/// What is stored is not what was written.
pub fn damaged(position: u64, reason: &str) -> ReadError {
    ReadError::Corrupt {
        position: Position(position),
        reason: reason.to_owned(),
    }
}
