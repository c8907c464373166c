//! From where a ledger is read again: the mark, if frames and hashes agree with it, or the first entry.
//!
//! Invariant: a starting point is believed only if the hashes up to it fold to the root that the frame before it, or
//! the manifest, says.
//! Not here: the reading (`recover`), writing the mark (`upkeep`).

use super::cache::SealedCache;
use super::disk::{Access, Disk, SharedFile};
use super::error::{OpenError, io_error};
use super::frame::{Found, FrameReader};
use super::hashes::HashFiles;
use super::manifest::{Manifest, SegmentRecord, SegmentState};
use super::mark::Mark;
use super::segment::{SEGMENT_HEAD_BYTES, SLOT_BYTES, frames_path, index_path};
use super::view::frontier_at;
use domain::Hash;
use domain::position::Position;
use std::io;
use std::path::Path;
use std::sync::Arc;

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

/// A size from which everything is read again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// The segment's place in the manifest.
    pub segment: usize,
    /// Where in it the next frame begins.
    pub offset: u64,
    /// The frame before that.
    pub last_frame: Option<u64>,
    pub size: u64,
    pub root: Hash,
}

impl Source<'_> {
    /// The latest size up to which everything derived can be believed.
    pub(super) fn starting_point(&self) -> Result<Start, OpenError> {
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

    pub(super) fn start_of(&self, segment: usize) -> Start {
        Start {
            segment,
            offset: SEGMENT_HEAD_BYTES as u64,
            last_frame: None,
            size: self.manifest.segments[segment].first,
            root: self.manifest.root_before(segment),
        }
    }

    /// Where the mark says that the derived files are whole, if the frame before it agrees.
    pub(super) fn start_at(&self, mark: &Mark) -> Result<Option<Start>, OpenError> {
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
    pub(super) fn limit_of(&self, record: &SegmentRecord) -> u64 {
        match record.state {
            SegmentState::Full { bytes, .. } => bytes,
            _ => self.acknowledged.unwrap_or(u64::MAX),
        }
    }

    pub(super) fn open_frames(&self, number: u32, first: u64) -> Result<SharedFile, OpenError> {
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

    pub(super) fn open_index(&self, number: u32) -> Result<Option<SharedFile>, OpenError> {
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

    pub(super) fn index_reaches(&self, number: u32, slots: u64) -> Result<bool, OpenError> {
        match self.disk.open(&index_path(self.dir, number), Access::Read) {
            Ok(file) => Ok(file.len().map_err(io_error("reading an index"))? >= slots * SLOT_BYTES),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error("reading an index")(error)),
        }
    }
}
