//! Values as people read them: a site from its first readings to its alarms, calibrations, derived channels. A real
//! service and real requests.

use domain::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;
use tests::PATIENCE;
use tests::daybook::Daybook;

/// A device with its token.
struct Probe {
    local: &'static str,
    id: String,
    token: String,
}

/// A site, and the time at which the test began.
struct Site {
    daybook: Daybook,
    id: String,
    began: Timestamp,
}

impl Site {
    fn new(vertical: &str) -> Self {
        let daybook = Daybook::with().set("rate_per_minute", 0).start();
        let site = json!({"name": "House", "vertical": vertical, "timezone": "Europe/Berlin"});
        let site = daybook.post("/v1/sites", &site).expect(201);
        let micros = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_micros() as i64;
        Self {
            daybook,
            id: text(&site, "id"),
            began: Timestamp::from_micros(micros / 1_000_000 * 1_000_000).expect("now"),
        }
    }

    fn device(&self, local: &'static str) -> Probe {
        let (id, token) = self.daybook.device_on(&self.id, local);
        Probe { local, id, token }
    }

    fn ago(&self, minutes: i64) -> String {
        self.began.plus_micros(-minutes * 60_000_000).to_string()
    }

    /// Values of one time: (type, label, value).
    fn send(
        &self,
        probe: &Probe,
        minutes: i64,
        values: &[(&str, Option<&str>, f64)],
    ) -> tests::daybook::Reply {
        let measurements: Vec<Value> = values
            .iter()
            .map(|(kind, label, value)| match label {
                Some(label) => json!({"type": kind, "label": label, "value": value}),
                None => json!({"type": kind, "value": value}),
            })
            .collect();
        let body = json!({"device": probe.local, "ts": self.ago(minutes), "measurements": measurements});
        let call = self.daybook.call("POST", "/v1/ingest");
        call.token(&probe.token).json(&body).send()
    }

    /// A device's sensors by label.
    fn sensors(&self, probe: &Probe) -> BTreeMap<String, Value> {
        let path = format!("/v1/devices/{}/sensors", probe.id);
        let list = self.daybook.get(&path).expect(200);
        let all = list["data"].as_array().expect("a list");
        let named = |sensor: &Value| sensor["label"].as_str().unwrap_or("").to_owned();
        all.iter().map(|sensor| (named(sensor), sensor.clone())).collect()
    }

    fn channel(&self, probe: &Probe, label: &str) -> String {
        text(&self.sensors(probe)[label], "channel_id")
    }

    fn until(&self, what: &str, right: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !right() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            self.daybook.until_projected();
            std::thread::yield_now();
        }
    }

    fn measurements(&self, channel: &str, query: &str) -> Value {
        let (from, to) = (self.ago(2_000), self.ago(-1));
        let path = format!("/v1/channels/{channel}/measurements?from={from}&to={to}{query}");
        self.daybook.get(&path).expect(200)
    }

    fn values(&self, channel: &str, query: &str) -> Vec<f64> {
        let answer = self.measurements(channel, query);
        let points = answer["data"].as_array().expect("points");
        points
            .iter()
            .map(|point| point[1].as_f64().expect("a number"))
            .collect()
    }
}

fn text(value: &Value, member: &str) -> String {
    let found = value[member].as_str();
    found
        .unwrap_or_else(|| panic!("no {member} in {value}"))
        .to_owned()
}

