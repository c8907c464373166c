//! The form of a rule: a definition as fields, and fields as a definition.
//!
//! Invariant: a definition that is shown and sent back is the same one; what is empty is absent.
//! Not here: what a definition must hold to be accepted (`domain::rule::check`), markup (`edit`).

use domain::Timestamp;
use domain::rule::{
    ChannelState, Definition, Flap, Kind, Overrides, RuleTest, Severity, TestReading, TestState, Window,
};

use super::recurrence;

/// Windows of a form, as many as a rule may have.
const WINDOWS_MAX: usize = 16;

/// The members of each kind that are numbers: name, label, what follows the unit.
pub fn numbers(kind: Kind) -> &'static [(&'static str, &'static str, &'static str)] {
    match kind {
        Kind::Range => &[
            ("ok_min", "Lowest that is right", ""),
            ("ok_max", "Highest that is right", ""),
            ("warn_min", "Only warns down to", ""),
            ("warn_max", "Only warns up to", ""),
        ],
        Kind::Delta => &[("max_delta", "Largest step", "")],
        Kind::Derivative => &[
            ("min_rate", "Slowest change", "an hour"),
            ("max_rate", "Fastest change", "an hour"),
        ],
        Kind::Absence => &[("silent_min", "Longest time without a value", "min")],
        Kind::Comparison => &[("offset", "Largest distance", "")],
    }
}

/// Fields as they were typed.
pub struct Fields<'a>(pub &'a [(String, String)]);

impl Fields<'_> {
    /// A field without surrounding space; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value.trim())
    }

    fn number(&self, name: &str, label: &str) -> Result<Option<f64>, String> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let number = text
            .replace(',', ".")
            .replace('\u{2212}', "-")
            .parse::<f64>()
            .ok();
        number
            .filter(|n| n.is_finite())
            .map(Some)
            .ok_or_else(|| format!("{label} must be a number"))
    }

    fn whole(&self, name: &str, label: &str) -> Result<Option<u32>, String> {
        let bad = || format!("{label} must be a whole number");
        self.number(name, label)?
            .map(|n| {
                (n >= 0.0 && n.fract() == 0.0 && n <= f64::from(u32::MAX))
                    .then_some(n as u32)
                    .ok_or_else(bad)
            })
            .transpose()
    }

    /// Seconds from minutes.
    fn seconds(&self, name: &str, label: &str) -> Result<Option<u32>, String> {
        let minutes = self.number(name, label)?;
        Ok(minutes.map(|minutes| (minutes * 60.0).round().clamp(0.0, f64::from(u32::MAX)) as u32))
    }

    fn overrides(&self, prefix: &str, kind: Kind, nth: &str) -> Result<Overrides, String> {
        let mut over = Overrides::default();
        for (name, label, _) in numbers(kind) {
            let (field, label) = (format!("{prefix}{name}"), format!("{nth}: {label}"));
            if *name == "silent_min" {
                over.min_interval_s = self.seconds(&field, &label)?;
                continue;
            }
            let value = self.number(&field, &label)?;
            match *name {
                "ok_min" => over.ok_min = value,
                "ok_max" => over.ok_max = value,
                "warn_min" => over.warn_min = value,
                "warn_max" => over.warn_max = value,
                "max_delta" => over.max_delta = value,
                "min_rate" => over.min_rate = value,
                "max_rate" => over.max_rate = value,
                _ => over.offset = value,
            }
        }
        over.grace_min = self.whole(&format!("{prefix}grace_min"), &format!("{nth}: Grace"))?;
        over.severity = Severity::parse(self.get(&format!("{prefix}severity")));
        over.enabled = match self.get(&format!("{prefix}enabled")) {
            "no" => Some(false),
            "yes" => Some(true),
            _ => None,
        };
        Ok(over)
    }

    /// What the fields make.
    ///
    /// # Errors
    /// In words, naming the field.
    pub fn definition(&self) -> Result<Definition, String> {
        let kind = Kind::parse(self.get("kind")).unwrap_or_default();
        let own = self.overrides("", kind, "Rule")?;
        let mut windows = Vec::new();
        for n in 0..WINDOWS_MAX {
            let (prefix, nth) = (format!("w{n}_"), format!("Window {}", n + 1));
            let of = |name: &str| self.get(&format!("{prefix}{name}"));
            let rrule = match of("when") {
                "" => continue,
                "custom" => of("rrule").to_owned(),
                choice => recurrence::text(choice, of("at"))
                    .ok_or_else(|| format!("{nth}: give the time at which it begins, such as 02:00"))?,
            };
            windows.push(Window {
                duration_min: self
                    .whole(&format!("{prefix}duration_min"), &format!("{nth}: Length"))?
                    .ok_or_else(|| format!("{nth}: say for how many minutes it lasts"))?,
                rrule,
                overrides: self.overrides(&prefix, kind, &nth)?,
            });
        }
        let flap = match (
            self.whole("flap_changes", "Flapping: alarms")?,
            self.whole("flap_within_min", "Flapping: within")?,
        ) {
            (Some(changes), Some(within_min)) => Some(Flap { changes, within_min }),
            (None, None) => None,
            _ => return Err("Flapping takes both numbers, or none".to_owned()),
        };
        let other = self.get("another_channel");
        Ok(Definition {
            another_channel: (kind == Kind::Comparison && !other.is_empty()).then(|| other.to_owned()),
            enabled: self.get("enabled") != "no",
            flap,
            grace_min: own.grace_min.unwrap_or(0),
            hysteresis: self.number("hysteresis", "Margin")?,
            interval_s: self.seconds("interval_min", "Between two values")?,
            keep_firing_min: self.whole("keep_firing_min", "Stays open at least")?,
            kind,
            max_delta: own.max_delta,
            max_rate: own.max_rate,
            min_interval_s: own.min_interval_s,
            min_rate: own.min_rate,
            offset: own.offset,
            ok_max: own.ok_max,
            ok_min: own.ok_min,
            recovery_min: self.whole("recovery_min", "Right again for")?,
            severity: own.severity.unwrap_or_default(),
            tests: tests(self.get("tests"))?,
            warn_max: own.warn_max,
            warn_min: own.warn_min,
            windows,
        })
    }
}

