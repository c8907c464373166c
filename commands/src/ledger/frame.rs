//! The commit frame: one commit's entries as they stand in a segment, and how frames are found again.
//!
//! Little-endian: magic `DBF1` · crc32c of all that follows · first position u64 · count u32 · bytes of all entries
//! u32 · root after the frame, 32 bytes · one u16 length an entry · the entries · zeros up to a multiple of 8.
//! *Ground.* Invariants: a frame is whole or is not a frame; its first position is the size before it; behind the
//! last frame a segment holds zeros or ends. An entry is canonical JSON, which holds no byte below 0x20, so no
//! entry can be mistaken for a frame's head.
//! Not here: the segment's own head (`segment`), what a bad frame means (`recover`).

use super::disk::SharedFile;
use domain::Hash;
use domain::entry::ENTRY_BYTES_MAX;
use domain::ports::EntryBlock;
use std::io;

/// First bytes of a frame; the digit is the version.
pub const MAGIC: [u8; 4] = *b"DBF1";
/// Bytes before the lengths.
pub const HEAD_BYTES: usize = 56;
/// Frames begin at multiples of this, so that a search for whole frames is short.
pub const ALIGN: usize = 8;
/// Most bytes of one frame: offsets within a segment are 32 bits wide.
pub const FRAME_BYTES_MAX: usize = 1 << 30;
/// How much is read at once; a frame that is longer is read as a whole.
const WINDOW_BYTES: usize = 1 << 20;

/// A frame's head, checked for plausibility only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The first entry's position.
    pub first: u64,
    /// Entries in the frame; at least one.
    pub count: u32,
    /// Bytes of all entries together.
    pub bytes: u32,
    /// The tree's root after the last of them.
    pub root: Hash,
}

impl Head {
    /// Bytes of the whole frame with its padding.
    pub fn frame_bytes(&self) -> usize {
        padded(HEAD_BYTES + 2 * self.count as usize + self.bytes as usize)
    }

    /// Where the first entry begins, from the frame's first byte.
    pub fn entries_at(&self) -> usize {
        HEAD_BYTES + 2 * self.count as usize
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = head.get(..HEAD_BYTES)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut root = Hash::default();
        root.0.copy_from_slice(&head[24..56]);
        let head = Self {
            first: u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32,
            count: u32_at(16),
            bytes: u32_at(20),
            root,
        };
        let plausible = head.count > 0
            && head.bytes as usize >= head.count as usize
            && head.bytes as usize <= FRAME_BYTES_MAX
            && head.bytes as usize <= head.count as usize * ENTRY_BYTES_MAX;
        plausible.then_some(head)
    }
}

const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Why entries cannot be one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// An entry without bytes, or with more than the format allows.
    #[error("the entry at position {position} has {bytes} bytes; 1 to {ENTRY_BYTES_MAX} are allowed")]
    Entry {
        /// Its position.
        position: u64,
        /// Its length.
        bytes: usize,
    },
    /// The positions do not follow one another.
    #[error("position {found} came where {expected} belongs")]
    Positions {
        /// What belongs there.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// More than a frame may hold.
    #[error("a commit of {0} bytes; at most {FRAME_BYTES_MAX} are allowed: append it in parts")]
    TooLarge(usize),
}

/// Writes one frame over `out`; where each entry begins from the frame's first byte follows from the lengths.
///
/// # Errors
/// [`FrameError`]; `out` is then meaningless.
pub fn encode(out: &mut Vec<u8>, first: u64, entries: &EntryBlock, root: &Hash) -> Result<Head, FrameError> {
    let total = HEAD_BYTES + 2 * entries.len() + entries.bytes().len();
    if total > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(total));
    }
    let head = Head {
        first,
        count: entries.len() as u32,
        bytes: entries.bytes().len() as u32,
        root: *root,
    };
    out.clear();
    out.reserve(head.frame_bytes());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&head.count.to_le_bytes());
    out.extend_from_slice(&head.bytes.to_le_bytes());
    out.extend_from_slice(&root.0);
    for (expected, (position, entry)) in (first..).zip(entries.iter()) {
        if position.0 != expected {
            return Err(FrameError::Positions {
                expected,
                found: position.0,
            });
        }
        if !(1..=ENTRY_BYTES_MAX).contains(&entry.len()) {
            return Err(FrameError::Entry {
                position: expected,
                bytes: entry.len(),
            });
        }
        out.extend_from_slice(&(entry.len() as u16).to_le_bytes());
    }
    out.extend_from_slice(entries.bytes());
    out.resize(head.frame_bytes(), 0);
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(head)
}

