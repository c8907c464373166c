//! Alarms, which the reference calls events: listed, shown with their why, acknowledged, commented on, closed, reopened.
//!
//! Invariants: open ones first, among them the worst and those that nobody has seen; an alarm's why is what its entries
//! say, and names the command that finds the same again; words are opened only for who may read the account.
//! Source: REFERENCE §1.5, §4 (the event's shape), docs/rules.md. Not here: deciding (`domain::rule`).

use super::change;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use crate::app::App;
use crate::errors::ApiError;
use crate::question::{self, in_order};
use crate::reply::{self, Page, Response};
use crate::request::Request;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use crate::signing::{Act, CODE_MINUTES};
use domain::entry::Entry;
use domain::event::{AlarmOpened, Signature};
use domain::ports::EventLog;
use domain::reading::{READING_RECORDED, READINGS, Reading};
use domain::rule::Severity;
use domain::{Position, Timestamp};
use projections::query::{Alarm, AlarmFilter, AlarmPlace, TimelineFilter, TimelineItem};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warp::http::StatusCode;

/// Most entries of an alarm that are shown.
const TIMELINE_MAX: usize = 1_000;
/// Bits of a cursor that hold the position; the rank stands above.
const POSITION_BITS: u32 = 56;

/// What a list can be limited to: its name, how far the alarm must have come, and whether somebody must have seen it.
const STATES: &[(&str, &str, Option<bool>)] = &[
    ("open", "open", None),
    ("alarm", "open", Some(false)),
    ("acknowledged", "open", Some(true)),
    ("cleared", "cleared", None),
    ("closed", "closed", None),
];

