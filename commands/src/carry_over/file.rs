//! The file from which a first start records what is carried over: a line that says what it is, then one an event.
//!
//! It holds what the ledger will hold, sealed as it will be, and like it nothing in the clear; 0600 all the same.
//! Invariants: it is written whole or not at all; it is read line by line; it is taken away only when every event of it
//! is recorded, so that a start after a crash goes on where the one before came to.
//! Not here: recording (`api::begin`).

use super::CarryOverError;
use crate::keys::{check_secret, sync_parent};
use domain::canonical::Canonical;
use domain::continues::Continues;
use domain::entry::{ENTRY_BYTES_MAX, NewEvent};
use domain::hash::{base64url, from_base64url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Its name in the data directory.
pub const FILE: &str = "carry-over";
/// What it is called until it is whole.
const UNFINISHED: &str = "carry-over~";
/// The version of its lines.
const VERSION: u32 = 1;
/// Longest line: an event has no more than its entry, and names and quotes around it.
const LINE_BYTES_MAX: u64 = 2 * ENTRY_BYTES_MAX as u64;

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    v: u32,
    /// The ledger that its values are sealed for.
    origin: String,
    /// The ledger that they come from.
    continues: Continues,
    entries: u64,
}

/// Any further line.
#[derive(Serialize, Deserialize)]
struct Line {
    aggregate_type: String,
    aggregate_id: String,
    sequence: u64,
    event_type: String,
    event_version: String,
    salt: String,
    payload: Value,
    metadata: Value,
}

fn at(path: &Path) -> impl Fn(io::Error) -> CarryOverError {
    let path = path.to_owned();
    move |error| CarryOverError::Io {
        path: path.clone(),
        error,
    }
}

/// Writes the file into a data directory, in the place of one that an earlier try left; durable before this returns.
/// `events` gives so many as `entries` says.
///
/// # Errors
/// [`CarryOverError`]; there is no file then, or the one that was there.
pub fn write(
    dir: &Path,
    origin: &str,
    continues: &Continues,
    entries: u64,
    events: impl Iterator<Item = Result<(NewEvent, u64), CarryOverError>>,
) -> Result<(), CarryOverError> {
    let (path, unfinished) = (dir.join(FILE), dir.join(UNFINISHED));
    let wrong = |error| at(&unfinished)(error);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrong(error)),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(wrong)?;
    let mut out = BufWriter::new(file);
    let header = Header {
        v: VERSION,
        origin: origin.to_owned(),
        continues: continues.clone(),
        entries,
    };
    let mut put = |value: &[u8]| out.write_all(value).and_then(|()| out.write_all(b"\n"));
    let text = |line: serde_json::Result<Vec<u8>>| line.map_err(|e| at(&unfinished)(io::Error::other(e)));
    put(&text(serde_json::to_vec(&header))?).map_err(wrong)?;
    for event in events {
        let (event, sequence) = event?;
        let value = |bytes: &Canonical| serde_json::from_slice(bytes.as_bytes());
        let both = value(&event.payload).and_then(|payload| Ok((payload, value(&event.metadata)?)));
        let (payload, metadata) = both.map_err(|e| at(&unfinished)(io::Error::other(e)))?;
        let line = Line {
            aggregate_type: event.aggregate_type.into_owned(),
            aggregate_id: event.aggregate_id,
            sequence,
            event_type: event.event_type.into_owned(),
            event_version: event.event_version.into_owned(),
            salt: base64url(&event.salt.unwrap_or_default()),
            payload,
            metadata,
        };
        put(&text(serde_json::to_vec(&line))?).map_err(wrong)?;
    }
    let file = out.into_inner().map_err(|error| wrong(error.into_error()))?;
    file.sync_all().map_err(wrong)?;
    fs::rename(&unfinished, &path)
        .and_then(|()| sync_parent(&path))
        .map_err(at(&path))
}

