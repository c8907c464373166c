//! The account, as those in it see it.
//!
//! Not here: opening and suspending accounts (the command line, later the operator's pages).

use super::as_of;
use super::change;
use super::sites::AS_OF;
use crate::app::App;
use crate::auth::By;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::aggregate::account::AccountCommand;
use domain::registry::Account;
use serde::Deserialize;
use serde_json::{Value, json};

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/account",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "Your account, and who you are in it.",
            query: &[AS_OF],
            body: None,
            status: 200,
            answer: "Account",
        }),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/account",
        access: Access::Write,
        handler: |ctx| Box::pin(patch(ctx)),
        doc: Some(Doc {
            summary: "Renames the account.",
            query: &[],
            body: Some("AccountPatch"),
            status: 200,
            answer: "Account",
        }),
    },
];

async fn one(ctx: Ctx) -> Answer {
    if !as_of::is_asked(&ctx.request) {
        return now(&ctx);
    }
    let id = &ctx.caller.user()?.account;
    let view = as_of::view(&ctx).await?;
    let account = view.account(id).ok_or_else(not_found)?;
    let response = view.answer(&shape(&ctx.app, account), [("account", id.clone())]);
    Ok(reply::tagged(response, &account.state.sequence.to_string()))
}

/// The body of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    name: String,
}

async fn patch(mut ctx: Ctx) -> Answer {
    let (body, change): (PatchBody, _) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .change_account(
            &change.actor,
            &change.reason,
            change.if_match,
            AccountCommand::Rename { name: body.name },
        )
        .await?;
    change::settle(&ctx, &outcome).await;
    now(&ctx)
}

fn now(ctx: &Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let registry = ctx.app.registry().read();
    let account = registry.account(&user.account).ok_or_else(not_found)?;
    let mut value = shape(&ctx.app, account);
    let csrf = match &user.by {
        By::Session { csrf } => Some(csrf.as_str()),
        By::Token(_) => None,
    };
    value["you"] = json!({
        "csrf": csrf,
        "id": user.user,
        "role": user.role,
        "ledger_auditor": ctx.app.is_ledger_auditor(user),
    });
    Ok(reply::tagged(
        reply::ok(&value),
        &account.state.sequence.to_string(),
    ))
}

/// An account as the API shows it.
pub fn shape(app: &App, account: &Account) -> Value {
    json!({
        "id": &*account.id,
        "name": app.text("account", &account.id, account.state.name.as_ref()),
        "suspended": account.state.suspended,
        "origin": app.origin(),
        "created_at": account.created.at,
        "changed_at": account.changed.at,
        "position": account.changed.position,
    })
}

fn not_found() -> ApiError {
    ApiError::not_found("account_not_found", "there is no such account")
}
