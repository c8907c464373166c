//! A pack from a ledger.
//!
//! One pass over the entries from the subject's first one to the end of the range writes what is chosen into temporary
//! files; a second pass over the positions chosen finds the hashes beside them; then everything is put together.
//! Invariants: memory grows with streams, days and configuration, not with readings; nothing is written to `out` before
//! all of it is known; every line of a map and every chain is held against the ledger's own `DayClosed` on the way, so
//! that no pack is made that does not verify.
//! Source: FORMAT §7.
//! Not here: where the ledger is (`api` wires the traits), who may ask.

use super::artefacts::{ATTACHMENTS_MAX, Registered, copies};
use super::derived::{CSV_HEADER, Config, Rows};
use super::lines::{LineTree, MapLine, Opening, blinded, prefix};
use super::manifest::{ASKER_MAX, Counts, FileOf, Manifest, Query, SOFTWARE_MAX, Subject};
use super::spool::{Part, Spool};
use super::walk::{Piece, Walk};
use super::zip::ZipWriter;
use super::{
    CHECKPOINT, CONFIG, ENTRIES, LEDGER_EVENTS, MANIFEST, MANIFEST_NOTE, NODES, POLICY, READINGS_CSV, README,
    STREAMS, TOKENS, VERIFY_HTML, VERIFY_PY, head_name, note_text,
};
use crate::ports_source::{HeadFiles, READ_BYTES, READ_ENTRIES, read_error, wait};
use crate::source::SourceError;
use crate::verify::Progress;
use domain::checkpoint::{CheckpointError, SignedCheckpoint};
use domain::day::{DAY_CLOSED, DayClosed};
use domain::entry::Entry;
use domain::event::Metadata;
use domain::hash::leaf_hash;
use domain::ids::IdKind;
use domain::note::{Note, NoteError, Signer};
use domain::ports::{EventLog, TileStore};
use domain::proof::{PROVER_TILES, ProofError, Prover};
use domain::reading::{READING_RECORDED, READINGS};
use domain::registry::Registry;
use domain::stream::{CHAIN_START, chain};
use domain::{Date, Hash, Position, TreeSize};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
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

/// A day of the pack.
struct PackDay {
    closed: DayClosed,
    position: Position,
    head: Vec<u8>,
    asked: bool,
}

/// What the pack will hold.
struct Plan {
    signed: SignedCheckpoint,
    size: TreeSize,
    account: String,
    /// In the order of their lines.
    owners: Vec<String>,
    /// The ids of their streams.
    ids: HashMap<Box<[u8]>, ()>,
    days: Vec<PackDay>,
    /// Where what is asked for ends.
    end: u64,
    /// The first entry of the owners.
    first: u64,
    /// Entries of the ledger's own stream, rising.
    ledger: Vec<Position>,
    policy: String,
    /// The day of the ledger's first entry.
    created: Option<Date>,
    open_from: Option<Date>,
}

impl Plan {
    fn new(source: &PackSource<'_>, order: &Order<'_>) -> Result<Self, MakeError> {
        let plain = |text: &str, max: usize| text.chars().count() <= max && !text.contains(char::is_control);
        if !plain(order.asker, ASKER_MAX) || !plain(order.software, SOFTWARE_MAX) {
            return Err(MakeError::Names);
        }
        let signed = SignedCheckpoint::parse(source.checkpoint)?;
        let size = signed.checkpoint().size();
        if size > source.log.size() {
            return Err(MakeError::Damaged(format!("its checkpoint is of size {size}")));
        }
        let mut plan = Self {
            signed,
            size,
            account: String::new(),
            owners: Vec::new(),
            ids: HashMap::new(),
            days: Vec::new(),
            end: size.get(),
            first: size.get(),
            ledger: Vec::new(),
            policy: String::new(),
            created: None,
            open_from: None,
        };
        plan.ledger(source, order.query)?;
        plan.range(order.query)?;
        plan.owners(source, order.query)?;
        Ok(plan)
    }

