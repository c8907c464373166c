//! The configuration timeline: every entry of classes `audit` and `ledger`, and the days that were closed.
//!
//! Derived. Invariants: nothing is left out and nothing unsealed; the payload of `TokenIssued` is withheld, because
//! it holds the token's hash; an entry is found under each id that it is about (a moved device under both sites).
//! Not here: state as of a date (the registry's fold), proofs.

use crate::error::ProjectionError;
use crate::world::{self, Fact};
use domain::day::DAY_CLOSED;
use domain::event::{Class, class_of};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// Its payload holds the hash of a secret.
const WITHHELD: &str = "TokenIssued";

/// Follows one entry; others than `audit` and `ledger` are not for here.
pub(crate) fn apply(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let entry = &fact.entry;
    let class = class_of(entry.event_type).unwrap_or(Class::Audit);
    if !matches!(class, Class::Audit | Class::Ledger) {
        return Ok(());
    }
    let payload = (entry.event_type != WITHHELD).then(|| String::from_utf8_lossy(entry.payload));
    let reason = &fact.metadata["reason"];
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO timeline VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            entry.position.get() as i64,
            entry.recorded_at.as_micros(),
            fact.account,
            class.as_str(),
            entry.aggregate_type,
            entry.aggregate_id,
            entry.sequence as i64,
            entry.event_type,
            fact.metadata["actor"].as_str(),
            (!reason.is_null()).then(|| reason.to_string()),
            fact.metadata["request_id"].as_str(),
            entry.salt,
            payload,
        ])?;
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO timeline_subjects VALUES (?1, ?2)")?;
    for subject in subjects(connection, fact)? {
        insert.execute((subject, entry.position.get() as i64))?;
    }
    if entry.event_type == DAY_CLOSED {
        day(connection, fact)?;
    }
    Ok(())
}

/// The ids an entry is about: its own, its owner's, and those above it.
fn subjects(connection: &Connection, fact: &Fact<'_>) -> Result<BTreeSet<String>, ProjectionError> {
    let mut subjects = BTreeSet::new();
    if fact.entry.aggregate_type == "ledger" {
        return Ok(subjects);
    }
    let own = fact.entry.aggregate_id;
    let mut add = |id: Option<&str>| {
        if let Some(id) = id {
            subjects.insert(id.to_owned());
        }
    };
    add(Some(own));
    for member in [
        "site",
        "from_site",
        "to_site",
        "device",
        "sensor",
        "channel",
        "rule",
    ] {
        add(fact.text(member));
    }
    // An alarm is about its channel, whatever of it is told.
    let alarm_of = match fact.entry.aggregate_type {
        "alarm" => crate::alarms::channel_of(connection, own)?,
        _ => fact.text("channel").map(str::to_owned),
    };
    let chain = alarm_of.unwrap_or_else(|| own.to_owned());
    add(Some(&chain));
    // The chain above, as it stands after this entry: channel, device, site.
    if let Some((device, site)) = world::place_of(connection, &chain)? {
        add(Some(&device));
        add(site.as_deref());
    }
    Ok(subjects)
}

fn day(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let number = |member: &str| fact.payload[member].as_i64().unwrap_or(0);
    connection
        .prepare_cached("INSERT OR REPLACE INTO days VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![
            fact.text("date").unwrap_or(""),
            fact.entry.position.get() as i64,
            fact.entry.recorded_at.as_micros(),
            number("first_position"),
            number("size"),
            fact.text("root").unwrap_or(""),
            String::from_utf8_lossy(fact.entry.payload),
        ])?;
    Ok(())
}
