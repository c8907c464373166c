//! Entries that are written alike: one that differs from a canonical entry inside texts and numbers only is canonical, too.
//!
//! The entries of a log have few shapes, because whoever writes them writes the same members again and again. A *shape*
//! is learned from an entry that was scanned byte by byte: its bytes, with holes where characters of a text and where
//! numbers stand.
//! Invariants: an entry has a shape only if every byte outside the holes is the shape's, no text in it needs an escape,
//! and every number is spelled as ECMAScript does; so what has one would be accepted by the scanner, and what has none is
//! to be given to it. Memory: at most [`SHAPES_MAX`] entries, twice.
//! Not here: what an entry is (`entry`), the scanner (`canonical`).

use crate::canonical::{canonical_number, canonical_unsigned, number_len};
use crate::entry::{
    ENTRY_BYTES_MAX, Entry, METADATA_BYTES_MAX, Members, Spans, TIME_CHARS, is_aggregate_id, is_salt,
};
use crate::position::Position;
use crate::time::Timestamp;

/// Shapes that are kept: a site's devices have a handful, one a set of channels and way in.
const SHAPES_MAX: usize = 16;
/// Numbers in a shape: 32 channels of a device, and what every reading has. An entry with more is not learned.
const NUMBERS_MAX: usize = 40;
/// Once all places are taken, one of so many entries without a shape is learned: where no two are alike, learning costs
/// more than it saves.
const LEARNED_OF: u32 = 16;
/// What stands before the number of `position`, from the end of the payload.
const BEFORE_POSITION: &str = ",\"position\":";
/// What stands between the texts of `recorded_at` and `salt`.
const BEFORE_SALT: &str = "\",\"salt\":\"";
/// What stands before the number of `sequence`, from the end of the salt.
const BEFORE_SEQUENCE: &str = "\",\"sequence\":";
/// How an entry ends; the number in it is no hole.
const END: &[u8] = b",\"v\":1}";

/// The shapes that were seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    known: Vec<Shape>,
    missed: u32,
}

#[derive(Debug, Clone)]
struct Shape {
    /// What stands before, between and behind the numbers.
    segments: Vec<Segment>,
    /// Quotes in it, none of them in a hole.
    quotes: usize,
    spans: Spans<Place>,
    /// Where the text of `recorded_at` begins.
    recorded_at: Place,
    /// Which of the numbers it is.
    position: usize,
    /// Which of the numbers it is.
    sequence: usize,
}

/// Bytes; where the mask is zero, another character may stand.
#[derive(Debug, Clone, Default)]
struct Segment {
    bytes: Vec<u8>,
    mask: Vec<u8>,
}

/// A segment, and an offset in it.
type Place = (usize, usize);

impl Shapes {
    /// The members of an entry that has a shape. `None` says nothing about it.
    pub(crate) fn members(&mut self, entry: &[u8]) -> Option<Members> {
        if self.known.is_empty() || entry.len() > ENTRY_BYTES_MAX || !needs_no_escape(entry) {
            return None;
        }
        let quotes = count_quotes(entry);
        let mut shapes = self.known.iter().enumerate();
        let (at, members) = shapes.find_map(|(at, shape)| Some((at, shape.members(entry, quotes)?)))?;
        if at > 0 {
            // What is seen often comes to the front.
            self.known.swap(at, at - 1);
        }
        Some(members)
    }

    /// Takes the shape of an entry that the scanner has accepted.
    pub(crate) fn learn(&mut self, bytes: &[u8], entry: &Entry<'_>) {
        if self.known.len() == SHAPES_MAX {
            self.missed = (self.missed + 1) % LEARNED_OF;
            if self.missed != 0 {
                return;
            }
        }
        if let Some(shape) = Shape::of(bytes, entry) {
            self.known.truncate(SHAPES_MAX - 1);
            self.known.push(shape);
        }
    }
}