/// A whole frame, checked against its crc.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Where it begins in its segment.
    pub offset: u64,
    /// Its head.
    pub head: Head,
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks the frame at the beginning of `bytes`.
    fn parse(bytes: &'a [u8], offset: u64) -> Option<Self> {
        if bytes.get(..4)? != MAGIC {
            return None;
        }
        let head = Head::parse(bytes)?;
        let bytes = bytes.get(..head.frame_bytes())?;
        if crc32c::crc32c(&bytes[8..]).to_le_bytes() != bytes[4..8] {
            return None;
        }
        let frame = Self { offset, head, bytes };
        let lengths: usize = frame.lengths().map(usize::from).sum();
        (lengths == head.bytes as usize && frame.lengths().all(|len| len > 0)).then_some(frame)
    }

    fn lengths(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.bytes[HEAD_BYTES..self.head.entries_at()]
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    /// Each entry's offset in the segment and its bytes, in order.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let (offset, bytes) = (self.offset, self.bytes);
        let mut at = self.head.entries_at();
        self.lengths().map(move |len| {
            let from = at;
            at += usize::from(len);
            (offset + from as u64, &bytes[from..at])
        })
    }

    /// The frame's bytes as they stand.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The size of the tree after it.
    pub fn size_after(&self) -> u64 {
        self.head.first + u64::from(self.head.count)
    }

    /// Where the next frame begins.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// What stands at an offset.
#[derive(Debug)]
pub enum Found<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// Zeros to the end of the file, or the end itself.
    End,
    /// Neither.
    Bad,
}

/// Reads a segment's frames one after the other.
pub struct FrameReader {
    file: SharedFile,
    /// Where the next frame begins.
    offset: u64,
    /// Nothing at or beyond this belongs to the segment.
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl FrameReader {
    /// From `offset` on, up to `limit` or the end of the file.
    pub fn new(file: SharedFile, offset: u64, limit: u64) -> io::Result<Self> {
        let limit = limit.min(file.len()?);
        Ok(Self {
            file,
            offset,
            limit,
            window: Vec::new(),
            window_at: offset,
        })
    }

    /// Where the next frame begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What stands next; only a whole frame moves the reader on.
    pub fn step(&mut self) -> io::Result<Found<'_>> {
        self.fill(HEAD_BYTES)?;
        let rest = self.rest();
        if rest.iter().take(HEAD_BYTES).all(|b| *b == 0) {
            let zeros = self.only_zeros_from(self.offset)?;
            return Ok(if zeros { Found::End } else { Found::Bad });
        }
        let wanted = match Head::parse(rest) {
            Some(head) if rest[..4] == MAGIC => head.frame_bytes(),
            _ => return Ok(Found::Bad),
        };
        if wanted as u64 > self.limit - self.offset {
            return Ok(Found::Bad);
        }
        self.fill(wanted)?;
        let at = (self.offset - self.window_at) as usize;
        match Frame::parse(&self.window[at..], self.offset) {
            Some(frame) => {
                self.offset = frame.end();
                Ok(Found::Frame(frame))
            }
            None => Ok(Found::Bad),
        }
    }

    /// Forgets what was read ahead, where somebody else may have written meanwhile.
    pub fn look_again(&mut self) {
        self.window.clear();
    }

    /// The first whole frame behind a bad one: what a torn write cannot leave.
    pub fn whole_frame_behind(&mut self, at_least: u64) -> io::Result<Option<Head>> {
        let start = self.offset;
        let mut at = start + ALIGN as u64;
        let mut found = None;
        while at + (HEAD_BYTES as u64) <= self.limit && found.is_none() {
            self.offset = at;
            self.fill(HEAD_BYTES)?;
            let rest = self.rest();
            if rest[..4] == MAGIC
                && Head::parse(rest).is_some_and(|head| head.first > at_least)
                && let Found::Frame(frame) = self.step()?
            {
                found = Some(frame.head);
            }
            at += ALIGN as u64;
        }
        self.offset = start;
        Ok(found)
    }

    /// The offset behind the last byte that is not zero, at least `from`.
    pub fn end_of_bytes(&self, from: u64) -> io::Result<u64> {
        let mut end = from;
        let mut piece = vec![0; (WINDOW_BYTES as u64).min(self.limit.saturating_sub(from)) as usize];
        let mut at = from;
        while at < self.limit {
            let wanted = piece.len().min((self.limit - at) as usize);
            let read = self.file.read_at(&mut piece[..wanted], at)?;
            if let Some(last) = piece[..read].iter().rposition(|b| *b != 0) {
                end = at + last as u64 + 1;
            }
            if read == 0 {
                break;
            }
            at += read as u64;
        }
        Ok(end)
    }

    fn only_zeros_from(&self, from: u64) -> io::Result<bool> {
        Ok(self.end_of_bytes(from)? == from)
    }

    fn rest(&self) -> &[u8] {
        let at = ((self.offset - self.window_at) as usize).min(self.window.len());
        &self.window[at..]
    }

