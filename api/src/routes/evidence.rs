//! Evidence packs: asked for, watched, fetched.
//!
//! Invariants: whoever may read the account may ask, also an auditor, because a pack holds nothing that they could not
//! read; what belongs to another account is not there; a file is handed out only once the ledger says that it was
//! issued.
//! Source: REFERENCE §1.8 (the manner of reports), FORMAT §7. Not here: making packs (`evidence`).

use super::change;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use crate::app::App;
use crate::auth::User;
use crate::errors::ApiError;
use crate::evidence::job::{Job, Repeats, State};
use crate::evidence::recipients::Recipients;
use crate::evidence::shelf::{AskError, Told};
use crate::outflow::Outflow;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use chain_publisher::pack::{AlarmError, Days, Query, QueryError, StreamIndex, Subject, find_alarm};
use commands::handlers::Actor;
use commands::sequencer::StreamPositions;
use domain::event::Reason;
use domain::{Date, Position, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, Read};
use std::sync::Arc;
use warp::http::{StatusCode, header};

/// When to look again for a pack that is not ready, or to ask again, seconds.
const LOOK_AGAIN_S: u32 = 5;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/evidence",
        access: Access::Own,
        handler: |ctx| Box::pin(ask(ctx)),
        doc: Some(Doc {
            summary: "An evidence pack of a site, device or channel over some days, or of an alarm, made in the background.",
            query: &[],
            body: Some("NewEvidence"),
            status: 202,
            answer: "EvidenceAsked",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/evidence",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "The account's evidence packs, as long as they are remembered.",
            query: &[LIMIT, CURSOR],
            body: None,
            status: 200,
            answer: "EvidenceList",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/evidence/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "What became of an evidence pack.",
            query: &[],
            body: None,
            status: 200,
            answer: "Evidence",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/evidence/{id}/file",
        access: Access::Read,
        handler: |ctx| Box::pin(file(ctx)),
        doc: Some(Doc {
            summary: "The pack: a ZIP, or an age file where it was encrypted.",
            query: &[],
            body: None,
            status: 200,
            answer: "application/zip",
        }),
    },
];

/// The body of a request for a pack.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEvidence {
    #[serde(default)]
    site_id: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    channel_id: Option<String>,
    #[serde(default)]
    alarm_id: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    recipients: Vec<String>,
}

async fn ask(mut ctx: Ctx) -> Answer {
    let (body, change): (NewEvidence, _) = change::read(&mut ctx).await?;
    let user = ctx.caller.user()?.clone();
    let of = match (body.site_id, body.device_id, body.channel_id, body.alarm_id) {
        (Some(id), None, None, None) => Of::Subject(Subject::Site(id)),
        (None, Some(id), None, None) => Of::Subject(Subject::Device(id)),
        (None, None, Some(id), None) => Of::Subject(Subject::Channel(id)),
        (None, None, None, Some(id)) => Of::Alarm(id),
        _ => {
            return Err(ApiError::rejected(
                "invalid_query",
                "ask for exactly one of site_id, device_id, channel_id and alarm_id",
            ));
        }
    };
    let asked = Asked {
        of,
        from: body.from,
        to: body.to,
        recipients: body.recipients,
    };
    let (told, replayed) = take_on(&ctx.app, &user, change.actor, change.reason, asked).await?;
    let poll = format!("/v1/evidence/{}", told.job.id);
    let answer = json!({"id": told.job.id, "state": told.job.state.word(), "poll": poll});
    let response = reply::with(
        reply::json(StatusCode::ACCEPTED, &answer),
        header::LOCATION,
        &poll,
    );
    Ok(match replayed {
        true => reply::with(response, change::REPLAYED, "true"),
        false => response,
    })
}

/// What a pack is wanted of.
pub enum Of {
    /// All of it that was recorded on some days.
    Subject(Subject),
    /// An alarm, whose entries tell channel and days.
    Alarm(String),
}

/// A pack that somebody wants, by API or page.
pub struct Asked {
    /// What of.
    pub of: Of,
    /// The first day, as typed; required but for an alarm.
    pub from: Option<String>,
    /// The last day, likewise.
    pub to: Option<String>,
    /// Lines of recipients.
    pub recipients: Vec<String>,
}

