//! Measurements of channels: raw or rolled up, as JSON, CSV or NDJSON.
//!
//! Invariants: `from` is inclusive, `to` is not; missing buckets are left out; CSV has dots and commas, never
//! semicolons; a long answer is streamed from a thread that may block, and a reader that goes away ends it. CSV and
//! NDJSON are whole, but a page where a `limit` or `cursor` is given: then `Link` says where it goes on. An entity tag
//! follows from the question where that names its range, and from the answer where the range moves with the clock.
//! Values are corrected by the channel's calibrations as they are read; what was recorded is told on demand, and the
//! answer says which it is, what corrected it and what people noted on it.
//! Source: REFERENCE §1.6. Not here: what is computed (`projections`).

use super::corrections::annotation;
use crate::errors::ApiError;
use crate::outflow::Outflow;
use crate::question;
use crate::reply::{self, Response};
use crate::request::Request;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use domain::Timestamp;
use domain::hash::{base64url, sha256};
use domain::time::DAY_US;
use projections::query::{
    Agg, CHANNELS_MAX, Function, LIMIT_DEFAULT, LIMIT_MAX, MeasurementsQuery, Points, Values, csv_header,
    rfc3339, write_csv_line, write_ndjson_line, write_value,
};
use projections::{QueryError, ReadModel};
use std::io::Write;
use warp::http::{StatusCode, header};

/// Media types of the formats that are not JSON.
const CSV: &str = "text/csv; charset=utf-8";
const NDJSON: &str = "application/x-ndjson";

const FROM: Param = Param::time("from", "Inclusive, RFC 3339; 24 hours ago by default.");
const TO: Param = Param::time("to", "Exclusive, RFC 3339; now by default.");
const AGG: Param = Param::one_of(
    "agg",
    || Agg::all().map(Agg::as_str).collect(),
    "raw (default), 5m, 1h, 1d, or auto for what fits a screen.",
);
const FN: Param = Param::one_of(
    "fn",
    || Function::ALL.map(Function::as_str).to_vec(),
    "mean (default), min, max, count, last, p50 or p95 of a bucket.",
);
const VALUES: Param = Param::one_of(
    "values",
    || Values::ALL.map(Values::as_str).to_vec(),
    "calibrated (default), raw as recorded, or both: [ts, calibrated, raw].",
);
const LIMIT: Param = Param::number(
    "limit",
    1,
    LIMIT_MAX as u64,
    "At most so many points, 5000 by default.",
);

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/channels/{id}/measurements",
        access: Access::Read,
        handler: |ctx| Box::pin(of_channel(ctx)),
        doc: Some(Doc {
            summary: "Measurements of a channel, rising in time.",
            query: &[
                FROM,
                TO,
                AGG,
                FN,
                VALUES,
                LIMIT,
                Param::one_of(
                    "format",
                    || Format::ALL.map(Format::as_str).to_vec(),
                    "json (default), csv or ndjson; the latter two are whole unless `limit` or `cursor` is given, and the \
                     next page is then in `Link`.",
                ),
                Param::text(
                    "cursor",
                    "Where the list goes on; the rest of the question is in it.",
                ),
            ],
            body: None,
            status: 200,
            answer: "Measurements",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/measurements",
        access: Access::Read,
        handler: |ctx| Box::pin(of_channels(ctx)),
        doc: Some(Doc {
            summary: "Measurements of several channels from one snapshot.",
            query: &[
                Param::text("channel_ids", "Up to 32 channel ids, with commas between them."),
                FROM,
                TO,
                AGG,
                FN,
                VALUES,
                LIMIT,
                Param::one_of("format", || vec!["json", "ndjson"], "json (default) or ndjson."),
            ],
            body: None,
            status: 200,
            answer: "MeasurementsOfMany",
        }),
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Ndjson,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Ndjson];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    fn of(request: &Request) -> Result<Self, ApiError> {
        match request.given("format") {
            Some(text) => question::find("format", &text, &Self::ALL, |format| format.as_str()).copied(),
            None => Ok(match request.header(header::ACCEPT) {
                Some(accept) if accept.starts_with("text/csv") => Self::Csv,
                Some(accept) if accept.starts_with("application/x-ndjson") => Self::Ndjson,
                _ => Self::Json,
            }),
        }
    }
}

