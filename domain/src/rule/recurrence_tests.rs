//! Recurrences against the examples of RFC 5545 §3.8.5.3, and against texts that mean harm.
//!
//! Not here: zones and changes of the clocks, which the scenarios show (`tests/scenarios/windows.txt`).

use super::recurrence::{OCCURRENCES_A_DAY_MAX, Recurrence, civil, instant};
use crate::rule::engine::zone_of;
use crate::time::{DAY_US, Timestamp};
use jiff::civil::DateTime;
use proptest::prelude::*;

/// The first `count` occurrences as `YYYYMMDDTHH`.
fn first(start: &str, rule: &str, count: usize) -> Vec<String> {
    let recurrence = Recurrence::parse(&format!("DTSTART:{start}\nRRULE:{rule}")).expect("a recurrence");
    let from: DateTime = "1990-01-01T00:00:00".parse().expect("a time");
    let to: DateTime = "2010-01-01T00:00:00".parse().expect("a time");
    recurrence
        .starts(from, to)
        .iter()
        .take(count)
        .map(|at| at.strftime("%Y%m%dT%H").to_string())
        .collect()
}

fn days(start: &str, rule: &str, expected: &[&str]) {
    let found: Vec<String> = first(start, rule, expected.len())
        .into_iter()
        .map(|at| at[..8].to_owned())
        .collect();
    assert_eq!(found, expected, "{rule}");
}

#[test]
fn the_examples_of_the_rfc_come_out() {
    let nine = "19970902T090000";
    assert_eq!(first(nine, "FREQ=DAILY;COUNT=10", 20).len(), 10);
    days(
        nine,
        "FREQ=DAILY;INTERVAL=10;COUNT=5",
        &["19970902", "19970912", "19970922", "19971002", "19971012"],
    );
    days(
        nine,
        "FREQ=DAILY;INTERVAL=2",
        &["19970902", "19970904", "19970906", "19970908"],
    );
    let weeks = [
        "19970902", "19970904", "19970909", "19970911", "19970916", "19970918",
    ];
    days(nine, "FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH", &weeks);
    days(nine, "FREQ=WEEKLY", &["19970902", "19970909", "19970916"]);
    days(
        "19970901T090000",
        "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
        &[
            "19970901", "19970903", "19970905", "19970915", "19970917", "19970919", "19970929", "19971001",
        ],
    );
    days(
        "19970905T090000",
        "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
        &[
            "19970905", "19971003", "19971107", "19971205", "19980102", "19980206", "19980306",
        ],
    );
    days(
        "19970907T090000",
        "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU",
        &[
            "19970907", "19970928", "19971102", "19971130", "19980104", "19980125", "19980301", "19980329",
        ],
    );
    days(
        "19970922T090000",
        "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO",
        &[
            "19970922", "19971020", "19971117", "19971222", "19980119", "19980216",
        ],
    );
    days(
        "19970928T090000",
        "FREQ=MONTHLY;BYMONTHDAY=-3",
        &[
            "19970928", "19971029", "19971128", "19971229", "19980129", "19980226",
        ],
    );
    days(
        "19970610T090000",
        "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
        &["19970610", "19970710", "19980610", "19980710", "19990610"],
    );
    days(
        "19970101T090000",
        "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
        &[
            "19970101", "19970410", "19970719", "20000101", "20000409", "20000718", "20030101",
        ],
    );
    days(
        "19970519T090000",
        "FREQ=YEARLY;BYDAY=20MO",
        &["19970519", "19980518", "19990517"],
    );
    days(
        "19970512T090000",
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        &["19970512", "19980511", "19990517"],
    );
    days(
        "19970313T090000",
        "FREQ=YEARLY;BYMONTH=3;BYDAY=TH",
        &[
            "19970313", "19970320", "19970327", "19980305", "19980312", "19980319", "19980326", "19990304",
        ],
    );
    days(
        nine,
        "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
        &["19980213", "19980313", "19981113", "19990813", "20001013"],
    );
    days(
        "19961105T090000",
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
        &["19961105", "20001107", "20041102"],
    );
    days(
        "19970904T090000",
        "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3",
        &["19970904", "19971007", "19971106"],
    );
    days(
        "19970929T090000",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
        &[
            "19970929", "19971030", "19971127", "19971230", "19980129", "19980226", "19980330",
        ],
    );
    days(
        "19970805T090000",
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
        &["19970805", "19970810", "19970819", "19970824"],
    );
    days(
        "19970805T090000",
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
        &["19970805", "19970817", "19970819", "19970831"],
    );
    days(
        "20070115T090000",
        "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5",
        &["20070115", "20070130", "20070215", "20070315", "20070330"],
    );
    assert_eq!(
        first(nine, "FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000", 9),
        ["19970902T09", "19970902T12", "19970902T15"]
    );
    assert_eq!(
        first(nine, "FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0", 3),
        ["19970902T09", "19970902T10", "19970903T09"]
    );
}

