//! The entry: one event as it is stored, exported and hashed (FORMAT §2).
//!
//! Invariants: an entry's bytes are canonical JSON of exactly eleven members, at most [`ENTRY_BYTES_MAX`];
//! what [`encode`] writes, [`Entry::decode`] reads, and nothing else. `payload` and `metadata` are kept as the
//! bytes they are.
//! Not here: what payloads mean (`event`, `reading`), which sequence is right (`verify`).

use crate::canonical::{Canonical, CanonicalError, INTEGER_MAX, Scanner, write_integer};
use crate::position::Position;
use crate::time::Timestamp;
use std::borrow::Cow;

/// Most bytes of one entry (FORMAT §2).
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Most bytes of an entry's `metadata` (FORMAT §2).
pub const METADATA_BYTES_MAX: usize = 4_096;
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
/// The same in base64url.
const SALT_CHARS: usize = 22;
/// Characters of a `recorded_at`.
pub(crate) const TIME_CHARS: usize = 27;
/// Digits of the largest integer.
const INTEGER_DIGITS: usize = 16;
/// What stands between metadata and payload, both objects.
const BETWEEN: &[u8] = b",\"payload\":{";
/// Most characters of an aggregate id.
pub const AGGREGATE_ID_MAX: usize = 128;
/// Most characters of an aggregate type or event type.
pub const TYPE_MAX: usize = 32;

/// Sixteen random bytes that keep a leaf hash from giving away a guessable value.
pub type Salt = [u8; SALT_BYTES];

/// What happened, before it has a position: what a command decides and the sequencer records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// `[a-z_]{1,32}`, such as `device`.
    pub aggregate_type: Cow<'static, str>,
    /// `[A-Za-z0-9._~-]{1,128}`.
    pub aggregate_id: String,
    /// Past tense, such as `DeviceRegistered`.
    pub event_type: Cow<'static, str>,
    /// Version of the payload's shape.
    pub event_version: Cow<'static, str>,
    /// The fact.
    pub payload: Canonical,
    /// Who, why, from where (FORMAT §2).
    pub metadata: Canonical,
    /// Chosen beforehand where a sealed value is bound to it; otherwise the sequencer draws one.
    pub salt: Option<Salt>,
}

/// What the sequencer adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The leaf index.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// From 1 without gaps within the stream.
    pub sequence: u64,
    /// Fresh for each entry.
    pub salt: Salt,
}

/// An entry, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The leaf index.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Such as `device`.
    pub aggregate_type: &'a str,
    /// The stream's id within its type.
    pub aggregate_id: &'a str,
    /// From 1 without gaps within the stream.
    pub sequence: u64,
    /// Such as `DeviceRegistered`.
    pub event_type: &'a str,
    /// Version of the payload's shape.
    pub event_version: &'a str,
    /// As it stands, 22 characters of base64url.
    pub salt: &'a str,
    /// The fact, canonical JSON.
    pub payload: &'a [u8],
    /// Canonical JSON.
    pub metadata: &'a [u8],
}

/// Where the members of an entry stand in its bytes, for whoever keeps the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Members {
    pub(crate) position: Position,
    pub(crate) recorded_at: Timestamp,
    pub(crate) sequence: u64,
    pub(crate) spans: Spans<u16>,
}

/// First place and the one behind the last of each member that is text or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spans<T> {
    pub(crate) aggregate_id: (T, T),
    pub(crate) aggregate_type: (T, T),
    pub(crate) event_type: (T, T),
    pub(crate) event_version: (T, T),
    pub(crate) metadata: (T, T),
    pub(crate) payload: (T, T),
    pub(crate) salt: (T, T),
}

impl<T: Copy> Spans<T> {
    /// The same in another measure.
    pub(crate) fn map<U>(&self, to: impl Fn(T) -> U) -> Spans<U> {
        let both = |(from, end): (T, T)| (to(from), to(end));
        Spans {
            aggregate_id: both(self.aggregate_id),
            aggregate_type: both(self.aggregate_type),
            event_type: both(self.event_type),
            event_version: both(self.event_version),
            metadata: both(self.metadata),
            payload: both(self.payload),
            salt: both(self.salt),
        }
    }
}

