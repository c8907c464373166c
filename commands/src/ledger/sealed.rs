//! A sealed file: all entries of one class in one segment, compressed in bundles, with a footer that finds them.
//!
//! *Ground.* Layout, little-endian: magic `DBSEAL01` · segment u32 · zeros u32 · bundles, each a zstd frame over
//! (u16 length an entry, then the entries) · footer · footer's offset u64, length u64, crc32c u32, magic `DBSE` ·
//! SHA-256 over every byte before it. The footer has for each bundle: offset u64, compressed bytes u32, raw bytes
//! u32, crc32c of the compressed bytes u32, entries u32, runs u32; then its runs of consecutive positions, each two
//! varints (distance from the end of the run before, length).
//! Invariants: never changed once named by the manifest; a bundle is checked against its crc before it is believed.
//! Not here: when segments are sealed (`seal`), which sealed files are read (`cache`).

use super::disk::{Access, Disk, SharedFile, read_exact_at};
use super::manifest::SealedRecord;
use super::segment::folder;
use domain::Hash;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Entries in a bundle (C2SP tlog-tiles' entry bundles hold as many).
pub const BUNDLE_ENTRIES: usize = 256;
/// A bundle with this many raw bytes is closed early: reading one entry unpacks its whole bundle.
const BUNDLE_BYTES: usize = 256 * 1024;
/// No bundle unpacks to more: one entry may come on top of [`BUNDLE_BYTES`], and the lengths.
const RAW_BYTES_MAX: usize = 2 * BUNDLE_BYTES;
/// Bytes of the lengths of a full bundle.
const LENGTHS_BYTES: usize = 2 * BUNDLE_ENTRIES;
/// Where the bundles begin.
const HEAD_BYTES: u64 = 16;
/// Bytes behind the footer.
const TAIL_BYTES: u64 = 56;
/// The file is hashed in pieces of this size.
const PIECE_BYTES: u64 = 1 << 20;
/// Bytes of the checksum that ends the file.
const CHECKSUM_BYTES: u64 = 32;
/// Good compression at a fraction of the disk's speed; higher levels cost more than they save here.
const ZSTD_LEVEL: i32 = 1;
const MAGIC: &[u8; 8] = b"DBSEAL01";
const TAIL_MAGIC: &[u8; 4] = b"DBSE";

/// A sealed file's path.
pub fn path(dir: &Path, segment: u32, class: &str) -> PathBuf {
    folder(dir).join(format!("{segment:08}.{class}.sealed"))
}

/// Where a bundle is and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: u64,
    compressed: u32,
    raw: u32,
    crc: u32,
    entries: u32,
}

/// Consecutive positions in one bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u64,
    len: u32,
    bundle: u32,
    /// The first one's number within the bundle.
    ordinal: u32,
}

impl Run {
    fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }
}

/// Writes a sealed file.
pub struct SealedWriter {
    class: &'static str,
    file: SharedFile,
    offset: u64,
    hasher: Sha256,
    compressor: zstd::bulk::Compressor<'static>,
    lengths: Vec<u8>,
    /// The bundle's entries behind room for their lengths, so that both are compressed where they are.
    bundle: Vec<u8>,
    runs: Vec<(u64, u32)>,
    footer: Vec<u8>,
    last_end: u64,
    count: u64,
}

