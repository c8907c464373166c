//! Opening a ledger: the lock, the manifest, the checkpoints and the anchor, and what a torn write left.
//!
//! Invariants: nothing is cut that a signed checkpoint covers; what is cut is first kept in `quarantine/`; the last
//! frame is written and synced again before anybody sees it, because the process before this one may have seen its
//! sync fail; a reader beside a running service writes nothing.
//! If the process dies anywhere in here, the next start finds the same and does the same.
//! Not here: reading frames (`recover`), what is kept of what is cut (`quarantine`), making checkpoints (`sequencer`).

use super::cache::SealedCache;
use super::disk::{Access, Disk, LockError, LockGuard, lock_owner};
use super::error::{OpenError, corrupt, io_error};
use super::frame::{FRAME_BYTES_MAX, Found, FrameReader};
use super::guard::CheckpointGuard;
use super::hashes::{self, HashFiles};
use super::manifest::{Loaded, Manifest};
use super::quarantine::{self, TailCut};
use super::recover::{Restored, restore};
use super::segment::{self, PlainSegment};
use super::signed::{Checkpoints, first_inconsistent};
use super::start::{DerivedTo, Source};
use super::upkeep::{Upkeep, UpkeepThread};
use super::view::{Part, View};
use super::writer::{Writer, month_of};
use super::{Inner, Ledger, Options, Recovery, slots};
use domain::Hash;
use domain::ports::EntryBlock;
use parking_lot::{Mutex, RwLock};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// A reader that comes while a segment is being sealed looks at the manifest again, this often.
const LOOKS_MAX: usize = 5;

impl Ledger {
    /// Opens the ledger in `dir` for appending, and makes it if the folder is empty.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was cut then.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        let disk = options.disk.clone();
        for folder in folders(dir).into_iter().chain(options.anchor.clone()) {
            disk.create_dir(&folder).map_err(io_error("making a folder"))?;
        }
        let lock = lock(&*disk, dir)?;
        let checkpoints = Checkpoints::load(&*disk, dir, &options)?;
        let manifest = load_or_make(&*disk, dir, options.anchor.as_deref(), &checkpoints)?;
        quarantine::remove_strangers(&*disk, dir, &manifest)?;
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
        quarantine::folder(dir),
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
fn load_or_make(
    disk: &dyn Disk,
    dir: &Path,
    anchors: Option<&Path>,
    checkpoints: &Checkpoints,
) -> Result<Manifest, OpenError> {
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
            if quarantine::has_entries(disk, dir).map_err(io_error("looking for segments"))? {
                return Err(corrupt(
                    0,
                    "the manifest is missing: restore `manifest` from a copy",
                ));
            }
            PlainSegment::create(disk, dir, 0, 0, &Hash::empty_root())
                .map_err(io_error("making a segment"))?;
            disk.sync_dir(dir).map_err(io_error("making the ledger"))?;
            // The names of the two folders themselves; whoever may not read what is above them made them before.
            for folder in [Some(dir), anchors].into_iter().flatten() {
                let _ = folder.parent().map_or(Ok(()), |above| disk.sync_dir(above));
            }
            let manifest = Manifest::new();
            store(&manifest)?;
            Ok(manifest)
        }
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
            now = quarantine::keep(disk, dir, &*segment.file, size, tail.clone())
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
        let mut cuts = quarantine::unrecorded(disk, dir, size).map_err(io_error("reading the quarantine"))?;
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
            let mut first = EntryBlock::new();
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
            reads_only: writer.is_none(),
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
            Upkeep::InBackground if !inner.reads_only => {
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
