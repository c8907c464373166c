//! Calibrations of channels and notes on readings. What was recorded stays as it is.
//!
//! Source: REFERENCE §1.4, §5. Not here: applying a calibration (`domain::calibration`).

use super::change;
use super::events::one_time;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use super::texts::Origin;
use crate::app::App;
use crate::errors::ApiError;
use crate::reply::{self, Page};
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::aggregate::channel::NewCalibration;
use domain::calibration::Calibrations;
use domain::event::{Correction, Event};
use domain::{Date, Position};
use projections::query::{TimelineFilter, TimelineItem};
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

/// Most entries of a channel's stream that are looked at for its calibrations.
const ENTRIES_MAX: usize = 1_000;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/channels/{id}/calibrations",
        access: Access::Read,
        handler: |ctx| Box::pin(calibrations(ctx)),
        doc: Some(Doc {
            summary: "How a channel's values were corrected, and are.",
            query: &[LIMIT, CURSOR],
            body: None,
            status: 200,
            answer: "CalibrationList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/channels/{id}/calibrations",
        access: Access::Own,
        handler: |ctx| Box::pin(calibrate(ctx)),
        doc: Some(Doc {
            summary: "Corrects a channel's values from some time on; without offset and two_point, no longer. What was \
                      set for later times gives way; at most 200 are in force (too_many_calibrations). Takes an \
                      owner or compliance.",
            query: &[],
            body: Some("NewCalibration"),
            status: 201,
            answer: "CalibrationList",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/channels/{id}/annotations",
        access: Access::Read,
        handler: |ctx| Box::pin(annotations(ctx)),
        doc: Some(Doc {
            summary: "Notes on a channel's readings.",
            query: &[LIMIT, CURSOR],
            body: None,
            status: 200,
            answer: "AnnotationList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/channels/{id}/annotations",
        access: Access::Own,
        handler: |ctx| Box::pin(annotate(ctx)),
        doc: Some(Doc {
            summary: "A note on a reading, which stays as it is. Takes an owner or compliance.",
            query: &[],
            body: Some("NewAnnotation"),
            status: 201,
            answer: "AnnotationList",
        }),
    },
];

fn has_channel(ctx: &Ctx) -> Result<(), ApiError> {
    let account = &ctx.caller.user()?.account;
    match ctx.app.registry().read().channel(account, ctx.id()) {
        Some(_) => Ok(()),
        None => Err(ApiError::not_found(
            "channel_not_found",
            "there is no such channel in this account",
        )),
    }
}

async fn calibrations(ctx: Ctx) -> Answer {
    has_channel(&ctx)?;
    let listing = Listing::short(&ctx.request, "calibrations")?;
    let items = ctx
        .app
        .calibrations(&ctx.caller.user()?.account, ctx.id())
        .await?;
    let data: Vec<Value> = items
        .iter()
        .filter_map(|item| calibration(&ctx.app, item))
        .collect();
    Ok(reply::ok(&listing.part(data)))
}

/// The body of a calibration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    #[serde(default)]
    offset: Option<f64>,
    #[serde(default)]
    two_point: Option<[[f64; 2]; 2]>,
    #[serde(default)]
    valid_from: Option<String>,
    #[serde(default)]
    due: Option<String>,
    #[serde(default)]
    certificate: Option<String>,
}

async fn calibrate(mut ctx: Ctx) -> Answer {
    let (body, change): (NewBody, _) = change::read(&mut ctx).await?;
    let correction = match (body.offset, body.two_point) {
        (Some(_), Some(_)) => {
            return Err(ApiError::rejected(
                "invalid_calibration",
                "give offset or two_point, not both",
            ));
        }
        (Some(offset), None) => Some(Correction::Offset(offset)),
        (None, points) => points.map(Correction::TwoPoint),
    };
    let due = match body.due.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(
            Date::parse(text)
                .map_err(|_| ApiError::malformed("bad_json", "'due' must be a day such as 2027-05-17"))?,
        ),
    };
    let new = NewCalibration {
        correction,
        valid_from: one_time("valid_from", body.valid_from.as_deref())?
            .unwrap_or_else(|| ctx.app.clock().now()),
        due,
        certificate: body.certificate,
    };
    let outcome = ctx
        .app
        .management()
        .calibrate(&change.actor, &change.reason, ctx.id(), change.if_match, new)
        .await?;
    change::settle(&ctx, &outcome).await;
    let items = ctx
        .app
        .calibrations(&ctx.caller.user()?.account, ctx.id())
        .await?;
    let newest = items
        .iter()
        .filter(|item| outcome.positions.contains(&item.position.get()))
        .filter_map(|item| calibration(&ctx.app, item));
    let response = reply::json(StatusCode::CREATED, &Page::whole(newest.collect::<Vec<Value>>()));
    Ok(change::created(
        response,
        &format!("/v1/channels/{}/calibrations", ctx.id()),
        &outcome,
    ))
}

impl App {
    /// A channel's calibrations, newest first.
    async fn calibrations(&self, account: &str, channel: &str) -> Result<Vec<TimelineItem>, ApiError> {
        let (account, channel) = (account.to_owned(), channel.to_owned());
        let mut items = self
            .ask(move |rows| {
                let filter = TimelineFilter {
                    subject: Some(&channel),
                    aggregate_type: Some("channel"),
                    before: None,
                };
                rows.timeline(&account, &filter, ENTRIES_MAX)
            })
            .await?;
        items.retain(|item| item.event_type == "CalibrationSet");
        Ok(items)
    }

    /// A channel's corrections as they were in force at an entry.
    ///
    /// # Errors
    /// 503 where the read models do not answer.
    pub async fn corrections_at(
        &self,
        account: &str,
        channel: &str,
        position: Position,
    ) -> Result<Calibrations, ApiError> {
        let mut corrections = Calibrations::default();
        for item in self.calibrations(account, channel).await?.iter().rev() {
            let payload = item.payload.as_deref().unwrap_or("{}");
            let event = Event::read(&item.event_type, payload.as_bytes());
            if let (Ok(Event::CalibrationSet(set)), true) = (event, item.position <= position) {
                corrections.set(set.valid_from, set.correction.new);
            }
        }
        Ok(corrections)
    }
}

fn opened(app: &App, item: &TimelineItem) -> Value {
    let payload = item.payload.as_deref().unwrap_or("{}");
    let at = Origin {
        aggregate_type: &item.aggregate_type,
        aggregate_id: &item.aggregate_id,
        sequence: item.sequence,
        salt: &item.salt,
    };
    app.opened(at, serde_json::from_str(payload).unwrap_or_default())
}

fn calibration(app: &App, item: &TimelineItem) -> Option<Value> {
    let payload = opened(app, item);
    Some(json!({
        "position": item.position,
        "recorded_at": item.recorded_at,
        "actor": item.actor,
        "correction": payload["correction"]["new"],
        "valid_from": payload.get("valid_from")?,
        "due": payload["due"],
        "certificate": payload["certificate"],
    }))
}

async fn annotations(ctx: Ctx) -> Answer {
    has_channel(&ctx)?;
    let listing = Listing::of(&ctx.request, "annotations")?;
    let (account, channel) = (ctx.caller.user()?.account.clone(), ctx.id().to_owned());
    let mut items = ctx
        .app
        .ask(move |rows| {
            let filter = TimelineFilter {
                subject: Some(&channel),
                aggregate_type: Some("annotations"),
                before: listing.after,
            };
            rows.timeline(&account, &filter, listing.limit() + 1)
        })
        .await?;
    let has_more = items.len() > listing.limit();
    items.truncate(listing.limit());
    let next_cursor = items
        .last()
        .filter(|_| has_more)
        .map(|last| listing.cursor(last.position));
    Ok(reply::ok(&Page {
        data: items.iter().map(|item| annotation(&ctx.app, item)).collect(),
        next_cursor,
        has_more,
    }))
}

/// A note as the API shows it.
pub fn annotation(app: &App, item: &TimelineItem) -> Value {
    let payload = opened(app, item);
    json!({
        "channel_id": payload["channel"],
        "ts": payload["measured_at"],
        "note": payload["note"],
        "by": item.actor,
        "at": item.recorded_at,
        "position": item.position,
        "reading": payload["reading"],
    })
}

/// The body of a note.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteBody {
    ts: String,
    note: String,
}

async fn annotate(mut ctx: Ctx) -> Answer {
    let (body, change): (NoteBody, _) = change::read(&mut ctx).await?;
    has_channel(&ctx)?;
    let ts = one_time("ts", Some(&body.ts))?
        .ok_or_else(|| ApiError::malformed("bad_json", "'ts' must be a time"))?;
    let (account, channel) = (ctx.caller.user()?.account.clone(), ctx.id().to_owned());
    let (asker, id) = (account.clone(), channel.clone());
    ctx.app.settled(ctx.app.log().size().get()).await;
    let found = ctx
        .app
        .ask(move |rows| rows.values(&asker, &id, ts, ts.plus_micros(1), 1))
        .await?;
    let reading = found
        .first()
        .map(|value| value.position)
        .ok_or_else(|| ApiError::not_found("reading_not_found", "this channel has no value at that time"))?;
    let outcome = ctx
        .app
        .management()
        .annotate(&change.actor, &change.reason, &channel, ts, reading, body.note)
        .await?;
    change::settle(&ctx, &outcome).await;
    let id = channel.clone();
    let items = ctx
        .app
        .ask(move |rows| {
            let filter = TimelineFilter {
                subject: Some(&id),
                aggregate_type: Some("annotations"),
                before: None,
            };
            rows.timeline(&account, &filter, ENTRIES_MAX)
        })
        .await?;
    let made: Vec<Value> = items
        .iter()
        .filter(|item| outcome.positions.contains(&item.position.get()))
        .map(|item| annotation(&ctx.app, item))
        .collect();
    let response = reply::json(StatusCode::CREATED, &Page::whole(made));
    Ok(change::created(
        response,
        &format!("/v1/channels/{channel}/annotations"),
        &outcome,
    ))
}