/// What is there to be carried over.
#[derive(Debug)]
pub struct CarryOver {
    path: PathBuf,
    header: Header,
}

impl CarryOver {
    /// What lies in a data directory; `None` where nothing does. Every line is looked at before anything is recorded.
    ///
    /// # Errors
    /// [`CarryOverError`]: a file that others may read, that is of another ledger or not whole.
    pub fn open(dir: &Path, origin: &str) -> Result<Option<Self>, CarryOverError> {
        let path = dir.join(FILE);
        if !path.try_exists().map_err(at(&path))? {
            return Ok(None);
        }
        check_secret(&path)?;
        let wrong = |what: String| CarryOverError::Malformed {
            path: path.clone(),
            what,
        };
        let mut lines = Lines::open(&path)?;
        let first = lines.next().ok_or_else(|| wrong("it is empty".to_owned()))??;
        let header: Header = serde_json::from_slice(&first).map_err(|e| wrong(e.to_string()))?;
        if header.v != VERSION {
            return Err(wrong(format!("its version is {}", header.v)));
        }
        if header.origin != origin {
            return Err(wrong(format!(
                "it is for {}, and this is {origin}",
                header.origin
            )));
        }
        let this = Self { path, header };
        let mut entries = 0u64;
        for event in this.events()? {
            event?;
            entries += 1;
        }
        if entries != this.header.entries {
            return Err(this.malformed(format!("{entries} of {} entries", this.header.entries)));
        }
        Ok(Some(this))
    }

    /// The ledger that it comes from.
    pub fn continues(&self) -> &Continues {
        &self.header.continues
    }

    /// How many events there are.
    pub fn entries(&self) -> u64 {
        self.header.entries
    }

    /// The events in their order, each with its sequence in its stream.
    ///
    /// # Errors
    /// [`CarryOverError`], here and from each.
    pub fn events(
        &self,
    ) -> Result<impl Iterator<Item = Result<(NewEvent, u64), CarryOverError>> + '_, CarryOverError> {
        let lines = Lines::open(&self.path)?.skip(1);
        Ok(lines.map(|line| {
            let line = line?;
            self.event(&line).ok_or_else(|| {
                let start = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
                self.malformed(format!("a line is no event: {start}…"))
            })
        }))
    }

    fn event(&self, line: &[u8]) -> Option<(NewEvent, u64)> {
        let line: Line = serde_json::from_slice(line).ok()?;
        let event = NewEvent {
            aggregate_type: line.aggregate_type.into(),
            aggregate_id: line.aggregate_id,
            event_type: line.event_type.into(),
            event_version: line.event_version.into(),
            payload: Canonical::of(&line.payload).ok()?,
            metadata: Canonical::of(&line.metadata).ok()?,
            salt: Some(from_base64url(&line.salt)?.try_into().ok()?),
        };
        Some((event, line.sequence))
    }

    /// Everything was recorded: the file goes, durably.
    ///
    /// # Errors
    /// [`CarryOverError::Io`]; the next start finds that all of it is there.
    pub fn done(self) -> Result<(), CarryOverError> {
        fs::remove_file(&self.path)
            .and_then(|()| sync_parent(&self.path))
            .map_err(at(&self.path))
    }

    fn malformed(&self, what: String) -> CarryOverError {
        CarryOverError::Malformed {
            path: self.path.clone(),
            what,
        }
    }
}

/// A file's lines, none longer than they may be.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, CarryOverError> {
        let file = File::open(path).map_err(at(path))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(file),
        })
    }
}

impl Iterator for Lines {
    type Item = Result<Vec<u8>, CarryOverError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match (&mut self.file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) if line.pop() == Some(b'\n') => Some(Ok(line)),
            Ok(_) => Some(Err(CarryOverError::Malformed {
                path: self.path.clone(),
                what: "a line has no end".to_owned(),
            })),
            Err(error) => Some(Err(at(&self.path)(error))),
        }
    }
}
