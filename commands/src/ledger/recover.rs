//! From files to a ledger: at start, for a reader beside a running service, and after a failed write.
//!
//! Whatever the mark covers is taken as it is; every frame behind it is read, its leaf hashes and its root computed
//! again, and the derived files written over. Where the mark, the hashes or the frames contradict one another,
//! everything derived is rebuilt from the first entry.
//! Invariants: a frame is believed only if its crc and its root are right; nothing is cut here, only found (`tail`);
//! what is damaged at or below the signed size, or has whole frames behind it, is no torn write and stops the start.
//! If the process dies anywhere in here, the next start does the same again: only derived files are written.
//! Not here: the lock, the anchor, cutting (`open`), new segments (`writer`).

use super::OpenError;
use super::cache::{SealedCache, SealedPart};
use super::disk::{Access, Disk, SharedFile};
use super::frame::{Found, Frame, FrameReader};
use super::hashes::{HashFiles, complete};
use super::manifest::{Manifest, SegmentRecord, SegmentState};
use super::mark::Mark;
use super::sealed::SealedFile;
use super::segment::{Index, PlainSegment, SEGMENT_HEAD_BYTES, SLOT_BYTES, Slot, frames_path, index_path};
use super::view::{Part, frontier_at};
use domain::Hash;
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, TileNodes};
use domain::ports::{EntryBlock, ReadError};
use domain::position::Position;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Derived hashes and slots are written in pieces of this many entries.
const FLUSH_ENTRIES: usize = 65_536;
/// Entries of sealed segments are read in pieces of this size.
const READ_BYTES: usize = 8 << 20;

/// Where a ledger is and how it is to be read.
pub struct Source<'a> {
    /// The file system.
    pub disk: &'a Arc<dyn Disk>,
    /// The ledger's folder.
    pub dir: &'a Path,
    /// Which files it is.
    pub manifest: &'a Manifest,
    /// Its hash files, opened.
    pub hashes: &'a HashFiles,
    /// Its sealed files.
    pub cache: &'a SealedCache,
    /// Where what is rebuilt goes.
    pub derived: DerivedTo,
    /// Nothing below this size may be cut.
    pub signed: u64,
    /// Where the last acknowledged frame of the open segment ends, if that is known.
    pub acknowledged: Option<u64>,
    /// Believe nothing derived.
    pub rebuild: bool,
}

/// Where rebuilt hashes and index slots go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DerivedTo {
    /// To their files.
    Files,
    /// Nowhere but memory: this reader may write nothing.
    Memory,
}

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

/// A size from which everything is read again.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// The segment's place in the manifest.
    segment: usize,
    /// Where in it the next frame begins.
    offset: u64,
    /// The frame before that.
    last_frame: Option<u64>,
    size: u64,
    root: Hash,
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.to_owned();
    move |source| OpenError::Io { what, source }
}

fn corrupt(position: u64, reason: String) -> OpenError {
    OpenError::Corrupt {
        position: Position(position),
        reason,
    }
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

impl Source<'_> {
    /// The latest size up to which everything derived can be believed.
    fn starting_point(&self) -> Result<Start, OpenError> {
        let beginning = self.start_of(0);
        if self.rebuild {
            return Ok(beginning);
        }
        let mark = Mark::load(&**self.disk, self.dir).map_err(io_error("reading the mark"))?;
        let Some(mut start) = mark.map_or(Ok(None), |mark| self.start_at(&mark))? else {
            return Ok(beginning);
        };
        for (i, record) in self.manifest.segments.iter().enumerate().take(start.segment + 1) {
            let end = if i == start.segment {
                Some(start.size)
            } else {
                record.end()
            };
            let slots = end.unwrap_or(record.first) - record.first;
            if record.is_plain() && !self.index_reaches(record.number, slots)? {
                start = self.start_of(i);
                break;
            }
        }
        let reach = self.hashes.reach(start.size);
        if !reach.map_err(io_error("reading the hashes"))? {
            return Ok(beginning);
        }
        let frontier = frontier_at(self.hashes, start.size);
        Ok(if frontier.is_ok_and(|frontier| frontier.root() == start.root) {
            start
        } else {
            beginning
        })
    }

    fn start_of(&self, segment: usize) -> Start {
        Start {
            segment,
            offset: SEGMENT_HEAD_BYTES as u64,
            last_frame: None,
            size: self.manifest.segments[segment].first,
            root: self.manifest.root_before(segment),
        }
    }

    /// Where the mark says that the derived files are whole, if the frame before it agrees.
    fn start_at(&self, mark: &Mark) -> Result<Option<Start>, OpenError> {
        let segments = &self.manifest.segments;
        let Some(i) = segments
            .iter()
            .position(|s| s.number == mark.segment && s.is_plain())
        else {
            return Ok(None);
        };
        let start = self.start_of(i);
        let Some(last_frame) = mark.last_frame else {
            return Ok((start.size == mark.size && start.root == mark.root).then_some(start));
        };
        let file = self.open_frames(mark.segment, segments[i].first)?;
        let mut reader = FrameReader::new(file, last_frame, self.limit_of(&segments[i]))
            .map_err(io_error("reading a segment"))?;
        Ok(match reader.step().map_err(io_error("reading a segment"))? {
            Found::Frame(frame) if frame.size_after() == mark.size && frame.head.root == mark.root => {
                Some(Start {
                    offset: frame.end(),
                    last_frame: Some(last_frame),
                    size: mark.size,
                    root: mark.root,
                    ..start
                })
            }
            _ => None,
        })
    }

    /// How far a segment's file counts.
    fn limit_of(&self, record: &SegmentRecord) -> u64 {
        match record.state {
            SegmentState::Full { bytes, .. } => bytes,
            _ => self.acknowledged.unwrap_or(u64::MAX),
        }
    }

    fn open_frames(&self, number: u32, first: u64) -> Result<SharedFile, OpenError> {
        let access = match self.derived {
            DerivedTo::Files => Access::Write,
            DerivedTo::Memory => Access::Read,
        };
        match self.disk.open(&frames_path(self.dir, number), access) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Missing {
                position: Position(first),
                file: format!("segments/{number:08}.seg"),
            }),
            Err(error) => Err(io_error("opening a segment")(error)),
        }
    }

    fn open_index(&self, number: u32) -> Result<Option<SharedFile>, OpenError> {
        let access = match self.derived {
            DerivedTo::Files => Access::WriteOrCreate,
            DerivedTo::Memory => Access::Read,
        };
        match self.disk.open(&index_path(self.dir, number), access) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("opening an index")(error)),
        }
    }

    fn index_reaches(&self, number: u32, slots: u64) -> Result<bool, OpenError> {
        match self.disk.open(&index_path(self.dir, number), Access::Read) {
            Ok(file) => Ok(file.len().map_err(io_error("reading an index"))? >= slots * SLOT_BYTES),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error("reading an index")(error)),
        }
    }
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

    fn sealed_part(
        &self,
        record: &SegmentRecord,
        files: &[super::manifest::SealedRecord],
    ) -> Result<Part, OpenError> {
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
