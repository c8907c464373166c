//! Who is told of what, and when: waits, silences, what is late or of the past, ways that fail, trials.

use crate::support::{Scribe, at, sealed};
use domain::event::contact::ContactKind;
use projections::ReadModel;
use projections::outbox::{LATE_HOLD_US, PAST_HOLD_US};
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

const MINUTE_US: i64 = 60 * 1_000_000;
const SECOND_US: i64 = 1_000_000;

/// A kitchen with a person who waits so long, beside the mailbox that does not.
fn with_second(after_min: i64) -> Scribe {
    let scribe = kitchen();
    let payload =
        json!({"kind": "telegram", "name": sealed("name"), "preferences": {"after_min": after_min}});
    scribe.fact(Some("acc_a"), ("contact", "con_second"), "ContactAdded", &payload);
    let linked = json!({"address": sealed("chat"), "address_index": "i"});
    scribe.fact(Some("acc_a"), ("contact", "con_second"), "ContactLinked", &linked);
    scribe
}

fn warn(scribe: &Scribe, alarm: &str) {
    let payload = json!({"channel": "chn_0", "kind": "range", "severity": "warn", "rule": "rul_0"});
    scribe.fact(Some("acc_a"), ("alarm", alarm), "AlarmOpened", &payload);
}

fn worse(scribe: &Scribe, alarm: &str) {
    let payload = json!({"severity": {"old": "warn", "new": "alarm"}, "at": at(0).to_string()});
    scribe.fact(Some("acc_a"), ("alarm", alarm), "AlarmEscalated", &payload);
}

fn acknowledge(scribe: &Scribe, alarm: &str) {
    scribe.fact(
        Some("acc_a"),
        ("alarm", alarm),
        "AlarmAcknowledged",
        &json!({"reason": "seen"}),
    );
}

fn silence(scribe: &Scribe, id: &str, from_min: i64, to_min: i64) {
    let payload = json!({"channel": "chn_0", "from": at(from_min * MINUTE_US).to_string(),
        "to": at(to_min * MINUTE_US).to_string()});
    scribe.fact(Some("acc_a"), ("silence", id), "SilenceOpened", &payload);
}

fn end(scribe: &Scribe, id: &str, at_min: i64) {
    let payload = json!({"channel": "chn_0", "at": at(at_min * MINUTE_US).to_string()});
    scribe.fact(Some("acc_a"), ("silence", id), "SilenceEnded", &payload);
}

/// What is due by a way at a minute, and would not be a minute before.
fn due_from(model: &ReadModel, via: ContactKind, minute: i64) -> Vec<(String, String)> {
    let early = told(model, via, (minute - 1) * MINUTE_US);
    let mut now = told(model, via, minute * MINUTE_US + SECOND_US);
    now.retain(|one| !early.contains(one));
    now
}

#[test]
fn who_waits_for_an_alarm_that_gets_worse_does_not_begin_to_wait_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let scribe = with_second(30);
    warn(&scribe, "alm_a");
    scribe.pass(20 * MINUTE_US);
    worse(&scribe, "alm_a");
    // Somebody looked after this one in between: what is new of it is new.
    warn(&scribe, "alm_b");
    acknowledge(&scribe, "alm_b");
    scribe.pass(10 * MINUTE_US);
    worse(&scribe, "alm_b");
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    let said = |alarm: &str, what: &str| (alarm.to_owned(), what.to_owned());
    assert_eq!(
        due_from(&model, ContactKind::Telegram, 30),
        [said("alm_a", "alarm_escalated")]
    );
    assert_eq!(
        due_from(&model, ContactKind::Telegram, 60),
        [said("alm_b", "alarm_escalated")]
    );
    // Who was told at once is told at once that it is worse.
    let mail = told(&model, ContactKind::Email, 20 * MINUTE_US + SECOND_US);
    assert!(mail.contains(&said("alm_a", "alarm_escalated")), "{mail:?}");
}

#[test]
fn what_one_silence_frees_another_still_holds() {
    let dir = tempfile::tempdir().expect("a directory");
    let scribe = kitchen();
    silence(&scribe, "sil_a", 0, 60);
    silence(&scribe, "sil_b", 0, 90);
    silence(&scribe, "sil_c", 90, 120);
    scribe.pass(MINUTE_US);
    warn(&scribe, "alm_a");
    scribe.pass(19 * MINUTE_US);
    end(&scribe, "sil_b", 20);
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    let silenced = [("alm_a".to_owned(), "alarm_silenced".to_owned())];
    assert_eq!(told(&model, ContactKind::Email, 59 * MINUTE_US), []);
    assert_eq!(due_from(&model, ContactKind::Email, 60), silenced);
    // With nothing ended, one goes on where the other stops.
    let dir = tempfile::tempdir().expect("a directory");
    let scribe = kitchen();
    silence(&scribe, "sil_a", 0, 60);
    silence(&scribe, "sil_b", 30, 90);
    scribe.pass(MINUTE_US);
    warn(&scribe, "alm_a");
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    assert_eq!(due_from(&model, ContactKind::Email, 60), []);
    assert_eq!(due_from(&model, ContactKind::Email, 90), silenced);
}

