//! A disk in memory that fails where it is told to: the n-th operation fails, or fails although it took effect,
//! or the process dies there; and then the power goes, or does not.
//!
//! Every file has the bytes that a reader sees and the bytes that a loss of power leaves. A sync that fails makes
//! nothing durable and forgets what was to be synced, as kernels do: only bytes that are written again reach the
//! disk. Deterministic: the same plan gives the same bytes.
//! Not here: what must hold afterwards (`fault_tests`).

use super::disk::{Access, Disk, DiskFile, LockError, LockGuard, SharedFile};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk loses unsynced bytes in pieces of this size.
const SECTOR_BYTES: usize = 512;

/// What happens at the planned operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It has no effect and says that it failed.
    Fails,
    /// It takes effect and says that it failed.
    FailsButPersists,
    /// It has no effect and says that there is no space.
    Full,
    /// It takes half its effect, and nothing works any more.
    Dies,
}

/// What a restart finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Only the process died: everything written is there, synced or not.
    Nothing,
    /// The power went: only what was synced is there.
    EverythingUnsynced,
    /// The power went: of what was not synced some sectors and some names are there.
    Some(u64),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<Range<usize>>,
    /// The length changed since the last sync.
    length_dirty: bool,
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    next_inode: u64,
    locks: BTreeSet<PathBuf>,
    boot: u64,
    operations: u64,
    plan: Option<(u64, Fault)>,
    dead: bool,
    bytes_max: Option<usize>,
    log: Vec<String>,
}

/// The disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

struct FaultFile {
    disk: FaultDisk,
    inode: u64,
    boot: u64,
    name: String,
}

enum Act {
    Do,
    DoAndFail,
    Fail,
    Full,
    Die,
}

fn failed() -> io::Error {
    io::Error::other("the disk failed, as planned")
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left, as planned")
}

impl State {
    /// Counts an operation that changes something, and says what becomes of it.
    fn step(&mut self, what: &str) -> Act {
        if self.dead {
            return Act::Fail;
        }
        let n = self.operations;
        self.operations += 1;
        self.log.push(format!("{n}: {what}"));
        match self.plan {
            Some((at, fault)) if at == n => match fault {
                Fault::Fails => Act::Fail,
                Fault::FailsButPersists => Act::DoAndFail,
                Fault::Full => Act::Full,
                Fault::Dies => {
                    self.dead = true;
                    Act::Die
                }
            },
            _ => Act::Do,
        }
    }

    fn used(&self) -> usize {
        self.inodes.values().map(|inode| inode.seen.len()).sum()
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.seen.len() {
            self.seen.resize(end, 0);
            self.length_dirty = true;
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.dirty.push(offset..end);
    }

    fn resize(&mut self, len: usize) {
        self.seen.resize(len, 0);
        self.length_dirty = true;
    }

    /// Makes those dirty sectors durable that `keep` says, and all of the length.
    fn persist(&mut self, mut keep: impl FnMut(usize) -> bool) {
        if self.length_dirty {
            self.durable.resize(self.seen.len(), 0);
            self.length_dirty = false;
        }
        for range in std::mem::take(&mut self.dirty) {
            if range.end > self.durable.len() {
                self.durable.resize(range.end.min(self.seen.len()), 0);
            }
            for sector in range.start / SECTOR_BYTES..=range.end / SECTOR_BYTES {
                let from = range.start.max(sector * SECTOR_BYTES);
                let to = range
                    .end
                    .min((sector + 1) * SECTOR_BYTES)
                    .min(self.seen.len())
                    .min(self.durable.len());
                if from < to && keep(sector) {
                    self.durable[from..to].copy_from_slice(&self.seen[from..to]);
                }
            }
        }
    }
}

/// A coin that falls the same way for the same seed and names.
fn coin(seed: u64, a: u64, b: u64) -> bool {
    let mut x = seed ^ a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x >> 40) & 1 == 1
}

impl FaultDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another disk with the same bytes, on which nothing is planned and nobody holds a lock.
    pub fn copy(&self) -> Self {
        let mut state = self.state.lock().clone();
        state.locks.clear();
        state.plan = None;
        state.dead = false;
        state.log.clear();
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Plans a fault at the `n`-th operation from the disk's first.
    pub fn plan(&self, n: u64, fault: Fault) {
        self.state.lock().plan = Some((n, fault));
    }

    /// Plans nothing any more.
    pub fn heal(&self) {
        self.state.lock().plan = None;
    }

    /// How many operations were counted.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// What the `n`-th operation was.
    pub fn operation(&self, n: u64) -> String {
        self.state.lock().log.get(n as usize).cloned().unwrap_or_default()
    }

    /// Whether the process died.
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    /// Lets all files together hold at most so many bytes.
    pub fn limit(&self, bytes_max: Option<usize>) {
        self.state.lock().bytes_max = bytes_max;
    }

    /// Bytes in all files.
    pub fn used(&self) -> usize {
        self.state.lock().used()
    }

    /// The process is gone, and what `loss` says with it.
    pub fn restart(&self, loss: Loss) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.boot += 1;
        state.dead = false;
        state.plan = None;
        state.locks.clear();
        if loss == Loss::Nothing {
            return;
        }
        for (&id, inode) in &mut state.inodes {
            if let Loss::Some(seed) = loss
                && coin(seed, id, u64::MAX)
            {
                inode.persist(|sector| coin(seed, id, sector as u64));
            }
            inode.seen = inode.durable.clone();
            inode.dirty.clear();
            inode.length_dirty = false;
        }
        if let Loss::Some(seed) = loss {
            let folders: BTreeSet<PathBuf> = state
                .names
                .keys()
                .filter_map(|path| path.parent().map(Path::to_owned))
                .collect();
            for (i, folder) in folders.iter().enumerate() {
                if coin(seed, i as u64, 7) {
                    state.persist_names(folder);
                }
            }
        }
        state.names = state.durable_names.clone();
    }

    /// All files and their bytes.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state.lock();
        state
            .names
            .iter()
            .map(|(path, id)| (path.clone(), state.inodes[id].seen.clone()))
            .collect()
    }

    /// Puts other bytes into a file, behind everybody's back and durably.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let id = state.names[path];
        let inode = state.inodes.get_mut(&id).expect("a name has an inode");
        change(&mut inode.seen);
        inode.durable = inode.seen.clone();
        inode.dirty.clear();
        inode.length_dirty = false;
    }

    /// Takes a file away, behind everybody's back and durably.
    pub fn lose(&self, path: &Path) {
        let mut state = self.state.lock();
        state.names.remove(path);
        state.durable_names.remove(path);
    }
}

