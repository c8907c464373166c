//! What a site's channels begin with, by its vertical, their kind and their label: rules, and channels made of others.
//!
//! Invariants: every preset is valid; the first that fits is taken; a label that fits none of a vertical that goes by
//! names gets no rule, because a wrong limit is worse than none. A derived channel is made of one pair that cannot be
//! mistaken: both on one device, or each the only one of the site.
//! Source: REFERENCE §3 "Defaults per vertical"; docs/rules.md tells which numbers are ours.
//! Not here: creating them (`commands`).

use super::definition::{Definition, Kind};
use super::derived::{Derivation, Function};
use crate::aggregate::channel::Limits;
use crate::event::Vertical;
use crate::reading::slug;
use crate::registry::{Channel, Device, Registry};

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
    // Each draw is judged by itself, so nothing is waited for.
    preset(
        Legionella,
        "temperature",
        &["draw_temperature"],
        "hot water, the most distant outlet 30 s after it was opened",
        (Some(50.0), None),
        0,
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
    // The third night in a row; how much a load is over by day is shown and is no alarm.
    preset(
        Energy,
        "count",
        &["nights_over_baseline"],
        "nights in a row that took more than 1.5 times what is usual",
        (None, Some(2.0)),
        0,
    ),
];

/// A channel made of others, and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DerivedPreset {
    /// The vertical.
    pub vertical: Vertical,
    /// What its values are.
    pub function: Function,
    /// For each source, parts of a label's slug that it goes by, in the function's order; empty for every label.
    pub sources: &'static [&'static [&'static str]],
    /// Whether the sources may hang on several devices of the site.
    pub across_devices: bool,
}

/// Every channel that a site's channels complete. A thermometer without a name in a server room is an intake.
pub const DERIVED: &[DerivedPreset] = &[
    DerivedPreset {
        vertical: Legionella,
        function: Function::FlowDelta,
        sources: &[&["flow_supply"], &["flow_return"]],
        across_devices: true,
    },
    DerivedPreset {
        vertical: Legionella,
        function: Function::DrawTemperature,
        sources: &[&["outlet_distant"], &["outlet_distant"]],
        across_devices: true,
    },
    DerivedPreset {
        vertical: ServerRoom,
        function: Function::DeltaT,
        sources: &[&["exhaust"], &["intake"]],
        across_devices: true,
    },
    DerivedPreset {
        vertical: ServerRoom,
        function: Function::Dewpoint,
        sources: &[&["intake"], &[]],
        across_devices: false,
    },
    // Of those of past days the one that has an alarm first: there may be no room for all.
    DerivedPreset {
        vertical: Energy,
        function: Function::NightsOverBaseline,
        sources: &[&["total"]],
        across_devices: false,
    },
    DerivedPreset {
        vertical: Energy,
        function: Function::EnergyBaseline,
        sources: &[&["total"]],
        across_devices: false,
    },
    DerivedPreset {
        vertical: Energy,
        function: Function::OverBaseline,
        sources: &[&["total"]],
        across_devices: false,
    },
];

/// What a label is called by; a thermometer without one hangs where the air goes in, a meter without one counts all.
fn name_of(vertical: Vertical, kind: &str, slug: &str) -> String {
    match (vertical, kind, slug) {
        (ServerRoom, "temperature", "") => "intake".to_owned(),
        (Energy, "power", "") => "total".to_owned(),
        _ => slug.to_owned(),
    }
}

/// The limits that a channel begins with: range and grace of its first rule.
pub fn limits(vertical: Vertical, kind: &str, label: Option<&str>) -> Limits {
    let rules = for_channel(vertical, kind, label);
    rules.first().map_or_else(Limits::default, |rule| Limits {
        ok_min: rule.ok_min,
        ok_max: rule.ok_max,
        grace_min: Some(rule.grace_min),
    })
}

