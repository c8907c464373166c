//! The kinds of measurement, their units and what is physically possible.
//!
//! Units are UCUM codes. A kind's unit is what a channel gets when the payload names none.
//! Source: REFERENCE types, plus what energy meters and gateways send.
//! Not here: limits that a person sets (`channel`).

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kind {
    /// `[a-z0-9_]{1,32}`.
    pub name: &'static str,
    /// UCUM code.
    pub unit: &'static str,
    /// Lowest value that is physically possible, in `unit`.
    pub min: f64,
    /// Highest value that is physically possible, in `unit`.
    pub max: f64,
    /// About the device itself: stored and shown, no limits by default.
    pub auxiliary: bool,
}

const fn kind(name: &'static str, unit: &'static str, min: f64, max: f64) -> Kind {
    Kind {
        name,
        unit,
        min,
        max,
        auxiliary: false,
    }
}

const fn auxiliary(name: &'static str, unit: &'static str, min: f64, max: f64) -> Kind {
    Kind {
        name,
        unit,
        min,
        max,
        auxiliary: true,
    }
}

/// Every kind, sorted by name.
pub const KINDS: &[Kind] = &[
    kind("apparent_power", "V.A", -1e9, 1e9),
    auxiliary("battery", "%", 0.0, 100.0),
    auxiliary("battery_voltage", "V", 0.0, 60.0),
    kind("co2", "ppm", 0.0, 100_000.0),
    kind("count", "1", 0.0, 1e12),
    kind("current", "A", -1e6, 1e6),
    kind("energy", "kWh", -1e12, 1e12),
    kind("energy_returned", "kWh", -1e12, 1e12),
    kind("flow", "L/min", 0.0, 1e6),
    kind("frequency", "Hz", 0.0, 1e6),
    kind("humidity", "%", 0.0, 100.0),
    kind("illuminance", "lx", 0.0, 200_000.0),
    kind("leak", "1", 0.0, 1.0),
    kind("power", "W", -1e9, 1e9),
    kind("power_factor", "1", -1.0, 1.0),
    kind("pressure", "hPa", 0.0, 20_000.0),
    kind("reactive_power", "var", -1e9, 1e9),
    auxiliary("rssi", "dBm", -200.0, 50.0),
    auxiliary("signal", "dBm", -200.0, 50.0),
    auxiliary("snr", "dB", -100.0, 100.0),
    kind("temperature", "Cel", -273.15, 2000.0),
    kind("voltage", "V", -1e6, 1e6),
];

/// The kind of that name.
pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS
        .binary_search_by(|k| k.name.cmp(name))
        .ok()
        .map(|i| &KINDS[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_and_found() {
        assert!(KINDS.windows(2).all(|w| w[0].name < w[1].name));
        assert_eq!(find("temperature").map(|k| k.unit), Some("Cel"));
        assert_eq!(find("frobnication"), None);
    }
}
