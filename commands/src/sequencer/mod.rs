//! The sequencer: the one door into the ledger.
//!
//! One thread owns the order. Requests queue in a bounded channel; while one commit is on its way to disk the
//! next gathers (group commit), so nobody waits on a timer. For each commit it decides duplicates, assigns
//! positions, sequences and `recorded_at`, encodes, hashes, extends tree and chains, has the commit made durable,
//! and only then answers. Of large commits two are under way: while one is written, the next is decided.
//!
//! Invariants: `recorded_at` never goes back; a stream's sequence has no gaps; nothing is answered before it is
//! durable; what a day's entries were is told by its `DayClosed` before the first entry of a later day.
//! A failed append never leaves half a truth in memory: the state is loaded from the ledger again, by the code
//! that starts the service.
//! Not here: decoding and resolving (`ingest`), what a command decides (`handlers`), files (`ledger`).

mod batch;
mod checkpoints;
mod clock;
mod commit;
mod days;
mod dedup;
mod handle;
mod head_store;
mod index;
mod owner;
mod recover;
mod rotate;
mod slots;
mod snapshot;
mod state;
mod types;

pub use batch::{ChannelMaker, ChannelRandom, NewEvents};
pub use checkpoints::{CheckpointError, Checkpointer, SignedElsewhere, Signing};
pub use clock::{ClockGuard, ClockState, Reading as ClockReading};
pub use days::{DayPreparer, DerivedStore, Due, Moved};
pub use dedup::Dedup;
pub use handle::{Ports, Sequencer, Settings, StartError};
pub use head_store::HeadStore;
pub use index::{read_index, read_positions};
pub use owner::{BESIDE_ENTRIES, SNAPSHOT_ENTRIES};
pub use recover::LoadError;
pub use rotate::{Keys, NextKey, RotationOrder, Settled, Signers};
pub use state::{StreamPositions, Unlearnt};
pub use types::{
    EventGroup, GroupAnswer, GroupReading, Idempotency, PendingReading, PendingValue, ReadingGroup,
    ReadingOutcome, RecordError, Recorded, RecordedEntry, Status, Writing,
};

#[cfg(test)]
mod tests;
