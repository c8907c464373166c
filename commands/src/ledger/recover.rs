//! From files to a ledger: at start, for a reader beside a running service, and after a failed write.
//!
//! Whatever the mark covers is taken as it is; every frame behind it is read, its leaf hashes and its root computed
//! again, and the derived files written over. Where the mark, the hashes or the frames contradict one another,
//! everything derived is rebuilt from the first entry.
//! Invariants: a frame is believed only if its crc and its root are right; nothing is cut here, only found (`tail`);
//! what is damaged at or below the signed size, or has whole frames behind it, is no torn write and stops the start.
//! If the process dies anywhere in here, the next start does the same again: only derived files are written.
//! Not here: from where (`start`), the lock, the anchor, cutting (`open`), new segments (`writer`).

use super::cache::SealedPart;
use super::disk::SharedFile;
use super::error::{OpenError, corrupt, io_error};
use super::frame::{Found, Frame, FrameReader};
use super::hashes::complete;
use super::manifest::{SealedRecord, SegmentRecord, SegmentState};
use super::sealed::SealedFile;
use super::segment::{Index, PlainSegment, SEGMENT_HEAD_BYTES, SLOT_BYTES, Slot};
use super::start::{DerivedTo, Source};
use super::view::{Part, frontier_at};
use domain::Hash;
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, TileNodes};
use domain::ports::{EntryBlock, ReadError};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Derived hashes and slots are written in pieces of this many entries.
const FLUSH_ENTRIES: usize = 65_536;
/// Entries of sealed segments are read in pieces of this size.
const READ_BYTES: usize = 8 << 20;

/// A ledger as its files say it is.
pub struct Restored {
    /// Its segments.
    pub parts: Vec<Part>,
    /// The tree.
    pub frontier: Frontier,
    /// The last frame of the open segment, if it has one.
    pub last_frame: Option<u64>,
    /// Where the next frame goes in the open segment.
    pub end: u64,
    /// Bytes behind the last whole frame that are not zeros.
    pub tail: Option<Range<u64>>,
    /// Entries that were hashed again.
    pub rechecked: u64,
    /// Everything derived was rebuilt from the first entry.
    pub rebuilt: bool,
}

fn from_read(error: ReadError) -> OpenError {
    match error {
        ReadError::Corrupt { position, reason } => OpenError::Corrupt { position, reason },
        ReadError::Beyond(position) => corrupt(position.0, "it is missing".to_owned()),
        ReadError::Unavailable(reason) => io_error("reading the ledger")(io::Error::other(reason)),
    }
}

/// Reads a ledger's files.
pub fn restore(source: &Source<'_>) -> Result<Restored, OpenError> {
    let start = source.starting_point()?;
    let frontier = match start.size {
        0 => Frontier::new(),
        size => frontier_at(source.hashes, size).map_err(|error| corrupt(size, error.to_string()))?,
    };
    let mut walk = Walk {
        source,
        frontier,
        derived: Derived::new(start.size),
        last_frame: start.last_frame,
        end: start.offset,
        tail: None,
    };
    let mut parts = Vec::new();
    for (i, record) in source.manifest.segments.iter().enumerate() {
        let part = if i < start.segment {
            walk.skip(record)?
        } else {
            let (offset, last_frame) = match i == start.segment {
                true => (start.offset, start.last_frame),
                false => (SEGMENT_HEAD_BYTES as u64, None),
            };
            walk.last_frame = last_frame;
            walk.segment(record, source.manifest.root_before(i), offset)?
        };
        parts.push(part);
    }
    walk.derived.flush_hashes(source, walk.frontier.size().get())?;
    let size = walk.frontier.size().get();
    if size < source.signed {
        let reason = format!(
            "the ledger ends here, but a checkpoint of size {} was signed: restore the missing entries from a copy",
            source.signed
        );
        return Err(corrupt(size, reason));
    }
    Ok(Restored {
        parts,
        frontier: walk.frontier,
        last_frame: walk.last_frame,
        end: walk.end,
        tail: walk.tail,
        rechecked: size - start.size,
        rebuilt: start.size == 0 && size > 0,
    })
}

/// Goes through the segments and rebuilds what is derived.
struct Walk<'a, 's> {
    source: &'a Source<'s>,
    frontier: Frontier,
    derived: Derived,
    last_frame: Option<u64>,
    end: u64,
    tail: Option<Range<u64>>,
}

impl Walk<'_, '_> {
    /// A segment whose derived files are believed.
    fn skip(&mut self, record: &SegmentRecord) -> Result<Part, OpenError> {
        if let SegmentState::Sealed { files, .. } = &record.state {
            return self.sealed_part(record, files);
        }
        let file = self.source.open_frames(record.number, record.first)?;
        let len = file.len().map_err(io_error("reading a segment"))?;
        if len < self.source.limit_of(record) {
            return Err(corrupt(
                record.first,
                format!(
                    "segments/{:08}.seg is too short: restore it from a copy",
                    record.number
                ),
            ));
        }
        let index = Index::with_memory(self.source.open_index(record.number)?, u64::MAX, Vec::new());
        Ok(plain(record, file, index))
    }

