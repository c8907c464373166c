//! Signing in: a link is asked for, and used once.
//!
//! Invariants: whether an address is known is not told; a link is made only where it can be delivered (without
//! mail, `daybook sign-in` makes and prints one); using it takes a second click, because mail scanners follow
//! links.
//! Not here: what a session is stored as (`state`), the page that asks (`pages`).

use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use serde::Deserialize;
use serde_json::json;
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Post,
    path: "/v1/sign-in",
    access: Access::Public,
    handler: |ctx| Box::pin(ask(ctx)),
    doc: Some(Doc {
        summary: "Asks for a sign-in link. The answer is the same whether the address is known or not.",
        query: &[],
        body: Some("SignIn"),
        status: 202,
        answer: "SignInAsked",
    }),
}];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    email: String,
}

async fn ask(mut ctx: Ctx) -> Answer {
    ctx.app.limits().sign_in(ctx.request.peer.ip)?;
    let (body, _): (Body, _) = ctx.request.json(ctx.app.settings().body_bytes_max).await?;
    ctx.app.sign_in_asked(&body.email)?;
    Ok(reply::json(
        StatusCode::ACCEPTED,
        &json!({"delivery": "operator", "message": "whoever runs this service can print a link with: daybook sign-in"}),
    ))
}

impl App {
    /// Somebody asked for a sign-in link.
    ///
    /// # Errors
    /// 422 for what is no address.
    pub fn sign_in_asked(&self, email: &str) -> Result<(), ApiError> {
        self.management().email_index(email)?;
        tracing::info!("a sign-in link was asked for; there is no mail: `daybook sign-in EMAIL` prints one");
        Ok(())
    }

    /// Makes a sign-in link for a person.
    ///
    /// # Errors
    /// 404 `user_not_found` where nobody with that address may sign in; 503.
    pub async fn sign_in_link(&self, email: &str) -> Result<String, ApiError> {
        let index = self.management().email_index(email)?;
        let found = {
            let registry = self.registry().read();
            registry
                .user_by_email(&index)
                .filter(|user| !user.state.removed)
                .map(|user| (user.account.to_string(), user.id.to_string()))
        };
        let (account, user) = found.ok_or_else(|| {
            ApiError::not_found("user_not_found", "nobody with that address may sign in here")
        })?;
        self.management().record_sign_in_link(&account, &user).await?;
        let secret = self
            .state()
            .issue_link(
                self.entropy(),
                self.clock().now(),
                &account,
                &user,
                self.settings().sign_in_minutes,
            )
            .map_err(ApiError::internal)?;
        Ok(format!("{}/sign-in?token={secret}", self.own_url()))
    }

    /// Uses a sign-in link up: the secret of a new session for the cookie.
    ///
    /// # Errors
    /// 401 `token_expired` for a link that is unknown, used or over.
    pub async fn sign_in(&self, secret: &str) -> Result<String, ApiError> {
        let now = self.clock().now();
        let used = self.state().use_link(now, secret).map_err(ApiError::internal)?;
        let (account, user) = used.ok_or_else(|| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "token_expired",
                "this link was used already, or is too old: ask for another one",
            )
        })?;
        self.management().record_sign_in(&account, &user).await?;
        let days = self.settings().session_days;
        let (cookie, _) = self
            .state()
            .begin_session(self.entropy(), now, &account, &user, days)
            .map_err(ApiError::internal)?;
        Ok(cookie)
    }
}
