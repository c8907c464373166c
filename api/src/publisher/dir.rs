//! The publisher's directory: the log key (0600), its verifier key, the guard, the heads. All but the key is public.
//!
//! Invariants: one publisher a directory, by a lock that ends with the process; a key is made only where nothing was ever
//! signed; what others may read is not used as a key.
//! Not here: signing (`follow`).

use super::handover::{Known, REQUEST, Request};
use super::peer;
use crate::app::HEADS;
use crate::key_chain;
use chain_publisher::durable;
use commands::keys::{KeyError, RoleKeys, read_secret_file, write_secret_file};
use commands::ledger::CheckpointFile;
use commands::sequencer::HeadStore;
use domain::checkpoint::{SignedCheckpoint, is_origin};
use domain::note::{SigningKey, VerifierKey};
use domain::ports::Entropy;
use domain::rotation::Role;
use parking_lot::RwLock;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file with the key that verifies, one line.
pub const VERIFIER_KEY: &str = "verifier-key";
/// The file with the key that signs: the seed, 32 bytes.
const LOG_KEY: &str = "log-key";
/// The file that one publisher holds.
const LOCK: &str = "publisher.lock";
/// Bytes of a seed.
const SEED_BYTES: usize = 32;

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The key's file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another publisher runs.
    #[error("another publisher runs on {}", .0.display())]
    Held(PathBuf),
    /// It has no key, and nobody said of which ledger one would be.
    #[error("{} has no key yet: name the ledger with --origin, such as daybook.example.eu/main", .0.display())]
    NoKey(PathBuf),
    /// Something was signed with a key that is not there any more.
    #[error("{} is missing, but something was signed with it: restore it", .0.display())]
    Missing(PathBuf),
    /// What is in it cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// An opened directory.
pub struct Dir {
    /// Where it is.
    pub path: PathBuf,
    /// Which ledger it is for.
    pub origin: String,
    key: RwLock<Arc<SigningKey>>,
    /// The guard.
    pub guard: Arc<CheckpointFile>,
    /// The heads of days.
    pub heads: HeadStore,
    _lock: File,
}

impl Dir {
    /// Opens it, and makes what is not there; a key where `origin` says for which ledger.
    ///
    /// # Errors
    /// [`DirError`], saying what to do.
    pub fn open(
        path: &Path,
        origin: Option<&str>,
        anchors: Option<PathBuf>,
        entropy: &dyn Entropy,
    ) -> Result<Self, DirError> {
        std::fs::create_dir_all(path).map_err(at(path))?;
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirError::Held(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(at(&lock_path)(error)),
        }
        let heads_dir = path.join(HEADS);
        std::fs::create_dir_all(&heads_dir).map_err(at(&heads_dir))?;
        let heads = HeadStore::new(&heads_dir);
        finish_handover(path, &heads)?;
        let key = read_or_make(path, origin, entropy)?;
        let verifier = key.verifier_key();
        let origin = verifier.name().to_owned();
        if let Some(anchors) = &anchors {
            std::fs::create_dir_all(anchors).map_err(at(anchors))?;
        }
        let guard = CheckpointFile::open(path, anchors, &origin).map_err(at(path))?;
        Ok(Self {
            path: path.to_owned(),
            origin,
            key: RwLock::new(Arc::new(key)),
            guard: Arc::new(guard),
            heads,
            _lock: lock,
        })
    }

    /// What signs.
    pub fn key(&self) -> Arc<SigningKey> {
        self.key.read().clone()
    }

    /// The key that was asked for, where one was.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn next_key(&self) -> Result<Option<Arc<SigningKey>>, DirError> {
        let seed = RoleKeys::new(&self.path, Role::Log).next()?;
        let key = seed.map(|seed| SigningKey::from_seed(&self.origin, &seed));
        let key = key.transpose();
        Ok(key
            .map_err(|error| DirError::Unusable(error.to_string()))?
            .map(Arc::new))
    }

    /// The key that was asked for takes the other's place: its proof is kept. What the other one was is gone then.
    ///
    /// # Errors
    /// [`DirError`]; the next start goes on.
    pub fn put_in_force(&self, next: Arc<SigningKey>) -> Result<(), DirError> {
        RoleKeys::new(&self.path, Role::Log).put_in_force()?;
        finish_handover(&self.path, &self.heads)?;
        *self.key.write() = next;
        Ok(())
    }
}

