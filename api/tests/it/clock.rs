//! A whole service under a clock of the test's: days are closed, their heads served, wrong clocks not believed.
//!
//! Not here: what else the API does (the workspace's end-to-end tests).

use crate::service::Service;
use api::app::{App, Outside};
use api::config::Settings;
use api::control::{self, Ask, Control};
use api::entropy::SeededEntropy;
use domain::TreeSize;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::tlog_proof::TlogProof;
use serde_json::{Value, json};
use std::sync::Arc;

#[test]
fn midnight_closes_the_day_and_its_head_is_there_to_be_kept() {
    let service = Service::start("2026-05-17T23:59:50Z");
    assert_eq!(service.site("Before midnight").0, 201);
    for _ in 0..2 {
        let refused = service
            .agent
            .post(format!("{}/v1/ingest", service.url))
            .send("{}")
            .expect("an answer");
        assert_eq!(refused.status(), 401);
    }
    let app = service.app.as_ref().expect("it runs");
    service
        .runtime
        .block_on(app.refusals().flush(app.sequencer(), true));
    let before = service.json("/readyz")["size"].as_u64().expect("a size");
    service.clock.pass(20);
    let heads = service.until("/v1/heads", |heads| heads["data"][0].is_object());
    let head = &heads["data"][0];
    assert_eq!(head["date"], "2026-05-17");
    assert_eq!(head["refused"], json!({"auth_required": 2}));
    assert_eq!(
        (&head["first_position"], &head["previous"]),
        (&json!(0), &Value::Null)
    );
    assert!(head["size"].as_u64().is_some_and(|size| size >= before));
    assert_eq!(service.json("/v1/heads/2026-05-17"), *head);

    let (status, file) = service.get("/heads/2026/2026-05-17.tlog-proof");
    assert_eq!(status, 200);
    let proof = TlogProof::parse(&file).expect("a tlog-proof");
    let bytes = proof.extra.clone().expect("the entry");
    let entry = Entry::decode(&bytes).expect("an entry");
    assert_eq!(entry.event_type, "DayClosed");
    assert_eq!(proof.size(), TreeSize(entry.position.get() + 1));
    assert_eq!(head["size"], entry.position.get());
    proof
        .verify_inclusion(&leaf_hash(&bytes))
        .expect("it is in the tree");

    service.clock.pass(10 * 86_400);
    let heads = service.until("/v1/heads", |heads| {
        heads["data"].as_array().map(Vec::len) > Some(1)
    });
    let newest = &heads["data"][0];
    assert_eq!(newest["date"], "2026-05-27");
    assert_eq!(newest["idle_since"], "2026-05-18", "ten idle days are one entry");
    let one = service.json("/v1/heads?limit=1");
    assert_eq!(one["has_more"], true);
    let next = one["next_cursor"].as_str().expect("a cursor");
    assert_eq!(
        service.json(&format!("/v1/heads?cursor={next}"))["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_clock_ten_years_ahead_writes_nothing_until_it_agrees() {
    let service = Service::start("2026-05-17T12:00:00Z");
    assert_eq!(service.site("A").0, 201);
    let size = service.json("/readyz")["size"].clone();
    service.clock.step(10 * 366 * 86_400);
    let (status, answer) = service.site("B");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (503, &json!("clock_implausible"))
    );
    let ready = service.json("/readyz");
    assert_eq!((&ready["ready"], &ready["size"]), (&json!(false), &size));
    assert_eq!(service.json("/v1/heads")["data"], json!([]), "no day was closed");
    assert_eq!(
        service.json("/v1/sites")["data"].as_array().map(Vec::len),
        Some(1),
        "reading goes on"
    );
    service.clock.step(-10 * 366 * 86_400);
    service.until("/readyz", |ready| ready["ready"] == true);
    assert_eq!(service.site("B").0, 201);
}

/// What the command line asks, over the service's own socket.
fn ask(service: &Service, question: &Ask) -> Result<Value, String> {
    control::ask(&service.scratch().join("data"), question, |_, _| {}).expect("the socket answers")
}

#[test]
fn a_clock_that_jumped_is_believed_once_an_operator_vouches_for_it() {
    let service = Service::start("2026-05-17T12:00:00Z");
    let app = Arc::clone(service.app.as_ref().expect("it runs"));
    let data = service.scratch().join("data");
    let entered = service.runtime.enter();
    let serving = tokio::spawn(Control::open(&data).expect("a socket").serve(app));
    drop(entered);
    assert!(ask(&service, &Ask::AcceptClock).is_err_and(|why| why.contains("nothing to accept")));
    service.clock.step(3_600);
    assert_eq!(service.site("A").0, 503);
    let answer = ask(&service, &Ask::AcceptClock).expect("accepted");
    assert_eq!(answer["wall"], "2026-05-17T13:00:00.000000Z");
    assert_eq!(service.site("A").0, 201);
    service.clock.step(3_600);
    assert_eq!(service.site("B").0, 503, "a word counts once");
    serving.abort();
}

#[test]
fn a_start_more_than_a_year_after_the_last_entry_needs_a_word() {
    let service = Service::start("2026-05-17T12:00:00Z");
    let (dir, clock) = service.ends();
    clock.pass(400 * 86_400);
    let open = |clock_accepted| {
        let settings = Settings {
            data: dir.path().join("data"),
            anchor: Some(dir.path().join("anchor")),
            ..Settings::default()
        };
        let outside = Outside {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::from_os().expect("randomness")),
            clock_accepted,
        };
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(async {
                let app = App::open(settings, outside)
                    .await
                    .map_err(|error| error.to_string())?;
                let size = app.sequencer().status().size;
                app.stop().await;
                Ok::<_, String>(size)
            })
    };
    let refused = open(false).expect_err("it is not believed");
    assert!(refused.contains("--accept-clock"), "{refused}");
    open(true).expect("it is believed");
    open(false).expect("the last entry is of today");
}

#[test]
fn a_clock_set_back_a_day_holds_the_time_and_the_order() {
    let service = Service::start("2026-05-17T12:00:00Z");
    let first = service.site("A").1;
    service.clock.step(-86_400);
    let (status, second) = service.site("B");
    assert_eq!(status, 201);
    assert!(
        second["created_at"].as_str() >= first["created_at"].as_str(),
        "{first} {second}"
    );
    assert!(second["position"].as_u64() > first["position"].as_u64());
}