impl SealedWriter {
    /// Makes the file; what had its name was never part of the ledger.
    pub fn create(disk: &dyn Disk, dir: &Path, segment: u32, class: &'static str) -> io::Result<Self> {
        let path = path(dir, segment, class);
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut writer = Self {
            class,
            file: disk.open(&path, Access::CreateNew)?,
            offset: 0,
            hasher: Sha256::new(),
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL)?,
            lengths: Vec::new(),
            bundle: vec![0; LENGTHS_BYTES],
            runs: Vec::new(),
            footer: Vec::new(),
            last_end: 0,
            count: 0,
        };
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&segment.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        writer.write(&head)?;
        Ok(writer)
    }

    /// The class of its entries.
    pub fn class(&self) -> &'static str {
        self.class
    }

    /// Adds an entry; positions rise.
    pub fn push(&mut self, position: u64, entry: &[u8]) -> io::Result<()> {
        let bytes = self.bundle.len() - LENGTHS_BYTES + entry.len();
        if self.lengths.len() / 2 >= BUNDLE_ENTRIES || bytes > BUNDLE_BYTES {
            self.close_bundle()?;
        }
        match self.runs.last_mut() {
            Some((start, len)) if *start + u64::from(*len) == position => *len += 1,
            _ => self.runs.push((position, 1)),
        }
        self.lengths
            .extend_from_slice(&(entry.len() as u16).to_le_bytes());
        self.bundle.extend_from_slice(entry);
        self.count += 1;
        Ok(())
    }

    fn close_bundle(&mut self) -> io::Result<()> {
        if self.lengths.is_empty() {
            return Ok(());
        }
        let count = self.lengths.len() as u32 / 2;
        let start = LENGTHS_BYTES - self.lengths.len();
        self.bundle[start..LENGTHS_BYTES].copy_from_slice(&self.lengths);
        let raw = &self.bundle[start..];
        let compressed = self.compressor.compress(raw)?;
        self.footer.extend_from_slice(&self.offset.to_le_bytes());
        for field in [
            compressed.len() as u32,
            raw.len() as u32,
            crc32c::crc32c(&compressed),
            count,
            self.runs.len() as u32,
        ] {
            self.footer.extend_from_slice(&field.to_le_bytes());
        }
        for (start, len) in self.runs.drain(..) {
            write_varint(&mut self.footer, start - self.last_end);
            write_varint(&mut self.footer, u64::from(len));
            self.last_end = start + u64::from(len);
        }
        self.lengths.clear();
        self.bundle.truncate(LENGTHS_BYTES);
        self.write(&compressed)
    }

    /// Ends the file and makes it durable; its name is durable after the folder was synced.
    pub fn finish(mut self) -> io::Result<SealedRecord> {
        self.close_bundle()?;
        let footer = std::mem::take(&mut self.footer);
        let mut tail = self.offset.to_le_bytes().to_vec();
        tail.extend_from_slice(&(footer.len() as u64).to_le_bytes());
        tail.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        tail.extend_from_slice(TAIL_MAGIC);
        self.write(&footer)?;
        self.write(&tail)?;
        let checksum = Hash(self.hasher.clone().finalize().into());
        self.write(&checksum.0)?;
        self.file.sync_all()?;
        Ok(SealedRecord {
            class: self.class.to_owned(),
            entries: self.count,
            bytes: self.offset,
            checksum,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// An unpacked bundle.
#[derive(Debug)]
pub struct Bundle {
    raw: Vec<u8>,
    /// Where each entry begins, and where the last one ends.
    starts: Vec<u32>,
}

impl Bundle {
    /// The entry with this number.
    pub fn entry(&self, ordinal: u32) -> Option<&[u8]> {
        let start = *self.starts.get(ordinal as usize)?;
        let end = *self.starts.get(ordinal as usize + 1)?;
        self.raw.get(start as usize..end as usize)
    }

    /// How many entries.
    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// Bytes of its entries, and of their lengths.
    pub fn bytes(&self) -> usize {
        self.raw.len()
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.raw.len() + 4 * self.starts.len()
    }

    fn parse(raw: Vec<u8>, entries: u32) -> Option<Self> {
        let mut at = 2 * entries;
        let mut starts = Vec::with_capacity(entries as usize + 1);
        for length in raw.get(..at as usize)?.chunks_exact(2) {
            starts.push(at);
            at += u32::from(u16::from_le_bytes([length[0], length[1]]));
        }
        starts.push(at);
        (at as usize == raw.len()).then_some(Self { raw, starts })
    }
}

/// A place within a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// The bundle's number.
    pub bundle: u32,
    /// The entry's number within it.
    pub ordinal: u32,
}

/// A sealed file, opened, its footer read and checked.
pub struct SealedFile {
    /// The class of all its entries.
    pub class: String,
    file: SharedFile,
    places: Vec<Place>,
    runs: Vec<Run>,
}

impl SealedFile {
    /// Opens the file that `record` describes.
    ///
    /// # Errors
    /// The outer one where the disk fails, the inner one, in words, where the file is not what it was.
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        segment: u32,
        record: &SealedRecord,
    ) -> io::Result<Result<Self, String>> {
        let name = path(dir, segment, &record.class);
        let file = match disk.open(&name, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err("it is missing".to_owned()));
            }
            Err(error) => return Err(error),
        };
        let len = file.len()?;
        if len != record.bytes || len < HEAD_BYTES + TAIL_BYTES {
            return Ok(Err(format!("it has {len} bytes instead of {}", record.bytes)));
        }
        let mut tail = [0; TAIL_BYTES as usize];
        read_exact_at(&*file, &mut tail, len - TAIL_BYTES)?;
        if tail[24..] != record.checksum.0 {
            return Ok(Err("its checksum is not the manifest's".to_owned()));
        }
        let mut fields = Fields(&tail);
        let (Some(at), Some(bytes), Some(crc)) = (fields.u64(), fields.u64(), fields.u32()) else {
            return Ok(Err("its end is not whole".to_owned()));
        };
        if at.checked_add(bytes) != Some(len - TAIL_BYTES) || tail[20..24] != *TAIL_MAGIC {
            return Ok(Err("its end is not whole".to_owned()));
        }
        let mut footer = vec![0; bytes as usize];
        read_exact_at(&*file, &mut footer, at)?;
        if crc32c::crc32c(&footer) != crc {
            return Ok(Err("its footer is not whole".to_owned()));
        }
        Ok(match parse_footer(&footer) {
            Some((places, runs)) => Ok(Self {
                class: record.class.clone(),
                file,
                places,
                runs,
            }),
            None => Err("its footer cannot be read".to_owned()),
        })
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.places.len() * size_of::<Place>() + self.runs.len() * size_of::<Run>()
    }

    /// Entries in the file.
    pub fn entries(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.len)).sum()
    }

    /// Bundles in the file.
    pub fn bundles(&self) -> u32 {
        self.places.len() as u32
    }

    /// The first position in a bundle.
    pub fn first_of(&self, bundle: u32) -> Option<u64> {
        let at = self.runs.partition_point(|run| run.bundle < bundle);
        self.runs.get(at).map(|run| run.start)
    }

    /// Where the entry of a position is, if it is in this file; `cursor` remembers where the last one was.
    pub fn locate(&self, position: u64, cursor: &mut usize) -> Option<Located> {
        let holds = |at: usize| {
            self.runs
                .get(at)
                .filter(|run| (run.start..run.end()).contains(&position))
        };
        let run = holds(*cursor).or_else(|| {
            *cursor = match holds(*cursor + 1) {
                Some(_) => *cursor + 1,
                None => self
                    .runs
                    .partition_point(|run| run.start <= position)
                    .saturating_sub(1),
            };
            holds(*cursor)
        })?;
        Some(Located {
            bundle: run.bundle,
            ordinal: run.ordinal + (position - run.start) as u32,
        })
    }

    /// Each position and where its entry is, in order.
    pub fn located(&self) -> impl Iterator<Item = (u64, Located)> + '_ {
        self.runs.iter().flat_map(|run| {
            (0..run.len).map(|i| {
                let located = Located {
                    bundle: run.bundle,
                    ordinal: run.ordinal + i,
                };
                (run.start + u64::from(i), located)
            })
        })
    }

    /// Unpacks a bundle.
    ///
    /// # Errors
    /// As for [`SealedFile::open`].
    pub fn bundle(&self, number: u32, unpacker: &mut Unpacker) -> io::Result<Result<Bundle, String>> {
        let Some(place) = self.places.get(number as usize) else {
            return Ok(Err(format!("it has no bundle {number}")));
        };
        let mut compressed = vec![0; place.compressed as usize];
        read_exact_at(&*self.file, &mut compressed, place.offset)?;
        if crc32c::crc32c(&compressed) != place.crc {
            return Ok(Err(format!("bundle {number} is not whole")));
        }
        let raw = unpacker.0.decompress(&compressed, place.raw as usize);
        let bundle = raw.ok().and_then(|raw| Bundle::parse(raw, place.entries));
        Ok(bundle.ok_or_else(|| format!("bundle {number} cannot be unpacked")))
    }

    /// Hashes the whole file and compares it with its checksum.
    pub fn is_whole(&self) -> io::Result<bool> {
        let body = self.file.len()?.saturating_sub(CHECKSUM_BYTES);
        let mut hasher = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES.min(body) as usize];
        let mut at = 0;
        while at < body {
            let wanted = piece.len().min((body - at) as usize);
            read_exact_at(&*self.file, &mut piece[..wanted], at)?;
            hasher.update(&piece[..wanted]);
            at += wanted as u64;
        }
        let mut checksum = [0; CHECKSUM_BYTES as usize];
        read_exact_at(&*self.file, &mut checksum, body)?;
        Ok(<[u8; 32]>::from(hasher.finalize()) == checksum)
    }
}