    /// Makes sure that `wanted` bytes from `offset` on are in the window, as far as there are any.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.offset >= self.window_at && self.rest().len() >= wanted {
            return Ok(());
        }
        let available = self.limit.saturating_sub(self.offset);
        let size = (wanted.max(WINDOW_BYTES) as u64).min(available) as usize;
        self.window.resize(size, 0);
        let read = self.file.read_at(&mut self.window, self.offset)?;
        self.window.truncate(read);
        self.window_at = self.offset;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::disk::{Access, Disk};
    use crate::ledger::faults::FaultDisk;
    use domain::Position;
    use std::path::Path;

    fn block(first: u64, texts: &[&str]) -> EntryBlock {
        let mut block = EntryBlock::new();
        for (i, text) in texts.iter().enumerate() {
            block.push(Position(first + i as u64), text.as_bytes());
        }
        block
    }

    fn file_with(bytes: &[u8]) -> SharedFile {
        let file = FaultDisk::new()
            .open(Path::new("/f"), Access::CreateNew)
            .expect("opens");
        file.write_at(bytes, 0).expect("writes");
        file
    }

    fn two_frames() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, 5, &block(5, &["{}", "{\"a\":1}"]), &Hash([1; 32])).expect("encodes");
        let mut second = Vec::new();
        encode(&mut second, 7, &block(7, &["{\"b\":2}"]), &Hash([2; 32])).expect("encodes");
        bytes.extend_from_slice(&second);
        bytes
    }

    #[test]
    fn frames_read_as_they_were_written_up_to_the_zeros() {
        let mut bytes = two_frames();
        bytes.resize(bytes.len() + 100, 0);
        let mut reader = FrameReader::new(file_with(&bytes), 0, u64::MAX).expect("opens");
        let Found::Frame(frame) = reader.step().expect("reads") else {
            panic!("a frame")
        };
        assert_eq!((frame.head.first, frame.size_after()), (5, 7));
        let entries: Vec<_> = frame.entries().map(|(_, e)| e.to_vec()).collect();
        assert_eq!(entries, [b"{}".to_vec(), b"{\"a\":1}".to_vec()]);
        for (offset, entry) in frame.entries() {
            assert_eq!(&bytes[offset as usize..][..entry.len()], entry);
        }
        assert!(matches!(reader.step().expect("reads"), Found::Frame(f) if f.head.root == Hash([2; 32])));
        assert!(matches!(reader.step().expect("reads"), Found::End));
    }

    #[test]
    fn any_flipped_or_missing_byte_of_a_frame_is_noticed() {
        let whole = two_frames();
        let first_frame = whole.len() / 2 / ALIGN * ALIGN;
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let mut reader = FrameReader::new(file_with(&flipped), 0, u64::MAX).expect("opens");
                let mut frames = 0;
                while matches!(reader.step().expect("reads"), Found::Frame(_)) {
                    frames += 1;
                }
                assert!(frames < 2, "byte {at} bit {bit}");
                assert!(matches!(reader.step().expect("reads"), Found::Bad));
            }
            let mut reader = FrameReader::new(file_with(&whole[..at]), 0, u64::MAX).expect("opens");
            let mut frames = 0;
            while matches!(reader.step().expect("reads"), Found::Frame(_)) {
                frames += 1;
            }
            assert!(frames < 2, "cut at {at}");
        }
        assert!(first_frame > 0);
    }

    #[test]
    fn a_whole_frame_behind_a_bad_one_is_found() {
        let mut bytes = two_frames();
        bytes[60] ^= 1;
        let mut reader = FrameReader::new(file_with(&bytes), 0, u64::MAX).expect("opens");
        assert!(matches!(reader.step().expect("reads"), Found::Bad));
        assert_eq!(
            reader.whole_frame_behind(5).expect("reads").map(|h| h.first),
            Some(7)
        );
        assert_eq!(reader.whole_frame_behind(7).expect("reads"), None);
        assert_eq!(reader.offset(), 0);
    }

    #[test]
    fn entries_that_are_empty_too_large_or_out_of_order_make_no_frame() {
        let mut out = Vec::new();
        let root = Hash::default();
        let large = "x".repeat(ENTRY_BYTES_MAX + 1);
        assert_eq!(
            encode(&mut out, 0, &block(0, &["{}", ""]), &root),
            Err(FrameError::Entry {
                position: 1,
                bytes: 0
            })
        );
        assert!(matches!(
            encode(&mut out, 0, &block(0, &[&large]), &root),
            Err(FrameError::Entry { position: 0, .. })
        ));
        assert_eq!(
            encode(&mut out, 1, &block(0, &["{}"]), &root),
            Err(FrameError::Positions {
                expected: 1,
                found: 0
            })
        );
    }
}
