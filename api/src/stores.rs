//! The data directory: keys, origin and ledger, opened together.
//!
//! Where another process signs, there is no log key, but `verifier-key`, which is public, and `to-sign`.
//! Layout: `keys/` and `ledger/` are ground and must be backed up; `origin` says the ledger's name before the
//! ledger is read; `heads/` are the days' heads; `projections.sqlite` is derived; `state.sqlite` is losable.
//! Invariants: the directory is nobody else's (0700); keys are made only where no ledger is; an origin that
//! differs from the ledger's stops the start.
//! Not here: the formats (`commands::ledger`, `commands::keys`), the first entries (`begin`).

use crate::config::Settings;
use crate::publisher::{self, Elsewhere, Known, VERIFIER_KEY};
use commands::keys::{
    FileKeyStore, KeyError, RoleKeys, Secret, ServiceKeys, Start, read_secret_text, write_secret_file,
};
use commands::ledger::{self, Ledger, Options, Recovery};
use commands::sequencer::{Signers, Signing};
use domain::checkpoint::is_origin;
use domain::continues::Continues;
use domain::note::{KeyError as NoteKeyError, Signer, SigningKey, VerifierKey};
use domain::ports::Entropy;
use domain::pq::MlDsaKey;
use domain::rotation::{Role, recovery_name};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The ledger's folder in the data directory.
pub const LEDGER: &str = "ledger";
/// The keys' folder in the data directory.
pub const KEYS: &str = "keys";
/// The file that says the ledger's name.
const ORIGIN: &str = "origin";
/// The file that says which ledger a new one continues, until it is begun.
pub const CONTINUES: &str = "continues";
/// The largest file with a recovery key, bytes.
const RECOVERY_BYTES_MAX: u64 = 4_096;
/// The origin of a ledger whose runner gave none: a name that no registry hands out, and the log key's first bytes.
const ORIGIN_DEFAULT: &str = "daybook.invalid";

/// What a data directory holds, opened.
pub struct Stores {
    /// The ledger's name.
    pub origin: String,
    /// The ledger.
    pub log: Arc<Ledger>,
    /// Keys of persons and accounts.
    pub keys: Arc<FileKeyStore>,
    /// Signs checkpoints, or says who does.
    pub log_key: LogKey,
    /// Signs receipts.
    pub receipt_key: Arc<SigningKey>,
    /// Signs checkpoints beside the log key.
    pub post_quantum_key: Option<Arc<MlDsaKey>>,
    /// Indexes addresses and labels.
    pub server_secret: Secret,
    /// The recovery key's public half, at the first start.
    pub recovery_key: Option<VerifierKey>,
    /// Which ledger this one continues, at the first start.
    pub continues: Option<Continues>,
    /// Where the latest checkpoint is kept outside the directory.
    pub anchor: Option<PathBuf>,
}

/// The key that signs checkpoints.
pub enum LogKey {
    /// This process holds it.
    Here(Arc<SigningKey>),
    /// Another process does, which keeps what it signs in this directory.
    Elsewhere(Box<Known>, PathBuf),
}

impl LogKey {
    /// What verifies its signatures.
    pub fn verifier_key(&self) -> VerifierKey {
        match self {
            Self::Here(key) => key.verifier_key(),
            Self::Elsewhere(known, _) => known.key.clone(),
        }
    }

    /// What verifies its signatures, and those of the one before, which may have signed the latest still.
    pub fn verifier_keys(&self) -> Vec<VerifierKey> {
        match self {
            Self::Here(key) => vec![key.verifier_key()],
            Self::Elsewhere(known, _) => known.keys(),
        }
    }

