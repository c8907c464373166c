//! Loading the sequencer's state from the ledger: at start, and again whenever an append failed.
//!
//! Invariant: the state that comes out is the one that folding every entry from the first would give; the
//! snapshot only saves the time.

use super::days::{DayPreparer, DerivedStore, Due};
use super::snapshot;
use super::state::{State, StreamPositions};
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, NoNodes};
use domain::ports::{EventLog, ReadError, TileStore};
use domain::registry::Registry;
use domain::{Position, TreeSize};
use parking_lot::RwLock;

/// The snapshot's name among what can be made again.
pub(super) const SNAPSHOT: &str = "sequencer";
/// Entries and bytes read at once while folding.
const READ_ENTRIES: usize = 16_384;
const READ_BYTES: usize = 8 << 20;

/// Why the state could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored does not follow the format.
    #[error("the ledger is damaged at position {position}: {reason}")]
    Corrupt {
        /// The first position that is wrong.
        position: Position,
        /// How.
        reason: String,
    },
}

/// What was loaded.
pub(super) struct Loaded {
    pub state: State,
    /// From which size on the recent values are complete.
    pub recent_from: TreeSize,
}

/// Loads the state and the registry.
pub(super) fn load(
    origin: &str,
    log: &dyn EventLog,
    tiles: &dyn TileStore,
    derived: &dyn DerivedStore,
    registry: &RwLock<Registry>,
    positions: &StreamPositions,
    preparer: &DayPreparer,
) -> Result<Loaded, LoadError> {
    // Readers keep what they have until all of it is there again: a stream must never seem to be missing.
    let gathered = StreamPositions::default();
    let (mut state, clean) = restore(origin, log.size(), tiles, derived, &gathered);
    let from = state.size();
    let clean = clean && from == log.size();
    let mut fresh = Registry::default();
    load_registry(&mut fresh, log, &gathered)?;
    fold_registry(&mut fresh, log, from)?;
    fold_rest(&mut state, log, &fresh)?;
    *registry.write() = fresh;
    positions.take_over(&gathered);
    state.positions = positions.clone();
    if !clean && !state.size().is_empty() {
        state.day.unclean = true;
    }
    preparer.reset();
    preparer.moved(state.all_moved(), Due::Soon);
    Ok(Loaded {
        state,
        recent_from: from,
    })
}

/// The newest state that fits the ledger: the snapshot's, or an empty one.
pub(super) fn restore(
    origin: &str,
    size: TreeSize,
    tiles: &dyn TileStore,
    derived: &dyn DerivedStore,
    positions: &StreamPositions,
) -> (State, bool) {
    let restored = derived
        .load(SNAPSHOT)
        .and_then(|bytes| snapshot::read(&bytes, origin, positions.clone()));
    if let Some(mut restored) = restored.filter(|r| r.size <= size) {
        let frontier = Frontier::from_nodes(restored.size, tiles).ok();
        if let Some(frontier) = frontier.filter(|f| f.root() == restored.root) {
            restored.state.frontier = frontier;
            return (restored.state, restored.clean);
        }
        tracing::warn!("the sequencer's snapshot does not fit the ledger; folding from the start");
    }
    (State::new(origin, positions.clone()), false)
}

/// Applies the configuration entries up to the snapshot.
pub(super) fn load_registry(
    registry: &mut Registry,
    log: &dyn EventLog,
    positions: &StreamPositions,
) -> Result<(), LoadError> {
    for some in positions.all().chunks(READ_ENTRIES) {
        let block = super::owner::block_on(log.read_at(some))?;
        for (position, bytes) in block.iter() {
            apply(registry, position, bytes)?;
        }
    }
    Ok(())
}

/// Applies the configuration entries after the snapshot: readings need them all before they are folded.
pub(super) fn fold_registry(
    registry: &mut Registry,
    log: &dyn EventLog,
    from: TreeSize,
) -> Result<(), LoadError> {
    each(log, from, log.size(), |position, bytes| {
        apply(registry, position, bytes)
    })
}

fn apply(registry: &mut Registry, position: Position, bytes: &[u8]) -> Result<(), LoadError> {
    let entry = Entry::read(bytes).map_err(|e| LoadError::Corrupt {
        position,
        reason: e.to_string(),
    })?;
    if entry.aggregate_type == domain::reading::READINGS {
        return Ok(());
    }
    registry.apply(&entry).map_err(|e| LoadError::Corrupt {
        position,
        reason: e.to_string(),
    })
}

pub(super) fn fold_rest(state: &mut State, log: &dyn EventLog, registry: &Registry) -> Result<(), LoadError> {
    let from = state.size();
    each(log, from, log.size(), |position, bytes| {
        let entry = Entry::read(bytes).map_err(|e| LoadError::Corrupt {
            position,
            reason: e.to_string(),
        })?;
        state
            .fold(&entry, &leaf_hash(bytes), registry, &mut NoNodes)
            .map_err(|e| LoadError::Corrupt {
                position,
                reason: e.to_string(),
            })
    })
}

/// Shows `take` the entries from a size on, up to another.
pub(super) fn each(
    log: &dyn EventLog,
    from: TreeSize,
    end: TreeSize,
    mut take: impl FnMut(Position, &[u8]) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let mut next = from.next_position();
    while end.contains(next) {
        let left = usize::try_from(end.since(next.size_before())).unwrap_or(READ_ENTRIES);
        let block = super::owner::block_on(log.read(next, READ_ENTRIES.min(left), READ_BYTES))?;
        for (position, bytes) in block.iter() {
            take(position, bytes)?;
        }
        match block.len() as u64 {
            0 => return Err(ReadError::Beyond(next).into()),
            count => next = next.plus(count),
        }
    }
    Ok(())
}
