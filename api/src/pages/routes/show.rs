//! What is looked at: each page from what was gathered for it.
//!
//! Not here: what changes something (`forms`), pages for everybody (`public`).

use std::collections::HashMap;

use domain::Position;
use domain::checkpoint::SignedCheckpoint;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::proof::inclusion_proof;
use domain::reading::Reading;
use domain::time::DAY_US;
use warp::http::StatusCode;

use super::super::add_device::view::{AddDevice, DeviceForm};
use super::super::alarms::view::SilenceForm;
use super::super::gather::{self, Asked, Typed};
use super::super::ledger::view::EntryPage;
use super::super::onboarding::view::{Onboarding, WebhookStep};
use super::super::view::{ChannelPage, FreshToken, Notice, Range};
use super::super::words::{self, Zone};
use super::super::{
    add_device, channel as channel_page, device as device_page, evidence as evidence_page,
    integrations as integrations_page, ledger, onboarding as onboarding_page, overview as overview_page,
    parts, people, site as site_page, tray as tray_page,
};
use super::{Visit, html, values};
use crate::errors::ApiError;
use crate::router::Answer;
use crate::routes::entries::{Viewer, read_error};
use domain::event::payload::IntegrationKind;

/// Longest range that a page draws: five years of days.
const RANGE_MAX_US: i64 = 5 * 366 * DAY_US;

pub async fn overview(visit: Visit) -> Answer {
    let view = visit.ask(gather::overview).await?;
    Ok(html(
        StatusCode::OK,
        overview_page::page(&visit.frame(None).await?, &view),
    ))
}

pub async fn site(visit: Visit) -> Answer {
    site_with(&visit, None).await
}

/// A site's page, with what a form did to it and what was typed.
pub async fn site_with(
    visit: &Visit,
    refused: Option<((StatusCode, Notice), site_page::form::Typed)>,
) -> Answer {
    let id = visit.ctx.id().to_owned();
    let mut view = visit.ask(move |asker| gather::site(asker, &id)).await?;
    let (notice, typed) = refused.unzip();
    view.typed = typed;
    let (status, notice) = split(notice);
    Ok(html(status, site_page::page(&visit.frame(notice).await?, &view)))
}

pub async fn new_site(visit: Visit) -> Answer {
    Ok(html(
        StatusCode::OK,
        site_page::new_page(&visit.frame(None).await?, "", None),
    ))
}

pub async fn new_device(visit: Visit) -> Answer {
    let chosen = visit.ctx.request.query("site").map(std::borrow::Cow::into_owned);
    new_device_with(&visit, chosen, DeviceForm::default(), StatusCode::OK).await
}

/// The form of a new device, with what was typed and is wrong.
pub async fn new_device_with(
    visit: &Visit,
    chosen: Option<String>,
    form: DeviceForm,
    status: StatusCode,
) -> Answer {
    let view = AddDevice {
        sites: visit.ask(|asker| Ok(gather::site_cards(asker))).await?,
        chosen,
        form,
        idempotency_key: parts::idempotency_key(visit.ctx.app.entropy()),
    };
    Ok(html(status, add_device::page(&visit.frame(None).await?, &view)))
}

pub async fn device(visit: Visit) -> Answer {
    let id = visit.ctx.id().to_owned();
    device_with(&visit, id, None).await
}

/// A device's page, with what a form did to it.
pub async fn device_with(visit: &Visit, id: String, notice: Option<(StatusCode, Notice)>) -> Answer {
    let view = visit.ask(move |asker| gather::device(asker, &id)).await?;
    let (status, notice) = split(notice);
    Ok(html(
        status,
        device_page::page(&visit.frame(notice).await?, &view),
    ))
}

fn split(notice: Option<(StatusCode, Notice)>) -> (StatusCode, Option<Notice>) {
    notice.map_or((StatusCode::OK, None), |(status, notice)| (status, Some(notice)))
}

pub async fn onboarding(visit: Visit) -> Answer {
    let id = visit.ctx.id().to_owned();
    onboarding_with(&visit, &id, None, None).await
}

