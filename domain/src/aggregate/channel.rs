//! `channel/chn_…`: one kind of measurement of one device, with its limits. A sensor is one with its channel.
//!
//! Invariants: `ok_min ≤ ok_max` where both are given; grace is at most six hours; the key never changes.
//! A derived channel measures nothing itself, and never will: it is one from its beginning.
//! Source: REFERENCE §1.4. Not here: judging values by these limits (rules), what a channel begins with
//! (`rule::presets`), which channel a value belongs to (`registry`).

use super::{Aggregate, Stamp, text};
use crate::calibration::CALIBRATIONS_MAX;
use crate::event::contact::ChannelNotifications;
use crate::event::{
    CalibrationSet, Change, Changed, ChannelChanges, ChannelNotificationsSet, ChannelRegistered, Correction,
    DerivationSet, Event, Text, TextChange,
};
use crate::kinds;
use crate::reading::is_value_key;
use crate::rejection::Rejection;
use crate::rule::Derivation;
use crate::sealed::SealedField;
use crate::time::{Date, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest grace, minutes (REFERENCE §1.4: a sanity limit).
pub const GRACE_MIN_MAX: u32 = 360;
/// Largest magnitude of a limit; beyond it no kind measures anything.
pub const LIMIT_MAX: f64 = 1e12;

/// Longest gap between two messages, minutes: a day; beyond it a daily digest does.
pub const INTERVAL_MIN_MAX: u32 = 1_440;
/// Most contacts that a channel names.
pub const TARGETS_MAX: usize = 50;

/// Least distance of a two-point calibration's raw values, so that its line is not a wall.
pub const RAW_SPAN_MIN: f64 = 1e-3;

/// What is right for a channel, and how long it may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Lowest value that is right.
    pub ok_min: Option<f64>,
    /// Highest value that is right.
    pub ok_max: Option<f64>,
    /// Minutes outside before it counts.
    pub grace_min: Option<u32>,
}

/// The state of a channel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Channel {
    /// How many events there were.
    pub sequence: u64,
    /// Whose it is.
    pub device: String,
    /// Its sensor's id.
    pub sensor: String,
    /// The key of its values in readings.
    pub key: String,
    /// One of [`crate::kinds`].
    pub kind: String,
    /// UCUM code.
    pub unit: String,
    /// Its label, sealed.
    pub label: Option<SealedField>,
    /// About the device itself.
    pub auxiliary: bool,
    /// What is right for it.
    pub limits: Limits,
    /// How its values are corrected.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// The times from which its calibrations hold, rising: as many as are in force, each in its own time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibrated_from: Vec<Timestamp>,
    /// What its values are made of, where they are made of other channels'.
    #[serde(default)]
    pub derivation: Option<Derivation>,
    /// Whether its values are, or once were, made of other channels': then it measures nothing itself.
    #[serde(default)]
    pub is_derived: bool,
    /// Who is told of its alarms, and how often.
    #[serde(default)]
    pub notifications: ChannelNotifications,
}

/// How a channel's values are corrected, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// From raw to true; none where a calibration found nothing to correct, or took one back.
    pub correction: Option<Correction>,
    /// Values measured from here on.
    pub valid_from: Timestamp,
    /// When the next one is due.
    pub due: Option<Date>,
    /// The certificate, sealed.
    pub certificate: Option<SealedField>,
}

/// A calibration to set.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCalibration {
    /// From raw to true.
    pub correction: Option<Correction>,
    /// Values measured from here on.
    pub valid_from: Timestamp,
    /// When the next one is due.
    pub due: Option<Date>,
    /// The certificate's number, or how it was found.
    pub certificate: Option<String>,
}

/// What may be asked of a channel.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelCommand {
    /// Makes it known.
    Register(NewChannel),
    /// Changes what is given; absent fields stay.
    Change(ChannelPatch),
    /// Corrects its values from some time on.
    Calibrate(NewCalibration),
    /// Has its values made of other channels', or no longer.
    Derive(Option<Derivation>),
    /// Says who is told of its alarms, and how often.
    Notify(ChannelNotifications),
}