#[test]
fn a_legionella_site_begins_with_its_traffic_light_and_its_difference() {
    let site = Site::new("legionella");
    let daybook = &site.daybook;
    let (supply, back) = (site.device("supply"), site.device("return"));
    // The second of the two inputs brings the difference, with the rule of its own.
    site.send(&supply, 200, &[("temperature", Some("flow_supply"), 62.0)])
        .expect(200);
    assert_eq!(site.sensors(&supply).len(), 1);
    site.send(&back, 199, &[("temperature", Some("flow_return"), 55.0)])
        .expect(200);
    site.until("the difference", || {
        site.sensors(&back).contains_key("flow_delta")
    });
    let sensors = site.sensors(&back);
    let delta = &sensors["flow_delta"];
    assert_eq!((&delta["unit"], &delta["ok_max"]), (&json!("K"), &json!(15.0)));
    assert_eq!(delta["derivation"]["function"], json!("flow_delta"));
    let delta_id = text(delta, "channel_id");
    let rules = daybook.get(&format!("/v1/channels/{delta_id}/rules")).expect(200);
    assert_eq!(
        (&rules["data"][0]["warn_max"], &rules["data"][0]["grace_min"]),
        (&json!(20.0), &json!(60))
    );
    let return_id = site.channel(&back, "flow_return");
    let rules = daybook
        .get(&format!("/v1/channels/{return_id}/rules"))
        .expect(200);
    assert_eq!(
        (&rules["data"][0]["warn_min"], &rules["data"][0]["ok_min"]),
        (&json!(48.0), &json!(50.0))
    );
    assert_eq!(rules["data"][0]["simple"], json!(true));
    // 18 K for more than an hour is a warning, 23 K for more than an hour an alarm.
    for minutes in (120..=190).rev().step_by(10) {
        site.send(&supply, minutes, &[("temperature", Some("flow_supply"), 69.0)])
            .expect(200);
        site.send(&back, minutes - 1, &[("temperature", Some("flow_return"), 51.0)])
            .expect(200);
    }
    let warned = || {
        let events = daybook
            .get(&format!("/v1/channels/{delta_id}/events"))
            .expect(200);
        events["data"][0].clone()
    };
    site.until("a warning", || warned()["severity"] == json!("warn"));
    for minutes in (0..=80).rev().step_by(10) {
        site.send(&supply, minutes, &[("temperature", Some("flow_supply"), 74.0)])
            .expect(200);
        site.send(&back, minutes - 1, &[("temperature", Some("flow_return"), 51.0)])
            .expect(200);
    }
    site.until("an alarm", || warned()["severity"] == json!("alarm"));
    assert_eq!(warned()["thresholds"]["warn_max"].as_f64(), Some(20.0));
    // What was judged is what is read, and the alarm names what it was made of.
    let values = site.values(&delta_id, "");
    assert!(
        values.contains(&14.0) && values.contains(&18.0) && values.contains(&23.0),
        "{values:?}"
    );
    let hourly = site.measurements(&delta_id, "&agg=1h&fn=max");
    let highest = hourly["data"]
        .as_array()
        .expect("buckets")
        .iter()
        .filter_map(|it| it[1].as_f64());
    assert_eq!(highest.fold(f64::MIN, f64::max), 23.0);
    let alarm = daybook
        .get(&format!("/v1/events/{}", text(&warned(), "id")))
        .expect(200);
    let ground = &alarm["why"]["readings"][0];
    let inputs = ground["inputs"].as_array().expect("inputs");
    assert_eq!(inputs.len(), 2, "{ground}");
    let value = |index: usize| inputs[index]["value"].as_f64().expect("a value");
    assert_eq!(ground["value"].as_f64(), Some(value(0) - value(1)), "{ground}");
    assert_eq!(inputs[1]["channel_id"], json!(return_id));
    // A ledger that begins so replays so.
    let (code, said, _) = daybook.cli(&["replay", "--rules"]);
    assert_eq!(code, 0, "{said}");
}

/// The alarms that a draft would have made of a channel's values, asked over HTTP and of the ledger itself; they are the
/// same.
fn tried(site: &Site, channel: &str, rule: &Value) -> Vec<Value> {
    let draft = json!({"channel_id": channel, "rule": rule, "from": site.ago(60 * 24 * 30)});
    let asked = site.daybook.post("/v1/rules/backtest", &draft).expect(200);
    let file = site.daybook.scratch().join("draft.json");
    std::fs::write(&file, rule.to_string()).expect("written");
    let file = file.to_str().expect("a path");
    let (code, out, said) = site
        .daybook
        .cli(&["rule", "backtest", file, "--channel", channel, "--json"]);
    assert_eq!(code, 0, "{said}");
    let read: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(asked["readings"], read["readings"]);
    assert_eq!(asked["alarms"], read["alarms"]);
    read["alarms"].as_array().expect("a list").clone()
}

