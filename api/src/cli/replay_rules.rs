//! `daybook replay --rules`: the rules decide again from the entries alone, and every decision is compared with its
//! entry.
//!
//! Invariants: everything from the first entry on is followed, whatever range is asked about, because a rule remembers;
//! a decision is named by its stream and the entry at which it was made.
//! Not here: deciding (`domain::rule::engine`), the fold (`commands::alerting`).

use super::{FAILED, Failure, Global, Outcome, data, data_json, progress, talk};
use crate::entry_filter::Filter;
use commands::alerting::{Due, Fold, Unexpected};
use commands::ledger::Ledger;
use domain::entry::Entry;
use domain::{Position, Timestamp};
use serde_json::json;

/// Entries and bytes of one read.
const READ_ENTRIES: usize = 4_096;
const READ_BYTES: usize = 4 << 20;
/// A decision that nothing followed for so long is missing and not only on its way, microseconds.
const ON_ITS_WAY_US: i64 = 60_000_000;

/// What is asked about.
pub struct Asked<'a> {
    /// Recorded when.
    pub filter: &'a Filter,
    /// Which alarm.
    pub alarm: Option<&'a str>,
}

impl Asked<'_> {
    fn is_about(&self, what: &str) -> bool {
        self.alarm.is_none_or(|alarm| what == alarm)
    }
}

/// What a replay found.
#[derive(Debug, Default)]
struct Found {
    /// The alarm that is asked about, whenever it was.
    is_there: bool,
    equal: u64,
    unexpected: Vec<Unexpected>,
    missing: Vec<Due>,
    waiting: u64,
}

/// Replays and tells.
///
/// # Errors
/// [`Failure`].
pub fn run(global: &Global, ledger: &Ledger, asked: &Asked<'_>) -> Outcome {
    let found = replay(ledger, asked)?;
    if let Some(alarm) = asked.alarm.filter(|_| !found.is_there) {
        return Err(Failure::usage(format!(
            "there is no alarm {alarm} in this ledger: alarms are listed by  daybook replay --type AlarmOpened"
        )));
    }
    let wrong = !found.missing.is_empty() || !found.unexpected.is_empty();
    if global.json {
        data_json(&json!({
            "equal": found.equal,
            "missing": found.missing.iter().map(|due| json!({
                "stream": format!("{}/{}", due.aggregate_type, due.aggregate_id),
                "event_type": due.event_type,
                "decided_by": due.decided_by,
                "decided_at": due.decided_at,
                "payload": serde_json::from_str::<serde_json::Value>(&due.payload).unwrap_or_default(),
            })).collect::<Vec<_>>(),
            "unexpected": found.unexpected.iter().map(|it| json!({
                "position": it.position,
                "what": it.what,
            })).collect::<Vec<_>>(),
            "waiting": found.waiting,
        }))?;
    } else {
        for due in &found.missing {
            data(&format!(
                "missing     {}/{} {}, decided at position {} ({})",
                due.aggregate_type, due.aggregate_id, due.event_type, due.decided_by, due.decided_at
            ))?;
        }
        for it in &found.unexpected {
            data(&format!("unexpected  {} at position {}", it.what, it.position))?;
        }
        talk(&format!(
            "{} decisions equal, {} missing, {} unexpected{}.",
            found.equal,
            found.missing.len(),
            found.unexpected.len(),
            match found.waiting {
                0 => String::new(),
                count => format!("; {count} just made and not recorded yet"),
            }
        ));
    }
    Ok(if wrong { FAILED } else { 0 })
}

fn replay(ledger: &Ledger, asked: &Asked<'_>) -> Result<Found, Failure> {
    let size = ledger.size_now();
    let (mut fold, mut found, mut unexpected) = (Fold::new(), Found::default(), Vec::new());
    let mut next = Position::FIRST;
    let bar = progress::entries();
    bar.set_length(size.get());
    while size.contains(next) {
        let block = ledger
            .read_now(next, READ_ENTRIES, READ_BYTES)
            .map_err(Failure::failed)?;
        for (position, bytes) in block.iter().take_while(|(position, _)| size.contains(*position)) {
            let before = fold.recorded();
            fold.entry(position, bytes, ledger, &mut unexpected)
                .map_err(Failure::failed)?;
            let entry = Entry::read(bytes).map_err(Failure::failed)?;
            found.is_there |= asked.is_about(entry.aggregate_id);
            if !asked.filter.matches(&entry) || !asked.is_about(entry.aggregate_id) {
                unexpected.clear();
                continue;
            }
            found.equal += fold.recorded() - before;
            found.unexpected.append(&mut unexpected);
        }
        bar.inc(block.len() as u64);
        next = next.plus(block.len() as u64);
    }
    bar.finish_and_clear();
    for due in fold.due().iter().filter(|due| asked.is_about(&due.aggregate_id)) {
        found.is_there = true;
        if !asked.filter.is_within(due.decided_at) {
            continue;
        }
        if fold.is_passed_over(due, ON_ITS_WAY_US) {
            found.missing.push(due.clone());
        } else {
            found.waiting += 1;
        }
    }
    Ok(found)
}

impl Filter {
    /// Whether something recorded then is asked about.
    pub fn is_within(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at < until)
    }
}