    fn sealed_part(&self, record: &SegmentRecord, files: &[SealedRecord]) -> Result<Part, OpenError> {
        for sealed in files {
            let opened = SealedFile::open(&**self.source.disk, self.source.dir, record.number, sealed)
                .map_err(io_error("opening a sealed segment"))?;
            opened.map_err(|reason| {
                let name = format!("segments/{:08}.{}.sealed", record.number, sealed.class);
                corrupt(record.first, format!("{name}: {reason}; restore it from a copy"))
            })?;
        }
        Ok(Part::Sealed(Arc::new(SealedPart {
            number: record.number,
            first: record.first,
            files: files.to_vec(),
        })))
    }

    /// A segment that is read again from `offset` on.
    fn segment(&mut self, record: &SegmentRecord, root_before: Hash, offset: u64) -> Result<Part, OpenError> {
        match &record.state {
            SegmentState::Sealed { end, root, files } => {
                let part = self.sealed_part(record, files)?;
                self.sealed_entries(&part, *end)?;
                self.compare(record.first, *end, *root)?;
                Ok(part)
            }
            SegmentState::Full { end, root, bytes } => {
                let part = self.frames(record, root_before, offset)?;
                if self.end != *bytes {
                    return Err(self.not_whole(record.number));
                }
                self.compare(record.first, *end, *root)?;
                Ok(part)
            }
            SegmentState::Open => self.frames(record, root_before, offset),
        }
    }

    fn compare(&self, first: u64, end: u64, root: Hash) -> Result<(), OpenError> {
        if self.frontier.size().get() == end && self.frontier.root() == root {
            return Ok(());
        }
        let reason = format!("the entries up to {end} do not give the root that the manifest says");
        Err(corrupt(first, reason))
    }

    fn not_whole(&self, number: u32) -> OpenError {
        let reason = format!(
            "a frame in segments/{number:08}.seg is not whole, and it is no torn write: restore it from a copy"
        );
        corrupt(self.frontier.size().get(), reason)
    }

    fn sealed_entries(&mut self, part: &Part, end: u64) -> Result<(), OpenError> {
        let Part::Sealed(sealed) = part else {
            return Ok(());
        };
        let mut leaves = Vec::new();
        while self.frontier.size().get() < end {
            let size = self.frontier.size().get();
            let mut block = EntryBlock::new();
            let count = FLUSH_ENTRIES.min((end - size) as usize);
            let read = self
                .source
                .cache
                .read(sealed, size, count, READ_BYTES, &mut block);
            read.map_err(from_read)?;
            leaves.clear();
            leaves.extend(block.iter().map(|(_, entry)| leaf_hash(entry)));
            self.frontier.extend(&leaves, &mut self.derived.nodes);
            self.flush_if_many()?;
        }
        Ok(())
    }

    /// Reads a segment's frames from `offset` on.
    fn frames(&mut self, record: &SegmentRecord, root_before: Hash, offset: u64) -> Result<Part, OpenError> {
        let file = self.source.open_frames(record.number, record.first)?;
        let index_file = self.source.open_index(record.number)?;
        let index_from = self.frontier.size().get();
        let part = plain(
            record,
            file.clone(),
            Index::with_memory(index_file, u64::MAX, Vec::new()),
        );
        let whole = part_head_is_whole(&part, &root_before).map_err(io_error("reading a segment"))?;
        if !whole {
            let reason = format!(
                "the head of segments/{:08}.seg is not whole: restore it from a copy",
                record.number
            );
            return Err(corrupt(record.first, reason));
        }
        self.derived.slots_from = index_from;
        let limit = self.source.limit_of(record);
        let mut reader =
            FrameReader::new(file.clone(), offset, limit).map_err(io_error("reading a segment"))?;
        self.end = offset;
        let mut leaves = Vec::new();
        let mut looked_again = 0;
        loop {
            match reader.step().map_err(io_error("reading a segment"))? {
                Found::Frame(frame) => {
                    self.frame(record.number, &frame, &mut leaves)?;
                    self.flush_slots(&part, record.first, FLUSH_ENTRIES)?;
                    self.flush_if_many()?;
                }
                Found::End => break,
                Found::Bad => match self.torn_tail(record, &mut reader) {
                    Ok(tail) => {
                        self.tail = Some(tail);
                        break;
                    }
                    // A running service may have finished the frame while its successor was being looked for.
                    Err(_) if self.source.derived == DerivedTo::Memory && looked_again != reader.offset() => {
                        looked_again = reader.offset();
                        reader.look_again();
                    }
                    Err(error) => return Err(error),
                },
            }
        }
        self.flush_slots(&part, record.first, 0)?;
        if self.source.derived == DerivedTo::Files {
            return Ok(part);
        }
        let slots = std::mem::take(&mut self.derived.slots);
        let index_file = self.source.open_index(record.number)?;
        Ok(plain(
            record,
            file,
            Index::with_memory(index_file, index_from, slots),
        ))
    }

