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
use crate::notify::outcome::last_of;
use crate::pages::outbound::view::{OUTCOMES, WHAT};
use crate::question::in_order;
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
                Param::id("contact", &[IdKind::Contact], "Only to this contact."),
                Param::id("alarm", &[IdKind::Alarm], "Only of this alarm."),
                Param::one_of("via", ways, "Only by this way."),
                Param::one_of("type", outcomes, "Only this outcome."),
                Param::one_of("what", said, "Only what said this."),
                Param::text("since", "Recorded at or after this time or day, UTC."),
                Param::text("until", "Recorded before this time or day, UTC."),
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
    let query = |name: &str| ctx.request.given(name).map(std::borrow::Cow::into_owned);
    let at = |name: &str| {
        query(name)
            .map(|text| moment(&text, name))
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
    in_order(("since", filter.since), ("until", filter.until))?;
    known(&ctx, &account, &filter).await?;
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

/// The ways that there are.
fn ways() -> Vec<&'static str> {
    ContactKind::ALL.map(ContactKind::as_str).to_vec()
}

/// What can come of an attempt.
fn outcomes() -> Vec<&'static str> {
    OUTCOMES.map(|(event_type, _)| event_type).to_vec()
}

/// What can be said.
fn said() -> Vec<&'static str> {
    WHAT.map(|(what, _)| what).to_vec()
}

/// That the contact and the alarm are there, or were: nothing was sent to one that never was, which would read as if
/// nothing went out.
async fn known(ctx: &Ctx, account: &str, filter: &OutboundFilter) -> Result<(), ApiError> {
    if let Some(contact) = &filter.contact
        && ctx.app.registry().read().contact(account, contact).is_none()
    {
        return Err(super::contacts::not_found());
    }
    if let Some(alarm) = filter.alarm.clone() {
        let account = account.to_owned();
        let found = ctx.app.ask(move |rows| rows.alarm(&account, &alarm)).await?;
        found.ok_or_else(super::events::not_found)?;
    }
    Ok(())
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
    let again = again(&ctx.app, ctx.caller.user()?, &change.actor, ctx.id()).await?;
    Ok(accepted(&again))
}

/// A notification that goes out, and the entry that says so.
pub struct Requeued {
    /// `ntf_…`
    pub id: String,
    /// The entry.
    pub position: Position,
    /// An earlier request with the same idempotency key asked for it.
    pub replayed: bool,
}

/// The answer to what is going to be sent.
pub(super) fn accepted(requeued: &Requeued) -> Response {
    let response = reply::json(
        StatusCode::ACCEPTED,
        &json!({"notification_id": requeued.id, "position": requeued.position}),
    );
    if requeued.replayed {
        reply::with(response, change::REPLAYED, "true")
    } else {
        response
    }
}

/// Sends a notification again, under the same id.
///
/// # Errors
/// 403 where the role may not; `notification_not_found`, `still_due`, `not_active`; 503.
pub async fn again(app: &App, user: &User, actor: &Actor, id: &str) -> Result<Requeued, ApiError> {
    user.check_may_change()?;
    let (account, named) = (user.account.clone(), id.to_owned());
    let found = app.ask(move |rows| rows.notification(&account, &named)).await?;
    let found = found.ok_or_else(|| {
        ApiError::not_found(
            "notification_not_found",
            "there is no such notification in this account",
        )
    })?;
    if let Some(earlier) = earlier(app, actor).await? {
        return Ok(earlier);
    }
    if found.state == "due" {
        return Err(ApiError::conflict("still_due", "it is going to be sent already"));
    }
    let due = found.due;
    active(app, user, &due.contact)?;
    let outcome = outcome(&due.contact, due.via, &due.id, due.event, "redeliver");
    asked(app, actor, &outcome).await
}

/// Sends a test to a contact.
///
/// # Errors
/// `contact_not_found`, `not_active`, `rate_limited`; 503.
pub async fn test(app: &App, user: &User, actor: &Actor, contact: &str) -> Result<Requeued, ApiError> {
    exists(app, user, contact)?;
    if let Some(earlier) = earlier(app, actor).await? {
        return Ok(earlier);
    }
    let via = active(app, user, contact)?;
    new(app, actor, contact, via, "test").await
}

/// Asks a mailbox again to confirm.
///
/// # Errors
/// `contact_not_found`, `not_confirmable`, `rate_limited`; 503.
pub async fn confirm(app: &App, user: &User, actor: &Actor, contact: &str) -> Result<Requeued, ApiError> {
    exists(app, user, contact)?;
    if let Some(earlier) = earlier(app, actor).await? {
        return Ok(earlier);
    }
    confirmable(app, user, contact)?;
    new(app, actor, contact, ContactKind::Email, "confirm").await
}

/// A new notification to a contact, that says `what`.
async fn new(
    app: &App,
    actor: &Actor,
    contact: &str,
    via: ContactKind,
    what: &'static str,
) -> Result<Requeued, ApiError> {
    let address = {
        let registry = app.registry().read();
        let found = registry.contact(&actor.account, contact);
        found.and_then(|it| app.text("contact", &it.id, it.state.address.as_ref()))
    };
    app.limits()
        .ask(&actor.account, address.as_deref().unwrap_or(contact))?;
    let mut random = [0u8; 16];
    app.entropy().fill(&mut random);
    let id = IdKind::Notification.id(&random);
    let newest = app.newest().unwrap_or(Position::FIRST);
    asked(app, actor, &outcome(contact, via, &id, newest, what)).await
}

/// Asks, and says what is going to be sent.
async fn asked(app: &App, actor: &Actor, outcome: &NotificationOutcome) -> Result<Requeued, ApiError> {
    let recorded = app.requeue(actor, outcome).await?;
    if recorded.replayed {
        return replayed(app, &recorded).await;
    }
    let position = last_of(&recorded);
    app.settled(position.get() + 1).await;
    Ok(Requeued {
        id: outcome.notification.clone(),
        position,
        replayed: false,
    })
}

/// What an earlier request with the same idempotency key asked for.
async fn earlier(app: &App, actor: &Actor) -> Result<Option<Requeued>, ApiError> {
    let Some(idempotency) = actor.idempotency else {
        return Ok(None);
    };
    match app.sequencer().replayed(idempotency).await? {
        Some(recorded) => replayed(app, &recorded).await.map(Some),
        None => Ok(None),
    }
}

/// What was asked for then, as its entry tells.
async fn replayed(app: &App, recorded: &Recorded) -> Result<Requeued, ApiError> {
    let position = last_of(recorded);
    let block = app.log().read_at(&[position]).await?;
    let entry = block.get(0).and_then(|(_, bytes)| Entry::read(bytes).ok());
    let entry = entry.filter(|entry| entry.event_type == NOTIFICATION_REQUEUED);
    let outcome = entry.and_then(|entry| serde_json::from_slice::<NotificationOutcome>(entry.payload).ok());
    let outcome = outcome.ok_or_else(|| {
        ApiError::conflict(
            "idempotency_conflict",
            "this idempotency key was used for another kind of request: use a new one",
        )
    })?;
    Ok(Requeued {
        id: outcome.notification,
        position,
        replayed: true,
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
