//! Refused requests: what a device sent that was not taken, and why, in words.
//!
//! Invariants: `recent` is what this process remembers, at once; `data` is what was recorded, at most once a minute
//! a source. Nothing that was refused is shown to another account.
//! Source: FORMAT §2. Not here: counting (`commands::refusals`).

use super::entries::read_error;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use super::texts::Origin;
use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use commands::refusals::Source;
use domain::entry::Entry;
use domain::ports::EventLog;
use domain::{Position, ports::EntryBlock};
use projections::QueryError;
use projections::query::Refusal;
use serde_json::{Value, json};

/// The routes of this file.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/refusals",
    access: Access::Read,
    handler: |ctx| Box::pin(list(ctx)),
    doc: Some(Doc {
        summary: "Refused requests of the account's devices, newest first.",
        query: &[
            Param::text(
                "device_id",
                "Only of this device, with what was refused this minute.",
            ),
            LIMIT,
            CURSOR,
        ],
        body: None,
        status: 200,
        answer: "RefusalList",
    }),
}];

async fn list(ctx: Ctx) -> Answer {
    let listing = Listing::of(&ctx.request, "refusals")?;
    let account = ctx.caller.user()?.account.clone();
    let device = ctx.request.given("device_id").map(std::borrow::Cow::into_owned);
    let mut recent = Vec::new();
    if let Some(device) = &device {
        if ctx.app.registry().read().device(&account, device).is_none() {
            return Err(super::devices::not_found());
        }
        recent = ctx.app.refusals().recent(&Source::Device(device.as_str().into()));
    }
    let limit = listing.limit();
    let mut recorded = ctx
        .app
        .ask(move |rows| {
            match rows.refusals_before(&account, device.as_deref(), listing.after, limit + 1) {
                // A device that the read models do not know yet was refused nothing that they know.
                Err(QueryError::DeviceNotFound(_)) => Ok(Vec::new()),
                other => other,
            }
        })
        .await?;
    let has_more = recorded.len() > limit;
    recorded.truncate(limit);
    let next_cursor = recorded
        .last()
        .filter(|_| has_more)
        .map(|last| listing.cursor(last.position));
    let examples = examples(&ctx.app, &recorded).await?;
    let data: Vec<Value> = recorded
        .iter()
        .zip(examples)
        .map(|(refusal, example)| shape(refusal, example))
        .collect();
    let recent: Vec<Value> = recent
        .iter()
        .map(|refusal| json!({"at": refusal.at, "code": refusal.code, "message": refusal.message}))
        .collect();
    Ok(reply::ok(&json!({
        "data": data, "next_cursor": next_cursor, "has_more": has_more, "recent": recent,
    })))
}

/// The example of each, opened.
async fn examples(app: &App, recorded: &[Refusal]) -> Result<Vec<Option<String>>, ApiError> {
    let positions: Vec<Position> = recorded.iter().map(|refusal| refusal.position).collect();
    let log: &dyn EventLog = app.log();
    let block: EntryBlock = log.read_at(&positions).await.map_err(read_error)?;
    Ok(block.iter().map(|(_, bytes)| example(app, bytes)).collect())
}

fn example(app: &App, bytes: &[u8]) -> Option<String> {
    let entry = Entry::read(bytes).ok()?;
    let payload: Value = serde_json::from_slice(entry.payload).ok()?;
    let at = Origin {
        aggregate_type: entry.aggregate_type,
        aggregate_id: entry.aggregate_id,
        sequence: entry.sequence,
        salt: entry.salt,
    };
    let opened = app.opened(at, payload);
    opened["example"].as_str().map(str::to_owned)
}

fn shape(refusal: &Refusal, example: Option<String>) -> Value {
    json!({
        "position": refusal.position,
        "recorded_at": refusal.recorded_at,
        "source": refusal.source,
        "device_id": refusal.device_id,
        "from": refusal.from,
        "to": refusal.to,
        "total": refusal.total,
        "codes": serde_json::from_str::<Value>(&refusal.codes).unwrap_or_default(),
        "example": example,
    })
}
