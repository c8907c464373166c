//! Contacts to look at: one of every way and state, told one after the other.

use domain::aggregate::contact::ContactState;
use domain::event::contact::{ContactKind, Hours, MildestSeverity, Preferences};
use domain::rule::Severity;

use super::super::outbound::sample::attempt;
use super::super::outbound::view::Outcome;
use super::super::sample::{now, sites};
use super::form::Typed;
use super::view::*;

fn row(id: &str, name: &str, kind: ContactKind, state: ContactState, after_min: u32) -> ContactRow {
    ContactRow {
        id: format!("con_{id}"),
        kind,
        name: name.into(),
        address: match kind {
            ContactKind::Email => Some(format!("{id}@example.eu")),
            ContactKind::Telegram => (state == ContactState::Active).then(|| "-1001830217".into()),
            ContactKind::Webhook => Some("https://tickets.example.eu/…".into()),
        },
        state,
        person: None,
        preferences: Preferences {
            after_min,
            ..Preferences::default()
        },
        scope: Vec::new(),
        code: (kind == ContactKind::Telegram && state == ContactState::Pending).then(|| "k7m2q9x4ab".into()),
        last: None,
        etag: "2".into(),
    }
}

/// The page.
pub fn contacts() -> ContactsPage {
    let mut jana = row(
        "jana",
        "Jana, kitchen",
        ContactKind::Email,
        ContactState::Active,
        0,
    );
    jana.person = Some("Jana Nováková".into());
    jana.preferences.daily_digest = true;
    jana.preferences.challenge = true;
    jana.last = Some(attempt(4, ContactKind::Email, Outcome::Sent, "250"));
    let mut night = row(
        "night",
        "Night shift",
        ContactKind::Telegram,
        ContactState::Active,
        10,
    );
    night.preferences.hours = Some(Hours {
        days: vec![1, 2, 3, 4, 5],
        from: "22:00".into(),
        to: "06:00".into(),
        outside: false,
    });
    night.preferences.scope = vec!["site_kitchen".into()];
    night.scope = vec![("site_kitchen".into(), "Kitchen".into())];
    let mut chef = row("chef", "Head chef", ContactKind::Email, ContactState::Active, 30);
    chef.preferences.min_severity = MildestSeverity(Severity::Alarm);
    let mut hook = row(
        "hook",
        "Ticket system",
        ContactKind::Webhook,
        ContactState::Active,
        0,
    );
    hook.last = Some(attempt(1, ContactKind::Webhook, Outcome::Again, "503"));
    hook.preferences.kinds = vec!["alarm_cleared".into(), "alarm_opened".into()];
    ContactsPage {
        contacts: vec![
            jana,
            night,
            chef,
            hook,
            row(
                "group",
                "Kitchen group",
                ContactKind::Telegram,
                ContactState::Pending,
                0,
            ),
            row(
                "new",
                "New colleague",
                ContactKind::Email,
                ContactState::Pending,
                10,
            ),
            row(
                "old",
                "Former technician",
                ContactKind::Email,
                ContactState::Bouncing,
                10,
            ),
            row(
                "gone",
                "Head office",
                ContactKind::Email,
                ContactState::Unsubscribed,
                60,
            ),
        ],
        former: vec![Former {
            name: "Old bakery".into(),
            kind: ContactKind::Email,
            at: now(),
        }],
        fresh: None,
        choices: Choices {
            sites: sites(),
            people: vec![("usr_jana".into(), "Jana Nováková".into())],
        },
        new: Typed::empty(),
        changing: None,
        challenge_days: 30,
        has_mail: true,
        has_bot: true,
        idempotency_key: "idem-0".into(),
    }
}

/// The page before anybody is told.
pub fn nobody() -> ContactsPage {
    ContactsPage {
        contacts: Vec::new(),
        former: Vec::new(),
        new: Typed {
            kind: "webhook".into(),
            error: Some("Not saved: an address is needed".into()),
            ..Typed::empty()
        },
        ..contacts()
    }
}

/// The page that shows a webhook's secret.
pub fn fresh() -> ContactsPage {
    let mut view = contacts();
    view.contacts.truncate(4);
    view.fresh = Some((
        "Ticket system".into(),
        "whsec_c2VjcmV0IG9mIHRoZSBzYW1wbGUsIHNob3duIG9uY2U=".into(),
    ));
    view.changing = Some(("con_night".into(), Typed::of(&view.contacts[1].preferences)));
    view
}
