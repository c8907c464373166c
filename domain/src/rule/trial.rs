//! A rule's inline tests: given readings, expected states, tried before the rule is activated.
//!
//! Invariants: the engine that tries is the one that judges live; each test begins with a rule that has seen
//! nothing; values that come at the time of an expected state come before it.
//! Source: docs/rules.md. Not here: what a test may hold (`check`).

use super::back_test::{compares, names, set_up};
use super::definition::{Definition, RuleTest, TestReading};
use super::engine::{Engine, Fact, What};
use super::state::ChannelState;
use crate::position::Position;
use crate::rejection::Rejection;
use crate::time::Timestamp;

const OTHER: &str = "other";
/// Monday, 5 January 2026, 00:00 UTC, microseconds.
const DEFAULT_BEGIN_US: i64 = 1_767_571_200_000_000;

/// An expectation that was not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The test.
    pub test: String,
    /// Seconds after it began.
    pub at_s: u32,
    /// What it says.
    pub expected: ChannelState,
    /// What the rule came to.
    pub found: ChannelState,
}

impl Definition {
    /// Runs its tests.
    ///
    /// # Errors
    /// `rule_test_failed`, with the first expectation that was not met.
    pub fn try_out(&self, timezone: &str) -> Result<(), Rejection> {
        match self.failures(timezone).into_iter().next() {
            None => Ok(()),
            Some(it) => Err(Rejection::invalid(
                "rule_test_failed",
                format!(
                    "test {}: {} s after its begin the rule is in state {}, not {}; correct the rule or the test",
                    it.test,
                    it.at_s,
                    it.found.as_str(),
                    it.expected.as_str()
                ),
            )),
        }
    }

    /// Every expectation of its tests that is not met.
    pub fn failures(&self, timezone: &str) -> Vec<Failure> {
        self.tests
            .iter()
            .flat_map(|test| self.failures_of(test, timezone))
            .collect()
    }

    fn failures_of(&self, test: &RuleTest, timezone: &str) -> Vec<Failure> {
        let begin = test
            .begins_at
            .unwrap_or(Timestamp::default().plus_micros(DEFAULT_BEGIN_US));
        let at = |s: u32| begin.plus_micros(i64::from(s) * 1_000_000);
        let mut trial = Trial::begin(self, timezone, begin);
        let mut readings = test.readings.iter().peekable();
        let mut failures = Vec::new();
        for expected in &test.states {
            while let Some(reading) = readings.next_if(|reading| reading.at_s <= expected.at_s) {
                trial.take(at(reading.at_s), reading);
            }
            let found = trial.state(at(expected.at_s));
            if found != expected.state {
                failures.push(Failure {
                    test: test.name.clone(),
                    at_s: expected.at_s,
                    expected: expected.state,
                    found,
                });
            }
        }
        failures
    }
}

/// A test under way.
struct Trial {
    engine: Engine,
    position: u64,
}

impl Trial {
    fn begin(definition: &Definition, timezone: &str, at: Timestamp) -> Self {
        let mut engine = Engine::new();
        let other = definition.another_channel.as_deref().unwrap_or(OTHER);
        debug_assert!(!compares(definition) || definition.another_channel.is_some());
        set_up(
            &mut engine,
            definition,
            (timezone, other),
            (Position::FIRST, at),
            &mut Vec::new(),
        );
        Self { engine, position: 0 }
    }

    fn step(&mut self, recorded_at: Timestamp, what: What<'_>) {
        self.position += 1;
        let fact = Fact {
            position: Position(self.position),
            recorded_at,
            what,
        };
        self.engine.step(&fact, &mut Vec::new());
    }

    fn take(&mut self, at: Timestamp, reading: &TestReading) {
        let (channel, device, _) = names();
        let other = self.engine.compared_with(names().2).unwrap_or(OTHER.into());
        let values: Vec<(&str, f64)> = [(channel, reading.value), (&*other, reading.other)]
            .into_iter()
            .filter_map(|(channel, value)| Some((channel, value?)))
            .collect();
        self.step(
            at,
            What::Reading {
                device,
                measured_at: at,
                values: &values,
            },
        );
    }

    fn state(&mut self, at: Timestamp) -> ChannelState {
        self.step(at, What::Other);
        self.engine.rule_state(names().2).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::definition::TestState;

    #[test]
    fn a_rule_that_fails_its_own_test_says_where() {
        let reading = |at_s, value| TestReading {
            at_s,
            value: Some(value),
            other: None,
        };
        let test = RuleTest {
            begins_at: None,
            name: "door-left-open".into(),
            readings: vec![reading(0, 4.0), reading(60, 9.0), reading(960, 9.5)],
            states: vec![
                TestState {
                    at_s: 60,
                    state: ChannelState::Grace,
                },
                TestState {
                    at_s: 960,
                    state: ChannelState::Alarm,
                },
            ],
        };
        let mut definition = Definition::range(None, Some(5.0), 15);
        definition.tests.push(test);
        assert_eq!(definition.try_out("Europe/Berlin"), Ok(()));
        definition.grace_min = 30;
        let refused = definition.try_out("Europe/Berlin").expect_err("fails");
        assert_eq!(refused.code, "rule_test_failed");
        assert!(refused.message.contains("960 s"), "{}", refused.message);
    }
}
