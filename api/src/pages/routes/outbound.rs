//! The outbound log: looked at, and a message sent again.
//!
//! Invariant: sending again goes through the door that the API goes through (`crate::routes::outbound`).
//! Not here: the page (`super::super::outbound`).

use warp::http::StatusCode;

use super::super::gather::contacts;
use super::super::outbound::log;
use super::super::outbound::view::Filter;
use super::super::view::Notice;
use super::contacts::{refused_button, telling};
use super::forms::to;
use super::{Visit, html};
use crate::router::Answer;
use crate::routes::outbound;

pub async fn show(visit: Visit) -> Answer {
    with(&visit, None).await
}

async fn with(visit: &Visit, notice: Option<(StatusCode, Notice)>) -> Answer {
    let request = &visit.ctx.request;
    let text = |name: &str| {
        let text = request.query(name).map(std::borrow::Cow::into_owned);
        text.unwrap_or_default().trim().to_owned()
    };
    let filter = Filter {
        contact: text("contact"),
        outcome: text("type"),
        what: text("what"),
        since: text("since"),
        until: text("until"),
        error: None,
    };
    let before = request.query_as::<u64>("before", "a position")?;
    let telling = telling(&visit.ctx.app);
    let view = visit
        .ask(move |asker| contacts::outbound(asker, telling, filter, before))
        .await?;
    let (status, notice) = notice.map_or((StatusCode::OK, None), |(status, notice)| (status, Some(notice)));
    Ok(html(status, log::page(&visit.frame(notice).await?, &view)))
}

pub async fn redeliver(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let actor = visit.actor(&form, "");
    match outbound::again(&visit.ctx.app, &visit.user, &actor, visit.ctx.id()).await {
        Ok(_) => Ok(to("/app/outbound", "again")),
        Err(error) => with(&visit, Some(refused_button(error)?)).await,
    }
}
