//! Devices: what they are called, where they stand, their tokens.
//!
//! Source: REFERENCE §1.3. Not here: their sensors (`sensors`), what may be changed (`domain::aggregate::device`).

use super::as_of::{self, View};
use super::change;
use super::life::Lives;
use super::lists::Listing;
use super::sites::{AS_OF, CURSOR, LIMIT};
use crate::app::App;
use crate::errors::ApiError;
use crate::reply::{self, Response};
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use domain::Timestamp;
use domain::aggregate::device::{DevicePatch, NewDevice};
use domain::event::TokenKind;
use domain::registry::Device;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

const fn doc(
    summary: &'static str,
    body: Option<&'static str>,
    status: u16,
    answer: &'static str,
) -> Option<Doc> {
    Some(Doc {
        summary,
        query: &[],
        body,
        status,
        answer,
    })
}

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/devices",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "The devices of a site, or of the account.",
            query: &[
                Param::text(
                    "site_id",
                    "Only of this site; required unless `account_id` is given.",
                ),
                Param::text("account_id", "All of this account, which must be yours."),
                Param::flag("online", "Only those that report (true) or do not (false)."),
                Param::text("model", "Only models that contain this."),
                LIMIT,
                CURSOR,
                AS_OF,
            ],
            body: None,
            status: 200,
            answer: "DeviceList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/devices",
        access: Access::Write,
        handler: |ctx| Box::pin(create(ctx)),
        doc: doc(
            "A new device with its token, which is shown once.",
            Some("NewDevice"),
            201,
            "DeviceCreated",
        ),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/devices/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "A device.",
            query: &[AS_OF],
            body: None,
            status: 200,
            answer: "Device",
        }),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/devices/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(patch(ctx)),
        doc: doc(
            "Changes what is given; a site is changed by moving.",
            Some("DevicePatch"),
            200,
            "Device",
        ),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/devices/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(remove(ctx)),
        doc: doc(
            "Takes it out of service and revokes its token; what it measured stays.",
            None,
            204,
            "Nothing",
        ),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/devices/{id}/move",
        access: Access::Write,
        handler: |ctx| Box::pin(relocate(ctx)),
        doc: doc(
            "Moves it to another site from a time on; what it measured before stays there.",
            Some("Move"),
            200,
            "Device",
        ),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/devices/{id}/rotate-token",
        access: Access::Write,
        handler: |ctx| Box::pin(rotate(ctx)),
        doc: doc(
            "A new token, shown once; the old one ends at once or after `overlap_s`.",
            Some("Rotate"),
            200,
            "DeviceCreated",
        ),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let request = &ctx.request;
    let site = request.given("site_id");
    match (&site, request.given("account_id")) {
        (_, Some(account)) if *account != *user.account => {
            return Err(ApiError::not_found(
                "account_not_found",
                "there is no such account",
            ));
        }
        (None, None) => {
            return Err(ApiError::malformed(
                "bad_query",
                "'site_id' is missing (or 'account_id', for all of them)",
            ));
        }
        _ => {}
    }
    let online = request.query_as::<bool>("online", "true or false")?;
    let model = request.given("model").map(|model| model.to_lowercase());
    let listing = Listing::of(request, "devices")?;
    if online.is_some() && as_of::is_asked(request) {
        return Err(ApiError::malformed(
            "bad_query",
            "who was online then is not known: leave out 'online' or 'as_of'",
        ));
    }
    let lives = ctx.app.lives(&user.account, None).await?;
    let view = as_of::view(&ctx).await?;
    if let Some(site) = &site
        && view.site(&user.account, site).is_none()
    {
        return Err(ApiError::not_found(
            "site_not_found",
            "there is no such site in this account",
        ));
    }
    let now = view.at(ctx.app.clock().now());
    let devices = view
        .devices(&user.account, listing.after)
        .filter(|device| {
            site.as_ref()
                .is_none_or(|site| **site == *device.state.site_at(now))
        })
        .filter(|device| {
            model
                .as_ref()
                .is_none_or(|m| device.state.model.to_lowercase().contains(m))
        })
        .filter(|device| online.is_none_or(|online| lives.of(&device.id, now).online == online));
    let page = listing.page(
        devices,
        |device| device.created.position,
        |device| shape(&ctx.app, &view, device, &lives, now),
    );
    let shown = super::sites::shown("device", &page.data);
    Ok(view.answer(&page, shown))
}

