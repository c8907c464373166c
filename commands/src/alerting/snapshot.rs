//! The fold as bytes, so that a start follows only what came after it.
//!
//! Derived: a damaged, older or foreign one is ignored and everything is folded from the first entry. It belongs to one
//! tree size and root; both are checked against the ledger.
//! Shape: a line of JSON (`size`, `root`, what is due), then the engine's canonical state.

use super::fold::{Fold, Kept};
use crate::sequencer::{DerivedStore, StreamPositions};
use domain::entry::Entry;
use domain::merkle::Frontier;
use domain::ports::{EventLog, TileStore};
use domain::registry::Registry;
use domain::rule::engine::Engine;
use domain::{Position, TreeSize};
use serde::{Deserialize, Serialize};

/// Its name among what can be made again.
const NAME: &str = "alerting";
/// The version of what decisions are due and of the shape; another one is folded again.
const VERSION: u32 = 2;
/// Entries of configuration that are read at once.
const READ_ENTRIES: usize = 4_096;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    size: u64,
    root: String,
    kept: Kept,
}

/// The fold as it was at a size, apart from it.
pub(super) struct Image {
    head: Head,
    engine: Engine,
}

impl Image {
    pub fn of(fold: &Fold, tiles: &dyn TileStore) -> Result<Self, String> {
        Ok(Self {
            head: Head::of(fold, tiles)?,
            engine: fold.engine().clone(),
        })
    }

    pub fn save(&self, derived: &dyn DerivedStore) -> Result<(), String> {
        self.head.save(&self.engine, derived)
    }
}

impl Head {
    fn of(fold: &Fold, tiles: &dyn TileStore) -> Result<Self, String> {
        let root = Frontier::from_nodes(fold.size(), tiles)
            .map_err(|e| e.to_string())?
            .root();
        Ok(Self {
            version: VERSION,
            size: fold.size().get(),
            root: root.to_base64(),
            kept: fold.kept(),
        })
    }

    fn save(&self, engine: &Engine, derived: &dyn DerivedStore) -> Result<(), String> {
        let mut bytes = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        bytes.push(b'\n');
        bytes.extend_from_slice(engine.snapshot().map_err(|e| e.to_string())?.as_bytes());
        derived.save(NAME, &bytes)
    }
}

impl Fold {
    /// Keeps it; what fails only costs time at the next start.
    ///
    /// # Errors
    /// In words.
    pub fn keep(&self, tiles: &dyn TileStore, derived: &dyn DerivedStore) -> Result<(), String> {
        Head::of(self, tiles)?.save(self.engine(), derived)
    }

    /// The fold that was kept, where it fits the ledger; else one that begins at the first entry.
    pub async fn load(
        log: &dyn EventLog,
        tiles: &dyn TileStore,
        derived: &dyn DerivedStore,
        positions: &StreamPositions,
    ) -> Self {
        let Some(bytes) = derived.load(NAME) else {
            return Self::new();
        };
        match read(&bytes, log, tiles, positions).await {
            Ok(fold) => fold,
            Err(reason) => {
                tracing::warn!(
                    reason,
                    "what the rules remember does not fit; following the ledger from its start"
                );
                Self::new()
            }
        }
    }
}

async fn read(
    bytes: &[u8],
    log: &dyn EventLog,
    tiles: &dyn TileStore,
    positions: &StreamPositions,
) -> Result<Fold, String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("no first line")?;
    let head: Head = serde_json::from_slice(&bytes[..end]).map_err(|e| e.to_string())?;
    let size = TreeSize(head.size);
    if head.version != VERSION || size > log.size() {
        return Err("of another version, or ahead of the ledger".to_owned());
    }
    let root = Frontier::from_nodes(size, tiles)
        .map_err(|e| e.to_string())?
        .root();
    if root.to_base64() != head.root {
        return Err("of another ledger".to_owned());
    }
    let engine = Engine::restore(&bytes[end + 1..]).map_err(|e| e.to_string())?;
    let mut before: Vec<Position> = positions.all();
    before.retain(|position| size.contains(*position));
    let mut registry = Registry::default();
    for some in before.chunks(READ_ENTRIES) {
        let block = log.read_at(some).await.map_err(|e| e.to_string())?;
        for (_, bytes) in block.iter() {
            let entry = Entry::read(bytes).map_err(|e| e.to_string())?;
            registry.apply(&entry).map_err(|e| e.to_string())?;
        }
    }
    registry.advance(size);
    Ok(Fold::restored(registry, engine, head.kept, size))
}
