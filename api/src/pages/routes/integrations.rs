//! Integrations: made, given another token, removed.
//!
//! Not here: pages (`show`).

use super::forms::{fresh, refused, to};
use super::{Visit, show};
use crate::router::Answer;

const OPENS_INTEGRATION: &str = "ingest for every device of the account";

pub async fn add_integration(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let management = visit.ctx.app.management();
    let (actor, reason) = (visit.actor(&form, ""), form.reason());
    let made = management
        .create_integration(&actor, &reason, form.get("kind"), form.get("name"))
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(outcome) => {
            let token = fresh(&outcome, OPENS_INTEGRATION);
            match form.some("device") {
                Some(device) => show::onboarding_with(&visit, &device, None, token).await,
                None => show::integrations_with(&visit, token.map(|token| (outcome.id, token)), None).await,
            }
        }
        Err(refused) => show::integrations_with(&visit, None, Some(refused?)).await,
    }
}

pub async fn rotate_integration_token(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .rotate_integration_token(&visit.actor(&form, ""), &form.reason(), &id, 0)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(outcome) => {
            let token = fresh(&outcome, OPENS_INTEGRATION);
            show::integrations_with(&visit, token.map(|token| (id, token)), None).await
        }
        Err(refused) => show::integrations_with(&visit, None, Some(refused?)).await,
    }
}

pub async fn remove_integration(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let management = visit.ctx.app.management();
    let made = management
        .remove_integration(&visit.actor(&form, ""), &form.reason(), visit.ctx.id(), None)
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to("/app/integrations", "revoked")),
        Err(refused) => show::integrations_with(&visit, None, Some(refused?)).await,
    }
}
