//! Keys kept outside the ledger: those that seal a person's or account's values, and the service's own.
//!
//! Invariants: every file is 0600 in a directory 0700, and durable before anything uses it; a file that others
//! may read stops the start, with the command that mends it; a key that should be there and is not is never made
//! anew, because what it sealed or signed would be lost.
//! Layout: `keys/subjects/<subject id>` (32 raw bytes each), `keys/server-secret`, `keys/log-key`,
//! `keys/receipt-key`, `keys/post-quantum-key`; a key that is being brought into force stands beside the one that it
//! replaces as `….next`. Source: DESIGN "Decided"; FORMAT §2 (one key a person or account).
//! Not here: sealing (`domain::sealed`), signing (`domain::note`), tokens (`tokens`).

use domain::hash::base64url;
use domain::ports::{Entropy, KeyStore};
use domain::rotation::Role;
use domain::sealed::{KEY_BYTES, key_id};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

const SUBJECTS: &str = "subjects";
const SERVER_SECRET: &str = "server-secret";
const LOG_KEY: &str = "log-key";
const RECEIPT_KEY: &str = "receipt-key";
const POST_QUANTUM_KEY: &str = "post-quantum-key";
const RECOVERY_KEY: &str = "recovery-key";
/// What a key is called until it is in force.
const NEXT: &str = ".next";

/// A secret of 32 bytes that leaves memory when it is dropped.
pub type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others may read or change it.
    #[error(
        "{path} is open to other users of this machine (mode {mode:04o}): run  chmod {right:04o} '{path}'"
    )]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it must have.
        right: u32,
    },
    /// A key that was made at first start is not there any more.
    #[error(
        "{0} is missing: restore it from a backup; a new one would not open or sign what the old one did. Where the log \
         key or the receipt key is lost for good, `daybook key recover` brings a new one into force with the recovery key"
    )]
    Missing(PathBuf),
    /// Not 32 bytes.
    #[error("{0} does not hold a key of 32 bytes: restore it from a backup")]
    Malformed(PathBuf),
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Whether the ledger exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It is about to be made: keys that are not there are made.
    First,
    /// It exists: keys must be there.
    Later,
}

/// The service's own secrets.
pub struct ServiceKeys {
    /// Indexes e-mail addresses.
    pub server_secret: Secret,
    /// Seed of the Ed25519 key that signs checkpoints.
    pub log_key: Secret,
    /// Seed of the Ed25519 key that signs receipts.
    pub receipt_key: Secret,
}

impl std::fmt::Debug for ServiceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServiceKeys(…)")
    }
}

impl ServiceKeys {
    /// Reads the keys in `dir`, and at a first start makes those that are not there.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(dir: &Path, start: Start, entropy: &dyn Entropy) -> Result<Self, KeyError> {
        private_dir(dir)?;
        let key = |name: &str| read_or_make(&dir.join(name), start, entropy);
        Ok(Self {
            server_secret: key(SERVER_SECRET)?,
            log_key: key(LOG_KEY)?,
            receipt_key: key(RECEIPT_KEY)?,
        })
    }

    /// As [`ServiceKeys::open`], where another process holds the log key: the server's secret and the seed for receipts.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open_without_log_key(
        dir: &Path,
        start: Start,
        entropy: &dyn Entropy,
    ) -> Result<(Secret, Secret), KeyError> {
        private_dir(dir)?;
        let key = |name: &str| read_or_make(&dir.join(name), start, entropy);
        Ok((key(SERVER_SECRET)?, key(RECEIPT_KEY)?))
    }

    /// The keyed index of a normalised e-mail address: base64url of HMAC-SHA256 under the server's secret.
    pub fn email_index(&self, normalised: &str) -> String {
        base64url(&crate::tokens::hmac(&self.server_secret, normalised.as_bytes()))
    }
}

