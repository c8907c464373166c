//! What the rules decide when a ledger is followed again, as one number: the same for every store, in reads of any
//! size, with restarts anywhere.
//!
//! Invariant: every decision counts, with the entry at which it was made, its stream, its type and every byte of it.
//! Not here: what is followed (`simulated_site`).

use commands::alerting::Fold;
use commands::ledger::Ledger;
use commands::sequencer::{DerivedStore, StreamPositions};
use domain::hash::{base64url, leaf_hash, sha256};
use domain::memory::MemoryLog;
use domain::merkle::{Frontier, TileNodes};
use domain::ports::{Append, EntryBlock, EventLog, TileStore};
use domain::{Date, Hash, TreeSize};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};

/// Entries of one commit when a ledger is copied.
const COMMIT: usize = 4_096;
const BYTES: usize = 16 << 20;

/// What came of following a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions by what they say; those that were told late by that, too.
    pub decided: BTreeMap<String, u64>,
    /// SHA-256 over all of them, in order.
    pub digest: String,
    /// Decisions that the ledger records, byte for byte.
    pub equal: u64,
    /// Decisions that it does not.
    pub missing: usize,
    /// Entries that say they are decisions and are none.
    pub unexpected: usize,
    /// Readings that came too late for a rule to look at.
    pub too_late: u64,
}

/// What a driver would keep, in memory.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<String, Vec<u8>>>);

impl DerivedStore for Kept {
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.0.lock().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.0.lock().get(name).cloned()
    }

    fn save_day_lines(&self, _: Date, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Restarts on the way: where streams are, and after how many reads what is remembered is written and read back.
pub struct Restarts<'a> {
    /// Where streams are.
    pub positions: &'a StreamPositions,
    /// Reads between two.
    pub every: usize,
}

/// Follows a ledger from its first entry, in reads of the sizes that `next_read` says.
///
/// # Panics
/// Where it cannot be followed.
pub fn replay<L: EventLog + TileStore>(
    log: &L,
    mut next_read: impl FnMut() -> usize,
    restarts: Option<&Restarts<'_>>,
) -> Replayed {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let kept = Kept::default();
        let (mut fold, mut unexpected, mut reads) = (Fold::new(), Vec::new(), 0);
        let (mut decided, mut digest, mut seen, mut equal) = (BTreeMap::new(), Hash::default(), 0, 0);
        while fold.size() < log.size() {
            let from = fold.size().next_position();
            let block = log.read(from, next_read(), BYTES).await.expect("read");
            for (position, bytes) in block.iter() {
                let before = fold.recorded();
                fold.entry(position, bytes, log, &mut unexpected)
                    .expect("follows");
                equal += fold.recorded() - before;
                let new: Vec<_> = fold
                    .due()
                    .iter()
                    .rev()
                    .take_while(|due| due.order >= seen)
                    .collect();
                for due in new.into_iter().rev() {
                    seen = due.order + 1;
                    *decided.entry(due.event_type.clone()).or_default() += 1;
                    if due.payload.contains(r#""late":true"#) {
                        *decided.entry(format!("{} late", due.event_type)).or_default() += 1;
                    }
                    let line = format!(
                        "{} {}/{} {} {}",
                        due.decided_by, due.aggregate_type, due.aggregate_id, due.event_type, due.payload
                    );
                    digest = sha256(&[&digest.0[..], line.as_bytes()].concat());
                }
            }
            reads += 1;
            if let Some(restarts) = restarts
                && reads % restarts.every == 0
            {
                fold.keep(log, &kept).expect("kept");
                fold = Fold::load(log, log, &kept, restarts.positions).await;
                assert!(fold.size() > TreeSize::EMPTY, "what was kept is gone on with");
            }
        }
        Replayed {
            decided,
            digest: base64url(&digest.0),
            equal,
            missing: fold.due().len(),
            unexpected: unexpected.len(),
            too_late: fold.engine().too_late(),
        }
    })
}

/// Copies a ledger into files, byte for byte.
///
/// # Panics
/// Where the files do not take it.
pub fn copy(log: &MemoryLog, ledger: &Ledger) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut frontier = Frontier::new();
    let mut nodes = TileNodes::new();
    while frontier.size() < EventLog::size(log) {
        let expected = frontier.size();
        let block: EntryBlock = runtime
            .block_on(log.read(expected.next_position(), COMMIT, BYTES))
            .expect("read");
        let leaves: Vec<Hash> = block.iter().map(|(_, entry)| leaf_hash(entry)).collect();
        nodes.clear();
        frontier.extend(&leaves, &mut nodes);
        ledger
            .append_now(Append {
                expected,
                entries: &block,
                leaf_hashes: &leaves,
                root: frontier.root(),
                tile_nodes: nodes.above(),
            })
            .expect("appended");
    }
    assert_eq!(frontier.root(), log.root(), "the same tree");
}