const STATE: Param = Param::one_of(
    "state",
    || STATES.iter().map(|(state, ..)| *state).collect(),
    "open, alarm (open and not seen), acknowledged, cleared or closed.",
);
const SEVERITY: Param = Param::one_of(
    "severity",
    || Severity::ALL.map(Severity::as_str).to_vec(),
    "Only this one.",
);
const FROM: Param = Param::time("from", "Opened at or after this time.");
const TO: Param = Param::time("to", "Opened before this time.");

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/events",
        access: Access::Read,
        handler: |ctx| Box::pin(all(ctx)),
        doc: Some(Doc {
            summary: "The account's alarms: open ones first, the worst and those that nobody has seen.",
            query: &[
                STATE,
                SEVERITY,
                Param::text("site_id", "Opened at this site."),
                Param::text("channel_id", "Of this channel."),
                FROM,
                TO,
                LIMIT,
                CURSOR,
            ],
            body: None,
            status: 200,
            answer: "EventList",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/channels/{id}/events",
        access: Access::Read,
        handler: |ctx| Box::pin(of_channel(ctx)),
        doc: Some(Doc {
            summary: "A channel's alarms.",
            query: &[STATE, SEVERITY, FROM, TO, LIMIT, CURSOR],
            body: None,
            status: 200,
            answer: "EventList",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/events/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "An alarm with its why and everything that was done about it.",
            query: &[],
            body: None,
            status: 200,
            answer: "Event",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/events/{id}/ack",
        access: Access::Own,
        handler: |ctx| Box::pin(acknowledge(ctx)),
        doc: Some(Doc {
            summary: "Somebody has seen it. Takes an owner or operator.",
            query: &[],
            body: Some("Ack"),
            status: 200,
            answer: "Event",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/events/{id}/comment",
        access: Access::Own,
        handler: |ctx| Box::pin(comment(ctx)),
        doc: Some(Doc {
            summary: "Says something about it. Takes an owner, operator or compliance.",
            query: &[],
            body: Some("Comment"),
            status: 200,
            answer: "Event",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/events/{id}/close",
        access: Access::Own,
        handler: |ctx| Box::pin(close(ctx)),
        doc: Some(Doc {
            summary: "Has done with it, with a reason; nothing follows but comments.",
            query: &[],
            body: Some("Close"),
            status: 200,
            answer: "Event",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/events/{id}/sign",
        access: Access::Own,
        handler: |ctx| Box::pin(sign(ctx)),
        doc: Some(Doc {
            summary: "Mails whoever asks the code that signs what they do about it next. Takes an owner or operator.",
            query: &[],
            body: Some("Sign"),
            status: 202,
            answer: "SignAsked",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/events/{id}/reopen",
        access: Access::Own,
        handler: |ctx| Box::pin(reopen(ctx)),
        doc: Some(Doc {
            summary: "Does not take it for over, with a reason: it is open again. Takes an owner or operator.",
            query: &[],
            body: Some("Empty"),
            status: 200,
            answer: "Event",
        }),
    },
];

async fn all(ctx: Ctx) -> Answer {
    let (listing, mut filter) = question(&ctx.request)?;
    let text = |name| ctx.request.given(name).map(std::borrow::Cow::into_owned);
    (filter.site, filter.channel) = (text("site_id"), text("channel_id"));
    let account = &ctx.caller.user()?.account;
    {
        let registry = ctx.app.registry().read();
        let unknown =
            |id: &Option<String>, known: &dyn Fn(&str) -> bool| id.as_deref().is_some_and(|id| !known(id));
        if unknown(&filter.site, &|id| registry.site(account, id).is_some()) {
            return Err(ApiError::not_found(
                "site_not_found",
                "there is no such site in this account",
            ));
        }
        if unknown(&filter.channel, &|id| registry.channel(account, id).is_some()) {
            return Err(no_channel());
        }
    }
    list(&ctx, listing, filter).await
}

async fn of_channel(ctx: Ctx) -> Answer {
    let (listing, mut filter) = question(&ctx.request)?;
    let account = &ctx.caller.user()?.account;
    let channel = {
        let registry = ctx.app.registry().read();
        let channel = registry.channel(account, ctx.id()).ok_or_else(no_channel)?;
        channel.id.to_string()
    };
    filter.channel = Some(channel);
    list(&ctx, listing, filter).await
}

fn question(request: &Request) -> Result<(Listing, AlarmFilter), ApiError> {
    let listing = Listing::of(request, "events")?;
    let mut filter = AlarmFilter {
        after: listing.after.map(place),
        from: one_time("from", request.query("from").as_deref())?,
        to: one_time("to", request.query("to").as_deref())?,
        ..AlarmFilter::default()
    };
    in_order(("from", filter.from), ("to", filter.to))?;
    if let Some(text) = request.given("state") {
        let (_, life, acknowledged) = question::find("state", &text, STATES, |state| state.0)?;
        (filter.life, filter.acknowledged) = (Some((*life).to_owned()), *acknowledged);
    }
    if let Some(text) = request.given("severity") {
        let severity = question::find("severity", &text, &Severity::ALL, |severity| severity.as_str())?;
        filter.severity = Some(severity.as_str().to_owned());
    }
    Ok((listing, filter))
}

/// A time of a query or body.
pub fn one_time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // A plus sign that nobody encoded arrives as a space.
    let time = Timestamp::parse_rfc3339(&text.replace(' ', "+"));
    time.map(Some).map_err(|_| {
        ApiError::malformed(
            "bad_query",
            format!("'{name}' must be a time such as 2026-05-17T08:22:00Z"),
        )
    })
}

/// There is no such alarm, or it is another account's.
pub(super) fn not_found() -> ApiError {
    ApiError::not_found("alarm_not_found", "there is no such alarm in this account")
}

/// The place that a cursor holds as one number.
fn place(cursor: Position) -> AlarmPlace {
    AlarmPlace {
        rank: (cursor.get() >> POSITION_BITS) as u8,
        position: Position(cursor.get() & ((1 << POSITION_BITS) - 1)),
    }
}

fn number(place: AlarmPlace) -> Position {
    Position(u64::from(place.rank) << POSITION_BITS | place.position.get())
}

async fn list(ctx: &Ctx, listing: Listing, filter: AlarmFilter) -> Answer {
    let account = ctx.caller.user()?.account.clone();
    let mut alarms = ctx
        .app
        .ask(move |rows| rows.alarms(&account, &filter, listing.limit() + 1))
        .await?;
    let has_more = alarms.len() > listing.limit();
    alarms.truncate(listing.limit());
    let last = alarms.last().filter(|_| has_more);
    let next_cursor = last.map(|last| listing.cursor(number(last.place)));
    Ok(reply::ok(&Page {
        data: alarms
            .iter()
            .map(|alarm| shape(&ctx.app, alarm))
            .collect::<Vec<Value>>(),
        next_cursor,
        has_more,
    }))
}

async fn one(ctx: Ctx) -> Answer {
    answer(&ctx).await
}

/// The body of an acknowledgement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AckBody {
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    corrective_action: Option<String>,
    #[serde(default)]
    signature: Option<CodeBody>,
}

/// The code that signs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    code: String,
}

/// The signature that a request carries, and the sequence that the alarm must then have.
async fn signed(
    ctx: &Ctx,
    act: Act,
    given: Option<CodeBody>,
    change: &change::Change,
) -> Result<(Option<Signature>, Option<u64>), ApiError> {
    let Some(given) = given else {
        return Ok((None, change.if_match));
    };
    if ctx.app.management().is_repeated(&change.actor).await? {
        return Ok((None, change.if_match));
    }
    let (signature, sequence) = ctx
        .app
        .signed_by_code(ctx.caller.user()?, act, ctx.id(), &given.code, change.if_match)
        .await?;
    Ok((Some(signature), Some(sequence)))
}

/// What is about to be signed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignBody {
    act: String,
    meaning: String,
}

async fn sign(mut ctx: Ctx) -> Answer {
    let (body, _): (SignBody, _) = change::read(&mut ctx).await?;
    let act = Act::parse(&body.act)
        .ok_or_else(|| ApiError::rejected("invalid_act", "act is acknowledge or close"))?;
    ctx.app
        .ask_to_sign(ctx.caller.user()?, act, ctx.id(), &body.meaning)
        .await?;
    Ok(reply::json(
        StatusCode::ACCEPTED,
        &json!({"method": "mail_code", "minutes": CODE_MINUTES}),
    ))
}

async fn acknowledge(mut ctx: Ctx) -> Answer {
    let (body, change): (AckBody, _) = change::read(&mut ctx).await?;
    let mut reason = change.reason.clone();
    // A note is the reason in words.
    reason.text = body.note.or(reason.text);
    let (signature, if_match) = signed(&ctx, Act::Acknowledge, body.signature, &change).await?;
    let outcome = ctx
        .app
        .management()
        .acknowledge_alarm(
            &change.actor,
            &reason,
            ctx.id(),
            if_match,
            body.corrective_action,
            signature,
        )
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(change::repeated(answer(&ctx).await?, &outcome))
}

/// The body of a comment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommentBody {
    note: String,
}

async fn comment(mut ctx: Ctx) -> Answer {
    let (body, change): (CommentBody, _) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .comment_alarm(&change.actor, &change.reason, ctx.id(), body.note)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(change::repeated(answer(&ctx).await?, &outcome))
}

/// The body of a closing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseBody {
    #[serde(default)]
    signature: Option<CodeBody>,
}

async fn close(mut ctx: Ctx) -> Answer {
    let (body, change): (CloseBody, _) = change::read(&mut ctx).await?;
    let (signature, if_match) = signed(&ctx, Act::Close, body.signature, &change).await?;
    let outcome = ctx
        .app
        .management()
        .close_alarm(&change.actor, &change.reason, ctx.id(), if_match, signature)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(change::repeated(answer(&ctx).await?, &outcome))
}

async fn reopen(mut ctx: Ctx) -> Answer {
    let (change::Empty {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .reopen_alarm(&change.actor, &change.reason, ctx.id(), change.if_match)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(change::repeated(answer(&ctx).await?, &outcome))
}

/// An alarm with its why and its entries.
#[derive(Debug)]
pub struct Told {
    /// The alarm.
    pub alarm: Alarm,
    /// Its entries, newest first.
    pub items: Vec<TimelineItem>,
    /// Why it opened; null where its first entry cannot be read.
    pub why: Value,
}

/// An alarm of an account, as it is now.
///
/// # Errors
/// 404 where the account has none of that id.
pub async fn told(app: &App, account: &str, id: &str) -> Result<Told, ApiError> {
    let (account, id) = (account.to_owned(), id.to_owned());
    let found = app
        .ask(move |rows| {
            let Some(alarm) = rows.alarm(&account, &id)? else {
                return Ok(None);
            };
            let filter = |subject, aggregate_type| TimelineFilter {
                subject: Some(subject),
                aggregate_type: Some(aggregate_type),
                before: None,
            };
            let items = rows.timeline(&account, &filter(&id, "alarm"), TIMELINE_MAX)?;
            let mut rule = rows.timeline(&account, &filter(&alarm.rule, "rule"), TIMELINE_MAX)?;
            if rule.is_empty() || domain::registry::simple_rule_id(&alarm.channel) == alarm.rule {
                rule.extend(rows.timeline(&account, &filter(&alarm.channel, "channel"), TIMELINE_MAX)?);
            }
            Ok(Some((alarm, items, rule)))
        })
        .await?;
    let (alarm, items, rule) = found.ok_or_else(not_found)?;
    let mut because = Value::Null;
    let opened = alarm.opening();
    if let Some(opened) = &opened {
        let versions = super::rules::versions(app, &{
            let mut rule = rule;
            rule.sort_by_key(|item| std::cmp::Reverse(item.position));
            rule
        });
        let version = versions
            .into_iter()
            .filter(|version| version["position"].as_u64() <= Some(opened.decided_by.get()))
            .find(|version| version["version"] == json!(alarm.rule_version));
        because = why(app, &alarm, opened, version).await?;
    }
    Ok(Told {
        alarm,
        items,
        why: because,
    })
}

/// The alarm that the path names, as it is now.
async fn answer(ctx: &Ctx) -> Result<Response, ApiError> {
    let Told { alarm, items, why } = told(&ctx.app, &ctx.caller.user()?.account, ctx.id()).await?;
    let mut shape = shape(&ctx.app, &alarm);
    if !why.is_null() {
        shape["why"] = why;
    }
    let mut timeline: Vec<Value> = items
        .into_iter()
        .map(|item| super::timeline::shape(&ctx.app, item))
        .collect();
    timeline.reverse();
    shape["timeline"] = Value::Array(timeline);
    Ok(reply::tagged(
        reply::json(StatusCode::OK, &shape),
        &alarm.sequence.to_string(),
    ))
}

/// Why an alarm opened: the rule's version, and the readings it rests on.
async fn why(
    app: &App,
    alarm: &Alarm,
    opened: &AlarmOpened,
    version: Option<Value>,
) -> Result<Value, ApiError> {
    let (key, account) = {
        let registry = app.registry().read();
        let channel = registry.channel_anywhere(&alarm.channel);
        channel.map_or_else(Default::default, |channel| {
            (Some(channel.state.key.clone()), channel.account.to_string())
        })
    };
    let (channel, decided_by) = (alarm.channel.as_str(), opened.decided_by);
    let derivation = app.derivation_at(&account, channel, decided_by).await?;
    let corrections = app.corrections_at(&account, channel, decided_by).await?;
    let log: &dyn EventLog = app.log();
    let block = log
        .read_at(&opened.readings)
        .await
        .map_err(super::entries::read_error)?;
    let mut readings = BTreeMap::new();
    for (position, bytes) in block.iter() {
        let entry = Entry::read(bytes).map_err(ApiError::internal)?;
        let reading = (entry.aggregate_type == READINGS && entry.event_type == READING_RECORDED)
            .then(|| Reading::read(entry.payload).ok())
            .flatten();
        let value = reading.as_ref().and_then(|reading| {
            let found = reading
                .values
                .iter()
                .find(|(name, _)| Some(*name) == key.as_deref());
            found.map(|(_, value)| *value)
        });
        let measured_at = reading.as_ref().map(|reading| reading.measured_at);
        let mut told = json!({
            "position": position,
            "recorded_at": entry.recorded_at,
            "measured_at": measured_at,
            "value": measured_at.zip(value).map(|(at, raw)| corrections.of(at, raw)),
            "raw": value,
        });
        if let (Some(derivation), Some(at)) = (&derivation, measured_at) {
            let made = app
                .made_of(&account, channel, derivation, (at, decided_by))
                .await?;
            let inputs = made.inputs.iter().map(|input| {
                json!({
                    "channel_id": input.channel,
                    "position": input.value.position,
                    "measured_at": input.value.at,
                    "value": input.value.value,
                    "raw": input.value.raw,
                })
            });
            told["value"] = json!(made.value);
            told["inputs"] = inputs.collect();
        }
        readings.insert(position, told);
    }
    let from = opened.began_at.plus_micros(-domain::time::DAY_US);
    Ok(json!({
        "rule": version.map(|version| version["definition"].clone()),
        "decided_by": opened.decided_by,
        "decided_at": opened.decided_at,
        "readings": readings.into_values().collect::<Vec<Value>>(),
        "reproduce": format!(
            "daybook replay --rules --alarm {} --from {from} --data DIR",
            alarm.id,
        ),
    }))
}

/// An alarm as the API shows it.
pub fn shape(app: &App, alarm: &Alarm) -> Value {
    let opened: Value = serde_json::from_str(&alarm.opened).unwrap_or_default();
    let silenced = app
        .registry()
        .read()
        .is_silenced(&alarm.channel, alarm.recorded_at);
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let state = match alarm.life.as_str() {
        "open" if alarm.acknowledged => "acknowledged",
        "open" => "alarm",
        other => other,
    };
    json!({
        "id": alarm.id,
        "kind": alarm.kind,
        "severity": alarm.severity,
        "state": state,
        "acknowledged": alarm.acknowledged,
        "acknowledged_by": alarm.acknowledged_by,
        "late": alarm.late,
        "withdrawn": alarm.withdrawn,
        "opened_at": alarm.opened_at,
        "began_at": alarm.began_at,
        "ended_at": alarm.ended_at,
        "site_id": alarm.site,
        "device_id": alarm.device,
        "channel_id": some(&alarm.channel),
        "rule_id": some(&alarm.rule),
        "rule_version": some(&alarm.rule).map(|_| alarm.rule_version),
        "challenge": alarm.kind == "challenge",
        "cause": opened["cause"],
        "value_at": opened["value"],
        "thresholds": opened["thresholds"],
        "window": opened["window"],
        "silenced": silenced,
        "position": alarm.place.position,
        "changed_at": alarm.changed_at,
    })
}

fn no_channel() -> ApiError {
    ApiError::not_found("channel_not_found", "there is no such channel in this account")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_number_and_back() {
        for rank in 0..=4 {
            for position in [0, 1, 1 << 53] {
                let there = AlarmPlace {
                    rank,
                    position: Position(position),
                };
                assert_eq!(place(number(there)), there);
            }
        }
    }
}
