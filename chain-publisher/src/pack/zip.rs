//! A ZIP as packs have it: stored files, fixed times, nothing optional.
//!
//! Invariants: what is read is, byte for byte, what the writer writes for the same names and bytes, so that two readers
//! never see two different packs in one file; sizes are believed only up to the file's own end; nothing is unpacked,
//! so nothing can grow.
//! Source: FORMAT §7; PKWARE APPNOTE 6.3.10 §4.3 (headers), §4.5.3 (ZIP64).
//! Not here: which files a pack has (`make`, `verify`).

use std::io::{self, Read, Seek, SeekFrom, Write};

/// Longest name, bytes.
pub const NAME_MAX: usize = 64;
/// Most files: a century of heads and the dozen others.
pub const FILES_MAX: usize = 40_012;
/// 1980-01-01, the first day that the format knows.
const DATE: u16 = 0x0021;
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
/// Bytes of a local header without name and extra field.
const LOCAL_BYTES: u64 = 30;
/// A 32-bit field that the 64-bit one stands for.
const SATURATED: u64 = u32::MAX as u64;

/// A file in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// CRC-32 of its bytes.
    pub crc32: u32,
    /// Where its header begins.
    pub offset: u64,
}

/// Why bytes are not an archive of ours.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// It cannot be read, is cut short, or is something else: nothing can be said of it.
    #[error("{0}")]
    Unreadable(String),
    /// It is an archive, and not as packs are.
    #[error("the ZIP: {0}")]
    Structure(String),
}

impl From<io::Error> for ZipError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl Stored {
    fn is_large(&self) -> bool {
        self.bytes >= SATURATED
    }

    fn local_header(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LOCAL_BYTES as usize + self.name.len() + 20);
        put32(&mut out, LOCAL);
        put16(&mut out, if self.is_large() { VERSION_64 } else { VERSION });
        self.common(&mut out, if self.is_large() { 20 } else { 0 });
        out.extend_from_slice(self.name.as_bytes());
        if self.is_large() {
            put16(&mut out, 1);
            put16(&mut out, 16);
            put64(&mut out, self.bytes);
            put64(&mut out, self.bytes);
        }
        out
    }

    fn central_header(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        if self.is_large() {
            put64(&mut extra, self.bytes);
            put64(&mut extra, self.bytes);
        }
        if self.offset >= SATURATED {
            put64(&mut extra, self.offset);
        }
        let version = if extra.is_empty() { VERSION } else { VERSION_64 };
        let mut out = Vec::with_capacity(46 + self.name.len() + 28);
        put32(&mut out, CENTRAL);
        put16(&mut out, version);
        put16(&mut out, version);
        let extra_bytes = if extra.is_empty() { 0 } else { extra.len() + 4 };
        self.common(&mut out, extra_bytes as u16);
        // Comment, disk, internal and external attributes: none.
        out.extend_from_slice(&[0; 10]);
        put32(&mut out, self.offset.min(SATURATED) as u32);
        out.extend_from_slice(self.name.as_bytes());
        if !extra.is_empty() {
            put16(&mut out, 1);
            put16(&mut out, extra.len() as u16);
            out.extend_from_slice(&extra);
        }
        out
    }

    /// Flags, method, time, date, CRC-32, sizes, lengths of name and extra field.
    fn common(&self, out: &mut Vec<u8>, extra_bytes: u16) {
        out.extend_from_slice(&[0; 6]);
        put16(out, DATE);
        put32(out, self.crc32);
        let bytes = self.bytes.min(SATURATED) as u32;
        put32(out, bytes);
        put32(out, bytes);
        put16(out, self.name.len() as u16);
        put16(out, extra_bytes);
    }

    fn data(&self) -> u64 {
        self.offset + self.local_header().len() as u64
    }
}

