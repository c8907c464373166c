//! Appending: one buffer, one write and one sync a commit; and going on after a write that failed.
//!
//! The order within an append, and what a death at each step leaves: index and hashes first (derived: written over
//! by the next start), then zeros ahead where the file is too short (zeros end a segment), then the frame (torn: cut
//! by the next start; whole but not acknowledged: kept by it), then the sync, then the size that readers see.
//! Writing over zeros that are already there lets fdatasync skip the journal: measured here it halves the time of a
//! commit. For the same reason a disk that is full is noticed while nothing of the commit is written.
//! Invariants: after a write or sync failed, nothing is appended until `recover` went on in a new segment; that
//! file is never synced again. A segment is never appended to before the manifest that names it is durable.
//! Not here: what is read back (`recover`), sealing (`seal`).

use super::blob::ReplaceError;
use super::disk::is_full;
use super::frame::{FrameError, encode};
use super::hashes::{LEVELS, complete};
use super::manifest::{Manifest, SegmentRecord, SegmentState};
use super::quarantine;
use super::recover::restore;
use super::segment::{PlainSegment, SEGMENT_HEAD_BYTES, SLOT_BYTES, Slot};
use super::start::{DerivedTo, Source};
use super::view::{Part, View};
use super::{Inner, Ledger, OpenError};
use domain::Hash;
use domain::entry::Entry;
use domain::ports::{Append, AppendError, EntryBlock};
use domain::position::TreeSize;
use parking_lot::MutexGuard;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Frames from this size on are written without zeros ahead: syncing them costs more than the journal does, and
/// every byte would be written twice.
const LARGE_FRAME_BYTES: u64 = 128 * 1024;
/// After this many bytes of frames the derived files are synced, so that a start has little to read again.
const UNSYNCED_BYTES_MAX: u64 = 32 << 20;

/// A calendar month, UTC.
pub type Month = (i32, u32);

/// What only the appender knows.
pub struct Writer {
    /// The open segment.
    pub segment: Arc<PlainSegment>,
    /// Entries acknowledged.
    pub size: u64,
    /// The root at that size.
    pub root: Hash,
    /// Where the open segment's last frame begins.
    pub last_frame: Option<u64>,
    /// Where the next one goes.
    pub end: u64,
    /// Up to here the file holds zeros behind `end`.
    pub zeros_to: u64,
    /// The month of the open segment's entries.
    pub month: Option<Month>,
    /// The number of the next segment.
    pub next_number: u32,
    /// Bytes of frames since the derived files were synced.
    pub unsynced_bytes: u64,
    buffers: Buffers,
}

/// Kept from commit to commit, so that nothing is allocated.
#[derive(Default)]
struct Buffers {
    frame: Vec<u8>,
    scratch: Vec<u8>,
    zeros: Vec<u8>,
}

impl Writer {
    /// At the end of an open segment.
    pub fn new(segment: Arc<PlainSegment>, size: u64, root: Hash, end: u64, last_frame: Option<u64>) -> Self {
        Self {
            next_number: segment.number + 1,
            zeros_to: segment.file.len().unwrap_or(end),
            segment,
            size,
            root,
            last_frame,
            end,
            month: None,
            unsynced_bytes: 0,
            buffers: Buffers::default(),
        }
    }
}

/// The month in which an entry was recorded; `None` for bytes that are no entry.
pub fn month_of(entry: &[u8]) -> Option<Month> {
    let (year, month, _) = Entry::read(entry).ok()?.recorded_at.date().civil();
    Some((year, month))
}

/// Whether anything may have been written when something failed.
enum Trouble {
    /// Nothing was; the same may be tried again.
    Nothing(String),
    /// Something may have been.
    Something(String),
}

impl Trouble {
    /// A failure before anything was written: a full disk leaves everything as it was.
    fn early(what: &str, error: &io::Error) -> Self {
        if is_full(error) {
            Self::Nothing(format!("{what}: {error}"))
        } else {
            Self::Something(format!("{what}: {error}"))
        }
    }
}

