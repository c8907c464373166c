//! The rule editor's routes: a draft is tried and shown again, or becomes the rule's next version.
//!
//! Invariants: trying records nothing; a draft that cannot be read or tried is shown with what was typed.
//! Not here: what a rule may be (`domain::rule`), pages (`super::super::rules`).

use domain::rule::presets::PRESETS;
use domain::rule::{Definition, Kind};
use domain::time::DAY_US;
use projections::query::TimelineFilter;
use serde_json::{Map, Value};
use warp::http::StatusCode;

use super::super::gather::alarms::{definition_of, in_force};
use super::super::gather::{self, drawn};
use super::super::parts;
use super::super::rules::edit;
use super::super::rules::form::{Fields, fields};
use super::super::rules::view::{RulePage, Tried, TriedRow, VersionRow};
use super::super::view::Notice;
use super::forms::{Form, refused, to};
use super::{Visit, html};
use crate::errors::ApiError;
use crate::reply::Response;
use crate::router::Answer;

/// How far back a draft is tried, days.
const TRY_DAYS: i64 = 7;
/// Columns of the chart.
const CHART_STEPS: usize = 320;
/// Most versions that are shown.
const VERSIONS_MAX: usize = 200;

/// What stands in the editor.
#[derive(Default)]
struct Draft {
    fields: Vec<(String, String)>,
    definition: Option<Definition>,
    error: Option<String>,
    tried: Option<Tried>,
    status: StatusCode,
    notice: Option<Notice>,
}

pub async fn new(visit: Visit) -> Answer {
    let query = |name: &str| visit.ctx.request.query(name);
    let preset = query("preset")
        .and_then(|text| text.parse::<usize>().ok())
        .and_then(|n| PRESETS.get(n));
    let kind = query("kind")
        .and_then(|text| Kind::parse(&text))
        .unwrap_or_default();
    let definition = preset.map(|preset| preset.definition());
    let mut draft = Draft {
        fields: fields(definition.as_ref().unwrap_or(&Definition::of(kind))),
        definition,
        ..Draft::default()
    };
    if let Some(preset) = preset {
        draft.fields.push(("name".to_owned(), preset.purpose.to_owned()));
        attempt(&visit, &mut draft).await?;
    }
    shown(&visit, None, draft).await
}

pub async fn one(visit: Visit) -> Answer {
    let rule = visit.ctx.param(1).to_owned();
    shown(&visit, Some(&rule), Draft::default()).await
}

pub async fn draft_new(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let (mut draft, definition) = read(&form);
    if form.get("do") == "activate"
        && let Some(definition) = definition
    {
        let management = visit.ctx.app.management();
        let made = management
            .create_rule(
                &visit.actor(&form, "rule"),
                &form.reason(),
                visit.ctx.id(),
                definition,
                form.some("name"),
            )
            .await;
        match visit.settled(made).await.map_err(refused) {
            Ok(outcome) => return Ok(to(&rule_href(&visit, &outcome.id), "activated")),
            Err(refused) => not_taken(&mut draft, refused?),
        }
    }
    attempt(&visit, &mut draft).await?;
    shown(&visit, None, draft).await
}

pub async fn draft(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let rule = visit.ctx.param(1).to_owned();
    let (mut draft, definition) = read(&form);
    if form.get("do") == "activate"
        && let Some(definition) = definition
    {
        match change(&visit, &form, &rule, whole(&definition)?)
            .await
            .map_err(refused)
        {
            Ok(()) => return Ok(to(&rule_href(&visit, &rule), "activated")),
            Err(refused) => not_taken(&mut draft, refused?),
        }
    }
    attempt(&visit, &mut draft).await?;
    shown(&visit, Some(&rule), draft).await
}

pub async fn disable(visit: Visit) -> Answer {
    switch(visit, false).await
}

pub async fn enable(visit: Visit) -> Answer {
    switch(visit, true).await
}

