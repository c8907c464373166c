//! `mean_kinetic_temperature`: the one temperature that would have done as much harm as the real course did.
//!
//! Source: USP ⟨1079.2⟩, ICH Q1A: ΔH/R = 10,000 K (83.144 kJ/mol). Exponentials are taken relative to 25 °C, so that
//! they are near 1 and their sums exact in scaled integers. `libm`, so that every machine gets the same bits.
//! Not here: weighing by time; each value counts once, as the pharmacopoeia has it.

use super::hours::Hours;
use crate::time::Timestamp;

/// ΔH/R, K.
const ACTIVATION_K: f64 = 10_000.0;
/// 0 °C in K.
const ZERO_C: f64 = 273.15;
/// Relative to this, K.
const REFERENCE_K: f64 = 298.15;
/// What is outside is no storage temperature: °C.
const RANGE_C: std::ops::RangeInclusive<f64> = -100.0..=100.0;
const HOUR_US: i64 = 3_600_000_000;

/// Takes a value over; gives the mean kinetic temperature of the `days` before it, °C.
pub(super) fn take(hours: &mut Hours, days: u32, measured_at: Timestamp, temperature_c: f64) -> Option<f64> {
    if !RANGE_C.contains(&temperature_c) {
        return None;
    }
    let hour = measured_at.as_micros().div_euclid(HOUR_US);
    let keep = i64::from(days) * 24;
    let harm = libm::exp(ACTIVATION_K * (1.0 / REFERENCE_K - 1.0 / (temperature_c + ZERO_C)));
    // Three more decimals, because at −20 °C a value is as small as 0.003.
    hours.add(hour, harm * 1e3, keep);
    let mean = hours.mean_of(hour - keep, hour)? / 1e3;
    if mean <= 0.0 {
        return None;
    }
    Some(1.0 / (1.0 / REFERENCE_K - libm::log(mean) / ACTIVATION_K) - ZERO_C)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> f64 {
        let mut hours = Hours::default();
        let mut last = 0.0;
        for (i, value) in values.iter().enumerate() {
            let at = Timestamp::default().plus_micros(i as i64 * HOUR_US);
            last = take(&mut hours, 30, at, *value).expect("told");
        }
        last
    }

    #[test]
    fn a_steady_temperature_is_its_own_and_heat_weighs_more() {
        assert!((of(&[20.0; 50]) - 20.0).abs() < 1e-3);
        assert!((of(&[-20.0; 50]) + 20.0).abs() < 1e-2, "{}", of(&[-20.0; 50]));
        let mixed = of(&[20.0, 30.0]);
        assert!(mixed > 25.5 && mixed < 27.0, "{mixed}");
    }

    #[test]
    fn the_order_of_values_does_not_change_a_bit() {
        let (mut one, mut two) = (Hours::default(), Hours::default());
        let at = |h: i64| Timestamp::default().plus_micros(h * HOUR_US);
        for (hour, value) in [(0, 5.1), (0, 7.9), (1, 3.3)] {
            take(&mut one, 7, at(hour), value);
        }
        for (hour, value) in [(1, 3.3), (0, 7.9), (0, 5.1)] {
            take(&mut two, 7, at(hour), value);
        }
        assert_eq!(one, two);
        assert_eq!(take(&mut one, 7, at(0), 2000.0), None);
    }
}
