//! What was seen lately: idempotency keys and radio frames, bounded by age and number.
//!
//! Derived: a fold of entries, kept in the snapshot. Invariant: at most `max` items; the oldest goes first.

use domain::{Hash, Position, Timestamp};
use std::collections::{HashMap, VecDeque};

/// One thing that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenItem {
    /// SHA-256 of what was asked; zero where it does not matter.
    pub request: Hash,
    /// First position of what was recorded for it.
    pub first: Position,
    /// One past the last position.
    pub end: Position,
    /// Values recorded for it.
    pub values: u32,
    /// When.
    pub recorded_at: Timestamp,
}

/// Keys seen within a window of time.
#[derive(Debug)]
pub struct Dedup {
    items: HashMap<[u8; 16], SeenItem>,
    order: VecDeque<([u8; 16], Timestamp)>,
    max: usize,
    window_us: i64,
}

impl Dedup {
    /// Keeps at most `max` keys, each for `window_us` microseconds.
    pub fn new(max: usize, window_us: i64) -> Self {
        Self {
            items: HashMap::new(),
            order: VecDeque::new(),
            max,
            window_us,
        }
    }

    /// What was recorded for `key`, if that is still within the window.
    pub fn get(&self, key: &[u8; 16], now: Timestamp) -> Option<SeenItem> {
        let item = self.items.get(key)?;
        (now.since(item.recorded_at) < self.window_us).then_some(*item)
    }

    /// Remembers an entry for `key`: extends what is there or begins anew.
    pub fn record(&mut self, key: [u8; 16], item: SeenItem) {
        match self.items.get_mut(&key) {
            Some(there)
                if there.request == item.request
                    && item.recorded_at.since(there.recorded_at) < self.window_us =>
            {
                there.end = item.end;
                there.values += item.values;
            }
            _ => {
                self.items.insert(key, item);
                self.order.push_back((key, item.recorded_at));
            }
        }
        self.forget(item.recorded_at);
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(&(key, at)) = self.order.front() {
            if self.order.len() <= self.max && now.since(at) < self.window_us {
                break;
            }
            self.order.pop_front();
            if self.items.get(&key).is_some_and(|item| item.recorded_at == at) {
                self.items.remove(&key);
            }
        }
    }

    /// All items, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8; 16], &SeenItem)> {
        self.order.iter().filter_map(|(key, at)| {
            let item = self.items.get(key)?;
            (item.recorded_at == *at).then_some((key, item))
        })
    }
}

/// The first 16 bytes of a hash: enough for a key that nobody can choose to collide within a day.
pub fn short(hash: &Hash) -> [u8; 16] {
    let mut key = [0u8; 16];
    key.copy_from_slice(&hash.0[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(at_us: i64, position: u64) -> SeenItem {
        SeenItem {
            request: Hash::default(),
            first: Position(position),
            end: Position(position + 1),
            values: 1,
            recorded_at: Timestamp::from_micros(at_us).expect("in range"),
        }
    }

    #[test]
    fn a_key_is_known_for_its_window_and_extended_by_its_entries() {
        let mut seen = Dedup::new(10, 100);
        seen.record([1; 16], item(0, 5));
        seen.record([1; 16], item(10, 6));
        let now = Timestamp::from_micros(99).expect("in range");
        assert_eq!(
            seen.get(&[1; 16], now).map(|i| (i.first, i.end, i.values)),
            Some((Position(5), Position(7), 2))
        );
        assert_eq!(seen.get(&[1; 16], now.plus_micros(1)), None);
    }

    #[test]
    fn the_oldest_go_first() {
        let mut seen = Dedup::new(3, 1_000_000);
        for n in 0..5u8 {
            seen.record([n; 16], item(i64::from(n), u64::from(n)));
        }
        let now = Timestamp::from_micros(10).expect("in range");
        assert_eq!(seen.iter().count(), 3);
        assert!(seen.get(&[1; 16], now).is_none());
        assert!(seen.get(&[4; 16], now).is_some());
    }
}
