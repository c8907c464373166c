//! Reading sealed segments: their footers and unpacked bundles, kept as long as there is room.
//!
//! *Derived*, in memory. Invariant: what is kept never exceeds its bytes, however large the ledger grows; a sealed
//! file never changes, so nothing kept goes stale.
//! Not here: the files' layout (`sealed`).

use super::disk::Disk;
use super::manifest::SealedRecord;
use super::sealed::{Bundle, Located, SealedFile, Unpacker};
use super::segment::{damaged, unavailable};
use domain::ports::{EntryBlock, ReadError};
use domain::position::Position;
use lru::LruCache;
use parking_lot::Mutex;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::Arc;

/// Segments whose files are kept open; each has up to six, and a process may have about a thousand.
const PARTS_MAX: usize = 32;
/// Bundles kept, however small they are.
const BUNDLES_MAX: usize = 65_536;
/// Unpackers kept for the next bundle; each holds about 150 KiB.
const UNPACKERS_MAX: usize = 4;

/// A sealed segment as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPart {
    /// Names its files.
    pub number: u32,
    /// Its first position.
    pub first: u64,
    /// Its files.
    pub files: Vec<SealedRecord>,
}

/// Its files, opened.
struct OpenedPart {
    files: Vec<SealedFile>,
}

/// What was used last, up to so many items and bytes.
struct Kept<K: Hash + Eq, V> {
    items: LruCache<K, (Arc<V>, usize)>,
    items_max: usize,
    bytes: usize,
    bytes_max: usize,
}

impl<K: Hash + Eq, V> Kept<K, V> {
    fn new(items_max: usize, bytes_max: usize) -> Self {
        Self {
            items: LruCache::unbounded(),
            items_max,
            bytes: 0,
            bytes_max,
        }
    }

    fn get(&mut self, key: &K) -> Option<Arc<V>> {
        self.items.get(key).map(|(value, _)| value.clone())
    }

    fn put(&mut self, key: K, value: Arc<V>, weight: usize) {
        self.bytes += weight;
        if let Some((_, (_, old))) = self.items.push(key, (value, weight)) {
            self.bytes -= old;
        }
        while self.items.len() > self.items_max || (self.bytes > self.bytes_max && self.items.len() > 1) {
            if let Some((_, (_, weight))) = self.items.pop_lru() {
                self.bytes -= weight;
            }
        }
    }
}

/// Names a bundle: segment, file within it, bundle within that.
type BundleKey = (u32, u8, u32);

/// Opened sealed files and unpacked bundles.
pub struct SealedCache {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    parts: Mutex<Kept<u32, OpenedPart>>,
    bundles: Mutex<Kept<BundleKey, Bundle>>,
    unpackers: Mutex<Vec<Unpacker>>,
}

