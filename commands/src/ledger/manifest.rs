//! The manifest: which files are the ledger, and how far each of them counts.
//!
//! *Ground.* Invariants: the segments cover the positions from 0 without gaps; only the last is open; what a
//! segment holds behind its stated bytes is not part of the ledger. It is the only commit point of everything but
//! an append: a new segment, a sealed segment, the end of a segment whose write failed.
//! It stands twice. The copy is replaced first, so that when `manifest` itself is damaged the copy is never older,
//! and every file it names exists: files are made before either says so and removed after both say so.
//! Not here: what is in the files (`segment`, `sealed`), who changes it (`writer`, `seal`).

use super::blob::{self, Blob, ReplaceError};
use super::disk::Disk;
use domain::Hash;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Its name in the ledger's folder.
pub const NAME: &str = "manifest";
/// The copy's name.
pub const COPY_NAME: &str = "manifest.copy";
/// First line of its text.
const VERSION: &str = "daybook/manifest/v1";

/// Which files are the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Rises by one with each change.
    pub generation: u64,
    /// In order of position; the last one is open.
    pub segments: Vec<SegmentRecord>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRecord {
    /// Names its files.
    pub number: u32,
    /// Its first position.
    pub first: u64,
    /// What it is by now.
    pub state: SegmentState,
}

/// What a segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentState {
    /// Appended to.
    Open,
    /// Never appended to again, not sealed yet.
    Full {
        /// The tree's size after its last entry.
        end: u64,
        /// The root at that size.
        root: Hash,
        /// Where its last frame ends.
        bytes: u64,
    },
    /// Rewritten class by class.
    Sealed {
        /// The tree's size after its last entry.
        end: u64,
        /// The root at that size.
        root: Hash,
        /// One file a class.
        files: Vec<SealedRecord>,
    },
}

/// One sealed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    /// The class of all its entries.
    pub class: String,
    /// How many they are.
    pub entries: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 over every byte before the checksum that ends the file.
    pub checksum: Hash,
}

impl SegmentRecord {
    /// The tree's size after the segment; `None` while it is open.
    pub fn end(&self) -> Option<u64> {
        match &self.state {
            SegmentState::Open => None,
            SegmentState::Full { end, .. } | SegmentState::Sealed { end, .. } => Some(*end),
        }
    }

    /// The root after the segment; `None` while it is open.
    pub fn root(&self) -> Option<Hash> {
        match &self.state {
            SegmentState::Open => None,
            SegmentState::Full { root, .. } | SegmentState::Sealed { root, .. } => Some(*root),
        }
    }

    /// Whether its entries stand in frames.
    pub fn is_plain(&self) -> bool {
        !matches!(self.state, SegmentState::Sealed { .. })
    }
}

/// What was found at opening.
#[derive(Debug)]
pub enum Loaded {
    /// The manifest; `same_copy` says whether the copy is the same.
    Manifest {
        /// What counts.
        manifest: Manifest,
        /// Whether both files are whole and the same.
        both: bool,
    },
    /// Neither file is there.
    Missing,
    /// Neither file can be believed.
    Damaged,
}

impl Manifest {
    /// Of an empty ledger.
    pub fn new() -> Self {
        Self {
            generation: 0,
            segments: vec![SegmentRecord {
                number: 0,
                first: 0,
                state: SegmentState::Open,
            }],
        }
    }

    /// The root before the `index`-th segment.
    pub fn root_before(&self, index: usize) -> Hash {
        index
            .checked_sub(1)
            .and_then(|before| self.segments[before].root())
            .unwrap_or_else(Hash::empty_root)
    }

    /// Reads it, or its copy where it is damaged.
    pub fn load(disk: &dyn Disk, dir: &Path) -> io::Result<Loaded> {
        let main = blob::load(disk, &dir.join(NAME))?;
        let copy = blob::load(disk, &dir.join(COPY_NAME))?;
        if main == Blob::Missing && copy == Blob::Missing {
            return Ok(Loaded::Missing);
        }
        let parsed = |blob: &Blob| match blob {
            Blob::Whole(bytes) => Self::parse(bytes),
            Blob::Damaged | Blob::Missing => None,
        };
        let both = main == copy;
        // Without `manifest` its copy may be the trace of a first start that did not finish: it counts as well.
        Ok(match parsed(&main).or_else(|| parsed(&copy)) {
            Some(manifest) => Loaded::Manifest { manifest, both },
            None => Loaded::Damaged,
        })
    }