impl Members {
    /// Of an entry that borrows from `bytes`.
    pub fn of(bytes: &[u8], entry: &Entry<'_>) -> Self {
        let span = |part: &[u8]| {
            // An entry has at most 65,535 bytes.
            let from = (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
            (from as u16, (from + part.len()) as u16)
        };
        Self {
            position: entry.position,
            recorded_at: entry.recorded_at,
            sequence: entry.sequence,
            spans: Spans {
                aggregate_id: span(entry.aggregate_id.as_bytes()),
                aggregate_type: span(entry.aggregate_type.as_bytes()),
                event_type: span(entry.event_type.as_bytes()),
                event_version: span(entry.event_version.as_bytes()),
                metadata: span(entry.metadata),
                payload: span(entry.payload),
                salt: span(entry.salt.as_bytes()),
            },
        }
    }

    /// The entry again, from the bytes that it was read from; `None` where these are others.
    pub fn entry<'a>(&self, bytes: &'a [u8]) -> Option<Entry<'a>> {
        let part = |(from, end): (u16, u16)| bytes.get(usize::from(from)..usize::from(end));
        let text = |span| std::str::from_utf8(part(span)?).ok();
        Some(Entry {
            position: self.position,
            recorded_at: self.recorded_at,
            aggregate_type: text(self.spans.aggregate_type)?,
            aggregate_id: text(self.spans.aggregate_id)?,
            sequence: self.sequence,
            event_type: text(self.spans.event_type)?,
            event_version: text(self.spans.event_version)?,
            salt: text(self.spans.salt)?,
            payload: part(self.spans.payload)?,
            metadata: part(self.spans.metadata)?,
        })
    }
}

/// Why bytes are not an entry of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not canonical JSON, or members are missing, unknown or out of order.
    #[error("not a canonical entry: {0}")]
    Canonical(#[from] CanonicalError),
    /// Larger than the format allows.
    #[error(
        "an entry of {0} bytes; at most {ENTRY_BYTES_MAX} are allowed, and {METADATA_BYTES_MAX} of metadata"
    )]
    TooLarge(usize),
    /// A member whose text is not what the format says, by its name.
    #[error("{0} is not what the format allows")]
    Member(&'static str),
}

/// Appends the canonical bytes of an entry. `event` is (type, id, event type, version, payload, metadata).
///
/// # Errors
/// [`EntryError::TooLarge`] and [`EntryError::Member`]; nothing is appended then.
pub fn encode(out: &mut Vec<u8>, placement: &Placement, event: &NewEvent) -> Result<(), EntryError> {
    if !is_type(&event.aggregate_type) {
        return Err(EntryError::Member("aggregate_type"));
    }
    if !is_aggregate_id(&event.aggregate_id) {
        return Err(EntryError::Member("aggregate_id"));
    }
    if !is_event_type(&event.event_type) {
        return Err(EntryError::Member("event_type"));
    }
    if !is_version(&event.event_version) {
        return Err(EntryError::Member("event_version"));
    }
    let stream = EntryHead {
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        event_type: &event.event_type,
        event_version: &event.event_version,
    };
    encode_parts(out, placement, &stream, event.metadata.as_bytes(), |out| {
        out.extend_from_slice(event.payload.as_bytes());
    })
}

/// The members of an entry that name its stream and type; the caller vouches for their characters.
#[derive(Debug, Clone, Copy)]
pub struct EntryHead<'a> {
    /// Such as `readings`.
    pub aggregate_type: &'a str,
    /// The stream's id within its type.
    pub aggregate_id: &'a str,
    /// Such as `ReadingRecorded`.
    pub event_type: &'a str,
    /// Version of the payload's shape.
    pub event_version: &'a str,
}

