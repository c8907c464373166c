//! A log written to a directory in tlog-tiles layout, with heads and the same entries as lines.
//!
//! Invariants: every file appears whole or not at all; the checkpoint is written last, so a directory that has one holds
//! everything that it covers; a run that was cut short goes on where it was, a later one adds what is new; memory does
//! not grow with the log. What is there already must be a prefix of the same log, or nothing is touched.
//! What if we crash here? Before the checkpoint: `export-unfinished` says how far entries are on disk, and the next run
//! goes on. After it: the same file still names the partial tiles that the new ones replace, and the next run removes them.
//! Source: FORMAT §3; C2SP tlog-tiles v0.1.0.
//! Not here: reading the log (`source`), checking the copy (`verify`).

use crate::anchor::ANCHOR_KINDS;
use crate::layout::{
    self, CHECKPOINT, README, UNFINISHED, VERIFIER_KEY, lines_path, pruned_line, withheld_line,
};
use crate::source::{Chunk, Given, LogSource, SourceError};
use domain::checkpoint::{Checkpoint, SignedCheckpoint};
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, NodeError, NodeReader, TILE_WIDTH};
use domain::tile::{Bundle, Tile, encode_bundle, parse_tile, tiles_since};
use domain::tlog_proof::TlogProof;
use domain::{Date, Hash, Position, TreeSize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Bundles between two marks of how far it is: some 16,000 entries are written again after a crash.
const BUNDLES_A_MARK: usize = 64;
/// A directory's mode: for whoever runs the service, and for everybody to read.
const FOR_THE_OWNER: u32 = 0o700;
const FOR_EVERYBODY: u32 = 0o755;
/// Levels that tiles have.
const LEVELS: u8 = 8;

/// Why nothing, or not everything, was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No checkpoint was signed yet.
    #[error("the log has no signed checkpoint yet: there is nothing to export")]
    Unsigned,
    /// There is something else in the directory.
    #[error("{dir}: {reason}")]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// What is there, and what to do.
        reason: String,
    },
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Which log.
    pub origin: String,
    /// The size of the copy.
    pub size: TreeSize,
    /// The root at that size.
    pub root: Hash,
    /// Entries that were written by this run.
    pub entries: u64,
    /// Files that were written by this run.
    pub files: u64,
    /// Heads in the copy.
    pub heads: u64,
}

/// How far entries are on disk, and what is to be removed once the checkpoint is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    origin: String,
    size: TreeSize,
    root: Hash,
    /// Sizes whose partial files may be here.
    partial: BTreeSet<TreeSize>,
}

/// Writes the whole log of `source`, up to its latest checkpoint, to `dir`. `progress` is told entries done and in all.
///
/// # Errors
/// [`ExportError`]; running it again goes on where it was.
pub fn export(
    source: &dyn LogSource,
    dir: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    // It holds what the ledger holds.
    let (mut export, note) = Export::open(source, dir, FOR_THE_OWNER)?;
    let mark = export.begin()?;
    export.entries(mark.clone(), progress)?;
    export.tiles(1)?;
    let heads = export.heads()?;
    let readme = layout::readme(export.checkpoint.origin());
    export.files.write_if_new(README, readme.as_bytes())?;
    export.finish(&note, &mark)?;
    Ok(export.exported(heads))
}

/// Writes the tree of `source` and its heads, up to its latest checkpoint, to `dir`, and no entries: for everybody.
///
/// # Errors
/// [`ExportError`]; running it again goes on where it was.
pub fn export_tree(source: &dyn LogSource, dir: &Path) -> Result<Exported, ExportError> {
    let (mut export, note) = Export::open(source, dir, FOR_EVERYBODY)?;
    let mark = export.begin()?;
    export.tiles(0)?;
    let heads = export.heads()?;
    export.finish(&note, &mark)?;
    Ok(export.exported(heads))
}

/// Puts a file of that name, below `dir`, in the place of the one that is there; durable when this returns.
///
/// # Errors
/// [`ExportError::Io`].
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
    let mut files = Files::open(dir, FOR_EVERYBODY)?;
    files.write_if_new(name, bytes)?;
    files.sync()
}

