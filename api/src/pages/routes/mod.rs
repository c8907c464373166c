//! The console's routes: who is signed in, what is gathered for them, which page shows it.
//!
//! Invariants: a page is only for who is signed in, but for sign-in, the ledger and the assets; whoever is not is
//! sent to sign in; every answer forbids scripts and styles from elsewhere and is not kept by the browser; an
//! error is a page in words, with the status that it has in the API.
//! Not here: the API (`crate::routes`), what pages look like.

mod alarms;
mod contacts;
mod devices;
mod evidence;
mod forms;
mod integrations;
mod links;
mod outbound;
mod people;
mod public;
mod rules;
mod show;
mod sites;
mod values;

use std::future::Future;
use std::sync::Arc;

use commands::refusals::{Refusal, Source};
use commands::sequencer::Writing;
use domain::checkpoint::SignedCheckpoint;
use domain::registry::Registry;
use domain::sealed::SealedField;
use domain::{Hash, Timestamp};
use maud::Markup;
use parking_lot::RwLockReadGuard;
use projections::QueryError;
use projections::query::TimelineItem;
use serde_json::Value;
use warp::http::{HeaderMap, StatusCode, header};

use super::assets;
use super::gather::{self, Asker, Known};
use super::sign_in::{self, Trouble};
use super::view::{Frame, LedgerStrip, Notice, OpenAlarms};
use super::words::Zone;
use crate::app::App;
use crate::auth::{By, Caller, User};
use crate::errors::ApiError;
use crate::reply::{self, Response};
use crate::router::{Access, Answer, Ctx, Handler, Route, Verb};
use crate::routes::texts::Origin;

const fn get(path: &'static str, handler: Handler) -> Route {
    route(Verb::Get, path, handler)
}

const fn post(path: &'static str, handler: Handler) -> Route {
    route(Verb::Post, path, handler)
}

const fn route(verb: Verb, path: &'static str, handler: Handler) -> Route {
    Route {
        verb,
        path,
        access: Access::Optional,
        handler,
        doc: None,
    }
}