impl Ledger {
    /// Appends one commit; durable when this returns `Ok`. What the port's `append` does, without a future.
    ///
    /// The root is not computed again: whoever appends hashed the entries.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn append_now(&self, commit: Append<'_>) -> Result<(), AppendError> {
        let inner = &*self.inner;
        let mut guard = inner.writer.lock();
        let Some(writer) = guard.as_mut() else {
            return Err(AppendError::Refused("it was opened for reading only".to_owned()));
        };
        if let Some(reason) = &*inner.failed.lock() {
            return Err(AppendError::Unknown(format!(
                "an earlier write failed ({reason}): recover first"
            )));
        }
        if commit.expected.get() != writer.size {
            return Err(AppendError::Stale {
                expected: commit.expected,
                actual: TreeSize(writer.size),
            });
        }
        if commit.entries.is_empty() {
            return Ok(());
        }
        check_shape(&commit)?;
        match inner.append(writer, &commit) {
            Ok(()) => {
                let rolled = inner.wants_upkeep.swap(false, Ordering::Relaxed);
                if rolled || writer.unsynced_bytes > UNSYNCED_BYTES_MAX {
                    writer.unsynced_bytes = 0;
                    self.kick();
                }
                Ok(())
            }
            Err(Trouble::Nothing(reason)) => Err(AppendError::Refused(reason)),
            Err(Trouble::Something(reason)) => {
                inner.fail(&reason);
                Err(AppendError::Unknown(reason))
            }
        }
    }

    /// Goes on after [`AppendError::Unknown`]: reads back what was acknowledged and opens a new segment behind it.
    /// What the port's `recover` does, without a future.
    ///
    /// # Errors
    /// `Refused` where the disk still fails: try again later. `Corrupt` where what was acknowledged is not there.
    pub fn recover_now(&self) -> Result<TreeSize, AppendError> {
        let inner = &*self.inner;
        let mut guard = inner.writer.lock();
        let Some(writer) = guard.as_mut() else {
            return Ok(self.size_now());
        };
        if inner.failed.lock().is_some() {
            inner.recover(writer)?;
            *inner.failed.lock() = None;
            self.kick();
        }
        Ok(TreeSize(writer.size))
    }
}

/// Whether a commit's parts belong together.
fn check_shape(commit: &Append<'_>) -> Result<(), AppendError> {
    let (size, count) = (commit.expected.get(), commit.entries.len() as u64);
    let refused = |reason: String| Err(AppendError::Refused(reason));
    if commit.leaf_hashes.len() as u64 != count {
        return refused(format!(
            "{count} entries came with {} leaf hashes",
            commit.leaf_hashes.len()
        ));
    }
    for level in 1..LEVELS {
        let given = commit.tile_nodes.get(usize::from(level) - 1).map_or(0, Vec::len) as u64;
        let expected = complete(size + count, level) - complete(size, level);
        if given != expected {
            return refused(format!(
                "{given} nodes of tile level {level} came where {expected} become complete"
            ));
        }
    }
    Ok(())
}

impl Inner {
    /// Remembers that a write failed: nothing is appended until `recover`.
    pub(super) fn fail(&self, reason: &str) {
        tracing::error!(
            reason,
            "a write failed; nothing is appended until the ledger has recovered"
        );
        self.failed.lock().get_or_insert_with(|| reason.to_owned());
    }

    fn append(&self, writer: &mut Writer, commit: &Append<'_>) -> Result<(), Trouble> {
        let mut frame = std::mem::take(&mut writer.buffers.frame);
        let appended = self.append_frame(writer, commit, &mut frame);
        writer.buffers.frame = frame;
        appended
    }

