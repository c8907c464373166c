//! Sensors, which are one with their channels: limits and latest value.
//!
//! A sensor's `state` is the reference's word for what the rules make of its channel; `channel_state` is ours. Where
//! no rule judges a channel, nobody has said that its values are *ok*, so nobody is told so: `state` is null.
//! Source: REFERENCE §1.4. Not here: what limits may be (`domain::aggregate::channel`), measurements.

use super::as_of::{self, View};
use super::change;
use super::derived;
use super::devices;
use super::life::Lives;
use super::lists::Listing;
use super::sites::{AS_OF, CURSOR, LIMIT};
use crate::app::App;
use crate::errors::ApiError;
use crate::judged::Judged;
use crate::reply::{self, Response};
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::aggregate::channel::{ChannelPatch, Limits};
use domain::registry::Channel;
use domain::rule::{ChannelState, Derivation};
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/devices/{id}/sensors",
        access: Access::Read,
        handler: |ctx| Box::pin(of_device(ctx)),
        doc: Some(Doc {
            summary: "A device's sensors with their channels, limits and latest values.",
            query: &[LIMIT, CURSOR, AS_OF],
            body: None,
            status: 200,
            answer: "SensorList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/devices/{id}/sensors",
        access: Access::Write,
        handler: |ctx| Box::pin(create(ctx)),
        doc: Some(Doc {
            summary: "A sensor before its first value, so that its limits hold from the start; with derivation, a \
                      channel whose values are made of other channels'.",
            query: &[],
            body: Some("NewSensor"),
            status: 201,
            answer: "Sensor",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/sensors/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "A sensor, by its own id or its channel's.",
            query: &[AS_OF],
            body: None,
            status: 200,
            answer: "Sensor",
        }),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/sensors/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(patch(ctx)),
        doc: Some(Doc {
            summary: "Changes limits, grace, label or unit; null takes a limit away.",
            query: &[],
            body: Some("SensorPatch"),
            status: 200,
            answer: "Sensor",
        }),
    },
];

async fn of_device(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let listing = Listing::short(&ctx.request, "sensors")?;
    let lives = ctx.app.life_of(&user.account, ctx.id()).await?;
    let view = as_of::view(&ctx).await?;
    let device = view
        .device(&user.account, ctx.id())
        .filter(|device| !device.state.removed)
        .ok_or_else(devices::not_found)?;
    let part = listing.part(view.channels(device).collect());
    let shown = part
        .data
        .iter()
        .map(|channel| ("channel", channel.id.to_string()));
    let shown: Vec<_> = shown.collect();
    let page = part.map(|channel| shape(&ctx.app, &view, channel, &lives));
    Ok(view.answer(&page, shown))
}

async fn one(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    // Then it may have been there, though it is not any more.
    let lives = if as_of::is_asked(&ctx.request) {
        Lives::default()
    } else {
        lives_of(&ctx, ctx.id()).await?
    };
    let view = as_of::view(&ctx).await?;
    let channel = find(&view, &user.account, ctx.id()).ok_or_else(not_found)?;
    Ok(answer(&ctx.app, &view, StatusCode::OK, channel, &lives))
}

/// The body of a creation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    ok_min: Option<f64>,
    #[serde(default)]
    ok_max: Option<f64>,
    #[serde(default)]
    grace_min: Option<u32>,
    #[serde(default)]
    derivation: Option<Derivation>,
}

async fn create(mut ctx: Ctx) -> Answer {
    let (body, change): (NewBody, _) = change::read(&mut ctx).await?;
    change.still(devices::sequence(&ctx)?)?;
    let given = body.ok_min.is_some() || body.ok_max.is_some() || body.grace_min.is_some();
    let limits = given.then_some(Limits {
        ok_min: body.ok_min,
        ok_max: body.ok_max,
        grace_min: body.grace_min,
    });
    let (management, label) = (ctx.app.management(), body.label.as_deref());
    let (actor, reason) = (&change.actor, &change.reason);
    let outcome = match (body.derivation, body.kind.as_deref()) {
        (Some(derivation), kind) => {
            derived::kind_fits(kind, derivation.function)?;
            management
                .create_derived(actor, reason, ctx.id(), derivation, label, limits)
                .await?
        }
        (None, Some(kind)) => {
            management
                .create_channel(actor, reason, ctx.id(), kind, label, limits)
                .await?
        }
        (None, None) => {
            return Err(ApiError::malformed(
                "bad_json",
                "'kind' must say what the sensor measures, or 'derivation' what its values are made of",
            ));
        }
    };
    change::settle(&ctx, &outcome).await;
    let response = now(&ctx, StatusCode::CREATED, &outcome.id).await?;
    Ok(change::created(
        response,
        &format!("/v1/sensors/{}", outcome.id),
        &outcome,
    ))
}

