//! Files that a pack brings along, because their hashes are registered in the ledger.
//!
//! Invariants: a file is in a pack only under the id of an entry of the pack that has its hash and size; names lead
//! nowhere when a pack is unpacked.
//! Source: FORMAT §2 (artefacts), §7. Not here: the container (`zip`), the verdict (`verify`).

use super::spool::{Part, Spool};
use domain::Hash;
use domain::aggregate::artefact::SALT_BYTES;
use domain::entry::Entry;
use domain::event::ArtefactFile;
use domain::hash::{Sha256Stream, from_base64url};
use domain::ids::IdKind;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The type of the streams of artefacts.
const ARTEFACT: &str = "artefact";
/// What registers one.
const ARTEFACT_REGISTERED: &str = "ArtefactRegistered";
/// The folder of files.
const FOLDER: &str = "artefacts/";
/// Most files that a pack is made with; each is copied and hashed.
pub const ATTACHMENTS_MAX: usize = 1_000;
/// Bytes of a file that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that the ledger knows by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// `art_…`
    pub id: String,
    sha256: Hash,
    salt: Vec<u8>,
    size: u64,
}

impl Registered {
    /// What an entry registers; `None` for one of something else.
    ///
    /// # Errors
    /// In words, where the payload is not what its event type says.
    pub fn of(entry: &Entry<'_>) -> Result<Option<Self>, String> {
        #[derive(Deserialize)]
        struct Says {
            artefact: ArtefactFile,
        }
        if (entry.aggregate_type, entry.event_type) != (ARTEFACT, ARTEFACT_REGISTERED) {
            return Ok(None);
        }
        let Says { artefact } = serde_json::from_slice(entry.payload)
            .map_err(|error| format!("{ARTEFACT_REGISTERED}: {error}"))?;
        let salt = from_base64url(&artefact.salt)
            .filter(|salt| salt.is_empty() || salt.len() == SALT_BYTES)
            .ok_or_else(|| format!("{ARTEFACT_REGISTERED}: its salt is none"))?;
        Ok(Some(Self {
            id: entry.aggregate_id.to_owned(),
            sha256: artefact.sha256,
            salt,
            size: artefact.size,
        }))
    }

    /// Whether a file's bytes are those that were registered.
    pub fn is(&self, bytes: u64, content: &mut dyn Read) -> io::Result<bool> {
        if bytes != self.size {
            return Ok(false);
        }
        let mut sha256 = Sha256Stream::new();
        sha256.update(&self.salt);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut left = self.size;
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(left == 0 && sha256.finish() == self.sha256),
                n => {
                    left = left.saturating_sub(n as u64);
                    sha256.update(&buffer[..n]);
                }
            }
        }
    }
}

/// Where the file of an artefact stands in a pack.
pub fn file_name(id: &str) -> String {
    format!("{FOLDER}{id}")
}

/// The artefact whose file has that name.
pub fn artefact_of(name: &str) -> Option<&str> {
    name.strip_prefix(FOLDER).filter(|id| IdKind::Artefact.is(id))
}

/// Whether a name is meant to be one of them, right or not.
pub fn is_meant(name: &str) -> bool {
    name.starts_with(FOLDER)
}

/// A copy of a file, in nameless temporary files in `scratch`, for each artefact that it is.
///
/// # Errors
/// What the system says.
pub fn copies(path: &Path, registered: &[Registered], scratch: &Path) -> io::Result<Vec<(String, Part)>> {
    let mut first = copy(&mut File::open(path)?, scratch)?;
    let mut found = Vec::new();
    for it in registered {
        let bytes = first.bytes;
        if it.is(bytes, &mut *first.read()?)? {
            found.push((file_name(&it.id), copy(&mut *first.read()?, scratch)?));
        }
    }
    Ok(found)
}

fn copy(from: &mut dyn Read, scratch: &Path) -> io::Result<Part> {
    let mut spool = Spool::new(scratch)?;
    io::copy(from, &mut spool)?;
    spool.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::hash::{base64url, sha256_of};

    fn known(salt: &[u8], bytes: &[u8]) -> Registered {
        Registered {
            id: IdKind::Artefact.id(&[1; 16]),
            sha256: sha256_of(&[salt, bytes]),
            salt: salt.to_vec(),
            size: bytes.len() as u64,
        }
    }

    #[test]
    fn a_file_is_what_was_registered_only_byte_for_byte() {
        for salt in [&[][..], &[7; 16]] {
            let it = known(salt, b"a clip");
            assert!(it.is(6, &mut &b"a clip"[..]).expect("readable"));
            assert!(!it.is(6, &mut &b"a clap"[..]).expect("readable"));
            assert!(!it.is(5, &mut &b"a cli"[..]).expect("readable"));
            assert!(!it.is(6, &mut &b"a clip!"[..]).expect("readable"));
        }
        assert!(known(&[], b"").is(0, &mut &b""[..]).expect("readable"));
        assert_eq!(from_base64url(&base64url(&[])), Some(Vec::new()));
    }

    #[test]
    fn names_are_of_ids_only() {
        let id = IdKind::Artefact.id(&[9; 16]);
        assert_eq!(artefact_of(&file_name(&id)), Some(&*id));
        for bad in ["artefacts/", "artefacts/..", "artefacts/art_x", "../artefacts/a"] {
            assert_eq!(artefact_of(bad), None, "{bad}");
        }
    }
}
