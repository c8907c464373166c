//! Signing checkpoints, and the heads of days (FORMAT §4, §5).
//!
//! Invariants: nothing is signed that is inconsistent with what was signed; the guard (compare-and-swap of the
//! latest signed checkpoint) is durable before a signature is shown; sizes rise; a day's head is made once, at
//! exactly the size after its `DayClosed`, before anything larger is signed.
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

/// Who signs now, and from a rotation on.
pub(super) struct Signing {
    pub now: Signers,
    pub handover: Option<Handover>,
}

/// The one that signs.
pub struct Checkpointer {
    origin: String,
    signing: Mutex<Signing>,
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
        signer: Arc<dyn Signer>,
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
        Ok(Self {
            origin: origin.to_owned(),
            signing: Mutex::new(Signing {
                now: vec![signer],
                handover: None,
            }),
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
        self.signing.lock().now.extend(beside);
        self
    }

    pub(super) fn signing(&self) -> MutexGuard<'_, Signing> {
        self.signing.lock()
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
        let unsound = |e: domain::checkpoint::CheckpointError| CheckpointError::Unreadable(e.to_string());
        let checkpoint = Checkpoint::new(&self.origin, size, root).map_err(unsound)?;
        let mut signing = self.signing.lock();
        let due = signing
            .handover
            .take_if(|handover| size.contains(handover.position));
        let signers = due.as_ref().map_or(&signing.now, |handover| &handover.both);
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
            (Ok(_), Some(handover)) => signing.now = handover.after,
            (Err(_), due @ Some(_)) => signing.handover = due,
            (_, None) => {}
        }
        drop(signing);
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
    let temporary = path.with_extension("tmp");
    let mut file = std::fs::File::create(&temporary)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(dir)?.sync_all()
}

/// The heads of days as files, `YYYY/YYYY-MM-DD.tlog-proof` below one directory; written once, and only cosignature
/// lines are ever added. Beside a head that too few witnesses have cosigned lies `YYYY-MM-DD.late.tlog-proof`, and beside
/// the years `cosigned`, the latest checkpoint that a witness has cosigned.
#[derive(Debug, Clone)]
pub struct HeadStore {
    dir: PathBuf,
}

impl HeadStore {
    /// Below `dir`, which is made when the first head is.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self, date: Date) -> PathBuf {
        let text = date.to_string();
        self.dir.join(&text[..4]).join(format!("{text}.tlog-proof"))
    }

    fn late_path(&self, date: Date) -> PathBuf {
        self.path(date).with_file_name(format!("{date}.late.tlog-proof"))
    }

    /// The head of that day.
    pub fn get(&self, date: Date) -> Option<Vec<u8>> {
        std::fs::read(self.path(date)).ok()
    }

    /// Whether that day has a head.
    pub fn has(&self, date: Date) -> bool {
        self.path(date).exists()
    }

    /// Keeps the head of a day; a head that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put(&self, date: Date, head: &[u8]) -> io::Result<()> {
        let path = self.path(date);
        if path.exists() {
            return Ok(());
        }
        replace(&path, head)
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
    pub fn late(&self, date: Date) -> Option<Vec<u8>> {
        std::fs::read(self.late_path(date)).ok()
    }

    /// Whether that day has one.
    pub fn has_late(&self, date: Date) -> bool {
        self.late_path(date).exists()
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_late(&self, date: Date, proof: &[u8]) -> io::Result<()> {
        let path = self.late_path(date);
        if path.exists() {
            return Ok(());
        }
        replace(&path, proof)
    }

    /// The time stamp over the head of that day, whose file ends so.
    pub fn stamp(&self, date: Date, ending: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(date).with_extension(ending)).ok()
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_stamp(&self, date: Date, ending: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(date).with_extension(ending);
        if path.exists() {
            return Ok(());
        }
        replace(&path, bytes)
    }

    fn rotation_path(&self, position: Position) -> PathBuf {
        self.dir.join(ROTATIONS).join(format!("{position}.tlog-proof"))
    }

    /// The rotation at that position, proven under the checkpoint that both keys signed.
    pub fn rotation(&self, position: Position) -> Option<Vec<u8>> {
        std::fs::read(self.rotation_path(position)).ok()
    }

    /// Keeps it; one that is there already stays as it is.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_rotation(&self, position: Position, proof: &[u8]) -> io::Result<()> {
        let path = self.rotation_path(position);
        if path.exists() {
            return Ok(());
        }
        replace(&path, proof)
    }

    /// The positions of rotations, rising.
    pub fn rotations(&self) -> Vec<Position> {
        let files = std::fs::read_dir(self.dir.join(ROTATIONS));
        let names = files.into_iter().flatten().flatten().map(|file| file.path());
        let mut positions: Vec<Position> = names
            .filter(|path| path.extension().is_some_and(|it| it == "tlog-proof"))
            .filter_map(|path| path.file_stem()?.to_str()?.parse().ok().map(Position))
            .collect();
        positions.sort_unstable();
        positions
    }

    /// The latest checkpoint that a witness has cosigned, with its lines.
    pub fn cosigned(&self) -> Option<Vec<u8>> {
        std::fs::read(self.dir.join(COSIGNED)).ok()
    }

    /// Keeps it. It is a copy of what witnesses have: losing it loses nothing that they would not sign again.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub fn put_cosigned(&self, note: &[u8]) -> io::Result<()> {
        replace(&self.dir.join(COSIGNED), note)
    }

    /// The days that have a head, rising.
    pub fn dates(&self) -> Vec<Date> {
        let files = |dir: PathBuf| {
            std::fs::read_dir(dir)
                .into_iter()
                .flatten()
                .flatten()
                .map(|f| f.path())
        };
        let mut dates: Vec<Date> = files(self.dir.clone())
            .flat_map(files)
            .filter(|p| p.extension().is_some_and(|e| e == "tlog-proof"))
            .filter_map(|p| Date::parse(p.file_stem()?.to_str()?).ok())
            .collect();
        dates.sort_unstable();
        dates
    }
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
        let kept = heads.get(date).expect("there");
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
            assert_eq!(heads.get(date).as_ref(), Some(&kept), "{what}");
        }
        heads.put_late(date, b"late").expect("kept");
        heads.put_late(date, b"later").expect("the first stays");
        heads.put_cosigned(b"note").expect("kept");
        assert_eq!(heads.late(date).as_deref(), Some(&b"late"[..]));
        assert_eq!(heads.dates(), [date], "neither is a day");
    }
}
