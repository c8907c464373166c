//! What was sent to people and their systems, and what was not: one entry an outcome, class `outbound`.
//!
//! Invariants: a notification's id follows from the entry that caused it, what it says and to whom, so that whoever
//! folds the same ledger gives it the same id and a provider that keeps ids takes it once; no address and no text.
//! Source: docs/events.md, REFERENCE §4. Not here: what is due (`projections::outbox`), sending (`api::notify`).

use super::contact::ContactKind;
use crate::hash::sha256_of;
use crate::ids::{ID_BYTES, IdKind};
use crate::position::Position;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::ops::Not;

/// The streams of what was sent, one a contact.
pub const NOTIFICATIONS: &str = "notifications";
/// The provider took it.
pub const NOTIFICATION_SENT: &str = "NotificationSent";
/// It did not, or nobody knows.
pub const NOTIFICATION_FAILED: &str = "NotificationFailed";
/// It is not sent.
pub const NOTIFICATION_DROPPED: &str = "NotificationDropped";
/// Several went out as one.
pub const NOTIFICATION_DIGESTED: &str = "NotificationDigested";
/// Somebody wants it to be sent again.
pub const NOTIFICATION_REQUEUED: &str = "NotificationRequeued";

/// Attempts of one notification: with the first retry after 30 s, they go on for about a day.
pub const ATTEMPTS_MAX: u32 = 30;

const ID_PREFIX: &[u8] = b"daybook/notification/v1\n";

/// The id of what an entry has to say to a contact; `what` tells apart what one entry says at different times.
pub fn notification_id(event: Position, contact: &str, what: &str) -> String {
    let event = event.get().to_string();
    let parts: [&[u8]; 6] = [
        ID_PREFIX,
        event.as_bytes(),
        b"\n",
        contact.as_bytes(),
        b"\n",
        what.as_bytes(),
    ];
    let hash = sha256_of(&parts);
    let mut bytes = [0; ID_BYTES];
    bytes.copy_from_slice(&hash.0[..ID_BYTES]);
    IdKind::Notification.id(&bytes)
}

/// What came of one attempt: `NotificationSent`, `NotificationFailed`, `NotificationDropped`,
/// `NotificationDigested` and `NotificationRequeued` have the same members, those absent that say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationOutcome {
    /// Which attempt of this notification, from 1.
    pub attempt: u32,
    /// What the provider answered, or why, as a code: `204`, `timeout`, `off_duty`.
    pub code: String,
    /// `con_…`
    pub contact: String,
    /// Others that went out in the same message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
    /// The entry that caused it.
    pub event: Position,
    /// Milliseconds from the entry that caused it to the provider's answer.
    pub latency_ms: u64,
    /// Milliseconds that the attempt took.
    pub took_ms: u64,
    /// `ntf_…`
    pub notification: String,
    /// When it is tried again; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// By which the provider knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// An attempt before it was begun and its outcome is not known: it may have arrived twice, under the same id.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub repeated: bool,
    /// By which way.
    pub via: ContactKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_named_by_its_cause_its_contact_and_what_it_says() {
        let id = notification_id(Position(7), "con_a", "alarm_opened");
        assert!(IdKind::Notification.is(&id), "{id}");
        assert_eq!(id, notification_id(Position(7), "con_a", "alarm_opened"));
        assert_ne!(id, notification_id(Position(8), "con_a", "alarm_opened"));
        assert_ne!(id, notification_id(Position(7), "con_b", "alarm_opened"));
        assert_ne!(id, notification_id(Position(7), "con_a", "alarm_cleared"));
    }
}
