//! Opening a ledger: the lock, the manifest, the checkpoints and the anchor, and what a torn write left.
//!
//! Invariants: nothing is cut that a signed checkpoint covers; what is cut is first kept in `quarantine/`; the last
//! frame is written and synced again before anybody sees it, because the process before this one may have seen its
//! sync fail; a reader beside a running service writes nothing.
//! If the process dies anywhere in here, the next start finds the same and does the same.
//! Not here: reading frames (`recover`), making checkpoints (`sequencer`).

use super::cache::SealedCache;
use super::disk::{Access, Disk, DiskFile, LockError, LockGuard, is_full, lock_owner};
use super::frame::{FRAME_BYTES_MAX, Found, FrameReader};
use super::guard::{CheckpointGuard, NAME, Signed, Standing, anchor_path};
use super::hashes::{self, HashFiles};
use super::manifest::{Loaded, Manifest, SegmentRecord, SegmentState};
use super::recover::{DerivedTo, Restored, Source, restore};
use super::segment::{self, PlainSegment, SEGMENT_HEAD_BYTES};
use super::upkeep::{Upkeep, UpkeepThread};
use super::view::{Part, View, frontier_at};
use super::writer::{Writer, month_of};
use super::{Inner, Ledger, Options, Recovery, TailCut, slots};
use domain::Hash;
use domain::hash::sha256;
use domain::position::{Position, TreeSize};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// A reader that comes while a segment is being sealed looks at the manifest again, this often.
const LOOKS_MAX: usize = 5;

/// Why a ledger was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to it.
    #[error("the ledger in {} is in use by {holder}: stop that process first", dir.display())]
    Locked {
        /// The ledger's folder.
        dir: PathBuf,
        /// What the other one wrote of itself.
        holder: String,
    },
    /// What is stored is not what was written.
    #[error("the ledger is damaged at position {position}: {reason}")]
    Corrupt {
        /// The first position that cannot be trusted.
        position: Position,
        /// What was found, and what to do.
        reason: String,
    },
    /// A file that the manifest names is not there.
    #[error("the ledger is damaged at position {position}: {file} is missing: restore it from a copy")]
    Missing {
        /// The first position it held.
        position: Position,
        /// The file.
        file: String,
    },
    /// The folder is older than what was signed.
    #[error(
        "the ledger in {} has {size} entries, but a checkpoint of size {anchored} was signed, as {} shows: this is \
         an older copy. Restore the newest one; if it is lost, start a new ledger that continues this one",
        dir.display(), anchor.display()
    )]
    Older {
        /// The ledger's folder.
        dir: PathBuf,
        /// What it holds.
        size: TreeSize,
        /// What was signed.
        anchored: TreeSize,
        /// Where that is kept.
        anchor: PathBuf,
    },
    /// The entries are not those that were signed.
    #[error(
        "the first {size} entries in {} are not those that were signed, as {} shows: restore the folder from a copy",
        dir.display(), checkpoint.display()
    )]
    Inconsistent {
        /// The ledger's folder.
        dir: PathBuf,
        /// The checkpoint's size.
        size: TreeSize,
        /// Where the checkpoint is kept.
        checkpoint: PathBuf,
    },
    /// It is another ledger.
    #[error("the ledger in {} has the origin {found}, not {expected}", dir.display())]
    OtherOrigin {
        /// The ledger's folder.
        dir: PathBuf,
        /// The origin that was asked for.
        expected: String,
        /// The origin of its checkpoint.
        found: String,
    },
    /// The anchor cannot be read.
    #[error(
        "{} is damaged: compare the ledger with a head kept elsewhere, and if it agrees, remove that file",
        path.display()
    )]
    AnchorDamaged {
        /// The file.
        path: PathBuf,
    },
    /// There is no ledger to read.
    #[error("there is no ledger in {}", dir.display())]
    NoLedger {
        /// The folder.
        dir: PathBuf,
    },
    /// The disk failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the disk said.
        source: io::Error,
    },
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.to_owned();
    move |source| OpenError::Io { what, source }
}

