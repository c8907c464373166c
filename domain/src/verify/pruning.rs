//! Entries that retention removed: each day's entries by class, shown and gone, against what says that they went.
//!
//! Invariants: a class of a day is shown whole or not at all; what is gone was named by a `RetentionApplied` of its class
//! and day, after the retention in force at the day's end, and of classes that are ever pruned; what was named is shown
//! no more. Memory grows with days.
//! Source: FORMAT §6.
//! Not here: that hashes of what is gone are those of the tree (`log_hasher`); holds, of which the format says no more
//! than that they are considered.

use crate::day::DayClosed;
use crate::entry::Entry;
use crate::event::{CLASSES, Class};
use crate::position::Position;
use crate::time::{Date, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// What does not hold: the first position that it concerns, and what.
pub type Wrong = (Position, String);

/// A day with what is gone of it.
#[derive(Debug, Clone, Default)]
struct Day {
    begins: Date,
    date: Date,
    closed_at: Position,
    counted: [u64; CLASSES.len()],
    shown: [u64; CLASSES.len()],
    /// The first entry of each class that is shown.
    first_shown: [Option<Position>; CLASSES.len()],
    /// By the entry that is said to have removed them: how many, and the first.
    gone: BTreeMap<Position, (u64, Position)>,
}

/// A `RetentionApplied`.
#[derive(Debug, Clone)]
struct Applied {
    class: Class,
    first: Date,
    last: Date,
    count: u64,
    recorded_at: Timestamp,
}

impl Applied {
    /// Whether days from `begins` to `date` are among those named, whole.
    fn names(&self, begins: Date, date: Date) -> bool {
        self.first <= begins && date <= self.last
    }
}

/// What a ledger says of how long entries are kept, and of what went.
#[derive(Debug, Default)]
pub struct Retention {
    applied: BTreeMap<Position, Applied>,
    /// By class: from which position on it is kept how many days; for ever where there are none.
    kept: [BTreeMap<Position, Option<u64>>; CLASSES.len()],
    holds: bool,
}

#[derive(Deserialize)]
struct Says {
    class: Option<String>,
    days: Option<Days>,
    count: Option<u64>,
    #[serde(default)]
    retention: BTreeMap<String, Option<u64>>,
}

#[derive(Deserialize)]
struct Days {
    first: Date,
    last: Date,
}

impl Retention {
    /// Takes an entry of the ledger's own stream.
    ///
    /// # Errors
    /// In words, where it cannot be what it is called.
    pub fn take(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let known = ["LedgerCreated", "RetentionPolicySet", "RetentionApplied"];
        self.holds |= entry.event_type == "HoldPlaced";
        if !known.contains(&entry.event_type) {
            return Ok(());
        }
        let says: Says = serde_json::from_slice(entry.payload)
            .map_err(|error| format!("{}: {error}", entry.event_type))?;
        if entry.event_type != "RetentionApplied" {
            for (class, days) in says.retention {
                if let Some(class) = Class::parse(&class) {
                    self.kept[class.index()].insert(entry.position, days);
                }
            }
            return Ok(());
        }
        let class = says.class.as_deref().and_then(Class::parse);
        let (Some(class), Some(days), Some(count)) = (class, says.days, says.count) else {
            return Err("RetentionApplied without class, days or count".to_owned());
        };
        if days.first > days.last {
            return Err("RetentionApplied of days that end before they begin".to_owned());
        }
        let applied = Applied {
            class,
            first: days.first,
            last: days.last,
            count,
            recorded_at: entry.recorded_at,
        };
        self.applied.insert(entry.position, applied);
        Ok(())
    }

    /// Whether the ledger has holds, which are not considered here.
    pub fn has_holds(&self) -> bool {
        self.holds
    }

    /// The class that the `RetentionApplied` at `by` removed of the days from `begins` to `date`.
    pub fn class_of(&self, by: Position, begins: Date, date: Date) -> Option<Class> {
        let applied = self
            .applied
            .get(&by)
            .filter(|applied| applied.names(begins, date));
        applied.map(|applied| applied.class)
    }

    /// What removed that class of the days from `begins` to `date`.
    pub fn removed(&self, class: Class, begins: Date, date: Date) -> Option<Position> {
        let names = |applied: &Applied| applied.class == class && applied.names(begins, date);
        self.applied
            .iter()
            .find(|(_, applied)| names(applied))
            .map(|(by, _)| *by)
    }

    /// Everything that was removed too early, or is kept for ever. `closed` are days with the positions of their `DayClosed`.
    pub fn unlawful(&self, closed: &[(Date, Position)]) -> Vec<Wrong> {
        let wrong = |(by, applied): (&Position, &Applied)| {
            let class = applied.class;
            let what = applied.words();
            if matches!(class, Class::Ledger | Class::Audit) {
                return Some((*by, format!("{what}: that class is kept for ever")));
            }
            let named = closed.iter().filter(|(date, _)| applied.names(*date, *date));
            let ended = named.copied().chain([(applied.last, *by)]);
            let early = ended.filter_map(|(date, until)| {
                let kept = self.kept[class.index()].range(..=until).next_back();
                let Some(days) = kept.and_then(|(_, days)| *days) else {
                    return Some("nothing says that it is ever to go".to_owned());
                };
                let kept_us = i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY_US);
                let over = applied.recorded_at.since(date.next().start()) >= kept_us;
                (!over).then(|| format!("{date} is to be kept for {days} days"))
            });
            let why = early.into_iter().next()?;
            Some((*by, format!("{what}: removed too early, {why}")))
        };
        self.applied.iter().filter_map(wrong).collect()
    }
}

