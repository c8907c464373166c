//! `/openapi.json`: the API's document, written from the table that requests are dispatched by.
//!
//! Invariants: a route of the table is in the document and the reverse, because there is no second list; a schema
//! that a route names exists, and one that nobody names does not (tests); every status that a route answers is among
//! its responses.
//! Source: OpenAPI 3.1. Not here: what routes do (`routes`), pages, which refusals a route knows (`refusals`).

mod refusals;
mod schemas;

use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use crate::routes;
use schemas::{Field, SCHEMAS};
use serde_json::{Map, Value, json};

/// The routes of this file.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/openapi.json",
    access: Access::Public,
    handler: |ctx| Box::pin(serve(ctx)),
    doc: Some(Doc {
        summary: "This document.",
        query: &[],
        body: None,
        status: 200,
        answer: "application/json",
    }),
}];

async fn serve(ctx: Ctx) -> Answer {
    Ok(reply::ok(&document(&ctx.app.base_url(&ctx.request))))
}

/// The whole document.
pub fn document(server: &str) -> Value {
    let mut paths = Map::new();
    for route in routes::all() {
        let Some(doc) = &route.doc else { continue };
        let (path, names) = template(route.path);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(route.verb.as_str().to_lowercase(), operation(route, doc, &names));
        }
    }
    let schemas: Map<String, Value> = SCHEMAS
        .iter()
        .map(|(name, fields)| ((*name).to_owned(), schema(fields)))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Daybook",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "An event-sourced, tamper-evident ledger for sensors. Compatible changes stay in /v1. \
                            What was acknowledged is found by the next question.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "responses": refusals::responses(),
            "schemas": schemas,
            "securitySchemes": {
                "user": {"type": "http", "scheme": "bearer", "description": "ua_live_…, a person's API token"},
                "device": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "ds_live_… of a device or whk_… of an integration; also as the password of \
                                    basic auth, or as ?token=",
                },
            },
        },
    })
}

/// `{path...}` is ours; OpenAPI knows `{path}`.
fn template(path: &str) -> (String, Vec<String>) {
    let mut names = Vec::new();
    let segments: Vec<String> = path
        .split('/')
        .map(
            |segment| match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                Some(name) => {
                    let name = name.trim_end_matches('.');
                    names.push(name.to_owned());
                    format!("{{{name}}}")
                }
                None => segment.to_owned(),
            },
        )
        .collect();
    (segments.join("/"), names)
}

fn operation(route: &Route, doc: &Doc, names: &[String]) -> Value {
    let mut parameters: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(doc.query.iter().map(Param::described));
    parameters.extend(headers(route).into_iter().map(|(name, about)| {
        json!({"name": name, "in": "header", "description": about, "schema": {"type": "string"}})
    }));
    if route.verb == Verb::Delete {
        parameters.push(json!({
            "name": "reason", "in": "query", "schema": {"type": "string"},
            "description": "Why, in words; may also stand in a body.",
        }));
    }
    let mut responses = refusals::of(route, doc);
    responses.insert(
        doc.status.to_string(),
        match doc.status {
            204 => json!({"description": "Done."}),
            _ => json!({"description": "Done.", "content": content(doc.answer)}),
        },
    );
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": doc.summary,
        "tags": [tag(route.path)],
        "parameters": parameters,
        "responses": responses,
        "security": security(route.access),
    });
    if let Some(body) = doc.body {
        operation["requestBody"] = json!({"required": body != "Empty", "content": content(body)});
    }
    operation
}

/// The request headers that a route looks at, beside those that carry a token.
fn headers(route: &Route) -> Vec<(&'static str, &'static str)> {
    let mut headers = Vec::new();
    if route.verb == Verb::Post && route.access != Access::Public {
        headers.push((
            "Idempotency-Key",
            "1 to 200 characters. Makes a repetition within 24 hours answer as the first request did.",
        ));
    }
    if route.access == Access::Ingest {
        headers.push(("Prefer", "`return=receipt`: the answer carries a signed receipt."));
    }
    if refusals::is_conditional(route) {
        headers.push((
            "If-Match",
            "The ETag the change is based on; 412 if it was changed since.",
        ));
    }
    headers.extend(match route.path {
        "/v1/ingest" => Some((
            "X-Device-Id",
            "The device's local id; overrides `device` of the body.",
        )),
        "/v1/stream" => Some(("Last-Event-ID", "The position of the last event that was seen.")),
        path if path.ends_with("/measurements") && route.verb == Verb::Get => Some((
            "If-None-Match",
            "An ETag that was answered before; 304 if it still fits.",
        )),
        _ => None,
    });
    headers
}

