//! The head of a day: `DayClosed` with its inclusion proof under the checkpoint that ends with it (FORMAT §5).
//!
//! Invariant: `index` = the entry's position, the checkpoint's size is `index` + 1. Made once.
//! Not here: signing (`sequencer`), publishing (`chain-publisher`).

use domain::TreeSize;
use domain::checkpoint::SignedCheckpoint;
use domain::ports::TileStore;
use domain::proof::inclusion_proof;
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