impl Applied {
    fn words(&self) -> String {
        let class = self.class.as_str();
        format!(
            "RetentionApplied of the class {class} from {} to {}",
            self.first, self.last
        )
    }
}

/// Takes entries and stubs in order, and days as they are closed.
#[derive(Debug, Default)]
pub struct Pruning {
    /// The day that is open.
    day: Day,
    days: Vec<Day>,
    retention: Retention,
    pruned: u64,
}

impl Pruning {
    /// An entry of the open day, with its bytes.
    pub fn shown(&mut self, position: Position, class: Class) {
        self.day.shown[class.index()] += 1;
        self.day.first_shown[class.index()].get_or_insert(position);
    }

    /// An entry of the open day that is said to have been removed by another.
    pub fn gone(&mut self, position: Position, by: Position) {
        self.pruned += 1;
        self.day.gone.entry(by).or_insert((0, position)).0 += 1;
    }

    /// How many are gone.
    pub fn pruned(&self) -> u64 {
        self.pruned
    }

    /// What the ledger says of keeping and removing.
    pub fn retention(&mut self) -> &mut Retention {
        &mut self.retention
    }

    /// How many of the open day are gone.
    pub fn gone_today(&self) -> u64 {
        self.day.gone.values().map(|(count, _)| count).sum()
    }

    /// The open day is closed.
    pub fn close(&mut self, closed: &DayClosed, position: Position) {
        let mut day = std::mem::take(&mut self.day);
        day.begins = closed.begins();
        day.date = closed.date;
        day.closed_at = position;
        for class in CLASSES {
            day.counted[class.index()] = closed.entries.get(class.as_str()).copied().unwrap_or_default();
        }
        self.days.push(day);
    }

    /// Everything that does not hold of what is gone, by rising position.
    pub fn check(&self) -> Vec<Wrong> {
        let closed: Vec<(Date, Position)> = self.days.iter().map(|day| (day.date, day.closed_at)).collect();
        let mut wrong = self.retention.unlawful(&closed);
        for (position, applied) in &self.retention.applied {
            let named = self.days.iter().filter(|day| applied.names(day.begins, day.date));
            let counted: u64 = named.map(|day| day.counted[applied.class.index()]).sum();
            if counted != applied.count {
                let what = format!(
                    "{} counts {}, the days have {counted}",
                    applied.words(),
                    applied.count
                );
                wrong.push((*position, what));
            }
        }
        for day in &self.days {
            self.day(day, &mut wrong);
        }
        for (by, (count, first)) in &self.day.gone {
            wrong.push((
                *first,
                format!("{count} entries of a day that is not closed are said to be pruned by position {by}"),
            ));
        }
        wrong.sort_by_key(|(position, _)| *position);
        wrong
    }

    /// That a day's classes are shown whole or gone whole.
    fn day(&self, day: &Day, wrong: &mut Vec<Wrong>) {
        let mut gone = [0u64; CLASSES.len()];
        for (by, (count, first)) in &day.gone {
            match self.retention.class_of(*by, day.begins, day.date) {
                Some(class) if *by > day.closed_at => gone[class.index()] += count,
                _ => {
                    let what = format!(
                        "its bytes are gone, and no RetentionApplied of {} at position {by} says so",
                        day.date
                    );
                    wrong.push((*first, what));
                    return;
                }
            }
        }
        for class in CLASSES {
            let (counted, shown, gone) = (
                day.counted[class.index()],
                day.shown[class.index()],
                gone[class.index()],
            );
            let name = class.as_str();
            let named = self.retention.removed(class, day.begins, day.date);
            let first = day.first_shown[class.index()].unwrap_or(day.closed_at);
            match named {
                Some(by) if shown > 0 && gone > 0 => wrong.push((
                    first,
                    format!("{shown} of {counted} entries of the class {name} of {} are shown, which position {by} \
                             pruned: half of it is there", day.date),
                )),
                Some(by) if shown > 0 => wrong.push((
                    first,
                    format!("entries of the class {name} of {} are shown after position {by} pruned them", day.date),
                )),
                _ if shown + gone != counted => wrong.push((
                    first,
                    format!(
                        "DayClosed of {} counts {counted} entries of the class {name}, but {shown} are there and {gone} \
                         pruned",
                        day.date
                    ),
                )),
                _ => {}
            }
        }
    }
}