struct Export<'a> {
    source: &'a dyn LogSource,
    checkpoint: Checkpoint,
    files: Files,
    /// The size of the last run that finished.
    finished: TreeSize,
    entries: u64,
}

impl<'a> Export<'a> {
    /// What is exported to where, and its checkpoint as it was signed.
    fn open(source: &'a dyn LogSource, dir: &Path, mode: u32) -> Result<(Self, Vec<u8>), ExportError> {
        let note = source.checkpoint()?.ok_or(ExportError::Unsigned)?;
        let signed = SignedCheckpoint::parse(&note)
            .map_err(|error| SourceError::malformed("the checkpoint", error))?;
        let export = Self {
            source,
            checkpoint: signed.checkpoint().clone(),
            files: Files::open(dir, mode)?,
            finished: TreeSize::EMPTY,
            entries: 0,
        };
        Ok((export, note))
    }

    fn exported(&self, heads: u64) -> Exported {
        Exported {
            origin: self.checkpoint.origin().to_owned(),
            size: self.checkpoint.size(),
            root: self.checkpoint.root(),
            entries: self.entries,
            files: self.files.written,
            heads,
        }
    }

    /// Where to go on: what is there must be a prefix of this log.
    fn begin(&mut self) -> Result<Mark, ExportError> {
        let mut mark = Mark {
            origin: self.checkpoint.origin().to_owned(),
            size: TreeSize::EMPTY,
            root: Hash::empty_root(),
            partial: BTreeSet::from([self.checkpoint.size()]),
        };
        if let Some(bytes) = self.files.read(CHECKPOINT)? {
            let there = SignedCheckpoint::parse(&bytes).map_err(|_| self.unreadable("checkpoint"))?;
            let there = there.checkpoint();
            self.must_continue(there.origin(), there.size(), there.root())?;
            (mark.size, mark.root) = (there.size(), there.root());
            mark.partial.insert(there.size());
            self.finished = there.size();
        }
        if let Some(bytes) = self.files.read(UNFINISHED)? {
            let there: Mark = serde_json::from_slice(&bytes).map_err(|_| self.unreadable("mark"))?;
            self.must_continue(&there.origin, there.size, there.root)?;
            mark.partial.extend(there.partial);
            if there.size > mark.size {
                (mark.size, mark.root) = (there.size, there.root);
            }
        } else if !self.files.has(CHECKPOINT) && !self.files.is_empty()? {
            return Err(self
                .files
                .occupied("there is something else in it: export to an empty one".to_owned()));
        }
        self.mark(&mark)?;
        Ok(mark)
    }

    fn unreadable(&self, what: &str) -> ExportError {
        self.files
            .occupied(format!("its {what} cannot be read: export to an empty directory"))
    }

    fn must_continue(&self, origin: &str, size: TreeSize, root: Hash) -> Result<(), ExportError> {
        if origin != self.checkpoint.origin() {
            let reason = format!("it holds the log {origin}, not {}", self.checkpoint.origin());
            return Err(self.files.occupied(reason));
        }
        if size > self.checkpoint.size() {
            let reason = format!(
                "it holds {size} entries of this log, which now has {}: the log was cut, or this is an older copy of it",
                self.checkpoint.size()
            );
            return Err(self.files.occupied(reason));
        }
        if self.root_at(size)? != root {
            let reason = format!("it holds another history of this log: the roots at size {size} differ");
            return Err(self.files.occupied(reason));
        }
        Ok(())
    }

    fn root_at(&self, size: TreeSize) -> Result<Hash, ExportError> {
        let nodes = SourceNodes {
            source: self.source,
            size: self.checkpoint.size(),
        };
        let frontier = Frontier::from_nodes(size, &nodes);
        let unreadable = |error: NodeError| SourceError::Unavailable(error.to_string());
        Ok(frontier.map_err(unreadable)?.root())
    }

    fn mark(&mut self, mark: &Mark) -> Result<(), ExportError> {
        let mark = serde_json::to_vec(mark).expect("a mark is plain data");
        self.files.sync()?;
        self.files.write(UNFINISHED, &mark)?;
        self.files.sync()
    }

