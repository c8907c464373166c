//! Everything on disk against itself: manifest, segments, sealed files, frames, indexes, hashes, checkpoint.
//!
//! Reads only, takes no lock, and goes on behind what is damaged as far as the leaf hashes allow, so that one report
//! names everything. Every entry is hashed and every root computed again.
//! Invariant: a report without damage means that the entries give every root that any frame, the manifest and the
//! latest checkpoint say, and that every derived byte that is read is the one the entries give.
//! Not here: what entries say and whether they may (`domain`'s verification), mending (opening the ledger).

use super::TailCut;
use super::blob::{self, Blob};
use super::cache::{SealedCache, SealedPart};
use super::disk::{Access, Disk, RealDisk, read_file};
use super::frame::{Found, Frame, FrameReader};
use super::guard::{NAME as CHECKPOINT, Standing};
use super::hashes::{HashFiles, complete};
use super::manifest::{self, Loaded, Manifest, SegmentRecord, SegmentState};
use super::mark;
use super::quarantine;
use super::sealed::SealedFile;
use super::segment::{self, SEGMENT_HEAD_BYTES, SLOT_BYTES, Slot, frames_path, index_path};
use super::slots;
use super::view::frontier_at;
use domain::hash::{leaf_hash, sha256};
use domain::merkle::{Frontier, TileNodes};
use domain::ports::{EntryBlock, ReadError};
use domain::{Hash, Position, TreeSize};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A service that seals or opens segments meanwhile makes the check look again, this often.
const LOOKS_MAX: usize = 5;
/// Entries of sealed segments are read in pieces.
const PIECE_ENTRIES: usize = 4096;
const PIECE_BYTES: usize = 8 << 20;
/// Memory for unpacked bundles.
const CACHE_BYTES: usize = 16 << 20;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Entries that are there.
    pub size: TreeSize,
    /// Their root.
    pub root: Hash,
    /// Segments, sealed ones included.
    pub segments: usize,
    /// Files of sealed segments.
    pub sealed_files: usize,
    /// Frames that were read.
    pub frames: u64,
    /// Bytes of all entries.
    pub entry_bytes: u64,
    /// The size of the latest signed checkpoint.
    pub signed: Option<TreeSize>,
    /// What is not what was written, in order of discovery.
    pub damage: Vec<Damage>,
    /// Bytes behind the last whole frame: a commit that is being written, or was torn and is cut at the next start.
    pub tail: Option<Tail>,
}

/// Something that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, below the ledger's folder.
    pub file: String,
    /// The first position that it concerns.
    pub position: Position,
    /// What was found.
    pub reason: String,
    /// Opening the ledger makes it again (with `rebuild_derived`, where opening would not look).
    pub derived: bool,
}

/// Bytes behind the last whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The size behind which they stand.
    pub position: Position,
    /// How many.
    pub bytes: u64,
}

/// Checks everything in a ledger's folder.
///
/// # Errors
/// Where the disk cannot be read, or there is no ledger.
pub fn check(dir: &Path) -> io::Result<CheckReport> {
    check_on(&(Arc::new(RealDisk) as Arc<dyn Disk>), dir)
}

/// The same on any disk.
pub(super) fn check_on(disk: &Arc<dyn Disk>, dir: &Path) -> io::Result<CheckReport> {
    let mut looks = 0;
    loop {
        looks += 1;
        let mut check = Check::new(disk, dir)?;
        let manifest = check.manifest()?;
        let Some(manifest) = manifest else {
            return Ok(check.report);
        };
        check.run(&manifest)?;
        let moved = match Manifest::load(&**disk, dir)? {
            Loaded::Manifest { manifest: now, .. } => now.generation != manifest.generation,
            Loaded::Missing | Loaded::Damaged => false,
        };
        if check.report.damage.is_empty() || !moved || looks == LOOKS_MAX {
            return Ok(check.report);
        }
    }
}

struct Check<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    hashes: HashFiles,
    cache: SealedCache,
    report: CheckReport,
    frontier: Frontier,
    nodes: TileNodes,
    nodes_from: u64,
    /// The first position of the present segment whose leaf hash is not the one in `hashes/0`.
    first_other_leaf: Option<u64>,
}

