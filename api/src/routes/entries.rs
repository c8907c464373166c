//! The ledger's entries, one a line, as far as the asker may see them.
//!
//! Invariants: an entry is given as the exact bytes that were hashed, or as a stub with its leaf hash and
//! `"withheld": true`; never anything between. A token's bcrypt hash is withheld from everybody. Entries about
//! the ledger itself belong to no account and are everybody's who may read.
//! Source: FORMAT §3. Not here: bundles (`log`), following the ledger's end (`stream`).

use crate::app::App;
use crate::auth::User;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use bytes::Bytes;
use domain::entry::Entry;
use domain::event::Metadata;
use domain::hash::leaf_hash;
use domain::ports::ReadError;
use domain::{Position, TreeSize};
use futures_util::stream;
use std::sync::Arc;
use warp::http::HeaderName;

/// Entries of one answer, unless asked otherwise.
const LIMIT_DEFAULT: u64 = 1_000;
/// Most entries of one answer: about 5 MB; the next request goes on behind.
const LIMIT_MAX: u64 = 10_000;
/// Entries read at once while an answer is sent.
const READ_ENTRIES: usize = 512;
/// Bytes read at once, about; what a slow reader holds in memory.
const READ_BYTES: usize = 512 << 10;
/// The ledger's size when the answer began.
pub const SIZE_HEADER: HeaderName = HeaderName::from_static("daybook-size");
/// Streams whose entries carry what no read API shows.
const TOKEN_ISSUED: &str = "TokenIssued";

/// The routes of this file.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/entries",
    access: Access::Read,
    handler: |ctx| Box::pin(list(ctx)),
    doc: Some(Doc {
        summary: "Entries from a position on, one a line; those of other accounts as stubs.",
        query: &[
            Param("from", "The first position; 0 by default."),
            Param("limit", "At most so many, up to 10000; 1000 by default."),
        ],
        body: None,
        status: 200,
        answer: "application/x-ndjson",
    }),
}];

async fn list(ctx: Ctx) -> Answer {
    let from = ctx.request.query_as::<u64>("from", "a position")?.unwrap_or(0);
    let limit = ctx.request.query_as::<u64>("limit", "a number of entries")?;
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::malformed(
            "bad_query",
            format!("'limit' must be between 1 and {LIMIT_MAX}"),
        ));
    }
    let size = ctx.app.log().size();
    let end = from.saturating_add(limit).min(size.get());
    let viewer = Viewer::of(&ctx.app, ctx.caller.user()?);
    let app = Arc::clone(&ctx.app);
    let body = stream::try_unfold(from, move |next| {
        let (app, viewer) = (Arc::clone(&app), viewer.clone());
        async move {
            if next >= end {
                return Ok(None);
            }
            let count = usize::try_from(end - next)
                .unwrap_or(usize::MAX)
                .min(READ_ENTRIES);
            let block = app.log().read(Position(next), count, READ_BYTES).await?;
            let mut lines = Vec::with_capacity(block.bytes().len() + block.len() * 2);
            for (position, entry) in block.iter() {
                viewer.write(position, entry, &mut lines);
                lines.push(b'\n');
            }
            Ok::<_, ReadError>(Some((Bytes::from(lines), next + block.len() as u64)))
        }
    });
    let response = reply::stream("application/x-ndjson", body);
    Ok(reply::with(response, SIZE_HEADER, &size.to_string()))
}

/// What somebody may see of the ledger.
#[derive(Clone)]
pub struct Viewer {
    app: Arc<App>,
    account: Arc<str>,
    every_account: bool,
}

impl Viewer {
    /// Of a person.
    pub fn of(app: &Arc<App>, user: &User) -> Self {
        Self {
            app: Arc::clone(app),
            account: user.account.as_str().into(),
            every_account: app.is_ledger_auditor(user),
        }
    }

    /// Whether entries of every account are shown.
    pub const fn sees_every_account(&self) -> bool {
        self.every_account
    }

    /// Whether this entry is shown as a stub.
    pub fn withholds(&self, bytes: &[u8]) -> bool {
        match Entry::read(bytes) {
            Ok(entry) => self.withholds_entry(&entry),
            // What cannot be read belongs to nobody who is known.
            Err(_) => true,
        }
    }

    /// Whether this entry is shown as a stub.
    pub fn withholds_entry(&self, entry: &Entry<'_>) -> bool {
        if entry.event_type == TOKEN_ISSUED {
            return true;
        }
        !self.every_account && !self.is_own(entry)
    }

    fn is_own(&self, entry: &Entry<'_>) -> bool {
        if entry.aggregate_type == "ledger" {
            return true;
        }
        if entry.aggregate_type == "readings" {
            let registry = self.app.registry().read();
            return registry
                .device_anywhere(entry.aggregate_id)
                .is_some_and(|device| device.account == self.account);
        }
        Metadata::read(entry.metadata)
            .ok()
            .and_then(|metadata| metadata.account)
            .is_some_and(|account| *account == *self.account)
    }

    /// Appends the entry's bytes or its stub.
    pub fn write(&self, position: Position, bytes: &[u8], out: &mut Vec<u8>) {
        if self.withholds(bytes) {
            let stub = format!(
                "{{\"leaf_hash\":\"{}\",\"position\":{position},\"withheld\":true}}",
                leaf_hash(bytes)
            );
            out.extend_from_slice(stub.as_bytes());
        } else {
            out.extend_from_slice(bytes);
        }
    }
}

/// A failed read of the ledger as an answer.
pub fn read_error(error: ReadError) -> ApiError {
    match error {
        ReadError::Beyond(position) => ApiError::not_found(
            "position_not_found",
            format!("position {position} is not in the ledger yet"),
        ),
        ReadError::Unavailable(_) => {
            ApiError::unavailable("unavailable", "the ledger cannot be read now").caused_by(error)
        }
        ReadError::Corrupt { .. } => ApiError::internal(error),
    }
}

/// A position of a query that the given tree must hold.
///
/// # Errors
/// 400 without one, 404 beyond the tree.
pub fn position_in(ctx: &Ctx, size: TreeSize) -> Result<Position, ApiError> {
    let Some(position) = ctx.request.query_as::<u64>("position", "a position")? else {
        return Err(ApiError::malformed("bad_query", "'position' is missing"));
    };
    let position = Position(position);
    if size.contains(position) {
        return Ok(position);
    }
    Err(ApiError::not_found(
        "position_not_found",
        format!("a checkpoint of {size} entries does not cover position {position}"),
    ))
}
