//! A pack from a ledger.
//!
//! One pass over the entries from the subject's first one to the end of the range writes what is chosen into temporary
//! files; a second pass over the positions chosen finds the hashes beside them; then everything is put together.
//! Invariants: memory grows with streams, days and configuration, not with readings; nothing is written to `out` before
//! all of it is known; every line of a map and every chain is held against the ledger's own `DayClosed` on the way, so
//! that no pack is made that does not verify.
//! Source: FORMAT §7.
//! Not here: what is chosen (`plan`), the first pass (`scan`), where the ledger is (`api` wires the traits), who may ask.

use super::artefacts::{ATTACHMENTS_MAX, Registered, copies};
use super::manifest::{ASKER_MAX, Counts, FileOf, Manifest, Query, SOFTWARE_MAX};
use super::plan::Plan;
use super::scan::{Scan, Scanned};
use super::spool::{Part, Spool};
use super::walk::{Piece, Walk};
use super::zip::ZipWriter;
use super::{
    CHECKPOINT, CONFIG, ENTRIES, MANIFEST, MANIFEST_NOTE, NODES, POLICY, READINGS_CSV, README, STREAMS,
    VERIFY_HTML, VERIFY_PY, head_name, note_text,
};
use crate::ports_source::HeadFiles;
use crate::source::SourceError;
use crate::verify::Progress;
use domain::checkpoint::CheckpointError;
use domain::note::{Note, NoteError, Signer};
use domain::ports::{EventLog, TileStore};
use domain::proof::{PROVER_TILES, ProofError, Prover};
use domain::registry::Registry;
use domain::{Date, Hash, Position, TreeSize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The verifiers that every pack brings along.
const VERIFIER_HTML: &[u8] = super::VERIFIER_PAGE.as_bytes();
const VERIFIER_PY: &[u8] = include_bytes!("../../assets/verify.py");

/// Nodes between two words of progress.
const NODES_BETWEEN: u64 = 4_096;

/// Which positions the streams that are not readings have.
pub trait StreamIndex: Send + Sync {
    /// Of that stream, rising.
    fn positions(&self, aggregate_type: &str, aggregate_id: &str) -> Vec<Position>;
}

/// The lines of the stream maps of closed days.
pub trait DayLines: Send + Sync {
    /// Of that day, each with its line feed; `None` where they are not kept.
    fn day_lines(&self, date: Date) -> Option<Vec<u8>>;
}

/// A ledger that packs are made from.
pub struct PackSource<'a> {
    /// The entries.
    pub log: &'a dyn EventLog,
    /// The tree.
    pub tiles: &'a dyn TileStore,
    /// The signed note that the pack leads to; the log is at least as large.
    pub checkpoint: &'a [u8],
    /// The heads of days.
    pub heads: &'a dyn HeadFiles,
    /// What is configured, at least up to the checkpoint.
    pub registry: &'a Registry,
    /// Where entries of configuration are.
    pub streams: &'a dyn StreamIndex,
    /// The lines of days.
    pub lines: &'a dyn DayLines,
}

/// What is made, for whom, by what.
pub struct Order<'a> {
    /// What is asked.
    pub query: &'a Query,
    /// Who asks.
    pub asker: &'a str,
    /// The software, such as `daybook 0.1.0`.
    pub software: &'a str,
    /// Signs the manifest: the receipt key.
    pub signer: &'a dyn Signer,
    /// Where temporary files go: as much room as the pack takes.
    pub scratch: &'a Path,
    /// Files that are put in, which must be registered among the entries of the pack.
    pub attachments: &'a [PathBuf],
}

/// A pack that was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Made {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its manifest, base64.
    pub manifest_sha256: Hash,
    /// What is in it.
    pub counts: Counts,
    /// Lines of `readings.csv`.
    pub values: u64,
    /// Files that were put in.
    pub artefacts: u64,
    /// The size of the checkpoint that it leads to.
    pub size: TreeSize,
    /// The first day asked for that is not closed: completeness cannot be shown from there on.
    pub open_from: Option<Date>,
}