/// Appends an entry whose payload is written in place; for the way of a reading, where copies cost.
///
/// # Errors
/// [`EntryError::TooLarge`]; nothing is appended then.
pub fn encode_parts(
    out: &mut Vec<u8>,
    placement: &Placement,
    head: &EntryHead<'_>,
    metadata: &[u8],
    write_payload: impl FnOnce(&mut Vec<u8>),
) -> Result<(), EntryError> {
    let start = out.len();
    out.extend_from_slice(b"{\"aggregate_id\":\"");
    out.extend_from_slice(head.aggregate_id.as_bytes());
    out.extend_from_slice(b"\",\"aggregate_type\":\"");
    out.extend_from_slice(head.aggregate_type.as_bytes());
    out.extend_from_slice(b"\",\"event_type\":\"");
    out.extend_from_slice(head.event_type.as_bytes());
    out.extend_from_slice(b"\",\"event_version\":\"");
    out.extend_from_slice(head.event_version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    out.extend_from_slice(metadata);
    out.extend_from_slice(b",\"payload\":");
    write_payload(out);
    out.extend_from_slice(b",\"position\":");
    write_integer(out, placement.position.get() as i64);
    out.extend_from_slice(b",\"recorded_at\":\"");
    placement.recorded_at.write(out);
    out.extend_from_slice(b"\",\"salt\":\"");
    write_salt(out, &placement.salt);
    out.extend_from_slice(b"\",\"sequence\":");
    write_integer(out, placement.sequence as i64);
    out.extend_from_slice(b",\"v\":1}");
    let len = out.len() - start;
    if len > ENTRY_BYTES_MAX || metadata.len() > METADATA_BYTES_MAX {
        out.truncate(start);
        return Err(EntryError::TooLarge(len));
    }
    Ok(())
}

/// Whether it is base64url of sixteen bytes, without padding and without bits to spare.
pub(crate) fn is_salt(text: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() | (*b == b'-') | (*b == b'_');
    text.len() == SALT_CHARS
        && text.iter().fold(true, |all, b| all & digit(b))
        && matches!(text.last(), Some(b'A' | b'Q' | b'g' | b'w'))
}

/// base64url of sixteen bytes, 22 characters.
fn write_salt(out: &mut Vec<u8>, salt: &Salt) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (triples, last) = salt.split_at(15);
    for t in triples.chunks_exact(3) {
        let n = u32::from(t[0]) << 16 | u32::from(t[1]) << 8 | u32::from(t[2]);
        out.extend_from_slice(&[18, 12, 6, 0].map(|shift| ALPHABET[(n >> shift & 63) as usize]));
    }
    out.extend_from_slice(&[
        ALPHABET[usize::from(last[0] >> 2)],
        ALPHABET[usize::from(last[0] & 3) << 4],
    ]);
}