fn security(access: Access) -> Value {
    match access {
        Access::Public | Access::Optional => json!([]),
        Access::Read | Access::Write | Access::Own => json!([{"user": []}]),
        Access::Ingest => json!([{"device": []}]),
    }
}

/// Such as `get_v1_sites_id`: stable, because it follows from the route alone.
fn operation_id(route: &Route) -> String {
    let mut id = route.verb.as_str().to_lowercase();
    for segment in route
        .path
        .split(['/', '-', '.', '{', '}'])
        .filter(|s| !s.is_empty())
    {
        id.push('_');
        id.push_str(segment);
    }
    id
}

fn tag(path: &str) -> &str {
    let mut segments = path.split('/').filter(|s| !s.is_empty());
    match segments.next() {
        Some("v1") => segments.next().unwrap_or("v1"),
        Some("api") => "ingest",
        Some("log" | "heads") => "ledger",
        _ => "service",
    }
}

fn content(answer: &str) -> Value {
    if answer.contains('/') {
        json!({answer: {}})
    } else {
        json!({"application/json": {"schema": reference(answer)}})
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn schema(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for Field(name, kind, description) in fields {
        let (kind, optional) = match kind.strip_prefix('~') {
            Some(kind) => (kind, true),
            None => (*kind, false),
        };
        let mut property = kind_of(kind);
        if let (false, Some(object)) = (description.is_empty(), property.as_object_mut()) {
            object.insert("description".to_owned(), json!(description));
        }
        properties.insert((*name).to_owned(), property);
        if !optional {
            required.push(*name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// `string`, `string?` (or null), `time`, `[string]`, `#Name`, `[#Name]`, `any`, `map`.
fn kind_of(kind: &str) -> Value {
    if let Some(item) = kind.strip_prefix('[').and_then(|k| k.strip_suffix(']')) {
        return json!({"type": "array", "items": kind_of(item)});
    }
    if let Some(name) = kind.strip_prefix('#') {
        return match name.strip_suffix('?') {
            Some(name) => json!({"oneOf": [reference(name), {"type": "null"}]}),
            None => reference(name),
        };
    }
    match kind.strip_suffix('?') {
        Some("time") => json!({"type": ["string", "null"], "format": "date-time"}),
        Some(kind) => json!({"type": [kind, "null"]}),
        None if kind == "any" => json!({}),
        None if kind == "map" => json!({"type": "object"}),
        None if kind == "time" => json!({"type": "string", "format": "date-time"}),
        None => json!({"type": kind}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Schema names that a kind refers to.
    fn named(kind: &str) -> Option<&str> {
        kind.trim_start_matches(['~', '['])
            .strip_prefix('#')
            .map(|name| name.trim_end_matches([']', '?']))
    }

    #[test]
    fn every_schema_that_is_named_exists_and_no_other() {
        let there: BTreeSet<&str> = SCHEMAS.iter().map(|(name, _)| *name).collect();
        assert_eq!(there.len(), SCHEMAS.len(), "a schema stands twice");
        let mut asked = BTreeSet::from(["Error", "Problem"]);
        for doc in routes::all().filter_map(|route| route.doc) {
            asked.extend(doc.body.filter(|name| !name.contains('/')));
            asked.extend(Some(doc.answer).filter(|name| !name.contains('/')));
        }
        loop {
            let more: BTreeSet<&str> = SCHEMAS
                .iter()
                .filter(|(name, _)| asked.contains(name))
                .flat_map(|(_, fields)| fields.iter().filter_map(|field| named(field.1)))
                .filter(|name| !asked.contains(name))
                .collect();
            if more.is_empty() {
                break;
            }
            asked.extend(more);
        }
        assert_eq!(asked, there);
    }

    #[test]
    fn every_route_of_the_api_is_in_the_document_once() {
        let document = document("http://localhost");
        let paths = document["paths"].as_object().expect("paths");
        let mut ids = BTreeSet::new();
        for route in routes::all().filter(|route| route.doc.is_some()) {
            let (path, _) = template(route.path);
            let operation = &paths[&path][route.verb.as_str().to_lowercase()];
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
        }
        let operations: usize = paths.values().filter_map(Value::as_object).map(Map::len).sum();
        assert_eq!(operations, ids.len());
        for route in routes::all().filter(|route| route.path.starts_with("/v1")) {
            assert!(route.doc.is_some(), "{} is not described", route.path);
        }
    }
}
