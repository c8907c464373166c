//! Sites: added and changed.
//!
//! Not here: pages (`show`).

use commands::handlers::Outcome;
use domain::aggregate::site::SitePatch;

use super::super::site as site_page;
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
    let patch = SitePatch {
        name: form.some("name"),
        vertical: form.some("vertical"),
        timezone: form.some("timezone"),
        address: Some(form.some("address")),
        ..SitePatch::default()
    };
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .patch_site(
            &visit.actor(&form, ""),
            &form.reason(),
            &id,
            form.if_match(),
            patch,
        )
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/sites/{id}"), "saved")),
        Err(refused) => show::site_with(&visit, Some(refused?)).await,
    }
}