/// A definition as fields.
pub fn fields(d: &Definition) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out.push((name.to_owned(), value));
        }
    };
    put("kind", Some(d.kind.as_str().to_owned()));
    put("enabled", Some(if d.enabled { "yes" } else { "no" }.to_owned()));
    put("another_channel", d.another_channel.clone());
    put("flap_changes", d.flap.map(|flap| flap.changes.to_string()));
    put("flap_within_min", d.flap.map(|flap| flap.within_min.to_string()));
    put("hysteresis", d.hysteresis.map(|v| v.to_string()));
    put("interval_min", d.interval_s.map(minutes));
    put("keep_firing_min", d.keep_firing_min.map(|v| v.to_string()));
    put("recovery_min", d.recovery_min.map(|v| v.to_string()));
    put(
        "tests",
        Some(d.tests.iter().map(test_text).collect::<Vec<_>>().join("\n")),
    );
    let own = Overrides {
        enabled: None,
        grace_min: Some(d.grace_min),
        max_delta: d.max_delta,
        max_rate: d.max_rate,
        min_interval_s: d.min_interval_s,
        min_rate: d.min_rate,
        offset: d.offset,
        ok_max: d.ok_max,
        ok_min: d.ok_min,
        severity: Some(d.severity),
        warn_max: d.warn_max,
        warn_min: d.warn_min,
    };
    put_overrides(&mut put, "", &own);
    for (n, window) in d.windows.iter().enumerate() {
        let prefix = format!("w{n}_");
        let (when, at) = recurrence::told(&window.rrule);
        put(&format!("{prefix}when"), Some(when.to_owned()));
        put(&format!("{prefix}at"), Some(at));
        put(
            &format!("{prefix}rrule"),
            (when == "custom").then(|| window.rrule.clone()),
        );
        put(
            &format!("{prefix}duration_min"),
            Some(window.duration_min.to_string()),
        );
        put_overrides(&mut put, &prefix, &window.overrides);
    }
    out
}

fn put_overrides(put: &mut dyn FnMut(&str, Option<String>), prefix: &str, over: &Overrides) {
    for (name, value) in [
        ("max_delta", over.max_delta),
        ("max_rate", over.max_rate),
        ("min_rate", over.min_rate),
        ("offset", over.offset),
        ("ok_max", over.ok_max),
        ("ok_min", over.ok_min),
        ("warn_max", over.warn_max),
        ("warn_min", over.warn_min),
    ] {
        put(&format!("{prefix}{name}"), value.map(|v| v.to_string()));
    }
    put(&format!("{prefix}silent_min"), over.min_interval_s.map(minutes));
    put(
        &format!("{prefix}grace_min"),
        over.grace_min.map(|v| v.to_string()),
    );
    put(
        &format!("{prefix}severity"),
        over.severity.map(|v| v.as_str().to_owned()),
    );
    let enabled = over.enabled.map(|v| if v { "yes" } else { "no" }.to_owned());
    if !prefix.is_empty() {
        put(&format!("{prefix}enabled"), enabled);
    }
}

fn minutes(s: u32) -> String {
    (f64::from(s) / 60.0).to_string()
}

/// Tests, one a line: `name [@begin]: minute=value … -> minute=state …`.
fn tests(text: &str) -> Result<Vec<RuleTest>, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| test(line).ok_or_else(|| format!("this test cannot be read: {line}")))
        .collect()
}