    /// Who signs; `data` is this process's directory, where it tells another one what may be signed.
    pub fn signing(&self, data: Option<&Path>) -> Signing {
        match (self, data) {
            (Self::Here(key), _) => Signing::Here(key.clone()),
            (Self::Elsewhere(known, dir), data) => {
                let data = data.unwrap_or(Path::new("."));
                Signing::Elsewhere(Arc::new(Elsewhere::new(data, dir, (**known).clone())))
            }
        }
    }
}

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// The directory itself.
    #[error("{} cannot be used: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others may enter it.
    #[error("{0} holds keys and is open to other users of this machine: run  chmod 0700 '{0}'")]
    Exposed(String),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A key cannot be named by this origin.
    #[error("the origin {origin:?} cannot name a key: {error}")]
    KeyName {
        /// The origin.
        origin: String,
        /// Why not.
        error: NoteKeyError,
    },
    /// Not an origin.
    #[error(
        "{0:?} is no origin: a scheme-less URL such as daybook.example.eu/main, at most 255 bytes, without spaces or +"
    )]
    Origin(String),
    /// The ledger has another name.
    #[error("the ledger's origin is {found} and stays so; {asked} was asked for")]
    OtherOrigin {
        /// The ledger's.
        found: String,
        /// The one asked for.
        asked: String,
    },
    /// The anchor's directory cannot be made or written.
    #[error(
        "the anchor cannot be kept in {path}: {error}; name a directory outside the data with --anchor that this \
         user may write"
    )]
    Anchor {
        /// The directory.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// Whoever signs has no key yet, or not for this ledger.
    #[error("signed_elsewhere: {0}")]
    Elsewhere(String),
    /// The recovery key's file.
    #[error("the recovery key in {}: {reason}", path.display())]
    Recovery {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// What the ledger continues.
    #[error("{} does not say which ledger this one continues: {reason}; run `daybook continue` again", path.display())]
    Continues {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::OpenError),
}

impl Stores {
    /// Keys that sign checkpoints beside the log key.
    pub fn beside(&self) -> Signers {
        let beside = self.post_quantum_key.clone();
        beside.map(|key| key as Arc<dyn Signer>).into_iter().collect()
    }

    /// The texts of the verifier keys for checkpoints and receipts.
    pub fn verifier_keys(&self) -> (String, String) {
        (
            self.log_key.verifier_key().to_string(),
            self.receipt_key.verifier_key().to_string(),
        )
    }
}

/// Opens a data directory for writing, and makes what is not there.
///
/// # Errors
/// [`StoresError`], saying what to do.
pub fn open(settings: &Settings, entropy: &Arc<dyn Entropy>) -> Result<(Stores, Recovery), StoresError> {
    let dir = &settings.data;
    private_dir(dir)?;
    let ledger = dir.join(LEDGER);
    // A ledger that cannot be looked at is not absent: no key may be made beside it.
    let start = if ledger.try_exists().map_err(at(&ledger))? {
        Start::Later
    } else {
        Start::First
    };
    let (origin, log_key, receipt_key, server_secret) = match log_key_elsewhere(settings, start)? {
        None => {
            let secrets = ServiceKeys::open(&dir.join(KEYS), start, &**entropy)?;
            let origin = origin(settings, || default_origin(&secrets))?;
            let log_key = LogKey::Here(Arc::new(signing_key(&origin, &secrets.log_key)?));
            (origin, log_key, secrets.receipt_key, secrets.server_secret)
        }
        Some(log_key) => {
            let key = log_key.verifier_key();
            let origin = origin(settings, || Ok(key.name().to_owned()))?;
            if key.name() != origin {
                return Err(StoresError::Elsewhere(format!(
                    "the publisher signs for {}, but this ledger is {origin}",
                    key.name()
                )));
            }
            let (secret, receipt_key) =
                ServiceKeys::open_without_log_key(&dir.join(KEYS), start, &**entropy)?;
            if let (LogKey::Elsewhere(known, _), Start::First) = (&log_key, start) {
                known.write(dir).map_err(at(&dir.join(VERIFIER_KEY)))?;
            }
            (origin, log_key, receipt_key, secret)
        }
    };
    let keys = FileKeyStore::open(&dir.join(KEYS), entropy.clone())?;
    let receipt_key = signing_key(&receipt_name(&origin), &receipt_key)?;
    let (log, recovery, anchor) = open_ledger(settings, &origin, Some(&log_key))?;
    let (mut recovery_key, mut continues) = (None, None);
    let post_quantum = RoleKeys::new(&dir.join(KEYS), Role::PostQuantum);
    let mut beside = match &log_key {
        LogKey::Here(_) => post_quantum.current()?,
        LogKey::Elsewhere(..) => None,
    };
    if log.size_now().is_empty() {
        if settings.post_quantum {
            beside = Some(post_quantum.first(&**entropy)?);
        }
        if let Some(path) = &settings.recovery_key_out {
            recovery_key = Some(make_recovery_key(path, &origin, &**entropy)?.verifier_key());
        }
        continues = read_continues(dir)?;
    }
    if settings.post_quantum && beside.is_none() {
        tracing::warn!(
            "post_quantum is set, and this ledger has no such key yet: stop the service and run `daybook key rotate \
             --role post-quantum`"
        );
    }
    let beside = beside
        .map(|seed| post_quantum_key(&origin, &seed).map(Arc::new))
        .transpose()?;
    let stores = Stores {
        origin,
        log: Arc::new(log),
        keys: Arc::new(keys),
        log_key,
        receipt_key: Arc::new(receipt_key),
        post_quantum_key: beside,
        server_secret,
        recovery_key,
        continues,
        anchor,
    };
    Ok((stores, recovery))
}

/// The log key that another process holds, where the settings name one.
///
/// # Errors
/// [`StoresError`], where the ledger was begun with another key, or what is asked for does not go together with it.
pub fn log_key_elsewhere(settings: &Settings, start: Start) -> Result<Option<LogKey>, StoresError> {
    let refused = |why: String| Err(StoresError::Elsewhere(why));
    let kept = Known::read(&settings.data).map_err(StoresError::Elsewhere)?;
    let Some(signs) = &settings.signed_elsewhere else {
        return match kept {
            None => Ok(None),
            Some(_) => refused(
                "another process signs this ledger and does so for ever: name its directory".to_owned(),
            ),
        };
    };
    let key = publisher::read_verifier_key(signs).map_err(StoresError::Elsewhere)?;
    let known = match (kept, start) {
        (Some(kept), _) if kept.fits(&key) => kept,
        (None, Start::First) => Known::first(key),
        (kept, _) => {
            return refused(format!(
                "the log key of this ledger is {}, and that of {} another one",
                kept.map_or_else(|| "its own".to_owned(), |kept| kept.key.to_string()),
                signs.display()
            ));
        }
    };
    if settings.post_quantum {
        return refused(
            "post_quantum does not go together with it: the post-quantum key signs checkpoints, and the publisher has \
             none yet"
                .to_owned(),
        );
    }
    Ok(Some(LogKey::Elsewhere(Box::new(known), signs.clone())))
}

/// Opens the ledger of a data directory for writing, and the place of its anchor. `log_key` is the one that signs,
/// where it is known.
///
/// # Errors
/// [`StoresError`].
pub fn open_ledger(
    settings: &Settings,
    origin: &str,
    log_key: Option<&LogKey>,
) -> Result<(Ledger, Recovery, Option<PathBuf>), StoresError> {
    let anchor = settings.anchor.clone().or_else(default_anchor);
    if anchor.is_none() {
        tracing::warn!(
            "there is no place for the anchor: a restored copy of the data would not be noticed; set --anchor"
        );
    }
    if let Some(anchor) = &anchor {
        // A service's user often has no home: said here, before anything is written under its name.
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(anchor);
        made.map_err(|error| StoresError::Anchor {
            path: anchor.display().to_string(),
            error,
        })?;
    }
    if let (Some(LogKey::Elsewhere(known, signs)), Some(anchor)) = (log_key, &anchor) {
        // What was signed elsewhere must be in the ledger that is opened, or it is an older copy.
        let note = publisher::read_checkpoint(signs, known).map_err(StoresError::Elsewhere)?;
        if let Some(note) = note {
            ledger::raise_anchor(anchor, &note).map_err(|error| StoresError::Anchor {
                path: anchor.display().to_string(),
                error,
            })?;
        }
    }
    let options = Options {
        origin: Some(origin.to_owned()),
        anchor: anchor.clone(),
        ..Options::default()
    };
    let (log, recovery) = Ledger::open(&settings.data.join(LEDGER), options)?;
    Ok((log, recovery, anchor))
}

/// Makes the recovery key in a file that is to leave this machine, durable before the ledger names it. A file of an
/// earlier try, before the ledger was begun, is taken as it is.
///
/// # Errors
/// [`StoresError`].
pub fn make_recovery_key(
    path: &Path,
    origin: &str,
    entropy: &dyn Entropy,
) -> Result<SigningKey, StoresError> {
    if path.exists() {
        return read_recovery_key(path, origin);
    }
    let mut seed = Secret::new([0; 32]);
    entropy.fill(&mut *seed);
    let key = signing_key(&recovery_name(origin), &seed)?;
    let mut text = zeroize::Zeroizing::new(String::with_capacity(512));
    text.push_str(&key.encode());
    text.push('\n');
    write_secret_file(path, text.as_bytes()).map_err(at(path))?;
    Ok(key)
}

/// Reads the private recovery key of a ledger.
///
/// # Errors
/// [`StoresError`], also for a file that others may read, or the key of another ledger.
pub fn read_recovery_key(path: &Path, origin: &str) -> Result<SigningKey, StoresError> {
    let wrong = |reason: String| StoresError::Recovery {
        path: path.to_owned(),
        reason,
    };
    let text = read_secret_text(path, RECOVERY_BYTES_MAX)?;
    let key = SigningKey::parse(text.trim()).map_err(|error| wrong(error.to_string()))?;
    if key.verifier_key().name() != recovery_name(origin) {
        return Err(wrong(format!(
            "it is {}, and not the recovery key of {origin}",
            key.verifier_key().name()
        )));
    }
    Ok(key)
}

/// What a directory that `daybook continue` prepared says.
fn read_continues(dir: &Path) -> Result<Option<Continues>, StoresError> {
    let path = dir.join(CONTINUES);
    let wrong = |reason: String| StoresError::Continues {
        path: path.clone(),
        reason,
    };
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Makes the data directory of a ledger that continues another: its name, and what it continues. The first start begins
/// it. What is carried over lies there already, where something is.
///
/// # Errors
/// [`StoresError`]; `Io` with `AlreadyExists` where there is a ledger or a name already.
pub fn prepare(dir: &Path, origin: &str, continues: &Continues) -> Result<(), StoresError> {
    private_dir(dir)?;
    is_unbegun(dir)?;
    let path = dir.join(CONTINUES);
    let text = serde_json::to_vec(continues).map_err(|error| at(&path)(io::Error::other(error)))?;
    // The name comes last: a directory without one is begun as if it had not been prepared, so it must not be there.
    write_secret_file(&path, &text).map_err(at(&path))?;
    let path = dir.join(ORIGIN);
    write_secret_file(&path, format!("{origin}\n").as_bytes()).map_err(at(&path))
}

/// That no ledger was begun in a directory, and none was prepared there.
///
/// # Errors
/// [`StoresError::Io`] with `AlreadyExists`.
pub fn is_unbegun(dir: &Path) -> Result<(), StoresError> {
    for name in [LEDGER, ORIGIN] {
        let path = dir.join(name);
        if path.try_exists().map_err(at(&path))? {
            return Err(at(&path)(io::Error::from(io::ErrorKind::AlreadyExists)));
        }
    }
    Ok(())
}

/// The verifier keys of a data directory, as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKeys {
    /// The ledger's name.
    pub origin: String,
    /// Of checkpoints.
    pub log: String,
    /// Of receipts.
    pub receipt: String,
    /// Of checkpoints too, with ML-DSA-44.
    pub post_quantum: Option<String>,
}

/// Reads the verifier keys of a data directory, whether a service runs on it or not.
///
/// # Errors
/// [`StoresError`], also where there is none yet.
pub fn read_keys(dir: &Path, entropy: &Arc<dyn Entropy>) -> Result<VerifierKeys, StoresError> {
    if let Some((origin, receipt_key)) = keys_without_log_key(dir, entropy)? {
        let log_key = publisher::read_verifier_key(dir).map_err(StoresError::Elsewhere)?;
        let receipt_key = signing_key(&receipt_name(&origin), &receipt_key)?.verifier_key();
        return Ok(VerifierKeys {
            origin,
            log: log_key.to_string(),
            receipt: receipt_key.to_string(),
            post_quantum: None,
        });
    }
    let secrets = ServiceKeys::open(&dir.join(KEYS), Start::Later, &**entropy)?;
    let origin = match read_origin(dir)? {
        Some(origin) => origin,
        None => default_origin(&secrets)?,
    };
    let log = signing_key(&origin, &secrets.log_key)?.verifier_key().to_string();
    let receipt = signing_key(&receipt_name(&origin), &secrets.receipt_key)?;
    let beside = RoleKeys::new(&dir.join(KEYS), Role::PostQuantum).current()?;
    let beside = beside.map(|seed| post_quantum_key(&origin, &seed)).transpose()?;
    Ok(VerifierKeys {
        log,
        receipt: receipt.verifier_key().to_string(),
        post_quantum: beside.map(|key| key.verifier_key().to_string()),
        origin,
    })
}

/// The key that signs receipts and packs, and the ledger's name, of a data directory whose ledger is there.
///
/// # Errors
/// [`StoresError`].
pub fn read_receipt_key(dir: &Path, entropy: &Arc<dyn Entropy>) -> Result<(String, SigningKey), StoresError> {
    if let Some((origin, receipt_key)) = keys_without_log_key(dir, entropy)? {
        let key = signing_key(&receipt_name(&origin), &receipt_key)?;
        return Ok((origin, key));
    }
    let secrets = ServiceKeys::open(&dir.join(KEYS), Start::Later, &**entropy)?;
    let origin = match read_origin(dir)? {
        Some(origin) => origin,
        None => default_origin(&secrets)?,
    };
    let key = signing_key(&receipt_name(&origin), &secrets.receipt_key)?;
    Ok((origin, key))
}

/// Origin and seed for receipts of a data directory whose log key another process holds; `None` where it holds its own.
fn keys_without_log_key(
    dir: &Path,
    entropy: &Arc<dyn Entropy>,
) -> Result<Option<(String, Secret)>, StoresError> {
    let path = dir.join(VERIFIER_KEY);
    let origin = read_origin(dir)?;
    let (true, Some(origin)) = (path.try_exists().map_err(at(&path))?, origin) else {
        return Ok(None);
    };
    let (_, receipt_key) = ServiceKeys::open_without_log_key(&dir.join(KEYS), Start::Later, &**entropy)?;
    Ok(Some((origin, receipt_key)))
}

fn origin(
    settings: &Settings,
    default: impl FnOnce() -> Result<String, StoresError>,
) -> Result<String, StoresError> {
    if let Some(found) = read_origin(&settings.data)? {
        return match &settings.origin {
            Some(asked) if *asked != found => Err(StoresError::OtherOrigin {
                found,
                asked: asked.clone(),
            }),
            _ => Ok(found),
        };
    }
    let origin = match &settings.origin {
        Some(asked) => asked.clone(),
        None => default()?,
    };
    if !is_origin(&origin) {
        return Err(StoresError::Origin(origin));
    }
    // Written before the ledger is made: a crash between leaves a name and nothing that has it.
    let path = settings.data.join(ORIGIN);
    write_secret_file(&path, format!("{origin}\n").as_bytes()).map_err(at(&path))?;
    Ok(origin)
}

/// The ledger's name as the data directory says it.
///
/// # Errors
/// [`StoresError::Io`].
pub fn read_origin(dir: &Path) -> Result<Option<String>, StoresError> {
    let path = dir.join(ORIGIN);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

fn default_origin(secrets: &ServiceKeys) -> Result<String, StoresError> {
    let key = signing_key(ORIGIN_DEFAULT, &secrets.log_key)?;
    let hex: String = key
        .verifier_key()
        .public_bytes()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("{ORIGIN_DEFAULT}/{hex}"))
}

fn receipt_name(origin: &str) -> String {
    Role::Receipt.key_name(origin)
}

/// A key that signs, of that name.
///
/// # Errors
/// `KeyName`.
pub fn signing_key(name: &str, seed: &Secret) -> Result<SigningKey, StoresError> {
    SigningKey::from_seed(name, seed).map_err(|error| StoresError::KeyName {
        origin: name.to_owned(),
        error,
    })
}

/// The ML-DSA-44 key that signs beside the log key.
///
/// # Errors
/// `KeyName`.
pub fn post_quantum_key(name: &str, seed: &Secret) -> Result<MlDsaKey, StoresError> {
    MlDsaKey::from_seed(name, seed).map_err(|error| StoresError::KeyName {
        origin: name.to_owned(),
        error,
    })
}

/// The folder of anchors where none is set: below the user's state directory (XDG base directories).
pub fn default_anchor() -> Option<PathBuf> {
    let state = match std::env::var_os("XDG_STATE_HOME") {
        Some(state) if !state.is_empty() => Some(PathBuf::from(state)),
        _ => std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")),
    };
    state.map(|state| state.join("daybook").join("anchors"))
}

/// Makes a data directory, or finds that nobody else may enter it.
///
/// # Errors
/// [`StoresError`].
pub fn private_dir(dir: &Path) -> Result<(), StoresError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
    let mode = std::fs::metadata(dir).map_err(at(dir))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(StoresError::Exposed(dir.display().to_string()));
    }
    Ok(())
}

fn at(path: &Path) -> impl Fn(io::Error) -> StoresError {
    let path = path.to_owned();
    move |error| StoresError::Io {
        path: path.clone(),
        error,
    }
}
