//! A whole log against what its asker knows from elsewhere.
//!
//! Reads checkpoint, heads, every entry and every tile of a source, hashes everything again, and says what holds.
//! Invariants: constant memory but for streams and days; nothing that the source says of itself makes a verdict better
//! than UNANCHORED; what could not be checked is said; a source that does not answer is an error and no verdict.
//! Source: FORMAT §5, §8.
//! Not here: the rules of entries, streams and days (`domain::verify`), one head (`heads`), the words (`report`).

use crate::ahead::Ahead;
use crate::continued::{self, Continued, New};
use crate::evidence::{Evidence, EvidenceError, Trust, known_roots};
use crate::heads::{CheckedHead, HeadCheck};
use crate::report::{DayReport, Finding, KeysFrom, Report, RotationReport};
use crate::rotations::{Covering, RotationProof, follow};
use crate::source::{Flaw, Given, LogSource, SourceError};
use crate::tiles::{TileCheck, TileFault};
use domain::add_checkpoint::AddCheckpoint;
use domain::checkpoint::SignedCheckpoint;
use domain::entry::Entry;
use domain::merkle::TileNodes;
use domain::note::VerifierKey;
use domain::tlog_proof::TlogProof;
use domain::verify::{Kept, KnownRoot, LogReport, LogVerifier, Strictness, Verdict};
use domain::{Date, Hash, Position, TreeSize};
use serde::Deserialize;

/// What is asked, and what is known from elsewhere.
#[derive(Debug, Clone)]
pub struct VerifySettings {
    /// Which log it must be.
    pub origin: Option<String>,
    /// Whose signatures are believed.
    pub trust: Trust,
    /// Checkpoints and heads that were kept elsewhere.
    pub evidence: Vec<Evidence>,
    /// Proofs of rotations that the asker has.
    pub rotations: Vec<RotationProof>,
    /// What the recovery key's word rests on, where it was taken from the log's first entry.
    pub covering: Option<Covering>,
    /// The log that this one says that it continues.
    pub continues: Option<Continued>,
    /// Certificates (DER) of authorities whose time stamps are believed.
    pub authorities: Vec<Vec<u8>>,
    /// How closely entries are read.
    pub strictness: Strictness,
    /// A PARTIAL verdict ends with 0.
    pub allow_partial: bool,
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self {
            origin: None,
            trust: Trust::default(),
            evidence: Vec::new(),
            rotations: Vec::new(),
            covering: None,
            continues: None,
            authorities: Vec::new(),
            strictness: Strictness::Canonical,
            allow_partial: false,
        }
    }
}

impl VerifySettings {
    /// Which log it must be: what the asker says, what their keys say, what it says itself.
    pub(crate) fn origin_of(&self, own: Option<&SignedCheckpoint>) -> Result<String, VerifyError> {
        if let (Some(asked), Some(key)) = (&self.origin, self.trust.origin())
            && asked != key
        {
            return Err(VerifyError::Settings(format!(
                "the key is of the log {key}, but the log {asked} is asked for"
            )));
        }
        let from_keys = self.trust.origin().map(str::to_owned);
        let own = own.map(|signed| signed.checkpoint().origin().to_owned());
        Ok(self.origin.clone().or(from_keys).or(own).unwrap_or_default())
    }
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The source does not answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was given from outside cannot be used.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// What is asked contradicts itself.
    #[error("{0}")]
    Settings(String),
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Entries done.
    pub done: u64,
    /// Entries in all.
    pub total: u64,
}

