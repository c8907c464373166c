//! Which entries somebody asks for: by event type, stream, actor and time.
//!
//! Invariants: an entry that matches matches by what stands in it, or, for readings, whose metadata name nobody, by what
//! follows from their stream; times are those of recording, which never go back, so a time is found by halving.
//! Source: FORMAT §2. Not here: who may see what (`routes::entries`).

use domain::entry::Entry;
use domain::event::class_of;
use domain::ports::{EventLog, ReadError};
use domain::reading::{READING_CONFLICT, READING_RECORDED, READINGS};
use domain::{Date, Position, Timestamp, TreeSize};
use serde::Deserialize;

/// Most event types in one question.
pub const TYPES_MAX: usize = 32;
/// Longest text of a part of a question.
const TEXT_MAX: usize = 192;

/// A question. Without anything in it every entry matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Event types; empty = all.
    pub types: Vec<String>,
    /// `<aggregate_type>/<aggregate_id>`.
    pub stream: Option<String>,
    /// As in metadata: a user's id, `device:<id>` or `system:<component>`.
    pub actor: Option<String>,
    /// Recorded at or after this.
    pub since: Option<Timestamp>,
    /// Recorded before this.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Reads the parts as they are written in a query or on a command line.
    ///
    /// # Errors
    /// In words, naming the part.
    pub fn parse(
        types: &[String],
        stream: Option<&str>,
        actor: Option<&str>,
        since: Option<&str>,
        until: Option<&str>,
    ) -> Result<Self, String> {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let filter = Self {
            types: types.iter().filter(|t| !t.is_empty()).cloned().collect(),
            stream: given(stream),
            actor: given(actor),
            since: given(since).map(|text| moment(&text, "since")).transpose()?,
            until: given(until).map(|text| moment(&text, "until")).transpose()?,
        };
        if let (Some(since), Some(until)) = (filter.since, filter.until)
            && since >= until
        {
            return Err("'since' must be before 'until'".to_owned());
        }
        if filter.types.len() > TYPES_MAX {
            return Err(format!("at most {TYPES_MAX} event types in one question"));
        }
        if let Some(stream) = &filter.stream
            && stream
                .split_once('/')
                .is_none_or(|(kind, id)| kind.is_empty() || id.is_empty())
        {
            return Err("'stream' is <aggregate_type>/<aggregate_id>, such as device/dev_…".to_owned());
        }
        let texts = filter.types.iter().chain(&filter.stream).chain(&filter.actor);
        if texts.into_iter().any(|text| text.len() > TEXT_MAX) {
            return Err(format!(
                "a type, stream or actor has at most {TEXT_MAX} characters"
            ));
        }
        Ok(filter)
    }

    /// Whether every entry matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry is asked for.
    pub fn matches(&self, entry: &Entry<'_>) -> bool {
        let of_type = self.types.is_empty() || self.types.iter().any(|t| t == entry.event_type);
        let of_stream = self.stream.as_deref().is_none_or(|stream| {
            stream
                .split_once('/')
                .is_some_and(|(kind, id)| entry.stream_is(kind, id))
        });
        let after = self.since.is_none_or(|since| entry.recorded_at >= since);
        let before = self.until.is_none_or(|until| entry.recorded_at < until);
        of_type && of_stream && after && before && self.actor.as_deref().is_none_or(|a| is_by(entry, a))
    }

    /// Whether no entry of a device's readings can match, so that only the others need to be looked at.
    pub fn passes_over_readings(&self) -> bool {
        let kind = self.stream.as_deref().and_then(|stream| stream.split_once('/'));
        let in_readings = [READING_RECORDED, READING_CONFLICT];
        kind.is_some_and(|(kind, _)| kind != READINGS)
            || (!self.types.is_empty() && !self.types.iter().any(|t| in_readings.contains(&&**t)))
    }

    /// The event types that this version of the software has never heard of.
    pub fn unheard_of(&self) -> impl Iterator<Item = &str> {
        let unknown = self.types.iter().filter(|name| class_of(name).is_none());
        unknown.map(String::as_str)
    }

    /// Whether nothing behind an entry can match any more.
    pub fn is_over(&self, entry: &Entry<'_>) -> bool {
        self.until.is_some_and(|until| entry.recorded_at >= until)
    }

    /// The first position, at or behind `from`, that can match.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn first(
        &self,
        log: &dyn EventLog,
        from: Position,
        size: TreeSize,
    ) -> Result<Position, ReadError> {
        let Some(since) = self.since else { return Ok(from) };
        let (mut low, mut high) = (from.get(), size.get());
        while low < high {
            let middle = low + (high - low) / 2;
            let block = log.read_at(&[Position(middle)]).await?;
            let recorded = block.get(0).and_then(|(_, bytes)| Entry::read(bytes).ok());
            if recorded.is_some_and(|entry| entry.recorded_at < since) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(Position(low))
    }
}

