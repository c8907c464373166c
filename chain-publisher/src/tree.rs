//! The tree of a log behind its latest checkpoint, for questions that need no entry: which root at which size, which
//! leaf hash at which position.
//!
//! Invariants: nothing is read out of tiles that was not tied to the checkpoint's root first; the checkpoint was checked
//! with the keys that the asker has, where they have any.
//! Source: C2SP tlog-tiles v0.1.0; FORMAT §8 (TRUNCATED, FORKED).
//! Not here: authenticating tiles (`domain::tile_reader`), whole logs (`verify`).

use crate::evidence::{Witnesses, known_roots};
use crate::report::{KeysFrom, Report};
use crate::rotations::follow;
use crate::source::{Chunk, Flaw, Given, LogSource, SourceError};
use crate::verify::{VerifyError, VerifySettings, own_checkpoint};
use domain::checkpoint::SignedCheckpoint;
use domain::hash::leaf_hash;
use domain::merkle::{Frontier, NodeError, TILE_WIDTH};
use domain::rotation::Rotation;
use domain::tile::Tile;
use domain::tile_reader::{TileReader, TileSource};
use domain::verify::Verdict;
use domain::{Hash, Position, TreeSize};

/// Tiles as the source gives them, unchecked.
struct Tiles<'a>(&'a dyn LogSource);

impl TileSource for Tiles<'_> {
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, NodeError> {
        let (tile_level, index) = (tile.level(), tile.start());
        self.0.tile(tile).map_err(|error| match error {
            SourceError::Missing { .. } => NodeError::Missing { tile_level, index },
            SourceError::Malformed { reason, .. } => NodeError::Corrupt {
                tile_level,
                index,
                reason,
            },
            SourceError::Unavailable(why) => NodeError::Unavailable(why),
        })
    }
}

/// Why something of a tree is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeError {
    /// The source does not answer.
    Source(SourceError),
    /// What it answers is not the tree that it signed.
    Flaw(Flaw),
}

impl From<NodeError> for TreeError {
    fn from(error: NodeError) -> Self {
        let what = error.to_string();
        match error {
            NodeError::Unavailable(why) => Self::Source(SourceError::Unavailable(why)),
            NodeError::Missing { tile_level, index }
            | NodeError::Corrupt {
                tile_level, index, ..
            } => {
                let position = index.checked_shl(8 * u32::from(tile_level)).map(Position);
                Self::Flaw(Flaw { position, what })
            }
        }
    }
}

impl TreeError {
    /// A flaw is a finding; no answer is none.
    pub(crate) fn told(self, report: &mut Report) -> Result<(), VerifyError> {
        match self {
            Self::Source(error) => Err(error.into()),
            Self::Flaw(flaw) => {
                report.tampered(flaw);
                Ok(())
            }
        }
    }
}

/// A log's tree at its latest checkpoint.
pub struct SignedTree<'a> {
    source: &'a dyn LogSource,
    origin: String,
    settings: VerifySettings,
    signed: SignedCheckpoint,
    witnesses: Witnesses,
    reader: TileReader<Tiles<'a>>,
}

impl<'a> SignedTree<'a> {
    /// Fetches checkpoint and rightmost tiles, and says in `report` what log it is. `None` where they do not hold, which
    /// is then a finding.
    ///
    /// # Errors
    /// [`VerifyError`] where the source does not answer or has no checkpoint yet.
    pub fn open(
        source: &'a dyn LogSource,
        settings: &VerifySettings,
        report: &mut Report,
    ) -> Result<Option<Self>, VerifyError> {
        match newest(source, report)? {
            Some(signed) => Self::at(source, signed, settings, report),
            None => Ok(None),
        }
    }

    /// As [`SignedTree::open`], of a checkpoint that was fetched.
    ///
    /// # Errors
    /// As [`SignedTree::open`].
    pub fn at(
        source: &'a dyn LogSource,
        signed: SignedCheckpoint,
        settings: &VerifySettings,
        report: &mut Report,
    ) -> Result<Option<Self>, VerifyError> {
        let origin = settings.origin_of(Some(&signed))?;
        report.origin = Some(origin.clone());
        let settings = &follow(settings, &origin, Some(source), Some(&signed), report)?;
        let Some(witnesses) = signatures(&origin, &signed, settings, report) else {
            return Ok(None);
        };
        let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
        (report.size, report.root, report.signed) = (size, root, Some(size));
        match TileReader::open(Tiles(source), size, &root) {
            Ok(reader) => {
                let this = Self {
                    source,
                    origin,
                    settings: settings.clone(),
                    signed,
                    witnesses,
                    reader,
                };
                let agrees = match &settings.covering {
                    Some(it) => this.agrees(it.size, &it.root, &it.name, report)?,
                    None => true,
                };
                Ok(agrees.then_some(this))
            }
            Err(error) => TreeError::from(error).told(report).map(|()| None),
        }
    }

    /// Which log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The rotations that lead from the asker's key to the one that signed.
    pub fn rotations(&self) -> &[Rotation] {
        &self.settings.trust.rotations
    }

    /// How many entries.
    pub fn size(&self) -> TreeSize {
        self.reader.size()
    }

