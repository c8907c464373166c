//! What a rule is: its kind, what is right, how long it may be wrong, and when other values apply.
//!
//! Invariants: member names are those of the public interface, so a definition is the same JSON in a request, an
//! answer and an entry; absent members are left out, members that are not known are passed over.
//! Source: docs/rules.md. Not here: what a definition must hold to be accepted (`check`), judging by it (`engine`).

use super::state::ChannelState;
use crate::rejection::Rejection;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The value itself.
    #[default]
    Range,
    /// How far the value is from the one before it.
    Delta,
    /// How fast the value has changed over the last hour.
    Derivative,
    /// Whether values come at all.
    Absence,
    /// How far the value is from another channel's.
    Comparison,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Range,
        Self::Delta,
        Self::Derivative,
        Self::Absence,
        Self::Comparison,
    ];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Delta => "delta",
            Self::Derivative => "derivative",
            Self::Absence => "absence",
            Self::Comparison => "comparison",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Look at it today.
    Warn,
    /// Look at it now.
    #[default]
    Alarm,
}

impl Severity {
    /// Every one, the mildest first.
    pub const ALL: [Self; 2] = [Self::Warn, Self::Alarm];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Alarm => "alarm",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }
}

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Right.
    #[default]
    Ok,
    /// Wrong, but within the warn band.
    Warn,
    /// Wrong.
    Alarm,
}

/// What is right: from `ok_min` to `ok_max`, both included. Outside it, values as far as `warn_min` and `warn_max`
/// (included) only warn.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Band {
    /// Highest value that is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok_max: Option<f64>,
    /// Lowest value that is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok_min: Option<f64>,
    /// Highest value that only warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_max: Option<f64>,
    /// Lowest value that only warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn_min: Option<f64>,
}

impl Band {
    /// Where `value` lies. A value that is not a number lies nowhere right.
    pub fn level(&self, value: f64) -> Level {
        let below = self.ok_min.is_some_and(|min| value < min);
        let above = self.ok_max.is_some_and(|max| value > max);
        if !below && !above && !value.is_nan() {
            return Level::Ok;
        }
        let warns = (below && self.warn_min.is_some_and(|min| value >= min))
            || (above && self.warn_max.is_some_and(|max| value <= max));
        if warns { Level::Warn } else { Level::Alarm }
    }

    /// Whether `value` lies right by at least `margin`, which is what it takes to end an alarm.
    pub fn is_well_inside(&self, value: f64, margin: f64) -> bool {
        !value.is_nan()
            && self.ok_min.is_none_or(|min| value >= min + margin)
            && self.ok_max.is_none_or(|max| value <= max - margin)
    }
}

/// Values that replace a rule's own during a window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// Whether the rule judges at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Minutes outside before it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_min: Option<u32>,
    /// Largest step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delta: Option<f64>,
    /// Highest rate an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<f64>,
    /// Longest time without a value, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval_s: Option<u32>,
    /// Lowest rate an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rate: Option<f64>,
    /// Largest distance from the other channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<f64>,
    /// Highest value that is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok_max: Option<f64>,
    /// Lowest value that is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok_min: Option<f64>,
    /// How bad it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Highest value that only warns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_max: Option<f64>,
    /// Lowest value that only warns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_min: Option<f64>,
}

/// Times at which other values apply, by the clock of the site.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Window {
    /// How long each occurrence lasts, in minutes that pass.
    pub duration_min: u32,
    /// When occurrences begin: an RFC 5545 recurrence in the site's time zone.
    pub rrule: String,
    /// What applies during each.
    #[serde(flatten)]
    pub overrides: Overrides,
}

/// When a rule is held to be flapping: it opened alarms `changes` times within `within_min` minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flap {
    /// Openings.
    pub changes: u32,
    /// Minutes. A flapping rule's alarm ends only after as many minutes in range.
    pub within_min: u32,
}

/// A reading of an inline test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestReading {
    /// Seconds after the test begins.
    pub at_s: u32,
    /// The value on the channel itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The value on the channel that a comparison compares with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<f64>,
}

/// What an inline test expects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestState {
    /// Seconds after the test begins.
    pub at_s: u32,
    /// The rule's state then.
    pub state: ChannelState,
}

/// A test that a rule carries with it and passes before it is activated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleTest {
    /// When it begins; what windows and summer time make of it. Without one: Monday, 5 January 2026, 00:00 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_at: Option<Timestamp>,
    /// What it is called: `[a-z0-9_-]{1,64}`.
    pub name: String,
    /// What comes in, in order.
    pub readings: Vec<TestReading>,
    /// What follows, in order.
    pub states: Vec<TestState>,
}

/// A rule's definition.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// The channel that a comparison compares with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub another_channel: Option<String>,
    /// Whether it judges.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What counts as flapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flap: Option<Flap>,
    /// Minutes outside before it counts.
    pub grace_min: u32,
    /// How far inside the limits a value must lie to end an alarm, in the channel's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hysteresis: Option<f64>,
    /// Longest time between two values that are compared, seconds (`delta`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_s: Option<u32>,
    /// Minutes for which an alarm stays open at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_min: Option<u32>,
    /// What it looks at.
    pub kind: Kind,
    /// Largest step that is right (`delta`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delta: Option<f64>,
    /// Highest rate an hour that is right (`derivative`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<f64>,
    /// Longest time without a value, seconds (`absence`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval_s: Option<u32>,
    /// Lowest rate an hour that is right (`derivative`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rate: Option<f64>,
    /// Largest distance from the other channel that is right (`comparison`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<f64>,
    /// Highest value that is right (`range`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok_max: Option<f64>,
    /// Lowest value that is right (`range`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok_min: Option<f64>,
    /// Minutes inside before an alarm ends; without it, as long as the grace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_min: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// What it must do, tried before it is activated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<RuleTest>,
    /// Highest value that only warns (`range`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_max: Option<f64>,
    /// Lowest value that only warns (`range`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_min: Option<f64>,
    /// When other values apply; where several do, the later one in this list wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

