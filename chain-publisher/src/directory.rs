//! A log in tlog-tiles layout on disk: an export, or what any C2SP mirror fetched.
//!
//! Invariants: every byte of a bundle and of its lines is read and the two are held against each other; where one of
//! them is damaged the other gives the entries, and the damage is a flaw with its position.
//! Not here: writing it (`export`), its file names (`layout`), believing it (`verify`).

use crate::anchor::{ANCHOR_BYTES_MAX, ANCHOR_KINDS, AnchorKind};
use crate::layout::{
    self, CHECKPOINT, HEADS, Line, ROTATIONS, UNFINISHED, VERIFIER_KEY, lines_path, parse_line,
};
use crate::source::{Chunk, EntryStream, Flaw, LogSource, SourceError};
use domain::add_checkpoint::ADD_CHECKPOINT_BYTES_MAX;
use domain::note::NOTE_BYTES_MAX;
use domain::tile::{BUNDLE_ENTRY_BYTES_MAX, Bundle, Tile, TilePath, bundles_since, parse_bundle};
use domain::tlog_proof::TLOG_PROOF_BYTES_MAX;
use domain::{Date, Position, TreeSize};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The largest bundle: 256 of the largest entries with their lengths.
const BUNDLE_BYTES_MAX: usize = 256 * (BUNDLE_ENTRY_BYTES_MAX + 2);
/// The largest tile.
const TILE_BYTES_MAX: usize = 256 * 32;
/// The largest list of rotations: a thousand positions.
pub(crate) const ROTATIONS_BYTES_MAX: usize = 1_000 * 21;
/// The largest key file.
const KEY_BYTES_MAX: usize = 4096;
/// Files that do not belong there are named up to this many.
const STRANGERS_MAX: usize = 20;

/// A directory with a log.
#[derive(Debug, Clone)]
pub struct Directory {
    dir: PathBuf,
}

impl Directory {
    /// The log in `dir`.
    ///
    /// # Errors
    /// `Unavailable` if it is no directory, or has no checkpoint.
    pub fn open(dir: &Path) -> Result<Self, SourceError> {
        let this = Self { dir: dir.to_owned() };
        let unusable = |what: &str| SourceError::Unavailable(format!("{}: {what}", dir.display()));
        if dir.is_file() {
            return Err(unusable(
                "this is a file: a log is a directory, such as `daybook export` writes, or a URL; a pack has a command of its own",
            ));
        }
        if !dir.is_dir() {
            return Err(unusable("there is no such directory"));
        }
        if !dir.join(CHECKPOINT).exists() {
            let unfinished = dir.join(UNFINISHED).exists();
            return Err(unusable(if unfinished {
                "the export is not finished and has no checkpoint: run `daybook export` again"
            } else {
                "no log in tlog-tiles layout: it has no file `checkpoint`"
            }));
        }
        Ok(this)
    }

