//! The keys that codecs give their values, and which measurement each means.
//!
//! Only keys with one well-known meaning are here; others are left alone, because limits and offsets of a
//! configuration frame look like readings (`tempMax`). The label follows from the key alone: a plain name
//! (`temperature`, `air_humidity`, `Temperature`) has none, a numbered one (`temperature_3`, Cayenne LPP) has its
//! number, one that names a probe (`TempC_DS`, `temp_SOIL`) is its own label.
//! Source: codecs of the public device repository, Cayenne LPP. Not here: values and units (`lorawan_payload`).

use domain::kinds;

/// Keys with one meaning and no label; compared in lower case with `_` for spaces and hyphens.
const PLAIN: &[(&str, &str)] = &[
    ("temperature", "temperature"),
    ("temp", "temperature"),
    ("tempc", "temperature"),
    ("temp_c", "temperature"),
    ("temperature_c", "temperature"),
    ("temperature_celsius", "temperature"),
    ("air_temperature", "temperature"),
    ("airtemperature", "temperature"),
    ("ambient_temperature", "temperature"),
    ("ambienttemperature", "temperature"),
    ("tempnow", "temperature"),
    ("humidity", "humidity"),
    ("hum", "humidity"),
    ("hum_sht", "humidity"),
    ("humnow", "humidity"),
    ("rh", "humidity"),
    ("relative_humidity", "humidity"),
    ("relativehumidity", "humidity"),
    ("air_humidity", "humidity"),
    ("airhumidity", "humidity"),
    ("ambient_humidity", "humidity"),
    ("pressure", "pressure"),
    ("barometric_pressure", "pressure"),
    ("barometer", "pressure"),
    ("air_pressure", "pressure"),
    ("airpressure", "pressure"),
    ("atmospheric_pressure", "pressure"),
    ("co2", "co2"),
    ("co2_ppm", "co2"),
    ("co2_concentration", "co2"),
    ("carbon_dioxide", "co2"),
    ("leak", "leak"),
    ("water_leak", "leak"),
    ("water_leak_status", "leak"),
    ("leakage_status", "leak"),
    ("flood", "leak"),
    ("battery", "battery"),
    ("bat", "battery"),
    ("batt", "battery"),
    ("battery_level", "battery"),
    ("battery_percent", "battery"),
    ("battery_percentage", "battery"),
    ("battery_voltage", "battery_voltage"),
    ("batteryvoltage", "battery_voltage"),
    ("batv", "battery_voltage"),
    ("bat_v", "battery_voltage"),
    ("vbat", "battery_voltage"),
    ("batt_volt", "battery_voltage"),
    ("vdd", "battery_voltage"),
];

/// Probes that a key may name after `temp_`, `tempc_` or `temperature_`.
const PROBES: &[&str] = &[
    "sht", "ds", "ds18b20", "soil", "probe", "ext", "external", "int", "internal", "air", "water", "indoor",
    "outdoor", "in", "out", "surface", "supply", "return", "top", "bottom", "front", "back",
];

/// Cayenne LPP names, before `_` and a number.
const NUMBERED: &[(&str, &str)] = &[
    ("temperature", "temperature"),
    ("relative_humidity", "humidity"),
    ("humidity", "humidity"),
    ("barometric_pressure", "pressure"),
    ("voltage", "voltage"),
    ("current", "current"),
    ("power", "power"),
    ("energy", "energy"),
    ("frequency", "frequency"),
];

/// The device's own electronics.
const CHIP: &[&str] = &[
    "device_temperature",
    "board_temperature",
    "chip_temperature",
    "mcu_temperature",
    "cpu_temperature",
    "temp_mcu",
    "temp_cpu",
    "temp_board",
];

/// What a key says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning<'a> {
    /// A kind and its label.
    Is(&'static str, Option<&'a str>),
    /// A temperature in °F, of use only where there is none in °C.
    Fahrenheit,
    /// A temperature of the device's own electronics.
    Chip,
    /// A kind's name that vendors use for other things too, so that only a unit makes it one.
    OnlyWithUnit(&'static str),
}

/// What `key` means, where it is known.
pub(super) fn meaning(key: &str) -> Option<Meaning<'_>> {
    let folded = key.trim().to_ascii_lowercase().replace([' ', '-', '.'], "_");
    let folded = folded.as_str();
    if let Some((_, kind)) = PLAIN.iter().find(|(name, _)| *name == folded) {
        return Some(Meaning::Is(kind, None));
    }
    if CHIP.contains(&folded) {
        return Some(Meaning::Chip);
    }
    if matches!(
        folded,
        "tempf" | "temp_f" | "temperature_f" | "temperature_fahrenheit"
    ) {
        return Some(Meaning::Fahrenheit);
    }
    if let Some((name, suffix)) = folded.rsplit_once('_') {
        let number = !suffix.is_empty() && suffix.len() <= 3 && suffix.bytes().all(|b| b.is_ascii_digit());
        if let Some((_, kind)) = NUMBERED.iter().find(|(n, _)| number && *n == name) {
            return Some(Meaning::Is(kind, key.trim().get(name.len() + 1..)));
        }
        if matches!(name, "temp" | "tempc" | "temperature") && PROBES.contains(&suffix) {
            return Some(Meaning::Is("temperature", Some(key)));
        }
    }
    // Probes of one board: TempC1, TempC2, TempC3.
    if folded
        .strip_prefix("tempc")
        .is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
    {
        return Some(Meaning::Is("temperature", Some(key)));
    }
    kinds::find(folded)
        .filter(|kind| !matches!(kind.name, "rssi" | "snr" | "signal"))
        .map(|k| Meaning::OnlyWithUnit(k.name))
}