impl State {
    fn persist_names(&mut self, folder: &Path) {
        self.durable_names.retain(|path, _| path.parent() != Some(folder));
        let now = self
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(folder));
        self.durable_names
            .extend(now.map(|(path, id)| (path.clone(), *id)));
    }
}

impl FaultFile {
    fn change(
        &self,
        what: &str,
        grows_to: Option<usize>,
        whole: impl FnOnce(&mut Inode),
        half: impl FnOnce(&mut Inode),
        on_failure: impl FnOnce(&mut Inode),
    ) -> io::Result<()> {
        let mut guard = self.disk.state.lock();
        let state = &mut *guard;
        if state.boot != self.boot {
            return Err(failed());
        }
        let act = state.step(&format!("{what} {}", self.name));
        let used = state.used();
        let bytes_max = state.bytes_max;
        let inode = state
            .inodes
            .get_mut(&self.inode)
            .expect("an open file has an inode");
        let growth = grows_to.unwrap_or(0).saturating_sub(inode.seen.len());
        if growth > 0 && bytes_max.is_some_and(|max| used + growth > max) {
            return Err(full());
        }
        match act {
            Act::Do => whole(inode),
            Act::DoAndFail => {
                whole(inode);
                return Err(failed());
            }
            Act::Fail => {
                on_failure(inode);
                return Err(failed());
            }
            Act::Full => return Err(full()),
            Act::Die => {
                half(inode);
                return Err(failed());
            }
        }
        Ok(())
    }
}

impl DiskFile for FaultFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        Ok(state.inodes[&self.inode].seen.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state.lock();
        let bytes = &state.inodes[&self.inode].seen;
        let from = (offset as usize).min(bytes.len());
        let count = buf.len().min(bytes.len() - from);
        buf[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = offset as usize;
        self.change(
            "write",
            Some(offset + bytes.len()),
            |inode| inode.write(bytes, offset),
            |inode| inode.write(&bytes[..bytes.len() / 2], offset),
            |_| {},
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.change(
            "sync",
            None,
            |inode| inode.persist(|_| true),
            |inode| inode.persist(|sector| sector % 2 == 0),
            |inode| {
                inode.dirty.clear();
                inode.length_dirty = false;
            },
        )
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = len as usize;
        self.change("set_len", Some(len), |inode| inode.resize(len), |_| {}, |_| {})
    }
}

impl FaultDisk {
    fn change(
        &self,
        what: &str,
        path: &Path,
        change: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.state.lock();
        match state.step(&format!("{what} {}", path.display())) {
            Act::Do => change(&mut state),
            Act::DoAndFail => change(&mut state).and(Err(failed())),
            Act::Full => Err(full()),
            Act::Fail | Act::Die => Err(failed()),
        }
    }
}

fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such file")
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        let found = self.state.lock().names.get(path).copied();
        let creates = match (access, found) {
            (Access::Read | Access::Write, None) => return Err(not_found()),
            (Access::CreateNew, Some(_)) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            (_, found) => found.is_none(),
        };
        if creates {
            self.change("create", path, |state| {
                let id = state.next_inode;
                state.next_inode += 1;
                state.inodes.insert(id, Inode::default());
                state.names.insert(path.to_owned(), id);
                Ok(())
            })?;
        }
        let state = self.state.lock();
        if state.dead {
            return Err(failed());
        }
        Ok(Arc::new(FaultFile {
            disk: self.clone(),
            inode: state.names[path],
            boot: state.boot,
            name: path.display().to_string(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change("rename", to, |state| {
            let id = state.names.remove(from).ok_or_else(not_found)?;
            state.names.insert(to.to_owned(), id);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.state.lock().names.contains_key(path) {
            return Err(not_found());
        }
        self.change("remove", path, |state| {
            state.names.remove(path);
            Ok(())
        })
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change("sync folder", path, |state| {
            state.persist_names(path);
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let names = state.names.keys().filter(|p| p.parent() == Some(path));
        Ok(names
            .filter_map(|p| p.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    fn lock(&self, path: &Path, owner: &str) -> Result<LockGuard, LockError> {
        struct Guard {
            disk: FaultDisk,
            path: PathBuf,
            boot: u64,
        }
        impl Drop for Guard {
            fn drop(&mut self) {
                let mut state = self.disk.state.lock();
                if state.boot == self.boot {
                    state.locks.remove(&self.path);
                }
            }
        }
        let mut state = self.state.lock();
        if !state.locks.insert(path.to_owned()) {
            return Err(LockError::Held(owner.trim().to_owned()));
        }
        Ok(Box::new(Guard {
            disk: self.clone(),
            path: path.to_owned(),
            boot: state.boot,
        }))
    }
}
