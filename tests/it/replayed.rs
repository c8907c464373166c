//! The same ledger gives the same alarms: a site of two hundred channels over a month, in which much goes wrong,
//! followed again and again.
//!
//! Not here: a year of it (`cargo bench -p tests --bench replay`).

use commands::ledger::{Ledger, Options};
use std::collections::BTreeSet;
use std::path::Path;
use tests::dice::Dice;
use tests::replayed::{Replayed, Restarts, copy, replay};
use tests::simulated_site::{Plan, record};

/// Small, so that most of a copy lies in sealed files.
const SEGMENT_BYTES: u64 = 8 << 20;

fn open(dir: &Path, rebuild_derived: bool) -> Ledger {
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        rebuild_derived,
        ..Options::default()
    };
    Ledger::open(dir, options).expect("opens").0
}

/// That the site had what can go wrong with alarms: else nothing was shown.
fn much_went_wrong(replayed: &Replayed) {
    let kinds: BTreeSet<&str> = replayed.decided.keys().map(String::as_str).collect();
    for kind in [
        "AlarmOpened",
        "AlarmOpened late",
        "AlarmCleared",
        "AlarmCleared late",
        "AlarmEscalated",
        "AlarmReopened",
        "ChannelStateChanged",
        "DeviceStateChanged",
    ] {
        assert!(kinds.contains(kind), "no {kind} among {kinds:?}");
    }
    assert!(replayed.decided["AlarmOpened"] > 500, "{:?}", replayed.decided);
    assert!(replayed.too_late > 0, "nothing came too late");
}

#[test]
fn a_month_of_two_hundred_channels_gives_the_same_alarms_on_every_store_in_reads_of_any_size() {
    let mut dice = Dice::from_environment(Plan::MONTH.seed);
    let site = record(Plan {
        seed: dice.roll(),
        ..Plan::MONTH
    });
    let first = replay(&*site.log, || 4_096, None);
    eprintln!("{} readings, {} values: {first:?}", site.readings, site.values);
    assert_eq!((first.missing, first.unexpected), (0, 0));
    assert_eq!(
        first.equal,
        first
            .decided
            .iter()
            .filter(|(kind, _)| !kind.ends_with(" late"))
            .map(|(_, count)| count)
            .sum::<u64>()
    );
    much_went_wrong(&first);
    let restarts = Restarts {
        positions: &site.positions,
        every: 3,
    };
    let any = || 1 + dice.below(3_000) as usize;
    assert_eq!(replay(&*site.log, any, Some(&restarts)), first, "with restarts");
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(dir.path(), false);
    copy(&site.log, &ledger);
    assert_eq!(replay(&ledger, || 257, None), first, "from files");
    drop(ledger);
    let rebuilt = open(dir.path(), true);
    assert_eq!(
        replay(&rebuilt, || 100_000, None),
        first,
        "from files, all derived made again"
    );
}
