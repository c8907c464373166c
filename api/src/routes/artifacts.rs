//! Artefacts: files kept elsewhere, such as clips, certificates and PDFs, registered by the hash of their bytes.
//!
//! Invariant: the file itself never comes here; its name and metadata are sealed. The paths have the reference's
//! spelling. Source: FORMAT §2. Not here: what may be registered (`domain::aggregate::artefact`).

use super::change;
use super::lists::Listing;
use super::sites::{CURSOR, LIMIT};
use crate::app::App;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::aggregate::artefact::{About, NewArtefact};
use domain::canonical::Canonical;
use domain::registry::Artefact;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/artifacts",
        access: Access::Read,
        handler: |ctx| Box::pin(list(ctx)),
        doc: Some(Doc {
            summary: "The account's artefacts: files kept elsewhere, by their hashes.",
            query: &[LIMIT, CURSOR],
            body: None,
            status: 200,
            answer: "ArtifactList",
        }),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/artifacts",
        access: Access::Write,
        handler: |ctx| Box::pin(register(ctx)),
        doc: Some(Doc {
            summary: "Registers a file by its SHA-256; the file stays where it is.",
            query: &[],
            body: Some("NewArtifact"),
            status: 201,
            answer: "Artifact",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/artifacts/{id}",
        access: Access::Read,
        handler: |ctx| Box::pin(one(ctx)),
        doc: Some(Doc {
            summary: "An artefact.",
            query: &[],
            body: None,
            status: 200,
            answer: "Artifact",
        }),
    },
];

/// The body of a registration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    sha256: String,
    #[serde(default)]
    salt: Option<String>,
    size: u64,
    media_type: String,
    name: String,
    #[serde(default)]
    site_id: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    channel_id: Option<String>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

async fn register(mut ctx: Ctx) -> Answer {
    let (body, change): (Register, _) = change::read(&mut ctx).await?;
    let about = match (body.site_id, body.device_id, body.channel_id) {
        (None, None, None) => About::Account,
        (Some(id), None, None) => About::Site(id),
        (None, Some(id), None) => About::Device(id),
        (None, None, Some(id)) => About::Channel(id),
        _ => {
            return Err(ApiError::rejected(
                "invalid_subject",
                "name at most one of site_id, device_id and channel_id; none is the account",
            ));
        }
    };
    let new = NewArtefact {
        sha256: body.sha256,
        salt: body.salt.unwrap_or_default(),
        size: body.size,
        media_type: body.media_type,
        name: body.name,
        details: body.metadata.map(details).transpose()?,
        about,
    };
    let outcome = ctx
        .app
        .management()
        .register_artefact(&change.actor, &change.reason, new)
        .await?;
    change::settle(&ctx, &outcome).await;
    let shape = {
        let registry = ctx.app.registry().read();
        let artefact = registry.artefact(&ctx.caller.user()?.account, &outcome.id);
        shape(&ctx.app, artefact.ok_or_else(not_found)?)
    };
    Ok(change::created(
        reply::json(StatusCode::CREATED, &shape),
        &format!("/v1/artifacts/{}", outcome.id),
        &outcome,
    ))
}

/// What else is kept, as canonical JSON.
fn details(metadata: Map<String, Value>) -> Result<String, ApiError> {
    let canonical = Canonical::of(&Value::Object(metadata))
        .map_err(|error| ApiError::rejected("invalid_metadata", format!("metadata: {error}")))?;
    Ok(String::from_utf8_lossy(canonical.as_bytes()).into_owned())
}

async fn list(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let listing = Listing::of(&ctx.request, "artifacts")?;
    let registry = ctx.app.registry().read();
    let page = listing.page(
        registry.artefacts(&user.account, listing.after),
        |artefact| artefact.created.position,
        |artefact| shape(&ctx.app, artefact),
    );
    Ok(reply::ok(&page))
}

async fn one(ctx: Ctx) -> Answer {
    let user = ctx.caller.user()?;
    let registry = ctx.app.registry().read();
    let artefact = registry.artefact(&user.account, ctx.id()).ok_or_else(not_found)?;
    Ok(reply::ok(&shape(&ctx.app, artefact)))
}

fn shape(app: &App, artefact: &Artefact) -> Value {
    let state = &artefact.state;
    let text = |field| app.text("artefact", &artefact.id, field);
    let metadata = text(state.details.as_ref())
        .map(|details| serde_json::from_str(&details).unwrap_or(Value::String(details)));
    let (mut site, mut device, mut channel) = (None, None, None);
    match &state.about {
        About::Account => {}
        About::Site(id) => site = Some(id),
        About::Device(id) => device = Some(id),
        About::Channel(id) => channel = Some(id),
    }
    let file = state.file.as_ref();
    json!({
        "id": &*artefact.id,
        "name": text(state.name.as_ref()),
        "media_type": file.map(|file| &file.media_type),
        "size": file.map(|file| file.size),
        "sha256": file.map(|file| file.sha256),
        "salt": file.map(|file| &file.salt),
        "site_id": site,
        "device_id": device,
        "channel_id": channel,
        "metadata": metadata,
        "created_at": artefact.created.at,
        "position": artefact.created.position,
    })
}

fn not_found() -> ApiError {
    ApiError::not_found("artifact_not_found", "there is no such artefact in this account")
}
