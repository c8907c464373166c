//! Signing checkpoints, and the heads of days (FORMAT §4, §5).
//!
//! Invariants: nothing is signed that is inconsistent with what was signed; the guard (compare-and-swap of the
//! latest signed checkpoint) is durable before a signature is shown; sizes rise; a day's head is made once, at
//! exactly the size after its `DayClosed`, before anything larger is signed.
//! Where another process signs, this one offers what is durable, and takes over what was signed once it holds against the
//! ledger.
//! Not here: who else gets to see them (`chain-publisher`), asking for the cosignatures that are added to heads (`api`).

use super::rotate::{Handover, Signers};
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::merkle::Frontier;
use domain::note::Signer;
use domain::ports::{CheckpointStore, SwapError, TileStore};
use domain::tlog_proof::TlogProof;
use domain::{Date, Hash, Position, TreeSize};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// At most one checkpoint in this time (FORMAT §4).
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// What was signed before is ahead of the ledger or contradicts it: the directory is an older copy, or the
    /// ledger was changed.
    #[error(
        "a checkpoint of size {signed} was signed, but the ledger has {size} entries or another root: this is an \
         older copy or a changed ledger; restore the newest copy, or begin a ledger that continues this one with \
         `daybook continue`"
    )]
    Inconsistent {
        /// The size that was signed.
        signed: TreeSize,
        /// The ledger's size.
        size: TreeSize,
    },
    /// The guard could not be moved.
    #[error(transparent)]
    Guard(#[from] SwapError),
    /// Another process signs.
    #[error("another process signs the checkpoints of this ledger")]
    Elsewhere,
    /// The stored checkpoint or a tile cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

#[derive(Debug, Clone)]
struct Signed {
    size: TreeSize,
    root: Hash,
    note: Vec<u8>,
}

/// Who signs checkpoints.
#[derive(Clone)]
pub enum Signing {
    /// This process.
    Here(Arc<dyn Signer>),
    /// Another one.
    Elsewhere(Arc<dyn SignedElsewhere>),
}

/// The process that signs the checkpoints of this ledger.
pub trait SignedElsewhere: Send + Sync {
    /// Says which tree is durable: it may be signed, and so may every day that was closed in it.
    ///
    /// # Errors
    /// In words; it is said again with the next one.
    fn offer(&self, durable: &Checkpoint) -> Result<(), String>;

    /// The latest checkpoint that it has signed, whose signature holds; `None` if there is none yet.
    ///
    /// # Errors
    /// In words.
    fn latest(&self) -> Result<Option<Vec<u8>>, String>;
}

/// Who signs now, and from a rotation on; nobody where another process signs.
pub(super) struct InForce {
    pub now: Signers,
    pub handover: Option<Handover>,
}

/// The one that signs, or that takes over what another one has signed.
pub struct Checkpointer {
    origin: String,
    elsewhere: Option<Arc<dyn SignedElsewhere>>,
    in_force: Mutex<InForce>,
    store: Arc<dyn CheckpointStore>,
    latest: Mutex<Option<Signed>>,
    wanted: Mutex<(TreeSize, Hash, bool)>,
    changed: Condvar,
    /// What is stored was found damaged: nothing is signed any more.
    damaged: AtomicBool,
}

impl Checkpointer {
    /// Compares the guard with the ledger and is ready to sign.
    ///
    /// # Errors
    /// `Inconsistent` if what was signed is not a prefix of the ledger.
    pub fn open(
        origin: &str,
        signing: Signing,
        store: Arc<dyn CheckpointStore>,
        tiles: &dyn TileStore,
        size: TreeSize,
    ) -> Result<Self, CheckpointError> {
        let latest = match store.latest().map_err(CheckpointError::Unreadable)? {
            None => None,
            Some(note) => Some(check(origin, note, tiles, size)?),
        };
        let wanted = latest
            .as_ref()
            .map_or((TreeSize::EMPTY, Hash::default()), |l| (l.size, l.root));
        let (now, elsewhere) = match signing {
            Signing::Here(signer) => (vec![signer], None),
            Signing::Elsewhere(elsewhere) => (Vec::new(), Some(elsewhere)),
        };
        Ok(Self {
            origin: origin.to_owned(),
            elsewhere,
            in_force: Mutex::new(InForce { now, handover: None }),
            store,
            latest: Mutex::new(latest),
            wanted: Mutex::new((wanted.0, wanted.1, false)),
            changed: Condvar::new(),
            damaged: AtomicBool::new(false),
        })
    }

    /// Further keys sign beside the log key.
    #[must_use]
    pub fn with_beside(self, beside: Signers) -> Self {
        self.in_force.lock().now.extend(beside);
        self
    }

    pub(super) fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock()
    }

    /// The latest signed checkpoint: its size and note.
    pub fn latest(&self) -> Option<(TreeSize, Vec<u8>)> {
        self.latest.lock().as_ref().map(|l| (l.size, l.note.clone()))
    }

    /// Signs the tree of that size and root, which must be durable, and gives the note. Signing the latest again
    /// gives the same note.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing was signed then.
    pub fn sign(&self, size: TreeSize, root: Hash) -> Result<Vec<u8>, CheckpointError> {
        let mut latest = self.latest.lock();
        if self.damaged.load(Ordering::Acquire) {
            return Err(CheckpointError::Unreadable(
                "the ledger was found damaged: nothing is signed".to_owned(),
            ));
        }
        if let Some(signed) = &*latest {
            if signed.size == size && signed.root == root {
                return Ok(signed.note.clone());
            }
            if signed.size >= size {
                return Err(CheckpointError::Inconsistent {
                    signed: signed.size,
                    size,
                });
            }
        }
        if self.is_elsewhere() {
            return Err(CheckpointError::Elsewhere);
        }
        let unsound = |e: domain::checkpoint::CheckpointError| CheckpointError::Unreadable(e.to_string());
        let checkpoint = Checkpoint::new(&self.origin, size, root).map_err(unsound)?;
        let mut in_force = self.in_force.lock();
        let due = in_force
            .handover
            .take_if(|handover| size.contains(handover.position));
        let signers = due.as_ref().map_or(&in_force.now, |handover| &handover.both);
        let signers: Vec<&dyn Signer> = signers.iter().map(|signer| &**signer).collect();
        let note = SignedCheckpoint::sign(checkpoint, &signers)
            .map_err(unsound)
            .and_then(|signed| {
                let note = signed.encode().into_bytes();
                self.store.swap(latest.as_ref().map(|l| &*l.note), &note)?;
                Ok(note)
            });
        // The old key steps back only when both signatures are durable; until then the next try has both again.
        match (&note, due) {
            (Ok(_), Some(handover)) => in_force.now = handover.after,
            (Err(_), due @ Some(_)) => in_force.handover = due,
            (_, None) => {}
        }
        drop(in_force);
        let note = note?;
        *latest = Some(Signed {
            size,
            root,
            note: note.clone(),
        });
        Ok(note)
    }

    /// A commit was made: its checkpoint is wanted within a second.
    pub fn committed(&self, size: TreeSize, root: Hash) {
        let mut wanted = self.wanted.lock();
        (wanted.0, wanted.1) = (size, root);
        self.changed.notify_one();
    }

    /// Signs what is wanted, at most once in `CHECKPOINT_INTERVAL`, until [`Checkpointer::stop`].
    pub fn run(&self) {
        if let Some(elsewhere) = &self.elsewhere {
            return self.follow(&**elsewhere);
        }
        loop {
            let (size, root) = {
                let mut wanted = self.wanted.lock();
                let signed = |size: TreeSize| self.latest.lock().as_ref().is_some_and(|l| l.size >= size);
                while !wanted.2 && (wanted.0.is_empty() || signed(wanted.0)) {
                    self.changed.wait(&mut wanted);
                }
                if wanted.2 {
                    return;
                }
                (wanted.0, wanted.1)
            };
            let begun = Instant::now();
            if let Err(error) = self.sign(size, root) {
                let overtaken = self.latest.lock().as_ref().is_some_and(|l| l.size >= size);
                if !overtaken {
                    tracing::error!(%error, %size, "no checkpoint signed");
                }
            }
            self.pause(begun + CHECKPOINT_INTERVAL);
        }
    }

    /// Whether another process signs.
    pub const fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Offers what is durable, and takes over what was signed, until [`Checkpointer::stop`].
    fn follow(&self, elsewhere: &dyn SignedElsewhere) {
        let mut offered = TreeSize::EMPTY;
        let mut said = None;
        loop {
            let begun = Instant::now();
            let (size, root, stopping) = *self.wanted.lock();
            let damaged = self.damaged.load(Ordering::Acquire);
            if !damaged && size > offered {
                let offer = Checkpoint::new(&self.origin, size, root).map_err(|error| error.to_string());
                match offer.and_then(|offer| elsewhere.offer(&offer)) {
                    Ok(()) => offered = size,
                    Err(error) => tracing::warn!(error, %size, "a tree was not offered to whoever signs"),
                }
            }
            if let Err(error) = self.take_over(elsewhere)
                && said.as_ref() != Some(&error)
            {
                tracing::error!(error, "what was signed elsewhere is not taken over");
                said = Some(error);
            }
            if stopping {
                return;
            }
            self.pause(begun + CHECKPOINT_INTERVAL);
        }
    }

    /// Takes over what was signed elsewhere, if it is larger and of this ledger: the guard compares its root.
    fn take_over(&self, elsewhere: &dyn SignedElsewhere) -> Result<(), String> {
        let Some(note) = elsewhere.latest()? else {
            return Ok(());
        };
        let signed = SignedCheckpoint::parse(&note).map_err(|error| error.to_string())?;
        let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
        let mut latest = self.latest.lock();
        match &*latest {
            Some(there) if there.size == size && there.root != root => {
                return Err(format!(
                    "two roots were signed at size {size}: keep both, and find out why"
                ));
            }
            Some(there) if there.size >= size => return Ok(()),
            _ => {}
        }
        let swapped = self.store.swap(latest.as_ref().map(|l| &*l.note), &note);
        swapped.map_err(|error| error.to_string())?;
        *latest = Some(Signed { size, root, note });
        Ok(())
    }

    fn pause(&self, until: Instant) {
        let mut wanted = self.wanted.lock();
        while !wanted.2 && !self.changed.wait_until(&mut wanted, until).timed_out() {}
    }

    /// Never signs again in this process. What is being signed now is signed when this returns, and nothing after it.
    pub fn distrust(&self) {
        let latest = self.latest.lock();
        self.damaged.store(true, Ordering::Release);
        drop(latest);
        self.stop();
    }

    /// Makes [`Checkpointer::run`] return.
    pub fn stop(&self) {
        self.wanted.lock().2 = true;
        self.changed.notify_all();
    }
}

