//! The files of a pack as they are read: every byte is hashed on its way, and every line has its end.
//!
//! Invariant: what `check` lets pass is byte for byte what the manifest lists.
//! Not here: what the lines mean (`nodes`, `pass`), which files there are (`verify`).

use super::LINE_BYTES_MAX;
use super::manifest::FileOf;
use super::verify::PackError;
use super::zip::Crc32;
use crate::source::Flaw;
use domain::Position;
use domain::hash::Sha256Stream;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Why a verification does not go on.
pub enum Stop {
    /// Nothing behind it can be said.
    Flaw(Flaw),
    Failed(PackError),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PackError> for Stop {
    fn from(error: PackError) -> Self {
        Self::Failed(error)
    }
}

pub fn flaw(what: impl Into<String>) -> Stop {
    Stop::Flaw(Flaw {
        position: None,
        what: what.into(),
    })
}

pub fn flaw_at(position: Position, what: impl fmt::Display) -> Stop {
    Stop::Flaw(Flaw {
        position: Some(position),
        what: what.to_string(),
    })
}

/// Bytes as they are read, with their hashes.
pub struct Hashed<R> {
    reader: R,
    sha256: Sha256Stream,
    crc32: Crc32,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            sha256: Sha256Stream::new(),
            crc32: Crc32::new(),
            bytes: 0,
        }
    }

    /// That everything read is what manifest and directory say.
    pub fn check(self, name: &str, listed: &FileOf, crc32: u32) -> Result<(), Stop> {
        if (self.sha256.finish(), self.bytes) != (listed.sha256, listed.bytes) {
            return Err(flaw(format!(
                "{name} is not what the manifest says: its SHA-256 is another one"
            )));
        }
        if self.crc32.finish() != crc32 {
            return Err(flaw(format!("{name} is not of its checksum")));
        }
        Ok(())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(out)?;
        self.sha256.update(&out[..n]);
        self.crc32.update(&out[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

/// The lines of a file.
pub struct Lines<R> {
    name: String,
    reader: BufReader<Hashed<R>>,
    /// The line, without its line feed.
    pub line: Vec<u8>,
    /// Which it is, from 1; after the last, how many there are.
    pub number: u64,
    pub bytes: u64,
}

impl<R: Read> Lines<R> {
    pub fn new(name: &str, reader: R) -> Self {
        Self {
            name: name.to_owned(),
            reader: BufReader::with_capacity(BUFFER_BYTES, Hashed::new(reader)),
            line: Vec::new(),
            number: 0,
            bytes: 0,
        }
    }

    /// Reads the next line; `false` at the end.
    pub fn next(&mut self) -> Result<bool, Stop> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let n = self
            .reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut self.line)?;
        if n == 0 {
            return Ok(false);
        }
        self.number += 1;
        self.bytes += n as u64;
        match self.line.pop() {
            Some(b'\n') => Ok(true),
            _ => Err(flaw(format!(
                "{}: line {} does not end, or is longer than any is",
                self.name, self.number
            ))),
        }
    }

    pub fn check(self, listed: &FileOf, crc32: u32) -> Result<(), Stop> {
        self.reader.into_inner().check(&self.name, listed, crc32)
    }
}
