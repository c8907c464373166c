//! `dewpoint`: of temperature and relative humidity, by the Magnus formula.
//!
//! Source: WMO-No. 8, annex 4.B, over water: 17.62 and 243.12 °C, right to 0.1 K from −45 to 60 °C.
//! `libm`, so that every machine gets the same bits. Not here: the wall's temperature, which is a rule's `ok_max`.

/// The temperature at which this air is saturated, °C; `None` outside what the formula can tell.
pub(super) fn dewpoint(temperature_c: f64, humidity_percent: f64) -> Option<f64> {
    const A: f64 = 17.62;
    const B: f64 = 243.12;
    if temperature_c <= -B || !(humidity_percent > 0.0 && humidity_percent <= 100.0) {
        return None;
    }
    let gamma = libm::log(humidity_percent / 100.0) + A * temperature_c / (B + temperature_c);
    Some(B * gamma / (A - gamma))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dew_points_are_those_of_the_tables() {
        // 20 °C and 50 %: 9.3 °C; 25 °C and 60 %: 16.7 °C; saturated air: its own temperature.
        for (t, rh, expected) in [(20.0, 50.0, 9.3), (25.0, 60.0, 16.7), (15.0, 100.0, 15.0)] {
            let dew = dewpoint(t, rh).expect("told");
            assert!((dew - expected).abs() < 0.06, "{t} {rh} {dew}");
        }
        for (t, rh) in [
            (20.0, 0.0),
            (20.0, -1.0),
            (20.0, 101.0),
            (-300.0, 50.0),
            (20.0, f64::NAN),
        ] {
            assert_eq!(dewpoint(t, rh), None);
        }
    }
}