    /// The ledger's own entries, and which days they close.
    fn ledger(&mut self, source: &PackSource<'_>, query: &Query) -> Result<(), MakeError> {
        let mut after = false;
        let mut positions = source.streams.positions("ledger", "main");
        positions.retain(|position| self.size.contains(*position));
        for position in positions {
            let block = wait(source.log.read_at(&[position])).map_err(read_error)?;
            let Some((_, bytes)) = block.get(0) else { continue };
            let entry = read(position, bytes)?;
            if entry.event_type == DAY_CLOSED {
                if after {
                    continue;
                }
                let closed: DayClosed = fact(&entry)?;
                let asked = closed.begins() <= query.to && closed.date >= query.from;
                if !asked && closed.date < query.from {
                    continue;
                }
                // A day whose head is still on its way is not closed yet for anybody else.
                let Some(head) = source.heads.get(closed.date) else {
                    after = true;
                    continue;
                };
                after = !asked;
                self.days.push(PackDay {
                    closed,
                    position,
                    head,
                    asked,
                });
            } else if !LEDGER_EVENTS.contains(&entry.event_type) {
                continue;
            }
            self.policy_of(&entry)?;
            self.created.get_or_insert(entry.recorded_at.date());
            self.ledger.push(position);
        }
        Ok(())
    }

    fn policy_of(&mut self, entry: &Entry<'_>) -> Result<(), MakeError> {
        #[derive(Deserialize)]
        struct Says {
            policy: Option<String>,
        }
        if matches!(entry.event_type, "LedgerCreated" | "WitnessPolicySet") {
            let says: Says = fact(entry)?;
            self.policy = says.policy.unwrap_or_default();
        }
        Ok(())
    }

    /// Where the range ends.
    fn range(&mut self, query: &Query) -> Result<(), MakeError> {
        if self.created.is_some_and(|created| created > query.to) {
            return Err(MakeError::Days(format!("the ledger begins after {}", query.to)));
        }
        let last = self.days.iter().rfind(|day| day.asked);
        match last {
            Some(day) if day.closed.date >= query.to => self.end = day.closed.size.get(),
            Some(day) => self.open_from = Some(day.closed.date.next()),
            None => self.open_from = self.created.max(Some(query.from)),
        }
        Ok(())
    }

    fn owners(&mut self, source: &PackSource<'_>, query: &Query) -> Result<(), MakeError> {
        let registry = source.registry;
        let id = query.subject.id();
        let unknown = || MakeError::Unknown {
            kind: query.subject.kind(),
            id: id.to_owned(),
        };
        let mut opened = true;
        let devices = match &query.subject {
            Subject::Device(_) => {
                let device = registry.device_anywhere(id).ok_or_else(unknown)?;
                self.account = device.account.to_string();
                vec![device]
            }
            Subject::Channel(_) => {
                let channel = registry.channel_anywhere(id).ok_or_else(unknown)?;
                self.account = channel.account.to_string();
                vec![
                    registry
                        .device_anywhere(&channel.state.device)
                        .ok_or_else(unknown)?,
                ]
            }
            Subject::Alarm { id, channel } => {
                let first = source.streams.positions("alarm", id).first().copied();
                let first = first.ok_or_else(unknown)?;
                let channel = registry.channel_anywhere(channel).ok_or_else(unknown)?;
                let device = registry.device_anywhere(&channel.state.device);
                self.account = channel.account.to_string();
                self.owns(&channel.id, channel.created.position);
                opened = first.get() < self.end;
                vec![device.ok_or_else(unknown)?]
            }
            Subject::Site(_) => {
                let account = registry.account_of(id).ok_or_else(unknown)?;
                let site = registry.site(account, id).ok_or_else(unknown)?;
                self.account = account.to_owned();
                self.owns(id, site.created.position);
                let mut there = Vec::new();
                for device in registry.devices_ever(account, None) {
                    let moves = &device.state.moves;
                    let maybe = device.state.site == id || moves.iter().any(|it| it.from_site == id);
                    if maybe && self.was_at(source, &device.id, id)? {
                        there.push(device);
                    }
                }
                there
            }
        };
        for device in devices {
            self.owns(&device.id, device.created.position);
            let channels = registry.channels(device).map(|channel| &channel.id);
            let trays = registry.tray_of(device).into_iter().map(|tray| &tray.id);
            let ids = channels.chain(trays).map(|id| (id.as_bytes().into(), ()));
            self.ids.extend(ids);
        }
        for owner in &self.owners {
            let ids = registry
                .artefacts_of(owner)
                .map(|it| (it.id.as_bytes().into(), ()));
            self.ids.extend(ids);
        }
        if self.first >= self.end || !opened {
            return Err(MakeError::Days(format!(
                "there was no {} {id} yet on {}",
                query.subject.kind(),
                query.to
            )));
        }
        self.owners.sort_by_key(|owner| blinded(owner));
        Ok(())
    }