async fn one(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let lives = ctx.app.life_of(&user.account, ctx.id()).await?;
    let view = as_of::view(&ctx).await?;
    let device = view
        .device(&user.account, ctx.id())
        .filter(|device| !device.state.removed)
        .ok_or_else(not_found)?;
    Ok(answer(&ctx, &view, StatusCode::OK, device, &lives))
}

/// The body of a creation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBody {
    site_id: String,
    local_id: String,
    name: String,
    model: String,
    #[serde(default)]
    dev_eui: Option<String>,
    #[serde(default)]
    serial: Option<String>,
    #[serde(default)]
    cadence_s: Option<u32>,
    #[serde(default)]
    notes: Option<String>,
}

impl From<NewBody> for NewDevice {
    fn from(body: NewBody) -> Self {
        Self {
            site: body.site_id,
            local_id: body.local_id,
            name: body.name,
            model: body.model,
            dev_eui: body.dev_eui,
            serial: body.serial,
            cadence_s: body.cadence_s,
            notes: body.notes,
        }
    }
}

async fn create(mut ctx: Ctx) -> Answer {
    let (body, change): (NewBody, _) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .create_device(&change.actor, &change.reason, body.into())
        .await?;
    change::settle(&ctx, &outcome).await;
    let mut value = made(&ctx, &outcome.id, outcome.recorded_at).await?;
    change::show_token(&mut value, "ingest_token", &outcome);
    let response = reply::tagged(
        reply::json(StatusCode::CREATED, &value),
        &outcome.sequence.to_string(),
    );
    Ok(change::created(
        response,
        &format!("/v1/devices/{}", outcome.id),
        &outcome,
    ))
}

/// What is answered where a token is shown: the device, where to send to, and since when.
///
/// # Errors
/// 404, 503.
pub async fn made(ctx: &Ctx, id: &str, issued_at: Option<Timestamp>) -> Result<Value, ApiError> {
    let lives = ctx.app.life_of(&ctx.caller.user()?.account, id).await?;
    let view = View::Live(ctx.app.registry().read());
    let device = view
        .device(&ctx.caller.user()?.account, id)
        .ok_or_else(not_found)?;
    let mut value = shape(&ctx.app, &view, device, &lives, ctx.app.clock().now());
    let path = match url_kind(device) {
        "shelly_get" => "/v1/ingest/shelly",
        "lorawan" => "/v1/ingest/lorawan",
        _ => "/v1/ingest",
    };
    value["ingest_url"] = format!("{}{path}", ctx.app.base_url(&ctx.request)).into();
    value["issued_at"] = json!(issued_at);
    Ok(value)
}

/// The body of a change. What cannot be changed is known, so that it can be refused in words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    local_id: Option<String>,
    #[serde(default, deserialize_with = "change::present")]
    notes: Option<Option<String>>,
    #[serde(default, deserialize_with = "change::present")]
    cadence_s: Option<Option<u32>>,
    #[serde(default, deserialize_with = "change::present")]
    dev_eui: Option<Option<String>>,
    #[serde(default, deserialize_with = "change::present")]
    serial: Option<Option<String>>,
    #[serde(default)]
    site_id: Option<String>,
    #[serde(default)]
    model: Option<String>,
}

async fn patch(mut ctx: Ctx) -> Answer {
    let (body, change): (PatchBody, _) = change::read(&mut ctx).await?;
    let patch = DevicePatch {
        name: body.name,
        local_id: body.local_id,
        notes: body.notes,
        cadence_s: body.cadence_s,
        dev_eui: body.dev_eui,
        serial: body.serial,
        site_id: body.site_id,
        model: body.model,
    };
    let outcome = ctx
        .app
        .management()
        .patch_device(&change.actor, &change.reason, ctx.id(), change.if_match, patch)
        .await?;
    change::settle(&ctx, &outcome).await;
    now(&ctx, &outcome.id).await
}