impl<'a> Entry<'a> {
    /// Reads an entry strictly: canonical bytes, exactly the members of the format, within its limits.
    ///
    /// # Errors
    /// [`EntryError`] naming the first byte or member that is not right.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let entry = Self::scan(bytes, Scanner::value)?;
        if !is_salt(entry.salt.as_bytes()) {
            return Err(EntryError::Member("salt"));
        }
        if !is_type(entry.aggregate_type) {
            return Err(EntryError::Member("aggregate_type"));
        }
        if !is_aggregate_id(entry.aggregate_id) {
            return Err(EntryError::Member("aggregate_id"));
        }
        if !is_event_type(entry.event_type) {
            return Err(EntryError::Member("event_type"));
        }
        if !is_version(entry.event_version) {
            return Err(EntryError::Member("event_version"));
        }
        Ok(entry)
    }

    /// Reads an entry whose bytes this house wrote and whose hash or checksum was checked: finds the members
    /// without checking every character between them. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// [`EntryError`] where the members are not where they belong.
    pub fn read(bytes: &'a [u8]) -> Result<Self, EntryError> {
        match Self::find(bytes) {
            Some(entry) => Ok(entry),
            None => Self::scan(bytes, Scanner::skim),
        }
    }

    /// The event type of an entry whose bytes this house wrote; the members behind it are not looked at. Never panics,
    /// whatever the bytes.
    pub fn event_type_of(bytes: &'a [u8]) -> Option<&'a str> {
        let rest = bytes.strip_prefix(b"{\"aggregate_id\":\"")?;
        let (_, rest) = quoted_before(rest, b"\",\"aggregate_type\":\"")?;
        let (_, rest) = quoted_before(rest, b"\",\"event_type\":\"")?;
        Some(plain_before(rest, b"\",\"event_version\":\"")?.0)
    }

    /// The members of an entry as it is usually written, found from both ends; `None` where it has to be gone
    /// through. What lies between metadata and payload stands between two members nowhere else: a quote inside a
    /// text has a backslash before it.
    fn find(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return None;
        }
        let rest = bytes.strip_prefix(b"{\"aggregate_id\":\"")?;
        let (aggregate_id, rest) = plain_before(rest, b"\",\"aggregate_type\":\"")?;
        let (aggregate_type, rest) = plain_before(rest, b"\",\"event_type\":\"")?;
        let (event_type, rest) = plain_before(rest, b"\",\"event_version\":\"")?;
        let (event_version, rest) = plain_before(rest, b"\",\"metadata\":")?;
        let rest = rest.strip_suffix(b",\"v\":1}")?;
        let (rest, sequence) = number_behind(rest, b"\",\"sequence\":")?;
        let (rest, salt) = rest.split_at_checked(rest.len().checked_sub(SALT_CHARS)?)?;
        let rest = rest.strip_suffix(b"\",\"salt\":\"")?;
        let (rest, recorded_at) = rest.split_at_checked(rest.len().checked_sub(TIME_CHARS)?)?;
        let rest = rest.strip_suffix(b",\"recorded_at\":\"")?;
        let (rest, position) = number_behind(rest, b",\"position\":")?;
        let mut between = memchr::memchr_iter(b'}', rest).filter(|&at| rest[at + 1..].starts_with(BETWEEN));
        let metadata_end = between.next()? + 1;
        let (metadata, payload) = (&rest[..metadata_end], &rest[metadata_end + BETWEEN.len() - 1..]);
        let whole = metadata.first() == Some(&b'{') && payload.last() == Some(&b'}');
        if between.next().is_some() || !whole || metadata.len() > METADATA_BYTES_MAX || sequence == 0 {
            return None;
        }
        Some(Self {
            position: Position(position),
            recorded_at: Timestamp::parse_canonical(recorded_at).ok()?,
            aggregate_type,
            aggregate_id,
            sequence,
            event_type,
            event_version,
            salt: plain(salt)?,
            payload,
            metadata,
        })
    }

    fn scan(
        bytes: &'a [u8],
        value: impl Fn(&mut Scanner<'a>, usize) -> Result<&'a [u8], CanonicalError>,
    ) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLarge(bytes.len()));
        }
        let mut s = Scanner::new(bytes);
        s.literal(b"{\"aggregate_id\":")?;
        let aggregate_id = s.plain_string()?;
        s.literal(b",\"aggregate_type\":")?;
        let aggregate_type = s.plain_string()?;
        s.literal(b",\"event_type\":")?;
        let event_type = s.plain_string()?;
        s.literal(b",\"event_version\":")?;
        let event_version = s.plain_string()?;
        s.literal(b",\"metadata\":")?;
        if s.peek() != Some(b'{') {
            return Err(EntryError::Member("metadata"));
        }
        let metadata = value(&mut s, 1)?;
        if metadata.len() > METADATA_BYTES_MAX {
            return Err(EntryError::TooLarge(bytes.len()));
        }
        s.literal(b",\"payload\":")?;
        if s.peek() != Some(b'{') {
            return Err(EntryError::Member("payload"));
        }
        let payload = value(&mut s, 1)?;
        s.literal(b",\"position\":")?;
        let position = Position(s.unsigned()?);
        s.literal(b",\"recorded_at\":")?;
        let recorded_at = Timestamp::parse_canonical(s.plain_string()?.as_bytes())
            .map_err(|_| EntryError::Member("recorded_at"))?;
        s.literal(b",\"salt\":")?;
        let salt = s.plain_string()?;
        s.literal(b",\"sequence\":")?;
        let sequence = s.unsigned()?;
        if sequence == 0 {
            return Err(EntryError::Member("sequence"));
        }
        s.literal(b",\"v\":1}")?;
        s.end()?;
        Ok(Self {
            position,
            recorded_at,
            aggregate_type,
            aggregate_id,
            sequence,
            event_type,
            event_version,
            salt,
            payload,
            metadata,
        })
    }

    /// Whether it belongs to that stream.
    pub fn stream_is(&self, aggregate_type: &str, aggregate_id: &str) -> bool {
        self.aggregate_type == aggregate_type && self.aggregate_id == aggregate_id
    }

    /// `<aggregate_type>/<aggregate_id>`, as stream maps and sealed values name a stream.
    pub fn stream_name(&self) -> String {
        format!("{}/{}", self.aggregate_type, self.aggregate_id)
    }
}

