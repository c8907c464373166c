//! Who is let in: tokens, roles, sessions, and those who are not.
//!
//! Not here: whose things (`walls`).

use serde_json::json;
use tests::daybook::Daybook;

#[test]
fn nobody_gets_in_without_a_good_token() {
    let daybook = Daybook::start();
    let bare = daybook.call("GET", "/v1/sites").send();
    assert_eq!(bare.refused(401), "auth_required");
    assert!(bare.header("www-authenticate").is_some());
    let owner = daybook.owner_token();
    let (head, last) = owner.split_at(owner.len() - 1);
    let forged = format!("{head}{}", if last == "A" { "B" } else { "A" });
    for token in [
        "",
        "x",
        "ua_live_",
        &forged,
        &owner.replace("ua_live_", "ds_live_"),
    ] {
        let refused = daybook.call("GET", "/v1/sites").token(token).send();
        assert_eq!(refused.refused(401), "token_invalid", "{token}");
    }
    let (_, _, device) = daybook.device("hut01");
    assert_eq!(
        daybook
            .call("GET", "/v1/sites")
            .token(&device)
            .send()
            .refused(403),
        "forbidden"
    );
    assert_eq!(daybook.send(&owner, "hut01", None, 1.0).refused(403), "forbidden");
}

#[test]
fn a_peer_that_fails_too_often_is_shut_out_while_verified_tokens_stay_welcome() {
    let daybook = Daybook::with().set("peer_failures_per_minute", 3).start();
    let (_, _, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 1.0).expect(200);
    daybook.get("/v1/account").expect(200);
    let mut last = 0;
    for _ in 0..6 {
        last = daybook
            .call("GET", "/v1/sites")
            .token("ua_live_guess")
            .send()
            .status;
    }
    assert_eq!(last, 429);
    daybook.send(&token, "hut01", None, 1.1).expect(200);
    daybook.get("/v1/account").expect(200);
}

#[test]
fn an_auditor_reads_everything_and_changes_nothing_but_their_own_tokens() {
    let daybook = Daybook::start();
    let (site, device, _) = daybook.device("hut01");
    daybook
        .post(
            "/v1/users",
            &json!({"email": "aud@example.eu", "role": "auditor"}),
        )
        .expect(201);
    let cookie = sign_in(&daybook, "aud@example.eu");
    let csrf = csrf_of(&daybook, &cookie);
    let own = daybook
        .call("POST", "/v1/tokens")
        .header("Cookie", &cookie)
        .header("X-CSRF-Token", &csrf)
        .json(&json!({}))
        .send()
        .expect(201);
    let token = own["token"].as_str().expect("shown once").to_owned();
    for path in [
        "/v1/sites",
        &format!("/v1/devices/{device}"),
        "/v1/entries",
        "/v1/timeline",
        "/v1/users",
        "/v1/account",
    ] {
        assert_eq!(
            daybook.call("GET", path).token(&token).send().status,
            200,
            "{path}"
        );
    }
    // A pack holds nothing that they could not read.
    let pack = json!({"device_id": device, "from": "2026-01-01", "to": "2999-01-01"});
    let asked = daybook
        .call("POST", "/v1/evidence")
        .token(&token)
        .json(&pack)
        .send();
    assert_eq!(asked.expect(202)["state"], "queued");
    let artefact = json!({"sha256": "ab".repeat(32), "size": 1, "media_type": "text/plain", "name": "x"});
    let changes = [
        ("POST", "/v1/artifacts".to_owned(), artefact),
        (
            "POST",
            "/v1/sites".to_owned(),
            json!({"name": "x", "vertical": "haccp"}),
        ),
        ("PATCH", format!("/v1/sites/{site}"), json!({"name": "x"})),
        ("DELETE", format!("/v1/devices/{device}"), json!({})),
        ("POST", format!("/v1/devices/{device}/rotate-token"), json!({})),
        (
            "POST",
            "/v1/users".to_owned(),
            json!({"email": "b@example.eu", "role": "owner"}),
        ),
        (
            "POST",
            "/v1/integrations".to_owned(),
            json!({"kind": "lorawan", "name": "x"}),
        ),
        ("PATCH", "/v1/account".to_owned(), json!({"name": "x"})),
    ];
    for (method, path, body) in changes {
        let refused = daybook.call(method, &path).token(&token).json(&body).send();
        assert_eq!(refused.refused(403), "forbidden", "{method} {path}");
    }
}

/// Uses a printed link, and gives the cookie; used again, it does nothing.
pub fn sign_in(daybook: &Daybook, email: &str) -> String {
    let (cookie, token) = use_link(daybook, email);
    let again = daybook
        .call("POST", "/sign-in/confirm")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .bytes(format!("token={token}"))
        .send();
    assert_eq!(again.status, 401, "a link works once");
    cookie
}

/// Uses a printed link: the cookie, and what the link holds.
pub fn use_link(daybook: &Daybook, email: &str) -> (String, String) {
    let (code, link, _) = daybook.cli(&["sign-in", email]);
    assert_eq!(code, 0);
    let token = link.trim().split_once("token=").expect("a link").1.to_owned();
    let used = daybook
        .call("POST", "/sign-in/confirm")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .bytes(format!("token={token}"))
        .send();
    assert_eq!(used.status, 303, "{}", used.text());
    let cookie = used.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    (cookie.split(';').next().expect("a pair").to_owned(), token)
}