/// A channel to make known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewChannel {
    /// Whose it is.
    pub device: String,
    /// Its sensor's id.
    pub sensor: String,
    /// The key of its values.
    pub key: String,
    /// One of [`crate::kinds`].
    pub kind: String,
    /// UCUM code.
    pub unit: String,
    /// As the device or a person wrote it.
    pub label: Option<String>,
    /// About the device itself.
    pub auxiliary: bool,
    /// What it begins with.
    pub limits: Limits,
    /// What its values are made of, where it measures nothing itself.
    pub derivation: Option<Derivation>,
}

/// What to change of a channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChannelPatch {
    /// A new lowest value, or none.
    pub ok_min: Option<Option<f64>>,
    /// A new highest value, or none.
    pub ok_max: Option<Option<f64>>,
    /// A new grace, or none.
    pub grace_min: Option<Option<u32>>,
    /// A new label, or none.
    pub label: Option<Option<String>>,
    /// Another unit's name for the same numbers; nothing is converted.
    pub unit: Option<String>,
}

impl Aggregate for Channel {
    const TYPE: &'static str = "channel";
    type Command = ChannelCommand;

    fn apply(&mut self, event: &Event, stamp: Stamp<'_>) {
        self.sequence = stamp.sequence;
        match event {
            Event::ChannelRegistered(channel) => {
                self.device.clone_from(&channel.device);
                self.sensor.clone_from(&channel.sensor);
                self.key.clone_from(&channel.key);
                self.kind.clone_from(&channel.kind);
                self.unit.clone_from(&channel.unit);
                self.label = stamp.maybe(channel.label.as_ref(), "/label");
                self.auxiliary = channel.auxiliary;
                self.limits = Limits {
                    ok_min: channel.ok_min,
                    ok_max: channel.ok_max,
                    grace_min: channel.grace_min,
                };
            }
            Event::ChannelChanged(Changed { changes }) => self.take(changes, stamp),
            Event::DerivationSet(set) => {
                self.derivation.clone_from(&set.derivation.new);
                self.is_derived = true;
            }
            Event::CalibrationSet(set) => {
                self.calibrated_from
                    .truncate(self.calibrated_before(set.valid_from));
                self.calibrated_from.push(set.valid_from);
                self.calibration = Some(Calibration {
                    correction: set.correction.new,
                    valid_from: set.valid_from,
                    due: set.due,
                    certificate: stamp.maybe(set.certificate.as_ref(), "/certificate"),
                });
            }
            Event::ChannelNotificationsSet(set) => self.notifications = set.notifications.new.clone(),
            _ => {}
        }
    }