/// What a channel that is about to begin on a device completes: derivations that have all their sources now, of which
/// it is one under `id`. Those that somebody made already are left out, and those of past days for which there is no
/// room: what a preset brings never costs what it comes with.
pub fn completed(
    registry: &Registry,
    device: &Device,
    (id, kind, label): (&str, &str, Option<&str>),
) -> Vec<Derivation> {
    let site = registry.site(&device.account, &device.state.site);
    let Some(vertical) = site.and_then(|site| site.state.vertical) else {
        return Vec::new();
    };
    let name = name_of(vertical, kind, &label.and_then(slug).unwrap_or_default());
    let presets = DERIVED.iter().filter(|preset| preset.vertical == vertical);
    let made = presets.filter_map(|preset| {
        let kinds = preset.function.sources().iter().zip(preset.sources);
        let mut sources = Vec::new();
        let mut new = 0;
        for (of, labels) in kinds {
            if *of == kind && fits(labels, &name) && new == 0 {
                new += 1;
                sources.push(id.to_owned());
            } else {
                sources.push(only(registry, device, vertical, preset, (of, labels))?);
            }
        }
        (new == 1).then_some(Derivation {
            function: preset.function,
            max_age_s: None,
            sources,
            trailing_days: None,
        })
    });
    let mut room = registry.trailing_room(device);
    made.filter(|derivation| {
        let has_room = !derivation.is_trailing() || room > 0;
        room -= usize::from(derivation.is_trailing() && has_room);
        has_room
    })
    .collect()
}

fn fits(labels: &[&str], name: &str) -> bool {
    labels.is_empty() || labels.iter().any(|part| name.contains(part))
}

/// The one channel of that kind and name which the derivation may be made of: of the device, else of the site. `None`
/// where there is none, where there are several, or where one of them is made into that already.
fn only(
    registry: &Registry,
    device: &Device,
    vertical: Vertical,
    preset: &DerivedPreset,
    (kind, labels): (&str, &[&str]),
) -> Option<String> {
    let wanted = |channel: &&Channel| {
        let slug = channel.state.key.split_once('/').map_or("", |(_, slug)| slug);
        channel.state.kind == kind
            && !channel.state.is_derived
            && fits(labels, &name_of(vertical, kind, slug))
    };
    let mut found: Vec<&Channel> = registry.channels(device).filter(wanted).collect();
    if found.is_empty() && preset.across_devices {
        let devices = registry.devices(&device.account, None);
        let site = devices.filter(|it| it.state.site == device.state.site && it.id != device.id);
        let channels = site.flat_map(|it| registry.channels(it));
        found = channels.filter(wanted).collect();
    }
    let [channel] = found[..] else {
        return None;
    };
    let there = registry.derived_from(channel).any(|derived| {
        let function = derived.state.derivation.as_ref().map(|it| it.function);
        function == Some(preset.function)
    });
    (!there).then(|| channel.id.to_string())
}

/// The rules that a channel begins with.
pub fn for_channel(vertical: Vertical, kind: &str, label: Option<&str>) -> Vec<Definition> {
    let name = name_of(vertical, kind, &label.and_then(slug).unwrap_or_default());
    PRESETS
        .iter()
        .find(|preset| preset.vertical == vertical && preset.kind == kind && fits(preset.labels, &name))
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
    fn a_derived_channel_begins_with_the_rule_of_its_function() {
        let warns = |vertical, function: Function| {
            let rules = for_channel(vertical, function.kind(), Some(function.as_str()));
            rules.first().map(|rule| (rule.ok_max, rule.warn_max))
        };
        let flow = warns(Legionella, Function::FlowDelta);
        assert_eq!(flow, Some((Some(15.0), Some(20.0))));
        assert_eq!(warns(ServerRoom, Function::DeltaT), Some((Some(20.0), None)));
        // Against which wall a dew point counts, only a person knows.
        assert_eq!(warns(ServerRoom, Function::Dewpoint), None);
        let nights = warns(Energy, Function::NightsOverBaseline);
        assert_eq!(nights, Some((Some(2.0), None)));
        assert_eq!(warns(Energy, Function::OverBaseline), None);
        assert_eq!(warns(Energy, Function::EnergyBaseline), None);
        let draw = Function::DrawTemperature;
        let draw = for_channel(Legionella, draw.kind(), Some(draw.as_str()));
        assert_eq!((draw[0].ok_min, draw[0].grace_min), (Some(50.0), 0));
        // The outlet itself is cold as long as nobody draws.
        assert_eq!(for_channel(Legionella, "temperature", Some("outlet_distant")), []);
        for preset in DERIVED {
            assert_eq!(preset.sources.len(), preset.function.sources().len());
        }
    }
}
