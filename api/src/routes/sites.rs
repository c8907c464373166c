//! Sites: where devices stand.
//!
//! Source: REFERENCE §1.7 and §2. Not here: what may be changed (`domain::aggregate::site`), pages.

use super::as_of;
use super::change;
use super::lists::{LIMIT_MAX, Listing};
use crate::app::App;
use crate::errors::ApiError;
use crate::reply::{self, Response};
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use domain::aggregate::site::SitePatch;
use domain::event::contact::OpeningHours;
use domain::registry::Site;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

/// A query parameter that several routes share.
pub const AS_OF: Param = Param::text(
    "as_of",
    "As it was configured then: a position, or a time (RFC 3339).",
);
/// A query parameter that every list has.
pub const LIMIT: Param = Param::number(
    "limit",
    1,
    LIMIT_MAX as u64,
    "At most so many, up to 1000; 100 by default.",
);
/// A query parameter that every list has.
pub const CURSOR: Param = Param::text(
    "cursor",
    "Where the list goes on: `next_cursor` of the answer before.",
);

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/sites",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "The account's sites.",
            query: &[LIMIT, CURSOR, AS_OF],
            body: None,
            status: 200,
            answer: "SiteList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/sites",
        access: Access::Write,
        handler: |ctx| Box::pin(create(ctx)),
        doc: Some(Doc {
            summary: "A new site.",
            query: &[],
            body: Some("NewSite"),
            status: 201,
            answer: "Site",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/sites/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "A site.",
            query: &[AS_OF],
            body: None,
            status: 200,
            answer: "Site",
        }),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/sites/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(patch(ctx)),
        doc: Some(Doc {
            summary: "Changes what is given; `If-Match` holds the ETag it is based on.",
            query: &[],
            body: Some("SitePatch"),
            status: 200,
            answer: "Site",
        }),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let listing = Listing::of(&ctx.request, "sites")?;
    let view = as_of::view(&ctx).await?;
    let page = listing.page(
        view.sites(&user.account, listing.after),
        |site| site.created.position,
        |site| shape(&ctx.app, site),
    );
    let shown = shown("site", &page.data);
    Ok(view.answer(&page, shown))
}

async fn one(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let view = as_of::view(&ctx).await?;
    let site = view.site(&user.account, ctx.id()).ok_or_else(not_found)?;
    let response = view.answer(&shape(&ctx.app, site), [("site", ctx.id().to_owned())]);
    Ok(reply::tagged(response, &site.state.sequence.to_string()))
}

/// The body of a creation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSite {
    name: String,
    vertical: String,
    #[serde(default = "utc")]
    timezone: String,
    #[serde(default)]
    address: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

async fn create(mut ctx: Ctx) -> Answer {
    let (body, change): (NewSite, _) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .create_site(
            &change.actor,
            &change.reason,
            &body.name,
            &body.vertical,
            &body.timezone,
            body.address.as_deref(),
        )
        .await?;
    change::settle(&ctx, &outcome).await;
    let response = now(&ctx, StatusCode::CREATED, &outcome.id)?;
    Ok(change::created(
        response,
        &format!("/v1/sites/{}", outcome.id),
        &outcome,
    ))
}

/// The body of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    vertical: Option<String>,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default, deserialize_with = "change::present")]
    address: Option<Option<String>>,
    #[serde(default, deserialize_with = "change::present")]
    opening_hours: Option<Option<Vec<OpeningHours>>>,
}

async fn patch(mut ctx: Ctx) -> Answer {
    let (body, change): (Patch, _) = change::read(&mut ctx).await?;
    let patch = SitePatch {
        name: body.name,
        vertical: body.vertical,
        timezone: body.timezone,
        address: body.address,
        opening_hours: body.opening_hours.map(Option::unwrap_or_default),
    };
    let outcome = ctx
        .app
        .management()
        .patch_site(&change.actor, &change.reason, ctx.id(), change.if_match, patch)
        .await?;
    change::settle(&ctx, &outcome).await;
    now(&ctx, StatusCode::OK, &outcome.id)
}

/// A site as it is now.
fn now(ctx: &Ctx, status: StatusCode, id: &str) -> Answer {
    let registry = ctx.app.registry().read();
    let site = registry
        .site(&ctx.caller.user()?.account, id)
        .ok_or_else(not_found)?;
    Ok(answer(&ctx.app, status, site))
}

fn answer(app: &App, status: StatusCode, site: &Site) -> Response {
    reply::tagged(
        reply::json(status, &shape(app, site)),
        &site.state.sequence.to_string(),
    )
}

/// A site as the API shows it.
pub fn shape(app: &App, site: &Site) -> Value {
    let text = |field| app.text("site", &site.id, field);
    json!({
        "id": &*site.id,
        "name": text(site.state.name.as_ref()),
        "vertical": site.state.vertical.map(|vertical| vertical.as_str()),
        "timezone": site.state.timezone,
        "address": text(site.state.address.as_ref()),
        "opening_hours": site.state.opening_hours,
        "created_at": site.created.at,
        "changed_at": site.changed.at,
        "position": site.changed.position,
    })
}

/// The streams of what a page shows.
pub fn shown(kind: &'static str, data: &[Value]) -> Vec<(&'static str, String)> {
    let ids = data.iter().filter_map(|thing| thing["id"].as_str());
    ids.map(|id| (kind, id.to_owned())).collect()
}

/// There is no such site, or it is another account's.
pub fn not_found() -> ApiError {
    ApiError::not_found("site_not_found", "there is no such site in this account")
}
