//! Integrations: webhooks of an account, each with its token and URL.
//!
//! Source: REFERENCE §1.0 (`whk_`). Not here: what arrives at them (`ingest`), unknown devices (`tray`).

use super::as_of;
use super::change;
use super::devices::{Nothing, RotateBody};
use super::lists::Listing;
use super::sites::{AS_OF, CURSOR, LIMIT, shown};
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::event::payload::IntegrationKind;
use domain::registry::Integration;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/integrations",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "The account's integrations.",
            query: &[LIMIT, CURSOR, AS_OF],
            body: None,
            status: 200,
            answer: "IntegrationList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/integrations",
        access: Access::Write,
        handler: |ctx| Box::pin(create(ctx)),
        doc: Some(Doc {
            summary: "A new integration with its token, which is shown once.",
            query: &[],
            body: Some("NewIntegration"),
            status: 201,
            answer: "IntegrationCreated",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/integrations/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "An integration.",
            query: &[AS_OF],
            body: None,
            status: 200,
            answer: "Integration",
        }),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/integrations/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(remove(ctx)),
        doc: Some(Doc {
            summary: "Takes it away and revokes its token.",
            query: &[],
            body: None,
            status: 204,
            answer: "Nothing",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/integrations/{id}/rotate-token",
        access: Access::Write,
        handler: |ctx| Box::pin(rotate(ctx)),
        doc: Some(Doc {
            summary: "A new token, shown once; the old one ends at once or after `overlap_s`.",
            query: &[],
            body: Some("Rotate"),
            status: 200,
            answer: "IntegrationCreated",
        }),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let listing = Listing::of(&ctx.request, "integrations")?;
    let account = &ctx.caller.user()?.account;
    let view = as_of::view(&ctx).await?;
    let page = listing.page(
        view.integrations(account, listing.after),
        |it| it.created.position,
        |it| shape(&ctx, it),
    );
    let shown = shown("integration", &page.data);
    Ok(view.answer(&page, shown))
}

async fn one(ctx: Ctx) -> Answer {
    let account = &ctx.caller.user()?.account;
    let view = as_of::view(&ctx).await?;
    let it = view.integration(account, ctx.id()).filter(|it| !it.state.removed);
    let it = it.ok_or_else(not_found)?;
    let response = view.answer(&shape(&ctx, it), [("integration", ctx.id().to_owned())]);
    Ok(reply::tagged(response, &it.state.sequence.to_string()))
}

/// The body of a creation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    kind: String,
    name: String,
}

async fn create(mut ctx: Ctx) -> Answer {
    let (body, change): (NewBody, _) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .create_integration(&change.actor, &change.reason, &body.kind, &body.name)
        .await?;
    change::settle(&ctx, &outcome).await;
    let (mut value, sequence) = now(&ctx, &outcome.id)?;
    change::show_token(&mut value, "token", &outcome);
    let response = reply::tagged(reply::json(StatusCode::CREATED, &value), &sequence.to_string());
    Ok(change::created(
        response,
        &format!("/v1/integrations/{}", outcome.id),
        &outcome,
    ))
}

async fn remove(mut ctx: Ctx) -> Answer {
    let (Nothing {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .remove_integration(&change.actor, &change.reason, ctx.id(), change.if_match)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(reply::no_content())
}

async fn rotate(mut ctx: Ctx) -> Answer {
    let (body, change): (RotateBody, _) = change::read(&mut ctx).await?;
    let sequence = {
        let registry = ctx.app.registry().read();
        let it = registry.integration(&ctx.caller.user()?.account, ctx.id());
        it.map(|it| it.state.sequence)
    };
    change.still(sequence)?;
    let outcome = ctx
        .app
        .management()
        .rotate_integration_token(&change.actor, &change.reason, ctx.id(), body.overlap_s)
        .await?;
    change::settle(&ctx, &outcome).await;
    let (mut value, _) = now(&ctx, ctx.id())?;
    change::show_token(&mut value, "token", &outcome);
    Ok(change::repeated(reply::ok(&value), &outcome))
}

fn now(ctx: &Ctx, id: &str) -> Result<(Value, u64), ApiError> {
    let registry = ctx.app.registry().read();
    let it = registry
        .integration(&ctx.caller.user()?.account, id)
        .filter(|it| !it.state.removed)
        .ok_or_else(not_found)?;
    Ok((shape(ctx, it), it.state.sequence))
}

/// An integration as the API shows it.
pub fn shape(ctx: &Ctx, it: &Integration) -> Value {
    let path = match it.state.kind {
        Some(IntegrationKind::Lorawan) => "/v1/ingest/lorawan",
        Some(IntegrationKind::Shelly) => "/v1/ingest/shelly",
        Some(IntegrationKind::Efento) => "/api/v2/measurements",
        Some(IntegrationKind::Gateway) | None => "/v1/ingest",
    };
    json!({
        "id": &*it.id,
        "kind": it.state.kind.map(|kind| kind.as_str()),
        "name": ctx.app.text("integration", &it.id, it.state.name.as_ref()),
        "url": format!("{}{path}", ctx.app.base_url(&ctx.request)),
        "created_at": it.created.at,
        "changed_at": it.changed.at,
        "position": it.changed.position,
    })
}

fn not_found() -> ApiError {
    ApiError::not_found(
        "integration_not_found",
        "there is no such integration in this account",
    )
}
