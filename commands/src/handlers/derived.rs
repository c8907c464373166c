//! Derived channels: begun, made otherwise, ended.
//!
//! Invariants: a derived channel is one from its beginning and stands with a device of the account; its sources measure
//! themselves, which the registry checks when the group is recorded. What was derived stays.
//! Source: REFERENCE §3. Not here: what a derivation may be (`domain::rule::derived`), those that presets make
//! (`ingest::channels`), making values (`domain`).

use super::rules::find_channel;
use super::sites::plain;
use super::{Actor, ManageError, Management, Outcome, Step};
use crate::ingest::channels::derived_key;
use domain::aggregate::channel::{ChannelCommand, Limits, NewChannel};
use domain::event::{Reason, Vertical};
use domain::ids::IdKind;
use domain::kinds;
use domain::rejection::Rejection;
use domain::rule::{Derivation, presets};

impl Management {
    /// Begins a channel whose values are made of other channels'. Without a label it is called as its function; without
    /// limits it begins with those of its site's vertical.
    ///
    /// # Errors
    /// [`ManageError`]: `device_not_found`, `channel_not_found`, `invalid_derivation`, `too_many_derived`,
    /// `too_many_trailing`, `channel_exists`, `invalid_range`, `grace_too_long`.
    pub async fn create_derived(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: &str,
        derivation: Derivation,
        label: Option<&str>,
        limits: Option<Limits>,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "channel").await? {
            return Ok(outcome);
        }
        self.has_device(actor, device)?;
        derivation.check()?;
        let vertical = self.vertical_of(actor, device);
        let steps = self.derived_steps(device, vertical, derivation, label, limits)?;
        self.run(plain(actor, reason, None, steps), None).await
    }

    /// Has a derived channel made otherwise: of other sources, or with another span.
    ///
    /// # Errors
    /// [`ManageError`]: `channel_not_found`, `not_derived`, `other_function`, `invalid_derivation`,
    /// `too_many_derived`, `too_many_trailing`, `precondition_failed`.
    pub async fn derive(
        &self,
        actor: &Actor,
        reason: &Reason,
        channel: &str,
        if_match: Option<u64>,
        derivation: Option<Derivation>,
    ) -> Result<Outcome, ManageError> {
        let step = {
            let registry = self.ports.registry.read();
            let found = find_channel(&registry, &actor.account, channel)?;
            Step::Channel {
                id: found.id.to_string(),
                device: found.state.device.clone(),
                command: ChannelCommand::Derive(derivation),
            }
        };
        self.run(plain(actor, reason, if_match, vec![step]), None).await
    }

    pub(super) fn vertical_of(&self, actor: &Actor, device: &str) -> Option<Vertical> {
        let registry = self.ports.registry.read();
        let found = registry.device(&actor.account, device)?;
        let site = registry.site(&actor.account, &found.state.site);
        site.and_then(|site| site.state.vertical)
    }

    /// What begins a derived channel, with the rule of its vertical.
    pub(super) fn derived_steps(
        &self,
        device: &str,
        vertical: Option<Vertical>,
        derivation: Derivation,
        label: Option<&str>,
        limits: Option<Limits>,
    ) -> Result<Vec<Step>, ManageError> {
        let function = derivation.function;
        let kind = kinds::find(function.kind())
            .ok_or_else(|| Rejection::invalid("unknown_kind", "a function without a kind"))?;
        let label = match label {
            Some(label) => domain::aggregate::text::name("label", label)?,
            None => function.as_str().to_owned(),
        };
        let key = match label == function.as_str() {
            true => derived_key(function),
            false => self.value_key(kind, Some(&label)),
        };
        let begun = vertical.map(|it| presets::limits(it, kind.name, Some(&label)));
        let preset = if limits.is_none() { vertical } else { None };
        let id = self.id(IdKind::Channel);
        let channel = NewChannel {
            device: device.to_owned(),
            sensor: self.id(IdKind::Sensor),
            key,
            kind: kind.name.to_owned(),
            unit: function.unit().to_owned(),
            label: Some(label.clone()),
            auxiliary: false,
            limits: limits.or(begun).unwrap_or_default(),
            derivation: Some(derivation),
        };
        let mut steps = vec![Step::Channel {
            id: id.clone(),
            device: device.to_owned(),
            command: ChannelCommand::Register(channel),
        }];
        steps.extend(self.preset_rule(&id, device, preset, (kind.name, Some(&label))));
        Ok(steps)
    }
}