/// Takes on a pack. Whether the same was asked before with the same idempotency key.
///
/// # Errors
/// 404 for what is not in the account, 422 for days or recipients that are none, 409, 429, 503.
pub async fn take_on(
    app: &Arc<App>,
    user: &User,
    actor: Actor,
    reason: Reason,
    asked: Asked,
) -> Result<(Told, bool), ApiError> {
    reason.check()?;
    let from = asked.from.map(|text| day("from", &text)).transpose()?;
    let to = asked.to.map(|text| day("to", &text)).transpose()?;
    let query = match asked.of {
        Of::Subject(subject) => {
            in_account(app, &user.account, &subject)?;
            let (Some(from), Some(to)) = (from, to) else {
                return Err(ApiError::rejected(
                    "invalid_range",
                    "'from' and 'to' are required: the first and the last day, such as 2026-03-31",
                ));
            };
            Query::new(subject, from, to).map_err(no_query)?
        }
        Of::Alarm(id) => alarm(app, &user.account, id, Days { from, to }).await?,
    };
    Recipients::parse(asked.recipients.iter().map(String::as_str))
        .map_err(|error| ApiError::rejected("invalid_recipient", error))?;
    let job = Job {
        id: app.management().pack_id(),
        number: 0,
        account: user.account.clone(),
        user: user.user.clone(),
        auth: actor.auth,
        token: actor.token,
        request_id: actor.request_id,
        reason_code: reason.code,
        reason_text: reason.text,
        idempotency: actor.idempotency.map(Repeats::from),
        query,
        recipients: lines(asked.recipients),
        asked_at: app.clock().now(),
        starts: 0,
        state: State::Queued,
    };
    let shelf = Arc::clone(app);
    let taken = tokio::task::spawn_blocking(move || shelf.evidence().ask(job));
    taken.await.map_err(ApiError::internal)?.map_err(refused)
}

fn no_query(error: QueryError) -> ApiError {
    let code = match error {
        QueryError::Days { .. } => "invalid_range",
        QueryError::Subject => "invalid_query",
    };
    ApiError::rejected(code, error.to_string())
}

/// The query of an alarm of the account.
async fn alarm(app: &Arc<App>, account: &str, id: String, days: Days) -> Result<Query, ApiError> {
    let (asker, asked) = (Arc::clone(app), id.clone());
    let found = tokio::task::spawn_blocking(move || {
        let streams = Streams(asker.sequencer().positions());
        find_alarm(asker.log(), &streams, &id)
    });
    let none = || ApiError::not_found("alarm_not_found", "there is no such alarm in this account");
    let found = match found.await.map_err(ApiError::internal)? {
        Ok(found) => found,
        Err(AlarmError::Unknown(_)) => return Err(none()),
        Err(error @ AlarmError::NoChannel(_)) => {
            let (account, id) = (account.to_owned(), asked);
            let theirs = app.ask(move |rows| rows.alarm(&account, &id)).await?;
            return Err(match theirs {
                Some(_) => ApiError::rejected("alarm_of_no_channel", error.to_string()),
                None => none(),
            });
        }
        Err(error) => return Err(ApiError::internal(error)),
    };
    // Of another account's alarm nothing is said, also not that these days are none of its.
    if app.registry().read().channel(account, &found.channel).is_none() {
        return Err(none());
    }
    found.query(days).map_err(no_query)
}

/// Where entries are, as the sequencer knows.
struct Streams<'a>(&'a StreamPositions);

impl StreamIndex for Streams<'_> {
    fn positions(&self, aggregate_type: &str, aggregate_id: &str) -> Vec<Position> {
        self.0.of(aggregate_type, aggregate_id)
    }
}

/// The recipients that count.
fn lines(recipients: Vec<String>) -> Vec<String> {
    let plain = recipients.iter().map(|line| line.trim().to_owned());
    plain
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn refused(error: AskError) -> ApiError {
    let message = error.to_string();
    match error {
        AskError::AccountBusy => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "evidence_busy", message).retry_after(60)
        }
        AskError::Busy => ApiError::unavailable("evidence_busy", message).retry_after(60),
        AskError::OtherRequest => ApiError::conflict("idempotency_conflict", message),
        AskError::Io(error) => ApiError::unavailable(
            "evidence_not_kept",
            "it could not be kept; nothing was begun: ask again later",
        )
        .caused_by(error),
        AskError::Stopping => ApiError::unavailable("stopping", message),
    }
}

fn in_account(app: &App, account: &str, subject: &Subject) -> Result<(), ApiError> {
    let registry = app.registry().read();
    let (there, code, what) = match subject {
        Subject::Site(id) => (registry.site(account, id).is_some(), "site_not_found", "site"),
        Subject::Device(id) => (
            registry.device(account, id).is_some(),
            "device_not_found",
            "device",
        ),
        Subject::Channel(id) | Subject::Alarm { channel: id, .. } => (
            registry.channel(account, id).is_some(),
            "channel_not_found",
            "channel",
        ),
    };
    if there {
        return Ok(());
    }
    Err(ApiError::not_found(
        code,
        format!("there is no such {what} in this account"),
    ))
}

/// A day as typed, or the day of a time, UTC.
fn day(name: &str, text: &str) -> Result<Date, ApiError> {
    let day = Date::parse(text).ok();
    day.or_else(|| Timestamp::parse_rfc3339(text).ok().map(|at| at.date()))
        .ok_or_else(|| {
            ApiError::rejected(
                "invalid_range",
                format!(
                    "'{name}' must be a day such as 2026-03-31, or a time (RFC 3339), whose UTC day counts"
                ),
            )
        })
}

