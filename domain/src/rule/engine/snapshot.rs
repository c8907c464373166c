//! The engine's memory as canonical bytes, and back.
//!
//! Invariants: an engine that was written and read back decides as the one that was not; the same state gives the
//! same bytes; what can be computed again (zones, schedules, the queue) is not written.
//! Derived: a replay of the ledger gives the same. Not here: where it is kept (`commands`).

use super::{Engine, Memory, Timer};
use crate::canonical::{Canonical, CanonicalError};
use std::sync::Arc;

/// Why a state cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not what this version of the software writes.
    #[error("not a state of the rule engine: {0}; replay the ledger instead")]
    Malformed(String),
    /// It names channels or rules that it does not hold.
    #[error("a state of the rule engine that does not fit together; replay the ledger instead")]
    Inconsistent,
}

impl Engine {
    /// Everything it remembers.
    ///
    /// # Errors
    /// [`CanonicalError`] for numbers beyond what canonical JSON holds, which no reading has.
    pub fn snapshot(&self) -> Result<Canonical, CanonicalError> {
        Canonical::from_serialize(&self.memory)
    }

    /// The engine that wrote these bytes.
    ///
    /// # Errors
    /// [`SnapshotError`]: the ledger must be replayed.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let memory: Memory =
            serde_json::from_slice(bytes).map_err(|e| SnapshotError::Malformed(e.to_string()))?;
        if !memory.fits() {
            return Err(SnapshotError::Inconsistent);
        }
        let mut engine = Self::default();
        for (number, channel) in memory.channels.iter().enumerate() {
            let number = number as u32;
            engine.channels.insert(Arc::clone(&channel.id), number);
            if let Some(at) = channel.armed {
                engine
                    .queue
                    .insert((at, Arc::clone(&channel.id), Timer::Channel(number)));
            }
        }
        for (number, device) in memory.devices.iter().enumerate() {
            let number = number as u32;
            engine.devices.insert(Arc::clone(&device.id), number);
            if let Some(at) = device.armed {
                engine
                    .queue
                    .insert((at, Arc::clone(&device.id), Timer::Device(number)));
            }
        }
        for (number, ruling) in memory.rules.iter().enumerate() {
            let (number, Some(ruling)) = (number as u32, ruling) else {
                continue;
            };
            engine.rules.insert(Arc::clone(&ruling.id), number);
            if let Some(at) = ruling.armed {
                engine
                    .queue
                    .insert((at, Arc::clone(&ruling.id), Timer::Rule(number)));
            }
        }
        engine.memory = memory;
        Ok(engine)
    }
}

impl Memory {
    /// Every number in it names something.
    fn fits(&self) -> bool {
        let channel = |number: &u32| (*number as usize) < self.channels.len();
        let rule = |number: &u32| (*number as usize) < self.rules.len();
        let device = |number: &u32| (*number as usize) < self.devices.len();
        self.channels.iter().all(|it| {
            device(&it.device)
                && it.rules.iter().all(rule)
                && it.watched_by.iter().all(rule)
                && it.derives.iter().all(channel)
                && it
                    .derived
                    .iter()
                    .all(|derived| derived.sources().iter().all(channel))
        }) && self.devices.iter().all(|it| it.channels.iter().all(channel))
            && self.rules.iter().flatten().all(|it| channel(&it.channel))
    }
}