fn question(ctx: &Ctx) -> Result<MeasurementsQuery, ApiError> {
    let request = &ctx.request;
    let now = ctx.app.clock().now();
    let to = time(request, "to")?.unwrap_or(now);
    let from = time(request, "from")?.unwrap_or_else(|| to.plus_micros(-DAY_US));
    let mut query = MeasurementsQuery::range(from, to);
    if let Some(text) = request.given("agg") {
        let all: Vec<Agg> = Agg::all().collect();
        query.agg = *question::find("agg", &text, &all, |agg| agg.as_str())?;
    }
    if let Some(text) = request.given("fn") {
        query.function = *question::find("fn", &text, &Function::ALL, |function| function.as_str())?;
    }
    if let Some(text) = request.given("values") {
        query.values = *question::find("values", &text, &Values::ALL, |values| values.as_str())?;
    }
    query.limit = request
        .query_as("limit", "a number of points")?
        .unwrap_or(LIMIT_DEFAULT);
    query.cursor = request.given("cursor").map(std::borrow::Cow::into_owned);
    Ok(query)
}

/// Requests of a person's rate that a long page costs beyond the request itself, as if it were asked for in pages of the
/// usual length: nobody's long pages keep others waiting more than their short ones would.
fn further(query: &MeasurementsQuery) -> usize {
    query.limit.saturating_sub(1) / LIMIT_DEFAULT
}

fn time(request: &Request, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = request.given(name) else {
        return Ok(None);
    };
    // A plus sign that nobody encoded arrives as a space.
    Timestamp::parse_rfc3339(&text.replace(' ', "+"))
        .map(Some)
        .map_err(|_| {
            ApiError::malformed(
                "bad_query",
                format!("'{name}' must be a time such as 2026-05-17T08:22:00Z"),
            )
        })
}

/// What is answered to `GET`, given its entity tag: nothing, where the client has it.
fn unless_had(request: &Request, tag: &str, answer: impl FnOnce() -> Response) -> Response {
    if matches(request, tag) {
        not_modified(tag)
    } else {
        reply::tagged(answer(), tag)
    }
}

/// Whether the question itself names the range that it is about, so that its tag can be had before its answer.
fn names_its_range(request: &Request) -> bool {
    let given = |name| request.given(name).is_some();
    given("from") && given("to") && !given("cursor")
}

/// The tag of an answer that depends on when it was asked for.
fn tag_of_answer(body: &[u8]) -> String {
    base64url(&sha256(body).0[..16])
}

async fn of_channel(ctx: Ctx) -> Answer {
    let format = Format::of(&ctx.request)?;
    let query = question(&ctx)?;
    let user = ctx.caller.user()?;
    ctx.app.limits().further_requests(&user.user, further(&query))?;
    let (account, channel) = (user.account.clone(), ctx.id().to_owned());
    let known = ctx
        .app
        .registry()
        .read()
        .channel(&account, &channel)
        .map(|c| c.created.position);
    let Some(created) = known else {
        return Err(ApiError::not_found(
            "channel_not_found",
            "there is no such channel in this account",
        ));
    };
    // A channel that was made this moment is read as soon as the read models know it.
    ctx.app.settled(created.get() + 1).await;
    match format {
        Format::Json => {
            let tag = if names_its_range(&ctx.request) {
                Some(tag_of(&ctx, &account, vec![channel.clone()], &query).await?)
            } else {
                None
            };
            if let Some(tag) = tag.as_ref().filter(|tag| matches(&ctx.request, tag)) {
                return Ok(not_modified(tag));
            }
            let id = channel.clone();
            let (points, notes) = ctx
                .app
                .ask(move |rows| {
                    let points = rows.measurements(&account, &id, &query)?;
                    let notes = rows.notes(&account, &id, points.span.0, points.span.1)?;
                    Ok((points, notes))
                })
                .await?;
            let notes = notes
                .iter()
                .rev()
                .map(|item| annotation(&ctx.app, item))
                .collect();
            Ok(json(&ctx.request, tag, one(&channel, &points, notes)))
        }
        _ if is_paged(&ctx.request) => page(&ctx, account, channel, query, format).await,
        Format::Csv => piped(&ctx, CSV, move |rows, out| {
            rows.write_csv(&account, &channel, &query, out)
        }),
        Format::Ndjson => piped(&ctx, NDJSON, move |rows, out| {
            rows.write_ndjson(&account, &[&channel], &query, out)
        }),
    }
}