/// The central directory and what ends the file, for these files, the last of which ends at `offset`.
fn directory(files: &[Stored], offset: u64) -> Vec<u8> {
    let mut out: Vec<u8> = files.iter().flat_map(Stored::central_header).collect();
    let (count, bytes) = (files.len() as u64, out.len() as u64);
    if count >= 0xffff || bytes >= SATURATED || offset >= SATURATED {
        let end = offset + bytes;
        put32(&mut out, END_64);
        put64(&mut out, 44);
        put16(&mut out, VERSION_64);
        put16(&mut out, VERSION_64);
        put64(&mut out, 0);
        put64(&mut out, count);
        put64(&mut out, count);
        put64(&mut out, bytes);
        put64(&mut out, offset);
        put32(&mut out, LOCATOR_64);
        put32(&mut out, 0);
        put64(&mut out, end);
        put32(&mut out, 1);
    }
    put32(&mut out, END);
    put32(&mut out, 0);
    put16(&mut out, count.min(0xffff) as u16);
    put16(&mut out, count.min(0xffff) as u16);
    put32(&mut out, bytes.min(SATURATED) as u32);
    put32(&mut out, offset.min(SATURATED) as u32);
    put16(&mut out, 0);
    out
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes an archive, front to back.
pub struct ZipWriter<W> {
    out: W,
    offset: u64,
    files: Vec<Stored>,
}

impl<W: Write> ZipWriter<W> {
    /// An archive without files.
    pub fn new(out: W) -> Self {
        Self {
            out,
            offset: 0,
            files: Vec::new(),
        }
    }

    /// Adds a file of exactly so many bytes with that CRC-32.
    ///
    /// # Errors
    /// What the system says, or that the content is not of that size.
    pub fn add(&mut self, name: &str, bytes: u64, crc32: u32, content: &mut dyn Read) -> io::Result<()> {
        let file = Stored {
            name: name.to_owned(),
            bytes,
            crc32,
            offset: self.offset,
        };
        let header = file.local_header();
        self.out.write_all(&header)?;
        // One more byte would show a content that grew.
        let copied = io::copy(&mut content.take(bytes.saturating_add(1)), &mut self.out)?;
        if copied != bytes {
            return Err(io::Error::other(format!("{name} is not of {bytes} bytes")));
        }
        self.offset += header.len() as u64 + bytes;
        self.files.push(file);
        Ok(())
    }

    /// Writes the end. How many bytes there are.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<u64> {
        let end = directory(&self.files, self.offset);
        self.out.write_all(&end)?;
        self.out.flush()?;
        Ok(self.offset + end.len() as u64)
    }
}

/// An archive that is as the writer writes it; the contents are not looked at by that.
pub struct Archive<R> {
    reader: R,
    /// The files, in order.
    pub files: Vec<Stored>,
    /// All bytes.
    pub bytes: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads headers and directory.
    ///
    /// # Errors
    /// [`ZipError`].
    pub fn open(mut reader: R) -> Result<Self, ZipError> {
        let bytes = reader.seek(SeekFrom::End(0))?;
        let mut files = Vec::new();
        let mut offset = 0;
        while let Some(file) = next_file(&mut reader, offset, bytes, files.is_empty())? {
            if files.len() == FILES_MAX {
                return Err(ZipError::Structure(format!("more than {FILES_MAX} files")));
            }
            offset = file.data() + file.bytes;
            files.push(file);
        }
        let end = directory(&files, offset);
        let left = bytes - offset;
        reader.seek(SeekFrom::Start(offset))?;
        let mut found = Vec::new();
        reader.by_ref().take(end.len() as u64).read_to_end(&mut found)?;
        if !end.starts_with(&found) {
            let what = "its directory is not that of the files before it, stored and with nothing optional";
            return Err(ZipError::Structure(what.to_owned()));
        }
        if found.len() < end.len() {
            return Err(cut_short());
        }
        if left > end.len() as u64 {
            return Err(ZipError::Structure(format!(
                "{} bytes behind its end",
                left - end.len() as u64
            )));
        }
        Ok(Self { reader, files, bytes })
    }

    /// The content of the `n`-th file.
    ///
    /// # Errors
    /// What the system says.
    pub fn content(&mut self, n: usize) -> io::Result<io::Take<&mut R>> {
        let file = self.files.get(n);
        let file = file.ok_or_else(|| io::Error::other("there is no such file"))?;
        let (data, bytes) = (file.data(), file.bytes);
        self.reader.seek(SeekFrom::Start(data))?;
        Ok(self.reader.by_ref().take(bytes))
    }
}