#[test]
fn what_is_no_recurrence_is_refused() {
    for bad in [
        "",
        "BYHOUR=2",
        "FREQ=SECONDLY",
        "FREQ=MINUTELY;INTERVAL=5",
        "FREQ=FORTNIGHTLY",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=99999999999999999999",
        "FREQ=DAILY;COUNT=3;UNTIL=20260101",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;BYHOUR=24",
        "FREQ=DAILY;BYMONTH=0",
        "FREQ=DAILY;BYMONTH=13",
        "FREQ=WEEKLY;BYDAY=2MO",
        "FREQ=WEEKLY;BYDAY=XX",
        "FREQ=WEEKLY;BYDAY=é",
        "FREQ=DAILY;BYWEEKNO=3",
        "FREQ=DAILY;BYSETPOS=1",
        "FREQ=DAILY;X-MINE=1",
        "FREQ=DAILY\nFREQ=DAILY",
        "DTSTART:20260101T000000Z\nFREQ=DAILY",
        "DTSTART;TZID=Europe/Berlin:20260101T000000\nFREQ=DAILY",
        "FREQ=HOURLY;BYMINUTE=0,1,2,3,4,5",
        "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9;BYMINUTE=0,6,12,18,24,30,36,42,48,54",
    ] {
        assert_eq!(
            Recurrence::parse(bad).map(|_| ()).map_err(|r| r.code),
            Err("invalid_window"),
            "{bad:?}"
        );
    }
}

/// Recurrences that have made other software walk for ever: dates that never are, long intervals, far ends.
#[test]
fn a_hostile_recurrence_costs_no_more_than_its_days() {
    let all_minutes = "BYMINUTE=0,15,30,45";
    let positions: Vec<String> = (1..=366).map(|n| n.to_string()).collect();
    let zone = zone_of("America/Sao_Paulo");
    let begin = Timestamp::parse_rfc3339("2026-06-01T00:00:00Z").expect("a time");
    for bomb in [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30".to_owned(),
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=10000".to_owned(),
        "FREQ=YEARLY;INTERVAL=1000;BYYEARDAY=366;COUNT=10000".to_owned(),
        "FREQ=MONTHLY;INTERVAL=999;BYDAY=5MO;BYSETPOS=-366".to_owned(),
        "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6;BYDAY=MO,TU,WE,TH,FR,SA,SU".to_owned(),
        format!("FREQ=HOURLY;COUNT=10000;{all_minutes}"),
        format!("FREQ=HOURLY;{all_minutes};BYSETPOS=1,2,3,4,-1,-2,-3,-4"),
        format!(
            "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS={}",
            positions.join(",")
        ),
        "DTSTART:19700101T000000\nFREQ=DAILY;COUNT=10000".to_owned(),
        "DTSTART:29991231T235959\nFREQ=YEARLY;COUNT=10000".to_owned(),
    ] {
        let recurrence = Recurrence::parse(&bomb).expect("reads");
        for year in 0..40 {
            let from = begin.plus_micros(year * 365 * DAY_US);
            let found = recurrence.instants(&zone, from, from.plus_micros(4 * DAY_US));
            assert!(found.len() <= 6 * OCCURRENCES_A_DAY_MAX, "{bomb}");
        }
        let end = Timestamp::default().plus_micros(i64::MAX);
        assert!(recurrence.instants(&zone, end.plus_micros(-DAY_US), end).len() <= 6 * OCCURRENCES_A_DAY_MAX);
    }
}

#[test]
fn local_times_and_instants_belong_together() {
    let zone = zone_of("Europe/Berlin");
    for text in ["2026-01-01T00:00:00Z", "2026-07-01T12:34:56Z"] {
        let at = Timestamp::parse_rfc3339(text).expect("a time");
        let local = civil(&zone, at).expect("a local time");
        assert_eq!(instant(&zone, local), Some(at));
    }
    assert_eq!(zone_of("Nowhere/Town"), jiff::tz::TimeZone::UTC);
}

#[test]
fn a_choice_beyond_what_an_hour_or_a_day_holds_is_refused() {
    for text in [
        "FREQ=HOURLY;BYMINUTE=0,15,30,45;COUNT=9999;BYSETPOS=366,366,366",
        "FREQ=HOURLY;BYMINUTE=0,30;BYSETPOS=-3",
        "FREQ=DAILY;BYHOUR=2,3;BYSETPOS=3",
    ] {
        assert!(Recurrence::parse(text).is_err(), "{text}");
    }
    let last = Recurrence::parse("FREQ=HOURLY;BYMINUTE=0,30;BYSETPOS=-1,-1").expect("a choice");
    let local = |hour| jiff::civil::date(2024, 1, 1).at(hour, 0, 0, 0);
    let (from, to) = (local(0), local(2));
    assert_eq!(
        last.starts(from, to).len(),
        2,
        "half past midnight and half past one"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(
        text in prop_oneof![
            "\\PC{0,80}",
            "FREQ=(HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY)(;(BYDAY|BYHOUR|BYMONTH|BYSETPOS|COUNT|UNTIL|INTERVAL|BYWEEKNO|WKST)=[-+0-9A-Z,]{0,8}){0,4}",
        ],
        days in -400_000i64..400_000,
    ) {
        if let Ok(recurrence) = Recurrence::parse(&text) {
            let from = Timestamp::default().plus_micros(days * DAY_US);
            let found = recurrence.instants(&zone_of("Europe/Berlin"), from, from.plus_micros(4 * DAY_US));
            prop_assert!(found.is_sorted());
        }
    }
}