    /// Takes one frame into the tree, if it says what its entries give.
    fn frame(&mut self, number: u32, frame: &Frame<'_>, leaves: &mut Vec<Hash>) -> Result<(), OpenError> {
        let size = self.frontier.size().get();
        if frame.head.first != size {
            let reason = format!(
                "a frame in segments/{number:08}.seg begins with position {}",
                frame.head.first
            );
            return Err(corrupt(size, reason));
        }
        leaves.clear();
        for (offset, entry) in frame.entries() {
            leaves.push(leaf_hash(entry));
            self.derived.slots.push(Slot::new(offset, entry));
        }
        self.frontier.extend(leaves, &mut self.derived.nodes);
        if self.frontier.root() != frame.head.root {
            let reason = "the entries of its frame do not give the root that the frame says";
            return Err(corrupt(size, reason.to_owned()));
        }
        self.last_frame = Some(frame.offset);
        self.end = frame.end();
        Ok(())
    }

    /// What stands behind the last whole frame, if it can be the trace of a write that was not finished.
    fn torn_tail(&self, record: &SegmentRecord, reader: &mut FrameReader) -> Result<Range<u64>, OpenError> {
        let size = self.frontier.size().get();
        let whole_behind = reader
            .whole_frame_behind(size)
            .map_err(io_error("reading a segment"))?;
        let may_be_torn =
            record.state == SegmentState::Open && size >= self.source.signed && whole_behind.is_none();
        if !may_be_torn {
            return Err(self.not_whole(record.number));
        }
        let end = reader
            .end_of_bytes(reader.offset())
            .map_err(io_error("reading a segment"))?;
        Ok(reader.offset()..end)
    }

    fn flush_if_many(&mut self) -> Result<(), OpenError> {
        let many = self.derived.nodes.leaves().len() >= FLUSH_ENTRIES;
        if self.source.derived == DerivedTo::Memory || !many {
            return Ok(());
        }
        let size = self.frontier.size().get();
        self.derived.flush_hashes(self.source, size)
    }

    /// Writes collected slots if there are more than `at_least`.
    fn flush_slots(&mut self, part: &Part, first: u64, at_least: usize) -> Result<(), OpenError> {
        let Part::Plain(segment) = part else {
            return Ok(());
        };
        let derived = &mut self.derived;
        if self.source.derived == DerivedTo::Memory || derived.slots.len() <= at_least {
            return Ok(());
        }
        let Some(file) = segment.index.file() else {
            return Ok(());
        };
        derived.buffer.clear();
        for slot in &derived.slots {
            derived.buffer.extend_from_slice(&slot.0.to_le_bytes());
        }
        file.write_at(&derived.buffer, (derived.slots_from - first) * SLOT_BYTES)
            .map_err(io_error("writing an index"))?;
        derived.slots_from += derived.slots.len() as u64;
        derived.slots.clear();
        Ok(())
    }
}

fn plain(record: &SegmentRecord, file: SharedFile, index: Index) -> Part {
    Part::Plain(Arc::new(PlainSegment {
        number: record.number,
        first: record.first,
        file,
        index,
    }))
}

fn part_head_is_whole(part: &Part, root_before: &Hash) -> io::Result<bool> {
    match part {
        Part::Plain(segment) => segment.head_is_whole(root_before),
        Part::Sealed(_) => Ok(true),
    }
}

/// Hashes and slots that are not written yet.
struct Derived {
    nodes: TileNodes,
    nodes_from: u64,
    slots: Vec<Slot>,
    slots_from: u64,
    buffer: Vec<u8>,
}

impl Derived {
    fn new(from: u64) -> Self {
        Self {
            nodes: TileNodes::new(),
            nodes_from: from,
            slots: Vec::new(),
            slots_from: from,
            buffer: Vec::new(),
        }
    }

    /// Writes what was collected up to `size`; a reader that may write nothing keeps it instead.
    fn flush_hashes(&mut self, source: &Source<'_>, size: u64) -> Result<(), OpenError> {
        if source.derived == DerivedTo::Memory {
            source
                .hashes
                .keep_in_memory(self.nodes_from, std::mem::take(&mut self.nodes));
            return Ok(());
        }
        for (level, nodes) in self.nodes.levels.iter().enumerate() {
            let index = complete(self.nodes_from, level as u8);
            source
                .hashes
                .write(level as u8, index, nodes, &mut self.buffer)
                .map_err(io_error("writing the hashes"))?;
        }
        self.nodes.clear();
        self.nodes_from = size;
        Ok(())
    }
}