async fn switch(mut visit: Visit, enabled: bool) -> Answer {
    let form = visit.form().await?;
    let rule = visit.ctx.param(1).to_owned();
    let mut patch = Map::new();
    patch.insert("enabled".to_owned(), Value::Bool(enabled));
    match change(&visit, &form, &rule, patch).await.map_err(refused) {
        Ok(()) => Ok(to(&rule_href(&visit, &rule), "switched")),
        Err(refused) => again(&visit, &rule, refused?).await,
    }
}

pub async fn remove(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let rule = visit.ctx.param(1).to_owned();
    let management = visit.ctx.app.management();
    let made = management
        .remove_rule(&visit.actor(&form, ""), &form.reason(), &rule, form.if_match())
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/channels/{}", visit.ctx.id()), "rule-removed")),
        Err(refused) => again(&visit, &rule, refused?).await,
    }
}

async fn again(visit: &Visit, rule: &str, (status, notice): (StatusCode, Notice)) -> Answer {
    let draft = Draft {
        status,
        notice: Some(notice),
        ..Draft::default()
    };
    shown(visit, Some(rule), draft).await
}

fn rule_href(visit: &Visit, rule: &str) -> String {
    format!("/app/channels/{}/rules/{rule}", visit.ctx.id())
}

async fn change(visit: &Visit, form: &Form, rule: &str, patch: Map<String, Value>) -> Result<(), ApiError> {
    let management = visit.ctx.app.management();
    let made = management
        .patch_rule(
            &visit.actor(form, ""),
            &form.reason(),
            rule,
            form.if_match(),
            &patch,
        )
        .await;
    visit.settled(made).await.map(|_| ())
}

/// A definition as a patch that leaves nothing of the one before.
fn whole(definition: &Definition) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(given) = serde_json::to_value(definition).map_err(ApiError::internal)? else {
        return Err(ApiError::internal("a definition is an object"));
    };
    let mut patch: Map<String, Value> = crate::routes::rules::MEMBERS
        .iter()
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect();
    patch.extend(given);
    Ok(patch)
}

fn read(form: &Form) -> (Draft, Option<Definition>) {
    let carried = ["csrf", "if_match", "idempotency_key", "do"];
    let typed: Vec<(String, String)> = form
        .fields()
        .iter()
        .filter(|(name, _)| !carried.contains(&name.as_str()))
        .cloned()
        .collect();
    let (definition, error) = match Fields(&typed).definition() {
        Ok(definition) => (Some(definition), None),
        Err(error) => (None, Some(error)),
    };
    let draft = Draft {
        status: if error.is_some() {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::OK
        },
        fields: typed,
        definition: definition.clone(),
        error,
        ..Draft::default()
    };
    (draft, definition)
}

fn not_taken(draft: &mut Draft, (status, notice): (StatusCode, Notice)) {
    draft.status = status;
    draft.error = Some(
        notice
            .text
            .trim_start_matches("Not saved: ")
            .trim_end_matches('.')
            .to_owned(),
    );
}

