//! A file of the pack while it is made: its bytes in memory or in a nameless temporary file, its hashes as they come.
//!
//! Invariants: memory stays bounded whatever is written; a temporary file is gone when the process is.
//! Not here: what is written.

use super::zip::Crc32;
use domain::Hash;
use domain::hash::Sha256Stream;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes that go to the file at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being written.
pub struct Spool {
    file: BufWriter<File>,
    sha256: Sha256Stream,
    crc32: Crc32,
    bytes: u64,
}

impl Spool {
    /// In that folder, which must have room for it.
    pub fn new(scratch: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile_in(scratch)?),
            sha256: Sha256Stream::new(),
            crc32: Crc32::new(),
            bytes: 0,
        })
    }

    /// No more is written.
    pub fn finish(self) -> io::Result<Part> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Part {
            content: Content::File(file),
            sha256: self.sha256.finish(),
            crc32: self.crc32.finish(),
            bytes: self.bytes,
        })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.sha256.update(bytes);
        self.crc32.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

enum Content {
    Memory(Vec<u8>),
    File(File),
}

/// A file that was written.
pub struct Part {
    content: Content,
    /// SHA-256 of its bytes.
    pub sha256: Hash,
    /// CRC-32 of its bytes.
    pub crc32: u32,
    /// How many.
    pub bytes: u64,
}

impl Part {
    /// Of bytes in memory.
    pub fn of(bytes: Vec<u8>) -> Self {
        let mut crc32 = Crc32::new();
        crc32.update(&bytes);
        Self {
            sha256: domain::hash::sha256(&bytes),
            crc32: crc32.finish(),
            bytes: bytes.len() as u64,
            content: Content::Memory(bytes),
        }
    }

    /// Its bytes, from the first.
    pub fn read(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &mut self.content {
            Content::Memory(bytes) => Box::new(&bytes[..]),
            Content::File(file) => {
                file.seek(SeekFrom::Start(0))?;
                Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
            }
        })
    }
}
