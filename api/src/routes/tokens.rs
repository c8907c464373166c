//! API tokens of the person who asks (`ua_live_`): issue, list, rotate, revoke; and, for an owner, those of the
//! account's devices, integrations and people: list and revoke.
//!
//! Invariant: a token's text is in the answer that made it and nowhere else; its hash is in no answer at all.
//! Not here: new tokens of devices and integrations (their own routes rotate them).

use super::as_of;
use super::change;
use super::devices::{Nothing, RotateBody};
use super::lists::Listing;
use super::sites::{AS_OF, CURSOR, LIMIT};
use crate::app::App;
use crate::auth::{OWNER, User};
use crate::errors::ApiError;
use crate::reply::{self, Page};
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use commands::handlers::Outcome;
use domain::Timestamp;
use domain::event::TokenKind;
use domain::registry::{Registry, Token};
use serde_json::{Value, json};
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/tokens",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "Tokens that are good, without their secrets: yours, or of what an owner names.",
            query: &[
                Param::text(
                    "owner",
                    "A device, integration or user of the account; for owners of it. Yours by default.",
                ),
                LIMIT,
                CURSOR,
                AS_OF,
            ],
            body: None,
            status: 200,
            answer: "TokenList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tokens",
        access: Access::Own,
        handler: |ctx| Box::pin(issue(ctx)),
        doc: Some(Doc {
            summary: "A new API token for yourself, shown once.",
            query: &[],
            body: Some("Empty"),
            status: 201,
            answer: "TokenCreated",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tokens/{id}/rotate",
        access: Access::Own,
        handler: |ctx| Box::pin(rotate(ctx)),
        doc: Some(Doc {
            summary: "A new API token in place of one of yours, shown once; the old one ends at once or after `overlap_s`.",
            query: &[],
            body: Some("Rotate"),
            status: 200,
            answer: "TokenCreated",
        }),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/tokens/{id}",
        access: Access::Own,
        handler: |ctx| Box::pin(revoke(ctx)),
        doc: Some(Doc {
            summary: "Ends one of your API tokens at once; an owner ends any token of the account.",
            query: &[],
            body: None,
            status: 204,
            answer: "Nothing",
        }),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let listing = Listing::of(&ctx.request, "tokens")?;
    let page = {
        let view = as_of::view(&ctx).await?;
        let now = view.at(ctx.app.clock().now());
        let owner = match ctx.request.given("owner") {
            Some(owner) => whose(&view, user, &owner)?,
            None => user.user.clone(),
        };
        let after = |token: &Token<'_>| listing.after.is_none_or(|after| token.issued.position > after);
        let good = view
            .tokens(&owner)
            .filter(|token| is_good(token, now) && after(token));
        let page = listing.page(good, |token| token.issued.position, |token| shape(&token));
        if view.is_past() {
            return Ok(view.answer(&page, [("tokens", owner)]));
        }
        page
    };
    // Asked after the registry was let go: the sequencer waits for its lock.
    let data = page
        .data
        .into_iter()
        .map(|token| with_last_use(&ctx.app, token))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(reply::ok(&Page { data, ..page }))
}

/// Whose tokens are asked for: one's own, or for an owner what is in the account.
fn whose(registry: &Registry, user: &User, owner: &str) -> Result<String, ApiError> {
    if *owner != *user.user {
        if registry.account_of(owner) != Some(&*user.account) {
            return Err(ApiError::not_found(
                "owner_not_found",
                "there is no such device, integration or user in this account",
            ));
        }
        if user.role != OWNER {
            return Err(ApiError::forbidden("only an owner may list the tokens of others"));
        }
    }
    Ok(owner.to_owned())
}

async fn issue(mut ctx: Ctx) -> Answer {
    let (Nothing {}, change) = change::read(&mut ctx).await?;
    let user = ctx.caller.user()?.user.clone();
    let outcome = ctx
        .app
        .management()
        .issue_user_token(&change.actor, &change.reason, &user)
        .await?;
    made(&ctx, StatusCode::CREATED, &user, &outcome).await
}

async fn rotate(mut ctx: Ctx) -> Answer {
    let (body, change): (RotateBody, _) = change::read(&mut ctx).await?;
    let user = ctx.caller.user()?.user.clone();
    let outcome = ctx
        .app
        .management()
        .rotate_user_token(&change.actor, &change.reason, &user, ctx.id(), body.overlap_s)
        .await?;
    made(&ctx, StatusCode::OK, &user, &outcome).await
}

/// The answer that shows a new token.
async fn made(ctx: &Ctx, status: StatusCode, user: &str, outcome: &Outcome) -> Answer {
    change::settle(ctx, outcome).await;
    let mut value = json!({
        "id": outcome.token_id,
        "user_id": user,
        "issued_at": outcome.recorded_at,
    });
    change::show_token(&mut value, "token", outcome);
    Ok(change::repeated(reply::json(status, &value), outcome))
}

async fn revoke(mut ctx: Ctx) -> Answer {
    let (Nothing {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .revoke_token(&change.actor, &change.reason, ctx.id())
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(reply::no_content())
}

fn is_good(token: &Token<'_>, now: Timestamp) -> bool {
    !token.revoked && token.expires_at.is_none_or(|end| now < end)
}

/// A token as the API shows it.
fn shape(token: &Token<'_>) -> Value {
    json!({
        "id": token.id,
        "user_id": (token.kind == TokenKind::User).then_some(token.owner),
        "owner": token.owner,
        "issued_at": token.issued.at,
        "expires_at": token.expires_at,
        "position": token.issued.position,
    })
}

fn with_last_use(app: &App, mut token: Value) -> Result<Value, ApiError> {
    let id = token["id"].as_str().unwrap_or_default();
    let last = app.state().last_used(id).map_err(ApiError::internal)?;
    token["last_used_at"] = json!(last);
    Ok(token)
}