/// The body of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    #[serde(default, deserialize_with = "change::present")]
    ok_min: Option<Option<f64>>,
    #[serde(default, deserialize_with = "change::present")]
    ok_max: Option<Option<f64>>,
    #[serde(default, deserialize_with = "change::present")]
    grace_min: Option<Option<u32>>,
    #[serde(default, deserialize_with = "change::present")]
    label: Option<Option<String>>,
    #[serde(default)]
    unit: Option<String>,
}

async fn patch(mut ctx: Ctx) -> Answer {
    let (body, change): (PatchBody, _) = change::read(&mut ctx).await?;
    let patch = ChannelPatch {
        ok_min: body.ok_min,
        ok_max: body.ok_max,
        grace_min: body.grace_min,
        label: body.label,
        unit: body.unit,
    };
    let outcome = ctx
        .app
        .management()
        .patch_channel(&change.actor, &change.reason, ctx.id(), change.if_match, patch)
        .await?;
    change::settle(&ctx, &outcome).await;
    now(&ctx, StatusCode::OK, &outcome.id).await
}

async fn now(ctx: &Ctx, status: StatusCode, id: &str) -> Answer {
    let lives = lives_of(ctx, id).await?;
    let view = View::Live(ctx.app.registry().read());
    let channel = find(&view, &ctx.caller.user()?.account, id).ok_or_else(not_found)?;
    Ok(answer(&ctx.app, &view, status, channel, &lives))
}

/// The life of the device that a sensor or channel belongs to.
async fn lives_of(ctx: &Ctx, id: &str) -> Result<Lives, ApiError> {
    let account = &ctx.caller.user()?.account;
    let device = {
        let view = View::Live(ctx.app.registry().read());
        find(&view, account, id).map(|channel| channel.state.device.clone())
    };
    match device {
        Some(device) => ctx.app.life_of(account, &device).await,
        None => Err(not_found()),
    }
}

/// By the sensor's id or the channel's; of a device that is in service.
fn find<'v>(view: &'v View<'_>, account: &str, id: &str) -> Option<&'v Channel> {
    view.channel_by_sensor(account, id)
        .or_else(|| view.channel(account, id))
        .filter(|channel| {
            view.device(account, &channel.state.device)
                .is_some_and(|device| !device.state.removed)
        })
}

fn answer(app: &App, view: &View<'_>, status: StatusCode, channel: &Channel, lives: &Lives) -> Response {
    let value = shape(app, view, channel, lives);
    let response = if view.is_past() {
        view.answer(&value, [("channel", channel.id.to_string())])
    } else {
        reply::json(status, &value)
    };
    reply::tagged(response, &channel.state.sequence.to_string())
}

/// A sensor as the API shows it. What is only known now (the latest value) is null in the past.
pub fn shape(app: &App, view: &View<'_>, channel: &Channel, lives: &Lives) -> Value {
    let state = &channel.state;
    let latest = if view.is_past() {
        None
    } else {
        lives.latest(&state.device, &channel.id)
    };
    // Nothing is said of the past.
    let judged = match view.is_past() {
        true => Judged::default(),
        false => Judged::of(view, channel, lives.state(&channel.id), app.clock().now()),
    };
    let told = judged.state(latest.is_some()).filter(|_| !view.is_past());
    let limited = state.limits.ok_min.is_some() || state.limits.ok_max.is_some();
    json!({
        "id": state.sensor,
        "channel_id": &*channel.id,
        "device_id": state.device,
        "kind": state.kind,
        "label": app.text("channel", &channel.id, state.label.as_ref()),
        "unit": state.unit,
        "auxiliary": state.auxiliary,
        "ok_min": state.limits.ok_min,
        "ok_max": state.limits.ok_max,
        "grace_min": state.limits.grace_min,
        "rule_enabled": view.simple_rule(channel).is_some_and(|rule| rule.definition.enabled),
        "last_value": latest.map(|latest| latest.value),
        "last_raw": latest.map(|latest| latest.raw),
        "last_ts": latest.map(|latest| latest.at),
        "derivation": state.derivation,
        "outside_limits": latest.filter(|_| limited).map(|latest| state.limits.is_outside(latest.value)),
        "state": told.map(|state| word(state, judged.silenced)),
        "channel_state": told.map(ChannelState::as_str),
        "state_since": judged.since,
        "acknowledged": judged.acknowledged,
        "silenced": judged.silenced,
        "rules": view.rules_in_force(channel).len(),
        "created_at": channel.created.at,
        "changed_at": channel.changed.at,
        "position": channel.changed.position,
    })
}

/// The reference knows `ok`, `grace`, `alarm`, `silent` and `no_data`: an alarm that is recovering is still one, and
/// an alarm of which nobody is told is silent.
const fn word(state: ChannelState, silenced: bool) -> &'static str {
    match state {
        ChannelState::Alarm | ChannelState::Recovering if silenced => "silent",
        ChannelState::Recovering => ChannelState::Alarm.as_str(),
        other => other.as_str(),
    }
}

fn not_found() -> ApiError {
    ApiError::not_found("sensor_not_found", "there is no such sensor in this account")
}
