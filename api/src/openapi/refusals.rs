//! Which refusals a route may answer, as the document tells them.
//!
//! They follow from what a route is: who may use it, its method, whether its path or query names a thing. A status
//! that a route answers and that is not told here fails a test (`tests`).
//! Source: REFERENCE §1.1. Not here: what refuses (`errors`).

use crate::router::{Access, Doc, Route, Verb};
use serde_json::{Map, Value, json};

/// (status, name, what it means).
const ALL: &[(u16, &str, &str)] = &[
    (304, "NotModified", "What the client has still fits."),
    (
        400,
        "Malformed",
        "Not what belongs here: bad_json, bad_query, bad_cursor, invalid_measurement, …",
    ),
    (
        401,
        "Unauthorized",
        "auth_required without a token, token_invalid with one that is not good.",
    ),
    (
        403,
        "Forbidden",
        "forbidden, device_not_in_token or account_suspended.",
    ),
    (
        404,
        "NotFound",
        "Not there, or in another account; the code says what.",
    ),
    (408, "BodyTimeout", "The body took too long to arrive."),
    (
        409,
        "Conflict",
        "idempotency_conflict, or it contradicts what is there.",
    ),
    (410, "Gone", "It was there and was deleted, as had been said."),
    (412, "Stale", "It was changed since the ETag in If-Match."),
    (413, "TooLarge", "The body is larger than this route takes."),
    (
        422,
        "Rejected",
        "Understood and not acceptable: out_of_range, unknown_kind, invalid_range, too_many_calibrations, \
         too_many_trailing, too_many_shared_values, …",
    ),
    (
        429,
        "RateLimited",
        "Too many requests; Retry-After says when to come back.",
    ),
    (
        500,
        "Internal",
        "Something failed here; the log has the reason under the request id.",
    ),
    (
        503,
        "Unavailable",
        "Not now; Retry-After says when to come back, the message what was recorded.",
    ),
];

/// Query parameters that name a thing, which may not be there.
const NAMING: &[&str] = &[
    "as_of",
    "site_id",
    "device_id",
    "contact",
    "alarm",
    "channel_ids",
    "position",
    "owner",
    "channel_id",
    "to",
];

/// Every refusal, for the document's components.
pub fn responses() -> Value {
    let all = ALL.iter().map(|(status, name, about)| {
        let mut response = json!({"description": about});
        if *status != 304 {
            response["content"] = json!({
                "application/json": {"schema": {"$ref": "#/components/schemas/Error"}},
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
            });
        }
        if matches!(status, 429 | 503) {
            response["headers"] = json!({
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
            });
        }
        ((*name).to_owned(), response)
    });
    Value::Object(all.collect())
}

/// Whether a route holds `If-Match` against what it changes.
pub fn is_conditional(route: &Route) -> bool {
    match route.verb {
        Verb::Patch => true,
        Verb::Delete => !route.path.starts_with("/v1/tokens"),
        Verb::Post => matches!(
            route.path,
            "/v1/devices/{id}/move"
                | "/v1/devices/{id}/rotate-token"
                | "/v1/devices/{id}/sensors"
                | "/v1/integrations/{id}/rotate-token"
                | "/v1/events/{id}/ack"
                | "/v1/events/{id}/close"
                | "/v1/channels/{id}/calibrations"
        ),
        Verb::Get => false,
    }
}

/// The refusals of a route, by status, as references.
pub fn of(route: &Route, doc: &Doc) -> Map<String, Value> {
    let told = ALL.iter().filter(|(status, ..)| knows(route, doc, *status));
    told.map(|(status, name, _)| {
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        (status.to_string(), reference)
    })
    .collect()
}

fn knows(route: &Route, doc: &Doc, status: u16) -> bool {
    let public = matches!(route.access, Access::Public | Access::Optional);
    let changes = route.verb != Verb::Get;
    let ingest = route.access == Access::Ingest;
    let guarded = !public || route.path == "/metrics";
    match status {
        304 => route.verb == Verb::Get && route.path.ends_with("/measurements"),
        400 => {
            let free = public && route.path.contains('{') || route.path.ends_with("...}");
            // A query that a route does not know.
            changes || ingest || free || route.path.starts_with("/v1/")
        }
        401 | 403 => guarded,
        // Whoever fails too often is shut out, and a person's requests are counted.
        429 => guarded || route.path == "/v1/sign-in",
        404 => {
            let named = doc.query.iter().any(|param| NAMING.contains(&param.name));
            named
                || ingest
                || route.path.contains('{')
                || matches!(
                    route.path,
                    "/log/checkpoint" | "/v1/devices" | "/v1/evidence" | "/v1/artifacts"
                )
        }
        408 | 413 => changes,
        409 => changes && !public || ingest || route.path == "/v1/evidence/{id}/file",
        410 => route.path == "/v1/evidence/{id}/file",
        412 => is_conditional(route),
        // Measurements: too_many_shared_values.
        422 => changes || ingest || route.path.ends_with("/measurements"),
        500 | 503 => true,
        _ => false,
    }
}
