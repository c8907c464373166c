//! The streams of a pack against the maps of their days: nothing missing, nothing added, nothing in another order.
//!
//! Invariants: a line counts only with its proof under the root that its day's `DayClosed` states; a sequence that a line
//! tells of and no entry has is missing, and named; a chain that does not lead to what its line hashes is tampered with.
//! Memory grows with streams and days. Entries come in the order of their positions.
//! Source: FORMAT §5, §7, §8.
//! Not here: whether `DayClosed` is the log's (`verify`), what payloads mean (`derived`).

use super::derived::RestsOn;
use super::lines::{MapLine, Opening, blinded, prefix};
use super::manifest::{Query, Subject};
use super::{LEDGER_EVENTS, TOKENS};
use crate::source::Flaw;
use domain::day::{DAY_CLOSED, DayClosed};
use domain::entry::Entry;
use domain::event::Metadata;
use domain::reading::READINGS;
use domain::stream::{CHAIN_START, chain};
use domain::{Date, Hash, Position};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Findings that are kept; a pack with more is no better known.
const FINDINGS_MAX: usize = 200;

/// A day that the pack shows as closed.
#[derive(Debug, Clone)]
pub struct Day {
    /// What its entry says.
    pub closed: DayClosed,
    /// Where that is.
    pub position: Position,
    /// Whether it is of the days asked for.
    pub asked: bool,
}

/// A line with what it opens to.
struct Line {
    day: usize,
    line: MapLine,
    opening: Opening,
    /// The chain value before the first entry of the day; unknown where the line before was left out.
    start: Option<Hash>,
}

/// A stream of the pack.
struct Seen {
    blinded: String,
    owner: Option<String>,
    account: Option<String>,
    first_position: Position,
    is_reading: bool,
    /// The newest sequence, 0 where there is none.
    last: u64,
    /// The chain value there; unknown behind a gap.
    chain: Option<Hash>,
    /// Which of its lines is next.
    next_line: usize,
    /// The line of the day that its entries are of.
    run: Option<usize>,
}

/// Sequences that lack, and entries that stand for some, of one day or of none.
#[derive(Default)]
struct Region {
    missing: u64,
    pruned: u64,
    what: Vec<String>,
}

/// What was found.
#[derive(Default)]
pub struct Findings {
    /// What does not hold.
    pub tampered: Vec<Flaw>,
    /// What is missing.
    pub incomplete: Vec<String>,
    /// Entries that are lawfully gone.
    pub pruned: u64,
}

impl Findings {
    fn tampered(&mut self, position: Option<Position>, what: String) {
        if self.tampered.len() < FINDINGS_MAX {
            self.tampered.push(Flaw { position, what });
        }
    }

    /// Something is missing.
    pub fn incomplete(&mut self, what: String) {
        if self.incomplete.len() < FINDINGS_MAX && !self.incomplete.contains(&what) {
            self.incomplete.push(what);
        }
    }
}

/// Takes the entries of a pack in order.
pub struct StreamCheck<'a> {
    query: &'a Query,
    /// Those asked for, rising.
    days: Vec<&'a Day>,
    /// Positions of every `DayClosed` whose head is there.
    closings: BTreeSet<u64>,
    closings_seen: BTreeSet<u64>,
    /// Every line of a day, by index; owners' and neighbours'.
    maps: Vec<Vec<MapLine>>,
    lines: Vec<Line>,
    /// By blinded name, rising by day.
    by_stream: HashMap<String, Vec<usize>>,
    streams: BTreeMap<String, Seen>,
    /// One a day, and one for all else.
    regions: Vec<Region>,
    day: usize,
    /// Entries of configuration that readings may name.
    configs: HashSet<u64>,
    latest: Option<Date>,
    /// Entries of a day and stream that no line opens.
    uncovered: Vec<(usize, String, Position)>,
    findings: Findings,
}

