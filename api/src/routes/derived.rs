//! How a derived channel's values are made, and what an alarm over them rests on.
//!
//! A derived channel is begun as a sensor with a `derivation` (`sensors`); its function stays, its sources and its span
//! may change from an entry on. Its values are read like any channel's.
//! Source: REFERENCE §3, docs/rules.md. Not here: making values (`domain::rule::derived`).

use super::change;
use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::event::Event;
use domain::registry::Channel;
use domain::rule::derived::MAX_AGE_S;
use domain::rule::{Derivation, Function};
use domain::{Position, Timestamp};
use projections::query::{RecentValue, TimelineFilter};
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

/// Most entries of a channel's stream that are looked at for its derivation at an entry.
const ENTRIES_MAX: usize = 1_000;
/// Newest values of a source that are looked at for the one that an alarm's value was made of: those that came later
/// are passed over.
const CANDIDATES_MAX: usize = 64;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/channels/{id}/derivation",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "What a derived channel's values are made of.",
            query: &[],
            body: None,
            status: 200,
            answer: "Derivation",
        }),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/channels/{id}/derivation",
        access: Access::Write,
        handler: |ctx| Box::pin(patch(ctx)),
        doc: Some(Doc {
            summary: "Has a derived channel's values made of other sources, or over another span, from now on; begins again \
                      what was ended.",
            query: &[],
            body: Some("DerivationPatch"),
            status: 200,
            answer: "Derivation",
        }),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/channels/{id}/derivation",
        access: Access::Write,
        handler: |ctx| Box::pin(end(ctx)),
        doc: Some(Doc {
            summary: "Ends a derivation: no more values are made; those that were stay.",
            query: &[],
            body: None,
            status: 204,
            answer: "Nothing",
        }),
    },
];

/// Whether a kind that was named is that of a function's values.
///
/// # Errors
/// `invalid_derivation`.
pub fn kind_fits(kind: Option<&str>, function: Function) -> Result<(), ApiError> {
    match kind {
        Some(kind) if kind != function.kind() => Err(ApiError::rejected(
            "invalid_derivation",
            format!(
                "{} is of kind {}: leave 'kind' out",
                function.as_str(),
                function.kind()
            ),
        )),
        _ => Ok(()),
    }
}

fn no_channel() -> ApiError {
    ApiError::not_found("channel_not_found", "there is no such channel in this account")
}

fn none() -> ApiError {
    ApiError::not_found(
        "derivation_not_found",
        "this channel's values are not made of other channels'",
    )
}

async fn one(ctx: Ctx) -> Answer {
    now(&ctx)
}

fn now(ctx: &Ctx) -> Answer {
    let registry = ctx.app.registry().read();
    let channel = registry
        .channel(&ctx.caller.user()?.account, ctx.id())
        .ok_or_else(no_channel)?;
    let shape = shape(channel).ok_or_else(none)?;
    Ok(reply::tagged(
        reply::json(StatusCode::OK, &shape),
        &channel.state.sequence.to_string(),
    ))
}

fn shape(channel: &Channel) -> Option<Value> {
    let derivation = channel.state.derivation.as_ref()?;
    Some(json!({
        "channel_id": &*channel.id,
        "function": derivation.function,
        "sources": derivation.sources,
        "max_age_s": derivation.max_age_s.unwrap_or(MAX_AGE_S),
        "trailing_days": derivation.trailing_days.or(derivation.function.trailing_days()),
        "unit": channel.state.unit,
        "changed_at": channel.changed.at,
        "position": channel.changed.position,
    }))
}

/// The body of a change; what is left out stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    #[serde(default)]
    function: Option<Function>,
    #[serde(default)]
    sources: Option<Vec<String>>,
    #[serde(default, deserialize_with = "change::present")]
    max_age_s: Option<Option<u32>>,
    #[serde(default, deserialize_with = "change::present")]
    trailing_days: Option<Option<u32>>,
}