    fn append_frame(
        &self,
        writer: &mut Writer,
        commit: &Append<'_>,
        frame: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        let head = encode(frame, writer.size, commit.entries, &commit.root)
            .map_err(|error: FrameError| Trouble::Nothing(error.to_string()))?;
        let month = commit.entries.get(0).and_then(|(_, entry)| month_of(entry));
        if self.must_roll(writer, frame.len() as u64, month) {
            self.open_next_segment(writer)?;
        }
        let entries_at = writer.end + head.entries_at() as u64;
        self.write_derived(writer, commit, entries_at)
            .map_err(|error| Trouble::early("writing hashes or index", &error))?;
        let frame_end = writer.end + frame.len() as u64;
        self.write_zeros_ahead(writer, frame_end, frame.len() as u64)
            .map_err(|error| Trouble::early("writing ahead", &error))?;
        let file = &writer.segment.file;
        if let Err(error) = file.write_at(frame, writer.end) {
            // Without space nothing was lost, only not written: cut what was begun, and it is as before.
            if is_full(&error) && file.set_len(writer.end).is_ok() {
                writer.zeros_to = writer.end;
                return Err(Trouble::Nothing(format!("writing entries: {error}")));
            }
            return Err(Trouble::Something(format!("writing entries: {error}")));
        }
        file.sync_data()
            .map_err(|error| Trouble::Something(format!("syncing entries: {error}")))?;
        writer.last_frame = Some(writer.end);
        writer.end = frame_end;
        writer.zeros_to = writer.zeros_to.max(frame_end);
        writer.unsynced_bytes += frame.len() as u64;
        writer.month = writer.month.or(month);
        writer.size += commit.entries.len() as u64;
        writer.root = commit.root;
        self.publish(writer.size);
        Ok(())
    }

    /// Lets readers see the entries below `size`.
    fn publish(&self, size: u64) {
        self.size.store(size, Ordering::Release);
        self.grown.send_replace(TreeSize(size));
    }

    fn must_roll(&self, writer: &Writer, frame_bytes: u64, month: Option<Month>) -> bool {
        let used = writer.end > SEGMENT_HEAD_BYTES as u64;
        let other_month = matches!((writer.month, month), (Some(a), Some(b)) if a != b);
        used && (other_month || writer.end + frame_bytes > self.segment_bytes)
    }

    fn write_derived(&self, writer: &mut Writer, commit: &Append<'_>, entries_at: u64) -> io::Result<()> {
        let scratch = &mut writer.buffers.scratch;
        for level in 1..LEVELS {
            let nodes = commit.tile_nodes.get(usize::from(level) - 1);
            let index = complete(writer.size, level);
            self.hashes
                .write(level, index, nodes.map_or(&[], Vec::as_slice), scratch)?;
        }
        self.hashes.write(0, writer.size, commit.leaf_hashes, scratch)?;
        write_slots(&writer.segment, writer.size, commit.entries, entries_at, scratch)
    }

    fn write_zeros_ahead(&self, writer: &mut Writer, frame_end: u64, frame_bytes: u64) -> io::Result<()> {
        if frame_end <= writer.zeros_to || frame_bytes >= LARGE_FRAME_BYTES {
            return Ok(());
        }
        let from = writer.zeros_to.max(writer.end);
        let to = (frame_end + self.ahead_bytes).min(self.segment_bytes.max(frame_end));
        writer.buffers.zeros.resize((to - from) as usize, 0);
        writer.segment.file.write_at(&writer.buffers.zeros, from)?;
        writer.zeros_to = to;
        Ok(())
    }

