//! Silences, and trying a channel's rules again.
//!
//! A silence changes who is told and nothing else. A recompute tries the rules in force on the last day's values as
//! they are known now, and records the alarms that had been missing; repeated, it finds none.
//! Source: REFERENCE §1.4. Not here: who is told, live judging (`commands::alerting`).

use super::change;
use super::events::one_time;
use super::lists::Listing;
use super::rules::timezone_of;
use super::sites::{CURSOR, LIMIT};
use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use commands::handlers::{ManageError, MissedAlarm};
use domain::event::{AlarmCleared, AlarmOpened, RuleVersion, RulesRecomputed};
use domain::ids::IdKind;
use domain::ports::TileStore;
use domain::registry::{Channel, Registry, Silence};
use domain::rule::back_test::TriedAlarm;
use domain::rule::{Definition, alarm_id};
use domain::time::DAY_US;
use domain::{Position, Timestamp, TreeSize};
use projections::query::{Alarm, AlarmFilter};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use warp::http::StatusCode;

/// How far back rules are tried again (REFERENCE §1.4).
const RECOMPUTE_US: i64 = DAY_US;
/// Most alarms of a channel that a recompute compares with.
const ALARMS_MAX: usize = 1_000;
/// How often a recompute is tried where the rules at work told something of the channel meanwhile.
const RECOMPUTES_MAX: u32 = 3;
/// What is refused where something came between.
const PRECONDITION_FAILED: &str = "precondition_failed";
/// How long a recompute waits for the rules to have judged what is recorded.
const JUDGED_WITHIN: Duration = Duration::from_secs(5);

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/sensors/{id}/silence",
        access: Access::Own,
        handler: |ctx| Box::pin(open(ctx)),
        doc: Some(Doc {
            summary: "Nobody is told of the channel's alarms for a time; all else goes on. Takes an owner or operator.",
            query: &[],
            body: Some("NewSilence"),
            status: 201,
            answer: "Silence",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/silences",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "The account's silences.",
            query: &[
                Param::flag(
                    "active",
                    "true: only those that hold now or later; false (default): all.",
                ),
                LIMIT,
                CURSOR,
            ],
            body: None,
            status: 200,
            answer: "SilenceList",
        }),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/silences/{id}",
        access: Access::Own,
        handler: |ctx| Box::pin(end(ctx)),
        doc: Some(Doc {
            summary: "Ends a silence before its time.",
            query: &[],
            body: None,
            status: 204,
            answer: "Nothing",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/sensors/{id}/recompute",
        access: Access::Own,
        handler: |ctx| Box::pin(recompute(ctx)),
        doc: Some(Doc {
            summary: "Tries the channel's rules again on the last 24 hours and records the alarms that had been missing.",
            query: &[],
            body: Some("Empty"),
            status: 200,
            answer: "Recomputed",
        }),
    },
];

/// The body of a silence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    #[serde(default)]
    from: Option<String>,
    to: String,
}

async fn open(mut ctx: Ctx) -> Answer {
    let (body, change): (NewBody, _) = change::read(&mut ctx).await?;
    let from = one_time("from", body.from.as_deref())?.unwrap_or_else(|| ctx.app.clock().now());
    let to = one_time("to", Some(&body.to))?
        .ok_or_else(|| ApiError::malformed("bad_query", "'to' must be a time"))?;
    let outcome = ctx
        .app
        .management()
        .open_silence(&change.actor, &change.reason, ctx.id(), from, to)
        .await?;
    change::settle(&ctx, &outcome).await;
    let registry = ctx.app.registry().read();
    let silence = registry
        .silence(&ctx.caller.user()?.account, &outcome.id)
        .ok_or_else(not_found)?;
    let response = reply::json(StatusCode::CREATED, &shape(&ctx.app, silence));
    let response = reply::tagged(response, &silence.state.sequence.to_string());
    Ok(change::created(
        response,
        &format!("/v1/silences/{}", outcome.id),
        &outcome,
    ))
}

async fn list(ctx: Ctx) -> Answer {
    let account = &ctx.caller.user()?.account;
    let listing = Listing::of(&ctx.request, "silences")?;
    let active = ctx
        .request
        .query_as::<bool>("active", "true or false")?
        .unwrap_or(false);
    let now = ctx.app.clock().now();
    let registry = ctx.app.registry().read();
    let silences = registry
        .silences(account, listing.after)
        .filter(|silence| !active || silence.state.to > now);
    let page = listing.page(
        silences,
        |silence| silence.created.position,
        |silence| shape(&ctx.app, silence),
    );
    Ok(reply::ok(&page))
}

