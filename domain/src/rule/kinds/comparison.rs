//! `comparison`: how far the value is from another channel's newest one.
//!
//! Invariant: a value of the other channel that is older than [`OTHER_AGE_S_MAX`] (or `interval_s`) says nothing.
//! Source: REFERENCE §3; docs/rules.md, which decides that the distance counts, whichever is larger.
//! Not here: differences with a sign of their own, which are derived channels (`derived`).

use super::{Memory, Sample};
use crate::rule::definition::Definition;

/// Oldest value of the other channel that is compared with, seconds, unless `interval_s` says another.
pub const OTHER_AGE_S_MAX: u32 = 900;

/// The distance; `None` while the other channel says nothing.
pub(super) fn look(definition: &Definition, memory: &mut Memory, sample: Sample) -> Option<f64> {
    let Memory::Value(other) = memory else {
        return None;
    };
    let age_us = i64::from(definition.interval_s.unwrap_or(OTHER_AGE_S_MAX)) * 1_000_000;
    (sample.at.since(other.at) <= age_us).then(|| (sample.value - other.value).abs())
}
