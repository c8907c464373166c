//! API tokens of the person who asks (`ua_live_`): issue, list, revoke.
//!
//! Invariant: a token's text is in the answer that made it and nowhere else; its hash is in no answer at all.
//! Not here: devices' and integrations' tokens (their own routes rotate them).

use super::change;
use super::devices::Nothing;
use crate::app::App;
use crate::errors::ApiError;
use crate::reply::{self, Page};
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::Timestamp;
use domain::registry::Token;
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
            summary: "Your API tokens that are good, without their secrets.",
            query: &[],
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
        verb: Verb::Delete,
        path: "/v1/tokens/{id}",
        access: Access::Own,
        handler: |ctx| Box::pin(revoke(ctx)),
        doc: Some(Doc {
            summary: "Ends one of your API tokens at once.",
            query: &[],
            body: None,
            status: 204,
            answer: "Nothing",
        }),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let now = ctx.app.clock().now();
    let tokens: Vec<Value> = {
        let registry = ctx.app.registry().read();
        let good = registry.tokens(&user.user).filter(|token| is_good(token, now));
        good.map(|token| shape(&token)).collect()
    };
    // Asked after the registry was let go: the sequencer waits for its lock.
    let tokens = tokens
        .into_iter()
        .map(|token| with_last_use(&ctx.app, token))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(reply::ok(&Page::whole(tokens)))
}

async fn issue(mut ctx: Ctx) -> Answer {
    let (Nothing {}, change) = change::read(&mut ctx).await?;
    let user = ctx.caller.user()?.user.clone();
    let outcome = ctx
        .app
        .management()
        .issue_user_token(&change.actor, &change.reason, &user)
        .await?;
    change::settle(&ctx, &outcome).await;
    let mut value = json!({
        "id": outcome.token.as_ref().map(|token| token.id.clone()),
        "user_id": user,
        "issued_at": outcome.recorded_at,
    });
    change::show_token(&mut value, "token", &outcome);
    Ok(change::repeated(
        reply::json(StatusCode::CREATED, &value),
        &outcome,
    ))
}

async fn revoke(mut ctx: Ctx) -> Answer {
    let (Nothing {}, change) = change::read(&mut ctx).await?;
    let user = ctx.caller.user()?.user.clone();
    let there = ctx
        .app
        .registry()
        .read()
        .token(ctx.id())
        .is_some_and(|token| token.owner == user);
    if !there {
        return Err(ApiError::not_found("token_not_found", "you have no such token"));
    }
    let outcome = ctx
        .app
        .management()
        .revoke_user_token(&change.actor, &change.reason, &user, ctx.id())
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
        "user_id": token.owner,
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