    /// Makes this the manifest.
    pub fn store(&self, disk: &dyn Disk, dir: &Path) -> Result<(), ReplaceError> {
        let text = self.to_text();
        blob::replace(disk, &dir.join(COPY_NAME), text.as_bytes())?;
        // From here on the copy may already say something new, so that a failure leaves the outcome open.
        blob::replace(disk, &dir.join(NAME), text.as_bytes()).map_err(|error| match error {
            ReplaceError::Before(error) | ReplaceError::Unknown(error) => ReplaceError::Unknown(error),
        })
    }

    fn to_text(&self) -> String {
        let mut text = format!("{VERSION}\ngeneration {}\n", self.generation);
        for segment in &self.segments {
            let _ = write!(text, "segment {} first {}", segment.number, segment.first);
            match &segment.state {
                SegmentState::Open => text.push_str(" open\n"),
                SegmentState::Full { end, root, bytes } => {
                    let _ = writeln!(text, " full end {end} root {root} bytes {bytes}");
                }
                SegmentState::Sealed { end, root, files } => {
                    let _ = writeln!(text, " sealed end {end} root {root}");
                    for file in files {
                        let _ = writeln!(
                            text,
                            "file {} entries {} bytes {} sha256 {}",
                            file.class, file.entries, file.bytes, file.checksum
                        );
                    }
                }
            }
        }
        text
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        if lines.next()? != VERSION {
            return None;
        }
        let generation = lines.next()?.strip_prefix("generation ")?.parse().ok()?;
        let mut segments: Vec<SegmentRecord> = Vec::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["segment", number, "first", first, ref rest @ ..] => segments.push(SegmentRecord {
                    number: number.parse().ok()?,
                    first: first.parse().ok()?,
                    state: parse_state(rest)?,
                }),
                [
                    "file",
                    class,
                    "entries",
                    entries,
                    "bytes",
                    bytes,
                    "sha256",
                    checksum,
                ] => {
                    let SegmentState::Sealed { files, .. } = &mut segments.last_mut()?.state else {
                        return None;
                    };
                    files.push(SealedRecord {
                        class: class.to_owned(),
                        entries: entries.parse().ok()?,
                        bytes: bytes.parse().ok()?,
                        checksum: Hash::from_base64(checksum)?,
                    });
                }
                _ => return None,
            }
        }
        let manifest = Self { generation, segments };
        manifest.holds_together().then_some(manifest)
    }

    fn holds_together(&self) -> bool {
        let follow = self
            .segments
            .windows(2)
            .all(|pair| pair[0].end() == Some(pair[1].first) && pair[0].number < pair[1].number);
        follow
            && self.segments.first().is_some_and(|s| s.first == 0)
            && self
                .segments
                .last()
                .is_some_and(|s| s.state == SegmentState::Open)
    }
}

fn parse_state(words: &[&str]) -> Option<SegmentState> {
    match words {
        ["open"] => Some(SegmentState::Open),
        ["full", "end", end, "root", root, "bytes", bytes] => Some(SegmentState::Full {
            end: end.parse().ok()?,
            root: Hash::from_base64(root)?,
            bytes: bytes.parse().ok()?,
        }),
        ["sealed", "end", end, "root", root] => Some(SegmentState::Sealed {
            end: end.parse().ok()?,
            root: Hash::from_base64(root)?,
            files: Vec::new(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        Manifest {
            generation: 7,
            segments: vec![
                SegmentRecord {
                    number: 0,
                    first: 0,
                    state: SegmentState::Sealed {
                        end: 10,
                        root: Hash([1; 32]),
                        files: vec![SealedRecord {
                            class: "reading".into(),
                            entries: 10,
                            bytes: 1234,
                            checksum: Hash([2; 32]),
                        }],
                    },
                },
                SegmentRecord {
                    number: 1,
                    first: 10,
                    state: SegmentState::Full {
                        end: 10,
                        root: Hash([1; 32]),
                        bytes: 64,
                    },
                },
                SegmentRecord {
                    number: 3,
                    first: 10,
                    state: SegmentState::Open,
                },
            ],
        }
    }

    #[test]
    fn a_manifest_reads_as_it_was_written() {
        for manifest in [Manifest::new(), example()] {
            assert_eq!(Manifest::parse(manifest.to_text().as_bytes()), Some(manifest));
        }
    }

    #[test]
    fn a_manifest_with_a_gap_or_two_open_segments_is_refused() {
        let text = example().to_text();
        for (from, to) in [
            ("first 10 full", "first 11 full"),
            ("first 10 full", "first 9 full"),
            (" sealed end 10", " sealed end 12"),
            ("segment 0 first 0", "segment 0 first 1"),
            ("segment 3", "segment 1"),
            ("v1", "v2"),
            ("entries 10", "entries x"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert_eq!(Manifest::parse(changed.as_bytes()), None, "{from} -> {to}");
        }
    }
}
