//! The sequencer's state as bytes, so that a start reads only what came after it.
//!
//! Derived: a damaged, older or foreign snapshot is ignored and everything is folded from the start. It belongs
//! to one tree size and root; the reader checks both against the ledger.
//! Shape: the magic, then counted items, integers little-endian.

use super::dedup::SeenItem;
use super::state::{OpenDay, State, Stream, StreamPositions};
use domain::day::PreviousDay;
use domain::event::CLASSES;
use domain::{Date, Hash, Position, Timestamp, TreeSize};
use std::collections::HashMap;

/// First bytes; the digit is the version of this shape.
const MAGIC: &[u8; 16] = b"daybook/state/1\n";

/// A state that was read back, with what has to be checked before it is believed.
pub(super) struct Restored {
    pub size: TreeSize,
    pub root: Hash,
    /// The stop was graceful and nothing was recorded after it.
    pub clean: bool,
    pub state: State,
}

/// The state as bytes.
pub(super) fn write(state: &State, clean: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + state.streams.len() * 144);
    out.extend_from_slice(MAGIC);
    out.push(u8::from(clean));
    put_u64(&mut out, state.size().get());
    out.extend_from_slice(&state.frontier.root().0);
    put_u64(
        &mut out,
        state.last_recorded_at.map_or(i64::MIN, Timestamp::as_micros) as u64,
    );
    write_day(&mut out, &state.day);
    put_u64(&mut out, state.streams.len() as u64);
    for stream in &state.streams {
        for name in [&stream.account, &stream.owner, &stream.name] {
            out.extend_from_slice(name);
        }
        put_u64(&mut out, stream.sequence);
        put_u64(&mut out, state.day_first(stream));
        out.extend_from_slice(&stream.chain.0);
    }
    state.positions.with(|all| {
        put_u64(&mut out, all.len() as u64);
        for (name, positions) in all {
            out.extend_from_slice(name);
            put_u64(&mut out, positions.len() as u64);
            positions.iter().for_each(|p| put_u64(&mut out, p.get()));
        }
    });
    for seen in [&state.idempotency, &state.uplinks] {
        put_u64(&mut out, seen.iter().count() as u64);
        for (key, item) in seen.iter() {
            out.extend_from_slice(key);
            out.extend_from_slice(&item.request.0);
            put_u64(&mut out, item.first.get());
            put_u64(&mut out, item.end.get());
            put_u64(&mut out, u64::from(item.values));
            put_u64(&mut out, item.recorded_at.as_micros() as u64);
        }
    }
    let newest = state.slots.newest();
    put_u64(&mut out, newest.len() as u64);
    for (id, at_us) in newest {
        put_text(&mut out, id);
        put_u64(&mut out, at_us as u64);
    }
    out
}

fn write_day(out: &mut Vec<u8>, day: &OpenDay) {
    put_u64(out, day.date.map_or(u64::MAX, |d| u64::from(d.days() as u32)));
    put_u64(out, day.first_position.get());
    out.push(u8::from(day.unclean));
    put_u64(out, day.held_us as u64);
    let entries = day.counts.entries();
    CLASSES.iter().for_each(|c| put_u64(out, entries[c.as_str()]));
    put_u64(out, day.counts.refused().len() as u64);
    for (code, count) in day.counts.refused() {
        put_text(out, code);
        put_u64(out, *count);
    }
    match &day.previous {
        None => out.push(0),
        Some(previous) => {
            out.push(1);
            put_u64(out, u64::from(previous.date.days() as u32));
            put_u64(out, previous.position.get());
            out.extend_from_slice(&previous.checkpoint_sha256.0);
        }
    }
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what [`write`] wrote; `None` where it is not that. The frontier is left for the caller to read.
pub(super) fn read(bytes: &[u8], origin: &str, positions: StreamPositions) -> Option<Restored> {
    let mut from = Cursor(bytes.strip_prefix(MAGIC)?);
    let clean = from.byte()? == 1;
    let size = TreeSize(from.u64()?);
    let root = from.hash()?;
    let mut state = State::new(origin, positions);
    let last = from.u64()? as i64;
    state.last_recorded_at = if last == i64::MIN {
        None
    } else {
        Some(Timestamp::from_micros(last)?)
    };
    state.day = read_day(&mut from)?;
    for at in 0..from.u64()? {
        let stream = Stream {
            account: from.array()?,
            owner: from.array()?,
            name: from.array()?,
            sequence: from.u64()?,
            day_first: from.u64()?,
            chain: from.hash()?,
            day: state.day.number,
            dirty: false,
        };
        state.index.insert(stream.name, u32::try_from(at).ok()?);
        state.streams.push(stream);
    }
    let mut all = HashMap::new();
    for _ in 0..from.u64()? {
        let name = from.array()?;
        let count = from.u64()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(Position(from.u64()?));
        }
        all.insert(name, list);
    }
    let accounts = state.streams.iter().map(|stream| (stream.account, stream.name));
    state.positions.replace(all, accounts);
    for which in 0..2 {
        for _ in 0..from.u64()? {
            let key = from.array()?;
            let item = SeenItem {
                request: from.hash()?,
                first: Position(from.u64()?),
                end: Position(from.u64()?),
                values: u32::try_from(from.u64()?).ok()?,
                recorded_at: Timestamp::from_micros(from.u64()? as i64)?,
            };
            let seen = if which == 0 {
                &mut state.idempotency
            } else {
                &mut state.uplinks
            };
            seen.record(key, item);
        }
    }
    for _ in 0..from.u64()? {
        let id = from.text()?;
        let at_us = from.u64()? as i64;
        state.slots.remember_newest(id, at_us);
    }
    from.0.is_empty().then_some(Restored {
        size,
        root,
        clean,
        state,
    })
}

fn read_day(from: &mut Cursor<'_>) -> Option<OpenDay> {
    let date = from.u64()?;
    let mut day = OpenDay {
        date: (date != u64::MAX).then(|| Date::from_days(date as u32 as i32)),
        first_position: Position(from.u64()?),
        unclean: from.byte()? == 1,
        held_us: from.u64()? as i64,
        ..OpenDay::default()
    };
    for class in CLASSES {
        day.counts.add(class, from.u64()?);
    }
    for _ in 0..from.u64()? {
        let code = from.text()?;
        day.counts.refuse(code, from.u64()?);
    }
    if from.byte()? == 1 {
        day.previous = Some(PreviousDay {
            date: Date::from_days(from.u64()? as u32 as i32),
            position: Position(from.u64()?),
            checkpoint_sha256: from.hash()?,
        });
    }
    Some(day)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn hash(&mut self) -> Option<Hash> {
        self.array().map(Hash)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.u64()?).ok()?;
        std::str::from_utf8(self.take(len)?).ok()
    }
}
