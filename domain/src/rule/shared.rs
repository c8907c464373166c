//! Shared texts and large integers in a state's JSON.
//!
//! Invariant: integers beyond 2^53 stand as decimal texts, because canonical JSON has no larger numbers.
//! Not here: payloads of events, which hold neither.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::sync::Arc;

/// Writes the text.
pub(super) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// Reads a text.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

/// Integers of 64 bits as decimal texts.
pub(super) mod decimal {
    use super::{Deserialize, Deserializer, Error, Serializer};

    pub(in crate::rule) fn serialize<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(in crate::rule) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|_| D::Error::custom("not a decimal integer"))
    }
}
