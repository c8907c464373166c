//! Time stamps over the head of a day by third parties: RFC 3161 (`.tsr`) and OpenTimestamps (`.ots`).
//!
//! Both are over SHA-256 of the checkpoint's note body (FORMAT §5), so that cosignature lines may still be added.
//! Invariants: what an authority or a calendar answers is read within limits and must be about that hash, or it is not
//! kept; an authority's own signature is checked against certificates that the asker names (`authority`); what is not
//! checked is said, and what does: `openssl ts` and the `ots` client.
//! Not here: when they are asked for (`api`), where the files lie (`layout`, `commands`).

pub mod authority;
mod certificate;
mod http;
pub mod ots;
pub mod rfc3161;

use domain::{Date, Timestamp};

/// A kind of time stamp, by the ending of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnchorKind {
    /// RFC 3161, a time-stamping authority.
    Rfc3161,
    /// OpenTimestamps, calendars that lead to a block chain.
    OpenTimestamps,
}

/// Both.
pub const ANCHOR_KINDS: [AnchorKind; 2] = [AnchorKind::Rfc3161, AnchorKind::OpenTimestamps];
/// The largest time stamp that is read, bytes: a chain of certificates is a tenth of it.
pub const ANCHOR_BYTES_MAX: usize = 64 << 10;

impl AnchorKind {
    /// The ending of its file.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Rfc3161 => "tsr",
            Self::OpenTimestamps => "ots",
        }
    }

    /// The kind whose files end so.
    pub fn of_ending(ending: &str) -> Option<Self> {
        ANCHOR_KINDS.into_iter().find(|kind| kind.ending() == ending)
    }

    /// `2026-05-17.tsr`
    pub fn file_name(self, date: Date) -> String {
        format!("{date}.{}", self.ending())
    }
}

/// What a time stamp says, unsigned as far as is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// An authority states that the head was there at that time.
    At(Timestamp),
    /// Block chains' blocks that it leads to, and calendars that have promised one.
    Leads {
        /// Heights of Bitcoin blocks.
        blocks: Vec<u64>,
        /// Calendars that are still to be asked (`ots upgrade`).
        pending: usize,
    },
}

/// What a file says of a hash.
///
/// # Errors
/// In words: it is none, or of another hash.
pub fn says(kind: AnchorKind, bytes: &[u8], sha256: &[u8; 32]) -> Result<Says, String> {
    match kind {
        AnchorKind::Rfc3161 => rfc3161::read(bytes, sha256).map(Says::At),
        AnchorKind::OpenTimestamps => ots::read(bytes, sha256),
    }
}