fn corrupt(position: u64, reason: &str) -> OpenError {
    OpenError::Corrupt {
        position: Position(position),
        reason: reason.to_owned(),
    }
}

impl Ledger {
    /// Opens the ledger in `dir` for appending, and makes it if the folder is empty.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was cut then.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        let disk = options.disk.clone();
        for folder in folders(dir) {
            disk.create_dir(&folder).map_err(io_error("making a folder"))?;
        }
        let lock = lock(&*disk, dir)?;
        let checkpoints = Checkpoints::load(&*disk, dir, &options)?;
        let manifest = load_or_make(&*disk, dir, &checkpoints)?;
        remove_strangers(&*disk, dir, &manifest)?;
        let opened = Opened::new(dir, &options, manifest, &checkpoints, DerivedTo::Files)?;
        let cut = opened.cut_tail(&*disk, dir)?;
        let last_frame = opened.write_last_frame_again();
        last_frame.map_err(io_error("syncing the last commit again"))?;
        let guard = CheckpointGuard::new(disk, dir, options.anchor.clone(), checkpoints.latest().cloned());
        if let Some(latest) = checkpoints.to_repair() {
            let stored = guard.store(latest);
            stored.map_err(io_error("keeping the latest checkpoint in both places"))?;
        }
        let writer = opened.writer()?;
        let recovery = opened.recovery(&checkpoints, cut);
        let ledger = opened.into_ledger(dir, options, guard, Some(writer), Some(lock))?;
        Ok((ledger, recovery))
    }

    /// Opens the ledger in `dir` beside a running service: takes no lock, writes nothing, cuts nothing, and reads
    /// up to the size that it finds.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_read_only(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        let disk = options.disk.clone();
        let mut looks = 0;
        let (opened, checkpoints) = loop {
            looks += 1;
            let checkpoints = Checkpoints::load(&*disk, dir, &options)?;
            let manifest = match Manifest::load(&*disk, dir).map_err(io_error("reading the manifest"))? {
                Loaded::Manifest { manifest, .. } => manifest,
                Loaded::Missing => return Err(OpenError::NoLedger { dir: dir.to_owned() }),
                Loaded::Damaged => return Err(damaged_manifest()),
            };
            match Opened::new(dir, &options, manifest, &checkpoints, DerivedTo::Memory) {
                Ok(opened) => break (opened, checkpoints),
                Err(OpenError::Missing { .. }) if looks < LOOKS_MAX => {}
                Err(error) => return Err(error),
            }
        };
        let guard = CheckpointGuard::new(disk, dir, None, checkpoints.latest().cloned());
        let recovery = opened.recovery(&checkpoints, Vec::new());
        let ledger = opened.into_ledger(dir, options, guard, None, None)?;
        Ok((ledger, recovery))
    }
}