    /// Makes a segment behind the last acknowledged entry and names it in the manifest. The segment before it
    /// counts up to `writer.end`, whatever stands behind that.
    fn open_next_segment(&self, writer: &mut Writer) -> Result<(), Trouble> {
        let number = writer.next_number;
        let segment = PlainSegment::create(&*self.disk, &self.dir, number, writer.size, &writer.root)
            .map_err(|error| {
                PlainSegment::discard(&*self.disk, &self.dir, number);
                Trouble::Nothing(format!("making a new segment: {error}"))
            })?;
        let mut manifest = self.manifest.lock();
        let next = with_next_segment(&manifest, writer, number);
        match next.store(&*self.disk, &self.dir) {
            Ok(()) => {}
            Err(ReplaceError::Before(error)) => {
                PlainSegment::discard(&*self.disk, &self.dir, number);
                return Err(Trouble::Nothing(format!("writing the manifest: {error}")));
            }
            Err(ReplaceError::Unknown(error)) => {
                // On disk the manifest may name this segment: its number is not used again.
                writer.next_number += 1;
                return Err(Trouble::Something(format!("writing the manifest: {error}")));
            }
        }
        // The rest of the old segment means nothing any more; what does not work here is done when it is sealed.
        let _ = writer.segment.file.set_len(writer.end);
        let segment = Arc::new(segment);
        *manifest = next;
        self.change_view(|view| view.parts.push(Part::Plain(segment.clone())));
        writer.next_number = number + 1;
        writer.segment = segment;
        writer.end = SEGMENT_HEAD_BYTES as u64;
        writer.zeros_to = writer.end;
        writer.last_frame = None;
        writer.month = None;
        self.wants_upkeep.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Replaces what readers read from.
    pub(super) fn change_view(&self, change: impl FnOnce(&mut View)) {
        let mut current = self.view.write();
        let mut view = View::clone(&current);
        change(&mut view);
        *current = Arc::new(view);
    }

    fn recover(&self, writer: &mut Writer) -> Result<(), AppendError> {
        let refused = |error: io::Error| AppendError::Refused(error.to_string());
        self.hashes.reopen(super::disk::Access::Write).map_err(refused)?;
        let manifest: MutexGuard<'_, Manifest> = self.manifest.lock();
        let restored = restore(&Source {
            disk: &self.disk,
            dir: &self.dir,
            manifest: &manifest,
            hashes: &self.hashes,
            cache: &self.cache,
            derived: DerivedTo::Files,
            signed: 0,
            acknowledged: Some(writer.end),
            rebuild: false,
        })
        .map_err(|error| match error {
            OpenError::Io { .. } => AppendError::Refused(error.to_string()),
            error => AppendError::Corrupt(error.to_string()),
        })?;
        let size = restored.frontier.size().get();
        if size != writer.size || restored.frontier.root() != writer.root || restored.end != writer.end {
            let reason = format!("{} entries were acknowledged, and {size} are there", writer.size);
            return Err(AppendError::Corrupt(reason));
        }
        if let Some(Part::Plain(segment)) = restored.parts.last() {
            let len = segment.file.len().map_err(refused)?;
            // What was not acknowledged is kept aside if it can be; its outcome was unknown before and stays so.
            let _ = quarantine::keep(&*self.disk, &self.dir, &*segment.file, size, writer.end..len);
            writer.segment = segment.clone();
        }
        *self.view.write() = Arc::new(View {
            parts: restored.parts,
        });
        drop(manifest);
        match self.open_next_segment(writer) {
            Ok(()) => {
                tracing::info!(size, "the ledger has recovered");
                Ok(())
            }
            Err(Trouble::Nothing(reason) | Trouble::Something(reason)) => Err(AppendError::Refused(reason)),
        }
    }
}

/// The manifest once the open segment is full and another one is open.
fn with_next_segment(manifest: &Manifest, writer: &Writer, number: u32) -> Manifest {
    let mut next = manifest.clone();
    next.generation += 1;
    if let Some(last) = next.segments.last_mut() {
        last.state = SegmentState::Full {
            end: writer.size,
            root: writer.root,
            bytes: writer.end,
        };
    }
    next.segments.push(SegmentRecord {
        number,
        first: writer.size,
        state: SegmentState::Open,
    });
    next
}

/// Writes the index slots of a commit's entries, the first of which begins at `entries_at`.
fn write_slots(
    segment: &PlainSegment,
    size: u64,
    entries: &EntryBlock,
    entries_at: u64,
    scratch: &mut Vec<u8>,
) -> io::Result<()> {
    let Some(file) = segment.index.file() else {
        return Ok(());
    };
    scratch.clear();
    let mut at = entries_at;
    for (_, entry) in entries.iter() {
        scratch.extend_from_slice(&Slot::new(at, entry).0.to_le_bytes());
        at += entry.len() as u64;
    }
    file.write_at(scratch, (size - segment.first) * SLOT_BYTES)
}