/// The routes of every page.
pub const ROUTES: &[Route] = &[
    get("/", |ctx| Box::pin(public::home(ctx))),
    get("/assets/{name}", |ctx| Box::pin(public::asset(ctx))),
    get("/ledger", |ctx| Box::pin(public::ledger(ctx))),
    get("/ledger/verify", |ctx| Box::pin(public::check_log(ctx))),
    get("/sign-in", |ctx| Box::pin(public::sign_in(ctx))),
    post("/sign-in", |ctx| Box::pin(public::ask(ctx))),
    post("/sign-in/confirm", |ctx| Box::pin(public::confirm(ctx))),
    get("/a/{link}", |ctx| Box::pin(links::acknowledge(ctx))),
    post("/a/{link}", |ctx| Box::pin(links::acknowledge_now(ctx))),
    get("/u/{link}", |ctx| Box::pin(links::own(ctx))),
    post("/u/{link}", |ctx| Box::pin(links::own_now(ctx))),
    get("/c/{link}", |ctx| Box::pin(links::confirm(ctx))),
    post("/c/{link}", |ctx| Box::pin(links::confirm_now(ctx))),
    post("/app/sign-out", |ctx| Box::pin(signed_in(ctx, people::sign_out))),
    get("/app", |ctx| Box::pin(signed_in(ctx, show::overview))),
    get("/app/sites/new", |ctx| Box::pin(signed_in(ctx, show::new_site))),
    post("/app/sites", |ctx| Box::pin(signed_in(ctx, sites::add_site))),
    get("/app/sites/{id}", |ctx| Box::pin(signed_in(ctx, show::site))),
    post("/app/sites/{id}", |ctx| {
        Box::pin(signed_in(ctx, sites::change_site))
    }),
    get("/app/devices/new", |ctx| {
        Box::pin(signed_in(ctx, show::new_device))
    }),
    post("/app/devices", |ctx| {
        Box::pin(signed_in(ctx, devices::add_device))
    }),
    get("/app/devices/{id}", |ctx| Box::pin(signed_in(ctx, show::device))),
    post("/app/devices/{id}", |ctx| {
        Box::pin(signed_in(ctx, devices::change_device))
    }),
    post("/app/devices/{id}/move", |ctx| {
        Box::pin(signed_in(ctx, devices::move_device))
    }),
    post("/app/devices/{id}/remove", |ctx| {
        Box::pin(signed_in(ctx, devices::remove_device))
    }),
    post("/app/devices/{id}/rotate-token", |ctx| {
        Box::pin(signed_in(ctx, devices::rotate_device_token))
    }),
    get("/app/devices/{id}/onboarding", |ctx| {
        Box::pin(signed_in(ctx, show::onboarding))
    }),
    get("/app/devices/{id}/onboarding-status", |ctx| {
        Box::pin(signed_in(ctx, show::onboarding_status))
    }),
    post("/app/sensors/{id}", |ctx| {
        Box::pin(signed_in(ctx, devices::change_limits))
    }),
    get("/app/alarms", |ctx| Box::pin(signed_in(ctx, alarms::list))),
    get("/app/alarms/{id}", |ctx| Box::pin(signed_in(ctx, alarms::one))),
    post("/app/alarms/{id}/ack", |ctx| {
        Box::pin(signed_in(ctx, alarms::acknowledge))
    }),
    post("/app/alarms/{id}/comment", |ctx| {
        Box::pin(signed_in(ctx, alarms::comment))
    }),
    post("/app/alarms/{id}/close", |ctx| {
        Box::pin(signed_in(ctx, alarms::close))
    }),
    post("/app/alarms/{id}/sign", |ctx| {
        Box::pin(signed_in(ctx, alarms::sign))
    }),
    post("/app/alarms/{id}/reopen", |ctx| {
        Box::pin(signed_in(ctx, alarms::reopen))
    }),
    post("/app/channels/{id}/silences", |ctx| {
        Box::pin(signed_in(ctx, alarms::silence))
    }),
    post("/app/channels/{id}/silences/{silence}/end", |ctx| {
        Box::pin(signed_in(ctx, alarms::end_silence))
    }),
    post("/app/channels/{id}/calibrations", |ctx| {
        Box::pin(signed_in(ctx, values::calibrate))
    }),
    post("/app/channels/{id}/derived", |ctx| {
        Box::pin(signed_in(ctx, values::derive))
    }),
    post("/app/channels/{id}/derivation", |ctx| {
        Box::pin(signed_in(ctx, values::make))
    }),
    get("/app/channels/{id}/rules/new", |ctx| {
        Box::pin(signed_in(ctx, rules::new))
    }),
    post("/app/channels/{id}/rules/new", |ctx| {
        Box::pin(signed_in(ctx, rules::draft_new))
    }),
    get("/app/channels/{id}/rules/{rule}", |ctx| {
        Box::pin(signed_in(ctx, rules::one))
    }),
    post("/app/channels/{id}/rules/{rule}", |ctx| {
        Box::pin(signed_in(ctx, rules::draft))
    }),
    post("/app/channels/{id}/rules/{rule}/disable", |ctx| {
        Box::pin(signed_in(ctx, rules::disable))
    }),
    post("/app/channels/{id}/rules/{rule}/enable", |ctx| {
        Box::pin(signed_in(ctx, rules::enable))
    }),
    post("/app/channels/{id}/rules/{rule}/remove", |ctx| {
        Box::pin(signed_in(ctx, rules::remove))
    }),
    get("/app/channels/{id}", |ctx| {
        Box::pin(signed_in(ctx, show::channel))
    }),
    get("/app/entries/{position}", |ctx| {
        Box::pin(signed_in(ctx, show::entry))
    }),
    get("/app/tray", |ctx| Box::pin(signed_in(ctx, show::tray))),
    post("/app/tray/{dev_eui}/adopt", |ctx| {
        Box::pin(signed_in(ctx, devices::adopt))
    }),
    get("/app/integrations", |ctx| {
        Box::pin(signed_in(ctx, show::integrations))
    }),
    post("/app/integrations", |ctx| {
        Box::pin(signed_in(ctx, integrations::add_integration))
    }),
    post("/app/integrations/{id}/rotate-token", |ctx| {
        Box::pin(signed_in(ctx, integrations::rotate_integration_token))
    }),
    post("/app/integrations/{id}/remove", |ctx| {
        Box::pin(signed_in(ctx, integrations::remove_integration))
    }),
    get("/app/evidence", |ctx| Box::pin(signed_in(ctx, show::evidence))),
    post("/app/evidence", |ctx| {
        Box::pin(signed_in(ctx, evidence::ask_for_evidence))
    }),
    get("/app/contacts", |ctx| Box::pin(signed_in(ctx, contacts::show))),
    post("/app/contacts", |ctx| Box::pin(signed_in(ctx, contacts::create))),
    post("/app/contacts/{id}", |ctx| {
        Box::pin(signed_in(ctx, contacts::change))
    }),
    post("/app/contacts/{id}/test", |ctx| {
        Box::pin(signed_in(ctx, contacts::test))
    }),
    post("/app/contacts/{id}/confirm", |ctx| {
        Box::pin(signed_in(ctx, contacts::confirm))
    }),
    post("/app/contacts/{id}/rotate-secret", |ctx| {
        Box::pin(signed_in(ctx, contacts::rotate_secret))
    }),
    post("/app/contacts/{id}/remove", |ctx| {
        Box::pin(signed_in(ctx, contacts::remove))
    }),
    get("/app/outbound", |ctx| Box::pin(signed_in(ctx, outbound::show))),
    post("/app/outbound/{notification}/redeliver", |ctx| {
        Box::pin(signed_in(ctx, outbound::redeliver))
    }),
    get("/app/users", |ctx| Box::pin(signed_in(ctx, show::users))),
    post("/app/users", |ctx| Box::pin(signed_in(ctx, people::invite))),
    post("/app/users/{id}/remove", |ctx| {
        Box::pin(signed_in(ctx, people::remove_user))
    }),
    get("/app/tokens", |ctx| Box::pin(signed_in(ctx, show::tokens))),
    post("/app/tokens", |ctx| Box::pin(signed_in(ctx, people::make_token))),
    post("/app/tokens/{id}/revoke", |ctx| {
        Box::pin(signed_in(ctx, people::revoke_token))
    }),
    get("/app/account", |ctx| Box::pin(signed_in(ctx, show::account))),
    post("/app/account", |ctx| {
        Box::pin(signed_in(ctx, people::rename_account))
    }),
    get("/app/{path...}", |ctx| {
        Box::pin(signed_in(ctx, |_| async { Err(ApiError::no_route()) }))
    }),
];

