//! What a pack says of itself: what was asked, by whom, and the hash of every file.
//!
//! Invariant: canonical JSON of exactly these members; what was read writes back to the same bytes.
//! Source: FORMAT §7.
//! Not here: believing it (`verify`).

use domain::canonical::{Canonical, CanonicalError};
use domain::entry::is_aggregate_id;
use domain::{Date, Hash, TreeSize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest name of an asker, characters.
pub const ASKER_MAX: usize = 128;
/// Longest name of a software, characters.
pub const SOFTWARE_MAX: usize = 64;

/// What a pack is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A site with every device that was there.
    Site(String),
    /// A device with its channels.
    Device(String),
    /// One channel; readings are its device's.
    Channel(String),
    /// One alarm with its channel: what the channel owns is there too, its rules, alarms, silences and states.
    Alarm {
        /// `alm_…`
        id: String,
        /// The channel that the alarm is of.
        channel: String,
    },
}

impl Subject {
    /// The id.
    pub fn id(&self) -> &str {
        match self {
            Self::Site(id) | Self::Device(id) | Self::Channel(id) | Self::Alarm { id, .. } => id,
        }
    }

    /// The channel whose values are asked for; `None` where they are of more than one.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::Channel(id) | Self::Alarm { channel: id, .. } => Some(id),
            Self::Site(_) | Self::Device(_) => None,
        }
    }

    /// The type of the stream of that id.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Site(_) => "site",
            Self::Device(_) => "device",
            Self::Channel(_) => "channel",
            Self::Alarm { .. } => "alarm",
        }
    }
}

/// What is asked: a subject and days of recording, UTC, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Asked", into = "Asked")]
pub struct Query {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
    /// What of.
    pub subject: Subject,
}

/// What nobody can be given a pack of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not exactly one subject.
    #[error("ask for exactly one site, device or channel, by its id")]
    Subject,
    /// Days the wrong way round.
    #[error("the days from {from} to {to} are none")]
    Days {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
}

impl Query {
    /// A query.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn new(subject: Subject, from: Date, to: Date) -> Result<Self, QueryError> {
        if from > to {
            return Err(QueryError::Days { from, to });
        }
        if !is_aggregate_id(subject.id()) || !subject.channel().is_none_or(is_aggregate_id) {
            return Err(QueryError::Subject);
        }
        Ok(Self { from, to, subject })
    }

    /// Whether that day is asked for.
    pub fn asks_for(&self, date: Date) -> bool {
        (self.from..=self.to).contains(&date)
    }
}

/// A query as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alarm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    from: Date,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    to: Date,
}

impl From<Query> for Asked {
    fn from(query: Query) -> Self {
        let mut asked = Self {
            alarm: None,
            channel: None,
            device: None,
            from: query.from,
            site: None,
            to: query.to,
        };
        match query.subject {
            Subject::Site(id) => asked.site = Some(id),
            Subject::Device(id) => asked.device = Some(id),
            Subject::Channel(id) => asked.channel = Some(id),
            Subject::Alarm { id, channel } => {
                asked.alarm = Some(id);
                asked.channel = Some(channel);
            }
        }
        asked
    }
}

impl TryFrom<Asked> for Query {
    type Error = QueryError;

    fn try_from(asked: Asked) -> Result<Self, QueryError> {
        let subject = match (asked.site, asked.device, asked.channel, asked.alarm) {
            (Some(id), None, None, None) => Subject::Site(id),
            (None, Some(id), None, None) => Subject::Device(id),
            (None, None, Some(id), None) => Subject::Channel(id),
            (None, None, Some(channel), Some(id)) => Subject::Alarm { id, channel },
            _ => return Err(QueryError::Subject),
        };
        Self::new(subject, asked.from, asked.to)
    }
}

/// How much is in a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Entries with their bytes.
    pub entries: u64,
    /// Heads of days.
    pub heads: u64,
    /// Hashes beside the entries.
    pub nodes: u64,
    /// Lines of stream maps.
    pub streams: u64,
    /// Entries without their bytes.
    pub stubs: u64,
}

/// A file of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileOf {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, base64.
    pub sha256: Hash,
}

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Who asked.
    pub asker: String,
    /// How much there is.
    pub counts: Counts,
    /// Every file but the manifest and its note.
    pub files: BTreeMap<String, FileOf>,
    /// Which log.
    pub origin: String,
    /// What was asked.
    pub query: Query,
    /// The checkpoint's size.
    pub size: TreeSize,
    /// What made it.
    pub software: String,
    /// Version of the format of packs.
    pub v: u64,
}

impl Manifest {
    /// The file.
    ///
    /// # Errors
    /// [`CanonicalError`]; only for numbers that no pack has.
    pub fn encode(&self) -> Result<Vec<u8>, CanonicalError> {
        Ok(Canonical::from_serialize(self)?.as_bytes().to_vec())
    }

    /// Reads the file, strictly.
    ///
    /// # Errors
    /// In words.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if manifest.encode().ok().as_deref() != Some(bytes) {
            return Err("it is not in its canonical form".to_owned());
        }
        if manifest.v != 1 {
            return Err(format!("packs of version {} are not known here", manifest.v));
        }
        let short = |text: &str, max: usize| text.chars().count() <= max && !text.contains(char::is_control);
        if !short(&manifest.asker, ASKER_MAX) || !short(&manifest.software, SOFTWARE_MAX) {
            return Err("its asker or software is too long, or not plain text".to_owned());
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_one_subject_and_days_in_order() {
        let read = |text: &str| serde_json::from_str::<Query>(text).map_err(|error| error.to_string());
        let query = read(r#"{"device":"dev_a","from":"2026-05-17","to":"2026-05-18"}"#).expect("a query");
        assert_eq!(query.subject, Subject::Device("dev_a".to_owned()));
        let text = serde_json::to_string(&query).expect("JSON");
        assert_eq!(read(&text), Ok(query));
        let text = r#"{"alarm":"alm_a","channel":"chn_a","from":"2026-05-17","to":"2026-05-18"}"#;
        let query = read(text).expect("a query");
        assert_eq!(
            (query.subject.id(), query.subject.channel()),
            ("alm_a", Some("chn_a"))
        );
        assert_eq!(serde_json::to_string(&query).expect("JSON"), text);
        for bad in [
            r#"{"alarm":"a","from":"2026-05-17","to":"2026-05-18"}"#,
            r#"{"alarm":"a","device":"b","from":"2026-05-17","to":"2026-05-18"}"#,
            r#"{"from":"2026-05-17","to":"2026-05-18"}"#,
            r#"{"device":"a","site":"b","from":"2026-05-17","to":"2026-05-18"}"#,
            r#"{"device":"a","from":"2026-05-19","to":"2026-05-18"}"#,
            r#"{"device":"../a","from":"2026-05-17","to":"2026-05-18"}"#,
            r#"{"device":"a","from":"2026-05-17","to":"2026-05-18","more":1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
