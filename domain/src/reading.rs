//! `ReadingRecorded` and `ReadingConflict`: one device at one measured time, all its channels (FORMAT §2).
//!
//! Invariants: values are finite; keys are `<kind>` or `<kind>/<slug>` and rise; three clocks stay apart.
//! Written and read without going through a JSON value, because every reading passes here.
//! Not here: which channel a key belongs to (`registry`), whether it was seen before (the sequencer).

use crate::canonical::{CanonicalError, Scanner, write_integer, write_number};
use crate::position::Position;
use crate::time::Timestamp;

/// Most characters of a kind.
pub const KIND_MAX: usize = 32;
/// Most characters of a slug.
pub const SLUG_MAX: usize = 64;
/// Most values of one reading.
pub const VALUES_MAX: usize = 64;

/// The stream type of readings.
pub const READINGS: &str = "readings";
/// The event type of a reading.
pub const READING_RECORDED: &str = "ReadingRecorded";
/// The event type of a second value for a time that has one.
pub const READING_CONFLICT: &str = "ReadingConflict";

/// Whose clock `measured_at` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeFrom {
    /// The device's.
    Device,
    /// The LoRaWAN network server's.
    Network,
    /// Ours, when it arrived.
    Received,
}

impl TimeFrom {
    /// As written in the payload.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Network => "network",
            Self::Received => "received",
        }
    }
}

/// The payload of `ReadingRecorded`. Shape: 1 to [`VALUES_MAX`] values.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    /// When it was measured, by the clock that `time_from` names.
    pub measured_at: Timestamp,
    /// Whose clock that is.
    pub time_from: TimeFrom,
    /// The device's own time when it was not believed.
    pub claimed_at: Option<Timestamp>,
    /// The position of the device's configuration in force.
    pub config: Position,
    /// Values by key, in the channels' units, keys rising.
    pub values: Vec<(&'a str, f64)>,
    /// Status codes by key, where the device gave any.
    pub status: Vec<(&'a str, &'a str)>,
}

impl<'a> Reading<'a> {
    /// Appends the canonical payload.
    ///
    /// # Errors
    /// `Number` for a value that is not finite or an integer beyond ±(2^53−1).
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        debug_assert!(self.values.is_sorted_by(|a, b| a.0 < b.0));
        out.push(b'{');
        if let Some(claimed_at) = self.claimed_at {
            out.extend_from_slice(b"\"claimed_at\":\"");
            claimed_at.write(out);
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"config\":");
        write_integer(out, self.config.get() as i64);
        out.extend_from_slice(b",\"measured_at\":\"");
        self.measured_at.write(out);
        out.extend_from_slice(b"\",");
        if !self.status.is_empty() {
            out.extend_from_slice(b"\"status\":{");
            for (i, (key, code)) in self.status.iter().enumerate() {
                key_of(out, i, key);
                crate::canonical::write_string(out, code);
            }
            out.extend_from_slice(b"},");
        }
        out.extend_from_slice(b"\"time_from\":\"");
        out.extend_from_slice(self.time_from.as_str().as_bytes());
        out.extend_from_slice(b"\",\"values\":");
        write_values(out, &self.values)?;
        out.push(b'}');
        Ok(())
    }

    /// Reads a payload; strict about the members and their order.
    ///
    /// # Errors
    /// [`CanonicalError`] at the first byte that does not belong.
    pub fn read(payload: &'a [u8]) -> Result<Self, CanonicalError> {
        let mut s = Scanner::new(payload);
        s.literal(b"{")?;
        let claimed_at = if s.take_if(b"\"claimed_at\":") {
            let at = time(&mut s)?;
            s.literal(b",")?;
            Some(at)
        } else {
            None
        };
        s.literal(b"\"config\":")?;
        let config = Position(s.unsigned()?);
        s.literal(b",\"measured_at\":")?;
        let measured_at = time(&mut s)?;
        s.literal(b",")?;
        let mut status = Vec::new();
        if s.take_if(b"\"status\":") {
            members(&mut s, |s, key| {
                status.push((key, s.plain_string()?));
                Ok(())
            })?;
            s.literal(b",")?;
        }
        s.literal(b"\"time_from\":")?;
        let at = s.offset();
        let time_from = match s.plain_string()? {
            "device" => TimeFrom::Device,
            "network" => TimeFrom::Network,
            "received" => TimeFrom::Received,
            _ => return Err(CanonicalError::Unexpected(at)),
        };
        s.literal(b",\"values\":")?;
        let values = read_values(&mut s)?;
        s.literal(b"}")?;
        s.end()?;
        Ok(Self {
            measured_at,
            time_from,
            claimed_at,
            config,
            values,
            status,
        })
    }
}

/// The payload of `ReadingConflict`: what came for a time that already has a value. The first stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict<'a> {
    /// The time both claim.
    pub measured_at: Timestamp,
    /// The position of the reading that stands.
    pub original: Position,
    /// What came later, by key.
    pub values: Vec<(&'a str, f64)>,
}

