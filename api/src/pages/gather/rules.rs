//! A channel's rules as pages show them, and what the editor needs beside what was typed.
//!
//! Not here: trying a draft (`routes`), reading the form (`rules::form`).

use domain::event::{Thresholds, Vertical};
use domain::registry::InForce;
use domain::rule::Definition;
use domain::rule::presets::PRESETS;
use projections::QueryError;

use super::super::alarms::view::Held;
use super::super::chart::RuleLine;
use super::super::parts;
use super::super::rules::list;
use super::super::rules::view::{PresetRow, RuleRow};
use super::super::view::{ChannelNow, Link};
use super::super::words::Zone;
use super::{Asker, alarms, devices, known};

/// What the editor shows of its channel.
#[derive(Debug, Clone)]
pub struct RuleOf {
    /// The channel.
    pub channel: ChannelNow,
    /// Its device.
    pub device: Link,
    /// The site's zone.
    pub zone: Zone,
    /// The rule, where one was named; with its entity tag.
    pub rule: Option<(RuleRow, String)>,
    /// Presets of the site's vertical.
    pub presets: Vec<PresetRow>,
    /// Other channels of the account.
    pub others: Vec<(String, String)>,
}

/// What a definition holds right.
pub fn held(definition: &Definition, kind: &str, unit: &str) -> Held {
    let thresholds = Thresholds {
        band: definition.band(),
        grace_min: definition.grace_min,
        min_interval_s: definition.min_interval_s,
    };
    Held {
        rule: definition.kind,
        band: thresholds.band,
        silent_s: thresholds.min_interval_s,
        grace_min: thresholds.grace_min,
        kind: kind.to_owned(),
        unit: unit.to_owned(),
    }
}

/// A rule in force, copied; its name is opened later.
struct Copied {
    id: String,
    name: Option<domain::sealed::SealedField>,
    row: RuleRow,
    etag: String,
}

fn copied(rule: &InForce<'_>) -> Copied {
    let state = &rule.channel.state;
    Copied {
        id: rule.id.to_string(),
        name: rule.stream.and_then(|stream| stream.state.name.clone()),
        row: RuleRow {
            id: rule.id.to_string(),
            name: None,
            held: held(&rule.definition, &state.kind, &state.unit),
            definition: rule.definition.clone().into_owned(),
            simple: rule.is_simple,
            version: rule.version,
            changed_at: rule.changed.at,
        },
        etag: rule.sequence().to_string(),
    }
}

fn named(asker: &Asker<'_>, copied: Copied) -> (RuleRow, String) {
    let name = asker.known.text("rule", &copied.id, copied.name.as_ref());
    (RuleRow { name, ..copied.row }, copied.etag)
}

/// A channel's rules, the simple one first.
pub fn of_channel(asker: &Asker<'_>, channel: &str) -> Vec<RuleRow> {
    let rules: Vec<Copied> = {
        let registry = asker.known.registry();
        let Some(channel) = registry.channel(asker.account, channel) else {
            return Vec::new();
        };
        registry.rules_in_force(channel).iter().map(copied).collect()
    };
    rules.into_iter().map(|rule| named(asker, rule).0).collect()
}

/// The thresholds of range rules beside the limits, as lines of a chart.
pub fn lines(rules: &[RuleRow]) -> Vec<RuleLine> {
    let others = rules.iter().filter(|rule| rule.definition.enabled);
    let mut out = Vec::new();
    for rule in others {
        let d = &rule.definition;
        if d.kind != domain::rule::Kind::Range {
            continue;
        }
        let own = [d.ok_max, d.ok_min]
            .into_iter()
            .filter(|_| !rule.simple)
            .flatten();
        out.extend(own.map(|value| RuleLine {
            value,
            label: list::name(rule),
        }));
        out.extend(
            [d.warn_max, d.warn_min]
                .into_iter()
                .flatten()
                .map(|value| RuleLine {
                    value,
                    label: "warns up to here".to_owned(),
                }),
        );
    }
    out
}

/// What the editor of a channel's rule needs.
///
/// # Errors
/// `ChannelNotFound`, also for a rule that is none of the channel's; `Unavailable`.
pub fn rule_of(asker: &Asker<'_>, id: &str, rule: Option<&str>) -> Result<RuleOf, QueryError> {
    let missing = || QueryError::ChannelNotFound(id.to_owned());
    let (channel, device, found, others) = {
        let registry = asker.known.registry();
        let channel = registry.channel(asker.account, id).ok_or_else(missing)?;
        let device = registry
            .device(asker.account, &channel.state.device)
            .filter(|device| !device.state.removed)
            .ok_or_else(missing)?;
        let found = match rule {
            None => None,
            Some(rule) => {
                let in_force = registry.rule_in_force(asker.account, rule);
                let in_force = in_force.filter(|rule| rule.channel.id == channel.id);
                Some(copied(&in_force.ok_or_else(missing)?))
            }
        };
        let others: Vec<_> = registry
            .devices(asker.account, None)
            .flat_map(|device| {
                registry
                    .channels(device)
                    .map(move |channel| (device.clone(), channel.clone()))
            })
            .filter(|(_, other)| other.state.unit == channel.state.unit && other.id != channel.id)
            .collect();
        (channel.clone(), device.clone(), found, others)
    };
    let sites = devices::site_cards(asker);
    let site = device.state.site_at(asker.now).to_owned();
    let card = sites.iter().find(|card| card.id == site);
    let vertical = card.map(|card| card.vertical.clone()).unwrap_or_default();
    let latest = known(asker.rows.channel(asker.account, id))?;
    let states = asker.rows.channel_states(asker.account)?;
    let name = |device: &domain::registry::Device| {
        let name = asker.known.text("device", &device.id, device.state.name.as_ref());
        name.unwrap_or_else(|| device.state.local_id.clone())
    };
    let unit = &channel.state.unit;
    Ok(RuleOf {
        device: Link {
            href: format!("/app/devices/{}", device.id),
            text: name(&device),
        },
        zone: devices::zone_of(&sites, &site),
        rule: found.map(|rule| named(asker, rule)),
        presets: PRESETS
            .iter()
            .enumerate()
            .filter(|(_, preset)| preset.kind == channel.state.kind && is_of(preset.vertical, &vertical))
            .map(|(index, preset)| PresetRow {
                index,
                purpose: preset.purpose,
                held: held(&preset.definition(), preset.kind, unit),
            })
            .collect(),
        others: others
            .iter()
            .map(|(device, other)| {
                let kind = words_of(asker, other);
                (other.id.to_string(), format!("{}, {kind}", name(device)))
            })
            .collect(),
        channel: devices::channel_now(asker, &channel, latest.as_ref(), i64::MAX, &states),
    })
}

fn words_of(asker: &Asker<'_>, channel: &domain::registry::Channel) -> String {
    let now = devices::channel_now(asker, channel, None, i64::MAX, &alarms::States::default());
    parts::channel_name(&now)
}

fn is_of(vertical: Vertical, code: &str) -> bool {
    vertical.as_str() == code
}