/// A request of somebody who is signed in.
pub(super) struct Visit {
    /// The request and everything behind the edge.
    pub ctx: Ctx,
    /// Who.
    pub user: User,
    /// Since when; the time of the page.
    pub now: Timestamp,
}

/// Answers who is signed in, and sends everybody else to sign in.
async fn signed_in<F: Future<Output = Answer>>(ctx: Ctx, answer: impl FnOnce(Visit) -> F) -> Answer {
    let Caller::User(user) = &ctx.caller else {
        return Ok(reply::see_other("/sign-in"));
    };
    // A page that was told of an entry is not answered from before it.
    if let Some(seen) = seen(&ctx) {
        ctx.app
            .settled(seen.saturating_add(1).min(ctx.app.log().size().get()))
            .await;
    }
    let (user, now, id) = (user.clone(), ctx.app.clock().now(), Arc::clone(&ctx.request.id));
    let answered = match ctx.app.limits().user(&user.user) {
        Ok(()) => answer(Visit { ctx, user, now }).await,
        Err(limited) => Err(limited),
    };
    Ok(answered.unwrap_or_else(|error| trouble(&error, &id)))
}

/// The position of the entry that an open page was told of.
fn seen(ctx: &Ctx) -> Option<u64> {
    ctx.request.headers.get("x-seen")?.to_str().ok()?.parse().ok()
}