const fn yes() -> bool {
    true
}

impl Definition {
    /// An enabled rule of this kind, with nothing else set.
    pub fn of(kind: Kind) -> Self {
        Self {
            kind,
            enabled: true,
            ..Self::default()
        }
    }

    /// The simple rule: a range with a grace.
    pub fn range(ok_min: Option<f64>, ok_max: Option<f64>, grace_min: u32) -> Self {
        Self {
            ok_min,
            ok_max,
            grace_min,
            ..Self::of(Kind::Range)
        }
    }

    /// Whether limits and grace say all of it.
    pub fn is_limits(&self) -> bool {
        *self == Self::range(self.ok_min, self.ok_max, self.grace_min)
    }

    /// What is right, in the terms of what its kind looks at.
    pub fn band(&self) -> Band {
        match self.kind {
            Kind::Range => Band {
                ok_max: self.ok_max,
                ok_min: self.ok_min,
                warn_max: self.warn_max,
                warn_min: self.warn_min,
            },
            Kind::Delta => Band {
                ok_max: self.max_delta,
                ..Band::default()
            },
            Kind::Derivative => Band {
                ok_max: self.max_rate,
                ok_min: self.min_rate,
                ..Band::default()
            },
            Kind::Absence => Band::default(),
            Kind::Comparison => Band {
                ok_max: self.offset,
                ..Band::default()
            },
        }
    }

    /// Minutes inside before an alarm ends.
    pub fn recovery_min(&self) -> u32 {
        self.recovery_min.unwrap_or(self.grace_min)
    }

    /// This definition with the members of a partial one in place of its own; `null` takes a member away.
    /// The kind stays as it is unless the patch names another.
    ///
    /// # Errors
    /// `invalid_rule` for members of another type.
    pub fn patched(&self, patch: &serde_json::Map<String, serde_json::Value>) -> Result<Self, Rejection> {
        let malformed = |e: serde_json::Error| Rejection::invalid("invalid_rule", format!("not a rule: {e}"));
        let mut whole = serde_json::to_value(self).map_err(malformed)?;
        if let Some(members) = whole.as_object_mut() {
            for (name, value) in patch {
                match value {
                    serde_json::Value::Null => members.remove(name),
                    value => members.insert(name.clone(), value.clone()),
                };
            }
        }
        serde_json::from_value(whole).map_err(malformed)
    }

    /// This definition with the values that replace its own.
    pub fn with(&self, overrides: &Overrides) -> Self {
        let mut it = Self {
            another_channel: self.another_channel.clone(),
            tests: Vec::new(),
            windows: Vec::new(),
            ..*self
        };
        it.enabled = overrides.enabled.unwrap_or(it.enabled);
        it.grace_min = overrides.grace_min.unwrap_or(it.grace_min);
        it.severity = overrides.severity.unwrap_or(it.severity);
        it.min_interval_s = overrides.min_interval_s.or(it.min_interval_s);
        for (own, other) in [
            (&mut it.max_delta, overrides.max_delta),
            (&mut it.max_rate, overrides.max_rate),
            (&mut it.min_rate, overrides.min_rate),
            (&mut it.offset, overrides.offset),
            (&mut it.ok_max, overrides.ok_max),
            (&mut it.ok_min, overrides.ok_min),
            (&mut it.warn_max, overrides.warn_max),
            (&mut it.warn_min, overrides.warn_min),
        ] {
            *own = other.or(*own);
        }
        it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_the_json_of_the_public_interface() {
        let json = r#"{"enabled":true,"grace_min":15,"kind":"range","ok_max":5.0,"ok_min":-2.0,"severity":"alarm","windows":[{"duration_min":45,"rrule":"FREQ=DAILY;BYHOUR=2","ok_max":12.0}]}"#;
        let definition: Definition = serde_json::from_str(json).expect("reads");
        assert_eq!(definition.windows[0].overrides.ok_max, Some(12.0));
        assert_eq!(serde_json::to_string(&definition).expect("writes"), json);
        let least: Definition = serde_json::from_str(r#"{"ok_max":5,"unknown":1}"#).expect("reads");
        assert_eq!(least, Definition::range(None, Some(5.0), 0));
    }

    #[test]
    fn values_lie_right_within_a_warn_band_or_beyond_it() {
        let band = Band {
            ok_min: Some(50.0),
            warn_min: Some(48.0),
            ..Band::default()
        };
        assert_eq!(band.level(50.0), Level::Ok);
        assert_eq!(band.level(49.999), Level::Warn);
        assert_eq!(band.level(48.0), Level::Warn);
        assert_eq!(band.level(47.999), Level::Alarm);
        assert_eq!(band.level(1e300), Level::Ok);
        assert_eq!(band.level(f64::NAN), Level::Alarm);
        assert!(band.is_well_inside(51.0, 1.0));
        assert!(!band.is_well_inside(50.5, 1.0));
        assert!(!band.is_well_inside(f64::NAN, 0.0));
    }
}