/// Whether every byte is a character by itself that no string escapes, or a quote.
fn needs_no_escape(bytes: &[u8]) -> bool {
    // As signed numbers, control characters and whatever is beyond ASCII are below the space. Every byte is looked at
    // whatever the ones before were, which a processor does for many at once.
    let escaped = |seen: bool, byte: &u8| seen | ((*byte as i8) < 0x20) | (*byte == b'\\');
    !bytes.iter().fold(false, escaped)
}

fn count_quotes(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'"', bytes).count()
}

impl Segment {
    fn push(&mut self, bytes: &[u8], mask: u8) {
        self.bytes.extend_from_slice(bytes);
        self.mask.resize(self.bytes.len(), mask);
    }

    fn is_in(&self, found: &[u8]) -> bool {
        let expected = self.bytes.iter().zip(&self.mask);
        let other = |seen: u8, (found, (byte, mask)): (&u8, (&u8, &u8))| seen | (found ^ byte) & mask;
        found.iter().zip(expected).fold(0, other) == 0
    }
}

impl Shape {
    /// The shape of an entry that the scanner has accepted; `None` where it has none that is worth keeping.
    fn of(bytes: &[u8], entry: &Entry<'_>) -> Option<Self> {
        if !needs_no_escape(bytes) {
            return None;
        }
        let body = bytes.strip_suffix(END)?;
        let spans = Members::of(bytes, entry).spans.map(usize::from);
        // Which of the few texts they are is part of a shape.
        let fixed = [spans.aggregate_type, spans.event_type, spans.event_version].map(|(from, _)| from);
        let mut segments = vec![Segment::default()];
        // Where the numbers begin, and where what follows them does.
        let (mut numbers, mut starts) = (Vec::new(), vec![0]);
        let mut at = 0;
        while at < body.len() {
            let rest = &body[at..];
            let segment = segments.last_mut()?;
            match rest[0] {
                b'-' | b'0'..=b'9' => {
                    numbers.push(at);
                    at += number_len(rest);
                    starts.push(at);
                    segments.push(Segment::default());
                }
                b'"' => {
                    let characters = memchr::memchr(b'"', &rest[1..])?;
                    let (text, behind) = rest[1..].split_at(characters);
                    let is_literal = behind.get(1) == Some(&b':') || fixed.contains(&(at + 1));
                    segment.push(b"\"", 0xff);
                    segment.push(text, if is_literal { 0xff } else { 0 });
                    segment.push(b"\"", 0xff);
                    at += characters + 2;
                }
                _ => {
                    segment.push(&rest[..1], 0xff);
                    at += 1;
                }
            }
        }
        segments.last_mut()?.push(END, 0xff);
        if numbers.len() > NUMBERS_MAX {
            return None;
        }
        let place = |at: usize| {
            let segment = starts.partition_point(|start| *start <= at) - 1;
            (segment, at - starts[segment])
        };
        let number = |at: usize| numbers.iter().position(|number| *number == at);
        let recorded_at = spans.salt.0.checked_sub(BEFORE_SALT.len() + TIME_CHARS)?;
        Some(Self {
            quotes: count_quotes(bytes),
            position: number(spans.payload.1 + BEFORE_POSITION.len())?,
            sequence: number(spans.salt.1 + BEFORE_SEQUENCE.len())?,
            recorded_at: place(recorded_at),
            spans: spans.map(place),
            segments,
        })
    }