fn cut_short() -> ZipError {
    ZipError::Unreadable("the file is cut short: it ends before the ZIP does".to_owned())
}

/// The file whose header is at `offset`; `None` where the directory begins.
fn next_file<R: Read + Seek>(
    reader: &mut R,
    offset: u64,
    total: u64,
    first: bool,
) -> Result<Option<Stored>, ZipError> {
    let left = total - offset;
    let mut fixed = [0u8; LOCAL_BYTES as usize];
    reader.seek(SeekFrom::Start(offset))?;
    let there = left.min(LOCAL_BYTES) as usize;
    reader.read_exact(&mut fixed[..there])?;
    let field = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    if first && (there < 4 || field(0) != LOCAL) {
        return Err(ZipError::Unreadable("this is no ZIP file".to_owned()));
    }
    if there < 4 {
        return Err(cut_short());
    }
    if field(0) != LOCAL {
        return Ok(None);
    }
    if there < fixed.len() {
        return Err(cut_short());
    }
    let (name_bytes, extra_bytes) = (
        usize::from(fixed[26]) | usize::from(fixed[27]) << 8,
        field(26) >> 16,
    );
    let structure = |what: &str| ZipError::Structure(format!("the file at byte {offset} {what}"));
    if !(1..=NAME_MAX).contains(&name_bytes) || !matches!(extra_bytes, 0 | 20) {
        return Err(structure(
            "has a name or an extra field that no file of a pack has",
        ));
    }
    let mut rest = vec![0; name_bytes + extra_bytes as usize];
    if left - LOCAL_BYTES < rest.len() as u64 {
        return Err(cut_short());
    }
    reader.read_exact(&mut rest)?;
    let name = std::str::from_utf8(&rest[..name_bytes])
        .ok()
        .filter(|name| name.bytes().all(|b| b.is_ascii_graphic()));
    let name = name
        .ok_or_else(|| structure("has a name that is not plain ASCII"))?
        .to_owned();
    let bytes = match rest[name_bytes..].get(4..12) {
        Some(large) => u64::from_le_bytes(large.try_into().unwrap_or_default()),
        None => u64::from(field(22)),
    };
    let file = Stored {
        name,
        bytes,
        crc32: field(14),
        offset,
    };
    if file.local_header() != [&fixed[..], &rest].concat() {
        return Err(structure(&format!(
            "({}) is not stored as packs store: uncompressed, with its sizes before it, at the fixed time",
            file.name
        )));
    }
    if left - LOCAL_BYTES - (rest.len() as u64) < bytes {
        return Err(cut_short());
    }
    Ok(Some(file))
}

/// CRC-32 of bytes that come piece by piece (ISO 3309, the reflected polynomial 0xEDB88320).
#[derive(Debug, Clone, Copy)]
pub struct Crc32(u32);

/// `TABLES[k][b]` is the remainder of the byte b with k zero bytes behind it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = (rest >> 1) ^ (if rest & 1 == 1 { 0xedb8_8320 } else { 0 });
            bit += 1;
        }
        tables[0][byte] = rest;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

