//! `?as_of=`: what was configured then, folded from the entries up to there.
//!
//! Invariants: the same fold as the live registry's, over the account's own streams, so the answer is what was in
//! force and not what somebody remembers; readings do not enter.
//! Source: DESIGN "Who it is for". Not here: the fold (`domain::registry`).

use super::entries::read_error;
use crate::app::App;
use crate::errors::ApiError;
use crate::request::Request;
use domain::entry::Entry;
use domain::ports::EventLog;
use domain::registry::Registry;
use domain::{Position, Timestamp};
use parking_lot::RwLockReadGuard;
use std::ops::Deref;

/// Entries read at once.
const READ_ENTRIES: usize = 1_024;

/// The registry now, or as it was.
pub enum View<'a> {
    /// Now.
    Live(RwLockReadGuard<'a, Registry>),
    /// Then; only what the asker's account has is in it.
    Then(Box<Registry>),
}

impl Deref for View<'_> {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        match self {
            Self::Live(registry) => registry,
            Self::Then(registry) => registry,
        }
    }
}

impl View<'_> {
    /// Whether this is the past, of which nothing is asked that is only known now.
    pub const fn is_past(&self) -> bool {
        matches!(self, Self::Then(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Position(Position),
    Time(Timestamp),
}

impl Moment {
    fn parse(text: &str) -> Result<Self, ApiError> {
        // A plus sign that nobody encoded arrives as a space.
        let text = &*text.replace(' ', "+");
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position(position)));
        }
        Timestamp::parse_rfc3339(text).map(Self::Time).map_err(|_| {
            ApiError::malformed(
                "bad_query",
                "'as_of' must be a position or a time such as 2026-05-17T08:22:00Z",
            )
        })
    }

    fn includes(self, entry: &Entry<'_>) -> bool {
        match self {
            Self::Position(last) => entry.position <= last,
            Self::Time(at) => entry.recorded_at <= at,
        }
    }
}

/// Whether a request asks about the past.
pub fn is_asked(request: &Request) -> bool {
    request.query("as_of").is_some_and(|text| !text.is_empty())
}

/// The registry that a request asks about.
///
/// # Errors
/// 400 for a moment that is none, 404 for one after the ledger's end.
pub async fn view<'a>(app: &'a App, account: &str, request: &Request) -> Result<View<'a>, ApiError> {
    let Some(text) = request.query("as_of").filter(|text| !text.is_empty()) else {
        return Ok(View::Live(app.registry().read()));
    };
    let moment = Moment::parse(&text)?;
    if let Moment::Position(position) = moment
        && !app.log().size().contains(position)
    {
        return Err(ApiError::not_found(
            "position_not_found",
            format!("position {position} is not in the ledger yet"),
        ));
    }
    let positions = streams_of(app, account);
    let log: &dyn EventLog = app.log();
    let mut registry = Registry::default();
    for chunk in positions.chunks(READ_ENTRIES) {
        let block = log.read_at(chunk).await.map_err(read_error)?;
        for (_, bytes) in block.iter() {
            let entry = Entry::read(bytes).map_err(ApiError::internal)?;
            if !moment.includes(&entry) {
                return Ok(View::Then(Box::new(registry)));
            }
            registry.apply(&entry).map_err(ApiError::internal)?;
        }
    }
    Ok(View::Then(Box::new(registry)))
}

/// Where the entries of an account's configuration are, rising. Tokens are left out: they are not shown.
fn streams_of(app: &App, account: &str) -> Vec<Position> {
    let registry = app.registry().read();
    let index = app.sequencer().positions();
    let mut positions = index.of("account", account);
    let mut add = |aggregate_type, id: &str| positions.extend(index.of(aggregate_type, id));
    for site in registry.sites(account, None) {
        add("site", &site.id);
    }
    for device in registry.devices_ever(account, None) {
        add("device", &device.id);
        for channel in registry.channels(device) {
            add("channel", &channel.id);
        }
    }
    // What was decided and is not durable yet is not there.
    let size = app.log().size();
    positions.retain(|position| size.contains(*position));
    positions.sort_unstable();
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_position_or_a_time_with_a_zone() {
        assert_eq!(Moment::parse("17"), Ok(Moment::Position(Position(17))));
        assert!(matches!(
            Moment::parse("2026-05-17T10:22:00+02:00"),
            Ok(Moment::Time(_))
        ));
        assert_eq!(
            Moment::parse("2026-05-17T10:22:00 02:00"),
            Moment::parse("2026-05-17T08:22:00Z"),
            "a query decodes a bare plus as a space"
        );
        for bad in ["yesterday", "2026-05-17", "-1", "2026-05-17T08:22:00"] {
            assert_eq!(
                Moment::parse(bad).expect_err("refused").code,
                "bad_query",
                "{bad}"
            );
        }
    }
}
