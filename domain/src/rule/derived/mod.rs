//! Derived channels: values that are made of other channels' values, at each of their readings.
//!
//! Invariants: a value is made only of source values that are at most `max_age_s` older than the newest one; sums
//! are of scaled integers, so the order of readings does not change a bit; what is remembered is bounded.
//! A reading that came late makes a derived value only where it holds every source itself.
//! Source: REFERENCE §3 (defaults per vertical, energy); docs/rules.md. Not here: rules over derived values, which are
//! rules like others.

mod baseline;
mod draw;
mod hours;
mod kinetic;
mod nights;
mod psychro;

use super::kinds::Sample;
use crate::ids::IdKind;
use crate::rejection::Rejection;
use crate::time::Timestamp;
use draw::Draw;
use hours::Hours;
use jiff::tz::TimeZone;
use nights::Nights;
use serde::{Deserialize, Serialize};

/// Oldest value of a source that is used, seconds, where a derivation says nothing else.
pub const MAX_AGE_S: u32 = 900;
/// Largest `max_age_s`: a day.
pub const MAX_AGE_S_MAX: u32 = 86_400;
/// Days over which a mean kinetic temperature goes, where a derivation says nothing else.
const KINETIC_DAYS: u32 = 30;
/// Days over which a baseline goes, where a derivation says nothing else.
const BASELINE_DAYS: u32 = 30;
/// Most days that anything goes back.
pub const TRAILING_DAYS_MAX: u32 = 90;

/// What a derived value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Supply minus return, K.
    FlowDelta,
    /// Exhaust minus intake, K.
    DeltaT,
    /// Of temperature (Cel) and relative humidity (%), Cel.
    Dewpoint,
    /// Of a temperature over the trailing days, Cel.
    MeanKineticTemperature,
    /// The median of a load in this hour of this weekday over the trailing days, in its unit.
    EnergyBaseline,
    /// The load's mean of this hour so far, divided by its baseline.
    OverBaseline,
    /// What an outlet reached within 30 s of a draw's beginning, of its temperature and its flow, Cel.
    DrawTemperature,
    /// Nights in a row whose load was more than 1.5 times its baseline.
    NightsOverBaseline,
}

impl Function {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::FlowDelta,
        Self::DeltaT,
        Self::Dewpoint,
        Self::MeanKineticTemperature,
        Self::EnergyBaseline,
        Self::OverBaseline,
        Self::DrawTemperature,
        Self::NightsOverBaseline,
    ];

    /// As in JSON; also the label of the channels that presets make.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FlowDelta => "flow_delta",
            Self::DeltaT => "delta_t",
            Self::Dewpoint => "dewpoint",
            Self::MeanKineticTemperature => "mean_kinetic_temperature",
            Self::EnergyBaseline => "energy_baseline",
            Self::OverBaseline => "over_baseline",
            Self::DrawTemperature => "draw_temperature",
            Self::NightsOverBaseline => "nights_over_baseline",
        }
    }

    /// The kinds of its sources, in order.
    pub const fn sources(self) -> &'static [&'static str] {
        match self {
            Self::FlowDelta | Self::DeltaT => &["temperature", "temperature"],
            Self::Dewpoint => &["temperature", "humidity"],
            Self::MeanKineticTemperature => &["temperature"],
            Self::DrawTemperature => &["temperature", "flow"],
            Self::EnergyBaseline | Self::OverBaseline | Self::NightsOverBaseline => &["power"],
        }
    }

    /// The kind of its values.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::FlowDelta
            | Self::DeltaT
            | Self::Dewpoint
            | Self::MeanKineticTemperature
            | Self::DrawTemperature => "temperature",
            Self::EnergyBaseline | Self::OverBaseline => "power",
            Self::NightsOverBaseline => "count",
        }
    }

    /// The unit of its values; differences are kelvins, a ratio and a number have none.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::FlowDelta | Self::DeltaT => "K",
            Self::Dewpoint | Self::MeanKineticTemperature | Self::DrawTemperature => "Cel",
            Self::EnergyBaseline => "W",
            Self::OverBaseline | Self::NightsOverBaseline => "1",
        }
    }

    /// How far back it goes where a derivation says nothing else, days; `None` where it does not.
    pub const fn trailing_days(self) -> Option<u32> {
        match self {
            Self::MeanKineticTemperature => Some(KINETIC_DAYS),
            Self::EnergyBaseline | Self::OverBaseline | Self::NightsOverBaseline => Some(BASELINE_DAYS),
            Self::FlowDelta | Self::DeltaT | Self::Dewpoint | Self::DrawTemperature => None,
        }
    }
}