/// JSON with its entity tag, or nothing where the client has it.
fn json(request: &Request, tag: Option<String>, body: Vec<u8>) -> Response {
    let tag = tag.unwrap_or_else(|| tag_of_answer(&body));
    unless_had(request, &tag, || {
        reply::bytes(StatusCode::OK, "application/json", body)
    })
}

/// Whether a page is asked for and not the whole.
fn is_paged(request: &Request) -> bool {
    let given = |name| request.given(name).is_some();
    given("limit") || given("cursor")
}

/// One page as CSV or NDJSON; `Link` says where the next one is.
async fn page(
    ctx: &Ctx,
    account: String,
    channel: String,
    query: MeasurementsQuery,
    format: Format,
) -> Answer {
    let (limit, id) = (query.limit, channel.clone());
    let points = ctx
        .app
        .ask(move |rows| rows.measurements(&account, &id, &query))
        .await?;
    let mut out = Vec::with_capacity(16 + points.data.len() * 48);
    let (name, media_type) = match format {
        Format::Ndjson => ("ndjson", NDJSON),
        Format::Csv | Format::Json => ("csv", CSV),
    };
    if name == "csv" {
        out.extend_from_slice(csv_header(points.values));
    }
    for point in &points.data {
        if name == "csv" {
            write_csv_line(&mut out, points.values, point);
        } else {
            write_ndjson_line(&mut out, &channel, points.values, point);
        }
    }
    let tag = tag_of_answer(&out);
    let response = unless_had(&ctx.request, &tag, || {
        reply::bytes(StatusCode::OK, media_type, out)
    });
    Ok(match &points.next_cursor {
        Some(cursor) => {
            let path = ctx.request.path();
            let next = format!("<{path}?format={name}&limit={limit}&cursor={cursor}>; rel=\"next\"");
            reply::with(response, header::LINK, &next)
        }
        None => response,
    })
}

async fn of_channels(ctx: Ctx) -> Answer {
    let format = Format::of(&ctx.request)?;
    let query = question(&ctx)?;
    let account = ctx.caller.user()?.account.clone();
    // A channel that is named twice is one member of the answer.
    let mut asked = std::collections::BTreeSet::new();
    let ids: Vec<String> = ctx
        .request
        .query("channel_ids")
        .unwrap_or_default()
        .split(',')
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty() && asked.insert(id.clone()))
        .collect();
    if ids.is_empty() || ids.len() > CHANNELS_MAX {
        return Err(ApiError::malformed(
            "bad_query",
            format!("'channel_ids' must be 1 to {CHANNELS_MAX} channel ids with commas between them"),
        ));
    }
    let user = &ctx.caller.user()?.user;
    ctx.app
        .limits()
        .further_requests(user, ids.len() - 1 + further(&query))?;
    {
        let registry = ctx.app.registry().read();
        if let Some(missing) = ids.iter().find(|id| registry.channel(&account, id).is_none()) {
            return Err(ApiError::not_found(
                "channel_not_found",
                format!("there is no channel {missing} in this account"),
            ));
        }
    }
    match format {
        Format::Csv => Err(ApiError::malformed(
            "bad_query",
            "csv is for one channel: ask /v1/channels/{id}/measurements, or take ndjson",
        )),
        Format::Ndjson if is_paged(&ctx.request) => Err(ApiError::malformed(
            "bad_query",
            "ndjson of several channels is whole: leave out 'limit' and 'cursor', or take json",
        )),
        Format::Ndjson => piped(&ctx, NDJSON, move |rows, out| {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            rows.write_ndjson(&account, &ids, &query, out)
        }),
        Format::Json => {
            let tag = if names_its_range(&ctx.request) {
                Some(tag_of(&ctx, &account, ids.clone(), &query).await?)
            } else {
                None
            };
            if let Some(tag) = tag.as_ref().filter(|tag| matches(&ctx.request, tag)) {
                return Ok(not_modified(tag));
            }
            let answers = ctx
                .app
                .ask(move |rows| {
                    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                    rows.measurements_of(&account, &ids, &query)
                })
                .await?;
            Ok(json(&ctx.request, tag, many(&answers)))
        }
    }
}

async fn tag_of(
    ctx: &Ctx,
    account: &str,
    ids: Vec<String>,
    query: &MeasurementsQuery,
) -> Result<String, ApiError> {
    let (account, query) = (account.to_owned(), query.clone());
    ctx.app
        .ask(move |rows| {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            rows.etag(&account, &ids, &query)
        })
        .await
}

