//! Receipts: what a service signed about a request, and whether its log keeps to that.
//!
//! - this file: the text, written and read; `keys`: whose signature counts; `check`: the receipt against the log.
//!
//! Invariants: what was parsed encodes to the same text; only a key of the log, or one from outside, makes a receipt
//! valid, and only a valid one says anything about the log.
//! Source: FORMAT §7.
//! Not here: when one is given and with which answer (`api`).

mod check;
mod keys;

pub use check::{ReceiptQuestion, verify_receipt};

use domain::{Hash, Position, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The first line.
const HEADER: &str = "daybook/receipt/v1";
/// What stands for a request that was recorded.
const RECORDED: &str = "recorded";
/// What stands before the code of a refusal.
const REFUSED: &str = "refused:";

/// Why a text is no receipt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the receipt does not read {expected}")]
pub struct ReceiptError {
    /// Which line, from 1.
    pub line: usize,
    /// What belongs there.
    pub expected: &'static str,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// Its readings are entries.
    Recorded,
    /// It was refused with this code.
    Refused(String),
}

/// The text that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptText {
    /// The log's origin.
    pub origin: String,
    /// What became of the request.
    pub became: Became,
    /// SHA-256 of the request's body as it was received.
    pub body_sha256: Hash,
    /// When.
    pub recorded_at: Timestamp,
    /// Position and leaf hash of each entry.
    pub entries: Vec<(Position, Hash)>,
}

/// A receipt as an answer carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The signed note.
    pub note: String,
    /// The entries that it is about.
    pub entries: Vec<ReceiptEntry>,
}

/// An entry that a receipt is about, as an answer carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptEntry {
    /// Its position.
    pub position: Position,
    /// Its leaf hash, base64.
    pub leaf_hash: Hash,
    /// The exact bytes that were hashed; canonical JSON is UTF-8.
    pub entry: String,
}

impl ReceiptText {
    /// Reads a note's text.
    ///
    /// # Errors
    /// [`ReceiptError`] for any text that its `Display` would not give back the same.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let wrong = |line: usize, expected: &'static str| ReceiptError { line, expected };
        let mut lines = text.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(wrong(1, HEADER));
        }
        let origin = lines.next().filter(|origin| !origin.is_empty());
        let origin = origin.ok_or(wrong(2, "an origin"))?.to_owned();
        let became = lines.next().and_then(Became::parse);
        let became = became.ok_or(wrong(3, "recorded, or refused: and a code"))?;
        let body_sha256 = lines.next().and_then(Hash::from_base64);
        let body_sha256 = body_sha256.ok_or(wrong(4, "the base64 of a SHA-256"))?;
        let recorded_at = lines
            .next()
            .and_then(|line| Timestamp::parse_canonical(line.as_bytes()).ok());
        let recorded_at = recorded_at.ok_or(wrong(5, "a time with six decimals and Z"))?;
        let mut entries = Vec::new();
        let mut number = 6;
        for line in lines.by_ref() {
            if line.is_empty() {
                break;
            }
            let entry = parse_entry(line).ok_or(wrong(number, "a position and the base64 of a leaf hash"))?;
            entries.push(entry);
            number += 1;
        }
        if lines.next().is_some() || !text.ends_with('\n') {
            return Err(wrong(number, "the end of the text"));
        }
        Ok(Self {
            origin,
            became,
            body_sha256,
            recorded_at,
            entries,
        })
    }
}

impl Became {
    fn parse(line: &str) -> Option<Self> {
        if line == RECORDED {
            return Some(Self::Recorded);
        }
        let code = line.strip_prefix(REFUSED)?;
        let plain = !code.is_empty() && code.bytes().all(|b| b.is_ascii_graphic());
        plain.then(|| Self::Refused(code.to_owned()))
    }
}

/// One spelling a position: no sign, no leading zero.
fn parse_entry(line: &str) -> Option<(Position, Hash)> {
    let (position, leaf) = line.split_once(' ')?;
    let number: u64 = position.parse().ok()?;
    // One less than the largest, so that a size can follow it.
    (number < u64::MAX && number.to_string() == position)
        .then(|| Some((Position(number), Hash::from_base64(leaf)?)))?
}

impl fmt::Display for Became {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str(RECORDED),
            Self::Refused(code) => write!(f, "{REFUSED}{code}"),
        }
    }
}

impl fmt::Display for ReceiptText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, became, body, at) = (&self.origin, &self.became, &self.body_sha256, self.recorded_at);
        write!(f, "{HEADER}\n{origin}\n{became}\n{body}\n{at}\n")?;
        self.entries
            .iter()
            .try_for_each(|(position, leaf)| writeln!(f, "{position} {leaf}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(became: Became, positions: &[u64]) -> ReceiptText {
        ReceiptText {
            origin: "log.example/main".to_owned(),
            became,
            body_sha256: Hash([1; 32]),
            recorded_at: Timestamp::from_millis(1_779_000_000_123).expect("in range"),
            entries: positions.iter().map(|n| (Position(*n), Hash([2; 32]))).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for text in [
            text(Became::Recorded, &[]),
            text(Became::Recorded, &[7, 8, 300]),
            text(Became::Refused("out_of_range".to_owned()), &[]),
        ] {
            assert_eq!(ReceiptText::parse(&text.to_string()), Ok(text));
        }
    }

    #[test]
    fn whatever_is_spelled_otherwise_is_refused() {
        let good = text(Became::Recorded, &[7]).to_string();
        for (from, to, line) in [
            ("receipt/v1", "receipt/v2", 1),
            ("log.example/main", "", 2),
            ("recorded", "Recorded", 3),
            ("recorded", "refused:", 3),
            ("recorded", "refused:two words", 3),
            ("AQEB", "AQE", 4),
            (".123000Z", ".123Z", 5),
            ("\n7 ", "\n07 ", 6),
            ("\n7 ", "\n+7 ", 6),
            ("\n7 ", "\n18446744073709551615 ", 6),
            ("\n7 ", "\n7  ", 6),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert_eq!(
                ReceiptText::parse(&bad).map_err(|error| error.line),
                Err(line),
                "{bad}"
            );
        }
        for bad in [format!("{good}\n"), good.trim_end().to_owned(), String::new()] {
            assert!(ReceiptText::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
