//! Channels that readings make: the first value of a kind and label registers its channel (REFERENCE §1.2).
//!
//! Invariants: the key follows from kind and label alone, so that the same payload finds the same channel;
//! the label itself is sealed with the account's key. Limits come from the site's vertical.
//! Not here: when it is called (`sequencer`), limits set by a person (`handlers`).

use crate::ingest::decoded::Measurement;
use crate::sequencer::{ChannelMaker, ChannelRandom, PendingValue, RecordError};
use domain::aggregate::Limits;
use domain::entry::NewEvent;
use domain::event::metadata::ReasonCode;
use domain::event::payload::ChannelRegistered;
use domain::event::{Event, Metadata, Text, Vertical};
use domain::hash::{base64url, sha256_of};
use domain::ids::IdKind;
use domain::ports::KeyStore;
use domain::reading::{SLUG_MAX, slug};
use domain::registry::Registry;
use domain::rejection::Rejection;
use domain::sealed::{SealPlace, seal};
use std::borrow::Cow;
use std::sync::Arc;

/// Characters of a fingerprint that keeps two labels apart whose slugs are the same.
const FINGERPRINT: usize = 8;

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

/// The limits that a channel begins with: range and grace of the first rule of its site's vertical that fits its name.
pub fn begun_with(vertical: Vertical, kind: &str, label: Option<&str>) -> Limits {
    let rules = domain::rule::presets::for_channel(vertical, kind, label);
    rules.first().map_or_else(Limits::default, |rule| Limits {
        ok_min: rule.ok_min,
        ok_max: rule.ok_max,
        grace_min: Some(rule.grace_min),
    })
}

/// Registers channels with their labels sealed.
pub struct AutoChannels {
    /// The ledger's origin.
    pub origin: String,
    /// Where accounts' keys are.
    pub keys: Arc<dyn KeyStore>,
}

impl ChannelMaker for AutoChannels {
    fn make(
        &self,
        registry: &Registry,
        device: &str,
        value: &PendingValue,
        random: &ChannelRandom,
    ) -> Result<NewEvent, RecordError> {
        let device = registry
            .device_anywhere(device)
            .ok_or(RecordError::TokenInvalid)?;
        let id = IdKind::Channel.id(&random.channel);
        let label = match &value.label {
            None => None,
            Some(label) => Some(self.sealed_label(&device.account, &id, label, random)?),
        };
        let vertical = registry
            .site(&device.account, &device.state.site)
            .and_then(|s| s.state.vertical);
        let limits = match vertical {
            Some(vertical) if !value.auxiliary => begun_with(vertical, &value.kind, value.label.as_deref()),
            _ => Limits::default(),
        };
        let event = Event::ChannelRegistered(ChannelRegistered {
            auxiliary: value.auxiliary,
            device: device.id.to_string(),
            grace_min: limits.grace_min,
            key: value.key.to_string(),
            kind: value.kind.to_string(),
            label,
            ok_max: limits.ok_max,
            ok_min: limits.ok_min,
            sensor: IdKind::Sensor.id(&random.sensor),
            unit: value.unit.to_string(),
        });
        let metadata = Metadata {
            account: Some(device.account.to_string()),
            actor: Some(format!("device:{}", device.id)),
            owner: Some(device.id.to_string()),
            reason: Some(ReasonCode {
                code: "first_reading".into(),
            }),
            ..Metadata::default()
        };
        let unwritable = |_| {
            RecordError::Rejected(Rejection::invalid(
                "invalid_measurement",
                "a channel that cannot be written",
            ))
        };
        Ok(NewEvent {
            aggregate_type: "channel".into(),
            aggregate_id: id,
            event_type: event.event_type().into(),
            event_version: "1.0".into(),
            payload: event.payload(None).map_err(|_| unwritable(()))?,
            metadata: metadata.write().map_err(|_| unwritable(()))?,
            salt: Some(random.salt),
        })
    }
}

impl AutoChannels {
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
