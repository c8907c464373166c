//! Evidence packs as a service: what was asked for, what becomes of it, and the files while they are kept.
//!
//! | file | holds |
//! |---|---|
//! | `job` | one thing asked for and its states, as kept on disk |
//! | `shelf` | all of them: limits, walls between accounts, the queue, what a restart finds |
//! | `worker` | the thread that makes packs, one after another, and lets them expire |
//! | `file` | a pack on its way into a file: hashed, encrypted, whole or not at all |
//! | `recipients` | to whom a pack is encrypted |
//!
//! Layout: `DIR/evidence/<id>.json` and `<id>.zip` or `<id>.zip.age`. Neither ground nor derived: losing it loses packs
//! that can be asked for again; that they were issued stands in the ledger.
//! Invariants: `EvidencePackIssued` is in the ledger before anybody is given the file; an account sees its own only; a
//! job that a restart interrupted is done again or failed with its reason; nothing here runs on the sequencer's thread.
//! Not here: what a pack is (`chain_publisher::pack`), HTTP (`routes::evidence`), the page (`pages::evidence`).

pub mod file;
pub mod job;
pub mod recipients;
pub mod shelf;
pub mod worker;

use chain_publisher::pack::{Query, Subject};
use domain::event::{EncryptedPack, EvidencePackIssued, PackQuery, Text};
use domain::{Hash, TreeSize};
use serde::{Deserialize, Serialize};

/// What the software calls itself in packs.
pub const SOFTWARE: &str = concat!("daybook ", env!("CARGO_PKG_VERSION"));

/// A pack that was made and is to be recorded, as it passes over the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    /// As the manifest says it.
    pub asker: String,
    /// The pack's size before it was encrypted.
    pub bytes: u64,
    /// The file, where it is encrypted.
    pub encrypted: Option<EncryptedPack>,
    /// SHA-256 of the manifest.
    pub manifest_sha256: Hash,
    /// SHA-256 of the pack.
    pub pack_sha256: Hash,
    /// What was asked for.
    pub query: Query,
    /// The size of the checkpoint that it leads to.
    pub size: TreeSize,
}

impl Issue {
    /// The event that records it. `through` says which door it left by.
    pub fn event(self, through: &str) -> EvidencePackIssued {
        EvidencePackIssued {
            asker: Text::Plain(self.asker),
            bytes: self.bytes,
            encrypted: self.encrypted,
            manifest_sha256: self.manifest_sha256,
            pack_sha256: self.pack_sha256,
            query: query_of(&self.query),
            size: self.size,
            through: through.to_owned(),
        }
    }
}

fn query_of(query: &Query) -> PackQuery {
    let (mut alarm, mut channel, mut device, mut site) = (None, None, None, None);
    match &query.subject {
        Subject::Channel(id) => channel = Some(id.clone()),
        Subject::Device(id) => device = Some(id.clone()),
        Subject::Site(id) => site = Some(id.clone()),
        Subject::Alarm { id, channel: of } => {
            alarm = Some(id.clone());
            channel = Some(of.clone());
        }
    }
    PackQuery {
        alarm,
        channel,
        device,
        from: query.from,
        site,
        to: query.to,
    }
}
