//! Whether it lives, whether it is ready, and what it counts.
//!
//! Not here: what the numbers mean for an operator (docs/operations.md).

use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use serde_json::json;

/// The routes of this file.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/healthz",
    access: Access::Public,
    handler: |ctx| Box::pin(healthz(ctx)),
    doc: Some(Doc {
        summary: "Whether the process answers.",
        query: &[],
        body: None,
        status: 200,
        answer: "Health",
    }),
}];

async fn healthz(_ctx: Ctx) -> Answer {
    Ok(reply::ok(&json!({"status": "ok"})))
}
