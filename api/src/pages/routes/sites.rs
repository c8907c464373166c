//! Sites: added and changed.
//!
//! Not here: pages (`show`).

use commands::handlers::Outcome;

use super::super::site::{self as site_page, form::Typed};
use super::forms::{Form, refused, to};
use super::{Visit, html, show};
use crate::errors::ApiError;
use crate::router::Answer;

pub async fn add_site(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let made = make_site(&visit, &form, form.get("name")).await;
    match made.map_err(refused) {
        Ok(outcome) => Ok(to(&format!("/app/sites/{}", outcome.id), "added")),
        Err(refused) => {
            let (status, notice) = refused?;
            let frame = visit.frame(None).await?;
            Ok(html(
                status,
                site_page::new_page(&frame, form.get("name"), Some(&notice.text)),
            ))
        }
    }
}

pub(super) async fn make_site(visit: &Visit, form: &Form, name: &str) -> Result<Outcome, ApiError> {
    let made = visit
        .ctx
        .app
        .management()
        .create_site(
            &visit.actor(form, "site"),
            &form.reason(),
            name,
            form.get("vertical"),
            form.get("timezone"),
            form.some("address").as_deref(),
        )
        .await;
    visit.settled(made).await
}

pub async fn change_site(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let typed = Typed::read(form.fields());
    let id = visit.ctx.id().to_owned();
    match changed(&visit, &form, &id, &typed).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/sites/{id}"), "saved")),
        Err(refused) => show::site_with(&visit, Some((refused?, typed))).await,
    }
}

async fn changed(visit: &Visit, form: &Form, id: &str, typed: &Typed) -> Result<Outcome, ApiError> {
    let (actor, patch) = (visit.actor(form, ""), typed.patch()?);
    let management = visit.ctx.app.management();
    let made = management
        .patch_site(&actor, &form.reason(), id, form.if_match(), patch)
        .await;
    visit.settled(made).await
}
