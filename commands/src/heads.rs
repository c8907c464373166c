//! The head of a day: `DayClosed` with its inclusion proof under the checkpoint that ends with it (FORMAT §5).
//!
//! Beside it, that this checkpoint continues the one of the head before.
//! Invariant: `index` = the entry's position, the checkpoint's size is `index` + 1. Made once.
//! Not here: signing (`sequencer`), publishing (`chain-publisher`).

use domain::TreeSize;
use domain::add_checkpoint::AddCheckpoint;
use domain::checkpoint::SignedCheckpoint;
use domain::day::DayClosed;
use domain::entry::Entry;
use domain::ports::TileStore;
use domain::proof::{consistency_proof, inclusion_proof};
use domain::tlog_proof::TlogProof;

/// The bytes of a head's file: a tlog-proof whose `extra` is the `DayClosed` entry.
///
/// # Errors
/// In words, where a hash cannot be read.
pub fn head(
    tiles: &dyn TileStore,
    entry: &[u8],
    size: TreeSize,
    checkpoint: &[u8],
) -> Result<Vec<u8>, String> {
    let index = size.last().ok_or("an empty ledger has no head")?;
    let hashes = inclusion_proof(tiles, index, size).map_err(|e| e.to_string())?;
    let checkpoint = SignedCheckpoint::parse(checkpoint).map_err(|e| e.to_string())?;
    let head = TlogProof {
        extra: Some(entry.to_vec()),
        index,
        hashes,
        checkpoint,
    };
    Ok(head.encode().into_bytes())
}

/// That a head's checkpoint continues the one of the head that its `DayClosed` names: a tlog-witness add-checkpoint body;
/// `None` for the first day.
///
/// # Errors
/// In words, where the entry or a hash cannot be read.
pub fn consistency(
    tiles: &dyn TileStore,
    entry: &[u8],
    checkpoint: &[u8],
) -> Result<Option<Vec<u8>>, String> {
    let entry = Entry::read(entry).map_err(|e| e.to_string())?;
    let day: DayClosed = serde_json::from_slice(entry.payload).map_err(|e| e.to_string())?;
    let Some(previous) = day.previous else {
        return Ok(None);
    };
    let checkpoint = SignedCheckpoint::parse(checkpoint).map_err(|e| e.to_string())?;
    let old = previous.position.size_through();
    let hashes = consistency_proof(tiles, old, checkpoint.checkpoint().size()).map_err(|e| e.to_string())?;
    let body = AddCheckpoint {
        old,
        hashes,
        checkpoint,
    };
    Ok(Some(body.encode().into_bytes()))
}
