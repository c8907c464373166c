//! Units as payloads spell them, and their UCUM codes.
//!
//! Invariants: a decimal multiple of a kind's own unit (Wh, mV, Pa, kW) is brought to that unit, because it is
//! the same quantity with another prefix; anything else (°F, K, mmHg) keeps its value and its own unit.
//! Multiples divide or multiply by a power of ten once, so that the result is the nearest double.
//! Source: UCUM; the spellings are those of vendors' codecs. Not here: what a kind's own unit is (`domain::kinds`).

use domain::kinds::Kind;
use std::borrow::Cow;

/// A unit that some kind can be given in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    /// UCUM code.
    pub code: &'static str,
    /// The kinds' own unit that it measures.
    pub of: &'static str,
    scale: Scale,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Same,
    Times(f64),
    Over(f64),
    /// Own = value × factor + offset, and not merely another prefix.
    Other(f64, f64),
}

const fn unit(code: &'static str, of: &'static str, scale: Scale) -> Unit {
    Unit { code, of, scale }
}

const UNITS: &[(&[&str], Unit)] = &[
    (
        &["Cel", "°C", "℃", "C", "degC", "celsius", "Celsius"],
        unit("Cel", "Cel", Scale::Same),
    ),
    (
        &["[degF]", "°F", "℉", "F", "degF", "fahrenheit", "Fahrenheit"],
        unit("[degF]", "Cel", Scale::Other(5.0 / 9.0, -160.0 / 9.0)),
    ),
    (
        &["K", "kelvin", "Kelvin"],
        unit("K", "Cel", Scale::Other(1.0, -273.15)),
    ),
    (
        &["%", "%RH", "% RH", "%rH", "percent"],
        unit("%", "%", Scale::Same),
    ),
    (&["hPa", "mbar", "mb"], unit("hPa", "hPa", Scale::Same)),
    (&["Pa"], unit("Pa", "hPa", Scale::Over(100.0))),
    (&["kPa"], unit("kPa", "hPa", Scale::Times(10.0))),
    (&["bar"], unit("bar", "hPa", Scale::Times(1000.0))),
    (
        &["mm[Hg]", "mmHg"],
        unit("mm[Hg]", "hPa", Scale::Other(1.333_223_874_15, 0.0)),
    ),
    (&["ppm"], unit("ppm", "ppm", Scale::Same)),
    (&["W"], unit("W", "W", Scale::Same)),
    (&["mW"], unit("mW", "W", Scale::Over(1000.0))),
    (&["kW"], unit("kW", "W", Scale::Times(1000.0))),
    (&["kWh", "kW.h"], unit("kWh", "kWh", Scale::Same)),
    (&["Wh", "W.h"], unit("Wh", "kWh", Scale::Over(1000.0))),
    (&["MWh", "MW.h"], unit("MWh", "kWh", Scale::Times(1000.0))),
    (&["V", "volt", "Volt"], unit("V", "V", Scale::Same)),
    (&["mV"], unit("mV", "V", Scale::Over(1000.0))),
    (&["A"], unit("A", "A", Scale::Same)),
    (&["mA"], unit("mA", "A", Scale::Over(1000.0))),
    (&["Hz"], unit("Hz", "Hz", Scale::Same)),
    (&["V.A", "VA"], unit("V.A", "V.A", Scale::Same)),
    (&["kVA", "kV.A"], unit("kV.A", "V.A", Scale::Times(1000.0))),
    (&["var", "VAr", "VAR"], unit("var", "var", Scale::Same)),
    (&["kvar", "kVAr"], unit("kvar", "var", Scale::Times(1000.0))),
    (&["L/min", "l/min", "lpm"], unit("L/min", "L/min", Scale::Same)),
    (
        &["L/h", "l/h"],
        unit("L/h", "L/min", Scale::Other(1.0 / 60.0, 0.0)),
    ),
    (
        &["m3/h", "m³/h"],
        unit("m3/h", "L/min", Scale::Other(1000.0 / 60.0, 0.0)),
    ),
    (&["lx", "lux"], unit("lx", "lx", Scale::Same)),
    (&["dBm"], unit("dBm", "dBm", Scale::Same)),
    (&["dB"], unit("dB", "dB", Scale::Same)),
    (&["1"], unit("1", "1", Scale::Same)),
];

/// The unit that `text` spells; `None` where nobody here knows it.
pub fn spelled(text: &str) -> Option<&'static Unit> {
    let text = text.trim();
    UNITS
        .iter()
        .find(|(names, _)| names.contains(&text))
        .map(|(_, unit)| unit)
}

impl Unit {
    /// Whether `kind` can be given in this unit. A battery is given in percent or in volts.
    pub fn fits(&self, kind: &Kind) -> bool {
        self.of == kind.unit || (kind.name == "battery" && self.of == "V")
    }

    /// `value` in the kinds' own unit, for comparing with a range.
    pub fn in_own(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Same => value,
            Scale::Times(n) => value * n,
            Scale::Over(n) => value / n,
            Scale::Other(factor, offset) => value * factor + offset,
        }
    }

    /// The value to keep and its unit, `None` where that is the kinds' own.
    pub fn settle(&self, value: f64) -> (f64, Option<Cow<'static, str>>) {
        match self.scale {
            Scale::Other(..) => (value, Some(Cow::Borrowed(self.code))),
            _ => (self.in_own(value), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::kinds;

    #[test]
    fn every_spelling_is_unambiguous_and_every_unit_belongs_to_a_kind() {
        let mut seen = std::collections::BTreeSet::new();
        for (names, unit) in UNITS {
            assert!(names.contains(&unit.code), "{} spells itself", unit.code);
            assert!(
                kinds::KINDS.iter().any(|k| k.unit == unit.of),
                "{} is of some kind",
                unit.code
            );
            for name in *names {
                assert!(seen.insert(*name), "{name} stands once");
            }
        }
    }

    #[test]
    fn another_prefix_becomes_the_own_unit_and_gives_the_nearest_double() {
        let settle = |text, value| spelled(text).map(|u| u.settle(value));
        assert_eq!(settle("Wh", 45236.97), Some((45.23697, None)));
        assert_eq!(settle("mV", 3250.0), Some((3.25, None)));
        assert_eq!(settle("Pa", 96412.0), Some((964.12, None)));
        assert_eq!(settle("kW", 1.5), Some((1500.0, None)));
    }

    #[test]
    fn fahrenheit_is_never_converted_only_compared() {
        let f = spelled("°F").expect("known");
        assert_eq!(f.settle(70.5), (70.5, Some(Cow::Borrowed("[degF]"))));
        assert!((f.in_own(32.0)).abs() < 1e-9);
        assert!((f.in_own(212.0) - 100.0).abs() < 1e-9);
    }
}