/// The page of a device's first minute, with tokens that were made this moment.
pub async fn onboarding_with(
    visit: &Visit,
    id: &str,
    token: Option<FreshToken>,
    webhook: Option<FreshToken>,
) -> Answer {
    let device = id.to_owned();
    let status = visit
        .ask(move |asker| gather::onboarding_status(asker, &device))
        .await?;
    let app = &visit.ctx.app;
    let (device, webhook_name) = {
        let registry = app.registry().read();
        let device = registry.device(&visit.user.account, id).cloned();
        let lorawan = registry
            .integrations(&visit.user.account, None)
            .find(|it| it.state.kind == Some(IntegrationKind::Lorawan))
            .map(|it| (it.id.clone(), it.state.name.clone()));
        (device.ok_or_else(crate::routes::devices::not_found)?, lorawan)
    };
    let lorawan = match (webhook, webhook_name) {
        (Some(fresh), _) => WebhookStep::Fresh(fresh),
        (None, Some((id, name))) => WebhookStep::Exists {
            name: app.text("integration", &id, name.as_ref()).unwrap_or_default(),
        },
        (None, None) => WebhookStep::Missing,
    };
    let name = app.text("device", id, device.state.name.as_ref());
    let view = Onboarding {
        device: id.to_owned(),
        name: name.unwrap_or_else(|| device.state.local_id.clone()),
        local_id: device.state.local_id.clone(),
        dev_eui: device.state.dev_eui.clone(),
        model: device.state.model.clone(),
        token,
        base_url: app.base_url(&visit.ctx.request),
        lorawan,
        status,
    };
    Ok(html(
        StatusCode::OK,
        onboarding_page::page(&visit.frame(None).await?, &view),
    ))
}

pub async fn onboarding_status(visit: Visit) -> Answer {
    let id = visit.ctx.id().to_owned();
    let status = visit
        .ask(move |asker| gather::onboarding_status(asker, &id))
        .await?;
    Ok(html(StatusCode::OK, onboarding_page::status_page(&status)))
}

pub async fn channel(visit: Visit) -> Answer {
    let id = visit.ctx.id().to_owned();
    channel_with(&visit, id, SilenceForm::default(), values::Typed::default(), None).await
}

/// A channel's page, with what was typed about a silence or about its values.
pub async fn channel_with(
    visit: &Visit,
    id: String,
    silence: SilenceForm,
    typed: values::Typed,
    notice: Option<(StatusCode, Notice)>,
) -> Answer {
    let asked = asked(visit, &zone_of_channel(visit, &id)?);
    let mut view = visit.ask(move |asker| gather::channel(asker, &id, asked)).await?;
    tell_when_recorded(visit, &mut view).await?;
    view.silence = SilenceForm {
        idempotency_key: parts::idempotency_key(visit.ctx.app.entropy()),
        ..silence
    };
    view.values.calibration = typed.calibration;
    view.values.idempotency_key = parts::idempotency_key(visit.ctx.app.entropy());
    if typed.derive.error.is_some() {
        let form = &mut view.values.derive;
        (form.function, form.sources) = (typed.derive.function, typed.derive.sources);
        (form.reason, form.error) = (typed.derive.reason, typed.derive.error);
    }
    let (status, notice) = split(notice);
    Ok(html(
        status,
        channel_page::page(&visit.frame(notice).await?, &view),
    ))
}

/// The zone in which a channel's times are typed.
pub(super) fn zone_of_channel(visit: &Visit, id: &str) -> Result<Zone, ApiError> {
    let registry = visit.ctx.app.registry().read();
    let account = &visit.user.account;
    let channel = registry.channel(account, id).ok_or_else(ApiError::no_route)?;
    let device = registry.device(account, &channel.state.device);
    let site = device.and_then(|device| registry.site(account, device.state.site_at(visit.now)));
    Ok(site.map_or_else(Zone::utc, |site| Zone::named(&site.state.timezone)))
}