async fn remove(mut ctx: Ctx) -> Answer {
    let (Nothing {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .remove_device(&change.actor, &change.reason, ctx.id(), change.if_match)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(reply::no_content())
}

/// An empty body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveBody {
    to_site_id: String,
    #[serde(default)]
    effective_at: Option<Timestamp>,
}

async fn relocate(mut ctx: Ctx) -> Answer {
    let (body, change): (MoveBody, _) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .move_device(
            &change.actor,
            &change.reason,
            ctx.id(),
            change.if_match,
            &body.to_site_id,
            body.effective_at,
        )
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(change::repeated(now(&ctx, &outcome.id).await?, &outcome))
}

/// The body of a rotation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// Seconds for which the old token stays good beside the new one.
    #[serde(default)]
    pub overlap_s: u32,
}

async fn rotate(mut ctx: Ctx) -> Answer {
    let (body, change): (RotateBody, _) = change::read(&mut ctx).await?;
    change.still(sequence(&ctx)?)?;
    let outcome = ctx
        .app
        .management()
        .rotate_device_token(&change.actor, &change.reason, ctx.id(), body.overlap_s)
        .await?;
    change::settle(&ctx, &outcome).await;
    let mut value = made(&ctx, ctx.id(), outcome.recorded_at).await?;
    change::show_token(&mut value, "ingest_token", &outcome);
    Ok(change::repeated(reply::ok(&value), &outcome))
}

/// The sequence of the device in the path: its entity tag. Whether it is there is the handler's to say.
pub fn sequence(ctx: &Ctx) -> Result<Option<u64>, ApiError> {
    let registry = ctx.app.registry().read();
    let device = registry.device(&ctx.caller.user()?.account, ctx.id());
    Ok(device.map(|device| device.state.sequence))
}

/// A device as it is now.
async fn now(ctx: &Ctx, id: &str) -> Answer {
    let lives = ctx.app.life_of(&ctx.caller.user()?.account, id).await?;
    let view = View::Live(ctx.app.registry().read());
    let device = view
        .device(&ctx.caller.user()?.account, id)
        .ok_or_else(not_found)?;
    Ok(answer(ctx, &view, StatusCode::OK, device, &lives))
}

fn answer(ctx: &Ctx, view: &View<'_>, status: StatusCode, device: &Device, lives: &Lives) -> Response {
    let value = shape(&ctx.app, view, device, lives, view.at(ctx.app.clock().now()));
    let response = if view.is_past() {
        view.answer(&value, [("device", device.id.to_string())])
    } else {
        reply::json(status, &value)
    };
    reply::tagged(response, &device.state.sequence.to_string())
}

/// A device as the API shows it. What is only known now (last seen) is null in the past.
pub fn shape(app: &App, view: &View<'_>, device: &Device, lives: &Lives, now: Timestamp) -> Value {
    let state = &device.state;
    let text = |field| app.text("device", &device.id, field);
    let life = (!view.is_past()).then(|| lives.of(&device.id, now));
    let token = (!view.is_past())
        .then(|| {
            view.tokens(&device.id)
                .filter(|token| token.kind == TokenKind::Device && !token.revoked)
                .last()
                .map(|token| token.issued.at)
        })
        .flatten();
    json!({
        "id": &*device.id,
        "site_id": state.site_at(now),
        "local_id": state.local_id,
        "name": text(state.name.as_ref()),
        "model": state.model,
        "dev_eui": state.dev_eui,
        "serial": state.serial,
        "cadence_s": state.cadence_s,
        "notes": text(state.notes.as_ref()),
        "fw_version": Value::Null,
        "ingest_url_kind": url_kind(device),
        "last_seen_at": life.as_ref().and_then(|life| life.last_seen_at),
        "online": life.as_ref().map(|life| life.online),
        "token_issued_at": token,
        "created_at": device.created.at,
        "changed_at": device.changed.at,
        "position": device.changed.position,
    })
}

/// Which kind of URL a device reports to; one with a DevEUI speaks through a network server, whatever its model.
fn url_kind(device: &Device) -> &'static str {
    let model = device.state.model.to_lowercase();
    if device.state.dev_eui.is_some() {
        "lorawan"
    } else if model.contains("shelly") {
        "shelly_get"
    } else if ["lora", "ttn", "milesight", "dragino", "decentlab", "elsys"]
        .iter()
        .any(|name| model.contains(name))
    {
        "lorawan"
    } else {
        "json_post"
    }
}

/// The refusal for a device that is not there, or in another account.
pub fn not_found() -> ApiError {
    ApiError::not_found("device_not_found", "there is no such device in this account")
}
