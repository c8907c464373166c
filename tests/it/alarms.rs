//! From a fridge that warms to an alarm that a person has seen: a real service, real requests, real clocks.

use domain::Timestamp;
use serde_json::{Value, json};
use std::time::Instant;
use tests::PATIENCE;
use tests::daybook::Daybook;

/// A kitchen with one probe, which sends what was measured some minutes ago.
pub struct Kitchen {
    pub daybook: Daybook,
    pub site: String,
    device: String,
    token: String,
    pub began: Timestamp,
}

impl Kitchen {
    pub fn new() -> Self {
        Self::with(Daybook::with().set("rate_per_minute", 0).start())
    }

    fn with(daybook: Daybook) -> Self {
        let (site, device, token) = daybook.device("hut01");
        let micros = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_micros() as i64;
        Self {
            daybook,
            site,
            device,
            token,
            began: Timestamp::from_micros(micros / 1_000_000 * 1_000_000).expect("now"),
        }
    }

    /// One value, measured so many minutes ago.
    fn send(&self, minutes_ago: i64, value: f64) {
        let ts = self.began.plus_micros(-minutes_ago * 60_000_000).to_string();
        self.daybook
            .send(&self.token, "hut01", Some(&ts), value)
            .expect(200);
    }

    /// One value a minute.
    pub fn send_all(&self, minutes_ago: std::ops::RangeInclusive<i64>, value: f64) {
        for minute in minutes_ago.rev() {
            self.send(minute, value);
        }
    }

    fn sensor(&self) -> Value {
        let sensors = self
            .daybook
            .get(&format!("/v1/devices/{}/sensors", self.device))
            .expect(200);
        sensors["data"][0].clone()
    }

    pub fn text(&self, member: &str) -> String {
        self.sensor()[member].as_str().expect("a text").to_owned()
    }

    /// The account's alarms, once they are as they should be.
    pub fn until(&self, query: &str, right: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = self.daybook.get(&format!("/v1/events{query}")).expect(200);
            let data = list["data"].as_array().expect("a list").clone();
            if right(&data) {
                return data;
            }
            assert!(Instant::now() < deadline, "not in time: {data:?}");
            self.daybook.until_projected();
            std::thread::yield_now();
        }
    }

    fn until_sensor(&self, member: &str, value: &Value) {
        let deadline = Instant::now() + PATIENCE;
        while self.sensor()[member] != *value {
            assert!(Instant::now() < deadline, "{} is not {value}", self.sensor());
            self.daybook.until_projected();
        }
    }
}

fn states(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["state"].as_str())
        .collect()
}