    fn decide(&self, command: &ChannelCommand) -> Result<Vec<Event>, Rejection> {
        match command {
            ChannelCommand::Register(_) if self.sequence > 0 => Err(Rejection::conflict(
                "already_exists",
                "this channel exists already",
            )),
            ChannelCommand::Register(channel) => {
                let mut events = vec![Event::ChannelRegistered(registered(channel)?)];
                if let Some(derivation) = &channel.derivation {
                    derivation.check()?;
                    events.push(Event::DerivationSet(DerivationSet {
                        derivation: Change {
                            old: None,
                            new: Some(derivation.clone()),
                        },
                    }));
                }
                Ok(events)
            }
            ChannelCommand::Change(_)
            | ChannelCommand::Calibrate(_)
            | ChannelCommand::Derive(_)
            | ChannelCommand::Notify(_)
                if self.sequence == 0 =>
            {
                Err(Rejection::not_found("channel_not_found", "no such channel"))
            }
            ChannelCommand::Change(patch) => self.changed(patch),
            ChannelCommand::Calibrate(_) if self.is_derived => Err(Rejection::invalid(
                "invalid_calibration",
                "this channel measures nothing itself: calibrate the channels that its values are made of",
            )),
            ChannelCommand::Calibrate(calibration) => self.calibrated(calibration),
            ChannelCommand::Derive(_) if !self.is_derived => Err(Rejection::conflict(
                "not_derived",
                "this channel measures itself: make a derived channel with POST /v1/devices/{id}/sensors",
            )),
            ChannelCommand::Derive(derivation) => self.derived(derivation.as_ref()),
            ChannelCommand::Notify(notifications) => self.notified(notifications),
        }
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Channel {
    fn take(&mut self, changes: &ChannelChanges, stamp: Stamp<'_>) {
        stamp.change(&mut self.label, changes.label.as_ref(), "/changes/label/new");
        if let Some(change) = &changes.ok_min {
            self.limits.ok_min = change.new;
        }
        if let Some(change) = &changes.ok_max {
            self.limits.ok_max = change.new;
        }
        if let Some(change) = &changes.grace_min {
            self.limits.grace_min = change.new;
        }
        if let Some(change) = &changes.unit {
            self.unit.clone_from(&change.new);
        }
    }

    fn notified(&self, new: &ChannelNotifications) -> Result<Vec<Event>, Rejection> {
        if new.min_interval_min > INTERVAL_MIN_MAX || new.telegram.len() > TARGETS_MAX {
            return Err(Rejection::invalid(
                "invalid_notifications",
                "min_interval_min is at most 1440 minutes, and there are at most 50 targets",
            ));
        }
        let change = Change::between(&self.notifications, new);
        Ok(change
            .map(|notifications| Event::ChannelNotificationsSet(ChannelNotificationsSet { notifications }))
            .into_iter()
            .collect())
    }

    fn derived(&self, new: Option<&Derivation>) -> Result<Vec<Event>, Rejection> {
        new.map_or(Ok(()), Derivation::check)?;
        let other_values = new
            .zip(self.derivation.as_ref())
            .is_some_and(|(new, old)| new.function != old.function);
        if other_values {
            return Err(Rejection::conflict(
                "other_function",
                "what a derived channel's values are stays: make another channel for another function",
            ));
        }
        let change = Change::between(&self.derivation, &new.cloned());
        Ok(change
            .map(|derivation| Event::DerivationSet(DerivationSet { derivation }))
            .into_iter()
            .collect())
    }

    /// Whether its values are made of past days of others now.
    pub fn is_trailing(&self) -> bool {
        self.derivation.as_ref().is_some_and(Derivation::is_trailing)
    }

    /// How many calibrations hold from before this time on; those from it on are replaced by one that is set for it.
    fn calibrated_before(&self, valid_from: Timestamp) -> usize {
        self.calibrated_from.partition_point(|from| *from < valid_from)
    }

    fn calibrated(&self, new: &NewCalibration) -> Result<Vec<Event>, Rejection> {
        if self.calibrated_before(new.valid_from) >= CALIBRATIONS_MAX {
            return Err(Rejection::invalid(
                "too_many_calibrations",
                format!(
                    "a channel has at most {CALIBRATIONS_MAX} calibrations in force: set one from an earlier time, \
                     which takes the place of those after it"
                ),
            ));
        }
        if let Some(correction) = new.correction {
            check_correction(correction)?;
        }
        let old = self.calibration.as_ref().and_then(|c| c.correction);
        let certificate = text::notes("certificate", new.certificate.as_deref())?;
        Ok(vec![Event::CalibrationSet(CalibrationSet {
            certificate: certificate.map(Text::Plain),
            correction: Change {
                old,
                new: new.correction,
            },
            due: new.due,
            valid_from: new.valid_from,
        })])
    }

    fn changed(&self, patch: &ChannelPatch) -> Result<Vec<Event>, Rejection> {
        let limits = Limits {
            ok_min: patch.ok_min.unwrap_or(self.limits.ok_min),
            ok_max: patch.ok_max.unwrap_or(self.limits.ok_max),
            grace_min: patch.grace_min.unwrap_or(self.limits.grace_min),
        };
        limits.check()?;
        let mut changes = ChannelChanges {
            ok_min: Change::between(&self.limits.ok_min, &limits.ok_min),
            ok_max: Change::between(&self.limits.ok_max, &limits.ok_max),
            grace_min: Change::between(&self.limits.grace_min, &limits.grace_min),
            ..ChannelChanges::default()
        };
        if let Some(label) = &patch.label {
            let label = label
                .as_deref()
                .map(|label| text::name("label", label))
                .transpose()?;
            changes.label = TextChange::maybe(self.label.as_ref(), label.as_deref());
        }
        if let Some(unit) = &patch.unit {
            changes.unit = Change::between(&self.unit, &unit_of(unit)?);
        }
        let nothing = changes == ChannelChanges::default();
        Ok(if nothing {
            vec![]
        } else {
            vec![Event::ChannelChanged(Changed { changes })]
        })
    }
}

impl Limits {
    /// Checks that they can be met.
    ///
    /// # Errors
    /// `invalid_range`, `grace_too_long`.
    pub fn check(&self) -> Result<(), Rejection> {
        let finite = |limit: Option<f64>| limit.is_none_or(|l| l.is_finite() && l.abs() <= LIMIT_MAX);
        if !finite(self.ok_min) || !finite(self.ok_max) {
            return Err(Rejection::invalid(
                "invalid_range",
                "ok_min and ok_max must be numbers of at most 1e12",
            ));
        }
        if let (Some(min), Some(max)) = (self.ok_min, self.ok_max)
            && min > max
        {
            return Err(Rejection::invalid(
                "invalid_range",
                format!("ok_min {min} is above ok_max {max}"),
            ));
        }
        if self.grace_min.is_some_and(|grace| grace > GRACE_MIN_MAX) {
            return Err(Rejection::invalid(
                "grace_too_long",
                format!("grace_min is at most {GRACE_MIN_MAX} minutes (6 h)"),
            ));
        }
        Ok(())
    }

    /// Whether a value is outside them.
    pub fn is_outside(&self, value: f64) -> bool {
        self.ok_min.is_some_and(|min| value < min) || self.ok_max.is_some_and(|max| value > max)
    }
}

/// Checks that a correction gives a number for every value.
fn check_correction(correction: Correction) -> Result<(), Rejection> {
    let fits = |n: f64| n.is_finite() && n.abs() <= LIMIT_MAX;
    let right = match correction {
        Correction::Offset(offset) => fits(offset),
        Correction::TwoPoint([[raw_low, true_low], [raw_high, true_high]]) => {
            [raw_low, true_low, raw_high, true_high].into_iter().all(fits)
                && raw_high - raw_low >= RAW_SPAN_MIN
        }
    };
    if right {
        return Ok(());
    }
    Err(Rejection::invalid(
        "invalid_calibration",
        "an offset of at most 1e12, or two points [raw, true] whose raw values rise by at least 0.001",
    ))
}

fn registered(channel: &NewChannel) -> Result<ChannelRegistered, Rejection> {
    channel.limits.check()?;
    if kinds::find(&channel.kind).is_none() {
        return Err(Rejection::invalid(
            "unknown_kind",
            format!("{} is no kind of measurement", channel.kind),
        ));
    }
    if !is_key_of(&channel.key, &channel.kind) {
        return Err(Rejection::invalid(
            "invalid_key",
            "a channel's key is its kind, or its kind, / and a slug",
        ));
    }
    let label = channel
        .label
        .as_deref()
        .map(|label| text::name("label", label))
        .transpose()?;
    Ok(ChannelRegistered {
        auxiliary: channel.auxiliary,
        device: channel.device.clone(),
        grace_min: channel.limits.grace_min,
        key: channel.key.clone(),
        kind: channel.kind.clone(),
        label: label.map(Text::Plain),
        ok_max: channel.limits.ok_max,
        ok_min: channel.limits.ok_min,
        sensor: channel.sensor.clone(),
        unit: unit_of(&channel.unit)?,
    })
}

fn unit_of(text: &str) -> Result<String, Rejection> {
    let right = (1..=16).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || c == ' ');
    if !right {
        return Err(Rejection::invalid(
            "invalid_unit",
            "unit must be a UCUM code, such as Cel, %, hPa, W",
        ));
    }
    Ok(text.to_owned())
}

/// Whether `key` is `<kind>` or `<kind>/<slug>` (FORMAT §2).
pub fn is_key_of(key: &str, kind: &str) -> bool {
    is_value_key(key) && key.split('/').next() == Some(kind)
}
