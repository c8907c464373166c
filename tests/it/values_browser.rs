//! A person calibrates a channel and makes another of it, in a real browser at desktop and at phone width.
//!
//! `DAYBOOK_SCREENSHOTS` names a folder for pictures of each step. Not here: what calibrating changes (`values`).

use crate::browser::browser;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use tests::chromium::Chromium;
use tests::daybook::Daybook;

const WINDOWS: &[(u32, u32, &str)] = &[(1280, 800, "desktop"), (390, 844, "phone")];

fn ago(minutes: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let us = now.as_micros() as i64 - minutes * 60_000_000;
    domain::Timestamp::from_micros(us).expect("now").to_string()
}

fn look(browser: &mut Chromium, page: &str, window: &str) {
    browser.picture(&format!("{page}-{window}"));
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{page} ({window}): {complaints:#?}");
    assert!(!browser.overflows(), "{page} is wider than the {window}");
}

#[test]
fn a_person_calibrates_a_channel_and_makes_another_of_it() {
    let daybook = Daybook::with()
        .set("rate_per_minute", 0)
        .set("log", "warn")
        .start();
    let Some(mut browser) = browser(daybook.url()) else {
        return;
    };
    let (code, out, err) = daybook.cli(&["sign-in", "owner@localhost"]);
    assert_eq!(code, 0, "{err}");
    let link = out
        .split_whitespace()
        .find(|word| word.starts_with("http"))
        .expect("a link");
    browser.open(link);
    browser.follow("button.primary");
    let (site, _, _) = daybook.device("spare");
    for (width, height, window) in WINDOWS {
        browser.resize(*width, *height);
        let (device, token) = daybook.device_on(&site, window);
        for minutes in (1..=90).rev() {
            let swing = f64::from(minutes as i32 % 12) / 6.0;
            let body = json!({"device": window, "ts": ago(minutes), "measurements": [
                {"type": "temperature", "value": 3.0 + swing}, {"type": "humidity", "value": 60.0 + swing}]});
            daybook
                .call("POST", "/v1/ingest")
                .token(&token)
                .json(&body)
                .send()
                .expect(200);
        }
        daybook.until_projected();
        let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
        let all = sensors["data"].as_array().expect("a list");
        let of = |kind: &str| {
            let found = all.iter().find(|it| it["kind"] == json!(kind)).expect("a sensor");
            found["channel_id"].as_str().expect("an id").to_owned()
        };
        let channel = of("temperature");
        browser.open(&format!("{}/app/channels/{channel}", daybook.url()));
        browser.click("#calibrate > summary");
        browser.fill("#calibration-offset", "-0,75");
        browser.fill("#f-calibration-certificate", "K-2026-17");
        browser.fill("#f-calibration-reason", "Ice bath");
        look(&mut browser, "calibration-form", window);
        browser.evaluate("document.querySelector('#f-calibration-valid_from').value = ''");
        browser.follow("#calibrate button.primary");
        let said = browser.text("main");
        assert!(said.contains("−0.75") || said.contains("-0.75"), "{said}");
        assert!(said.contains("Ice bath") && said.contains("in force"), "{said}");
        // From now on only: the probe is read again, and what was recorded stands beside.
        let body =
            json!({"device": window, "ts": ago(-1), "measurements": [{"type": "temperature", "value": 4.0}]});
        daybook
            .call("POST", "/v1/ingest")
            .token(&token)
            .json(&body)
            .send()
            .expect(200);
        // Two points, from two hours ago, so that the chart shows both lines.
        let path = format!("/v1/channels/{channel}/calibrations");
        let line = json!({"two_point": [[0, 0.8], [10, 11.2]], "valid_from": ago(60), "due": "2020-01-01",
            "reason": "two baths"});
        daybook.post(&path, &line).expect(201);
        daybook.until_projected();
        browser.open(&format!("{}/app/channels/{channel}", daybook.url()));
        assert_eq!(
            browser.evaluate("document.querySelectorAll('svg.chart .c-raw').length"),
            json!(2)
        );
        let said = browser.text("main");
        assert!(said.contains("as recorded") && said.contains("overdue"), "{said}");
        look(&mut browser, "calibrated", window);
        browser.evaluate("document.querySelector('#calibration-h').scrollIntoView()");
        look(&mut browser, "calibrations", window);
        browser.evaluate("document.querySelector('#readings-h').scrollIntoView()");
        look(&mut browser, "calibrated-readings", window);
        // A dew point of it and of the humidity beside it.
        browser.evaluate("[...document.querySelectorAll('#feeds-h ~ details')].find(d => d.textContent.includes('Dew point')).open = true");
        browser.evaluate("document.querySelector('#new-dewpoint-0').scrollIntoView()");
        browser.evaluate(&format!(
            "document.querySelector('#new-dewpoint-0').value = '{channel}'"
        ));
        browser.evaluate(&format!(
            "document.querySelector('#new-dewpoint-1').value = '{}'",
            of("humidity")
        ));
        browser.fill("#new-dewpoint-reason", "Cold wall");
        look(&mut browser, "derive-form", window);
        browser.follow("form:has(#new-dewpoint-reason) button.primary");
        assert!(
            browser.text("main").contains("Dew point"),
            "{}",
            browser.text("main")
        );
        let body = json!({"device": window, "ts": ago(-2), "measurements": [
            {"type": "temperature", "value": 4.0}, {"type": "humidity", "value": 61.0}]});
        daybook
            .call("POST", "/v1/ingest")
            .token(&token)
            .json(&body)
            .send()
            .expect(200);
        daybook.until_projected();
        let derived = browser.url();
        browser.open(derived.split('?').next().unwrap_or(&derived));
        browser.evaluate("document.querySelector('#made-h').scrollIntoView()");
        look(&mut browser, "derived", window);
    }
}