/// The characters before `literal`, which begins with the quote that ends them, and what follows it.
fn plain_before<'a>(bytes: &'a [u8], literal: &[u8]) -> Option<(&'a str, &'a [u8])> {
    let (text, rest) = quoted_before(bytes, literal)?;
    Some((plain(text)?, rest))
}

/// The same, whatever the characters are.
fn quoted_before<'a>(bytes: &'a [u8], literal: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (text, rest) = bytes.split_at_checked(memchr::memchr(b'"', bytes)?)?;
    Some((text, rest.strip_prefix(literal)?))
}

/// Characters that need no escape.
fn plain(text: &[u8]) -> Option<&str> {
    // Every character is looked at whatever the ones before were, which a processor does for many at once.
    let escaped = |seen: bool, b: &u8| seen | (*b < 0x20) | (*b == b'"') | (*b == b'\\');
    let plain = !text.iter().fold(false, escaped);
    std::str::from_utf8(text).ok().filter(|_| plain)
}

/// The canonical integer that ends `bytes`, and what comes before the `literal` before it.
fn number_behind<'a>(bytes: &'a [u8], literal: &[u8]) -> Option<(&'a [u8], u64)> {
    let digits = bytes.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (rest, number) = bytes.split_at_checked(bytes.len() - digits)?;
    if digits == 0 || digits > INTEGER_DIGITS || (digits > 1 && number[0] == b'0') {
        return None;
    }
    let value = number.iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
    Some((rest.strip_suffix(literal)?, value)).filter(|_| value <= INTEGER_MAX as u64)
}