fn test(line: &str) -> Option<RuleTest> {
    let (head, states) = line.split_once("->")?;
    let (name, readings) = head
        .split_once(": ")
        .or_else(|| head.trim_end().strip_suffix(':').map(|n| (n, "")))?;
    let (name, begins_at) = match name.split_once('@') {
        Some((name, at)) => (name, Some(Timestamp::parse_rfc3339(at.trim()).ok()?)),
        None => (name, None),
    };
    let readings = readings.split_whitespace().map(|word| {
        let (at, value) = word.split_once('=')?;
        let (value, other) = match value.split_once('/') {
            Some((value, other)) => (value, Some(other.parse().ok()?)),
            None => (value, None),
        };
        let value = if value.is_empty() {
            None
        } else {
            Some(value.parse().ok()?)
        };
        Some(TestReading {
            at_s: seconds(at)?,
            value,
            other,
        })
    });
    let states = states.split_whitespace().map(|word| {
        let (at, state) = word.split_once('=')?;
        Some(TestState {
            at_s: seconds(at)?,
            state: ChannelState::parse(state)?,
        })
    });
    Some(RuleTest {
        begins_at,
        name: name.trim().to_owned(),
        readings: readings.collect::<Option<_>>()?,
        states: states.collect::<Option<_>>()?,
    })
}

/// `5` minutes, or `90s`.
fn seconds(text: &str) -> Option<u32> {
    match text.strip_suffix('s') {
        Some(seconds) => seconds.parse().ok(),
        None => text.parse::<u32>().ok()?.checked_mul(60),
    }
}

fn test_text(test: &RuleTest) -> String {
    let at = |s: u32| {
        if s.is_multiple_of(60) {
            (s / 60).to_string()
        } else {
            format!("{s}s")
        }
    };
    let begins = test.begins_at.map(|at| format!(" @{at}")).unwrap_or_default();
    let readings = test.readings.iter().map(|reading| {
        let value = reading.value.map(|v| v.to_string()).unwrap_or_default();
        let other = reading.other.map(|v| format!("/{v}")).unwrap_or_default();
        format!("{}={value}{other}", at(reading.at_s))
    });
    let states = test
        .states
        .iter()
        .map(|state| format!("{}={}", at(state.at_s), state.state.as_str()));
    format!(
        "{}{begins}: {} -> {}",
        test.name,
        readings.collect::<Vec<_>>().join(" "),
        states.collect::<Vec<_>>().join(" ")
    )
}

#[cfg(test)]
mod tests_of_the_form {
    use super::*;

    #[test]
    fn a_definition_that_is_shown_and_sent_back_is_the_same() {
        for json in [
            r#"{"enabled":true,"grace_min":15,"kind":"range","ok_max":5.0,"ok_min":-2.0,"severity":"alarm"}"#,
            r#"{"enabled":false,"kind":"range","ok_max":5.5,"warn_max":8.0,"severity":"warn","hysteresis":0.5,
                "recovery_min":30,"keep_firing_min":10,"flap":{"changes":4,"within_min":60},
                "windows":[{"rrule":"FREQ=DAILY;BYHOUR=2;BYMINUTE=30","duration_min":45,"ok_max":12.0},
                           {"rrule":"FREQ=MONTHLY;BYMONTHDAY=1","duration_min":60,"enabled":false},
                           {"rrule":"FREQ=WEEKLY;BYDAY=SA,SU;BYHOUR=8;BYMINUTE=0","duration_min":600,"severity":"warn","grace_min":60}],
                "tests":[{"name":"defrost","begins_at":"2026-01-05T02:30:00Z","readings":[{"at_s":0,"value":4.0},{"at_s":90,"value":9.5}],
                          "states":[{"at_s":90,"state":"ok"}]}]}"#,
            r#"{"kind":"delta","max_delta":3.0,"interval_s":900}"#,
            r#"{"kind":"derivative","min_rate":-4.0,"max_rate":4.0}"#,
            r#"{"kind":"absence","min_interval_s":5430,"grace_min":5}"#,
            r#"{"kind":"comparison","another_channel":"chn_x","offset":2.0,"interval_s":600,
                "tests":[{"name":"apart","readings":[{"at_s":0,"value":4.0,"other":9.0},{"at_s":60,"other":9.0}],"states":[{"at_s":60,"state":"alarm"}]}]}"#,
        ] {
            let definition: Definition = serde_json::from_str(json).expect("a definition of the test");
            let fields = fields(&definition);
            assert_eq!(
                Fields(&fields).definition().as_ref(),
                Ok(&definition),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let of = |name: &str, value: &str| {
            let fields = [("kind", "range"), (name, value), ("w0_duration_min", "30")];
            let fields: Vec<_> = fields
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
            Fields(&fields).definition()
        };
        assert_eq!(
            of("ok_max", "warm").expect_err("refused"),
            "Rule: Highest that is right must be a number"
        );
        assert_eq!(of("ok_max", "5,5").expect("taken").ok_max, Some(5.5));
        assert_eq!(
            of("grace_min", "1.5").expect_err("refused"),
            "Rule: Grace must be a whole number"
        );
        assert!(
            of("w0_when", "daily")
                .expect_err("refused")
                .starts_with("Window 1:")
        );
        assert!(of("tests", "no arrow").expect_err("refused").contains("no arrow"));
        assert!(of("flap_changes", "3").is_err());
    }
}
