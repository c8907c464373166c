//! The door into the ledger as command handlers see it, and where a stream's entries are.
//!
//! Invariants: a group goes in whole or not at all; what was recorded is durable, in the tree and in the registry
//! before the answer comes. Source: DESIGN "The way of a command".
//! Not here: the sequencer, which implements this; readings of the ingest path.

use crate::sequencer::{
    EventGroup, GroupAnswer, Idempotency, RecordError, Recorded, Sequencer, StreamPositions,
};
use domain::Position;
use domain::ports::BoxFuture;

/// Records groups of events; the sequencer.
///
/// *Durability*: what was returned survives the loss of power. *Order*: groups are whole and follow each other.
/// *Idempotency*: by the group's key, for a day. *Concurrency*: any number of callers.
pub trait Recorder: Send + Sync {
    /// Records a group, or nothing of it.
    fn record(&self, group: EventGroup) -> BoxFuture<'_, GroupAnswer>;

    /// What an earlier request with this idempotency key became, if there was one. Records nothing.
    fn replayed(&self, idempotency: Idempotency) -> BoxFuture<'_, Result<Option<Recorded>, RecordError>> {
        Box::pin(async move {
            let asked = EventGroup {
                idempotency: Some(idempotency),
                ..EventGroup::default()
            };
            let answer = self.record(asked).await?;
            Ok(answer.replayed.then_some(answer))
        })
    }
}

/// Where the entries of a stream are; for every stream but those of readings.
///
/// *Order*: rising. *Concurrency*: any number of callers; every recorded group is in it.
pub trait StreamIndex: Send + Sync {
    /// The positions of a stream's entries; empty for one that does not exist.
    fn positions(&self, aggregate_type: &str, id: &str) -> Vec<Position>;
}

impl Recorder for Sequencer {
    fn record(&self, group: EventGroup) -> BoxFuture<'_, GroupAnswer> {
        Box::pin(Self::record(self, group))
    }
}

impl StreamIndex for StreamPositions {
    fn positions(&self, aggregate_type: &str, id: &str) -> Vec<Position> {
        self.of(aggregate_type, id)
    }
}