impl Visit {
    /// Asks on a thread that may block.
    ///
    /// # Errors
    /// As the question.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Asker<'_>) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (app, account, now) = (Arc::clone(&self.ctx.app), self.user.account.clone(), self.now);
        self.ctx
            .app
            .ask(move |rows| {
                question(&Asker {
                    known: &*app,
                    rows,
                    account: &account,
                    now,
                })
            })
            .await
    }

    /// The frame of a page, with what the last form did.
    async fn frame(&self, notice: Option<Notice>) -> Result<Frame, ApiError> {
        let strip = strip(&self.ctx.app);
        let (user, csrf) = (self.user.user.clone(), csrf_of(&self.user));
        let mut frame = self
            .ask(move |asker| gather::frame(asker, &user, &csrf, strip))
            .await?;
        frame.notice = notice.or_else(|| done(self.ctx.request.query("done").as_deref()));
        Ok(frame)
    }
}

fn csrf_of(user: &User) -> String {
    match &user.by {
        By::Session { csrf } => csrf.clone(),
        By::Token(_) => String::new(),
    }
}

/// What a form did, by the word that its redirect carries: a link from elsewhere can show no text of its own.
fn done(word: Option<&str>) -> Option<Notice> {
    let text = match word? {
        "saved" => "Saved.",
        "moved" => "Moved. Readings from now on belong to the new site.",
        "removed" => "Removed. What it measured stays in the ledger.",
        "revoked" => "Revoked. The token stopped working at once.",
        "invited" => "Invited. Print their link as is said below, and hand it to them.",
        "added" => "Added.",
        "acknowledged" => "Acknowledged, with your name. The alarm stays open until the values are right.",
        "commented" => "Said.",
        "closed" => "Closed.",
        "reopened" => "Open again. Whoever is told of alarms here is told.",
        "silenced" => "Silenced. Readings, rules and the record go on.",
        "unsilenced" => "The silence has ended.",
        "calibrated" => "Calibrated, with your name. What was recorded stays as it is.",
        "derived" => "This channel's values are made from the next reading on.",
        "made" => "Done. What was made before stays.",
        "activated" => "In force from the next reading on.",
        "switched" => "Done. It is on record with your name.",
        "contact-added" => "Added. What has to happen before it is told anything is said on its card.",
        "contact-removed" => "Removed. It is told nothing more.",
        "tested" => "A test is on its way; what comes of it appears on the contact's card.",
        "asked" => "Its owner is asked again to confirm.",
        "again" => "It is sent again, under the same id; what comes of it appears below.",
        "rule-removed" => "Removed. What it decided stays on record.",
        _ => return None,
    };
    Some(Notice {
        good: true,
        text: text.to_owned(),
    })
}

/// The ledger in one line: what is signed, so that what is shown can be checked.
fn strip(app: &App) -> LedgerStrip {
    let signed = app
        .signed()
        .and_then(|(_, note)| SignedCheckpoint::parse(&note).ok());
    let (size, root) = match &signed {
        Some(signed) => (signed.checkpoint().size().get(), signed.checkpoint().root()),
        None => (0, Hash::empty_root()),
    };
    LedgerStrip {
        size,
        root,
        last_head: app.heads().dates().ok().and_then(|dates| dates.last().copied()),
        paused: match app.sequencer().status().writing {
            Writing::Yes => None,
            Writing::StoreFailing(reason) => Some(format!("The disk does not take it: {reason}.")),
            Writing::ClockImplausible(reason) => {
                Some(format!("The server's clock cannot be believed: {reason}."))
            }
            Writing::Corrupt(reason) => Some(format!("The ledger contradicts itself: {reason}.")),
            Writing::Stopping => Some("The service is stopping.".to_owned()),
        },
    }
}

/// The frame of a page for everybody.
fn public_frame(ctx: &Ctx) -> Frame {
    Frame {
        now: ctx.app.clock().now(),
        zone: Zone::utc(),
        viewer: None,
        ledger: strip(&ctx.app),
        tray: 0,
        alarms: OpenAlarms::default(),
        notice: None,
    }
}