/// Verifies a whole log. `progress` is told now and then.
///
/// # Errors
/// [`VerifyError`]: then nothing was found out.
pub fn verify(
    source: &dyn LogSource,
    settings: &VerifySettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    let mut report = Report::new(source.describe(), settings.allow_partial);
    // Heads come first: a log that grows meanwhile then covers them.
    let heads = read_heads(source)?;
    let signed = match own_checkpoint(source, &mut report)? {
        Some(signed) => Some(signed),
        None if source.size().is_none() => return Ok(report),
        None => None,
    };
    let says = signed.as_ref().map(|signed| signed.checkpoint().clone());
    let size = source.size().or(says.as_ref().map(|says| says.size()));
    let size = size.unwrap_or(TreeSize::EMPTY);
    let origin = settings.origin_of(signed.as_ref())?;
    let settings = &follow(settings, &origin, Some(source), signed.as_ref(), &mut report)?;
    std::thread::scope(|scope| {
        let withheld = source.withholds_entries();
        let from_tiles = withheld.is_some();
        let mut ahead = Ahead::begin(scope, source, size, from_tiles, settings.strictness);
        let run = Run {
            source,
            settings,
            signed: signed.as_ref(),
            first: Created::read(ahead.first_entry()),
            report,
        };
        let mut report = run.verify(size, heads, &mut ahead, from_tiles, progress)?;
        report.not_checked.extend(withheld);
        Ok(report)
    })
}

/// A day's head as it was given, and what lies beside it.
struct HeadBytes {
    date: Date,
    head: Result<Vec<u8>, SourceError>,
    late: Option<Vec<u8>>,
    consistency: Option<Vec<u8>>,
}

/// By rising day.
fn read_heads(source: &dyn LogSource) -> Result<Vec<HeadBytes>, SourceError> {
    let mut heads = Vec::new();
    for date in source.head_dates()? {
        let head = source.head(date);
        if let Err(error @ SourceError::Unavailable(_)) = head {
            return Err(error);
        }
        heads.push(HeadBytes {
            date,
            head,
            late: source.late_head(date)?,
            consistency: source.consistency(date)?,
        });
    }
    Ok(heads)
}

/// Whether a file that says so shows that a head continues the one before.
fn continues(
    head: &CheckedHead,
    body: &[u8],
    before: Option<&Hash>,
    origin: &str,
    trust: &Trust,
) -> Result<(), String> {
    let body = AddCheckpoint::parse(body).map_err(|error| error.to_string())?;
    if trust.is_known() {
        trust.examine(origin, &body.checkpoint)?;
    }
    head.check_consistency(&body, before).map(|_| ())
}

/// The source's own checkpoint; what is none is a finding.
pub(crate) fn own_checkpoint(
    source: &dyn LogSource,
    report: &mut Report,
) -> Result<Option<SignedCheckpoint>, SourceError> {
    let refused = |report: &mut Report, what: String| {
        report.tampered(Flaw {
            position: None,
            what: format!("the checkpoint: {what}"),
        });
        Ok(None)
    };
    match source.checkpoint() {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => match SignedCheckpoint::parse(&bytes) {
            Ok(signed) => Ok(Some(signed)),
            Err(error) => refused(report, error.to_string()),
        },
        Err(SourceError::Malformed { reason, .. }) => refused(report, reason),
        Err(error) => Err(error),
    }
}

/// What `LedgerCreated` says of keys.
#[derive(Debug, Default, Deserialize)]
struct Created {
    #[serde(default)]
    log_keys: Vec<String>,
}

impl Created {
    /// A hint, from an entry that nothing confirms yet.
    fn read(first: Option<&[u8]>) -> Self {
        let entry = first.and_then(|bytes| Entry::read(bytes).ok());
        entry
            .and_then(|entry| serde_json::from_slice(entry.payload).ok())
            .unwrap_or_default()
    }
}

/// One verification.
struct Run<'a> {
    source: &'a dyn LogSource,
    settings: &'a VerifySettings,
    signed: Option<&'a SignedCheckpoint>,
    first: Created,
    report: Report,
}