    fn read(&self, path: &str, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, path, bytes_max)?;
        Ok(bytes)
    }

    /// Reads a file into memory that was used before.
    fn read_into(&self, bytes: &mut Vec<u8>, path: &str, bytes_max: usize) -> Result<(), SourceError> {
        bytes.clear();
        let unreadable = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => SourceError::missing(path),
            _ => SourceError::Unavailable(format!("{}: {error}", self.dir.join(path).display())),
        };
        let file = File::open(self.dir.join(path)).map_err(unreadable)?;
        // A hint for the room that it takes, which is grown otherwise.
        let says = file.metadata().map_or(0, |metadata| metadata.len());
        bytes.reserve(says.min(bytes_max as u64) as usize + 1);
        // One byte more than allowed tells a larger file.
        let limit = bytes_max as u64 + 1;
        file.take(limit).read_to_end(bytes).map_err(unreadable)?;
        if bytes.len() > bytes_max {
            return Err(SourceError::malformed(
                path,
                format_args!("larger than {bytes_max} bytes"),
            ));
        }
        Ok(())
    }

    fn read_if_there(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, SourceError> {
        match self.read(path, bytes_max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(SourceError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl LogSource for Directory {
    fn describe(&self) -> String {
        format!("the copy in {}", self.dir.display())
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
        self.read(CHECKPOINT, NOTE_BYTES_MAX).map(Some)
    }

    fn key_hint(&self) -> Result<Option<String>, SourceError> {
        let bytes = match self.read(VERIFIER_KEY, KEY_BYTES_MAX) {
            Err(SourceError::Missing { .. }) => return Ok(None),
            other => other?,
        };
        let text = String::from_utf8(bytes).ok();
        let line = text.as_deref().and_then(|text| text.strip_suffix('\n'));
        let line = line.ok_or_else(|| SourceError::malformed(VERIFIER_KEY, "not one line"))?;
        Ok(Some(line.to_owned()))
    }

    fn head_dates(&self) -> Result<Vec<Date>, SourceError> {
        let mut dates = Vec::new();
        for year in list(&self.dir.join(HEADS))? {
            for file in list(&year)? {
                let name = file.file_name().and_then(|name| name.to_str());
                dates.extend(name.and_then(layout::head_date));
            }
        }
        dates.sort_unstable();
        dates.dedup();
        Ok(dates)
    }

    fn head(&self, date: Date) -> Result<Vec<u8>, SourceError> {
        self.read(&layout::head_path(date), TLOG_PROOF_BYTES_MAX)
    }

    fn late_head(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.read_if_there(&layout::late_path(date), TLOG_PROOF_BYTES_MAX)
    }

    fn consistency(&self, date: Date) -> Result<Option<Vec<u8>>, SourceError> {
        self.read_if_there(&layout::consistency_path(date), ADD_CHECKPOINT_BYTES_MAX)
    }

    fn stamp(&self, date: Date, kind: AnchorKind) -> Result<Option<Vec<u8>>, SourceError> {
        self.read_if_there(&layout::stamp_path(date, kind), ANCHOR_BYTES_MAX)
    }

    fn rotations(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let Some(list) = self.read_if_there(ROTATIONS, ROTATIONS_BYTES_MAX)? else {
            return Ok(Vec::new());
        };
        let positions =
            layout::parse_rotations(&list).map_err(|why| SourceError::malformed(ROTATIONS, why))?;
        let proof = |at: Position| {
            let path = layout::rotation_path(at);
            self.read(&path, TLOG_PROOF_BYTES_MAX).map(|bytes| (path, bytes))
        };
        positions.into_iter().map(proof).collect()
    }

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        self.read(&tile.to_string(), TILE_BYTES_MAX)
    }

    fn entries(&self, from: Position, size: TreeSize) -> Result<Box<dyn EntryStream + '_>, SourceError> {
        Ok(Box::new(Bundles {
            directory: self,
            bundles: Box::new(bundles_since(from.size_before(), size)),
            lines: Vec::new(),
        }))
    }

    fn strangers(&self, size: TreeSize) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.dir, &mut |path| {
            let name = path.strip_prefix(&self.dir).unwrap_or(path).to_string_lossy();
            let name = name.replace(std::path::MAIN_SEPARATOR, "/");
            if !belongs(&name, size) {
                found.push(name);
            }
            found.len() < STRANGERS_MAX
        });
        found.sort();
        found
    }
}

/// Whether a log of that size has this file, and so its bytes are checked.
fn belongs(name: &str, size: TreeSize) -> bool {
    let bundle = |bundle: Bundle| Bundle::at(bundle.index(), size) == Some(bundle);
    match TilePath::parse(name) {
        Ok(TilePath::Hashes(tile)) => return Tile::at(tile.level(), tile.index(), size) == Some(tile),
        Ok(TilePath::Entries(entries)) => return bundle(entries),
        Err(_) => {}
    }
    if let Some(lines) = layout::parse_lines_path(name) {
        return bundle(lines);
    }
    let rotation = name
        .strip_prefix("keys/")
        .and_then(|name| name.strip_suffix(".tlog-proof"));
    let rotation = rotation.and_then(|position| position.parse().ok().map(Position));
    if rotation.is_some_and(|at| size.contains(at) && layout::rotation_path(at) == name) || name == ROTATIONS
    {
        return true;
    }
    let stamped = |kind: AnchorKind| {
        let file = name
            .rsplit('/')
            .next()
            .and_then(|file| file.strip_suffix(kind.ending())?.strip_suffix('.'));
        let date = file.and_then(|text| Date::parse(text).ok());
        date.is_some_and(|date| layout::stamp_path(date, kind) == name)
    };
    if ANCHOR_KINDS.into_iter().any(stamped) {
        return true;
    }
    let head = name.rsplit('/').next().and_then(layout::head_date);
    let beside = name.rsplit('/').next().and_then(layout::beside_head_date);
    head.is_some_and(|date| layout::head_path(date) == name)
        || beside.is_some_and(|date| {
            [layout::late_path(date), layout::consistency_path(date)]
                .iter()
                .any(|path| path == name)
        })
        || matches!(name, CHECKPOINT | VERIFIER_KEY)
}

