//! Contacts and webhooks: who is told of alarms, where, of what and when; how channels' and sites' alarms are told.
//!
//! Invariants: a webhook's secret is shown in the answer that made it and never again; an address is shown to the
//! account's own people only. Source: REFERENCE §1.4 (`…/notifications`), §4.
//! Not here: what was sent (`outbound`), what is allowed (`domain::aggregate::contact`).

use super::change;
use super::lists::Listing;
use super::outbound;
use super::sites::{CURSOR, LIMIT};
use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use crate::routes::texts::without_path;
use commands::handlers::{Actor, ContactOutcome};
use domain::aggregate::contact::{ContactState, NewContact};
use domain::aggregate::user::Right;
use domain::event::Reason;
use domain::event::contact::{ChannelNotifications, ContactKind, Preferences, SiteNotifications};
use domain::registry::Contact;
use serde::Deserialize;
use serde_json::{Value, json};
use warp::http::StatusCode;

const fn doc(
    summary: &'static str,
    body: Option<&'static str>,
    status: u16,
    answer: &'static str,
) -> Option<Doc> {
    Some(Doc {
        summary,
        query: &[],
        body,
        status,
        answer,
    })
}

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/contacts",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "The account's contacts: mailboxes, chats and webhooks that are told of alarms.",
            query: &[LIMIT, CURSOR],
            body: None,
            status: 200,
            answer: "ContactList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/contacts",
        access: Access::Write,
        handler: |ctx| Box::pin(create(ctx)),
        doc: doc(
            "A new contact. A mailbox is asked to confirm; a Telegram chat is linked by the code in the answer.",
            Some("NewContact"),
            201,
            "ContactCreated",
        ),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/webhooks",
        access: Access::Write,
        handler: |ctx| Box::pin(create_webhook(ctx)),
        doc: doc(
            "A new webhook with its secret, which is shown once.",
            Some("NewWebhook"),
            201,
            "ContactCreated",
        ),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/contacts/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: doc("A contact.", None, 200, "Contact"),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/contacts/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(patch(ctx)),
        doc: doc(
            "Changes what a contact is told; members that are absent stay.",
            Some("ContactPatch"),
            200,
            "Contact",
        ),
    },
    Route {
        verb: Verb::Delete,
        path: "/v1/contacts/{id}",
        access: Access::Write,
        handler: |ctx| Box::pin(remove(ctx)),
        doc: doc(
            "Takes a contact away; it is told nothing more.",
            None,
            204,
            "Nothing",
        ),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/contacts/{id}/test",
        access: Access::Write,
        handler: |ctx| Box::pin(test(ctx)),
        doc: doc("Sends a test message.", Some("Empty"), 202, "Requeued"),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/contacts/{id}/confirm",
        access: Access::Write,
        handler: |ctx| Box::pin(confirm(ctx)),
        doc: doc(
            "Asks a mailbox again to confirm that it wants alarms.",
            Some("Empty"),
            202,
            "Requeued",
        ),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/webhooks/{id}/rotate-secret",
        access: Access::Write,
        handler: |ctx| Box::pin(rotate(ctx)),
        doc: doc(
            "A new secret, shown once; the old one ends at once.",
            Some("Empty"),
            200,
            "ContactCreated",
        ),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/channels/{id}/notifications",
        access: Access::Read,
        handler: |ctx| Box::pin(channel(ctx)),
        doc: doc(
            "Who is told of a channel's alarms, and how often.",
            None,
            200,
            "ChannelNotifications",
        ),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/channels/{id}/notifications",
        access: Access::Write,
        handler: |ctx| Box::pin(patch_channel(ctx)),
        doc: doc(
            "Says which Telegram contacts are told of a channel's alarms, and the least gap between two messages.",
            Some("ChannelNotifications"),
            200,
            "ChannelNotifications",
        ),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/sites/{id}/notifications",
        access: Access::Read,
        handler: |ctx| Box::pin(site(ctx)),
        doc: doc(
            "Whether a site's messages are gathered.",
            None,
            200,
            "SiteNotifications",
        ),
    },
    Route {
        verb: Verb::Patch,
        path: "/v1/sites/{id}/notifications",
        access: Access::Write,
        handler: |ctx| Box::pin(patch_site(ctx)),
        doc: doc(
            "Says whether messages of several channels of a site are gathered into one.",
            Some("SiteNotifications"),
            200,
            "SiteNotifications",
        ),
    },
];