    /// Bundles, their lines and their leaf hashes.
    fn entries(&mut self, mut mark: Mark, progress: &mut dyn FnMut(u64, u64)) -> Result<(), ExportError> {
        let size = self.checkpoint.size();
        let from = Position(mark.size.get() / TILE_WIDTH * TILE_WIDTH);
        if mark.size == size {
            return Ok(());
        }
        let mut stream = self.source.entries(from, size)?;
        let (mut chunk, mut bundle) = (Chunk::default(), Vec::new());
        let (mut next, mut bundles) = (from, 0);
        while stream.next(&mut chunk)? {
            for item in chunk.iter() {
                bundle.push(match item {
                    Given::Entry(bytes) => Item::Entry(bytes.to_vec()),
                    Given::Withheld(leaf) => Item::Withheld(leaf),
                    Given::Pruned(leaf, by) => Item::Pruned(leaf, by),
                });
                next = next.next();
                if (bundle.len() as u64) < TILE_WIDTH && size.contains(next) {
                    continue;
                }
                self.bundle(next, &bundle)?;
                bundle.clear();
                progress(next.get(), size.get());
                bundles += 1;
                if bundles % BUNDLES_A_MARK == 0 && next.get().is_multiple_of(TILE_WIDTH) {
                    mark.size = next.size_before();
                    mark.root = self.root_at(mark.size)?;
                    self.mark(&mark)?;
                }
            }
        }
        if next.size_before() != size {
            return Err(SourceError::Missing {
                what: format!("the entry at position {next}"),
                position: Some(next),
            }
            .into());
        }
        Ok(())
    }

    /// Writes the bundle that ends before `next`.
    fn bundle(&mut self, next: Position, items: &[Item]) -> Result<(), ExportError> {
        let size = self.checkpoint.size();
        let last = Position(next.get() - 1);
        let bundle = Bundle::holding(last, size).expect("an entry of the log is in one of its bundles");
        let mut lines = Vec::new();
        for (position, item) in (bundle.start().get()..).zip(items) {
            match item {
                Item::Entry(bytes) => lines.extend_from_slice(bytes),
                Item::Withheld(leaf) => {
                    lines.extend_from_slice(withheld_line(leaf, Position(position)).as_bytes())
                }
                Item::Pruned(leaf, by) => {
                    lines.extend_from_slice(pruned_line(leaf, Position(position), *by).as_bytes())
                }
            }
            lines.push(b'\n');
        }
        self.files.write(&lines_path(bundle), &lines)?;
        // No bundle can hold what is withheld or gone.
        let entries: Option<Vec<&[u8]>> = items.iter().map(Item::entry).collect();
        if let Some(entries) = entries {
            let bytes =
                encode_bundle(entries).map_err(|error| SourceError::malformed(bundle.to_string(), error))?;
            self.files.write(&bundle.to_string(), &bytes)?;
        }
        self.leaf_tile(bundle, items)?;
        self.entries += items.len() as u64;
        Ok(())
    }

    /// The tile of leaf hashes, which must be those of the entries: a copy that contradicts itself helps nobody.
    fn leaf_tile(&mut self, bundle: Bundle, items: &[Item]) -> Result<(), ExportError> {
        let tile = bundle.tile();
        let bytes = self.source.tile(tile)?;
        let leaves = parse_tile(&bytes, tile.width())
            .map_err(|error| SourceError::malformed(tile.to_string(), error))?;
        let other = items
            .iter()
            .zip(&leaves)
            .position(|(item, leaf)| item.leaf() != *leaf);
        if let Some(other) = other {
            return Err(SourceError::Malformed {
                what: tile.to_string(),
                position: Some(bundle.start().plus(other as u64)),
                reason: "its hash is not that of the entry: run `daybook verify`".to_owned(),
            }
            .into());
        }
        self.files.write(&tile.to_string(), &bytes)
    }

