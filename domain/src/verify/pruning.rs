//! Entries that retention removed: each day's entries by class, shown and gone, against what says that they went.
//!
//! Invariants: a class of a day is shown whole or not at all; what is gone was named by a `RetentionApplied` of its class
//! and day, after the retention in force at the day's end, and of classes that are ever pruned; what was named is shown
//! no more. Where entries are withheld, all of that is held against what is shown, and what cannot be is said: a day with
//! withheld entries shows no more than it counts; what removed something is looked up unless it is itself withheld; and
//! retention and classes are known up to where entries of the ledger's own stream are withheld. Memory grows with days.
//! Source: FORMAT §6.
//! Not here: that hashes of what is gone are those of the tree (`log_hasher`); holds, of which the format says no more
//! than that they are considered.

use crate::day::DayClosed;
use crate::entry::Entry;
use crate::event::{CLASSES, Class};
use crate::position::Position;
use crate::retention::{RETENTION_POLICY_SET, RetentionTerms};
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
    last_shown: Option<Position>,
    withheld: u64,
}

/// What a day's stubs are, by what is said to have removed them.
#[derive(Default)]
struct Gone {
    by_class: [u64; CLASSES.len()],
    /// What removed these is withheld.
    untold: u64,
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
    /// What nothing later may shorten.
    terms: RetentionTerms,
    /// The first entry that may shorten what an entry before it says that was not shown.
    untold: Option<Position>,
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
    /// In words, where it cannot be what it is called, or shortens how long a class is kept.
    pub fn take(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        let known = ["LedgerCreated", RETENTION_POLICY_SET, "RetentionApplied"];
        self.holds |= entry.event_type == "HoldPlaced";
        if !known.contains(&entry.event_type) {
            return Ok(());
        }
        let says: Says = serde_json::from_slice(entry.payload)
            .map_err(|error| format!("{}: {error}", entry.event_type))?;
        if entry.event_type != "RetentionApplied" {
            if (entry.event_type == "LedgerCreated") != (entry.position == Position::FIRST) {
                return Err("a LedgerCreated that is not the first entry".to_owned());
            }
            for (class, days) in &says.retention {
                if let Some(class) = Class::parse(class) {
                    self.kept[class.index()].insert(entry.position, *days);
                }
            }
            let is_told = self.terms.take(entry.position, &says.retention);
            if !is_told.map_err(|shortened| shortened.to_string())? {
                self.untold.get_or_insert(entry.position);
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
        self.unlawful_where(closed, |_| true)
    }

    /// The same, where what the ledger says of keeping is known only at some positions. Of other days it is held that they
    /// had ended, and of classes that are ever pruned.
    fn unlawful_where(&self, closed: &[(Date, Position)], is_known: impl Fn(Position) -> bool) -> Vec<Wrong> {
        let wrong = |(by, applied): (&Position, &Applied)| {
            let what = applied.words();
            if matches!(applied.class, Class::Ledger | Class::Audit) {
                return Some((*by, format!("{what}: that class is kept for ever")));
            }
            let why = self.too_early(*by, applied, closed, &is_known)?;
            Some((*by, format!("{what}: removed too early, {why}")))
        };
        self.applied.iter().filter_map(wrong).collect()
    }

    /// Why what that entry removed was still to be kept.
    fn too_early(
        &self,
        by: Position,
        applied: &Applied,
        closed: &[(Date, Position)],
        is_known: impl Fn(Position) -> bool,
    ) -> Option<String> {
        let kept = &self.kept[applied.class.index()];
        let named = closed.iter().filter(|(date, _)| applied.names(*date, *date));
        let ended = named.map(|(date, at)| (*date, is_known(*at), kept.range(..=*at).next_back()));
        // Where the last day ended is not known to everybody, and what lengthens retention afterwards is not of that day.
        let last = (!closed.iter().any(|(date, _)| *date == applied.last)).then(|| {
            let least = kept.range(..=by).min_by_key(|(_, days)| days.unwrap_or(u64::MAX));
            (applied.last, is_known(by), least)
        });
        ended.chain(last).find_map(|(date, is_known, kept)| {
            let since_us = applied.recorded_at.since(date.next().start());
            if !is_known {
                return (since_us < 0).then(|| format!("{date} had not ended"));
            }
            let Some(days) = kept.and_then(|(_, days)| *days) else {
                return Some("nothing says that it is ever to go".to_owned());
            };
            let kept_us = i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY_US);
            (since_us < kept_us).then(|| format!("{date} is to be kept for {days} days"))
        })
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
    withheld: u64,
    /// Withheld since the last entry of the ledger's own stream.
    withheld_since: u64,
    /// Whether what is said to have removed something is withheld, by its position, which is yet to come when it is said.
    removers: BTreeMap<Position, bool>,
    /// The first entry of the ledger's own stream before which some of it are withheld.
    hole: Option<Position>,
}

/// What was found of what is gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What does not hold, by rising position.
    pub wrong: Vec<Wrong>,
    /// What could not be told, in words, because of what is withheld.
    pub not_checked: Vec<String>,
}

impl Pruning {
    /// An entry of the open day, with its bytes.
    pub fn shown(&mut self, position: Position, class: Class) {
        self.day.shown[class.index()] += 1;
        self.day.first_shown[class.index()].get_or_insert(position);
        self.day.last_shown = Some(position);
    }