/// What a crash left of a handover whose proof is kept and whose key is in its place: the directory names that key, and
/// asks for it no more.
fn finish_handover(dir: &Path, heads: &HeadStore) -> Result<(), DirError> {
    let Ok(named) = read_verifier_key(dir) else {
        return Ok(());
    };
    let Some(seed) = RoleKeys::new(dir, Role::Log).current()? else {
        return Ok(());
    };
    let key = SigningKey::from_seed(named.name(), &seed);
    let key = key
        .map_err(|error| DirError::Unusable(error.to_string()))?
        .verifier_key();
    if key != named {
        let rotations = key_chain::rotations(heads).map_err(at(dir))?;
        let proven = rotations.iter().any(|(_, said)| {
            said.role == Role::Log
                && said.new == key.to_string()
                && said.old.as_deref() == Some(named.to_string().as_str())
        });
        if !proven {
            // Whoever reads the key says that the two do not belong together.
            return Ok(());
        }
        replace(&dir.join(VERIFIER_KEY), format!("{key}\n").as_bytes())?;
    }
    let asked = Request::read(dir).map_err(DirError::Unusable)?;
    if asked.is_some_and(|asked| asked.new_key() == key.to_string()) {
        let path = dir.join(REQUEST);
        std::fs::remove_file(&path).map_err(at(&path))?;
    }
    Ok(())
}

/// Writes a public file whole or not at all, durably.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), DirError> {
    durable::replace(path, bytes).map_err(at(path))
}

fn read_or_make(dir: &Path, asked: Option<&str>, entropy: &dyn Entropy) -> Result<SigningKey, DirError> {
    let (seed_path, text_path) = (dir.join(LOG_KEY), dir.join(VERIFIER_KEY));
    let has_seed = seed_path.try_exists().map_err(at(&seed_path))?;
    if !has_seed && text_path.try_exists().map_err(at(&text_path))? {
        return Err(DirError::Missing(seed_path));
    }
    let named = match has_seed && text_path.try_exists().map_err(at(&text_path))? {
        true => Some(read_verifier_key(dir).map_err(DirError::Unusable)?),
        false => None,
    };
    let origin = match (&named, asked) {
        (Some(named), Some(asked)) if named.name() != asked => {
            return Err(DirError::Unusable(format!(
                "{} signs for {} and does so for ever; {asked} was asked for",
                dir.display(),
                named.name()
            )));
        }
        (Some(named), _) => named.name().to_owned(),
        (None, Some(asked)) if is_origin(asked) => asked.to_owned(),
        (None, Some(asked)) => return Err(DirError::Unusable(format!("{asked:?} is no origin"))),
        (None, None) => return Err(DirError::NoKey(dir.to_owned())),
    };
    if !has_seed {
        let mut seed = zeroize::Zeroizing::new([0; SEED_BYTES]);
        entropy.fill(&mut *seed);
        write_secret_file(&seed_path, &*seed).map_err(at(&seed_path))?;
    }
    let seed = read_secret_file(&seed_path, SEED_BYTES)?;
    let seed: [u8; SEED_BYTES] = seed
        .as_slice()
        .try_into()
        .map_err(|_| DirError::Key(KeyError::Malformed(seed_path.clone())))?;
    let key = SigningKey::from_seed(&origin, &seed).map_err(|error| DirError::Unusable(error.to_string()))?;
    let verifier = key.verifier_key();
    match named {
        Some(named) if named != verifier => Err(DirError::Unusable(format!(
            "{} is not the key of {}",
            seed_path.display(),
            text_path.display()
        ))),
        Some(_) => Ok(key),
        None => {
            // The service may be another user, and reads it.
            replace(&text_path, format!("{verifier}\n").as_bytes())?;
            Ok(key)
        }
    }
}

/// The verifier key that a directory names.
///
/// # Errors
/// In words.
pub fn read_verifier_key(dir: &Path) -> Result<VerifierKey, String> {
    let path = dir.join(VERIFIER_KEY);
    let read = peer::read_text(&path).and_then(|text| text.ok_or_else(|| io::ErrorKind::NotFound.into()));
    let text = read.map_err(|error| {
        format!(
            "{}: {error}; make the key first with  daybook publish --dir DIR --origin ORIGIN --show-key",
            path.display()
        )
    })?;
    let line = text.lines().next().unwrap_or_default();
    VerifierKey::parse(line.trim()).map_err(|error| format!("{}: {error}", path.display()))
}

/// The latest checkpoint that was signed there, whose signature holds.
///
/// # Errors
/// In words.
pub fn read_checkpoint(dir: &Path, known: &Known) -> Result<Option<Vec<u8>>, String> {
    let note = CheckpointFile::read(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let Some(note) = note else { return Ok(None) };
    let refused = |error: &dyn std::fmt::Display| format!("the checkpoint in {}: {error}", dir.display());
    let signed = SignedCheckpoint::parse(&note).map_err(|error| refused(&error))?;
    known.verify(&signed).map_err(|error| refused(&error))?;
    Ok(Some(note))
}

fn at(path: &Path) -> impl Fn(io::Error) -> DirError {
    let path = path.to_owned();
    move |error| DirError::Io {
        path: path.clone(),
        error,
    }
}
