//! Proofs under the latest checkpoint: that an entry is in the tree, that a larger tree extends a smaller one.
//!
//! Invariants: a proof leads to the root of a signed checkpoint; the asker gets the entry's bytes only where they
//! may see them, and its leaf hash in any case.
//! Source: RFC 6962 §2.1.1 and §2.1.2, C2SP tlog-proof. Not here: verifying (`domain::proof`, `daybook-verify`).

use super::entries::{Viewer, position_in, read_error};
use super::log::node_error;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use domain::TreeSize;
use domain::checkpoint::SignedCheckpoint;
use domain::hash::leaf_hash;
use domain::merkle::Frontier;
use domain::proof::{ProofError, consistency_proof, inclusion_proof};
use domain::tlog_proof::TlogProof;
use serde_json::json;
use warp::http::StatusCode;

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/proofs/inclusion",
        access: Access::Read,
        handler: |ctx| Box::pin(inclusion(ctx)),
        doc: Some(Doc {
            summary: "That the entry at a position is in the tree of the latest checkpoint.",
            query: &[
                Param::number("position", 0, u64::MAX, "The entry's position."),
                Param::one_of(
                    "format",
                    || vec!["json", "tlog-proof"],
                    "json (default), or tlog-proof for the file that C2SP tools read.",
                ),
            ],
            body: None,
            status: 200,
            answer: "InclusionProof",
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/proofs/consistency",
        access: Access::Public,
        handler: |ctx| Box::pin(consistency(ctx)),
        doc: Some(Doc {
            summary: "That the tree of size `to` extends the tree of size `from`.",
            query: &[
                Param::number("from", 0, u64::MAX, "The smaller tree size."),
                Param::number(
                    "to",
                    0,
                    u64::MAX,
                    "The larger one; that of the latest checkpoint by default.",
                ),
            ],
            body: None,
            status: 200,
            answer: "ConsistencyProof",
        }),
    },
];

async fn inclusion(ctx: Ctx) -> Answer {
    let (size, note) = ctx.app.signed().ok_or_else(not_signed)?;
    let position = position_in(&ctx, size)?;
    let block = ctx.app.log().read(position, 1, 1).await.map_err(read_error)?;
    let Some((_, entry)) = block.get(0) else {
        return Err(ApiError::internal("an entry below the checkpoint is missing"));
    };
    let proof = inclusion_proof(ctx.app.tiles(), position, size).map_err(proof_error)?;
    let shown = !Viewer::of(&ctx.app, ctx.caller.user()?).withholds(entry);
    let checkpoint = SignedCheckpoint::parse(&note).map_err(ApiError::internal)?;
    let file = TlogProof {
        extra: shown.then(|| entry.to_vec()),
        index: position,
        hashes: proof,
        checkpoint,
    };
    if ctx.request.given("format").as_deref() == Some("tlog-proof") {
        return Ok(reply::bytes(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            file.encode(),
        ));
    }
    Ok(reply::ok(&json!({
        "position": position,
        "size": size,
        "leaf_hash": leaf_hash(entry),
        "root": file.checkpoint.checkpoint().root(),
        "proof": file.hashes,
        "checkpoint": file.checkpoint.encode(),
        "entry": shown.then(|| String::from_utf8_lossy(entry)),
    })))
}

async fn consistency(ctx: Ctx) -> Answer {
    let (signed, note) = ctx.app.signed().ok_or_else(not_signed)?;
    let Some(from) = ctx.request.query_as::<u64>("from", "a tree size")? else {
        return Err(ApiError::malformed("bad_query", "'from' is missing"));
    };
    let to = ctx
        .request
        .query_as::<u64>("to", "a tree size")?
        .unwrap_or(signed.get());
    let (from, to) = (TreeSize(from), TreeSize(to));
    if to > signed {
        return Err(ApiError::not_found(
            "size_not_found",
            format!("the latest checkpoint has size {signed}, which is smaller than {to}"),
        ));
    }
    let tiles = ctx.app.tiles();
    let proof = consistency_proof(tiles, from, to).map_err(proof_error)?;
    let root = |size| {
        Frontier::from_nodes(size, tiles)
            .map(|frontier| frontier.root())
            .map_err(node_error)
    };
    let note = (to == signed).then(|| String::from_utf8_lossy(&note).into_owned());
    Ok(reply::ok(&json!({
        "from": from,
        "to": to,
        "from_root": root(from)?,
        "to_root": root(to)?,
        "proof": proof,
        "checkpoint": note,
    })))
}

fn not_signed() -> ApiError {
    ApiError::unavailable("not_signed_yet", "no checkpoint was signed yet").retry_after(1)
}

fn proof_error(error: ProofError) -> ApiError {
    match error {
        ProofError::Node(error) => node_error(error),
        ProofError::Reversed { .. } => ApiError::malformed("bad_query", error.to_string()),
        other => ApiError::not_found("position_not_found", other.to_string()),
    }
}
