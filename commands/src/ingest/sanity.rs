//! What is physically possible, in whatever unit a value came.
//!
//! A unit nobody here knows cannot be judged: such a value only has to be finite.
//! Source: the ranges of `domain::kinds`. Not here: limits that a person sets, sentinels of one vendor.

use super::units::{self, Unit};
use domain::kinds::{self, Kind};

/// A value that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{kind} {value} {unit} is outside {min} to {max} {own}")]
pub struct OutOfRange {
    /// The kind's name.
    pub kind: &'static str,
    /// The value, as it came.
    pub value: f64,
    /// UCUM code of `value`.
    pub unit: &'static str,
    /// Lowest value that is possible, in `own`.
    pub min: f64,
    /// Highest value that is possible, in `own`.
    pub max: f64,
    /// The kind's own unit.
    pub own: &'static str,
}

/// Checks that `value` is possible for `kind`; `unit` is a UCUM code or another spelling, `None` = the kind's own.
///
/// # Errors
/// [`OutOfRange`], naming the range; the stable code is `out_of_range`.
pub fn sanity(kind: &'static Kind, unit: Option<&str>, value: f64) -> Result<(), OutOfRange> {
    match unit {
        None => within(kind, kind.unit, value, value),
        Some(text) => match units::spelled(text) {
            Some(unit) if unit.fits(kind) => in_unit(kind, unit, value),
            _ if value.is_finite() => Ok(()),
            _ => within(kind, kind.unit, value, value),
        },
    }
}

pub(super) fn in_unit(kind: &'static Kind, unit: &Unit, value: f64) -> Result<(), OutOfRange> {
    let kind = if kind.name == "battery" && unit.of == "V" {
        kinds::find("battery_voltage").unwrap_or(kind)
    } else {
        kind
    };
    within(kind, unit.code, value, unit.in_own(value))
}

fn within(kind: &'static Kind, unit: &'static str, value: f64, own: f64) -> Result<(), OutOfRange> {
    if (kind.min..=kind.max).contains(&own) {
        return Ok(());
    }
    Err(OutOfRange {
        kind: kind.name,
        value,
        unit,
        min: kind.min,
        max: kind.max,
        own: kind.unit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> &'static Kind {
        kinds::find(name).expect("a kind")
    }

    #[test]
    fn a_value_is_judged_in_the_unit_it_came_in() {
        assert_eq!(sanity(of("temperature"), None, -273.15), Ok(()));
        assert!(sanity(of("temperature"), None, -273.2).is_err());
        assert_eq!(sanity(of("temperature"), Some("[degF]"), -459.6), Ok(()));
        assert!(sanity(of("temperature"), Some("°F"), -460.0).is_err());
        assert!(sanity(of("humidity"), None, 100.5).is_err());
        assert_eq!(sanity(of("battery"), Some("V"), 3.9), Ok(()));
        assert!(sanity(of("battery"), Some("V"), 61.0).is_err());
        assert!(sanity(of("battery"), None, 101.0).is_err());
    }

    #[test]
    fn an_unknown_unit_cannot_be_judged_but_nothing_infinite_passes() {
        assert_eq!(sanity(of("pressure"), Some("furlong"), 1e30), Ok(()));
        assert!(sanity(of("pressure"), Some("furlong"), f64::NAN).is_err());
        assert!(sanity(of("pressure"), None, f64::INFINITY).is_err());
    }

    #[test]
    fn the_refusal_says_what_would_be_possible() {
        let words = sanity(of("humidity"), None, 300.0)
            .expect_err("impossible")
            .to_string();
        assert_eq!(words, "humidity 300 % is outside 0 to 100 %");
    }
}
