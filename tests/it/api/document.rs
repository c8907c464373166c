//! `/openapi.json` against the service that gives it.

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
