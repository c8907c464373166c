//! `/openapi.json` against the service that gives it: routes, who may use them, which statuses they answer.

use serde_json::Value;
use tests::daybook::Daybook;

#[test]
fn every_route_of_the_document_exists_and_keeps_its_word_about_tokens() {
    let daybook = Daybook::start();
    let document = daybook.call("GET", "/openapi.json").send().expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().expect("paths") {
        let filled: String = path
            .split('/')
            .map(|segment| if segment.starts_with('{') { "x" } else { segment })
            .collect::<Vec<_>>()
            .join("/");
        for (method, operation) in item.as_object().expect("methods") {
            let answer = daybook.call(&method.to_uppercase(), &filled).send();
            let public = operation["security"] == Value::Array(Vec::new());
            let what = format!("{method} {path}: {} {}", answer.status, answer.text());
            assert_ne!(answer.status, 405, "{what}");
            assert!(answer.status < 500 || answer.status == 503, "{what}");
            if public {
                assert_ne!(answer.status, 401, "{what}");
            } else {
                assert_eq!(answer.refused(401), "auth_required", "{what}");
            }
        }
        let other = daybook.call("PUT", &filled).send();
        assert_eq!(other.refused(405), "method_not_allowed");
        assert!(other.header("allow").is_some_and(|allow| !allow.is_empty()));
    }
    assert_eq!(
        daybook.call("GET", "/v1/nothing").send().refused(404),
        "not_found"
    );
}

#[test]
fn every_status_that_is_answered_is_in_the_document() {
    let daybook = Daybook::with()
        .set("user_rate_per_minute", 0)
        .set("peer_failures_per_minute", 0)
        .start();
    let (site, _, device) = daybook.device("hut01");
    let owner = daybook.owner_token();
    let document = daybook.call("GET", "/openapi.json").send().expect(200);
    let mut seen = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        // A stream has no end.
        if path == "/v1/stream" {
            continue;
        }
        let filled = path.replace("{path}", "x").replace(['{', '}'], "");
        for (method, operation) in item.as_object().expect("methods") {
            let method = method.to_uppercase();
            let told = operation["responses"].as_object().expect("responses");
            for query in [
                "",
                "?limit=0&position=x&from=x&to=x",
                "?site_id=x&channel_ids=x&position=99999&to=99999&owner=x&device_id=x",
                "?as_of=99999&cursor=x&format=x",
                &format!("?as_of=x&site_id={site}"),
            ] {
                for token in [None, Some("nonsense"), Some(&*owner), Some(&*device)] {
                    for body in [None, Some("{"), Some("{\"overlap_s\": 99999999}"), Some("{}")] {
                        if method == "GET" && body.is_some() {
                            continue;
                        }
                        let mut call = daybook.call(&method, &format!("{filled}{query}"));
                        if let Some(token) = token {
                            call = call.token(token);
                        }
                        if let Some(body) = body {
                            call = call.bytes(body).header("If-Match", "\"999\"");
                        }
                        let answer = call.send();
                        let status = answer.status.to_string();
                        assert!(
                            told.contains_key(&status),
                            "{method} {filled}{query}: {status} {}",
                            answer.text()
                        );
                        seen.insert(answer.status);
                    }
                }
            }
        }
    }
    for status in [200, 400, 401, 403, 404, 422] {
        assert!(seen.contains(&status), "{seen:?}");
    }
}
