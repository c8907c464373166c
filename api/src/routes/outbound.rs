//! What was sent, what was not, and why; sending again.
//!
//! Source: REFERENCE §4 ("Outbound log"). Not here: contacts (`contacts`), sending (`notify`).

use super::change;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use crate::app::App;
use crate::auth::User;
use crate::entry_filter::moment;
use crate::errors::ApiError;
use crate::reply::{self, Response};
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use domain::Position;
use domain::aggregate::contact::ContactState;
use domain::event::contact::ContactKind;
use domain::event::notification::NotificationOutcome;
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
                Param("what", "Only what said this, such as alarm_opened."),
                Param("since", "Recorded at or after this time or day, UTC."),
                Param("until", "Recorded before this time or day, UTC."),
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
    let at = |name: &str| {
        let text = query(name).filter(|text| !text.is_empty());
        text.map(|text| moment(&text, name))
            .transpose()
            .map_err(|reason| ApiError::malformed("bad_query", reason))
    };
    let filter = OutboundFilter {
        contact: query("contact"),
        alarm: query("alarm"),
        via: query("via"),
        event_type: query("type"),
        what: query("what"),
        since: at("since")?,
        until: at("until")?,
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
    let (super::devices::Nothing {}, _) = change::read(&mut ctx).await?;
    let again = again(&ctx.app, ctx.caller.user()?, ctx.id()).await?;
    Ok(accepted(&again))
}

/// A notification that goes out, and the entry that says so.
pub struct Requeued {
    /// `ntf_…`
    pub id: String,
    /// The entry.
    pub position: Position,
}

/// The answer to what is going to be sent.
pub(super) fn accepted(requeued: &Requeued) -> Response {
    reply::json(
        StatusCode::ACCEPTED,
        &json!({"notification_id": requeued.id, "position": requeued.position}),
    )
}

/// Sends a notification again, under the same id.
///
/// # Errors
/// 403 where the role may not; `notification_not_found`, `still_due`, `not_active`; 503.
pub async fn again(app: &App, user: &User, id: &str) -> Result<Requeued, ApiError> {
    user.check_may_change()?;
    let (account, asked) = (user.account.clone(), id.to_owned());
    let found = app.ask(move |rows| rows.notification(&account, &asked)).await?;
    let found = found.ok_or_else(|| {
        ApiError::not_found(
            "notification_not_found",
            "there is no such notification in this account",
        )
    })?;
    if found.state == "due" {
        return Err(ApiError::conflict("still_due", "it is going to be sent already"));
    }
    let due = found.due;
    active(app, user, &due.contact)?;
    let outcome = outcome(&due.contact, due.via, &due.id, due.event, "redeliver");
    requeued(app, user, outcome).await
}

/// Sends a test to a contact.
///
/// # Errors
/// `contact_not_found`, `not_active`, `rate_limited`; 503.
pub async fn test(app: &App, user: &User, contact: &str) -> Result<Requeued, ApiError> {
    exists(app, user, contact)?;
    let via = active(app, user, contact)?;
    new(app, user, contact, via, "test").await
}

/// Asks a mailbox again to confirm.
///
/// # Errors
/// `contact_not_found`, `not_confirmable`, `rate_limited`; 503.
pub async fn confirm(app: &App, user: &User, contact: &str) -> Result<Requeued, ApiError> {
    exists(app, user, contact)?;
    confirmable(app, user, contact)?;
    new(app, user, contact, ContactKind::Email, "confirm").await
}

/// A new notification to a contact, that says `what`.
async fn new(
    app: &App,
    user: &User,
    contact: &str,
    via: ContactKind,
    what: &'static str,
) -> Result<Requeued, ApiError> {
    let address = {
        let registry = app.registry().read();
        let found = registry.contact(&user.account, contact);
        found.and_then(|it| app.text("contact", &it.id, it.state.address.as_ref()))
    };
    app.limits().ask(address.as_deref().unwrap_or(contact))?;
    let mut random = [0u8; 16];
    app.entropy().fill(&mut random);
    let id = IdKind::Notification.id(&random);
    let newest = app.newest().unwrap_or(Position::FIRST);
    requeued(app, user, outcome(contact, via, &id, newest, what)).await
}

async fn requeued(app: &App, user: &User, outcome: NotificationOutcome) -> Result<Requeued, ApiError> {
    let position = app.requeue(&user.account, &user.user, &outcome).await?;
    app.settled(position.get() + 1).await;
    Ok(Requeued {
        id: outcome.notification,
        position,
    })
}

/// That the contact is there, for somebody who may change it.
fn exists(app: &App, user: &User, contact: &str) -> Result<(), ApiError> {
    user.check_may_change()?;
    let registry = app.registry().read();
    registry
        .contact(&user.account, contact)
        .filter(|it| it.state.state != ContactState::Removed)
        .map(|_| ())
        .ok_or_else(super::contacts::not_found)
}

/// Only a mailbox is asked to confirm, and only while it is told nothing.
fn confirmable(app: &App, user: &User, contact: &str) -> Result<(), ApiError> {
    let registry = app.registry().read();
    let found = registry.contact(&user.account, contact);
    match found.map(|it| (it.state.kind, it.state.state)) {
        Some((Some(ContactKind::Email), ContactState::Pending | ContactState::Bouncing)) => Ok(()),
        _ => Err(ApiError::conflict(
            "not_confirmable",
            "only a mailbox that is not confirmed is asked to confirm; one that unsubscribed is not asked again",
        )),
    }
}

fn active(app: &App, user: &User, contact: &str) -> Result<ContactKind, ApiError> {
    let registry = app.registry().read();
    let found = registry.contact(&user.account, contact);
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