impl<'a> Conflict<'a> {
    /// Appends the canonical payload.
    ///
    /// # Errors
    /// `Number` for a value that is not finite or an integer beyond ±(2^53−1).
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        out.extend_from_slice(b"{\"measured_at\":\"");
        self.measured_at.write(out);
        out.extend_from_slice(b"\",\"original\":");
        write_integer(out, self.original.get() as i64);
        out.extend_from_slice(b",\"values\":");
        write_values(out, &self.values)?;
        out.push(b'}');
        Ok(())
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`CanonicalError`] at the first byte that does not belong.
    pub fn read(payload: &'a [u8]) -> Result<Self, CanonicalError> {
        let mut s = Scanner::new(payload);
        s.literal(b"{\"measured_at\":")?;
        let measured_at = time(&mut s)?;
        s.literal(b",\"original\":")?;
        let original = Position(s.unsigned()?);
        s.literal(b",\"values\":")?;
        let values = read_values(&mut s)?;
        s.literal(b"}")?;
        s.end()?;
        Ok(Self {
            measured_at,
            original,
            values,
        })
    }
}

fn key_of(out: &mut Vec<u8>, index: usize, key: &str) {
    if index > 0 {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn write_values(out: &mut Vec<u8>, values: &[(&str, f64)]) -> Result<(), CanonicalError> {
    out.push(b'{');
    for (i, (key, value)) in values.iter().enumerate() {
        key_of(out, i, key);
        write_number(out, *value)?;
    }
    out.push(b'}');
    Ok(())
}

fn read_values<'a>(s: &mut Scanner<'a>) -> Result<Vec<(&'a str, f64)>, CanonicalError> {
    let mut values = Vec::with_capacity(4);
    members(s, |s, key| {
        values.push((key, s.number()?));
        Ok(())
    })?;
    Ok(values)
}

fn members<'a>(
    s: &mut Scanner<'a>,
    mut member: impl FnMut(&mut Scanner<'a>, &'a str) -> Result<(), CanonicalError>,
) -> Result<(), CanonicalError> {
    s.literal(b"{")?;
    loop {
        let at = s.offset();
        let key = s.plain_string()?;
        if !is_value_key(key) {
            return Err(CanonicalError::Text(at));
        }
        s.literal(b":")?;
        member(s, key)?;
        if !s.take_if(b",") {
            return s.literal(b"}");
        }
    }
}

fn time(s: &mut Scanner<'_>) -> Result<Timestamp, CanonicalError> {
    let at = s.offset();
    Timestamp::parse_canonical(s.plain_string()?.as_bytes()).map_err(|_| CanonicalError::Text(at))
}

/// Whether `key` is `<kind>` or `<kind>/<slug>`: `[a-z0-9_]{1,32}(/[a-z0-9_.-]{1,64})?`.
pub fn is_value_key(key: &str) -> bool {
    let (kind, slug) = match key.split_once('/') {
        Some((kind, slug)) => (kind, Some(slug)),
        None => (key, None),
    };
    let simple = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=KIND_MAX).contains(&kind.len())
        && kind.bytes().all(simple)
        && slug.is_none_or(|s| {
            (1..=SLUG_MAX).contains(&s.len()) && s.bytes().all(|b| simple(b) || b == b'.' || b == b'-')
        })
}

/// What a display label becomes in a value's key: lower case, what does not fit replaced by `-`.
/// `None` for a label without a single usable character.
pub fn slug(label: &str) -> Option<String> {
    let text: String = label
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-') {
                c
            } else {
                '-'
            }
        })
        .take(SLUG_MAX)
        .collect();
    let text = text.trim_matches('-');
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us).expect("in range")
    }

    #[test]
    fn a_reading_round_trips_and_is_canonical() {
        let reading = Reading {
            measured_at: at(1_747_470_120_000_000),
            time_from: TimeFrom::Device,
            claimed_at: Some(at(5_000_000)),
            config: Position(17),
            values: vec![
                ("humidity", 61.0),
                ("temperature", 4.2),
                ("temperature/front", -0.5),
            ],
            status: vec![("temperature", "low_battery")],
        };
        let mut out = Vec::new();
        reading.write(&mut out).expect("writes");
        assert_eq!(crate::canonical::check(&out), Ok(()));
        assert_eq!(Reading::read(&out), Ok(reading));
    }

    #[test]
    fn a_conflict_round_trips_and_is_canonical() {
        let conflict = Conflict {
            measured_at: at(0),
            original: Position(3),
            values: vec![("temperature", 1e-7)],
        };
        let mut out = Vec::new();
        conflict.write(&mut out).expect("writes");
        assert_eq!(crate::canonical::check(&out), Ok(()));
        assert_eq!(Conflict::read(&out), Ok(conflict));
    }

    #[test]
    fn keys_and_slugs() {
        for good in ["temperature", "temperature/front", "power/a.1-b_c", "co2"] {
            assert!(is_value_key(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "temperature/",
            "Temperature",
            "a/b/c",
            "temperature/ü",
            &"a".repeat(33),
        ] {
            assert!(!is_value_key(bad), "{bad}");
        }
        assert_eq!(slug("Kühlraum 2 (hinten)").as_deref(), Some("k-hlraum-2--hinten"));
        assert_eq!(slug("°°"), None);
        assert_eq!(slug("TempC_SHT").as_deref(), Some("tempc_sht"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Reading::read(&bytes);
            let _ = Conflict::read(&bytes);
        }
    }
}
