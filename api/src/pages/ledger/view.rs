//! What the public ledger page and an entry's page show.
//!
//! Not here: markup, queries.

use domain::{Date, Hash, Timestamp};

use crate::witnesses::HeadState;

/// The ledger, for an auditor without an account.
#[derive(Debug, Clone)]
pub struct LedgerPage {
    /// The ledger's name.
    pub origin: String,
    /// `https://host[:port]`.
    pub base_url: String,
    /// The log's verifier key.
    pub verifier_key: String,
    /// The latest checkpoint, the whole note.
    pub checkpoint: Option<String>,
    /// When the latest checkpoint was signed.
    pub checkpoint_at: Option<Timestamp>,
    /// The day that is open.
    pub today: Date,
    /// The first position of the open day; its entries are those up to the size that the page shows.
    pub today_from: u64,
    /// When the first entry was recorded.
    pub began: Option<Date>,
    /// Heads, newest first.
    pub heads: Vec<HeadRow>,
    /// The witnesses that are asked.
    pub witnesses: Vec<WitnessRow>,
    /// How many heads there are in all.
    pub heads_total: u64,
    /// Where older heads are listed.
    pub older_href: Option<String>,
    /// Where heads go beside this service.
    pub channels: Vec<PublicationRow>,
    /// The service's own reading of all of it, last finished.
    pub audit: Option<AuditRow>,
}

/// A channel that heads are published on.
#[derive(Debug, Clone)]
pub struct PublicationRow {
    /// As the operator calls it.
    pub name: String,
    /// What it is, in a word.
    pub kind: &'static str,
    /// The last day that is out.
    pub last: Option<Date>,
    /// When it went out, where this process did it.
    pub at: Option<Timestamp>,
    /// Days that wait.
    pub waiting: u64,
    /// Whether the next one failed.
    pub failing: bool,
    /// The first day that waits, where it has waited too long.
    pub late: Option<Date>,
}

/// What a self-audit found.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// When it ended.
    pub at: Timestamp,
    /// Entries that it read.
    pub size: u64,
    /// What does not hold, in words.
    pub wrong: Option<String>,
}

/// A day's head in a list.
#[derive(Debug, Clone)]
pub struct HeadRow {
    /// The day.
    pub date: Date,
    /// The first of several idle days closed together.
    pub idle_since: Option<Date>,
    /// Tree size at its end.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
    /// Entries of that day.
    pub entries: u64,
    /// Refusals counted that day.
    pub refused: u64,
    /// How far it is seen.
    pub state: HeadState,
}

/// A witness as the ledger's page shows it.
#[derive(Debug, Clone)]
pub struct WitnessRow {
    /// Its name in the policy.
    pub name: String,
    /// When it last cosigned, since the start.
    pub cosigned_at: Option<Timestamp>,
    /// The size it cosigned then.
    pub size: Option<u64>,
    /// Whether it cosigned what it was last offered.
    pub up: bool,
    /// It says that it has seen a larger ledger, or another history.
    pub alarm: bool,
}

/// An entry and its proof, for a person.
#[derive(Debug, Clone)]
pub struct EntryPage {
    /// Position.
    pub position: u64,
    /// Leaf hash.
    pub leaf_hash: Hash,
    /// The entry's bytes as indented JSON; `None` where they are pruned or withheld.
    pub json: Option<String>,
    /// Why there is no JSON.
    pub absent: Option<String>,
    /// The tree size of the proof.
    pub size: u64,
    /// The root at that size.
    pub root: Hash,
    /// The inclusion proof, from the leaf up.
    pub path: Vec<Hash>,
    /// Where the proof file is.
    pub proof_href: String,
}
