//! `delta`: how far the value is from the one before it, where that one is no older than `interval_s`.
//!
//! Source: REFERENCE §3 ("|value − previous| ≤ max_delta within interval"); docs/rules.md.
//! Not here: slow changes, which `derivative` sees.

use super::{Memory, Sample};
use crate::rule::definition::Definition;

/// The step; `None` for the first value, and for one after a longer gap.
pub(super) fn look(definition: &Definition, memory: &mut Memory, sample: Sample) -> Option<f64> {
    let before = std::mem::replace(memory, Memory::Value(sample));
    let Memory::Value(before) = before else {
        return None;
    };
    let interval_us = i64::from(definition.interval_s?) * 1_000_000;
    (sample.at.since(before.at) <= interval_us).then(|| (sample.value - before.value).abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::definition::Kind;
    use crate::time::Timestamp;

    #[test]
    fn a_step_is_seen_within_the_interval_only() {
        let definition = Definition {
            interval_s: Some(60),
            max_delta: Some(1.0),
            ..Definition::of(Kind::Delta)
        };
        let mut memory = Memory::Nothing;
        let mut look = |s: i64, value: f64| {
            let at = Timestamp::default().plus_micros(s * 1_000_000);
            look(&definition, &mut memory, Sample { at, value })
        };
        assert_eq!(look(0, 4.0), None);
        assert_eq!(look(60, 1.0), Some(3.0));
        assert_eq!(look(121, 9.0), None);
        assert_eq!(look(122, 9.5), Some(0.5));
    }
}