/// How a derived channel's values are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derivation {
    /// What they are.
    pub function: Function,
    /// Oldest value of a source that is used, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u32>,
    /// The channels, in the function's order.
    pub sources: Vec<String>,
    /// How far back it goes, days: 7, 30 or 90.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailing_days: Option<u32>,
}

impl Derivation {
    /// Whether it remembers hours of past days, and not only the newest value of each source.
    pub fn is_trailing(&self) -> bool {
        self.function.trailing_days().is_some()
    }

    /// Checks that values can be made so.
    ///
    /// # Errors
    /// `invalid_derivation`.
    pub fn check(&self) -> Result<(), Rejection> {
        let invalid = |message: &'static str| Rejection::invalid("invalid_derivation", message);
        if self.sources.len() != self.function.sources().len() {
            return Err(invalid(
                "flow_delta, delta_t, dewpoint and draw_temperature have two sources, the others one",
            ));
        }
        let distinct = self.sources.first() != self.sources.get(1);
        if !distinct || !self.sources.iter().all(|id| IdKind::Channel.is(id)) {
            return Err(invalid("sources are ids of different channels"));
        }
        if self.max_age_s.is_some_and(|s| s == 0 || s > MAX_AGE_S_MAX) {
            return Err(invalid("max_age_s is 1 to 86400"));
        }
        if self
            .trailing_days
            .is_some_and(|days| !matches!(days, 7 | 30 | 90))
        {
            return Err(invalid("trailing_days is 7, 30 or 90"));
        }
        Ok(())
    }
}

/// A derived channel at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Derived {
    derivation: Derivation,
    #[serde(default, skip_serializing_if = "Draw::is_new")]
    draw: Draw,
    #[serde(default, skip_serializing_if = "Hours::is_empty")]
    hours: Hours,
    #[serde(default, skip_serializing_if = "Nights::is_new")]
    nights: Nights,
    newest: Vec<Option<Sample>>,
    sources: Vec<u32>,
}

impl Derived {
    /// One that has seen nothing; `sources` are the numbers of the derivation's channels.
    pub fn new(derivation: Derivation, sources: Vec<u32>) -> Self {
        Self {
            draw: Draw::default(),
            hours: Hours::default(),
            nights: Nights::default(),
            newest: vec![None; sources.len()],
            derivation,
            sources,
        }
    }