/// The range of the query; the last day where it names none, with words where it names one that cannot be.
fn asked(visit: &Visit, zone: &Zone) -> Asked {
    let request = &visit.ctx.request;
    let last = |range: Range, error| Asked {
        range,
        from: visit.now.plus_micros(-range.length_us().unwrap_or(DAY_US)),
        to: visit.now,
        error,
    };
    let (from, to) = (request.query("from"), request.query("to"));
    if from.is_none() && to.is_none() {
        let range = request.query("range").and_then(|text| Range::of_query(&text));
        return last(range.unwrap_or(Range::Day), None);
    }
    let time = |text: Option<std::borrow::Cow<'_, str>>| text.and_then(|text| words::typed(&text, zone));
    let problem = match (time(from), time(to)) {
        (Some(from), Some(to)) if from >= to => "The beginning must be before the end.",
        (Some(from), Some(to)) if to.since(from) > RANGE_MAX_US => "At most five years at once.",
        (Some(from), Some(to)) => {
            return Asked {
                range: Range::Custom,
                from,
                to,
                error: None,
            };
        }
        _ => "Give both times, such as 2026-05-17 08:00.",
    };
    last(Range::Day, Some(problem.to_owned()))
}

/// When readings were recorded and whose clock dated them stands in the ledger.
async fn tell_when_recorded(visit: &Visit, view: &mut ChannelPage) -> Result<(), ApiError> {
    let mut positions: Vec<Position> = view.readings.iter().map(|row| Position(row.position)).collect();
    positions.sort_unstable();
    positions.dedup();
    let block = visit
        .ctx
        .app
        .log()
        .read_at(&positions)
        .await
        .map_err(read_error)?;
    let mut told = HashMap::new();
    for (position, bytes) in block.iter() {
        let entry = Entry::read(bytes).map_err(ApiError::internal)?;
        let clock = Reading::read(entry.payload)
            .map(|reading| reading.time_from.as_str())
            .unwrap_or("");
        told.insert(position.get(), (entry.recorded_at, clock));
    }
    for row in &mut view.readings {
        if let Some((recorded_at, clock)) = told.get(&row.position) {
            (row.recorded_at, row.time_from) = (Some(*recorded_at), (*clock).to_owned());
        }
    }
    Ok(())
}

pub async fn entry(visit: Visit) -> Answer {
    let app = &visit.ctx.app;
    let position = visit
        .ctx
        .id()
        .parse()
        .map(Position)
        .map_err(|_| ApiError::no_route())?;
    let (size, note) = app.signed().ok_or_else(|| not_covered(position))?;
    if !app.log().size().contains(position) {
        return Err(ApiError::no_route());
    }
    if !size.contains(position) {
        return Err(not_covered(position));
    }
    let block = app.log().read(position, 1, 1).await.map_err(read_error)?;
    let (_, bytes) = block
        .get(0)
        .ok_or_else(|| ApiError::internal("an entry below the checkpoint is missing"))?;
    let withheld = Viewer::of(app, &visit.user).withholds(bytes);
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    let signed = SignedCheckpoint::parse(&note).map_err(ApiError::internal)?;
    let view = EntryPage {
        position: position.get(),
        leaf_hash: leaf_hash(bytes),
        json: if withheld {
            None
        } else {
            serde_json::to_string_pretty(&value).ok()
        },
        absent: withheld
            .then(|| "This entry is not shown: it is of another account, or holds a secret's hash.".into()),
        size: size.get(),
        root: signed.checkpoint().root(),
        path: inclusion_proof(app.tiles(), position, size).map_err(ApiError::internal)?,
        proof_href: format!("/v1/proofs/inclusion?position={position}&format=tlog-proof"),
    };
    Ok(html(
        StatusCode::OK,
        ledger::entry(&visit.frame(None).await?, &view),
    ))
}

fn not_covered(position: Position) -> ApiError {
    ApiError::unavailable(
        "not_signed_yet",
        format!(
            "No checkpoint covers entry {position} yet. One is signed within a second; load this page again."
        ),
    )
    .retry_after(1)
}

pub async fn tray(visit: Visit) -> Answer {
    tray_with(&visit, None).await
}