impl Run<'_> {
    fn verify(
        mut self,
        size: TreeSize,
        heads: Vec<HeadBytes>,
        ahead: &mut Ahead,
        from_tiles: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, VerifyError> {
        let origin = self.settings.origin_of(self.signed)?;
        self.report.origin = Some(origin.clone());
        let trust = self.trust(&origin)?;
        let mut known = known_roots(&self.settings.evidence, &origin, &self.settings.trust)?;
        self.report.evidence = known.iter().map(|known| known.source.clone()).collect();
        let signed = self.signed_root(&origin, &trust, &mut known);
        let heads = self.heads(heads, &origin, &trust, &mut known);
        known.extend(self.settings.covering.as_ref().map(|covering| KnownRoot {
            size: covering.size,
            root: covering.root,
            kept: Kept::WithLog,
            source: covering.name.clone(),
        }));
        let expected = self.settings.origin.clone().or(Some(origin.clone()));
        let mut verifier = LogVerifier::new(self.settings.strictness, expected.as_deref(), known);
        verifier.keep_nodes();
        let mut tiles = TileCheck::new(self.source, size, signed);
        if from_tiles {
            tiles.skip_leaves();
        }
        let whole = self.entries(&mut verifier, &mut tiles, size, ahead, progress)?;
        let mut log = verifier.finish();
        let carried = std::mem::take(&mut log.carried);
        self.keys_of(&log, &origin, &trust);
        self.report.tiles = tiles.compared();
        self.conclude(log, &heads, whole, from_tiles, size);
        let new = New {
            source: self.source,
            size,
            carried: &carried,
        };
        continued::check(self.settings.continues.as_ref(), &new, &mut self.report)?;
        Ok(self.report)
    }

    /// The keys from outside, or those that the log names as its own.
    fn trust(&mut self, origin: &str) -> Result<Trust, VerifyError> {
        let outside = &self.settings.trust;
        let named = match self.source.key_hint() {
            Ok(hint) => hint.map(|text| VerifierKey::parse(&text).map_err(|error| error.to_string())),
            Err(error @ SourceError::Unavailable(_)) => return Err(error.into()),
            Err(error) => Some(Err(error.to_string())),
        };
        let mut keys = Vec::new();
        match named {
            None => {}
            Some(Err(error)) => self.key_finding(&error),
            Some(Ok(key)) if outside.is_known() && outside.log_keys().all(|known| *known != key) => {
                self.key_finding("it is another one than the key that was given");
            }
            Some(Ok(key)) => keys.push(key),
        }
        if outside.is_known() {
            self.report.keys = outside.keys().map(ToString::to_string).collect();
            self.report.keys_from = KeysFrom::Outside;
            return Ok(outside.clone());
        }
        for text in &self.first.log_keys {
            keys.extend(VerifierKey::parse(text).ok().filter(|key| !keys.contains(key)));
        }
        keys.retain(|key| key.name() == origin);
        self.report.keys = keys.iter().map(ToString::to_string).collect();
        self.report.keys_from = if keys.is_empty() {
            KeysFrom::Nowhere
        } else {
            KeysFrom::Log
        };
        // What a log says of its keys over time is a hint like the rest.
        let own = VerifySettings {
            trust: Trust {
                keys,
                ..Trust::default()
            },
            evidence: Vec::new(),
            ..self.settings.clone()
        };
        Ok(follow(&own, origin, Some(self.source), self.signed, &mut self.report)?.trust)
    }

    /// The keys as the entries tell them: a checkpoint that a rotation in the log itself forbids is found here, also
    /// where nobody showed its proof.
    fn keys_of(&mut self, log: &LogReport, origin: &str, trust: &Trust) {
        self.report.rotations = log.keys.rotations().iter().map(RotationReport::of).collect();
        let told = log.keys.rotations();
        let ends = told.iter().flat_map(|it| it.old.iter().chain([&it.new]));
        let believed = trust.is_known() && ends.into_iter().any(|end| trust.log_keys().any(|key| key == end));
        if let (true, Some(signed)) = (believed, self.signed) {
            let told = Trust {
                rotations: told.to_vec(),
                ..trust.clone()
            };
            if let Err(error) = told.examine(origin, signed) {
                self.report.tampered(Flaw {
                    position: None,
                    what: format!("the checkpoint: {error}"),
                });
            }
        }
        if let Some(continues) = &log.continues {
            self.report.continues = Some(continues.clone());
        }
        self.report.log_policy.clone_from(&log.policy);
    }

    fn key_finding(&mut self, what: &str) {
        self.report.tampered(Flaw {
            position: None,
            what: format!("the key that the log names as its own: {what}"),
        });
    }

    /// Size and root of the source's own checkpoint, if its signature holds or nobody can tell.
    fn signed_root(
        &mut self,
        origin: &str,
        trust: &Trust,
        known: &mut Vec<KnownRoot>,
    ) -> Option<(TreeSize, Hash)> {
        let signed = self.signed?;
        let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
        self.report.signed = Some(size);
        self.report.signed_by = trust.signers(signed);
        let mut kept = Kept::WithLog;
        let mut holds = true;
        if trust.is_known() {
            match trust.examine(origin, signed) {
                Ok(witnesses) if witnesses.quorum => kept = Kept::Outside,
                Ok(_) => {}
                Err(error) => {
                    holds = false;
                    self.report.tampered(Flaw {
                        position: None,
                        what: format!("the checkpoint: {error}"),
                    });
                }
            }
        } else if signed.checkpoint().origin() != origin {
            self.report.tampered(Flaw {
                position: None,
                what: format!("the checkpoint is of the log {}", signed.checkpoint().origin()),
            });
        }
        known.push(KnownRoot {
            size,
            root,
            kept,
            source: "the log's own checkpoint".to_owned(),
        });
        holds.then_some((size, root))
    }

    /// Every head of the source by itself; each gives a root that the log must have.
    fn heads(
        &mut self,
        given: Vec<HeadBytes>,
        origin: &str,
        trust: &Trust,
        known: &mut Vec<KnownRoot>,
    ) -> Vec<CheckedHead> {
        let mut heads = Vec::new();
        let mut check = HeadCheck::new(origin, trust.is_known().then_some(trust));
        for HeadBytes {
            date,
            head,
            late,
            consistency,
        } in given
        {
            let found = match head {
                Ok(bytes) => check.take(date, &bytes),
                Err(error) => Err((None, error.to_string())),
            };
            match found {
                Ok(head) => {
                    let kept = if head.witnesses.quorum {
                        Kept::Outside
                    } else {
                        Kept::WithLog
                    };
                    known.push(KnownRoot {
                        size: head.size,
                        root: head.root,
                        kept,
                        source: format!("the head of {date}"),
                    });
                    self.report.notes.extend(head.oddities());
                    let before = heads.last().map(|before: &CheckedHead| before.root);
                    let before = before.filter(|_| heads.last().is_some_and(|before| head.continues(before)));
                    if let Some(body) = consistency
                        && let Err(what) = continues(&head, &body, before.as_ref(), origin, trust)
                    {
                        self.report.tampered(Flaw {
                            position: Some(head.position),
                            what: format!("{}: {what}", crate::layout::consistency_path(date)),
                        });
                    }
                    heads.push(head);
                }
                Err((position, what)) => self.report.tampered(Flaw {
                    position,
                    what: format!("the head of {date}: {what}"),
                }),
            }
            let Some(late) = late else { continue };
            let parsed = TlogProof::parse(&late).map_err(|error| (None, error.to_string()));
            match parsed.and_then(|proof| check.take_late(Some(date), &proof)) {
                Ok(late) => known.push(KnownRoot {
                    size: late.size,
                    root: late.root,
                    kept: if late.witnesses.quorum {
                        Kept::Outside
                    } else {
                        Kept::WithLog
                    },
                    source: format!("the late head of {date}"),
                }),
                Err((position, what)) => self.report.tampered(Flaw {
                    position,
                    what: format!("the late head of {date}: {what}"),
                }),
            }
        }
        self.report.heads = heads.len() as u64;
        heads
    }

    /// Hashes and reads every entry, and compares every tile. Whether they were all there.
    fn entries(
        &mut self,
        verifier: &mut LogVerifier,
        tiles: &mut TileCheck<'_>,
        size: TreeSize,
        ahead: &mut Ahead,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, VerifyError> {
        let mut nodes = TileNodes::new();
        let mut faults = Vec::new();
        while let Some(looked) = ahead.next() {
            let mut looked = match looked {
                Ok(looked) => looked,
                Err(error) => return self.ends_early(error, verifier.size()).map(|()| false),
            };
            let mut examined = looked.examined.iter();
            for item in looked.chunk.iter() {
                let leaf = match item {
                    Given::Entry(bytes) => {
                        let examined = examined.next().expect("every entry was examined");
                        verifier.examined(bytes, examined)
                    }
                    Given::Withheld(leaf) => {
                        verifier.withheld(leaf);
                        leaf
                    }
                    Given::Pruned(leaf, by) => {
                        verifier.pruned(leaf, by);
                        leaf
                    }
                };
                tiles.leaf(leaf, &mut faults)?;
            }
            verifier.take_nodes(&mut nodes);
            tiles.nodes(&nodes, &mut faults)?;
            self.faults(verifier, &mut faults);
            looked
                .chunk
                .flaws
                .drain(..)
                .for_each(|flaw| self.report.tampered(flaw));
            ahead.give_back(looked);
            progress(Progress {
                done: verifier.size().get(),
                total: size.get(),
            });
        }
        tiles.finish(&mut faults)?;
        self.faults(verifier, &mut faults);
        Ok(verifier.size() == size)
    }

    fn faults(&mut self, verifier: &mut LogVerifier, faults: &mut Vec<TileFault>) {
        for fault in faults.drain(..) {
            match fault {
                TileFault::Entry(mismatch) => verifier.wrong_entry(mismatch),
                TileFault::Tile(flaw) if self.source.derives_tiles() => self.report.derived_damage(flaw),
                TileFault::Tile(flaw) => self.report.tampered(flaw),
            }
        }
    }

    /// What should be there is not: entries are missing from here on.
    fn ends_early(&mut self, error: SourceError, size: TreeSize) -> Result<(), VerifyError> {
        let position = match &error {
            SourceError::Unavailable(_) => return Err(error.into()),
            SourceError::Missing { position, .. } | SourceError::Malformed { position, .. } => *position,
        };
        self.report.tampered(Flaw {
            position: position.or(Some(size.next_position())),
            what: error.to_string(),
        });
        self.report
            .not_checked
            .push(format!("everything from position {} on", size.next_position()));
        Ok(())
    }

    /// Puts everything together.
    fn conclude(
        &mut self,
        log: LogReport,
        heads: &[CheckedHead],
        whole: bool,
        from_tiles: bool,
        size: TreeSize,
    ) {
        let entries = log.size.get() - log.withheld - log.pruned;
        if let Verdict::Tampered { position, what } = &log.verdict {
            let (position, what) = (*position, what.clone());
            self.report.list(Finding { position, what });
        }
        let found = self.report.verdict.clone();
        self.report.judge(log.verdict.clone().or_worse(found));
        if whole && !from_tiles && !matches!(log.verdict, Verdict::Tampered { .. }) {
            self.heads_of_days(&log, heads);
        }
        self.days(&log, heads);
        if !self.settings.trust.is_known() {
            self.report.or_worse(Verdict::Unanchored {
                anchored: TreeSize::EMPTY,
                size: log.size,
            });
            self.report.notes.push(match self.report.keys_from {
                KeysFrom::Log => {
                    "the key is the one that the log itself names, which proves nothing about who wrote it: \
                    compare it with one from elsewhere and give that with --key"
                        .to_owned()
                }
                KeysFrom::Outside | KeysFrom::Nowhere => {
                    "no key is known, so no signature was checked: give the log's key with --key".to_owned()
                }
            });
        } else if log.anchored < log.size && !matches!(log.verdict, Verdict::Tampered { .. }) {
            self.report.notes.push(format!(
                "a head or checkpoint that was kept elsewhere confirms what it covers: give one with --head; {} of {} \
                 entries are covered",
                log.anchored, log.size
            ));
        }
        self.words(&log, entries, from_tiles);
        self.report.size = log.size;
        self.report.root = log.root;
        self.report.anchored = if self.settings.trust.is_known() {
            log.anchored
        } else {
            TreeSize::EMPTY
        };
        self.report.entries = entries;
        self.report.withheld = log.withheld;
        self.report.pruned = log.pruned;
        self.report.streams = log.streams;
        let strangers = self.source.strangers(size);
        if !strangers.is_empty() {
            self.report.not_checked.push(format!(
                "files that are not part of the log: {}",
                strangers.join(", ")
            ));
        }
    }

    /// Heads belong to days that the log closed, and the other way round.
    fn heads_of_days(&mut self, log: &LogReport, heads: &[CheckedHead]) {
        for head in heads {
            let day = log.days.iter().find(|day| day.date == head.date);
            if day.is_none_or(|day| day.position != head.position) && log.size.contains(head.position) {
                self.report.tampered(Flaw {
                    position: Some(head.position),
                    what: format!("the head of {}: the log does not close that day there", head.date),
                });
            }
        }
        let without: Vec<Date> = log.days.iter().map(|day| day.date).collect();
        let without: Vec<String> = without
            .into_iter()
            .filter(|date| !heads.iter().any(|head| head.date == *date))
            .map(|date| date.to_string())
            .collect();
        if !without.is_empty() {
            self.report.not_checked.push(format!(
                "heads that are not there or do not hold: {}",
                without.join(", ")
            ));
        }
    }

    /// The days with the window in which their entries can have been written: before the first cosignature of a head
    /// that covers them.
    fn days(&mut self, log: &LogReport, heads: &[CheckedHead]) {
        let before = |position: Position| {
            let covering = heads.iter().filter(|head| head.position >= position);
            covering.filter_map(CheckedHead::witnessed_at).min()
        };
        self.report.days = log
            .days
            .iter()
            .map(|day| DayReport {
                date: day.date,
                position: day.position,
                entries: day.entries,
                streams: day.streams,
                head: heads.iter().any(|head| head.position == day.position),
                written_before: before(day.position),
            })
            .collect();
    }

    fn words(&mut self, log: &LogReport, entries: u64, from_tiles: bool) {
        let report = &mut self.report;
        if entries > 0 {
            let form = match self.settings.strictness {
                Strictness::Canonical => "canonical form, ",
                Strictness::Hashes => "",
            };
            report.checked.push(format!(
                "{entries} entries: hashes, {form}order, times, sequences and chains of {} streams",
                log.streams
            ));
        }
        if from_tiles {
            report
                .checked
                .push(format!("{} leaf hashes of the tree, up to its root", log.size));
        }
        if !log.days.is_empty() {
            report.checked.push(format!(
                "{} closed days: roots, counts, stream maps, and that no day is left out",
                log.days.len()
            ));
        }
        if report.heads > 0 {
            report.checked.push(format!("{} heads of days", report.heads));
        }
        if report.tiles > 0 {
            report.checked.push(format!("{} tiles of hashes", report.tiles));
        }
        if report.signed.is_some() && report.keys_from != KeysFrom::Nowhere {
            report
                .checked
                .push("the signatures of the checkpoint and the heads".to_owned());
        }
        report.say_evidence();
        let unsaid = |what: &String| !from_tiles || !what.contains("withheld");
        report
            .not_checked
            .extend(log.not_checked.iter().filter(|what| unsaid(what)).cloned());
        report.not_checked.push(
            "the order of arrival within one commit, what lies after the last entry, and whether sensors told the truth"
                .to_owned(),
        );
    }
}