/// Whether what was signed is a prefix of the ledger.
fn check(
    origin: &str,
    note: Vec<u8>,
    tiles: &dyn TileStore,
    size: TreeSize,
) -> Result<Signed, CheckpointError> {
    let signed = SignedCheckpoint::parse(&note)
        .map_err(|e| CheckpointError::Unreadable(format!("the latest checkpoint cannot be read: {e}")))?;
    let checkpoint = signed.checkpoint();
    if checkpoint.origin() != origin {
        return Err(CheckpointError::Unreadable(format!(
            "the latest checkpoint is of {}, but this ledger is {origin}",
            checkpoint.origin()
        )));
    }
    let inconsistent = CheckpointError::Inconsistent {
        signed: checkpoint.size(),
        size,
    };
    if checkpoint.size() > size {
        return Err(inconsistent);
    }
    let frontier = Frontier::from_nodes(checkpoint.size(), tiles)
        .map_err(|e| CheckpointError::Unreadable(e.to_string()))?;
    if frontier.root() != checkpoint.root() {
        return Err(inconsistent);
    }
    Ok(Signed {
        size: checkpoint.size(),
        root: checkpoint.root(),
        note,
    })
}

/// The folder of rotations, `<position>.tlog-proof`.
const ROTATIONS: &str = "keys";
/// The latest checkpoint that a witness has cosigned.
const COSIGNED: &str = "cosigned";