#[test]
fn what_waits_is_held_by_a_silence_that_begins_later_and_goes_at_its_time_where_that_ends_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let scribe = with_second(30);
    warn(&scribe, "alm_a");
    scribe.pass(10 * MINUTE_US);
    silence(&scribe, "sil_a", 20, 60);
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    assert_eq!(due_from(&model, ContactKind::Telegram, 30), []);
    let late = [("alm_a".to_owned(), "alarm_silenced".to_owned())];
    assert_eq!(due_from(&model, ContactKind::Telegram, 60), late);
    // What waits for its turn only is held, too, when the silence comes.
    let mail = |minute: i64| told(&model, ContactKind::Email, minute * MINUTE_US);
    assert_eq!((mail(19).len(), mail(21).len(), mail(61).len()), (1, 0, 1));
    // An acknowledgement calls off who would have been told later, silence or not.
    acknowledge(&scribe, "alm_a");
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    assert_eq!(told(&model, ContactKind::Telegram, 90 * MINUTE_US), []);
    let scribe = with_second(30);
    warn(&scribe, "alm_b");
    silence(&scribe, "sil_b", 1, 60);
    scribe.pass(10 * MINUTE_US);
    end(&scribe, "sil_b", 10);
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    let opened = [("alm_b".to_owned(), "alarm_opened".to_owned())];
    assert_eq!(due_from(&model, ContactKind::Telegram, 30), opened);
}

#[test]
fn a_silence_that_is_ended_before_it_begins_is_told_to_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let scribe = kitchen();
    silence(&scribe, "sil_a", 60, 90);
    silence(&scribe, "sil_b", 0, 90);
    scribe.pass(10 * MINUTE_US);
    end(&scribe, "sil_a", 10);
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    let kinds = |minute: i64| -> Vec<String> {
        let due = model.notifications_due(ContactKind::Webhook, at(minute * MINUTE_US));
        due.expect("answers").into_iter().map(|due| due.what).collect()
    };
    assert_eq!(kinds(11), ["silence_opened"]);
    assert_eq!(kinds(61), ["silence_opened"]);
    assert_eq!(kinds(91), ["silence_opened", "silence_closed"]);
    end(&scribe, "sil_b", 11);
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    let due = model.notifications_due(ContactKind::Webhook, at(12 * MINUTE_US));
    let kinds: Vec<String> = due.expect("answers").into_iter().map(|due| due.what).collect();
    assert_eq!(kinds, ["silence_opened", "silence_closed"]);
}

#[test]
fn nobody_is_told_of_what_was_found_late_and_is_over_and_of_what_is_open_everybody() {
    let dir = tempfile::tempdir().expect("a directory");
    let scribe = kitchen();
    let late = |alarm: &str| {
        let payload = json!({"channel": "chn_0", "kind": "range", "severity": "alarm", "rule": "rul_0", "late": true,
            "began_at": at(-DAY_US).to_string(), "opened_at": at(-DAY_US).to_string(),
            "decided_at": at(0).to_string()});
        scribe.fact(Some("acc_a"), ("alarm", alarm), "AlarmOpened", &payload);
    };
    late("alm_over");
    clear(&scribe, "alm_over");
    late("alm_open");
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    assert_eq!(told(&model, ContactKind::Email, SECOND_US), []);
    let open = [("alm_open".to_owned(), "alarm_opened".to_owned())];
    assert_eq!(told(&model, ContactKind::Email, LATE_HOLD_US + SECOND_US), open);
    assert_eq!(told(&model, ContactKind::Webhook, SECOND_US).len(), 3);
}

/// What came of an attempt to tell a contact of the alarm of that entry.
fn outcome(scribe: &Scribe, event: &str, via: &str, attempt: u32, next_min: Option<i64>) {
    let mut payload = json!({"attempt": attempt, "code": "x", "contact": "con_mail", "event": 7, "latency_ms": 0,
        "took_ms": 0, "notification": "ntf_x", "via": via});
    if let Some(next) = next_min {
        payload["next_at"] = json!(at(next * MINUTE_US).to_string());
    }
    scribe.fact(Some("acc_a"), ("notifications", "con_mail"), event, &payload);
}