    /// An entry of the ledger's own stream, before which so many of that stream were not shown since the one before.
    ///
    /// # Errors
    /// In words, where more are missing than can be withheld: none of that stream is ever pruned.
    pub fn ledger(&mut self, position: Position, missing: u64) -> Result<(), String> {
        let withheld = std::mem::take(&mut self.withheld_since);
        if missing > withheld {
            return Err(format!(
                "{missing} entries of the ledger's own stream before it are gone, which is kept for ever"
            ));
        }
        if missing > 0 {
            self.hole.get_or_insert(position);
        }
        Ok(())
    }

    /// An entry of the open day that is said to have been removed by another.
    pub fn gone(&mut self, position: Position, by: Position) {
        self.pruned += 1;
        self.removers.entry(by).or_insert(false);
        self.day.gone.entry(by).or_insert((0, position)).0 += 1;
    }

    /// An entry whose bytes are withheld.
    pub fn withheld(&mut self, position: Position) {
        self.withheld += 1;
        self.withheld_since += 1;
        self.day.withheld += 1;
        if let Some(is_withheld) = self.removers.get_mut(&position) {
            *is_withheld = true;
        }
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

    /// Everything that does not hold of what is gone, and what cannot be told.
    pub fn check(&self) -> Found {
        let mut found = Found::default();
        let closed: Vec<(Date, Position)> = self.days.iter().map(|day| (day.date, day.closed_at)).collect();
        found.wrong = self.retention.unlawful_where(&closed, |by| self.knows(by));
        let last = self.days.last().map(|day| day.date);
        for (position, applied) in &self.retention.applied {
            // Days follow one another, so that up to the last one every count is known.
            if !self.knows(*position) && last < Some(applied.last) {
                continue;
            }
            let named = self.days.iter().filter(|day| applied.names(day.begins, day.date));
            let counted: u64 = named.map(|day| day.counted[applied.class.index()]).sum();
            if counted != applied.count {
                let what = format!(
                    "{} counts {}, the days have {counted}",
                    applied.words(),
                    applied.count
                );
                found.wrong.push((*position, what));
            }
        }
        let mut untold = 0;
        for day in &self.days {
            untold += self.day(day, &mut found.wrong);
        }
        for (by, (count, first)) in &self.day.gone {
            if self.may_be_closed(*by) {
                untold += count;
                continue;
            }
            found.wrong.push((
                *first,
                format!("{count} entries of a day that is not closed are said to be pruned by position {by}"),
            ));
        }
        found.wrong.sort_by_key(|(position, _)| *position);
        found.not_checked = self.not_checked(untold);
        found
    }

    /// Whether everything that the ledger's own stream says before this entry of it was shown.
    fn knows(&self, entry: Position) -> bool {
        self.hole.is_none_or(|hole| entry < hole)
    }

    /// Whether what is said to have removed something is there, and withheld.
    fn is_withheld(&self, by: Position) -> bool {
        self.removers.get(&by).is_some_and(|is_withheld| *is_withheld)
    }

    /// Whether what is withheld may close the open day before that entry, which removed something of it. What is shown of
    /// that day is all of one date, so that its end can only be withheld behind the last of it; or before the first of it,
    /// where no day is seen to be closed.
    fn may_be_closed(&self, by: Position) -> bool {
        let is_told = self.retention.applied.contains_key(&by);
        let first = self.day.first_shown.iter().flatten().min();
        let before = self.days.is_empty() && first.is_none_or(|first| by <= *first);
        let after = self.day.last_shown.is_none_or(|last| by > last.next());
        if is_told {
            return before && !self.knows(by);
        }
        self.is_withheld(by) && (before || after)
    }

    /// Whether entries of the ledger's own stream before one that is shown are withheld.
    pub fn has_hole(&self) -> bool {
        self.hole.is_some()
    }

    fn not_checked(&self, untold: u64) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(untold) = self.retention.untold {
            words.push(format!(
                "whether what position {untold} says of how long entries are kept is shorter than it was: the ledger's \
                 first entry is withheld"
            ));
        }
        if self.pruned == 0 && self.retention.applied.is_empty() {
            return words;
        }
        let mixed = self.days.iter().chain([&self.day]);
        let mixed = mixed.filter(|day| day.withheld > 0 && !day.gone.is_empty());
        let mixed = mixed.count();
        if mixed > 0 {
            words.push(format!(
                "whether what is pruned of {mixed} days is of the class that was to go, and all of it: entries of those \
                 days are withheld"
            ));
        }
        if untold > 0 {
            words.push(format!(
                "whether {untold} pruned entries were removed lawfully: what is said to have removed them, or what closed \
                 their day, is withheld"
            ));
        }
        if let Some(hole) = self.hole {
            words.push(format!(
                "how long entries are kept and of which class they are, from position {hole} on: entries of the ledger's \
                 own stream before it are withheld"
            ));
        }
        words
    }

