//! `draw_temperature`: what an outlet reached within 30 s of a draw's beginning; one value a draw.
//!
//! A draw begins at the first flow after a reading that told of none, and its value is the highest that the outlet
//! showed after that beginning and at most 30 s after it, made at the first reading 30 s after it or later.
//! Invariants: a value is made only of readings that are measured within the 30 s, and only where the newest of them
//! lies in their second half, so that the water which stood in the pipe is not taken for what came; a draw that ended
//! before makes none, because it does not tell what would have come. Readings count in the order in which they were
//! measured; what is late is passed over. A draw whose beginning was not seen is none.
//! Source: REFERENCE §3 (legionella, `outlet_distant`), DVGW W 551. Not here: a draw that only the outlet's own rise
//! would tell of. The cold water before the rise makes none, so its time would not count, and an outlet that fails
//! would look right.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How long the water may take.
const SPAN_US: i64 = 30_000_000;
/// The newest reading of the outlet is at least so long after the draw's beginning; one that reports every 15 s while
/// water flows always has one.
const SEEN_US: i64 = 15_000_000;

/// What is remembered of a tap.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Draw {
    /// Begin of a draw that has no value yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began_at: Option<Timestamp>,
    /// Whether water flowed at the newest reading that tells; `None` where none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flows: Option<bool>,
    /// The highest that the outlet showed in this draw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    highest: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest_at: Option<Timestamp>,
    /// When it last showed something in this draw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen_at: Option<Timestamp>,
}

impl Draw {
    pub(super) fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Takes over what was measured at one time; gives the value of a draw whose 30 s are over. It is made of readings
    /// that are no more than `age_us` older than this one.
    pub(super) fn take(
        &mut self,
        age_us: i64,
        measured_at: Timestamp,
        outlet: Option<f64>,
        flow: Option<f64>,
    ) -> Option<f64> {
        if self.newest_at.is_some_and(|newest| newest > measured_at) {
            return None;
        }
        self.newest_at = Some(measured_at);
        let reached = self
            .began_at
            .and_then(|began| self.look(began, age_us, measured_at, outlet));
        if let Some(flow) = flow {
            let flows = flow > 0.0;
            if flows && self.flows == Some(false) {
                self.end();
                self.began_at = Some(measured_at);
            } else if !flows {
                self.end();
            }
            self.flows = Some(flows);
        }
        reached
    }

    fn look(
        &mut self,
        began: Timestamp,
        age_us: i64,
        measured_at: Timestamp,
        outlet: Option<f64>,
    ) -> Option<f64> {
        let since = measured_at.since(began);
        if let Some(value) = outlet.filter(|_| (1..=SPAN_US).contains(&since)) {
            self.highest = Some(self.highest.map_or(value, |highest| highest.max(value)));
            self.seen_at = Some(measured_at);
        }
        if since < SPAN_US {
            return None;
        }
        let seen = self.seen_at.filter(|seen| seen.since(began) >= SEEN_US);
        let reached = self
            .highest
            .filter(|_| seen.is_some_and(|seen| measured_at.since(seen) <= age_us));
        self.end();
        reached
    }

    /// The draw is over, or has its value.
    fn end(&mut self) {
        (self.began_at, self.highest, self.seen_at) = (None, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AGE_US: i64 = 900_000_000;

    /// Seconds, the outlet, the flow; the seconds and values that come out.
    fn told(readings: &[(i64, Option<f64>, Option<f64>)]) -> Vec<(i64, f64)> {
        let mut draw = Draw::default();
        let told = readings.iter().filter_map(|(second, outlet, flow)| {
            let at = Timestamp::default().plus_micros(second * 1_000_000);
            Some((*second, draw.take(AGE_US, at, *outlet, *flow)?))
        });
        told.collect()
    }

    const fn water(second: i64, litres: f64) -> (i64, Option<f64>, Option<f64>) {
        (second, None, Some(litres))
    }

    const fn outlet(second: i64, celsius: f64) -> (i64, Option<f64>, Option<f64>) {
        (second, Some(celsius), None)
    }

    #[test]
    fn each_draw_has_one_value_the_highest_within_30_s() {
        let readings = [
            water(-60, 0.0),
            outlet(-50, 80.0),
            water(0, 6.0),
            outlet(10, 31.0),
            outlet(20, 52.0),
            outlet(30, 51.0),
            outlet(40, 56.0),
            water(45, 6.0),
            water(90, 0.0),
            water(100, 4.0),
            outlet(120, 40.0),
            outlet(131, 58.0),
        ];
        assert_eq!(told(&readings), [(30, 52.0), (131, 40.0)]);
    }

    #[test]
    fn a_draw_that_ends_before_or_that_nobody_looked_at_makes_no_value() {
        let short = [
            water(0, 0.0),
            water(1, 6.0),
            outlet(20, 30.0),
            water(29, 0.0),
            outlet(60, 30.0),
        ];
        assert_eq!(told(&short), []);
        let coarse = [
            water(0, 0.0),
            water(1, 6.0),
            outlet(3, 20.0),
            outlet(63, 58.0),
            water(70, 0.0),
        ];
        assert_eq!(told(&coarse), []);
        // What the pipe held when the tap was opened is not what came.
        let both = [
            (0, Some(20.0), Some(0.0)),
            (1, Some(20.0), Some(6.0)),
            outlet(31, 55.0),
        ];
        assert_eq!(told(&both), [(31, 55.0)]);
        // Nobody saw it begin.
        let under_way = [water(0, 6.0), outlet(20, 20.0), outlet(31, 20.0)];
        assert_eq!(told(&under_way), []);
    }

    #[test]
    fn what_is_late_or_too_old_counts_for_nothing() {
        let late = [
            water(0, 0.0),
            water(1, 6.0),
            outlet(25, 40.0),
            outlet(24, 60.0),
            outlet(31, 41.0),
            outlet(28, 60.0),
        ];
        assert_eq!(told(&late), [(31, 41.0)]);
        let old = [water(0, 0.0), water(1, 6.0), outlet(25, 40.0), water(926, 6.0)];
        assert_eq!(told(&old), []);
    }

    proptest! {
        #[test]
        fn a_value_is_one_that_was_measured_within_the_30_s_and_a_restart_changes_nothing(
            steps in prop::collection::vec(
                (-5i64..20, prop::option::of(15.0f64..70.0), prop::option::of(0u8..2)), 1..200),
        ) {
            let (mut draw, mut again) = (Draw::default(), Draw::default());
            let mut second = 0;
            let mut shown: Vec<(i64, f64)> = Vec::new();
            for (step, celsius, flow) in steps {
                second += step;
                let at = Timestamp::default().plus_micros(second * 1_000_000);
                let flow = flow.map(f64::from);
                shown.extend(celsius.map(|celsius| (second, celsius)));
                let began = draw.began_at;
                let value = draw.take(AGE_US, at, celsius, flow);
                prop_assert_eq!(value, again.take(AGE_US, at, celsius, flow));
                let text = serde_json::to_string(&again).expect("JSON");
                again = serde_json::from_str(&text).expect("reads");
                prop_assert_eq!(draw, again);
                if let Some(value) = value {
                    let began = began.expect("a draw").as_micros() / 1_000_000;
                    prop_assert!(second - began >= 30);
                    prop_assert!(shown.iter().any(|(at, celsius)|
                        *celsius == value && (began + 1..=began + 30).contains(at)));
                }
            }
        }
    }
}
