//! Evidence packs: asked for.
//!
//! Not here: making them (`crate::evidence`).

use chain_publisher::pack::Subject;

use super::super::gather::Typed;
use super::{Visit, show};
use crate::reply;
use crate::router::Answer;
use crate::routes::evidence::{Asked, Of, take_on};

pub async fn ask_for_evidence(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let typed = Typed {
        subject: form.some("subject"),
        from: form.some("from"),
        to: form.some("to"),
        recipients: form.get("recipients").to_owned(),
        error: None,
    };
    let subject = match form.get("subject").split_once(':') {
        Some(("site", id)) => Subject::Site(id.to_owned()),
        Some(("channel", id)) => Subject::Channel(id.to_owned()),
        Some((_, id)) => Subject::Device(id.to_owned()),
        None => Subject::Device(String::new()),
    };
    let asked = Asked {
        of: Of::Subject(subject),
        from: Some(form.get("from").to_owned()),
        to: Some(form.get("to").to_owned()),
        recipients: form.get("recipients").lines().map(str::to_owned).collect(),
    };
    let actor = visit.actor(&form, "");
    match take_on(&visit.ctx.app, &visit.user, actor, form.reason(), asked).await {
        Ok(_) => Ok(reply::see_other("/app/evidence")),
        Err(error) if error.status.is_client_error() => {
            let typed = Typed {
                error: Some(format!("Not asked for: {}.", error.message.trim_end_matches('.'))),
                ..typed
            };
            show::evidence_with(&visit, typed, error.status).await
        }
        Err(error) => Err(error),
    }
}