/// The tray, with what a form did.
pub async fn tray_with(visit: &Visit, notice: Option<(StatusCode, Notice)>) -> Answer {
    let view = visit.ask(gather::tray).await?;
    let (status, notice) = split(notice);
    Ok(html(status, tray_page::page(&visit.frame(notice).await?, &view)))
}

pub async fn integrations(visit: Visit) -> Answer {
    integrations_with(&visit, None, None).await
}

/// The integrations, with one that was made this moment.
pub async fn integrations_with(
    visit: &Visit,
    fresh: Option<(String, FreshToken)>,
    notice: Option<(StatusCode, Notice)>,
) -> Answer {
    let app = visit.ctx.app.clone();
    let base_url = app.base_url(&visit.ctx.request);
    let view = visit
        .ask(move |asker| Ok(gather::integrations(asker, fresh, base_url, app.entropy())))
        .await?;
    let (status, notice) = split(notice);
    Ok(html(
        status,
        integrations_page::page(&visit.frame(notice).await?, &view),
    ))
}

pub async fn evidence(visit: Visit) -> Answer {
    let chosen = ["site", "device", "channel"].into_iter().find_map(|kind| {
        let id = visit.ctx.request.query(kind)?;
        Some(format!("{kind}:{id}"))
    });
    // The days are only kept where they are some: they stand in the form.
    let day = |name: &str| {
        let text = visit.ctx.request.query(name)?;
        domain::Date::parse(&text).ok().map(|date| date.to_string())
    };
    let typed = Typed {
        subject: chosen,
        from: day("from"),
        to: day("to"),
        ..Typed::default()
    };
    evidence_with(&visit, typed, StatusCode::OK).await
}

/// The evidence packs, with what was typed.
pub async fn evidence_with(visit: &Visit, typed: Typed, status: StatusCode) -> Answer {
    let app = visit.ctx.app.clone();
    let told = app.evidence().list(&visit.user.account, None);
    let view = visit
        .ask(move |asker| {
            let last_closed = app.heads().dates().ok().and_then(|dates| dates.last().copied());
            let key = parts::idempotency_key(app.entropy());
            Ok(gather::evidence(asker, &told, typed, last_closed, key))
        })
        .await?;
    Ok(html(
        status,
        evidence_page::page(&visit.frame(None).await?, &view),
    ))
}

pub async fn users(visit: Visit) -> Answer {
    users_with(&visit, None, None).await
}

/// The users, with what was typed and is wrong.
pub async fn users_with(
    visit: &Visit,
    error: Option<String>,
    notice: Option<(StatusCode, Notice)>,
) -> Answer {
    let viewer = visit.user.user.clone();
    let status = if error.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let view = visit
        .ask(move |asker| Ok(gather::users(asker, &viewer, error)))
        .await?;
    let (status, notice) = notice.map_or((status, None), |(status, notice)| (status, Some(notice)));
    Ok(html(status, people::users(&visit.frame(notice).await?, &view)))
}

pub async fn tokens(visit: Visit) -> Answer {
    tokens_with(&visit, None).await
}

/// The API tokens, with one that was made this moment.
pub async fn tokens_with(visit: &Visit, fresh: Option<FreshToken>) -> Answer {
    let app = visit.ctx.app.clone();
    let (viewer, base_url) = (visit.user.user.clone(), app.base_url(&visit.ctx.request));
    let view = visit
        .ask(move |asker| Ok(gather::tokens(asker, &viewer, fresh, base_url, app.entropy())))
        .await?;
    Ok(html(
        StatusCode::OK,
        people::tokens(&visit.frame(None).await?, &view),
    ))
}

pub async fn account(visit: Visit) -> Answer {
    account_with(&visit, None).await
}

/// The account's page, with what a form did.
pub async fn account_with(visit: &Visit, notice: Option<(StatusCode, Notice)>) -> Answer {
    let (viewer, origin) = (visit.user.user.clone(), visit.ctx.app.origin().to_owned());
    let view = visit
        .ask(move |asker| gather::account(asker, &viewer, &origin))
        .await?;
    let (status, notice) = split(notice);
    Ok(html(status, people::account(&visit.frame(notice).await?, &view)))
}