    /// Its root at a size that it has reached.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn root_at(&self, size: TreeSize) -> Result<Hash, TreeError> {
        if size == self.size() {
            return Ok(self.signed.checkpoint().root());
        }
        Ok(Frontier::from_nodes(size, &self.reader)?.root())
    }

    /// The leaf hash at a position below its size.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn leaf(&self, position: Position) -> Result<Hash, TreeError> {
        Ok(self.reader.leaf(position)?)
    }

    /// The bytes of the entry there, checked against the tree; `None` where it is withheld.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn entry(&self, position: Position) -> Result<Option<Vec<u8>>, TreeError> {
        let mut found = None;
        self.entries_from(position, &mut |_, given| {
            if let Given::Entry(bytes) = given {
                found = Some(bytes.to_vec());
            }
            false
        })?;
        Ok(found)
    }

    /// Calls `visit` with every entry from there on, checked against the tree, until it says no. Nothing where the
    /// source shows no entries at all.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn entries_from(
        &self,
        position: Position,
        visit: &mut dyn FnMut(Position, Given<'_>) -> bool,
    ) -> Result<(), TreeError> {
        if self.source.withholds_entries().is_some() {
            return Ok(());
        }
        let mut at = Position(position.get() / TILE_WIDTH * TILE_WIDTH);
        let mut stream = self.source.entries(at, self.size()).map_err(unreadable)?;
        let mut chunk = Chunk::default();
        while stream.next(&mut chunk).map_err(unreadable)? {
            for given in chunk.iter() {
                if at >= position {
                    self.check_entry(at, given)?;
                    if !visit(at, given) {
                        return Ok(());
                    }
                }
                at = at.next();
            }
        }
        Ok(())
    }

    fn check_entry(&self, at: Position, given: Given<'_>) -> Result<(), TreeError> {
        let leaf = match given {
            Given::Entry(bytes) => leaf_hash(bytes),
            Given::Withheld(leaf) | Given::Pruned(leaf, _) => leaf,
        };
        if self.leaf(at)? == leaf {
            return Ok(());
        }
        Err(TreeError::Flaw(Flaw {
            position: Some(at),
            what: "the entry is not the one that the signed root commits to".to_owned(),
        }))
    }

    /// Holds it against everything that was kept elsewhere, and gives the size up to which somebody outside confirms it.
    ///
    /// # Errors
    /// [`VerifyError`] where the source does not answer, or what was kept cannot be used.
    pub fn hold_against_evidence(
        &self,
        settings: &VerifySettings,
        report: &mut Report,
    ) -> Result<TreeSize, VerifyError> {
        let mut anchored = TreeSize::EMPTY;
        if self.witnesses.quorum {
            anchored = self.size();
        }
        // Whose signatures count was followed over the rotations when the tree was opened.
        for known in known_roots(&settings.evidence, &self.origin, &self.settings.trust)? {
            report.evidence.push(known.source.clone());
            if self.agrees(known.size, &known.root, &known.source, report)? {
                anchored = anchored.max(known.size);
            }
        }
        report.anchored = if settings.trust.is_known() {
            anchored
        } else {
            TreeSize::EMPTY
        };
        Ok(report.anchored)
    }

    /// Whether it had that root at that size, as `who` says; that it had not is a finding.
    ///
    /// # Errors
    /// [`VerifyError`] where the source does not answer.
    pub fn agrees(
        &self,
        size: TreeSize,
        root: &Hash,
        who: &str,
        report: &mut Report,
    ) -> Result<bool, VerifyError> {
        if size > self.size() {
            report.or_worse(Verdict::Truncated {
                size: self.size(),
                known: size,
                what: who.to_owned(),
            });
            return Ok(false);
        }
        match self.root_at(size) {
            Ok(found) if found == *root => Ok(true),
            Ok(found) => {
                report.or_worse(Verdict::Forked {
                    size,
                    what: format!("{who} has the root {root}, this log {found}"),
                });
                Ok(false)
            }
            Err(error) => error.told(report).map(|()| false),
        }
    }
}

/// The latest checkpoint of a log; `None` where it is none, which is then a finding.
///
/// # Errors
/// [`VerifyError`] where the source does not answer or has signed nothing yet.
pub(crate) fn newest(
    source: &dyn LogSource,
    report: &mut Report,
) -> Result<Option<SignedCheckpoint>, VerifyError> {
    let signed = own_checkpoint(source, report)?;
    if signed.is_none() && report.findings.is_empty() {
        let nothing = format!("{} has signed nothing yet", source.describe());
        return Err(SourceError::Unavailable(nothing).into());
    }
    Ok(signed)
}

fn unreadable(error: SourceError) -> TreeError {
    let what = error.to_string();
    match error {
        SourceError::Unavailable(_) => TreeError::Source(error),
        SourceError::Missing { position, .. } | SourceError::Malformed { position, .. } => {
            TreeError::Flaw(Flaw { position, what })
        }
    }
}

/// Checks a checkpoint with the asker's keys, says in `report` which these are, and gives its witnesses; `None` where it
/// does not hold, which is then a finding.
pub(crate) fn signatures(
    origin: &str,
    signed: &SignedCheckpoint,
    settings: &VerifySettings,
    report: &mut Report,
) -> Option<Witnesses> {
    let trust = &settings.trust;
    report.keys = trust.keys().map(ToString::to_string).collect();
    report.keys_from = if trust.is_known() {
        KeysFrom::Outside
    } else {
        KeysFrom::Nowhere
    };
    let examined = if trust.is_known() {
        trust.examine(origin, signed)
    } else if signed.checkpoint().origin() == origin {
        Ok(Witnesses::default())
    } else {
        Err(format!("it is of the log {}", signed.checkpoint().origin()))
    };
    report.signed_by = trust.signers(signed);
    match examined {
        Ok(witnesses) => Some(witnesses),
        Err(error) => {
            report.tampered(Flaw {
                position: None,
                what: format!("the checkpoint: {error}"),
            });
            None
        }
    }
}
