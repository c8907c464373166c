//! Devices that fall silent and report again.
//!
//! Invariant: one that is back before anybody was told needs neither message.
//! Not here: whether a whole site is silent (`query::outbox`).

use super::contacts;
use super::row::{About, Row};
use crate::error::ProjectionError;
use crate::world::Fact;
use domain::rule::Severity;
use rusqlite::Connection;

/// How long a device that fell silent is waited for before anybody is told: the others of its site fall silent by then,
/// where the site did.
pub const OFFLINE_HOLD_US: i64 = 60 * 1_000_000;

pub(super) fn apply(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let about = About::device(connection, id)?;
    let now = fact.entry.recorded_at.as_micros();
    let offline = fact.text("state") == Some("offline");
    if offline {
        connection
            .prepare_cached("INSERT OR REPLACE INTO silent_devices VALUES (?1, ?2)")?
            .execute((id, &about.site))?;
    } else {
        connection
            .prepare_cached("DELETE FROM silent_devices WHERE device = ?1")?
            .execute([id])?;
    }
    let what = if offline {
        "device_offline"
    } else {
        "device_online"
    };
    let forgotten: Vec<String> = connection
        .prepare_cached(
            "UPDATE notifications SET state = 'cancelled' WHERE device = ?1 AND what = 'device_offline'
                 AND state = 'due' AND attempts = 0 AND due_at > ?2 RETURNING contact",
        )?
        .query_map((id, now), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for told in contacts::of(connection, account)? {
        if !told.wants(what, &about, Severity::Warn) || !offline && forgotten.contains(&told.id) {
            continue;
        }
        let hold = match offline {
            true if told.is_person() => OFFLINE_HOLD_US + told.after_us(),
            _ => 0,
        };
        let row = Row {
            about: about.clone(),
            severity: Some(Severity::Warn),
            wanted_at: now + hold,
            ..Row::of(fact, account, &told.id, &told.via, what)
        };
        row.insert(connection)?;
    }
    Ok(())
}