    /// Tiles from a level on, those since the last finished run. Above the leaves they are one in 256.
    fn tiles(&mut self, lowest: u8) -> Result<(), ExportError> {
        let size = self.checkpoint.size();
        for tile in tiles_since(self.finished, size).filter(|tile| tile.level() >= lowest) {
            let bytes = self.source.tile(tile)?;
            self.files.write(&tile.to_string(), &bytes)?;
        }
        Ok(())
    }

    /// Heads that the checkpoint covers; what is there already is replaced where cosignatures were added.
    fn heads(&mut self) -> Result<u64, ExportError> {
        let mut heads = 0;
        self.rotations()?;
        for date in self.source.head_dates()? {
            let bytes = self.source.head(date)?;
            let covered = TlogProof::parse(&bytes).is_ok_and(|head| head.size() <= self.checkpoint.size());
            if covered {
                heads += 1;
                self.files.write_if_new(&layout::head_path(date), &bytes)?;
                self.beside_head(date)?;
            }
        }
        Ok(heads)
    }

    /// What lies beside a head, as far as the checkpoint covers it.
    fn beside_head(&mut self, date: Date) -> Result<(), ExportError> {
        if let Some(body) = self.source.consistency(date)? {
            self.files.write_if_new(&layout::consistency_path(date), &body)?;
        }
        if let Some(late) = self.source.late_head(date)? {
            let covered = TlogProof::parse(&late).is_ok_and(|late| late.size() <= self.checkpoint.size());
            if covered {
                self.files.write_if_new(&layout::late_path(date), &late)?;
            }
        }
        for kind in ANCHOR_KINDS {
            if let Some(stamp) = self.source.stamp(date, kind)? {
                self.files.write_if_new(&layout::stamp_path(date, kind), &stamp)?;
            }
        }
        Ok(())
    }

    /// Proofs of rotations that the checkpoint covers, and their list.
    fn rotations(&mut self) -> Result<(), ExportError> {
        let mut list = String::new();
        for (path, bytes) in self.source.rotations()? {
            let proof = TlogProof::parse(&bytes).ok();
            let Some(proof) = proof.filter(|proof| proof.size() <= self.checkpoint.size()) else {
                continue;
            };
            self.files.write_if_new(&path, &bytes)?;
            list.push_str(&format!("{}\n", proof.index));
        }
        if !list.is_empty() {
            self.files.write_if_new(layout::ROTATIONS, list.as_bytes())?;
        }
        Ok(())
    }

    /// The checkpoint, and then nothing is left that it does not cover.
    fn finish(&mut self, note: &[u8], mark: &Mark) -> Result<(), ExportError> {
        if let Some(key) = self.source.key_hint()? {
            self.files
                .write_if_new(VERIFIER_KEY, format!("{key}\n").as_bytes())?;
        }
        self.files.sync()?;
        self.files.write_if_new(CHECKPOINT, note)?;
        self.files.sync()?;
        let size = self.checkpoint.size();
        for partial in mark.partial.iter().copied().filter(|partial| *partial != size) {
            for path in partial_files(partial, size) {
                self.files.remove(&path)?;
            }
        }
        self.files.remove(UNFINISHED)
    }
}

/// The partial files of a tree of size `old` that a tree of size `new` has not.
fn partial_files(old: TreeSize, new: TreeSize) -> Vec<String> {
    let mut paths = Vec::new();
    for level in 0..LEVELS {
        let index = (old.get() >> (8 * u32::from(level))) / TILE_WIDTH;
        let tile = Tile::at(level, index, old);
        let gone = tile.filter(|tile| Tile::at(level, index, new) != Some(*tile));
        paths.extend(gone.map(|tile| tile.to_string()));
    }
    let index = old.get() / TILE_WIDTH;
    let bundle = Bundle::at(index, old).filter(|bundle| Bundle::at(index, new) != Some(*bundle));
    paths.extend(
        bundle
            .into_iter()
            .flat_map(|bundle| [bundle.to_string(), lines_path(bundle)]),
    );
    paths
}

enum Item {
    Entry(Vec<u8>),
    Withheld(Hash),
    Pruned(Hash, Position),
}