/// The folders of a ledger.
fn folders(dir: &Path) -> [PathBuf; 6] {
    [
        dir.to_owned(),
        segment::folder(dir),
        hashes::folder(dir),
        quarantine_folder(dir),
        slots::snapshots(dir),
        slots::days(dir),
    ]
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<LockGuard, OpenError> {
    disk.lock(&dir.join("lock"), &lock_owner())
        .map_err(|error| match error {
            LockError::Held(holder) => OpenError::Locked {
                dir: dir.to_owned(),
                holder: match holder.is_empty() {
                    true => "another process".to_owned(),
                    false => holder,
                },
            },
            LockError::Io(source) => OpenError::Io {
                what: "locking the ledger".to_owned(),
                source,
            },
        })
}

fn damaged_manifest() -> OpenError {
    corrupt(
        0,
        "the manifest and its copy are damaged: restore `manifest` from a copy",
    )
}

/// The manifest, or that of a new ledger.
fn load_or_make(disk: &dyn Disk, dir: &Path, checkpoints: &Checkpoints) -> Result<Manifest, OpenError> {
    let store = |manifest: &Manifest| {
        let stored = manifest.store(disk, dir);
        stored.map_err(|error| OpenError::Io {
            what: "writing the manifest".to_owned(),
            source: io::Error::new(error.io().kind(), error.io().to_string()),
        })
    };
    match Manifest::load(disk, dir).map_err(io_error("reading the manifest"))? {
        Loaded::Manifest { manifest, both } => {
            if !both {
                store(&manifest)?;
            }
            Ok(manifest)
        }
        Loaded::Damaged => Err(damaged_manifest()),
        Loaded::Missing => {
            checkpoints.covered_by(dir, 0)?;
            if has_entries(disk, dir).map_err(io_error("looking for segments"))? {
                return Err(corrupt(
                    0,
                    "the manifest is missing: restore `manifest` from a copy",
                ));
            }
            PlainSegment::create(disk, dir, 0, 0, &Hash::empty_root())
                .map_err(io_error("making a segment"))?;
            disk.sync_dir(dir).map_err(io_error("making the ledger"))?;
            let manifest = Manifest::new();
            store(&manifest)?;
            Ok(manifest)
        }
    }
}

/// Whether there is anything that a new ledger would lose.
fn has_entries(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
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
fn remove_strangers(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let folder = segment::folder(dir);
    let names = disk.list(&folder).map_err(io_error("looking for segments"))?;
    let mut changed = false;
    for name in names {
        let path = folder.join(&name);
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
            true => disk.rename(&path, &quarantine_folder(dir).join(&name)),
            false => disk.remove(&path),
        };
        gone.map_err(io_error("putting a file aside that is not part of the ledger"))?;
    }
    if changed {
        disk.sync_dir(&quarantine_folder(dir))
            .and_then(|()| disk.sync_dir(&folder))
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

/// The latest signed checkpoint, as it stands in the folder and outside.
struct Checkpoints {
    inside: Standing,
    inside_path: PathBuf,
    outside: Option<Signed>,
    outside_path: Option<PathBuf>,
}

impl Checkpoints {
    fn load(disk: &dyn Disk, dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let inside_path = dir.join(NAME);
        let inside = Standing::load(disk, &inside_path).map_err(io_error("reading the latest checkpoint"))?;
        let found = inside.signed().map(|signed| signed.says.origin().to_owned());
        if let (Some(expected), Some(found)) = (&options.origin, &found)
            && expected != found
        {
            return Err(OpenError::OtherOrigin {
                dir: dir.to_owned(),
                expected: expected.clone(),
                found: found.clone(),
            });
        }
        let origin = options.origin.clone().or(found);
        let outside_path = options
            .anchor
            .as_ref()
            .zip(origin)
            .map(|(folder, origin)| anchor_path(folder, &origin));
        let outside = match &outside_path {
            Some(path) => match Standing::load(disk, path).map_err(io_error("reading the anchor"))? {
                Standing::Damaged => return Err(OpenError::AnchorDamaged { path: path.clone() }),
                standing => standing.signed().cloned(),
            },
            None => None,
        };
        if inside == Standing::Damaged && outside.is_none() {
            let reason = "`checkpoint` is damaged and no anchor has it: restore it from a copy";
            return Err(corrupt(0, reason));
        }
        Ok(Self {
            inside,
            inside_path,
            outside,
            outside_path,
        })
    }

    /// The largest that was signed.
    fn latest(&self) -> Option<&Signed> {
        let inside = self.inside.signed();
        match &self.outside {
            Some(outside) if inside.is_none_or(|inside| inside.size() < outside.size()) => Some(outside),
            _ => inside,
        }
    }

    /// What the folder itself says was signed: entries missing below it are damage, below the anchor only an older
    /// copy.
    fn signed_inside(&self) -> u64 {
        match (&self.inside, &self.outside) {
            (Standing::Damaged, Some(outside)) => outside.size(),
            _ => self.inside.signed().map_or(0, Signed::size),
        }
    }

    /// The latest, if it does not stand in both places.
    fn to_repair(&self) -> Option<&Signed> {
        let latest = self.latest()?;
        let outside_is = self.outside_path.is_none() || self.outside.as_ref() == Some(latest);
        (self.inside.signed() != Some(latest) || !outside_is).then_some(latest)
    }

    /// Refuses a folder that is older than what was signed.
    fn covered_by(&self, dir: &Path, size: u64) -> Result<(), OpenError> {
        match (&self.outside, &self.outside_path) {
            (Some(outside), Some(path)) if outside.size() > size => Err(OpenError::Older {
                dir: dir.to_owned(),
                size: TreeSize(size),
                anchored: outside.says.size(),
                anchor: path.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The checkpoints and where they stand.
    fn all(&self) -> impl Iterator<Item = (&Signed, &Path)> {
        let outside = self.outside.iter().zip(self.outside_path.as_deref());
        let inside = self
            .inside
            .signed()
            .map(|signed| (signed, self.inside_path.as_path()));
        inside.into_iter().chain(outside)
    }
}

/// A ledger whose files were read.
struct Opened {
    disk: Arc<dyn Disk>,
    manifest: Manifest,
    hashes: HashFiles,
    cache: SealedCache,
    restored: Restored,
}

impl Opened {
    fn new(
        dir: &Path,
        options: &Options,
        manifest: Manifest,
        checkpoints: &Checkpoints,
        derived: DerivedTo,
    ) -> Result<Self, OpenError> {
        let disk = options.disk.clone();
        let access = match derived {
            DerivedTo::Files => Access::Write,
            DerivedTo::Memory => Access::Read,
        };
        let hashes = HashFiles::open(disk.clone(), dir, access).map_err(io_error("opening the hashes"))?;
        let cache = SealedCache::new(disk.clone(), dir.to_owned(), options.cache_bytes);
        let read = |rebuild| {
            restore(&Source {
                disk: &disk,
                dir,
                manifest: &manifest,
                hashes: &hashes,
                cache: &cache,
                derived,
                signed: checkpoints.signed_inside(),
                acknowledged: None,
                rebuild,
            })
        };
        let mut restored = read(options.rebuild_derived)?;
        checkpoints.covered_by(dir, restored.frontier.size().get())?;
        let mut wrong = first_inconsistent(checkpoints, &hashes);
        if wrong.is_some() && !restored.rebuilt {
            restored = read(true)?;
            wrong = first_inconsistent(checkpoints, &hashes);
        }
        if let Some((size, checkpoint)) = wrong {
            return Err(OpenError::Inconsistent {
                dir: dir.to_owned(),
                size,
                checkpoint,
            });
        }
        Ok(Self {
            disk,
            manifest,
            hashes,
            cache,
            restored,
        })
    }

    /// The open segment.
    fn open_segment(&self) -> Option<&Arc<PlainSegment>> {
        match self.restored.parts.last() {
            Some(Part::Plain(segment)) => Some(segment),
            _ => None,
        }
    }

    /// Cuts what a torn write left; every cut that no entry came after yet, this one last.
    fn cut_tail(&self, disk: &dyn Disk, dir: &Path) -> Result<Vec<TailCut>, OpenError> {
        let size = self.restored.frontier.size().get();
        let mut now = None;
        if let (Some(tail), Some(segment)) = (&self.restored.tail, self.open_segment()) {
            now = quarantine(disk, dir, &*segment.file, size, tail.clone())
                .map_err(io_error("keeping a torn commit in quarantine"))?;
            let cut = segment
                .file
                .set_len(tail.start)
                .and_then(|()| segment.file.sync_all());
            cut.map_err(io_error("cutting a torn commit"))?;
            tracing::warn!(
                position = size,
                bytes = tail.end - tail.start,
                "a torn commit was cut"
            );
        }
        let mut cuts = unrecorded(disk, dir, size).map_err(io_error("reading the quarantine"))?;
        if let Some(now) = now {
            cuts.retain(|cut| *cut != now);
            cuts.push(now);
        }
        Ok(cuts)
    }

    /// Writes the last frame over itself and syncs it. It may be one whose sync failed in the process before this
    /// one; then it is on no disk, although it can be read.
    fn write_last_frame_again(&self) -> io::Result<()> {
        let (Some(at), Some(segment)) = (self.restored.last_frame, self.open_segment()) else {
            return Ok(());
        };
        let mut reader = FrameReader::new(segment.file.clone(), at, self.restored.end)?;
        if let Found::Frame(frame) = reader.step()? {
            let bytes = frame.bytes().to_vec();
            segment.file.write_at(&bytes, at)?;
        }
        segment.file.sync_all()
    }

    fn writer(&self) -> Result<Writer, OpenError> {
        let segment = self.open_segment().ok_or_else(damaged_manifest)?;
        let (size, root) = (self.restored.frontier.size().get(), self.restored.frontier.root());
        let mut writer = Writer::new(
            segment.clone(),
            size,
            root,
            self.restored.end,
            self.restored.last_frame,
        );
        if segment.first < size {
            let mut first = domain::ports::EntryBlock::new();
            if segment.read(segment.first, 1, 0, &mut first).is_ok() {
                writer.month = first.get(0).and_then(|(_, entry)| month_of(entry));
            }
        }
        Ok(writer)
    }

    fn recovery(&self, checkpoints: &Checkpoints, mut cuts: Vec<TailCut>) -> Recovery {
        let tail_cut = cuts.pop();
        Recovery {
            size: self.restored.frontier.size(),
            root: self.restored.frontier.root(),
            frontier: self.restored.frontier.clone(),
            tail_cut,
            earlier_cuts: cuts,
            rechecked: self.restored.rechecked,
            derived_rebuilt: self.restored.rebuilt,
            checkpoint: checkpoints.latest().map(|signed| signed.note.clone()),
        }
    }

    fn into_ledger(
        self,
        dir: &Path,
        options: Options,
        guard: CheckpointGuard,
        writer: Option<Writer>,
        lock: Option<LockGuard>,
    ) -> Result<Ledger, OpenError> {
        let size = self.restored.frontier.size();
        let reads_only = writer.is_none();
        let inner = Arc::new(Inner {
            dir: dir.to_owned(),
            disk: self.disk,
            segment_bytes: options.segment_bytes.min(FRAME_BYTES_MAX as u64),
            ahead_bytes: options.ahead_bytes,
            classify: options.classify,
            size: AtomicU64::new(size.get()),
            grown: tokio::sync::watch::Sender::new(size),
            view: RwLock::new(Arc::new(View {
                parts: self.restored.parts,
            })),
            hashes: self.hashes,
            cache: self.cache,
            writer: Mutex::new(writer),
            manifest: Mutex::new(self.manifest),
            failed: Mutex::new(None),
            trouble: Mutex::new(None),
            guard,
            wants_upkeep: AtomicBool::new(false),
            synced: AtomicU64::new(0),
            upkeep_state: Mutex::default(),
            _lock: lock,
        });
        let upkeep = match options.upkeep {
            Upkeep::InBackground if !reads_only => {
                let thread = UpkeepThread::start(inner.clone());
                Some(thread.map_err(io_error("starting the upkeep"))?)
            }
            _ => None,
        };
        let ledger = Ledger {
            inner,
            upkeep: Mutex::new(upkeep),
        };
        ledger.kick();
        Ok(ledger)
    }
}

/// The first checkpoint that the tree does not give, and where it stands.
fn first_inconsistent(checkpoints: &Checkpoints, hashes: &HashFiles) -> Option<(TreeSize, PathBuf)> {
    checkpoints.all().find_map(|(signed, path)| {
        let frontier = frontier_at(hashes, signed.size());
        let same = frontier.is_ok_and(|frontier| frontier.root() == signed.says.root());
        (!same).then(|| (signed.says.size(), path.to_owned()))
    })
}

/// The folder of what was cut.
pub(super) fn quarantine_folder(dir: &Path) -> PathBuf {
    dir.join("quarantine")
}

/// Copies bytes of a segment to `quarantine/`, durably, under a name made of position and hash; `None` for zeros.
pub(super) fn quarantine(
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
    let folder = quarantine_folder(dir);
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
    let folder = quarantine_folder(dir);
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