/// Tries the draft, where there is one that can be tried.
async fn attempt(visit: &Visit, draft: &mut Draft) -> Result<(), ApiError> {
    let (Some(definition), None) = (draft.definition.clone(), &draft.error) else {
        return Ok(());
    };
    let (from, to) = (visit.now.plus_micros(-TRY_DAYS * DAY_US), visit.now);
    let (account, id) = (&visit.user.account, visit.ctx.id().to_owned());
    let outcome = visit
        .ctx
        .app
        .try_rule(account, &id, definition.clone(), from, to)
        .await;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) if error.status == StatusCode::UNPROCESSABLE_ENTITY => {
            (draft.status, draft.error) = (error.status, Some(error.message.into_owned()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let zone = super::show::zone_of_channel(visit, &id)?;
    let rule = definition.clone();
    let (series, gaps) = visit
        .ask(move |asker| {
            let chart = gather::known(asker.rows.chart(asker.account, &id, from, to, CHART_STEPS))?;
            Ok(drawn(chart, from, to, CHART_STEPS))
        })
        .await?;
    let alarms = outcome.alarms.iter().filter(|alarm| !alarm.withdrawn);
    let warns = (rule.kind == Kind::Range)
        .then_some([rule.warn_min, rule.warn_max])
        .into_iter()
        .flatten()
        .flatten();
    draft.tried = Some(Tried {
        from,
        to,
        readings: outcome.readings,
        alarms: alarms
            .map(|alarm| TriedRow {
                began_at: alarm.opened.began_at,
                opened_at: alarm.opened.opened_at,
                cleared_at: alarm.cleared_at,
                severity: alarm.severity,
                value: alarm.opened.value,
            })
            .collect(),
        series,
        gaps,
        limits: in_force(&definition, &zone, from, to),
        lines: warns
            .map(|value| super::super::chart::RuleLine {
                value,
                label: "warns up to here".to_owned(),
            })
            .collect(),
    });
    Ok(())
}

async fn shown(visit: &Visit, rule: Option<&str>, draft: Draft) -> Answer {
    let app = &visit.ctx.app;
    let (id, named) = (visit.ctx.id().to_owned(), rule.map(str::to_owned));
    let of = visit
        .ask(move |asker| gather::rules::rule_of(asker, &id, named.as_deref()))
        .await?;
    let versions = match &of.rule {
        Some((rule, _)) => versions(visit, &rule.id, rule.simple).await?,
        None => Vec::new(),
    };
    let (rule, etag) = of
        .rule
        .map_or((None, String::new()), |(rule, etag)| (Some(rule), etag));
    let mut typed = draft.fields;
    if let (true, Some(rule)) = (typed.is_empty(), &rule) {
        typed = fields(&rule.definition);
    }
    let view = RulePage {
        channel: of.channel,
        device: of.device,
        zone: of.zone,
        rule,
        fields: typed,
        draft: draft.definition,
        error: draft.error,
        tried: draft.tried,
        presets: of.presets,
        others: of.others,
        versions,
        etag,
        idempotency_key: parts::idempotency_key(app.entropy()),
    };
    let page: Response = html(draft.status, edit::page(&visit.frame(draft.notice).await?, &view));
    Ok(page)
}

/// The rule's versions, newest first, with what differs from the one before.
async fn versions(visit: &Visit, rule: &str, simple: bool) -> Result<Vec<VersionRow>, ApiError> {
    let (id, channel) = (rule.to_owned(), visit.ctx.id().to_owned());
    let app = visit.ctx.app.clone();
    visit
        .ask(move |asker| {
            let of = |subject: &str, aggregate_type| {
                let filter = TimelineFilter {
                    subject: Some(subject),
                    aggregate_type: Some(aggregate_type),
                    before: None,
                };
                asker.rows.timeline(asker.account, &filter, VERSIONS_MAX)
            };
            let mut items = of(&id, "rule")?;
            if simple {
                items.extend(of(&channel, "channel")?);
            }
            items.sort_by_key(|item| std::cmp::Reverse(item.position));
            let mut told = crate::routes::rules::versions(&app, &items);
            told.reverse();
            let mut before: Option<Definition> = None;
            let mut rows: Vec<VersionRow> = Vec::new();
            for version in &told {
                let definition = definition_of(&version["definition"]);
                let code = version["reason"]["code"].as_str();
                let code = code.filter(|code| !["not_given", "stated"].contains(code));
                rows.push(VersionRow {
                    version: version["version"].as_u64().unwrap_or(0) as u32,
                    at: version["recorded_at"]
                        .as_str()
                        .and_then(|text| domain::Timestamp::parse_rfc3339(text).ok())
                        .unwrap_or_default(),
                    position: version["position"].as_u64().unwrap_or(0),
                    actor: gather::actor(asker, version["actor"].as_str().unwrap_or("")),
                    reason: version["reason"]["text"]
                        .as_str()
                        .or(code.map(gather::reason_words))
                        .map(str::to_owned),
                    changes: definition
                        .as_ref()
                        .map(|definition| edit::differences(before.as_ref(), definition))
                        .unwrap_or_default(),
                    removed: definition.is_none(),
                });
                before = definition.or(before);
            }
            rows.reverse();
            Ok(rows)
        })
        .await
}
