//! What the way of a reading needs of each device: its stream, its channels, what is newest.
//!
//! Derived. Invariants: a slot is loaded from the registry when it is first used and again after its device's
//! configuration changed; `newest` of a channel never falls; `recent` holds every value recorded since the raw
//! projection's cursor was last looked at, so that both together know all.

use super::types::PendingReading;
use domain::reading::Reading;
use domain::registry::Registry;
use domain::{Position, TreeSize};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A value that was recorded lately.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recent {
    pub measured_at_us: i64,
    pub position: Position,
    pub value: f64,
}

/// A channel of a device.
#[derive(Debug, Clone)]
pub(super) struct ChannelSlot {
    pub key: Box<str>,
    pub id: Arc<str>,
    /// Newest `measured_at` of this channel, microseconds; `i64::MIN` = none yet.
    pub newest_us: i64,
    /// `newest_us` before the commit that is being put together.
    pub settled_us: i64,
    pub settled_in: u64,
    pub recent: VecDeque<Recent>,
}

impl ChannelSlot {
    fn new(key: &str, id: &str, newest_us: i64) -> Self {
        Self {
            key: key.into(),
            id: id.into(),
            newest_us,
            settled_us: newest_us,
            settled_in: 0,
            recent: VecDeque::new(),
        }
    }

    /// Remembers a value; `batch` is the number of the commit it goes into.
    #[inline]
    pub fn record(&mut self, recent: Recent, batch: u64) {
        self.settle(batch);
        self.newest_us = self.newest_us.max(recent.measured_at_us);
        self.recent.push_back(recent);
    }

    /// The newest time before commit `batch` was begun, microseconds.
    pub fn settled(&self, batch: u64) -> i64 {
        if self.settled_in == batch {
            self.settled_us
        } else {
            self.newest_us
        }
    }

    fn settle(&mut self, batch: u64) {
        if self.settled_in != batch {
            self.settled_in = batch;
            self.settled_us = self.newest_us;
        }
    }

    /// What was recorded lately for that time.
    pub fn recently(&self, measured_at_us: i64) -> Option<Recent> {
        self.recent
            .iter()
            .rev()
            .find(|r| r.measured_at_us == measured_at_us)
            .copied()
    }

    /// Forgets what the raw projection knows by now.
    #[inline]
    pub fn prune(&mut self, cursor: TreeSize) {
        while self.recent.front().is_some_and(|r| cursor.contains(r.position)) {
            self.recent.pop_front();
        }
    }
}

/// A device.
#[derive(Debug)]
pub(super) struct Slot {
    /// A copy of its own: the registry's lies beside a count that every request changes.
    pub id: Arc<str>,
    /// The registry's, told by its address.
    known_as: Arc<str>,
    pub account: Arc<str>,
    /// Index of `readings/<id>` among the streams, once it has one.
    pub stream: Option<u32>,
    pub config: Position,
    pub channels: Vec<ChannelSlot>,
    pub present: bool,
    pub stale: bool,
}

/// All devices that were asked for.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    index: HashMap<Arc<str>, u32>,
    /// By the devices' numbers in the registry; only a hint, which the id confirms.
    numbered: Vec<Option<u32>>,
    newest: HashMap<Box<str>, i64>,
}

impl Slots {
    /// The slot of a reading's device, where it is loaded and found by its number: nothing is hashed or locked.
    #[inline]
    pub fn known(&self, reading: &PendingReading) -> Option<u32> {
        let at = (*self.numbered.get(reading.number? as usize)?)?;
        let slot = &self.slots[at as usize];
        let same = Arc::ptr_eq(&slot.known_as, &reading.device) || slot.id == reading.device;
        (!slot.stale && same).then_some(at)
    }

