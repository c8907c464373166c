//! Sealing: a full segment is rewritten class by class, compressed, read back, and only then swapped in.
//!
//! If the process dies before the manifest is replaced, the new files are strangers and the next start removes
//! them; after it, the old ones are. Nothing is swapped in whose every entry does not give the leaf hash that
//! stands in the tree.
//! Invariants: the derived files are synced past a segment before it is sealed, so that its frames are not needed
//! to rebuild them; readers keep the files they began with.
//! Not here: when it is done (`upkeep`), the files' layout (`sealed`).

use super::Inner;
use super::blob::ReplaceError;
use super::cache::SealedPart;
use super::frame::{Found, FrameReader};
use super::manifest::{SealedRecord, SegmentRecord, SegmentState};
use super::sealed::{SealedFile, SealedWriter, Unpacker};
use super::segment::{PlainSegment, SEGMENT_HEAD_BYTES, folder};
use super::view::Part;
use domain::Hash;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::position::Position;
use std::io;
use std::sync::Arc;

/// Leaf hashes are read in pieces of this many.
const LEAVES: u64 = 4096;
/// The class of bytes that are no entry, which only tests write.
const NO_CLASS: &str = "other";

/// Why a segment was not sealed. It stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The disk failed.
    #[error("sealing a segment: {0}")]
    Io(#[from] io::Error),
    /// The manifest could not be replaced, and it is not known which one stands.
    #[error("sealing a segment: the manifest: {0}")]
    Manifest(io::Error),
    /// An entry is not the one in the tree, or the tree's hashes are damaged.
    #[error("segment {segment} is not sealed: the entry at position {position} does not give its leaf hash")]
    Differs {
        /// The segment.
        segment: u32,
        /// The first position that differs.
        position: Position,
    },
    /// What was written is not what is read back.
    #[error("segment {segment} is not sealed: {reason}")]
    ReadBack {
        /// The segment.
        segment: u32,
        /// What was found.
        reason: String,
    },
}

impl Inner {
    /// Seals the oldest full segment, if there is one whose derived files are synced; its number.
    pub(super) fn seal_one(&self, synced_segment: u32) -> Result<Option<u32>, SealError> {
        let full = |record: &&SegmentRecord| matches!(record.state, SegmentState::Full { .. });
        let record = self.manifest.lock().segments.iter().find(full).cloned();
        let Some(record) = record.filter(|record| record.number < synced_segment) else {
            return Ok(None);
        };
        let (SegmentState::Full { end, root, bytes }, Some(segment)) =
            (&record.state, self.plain(record.number))
        else {
            return Ok(None);
        };
        let files = match *end > record.first {
            true => self.rewrite(&segment, *end, *bytes)?,
            false => Vec::new(),
        };
        self.swap(&record, *end, *root, files)?;
        Ok(Some(record.number))
    }

    fn plain(&self, number: u32) -> Option<Arc<PlainSegment>> {
        let view = self.view.read().clone();
        view.parts.iter().find_map(|part| match part {
            Part::Plain(segment) if segment.number == number => Some(segment.clone()),
            _ => None,
        })
    }

    /// Writes a segment's entries into one file a class, and reads them back.
    fn rewrite(&self, segment: &PlainSegment, end: u64, bytes: u64) -> Result<Vec<SealedRecord>, SealError> {
        let mut writers: Vec<SealedWriter> = Vec::new();
        let mut reader = FrameReader::new(segment.file.clone(), SEGMENT_HEAD_BYTES as u64, bytes)?;
        let mut position = segment.first;
        // Most entries are of the type of the one before.
        let (mut last, mut class) = (String::new(), NO_CLASS);
        while let Found::Frame(frame) = reader.step()? {
            for (_, entry) in frame.entries() {
                let event_type = Entry::event_type_of(entry).unwrap_or_default();
                if event_type != last {
                    class = self.class_of(event_type);
                    event_type.clone_into(&mut last);
                }
                let writer = match writers.iter_mut().position(|writer| writer.class() == class) {
                    Some(at) => &mut writers[at],
                    None => {
                        let writer = SealedWriter::create(&*self.disk, &self.dir, segment.number, class)?;
                        writers.push(writer);
                        let last = writers.len() - 1;
                        &mut writers[last]
                    }
                };
                writer.push(position, entry)?;
                position += 1;
            }
        }
        if position != end {
            return Err(SealError::Differs {
                segment: segment.number,
                position: Position(position),
            });
        }
        let mut records = writers
            .into_iter()
            .map(SealedWriter::finish)
            .collect::<io::Result<Vec<_>>>()?;
        records.sort_by(|a, b| a.class.cmp(&b.class));
        self.disk.sync_dir(&folder(&self.dir))?;
        self.read_back(segment, end, &records)?;
        Ok(records)
    }

