//! The pass over a ledger's entries that writes what a pack holds into temporary files.
//!
//! Invariants: memory grows with streams, days and configuration, not with readings; every line of a map and every chain
//! is held against the ledger's own `DayClosed` on the way.
//! Source: FORMAT §5, §7.
//! Not here: what is chosen (`plan`), the hashes beside it, how it is put together (`make`).

use super::TOKENS;
use super::artefacts::Registered;
use super::derived::{CSV_HEADER, Config, Rows};
use super::lines::{LineTree, MapLine, Opening, blinded, prefix};
use super::make::{MakeError, Order, PackSource, goes_on};
use super::manifest::{Counts, Query, Subject};
use super::plan::{PackDay, Plan, read};
use super::spool::{Part, Spool};
use crate::ports_source::{READ_BYTES, READ_ENTRIES, read_error, wait};
use crate::verify::Progress;
use domain::entry::Entry;
use domain::event::Metadata;
use domain::hash::leaf_hash;
use domain::ids::IdKind;
use domain::reading::{READING_RECORDED, READINGS};
use domain::stream::{CHAIN_START, chain};
use domain::{Date, Hash, Position};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::ops::ControlFlow;

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
pub struct Scan<'a> {
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
pub struct Scanned {
    pub entries: Part,
    pub csv: Part,
    pub lines: Part,
    pub positions: Part,
    pub config: Vec<u8>,
    /// What its entries register.
    pub artefacts: Vec<Registered>,
    pub counts: Counts,
    pub values: u64,
}

impl<'a> Scan<'a> {
    pub fn new(source: &'a PackSource<'a>, order: &'a Order<'a>, plan: &'a Plan) -> Result<Self, MakeError> {
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

    pub fn run(&mut self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(), MakeError> {
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

    pub fn finish(self) -> Result<Scanned, MakeError> {
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

fn damaged(position: Position, what: &str) -> MakeError {
    MakeError::Damaged(format!("position {position}: {what}"))
}

/// The aggregate id of an entry that this house wrote.
fn aggregate_id(bytes: &[u8]) -> &[u8] {
    let rest = bytes.strip_prefix(b"{\"aggregate_id\":\"").unwrap_or_default();
    let end = rest.iter().position(|b| *b == b'"').unwrap_or_default();
    &rest[..end]
}