    /// The slot of a device; `None` where the registry knows no such device.
    pub fn of(&mut self, device: &str, registry: &Registry) -> Option<u32> {
        if let Some(&at) = self.index.get(device) {
            if self.slots[at as usize].stale {
                self.load(at, device, registry);
            }
            return Some(at);
        }
        registry.device_anywhere(device)?;
        let at = self.slots.len() as u32;
        let id: Arc<str> = device.into();
        self.slots.push(Slot {
            id: id.clone(),
            known_as: id.clone(),
            account: "".into(),
            stream: None,
            config: Position(0),
            channels: Vec::new(),
            present: false,
            stale: true,
        });
        self.index.insert(id, at);
        self.load(at, device, registry);
        Some(at)
    }

    /// Brings a slot up to the registry; channels that are there keep what they remember.
    fn load(&mut self, at: u32, device: &str, registry: &Registry) {
        let slot = &mut self.slots[at as usize];
        slot.stale = false;
        let Some(device) = registry.device_anywhere(device) else {
            slot.present = false;
            return;
        };
        let number = device.number as usize;
        if self.numbered.len() <= number {
            self.numbered.resize(number + 1, None);
        }
        self.numbered[number] = Some(at);
        slot.known_as = device.id.clone();
        slot.present = !device.state.removed;
        slot.account = device.account.clone();
        slot.config = device.config;
        // A derived channel takes no values of its own.
        for channel in registry.channels(device).filter(|c| !c.state.is_derived) {
            if !slot.channels.iter().any(|c| *c.key == *channel.state.key) {
                let newest = self.newest.remove(&*channel.id).unwrap_or(i64::MIN);
                slot.channels
                    .push(ChannelSlot::new(&channel.state.key, &channel.id, newest));
            }
        }
    }

    pub fn get(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }

    pub fn get_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }

    /// A device's configuration changed: load it again when it is next asked for.
    pub fn invalidate(&mut self, device: &str) {
        if let Some(&at) = self.index.get(device) {
            self.slots[at as usize].stale = true;
        }
    }

    /// Takes a reading from the ledger.
    pub fn observe(&mut self, at: u32, reading: &Reading<'_>, position: Position) {
        let slot = &mut self.slots[at as usize];
        for &(key, value) in &reading.values {
            if let Some(channel) = slot.channels.iter_mut().find(|c| *c.key == *key) {
                let measured_at_us = reading.measured_at.as_micros();
                channel.newest_us = channel.newest_us.max(measured_at_us);
                channel.recent.push_back(Recent {
                    measured_at_us,
                    position,
                    value,
                });
            }
        }
    }

    /// Newest times by channel id, sorted, for the snapshot.
    pub fn newest(&self) -> Vec<(&str, i64)> {
        let loaded = self
            .slots
            .iter()
            .flat_map(|s| &s.channels)
            .map(|c| (&*c.id, c.newest_us));
        let mut all: Vec<(&str, i64)> = loaded.filter(|(_, at)| *at != i64::MIN).collect();
        all.extend(self.newest.iter().map(|(id, at)| (&**id, *at)));
        all.sort_unstable();
        all
    }

    /// Newest times from a snapshot, kept until their device is asked for.
    pub fn remember_newest(&mut self, id: &str, newest_us: i64) {
        self.newest.insert(id.into(), newest_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_newest_before_the_commit_is_kept_while_it_is_put_together() {
        let mut channel = ChannelSlot::new("temperature", "chn_a", 5);
        channel.record(
            Recent {
                measured_at_us: 10,
                position: Position(1),
                value: 1.0,
            },
            7,
        );
        assert_eq!(
            (channel.newest_us, channel.settled(7), channel.settled(8)),
            (10, 5, 10)
        );
        channel.record(
            Recent {
                measured_at_us: 8,
                position: Position(2),
                value: 1.0,
            },
            7,
        );
        assert_eq!((channel.newest_us, channel.settled(7)), (10, 5));
        assert_eq!(channel.recently(8).map(|r| r.position), Some(Position(2)));
        channel.prune(TreeSize(2));
        assert!(channel.recently(10).is_none());
        assert!(channel.recently(8).is_some());
    }
}