impl Crc32 {
    /// Of nothing yet.
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// The next bytes, eight at a time.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let mut eights = bytes.chunks_exact(8);
        for eight in &mut eights {
            let low = crc ^ u32::from_le_bytes([eight[0], eight[1], eight[2], eight[3]]);
            crc = TABLES[7][(low & 0xff) as usize]
                ^ TABLES[6][(low >> 8 & 0xff) as usize]
                ^ TABLES[5][(low >> 16 & 0xff) as usize]
                ^ TABLES[4][(low >> 24) as usize]
                ^ TABLES[3][usize::from(eight[4])]
                ^ TABLES[2][usize::from(eight[5])]
                ^ TABLES[1][usize::from(eight[6])]
                ^ TABLES[0][usize::from(eight[7])];
        }
        for byte in eights.remainder() {
            crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
        }
        self.0 = crc;
    }

    /// The value.
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = Crc32::new();
        crc.update(bytes);
        crc.finish()
    }

    fn written(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut zip = ZipWriter::new(&mut out);
        for (name, bytes) in files {
            zip.add(name, bytes.len() as u64, crc(bytes), &mut &bytes[..])
                .expect("written");
        }
        let said = zip.finish().expect("written");
        assert_eq!(said, out.len() as u64);
        out
    }

    /// So many zeros, then bytes; for sizes that no memory holds.
    struct Sparse {
        parts: Vec<(u64, Vec<u8>)>,
        bytes: u64,
        at: u64,
    }

    impl Read for Sparse {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = (self.bytes - self.at).min(out.len() as u64) as usize;
            for (i, byte) in out[..n].iter_mut().enumerate() {
                let at = self.at + i as u64;
                let part = self
                    .parts
                    .iter()
                    .find(|(from, part)| at >= *from && at - from < part.len() as u64);
                *byte = part.map_or(0, |(from, part)| part[(at - from) as usize]);
            }
            self.at += n as u64;
            Ok(n)
        }
    }

    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.at = match to {
                SeekFrom::Start(at) => at,
                SeekFrom::End(_) => self.bytes,
                SeekFrom::Current(_) => self.at,
            };
            Ok(self.at)
        }
    }

    #[test]
    fn the_crc_is_the_usual_one() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc(b""), 0);
        let bytes: Vec<u8> = (0..100).collect();
        let mut pieces = Crc32::new();
        pieces.update(&bytes[..3]);
        pieces.update(&bytes[3..50]);
        pieces.update(&bytes[50..]);
        assert_eq!(pieces.finish(), crc(&bytes));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = written(&[("a", b"one"), ("heads/b", b""), ("c", b"three")]);
        let mut archive = Archive::open(Cursor::new(bytes)).expect("an archive");
        let names: Vec<_> = archive.files.iter().map(|file| file.name.clone()).collect();
        assert_eq!(names, ["a", "heads/b", "c"]);
        let mut content = String::new();
        archive
            .content(2)
            .expect("there")
            .read_to_string(&mut content)
            .expect("text");
        assert_eq!(content, "three");
    }

    #[test]
    fn every_flipped_bit_outside_the_contents_is_refused_and_every_cut_is_unreadable() {
        let bytes = written(&[("a", b"one"), ("b", b"two")]);
        let content = |at: usize| (31..34).contains(&at) || (65..68).contains(&at);
        // Names and checksums are held against the manifest and the contents.
        let elsewhere = |at: usize| at == 30 || at == 64 || (14..18).contains(&at) || (48..52).contains(&at);
        for at in (0..bytes.len()).filter(|at| !content(*at) && !elsewhere(*at)) {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(
                    Archive::open(Cursor::new(flipped)).is_err(),
                    "byte {at} bit {bit}"
                );
            }
        }
        for end in 0..bytes.len() {
            let cut = Archive::open(Cursor::new(&bytes[..end]));
            assert!(matches!(cut, Err(ZipError::Unreadable(_))), "cut at {end}");
        }
        let longer = [&bytes[..], b"x"].concat();
        let longer = Archive::open(Cursor::new(longer));
        assert!(matches!(longer, Err(ZipError::Structure(_))));
    }

    #[test]
    fn sizes_beyond_four_gibibytes_take_the_64_bit_fields() {
        let large = 5u64 << 30;
        let mut first = Stored {
            name: "large".to_owned(),
            bytes: large,
            crc32: 1,
            offset: 0,
        };
        for bytes in [large, SATURATED, SATURATED - 1] {
            first.bytes = bytes;
            let second = Stored {
                name: "small".to_owned(),
                bytes: 3,
                crc32: 2,
                offset: first.data() + bytes,
            };
            let offset = second.data() + 3;
            let end = directory(&[first.clone(), second.clone()], offset);
            let reader = Sparse {
                bytes: offset + end.len() as u64,
                parts: vec![
                    (0, first.local_header()),
                    (second.offset, second.local_header()),
                    (offset, end),
                ],
                at: 0,
            };
            let archive = Archive::open(reader).expect("an archive");
            assert_eq!(archive.files, [first.clone(), second]);
        }
    }
}