/// Calls `visit` with every file below, in no order, until it says no.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path) -> bool) -> bool {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    found.into_iter().all(|found| {
        let path = found.path();
        // What kind it is stands in the folder itself; only a link has to be looked up.
        let is_dir = |kind: std::fs::FileType| kind.is_dir() || (kind.is_symlink() && path.is_dir());
        if found.file_type().is_ok_and(is_dir) {
            walk(&path, visit)
        } else {
            visit(&path)
        }
    })
}

/// What is in a folder; nothing where there is none.
fn list(dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |error: std::io::Error| SourceError::Unavailable(format!("{}: {error}", dir.display()));
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(unreadable))
        .collect()
}

/// Bundles with their lines, one after the other.
struct Bundles<'a> {
    directory: &'a Directory,
    bundles: Box<dyn Iterator<Item = Bundle> + Send + 'a>,
    /// Of the bundle before; its memory is used again.
    lines: Vec<u8>,
}

impl EntryStream for Bundles<'_> {
    fn next(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        chunk.clear();
        let Some(bundle) = self.bundles.next() else {
            return Ok(false);
        };
        let read = |bytes: &mut Vec<u8>, path: &str| self.directory.read_into(bytes, path, BUNDLE_BYTES_MAX);
        let mut binary = chunk.take_memory();
        let found = read(&mut binary, &bundle.to_string()).map(|()| binary);
        let lines = read(&mut self.lines, &lines_path(bundle)).map(|()| &*self.lines);
        match (found, lines) {
            (Err(error @ SourceError::Unavailable(_)), _) | (_, Err(error @ SourceError::Unavailable(_))) => {
                Err(error)
            }
            (binary, lines) => take(bundle, binary, lines, chunk).map(|()| true),
        }
    }
}

/// Takes a bundle's entries from whichever of the two files is whole, and holds the other against them.
fn take(
    bundle: Bundle,
    binary: Result<Vec<u8>, SourceError>,
    lines: Result<&[u8], SourceError>,
    chunk: &mut Chunk,
) -> Result<(), SourceError> {
    let (name, lines_name) = (bundle.to_string(), lines_path(bundle));
    let entries = match &binary {
        Ok(bytes) => parse_bundle(bytes, bundle.width()).map_err(|error| SourceError::Malformed {
            what: name.clone(),
            position: Some(bundle.start()),
            reason: error.to_string(),
        }),
        Err(error) => Err(error.clone()),
    };
    if let Ok(entries) = &entries {
        match &lines {
            Ok(found) if are_lines_of(entries, found) => {}
            Ok(found) => chunk.flaws.push(Flaw {
                position: Some(first_other_line(bundle, &join_lines(entries), found)),
                what: format!("{lines_name} does not hold the entries of {name}"),
            }),
            Err(error) => chunk.flaws.push(flaw(bundle, error)),
        }
        let ranges = ranges_of(entries);
        chunk.hold(binary.unwrap_or_default(), &ranges);
        return Ok(());
    }
    let items = match &lines {
        Ok(bytes) => parse_lines(bundle, bytes).ok(),
        Err(_) => None,
    };
    let (Some(items), Err(error)) = (items, entries) else {
        return Err(missing_entries(bundle, binary.err(), lines.err()));
    };
    let whole: Vec<&[u8]> = items.iter().filter_map(entry_of).collect();
    match &binary {
        Ok(found) => chunk.flaws.push(Flaw {
            position: Some(first_other_entry(bundle, &whole, found)),
            what: format!("{name} does not hold the entries of {lines_name}: {error}"),
        }),
        // No bundle can hold what is withheld or gone.
        Err(SourceError::Missing { .. }) if whole.len() < items.len() => {}
        Err(error) => chunk.flaws.push(flaw(bundle, error)),
    }
    for item in &items {
        match item {
            Line::Entry(entry) => chunk.push(entry),
            Line::Withheld(leaf) => chunk.push_withheld(leaf),
            Line::Pruned(leaf, by) => chunk.push_pruned(leaf, *by),
        }
    }
    Ok(())
}