    /// The numbers of its sources.
    pub fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// The value that follows from these, measured at one time; `None` where one cannot be told.
    pub fn take(&mut self, zone: &TimeZone, measured_at: Timestamp, values: &[(u32, f64)]) -> Option<f64> {
        let age_us = i64::from(self.derivation.max_age_s.unwrap_or(MAX_AGE_S)) * 1_000_000;
        let function = self.derivation.function;
        if function == Function::DrawTemperature {
            // How its sources follow one another counts, not which value of one is the newest.
            let given = |index: usize| {
                let source = self.sources.get(index)?;
                let found = values.iter().find(|(channel, _)| channel == source);
                found.map(|(_, value)| *value)
            };
            let (outlet, flow) = (given(0), given(1));
            return self.draw.take(age_us, measured_at, outlet, flow);
        }
        let mut used = Vec::with_capacity(self.sources.len());
        for (source, newest) in self.sources.iter().zip(&mut self.newest) {
            let given = values.iter().find(|(channel, _)| channel == source);
            if let Some((_, value)) = given {
                if newest.is_none_or(|newest| newest.at <= measured_at) {
                    *newest = Some(Sample {
                        at: measured_at,
                        value: *value,
                    });
                }
                used.push(Some(*value));
            } else {
                let fresh = newest.filter(|newest| (0..=age_us).contains(&measured_at.since(newest.at)));
                used.push(fresh.map(|newest| newest.value));
            }
        }
        let first = used.first().copied().flatten()?;
        let second = used.get(1).copied().flatten();
        let days = self.derivation.trailing_days.or(function.trailing_days());
        let days = days.unwrap_or_default().min(TRAILING_DAYS_MAX);
        let value = match function {
            Function::FlowDelta | Function::DeltaT => first - second?,
            Function::Dewpoint => psychro::dewpoint(first, second?)?,
            Function::MeanKineticTemperature => kinetic::take(&mut self.hours, days, measured_at, first)?,
            Function::EnergyBaseline => {
                baseline::take(&mut self.hours, days, zone, measured_at, first)?.baseline
            }
            Function::OverBaseline => {
                baseline::take(&mut self.hours, days, zone, measured_at, first)?.over()?
            }
            Function::NightsOverBaseline => {
                self.nights
                    .take(&mut self.hours, days, zone, measured_at, first)?
            }
            // Made before, of readings that follow one another.
            Function::DrawTemperature => return None,
        };
        value.is_finite().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::engine::zone_of;
    use proptest::prelude::*;

    fn of(function: Function) -> Derived {
        let derivation = Derivation {
            function,
            max_age_s: None,
            sources: Vec::new(),
            trailing_days: None,
        };
        Derived::new(derivation, (0..function.sources().len() as u32).collect())
    }

    #[test]
    fn what_was_written_before_there_were_draws_and_nights_reads_and_is_written_as_it_was() {
        let written = r#"{"derivation":{"function":"over_baseline","sources":["chn_a"]},"hours":{"9":{"count":1,"sum":"5"}},"newest":[{"at":"2026-11-02T10:00:00.000000Z","value":5.0}],"sources":[3]}"#;
        let derived: Derived = serde_json::from_str(written).expect("reads");
        assert!(derived.draw.is_new() && derived.nights.is_new());
        let again = serde_json::to_value(&derived).expect("JSON");
        assert_eq!(
            again,
            serde_json::from_str::<serde_json::Value>(written).expect("JSON")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn every_function_makes_the_same_values_with_a_restart_after_each_reading(
            steps in prop::collection::vec(
                (-40i64..60, any::<bool>(), prop::option::of(20.0f64..70.0), prop::option::of(0u8..4)), 1..300),
        ) {
            let zone = zone_of("Europe/Berlin");
            for function in Function::ALL {
                let (mut derived, mut again) = (of(function), of(function));
                let mut at = Timestamp::parse_rfc3339("2026-10-24T20:00:00Z").expect("a time");
                for (step, minutes, first, second) in &steps {
                    at = at.plus_micros(step * if *minutes { 60_000_000 } else { 1_000_000 });
                    let first = first.map(|value| (0, value));
                    let second = second.map(|value| (1, f64::from(value)));
                    let given: Vec<(u32, f64)> = first.into_iter().chain(second).collect();
                    let value = derived.take(&zone, at, &given).map(f64::to_bits);
                    prop_assert_eq!(value, again.take(&zone, at, &given).map(f64::to_bits));
                    let text = serde_json::to_string(&again).expect("JSON");
                    again = serde_json::from_str(&text).expect("reads");
                    prop_assert_eq!(text, serde_json::to_string(&derived).expect("JSON"));
                }
            }
        }
    }
}