async fn list(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let listing = Listing::of(&ctx.request, "evidence")?;
    let found = ctx.app.evidence().list(&user.account, listing.after);
    let page = listing.page(
        found.into_iter(),
        |told| Position(told.job.number),
        |told| shape(&told),
    );
    Ok(reply::ok(&page))
}

async fn one(ctx: Ctx) -> Answer {
    let told = found(&ctx)?;
    let response = reply::ok(&shape(&told));
    Ok(match told.job.state.is_over() {
        true => response,
        false => reply::with(response, header::RETRY_AFTER, &LOOK_AGAIN_S.to_string()),
    })
}

fn found(ctx: &Ctx) -> Result<Told, ApiError> {
    let user = ctx.caller.user()?;
    ctx.app.evidence().one(&user.account, ctx.id()).ok_or_else(|| {
        ApiError::not_found(
            "evidence_not_found",
            "there is no such evidence pack in this account",
        )
    })
}

async fn file(ctx: Ctx) -> Answer {
    let told = found(&ctx)?;
    let gone = || {
        ApiError::new(
            StatusCode::GONE,
            "evidence_expired",
            "the file of this pack was deleted, as its expires_at said: ask for it again",
        )
    };
    let pack = match &told.job.state {
        State::Ready { pack, .. } => pack,
        State::Expired { .. } => return Err(gone()),
        State::Failed { message, .. } => {
            return Err(ApiError::conflict("evidence_failed", message.clone()));
        }
        State::Queued | State::Running | State::Made { .. } => {
            return Err(ApiError::conflict(
                "evidence_not_ready",
                "this pack is not ready yet: look at its state",
            )
            .retry_after(LOOK_AGAIN_S));
        }
    };
    // Whoever has begun to read goes on reading when it is deleted.
    let opened = std::fs::File::open(ctx.app.evidence().path(&told.job));
    let opened = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => gone(),
        _ => ApiError::internal(error),
    })?;
    let (bytes, sha256) = pack.file();
    let media_type = match pack.encrypted {
        Some(_) => "application/octet-stream",
        None => "application/zip",
    };
    let (mut out, body) = Outflow::open(ctx.app.downloads(), &ctx.caller.user()?.account)?;
    tokio::task::spawn_blocking(move || {
        // A receiver that goes away knows by the length that it has not got it all.
        let sent = io::copy(&mut opened.take(bytes), &mut out).and_then(|_| out.finish());
        if let Err(error) = sent {
            tracing::debug!(%error, "an evidence pack was broken off");
        }
    });
    let response = reply::stream(media_type, body);
    let name = format!("attachment; filename=\"daybook-{}\"", told.job.file_name());
    let response = reply::with(response, header::CONTENT_LENGTH, &bytes.to_string());
    let response = reply::with(response, header::CONTENT_DISPOSITION, &name);
    let response = reply::with(response, header::CACHE_CONTROL, "private, no-store");
    Ok(reply::tagged(response, &sha256.to_string()))
}

/// A pack as the API shows it.
pub fn shape(told: &Told) -> Value {
    let job = &told.job;
    let mut query = json!({"from": job.query.from, "to": job.query.to});
    query[format!("{}_id", job.query.subject.kind())] = json!(job.query.subject.id());
    if let Subject::Alarm { channel, .. } = &job.query.subject {
        query["channel_id"] = json!(channel);
    }
    let progress = told
        .progress
        .map(|(done, total)| json!({"done": done, "total": total}));
    let mut shape = json!({
        "id": job.id,
        "state": job.state.word(),
        "query": query,
        "asked_at": job.asked_at,
        "asked_by": job.user,
        "encrypted": !job.recipients.is_empty(),
        "recipients": job.recipients.len(),
        "progress": progress,
        "error": null,
    });
    if let State::Failed { code, message, .. } = &job.state {
        shape["error"] = json!({"code": code, "message": message});
    }
    let since = match &job.state {
        State::Ready {
            pack,
            position,
            at,
            expires_at,
        } => Some((pack, position, at, expires_at, true)),
        State::Expired {
            pack,
            position,
            ready_at,
            at,
        } => Some((pack, position, ready_at, at, false)),
        _ => None,
    };
    if let (Some((pack, position, ready_at, expires_at, there)), Some(members)) =
        (since, shape.as_object_mut())
    {
        let (bytes, sha256) = pack.file();
        let link = there.then(|| format!("/v1/evidence/{}/file", job.id));
        let more = json!({
            "ready_at": ready_at,
            "expires_at": expires_at,
            "file": link,
            "bytes": bytes,
            "sha256": sha256,
            "pack_sha256": pack.sha256,
            "manifest_sha256": pack.manifest_sha256,
            "size": pack.size,
            "entries": pack.counts.entries,
            "values": pack.values,
            "open_from": pack.open_from,
            "position": position,
        });
        if let Value::Object(more) = more {
            members.extend(more);
        }
    }
    shape
}
