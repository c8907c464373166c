//! Alarms and silences: looked at, acknowledged, commented on, closed, opened again, begun and ended.
//!
//! Invariants: what cannot be done is said on the page it came from, with what was typed; whoever acknowledges has seen
//! the alarm as it is, so a form that was made before it changed is not taken.
//! Not here: what may be done (`commands::handlers`), pages (`super::super::alarms`).

use commands::handlers::Outcome;
use domain::event::{Reason, Signature};
use domain::time::DAY_US;
use domain::{Date, Timestamp};
use warp::http::StatusCode;

use super::super::alarms as pages;
use super::super::alarms::reasons;
use super::super::alarms::view::{AlarmPage, Ground, GroundInput, Shown, SilenceForm, Typed, Why};
use super::super::gather::alarms::{self, AlarmsAsked};
use super::super::parts;
use super::super::rules::list;
use super::super::values::derived::source_words;
use super::super::view::Notice;
use super::super::words;
use super::forms::{Form, refused, to};
use super::{Visit, html, show};
use crate::errors::ApiError;
use crate::router::Answer;
use crate::routes::change;
use crate::routes::events::{Told, told};
use crate::signing::Act;

const MINUTE_US: i64 = 60_000_000;

pub async fn list(visit: Visit) -> Answer {
    let request = &visit.ctx.request;
    let asked = AlarmsAsked {
        shown: match request.query("show").as_deref() {
            Some("open") => Shown::Open,
            Some("all") => Shown::All,
            _ => Shown::Recent,
        },
        site: request
            .query("site")
            .map(std::borrow::Cow::into_owned)
            .filter(|site| !site.is_empty()),
        after: request
            .query_as::<u64>("before", "a position")?
            .map(alarms::behind),
    };
    let view = visit.ask(move |asker| alarms::alarms(asker, asked)).await?;
    Ok(html(
        StatusCode::OK,
        pages::list::page(&visit.frame(None).await?, &view),
    ))
}

pub async fn one(visit: Visit) -> Answer {
    let id = visit.ctx.id().to_owned();
    one_with(&visit, &id, Typed::default(), StatusCode::OK).await
}

/// An alarm's page, with what was typed about it.
async fn one_with(visit: &Visit, id: &str, typed: Typed, status: StatusCode) -> Answer {
    let app = &visit.ctx.app;
    let told = told(app, &visit.user.account, id).await?;
    let idempotency_key = parts::idempotency_key(app.entropy());
    let view = visit
        .ask(move |asker| {
            let Told { alarm, items, why } = &told;
            let mut rows = alarms::rows(asker, vec![alarm.clone()])?;
            let row = rows
                .pop()
                .ok_or_else(|| projections::QueryError::ChannelNotFound(alarm.channel.clone()))?;
            let rule = alarms::definition_of(&why["rule"]);
            let around = match row.raised {
                Some(_) => None,
                None => Some(alarms::around(asker, alarm, &row, rule.as_ref())?),
            };
            Ok(AlarmPage {
                steps: alarms::steps(asker, &row, items)?,
                why: because(asker, alarm, &row, why),
                around,
                row,
                typed,
                etag: alarm.sequence.to_string(),
                idempotency_key,
            })
        })
        .await?;
    Ok(html(status, pages::one::page(&visit.frame(None).await?, &view)))
}

/// The readings that a derived channel's value was made of.
fn inputs(
    asker: &super::super::gather::Asker<'_>,
    alarm: &projections::query::Alarm,
    told: &serde_json::Value,
) -> Vec<GroundInput> {
    let function = {
        let registry = asker.known.registry();
        let channel = registry.channel(asker.account, &alarm.channel);
        channel.and_then(|channel| channel.state.derivation.as_ref().map(|it| it.function))
    };
    let names = function.map_or(&[][..], source_words);
    let told = told.as_array().map_or(&[][..], Vec::as_slice);
    let told = told.iter().enumerate().filter_map(|(index, input)| {
        let channel = input["channel_id"].as_str()?;
        Some(GroundInput {
            position: input["position"].as_u64()?,
            href: format!("/app/channels/{channel}"),
            name: names.get(index).map_or(channel, |name| *name).to_owned(),
            value: input["value"].as_f64(),
        })
    });
    told.collect()
}