fn raised(scribe: &Scribe, alarm: &str, cause: &serde_json::Value, began_min: i64) {
    let payload =
        json!({"began_at": at(began_min * MINUTE_US).to_string(), "cause": cause, "severity": "alarm"});
    scribe.fact(Some("acc_a"), ("alarm", alarm), "AlarmRaised", &payload);
}

#[test]
fn whether_a_way_fails_is_what_the_ledger_says_of_its_attempts() {
    let failing = |scribe: &Scribe, minute: i64| {
        let dir = tempfile::tempdir().expect("a directory");
        let (_projector, model) = scribe.projected(&dir.path().join("rows"));
        let failing = model.failing_paths(at(minute * MINUTE_US)).expect("answers");
        let restored = model.restored_paths().expect("answers");
        (failing.len(), restored.len())
    };
    let scribe = with_second(60);
    outcome(&scribe, "NotificationFailed", "email", 1, Some(1));
    outcome(&scribe, "NotificationFailed", "webhook", 1, Some(1));
    scribe.pass(2 * MINUTE_US);
    outcome(&scribe, "NotificationFailed", "email", 2, Some(4));
    assert_eq!(
        failing(&scribe, 1),
        (1, 0),
        "since the first of them, and no webhook's"
    );
    assert_eq!(failing(&scribe, -1), (0, 0));
    let answered = with_second(60);
    outcome(&answered, "NotificationFailed", "email", 1, Some(1));
    outcome(&answered, "NotificationFailed", "email", 2, None);
    assert_eq!(failing(&answered, 1), (0, 0), "who refuses answers");
    // Once an alarm is raised about it, nobody raises another; it can end when a message is taken.
    warn(&scribe, "alm_a");
    let dir = tempfile::tempdir().expect("a directory");
    let (projector, model) = scribe.projected(&dir.path().join("rows"));
    let since = model.failing_paths(at(MINUTE_US)).expect("answers")[0].since;
    drop(projector);
    let payload = json!({"began_at": since.to_string(), "cause": {"kind": "path", "via": "email"}, "severity": "alarm"});
    scribe.fact(Some("acc_a"), ("alarm", "alm_path"), "AlarmRaised", &payload);
    assert_eq!(failing(&scribe, 99), (0, 0));
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    let said = |alarm: &str, what: &str| (alarm.to_owned(), what.to_owned());
    // The other way says so, and does not wait for its hour any more.
    let chat = told(&model, ContactKind::Telegram, 3 * MINUTE_US);
    assert_eq!(
        chat,
        [said("alm_a", "alarm_opened"), said("alm_path", "path_failed")]
    );
    let open = model.alarms("acc_a", &projections::query::AlarmFilter::default(), 9);
    let kinds: Vec<String> = open
        .expect("answers")
        .into_iter()
        .map(|alarm| alarm.kind)
        .collect();
    assert_eq!(kinds, ["path", "range"]);
    outcome(&scribe, "NotificationSent", "email", 3, None);
    assert_eq!(failing(&scribe, 99), (0, 1));
    clear(&scribe, "alm_path");
    assert_eq!(failing(&scribe, 99), (0, 0));
}

#[test]
fn a_trial_is_told_to_its_contact_alone_and_is_in_no_count() {
    let dir = tempfile::tempdir().expect("a directory");
    let scribe = with_second(0);
    let cause = json!({"kind": "challenge", "contact": "con_mail", "until": at(30 * MINUTE_US).to_string()});
    raised(&scribe, "alm_trial", &cause, 0);
    let (projector, model) = scribe.projected(&dir.path().join("rows"));
    let said = |what: &str| vec![("alm_trial".to_owned(), what.to_owned())];
    assert_eq!(told(&model, ContactKind::Email, MINUTE_US), said("challenge"));
    assert_eq!(told(&model, ContactKind::Telegram, MINUTE_US), []);
    assert_eq!(told(&model, ContactKind::Webhook, MINUTE_US), []);
    let counts = model.alarm_counts("acc_a").expect("answers");
    assert_eq!((counts.open, counts.unacknowledged), (0, 0));
    assert_eq!(
        model.day_of("acc_a", domain::Position(0)).expect("answers"),
        (0, 0, 0)
    );
    let trials = model.trials().expect("answers");
    assert_eq!(trials.len(), 1);
    assert_eq!(
        (trials[0].contact.as_str(), &trials[0].acknowledged_by),
        ("con_mail", &None)
    );
    drop(projector);
    scribe.fact(
        Some("acc_a"),
        ("alarm", "alm_trial"),
        "AlarmClosed",
        &json!({"reason": "unanswered"}),
    );
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("rows"));
    assert_eq!(
        told(&model, ContactKind::Telegram, MINUTE_US),
        said("challenge_failed")
    );
    assert_eq!(model.trials().expect("answers"), []);
}
