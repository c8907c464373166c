//! Why somebody acknowledges, closes or reopens an alarm: a code and words, the same in the console and behind the links
//! of messages.
//!
//! Invariant: a code that was ever offered has words for ever, because entries hold it.
//! Not here: what a reason does (`commands::handlers::alarms`).

/// A code with its words.
pub type Known = (&'static str, &'static str);

/// The code that needs words of one's own.
pub const OTHER: &str = "other";

/// Why somebody acknowledges. Few, so that a thumb finds one at night.
pub const SEEN: &[Known] = &[
    ("door_open", "Door or lid was open"),
    ("in_use", "Loading, cleaning or defrosting"),
    ("maintenance", "Somebody works on it"),
    ("equipment_fault", "Equipment is broken"),
    ("power_cut", "Power was cut"),
    ("sensor_fault", "Sensor is wrong or misplaced"),
    ("seen", "I have seen it and look after it"),
    (OTHER, "Something else"),
];
/// Why somebody closes one.
pub const ENDINGS: &[Known] = &[
    ("repaired", "Repaired or replaced"),
    ("out_of_use", "Out of use"),
    ("false_alarm", "It was a false alarm"),
    (OTHER, "Something else"),
];
/// Why somebody opens one again.
pub const REOPENINGS: &[Known] = &[
    ("not_over", "It is not over"),
    ("closed_by_mistake", "It was closed by mistake"),
    (OTHER, "Something else"),
];
/// What is offered to nobody, or not any more.
const FURTHER: &[Known] = &[
    ("looking", "I am looking into it"),
    ("defrost", "Defrosting"),
    ("rule_removed", "its rule was removed"),
    ("rule_disabled", "its rule was switched off"),
    ("rule_changed", "its rule looks at something else now"),
    ("channel_removed", "its channel was removed"),
    ("answered", "the trial was acknowledged"),
    ("unanswered", "nobody acknowledged the trial in time"),
];

/// A reason's code in words.
pub fn words(code: &str) -> Option<&'static str> {
    [SEEN, ENDINGS, REOPENINGS, FURTHER]
        .into_iter()
        .flatten()
        .find(|(known, _)| *known == code)
        .map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_one_thing_wherever_it_is_offered() {
        let all: Vec<Known> = [SEEN, ENDINGS, REOPENINGS, FURTHER]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for (code, said) in &all {
            assert_eq!(words(code), Some(*said), "{code}");
        }
        assert_eq!(words("nothing"), None);
    }
}