#[test]
fn a_fridge_that_fails_is_an_alarm_that_somebody_sees_and_that_ends() {
    let kitchen = Kitchen::new();
    let daybook = &kitchen.daybook;
    kitchen.send_all(50..=52, 4.0);
    kitchen.send_all(40..=49, 9.0);
    kitchen.until_sensor("state", &json!("grace"));
    kitchen.send_all(30..=39, 9.5);
    let open = kitchen.until("?state=alarm", |events| events.len() == 1);
    let id = open[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(open[0]["site_id"], json!(kitchen.site));
    assert_eq!(open[0]["thresholds"]["ok_max"], json!(5));
    kitchen.until_sensor("state", &json!("alarm"));
    let one = daybook.get(&format!("/v1/events/{id}")).expect(200);
    assert_eq!(one["why"]["readings"][0]["value"], json!(9.0));
    assert_eq!(one["why"]["rule"]["ok_max"], json!(5.0));
    assert!(
        one["why"]["reproduce"]
            .as_str()
            .is_some_and(|line| line.contains(&id))
    );
    let seen = daybook
        .post(
            &format!("/v1/events/{id}/ack"),
            &json!({"note": "door was open", "reason": {"code": "door_open"}, "corrective_action": "closed it"}),
        )
        .expect(200);
    assert_eq!(seen["state"], "acknowledged");
    daybook
        .post(
            &format!("/v1/events/{id}/comment"),
            &json!({"note": "compressor checked"}),
        )
        .expect(200);
    kitchen.until_sensor("acknowledged", &json!(true));
    kitchen.send_all(10..=29, 4.0);
    kitchen.until("", |events| states(events) == ["cleared"]);
    kitchen.until_sensor("state", &json!("ok"));
    let one = daybook.get(&format!("/v1/events/{id}")).expect(200);
    let told: Vec<&str> = one["timeline"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["event_type"].as_str())
        .collect();
    assert_eq!(
        told,
        [
            "AlarmOpened",
            "AlarmAcknowledged",
            "AlarmCommented",
            "AlarmCleared"
        ]
    );
    assert_eq!(one["timeline"][1]["payload"]["text"], "door was open");
    assert_eq!(one["timeline"][1]["payload"]["corrective_action"], "closed it");
    let (code, _, said) = daybook.cli(&["replay", "--rules"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("0 missing, 0 unexpected"), "{said}");
    // A draft that is stricter would have told of more.
    let draft = json!({"channel_id": kitchen.text("channel_id"), "rule": {"ok_max": 3.0, "grace_min": 5}});
    let tried = daybook.post("/v1/rules/backtest", &draft).expect(200);
    assert_eq!(tried["alarms"].as_array().map(Vec::len), Some(1), "{tried}");
    assert_eq!(tried["alarms"][0]["cleared_at"], Value::Null);
}

#[test]
fn a_silence_changes_who_is_told_and_nothing_else() {
    let kitchen = Kitchen::new();
    let daybook = &kitchen.daybook;
    kitchen.send(60, 4.0);
    let sensor = kitchen.text("id");
    let path = format!("/v1/sensors/{sensor}/silence");
    let to = kitchen.began.plus_micros(3_600_000_000).to_string();
    assert_eq!(
        daybook.post(&path, &json!({"to": to})).refused(422),
        "reason_required"
    );
    let from = kitchen.began.plus_micros(-7_200_000_000).to_string();
    let silence = daybook
        .post(
            &path,
            &json!({"from": from, "to": to, "reason": "defrosting by hand"}),
        )
        .expect(201);
    assert_eq!(silence["reason"], "defrosting by hand");
    kitchen.send_all(30..=50, 9.0);
    let events = kitchen.until("", |events| states(events) == ["alarm"]);
    assert_eq!(events[0]["silenced"], json!(true));
    kitchen.until_sensor("state", &json!("silent"));
    let id = silence["id"].as_str().expect("an id");
    assert_eq!(daybook.delete(&format!("/v1/silences/{id}")).status, 204);
    kitchen.until_sensor("state", &json!("alarm"));
    let list = daybook.get("/v1/silences?active=true").expect(200);
    assert_eq!(list["data"].as_array().map(Vec::len), Some(0));
}

#[test]
fn whether_an_alarm_was_silenced_goes_by_when_it_was_told_and_not_by_when_it_was_measured() {
    let kitchen = Kitchen::new();
    let daybook = &kitchen.daybook;
    kitchen.send(60, 4.0);
    let from = kitchen.began.plus_micros(-7_200_000_000).to_string();
    let to = kitchen.began.plus_micros(3_600_000_000).to_string();
    let silence = daybook
        .post(
            &format!("/v1/sensors/{}/silence", kitchen.text("id")),
            &json!({"from": from, "to": to, "reason": "defrosting by hand"}),
        )
        .expect(201);
    let id = silence["id"].as_str().expect("an id");
    assert_eq!(daybook.delete(&format!("/v1/silences/{id}")).status, 204);
    // Measured while it held, told after it had ended: people were told.
    kitchen.send_all(30..=50, 9.0);
    let events = kitchen.until("", |events| states(events) == ["alarm"]);
    assert_eq!(events[0]["silenced"], json!(false), "{events:?}");
}

#[test]
fn an_alarm_that_a_person_closed_and_opened_again_ends_by_its_values_and_replays_equal() {
    let kitchen = Kitchen::new();
    let daybook = &kitchen.daybook;
    kitchen.send_all(30..=50, 9.0);
    let open = kitchen.until("", |events| states(events) == ["alarm"]);
    let path = format!("/v1/events/{}", open[0]["id"].as_str().expect("an id"));
    let does = |what: &str, reason: &str| {
        daybook
            .post(&format!("{path}/{what}"), &json!({"reason": {"code": reason}}))
            .expect(200)
    };
    assert_eq!(does("close", "false_alarm")["state"], "closed");
    assert_eq!(does("reopen", "closed_by_mistake")["state"], "alarm");
    kitchen.send_all(5..=29, 4.0);
    kitchen.until("", |events| states(events) == ["cleared"]);
    assert_eq!(does("reopen", "not_over")["state"], "alarm");
    assert_eq!(does("close", "repaired")["state"], "closed");
    let (code, out, said) = daybook.cli(&["replay", "--rules", "--json"]);
    assert_eq!(code, 0, "{out} {said}");
}

#[test]
fn a_service_killed_within_the_grace_opens_the_alarm_once_it_is_back() {
    let mut kitchen = Kitchen::new();
    kitchen.send_all(50..=59, 9.0);
    kitchen.daybook.kill9();
    kitchen.daybook.restart();
    kitchen.send_all(35..=49, 9.0);
    kitchen.until("", |events| states(events) == ["alarm"]);
    kitchen.daybook.kill9();
    kitchen.daybook.restart();
    kitchen.send_all(20..=34, 9.0);
    kitchen.until("", |events| states(events) == ["alarm"]);
    let (code, out, said) = kitchen.daybook.cli(&["replay", "--rules", "--json"]);
    assert_eq!(code, 0, "{out} {said}");
}

#[test]
fn values_that_come_late_open_the_alarm_that_was_missed() {
    let kitchen = Kitchen::new();
    kitchen.send_all(80..=85, 4.0);
    kitchen.send_all(20..=25, 4.0);
    kitchen.send_all(40..=75, 9.0);
    let events = kitchen.until("", |events| events.len() == 1);
    assert_eq!(events[0]["late"], json!(true), "{events:?}");
    let (code, out, said) = kitchen.daybook.cli(&["replay", "--rules", "--json"]);
    assert_eq!(code, 0, "{out} {said}");
}

#[test]
fn a_recompute_finds_what_a_new_version_would_have_told_and_twice_nothing() {
    let kitchen = Kitchen::new();
    let daybook = &kitchen.daybook;
    kitchen.send_all(90..=100, 4.0);
    kitchen.send_all(60..=89, 4.8);
    kitchen.send_all(30..=59, 3.0);
    let (sensor, channel) = (kitchen.text("id"), kitchen.text("channel_id"));
    let rules = daybook.get(&format!("/v1/channels/{channel}/rules")).expect(200);
    let rule = rules["data"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(rules["data"][0]["simple"], json!(true));
    let changed = daybook
        .patch(
            &format!("/v1/rules/{rule}"),
            &json!({"ok_max": 4.5, "reason": "stricter"}),
        )
        .expect(200);
    assert_eq!(
        (changed["version"].clone(), changed["ok_max"].clone()),
        (json!(2), json!(4.5))
    );
    assert_eq!(kitchen.sensor()["ok_max"], json!(4.5));
    let path = format!("/v1/sensors/{sensor}/recompute");
    let keyed = || {
        let call = daybook.call("POST", &path).token(&daybook.owner_token());
        call.header("Idempotency-Key", "k1").json(&json!({})).send()
    };
    let first = keyed().expect(200);
    assert_eq!(first["missed"].as_array().map(Vec::len), Some(1), "{first}");
    let repeated = keyed();
    assert_eq!(repeated.header("idempotent-replayed"), Some("true"));
    let repeated = repeated.expect(200);
    for member in ["missed", "from", "to", "position", "channel_id"] {
        assert_eq!(repeated[member], first[member], "{member}");
    }
    assert_eq!(repeated["readings"], Value::Null);
    let again = daybook.post(&path, &json!({})).expect(200);
    assert_eq!(again["missed"], json!([]));
    let events = kitchen.until("", |events| states(events) == ["cleared"]);
    assert_eq!(events[0]["late"], json!(true));
    let versions = daybook.get(&format!("/v1/rules/{rule}")).expect(200)["versions"].clone();
    let numbers: Vec<_> = versions
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| version["version"].clone())
        .collect();
    assert_eq!(numbers, [json!(2), json!(1)]);
    let (code, out, said) = daybook.cli(&["replay", "--rules", "--json"]);
    assert_eq!(code, 0, "{out} {said}");
}

#[test]
fn a_rule_with_a_failing_test_is_refused_and_one_of_its_own_is_added_changed_and_removed() {
    let kitchen = Kitchen::new();
    let daybook = &kitchen.daybook;
    kitchen.send(60, 4.0);
    let channel = kitchen.text("channel_id");
    let path = format!("/v1/channels/{channel}/rules");
    let mut rule = json!({
        "kind": "range", "ok_max": 5.0, "grace_min": 0, "severity": "warn", "name": "stricter",
        "tests": [{"name": "warm", "readings": [{"at_s": 0, "value": 9.0}], "states": [{"at_s": 0, "state": "ok"}]}],
    });
    assert_eq!(daybook.post(&path, &rule).status, 422);
    rule["tests"][0]["states"][0]["state"] = json!("alarm");
    let made = daybook.post(&path, &rule).expect(201);
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (made["name"].clone(), made["version"].clone()),
        (json!("stricter"), json!(1))
    );
    let stale = daybook
        .call("PATCH", &format!("/v1/rules/{id}"))
        .token(&daybook.owner_token())
        .header("If-Match", "\"9\"")
        .json(&json!({"enabled": false}))
        .send();
    assert_eq!(stale.refused(412), "precondition_failed");
    daybook
        .patch(
            &format!("/v1/rules/{id}"),
            &json!({"enabled": false, "tests": null}),
        )
        .expect(200);
    assert_eq!(daybook.delete(&format!("/v1/rules/{id}")).status, 204);
    assert_eq!(
        daybook.get(&format!("/v1/rules/{id}")).refused(404),
        "rule_not_found"
    );
}

#[test]
fn calibrations_and_notes_stand_beside_what_was_recorded() {
    let kitchen = Kitchen::new();
    let daybook = &kitchen.daybook;
    kitchen.send(60, 4.0);
    let channel = kitchen.text("channel_id");
    let calibrations = format!("/v1/channels/{channel}/calibrations");
    let from = kitchen.began.plus_micros(-3_500_000_000).to_string();
    let made = daybook
        .post(
            &calibrations,
            &json!({"offset": 2.0, "valid_from": from, "certificate": "K-17", "reason": "yearly"}),
        )
        .expect(201);
    assert_eq!(made["data"][0]["correction"]["offset"], json!(2), "{made}");
    assert_eq!(made["data"][0]["certificate"], "K-17");
    // Judged corrected: 4 degrees are 6.
    kitchen.send_all(30..=50, 4.0);
    let events = kitchen.until("", |events| states(events) == ["alarm"]);
    assert_eq!(events[0]["value_at"], json!(6));
    let annotations = format!("/v1/channels/{channel}/annotations");
    let ts = kitchen.began.plus_micros(-60 * 60_000_000).to_string();
    let note = daybook
        .post(&annotations, &json!({"ts": ts, "note": "probe was in the hand"}))
        .expect(201);
    assert_eq!(note["data"][0]["note"], "probe was in the hand");
    let other = kitchen.began.plus_micros(-61 * 60_000_000).to_string();
    let refused = daybook.post(&annotations, &json!({"ts": other, "note": "x"}));
    assert_eq!(refused.refused(404), "reading_not_found");
    let list = daybook.get(&annotations).expect(200);
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
}
