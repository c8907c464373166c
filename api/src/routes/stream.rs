//! `/v1/stream`: entries as they are recorded, as server-sent events.
//!
//! The event's id is the entry's position, so a client that lost the connection sends `Last-Event-ID` and misses
//! nothing. Invariants: only what the asker may see is sent, what is withheld only moves the id on; a token that
//! ends, ends its streams; streams are counted and end when the service stops.
//! Source: WHATWG HTML §9.2. Not here: what may be seen (`entries`).

use super::entries::{Viewer, event_types};
use crate::auth::User;
use crate::entry_filter::Filter;
use crate::errors::ApiError;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Edge, Param, Route, Verb};
use crate::streams::Place;
use bytes::Bytes;
use domain::entry::Entry;
use domain::ports::ReadError;
use domain::{Position, TreeSize};
use futures_util::stream;
use std::time::Duration;
use tokio::sync::watch;
use warp::http::header;

/// How often a silent stream says that it lives, so that proxies do not cut it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Milliseconds after which a browser tries again.
const RETRY_MS: u32 = 2_000;
/// Entries read at once.
const READ_ENTRIES: usize = 256;
/// Bytes read at once, about.
const READ_BYTES: usize = 256 << 10;

/// Blocks of entries that nobody asked for, after which the stream says that it lives.
const BLOCKS_UNSAID_MAX: usize = 64;
/// A comment, which clients pass over.
const STILL_HERE: &[u8] = b": still here\n\n";
/// Requests of a person's rate that a choice among entries of the past costs: it reads many to send few.
const FURTHER_REQUESTS: usize = 9;

/// The routes of this file.
pub const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/stream",
    access: Access::Read,
    handler: |ctx| Box::pin(follow(ctx)),
    doc: Some(Doc {
        summary: "Entries as they are recorded (server-sent events; the id is the position).",
        query: &[
            Param::number(
                "from",
                0,
                u64::MAX,
                "The first position; what is recorded from now on by default. `Last-Event-ID` goes before it.",
            ),
            Param::any_of(
                "type",
                event_types,
                "Event types, parted by commas; every one by default.",
            ),
        ],
        body: None,
        status: 200,
        answer: "text/event-stream",
    }),
}];

/// A stream under way.
struct Following {
    app: Edge,
    user: User,
    viewer: Viewer,
    filter: Filter,
    next: TreeSize,
    begun: bool,
    stopping: watch::Receiver<bool>,
    _place: Place,
}

async fn follow(ctx: Ctx) -> Answer {
    let last = match ctx.request.headers.get("last-event-id") {
        None => None,
        Some(value) => Some(
            value
                .to_str()
                .ok()
                .and_then(|text| text.trim().parse::<u64>().ok())
                .ok_or_else(|| ApiError::malformed("bad_query", "'Last-Event-ID' must be a position"))?,
        ),
    };
    let from = ctx.request.query_as::<u64>("from", "a position")?;
    let size = ctx.app.log().size();
    let next = last
        .map(|position| position.saturating_add(1))
        .or(from)
        .unwrap_or(size.get());
    let types = ctx.request.given("type").unwrap_or_default();
    let types: Vec<String> = types.split(',').map(|text| text.trim().to_owned()).collect();
    let filter = Filter::parse(&types, None, None, None, None)
        .map_err(|reason| ApiError::malformed("bad_query", reason))?;
    let user = ctx.caller.user()?.clone();
    if !filter.is_empty() && size.get().saturating_sub(next) > READ_ENTRIES as u64 {
        ctx.app.limits().further_requests(&user.user, FURTHER_REQUESTS)?;
    }
    let place = ctx.app.streams().take(&user.account)?;
    let following = Following {
        viewer: Viewer::of(&ctx.app, &user),
        filter,
        stopping: ctx.app.stopping(),
        app: ctx.app,
        user,
        // A position that is not there yet is waited for from the end, as after a restored ledger.
        next: TreeSize(next.min(size.get())),
        begun: false,
        _place: place,
    };
    let body = stream::try_unfold(following, |mut following| async move {
        let chunk = following.chunk().await?;
        Ok::<_, ReadError>(chunk.map(|bytes| (bytes, following)))
    });
    let response = reply::stream("text/event-stream", body);
    let response = reply::with(response, header::CACHE_CONTROL, "no-store");
    // nginx would hold events back otherwise.
    Ok(reply::with(
        response,
        header::HeaderName::from_static("x-accel-buffering"),
        "no",
    ))
}

impl Following {
    /// What is sent next; `None` at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        if !self.begun {
            self.begun = true;
            return Ok(Some(Bytes::from(format!("retry: {RETRY_MS}\n\n"))));
        }
        let mut passed_over = 0;
        loop {
            if *self.stopping.borrow() || !self.app.is_admitted(&self.user) {
                return Ok(None);
            }
            if self.next < self.app.log().size() {
                let mut events = self.read().await?;
                if events.is_empty() {
                    // Nothing is said of what nobody asked for; whoever left is noticed, and others have their turn.
                    passed_over += 1;
                    tokio::task::yield_now().await;
                    if passed_over < BLOCKS_UNSAID_MAX {
                        continue;
                    }
                    events = Bytes::from_static(STILL_HERE);
                }
                return Ok(Some(events));
            }
            let grown = self.app.log().follow(self.next);
            tokio::select! {
                _ = grown => {}
                () = tokio::time::sleep(KEEP_ALIVE) => return Ok(Some(Bytes::from_static(STILL_HERE))),
                _ = self.stopping.changed() => {}
            }
        }
    }

    async fn read(&mut self) -> Result<Bytes, ReadError> {
        let from = self.next.next_position();
        let block = self.app.log().read(from, READ_ENTRIES, READ_BYTES).await?;
        let mut out = Vec::with_capacity(block.bytes().len() + block.len() * 48);
        let mut withheld = None;
        for (position, bytes) in block.iter() {
            withheld = match Entry::read(bytes) {
                Ok(entry) if !self.filter.matches(&entry) => withheld.filter(|_| self.filter.is_empty()),
                Ok(entry) if !self.viewer.withholds_entry(&entry) => {
                    event(position, &entry, bytes, &mut out);
                    None
                }
                _ => Some(position),
            };
        }
        if let Some(position) = withheld.filter(|_| self.filter.is_empty()) {
            // An id without data is remembered by the client and not shown to anybody.
            out.extend_from_slice(format!("id: {position}\n\n").as_bytes());
        }
        self.next = self.next.plus(block.len() as u64);
        Ok(Bytes::from(out))
    }
}

/// One event; canonical JSON has no line breaks.
fn event(position: Position, entry: &Entry<'_>, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("id: {position}\nevent: {}\ndata: ", entry.event_type).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\n\n");
}
