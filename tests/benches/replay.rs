//! A year of a site of two hundred channels, in which much goes wrong, followed again in every way: the same alarms, and
//! how long that takes.
//!
//! `DAYBOOK_BENCH_PLAN=year cargo bench -p tests --bench replay`; without the variable, a month. A year needs some
//! gigabytes of memory: the reference store holds every entry there. Figures stand in docs/performance.md.
//! Not here: the month that is tried with every change (`it/replayed.rs`).

use commands::ledger::{Ledger, Options};
use domain::ports::EventLog;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tests::dice::Dice;
use tests::replayed::{Replayed, Restarts, copy, replay};
use tests::simulated_site::{Plan, record};

fn main() {
    let year = std::env::var("DAYBOOK_BENCH_PLAN").is_ok_and(|plan| plan == "year");
    let plan = if year { Plan::YEAR } else { Plan::MONTH };
    println!("{plan:?}");
    let (site, took) = timed(|| record(plan));
    let entries = EventLog::size(&*site.log).get();
    println!(
        "recorded {} readings of {} values, {entries} entries, with every decision: {took:.1} s",
        site.readings, site.values
    );
    let (first, took) = timed(|| replay(&*site.log, || 4_096, None));
    let row = |name: &str, again: &Replayed, took: f64| {
        let same = if *again == first { "the same" } else { "ANOTHER" };
        println!(
            "{name:<58}{took:>8.1} s{:>12.0} entries/s  {same}",
            entries as f64 / took
        );
        assert_eq!(again, &first, "{name}");
    };
    row("in memory, reads of 4,096", &first, took);
    let (again, took) = timed(|| replay(&*site.log, || 4_096, None));
    row("again", &again, took);
    let (again, took) = timed(|| replay(&*site.log, || 1, None));
    row("reads of one entry", &again, took);
    let restarts = Restarts {
        positions: &site.positions,
        every: 50,
    };
    let mut dice = Dice::new(plan.seed);
    let any = || 1 + dice.below(10_000) as usize;
    let (again, took) = timed(|| replay(&*site.log, any, Some(&restarts)));
    row("reads of any size, restarts between them", &again, took);
    let dir = tempfile::tempdir_in(target()).expect("a directory");
    let ledger = open(dir.path(), false);
    let ((), took) = timed(|| copy(&site.log, &ledger));
    println!("copied into files: {took:.1} s");
    drop(site);
    let (again, took) = timed(|| replay(&ledger, || 4_096, None));
    row("from files", &again, took);
    drop(ledger);
    let (rebuilt, took) = timed(|| open(dir.path(), true));
    println!("opened, all derived made again: {took:.1} s");
    let (again, took) = timed(|| replay(&rebuilt, || 100_000, None));
    row("from files after that", &again, took);
    println!(
        "{} decisions equal, {} missing, {} unexpected; {} readings too late for a rule; digest {}",
        first.equal, first.missing, first.unexpected, first.too_late, first.digest
    );
    for (kind, count) in &first.decided {
        println!("{count:>10}  {kind}");
    }
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let result = what();
    (result, began.elapsed().as_secs_f64())
}

fn open(dir: &Path, rebuild_derived: bool) -> Ledger {
    let options = Options {
        rebuild_derived,
        ..Options::default()
    };
    Ledger::open(dir, options).expect("opens").0
}

/// Where the build is, on the disk that has room.
fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}
