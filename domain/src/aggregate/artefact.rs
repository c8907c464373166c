//! `artefact/art_…`: a file that is kept elsewhere, such as a clip, a certificate or a PDF, by the hash of its bytes.
//!
//! Invariants: it is registered once and never changed; name and details are sealed; what it is about never changes.
//! Source: FORMAT §2 (artefacts). Not here: whether what it is about exists (`registry`), the file, which nobody here
//! has.

use super::{Aggregate, Stamp, text};
use crate::event::{ArtefactFile, ArtefactRegistered, Event, Text};
use crate::hash::{Hash, base64url, from_base64url};
use crate::rejection::Rejection;
use crate::sealed::SealedField;
use serde::{Deserialize, Serialize};

/// Bytes of a salt before a file's bytes.
pub const SALT_BYTES: usize = 16;
/// Largest file, bytes: what a JSON number holds exactly (FORMAT §2).
pub const SIZE_MAX: u64 = (1 << 53) - 1;
/// Longest media type (RFC 6838 §4.2: two names of at most 127, and what is between them).
pub const MEDIA_TYPE_MAX: usize = 255;

/// The state of an artefact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Artefact {
    /// How many events there were.
    pub sequence: u64,
    /// Hash, salt, size and type; present once it exists.
    pub file: Option<ArtefactFile>,
    /// What it is about; none of them is the account.
    pub about: About,
    /// Its name, sealed.
    pub name: Option<SealedField>,
    /// What else was said of it: canonical JSON, sealed.
    pub details: Option<SealedField>,
}

/// What an artefact is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum About {
    /// The account as a whole.
    #[default]
    Account,
    /// A channel, by its id.
    Channel(String),
    /// A device, by its id.
    Device(String),
    /// A site, by its id.
    Site(String),
}

/// What may be asked of an artefact.
#[derive(Debug, Clone, PartialEq)]
pub enum ArtefactCommand {
    /// Registers it.
    Register(NewArtefact),
}

/// A file to be registered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewArtefact {
    /// SHA-256 of salt and bytes: 64 hexadecimal digits, or base64.
    pub sha256: String,
    /// base64url of 16 bytes that were hashed before the file's; empty where the hash is of the file alone.
    pub salt: String,
    /// Bytes.
    pub size: u64,
    /// Such as `application/pdf`.
    pub media_type: String,
    /// Its name.
    pub name: String,
    /// What else is to be kept with it: JSON as text.
    pub details: Option<String>,
    /// What it is about.
    pub about: About,
}

impl Aggregate for Artefact {
    const TYPE: &'static str = "artefact";
    type Command = ArtefactCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        if let Event::ArtefactRegistered(registered) = event {
            self.file = Some(registered.artefact.clone());
            self.about = registered.about();
            self.name = stamp.field(&registered.name, "/name");
            self.details = stamp.maybe(registered.details.as_ref(), "/details");
        }
    }

    fn decide(&self, command: &ArtefactCommand) -> Result<Vec<Event>, Rejection> {
        let ArtefactCommand::Register(new) = command;
        if self.sequence > 0 {
            return Err(Rejection::conflict(
                "already_exists",
                "this artefact is registered already",
            ));
        }
        let (channel, device, site) = match new.about.clone() {
            About::Account => (None, None, None),
            About::Channel(id) => (Some(id), None, None),
            About::Device(id) => (None, Some(id), None),
            About::Site(id) => (None, None, Some(id)),
        };
        Ok(vec![Event::ArtefactRegistered(ArtefactRegistered {
            artefact: ArtefactFile {
                media_type: media_type(&new.media_type)?,
                salt: salt(&new.salt)?,
                sha256: sha256(&new.sha256)?,
                size: size(new.size)?,
            },
            channel,
            details: text::notes("metadata", new.details.as_deref())?.map(Text::Plain),
            device,
            name: Text::Plain(text::name("name", &new.name)?),
            site,
        })])
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

fn sha256(text: &str) -> Result<Hash, Rejection> {
    let hex = || {
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        (digits.len() == 64 && text.is_ascii()).then_some(())?;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16)
                .ok()
                .filter(|_| !pair.starts_with('+'))?;
        }
        Some(Hash(bytes))
    };
    hex().or_else(|| Hash::from_base64(text)).ok_or_else(|| {
        Rejection::invalid(
            "invalid_sha256",
            "sha256 must be 64 hexadecimal digits, or the base64 of 32 bytes",
        )
    })
}

