//! What of a ledger is its configuration, read beside holding the whole of it against the root that was signed.
//!
//! Invariants: every entry below the size is read and hashed; memory goes with the configuration, not with the readings.
//! Not here: what becomes of the entries (`reseal`).

use super::CarryOverError;
use crate::ledger::Ledger;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, NoNodes};
use domain::reading::READING_RECORDED;
use domain::registry::Registry;
use domain::{Hash, Position, Timestamp, TreeSize};

/// Entries read at once.
const READ_ENTRIES: usize = 4_096;
/// Bytes read at once: 8 MiB, so that a small machine has room for them.
const READ_BYTES: usize = 8 << 20;

/// The streams whose history is the configuration. Not among them: what was measured and decided (readings, alarms,
/// states, notes on readings), what arrived of unknown devices (trays), what was sent, handed out or refused.
const STREAMS: &[&str] = &[
    "account",
    "artefact",
    "channel",
    "contact",
    "device",
    "integration",
    "rule",
    "silence",
    "site",
    "tokens",
    "user",
];
/// Events of these streams that are no configuration: who came in, which ends with the ledger.
const PASSED_OVER: &[&str] = &["SignInLinkIssued", "SignedIn"];

/// What is carried over of a ledger.
#[derive(Debug, Default)]
pub struct Found {
    /// The entries, rising, with their leaf hashes: 40 bytes each.
    pub entries: Vec<(Position, Hash)>,
    /// Silences that are over, which are left behind.
    pub silences_over: usize,
}

/// Whether an entry is configuration.
pub(super) fn is_configuration(aggregate_type: &str, event_type: &str) -> bool {
    STREAMS.contains(&aggregate_type) && !PASSED_OVER.contains(&event_type)
}

/// Reads a ledger below `size`, whose root there was signed, and finds its configuration as of `now`. `progress` is told
/// how many entries were read.
///
/// # Errors
/// [`CarryOverError`]: what cannot be read, does not come to the root, or does not fold.
pub fn find(
    log: &Ledger,
    size: TreeSize,
    root: Hash,
    now: Timestamp,
    progress: &mut dyn FnMut(u64),
) -> Result<Found, CarryOverError> {
    let (mut registry, mut frontier) = (Registry::default(), Frontier::new());
    let mut found = Found::default();
    let mut silences = Vec::new();
    let mut next = Position::FIRST;
    while size.contains(next) {
        let wanted = READ_ENTRIES.min((size.get() - next.get()) as usize);
        let block = log.read_now(next, wanted, READ_BYTES)?;
        for (position, bytes) in block.iter() {
            let leaf = leaf_hash(bytes);
            frontier.push(leaf, &mut NoNodes);
            next = position.plus(1);
            // Most of it, and nothing to look at.
            if Entry::event_type_of(bytes) == Some(READING_RECORDED) {
                continue;
            }
            let entry = Entry::decode(bytes).map_err(|e| CarryOverError::entry(position, e))?;
            if !is_configuration(entry.aggregate_type, entry.event_type) {
                continue;
            }
            registry
                .apply(&entry)
                .map_err(|e| CarryOverError::entry(position, e))?;
            if entry.aggregate_type == "silence" {
                silences.push((position, leaf, entry.aggregate_id.to_owned()));
            } else {
                found.entries.push((position, leaf));
            }
        }
        if block.is_empty() {
            return Err(CarryOverError::entry(next, "it cannot be read"));
        }
        progress(next.get());
    }
    if frontier.root() != root {
        return Err(CarryOverError::Root { size: size.get() });
    }
    for (position, leaf, id) in silences {
        let begins = registry
            .silence_anywhere(&id)
            .is_some_and(|it| it.created.position == position);
        match registry.silence_anywhere(&id) {
            Some(silence) if now < silence.state.to => found.entries.push((position, leaf)),
            _ => found.silences_over += usize::from(begins),
        }
    }
    found.entries.sort_unstable_by_key(|(position, _)| *position);
    Ok(found)
}