impl Item {
    fn entry(&self) -> Option<&[u8]> {
        match self {
            Self::Entry(bytes) => Some(bytes),
            Self::Withheld(_) | Self::Pruned(..) => None,
        }
    }

    fn leaf(&self) -> Hash {
        match self {
            Self::Entry(bytes) => leaf_hash(bytes),
            Self::Withheld(leaf) | Self::Pruned(leaf, _) => *leaf,
        }
    }
}

/// The hashes of a source's tiles, believed: what is read leads to a root that is compared.
struct SourceNodes<'a> {
    source: &'a dyn LogSource,
    size: TreeSize,
}

impl NodeReader for SourceNodes<'_> {
    fn read(&self, tile_level: u8, index: u64, count: usize, out: &mut Vec<Hash>) -> Result<(), NodeError> {
        let missing = NodeError::Missing { tile_level, index };
        let tile = Tile::at(tile_level, index / TILE_WIDTH, self.size).ok_or(missing.clone())?;
        let unavailable = |error: SourceError| NodeError::Unavailable(error.to_string());
        let bytes = self.source.tile(tile).map_err(unavailable)?;
        let hashes =
            parse_tile(&bytes, tile.width()).map_err(|error| NodeError::Unavailable(error.to_string()))?;
        let start = (index - tile.start()) as usize;
        out.extend_from_slice(hashes.get(start..start + count).ok_or(missing)?);
        Ok(())
    }
}

/// The directory that is written to.
struct Files {
    dir: PathBuf,
    written: u64,
    /// Written but perhaps not on disk yet.
    unsynced: Vec<PathBuf>,
}

impl Files {
    /// `mode` is that of the directory, where it is made.
    fn open(dir: &Path, mode: u32) -> Result<Self, ExportError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
        #[cfg(not(unix))]
        let _ = mode;
        builder.create(dir).map_err(io_error(dir))?;
        Ok(Self {
            dir: dir.to_owned(),
            written: 0,
            unsynced: Vec::new(),
        })
    }

    fn occupied(&self, reason: String) -> ExportError {
        ExportError::Occupied {
            dir: self.dir.clone(),
            reason,
        }
    }

    fn is_empty(&self) -> Result<bool, ExportError> {
        let mut there = fs::read_dir(&self.dir).map_err(io_error(&self.dir))?;
        Ok(there.next().is_none())
    }

    fn has(&self, path: &str) -> bool {
        self.dir.join(path).exists()
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, ExportError> {
        let path = self.dir.join(path);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ExportError::Io { path, error }),
        }
    }

    /// Writes a file whole or not at all. It is on disk after [`Files::sync`].
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.dir.join(path);
        let folder = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        let mut name = path.clone().into_os_string();
        name.push(".new");
        let new = PathBuf::from(name);
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&new)?;
            file.write_all(bytes)?;
            // What replaces something must be whole before it does.
            if path.exists() {
                file.sync_all()?;
            }
            fs::rename(&new, &path)
        };
        write().map_err(io_error(&path))?;
        self.written += 1;
        self.unsynced.push(path);
        Ok(())
    }

    fn write_if_new(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
        if self.read(path)?.as_deref() == Some(bytes) {
            return Ok(());
        }
        self.write(path, bytes)
    }

    /// Everything written so far is on disk, and so are its names.
    fn sync(&mut self) -> Result<(), ExportError> {
        let mut folders = BTreeSet::new();
        for path in self.unsynced.drain(..) {
            let synced = fs::File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(io_error(&path))?;
            folders.extend(path.parent().map(Path::to_owned));
        }
        for folder in folders {
            let synced = fs::File::open(&folder).and_then(|folder| folder.sync_all());
            synced.map_err(io_error(&folder))?;
        }
        Ok(())
    }

    /// Removes a file, and the folder of partial files that it leaves empty.
    fn remove(&self, path: &str) -> Result<(), ExportError> {
        let path = self.dir.join(path);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(ExportError::Io { path, error }),
        }
        if let Some(folder) = path.parent().filter(|folder| *folder != self.dir) {
            // It may hold others.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ExportError + use<> {
    let path = path.to_owned();
    move |error| ExportError::Io { path, error }
}
