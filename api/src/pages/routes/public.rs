//! Pages for everybody: the door, the ledger, the assets.
//!
//! Invariant: nothing here tells whether an address, an account or an entry is known.
//! Not here: what a session is (`crate::auth`), links (`crate::routes::sign_in`).

use domain::day::DayClosed;
use domain::entry::Entry;
use domain::{Date, Position, TreeSize};
use warp::http::{StatusCode, header};

use super::super::ledger::view::{AuditRow, HeadRow, LedgerPage, PublicationRow, WitnessRow};
use super::super::sign_in::{self as door, Delivery};
use super::super::{assets, ledger as page, verify_log};
use super::forms::Form;
use super::{html, public_frame, signed_in, trouble};
use crate::auth::{self, Caller};
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Answer, Ctx};
use crate::witnesses::{HeadState, WitnessState, Witnesses};

/// Heads read for the page: what three months of calendar show.
const HEADS_MAX: usize = 93;

/// `/`: the overview, or the way to it.
pub async fn home(ctx: Ctx) -> Answer {
    Ok(reply::see_other(if matches!(ctx.caller, Caller::User(_)) {
        "/app"
    } else {
        "/sign-in"
    }))
}

/// An embedded file; its path carries its digest, so it may be kept for a year.
pub async fn asset(ctx: Ctx) -> Answer {
    let Some(asset) = assets::find(ctx.id()) else {
        return Ok(trouble(&ApiError::no_route(), &ctx.request.id));
    };
    let response = reply::bytes(StatusCode::OK, asset.media_type, asset.text());
    let response = reply::with(
        response,
        header::CACHE_CONTROL,
        "public, max-age=31536000, immutable",
    );
    let response = reply::with(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    Ok(reply::with(response, header::ETAG, &asset.etag()))
}

/// The form that asks for an address, or what a link opens.
pub async fn sign_in(ctx: Ctx) -> Answer {
    let token = ctx.request.query("token").filter(|token| !token.is_empty());
    Ok(match token {
        Some(token) => html(StatusCode::OK, door::confirm(&token)),
        None if matches!(ctx.caller, Caller::User(_)) => reply::see_other("/app"),
        None => html(StatusCode::OK, door::ask("", None, Delivery::Operator)),
    })
}

/// Somebody asks for a link.
pub async fn ask(mut ctx: Ctx) -> Answer {
    let id = ctx.request.id.clone();
    if let Err(limited) = ctx.app.limits().sign_in(ctx.request.peer.ip) {
        return Ok(trouble(&limited, &id));
    }
    let form = match Form::read(&mut ctx).await {
        Ok(form) => form,
        Err(error) => return Ok(trouble(&error, &id)),
    };
    let email = form.get("email");
    Ok(match ctx.app.sign_in_asked(email) {
        Ok(()) => html(StatusCode::OK, door::sent(email, Delivery::Operator)),
        Err(error) => html(
            error.status,
            door::ask(email, Some(&error.message), Delivery::Operator),
        ),
    })
}

/// Somebody uses a link.
pub async fn confirm(mut ctx: Ctx) -> Answer {
    let id = ctx.request.id.clone();
    if let Err(limited) = ctx.app.limits().sign_in(ctx.request.peer.ip) {
        return Ok(trouble(&limited, &id));
    }
    let form = match Form::read(&mut ctx).await {
        Ok(form) => form,
        Err(error) => return Ok(trouble(&error, &id)),
    };
    Ok(match ctx.app.sign_in(form.get("token")).await {
        Ok(cookie) => {
            let response = reply::see_other("/app");
            reply::with(
                response,
                header::SET_COOKIE,
                &auth::session_cookie(&ctx.app, &cookie),
            )
        }
        Err(error) if error.status == StatusCode::UNAUTHORIZED => {
            html(StatusCode::UNAUTHORIZED, door::spent())
        }
        Err(error) => trouble(&error, &id),
    })
}

/// The ledger's page; who is signed in keeps their navigation.
pub async fn ledger(ctx: Ctx) -> Answer {
    if matches!(ctx.caller, Caller::User(_)) {
        return signed_in(ctx, |visit| async move {
            let frame = visit.frame(None).await?;
            let view = view(&visit.ctx).await?;
            Ok(html(StatusCode::OK, page::page(&frame, &view)))
        })
        .await;
    }
    let id = ctx.request.id.clone();
    Ok(match view(&ctx).await {
        Ok(view) => html(StatusCode::OK, page::page(&public_frame(&ctx), &view)),
        Err(error) => trouble(&error, &id),
    })
}

/// The page that checks the live log in the browser.
pub async fn check_log(ctx: Ctx) -> Answer {
    let (origin, key) = (ctx.app.origin().to_owned(), ctx.app.verifier_keys().0);
    if matches!(ctx.caller, Caller::User(_)) {
        return signed_in(ctx, |visit| async move {
            let frame = visit.frame(None).await?;
            Ok(html(StatusCode::OK, verify_log::page(&frame, &origin, &key)))
        })
        .await;
    }
    let page = verify_log::page(&public_frame(&ctx), &origin, &key);
    Ok(html(StatusCode::OK, page))
}

async fn view(ctx: &Ctx) -> Result<LedgerPage, ApiError> {
    let app = &ctx.app;
    let days = app.ask(|rows| rows.days(None, HEADS_MAX)).await?;
    let mut heads: Vec<HeadRow> = days.iter().filter_map(|day| head(&day.payload)).collect();
    let channels = app.publishing().channels();
    for head in &mut heads {
        let state = match app.witnesses() {
            Some(witnesses) => witnesses.head_state(head.date),
            None if app.heads().has(head.date).map_err(ApiError::internal)? => HeadState::Integrated,
            None => HeadState::Sequenced,
        };
        let is_out = channels.iter().any(|channel| channel.last >= Some(head.date));
        head.state = match state {
            HeadState::Integrated if is_out => HeadState::Published,
            other => other,
        };
    }
    let status = app.sequencer().status();
    let first_of_today = days.first().map_or(0, |day| day.position.get() + 1);
    let first = app.log().read(Position::FIRST, 1, 1).await;
    let began = first.ok().and_then(|block| {
        let (_, bytes) = block.get(0)?;
        Entry::read(bytes).ok().map(|entry| entry.recorded_at.date())
    });
    let heads_total = app.heads().dates().map_err(ApiError::internal)?.len() as u64;
    let oldest = heads
        .last()
        .map(|head| head.date)
        .filter(|_| heads_total > heads.len() as u64);
    Ok(LedgerPage {
        origin: app.origin().to_owned(),
        base_url: app.base_url(&ctx.request),
        verifier_key: app.verifier_keys().0,
        checkpoint: app
            .published()
            .map(|(_, note)| String::from_utf8_lossy(&note).into_owned()),
        checkpoint_at: None,
        today: status.open_day.unwrap_or_else(|| app.clock().now().date()),
        today_from: first_of_today,
        began,
        witnesses: app.witnesses().map(witness_rows).unwrap_or_default(),
        heads_total,
        older_href: oldest.map(|date: Date| format!("/v1/heads?cursor={date}")),
        heads,
        channels: channels
            .into_iter()
            .map(|channel| PublicationRow {
                late: channel.next.filter(|_| channel.is_late(app.clock().now())),
                name: channel.name,
                kind: channel.kind,
                last: channel.last,
                at: channel.at,
                waiting: channel.waiting,
                failing: channel.trouble.is_some(),
            })
            .collect(),
        audit: app.self_audit().audited().last.map(|pass| AuditRow {
            at: pass.at,
            size: pass.size.get(),
            wrong: pass.wrong,
        }),
    })
}

fn head(payload: &str) -> Option<HeadRow> {
    let day: DayClosed = serde_json::from_str(payload).ok()?;
    Some(HeadRow {
        date: day.date,
        idle_since: day.idle_since,
        size: day.size.get(),
        root: day.root,
        entries: day.entries.values().sum(),
        refused: day.refused.values().sum(),
        state: HeadState::Sequenced,
    })
}

fn witness_rows(witnesses: &Witnesses) -> Vec<WitnessRow> {
    let row = |witness: WitnessState| WitnessRow {
        name: witness.name,
        cosigned_at: witness.cosigned_at,
        size: witness.size.map(TreeSize::get),
        up: witness.up,
        alarm: witness.alarm,
    };
    witnesses.states().into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_no_closed_day_is_left_out() {
        assert!(head("{}").is_none());
        assert!(head("not json").is_none());
    }
}
