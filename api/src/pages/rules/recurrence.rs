//! Recurrences in plain words: every night, weekdays, one weekday; what is none of these stays the text that it is.
//!
//! Invariant: [`told`] of a text that [`text`] made gives the same choice; a text it does not know is `custom`.
//! Source: RFC 5545 §3.3.10. Not here: when occurrences are (`domain::rule::recurrence`).

/// Choices: code, words, and the days of the week as RFC 5545 has them; no days for every day.
pub const CHOICES: &[(&str, &str, &str)] = &[
    ("", "no window", ""),
    ("daily", "every day at", ""),
    ("weekdays", "Monday to Friday at", "MO,TU,WE,TH,FR"),
    ("weekend", "Saturday and Sunday at", "SA,SU"),
    ("mo", "Mondays at", "MO"),
    ("tu", "Tuesdays at", "TU"),
    ("we", "Wednesdays at", "WE"),
    ("th", "Thursdays at", "TH"),
    ("fr", "Fridays at", "FR"),
    ("sa", "Saturdays at", "SA"),
    ("su", "Sundays at", "SU"),
    ("custom", "as the rule below says", ""),
];

/// The recurrence of a choice at `HH:MM`; `None` for what is no choice or no time.
pub fn text(choice: &str, at: &str) -> Option<String> {
    let (hour, minute) = at.split_once(':')?;
    let (hour, minute): (u8, u8) = (hour.parse().ok()?, minute.get(..2)?.parse().ok()?);
    if hour > 23 || minute > 59 {
        return None;
    }
    let (_, _, days) = CHOICES.iter().find(|(code, ..)| *code == choice)?;
    match (choice, days.is_empty()) {
        ("" | "custom", _) => None,
        (_, true) => Some(format!("FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}")),
        (_, false) => Some(format!(
            "FREQ=WEEKLY;BYDAY={days};BYHOUR={hour};BYMINUTE={minute}"
        )),
    }
}

/// The choice and time of a recurrence; `custom` and no time for what is none of ours.
pub fn told(rrule: &str) -> (&'static str, String) {
    let custom = ("custom", String::new());
    let (mut freq, mut days, mut hour, mut minute) = ("", "", None, Some(0));
    for part in rrule.trim_start_matches("RRULE:").split(';') {
        match part.split_once('=') {
            Some(("FREQ", value)) => freq = value,
            Some(("BYDAY", value)) => days = value,
            Some(("BYHOUR", value)) => hour = value.parse::<u8>().ok(),
            Some(("BYMINUTE", value)) => minute = value.parse::<u8>().ok(),
            _ => return custom,
        }
    }
    let (Some(hour), Some(minute)) = (hour, minute) else {
        return custom;
    };
    let known = CHOICES.iter().find(|(code, _, of)| match freq {
        "DAILY" => days.is_empty() && *code == "daily",
        "WEEKLY" => !of.is_empty() && *of == days,
        _ => false,
    });
    known.map_or(custom, |(code, ..)| (code, format!("{hour:02}:{minute:02}")))
}

/// A recurrence as people say it.
pub fn words(rrule: &str) -> String {
    let (choice, at) = told(rrule);
    match CHOICES.iter().find(|(code, ..)| *code == choice) {
        Some((code, words, _)) if *code != "custom" => format!("{words} {at}"),
        _ => rrule.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_told_again_and_what_was_not_stays_as_it_is() {
        for (code, ..) in CHOICES {
            if let Some(rrule) = text(code, "02:30") {
                assert_eq!(told(&rrule), (*code, "02:30".to_owned()), "{rrule}");
                assert!(
                    domain::rule::recurrence::Recurrence::parse(&rrule).is_ok(),
                    "{rrule}"
                );
            }
        }
        assert_eq!(words("FREQ=DAILY;BYHOUR=2"), "every day at 02:00");
        for other in [
            "FREQ=MONTHLY;BYDAY=1MO;BYHOUR=2",
            "FREQ=DAILY;BYHOUR=2,4",
            "DTSTART:20260101T000000\nFREQ=DAILY",
        ] {
            assert_eq!(told(other).0, "custom", "{other}");
            assert_eq!(words(other), other);
        }
        assert_eq!(text("daily", "25:00"), None);
        assert_eq!(text("custom", "02:00"), None);
    }
}
