//! Collects what one foreign message measured, and what of it could not be used.
//!
//! Invariants: every value that enters is finite, of a known kind and physically possible, or it is among the
//! dropped with its reason; both lists are bounded. Not here: vendors' sentinels, which their decoders know.

use super::decoded::{
    DecodeError, DeviceHint, DropReason, Dropped, LABEL_CHARS_MAX, MEASUREMENTS_MAX, Measurement, Report,
    Timed, UplinkId,
};
use super::json;
use super::sanity;
use super::units::Unit;
use domain::kinds;
use serde_json::Value;

/// Most dropped values that are kept of one message; more says nothing new.
pub const DROPPED_MAX: usize = 64;

/// What one message holds so far.
#[derive(Debug, Default)]
pub(super) struct Gather {
    pub(super) measurements: Vec<Measurement>,
    pub(super) dropped: Vec<Dropped>,
    too_many: bool,
}

/// Where a value belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel<'a> {
    pub(super) kind: &'a str,
    pub(super) label: Option<&'a str>,
    pub(super) at: Option<Timed>,
}

impl Gather {
    /// Takes a value in the kind's own unit.
    pub(super) fn take(&mut self, channel: Channel<'_>, value: f64) {
        self.take_in(channel, value, None);
    }

    /// Takes a value in `unit`, `None` = the kind's own; drops it with a reason where it cannot be true.
    pub(super) fn take_in(&mut self, channel: Channel<'_>, value: f64, unit: Option<&'static Unit>) {
        let reject = |gather: &mut Self, reason| gather.drop_text(channel.kind, &value.to_string(), reason);
        let Some(kind) = kinds::find(channel.kind) else {
            return reject(self, DropReason::UnknownKind);
        };
        if !value.is_finite() {
            return reject(self, DropReason::NotANumber);
        }
        if channel
            .label
            .is_some_and(|l| l.chars().nth(LABEL_CHARS_MAX).is_some())
        {
            return reject(self, DropReason::LabelTooLong);
        }
        let (settled, code) = match unit {
            Some(unit) if !unit.fits(kind) => return reject(self, DropReason::UnknownUnit),
            Some(unit) => unit.settle(value),
            None => (value, None),
        };
        let possible = match unit {
            Some(unit) => sanity::in_unit(kind, unit, value),
            None => sanity::sanity(kind, None, value),
        };
        if possible.is_err() {
            return reject(self, DropReason::OutOfRange);
        }
        if self.measurements.len() == MEASUREMENTS_MAX {
            self.too_many = true;
            return;
        }
        self.measurements.push(Measurement {
            kind,
            label: channel.label.map(str::to_owned),
            // -0 is 0: both are written the same in canonical JSON.
            value: settled + 0.0,
            unit: code,
            at: channel.at,
        });
    }

    /// Takes a JSON value that should be a number.
    pub(super) fn take_json(&mut self, channel: Channel<'_>, value: &Value) {
        match json::number(value) {
            Ok(number) => self.take(channel, number),
            Err(reason) => self.drop_json(channel.kind, value, reason),
        }
    }

    pub(super) fn drop_json(&mut self, channel: &str, value: &Value, reason: DropReason) {
        self.drop_text(channel, &json::raw(value), reason);
    }

    pub(super) fn drop_text(&mut self, channel: &str, raw: &str, reason: DropReason) {
        if self.dropped.len() < DROPPED_MAX {
            self.dropped.push(Dropped {
                channel: json::clip(channel),
                raw: json::clip(raw),
                reason,
            });
        }
    }

    /// Takes over what another has gathered, within the same bounds.
    pub(super) fn absorb(&mut self, other: Self) {
        self.too_many |=
            other.too_many || self.measurements.len() + other.measurements.len() > MEASUREMENTS_MAX;
        self.measurements.extend(other.measurements);
        self.dropped.extend(other.dropped);
        self.dropped.truncate(DROPPED_MAX);
    }

    /// Whether a measurement of `kind`, or a drop of it, has been seen.
    pub(super) fn mentions(&self, kind: &str) -> bool {
        self.measurements.iter().any(|m| m.kind.name == kind)
            || self.dropped.iter().any(|d| d.channel == kind)
    }

    /// The dropped values in words.
    pub(super) fn why_dropped(&self) -> String {
        let words: Vec<String> = self
            .dropped
            .iter()
            .map(|d| format!("{} \"{}\" ({})", d.channel, d.raw, d.reason.code()))
            .collect();
        words.join(", ")
    }

    /// The message as a report.
    ///
    /// # Errors
    /// `too_many_measurements` where the message held more than a report may.
    pub(super) fn report(
        self,
        device: Option<DeviceHint>,
        uplink: Option<UplinkId>,
        handle: Option<i64>,
    ) -> Result<Report, DecodeError> {
        if self.too_many {
            return Err(json::rejected(
                "too_many_measurements",
                format!("one message may carry at most {MEASUREMENTS_MAX} measurements"),
            ));
        }
        Ok(Report {
            device,
            measurements: self.measurements,
            dropped: self.dropped,
            uplink,
            frame: None,
            handle,
        })
    }
}