impl SealedCache {
    /// Keeps footers and bundles of at most so many bytes each.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, bytes_max: usize) -> Self {
        Self {
            disk,
            dir,
            parts: Mutex::new(Kept::new(PARTS_MAX, bytes_max)),
            bundles: Mutex::new(Kept::new(BUNDLES_MAX, bytes_max)),
            unpackers: Mutex::new(Vec::new()),
        }
    }

    /// Appends up to `count` entries from `from` on to `out`, and no more once it holds `bytes_max` bytes; at least
    /// one. The caller knows that they are in this segment.
    pub fn read(
        &self,
        part: &SealedPart,
        from: u64,
        count: usize,
        bytes_max: usize,
        out: &mut EntryBlock,
    ) -> Result<(), ReadError> {
        let opened = self.opened(part)?;
        let mut cursors = vec![Cursor::default(); opened.files.len()];
        let mut last = 0;
        for position in from..from + count as u64 {
            if position > from && out.bytes().len() >= bytes_max {
                break;
            }
            let (file, located) = find(&opened, position, &mut cursors, &mut last)
                .ok_or_else(|| damaged(position, &format!("no file of segment {} holds it", part.number)))?;
            let cursor = &mut cursors[file];
            let bundle = match &cursor.bundle {
                Some((number, bundle)) if *number == located.bundle => bundle.clone(),
                _ => {
                    let bundle = self.bundle(part, &opened, file, located.bundle)?;
                    let wanted = from + count as u64 - position;
                    out.reserve(
                        (wanted as usize).min(bundle.count()),
                        bundle.bytes().min(bytes_max),
                    );
                    bundle
                }
            };
            let entry = bundle
                .entry(located.ordinal)
                .ok_or_else(|| damaged(position, "its bundle is too short"))?;
            out.push(Position(position), entry);
            cursor.bundle = Some((located.bundle, bundle));
        }
        Ok(())
    }

    fn opened(&self, part: &SealedPart) -> Result<Arc<OpenedPart>, ReadError> {
        if let Some(opened) = self.parts.lock().get(&part.number) {
            return Ok(opened);
        }
        let mut files = Vec::new();
        for record in &part.files {
            let file = SealedFile::open(&*self.disk, &self.dir, part.number, record).map_err(unavailable)?;
            files.push(file.map_err(|reason| {
                let name = format!("{:08}.{}.sealed", part.number, record.class);
                damaged(part.first, &format!("{name}: {reason}"))
            })?);
        }
        let weight = files.iter().map(SealedFile::weight).sum();
        let opened = Arc::new(OpenedPart { files });
        self.parts.lock().put(part.number, opened.clone(), weight);
        Ok(opened)
    }

    fn bundle(
        &self,
        part: &SealedPart,
        opened: &OpenedPart,
        file: usize,
        number: u32,
    ) -> Result<Arc<Bundle>, ReadError> {
        let key = (part.number, file as u8, number);
        if let Some(bundle) = self.bundles.lock().get(&key) {
            return Ok(bundle);
        }
        let kept = self.unpackers.lock().pop();
        let mut unpacker = kept.map_or_else(Unpacker::new, Ok).map_err(unavailable)?;
        let sealed = &opened.files[file];
        let bundle = sealed.bundle(number, &mut unpacker).map_err(unavailable)?;
        let bundle = Arc::new(bundle.map_err(|reason| {
            let first = sealed.first_of(number).unwrap_or(part.first);
            damaged(
                first,
                &format!("{:08}.{}.sealed: {reason}", part.number, sealed.class),
            )
        })?);
        let mut unpackers = self.unpackers.lock();
        if unpackers.len() < UNPACKERS_MAX {
            unpackers.push(unpacker);
        }
        drop(unpackers);
        self.bundles.lock().put(key, bundle.clone(), bundle.weight());
        Ok(bundle)
    }
}

/// Where the last entry of a file was.
#[derive(Clone, Default)]
struct Cursor {
    run: usize,
    bundle: Option<(u32, Arc<Bundle>)>,
}

/// The file that holds a position, the one that held the last first.
fn find(
    opened: &OpenedPart,
    position: u64,
    cursors: &mut [Cursor],
    last: &mut usize,
) -> Option<(usize, Located)> {
    let files = opened.files.len();
    for file in (*last..files).chain(0..*last) {
        if let Some(located) = opened.files[file].locate(position, &mut cursors[file].run) {
            *last = file;
            return Some((file, located));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_never_exceeds_its_items_and_bytes() {
        let mut kept = Kept::new(3, 100);
        for key in 0..10 {
            kept.put(key, Arc::new(key), 10);
        }
        assert_eq!((kept.items.len(), kept.bytes), (3, 30));
        kept.put(9, Arc::new(9), 80);
        assert_eq!((kept.items.len(), kept.bytes), (3, 100));
        kept.put(10, Arc::new(10), 30);
        assert_eq!(kept.get(&10).as_deref(), Some(&10));
        assert_eq!((kept.get(&7), kept.bytes), (None, 30));
        kept.put(11, Arc::new(11), 1000);
        assert_eq!((kept.items.len(), kept.bytes), (1, 1000));
    }
}
