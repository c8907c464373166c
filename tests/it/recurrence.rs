//! Windows of rules against another reading of RFC 5545: Python's `dateutil`, with `zoneinfo` for the clocks.
//!
//! Rules are drawn from a seed, so that a difference can be looked at again. Not here: the RFC's own examples
//! (`domain::rule::recurrence_tests`), windows in use (the scenarios).

use domain::Timestamp;
use domain::rule::engine::zone_of;
use domain::rule::recurrence::{Recurrence, instant};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use tests::python;

const PACKAGES: &[&str] = &["python-dateutil==2.9.0.post0", "tzdata==2025.2"];
/// Rules that are compared.
const RULES: usize = 2_000;
/// Zones whose clocks change by an hour, by half an hour, at other hours, or never; south and north.
const ZONES: &[&str] = &[
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "UTC",
];
const DAYS: &[&str] = &["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// Numbers that look drawn: xorshift64*.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn list(&mut self, most: u64, mut item: impl FnMut(&mut Self) -> String) -> String {
        let count = 1 + self.below(most);
        let items: Vec<String> = (0..count).map(|_| item(self)).collect();
        items.join(",")
    }

    /// A number from 1 to `max`, now and then from the other end.
    fn either_end(&mut self, max: u64) -> String {
        let number = 1 + self.below(max);
        if self.one_in(4) {
            format!("-{number}")
        } else {
            number.to_string()
        }
    }

    fn start(&mut self) -> String {
        let (month, day) = (1 + self.below(12), 1 + self.below(28));
        let year = 2018 + self.below(4);
        let (hour, minute) = (self.below(24), self.below(4) * 15);
        format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00")
    }

    /// A rule; many of them are none, which both sides may refuse.
    fn rule(&mut self) -> String {
        let freq = ["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"][self.below(5) as usize];
        let mut parts = vec![format!("FREQ={freq}")];
        if self.one_in(2) {
            parts.push(format!(
                "INTERVAL={}",
                1 + self.below(if freq == "YEARLY" { 3 } else { 9 })
            ));
        }
        if self.one_in(4) {
            parts.push(format!("WKST={}", DAYS[self.below(7) as usize]));
        }
        if self.one_in(4) {
            let months = self.list(4, |draw| (1 + draw.below(12)).to_string());
            parts.push(format!("BYMONTH={months}"));
        }
        if self.one_in(3) {
            // With a number all or none: dateutil asks for both where the RFC asks for either.
            let numbered = self.one_in(2) && matches!(freq, "MONTHLY" | "YEARLY");
            let days = self.list(3, |draw| {
                let day = DAYS[draw.below(7) as usize];
                match numbered {
                    true => format!("{}{day}", draw.either_end(5)),
                    false => day.to_owned(),
                }
            });
            parts.push(format!("BYDAY={days}"));
        }
        if self.one_in(5) {
            let days = self.list(4, |draw| draw.either_end(31));
            parts.push(format!("BYMONTHDAY={days}"));
        }
        if freq == "YEARLY" && self.one_in(5) {
            let days = self.list(3, |draw| draw.either_end(366));
            parts.push(format!("BYYEARDAY={days}"));
        }
        if freq == "YEARLY" && self.one_in(5) {
            let weeks = self.list(3, |draw| (1 + draw.below(52)).to_string());
            parts.push(format!("BYWEEKNO={weeks}"));
        }
        if self.one_in(3) {
            let hours = self.list(3, |draw| draw.below(24).to_string());
            parts.push(format!("BYHOUR={hours}"));
        }
        if self.one_in(4) {
            let minutes = self.list(2, |draw| draw.below(60).to_string());
            parts.push(format!("BYMINUTE={minutes}"));
        }
        if self.one_in(6) && parts.len() > 2 {
            let positions = self.list(2, |draw| draw.either_end(4));
            parts.push(format!("BYSETPOS={positions}"));
        }
        match self.below(6) {
            0 => parts.push(format!("COUNT={}", 1 + self.below(400))),
            1 => parts.push(format!(
                "UNTIL=2022{:02}{:02}T120000",
                1 + self.below(12),
                1 + self.below(28)
            )),
            _ => {}
        }
        parts.join(";")
    }
}

/// The rule as both sides read it, or nothing where it is none of ours.
fn ours(start: &str, rule: &str) -> Option<Recurrence> {
    let start: String = start.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    Recurrence::parse(&format!("DTSTART:{start}\nRRULE:{rule}")).ok()
}

#[test]
fn dateutil_finds_the_same_occurrences_of_thousands_of_rules_across_changes_of_the_clocks() {
    let python = match python::with("rrule", PACKAGES) {
        Ok(python) => python,
        Err(reason) if std::env::var_os("CI").is_none() => {
            eprintln!("NOT TESTED: recurrences against dateutil: {reason}");
            return;
        }
        Err(reason) => panic!("recurrences cannot be compared with dateutil: {reason}"),
    };
    let mut child = Command::new(python)
        .arg(python::script("rrule_occurrences.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut questions = child.stdin.take().expect("stdin is piped");
    let mut answers = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let mut draw = Draw(0x5EED_0F5E_A50F_u64);
    let (mut compared, mut occurrences, mut skipped) = (0, 0, 0);
    while compared < RULES {
        let (start, rule) = (draw.start(), draw.rule());
        let zone = ZONES[draw.below(ZONES.len() as u64) as usize];
        let Some(recurrence) = ours(&start, &rule) else {
            skipped += 1;
            assert!(skipped < 8 * RULES, "rules are drawn that are mostly none");
            continue;
        };
        // Fourteen months, so that the clocks change both ways.
        let year = 2019 + draw.below(4);
        let (from, to) = (
            format!("{year}-01-01T00:00:00"),
            format!("{}-03-01T00:00:00", year + 1),
        );
        let question = json!({"start": start, "rule": rule, "from": from, "to": to, "zone": zone});
        writeln!(questions, "{question}").expect("python reads");
        let line = answers.next().expect("an answer").expect("a line");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        let asked = format!("{start} {rule} from {from} in {zone}");
        let starts = recurrence.starts(from.parse().expect("a time"), to.parse().expect("a time"));
        let local: Vec<String> = starts
            .iter()
            .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S").to_string())
            .collect();
        assert_eq!(json!(local), answer["local"], "{asked}");
        let zone = zone_of(zone);
        let mut instants: Vec<i64> = starts
            .iter()
            .filter_map(|at| instant(&zone, *at))
            .map(|at| at.as_micros() / 1_000_000)
            .collect();
        instants.sort_unstable();
        instants.dedup();
        assert_eq!(json!(instants), answer["instants"], "{asked}");
        // What is asked by instants is what is asked by days.
        if let (Some(first), Some(last)) = (instants.first(), instants.last()) {
            let us = |s: &i64| Timestamp::from_micros(s * 1_000_000).expect("in range");
            let mut asked_so: Vec<i64> = recurrence
                .instants(&zone, us(first), us(last))
                .iter()
                .map(|at| at.as_micros() / 1_000_000)
                .collect();
            asked_so.sort_unstable();
            asked_so.dedup();
            assert_eq!(asked_so, instants, "{asked}");
        }
        compared += 1;
        occurrences += local.len();
    }
    drop(questions);
    assert!(child.wait().expect("python ends").success());
    assert!(
        occurrences > 100 * RULES,
        "only {occurrences} occurrences were compared"
    );
}