/// Copies the secret that indexes addresses and labels from one `keys/` to another, so that what it indexed is found
/// there, too; durable before this returns.
///
/// # Errors
/// [`KeyError`]; `Missing` where there is none.
pub fn copy_server_secret(from: &Path, to: &Path) -> Result<(), KeyError> {
    let source = from.join(SERVER_SECRET);
    let secret = there(&source)?.ok_or(KeyError::Missing(source))?;
    private_dir(to)?;
    let path = to.join(SERVER_SECRET);
    write_secret_file(&path, &*secret).map_err(at(&path))
}

/// The files of one role's keys: the one in force, and the one that is being brought into force.
#[derive(Debug, Clone)]
pub struct RoleKeys {
    current: PathBuf,
    next: PathBuf,
}

impl RoleKeys {
    /// Below `dir` (`keys/`).
    pub fn new(dir: &Path, role: Role) -> Self {
        let name = match role {
            Role::Log => LOG_KEY,
            Role::Receipt => RECEIPT_KEY,
            Role::PostQuantum => POST_QUANTUM_KEY,
            // It is kept elsewhere, and never stands here.
            Role::Recovery => RECOVERY_KEY,
        };
        Self {
            current: dir.join(name),
            next: dir.join(format!("{name}{NEXT}")),
        }
    }

    /// The key in force; `None` where its file is not there.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn current(&self) -> Result<Option<Secret>, KeyError> {
        there(&self.current)
    }

    /// The key that was being brought into force.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn next(&self) -> Result<Option<Secret>, KeyError> {
        there(&self.next)
    }

    /// Makes a key that is to come into force; durable before this returns. One that was made before is replaced: the
    /// caller knows that no entry names it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn make_next(&self, entropy: &dyn Entropy) -> Result<Secret, KeyError> {
        let mut secret = Secret::new([0; KEY_BYTES]);
        entropy.fill(&mut *secret);
        write_secret_file(&self.next, &*secret).map_err(at(&self.next))?;
        Ok(secret)
    }

    /// Makes the first key of a role that a ledger begins with, or reads it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn first(&self, entropy: &dyn Entropy) -> Result<Secret, KeyError> {
        read_or_make(&self.current, Start::First, entropy)
    }

    /// The next key is in force: it takes the other one's place, in one step. What the other one was is gone then.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn put_in_force(&self) -> Result<(), KeyError> {
        fs::rename(&self.next, &self.current)
            .and_then(|()| sync_parent(&self.current))
            .map_err(at(&self.next))
    }

    /// No entry names the next key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn forget_next(&self) -> Result<(), KeyError> {
        erase(&self.next).map_err(at(&self.next))
    }
}

fn there(path: &Path) -> Result<Option<Secret>, KeyError> {
    // One that cannot be looked at is not absent.
    if path.try_exists().map_err(at(path))? {
        read(path).map(Some)
    } else {
        Ok(None)
    }
}

/// Keys of persons and accounts, a file each.
pub struct FileKeyStore {
    dir: PathBuf,
    entropy: Arc<dyn Entropy>,
    keys: RwLock<Keys>,
}

#[derive(Default)]
struct Keys {
    by_id: BTreeMap<String, (String, Secret)>,
    by_subject: BTreeMap<String, String>,
}