fn is_by(entry: &Entry<'_>, actor: &str) -> bool {
    #[derive(Deserialize)]
    struct By<'a> {
        #[serde(borrow)]
        actor: Option<std::borrow::Cow<'a, str>>,
    }
    let named = serde_json::from_slice::<By<'_>>(entry.metadata)
        .ok()
        .and_then(|by| by.actor);
    match named {
        Some(named) => named == actor,
        None => entry.aggregate_type == READINGS && actor.strip_prefix("device:") == Some(entry.aggregate_id),
    }
}

/// A time with a zone, or a day, which is its first moment in UTC.
pub fn moment(text: &str, part: &str) -> Result<Timestamp, String> {
    // A plus sign that nobody encoded arrives as a space.
    let text = text.replace(' ', "+");
    if let Ok(date) = Date::parse(&text) {
        return Ok(date.start());
    }
    Timestamp::parse_rfc3339(&text).map_err(|_| {
        format!("'{part}' must be a day such as 2026-05-17 or a time such as 2026-05-17T08:22:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(types: &[&str], stream: Option<&str>, actor: Option<&str>) -> Filter {
        let types: Vec<String> = types.iter().map(|t| (*t).to_owned()).collect();
        Filter::parse(&types, stream, actor, None, None).expect("a question")
    }

    fn entry<'a>(kind: &'a str, metadata: &'a str) -> Entry<'a> {
        Entry {
            position: Position(7),
            recorded_at: Timestamp::parse_rfc3339("2026-05-17T08:00:00Z").expect("a time"),
            aggregate_type: kind,
            aggregate_id: "dev_a",
            sequence: 1,
            event_type: "ReadingRecorded",
            event_version: "1.0",
            salt: "",
            payload: b"{}",
            metadata: metadata.as_bytes(),
        }
    }

    #[test]
    fn every_part_must_match_and_readings_are_their_devices() {
        let reading = entry("readings", "{\"received_at\":\"x\"}");
        let change = entry("device", "{\"actor\":\"usr_b\"}");
        assert!(Filter::default().matches(&reading) && Filter::default().is_empty());
        assert!(filter(&["X", "ReadingRecorded"], None, None).matches(&reading));
        assert!(!filter(&["X"], None, None).matches(&reading));
        assert!(filter(&[], Some("readings/dev_a"), None).matches(&reading));
        assert!(!filter(&[], Some("device/dev_a"), None).matches(&reading));
        assert!(filter(&[], None, Some("device:dev_a")).matches(&reading));
        assert!(!filter(&[], None, Some("device:dev_a")).matches(&change));
        assert!(filter(&[], None, Some("usr_b")).matches(&change));
        assert!(!filter(&[], None, Some("usr_b")).matches(&reading));
        assert!(!filter(&["ReadingRecorded"], None, Some("usr_c")).matches(&change));
    }

    #[test]
    fn times_are_half_open_and_days_begin_in_utc() {
        let at = entry("device", "{}");
        let between = |since: &str, until: &str| {
            Filter::parse(&[], None, None, Some(since), Some(until)).expect("a question")
        };
        assert!(between("2026-05-17", "2026-05-18").matches(&at));
        assert!(!between("2026-05-16", "2026-05-17").matches(&at));
        assert!(between("2026-05-17T08:00:00Z", "2026-05-17T10:00:01+02:00").matches(&at));
        assert!(!between("2026-05-17T07:00:00Z", "2026-05-17T08:00:00Z").matches(&at));
        assert!(between("2026-05-16", "2026-05-17").is_over(&at));
    }

    #[test]
    fn readings_are_passed_over_where_none_can_match() {
        assert!(filter(&["SiteCreated"], None, None).passes_over_readings());
        assert!(filter(&[], Some("device/dev_a"), None).passes_over_readings());
        for reads in [
            filter(&[], None, Some("usr_a")),
            filter(&["SiteCreated", "ReadingRecorded"], None, None),
            filter(&["ReadingConflict"], None, None),
            filter(&[], Some("readings/dev_a"), None),
        ] {
            assert!(!reads.passes_over_readings(), "{reads:?}");
        }
        let typo = filter(&["SiteCreated", "SiteCraeted"], None, None);
        assert_eq!(typo.unheard_of().collect::<Vec<_>>(), ["SiteCraeted"]);
    }

    #[test]
    fn what_is_no_question_is_refused_in_words() {
        for (stream, since) in [
            (Some("device"), None),
            (Some("/x"), None),
            (None, Some("yesterday")),
        ] {
            let error = Filter::parse(&[], stream, None, since, None).expect_err("refused");
            assert!(error.contains('\''), "{error}");
        }
        let backwards = Filter::parse(&[], None, None, Some("2026-05-18"), Some("2026-05-17"));
        assert!(backwards.expect_err("refused").contains("before"));
        let many = vec!["X".to_owned(); TYPES_MAX + 1];
        assert!(Filter::parse(&many, None, None, None, None).is_err());
    }
}
