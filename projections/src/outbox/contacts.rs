//! Who may be told, and what each of them wants.
//!
//! Invariant: who left, was taken away or bounces is due nothing more.
//! Not here: what a contact may be (`domain::aggregate::contact`).

use super::reference_kind;
use super::row::{About, Row};
use crate::error::ProjectionError;
use crate::world::Fact;
use domain::event::contact::Preferences;
use domain::rule::Severity;
use rusqlite::{Connection, params};

pub(super) fn apply(connection: &Connection, fact: &Fact<'_>, account: i64) -> Result<(), ProjectionError> {
    let id = fact.entry.aggregate_id;
    let state = |state: &str| -> Result<(), ProjectionError> {
        connection
            .prepare_cached("UPDATE contacts SET state = ?2 WHERE id = ?1")?
            .execute((id, state))?;
        Ok(())
    };
    match fact.entry.event_type {
        "ContactAdded" => {
            let via = fact.text("kind").unwrap_or_default();
            let first = if via == "webhook" { "active" } else { "pending" };
            connection
                .prepare_cached("INSERT OR REPLACE INTO contacts VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    id,
                    account,
                    via,
                    first,
                    fact.payload["preferences"].to_string()
                ])?;
            // Who was carried over was asked by the ledger that this one continues.
            if via == "email" && fact.metadata["carried_over"].is_null() {
                let row = Row::of(fact, account, id, via, "confirm");
                row.insert(connection)?;
            }
            Ok(())
        }
        "ContactChanged" => {
            connection
                .prepare_cached("UPDATE contacts SET preferences = ?2 WHERE id = ?1")?
                .execute(params![id, fact.payload["preferences"]["new"].to_string()])?;
            Ok(())
        }
        "ContactConfirmed" | "ContactLinked" => state("active"),
        "ContactUnsubscribed" | "ContactBounced" | "ContactRemoved" => {
            state(match fact.entry.event_type {
                "ContactUnsubscribed" => "unsubscribed",
                "ContactBounced" => "bouncing",
                _ => "removed",
            })?;
            connection
                .prepare_cached(
                    "UPDATE notifications SET state = 'cancelled' WHERE contact = ?1 AND state = 'due'",
                )?
                .execute([id])?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A contact that may be told.
pub(super) struct Told {
    pub id: String,
    pub via: String,
    pub preferences: Preferences,
}

/// Those of an account that may be told, in order of their ids.
pub(super) fn of(connection: &Connection, account: i64) -> Result<Vec<Told>, ProjectionError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, via, preferences FROM contacts WHERE account = ?1 AND state = 'active' ORDER BY id",
    )?;
    let told = statement.query_map([account], |row| {
        let preferences: String = row.get(2)?;
        Ok(Told {
            id: row.get(0)?,
            via: row.get(1)?,
            // What does not read is of a newer version; whoever it is of is told of everything.
            preferences: serde_json::from_str(&preferences).unwrap_or_default(),
        })
    })?;
    Ok(told.collect::<rusqlite::Result<_>>()?)
}

impl Told {
    pub fn wants(&self, what: &str, about: &About, severity: Severity) -> bool {
        let kinds = &self.preferences.kinds;
        let kind = reference_kind(what);
        self.preferences.min_severity.0 <= severity
            && about.is_within(&self.preferences.scope)
            && (self.via != "webhook" || kinds.is_empty() || kinds.iter().any(|k| k == kind))
    }

    pub fn is_person(&self) -> bool {
        self.via != "webhook"
    }

    /// Microseconds after which it is told of what nobody acknowledged.
    pub fn after_us(&self) -> i64 {
        i64::from(self.preferences.after_min) * 60_000_000
    }
}
