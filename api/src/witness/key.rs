//! The key of a witness: `DIR/witness-key`, mode 0600, made at the first start.
//!
//! Invariants: a key is made only where nothing was ever cosigned; what others may read is not used; the text is never
//! printed.
//! Source: C2SP tlog-cosignature, type 0x04; the text is Go's private note key. Not here: cosigning.

use chain_publisher::witness::store::{FileStore, StoreError};
use commands::keys::{KeyError, read_secret_file, write_secret_file};
use domain::cosignature::CosigningKey;
use domain::note::KeyError as NoteKeyError;
use domain::ports::Entropy;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The key's file in the witness's directory.
const KEY: &str = "witness-key";
/// The longest key file, bytes: a name and some eighty characters.
const KEY_BYTES_MAX: usize = 1 << 10;
/// How a witness is named whose runner gave no name; the key's first bytes stand behind it.
const NAME_DEFAULT: &str = "daybook.invalid/witness";

/// Why there is no key to cosign with.
#[derive(Debug, thiserror::Error)]
pub enum WitnessKeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] KeyError),
    /// The directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory or the key could not be made.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Not a key.
    #[error("{} does not hold a witness's key: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: NoteKeyError,
    },
    /// Something was cosigned with a key that is not there any more.
    #[error(
        "{} is missing, but checkpoints were cosigned here with it: restore the key, or begin a new witness in an \
         empty directory", .0.display()
    )]
    Missing(PathBuf),
    /// No key may be named so.
    #[error("{name:?} cannot name a witness: {error}; write a scheme-less URL such as witness.example.eu")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        error: NoteKeyError,
    },
    /// The key has another name.
    #[error("this witness is named {found} and stays so; {asked} was asked for")]
    OtherName {
        /// The key's.
        found: String,
        /// The one asked for.
        asked: String,
    },
}

/// Makes the directory where it is not there, for its owner only.
///
/// # Errors
/// [`WitnessKeyError::Io`].
pub fn make_dir(dir: &Path) -> Result<(), WitnessKeyError> {
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| WitnessKeyError::Io {
            path: dir.to_owned(),
            error,
        })
}

/// The key of the witness in that directory, if it has one; a name that is asked for must be its own.
///
/// # Errors
/// [`WitnessKeyError`].
pub fn read(dir: &Path, name: Option<&str>) -> Result<Option<CosigningKey>, WitnessKeyError> {
    let path = dir.join(KEY);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_secret_file(&path, KEY_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::Malformed(path.clone()))?;
    let key = CosigningKey::parse(text.trim_end_matches('\n'))
        .map_err(|error| WitnessKeyError::Malformed { path, error })?;
    let found = key.verifier_key().name().to_owned();
    match name {
        Some(asked) if asked != found => Err(WitnessKeyError::OtherName {
            found,
            asked: asked.to_owned(),
        }),
        _ => Ok(Some(key)),
    }
}

/// The same, made where there is none yet. Whoever calls holds the directory's lock.
///
/// # Errors
/// [`WitnessKeyError`]; `Missing` where something was cosigned before.
pub fn read_or_make(
    dir: &Path,
    name: Option<&str>,
    entropy: &dyn Entropy,
) -> Result<CosigningKey, WitnessKeyError> {
    if let Some(key) = read(dir, name)? {
        return Ok(key);
    }
    let path = dir.join(KEY);
    if !FileStore::is_empty(dir)? {
        return Err(WitnessKeyError::Missing(path));
    }
    let mut seed = Zeroizing::new([0u8; 32]);
    entropy.fill(&mut *seed);
    let named = |name: &str| {
        CosigningKey::from_seed(name, &seed).map_err(|error| WitnessKeyError::Name {
            name: name.to_owned(),
            error,
        })
    };
    let key = match name {
        Some(name) => named(name)?,
        None => {
            let public = named(NAME_DEFAULT)?.verifier_key();
            let first = public.public_bytes().iter().take(8);
            let hex: String = first.map(|byte| format!("{byte:02x}")).collect();
            named(&format!("{NAME_DEFAULT}/{hex}"))?
        }
    };
    let encoded = key.encode();
    let mut text = Zeroizing::new(Vec::with_capacity(encoded.len() + 1));
    text.extend_from_slice(encoded.as_bytes());
    text.push(b'\n');
    write_secret_file(&path, &text).map_err(|error| WitnessKeyError::Io {
        path: path.clone(),
        error,
    })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_is_private_and_never_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        let entropy = SeededEntropy::from_os().expect("randomness");
        assert!(read(dir, None).expect("readable").is_none());
        assert!(matches!(
            read_or_make(dir, Some("a b"), &entropy),
            Err(WitnessKeyError::Name { .. })
        ));
        let made = read_or_make(dir, Some("w.example"), &entropy).expect("made");
        let again = read_or_make(dir, None, &entropy).expect("there");
        assert_eq!(made.verifier_key(), again.verifier_key());
        assert!(matches!(
            read(dir, Some("other.example")),
            Err(WitnessKeyError::OtherName { .. })
        ));
        let path = dir.join(KEY);
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        let error = read(dir, None).expect_err("others may read it").to_string();
        assert!(error.contains("chmod 0600"), "{error}");
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(dir.join("00.checkpoint"), "x").expect("written");
        assert!(matches!(
            read_or_make(dir, None, &entropy),
            Err(WitnessKeyError::Missing(_))
        ));
    }

    #[test]
    fn a_witness_without_a_name_gets_one_of_its_own() {
        let entropy = SeededEntropy::from_os().expect("randomness");
        let names: Vec<String> = (0..2)
            .map(|_| {
                let dir = tempfile::tempdir().expect("a directory");
                let key = read_or_make(dir.path(), None, &entropy).expect("made");
                key.verifier_key().name().to_owned()
            })
            .collect();
        assert_ne!(names[0], names[1]);
        assert!(names[0].starts_with("daybook.invalid/witness/"), "{names:?}");
    }
}
