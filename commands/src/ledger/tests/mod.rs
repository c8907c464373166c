//! Tests of the embedded ledger as a whole, and what they share: a pen that writes real entries, and a check that
//! reads everything back.
//! Not here: tests of one file's layout (beside it).

mod beginnings;
mod checkpoints;
mod damage;
mod faulty;
mod reading;
mod sealing;

use super::check::check_on;
use super::disk::Disk;
use super::faults::FaultDisk;
use super::{Ledger, OpenError, Options, Recovery, Upkeep};
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::entry::{NewEvent, Placement, encode};
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, MemoryNodes, TileNodes};
use domain::note::SigningKey;
use domain::ports::{Append, AppendError, CheckpointStore, EntryBlock, SwapError, TileStore};
use domain::{Date, Hash, Position, Timestamp, TreeSize, canonical::Canonical};
use std::path::Path;
use std::sync::Arc;

pub const DIR: &str = "/ledger";
pub const ANCHORS: &str = "/anchors";
pub const ORIGIN: &str = "daybook.example/test";

/// Small segments, little ahead, no thread: the same operations in the same order each time.
pub fn options(disk: &FaultDisk) -> Options {
    Options {
        segment_bytes: 8192,
        ahead_bytes: 1024,
        origin: Some(ORIGIN.to_owned()),
        anchor: Some(ANCHORS.into()),
        upkeep: Upkeep::WhenAsked,
        disk: Arc::new(disk.clone()),
        ..Options::default()
    }
}

pub fn open(disk: &FaultDisk) -> Result<(Ledger, Recovery), OpenError> {
    Ledger::open(Path::new(DIR), options(disk))
}

/// Writes entries and remembers which were acknowledged.
#[derive(Clone)]
pub struct Pen {
    pub entries: Vec<Vec<u8>>,
    pub frontier: Frontier,
    /// Of a commit whose outcome is unknown.
    pub pending: Vec<Vec<u8>>,
    pub month: u32,
}

impl Pen {
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            frontier: Frontier::new(),
            pending: Vec::new(),
            month: 1,
        }
    }

    pub fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    fn entry(&self, position: u64) -> Vec<u8> {
        let event_type = match position % 11 {
            3 => "DeviceRegistered",
            7 => "RequestsRefused",
            10 => "DayClosed",
            _ => "ReadingRecorded",
        };
        let text = "x".repeat((position * 37 % 90) as usize);
        let event = NewEvent {
            aggregate_type: "readings".into(),
            aggregate_id: format!("dev_{}", position % 5),
            event_type: event_type.into(),
            event_version: "1.0".into(),
            payload: Canonical::of(&serde_json::json!({"text": text})).unwrap(),
            metadata: Canonical::of(&serde_json::json!({})).unwrap(),
            salt: None,
        };
        let date = Date::from_civil(2026, self.month, 1).unwrap();
        let placement = Placement {
            position: Position(position),
            recorded_at: Timestamp::from_micros(date.start().as_micros() + position as i64).unwrap(),
            sequence: position / 5 + 1,
            salt: u128::from(position).to_be_bytes(),
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &placement, &event).unwrap();
        bytes
    }

    /// Commits `count` new entries.
    pub fn commit(&mut self, ledger: &Ledger, count: u64) -> Result<(), AppendError> {
        let from = self.entries.len() as u64;
        let new: Vec<Vec<u8>> = (from..from + count)
            .map(|position| self.entry(position))
            .collect();
        let mut block = EntryBlock::new();
        for (i, entry) in new.iter().enumerate() {
            block.push(Position(from + i as u64), entry);
        }
        let leaves: Vec<Hash> = new.iter().map(|entry| leaf_hash(entry)).collect();
        let mut frontier = self.frontier.clone();
        let mut nodes = TileNodes::new();
        frontier.extend(&leaves, &mut nodes);
        self.pending = new;
        ledger.append_now(Append {
            expected: TreeSize(from),
            entries: &block,
            leaf_hashes: &leaves,
            root: frontier.root(),
            tile_nodes: nodes.above(),
        })?;
        self.entries.append(&mut self.pending);
        self.frontier = frontier;
        Ok(())
    }

    /// Learns from a ledger that was opened again what became of the pending commit.
    pub fn settle(&mut self, size: TreeSize) {
        let pending = std::mem::take(&mut self.pending);
        if size.get() > self.entries.len() as u64 {
            assert_eq!(
                size.get(),
                (self.entries.len() + pending.len()) as u64,
                "a commit is whole"
            );
            let leaves: Vec<Hash> = pending.iter().map(|entry| leaf_hash(entry)).collect();
            self.frontier.extend(&leaves, &mut TileNodes::new());
            self.entries.extend(pending);
        }
    }

    /// The checkpoint of what was acknowledged.
    pub fn checkpoint(&self) -> Vec<u8> {
        signed(self.size(), self.frontier.root())
    }

    /// Signs what was acknowledged.
    pub fn sign(&self, ledger: &Ledger) -> Result<(), SwapError> {
        let latest = ledger.latest().map_err(SwapError::Failed)?;
        ledger.swap(latest.as_deref(), &self.checkpoint())
    }
}

pub fn signed(size: TreeSize, root: Hash) -> Vec<u8> {
    let key = SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, size, root).unwrap();
    SignedCheckpoint::sign(checkpoint, &[&key])
        .unwrap()
        .encode()
        .into_bytes()
}

/// Reads everything back in every way there is, and lets the checker look at the files.
pub fn whole(disk: &FaultDisk, ledger: &Ledger, pen: &Pen) {
    same_entries(ledger, pen);
    let report = check_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), Path::new(DIR)).unwrap();
    assert_eq!(report.damage, [], "{report:#?}");
    assert_eq!(report.size, pen.size());
    assert_eq!(report.root, pen.frontier.root());
}

/// Every entry, every hash and the root, as the readers get them.
pub fn same_entries(ledger: &Ledger, pen: &Pen) {
    assert_eq!(ledger.size_now(), pen.size());
    for piece in [7, 1000] {
        let mut next = 0;
        while next < pen.entries.len() {
            let block = ledger.read_now(Position(next as u64), piece, 1 << 20).unwrap();
            assert!(!block.is_empty());
            for (position, entry) in block.iter() {
                assert_eq!(position, Position(next as u64));
                assert_eq!(entry, pen.entries[next], "position {position}");
                next += 1;
            }
        }
    }
    let leaves: Vec<Hash> = pen.entries.iter().map(|entry| leaf_hash(entry)).collect();
    let nodes = MemoryNodes::of_leaves(&leaves);
    for level in 0..3 {
        let expected = nodes.level(level.into());
        let mut found = Vec::new();
        ledger.read_nodes(level, 0, expected.len(), &mut found).unwrap();
        assert_eq!(found, expected, "level {level}");
        assert!(
            ledger
                .read_nodes(level, 0, expected.len() + 1, &mut found)
                .is_err()
        );
    }
    assert_eq!(ledger.root_at(pen.size()), Ok(pen.frontier.root()));
}
