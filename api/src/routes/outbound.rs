//! What was sent, what was not, and why; sending again.
//!
//! Source: REFERENCE §4 ("Outbound log"). Not here: contacts (`contacts`), sending (`notify`).

use super::change;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use crate::errors::ApiError;
use crate::notify::outcome::last_of;
use crate::reply::{self, Response};
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use commands::handlers::Actor;
use commands::record::Recorder as _;
use commands::sequencer::Recorded;
use domain::Position;
use domain::aggregate::contact::ContactState;
use domain::entry::Entry;
use domain::event::contact::ContactKind;
use domain::event::notification::{NOTIFICATION_REQUEUED, NotificationOutcome};
use domain::ids::IdKind;
use projections::query::{Outbound, OutboundFilter};
use serde_json::{Value, json};
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/outbound",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "What was sent, what was not, and why; newest first, of the last 90 days.",
            query: &[
                Param("contact", "Only to this contact."),
                Param("alarm", "Only of this alarm."),
                Param("via", "Only by `email`, `telegram` or `webhook`."),
                Param("type", "Only these outcomes, such as NotificationFailed."),
                LIMIT,
                CURSOR,
            ],
            body: None,
            status: 200,
            answer: "OutboundList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/outbound/{notification}/redeliver",
        access: Access::Write,
        handler: |ctx| Box::pin(redeliver(ctx)),
        doc: Some(Doc {
            summary: "Sends a notification again, under the same id.",
            query: &[],
            body: Some("Empty"),
            status: 202,
            answer: "Requeued",
        }),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let listing = Listing::of(&ctx.request, "outbound")?;
    let account = ctx.caller.user()?.account.clone();
    let query = |name: &str| ctx.request.query(name).map(std::borrow::Cow::into_owned);
    let filter = OutboundFilter {
        contact: query("contact"),
        alarm: query("alarm"),
        via: query("via"),
        event_type: query("type"),
    };
    let limit = listing.limit();
    let mut sent = ctx
        .app
        .ask(move |rows| rows.outbound(&account, &filter, listing.after, limit + 1))
        .await?;
    let has_more = sent.len() > limit;
    sent.truncate(limit);
    let last = sent.last().filter(|_| has_more);
    let next_cursor = last.map(|last| listing.cursor(last.position));
    let data: Vec<Value> = sent.iter().map(shape).collect();
    Ok(reply::ok(
        &json!({"data": data, "next_cursor": next_cursor, "has_more": has_more}),
    ))
}

fn shape(one: &Outbound) -> Value {
    json!({
        "position": one.position,
        "at": one.recorded_at,
        "type": one.event_type,
        "notification_id": one.notification,
        "contact_id": one.contact,
        "via": one.via,
        "what": one.what,
        "alarm_id": one.alarm,
        "channel_id": one.channel,
        "event_position": one.event,
        "attempt": one.attempt,
        "code": one.code,
        "provider_id": one.provider_id,
        "latency_ms": one.latency_ms,
        "took_ms": one.took_ms,
        "repeated": one.repeated,
        "next_at": one.next_at,
    })
}

async fn redeliver(mut ctx: Ctx) -> Answer {
    let (super::devices::Nothing {}, change) = change::read(&mut ctx).await?;
    let (account, id) = (ctx.caller.user()?.account.clone(), ctx.id().to_owned());
    let found = ctx.app.ask(move |rows| rows.notification(&account, &id)).await?;
    let found = found.ok_or_else(|| {
        ApiError::not_found(
            "notification_not_found",
            "there is no such notification in this account",
        )
    })?;
    if let Some(earlier) = earlier(&ctx, &change.actor).await? {
        return Ok(earlier);
    }
    if found.state == "due" {
        return Err(ApiError::conflict("still_due", "it is going to be sent already"));
    }
    let due = found.due;
    active(&ctx, &due.contact)?;
    let outcome = outcome(&due.contact, due.via, &due.id, due.event, "redeliver");
    asked(&ctx, &change.actor, &outcome).await
}