/// Neither of the two files gives the entries.
fn missing_entries(bundle: Bundle, binary: Option<SourceError>, lines: Option<SourceError>) -> SourceError {
    let files = format!("{bundle} and {}", lines_path(bundle));
    let position = Some(bundle.start());
    match (binary, lines) {
        (Some(SourceError::Missing { .. }), Some(SourceError::Missing { .. })) => SourceError::Missing {
            what: files,
            position,
        },
        _ => SourceError::Malformed {
            what: files,
            position,
            reason: "both are damaged or missing".to_owned(),
        },
    }
}

fn entry_of<'a>(line: &Line<'a>) -> Option<&'a [u8]> {
    match line {
        Line::Entry(entry) => Some(entry),
        Line::Withheld(_) | Line::Pruned(..) => None,
    }
}

fn flaw(bundle: Bundle, error: &SourceError) -> Flaw {
    Flaw {
        position: Some(bundle.start()),
        what: error.to_string(),
    }
}

/// The position of the first line that is another one.
fn first_other_line(bundle: Bundle, expected: &[u8], found: &[u8]) -> Position {
    let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let before = expected[..same].iter().filter(|byte| **byte == b'\n').count();
    last_or_before(bundle, before as u64)
}

/// The first entry of a damaged bundle that is not the right one.
fn first_other_entry(bundle: Bundle, entries: &[&[u8]], found: &[u8]) -> Position {
    let mut rest = found;
    let mut same = 0;
    for entry in entries {
        let length = (entry.len() as u16).to_be_bytes();
        match rest
            .strip_prefix(&length)
            .and_then(|rest| rest.strip_prefix(*entry))
        {
            Some(after) => (rest, same) = (after, same + 1),
            None => break,
        }
    }
    last_or_before(bundle, same)
}

fn last_or_before(bundle: Bundle, offset: u64) -> Position {
    bundle.start().plus(offset.min(u64::from(bundle.width()) - 1))
}

/// Where the entries of a bundle stand in it, each behind two bytes of length.
fn ranges_of(entries: &[&[u8]]) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |entry: &&[u8]| {
        let start = end + size_of::<u16>();
        end = start + entry.len();
        start..end
    };
    entries.iter().map(range).collect()
}

/// Whether these are the entries, each with a line feed behind it, and nothing else.
fn are_lines_of(entries: &[&[u8]], found: &[u8]) -> bool {
    let mut rest = found;
    for entry in entries {
        match rest
            .strip_prefix(*entry)
            .and_then(|rest| rest.strip_prefix(b"\n"))
        {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

fn join_lines(entries: &[&[u8]]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(entries.iter().map(|entry| entry.len() + 1).sum());
    for entry in entries {
        lines.extend_from_slice(entry);
        lines.push(b'\n');
    }
    lines
}

/// A bundle's lines: as many as it is wide, each ended.
fn parse_lines(bundle: Bundle, bytes: &[u8]) -> Result<Vec<Line<'_>>, (Position, String)> {
    let mut items = Vec::with_capacity(bundle.width().into());
    let mut rest = bytes;
    for offset in 0..u64::from(bundle.width()) {
        let position = bundle.start().plus(offset);
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| (position, "the lines end too early".to_owned()))?;
        items.push(parse_line(&rest[..end], position).map_err(|reason| (position, reason))?);
        rest = &rest[end + 1..];
    }
    if rest.is_empty() {
        Ok(items)
    } else {
        let last = bundle.start().plus(u64::from(bundle.width()) - 1);
        Err((last, "something follows the last line".to_owned()))
    }
}