#[test]
fn a_distant_outlet_is_judged_draw_by_draw_and_a_draft_is_tried_on_its_draws() {
    let mut site = Site::new("legionella");
    let (tap, meter) = (site.device("tap"), site.device("meter"));
    let send = |site: &Site, probe: &Probe, second: i64, kind: &str, value: f64| {
        let ts = site.began.plus_micros((second - 7_200) * 1_000_000).to_string();
        let measured = json!([{"type": kind, "label": "outlet_distant", "value": value}]);
        let body = json!({"device": probe.local, "ts": ts, "measurements": measured});
        let call = site.daybook.call("POST", "/v1/ingest").token(&probe.token);
        call.json(&body).send().expect(200);
    };
    send(&site, &tap, -10, "temperature", 21.0);
    send(&site, &meter, 0, "flow", 0.0);
    site.until("the draws", || {
        site.sensors(&meter).contains_key("draw_temperature")
    });
    let sensor = site.sensors(&meter)["draw_temperature"].clone();
    assert_eq!(
        (&sensor["unit"], &sensor["ok_min"], &sensor["grace_min"]),
        (&json!("Cel"), &json!(50.0), &json!(0))
    );
    let draws = text(&sensor, "channel_id");
    // The outlet itself has no limit: it is cold as long as nobody draws.
    assert_eq!(site.sensors(&tap)["outlet_distant"]["ok_min"], json!(null));
    let draw = |site: &Site, begin: i64, warm: &[(i64, f64)]| {
        for (second, celsius) in warm {
            send(site, &tap, begin + second, "temperature", *celsius);
        }
        send(site, &meter, begin + 60, "flow", 0.0);
    };
    // The service starts anew while the water runs.
    send(&site, &meter, 600, "flow", 6.0);
    send(&site, &tap, 610, "temperature", 28.0);
    site.daybook.until_projected();
    assert!(site.daybook.stop().success());
    site.daybook.restart();
    draw(&site, 600, &[(25, 43.5), (40, 56.0)]);
    let state = |site: &Site| {
        let path = format!("/v1/channels/{draws}/events");
        site.daybook.get(&path).expect(200)["data"][0]["state"].clone()
    };
    site.until("an alarm", || state(&site) == json!("alarm"));
    // One at which nobody looked makes no value.
    send(&site, &meter, 1_200, "flow", 6.0);
    draw(&site, 1_200, &[(55, 57.0)]);
    send(&site, &meter, 1_800, "flow", 6.0);
    draw(&site, 1_800, &[(12, 45.0), (24, 54.5), (36, 56.0)]);
    site.until("its end", || state(&site) == json!("cleared"));
    site.daybook.until_projected();
    assert_eq!(site.values(&draws, ""), [43.5, 54.5]);

    let alarms = tried(&site, &draws, &json!({"ok_min": 50.0}));
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarms[0]["value"], json!(43.5));
    assert!(alarms[0]["cleared_at"].is_string());
    let alarms = tried(&site, &draws, &json!({"ok_min": 55.0}));
    assert_eq!(
        (alarms.len(), &alarms[0]["cleared_at"]),
        (1, &json!(null)),
        "{alarms:?}"
    );
    assert!(tried(&site, &draws, &json!({"ok_min": 40.0})).is_empty());
    let (code, said, _) = site.daybook.cli(&["replay", "--rules"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn the_third_night_over_its_baseline_is_an_alarm_and_a_draft_is_tried_on_the_nights() {
    let site = Site::new("energy");
    let meter = site.device("meter");
    let midnight = site.began.date().start();
    // Half past the hours that are 02:00 to 05:00 in Berlin, in summer and in winter, and a reading after them.
    for day in (1..=17).rev() {
        let watts = if day > 3 { 100.0 } else { 200.0 };
        for (hour, watts) in [(0, watts), (1, watts), (2, watts), (3, watts), (4, 900.0)] {
            let at = midnight.plus_micros(((hour - day * 24) * 60 + 30) * 60_000_000);
            let minutes = site.began.since(at) / 60_000_000;
            site.send(&meter, minutes, &[("power", None, watts)]).expect(200);
        }
    }
    site.until("nights", || {
        site.sensors(&meter).contains_key("nights_over_baseline")
    });
    let sensors = site.sensors(&meter);
    let nights = &sensors["nights_over_baseline"];
    assert_eq!(
        (&nights["kind"], &nights["ok_max"], &nights["grace_min"]),
        (&json!("count"), &json!(2.0), &json!(0))
    );
    // How much it is over is shown; only the nights are an alarm.
    assert_eq!(sensors["over_baseline"]["ok_max"], json!(null));
    let channel = text(nights, "channel_id");
    site.until("an alarm", || {
        let open = site.daybook.get("/v1/events?state=alarm").expect(200);
        open["data"].as_array().is_some_and(|all| all.len() == 1)
    });
    let open = site.daybook.get("/v1/events?state=alarm").expect(200);
    assert_eq!(open["data"][0]["channel_id"], json!(channel));

    let alarms = tried(&site, &channel, &json!({"ok_max": 2.0}));
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarms[0]["value"], json!(3.0));
    let alarms = tried(&site, &channel, &json!({"ok_max": 1.0}));
    assert_eq!(alarms[0]["value"], json!(2.0), "{alarms:?}");
    assert!(tried(&site, &channel, &json!({"ok_max": 3.0})).is_empty());
    let (code, said, _) = site.daybook.cli(&["replay", "--rules"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn two_supplies_make_no_pair_and_a_server_room_gets_its_differences() {
    let site = Site::new("legionella");
    let (one, two) = (site.device("one"), site.device("two"));
    let back = site.device("return");
    site.send(&one, 9, &[("temperature", Some("flow_supply"), 62.0)])
        .expect(200);
    site.send(&two, 9, &[("temperature", Some("flow_supply"), 62.0)])
        .expect(200);
    site.send(&back, 9, &[("temperature", Some("flow_return"), 55.0)])
        .expect(200);
    site.daybook.until_projected();
    assert_eq!(
        site.sensors(&back).len(),
        1,
        "which supply it is the return of, nobody can tell"
    );
    // On one device there is no doubt.
    let station = site.device("station");
    let both = [
        ("temperature", Some("flow_return"), 55.0),
        ("temperature", Some("flow_supply"), 62.0),
    ];
    site.send(&station, 8, &both).expect(200);
    site.daybook.until_projected();
    assert_eq!(site.values(&site.channel(&station, "flow_delta"), ""), [7.0]);

    let room = Site::new("server-room");
    let rack = room.device("rack");
    let air = [
        ("temperature", None, 22.0),
        ("humidity", None, 50.0),
        ("temperature", Some("exhaust"), 45.0),
        ("leak", None, 1.0),
    ];
    room.send(&rack, 30, &air).expect(200);
    room.daybook.until_projected();
    let sensors = room.sensors(&rack);
    assert_eq!(sensors["delta_t"]["last_value"], json!(23.0));
    assert_eq!(sensors["delta_t"]["ok_max"], json!(20.0));
    let dew = sensors["dewpoint"]["last_value"].as_f64().expect("a dew point");
    assert!((dew - 11.1).abs() < 0.1, "{dew}");
    assert_eq!(sensors["dewpoint"]["ok_max"], json!(null));
    room.until("water on the floor", || {
        let open = room.daybook.get("/v1/events?state=alarm").expect(200);
        open["data"].as_array().is_some_and(|all| all.len() == 1)
    });
    // What is made here nobody sends.
    let sent = [("temperature", Some("delta_t"), 3.0)];
    assert_eq!(room.send(&rack, 29, &sent).refused(422), "derived_channel");
}

#[test]
fn a_calibration_changes_what_is_read_and_nothing_that_was_recorded() {
    let site = Site::new("haccp");
    let daybook = &site.daybook;
    let probe = site.device("fridge");
    for minutes in (1..=6).rev() {
        site.send(&probe, minutes, &[("temperature", None, 4.0)])
            .expect(200);
    }
    daybook.until_projected();
    let channel = site.channel(&probe, "");
    assert_eq!(site.values(&channel, ""), [4.0; 6]);
    let none = site.measurements(&channel, "");
    assert_eq!(
        (&none["values"], &none["calibrations"]),
        (&json!("calibrated"), &json!([]))
    );
    let path = format!("/v1/channels/{channel}/calibrations");
    let body = json!({"offset": -0.5, "valid_from": site.ago(3), "certificate": "K-2026-17", "due": "2027-05-17",
        "reason": "ice bath"});
    daybook.post(&path, &body).expect(201);
    assert_eq!(site.values(&channel, ""), [4.0, 4.0, 4.0, 3.5, 3.5, 3.5]);
    assert_eq!(site.values(&channel, "&values=raw"), [4.0; 6]);
    let both = site.measurements(&channel, "&values=both");
    assert_eq!(both["data"][5].as_array().map(Vec::len), Some(3));
    assert_eq!(
        (&both["data"][5][1], &both["data"][5][2]),
        (&json!(3.5), &json!(4))
    );
    assert_eq!(both["calibrations"][0]["correction"], json!({"offset": -0.5}));
    assert_eq!(both["calibrations"][0]["valid_from"], json!(site.ago(3)));
    // Rollups that two versions share are made of what was recorded.
    let lowest = site.measurements(&channel, "&agg=1d&fn=min");
    assert_eq!(
        lowest["data"][lowest["data"].as_array().expect("days").len() - 1][1],
        json!(3.5)
    );
    let many = daybook
        .get(&format!(
            "/v1/measurements?channel_ids={channel}&from={}&to={}",
            site.ago(9),
            site.ago(0)
        ))
        .expect(200);
    assert_eq!(
        (&many["values"], &many["data"][&channel][5][1]),
        (&json!("calibrated"), &json!(3.5))
    );
    let range = format!("from={}&to={}", site.ago(2), site.ago(0));
    let csv = |values: &str| {
        daybook
            .get(&format!(
                "/v1/channels/{channel}/measurements?format=csv&{range}{values}"
            ))
            .text()
    };
    assert!(
        csv("").starts_with("ts,value\n")
            && csv("").lines().nth(1).is_some_and(|line| line.ends_with(",3.5"))
    );
    let with_raw = csv("&values=both");
    assert!(
        with_raw.starts_with("ts,value,raw\n") && with_raw.contains(",3.5,4\n"),
        "{with_raw}"
    );
    let ndjson = daybook.get(&format!(
        "/v1/channels/{channel}/measurements?format=ndjson&{range}&values=both"
    ));
    assert_eq!(
        (&ndjson.ndjson()[0]["value"], &ndjson.ndjson()[0]["raw"]),
        (&json!(3.5), &json!(4))
    );
    let sensor = &site.sensors(&probe)[""];
    assert_eq!(
        (&sensor["last_value"], &sensor["last_raw"]),
        (&json!(3.5), &json!(4.0))
    );
    let wrong = daybook.get(&format!("/v1/channels/{channel}/measurements?values=guessed"));
    assert_eq!(wrong.refused(400), "bad_query");
    // A note marks the reading that it is about.
    let note = json!({"ts": site.ago(2), "note": "door stood open"});
    daybook
        .post(&format!("/v1/channels/{channel}/annotations"), &note)
        .expect(201);
    daybook.until_projected();
    let noted = site.measurements(&channel, "");
    assert_eq!(
        (&noted["annotations"][0]["note"], &noted["annotations"][0]["ts"]),
        (&json!("door stood open"), &json!(site.ago(2)))
    );
    // The entry holds what it held.
    let position = text_or_number(&noted["annotations"][0]["reading"]);
    let entry = daybook.get(&format!("/v1/entries?from={position}&limit=1"));
    assert!(entry.text().contains("\"temperature\":4"), "{}", entry.text());
}

fn text_or_number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no position in {value}"))
}

#[test]
fn a_derived_channel_is_made_changed_and_ended_by_an_owner() {
    let site = Site::new("climate");
    let daybook = &site.daybook;
    let probe = site.device("room");
    let air = [("temperature", None, 20.0), ("humidity", None, 50.0)];
    site.send(&probe, 9, &air).expect(200);
    daybook.until_projected();
    let sensors = daybook
        .get(&format!("/v1/devices/{}/sensors", probe.id))
        .expect(200);
    let of = |kind: &str| {
        let all = sensors["data"].as_array().expect("a list");
        all.iter()
            .find(|it| it["kind"] == json!(kind))
            .map(|it| text(it, "channel_id"))
            .expect("a channel")
    };
    let (temperature, humidity) = (of("temperature"), of("humidity"));
    let path = format!("/v1/devices/{}/sensors", probe.id);
    let wrong = |body: Value| daybook.post(&path, &body).refused(422);
    let order = json!({"derivation": {"function": "dewpoint", "sources": [humidity, temperature]}});
    assert_eq!(wrong(order), "invalid_derivation");
    let few = json!({"derivation": {"function": "dewpoint", "sources": [temperature]}});
    assert_eq!(wrong(few), "invalid_derivation");
    let kind =
        json!({"kind": "power", "derivation": {"function": "dewpoint", "sources": [temperature, humidity]}});
    assert_eq!(wrong(kind), "invalid_derivation");
    assert_eq!(
        daybook.post(&path, &json!({"label": "x"})).refused(400),
        "bad_json"
    );
    // Those of past days are eight a device; one that ends makes room.
    let mean = |n: usize| {
        json!({"derivation": {"function": "mean_kinetic_temperature", "sources": [temperature],
        "trailing_days": 90}, "label": format!("Store {n}")})
    };
    let means: Vec<String> = (0..8)
        .map(|n| text(&daybook.post(&path, &mean(n)).expect(201), "channel_id"))
        .collect();
    assert_eq!(wrong(mean(8)), "too_many_trailing");
    for channel in &means {
        daybook
            .delete(&format!("/v1/channels/{channel}/derivation?reason=gone"))
            .expect(204);
    }
    let body = json!({"derivation": {"function": "dewpoint", "sources": [temperature, humidity]}, "ok_max": 12,
        "reason": "cold wall"});
    let asked = daybook
        .call("POST", &path)
        .token(&daybook.owner_token())
        .header("Idempotency-Key", "one")
        .json(&body);
    let made = asked.clone().send().expect(201);
    assert_eq!(
        text(&asked.again().expect(201), "channel_id"),
        text(&made, "channel_id")
    );
    let dew = text(&made, "channel_id");
    assert_eq!(
        (&made["kind"], &made["unit"], &made["ok_max"]),
        (&json!("temperature"), &json!("Cel"), &json!(12.0))
    );
    site.send(&probe, 8, &air).expect(200);
    daybook.until_projected();
    assert!((site.values(&dew, "")[0] - 9.26).abs() < 0.05);
    let derivation = format!("/v1/channels/{dew}/derivation");
    let shown = daybook.get(&derivation);
    assert_eq!(shown.json()["max_age_s"], json!(900));
    let tag = shown.header("etag").expect("a tag").to_owned();
    assert_eq!(
        daybook
            .get(&format!("/v1/channels/{temperature}/derivation"))
            .refused(404),
        "derivation_not_found"
    );
    // A channel that measures stays one, and one that does not is not calibrated.
    let not = daybook.patch(
        &format!("/v1/channels/{temperature}/derivation"),
        &json!({"function": "mean_kinetic_temperature", "sources": [humidity]}),
    );
    assert_eq!(not.refused(409), "not_derived");
    let calibrated = daybook.post(&format!("/v1/channels/{dew}/calibrations"), &json!({"offset": 1}));
    assert_eq!(calibrated.refused(422), "invalid_calibration");
    let other = daybook.patch(&derivation, &json!({"function": "delta_t"}));
    assert_eq!(other.refused(409), "other_function");
    let changed = daybook
        .patch(&derivation, &json!({"max_age_s": 60, "reason": "it moves fast"}))
        .expect(200);
    assert_eq!(changed["max_age_s"], json!(60));
    let stale = daybook
        .call("DELETE", &derivation)
        .token(&daybook.owner_token())
        .header("If-Match", &tag)
        .send();
    assert_eq!(stale.status, 412);
    daybook.delete(&format!("{derivation}?reason=gone")).expect(204);
    assert_eq!(daybook.get(&derivation).refused(404), "derivation_not_found");
    site.send(&probe, 7, &air).expect(200);
    daybook.until_projected();
    assert_eq!(
        site.values(&dew, "").len(),
        1,
        "no more are made, and what was made stays"
    );
    let again = json!({"function": "dewpoint", "sources": [temperature, humidity]});
    daybook.patch(&derivation, &again).expect(200);
    site.send(&probe, 6, &air).expect(200);
    daybook.until_projected();
    assert_eq!(site.values(&dew, "").len(), 2);
}
