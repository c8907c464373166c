//! The outbox: whom to tell what, when, and what came of it.
//!
//! | file | what |
//! |---|---|
//! | `contacts` | who there is, and what each wants |
//! | `row` | one notification, and what it is about |
//! | `alarms` | alarms that open, get worse, are seen, end |
//! | `raised` | alarms of no channel: ways that fail, trials |
//! | `silences` | what is held back, and until when |
//! | `devices` | devices that fall silent |
//! | `days` | the digest of a day; what is kept no longer |
//! | `outcomes` | what came of attempts, and whether a way works |
//! | `plan` | how many messages at once |
//!
//! Derived. Invariants: a notification's id follows from the entry that caused it, so a rebuild gives the same rows; one
//! whose outcome is recorded is never due again, unless somebody asked for it; an alarm that was acknowledged or ended
//! tells nobody else of its opening; who is silenced is told when the silence is over.
//! Nothing here sends or looks at a clock: `due_at` is a value, and whoever sends says what time it is.
//! Source: REFERENCE §4, docs/notifications.md. Not here: words (`api`).

mod alarms;
mod contacts;
mod days;
mod devices;
mod outcomes;
pub mod plan;
mod raised;
mod row;
mod silences;

pub use alarms::{CATCHING_UP_US, LATE_HOLD_US, PAST_HOLD_US};
pub use days::OUTBOUND_DAYS;
pub use devices::OFFLINE_HOLD_US;
pub(crate) use outcomes::SAID;

use crate::error::ProjectionError;
use crate::world::Fact;
use domain::day::DAY_CLOSED;
use domain::event::notification::NOTIFICATIONS;
use rusqlite::{Connection, params};

/// Follows one entry.
pub(crate) fn apply(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    let Some(account) = fact.account else {
        return match fact.entry.event_type {
            DAY_CLOSED => days::closed(connection, fact),
            _ => Ok(()),
        };
    };
    match fact.entry.aggregate_type {
        "contact" => contacts::apply(connection, fact, account),
        "channel" | "site" => route(connection, fact),
        "alarm" => alarms::apply(connection, fact, account),
        "silence" => silences::apply(connection, fact, account),
        "state" if fact.entry.event_type == "DeviceStateChanged" => devices::apply(connection, fact, account),
        NOTIFICATIONS if outcomes::is_outcome(fact.entry.event_type) => {
            outcomes::apply(connection, fact, account)
        }
        _ => Ok(()),
    }
}

fn route(connection: &Connection, fact: &Fact<'_>) -> Result<(), ProjectionError> {
    if matches!(
        fact.entry.event_type,
        "ChannelNotificationsSet" | "SiteNotificationsSet"
    ) {
        connection
            .prepare_cached("INSERT OR REPLACE INTO notification_routes VALUES (?1, ?2)")?
            .execute(params![
                fact.entry.aggregate_id,
                fact.payload["notifications"]["new"].to_string()
            ])?;
    }
    Ok(())
}

/// The reference product's name of what a notification says.
pub fn reference_kind(what: &str) -> &str {
    match what {
        "alarm_escalated" | "alarm_reopened" | "path_failed" => "alarm_opened",
        "alarm_closed" => "alarm_cleared",
        other => other,
    }
}