fn matches(request: &Request, tag: &str) -> bool {
    request.header(header::IF_NONE_MATCH).is_some_and(|value| {
        value
            .split(',')
            .map(str::trim)
            .any(|t| t == "*" || t.trim_start_matches("W/").trim_matches('"') == tag)
    })
}

fn not_modified(tag: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    reply::tagged(response, tag)
}

fn one(channel: &str, points: &Points, notes: Vec<serde_json::Value>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + points.data.len() * 40);
    out.extend_from_slice(b"{\"channel_id\":\"");
    out.extend_from_slice(channel.as_bytes());
    write_head(&mut out, points);
    out.extend_from_slice(b",\"data\":");
    write_points(&mut out, points);
    out.extend_from_slice(b",\"next_cursor\":");
    write_cursor(&mut out, points);
    out.extend_from_slice(format!(",\"has_more\":{}", points.has_more()).as_bytes());
    let marks = format!(
        ",\"calibrations\":{},\"annotations\":{}}}",
        in_force(points),
        serde_json::Value::Array(notes)
    );
    out.extend_from_slice(marks.as_bytes());
    out
}

/// What corrects the points.
fn in_force(points: &Points) -> serde_json::Value {
    let applied = points.calibrations.iter().map(|it| {
        serde_json::json!({
            "valid_from": it.valid_from,
            "correction": it.correction,
            "position": it.position,
        })
    });
    applied.collect()
}

fn many(answers: &[(String, Points)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.extend_from_slice(b"{\"data\":{");
    for (i, (id, points)) in answers.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b"\":");
        write_points(&mut out, points);
    }
    out.extend_from_slice(b"},\"next_cursors\":{");
    for (i, (id, points)) in answers.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b"\":");
        write_cursor(&mut out, points);
    }
    // What the points of each stand for: `agg=auto` may choose differently for each.
    out.extend_from_slice(b"},\"aggs\":{");
    for (i, (id, points)) in answers.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        out.extend_from_slice(format!("{comma}\"{id}\":\"{}\"", points.agg.as_str()).as_bytes());
    }
    out.extend_from_slice(b"},\"calibrations\":{");
    for (i, (id, points)) in answers.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        out.extend_from_slice(format!("{comma}\"{id}\":{}", in_force(points)).as_bytes());
    }
    let values = answers
        .first()
        .map_or(Values::default(), |(_, points)| points.values);
    out.extend_from_slice(format!("}},\"values\":\"{}\"}}", values.as_str()).as_bytes());
    out
}

/// Closes the string before it, and says what the points stand for.
fn write_head(out: &mut Vec<u8>, points: &Points) {
    out.extend_from_slice(b"\",\"agg\":\"");
    out.extend_from_slice(points.agg.as_str().as_bytes());
    out.extend_from_slice(b"\",\"fn\":\"");
    out.extend_from_slice(points.function.as_str().as_bytes());
    out.extend_from_slice(b"\",\"values\":\"");
    out.extend_from_slice(points.values.as_str().as_bytes());
    out.push(b'"');
}

fn write_points(out: &mut Vec<u8>, points: &Points) {
    out.push(b'[');
    for (i, point) in points.data.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b"[\"" } else { b",[\"" });
        out.extend_from_slice(rfc3339(point.at).as_bytes());
        out.extend_from_slice(b"\",");
        write_value(out, point.value);
        if points.values == Values::Both {
            out.push(b',');
            write_value(out, point.raw);
        }
        out.push(b']');
    }
    out.push(b']');
}

fn write_cursor(out: &mut Vec<u8>, points: &Points) {
    match &points.next_cursor {
        // Cursors are base64url.
        Some(cursor) => out.extend_from_slice(format!("\"{cursor}\"").as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
}

/// An answer that is written by a thread that may block.
fn piped(
    ctx: &Ctx,
    media_type: &'static str,
    write: impl FnOnce(&ReadModel, &mut dyn Write) -> Result<u64, QueryError> + Send + 'static,
) -> Answer {
    let (mut out, body) = Outflow::open(ctx.app.downloads(), &ctx.caller.user()?.account)?;
    let rows = ctx.app.rows();
    tokio::task::spawn_blocking(move || {
        let written = write(&rows, &mut out);
        if let Err(error) = written.and_then(|_| out.finish().map_err(QueryError::Receiver)) {
            tracing::debug!(%error, "a streamed answer was broken off");
        }
    });
    Ok(reply::stream(media_type, body))
}
