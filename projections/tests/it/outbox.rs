//! Who is told of alarms that were recorded long after they were decided.

use crate::support::{Scribe, at, sealed};
use domain::event::contact::ContactKind;
use projections::ReadModel;
use projections::outbox::PAST_HOLD_US;
use serde_json::json;

const DAY_US: i64 = 86_400 * 1_000_000;

fn kitchen() -> Scribe {
    let scribe = Scribe::new();
    scribe.account("acc_a");
    scribe.site("acc_a", "site_one");
    scribe.device("acc_a", "site_one", "dev_0", None);
    scribe.channel("acc_a", "dev_0", "chn_0", "temperature");
    for (contact, kind) in [("con_mail", "email"), ("con_hook", "webhook")] {
        let payload =
            json!({"kind": kind, "name": sealed("name"), "address": sealed("to"), "preferences": {}});
        scribe.fact(Some("acc_a"), ("contact", contact), "ContactAdded", &payload);
        scribe.fact(
            Some("acc_a"),
            ("contact", contact),
            "ContactConfirmed",
            &json!({}),
        );
    }
    scribe
}

/// An alarm that was decided so long before the ledger began.
fn open(scribe: &Scribe, alarm: &str, ago_us: i64) {
    let payload = json!({"channel": "chn_0", "kind": "range", "severity": "alarm", "rule": "rul_0",
        "began_at": at(-ago_us).to_string(), "opened_at": at(-ago_us).to_string(),
        "decided_at": at(-ago_us).to_string()});
    scribe.fact(Some("acc_a"), ("alarm", alarm), "AlarmOpened", &payload);
}

fn clear(scribe: &Scribe, alarm: &str) {
    let payload = json!({"cleared_at": at(0).to_string()});
    scribe.fact(Some("acc_a"), ("alarm", alarm), "AlarmCleared", &payload);
}

/// What that contact would be told so long after the ledger began.
fn told(model: &ReadModel, via: ContactKind, after_us: i64) -> Vec<(String, String)> {
    let due = model.notifications_due(via, at(after_us)).expect("answers");
    let alarms = due.into_iter().filter_map(|due| Some((due.alarm?.0, due.what)));
    alarms.collect()
}

#[test]
fn nobody_is_told_of_alarms_that_were_over_when_they_were_recorded_and_of_an_open_one_everybody() {
    let dir = tempfile::tempdir().expect("a directory");
    let scribe = kitchen();
    for n in 0..50 {
        open(&scribe, &format!("alm_old{n}"), 400 * DAY_US);
        clear(&scribe, &format!("alm_old{n}"));
    }
    open(&scribe, "alm_down", DAY_US / 24);
    open(&scribe, "alm_now", 0);
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    let of = |alarm: &str| (alarm.to_owned(), "alarm_opened".to_owned());
    let second = 1_000_000;
    assert_eq!(told(&model, ContactKind::Email, second), [of("alm_now")]);
    let mut later = told(&model, ContactKind::Email, PAST_HOLD_US + second);
    later.sort();
    assert_eq!(later, [of("alm_down"), of("alm_now")]);
    // A machine keeps a record, and is told of everything.
    assert_eq!(told(&model, ContactKind::Webhook, second).len(), 100);
}
