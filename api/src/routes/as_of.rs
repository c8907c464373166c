//! `?as_of=`: what was configured then, folded from the entries up to there; and a site with everything that held.
//!
//! Invariants: the same fold as the live registry's, over the account's own streams, so the answer is what was in
//! force and not what somebody remembers; readings do not enter. An answer about the past has a header and a member of
//! its own that say at which position it was decided and by which entries, so that nobody who asks about now sees
//! another answer than before.
//! Not here: the folds (`domain::registry`, `domain::in_force`), moments (`crate::as_of`).

use super::entries::read_error;
use crate::app::App;
use crate::as_of::{Decided, Moment, MomentError, Proofs, Show, configuration, each_entry, fold};
use crate::errors::ApiError;
use crate::reply::{self, Response};
use crate::request::Request;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use domain::Timestamp;
use domain::entry::Entry;
use domain::in_force::{Evidence, InForce};
use domain::registry::Registry;
use parking_lot::RwLockReadGuard;
use serde::Serialize;
use serde_json::{Value, json};
use std::ops::Deref;
use warp::http::{HeaderName, StatusCode};

/// The position at which an answer about the past was decided.
pub const AS_OF_HEADER: HeaderName = HeaderName::from_static("daybook-as-of");
/// What a look into the past costs beyond the request: everything that was ever configured is read and folded.
const FURTHER_REQUESTS: usize = 9;
/// Entries named in one answer.
const ENTRIES_MAX: usize = 1_000;

/// The routes of this file.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/sites/{id}/as-of",
    access: Access::Read,
    handler: |ctx| Box::pin(site(ctx)),
    doc: Some(Doc {
        summary: "Everything that was in force at a site at a moment, each with the entries that it follows from.",
        query: &[
            Param::text("at", "A position, or a time (RFC 3339). Now by default."),
            Param::flag(
                "proof",
                "true: with an inclusion proof of each entry under the latest checkpoint.",
            ),
        ],
        body: None,
        status: 200,
        answer: "SiteAsOf",
    }),
}];

async fn site(ctx: Ctx) -> Answer {
    let (app, user) = (&ctx.app, ctx.caller.user()?);
    let account = &user.account;
    app.limits().further_requests(&user.user, FURTHER_REQUESTS)?;
    let wants_proof = ctx
        .request
        .query_as::<bool>("proof", "true or false")?
        .unwrap_or(false);
    let at = ctx.request.given("at");
    let moment = match &at {
        Some(text) => Moment::parse(text).map_err(|error| moment_error("at", &error))?,
        None => Moment::Time(app.clock().now()),
    };
    let decided = decide(app, moment, "at").await?;
    let folded = fold(app.log(), app.sequencer().positions(), account, decided.size())
        .await
        .map_err(|error| moment_error("at", &error))?;
    let found = folded
        .at_site(ctx.id(), decided.at)
        .filter(|found| found.site.account.as_deref() == Some(&**account))
        .ok_or_else(super::sites::not_found)?;
    let signed = app.signed().filter(|_| wants_proof);
    if wants_proof && signed.is_none() {
        return Err(ApiError::unavailable("not_signed_yet", "no checkpoint was signed yet").retry_after(1));
    }
    let show = Show {
        origin: app.origin(),
        keys: Some(app.keys()),
        proofs: signed.as_ref().map(|(size, note)| Proofs {
            tiles: app.tiles(),
            size: *size,
            checkpoint: note,
        }),
    };
    let document = show
        .site(&decided, &folded, &found)
        .map_err(|error| moment_error("at", &error))?;
    let response = reply::ok(&document);
    Ok(reply::with(response, AS_OF_HEADER, &decided.position.to_string()))
}

/// The registry now, or as it was.
pub enum View<'a> {
    /// Now.
    Live(RwLockReadGuard<'a, Registry>),
    /// Then; only what the asker's account has is in it.
    Then(Box<Then>),
}

/// The past of one account.
pub struct Then {
    registry: Registry,
    evidence: InForce,
    asked: String,
    decided: Decided,
}

impl Deref for View<'_> {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        match self {
            Self::Live(registry) => registry,
            Self::Then(then) => &then.registry,
        }
    }
}

