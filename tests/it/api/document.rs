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
                let query = &known(operation, query);
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

#[test]
fn a_wrong_word_is_refused_with_the_words_that_there_are() {
    let daybook = Daybook::with()
        .set("user_rate_per_minute", 0)
        .set("peer_failures_per_minute", 0)
        .start();
    let (site, device, token) = daybook.device("hut01");
    daybook.send(&token, "hut01", None, 4.2).expect(200);
    let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
    let channel = sensors["data"][0]["channel_id"].as_str().expect("a channel");
    daybook.until_signed(daybook.size());
    // Everything else of the question is right, so that only the word can be what is refused.
    let needed = |method: &str, path: &str| match path {
        _ if method != "GET" => String::new(),
        "/v1/devices" => format!("site_id={site}&"),
        "/v1/measurements" => format!("channel_ids={channel}&"),
        "/v1/proofs/inclusion" => "position=0&".to_owned(),
        "/v1/proofs/consistency" => "from=1&".to_owned(),
        _ => String::new(),
    };
    let document = daybook.call("GET", "/openapi.json").send().expect(200);
    let (mut words, mut others, mut unknown) = (0, 0, 0);
    for (path, item) in document["paths"].as_object().expect("paths") {
        let public_file = !path.starts_with("/v1/");
        if public_file || path.starts_with("/v1/ingest") || path == "/v1/stream" {
            continue;
        }
        let filled = path
            .replace("/sites/{id}", &format!("/sites/{site}"))
            .replace("/devices/{id}", &format!("/devices/{device}"))
            .replace("/channels/{id}", &format!("/channels/{channel}"))
            .replace(['{', '}'], "");
        for (method, operation) in item.as_object().expect("methods") {
            let method = method.to_uppercase();
            let ask = |query: &str| {
                let path = format!("{filled}?{}{query}", needed(&method, path));
                let call = daybook.call(&method, &path).token(&daybook.owner_token());
                let answer = if method == "GET" {
                    call.send()
                } else {
                    call.bytes("{}").send()
                };
                (path, answer)
            };
            let refused = |query: &str, says: &[&str]| {
                let (path, answer) = ask(query);
                let text = answer.text();
                assert_eq!(answer.status, 400, "{method} {path}: {text}");
                assert_eq!(answer.refused(400), "bad_query", "{method} {path}: {text}");
                for says in says {
                    assert!(text.contains(says), "{method} {path} does not say {says}: {text}");
                }
            };
            refused("colour=red", &["no parameter 'colour'"]);
            unknown += 1;
            for parameter in operation["parameters"].as_array().expect("parameters") {
                let (name, schema) = (parameter["name"].as_str().expect("a name"), &parameter["schema"]);
                if parameter["in"] != "query" || needed(&method, path).starts_with(&format!("{name}=")) {
                    continue;
                }
                let (one, several) = (&schema["enum"], &schema["items"]["enum"]);
                let there: Vec<&str> = [one, several]
                    .into_iter()
                    .filter_map(Value::as_array)
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let lists = if there.len() > 24 {
                    &["/openapi.json"][..]
                } else {
                    &there
                };
                for wrong in ["song", "Open", "%00", "a,b"]
                    .iter()
                    .filter(|_| !there.is_empty())
                {
                    refused(&format!("{name}={wrong}"), lists);
                    words += 1;
                }
                for right in there.iter().take(3) {
                    let (path, answer) = ask(&format!("{name}={right}"));
                    let said = answer.text();
                    assert!(
                        !said.contains("bad_query") || said.contains("csv is for one channel"),
                        "{path}: {said}"
                    );
                }
                let kind = schema["type"].as_str().expect("a type");
                let out_of_range = match kind {
                    "integer" => ["-1", "x", "99999999999999999999", "1.5"].as_slice(),
                    "boolean" => &["yes", "1", "TRUE"],
                    _ if !schema["pattern"].is_null() => &["x", "dev_x"],
                    _ => &[],
                };
                for wrong in out_of_range {
                    refused(&format!("{name}={wrong}"), &[&format!("'{name}'")]);
                    others += 1;
                }
                if kind == "integer" || !there.is_empty() {
                    let first = there.first().copied().unwrap_or("1");
                    refused(&format!("{name}={first}&{name}={first}"), &["twice"]);
                }
            }
        }
    }
    assert!(
        words >= 40 && others >= 40 && unknown >= 60,
        "{words} {others} {unknown}"
    );
}

/// What of a query an operation takes, so that the rest of it does not hide what becomes of that.
fn known(operation: &Value, query: &str) -> String {
    let names = in_query(operation);
    let takes = |pair: &&str| names.iter().any(|name| pair.starts_with(&format!("{name}=")));
    let pairs: Vec<&str> = query.trim_start_matches('?').split('&').filter(takes).collect();
    format!("?{}", pairs.join("&"))
}

/// The names of an operation's query parameters.
fn in_query(operation: &Value) -> Vec<&str> {
    let parameters = operation["parameters"].as_array().expect("parameters");
    let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
    in_query
        .filter_map(|parameter| parameter["name"].as_str())
        .collect()
}