    /// The class of entries of that type.
    fn class_of(&self, event_type: &str) -> &'static str {
        match event_type {
            "" => NO_CLASS,
            event_type => (self.classify)(event_type),
        }
    }

    /// Whether the sealed files hold every entry of the segment once, and those that are in the tree.
    fn read_back(&self, segment: &PlainSegment, end: u64, records: &[SealedRecord]) -> Result<(), SealError> {
        let wrong = |reason: String| SealError::ReadBack {
            segment: segment.number,
            reason,
        };
        let mut seen = vec![false; (end - segment.first) as usize];
        let mut unpacker = Unpacker::new()?;
        for record in records {
            let file = SealedFile::open(&*self.disk, &self.dir, segment.number, record)?.map_err(wrong)?;
            if !file.is_whole()? {
                return Err(wrong(format!("the file of class {} is not whole", record.class)));
            }
            let mut leaves = Leaves::new(self, end);
            let mut bundle = None;
            for (position, located) in file.located() {
                let unpacked = match &bundle {
                    Some((number, unpacked)) if *number == located.bundle => unpacked,
                    _ => {
                        let unpacked = file.bundle(located.bundle, &mut unpacker)?.map_err(wrong)?;
                        &bundle.insert((located.bundle, unpacked)).1
                    }
                };
                let entry = unpacked.entry(located.ordinal);
                let same = entry.map(leaf_hash) == leaves.get(position)?;
                let slot = position
                    .checked_sub(segment.first)
                    .and_then(|at| seen.get_mut(at as usize));
                match slot.filter(|seen| same && !**seen) {
                    Some(seen) => *seen = true,
                    None => {
                        return Err(SealError::Differs {
                            segment: segment.number,
                            position: Position(position),
                        });
                    }
                }
            }
        }
        match seen.iter().position(|seen| !seen) {
            None => Ok(()),
            Some(at) => Err(wrong(format!(
                "position {} is missing",
                segment.first + at as u64
            ))),
        }
    }

    /// Puts the sealed files in the segment's place. A segment without entries just goes.
    fn swap(
        &self,
        record: &SegmentRecord,
        end: u64,
        root: Hash,
        files: Vec<SealedRecord>,
    ) -> Result<(), SealError> {
        let mut manifest = self.manifest.lock();
        let mut next = manifest.clone();
        next.generation += 1;
        let part = Part::Sealed(Arc::new(SealedPart {
            number: record.number,
            first: record.first,
            files: files.clone(),
        }));
        if files.is_empty() {
            next.segments.retain(|s| s.number != record.number);
        } else if let Some(place) = next.segments.iter_mut().find(|s| s.number == record.number) {
            place.state = SegmentState::Sealed { end, root, files };
        }
        next.store(&*self.disk, &self.dir).map_err(|error| match error {
            ReplaceError::Before(error) => SealError::Io(error),
            ReplaceError::Unknown(error) => SealError::Manifest(error),
        })?;
        let gone = !next.segments.iter().any(|s| s.number == record.number);
        *manifest = next;
        self.change_view(|view| {
            let at = view.parts.iter().position(|p| p.number() == record.number);
            match at {
                Some(at) if gone => drop(view.parts.remove(at)),
                Some(at) => view.parts[at] = part,
                None => {}
            }
        });
        drop(manifest);
        // If this does not happen, the next start does it.
        PlainSegment::discard(&*self.disk, &self.dir, record.number);
        let _ = self.disk.sync_dir(&folder(&self.dir));
        Ok(())
    }
}

/// Leaf hashes in rising order of position.
struct Leaves<'a> {
    inner: &'a Inner,
    end: u64,
    from: u64,
    hashes: Vec<Hash>,
}

impl<'a> Leaves<'a> {
    fn new(inner: &'a Inner, end: u64) -> Self {
        Self {
            inner,
            end,
            from: 0,
            hashes: Vec::new(),
        }
    }

    fn get(&mut self, position: u64) -> io::Result<Option<Hash>> {
        let inside = |from: u64, len: usize| (from..from + len as u64).contains(&position);
        if position < self.end && !inside(self.from, self.hashes.len()) {
            self.hashes.clear();
            self.from = position;
            let count = LEAVES.min(self.end - position) as usize;
            self.inner
                .hashes
                .read(self.end, 0, position, count, &mut self.hashes)
                .map_err(|error| io::Error::other(error.to_string()))?;
        }
        Ok(position
            .checked_sub(self.from)
            .and_then(|at| self.hashes.get(at as usize))
            .copied())
    }
}
