//! What a definition must hold to be accepted.
//!
//! Invariants: what passes here can be judged without failing; every limit is named and told in the refusal.
//! Source: REFERENCE §1.1 and §1.4 for `invalid_range` and `grace_too_long`; docs/rules.md.
//! Not here: whether the other channel of a comparison exists (`commands`), inline tests' outcome (`trial`).

use super::definition::{Band, Definition, Flap, Kind, RuleTest, Severity, Window};
use super::recurrence::Recurrence;
use crate::aggregate::channel::{GRACE_MIN_MAX, LIMIT_MAX};
use crate::canonical::Canonical;
use crate::ids::IdKind;
use crate::rejection::Rejection;

/// Most windows of a rule: a defrost, a disinfection and the opening hours of seven days, and room for more.
pub const WINDOWS_MAX: usize = 16;
/// Longest occurrence of a window, minutes: a week.
pub const WINDOW_MIN_MAX: u32 = 10_080;
/// Most bytes of a recurrence.
pub const RRULE_BYTES_MAX: usize = 512;
/// Longest recovery, keep-firing and flap time, minutes: a day. Beyond it an alarm says nothing about now.
pub const SPAN_MIN_MAX: u32 = 1_440;
/// Longest interval of `delta`, seconds: a day.
pub const INTERVAL_S_MAX: u32 = 86_400;
/// Longest time without a value, seconds: a week.
pub const ABSENCE_S_MAX: u32 = 604_800;
/// Most openings that flap damping counts, so that a rule's state stays small.
pub const FLAP_CHANGES_MAX: u32 = 16;
/// Most inline tests of a rule.
pub const TESTS_MAX: usize = 16;
/// Most readings, and most expected states, of an inline test.
pub const TEST_STEPS_MAX: usize = 200;
/// Longest inline test, seconds: two weeks, so that a weekly window and a change of the clocks fit.
pub const TEST_S_MAX: u32 = 1_209_600;
/// Most bytes of a definition as canonical JSON, so that an entry with the old one and the new one stays far below
/// 64 KiB.
pub const DEFINITION_BYTES_MAX: usize = 16_384;

impl Definition {
    /// Checks that it can be met and judged.
    ///
    /// # Errors
    /// `invalid_range`, `grace_too_long`, `invalid_rule`, `invalid_window`, `invalid_test`, `too_large`.
    pub fn check(&self) -> Result<(), Rejection> {
        self.check_values()?;
        self.check_spans()?;
        if self.windows.len() > WINDOWS_MAX {
            return Err(invalid_window(format!(
                "a rule has at most {WINDOWS_MAX} windows"
            )));
        }
        for window in &self.windows {
            self.check_window(window)?;
        }
        self.check_something_is_judged()?;
        self.check_tests()?;
        let bytes = Canonical::from_serialize(self)
            .map_err(|_| invalid_rule("a number that JSON cannot hold"))?
            .as_bytes()
            .len();
        if bytes > DEFINITION_BYTES_MAX {
            return Err(Rejection::invalid(
                "too_large",
                format!(
                    "a rule has at most {DEFINITION_BYTES_MAX} bytes with its tests; this one has {bytes}"
                ),
            ));
        }
        Ok(())
    }

    /// The values in force, for the base and for each window.
    fn check_values(&self) -> Result<(), Rejection> {
        let numbers = [
            self.ok_min,
            self.ok_max,
            self.warn_min,
            self.warn_max,
            self.max_delta,
            self.min_rate,
            self.max_rate,
            self.offset,
            self.hysteresis,
        ];
        if numbers
            .iter()
            .flatten()
            .any(|n| !n.is_finite() || n.abs() > LIMIT_MAX)
        {
            return Err(invalid_range("limits must be numbers of at most 1e12"));
        }
        if [self.max_delta, self.offset, self.hysteresis]
            .iter()
            .flatten()
            .any(|n| *n < 0.0)
        {
            return Err(invalid_range(
                "max_delta, offset and hysteresis must not be below 0",
            ));
        }
        check_band(&self.band(), self)?;
        if self.grace_min > GRACE_MIN_MAX {
            return Err(Rejection::invalid(
                "grace_too_long",
                format!("grace_min is at most {GRACE_MIN_MAX} minutes (6 h)"),
            ));
        }
        let interval = self.interval_s.is_some_and(|s| s == 0 || s > INTERVAL_S_MAX);
        let absence = self.min_interval_s.is_some_and(|s| s == 0 || s > ABSENCE_S_MAX);
        if interval || absence {
            return Err(invalid_rule(format!(
                "interval_s is 1 to {INTERVAL_S_MAX} s, min_interval_s 1 to {ABSENCE_S_MAX} s"
            )));
        }
        Ok(())
    }

    fn check_spans(&self) -> Result<(), Rejection> {
        let flap = self.flap.map_or(0, |flap| flap.within_min);
        let spans = [
            self.recovery_min.unwrap_or(0),
            self.keep_firing_min.unwrap_or(0),
            flap,
        ];
        if spans.iter().any(|minutes| *minutes > SPAN_MIN_MAX) {
            return Err(invalid_rule(format!(
                "recovery_min, keep_firing_min and flap.within_min are at most {SPAN_MIN_MAX} minutes"
            )));
        }
        if let Some(Flap { changes, within_min }) = self.flap
            && (!(2..=FLAP_CHANGES_MAX).contains(&changes) || within_min == 0)
        {
            return Err(invalid_rule(format!(
                "flap.changes is 2 to {FLAP_CHANGES_MAX}, flap.within_min at least 1"
            )));
        }
        Ok(())
    }