/// A decompressor with its memory, used for one bundle after the other.
pub struct Unpacker(zstd::bulk::Decompressor<'static>);

impl Unpacker {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        zstd::bulk::Decompressor::new().map(Self)
    }
}

fn parse_footer(footer: &[u8]) -> Option<(Vec<Place>, Vec<Run>)> {
    let (mut places, mut runs) = (Vec::new(), Vec::new());
    let mut fields = Fields(footer);
    let mut last_end = 0_u64;
    while !fields.0.is_empty() {
        let place = Place {
            offset: fields.u64()?,
            compressed: fields.u32()?,
            raw: fields.u32()?,
            crc: fields.u32()?,
            entries: fields.u32()?,
        };
        let mut ordinal = 0_u32;
        for _ in 0..fields.u32()? {
            let start = last_end.checked_add(fields.varint()?)?;
            let len = u32::try_from(fields.varint()?).ok()?;
            runs.push(Run {
                start,
                len,
                bundle: places.len() as u32,
                ordinal,
            });
            ordinal = ordinal.checked_add(len)?;
            last_end = start.checked_add(u64::from(len))?;
        }
        if ordinal != place.entries || place.raw as usize > RAW_BYTES_MAX {
            return None;
        }
        places.push(place);
    }
    Some((places, runs))
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads numbers off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*field))
    }

    fn u64(&mut self) -> Option<u64> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*field))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::faults::FaultDisk;

    const DIR: &str = "/ledger";

    fn entry(position: u64) -> String {
        format!("{{\"position\":{position},\"value\":{}}}", position * 7 % 13)
    }

    fn sealed(disk: &FaultDisk, positions: &[u64]) -> SealedRecord {
        let mut writer = SealedWriter::create(disk, Path::new(DIR), 3, "reading").unwrap();
        for position in positions {
            writer.push(*position, entry(*position).as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(file: &SealedFile, position: u64) -> Option<String> {
        let located = file.locate(position, &mut 0)?;
        let bundle = file
            .bundle(located.bundle, &mut Unpacker::new().unwrap())
            .unwrap()
            .unwrap();
        Some(String::from_utf8(bundle.entry(located.ordinal).unwrap().to_vec()).unwrap())
    }

    #[test]
    fn every_position_is_found_and_no_other() {
        let positions: Vec<u64> = (100..1500).filter(|p| p % 10 != 3 && p % 97 > 4).collect();
        let disk = FaultDisk::new();
        let record = sealed(&disk, &positions);
        let file = SealedFile::open(&disk, Path::new(DIR), 3, &record)
            .unwrap()
            .unwrap();
        assert_eq!(file.entries(), positions.len() as u64);
        assert!(file.is_whole().unwrap());
        for position in 0..1600 {
            let expected = positions.contains(&position).then(|| entry(position));
            assert_eq!(read(&file, position), expected, "position {position}");
        }
        let mut cursor = 0;
        let forward: Vec<u64> = (0..1600)
            .filter(|p| file.locate(*p, &mut cursor).is_some())
            .collect();
        assert_eq!(forward, positions);
        assert_eq!(file.located().map(|(p, _)| p).collect::<Vec<_>>(), positions);
    }

    #[test]
    fn any_flipped_or_missing_byte_is_noticed() {
        let disk = FaultDisk::new();
        let record = sealed(&disk, &[0, 1, 2, 9, 10]);
        let path = path(Path::new(DIR), 3, "reading");
        let len = disk.files()[&path].len();
        for at in 0..len {
            let flipped = disk.copy();
            flipped.tamper(&path, |bytes| bytes[at] ^= 0x10);
            match SealedFile::open(&flipped, Path::new(DIR), 3, &record).unwrap() {
                Ok(file) => assert!(!file.is_whole().unwrap(), "byte {at}"),
                Err(_) => continue,
            }
            let cut = disk.copy();
            cut.tamper(&path, |bytes| bytes.truncate(at));
            assert!(
                SealedFile::open(&cut, Path::new(DIR), 3, &record)
                    .unwrap()
                    .is_err()
            );
        }
    }

    #[test]
    fn footers_of_any_bytes_are_read_without_a_panic() {
        let disk = FaultDisk::new();
        let record = sealed(&disk, &[0, 1, 2, 9, 10]);
        let path = path(Path::new(DIR), 3, "reading");
        let bytes = disk.files()[&path].clone();
        for start in 0..bytes.len() {
            for len in 0..(bytes.len() - start).min(64) {
                let _ = parse_footer(&bytes[start..start + len]);
            }
        }
        assert_eq!(record.entries, 5);
    }
}
