//! Where entries of configuration are and what they come to, read beside a running service.
//!
//! *Derived.* Invariant: what comes out is what the sequencer would know at the same size.
//! Not here: starting a sequencer (`handle`).

use super::days::DerivedStore;
use super::recover::{LoadError, fold_registry, fold_rest, load_registry, restore};
use super::state::StreamPositions;
use domain::ports::{EventLog, TileStore};
use domain::registry::Registry;

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
