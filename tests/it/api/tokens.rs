//! Tokens: issued, rotated, revoked, by whom and of whom; and never shown where they should not be.
//!
//! Not here: how a token is carried (`ingest`), who is let in (`access`).

use serde_json::{Value, json};
use tests::daybook::Daybook;

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn a_repeated_issue_answers_the_same_id_and_no_token() {
    let daybook = Daybook::start();
    let owner = daybook.owner_token();
    let ask = |path: &str, status: u16| {
        let call = daybook
            .call("POST", path)
            .token(&owner)
            .header("Idempotency-Key", path)
            .json(&json!({}));
        let (first, again) = (call.again(), call.again());
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        let (first, again) = (first.expect(status), again.expect(status));
        assert!(first["token"].is_string() && again["token"].is_null());
        assert_eq!(again["id"], first["id"], "{again}");
        assert!(again["hint"].as_str().expect("a hint").contains("rotate"));
        text(&first["id"])
    };
    let issued = ask("/v1/tokens", 201);
    let rotated = ask(&format!("/v1/tokens/{issued}/rotate"), 200);
    assert_ne!(issued, rotated);
    let listed = daybook.get("/v1/tokens").expect(200);
    let ids: Vec<&str> = listed["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|token| token["id"].as_str())
        .collect();
    assert!(ids.contains(&rotated.as_str()) && !ids.contains(&issued.as_str()));
}

#[test]
fn a_persons_token_is_rotated_and_the_old_one_ends_at_once_or_after_the_overlap() {
    let daybook = Daybook::start();
    let works = |token: &str| daybook.call("GET", "/v1/account").token(token).send().status == 200;
    let first = daybook.post("/v1/tokens", &json!({})).expect(201);
    let path = format!("/v1/tokens/{}/rotate", text(&first["id"]));
    let second = daybook.post(&path, &json!({"overlap_s": 3600})).expect(200);
    assert!(works(&text(&first["token"])) && works(&text(&second["token"])));
    let third = daybook.post(&path, &json!({})).expect(200);
    assert!(!works(&text(&first["token"])) && works(&text(&third["token"])));
    assert_eq!(daybook.post(&path, &json!({})).refused(404), "token_not_found");
}

#[test]
fn an_owner_sees_and_ends_the_tokens_of_a_device_and_an_auditor_does_not() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let user = daybook
        .post("/v1/users", &json!({"email": "a@example.eu", "role": "auditor"}))
        .expect(201);
    let listed = daybook.get(&format!("/v1/tokens?owner={device}")).expect(200);
    let id = text(&listed["data"][0]["id"]);
    assert_eq!(listed["data"][0]["owner"], json!(device));
    assert!(token.contains(&id));
    assert_eq!(
        daybook.get("/v1/tokens?owner=dev_nobody").refused(404),
        "owner_not_found"
    );
    let other = format!("/v1/tokens?owner={}", text(&user["id"]));
    assert_eq!(daybook.get(&other).expect(200)["data"], json!([]));
    let path = format!("/v1/tokens/{id}");
    assert_eq!(daybook.delete(&path).status, 204);
    assert_eq!(
        daybook.send(&token, "hut01", None, 4.3).refused(401),
        "token_invalid",
        "the next request fails"
    );
    assert_eq!(
        daybook.get(&format!("/v1/devices/{device}")).status,
        200,
        "the device stays"
    );
}

#[test]
fn a_list_of_tokens_goes_on_where_its_cursor_says() {
    let daybook = Daybook::start();
    for _ in 0..2 {
        daybook.post("/v1/tokens", &json!({})).expect(201);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/tokens?limit=2".to_owned();
    loop {
        let page = daybook.get(&path).expect(200);
        seen.extend(
            page["data"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|t| text(&t["id"])),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/tokens?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 3);
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_token_that_a_request_quotes_is_in_no_error_and_no_refusal() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    let secret = &token[token.len() - 43..];
    let entry = |value: Value| json!({"device": "hut01", "measurements": [value]});
    let bodies = [
        json!({"device": token, "measurements": [{"type": "temperature", "value": 1}]}),
        entry(json!({"type": token, "value": 1})),
        entry(json!({"type": "temperature", "value": token})),
        entry(json!({"type": "temperature", "value": 1, "label": token})),
        json!([{"device": &token[..60], "measurements": [{"type": "temperature", "value": 1}]},
               {"device": "hut01", "measurements": [{"type": "temperature", "value": 2}]}]),
    ];
    let mut answers = Vec::new();
    for body in &bodies {
        let call = daybook.call("POST", "/v1/ingest").token(&token).json(body);
        answers.push(call.send().text());
    }
    for path in ["/v1/sites", "/v1/devices", "/v1/users"] {
        answers.push(daybook.post(path, &json!({token.clone(): 1})).text());
    }
    answers.push(
        daybook
            .get(&format!("/v1/measurements?channel_ids={token}"))
            .text(),
    );
    answers.push(daybook.get(&format!("/v1/refusals?device_id={device}")).text());
    for answer in answers {
        // Part of a secret is too much, too.
        assert!(!answer.contains(&secret[..16]), "{answer}");
    }
    let too_long = daybook
        .call("POST", &format!("/v1/ingest?token={}", "x".repeat(200)))
        .json(&bodies[0])
        .send();
    assert_eq!(too_long.refused(401), "token_invalid");
}

#[test]
fn what_names_nothing_is_refused_in_words() {
    let daybook = Daybook::start();
    let nobody = "/v1/tokens/tok_aaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_eq!(
        daybook.post(&format!("{nobody}/rotate"), &json!({})).refused(404),
        "token_not_found"
    );
    let issued = daybook.post("/v1/tokens", &json!({})).expect(201);
    let rotate = format!("/v1/tokens/{}/rotate", text(&issued["id"]));
    for body in [json!({"overlap_s": -1}), json!({"overlap_s": "soon"}), json!([])] {
        let answer = daybook.post(&rotate, &body);
        assert!(matches!(answer.status, 400 | 422), "{body}: {}", answer.status);
    }
    let of_nobody = daybook.get("/v1/tokens?owner=dev_aaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(of_nobody.status, 404, "{}", of_nobody.text());
    let cursor = daybook.get("/v1/refusals?cursor=%00nonsense");
    assert_eq!(cursor.status, 400, "{}", cursor.text());
}
