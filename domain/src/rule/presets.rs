//! The rules that a channel begins with, by its site's vertical, its kind and its label.
//!
//! Invariants: every preset is valid; the first that fits is taken; a label that fits none of a vertical that goes by
//! names gets no rule, because a wrong limit is worse than none.
//! Source: REFERENCE §3 "Defaults per vertical"; docs/rules.md tells which numbers are ours.
//! Not here: creating them (`commands`), the simple limits of a channel (`aggregate::channel::preset`).

use super::definition::{Definition, Kind};
use crate::event::Vertical;
use crate::reading::slug;

/// What a rule is good for, and when it is offered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// The vertical.
    pub vertical: Vertical,
    /// The kind of measurement.
    pub kind: &'static str,
    /// Parts of a label's slug that it goes by; empty for every label.
    pub labels: &'static [&'static str],
    /// What it is for, in English.
    pub purpose: &'static str,
    /// Lowest value that is right.
    pub ok_min: Option<f64>,
    /// Highest value that is right.
    pub ok_max: Option<f64>,
    /// Lowest value that only warns.
    pub warn_min: Option<f64>,
    /// Highest value that only warns.
    pub warn_max: Option<f64>,
    /// Minutes outside before it counts.
    pub grace_min: u32,
}

impl Preset {
    /// As a rule.
    pub fn definition(&self) -> Definition {
        Definition {
            warn_max: self.warn_max,
            warn_min: self.warn_min,
            grace_min: self.grace_min,
            ..Definition {
                ok_min: self.ok_min,
                ok_max: self.ok_max,
                ..Definition::of(Kind::Range)
            }
        }
    }

    fn fits(&self, slug: &str) -> bool {
        self.labels.is_empty() || self.labels.iter().any(|part| slug.contains(part))
    }
}

const fn preset(
    vertical: Vertical,
    kind: &'static str,
    labels: &'static [&'static str],
    purpose: &'static str,
    (ok_min, ok_max): (Option<f64>, Option<f64>),
    grace_min: u32,
) -> Preset {
    Preset {
        vertical,
        kind,
        labels,
        purpose,
        ok_min,
        ok_max,
        warn_min: None,
        warn_max: None,
        grace_min,
    }
}

const fn warns(preset: Preset, (warn_min, warn_max): (Option<f64>, Option<f64>)) -> Preset {
    Preset {
        warn_min,
        warn_max,
        ..preset
    }
}

use Vertical::{Climate, Energy, Haccp, Legionella, ServerRoom};

/// Every preset, the most particular first.
pub const PRESETS: &[Preset] = &[
    preset(
        Haccp,
        "temperature",
        &["display"],
        "chilled display",
        (Some(-2.0), Some(8.0)),
        30,
    ),
    preset(
        Haccp,
        "temperature",
        &["frozen", "freezer"],
        "frozen storage",
        (Some(-24.0), Some(-18.0)),
        30,
    ),
    preset(
        Haccp,
        "temperature",
        &["hot"],
        "hot holding",
        (Some(63.0), Some(85.0)),
        5,
    ),
    preset(
        Haccp,
        "temperature",
        &[],
        "chilled storage",
        (Some(-2.0), Some(5.0)),
        15,
    ),
    warns(
        preset(
            Legionella,
            "temperature",
            &["storage_top"],
            "hot water, top of the store",
            (Some(60.0), None),
            60,
        ),
        (Some(55.0), None),
    ),
    preset(
        Legionella,
        "temperature",
        &["storage_bottom"],
        "hot water, bottom of the store",
        (Some(55.0), None),
        120,
    ),
    preset(
        Legionella,
        "temperature",
        &["flow_supply"],
        "hot water, supply",
        (Some(58.0), None),
        60,
    ),
    warns(
        preset(
            Legionella,
            "temperature",
            &["flow_return"],
            "hot water, return",
            (Some(50.0), None),
            60,
        ),
        (Some(48.0), None),
    ),
    preset(
        Legionella,
        "temperature",
        &["cold_supply"],
        "cold water",
        (None, Some(25.0)),
        60,
    ),
    warns(
        preset(
            Legionella,
            "temperature",
            &["flow_delta"],
            "supply minus return (DVGW W 553)",
            (None, Some(15.0)),
            60,
        ),
        (None, Some(20.0)),
    ),
    preset(
        ServerRoom,
        "temperature",
        &["delta_t"],
        "exhaust minus intake",
        (None, Some(20.0)),
        10,
    ),
    preset(
        ServerRoom,
        "temperature",
        &["intake"],
        "intake air (ASHRAE TC 9.9)",
        (Some(18.0), Some(27.0)),
        10,
    ),
    preset(
        ServerRoom,
        "humidity",
        &[],
        "relative humidity",
        (Some(20.0), Some(80.0)),
        30,
    ),
    preset(
        ServerRoom,
        "leak",
        &[],
        "water on the floor",
        (None, Some(0.0)),
        0,
    ),
    warns(
        preset(
            Climate,
            "co2",
            &[],
            "air of rooms for people (REHVA)",
            (None, Some(1_000.0)),
            15,
        ),
        (None, Some(1_400.0)),
    ),
    preset(
        Energy,
        "power",
        &["over_baseline"],
        "load against what is usual",
        (None, Some(1.5)),
        30,
    ),
];