impl View<'_> {
    /// Whether this is the past, of which nothing is asked that is only known now.
    pub const fn is_past(&self) -> bool {
        matches!(self, Self::Then(_))
    }

    /// The time that the answer is about.
    pub const fn at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Live(_) => now,
            Self::Then(then) => then.decided.at,
        }
    }

    /// The answer with what it was decided by, where it is about the past; `streams` are those that it shows.
    pub fn answer(
        &self,
        answer: &impl Serialize,
        streams: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Response {
        let Self::Then(then) = self else {
            return reply::ok(answer);
        };
        let mut value = match serde_json::to_value(answer) {
            Ok(value) => value,
            Err(_) => return reply::json(StatusCode::OK, answer),
        };
        value["as_of"] = then.decided_by(streams);
        reply::with(
            reply::ok(&value),
            AS_OF_HEADER,
            &then.decided.position.to_string(),
        )
    }
}

impl Then {
    fn decided_by(&self, streams: impl IntoIterator<Item = (&'static str, String)>) -> Value {
        let mut entries = Vec::new();
        let mut add = |stream: String, of: &[Evidence]| {
            entries.extend(of.iter().map(|entry| {
                json!({
                    "stream": stream,
                    "position": entry.position,
                    "leaf_hash": entry.leaf_hash,
                    "event_type": entry.event_type,
                    "recorded_at": entry.recorded_at,
                    "proof": format!("/v1/proofs/inclusion?position={}&format=tlog-proof", entry.position),
                })
            }));
        };
        for (kind, id) in streams {
            let stream = format!("{kind}/{id}");
            if kind == "tokens" {
                self.evidence
                    .tokens(&id)
                    .for_each(|token| add(stream.clone(), &token.entries));
            } else if let Some(item) = self.evidence.item(kind, &id) {
                add(stream, &item.entries);
            }
        }
        let has_more = entries.len() > ENTRIES_MAX;
        entries.truncate(ENTRIES_MAX);
        json!({
            "asked": self.asked,
            "at": self.decided.at,
            "position": self.decided.position,
            "recorded_at": self.decided.recorded_at,
            "checkpoint": "/log/checkpoint",
            "entries": entries,
            "has_more_entries": has_more,
        })
    }
}

/// Whether a request asks about the past.
pub fn is_asked(request: &Request) -> bool {
    request.given("as_of").is_some()
}

/// The registry that a request asks about.
///
/// # Errors
/// 400 for a moment that is none or has not come, 404 for one after the ledger's end or before its beginning, 429 for
/// somebody who asks about the past too often.
pub async fn view(ctx: &Ctx) -> Result<View<'_>, ApiError> {
    let (app, user) = (&*ctx.app, ctx.caller.user()?);
    let Some(asked) = ctx.request.given("as_of") else {
        return Ok(View::Live(app.registry().read()));
    };
    app.limits().further_requests(&user.user, FURTHER_REQUESTS)?;
    let moment = Moment::parse(&asked).map_err(|error| moment_error("as_of", &error))?;
    let decided = decide(app, moment, "as_of").await?;
    let positions = app.sequencer().positions();
    let streams = configuration(app.log(), positions, &user.account, decided.size()).await?;
    let (mut registry, mut evidence) = (Registry::default(), InForce::default());
    each_entry(app.log(), streams, decided.size(), |bytes| {
        let entry = Entry::read(bytes).map_err(ApiError::internal)?;
        registry.apply(&entry).map_err(ApiError::internal)?;
        evidence.take(bytes).map_err(ApiError::internal)
    })
    .await?;
    Ok(View::Then(Box::new(Then {
        registry,
        evidence,
        asked: asked.into_owned(),
        decided,
    })))
}

async fn decide(app: &App, moment: Moment, part: &'static str) -> Result<Decided, ApiError> {
    moment
        .decide(app.log(), app.log().size(), app.clock().now())
        .await
        .map_err(|error| moment_error(part, &error))
}

fn moment_error(part: &'static str, error: &MomentError) -> ApiError {
    let words = format!("'{part}': {error}");
    match error {
        MomentError::Malformed => ApiError::malformed("bad_query", words),
        MomentError::Future(_) => ApiError::malformed("moment_not_come", words),
        MomentError::BeforeLedger(_) => ApiError::not_found("before_the_ledger", words),
        MomentError::Beyond(_) => ApiError::not_found("position_not_found", words),
        MomentError::Read(error) => read_error(error.clone()),
        MomentError::Fold(_) | MomentError::Proof(_) => ApiError::internal(error),
    }
}
