//! What came of publications, one a line, until the service has recorded it and after.
//!
//! The file is the publisher's own memory of what is out: it goes on from there after a restart, whether a service runs or
//! not. Numbers rise by one from 1, so that the service records each once.
//! Invariants: a line is durable before the next publication begins; a torn last line is one that nobody was told of, and
//! is cut.
//! Not here: recording (`elsewhere`).

use super::peer;
use crate::publishing::{HEAD_NOT_PUBLISHED, HEAD_PUBLISHED, Outcome};
use domain::Date;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The file.
pub const OUTCOMES: &str = "outcomes.ndjson";

/// Most bytes of it that the service reads: ten channels that failed each hour for fifteen years have as many.
const OUTCOMES_BYTES_MAX: u64 = 256 << 20;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// `HeadPublished` or `HeadNotPublished`.
    pub event: String,
    /// What came of it, with its number.
    pub outcome: Outcome,
}

impl Line {
    /// The event's type, if it is one of ours.
    pub fn event_type(&self) -> Option<&'static str> {
        [HEAD_PUBLISHED, HEAD_NOT_PUBLISHED]
            .into_iter()
            .find(|event| *event == self.event)
    }
}

/// The file, opened to add to it.
pub struct Outcomes {
    file: File,
    lines: Vec<Line>,
}

impl Outcomes {
    /// Opens it in that directory; a torn last line is cut.
    ///
    /// # Errors
    /// Where it cannot be read, or a line is none (`InvalidData`).
    pub fn open(dir: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(OUTCOMES))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (lines, whole) = parse(&bytes)?;
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, lines })
    }

    /// The last day that is out on a channel.
    pub fn last_published(&self, channel: &str) -> Option<Date> {
        let mut of_it = self
            .lines
            .iter()
            .rev()
            .filter(|line| line.outcome.channel == channel);
        of_it
            .find(|line| line.event == HEAD_PUBLISHED)
            .map(|line| line.outcome.date)
    }

    /// Adds a line; it is durable when this returns.
    ///
    /// # Errors
    /// Where it could not be written: whether it was is not known, and it is cut.
    pub fn add(&mut self, event: &str, outcome: &Outcome) -> io::Result<()> {
        let number = self
            .lines
            .last()
            .and_then(|line| line.outcome.number)
            .unwrap_or(0)
            + 1;
        let line = Line {
            event: event.to_owned(),
            outcome: Outcome {
                number: Some(number),
                ..outcome.clone()
            },
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        let end = self.file.stream_position()?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.file.set_len(end)?;
            self.file.seek(SeekFrom::Start(end))?;
            return Err(error);
        }
        self.lines.push(line);
        Ok(())
    }
}

/// The whole lines of the file in that directory, for who only reads it.
///
/// # Errors
/// As [`Outcomes::open`].
pub fn read(dir: &Path) -> io::Result<Vec<Line>> {
    match peer::read(&dir.join(OUTCOMES), OUTCOMES_BYTES_MAX)? {
        Some(bytes) => Ok(parse(&bytes)?.0),
        None => Ok(Vec::new()),
    }
}

/// How many bytes the file in that directory has; 0 where there is none.
///
/// # Errors
/// Where that cannot be told.
pub fn bytes(dir: &Path) -> io::Result<u64> {
    match std::fs::metadata(dir.join(OUTCOMES)) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The lines, and how many bytes they have.
fn parse(bytes: &[u8]) -> io::Result<(Vec<Line>, usize)> {
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let mut lines = Vec::new();
    for text in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
        let line: Line = serde_json::from_slice(text)?;
        let expected = lines.len() as u64 + 1;
        if line.outcome.number != Some(expected) {
            let reason = format!("{OUTCOMES}: outcome {expected} is not where it belongs");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        lines.push(line);
    }
    Ok((lines, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(date: &str) -> Outcome {
        Outcome {
            channel: "static".to_owned(),
            kind: "directory".to_owned(),
            date: Date::parse(date).expect("a day"),
            reason: None,
            attempt: None,
            took_ms: 1,
            number: None,
        }
    }

    #[test]
    fn outcomes_are_numbered_and_a_torn_one_is_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut outcomes = Outcomes::open(dir.path()).expect("opened");
        assert_eq!(outcomes.last_published("static"), None);
        outcomes
            .add(HEAD_PUBLISHED, &outcome("2026-05-17"))
            .expect("added");
        outcomes
            .add(HEAD_NOT_PUBLISHED, &outcome("2026-05-18"))
            .expect("added");
        drop(outcomes);
        let path = dir.path().join(OUTCOMES);
        let mut torn = std::fs::read(&path).expect("readable");
        torn.extend_from_slice(b"{\"event\":\"HeadPub");
        std::fs::write(&path, torn).expect("written");
        assert_eq!(read(dir.path()).expect("readable").len(), 2);
        let mut outcomes = Outcomes::open(dir.path()).expect("opened");
        assert_eq!(outcomes.last_published("static"), Date::parse("2026-05-17").ok());
        assert_eq!(outcomes.last_published("other"), None);
        outcomes
            .add(HEAD_PUBLISHED, &outcome("2026-05-18"))
            .expect("added");
        let lines = read(dir.path()).expect("readable");
        let numbers: Vec<_> = lines.iter().map(|line| line.outcome.number).collect();
        assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
        std::fs::write(&path, "{}\n").expect("written");
        assert!(Outcomes::open(dir.path()).is_err());
    }
}