    /// The members of an entry of this shape, whose characters need no escape and of which so many are quotes.
    fn members(&self, entry: &[u8], quotes: usize) -> Option<Members> {
        if quotes != self.quotes {
            return None;
        }
        let mut starts = [0; NUMBERS_MAX + 1];
        let (mut position, mut sequence) = (0, 0);
        let mut at = 0;
        for (number, segment) in self.segments.iter().enumerate() {
            let end = at + segment.bytes.len();
            if !segment.is_in(entry.get(at..end)?) {
                return None;
            }
            starts[number] = at;
            at = end;
            if number + 1 == self.segments.len() {
                break;
            }
            let token = &entry[at..at + number_len(&entry[at..])];
            if number == self.position {
                position = canonical_unsigned(token)?;
            } else if number == self.sequence {
                sequence = canonical_unsigned(token).filter(|sequence| *sequence > 0)?;
            } else {
                canonical_number(token)?;
            }
            at += token.len();
        }
        if at != entry.len() {
            return None;
        }
        let offset = |(segment, offset): Place| starts[segment] + offset;
        let spans = self.spans.map(offset);
        let within = |(from, end): (usize, usize)| &entry[from..end];
        let recorded_at = offset(self.recorded_at);
        let members = Members {
            position: Position(position),
            recorded_at: Timestamp::parse_canonical(within((recorded_at, recorded_at + TIME_CHARS))).ok()?,
            sequence,
            // An entry has at most 65,535 bytes.
            spans: spans.map(|at| at as u16),
        };
        let id = std::str::from_utf8(within(spans.aggregate_id)).ok()?;
        let holds = is_aggregate_id(id)
            && is_salt(within(spans.salt))
            && within(spans.metadata).len() <= METADATA_BYTES_MAX;
        holds.then_some(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::Canonical;
    use crate::entry::{NewEvent, Placement, encode};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn encoded(payload: &Value, metadata: &Value, position: u64, sequence: u64) -> Vec<u8> {
        let event = NewEvent {
            aggregate_type: "readings".into(),
            aggregate_id: format!("dev_{position:026}"),
            event_type: "ReadingRecorded".into(),
            event_version: "1.0".into(),
            payload: Canonical::of(payload).expect("canonical"),
            metadata: Canonical::of(metadata).expect("canonical"),
            salt: None,
        };
        let placement = Placement {
            position: Position(position),
            recorded_at: Timestamp::from_micros(1_747_470_120_000_000 + position as i64).expect("valid"),
            sequence,
            salt: [position as u8; 16],
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &placement, &event).expect("encodes");
        bytes
    }

    fn reading(value: f64, request: &str, position: u64) -> Vec<u8> {
        encoded(
            &json!({"config": 7, "measured_at": "2026-05-17T08:22:00.000000Z", "values": {"temperature": value}}),
            &json!({"request_id": request, "source": {"kind": "http"}}),
            position,
            position + 1,
        )
    }

    fn learned(bytes: &[u8]) -> Shapes {
        let mut shapes = Shapes::default();
        shapes.learn(bytes, &Entry::decode(bytes).expect("an entry"));
        shapes
    }

    #[test]
    fn an_entry_of_a_known_shape_has_the_members_that_the_scanner_finds() {
        let mut shapes = learned(&reading(4.2, "req_a", 9));
        for (value, request, position) in [
            (4.2, "req_a", 9),
            (-0.5, "req_b", 10),
            (12.0, "re 'x", 4_000_000_000),
            (1e-7, "12345", 0),
            (1.0 / 3.0, "req_:", 99_999),
        ] {
            let bytes = reading(value, request, position);
            let members = shapes.members(&bytes).expect("the same shape");
            assert_eq!(members.entry(&bytes), Entry::decode(&bytes).ok());
        }
    }

    #[test]
    fn what_differs_outside_the_holes_or_is_not_canonical_has_no_shape() {
        let bytes = reading(4.2, "req_a", 9);
        let mut shapes = learned(&bytes);
        let text = String::from_utf8(bytes).expect("UTF-8");
        for (from, to) in [
            ("temperature", "temperatura"),
            ("4.2", "4.20"),
            ("4.2", "-0"),
            ("4.2", "04.2"),
            ("4.2", "42e-1"),
            ("4.2", "\"4\""),
            ("4.2", "null"),
            ("4.2", ""),
            ("4.2", "4.2,\"x\":1"),
            ("req_a", "req_ab"),
            ("req_a", "re\\\"a"),
            ("req_a", "re\\na"),
            ("req_a", "re\\qa"),
            ("req_a", "re\",\""),
            ("req_a", "r\u{e9}q"),
            ("req_a", "req\u{7}a"),
            ("\"readings\"", "\"device_s\""),
            ("dev_0", "dev_/"),
            ("\"sequence\":10", "\"sequence\":0"),
            ("\"sequence\":10", "\"sequence\":-1"),
            ("\"position\":9", "\"position\":9.5"),
            ("\"position\":9", "\"position\":09"),
            ("\"position\":9", "\"position\":99999999999999999"),
            ("\"recorded_at\":\"2025", "\"recorded_at\":\"20x5"),
            ("\"salt\":\"CQ", "\"salt\":\"C+"),
            (",\"v\":1}", ",\"v\":2}"),
            (",\"v\":1}", ",\"v\":1} "),
            ("{\"aggregate_id", " {\"aggregate_id"),
            (":{\"config\"", ": {\"config\""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert_eq!(shapes.members(changed.as_bytes()), None, "{from} -> {to}");
        }
        assert!(shapes.members(text.as_bytes()).is_some());
    }

    #[test]
    fn entries_with_many_numbers_or_other_than_ascii_are_left_to_the_scanner() {
        let many: Vec<usize> = (0..=NUMBERS_MAX).collect();
        let bytes = encoded(&json!({ "many": many }), &json!({}), 1, 1);
        assert_eq!(learned(&bytes).members(&bytes), None);
        let bytes = encoded(&json!({"text": "K\u{fc}hlschrank"}), &json!({}), 1, 1);
        assert_eq!(learned(&bytes).members(&bytes), None);
        let bytes = encoded(&json!({}), &json!({}), 1, 1);
        assert!(learned(&bytes).members(&bytes).is_some());
    }

    #[test]
    fn metadata_that_a_longer_number_makes_too_large_has_no_shape() {
        let room = METADATA_BYTES_MAX - r#"{"n":1,"x":""}"#.len();
        let metadata = |n: u32| json!({"n": n, "x": "a".repeat(room)});
        let bytes = encoded(&json!({}), &metadata(1), 1, 1);
        let mut shapes = learned(&bytes);
        assert!(shapes.members(&bytes).is_some());
        let text = String::from_utf8(bytes).expect("UTF-8");
        let longer = text.replacen("\"n\":1,", "\"n\":12,", 1);
        assert!(Entry::decode(longer.as_bytes()).is_err());
        assert_eq!(shapes.members(longer.as_bytes()), None);
    }

    #[test]
    fn more_shapes_than_places_are_all_read_rightly() {
        let mut shapes = Shapes::default();
        for round in 0..200u64 {
            for kind in 0..SHAPES_MAX as u64 * 2 {
                let payload = json!({ format!("kind_{kind}"): round });
                let bytes = encoded(&payload, &json!({}), round, round + 1);
                let entry = Entry::decode(&bytes).expect("an entry");
                match shapes.members(&bytes) {
                    Some(members) => assert_eq!(members.entry(&bytes), Some(entry)),
                    None => shapes.learn(&bytes, &entry),
                }
                assert!(shapes.known.len() <= SHAPES_MAX);
            }
        }
    }

    proptest! {
        #[test]
        fn what_has_a_shape_is_what_the_scanner_accepts(
            at in any::<prop::sample::Index>(),
            with in prop::collection::vec(any::<u8>(), 0..3),
            cut in 0usize..3,
            value in -1e3f64..1e3,
        ) {
            let original = reading(value, "req_a", 9);
            let mut shapes = learned(&original);
            let mut bytes = original.clone();
            let at = at.index(bytes.len());
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, with);
            if let Some(members) = shapes.members(&bytes) {
                let entry = Entry::decode(&bytes);
                prop_assert_eq!(members.entry(&bytes).ok_or(()), entry.map_err(|_| ()));
            }
        }
    }
}