    fn owns(&mut self, id: &str, created: Position) {
        if created.get() < self.end {
            self.owners.push(id.to_owned());
            self.ids.insert(id.as_bytes().into(), ());
            self.first = self.first.min(created.get());
        }
    }

    /// Whether its entries before the end say that a device was ever at the site.
    fn was_at(&self, source: &PackSource<'_>, device: &str, site: &str) -> Result<bool, MakeError> {
        let mut positions = source.streams.positions("device", device);
        positions.retain(|position| position.get() < self.end);
        let block = wait(source.log.read_at(&positions)).map_err(read_error)?;
        for (position, bytes) in block.iter() {
            if is_at(&read(position, bytes)?, site) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether an entry of a device's stream says that it is at the site.
pub fn is_at(entry: &Entry<'_>, site: &str) -> bool {
    #[derive(Deserialize)]
    struct Place {
        site: Option<String>,
        to_site: Option<String>,
    }
    let Ok(place) = serde_json::from_slice::<Place>(entry.payload) else {
        return false;
    };
    match entry.event_type {
        "DeviceRegistered" => place.site.as_deref() == Some(site),
        "DeviceMoved" => place.to_site.as_deref() == Some(site),
        _ => false,
    }
}

fn read(position: Position, bytes: &[u8]) -> Result<Entry<'_>, MakeError> {
    Entry::read(bytes).map_err(|error| MakeError::Damaged(format!("position {position}: {error}")))
}

fn fact<T: for<'de> Deserialize<'de>>(entry: &Entry<'_>) -> Result<T, MakeError> {
    serde_json::from_slice(entry.payload)
        .map_err(|error| MakeError::Damaged(format!("position {}: {error}", entry.position)))
}

/// A stream of an owner.
struct Stream {
    blinded: String,
    sequence: u64,
    chain: Hash,
    /// Sequence of its first entry of the day, 0 where there is none yet, and the chain value before it.
    day_first: u64,
    day_before: Hash,
    /// The day's line of it was written.
    lined: bool,
}

/// The pass over the entries.
struct Scan<'a> {
    source: &'a PackSource<'a>,
    query: &'a Query,
    plan: &'a Plan,
    /// Ids of the streams that the channel of an alarm owns, as they begin.
    of_channel: HashSet<Box<[u8]>>,
    ledger: std::iter::Peekable<std::slice::Iter<'a, Position>>,
    names: HashMap<String, usize>,
    by_blinded: HashMap<String, usize>,
    /// Where a device's readings are among `streams`; most entries ask.
    readings: HashMap<Box<[u8]>, usize>,
    streams: Vec<Stream>,
    touched: Vec<usize>,
    /// Streams that have a line in the pack already.
    lined_before: HashSet<String>,
    rows: Rows,
    config: Config,
    artefacts: Vec<Registered>,
    row: Vec<u8>,
    entries: Spool,
    csv: Spool,
    lines: Spool,
    positions: Spool,
    counts: Counts,
    values: u64,
}

/// What the pass gives.
struct Scanned {
    entries: Part,
    csv: Part,
    lines: Part,
    positions: Part,
    config: Vec<u8>,
    artefacts: Vec<Registered>,
    counts: Counts,
    values: u64,
}

impl<'a> Scan<'a> {
    fn new(source: &'a PackSource<'a>, order: &'a Order<'a>, plan: &'a Plan) -> Result<Self, MakeError> {
        let spool = || Spool::new(order.scratch);
        let mut csv = spool()?;
        csv.write_all(CSV_HEADER.as_bytes())?;
        Ok(Self {
            source,
            query: order.query,
            plan,
            of_channel: HashSet::new(),
            ledger: plan.ledger.iter().peekable(),
            names: HashMap::new(),
            by_blinded: HashMap::new(),
            readings: HashMap::new(),
            streams: Vec::new(),
            touched: Vec::new(),
            lined_before: HashSet::new(),
            rows: Rows::new(order.query),
            config: Config::new(order.query),
            artefacts: Vec::new(),
            row: Vec::new(),
            entries: spool()?,
            csv,
            lines: spool()?,
            positions: spool()?,
            counts: Counts::default(),
            values: 0,
        })
    }

