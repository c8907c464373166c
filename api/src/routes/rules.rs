//! Rules: listed, added, changed, removed, and tried on the past before they are.
//!
//! A channel's limits are its simple rule, listed first with an id that follows from the channel's; changing it here
//! and changing the sensor's limits are the same.
//! Source: REFERENCE §1.5, docs/rules.md. Not here: what a rule may be and does (`domain::rule`).

use super::change;
use super::events::one_time;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use super::texts::Origin;
use crate::app::App;
use crate::errors::ApiError;
use crate::question::in_order;
use crate::reply::{self, Response};
use crate::request::json_words;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::Timestamp;
use domain::event::Event;
use domain::registry::{InForce, Registry};
use domain::rule::Definition;
use domain::rule::back_test::{BackTest, PastReading, back_test};
use domain::time::DAY_US;
use projections::query::{RecentValue, TimelineFilter, TimelineItem};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

/// Most values that a draft is tried on: a year of a value every half minute.
const VALUES_MAX: usize = 1_100_000;
/// Most versions that are shown, the newest.
const VERSIONS_MAX: usize = 1_000;
/// How far back a draft is tried unless asked otherwise, days.
const BACK_TEST_DAYS: i64 = 7;
/// Members of a definition.
pub const MEMBERS: &[&str] = &[
    "another_channel",
    "enabled",
    "flap",
    "grace_min",
    "hysteresis",
    "interval_s",
    "keep_firing_min",
    "kind",
    "max_delta",
    "max_rate",
    "min_interval_s",
    "min_rate",
    "offset",
    "ok_max",
    "ok_min",
    "recovery_min",
    "severity",
    "tests",
    "warn_max",
    "warn_min",
    "windows",
];