/// `[a-z_]{1,32}`.
pub fn is_type(text: &str) -> bool {
    (1..=TYPE_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// `[A-Za-z0-9._~-]{1,128}`.
pub fn is_aggregate_id(text: &str) -> bool {
    (1..=AGGREGATE_ID_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-'))
}

/// `[A-Z][A-Za-z]{0,31}`.
pub fn is_event_type(text: &str) -> bool {
    (1..=TYPE_MAX).contains(&text.len())
        && text.as_bytes()[0].is_ascii_uppercase()
        && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Digits and dots, such as `1.0`.
fn is_version(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn event(payload: serde_json::Value, metadata: serde_json::Value) -> NewEvent {
        NewEvent {
            aggregate_type: "device".into(),
            aggregate_id: "dev_abc".into(),
            event_type: "DeviceRegistered".into(),
            event_version: "1.0".into(),
            payload: Canonical::of(&payload).expect("canonical"),
            metadata: Canonical::of(&metadata).expect("canonical"),
            salt: None,
        }
    }

    fn placement() -> Placement {
        Placement {
            position: Position(41),
            recorded_at: Timestamp::from_micros(1_747_470_120_000_000).expect("valid"),
            sequence: 3,
            salt: *b"0123456789abcdef",
        }
    }

    fn encoded() -> Vec<u8> {
        let mut out = Vec::new();
        let event = event(
            json!({"name":"Kühlschrank \"1\"","site":"site_x"}),
            json!({"account":"acc_y","actor":"usr_z"}),
        );
        encode(&mut out, &placement(), &event).expect("encodes");
        out
    }

    #[test]
    fn an_entry_reads_as_it_was_written_and_is_what_jcs_would_write() {
        let bytes = encoded();
        let entry = Entry::decode(&bytes).expect("decodes");
        assert_eq!(entry.position, Position(41));
        assert_eq!(entry.sequence, 3);
        assert_eq!(entry.salt, "MDEyMzQ1Njc4OWFiY2RlZg");
        assert_eq!(Entry::read(&bytes), Ok(entry));
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(serde_json_canonicalizer::to_vec(&value).expect("JCS"), bytes);
        assert_eq!(value.as_object().map(serde_json::Map::len), Some(11));
    }

    #[test]
    fn the_event_type_is_found_without_the_rest() {
        let bytes = encoded();
        assert_eq!(Entry::event_type_of(&bytes), Some("DeviceRegistered"));
        assert_eq!(
            Entry::event_type_of(&bytes[..bytes.len() / 2]),
            Some("DeviceRegistered")
        );
        for cut in [b"".as_slice(), b"{\"aggregate_id\":\"", &bytes[1..], &bytes[..80]] {
            assert_eq!(Entry::event_type_of(cut), None);
        }
    }

    #[test]
    fn limits_hold() {
        let mut out = Vec::new();
        let large = event(json!({"x": "a".repeat(66_000)}), json!({}));
        assert!(matches!(
            encode(&mut out, &placement(), &large),
            Err(EntryError::TooLarge(_))
        ));
        let talkative = event(json!({}), json!({"x": "a".repeat(4_200)}));
        assert!(matches!(
            encode(&mut out, &placement(), &talkative),
            Err(EntryError::TooLarge(_))
        ));
        assert!(out.is_empty());
        let mut bad = event(json!({}), json!({}));
        bad.aggregate_id = "a/b".into();
        assert_eq!(
            encode(&mut out, &placement(), &bad),
            Err(EntryError::Member("aggregate_id"))
        );
    }

    #[test]
    fn members_missing_added_or_moved_are_refused() {
        let text = String::from_utf8(encoded()).expect("UTF-8");
        for (from, to) in [
            (",\"v\":1}", "}"),
            (",\"v\":1}", ",\"v\":2}"),
            (",\"v\":1}", ",\"v\":1,\"w\":1}"),
            ("\"sequence\":3", "\"sequence\":0"),
            ("\"sequence\":3", "\"sequence\":03"),
            ("000000Z", "00000Z"),
            ("dev_abc", "dev abc"),
            ("MDEy", "MDE"),
            ("\"payload\":{", "\"payload\": {"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(Entry::decode(changed.as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn members_are_found_whatever_stands_inside_metadata_and_payload() {
        for inner in [
            json!({}),
            json!({"a": 1, "payload": {}}),
            json!({"a": {"b": {}, "payload": {"c": 1}}}),
            json!({"a": "},\"payload\":{", "b": "\\"}),
            json!({"a": [{}, {"payload": {"payload": {}}}]}),
            json!({"position": 7, "recorded_at": "x", "sequence": 9, "v": 1}),
        ] {
            for (payload, metadata) in [(&inner, &json!({})), (&json!({}), &inner), (&inner, &inner)] {
                let mut bytes = Vec::new();
                encode(
                    &mut bytes,
                    &placement(),
                    &event(payload.clone(), metadata.clone()),
                )
                .expect("encodes");
                assert_eq!(Entry::read(&bytes), Entry::decode(&bytes), "{payload} {metadata}");
                assert_eq!(Entry::scan(&bytes, Scanner::skim), Entry::decode(&bytes));
            }
        }
    }

    #[test]
    fn an_entry_as_it_is_usually_written_is_found_from_both_ends() {
        let bytes = encoded();
        assert_eq!(Entry::find(&bytes), Entry::decode(&bytes).ok());
    }

    #[test]
    fn the_members_give_the_entry_again_and_other_bytes_none() {
        let bytes = encoded();
        let entry = Entry::decode(&bytes).expect("decodes");
        let members = Members::of(&bytes, &entry);
        assert_eq!(members.entry(&bytes), Some(entry));
        assert_eq!(members.entry(&bytes[..80]), None);
        assert_eq!(members.entry(b""), None);
    }

    proptest! {
        #[test]
        fn a_salt_is_what_sixteen_bytes_give(text in "[A-Za-z0-9_=+/-]{20,24}") {
            let decoded = crate::hash::from_base64url(&text);
            prop_assert_eq!(is_salt(text.as_bytes()), decoded.is_some_and(|salt| salt.len() == SALT_BYTES));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::decode(&bytes);
            let _ = Entry::read(&bytes);
        }

        #[test]
        fn a_changed_byte_gives_an_error_or_another_entry(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let original = encoded();
            let mut bytes = original.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(changed) = Entry::decode(&bytes) {
                prop_assert_ne!(changed, Entry::decode(&original).expect("decodes"));
                let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
                prop_assert_eq!(&serde_json_canonicalizer::to_vec(&value).expect("JCS"), &bytes);
            }
            let _ = Entry::read(&bytes);
        }
    }
}