async fn end(mut ctx: Ctx) -> Answer {
    let (change::Empty {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .end_silence(&change.actor, &change.reason, ctx.id(), change.if_match)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(reply::no_content())
}

/// A silence as the API shows it.
pub fn shape(app: &App, silence: &Silence) -> Value {
    let state = &silence.state;
    json!({
        "id": &*silence.id,
        "channel_id": state.channel,
        "from": state.from,
        "to": state.to,
        "reason": app.text("silence", &silence.id, state.text.as_ref()),
        "author": silence.author,
        "active": state.holds_at(app.clock().now()),
        "ended": state.ended,
        "created_at": silence.created.at,
        "position": silence.created.position,
    })
}

/// A rule that is tried again.
struct Tried {
    id: String,
    version: u32,
    definition: Definition,
}

async fn recompute(mut ctx: Ctx) -> Answer {
    let (change::Empty {}, change) = change::read(&mut ctx).await?;
    let account = ctx.caller.user()?.account.clone();
    let (channel, rules) = {
        let registry = ctx.app.registry().read();
        let channel = find(&registry, &account, ctx.id())?;
        timezone_of(&registry, &account, &channel.id)?;
        let rules = registry.rules_in_force(channel).into_iter().map(|rule| Tried {
            id: rule.id.to_string(),
            version: rule.version,
            definition: rule.definition.into_owned(),
        });
        (channel.id.to_string(), rules.collect::<Vec<_>>())
    };
    // Who may not, or asked already, has nothing worked out.
    let before = ctx
        .app
        .management()
        .may_recompute(&change.actor, &change.reason)
        .await?;
    if let Some((outcome, then)) = before {
        let answer = recomputed(&then, None, Some(outcome.positions.start));
        return Ok(change::repeated(reply::ok(&answer), &outcome));
    }
    let mut tried = 0;
    let (mut answer, outcome) = loop {
        tried += 1;
        let found = ctx.app.missing_alarms(&account, &channel, &rules).await?;
        let recorded = RulesRecomputed {
            channel: channel.clone(),
            from: found.from,
            missed: found.missed.iter().map(|alarm| alarm.id.clone()).collect(),
            rules: rules
                .iter()
                .map(|rule| RuleVersion {
                    rule: rule.id.clone(),
                    version: rule.version,
                })
                .collect(),
            to: found.to,
        };
        let answer = recomputed(&recorded, Some(found.readings), None);
        let recorded = ctx
            .app
            .management()
            .recomputed(
                &change.actor,
                &change.reason,
                recorded,
                found.missed,
                found.sequence,
            )
            .await;
        match recorded {
            // The rules at work told something of this channel meanwhile: it may be what seemed to be missing.
            Err(ManageError::Rejected(rejection))
                if rejection.code == PRECONDITION_FAILED && tried < RECOMPUTES_MAX => {}
            recorded => break (answer, recorded?),
        }
    };
    change::settle(&ctx, &outcome).await;
    answer["position"] = json!(outcome.recorded_at.map(|_| outcome.positions.start));
    Ok(change::repeated(reply::ok(&answer), &outcome))
}

/// What was found, as the API says it; how many readings were tried is known to who tried them only.
fn recomputed(found: &RulesRecomputed, readings: Option<u64>, position: Option<u64>) -> Value {
    json!({
        "channel_id": found.channel,
        "from": found.from,
        "to": found.to,
        "readings": readings,
        "missed": found.missed,
        "position": position,
    })
}

/// What a recompute found.
struct Found {
    from: Timestamp,
    to: Timestamp,
    readings: u64,
    missed: Vec<MissedAlarm>,
    /// How many entries the channel's state had before anything was tried.
    sequence: u64,
}

impl App {
    /// Tries rules on the last day's values, and gives the alarms that nobody was told of: neither before, nor by the
    /// rules at work while this looked.
    async fn missing_alarms(&self, account: &str, channel: &str, rules: &[Tried]) -> Result<Found, ApiError> {
        // What the rules are about to decide by themselves is not missing.
        let size = self.judged().await;
        let sequence = self.sequencer().positions().count("state", channel);
        let to = self.clock().now();
        let from = to.plus_micros(-RECOMPUTE_US);
        let (mut tried, mut readings) = (Vec::new(), 0);
        for rule in rules.iter().filter(|rule| rule.definition.enabled) {
            let found = self
                .try_rule(account, channel, rule.definition.clone(), from, to)
                .await?;
            readings = readings.max(found.readings);
            tried.push((rule, found.alarms));
        }
        // Values that arrived meanwhile were tried, too, and the rules at work have a say about them first.
        self.judged().await;
        let mut missed = Vec::new();
        for (rule, alarms) in tried {
            let known = self.alarms_of(account, channel, &rule.id).await?;
            for alarm in alarms {
                missed.extend(self.missing(channel, rule, alarm, &known, (to, size))?);
            }
        }
        Ok(Found {
            from,
            to,
            readings,
            missed,
            sequence,
        })
    }

    /// Waits until the rules have judged what is recorded, and the read models know of it; the size.
    async fn judged(&self) -> TreeSize {
        let size = self.log().size();
        if let Some(alerting) = self.alerting() {
            alerting.wait_for(size, JUDGED_WITHIN).await;
        }
        let size = self.log().size();
        self.settled(size.get()).await;
        size
    }

    /// The newest alarms of a rule.
    async fn alarms_of(&self, account: &str, channel: &str, rule: &str) -> Result<Vec<Alarm>, ApiError> {
        let (account, rule) = (account.to_owned(), rule.to_owned());
        let filter = AlarmFilter {
            channel: Some(channel.to_owned()),
            ..AlarmFilter::default()
        };
        let mut alarms = self
            .ask(move |rows| rows.alarms(&account, &filter, ALARMS_MAX))
            .await?;
        alarms.retain(|alarm| alarm.rule == rule);
        Ok(alarms)
    }

    /// The alarm that had been missing, if this one had. One that has not ended is left to the rules at work, which
    /// judge the same values.
    fn missing(
        &self,
        channel: &str,
        rule: &Tried,
        tried: TriedAlarm,
        known: &[Alarm],
        (now, size): (Timestamp, TreeSize),
    ) -> Result<Option<MissedAlarm>, ApiError> {
        let Some(cleared_at) = tried.cleared_at.filter(|_| !tried.withdrawn) else {
            return Ok(None);
        };
        let began_at = tried.opened.began_at;
        let is_known = |alarm: &&Alarm| {
            alarm.began_at <= cleared_at && alarm.ended_at.is_none_or(|ended| ended >= began_at)
        };
        let (Some(opening), None) = (tried.opened.readings.first(), known.iter().find(is_known)) else {
            return Ok(None);
        };
        let id = alarm_id(&rule.id, rule.version, &self.leaf(*opening)?);
        if self.management().knows_alarm(&id) {
            return Ok(None);
        }
        let decided_by = size.last().unwrap_or(Position::FIRST);
        let cleared = AlarmCleared {
            cleared_at,
            decided_at: now,
            decided_by,
            late: true,
            readings: tried.opened.readings.clone(),
            value_at: None,
            withdrawn: false,
        };
        let opened = AlarmOpened {
            channel: channel.to_owned(),
            decided_at: now,
            decided_by,
            late: true,
            rule: rule.id.clone(),
            rule_version: rule.version,
            severity: tried.severity,
            ..tried.opened
        };
        Ok(Some(MissedAlarm { id, opened, cleared }))
    }

    /// The leaf hash at a position.
    pub(crate) fn leaf(&self, position: Position) -> Result<domain::Hash, ApiError> {
        let mut leaves = Vec::with_capacity(1);
        let tiles: &dyn TileStore = self.tiles();
        tiles
            .read_nodes(0, position.get(), 1, &mut leaves)
            .map_err(super::entries::read_error)?;
        leaves.pop().ok_or_else(|| ApiError::internal("no leaf hash"))
    }
}

/// By the sensor's id or the channel's.
fn find<'r>(registry: &'r Registry, account: &str, id: &str) -> Result<&'r Channel, ApiError> {
    let channel = match IdKind::Sensor.is(id) {
        true => registry.channel_by_sensor(account, id),
        false => registry.channel(account, id),
    };
    channel.ok_or_else(|| ApiError::not_found("sensor_not_found", "there is no such sensor in this account"))
}

fn not_found() -> ApiError {
    ApiError::not_found("silence_not_found", "there is no such silence in this account")
}