    /// What removed a day's stubs; nothing where one of them has no `RetentionApplied`, which is said.
    fn removed(&self, day: &Day, wrong: &mut Vec<Wrong>) -> Option<Gone> {
        let mut gone = Gone::default();
        for (by, (count, first)) in &day.gone {
            let class = self.retention.class_of(*by, day.begins, day.date);
            match class.filter(|_| *by > day.closed_at) {
                Some(class) => gone.by_class[class.index()] += count,
                None if *by > day.closed_at && self.is_withheld(*by) => gone.untold += count,
                None => {
                    let what = format!(
                        "its bytes are gone, and no RetentionApplied of {} at position {by} says so",
                        day.date
                    );
                    wrong.push((*first, what));
                    return None;
                }
            }
        }
        Some(gone)
    }

    /// That a day's classes are shown whole or gone whole, as far as nothing of it is withheld. Gives how many of it are gone
    /// of which it cannot be told what removed them.
    fn day(&self, day: &Day, wrong: &mut Vec<Wrong>) -> u64 {
        let Some(removed) = self.removed(day, wrong) else {
            return 0;
        };
        // Classes of what is shown are those of the table in force, which the ledger's own stream tells.
        let knows_classes = self.knows(day.closed_at);
        let is_whole = day.withheld + removed.untold == 0;
        for class in CLASSES {
            let (counted, gone) = (day.counted[class.index()], removed.by_class[class.index()]);
            let name = class.as_str();
            if !knows_classes {
                let is_named = self.retention.removed(class, day.begins, day.date).is_some();
                if gone > counted || is_whole && is_named && gone != counted {
                    wrong.push((
                        day.closed_at,
                        format!(
                            "DayClosed of {} counts {counted} entries of the class {name}, but {gone} are said to be pruned",
                            day.date
                        ),
                    ));
                }
                continue;
            }
            let shown = day.shown[class.index()];
            let named = self.retention.removed(class, day.begins, day.date);
            let first = day.first_shown[class.index()].unwrap_or(day.closed_at);
            let adds_up = if is_whole {
                shown + gone == counted
            } else {
                shown + gone <= counted
            };
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
                _ if !adds_up => wrong.push((
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
        removed.untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given of an entry.
    #[derive(Clone, Copy)]
    enum Given {
        Shown(Class),
        Gone(u64),
        Withheld,
    }
    use Given::{Gone, Shown, Withheld};

    const READING: Given = Shown(Class::Reading);
    const AUDIT: Given = Shown(Class::Audit);
    /// Where the `DayClosed` stands, and the `RetentionApplied` behind it.
    const CLOSED: u64 = 5;
    const APPLIED: u64 = 9;

    fn date() -> Date {
        Date::parse("2026-05-18").expect("a day")
    }

    fn removed(class: Class, count: u64, days_later: i64) -> Applied {
        Applied {
            class,
            first: date(),
            last: date(),
            count,
            recorded_at: Timestamp::from_micros(date().next().start().as_micros() + days_later * DAY_US)
                .expect("a time"),
        }
    }

    /// A ledger whose first entry keeps readings for ten days, with a day of three readings and an entry of audit, of which
    /// that is given; and an entry of the next day that is withheld.
    fn ledger(given: [Given; 4], applied: Option<Applied>) -> Pruning {
        let mut pruning = Pruning::default();
        pruning.retention.kept[Class::Reading.index()].insert(Position::FIRST, Some(10));
        pruning.ledger(Position::FIRST, 0).expect("the first");
        for (position, given) in (1..).map(Position).zip(given) {
            match given {
                Shown(class) => pruning.shown(position, class),
                Gone(by) => pruning.gone(position, Position(by)),
                Withheld => pruning.withheld(position),
            }
        }
        let mut day = std::mem::take(&mut pruning.day);
        (day.begins, day.date, day.closed_at) = (date(), date(), Position(CLOSED));
        day.counted[Class::Reading.index()] = 3;
        day.counted[Class::Audit.index()] = 1;
        pruning.days.push(day);
        pruning.withheld(Position(CLOSED + 1));
        match applied {
            None => pruning.withheld(Position(APPLIED)),
            Some(applied) => _ = pruning.retention.applied.insert(Position(APPLIED), applied),
        }
        pruning
    }

    fn wrong(given: [Given; 4], applied: Applied, words: &str) {
        let found = ledger(given, Some(applied)).check();
        assert!(
            found.wrong.iter().any(|(_, what)| what.contains(words)),
            "{words}: {found:?}"
        );
    }

    /// Nothing is wrong, and this is said.
    fn unsure(pruning: &Pruning, words: &[&str]) {
        let found = pruning.check();
        assert_eq!(found.wrong, []);
        assert_eq!(found.not_checked.len(), words.len(), "{:?}", found.not_checked);
        for (said, words) in found.not_checked.iter().zip(words) {
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn what_is_lawfully_gone_beside_what_is_withheld_is_not_wrong_and_what_cannot_be_told_is_said() {
        let lawful = || removed(Class::Reading, 3, 10);
        let gone = Gone(APPLIED);
        unsure(&ledger([gone, gone, gone, AUDIT], Some(lawful())), &[]);
        let mixed = "whether what is pruned of 1 days is of the class that was to go";
        for given in [
            [gone, gone, gone, Withheld],
            [gone, Withheld, gone, AUDIT],
            [gone, Withheld, Withheld, Withheld],
        ] {
            unsure(&ledger(given, Some(lawful())), &[mixed]);
        }
        unsure(&ledger([Withheld; 4], Some(lawful())), &[]);
        unsure(
            &ledger([gone, gone, gone, AUDIT], None),
            &["3 pruned entries were removed lawfully: what is said to have removed them"],
        );
    }

    #[test]
    fn an_entry_that_is_withheld_excuses_nothing_that_is_gone() {
        let lawful = || removed(Class::Reading, 3, 10);
        let gone = Gone(APPLIED);
        for by in [0, 3, CLOSED, CLOSED + 2, 1_000] {
            wrong(
                [gone, Gone(by), Withheld, AUDIT],
                lawful(),
                "no RetentionApplied of 2026-05-18",
            );
        }
        // What is withheld cannot have removed what comes after it, nor what its own day closes over.
        wrong(
            [Withheld, Gone(1), READING, AUDIT],
            lawful(),
            "no RetentionApplied",
        );
        wrong([gone, gone, gone, gone], lawful(), "but 0 are there and 4 pruned");
        wrong([gone, Withheld, READING, AUDIT], lawful(), "half of it is there");
        wrong(
            [READING, Withheld, Withheld, AUDIT],
            lawful(),
            "are shown after position 9",
        );
        let eternal = |class| removed(class, 1, 4_000);
        for class in [Class::Audit, Class::Ledger] {
            wrong(
                [READING, READING, Withheld, gone],
                eternal(class),
                "kept for ever",
            );
        }
        wrong(
            [gone, gone, gone, Withheld],
            removed(Class::Reading, 3, 9),
            "is to be kept for 10 days",
        );
        wrong(
            [gone, gone, gone, Withheld],
            removed(Class::Reading, 2, 10),
            "counts 2, the days have 3",
        );
        let mut more = [READING; 4];
        more[0] = Withheld;
        wrong(
            more,
            removed(Class::Outbound, 0, 4_000),
            "nothing says that it is ever to go",
        );
    }

    #[test]
    fn where_the_ledgers_own_entries_are_withheld_what_they_would_say_is_not_guessed() {
        let gone = Gone(APPLIED);
        let behind_a_hole = |applied| {
            let mut pruning = ledger([gone, gone, gone, Withheld], Some(applied));
            pruning.ledger(Position(CLOSED + 2), 1).expect("one is withheld");
            pruning
        };
        // The day was closed before the hole: what was in force then is known.
        let (mixed, hole) = (
            "whether what is pruned of 1 days",
            "on: entries of the ledger's own stream",
        );
        unsure(&behind_a_hole(removed(Class::Reading, 3, 10)), &[mixed, hole]);
        let with_a_hole = |applied| {
            let mut pruning = ledger([Withheld, gone, gone, gone], Some(applied));
            pruning.hole = Some(Position(2));
            pruning
        };
        // It was closed behind it, and what is withheld may have said anything.
        unsure(&with_a_hole(removed(Class::Reading, 3, 1)), &[mixed, hole]);
        for (pruning, words) in [
            (
                behind_a_hole(removed(Class::Reading, 3, 9)),
                "to be kept for 10 days",
            ),
            (
                behind_a_hole(removed(Class::Reading, 2, 10)),
                "counts 2, the days have 3",
            ),
            (
                with_a_hole(removed(Class::Reading, 3, -1)),
                "2026-05-18 had not ended",
            ),
            (
                with_a_hole(removed(Class::Reading, 2, 1)),
                "counts 2, the days have 3",
            ),
            (with_a_hole(removed(Class::Audit, 3, 4_000)), "kept for ever"),
        ] {
            let found = pruning.check();
            assert!(
                found.wrong.iter().any(|(_, what)| what.contains(words)),
                "{found:?}"
            );
        }
        // A day that is there but for what is gone is gone whole or not at all, whatever the classes are.
        for given in [[gone, gone, READING, AUDIT], [READING, READING, READING, AUDIT]] {
            let mut pruning = ledger(given, Some(removed(Class::Reading, 3, 1)));
            pruning.hole = Some(Position(2));
            assert_eq!(pruning.check().wrong.len(), 1);
        }
        // None of them is ever pruned, so what is missing of them is withheld.
        let mut pruning = ledger([gone, gone, gone, AUDIT], Some(removed(Class::Reading, 3, 10)));
        let said = pruning.ledger(Position(CLOSED + 2), 3);
        assert!(said.is_err_and(|what| what.contains("kept for ever")));
    }

    #[test]
    fn of_the_day_that_is_open_nothing_is_gone_unless_its_end_may_be_withheld() {
        let open = |given: &[Given]| {
            let mut pruning = Pruning::default();
            pruning.ledger(Position::FIRST, 0).expect("the first");
            pruning.shown(Position::FIRST, Class::Ledger);
            for (position, given) in (1..).map(Position).zip(given) {
                match given {
                    Shown(class) => pruning.shown(position, *class),
                    Gone(by) => pruning.gone(position, Position(*by)),
                    Withheld => pruning.withheld(position),
                }
            }
            pruning
        };
        let wrong: [&[Given]; 4] = [
            &[Gone(2), Withheld, READING],
            &[Gone(3), READING, Withheld],
            &[Gone(9), READING, Withheld, Withheld],
            &[Gone(2), READING],
        ];
        for given in wrong {
            let found = open(given).check();
            assert!(
                found
                    .wrong
                    .iter()
                    .any(|(_, what)| what.contains("a day that is not closed")),
                "{found:?}"
            );
        }
        let mixed = "whether what is pruned of 1 days";
        unsure(
            &open(&[Gone(4), READING, Withheld, Withheld]),
            &[mixed, "whether 1 pruned entries were removed lawfully"],
        );
    }

    #[test]
    fn what_lengthens_retention_after_a_day_does_not_concern_it() {
        let longer = |more: Option<u64>| {
            let mut retention = Retention::default();
            let kept = &mut retention.kept[Class::Reading.index()];
            kept.insert(Position::FIRST, Some(10));
            kept.insert(Position(CLOSED + 2), more);
            let applied = removed(Class::Reading, 3, 10);
            retention.applied.insert(Position(APPLIED), applied);
            retention
        };
        for more in [Some(20), None] {
            // Where the day is there, and where it is not, as in a pack of other days.
            assert_eq!(longer(more).unlawful(&[(date(), Position(CLOSED))]), []);
            assert_eq!(longer(more).unlawful(&[]), []);
            // A day that ended behind it is kept longer.
            assert_eq!(longer(more).unlawful(&[(date(), Position(CLOSED + 3))]).len(), 1);
        }
    }
}
