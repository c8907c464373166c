//! A pack on its way into a file: hashed as it is written, encrypted where it has recipients, synced before its name.
//!
//! Invariants: memory stays bounded whatever is written; what could not be written whole is removed; the file is the
//! owner's only (0600), because it holds what was measured.
//! Not here: what is written (`chain_publisher::pack`), where it is recorded.

use super::recipients::Recipients;
use chain_publisher::pack::{Made, MakeError};
use domain::Hash;
use domain::event::EncryptedPack;
use domain::hash::Sha256Stream;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of the pack that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A pack in a file that has not got its name yet.
#[derive(Debug)]
pub struct Written {
    /// What the pack is.
    pub made: Made,
    /// SHA-256 of the pack before it was encrypted.
    pub pack_sha256: Hash,
    /// The file, where it is encrypted.
    pub encrypted: Option<EncryptedPack>,
    unfinished: PathBuf,
    path: PathBuf,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No pack.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// No encryption.
    #[error("it cannot be encrypted: {0}")]
    Encrypt(#[from] age::EncryptError),
    /// The file.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// What the system says.
        error: io::Error,
    },
}

impl Written {
    /// Gives the file its name, durably.
    ///
    /// # Errors
    /// What the system says; then there is no file.
    pub fn name(mut self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.path)?;
        self.unfinished = PathBuf::new();
        File::open(folder(&self.path))?.sync_all()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.unfinished.as_os_str().is_empty() {
            // What has no name is of no use; what stays is removed by the next start.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// Where a file will be.
pub fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The name of a file that is not whole yet.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// What the name of a file ends in that is not whole.
pub const UNFINISHED: &str = ".new";

/// Writes what `make` gives beside `path`; [`Written::name`] puts it there.
///
/// # Errors
/// [`WriteError`]; then nothing is left.
pub fn write(
    path: &Path,
    recipients: &Recipients,
    make: impl FnOnce(&mut dyn Write) -> Result<Made, MakeError>,
) -> Result<Written, WriteError> {
    let unfinished = unfinished(path);
    // What a crash left there is no pack.
    let _ = fs::remove_file(&unfinished);
    let written = write_to(&unfinished, recipients, make);
    match written {
        Ok((made, pack_sha256, encrypted)) => Ok(Written {
            made,
            pack_sha256,
            encrypted,
            unfinished,
            path: path.to_owned(),
        }),
        Err(error) => {
            // That it cannot be removed is no news beside the failure.
            let _ = fs::remove_file(&unfinished);
            Err(error)
        }
    }
}

type Outcome = Result<(Made, Hash, Option<EncryptedPack>), WriteError>;

fn write_to(
    path: &Path,
    recipients: &Recipients,
    make: impl FnOnce(&mut dyn Write) -> Result<Made, MakeError>,
) -> Outcome {
    let at = |error: io::Error| WriteError::Io {
        path: path.display().to_string(),
        error,
    };
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(at)?;
    let mut out = Hashed::new(BufWriter::with_capacity(BUFFER_BYTES, file));
    if recipients.is_empty() {
        let made = make(&mut out)?;
        let (pack_sha256, _) = out.finish().map_err(at)?;
        return Ok((made, pack_sha256, None));
    }
    let encryptor = age::Encryptor::with_recipients(recipients.keys())?;
    let mut pack = Hashed::new(encryptor.wrap_output(&mut out).map_err(at)?);
    let made = make(&mut pack)?;
    let pack_sha256 = pack.sha256.finish();
    pack.inner.finish().map_err(at)?;
    let (sha256, bytes) = out.finish().map_err(at)?;
    let encrypted = EncryptedPack {
        bytes,
        recipients: recipients.fingerprints().to_vec(),
        sha256,
    };
    Ok((made, pack_sha256, Some(encrypted)))
}

/// Bytes as they are written, with their hash.
struct Hashed<W> {
    inner: W,
    sha256: Sha256Stream,
    bytes: u64,
}

impl<W> Hashed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            sha256: Sha256Stream::new(),
            bytes: 0,
        }
    }
}

impl Hashed<BufWriter<File>> {
    /// Hash and size, once all of it is on disk.
    fn finish(self) -> io::Result<(Hash, u64)> {
        let file = self.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok((self.sha256.finish(), self.bytes))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain_publisher::pack::Counts;
    use domain::TreeSize;
    use domain::hash::sha256;
    use std::io::Read;

    fn made(bytes: u64) -> Made {
        Made {
            bytes,
            manifest_sha256: Hash([0; 32]),
            counts: Counts::default(),
            values: 0,
            artefacts: 0,
            size: TreeSize(1),
            open_from: None,
        }
    }

    fn pack(out: &mut dyn Write) -> Result<Made, MakeError> {
        for n in 0..5_000u32 {
            out.write_all(format!("line {n} of what is no pack\n").as_bytes())?;
        }
        Ok(made(1))
    }

    #[test]
    fn what_was_encrypted_opens_with_each_receivers_key_and_hashes_alike() {
        let dir = tempfile::tempdir().expect("a directory");
        let (plain, secret) = (dir.path().join("a.zip"), dir.path().join("a.zip.age"));
        let keys = [
            age::x25519::Identity::generate(),
            age::x25519::Identity::generate(),
        ];
        let lines: Vec<String> = keys.iter().map(|key| key.to_public().to_string()).collect();
        let to = Recipients::parse(lines.iter().map(String::as_str)).expect("recipients");
        let open = write(&plain, &Recipients::default(), pack).expect("written");
        let closed = write(&secret, &to, pack).expect("written");
        assert_eq!(open.pack_sha256, closed.pack_sha256);
        assert!(!plain.exists() && !secret.exists(), "they have no name yet");
        let encrypted = closed.encrypted.clone().expect("encrypted");
        open.name().expect("named");
        closed.name().expect("named");
        let (plain, secret) = (fs::read(plain).expect("read"), fs::read(secret).expect("read"));
        assert_eq!(
            (encrypted.bytes, encrypted.sha256),
            (secret.len() as u64, sha256(&secret))
        );
        for key in &keys {
            let decryptor = age::Decryptor::new(&secret[..]).expect("an age file");
            let mut opened = Vec::new();
            let identity: &dyn age::Identity = key;
            let mut reader = decryptor.decrypt(std::iter::once(identity)).expect("decrypted");
            reader.read_to_end(&mut opened).expect("whole");
            assert_eq!(opened, plain);
        }
    }

    #[test]
    fn what_fails_or_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.zip");
        let failed = write(&path, &Recipients::default(), |out| {
            out.write_all(b"half")?;
            Err(MakeError::Stopped)
        });
        assert!(matches!(failed, Err(WriteError::Make(MakeError::Stopped))));
        drop(write(&path, &Recipients::default(), pack).expect("written"));
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
    }
}
