//! `range`: the value itself.
//!
//! Source: docs/rules.md. Not here: the band it must lie in (`definition::Band`).

use super::Sample;

/// The value.
pub(super) fn look(sample: Sample) -> f64 {
    sample.value
}