    fn run(&mut self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(), MakeError> {
        let (first, end) = (self.plan.first, self.plan.end);
        self.ledger_until(first)?;
        let mut next = first;
        while next < end {
            let count = usize::try_from(end - next)
                .unwrap_or(usize::MAX)
                .min(READ_ENTRIES);
            let block = wait(self.source.log.read(Position(next), count, READ_BYTES)).map_err(read_error)?;
            if block.is_empty() {
                return Err(MakeError::Damaged(format!("position {next} is missing")));
            }
            for (position, bytes) in block.iter() {
                self.ledger_until(position.get())?;
                let id = aggregate_id(bytes);
                if self.plan.ids.contains_key(id)
                    || self.of_channel.contains(id)
                    || self.begins_of_channel(position, bytes)?
                {
                    self.owned(position, bytes)?;
                }
                next = position.get() + 1;
            }
            let told = progress(Progress {
                done: next - first,
                total: end - first,
            });
            goes_on(told)?;
        }
        self.ledger_until(u64::MAX)
    }

    /// The channel that is an owner itself.
    fn channel(&self) -> Option<&'a str> {
        match &self.query.subject {
            Subject::Alarm { channel, .. } => Some(channel),
            Subject::Site(_) | Subject::Device(_) | Subject::Channel(_) => None,
        }
    }

    /// Whether a stream begins here that the channel owns: its rules, alarms and silences have ids of their own.
    fn begins_of_channel(&mut self, position: Position, bytes: &[u8]) -> Result<bool, MakeError> {
        let Some(channel) = self.channel() else {
            return Ok(false);
        };
        if Entry::event_type_of(bytes) == Some(READING_RECORDED) {
            return Ok(false);
        }
        let entry = read(position, bytes)?;
        let owned = entry.sequence == 1
            && Metadata::read(entry.metadata)
                .ok()
                .is_some_and(|it| it.owner.as_deref() == Some(channel));
        if owned {
            self.of_channel.insert(entry.aggregate_id.as_bytes().into());
        }
        Ok(owned)
    }