/// The why, from what the API tells of it.
fn because(
    asker: &super::super::gather::Asker<'_>,
    alarm: &projections::query::Alarm,
    row: &pages::view::AlarmRow,
    why: &serde_json::Value,
) -> Why {
    let rules = super::super::gather::rules::of_channel(asker, &alarm.channel);
    let rule = rules.iter().find(|rule| rule.id == alarm.rule);
    let time = |value: &serde_json::Value| {
        value
            .as_str()
            .and_then(|text| Timestamp::parse_rfc3339(text).ok())
    };
    let day = |at: Timestamp| Date::from_days(at.as_micros().div_euclid(DAY_US) as i32);
    let opened = alarm.opening();
    let readings = why["readings"].as_array().map_or(&[][..], Vec::as_slice);
    Why {
        rule: rule.map_or_else(|| list::kind(row.held.rule).to_owned(), list::name),
        rule_href: rule.map(|rule| format!("/app/channels/{}/rules/{}", alarm.channel, rule.id)),
        version: alarm.rule_version,
        window: opened
            .as_ref()
            .and_then(|opened| opened.window)
            .map(|window| (window.starts_at, window.ends_at)),
        readings: readings
            .iter()
            .filter_map(|reading| {
                Some(Ground {
                    position: reading["position"].as_u64()?,
                    measured_at: time(&reading["measured_at"]),
                    value: reading["value"].as_f64(),
                    inputs: inputs(asker, alarm, &reading["inputs"]),
                })
            })
            .collect(),
        reproduce: why["reproduce"].as_str().unwrap_or_default().to_owned(),
        position: alarm.place.position.get(),
        decided_by: opened.map(|opened| opened.decided_by.get()),
        pack_href: format!(
            "/app/evidence?channel={}&from={}&to={}",
            alarm.channel,
            day(alarm.began_at),
            day(alarm.ended_at.unwrap_or(asker.now))
        ),
    }
}

/// A coded reason with its words.
fn coded(form: &Form, known: &[reasons::Known]) -> Result<Reason, ApiError> {
    let code = form.get("reason_code");
    let known = known.iter().any(|(known, _)| *known == code);
    let text = form.some("words");
    if !known {
        return Err(ApiError::rejected("reason_required", "choose what it is"));
    }
    if code == reasons::OTHER && text.is_none() {
        return Err(ApiError::rejected("reason_required", "say in words what it is"));
    }
    Ok(Reason {
        code: code.to_owned(),
        text,
    })
}

/// The reason, and the signature where a code was entered, with the sequence that the alarm must then have.
async fn decided(
    visit: &Visit,
    form: &Form,
    known: &[reasons::Known],
    act: Act,
    step: &str,
) -> Result<(Reason, Option<Signature>, Option<u64>), ApiError> {
    let reason = coded(form, known)?;
    let Some(code) = form.some("code") else {
        return Ok((reason, None, form.if_match()));
    };
    let app = &visit.ctx.app;
    if app.management().is_repeated(&visit.actor(form, step)).await? {
        return Ok((reason, None, form.if_match()));
    }
    let (signature, sequence) = app
        .signed_by_code(&visit.user, act, visit.ctx.id(), &code, form.if_match())
        .await?;
    Ok((reason, Some(signature), Some(sequence)))
}

/// Mails the code that signs, and shows the alarm again with what was typed.
pub async fn sign(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    let act = match form.get("act") {
        "close" => Act::Close,
        _ => Act::Acknowledge,
    };
    let name = match act {
        Act::Close => "close",
        Act::Acknowledge => "ack",
    };
    let asked = visit
        .ctx
        .app
        .ask_to_sign(&visit.user, act, &id, form.get("meaning"))
        .await;
    let (status, error) = match asked.map_err(refused) {
        Ok(()) => (StatusCode::OK, None),
        Err(refused) => {
            let (status, notice) = refused?;
            (status, Some(notice.text))
        }
    };
    let typed = Typed {
        code_sent: error.is_none(),
        ..typed(&form, name, error)
    };
    one_with(&visit, &id, typed, status).await
}

fn typed(form: &Form, name: &'static str, error: Option<String>) -> Typed {
    Typed {
        form: name,
        reason: form.get("reason_code").to_owned(),
        words: form.get("words").to_owned(),
        action: form.get("action").to_owned(),
        code_sent: false,
        error,
    }
}

/// Goes back to the alarm, or shows it with what was typed and why that was not taken.
async fn done(
    visit: &Visit,
    form: &Form,
    name: &'static str,
    said: &str,
    outcome: Result<Outcome, ApiError>,
) -> Answer {
    let id = visit.ctx.id().to_owned();
    match outcome.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/alarms/{id}"), said)),
        Err(refused) => {
            let (status, notice) = refused?;
            one_with(visit, &id, typed(form, name, Some(notice.text)), status).await
        }
    }
}

