//! Users: who may read or change an account. Their addresses and names are opened only when shown.
//!
//! Not here: signing in (`sign_in`), their tokens (`tokens`), what may be changed (`domain::aggregate::user`).

use super::as_of;
use super::change;
use super::devices::Nothing;
use super::lists::Listing;
use super::sites::{AS_OF, CURSOR, LIMIT, shown};
use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use commands::handlers::{NewUser, UserPatch};
use domain::registry::User;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/users",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "Who has access to the account.",
            query: &[LIMIT, CURSOR, AS_OF],
            body: None,
            status: 200,
            answer: "UserList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/users",
        access: Access::Write,
        handler: |ctx| Box::pin(create(ctx)),
        doc: Some(Doc {
            summary: "Gives a person access.",
            query: &[],
            body: Some("NewUser"),
            status: 201,
            answer: "User",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/users/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "A user.",
            query: &[AS_OF],
            body: None,
            status: 200,
            answer: "User",
        }),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/users/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(patch(ctx)),
        doc: Some(Doc {
            summary: "Changes a person's address, name or role.",
            query: &[],
            body: Some("UserPatch"),
            status: 200,
            answer: "User",
        }),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/users/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(remove(ctx)),
        doc: Some(Doc {
            summary: "Ends a person's access, tokens and sessions.",
            query: &[],
            body: None,
            status: 204,
            answer: "Nothing",
        }),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let listing = Listing::of(&ctx.request, "users")?;
    let account = &ctx.caller.user()?.account;
    let view = as_of::view(&ctx).await?;
    let page = listing.page(
        view.users(account, listing.after),
        |user| user.created.position,
        |user| shape(&ctx.app, user),
    );
    let shown = shown("user", &page.data);
    Ok(view.answer(&page, shown))
}

async fn one(ctx: Ctx) -> Answer {
    let account = &ctx.caller.user()?.account;
    let view = as_of::view(&ctx).await?;
    let user = view.user(account, ctx.id()).filter(|user| !user.state.removed);
    let user = user.ok_or_else(not_found)?;
    let response = view.answer(&shape(&ctx.app, user), [("user", ctx.id().to_owned())]);
    Ok(reply::tagged(response, &user.state.sequence.to_string()))
}

/// The body of a creation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    email: String,
    #[serde(default)]
    name: Option<String>,
    role: String,
}

async fn create(mut ctx: Ctx) -> Answer {
    let (body, change): (NewBody, _) = change::read(&mut ctx).await?;
    let user = NewUser {
        email: body.email,
        name: body.name,
        role: body.role,
    };
    let outcome = ctx
        .app
        .management()
        .add_user(&change.actor, &change.reason, user)
        .await?;
    change::settle(&ctx, &outcome).await;
    let response = now(&ctx, StatusCode::CREATED, &outcome.id)?;
    Ok(change::created(
        response,
        &format!("/v1/users/{}", outcome.id),
        &outcome,
    ))
}

/// The body of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    #[serde(default)]
    email: Option<String>,
    #[serde(default, deserialize_with = "change::present")]
    name: Option<Option<String>>,
    #[serde(default)]
    role: Option<String>,
}

async fn patch(mut ctx: Ctx) -> Answer {
    let (body, change): (PatchBody, _) = change::read(&mut ctx).await?;
    let patch = UserPatch {
        email: body.email,
        name: body.name,
        role: body.role,
    };
    let outcome = ctx
        .app
        .management()
        .patch_user(&change.actor, &change.reason, ctx.id(), change.if_match, patch)
        .await?;
    change::settle(&ctx, &outcome).await;
    now(&ctx, StatusCode::OK, &outcome.id)
}

async fn remove(mut ctx: Ctx) -> Answer {
    let (Nothing {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .remove_user(&change.actor, &change.reason, ctx.id(), change.if_match)
        .await?;
    // A session that stays behind is refused on use all the same: its user is gone.
    ctx.app
        .state()
        .end_sessions_of(ctx.id())
        .map_err(ApiError::internal)?;
    change::settle(&ctx, &outcome).await;
    Ok(reply::no_content())
}

fn now(ctx: &Ctx, status: StatusCode, id: &str) -> Answer {
    let registry = ctx.app.registry().read();
    let user = registry
        .user(&ctx.caller.user()?.account, id)
        .filter(|user| !user.state.removed)
        .ok_or_else(not_found)?;
    Ok(reply::tagged(
        reply::json(status, &shape(&ctx.app, user)),
        &user.state.sequence.to_string(),
    ))
}

/// A user as the API shows them.
pub fn shape(app: &App, user: &User) -> Value {
    let text = |field| app.text("user", &user.id, field);
    json!({
        "id": &*user.id,
        "email": text(user.state.email.as_ref()),
        "name": text(user.state.name.as_ref()),
        "role": user.state.role,
        "created_at": user.created.at,
        "changed_at": user.changed.at,
        "position": user.changed.position,
    })
}

fn not_found() -> ApiError {
    ApiError::not_found("user_not_found", "there is no such user in this account")
}