impl<'a> StreamCheck<'a> {
    /// For the days of a pack, rising.
    pub fn new(query: &'a Query, days: &'a [Day]) -> Self {
        let asked: Vec<&Day> = days.iter().filter(|day| day.asked).collect();
        Self {
            query,
            maps: vec![Vec::new(); asked.len()],
            regions: (0..=asked.len()).map(|_| Region::default()).collect(),
            days: asked,
            closings: days.iter().map(|day| day.position.get()).collect(),
            closings_seen: BTreeSet::new(),
            lines: Vec::new(),
            by_stream: HashMap::new(),
            streams: BTreeMap::new(),
            day: 0,
            configs: HashSet::new(),
            latest: None,
            uncovered: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Takes the next line of a map.
    ///
    /// # Errors
    /// In words, where it does not hold.
    pub fn line(&mut self, line: MapLine) -> Result<(), String> {
        let what = |what: &str| format!("line {} of the map of {}: {what}", line.index, line.date);
        let day = self.days.iter().position(|day| day.closed.date == line.date);
        let day = day.ok_or_else(|| what("that day is not one of this pack"))?;
        if self.maps[day + 1..].iter().any(|map| !map.is_empty()) {
            return Err(what("it is out of order"));
        }
        if let Some(before) = self.maps[day].last()
            && (before.index >= line.index || before.line >= line.line)
        {
            return Err(what("it is out of order"));
        }
        let map = self.days[day].closed.streams;
        let opening = line.check(&map.root, map.count).map_err(|error| what(&error))?;
        if let Some(opening) = opening {
            let of_stream = self.by_stream.entry(line.stream().to_owned()).or_default();
            let previous = of_stream.last().map(|at| self.lines[*at].opening);
            let start = match (opening.first, previous, line.before) {
                (1, None, None) => Some(CHAIN_START),
                (first, Some(previous), None) if first == previous.last + 1 => Some(previous.chain),
                (2.., None, Some(before)) => Some(before),
                // The line before this one was left out.
                (2.., None, None) => None,
                (first, Some(previous), None) if first > previous.last => None,
                _ => return Err(what("it does not go on where its stream was before")),
            };
            if start.is_none() {
                let what = what("the line of its stream before it is not in the pack");
                self.findings.incomplete(what);
            }
            of_stream.push(self.lines.len());
            self.lines.push(Line {
                day,
                line: line.clone(),
                opening,
                start,
            });
        }
        self.maps[day].push(line);
        Ok(())
    }

    /// The day asked for that holds a position.
    fn day_of(&mut self, position: Position) -> Option<usize> {
        while self
            .days
            .get(self.day)
            .is_some_and(|day| day.closed.size.get() <= position.get())
        {
            self.day += 1;
        }
        let day = self.days.get(self.day)?;
        (day.closed.first_position <= position).then_some(self.day)
    }

    /// Takes an entry without its bytes.
    pub fn stub(&mut self, position: Position, is_pruned: bool) {
        let region = self.day_of(position).unwrap_or(self.days.len());
        self.regions[region].pruned += u64::from(is_pruned);
    }

    /// The first and last date of the day that a position is of, where it is asked for and closed.
    pub fn dates_of(&mut self, position: Position) -> Option<(Date, Date)> {
        let day = self.day_of(position)?;
        Some((self.days[day].closed.begins(), self.days[day].closed.date))
    }

    /// The days asked for that are closed, with the positions of their `DayClosed`.
    pub fn closed(&self) -> Vec<(Date, Position)> {
        self.days
            .iter()
            .map(|day| (day.closed.date, day.position))
            .collect()
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry<'_>, leaf: &Hash) {
        if entry.stream_is("ledger", "main") {
            return self.ledger(entry);
        }
        let date = entry.recorded_at.date();
        self.latest = self.latest.max(Some(date));
        let day = self.day_of(entry.position);
        self.place(entry, date, day);
        let name = entry.stream_name();
        if !self.streams.contains_key(&name) {
            let seen = Seen::new(entry, &name);
            self.streams.insert(name.clone(), seen);
        }
        let Some(mut seen) = self.streams.remove(&name) else {
            return;
        };
        self.extend(&name, &mut seen, entry, leaf, day);
        self.streams.insert(name, seen);
        if matches!(entry.aggregate_type, "device" | "channel") {
            self.configs.insert(entry.position.get());
        }
    }

    /// Whether what a reading rests on is there: the configuration that it names, the channels of its values.
    pub fn rests(&mut self, reading: &Entry<'_>, on: &RestsOn) {
        if !self.configs.contains(&on.config.get()) {
            self.findings.incomplete(format!(
                "the configuration at position {}, which readings of {} name, is not in the pack",
                on.config, reading.aggregate_id
            ));
        }
        if let Some(key) = &on.unregistered {
            self.findings.incomplete(format!(
                "the registration of the channel {key} of {} is not in the pack",
                reading.aggregate_id
            ));
        }
    }

    fn ledger(&mut self, entry: &Entry<'_>) {
        let position = entry.position;
        let known = match entry.event_type {
            DAY_CLOSED => {
                if !self.closings.contains(&position.get()) {
                    let what = format!(
                        "the head of the day that is closed at position {position} is not in the pack"
                    );
                    self.findings.incomplete(what);
                }
                self.closings_seen.insert(position.get());
                true
            }
            "LedgerCreated" => position == Position::FIRST,
            other => LEDGER_EVENTS.contains(&other),
        };
        if !known {
            let what = format!("{} does not belong in this pack", entry.event_type);
            self.findings.tampered(Some(position), what);
        }
    }

    /// That an entry is where the days asked for have room for it.
    fn place(&mut self, entry: &Entry<'_>, date: Date, day: Option<usize>) {
        let wrong = match day {
            Some(day) => self.days[day].closed.date != date,
            // Before the first of those days, or behind the last.
            None => {
                let first = self.days.first().is_some_and(|day| {
                    entry.position < day.closed.first_position && date >= day.closed.begins()
                });
                let last = self
                    .days
                    .last()
                    .is_some_and(|day| entry.position > day.position && date <= day.closed.date);
                first || last
            }
        };
        let covered = self.days.last().filter(|day| day.closed.date >= self.query.to);
        let behind = covered.is_some_and(|day| entry.position > day.position);
        let unasked = entry.aggregate_type == READINGS && !self.query.asks_for(date);
        if wrong || behind || unasked {
            let what = format!(
                "an entry of {} that was recorded on {date} does not belong here",
                entry.stream_name()
            );
            self.findings.tampered(Some(entry.position), what);
        }
    }

    fn extend(&mut self, name: &str, seen: &mut Seen, entry: &Entry<'_>, leaf: &Hash, day: Option<usize>) {
        if seen.run.map(|line| self.lines[line].day) != day {
            self.end_run(name, seen);
            if let Some(day) = day {
                self.begin_run(name, seen, entry, day);
            }
        }
        let region = day.unwrap_or(self.days.len());
        let expected = if seen.is_reading && seen.last == 0 {
            entry.sequence
        } else {
            seen.last + 1
        };
        if entry.sequence < expected {
            let what = format!("sequence {} of {name} comes after {}", entry.sequence, seen.last);
            return self.findings.tampered(Some(entry.position), what);
        }
        if entry.sequence > expected {
            self.missing(region, name, expected, entry.sequence - 1);
            seen.chain = None;
        }
        seen.last = entry.sequence;
        seen.chain = seen.chain.map(|before| chain(&before, leaf));
        if seen
            .run
            .is_some_and(|line| entry.sequence > self.lines[line].opening.last)
        {
            let what = format!(
                "sequence {} of {name} is behind the last that its day's map tells of",
                entry.sequence
            );
            self.findings.tampered(Some(entry.position), what);
        }
    }

    /// The stream's entries are of that day from now on.
    fn begin_run(&mut self, name: &str, seen: &mut Seen, entry: &Entry<'_>, day: usize) {
        self.skip_lines(name, seen, day);
        let of_stream = self.by_stream.get(&seen.blinded);
        let line = of_stream.and_then(|lines| lines.get(seen.next_line)).copied();
        let Some(at) = line.filter(|at| self.lines[*at].day == day) else {
            let known = self
                .uncovered
                .last()
                .is_some_and(|(of, stream, _)| *of == day && stream == name);
            if !known && self.uncovered.len() < FINDINGS_MAX {
                self.uncovered.push((day, name.to_owned(), entry.position));
            }
            return;
        };
        seen.next_line += 1;
        seen.run = Some(at);
        let (opening, start) = (self.lines[at].opening, self.lines[at].start);
        if !seen.is_reading || seen.last > 0 {
            if seen.last + 1 < opening.first {
                self.missing(self.days.len(), name, seen.last + 1, opening.first - 1);
                seen.chain = None;
            } else if seen.last + 1 > opening.first {
                let what = format!(
                    "{name} had {} entries before a day that begins with {}",
                    seen.last, opening.first
                );
                self.findings.tampered(Some(entry.position), what);
            }
            if seen
                .chain
                .is_some_and(|chain| start.is_some_and(|start| chain != start))
            {
                let what =
                    format!("the entries of {name} before this one are not those that its chain tells of");
                self.findings.tampered(Some(entry.position), what);
            }
        }
        seen.last = opening.first - 1;
        seen.chain = start;
    }

    /// The stream's entries of a day are over.
    fn end_run(&mut self, name: &str, seen: &mut Seen) {
        let Some(at) = seen.run.take() else { return };
        let (day, opening) = (self.lines[at].day, self.lines[at].opening);
        if seen.last < opening.last {
            self.missing(day, name, seen.last + 1, opening.last);
        } else if seen.chain.is_some_and(|chain| chain != opening.chain) {
            let what = format!(
                "the entries of {name} on {} are not those that its day's map tells of",
                self.days[day].closed.date
            );
            self.findings
                .tampered(Some(self.days[day].closed.first_position), what);
        }
        seen.last = opening.last;
        seen.chain = Some(opening.chain);
    }

    /// Days before `day` of which the stream has no entry in the pack.
    fn skip_lines(&mut self, name: &str, seen: &mut Seen, day: usize) {
        let of_stream = self.by_stream.get(&seen.blinded).cloned().unwrap_or_default();
        for at in &of_stream[seen.next_line.min(of_stream.len())..] {
            let (of, opening) = (self.lines[*at].day, self.lines[*at].opening);
            if of >= day {
                break;
            }
            self.missing(of, name, opening.first, opening.last);
            (seen.last, seen.chain) = (opening.last, Some(opening.chain));
            seen.next_line += 1;
        }
    }

    fn missing(&mut self, region: usize, name: &str, from: u64, to: u64) {
        let day = self
            .days
            .get(region)
            .map(|day| format!(" on {}", day.closed.date));
        let day = day.unwrap_or_default();
        let region = &mut self.regions[region];
        region.missing = region.missing.saturating_add((to - from).saturating_add(1));
        if region.what.len() < FINDINGS_MAX {
            region.what.push(if from == to {
                format!("{name}: sequence {from}{day} is missing")
            } else {
                format!("{name}: sequences {from} to {to}{day} are missing")
            });
        }
    }

    /// The account and the owners that the query selects, as the entries tell; `None` where the first of them is not there.
    pub fn owners(&self, of: &Subject, of_site: &BTreeSet<String>) -> Option<(String, Vec<String>)> {
        let first = self.streams.get(&format!("{}/{}", of.kind(), of.id()))?;
        let account = first.account.clone()?;
        let owner = first.owner.clone()?;
        let mut owners = vec![owner];
        if let Subject::Alarm { channel, .. } = of {
            // The alarm is its channel's, and the channel its device's.
            if first.owner.as_ref() != Some(channel) {
                return None;
            }
            owners.push(self.streams.get(&format!("channel/{channel}"))?.owner.clone()?);
        }
        owners.extend(of_site.iter().cloned());
        owners.sort_by_key(|owner| blinded(owner));
        owners.dedup();
        Some((account, owners))
    }

    /// No more entries. `owners` are those of the account that are asked for; `None` where the pack does not tell.
    pub fn finish(mut self, owners: Option<(String, Vec<String>)>) -> Checked {
        for (name, mut seen) in std::mem::take(&mut self.streams) {
            self.end_run(&name, &mut seen);
            self.skip_lines(&name, &mut seen, usize::MAX);
            self.by_stream.remove(&seen.blinded);
            let known = owners.as_ref().zip(seen.owner.as_ref());
            if known.is_some_and(|((_, owners), owner)| !owners.contains(owner)) {
                let what = format!("{name} is not of what was asked for");
                self.findings.tampered(Some(seen.first_position), what);
            }
            self.streams.insert(name, seen);
        }
        for day in self.closings.difference(&self.closings_seen) {
            self.findings.incomplete(format!(
                "the DayClosed at position {day}, whose head is in the pack, is not"
            ));
        }
        if let Some((account, owners)) = &owners {
            self.absent_streams(owners);
            let torn = self.maps(account, owners);
            self.uncovered(&torn);
        }
        for region in std::mem::take(&mut self.regions) {
            if region.missing > 0 && region.missing == region.pruned {
                self.findings.pruned += region.missing;
            } else {
                region
                    .what
                    .into_iter()
                    .for_each(|what| self.findings.incomplete(what));
            }
        }
        Checked {
            streams: self.streams.len() as u64,
            latest: self.latest,
            findings: self.findings,
        }
    }

    /// Streams that the maps tell of and that have no entry in the pack; tokens' are given as stubs.
    fn absent_streams(&mut self, owners: &[String]) {
        let tokens: HashSet<String> = owners
            .iter()
            .map(|owner| blinded(&format!("{TOKENS}/{owner}")))
            .collect();
        let mut absent: Vec<(String, Vec<usize>)> = std::mem::take(&mut self.by_stream).into_iter().collect();
        absent.sort();
        absent.retain(|(stream, _)| !tokens.contains(stream));
        for (stream, lines) in absent {
            for at in lines {
                let (day, opening) = (self.lines[at].day, self.lines[at].opening);
                let name = format!("a stream of what was asked for (in the maps: {stream})");
                self.missing(day, &name, opening.first, opening.last);
            }
        }
    }

    /// Entries that no line opens are none of the log's streams, unless lines of their owner are missing.
    fn uncovered(&mut self, torn: &HashSet<(usize, String)>) {
        for (day, name, position) in std::mem::take(&mut self.uncovered) {
            let owner = self.streams.get(&name).and_then(|seen| seen.owner.clone());
            if owner.is_some_and(|owner| !torn.contains(&(day, owner))) {
                let what = format!("an entry of {name} that the map of its day does not tell of");
                self.findings.tampered(Some(position), what);
            }
        }
    }

    /// Every day's lines of every owner, and that there are no others. The days and owners of which some are missing.
    fn maps(&mut self, account: &str, owners: &[String]) -> HashSet<(usize, String)> {
        let mut torn = HashSet::new();
        let prefixes: Vec<String> = owners.iter().map(|owner| prefix(account, owner)).collect();
        for line in &self.lines {
            if !prefixes.iter().any(|prefix| prefix == line.line.owner()) {
                let what = format!(
                    "line {} of the map of {} is opened, but of something else",
                    line.line.index, line.line.date
                );
                self.findings.tampered(None, what);
            }
        }
        for (at, (day, map)) in self.days.iter().zip(&self.maps).enumerate() {
            let (date, count) = (day.closed.date, day.closed.streams.count);
            for (owner, prefix) in owners.iter().zip(&prefixes) {
                if count > 0 && !is_closed(map, prefix, count) {
                    torn.insert((at, owner.clone()));
                    self.findings.incomplete(format!(
                        "{owner} on {date}: the lines of its streams and their neighbours in the day's map are not all there"
                    ));
                }
            }
        }
        torn
    }
}

/// Whether the lines of an owner are all there, by index and between their neighbours, and open.
fn is_closed(map: &[MapLine], prefix: &str, count: u64) -> bool {
    let from = map.partition_point(|line| line.owner() < prefix);
    let to = map.partition_point(|line| line.owner() <= prefix);
    let own = &map[from..to];
    let left = from.checked_sub(1).and_then(|at| map.get(at));
    let right = map.get(to);
    let chain: Vec<&MapLine> = left.into_iter().chain(own).chain(right).collect();
    let consecutive = chain.windows(2).all(|pair| pair[0].index + 1 == pair[1].index);
    let begins = left.is_some() || chain.first().is_some_and(|line| line.index == 0);
    let ends = right.is_some() || chain.last().is_some_and(|line| line.index + 1 == count);
    consecutive && begins && ends && own.iter().all(|line| line.opening.is_some())
}

impl Seen {
    fn new(entry: &Entry<'_>, name: &str) -> Self {
        let is_reading = entry.aggregate_type == READINGS;
        let names = (entry.sequence == 1 && !is_reading)
            .then(|| Metadata::read(entry.metadata).ok())
            .flatten();
        let names = names.unwrap_or_default();
        Self {
            blinded: blinded(name),
            owner: if is_reading {
                Some(entry.aggregate_id.to_owned())
            } else {
                names.owner
            },
            account: names.account,
            first_position: entry.position,
            is_reading,
            last: 0,
            chain: (!is_reading).then_some(CHAIN_START),
            next_line: 0,
            run: None,
        }
    }
}

/// What was found out about the streams.
pub struct Checked {
    /// Streams with entries.
    pub streams: u64,
    /// The day of the newest entry of a stream asked for.
    pub latest: Option<Date>,
    /// What does not hold.
    pub findings: Findings,
}
