//! A log to look at: one of every outcome, a way that fails, something that waits.

use domain::event::contact::ContactKind;

use super::super::sample::{now, zone};
use super::super::view::Link;
use super::view::*;

const MINUTE_US: i64 = 60_000_000;

fn contact(id: &str, name: &str) -> Link {
    Link {
        href: format!("/app/contacts#{id}"),
        text: name.to_owned(),
    }
}

/// An attempt so many minutes ago.
pub fn attempt(minutes: i64, kind: ContactKind, outcome: Outcome, code: &str) -> Attempt {
    let (id, name) = match kind {
        ContactKind::Email => ("con_jana", "Jana, kitchen"),
        ContactKind::Telegram => ("con_night", "Night shift"),
        ContactKind::Webhook => ("con_hook", "Ticket system"),
    };
    Attempt {
        position: 1_204_000 - minutes.unsigned_abs(),
        at: now().plus_micros(-minutes * MINUTE_US),
        notification: "ntf_aaaaaaaaaaaaaaaaaaaaaaaaaa".into(),
        contact: contact(id, name),
        kind,
        what: "alarm opened".into(),
        alarm: Some("/app/alarms/alm_1".into()),
        outcome,
        attempt: 1,
        code: code.into(),
        provider_id: (outcome == Outcome::Sent).then(|| "<ntf_aaaaaaaaaaaaaaaaaaaaaaaaaa@example.eu>".into()),
        latency_ms: 412,
        took_ms: 96,
        repeated: false,
        next_at: (outcome == Outcome::Again).then(|| now().plus_micros(MINUTE_US / 2)),
    }
}

/// The page.
pub fn outbound() -> OutboundPage {
    let way = |kind, contact, taken: Option<i64>, failing: Option<i64>, is_set_up| WayRow {
        kind,
        contact,
        is_set_up,
        taken_at: taken.map(|minutes| now().plus_micros(-minutes * MINUTE_US)),
        failing_since: failing.map(|minutes| now().plus_micros(-minutes * MINUTE_US)),
    };
    let mut test = attempt(30, ContactKind::Email, Outcome::Sent, "250");
    (test.what, test.alarm) = ("test".into(), None);
    let mut again = attempt(1, ContactKind::Webhook, Outcome::Again, "503");
    (again.attempt, again.repeated) = (3, true);
    OutboundPage {
        ways: vec![
            way(ContactKind::Email, None, Some(4), None, true),
            way(ContactKind::Telegram, None, None, None, false),
            way(
                ContactKind::Webhook,
                Some(contact("con_hook", "Ticket system")),
                Some(90),
                Some(12),
                true,
            ),
        ],
        waiting: vec![WaitingRow {
            contact: contact("con_chef", "Head chef"),
            kind: ContactKind::Email,
            what: "alarm opened".into(),
            alarm: Some("/app/alarms/alm_1".into()),
            due_at: now().plus_micros(6 * MINUTE_US),
            why: "Its turn comes then, if nobody has acknowledged the alarm.".into(),
        }],
        more_waits: false,
        attempts: vec![
            again,
            attempt(4, ContactKind::Email, Outcome::Sent, "250"),
            attempt(4, ContactKind::Telegram, Outcome::Held, "off_duty"),
            attempt(9, ContactKind::Webhook, Outcome::Failed, "410"),
            attempt(12, ContactKind::Email, Outcome::Gathered, "250"),
            test,
            attempt(31, ContactKind::Email, Outcome::Asked, "test"),
        ],
        older: Some("/app/outbound?before=1203900".into()),
        filter: Filter::default(),
        contacts: vec![
            ("con_jana".into(), "Jana, kitchen".into()),
            ("con_hook".into(), "Ticket system".into()),
        ],
        zone: zone(),
    }
}