/// Why no pack was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// Nobody knows it.
    #[error("there is no {kind} {id} in this ledger")]
    Unknown {
        /// Site, device or channel.
        kind: &'static str,
        /// The id asked for.
        id: String,
    },
    /// The days are none that the ledger has.
    #[error("{0}")]
    Days(String),
    /// Asker or software.
    #[error(
        "the asker has at most {ASKER_MAX} characters and the software {SOFTWARE_MAX}, none of them control"
    )]
    Names,
    /// The checkpoint.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The signature.
    #[error("the manifest cannot be signed: {0}")]
    Signature(#[from] NoteError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What the ledger keeps does not fit together.
    #[error("the ledger does not fit together: {0}")]
    Damaged(String),
    /// A file that was to be put in.
    #[error("{path}: {reason}")]
    Attachment {
        /// Which.
        path: String,
        /// Why it is not.
        reason: String,
    },
    /// Whoever watches the progress wants no more of it.
    #[error("it was stopped")]
    Stopped,
    /// A file.
    #[error("a file cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// Makes a pack and writes it to `out`. `progress` is told now and then how many entries were looked through, and may
/// end it.
///
/// # Errors
/// [`MakeError`]; what is in `out` then is no pack.
pub fn make(
    source: &PackSource<'_>,
    order: &Order<'_>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Made, MakeError> {
    let plan = Plan::new(source, order)?;
    let mut scan = Scan::new(source, order, &plan)?;
    scan.run(progress)?;
    let scanned = scan.finish()?;
    pack(source, order, &plan, scanned, out, progress)
}

/// Ends what nobody wants any more.
pub(super) fn goes_on(told: ControlFlow<()>) -> Result<(), MakeError> {
    match told {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(MakeError::Stopped),
    }
}

/// The hashes beside the entries.
fn nodes(
    source: &PackSource<'_>,
    order: &Order<'_>,
    plan: &Plan,
    positions: &mut Part,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Part, u64), MakeError> {
    let borders = plan.days.iter().map(|day| day.position.size_through().get());
    let mut walk = Walk::new(plan.size, borders.collect());
    let mut prover = Prover::new(PROVER_TILES);
    let mut levels: BTreeMap<u8, Spool> = BTreeMap::new();
    let mut positions = positions.read()?;
    let (mut given, mut count) = (next_position(&mut positions)?, 0);
    while let Some(piece) = walk.next(given) {
        let (level, index) = match piece {
            Piece::Leaf(_) => {
                given = next_position(&mut positions)?;
                continue;
            }
            Piece::Node { level, index } => (level, index),
        };
        let hash = prover
            .subtree(source.tiles, level, index, plan.size)
            .map_err(|error| match error {
                ProofError::Node(domain::merkle::NodeError::Unavailable(what)) => {
                    MakeError::Source(SourceError::Unavailable(what))
                }
                other => MakeError::Damaged(other.to_string()),
            })?;
        let spool = match levels.entry(level) {
            std::collections::btree_map::Entry::Occupied(spool) => spool.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(Spool::new(order.scratch)?),
        };
        writeln!(
            spool,
            "{{\"hash\":\"{hash}\",\"index\":{index},\"level\":{level}}}"
        )?;
        count += 1;
        if count % NODES_BETWEEN == 0 {
            let all = plan.end - plan.first;
            goes_on(progress(Progress {
                done: all,
                total: all,
            }))?;
        }
    }
    let mut all = Spool::new(order.scratch)?;
    for (_, spool) in levels {
        io::copy(&mut spool.finish()?.read()?, &mut all)?;
    }
    Ok((all.finish()?, count))
}

fn next_position(positions: &mut dyn Read) -> io::Result<Option<u64>> {
    let mut bytes = [0; 8];
    match positions.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u64::from_le_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts everything together.
fn pack(
    source: &PackSource<'_>,
    order: &Order<'_>,
    plan: &Plan,
    mut scanned: Scanned,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Made, MakeError> {
    let (nodes, count) = nodes(source, order, plan, &mut scanned.positions, progress)?;
    let attached = attached(order, &scanned.artefacts)?;
    let artefacts = attached.len() as u64;
    let origin = plan.signed.checkpoint().origin();
    let counts = Counts {
        heads: plan.days.len() as u64,
        nodes: count,
        ..scanned.counts
    };
    let mut files = vec![
        (ENTRIES.to_owned(), scanned.entries),
        (NODES.to_owned(), nodes),
        (CHECKPOINT.to_owned(), Part::of(source.checkpoint.to_vec())),
    ];
    for day in &plan.days {
        files.push((head_name(day.closed.date), Part::of(day.head.clone())));
    }
    let texts = [
        (VERIFY_HTML, VERIFIER_HTML.to_vec()),
        (VERIFY_PY, VERIFIER_PY.to_vec()),
        (README, readme(origin, order.query, artefacts).into_bytes()),
    ];
    files.push((STREAMS.to_owned(), scanned.lines));
    files.push((POLICY.to_owned(), Part::of(plan.policy.clone().into_bytes())));
    files.push((READINGS_CSV.to_owned(), scanned.csv));
    files.push((CONFIG.to_owned(), Part::of(scanned.config)));
    files.extend(attached);
    files.extend(texts.map(|(name, bytes)| (name.to_owned(), Part::of(bytes))));
    let of = |part: &Part| FileOf {
        bytes: part.bytes,
        sha256: part.sha256,
    };
    let manifest = Manifest {
        asker: order.asker.to_owned(),
        counts,
        files: files
            .iter()
            .map(|(name, part)| (name.clone(), of(part)))
            .collect(),
        origin: origin.to_owned(),
        query: order.query.clone(),
        size: plan.size,
        software: order.software.to_owned(),
        v: 1,
    };
    let manifest = Part::of(
        manifest
            .encode()
            .map_err(|error| MakeError::Damaged(error.to_string()))?,
    );
    let manifest_sha256 = manifest.sha256;
    let note = Note::sign(&note_text(origin, &manifest_sha256), &[order.signer])?;
    let note = Part::of(note.encode().into_bytes());
    let mut zip = ZipWriter::new(out);
    let first = [(MANIFEST.to_owned(), manifest), (MANIFEST_NOTE.to_owned(), note)];
    for (name, mut part) in first.into_iter().chain(files) {
        let (bytes, crc32) = (part.bytes, part.crc32);
        zip.add(&name, bytes, crc32, &mut *part.read()?)?;
    }
    Ok(Made {
        bytes: zip.finish()?,
        manifest_sha256,
        counts,
        values: scanned.values,
        artefacts,
        size: plan.size,
        open_from: plan.open_from,
    })
}

/// Copies of the files that are put in, by the names that they have there.
fn attached(order: &Order<'_>, registered: &[Registered]) -> Result<Vec<(String, Part)>, MakeError> {
    let refuse = |path: &Path, reason: String| MakeError::Attachment {
        path: path.display().to_string(),
        reason,
    };
    let mut files = BTreeMap::new();
    for (n, path) in order.attachments.iter().enumerate() {
        if n == ATTACHMENTS_MAX {
            return Err(refuse(
                path,
                format!("a pack holds at most {ATTACHMENTS_MAX} files"),
            ));
        }
        let found =
            copies(path, registered, order.scratch).map_err(|error| refuse(path, error.to_string()))?;
        if found.is_empty() {
            let reason = "nothing of this pack registers a file with these bytes: register it first \
                          (POST /v1/artifacts), and ask for a range whose last day is not before that";
            return Err(refuse(path, reason.to_owned()));
        }
        files.extend(found);
    }
    Ok(files.into_iter().collect())
}

/// What the pack is, for a person.
fn readme(origin: &str, query: &Query, artefacts: u64) -> String {
    let Query { from, to, subject } = query;
    let artefacts = match artefacts {
        0 => "",
        _ => {
            "artefacts/     files whose hashes were registered, each under its entry's id; config.json has the entries\n"
        }
    };
    format!(
        "Evidence of the ledger {origin}: what was recorded of the {} {}\nfrom {from} to {to} (UTC, both days inclusive).\n\n\
         readings.csv   the values, for a table\n\
         config.json    what was configured then\n\
         entries.ndjson the entries themselves; the other files prove that they are whole\n{artefacts}\n\
         Nothing in here is to be believed because it says so. Take the log's key, and if you can the head of a day,\n\
         from a place that whoever gave you this file cannot change, and verify it in one of three ways:\n\n\
         daybook evidence verify THIS.zip --key KEY --head HEAD\n\
         python3 verify.py THIS.zip --key KEY --head HEAD\n\
         or open verify.html in a browser: it needs no network.\n\n\
         Take the verifier too from somewhere else if you do not trust the sender. Without a key of your own no verdict is\n\
         better than UNANCHORED. The format is docs/FORMAT.md, sections 7 and 8.\n",
        subject.kind(),
        subject.id(),
    )
}
