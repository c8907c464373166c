//! The ledger's entries, one a line, as far as the asker may see them.
//!
//! Invariants: an entry is given as the exact bytes that were hashed, or as a stub with its leaf hash and
//! `"withheld": true`; never anything between. A token's bcrypt hash is withheld from everybody. Entries about
//! the ledger itself belong to no account and are everybody's who may read.
//! Source: FORMAT §3. Not here: bundles (`log`), following the ledger's end (`stream`).

use crate::app::App;
use crate::auth::User;
use crate::entry_filter::Filter;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Param, Route, Verb};
use bytes::Bytes;
use domain::entry::Entry;
use domain::event::{CLASS_TABLE, Metadata};
use domain::hash::leaf_hash;
use domain::in_force::LEDGER_STREAM;
use domain::ports::ReadError;
use domain::{Position, TreeSize};
use futures_util::stream;
use std::sync::Arc;
use warp::http::{HeaderName, StatusCode};

/// Entries of one answer, unless asked otherwise.
const LIMIT_DEFAULT: u64 = 1_000;
/// Most entries of one answer: about 5 MB; the next request goes on behind.
const LIMIT_MAX: u64 = 10_000;
/// Entries read at once while an answer is sent.
const READ_ENTRIES: usize = 512;
/// Bytes read at once, about; what a slow reader holds in memory.
const READ_BYTES: usize = 512 << 10;
/// Entries that are looked at for one answer, so that no question holds a processor for long.
const LOOKED_AT_MAX: usize = 50_000;
/// Requests of a person's rate that a choice among entries costs beyond the request itself: it reads many to answer few.
const FURTHER_REQUESTS: usize = 9;
/// An answer of chosen entries ends behind so many bytes.
const ANSWER_BYTES: usize = 8 << 20;
/// Where the next request goes on; the ledger's size where there is no more.
pub const NEXT_HEADER: HeaderName = HeaderName::from_static("daybook-next");
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
        summary: "Entries from a position on, one a line; those of other accounts as stubs. `Daybook-Next` is where to go on.",
        query: &[
            Param::number("from", 0, u64::MAX, "The first position; 0 by default."),
            Param::number(
                "limit",
                1,
                LIMIT_MAX,
                "At most so many, up to 10000; 1000 by default.",
            ),
            Param::any_of(
                "type",
                event_types,
                "Only these event types, with commas between them; then no stubs are given.",
            ),
            Param::text("stream", "Only this stream, such as device/dev_…."),
            Param::text(
                "actor",
                "Only what this user id, device:<id> or system:<component> did.",
            ),
            Param::text("since", "Recorded at or after this time or day, UTC."),
            Param::text("until", "Recorded before it."),
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
    let size = ctx.app.log().size();
    let filter = filter(&ctx)?;
    if !filter.is_empty() {
        return chosen(&ctx, &filter, Position(from), limit as usize, size).await;
    }
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
    let response = reply::with(response, NEXT_HEADER, &end.max(from).to_string());
    Ok(reply::with(response, SIZE_HEADER, &size.to_string()))
}

/// Every event type that there is.
pub fn event_types() -> Vec<&'static str> {
    CLASS_TABLE.iter().map(|(name, _)| *name).collect()
}

fn filter(ctx: &Ctx) -> Result<Filter, ApiError> {
    let query = |name: &str| ctx.request.query(name);
    let types: Vec<String> = query("type")
        .unwrap_or_default()
        .split(',')
        .map(|text| text.trim().to_owned())
        .collect();
    Filter::parse(
        &types,
        query("stream").as_deref(),
        query("actor").as_deref(),
        query("since").as_deref(),
        query("until").as_deref(),
    )
    .map_err(|reason| ApiError::malformed("bad_query", reason))
}

/// The entries that match and may be seen. Not more are looked at than a request may cost; where to go on is said.
async fn chosen(ctx: &Ctx, filter: &Filter, from: Position, limit: usize, size: TreeSize) -> Answer {
    let user = ctx.caller.user()?;
    ctx.app.limits().further_requests(&user.user, FURTHER_REQUESTS)?;
    let viewer = Viewer::of(&ctx.app, user);
    let log = ctx.app.log();
    let mut next = filter.first(log, from, size).await.map_err(read_error)?;
    let others = filter
        .passes_over_readings()
        .then(|| others(&ctx.app, &viewer, filter, size));
    let (mut lines, mut count, mut looked, mut over) = (Vec::new(), 0, 0, false);
    while size.contains(next)
        && looked < LOOKED_AT_MAX
        && count < limit
        && lines.len() < ANSWER_BYTES
        && !over
    {
        let wanted = READ_ENTRIES.min(LOOKED_AT_MAX - looked);
        let block = match &others {
            Some(all) => {
                let from = all.partition_point(|position| *position < next);
                log.read_at(&all[from..all.len().min(from + wanted)]).await
            }
            None => log.read(next, wanted, READ_BYTES).await,
        };
        let block = block.map_err(read_error)?;
        looked += block.len();
        if block.is_empty() {
            next = size.next_position();
        }
        for (position, bytes) in block.iter() {
            if count >= limit || lines.len() >= ANSWER_BYTES {
                break;
            }
            let entry = Entry::read(bytes).map_err(ApiError::internal)?;
            if filter.is_over(&entry) {
                over = true;
                break;
            }
            if filter.matches(&entry) && !viewer.withholds_entry(&entry) {
                lines.extend_from_slice(bytes);
                lines.push(b'\n');
                count += 1;
            }
            next = position.next();
        }
        tokio::task::yield_now().await;
    }
    if over {
        next = size.next_position();
    }
    let response = reply::bytes(StatusCode::OK, "application/x-ndjson", lines);
    let response = reply::with(response, NEXT_HEADER, &next.get().max(from.get()).to_string());
    Ok(reply::with(response, SIZE_HEADER, &size.to_string()))
}

/// Where everything is that somebody may see and that is no reading, rising, below a size.
fn others(app: &App, viewer: &Viewer, filter: &Filter, size: TreeSize) -> Vec<Position> {
    let index = app.sequencer().positions();
    let stream = filter.stream.as_deref().and_then(|stream| stream.split_once('/'));
    let mut all = match stream {
        Some((kind, id)) => index.of(kind, id),
        None if viewer.every_account => index.all(),
        None => {
            let own = index.of_account(&viewer.account).into_iter();
            let ledgers = index.of(LEDGER_STREAM.0, LEDGER_STREAM.1);
            own.flatten().chain(ledgers).collect()
        }
    };
    all.sort_unstable();
    // What was decided and is not durable yet is not there.
    all.truncate(all.partition_point(|position| size.contains(*position)));
    all
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

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        read_error(error)
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