pub async fn acknowledge(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let outcome = match decided(&visit, &form, reasons::SEEN, Act::Acknowledge, "ack").await {
        Ok((reason, signature, if_match)) => {
            let management = visit.ctx.app.management();
            let made = management
                .acknowledge_alarm(
                    &visit.actor(&form, "ack"),
                    &reason,
                    visit.ctx.id(),
                    if_match,
                    form.some("action"),
                    signature,
                )
                .await;
            visit.settled(made).await
        }
        Err(error) => Err(error),
    };
    done(&visit, &form, "ack", "acknowledged", outcome).await
}

pub async fn comment(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let management = visit.ctx.app.management();
    let not_given = Reason::code(domain::event::metadata::REASON_NOT_GIVEN);
    let made = management
        .comment_alarm(
            &visit.actor(&form, "comment"),
            &not_given,
            visit.ctx.id(),
            form.get("words").to_owned(),
        )
        .await;
    let outcome = visit.settled(made).await;
    done(&visit, &form, "comment", "commented", outcome).await
}

pub async fn close(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let outcome = match decided(&visit, &form, reasons::ENDINGS, Act::Close, "close").await {
        Ok((reason, signature, if_match)) => {
            let management = visit.ctx.app.management();
            let made = management
                .close_alarm(
                    &visit.actor(&form, "close"),
                    &reason,
                    visit.ctx.id(),
                    if_match,
                    signature,
                )
                .await;
            visit.settled(made).await
        }
        Err(error) => Err(error),
    };
    done(&visit, &form, "close", "closed", outcome).await
}

pub async fn reopen(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let outcome = match coded(&form, reasons::REOPENINGS) {
        Ok(reason) => {
            let management = visit.ctx.app.management();
            let made = management
                .reopen_alarm(
                    &visit.actor(&form, "reopen"),
                    &reason,
                    visit.ctx.id(),
                    form.if_match(),
                )
                .await;
            visit.settled(made).await
        }
        Err(error) => Err(error),
    };
    done(&visit, &form, "reopen", "reopened", outcome).await
}

pub async fn silence(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let id = visit.ctx.id().to_owned();
    match open_silence(&visit, &form, &id).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/channels/{id}"), "silenced")),
        Err(refused) => {
            let (status, notice) = refused?;
            let typed = SilenceForm {
                from: form.get("from").to_owned(),
                to: form.get("to").to_owned(),
                minutes: form.get("minutes").to_owned(),
                reason: form.get("reason").to_owned(),
                error: Some(notice.text.clone()),
                idempotency_key: String::new(),
            };
            show::channel_with(&visit, id, typed, Default::default(), Some((status, notice))).await
        }
    }
}

async fn open_silence(visit: &Visit, form: &Form, id: &str) -> Result<Outcome, ApiError> {
    let zone = show::zone_of_channel(visit, id)?;
    let bad = |words: &'static str| ApiError::rejected("invalid_silence", words);
    let time = |name: &str, words: &'static str| {
        let text = form.some(name);
        text.map(|text| words::typed(&text, &zone).ok_or_else(|| bad(words)))
            .transpose()
    };
    let from = time("from", "the beginning must be a time")?.unwrap_or(visit.now);
    let minutes: Option<i64> = form.get("minutes").parse().ok();
    let until = time("to", "the end must be a time")?;
    let until = match (minutes, until) {
        // What was chosen by its length begins when it begins.
        (Some(minutes), _) => from.plus_micros(minutes.clamp(1, 60 * 24 * 31) * MINUTE_US),
        (None, Some(until)) => until,
        (None, None) => return Err(bad("say until when, or choose for how long")),
    };
    let reason = form
        .some("reason")
        .map(change::in_words)
        .ok_or_else(|| ApiError::rejected("reason_required", "say why the channel is silenced"))?;
    let management = visit.ctx.app.management();
    let made = management
        .open_silence(&visit.actor(form, "silence"), &reason, id, from, until)
        .await;
    visit.settled(made).await
}

pub async fn end_silence(mut visit: Visit) -> Answer {
    let form = visit.form().await?;
    let (id, silence) = (visit.ctx.id().to_owned(), visit.ctx.param(1).to_owned());
    let management = visit.ctx.app.management();
    let made = management
        .end_silence(&visit.actor(&form, ""), &form.reason(), &silence, form.if_match())
        .await;
    match visit.settled(made).await.map_err(refused) {
        Ok(_) => Ok(to(&format!("/app/channels/{id}"), "unsilenced")),
        Err(refused) => {
            let refused: (StatusCode, Notice) = refused?;
            show::channel_with(
                &visit,
                id,
                SilenceForm::default(),
                Default::default(),
                Some(refused),
            )
            .await
        }
    }
}