impl<'a> Check<'a> {
    fn new(disk: &'a Arc<dyn Disk>, dir: &'a Path) -> io::Result<Self> {
        Ok(Self {
            disk,
            dir,
            hashes: HashFiles::open(disk.clone(), dir, Access::Read)?,
            cache: SealedCache::new(disk.clone(), dir.to_owned(), CACHE_BYTES),
            report: CheckReport {
                size: TreeSize::EMPTY,
                root: Hash::empty_root(),
                segments: 0,
                sealed_files: 0,
                frames: 0,
                entry_bytes: 0,
                signed: None,
                damage: Vec::new(),
                tail: None,
            },
            frontier: Frontier::new(),
            nodes: TileNodes::new(),
            nodes_from: 0,
            first_other_leaf: None,
        })
    }

    fn damaged(&mut self, file: &str, position: u64, reason: impl Into<String>) {
        self.add(file, position, reason.into(), false);
    }

    fn derived(&mut self, file: &str, position: u64, reason: impl Into<String>) {
        self.add(file, position, reason.into(), true);
    }

    fn add(&mut self, file: &str, position: u64, reason: String, derived: bool) {
        self.report.damage.push(Damage {
            file: file.to_owned(),
            position: Position(position),
            reason,
            derived,
        });
    }

    fn size(&self) -> u64 {
        self.frontier.size().get()
    }

