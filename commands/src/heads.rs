//! The head of a day: `DayClosed` with its inclusion proof under the checkpoint that ends with it (FORMAT §5).
//!
//! Invariant: `index` = the entry's position, the checkpoint's size is `index` + 1. Made once.
//! Not here: signing (`sequencer`), publishing (`chain-publisher`).

use domain::TreeSize;
use domain::ports::TileStore;
use domain::proof::inclusion_proof;

/// The bytes of a head's file: a tlog-proof whose `extra` is the `DayClosed` entry.
///
/// # Errors
/// In words, where a hash cannot be read.
pub fn head(tiles: &dyn TileStore, entry: &[u8], size: TreeSize, checkpoint: &[u8]) -> Result<Vec<u8>, String> {
    let index = size.last().ok_or("an empty ledger has no head")?;
    let proof = inclusion_proof(tiles, index, size).map_err(|e| e.to_string())?;
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut text = format!("c2sp.org/tlog-proof@v1\nextra {}\nindex {index}\n", STANDARD.encode(entry));
    proof.iter().for_each(|hash| text.push_str(&format!("{hash}\n")));
    text.push('\n');
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(checkpoint);
    Ok(bytes)
}