impl std::fmt::Debug for FileKeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileKeyStore")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl FileKeyStore {
    /// Opens the keys below `dir` (`keys/`), making the directory where it is not there.
    ///
    /// # Errors
    /// [`KeyError`], also for a key file that others may read.
    pub fn open(dir: &Path, entropy: Arc<dyn Entropy>) -> Result<Self, KeyError> {
        private_dir(dir)?;
        let dir = dir.join(SUBJECTS);
        private_dir(&dir)?;
        let mut keys = Keys::default();
        for file in fs::read_dir(&dir).map_err(at(&dir))? {
            let path = file.map_err(at(&dir))?.path();
            let Some(subject) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if !domain::entry::is_aggregate_id(subject) || subject.ends_with(UNFINISHED) {
                continue;
            }
            let secret = read(&path)?;
            keys.insert(subject, secret);
        }
        Ok(Self {
            dir,
            entropy,
            keys: RwLock::new(keys),
        })
    }

    /// Opens the keys of a ledger that is only read, which makes nothing.
    ///
    /// # Errors
    /// As [`FileKeyStore::open`]; `Missing` where there is no directory of keys.
    pub fn open_existing(dir: &Path, entropy: Arc<dyn Entropy>) -> Result<Self, KeyError> {
        let subjects = dir.join(SUBJECTS);
        if !subjects.try_exists().map_err(at(&subjects))? {
            return Err(KeyError::Missing(subjects));
        }
        Self::open(dir, entropy)
    }

    /// The person or account whose key this is.
    pub fn subject_of(&self, key_id: &str) -> Option<String> {
        let keys = self.keys.read();
        keys.by_id.get(key_id).map(|(subject, _)| subject.clone())
    }
}

impl Keys {
    fn insert(&mut self, subject: &str, secret: Secret) -> String {
        let id = key_id(&secret);
        self.by_subject.insert(subject.to_owned(), id.clone());
        self.by_id.insert(id.clone(), (subject.to_owned(), secret));
        id
    }
}

impl KeyStore for FileKeyStore {
    fn get(&self, key_id: &str) -> Option<Secret> {
        let keys = self.keys.read();
        keys.by_id.get(key_id).map(|(_, secret)| secret.clone())
    }

    fn key_of(&self, subject: &str) -> Option<String> {
        self.keys.read().by_subject.get(subject).cloned()
    }

    fn create(&self, subject: &str) -> Result<String, String> {
        if !domain::entry::is_aggregate_id(subject)
            || subject.starts_with('.')
            || subject.ends_with(UNFINISHED)
        {
            return Err(format!("{subject} is no id of a person or account"));
        }
        let mut keys = self.keys.write();
        if let Some(id) = keys.by_subject.get(subject) {
            return Ok(id.clone());
        }
        let path = self.dir.join(subject);
        let secret = read_or_make(&path, Start::First, &*self.entropy).map_err(|e| e.to_string())?;
        Ok(keys.insert(subject, secret))
    }

    fn destroy(&self, key_id: &str) -> Result<(), String> {
        let mut keys = self.keys.write();
        let Some((subject, _)) = keys.by_id.get(key_id) else {
            return Ok(());
        };
        let path = self.dir.join(subject);
        erase(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if let Some((subject, _)) = keys.by_id.remove(key_id) {
            keys.by_subject.remove(&subject);
        }
        Ok(())
    }
}

/// What a file is called until it is durable.
const UNFINISHED: &str = "~";

fn at(path: &Path) -> impl Fn(io::Error) -> KeyError {
    let path = path.to_owned();
    move |error| KeyError::Io {
        path: path.clone(),
        error,
    }
}

/// Makes a directory that only its owner may enter, or checks that it is one.
fn private_dir(dir: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::DirBuilderExt;
    if !dir.try_exists().map_err(at(dir))? {
        let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(dir);
        made.and_then(|()| sync_parent(dir)).map_err(at(dir))?;
    }
    check_mode(dir, 0o700)
}

/// Nobody but the owner may do anything with it.
fn check_mode(path: &Path, right: u32) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).map_err(at(path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open {
            path: path.to_owned(),
            mode,
            right,
        });
    }
    Ok(())
}

fn read_or_make(path: &Path, start: Start, entropy: &dyn Entropy) -> Result<Secret, KeyError> {
    // A file that cannot be looked at is not absent: it must not be made anew.
    match (path.try_exists().map_err(at(path))?, start) {
        (true, _) => read(path),
        (false, Start::Later) => Err(KeyError::Missing(path.to_owned())),
        (false, Start::First) => {
            let mut secret = Secret::new([0; KEY_BYTES]);
            entropy.fill(&mut *secret);
            write_secret_file(path, &*secret).map_err(at(path))?;
            Ok(secret)
        }
    }
}

