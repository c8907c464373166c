//! `pack/pck_…`: an evidence pack that was handed out.
//!
//! Invariant: it is recorded once, before anybody is given it. Not here: making packs (`chain-publisher`), files (`api`).

use super::{Aggregate, Stamp};
use crate::event::{Event, EvidencePackIssued};
use crate::hash::Hash;
use crate::rejection::Rejection;
use serde::{Deserialize, Serialize};

/// The state of an issued pack.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pack {
    /// How many events there were.
    pub sequence: u64,
    /// SHA-256 of its manifest; present once it was issued.
    pub manifest_sha256: Option<Hash>,
}

/// What may be asked of a pack.
#[derive(Debug, Clone, PartialEq)]
pub enum PackCommand {
    /// Records that it is handed out.
    Issue(Box<EvidencePackIssued>),
}

impl Aggregate for Pack {
    const TYPE: &'static str = "pack";
    type Command = PackCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        if let Event::EvidencePackIssued(issued) = event {
            self.manifest_sha256 = Some(issued.manifest_sha256);
        }
    }

    fn decide(&self, command: &PackCommand) -> Result<Vec<Event>, Rejection> {
        let PackCommand::Issue(issued) = command;
        if self.sequence > 0 {
            return Err(Rejection::conflict(
                "already_exists",
                "this pack is issued already",
            ));
        }
        Ok(vec![Event::EvidencePackIssued((**issued).clone())])
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}
