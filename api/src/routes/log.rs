//! The log as C2SP clients read it: checkpoint, tiles, entry bundles, and our NDJSON beside them.
//!
//! Invariants: what is served is covered by the latest signed checkpoint; a full resource never changes, a
//! partial one is named by its width. Hash tiles and checkpoints are public; entries are for ledger auditors,
//! and a bundle that holds what no read API shows (a token's hash) is not served at all.
//! Source: C2SP tlog-tiles, FORMAT §3. Not here: proofs (`proofs`), what may be shown (`entries`).

use super::entries::{Viewer, read_error};
use crate::auth;
use crate::errors::ApiError;
use crate::reply::{self, Response};
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use domain::TreeSize;
use domain::merkle::{NodeError, TILE_WIDTH};
use domain::ports::{EntryBlock, EventLog};
use domain::tile::{Bundle, Tile, TilePath, encode_bundle, read_tile};
use warp::http::{StatusCode, header};

/// What never changes may be kept for a year (RFC 8246).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const OCTETS: &str = "application/octet-stream";

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/log/checkpoint",
        access: Access::Public,
        handler: |ctx| Box::pin(checkpoint(ctx)),
        doc: Some(Doc {
            summary: "The latest signed checkpoint, with the cosignatures that it has (C2SP tlog-checkpoint).",
            query: &[],
            body: None,
            status: 200,
            answer: "text/plain",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/log/tile/{path...}",
        access: Access::Public,
        handler: |ctx| Box::pin(tile(ctx)),
        doc: Some(Doc {
            summary: "A tile of hashes, or a bundle of entries for ledger auditors (C2SP tlog-tiles).",
            query: &[],
            body: None,
            status: 200,
            answer: OCTETS,
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/log/entries/{path...}",
        access: Access::Read,
        handler: |ctx| Box::pin(ndjson(ctx)),
        doc: Some(Doc {
            summary: "The entries of a bundle, one a line: exact bytes, or a stub for what is withheld.",
            query: &[],
            body: None,
            status: 200,
            answer: "application/x-ndjson",
        }),
    },
];

async fn checkpoint(ctx: Ctx) -> Answer {
    let Some((_, note)) = ctx.app.published() else {
        return Err(ApiError::unavailable("not_signed_yet", "no checkpoint was signed yet").retry_after(1));
    };
    let response = reply::bytes(StatusCode::OK, "text/plain; charset=utf-8", note);
    Ok(reply::with(response, header::CACHE_CONTROL, "no-cache"))
}

async fn tile(ctx: Ctx) -> Answer {
    let path = TilePath::parse(&format!("tile/{}", ctx.id()))
        .map_err(|error| ApiError::malformed("bad_tile", error.to_string()))?;
    let size = signed_size(&ctx)?;
    match path {
        TilePath::Hashes(tile) => {
            covered(
                Tile::at(tile.level(), tile.index(), size).map(Tile::width),
                tile.width(),
            )?;
            let bytes = read_tile(ctx.app.tiles(), tile).map_err(node_error)?;
            Ok(immutable(reply::bytes(StatusCode::OK, OCTETS, bytes)))
        }
        TilePath::Entries(bundle) => entries(ctx, bundle, size).await,
    }
}

async fn entries(ctx: Ctx, bundle: Bundle, size: TreeSize) -> Answer {
    let caller = auth::reader(&ctx.app, &ctx.request).await?;
    let viewer = Viewer::of(&ctx.app, caller.user()?);
    if !viewer.sees_every_account() {
        return Err(ApiError::forbidden(
            "entry bundles hold every account's entries and are for ledger auditors; /v1/entries shows yours",
        ));
    }
    covered(
        Bundle::at(bundle.index(), size).map(Bundle::width),
        bundle.width(),
    )?;
    let block = block(&ctx, bundle).await?;
    if block.iter().any(|(_, entry)| viewer.withholds(entry)) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "withheld",
            "this bundle holds the hash of a token; /log/entries/ and /v1/entries show all but that",
        ));
    }
    let bytes = encode_bundle(block.iter().map(|(_, entry)| entry)).map_err(ApiError::internal)?;
    Ok(reply::with(
        reply::bytes(StatusCode::OK, OCTETS, bytes),
        header::CACHE_CONTROL,
        "private, max-age=31536000, immutable",
    ))
}

async fn ndjson(ctx: Ctx) -> Answer {
    let name = ctx.id().replacen(".ndjson", "", 1);
    let Ok(TilePath::Entries(bundle)) = TilePath::parse(&format!("tile/entries/{name}")) else {
        return Err(ApiError::malformed(
            "bad_tile",
            "not a bundle's path, such as entries/x001/234.ndjson or entries/000.ndjson.p/17",
        ));
    };
    let size = signed_size(&ctx)?;
    covered(
        Bundle::at(bundle.index(), size).map(Bundle::width),
        bundle.width(),
    )?;
    let viewer = Viewer::of(&ctx.app, ctx.caller.user()?);
    let mut lines = Vec::new();
    for (position, entry) in block(&ctx, bundle).await?.iter() {
        viewer.write(position, entry, &mut lines);
        lines.push(b'\n');
    }
    Ok(reply::bytes(StatusCode::OK, "application/x-ndjson", lines))
}

/// The bundle's entries, which the checkpoint covers.
async fn block(ctx: &Ctx, bundle: Bundle) -> Result<EntryBlock, ApiError> {
    let log: &dyn EventLog = ctx.app.log();
    let (mut from, mut left) = (
        domain::Position(bundle.index() * TILE_WIDTH),
        usize::from(bundle.width()),
    );
    let mut whole = EntryBlock::new();
    while left > 0 {
        let part = log.read(from, left, usize::MAX).await.map_err(read_error)?;
        if part.is_empty() {
            return Err(ApiError::internal("a bundle below the checkpoint ends early"));
        }
        for (position, entry) in part.iter() {
            whole.push(position, entry);
        }
        left -= part.len();
        from = from.plus(part.len() as u64);
    }
    Ok(whole)
}

fn signed_size(ctx: &Ctx) -> Result<TreeSize, ApiError> {
    ctx.app
        .signed()
        .map(|(size, _)| size)
        .ok_or_else(|| ApiError::unavailable("not_signed_yet", "no checkpoint was signed yet").retry_after(1))
}

fn covered(there: Option<u16>, asked: u16) -> Result<(), ApiError> {
    if there.is_some_and(|there| asked <= there) {
        return Ok(());
    }
    Err(ApiError::not_found(
        "tile_not_found",
        "the latest checkpoint does not cover this; a partial tile is named by its width",
    ))
}

pub(super) fn node_error(error: NodeError) -> ApiError {
    match error {
        NodeError::Unavailable(_) => {
            ApiError::unavailable("unavailable", "the ledger cannot be read now").caused_by(error)
        }
        NodeError::Missing { .. } | NodeError::Corrupt { .. } => ApiError::internal(error),
    }
}

fn immutable(response: Response) -> Response {
    reply::with(response, header::CACHE_CONTROL, IMMUTABLE)
}