/// Nobody but its owner may read a file.
pub(crate) fn check_secret(path: &Path) -> Result<(), KeyError> {
    check_mode(path, 0o600)
}

/// A secret that an operator put into a file, as text; nobody else may read the file.
///
/// # Errors
/// [`KeyError`], also where it is larger than `bytes_max` or no text.
pub fn read_secret_text(path: &Path, bytes_max: u64) -> Result<Zeroizing<String>, KeyError> {
    check_mode(path, 0o600)?;
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(at(path))?;
    let read = file
        .take(bytes_max + 1)
        .read_to_string(&mut text)
        .map_err(at(path))?;
    if read as u64 > bytes_max {
        let large = io::Error::new(io::ErrorKind::InvalidData, "too large for a secret");
        return Err(at(path)(large));
    }
    Ok(text)
}

fn read(path: &Path) -> Result<Secret, KeyError> {
    let bytes = read_secret_file(path, KEY_BYTES)?;
    let secret: Result<[u8; KEY_BYTES], _> = bytes.as_slice().try_into();
    secret
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Malformed(path.to_owned()))
}

/// Reads a file that nobody but its owner may read, up to `bytes_max`.
///
/// # Errors
/// `Open` where others may read it, with the command that mends it; `Malformed` where it is larger; `Io`.
pub fn read_secret_file(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    check_mode(path, 0o600)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    let file = File::open(path).map_err(at(path))?;
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(at(path))?;
    if bytes.len() > bytes_max {
        return Err(KeyError::Malformed(path.to_owned()));
    }
    Ok(bytes)
}

/// Writes a file that only its owner may read (0600), durable before this returns. A crash before leaves either
/// nothing or a file whose name ends in `~`, which is never read.
///
/// # Errors
/// What the system says; the file is then as it was.
pub fn write_secret_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let _ = fs::remove_file(&unfinished);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_parent(path)
}