fn salt(text: &str) -> Result<String, Rejection> {
    let right = text.is_empty()
        || from_base64url(text).is_some_and(|bytes| bytes.len() == SALT_BYTES && base64url(&bytes) == text);
    if right {
        return Ok(text.to_owned());
    }
    Err(Rejection::invalid(
        "invalid_salt",
        format!("salt must be the base64url of {SALT_BYTES} bytes, or be left out"),
    ))
}

fn size(size: u64) -> Result<u64, Rejection> {
    if size <= SIZE_MAX {
        return Ok(size);
    }
    Err(Rejection::invalid(
        "invalid_size",
        format!("size must be at most {SIZE_MAX} bytes"),
    ))
}

/// A type and subtype (RFC 6838 §4.2), lower case, without parameters.
fn media_type(text: &str) -> Result<String, Rejection> {
    let text = text.trim().to_ascii_lowercase();
    let name = |name: &str| {
        let mark = |b: u8| matches!(b, b'!' | b'#' | b'$' | b'&' | b'-' | b'^' | b'_' | b'.' | b'+');
        name.len() <= 127
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
    };
    let right = text.len() <= MEDIA_TYPE_MAX
        && text
            .split_once('/')
            .is_some_and(|(of, sub)| name(of) && name(sub));
    if right {
        return Ok(text);
    }
    Err(Rejection::invalid(
        "invalid_media_type",
        "media_type must be a type and subtype, such as application/pdf",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(change: impl FnOnce(&mut NewArtefact)) -> Result<ArtefactFile, &'static str> {
        let mut new = NewArtefact {
            sha256: "00".repeat(32),
            media_type: "application/pdf".into(),
            name: "certificate.pdf".into(),
            size: 7,
            ..NewArtefact::default()
        };
        change(&mut new);
        let events = Artefact::default().decide(&ArtefactCommand::Register(new));
        match events.map_err(|r| r.code)?.pop() {
            Some(Event::ArtefactRegistered(registered)) => Ok(registered.artefact),
            _ => Err("no event"),
        }
    }

    #[test]
    fn a_hash_may_be_hexadecimal_or_base64_and_stands_as_base64() {
        let plain = register(|_| {}).expect("registered");
        assert_eq!(plain.sha256, Hash([0; 32]));
        assert_eq!(plain.salt, "");
        let hash = Hash([0xab; 32]);
        for text in ["ab".repeat(32), "AB".repeat(32), hash.to_base64()] {
            assert_eq!(
                register(|new| new.sha256 = text).expect("registered").sha256,
                hash
            );
        }
        for bad in ["", "00", &"+1".repeat(32), &"zz".repeat(32), &"ü".repeat(32)] {
            let refused = register(|new| new.sha256 = (*bad).to_owned());
            assert_eq!(refused, Err("invalid_sha256"), "{bad}");
        }
    }

    #[test]
    fn salts_sizes_and_types_are_what_the_format_says() {
        let salt = base64url(&[7; 16]);
        assert_eq!(
            register(|new| new.salt.clone_from(&salt))
                .expect("registered")
                .salt,
            salt
        );
        assert_eq!(
            register(|new| new.salt = base64url(&[7; 15])),
            Err("invalid_salt")
        );
        assert_eq!(register(|new| new.size = SIZE_MAX + 1), Err("invalid_size"));
        let type_of = |text: &str| register(|new| new.media_type = text.to_owned()).map(|a| a.media_type);
        assert_eq!(type_of(" Video/MP4 ").as_deref(), Ok("video/mp4"));
        for bad in ["", "pdf", "a/b/c", "text/plain; charset=utf-8", "/x", "x/"] {
            assert_eq!(type_of(bad), Err("invalid_media_type"), "{bad}");
        }
    }

    #[test]
    fn an_artefact_is_registered_once() {
        let there = Artefact {
            sequence: 1,
            ..Artefact::default()
        };
        let again = there.decide(&ArtefactCommand::Register(NewArtefact::default()));
        assert_eq!(again.map_err(|r| r.code), Err("already_exists"));
    }
}