/// The rules that a channel begins with.
pub fn for_channel(vertical: Vertical, kind: &str, label: Option<&str>) -> Vec<Definition> {
    let slug = label.and_then(slug).unwrap_or_default();
    // In a server room a thermometer without a name hangs where the air goes in.
    let slug = if vertical == ServerRoom && kind == "temperature" && slug.is_empty() {
        "intake".to_owned()
    } else {
        slug
    };
    PRESETS
        .iter()
        .find(|preset| preset.vertical == vertical && preset.kind == kind && preset.fits(&slug))
        .map(Preset::definition)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_valid_rule_of_a_kind_that_exists() {
        for preset in PRESETS {
            assert_eq!(preset.definition().check(), Ok(()), "{}", preset.purpose);
            assert!(crate::kinds::find(preset.kind).is_some(), "{}", preset.kind);
        }
    }

    #[test]
    fn a_channel_begins_with_the_rule_of_its_vertical_and_name() {
        let range = |vertical, kind, label| {
            for_channel(vertical, kind, label)
                .first()
                .map(|rule| (rule.ok_min, rule.ok_max, rule.grace_min))
        };
        let chilled = Some((Some(-2.0), Some(5.0), 15));
        assert_eq!(range(Haccp, "temperature", None), chilled);
        assert_eq!(range(Haccp, "temperature", Some("Fridge 1")), chilled);
        let frozen = Some((Some(-24.0), Some(-18.0), 30));
        assert_eq!(range(Haccp, "temperature", Some("Freezer 2")), frozen);
        assert_eq!(range(Legionella, "temperature", Some("boiler room")), None);
        let returned = for_channel(Legionella, "temperature", Some("flow_return"));
        assert_eq!(returned[0].warn_min, Some(48.0));
        assert_eq!(range(ServerRoom, "temperature", Some("exhaust")), None);
        assert_eq!(
            range(ServerRoom, "temperature", None),
            Some((Some(18.0), Some(27.0), 10))
        );
        assert_eq!(range(Haccp, "battery", None), None);
    }

    #[test]
    fn presets_and_the_simple_limits_of_a_channel_agree() {
        for preset in PRESETS {
            let label = preset.labels.first().copied();
            let limits = crate::aggregate::channel::preset(preset.vertical, preset.kind, label);
            let known = limits.ok_min.is_some() || limits.ok_max.is_some();
            let particular = preset.vertical == Haccp && !preset.labels.is_empty();
            if known && !particular {
                assert_eq!(
                    (limits.ok_min, limits.ok_max),
                    (preset.ok_min, preset.ok_max),
                    "{}",
                    preset.purpose
                );
            }
        }
    }
}