/// Writes a file whole or not at all, durably.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir)?;
    // A name of its own: beside one another lie files that differ only in what follows the day.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut file = std::fs::File::create(&temporary)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(dir)?.sync_all()
}

/// The heads of days as files, `YYYY/YYYY-MM-DD.tlog-proof` below one directory; written once, and only cosignature
/// lines are ever added. Beside a head that too few witnesses have cosigned lies `YYYY-MM-DD.late.tlog-proof`, and beside
/// the years `cosigned`, the latest checkpoint that a witness has cosigned, and `keys/`, the proofs of rotations.
#[derive(Debug, Clone)]
pub struct HeadStore {
    dir: PathBuf,
    /// Where time stamps are: beside the heads, unless another process keeps those.
    stamps: PathBuf,
}

impl HeadStore {
    /// Below `dir`, which is made when the first head is.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            stamps: dir.to_owned(),
        }
    }

    /// The same heads, with their time stamps below `dir`: whoever asks for those may not write where the heads are.
    #[must_use]
    pub fn with_stamps_in(self, dir: &Path) -> Self {
        Self {
            stamps: dir.to_owned(),
            ..self
        }
    }

    fn path(&self, date: Date) -> PathBuf {
        let text = date.to_string();
        self.dir.join(&text[..4]).join(format!("{text}.tlog-proof"))
    }

    fn late_path(&self, date: Date) -> PathBuf {
        self.path(date).with_file_name(format!("{date}.late.tlog-proof"))
    }

    fn consistency_path(&self, date: Date) -> PathBuf {
        self.path(date).with_file_name(format!("{date}.consistency"))
    }

    /// The head of that day; `None` only where there is none.
    ///
    /// # Errors
    /// When it cannot be read: nothing is known of it then.
    pub fn get(&self, date: Date) -> io::Result<Option<Vec<u8>>> {
        read(&self.path(date))
    }

    /// Whether that day has a head.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn has(&self, date: Date) -> io::Result<bool> {
        self.path(date).try_exists()
    }

    /// Keeps the head of a day; a head that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put(&self, date: Date, head: &[u8]) -> io::Result<()> {
        put(&self.path(date), head)
    }

    /// Keeps a head that has more lines below its checkpoint than the one that is there, and is the same otherwise.
    ///
    /// # Errors
    /// `InvalidData` for anything else, and the head stays as it is; when it could not be made durable.
    pub fn add_lines(&self, date: Date, head: &[u8]) -> io::Result<()> {
        let path = self.path(date);
        let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let unreadable = |error: domain::tlog_proof::TlogProofError| refused(&error.to_string());
        let (old, new) = (
            TlogProof::parse(&std::fs::read(&path)?).map_err(unreadable)?,
            TlogProof::parse(head).map_err(unreadable)?,
        );
        let same = (&old.extra, old.index, &old.hashes, old.checkpoint.note().text())
            == (&new.extra, new.index, &new.hashes, new.checkpoint.note().text());
        let lines = new.checkpoint.note().signatures();
        if !same || !lines.starts_with(old.checkpoint.note().signatures()) {
            return Err(refused(
                "a head is never changed: only cosignature lines may be added",
            ));
        }
        replace(&path, head)
    }

    /// The same `DayClosed` under a later checkpoint, which enough witnesses have cosigned.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn late(&self, date: Date) -> io::Result<Option<Vec<u8>>> {
        read(&self.late_path(date))
    }

    /// Whether that day has one.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn has_late(&self, date: Date) -> io::Result<bool> {
        self.late_path(date).try_exists()
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_late(&self, date: Date, proof: &[u8]) -> io::Result<()> {
        put(&self.late_path(date), proof)
    }

    /// That the head of that day continues the one before it: a tlog-witness add-checkpoint body.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn consistency(&self, date: Date) -> io::Result<Option<Vec<u8>>> {
        read(&self.consistency_path(date))
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_consistency(&self, date: Date, body: &[u8]) -> io::Result<()> {
        put(&self.consistency_path(date), body)
    }

    fn stamp_path(&self, date: Date, ending: &str) -> PathBuf {
        let text = date.to_string();
        self.stamps.join(&text[..4]).join(format!("{text}.{ending}"))
    }

    /// The time stamp over the head of that day, whose file ends so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stamp(&self, date: Date, ending: &str) -> io::Result<Option<Vec<u8>>> {
        read(&self.stamp_path(date, ending))
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn has_stamp(&self, date: Date, ending: &str) -> io::Result<bool> {
        self.stamp_path(date, ending).try_exists()
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_stamp(&self, date: Date, ending: &str, bytes: &[u8]) -> io::Result<()> {
        put(&self.stamp_path(date, ending), bytes)
    }

    fn rotation_path(&self, position: Position) -> PathBuf {
        self.dir.join(ROTATIONS).join(format!("{position}.tlog-proof"))
    }

    /// The rotation at that position, proven under the checkpoint that both keys signed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn rotation(&self, position: Position) -> io::Result<Option<Vec<u8>>> {
        read(&self.rotation_path(position))
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_rotation(&self, position: Position, proof: &[u8]) -> io::Result<()> {
        put(&self.rotation_path(position), proof)
    }

    /// The positions of rotations, rising.
    ///
    /// # Errors
    /// When they cannot be listed: a part of them is no answer.
    pub fn rotations(&self) -> io::Result<Vec<Position>> {
        let mut positions = Vec::new();
        for file in list(&self.dir.join(ROTATIONS))? {
            let name = file.file_name();
            let position = name.to_str().and_then(|name| name.strip_suffix(HEAD_END));
            positions.extend(position.and_then(|it| it.parse().ok()).map(Position));
        }
        positions.sort_unstable();
        Ok(positions)
    }

    /// The latest checkpoint that a witness has cosigned, with its lines.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn cosigned(&self) -> io::Result<Option<Vec<u8>>> {
        read(&self.dir.join(COSIGNED))
    }

    /// Keeps it. It is a copy of what witnesses have: losing it loses nothing that they would not sign again.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_cosigned(&self, note: &[u8]) -> io::Result<()> {
        replace(&self.dir.join(COSIGNED), note)
    }

    /// The days that have a head, rising.
    ///
    /// # Errors
    /// When they cannot be listed: a part of them is no answer.
    pub fn dates(&self) -> io::Result<Vec<Date>> {
        let mut dates = Vec::new();
        for year in list(&self.dir)? {
            if !year.file_type()?.is_dir() {
                continue;
            }
            for file in list(&year.path())? {
                let name = file.file_name();
                let date = name.to_str().and_then(|name| name.strip_suffix(HEAD_END));
                dates.extend(date.and_then(|date| Date::parse(date).ok()));
            }
        }
        dates.sort_unstable();
        Ok(dates)
    }
}