async fn list(ctx: Ctx) -> Answer {
    let listing = Listing::of(&ctx.request, "contacts")?;
    let registry = ctx.app.registry().read();
    let page = listing.page(
        registry.contacts(&ctx.caller.user()?.account, listing.after),
        |it| it.created.position,
        |it| shape(&ctx, it),
    );
    Ok(reply::ok(&page))
}

async fn one(ctx: Ctx) -> Answer {
    now(&ctx, ctx.id()).map(|(value, sequence)| reply::tagged(reply::ok(&value), &sequence.to_string()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    kind: String,
    name: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    preferences: Preferences,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWebhookBody {
    name: String,
    url: String,
    #[serde(default)]
    preferences: Preferences,
}

async fn create(mut ctx: Ctx) -> Answer {
    let (body, change): (NewBody, _) = change::read(&mut ctx).await?;
    created(ctx, body, change).await
}

async fn create_webhook(mut ctx: Ctx) -> Answer {
    let (body, change): (NewWebhookBody, _) = change::read(&mut ctx).await?;
    let body = NewBody {
        kind: ContactKind::Webhook.as_str().to_owned(),
        name: body.name,
        address: Some(body.url),
        user_id: None,
        preferences: body.preferences,
    };
    created(ctx, body, change).await
}

async fn created(ctx: Ctx, body: NewBody, change: change::Change) -> Answer {
    let kind = ContactKind::parse(&body.kind).ok_or_else(invalid_kind)?;
    let new = NewContact {
        kind,
        name: body.name,
        address: body.address.map(|address| (address, String::new())),
        secret: None,
        user: body.user_id,
        preferences: body.preferences,
    };
    let made = add(&ctx.app, &change.actor, &change.reason, new).await?;
    change::settle(&ctx, &made.outcome).await;
    let (mut value, sequence) = now(&ctx, &made.outcome.id)?;
    show_secret(&mut value, &made);
    let response = reply::tagged(reply::json(StatusCode::CREATED, &value), &sequence.to_string());
    let location = format!("/v1/contacts/{}", made.outcome.id);
    Ok(change::created(response, &location, &made.outcome))
}

/// Adds a contact; a mailbox is asked to confirm, as often as one address may be asked.
///
/// # Errors
/// `rate_limited`, and as [`commands::handlers::Management::add_contact`].
pub async fn add(
    app: &App,
    actor: &Actor,
    reason: &Reason,
    new: NewContact,
) -> Result<ContactOutcome, ApiError> {
    if let (ContactKind::Email, Some((address, _))) = (new.kind, &new.address)
        // Whoever may not is refused below, and has used up nothing.
        && Right::Manage.is_of(&actor.role)
    {
        app.limits().ask(&actor.account, address)?;
    }
    Ok(app.management().add_contact(actor, reason, new).await?)
}

/// That a contact is of no kind.
pub fn invalid_kind() -> ApiError {
    ApiError::rejected("invalid_kind", "kind must be one of email, telegram, webhook")
}

fn show_secret(value: &mut Value, made: &ContactOutcome) {
    value["secret"] = json!(made.secret.as_ref().map(|secret| secret.as_str()));
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    #[serde(default)]
    preferences: serde_json::Map<String, Value>,
}

async fn patch(mut ctx: Ctx) -> Answer {
    let (body, change): (PatchBody, _) = change::read(&mut ctx).await?;
    let merged = || {
        let (current, sequence) = now(&ctx, ctx.id())?;
        let mut preferences = current["preferences"].clone();
        if let Some(members) = preferences.as_object_mut() {
            members.extend(body.preferences.clone());
            members.retain(|_, value| !value.is_null());
        }
        let preferences: Preferences = serde_json::from_value(preferences)
            .map_err(|error| ApiError::rejected("invalid_preferences", error.to_string()))?;
        Ok((preferences, sequence))
    };
    let management = ctx.app.management();
    let outcome = change::merge(change.if_match, merged, |preferences, based_on| {
        management.change_contact(&change.actor, &change.reason, ctx.id(), based_on, preferences)
    })
    .await?;
    change::settle(&ctx, &outcome).await;
    one(ctx).await
}

async fn remove(mut ctx: Ctx) -> Answer {
    let (super::devices::Nothing {}, change) = change::read(&mut ctx).await?;
    let outcome = ctx
        .app
        .management()
        .remove_contact(&change.actor, &change.reason, ctx.id(), change.if_match)
        .await?;
    change::settle(&ctx, &outcome).await;
    Ok(reply::no_content())
}

async fn test(mut ctx: Ctx) -> Answer {
    let (super::devices::Nothing {}, change) = change::read(&mut ctx).await?;
    let requeued = outbound::test(&ctx.app, ctx.caller.user()?, &change.actor, ctx.id()).await?;
    Ok(outbound::accepted(&requeued))
}

async fn confirm(mut ctx: Ctx) -> Answer {
    let (super::devices::Nothing {}, change) = change::read(&mut ctx).await?;
    let requeued = outbound::confirm(&ctx.app, ctx.caller.user()?, &change.actor, ctx.id()).await?;
    Ok(outbound::accepted(&requeued))
}

async fn rotate(mut ctx: Ctx) -> Answer {
    let (super::devices::Nothing {}, change) = change::read(&mut ctx).await?;
    let made = ctx
        .app
        .management()
        .rotate_webhook_secret(&change.actor, &change.reason, ctx.id())
        .await?;
    change::settle(&ctx, &made.outcome).await;
    let (mut value, _) = now(&ctx, ctx.id())?;
    show_secret(&mut value, &made);
    Ok(change::repeated(reply::ok(&value), &made.outcome))
}

fn now(ctx: &Ctx, id: &str) -> Result<(Value, u64), ApiError> {
    let registry = ctx.app.registry().read();
    let it = registry
        .contact(&ctx.caller.user()?.account, id)
        .filter(|it| it.state.state != ContactState::Removed)
        .ok_or_else(not_found)?;
    Ok((shape(ctx, it), it.state.sequence))
}

/// A contact as the API shows it. A webhook's URL may hold a secret of the receiver's: its path is not shown.
fn shape(ctx: &Ctx, it: &Contact) -> Value {
    let state = &it.state;
    let address = ctx.app.text("contact", &it.id, state.address.as_ref());
    let address = match state.kind {
        Some(ContactKind::Webhook) => address.map(|url| without_path(&url)),
        _ => address,
    };
    let code = (state.kind == Some(ContactKind::Telegram) && state.state == ContactState::Pending)
        .then(|| ctx.app.notify().links().code(&it.id));
    json!({
        "id": &*it.id,
        "kind": state.kind,
        "name": ctx.app.text("contact", &it.id, state.name.as_ref()),
        "address": address,
        "state": state.state,
        "user_id": state.user,
        "preferences": state.preferences,
        "link_code": code,
        "created_at": it.created.at,
        "changed_at": it.changed.at,
        "position": it.changed.position,
    })
}

/// The least gap of a channel's messages to a chat, as the reference calls it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestBody {
    min_interval_min: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelBody {
    telegram_targets: Option<Vec<String>>,
    telegram_digest: Option<DigestBody>,
}

async fn channel(ctx: Ctx) -> Answer {
    let (notifications, sequence) = channel_now(&ctx)?;
    let value = channel_shape(&ctx, &notifications)?;
    Ok(reply::tagged(reply::ok(&value), &sequence.to_string()))
}

fn channel_now(ctx: &Ctx) -> Result<(ChannelNotifications, u64), ApiError> {
    let registry = ctx.app.registry().read();
    let account = &ctx.caller.user()?.account;
    let found = registry
        .channel(account, ctx.id())
        .or_else(|| registry.channel_by_sensor(account, ctx.id()));
    let found = found.ok_or_else(|| {
        ApiError::not_found("channel_not_found", "there is no such channel in this account")
    })?;
    Ok((found.state.notifications.clone(), found.state.sequence))
}

fn channel_shape(ctx: &Ctx, notifications: &ChannelNotifications) -> Result<Value, ApiError> {
    let registry = ctx.app.registry().read();
    let account = &ctx.caller.user()?.account;
    let name = |id: &String| {
        let contact = registry.contact(account, id)?;
        let name = ctx.app.text("contact", id, contact.state.name.as_ref())?;
        Some(format!("@{name}"))
    };
    let targets: Vec<String> = notifications
        .telegram
        .iter()
        .map(|id| name(id).unwrap_or_else(|| id.clone()))
        .collect();
    Ok(json!({
        "telegram_targets": targets,
        "telegram_digest": {"min_interval_min": notifications.min_interval_min},
    }))
}

async fn patch_channel(mut ctx: Ctx) -> Answer {
    let (body, change): (ChannelBody, _) = change::read(&mut ctx).await?;
    let min_interval_min = body.telegram_digest.and_then(|digest| digest.min_interval_min);
    let merged = || {
        let (mut notifications, sequence) = channel_now(&ctx)?;
        if let Some(targets) = &body.telegram_targets {
            notifications.telegram = targets_of(&ctx, targets)?;
        }
        notifications.min_interval_min = min_interval_min.unwrap_or(notifications.min_interval_min);
        Ok((notifications, sequence))
    };
    let id = {
        let registry = ctx.app.registry().read();
        let account = &ctx.caller.user()?.account;
        let sensor = registry.channel_by_sensor(account, ctx.id());
        sensor.map_or_else(|| ctx.id().to_owned(), |channel| channel.id.to_string())
    };
    let management = ctx.app.management();
    let outcome = change::merge(change.if_match, merged, |notifications, based_on| {
        management.set_channel_notifications(&change.actor, &change.reason, &id, based_on, notifications)
    })
    .await?;
    change::settle(&ctx, &outcome).await;
    channel(ctx).await
}

/// Telegram contacts by their ids, or by `@` and the name that people gave them.
fn targets_of(ctx: &Ctx, targets: &[String]) -> Result<Vec<String>, ApiError> {
    let registry = ctx.app.registry().read();
    let account = &ctx.caller.user()?.account;
    let mut ids = Vec::with_capacity(targets.len());
    for target in targets {
        let mut chats = registry
            .contacts(account, None)
            .filter(|it| it.state.kind == Some(ContactKind::Telegram));
        let wanted = target.trim_start_matches('@');
        let found = chats.find(|it| {
            *it.id == **target
                || ctx.app.text("contact", &it.id, it.state.name.as_ref()).as_deref() == Some(wanted)
        });
        let found = found.ok_or_else(|| {
            ApiError::rejected(
                "unknown_target",
                "telegram_targets names a chat that is no contact of the account: link it first",
            )
        })?;
        ids.push(found.id.to_string());
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteDigestBody {
    enabled: Option<bool>,
    min_interval_min: Option<u32>,
    summary_only: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteBody {
    #[serde(default)]
    digest: SiteDigestBody,
}

async fn site(ctx: Ctx) -> Answer {
    let (notifications, sequence) = site_now(&ctx)?;
    Ok(reply::tagged(
        reply::ok(&json!({"digest": notifications})),
        &sequence.to_string(),
    ))
}

fn site_now(ctx: &Ctx) -> Result<(SiteNotifications, u64), ApiError> {
    let registry = ctx.app.registry().read();
    let found = registry
        .site(&ctx.caller.user()?.account, ctx.id())
        .ok_or_else(|| ApiError::not_found("site_not_found", "there is no such site in this account"))?;
    Ok((found.state.notifications.clone(), found.state.sequence))
}

async fn patch_site(mut ctx: Ctx) -> Answer {
    let (body, change): (SiteBody, _) = change::read(&mut ctx).await?;
    let digest = body.digest;
    let merged = || {
        let (mut notifications, sequence) = site_now(&ctx)?;
        notifications.enabled = digest.enabled.unwrap_or(notifications.enabled);
        notifications.min_interval_min = digest.min_interval_min.unwrap_or(notifications.min_interval_min);
        notifications.summary_only = digest.summary_only.unwrap_or(notifications.summary_only);
        Ok((notifications, sequence))
    };
    let management = ctx.app.management();
    let outcome = change::merge(change.if_match, merged, |notifications, based_on| {
        management.set_site_notifications(&change.actor, &change.reason, ctx.id(), based_on, notifications)
    })
    .await?;
    change::settle(&ctx, &outcome).await;
    site(ctx).await
}

pub(super) fn not_found() -> ApiError {
    ApiError::not_found("contact_not_found", "there is no such contact in this account")
}
