//! People: invited and removed, their tokens, the account's name, and signing out.
//!
//! Not here: signing in (`public`).

use commands::handlers::NewUser;
use domain::aggregate::account::AccountCommand;
use warp::http::header;

use super::forms::{fresh, refused, to};
use super::{Visit, show};
use crate::errors::ApiError;
use crate::router::Answer;
use crate::{auth, reply};

const OPENS_API: &str = "the API, as you";

pub async fn sign_out(mut visit: Visit) -> Answer {
    visit.form().await?;
    let request = &visit.ctx.request;
    if let Some(cookie) = auth::cookie(request, auth::SESSION_COOKIE) {
        visit
            .ctx
            .app
            .state()
            .end_session(cookie)
            .map_err(ApiError::internal)?;
    }
    let response = reply::see_other("/sign-in");
    Ok(reply::with(
        response,
        header::SET_COOKIE,
        &auth::session_cookie(&visit.ctx.app, ""),
    ))
}

pub async fn invite(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let user = NewUser {
        email: form.get("email").to_owned(),
        name: form.some("name"),
        role: form.get("role").to_owned(),
    };
    let made = visit
        .ctx
        .app
        .management()
        .add_user(&visit.actor(&form, ""), &form.reason(), user)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to("/app/users", "invited")),
        Err(refused) => show::users_with(&visit, Some(refused?.1.text), None).await,
    }
}

pub async fn remove_user(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .remove_user(&visit.actor(&form, ""), &form.reason(), &id, None)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => {
            // A session that stays behind is refused on use all the same: its user is gone.
            visit
                .ctx
                .app
                .state()
                .end_sessions_of(&id)
                .map_err(ApiError::internal)?;
            Ok(to("/app/users", "saved"))
        }
        Err(refused) => show::users_with(&visit, None, Some(refused?)).await,
    }
}

pub async fn make_token(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let user = visit.user.user.clone();
    let made = visit
        .ctx
        .app
        .management()
        .issue_user_token(&visit.actor(&form, ""), &form.reason(), &user)
        .await;
    let outcome = visit.settled(made).await?;
    show::tokens_with(&visit, fresh(&outcome, OPENS_API)).await
}

pub async fn revoke_token(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let (user, token) = (visit.user.user.clone(), visit.ctx.id().to_owned());
    let own = visit
        .ctx
        .app
        .registry()
        .read()
        .token(&token)
        .is_some_and(|token| token.owner == user);
    if !own {
        return Err(ApiError::not_found("token_not_found", "you have no such token"));
    }
    let management = visit.ctx.app.management();
    let made = management
        .revoke_user_token(&visit.actor(&form, ""), &form.reason(), &user, &token)
        .await;
    visit.settled(made).await?;
    Ok(to("/app/tokens", "revoked"))
}

pub async fn rename_account(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let rename = AccountCommand::Rename {
        name: form.get("name").to_owned(),
    };
    let management = visit.ctx.app.management();
    let made = management
        .change_account(&visit.actor(&form, ""), &form.reason(), form.if_match(), rename)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to("/app/account", "saved")),
        Err(refused) => show::account_with(&visit, Some(refused?)).await,
    }
}