/// Requests of a person's rate that a trial of a rule costs beyond the request itself: it judges many values.
const FURTHER_REQUESTS: usize = 9;
/// Alarms that a trial tells, the first ones: who sees more knows enough of the rule.
const ALARMS_MAX: usize = 1_000;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/channels/{id}/rules",
        access: Access::Read,
        handler: |ctx| Box::pin(of_channel(ctx)),
        doc: Some(Doc {
            summary: "A channel's rules, its simple one first.",
            query: &[LIMIT, CURSOR],
            body: None,
            status: 200,
            answer: "RuleList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/channels/{id}/rules",
        access: Access::Write,
        handler: |ctx| Box::pin(create(ctx)),
        doc: Some(Doc {
            summary: "Another rule of a channel; its tests must pass.",
            query: &[],
            body: Some("NewRule"),
            status: 201,
            answer: "Rule",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/rules/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "A rule with every version that it has had.",
            query: &[],
            body: None,
            status: 200,
            answer: "Rule",
        }),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/rules/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(patch(ctx)),
        doc: Some(Doc {
            summary: "Another version of a rule, in force from now on; null takes a member away.",
            query: &[],
            body: Some("NewRule"),
            status: 200,
            answer: "Rule",
        }),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/rules/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(remove(ctx)),
        doc: Some(Doc {
            summary: "Ends a rule. What it decided stays.",
            query: &[],
            body: None,
            status: 204,
            answer: "Nothing",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/rules/backtest",
        access: Access::Own,
        handler: |ctx| Box::pin(backtest(ctx)),
        doc: Some(Doc {
            summary: "What a draft would have done to a channel's past. Records nothing.",
            query: &[],
            body: Some("BackTest"),
            status: 200,
            answer: "BackTested",
        }),
    },
];

async fn of_channel(ctx: Ctx) -> Answer {
    let account = &ctx.caller.user()?.account;
    let listing = Listing::short(&ctx.request, "rules")?;
    let registry = ctx.app.registry().read();
    let channel = registry.channel(account, ctx.id()).ok_or_else(no_channel)?;
    let page = listing.part(registry.rules_in_force(channel));
    Ok(reply::ok(&page.map(|rule| shape(&ctx.app, &rule))))
}

/// A definition out of a body's members, and the name.
fn definition_of(mut members: Map<String, Value>) -> Result<(Map<String, Value>, Option<String>), ApiError> {
    let name = match members.remove("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(ApiError::malformed("bad_json", "'name' must be a text")),
    };
    if let Some(unknown) = members.keys().find(|member| !MEMBERS.contains(&member.as_str())) {
        return Err(ApiError::malformed(
            "bad_json",
            format!("'{unknown}' is no member of a rule"),
        ));
    }
    Ok((members, name))
}

fn drafted(members: &Map<String, Value>) -> Result<Definition, ApiError> {
    // What is null is absent.
    let given: Map<String, Value> = members
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    serde_json::from_value(Value::Object(given))
        .map_err(|error| ApiError::malformed("bad_json", format!("not a rule: {}", json_words(&error))))
}

async fn create(mut ctx: Ctx) -> Answer {
    let (members, change): (Map<String, Value>, _) = change::read(&mut ctx).await?;
    let (members, name) = definition_of(members)?;
    let definition = drafted(&members)?;
    let outcome = ctx
        .app
        .management()
        .create_rule(&change.actor, &change.reason, ctx.id(), definition, name)
        .await?;
    change::settle(&ctx, &outcome).await;
    let response = now(&ctx, StatusCode::CREATED, &outcome.id)?;
    Ok(change::created(
        response,
        &format!("/v1/rules/{}", outcome.id),
        &outcome,
    ))
}

async fn patch(mut ctx: Ctx) -> Answer {
    let (members, change): (Map<String, Value>, _) = change::read(&mut ctx).await?;
    let (members, name) = definition_of(members)?;
    if name.is_some() {
        return Err(ApiError::rejected(
            "immutable_field",
            "a rule keeps the name that it was given",
        ));
    }
    let outcome = ctx
        .app
        .management()
        .patch_rule(&change.actor, &change.reason, ctx.id(), change.if_match, &members)
        .await?;
    change::settle(&ctx, &outcome).await;
    now(&ctx, StatusCode::OK, ctx.id())
}

async fn remove(mut ctx: Ctx) -> Answer {
    let (change::Empty {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .remove_rule(&change.actor, &change.reason, ctx.id(), change.if_match)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(reply::no_content())
}

fn now(ctx: &Ctx, status: StatusCode, id: &str) -> Answer {
    let registry = ctx.app.registry().read();
    let rule = registry
        .rule_in_force(&ctx.caller.user()?.account, id)
        .ok_or_else(not_found)?;
    Ok(tagged(status, shape(&ctx.app, &rule), &rule))
}

fn tagged(status: StatusCode, shape: Value, rule: &InForce<'_>) -> Response {
    reply::tagged(reply::json(status, &shape), &rule.sequence().to_string())
}

async fn one(ctx: Ctx) -> Answer {
    let account = ctx.caller.user()?.account.clone();
    let (id, channel) = {
        let registry = ctx.app.registry().read();
        let rule = registry.rule_in_force(&account, ctx.id()).ok_or_else(not_found)?;
        (
            rule.id.to_string(),
            rule.is_simple.then(|| rule.channel.id.to_string()),
        )
    };
    let asker = account.clone();
    let items = ctx
        .app
        .ask(move |rows| {
            let of = |subject: &str, aggregate_type| {
                let filter = TimelineFilter {
                    subject: Some(subject),
                    aggregate_type: Some(aggregate_type),
                    before: None,
                };
                rows.timeline(&asker, &filter, VERSIONS_MAX)
            };
            let mut items = of(&id, "rule")?;
            if let Some(channel) = &channel {
                items.extend(of(channel, "channel")?);
            }
            items.sort_by_key(|item| std::cmp::Reverse(item.position));
            Ok(items)
        })
        .await?;
    let versions = versions(&ctx.app, &items);
    let registry = ctx.app.registry().read();
    let rule = registry.rule_in_force(&account, ctx.id()).ok_or_else(not_found)?;
    let mut shape = shape(&ctx.app, &rule);
    shape["versions"] = Value::Array(versions);
    Ok(tagged(StatusCode::OK, shape, &rule))
}

/// The versions of a rule, newest first, from its entries and, of a simple one, its channel's.
pub fn versions(app: &App, items: &[TimelineItem]) -> Vec<Value> {
    let mut versions = Vec::new();
    let mut simple = (domain::aggregate::Limits::default(), 0u32, false);
    for item in items.iter().rev() {
        let payload = item.payload.as_deref().unwrap_or("{}");
        let Ok(event) = Event::read(&item.event_type, payload.as_bytes()) else {
            continue;
        };
        let Some((version, definition)) = version_of(&event, &mut simple) else {
            continue;
        };
        let opened = app.opened(
            Origin {
                aggregate_type: &item.aggregate_type,
                aggregate_id: &item.aggregate_id,
                sequence: item.sequence,
                salt: &item.salt,
            },
            serde_json::from_str(payload).unwrap_or_default(),
        );
        let reason: Option<Value> = item
            .reason
            .as_deref()
            .and_then(|reason| serde_json::from_str(reason).ok());
        let reason = reason.map(|mut reason| {
            reason["text"] = opened["reason_text"].clone();
            reason
        });
        versions.push(json!({
            "version": version,
            "position": item.position,
            "recorded_at": item.recorded_at,
            "actor": item.actor,
            "reason": reason,
            "definition": definition,
        }));
    }
    versions.reverse();
    versions
}

/// The version that an event makes of a rule; `simple` are the limits, the version, and whether a stream leads.
fn version_of(
    event: &Event,
    simple: &mut (domain::aggregate::Limits, u32, bool),
) -> Option<(u32, Option<Definition>)> {
    let (limits, count, led) = simple;
    let before = *limits;
    match event {
        Event::RuleCreated(created) => {
            (*count, *led) = (created.version, true);
            return Some((created.version, Some(created.definition.clone())));
        }
        Event::RuleChanged(changed) => {
            *count = changed.version;
            return Some((changed.version, Some(changed.definition.new.clone())));
        }
        Event::RuleRemoved(_) => {
            *led = false;
            return Some((*count, None));
        }
        Event::ChannelRegistered(channel) => {
            (limits.ok_min, limits.ok_max) = (channel.ok_min, channel.ok_max);
            limits.grace_min = channel.grace_min;
        }
        Event::ChannelChanged(changed) => {
            let changes = &changed.changes;
            if let Some(change) = &changes.ok_min {
                limits.ok_min = change.new;
            }
            if let Some(change) = &changes.ok_max {
                limits.ok_max = change.new;
            }
            if let Some(change) = &changes.grace_min {
                limits.grace_min = change.new;
            }
        }
        _ => return None,
    }
    if *led || *limits == before {
        return None;
    }
    let empty = limits.ok_min.is_none() && limits.ok_max.is_none();
    // Until there are limits there is no rule; a grace alone is none.
    if empty && *count == 0 && matches!(event, Event::ChannelRegistered(_)) {
        return None;
    }
    *count += 1;
    let definition = Definition::range(limits.ok_min, limits.ok_max, limits.grace_min.unwrap_or(0));
    Some((*count, (!empty).then_some(definition)))
}

/// The body of a try.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TryBody {
    channel_id: String,
    rule: Map<String, Value>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
}

async fn backtest(mut ctx: Ctx) -> Answer {
    let (body, _): (TryBody, _) = change::read(&mut ctx).await?;
    let user = ctx.caller.user()?;
    ctx.app.limits().further_requests(&user.user, FURTHER_REQUESTS)?;
    let account = user.account.clone();
    let to = one_time("to", body.to.as_deref())?.unwrap_or_else(|| ctx.app.clock().now());
    let from =
        one_time("from", body.from.as_deref())?.unwrap_or_else(|| to.plus_micros(-BACK_TEST_DAYS * DAY_US));
    in_order(("from", Some(from)), ("to", Some(to)))?;
    let (members, _) = definition_of(body.rule)?;
    let definition = drafted(&members)?;
    let outcome = ctx
        .app
        .try_rule(&account, &body.channel_id, definition, from, to)
        .await?;
    let alarms: Vec<Value> = outcome
        .alarms
        .iter()
        .filter(|alarm| !alarm.withdrawn)
        .take(ALARMS_MAX)
        .map(|alarm| {
            json!({
                "began_at": alarm.opened.began_at,
                "opened_at": alarm.opened.opened_at,
                "cleared_at": alarm.cleared_at,
                "severity": alarm.severity,
                "value": alarm.opened.value,
                "reading": alarm.opened.readings.first(),
            })
        })
        .collect();
    Ok(reply::ok(&json!({
        "channel_id": body.channel_id,
        "from": from,
        "to": to,
        "readings": outcome.readings,
        "alarms": alarms,
    })))
}

impl App {
    /// Tries a definition on a channel's values as they are known now, corrected, in the order in which they were
    /// measured.
    ///
    /// # Errors
    /// 404 for a channel that is not there, 422 for a definition that is not valid or too many values.
    pub async fn try_rule(
        &self,
        account: &str,
        channel: &str,
        definition: Definition,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<BackTest, ApiError> {
        let timezone = {
            let registry = self.registry().read();
            if let Some(other) = &definition.another_channel {
                registry.channel(account, other).ok_or_else(no_channel)?;
            }
            timezone_of(&registry, account, channel)?
        };
        // One that has to wait holds nothing yet.
        let _place = self.trials().acquire().await.map_err(ApiError::internal)?;
        let own = self.past(account, channel, false, from, to).await?;
        let others = match &definition.another_channel {
            Some(other) => Some(self.past(account, other, true, from, to).await?),
            None => None,
        };
        let tried = tokio::task::spawn_blocking(move || {
            let mut readings = own.readings();
            if let Some(others) = others {
                readings.extend(others.readings());
                readings.sort_by_key(|reading| (reading.measured_at, !reading.other, reading.position));
            }
            back_test(&definition, &timezone, readings, to)
        });
        Ok(tried.await.map_err(ApiError::internal)??)
    }

    /// A channel's values.
    async fn past(
        &self,
        account: &str,
        channel: &str,
        other: bool,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Past, ApiError> {
        let (account, channel) = (account.to_owned(), channel.to_owned());
        let values = self
            .ask(move |rows| rows.values(&account, &channel, from, to, VALUES_MAX + 1))
            .await?;
        if values.len() > VALUES_MAX {
            return Err(ApiError::rejected(
                "too_many_values",
                format!("a rule is tried on at most {VALUES_MAX} values: ask for a shorter time"),
            ));
        }
        Ok(Past { values, other })
    }
}

/// Values of a channel as they were measured, corrected.
struct Past {
    values: Vec<RecentValue>,
    other: bool,
}

impl Past {
    /// As the engine takes them; up to a million, so that this is done beside the requests.
    fn readings(self) -> Vec<PastReading> {
        let past = self.values.into_iter().map(|value| PastReading {
            measured_at: value.at,
            other: self.other,
            position: value.position,
            recorded_at: value.at,
            value: value.value,
        });
        past.collect()
    }
}

/// The time zone of a channel's site.
pub fn timezone_of(registry: &Registry, account: &str, channel: &str) -> Result<String, ApiError> {
    let channel = registry.channel(account, channel).ok_or_else(no_channel)?;
    let site = registry
        .device_anywhere(&channel.state.device)
        .and_then(|device| registry.site(account, &device.state.site));
    Ok(site.map_or_else(|| "UTC".to_owned(), |site| site.state.timezone.clone()))
}

/// A rule as the API shows it.
pub fn shape(app: &App, rule: &InForce<'_>) -> Value {
    let mut shape = json!({"ok_min": null, "ok_max": null});
    if let (Some(members), Ok(Value::Object(definition))) =
        (shape.as_object_mut(), serde_json::to_value(&*rule.definition))
    {
        members.extend(definition);
    }
    let stream = rule.stream;
    let name = stream.and_then(|rule| app.text("rule", &rule.id, rule.state.name.as_ref()));
    shape["id"] = json!(rule.id);
    shape["channel_id"] = json!(&*rule.channel.id);
    shape["name"] = json!(name);
    shape["version"] = json!(rule.version);
    shape["simple"] = json!(rule.is_simple);
    shape["tzdb"] = json!(stream.map(|rule| &rule.state.tzdb));
    shape["position"] = json!(rule.changed.position);
    shape["changed_at"] = json!(rule.changed.at);
    shape
}

fn no_channel() -> ApiError {
    ApiError::not_found("channel_not_found", "there is no such channel in this account")
}

fn not_found() -> ApiError {
    ApiError::not_found("rule_not_found", "there is no such rule in this account")
}