/// A new notification to the contact of the path, that says `what`; for a repetition what the first request made.
pub(super) async fn requeue_new(ctx: &Ctx, actor: &Actor, what: &'static str) -> Answer {
    let user = ctx.caller.user()?;
    if let Some(earlier) = earlier(ctx, actor).await? {
        return Ok(earlier);
    }
    if what == "confirm" {
        confirmable(ctx)?;
    }
    let via = if what == "confirm" {
        ContactKind::Email
    } else {
        active(ctx, ctx.id())?
    };
    let address = {
        let registry = ctx.app.registry().read();
        let contact = registry.contact(&user.account, ctx.id());
        contact.and_then(|it| ctx.app.text("contact", &it.id, it.state.address.as_ref()))
    };
    ctx.app.limits().ask(address.as_deref().unwrap_or(ctx.id()))?;
    let mut random = [0u8; 16];
    ctx.app.entropy().fill(&mut random);
    let id = IdKind::Notification.id(&random);
    let newest = ctx.app.newest().unwrap_or(Position::FIRST);
    let outcome = outcome(ctx.id(), via, &id, newest, what);
    asked(ctx, actor, &outcome).await
}

/// Asks, and says what is going to be sent.
async fn asked(ctx: &Ctx, actor: &Actor, outcome: &NotificationOutcome) -> Answer {
    let recorded = ctx.app.requeue(actor, outcome).await?;
    if recorded.replayed {
        return replayed(ctx, &recorded).await;
    }
    let position = last_of(&recorded);
    ctx.app.settled(position.get() + 1).await;
    Ok(accepted(&outcome.notification, position))
}

/// The answer of an earlier request with the same idempotency key.
async fn earlier(ctx: &Ctx, actor: &Actor) -> Result<Option<Response>, ApiError> {
    let Some(idempotency) = actor.idempotency else {
        return Ok(None);
    };
    match ctx.app.sequencer().replayed(idempotency).await? {
        Some(recorded) => replayed(ctx, &recorded).await.map(Some),
        None => Ok(None),
    }
}

/// What was asked for then, as its entry tells.
async fn replayed(ctx: &Ctx, recorded: &Recorded) -> Answer {
    let position = last_of(recorded);
    let block = ctx.app.log().read_at(&[position]).await?;
    let entry = block.get(0).and_then(|(_, bytes)| Entry::read(bytes).ok());
    let entry = entry.filter(|entry| entry.event_type == NOTIFICATION_REQUEUED);
    let outcome = entry.and_then(|entry| serde_json::from_slice::<NotificationOutcome>(entry.payload).ok());
    let outcome = outcome.ok_or_else(|| {
        ApiError::conflict(
            "idempotency_conflict",
            "this idempotency key was used for another kind of request: use a new one",
        )
    })?;
    let response = accepted(&outcome.notification, position);
    Ok(reply::with(response, change::REPLAYED, "true"))
}

fn accepted(notification: &str, position: Position) -> Response {
    reply::json(
        StatusCode::ACCEPTED,
        &json!({"notification_id": notification, "position": position}),
    )
}

/// Only a mailbox is asked to confirm, and only while it is told nothing.
fn confirmable(ctx: &Ctx) -> Result<(), ApiError> {
    let registry = ctx.app.registry().read();
    let found = registry.contact(&ctx.caller.user()?.account, ctx.id());
    match found.map(|it| (it.state.kind, it.state.state)) {
        Some((Some(ContactKind::Email), ContactState::Pending | ContactState::Bouncing)) => Ok(()),
        _ => Err(ApiError::conflict(
            "not_confirmable",
            "only a mailbox that is not confirmed is asked to confirm; one that unsubscribed is not asked again",
        )),
    }
}

fn active(ctx: &Ctx, contact: &str) -> Result<ContactKind, ApiError> {
    let registry = ctx.app.registry().read();
    let found = registry.contact(&ctx.caller.user()?.account, contact);
    match found.map(|it| (it.state.kind, it.state.state)) {
        Some((Some(kind), ContactState::Active)) => Ok(kind),
        _ => Err(ApiError::conflict(
            "not_active",
            "this contact is told nothing: it is not confirmed or linked, or it unsubscribed",
        )),
    }
}

fn outcome(contact: &str, via: ContactKind, id: &str, event: Position, code: &str) -> NotificationOutcome {
    NotificationOutcome {
        attempt: 0,
        code: code.to_owned(),
        contact: contact.to_owned(),
        covers: Vec::new(),
        event,
        latency_ms: 0,
        took_ms: 0,
        notification: id.to_owned(),
        next_at: None,
        provider_id: None,
        repeated: false,
        via,
    }
}
