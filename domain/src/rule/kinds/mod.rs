//! What each kind of rule looks at, and what it has to remember for that.
//!
//! Invariant: what is remembered is bounded, whatever comes. Source: docs/rules.md.
//! Not here: what is right (`definition::Band`), how long it may be wrong (`engine`).

pub mod absence;
mod comparison;
mod delta;
mod derivative;
mod range;

use super::definition::{Definition, Kind};
use crate::position::Position;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Largest magnitude of a value: 2^53 − 1, the largest integer of canonical JSON. What calculation makes larger counts as
/// this; no limit comes near it.
pub const VALUE_MAX: f64 = 9_007_199_254_740_991.0;

/// What a rule has to remember.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Nothing.
    #[default]
    Nothing,
    /// The value before (`delta`), or the other channel's newest (`comparison`).
    Value(Sample),
    /// The last hour, a value a minute (`derivative`).
    Hour(Vec<Sample>),
    /// When something last arrived, by our clock (`absence`).
    Arrival {
        /// When; later than it was by the time that the service was down.
        at: Timestamp,
        /// Which entry.
        position: Position,
    },
}

/// A value and when it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}

impl Memory {
    /// Takes over a value of the channel that a comparison compares with.
    pub fn other(&mut self, sample: Sample) {
        *self = Self::Value(sample);
    }
}

/// What the rule looks at, given a value of its channel: `None` where it cannot tell.
pub fn look(definition: &Definition, memory: &mut Memory, sample: Sample) -> Option<f64> {
    match definition.kind {
        Kind::Range => Some(range::look(sample)),
        Kind::Delta => delta::look(definition, memory, sample),
        Kind::Derivative => derivative::look(memory, sample),
        Kind::Comparison => comparison::look(definition, memory, sample),
        Kind::Absence => None,
    }
}