    /// The ledger's own entries before that position.
    fn ledger_until(&mut self, position: u64) -> Result<(), MakeError> {
        while let Some(at) = self.ledger.next_if(|at| at.get() < position) {
            let block = wait(self.source.log.read_at(&[*at])).map_err(read_error)?;
            if let Some((at, bytes)) = block.get(0) {
                self.entry(at, bytes)?;
                let day = self.plan.days.iter().find(|day| day.position == at && day.asked);
                if let Some(day) = day {
                    self.close(day)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, position: Position, bytes: &[u8]) -> Result<(), MakeError> {
        self.entries.write_all(bytes)?;
        self.entries.write_all(b"\n")?;
        self.positions.write_all(&position.get().to_le_bytes())?;
        self.counts.entries += 1;
        Ok(())
    }

    fn stub(&mut self, position: Position, leaf: &Hash) -> Result<(), MakeError> {
        let line = format!("{{\"leaf_hash\":\"{leaf}\",\"position\":{position},\"withheld\":true}}\n");
        self.entries.write_all(line.as_bytes())?;
        self.positions.write_all(&position.get().to_le_bytes())?;
        self.counts.stubs += 1;
        Ok(())
    }

    /// An entry of an owner.
    fn owned(&mut self, position: Position, bytes: &[u8]) -> Result<(), MakeError> {
        let entry = read(position, bytes)?;
        // A channel owns what is said of it, its device does not (docs/events.md, `owner`).
        let of_channel = matches!(entry.aggregate_type, "annotations" | "state");
        if of_channel && IdKind::Channel.is(entry.aggregate_id) && self.channel() != Some(entry.aggregate_id)
        {
            return Ok(());
        }
        let date = entry.recorded_at.date();
        let at = self.stream(&entry);
        let leaf = leaf_hash(bytes);
        let stream = &mut self.streams[at];
        if entry.sequence != stream.sequence + 1 {
            let name = entry.stream_name();
            return Err(MakeError::Damaged(format!(
                "position {position}: {name} has a gap before it"
            )));
        }
        if self.query.asks_for(date) && stream.day_first == 0 {
            stream.day_first = entry.sequence;
            stream.day_before = stream.chain;
            self.touched.push(at);
        }
        stream.sequence = entry.sequence;
        stream.chain = chain(&stream.chain, &leaf);
        if entry.aggregate_type == TOKENS {
            return self.stub(position, &leaf);
        }
        if entry.aggregate_type == READINGS {
            if !self.query.asks_for(date) {
                return Ok(());
            }
        } else {
            self.config
                .take(&entry)
                .map_err(|what| damaged(position, &what))?;
            let registered = Registered::of(&entry).map_err(|what| damaged(position, &what))?;
            self.artefacts.extend(registered);
        }
        self.row.clear();
        self.rows
            .take(&entry, &mut self.row)
            .map_err(|what| damaged(position, &what))?;
        self.values += self.row.iter().filter(|b| **b == b'\n').count() as u64;
        self.csv.write_all(&self.row)?;
        self.entry(position, bytes)
    }

    fn stream(&mut self, entry: &Entry<'_>) -> usize {
        let is_reading = entry.aggregate_type == READINGS;
        if is_reading && let Some(at) = self.readings.get(entry.aggregate_id.as_bytes()) {
            return *at;
        }
        let name = entry.stream_name();
        let at = match self.names.get(&name) {
            Some(at) => *at,
            None => {
                self.streams.push(Stream {
                    blinded: blinded(&name),
                    sequence: 0,
                    chain: CHAIN_START,
                    day_first: 0,
                    day_before: CHAIN_START,
                    lined: false,
                });
                self.by_blinded.insert(blinded(&name), self.streams.len() - 1);
                self.names.insert(name, self.streams.len() - 1);
                self.streams.len() - 1
            }
        };
        if is_reading {
            self.readings.insert(entry.aggregate_id.as_bytes().into(), at);
        }
        at
    }

    /// The lines of a day that is over.
    fn close(&mut self, day: &PackDay) -> Result<(), MakeError> {
        let date = day.closed.date;
        let kept = self.source.lines.day_lines(date);
        let kept = match kept {
            Some(kept) => kept,
            None if day.closed.streams.count == 0 => Vec::new(),
            None => {
                let what = format!("the lines of the stream map of {date} are not kept (ledger/days)");
                return Err(MakeError::Damaged(what));
            }
        };
        let tree = LineTree::new(kept);
        let tree = tree.filter(|tree| {
            (tree.root(), tree.count()) == (day.closed.streams.root, day.closed.streams.count)
        });
        let Some(tree) = tree else {
            let what = format!("the lines that are kept of {date} are not those that its DayClosed names");
            return Err(MakeError::Damaged(what));
        };
        for (index, shown) in self.chosen(&tree) {
            let line = self.line(date, &tree, index, shown)?;
            self.lines.write_all(&line.encode())?;
            self.counts.streams += 1;
        }
        for at in std::mem::take(&mut self.touched) {
            let stream = &mut self.streams[at];
            if !std::mem::take(&mut stream.lined) {
                let what = format!("a stream that moved on {date} has no line in its map");
                return Err(MakeError::Damaged(what));
            }
            stream.day_first = 0;
        }
        Ok(())
    }

    /// The lines of the owners, and their neighbours.
    fn chosen(&self, tree: &LineTree) -> BTreeMap<u64, bool> {
        let mut chosen = BTreeMap::new();
        for owner in &self.plan.owners {
            let range = tree.range(&prefix(&self.plan.account, owner));
            let neighbours = [range.start.checked_sub(1), Some(range.end)];
            for index in neighbours
                .into_iter()
                .flatten()
                .filter(|index| *index < tree.count())
            {
                chosen.entry(index).or_insert(false);
            }
            chosen.extend(range.map(|index| (index, true)));
        }
        chosen
    }

    fn line(&mut self, date: Date, tree: &LineTree, index: u64, shown: bool) -> Result<MapLine, MakeError> {
        let mut line = MapLine {
            before: None,
            date,
            index,
            line: tree.text(index).to_owned(),
            opening: None,
            proof: tree.proof(index),
        };
        if !shown {
            return Ok(line);
        }
        let at = self.by_blinded.get(line.stream()).copied();
        let stream = at.and_then(|at| self.streams.get_mut(at));
        let Some(stream) = stream.filter(|stream| stream.day_first > 0) else {
            return Err(MakeError::Damaged(format!(
                "line {index} of {date} is of a stream that has no entry then"
            )));
        };
        let opening = Opening {
            first: stream.day_first,
            last: stream.sequence,
            chain: stream.chain,
        };
        line.opening = Some(opening.text());
        if stream.day_first > 1 && !self.lined_before.contains(&stream.blinded) {
            line.before = Some(stream.day_before);
        }
        stream.lined = true;
        self.lined_before.insert(stream.blinded.clone());
        line.check(&tree.root(), tree.count())
            .map_err(|what| MakeError::Damaged(format!("line {index} of {date}: {what}")))?;
        Ok(line)
    }

    fn finish(self) -> Result<Scanned, MakeError> {
        Ok(Scanned {
            entries: self.entries.finish()?,
            csv: self.csv.finish()?,
            lines: self.lines.finish()?,
            positions: self.positions.finish()?,
            config: self
                .config
                .encode()
                .map_err(|error| MakeError::Damaged(error.to_string()))?,
            artefacts: self.artefacts,
            counts: self.counts,
            values: self.values,
        })
    }
}

/// Ends what nobody wants any more.
fn goes_on(told: ControlFlow<()>) -> Result<(), MakeError> {
    match told {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(MakeError::Stopped),
    }
}

fn damaged(position: Position, what: &str) -> MakeError {
    MakeError::Damaged(format!("position {position}: {what}"))
}

/// The aggregate id of an entry that this house wrote.
fn aggregate_id(bytes: &[u8]) -> &[u8] {
    let rest = bytes.strip_prefix(b"{\"aggregate_id\":\"").unwrap_or_default();
    let end = rest.iter().position(|b| *b == b'"').unwrap_or_default();
    &rest[..end]
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
