//! One evidence pack that somebody asked for, and its states.
//!
//! queued → running → made (whole, named, not yet in the ledger) → ready → expired; or failed, with the reason.
//! Invariant: what is kept on disk is enough to go on after a restart. Not here: all of them (`shelf`).

use super::Issue;
use chain_publisher::pack::{Counts, Made, Query};
use commands::handlers::Actor;
use commands::sequencer::Idempotency;
use domain::aggregate::user::OWNER;
use domain::event::{EncryptedPack, Reason};
use domain::{Date, Hash, Position, Timestamp, TreeSize};
use serde::{Deserialize, Serialize};

/// What was asked for, by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// `pck_…`, also that of the stream in which it is recorded.
    pub id: String,
    /// How many were asked for before it.
    pub number: u64,
    /// Whose.
    pub account: String,
    /// Who asked; stands in the manifest.
    pub user: String,
    /// How they showed who they are: `token` or `session`.
    pub auth: String,
    /// The id of the token that was shown.
    pub token: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// Why, as a code.
    pub reason_code: String,
    /// Why, in words; gone once it is recorded, where it is sealed.
    pub reason_text: Option<String>,
    /// What makes a repeated request answer as the first did.
    pub idempotency: Option<Repeats>,
    /// What of, from when to when.
    pub query: Query,
    /// Lines of recipients that it is encrypted to; empty where it is not.
    pub recipients: Vec<String>,
    /// When.
    pub asked_at: Timestamp,
    /// How often its making was begun.
    pub starts: u32,
    /// What became of it.
    pub state: State,
}

/// An idempotency key and the request that it was used for, as hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// Of who asks and the key.
    pub key: Hash,
    /// Of the request.
    pub request: Hash,
}

impl From<Idempotency> for Repeats {
    fn from(it: Idempotency) -> Self {
        Self {
            key: it.key,
            request: it.request,
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// It waits for those before it.
    Queued,
    /// It is being made.
    Running,
    /// The file is whole and has its name; the ledger does not say so yet.
    Made {
        /// What it is.
        pack: Packed,
    },
    /// It is recorded and may be fetched.
    Ready {
        /// What it is.
        pack: Packed,
        /// The position of its `EvidencePackIssued`.
        position: Position,
        /// Since when.
        at: Timestamp,
        /// Until when its file is kept.
        expires_at: Timestamp,
    },
    /// Its file was deleted, as had been said.
    Expired {
        /// What it was.
        pack: Packed,
        /// The position of its `EvidencePackIssued`.
        position: Position,
        /// When it was ready.
        ready_at: Timestamp,
        /// When its file was deleted.
        at: Timestamp,
    },
    /// There will be none.
    Failed {
        /// Stable.
        code: String,
        /// Why, for a person.
        message: String,
        /// When.
        at: Timestamp,
    },
}

/// A pack that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Packed {
    /// Its size before it was encrypted.
    pub bytes: u64,
    /// SHA-256 of it before it was encrypted.
    pub sha256: Hash,
    /// SHA-256 of its manifest.
    pub manifest_sha256: Hash,
    /// What is in it.
    pub counts: Counts,
    /// Lines of `readings.csv`.
    pub values: u64,
    /// The size of the checkpoint that it leads to.
    pub size: TreeSize,
    /// The first day asked for that was not closed.
    pub open_from: Option<Date>,
    /// The file, where it is encrypted.
    pub encrypted: Option<EncryptedPack>,
}

impl Packed {
    /// Of what was made.
    pub fn of(made: &Made, sha256: Hash, encrypted: Option<EncryptedPack>) -> Self {
        Self {
            bytes: made.bytes,
            sha256,
            manifest_sha256: made.manifest_sha256,
            counts: made.counts,
            values: made.values,
            size: made.size,
            open_from: made.open_from,
            encrypted,
        }
    }

    /// Size and hash of the file that is handed out.
    pub fn file(&self) -> (u64, Hash) {
        match &self.encrypted {
            Some(encrypted) => (encrypted.bytes, encrypted.sha256),
            None => (self.bytes, self.sha256),
        }
    }
}

impl State {
    /// As the API says it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running | Self::Made { .. } => "running",
            Self::Ready { .. } => "ready",
            Self::Expired { .. } => "expired",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether nothing more happens to it but that it expires.
    pub const fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Ready { .. } | Self::Expired { .. } | Self::Failed { .. }
        )
    }

    /// The pack, once it is made.
    pub const fn pack(&self) -> Option<&Packed> {
        match self {
            Self::Made { pack } | Self::Ready { pack, .. } | Self::Expired { pack, .. } => Some(pack),
            Self::Queued | Self::Running | Self::Failed { .. } => None,
        }
    }
}

impl Job {
    /// The name of its file.
    pub fn file_name(&self) -> String {
        let ending = if self.recipients.is_empty() {
            "zip"
        } else {
            "zip.age"
        };
        format!("{}.{ending}", self.id)
    }

    /// Bytes that its file takes.
    pub fn kept_bytes(&self) -> u64 {
        match &self.state {
            State::Made { pack } | State::Ready { pack, .. } => pack.file().0,
            _ => 0,
        }
    }

    /// Who asked, as the write side knows them.
    pub fn actor(&self) -> Actor {
        Actor {
            account: self.account.clone(),
            id: self.user.clone(),
            role: OWNER.to_owned(),
            auth: self.auth.clone(),
            request_id: self.request_id.clone(),
            token: self.token.clone(),
            idempotency: None,
        }
    }

    /// Why they asked.
    pub fn reason(&self) -> Reason {
        Reason {
            code: self.reason_code.clone(),
            text: self.reason_text.clone(),
        }
    }

    /// What is recorded of its pack.
    pub fn issue(&self, pack: &Packed) -> Issue {
        Issue {
            asker: self.user.clone(),
            bytes: pack.bytes,
            encrypted: pack.encrypted.clone(),
            manifest_sha256: pack.manifest_sha256,
            pack_sha256: pack.sha256,
            query: self.query.clone(),
            size: pack.size,
        }
    }
}
