//! Where entries of configuration are and what they come to, read beside a running service.
//!
//! *Derived.* Invariant: what comes out is what the sequencer would know at the same size.
//! Not here: starting a sequencer (`handle`).

use super::days::DerivedStore;
use super::recover::{LoadError, each, fold_registry, fold_rest, load_registry, restore};
use super::state::{StreamPositions, names_of};
use domain::TreeSize;
use domain::entry::Entry;
use domain::ports::{EventLog, TileStore};
use domain::reading::{READING_RECORDED, READINGS};
use domain::registry::Registry;
use domain::stream::blind;

/// Reads registry and positions of a ledger: from the sequencer's snapshot on, or from the first entry.
///
/// # Errors
/// [`LoadError`].
pub fn read_index(
    origin: &str,
    log: &dyn EventLog,
    tiles: &dyn TileStore,
    derived: &dyn DerivedStore,
) -> Result<(Registry, StreamPositions), LoadError> {
    let positions = StreamPositions::default();
    let (mut state, _) = restore(origin, log.size(), tiles, derived, &positions);
    let mut registry = Registry::default();
    load_registry(&mut registry, log, &positions)?;
    fold_registry(&mut registry, log, state.size())?;
    fold_rest(&mut state, log, &registry)?;
    Ok((registry, positions))
}

/// Reads the positions of every entry below `end` but for readings, without what they come to: the snapshot's, and what
/// was recorded since. There may be later ones among them.
///
/// # Errors
/// [`LoadError`].
pub fn read_positions(
    origin: &str,
    log: &dyn EventLog,
    tiles: &dyn TileStore,
    derived: &dyn DerivedStore,
    end: TreeSize,
) -> Result<StreamPositions, LoadError> {
    let positions = StreamPositions::default();
    let (state, _) = restore(origin, log.size(), tiles, derived, &positions);
    each(log, state.size(), end, |position, bytes| {
        // Most of it, and nothing to look at.
        if Entry::event_type_of(bytes) == Some(READING_RECORDED) {
            return Ok(());
        }
        let entry = Entry::read(bytes).map_err(|error| LoadError::Corrupt {
            position,
            reason: error.to_string(),
        })?;
        if entry.aggregate_type != READINGS {
            let (account, _) = names_of(entry.metadata);
            positions.push(blind(&account), blind(&entry.stream_name()), position);
        }
        Ok(())
    })?;
    Ok(positions)
}