pub fn csrf_of(daybook: &Daybook, cookie: &str) -> String {
    let account = daybook
        .call("GET", "/v1/account")
        .header("Cookie", cookie)
        .send()
        .expect(200);
    account["you"]["csrf"].as_str().expect("a token").to_owned()
}

#[test]
fn a_session_reads_and_changes_only_with_its_csrf_token() {
    let daybook = Daybook::start();
    let (site, _, _) = daybook.device("hut01");
    let cookie = sign_in(&daybook, "owner@localhost");
    let csrf = csrf_of(&daybook, &cookie);
    let patch = |csrf: Option<&str>| {
        let call = daybook
            .call("PATCH", &format!("/v1/sites/{site}"))
            .header("Cookie", &cookie)
            .json(&json!({"name": "Renamed"}));
        match csrf {
            Some(csrf) => call.header("X-CSRF-Token", csrf).send(),
            None => call.send(),
        }
    };
    assert_eq!(patch(None).refused(403), "forbidden");
    assert_eq!(patch(Some("x")).refused(403), "forbidden");
    assert_eq!(patch(Some(&csrf)).expect(200)["name"], "Renamed");
    let guessed = daybook
        .call("GET", "/v1/sites")
        .header("Cookie", "daybook_session=guess")
        .send();
    assert_eq!(guessed.refused(401), "auth_required");
}

#[test]
fn a_removed_user_is_out_at_once_with_token_and_session() {
    let daybook = Daybook::start();
    let user = daybook
        .post("/v1/users", &json!({"email": "jana@example.eu", "role": "owner"}))
        .expect(201);
    let cookie = sign_in(&daybook, "jana@example.eu");
    let read = || daybook.call("GET", "/v1/sites").header("Cookie", &cookie).send();
    assert_eq!(read().status, 200);
    let path = format!("/v1/users/{}", user["id"].as_str().expect("an id"));
    assert_eq!(daybook.delete(&path).status, 204);
    assert_eq!(read().refused(401), "auth_required");
    let (code, _, said) = daybook.cli(&["sign-in", "jana@example.eu"]);
    assert_eq!(code, 1, "{said}");
}

#[test]
fn whether_an_address_is_known_is_not_told() {
    let daybook = Daybook::start();
    let ask = |email: &str| {
        daybook
            .call("POST", "/v1/sign-in")
            .json(&json!({"email": email}))
            .send()
    };
    let known = ask("owner@localhost");
    let unknown = ask("nobody@example.eu");
    assert_eq!((known.status, known.body), (202, unknown.body));
    assert_eq!(unknown.status, 202);
    assert_eq!(ask("no address").refused(422), "invalid_email");
    let limited = (0..10)
        .map(|_| ask("owner@localhost").status)
        .find(|status| *status == 429);
    assert_eq!(limited, Some(429));
}

#[test]
fn metrics_are_for_loopback_or_a_token() {
    let daybook = Daybook::start();
    let plain = daybook.call("GET", "/metrics").send();
    assert_eq!(plain.status, 200);
    assert!(plain.text().contains("daybook_entries"), "{}", plain.text());
    let forwarded = daybook
        .call("GET", "/metrics")
        .header("X-Forwarded-For", "192.0.2.1")
        .send();
    assert_eq!(forwarded.refused(401), "auth_required");
}

#[test]
fn a_suspended_account_is_refused_and_let_in_again_with_all_it_has() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    let body = json!({"measurements": [{"type": "temperature", "value": 4}]});
    let send = || {
        let call = daybook.call("POST", "/v1/ingest").token(&token);
        call.json(&body).send()
    };
    send().expect(200);
    let account = daybook.get("/v1/account").expect(200)["id"].clone();
    let account = account.as_str().expect("an id");
    let cookie = sign_in(&daybook, "owner@localhost");
    let (code, _, said) = daybook.cli(&["account", "suspend", account, "--reason", "contract ended"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(send().refused(403), "account_suspended");
    assert_eq!(daybook.get("/v1/sites").refused(403), "account_suspended");
    let session = daybook.call("GET", "/v1/sites").header("Cookie", &cookie).send();
    assert_eq!(session.refused(403), "account_suspended");
    let (code, _, _) = daybook.cli(&["account", "suspend", "acc_nobody"]);
    assert_eq!(code, 1);
    let (code, _, said) = daybook.cli(&["account", "resume", account]);
    assert_eq!(code, 0, "{said}");
    send().expect(200);
    let shown = daybook
        .get(&format!("/v1/refusals?device_id={device}"))
        .expect(200);
    assert_eq!(shown["recent"][0]["code"], "account_suspended");
    let changes = daybook
        .get(&format!("/v1/timeline?subject={account}"))
        .expect(200);
    let types: Vec<&str> = changes["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|change| change["event_type"].as_str())
        .collect();
    assert!(types.contains(&"AccountSuspended") && types.contains(&"AccountResumed"));
}