    fn check_window(&self, window: &Window) -> Result<(), Rejection> {
        if !(1..=WINDOW_MIN_MAX).contains(&window.duration_min) {
            return Err(invalid_window(format!(
                "duration_min is 1 to {WINDOW_MIN_MAX} minutes (a week)"
            )));
        }
        if window.rrule.len() > RRULE_BYTES_MAX {
            return Err(invalid_window(format!(
                "rrule has at most {RRULE_BYTES_MAX} bytes"
            )));
        }
        Recurrence::parse(&window.rrule)?;
        self.with(&window.overrides).check_values()
    }

    /// A rule that can never be broken is a mistake.
    fn check_something_is_judged(&self) -> Result<(), Rejection> {
        let judges = |it: &Self| match it.kind {
            Kind::Absence => it.min_interval_s.is_some(),
            _ => it.band() != Band::default(),
        };
        let needs = match self.kind {
            Kind::Range => "range needs ok_min or ok_max",
            Kind::Delta => "delta needs max_delta",
            Kind::Derivative => "derivative needs min_rate or max_rate",
            Kind::Absence => "absence needs min_interval_s",
            Kind::Comparison => "comparison needs offset",
        };
        if !judges(self) && !self.windows.iter().any(|w| judges(&self.with(&w.overrides))) {
            let code = if self.kind == Kind::Range {
                "invalid_range"
            } else {
                "invalid_rule"
            };
            return Err(Rejection::invalid(code, needs));
        }
        if self.kind == Kind::Delta && self.interval_s.is_none() {
            return Err(invalid_rule("delta needs interval_s"));
        }
        let other = self.another_channel.as_deref();
        match (self.kind, other) {
            (Kind::Comparison, Some(id)) if IdKind::Channel.is(id) => Ok(()),
            (Kind::Comparison, _) => Err(invalid_rule(
                "comparison needs another_channel, the id of a channel",
            )),
            (_, Some(_)) => Err(invalid_rule("another_channel belongs to a comparison")),
            (_, None) => Ok(()),
        }
    }

    fn check_tests(&self) -> Result<(), Rejection> {
        if self.tests.len() > TESTS_MAX {
            return Err(invalid_test(format!("a rule has at most {TESTS_MAX} tests")));
        }
        self.tests.iter().try_for_each(check_test)
    }
}

fn check_band(band: &Band, of: &Definition) -> Result<(), Rejection> {
    if let (Some(min), Some(max)) = (band.ok_min, band.ok_max)
        && min > max
    {
        return Err(invalid_range(match of.kind {
            Kind::Derivative => format!("min_rate {min} is above max_rate {max}"),
            _ => format!("ok_min {min} is above ok_max {max}"),
        }));
    }
    let warn_below = match (band.warn_min, band.ok_min) {
        (Some(warn), Some(ok)) => warn <= ok,
        (warn, _) => warn.is_none(),
    };
    let warn_above = match (band.warn_max, band.ok_max) {
        (Some(warn), Some(ok)) => warn >= ok,
        (warn, _) => warn.is_none(),
    };
    if !warn_below || !warn_above {
        return Err(invalid_range(
            "a warn band lies outside what is right: warn_min at or below ok_min, warn_max at or above ok_max",
        ));
    }
    if (band.warn_min.is_some() || band.warn_max.is_some()) && of.severity == Severity::Warn {
        return Err(invalid_range(
            "a rule of severity warn needs no warn band: leave warn_min and warn_max out",
        ));
    }
    let margin = of.hysteresis.unwrap_or(0.0);
    if let (Some(min), Some(max)) = (band.ok_min, band.ok_max)
        && min + margin > max - margin
    {
        return Err(invalid_range(
            "hysteresis is wider than what is right: no value could end an alarm",
        ));
    }
    Ok(())
}

fn check_test(test: &RuleTest) -> Result<(), Rejection> {
    let named = (1..=64).contains(&test.name.len())
        && test
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    if !named {
        return Err(invalid_test(
            "a test's name has 1 to 64 lower-case letters, digits, _ or -",
        ));
    }
    if test.readings.len() > TEST_STEPS_MAX || !(1..=TEST_STEPS_MAX).contains(&test.states.len()) {
        return Err(invalid_test(format!(
            "test {} needs at least one expected state, and at most {TEST_STEPS_MAX} of each",
            test.name
        )));
    }
    let ordered = test.readings.is_sorted_by_key(|r| r.at_s) && test.states.is_sorted_by_key(|s| s.at_s);
    let last = test
        .readings
        .iter()
        .map(|r| r.at_s)
        .chain(test.states.iter().map(|s| s.at_s))
        .max();
    if !ordered || last.is_some_and(|at| at > TEST_S_MAX) {
        return Err(invalid_test(format!(
            "test {}: at_s rises and is at most {TEST_S_MAX} s (two weeks)",
            test.name
        )));
    }
    let numbers = |n: Option<f64>| n.is_none_or(|n| n.is_finite() && n.abs() <= LIMIT_MAX);
    if !test.readings.iter().all(|r| numbers(r.value) && numbers(r.other)) {
        return Err(invalid_test("values of tests are numbers of at most 1e12"));
    }
    Ok(())
}

fn invalid_range(message: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::invalid("invalid_range", message)
}

fn invalid_rule(message: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::invalid("invalid_rule", message)
}

fn invalid_window(message: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::invalid("invalid_window", message)
}

fn invalid_test(message: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::invalid("invalid_test", message)
}
