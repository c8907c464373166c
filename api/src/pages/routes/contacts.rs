//! Contacts: looked at, added, changed, tried, confirmed again, removed.
//!
//! Invariants: everything goes through the door that the API goes through (`crate::routes::contacts`, `outbound`); what
//! is refused is said on the page, with what was typed; a secret stands in the answer that made it.
//! Not here: what may be done (`commands::handlers`), the page (`super::super::contacts`).

use commands::handlers::{ContactOutcome, Outcome};
use domain::aggregate::contact::NewContact;
use domain::event::contact::ContactKind;
use warp::http::StatusCode;

use super::super::contacts::form::Typed;
use super::super::contacts::list;
use super::super::gather::contacts::{self, Left, Telling};
use super::super::parts;
use super::super::view::Notice;
use super::forms::{Form, refused, to};
use super::{Visit, html};
use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::Answer;
use crate::routes::change::settle;
use crate::routes::contacts::{add, invalid_kind};
use crate::routes::outbound;

/// Where they are.
const HERE: &str = "/app/contacts";

/// What the service is set to do.
pub(super) fn telling(app: &App) -> Telling {
    let settings = app.settings();
    Telling {
        has_mail: settings.mail.is_some(),
        has_bot: app.notify().bot().is_some(),
        challenge_days: settings.challenge_days,
    }
}

pub async fn show(visit: Visit) -> Answer {
    with(&visit, Left::default(), None).await
}

async fn with(visit: &Visit, left: Left, notice: Option<(StatusCode, Notice)>) -> Answer {
    let app = &visit.ctx.app;
    let (telling, key) = (telling(app), parts::idempotency_key(app.entropy()));
    let view = visit
        .ask(move |asker| contacts::contacts(asker, telling, left, key))
        .await?;
    let (status, notice) = notice.map_or((StatusCode::OK, None), |(status, notice)| (status, Some(notice)));
    Ok(html(status, list::page(&visit.frame(notice).await?, &view)))
}

pub async fn create(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let typed = Typed::read(form.fields());
    match made(&visit, &form, &typed).await {
        Ok(made) => match made.secret {
            Some(secret) => {
                let fresh = Some((made.outcome.id, secret.to_string()));
                let left = Left {
                    fresh,
                    ..Left::default()
                };
                with(&visit, left, None).await
            }
            None => Ok(to(HERE, "contact-added")),
        },
        Err(error) => {
            let (status, notice) = refused(error)?;
            let left = Left {
                new: Some(Typed {
                    error: Some(notice.text),
                    ..typed
                }),
                ..Left::default()
            };
            with(&visit, left, Some((status, nothing_saved()))).await
        }
    }
}

/// What stands at the top where a form further down says why.
fn nothing_saved() -> Notice {
    Notice {
        good: false,
        text: "Nothing was saved: the form below says why.".to_owned(),
    }
}

async fn made(visit: &Visit, form: &Form, typed: &Typed) -> Result<ContactOutcome, ApiError> {
    let kind = ContactKind::parse(&typed.kind).ok_or_else(invalid_kind)?;
    let mut preferences = typed.preferences()?;
    if kind == ContactKind::Webhook {
        // The form's fields of people are not shown for it.
        preferences.hours = None;
        preferences.daily_digest = false;
        preferences.challenge = false;
    } else {
        preferences.kinds.clear();
        preferences.reference_headers = false;
    }
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let address = some(&typed.address).filter(|_| kind != ContactKind::Telegram);
    let new = NewContact {
        kind,
        name: typed.name.clone(),
        address: address.map(|address| (address, String::new())),
        secret: None,
        user: some(&typed.person).filter(|_| kind != ContactKind::Webhook),
        preferences,
    };
    let made = add(&visit.ctx.app, &visit.actor(form, "contact"), &form.reason(), new).await?;
    settle(&visit.ctx, &made.outcome).await;
    Ok(made)
}

pub async fn change(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let typed = Typed::read(form.fields());
    match changed(&visit, &form, &id, &typed).await {
        Ok(_) => Ok(to(HERE, "saved")),
        Err(error) => {
            let (status, notice) = refused(error)?;
            let left = Left {
                changing: Some((
                    id,
                    Typed {
                        error: Some(notice.text),
                        ..typed
                    },
                )),
                ..Left::default()
            };
            with(&visit, left, Some((status, nothing_saved()))).await
        }
    }
}

async fn changed(visit: &Visit, form: &Form, id: &str, typed: &Typed) -> Result<Outcome, ApiError> {
    let preferences = typed.preferences()?;
    let management = visit.ctx.app.management();
    let (actor, reason) = (visit.actor(form, ""), form.reason());
    let made = management
        .change_contact(&actor, &reason, id, form.if_match(), preferences)
        .await;
    visit.settled(made).await
}

pub async fn remove(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .remove_contact(&visit.actor(&form, ""), &form.reason(), &id, None)
        .await;
    let done = visit.settled(made).await.map(|_| "contact-removed");
    said(&visit, done).await
}

pub async fn rotate_secret(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .rotate_webhook_secret(&visit.actor(&form, ""), &form.reason(), &id)
        .await;
    match made.map_err(ApiError::from) {
        Ok(made) => {
            settle(&visit.ctx, &made.outcome).await;
            let left = Left {
                fresh: made.secret.map(|secret| (id, secret.to_string())),
                ..Left::default()
            };
            with(&visit, left, None).await
        }
        Err(error) => said(&visit, Err(error)).await,
    }
}

pub async fn test(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let actor = visit.actor(&form, "");
    let tried = outbound::test(&visit.ctx.app, &visit.user, &actor, visit.ctx.id()).await;
    said_of(&visit, tried.map(|_| "tested")).await
}

pub async fn confirm(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let actor = visit.actor(&form, "");
    let asked = outbound::confirm(&visit.ctx.app, &visit.user, &actor, visit.ctx.id()).await;
    said_of(&visit, asked.map(|_| "asked")).await
}

/// As [`said`], on the contact's card.
async fn said_of(visit: &Visit, done: Result<&str, ApiError>) -> Answer {
    match done {
        Ok(done) => {
            // The contact was found, so its id is one.
            let card = format!("{HERE}?done={done}#{}", visit.ctx.id());
            Ok(reply::see_other(&card))
        }
        Err(error) => said(visit, Err(error)).await,
    }
}

/// What a button did; or why not, on the page it came from.
async fn said(visit: &Visit, done: Result<&str, ApiError>) -> Answer {
    match done {
        Ok(done) => Ok(to(HERE, done)),
        Err(error) => {
            let refused = refused_button(error)?;
            with(visit, Left::default(), Some(refused)).await
        }
    }
}

/// As a form's, but that nothing was to be saved; asked too often is said on the page as well.
pub(super) fn refused_button(error: ApiError) -> Result<(StatusCode, Notice), ApiError> {
    if error.status == StatusCode::TOO_MANY_REQUESTS {
        let text = format!("Not done: {}", error.message);
        return Ok((error.status, Notice { good: false, text }));
    }
    let (status, notice) = refused(error)?;
    let text = notice.text.replacen("Not saved:", "Not done:", 1);
    Ok((status, Notice { text, ..notice }))
}
