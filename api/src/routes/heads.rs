//! The heads of days: what was closed, under which checkpoint, as JSON and as the file that auditors keep.
//!
//! Invariant: the file is given as it was stored when the day was closed; the JSON is read from it. Heads are
//! public: they tell size and rhythm, and are made to be kept elsewhere.
//! Source: FORMAT §5. Not here: closing a day (`commands::sequencer`), publishing heads (`chain-publisher`).

use crate::errors::ApiError;
use crate::reply::{self, Page};
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use chain_publisher::anchor::AnchorKind;
use commands::sequencer::HeadStore;
use domain::day::DayClosed;
use domain::entry::Entry;
use domain::tlog_proof::TlogProof;
use domain::{Date, Position};
use serde_json::{Value, json};
use warp::http::{StatusCode, header};

/// Heads of one answer: a quarter.
const LIMIT_DEFAULT: usize = 100;
/// Most heads of one answer: a year.
const LIMIT_MAX: usize = 366;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/heads",
        access: Access::Public,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "The heads of days, newest first.",
            query: &[
                Param::number(
                    "limit",
                    1,
                    LIMIT_MAX as u64,
                    "At most so many, up to 366; 100 by default.",
                ),
                Param::text(
                    "cursor",
                    "Where a list goes on: `next_cursor` of the answer before.",
                ),
            ],
            body: None,
            status: 200,
            answer: "HeadList",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/heads/{date}",
        access: Access::Public,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "The head of a day.",
            query: &[],
            body: None,
            status: 200,
            answer: "Head",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/heads/{year}/{file}",
        access: Access::Public,
        handler: |ctx| Box::pin(file(ctx)),
        doc: Some(Doc {
            summary: "The head of a day as the file to keep: YYYY/YYYY-MM-DD.tlog-proof (C2SP tlog-proof), .late.tlog-proof where witnesses came late, or .consistency with the head before (a tlog-witness add-checkpoint body); time stamps over it, where the settings ask for them, end in .tsr (RFC 3161) and .ots (OpenTimestamps).",
            query: &[],
            body: None,
            status: 200,
            answer: "text/plain",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/keys/{file}",
        access: Access::Public,
        handler: |ctx| Box::pin(rotation(ctx)),
        doc: Some(Doc {
            summary: "Where keys were replaced: 'rotations' lists the positions, one a line; POSITION.tlog-proof is the entry KeyRotated under the checkpoint that both keys signed (C2SP tlog-proof).",
            query: &[],
            body: None,
            status: 200,
            answer: "text/plain",
        }),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let limit = ctx.request.query_as::<usize>("limit", "a number of heads")?;
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    let before = match ctx.request.given("cursor") {
        None => None,
        Some(cursor) => Some(Date::parse(&cursor).map_err(|_| {
            ApiError::malformed(
                "bad_cursor",
                "this is not a cursor of this list; begin without one",
            )
        })?),
    };
    let dates = ctx.app.heads().dates().map_err(ApiError::internal)?;
    let mut wanted = dates
        .into_iter()
        .rev()
        .filter(|date| before.is_none_or(|b| *date < b));
    let mut data = Vec::new();
    let mut last = None;
    for date in wanted.by_ref().take(limit) {
        data.push(describe(&ctx, date)?);
        last = Some(date);
    }
    let has_more = wanted.next().is_some();
    Ok(reply::ok(&Page {
        data,
        next_cursor: last.filter(|_| has_more).map(|date| date.to_string()),
        has_more,
    }))
}

async fn one(ctx: Ctx) -> Answer {
    let date = Date::parse(ctx.id())
        .map_err(|_| ApiError::malformed("bad_date", "not a date such as 2026-05-17"))?;
    Ok(reply::ok(&describe(&ctx, date)?))
}

fn describe(ctx: &Ctx, date: Date) -> Result<Value, ApiError> {
    let head = ctx.app.heads().get(date).map_err(ApiError::internal)?;
    let head = head.ok_or_else(not_found)?;
    let proof = TlogProof::parse(&head).map_err(ApiError::internal)?;
    let bytes = proof.extra.as_deref().unwrap_or_default();
    let entry = Entry::decode(bytes).map_err(ApiError::internal)?;
    let day: DayClosed = serde_json::from_slice(entry.payload).map_err(ApiError::internal)?;
    let mut value = serde_json::to_value(&day).map_err(ApiError::internal)?;
    let text = date.to_string();
    if let Some(object) = value.as_object_mut() {
        object.insert("position".to_owned(), json!(entry.position));
        object.insert("closed_at".to_owned(), json!(entry.recorded_at));
        object.insert("checkpoint".to_owned(), json!(proof.checkpoint.encode()));
        object.insert(
            "url".to_owned(),
            json!(format!("/heads/{}/{text}.tlog-proof", &text[..4])),
        );
    }
    Ok(value)
}

/// Reads one of the files of a day.
type Reader = fn(&HeadStore, Date) -> std::io::Result<Option<Vec<u8>>>;

async fn file(ctx: Ctx) -> Answer {
    let (heads, name) = (ctx.app.heads(), ctx.param(1));
    if let Some((date, kind)) = stamp(name) {
        let fits = date.to_string().starts_with(ctx.param(0)) && ctx.param(0).len() == 4;
        let stamp = heads.stamp(date, kind.ending()).map_err(ApiError::internal)?;
        let stamp = stamp
            .filter(|_| fits)
            .ok_or_else(|| ApiError::not_found("stamp_not_found", "no such time stamp of that day"))?;
        return Ok(reply::bytes(StatusCode::OK, "application/octet-stream", stamp));
    }
    let read: [(&str, Reader); 3] = [
        (".late.tlog-proof", HeadStore::late),
        (".tlog-proof", HeadStore::get),
        (".consistency", HeadStore::consistency),
    ];
    let found = read
        .into_iter()
        .find_map(|(end, read)| Some((name.strip_suffix(end)?, read)));
    let (text, read) = found.ok_or_else(not_found)?;
    let date = Date::parse(text)
        .ok()
        .filter(|date| date.to_string().starts_with(ctx.param(0)) && ctx.param(0).len() == 4)
        .ok_or_else(not_found)?;
    let head = read(heads, date)
        .map_err(ApiError::internal)?
        .ok_or_else(not_found)?;
    let response = reply::bytes(StatusCode::OK, "text/plain; charset=utf-8", head);
    // Cosignature lines may be added later.
    Ok(reply::with(
        response,
        header::CACHE_CONTROL,
        "public, max-age=300",
    ))
}

/// The day and kind of a time stamp's name.
fn stamp(name: &str) -> Option<(Date, AnchorKind)> {
    let (date, ending) = name.split_once('.')?;
    Some((Date::parse(date).ok()?, AnchorKind::of_ending(ending)?))
}

async fn rotation(ctx: Ctx) -> Answer {
    let heads = ctx.app.heads();
    let body = match ctx.param(0) {
        "rotations" => heads
            .rotations()
            .map_err(ApiError::internal)?
            .iter()
            .map(|position| format!("{position}\n"))
            .collect::<String>()
            .into_bytes(),
        file => {
            let position = file.strip_suffix(".tlog-proof").and_then(|it| it.parse().ok());
            let not_found =
                || ApiError::not_found("rotation_not_found", "no key was replaced at that position");
            let position = position.map(Position).ok_or_else(not_found)?;
            let proof = heads.rotation(position).map_err(ApiError::internal)?;
            proof.ok_or_else(not_found)?
        }
    };
    Ok(reply::bytes(StatusCode::OK, "text/plain; charset=utf-8", body))
}

fn not_found() -> ApiError {
    ApiError::not_found(
        "head_not_found",
        "no head of that day: it is not over yet, or an idle gap was closed with a later one",
    )
}