/// Overwrites a key and removes it, durably. On a disk that copies on write the old blocks may live on.
fn erase(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(path) {
        Ok(mut file) => {
            file.write_all(&[0; KEY_BYTES])?;
            file.sync_all()?;
            fs::remove_file(path)?;
            sync_parent(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes what was made, renamed or removed in a directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// Bytes that differ with every call.
    #[derive(Default)]
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("exists").permissions().mode() & 0o777
    }

    fn store(dir: &Path) -> FileKeyStore {
        FileKeyStore::open(&dir.join("keys"), Arc::new(Counting::default())).expect("opens")
    }

    #[test]
    fn keys_are_private_and_there_again_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = store(dir.path());
        let ada = first.create("usr_ada").expect("made");
        let bob = first.create("usr_bob").expect("made");
        assert_ne!(ada, bob);
        assert_eq!(first.create("usr_ada"), Ok(ada.clone()));
        let path = dir.path().join("keys/subjects/usr_ada");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&dir.path().join("keys")), 0o700);
        assert_eq!(mode(&dir.path().join("keys/subjects")), 0o700);
        let second = store(dir.path());
        assert_eq!(second.key_of("usr_ada"), Some(ada.clone()));
        assert_eq!(second.get(&ada), first.get(&ada));
        assert_eq!(key_id(&second.get(&ada).expect("there")), ada);
    }

    #[test]
    fn a_destroyed_key_is_gone_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = store(dir.path());
        let ada = keys.create("usr_ada").expect("made");
        assert_eq!(keys.destroy(&ada), Ok(()));
        assert_eq!(keys.destroy(&ada), Ok(()));
        assert_eq!(keys.get(&ada), None);
        assert_eq!(keys.key_of("usr_ada"), None);
        assert_eq!(store(dir.path()).get(&ada), None);
    }

    #[test]
    fn a_key_that_others_may_read_stops_the_start_and_names_the_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        store(dir.path()).create("usr_ada").expect("made");
        let path = dir.path().join("keys/subjects/usr_ada");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let error = FileKeyStore::open(&dir.path().join("keys"), Arc::new(Counting::default()))
            .expect_err("must refuse")
            .to_string();
        assert!(
            error.contains("chmod 0600") && error.contains("usr_ada"),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("set");
        store(dir.path());
        let keys = dir.path().join("keys");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o755)).expect("set");
        let error = ServiceKeys::open(&keys, Start::First, &Counting::default()).expect_err("must refuse");
        assert!(error.to_string().contains("chmod 0700"), "{error}");
    }

    #[test]
    fn service_keys_are_made_once_and_never_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = dir.path().join("keys");
        let entropy = Counting::default();
        assert!(matches!(
            ServiceKeys::open(&keys, Start::Later, &entropy),
            Err(KeyError::Missing(_))
        ));
        let first = ServiceKeys::open(&keys, Start::First, &entropy).expect("made");
        let again = ServiceKeys::open(&keys, Start::Later, &entropy).expect("there");
        assert_eq!(first.log_key, again.log_key);
        assert_ne!(first.log_key, first.receipt_key);
        assert_eq!(mode(&keys.join("log-key")), 0o600);
        assert_eq!(
            first.email_index("ada@example.org"),
            again.email_index("ada@example.org")
        );
        assert_ne!(
            first.email_index("ada@example.org"),
            first.email_index("bob@example.org")
        );
        fs::remove_file(keys.join("log-key")).expect("removed");
        assert!(matches!(
            ServiceKeys::open(&keys, Start::Later, &entropy),
            Err(KeyError::Missing(_))
        ));
    }

    #[test]
    fn a_torn_or_foreign_key_file_is_never_taken_for_a_key() {
        let dir = tempfile::tempdir().expect("a directory");
        store(dir.path()).create("usr_ada").expect("made");
        let path = dir.path().join("keys/subjects/usr_ada");
        // A crash while another key was written leaves a file that is passed over.
        fs::write(dir.path().join("keys/subjects/usr_bob~"), b"torn").expect("written");
        let keys = store(dir.path());
        assert_eq!(keys.key_of("usr_bob"), None);
        assert!(keys.create("usr_bob").is_ok());
        for wrong in [&[1u8; 31][..], &[1; 33], b""] {
            fs::write(&path, wrong).expect("written");
            let opened = FileKeyStore::open(&dir.path().join("keys"), Arc::new(Counting::default()));
            assert!(matches!(opened, Err(KeyError::Malformed(_))));
        }
    }

    #[test]
    fn a_next_key_is_durable_beside_the_one_in_force_and_takes_its_place_in_one_step() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = dir.path().join("keys");
        let entropy = Counting::default();
        let service = ServiceKeys::open(&keys, Start::First, &entropy).expect("made");
        let log = RoleKeys::new(&keys, Role::Log);
        assert_eq!(log.next().expect("readable"), None);
        let next = log.make_next(&entropy).expect("made");
        assert_eq!(mode(&keys.join("log-key.next")), 0o600);
        assert_eq!(log.current().expect("readable"), Some(service.log_key.clone()));
        log.forget_next().expect("forgotten");
        assert_eq!(log.next().expect("readable"), None);
        let other = log.make_next(&entropy).expect("made");
        assert_ne!(next, other);
        log.put_in_force().expect("in force");
        let again = ServiceKeys::open(&keys, Start::Later, &entropy).expect("there");
        assert_eq!(again.log_key, other);
        assert_eq!(log.next().expect("readable"), None);
    }

    #[test]
    fn subjects_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = store(dir.path());
        for bad in ["", "../x", "a/b", ".", "..", "usr_a~", "a b"] {
            assert!(keys.create(bad).is_err(), "{bad}");
        }
    }
}
