//! The timeline: who changed what, when and why, with the old value beside the new one.
//!
//! Invariants: newest first; an account sees its own entries; a token's hash is withheld; sealed texts are opened
//! for those who may read the account, and nobody else gets here.
//! Source: REFERENCE §5. Not here: the fold (`projections::timeline`), as it was then (`as_of`).

use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use super::texts::Origin;
use crate::app::App;
use crate::reply::{self, Page};
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use domain::ids::IdKind;
use projections::query::{TimelineFilter, TimelineItem};
use serde_json::{Value, json};

/// What a change can be about.
const SUBJECTS: &[IdKind] = &[
    IdKind::Site,
    IdKind::Device,
    IdKind::Sensor,
    IdKind::Channel,
    IdKind::Rule,
    IdKind::Alarm,
    IdKind::Silence,
    IdKind::Contact,
    IdKind::User,
    IdKind::Integration,
    IdKind::Artefact,
    IdKind::Pack,
    IdKind::Account,
    IdKind::Token,
];

/// The routes of this file.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/timeline",
    access: Access::Read,
    handler: |ctx| Box::pin(list(ctx)),
    doc: Some(Doc {
        summary: "Changes in the account, newest first.",
        query: &[
            Param::id(
                "subject",
                SUBJECTS,
                "Only what is about this site, device, channel, user, integration or account.",
            ),
            LIMIT,
            CURSOR,
        ],
        body: None,
        status: 200,
        answer: "Timeline",
    }),
}];

async fn list(ctx: Ctx) -> Answer {
    let listing = Listing::of(&ctx.request, "timeline")?;
    let account = ctx.caller.user()?.account.clone();
    let subject = ctx.request.given("subject").map(std::borrow::Cow::into_owned);
    let mut items = ctx
        .app
        .ask(move |rows| {
            let filter = TimelineFilter {
                subject: subject.as_deref(),
                aggregate_type: None,
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
        data: items.into_iter().map(|item| shape(&ctx.app, item)).collect(),
        next_cursor,
        has_more,
    }))
}

/// A change as the API shows it.
pub fn shape(app: &App, item: TimelineItem) -> Value {
    let at = Origin {
        aggregate_type: &item.aggregate_type,
        aggregate_id: &item.aggregate_id,
        sequence: item.sequence,
        salt: &item.salt,
    };
    let payload = item
        .payload
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .map(|payload| app.opened(at, payload));
    json!({
        "position": item.position,
        "recorded_at": item.recorded_at,
        "class": item.class,
        "aggregate_type": item.aggregate_type,
        "aggregate_id": item.aggregate_id,
        "sequence": item.sequence,
        "event_type": item.event_type,
        "actor": item.actor,
        "reason": item.reason.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()),
        "request_id": item.request_id,
        "payload": payload,
    })
}