async fn patch(mut ctx: Ctx) -> Answer {
    let (body, change): (PatchBody, _) = change::read(&mut ctx).await?;
    let merged = || {
        let registry = ctx.app.registry().read();
        let account = &ctx.caller.user()?.account;
        let channel = registry.channel(account, ctx.id()).ok_or_else(no_channel)?;
        let derivation = patched(channel.state.derivation.clone(), &body)?;
        Ok((Some(derivation), channel.state.sequence))
    };
    let management = ctx.app.management();
    let outcome = change::merge(change.if_match, merged, |derivation, based_on| {
        management.derive(&change.actor, &change.reason, ctx.id(), based_on, derivation)
    })
    .await?;
    change::settle(&ctx, &outcome).await;
    now(&ctx)
}

/// What is in force, with what is given. One that was ended begins again.
fn patched(before: Option<Derivation>, body: &PatchBody) -> Result<Derivation, ApiError> {
    let before = match (before, body.function, &body.sources) {
        (Some(before), ..) => before,
        (None, Some(function), Some(sources)) => Derivation {
            function,
            max_age_s: None,
            sources: sources.clone(),
            trailing_days: None,
        },
        (None, ..) => {
            return Err(ApiError::rejected(
                "invalid_derivation",
                "this channel has no derivation in force; one that was ended begins again with 'function' and 'sources'",
            ));
        }
    };
    Ok(Derivation {
        function: body.function.unwrap_or(before.function),
        max_age_s: body.max_age_s.unwrap_or(before.max_age_s),
        sources: body.sources.clone().unwrap_or(before.sources),
        trailing_days: body.trailing_days.unwrap_or(before.trailing_days),
    })
}

async fn end(mut ctx: Ctx) -> Answer {
    let (change::Empty {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .derive(&change.actor, &change.reason, ctx.id(), change.if_match, None)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(reply::no_content())
}

/// A value that another was made of.
#[derive(Debug, Clone)]
pub struct Input {
    /// The channel that measured it.
    pub channel: String,
    /// It and its entry.
    pub value: RecentValue,
}

/// What the values of a derived channel were made of.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// The value.
    pub value: Option<f64>,
    /// Of each source the newest value that was known then and not too old.
    pub inputs: Vec<Input>,
}

impl App {
    /// How a channel's values were made at an entry; `None` for one that measured itself.
    ///
    /// # Errors
    /// 503 where the read models do not answer.
    pub async fn derivation_at(
        &self,
        account: &str,
        channel: &str,
        position: Position,
    ) -> Result<Option<Derivation>, ApiError> {
        let is_derived = {
            let registry = self.registry().read();
            let found = registry.channel(account, channel);
            found.is_some_and(|channel| channel.state.is_derived)
        };
        if !is_derived {
            return Ok(None);
        }
        let (account, channel) = (account.to_owned(), channel.to_owned());
        let items = self
            .ask(move |rows| {
                let filter = TimelineFilter {
                    subject: Some(&channel),
                    aggregate_type: Some("channel"),
                    before: Some(position.next()),
                };
                rows.timeline(&account, &filter, ENTRIES_MAX)
            })
            .await?;
        let newest = items.iter().find_map(|item| {
            let payload = item.payload.as_deref()?;
            match Event::read(&item.event_type, payload.as_bytes()) {
                Ok(Event::DerivationSet(set)) => Some(set.derivation.new),
                _ => None,
            }
        });
        Ok(newest.flatten())
    }

    /// What a derived channel's value at a time was made of, as the ledger stood at `position`.
    ///
    /// # Errors
    /// 503 where the read models do not answer.
    pub async fn made_of(
        &self,
        account: &str,
        channel: &str,
        derivation: &Derivation,
        (measured_at, position): (Timestamp, Position),
    ) -> Result<Made, ApiError> {
        let (account, channel) = (account.to_owned(), channel.to_owned());
        let sources = derivation.sources.clone();
        let age_us = i64::from(derivation.max_age_s.unwrap_or(MAX_AGE_S)) * 1_000_000;
        self.ask(move |rows| {
            let until = measured_at.plus_micros(1);
            let value = rows.values(&account, &channel, measured_at, until, 1)?;
            let mut inputs = Vec::new();
            for source in sources {
                let newest = rows.recent(&account, &source, until, CANDIDATES_MAX)?;
                let known = newest
                    .into_iter()
                    .find(|it| it.position <= position && measured_at.since(it.at) <= age_us);
                inputs.extend(known.map(|value| Input {
                    channel: source,
                    value,
                }));
            }
            Ok(Made {
                value: value.first().map(|it| it.value),
                inputs,
            })
        })
        .await
    }
}
