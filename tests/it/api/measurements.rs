//! Measurements as they are read: pages, formats, entity tags, several channels.
//!
//! Not here: the numbers (`projections`), how readings get there (`ingest`).

use serde_json::{Value, json};
use tests::daybook::Daybook;

/// A device with a reading a minute from 08:00 on: the path of its channel's measurements, and the channel.
fn measured(daybook: &Daybook, count: usize) -> (String, String, String) {
    let (_, device, token) = daybook.device("hut01");
    let reports: Vec<Value> = (0..count)
        .map(|i| {
            json!({"device": "hut01", "ts": format!("2026-05-17T08:{i:02}:00Z"),
                   "measurements": [{"type": "temperature", "value": i}]})
        })
        .collect();
    daybook
        .call("POST", "/v1/ingest")
        .token(&token)
        .json(&Value::Array(reports))
        .send()
        .expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let channel = sensors["data"][0]["channel_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    (format!("/v1/channels/{channel}/measurements"), channel, token)
}

const RANGE: &str = "from=2026-05-17T08:00:00Z&to=2026-05-17T09:00:00Z";

/// Asks again with the tag of the first answer.
fn again(daybook: &Daybook, path: &str) -> (u16, u16) {
    let first = daybook.get(path);
    let tag = first.header("etag").expect("a tag").to_owned();
    let second = daybook
        .call("GET", path)
        .token(&daybook.owner_token())
        .header("If-None-Match", &tag)
        .send();
    assert_eq!(second.header("etag"), Some(tag.as_str()));
    (first.status, second.status)
}

#[test]
fn a_tag_holds_until_something_is_measured_even_where_the_range_moves_with_the_clock() {
    let daybook = Daybook::start();
    let (path, channel, token) = measured(&daybook, 3);
    let many = format!("/v1/measurements?channel_ids={channel}");
    let first = daybook.get(&format!("{path}?{RANGE}&limit=2")).expect(200);
    let cursor = first["next_cursor"].as_str().expect("there is more").to_owned();
    for question in [
        path.clone(),
        format!("{path}?from=2026-05-17T08:00:00Z"),
        format!("{path}?{RANGE}"),
        format!("{path}?cursor={cursor}"),
        format!("{path}?{RANGE}&format=csv&limit=2"),
        many.clone(),
        format!("{many}&{RANGE}&agg=1h"),
    ] {
        assert_eq!(again(&daybook, &question), (200, 304), "{question}");
    }
    let question = format!("{path}?from=2026-05-17T08:00:00Z");
    let before = daybook.get(&question);
    let tag = before.header("etag").expect("a tag");
    daybook
        .send(&token, "hut01", Some("2026-05-17T08:30:00Z"), 9.0)
        .expect(200);
    let after = daybook
        .call("GET", &question)
        .token(&daybook.owner_token())
        .header("If-None-Match", tag)
        .send();
    assert_eq!(after.expect(200)["data"].as_array().map(Vec::len), Some(4));
}

#[test]
fn what_was_acknowledged_is_found_by_the_next_question() {
    let daybook = Daybook::start();
    let (path, _, token) = measured(&daybook, 1);
    let question = format!("{path}?{RANGE}");
    for n in 1..=40_usize {
        let at = format!("2026-05-17T08:{n:02}:30Z");
        daybook.send(&token, "hut01", Some(&at), 1.0).expect(200);
        let found = daybook.get(&question).expect(200);
        assert_eq!(found["data"].as_array().map(Vec::len), Some(n + 1), "after {at}");
    }
}

#[test]
fn csv_is_whole_or_in_pages_and_never_something_else_than_was_asked_for() {
    let daybook = Daybook::start();
    let (path, ..) = measured(&daybook, 5);
    let whole = daybook.get(&format!("{path}?{RANGE}&format=csv")).text();
    assert_eq!(whole.lines().count(), 6);
    for format in ["csv", "ndjson"] {
        let mut lines = Vec::new();
        let mut next = Some(format!("{path}?{RANGE}&format={format}&limit=2"));
        while let Some(question) = next.take() {
            let page = daybook.get(&question);
            assert_eq!(page.status, 200, "{question}");
            let text = page.text();
            let header = usize::from(format == "csv");
            assert!(text.lines().count() <= 2 + header, "{text}");
            lines.extend(text.lines().skip(header).map(str::to_owned));
            next = page.header("link").map(|link| {
                let (to, rel) = link.split_once(">; ").expect("a link");
                assert_eq!(rel, "rel=\"next\"");
                to.trim_start_matches('<').to_owned()
            });
        }
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines[4].contains("2026-05-17T08:04:00Z"), "{lines:?}");
    }
    let json = daybook.get(&format!("{path}?{RANGE}&limit=2")).expect(200);
    let cursor = json["next_cursor"].as_str().expect("there is more");
    let rest = daybook.get(&format!("{path}?format=csv&cursor={cursor}")).text();
    assert_eq!(
        rest,
        "ts,value\n2026-05-17T08:02:00Z,2\n2026-05-17T08:03:00Z,3\n2026-05-17T08:04:00Z,4\n"
    );
}

#[test]
fn several_channels_are_each_answered_once_with_what_their_points_stand_for() {
    let daybook = Daybook::start();
    let (_, channel, _) = measured(&daybook, 3);
    let answer = daybook.get(&format!(
        "/v1/measurements?channel_ids={channel},{channel}&{RANGE}&agg=auto"
    ));
    assert_eq!(answer.text().matches(&channel).count(), 4, "{}", answer.text());
    let answer = answer.expect(200);
    assert_eq!(answer["aggs"][&channel], "raw");
    assert_eq!(answer["data"][&channel].as_array().map(Vec::len), Some(3));
    for bad in ["format=csv", "format=ndjson&limit=2", "cursor=x"] {
        let refused = daybook.get(&format!("/v1/measurements?channel_ids={channel}&{bad}"));
        refused.refused(400);
    }
}

#[test]
fn several_channels_at_once_cost_as_much_as_each_of_them() {
    let daybook = Daybook::with().set("user_rate_per_minute", 60).start();
    let (_, device, token) = daybook.device("hut01");
    let measurements: Vec<Value> = ["temperature", "humidity", "battery", "power"]
        .iter()
        .map(|kind| json!({"type": kind, "value": 4}))
        .collect();
    daybook
        .call("POST", "/v1/ingest")
        .token(&token)
        .json(&json!({"device": "hut01", "measurements": measurements}))
        .send()
        .expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let ids: Vec<&str> = sensors["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|sensor| sensor["channel_id"].as_str())
        .collect();
    assert_eq!(ids.len(), 4);
    let path = format!("/v1/measurements?channel_ids={}", ids.join(","));
    let owner = daybook.owner_token();
    let call = daybook.call("GET", &path).token(&owner);
    let mut answered = 0;
    let refused = loop {
        let answer = call.again();
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(
            answered <= 20,
            "60 requests were enough for more than 15 times four channels"
        );
    };
    assert_eq!(refused.refused(429), "rate_limited");
    assert!(refused.header("retry-after").is_some());
}
