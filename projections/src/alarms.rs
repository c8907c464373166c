//! Alarms, and the state of each channel as the rules see it.
//!
//! Derived. Invariants: one row an alarm, whatever came of it; texts stay sealed in the timeline, where every entry of
//! an alarm stands too; an alarm keeps the site that its device stood at when it opened.
//! Source: docs/rules.md. Not here: silences and rules, which are configuration (the registry), what to do about it.

use crate::error::ProjectionError;
use crate::world::{self, Fact};
use domain::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

/// Follows one entry.
pub(crate) fn apply(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    match fact.entry.event_type {
        "AlarmOpened" => opened(connection, fact),
        "AlarmRaised" => raised(connection, fact),
        "AlarmEscalated"
        | "AlarmCleared"
        | "AlarmReopened"
        | "AlarmReopenedByPerson"
        | "AlarmAcknowledged"
        | "AlarmClosed"
        | "AlarmCommented" => changed(connection, fact),
        "ChannelStateChanged" => state(connection, fact),
        _ => Ok(()),
    }
}

/// The channel of an alarm; `None` of one that is of no channel.
pub(crate) fn channel_of(connection: &Connection, alarm: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT channel FROM alarms WHERE id = ?1 AND channel <> ''")?
        .query_row([alarm], |row| row.get(0))
        .optional()
}

fn time(fact: &Fact<'_>, member: &str) -> Option<i64> {
    let text = fact.text(member)?;
    Timestamp::parse_rfc3339(text).ok().map(Timestamp::as_micros)
}

/// The place in the list: see the table.
const RANK: &str = "CASE WHEN life <> 'open' THEN 4
    ELSE (CASE WHEN severity = 'warn' OR kind = 'challenge' THEN 2 ELSE 0 END) + acknowledged END";

fn opened(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let channel = fact.text("channel").unwrap_or("");
    let (device, site) = world::place_of(connection, channel)?.unzip();
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO alarms (id, account, channel, device, site, rule, rule_version, kind, severity,
                 life, acknowledged, rank, began_at, opened_at, position, changed, changed_at, sequence, late,
                 withdrawn, value, opened, recorded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'open', 0, 0, ?10, ?11, ?12, ?12, ?13, ?14, ?15, 0, ?16, ?17, ?13)",
        )?
        .execute(params![
            id,
            fact.account.unwrap_or(0),
            channel,
            device,
            site.flatten(),
            fact.text("rule").unwrap_or(""),
            fact.payload["rule_version"].as_i64().unwrap_or(0),
            fact.text("kind").unwrap_or(""),
            fact.text("severity").unwrap_or("alarm"),
            time(fact, "began_at").unwrap_or(0),
            time(fact, "opened_at").unwrap_or(0),
            fact.entry.position.get() as i64,
            fact.entry.recorded_at.as_micros(),
            fact.entry.sequence as i64,
            fact.payload["late"].as_bool().unwrap_or(false),
            fact.payload["value"].as_f64(),
            String::from_utf8_lossy(fact.entry.payload),
        ])?;
    rank(connection, id)
}

/// One of no channel: nothing of a rule, channel or site is in its row.
fn raised(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let now = fact.entry.recorded_at.as_micros();
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO alarms (id, account, channel, rule, rule_version, kind, severity, life, acknowledged,
                 rank, began_at, opened_at, position, changed, changed_at, sequence, late, withdrawn, opened, recorded_at)
             VALUES (?1, ?2, '', '', 0, ?3, ?4, 'open', 0, 0, ?5, ?6, ?7, ?7, ?6, ?8, 0, 0, ?9, ?6)",
        )?
        .execute(params![
            id,
            fact.account.unwrap_or(0),
            fact.payload["cause"]["kind"].as_str().unwrap_or(""),
            fact.text("severity").unwrap_or("alarm"),
            time(fact, "began_at").unwrap_or(0),
            now,
            fact.entry.position.get() as i64,
            fact.entry.sequence as i64,
            String::from_utf8_lossy(fact.entry.payload),
        ])?;
    rank(connection, id)
}

fn changed(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    connection
        .prepare_cached("UPDATE alarms SET changed = ?2, changed_at = ?3, sequence = ?4 WHERE id = ?1")?
        .execute(params![
            id,
            fact.entry.position.get() as i64,
            fact.entry.recorded_at.as_micros(),
            fact.entry.sequence as i64,
        ])?;
    match fact.entry.event_type {
        "AlarmEscalated" => connection
            .prepare_cached("UPDATE alarms SET severity = ?2, acknowledged = 0, value = ?3 WHERE id = ?1")?
            .execute(params![
                id,
                fact.payload["severity"]["new"].as_str().unwrap_or("alarm"),
                fact.payload["value"].as_f64(),
            ])?,
        "AlarmCleared" => connection
            .prepare_cached(
                "UPDATE alarms SET life = 'cleared', ended_at = ?2, withdrawn = ?3, value = ?4
                 WHERE id = ?1 AND life <> 'closed'",
            )?
            .execute(params![
                id,
                time(fact, "cleared_at"),
                fact.payload["withdrawn"].as_bool().unwrap_or(false),
                fact.payload["value_at"].as_f64(),
            ])?,
        "AlarmReopened" | "AlarmReopenedByPerson" => connection
            .prepare_cached(
                "UPDATE alarms SET life = 'open', ended_at = NULL, withdrawn = 0, acknowledged = 0 WHERE id = ?1",
            )?
            .execute([id])?,
        "AlarmAcknowledged" => connection
            .prepare_cached("UPDATE alarms SET acknowledged = 1, acknowledged_by = ?2 WHERE id = ?1")?
            .execute(params![id, fact.metadata["actor"].as_str()])?,
        "AlarmClosed" => connection
            .prepare_cached("UPDATE alarms SET life = 'closed', ended_at = ?2 WHERE id = ?1")?
            .execute(params![id, fact.entry.recorded_at.as_micros()])?,
        _ => 0,
    };
    rank(connection, id)
}

fn rank(connection: &Connection, id: &str) -> Result<(), ProjectionError> {
    connection
        .prepare_cached(&format!("UPDATE alarms SET rank = {RANK} WHERE id = ?1"))?
        .execute([id])?;
    Ok(())
}

fn state(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO channel_states VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            fact.entry.aggregate_id,
            fact.account.unwrap_or(0),
            fact.text("to").unwrap_or("ok"),
            time(fact, "at").unwrap_or(0),
            fact.entry.position.get() as i64,
            fact.payload["rule"]["rule"].as_str(),
            fact.payload["rule"]["version"].as_i64(),
            fact.payload["late"].as_bool().unwrap_or(false),
        ])?;
    Ok(())
}