    /// The manifest that counts; `None` if there is none to be believed.
    fn manifest(&mut self) -> io::Result<Option<Manifest>> {
        let loaded = Manifest::load(&**self.disk, self.dir)?;
        for name in [manifest::NAME, manifest::COPY_NAME] {
            match blob::load(&**self.disk, &self.dir.join(name))? {
                Blob::Whole(_) => {}
                Blob::Damaged => self.derived(name, 0, "it is damaged; the other one of the two stands in"),
                Blob::Missing => self.derived(name, 0, "it is missing; the other one of the two stands in"),
            }
        }
        match loaded {
            Loaded::Manifest { manifest, .. } => Ok(Some(manifest)),
            Loaded::Missing => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no ledger in {}", self.dir.display()),
            )),
            Loaded::Damaged => {
                self.damaged(
                    manifest::NAME,
                    0,
                    "it and its copy are damaged: restore it from a copy",
                );
                Ok(None)
            }
        }
    }

    fn run(&mut self, manifest: &Manifest) -> io::Result<()> {
        let standing = Standing::load(&**self.disk, &self.dir.join(CHECKPOINT))?;
        let signed = standing.signed().map(|signed| signed.says.clone());
        self.report.signed = signed.as_ref().map(|says| says.size());
        if standing == Standing::Damaged {
            self.damaged(
                CHECKPOINT,
                0,
                "it is damaged: opening the ledger takes it from the anchor",
            );
        }
        for (i, record) in manifest.segments.iter().enumerate() {
            self.report.segments += 1;
            self.segment(record, manifest.root_before(i))?;
            self.compare_nodes()?;
        }
        self.report.size = self.frontier.size();
        self.report.root = self.frontier.root();
        if let Some(says) = signed {
            self.compare_checkpoint(says.size().get(), says.root());
        }
        self.small_files()?;
        self.quarantine()
    }

    fn segment(&mut self, record: &SegmentRecord, root_before: Hash) -> io::Result<()> {
        if self.size() != record.first {
            let reason = format!("the entries up to position {} are not there", record.first);
            let size = self.size();
            self.damaged("segments", size, reason);
            self.jump(record.first);
        }
        self.first_other_leaf = None;
        match &record.state {
            SegmentState::Sealed { end, root, .. } => {
                self.sealed(record, *end)?;
                self.end_of_segment(record, *end, *root, "sealed");
            }
            SegmentState::Full { end, root, bytes } => {
                self.plain(record, root_before, *bytes)?;
                self.end_of_segment(record, *end, *root, "seg");
            }
            SegmentState::Open => {
                self.plain(record, root_before, u64::MAX)?;
                if let Some(position) = self.first_other_leaf {
                    self.derived("hashes/0", position, "a leaf hash is not that of its entry");
                }
            }
        }
        Ok(())
    }

    /// Decides what is wrong where entries and hashes differ, and goes on from the hashes if the entries are.
    fn end_of_segment(&mut self, record: &SegmentRecord, end: u64, root: Hash, ending: &str) {
        let right = self.size() == end && self.frontier.root() == root;
        match (right, self.first_other_leaf) {
            (true, None) => {}
            (true, Some(position)) => {
                self.derived("hashes/0", position, "a leaf hash is not that of its entry");
            }
            (false, other) => {
                let position = other.unwrap_or_else(|| self.size().min(end).max(record.first));
                let file = format!("segments/{:08}.{ending}", record.number);
                self.damaged(
                    &file,
                    position,
                    "the entries do not give the root that the manifest says",
                );
                self.jump(end);
            }
        }
    }

    /// Goes on at `size` with what the hash files say, where the entries before it cannot be read.
    fn jump(&mut self, size: u64) {
        if let Ok(frontier) = frontier_at(&self.hashes, size) {
            self.frontier = frontier;
        }
        self.nodes.clear();
        self.nodes_from = self.size();
    }

    fn sealed(&mut self, record: &SegmentRecord, end: u64) -> io::Result<()> {
        let SegmentState::Sealed { files, .. } = &record.state else {
            return Ok(());
        };
        for file in files {
            self.report.sealed_files += 1;
            let name = format!("segments/{:08}.{}.sealed", record.number, file.class);
            match SealedFile::open(&**self.disk, self.dir, record.number, file)? {
                Err(reason) => {
                    self.damaged(&name, record.first, reason);
                    return Ok(());
                }
                Ok(sealed) => {
                    if !sealed.is_whole()? {
                        let position = self.first_bad_bundle(&sealed, record.first)?;
                        self.damaged(&name, position, "its bytes do not give its checksum");
                    }
                    if sealed.entries() != file.entries {
                        self.damaged(
                            &name,
                            record.first,
                            "it does not hold as many entries as the manifest says",
                        );
                    }
                }
            }
        }
        let part = SealedPart {
            number: record.number,
            first: record.first,
            files: files.clone(),
        };
        while self.size() < end {
            let mut block = EntryBlock::new();
            let count = PIECE_ENTRIES.min((end - self.size()) as usize);
            let read = self
                .cache
                .read(&part, self.size(), count, PIECE_BYTES, &mut block);
            let leaves: Vec<Hash> = block.iter().map(|(_, entry)| leaf_hash(entry)).collect();
            self.report.entry_bytes += block.bytes().len() as u64;
            self.take(&leaves)?;
            match read {
                Ok(()) => {}
                Err(ReadError::Unavailable(reason)) => return Err(io::Error::other(reason)),
                Err(error) => {
                    let position = self.size();
                    self.damaged(
                        &format!("segments/{:08}", record.number),
                        position,
                        error.to_string(),
                    );
                    self.first_other_leaf.get_or_insert(position);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn first_bad_bundle(&self, sealed: &SealedFile, otherwise: u64) -> io::Result<u64> {
        let mut unpacker = super::sealed::Unpacker::new()?;
        for bundle in 0..sealed.bundles() {
            if sealed.bundle(bundle, &mut unpacker)?.is_err() {
                return Ok(sealed.first_of(bundle).unwrap_or(otherwise));
            }
        }
        Ok(otherwise)
    }

    fn plain(&mut self, record: &SegmentRecord, root_before: Hash, bytes: u64) -> io::Result<()> {
        let name = format!("segments/{:08}.seg", record.number);
        let path = frames_path(self.dir, record.number);
        let file = match self.disk.open(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.damaged(&name, record.first, "it is missing: restore it from a copy");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut head = [0; SEGMENT_HEAD_BYTES];
        file.read_at(&mut head, 0)?;
        if head != segment::head(record.number, record.first, &root_before) {
            self.damaged(&name, record.first, "its head is not whole");
        }
        let mut reader = FrameReader::new(file.clone(), SEGMENT_HEAD_BYTES as u64, bytes)?;
        let mut slots = Vec::new();
        loop {
            match reader.step()? {
                Found::Frame(frame) => {
                    if !self.frame(&name, &frame, &mut slots)? {
                        break;
                    }
                }
                Found::End => break,
                Found::Bad => {
                    self.bad_frame(record, &name, &mut reader)?;
                    break;
                }
            }
        }
        self.compare_index(record, &slots)
    }

    /// Takes a frame's entries; whether it goes on behind it.
    fn frame(&mut self, name: &str, frame: &Frame<'_>, slots: &mut Vec<u8>) -> io::Result<bool> {
        let size = self.size();
        if frame.head.first != size {
            let reason = format!("a frame begins with position {}", frame.head.first);
            self.damaged(name, size, reason);
            return Ok(false);
        }
        self.report.frames += 1;
        let mut leaves = Vec::new();
        for (offset, entry) in frame.entries() {
            leaves.push(leaf_hash(entry));
            slots.extend_from_slice(&Slot::new(offset, entry).0.to_le_bytes());
            self.report.entry_bytes += entry.len() as u64;
        }
        self.take(&leaves)?;
        if self.frontier.root() != frame.head.root {
            let position = self.first_other_leaf.take().unwrap_or(size).max(size);
            self.damaged(
                name,
                position,
                "the entries do not give the root that their frame says",
            );
            return Ok(false);
        }
        Ok(true)
    }

    fn bad_frame(&mut self, record: &SegmentRecord, name: &str, reader: &mut FrameReader) -> io::Result<()> {
        let size = self.size();
        let covered = self.report.signed.is_some_and(|signed| size < signed.get());
        let whole_behind = reader.whole_frame_behind(size)?.is_some();
        if covered || whole_behind || record.state != SegmentState::Open {
            self.damaged(name, size, "a frame is not whole: restore it from a copy");
        } else {
            let bytes = reader.end_of_bytes(reader.offset())? - reader.offset();
            self.report.tail = Some(Tail {
                position: Position(size),
                bytes,
            });
        }
        Ok(())
    }

    /// Takes leaf hashes into the tree and compares them with the stored ones.
    fn take(&mut self, leaves: &[Hash]) -> io::Result<()> {
        let from = self.size();
        let end = from + leaves.len() as u64;
        if self.first_other_leaf.is_none() {
            self.first_other_leaf = first_other(&self.hashes, end, 0, from, leaves)?;
        }
        self.frontier.extend(leaves, &mut self.nodes);
        Ok(())
    }

    /// Compares the nodes that became complete with the stored ones.
    fn compare_nodes(&mut self) -> io::Result<()> {
        let size = self.size();
        let nodes = std::mem::take(&mut self.nodes);
        for (level, nodes) in nodes.levels.iter().enumerate().skip(1) {
            let level = level as u8;
            let index = complete(self.nodes_from, level);
            if let Some(other) = first_other(&self.hashes, size, level, index, nodes)? {
                let position = other << (8 * u32::from(level));
                let reason = format!("the node {other} is not the one that the entries give");
                self.derived(&format!("hashes/{level}"), position, reason);
            }
        }
        self.nodes_from = size;
        Ok(())
    }

    fn compare_index(&mut self, record: &SegmentRecord, expected: &[u8]) -> io::Result<()> {
        let name = format!("segments/{:08}.idx", record.number);
        let found = match read_file(&**self.disk, &index_path(self.dir, record.number)) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let same = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
        if same < expected.len() {
            let position = record.first + same as u64 / SLOT_BYTES;
            self.derived(&name, position, "a slot is not that of its entry");
        }
        Ok(())
    }

    fn compare_checkpoint(&mut self, size: u64, root: Hash) {
        if size > self.size() {
            let position = self.size();
            self.damaged(
                CHECKPOINT,
                position,
                format!("the ledger ends before its signed size {size}"),
            );
        } else if !frontier_at(&self.hashes, size).is_ok_and(|frontier| frontier.root() == root) {
            self.damaged(
                CHECKPOINT,
                0,
                format!("the first {size} entries do not give the root it says"),
            );
        }
    }

    /// Blobs that are made again when they are damaged.
    fn small_files(&mut self) -> io::Result<()> {
        let folders = [
            (slots::snapshots(self.dir), "snapshots"),
            (slots::days(self.dir), "days"),
        ];
        let mut files = vec![(self.dir.join(mark::NAME), mark::NAME.to_owned())];
        for (folder, short) in folders {
            for name in self.disk.list(&folder)? {
                if !name.ends_with(".new") {
                    files.push((folder.join(&name), format!("{short}/{name}")));
                }
            }
        }
        for (path, name) in files {
            if blob::load(&**self.disk, &path)? == Blob::Damaged {
                self.derived(&name, 0, "it is damaged");
            }
        }
        Ok(())
    }

    fn quarantine(&mut self) -> io::Result<()> {
        let folder = quarantine::folder(self.dir);
        for name in self.disk.list(&folder)? {
            if let Some((position, hash)) = TailCut::parse_file_name(&name)
                && sha256(&read_file(&**self.disk, &folder.join(&name))?) != hash
            {
                self.damaged(&format!("quarantine/{name}"), position, "it is not what was cut");
            }
        }
        Ok(())
    }
}

/// The index of the first of `expected` that is not stored; none if all are.
fn first_other(
    hashes: &HashFiles,
    size: u64,
    level: u8,
    from: u64,
    expected: &[Hash],
) -> io::Result<Option<u64>> {
    let mut stored = Vec::with_capacity(expected.len());
    match hashes.read(size, level, from, expected.len(), &mut stored) {
        Ok(()) | Err(ReadError::Corrupt { .. } | ReadError::Beyond(_)) => {}
        Err(ReadError::Unavailable(reason)) => return Err(io::Error::other(reason)),
    }
    let same = expected.iter().zip(&stored).take_while(|(a, b)| a == b).count();
    Ok((same < expected.len()).then(|| from + same as u64))
}