/// A page as an answer.
fn html(status: StatusCode, page: Markup) -> Response {
    let response = reply::bytes(status, "text/html; charset=utf-8", page.into_string());
    let headers = [
        (header::CONTENT_SECURITY_POLICY, assets::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    headers.into_iter().fold(response, |response, (name, value)| {
        reply::with(response, name, value)
    })
}

/// The page of an error where a person looks: a browser asks for HTML, and the address is not the API's.
/// A person whose session is over is sent to sign in from a link into the API too.
pub fn error_page(path: &str, accept: &HeaderMap, error: &ApiError, request: &str) -> Option<Response> {
    let accept = accept
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let is_api = ["/v1/", "/api/", "/log/", "/heads/"]
        .iter()
        .any(|prefix| path.starts_with(prefix));
    let looks = accept.contains("text/html") && (!is_api || error.status == StatusCode::UNAUTHORIZED);
    looks.then(|| trouble(error, request))
}

/// An error as a page.
fn trouble(error: &ApiError, request: &str) -> Response {
    if error.status == StatusCode::UNAUTHORIZED {
        return reply::see_other("/sign-in");
    }
    if error.status.is_server_error() {
        let cause = error.cause.as_deref().unwrap_or("");
        tracing::warn!(request, code = error.code, cause, "a page failed");
    }
    let (kind, detail) = match error.status {
        StatusCode::NOT_FOUND => (Trouble::NotFound, None),
        StatusCode::FORBIDDEN => (Trouble::Forbidden, Some(&*error.message)),
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => (Trouble::Changed, Some(&*error.message)),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            (Trouble::Unavailable, Some(&*error.message))
        }
        status if status.is_client_error() => (Trouble::NotTaken, Some(&*error.message)),
        _ => (Trouble::Internal, None),
    };
    let response = html(error.status, sign_in::trouble(kind, detail, Some(request)));
    match error.retry_after_s {
        Some(seconds) => reply::with(response, header::RETRY_AFTER, &seconds.to_string()),
        None => response,
    }
}

impl Known for App {
    fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        App::registry(self).read()
    }

    fn text(&self, aggregate_type: &str, id: &str, field: Option<&SealedField>) -> Option<String> {
        App::text(self, aggregate_type, id, field)
    }

    fn opened(&self, item: &TimelineItem) -> Value {
        let payload = item
            .payload
            .as_deref()
            .and_then(|payload| serde_json::from_str(payload).ok());
        let at = Origin {
            aggregate_type: &item.aggregate_type,
            aggregate_id: &item.aggregate_id,
            sequence: item.sequence,
            salt: &item.salt,
        };
        App::opened(self, at, payload.unwrap_or_default())
    }

    fn example(&self, sealed: &str) -> Option<String> {
        let value: Value = serde_json::from_str(sealed).ok()?;
        let (aggregate_type, id) = value["place"]["stream"].as_str()?.split_once('/')?;
        let (aggregate_type, id) = (aggregate_type.to_owned(), id.to_owned());
        let mut value = value;
        if let Some(place) = value["place"].as_object_mut() {
            place.remove("stream");
        }
        let field: SealedField = serde_json::from_value(value).ok()?;
        App::text(self, &aggregate_type, &id, Some(&field))
    }

    fn refused_of_late(&self, source: &Source) -> Vec<Refusal> {
        self.refusals().recent(source)
    }

    fn link_code(&self, contact: &str) -> String {
        self.notify().links().code(contact)
    }

    fn last_used(&self, token: &str) -> Option<Timestamp> {
        self.state().last_used(token).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str, accept: &'static str, error: &ApiError) -> Option<u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, warp::http::HeaderValue::from_static(accept));
        error_page(path, &headers, error, "req_x").map(|response| response.status().as_u16())
    }

    #[test]
    fn people_get_pages_and_programs_get_json() {
        let (missing, nobody) = (ApiError::no_route(), ApiError::auth_required());
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        assert_eq!(shown("/nowhere", browser, &missing), Some(404));
        assert_eq!(shown("/nowhere", "*/*", &missing), None);
        assert_eq!(shown("/v1/nowhere", browser, &missing), None);
        assert_eq!(shown("/v1/channels/x/measurements", browser, &nobody), Some(303));
        assert_eq!(
            shown("/v1/channels/x/measurements", "application/json", &nobody),
            None
        );
    }

    #[test]
    fn only_our_own_words_say_what_a_form_did() {
        assert!(done(Some("saved")).is_some());
        assert!(done(Some("<b>anything</b>")).is_none());
        assert!(done(None).is_none());
    }
}
