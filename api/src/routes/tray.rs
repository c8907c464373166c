//! The tray: LoRaWAN devices that send and that nobody registered, and their adoption.
//!
//! Source: REFERENCE §1.2 (unassigned tray), FORMAT §2. Not here: parking (`commands::ingest`).

use super::change;
use super::devices::{self, NewBody};
use super::entries::read_error;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use domain::entry::Entry;
use domain::event::Event;
use domain::ports::EventLog;
use domain::registry::Tray;
use domain::{Position, aggregate::device::NewDevice};
use serde_json::{Value, json};
use std::sync::Arc;
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/tray",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "Unknown devices whose uplinks wait to be adopted.",
            query: &[LIMIT, CURSOR],
            body: None,
            status: 200,
            answer: "TrayList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/tray/{dev_eui}/adopt",
        access: Access::Write,
        handler: |ctx| Box::pin(adopt(ctx)),
        doc: Some(Doc {
            summary: "Makes a device of it; what it sent meanwhile becomes readings.",
            query: &[Param::text(
                "reason",
                "Why, in words; may also stand in the body.",
            )],
            body: Some("NewDevice"),
            status: 201,
            answer: "Adopted",
        }),
    },
];

/// What is known of an unknown device.
struct Waiting {
    dev_eui: String,
    created: Position,
    first_at: domain::Timestamp,
    last_at: domain::Timestamp,
    uplinks: usize,
    newest: Option<Position>,
}

impl Waiting {
    fn of(tray: &Tray) -> Self {
        Self {
            dev_eui: tray.dev_eui.to_string(),
            created: tray.created.position,
            first_at: tray.created.at,
            last_at: tray.changed.at,
            uplinks: tray.uplinks.len(),
            newest: tray.uplinks.last().copied(),
        }
    }
}

async fn list(ctx: Ctx) -> Answer {
    let listing = Listing::of(&ctx.request, "tray")?;
    let page = {
        let registry = ctx.app.registry().read();
        let account = &ctx.caller.user()?.account;
        listing.page(
            registry.trays(account, listing.after),
            |tray| tray.created.position,
            Waiting::of,
        )
    };
    let mut data = Vec::with_capacity(page.data.len());
    for waiting in page.data {
        data.push(shape(&ctx.app, waiting).await?);
    }
    Ok(reply::ok(&reply::Page {
        data,
        next_cursor: page.next_cursor,
        has_more: page.has_more,
    }))
}

async fn shape(app: &Arc<App>, waiting: Waiting) -> Result<Value, ApiError> {
    let mut last = Value::Null;
    if let Some(newest) = waiting.newest {
        let log: &dyn EventLog = app.log();
        let block = log.read_at(&[newest]).await.map_err(read_error)?;
        let uplink = block
            .get(0)
            .and_then(|(_, bytes)| Entry::read(bytes).ok())
            .and_then(|entry| Event::read(entry.event_type, entry.payload).ok());
        if let Some(Event::UplinkParked(uplink)) = uplink {
            last = json!({
                "at": uplink.at,
                "received_at": uplink.received_at,
                "f_port": uplink.f_port,
                "f_cnt": uplink.f_cnt,
                "decoded": uplink.decoded,
                "frame": uplink.frame,
            });
        }
    }
    Ok(json!({
        "dev_eui": waiting.dev_eui,
        "uplinks": waiting.uplinks,
        "first_seen_at": waiting.first_at,
        "last_seen_at": waiting.last_at,
        "last_uplink": last,
        "position": waiting.created,
    }))
}

async fn adopt(mut ctx: Ctx) -> Answer {
    let (body, change): (NewBody, _) = change::read(&mut ctx).await?;
    let dev_eui = ctx.id().to_uppercase();
    let mut device = NewDevice::from(body);
    if device
        .dev_eui
        .as_ref()
        .is_some_and(|given| !given.eq_ignore_ascii_case(&dev_eui))
    {
        return Err(ApiError::rejected(
            "dev_eui_differs",
            "the body names another DevEUI than the path",
        ));
    }
    device.dev_eui = Some(dev_eui);
    let adoption = ctx
        .app
        .management()
        .adopt(&change.actor, &change.reason, device)
        .await?;
    let outcome = &adoption.device;
    change::settle(&ctx, outcome).await;
    let mut value = devices::made(&ctx, &outcome.id, outcome.recorded_at).await?;
    change::show_token(&mut value, "ingest_token", outcome);
    value["adopted_uplinks"] = adoption.readings.into();
    value["parked_uplinks"] = adoption.left.into();
    let response = reply::tagged(
        reply::json(StatusCode::CREATED, &value),
        &outcome.sequence.to_string(),
    );
    Ok(change::created(
        response,
        &format!("/v1/devices/{}", outcome.id),
        outcome,
    ))
}