/// How the name of a head's file ends.
const HEAD_END: &str = ".tlog-proof";

/// What a file holds; `None` only where there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path, &error)),
    }
}

/// Keeps a file; one that is there already stays as it is.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    replace(path, bytes)
}

/// What is in a directory, which need not be there.
fn list(dir: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(dir) {
        Ok(files) => files.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at(dir, &error)),
    }
}

/// The same error, with the file's name.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Position;
    use domain::cosignature::CosigningKey;
    use domain::note::{NoteSignature, SigningKey};

    fn head(lines: &[u8]) -> Vec<u8> {
        let key = SigningKey::from_seed("log.example", &[1; 32]).expect("a name");
        let leaf = domain::hash::leaf_hash(b"entry");
        let checkpoint = Checkpoint::new("log.example", TreeSize(1), leaf).expect("valid");
        let mut checkpoint = SignedCheckpoint::sign(checkpoint, &[&key]).expect("valid");
        let text = checkpoint.note().text().to_owned();
        for seed in lines {
            let witness = CosigningKey::from_seed("w.example", &[*seed; 32]).expect("a name");
            let line = NoteSignature::sign(&text, &witness.at(7)).expect("a line");
            checkpoint.note_mut().add(line).expect("room");
        }
        let proof = TlogProof {
            extra: Some(b"entry".to_vec()),
            index: Position(0),
            hashes: Vec::new(),
            checkpoint,
        };
        proof.encode().into_bytes()
    }

    #[test]
    fn a_head_gains_lines_and_never_changes_otherwise() {
        let dir = tempfile::tempdir().expect("a directory");
        let heads = HeadStore::new(dir.path());
        let date = Date::parse("2026-05-17").expect("a day");
        assert!(heads.add_lines(date, &head(&[2])).is_err(), "there is none");
        heads.put(date, &head(&[])).expect("kept");
        heads.add_lines(date, &head(&[2])).expect("a line more");
        heads.add_lines(date, &head(&[2, 3])).expect("a line more");
        let kept = heads.get(date).expect("readable").expect("there");
        assert_eq!(kept, head(&[2, 3]));
        let other = String::from_utf8(head(&[2, 3, 4]))
            .expect("text")
            .replace("index 0", "index 1");
        for (what, bad) in [
            ("a line less", head(&[2])),
            ("another line instead", head(&[2, 4])),
            ("another index", other.into_bytes()),
            ("no head", b"none".to_vec()),
        ] {
            assert!(heads.add_lines(date, &bad).is_err(), "{what}");
            assert_eq!(heads.get(date).expect("readable").as_ref(), Some(&kept), "{what}");
        }
        heads.put_late(date, b"late").expect("kept");
        heads.put_late(date, b"later").expect("the first stays");
        heads.put_cosigned(b"note").expect("kept");
        heads.put_consistency(date, b"old 1").expect("kept");
        assert_eq!(heads.late(date).expect("readable").as_deref(), Some(&b"late"[..]));
        assert_eq!(
            heads.consistency(date).expect("readable").as_deref(),
            Some(&b"old 1"[..])
        );
        assert_eq!(heads.dates().expect("listed"), [date], "none of these is a day");
    }

    #[test]
    fn what_cannot_be_read_is_not_absent() {
        let dir = tempfile::tempdir().expect("a directory");
        let heads = HeadStore::new(&dir.path().join("heads"));
        let date = Date::parse("2026-05-17").expect("a day");
        assert!(heads.dates().expect("nothing yet").is_empty());
        assert_eq!(heads.get(date).expect("nothing yet"), None);
        // A directory stands where a file belongs, and a file where a year does.
        std::fs::create_dir_all(dir.path().join("heads/2026/2026-05-17.tlog-proof")).expect("made");
        let error = heads.get(date).expect_err("no absence");
        assert!(error.to_string().contains("2026-05-17"), "{error}");
        std::fs::create_dir_all(dir.path().join("heads/2026/2026-05-17.tsr")).expect("made");
        assert!(heads.stamp(date, "tsr").is_err());
        assert_eq!(heads.stamp(date, "ots").expect("nothing yet"), None);
        assert!(heads.rotations().expect("nothing yet").is_empty());
        std::fs::create_dir_all(dir.path().join("heads/keys/7.tlog-proof")).expect("made");
        assert!(heads.rotation(Position(7)).is_err());
        std::fs::write(dir.path().join("file"), b"").expect("written");
        assert!(HeadStore::new(&dir.path().join("file")).dates().is_err());
        std::fs::write(dir.path().join("keys"), b"").expect("written");
        assert!(HeadStore::new(dir.path()).rotations().is_err());
    }
}
